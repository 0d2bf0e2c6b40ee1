"""What a session promises, on every server and driver."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import databases
import pytest
from conftest import OpenSession
from sqlalchemy import Engine, inspect, text
from sqlmodel import Field, Session, select

import rxdb as rx
from rxdb import Feature, sessions


class Pet(rx.Model, table=True):
    """A key of its own, so that servers without generated keys take part."""

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    name: str = Field(max_length=50)


@pytest.fixture(autouse=True)
def _tables(target: rx.Target, engine: object, run: object) -> None:
    run(lambda: Pet.__table__.create(engine))  # type: ignore[operator, attr-defined]


def test_round_trip(open_session: OpenSession) -> None:
    with open_session() as session:
        session.add(Pet(number=1, name="Möhre 🥕"))
        session.commit()
    with open_session() as session:
        assert session.exec(select(Pet.name)).all() == ["Möhre 🥕"]


def test_is_a_sqlmodel_session(open_session: OpenSession) -> None:
    with open_session() as session:
        assert isinstance(session, Session)


def test_uncommitted_work_is_rolled_back(open_session: OpenSession) -> None:
    with open_session() as session:
        session.add(Pet(number=1, name="Rex"))
        session.flush()
    with open_session() as session:
        assert session.exec(select(Pet)).all() == []


def test_an_error_rolls_back(open_session: OpenSession) -> None:
    def fail() -> None:
        with open_session() as session:
            session.add(Pet(number=1, name="Rex"))
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with open_session() as session:
        assert session.exec(select(Pet)).all() == []


def test_read_only_refuses_objects(open_session: OpenSession) -> None:
    with open_session(read_only=True) as session:
        session.add(Pet(number=1, name="Rex"))
        with pytest.raises(rx.ReadOnly, match=r"a Pet was added.*without read_only=True"):
            session.commit()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO pet (number, name) VALUES (2, 'Rex')",
        "UPDATE pet SET name = 'Max'",
        "DELETE FROM pet",
        "CREATE TABLE toy (n INTEGER)",
        "DROP TABLE pet",
    ],
)
def test_the_server_refuses_to_write_for_a_read_only_session(
    open_session: OpenSession, statement: str
) -> None:
    with open_session() as session:
        session.add(Pet(number=1, name="Rex"))
        session.commit()
    with open_session(read_only=True) as session, pytest.raises(rx.ReadOnly):
        session.execute(text(statement))
    with open_session() as session:
        assert session.exec(select(Pet.name)).all() == ["Rex"]


@pytest.mark.needs(Feature.FRESH_READS)
def test_read_only_sees_what_was_committed_meanwhile(open_session: OpenSession) -> None:
    with open_session(read_only=True) as reader, open_session() as writer:
        assert reader.exec(select(Pet.name)).all() == []
        writer.add(Pet(number=1, name="Rex"))
        writer.commit()
        assert reader.exec(select(Pet.name)).all() == ["Rex"]


@pytest.mark.sync_driver  # asyncpg prepares anew only after it has failed once
@pytest.mark.parametrize("read_only", [False, True])
def test_a_table_that_a_migration_changed_is_read_anew(
    open_session: OpenSession, engine: Engine, read_only: bool
) -> None:
    def read() -> list[tuple[object, ...]]:
        with open_session(read_only=read_only) as session:
            found = [tuple(row) for row in session.connection().execute(text("SELECT * FROM pet"))]
            session.commit()
            return found

    for _ in range(8):  # drivers prepare what is executed often
        assert read() == []
    change_type(engine)
    assert read() == read() == [("seven",)]


def change_type(engine: Engine) -> None:
    """Let a query return another type than before."""
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE pet"))
        connection.execute(text("CREATE TABLE pet (number VARCHAR(9))"))
        connection.execute(text("INSERT INTO pet VALUES ('seven')"))


def test_a_snapshot_of_a_table_that_a_migration_changed_fails_once_at_most(
    open_session: OpenSession, engine: Engine
) -> None:
    def read() -> list[tuple[object, ...]]:
        with open_session(read_only=True, snapshot=True) as session:
            return [tuple(row) for row in session.connection().execute(text("SELECT * FROM pet"))]

    for _ in range(8):
        assert read() == []
    change_type(engine)
    with suppress(rx.DatabaseError):
        read()
    assert read() == [("seven",)]


@pytest.mark.needs(Feature.TRANSACTIONAL_DDL)
@pytest.mark.sync_driver  # asyncpg finds out by an error, after which rx.transaction runs again
def test_a_table_that_was_rolled_back_may_come_back_with_other_types(
    open_session: OpenSession,
) -> None:
    def create_and_read(type_: str, times: int) -> None:
        with open_session() as session:
            connection = session.connection()
            connection.execute(text(f"CREATE TABLE toy (n {type_})"))
            for _ in range(times):
                assert connection.execute(text("SELECT * FROM toy")).all() == []

    create_and_read("INTEGER", 8)  # drivers prepare what is executed often
    create_and_read("VARCHAR(9)", 1)


def test_a_snapshot_sees_one_moment(open_session: OpenSession) -> None:
    with open_session(read_only=True, snapshot=True) as reader, open_session() as writer:
        assert reader.exec(select(Pet.name)).all() == []
        writer.add(Pet(number=1, name="Rex"))
        writer.commit()
        assert reader.exec(select(Pet.name)).all() == []
        reader.rollback()
        assert reader.exec(select(Pet.name)).all() == ["Rex"]  # the next moment


@pytest.mark.needs(Feature.FRESH_READS)
def test_a_snapshot_ends_with_its_session(open_session: OpenSession) -> None:
    rx.set_config(rx.Config(engine_options={"pool_size": 1, "max_overflow": 0}))
    with open_session(read_only=True, snapshot=True) as reader:
        assert reader.exec(select(Pet.name)).all() == []
    with open_session() as writer:
        writer.add(Pet(number=1, name="Rex"))
        writer.commit()
    with open_session(read_only=True) as reader:  # on the connection that had the snapshot
        assert reader.exec(select(Pet.name)).all() == ["Rex"]


def isolation(engine: Engine, *levels: str) -> dict[str, str]:
    """Return the execution options that ask for the first of *levels* that the server knows."""
    known = engine.dialect.get_isolation_level_values(None)  # type: ignore[arg-type]  # no dialect reads it
    return {"isolation_level": next(level for level in levels if level in known)}


@pytest.mark.needs(Feature.FRESH_READS)
def test_a_read_only_session_with_an_isolation_level_is_a_transaction_that_ends(
    open_session: OpenSession, engine: Engine
) -> None:
    rx.set_config(rx.Config(engine_options={"pool_size": 2, "pool_timeout": 5}))
    level = isolation(engine, "REPEATABLE READ", "SERIALIZABLE")
    for number, end in enumerate(["close", "commit", "rollback"]):
        with open_session(read_only=True) as reader, open_session() as writer:
            reader.connection(execution_options=level)
            assert len(reader.exec(select(Pet.name)).all()) == number
            writer.add(Pet(number=number, name="Rex"))
            writer.commit()
            assert len(reader.exec(select(Pet.name)).all()) == number
            getattr(reader, end)()
            assert len(reader.exec(select(Pet.name)).all()) == number + 1


@pytest.mark.needs(Feature.FRESH_READS)
def test_an_isolation_level_ends_with_its_session(
    open_session: OpenSession, engine: Engine
) -> None:
    rx.set_config(rx.Config(engine_options={"pool_size": 2, "pool_timeout": 5}))
    with open_session() as writer:  # it keeps one of the two connections
        writer.add(Pet(number=1, name="Rex"))
        writer.commit()
        with open_session(read_only=True) as reader:
            level = isolation(engine, "READ COMMITTED", "READ UNCOMMITTED")
            reader.connection(execution_options=level).execute(text("SELECT name FROM pet"))
        with open_session(read_only=True, snapshot=True) as reader:
            assert reader.exec(select(Pet.name)).all() == ["Rex"]
            writer.add(Pet(number=2, name="Max"))
            writer.commit()
            assert reader.exec(select(Pet.name)).all() == ["Rex"]
        with open_session(read_only=True) as reader:
            assert len(reader.exec(select(Pet.name)).all()) == 2
            writer.add(Pet(number=3, name="Bella"))
            writer.commit()
            assert len(reader.exec(select(Pet.name)).all()) == 3


@pytest.mark.parametrize("statement", ["DELETE FROM pet", "CREATE TABLE toy (n INTEGER)"])
def test_a_snapshot_refuses_to_write(open_session: OpenSession, statement: str) -> None:
    with open_session(read_only=True, snapshot=True) as session, pytest.raises(rx.ReadOnly):
        session.execute(text(statement))


@pytest.mark.needs(Feature.SAVEPOINTS)
def test_a_savepoint_in_a_snapshot_sees_the_same(open_session: OpenSession) -> None:
    with open_session(read_only=True, snapshot=True) as session, session.begin_nested():
        assert session.exec(select(Pet.name)).all() == []


@pytest.mark.needs(Feature.FRESH_READS)
def test_a_nested_block_of_a_read_only_session_ends_as_one_that_writes(
    open_session: OpenSession, engine: Engine
) -> None:
    with open_session(read_only=True) as reader, open_session() as writer:
        with reader.begin_nested():
            assert reader.exec(select(Pet.name)).all() == []
            writer.add(Pet(number=1, name="Rex"))
            writer.commit()
            with reader.begin_nested() as inner:
                assert reader.exec(select(Pet.name)).all() == ["Rex"]  # still no transaction
                inner.rollback()
        with suppress(rx.DatabaseError), reader.begin_nested():
            reader.connection().execute(text("SELECT nothing FROM pet"))
        assert reader.exec(select(Pet.name)).all() == ["Rex"]


@pytest.mark.needs(Feature.SAVEPOINTS)
@pytest.mark.parametrize("snapshot", [False, True])
def test_a_savepoint_is_real_where_a_read_only_session_is_a_transaction(
    open_session: OpenSession, engine: Engine, snapshot: bool
) -> None:
    with open_session(read_only=True, snapshot=snapshot) as session:
        if not snapshot:
            level = isolation(engine, "REPEATABLE READ", "SERIALIZABLE")
            session.connection(execution_options=level)
        with pytest.raises(rx.DatabaseError), session.begin_nested():
            session.execute(text("SELECT nothing FROM pet"))  # fails all of it on some servers
        assert session.exec(select(Pet.name)).all() == []


def test_a_snapshot_is_for_reading(open_session: OpenSession) -> None:
    with pytest.raises(rx.BadArgument, match=r"rx\.session\(read_only=True, snapshot=True\)"):
        open_session(snapshot=True)


def test_a_snapshot_that_nobody_knows_to_ask_for(
    open_session: OpenSession, target: rx.Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = target.dialect.features | {Feature.FRESH_READS}
    other = replace(target.dialect, begin_snapshot="", features=features)
    monkeypatch.setattr(sessions, "find_target", lambda *_, **__: replace(target, dialect=other))
    with pytest.raises(rx.BadArgument, match="each statement then sees its own moment"):
        open_session(read_only=True, snapshot=True)


@pytest.mark.parametrize(
    ("configured", "given", "expires"),
    [
        (None, None, None),
        (None, True, True),
        (None, False, False),
        (True, None, True),
        (False, None, False),
        (True, False, False),
    ],
)
def test_objects_expire_on_commit_as_they_are_told(
    open_session: OpenSession,
    target: rx.Target,
    configured: bool | None,
    given: bool | None,
    expires: bool | None,
) -> None:
    if expires is None:
        expires = not databases.is_async(target)
    rx.set_config(rx.Config(expire_on_commit=configured))
    with open_session(expire_on_commit=given) as session:
        pet = Pet(number=1, name="Rex")
        session.add(pet)
        session.commit()
        assert inspect(pet).expired is expires


@pytest.mark.needs(Feature.SAVEPOINTS)
def test_a_savepoint_rolls_back_alone(open_session: OpenSession) -> None:
    with open_session() as session:
        session.add(Pet(number=1, name="Rex"))
        with session.begin_nested() as inner:
            session.add(Pet(number=2, name="Max"))
            session.flush()
            inner.rollback()
        session.commit()
        assert session.exec(select(Pet.name)).all() == ["Rex"]


@pytest.mark.parametrize("statement", ["DELETE FROM pet", "CREATE TABLE toy (n INTEGER)"])
def test_rxdb_refuses_to_write_where_a_server_would_not(
    target: rx.Target, make_engine: Callable[..., Engine], statement: str
) -> None:
    weak = replace(target.dialect, features=target.dialect.features - {Feature.READ_ONLY})
    engine = make_engine(replace(target, dialect=weak, read_only=True))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM pet")).scalar() == 0
        with pytest.raises(rx.ReadOnly, match=" ".join(statement.split()[:2])):
            connection.execute(text(statement))
