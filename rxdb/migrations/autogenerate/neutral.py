"""Say in words that every backend understands what a database said in its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.types import TypeEngine

    from rxdb.dialect import Dialect

NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
NOW = re.compile(r"(?i)(current_timestamp|now|localtimestamp)(\s*\(\s*\d*\s*\))?")


def type_(  # noqa: PLR0911 - one line for each kind
    found: TypeEngine[Any], dialect: Dialect
) -> TypeEngine[Any]:
    """Return SQLAlchemy's own type for what was reflected."""
    known = dialect.neutral_type(found)
    if known is not None:
        return known
    if isinstance(found, sa.Enum):
        return sa.Enum(*found.enums, name=found.name)
    if isinstance(found, sa.Float):
        is_double = type(found).__name__.upper().startswith("DOUBLE")
        return sa.Double() if is_double else sa.Float()
    if isinstance(found, sa.DateTime):
        return sa.DateTime(timezone=bool(found.timezone))
    if isinstance(found, sa.String):
        length = getattr(found, "length", None)
        is_text = isinstance(found, sa.Text) or length is None
        return sa.Text() if is_text else sa.String(length=length)
    for plain in PLAIN:
        if isinstance(found, plain):
            return plain()
    if isinstance(found, sa.Numeric):
        return sa.Numeric(precision=found.precision, scale=found.scale)
    try:
        return found.as_generic()
    except NotImplementedError:
        return found


PLAIN: tuple[type[TypeEngine[Any]], ...] = (
    sa.SmallInteger,
    sa.BigInteger,
    sa.Integer,
    sa.Boolean,
    sa.Date,
    sa.Time,
    sa.Interval,
    sa.Uuid,
    sa.JSON,
    sa.LargeBinary,
)


def default(text: str | None, type_: TypeEngine[Any]) -> Any:
    """Return a server default for ``sa.Column`` that means what the reflected *text* does."""
    if text is None:
        return None
    plain = text.strip()
    while plain.startswith("(") and plain.endswith(")"):
        plain = plain[1:-1].strip()
    literal = _literal(plain)
    if isinstance(type_, sa.Boolean) and (literal or plain).lower() in {"true", "t", "1"}:
        return sa.true()
    if isinstance(type_, sa.Boolean) and (literal or plain).lower() in {"false", "f", "0"}:
        return sa.false()
    if literal is not None:
        return literal
    if NOW.fullmatch(plain):
        return sa.func.now()
    return sa.text(plain.replace(":", r"\:"))


def column(found: Mapping[str, Any], dialect: Dialect) -> sa.Column[Any]:
    """Return a reflected column in neutral words."""
    neutral = type_(found["type"], dialect)
    generated: list[Any] = []
    server_default = None
    if found.get("computed"):
        said = found["computed"]
        generated = [sa.Computed(sa.text(said["sqltext"]), persisted=said.get("persisted"))]
    elif found.get("identity"):
        generated = [sa.Identity(**found["identity"])]
    elif not str(found.get("default") or "").startswith("nextval("):
        text = found.get("default")
        stripped = dialect.plain_default(text) if text is not None else None
        server_default = default(stripped, neutral)
    return sa.Column(
        found["name"],
        neutral,
        *generated,
        nullable=found["nullable"],
        server_default=server_default,
        comment=found.get("comment") or None,
    )


def _literal(text: str) -> str | None:
    """Return what a quoted text holds, or None for another expression."""
    if len(text) < 2 or text[0] != "'" or text[-1] != "'":  # noqa: PLR2004 - two quotes
        return None
    inside = text[1:-1]
    without = inside.replace("''", "")
    return None if "'" in without else inside.replace("''", "'")
