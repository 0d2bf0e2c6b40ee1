"""What pending revisions will do, without doing it, and which rows and values that would lose.

A script's ``upgrade()`` or ``downgrade()`` is run with a stand-in behind ``alembic.op`` that
collects its operations. One that asks the database what to do is run as well, gets no rows for an
answer, and has its source read too, so that nothing behind an ``if`` is overlooked.
"""

from __future__ import annotations

import ast
import re
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op as proxied
from alembic.migration import MigrationContext
from alembic.operations import BatchOperations, Operations, ops
from sqlalchemy import exc, types

from rxdb import registry
from rxdb.dialect import Feature
from rxdb.migrations import narrowing, sentences, tables
from rxdb.migrations.sentences import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from alembic.operations import MigrateOperation
    from alembic.runtime.migration import RevisionStep
    from alembic.script import Script
    from sqlalchemy import Connection, Dialect
    from sqlalchemy.engine.interfaces import ReflectedColumn

COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
LITERAL = re.compile(r"'(?:[^'\\]|''|\\.)*'", re.DOTALL)
ROUTINE = re.compile(
    r"\s*CREATE\s+(OR\s+REPLACE\s+)?(DEFINER\s*=\s*\S+\s+)?(TEMP\w*\s+)?"
    r"(FUNCTION|PROCEDURE|TRIGGER|EVENT|RULE)\b",
    re.IGNORECASE,
)
"""What only describes statements that run later."""

NAME = r"""(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?((?:["`\[]?[\w$]+["`\]]?\s*\.\s*)?["`\[]?[\w$]+["`\]]?)"""
KEPT = r"(?!CONSTRAINT|INDEX|KEY|PRIMARY|FOREIGN|CHECK|DEFAULT|NOT|IDENTITY|EXPRESSION)\b"
RISKS = {
    "drop table": rf"\bDROP\s+TABLE\s+{NAME}",
    "drop column": rf"\bALTER\s+TABLE\s+{NAME}\b[^;]*?\bDROP\s+(?:COLUMN\s+)?{KEPT}[\"`\[\w]",
    "narrow type": rf"\bALTER\s+TABLE\s+{NAME}\b[^;]*?\b(?:MODIFY|CHANGE|TYPE)\b",
    "truncate": rf"\bTRUNCATE\s+(?:TABLE\s+)?{NAME}",
    "delete": rf"\bDELETE\s+FROM\s+{NAME}",
    "drop schema": r"\bDROP\s+(?:DATABASE|SCHEMA)\s+(\S+)",
}
"""SQL of a script that may lose rows or values, and the table that it names."""


_OWN = {tables.VERSION, *tables.OWN}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that a revision would lose."""

    revision: str
    what: str
    """A sentence."""

    rows: int | None
    """How many rows have something to lose; None where that is not known."""

    kind: str
    """``drop table``, ``drop column``, ``narrow type``, ``not null``, ``drop enum member`` or
    ``unknown``."""


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """What a revision will do."""

    revision: str
    operations: tuple[MigrateOperation, ...]
    """In order; after them, those that were only read in the source."""

    unknown: tuple[str, ...] = ()
    """Lines of the source that may lose something, and do not tell what."""

    reason: str = ""
    """Why this may not be all; empty where it is."""

    @property
    def sentences(self) -> list[str]:
        """What it will do, in words."""
        return [sentences.describe(operation) for operation in self.operations]


def look(script: Script, dialect: Dialect, direction: str = "upgrade") -> Ahead:
    """Return what *script* will do on a database of *dialect*. Nothing is connected to.

    *direction* is ``"upgrade"`` or ``"downgrade"``.
    """
    recorder = _Recorder(_silent(dialect))
    function = getattr(script.module, direction, None)
    error = recorder.record(function) if function else None
    reason = ""
    if error is not None:
        reason = f"{direction}() does not run without its database: {error}"
    elif recorder.asked:
        reason = f"{direction}() asks the database what to do."
    recorded = tuple(recorder.operations)
    if not reason:
        return Ahead(revision=script.revision, operations=recorded)
    source = _Source(script.path, direction)
    known = {_key(operation) for operation in recorded}
    more = tuple(found for found in source.operations if _key(found) not in known)
    return Ahead(
        revision=script.revision,
        operations=(*recorded, *more),
        unknown=tuple(source.unknown),
        reason=reason,
    )


def losses(connection: Connection, steps: Iterable[RevisionStep]) -> list[Finding]:
    """Return what *steps* would lose, with the rows concerned counted in the database as it is.

    *steps* are Alembic's, in their order. A finding of 0 rows needs no permission.
    """
    has_schemas = Feature.SCHEMAS in registry.get(connection.dialect.name).features
    if not has_schemas and not set(sa.inspect(connection).get_table_names()) - _OWN:
        return []
    counter = _Counter(connection)
    return [finding for step in steps for finding in counter.step(step)]


def statements(script: Script, dialect: Dialect, direction: str = "upgrade") -> list[str] | None:
    """Return the SQL of a revision, or None where only a live database can tell it."""
    written = _Written()
    context = _offline(dialect, written)
    error = _run(context, getattr(script.module, direction), lambda _: None)
    return None if error is not None else written.statements


class _Written:
    """What Alembic writes its offline SQL to."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def write(self, text: str) -> None:
        """Take one statement."""
        self.statements.extend(filter(None, [text.strip()]))

    def flush(self) -> None:
        """Keep what was written."""


