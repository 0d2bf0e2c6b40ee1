"""Many rows at once: read rows of any kind, and hand them to the backend's fastest way.

Rows travel in batches, column by column: a type's conversion, a default or a look for NULL is then
one pass over a list. The backend's hook ``write_rows`` takes a batch, or leaves it to SQLAlchemy.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise, repeat
from operator import attrgetter, is_, itemgetter
from typing import TYPE_CHECKING, Any, TypeVar, overload

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Integer,
    MetaData,
    Numeric,
    Table,
    and_,
    collate,
    exc,
    func,
    insert,
    select,
    tuple_,
)
from sqlmodel import Session

from rxdb import failures, registry
from rxdb.dialect import Dialect, Feature, Merge
from rxdb.errors import BadArgument, BadRow, DatabaseError, ReadOnly, UnknownDialect
from rxdb.rows import Context, Converted, Group, Reader, Source, kinds_of, unique_keys
from rxdb.sessions import ReadOnlySession
from rxdb.types import UTCDateTime

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.types import TypeEngine

BATCH = 10_000
"""Rows that are held at once: some megabytes; more make no way of writing faster."""

ROW = "rxdb_row"
"""The column of a temporary table that holds a row's position."""

REMEMBERED = 100_000
"""Keys of an upsert that are kept to see that no two are the same: some megabytes. It saves the
query that else looks for two, 19 of 320 ms for 50,000 rows on SQLite."""

ModelT = TypeVar("ModelT")
Shown = bool | Callable[[int], object]
"""Whether progress is shown, or what is called with the number of rows so far."""


@overload
def bulk_insert(
    session: Session,
    model: type[Any],
    rows: Source,
    *,
    columns: Sequence[str] | None = None,
    returning: None = None,
    validate: bool = False,
    progress: Shown = False,
    batch: int = BATCH,
) -> int: ...
@overload
def bulk_insert(
    session: Session,
    model: type[Any],
    rows: Source,
    *,
    returning: Any,
    columns: Sequence[str] | None = None,
    validate: bool = False,
    progress: Shown = False,
    batch: int = BATCH,
) -> list[Any]: ...
@overload
def bulk_insert(
    session: AsyncSession,
    model: type[Any],
    rows: Source,
    *,
    columns: Sequence[str] | None = None,
    returning: None = None,
    validate: bool = False,
    progress: Shown = False,
    batch: int = BATCH,
) -> Awaitable[int]: ...
@overload
def bulk_insert(
    session: AsyncSession,
    model: type[Any],
    rows: Source,
    *,
    returning: Any,
    columns: Sequence[str] | None = None,
    validate: bool = False,
    progress: Shown = False,
    batch: int = BATCH,
) -> Awaitable[list[Any]]: ...
def bulk_insert(
    session: Session | AsyncSession,
    model: type[Any],
    rows: Source,
    *,
    columns: Sequence[str] | None = None,
    returning: Any = None,
    validate: bool = False,
    progress: Shown = False,
    batch: int = BATCH,
) -> Any:
    """Insert many rows by the fastest way of the backend, in the transaction of *session*.

    *rows* are models, dictionaries with the names of attributes, or tuples, in any iterable that
    may be longer than memory: *batch* rows are held at once. Tuples follow *columns*, by default
    all columns of the table. In an asynchronous session the call is awaited, and *rows* may be an
    asynchronous iterable.

    What a row leaves out gets the default that it would get from ``session.add``: of the model, of
    the column, of the server. Relationships are not followed: give the columns of the foreign key.
    *validate* checks each row with pydantic first. *progress* shows a bar on a terminal, or is
    called with the number of rows written so far.

    Returns the number of rows; with *returning*, one attribute or a list of them, its values in
    the order of the rows, such as the keys that the database made.

    Raises :class:`rxdb.errors.BadRow` for a row that cannot be read, and what the database raises,
    with the row's position, counted from 0, in the attribute ``row`` where it can be told. Nothing
    of the call is left then; where the backend has savepoints, what was done before it is.
    Raises :class:`rxdb.errors.ReadOnly` in a read-only session.
    """
    reader = Reader(model, "rx.bulk_insert", columns, validate=validate, batch=batch)

    def work(session: Session) -> Any:
        connection = _connection(session, reader)
        writer = _Writer(connection, reader.title)
        wanted = None if returning is None else _wanted(reader, returning)
        found: list[Any] = []
        count = 0
        with _all_or_nothing(session, connection, writer), _shown(progress, rows) as show:
            for group, read in reader.groups(rows):
                if wanted is None:
                    writer.write(group)
                else:
                    found += writer.write_returning(group, wanted)
                count = read
                show(count)
        return count if wanted is None else _in_order(found, wanted)

    return _run(session, work)


