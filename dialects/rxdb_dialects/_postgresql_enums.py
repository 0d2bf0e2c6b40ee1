"""Enums on PostgreSQL: types of their own, which tables share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.types import TypeEngine

CAST = re.compile(r"""('(?:[^']|'')*'|\(?-?[\d.]+\)?)::[\w\s".,()\[\]]+""")
"""A literal and the type that PostgreSQL writes after it."""


def plain_default(text: str) -> str:
    """Return ``'red'`` for ``'red'::color``: the type is the column's."""
    found = CAST.fullmatch(text)
    return found[1] if found else text


def retype_options(column: str, type_: TypeEngine[Any]) -> dict[str, str]:
    """Say how the values become those of the new type: PostgreSQL casts few by itself."""
    from sqlalchemy.dialects import postgresql

    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's has no types
    name = dialect.identifier_preparer.quote(column)
    return {"postgresql_using": f"{name}::{type_.compile(dialect)}"}


def create_enum(operations: Any, asked: Any) -> None:
    """Create the type unless it is there, and have CREATE TABLE leave it alone."""
    name = _name(operations, asked.schema, asked.name)
    members = ", ".join(map(_quote, asked.members))
    _unless(operations, f"CREATE TYPE {name} AS ENUM ({members})", "duplicate_object")
    _known(operations).add((asked.schema, asked.name))


def drop_enum(operations: Any, asked: Any) -> None:
    """Drop the type unless another table uses it."""
    name = _name(operations, asked.schema, asked.name)
    _unless(operations, f"DROP TYPE IF EXISTS {name}", "dependent_objects_still_exist")
    _known(operations).discard((asked.schema, asked.name))


def alter_enum(operations: Any, asked: Any) -> None:
    """Change the members of a type, for every column that uses it.

    Members are added where they stand: no row is written again, and connections that know the
    type go on. They can be used once the transaction has ended (PostgreSQL manual, "ALTER TYPE"),
    so not as a default that the same revision sets. No member can be removed: a new type then
    takes the place of the old one.
    """
    context = operations.migration_context
    places = [(asked.schema, asked.table_name, asked.column_name)]
    existing = list(asked.existing)
    if not context.as_sql:
        existing = list(_members(operations, asked))
        if existing == list(asked.members):
            return  # another column of the same type was altered before
        places = _users(operations, asked) or places
    added = [member for member in asked.members if member not in existing]
    is_kept = [member for member in asked.members if member in existing] == existing
    if is_kept and existing and not asked.used and asked.server_default not in added:
        _add_members(operations, asked, existing)
        return
    type_name = _name(operations, asked.schema, asked.name)
    old = _name(operations, asked.schema, f"{asked.name}_old"[-63:])
    short = _name(operations, None, f"{asked.name}_old"[-63:])
    members = ", ".join(map(_quote, asked.members))
    _run(operations, f"ALTER TYPE {type_name} RENAME TO {short}")
    _run(operations, f"CREATE TYPE {type_name} AS ENUM ({members})")
    for schema, table, column in places:
        where = _name(operations, schema, table)
        quoted = _name(operations, None, column)
        default = _default(operations, asked, (schema, table, column))
        if default is not None:
            _run(operations, f"ALTER TABLE {where} ALTER COLUMN {quoted} DROP DEFAULT")
        _run(
            operations,
            f"ALTER TABLE {where} ALTER COLUMN {quoted} TYPE {type_name} "
            f"USING {quoted}::text::{type_name}",
        )
        if default is not None:
            _run(
                operations,
                f"ALTER TABLE {where} ALTER COLUMN {quoted} SET DEFAULT {default}::{type_name}",
            )
    _run(operations, f"DROP TYPE {old}")


def _add_members(operations: Any, asked: Any, existing: Sequence[str]) -> None:
    """Add each new member behind the one that it follows."""
    type_name = _name(operations, asked.schema, asked.name)
    before = f"BEFORE {_quote(existing[0])}"
    for member in asked.members:
        if member not in existing:
            _run(operations, f"ALTER TYPE {type_name} ADD VALUE {_quote(member)} {before}")
        before = f"AFTER {_quote(member)}"


def _default(operations: Any, asked: Any, place: tuple[str | None, str, str]) -> str | None:
    """Return the default of a column as SQL, without its type."""
    if operations.migration_context.as_sql:
        said = asked.server_default
        return _quote(said) if isinstance(said, str) else None
    from sqlalchemy import text

    query = text(
        "SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a "
        "JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
        "WHERE a.attrelid = CAST(CAST(:name AS text) AS regclass) AND a.attname = :column"
    )
    schema, table, column = place
    name = _name(operations, schema, table)
    found = operations.get_bind().execute(query, {"name": name, "column": column}).scalar()
    return plain_default(found) if found else None


def _members(operations: Any, asked: Any) -> Sequence[str]:
    from sqlalchemy import text

    query = text(
        "SELECT e.enumlabel::text FROM pg_enum e "
        "WHERE e.enumtypid = to_regtype(CAST(:name AS text)) ORDER BY e.enumsortorder"
    )
    name = _name(operations, asked.schema, asked.name)
    return list(operations.get_bind().execute(query, {"name": name}).scalars())


def _users(operations: Any, asked: Any) -> list[tuple[str | None, str, str]]:
    from sqlalchemy import text

    query = text(
        "SELECT n.nspname::text, c.relname::text, a.attname::text FROM pg_attribute a "
        "JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE a.atttypid = to_regtype(CAST(:name AS text)) "
        "AND c.relkind IN ('r', 'p') AND NOT a.attisdropped ORDER BY 1, 2, 3"
    )
    name = _name(operations, asked.schema, asked.name)
    return [tuple(row) for row in operations.get_bind().execute(query, {"name": name})]


def _run(operations: Any, statement: str) -> None:
    from sqlalchemy import text

    operations.execute(text(statement.replace(":", r"\:")))


def _unless(operations: Any, statement: str, condition: str) -> None:
    """Run a statement, and pass over one error of it. It works in a script of SQL too."""
    _run(
        operations,
        f"DO $rxdb$ BEGIN {statement}; EXCEPTION WHEN {condition} THEN NULL; END $rxdb$",
    )


def _name(operations: Any, schema: str | None, name: str) -> str:
    quote = operations.migration_context.dialect.identifier_preparer.quote
    return ".".join(quote(part) for part in (schema, name) if part)


def _quote(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _known(operations: Any) -> Any:
    """Return the types that SQLAlchemy takes for created already, when it creates a table."""
    return operations.migration_context.impl.memo.setdefault("pg_enum", set())
