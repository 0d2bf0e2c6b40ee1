"""How scripts are read, and how values and expressions are written into them."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from sqlmodel import AutoString

from rxdb.migrations.autogenerate import fills, past, rendering

FIRST = """
import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

def upgrade():
    op.create_table('user',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('name', sqlmodel.sql.sqltypes.AutoString(length=50), server_default='a'),
        sa.Column('color', sa.Enum('red', 'blue', name='color')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_user')),
        sa.UniqueConstraint('name', name='uq_user_name'),
    )
    op.create_index('ix_user_color', 'user', ['color'])
    op.create_table('gone', sa.Column('id', sa.Integer()))
    op.create_table('odd', *columns())
"""
SECOND = """
import sqlalchemy as sa
from alembic import op

def upgrade():
    op.rename_table('user', 'person')
    op.drop_table('gone')
    op.add_column('person', sa.Column('u', sa.Uuid()))
    op.alter_enum('person', 'color', name='color', existing=['red'], members=['red', 'gold'])
    with op.batch_alter_table('person') as batch_op:
        batch_op.alter_column('name', new_column_name='full_name', type_=sa.Text())
        batch_op.drop_constraint('uq_user_name', type_='unique')
        batch_op.create_unique_constraint('uq_u', ['u'])
    for i in range(3):
        op.execute('SELECT 1')
    op.drop_index('ix_user_color', table_name='person')

def downgrade():
    op.drop_table('person')
"""


def test_scripts_tell_what_the_tables_were() -> None:
    found = past.read([FIRST])
    user = found.table(None, "user")
    assert found.names == {(None, "user"), (None, "gone"), (None, "odd")}
    assert user is not None
    assert isinstance(user.c.name.type, AutoString)
    assert repr(user.c.name.type) == "AutoString(length=50)"
    assert [index.name for index in user.indexes] == ["ix_user_color"]
    assert "uq_user_name" in {constraint.name for constraint in user.constraints}
    assert isinstance(user.primary_key.name, sa.sql.elements.conv)


def test_scripts_are_read_one_after_the_other() -> None:
    found = past.read([FIRST, "this is no Python", SECOND])
    person = found.table(None, "person")
    assert found.names == {(None, "person"), (None, "odd")}
    assert (None, "gone") in found.ever
    assert person is not None
    assert person.columns.keys() == ["id", "full_name", "color", "u"]
    assert isinstance(person.c.full_name.type, sa.Text)
    color: Any = person.c.color.type
    assert color.enums == ["red", "gold"]
    assert {constraint.name for constraint in person.constraints} == {"pk_user", "uq_u"}
    assert not person.indexes


def test_nothing_of_a_script_is_run() -> None:
    script = (
        "import os\nfrom alembic import op\ndef upgrade():\n    op.create_table(open('x').read())"
    )
    assert past.read([script]).names == set()


class Color(enum.Enum):
    red = 1


VALUES: list[tuple[Any, str, set[str]]] = [
    ("it's 100%: :x \\n", '"it\'s 100%: :x \\\\n"', set()),
    (True, "True", set()),
    ([1, {"a": None}], "[1, {'a': None}]", set()),
    ((1, 2), "(1, 2,)", set()),
    (Decimal("1.50"), "decimal.Decimal('1.50')", {"import decimal"}),
    (uuid.UUID(int=1), f"uuid.UUID('{uuid.UUID(int=1)}')", {"import uuid"}),
    (dt.date(2001, 2, 3), "datetime.date(2001, 2, 3)", {"import datetime"}),
    (b"\x00", "b'\\x00'", set()),
]


@pytest.mark.parametrize(("value", "source", "imports"), VALUES, ids=lambda v: str(v)[:20])
def test_a_value_is_written_as_source(value: Any, source: str, imports: set[str]) -> None:
    found: set[str] = set()
    assert rendering.value(value, found) == source
    assert found == imports
    names = {name: __import__(name) for name in ("datetime", "decimal", "uuid")}
    assert eval(source, names) == value


def test_a_value_without_source_is_refused() -> None:
    with pytest.raises(rendering.Unprintable):
        rendering.value(object(), set())


def test_only_what_can_be_imported_is_named() -> None:
    def inner() -> int:
        return 1

    assert rendering.importable(uuid.uuid4) == ("uuid", "uuid4")
    assert rendering.importable(dt.datetime.now) == ("datetime", "datetime.now")
    assert rendering.importable(dict) == ("builtins", "dict")
    assert rendering.importable(inner) is None
    assert rendering.importable(lambda: 1) is None


TYPES = [
    (sa.String(5), "sa.String(length=5)"),
    (AutoString(length=5), "sqlmodel.sql.sqltypes.AutoString(length=5)"),
    (sa.Enum(Color), "sa.Enum('red', name='color')"),
    (sa.Enum("a", native_enum=False, length=9), "sa.Enum('a', native_enum=False, length=9)"),
    (sa.Numeric(5, 2), "sa.Numeric(precision=5, scale=2)"),
    (sa.DateTime(timezone=True), "sa.DateTime(timezone=True)"),
]


@pytest.mark.parametrize(("type_", "source"), TYPES, ids=lambda v: str(v)[:30])
def test_a_type_is_written_neutrally(type_: Any, source: str) -> None:
    assert rendering.type_(type_, set()) == source
    again = eval(source, {"sa": sa, "sqlmodel": sqlmodel})
    assert repr(again) == repr(type_) or isinstance(type_, sa.Enum)


DEFAULTS = [
    (sa.true(), "sa.true()"),
    (sa.func.now(), "sa.func.now()"),
    (sa.text("a \\:b"), "sa.text('a \\\\:b')"),
    ("'quoted'", "\"'quoted'\""),
    (sa.literal(5), "sa.literal(5)"),
]


@pytest.mark.parametrize(("default", "source"), DEFAULTS, ids=lambda v: str(v)[:20])
def test_a_server_default_is_written_neutrally(default: Any, source: str) -> None:
    assert rendering.default(sa.DefaultClause(default)) == source


FILLS: list[tuple[str, Any, Any]] = [
    ("yes", sa.Boolean(), True),
    ("5", sa.Integer(), 5),
    ("1.5", sa.Numeric(), Decimal("1.5")),
    ("2001-02-03T04:05", sa.DateTime(), dt.datetime(2001, 2, 3, 4, 5)),  # noqa: DTZ001 - the column has no time zone
    (
        "2001-02-03T04:05",
        sa.DateTime(timezone=True),
        dt.datetime(2001, 2, 3, 4, 5, tzinfo=dt.UTC),
    ),
    ("red", sa.Enum(Color), "red"),
    ("1", sa.Enum(Color), "red"),
    ('{"a": 1}', sa.JSON(), {"a": 1}),
    ("a", AutoString(length=5), "a"),
    ("90", sa.Interval(), dt.timedelta(seconds=90)),
]


@pytest.mark.parametrize(("text", "type_", "value"), FILLS, ids=lambda v: str(v)[:20])
def test_a_fill_is_read_by_the_type(text: str, type_: Any, value: Any) -> None:
    assert fills.read(text, type_) == value


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("x", sa.Integer()),
        ("perhaps", sa.Boolean()),
        ("green", sa.Enum(Color)),
        ("toolong", sa.String(3)),
        ("x", sa.Numeric()),
    ],
    ids=str,
)
def test_a_wrong_fill_is_refused(text: str, type_: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        fills.read(text, type_)
