"""Say in one sentence what an operation of a revision does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy import exc, types

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alembic.operations import MigrateOperation
    from sqlalchemy import Dialect

SHOWN = 100
"""Characters of a script's SQL that a sentence shows."""

CONSTRAINTS = {
    "check": "Check constraint",
    "primarykey": "Primary key",
    "unique": "Unique constraint",
}


def describe(operation: MigrateOperation) -> str:
    """Return one plain sentence for *operation*. An operation of its own kind has a ``describe``.

    A container, such as the operations of one table, gives a sentence for each of its parts.
    """
    own = getattr(operation, "describe", None)
    if callable(own):
        return str(own())
    for kind, sentence in SENTENCES.items():
        if isinstance(operation, kind):
            return sentence(operation)
    return _own(operation)


def own_kind(operation: Any) -> str:
    """Return the name of an operation that was registered with Alembic; empty for Alembic's."""
    if type(operation).__module__.startswith("alembic."):
        return ""
    return str(operation.to_diff_tuple()[0]) if hasattr(operation, "to_diff_tuple") else ""


def _own(operation: Any) -> str:
    """Describe an operation that Alembic does not know."""
    kind = own_kind(operation)
    if kind in {"create_enum", "drop_enum"}:
        verb = "added" if kind == "create_enum" else "dropped, unless a table uses it"
        return f"The enum {operation.name} is {verb}."
    if kind == "alter_enum":
        members = ", ".join(map(repr, operation.members))
        return f"Column {table_of(operation)}.{operation.column_name} takes {members}."
    if kind == "fill_rows":
        name = f"{table_of(operation)}.{operation.column.name}"
        return f"Each row without a value in {name} gets one of its own."
    place = f" of {table_of(operation)}" if hasattr(operation, "table_name") else ""
    return f"{type(operation).__name__}{place} is run."


def _columns(operation: ops.CreateTableOp) -> str:
    names = [item.name for item in operation.columns if isinstance(item, sa.Column)]
    return (
        f"Table {table_of(operation)} is added, with {', '.join(map(str, names)) or 'no columns'}."
    )


def _altered(operation: ops.AlterColumnOp) -> str:
    changes = []
    if operation.modify_type is not None:
        changes.append(f"becomes {type_name(operation.modify_type)}")
    if operation.modify_nullable is not None:
        changes.append("allows NULL" if operation.modify_nullable else "refuses NULL")
    if operation.modify_server_default is None:
        changes.append("loses its default")
    elif operation.modify_server_default is not False:
        changes.append(f"gets the default {_default(operation.modify_server_default)}")
    if operation.modify_comment is not False:
        comment = operation.modify_comment
        changes.append("loses its comment" if comment is None else f"gets the comment {comment!r}")
    if operation.modify_name is not None:
        changes.append(f"is renamed to {operation.modify_name}")
    *most, last = changes or ["is written again"]
    text = f"{', '.join(most)} and {last}" if most else last
    return f"Column {table_of(operation)}.{operation.column_name} {text}."


def _added(operation: ops.AddColumnOp) -> str:
    column = operation.column
    null = "" if column.nullable else ", not NULL"
    name = f"{table_of(operation)}.{column.name}"
    return f"Column {name} is added ({type_name(column.type)}{null})."


def _indexed(operation: ops.CreateIndexOp) -> str:
    unique = "Unique index" if operation.unique else "Index"
    columns = ", ".join(str(column) for column in operation.columns)
    return f"{unique} {operation.index_name} of {table_of(operation)} ({columns}) is added."


def _referring(operation: ops.CreateForeignKeyOp) -> str:
    schema = operation.kw.get("referent_schema")
    parent = ".".join(filter(None, (schema, operation.referent_table)))
    own = ", ".join(operation.local_cols)
    table = ".".join(filter(None, (operation.kw.get("source_schema"), operation.source_table)))
    columns = ", ".join(operation.remote_cols)
    return f"Foreign key of {table} ({own}) to {parent} ({columns}) is added."


def _constrained(operation: Any) -> str:
    kind = CONSTRAINTS.get(operation.constraint_type, "Constraint")
    columns = ", ".join(map(str, getattr(operation, "columns", ())))
    condition = getattr(operation, "condition", "")
    text = f" ({columns or condition})" if columns or str(condition) else ""
    name = f" {operation.constraint_name}" if operation.constraint_name else ""
    return f"{kind}{name} of {table_of(operation)}{text} is added."


def _executed(operation: ops.ExecuteSQLOp) -> str:
    text = " ".join(sql_of(operation.sqltext, None).split())
    return f"SQL is run: {text if len(text) <= SHOWN else text[: SHOWN - 1] + '…'}"


def _contained(operation: ops.OpContainer) -> str:
    return " ".join(describe(part) for part in operation.ops)


SENTENCES: Mapping[type, Callable[[Any], str]] = {
    ops.CreateTableOp: _columns,
    ops.DropTableOp: lambda o: f"Table {table_of(o)} is dropped.",
    ops.RenameTableOp: lambda o: f"Table {table_of(o)} is renamed to {o.new_table_name}.",
    ops.AddColumnOp: _added,
    ops.DropColumnOp: lambda o: f"Column {table_of(o)}.{o.column_name} is dropped.",
    ops.AlterColumnOp: _altered,
    ops.CreateIndexOp: _indexed,
    ops.DropIndexOp: lambda o: f"Index {o.index_name} of {table_of(o)} is dropped.",
    ops.CreateForeignKeyOp: _referring,
    ops.AddConstraintOp: _constrained,
    ops.DropConstraintOp: lambda o: f"Constraint {o.constraint_name} of {table_of(o)} is dropped.",
    ops.CreateTableCommentOp: lambda o: f"Table {table_of(o)} gets the comment {o.comment!r}.",
    ops.DropTableCommentOp: lambda o: f"Table {table_of(o)} loses its comment.",
    ops.BulkInsertOp: lambda o: f"{rows(len(o.rows))} go into {o.table.name}.",
    ops.ExecuteSQLOp: _executed,
    ops.OpContainer: _contained,
}


def table_of(operation: Any) -> str:
    name = getattr(operation, "table_name", None) or "a table"
    return ".".join(filter(None, (getattr(operation, "schema", None), name)))


def rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def type_name(type_: Any) -> str:
    instance = types.to_instance(type_)
    if isinstance(instance, types.Enum):
        return f"an enum of {', '.join(map(repr, instance.enums))}"
    if isinstance(instance, types.NullType):
        return "another type"
    try:
        return str(instance)
    except exc.CompileError:
        return type(instance).__name__


def _default(default: Any) -> str:
    value = getattr(default, "arg", default)
    return str(getattr(value, "text", value))


def sql_of(statement: Any, dialect: Dialect | None) -> str:
    """Return a statement of a script as SQL."""
    if isinstance(statement, str):
        return statement
    try:
        return str(statement.compile(dialect=dialect))
    except (AttributeError, exc.SQLAlchemyError):
        return str(statement)
