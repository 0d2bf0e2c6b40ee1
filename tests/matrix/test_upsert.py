"""What rx.upsert promises, on every server and driver."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import OpenSession
from sqlalchemy import Column, ColumnDefault, Engine, Integer, UniqueConstraint, func, inspect
from sqlmodel import Field, Session, col, select

import rxdb as rx
from rxdb import Feature, registry


class Stock(rx.Model, table=True):
    __tablename__ = "upsert_stock"
    __table_args__ = (UniqueConstraint("place", "item"),)

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    place: str = Field(default="home", max_length=20)
    item: str = Field(default="", max_length=20)
    code: str | None = Field(default=None, max_length=20, unique=True)
    count: int = 0
    note: str | None = Field(default="new", max_length=20)


class Counted(rx.Model, table=True):
    __tablename__ = "upsert_counted"

    name: str = Field(max_length=20, unique=True)
    count: int = 0


class Member(rx.Model, table=True):
    """Most columns have a default of Python, the primary key as well."""

    __tablename__ = "upsert_member"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    email: str = Field(max_length=20, unique=True)
    name: str = Field(default="", max_length=20)
    logins: int = 0
    mark: str = Field(default_factory=lambda: uuid4().hex[:9], max_length=9)


class Kept(rx.Model, table=True):
    """Columns with a value for each change."""

    __tablename__ = "upsert_kept"

    name: str = Field(primary_key=True, max_length=20)
    count: int = 0
    changed: dt.datetime | None = Field(
        default=None, sa_column_kwargs={"onupdate": lambda: dt.datetime.now(dt.UTC)}
    )
    state: str | None = Field(default="new", max_length=9, sa_column_kwargs={"onupdate": "changed"})
    facts: dict[str, Any] | None = Field(
        default=None, sa_column_kwargs={"onupdate": lambda context: {"n": context is None}}
    )
    times: int = Field(default=1, sa_column=Column("number of times", Integer))


table: Any = inspect(Kept).local_table
table.c["number of times"].onupdate = ColumnDefault(table.c["number of times"] + 1, for_update=True)


class Post(rx.Model, table=True):
    __tablename__ = "upsert_post"

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    member_id: UUID = Field(foreign_key="upsert_member.id")


@cache
def nickname() -> Any:
    """Return a model that not every backend can create."""

    class Nickname(rx.Model, table=True):
        __tablename__ = "upsert_nickname"

        name: str = Field(primary_key=True, sa_type=rx.CaseInsensitiveText)
        count: int = 0

    table: Any = inspect(Nickname).local_table
    table.metadata.remove(table)  # other tests create all that is there
    return Nickname


@pytest.fixture(autouse=True)
def _tables(engine: Engine, run: Callable[..., object]) -> None:
    def create() -> None:
        has_caseless = Feature.CASELESS_TEXT in registry.get(engine.dialect.name).features
        models: list[Any] = [
            Stock,
            Counted,
            Member,
            Kept,
            Post,
            *([nickname()] if has_caseless else []),
        ]
        for model in models:
            model.__table__.create(engine)

    run(create)


@pytest.fixture
def session(open_session: OpenSession, run: Callable[..., Any]) -> Iterator[Session]:
    session: Session = run(open_session)
    yield session
    run(session.close)


def has_savepoints(session: Session) -> bool:
    return Feature.SAVEPOINTS in registry.get(session.get_bind().dialect.name).features


def stock(numbers: Any, **values: Any) -> list[dict[str, Any]]:
    return [{"number": n, "item": f"i{n}", **values} for n in numbers]


def counts(session: Session) -> list[int]:
    return list(session.exec(select(Stock.count).order_by(col(Stock.number))).all())


@pytest.mark.parametrize("size", [4, 400])
def test_counts_what_was_inserted_and_what_was_updated(session: Session, size: int) -> None:
    rx.bulk_insert(session, Stock, stock(range(size // 2), count=1, note="old"))
    found = rx.upsert(session, Stock, stock(range(size), count=1))
    assert (found.inserted, found.updated) == (size // 2, size // 2)
    found = rx.upsert(session, Stock, stock(range(size), count=2))
    assert (found.inserted, found.updated) == (0, size)  # also those that are as they were
    assert counts(session) == [2] * size
    session.commit()


def test_changes_only_what_is_named(session: Session) -> None:
    rx.bulk_insert(session, Stock, stock([1], count=1, note="old"))
    rx.upsert(session, Stock, stock([1], count=5, note="other"), update=["count"])
    assert session.exec(select(Stock.count, Stock.note)).all() == [(5, "old")]
    rx.upsert(session, Stock, stock([1], count=9))
    assert session.exec(select(Stock.count, Stock.note)).all() == [(9, "old")]
    found = rx.upsert(session, Stock, stock([1, 2], count=7), update=())
    assert (found.inserted, found.updated) == (1, 0)
    assert counts(session) == [9, 7]


@pytest.mark.parametrize("validate", [False, True])
def test_defaults_are_for_new_rows_only(session: Session, *, validate: bool) -> None:
    there = Member(email="a@x", name="Ann", logins=17)
    session.add(there)
    session.flush()
    session.add(Post(number=1, member_id=there.id))
    session.commit()
    before = (there.id, "Anna", 17, there.mark)
    rows: list[dict[str, Any]]
    rows = [{"email": "a@x", "name": "Anna"}, {"email": "b@x", "name": "Bob"}]
    found = rx.upsert(
        session, Member, rows, key="email", returning=["id", "name", "logins"], validate=validate
    )
    assert (found.inserted, found.updated) == (1, 1)
    assert tuple(found.rows[0]) == before[:3]
    assert isinstance(found.rows[1].id, UUID)
    assert tuple(found.rows[1])[1:] == ("Bob", 0)
    rx.upsert(session, Member, [("a@x", "Anna")], key="email", columns=["email", "name"])
    query = select(Member.id, Member.name, Member.logins, Member.mark)
    assert session.exec(query.where(Member.email == "a@x")).all() == [before]
    rows = [{"email": "a@x", "logins": 3}]
    rx.upsert(session, Member, rows, key="email", update=["logins", "mark"])
    (new,) = session.exec(query.where(Member.email == "a@x")).all()
    assert (tuple(new)[:3], new[3] == before[3]) == ((before[0], "Anna", 3), False)


@pytest.mark.parametrize("validate", [False, True])
def test_a_model_gives_all_but_the_primary_key(session: Session, *, validate: bool) -> None:
    session.add(there := Member(email="a@x", name="Ann", logins=17))
    session.commit()
    rows = [Member(email="a@x", name="Anna"), Member(email="b@x")]
    key = there.id
    rx.upsert(session, Member, rows, key="email", validate=validate)
    query = select(Member.id, Member.name, Member.logins, Member.mark)
    found = session.exec(query.where(Member.email == "a@x")).all()
    assert found == [(key, "Anna", 0, rows[0].mark)]
    rx.upsert(session, Member, [Member(email="a@x", logins=5)], key="email", update=["logins"])
    found = session.exec(query.where(Member.email == "a@x")).all()
    assert found == [(key, "Anna", 5, rows[0].mark)]
    new = Member(email="a@x")
    rx.upsert(session, Member, [new], key="email", update=["id"])
    assert session.exec(select(Member.id).where(Member.email == "a@x")).all() == [new.id]


def test_onupdate_is_applied_to_rows_that_are_there(session: Session) -> None:
    columns: list[Any] = [Kept.count, Kept.changed, Kept.state, Kept.facts, Kept.times]
    query = select(*columns)

    def kept(name: str) -> Any:
        return session.exec(query.where(col(Kept.name) == name)).one()

    rx.bulk_insert(session, Kept, [{"name": "a"}])
    assert tuple(kept("a")) == (0, None, "new", None, 1)
    before = dt.datetime.now(dt.UTC)
    found = rx.upsert(session, Kept, [{"name": "a", "count": 1}, {"name": "b", "count": 1}])
    assert (found.inserted, found.updated) == (1, 1)
    assert tuple(kept("b")) == (1, None, "new", None, 1)
    count, changed, state, facts, times = kept("a")
    assert (count, state, facts, times) == (1, "changed", {"n": False}, 2)
    assert before <= changed <= dt.datetime.now(dt.UTC)
    rx.upsert(session, Kept, [{"name": "a"}], update=())
    assert tuple(kept("a")) == (1, changed, "changed", {"n": False}, 2)
    rx.upsert(session, Kept, [{"name": "a", "state": "given", "facts": {}, "times": 7}])
    assert kept("a")[2:] == ("given", {}, 7)
    rx.upsert(session, Kept, [{"name": "a", "count": 3}], update=["count", "state"])
    assert kept("a")[2:] == ("new", {"n": False}, 8)
    # None in a model is its default; in a dictionary it is given.
    rx.upsert(session, Kept, [{"name": "a", "changed": None}])
    assert kept("a").changed is None
    rx.upsert(session, Kept, [Kept(name="a", count=9)])
    assert kept("a").changed is not None
    assert kept("a").count == 9


def test_all_rows_give_the_same(session: Session) -> None:
    rows: list[Any] = [{"email": "a@x", "name": "Ann"}, {"email": "b@x"}]
    for validate in [False, True]:
        with pytest.raises(rx.BadRow, match=r"Row 1, .*other columns than the first") as failed:
            rx.upsert(session, Member, rows, key="email", validate=validate)
        assert failed.value.row == 1
    assert session.exec(select(Member.id)).all() == []
    found = rx.upsert(session, Member, rows, key="email", update=["name"])
    assert (found.inserted, found.updated) == (2, 0)
    found = rx.upsert(session, Member, [{"email": "a@x"}, {"email": "c@x"}], key="email")
    assert (found.inserted, found.updated) == (1, 1)  # also where there is nothing to change


def test_takes_another_key(session: Session) -> None:
    rx.bulk_insert(session, Stock, [{"number": 1, "item": "a"}, {"number": 2, "item": "b"}])
    rows = [{"number": 5, "item": "b", "count": 3}, {"number": 6, "item": "c", "count": 4}]
    found = rx.upsert(session, Stock, rows, key=["place", Stock.item], update=["count"])
    assert (found.inserted, found.updated) == (1, 1)
    query = select(Stock.number, Stock.count).order_by(col(Stock.number))
    assert session.exec(query).all() == [(1, 0), (2, 3), (6, 4)]


@pytest.mark.needs(Feature.GENERATED_KEYS)
def test_returns_the_rows_in_their_order(session: Session) -> None:
    rows = [{"name": name} for name in "caeb"]
    first = rx.upsert(session, Counted, rows[:2], key="name", returning="id")
    found = rx.upsert(session, Counted, rows, key="name", returning=["name", "id"])
    assert (found.inserted, found.updated) == (2, 2)
    assert [row.name for row in found.rows] == list("caeb")
    assert [row.id for row in found.rows[:2]] == first.rows
    again = rx.upsert(session, Counted, rows, key="name", update=(), returning="id")
    assert again.rows == [row.id for row in found.rows]


def test_a_row_in_the_way_with_another_key_is_an_error(session: Session) -> None:
    rx.bulk_insert(session, Stock, stock([1, 2], count=1))
    session.commit()
    rows = [*stock([3, 4], count=0), {"number": 5, "item": "i2", "count": 8}]
    with pytest.raises(rx.UniqueViolation) as failed:
        rx.upsert(session, Stock, rows)
    if has_savepoints(session):
        assert failed.value.row == 2  # type: ignore[attr-defined]  # bulk_insert adds it
    assert counts(session) == [1, 1]
    rx.upsert(session, Stock, stock([2, 3], count=4))
    session.commit()
    assert counts(session) == [1, 4, 4]


@pytest.mark.needs(Feature.SAVEPOINTS)
@pytest.mark.parametrize("count", [1, 150])
def test_an_error_speaks_of_the_model_s_table(session: Session, count: int) -> None:
    rx.bulk_insert(session, Stock, stock([1000], code="there"))
    rows = [*stock(range(count), code=None), *stock([count], code="there")]
    with pytest.raises(rx.UniqueViolation) as failed:
        rx.upsert(session, Stock, rows)
    error: Any = failed.value
    assert (error.table, error.columns, error.row) == ("upsert_stock", ("code",), count)
    assert str(error).startswith("There is already a row with this value of upsert_stock.code")
    rows[count] = {**rows[count], "code": None, "item": None}
    with pytest.raises(rx.NotNullViolation) as missing:
        rx.upsert(session, Stock, rows)
    error = missing.value
    assert (error.table, error.columns, error.row) == ("upsert_stock", ("item",), count)
    rows[count] = {**rows[count], "item": "", "count": 2**32}
    if Feature.STRICT_TYPES in registry.get(session.get_bind().dialect.name).features:
        with pytest.raises(rx.BadValue) as large:
            rx.upsert(session, Stock, [{"count": 0, **row} for row in rows])
        error = large.value
        assert error.row == count
        assert error.table in {None, "upsert_stock"}
        assert "rxdb_rows" not in str(error).partition("\n")[0]


def test_a_key_names_each_column_once(session: Session) -> None:
    with pytest.raises(ValueError, match="key names a column twice: place, place, item"):
        rx.upsert(session, Stock, stock([1]), key=["place", "place", "item"])


@pytest.mark.own_loop
@pytest.mark.sync_driver
def test_an_asynchronous_iterable_needs_an_asynchronous_session(open_session: OpenSession) -> None:
    async def rows() -> Any:
        yield {"name": "a"}

    with open_session() as session:
        writes: list[Callable[..., object]] = [rx.bulk_insert, rx.upsert]
        for write in writes:
            with pytest.raises(TypeError, match=r"asynchronous iterable.*Use rx\.asession"):
                write(session, Counted, rows())


def test_rows_that_cannot_be_told_apart_are_refused(session: Session) -> None:
    with pytest.raises(rx.BadRow, match=r"number of row 3, .*row 1 has the same key") as failed:
        rx.upsert(session, Stock, stock([7, 8, 9, 8]))
    assert (failed.value.row, failed.value.column) == (3, "number")
    rows = stock(range(30))
    with pytest.raises(rx.BadRow, match=r"number of row 30, .*row 7 has the same key"):
        rx.upsert(session, Stock, [*rows, *stock([7])], batch=10)
    with pytest.raises(rx.BadRow, match=r"name of row 1, .*no value for the key"):
        rx.upsert(session, Counted, [{"name": "a"}, {"name": None}], key="name")
    with pytest.raises(rx.BadRow, match=r"id of row 0, .*no value for the key"):
        rx.upsert(session, Counted, [Counted(name="a")])
    with pytest.raises(ValueError, match=r"count is not unique in .*: .*item, place; number"):
        rx.upsert(session, Stock, stock([1]), key="count")
    with pytest.raises(ValueError, match="update names 'code'"):
        rx.upsert(session, Stock, stock([1]), update=["code"])
    assert rx.upsert(session, Stock, []) == rx.Upserted(0, 0)
    assert counts(session) == []


@pytest.mark.own_loop
@pytest.mark.sync_driver
@pytest.mark.needs(Feature.SEVERAL_PROCESSES)
def test_counts_are_exact_while_sixteen_write(open_session: OpenSession) -> None:
    writers, keys = 16, 60

    def write(number: int) -> tuple[int, int]:
        rows = [{"name": f"k{key}", "count": number} for key in range(keys + number)]
        random.Random(number).shuffle(rows)
        with open_session() as session:
            found = rx.upsert(session, Counted, rows, key="name")
            session.commit()
            return found.inserted, found.updated

    with ThreadPoolExecutor(writers) as pool:
        found = list(pool.map(write, range(writers)))
    with open_session() as session:
        there = session.scalar(select(func.count()).select_from(Counted))
    assert there == keys + writers - 1
    assert sum(inserted for inserted, _ in found) == there
    assert [a + b for a, b in found] == [keys + number for number in range(writers)]


@pytest.mark.needs(Feature.CASELESS_TEXT)
def test_two_rows_that_differ_in_case_only_have_one_key(session: Session) -> None:
    for count in [1, 150]:
        rows = [{"name": name} for name in [*(f"eve {n}" for n in range(count)), "EVE 0"]]
        with pytest.raises(rx.BadRow, match=r"name of row \d+, .*row 0 has the same key") as failed:
            rx.upsert(session, nickname(), rows)
        assert failed.value.row == count
    assert session.exec(select(nickname().name)).all() == []


@pytest.mark.needs(Feature.CASELESS_TEXT)
def test_finds_a_row_without_regard_to_case(
    session: Session,
) -> None:
    model = nickname()
    rx.bulk_insert(session, model, [{"name": "Bob"}])
    other = "b\N{LATIN SMALL LETTER O WITH DIAERESIS}b"
    rows: list[dict[str, Any]] = [{"name": "BOB", "count": 1}, {"name": other}]
    found = rx.upsert(session, model, rows, update=["count"])
    assert (found.inserted, found.updated) == (1, 1)
    names = session.exec(select(model.name, model.count).order_by(model.name)).all()
    assert names == [("Bob", 1), (other, 0)]
