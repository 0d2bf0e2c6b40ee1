"""Rows as text for COPY and LOAD DATA: tabs between values, a line for each row, ``\\N`` for NULL.

A column is written by one pass over its values, chosen by their type. Both servers read the same
text (PostgreSQL manual, "COPY", Text Format; MySQL manual, "LOAD DATA Statement").
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Format = Callable[[Sequence[Any]], Iterable[str]]

ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
NULL = "\\N"


def texts(values: Sequence[str]) -> Iterable[str]:
    """Escape what has a meaning between values; most columns have none of it."""
    whole = "".join(values)
    if not any(character in whole for character in "\\\t\n\r"):
        return values
    return [value.translate(ESCAPES) for value in values]


def each(write: Callable[[Any], str]) -> Format:
    """Write each value by itself."""
    return lambda values: list(map(write, values))


FORMATS: Mapping[type, Format] = {
    str: texts,
    int: each(str),
    float: each(repr),
    Decimal: each(str),
    dt.date: each(str),
    dt.datetime: each(str),
    dt.time: each(str),
    UUID: each(str),
}
"""How values of a type are written, on every server."""


def write(
    columns: Iterable[tuple[Sequence[Any], Mapping[type, Format]]],
) -> bytes | None:
    """Return all rows as text, or None where a value has a type that has no format.

    Each column comes with the formats of its values.
    """
    written: list[Iterable[str]] = []
    for values, formats in columns:
        kinds = set(map(type, values))
        has_null = type(None) in kinds
        kinds.discard(type(None))
        if not kinds:
            written.append([NULL] * len(values))
            continue
        if len(kinds) > 1 or (format_ := formats.get(kinds.pop())) is None:
            return None
        if not has_null:
            written.append(format_(values))
            continue
        known = iter(format_([value for value in values if value is not None]))
        written.append([NULL if value is None else next(known) for value in values])
    lines = map("\t".join, zip(*written, strict=True))
    try:
        return ("\n".join(lines) + "\n").encode()
    except UnicodeEncodeError:  # a lone surrogate: the driver says so in its own words
        return None
