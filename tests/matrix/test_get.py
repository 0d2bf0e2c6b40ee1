"""``session.get()`` does what SQLAlchemy's does, on every server and driver.

rxdb makes the statement for a plain key once for each model. Each case runs in one of rxdb's
sessions, and again with SQLAlchemy's own ``get()``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import databases
import pytest
import sqlalchemy as sa
from conftest import OpenSession
from sqlalchemy import exc, orm
from sqlmodel import Field, Session

import rxdb as rx
from rxdb import sessions


class Base(orm.DeclarativeBase):
    """Declared in SQLAlchemy's way, for what SQLModel has no words for."""


class Kennel(Base):
    __tablename__ = "kennel"
    number = orm.mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    name = orm.mapped_column(sa.String(50))
    dogs: orm.Mapped[list[Dog]] = orm.relationship(lazy="joined", order_by="Dog.number")


class Animal(Base):
    __tablename__ = "animal"
    number = orm.mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    kind = orm.mapped_column(sa.String(20))
    kennel = orm.mapped_column(sa.ForeignKey("kennel.number"))
    __mapper_args__: dict[str, Any] = {"polymorphic_on": "kind"}  # noqa: RUF012 - SQLAlchemy's


class Dog(Animal):
    __mapper_args__: dict[str, Any] = {"polymorphic_identity": "dog"}  # noqa: RUF012 - SQLAlchemy's


class Cat(Animal):
    __mapper_args__: dict[str, Any] = {"polymorphic_identity": "cat"}  # noqa: RUF012 - SQLAlchemy's


class Stay(Base):
    __tablename__ = "stay"
    kennel = orm.mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    night = orm.mapped_column(sa.Integer, primary_key=True, autoincrement=False)


class Badge(rx.Model, table=True):
    code: str = Field(primary_key=True, max_length=20)
    owner: str = Field(max_length=50)


class Chip(rx.Model, table=True):
    serial: UUID = Field(primary_key=True)


SERIAL = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
TABLES: list[Any] = [sa.inspect(m).local_table for m in (Kennel, Animal, Stay, Badge, Chip)]


@pytest.fixture(autouse=True)
def _tables(engine: sa.Engine, run: databases.Run, open_session: OpenSession) -> None:
    def make() -> None:
        for table in TABLES:
            table.create(engine)
        with open_session() as session:
            session.add_all([Kennel(number=1, name="North"), Kennel(number=2, name="South")])
            session.flush()
            session.add_all([Dog(number=n, kennel=1) for n in (1, 2)])
            session.add_all([Cat(number=3), Stay(kennel=1, night=2), Chip(serial=SERIAL)])
            session.add(Badge(code="a-1", owner="Ada"))
            session.commit()

    run(make)


def both(
    open_session: OpenSession, case: Callable[[Session, Callable[..., Any]], Any], **options: Any
) -> Any:
    """Return what a case comes to, which is the same with both ways to get."""
    found = []
    for get in (sessions.KeyedSession.get, Session.get):
        with open_session(**options) as session:
            assert isinstance(session, sessions.KeyedSession)
            try:
                found.append(case(session, get.__get__(session)))
            except exc.SQLAlchemyError as error:
                found.append((type(error), str(getattr(error, "orig", error))))
            session.rollback()
    ours, theirs = found
    assert ours == theirs
    return ours


