"""Find the values that lose something when the type of their column changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnClause, and_, cast, func, or_, types

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Dialect

Condition = Callable[[ColumnClause[Any]], Any]
"""Makes of a column the condition that its rows meet."""

INTEGERS = {
    "TINYINT": 8,
    "SMALLINT": 16,
    "SMALL_INTEGER": 16,
    "MEDIUMINT": 24,
    "INTEGER": 32,
    "BIGINT": 64,
    "BIG_INTEGER": 64,
}
"""The bits of SQLAlchemy's integer types."""


def plain(type_: Any, dialect: Dialect) -> types.TypeEngine[Any]:
    """Return the type as the server has it, without decorators and variants."""
    found: Any = types.to_instance(type_)
    for _ in range(10):
        if isinstance(found, types.TypeDecorator):
            found = found.load_dialect_impl(dialect)
    impl = found.dialect_impl(dialect)
    return types.to_instance(impl.impl if isinstance(impl, types.TypeDecorator) else impl)


def unfit(old: Any, new: Any) -> Condition | None:
    """Return what a column meets whose value loses something on the way from *old* to *new*.

    Both are as :func:`plain` returns them. None where every value stays what it is.
    """
    if isinstance(new, types.Enum):
        members = list(new.enums)
        return lambda column: and_(
            column.is_not(None), cast(column, types.String(255)).not_in(members)
        )
    for family, sources, condition in FAMILIES:
        if isinstance(new, family) and isinstance(old, sources):
            return condition(old, new)
    is_same = old._type_affinity is new._type_affinity  # noqa: SLF001 - SQLAlchemy has no other word for it
    return None if is_same and not isinstance(new, types.NullType) else _any_value


def _any_value(column: ColumnClause[Any]) -> Any:
    return column.is_not(None)


def _nothing(old: Any, new: Any) -> Condition | None:
    return None


def _not_boolean(old: Any, new: Any) -> Condition | None:
    return lambda column: column.not_in([0, 1])


def _too_long(old: Any, new: Any) -> Condition | None:
    length, is_text = new.length, isinstance(old, types.String)
    before = old.length if is_text else None
    if length is None or (before is not None and before <= length):
        return None
    return lambda column: (
        func.char_length(column if is_text else cast(column, types.String(255))) > length
    )


def _out_of_range(old: Any, new: Any) -> Condition | None:
    low, high = _range(new)
    if isinstance(old, types.Integer):
        least, most = _range(old)
        return None if low <= least and most <= high else lambda c: or_(c < low, c > high)
    return lambda c: or_(c < low, c > high, c != func.round(c))


def _range(type_: Any) -> tuple[int, int]:
    bits = INTEGERS.get(str(type_.__visit_name__).upper(), 32)
    if getattr(type_, "unsigned", False):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _imprecise(old: Any, new: Any) -> Condition | None:
    precision, scale = new.precision, new.scale or 0
    if isinstance(new, types.Float) or precision is None:
        return None
    if isinstance(old, types.Numeric) and not isinstance(old, types.Float) and old.precision:
        had = old.scale or 0
        if had <= scale and old.precision - had <= precision - scale:
            return None
    limit = 10 ** (precision - scale)
    return lambda c: or_(func.abs(c) >= limit, c != func.round(c, scale))


FAMILIES: Sequence[tuple[Any, Any, Callable[[Any, Any], Condition | None]]] = (
    (types.String, object, _too_long),
    (types.Boolean, types.Boolean, _nothing),
    (types.Boolean, types.Integer, _not_boolean),
    (types.Integer, (types.Integer, types.Numeric), _out_of_range),
    (types.Integer, types.Boolean, _nothing),
    (types.Numeric, (types.Integer, types.Numeric, types.Boolean), _imprecise),
    (types.DateTime, (types.DateTime, types.Date), _nothing),
)
"""What a column becomes, what it was, and what makes the condition; the first that fits counts."""
