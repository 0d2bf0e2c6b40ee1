"""Write operations as Python that runs on every backend."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import re
import sys
import uuid
from contextlib import suppress
from functools import reduce
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.autogenerate import render_op_text, renderers
from alembic.operations import ops
from sqlalchemy.sql import elements
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from rxdb import registry
from rxdb.migrations.autogenerate.operations import (
    AlterEnumOp,
    CreateEnumOp,
    DropEnumOp,
    Group,
    Nothing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from alembic.autogenerate.api import AutogenContext
    from sqlalchemy.types import TypeEngine


def render_item(kind: str, item: Any, context: AutogenContext) -> str | bool:
    """Render what has to be neutral; False leaves the rest to Alembic."""
    if kind == "type":
        return type_(item, context.imports) or False
    if kind == "server_default":
        return default(item)
    if kind == "check":
        return _check(item)
    return False


def type_(found: TypeEngine[Any], imports: set[str]) -> str:
    """Return the source of a type; empty for one that belongs to a dialect."""
    variants: Mapping[str, TypeEngine[Any]] = getattr(found, "_variant_mapping", {})
    if variants:
        return ""
    module = type(found).__module__
    if isinstance(found, sa.Enum) and module.startswith("sqlalchemy.sql"):
        return _enum(found)
    if module.startswith("sqlalchemy.dialects"):
        return ""
    if module.startswith("sqlalchemy."):
        if isinstance(found, sa.ARRAY):
            return ""
        return f"sa.{found!r}"
    imports.add(f"import {module}")
    name = type(found).__qualname__
    arguments = re.sub(r"^[\w.]+", "", repr(found), count=1) or "()"
    if isinstance(found, TypeDecorator) and "<" in arguments:
        arguments = "()"
    return f"{module}.{name}{arguments}"


def _enum(found: sa.Enum) -> str:
    said = [repr(str(member)) for member in found.enums]
    if found.name:
        said.append(f"name={str(found.name)!r}")
    if found.schema:
        said.append(f"schema={str(found.schema)!r}")
    if not found.native_enum:
        said.append("native_enum=False")
        longest = max((len(member) for member in found.enums), default=0)
        if found.length and found.length != longest:
            said.append(f"length={found.length}")
    if found.create_constraint:
        said.append("create_constraint=True")
    return f"sa.Enum({', '.join(said)})"


def default(found: Any) -> str | bool:
    """Return the source of a server default; False where Alembic's own is right."""
    argument = found.arg if isinstance(found, sa.DefaultClause) else found
    if isinstance(argument, str):
        return repr(str(argument))
    if isinstance(argument, sa.Computed):
        stored = f", persisted={argument.persisted}" if argument.persisted is not None else ""
        return f"sa.Computed({expression_text(argument.sqltext)!r}{stored})"
    if isinstance(argument, elements.ClauseElement):
        return expression(argument)
    return False


def expression(found: Any) -> str:  # noqa: PLR0911 - one line for each kind
    """Return the source of a SQL expression."""
    if isinstance(found, elements.TextClause):
        return f"sa.text({found.text!r})"
    if isinstance(found, elements.True_):
        return "sa.true()"
    if isinstance(found, elements.False_):
        return "sa.false()"
    if isinstance(found, elements.Null):
        return "sa.null()"
    if isinstance(found, elements.ColumnClause):
        return f"sa.column({str(found.name)!r})"
    if isinstance(found, elements.BindParameter) and _is_plain(found.value):
        return f"sa.literal({found.value!r})"
    if isinstance(found, FunctionElement) and hasattr(found, "name"):
        arguments = [expression(argument) for argument in found.clauses]
        return f"sa.func.{found.name}({', '.join(arguments)})"
    text = expression_text(found)
    return f"sa.text({text.replace(':', chr(92) + ':')!r})"


def expression_text(found: Any) -> str:
    """Return an expression as standard SQL."""
    if isinstance(found, elements.TextClause):
        return found.text
    return str(found.compile(compile_kwargs={"literal_binds": True, "include_table": False}))


def _is_plain(value: object) -> bool:
    return value is None or type(value) in {str, int, float, bool}