@dataclass(frozen=True)
class Upserted:
    """What :func:`upsert` did."""

    inserted: int
    """Rows that were not there."""

    updated: int
    """Rows that were there, and were given the new values."""

    rows: list[Any] = field(default_factory=list)
    """What ``returning`` asked for, in the order of the rows."""


@overload
def upsert(
    session: Session,
    model: type[Any],
    rows: Source,
    *,
    key: Any = None,
    update: Sequence[Any] | None = None,
    columns: Sequence[str] | None = None,
    returning: Any = None,
    validate: bool = False,
    progress: Shown = False,
    batch: int = BATCH,
) -> Upserted: ...
@overload
def upsert(
    session: AsyncSession,
    model: type[Any],
    rows: Source,
    *,
    key: Any = None,
    update: Sequence[Any] | None = None,
    columns: Sequence[str] | None = None,
    returning: Any = None,
    validate: bool = False,
    progress: Shown = False,
    batch: int = BATCH,
) -> Awaitable[Upserted]: ...
def upsert(  # noqa: PLR0913 - keyword-only ones read well at the call
    session: Session | AsyncSession,
    model: type[Any],
    rows: Source,
    *,
    key: Any = None,
    update: Sequence[Any] | None = None,
    columns: Sequence[str] | None = None,
    returning: Any = None,
    validate: bool = False,
    progress: Shown = False,
    batch: int = BATCH,
) -> Any:
    """Insert rows, and update those that are there already, in the transaction of *session*.

    A row is there when one with the same *key* is: the primary key, or the named attributes, which
    have to be a unique constraint or index of the table. *update* names the attributes that are
    then set, by default all that the rows give but the primary key; ``()`` leaves such rows as they
    are. A model gives all its columns, a dictionary what it names; defaults are for new rows only.
    All rows give the same attributes, each row its whole key, and no two rows the same one.

    The other arguments are those of :func:`bulk_insert`. The rows are written in the order of
    their keys, so that two calls do not wait for each other in a circle.

    Returns how many rows were inserted and updated, exact also where others write, and with
    *returning* the values of all these rows in their order.

    Raises :class:`rxdb.errors.BadRow`, :class:`ValueError` for a key that is not unique in the
    table, and what the database raises, :class:`rxdb.errors.UniqueViolation` where a row is in the
    way that has another key. Nothing of the call is left then, as with :func:`bulk_insert`.
    """
    reader = Reader(model, "rx.upsert", columns, validate=validate, batch=batch)
    keys = reader.unique(key)

    def work(session: Session) -> Upserted:
        connection = _connection(session, reader)
        writer = _Writer(connection, reader.title)
        if writer.backend is None or writer.backend.upsert is None:
            raise NotImplementedError(f"rxdb has no upsert for {connection.dialect.name} yet.")
        wanted = None if returning is None else _wanted(reader, returning)
        temporary = _Temporary(connection, writer, reader, keys, update)
        with (
            temporary,
            _all_or_nothing(session, connection, writer),
            _shown(progress, rows) as show,
        ):
            for group, read in reader.groups(rows):
                temporary.add(group)
                show(read)
            return temporary.merge(wanted)

    return _run(session, work)


def _run(session: Session | AsyncSession, work: Callable[[Any], Any]) -> Any:
    """Do the work, for an asynchronous session in what the caller awaits."""
    if isinstance(session, Session) or not hasattr(session, "run_sync"):
        return work(session)
    return session.run_sync(work)


def _connection(session: Session, reader: Reader) -> Connection:
    """Return the connection of the session's transaction, with what was added before sent."""
    if isinstance(session, ReadOnlySession):
        raise ReadOnly.of(f"{reader.title} of {reader.model.__name__}")
    if session.autoflush:
        session.flush()
    return session.connection(bind_arguments={"mapper": reader.mapper})


