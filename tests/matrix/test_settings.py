"""What each connection is set to, read back from the server."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import databases
import pytest
from sqlalchemy import Column, Engine, MetaData, String, Table, insert, select, text

import rxdb as rx
from rxdb import Feature, Target, config
from rxdb import engine as engines


def read_back(engine: Engine, target: Target) -> dict[str, str]:
    with engine.connect() as connection:
        rows = {
            k: connection.exec_driver_sql(q).first() for k, q in target.dialect.settings.items()
        }
    return {label: str(row[-1]) if row else "" for label, row in rows.items()}


@pytest.fixture
def named(target: Target, url: str) -> Target:
    """The target as an application called ``matrix`` gets it."""
    rx.set_config(rx.Config(app_name="matrix"))
    return engines.find_target(url, is_async=databases.is_async(target))


def test_every_connection_has_the_settings(
    server: str, named: Target, make_engine: Callable[..., Engine]
) -> None:
    expected = databases.SERVERS[server].settings
    assert expected
    engine = make_engine(named)
    for _ in range(2):  # a pooled connection keeps them
        found = read_back(engine, named)
        wrong = {k: found[k] for k, v in expected.items() if not re.fullmatch(v, found[k])}
        assert not wrong


def test_the_application_wins(target: Target, make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(pool_size=1, max_overflow=0, pool_recycle=7)
    assert (engine.pool.size(), engine.pool._max_overflow, engine.pool._recycle) == (1, 0, 7)  # type: ignore[attr-defined]  # Engine declares the base class


def test_now_is_utc(engine: Engine) -> None:
    with engine.connect() as connection:
        found = connection.scalar(text("SELECT CAST(CURRENT_TIMESTAMP AS CHAR(26))"))
    now = datetime.fromisoformat(str(found)[:19]).replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=2)


def test_every_character_fits(engine: Engine) -> None:
    table = Table("signs", MetaData(), Column("sign", String(20)))
    table.create(engine)
    with engine.begin() as connection:
        connection.execute(insert(table), {"sign": "ß → 🥕"})
    with engine.connect() as connection:
        assert connection.scalars(select(table.c.sign)).all() == ["ß → 🥕"]


def test_a_database_for_fewer_characters_gets_tables_for_all(
    engine: Engine, target: Target, make_engine: Callable[..., Engine]
) -> None:
    database = target.url.database
    if "character set of the database" not in target.dialect.settings:
        pytest.skip(f"{target.dialect.name} has no character set of its own for each database")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {database} CHARACTER SET latin1")
    test_every_character_fits(make_engine())


@pytest.mark.needs(Feature.TLS)
@pytest.mark.parametrize(("mode", "pattern"), [("disable", "(no)?"), ("require", "TLS.*")])
def test_sslmode_is_heard(
    target: Target, make_engine: Callable[..., Engine], mode: str, pattern: str
) -> None:
    url = target.url.update_query_dict({"sslmode": mode})
    found = read_back(make_engine(replace(target, url=url)), target)
    assert re.fullmatch(pattern, found["TLS"])


@pytest.mark.needs(Feature.TLS)
@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
@pytest.mark.parametrize("authority", [certifi.where(), None], ids=["other", "none"])
def test_an_unknown_authority_is_refused(
    target: Target, make_engine: Callable[..., Engine], mode: str, authority: str | None
) -> None:
    query = {"sslmode": mode, **({"sslrootcert": authority} if authority else {})}
    engine = make_engine(replace(target, url=target.url.update_query_dict(query)))
    with pytest.raises(Exception, match=r"(?i)certificate|SSL|TLS|can't connect"):
        engine.connect()


@pytest.mark.needs(Feature.TLS)
def test_the_servers_own_authority_is_accepted(
    server: str, target: Target, make_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    with make_engine().connect() as connection:
        file = connection.exec_driver_sql(databases.SERVERS[server].authority).scalar_one()
    readable = tmp_path / "authority.pem"  # libpq wants no file that others may write
    readable.write_bytes(Path(file).read_bytes())
    query = {"sslmode": "verify-ca", "sslrootcert": str(readable)}
    url = target.url.update_query_dict(query)
    found = read_back(make_engine(replace(target, url=url)), target)
    assert re.fullmatch("TLS.*", found["TLS"])


def test_a_password_is_asked_for_at_each_new_connection(
    target: Target, make_engine: Callable[..., Engine]
) -> None:
    if not target.url.password:
        pytest.skip(f"{target.dialect.name} asks for no password")
    password, asked = target.url.password, []

    def ask() -> str:
        asked.append(password)
        return password

    plain = replace(target, url=target.url._replace(password=None), password=ask)
    engine = make_engine(plain)
    with engine.connect(), engine.connect():
        pass
    with engine.connect():
        assert len(asked) == 2

    wrong = make_engine(replace(plain, password=lambda: "wrong"))
    with pytest.raises(Exception, match=r"(?i)denied|authentication"):
        wrong.connect()


def test_the_environment_sets_the_pool(
    target: Target, url: str, monkeypatch: pytest.MonkeyPatch, make_engine: Callable[..., Engine]
) -> None:
    monkeypatch.setenv("SQLALCHEMY_POOL_SIZE", "3")
    engine = make_engine(target, **config.engine_options())
    assert engine.pool.size() == 3  # type: ignore[attr-defined]  # Engine declares the base class
