"""What pending revisions would lose is found before anything runs, counted on the real rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import indent
from typing import Any

import databases
import pytest
import sqlalchemy as sa
from alembic import op
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.runtime.migration import RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from rxdb import Feature
from rxdb.migrations import lookahead
from rxdb.migrations.lookahead import Finding

pytestmark = pytest.mark.needs(Feature.REFLECTED_CONSTRAINTS)

Losses = Callable[..., list[Finding]]
Write = Callable[..., list[RevisionStep]]

SCRIPT = '''"""revision {n}"""
import sqlalchemy as sa
from alembic import op
import rxdb.migrations.autogenerate.operations

revision = "r{n}"
down_revision = {down}


def upgrade():
{body}


def downgrade():
    raise NotImplementedError
'''


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write revisions with these bodies, one after another, and return Alembic's steps."""

    def write(*bodies: str) -> list[RevisionStep]:
        folder = tmp_path / f"scripts{len(list(tmp_path.iterdir()))}"
        (folder / "versions").mkdir(parents=True)
        for n, body in enumerate(bodies, start=1):
            down = repr(f"r{n - 1}") if n > 1 else None
            text = SCRIPT.format(n=n, down=down, body=indent(body, "    "))
            (folder / "versions" / f"r{n}.py").write_text(text)
        scripts = ScriptDirectory(str(folder))
        found = [scripts.get_revision(f"r{n}") for n in range(1, len(bodies) + 1)]
        return [RevisionStep.upgrade_from_script(scripts.revision_map, script) for script in found]

    return write


@pytest.fixture
def losses(engine: Engine, write: Write) -> Losses:
    """Say what revisions with these bodies would lose, and see that nothing of it is done."""

    def losses(*bodies: str) -> list[Finding]:
        before = everything(engine)
        with engine.connect() as connection:
            found = lookahead.losses(connection, write(*bodies))
        assert everything(engine) == before
        return found

    return losses


@pytest.fixture(autouse=True)
def _user(engine: Engine, run: databases.Run) -> None:
    """Three users, of whom two have a name and one is of age."""
    table = sa.Table(
        "user",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(200)),
        sa.Column("age", sa.BigInteger),
        sa.Column("price", sa.Numeric(10, 4)),
        sa.Column("color", sa.String(10)),
    )
    rows: list[dict[str, Any]] = [
        {"id": 1, "name": "ann", "age": 2**40, "price": "1.5000", "color": "red"},
        {"id": 2, "name": "b" * 60, "age": 7, "price": "12345.6789", "color": "red"},
        {"id": 3, "name": None, "age": None, "price": None, "color": "blue"},
    ]
    values = [
        {**row, "price": row["price"] and sa.cast(row["price"], table.c.price.type)} for row in rows
    ]

    def fill() -> None:
        with engine.begin() as connection:
            table.create(connection)
            for row in values:
                connection.execute(table.insert().values(row))

    run(fill)


