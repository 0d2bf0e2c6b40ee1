"""One migration at a time on every backend, and none that waits for running traffic for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from threading import Thread

import databases
import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, NullPool, Table, select
from sqlalchemy.exc import DBAPIError

from rxdb import Feature, Target
from rxdb.errors import LockLost, LockTimeout
from rxdb.migrations import lock

MakeEngine = Callable[..., Engine]


@pytest.fixture(params=["lock", "lease"])
def held_target(target: Target, request: pytest.FixtureRequest) -> Target:
    """The database with its backend's own lock, and as if it had none."""
    if request.param == "lock":
        return target
    if Feature.SEVERAL_PROCESSES not in target.dialect.features:
        pytest.skip("one process opens the file, so no lease is needed")
    return replace(target, dialect=replace(target.dialect, migration_lock=None))


def make(make_engine: MakeEngine) -> Engine:
    return make_engine(poolclass=NullPool)


@contextmanager
def held(
    engine: Engine,
    target: Target,
    timeout: float = 0,
    waiting: Callable[[str], object] | None = None,
    **options: str,
) -> Iterator[Connection]:
    """Connect and hold the migration lock."""
    said = waiting or (nobody_waits if not timeout else str)
    with (
        engine.connect() as connection,
        lock.hold(engine, connection, target, timeout=timeout, waiting=said, **options),
    ):
        yield connection


def refused(
    engine: Engine, target: Target, timeout: float = 0, said: list[str] | None = None
) -> str:
    """Fail to get the lock, and return the error's sentence."""
    waiting: Callable[[str], object] = str if said is None else said.append
    with (
        pytest.raises(LockTimeout) as raised,
        held(engine, target, timeout, waiting) as connection,
    ):
        pytest.fail(f"two held the lock: {connection}")
    return str(raised.value)


def nobody_waits(sentence: str) -> None:
    raise AssertionError(sentence)


def test_a_second_migration_waits_and_is_told_so(
    held_target: Target, make_engine: MakeEngine
) -> None:
    engine, told = make(make_engine), list[str]()
    with held(engine, held_target) as connection:
        assert not connection.in_transaction()
        sentence = refused(engine, held_target, 0.3, told)
    assert "rxdb db migrate --lock-timeout 60" in sentence
    assert [said.startswith("Another migration is running") for said in told] == [True]
    with held(engine, held_target):
        pass


@pytest.mark.needs(Feature.CONCURRENT_WRITES)
def test_another_version_table_has_another_lock(
    held_target: Target, make_engine: MakeEngine
) -> None:
    engine = make(make_engine)
    with held(engine, held_target), held(engine, held_target, version_table="other"):
        pass


@pytest.mark.sync_driver
def test_threads_exclude_each_other(held_target: Target, make_engine: MakeEngine) -> None:
    engine, inside, together = make(make_engine), [], []

    def migrate() -> None:
        with held(engine, held_target, 60):
            inside.append(1)
            together.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    threads = [Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1, 1, 1, 1]


HOLDER = """
import sys, time, databases
from sqlalchemy import NullPool
from rxdb import engine as engines
from rxdb.migrations import lock
def hold():
    with engine.connect() as connection:
        with lock.hold(engine, connection, target, timeout=0, waiting=str):
            print("held", flush=True)
            time.sleep(60)
target = databases.target(sys.argv[1])
if databases.is_async(target):
    import asyncio
    from sqlalchemy.util import greenlet_spawn
    engine = engines.build_async(target, poolclass=NullPool).sync_engine
    asyncio.run(greenlet_spawn(hold))
else:
    engine = engines.build(target, poolclass=NullPool)
    hold()
"""