@lru_cache(maxsize=8)
def _silent(dialect: Dialect) -> MigrationContext:
    """Return one context for all revisions of a run: nothing is written to it."""
    return _offline(dialect)


def _offline(dialect: Dialect, output: Any = None) -> MigrationContext:
    """Return a context that writes SQL and has no connection."""
    options = {"as_sql": True, "output_buffer": output or _Written(), "literal_binds": True}
    return MigrationContext.configure(dialect=dialect, opts=options)


def _run(
    context: MigrationContext, function: Callable[[], None], prepare: Callable[[Any], None]
) -> BaseException | None:
    """Run a script's function with *context* behind ``alembic.op``, and return its error.

    A context that stands there already, since Alembic is running, is put back.
    """
    try:
        outer = proxied.get_context()
    except (AttributeError, NameError):  # nothing stands there any more, or nothing ever did
        outer = None
    failure: BaseException | None = None
    with Operations.context(context) as operations:
        prepare(operations)
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - the context ends only without an error
            failure = error
    if outer is not None:
        Operations.context(outer).__enter__()  # it is left by whoever had entered it
    if failure is not None and not isinstance(failure, Exception):
        raise failure
    return failure


class _Recorder:
    """Stands behind ``alembic.op`` and collects the operations."""

    def __init__(self, context: MigrationContext) -> None:
        self.context = context
        self.operations: list[MigrateOperation] = []
        self.asked = False

    def record(self, function: Callable[[], None]) -> BaseException | None:
        """Run *function*, and return the error that it ends with."""
        return _run(self.context, function, self._prepare)

    def _prepare(self, operations: Any) -> None:
        """Have one object of Alembic's hand over its operations instead of executing them."""
        operations.invoke = self._invoke
        operations.get_bind = self._bind
        operations.batch_alter_table = self._batch

    def _invoke(self, operation: MigrateOperation) -> Any:
        self.operations.append(operation)
        if isinstance(operation, ops.CreateTableOp):
            return operation.to_table(self.context)
        return None

    def _bind(self) -> _Bind:
        return _Bind(self)

    @contextmanager
    def _batch(
        self, table_name: str, schema: str | None = None, **_: Any
    ) -> Iterator[BatchOperations]:
        place: Any = SimpleNamespace(
            table_name=table_name, schema=schema, dialect=self.context.dialect
        )
        batch: Any = BatchOperations(self.context, impl=place)
        self._prepare(batch)
        yield batch


