"""How connections are handed out, limited and given back, on every server and driver."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, QueuePool, exc, text

import rxdb as rx
from rxdb import Feature, Target
from rxdb.pool import FairPool

ONE = text("SELECT 1")
sync_driver = pytest.mark.sync_driver
async_driver = pytest.mark.async_driver
own_loop = pytest.mark.own_loop
unix = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@contextmanager
def options(**chosen: Any) -> Iterator[None]:
    """Let the engines that are made inside have these options."""
    rx.set_config(rx.Config(engine_options=chosen))
    yield
    rx.set_config(None)


def small(url: str, size: int, *, read_only: bool = False, timeout: float = 20) -> Engine:
    """Return the kept engine of a database with few connections."""
    with options(pool_size=size, max_overflow=0, pool_timeout=timeout):
        return rx.get_engine(url, read_only=read_only)


def waiting(engine: Engine, count: int) -> None:
    """Wait until *count* threads wait for a connection."""
    until = time.monotonic() + 20
    pool: Any = engine.pool
    while pool.waiting < count:
        assert time.monotonic() < until, f"{pool.waiting} of {count} wait"
        time.sleep(0.001)


@sync_driver
def test_connections_go_to_whoever_waited_longest(url: str) -> None:
    engine = small(url, 1)
    served: list[int] = []

    def work(number: int) -> None:
        with engine.connect():
            served.append(number)

    threads = [Thread(target=work, args=(number,)) for number in range(5)]
    with engine.connect():
        for number, thread in enumerate(threads):
            thread.start()
            waiting(engine, number + 1)
    with engine.connect():  # asks at once, and is behind all who wait
        served.append(5)
    for thread in threads:
        thread.join()
    assert served == [0, 1, 2, 3, 4, 5]
    assert rx.pool_status(url).opened == 1


@sync_driver
@pytest.mark.parametrize(
    ("chosen", "next_one"), [({}, "last"), ({"pool_use_lifo": False}, "first")]
)
def test_what_came_back_last_is_used_next_unless_all_shall_take_turns(
    url: str, chosen: dict[str, Any], next_one: str
) -> None:
    with options(**chosen):
        engine = rx.get_engine(url)
    first, last = engine.raw_connection(), engine.raw_connection()
    came_back = {"first": first.dbapi_connection, "last": last.dbapi_connection}
    first.close()
    last.close()
    taken = engine.raw_connection()
    assert taken.dbapi_connection is came_back[next_one]
    taken.close()


@sync_driver
def test_waiting_in_vain_tells_what_to_do(url: str) -> None:
    engine = small(url, 1, timeout=0.01)
    with engine.connect():
        with pytest.raises(rx.PoolTimeout, match=r"all 1 are in use.*\{\"pool_size\": 2\}") as told:
            engine.connect()
        status = rx.pool_status(url)
        assert (status.checked_out, status.waiting, status.timeouts) == (1, 0, 1)
    assert isinstance(told.value, exc.TimeoutError)
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)
    with engine.connect() as connection:
        assert connection.scalar(ONE) == 1


@sync_driver
@pytest.mark.needs(Feature.CONCURRENT_WRITES)
def test_both_engines_of_a_database_have_one_limit(url: str) -> None:
    ordinary, reading = (small(url, 2, read_only=only, timeout=0.01) for only in (False, True))
    with ordinary.connect() as one, reading.connect() as other:
        one.execute(ONE)
        other.execute(ONE)
        for engine in (ordinary, reading):
            with pytest.raises(rx.PoolTimeout, match="all 2 are in use"):
                engine.connect()
    assert rx.pool_status(url).idle == 2


@sync_driver
@pytest.mark.needs(Feature.CONCURRENT_WRITES)
def test_an_idle_connection_of_one_engine_makes_room_for_the_other(url: str) -> None:
    ordinary, reading = (small(url, 2, read_only=only) for only in (False, True))
    for engine in (ordinary, reading, ordinary):
        with engine.connect() as one, engine.connect() as other:
            assert one.scalar(ONE) == other.scalar(ONE) == 1
            now = rx.pool_status(url)
            assert now.opened - now.closed == now.checked_out == 2


@sync_driver
@pytest.mark.needs(Feature.CONCURRENT_WRITES)
def test_who_waits_for_one_engine_gets_the_room_of_the_other(url: str) -> None:
    ordinary, reading = (small(url, 1, read_only=only) for only in (False, True))
    found: list[object] = []

    def read() -> None:
        with reading.connect() as connection:
            found.append(connection.execute(ONE).scalar())

    thread = Thread(target=read)
    with ordinary.connect() as connection:
        connection.execute(ONE)
        thread.start()
        waiting(reading, 1)
    thread.join(20)
    assert found == [1]


@sync_driver
def test_many_threads_on_both_engines_stay_within_the_limit(url: str) -> None:
    both = [small(url, 3, read_only=only) for only in (False, True)]
    done: list[int] = []

    def work(number: int) -> None:
        for turn in range(20):
            with both[(number + turn) % 2].connect() as connection:
                done.append(connection.execute(ONE).scalar() or 0)

    threads = [Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(done) == 240
    now = rx.pool_status(url)
    assert (now.checked_out, now.waiting) == (0, 0)
    assert now.idle == now.opened - now.closed <= now.size


@sync_driver
def test_a_connection_that_cannot_be_made_keeps_no_room(
    target: Target, make_engine: Callable[..., Engine]
) -> None:
    if target.url.port is None:
        pytest.skip(f"{target.dialect.name} has no network in between")
    nowhere = replace(target, url=target.url.set(port=1))
    engine = make_engine(nowhere, pool_size=1, max_overflow=0, pool_timeout=0.01)
    for _ in range(2):
        with pytest.raises(exc.DBAPIError):
            engine.connect()
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # Engine declares the base class


@sync_driver
def test_a_forgotten_connection_comes_back(url: str) -> None:
    engine = small(url, 1, timeout=0.01)
    forgotten = engine.connect()
    del forgotten
    gc.collect()
    with engine.connect() as connection:
        assert connection.scalar(ONE) == 1


@pytest.fixture
def raw(engine: Engine) -> Any:
    """A connection past SQLAlchemy, in whose driver statements begin a transaction."""
    found = engine.raw_connection()
    try:
        found.rollback()
    except engine.dialect.loaded_dbapi.Error as error:
        pytest.skip(f"the driver begins no transaction by itself: {error}")
    return found


@sync_driver
@pytest.mark.parametrize("ended", ["commit", "rollback"])
def test_what_was_written_past_sqlalchemy_is_rolled_back(
    engine: Engine, raw: Any, ended: str
) -> None:
    def insert(raw: Any, number: int) -> None:
        cursor = raw.cursor()
        cursor.execute(f"INSERT INTO written (n) VALUES ({number})")
        cursor.close()

    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE written (n INTEGER)"))
    getattr(raw, ended)()
    insert(raw, 1)
    raw.close()
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO written (n) VALUES (2)"))
        getattr(connection, ended)()
        insert(connection.connection, 3)
    with engine.connect() as connection:
        found = connection.scalars(text("SELECT n FROM written")).all()
    assert found == ([2] if ended == "commit" else [])


@sync_driver
def test_a_connection_that_was_closed_past_the_pool_is_replaced(engine: Engine, raw: Any) -> None:
    raw.driver_connection.close()
    raw.close()
    with engine.connect() as connection:
        assert connection.scalar(ONE) == 1


@sync_driver
def test_overflow_is_opened_under_load_and_closed_afterwards(url: str) -> None:
    with options(pool_size=1, max_overflow=1, pool_timeout=0.01):
        engine = rx.get_engine(url)
    with engine.connect(), engine.connect(), pytest.raises(rx.PoolTimeout):
        engine.connect()
    pool: Any = engine.pool
    assert (pool.size(), pool.checkedin(), pool.checkedout(), pool.overflow()) == (1, 1, 0, 0)
    assert "Connections in pool: 1 " in pool.status()


@sync_driver
@pytest.mark.parametrize("unlimited", [{"pool_size": 0}, {"pool_size": 1, "max_overflow": -1}])
def test_any_number_of_connections_can_be_allowed(url: str, unlimited: dict[str, Any]) -> None:
    with options(**unlimited):
        engine = rx.get_engine(url, read_only=True)
    with ExitStack() as stack:
        every = [stack.enter_context(engine.connect()) for _ in range(12)]
        assert {connection.execute(ONE).scalar() for connection in every} == {1}


@sync_driver
def test_the_application_may_choose_the_pool(url: str) -> None:
    with options(poolclass=NullPool):
        assert type(rx.get_engine(url).pool) is NullPool
    rx.dispose()
    with options(poolclass=QueuePool, pool_size=3):
        assert type(rx.get_engine(url).pool) is QueuePool
    rx.dispose()
    assert type(rx.get_engine(url).pool) is FairPool


def sockets() -> int:
    """Count the open files and sockets of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


