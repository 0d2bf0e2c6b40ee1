"""Operations that revisions use beside Alembic's own: enums, and values made for each row.

Importing this module registers them, as ``env.py`` does through rxdb.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation, Operations
from alembic.operations.ops import OpContainer
from sqlalchemy.schema import CreateColumn

from rxdb import registry
from rxdb.errors import MigrationError

if TYPE_CHECKING:
    from rxdb.dialect import Dialect


class Nothing(MigrateOperation):
    """The reverse of what needs none."""

    def reverse(self) -> MigrateOperation:
        return Nothing()

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("nothing",)


class Group(OpContainer, MigrateOperation):
    """Operations that belong together."""

    def reverse(self) -> MigrateOperation:
        return Group([op.reverse() for op in reversed(self.ops)])


@Operations.register_operation("create_enum")
class CreateEnumOp(MigrateOperation):
    """Create the type of an enum, where it is an object of its own, unless it is there."""

    def __init__(self, name: str, members: Sequence[str], *, schema: str | None = None) -> None:
        self.name = name
        self.members = list(members)
        self.schema = schema

    @classmethod
    def create_enum(
        cls,
        operations: Operations,
        name: str,
        members: Sequence[str],
        *,
        schema: str | None = None,
    ) -> None:
        """Create the type of an enum, on the backends where it is an object of its own.

        It may be there already: other tables use it too.
        """
        operations.invoke(cls(name, members, schema=schema))

    def reverse(self) -> MigrateOperation:
        return DropEnumOp(self.name, self.members, schema=self.schema)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("create_enum", self.name, self.members)


@Operations.register_operation("drop_enum")
class DropEnumOp(MigrateOperation):
    """Drop the type of an enum, where it is an object of its own, unless a table uses it."""

    def __init__(
        self, name: str, members: Sequence[str] = (), *, schema: str | None = None
    ) -> None:
        self.name = name
        self.members = list(members)
        self.schema = schema

    @classmethod
    def drop_enum(cls, operations: Operations, name: str, *, schema: str | None = None) -> None:
        """Drop the type of an enum, unless a table still uses it."""
        operations.invoke(cls(name, schema=schema))

    def reverse(self) -> MigrateOperation:
        return CreateEnumOp(self.name, self.members, schema=self.schema)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("drop_enum", self.name)


@Operations.register_operation("alter_enum")
class AlterEnumOp(MigrateOperation):
    """Change the members of an enum column."""

    def __init__(  # noqa: PLR0913 - what MySQL's MODIFY has to say again
        self,
        table_name: str,
        column_name: str,
        *,
        name: str | None,
        existing: Sequence[str],
        members: Sequence[str],
        nullable: bool = True,
        server_default: Any = None,
        comment: str | None = None,
        native_enum: bool = True,
        create_constraint: bool = False,
        used: bool = False,
        schema: str | None = None,
    ) -> None:
        self.table_name = table_name
        self.column_name = column_name
        self.name = name
        self.existing = list(existing)
        self.members = list(members)
        self.nullable = nullable
        self.server_default = server_default
        self.comment = comment
        self.native_enum = native_enum
        self.create_constraint = create_constraint
        self.used = used
        self.schema = schema

    @classmethod
    def alter_enum(
        cls, operations: Operations, table_name: str, column_name: str, **options: Any
    ) -> None:
        """Change the members of an enum column from *existing* to *members*.

        *name* is the name of the enum. *nullable*, *server_default* and *comment* say what the
        column is beside its type; *native_enum* and *create_constraint* are those of
        ``sa.Enum``. *used* says that the same revision stores a new member. Rows that hold a
        member that goes have to be changed before.
        """
        operations.invoke(cls(table_name, column_name, **options))

    def reverse(self) -> MigrateOperation:
        return AlterEnumOp(
            self.table_name,
            self.column_name,
            name=self.name,
            existing=self.members,
            members=self.existing,
            nullable=self.nullable,
            server_default=self.server_default,
            comment=self.comment,
            native_enum=self.native_enum,
            create_constraint=self.create_constraint,
            used=self.used,
            schema=self.schema,
        )

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("alter_enum", self.table_name, self.column_name, self.existing, self.members)

    def enum(self, members: Sequence[str]) -> sa.Enum:
        """Return the column's type with these members."""
        return sa.Enum(
            *members,
            name=self.name,
            native_enum=self.native_enum,
            create_constraint=self.create_constraint,
        )


@Operations.register_operation("fill_rows")
class FillRowsOp(MigrateOperation):
    """Give each row that has none a value: one for all, or one of its own."""

    def __init__(
        self,
        table_name: str,
        column: sa.ColumnClause[Any],
        value: Any,
        *,
        key: Sequence[sa.ColumnClause[Any]] = (),
        schema: str | None = None,
    ) -> None:
        self.table_name = table_name
        self.column = column
        self.value = value
        self.key = list(key)
        self.schema = schema

    @classmethod
    def fill_rows(
        cls,
        operations: Operations,
        table_name: str,
        column: sa.ColumnClause[Any],
        value: Any,
        *,
        key: Sequence[sa.ColumnClause[Any]] = (),
        schema: str | None = None,
    ) -> None:
        """Store *value* where *column* is NULL; a function is called for each row.

        *key* are the columns of the primary key, for a function. Raises
        :class:`rxdb.errors.MigrationError` for a function where there are no rows to look at:
        ``--sql``.
        """
        operations.invoke(cls(table_name, column, value, key=key, schema=schema))

    def reverse(self) -> MigrateOperation:
        return Nothing()

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("fill_rows", self.table_name, self.column.name)