def _wanted(reader: Reader, returning: Any) -> _Wanted:
    """Read what ``returning`` names: one attribute, or several."""
    is_one = isinstance(returning, str) or not isinstance(returning, Sequence)
    names = [returning] if is_one else returning
    if not names:
        raise ValueError(
            "returning names no attribute. Leave it out where nothing is to come back."
        )
    return _Wanted([reader.column(name) for name in names], is_one=is_one)


@dataclass(frozen=True)
class _Wanted:
    columns: list[Column[Any]]
    is_one: bool

    def of(self, rows: Iterable[Any]) -> list[Any]:
        return [row[0] for row in rows] if self.is_one else list(rows)


def _in_order(found: list[tuple[int, Any]], wanted: _Wanted) -> list[Any]:
    """Return the values of rows by position: a batch may have been written in several parts."""
    return wanted.of(row for _, row in sorted(found, key=itemgetter(0)))


# Writing rows


class _Writer:
    """Writes groups of rows on one connection, the fastest way first."""

    def __init__(self, connection: Connection, title: str) -> None:
        self.connection, self.title = connection, title
        try:
            self.backend: Dialect | None = registry.get(connection.dialect.name)
        except UnknownDialect:
            self.backend = None
        features = self.backend.features if self.backend else frozenset()
        self.has_savepoints = Feature.SAVEPOINTS in features

    def savepoint(self) -> AbstractContextManager[object]:
        """Undo what is done inside when that fails, where the backend can."""
        return self.connection.begin_nested() if self.has_savepoints else nullcontext()

    def write(self, group: Group) -> None:
        """Write a group, or raise with the position of the row that was refused."""
        if self.backend and self.backend.write_rows and self._is_plain(group):
            group.convert = self._converted
        try:
            with self.savepoint():
                self._write(group)
        except exc.StatementError as error:
            if group.convert:
                group.convert(group)  # raises BadRow where a type refuses a value
            if not self.has_savepoints:
                _tell(error, self.title, group.positions)
                raise
            if (
                not isinstance(error, exc.IntegrityError | exc.DataError)
                and isinstance(error, exc.DBAPIError)
                and not _is_of_row(error)
            ):
                raise
            self._find(group, _line(error))

    def _find(self, group: Group, line: int | None) -> None:
        """Write again, in halves, until one row is alone with its error."""
        if len(group) == 1:
            try:
                self._by_core(group)
            except exc.StatementError as error:
                _tell(error, self.title, group.positions)
                raise
            return
        middle = len(group) // 2
        start = line if line is not None and line < len(group) else 0
        cuts = [0, start, start + 1, len(group)] if line is not None else [0, middle, len(group)]
        for first, last in pairwise(cuts):
            if first == last:
                continue
            part = group.part(first, last)
            try:
                with self.savepoint():
                    self._write(part)
            except exc.StatementError:
                self._find(part, None)

    def _converted(self, group: Group) -> list[Converted]:
        """Convert the values as SQLAlchemy's types do."""
        assert self.backend is not None
        dialect = self.connection.dialect
        converted: list[Converted] = []
        for column, values in zip(group.columns, group.raw, strict=True):
            try:
                converted.append(_converted(column.type, values, dialect, self.backend))
            except Exception as error:
                convert = column.type._cached_bind_processor(dialect)  # noqa: SLF001 - SQLAlchemy tells it nowhere else
                raise _unbindable(convert, values, column, group.positions) from error
        return converted

    def _is_plain(self, group: Group) -> bool:
        """Whether each value stands for itself: no SQL around it, and none for a missing one."""
        given = set(group.columns)
        dialect = self.connection.dialect
        if not given or self.connection.get_execution_options().get("schema_translate_map"):
            return False
        if any(c.type.dialect_impl(dialect)._has_bind_expression for c in given):  # noqa: SLF001 - SQLAlchemy tells it nowhere else
            return False
        return all(c.default is None or c in given for c in group.table.columns)

    def _write(self, group: Group) -> None:
        write = self.backend.write_rows if self.backend else None
        if not (group.convert and write is not None and write(self.connection, group)):
            self._by_core(group)

    def _by_core(self, group: Group) -> None:
        self.connection.execute(insert(group.table), group.parameters())

    def write_returning(self, group: Group, wanted: _Wanted) -> list[tuple[int, Any]]:
        """Write a group, and return the values that were asked for with their positions."""
        try:
            try:
                with self.savepoint():
                    rows = self._returned(group, wanted)
            except exc.InvalidRequestError:  # a key that comes back in another form than given
                if not self.has_savepoints:
                    raise
                with self.savepoint():
                    parts = _parts(group, 1)
                    rows = [row for part in parts for row in self._returned(part, wanted)]
        except exc.StatementError as error:
            if not self.has_savepoints:
                _tell(error, self.title, group.positions)
                raise
            self._find(group, None)
            raise
        return list(zip(group.positions, rows, strict=True))

    def _returned(self, group: Group, wanted: _Wanted) -> Iterable[Any]:
        if self.connection.dialect.insert_executemany_returning:
            statement = insert(group.table).returning(*wanted.columns, sort_by_parameter_order=True)
            return self.connection.execute(statement, group.parameters()).all()
        return [row for part in _parts(group) for row in self._selected(part, wanted)]

    def _selected(self, group: Group, wanted: _Wanted) -> list[Any]:
        """Insert with one statement, and select what was asked for by the keys.

        The keys that the server makes for a statement with several rows follow each other, from
        the one that the driver tells on (MySQL manual, "InnoDB AUTO_INCREMENT Lock Modes").
        """
        given = dict(zip(group.columns, group.raw, strict=True))
        keys = list(group.table.primary_key.columns)
        result = self.connection.execute(insert(group.table).values(group.parameters()))
        missing = [column for column in keys if column not in given]
        if missing:
            asked = self.backend.key_step if self.backend else ""
            step = int(self.connection.exec_driver_sql(asked).scalar_one()) if asked else 1
            first = result.lastrowid
            given[missing[0]] = [first + step * number for number in range(len(group))]
        by_key = list(zip(*(given[column] for column in keys), strict=True))
        found = self._by_key(keys, by_key, wanted)
        if not found.keys() >= set(by_key):
            by_key = [tuple(map(_as_kept, keys, key)) for key in by_key]
            found = self._by_key(keys, by_key, wanted)
            for position, key in zip(group.positions, by_key, strict=True):
                if key not in found:
                    told = "the database keeps it in another form, give it in that"
                    raise BadRow.of(position, told, keys[0].key, group.table.name)
        return [found[key] for key in by_key]

    def _by_key(
        self, keys: list[Column[Any]], values: list[Any], wanted: _Wanted
    ) -> dict[tuple[Any, ...], Any]:
        """Return what was asked for of the rows that are found by their keys."""
        query = select(*keys, *wanted.columns).where(tuple_(*keys).in_(values))
        rows = self.connection.execute(query)
        return {tuple(row[: len(keys)]): row[len(keys) :] for row in rows}


