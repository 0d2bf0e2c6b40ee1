"""Read rows of any kind: models, dictionaries or tuples become batches, column by column.

A look for NULL, a default or a type's conversion is then one pass over a list.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import PydanticUndefined
from sqlalchemy import Column, PrimaryKeyConstraint, Table, UniqueConstraint, inspect
from sqlmodel import SQLModel

from rxdb.errors import BadRow, suggest

if TYPE_CHECKING:
    from sqlalchemy.orm import Mapper

Source = Iterable[Any] | AsyncIterable[Any]

Converted = tuple[Sequence[Any], frozenset[type] | None]
"""The values of a column, as the driver takes them, and their types where those are known."""

_Alike = tuple[Sequence[str], list[Sequence[Any]]]
"""The columns that rows give, and the values of each."""


class Group:
    """Rows that give the same columns, and where they stand among all; they are ``dialect.Rows``
    once it is known how their values are converted."""

    def __init__(
        self,
        table: Table,
        columns: Sequence[Column[Any]],
        values: list[Sequence[Any]],
        positions: Sequence[int],
        given: Sequence[Column[Any]] = (),
    ) -> None:
        self.table, self.columns = table, tuple(columns)
        self.raw, self.positions = values, positions
        self.given = tuple(given)  # by the rows themselves; the others are defaults
        self.convert: Callable[[Group], list[Converted]] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def part(self, start: int, stop: int) -> Group:
        """Return some of the rows, of which nothing is converted yet."""
        raw = [values[start:stop] for values in self.raw]
        part = Group(self.table, self.columns, raw, self.positions[start:stop])
        part.convert = self.convert
        return part

    @cached_property
    def _converted(self) -> list[Converted]:
        assert self.convert is not None
        return self.convert(self)

    @property
    def values(self) -> list[Sequence[Any]]:
        """For each column the values of all rows, as the driver takes them."""
        return [values for values, _ in self._converted]

    @property
    def kinds(self) -> list[frozenset[type]]:
        """For each column the types of its values."""
        return [kinds_of(values) if kinds is None else kinds for values, kinds in self._converted]

    def parameters(self) -> list[dict[str, Any]]:
        """Return the rows as SQLAlchemy takes them."""
        names = [column.key for column in self.columns]
        if not names:
            return [{} for _ in self.positions]
        return [dict(zip(names, row, strict=True)) for row in zip(*self.raw, strict=True)]


class Reader:
    """Reads rows of any kind for the table of one model."""

    def __init__(
        self,
        model: type[Any],
        title: str,
        columns: Sequence[str] | None,
        *,
        validate: bool,
        batch: int,
    ) -> None:
        found = inspect(model, raiseerr=False)
        if found is None or not getattr(found, "is_mapper", False):
            raise TypeError(f"{model!r} is no model with a table. Write: class …(table=True)")
        self.mapper: Mapper[Any] = found
        if len(self.mapper.tables) > 1 or self.mapper.polymorphic_on is not None:
            raise TypeError(
                f"{model.__name__} inherits its table. Name the model of one whole table."
            )
        if self.mapper.version_id_col is not None:
            raise TypeError(f"{model.__name__} counts versions, which only the session keeps.")
        if validate and not issubclass(model, SQLModel):
            raise TypeError(f"validate=True needs a SQLModel; {model.__name__} is none.")
        if batch < 1:
            raise ValueError(f"batch={batch} is no number of rows.")
        self.model, self.title, self.validate, self.batch = model, title, validate, batch
        self.table: Any = self.mapper.local_table
        self.columns: dict[str, Column[Any]] = {
            key: column for key, column in self.mapper.columns.items() if column.computed is None
        }
        self.order = {key: number for number, key in enumerate(self.columns)}
        self.names = [getattr(name, "key", name) for name in columns or self.columns]
        for name in self.names:
            self.column(name)

    def column(self, name: Any) -> Column[Any]:
        """Return the column of an attribute, or of its name."""
        key = getattr(name, "key", name)
        if key in self.mapper.columns:
            found: Column[Any] = self.mapper.columns[key]
            return found
        raise ValueError(
            f"{self.model.__name__} has no column {key!r}. {suggest(str(key), self.columns)}"
        )

    def unique(self, key: Any) -> list[Column[Any]]:
        """Return the columns of a key, which has to be one of the table's."""
        if key is None:
            return list(self.table.primary_key.columns)
        is_one = isinstance(key, str) or not isinstance(key, Sequence)
        columns = [self.column(name) for name in ([key] if is_one else key)]
        known = unique_keys(self.table)
        if len(set(columns)) < len(columns):
            raise ValueError(f"key names a column twice: {', '.join(c.name for c in columns)}.")
        if frozenset(columns) not in known:
            listed = "; ".join(sorted(", ".join(sorted(c.name for c in k)) for k in known))
            raise ValueError(
                f"{', '.join(c.name for c in columns)} is not unique in {self.table.name}. "
                f"Its unique keys: {listed}"
            )
        return columns

    def groups(self, rows: Source) -> Iterator[tuple[Group, int]]:
        """Yield the rows in batches, each row with its defaults, and how many were read."""
        iterator = _awaited(rows) if isinstance(rows, AsyncIterable) else iter(rows)
        start = 0
        while chunk := list(islice(iterator, self.batch)):
            read = start + len(chunk)
            for group in self._groups(chunk, start):
                yield group, read
            start = read

    def _groups(self, chunk: list[Any], start: int) -> Iterator[Group]:
        said: list[frozenset[str] | None] = [None] * len(chunk)
        if self.validate:
            whole = list(map(self._is_model, chunk))
            chunk = [self._validated(row, start + n) for n, row in enumerate(chunk)]
            said = [
                None if is_whole else frozenset(row.model_fields_set)
                for is_whole, row in zip(whole, chunk, strict=True)
            ]
        kinds = set(map(type, chunk))
        is_one = len(kinds) == 1 and len(set(said)) == 1
        if is_one and (alike := self._alike(chunk, start)) is not None:
            positions = range(start, start + len(chunk))
            is_model = self._is_model(chunk[0])
            yield self._completed(*alike, positions, is_model=is_model, said=said[0])
            return
        several: dict[tuple[bool, tuple[str, ...], frozenset[str] | None], list[int]] = {}
        read = [self._given(row, start + number) for number, row in enumerate(chunk)]
        for number, given in enumerate(read):
            keys = tuple(sorted(given, key=self.order.__getitem__))
            kind = (self._is_model(chunk[number]), keys, said[number])
            several.setdefault(kind, []).append(number)
        for (is_model, keys, some), numbers in several.items():
            listed: list[Sequence[Any]] = [[read[n][key] for n in numbers] for key in keys]
            where = [start + n for n in numbers]
            yield self._completed(keys, listed, where, is_model=is_model, said=some)

    def _alike(self, chunk: list[Any], start: int) -> _Alike | None:
        """Read rows of one kind that give the same columns; None where they do not."""
        first = chunk[0]
        if type(first) is dict:
            return self._alike_dictionaries(chunk, start)
        if isinstance(first, self.model):
            return self._alike_models(chunk)
        if isinstance(first, Sequence) and not isinstance(first, str | bytes):
            if set(map(len, chunk)) != {len(self.names)}:
                for number, row in enumerate(chunk):
                    self._measure(row, start + number)
            return self.names, _transposed(chunk, range(len(self.names)))
        return None

    def _alike_dictionaries(self, chunk: list[dict[str, Any]], start: int) -> _Alike | None:
        names = list(chunk[0])
        self._check(names, start)
        if not names or set(map(len, chunk)) != {len(names)}:
            return None
        try:
            return names, _transposed(chunk, names)
        except KeyError:
            return None

    def _alike_models(self, chunk: list[Any]) -> _Alike | None:
        try:
            values = _transposed([row.__dict__ for row in chunk], list(self.columns))
        except KeyError:
            return None
        given = dict(zip(self.columns, values, strict=True))
        for name in self._left_to_defaults:
            if None in given[name]:
                if any(value is not None for value in given[name]):
                    return None
                del given[name]
        return list(given), list(given.values())

    def _measure(self, row: Sequence[Any], position: int) -> None:
        if len(row) != len(self.names):
            told = (
                f"it has {len(row)} values for {len(self.names)} columns "
                f"({', '.join(self.names)}). Name them: columns=[…]"
            )
            raise BadRow.of(position, told)

    def _given(self, row: Any, position: int) -> dict[str, Any]:
        """Return what one row gives."""
        if isinstance(row, Mapping):
            self._check(row, position)
            return dict(row)
        if isinstance(row, self.model):
            given = {key: row.__dict__[key] for key in self.columns if key in row.__dict__}
            left = self._left_to_defaults
            return {k: v for k, v in given.items() if v is not None or k not in left}
        if isinstance(row, Sequence) and not isinstance(row, str | bytes):
            self._measure(row, position)
            return dict(zip(self.names, row, strict=True))
        told = f"{type(row).__name__} is no {self.model.__name__}, dictionary or tuple"
        raise BadRow.of(position, told)

    def _check(self, names: Iterable[str], position: int) -> None:
        for name in names:
            if name in self.columns:
                continue
            if name in self.mapper.relationships:
                told = "it is a relationship. Give the columns of its foreign key"
            else:
                told = f"{self.model.__name__} has no such column. {suggest(name, self.columns)}"
            raise BadRow.of(position, told, name)

    def _validated(self, row: Any, position: int) -> Any:
        given = row.model_dump() if isinstance(row, self.model) else self._given(row, position)
        given = {k: v for k, v in given.items() if k in self.columns}
        try:
            return self.model.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            column = str(first["loc"][0]) if first["loc"] else None
            raise BadRow.of(position, first["msg"], column) from error

    @cached_property
    def _left_to_defaults(self) -> frozenset[str]:
        """The columns where None in a model means the default, as for ``session.add``."""
        counted = self.table.autoincrement_column
        return frozenset(
            key
            for key, column in self.columns.items()
            if not column.type.should_evaluate_none
            and (column is counted or any((column.default, column.server_default, column.onupdate)))
        )

    def _completed(
        self,
        names: Sequence[str],
        values: list[Sequence[Any]],
        positions: Sequence[int],
        *,
        is_model: bool,
        said: frozenset[str] | None,
    ) -> Group:
        """Add the defaults of Python for what the rows do not give.

        *said* names what rows gave that became models when they were validated.
        """
        given = dict(zip(names, values, strict=True))
        counted = self.table.autoincrement_column
        gave = set(given) if said is None else said & set(given)
        for key, column in self.columns.items():
            if column is counted and key in given and None in given[key]:
                if any(value is not None for value in given[key]):
                    number = next(n for n, value in enumerate(given[key]) if value is None)
                    told = "some rows of the batch have a key and this one has none"
                    raise BadRow.of(positions[number], told, key)
                del given[key]
            if key not in given:
                info = None if is_model else self._fields.get(key)
                made = _defaults(column, info, given, len(positions))
                if made is not None:
                    given[key] = made
        keys = [key for key in self.columns if key in given]
        columns = [self.columns[key] for key in keys]
        own = [self.columns[key] for key in keys if key in gave]
        return Group(self.table, columns, [given[key] for key in keys], positions, given=own)

    @cached_property
    def _fields(self) -> Mapping[str, Any]:
        """The fields of pydantic; their defaults are a model's own, which it has already."""
        return getattr(self.model, "model_fields", {})

    def _is_model(self, row: Any) -> bool:
        return isinstance(row, self.model)


