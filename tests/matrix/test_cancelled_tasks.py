"""Tasks that are cancelled while they work with the database, on every asynchronous driver.

An answer that was asked for and not read belongs to nobody: the next user of that connection must
not get it, and the pool must not lose the connection's place.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import uvloop
from sqlalchemy import Connection, text

import rxdb as rx
from rxdb import Target
from rxdb.dialect import release

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
DESCRIPTORS = Path("/proc/self/fd")
SLOTS = 4
CANCELLED = 100
ECHO = text("SELECT :n * 1")
FOREVER = "WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t"
SLOW = {"postgresql": "SELECT pg_sleep(60)", "sqlite": FOREVER}
"""A query that takes longer than a test may; what is not named here knows SLEEP."""

Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]

pytestmark = [pytest.mark.own_loop, pytest.mark.async_driver]


@pytest.fixture(params=LOOPS)
def in_loop(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine function in a new event loop of either kind."""

    def work(function: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(function())

    return work


@pytest.fixture(autouse=True)
def _few_connections(url: str) -> Iterator[None]:
    options = {"pool_size": SLOTS, "max_overflow": 0, "pool_timeout": 30}
    rx.set_config(rx.Config(db_url=url, on_outdated_schema="ignore", engine_options=options))
    yield
    rx.set_config(None)
    gc.collect()  # a connection whose making was cancelled ends with the traceback of that


async def echo(session: Any, number: int) -> None:
    """Ask for a number that nobody else asks for."""
    answer = await session.scalar(ECHO, {"n": number})
    assert int(answer) == number


async def read_and_write(number: int) -> None:
    """Use a connection in each way: answers to read, a row to write, a commit."""
    async with rx.asession(read_only=number % 2 == 0) as session:
        for n in range(number * 10, number * 10 + 3):
            await echo(session, n)
        if number % 2:
            connection = await session.connection()
            await connection.execute(text("INSERT INTO written (n) VALUES (:n)"), {"n": number})
            await session.commit()
            await echo(session, number * 10 + 3)


async def every_connection_answers() -> None:
    """Ask all connections of both pools at once; below SQLAlchemy, which would begin to write."""

    def ask(connection: Connection, number: int) -> None:
        cursor = connection.connection.cursor()
        cursor.execute(f"SELECT {number}")
        assert [tuple(row) for row in cursor.fetchall()] == [(number,)]
        cursor.close()

    for engine in (rx.get_async_engine(), rx.get_async_engine(read_only=True)):
        # A cancelled task may have left it to another one to close its session.
        while engine.pool.checkedout():  # type: ignore[attr-defined]  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.01)
        async with AsyncExitStack() as stack:
            connects = [stack.enter_async_context(engine.connect()) for _ in range(SLOTS)]
            for number, connection in enumerate([await connect for connect in connects]):
                await connection.run_sync(ask, number)


def open_sockets() -> int:
    """Count the sockets of this process, but for those that only the garbage collector holds."""
    gc.collect()
    links = DESCRIPTORS.iterdir() if DESCRIPTORS.is_dir() else []
    return sum(one.exists() and str(one.readlink()).startswith("socket:") for one in links)


@pytest.mark.skipif(
    release(sqlalchemy.__version__) < (2, 0, 46),
    reason="SQLAlchemy before 2.0.46 closes aiosqlite's connection in the task that was cancelled",
)
def test_a_cancelled_task_leaves_no_answer_behind(
    in_loop: Run, caplog: pytest.LogCaptureFixture
) -> None:
    moments = random.Random(20)

    async def once(numbers: range, patience: float) -> int:
        """Let some tasks begin, cancel half of them at a random moment, and count those."""
        tasks = [asyncio.ensure_future(read_and_write(number)) for number in numbers]
        for _ in range(moments.randrange(60)):  # within the steps of one task …
            await asyncio.sleep(0)
        await asyncio.sleep(moments.choice((0, moments.random() * patience)))  # … or between
        for _ in range(moments.randrange(1, 3)):  # at times twice: while the session closes
            for task in moments.sample(tasks, 3):
                task.cancel()
            await asyncio.sleep(0)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled = [one for one in ended if isinstance(one, asyncio.CancelledError)]
        assert [one for one in ended if one is not None and one not in cancelled] == []
        return len(cancelled)

    async def work() -> None:
        async with rx.get_async_engine().begin() as connection:
            await connection.execute(text("CREATE TABLE written (n INTEGER)"))
        began = time.monotonic()
        await asyncio.gather(*map(read_and_write, range(1, 7)))
        patience = (time.monotonic() - began) / 2
        cancelled, number = 0, 10
        while cancelled < CANCELLED:
            cancelled += await once(range(number, number + 6), patience)
            number += 6
        await every_connection_answers()

    before = open_sockets()
    in_loop(work)
    assert open_sockets() <= before
    assert [one for one in caplog.records if one.name.startswith("rxdb.pool")] == []


def test_a_cancelled_query_ends_soon(in_loop: Run, target: Target) -> None:
    """Its server or thread need not be done first: it would take minutes."""
    slow = text(SLOW.get(target.dialect.name, "SELECT SLEEP(60)"))

    async def work() -> None:
        async with rx.asession(read_only=True) as session:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await session.scalar(slow)
            await session.rollback()
            await echo(session, 1)
        await every_connection_answers()

    began = time.monotonic()
    in_loop(work)
    assert time.monotonic() - began < 30


def test_a_task_group_ends_with_its_first_error(in_loop: Run) -> None:
    async def fail() -> None:
        async with rx.asession(read_only=True) as session:
            await echo(session, 1)
            raise KeyError

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            for number in range(20):
                group.create_task(read_and_write(number * 2))

    async def work() -> None:
        for _ in range(5):
            with pytest.raises(ExceptionGroup) as caught:
                await all_of_them()
            assert caught.group_contains(KeyError)
        await every_connection_answers()

    in_loop(work)


def test_a_thousand_tasks_share_a_few_connections(in_loop: Run) -> None:
    async def work() -> None:
        await asyncio.gather(*(read_and_write(number * 2) for number in range(1000)))
        await every_connection_answers()

    in_loop(work)
