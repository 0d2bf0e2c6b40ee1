"""Ask the server how it would store a model, by letting it store one for a moment.

A server writes types, defaults, CHECKs and the conditions of indexes in its own words: FLOAT comes
back as DOUBLE PRECISION, ``now()`` as ``CURRENT_TIMESTAMP``. Comparing the model's words with the
server's can only guess. So a temporary table is made from the model and reflected: both sides of
the comparison are then the server's words, and differ only when the tables do.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CheckConstraint,
    Computed,
    Identity,
    MetaData,
    Table,
    Text,
    exc,
    inspect,
)
from sqlalchemy.schema import CreateIndex, CreateTable

from rxdb.dialect import Feature
from rxdb.migrations.autogenerate.shapes import (
    ColumnShape,
    Reader,
    Shape,
    Stored,
    index_structure,
    native_enum,
    plain_check,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column, Connection, Executable
    from sqlalchemy.schema import Constraint

NAME = "rxdb_trial"


class Trial:
    """Tells the shape of a model's table. What was learned from one table serves the next."""

    def __init__(self, connection: Connection, reader: Reader) -> None:
        self.connection = connection
        self.reader = reader
        self._sqlalchemy = connection.dialect
        self._compiler = self._sqlalchemy.ddl_compiler(self._sqlalchemy, None)  # type: ignore[arg-type]  # no statement is compiled
        self._columns: dict[tuple[str, str | None, bool, str], Stored] = {}
        self._checks: dict[tuple[str, tuple[str, ...]], str] = {}

    def is_equal(self, table: Table, there: Shape) -> bool:
        """Whether *table* is certainly what is there, without asking the server."""
        columns = {c.name: c for c in table.columns if not c.system}
        if columns.keys() != there.columns.keys():
            return False
        if tuple(c.name for c in table.primary_key.columns) != there.key:
            return False
        return (
            all(self._same_column(c, there.columns[name]) for name, c in columns.items())
            and self._guess_indexes(table) == there.indexes.keys()
            and self.foreign_keys(table).keys() == there.foreign_keys.keys()
            and self._same_checks(table, there)
            and (not self._sqlalchemy.supports_comments or there.comment == (table.comment or None))
        )

    def ask(self, table: Table) -> Shape:
        """Return the shape that the server gives to *table*."""
        try:
            with self._stored(table) as found:
                shape = self._named(table, found)
        except exc.DBAPIError:
            shape = self.guess(table)
        self._learn(table, shape)
        return shape

    def guess(self, table: Table) -> Shape:
        """Return the shape in the model's own words."""
        columns = {
            c.name: ColumnShape(
                self._columns.get(key := self._key(c)) or Stored(key[0], key[1], key[3]),
                bool(c.nullable),
                c.comment or None,
                {},
            )
            for c in table.columns
        }
        return Shape(
            columns=columns,
            key=tuple(c.name for c in table.primary_key.columns),
            key_name=None,
            indexes=dict.fromkeys(self._guess_indexes(table)),
            checks={text: None for text, _ in self.check_texts(table)},
            foreign_keys=dict.fromkeys(self.foreign_keys(table)),
            comment=table.comment or None,
        )

    def foreign_keys(self, table: Table) -> dict[Any, Any]:
        """Return the structure of each foreign key, and the constraint."""
        found = {}
        for constraint in table.foreign_key_constraints:
            targets = [element.target_fullname.split(".") for element in constraint.elements]
            schema = ".".join(targets[0][:-2]) or None
            names = [
                _referred_name(element, target[-1])
                for element, target in zip(constraint.elements, targets, strict=True)
            ]
            structure = self.reader.foreign_key(
                [column.name for column in constraint.columns],
                schema,
                targets[0][-2],
                names,
                vars(constraint),
            )
            found[structure] = constraint
        return found

    def type_text(self, column: Column[Any]) -> str:
        """Return a column's type in the model's words."""
        return self.reader.type_text(column.type)

    @contextmanager
    def _stored(self, table: Table) -> Iterator[Shape]:
        """Have the server make a temporary table like *table*."""
        dialect = self.reader.dialect
        copy = self._copy(table)
        statements: list[Executable] = [
            CreateTable(copy, include_foreign_key_constraints=[]),
            *(CreateIndex(index) for index in copy.indexes),
        ]
        can_undo = {Feature.TRANSACTIONAL_DDL, Feature.SAVEPOINTS} <= dialect.features
        if can_undo:
            savepoint = self.connection.begin_nested()
            try:
                for statement in statements:
                    self.connection.execute(statement)
                yield self._read()
            finally:
                savepoint.rollback()
            return
        self.connection.execute(statements[0])
        try:
            for statement in statements[1:]:
                self.connection.execute(statement)
            yield self._read()
        finally:
            self.connection.exec_driver_sql(f"{dialect.drop_temporary} {NAME}")

    def _read(self) -> Shape:
        schema = self.reader.dialect.temporary_schema or None
        return self.reader.read_one(inspect(self.connection), schema, NAME)

    def _copy(self, table: Table) -> Table:
        convention: Any = table.metadata.naming_convention
        nowhere: Any = None  # no schema: temporary tables have one of their own
        empty = MetaData(naming_convention=convention)
        copy = table.to_metadata(empty, schema=nowhere, name=NAME)
        copy._prefixes = ["TEMPORARY"]  # noqa: SLF001 - to_metadata() takes no prefixes=
        for column in copy.columns:
            if self._is_named_type(column):
                column.type = Text()
        return copy

    def _is_named_type(self, column: Column[Any]) -> bool:
        """Whether a column has an enum that is an object of its own in the database, such as may
        not be there yet."""
        if native_enum(column.type, self._sqlalchemy) is None:
            return False
        text = str(self._sqlalchemy.type_compiler_instance.process(column.type))
        return "(" not in text

    def _named(self, table: Table, found: Shape) -> Shape:
        """Give the copy's shape what is the model's alone: enums, comments and foreign keys."""
        columns = {}
        for name, shape in found.columns.items():
            column = table.c[_key_of(table, name)]
            stored = shape.stored
            if self._is_named_type(column):
                stored = stored._replace(type=self.type_text(column))
            columns[name] = ColumnShape(stored, shape.nullable, column.comment or None, shape.raw)
        return Shape(
            columns=columns,
            key=found.key,
            key_name=None,
            indexes=found.indexes,
            checks=found.checks,
            foreign_keys=dict.fromkeys(self.foreign_keys(table)),
            comment=table.comment or None,
            constraints=found.constraints,
        )

    def _learn(self, table: Table, shape: Shape) -> None:
        for column in table.columns:
            if (found := shape.columns.get(column.name)) is not None:
                self._columns[self._key(column)] = found.stored
        by_name = {name: text for text, name in shape.checks.items()}
        for text, constraint in self.check_texts(table):
            if (stored := by_name.get(final_name(constraint, self))) is not None:
                self._checks[text, self._about(table, text)] = stored

    def _key(self, column: Column[Any]) -> tuple[str, str | None, bool, str]:
        default = column.server_default
        generated = ""
        text = None
        if isinstance(default, Computed | Identity):
            generated = str(self._compiler.process(default))
        elif default is not None:
            text = self._compiler.get_column_default_string(column)
        numbered = column.table is not None and column.table.autoincrement_column is column
        return (self.type_text(column), text, numbered, generated)

    def _same_column(self, column: Column[Any], there: ColumnShape) -> bool:
        key = self._key(column)
        stored = self._columns.get(key) or Stored(key[0], key[1], key[3])
        return (
            stored == there.stored
            and bool(column.nullable) == there.nullable
            and (
                not self._sqlalchemy.supports_comments or (column.comment or None) == there.comment
            )
        )

    def _guess_indexes(self, table: Table) -> set[Any]:
        found = set()
        for index in table.indexes:
            own = f"{self._sqlalchemy.name}_"
            options = [(k, str(v)) for k, v in index.kwargs.items() if k.startswith(own) and v]
            names = [getattr(expression, "name", None) for expression in index.expressions]
            found.add(index_structure(names, unique=bool(index.unique), options=options))
        for constraint in table.constraints:
            if constraint.__visit_name__ == "unique_constraint":
                names = [column.name for column in constraint.columns]  # type: ignore[attr-defined]  # it has columns here
                found.add(index_structure(names, unique=True))
        return found

    def check_texts(self, table: Table) -> Iterator[tuple[str, CheckConstraint]]:
        for constraint in table.constraints:
            if isinstance(constraint, CheckConstraint) and self._applies(constraint):
                text = self._compiler.sql_compiler.process(
                    constraint.sqltext, include_table=False, literal_binds=True
                )
                yield plain_check(text), constraint

    def _applies(self, constraint: Constraint) -> bool:
        """Whether this backend gets the constraint: a type's own CHECK depends on it."""
        rule: Any = constraint._create_rule  # noqa: SLF001 - as Alembic asks for it
        return rule is None or bool(rule(self._compiler))

    def _about(self, table: Table, text: str) -> tuple[str, ...]:
        return tuple(f"{c.name} {self.type_text(c)}" for c in table.columns if c.name in text)

    def _same_checks(self, table: Table, there: Shape) -> bool:
        if Feature.REFLECTED_CONSTRAINTS not in self.reader.dialect.features:
            return True
        texts = {
            self._checks.get((text, self._about(table, text)), text)
            for text, _ in self.check_texts(table)
        }
        return texts == there.checks.keys()


def final_name(constraint: Constraint, trial: Trial) -> str | None:
    """Return the name that a constraint has in the database."""
    preparer = trial.connection.dialect.identifier_preparer
    quoted = preparer.format_constraint(constraint)
    if quoted is None:
        return None
    name = str(quoted)
    return name[1:-1] if name[:1] in {'"', "`", "["} else name


def _referred_name(element: Any, name: str) -> str:
    """Return the name of the referred column; a foreign key may say its key instead."""
    try:
        return str(element.column.name)
    except exc.InvalidRequestError:
        return name


def _key_of(table: Table, name: str) -> str:
    return next(key for key, column in table.columns.items() if column.name == name)


__all__ = ["NAME", "Trial", "final_name"]
