"""Each state of a schema is told by its true name, on every server."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread, Timer
from typing import TYPE_CHECKING, Any

import pytest
from proxy import Relay
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, event, insert, inspect

import rxdb as rx
from rxdb import Feature, Target
from rxdb.errors import NotAnswering
from rxdb.migrations import journal, log, revisions, state, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

Prepare = Callable[[Engine], None]

HISTORY = {"a": None, "b": "a", "c": "b"}
"""Scripts, each with the one it follows."""


def write(scripts: dict[str, Any], *, options: str = "") -> None:
    """Write the scripts of a project in the current folder."""
    versions = Path("alembic/versions")
    versions.mkdir(parents=True, exist_ok=True)
    Path("alembic.ini").write_text(f"[alembic]\nscript_location = %(here)s/alembic\n{options}")
    for own, down in scripts.items():
        text = f'"""about {own}"""\nrevision = {own!r}\ndown_revision = {down!r}\n'
        (versions / f"{own}.py").write_text(text)


def create(engine: Engine, *names: str) -> None:
    """Create tables with one column."""
    metadata = MetaData()
    for name in names:
        Table(name, metadata, Column("id", Integer, primary_key=True, autoincrement=False))
    metadata.create_all(engine)


def stamp(engine: Engine, *ids: str, table: str = "alembic_version") -> None:
    """Write down where the database is, as Alembic does."""
    found = Table(table, MetaData(), Column("version_num", String(32), primary_key=True))
    with engine.begin() as connection:
        found.create(connection, checkfirst=True)
        connection.execute(found.delete())
        for own in ids:
            connection.execute(insert(found).values(version_num=own))


def record(engine: Engine, *ids: str, direction: str = "upgrade") -> None:
    """Log that revisions were applied."""
    with engine.begin() as connection:
        log.ensure(connection)
    for own in ids:
        path = Path(f"alembic/versions/{own}.py")
        with engine.begin() as connection:
            row = log.row(
                revision=own,
                direction=direction,
                started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
                seconds=0.5,
                checksum=log.checksum(path) if path.exists() else "",
            )
            log.record(connection, [row])


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Collect what is sent to the server."""
    found: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def ask(engine: Engine) -> state.SchemaState:
    with engine.connect() as connection:
        return state.read(connection, revisions.read())


def nothing(engine: Engine) -> None:
    """Leave the database as it is."""


def unversioned(engine: Engine) -> None:
    create(engine, "t")


def at(*ids: str, logged: tuple[str, ...] = (), tables: tuple[str, ...] = ()) -> Prepare:
    """Return what brings a database to revisions, with a log and with tables."""

    def prepare(engine: Engine) -> None:
        stamp(engine, *ids)
        if logged:
            record(engine, *logged)
        create(engine, *tables)

    return prepare


STATES: dict[str, tuple[Prepare, str, str]] = {
    "empty": (nothing, "empty", "Run: rxdb db migrate"),
    "empty after the last downgrade": (at(logged=("a",)), "empty", "Run: rxdb db migrate"),
    "unversioned": (unversioned, "unversioned", "run: rxdb db init --adopt"),
    "at base": (at(tables=("t",)), "unversioned", "run: rxdb db migrate"),
    "behind by one": (at("b"), "behind 1", "1 revision behind"),
    "behind by two": (at("a"), "behind 2", "Run: rxdb db migrate"),
    "at head": (at("c"), "at head", "The database is at head (c)."),
    "ahead": (at("x"), "ahead (unknown revision)", "no script here describes"),
    "ahead, says the log": (
        at("x", logged=("a", "b", "c", "x")),
        "ahead (unknown revision)",
        "Update this code. Then run: rxdb db status. Only if its script is gone",
    ),
    "ahead of scripts that were applied before there was a log": (
        at("x", logged=("x",)),
        "ahead (unknown revision)",
        "Revision x was applied",
    ),
    "diverged": (at("b", "x"), "diverged", "run: rxdb db merge. Only if its script is gone"),
    "diverged at head": (at("c", "x"), "diverged", "run: rxdb db merge"),
    "diverged, says the log": (
        at("x", logged=("a", "b", "x")),
        "diverged",
        "Revision x was applied to this database by other code",
    ),
    "one before another": (at("a", "c"), "diverged", "Run: rxdb db stamp --purge head"),
}
"""What is done to a database, the state it is then in, and what is said about it."""


@pytest.mark.parametrize(("prepare", "name", "said"), STATES.values(), ids=STATES)
def test_a_state_has_its_true_name(engine: Engine, prepare: Prepare, name: str, said: str) -> None:
    write(HISTORY)
    prepare(engine)
    found = ask(engine)
    assert str(found) == name
    assert said in found.sentence
    assert found.is_current == (name == "at head")
    assert found.name in state.NAMES


