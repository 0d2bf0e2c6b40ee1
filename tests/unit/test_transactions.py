"""How a function gets its session, and what rx.transaction refuses."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import MetaData, event, text
from sqlmodel import Session
from sqlmodel.ext.asyncio.session import AsyncSession

import rxdb as rx
from rxdb.errors import BadArgument

ONE = text("SELECT 1")
untyped: Any = rx.transaction  # mypy infers no lambda through overloads


@pytest.fixture(autouse=True)
def _database(tmp_path: Any, metadata: MetaData) -> None:
    rx.set_config(rx.Config(db_url=f"sqlite:///{tmp_path}/test.db"))


def test_the_session_is_the_first_parameter() -> None:
    @rx.transaction
    def move(db: Session, a: int, b: int = 2) -> tuple[bool, int, int]:
        return isinstance(db, Session), a, b

    assert move(1) == (True, 1, 2)
    assert move(a=3, b=4) == (True, 3, 4)
    assert str(inspect.signature(move)) == "(a: 'int', b: 'int' = 2) -> 'tuple[bool, int, int]'"
    assert move.__name__ == "move"


def test_the_session_is_the_parameter_of_that_name() -> None:
    class Bank:
        @rx.transaction(attempts=2)
        def move(self, session: Session, amount: int) -> tuple[str, bool, int]:
            return type(self).__name__, isinstance(session, Session), amount

    bank: Any = Bank()
    assert bank.move(5) == ("Bank", True, 5)
    assert bank.move(amount=5) == ("Bank", True, 5)


def test_the_session_may_have_to_be_named() -> None:
    @rx.transaction
    def one(a: int, *, session: Session, b: int = 2) -> tuple[int, bool, int]:
        return a, isinstance(session, Session), b

    @rx.transaction
    def all_(*args: int, session: Session) -> tuple[tuple[int, ...], bool]:
        return args, isinstance(session, Session)

    @rx.transaction
    async def none(*, session: AsyncSession) -> bool:
        return isinstance(session, AsyncSession)

    named: Any = one
    assert named(1) == named(a=1) == (1, True, 2)
    assert named(1, b=3) == (1, True, 3)
    assert str(inspect.signature(one)) == "(a: 'int', *, b: 'int' = 2) -> 'tuple[int, bool, int]'"
    assert all_(1, 2) == ((1, 2), True)
    assert asyncio.run(none())


def test_an_async_def_gets_an_asynchronous_session() -> None:
    @rx.transaction
    async def work(session: AsyncSession, number: int) -> int:
        assert isinstance(session, AsyncSession)
        return int(await session.scalar(ONE)) + number

    assert asyncio.run(work(1)) == 2


def generator(session: Session) -> Iterator[int]:
    yield 1


async def async_generator(session: AsyncSession) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda: 1, r"takes no session. Write: def .*\(session\):"),
        (generator, "generator is a generator: what was yielded cannot be taken back"),
        (async_generator, "is a generator"),
    ],
)
def test_a_function_that_cannot_be_repeated_is_refused(function: Any, sentence: str) -> None:
    with pytest.raises(BadArgument, match=sentence):
        rx.transaction(function)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"attempts": 0}, "attempts=0 is not a number from 1 on"),
        ({"attempts": 1.5}, "attempts=1.5"),
        ({"timeout": 0}, "timeout=0 is no number of seconds above 0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"isolation_level": "autocommit"}, "each statement is stored by itself"),
        ({"isolation_level": 5}, "isolation_level=5 is none of READ UNCOMMITTED, READ COMMITTED"),
        ({"isolation_level": "bogus"}, "isolation_level='bogus' is none of"),
        ({"isolation_level": ""}, "isolation_level='' is none of"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadArgument, match=sentence):
        rx.transaction(**options)


def test_a_coroutine_is_refused_where_nobody_awaits_it() -> None:
    async def work() -> None: ...

    with pytest.raises(BadArgument, match="Write it with `async def`"):
        untyped(lambda _: work())()


ENDS: dict[str, Callable[[Any], Any]] = {
    "commit": lambda session: session.commit(),
    "rollback": lambda session: session.rollback(),
    "begin": lambda session: session.begin().start(),
    "close": lambda session: session.close(),
    "aclose": lambda session: session.aclose(),
    "reset": lambda session: session.reset(),
    "invalidate": lambda session: session.invalidate(),
    "with": lambda session: session.__aexit__(None, None, None),
    "commit of the transaction": lambda session: session.get_transaction().commit(),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_an_asynchronous_function_cannot_end_the_transaction(end: Callable[[Any], Any]) -> None:
    @rx.transaction
    async def work(session: AsyncSession) -> None:
        await end(session)

    with pytest.raises(BadArgument, match="after the function"):
        asyncio.run(work())


def test_a_hook_needs_a_transaction() -> None:
    with pytest.raises(BadArgument, match="there is no transaction here"):
        rx.on_commit(print)
    with rx.session(), pytest.raises(BadArgument):
        rx.on_commit(print)


def test_a_thread_and_a_task_have_transactions_of_their_own() -> None:
    seen: list[object] = []

    def hook() -> None:
        with pytest.raises(BadArgument) as raised:
            rx.on_commit(print)
        seen.append(raised.value)

    @rx.transaction
    def sync(session: Session) -> None:
        thread = threading.Thread(target=hook)
        thread.start()
        thread.join()

    @rx.transaction
    async def work(session: AsyncSession) -> None:
        async def task() -> None:
            hook()

        await asyncio.create_task(task())
        await asyncio.to_thread(hook)

    sync()
    asyncio.run(work())
    assert len(seen) == 3


def test_a_synchronous_call_inside_an_asynchronous_one_is_refused() -> None:
    inner: Any = untyped(lambda session: session.scalar(ONE))

    @rx.transaction
    async def outer(session: AsyncSession) -> None:
        inner()

    with pytest.raises(BadArgument, match=r"session\.run_sync"):
        asyncio.run(outer())


def test_a_synchronous_call_joins_in_run_sync() -> None:
    inner: Any = untyped(lambda session: session)

    @rx.transaction
    async def outer(session: AsyncSession) -> bool:
        return await session.run_sync(lambda _: inner()) is session.sync_session

    assert asyncio.run(outer())


def test_another_database_is_another_transaction(tmp_path: Any) -> None:
    inner: Any = untyped(url=f"sqlite:///{tmp_path}/other.db")(lambda session: session)
    outer = untyped(lambda session: inner() is not session)
    assert outer()


def test_a_nested_call_cannot_write_in_what_only_reads() -> None:
    inner: Any = untyped(lambda _: None)
    with pytest.raises(rx.ReadOnly, match="read_only=True"):
        untyped(read_only=True)(lambda _: inner())()


def test_a_nested_call_cannot_change_the_isolation_level() -> None:
    inner: Any = untyped(isolation_level="SERIALIZABLE")(lambda _: None)
    with pytest.raises(BadArgument, match="cannot begin inside of a transaction"):
        untyped(lambda _: inner())()
    assert untyped(isolation_level="serializable")(lambda _: inner())() is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_not_repeated(kind: type[BaseException]) -> None:
    calls: list[int] = []

    def work(session: Session) -> None:
        calls.append(1)
        raise kind from rx.Deadlock("words")

    with pytest.raises(kind):
        rx.transaction(work)()
    assert calls == [1]


def test_a_cancelled_task_is_not_repeated() -> None:
    calls: list[int] = []

    @rx.transaction
    async def work(session: AsyncSession) -> None:
        calls.append(1)
        await session.scalar(ONE)
        await asyncio.sleep(60)

    async def main() -> None:
        async with asyncio.timeout(0.5):
            await work()

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert calls == [1]


def test_several_hooks_that_raise_are_told_together() -> None:
    def fail() -> None:
        raise KeyError

    def work(session: Session) -> None:
        rx.on_commit(fail)
        rx.on_commit(fail)

    with pytest.raises(ExceptionGroup) as raised:
        rx.transaction(work)()
    assert [type(e) for e in raised.value.exceptions] == [KeyError, KeyError]


def test_an_asynchronous_hook_is_awaited() -> None:
    seen: list[int] = []

    async def hook() -> None:
        await asyncio.sleep(0)
        seen.append(1)

    @rx.transaction
    async def work(session: AsyncSession) -> None:
        rx.on_commit(hook)

    asyncio.run(work())
    assert seen == [1]
    with pytest.raises(BadArgument, match="not asynchronous"):
        untyped(lambda _: rx.on_commit(hook))()


def test_the_other_hooks_are_called_when_the_task_is_cancelled_in_one() -> None:
    seen: list[str] = []

    async def wait() -> None:
        seen.append("cancelled")
        await asyncio.sleep(60)

    async def hook() -> None:
        await asyncio.sleep(0)
        seen.append("asynchronous")

    def fail() -> None:
        raise KeyError

    @rx.transaction
    async def work(session: AsyncSession) -> None:
        for function in (wait, hook, fail, lambda: seen.append("synchronous")):
            rx.on_commit(function)

    async def main() -> None:
        async with asyncio.timeout(0.2):
            await work()

    with pytest.raises(TimeoutError) as raised:
        asyncio.run(main())
    assert seen == ["cancelled", "asynchronous", "synchronous"]
    cancelled = raised.value.__context__
    assert isinstance(cancelled, asyncio.CancelledError)
    assert isinstance(cancelled.__cause__, KeyError)


def test_hooks_are_called_when_the_task_is_cancelled_after_the_commit() -> None:
    seen: list[int] = []

    @rx.transaction
    async def work(session: AsyncSession) -> None:
        await session.scalar(ONE)
        task: Any = asyncio.current_task()
        event.listen(session.sync_session, "after_commit", lambda _: task.cancel())
        rx.on_commit(lambda: seen.append(1))

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(work())
    assert seen == [1]


def test_a_hook_may_begin_a_transaction() -> None:
    inner: Any = untyped(lambda session: session.scalar(ONE))
    seen: list[Any] = []

    def work(session: Session) -> None:
        rx.on_commit(lambda: seen.append(inner()))

    rx.transaction(work)()
    assert seen == [1]
