"""What the project's revisions made of the database, read from their scripts without running them.

A database forgets what a model said: SQLite keeps a UUID as CHAR(32), MySQL a bool as TINYINT. The
scripts still say it, so that what a revision takes away can be given back as it was.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Key = tuple[str | None, str]
"""Schema and name of a table."""


@dataclass
class Past:
    """The tables as the scripts leave them. What a script does in a way that cannot be read is
    not known."""

    metadata: sa.MetaData = field(default_factory=sa.MetaData)
    names: set[Key] = field(default_factory=set)
    """Every table that is there after the last revision."""

    ever: set[Key] = field(default_factory=set)
    """Every table that some revision created."""

    def table(self, schema: str | None, name: str) -> sa.Table | None:
        """Return a table as the scripts describe it."""
        return self.metadata.tables.get(f"{schema}.{name}" if schema else name)

    def column(self, schema: str | None, table: str, name: str) -> sa.Column[Any] | None:
        """Return a column as the scripts describe it."""
        found = self.table(schema, table)
        return found.columns.get(name) if found is not None else None


def read(scripts: Iterable[str]) -> Past:
    """Return what *scripts*, the texts of the revisions in order, did."""
    past = Past()
    for script in scripts:
        try:
            tree = ast.parse(script)
        except SyntaxError:
            continue
        names = dict(_imports(tree))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == "upgrade":
                _Reader(past, names).run(node.body)
    return past


def _imports(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """Import what a script imports, but for what is not there."""
    yield "sa", sa
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = _module(alias.name)
                yield (
                    (alias.asname, module)
                    if alias.asname
                    else (alias.name.partition(".")[0], _module(alias.name.partition(".")[0]))
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            source = _module(node.module)
            for alias in node.names:
                value = getattr(source, alias.name, None) or _module(f"{node.module}.{alias.name}")
                yield alias.asname or alias.name, value


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except Exception:  # noqa: BLE001 - a module of then that is not there any more
        return None


class Unknown(Exception):
    """An expression that says nothing without running the script."""


class _Op:
    """Stands for ``op`` in expressions such as ``op.f("pk_user")``."""

    @staticmethod
    def f(name: str) -> str:
        return sa.sql.elements.conv(name)  # type: ignore[no-any-return,attr-defined,unused-ignore]


class _Reader:
    """Reads the statements of one ``upgrade()``."""

    def __init__(self, past: Past, names: dict[str, Any]) -> None:
        self.past = past
        self.names = {**names, "op": _Op, "batch_op": _Op}
        self.verbs: dict[str, Callable[..., None]] = {
            name: getattr(self, f"do_{name}")
            for name in (
                "create_table",
                "drop_table",
                "rename_table",
                "add_column",
                "drop_column",
                "alter_column",
                "alter_enum",
                "create_index",
                "drop_index",
                "create_unique_constraint",
                "create_check_constraint",
                "create_foreign_key",
                "drop_constraint",
                "create_table_comment",
                "drop_table_comment",
            )
        }

    def run(self, body: Iterable[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.With):
                for item in node.items:
                    self._batch(item, node.body)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self._call(node.value, ())
            elif isinstance(node, ast.If | ast.Try):
                self.run(node.body)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                self._call(node.value, ())  # users = op.create_table(…)

    def _batch(self, item: ast.withitem, body: Iterable[ast.stmt]) -> None:
        call = item.context_expr
        if not (isinstance(call, ast.Call) and _verb(call) == "batch_alter_table"):
            self.run(body)
            return
        try:
            args, kwargs = self._arguments(call)
        except Unknown:
            return
        table = args[0] if args else kwargs.get("table_name")
        schema = args[1] if len(args) > 1 else kwargs.get("schema")
        if isinstance(item.optional_vars, ast.Name):
            self.names[item.optional_vars.id] = _Op
        for node in body:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self._call(node.value, (table, schema))

    def _call(self, call: ast.Call, batch: tuple[Any, ...]) -> None:
        verb = self.verbs.get(_verb(call))
        if verb is None:
            return
        try:
            args, kwargs = self._arguments(call)
        except Unknown:
            args, kwargs = self._plain_arguments(call)
        if batch:
            kwargs["schema"] = batch[1]
            at = 1 if _verb(call).startswith(("create_", "drop_constraint", "drop_index")) else 0
            args = [*args[:at], batch[0], *args[at:]]
            if _verb(call).endswith("_comment"):
                args = [batch[0], *args[:at], *args[at + 1 :]]
        try:
            verb(*args, **kwargs)
        except Exception:  # noqa: BLE001 - this statement stays unknown
            return

    def _arguments(self, call: ast.Call) -> tuple[list[Any], dict[str, Any]]:
        args: list[Any] = []
        for node in call.args:
            if isinstance(node, ast.Starred):
                args.extend(self._value(node.value))
            else:
                args.append(self._value(node))
        return args, {k.arg: self._value(k.value) for k in call.keywords if k.arg}

    def _plain_arguments(self, call: ast.Call) -> tuple[list[Any], dict[str, Any]]:
        """Return what can be read, for a table of whose columns one cannot."""
        args = []
        for node in call.args:
            try:
                args.append(self._value(node))
            except Unknown:
                continue
        return args, {}

    def _value(self, node: ast.expr) -> Any:
        """Evaluate an expression that only names types, constraints and constants."""
        for part in ast.walk(node):
            if isinstance(part, ast.Lambda | ast.Await | ast.Yield | ast.NamedExpr):
                raise Unknown
            if isinstance(part, ast.Call) and not self._is_harmless(part.func):
                raise Unknown
        code = compile(ast.Expression(node), "<revision>", "eval")
        try:
            return eval(code, {"__builtins__": {}}, dict(self.names))  # noqa: S307 - own scripts
        except Exception as error:
            raise Unknown from error

    def _is_harmless(self, function: ast.expr) -> bool:
        """Whether calling it only makes a value: a class, or a name of SQLAlchemy's."""
        root = function
        while isinstance(root, ast.Attribute | ast.Call):
            root = root.value if isinstance(root, ast.Attribute) else root.func
        return isinstance(root, ast.Name) and self.names.get(root.id) is not None

    def do_create_table(self, name: str, *items: Any, schema: str | None = None, **kw: Any) -> None:
        key = (schema, name)
        self.past.names.add(key)
        self.past.ever.add(key)
        if (there := self.past.table(*key)) is not None:
            self.past.metadata.remove(there)
        known = {k: v for k, v in kw.items() if k in {"comment", "prefixes"}}
        sa.Table(name, self.past.metadata, *items, schema=schema, **known)

    def do_drop_table(self, name: str, *, schema: str | None = None, **_: Any) -> None:
        self.past.names.discard((schema, name))
        if (there := self.past.table(schema, name)) is not None:
            self.past.metadata.remove(there)

    def do_rename_table(self, old: str, new: str, schema: str | None = None) -> None:
        self.past.names.discard((schema, old))
        self.past.names.add((schema, new))
        self.past.ever.add((schema, new))
        if (there := self.past.table(schema, old)) is not None:
            there.to_metadata(self.past.metadata, name=new)
            self.past.metadata.remove(there)

    def do_add_column(
        self, table: str, column: sa.Column[Any], *, schema: str | None = None, **_: Any
    ) -> None:
        if (there := self.past.table(schema, table)) is not None:
            there.append_column(column, replace_existing=True)

    def do_drop_column(
        self, table: str, column: str, *, schema: str | None = None, **_: Any
    ) -> None:
        self._rebuild(schema, table, lambda name, c: None if name == column else c)

    def do_alter_column(
        self,
        table: str,
        name: str,
        *,
        schema: str | None = None,
        type_: Any = None,
        nullable: bool | None = None,
        server_default: Any = False,
        new_column_name: str | None = None,
        comment: Any = False,
        **_: Any,
    ) -> None:
        column = self.past.column(schema, table, name)
        if column is None:
            return
        if type_ is not None:
            column.type = sa.types.to_instance(type_)
        if nullable is not None:
            column.nullable = nullable
        if server_default is not False:
            column.server_default = (
                None if server_default is None else sa.DefaultClause(server_default)
            )
        if comment is not False:
            column.comment = comment
        if new_column_name:
            self._rebuild(
                schema, table, lambda key, c: _named(c, new_column_name) if key == name else c
            )

    def do_alter_enum(
        self, table: str, column: str, *, members: list[str], schema: str | None = None, **_: Any
    ) -> None:
        there = self.past.column(schema, table, column)
        if there is not None and isinstance(there.type, sa.Enum):
            there.type = with_members(there.type, members)

    def do_create_index(
        self,
        name: str,
        table: str,
        columns: list[Any],
        *,
        schema: str | None = None,
        unique: bool = False,
        **kw: Any,
    ) -> None:
        if (there := self.past.table(schema, table)) is not None:
            expressions = [there.c[c] if isinstance(c, str) else c for c in columns]
            sa.Index(name, *expressions, unique=unique, _table=there, **kw)

    def do_drop_index(
        self, name: str, table_name: str | None = None, *, schema: str | None = None, **_: Any
    ) -> None:
        there = self.past.table(schema, table_name) if table_name else None
        for index in list(there.indexes if there is not None else ()):
            if index.name == name:
                there.indexes.discard(index)  # type: ignore[union-attr]  # an index has a table here

    def do_create_unique_constraint(
        self, name: str, table: str, columns: list[str], *, schema: str | None = None, **_: Any
    ) -> None:
        if (there := self.past.table(schema, table)) is not None:
            there.append_constraint(sa.UniqueConstraint(*columns, name=name))

    def do_create_check_constraint(
        self, name: str, table: str, condition: Any, *, schema: str | None = None, **_: Any
    ) -> None:
        if (there := self.past.table(schema, table)) is not None:
            there.append_constraint(sa.CheckConstraint(condition, name=name))

    def do_create_foreign_key(
        self,
        name: str,
        table: str,
        referent: str,
        local: list[str],
        remote: list[str],
        *,
        schema: str | None = None,
        source_schema: str | None = None,
        referent_schema: str | None = None,
        **kw: Any,
    ) -> None:
        there = self.past.table(schema or source_schema, table)
        if there is not None:
            prefix = f"{referent_schema}.{referent}" if referent_schema else referent
            known = {k: v for k, v in kw.items() if k in {"ondelete", "onupdate"}}
            there.append_constraint(
                sa.ForeignKeyConstraint(
                    local, [f"{prefix}.{c}" for c in remote], name=name, **known
                )
            )

    def do_drop_constraint(
        self, name: str, table: str, *_: Any, schema: str | None = None, **__: Any
    ) -> None:
        there = self.past.table(schema, table)
        for constraint in list(there.constraints if there is not None else ()):
            if constraint.name == name:
                there.constraints.discard(constraint)  # type: ignore[union-attr]  # a constraint has a table here

    def do_create_table_comment(
        self, table: str, comment: str | None, *, schema: str | None = None, **_: Any
    ) -> None:
        if (there := self.past.table(schema, table)) is not None:
            there.comment = comment

    def do_drop_table_comment(self, table: str, *, schema: str | None = None, **_: Any) -> None:
        self.do_create_table_comment(table, None, schema=schema)

    def _rebuild(
        self,
        schema: str | None,
        name: str,
        change: Callable[[str, sa.Column[Any]], sa.Column[Any] | None],
    ) -> None:
        """Make a table again with other columns; what stands on a column that is gone, goes."""
        there = self.past.table(schema, name)
        if there is None:
            return
        columns = {}
        for key, column in there.columns.items():
            if (kept := change(key, plain(column))) is not None:
                columns[key] = kept
        names = {key: column.name for key, column in columns.items()}
        constraints = [c for c in there.constraints if not isinstance(c, sa.PrimaryKeyConstraint)]
        indexes = list(there.indexes)
        key_name: Any = there.primary_key.name
        key_columns = [names[c.name] for c in there.primary_key.columns if c.name in names]
        self.past.metadata.remove(there)
        new = sa.Table(
            name,
            self.past.metadata,
            *columns.values(),
            sa.PrimaryKeyConstraint(*key_columns, name=key_name),
            schema=schema,
            comment=there.comment,
        )
        for constraint in constraints:
            if (copied := _moved(constraint, names)) is not None:
                new.append_constraint(copied)
        for index in indexes:
            on = [getattr(e, "name", None) for e in index.expressions]
            if all(n in names for n in on):
                sa.Index(
                    index.name, *(new.c[names[str(n)]] for n in on), unique=index.unique, _table=new
                )


