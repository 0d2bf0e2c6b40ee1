"""What is raised when a database refuses: one family on every server and driver."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import databases
import pytest
from databases import SERVERS, at_once
from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    event,
    exc,
    insert,
    select,
    text,
    update,
)

import rxdb as rx
from rxdb import Feature, Target
from rxdb.dialect import no_limit, run
from rxdb.model import NAMING_CONVENTION

MakeEngine = Callable[..., Engine]

METADATA = MetaData(naming_convention=NAMING_CONVENTION)
TEAM = Table(
    "team",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("n", Integer),
)
HERO = Table(
    "hero",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(20), unique=True, nullable=False),
    Column("age", Integer),
    Column("team", Integer, ForeignKey(TEAM.c.number)),
    CheckConstraint("age > 0", name="age"),
)
GOOD = {"number": 1, "name": "Rusty-Man", "age": 48, "team": 1}
OTHER = {"number": 2, "name": "Spider", "age": 16, "team": 1}


@pytest.fixture(autouse=True)
def _tables(engine: Engine, run: databases.Run) -> None:
    def create() -> None:
        METADATA.create_all(engine)
        with engine.begin() as connection:
            connection.execute(insert(TEAM), [{"number": 1, "n": 0}, {"number": 2, "n": 0}])
            connection.execute(insert(HERO), GOOD)

    run(create)


def refused(engine: Engine, statement: Any, values: Any = None) -> rx.DatabaseError:
    """Return the error of a statement that the database refuses."""
    with pytest.raises(rx.DatabaseError) as raised, engine.begin() as connection:
        connection.execute(statement, values)
    return raised.value


def told(error: rx.DatabaseError) -> tuple[str | None, str | None, tuple[str, ...]]:
    return error.constraint, error.table, error.columns


@pytest.mark.parametrize(
    ("kind", "row", "expected"),
    [
        ("unique", {"name": "Rusty-Man"}, ("uq_hero_name", "hero", ("name",))),
        ("not null", {"name": None}, (None, "hero", ("name",))),
        ("check", {"age": -1}, ("ck_hero_age", "hero", ())),
        ("foreign key", {"team": 9}, ("fk_hero_team_team", "hero", ("team",))),
    ],
)
@pytest.mark.needs(Feature.FOREIGN_KEYS)
def test_a_violated_constraint_has_its_class_and_its_names(
    engine: Engine,
    server: str,
    kind: str,
    row: dict[str, Any],
    expected: tuple[str | None, str, tuple[str, ...]],
) -> None:
    classes = {
        "unique": rx.UniqueViolation,
        "not null": rx.NotNullViolation,
        "check": rx.CheckViolation,
        "foreign key": rx.ForeignKeyViolation,
    }
    error = refused(engine, insert(HERO), {**OTHER, **row})
    assert type(error).__mro__[2] is classes[kind]
    assert isinstance(error, exc.IntegrityError)
    assert isinstance(error.orig, engine.dialect.loaded_dbapi.Error)
    assert error.statement.startswith("INSERT INTO hero")  # type: ignore[union-attr]  # it has one
    if kind in SERVERS[server].silent:
        assert error.constraint is None
    else:
        assert told(error) == expected
        assert error.column == (expected[2][0] if expected[2] else None)


def test_the_primary_key_is_a_unique_constraint(engine: Engine) -> None:
    error = refused(engine, insert(HERO), {**OTHER, "number": 1})
    assert isinstance(error, rx.UniqueViolation)
    assert (error.table, error.columns) == ("hero", ("number",))


@pytest.mark.needs(Feature.FOREIGN_KEYS)
def test_a_parent_that_is_referred_to_is_not_deleted(engine: Engine, server: str) -> None:
    error = refused(engine, delete(TEAM))
    assert isinstance(error, rx.ForeignKeyViolation)
    if "foreign key" not in SERVERS[server].silent:
        assert told(error) == ("fk_hero_team_team", "hero", ("team",))


@pytest.mark.needs(Feature.FOREIGN_KEYS)
def test_a_parent_that_restricts_is_not_deleted(engine: Engine) -> None:
    metadata = MetaData()
    owner = Table("owner", metadata, Column("id", Integer, primary_key=True))
    Table("pet", metadata, Column("owner", ForeignKey(owner.c.id, ondelete="RESTRICT")))
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(owner), {"id": 1})
        connection.execute(insert(metadata.tables["pet"]), {"owner": 1})
    assert isinstance(refused(engine, delete(owner)), rx.ForeignKeyViolation)


def test_a_value_that_does_not_fit_is_a_data_error(engine: Engine) -> None:
    error = refused(engine, update(HERO).values(age=2**70))
    assert isinstance(error, rx.BadValue)
    assert isinstance(error, exc.DataError)
    assert isinstance(error, ValueError)


def test_what_rxdb_has_no_word_for_stays_what_it_was(engine: Engine) -> None:
    error = refused(engine, text("SELECT 1 FROM nowhere"))
    assert isinstance(error, exc.DBAPIError)
    assert type(error).__module__ == "sqlalchemy.exc"
    assert str(error).startswith("(")


def test_the_sentence_comes_first_and_then_what_the_database_says(engine: Engine) -> None:
    error: Any = refused(engine, insert(HERO), {**OTHER, "name": None})
    sentence, rest = str(error).split("\n", 1)
    assert sentence == "hero.name needs a value: it refuses NULL."
    assert str(error.orig).strip().splitlines()[0] in rest
    assert "[SQL: INSERT INTO hero" in rest
    assert "Spider" not in sentence


def test_parameters_are_hidden_where_sqlalchemy_hides_them(make_engine: MakeEngine) -> None:
    engine = make_engine(hide_parameters=True)
    error = refused(engine, update(HERO).values(name=None).where(HERO.c.age == 48))
    assert "[SQL parameters hidden due to hide_parameters=True]" in str(error)
    assert "[parameters:" not in str(error)


def test_an_error_survives_pickling(engine: Engine) -> None:
    error: Any = refused(engine, insert(HERO), {**OTHER, "name": "Rusty-Man"})
    error.add_note("A note.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert told(again) == told(error)
    assert (again.statement, again.params) == (error.statement, error.params)
    assert again.__notes__ == ["A note."]
    assert str(again).splitlines()[0] == str(error).splitlines()[0]


def two(engine: Engine) -> tuple[Connection, Connection]:
    return engine.connect(), engine.connect()


@pytest.mark.needs(Feature.SKIP_LOCKED)  # a server that locks rows
def test_a_deadlock_ends_one_of_two_transactions(engine: Engine, target: Target) -> None:
    def lock(connection: Connection, number: int) -> None:
        connection.execute(update(TEAM).values(n=1).where(TEAM.c.number == number))

    def cross(connection: Connection, number: int) -> None:
        with connection:
            lock(connection, number)

    first, second = two(engine)
    lock(first, 1)
    lock(second, 2)
    results = at_once(target, lambda: cross(first, 2), lambda: cross(second, 1))
    (error,) = [result for result in results if result is not None]
    assert isinstance(error, rx.Deadlock)
    assert isinstance(error, exc.DBAPIError)
    orig: Any = error.orig
    assert target.dialect.error_code(orig) in {*target.dialect.retryable}


def test_a_lock_that_is_not_free_in_time_is_a_lock_timeout(
    make_engine: MakeEngine, target: Target
) -> None:
    if target.dialect.limit_lock_wait is no_limit:
        pytest.skip(f"{target.dialect.name} waits for no lock")
    engine = make_engine()

    @event.listens_for(engine, "connect")
    def limit(connection: Any, record: object) -> None:
        run(connection, *target.dialect.limit_lock_wait(1))

    change = update(TEAM).values(n=1)
    first, second = two(engine)
    with first, second:
        first.execute(change)
        with pytest.raises(rx.LockTimeout) as raised:
            second.execute(change)
    assert isinstance(raised.value, TimeoutError)
    assert isinstance(raised.value, exc.DBAPIError)


def kill(connection: Connection, target: Target, other: Connection) -> None:
    """End the session of a connection from another one."""
    server = SERVERS[target.dialect.name]
    number = connection.exec_driver_sql(server.session).scalar()
    other.exec_driver_sql(server.kill.format(number))


def test_a_connection_that_was_ended_is_lost(engine: Engine, target: Target) -> None:
    if not SERVERS[target.dialect.name].kill:
        pytest.skip(f"{target.dialect.name} has no sessions that could be ended")
    first, second = two(engine)
    with second:
        kill(first, target, second)
    with pytest.raises(rx.ConnectionLost) as raised, first:
        first.execute(select(TEAM))
    error: Any = raised.value
    assert isinstance(error, ConnectionError)
    assert isinstance(error, exc.DBAPIError)
    assert not isinstance(error, rx.CommitUnknown)
    assert error.connection_invalidated
    with engine.connect() as connection:
        assert connection.scalar(select(TEAM.c.n)) == 0


def test_a_connection_that_cannot_be_made_is_lost_too(
    make_engine: MakeEngine, target: Target
) -> None:
    if target.url.port is None:
        pytest.skip(f"{target.dialect.name} has no network in between")
    engine = make_engine(replace(target, url=target.url.set(port=1)))
    with pytest.raises(rx.ConnectionLost) as raised:
        engine.connect()
    assert isinstance(raised.value, exc.OperationalError)
    assert f"run: rxdb doctor --url '{target.url.drivername}" in str(raised.value)
    rx.set_config(rx.Config(db_url=engine.url))
    with pytest.raises(rx.ConnectionLost) as raised:
        engine.connect()
    assert "run: rxdb doctor\n" in str(raised.value)


@pytest.mark.parametrize(
    ("wrong", "kind", "told"),
    [
        ({"password": "wr0ng"}, rx.LoginFailed, "may not use the database '{}'. Correct the URL."),
        (
            {"database": "rxdb nowhere"},
            rx.DatabaseMissing,
            "The server has no database 'rxdb nowhere'. Correct the URL, or make it there: ",
        ),
    ],
)
def test_a_server_that_lets_nobody_in_says_why(
    make_engine: MakeEngine,
    target: Target,
    wrong: dict[str, Any],
    kind: type[Exception],
    told: str,
) -> None:
    if not target.url.host:
        pytest.skip(f"{target.dialect.name} has no server")
    engine = make_engine(replace(target, url=target.url.set(**wrong)))
    with pytest.raises(kind) as raised:
        engine.connect()
    assert told.format(target.url.database) in str(raised.value).partition("\n")[0]
    assert "wr0ng" not in str(raised.value)
    assert isinstance(raised.value, exc.DBAPIError)


@pytest.mark.needs(Feature.READ_ONLY)
def test_a_refused_write_is_read_only_and_sqlalchemys(
    make_engine: MakeEngine, target: Target
) -> None:
    engine = make_engine(replace(target, read_only=True))
    error = refused(engine, update(TEAM).values(n=1))
    assert isinstance(error, rx.ReadOnly)
    assert isinstance(error, exc.DBAPIError)
    assert str(error).startswith("A read-only session cannot write: UPDATE team SET.")
