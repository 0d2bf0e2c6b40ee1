"""Exact decimals on SQLite, which has floating point only.

A double keeps every decimal of up to 15 digits, so that ``Numeric(10, 2)`` stays a number. What can
have more is kept as text, in a column whose collation compares numbers: ORDER BY, ``=``, ``<``,
DISTINCT, UNIQUE and indexes are exact. Arithmetic in SQL, ``sum()`` among it, is in doubles.
A program that does not know the collation can read such a column, but not sort it.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from itertools import repeat
from math import isfinite
from typing import TYPE_CHECKING, Any

from rxdb_dialects._values import DOUBLE, checking, double

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rxdb.dialect import Conversions

EXACT = 15
"""Digits that a double keeps of every decimal (IEEE 754; C's DBL_DIG)."""

TYPE = "DECIMAL_TEXT"
"""SQLite gives a column whose type has TEXT in its name the affinity of a text ("Datatypes",
3.1): NUMERIC would make a double of it."""

COLLATION = "rxdb_decimal"

OF_NUMBER = "rxdb_decimal_of"
"""The function that makes a decimal of a number in a JSON document: of a double, SQLite's CAST
leaves 15 digits, and it is written with up to 17."""

CONTEXT = Context(prec=1000, traps=[InvalidOperation])
"""What rounds: Python's own 28 digits are fewer than columns have."""


def keep_exact(dialect: Any) -> None:
    """Let columns keep decimals of any length."""
    import sqlalchemy as sa

    types: Any = type(dialect.type_compiler_instance)

    class TypeCompiler(types):  # type: ignore[misc]  # the class that this engine has
        def visit_NUMERIC(self, type_: Any, **options: Any) -> str:
            return self._exact(type_) or str(super().visit_NUMERIC(type_, **options))

        def visit_DECIMAL(self, type_: Any, **options: Any) -> str:
            return self._exact(type_) or str(super().visit_DECIMAL(type_, **options))

        def _exact(self, type_: Any) -> str:
            if not is_text(type_):
                return ""
            size = [str(n) for n in (type_.precision, type_.scale) if n is not None]
            return f"{TYPE}({', '.join(size)})" if size else TYPE

    class Exact(sa.Numeric):  # type: ignore[type-arg]  # generic in stubs only
        """Binds and reads decimals as :func:`bound` and :func:`read` say."""

        columns = many_decimals

        def bind_processor(self, dialect: Any) -> Any:
            step, limit, is_short = step_of(self), limit_of(self), has_short(self)
            return lambda value: bound(value, step, limit, is_short=is_short)

        def result_processor(self, dialect: Any, coltype: Any) -> Any:
            if not self.asdecimal:
                return lambda value: value if value is None else float(value)
            step = step_of(self)
            return lambda value: read(value, step)

    floats = checking(sa.Float, double, DOUBLE)
    ddl: Any = dialect.ddl_compiler

    class Compiler(ddl):  # type: ignore[misc]  # the class that this engine has
        def get_column_specification(self, column: Any, **options: Any) -> str:
            text: str = super().get_column_specification(column, **options)
            return f"{text} COLLATE {COLLATION}" if has_text(column.type, self.dialect) else text

    dialect.type_compiler_instance = dialect.type_compiler = TypeCompiler(dialect)
    dialect.ddl_compiler = Compiler
    dialect.colspecs = {**dialect.colspecs, sa.Numeric: Exact, sa.Float: floats}
    dialect.ischema_names = {**dialect.ischema_names, TYPE: sa.NUMERIC}


def is_text(type_: Any) -> bool:
    """Whether a Numeric may hold more digits than a double."""
    return bool(type_.asdecimal and (type_.precision is None or type_.precision > EXACT))


def has_short(type_: Any) -> bool:
    """Whether a Numeric never holds more digits than a double keeps."""
    return type_.precision is not None and type_.precision <= EXACT


def has_text(type_: Any, dialect: Any) -> bool:
    """Whether a column of this type holds decimals as text."""
    import sqlalchemy as sa

    while isinstance(type_, sa.TypeDecorator):
        type_ = type_.load_dialect_impl(dialect)
    is_numeric = isinstance(type_, sa.Numeric) and not isinstance(type_, sa.Float)
    return is_numeric and is_text(type_)


def step_of(type_: Any) -> Decimal | None:
    """Return the value of a Numeric's last digit; None where it has no end.

    A precision without a scale means whole numbers (the SQL standard, and every server).
    """
    if type_.precision is None:
        return None
    return Decimal(1).scaleb(-(type_.scale or 0))


def limit_of(type_: Any) -> Decimal | None:
    """Return what a Numeric's values are smaller than; None where there is no such limit."""
    if type_.precision is None:
        return None
    return Decimal(1).scaleb(type_.precision - (type_.scale or 0))


def bound(
    value: Any, step: Decimal | None, limit: Decimal | None, *, is_short: bool = False
) -> Any:
    """Return what is sent: a number, so that it can be compared with a calculated one, or a text
    for what no number of SQLite's keeps."""
    if value is None:
        return None
    exact = value if isinstance(value, Decimal) else Decimal(str(value))
    if not exact.is_finite():
        raise ValueError(f"{value} is no number that every database keeps.")
    exact = rounded(exact, step)
    if limit is not None and exact.copy_abs() >= limit:  # abs() rounds to 28 digits
        raise ValueError(f"{value} has more digits than its column.")
    if not is_short and has_many_digits(exact):
        return format(exact, "f")
    as_float = float(exact)
    return int(as_float) if as_float.is_integer() and abs(as_float) < WHOLE else as_float


def of_number(value: Any, scale: int | None) -> Any:
    """Return what is sent for the decimal that a number is, as :func:`bound` does."""
    if not isinstance(value, int | float):
        return value
    return bound(Decimal(str(value)), None if scale is None else Decimal(1).scaleb(-scale), None)


def has_many_digits(value: Decimal) -> bool:
    """Whether a double does not keep a decimal, whatever zeros end it."""
    digits = value.as_tuple().digits
    while len(digits) > 1 and digits[-1] == 0:
        digits = digits[:-1]
    return len(digits) > EXACT


def many_decimals(type_: Any) -> Conversions:
    """Return what does for many short decimals what :func:`bound` does for each of them."""
    if not has_short(type_):
        return {}
    step: Any = step_of(type_)
    most = float(limit_of(type_) or 0)

    def decimals(values: Sequence[Decimal]) -> list[float]:
        rounded = map(
            Decimal.quantize, values, repeat(step), repeat(ROUND_HALF_UP), repeat(CONTEXT)
        )
        found = list(map(float, rounded))  # as good as the decimals, and compared in no time
        if not (isfinite(sum(found)) and -most < min(found) and max(found) < most):
            raise ValueError("One of them does not fit its column.")
        return [int(n) if n.is_integer() else n for n in found]

    return {Decimal: decimals}


WHOLE = 10**EXACT
"""Below it every whole number is a double, and is written without a point or an exponent."""


def read(value: Any, step: Decimal | None) -> Decimal | None:
    """Return the decimal that a column or a calculation holds."""
    if value is None:
        return None
    exact = Decimal(repr(value) if isinstance(value, float) else str(value))
    return rounded(exact, step)


def rounded(value: Decimal, step: Decimal | None) -> Decimal:
    """Return *value* with as many places as *step*, half up as PostgreSQL and MySQL round."""
    if step is None:
        return value
    return value.quantize(step, ROUND_HALF_UP, CONTEXT)


def compare(one: str, other: str) -> int:
    """Say which of two texts is the greater number."""
    a, b = place(one), place(other)
    return (a > b) - (a < b)


def place(text: str) -> tuple[bool, Decimal, str]:
    """Return where a text stands among others: what is no number comes after all numbers."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return True, Decimal(0), text
    return (False, number, "") if number.is_finite() else (True, Decimal(0), text)
