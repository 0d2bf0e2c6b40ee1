"""Changing a table keeps everything that the change does not name.

Some backends change a column in place, others only by copying the whole table; each test holds
for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import databases
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, Engine

from rxdb import Feature, Target
from rxdb.errors import RebuildFailed

pytestmark = pytest.mark.needs(Feature.REFLECTED_CONSTRAINTS)  # what is not told cannot be altered

Migrate = Callable[..., None]
Change = Callable[[Operations], Any]


@pytest.fixture
def migrate(engine: Engine, target: Target) -> Migrate:
    """Run functions as the revisions of one run, each in its transaction."""

    def migrate(*changes: Change) -> None:
        with engine.connect() as connection, target.dialect.migrating(connection, target):
            for number, change in enumerate(changes, start=1):
                with connection.begin(), target.dialect.revising(connection, f"r{number}"):
                    change(Operations(MigrationContext.configure(connection)))

    return migrate


@pytest.fixture
def family(engine: Engine, run: databases.Run) -> sa.MetaData:
    """Two parents and three children, which go with their parents; one child has no name."""
    metadata = sa.MetaData()
    sa.Table(
        "parent",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("age", sa.Integer, sa.CheckConstraint("age > 0"), server_default="1"),
    )
    sa.Table(
        "child",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(50)),
        sa.Column("parent_id", sa.ForeignKey("parent.id", ondelete="CASCADE"), nullable=False),
    )

    def fill() -> None:
        with engine.begin() as connection:
            metadata.create_all(connection)
            parents = [{"id": 1, "name": "a", "age": 1}, {"id": 2, "name": "b", "age": 2}]
            connection.execute(metadata.tables["parent"].insert(), parents)
            names = {1: "c", 2: "c", 3: None}
            children = [
                {"id": n, "name": name, "parent_id": n % 2 + 1} for n, name in names.items()
            ]
            connection.execute(metadata.tables["child"].insert(), children)

    run(fill)
    return metadata


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(sa.table(table))) or 0)


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def allow_null(op: Operations) -> None:
    """Let a parent be without a name."""
    with op.batch_alter_table("parent") as batch:
        batch.alter_column("name", existing_type=sa.String(50), nullable=True)


def require_names(op: Operations) -> None:
    """Let no child be without a name."""
    with op.batch_alter_table("child") as batch:
        batch.alter_column("name", existing_type=sa.String(50), nullable=False)


def alter(op: Operations, table: str, column: str, **change: Any) -> None:
    with op.batch_alter_table(table) as batch:
        batch.alter_column(column, **change)


def constrain(op: Operations) -> None:
    with op.batch_alter_table("parent") as batch:
        batch.create_unique_constraint("uq_parent_name", ["name"])


def drop_column(op: Operations) -> None:
    with op.batch_alter_table("parent") as batch:
        batch.drop_column("name")


CHANGES: dict[str, Change] = {
    "nullable": allow_null,
    "type": lambda op: alter(op, "parent", "name", existing_type=sa.String(50), type_=sa.Text()),
    "default": lambda op: alter(
        op,
        "parent",
        "name",
        existing_type=sa.String(50),
        server_default="x",
        existing_nullable=False,
    ),
    "rename": lambda op: alter(
        op,
        "parent",
        "name",
        existing_type=sa.String(50),
        existing_nullable=False,
        new_column_name="title",
    ),
    "constraint": constrain,
    "drop column": drop_column,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.usefixtures("family")
def test_changing_a_parent_keeps_its_children(
    engine: Engine, migrate: Migrate, change: str
) -> None:
    migrate(CHANGES[change])
    assert (count(engine, "parent"), count(engine, "child")) == (2, 3)


@pytest.mark.usefixtures("family")
def test_several_changes_in_one_revision_keep_every_row(engine: Engine, migrate: Migrate) -> None:
    def change(op: Operations) -> None:
        allow_null(op)
        op.execute("UPDATE child SET name = 'none' WHERE name IS NULL")
        require_names(op)
        constrain(op)

    migrate(change, CHANGES["rename"])
    assert (count(engine, "parent"), count(engine, "child")) == (2, 3)


@pytest.mark.needs(Feature.FOREIGN_KEYS)
@pytest.mark.usefixtures("family")
def test_foreign_keys_hold_again_afterwards(engine: Engine, target: Target) -> None:
    with engine.connect() as connection:
        with target.dialect.migrating(connection, target):
            pass
        refuses_orphans(connection)


@pytest.mark.needs(Feature.FOREIGN_KEYS)
@pytest.mark.usefixtures("family")
def test_foreign_keys_hold_again_after_an_error_that_left_a_transaction_open(
    engine: Engine, target: Target
) -> None:
    def fail(connection: Connection) -> None:
        with target.dialect.migrating(connection, target):
            connection.begin()
            connection.execute(sa.text("SELECT 1"))
            raise LookupError

    with engine.connect() as connection:
        with pytest.raises(LookupError):
            fail(connection)
        if connection.in_transaction():
            connection.rollback()
        refuses_orphans(connection)


def refuses_orphans(connection: Connection) -> None:
    insert = sa.text("INSERT INTO child (id, parent_id) VALUES (9, 99)")
    with pytest.raises(sa.exc.IntegrityError), connection.begin():
        connection.execute(insert)


@pytest.mark.needs(Feature.FOREIGN_KEYS)
@pytest.mark.usefixtures("family")
def test_what_a_foreign_key_does_outlives_a_change_of_its_own_table(
    engine: Engine, migrate: Migrate
) -> None:
    execute(engine, "UPDATE child SET name = 'x'")
    migrate(require_names)
    execute(engine, "DELETE FROM parent WHERE id = 2")
    assert count(engine, "child") == 1


@pytest.mark.needs(Feature.FOREIGN_KEYS)
def test_a_revision_leaves_no_row_without_its_parent(engine: Engine, migrate: Migrate) -> None:
    execute(
        engine,
        "CREATE TABLE town (id INTEGER PRIMARY KEY)",
        "CREATE TABLE house (id INTEGER PRIMARY KEY, town_id INTEGER NOT NULL, "
        "FOREIGN KEY (town_id) REFERENCES town (id))",
        "INSERT INTO town VALUES (1)",
        "INSERT INTO house VALUES (1, 1)",
    )
    with pytest.raises((sa.exc.IntegrityError, RebuildFailed)):
        migrate(lambda op: op.execute("DELETE FROM town"))
    assert (count(engine, "town"), count(engine, "house")) == (1, 1)


@pytest.mark.usefixtures("family")
def test_a_change_that_fails_leaves_nothing_and_fails_alike_again(
    engine: Engine, migrate: Migrate
) -> None:
    said = []
    for _ in range(2):
        with pytest.raises(sa.exc.DBAPIError) as caught:
            migrate(require_names)
        said.append(str(caught.value.orig))
    assert said[0] == said[1]
    assert set(sa.inspect(engine).get_table_names()) == {"parent", "child"}
    assert count(engine, "child") == 3
    execute(engine, "UPDATE child SET name = 'now' WHERE name IS NULL")
    migrate(require_names)
    assert count(engine, "child") == 3


@pytest.mark.needs(Feature.TRANSACTIONAL_DDL)
@pytest.mark.usefixtures("family")
def test_what_came_before_a_failing_change_is_taken_back_with_it(
    engine: Engine, migrate: Migrate
) -> None:
    def change(op: Operations) -> None:
        op.create_table("other", sa.Column("id", sa.Integer, primary_key=True))
        op.execute("UPDATE parent SET name = 'z'")
        allow_null(op)
        require_names(op)

    with pytest.raises(sa.exc.DBAPIError):
        migrate(change)
    assert set(sa.inspect(engine).get_table_names()) == {"parent", "child"}
    names: sa.Select[Any] = (
        sa.select(sa.column("name")).select_from(sa.table("parent")).order_by("name")
    )
    with engine.connect() as connection:
        assert connection.scalars(names).all() == ["a", "b"]
    assert not {c["name"]: c for c in sa.inspect(engine).get_columns("parent")}["name"]["nullable"]


@pytest.mark.usefixtures("family")
def test_a_view_outlives_a_change_of_its_table(engine: Engine, migrate: Migrate) -> None:
    execute(engine, "CREATE VIEW names AS SELECT name FROM parent")
    migrate(allow_null)
    assert count(engine, "names") == 2


@pytest.mark.usefixtures("family")
def test_an_unnamed_check_outlives_a_change_of_its_table(engine: Engine, migrate: Migrate) -> None:
    migrate(allow_null)
    with pytest.raises(sa.exc.DBAPIError):
        execute(engine, "INSERT INTO parent (id, name, age) VALUES (3, 'c', -1)")


def test_indexes_outlive_a_change_of_their_table(
    engine: Engine, migrate: Migrate, family: sa.MetaData
) -> None:
    parent = family.tables["parent"]
    made = [
        sa.Index("ix_parent_name", parent.c.name, unique=True),
        sa.Index("ix_parent_age", parent.c.age.desc(), parent.c.name),
    ]
    with engine.begin() as connection:
        for index in made:
            index.create(connection)
    before = sa.inspect(engine).get_indexes("parent")
    migrate(allow_null)
    assert sorted(map(repr, sa.inspect(engine).get_indexes("parent"))) == sorted(map(repr, before))
    with pytest.raises(sa.exc.IntegrityError):
        execute(engine, "INSERT INTO parent (id, name) VALUES (3, 'a')")


@pytest.mark.needs(Feature.GENERATED_KEYS)
def test_keys_are_numbered_on_after_a_change(engine: Engine, migrate: Migrate) -> None:
    table = sa.Table(
        "parent",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(50), nullable=False),
        sqlite_autoincrement=True,
    )
    with engine.begin() as connection:
        table.create(connection)
        connection.execute(table.insert(), [{"name": "a"}, {"name": "b"}])
        connection.execute(table.delete().where(table.c.name == "b"))
    migrate(allow_null)
    with engine.begin() as connection:
        key = connection.execute(table.insert().values(name="c")).inserted_primary_key
    assert key is not None
    assert key[0] == 3