def _defaults(
    column: Column[Any], info: Any, given: Mapping[str, Sequence[Any]], count: int
) -> Sequence[Any] | None:
    """Return the values that Python has for a column: the model's, then the column's."""
    if info is not None and not info.is_required():
        made = _of_field(info, given, count)
        if column.type.should_evaluate_none or any(value is not None for value in made):
            return made
    default: Any = column.default
    if default is None or not (default.is_scalar or default.is_callable):
        return None
    if default.is_scalar:
        return [default.arg] * count
    return [default.arg(Context(given, number)) for number in range(count)]


class Context:
    """What a default that asks for its context is told."""

    def __init__(self, given: Mapping[str, Sequence[Any]], number: int) -> None:
        self._given, self._number = given, number

    @property
    def current_parameters(self) -> dict[str, Any]:
        return {key: values[self._number] for key, values in self._given.items()}

    def get_current_parameters(self, **_: bool) -> dict[str, Any]:
        return self.current_parameters


def _of_field(info: Any, given: Mapping[str, Sequence[Any]], count: int) -> Sequence[Any]:
    """Return the defaults of a field of pydantic."""
    if info.default_factory is None:
        value = info.get_default()
        if value is PydanticUndefined:
            value = None
        is_shared = isinstance(value, str | int | float | bool | bytes | None)
        return [value] * count if is_shared else [info.get_default() for _ in range(count)]
    if not getattr(info, "default_factory_takes_validated_data", False):
        return [info.default_factory() for _ in range(count)]
    return [
        info.default_factory({key: values[n] for key, values in given.items()})
        for n in range(count)
    ]


