"""Values that each backend would keep in its own way, or not at all: refused before they are sent.

"Not a number" is NULL in one, a number that equals itself in another, and an unknown column in the
text that a third one's driver sends. None keeps the zone of a time.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from math import isfinite
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.types import TypeEngine

    from rxdb.dialect import Conversions


def whole(value: Any) -> Any:
    """Return a value for a column of whole numbers: some round, and some keep the fraction."""
    if type(value) is int or not isinstance(value, int | float | Decimal):
        return value
    if not (isinstance(value, int) or (is_finite(value) and value == int(value))):
        raise ValueError(f"{value!r} is no whole number.")
    return int(value)


def exact(value: Any) -> Any:
    """Return a value for a column of decimals."""
    if isinstance(value, float | Decimal) and not is_finite(value):
        raise ValueError(f"{value!r} is no number that every database keeps.")
    return value


def double(value: Any) -> Any:
    """Return a value for a column of floats."""
    found = float(value) if isinstance(value, int | Decimal) else value
    if isinstance(found, float) and not isfinite(found):
        raise ValueError(f"{value!r} is no number that every database keeps.")
    return found


def clock(value: Any) -> Any:
    """Return a value for a column of times."""
    if isinstance(value, dt.time) and value.tzinfo is not None:
        raise ValueError(f"{value!r} has a time zone, which no database keeps with a time.")
    return value


def is_finite(value: float | Decimal) -> bool:
    """Whether a value is a number: of a long decimal, ``math.isfinite`` would make an infinite
    float."""
    return value.is_finite() if isinstance(value, Decimal) else isfinite(value)


def as_they_are(values: Sequence[Any]) -> Sequence[Any]:
    """Take all of a type."""
    return values


def only(test: Callable[[Any], bool]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Take many values that pass a test in C, which is a tenth of a call for each of them."""

    def checked(values: Sequence[Any]) -> Sequence[Any]:
        if not all(map(test, values)):
            raise ValueError("One of them is refused.")
        return values

    return checked


def clocks(values: Sequence[dt.time]) -> Sequence[dt.time]:
    """Take times without a zone."""
    if any(map(attrgetter("tzinfo"), values)):
        raise ValueError("One of them has a time zone.")
    return values


finite_floats = only(isfinite)
finite_decimals = only(Decimal.is_finite)

WHOLE: Conversions = {int: as_they_are}
EXACT: Conversions = {Decimal: finite_decimals, int: as_they_are}
DOUBLE: Conversions = {float: finite_floats}
CLOCK: Conversions = {dt.time: clocks}


def refuse_odd_numbers(dialect: Any) -> None:
    """Refuse what is no finite number in columns of numbers."""
    import sqlalchemy as sa

    refuse_odd_whole_numbers(dialect)
    add(dialect, {sa.Numeric: (exact, EXACT), sa.Float: (double, DOUBLE)})
    if sa.Double in dialect.colspecs:
        add(dialect, {sa.Double: (double, DOUBLE)})


def refuse_odd_whole_numbers(dialect: Any) -> None:
    """Refuse what is no whole number in columns of those, and a time with a zone."""
    import sqlalchemy as sa

    kinds = (sa.Integer, sa.BigInteger, sa.SmallInteger)
    add(dialect, {**dict.fromkeys(kinds, (whole, WHOLE)), sa.Time: (clock, CLOCK)})


def add(dialect: Any, checks: Any) -> None:
    """Let the backend's types check values first."""
    specs = dict(dialect.colspecs)
    specs |= {kind: checking(specs.get(kind, kind), *check) for kind, check in checks.items()}
    dialect.colspecs = specs


def checking(usual: Any, check: Callable[[Any], Any], many: Conversions) -> Any:
    """Return a type that does what the usual one does, after the check."""

    class Checking(usual):  # type: ignore[misc]  # the class that this engine has
        def bind_processor(self, dialect: Any) -> Any:
            bind = super().bind_processor(dialect)
            if getattr(self, "timezone", False):  # Time(timezone=True), where a server has that
                return bind
            return check if bind is None else lambda value: bind(check(value))

        def columns(self) -> Conversions:
            return many

    Checking.__name__ = Checking.__qualname__ = usual.__name__
    return Checking


def bind_columns(type_: TypeEngine[Any], dialect: Any) -> Conversions:
    """Return what does for many values what a type does for each of them."""
    found: Any = type_.dialect_impl(dialect)
    conversions: Conversions = found.columns() if hasattr(found, "columns") else {}
    return conversions