class _Bind:
    """A connection that executes nothing, and returns no rows."""

    def __init__(self, recorder: _Recorder) -> None:
        self._recorder = recorder
        self.dialect = recorder.context.dialect

    def execute(self, statement: Any, *_: object, **__: object) -> _NoRows:
        """Record *statement*."""
        self._recorder.asked = True
        self._recorder.operations.append(ops.ExecuteSQLOp(statement))
        return _NoRows()

    exec_driver_sql = execute

    def scalar(self, statement: Any, *_: object, **__: object) -> None:
        """Record *statement*."""
        self.execute(statement)

    def begin_nested(self) -> AbstractContextManager[None]:
        """Begin nothing."""
        return nullcontext()

    begin = begin_nested

    def commit(self) -> None:
        """Commit nothing."""


class _NoRows:
    """The empty answer."""

    rowcount = 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def fetchall(self) -> list[Any]:
        """Return no rows."""
        return []

    all = fetchall

    def fetchone(self) -> None:
        """Return no row."""

    first = scalar = one_or_none = scalar_one_or_none = fetchone

    def scalars(self) -> _NoRows:
        """Return no values."""
        return self

    mappings = scalars


def _key(operation: Any) -> tuple[object, ...]:
    """Return what makes two operations one, whether recorded or read."""
    names = ("schema", "table_name", "column_name", "constraint_name", "index_name", "sqltext")
    values = (getattr(operation, name, None) for name in names)
    return (type(operation), *(str(value) for value in values if value is not None))


class _Source:
    """What can be read in a script's source about operations that may lose something."""

    def __init__(self, path: str, direction: str) -> None:
        self.text = Path(path).read_text(encoding="utf-8")
        self.operations: list[MigrateOperation] = []
        self.unknown: list[str] = []
        self.batches: dict[str, str | None] = {}
        other = {"upgrade": "downgrade", "downgrade": "upgrade"}[direction]
        for node in ast.parse(self.text).body:
            if not (isinstance(node, ast.FunctionDef) and node.name == other):
                for part in ast.walk(node):
                    self._read(part)

    def _read(self, node: ast.AST) -> None:
        if isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
            if isinstance(node.context_expr, ast.Call):
                self.batches[node.optional_vars.id] = self._argument(
                    node.context_expr, 0, "table_name"
                )
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            read = {
                "drop_table": self._drop_table,
                "drop_column": self._drop_column,
                "alter_column": self._alter_column,
                "execute": self._execute,
                "exec_driver_sql": self._execute,
                "delete": self._delete,
            }.get(node.func.attr)
            if read is not None and not read(node):
                self.unknown.append(" ".join(ast.unparse(node).split()))

    def _drop_table(self, call: ast.Call) -> bool:
        name = self._argument(call, 0, "table_name")
        if name:
            self.operations.append(ops.DropTableOp(name, schema=self._argument(call, -1, "schema")))
        return bool(name)

    def _drop_column(self, call: ast.Call) -> bool:
        table, column = self._place(call)
        if table and column:
            schema = self._argument(call, -1, "schema")
            self.operations.append(ops.DropColumnOp(table, column, schema=schema))
        return bool(table and column)

    def _alter_column(self, call: ast.Call) -> bool:
        words = {word.arg: word.value for word in call.keywords}
        nullable = words.get("nullable")
        is_required = isinstance(nullable, ast.Constant) and nullable.value is False
        if "type_" not in words and not is_required:
            return True
        table, column = self._place(call)
        if table and column:
            operation = ops.AlterColumnOp(
                table,
                column,
                schema=self._argument(call, -1, "schema"),
                modify_nullable=False if is_required else None,
                modify_type=types.NullType() if "type_" in words else None,
            )
            self.operations.append(operation)
        return bool(table and column)

    def _execute(self, call: ast.Call) -> bool:
        inner = call.args[0] if call.args else None
        text = self._string(inner)
        if isinstance(inner, ast.Call) and inner.args:  # sa.text("…")
            text = self._string(inner.args[0])
        if text is not None:
            self.operations.append(ops.ExecuteSQLOp(text))
            return True
        written = ast.unparse(call)
        return not any(re.search(risk, written, re.IGNORECASE) for risk in RISKS.values())

    def _delete(self, _: ast.Call) -> bool:
        return False

    def _place(self, call: ast.Call) -> tuple[str | None, str | None]:
        """Return the table and the column that a call names."""
        owner = call.func.value if isinstance(call.func, ast.Attribute) else None
        if isinstance(owner, ast.Name) and owner.id in self.batches:
            return self.batches[owner.id], self._argument(call, 0, "column_name")
        return self._argument(call, 0, "table_name"), self._argument(call, 1, "column_name")

    def _argument(self, call: ast.Call, place: int, name: str) -> str | None:
        given = {word.arg: word.value for word in call.keywords}
        if name in given:
            return self._string(given[name])
        return self._string(call.args[place]) if 0 <= place < len(call.args) else None

    def _string(self, node: ast.AST | None) -> str | None:
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        return str(node.value) if is_text and isinstance(node, ast.Constant) else None