def _as_kept(column: Column[Any], value: Any) -> Any:
    """Return a key as a database keeps it: a number rounded, and not as a text."""
    type_: Any = column.type
    with suppress(ArithmeticError, TypeError, ValueError):
        if isinstance(type_, Integer):
            return int(value)
        if isinstance(type_, Numeric) and type_.asdecimal and type_.scale is not None:
            return Decimal(value).quantize(Decimal(1).scaleb(-type_.scale), ROUND_HALF_UP)
    return value


def _parts(group: Group, size: int = 500) -> Iterator[Group]:
    for start in range(0, len(group), size):
        yield group.part(start, start + size)


def _converted(
    type_: TypeEngine[Any], values: Sequence[Any], dialect: Any, backend: Dialect
) -> Converted:
    """Convert a column as its type converts each value, by one pass in C where one is known.

    A type's own conversion is a call of Python or two for each value, half a microsecond each:
    for eight columns that is more than a driver takes for the row.
    """
    convert = type_._cached_bind_processor(dialect)  # noqa: SLF001 - SQLAlchemy tells it nowhere else
    if convert is None:
        return values, None
    kinds = kinds_of(values)
    found = _converted_at_once(type_, values, kinds, dialect, backend)
    if found is None:
        found = list(map(convert, values))
    return found, kinds if found is values else None