def own_dialect(operations: Operations) -> Dialect:
    """Return what rxdb knows about the backend that a script runs on."""
    return registry.get(operations.migration_context.dialect.name)


@Operations.implementation_for(CreateEnumOp)
def _create_enum(operations: Operations, operation: CreateEnumOp) -> None:
    if (create := own_dialect(operations).create_enum) is not None:
        create(operations, operation)


@Operations.implementation_for(DropEnumOp)
def _drop_enum(operations: Operations, operation: DropEnumOp) -> None:
    if (drop := own_dialect(operations).drop_enum) is not None:
        drop(operations, operation)


@Operations.implementation_for(AlterEnumOp)
def _alter_enum(operations: Operations, operation: AlterEnumOp) -> None:
    dialect = own_dialect(operations)
    if operation.native_enum and dialect.alter_enum is not None:
        dialect.alter_enum(operations, operation)
        return
    is_checked = _is_checked(operations, operation)
    old, new = operation.enum(operation.existing), operation.enum(operation.members)
    if not is_checked and _written(operations, old) == _written(operations, new):
        return  # a text of the same length: the backend sees no difference
    with operations.batch_alter_table(operation.table_name, schema=operation.schema) as batch:
        if is_checked:
            batch.drop_constraint(*_check(operations, operation, old)[:1], type_="check")
        batch.alter_column(
            operation.column_name,
            existing_type=_unchecked(old),
            type_=_unchecked(new),
            existing_nullable=operation.nullable,
            existing_server_default=operation.server_default or False,
            existing_comment=operation.comment,
        )
        if is_checked:
            batch.create_check_constraint(*_check(operations, operation, new))


def _written(operations: Operations, enum: sa.Enum) -> str:
    """Return a column with this enum as the backend's CREATE TABLE has it."""
    table = sa.Table("t", sa.MetaData(), sa.Column("c", enum))
    dialect = operations.migration_context.dialect
    return str(CreateColumn(table.c.c).compile(dialect=dialect))


def _is_checked(operations: Operations, operation: AlterEnumOp) -> bool:
    """Whether a CHECK stands for what the server does not know."""
    dialect = operations.migration_context.dialect
    is_native = operation.native_enum and dialect.supports_native_enum
    return operation.create_constraint and not is_native


def _check(operations: Operations, operation: AlterEnumOp, enum: sa.Enum) -> tuple[Any, Any]:
    """Return the final name of an enum's CHECK, and its condition."""
    convention = getattr(
        operations.migration_context.opts.get("target_metadata"), "naming_convention", None
    )
    column: sa.Column[Any] = sa.Column(operation.column_name, enum)
    table = sa.Table(operation.table_name, sa.MetaData(naming_convention=convention), column)
    (check,) = (c for c in table.constraints if isinstance(c, sa.CheckConstraint))
    quote = operations.migration_context.dialect.identifier_preparer.quote
    condition = f"{quote(operation.column_name)} IN ({', '.join(map(_quoted, enum.enums))})"
    return operations.f(str(check.name)), sa.text(condition.replace(":", r"\:"))


def _quoted(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _unchecked(enum: sa.Enum) -> sa.Enum:
    """Return the type alone: its CHECK is dropped and added by name."""
    return sa.Enum(*enum.enums, name=enum.name, native_enum=enum.native_enum)


@Operations.implementation_for(FillRowsOp)
def _fill_rows(operations: Operations, operation: FillRowsOp) -> None:
    columns = [operation.column, *operation.key]
    table = sa.table(operation.table_name, *columns, schema=operation.schema)
    column = table.c[operation.column.name]
    name = str(column.name)
    is_empty = column.is_(sa.null())
    as_sql = operations.migration_context.as_sql
    if not callable(operation.value):
        value = _literal(operations, operation) if as_sql else operation.value
        operations.execute(table.update().where(is_empty).values({name: value}))
        return
    if as_sql:
        raise MigrationError(
            f"Values for {operation.table_name}.{name} are made row by row, which needs the "
            f"database. Run the revision without --sql."
        )
    keys = [table.c[key.name] for key in operation.key]
    for row in operations.get_bind().execute(sa.select(*keys).where(is_empty)).all():
        found = [key == value for key, value in zip(keys, row, strict=True)]
        # through the migration context: what watches a revision sees each statement
        operations.execute(table.update().where(*found).values({name: operation.value()}))


def _literal(operations: Operations, operation: FillRowsOp) -> Any:
    """Write JSON as a text without a type: SQLAlchemy has no literal for it."""
    if not isinstance(operation.column.type, sa.JSON):
        return operation.value
    dialect: Any = operations.migration_context.dialect
    compiler = dialect.statement_compiler(dialect, None)
    text = compiler.render_literal_value(json.dumps(operation.value), sa.String())
    # the compiler doubles each percent sign of a literal column as well
    plain = text.replace("%%", "%") if dialect.identifier_preparer._double_percents else text  # noqa: SLF001 - SQLAlchemy tells it nowhere else
    return sa.literal_column(plain)


__all__ = [
    "AlterEnumOp",
    "CreateEnumOp",
    "DropEnumOp",
    "FillRowsOp",
    "Group",
    "Nothing",
]