def everything(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        table = sa.Table("user", sa.MetaData(), autoload_with=connection)
        rows = connection.execute(sa.select(table).order_by(table.c.id)).all()
        return [sa.inspect(connection).get_table_names(), *rows]


ALTER = "op.alter_column('user', {!r}, existing_nullable=True, type_={})".format
BATCH = "with op.batch_alter_table('user') as batch:\n    batch.".__add__

CASES: dict[str, tuple[str, list[tuple[str, int | None]]]] = {
    "add": ("op.add_column('user', sa.Column('x', sa.Integer()))", []),
    "create": ("op.create_table('t', sa.Column('x', sa.Integer()))", []),
    "drop table": ("op.drop_table('user')", [("drop table", 3)]),
    "drop missing table": ("op.drop_table('nothing')", [("drop table", 0)]),
    "drop column": ("op.drop_column('user', 'name')", [("drop column", 2)]),
    "drop column in a batch": (BATCH("drop_column('name')"), [("drop column", 2)]),
    "shorter": (ALTER("name", "sa.String(50)"), [("narrow type", 1)]),
    "short enough": (ALTER("name", "sa.String(100)"), [("narrow type", 0)]),
    "longer": (ALTER("name", "sa.String(300)"), []),
    "text": (ALTER("name", "sa.Text()"), []),
    "smaller number": (ALTER("age", "sa.Integer()"), [("narrow type", 1)]),
    "number as text": (ALTER("age", "sa.String(30)"), [("narrow type", 0)]),
    "text as number": (ALTER("name", "sa.Integer()"), [("narrow type", 2)]),
    "fewer places": (ALTER("price", "sa.Numeric(10, 2)"), [("narrow type", 1)]),
    "fewer digits": (ALTER("price", "sa.Numeric(7, 4)"), [("narrow type", 1)]),
    "more digits": (ALTER("price", "sa.Numeric(14, 4)"), []),
    "whole numbers": (ALTER("price", "sa.Integer()"), [("narrow type", 2)]),
    "enum": (ALTER("color", "sa.Enum('red', 'green', name='c')"), [("drop enum member", 1)]),
    "enum member": (
        "op.alter_enum('user', 'color', name='c', existing=['red', 'blue'], members=['red'])",
        [("drop enum member", 1)],
    ),
    "more members": (
        "op.alter_enum('user', 'color', name='c', existing=['red'], members=['red', 'blue'])",
        [],
    ),
    "not null": ("op.alter_column('user', 'name', nullable=False)", [("not null", 1)]),
    "not null where none is": (
        "op.alter_column('user', 'color', nullable=False)",
        [("not null", 0)],
    ),
    "not null, filled": (
        (
            "op.execute('UPDATE user SET name = 0 WHERE name IS NULL')\n"
            "op.alter_column('user', 'name', nullable=False)"
        ),
        [("not null", 0)],
    ),
    "not null, filled by an expression": (
        (
            "user = sa.table('user', sa.column('name'))\n"
            "op.execute(user.update().where(user.c.name.is_(None)).values(name=''))\n"
            "op.alter_column('user', 'name', nullable=False)"
        ),
        [("not null", 0)],
    ),
    "not null, filled elsewhere": (
        (
            "op.execute('UPDATE user SET name = 0 WHERE id < 3')\n"
            "op.alter_column('user', 'name', nullable=False)"
        ),
        [("not null", 1)],
    ),
    "delete": ("op.execute(\"DELETE FROM user WHERE name = 'x'\")", [("unknown", None)]),
    "delete by an expression": (
        "op.execute(sa.table('user', sa.column('id')).delete())",
        [("unknown", None)],
    ),
    "delete from nothing": ("op.execute('DELETE FROM nothing')", [("unknown", 0)]),
    "truncate": ("op.execute('TRUNCATE TABLE user')", [("unknown", 3)]),
    "drop by sql": ("op.execute('/* no */ DROP TABLE IF EXISTS user')", [("drop table", 3)]),
    "drop column by sql": ("op.execute('ALTER TABLE user DROP name')", [("drop column", None)]),
    "drop a constraint by sql": ("op.execute('ALTER TABLE user DROP CONSTRAINT x')", []),
    "words only": ("op.execute(\"UPDATE user SET name = 'DROP TABLE user'\")", []),
    "a trigger that deletes": (
        "op.execute('CREATE TRIGGER x AFTER DELETE ON user BEGIN DELETE FROM user; END')",
        [],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_would_be_lost_is_counted(losses: Losses, case: str) -> None:
    body, expected = CASES[case]
    assert [(finding.kind, finding.rows) for finding in losses(body)] == expected


CHAINS: dict[str, tuple[list[str], list[int | None]]] = {
    "renamed table": (["op.rename_table('user', 'person')", "op.drop_table('person')"], [3]),
    "renamed column": (
        [
            "op.alter_column('user', 'name', new_column_name='title')",
            "op.drop_column('user', 'title')",
        ],
        [2],
    ),
    "both": (
        [
            (
                "op.alter_column('user', 'name', new_column_name='title')\n"
                "op.rename_table('user', 'person')"
            ),
            "op.drop_column('person', 'age')",
        ],
        [2],
    ),
    "new table": (
        ["op.create_table('t', sa.Column('x', sa.Integer()))", "op.drop_table('t')"],
        [0],
    ),
    "new column": (
        ["op.add_column('user', sa.Column('x', sa.Integer()))", "op.drop_column('user', 'x')"],
        [0],
    ),
    "another of that name": (
        [
            "op.rename_table('user', 'old')",
            "op.create_table('user', sa.Column('id', sa.Integer()))\nop.drop_table('user')",
            "op.drop_table('old')",
        ],
        [0, 3],
    ),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_names_are_followed_through_the_revisions(losses: Losses, chain: str) -> None:
    bodies, expected = CHAINS[chain]
    assert [finding.rows for finding in losses(*bodies)] == expected


ASKING = {
    "rows": "if op.get_bind().execute(sa.text('SELECT 1')).first():\n    op.drop_table('user')",
    "tables": "if sa.inspect(op.get_bind()).has_table('user'):\n    op.drop_table('user')",
    "session": (
        "from sqlalchemy.orm import Session\n"
        "with Session(op.get_bind()) as session:\n    session.execute(sa.text('SELECT 1'))\n"
        "op.drop_table('user')"
    ),
    "error": "1 / 0\nop.drop_table('user')",
}


@pytest.mark.parametrize("case", ASKING)
def test_a_script_that_asks_the_database_is_read_as_well(losses: Losses, case: str) -> None:
    (finding,) = losses(ASKING[case])
    assert (finding.kind, finding.rows) == ("drop table", 3)
    assert "upgrade() " in finding.what


def test_what_cannot_be_read_is_not_known(losses: Losses) -> None:
    (finding,) = losses("op.get_bind().execute('x')\nfor t in []:\n    op.drop_table(t)")
    assert finding.rows is None
    assert "op.drop_table(t)" in finding.what


def test_a_sentence_tells_what_and_how_many(losses: Losses) -> None:
    drop, narrow = losses("op.drop_column('user', 'name')", ALTER("age", "sa.SmallInteger()"))
    assert drop.what == "Column user.name is dropped; 2 rows have a value in it."
    assert narrow.what == ("Column user.age becomes SMALLINT; 1 row has a value that may not fit.")
    assert (drop.revision, narrow.revision) == ("r1", "r2")


@pytest.mark.needs(Feature.SCHEMAS)
def test_tables_in_schemas_are_counted(losses: Losses, engine: Engine) -> None:
    name = f"{engine.url.database}_more"[:60]
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(name))
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE TABLE {name}.t (x INTEGER)")
            connection.exec_driver_sql(f"INSERT INTO {name}.t VALUES (1)")
        found = losses(
            f"op.drop_column('t', 'x', schema='{name}')\nop.drop_table('t', schema='{name}')"
        )
        assert [finding.rows for finding in found] == [1, 1]
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP TABLE {name}.t")
            connection.execute(sa.schema.DropSchema(name))


def test_looking_ahead_leaves_a_running_migration_as_it_was(engine: Engine, write: Write) -> None:
    with engine.begin() as connection:
        context = MigrationContext.configure(connection)
        with Operations.context(context):
            assert lookahead.losses(connection, write("op.drop_table('user')"))
            assert op.get_context() is context
            op.rename_table("user", "person")
    assert "person" in sa.inspect(engine).get_table_names()
    assert lookahead.look(write("1 / 0")[0].revision, engine.dialect).reason
    with pytest.raises((AttributeError, NameError)):
        op.get_context()


def test_an_empty_database_has_nothing_to_lose(engine: Engine, write: Write) -> None:
    with engine.begin() as connection:
        sa.Table("user", sa.MetaData(), autoload_with=connection).drop(connection)
    with engine.connect() as connection:
        assert not any(f.rows for f in lookahead.losses(connection, write("op.drop_table('user')")))
