"""What existing rows get in a new column."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from rxdb.errors import FillMissing, MigrationError
from rxdb.migrations.autogenerate import Question
from rxdb.migrations.autogenerate.past import plain
from rxdb.migrations.autogenerate.rendering import (
    FillEachOp,
    FillOp,
    Unprintable,
    expression,
    importable,
    value,
)
from rxdb.migrations.autogenerate.shapes import find_enum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.types import TypeEngine

    from rxdb.migrations.autogenerate import Wishes


class Fills:
    """Finds what rows get: from a wish, the model, or by asking."""

    def __init__(self, wishes: Wishes) -> None:
        self.wishes = wishes
        self.used: set[str] = set()

    def new(
        self, column: sa.Column[Any], name: str, key: Iterable[sa.Column[Any]]
    ) -> FillOp | None:
        """Return what fills a column that is added, or None where nothing has to.

        Raises :class:`rxdb.errors.FillMissing`.
        """
        if name in self.wishes.fills:
            return self._wished(column, name)
        if column.server_default is not None or column.identity or column.computed:
            return None
        if (found := self._default(column, key)) is not None:
            return found
        if column.nullable or column.autoincrement is True:
            return None
        return self._asked(column, name)

    def existing(
        self, column: sa.Column[Any], name: str, key: Iterable[sa.Column[Any]]
    ) -> FillOp | None:
        """Return what fills the NULLs of a column that shall have none any more, if it is known."""
        if name in self.wishes.fills:
            return self._wished(column, name)
        if (found := self._default(column, key)) is not None:
            return found
        if isinstance(column.server_default, sa.DefaultClause):
            argument: Any = column.server_default.arg
            source = repr(argument) if isinstance(argument, str) else expression(argument)
            return _fill(column, source, set())
        return None

    def refuse_unused(self, added: Iterable[str]) -> None:
        """Refuse a wish for a column that needs none."""
        if unused := sorted(set(self.wishes.fills) - self.used):
            there = ", ".join(sorted(added)) or "none"
            raise MigrationError(
                f"--fill {unused[0]}={self.wishes.fills[unused[0]]}: {unused[0]} gets no value "
                f"now. New columns: {there}."
            )

    def _wished(self, column: sa.Column[Any], name: str) -> FillOp:
        self.used.add(name)
        try:
            return self._said(column, self.wishes.fills[name])
        except ValueError as error:
            raise MigrationError(f"--fill {name}={self.wishes.fills[name]}: {error}") from error

    def _said(self, column: sa.Column[Any], text: str) -> FillOp:
        imports: set[str] = set()
        return _fill(column, value(read(text, column.type), imports), imports)

    def _default(  # noqa: PLR0911 - one line for each kind
        self, column: sa.Column[Any], key: Iterable[sa.Column[Any]]
    ) -> FillOp | None:
        default: Any = column.default
        imports: set[str] = set()
        if default is None or not hasattr(default, "arg"):
            return None
        if default.is_callable:
            found = importable(default.arg)
            keys = [plain(part) for part in key]
            if found is None or not keys or not _needs_nothing(default.arg):
                return None
            module, name = found
            imports.add(f"import {module}")
            source = name if module == "builtins" else f"{module}.{name}"
            table = column.table
            return FillEachOp(
                table.name, plain(column), source, key=keys, imports=imports, schema=table.schema
            )
        if default.is_clause_element:
            return _fill(column, expression(default.arg), imports)
        if default.arg is None:
            return None
        try:
            enum = find_enum(column.type)
            is_member = enum is not None and enum.enum_class is not None
            source = (
                repr(member(default.arg, enum)) if is_member else value(default.arg, imports)  # type: ignore[arg-type]  # is_member says so
            )
        except Unprintable:
            return None
        return _fill(column, source, imports)

    def _asked(self, column: sa.Column[Any], name: str) -> FillOp:
        wrong = ""
        while self.wishes.ask is not None:
            text = f"`{name}` is new and refuses NULL. What do existing rows get?"
            answer = self.wishes.ask(Question(kind="fill", text=text, name=name, error=wrong))
            if answer is None:
                break
            try:
                return self._said(column, str(answer))
            except ValueError as error:
                wrong = str(error)
        default: Any = column.default
        reason = (
            "its default is a function that a script cannot name"
            if default is not None
            else "it has no default"
        )
        raise FillMissing(
            f"{name} is new, refuses NULL, and {reason}: existing rows need a value. "
            f"Add: --fill {name}=VALUE"
        )


def zero(column: sa.Column[Any]) -> FillOp:
    """Return what rows get in a column that comes back after it was dropped: its values are gone,
    and it refuses NULL."""
    imports: set[str] = set()
    return _fill(column, value(empty(column.type), imports), imports)


def empty(type_: TypeEngine[Any]) -> Any:
    """Return the value that stands for none: zero, an empty text, the first member."""
    enum = find_enum(type_)
    if enum is not None:
        return enum.enums[0] if enum.enums else ""
    for kind, nothing in EMPTY:
        if isinstance(_inner(type_), kind):
            return _zoned(nothing, type_)
    return ""


EMPTY: tuple[tuple[type, Any], ...] = (
    (sa.Boolean, False),
    (sa.Integer, 0),
    (sa.Float, 0.0),
    (sa.Numeric, Decimal(0)),
    (sa.DateTime, dt.datetime(1970, 1, 1)),  # noqa: DTZ001 - _zoned() gives it a zone if needed
    (sa.Date, dt.date(1970, 1, 1)),
    (sa.Time, dt.time(0, 0)),
    (sa.Interval, dt.timedelta(0)),
    (sa.Uuid, uuid.UUID(int=0)),
    (sa.JSON, {}),
    (sa.LargeBinary, b""),
)


def read(text: str, type_: TypeEngine[Any]) -> Any:  # noqa: C901, PLR0911, PLR0912 - a line per type
    """Return the value that *text* means for a column of this type. Raises ValueError."""
    enum = find_enum(type_)
    inner = _inner(type_)
    if enum is not None:
        if text in enum.enums:
            return text
        for one, stored in zip(_members(enum), enum.enums, strict=False):
            if text in {str(one.value), one.name}:
                return stored
        raise ValueError(f"it is one of {', '.join(map(str, enum.enums))}")
    if isinstance(inner, sa.Boolean):
        if text.lower() in {"true", "yes", "on", "1"}:
            return True
        if text.lower() in {"false", "no", "off", "0"}:
            return False
        raise ValueError("it is true or false")
    if isinstance(inner, sa.Integer):
        return int(text)
    if isinstance(inner, sa.Float):
        return float(text)
    if isinstance(inner, sa.Numeric):
        try:
            return Decimal(text)
        except ArithmeticError as error:
            raise ValueError(f"{text!r} is no number") from error
    if isinstance(inner, sa.DateTime):
        return _zoned(dt.datetime.fromisoformat(text), type_)
    if isinstance(inner, sa.Date):
        return dt.date.fromisoformat(text)
    if isinstance(inner, sa.Time):
        return dt.time.fromisoformat(text)
    if isinstance(inner, sa.Interval):
        return dt.timedelta(seconds=float(text))
    if isinstance(inner, sa.Uuid):
        return uuid.UUID(text)
    if isinstance(inner, sa.JSON):
        return json.loads(text)
    if isinstance(inner, sa.LargeBinary):
        return text.encode()
    if isinstance(inner, sa.String) and inner.length and len(text) > inner.length:
        raise ValueError(f"it has more than {inner.length} characters")
    return text


def member(found: Any, enum: sa.Enum) -> str:
    """Return how an enum stores one of its members."""
    for one, stored in zip(_members(enum), enum.enums, strict=False):
        if one is found or found in (one.value, one.name):
            return str(stored)
    return str(found)


def _members(enum: sa.Enum) -> list[Any]:
    if enum.enum_class is None:
        return []
    return list(enum.enum_class.__members__.values())


def _zoned(found: Any, type_: TypeEngine[Any]) -> Any:
    """Say UTC where a column wants moments with a zone, and nothing where it wants none."""
    if not isinstance(found, dt.datetime):
        return found
    wants = isinstance(type_, TypeDecorator) or bool(getattr(_inner(type_), "timezone", False))
    if wants and found.tzinfo is None:
        return found.replace(tzinfo=dt.UTC)
    if not wants and found.tzinfo is not None:
        return found.astimezone(dt.UTC).replace(tzinfo=None)
    return found


def _inner(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    while isinstance(type_, TypeDecorator) and not isinstance(type_, sa.Interval):
        type_ = type_.impl_instance  # SQLAlchemy's Interval decorates DateTime
    return type_


def _fill(column: sa.Column[Any], source: str, imports: set[str]) -> FillOp:
    table = column.table
    return FillOp(table.name, plain(column), source, imports=imports, schema=table.schema)


def _needs_nothing(function: Callable[..., Any]) -> bool:
    """Whether a default is called without the context of a statement."""
    return hasattr(function, "__wrapped__")