def plain(column: sa.Column[Any]) -> sa.Column[Any]:
    """Return a copy of a column that belongs to no table and has no constraint."""
    default: Any = column.server_default
    if isinstance(default, sa.DefaultClause):
        default = default.arg
    elif isinstance(default, sa.Computed):
        default = sa.Computed(default.sqltext, default.persisted)
    generated = [default] if isinstance(default, sa.Computed | sa.Identity) else []
    copy: sa.Column[Any] = sa.Column(
        column.name,
        column.type,
        *generated,
        nullable=column.nullable,
        server_default=None if generated else default,
        comment=column.comment,
        autoincrement=column.autoincrement,
    )
    return copy


def with_members(enum: sa.Enum, members: Iterable[str]) -> sa.Enum:
    """Return an enum like *enum* with other members."""
    return sa.Enum(
        *members,
        name=enum.name,
        schema=enum.schema,
        native_enum=enum.native_enum,
        create_constraint=enum.create_constraint,
    )


def _named(column: sa.Column[Any], name: str) -> sa.Column[Any]:
    column.name = column.key = name
    return column


def _moved(constraint: sa.Constraint, names: dict[str, str]) -> sa.Constraint | None:
    if isinstance(constraint, sa.UniqueConstraint):
        columns = [c.name for c in constraint.columns]
        if not all(c in names for c in columns):
            return None
        return sa.UniqueConstraint(*(names[c] for c in columns), name=constraint.name)
    if isinstance(constraint, sa.ForeignKeyConstraint):
        local = [e.parent.name for e in constraint.elements]
        if not all(c in names for c in local):
            return None
        return sa.ForeignKeyConstraint(
            [names[c] for c in local],
            [e.target_fullname for e in constraint.elements],
            name=constraint.name,
            ondelete=constraint.ondelete,
            onupdate=constraint.onupdate,
        )
    if isinstance(constraint, sa.CheckConstraint) and constraint._create_rule is None:  # noqa: SLF001 - SQLAlchemy tells it nowhere else
        return sa.CheckConstraint(constraint.sqltext, name=constraint.name)
    return None


def _verb(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""