__all__ = ["Ahead", "Finding", "describe", "look", "losses", "statements"]

Place = tuple[str | None, str]
"""Schema and name of a table."""


@dataclass
class _Counter:
    """Counts what operations would lose, and follows what earlier ones have renamed."""

    connection: Connection
    tables: dict[Place, Place | None] = field(default_factory=dict)
    """What a table is called in the database now; None for one that is not there yet."""

    columns: dict[tuple[Place, str], str | None] = field(default_factory=dict)
    filled: list[str] = field(default_factory=list)
    """The UPDATE statements so far."""

    revision: str = ""

    def step(self, step: RevisionStep) -> Iterator[Finding]:
        """Yield what one revision would lose."""
        direction = "upgrade" if step.is_upgrade else "downgrade"
        ahead = look(step.revision, self.connection.dialect, direction)
        self.revision = ahead.revision
        for operation in ahead.operations:
            for finding in self._one(operation):
                note = f" ({ahead.reason})" if ahead.reason and finding.rows != 0 else ""
                yield Finding(**{**vars(finding), "what": finding.what + note})
        for line in ahead.unknown:
            yield self._found("unknown", f"It is not known what this loses: {line}", None)

    def _one(self, operation: MigrateOperation) -> Iterator[Finding]:
        for kind, look_at in LOOKS.items():
            if isinstance(operation, kind):
                return look_at(self, operation)
        return self._own(operation)

    def container(self, operation: ops.OpContainer) -> Iterator[Finding]:
        """Look at operations that stand together."""
        for part in operation.ops:
            yield from self._one(part)

    def execute(self, operation: ops.ExecuteSQLOp) -> Iterator[Finding]:
        """Look at a script's own SQL."""
        yield from self._sql(sentences.sql_of(operation.sqltext, self.connection.dialect))

    def create_table(self, operation: ops.CreateTableOp) -> Iterator[Finding]:
        """Note that a table is new."""
        if not operation.if_not_exists:
            self.tables[operation.schema, operation.table_name] = None
        yield from ()

    def rename_table(self, operation: ops.RenameTableOp) -> Iterator[Finding]:
        """Note what a table is called from now on."""
        old = (operation.schema, operation.table_name)
        self.tables[operation.schema, operation.new_table_name] = self._real(old)
        self.tables[old] = None
        yield from ()

    def drop_table(self, operation: ops.DropTableOp) -> Iterator[Finding]:
        """Count the rows of a table that goes."""
        place = (operation.schema, operation.table_name)
        count = self._count(place)
        rows = "" if count is None else f" with its {sentences.rows(count)}"
        sentence = f"Table {sentences.table_of(operation)} is dropped{rows}."
        yield self._found("drop table", sentence, count)
        self.tables[place] = None

    def add_column(self, operation: ops.AddColumnOp) -> Iterator[Finding]:
        """Note that a column is new."""
        if not operation.if_not_exists:
            place = (operation.schema, operation.table_name)
            self.columns[place, operation.column.name] = None
        yield from ()

    def _own(self, operation: Any) -> Iterator[Finding]:
        """Look at an operation that Alembic does not know."""
        kind = sentences.own_kind(operation)
        if kind == "fill_rows":
            made = f"{operation.table_name} SET {operation.column.name} ="
            self.filled.append(f"UPDATE {made}")
        elif kind == "alter_enum":
            kept = set(operation.members)
            if members := [member for member in operation.existing if member not in kept]:
                yield self._drop_members(operation, members)

    def drop_column(self, operation: ops.DropColumnOp) -> Iterator[Finding]:
        """Count the values of a column that goes."""
        place, name = (operation.schema, operation.table_name), operation.column_name
        count = self._count(place, name, lambda column: column.is_not(None))
        sentence = f"Column {sentences.table_of(operation)}.{name} is dropped"
        yield self._found("drop column", f"{sentence}; {_hold(count, 'a value in it')}.", count)
        self.columns[place, name] = None

    def alter_column(self, operation: ops.AlterColumnOp) -> Iterator[Finding]:
        """Count the values that a column takes no more, and follow its name."""
        place, name = (operation.schema, operation.table_name), operation.column_name
        where = f"Column {sentences.table_of(operation)}.{name}"
        if operation.modify_type is not None:
            yield from self._narrow(operation, place, where)
        if operation.modify_nullable is False and operation.existing_nullable is not False:
            is_filled = self._is_filled(operation)
            count = 0 if is_filled else self._count(place, name, lambda column: column.is_(None))
            yield self._found("not null", f"{where} refuses NULL; {_hold(count, 'NULL')}.", count)
        if operation.modify_name:
            self.columns[place, operation.modify_name] = self._real_column(place, name)
            self.columns[place, name] = None

    def _narrow(self, operation: ops.AlterColumnOp, place: Place, where: str) -> Iterator[Finding]:
        old = self._type(place, operation.column_name)
        if old is None:
            return
        dialect = self.connection.dialect
        new = narrowing.plain(operation.modify_type, dialect)
        unfit = narrowing.unfit(narrowing.plain(old, dialect), new)
        if unfit is None:
            return
        count = self._count(place, operation.column_name, unfit)
        kind = "drop enum member" if isinstance(new, types.Enum) else "narrow type"
        held = _hold(count, "a value that may not fit")
        yield self._found(
            kind, f"{where} becomes {sentences.type_name(operation.modify_type)}; {held}.", count
        )

    def _drop_members(self, operation: Any, members: Sequence[str]) -> Finding:
        place, name = (
            (getattr(operation, "schema", None), operation.table_name),
            operation.column_name,
        )
        count = self._count(
            place, name, lambda column: sa.cast(column, sa.String(255)).in_(list(members))
        )
        shown = ", ".join(map(repr, members))
        sentence = f"Column {sentences.table_of(operation)}.{name} allows {shown} no more"
        held = _hold(count, "one of these" if len(members) > 1 else "it")
        return self._found("drop enum member", f"{sentence}; {held}.", count)

    def _sql(self, text: str) -> Iterator[Finding]:
        """Yield what a script's own SQL may lose."""
        if ROUTINE.match(text):
            return
        code = LITERAL.sub("''", COMMENT.sub(" ", text))
        for statement in filter(str.strip, code.split(";")):
            if re.match(r"\s*(WITH\b.*)?UPDATE\b", statement, re.IGNORECASE | re.DOTALL):
                self.filled.append(statement)
            for kind, risk in RISKS.items():
                if found := re.search(risk, statement, re.IGNORECASE):
                    yield self._risk(kind, found[1], statement)
                    break

    def _risk(self, kind: str, name: str, statement: str) -> Finding:
        parts = [re.sub(r'["`\[\]\s]', "", part) for part in name.split(".")]
        place = (parts[0] if len(parts) > 1 else None, parts[-1])
        count = None if kind == "drop schema" else self._count(place)
        is_all = kind in {"drop table", "truncate"}
        rows = count if is_all or count == 0 else None  # which rows of them, only the server knows
        shown = " ".join(statement.split())
        shown = shown if len(shown) <= sentences.SHOWN else f"{shown[: sentences.SHOWN - 1]}…"
        of = "" if count is None else f" The table has {sentences.rows(count)}."
        if kind == "drop table":
            self.tables[place] = None
        known = kind if kind in {"drop table", "drop column", "narrow type"} else "unknown"
        return self._found(known, f"SQL is run: {shown}.{of}", rows)

    def _is_filled(self, operation: ops.AlterColumnOp) -> bool:
        """Whether a statement before has put a value where the column was NULL."""
        table, column = re.escape(operation.table_name), re.escape(operation.column_name)
        quotes = r"[\"`\[\]]?"
        update = re.compile(
            rf"\bUPDATE\s+(?:ONLY\s+)?(?:{quotes}[\w$]+{quotes}\s*\.\s*)?{quotes}{table}{quotes}\s.*?"
            rf"\bSET\b.*?{quotes}\b{column}\b{quotes}\s*=(?P<rest>.*)",
            re.IGNORECASE | re.DOTALL,
        )
        for statement in self.filled:
            if found := update.search(statement):
                _, where, condition = re.split(
                    r"(\bWHERE\b|$)", found["rest"], maxsplit=1, flags=re.IGNORECASE
                )
                is_null = rf"{quotes}\b{column}\b{quotes}\s+IS\s+NULL"
                if not where or re.fullmatch(
                    rf"[\s(]*(?:\S*\.)?{is_null}[\s)]*", condition, re.IGNORECASE
                ):
                    return True
        return False

    def _found(self, kind: str, what: str, rows: int | None) -> Finding:
        return Finding(revision=self.revision, what=what, rows=rows, kind=kind)

    def _real(self, place: Place) -> Place | None:
        return self.tables.get(place, place)

    def _real_column(self, place: Place, name: str) -> str | None:
        return self.columns.get((place, name), name)

    def _described(self, place: Place, name: str) -> ReflectedColumn | None:
        """Return what the database tells of a column, or None where there is none yet."""
        table, column = self._real(place), self._real_column(place, name)
        if table is None or column is None:
            return None
        schema, real = table
        inspector = sa.inspect(self.connection)
        if not inspector.has_table(real, schema=schema):
            return None
        return next(
            (c for c in inspector.get_columns(real, schema=schema) if c["name"] == column), None
        )

    def _type(self, place: Place, name: str) -> Any:
        with suppress(exc.SQLAlchemyError):
            found = self._described(place, name)
            return found["type"] if found else None
        return None

    def _count(
        self,
        place: Place,
        name: str | None = None,
        condition: narrowing.Condition | None = None,
    ) -> int | None:
        """Return how many rows meet *condition*: 0 where nothing is there, None for an error."""
        try:
            with self._apart():
                query = self._query(place, name, condition)
                return 0 if query is None else int(self.connection.execute(query).scalar_one())
        except exc.SQLAlchemyError:
            return None

    def _query(
        self, place: Place, name: str | None, condition: narrowing.Condition | None
    ) -> sa.Select[int] | None:
        """Return the query that counts; None where there is nothing to count."""
        table = self._real(place)
        if table is None:
            return None
        schema, real = table
        query = sa.select(sa.func.count())
        if name is None or condition is None:
            is_there = sa.inspect(self.connection).has_table(real, schema=schema)
            return query.select_from(sa.table(real, schema=schema)) if is_there else None
        found = self._described(place, name)
        if found is None:
            return None
        column: sa.ColumnClause[Any] = sa.column(found["name"], found["type"])
        counted = query.select_from(sa.table(real, column, schema=schema))
        return counted.where(condition(column))

    def _apart(self) -> AbstractContextManager[Any]:
        """Keep a failing query from ending the transaction."""
        dialect = registry.get(self.connection.dialect.name)
        return (
            self.connection.begin_nested()
            if Feature.SAVEPOINTS in dialect.features
            else nullcontext()
        )


LOOKS: Mapping[type, Callable[[_Counter, Any], Iterator[Finding]]] = {
    ops.OpContainer: _Counter.container,
    ops.ExecuteSQLOp: _Counter.execute,
    ops.CreateTableOp: _Counter.create_table,
    ops.RenameTableOp: _Counter.rename_table,
    ops.DropTableOp: _Counter.drop_table,
    ops.AddColumnOp: _Counter.add_column,
    ops.DropColumnOp: _Counter.drop_column,
    ops.AlterColumnOp: _Counter.alter_column,
}


def _hold(count: int | None, what: str) -> str:
    if count is None:
        return f"it is not known how many rows have {what}"
    return f"{sentences.rows(count)} {'has' if count == 1 else 'have'} {what}"
