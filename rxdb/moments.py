"""Arithmetic with datetimes, dates and timedeltas that means on each backend what it means in
Python: a column ± a timedelta, the time between two, sums and averages.

SQLAlchemy hands ``+``, ``-`` and ``*`` to the database as they stand, also where a database adds
other things than moments. Here the compiler of statements looks at what stands on both sides: what
has one meaning is written so that it has it, and all else is refused when the statement is
compiled. A backend takes one of the two compilers in its ``keep_meaning``: :class:`Native` where
it has timedeltas, :class:`Counted` where rxdb counts microseconds for it.
"""

from __future__ import annotations

import datetime as dt
import operator
from enum import Enum
from functools import reduce
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import CompileError
from sqlalchemy.sql import elements, functions, operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = [
    "Counted",
    "Kind",
    "Native",
    "Totalling",
    "UTCDateTime",
    "Unwritten",
    "calculate",
    "kind_of",
]


class UTCDateTime(TypeDecorator[dt.datetime]):
    """What SQLModel calls so from 0.0.45 on: an aware datetime goes in, UTC comes out."""

    impl = sa.DateTime
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(timezone=True)

    def __repr__(self) -> str:
        return "UTCDateTime()"

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """Let a timedelta be one."""
        return sa.Interval() if isinstance(value, dt.timedelta) else self

    def process_bind_param(self, value: dt.datetime | None, dialect: Any) -> Any:
        """Return a moment in UTC."""
        if value is not None and value.utcoffset() is None:
            raise ValueError(f"{value!r} has no time zone. Write: datetime.now(timezone.utc)")
        return value and value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: Any) -> Any:
        """Return a moment in UTC."""
        if value is not None and value.utcoffset() is None:
            return value.replace(tzinfo=dt.UTC)  # from a server without time zones
        return value and value.astimezone(dt.UTC)


if hasattr(operators, "OperatorClass"):
    # SQLAlchemy 2.1 knows the type of a timedelta times a number, and warns of the multiplication.
    both = operators.OperatorClass.DATETIME | operators.OperatorClass.MATH
    sa.Interval.operator_classes = both


class Kind(Enum):
    """What an expression is, for the arithmetic of moments."""

    MOMENT = "a datetime"
    DAY = "a date"
    TIME = "a time"
    SPAN = "a timedelta"
    NUMBER = "a number"


TYPES: dict[Any, Kind] = {
    sa.DateTime: Kind.MOMENT,
    sa.Date: Kind.DAY,
    sa.Time: Kind.TIME,
    sa.Interval: Kind.SPAN,
    sa.Integer: Kind.NUMBER,
    sa.Numeric: Kind.NUMBER,
    sa.Float: Kind.NUMBER,
}

MOMENT, DAY, TIME, SPAN, NUMBER = Kind
OF_TIME = {MOMENT, DAY, TIME, SPAN}

ADD, SUB, MUL = operator.add, operator.sub, operator.mul
SIGNS: dict[Any, str] = {
    ADD: "+",
    SUB: "-",
    MUL: "*",
    operator.truediv: "/",
    operators.floordiv: "//",
    operator.mod: "%",
}

MEANINGS = {
    (MOMENT, ADD, SPAN): MOMENT,
    (SPAN, ADD, MOMENT): MOMENT,
    (MOMENT, SUB, SPAN): MOMENT,
    (MOMENT, SUB, MOMENT): SPAN,
    (DAY, ADD, SPAN): DAY,
    (SPAN, ADD, DAY): DAY,
    (DAY, SUB, SPAN): DAY,
    (DAY, SUB, DAY): SPAN,
    (SPAN, ADD, SPAN): SPAN,
    (SPAN, SUB, SPAN): SPAN,
    (SPAN, MUL, NUMBER): SPAN,
    (NUMBER, MUL, SPAN): SPAN,
}
"""What Python gives a meaning. A date takes the whole days of a timedelta, as Python's does."""

