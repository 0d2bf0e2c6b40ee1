"""CHECKs with which SQLite refuses what PostgreSQL would refuse.

SQLite takes ``'abc'`` for an integer and a text of any length for VARCHAR(3); its STRICT tables
know five types, none of them a time, and no length. So each column that rxdb creates has a CHECK of
its own type. Its name tells the error what it means. Reflection passes over these CHECKs: they
belong to the types, are made anew with a column, and are no difference to a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

PREFIX = "rxdb_value_"
"""What the names of these CHECKs begin with; the column follows."""

FAILED = f"CHECK constraint failed: {PREFIX}"

NUL = "char(0)"

NUMBER = "typeof({}) NOT IN ('text', 'blob')"
"""A number or NULL. Of more than two texts SQLite would make a table, and look each value up:
0.5 µs, where this takes 0.05."""

DAY = 10
"""The letters of a date, 2026-01-31."""


def be_strict(dialect: Any) -> None:
    """Let columns, as they are created, take only what fits their types."""
    ddl: Any = dialect.ddl_compiler
    reflected = dialect.get_check_constraints

    class Compiler(ddl):  # type: ignore[misc]  # the class that this engine has
        def get_column_specification(self, column: Any, **options: Any) -> str:
            text: str = super().get_column_specification(column, **options)
            name = self.preparer.format_column(column)
            condition = check(column.type, name, self.dialect)
            if not condition or column.computed is not None:
                return text
            rule = self.preparer.quote_identifier(f"{PREFIX}{column.name}")
            return f"{text} CONSTRAINT {rule} CHECK ({condition})"

    dialect.ddl_compiler = Compiler

    def get_check_constraints(*arguments: Any, **options: Any) -> Any:
        found = reflected(*arguments, **options)
        return [c for c in found if not str(c["name"] or "").startswith(PREFIX)]

    dialect.get_check_constraints = get_check_constraints


def check(type_: TypeEngine[Any], name: str, dialect: Any) -> str:  # noqa: PLR0911, C901 - a line each
    """Return what has to be true of a value of this type; empty for one that is not known."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import sqlite

    while isinstance(type_, sa.TypeDecorator):
        type_ = type_.load_dialect_impl(dialect)
    if isinstance(type_, sa.Boolean):
        return f"{name} IN (0, 1)"
    if isinstance(type_, sa.Integer):
        return integer(type_, name)
    if isinstance(type_, sa.Float):
        return NUMBER.format(name)
    if isinstance(type_, sa.Numeric):
        return numeric(type_, name)
    if isinstance(type_, sa.Enum):
        members = ", ".join(literal(member) for member in type_.enums)
        is_free = not type_.native_enum  # PostgreSQL has a VARCHAR there
        return text(type_.length, name) if is_free else f"{name} IN ({members})"
    if isinstance(type_, sa.Uuid):
        letters = f"{name} NOT GLOB '*[^0-9a-f]*'"
        return f"length({name}) = 32 AND {letters}" if type_.as_uuid else ""
    if isinstance(type_, sa.String):
        return text(None if isinstance(type_, sa.Text) else type_.length, name)
    if isinstance(type_, sa.LargeBinary):
        return f"typeof({name}) IN ('blob', 'null')"
    if isinstance(type_, sa.Date | sa.DateTime | sa.Time):
        is_own = isinstance(type_, sqlite.DATE | sqlite.DATETIME | sqlite.TIME) and vars(type_)
        return "" if is_own and "_storage_format" in vars(type_) else time(type_, name)
    if isinstance(type_, sa.JSON):
        return f"json_valid({name}) OR {name} IS NULL"  # of NULL older versions say 0
    return ""


def integer(type_: TypeEngine[Any], name: str) -> str:
    """Return the CHECK of a whole number; SQLite itself has 64 bits."""
    import sqlalchemy as sa

    kind = f"typeof({name}) IN ('integer', 'null')"
    if isinstance(type_, sa.BigInteger):
        return kind
    most = 2**15 if isinstance(type_, sa.SmallInteger) else 2**31
    return f"{kind} AND {name} BETWEEN -{most} AND {most - 1}"


def numeric(type_: Any, name: str) -> str:
    """Return the CHECK of a decimal: PostgreSQL refuses digits before the point only."""
    from rxdb_dialects._sqlite_decimals import is_text

    digits = f"abs({name}) {{}} 1e{type_.precision - (type_.scale or 0)}" if type_.precision else ""
    if not is_text(type_):
        kind = NUMBER.format(name)
        return f"{kind} AND {digits.format('<')}" if digits else kind
    kind = f"typeof({name}) IN ('text', 'null') AND {name} NOT GLOB '*[^-+.0-9eE]*'"
    kind = f"{kind} AND {name} GLOB '*[0-9]*'"
    # the largest decimal and the next power of ten are one double
    return f"{kind} AND {digits.format('<=')}" if digits else kind


def text(length: int | None, name: str) -> str:
    """Return the CHECK of a text: no bytes, not too long, and not NUL."""
    kind = f"typeof({name}) IN ('text', 'null') AND instr({name}, {NUL}) = 0"
    return f"{kind} AND length({name}) <= {length}" if length else kind


def time(type_: TypeEngine[Any], name: str) -> str:
    """Return the CHECK of a date or a time, or of both with a space or a T between them.

    Adding no days makes SQLite calculate: else it takes the 30th of February as it is.
    """
    import sqlalchemy as sa

    kind = f"typeof({name}) IN ('text', 'null')"
    day, clock = f"substr({name}, 1, {DAY})", f"substr({name}, {DAY + 2})"
    if isinstance(type_, sa.DateTime):
        is_day = f"date({day}, '+0 days') IS {day}"
        return f"{kind} AND {is_day} AND (length({name}) = {DAY} OR time({clock}) IS NOT NULL)"
    if isinstance(type_, sa.Date):
        return f"{kind} AND date({name}, '+0 days') IS {name}"
    return f"{kind} AND (time({name}) IS NOT NULL OR {name} IS NULL)"


def literal(value: str) -> str:
    """Return *value* as SQL writes a text."""
    return "'" + value.replace("'", "''") + "'"