def _converted_at_once(
    type_: TypeEngine[Any],
    values: Sequence[Any],
    kinds: frozenset[type],
    dialect: Any,
    backend: Dialect,
) -> Sequence[Any] | None:
    """Return what the one pass makes of values, or None where each has to be tried."""
    given = kinds - {type(None)}
    if type(type_) is UTCDateTime and given <= {dt.datetime} and _are_in_utc(values):
        type_ = type_.impl_instance  # that is all it looks for
        if type_._cached_bind_processor(dialect) is None:  # noqa: SLF001 - SQLAlchemy tells it nowhere else
            return values
    if type(type_) is Boolean and given <= {bool}:
        return values if dialect.supports_native_boolean else list(map(NUMBERS.get, values))
    quick = backend.bind_columns(type_, dialect).get(*given) if len(given) == 1 else None
    if quick is None:
        return None
    with suppress(Exception):  # one of the values, which is found when each is tried
        if given == kinds:
            return quick(values)
        known = [value for value in values if value is not None]
        found = quick(known)
        each = iter(found)
        return values if found is known else [v if v is None else next(each) for v in values]
    return None


NUMBERS = {False: 0, True: 1}
"""What a truth value is where there is no type for it; others, None here, stay None."""


def _are_in_utc(values: Sequence[Any]) -> bool:
    """Whether all datetimes that are not None have the zone that they are kept in."""
    return all(map(is_, map(attrgetter("tzinfo"), filter(None, values)), repeat(dt.UTC)))


def _unbindable(
    convert: Any, values: Sequence[Any], column: Column[Any], positions: Sequence[int]
) -> BadRow:
    """Return the error for the first value that its type refuses."""
    for position, value in zip(positions, values, strict=True):
        try:
            convert(value)
        except Exception as error:  # noqa: BLE001 - whatever a type raises
            return BadRow.of(position, str(error), column.key, column.table.name)
    return BadRow.of(positions[0], "it cannot be converted", column.key, column.table.name)


def _is_of_row(error: exc.DBAPIError) -> bool:
    """Whether an error of another class may still be one row's: some drivers mix the classes."""
    return not error.connection_invalidated and isinstance(
        error, exc.ProgrammingError | exc.InterfaceError | exc.NotSupportedError
    )


def _line(error: exc.StatementError) -> int | None:
    """Return which row of the batch it was, from 0, where the hook has said so."""
    found = getattr(error.orig, "rxdb_line", None)
    return found if isinstance(found, int) else None


def _tell(error: exc.StatementError, title: str, positions: Sequence[int]) -> None:
    """Tell in an error where the row stands."""
    if len(positions) == 1:
        error.row = positions[0]  # type: ignore[attr-defined]  # an attribute of its own
        told = f"Row {positions[0]}, counted from 0, was refused"
    else:
        told = f"One of the rows {positions[0]} to {positions[-1]}, counted from 0, was refused"
    error.add_note(f"{told}; nothing of {title} was written.")


@contextmanager
def _all_or_nothing(session: Session, connection: Connection, writer: _Writer) -> Iterator[None]:
    """Undo the whole call when it fails: with a savepoint, or else with the transaction."""
    if not writer.has_savepoints:
        try:
            yield
        except BaseException:
            try:
                session.rollback()
            except BadArgument:  # in rx.transaction, which fails then whatever its function does
                connection.get_transaction().rollback()  # type: ignore[union-attr]  # one has begun
            raise
        return
    savepoint = connection.begin_nested()
    try:
        yield
    except BaseException:
        with suppress(exc.SQLAlchemyError):  # a deadlock has ended the transaction
            savepoint.rollback()
        raise
    savepoint.commit()


@contextmanager
def _shown(progress: Shown, rows: Source) -> Iterator[Callable[[int], object]]:
    """Yield what is called with the number of rows so far."""
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda _: None
        return
    from rich.progress import MofNCompleteColumn, Progress  # noqa: PLC0415 - costly, and few need it

    total = len(rows) if isinstance(rows, Sized) else None
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, transient=True) as bar:
        bar.disable = not bar.console.is_terminal
        task = bar.add_task("rows", total=total)
        yield lambda count: bar.update(task, completed=count)


# Updating rows


