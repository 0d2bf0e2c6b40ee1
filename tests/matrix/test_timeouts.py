"""What the timeouts of a session promise, on every server and driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import databases
import pytest
from conftest import OpenSession
from databases import SERVERS
from proxy import relay
from sqlalchemy import (
    URL,
    Column,
    Engine,
    Integer,
    MetaData,
    Table,
    exc,
    func,
    insert,
    select,
    text,
    update,
)
from sqlmodel import Session

import rxdb as rx
from rxdb import Feature, Target
from rxdb.errors import BadArgument

NUMBERS = Table("number", MetaData(), Column("n", Integer, primary_key=True, autoincrement=False))
SLOW = text(f"SELECT sum(n0.n) FROM {', '.join(f'number n{i}' for i in range(10))}")
"""It looks at 10,000,000,000 rows."""


@pytest.fixture(autouse=True)
def _numbers(engine: Engine, run: databases.Run) -> None:
    def create() -> None:
        NUMBERS.create(engine)
        with engine.begin() as connection:
            connection.execute(insert(NUMBERS), [{"n": n} for n in range(10)])

    run(create)


@pytest.fixture
def limits(server: str, url: str) -> Callable[[Session], str]:
    """Return the function that reads the timeouts of a session."""
    if not SERVERS[server].limits:
        pytest.skip(f"{server} has no timeouts")
    return lambda session: str(session.execute(text(SERVERS[server].limits)).scalar())


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.needs(Feature.STATEMENT_TIMEOUT)
def test_a_statement_that_takes_too_long_is_stopped(
    open_session: OpenSession, read_only: bool
) -> None:
    with open_session(read_only=read_only, statement_timeout=0.1) as session:
        with pytest.raises(rx.StatementTimeout) as raised:
            session.execute(SLOW)
        session.rollback()
        assert session.scalar(select(func.count()).select_from(NUMBERS)) == 10
    assert isinstance(raised.value, TimeoutError)
    assert isinstance(raised.value, exc.DBAPIError)


@pytest.mark.needs(Feature.LOCK_TIMEOUT)
def test_a_lock_is_waited_for_as_long_as_the_session_says(open_session: OpenSession) -> None:
    with open_session() as first, open_session(lock_timeout=0.05) as second:
        first.execute(update(NUMBERS).where(NUMBERS.c.n == 1).values(n=11))
        with pytest.raises(rx.LockTimeout):
            second.execute(update(NUMBERS).where(NUMBERS.c.n == 1).values(n=12))
        first.commit()
        second.rollback()
        second.execute(update(NUMBERS).where(NUMBERS.c.n == 2).values(n=12))
        second.commit()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.needs(Feature.STATEMENT_TIMEOUT, Feature.LOCK_TIMEOUT)
def test_limits_end_with_the_session(
    open_session: OpenSession, limits: Callable[[Session], str], read_only: bool
) -> None:
    with open_session(read_only=read_only) as session:
        before = limits(session)
    for _ in range(2):
        with open_session(read_only=read_only, statement_timeout=2.5, lock_timeout=1.5) as session:
            within = limits(session)
            session.rollback()
            assert limits(session) == within
    with open_session(read_only=read_only) as session:
        assert limits(session) == before != within


@pytest.mark.needs(Feature.STATEMENT_TIMEOUT)
def test_a_session_that_failed_leaves_no_limit_behind(
    open_session: OpenSession, limits: Callable[[Session], str]
) -> None:
    with open_session() as session:
        before = limits(session)
    with (
        pytest.raises(rx.StatementTimeout),
        open_session(statement_timeout=0.05, lock_timeout=1) as session,
    ):
        session.execute(SLOW)
    with open_session() as session:
        assert limits(session) == before
        session.execute(update(NUMBERS).where(NUMBERS.c.n == 3).values(n=13))
        session.commit()


def test_limits_cost_at_most_two_round_trips(target: Target, open_session: OpenSession) -> None:
    if target.url.host is None or target.url.port is None:
        pytest.skip(f"{target.dialect.name} has no network in between")
    with relay(target.url.host, target.url.port) as through:
        place: URL = target.url.set(port=through.port).update_query_dict({"sslmode": "disable"})

        def count(**options: Any) -> int:
            for _ in range(3):  # the first one connects, the second has statements prepared
                before = through.round_trips
                with open_session(place, **options) as session:
                    session.execute(select(NUMBERS.c.n)).all()
            return through.round_trips - before

        plain = count()
        limited = count(statement_timeout=5, lock_timeout=1)
        assert limited - plain in {1, 2}
        assert count() == plain


def test_a_transaction_takes_the_limits(
    open_session: OpenSession, limits: Callable[[Session], str], url: str, target: Target
) -> None:
    if not target.driver.sync:
        pytest.skip("the same through rx.asession")
    with open_session() as session:
        before = limits(session)
    transact: Any = rx.transaction(url=url, statement_timeout=2.5, lock_timeout=1.5)
    assert transact(limits)() != before
    level: Any = rx.transaction(url=url, lock_timeout=1.5, isolation_level="SERIALIZABLE")
    assert level(limits)() != before


@pytest.mark.parametrize("name", ["statement_timeout", "lock_timeout"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), True, "5"])
def test_a_limit_that_makes_no_sense_is_refused(
    open_session: OpenSession, name: str, value: object
) -> None:
    with pytest.raises(BadArgument, match=f"{name}=.* is no number of seconds above 0"):
        open_session(**{name: value})


@pytest.mark.parametrize("name", ["statement_timeout", "lock_timeout"])
def test_a_limit_that_a_database_does_not_have_is_refused(
    target: Target, open_session: OpenSession, name: str
) -> None:
    if Feature[name.upper()] in target.dialect.features:
        pytest.skip(f"{target.dialect.name} has it")
    with pytest.raises(BadArgument, match=f"Leave out {name}"):
        open_session(**{name: 1})
