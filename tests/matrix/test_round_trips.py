"""How often a session waits for the server, counted by a relay in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import databases
import pytest
from conftest import OpenSession
from proxy import Relay, relay
from sqlalchemy import URL, Engine, text

import rxdb as rx
from rxdb import Target

ONE = text("SELECT 1")


class Cup(rx.Model, table=True):
    name: str = "blue"


@pytest.fixture
def through(target: Target) -> Iterator[Relay]:
    """A relay in front of the server under test."""
    if target.url.host is None or target.url.port is None:
        pytest.skip(f"{target.dialect.name} has no network in between")
    with relay(target.url.host, target.url.port) as running:
        yield running


@pytest.fixture
def relayed(target: Target, through: Relay) -> URL:
    """The URL through the relay: without TLS a message of the client is one packet."""
    return target.url.set(port=through.port).update_query_dict({"sslmode": "disable"})


@pytest.fixture
def directly(
    target: Target, relayed: URL, make_engine: Callable[..., Engine]
) -> Iterator[Callable[[str, str], Callable[[], None]]]:
    """Make functions that send a statement, and how its transaction ends, with the driver alone."""
    connection = make_engine(replace(target, url=relayed)).raw_connection()

    def send(statement: str, end: str) -> Callable[[], None]:
        def work() -> None:
            cursor = connection.cursor()
            cursor.execute(statement)
            cursor.close()
            getattr(connection, end)()

        return work

    yield send
    connection.close()


def count(through: Relay, work: Callable[[], object], what: str = "round_trips") -> int:
    """Count the round trips, or the bytes ``sent``, of the tenth time: connections are open,
    statements prepared."""
    for _ in range(9):
        work()
    before: int = getattr(through, what)
    work()
    after: int = getattr(through, what)
    return after - before


@pytest.mark.sync_driver
def test_a_session_sends_no_more_than_its_driver_does(
    through: Relay,
    relayed: URL,
    directly: Callable[[str, str], Callable[[], None]],
    open_session: OpenSession,
    engine: Engine,
) -> None:
    Cup.__table__.create(engine)  # type: ignore[attr-defined]  # SQLModel declares no __table__

    def read() -> None:
        with open_session(relayed) as session:
            assert session.scalar(ONE) == 1

    def add() -> None:
        with open_session(relayed, expire_on_commit=False) as session:
            session.add(Cup())
            session.commit()

    insert = f"INSERT INTO {Cup.__tablename__} (name) VALUES ('blue')"
    assert count(through, read) == count(through, directly("SELECT 1", "rollback"))
    assert count(through, add) == count(through, directly(insert, "commit"))


@pytest.mark.sync_driver
def test_a_session_uses_what_its_driver_has_prepared(
    through: Relay,
    relayed: URL,
    directly: Callable[[str, str], Callable[[], None]],
    open_session: OpenSession,
) -> None:
    query = f"SELECT '{'x' * 1000}'"

    def read() -> None:
        with open_session(relayed) as session:
            session.connection().exec_driver_sql(query)

    sent = count(through, read, "sent") - len("ROLLBACK")
    assert sent == count(through, directly(query, "commit"), "sent") - len("COMMIT")


def test_reads(through: Relay, relayed: URL, open_session: OpenSession) -> None:
    def read(statements: int, **options: bool) -> int:
        def work() -> None:
            with open_session(relayed, **options) as session:
                for _ in range(statements):
                    assert session.scalar(ONE) == 1

        return count(through, work)

    assert [read(n, read_only=True) for n in (0, 1, 2)] == [0, 1, 2]
    assert [read(n, read_only=True, snapshot=True) for n in (0, 1, 2)] == [0, 3, 4]
    assert read(0) == 0
    assert read(1) in {2, 3}  # ROLLBACK, and BEGIN where the driver says it before the statement
    assert read(2) == read(1) + 1


def test_a_new_object(
    through: Relay, relayed: URL, target: Target, open_session: OpenSession, engine: Engine
) -> None:
    Cup.__table__.create(engine)  # type: ignore[attr-defined]  # SQLModel declares no __table__

    def add(**options: bool) -> int:
        def work() -> None:
            with open_session(relayed, **options) as session:
                cup = Cup()
                session.add(cup)
                session.commit()
                assert cup.id

        return count(through, work)

    kept = add(expire_on_commit=False)
    assert kept in {2, 3}  # INSERT and COMMIT, and BEGIN where the driver says it
    if not databases.is_async(target):
        assert add() in {kept + 2, kept + 3}  # a read session more


def test_a_connection_that_was_in_use_just_before_is_not_tested(
    through: Relay, relayed: URL, target: Target, make_engine: Callable[..., Engine]
) -> None:
    found = replace(target, url=relayed, read_only=True)

    def trips(**options: bool) -> int:
        engine = make_engine(found, **options)

        def work() -> None:
            with engine.connect() as connection:
                assert connection.scalar(ONE) == 1

        return count(through, work)

    assert trips() == 1
    assert trips(pool_pre_ping=True) > 1