CHOOSING = frozenset(
    {"any_value", "coalesce", "first_value", "greatest", "ifnull", "lag", "last_value", "lead"}
    | {"least", "max", "min", "nth_value", "nullif"}
)
"""Functions whose result is one of their arguments."""

ADDING = frozenset({"avg", "sum"})
COUNTING = frozenset({"count", "cume_dist", "dense_rank", "ntile", "percent_rank", "rank"})
CLOCKS = frozenset({"now", "current_timestamp"})


def kind_of(expression: Any) -> Kind | None:
    """Return what an expression is; None for what has nothing to do with moments, or is unknown.

    SQLAlchemy's own type of it is another where that of ``date - date`` is a whole number, and
    where it knows none for ``avg()``.
    """
    found = inner(expression)
    if isinstance(found, elements.BinaryExpression) and found.operator in SIGNS:
        sides = kind_of(found.left), found.operator, kind_of(found.right)
        if sides in MEANINGS:
            return MEANINGS[sides]
    elif choices := choices_of(found):
        return next(filter(None, map(kind_of, choices)), None)
    type_ = getattr(found, "type", None)
    return TYPES.get(type_._type_affinity) if type_ is not None else None  # noqa: SLF001 - SQLAlchemy tells it nowhere else


def choices_of(expression: Any) -> list[Any]:
    """Return what one is chosen from, or what is added up, by a function or CASE."""
    if isinstance(expression, elements.Case):
        results = [result for _, result in expression.whens]
        return results if expression.else_ is None else [*results, expression.else_]
    is_function = isinstance(expression, functions.FunctionElement)
    name = getattr(expression, "name", "") if is_function else ""
    return list(expression.clauses) if name.lower() in CHOOSING | ADDING else []


WRAPPERS: dict[Any, str] = {
    elements.Grouping: "element",
    elements.Label: "element",
    elements.Over: "element",
    elements.WithinGroup: "element",
    elements.FunctionFilter: "func",
}
"""What is of the kind of what stands in it."""


def inner(expression: Any) -> Any:
    """Return what stands in parentheses, behind a label, or in a query that a column comes from."""
    name = next((name for kind, name in WRAPPERS.items() if isinstance(expression, kind)), "")
    if name:
        return inner(getattr(expression, name))
    if is_chain(expression):
        return folded(expression)
    if isinstance(expression, elements.UnaryExpression):
        is_same = expression.operator in {operators.neg, operators.distinct_op}
        return inner(expression.element) if is_same else expression
    if isinstance(expression, sa.ScalarSelect):
        (column,) = expression.element.selected_columns
        return inner(column)
    if getattr(expression, "_proxies", None):
        root = next(iter(expression.base_columns))
        return expression if root is expression else inner(root)
    return expression


def is_chain(expression: Any) -> bool:
    """Whether an expression is ``a + b + c`` or ``a * b * c``, which SQLAlchemy keeps as a list."""
    is_list = isinstance(expression, elements.ExpressionClauseList)
    return is_list and expression.operator in SIGNS


def folded(chain: Any) -> Any:
    """Return a chain as pairs, with a date first: the whole days of each timedelta are added."""
    parts = sorted(chain.clauses, key=lambda part: kind_of(part) is not DAY)
    return reduce(lambda a, b: elements.BinaryExpression(a, b, chain.operator, chain.type), parts)


def is_clock(expression: Any) -> bool:
    """Whether a moment comes from Python or from the server's clock: SQLAlchemy takes it for one
    without a time zone."""
    found = inner(expression)
    if isinstance(found, elements.BinaryExpression):
        sides = [side for side in (found.left, found.right) if kind_of(side) is not SPAN]
        return found.operator in SIGNS and all(map(is_clock, sides))
    if choices := choices_of(found):
        return all(is_clock(choice) for choice in choices if kind_of(choice) is MOMENT)
    if kind_of(found) is not MOMENT or isinstance(found.type, TypeDecorator):
        return False
    name = getattr(found, "name", "") if isinstance(found, functions.FunctionElement) else ""
    return isinstance(found, elements.BindParameter) or name.lower() in CLOCKS


