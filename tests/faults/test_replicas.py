"""A primary and its replica: who serves a read-only session, on each server and driver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import clusters
import pytest
from sqlalchemy import Connection, create_engine, make_url, text

import rxdb as rx
from rxdb import replicas

COUNT = text("SELECT count(*) FROM written")
INSERT = text("INSERT INTO written (n) VALUES (1)")
ASYNCHRONOUS = {"asyncpg", "asyncmy"}
Ask = Callable[..., Any]


@dataclass(frozen=True)
class Kind:
    """How a server is asked, and how its replica is held up."""

    drivers: tuple[str, ...]
    """The first one is an ordinary driver, for the test's own work."""
    serves: str
    """What tells ``primary`` or ``standby``."""
    hold: str
    """What makes the replica fall behind while it goes on to answer."""
    release: str
    promotes: bool = False
    """Whether ci/clusters can make the standby the primary."""


MYSQL = Kind(
    ("pymysql", "mysqldb", "asyncmy"),
    "SELECT CASE WHEN @@GLOBAL.read_only THEN 'standby' ELSE 'primary' END",
    "FLUSH TABLES WITH READ LOCK",
    "UNLOCK TABLES",
)
KINDS = {
    "standby": Kind(
        ("psycopg", "psycopg2", "asyncpg"),
        "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END",
        "SELECT pg_wal_replay_pause()",
        "SELECT pg_wal_replay_resume()",
        promotes=True,
    ),
    "mysqlstandby": MYSQL,
    "mariadbstandby": MYSQL,
}
PAIRS = [(name, driver) for name, kind in KINDS.items() for driver in kind.drivers]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A kind of cluster, and a driver."""
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture
def cluster(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(replicas, "LOOK_AFTER", 0.1)
    monkeypatch.setattr(replicas, "RETRY_AFTER", 0.1)
    with clusters.started(pair[0]) as found:
        with connected(found["primary"]) as connection:
            connection.execute(text("CREATE TABLE written (n INTEGER)"))
        yield found


@contextmanager
def connected(node: Any) -> Iterator[Connection]:
    """Connect to a node, past rxdb."""
    url = make_url(node.url)
    drivers = next(k.drivers for k in KINDS.values() if rx.parse(node.url).driver.name in k.drivers)
    engine = create_engine(url.set(drivername=f"{url.drivername}+{drivers[0]}"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def ask(cluster: Any, pair: tuple[str, str]) -> Iterator[Ask]:
    """Ask a read-only session of the configured database; by default, who it is."""
    kind, driver = KINDS[pair[0]], pair[1]
    serves = text(kind.serves)

    def url(name: str) -> str:
        scheme, _, place = cluster[name].url.partition("://")
        return f"{scheme}+{driver}://{place}"

    copies = [url("standby")]
    rx.set_config(
        rx.Config(db_url=url("primary"), replica_urls=copies, on_outdated_schema="ignore")
    )
    if driver not in ASYNCHRONOUS:

        def ask(query: Any = serves, **options: Any) -> Any:
            with rx.session(read_only=True, **options) as session:
                return session.scalar(query)

        yield ask
        return
    with asyncio.Runner() as runner:

        async def aask(query: Any = serves, **options: Any) -> Any:
            async with rx.asession(read_only=True, **options) as session:
                return await session.scalar(query)

        yield lambda query=serves, **options: runner.run(aask(query, **options))


def until(ask: Ask, expected: str, **options: Any) -> None:
    """Ask until the expected one serves; an error is one that a session may have had."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if ask(**options) == expected:
                return
        except rx.ConnectionLost:
            pass
        time.sleep(0.05)
    pytest.fail(f"{expected} does not serve")


def position(pair: tuple[str, str]) -> str:
    """Return where the configured database stands."""
    return asyncio.run(rx.aposition()) if pair[1] in ASYNCHRONOUS else rx.position()


def test_a_standby_serves_while_it_is_healthy(cluster: Any, ask: Ask) -> None:
    until(ask, "standby")
    cluster["standby"].kill()
    until(ask, "primary")
    assert ask() == "primary"
    cluster["standby"].start()
    until(ask, "standby")


def test_a_session_sees_what_it_is_to_come_after(
    cluster: Any, ask: Ask, pair: tuple[str, str]
) -> None:
    until(ask, "standby", after=position(pair))
    with connected(cluster["primary"]) as primary, connected(cluster["standby"]) as standby:
        standby.execute(text(KINDS[pair[0]].hold))
        before = position(pair)
        primary.execute(INSERT)
        after = position(pair)
        assert ask(COUNT) == 0  # the standby
        assert ask(after=before) == "standby"
        assert ask(COUNT, after=after) == 1
        assert ask(after=after) == "primary"
        standby.execute(text(KINDS[pair[0]].release))
        until(ask, "standby", after=after)
        assert ask(COUNT, after=after) == 1
    has_reached = rx.parse(cluster["primary"].url).dialect.has_reached
    assert has_reached(after, before)
    assert not has_reached(before, after)


@pytest.mark.parametrize(
    "pair", [("mysqlstandby", "pymysql"), ("mariadbstandby", "pymysql")], indirect=True
)
def test_one_that_does_not_replicate_serves_nobody(
    cluster: Any, ask: Ask, pair: tuple[str, str]
) -> None:
    until(ask, "standby")
    with connected(cluster["standby"]) as standby:
        standby.execute(text("STOP REPLICA"))
        until(ask, "primary")
        standby.execute(text("START REPLICA"))
    until(ask, "standby")


@pytest.mark.parametrize(
    "pair", [("mysqlstandby", "pymysql"), ("mariadbstandby", "pymysql")], indirect=True
)
def test_a_user_without_the_right_to_see_the_lag_has_the_position(
    cluster: Any, ask: Ask, pair: tuple[str, str]
) -> None:
    with connected(cluster["primary"]) as primary:
        primary.execute(text("CREATE USER 'app'@'%' IDENTIFIED BY 'app'"))
        primary.execute(text("GRANT SELECT ON *.* TO 'app'@'%'"))
    own = rx.get_config()
    (copy,) = own.replica_urls
    app = str(copy).replace("rxdb:rxdb@", "app:app@")
    rx.set_config(rx.Config(db_url=own.db_url, replica_urls=[app], on_outdated_schema="ignore"))
    until(ask, "standby", after=position(pair))


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if KINDS[pair[0]].promotes], indirect=True)
def test_a_promoted_standby_is_met_with_a_repeated_transaction(
    cluster: Any, pair: tuple[str, str]
) -> None:
    driver = pair[1]
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in cluster)
    place = f"rxdb:rxdb@{hosts}/{cluster['primary'].server.database}"
    url = f"postgresql+{driver}://{place}?target_session_attrs=read-write&sslmode=disable"
    rx.set_config(rx.Config(db_url=url, on_outdated_schema="ignore"))

    def fail_over() -> None:
        until_replayed(cluster)
        cluster["primary"].kill()
        cluster["standby"].promote()

    def work(session: Any) -> int:
        session.connection().execute(INSERT)
        count: int = session.scalar(COUNT)
        return count

    if driver not in ASYNCHRONOUS:
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
    with connected(cluster["standby"]) as standby:
        deadline = time.monotonic() + 30
        while standby.scalar(COUNT) != 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
