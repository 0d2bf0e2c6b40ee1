"""How engines are made, kept, shared and ended, on every server and driver."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from conftest import OpenSession
from sqlalchemy import Column, Engine, MetaData, String, Table, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

import rxdb as rx
from rxdb import Feature, Target
from rxdb import pool as pools
from rxdb.testing.conformance import select_in_another_process

ONE = text("SELECT 1")
sync_driver = pytest.mark.sync_driver
async_driver = pytest.mark.async_driver
own_loop = pytest.mark.own_loop


@sync_driver
def test_many_threads_make_one_engine(url: str) -> None:
    together = Barrier(16)

    def get(_: int) -> Engine:
        together.wait()
        return rx.get_engine(url)

    with ThreadPoolExecutor(16) as threads:
        assert len(set(threads.map(get, range(16)))) == 1


@sync_driver
def test_is_kept_by_what_the_url_means(url: str, target: Target) -> None:
    roundabout = url.replace("/test.", "/./test.")
    assert rx.get_engine(url) is rx.get_engine(target.url) is rx.get_engine(roundabout)
    assert rx.get_engine(url, read_only=True) is not rx.get_engine(url)


@sync_driver
def test_dispose_closes_and_forgets(url: str, target: Target) -> None:
    first = rx.get_engine(url)
    with first.connect() as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
        connection.commit()
    rx.dispose()
    assert pooled(first) == 0
    assert rx.get_engine(url) is not first
    if file := target.dialect.file(target.url):
        path = Path(file)
        assert list(path.parent.glob(f"{path.name}*")) == [path]


def pooled(engine: Any) -> int:
    """Count the connections that wait in the pool."""
    count: int = engine.pool.checkedin()
    return count


def kill_pooled(engine: Engine) -> None:
    """Leave one connection in the pool, and end it behind the pool's back."""
    with engine.connect() as connection:
        connection.execute(ONE)
        dbapi_connection: Any = connection.connection.dbapi_connection
    dbapi_connection.close()


def test_a_connection_that_was_idle_is_tested(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "PING_AFTER_IDLE", 0.0)
    kill_pooled(engine)
    with engine.connect() as connection:
        assert connection.scalar(ONE) == 1


def test_a_connection_in_use_is_not_tested(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    pings: list[object] = []
    ping = engine.dialect.do_ping

    def do_ping(connection: DBAPIConnection) -> bool:
        pings.append(connection)
        return ping(connection)

    monkeypatch.setattr(engine.dialect, "do_ping", do_ping)
    for _ in range(3):
        with engine.connect() as connection:
            connection.execute(ONE)
    assert pings == []
    kill_pooled(engine)
    with pytest.raises(SQLAlchemyError):
        engine.connect().execute(ONE)


FORK = """
import os, sys
import rxdb as rx, sqlalchemy as sa

engine = rx.get_engine(sys.argv[1])
with engine.connect() as connection:
    connection.execute(sa.text("SELECT 1"))
    inherited = id(connection.connection.dbapi_connection)
child = os.fork()
if child == 0:
    assert engine.pool.checkedin() == 0
    assert rx.get_engine(sys.argv[1]) is not engine
    assert rx.session(sys.argv[1]).scalar(sa.text("SELECT 1")) == 1
    sys.exit()  # an ordinary end, where Python takes every object down
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
with engine.connect() as connection:
    assert connection.scalar(sa.text("SELECT 1")) == 1
    assert id(connection.connection.dbapi_connection) == inherited
"""


@sync_driver
@pytest.mark.needs(Feature.SEVERAL_PROCESSES)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_leaves_the_parents_connections_alone(url: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK, url], check=True, timeout=60)


@own_loop
@async_driver
def test_each_event_loop_has_its_engine(url: str) -> None:
    seen = []

    async def work() -> None:
        async with rx.asession(url) as session:
            assert await session.scalar(ONE) == 1
        engine = rx.get_async_engine(url)
        assert engine is rx.get_async_engine(url)
        assert pooled(engine) == 1
        seen.append(engine)

    asyncio.run(work())
    asyncio.run(work())
    assert seen[0] is not seen[1]
    assert [pooled(engine) for engine in seen] == [0, 0]


