"""What rx.bulk_insert promises, on every server and driver: what session.add does, for many."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from itertools import cycle, islice
from typing import Any
from uuid import UUID

import pytest
from conftest import OpenSession
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import JSON, Column, Engine, Integer, MetaData, Numeric, Table, event, func, text
from sqlmodel import Field, Relationship, Session, col, select

import rxdb as rx
from rxdb import Feature, registry


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Owner(rx.Model, table=True):
    __tablename__ = "bulk_owner"

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})


class Thing(rx.Model, table=True):
    """A column of each kind."""

    __tablename__ = "bulk_thing"

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    name: str | None = Field(default=None, max_length=200)
    code: str | None = Field(default=None, max_length=40, unique=True)
    size: float | None = None
    price: Decimal | None = Field(default=None, sa_column=Column(Numeric(12, 2)))
    made: dt.datetime | None = None
    day: dt.date | None = None
    clock: dt.time | None = None
    is_new: bool | None = None
    data: bytes | None = None
    serial: UUID | None = None
    colour: Colour | None = None
    facts: dict[str, Any] | None = None
    count: int = Field(default=7)
    tag: str = Field(default="", sa_column_kwargs={"default": lambda: "made"}, max_length=9)
    owner_number: int | None = Field(default=None, foreign_key="bulk_owner.number")
    owner: Owner = Relationship()


class Numbered(rx.Model, table=True):
    __tablename__ = "bulk_numbered"

    name: str = Field(max_length=50)
    rank: int | None = Field(
        default=None, sa_column=Column(Integer, server_default=text("5"), nullable=False)
    )
    upper: str | None = Field(default_factory=lambda: "fresh", max_length=9)


class Noted(rx.Model, table=True):
    """Its documents are written by SQLAlchemy's own type."""

    __tablename__ = "bulk_noted"

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    facts: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON))
    data: bytes = b""


class Priced(rx.Model, table=True):
    __tablename__ = "bulk_priced"

    # Without autoincrement=False it is a SERIAL with SQLAlchemy 2.0 on PostgreSQL.
    price: Decimal = Field(sa_column=Column(Numeric(10, 2), primary_key=True, autoincrement=False))
    count: int = 0


class Measure(rx.Model, table=True):
    __tablename__ = "bulk_measure"

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    size: float


TABLES = [Owner, Thing, Numbered, Noted, Priced]
FIELDS = [name for name in Thing.model_fields if name != "owner_number"]


@pytest.fixture(autouse=True)
def _tables(engine: Engine, run: Callable[..., object]) -> None:
    def create() -> None:
        for model in TABLES:
            model.__table__.create(engine)  # type: ignore[attr-defined]  # SQLModel declares no __table__

    run(create)


@pytest.fixture
def session(open_session: OpenSession, run: Callable[..., Any]) -> Iterator[Session]:
    session: Session = run(open_session)
    yield session
    run(session.close)


def names(session: Session) -> list[str | None]:
    return list(session.exec(select(Thing.name).order_by(col(Thing.number))).all())


def dictionaries(count: int, start: int = 0) -> Iterator[dict[str, Any]]:
    return ({"number": n, "name": f"thing {n}"} for n in range(start, start + count))