def _transposed(rows: list[Any], names: Sequence[Any]) -> list[Sequence[Any]]:
    """Return mappings or tuples column by column.

    ``zip(*rows)`` would make an iterator for each row, which keeps the garbage collector busy:
    beside 60,000 rows in memory it took four times as long.
    """
    return [list(map(itemgetter(name), rows)) for name in names]


def kinds_of(values: Sequence[Any]) -> frozenset[type]:
    """Return the types of values."""
    return frozenset(map(type, values))


def _awaited(rows: AsyncIterable[Any]) -> Iterator[Any]:
    """Wait for each row of an asynchronous iterable, in the greenlet of an asynchronous session."""
    if not _is_asynchronous():
        raise TypeError(
            f"{type(rows).__name__} is an asynchronous iterable, which needs an asynchronous "
            "session. Use rx.asession(), or give a list: [row async for row in rows]"
        )
    from sqlalchemy.util import await_only  # noqa: PLC0415 - needs greenlet

    iterator = aiter(rows)
    while True:
        try:
            yield await_only(anext(iterator))
        except StopAsyncIteration:
            return


def _is_asynchronous() -> bool:
    """Whether this runs for an asynchronous session, in a greenlet."""
    try:
        from sqlalchemy.util.concurrency import in_greenlet  # noqa: PLC0415 - needs greenlet

        return in_greenlet()
    except ImportError:  # without greenlet there are none
        return False


def unique_keys(table: Table) -> set[frozenset[Column[Any]]]:
    """Return the sets of columns that are unique in *table* for all rows."""
    constraints = [
        c for c in table.constraints if isinstance(c, PrimaryKeyConstraint | UniqueConstraint)
    ]
    indexes = [i for i in table.indexes if i.unique and not _is_partial(i)]
    found = [frozenset(item.columns) for item in (*constraints, *indexes)]
    return {columns for columns in found if columns}


def _is_partial(index: Any) -> bool:
    options = index.dialect_options
    is_plain = all(isinstance(expression, Column) for expression in index.expressions)
    return not is_plain or any(options[name].get("where") is not None for name in options)