@own_loop
@async_driver
def test_many_tasks_share_an_engine(url: str) -> None:
    async def one() -> int:
        async with rx.asession(url, read_only=True) as session:
            return await session.scalar(ONE) or 0

    async def all_of_them() -> int:
        return sum(await asyncio.gather(*(one() for _ in range(50))))

    assert asyncio.run(all_of_them()) == 50


@own_loop
@async_driver
def test_objects_stay_readable_after_commit(url: str, target: Target) -> None:
    class Mug(rx.Model, table=True):
        number: int = rx.Field(primary_key=True, sa_column_kwargs={"autoincrement": False})

    async def work() -> int:
        async with rx.get_async_engine(url).begin() as connection:
            await connection.run_sync(Mug.__table__.create)  # type: ignore[attr-defined]  # SQLModel declares no __table__
        async with rx.asession(url) as session:
            mug = Mug(number=7)
            session.add(mug)
            await session.commit()
            return mug.number

    try:
        assert asyncio.run(work()) == 7
    finally:
        rx.Model.metadata.remove(Mug.__table__)  # type: ignore[attr-defined]  # SQLModel declares no __table__


@own_loop
@async_driver
def test_outside_an_event_loop_is_refused(url: str) -> None:
    with pytest.raises(rx.NoEventLoop, match=r"asyncio\.run"):
        rx.get_async_engine(url)


@own_loop
@async_driver
def test_adispose_ends_the_engines_of_the_loop(url: str) -> None:
    async def work() -> None:
        first = rx.get_async_engine(url)
        async with rx.asession(url) as session:
            await session.scalar(ONE)
        await rx.adispose()
        assert pooled(first) == 0
        assert rx.get_async_engine(url) is not first

    asyncio.run(work())


def open_files() -> int:
    """Count the files and sockets of this process, but for those that only wait to be freed."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


async def another_loop_begins(url: str) -> None:
    rx.get_async_engine(url)


async def dispose_in_a_loop(_: str) -> None:
    rx.dispose()


@own_loop
@async_driver
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what is open")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("end", [None, another_loop_begins, dispose_in_a_loop])
def test_what_a_closed_loop_left_behind_is_ended(
    url: str, end: Callable[[str], Any] | None
) -> None:
    async def work() -> None:
        async with rx.asession(url) as one, rx.asession(url, read_only=True) as other:
            assert await one.scalar(ONE) == await other.scalar(ONE) == 1

    before = open_files()
    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(work())
        loop.close()  # and no loop.shutdown_asyncgens() before
        left = open_files()
        if end is None:
            rx.dispose()
        else:
            asyncio.run(end(url))
        assert open_files() == before < left


def test_a_program_ends_by_itself(target: Target) -> None:
    """Neither threads nor sockets keep a process from its end, disposed or not."""
    select_in_another_process(target)


def test_a_refused_connection_is_sqlalchemys_error(
    target: Target, make_engine: Callable[..., Engine]
) -> None:
    if target.url.port is None:
        pytest.skip(f"{target.dialect.name} has no network in between")
    engine = make_engine(replace(target, url=target.url.set(port=1)))
    with pytest.raises((DBAPIError, OSError)):
        engine.connect()


@pytest.mark.needs(Feature.FRESH_READS)
def test_autocommit_stores_each_statement_at_once(
    make_engine: Callable[..., Engine], engine: Engine
) -> None:
    table = Table("note", MetaData(), Column("text", String(10)))
    table.create(engine)
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(table.insert(), {"text": "kept"})
        connection.rollback()
    with engine.connect() as connection:  # the same one, from the pool
        assert connection.execute(select(table.c.text)).scalars().all() == ["kept"]
        connection.execute(table.insert(), {"text": "lost"})
        connection.rollback()
    with make_engine(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(table.insert(), {"text": "also kept"})
        connection.rollback()
        assert connection.execute(select(table.c.text)).scalars().all() == ["kept", "also kept"]


@pytest.mark.needs(Feature.READ_ONLY, Feature.SEVERAL_HOSTS)
def test_a_read_only_session_reads_where_the_url_asks_for_a_server_that_writes(
    target: Target, open_session: OpenSession
) -> None:
    asking = target.url.update_query_dict({"target_session_attrs": "read-write"})
    with open_session(asking, read_only=True) as session:
        assert session.scalar(ONE) == 1
    with open_session(asking, read_only=True) as session, pytest.raises(rx.ReadOnly):
        session.connection().exec_driver_sql("CREATE TABLE refused (id INTEGER)")
