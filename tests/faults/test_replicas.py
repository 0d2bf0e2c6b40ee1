"""A primary and a standby of PostgreSQL: who serves a read-only session, on each driver."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import clusters
import psycopg
import pytest
from sqlalchemy import text

import rxdb as rx
from rxdb import replicas

DRIVERS = ("psycopg", "psycopg2", "asyncpg")
SERVES = text("SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END")
COUNT = text("SELECT count(*) FROM written")
Ask = Callable[..., Any]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(replicas, "LOOK_AFTER", 0.1)
    monkeypatch.setattr(replicas, "RETRY_AFTER", 0.1)
    with clusters.started("standby") as found:
        with psycopg.connect(found["primary"].url, autocommit=True) as connection:
            connection.execute("CREATE TABLE written (n INTEGER)")
        yield found


@pytest.fixture(params=DRIVERS)
def ask(cluster: Any, request: pytest.FixtureRequest) -> Iterator[Ask]:
    """Ask a read-only session of the configured database."""

    def url(name: str) -> str:
        return f"postgresql+{request.param}://{cluster[name].url.partition('://')[2]}"

    copies = [url("standby")]
    rx.set_config(
        rx.Config(db_url=url("primary"), replica_urls=copies, on_outdated_schema="ignore")
    )
    if request.param != "asyncpg":

        def ask(query: Any, **options: Any) -> Any:
            with rx.session(read_only=True, **options) as session:
                return session.scalar(query)

        yield ask
        return
    with asyncio.Runner() as runner:

        async def aask(query: Any, **options: Any) -> Any:
            async with rx.asession(read_only=True, **options) as session:
                return await session.scalar(query)

        yield lambda query, **options: runner.run(aask(query, **options))


def until(ask: Ask, expected: str) -> None:
    """Ask until the expected one serves; an error is one that a session may have had."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if ask(SERVES) == expected:
                return
        except rx.ConnectionLost:
            pass
        time.sleep(0.05)
    pytest.fail(f"{expected} does not serve")


def test_a_standby_serves_while_it_is_healthy(cluster: Any, ask: Ask) -> None:
    until(ask, "standby")
    cluster["standby"].kill()
    until(ask, "primary")
    assert ask(SERVES) == "primary"
    cluster["standby"].start()
    until(ask, "standby")


def test_a_session_sees_what_it_is_to_come_after(cluster: Any, ask: Ask) -> None:
    until(ask, "standby")
    with (
        psycopg.connect(cluster["primary"].url, autocommit=True) as primary,
        psycopg.connect(cluster["standby"].url, autocommit=True) as standby,
    ):
        standby.execute("SELECT pg_wal_replay_pause()")
        primary.execute("INSERT INTO written (n) VALUES (1)")
        row = primary.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
        assert row is not None
        assert ask(COUNT) == 0  # the standby
        assert ask(COUNT, after=row[0]) == 1
        assert ask(SERVES, after=row[0]) == "primary"
        standby.execute("SELECT pg_wal_replay_resume()")
        deadline = time.monotonic() + 30
        while ask(SERVES, after=row[0]) != "standby":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert ask(COUNT, after=row[0]) == 1


def test_a_position_is_one_of_the_primary(cluster: Any, ask: Ask) -> None:
    if "asyncpg" in str(rx.get_config().db_url):
        pytest.skip("rx.position() needs an ordinary driver, and the next test has the other")
    before = rx.position()
    with rx.session() as session:
        session.connection().execute(text("INSERT INTO written (n) VALUES (1)"))
        session.commit()
    until(ask, "standby")
    after = rx.position()
    assert ask(COUNT, after=after) == 1
    dialect = rx.parse("postgresql+psycopg://").dialect
    assert dialect.has_reached(after, before)
    assert not dialect.has_reached(before, after)


def test_a_position_is_written_the_same_way_by_each_driver(cluster: Any) -> None:
    place = cluster["primary"].url.partition("://")[2]
    for driver in ("psycopg", "asyncpg"):
        rx.set_config(rx.Config(db_url=f"postgresql+{driver}://{place}"))
        assert re.fullmatch("[0-9A-F]+/[0-9A-F]+", asyncio.run(rx.aposition()))


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_promoted_standby_is_met_with_a_repeated_transaction(cluster: Any, driver: str) -> None:
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in cluster)
    place = f"rxdb:rxdb@{hosts}/{cluster['primary'].server.database}"
    url = f"postgresql+{driver}://{place}?target_session_attrs=read-write&sslmode=disable"
    rx.set_config(rx.Config(db_url=url, on_outdated_schema="ignore"))
    insert = text("INSERT INTO written (n) VALUES (1)")

    def fail_over() -> None:
        until_replayed(cluster)
        cluster["primary"].kill()
        cluster["standby"].promote()

    def work(session: Any) -> int:
        session.connection().execute(insert)
        count: int = session.scalar(COUNT)
        return count

    if driver != "asyncpg":
        in_transaction: Any = rx.transaction(work)
        assert in_transaction() == 1
        fail_over()
        assert in_transaction() == 2
        return

    async def awork(session: Any) -> int:
        count: int = await session.run_sync(work)
        return count

    ain_transaction: Any = rx.transaction(awork)

    async def both() -> None:
        assert await ain_transaction() == 1
        await asyncio.to_thread(fail_over)
        assert await ain_transaction() == 2

    asyncio.run(both())


def until_replayed(cluster: Any) -> None:
    """Wait until the standby has the row of the primary."""
    with psycopg.connect(cluster["standby"].url, autocommit=True) as standby:
        deadline = time.monotonic() + 30
        while standby.execute("SELECT count(*) FROM written").fetchone() != (1,):
            assert time.monotonic() < deadline
            time.sleep(0.05)
