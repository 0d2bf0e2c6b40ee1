"""What rx.transaction promises, on every server and driver."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import databases
import pytest
from conftest import OpenSession
from databases import SERVERS, at_once, is_async
from proxy import Relay, relay
from sqlalchemy import URL, Engine, delete, exc, insert, text, update
from sqlalchemy.orm.exc import StaleDataError
from sqlmodel import Field, Session, col, select

import rxdb as rx
from rxdb import Feature, Target, failures
from rxdb.errors import BadArgument


class Account(rx.Model, table=True):
    """A key of its own, so that servers without generated keys take part."""

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    amount: int


Transact = Callable[..., Any]


@pytest.fixture(autouse=True)
def _accounts(engine: Engine, run: databases.Run) -> None:
    def create() -> None:
        Account.__table__.create(engine)  # type: ignore[attr-defined]  # SQLModel declares no __table__
        with Session(engine) as session:
            session.add_all([Account(number=1, amount=10), Account(number=2, amount=10)])
            session.commit()

    run(create)


@pytest.fixture
def transact(target: Target, url: str, open_session: OpenSession) -> Transact:
    """Run a function with a session in a transaction of the database and driver under test."""

    made: Any = rx.transaction

    def transact(function: Callable[[Session], Any], place: str | URL = url, **options: Any) -> Any:
        if not is_async(target):
            return made(url=place, **options)(function)()
        from sqlalchemy.util import await_only

        async def work(session: Any) -> Any:
            return await session.run_sync(function)

        return await_only(made(url=place, **options)(work)())

    return transact


def meeting(target: Target, count: int) -> Callable[[], None]:
    """Return a function that returns when it was called *count* times."""
    tasks, threads = asyncio.Barrier(count), threading.Barrier(count, timeout=20)

    def meet() -> None:
        if is_async(target):
            from sqlalchemy.util import await_only

            await_only(asyncio.wait_for(tasks.wait(), 20))
        else:
            threads.wait()

    return meet


def add(session: Session, number: int, amount: int) -> None:
    """Change a row by one statement, as it is at that moment."""
    change = update(Account).where(col(Account.number) == number)
    session.execute(change.values(amount=col(Account.amount) + amount))


def amounts(open_session: OpenSession) -> dict[int, int]:
    with open_session() as session:
        return {a.number: a.amount for a in session.exec(select(Account)).all()}


def test_what_it_did_is_stored_and_what_it_returns_is_returned(
    transact: Transact, open_session: OpenSession
) -> None:
    def work(session: Session) -> Account:
        add(session, 1, -3)
        return session.exec(select(Account).where(Account.number == 1)).one()

    assert transact(work).amount == 7
    assert amounts(open_session) == {1: 7, 2: 10}


REFUSED = [{"number": 3, "amount": 1}, {"number": 4, "wrong": 1}]


def test_many_rows_of_which_one_is_refused_roll_everything_back(
    transact: Transact, open_session: OpenSession
) -> None:
    def work(session: Session) -> None:
        add(session, 1, -3)
        rx.bulk_insert(session, Account, REFUSED, batch=1)

    with pytest.raises(rx.BadRow):
        transact(work)
    assert amounts(open_session) == {1: 10, 2: 10}


def test_no_part_of_many_rows_is_stored_when_the_function_goes_on(
    transact: Transact, open_session: OpenSession
) -> None:
    def work(session: Session) -> None:
        add(session, 1, -3)
        with suppress(rx.BadRow):
            rx.bulk_insert(session, Account, REFUSED, batch=1)

    with suppress(exc.SQLAlchemyError):  # where the call cannot be rolled back alone
        transact(work)
    assert amounts(open_session) in [{1: 7, 2: 10}, {1: 10, 2: 10}]


def test_an_error_rolls_everything_back_and_is_not_repeated(
    transact: Transact, open_session: OpenSession
) -> None:
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        add(session, 1, -3)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        transact(work)
    assert calls == [1]
    assert amounts(open_session) == {1: 10, 2: 10}


def test_a_violated_constraint_is_not_repeated(transact: Transact) -> None:
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        session.add(Account(number=1, amount=0))

    with pytest.raises(rx.UniqueViolation):
        transact(work)
    assert calls == [1]


def test_read_only_refuses_to_write(transact: Transact, open_session: OpenSession) -> None:
    with pytest.raises(rx.ReadOnly):
        transact(lambda session: add(session, 1, 1), read_only=True)
    assert amounts(open_session) == {1: 10, 2: 10}


@pytest.mark.parametrize("method", ["commit", "rollback"])
@pytest.mark.parametrize(
    "owner",
    [
        pytest.param(lambda session: session, id="session"),
        pytest.param(lambda session: session.get_transaction(), id="transaction"),
        pytest.param(lambda session: session.connection(), id="connection"),
    ],
)
def test_the_function_cannot_end_the_transaction(
    transact: Transact, open_session: OpenSession, owner: Callable[[Session], Any], method: str
) -> None:
    calls: list[int] = []

    def work(session: Session) -> None:
        calls.append(1)
        add(session, 1, 1)
        with pytest.raises(BadArgument, match="To roll everything back, raise an error"):
            getattr(owner(session), method)()
        add(session, 2, 1)
        if len(calls) == 1:
            raise rx.LockTimeout("words")

    transact(work)
    assert amounts(open_session) == {1: 11, 2: 11}


def leave(session: Session) -> None:
    with session:
        pass


@pytest.mark.parametrize(
    "close",
    [
        pytest.param(lambda session: session.close(), id="close"),
        pytest.param(lambda session: session.reset(), id="reset"),
        pytest.param(lambda session: session.invalidate(), id="invalidate"),
        pytest.param(lambda session: session.get_transaction().close(), id="transaction"),
        pytest.param(leave, id="with"),
    ],
)
def test_the_function_cannot_close_the_session(
    transact: Transact, open_session: OpenSession, close: Callable[[Session], None]
) -> None:
    """What it did before would be lost, and reported as stored."""

    def work(session: Session) -> None:
        add(session, 1, 1)
        session.add(Account(number=3, amount=0))
        with pytest.raises(BadArgument, match="roll back or close in between"):
            close(session)

    transact(work)
    assert amounts(open_session) == {1: 11, 2: 10, 3: 0}


@pytest.mark.needs(Feature.SAVEPOINTS)
def test_nor_from_inside_of_a_savepoint(transact: Transact, open_session: OpenSession) -> None:
    def work(session: Session) -> None:
        root: Any = session.get_transaction()
        with session.begin_nested() as savepoint:
            add(session, 1, 1)
            with pytest.raises(BadArgument):
                root.commit()
            savepoint.rollback()
        session.begin(nested=True).commit()
        raise KeyError

    with pytest.raises(KeyError):
        transact(work)
    assert amounts(open_session) == {1: 10, 2: 10}


def test_the_function_cannot_begin_a_transaction(
    transact: Transact, open_session: OpenSession
) -> None:
    def work(session: Session) -> None:
        with session.begin():
            add(session, 1, 1)
        raise KeyError

    with pytest.raises(BadArgument, match=r"write: session\.begin_nested\(\)"):
        transact(work)
    assert amounts(open_session) == {1: 10, 2: 10}


@pytest.mark.parametrize("read_only", [False, True])
def test_a_table_that_a_migration_changed_is_read_anew(
    engine: Engine, transact: Transact, read_only: bool
) -> None:
    def read(session: Session) -> object:
        return session.connection().scalar(text("SELECT amount FROM account"))

    for _ in range(8):  # drivers prepare what is executed often
        assert transact(read, read_only=read_only) == 10
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE account"))
        connection.execute(text("CREATE TABLE account (amount VARCHAR(9))"))
        connection.execute(text("INSERT INTO account VALUES ('nothing')"))
    assert transact(read, read_only=read_only) == "nothing"


@pytest.mark.needs(Feature.SKIP_LOCKED)  # a server that locks rows
def test_a_deadlock_is_repeated_and_both_are_stored(
    target: Target, transact: Transact, open_session: OpenSession
) -> None:
    meet, calls = meeting(target, 2), []

    def move(session: Session, source: int, to: int) -> None:
        calls.append(source)
        add(session, source, -1)
        if len(calls) <= 2:
            meet()
        add(session, to, 1)

    results = at_once(
        target,
        lambda: transact(lambda session: move(session, 1, 2)),
        lambda: transact(lambda session: move(session, 2, 1)),
    )
    assert results == [None, None]
    assert len(calls) == 3
    assert amounts(open_session) == {1: 10, 2: 10}


@pytest.mark.needs(Feature.SKIP_LOCKED)
def test_serializable_transactions_that_conflict_are_repeated(
    target: Target, transact: Transact, open_session: OpenSession
) -> None:
    """Each may take 15 where the sum is 20: READ COMMITTED would let both."""
    meet, calls = meeting(target, 2), []

    def take(session: Session, number: int) -> bool:
        calls.append(number)
        total = sum(session.exec(select(Account.amount)).all())
        if len(calls) <= 2:
            meet()
        if total >= 15:
            add(session, number, -15)
        return total >= 15

    def run(number: int) -> bool:
        found: bool = transact(
            lambda session: take(session, number), isolation_level="SERIALIZABLE"
        )
        return found

    results = at_once(target, lambda: run(1), lambda: run(2))
    assert sorted(results) == [False, True]
    assert len(calls) == 3
    assert sum(amounts(open_session).values()) == 5


@pytest.mark.parametrize(
    "level", ["READ UNCOMMITTED", "read_committed", "REPEATABLE READ", "SNAPSHOT", "SERIALIZABLE"]
)
def test_each_isolation_level_can_be_asked_for(
    target: Target, transact: Transact, open_session: OpenSession, level: str
) -> None:
    def work(session: Session) -> None:
        add(session, 1, 1)

    if level == "SERIALIZABLE" and target.dialect.isolation not in {"", level}:
        with pytest.raises(BadArgument, match="has no isolation_level='SERIALIZABLE', and none"):
            transact(work, isolation_level=level)
        return
    transact(work, isolation_level=level)
    assert amounts(open_session) == {1: 11, 2: 10}


def test_a_reader_that_asks_for_it_sees_one_moment(
    transact: Transact, open_session: OpenSession
) -> None:
    def work(session: Session) -> list[int]:
        seen = [session.exec(select(Account.amount).where(Account.number == 1)).one()]
        with open_session() as other:
            add(other, 1, 1)
            other.commit()
        return [*seen, session.exec(select(Account.amount).where(Account.number == 1)).one()]

    assert transact(work, read_only=True, isolation_level="REPEATABLE READ") == [10, 10]


@pytest.mark.needs(Feature.SKIP_LOCKED)
def test_a_deadlock_that_was_swallowed_is_not_stored_by_half(
    target: Target, transact: Transact, open_session: OpenSession
) -> None:
    """MySQL goes on with a new transaction, PostgreSQL answers COMMIT with ROLLBACK."""
    meet, calls = meeting(target, 2), []

    def move(session: Session, source: int, to: int) -> None:
        calls.append(source)
        add(session, source, -1)
        if len(calls) <= 2:
            meet()
        try:
            add(session, to, 1)
        except rx.Deadlock:
            return

    at_once(
        target,
        lambda: transact(lambda session: move(session, 1, 2)),
        lambda: transact(lambda session: move(session, 2, 1)),
    )
    assert len(calls) == 3
    assert amounts(open_session) == {1: 10, 2: 10}


def within(
    transact: Transact, part: Callable[[Session], None], *, nested: bool
) -> Callable[[Session], object]:
    """Return a function that does a part in a call of its own, or the part itself."""
    return (lambda _: transact(part)) if nested else part


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_an_error_that_was_swallowed_stores_all_or_is_raised(
    transact: Transact, open_session: OpenSession, nested: bool, goes_on: bool
) -> None:
    """PostgreSQL answers COMMIT with ROLLBACK after an error, and calls that no error."""
    hooks: list[int] = []

    def swallow(session: Session) -> None:
        add(session, 2, 5)
        rx.on_commit(lambda: hooks.append(1))
        with pytest.raises(rx.UniqueViolation):
            session.execute(insert(Account).values(number=1, amount=0))
        if goes_on:
            add(session, 2, 1)

    try:
        transact(within(transact, swallow, nested=nested))
    except rx.UniqueViolation as error:
        assert "nothing is stored" in error.__notes__[0]  # noqa: PT017 - it may also be stored
        assert len(error.__notes__) == 1  # noqa: PT017 - it may also be stored
        assert (amounts(open_session), hooks) == ({1: 10, 2: 10}, [])
    else:
        assert (amounts(open_session), hooks) == ({1: 10, 2: 15 + goes_on}, [1])


def flush_in_vain(session: Session) -> None:
    """SQLAlchemy rolls back to the savepoint, or all, when a flush fails."""
    add(session, 2, 100)
    session.add(Account(number=1, amount=0))
    with pytest.raises(rx.UniqueViolation):
        session.flush()


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_a_flush_that_failed_is_raised_where_it_was_swallowed(
    transact: Transact, open_session: OpenSession, nested: bool, goes_on: bool
) -> None:
    def swallow(session: Session) -> None:
        flush_in_vain(session)
        if goes_on:
            add(session, 2, 1)

    with pytest.raises(rx.UniqueViolation) as raised:
        transact(within(transact, swallow, nested=nested))
    assert "nothing is stored" in raised.value.__notes__[0]
    assert amounts(open_session) == {1: 10, 2: 10}


@pytest.mark.needs(Feature.SAVEPOINTS)
def test_what_a_nested_call_swallowed_can_be_caught_around_it(
    transact: Transact, open_session: OpenSession
) -> None:
    def work(session: Session) -> None:
        add(session, 2, 5)
        with pytest.raises(rx.UniqueViolation):
            transact(flush_in_vain)
        add(session, 2, 1)

    transact(work)
    assert amounts(open_session) == {1: 10, 2: 16}


def test_a_flush_that_found_no_row_is_raised_where_it_was_swallowed(
    transact: Transact, engine: Engine
) -> None:
    """This one is no error of the database."""
    if not engine.dialect.supports_sane_rowcount:
        pytest.skip(f"{engine.dialect.name} does not count the rows of an UPDATE")

    def work(session: Session) -> None:
        found = session.get_one(Account, 1)
        session.execute(delete(Account).execution_options(synchronize_session=False))
        found.amount = 5
        with pytest.raises(StaleDataError):
            session.flush()

    with pytest.raises(StaleDataError) as raised:
        transact(work)
    assert "nothing is stored" in raised.value.__notes__[0]


@pytest.mark.needs(Feature.SAVEPOINTS)
def test_an_error_that_went_back_to_a_savepoint_is_over(
    transact: Transact, open_session: OpenSession
) -> None:
    def work(session: Session) -> None:
        add(session, 2, 5)
        with pytest.raises(rx.UniqueViolation), session.begin_nested():
            session.execute(insert(Account).values(number=1, amount=0))

    transact(work)
    assert amounts(open_session) == {1: 10, 2: 15}


def test_the_last_error_tells_how_often_it_was_tried(transact: Transact) -> None:
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        raise rx.LockTimeout("words")

    with pytest.raises(rx.LockTimeout, match="words") as raised:
        transact(work, attempts=3)
    assert calls == [1, 1, 1]
    (note,) = raised.value.__notes__
    assert note.startswith("rx.transaction ran it 3 times in ")
    assert note.endswith("attempts=, timeout=")


def test_no_try_begins_when_the_time_is_up(transact: Transact) -> None:
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        raise rx.LockTimeout("words")

    with pytest.raises(rx.LockTimeout):
        transact(work, attempts=1000, timeout=0.001)
    assert calls == [1]


def test_what_was_raised_from_a_passing_error_is_repeated(transact: Transact) -> None:
    calls = []

    def work(session: Session) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError from rx.Deadlock("words")
        return len(calls)

    assert transact(work) == 2


# Nested calls


@pytest.mark.needs(Feature.SAVEPOINTS)
def test_a_nested_call_is_a_savepoint(transact: Transact, open_session: OpenSession) -> None:
    def fail(session: Session) -> None:
        add(session, 1, 100)
        raise KeyError

    def outer(session: Session) -> None:
        add(session, 1, 1)
        with pytest.raises(KeyError):
            transact(fail)
        transact(lambda inner: add(inner, 2, 1))

    transact(outer)
    assert amounts(open_session) == {1: 11, 2: 11}


@pytest.mark.needs(Feature.SAVEPOINTS)
@pytest.mark.parametrize("level", [None, "SERIALIZABLE"])
def test_a_nested_call_only_reads_where_the_outermost_does(
    transact: Transact, level: str | None
) -> None:
    def fail(session: Session) -> None:
        with pytest.raises(rx.ReadOnly):
            add(session, 1, 100)
        raise KeyError

    def read(session: Session) -> int:
        return session.exec(select(Account.amount).where(Account.number == 1)).one()

    def outer(session: Session) -> int:
        with pytest.raises(KeyError):
            transact(fail, read_only=True)
        inner: int = transact(lambda _: transact(read, read_only=True), read_only=True)
        return inner + read(session)

    assert transact(outer, read_only=True, isolation_level=level) == 20


def test_a_nested_call_is_rolled_back_with_the_outermost(
    transact: Transact, open_session: OpenSession
) -> None:
    def outer(session: Session) -> None:
        transact(lambda inner: add(inner, 1, 1))
        raise KeyError

    with pytest.raises(KeyError):
        transact(outer)
    assert amounts(open_session) == {1: 10, 2: 10}


def test_only_the_outermost_is_run_again(transact: Transact, open_session: OpenSession) -> None:
    calls = []

    def inner(session: Session) -> None:
        calls.append("inner")
        add(session, 1, 1)
        if len(calls) == 2:
            raise rx.Deadlock("words")

    def outer(session: Session) -> None:
        calls.append("outer")
        transact(inner)

    transact(outer)
    assert calls == ["outer", "inner"] * 2
    assert amounts(open_session) == {1: 11, 2: 10}


def test_where_there_are_no_savepoints_half_is_never_stored(
    target: Target, transact: Transact, open_session: OpenSession
) -> None:
    if Feature.SAVEPOINTS in target.dialect.features:
        pytest.skip(f"{target.dialect.name} has savepoints")

    def fail(session: Session) -> None:
        add(session, 1, 100)
        raise KeyError("inner")

    def outer(session: Session) -> None:
        with pytest.raises(KeyError):
            transact(fail)

    with pytest.raises(KeyError, match="inner"):
        transact(outer)
    assert amounts(open_session) == {1: 10, 2: 10}


# After the commit


def test_hooks_run_once_in_their_order_after_the_commit(
    target: Target, transact: Transact, open_session: OpenSession
) -> None:
    seen: list[int] = []
    calls: list[int] = []

    def look() -> None:
        seen.append(amounts(open_session)[1])

    async def look_async() -> None:
        from sqlalchemy.util import greenlet_spawn

        await greenlet_spawn(look)

    def work(session: Session) -> None:
        calls.append(1)
        rx.on_commit(lambda: seen.append(len(calls)))
        add(session, 1, 1)
        rx.on_commit(look_async if is_async(target) else look)
        if len(calls) == 1:
            raise rx.Deadlock("words")

    transact(work)
    assert seen == [2, 11]


@pytest.mark.needs(Feature.SAVEPOINTS)
def test_hooks_of_a_savepoint_that_is_rolled_back_are_forgotten(transact: Transact) -> None:
    seen: list[str] = []

    def fail(session: Session) -> None:
        rx.on_commit(lambda: seen.append("inner"))
        raise KeyError

    def note(session: Session) -> None:
        rx.on_commit(lambda: seen.append("last"))

    def outer(session: Session) -> None:
        rx.on_commit(lambda: seen.append("first"))
        with pytest.raises(KeyError):
            transact(fail)
        transact(note)
        assert seen == []

    transact(outer)
    assert seen == ["first", "last"]


@pytest.mark.needs(Feature.SAVEPOINTS)
def test_hooks_follow_the_savepoints_of_the_session(transact: Transact) -> None:
    seen: list[str] = []

    def hook(name: str) -> None:
        rx.on_commit(lambda: seen.append(name))

    def work(session: Session) -> None:
        hook("first")
        with suppress(KeyError), session.begin_nested():
            hook("of an error")
            with session.begin_nested():
                hook("of one that was released within")
            raise KeyError
        rolled_back = session.begin_nested()
        session.begin_nested()
        hook("of one within")
        rolled_back.rollback()
        closed = session.begin_nested()
        hook("of one that was closed")
        closed.close()
        with session.begin_nested():
            session.add(Account(number=1, amount=0))
            hook("of a flush that failed")
            with pytest.raises(rx.UniqueViolation):
                session.flush()
        with session.begin_nested(), session.begin_nested():
            hook("second")
        session.begin_nested()
        hook("third")

    transact(work)
    assert seen == ["first", "second", "third"]


def test_a_hook_that_raises_undoes_nothing_and_repeats_nothing(
    transact: Transact, open_session: OpenSession
) -> None:
    seen: list[int] = []

    def fail() -> None:
        raise rx.Deadlock("of the hook")

    def work(session: Session) -> None:
        add(session, 1, 1)
        rx.on_commit(fail)
        rx.on_commit(lambda: seen.append(1))

    with pytest.raises(rx.Deadlock, match="of the hook") as raised:
        transact(work)
    assert "the transaction is committed" in raised.value.__notes__[0]
    assert seen == [1]
    assert amounts(open_session) == {1: 11, 2: 10}


# A connection that is lost

COMMIT = b"COMMIT(?!TED)"


@contextmanager
def between(target: Target, open_session: OpenSession) -> Iterator[tuple[Relay, URL]]:
    """Put a relay before the server, where there is one; it reads what is not encrypted."""
    if target.url.host is None or target.url.port is None:
        pytest.skip(f"{target.dialect.name} has no network in between")
    with relay(target.url.host, target.url.port) as through:
        place = target.url.set(port=through.port).update_query_dict({"sslmode": "disable"})
        with open_session(place) as session:  # connect: the settings are committed, too
            session.exec(select(Account)).all()
        yield through, place


@pytest.mark.parametrize("stage", ["before", "after"])
def test_a_connection_lost_before_the_commit_is_met_with_one_repetition(
    target: Target, transact: Transact, open_session: OpenSession, stage: str
) -> None:
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        add(session, 1, 1)
        add(session, 2, 1)

    with between(target, open_session) as (through, place):
        through.cut = b"UPDATE", stage
        transact(work, place)
    assert len(calls) == 2
    assert amounts(open_session) == {1: 11, 2: 11}


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("nested", [False, True])
def test_a_lost_connection_that_was_swallowed_is_met_with_one_repetition(
    target: Target, transact: Transact, open_session: OpenSession, nested: bool, goes_on: bool
) -> None:
    calls = []

    with between(target, open_session) as (through, place):

        def lose(session: Session) -> None:
            session.get_one(Account, 1).amount += 1
            session.flush()

        def work(session: Session) -> None:
            calls.append(1)
            add(session, 2, 1)
            through.cut = (b"UPDATE", "before") if len(calls) == 1 else None
            with suppress(rx.ConnectionLost):
                transact(lose, place) if nested else lose(session)
            if goes_on:
                add(session, 2, 1)

        transact(work, place)
    assert len(calls) == 2
    assert amounts(open_session) == {1: 11, 2: 11 + goes_on}


@pytest.mark.parametrize(("stage", "stored"), [("before", 10), ("after", 11)])
def test_a_connection_lost_during_commit_is_not_repeated(
    target: Target, transact: Transact, open_session: OpenSession, stage: str, stored: int
) -> None:
    calls, hooks = [], []

    def work(session: Session) -> None:
        calls.append(1)
        add(session, 1, 1)
        rx.on_commit(lambda: hooks.append(1))

    with between(target, open_session) as (through, place):
        through.cut = COMMIT, stage
        with pytest.raises(rx.CommitUnknown) as raised:
            transact(work, place)
    assert isinstance(raised.value, rx.ConnectionLost)
    assert isinstance(raised.value, exc.DBAPIError)
    assert "Look for its rows" in str(raised.value)
    assert (calls, hooks) == ([1], [])
    assert amounts(open_session) == {1: stored, 2: 10}


def test_an_ordinary_commit_tells_the_same(target: Target, open_session: OpenSession) -> None:
    def work(place: URL) -> None:
        with open_session(place) as session:
            add(session, 1, 1)
            session.commit()

    with between(target, open_session) as (through, place):
        through.cut = COMMIT, "after"
        with pytest.raises(rx.CommitUnknown):
            work(place)
    assert amounts(open_session) == {1: 11, 2: 10}


@pytest.mark.parametrize("word", [b"UPDATE", b"ROLLBACK"])
def test_a_connection_lost_elsewhere_is_no_unknown_commit(
    target: Target, open_session: OpenSession, word: bytes
) -> None:
    def work(place: URL) -> None:
        with open_session(place) as session:
            add(session, 1, 1)
            session.rollback()

    with between(target, open_session) as (through, place):
        through.cut = word, "before"
        with pytest.raises(rx.ConnectionLost) as raised:
            work(place)
    assert not isinstance(raised.value, rx.CommitUnknown)
    assert amounts(open_session) == {1: 10, 2: 10}


class Receipt(rx.Model, table=True):
    """What a transaction leaves; the database would take it twice."""

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    payment: int


@pytest.mark.parametrize("stage", ["before", "after"])
def test_nothing_is_lost_and_nothing_is_done_twice_wherever_the_connection_breaks(
    target: Target, transact: Transact, engine: Engine, open_session: OpenSession, stage: str
) -> None:
    """Break it at each message of a transaction in turn, until one passes unbroken."""
    Receipt.__table__.create(engine)  # type: ignore[attr-defined]  # SQLModel declares no __table__
    numbers = count(1)
    unknown = repeated = 0

    def pay(session: Session, payment: int) -> None:
        tries.append(payment)
        session.add(Receipt(number=next(numbers), payment=payment))
        session.flush()
        add(session, 1, -1)
        add(session, 2, 1)

    with between(target, open_session) as (through, place):
        for payment in range(100):
            tries: list[int] = []
            through.cut = payment, stage
            try:
                transact(lambda session, payment=payment: pay(session, payment), place)
            except rx.CommitUnknown:
                unknown, allowed = unknown + 1, {0, 1}
            else:
                allowed = {1}
            repeated += len(tries) - 1
            is_over, through.cut = through.cut is not None, None
            with open_session() as session:
                found = session.exec(select(Receipt).where(Receipt.payment == payment)).all()
                stored = len(session.exec(select(Receipt)).all())
            assert len(found) in allowed
            assert amounts(open_session) == {1: 10 - stored, 2: 10 + stored}
            if is_over:
                break
    assert is_over
    assert unknown == 1
    assert repeated >= 3


def test_a_connection_that_was_closed_before_the_commit_leaves_no_question(
    target: Target, engine: Engine, transact: Transact, open_session: OpenSession
) -> None:
    server = SERVERS[target.dialect.name]
    if not server.kill:
        pytest.skip(f"{target.dialect.name} has no sessions that could be ended")
    with engine.connect() as connection:
        if not hasattr(connection.connection.driver_connection, "fileno"):
            pytest.skip(f"{target.driver.name} does not show its socket")
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        add(session, 1, 1)
        if len(calls) > 1:
            return
        number = session.scalar(text(server.session))
        with engine.connect() as other:
            other.exec_driver_sql(server.kill.format(number))
        for _ in range(1000):  # until the server has closed it
            if failures._is_hung_up(session.connection().connection):
                return
            time.sleep(0.01)

    transact(work)
    assert len(calls) == 2
    assert amounts(open_session) == {1: 11, 2: 10}