def test_check_schema_says_the_same_as_a_connection(url: str, engine: Engine) -> None:
    write(HISTORY)
    for prepare, name, _ in STATES.values():
        with engine.begin() as connection:
            for table in inspect(connection).get_table_names():
                connection.exec_driver_sql(f"DROP TABLE {table}")
        prepare(engine)
        assert str(state.check_schema(url)) == name
        assert state.check_schema(url) == ask(engine)


def test_what_is_missing_is_listed_oldest_first(engine: Engine) -> None:
    write(HISTORY)
    stamp(engine, "a")
    found = ask(engine)
    assert (found.current, found.heads, found.pending) == (("a",), ("c",), ("b", "c"))
    assert json.loads(json.dumps(found.as_dict()))["pending"] == ["b", "c"]


@pytest.mark.parametrize("at", [(), ("a",), ("b",)])
def test_several_heads_are_told_while_one_is_not_applied(
    engine: Engine, at: tuple[str, ...]
) -> None:
    write({"a": None, "b": "a", "c": "a"})
    stamp(engine, *at)
    found = ask(engine)
    assert found.name == "several heads"
    assert found.sentence == "There are several heads: b, c. Run: rxdb db merge"
    stamp(engine, "b", "c")
    assert ask(engine).is_current


def test_a_revision_that_another_depends_on_is_applied_with_it(engine: Engine) -> None:
    write({"a": None, "b": None})
    with Path("alembic/versions/b.py").open("a") as file:
        file.write("depends_on = 'a'\n")
    stamp(engine, "b")
    assert ask(engine).is_current
    stamp(engine, "a")
    assert ask(engine).pending == ("b",)


def test_without_an_ini_there_are_no_migrations(url: str) -> None:
    found = state.check_schema(url)
    assert (str(found), found.is_current) == ("no migrations", False)
    assert found.sentence.endswith("Run: rxdb db init")


def test_without_revisions_the_next_step_is_to_make_one(engine: Engine) -> None:
    write({})
    assert ask(engine).sentence.endswith("Run: rxdb db makemigrations")


def test_a_revision_that_stopped_half_way_is_told_before_all_else(
    target: Target, url: str, engine: Engine
) -> None:
    if Feature.TRANSACTIONAL_DDL in target.dialect.features:
        pytest.skip("a failed revision is rolled back, so there is no journal")
    write({**HISTORY, "d": "b"})
    stamp(engine, "b", "x")
    half = {"revision": "c", "direction": "upgrade", "kind": "ddl", "script": "", "total": 5}
    with engine.begin() as connection:
        journal.journal.create(connection)
        for step, done in enumerate(("done", "done", "done", "started"), start=1):
            row = {"step": step, "state": done, "hash": "", "times": 1, "statement": "ALTER …"}
            connection.execute(insert(journal.journal).values(**half, **row))
    for found in (ask(engine), state.check_schema(url)):
        assert str(found) == "half applied: 3 of 5"
        assert found.sentence == "Revision c is half applied: 3 of 5. Run: rxdb db repair"
    with engine.begin() as connection:
        connection.execute(journal.journal.delete())
    assert ask(engine).name == state.check_schema(url).name == "diverged"


def test_a_script_that_was_edited_after_it_was_applied_is_told(url: str, engine: Engine) -> None:
    write(HISTORY)
    record(engine, "a", "b", "c")
    stamp(engine, "c")
    assert ask(engine).edited == ()
    path = Path("alembic/versions/b.py")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))  # as git does on Windows
    assert ask(engine).edited == ()
    path.write_text(path.read_text() + "# another thought\n")
    for found in (ask(engine), state.check_schema(url)):
        assert (found.name, found.edited) == ("at head", ("b",))
        assert "The script of b was edited after being applied" in found.sentence
    record(engine, "c", "b", direction="downgrade")
    stamp(engine, "a")
    path.write_text(path.read_text() + "# and another\n")
    assert ask(engine).edited == ()


def test_the_log_tells_when_and_by_whom(engine: Engine) -> None:
    write(HISTORY)
    with engine.connect() as connection:
        assert log.read(connection) == []
    record(engine, "a", "b")
    record(engine, "b", direction="downgrade")
    with engine.connect() as connection:
        entries = log.read(connection)
    assert [(e.id, e.revision, e.direction) for e in entries] == [
        (1, "a", "upgrade"),
        (2, "b", "upgrade"),
        (3, "b", "downgrade"),
    ]
    assert {e.started_at for e in entries} == {datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}
    assert all(e.host and e.version and e.seconds == 0.5 for e in entries)
    stamp(engine, "a")
    assert ask(engine).applied_at == {"a": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}


def test_the_log_goes_with_the_transaction(engine: Engine) -> None:
    write(HISTORY)
    record(engine, "a")
    with engine.connect() as connection:
        for own in ("b", "c"):
            row = log.row(
                revision=own,
                direction="upgrade",
                started=datetime.now(UTC),
                seconds=0.1,
                checksum="",
            )
            log.record(connection, [row])
        connection.rollback()
    with engine.connect() as connection:
        assert [entry.revision for entry in log.read(connection)] == ["a"]


