"""What a dialect declares, tried on a real server: one probe for each feature.

It must work where the feature is declared, and fail where it is not. A package with a dialect of
its own has this line in a file of its tests, and runs that with ``pytest --rx-db=URL``::

    from rxdb.testing.conformance import *
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from subprocess import CalledProcessError
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    exc,
    insert,
    inspect,
    select,
    text,
    update,
)

import rxdb as rx
from rxdb import engine as engines
from rxdb.dialect import Feature, Limits, Target
from rxdb.migrations import database
from rxdb.sessions import limit
from rxdb.url import parse

__all__ = ["test_the_declaration_is_true"]

MakeEngine = Callable[..., Engine]
NUMBERS = Table("probe", MetaData(), Column("n", Integer, primary_key=True, autoincrement=False))


def alter_column(target: Target, make: MakeEngine) -> None:
    with make().begin() as connection:
        connection.execute(text("CREATE TABLE probe (n INTEGER)"))
        alter = "ALTER TABLE probe ALTER COLUMN n SET DEFAULT 5"
        connection.execute(text(alter))


def caseless_text(target: Target, make: MakeEngine) -> None:
    engine = make()
    names: Column[str] = Column("name", rx.CaseInsensitiveText(20), primary_key=True)
    probe = Table("probe", MetaData(), names)
    probe.create(engine)
    with engine.begin() as connection:
        connection.execute(
            insert(probe), [{"name": "Bob"}, {"name": "B\N{LATIN SMALL LETTER O WITH DIAERESIS}b"}]
        )
        assert connection.scalars(select(names).where(names == "bOB")).all() == ["Bob"]


def concurrent_writes(target: Target, make: MakeEngine) -> None:
    engine = make()
    NUMBERS.create(engine)
    with engine.connect() as first, engine.connect() as second:
        first.execute(insert(NUMBERS), {"n": 1})
        second.execute(insert(NUMBERS), {"n": 2})
        first.commit()
        second.commit()


def foreign_keys(target: Target, make: MakeEngine) -> None:
    metadata = MetaData()
    parent = Table("parent", metadata, Column("n", Integer, primary_key=True, autoincrement=False))
    child = Table("child", metadata, Column("p", Integer, ForeignKey(parent.c.n)))
    engine = make()
    metadata.create_all(engine)
    with pytest.raises(exc.IntegrityError), engine.begin() as connection:
        connection.execute(insert(child), {"p": 5})


def fresh_reads(target: Target, make: MakeEngine) -> None:
    engine = make()
    NUMBERS.create(engine)
    with make(replace(target, read_only=True)).connect() as reader:
        assert reader.scalars(select(NUMBERS.c.n)).all() == []
        with engine.begin() as writer:
            writer.execute(insert(NUMBERS), {"n": 1})
        assert reader.scalars(select(NUMBERS.c.n)).all() == [1]


def generated_keys(target: Target, make: MakeEngine) -> None:
    table = Table(
        "probe", MetaData(), Column("id", Integer, primary_key=True), Column("n", Integer)
    )
    engine = make()
    table.create(engine)
    with engine.begin() as connection:
        assert connection.execute(insert(table), {"n": 1}).inserted_primary_key


def json_paths(target: Target, make: MakeEngine) -> None:
    engine = make()
    probe = Table("probe", MetaData(), Column("document", JSON))
    with engine.begin() as connection:
        probe.create(connection)
        connection.execute(insert(probe), {"document": {"a": [{"b": 7}]}})
        part = probe.c.document["a", 0, "b"].as_integer()
        assert connection.scalar(select(part)) == 7


def long_decimals(target: Target, make: MakeEngine) -> None:
    engine = make()
    probe = Table("probe", MetaData(), Column("number", Numeric))
    long = Decimal("12345678901234567890123456789012345.0123456789")
    with engine.begin() as connection:
        probe.create(connection)
        connection.execute(insert(probe), {"number": long})
        assert connection.scalar(select(probe.c.number)) == long


def read_only(target: Target, make: MakeEngine) -> None:
    NUMBERS.create(make())
    with pytest.raises(rx.ReadOnly), make(replace(target, read_only=True)).begin() as connection:
        connection.execute(insert(NUMBERS), {"n": 1})


def reflected_constraints(target: Target, make: MakeEngine) -> None:
    metadata = MetaData()
    parent = Table("parent", metadata, Column("n", Integer, primary_key=True, autoincrement=False))
    Table("child", metadata, Column("p", Integer, ForeignKey(parent.c.n, name="fk_child_p")))
    engine = make()
    metadata.create_all(engine)
    with engine.connect() as connection:
        (found,) = inspect(connection).get_foreign_keys("child")
    assert found["name"] == "fk_child_p"


def savepoints(target: Target, make: MakeEngine) -> None:
    engine = make()
    NUMBERS.create(engine)
    with engine.connect() as connection:
        connection.execute(insert(NUMBERS), {"n": 1})
        inner = connection.begin_nested()
        connection.execute(insert(NUMBERS), {"n": 2})
        inner.rollback()
        connection.commit()
    with engine.connect() as connection:
        assert connection.scalars(select(NUMBERS.c.n)).all() == [1]


def schemas(target: Target, make: MakeEngine) -> None:
    with make().begin() as connection:
        connection.execute(text("CREATE SCHEMA rxdb_probe"))
    with make().begin() as connection:
        connection.execute(text("DROP SCHEMA rxdb_probe"))


def several_hosts(target: Target, make: MakeEngine) -> None:
    live = target.url
    hosts = f"{live.host}:1,{live.host}:{live.port}"
    user = f"{live.username}:{live.password}@"
    found = parse(
        f"{live.drivername}://{user}{hosts}/{live.database}", is_async=not target.driver.sync
    )
    with make(found).connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def several_processes(target: Target, make: MakeEngine) -> None:
    with make().begin() as connection:
        connection.execute(text("SELECT 1"))
    select_in_another_process(target)


def skip_locked(target: Target, make: MakeEngine) -> None:
    engine = make()
    NUMBERS.create(engine)
    with engine.begin() as connection:
        connection.execute(insert(NUMBERS), [{"n": 1}, {"n": 2}])
    first_free = select(NUMBERS.c.n).order_by("n").limit(1).with_for_update(skip_locked=True)
    with engine.connect() as first, engine.connect() as second:
        assert first.scalar(first_free) == 1
        assert second.scalar(first_free) == 2


def strict_types(target: Target, make: MakeEngine) -> None:
    engine = make()
    probe = Table("probe", MetaData(), Column("name", String(3)))
    probe.create(engine)
    try:
        with engine.begin() as connection:
            connection.execute(insert(probe), {"name": "long"})
    except rx.BadValue:
        return
    raise AssertionError("a text of four letters fits into VARCHAR(3)")


def tls(target: Target, make: MakeEngine) -> None:
    url = target.url.update_query_dict({"sslmode": "require"})
    text_url = url.render_as_string(hide_password=False)
    found = replace(target, url=parse(text_url, is_async=not target.driver.sync).url)
    with make(found).connect() as connection:
        answer = connection.exec_driver_sql(target.dialect.settings["TLS"]).first()
    assert answer is not None
    assert "TLS" in answer[-1]


def statement_timeout(target: Target, make: MakeEngine) -> None:
    engine = make()
    NUMBERS.create(engine)
    with engine.begin() as connection:
        connection.execute(insert(NUMBERS), [{"n": n} for n in range(10)])
    slow = f"SELECT sum(n0.n) FROM {', '.join(f'probe n{i}' for i in range(10))}"
    url = target.url.render_as_string(hide_password=False)
    limited = limit(engine, Limits(statement=0.05), url, is_async=not target.driver.sync)
    with limited.connect() as connection, pytest.raises(rx.StatementTimeout):
        connection.execute(text(slow))


def lock_timeout(target: Target, make: MakeEngine) -> None:
    engine = make()
    NUMBERS.create(engine)
    url = target.url.render_as_string(hide_password=False)
    limited = limit(engine, Limits(lock=0.05), url, is_async=not target.driver.sync)
    with engine.begin() as connection:
        connection.execute(insert(NUMBERS), {"n": 1})
    with engine.begin() as first, limited.connect() as second:
        first.execute(update(NUMBERS).values(n=2))
        with pytest.raises(rx.LockTimeout):
            second.execute(update(NUMBERS).values(n=3))


def transactional_ddl(target: Target, make: MakeEngine) -> None:
    engine = make()
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE probe (id INTEGER)"))
        connection.rollback()
    with engine.connect() as connection:
        assert not inspect(connection).has_table("probe")


PROBES: dict[Feature, Callable[[Target, MakeEngine], None]] = {
    Feature.ALTER_COLUMN: alter_column,
    Feature.CASELESS_TEXT: caseless_text,
    Feature.CONCURRENT_WRITES: concurrent_writes,
    Feature.FOREIGN_KEYS: foreign_keys,
    Feature.FRESH_READS: fresh_reads,
    Feature.GENERATED_KEYS: generated_keys,
    Feature.JSON_PATHS: json_paths,
    Feature.LONG_DECIMALS: long_decimals,
    Feature.LOCK_TIMEOUT: lock_timeout,
    Feature.READ_ONLY: read_only,
    Feature.REFLECTED_CONSTRAINTS: reflected_constraints,
    Feature.SAVEPOINTS: savepoints,
    Feature.SCHEMAS: schemas,
    Feature.SEVERAL_HOSTS: several_hosts,
    Feature.SEVERAL_PROCESSES: several_processes,
    Feature.SKIP_LOCKED: skip_locked,
    Feature.STATEMENT_TIMEOUT: statement_timeout,
    Feature.STRICT_TYPES: strict_types,
    Feature.TLS: tls,
    Feature.TRANSACTIONAL_DDL: transactional_ddl,
}

REFUSED = (
    AssertionError,
    CalledProcessError,
    exc.SQLAlchemyError,
    NotImplementedError,
    rx.RxdbError,
)


def select_in_another_process(found: Target) -> None:
    """Open a session in a new Python, and let that end by itself; raise when it fails."""
    url = found.url.render_as_string(hide_password=False)
    select = f"session({url!r}).scalar(sqlalchemy.text('SELECT 1'))"
    ordinary = f"rxdb.{select}"
    asynchronous = f"async def f(): await rxdb.a{select}\nasyncio.run(f())"
    rest = ordinary if found.driver.sync else asynchronous
    program = f"import asyncio, rxdb, sqlalchemy\n{rest}"
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", program]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


def works(feature: Feature, target: Target) -> tuple[bool, str]:
    """Try a feature in an empty database; return whether it works, and why."""

    def attempt(_: Engine) -> tuple[bool, str]:
        made: list[Engine] = []

        def make(found: Target = target, **options: Any) -> Engine:
            build = engines.build if found.driver.sync else engines.build_async
            engine: Any = build(found, **options)
            made.append(getattr(engine, "sync_engine", engine))
            return made[-1]

        try:
            PROBES[feature](target, make)
        except REFUSED as error:
            return False, repr(error)
        finally:
            for engine in made:
                engine.dispose()
        return True, "the probe succeeded"

    return database.with_engine(target, attempt)


@pytest.mark.parametrize("feature", Feature, ids=lambda feature: feature.name.lower())
def test_the_declaration_is_true(rx_empty: str, feature: Feature) -> None:
    """Whether a feature works where the dialect declares it, and only there."""
    target = database.target(rx_empty)
    is_declared = feature in target.dialect.features
    found, why = works(feature, target)
    if found != is_declared:
        said = "declares" if is_declared else "does not declare"
        title = target.dialect.title
        pytest.fail(f"{title} {said} Feature.{feature.name}, but {why}", pytrace=False)
