"""The zoo: changes of models, with rows before and what the rows have to be after.

Each is a table ``user`` with ``id``, ``name`` and what the change is about, and sometimes others.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlmodel import AutoString
from zoo import SCHEMA

import rxdb as rx
from rxdb import Feature
from rxdb.model import NAMING_CONVENTION

Items = Callable[[], Sequence[Any]]
NOTHING: Items = list
HARD = 'it\'s 100%: :x \\n "q" ☃'
"""A text that quoting, formatting and binding all have a way to spoil."""

MOMENT = dt.datetime(2001, 2, 3, 4, 5)  # noqa: DTZ001 - a column without a zone holds it
MIDNIGHT = MOMENT.replace(hour=0, minute=0)


class Color(enum.Enum):
    red = 1
    blue = 2


class Shade(enum.StrEnum):
    light = "l"
    dark = "d"


def token() -> uuid.UUID:
    """A default that has to be called for each row."""
    return uuid.uuid4()


@dataclass(kw_only=True)
class Change:
    """One change of the models."""

    before: Items = NOTHING
    """What ``user`` has beside ``id`` and ``name``."""

    after: Items = NOTHING
    others_before: Callable[[sa.MetaData], Any] = lambda metadata: None
    """Makes other tables, ahead of ``user``."""

    others_after: Callable[[sa.MetaData], Any] | None = None
    """None: the same as before."""

    others_only: bool = False
    """There is no ``user``."""

    before_args: Mapping[str, Any] = field(default_factory=dict)
    after_args: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    expect: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Rows after the upgrade, in order of the key, as far as the columns go."""

    expect_down: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    renames: Mapping[str, str] = field(default_factory=dict)
    fills: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[Feature, ...] = ()
    same: bool = True
    """Whether every backend writes the same script; not where some keep nothing of the change."""

    check: Callable[[sa.Connection, sa.MetaData], None] | None = None
    """A further look after the upgrade."""


def metadata(change: Change, which: str) -> sa.MetaData:
    """Return the models before or after a change."""
    made = sa.MetaData(naming_convention=NAMING_CONVENTION)
    others = change.others_before
    if which == "after" and change.others_after is not None:
        others = change.others_after
    others(made)
    if not change.others_only:
        items = change.before if which == "before" else change.after
        args = change.before_args if which == "before" else change.after_args
        sa.Table(
            "user",
            made,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("name", sa.String(50), nullable=False),
            *items(),
            **args,
        )
    return made


c = sa.Column
USERS: list[dict[str, Any]] = [{"id": 1, "name": "Ann"}, {"id": 2, "name": "Bob"}]