KINDS: dict[str, Callable[[], Any]] = {
    "models": lambda: [Thing(number=n, name=f"thing {n}") for n in range(3)],
    "dictionaries": lambda: list(dictionaries(3)),
    "a generator": lambda: dictionaries(3),
    "tuples": lambda: [(n, f"thing {n}") for n in range(3)],
    "a mixture": lambda: [
        Thing(number=0, name="thing 0"),
        {"number": 1, "name": "thing 1"},
        (2, "thing 2"),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_takes_rows_of_every_kind(session: Session, kind: str) -> None:
    assert rx.bulk_insert(session, Thing, KINDS[kind](), columns=["number", "name"]) == 3
    assert names(session) == ["thing 0", "thing 1", "thing 2"]
    assert session.exec(select(Thing.count, Thing.tag)).all() == [(7, "")] * 3


def test_is_part_of_the_session_s_transaction(session: Session) -> None:
    session.add(Thing(number=9, name="before"))
    rx.bulk_insert(session, Thing, dictionaries(3))
    assert names(session) == ["thing 0", "thing 1", "thing 2", "before"]
    session.rollback()
    assert names(session) == []
    rx.bulk_insert(session, Thing, dictionaries(2))
    session.commit()
    assert names(session) == ["thing 0", "thing 1"]


def test_no_rows_are_no_error(session: Session) -> None:
    assert rx.bulk_insert(session, Thing, []) == 0
    assert rx.bulk_insert(session, Thing, [], returning="number") == []


def test_many_rows_come_in_batches_that_are_read_one_after_the_other(session: Session) -> None:
    told: list[int] = []
    read: list[int] = []

    def rows() -> Iterator[tuple[int, str]]:
        for number in range(25):
            read.append(number - (told[-1] if told else 0))
            yield number, "x"

    count = rx.bulk_insert(
        session, Thing, rows(), columns=["number", "name"], batch=10, progress=told.append
    )
    assert (count, told) == (25, [10, 20, 25])
    assert max(read) == 9  # never more than a batch ahead
    assert session.scalar(select(func.count()).select_from(Thing)) == 25


def test_rows_may_give_different_columns(session: Session) -> None:
    rows = [{"number": 1, "name": "a"}, {"number": 2, "count": 1}, {"number": 3, "name": "c"}]
    rx.bulk_insert(session, Thing, rows)
    found = session.exec(select(Thing.name, Thing.count).order_by(col(Thing.number))).all()
    assert found == [("a", 7), (None, 1), ("c", 7)]


@pytest.mark.needs(Feature.GENERATED_KEYS)
def test_returns_the_keys_in_the_order_of_the_rows(session: Session) -> None:
    rows = [{"name": f"n{n}"} for n in range(1200)]
    keys = rx.bulk_insert(session, Numbered, rows, returning="id", batch=700)
    assert len(set(keys)) == 1200
    found = dict(session.exec(select(Numbered.id, Numbered.name)).all())
    assert [found[key] for key in keys] == [row["name"] for row in rows]
    pairs = rx.bulk_insert(session, Numbered, [{"name": "z"}], returning=["name", "rank"])
    assert [tuple(pair) for pair in pairs] == [("z", 5)]


@pytest.mark.needs(Feature.GENERATED_KEYS)
def test_defaults_are_those_of_session_add(session: Session) -> None:
    session.add_all([Numbered(name="added"), Numbered(name="ranked", rank=1)])
    session.flush()
    rx.bulk_insert(session, Numbered, [Numbered(name="added"), Numbered(name="ranked", rank=1)])
    rx.bulk_insert(session, Numbered, [{"name": "added"}, {"name": "ranked", "rank": 1}])
    query = select(Numbered.name, Numbered.rank, Numbered.upper).order_by(col(Numbered.id))
    assert session.exec(query).all() == [("added", 5, "fresh"), ("ranked", 1, "fresh")] * 3


@pytest.mark.needs(Feature.SAVEPOINTS)
@pytest.mark.parametrize("others", [0, 3])
def test_returns_rows_whose_key_is_kept_in_another_form(session: Session, others: int) -> None:
    rows: list[dict[str, Any]]
    rows = [{"price": Decimal(n), "count": n} for n in range(others)]
    rows += [{"price": Decimal("10.005"), "count": 10}, {"price": 11, "count": 11}]
    rows += [{"price": Decimal("-1.005"), "count": -1}]
    found = rx.bulk_insert(session, Priced, rows, returning=["price", "count"])
    known = [(Decimal(n), n) for n in range(others)]
    last = [(Decimal("10.01"), 10), (Decimal(11), 11), (Decimal("-1.01"), -1)]
    assert list(map(tuple, found)) == known + last


@pytest.mark.needs(Feature.SAVEPOINTS, Feature.GENERATED_KEYS)
def test_returns_rows_whose_key_is_given_as_a_text(session: Session) -> None:
    cases: list[list[dict[str, Any]]]
    cases = [[{"id": "10", "name": "a"}], [{"id": 20, "name": "a"}, {"id": "21", "name": "b"}]]
    for rows in cases:
        with suppress(rx.BadValue):  # of a driver that takes no text for a number
            found = rx.bulk_insert(session, Numbered, rows, returning="name")
            assert found == [row["name"] for row in rows]


def test_returning_nothing_is_refused(session: Session) -> None:
    with pytest.raises(ValueError, match="returning names no attribute"):
        rx.bulk_insert(session, Thing, dictionaries(1), returning=[])
    with pytest.raises(ValueError, match="returning names no attribute"):
        rx.upsert(session, Thing, dictionaries(1), returning=())


def test_a_refused_row_is_named_and_nothing_of_the_call_stays(session: Session) -> None:
    session.add(Thing(number=1000, name="before", code="c40"))
    session.commit()
    if Feature.SAVEPOINTS in registry.get(session.get_bind().dialect.name).features:
        session.add(Thing(number=1001, name="in the same transaction"))
        session.flush()
    before = names(session)
    rows = ({"number": n, "code": f"c{n}"} for n in range(70))
    with pytest.raises(rx.UniqueViolation, match="code") as failed:
        rx.bulk_insert(session, Thing, rows, batch=30)
    if Feature.SAVEPOINTS in registry.get(session.get_bind().dialect.name).features:
        assert failed.value.row == 40  # type: ignore[attr-defined]  # bulk_insert adds it
        assert "Row 40, counted from 0, was refused" in failed.value.__notes__[0]
    assert names(session) == before
    rx.bulk_insert(session, Thing, dictionaries(1))
    session.commit()
    assert names(session) == ["thing 0", *before]


@pytest.mark.needs(Feature.SAVEPOINTS)
@pytest.mark.parametrize("count", [20, 500])
def test_a_value_that_a_server_refuses_is_named(session: Session, count: int) -> None:
    rows: list[dict[str, Any]] = [{"number": n, "owner_number": None} for n in range(count)]
    rows[13]["owner_number"] = 5
    with pytest.raises(rx.ForeignKeyViolation) as failed:
        rx.bulk_insert(session, Thing, rows)
    assert failed.value.row == 13  # type: ignore[attr-defined]  # bulk_insert adds it
    assert names(session) == []
    nothing: list[dict[str, Any]] = [{"number": n, "count": n} for n in range(count)]
    nothing[13]["count"] = None
    with pytest.raises(rx.NotNullViolation) as failed_too:
        rx.bulk_insert(session, Thing, nothing)
    assert failed_too.value.row == 13  # type: ignore[attr-defined]  # bulk_insert adds it


BAD_ROWS: dict[str, tuple[Any, str]] = {
    "an unknown column": ({"number": 2, "nmae": "x"}, r"nmae of row 2, .*Did you mean 'name'"),
    "a relationship": ({"number": 2, "owner": None}, r"owner of row 2, .*foreign key"),
    "another length": ((2,), r"Row 2, counted from 0, .* 1 values for 16 columns"),
    "no row": (5, r"Row 2, counted from 0, .*int is no Thing"),
    "a value of another type": (
        {"number": 2, "made": dt.datetime(2026, 1, 1)},  # noqa: DTZ001 - that is what is wrong
        r"made of row 2",
    ),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_row_that_cannot_be_read_is_named(session: Session, case: str) -> None:
    row, sentence = BAD_ROWS[case]
    with pytest.raises(rx.BadRow, match=sentence) as failed:
        rx.bulk_insert(session, Thing, [*dictionaries(2), row])
    assert failed.value.row == 2
    assert names(session) == []


@pytest.mark.needs(Feature.SAVEPOINTS)
def test_a_value_refused_when_others_are_sent_is_named(session: Session) -> None:
    rows: list[dict[str, Any]] = [{"number": n} for n in range(1200)]
    rx.bulk_insert(session, Thing, [{"number": -1, "name": "before"}])
    rows[1111]["made"] = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - that is what is wrong
    rows = [{"made": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), **row} for row in rows]
    with pytest.raises(rx.BadRow, match="made of row 1111, "):
        rx.bulk_insert(session, Thing, rows)
    assert names(session) == ["before"]


def test_a_text_that_not_every_server_keeps_is_named(session: Session) -> None:
    rows = list(dictionaries(60))
    rows[41]["name"] = "a\0b"
    if Feature.STRICT_TYPES not in registry.get(session.get_bind().dialect.name).features:
        assert rx.bulk_insert(session, Thing, rows) == 60
        return
    with pytest.raises(rx.BadValue) as failed:
        rx.bulk_insert(session, Thing, rows)
    assert failed.value.row == 41  # type: ignore[attr-defined]  # bulk_insert adds it
    assert names(session) == []


REFUSED: dict[str, dict[str, Any]] = {
    "what JSON does not know": {"facts": {"a": dt.date(2020, 1, 1)}},
    "a text for bytes": {"data": "abc"},
}


@pytest.mark.needs(Feature.SAVEPOINTS)
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("count", [2, 60, 300])
def test_a_value_that_a_driver_refuses_is_named(session: Session, count: int, case: str) -> None:
    rows: list[dict[str, Any]] = [{"number": n, "facts": {}, "data": b"x"} for n in range(count)]
    rows[count - 1] |= REFUSED[case]
    writes: list[Callable[..., object]] = [rx.bulk_insert, rx.upsert]
    for write in writes:
        with pytest.raises(rx.BadValue) as failed:
            write(session, Noted, rows)
        assert failed.value.row == count - 1  # type: ignore[attr-defined]  # bulk_insert adds it
        assert session.exec(select(Noted.number)).all() == []
    session.add(Noted(**rows[count - 1]))
    with pytest.raises(rx.BadValue):
        session.flush()
    session.rollback()


@pytest.mark.needs(Feature.SAVEPOINTS, Feature.STRICT_TYPES)
def test_a_number_of_too_many_bits_is_named(session: Session) -> None:
    rows = [{"number": n, "count": 2**32 if n == 333 else n} for n in range(500)]
    with pytest.raises(rx.BadValue) as failed:
        rx.bulk_insert(session, Thing, rows)
    assert failed.value.row == 333  # type: ignore[attr-defined]  # bulk_insert adds it
    assert names(session) == []


def test_numbers_of_several_types_are_one_statement(session: Session) -> None:
    rows = [{"number": n, "size": n if n % 3 else n / 4} for n in range(60)]
    told = watched(session)
    rx.bulk_insert(session, Thing, [{**row, "price": Decimal(row["number"])} for row in rows])
    assert len(told) == 1
    found = session.exec(
        select(col(Thing.size), col(Thing.price)).order_by(col(Thing.number))
    ).all()
    assert found == [(row["size"], Decimal(row["number"])) for row in rows]


def test_what_watches_an_engine_sees_the_statement(session: Session) -> None:
    told = watched(session)
    rx.bulk_insert(session, Thing, dictionaries(200))
    assert len(told) == 1
    rx.bulk_insert(session, Thing, dictionaries(600, 200), batch=200)
    assert len(told) == 4


def test_a_table_may_have_other_types_than_its_model(session: Session) -> None:
    key = Column("number", Integer, primary_key=True, autoincrement=False)
    table = Table("bulk_measure", MetaData(), key, Column("size", Numeric(12, 2)))
    table.create(session.connection())
    rows = [{"number": n, "size": n / 4} for n in range(150)]
    assert rx.bulk_insert(session, Measure, rows) == 150
    found = session.exec(select(Measure.number, Measure.size)).all()
    assert sorted((number, float(size)) for number, size in found) == [
        (row["number"], row["size"]) for row in rows
    ]


def watched(session: Session) -> list[str]:
    """Return the statements with the table's name that begin from now on."""
    told: list[str] = []

    @event.listens_for(session.get_bind(), "before_cursor_execute")
    def tell(connection: object, cursor: object, statement: str, *_: object) -> None:
        told.extend([statement] if "bulk_thing" in statement else [])

    return told


def test_validates_on_request(session: Session) -> None:
    rows = [{"number": "1", "name": "a", "size": "2.5"}, {"number": "many", "name": "b"}]
    with pytest.raises(rx.BadRow, match=r"number of row 1, .*valid integer"):
        rx.bulk_insert(session, Thing, rows, validate=True)
    rx.bulk_insert(session, Thing, rows[:1], validate=True)
    assert session.exec(select(Thing.number, Thing.size)).all() == [(1, 2.5)]


def test_a_read_only_session_refuses(open_session: OpenSession) -> None:
    with open_session(read_only=True) as session:
        with pytest.raises(rx.ReadOnly, match=r"rx\.bulk_insert of Thing"):
            rx.bulk_insert(session, Thing, dictionaries(1))
        with pytest.raises(rx.ReadOnly, match=r"rx\.upsert of Thing"):
            rx.upsert(session, Thing, dictionaries(1))


def test_what_is_no_model_of_one_table_is_refused(session: Session) -> None:
    with pytest.raises(TypeError, match="no model with a table"):
        rx.bulk_insert(session, dict, [])


@pytest.mark.own_loop
@pytest.mark.async_driver
def test_is_awaited_in_an_asynchronous_session(url: str) -> None:
    async def rows() -> Any:
        for number in range(3):
            yield {"number": number, "name": f"thing {number}"}

    async def work() -> None:
        async with rx.asession(url) as session:
            assert await rx.bulk_insert(session, Thing, rows()) == 3
            found = await rx.upsert(session, Thing, dictionaries(4))
            assert (found.inserted, found.updated) == (1, 3)
            await session.commit()
            assert len((await session.exec(select(Thing.number))).all()) == 4

    asyncio.run(work())


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
SPECIAL = [
    "",
    "\\",
    "\\N",
    "\t",
    "\n",
    "\r\n",
    "\\.",
    "NULL",
    "🥕",
    "a\\tb",
    "'",
    '"',
    "%s",
    "\x1a",
]
INSTANTS = st.datetimes(
    dt.datetime(1971, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    dt.datetime(2037, 1, 1),  # noqa: DTZ001 - the column has no time zone
    timezones=st.just(dt.UTC),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": TEXTS | st.sampled_from(SPECIAL),
    "size": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "price": st.decimals("-9999999999.99", "9999999999.99", places=2),
    "made": INSTANTS,
    "day": st.dates(dt.date(1000, 1, 1)),
    "clock": st.times(),
    "is_new": st.booleans(),
    "data": st.binary(max_size=50),
    "serial": st.uuids(version=4),
    "colour": st.sampled_from(Colour),
    "facts": st.dictionaries(TEXTS, st.integers(-100, 100) | st.booleans() | TEXTS, max_size=3),
    "count": st.integers(-(2**31), 2**31 - 1),
}
ROWS = st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()})


def test_values_come_out_as_with_session_add(session: Session) -> None:
    @settings(
        max_examples=8,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(ROWS, min_size=1, max_size=30))
    def check(rows: list[dict[str, Any]]) -> None:
        session.exec(text("DELETE FROM bulk_thing"))  # type: ignore[call-overload]  # SQLModel's exec takes text too
        full = [{**row, "count": row["count"] or 0, "number": n} for n, row in enumerate(rows)]
        shifted = [{**row, "number": n + 500} for n, row in enumerate(full)]
        session.add_all([Thing(**row) for row in full])
        session.flush()
        rx.bulk_insert(session, Thing, [Thing(**row) for row in shifted])
        many = [{**row, "number": n} for n, row in enumerate(islice(cycle(full), 150), 1000)]
        rx.bulk_insert(session, Thing, many)
        columns = [getattr(Thing, name) for name in FIELDS if name != "number"]
        query = select(*columns).order_by(col(Thing.number))
        found = [tuple(row) for row in session.exec(query).all()]
        added = found[: len(full)]
        assert found[len(full) : 2 * len(full)] == added
        assert found[2 * len(full) :] == list(islice(cycle(added), 150))

    check()
