"""Types of columns, with one meaning on every backend, and which annotation means which.

:class:`rxdb.Model` asks :func:`of_annotation`; what it does not know is SQLModel's to say. A type
of SQLAlchemy is here under its own name where nothing has to be added.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import re
import types
import typing
from collections.abc import Iterable
from dataclasses import is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeGuard

import sqlalchemy as sa
import sqlmodel.main
from pydantic import BaseModel, TypeAdapter
from sqlalchemy import BigInteger, Text
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.base import SchemaEventTarget
from sqlalchemy.sql.compiler import RESERVED_WORDS
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine, to_instance

from rxdb import moments, registry
from rxdb.dialect import Dialect, Feature
from rxdb.errors import UnknownDialect

__all__ = [
    "JSON",
    "BigInteger",
    "CaseInsensitiveText",
    "Text",
    "UTCDateTime",
    "exact",
    "json_path",
    "of_annotation",
]

SQLMODEL_HAS_UTC = hasattr(sqlmodel.main, "UTCDateTime")
"""Whether SQLModel itself keeps datetimes in UTC; before 0.0.45 it did not."""

if SQLMODEL_HAS_UTC or typing.TYPE_CHECKING:
    from sqlmodel.sql.sqltypes import UTCDateTime
else:
    UTCDateTime = moments.UTCDateTime


NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""The character NUL, as JSON writes it."""

LONG = re.compile("[0-9]{19}")
"""A number that 64 bits may not hold, or a part of a text."""