KEYS: list[tuple[type[Any], Any, Any]] = [
    (Kennel, 1, "Kennel"),
    (Kennel, 9, None),
    (Kennel, True, "Kennel"),
    (Kennel, (1,), "Kennel"),
    (Kennel, {"number": 1}, "Kennel"),
    (Kennel, (1, 2), exc.InvalidRequestError),
    (Kennel, {"name": "North"}, exc.InvalidRequestError),
    (Animal, 1, "Dog"),
    (Dog, 1, "Dog"),
    (Dog, 3, None),
    (Stay, (1, 2), "Stay"),
    (Stay, 1, exc.InvalidRequestError),
    (Badge, "a-1", "Badge"),
    (Badge, "A-1", None),
    (Chip, SERIAL, "Chip"),
    (int, 1, exc.NoInspectionAvailable),
]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(("entity", "key", "expected"), KEYS)
def test_a_key_is_looked_up(
    open_session: OpenSession, entity: type[Any], key: Any, expected: Any, read_only: bool
) -> None:
    def case(session: Session, get: Callable[..., Any]) -> Any:
        found = get(entity, key)
        return found and (type(found).__name__, sa.inspect(found).identity, found in session)

    found = both(open_session, case, read_only=read_only)
    assert (found and found[0]) == expected


def test_no_key_is_warned_of(open_session: OpenSession) -> None:
    def case(session: Session, get: Callable[..., Any]) -> Any:
        with pytest.warns(exc.SAWarning, match="fully NULL primary key"):
            return get(Kennel, None)

    assert both(open_session, case) is None


def test_what_is_there_is_not_asked_for_again(open_session: OpenSession) -> None:
    def case(session: Session, get: Callable[..., Any]) -> Any:
        asked: list[object] = []
        first = get(Kennel, 1)
        sa.event.listen(session, "do_orm_execute", asked.append)
        return get(Kennel, 1) is first and not asked

    assert both(open_session, case)


def test_what_waits_is_sent_first(open_session: OpenSession) -> None:
    def case(session: Session, get: Callable[..., Any]) -> Any:
        session.add(Kennel(number=5, name="New"))
        return get(Kennel, 5).name

    assert both(open_session, case) == "New"


def test_what_expired_and_is_gone_is_none(open_session: OpenSession) -> None:
    def case(session: Session, get: Callable[..., Any]) -> Any:
        found = get(Stay, (1, 2)), get(Badge, "a-1")  # held, so that the session knows them
        session.expire_all()
        session.connection().execute(sa.delete(Badge))
        return get(Badge, "a-1"), len(found)

    assert both(open_session, case) == (None, 2)


def test_a_collection_comes_with_it(open_session: OpenSession) -> None:
    def case(session: Session, get: Callable[..., Any]) -> Any:
        return [dog.number for dog in get(Kennel, 1).dogs]

    assert both(open_session, case) == [1, 2]


def test_options_are_followed(open_session: OpenSession) -> None:
    def case(session: Session, get: Callable[..., Any]) -> Any:
        found = get(Kennel, 1, options=[orm.lazyload(Kennel.dogs)])
        unread = "dogs" in sa.inspect(found).unloaded
        session.connection().execute(sa.update(Kennel).values(name="Other"))
        same = get(Kennel, 1).name
        return unread, same, get(Kennel, 1, populate_existing=True).name

    assert both(open_session, case) == (True, "North", "Other")


def test_the_criteria_of_an_application_hold(open_session: OpenSession) -> None:
    def case(session: Session, get: Callable[..., Any]) -> Any:
        @sa.event.listens_for(session, "do_orm_execute")
        def hide(state: orm.ORMExecuteState) -> None:
            south = orm.with_loader_criteria(Kennel, Kennel.name == "South")
            state.statement = state.statement.options(south)

        return get(Kennel, 1), get(Kennel, 2).name

    assert both(open_session, case) == (None, "South")


@pytest.mark.parametrize("key", [1, (1,)])
def test_an_unknown_option_is_refused(open_session: OpenSession, key: Any) -> None:
    unknown: dict[str, Any] = {"with_for_updates": None}
    with open_session() as session, pytest.raises(TypeError, match="with_for_updates"):
        session.get(Kennel, key, **unknown)


def test_the_statement_is_made_once(open_session: OpenSession) -> None:
    seen = []
    with open_session() as session:
        sa.event.listen(session, "do_orm_execute", lambda state: seen.append(state.statement))
        session.get(Kennel, 1)
        session.get(Kennel, 2)
    first, second = seen
    assert first is second