class _Temporary:
    """A temporary table with the rows of one call, from which one statement writes them all.

    That statement takes its locks in the order of the keys, whatever the order of the rows.
    """

    def __init__(
        self,
        connection: Connection,
        writer: _Writer,
        reader: Reader,
        keys: list[Column[Any]],
        update: Sequence[Any] | None,
    ) -> None:
        self.connection, self.writer, self.reader, self.keys = connection, writer, reader, keys
        self.update = None if update is None else [reader.column(name) for name in update]
        self.table: Table | None = None
        self.columns: tuple[Column[Any], ...] = ()
        self.given: tuple[Column[Any], ...] = ()
        self.changed: list[Column[Any]] = []
        self.fixed: dict[Column[Any], tuple[str, Any]] = {}
        self.computed: dict[Column[Any], Any] = {}
        self.count = 0
        is_number = len(keys) == 1 and isinstance(keys[0].type, Integer)
        self.seen: set[int] | None = set() if is_number else None
        preparer = connection.dialect.identifier_preparer
        self.quote = preparer.quote
        self.target = preparer.format_table(reader.table)
        self.name = f"rxdb_rows_of_{reader.table.name}"[:60]

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        """Drop the table: not every server does that with the savepoint."""
        if self.table is None:
            return
        if isinstance(error, DatabaseError):
            failures.retell(error, self.name, self.reader.table)
        drop = self.writer.backend.drop_temporary if self.writer.backend else "DROP TABLE"
        statement = f"{drop} IF EXISTS {self.quote(self.name)}"
        if kind is None:
            self.connection.exec_driver_sql(statement)
            return
        with suppress(exc.SQLAlchemyError):
            if not self.connection.invalidated and self.connection.in_transaction():
                self.connection.exec_driver_sql(statement)

    def _create(self, group: Group) -> Table:
        columns = group.columns
        missing = [c.name for c in self.keys if c not in columns]
        if missing:
            raise BadRow.of(group.positions[0], "it has no value for the key", missing[0])
        self.columns, self.given = columns, group.given
        self._decide(group)
        quote = self.quote
        listed = ", ".join(quote(c.name) for c in columns)
        for column, (name, _) in self.fixed.items():
            listed += f", {quote(column.name)} AS {name}"
        self.connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE {quote(self.name)} AS "  # noqa: S608 - quoted names
            f"SELECT {listed}, 0 AS {ROW} FROM {self.target} WHERE 1 = 0"
        )
        copies: list[Column[Any]] = [Column(c.name, c.type) for c in columns]
        copies += [Column(name, column.type) for column, (name, _) in self.fixed.items()]
        return Table(self.name, MetaData(), *copies, Column(ROW, Integer))

    def _decide(self, group: Group) -> None:
        """Decide what is set in a row that is there; ``onupdate`` as ``update()`` applies it."""
        usual = [c for c in group.given if c not in self.keys and not c.primary_key]
        self.changed = usual if self.update is None else self.update
        if unknown := [column.name for column in self.changed if column not in group.columns]:
            raise ValueError(f"update names {unknown[0]!r}, and the rows do not give it.")
        if not self.changed:
            return
        given = dict(zip([c.key for c in group.columns], group.raw, strict=True))
        for column in self.reader.columns.values():
            default: Any = column.onupdate
            if default is None or column in self.changed or column in self.keys:
                continue
            if default.is_clause_element:
                self.computed[column] = default.arg
            elif default.is_scalar or default.is_callable:
                value = default.arg if default.is_scalar else default.arg(Context(given, 0))
                self.fixed[column] = f"rxdb_update_{len(self.fixed)}", value

    def add(self, group: Group) -> None:
        """Write a group into the temporary table."""
        if self.table is None:
            self.table = self._create(group)
        is_like = self.update is not None or group.given == self.given
        if group.columns != self.columns or not is_like:
            told = "it gives other columns than the first row; all rows have to give the same"
            raise BadRow.of(group.positions[0], told)
        given = dict(zip(group.columns, group.raw, strict=True))
        for column in self.keys:
            if None in (values := given[column]):
                position = group.positions[list(values).index(None)]
                raise BadRow.of(position, "it has no value for the key", column.name)
        columns = [self.table.columns[c.name] for c in group.columns]
        fixed = [(self.table.columns[name], value) for name, value in self.fixed.values()]
        numbered = [*group.raw, *([v] * len(group) for _, v in fixed), list(group.positions)]
        named = [*columns, *(column for column, _ in fixed), self.table.columns[ROW]]
        self.count += len(group)
        self._remember(given[self.keys[0]])
        self.writer.write(Group(self.table, named, numbered, group.positions))

    def _remember(self, keys: Sequence[Any]) -> None:
        """Keep keys that are whole numbers, as long as they are few and all different."""
        if self.seen is not None and set(map(type, keys)) == {int}:
            self.seen.update(keys)
            if len(self.seen) == self.count <= REMEMBERED:
                return
        self.seen = None

    def merge(self, wanted: _Wanted | None) -> Upserted:
        """Write the rows from the temporary table into the model's."""
        if self.table is None:
            return Upserted(0, 0)
        self._refuse_twice()
        names = [column.name for column in self.columns]
        keys = [column.name for column in self.keys]
        given = set(self.columns)
        others = [
            [column.name for column in key]
            for key in unique_keys(self.reader.table)
            if key != set(self.keys) and key <= given
        ]
        quote = self.quote
        merge = Merge(
            target=self.target,
            source=quote(self.name),
            row=ROW,
            columns=tuple(map(quote, names)),
            key=tuple(map(quote, keys)),
            update=tuple(quote(column.name) for column in self.changed),
            fixed=tuple((quote(column.name), name) for column, (name, _) in self.fixed.items()),
            computed=tuple((quote(c.name), self._sql(how)) for c, how in self.computed.items()),
            other_keys=tuple(tuple(map(quote, key)) for key in others),
        )
        inserted, updated = self._merged(merge)
        if self.update is None and not self.changed:  # the key alone, which is the same
            updated = self.count - inserted
        rows = [] if wanted is None else self._rows(wanted)
        return Upserted(inserted, updated, rows)

    def _sql(self, expression: Any) -> str:
        compiled = expression.compile(
            dialect=self.connection.dialect, compile_kwargs={"literal_binds": True}
        )
        return str(compiled)

    def _refuse_twice(self) -> None:
        """Refuse two rows with one key: which of them counts would differ between servers."""
        if self.seen is not None:
            return
        assert self.table is not None
        assert self.writer.backend is not None
        row = self.table.columns[ROW]
        keys: list[Any] = []
        for key in self.keys:
            copy = self.table.columns[key.name]
            lost = self.writer.backend.lost_collation(key, self.connection.dialect)
            keys.append(collate(copy, lost) if lost else copy)
        query = (
            select(func.min(row), func.max(row))
            .group_by(*keys)
            .having(func.count() > 1)
            .order_by(func.min(row))
            .limit(1)
        )
        if (twice := self.connection.execute(query).first()) is not None:
            told = f"row {twice[0]} has the same key already"
            raise BadRow.of(twice[1], told, self.keys[0].name)

    def _merged(self, merge: Merge) -> tuple[int, int]:
        """Write all rows with one statement; look for the one that is refused where that fails."""
        assert self.writer.backend is not None
        write = self.writer.backend.upsert
        assert write is not None
        try:
            with self.writer.savepoint():
                return write(self.connection, merge)
        except (exc.IntegrityError, exc.DataError) as error:
            if not self.writer.has_savepoints:
                _tell(error, self.reader.title, range(self.count))
                raise
            return self._merged_in_halves(write, merge, 0, self.count)

    def _merged_in_halves(
        self, write: Callable[..., tuple[int, int]], merge: Merge, start: int, stop: int
    ) -> tuple[int, int]:
        inserted, updated = 0, 0
        middle = (start + stop) // 2
        for first, last in [(start, middle), (middle, stop)]:
            if first == last:
                continue
            part = replace(merge, part=(first, last))
            try:
                with self.writer.savepoint():
                    found = write(self.connection, part)
            except (exc.IntegrityError, exc.DataError) as error:
                if last - first == 1:
                    _tell(error, self.reader.title, [first])
                    raise
                found = self._merged_in_halves(write, merge, first, last)
            inserted, updated = inserted + found[0], updated + found[1]
        return inserted, updated

    def _rows(self, wanted: _Wanted) -> list[Any]:
        """Read the rows of the call back, in their order."""
        source = self.table
        assert source is not None
        pairs = [column == source.columns[column.name] for column in self.keys]
        joined = self.reader.table.join(source, and_(*pairs))
        query = select(*wanted.columns).select_from(joined).order_by(source.columns[ROW])
        return wanted.of(self.connection.execute(query))