class JSON(TypeDecorator[Any]):
    """A JSON document: JSONB on PostgreSQL, and JSON elsewhere.

    *annotation* says what it holds, such as ``list[Point]`` or a pydantic model: values are checked
    on their way in, and made of the document on their way out. Without one they are lists and
    dicts. ``None`` is NULL, not JSON's ``null``. NUL in a text, and an integer below -2**63 or from
    2**64 on, are refused with :class:`rxdb.BadValue`.
    """

    impl = sa.JSON
    cache_ok = True

    def __init__(self, annotation: Any = None) -> None:
        super().__init__(none_as_null=True)
        self.annotation = annotation

    def __repr__(self) -> str:
        return "JSON()"

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """Return the backend's own type for documents."""
        known = _known(dialect)
        own = known.json_type if known else None
        return dialect.type_descriptor(own() if own else self.impl_instance)

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Let a path be read as one."""
        return self.impl_instance.coerce_compared_value(op, value)

    def bind_processor(self, dialect: sa.Dialect) -> Any:
        """Refuse NUL, which PostgreSQL cannot keep, and integers that MySQL makes floats."""
        usual = super().bind_processor(dialect)

        def process(value: Any) -> Any:
            text = usual(value) if usual else value
            if isinstance(text, str) and NUL.search(text):
                raise ValueError("No text in a JSON document can hold the character NUL.")
            if isinstance(text, str) and LONG.search(text):
                json.loads(text, parse_int=_of_64_bits)
            return text

        return process

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        """Return the document."""
        if value is None or self.annotation is None:
            return value
        adapter = adapter_of(self.annotation)
        return adapter.dump_python(adapter.validate_python(value), mode="json")

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        """Return what the document describes."""
        if value is None or self.annotation is None:
            return value
        return adapter_of(self.annotation).validate_python(value)


def _of_64_bits(text: str) -> int:
    """Return an integer in a document."""
    number = int(text)
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"{text} has more than 64 bits. Let the document hold it as a text.")
    return number


@cache
def adapter_of(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def json_path(column: Any, *steps: str | int) -> Any:
    """Return the part of a JSON column that is found by these keys and positions.

    ``rx.json_path(Hero.data, "pets", 0, "name").as_string()`` is an expression to select, compare
    and sort by; so are ``as_integer()``, ``as_float()`` and ``as_boolean()``. It is NULL where the
    document has no such part. Positions begin at 0. Raises :class:`ValueError` for a negative one.
    """
    if not steps:
        raise TypeError("json_path() needs at least one key or position after the column.")
    if any(isinstance(step, int) and step < 0 for step in steps):
        raise ValueError("json_path() counts positions from the beginning: none is negative.")
    first, *more = steps
    found = column[(first, *more) if more else first]
    # Two parameters would be two expressions for the server, and GROUP BY another than SELECT.
    found.right = found.right.render_literal_execute()
    if any(isinstance(step, str) and '"' in step for step in steps):
        found.right.type = _QuotedPath()
    return found


class _QuotedPath(sa.JSON.JSONPathType):
    """A path with a quote in a key, which a backend may find in another way than others."""

    has_quote = True


class CaseInsensitiveText(TypeDecorator[str]):
    """A text that is kept as it is written, and compared without regard to case.

    ``Bob`` and ``bob`` are equal, also for a unique key and a foreign key; ``Böb`` is another.
    ``ORDER BY`` sorts as a dictionary does, and ``LIKE`` and its relatives see no case either.
    *length* is in letters. A column that refers to one of this type has to be of it too.
    """

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int = 255) -> None:
        super().__init__(length)
        self.length = length

    def __repr__(self) -> str:
        return f"CaseInsensitiveText({self.length})"

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """Return the backend's own type.

        Raises :class:`sqlalchemy.exc.CompileError` where there is none.
        """
        known = _known(dialect)
        if known is None:
            return dialect.type_descriptor(self.impl_instance)
        if known.caseless is None:
            raise CompileError(
                f"{known.title} does not {Feature.CASELESS_TEXT.value}. Annotate the field as str."
            )
        return dialect.type_descriptor(known.caseless(self.length, dialect))

    class Comparator(TypeDecorator.Comparator[str], sa.String.Comparator[str]):
        """Lets LIKE compare what has no case."""

        def operate(self, op: Any, *other: Any, **options: Any) -> Any:
            """Return the expression that an operator makes."""
            if op not in LIKES:
                return super().operate(op, *other, **options)
            found = op(sa.type_coerce(self.expr, sa.String()), *other, **options)
            found.left, found.right = _Letters(found.left), _Letters(found.right)
            return found

    comparator_factory = Comparator  # pyright: ignore[reportAssignmentType]  # a property there


class _Enum(sa.Enum):
    """An enum whose members are found the same way in filters as they are written.

    What is no member, by its name or by what Python takes for equal, is refused. So are ``<`` and
    LIKE: one server compares the positions of members, another one their names.
    """

    __module__ = sa.Enum.__module__  # what a revision says of it is SQLAlchemy's own

    def __init__(self, *enums: Any, **options: Any) -> None:
        super().__init__(*enums, **{"validate_strings": True, **options})

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """Look a value up among the members."""
        return self if op in EQUALS else super().coerce_compared_value(op, value)

    class Comparator(sa.Enum.Comparator):
        """Compares by ``=`` and IN alone."""

        def operate(self, op: Any, *other: Any, **options: Any) -> Any:
            """Return the expression that an operator makes."""
            if op in ORDERS or op in LIKES:
                raise TypeError(
                    "The members of an enum have no order and no letters that are the same on every"
                    " database. Compare with == or in_(), or cast() the column to a text."
                )
            return super().operate(op, *other, **options)

    comparator_factory = Comparator


_Enum.__name__ = _Enum.__qualname__ = "Enum"

EQUALS = frozenset(
    {
        *(operators.eq, operators.ne, operators.in_op, operators.not_in_op),
        *(operators.is_distinct_from, operators.is_not_distinct_from),
    }
)
ORDERS = frozenset(
    {
        *(operators.lt, operators.le, operators.gt, operators.ge),
        *(operators.between_op, operators.not_between_op),
    }
)

LIKES = frozenset(
    getattr(operators, f"{no}{name}_op")
    for name in ("like", "startswith", "endswith", "contains")
    for no in ("", "not_", "i", "not_i")
)
"""What looks for a part of a text."""


class _Letters(FunctionElement[str]):
    """A text as LIKE sees it in a column without regard to case."""

    inherit_cache = True
    type = sa.String()


class _Exact(FunctionElement[str]):
    """A text that is compared by its code points."""

    inherit_cache = True
    type = sa.String()


def exact(column: Any) -> Any:
    """Return a text column, or another text, so that it is compared and sorted by code points.

    ``order_by(rx.exact(Hero.name))`` sorts the same on every backend, as Python does, where
    PostgreSQL would sort by the locale of the database. ``rx.exact(Hero.name) == "Bob"`` sees the
    case in a :class:`CaseInsensitiveText`.
    """
    return _Exact(column)


@compiles(_Letters)
def _compile_letters(element: Any, compiler: Any, **options: Any) -> str:
    text = compiler.process(element.clauses, **options)
    known = _known(compiler.dialect)
    return known.letters(text) if known else text


@compiles(_Exact)
def _compile_exact(element: Any, compiler: Any, **options: Any) -> str:
    text = compiler.process(element.clauses, **options)
    known = _known(compiler.dialect)
    return known.exact(text, compiler.dialect) if known else text


def _known(dialect: sa.Dialect) -> Dialect | None:
    """Return what rxdb knows of a backend, which may be none of those that it knows."""
    try:
        return registry.get(dialect.name)
    except UnknownDialect:
        return None


KEYWORDS = RESERVED_WORDS | {
    *("condition", "cube", "dec", "div", "double", "float", "groups", "history", "index", "int"),
    *("integer", "interval", "key", "keys", "lag", "lead", "linear", "lines", "load", "lock"),
    *("match", "member", "mod", "numeric", "of", "option", "over", "package", "parallel"),
    *("partition", "period", "persist", "position", "precision", "range", "rank", "real"),
    *("release", "repeat", "role", "row", "rows", "schema", "schemas", "separator", "signal"),
    *("system", "unsigned", "usage", "virtual", "window"),
}
"""Names of columns without a CHECK: a revision holds one text for every backend, in which such a
name would need the quotes of each. These are what people may call a number, of all such words."""


class _Choice(SchemaEventTarget, sa.Integer):
    """One of some whole numbers: adds a CHECK to the table."""

    __module__ = sa.Integer.__module__  # a revision says SQLAlchemy's type, and the CHECK

    def __init__(self, values: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.values = values

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def copy(self, **_: Any) -> Any:
        """Return the type for the copy of a table, to which the CHECK is copied already."""
        return BigInteger() if isinstance(self, BigInteger) else sa.Integer()

    def _set_parent(self, parent: Any, **_: Any) -> None:
        parent._on_table_attach(self._check)  # noqa: SLF001 - as Column itself does

    def _check(self, column: sa.Column[Any], table: sa.Table) -> None:
        numbers: list[Any] = [sa.literal_column(str(value)) for value in self.values]
        if numbers and column.name.lower() not in KEYWORDS:
            table.append_constraint(sa.CheckConstraint(sa.column(column.name).in_(numbers)))


class _LargeChoice(_Choice, BigInteger):
    """One of some whole numbers of 64 bits."""

    __module__ = sa.Integer.__module__


_Choice.__name__ = _Choice.__qualname__ = "Integer"
_LargeChoice.__name__ = _LargeChoice.__qualname__ = "BigInteger"

LARGEST = 2**31 - 1
CONTAINERS = (list, dict, tuple, set, frozenset)


def of_annotation(  # noqa: PLR0911 - a line each
    annotation: Any, constraints: Iterable[Any] = (), *, name: str | None = None
) -> TypeEngine[Any] | None:
    """Return the type of a field's column, or None to leave it to SQLModel.

    *constraints* are what pydantic keeps of ``ge=``, ``le=`` and the like, *name* is the field's.
    """
    found, more = without_none(annotation)
    if said := [info for info in more if is_type(info)]:
        return to_instance(said[0])
    origin = typing.get_origin(found) or found
    if origin in CONTAINERS or is_document(origin):
        is_plain = found in {list, dict}
        return JSON(None if is_plain else found)
    if origin is Literal:
        return of_literal(typing.get_args(found), name)
    if isinstance(origin, type) and issubclass(origin, enum.Enum):
        return _Enum(origin)
    if origin is int and any(map(is_large, [*constraints, *more])):
        return BigInteger()
    if origin is dt.datetime and not SQLMODEL_HAS_UTC:
        return UTCDateTime()
    return None


def is_type(said: object) -> TypeGuard[TypeEngine[Any] | type[TypeEngine[Any]]]:
    """Whether what ``Annotated`` adds is the type of a column."""
    return isinstance(said, TypeEngine) or (isinstance(said, type) and issubclass(said, TypeEngine))


def of_literal(values: tuple[Any, ...], name: str | None) -> TypeEngine[Any] | None:
    """Return the type of ``Literal["small", "large"]`` or ``Literal[1, 2]``, a text or a number
    with a CHECK; None for what is neither texts nor whole numbers."""
    if all(type(value) is int for value in values):
        is_large = any(abs(value) > LARGEST for value in values)
        return _LargeChoice(values) if is_large else _Choice(values)
    if not all(isinstance(value, str) for value in values):
        return None
    return sa.Enum(
        *values, name=name, native_enum=False, create_constraint=True, validate_strings=True
    )


def is_mixed(annotation: Any) -> bool:
    """Whether an annotation is a ``Literal`` for which there is no column."""
    found, more = without_none(annotation)
    is_said = any(map(is_type, more))
    is_literal = typing.get_origin(found) is Literal
    return is_literal and not is_said and of_literal(typing.get_args(found), None) is None


def without_none(annotation: Any) -> tuple[Any, list[Any]]:
    """Return what an annotation says beside ``None``, and what ``Annotated`` adds."""
    origin = typing.get_origin(annotation)
    arguments: list[Any] = list(typing.get_args(annotation))
    if origin is Annotated:
        inner, more = without_none(arguments[0])
        return inner, [*more, *arguments[1:]]
    if origin in {typing.Union, types.UnionType}:
        some = [argument for argument in arguments if argument is not type(None)]
        if len(some) == 1:
            return without_none(some[0])
    return annotation, []


def is_document(found: Any) -> TypeGuard[type]:
    """Whether a class describes a document: a pydantic model, a dataclass or a TypedDict."""
    if not isinstance(found, type):
        return False
    if issubclass(found, BaseModel):
        return not found.model_config.get("table")
    return is_dataclass(found) or typing.is_typeddict(found)


def is_large(constraint: Any) -> bool:
    """Whether a constraint of a field allows numbers that 32 bits do not hold."""
    bounds = [getattr(constraint, name, None) for name in ("ge", "gt", "le", "lt")]
    inner = getattr(constraint, "metadata", ())
    return any(isinstance(b, int) and abs(b) > LARGEST + 1 for b in bounds) or any(
        map(is_large, inner)
    )
