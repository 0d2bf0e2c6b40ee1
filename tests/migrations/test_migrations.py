"""From no migrations to the newest revision and back, the same on every server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table

import rxdb as rx
from rxdb import Feature, migrations
from rxdb.errors import DataLoss, MigrationError, SchemaOutdated

pytestmark = pytest.mark.needs(Feature.REFLECTED_CONSTRAINTS)


def tables(engine: Engine) -> set[str]:
    """Return the application's tables that are there."""
    return {name for name in sa.inspect(engine).get_table_names() if not name.startswith("rxdb_")}


def columns(engine: Engine, table: str) -> set[str]:
    return {column["name"] for column in sa.inspect(engine).get_columns(table)}


@pytest.fixture
def user(metadata: MetaData) -> Table:
    """The first version of a model."""
    return Table("user", metadata, Column("id", Integer, primary_key=True))


def test_init_creates_the_files_and_the_tables(project: Path, user: Table, engine: Engine) -> None:
    made = migrations.init()
    assert {p.name for p in project.iterdir()} == {"alembic", "alembic.ini"}
    assert made.path is not None
    assert "op.create_table" in made.path.read_text()
    assert tables(engine) == {"alembic_version", "user"}
    assert migrations.differences() == ()


def test_a_change_is_written_applied_and_taken_back(
    project: Path, user: Table, engine: Engine
) -> None:
    migrations.init()
    with engine.begin() as connection:
        connection.execute(user.insert().values(id=1))
    user.append_column(Column("name", String(50), nullable=False, server_default="nobody"))
    made = migrations.make("add a name")
    assert made.path is not None
    assert made.path.name.endswith("_add_a_name.py")
    (applied,) = migrations.migrate()
    assert (applied.message, applied.direction) == ("add a name", "upgrade")
    with engine.connect() as connection:
        assert connection.execute(sa.select(user)).all() == [(1, "nobody")]
    assert migrations.differences() == ()
    assert migrations.migrate() == []
    with pytest.raises(DataLoss, match=r"--allow-data-loss"):
        migrations.downgrade("-1")
    assert columns(engine, "user") == {"id", "name"}
    migrations.downgrade("-1", allow_data_loss=True)
    assert columns(engine, "user") == {"id"}
    migrations.downgrade("base", allow_data_loss=True)
    assert "user" not in tables(engine)


@pytest.mark.needs(Feature.ALTER_COLUMN)
def test_written_sql_makes_the_tables_that_migrate_makes(
    project: Path, user: Table, engine: Engine
) -> None:
    kinds: dict[str, Any] = {"at": sa.DateTime(), "x": sa.Float(), "data": sa.LargeBinary()}
    kinds |= {"name": rx.CaseInsensitiveText(20)}
    for name, kind in kinds.items():
        user.append_column(Column(name, kind))
    migrations.init()
    migrations.downgrade("base", allow_data_loss=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE alembic_version")
        for statement in migrations.sql().split(";\n"):
            if statement.strip() not in {"", "BEGIN", "COMMIT"}:
                connection.exec_driver_sql(statement)
    assert migrations.differences() == ()


def test_a_column_that_is_changed_keeps_its_type(
    project: Path, user: Table, metadata: MetaData
) -> None:
    kinds: dict[str, Any] = {"at": sa.DateTime(), "x": sa.Float(), "data": sa.LargeBinary()}
    kinds |= {"of": sa.Numeric(), "name": rx.CaseInsensitiveText(20)}
    for name, kind in kinds.items():
        user.append_column(Column(name, kind))
    migrations.init()
    metadata.remove(user)
    columns = [Column(name, kind, nullable=False) for name, kind in kinds.items()]
    Table("user", metadata, Column("id", Integer, primary_key=True), *columns)
    migrations.make("no nulls")
    migrations.migrate(allow_data_loss=True)
    assert migrations.differences() == ()


def test_without_a_change_no_file_is_written(project: Path, user: Table) -> None:
    migrations.init()
    assert migrations.make("nothing").path is None
    assert len(list((project / "alembic" / "versions").glob("*.py"))) == 1


def test_a_database_that_is_behind_is_not_compared(project: Path, user: Table) -> None:
    migrations.init()
    migrations.make("by hand", empty=True)
    with pytest.raises(SchemaOutdated, match="rxdb db migrate"):
        migrations.make("more")


def test_a_failed_init_leaves_no_file(
    project: Path, user: Table, engine: Engine, metadata: MetaData
) -> None:
    metadata.create_all(engine)
    with pytest.raises(MigrationError, match="rxdb db init --adopt"):
        migrations.init()
    assert list(project.iterdir()) == []
    migrations.init(adopt=True)
    assert rx.check_schema().is_current


def test_alembic_itself_runs_the_same_migrations(
    project: Path, user: Table, engine: Engine
) -> None:
    from alembic import command
    from alembic.config import Config

    migrations.init()
    migrations.make("by hand", empty=True)
    command.upgrade(Config(str(project / "alembic.ini")), "head")
    assert rx.check_schema().is_current


def test_tables_that_are_there_already_are_not_created_again(
    project: Path, user: Table, engine: Engine, metadata: MetaData
) -> None:
    migrations.init()
    migrations.downgrade("base", allow_data_loss=True)
    metadata.create_all(engine)
    with pytest.raises(MigrationError, match="rxdb db stamp head"):
        migrations.migrate()
    migrations.stamp()
    assert rx.check_schema().is_current
    assert migrations.migrate() == []


def test_a_database_that_differs_from_the_models_is_not_adopted(
    project: Path, user: Table, engine: Engine, metadata: MetaData
) -> None:
    metadata.create_all(engine)
    Table("later", metadata, Column("id", Integer, primary_key=True))
    with pytest.raises(MigrationError, match=r"Table later was added"):
        migrations.init(adopt=True)
    assert list(project.iterdir()) == []
    metadata.create_all(engine)
    migrations.init(adopt=True)
    assert rx.check_schema().is_current
