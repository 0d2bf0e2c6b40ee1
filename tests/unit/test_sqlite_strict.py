"""The CHECKs that make SQLite strict: who has them, and who sees them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import BatchOperations, Operations
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, inspect, text

import rxdb as rx
from rxdb import parse
from rxdb.engine import build


def make(tmp_path: Path, options: str = "") -> Engine:
    return build(parse(f"sqlite:///{tmp_path}/app.db{options}"))


def create(engine: Engine) -> Table:
    """Create a table of a text with three letters and a whole number."""
    metadata = MetaData()
    table = Table("pet", metadata, Column("name", String(3)), Column("age", Integer))
    metadata.create_all(engine)
    return table


def test_a_refused_value_is_told_with_its_table_and_column(tmp_path: Path) -> None:
    engine = make(tmp_path)
    pet = create(engine)
    said = r"does not fit into pet\.name"
    with pytest.raises(rx.BadValue, match=said) as caught, engine.begin() as connection:
        connection.execute(pet.insert(), {"name": "Rexy"})
    assert (caught.value.table, caught.value.columns) == ("pet", ("name",))


def test_strict_off_leaves_what_sqlite_does(tmp_path: Path) -> None:
    engine = make(tmp_path, "?strict=off")
    pet = create(engine)
    with engine.begin() as connection:
        connection.execute(pet.insert(), {"name": "Rexy", "age": 2**40})
        assert connection.execute(pet.select()).all() == [("Rexy", 2**40)]


def test_a_table_that_was_there_before_stays_as_it_is(tmp_path: Path) -> None:
    create(make(tmp_path, "?strict=off"))
    engine = make(tmp_path)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO pet (name) VALUES ('Rexy')"))


def test_reflection_tells_own_checks_only(tmp_path: Path) -> None:
    engine = make(tmp_path)
    metadata = MetaData()
    Table("pet", metadata, Column("age", Integer), sa.CheckConstraint("age > 0", name="positive"))
    metadata.create_all(engine)
    assert [c["name"] for c in inspect(engine).get_check_constraints("pet")] == ["positive"]


@pytest.mark.parametrize("how", ["added", "renamed", "retyped", "kept"])
def test_a_changed_table_stays_strict(tmp_path: Path, how: str) -> None:
    engine = make(tmp_path)
    create(engine)
    with engine.begin() as connection, change(connection) as batch:
        if how == "added":
            batch.add_column(Column("nick", String(3)))
        elif how == "renamed":
            batch.alter_column("name", new_column_name="nick")
        elif how == "retyped":
            batch.alter_column("age", type_=String(3), new_column_name="nick")
        else:
            batch.alter_column("age", type_=String(3))
    column = "name" if how == "kept" else "nick"
    with pytest.raises(rx.BadValue) as caught, engine.begin() as connection:
        connection.execute(text(f"INSERT INTO pet ({column}) VALUES ('Rexy')"))
    assert caught.value.columns == (column,)
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO pet ({column}) VALUES ('Rex')"))


def change(connection: sa.Connection) -> AbstractContextManager[BatchOperations]:
    operations = Operations(MigrationContext.configure(connection))
    return operations.batch_alter_table("pet", recreate="always")


def test_a_time_that_rounds_up_to_the_next_day_is_taken(tmp_path: Path) -> None:
    engine = make(tmp_path)
    metadata = MetaData()
    table = Table("visit", metadata, Column("at", sa.DateTime), Column("clock", sa.Time))
    metadata.create_all(engine)
    with engine.begin() as connection:
        for at in ("9999-12-31 23:59:59.999999", "2024-02-29 23:59:59.999999", "2024-02-29"):
            connection.execute(
                text("INSERT INTO visit VALUES (:at, '23:59:59.999999')"), {"at": at}
            )
        assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 3
