"""Arithmetic with moments on SQLite, which keeps them as texts.

Its own functions for dates end at milliseconds, so these are Python's. What is beyond the years 1
to 9999 is an :class:`OverflowError`, for which SQLite says that a value is too big.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

COUNT = "rxdb_microseconds"
MOMENT = "rxdb_moment"
DAY = "rxdb_day"
WHOLE_DAYS = "rxdb_whole_days"
PRODUCT = "rxdb_product"
TOTAL = {"sum": "rxdb_sum", "avg": "rxdb_avg"}

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - texts have no time zone; it is UTC
MICROSECOND = timedelta(microseconds=1)
A_DAY = 86_400_000_000


def keep_meaning(dialect: Any) -> None:
    """Let the dialect of one engine write arithmetic with moments."""
    from sqlalchemy.sql import operators

    from rxdb import moments

    class Compiler(moments.Counted):
        def count(self, moment: str) -> str:
            return f"{COUNT}({moment})"

        def moment(self, count: str) -> str:
            return f"{MOMENT}({count})"

        def day(self, count: str) -> str:
            return f"{DAY}({count})"

        def whole_days(self, count: str) -> str:
            return f"{WHOLE_DAYS}({count})"

        def product(self, count: str, number: str, *, is_whole: bool) -> str:
            return f"{PRODUCT}({count}, {number})"

        def visit_binary(self, binary: Any, *arguments: Any, **options: Any) -> str:
            """Compare a date with a moment as the one at its beginning; as texts they would be
            compared letter by letter."""
            if operators.is_comparison(binary.operator):
                binary = compared(binary)
            return super().visit_binary(binary, *arguments, **options)

        def _added(self, func: Any, **options: Any) -> str:
            return f"{TOTAL[func.name.lower()]}{self.function_argspec(func, **options)}"

    moments.calculate(dialect, Compiler)


def compared(binary: Any) -> Any:
    """Return a comparison in which a date is a moment where another side is one."""
    from sqlalchemy.sql import elements

    from rxdb.moments import Kind, kind_of

    several = isinstance(binary.right, elements.ExpressionClauseList)
    sides = [binary.left, *(binary.right.clauses if several else [binary.right])]
    kinds = list(map(kind_of, sides))
    if not {Kind.DAY, Kind.MOMENT} <= set(kinds):
        return binary
    left, *right = (
        begun(side) if kind is Kind.DAY else side for side, kind in zip(sides, kinds, strict=True)
    )
    changed = binary._clone()  # noqa: SLF001 - as SQLAlchemy's own compilers change one
    changed.left, changed.right = left, right[0]
    if several:
        changed.right = binary.right._clone()  # noqa: SLF001 - as SQLAlchemy's own compilers do
        changed.right.clauses = tuple(right)
    return changed


def begun(day: Any) -> Any:
    """Return the moment at which a date begins."""
    import sqlalchemy as sa

    return sa.Function(MOMENT, sa.Function(COUNT, day), type_=sa.DateTime())


def teach(connection: Any) -> None:
    """Give a connection of :mod:`sqlite3` the functions."""
    functions = {COUNT: count, MOMENT: moment, DAY: day, WHOLE_DAYS: whole_days}
    for name, function in functions.items():
        connection.create_function(name, 1, function, deterministic=True)
    connection.create_function(PRODUCT, 2, product, deterministic=True)
    connection.create_window_function(TOTAL["sum"], 1, Sum)
    connection.create_window_function(TOTAL["avg"], 1, Average)


def count(text: str | None) -> int | None:
    """Return the microseconds from the beginning of 1970 to a moment or a date."""
    if text is None:
        return None
    found = datetime.fromisoformat(text)
    if found.tzinfo:  # another program wrote it
        found = found.astimezone(UTC).replace(tzinfo=None)
    return (found - EPOCH) // MICROSECOND


def moment(number: int | None) -> str | None:
    """Return a moment as columns keep it."""
    if number is None:
        return None
    return (EPOCH + timedelta(microseconds=whole(number))).isoformat(" ", "microseconds")


def day(number: int | None) -> str | None:
    """Return a date as columns keep it."""
    found = moment(number)
    return None if found is None else found[: len(date.min.isoformat())]


def whole_days(number: int | None) -> int | None:
    """Return the microseconds of whole days, as many as Python counts: -1 in minus one hour."""
    return None if number is None else whole(number) // A_DAY * A_DAY


def product(number: int | None, factor: float | str | None) -> int | None:
    """Return microseconds times a number, which is a text where it is a long decimal."""
    if number is None or factor is None:
        return None
    return round(whole(number) * Fraction(factor))


def whole(number: float) -> int:
    """Return a number that is whole: SQLite makes a float of one with more than 64 bits."""
    if isinstance(number, int):
        return number
    raise OverflowError


class Sum:
    """The sum of timedeltas, also in a window; NULL of none."""

    def __init__(self) -> None:
        self.total = self.rows = 0

    def step(self, text: str | None) -> None:
        """Take one more."""
        self._add(count(text), 1)

    def inverse(self, text: str | None) -> None:
        """Take one that has left the window."""
        self._add(count(text), -1)

    def _add(self, number: int | None, sign: int) -> None:
        if number is not None:
            self.total += sign * number
            self.rows += sign

    def value(self) -> str | None:
        """Return the sum of those in the window."""
        return moment(self.total) if self.rows else None

    def finalize(self) -> str | None:
        """Return the sum of all."""
        return self.value()


class Average(Sum):
    """The average of timedeltas, rounded to microseconds."""

    def value(self) -> str | None:
        """Return the average of those in the window."""
        return moment(round(Fraction(self.total, self.rows))) if self.rows else None