def users(*values: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return two users with further values."""
    return {"user": [{**one, **more} for one, more in zip(USERS, values, strict=True)]}


def team(made: sa.MetaData, *items: Any, **args: Any) -> sa.Table:
    return sa.Table("team", made, c("id", sa.Integer, primary_key=True), *items, **args)


def adds(column: Callable[[], Any], value: Any = None, **more: Any) -> Change:
    """Add one column to a table with two rows."""
    name = column().name
    return Change(
        after=lambda: [column()],
        rows={"user": USERS},
        expect=users({name: value}, {name: value}),
        **more,
    )


def retypes(old: Any, new: Any, value: Any, expected: Any = None, **more: Any) -> Change:
    """Change the type of a column that holds *value*."""
    return Change(
        before=lambda: [c("x", old)],
        after=lambda: [c("x", new)],
        rows=users({"x": value}, {"x": None}),
        expect=users({"x": value if expected is None else expected}, {"x": None}),
        **more,
    )


def _distinct(connection: sa.Connection, made: sa.MetaData) -> None:
    tokens = connection.execute(sa.select(made.tables["user"].c.token)).scalars().all()
    assert None not in tokens
    assert len(set(tokens)) == len(tokens) == 2


def _finds(value: Any) -> Callable[[sa.Connection, sa.MetaData], None]:
    """Check that a row is found by its new value."""

    def check(connection: sa.Connection, made: sa.MetaData) -> None:
        column = made.tables["user"].c.x
        assert connection.scalar(sa.select(sa.func.count()).where(column == value)) == 1

    return check


def _parent(made: sa.MetaData) -> None:
    team(made, c("label", sa.String(10)))


FK_ROWS: dict[str, list[dict[str, Any]]] = {
    "team": [{"id": 5}],
    "user": [{**USERS[0], "team_id": 5}, {**USERS[1], "team_id": None}],
}


CHANGES: dict[str, Change] = {
    # columns come
    "add a nullable text": adds(lambda: c("nick", sa.String(20))),
    "add a SQLModel text": adds(lambda: c("nick", AutoString(length=20))),
    "add a text with a hard default": adds(
        lambda: c("note", sa.String(80), nullable=False, default=HARD), HARD
    ),
    "add a nullable column with a Python default": adds(lambda: c("n", sa.Integer, default=7), 7),
    "add a text with a hard server default": adds(
        lambda: c("note", sa.String(80), nullable=False, server_default=HARD), HARD
    ),
    "add a bool with a server default": adds(
        lambda: c("ok", sa.Boolean, nullable=False, server_default=sa.true()), value=True
    ),
    "add a bool with a Python default": adds(
        lambda: c("ok", sa.Boolean, nullable=False, default=False), value=False
    ),
    "add a number with a server default": adds(
        lambda: c("n", sa.Integer, nullable=False, server_default="3"), 3
    ),
    "add a number with a text() default": adds(
        lambda: c("n", sa.Integer, nullable=False, server_default=sa.text("-4")), -4
    ),
    "add a number with a wish": adds(
        lambda: c("age", sa.Integer, nullable=False), 18, fills={"user.age": "18"}
    ),
    "add a decimal": adds(
        lambda: c("price", sa.Numeric(10, 2), nullable=False, default=Decimal("1.50")),
        Decimal("1.50"),
    ),
    "add a float": adds(lambda: c("ratio", sa.Float, nullable=False, default=0.5), 0.5),
    "add a double": adds(lambda: c("ratio", sa.Double, nullable=False, default=0.25), 0.25),
    "add a date": adds(
        lambda: c("born", sa.Date, nullable=False, default=dt.date(2001, 2, 3)),
        dt.date(2001, 2, 3),
    ),
    "add a time": adds(
        lambda: c("at", sa.Time, nullable=False, default=dt.time(4, 5, 6)),
        dt.time(4, 5, 6),
    ),
    "add a moment": adds(
        lambda: c("at", sa.DateTime, nullable=False, default=MOMENT),
        MOMENT,
    ),
    "add a moment that the server says": Change(
        after=lambda: [c("at", sa.DateTime, nullable=False, server_default=sa.func.now())],
        rows={"user": USERS},
        expect={"user": USERS},
    ),
    "add an interval": adds(
        lambda: c("took", sa.Interval, nullable=False, default=dt.timedelta(hours=1)),
        dt.timedelta(hours=1),
    ),
    "add a UUID": adds(
        lambda: c("u", sa.Uuid, nullable=False, default=uuid.UUID(int=7)), uuid.UUID(int=7)
    ),
    "add a UUID made for each row": Change(
        after=lambda: [c("token", sa.Uuid, nullable=False, default=uuid.uuid4)],
        rows={"user": USERS},
        check=_distinct,
    ),
    "add a list": adds(lambda: c("tags", sa.JSON, nullable=False, default=["a", 1]), ["a", 1]),
    "add a dict": adds(
        lambda: c("data", sa.JSON, nullable=False, default={"k": HARD}), {"k": HARD}
    ),
    "add a dict made for each row": adds(
        lambda: c("data", sa.JSON, nullable=False, default=dict), {}
    ),
    "add bytes": adds(
        lambda: c("raw", sa.LargeBinary, nullable=False, default=b"\x00\xff"), b"\x00\xff"
    ),
    "add an enum": adds(
        lambda: c("color", sa.Enum(Color), nullable=False, default=Color.blue), Color.blue
    ),
    "add an enum with a server default": adds(
        lambda: c("color", sa.Enum(Color), nullable=False, server_default="red"), Color.red
    ),
    "add an enum kept as text": adds(
        lambda: c("color", sa.Enum(Color, native_enum=False), nullable=False, default=Color.red),
        Color.red,
    ),
    "add a StrEnum as text": adds(
        lambda: c("shade", sa.String(5), nullable=False, default=Shade.dark), "d"
    ),
    "add a unique column": Change(
        after=lambda: [c("mail", sa.String(50), unique=True)], rows={"user": USERS}
    ),
    "add a unique column without regard to case": Change(
        after=lambda: [c("x", rx.CaseInsensitiveText(20), unique=True)],
        rows={"user": USERS},
        needs=(Feature.CASELESS_TEXT,),
    ),
    "refer to a text without regard to case": Change(
        others_before=lambda made: sa.Table(
            "place", made, c("name", rx.CaseInsensitiveText(20), primary_key=True)
        ),
        after=lambda: [c("place", rx.CaseInsensitiveText(20), sa.ForeignKey("place.name"))],
        rows={"place": [{"name": "Bonn"}], "user": USERS},
        needs=(Feature.CASELESS_TEXT, Feature.FOREIGN_KEYS),
    ),
    "add an indexed column": Change(
        after=lambda: [c("mail", sa.String(50), index=True)], rows={"user": USERS}
    ),
    "add a computed column": Change(
        before=lambda: [c("n", sa.Integer)],
        after=lambda: [
            c("n", sa.Integer),
            c("m", sa.Integer, sa.Computed("n + 1", persisted=True)),
        ],
        rows=users({"n": 1}, {"n": 2}),
        expect=users({"m": 2}, {"m": 3}),
    ),
    "add a long text": adds(lambda: c("body", sa.Text, nullable=False, default="x"), "x"),
    # columns go
    "drop a nullable column": Change(
        before=lambda: [c("x", sa.String(20))],
        rows=users({"x": "a"}, {"x": None}),
        expect={"user": USERS},
        expect_down=users({"x": None}, {"x": None}),
    ),
    "drop a column that refuses NULL": Change(
        before=lambda: [c("x", sa.Integer, nullable=False)],
        rows=users({"x": 1}, {"x": 2}),
        expect_down=users({"x": 0}, {"x": 0}),
    ),
    "drop a bool with a server default": Change(
        before=lambda: [c("x", sa.Boolean, nullable=False, server_default=sa.true())],
        rows=users({"x": False}, {"x": True}),
        expect_down=users({"x": True}, {"x": True}),
    ),
    "drop a UUID": Change(
        before=lambda: [c("x", sa.Uuid, nullable=False)],
        rows=users({"x": uuid.UUID(int=1)}, {"x": uuid.UUID(int=2)}),
        expect_down=users({"x": uuid.UUID(int=0)}, {"x": uuid.UUID(int=0)}),
    ),
    "drop an interval": Change(
        before=lambda: [c("x", sa.Interval)], rows=users({"x": None}, {"x": None})
    ),
    "drop an enum": Change(
        before=lambda: [c("x", sa.Enum(Color), nullable=False)],
        rows=users({"x": Color.red}, {"x": Color.blue}),
        expect_down=users({"x": Color.red}, {"x": Color.red}),
    ),
    "drop a unique column": Change(
        before=lambda: [c("x", sa.String(20), unique=True)], rows=users({"x": "a"}, {"x": "b"})
    ),
    "drop an indexed column": Change(
        before=lambda: [c("x", sa.String(20), index=True)], rows=users({"x": "a"}, {"x": "b"})
    ),
    "drop a column with a foreign key": Change(
        others_before=_parent,
        before=lambda: [c("team_id", sa.ForeignKey("team.id"), index=True)],
        rows=FK_ROWS,
        expect={"user": USERS},
    ),
    "drop a column with a check": Change(
        before=lambda: [c("x", sa.Integer), sa.CheckConstraint("x > 0", name="positive")],
        rows=users({"x": 1}, {"x": 2}),
    ),
    # names
    "rename a column": Change(
        before=lambda: [c("mail", sa.String(20), nullable=False)],
        after=lambda: [c("email", sa.String(20), nullable=False)],
        rows=users({"mail": "a"}, {"mail": "b"}),
        renames={"user.mail": "email"},
        expect=users({"email": "a"}, {"email": "b"}),
        expect_down=users({"mail": "a"}, {"mail": "b"}),
    ),
    "rename a column with a default and an index": Change(
        before=lambda: [c("mail", sa.String(20), server_default="it's", index=True)],
        after=lambda: [c("email", sa.String(20), server_default="it's", index=True)],
        rows=users({"mail": "a"}, {"mail": "b"}),
        renames={"user.mail": "email"},
        expect=users({"email": "a"}, {"email": "b"}),
    ),
    "rename a column and widen it": Change(
        before=lambda: [c("mail", sa.String(20))],
        after=lambda: [c("email", sa.String(40))],
        rows=users({"mail": "a"}, {"mail": "b"}),
        renames={"user.mail": "email"},
        expect=users({"email": "a"}, {"email": "b"}),
    ),
    "rename a column with a foreign key": Change(
        others_before=_parent,
        before=lambda: [c("team_id", sa.ForeignKey("team.id"))],
        after=lambda: [c("group_id", sa.ForeignKey("team.id"))],
        rows=FK_ROWS,
        renames={"user.team_id": "group_id"},
        expect=users({"group_id": 5}, {"group_id": None}),
    ),
    "rename a unique column": Change(
        before=lambda: [c("mail", sa.String(20), unique=True)],
        after=lambda: [c("email", sa.String(20), unique=True)],
        rows=users({"mail": "a"}, {"mail": "b"}),
        renames={"user.mail": "email"},
        expect=users({"email": "a"}, {"email": "b"}),
    ),
    "rename a table": Change(
        others_before=_parent,
        others_after=lambda made: sa.Table(
            "squad", made, c("id", sa.Integer, primary_key=True), c("label", sa.String(10))
        ),
        rows={"team": [{"id": 5, "label": "x"}], "user": USERS},
        renames={"team": "squad"},
        expect={"squad": [{"id": 5, "label": "x"}]},
        expect_down={"team": [{"id": 5, "label": "x"}]},
    ),
    "rename a table that another refers to": Change(
        others_before=_parent,
        others_after=lambda made: sa.Table(
            "squad", made, c("id", sa.Integer, primary_key=True), c("label", sa.String(10))
        ),
        before=lambda: [c("team_id", sa.ForeignKey("team.id"))],
        after=lambda: [c("team_id", sa.ForeignKey("squad.id"))],
        rows=FK_ROWS,
        renames={"team": "squad"},
        expect=users({"team_id": 5}, {"team_id": None}),
    ),
    # types
    "widen a text": retypes(sa.String(20), sa.String(60), "a"),
    "narrow a text": retypes(sa.String(60), sa.String(20), "a"),
    "let a text be compared without its case": retypes(
        sa.String(20), rx.CaseInsensitiveText(20), "Bob", needs=(Feature.CASELESS_TEXT,)
    ),
    "let a text be compared with its case": retypes(
        rx.CaseInsensitiveText(20), sa.String(20), "Bob", needs=(Feature.CASELESS_TEXT,)
    ),
    "widen a text that is compared without its case": retypes(
        rx.CaseInsensitiveText(20),
        rx.CaseInsensitiveText(60),
        "Bob",
        needs=(Feature.CASELESS_TEXT,),
    ),
    "limit a SQLModel text": retypes(AutoString(), AutoString(length=20), "a"),
    "make a text long": retypes(sa.String(20), sa.Text(), "a"),
    "make a number big": retypes(sa.Integer(), sa.BigInteger(), 5),
    "make a number small": retypes(sa.Integer(), sa.SmallInteger(), 5),
    "make a number a text": retypes(sa.Integer(), sa.String(20), 5, "5"),
    "make a text a number": retypes(sa.String(20), sa.Integer(), "5", 5),
    "make a number a decimal": retypes(sa.Integer(), sa.Numeric(10, 2), 5, Decimal("5.00")),
    "make a decimal more precise": retypes(
        sa.Numeric(8, 2), sa.Numeric(12, 4), Decimal("1.25"), Decimal("1.2500")
    ),
    "make a float a double": retypes(sa.Float(), sa.Double(), 0.5, same=False),
    "make a date a moment": retypes(
        sa.Date(), sa.DateTime(), dt.date(2001, 2, 3), MIDNIGHT, check=_finds(MIDNIGHT)
    ),
    "make a moment a date": retypes(sa.DateTime(), sa.Date(), MOMENT, MOMENT.date()),
    "make a text a moment": retypes(
        sa.String(40), sa.DateTime(), "2001-02-03 04:05:00", MOMENT, check=_finds(MOMENT)
    ),
    "make a number with a default a text": Change(
        before=lambda: [c("x", sa.Integer, server_default="3")],
        after=lambda: [c("x", sa.String(10), server_default="none")],
        rows=users({"x": 5}, {"x": 6}),
        expect=users({"x": "5"}, {"x": "6"}),
    ),
    # NULL
    "take NULL": Change(
        before=lambda: [c("x", sa.String(20), nullable=False, server_default="it's")],
        after=lambda: [c("x", sa.String(20), server_default="it's")],
        rows=users({"x": "a"}, {"x": "b"}),
        expect=users({"x": "a"}, {"x": "b"}),
    ),
    "refuse NULL, with a default for those that are there": Change(
        before=lambda: [c("x", sa.String(80))],
        after=lambda: [c("x", sa.String(80), nullable=False, default=HARD)],
        rows=users({"x": "a"}, {"x": None}),
        expect=users({"x": "a"}, {"x": HARD}),
    ),
    "refuse NULL, with a wish": Change(
        before=lambda: [c("x", sa.Boolean)],
        after=lambda: [c("x", sa.Boolean, nullable=False)],
        rows=users({"x": False}, {"x": None}),
        fills={"user.x": "true"},
        expect=users({"x": False}, {"x": True}),
    ),
    # server defaults
    "add a server default": Change(
        before=lambda: [c("x", sa.String(80))],
        after=lambda: [c("x", sa.String(80), server_default=HARD)],
        rows=users({"x": "a"}, {"x": None}),
        expect=users({"x": "a"}, {"x": None}),
    ),
    "change a server default": Change(
        before=lambda: [c("x", sa.Boolean, server_default=sa.false())],
        after=lambda: [c("x", sa.Boolean, server_default=sa.true())],
        rows=users({"x": True}, {"x": False}),
        expect=users({"x": True}, {"x": False}),
    ),
    "drop a server default": Change(
        before=lambda: [c("x", sa.DateTime, server_default=sa.func.now())],
        after=lambda: [c("x", sa.DateTime)],
        rows=users({"x": None}, {"x": None}),
    ),
    # enums
    "add a member": Change(
        before=lambda: [c("x", sa.Enum("a", "b", name="kind"), nullable=False, server_default="a")],
        after=lambda: [
            c("x", sa.Enum("a", "b", "it's %", name="kind"), nullable=False, server_default="a")
        ],
        rows=users({"x": "a"}, {"x": "b"}),
        expect=users({"x": "a"}, {"x": "b"}),
    ),
    "add a longer member and make it the default": Change(
        before=lambda: [c("x", sa.Enum("a", "b", name="kind"), server_default="a")],
        after=lambda: [c("x", sa.Enum("a", "b", "longer", name="kind"), server_default="longer")],
        rows=users({"x": "a"}, {"x": "b"}),
        expect=users({"x": "a"}, {"x": "b"}),
    ),
    "drop a member": Change(
        before=lambda: [c("x", sa.Enum("a", "b", "c", name="kind"))],
        after=lambda: [c("x", sa.Enum("a", "b", name="kind"))],
        rows=users({"x": "a"}, {"x": "b"}),
        expect=users({"x": "a"}, {"x": "b"}),
    ),
    "change an enum that two tables have": Change(
        others_before=lambda made: team(made, c("x", sa.Enum("a", name="kind"))),
        others_after=lambda made: team(made, c("x", sa.Enum("a", "b", name="kind"))),
        before=lambda: [c("x", sa.Enum("a", name="kind"))],
        after=lambda: [c("x", sa.Enum("a", "b", name="kind"))],
        rows={"team": [{"id": 5, "x": "a"}], **users({"x": "a"}, {"x": None})},
        expect=users({"x": "a"}, {"x": None}),
    ),
    "add a member of an enum kept as a checked text": Change(
        before=lambda: [
            c("x", sa.Enum("a", "b", name="kind", native_enum=False, create_constraint=True))
        ],
        after=lambda: [
            c("x", sa.Enum("a", "b", "cc", name="kind", native_enum=False, create_constraint=True))
        ],
        rows=users({"x": "a"}, {"x": "b"}),
        expect=users({"x": "a"}, {"x": "b"}),
    ),
    "make an enum table with a type that is there": Change(
        before=lambda: [c("x", sa.Enum("a", name="kind"))],
        after=lambda: [c("x", sa.Enum("a", name="kind"))],
        others_after=lambda made: team(made, c("x", sa.Enum("a", name="kind"))),
        rows=users({"x": "a"}, {"x": None}),
        expect=users({"x": "a"}, {"x": None}),
    ),
    # indexes and constraints
    "add an index": Change(
        before=lambda: [c("x", sa.Integer)],
        after=lambda: [c("x", sa.Integer, index=True)],
        rows=users({"x": 1}, {"x": 2}),
    ),
    "drop an index": Change(
        before=lambda: [c("x", sa.Integer, index=True)],
        after=lambda: [c("x", sa.Integer)],
        rows=users({"x": 1}, {"x": 2}),
    ),
    "index two columns": Change(
        before=lambda: [c("x", sa.Integer)],
        after=lambda: [c("x", sa.Integer), sa.Index(None, "x", "name")],
        rows=users({"x": 1}, {"x": 2}),
    ),
    "make an index unique": Change(
        before=lambda: [c("x", sa.Integer), sa.Index("ix_x", "x")],
        after=lambda: [c("x", sa.Integer), sa.Index("ix_x", "x", unique=True)],
        rows=users({"x": 1}, {"x": 2}),
    ),
    "drop the index of a foreign key": Change(
        others_before=_parent,
        before=lambda: [c("team_id", sa.ForeignKey("team.id"), index=True)],
        after=lambda: [c("team_id", sa.ForeignKey("team.id"))],
        rows=FK_ROWS,
        expect=users({"team_id": 5}, {"team_id": None}),
    ),
    "make a column unique": Change(
        before=lambda: [c("x", sa.String(20))],
        after=lambda: [c("x", sa.String(20), unique=True)],
        rows=users({"x": "a"}, {"x": "b"}),
        expect=users({"x": "a"}, {"x": "b"}),
    ),
    "make a column no longer unique": Change(
        before=lambda: [c("x", sa.String(20), unique=True)],
        after=lambda: [c("x", sa.String(20))],
        rows=users({"x": "a"}, {"x": "b"}),
        expect=users({"x": "a"}, {"x": "b"}),
    ),
    "make two columns unique together": Change(
        before=lambda: [c("x", sa.Integer), sa.UniqueConstraint("name")],
        after=lambda: [c("x", sa.Integer), sa.UniqueConstraint("name", "x")],
        rows=users({"x": 1}, {"x": 2}),
    ),
    "add a check": Change(
        before=lambda: [c("x", sa.Integer)],
        after=lambda: [c("x", sa.Integer), sa.CheckConstraint("x > 0 AND name <> '100%: :x'")],
        rows=users({"x": 1}, {"x": 2}),
    ),
    "change a check": Change(
        before=lambda: [c("x", sa.Integer), sa.CheckConstraint("x > 0", name="range")],
        after=lambda: [c("x", sa.Integer), sa.CheckConstraint("x BETWEEN 1 AND 9", name="range")],
        rows=users({"x": 1}, {"x": 2}),
    ),
    "drop a check": Change(
        before=lambda: [c("x", sa.Integer), sa.CheckConstraint("x > 0")],
        after=lambda: [c("x", sa.Integer)],
        rows=users({"x": 1}, {"x": 2}),
    ),
    "add a foreign key": Change(
        others_before=_parent,
        before=lambda: [c("team_id", sa.Integer)],
        after=lambda: [c("team_id", sa.ForeignKey("team.id", ondelete="SET NULL"))],
        rows=FK_ROWS,
        expect=users({"team_id": 5}, {"team_id": None}),
    ),
    "add a column with a foreign key to a new table": Change(
        others_after=_parent,
        after=lambda: [c("team_id", sa.ForeignKey("team.id"))],
        rows={"user": USERS},
    ),
    "change what a foreign key does": Change(
        others_before=_parent,
        before=lambda: [c("team_id", sa.ForeignKey("team.id"))],
        after=lambda: [c("team_id", sa.ForeignKey("team.id", ondelete="CASCADE"))],
        rows=FK_ROWS,
        expect=users({"team_id": 5}, {"team_id": None}),
    ),
    "drop a foreign key": Change(
        others_before=_parent,
        before=lambda: [c("team_id", sa.ForeignKey("team.id", ondelete="CASCADE"))],
        after=lambda: [c("team_id", sa.Integer)],
        rows=FK_ROWS,
        expect=users({"team_id": 5}, {"team_id": None}),
    ),
    "add a reference to the table itself": Change(
        after=lambda: [c("boss_id", sa.ForeignKey("user.id"), index=True)],
        rows={"user": USERS},
    ),
    "alter a table that refers to itself": Change(
        before=lambda: [
            c("boss_id", sa.ForeignKey("user.id", ondelete="CASCADE")),
            c("x", sa.Integer),
        ],
        after=lambda: [
            c("boss_id", sa.ForeignKey("user.id", ondelete="CASCADE")),
            c("x", sa.BigInteger, nullable=False, default=1),
        ],
        rows=users({"boss_id": None, "x": None}, {"boss_id": 1, "x": 2}),
        expect=users({"boss_id": None, "x": 1}, {"boss_id": 1, "x": 2}),
    ),
    "alter a table that another refers to": Change(
        others_before=lambda made: team(made, c("label", sa.String(10), nullable=False)),
        others_after=lambda made: team(made, c("label", sa.String(30))),
        before=lambda: [c("team_id", sa.ForeignKey("team.id", ondelete="CASCADE"))],
        after=lambda: [c("team_id", sa.ForeignKey("team.id", ondelete="CASCADE"))],
        rows={
            "team": [{"id": 5, "label": "x"}],
            **users({"team_id": 5}, {"team_id": None}),
        },
        expect=users({"team_id": 5}, {"team_id": None}),
    ),
    "refer to a key of two columns": Change(
        others_before=lambda made: sa.Table(
            "pair",
            made,
            c("a", sa.Integer, primary_key=True, autoincrement=False),
            c("b", sa.String(10), primary_key=True),
        ),
        before=lambda: [c("a", sa.Integer), c("b", sa.String(10))],
        after=lambda: [
            c("a", sa.Integer),
            c("b", sa.String(10)),
            sa.ForeignKeyConstraint(["a", "b"], ["pair.a", "pair.b"], ondelete="CASCADE"),
        ],
        rows={"pair": [{"a": 1, "b": "x"}], **users({"a": 1, "b": "x"}, {"a": None, "b": None})},
        expect=users({"a": 1, "b": "x"}, {"a": None, "b": None}),
    ),
    "make a key of two columns out of one": Change(
        others_only=True,
        others_before=lambda made: sa.Table(
            "pair",
            made,
            c("a", sa.Integer, primary_key=True, autoincrement=False),
            c("b", sa.String(10), nullable=False),
        ),
        others_after=lambda made: sa.Table(
            "pair",
            made,
            c("a", sa.Integer, primary_key=True, autoincrement=False),
            c("b", sa.String(10), primary_key=True),
        ),
        rows={"pair": [{"a": 1, "b": "x"}]},
        expect={"pair": [{"a": 1, "b": "x"}]},
    ),
    # tables
    "add a table": Change(others_after=_parent, rows={"user": USERS}, expect={"user": USERS}),
    "add tables that refer to each other": Change(
        others_after=lambda made: (
            sa.Table(
                "egg",
                made,
                c("id", sa.Integer, primary_key=True),
                c("hen_id", sa.ForeignKey("hen.id", use_alter=True)),
            ),
            sa.Table(
                "hen",
                made,
                c("id", sa.Integer, primary_key=True),
                c("egg_id", sa.ForeignKey("egg.id")),
            ),
        ),
        rows={"user": USERS},
    ),
    "add a table with a key of two columns": Change(
        others_after=lambda made: sa.Table(
            "pair",
            made,
            c("a", sa.Integer, primary_key=True, autoincrement=False),
            c("b", sa.Uuid, primary_key=True),
            sa.UniqueConstraint("b", "a"),
        ),
        rows={"user": USERS},
    ),
    "drop a table": Change(
        others_before=lambda made: team(
            made,
            c("x", sa.Uuid, unique=True),
            c("y", sa.Boolean, nullable=False, server_default=sa.false(), index=True),
            c("z", sa.Enum(Color)),
            c("when", sa.DateTime(timezone=True), server_default=sa.func.now()),
            c("n", sa.Integer),
            sa.CheckConstraint("n > 0"),
        ),
        others_after=lambda made: None,
        rows={"user": USERS},
        expect={"user": USERS},
    ),
    "drop tables that refer to each other": Change(
        others_before=lambda made: (
            team(made),
            sa.Table(
                "member",
                made,
                c("id", sa.Integer, primary_key=True),
                c("team_id", sa.ForeignKey("team.id"), index=True),
            ),
        ),
        others_after=lambda made: None,
        rows={"user": USERS, "team": [{"id": 5}], "member": [{"id": 1, "team_id": 5}]},
    ),
    "add a table in a schema": Change(
        others_after=lambda made: team(
            made, c("x", sa.String(10), unique=True, index=True), schema=SCHEMA
        ),
        rows={"user": USERS},
        needs=(Feature.SCHEMAS,),
    ),
    "alter a table in a schema": Change(
        others_before=lambda made: team(made, c("x", sa.String(10)), schema=SCHEMA),
        others_after=lambda made: team(
            made,
            c("x", sa.String(20), nullable=False, default="new"),
            c("y", sa.Integer, index=True),
            schema=SCHEMA,
        ),
        rows={f"{SCHEMA}.team": [{"id": 5, "x": "a"}, {"id": 6, "x": None}], "user": USERS},
        expect={f"{SCHEMA}.team": [{"id": 5, "x": "a"}, {"id": 6, "x": "new"}]},
        needs=(Feature.SCHEMAS,),
    ),
    # comments, where the backend keeps them
    "comment a column": Change(
        before=lambda: [c("x", sa.String(20), nullable=False, server_default="a")],
        after=lambda: [
            c("x", sa.String(20), nullable=False, server_default="a", comment="it's 100%: :x")
        ],
        rows=users({"x": "b"}, {"x": "b"}),
        expect=users({"x": "b"}, {"x": "b"}),
        same=False,
    ),
    "comment a table": Change(
        after_args={"comment": "it's 100%"}, rows={"user": USERS}, same=False
    ),
    # much at once
    "change much at once": Change(
        others_before=_parent,
        before=lambda: [
            c("mail", sa.String(20), unique=True),
            c("x", sa.Integer, index=True),
            c("team_id", sa.ForeignKey("team.id")),
            c("gone", sa.Integer, nullable=False),
        ],
        after=lambda: [
            c("email", sa.String(40), nullable=False, default="none"),
            c("x", sa.BigInteger, nullable=False, server_default="0"),
            c("team_id", sa.ForeignKey("team.id", ondelete="CASCADE"), index=True),
            c("fresh", sa.JSON, nullable=False, default=list),
            sa.CheckConstraint("x >= 0"),
        ],
        rows={
            "team": [{"id": 5}],
            **users(
                {"mail": "a", "x": 1, "team_id": 5, "gone": 1},
                {"mail": None, "x": 2, "team_id": None, "gone": 2},
            ),
        },
        renames={"user.mail": "email"},
        expect=users(
            {"email": "a", "x": 1, "team_id": 5, "fresh": []},
            {"email": "none", "x": 2, "team_id": None, "fresh": []},
        ),
    ),
}
