"""What operations are called in plans and reports, and the SQL of a revision without a database."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.operations import MigrateOperation, ops
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, String

from rxdb.migrations import lookahead
from rxdb.migrations.autogenerate.operations import AlterEnumOp, CreateEnumOp, FillRowsOp

USER = sa.Table("user", sa.MetaData(), Column("id", Integer), Column("name", String(50)))

SENTENCES: dict[str, MigrateOperation] = {
    "Table user is added, with id, name.": ops.CreateTableOp("user", list(USER.columns)),
    "Table shop.user is dropped.": ops.DropTableOp("user", schema="shop"),
    "Table user is renamed to person.": ops.RenameTableOp("user", "person"),
    "Column user.age is added (INTEGER, not NULL).": ops.AddColumnOp(
        "user", Column("age", Integer, nullable=False)
    ),
    "Column user.age is dropped.": ops.DropColumnOp("user", "age"),
    "Column user.name becomes VARCHAR(9), refuses NULL and is renamed to title.": ops.AlterColumnOp(
        "user", "name", modify_type=String(9), modify_nullable=False, modify_name="title"
    ),
    "Column user.name becomes an enum of 'a', 'b' and loses its default.": ops.AlterColumnOp(
        "user", "name", modify_type=sa.Enum("a", "b", name="e"), modify_server_default=None
    ),
    "Column user.name allows NULL and gets the default now().": ops.AlterColumnOp(
        "user", "name", modify_nullable=True, modify_server_default=sa.text("now()")
    ),
    "Column user.name gets the comment 'x'.": ops.AlterColumnOp("user", "name", modify_comment="x"),
    "Unique index ix of user (name) is added.": ops.CreateIndexOp(
        "ix", "user", ["name"], unique=True
    ),
    "Index ix of user is dropped.": ops.DropIndexOp("ix", "user"),
    "Foreign key of pet (user_id) to shop.user (id) is added.": ops.CreateForeignKeyOp(
        None, "pet", "user", ["user_id"], ["id"], referent_schema="shop"
    ),
    "Unique constraint uq of user (name) is added.": ops.CreateUniqueConstraintOp(
        "uq", "user", ["name"]
    ),
    "Check constraint ck of user (age > 0) is added.": ops.CreateCheckConstraintOp(
        "ck", "user", "age > 0"
    ),
    "Primary key pk of user (id) is added.": ops.CreatePrimaryKeyOp("pk", "user", ["id"]),
    "Constraint uq of user is dropped.": ops.DropConstraintOp("uq", "user", "unique"),
    "Table user gets the comment 'x'.": ops.CreateTableCommentOp("user", "x"),
    "Table user loses its comment.": ops.DropTableCommentOp("user"),
    "2 rows go into user.": ops.BulkInsertOp(USER, [{"id": 1}, {"id": 2}]),
    "SQL is run: UPDATE user SET id = 1": ops.ExecuteSQLOp("UPDATE user\n  SET id = 1"),
    "Table a is dropped. Table b is dropped.": ops.UpgradeOps(
        [ops.DropTableOp("a"), ops.ModifyTableOps("b", [ops.DropTableOp("b")])]
    ),
    "Column user.color takes 'red'.": AlterEnumOp(
        "user", "color", name="c", existing=["red", "blue"], members=["red"]
    ),
    "The enum c is added.": CreateEnumOp("c", ["red"]),
    "Each row without a value in user.key gets one of its own.": FillRowsOp(
        "user", sa.column("key"), str, key=[sa.column("id")]
    ),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_an_operation_has_a_sentence(sentence: str) -> None:
    assert lookahead.describe(SENTENCES[sentence]) == sentence


def test_long_sql_is_cut() -> None:
    assert len(lookahead.describe(ops.ExecuteSQLOp("SELECT " + "x" * 500))) < 130


BOTH = ("postgresql", "sqlite")

SCRIPT = '''"""one"""
import sqlalchemy as sa
from alembic import op

revision = "r1"
down_revision = None


def upgrade():
    op.create_table("t", sa.Column("id", sa.Integer, primary_key=True))
    with op.batch_alter_table("t") as batch:
        batch.add_column(sa.Column("a", sa.String(20)))
        batch.alter_column("a", existing_type=sa.String(20), nullable=False)


def downgrade():
    op.drop_table("t")
'''


def test_a_script_tells_its_sql_where_that_needs_no_database(tmp_path: Path) -> None:
    postgresql, sqlite = (sa.make_url(f"{name}://").get_dialect()() for name in BOTH)
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "r1.py").write_text(SCRIPT)
    script = ScriptDirectory(str(tmp_path)).get_revision("r1")
    assert script is not None
    create, *alter = lookahead.statements(script, postgresql) or []
    assert create.startswith("CREATE TABLE t (")
    assert alter == [
        "ALTER TABLE t ADD COLUMN a VARCHAR(20);",
        "ALTER TABLE t ALTER COLUMN a SET NOT NULL;",
    ]
    assert lookahead.statements(script, sqlite) is None  # a copy needs the real table
    assert lookahead.look(script, sqlite).sentences == [
        "Table t is added, with id.",
        "Column t.a is added (VARCHAR(20)).",
        "Column t.a refuses NULL.",
    ]
    assert lookahead.look(script, sqlite, "downgrade").sentences == ["Table t is dropped."]