def test_the_number_of_statements_does_not_grow_with_the_tables(engine: Engine) -> None:
    write(HISTORY)
    stamp(engine, "c")
    with statements(engine) as few:
        assert ask(engine).is_current
    assert len(few) == 2
    record(engine, "a", "b", "c")
    create(engine, *(f"t{number}" for number in range(100)))
    with statements(engine) as many:
        assert ask(engine).is_current
    assert len(many) == 3


def test_an_open_transaction_stays_usable(engine: Engine) -> None:
    write(HISTORY)
    create(engine, "t")
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO t (id) VALUES (1)")
        assert state.read(connection, revisions.read()).name == "unversioned"
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 1


def test_the_version_table_can_have_another_name(engine: Engine, url: str) -> None:
    write(HISTORY, options="version_table = Our Versions\n")
    stamp(engine, "a")
    assert ask(engine).name == "unversioned"
    stamp(engine, "b", table="Our Versions")
    assert str(ask(engine)) == "behind 1"
    assert str(state.check_schema(url)) == "behind 1"


def test_a_database_is_ready_when_it_is_at_head(url: str, engine: Engine) -> None:
    assert state.ready(url)[1]["name"] == "no migrations"
    write(HISTORY)
    stamp(engine, "a")
    is_ready, said = state.ready(url)
    assert (is_ready, said["name"], said["pending"]) == (False, "behind", ["b", "c"])
    stamp(engine, "c")
    is_ready, said = state.ready(url)
    assert (is_ready, json.loads(json.dumps(said))["name"]) == (True, "at head")


def unreachable(target: Target, tmp_path: Path) -> str:
    """Return a URL of the same backend that nothing answers, with a password."""
    if target.dialect.file(target.url):
        (tmp_path / "not a database").write_bytes(b"no database" * 100)
        return str(target.url.set(database=str(tmp_path / "not a database")))
    found = target.url.set(host="127.0.0.1", port=9, password="s3cret")
    return found.render_as_string(hide_password=False)


def test_a_database_that_does_not_answer_is_not_ready(target: Target, tmp_path: Path) -> None:
    write(HISTORY)
    is_ready, said = state.ready(unreachable(target, tmp_path))
    assert (is_ready, said["name"]) == (False, "unreachable")
    assert "The database does not answer: " in said["sentence"]
    assert "s3cret" not in json.dumps(said)


def test_scripts_that_make_no_sense_are_not_ready(url: str) -> None:
    write({"a": "gone"})
    is_ready, said = state.ready(url)
    assert (is_ready, said["name"]) == (False, "unknown")
    assert "follows gone" in said["sentence"]


def test_waiting_ends_when_the_server_answers(url: str) -> None:
    waiting.wait(5, url)


@pytest.mark.sync_driver
def test_waiting_goes_on_until_the_server_is_there(target: Target) -> None:
    if target.dialect.file(target.url):
        pytest.skip("a file needs no server")
    host, port = str(target.url.host), target.url.port or target.dialect.port or 0
    with ExitStack() as stack:
        made = Relay(host, port)
        made.listener.close()  # its port refuses connections from now on

        def begin() -> None:
            made.listener = socket.create_server(("127.0.0.1", made.port))
            stack.callback(made.listener.close)
            stack.callback(made.listener.shutdown, socket.SHUT_RDWR)
            Thread(target=made.serve, daemon=True).start()

        said: list[str] = []
        timer = Timer(0.5, begin)
        timer.start()
        place = target.url.set(host="127.0.0.1", port=made.port)
        started = time.monotonic()
        waiting.wait(20, place.render_as_string(hide_password=False), tell=said.append)
        assert 0.5 <= time.monotonic() - started < 10
        assert [line.partition(" ")[0] for line in said] == ["Waiting"]
        timer.join()
    rx.dispose()


def test_waiting_has_an_end(target: Target, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(NotAnswering, match=r"did not answer for 0\.3 seconds") as caught:
        waiting.wait(0.3, unreachable(target, tmp_path), tell=said.append)
    assert len(said) == 1
    assert "s3cret" not in f"{caught.value}{said}"


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"password": "wr0ng"}, rx.LoginFailed),
        ({"database": "rxdb_nowhere"}, rx.DatabaseMissing),
    ],
)
def test_a_server_that_lets_nobody_in_is_not_waited_for(
    target: Target, wrong: dict[str, Any], kind: type[Exception]
) -> None:
    if not target.url.host:
        pytest.skip(f"{target.dialect.name} has no server")
    place = target.url.set(**wrong).render_as_string(hide_password=False)
    said: list[str] = []
    with pytest.raises(kind):
        waiting.wait(60, place, tell=said.append)
    assert said == []
