"""PgBouncer in transaction mode: more clients than server connections, on each driver."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import clusters
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

import rxdb as rx

WORKERS, ROUNDS = 20, 15
SHOWN = "SELECT current_setting('TimeZone'), current_setting('default_transaction_read_only')"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with clusters.started("pgbouncer") as found:
        import psycopg

        with psycopg.connect(found["postgresql"].url, autocommit=True) as connection:
            connection.execute("ALTER ROLE rxdb SET TimeZone = 'Asia/Tokyo'")
            connection.execute("CREATE TABLE written (n INTEGER)")
        yield found


def url(cluster: Any, driver: str, pooled: str) -> str:
    place = cluster["pgbouncer"].url.partition("://")[2]
    return f"postgresql+{driver}://{place}?sslmode=disable&pgbouncer={pooled}"


def work(session: Any, number: int, *, read_only: bool) -> None:
    """Ask often enough for psycopg to prepare a statement, which it does the sixth time."""
    for n in range(ROUNDS):
        assert session.scalar(text("SELECT :n * 1"), {"n": number + n}) == number + n
        assert session.execute(text("SHOW TimeZone")).scalar() == "UTC"
        if not read_only:
            session.execute(text("INSERT INTO written (n) VALUES (:n)"), {"n": number})
        session.commit()
    if read_only:
        with pytest.raises(rx.ReadOnly):
            session.execute(text("INSERT INTO written (n) VALUES (:n)"), {"n": number})
        session.rollback()


def work_all(place: str, driver: str) -> None:
    if driver == "asyncpg":
        asyncio.run(asynchronous(place))
        return
    together = Barrier(WORKERS)

    def one(number: int) -> None:
        together.wait()
        with rx.session(place, read_only=number % 2 == 0) as session:
            work(session, number * 100, read_only=number % 2 == 0)

    try:
        with ThreadPoolExecutor(WORKERS) as threads:
            list(threads.map(one, range(WORKERS)))
    finally:
        rx.dispose()


async def asynchronous(place: str) -> None:
    async def one(number: int) -> None:
        async with rx.asession(place, read_only=number % 2 == 0) as session:
            await session.run_sync(work, number * 100, read_only=number % 2 == 0)

    await asyncio.gather(*(one(number) for number in range(WORKERS)))


@pytest.fixture(autouse=True)
def _a_connection_for_each(cluster: Any) -> None:
    rx.set_config(rx.Config(engine_options={"pool_size": WORKERS, "max_overflow": 0}))


@pytest.mark.filterwarnings("ignore:.*session.execute:DeprecationWarning")
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_all_work_and_nothing_leaks(cluster: Any, driver: str) -> None:
    import psycopg

    with psycopg.connect(cluster["postgresql"].url, autocommit=True) as direct:
        direct.execute("TRUNCATE written")
        work_all(url(cluster, driver, "true"), driver)
        found = direct.execute("SELECT count(*) FROM written").fetchone()
    assert found == (WORKERS // 2 * ROUNDS,)
    others = [
        psycopg.connect(cluster["pgbouncer"].url, prepare_threshold=None)
        for _ in range(clusters.program().POOLED)
    ]
    shown = [other.execute(SHOWN).fetchone() for other in others]  # each holds a server's session
    for other in others:
        other.close()
    assert shown == [("Asia/Tokyo", "off")] * len(others)


@pytest.mark.filterwarnings("ignore:.*session.execute:DeprecationWarning")
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_without_the_word_a_pooler_is_a_server_and_fails(cluster: Any, driver: str) -> None:
    with pytest.raises((DBAPIError, AssertionError)):
        work_all(url(cluster, driver, "false"), driver)