@pytest.mark.needs(Feature.SEVERAL_PROCESSES)
def test_the_lock_dies_with_its_process(target: Target, make_engine: MakeEngine) -> None:
    engine, url = make(make_engine), target.url.render_as_string(hide_password=False)
    path = os.pathsep.join([str(Path(databases.__file__).parent), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, url],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        refused(engine, target)
        holder.send_signal(signal.SIGKILL)
        with held(engine, target, 10):
            pass


def test_no_file_is_left_behind(target: Target, make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make(make_engine)
    with engine.connect() as connection:
        before = set(tmp_path.iterdir())
        with lock.hold(engine, connection, target, timeout=0, waiting=nobody_waits):
            pass
        assert set(tmp_path.iterdir()) == before


def test_a_connection_that_ends_loses_the_lock(target: Target, make_engine: MakeEngine) -> None:
    """Where a connection of its own holds the lock, its end is noticed before a COMMIT."""
    with held(make(make_engine), target) as connection:
        taken = connection.info[lock.HELD]
        lock.fence(connection)
        if taken.owner is connection:
            pytest.skip("the lock ends with the migrating connection")
        taken.owner.invalidate()
        taken.owner.close()
        taken.checked -= 60  # it is asked now and then
        with pytest.raises(LockLost, match="rxdb db migrate"):
            lock.fence(connection)


# --- the lease ----------------------------------------------------------------


@pytest.fixture
def leased(target: Target) -> Target:
    return replace(target, dialect=replace(target.dialect, migration_lock=None))


needs_processes = pytest.mark.needs(Feature.SEVERAL_PROCESSES)


@needs_processes
def test_a_lease_that_is_not_renewed_is_taken_over_and_fenced(
    leased: Target, make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT", 60.0)
    engine = make(make_engine)
    with held(engine, leased) as one:
        monkeypatch.setattr(lock, "EXPIRES", 1.0)
        with held(engine, leased, 20) as two:
            with pytest.raises(LockLost, match="took it over"):
                lock.fence(one)
            one.rollback()
            lock.fence(two)
            two.commit()


@needs_processes
def test_a_lease_is_renewed_while_it_is_held(
    leased: Target, make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.2)
    monkeypatch.setattr(lock, "EXPIRES", 2.0)
    engine, told = make(make_engine), list[str]()
    with held(engine, leased):
        sentence = refused(engine, leased, 3, told)
    assert f"process {os.getpid()} on" in told[0]
    assert f"process {os.getpid()} on" in sentence


@needs_processes
def test_a_fence_renews_the_lease(
    leased: Target, make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT", 60.0)
    engine = make(make_engine)
    with held(engine, leased) as connection:
        time.sleep(1.5)
        lock.fence(connection)
        connection.commit()
        monkeypatch.setattr(lock, "EXPIRES", 2.0)  # the time in databases is one of whole seconds
        refused(engine, leased)


@pytest.mark.needs(Feature.TLS)  # a server, whose sessions a pooler could share
def test_locks_of_a_single_server_are_trusted(target: Target, make_engine: MakeEngine) -> None:
    with make(make_engine).connect() as connection:
        assert target.dialect.has_session_locks(connection)


# --- running traffic ----------------------------------------------------------


def create_busy(engine: Engine) -> Table:
    table = Table("busy", MetaData(), Column("id", Integer, primary_key=True))
    with engine.begin() as connection:
        table.create(connection)
        connection.execute(table.insert().values(id=1))
    return table


def limit(connection: Connection, target: Target, seconds: float) -> None:
    for statement in target.dialect.limit_lock_wait(seconds):
        connection.exec_driver_sql(statement)
    connection.commit()


@needs_processes
def test_ddl_gives_up_waiting_for_traffic_and_is_tried_again(
    target: Target, make_engine: MakeEngine
) -> None:
    engine, told, tried = make(make_engine), [], []
    busy = create_busy(engine)
    with engine.connect() as traffic, engine.connect() as connection:
        limit(connection, target, 1)
        copy_context().run(traffic.execute, busy.delete())  # somebody else's, as it were

        def work() -> None:
            tried.append(time.monotonic())
            with connection.begin():
                busy.drop(connection)

        def report(sentence: str) -> None:
            told.append(sentence)
            if len(told) == 2:
                traffic.rollback()

        started = time.monotonic()
        lock.retrying(work, target, report=report, pause=(0.01, 0.02))
    assert len(tried) == 3
    assert "try 2 of 12" in told[0]
    assert tried[1] - started < 5


@needs_processes
def test_traffic_that_never_ends_ends_the_tries(target: Target, make_engine: MakeEngine) -> None:
    engine = make(make_engine)
    busy = create_busy(engine)
    with engine.connect() as traffic, engine.connect() as connection:
        limit(connection, target, 0.2)
        copy_context().run(traffic.execute, busy.delete())  # somebody else's, as it were

        def work() -> None:
            with connection.begin():
                busy.drop(connection)

        with pytest.raises(LockTimeout, match="at each of 2 tries") as raised:
            lock.retrying(work, target, report=str, tries=2, pause=(0.01, 0.02))
        assert isinstance(raised.value.__cause__, DBAPIError)


def test_another_error_is_not_tried_again(target: Target, make_engine: MakeEngine) -> None:
    engine, tried = make(make_engine), []

    def work() -> None:
        tried.append(1)
        with engine.begin() as connection:
            connection.execute(select(Column("nothing")).select_from(Table("missing", MetaData())))

    with pytest.raises(DBAPIError):
        lock.retrying(work, target, report=nobody_waits)
    assert tried == [1]


@pytest.mark.needs(Feature.TRANSACTIONAL_DDL, Feature.TLS)
def test_the_lock_holds_no_transaction_open(target: Target, make_engine: MakeEngine) -> None:
    """A transaction would block CREATE INDEX CONCURRENTLY, which waits for all of them."""
    outside = make_engine(poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with held(make(make_engine), target), outside.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a integer)")
        connection.exec_driver_sql("SET statement_timeout = 5000")
        connection.exec_driver_sql("CREATE INDEX CONCURRENTLY i ON t (a)")