@sync_driver
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not list them")
def test_dispose_leaves_no_file_socket_or_thread(url: str) -> None:
    with rx.session(url) as session:  # what is loaded once
        session.connection().execute(ONE)
    rx.dispose()
    gc.collect()
    before = sockets()
    engine = rx.get_engine(url)
    with engine.connect() as late:
        late.execute(ONE)
        with rx.session(url) as session, rx.session(url, read_only=True) as reader:
            assert reader.connection().execute(ONE).scalar() == 1
            del session
        rx.dispose()
    gc.collect()
    assert sockets() <= before  # also of the connection that came back afterwards


FORK = """
import os, sys, threading, time
import rxdb as rx, sqlalchemy as sa

url = sys.argv[1]
rx.set_config(rx.Config(engine_options={"pool_size": 1, "max_overflow": 0, "pool_timeout": 5}))
engines = [rx.get_engine(url), rx.get_engine(url, read_only=True)]
held = engines[0].connect()
held.execute(sa.text("SELECT 1"))
held.rollback()  # a transaction would hold the write lock of a database that has one
waiter = threading.Thread(target=lambda: engines[0].connect().close())
waiter.start()
while not engines[0].pool.waiting:
    time.sleep(0.001)
locked, gone = threading.Event(), threading.Event()

def hold_lock():
    with engines[0].pool.lock:
        locked.set()
        gone.wait()

holder = threading.Thread(target=hold_lock)
holder.start()
locked.wait()
child = os.fork()
if child == 0:
    for engine in (*engines, rx.get_engine(url)):
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT 1")) == 1
    os._exit(0)
gone.set()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert held.scalar(sa.text("SELECT 1")) == 1
held.close()
waiter.join()
holder.join()
assert rx.pool_status(url).opened == 1
"""


