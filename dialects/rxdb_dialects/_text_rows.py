"""Rows as text for COPY and LOAD DATA: tabs between values, a line for each row, ``\\N`` for NULL.

A column is written by one pass over its values, chosen by their type. Both servers read the same
text (PostgreSQL manual, "COPY", Text Format; MySQL manual, "LOAD DATA Statement"). It is made in
pieces while the server reads the piece before: writing and reading take turns on no core.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from functools import partial
from itertools import repeat
from operator import add, attrgetter, is_
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from rxdb.dialect import Rows

    Format = Callable[[Sequence[Any]], Iterable[str]]
    Send = Callable[[Any, str], None]

ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
NULL = "\\N"

PIECE = 500
"""Rows that are written at once: some ten kilobytes, so that the server starts soon."""

SEND = "rxdb_send"
"""The execution option with what executes a statement."""


def each(write: Callable[[Any], str]) -> Format:
    """Write each value by itself."""
    return partial(map, write)


def naive(values: Sequence[dt.datetime]) -> Iterator[dt.datetime]:
    """Leave out the zones: a fifth of the time that ``replace(tzinfo=None)`` takes."""
    return map(dt.datetime.combine, values, map(dt.datetime.time, values))


def instants(values: Sequence[dt.datetime]) -> Iterable[str]:
    """Write datetimes as ``str`` does, which asks the zone of each for its offset."""
    if not all(map(is_, map(attrgetter("tzinfo"), values), repeat(dt.UTC))):
        return map(str, values)
    return map(add, without_zone(values), repeat("+00:00"))


def without_zone(values: Sequence[dt.datetime]) -> Iterator[str]:
    """Write datetimes as they are on their clocks."""
    return map(dt.datetime.isoformat, naive(values), repeat(" "))


FORMATS: Mapping[type, Format] = {
    int: each(str),
    float: each(repr),
    Decimal: each(str),
    dt.date: each(str),
    dt.datetime: instants,
    dt.time: each(str),
    UUID: each(str),
}
"""How values of a type are written, on every server; texts are :func:`texts`."""

NUMBERS = {int, float, Decimal}
"""What a column may hold side by side."""


def texts(values: Sequence[str | None]) -> Format | None:
    """Return how texts are written; most columns have none of what has a meaning between values.

    None where no server takes them, which the driver says in its own words: NUL, lone surrogates.
    """
    whole = "".join(filter(None, values))
    if "\0" in whole:
        return None
    if not whole.isascii():
        try:
            whole.encode()
        except UnicodeEncodeError:
            return None
    if any(character in whole for character in "\\\t\n\r"):
        return lambda values: [value.translate(ESCAPES) for value in values]
    return iter


def format_of(
    values: Sequence[Any], kinds: frozenset[type], formats: Mapping[type, Format]
) -> Format | None:
    """Return how a column is written, or None where a value has a type that has no format."""
    has_null = type(None) in kinds
    kinds = kinds - {type(None)}
    if kinds == {str}:
        found = texts(values)
    elif len(kinds) > 1:
        found = each(str) if kinds <= NUMBERS else None
    else:
        found = formats.get(*kinds) if kinds else iter
    return nullable(found) if found and has_null else found


def nullable(format_: Format) -> Format:
    """Write NULL between what *format_* writes."""

    def write(values: Sequence[Any]) -> list[str]:
        known = iter(format_([value for value in values if value is not None]))
        return [NULL if value is None else next(known) for value in values]

    return write


def write(rows: Rows, formats: Iterable[Mapping[type, Format]]) -> Iterator[bytes] | None:
    """Return all rows as text, in pieces, or None where a value has no format.

    *formats* are those of each column.
    """
    found = formats_of(rows, formats)
    return None if found is None else _pieces(rows, found)


def formats_of(rows: Rows, formats: Iterable[Mapping[type, Format]]) -> list[Format] | None:
    """Return how each column is written, or None where a value has no format."""
    columns = zip(rows.values, rows.kinds, formats, strict=True)
    found = [format_of(values, kinds, known) for values, kinds, known in columns]
    known_ones = [one for one in found if one is not None]
    return known_ones if len(known_ones) == len(found) else None


def _pieces(rows: Rows, formats: Sequence[Format]) -> Iterator[bytes]:
    for start in range(0, len(rows), PIECE):
        yield lines([values[start : start + PIECE] for values in rows.values], formats)


def lines(columns: Sequence[Sequence[Any]], formats: Sequence[Format]) -> bytes:
    """Return rows as text, with each column in its format."""
    written = [format_(values) for values, format_ in zip(columns, formats, strict=True)]
    return ("\n".join(map("\t".join, zip(*written, strict=True))) + "\n").encode()


def execute(connection: Connection, statement: str, send: Send) -> None:
    """Let *send* execute a statement with the cursor and the text that it is given.

    For SQLAlchemy that is a statement as any other: what watches an engine sees it, and an error
    of the driver comes out as SQLAlchemy's.
    """
    dialect: Any = connection.dialect
    if not hasattr(dialect, SEND):
        usual = dialect.do_execute_no_params

        def do_execute_no_params(cursor: Any, statement: str, context: Any = None) -> None:
            (context.execution_options.get(SEND) or usual)(cursor, statement)

        dialect.do_execute_no_params = do_execute_no_params
        setattr(dialect, SEND, True)
    connection.exec_driver_sql(statement, execution_options={"no_parameters": True, SEND: send})