def is_said(expression: Any) -> bool:
    """Whether an expression is SQL that the user wrote."""
    found = inner(expression)
    return isinstance(found, sa.TextClause) or bool(getattr(found, "is_literal", False))


def result_type(expression: Any, type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type that reads an expression, which SQLAlchemy takes to be of *type_*."""
    kind = kind_of(expression)
    if kind is TYPES.get(type_._type_affinity):  # noqa: SLF001 - as SQLAlchemy's own dialects
        found = inner(expression)
        is_made = isinstance(found, elements.BinaryExpression) or choices_of(found)
        return UTCDateTime() if kind is MOMENT and is_made and is_clock(found) else type_
    return sa.Interval() if kind is SPAN else sa.Date() if kind is DAY else type_


def refuse(what: str, instead: str) -> CompileError:
    """Return the error for what has no meaning."""
    return CompileError(f"{what} has no meaning that is the same on each database. {instead}")


def instead_of(left: Kind | None, sign: str, right: Kind | None) -> str:
    """Say what to write."""
    sides = {left, right}
    if None in sides:
        return (
            "Say of which type the other side is: "
            "sqlalchemy.type_coerce(…, sqlalchemy.Interval()), or rxdb.UTCDateTime() in its place."
        )
    if TIME in sides:
        return "Calculate in Python, or keep a datetime or a timedelta."
    if sides == {SPAN} or (left is SPAN and sign in {"/", "//", "%"}):
        return "Multiply by a number, such as column * 0.5, or calculate in Python."
    if NUMBER in sides:
        return "Write the number as a timedelta: timedelta(days=1), or number * timedelta(days=1)."
    if sides == {MOMENT, DAY}:
        return "Have two datetimes or two dates: datetime.combine(day, time(), timezone.utc)."
    return "Add or subtract a timedelta, or subtract one from another of its type."


class Native(SQLCompiler):
    """Compiles statements for a backend that has timedeltas and adds them to moments."""

    has_timedeltas = True

    adds_timedeltas = True
    """Whether ``sum()`` and ``avg()`` take them."""

    def visit_binary(self, binary: Any, *arguments: Any, **options: Any) -> str:
        """Write arithmetic in its one meaning, or refuse it."""
        sign = SIGNS.get(binary.operator)
        is_text = binary.operator is operators.concat_op and not self.has_timedeltas
        if sign is None and not is_text and not operators.is_comparison(binary.operator):
            return super().visit_binary(binary, *arguments, **options)  # type: ignore[no-untyped-call, no-any-return]
        left, right = kind_of(binary.left), kind_of(binary.right)
        if not OF_TIME & {left, right}:
            return super().visit_binary(binary, *arguments, **options)  # type: ignore[no-untyped-call, no-any-return]
        if is_text and SPAN in {left, right}:
            raise refuse("A timedelta in a text", "Select it, and make the text in Python.")
        binary = with_zones(binary, left, right)
        if sign is None:
            bounds = getattr(binary.right, "clauses", ()) if right is None else ()
            for other in (right, *map(kind_of, bounds)):
                if not (SPAN in {left, other} and left and other and left is not other):
                    continue
                raise refuse(
                    f"To compare {left.value} with {other.value}",
                    "Compare a timedelta with a timedelta: column < timedelta(seconds=1).",
                )
            return super().visit_binary(binary, *arguments, **options)  # type: ignore[no-untyped-call, no-any-return]
        meaning = MEANINGS.get((left, binary.operator, right))  # type: ignore[arg-type]  # None is in no key
        if meaning:
            return self._calculate(meaning, binary, left, right, **options)
        unknown = binary.right if left else binary.left
        if None in {left, right} and (self.has_timedeltas or is_said(unknown)):
            return super().visit_binary(binary, *arguments, **options)  # type: ignore[no-untyped-call, no-any-return]
        names = [kind.value if kind else "an expression of no known type" for kind in (left, right)]
        raise refuse(f"{names[0]} {sign} {names[1]}".capitalize(), instead_of(left, sign, right))

    def visit_expression_clauselist(self, clauselist: Any, **options: Any) -> str:
        """Write a chain as pairs where it is one of moments."""
        if is_chain(clauselist) and OF_TIME & set(map(kind_of, clauselist.clauses)):
            return self.visit_binary(folded(clauselist), **options)
        return super().visit_expression_clauselist(clauselist, **options)  # type: ignore[no-untyped-call, no-any-return]

    def visit_unary(self, unary: Any, *arguments: Any, **options: Any) -> str:
        """Write a negated timedelta, and refuse another negation."""
        kind = kind_of(unary.element) if unary.operator is operators.neg else None
        if kind in OF_TIME - {SPAN}:
            raise refuse(f"Minus {kind.value}", instead_of(kind, "-", kind))
        if kind is SPAN and not self.has_timedeltas:
            if add := options.get("add_to_result_map"):  # no label does, in SQLAlchemy 2.0
                add("minus", "minus", (unary, *options.get("result_map_targets", ())), unary.type)
            return self._negated(unary, **without_results(options))
        return super().visit_unary(unary, *arguments, **options)  # type: ignore[no-untyped-call, no-any-return]

    def visit_function(self, func: Any, *arguments: Any, **options: Any) -> str:
        """Refuse the sum of what has none."""
        kind = kind_of(func) if func.name.lower() in ADDING else None
        if kind in OF_TIME - {SPAN}:
            raise refuse(f"{func.name}() of {kind.value}", "Use min() or max().")
        if kind is SPAN and not self.adds_timedeltas:
            return self._added(func, **options | {"within_aggregate_function": True})
        return super().visit_function(func, *arguments, **options)

    def _calculate(
        self, meaning: Kind, binary: Any, left: Kind | None, right: Kind | None, **options: Any
    ) -> str:
        """Write an expression that has a meaning; here the server's own is the same but for
        dates."""
        if DAY not in {left, right}:
            return super().visit_binary(binary, **options)  # type: ignore[no-untyped-call, no-any-return]
        options = without_results(options)
        sides = binary.left, binary.right
        one, other = (self.process(side, **options) for side in sides)
        if meaning is SPAN:
            return f"(({one} - {other}) * INTERVAL '1 day')"
        day, span = (one, other) if left is DAY else (other, one)
        return f"({day} {SIGNS[binary.operator]} {self._whole_days(span)})"

    def _added(self, func: Any, **options: Any) -> str:
        """Return the sum or the average of timedeltas, for a backend that cannot add them."""
        raise NotImplementedError

    def _negated(self, unary: Any, **options: Any) -> str:
        """Return a timedelta with the other sign, for a backend that has no timedeltas."""
        raise NotImplementedError

    def _whole_days(self, span: str) -> str:
        """Return the days of a timedelta, as Python counts them: -1 of minus one hour."""
        return f"CAST(floor(EXTRACT(EPOCH FROM {span}) / 86400) AS INTEGER)"

    def _label_select_column(self, select: Any, column: Any, *args: Any, **options: Any) -> Any:
        before, self._read = getattr(self, "_read", None), column
        try:
            return super()._label_select_column(select, column, *args, **options)  # type: ignore[no-untyped-call]  # SQLAlchemy's has no types
        finally:
            self._read = before

    def _add_to_result_map(self, keyname: str, name: str, objects: Any, type_: Any) -> None:
        """Let what is read be of the type that it is."""
        read = getattr(self, "_read", None)
        found = type_ if read is None else result_type(read, type_)
        super()._add_to_result_map(keyname, name, objects, found)


def without_results(options: dict[str, Any]) -> dict[str, Any]:
    """Return options for a part of an expression, which is no column of the result."""
    left_out = {"add_to_result_map", "result_map_targets", "within_columns_clause"}
    return {name: value for name, value in options.items() if name not in left_out}


def with_zones(binary: Any, left: Kind | None, right: Kind | None) -> Any:
    """Give Python's datetimes a time zone where no column says that they have none: SQLAlchemy
    would send the hour of any zone as it stands."""
    moments = [s for s, kind in ((binary.left, left), (binary.right, right)) if kind is MOMENT]
    if not moments or not all(map(is_clock, moments)):
        return binary
    changed = binary._clone()  # noqa: SLF001 - as SQLAlchemy's own compilers change an expression
    for name in ("left", "right"):
        side = getattr(binary, name)
        if isinstance(side, elements.BindParameter) and side in moments:
            setattr(changed, name, side._with_binary_element_type(UTCDateTime()))  # noqa: SLF001 - as SQLAlchemy's own compilers do
    return changed


class Counted(Native):
    """Compiles statements for a backend that keeps a timedelta as a moment, as SQLAlchemy's
    ``Interval`` does: so long after the beginning of 1970.

    Arithmetic is done in whole microseconds since then. Each expression is a moment again, so that
    it can be compared with a column, and chosen from by CASE. What a subclass writes gets and
    returns SQL.
    """

    has_timedeltas = False
    adds_timedeltas = False

    def count(self, moment: str) -> str:
        """Return the microseconds from the beginning of 1970 to a moment or a date."""
        raise NotImplementedError

    def moment(self, count: str) -> str:
        """Return the moment of so many microseconds, or an error at runtime where there is none."""
        raise NotImplementedError

    def day(self, count: str) -> str:
        """Return the date of so many microseconds."""
        raise NotImplementedError

    def whole_days(self, count: str) -> str:
        """Return the microseconds of the whole days among so many, rounded down."""
        raise NotImplementedError

    def product(self, count: str, number: str, *, is_whole: bool) -> str:
        """Return so many microseconds times a number, rounded."""
        raise NotImplementedError

    def _calculate(
        self, meaning: Kind, binary: Any, left: Kind | None, right: Kind | None, **options: Any
    ) -> str:
        number = self._number(binary, left, right, **without_results(options))
        return self.day(number) if meaning is DAY else self.moment(number)

    def _number(self, binary: Any, left: Kind | None, right: Kind | None, **options: Any) -> str:
        """Return what stands for an expression, in microseconds."""
        if NUMBER in {left, right}:
            span, factor = (binary.left, binary.right)[:: 1 if left is SPAN else -1]
            count = self._counted(span, **options)
            is_whole = factor.type._type_affinity is sa.Integer  # noqa: SLF001 - SQLAlchemy tells it nowhere else
            return self.product(count, self.process(factor, **options), is_whole=is_whole)
        one, other = (self._counted(side, **options) for side in (binary.left, binary.right))
        one = self.whole_days(one) if (left, right) == (SPAN, DAY) else one
        other = self.whole_days(other) if (left, right) == (DAY, SPAN) else other
        return f"({one} {SIGNS[binary.operator]} {other})"

    def _negated(self, unary: Any, **options: Any) -> str:
        return self.moment(f"(0 - {self._counted(unary.element, **options)})")

    def _counted(self, side: Any, **options: Any) -> str:
        """Return one side, in microseconds. What is calculated itself is not made a moment."""
        found = side
        while isinstance(found, elements.Grouping):
            found = found.element
        if is_chain(found):
            found = folded(found)
        if isinstance(found, elements.UnaryExpression) and found.operator is operators.neg:
            return f"(0 - {self._counted(found.element, **options)})"
        if isinstance(found, elements.BinaryExpression) and found.operator in SIGNS:
            kinds = kind_of(found.left), kind_of(found.right)
            meaning = MEANINGS.get((kinds[0], found.operator, kinds[1]))  # type: ignore[arg-type]  # None is in no key
            if meaning in {MOMENT, SPAN}:
                return self._number(with_zones(found, *kinds), *kinds, **options)
        return self.count(self.process(found, **options))

    def visit_function(self, func: Any, *arguments: Any, **options: Any) -> str:
        """Refuse functions that take timedeltas for moments."""
        name = func.name.lower()
        known = ADDING | CHOOSING | COUNTING
        if name not in known and SPAN in set(map(kind_of, func.clauses)):
            raise refuse(
                f"{func.name}() of a timedelta",
                "Use sum(), avg(), min() or max(), or calculate in Python.",
            )
        return super().visit_function(func, *arguments, **options)

    def visit_cast(self, cast: Any, **options: Any) -> str:
        """Refuse the CAST of a timedelta, which is none here."""
        if SPAN in {kind_of(cast.clause), kind_of(cast)}:
            raise refuse(
                "CAST of a timedelta or to one",
                "Select it, and calculate in Python: value.total_seconds().",
            )
        return super().visit_cast(cast, **options)  # type: ignore[no-untyped-call, no-any-return]

    def visit_extract(self, extract: Any, **options: Any) -> str:
        """Refuse a part of a timedelta, which is none here."""
        if kind_of(extract.expr) is SPAN:
            raise refuse(
                "EXTRACT of a timedelta",
                "Compare with a timedelta, or select it: value.total_seconds().",
            )
        return super().visit_extract(extract, **options)  # type: ignore[no-untyped-call, no-any-return]


class Totalling(Native):
    """Compiles statements for a backend that adds up numbers only: microseconds, of which a
    timedelta is made afterwards, behind OVER too."""

    adds_timedeltas = False

    def visit_over(self, over: Any, **options: Any) -> str:
        """Have OVER behind the server's function."""
        function = getattr(over.element, "element", over.element)
        is_added = getattr(function, "name", "").lower() in ADDING
        if not is_added or kind_of(over) is not SPAN:
            return super().visit_over(over, **options)  # type: ignore[no-untyped-call, no-any-return]
        found = super().visit_over(over, rxdb_counted=function, **options)  # type: ignore[no-untyped-call]  # SQLAlchemy's has no types
        return self.total(found)

    def _added(self, func: Any, *, rxdb_counted: Any = None, **options: Any) -> str:
        (value,) = func.clauses
        is_distinct = getattr(value, "operator", None) is operators.distinct_op
        one, word = (value.element, "DISTINCT ") if is_distinct else (value, "")
        count = self.number_of(one, **without_results(options))
        found = f"{func.name}({word}{count})"
        return found if rxdb_counted is func else self.total(found)

    def number_of(self, value: Any, **options: Any) -> str:
        """Return a timedelta in microseconds."""
        raise NotImplementedError

    def total(self, added: str) -> str:
        """Return the timedelta of so many microseconds, which are no whole number."""
        raise NotImplementedError


class Unwritten(Native):
    """Compiles statements for a backend whose arithmetic nobody has tried: it is refused."""

    has_timedeltas = False

    def _calculate(
        self, meaning: Kind, binary: Any, left: Kind | None, right: Kind | None, **options: Any
    ) -> str:
        del meaning, binary, options
        names = " and ".join(kind.value for kind in (left, right) if kind)
        raise CompileError(
            f"rxdb cannot write arithmetic with {names} for this database. "
            "Calculate in Python: column < now - timedelta(hours=1)."
        )

    def _negated(self, unary: Any, **options: Any) -> str:
        return self._calculate(SPAN, unary, None, SPAN, **options)


def calculate(dialect: Any, compiler: type[SQLCompiler]) -> None:
    """Let the dialect of one engine compile arithmetic with this compiler."""
    own: Any = dialect.statement_compiler

    class Compiler(compiler, own):  # type: ignore[misc, valid-type]  # the class of this engine
        pass

    dialect.statement_compiler = Compiler