@unix
@sync_driver
@pytest.mark.needs(Feature.SEVERAL_PROCESSES)
def test_a_fork_takes_over_neither_locks_nor_limits_nor_waiters(url: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK, url], check=True, timeout=60)


@own_loop
@async_driver
def test_cancelled_tasks_lose_no_connection(url: str) -> None:
    async def work(number: int) -> None:
        async with rx.asession(url, read_only=bool(number % 2)) as session:
            await session.scalar(ONE)
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        with options(pool_size=2, max_overflow=0, pool_timeout=20):
            rx.get_async_engine(url)
            rx.get_async_engine(url, read_only=True)
        await asyncio.gather(*(work(number) for number in range(4)))
        tasks = [asyncio.create_task(work(number)) for number in range(60)]
        for task in tasks[::3]:
            await asyncio.sleep(0.001)
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(end) for end in ends} <= {type(None), asyncio.CancelledError}
        now = rx.pool_status(url)
        assert (now.checked_out, now.waiting, now.timeouts) == (0, 0, 0)
        await asyncio.gather(*(work(number) for number in range(10)))

    asyncio.run(all_of_them())


async def until(is_so: Callable[[], bool]) -> None:
    """Let other tasks run, one step at a time, until something is so."""
    for _ in range(100_000):
        if is_so():
            return
        await asyncio.sleep(0)
    pytest.fail("it did not come to that")


@own_loop
@async_driver
def test_a_task_that_is_cancelled_while_it_is_served_hands_on(url: str) -> None:
    async def take() -> None:
        async with rx.get_async_engine(url).connect():
            pass

    async def all_of_them() -> None:
        with options(pool_size=1, max_overflow=0, pool_timeout=20):
            engine = rx.get_async_engine(url)
        held = await engine.connect()
        first, second = (asyncio.create_task(take()) for _ in range(2))
        await until(lambda: rx.pool_status(url).waiting == 2)
        closing = asyncio.create_task(held.close())
        await until(lambda: rx.pool_status(url).waiting == 1)
        first.cancel()  # was served, and did not run yet
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.wait_for(second, 20)
        await closing
        assert rx.pool_status(url).checked_out == 0

    asyncio.run(all_of_them())


@own_loop
@async_driver
def test_a_task_that_waits_in_vain_is_told_the_same(url: str) -> None:
    async def work() -> None:
        with options(pool_size=1, max_overflow=0, pool_timeout=0.01):
            engine = rx.get_async_engine(url)
        async with engine.connect():
            with pytest.raises(rx.PoolTimeout, match="all 1 are in use"):
                await engine.connect()
        async with engine.connect() as connection:
            assert await connection.scalar(ONE) == 1

    asyncio.run(work())