def _check(found: sa.CheckConstraint) -> str | bool:
    if found._create_rule is not None:  # noqa: SLF001 - the type says it
        return False
    name = f", name={_name(found.name)}" if found.name else ""
    return f"sa.CheckConstraint({expression_text(found.sqltext)!r}{name})"


def _name(name: object) -> str:
    """Return a constraint's name as source; ``op.f`` says that it is final."""
    return f"op.f({str(name)!r})" if isinstance(name, elements.conv) else repr(str(name))


class Unprintable(Exception):
    """A value that has no source."""


def value(found: Any, imports: set[str]) -> str:
    """Return the source of a Python value. Raises :class:`Unprintable`."""
    if _is_plain(found) or isinstance(found, bytes):
        return repr(found)
    if isinstance(found, enum.Enum):
        return value(found.value, imports)
    if isinstance(found, str | int | float):
        return repr(next(base(found) for base in (str, int, float) if isinstance(found, base)))
    if isinstance(found, dict):
        pairs = (f"{value(k, imports)}: {value(v, imports)}" for k, v in found.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(found, list | tuple):
        inside = ", ".join(value(item, imports) for item in found)
        return f"[{inside}]" if isinstance(found, list) else f"({inside},)"
    for kind, module in KINDS:
        if isinstance(found, kind):
            imports.add(f"import {module}")
            source = repr(found)
            return source if source.startswith(module) else f"{module}.{source}"
    raise Unprintable(repr(found))


KINDS: tuple[tuple[type, str], ...] = (
    (decimal.Decimal, "decimal"),
    (uuid.UUID, "uuid"),
    (dt.datetime, "datetime"),
    (dt.date, "datetime"),
    (dt.time, "datetime"),
    (dt.timedelta, "datetime"),
)


def importable(function: Callable[..., Any]) -> tuple[str, str] | None:
    """Return the module and the dotted name of a function, if importing finds it again."""
    inner = getattr(function, "__wrapped__", function)
    owner = getattr(inner, "__self__", None)
    if isinstance(owner, type):
        module, name = owner.__module__, f"{owner.__qualname__}.{inner.__name__}"
    else:
        module = getattr(inner, "__module__", None) or ""
        name = getattr(inner, "__qualname__", "")
    if not module or not name or "<" in name or module == "__main__":
        return None
    try:
        found = reduce(getattr, name.split("."), sys.modules[module])
    except (AttributeError, KeyError):
        return None
    return (module, name) if found == inner else None


class Batch(ops.ModifyTableOps):
    """Changes that a backend without ALTER COLUMN makes by building the table again."""

    def __init__(
        self,
        table_name: str,
        operations: Iterable[ops.MigrateOperation],
        *,
        schema: str | None = None,
        convention: Mapping[str, str] | None = None,
        retyped: Iterable[tuple[sa.Column[Any], sa.Column[Any]]] = (),
    ) -> None:
        super().__init__(table_name, list(operations), schema=schema)
        self.convention = convention
        self.retyped = list(retyped)
        """Columns whose type becomes one of another kind, before and after."""

    def reverse(self) -> ops.MigrateOperation:  # type: ignore[override]  # it reverses to another class
        reversed_ = [op.reverse() for op in reversed(self.ops)]
        kept = [op for op in reversed_ if not isinstance(op, Nothing)]
        if not kept:
            return Nothing()
        back = [(new, old) for old, new in self.retyped]
        return Batch(
            self.table_name, kept, schema=self.schema, convention=self.convention, retyped=back
        )


class AddCheck(ops.CreateCheckConstraintOp):
    """A CHECK whose text is the same on every backend."""


class AddKey(ops.CreatePrimaryKeyOp):
    """A primary key, which Alembic does not write."""


class AddIndex(ops.CreateIndexOp):
    """An index whose expressions are the same on every backend."""

    around: Iterable[tuple[ops.MigrateOperation, ops.MigrateOperation]] = ()
    """What drops and adds the foreign keys that would not let the index go."""

    def reverse(self) -> Any:
        made = DropIndex.from_index(self.to_index())
        if not self.around:
            return made
        drops = [drop for drop, _ in self.around]
        adds = [add for _, add in self.around]
        table, schema = self.table_name, self.schema
        return Group([Batch(table, drops, schema=schema), made, Batch(table, adds, schema=schema)])


class DropIndex(ops.DropIndexOp):
    """The same, taken away."""

    def reverse(self) -> ops.CreateIndexOp:
        return AddIndex.from_index(self.to_index())


class DropConstraint(ops.DropConstraintOp):
    """A constraint taken away, whose reverse is :class:`AddCheck` or :class:`AddKey`."""

    def reverse(self) -> ops.AddConstraintOp:
        added: ops.AddConstraintOp = add_constraint(self.to_constraint())
        return added


class Alter(ops.AlterColumnOp):
    """A column changed."""

    needs_options = False
    """Whether the type becomes one of another kind, for which some backends need options."""

    def reverse(self) -> Any:
        back: Any = super().reverse()
        if self.modify_name:
            back.column_name, back.modify_name = self.modify_name, self.column_name
        return back


class RenameTable(ops.RenameTableOp):
    """A table under another name."""

    def reverse(self) -> ops.MigrateOperation:
        return RenameTable(self.new_table_name, self.table_name, schema=self.schema)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("rename_table", self.table_name, self.new_table_name)


class FillOp(ops.MigrateOperation):
    """Give the rows that have none one value."""

    def __init__(
        self,
        table_name: str,
        column: sa.Column[Any],
        source: str,
        *,
        imports: Iterable[str] = (),
        schema: str | None = None,
    ) -> None:
        self.table_name = table_name
        self.column = column
        self.source = source
        self.imports = frozenset(imports)
        self.schema = schema

    def reverse(self) -> ops.MigrateOperation:
        return Nothing()

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("fill", self.table_name, self.column.name, self.source)


class FillEachOp(FillOp):
    """Call a function for each row; ``source`` is its dotted name."""

    def __init__(self, *args: Any, key: Iterable[sa.Column[Any]] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.key = list(key)


class CreateSchemaOp(ops.MigrateOperation):
    """Create a schema unless it is there. It stays: it may hold what is not ours."""

    def __init__(self, name: str) -> None:
        self.name = name

    def reverse(self) -> ops.MigrateOperation:
        return Nothing()

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("create_schema", self.name)


def add_constraint(constraint: sa.Constraint) -> Any:
    """Return the operation that adds a constraint."""
    found: Any = ops.AddConstraintOp.from_constraint(constraint)
    if isinstance(constraint, sa.CheckConstraint):
        return AddCheck(
            found.constraint_name, found.table_name, found.condition, schema=found.schema
        )
    if isinstance(constraint, sa.PrimaryKeyConstraint):
        return AddKey(found.constraint_name, found.table_name, found.columns, schema=found.schema)
    return found


@renderers.dispatch_for(Nothing)
def _nothing(context: AutogenContext, op: Nothing) -> list[str]:
    return []


@renderers.dispatch_for(Group)
def _group(context: AutogenContext, op: Group) -> list[str]:
    lines: list[str] = []
    for part in op.ops:
        text = render_op_text(context, part)
        lines += text.split("\n") if isinstance(part, Batch) else [text] if text else []
    return lines


@renderers.dispatch_for(Batch)
def _batch(context: AutogenContext, op: Batch) -> list[str]:
    plain = ops.ModifyTableOps(op.table_name, op.ops, schema=op.schema)
    _, _, rest = render_op_text(context, plain).partition("\n")
    said = [repr(str(op.table_name))]
    if op.schema:
        said.append(f"schema={op.schema!r}")
    if op.convention:
        said.append(f"naming_convention={dict(op.convention)!r}")
    # SQLite has no type for times: CAST('2001-02-03' AS DATETIME) is 2001 there. A column that
    # Alembic takes for one of the new type already is copied as it is.
    kept = [_kept(old, new, context) for old, new in op.retyped if is_time(new.type)]
    if kept:
        said.append(f"reflect_args=[{', '.join(kept)}]")
    return [f"with op.batch_alter_table({', '.join(said)}) as batch_op:", *rest.split("\n")]


def is_time(type_: TypeEngine[Any]) -> bool:
    """Whether a type holds a date or a time."""
    while isinstance(type_, TypeDecorator):
        type_ = type_.impl_instance
    return isinstance(type_, sa.Date | sa.DateTime | sa.Time)


def _kept(old: sa.Column[Any], new: sa.Column[Any], context: AutogenContext) -> str:
    said = [repr(str(old.name)), _type(new.type, context), f"nullable={bool(old.nullable)}"]
    if isinstance(old.server_default, sa.DefaultClause):
        said.append(f"server_default={default(old.server_default)}")
    return f"sa.Column({', '.join(said)})"


def _where(context: AutogenContext, table: str, schema: str | None) -> tuple[str, str, str]:
    """Return the prefix, the table's argument and the schema's, which a batch leaves out."""
    if context._has_batch:  # noqa: SLF001 - what a renderer asks
        return "batch_op.", "", ""
    return "op.", f", {str(table)!r}", f", schema={schema!r}" if schema else ""


@renderers.dispatch_for(AddCheck)
def _add_check(context: AutogenContext, op: AddCheck) -> str:
    prefix, table, schema = _where(context, op.table_name, op.schema)
    text = expression_text(op.to_constraint().sqltext)
    return f"{prefix}create_check_constraint({_name(op.constraint_name)}{table}, {text!r}{schema})"


@renderers.dispatch_for(AddKey)
def _add_key(context: AutogenContext, op: AddKey) -> str:
    prefix, table, schema = _where(context, op.table_name, op.schema)
    columns = [str(column) for column in op.columns]
    return f"{prefix}create_primary_key({_name(op.constraint_name)}{table}, {columns!r}{schema})"


@renderers.dispatch_for(AddIndex)
def _add_index(context: AutogenContext, op: AddIndex) -> str:
    index = op.to_index()
    prefix, table, schema = _where(context, op.table_name, op.schema)
    parts = ", ".join(
        repr(str(e.name)) if isinstance(e, sa.Column) else expression(e) for e in index.expressions
    )
    options = _options(index.kwargs)
    unique = bool(index.unique)
    return (
        f"{prefix}create_index({_name(index.name)}{table}, [{parts}], unique={unique}"
        f"{schema}{options})"
    )


@renderers.dispatch_for(DropIndex)
def _drop_index(context: AutogenContext, op: DropIndex) -> str:
    prefix, table, schema = _where(context, op.table_name or "", op.schema)
    named = table.replace(", ", ", table_name=", 1)
    return f"{prefix}drop_index({_name(op.index_name)}{named}{schema})"


def _options(found: Mapping[str, Any]) -> str:
    said = []
    for name, option in found.items():
        if option is None:
            continue
        is_sql = isinstance(option, elements.ClauseElement)
        said.append(f", {name}={expression(option) if is_sql else repr(option)}")
    return "".join(said)


@renderers.dispatch_for(Alter)
def _alter(context: AutogenContext, op: Alter) -> str:
    kw = {name: v for name, v in op.kw.items() if name != "autoincrement"}
    plain = ops.AlterColumnOp(
        op.table_name,
        op.column_name,
        schema=op.schema,
        **{
            name: getattr(op, name)
            for name in (
                "existing_type",
                "existing_server_default",
                "existing_nullable",
                "existing_comment",
                "modify_nullable",
                "modify_comment",
                "modify_server_default",
                "modify_name",
                "modify_type",
            )
        },
        **{name: v for name, v in op.kw.items() if name == "autoincrement"},
    )
    text = render_op_text(context, plain)
    if op.modify_type is not None and op.needs_options:
        kw |= _retype_options(op.column_name, op.modify_type)
    more = "".join(f",\n{' ' * 11}{name}={v!r}" for name, v in sorted(kw.items()))
    return f"{text[:-1]}{more})"


def _retype_options(column: str, type_: TypeEngine[Any]) -> dict[str, str]:
    """Return what any backend of rxdb's own needs beside a new type; the others pass over it."""
    found: dict[str, str] = {}
    for dialect in {d.name: d for d in registry.built_in().values()}.values():
        with suppress(Exception):  # a type that this backend does not have
            found |= dialect.retype_options(column, type_)
    return found


@renderers.dispatch_for(CreateEnumOp)
def _create_enum(context: AutogenContext, op: CreateEnumOp) -> str:
    schema = f", schema={op.schema!r}" if op.schema else ""
    return f"op.create_enum({op.name!r}, {op.members!r}{schema})"


@renderers.dispatch_for(DropEnumOp)
def _drop_enum(context: AutogenContext, op: DropEnumOp) -> str:
    schema = f", schema={op.schema!r}" if op.schema else ""
    return f"op.drop_enum({op.name!r}{schema})"


@renderers.dispatch_for(AlterEnumOp)
def _alter_enum(context: AutogenContext, op: AlterEnumOp) -> str:
    said = [
        repr(op.table_name),
        repr(op.column_name),
        f"name={op.name!r}",
        f"existing={op.existing!r}",
        f"members={op.members!r}",
        f"nullable={op.nullable!r}",
    ]
    if op.server_default is not None:
        said.append(f"server_default={default(op.server_default)}")
    if op.comment:
        said.append(f"comment={op.comment!r}")
    if not op.native_enum:
        said.append("native_enum=False")
    if op.create_constraint:
        said.append("create_constraint=True")
    if op.used:
        said.append("used=True")
    if op.schema:
        said.append(f"schema={op.schema!r}")
    return f"op.alter_enum({', '.join(said)})"


@renderers.dispatch_for(FillEachOp)
def _fill_each(context: AutogenContext, op: FillEachOp) -> str:
    keys = ", ".join(_column(column, context) for column in op.key)
    return _fill_rows(context, op, f", key=[{keys}]")


def _fill_rows(context: AutogenContext, op: FillOp, more: str = "") -> str:
    context.imports.update(op.imports)
    schema = f", schema={op.schema!r}" if op.schema else ""
    column = _column(op.column, context)
    return f"op.fill_rows({op.table_name!r}, {column}, {op.source}{more}{schema})"


@renderers.dispatch_for(FillOp)
def _fill(context: AutogenContext, op: FillOp) -> list[str]:
    if isinstance(op.column.type, sa.JSON):
        return [_fill_rows(context, op)]  # --sql knows no literal of JSON
    context.imports.update(op.imports)
    schema = f", schema={op.schema!r}" if op.schema else ""
    variable = "rows"
    name = repr(str(op.column.name))
    column = f"{variable}.c[{name}]"
    values = f"{{{name}: {op.source}}}"
    return [
        f"{variable} = sa.table({op.table_name!r}, {_column(op.column, context)}{schema})",
        f"op.execute({variable}.update().where({column}.is_(sa.null())).values({values}))",
    ]


@renderers.dispatch_for(RenameTable)
def _rename_table(context: AutogenContext, op: RenameTable) -> str:
    schema = f", schema={op.schema!r}" if op.schema else ""
    return f"op.rename_table({op.table_name!r}, {op.new_table_name!r}{schema})"


@renderers.dispatch_for(CreateSchemaOp)
def _create_schema(context: AutogenContext, op: CreateSchemaOp) -> str:
    return f"op.execute(sa.schema.CreateSchema({op.name!r}, if_not_exists=True))"


def _column(column: sa.Column[Any], context: AutogenContext) -> str:
    return f"sa.column({str(column.name)!r}, {_type(column.type, context)})"


def _type(found: TypeEngine[Any], context: AutogenContext) -> str:
    rendered = context.opts["render_item"]("type", found, context)
    return rendered if isinstance(rendered, str) else f"sa.{found!r}"


__all__ = [
    "AddCheck",
    "AddIndex",
    "AddKey",
    "Alter",
    "Batch",
    "CreateSchemaOp",
    "DropConstraint",
    "DropIndex",
    "FillEachOp",
    "FillOp",
    "RenameTable",
    "Unprintable",
    "add_constraint",
    "default",
    "expression",
    "expression_text",
    "importable",
    "render_item",
    "type_",
    "value",
]
