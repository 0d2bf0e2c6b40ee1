"""What the first session of a process does when its database is not at the newest revision."""

from __future__ import annotations

import asyncio
import logging
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import databases
import pytest
from proxy import relay
from sqlalchemy import Column, Engine, MetaData, String, Table, event, insert, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

import rxdb as rx
from rxdb import Feature, Target, sessions
from rxdb.errors import BadRevision, SchemaOutdated
from rxdb.migrations import journal, startup

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = '''"""about {own}"""
import sqlalchemy as sa
from alembic import op

revision = {own!r}
down_revision = {down!r}


def upgrade():
    op.create_table("made_by_{own}", sa.Column("id", sa.Integer(), primary_key=True))


def downgrade():
    op.drop_table("made_by_{own}")
'''

Say = Callable[[], list[str]]
Entered = Callable[..., Any]


@pytest.fixture
def scripts() -> None:
    """A project with two revisions."""
    versions = Path("alembic/versions")
    versions.mkdir(parents=True)
    Path("alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/alembic\npath_separator = os\n"
    )
    for own, down in {"a": None, "b": "a"}.items():
        (versions / f"{own}.py").write_text(SCRIPT.format(own=own, down=down))


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Say:
    """What was logged under the name ``rxdb``."""
    caplog.set_level(logging.DEBUG, "rxdb")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "rxdb"]


@pytest.fixture
def entered(target: Target, run: databases.Run) -> Iterator[Entered]:
    """Enter the ``with`` block of a session of the configured database, or make one without."""

    @contextmanager
    def enter(*, block: bool = True, **options: Any) -> Iterator[Session]:
        if not databases.is_async(target):
            session = rx.session(**options)
            if block:
                session.__enter__()
            try:
                yield session
            finally:
                session.close()
            return
        from sqlalchemy.util import await_only

        asynchronous = rx.asession(**options)
        if block:
            await_only(asynchronous.__aenter__())
        try:
            yield asynchronous.sync_session
        finally:
            await_only(asynchronous.close())

    yield enter
    if databases.is_async(target):
        from sqlalchemy.util import await_only

        run(lambda: await_only(rx.adispose()))


def configure(url: str, policy: str, **options: Any) -> None:
    rx.set_config(rx.Config(db_url=url, on_outdated_schema=policy, **options))


def stamp(engine: Engine, *ids: str) -> None:
    """Write down where the database is, as Alembic does."""
    found = Table("alembic_version", MetaData(), Column("version_num", String(32)))
    with engine.begin() as connection:
        found.create(connection, checkfirst=True)
        connection.execute(found.delete())
        for own in ids:
            connection.execute(insert(found).values(version_num=own))


def one(session: Session) -> Any:
    return session.scalar(text("SELECT 1"))


@pytest.mark.usefixtures("scripts")
def test_a_warning_comes_once_with_the_command_to_run(
    url: str, engine: Engine, entered: Entered, said: Say
) -> None:
    stamp(engine, "a")
    configure(url, "warn")
    for options in ({}, {}, {"read_only": True}, {"block": False}):
        with entered(**options) as session:
            assert one(session) == 1
    assert said() == [
        "rxdb: The database is 1 revision behind: it is at a, the newest is b. Run: rxdb db migrate"
    ]


@pytest.mark.usefixtures("scripts")
@pytest.mark.parametrize("options", [{"block": False}, {"read_only": True}])
def test_every_kind_of_session_looks(
    url: str, entered: Entered, said: Say, options: dict[str, bool]
) -> None:
    configure(url, "warn")
    with entered(**options) as session:
        assert one(session) == 1
    assert said() == ["rxdb: The database is empty. Run: rxdb db migrate"]


@pytest.mark.usefixtures("scripts")
def test_raising_goes_on_until_the_database_is_at_head(
    url: str, engine: Engine, entered: Entered
) -> None:
    stamp(engine, "a")
    configure(url, "raise")
    for _ in range(2):
        with pytest.raises(SchemaOutdated, match="Run: rxdb db migrate"), entered():
            pass
    with entered(block=False) as session, pytest.raises(SchemaOutdated):
        one(session)
    stamp(engine, "b")
    with entered() as session:
        assert one(session) == 1


@pytest.mark.usefixtures("scripts")
def test_migrating_brings_the_database_to_head(
    url: str, engine: Engine, entered: Entered, said: Say
) -> None:
    configure(url, "migrate")
    with entered() as session:
        assert session.scalar(text("SELECT count(*) FROM made_by_b")) == 0
    with engine.connect() as connection:
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
        assert version.scalars().all() == ["b"]
    assert said() == []


@pytest.mark.usefixtures("scripts")
@pytest.mark.sync_driver
def test_a_migration_can_open_sessions_of_its_own(url: str) -> None:
    script = Path("alembic/versions/a.py")
    opens = "with rx.session(read_only=True) as session:\n        session.connection()\n    op."
    script.write_text(f"import rxdb as rx\n{script.read_text().replace('op.', opens, 1)}")
    configure(url, "migrate")
    with rx.session() as session:
        assert session.scalar(text("SELECT count(*) FROM made_by_a")) == 0


@pytest.mark.usefixtures("scripts")
def test_older_code_beside_newer_code_only_warns(
    url: str, engine: Engine, entered: Entered, said: Say
) -> None:
    stamp(engine, "newer")
    configure(url, "migrate")
    with entered() as session:
        assert one(session) == 1
    assert "no script here describes" in said()[0]


@pytest.mark.usefixtures("scripts")
def test_ignoring_asks_nothing(url: str, entered: Entered, said: Say) -> None:
    configure(url, "ignore")
    with entered() as session:
        assert one(session) == 1
    assert said() == []


def test_without_migrations_nothing_is_asked(url: str, entered: Entered, said: Say) -> None:
    configure(url, "raise")
    with entered() as session:
        assert not session.in_transaction()
        assert one(session) == 1
    assert said() == []


@pytest.mark.usefixtures("scripts")
def test_at_head_nothing_is_said_and_one_select_is_enough(
    url: str, engine: Engine, entered: Entered, said: Say
) -> None:
    stamp(engine, "b")
    configure(url, "warn")
    with entered(block=False) as session:
        found: Any = session.get_bind()  # looks here
        with sent(found) as statements:
            assert one(session) == 1
    assert (statements, said()) == (["SELECT 1"], [])


@pytest.mark.usefixtures("scripts")
@pytest.mark.sync_driver
@pytest.mark.parametrize("count", [0, 100])
def test_a_look_costs_few_round_trips_whatever_the_number_of_tables(
    target: Target, engine: Engine, count: int
) -> None:
    if target.dialect.file(target.url):
        pytest.skip("there is no network to a file")
    metadata = MetaData()
    for number in range(count):
        Table(f"t{number}", metadata, Column("name", String(9)))
    metadata.create_all(engine)
    if Feature.TRANSACTIONAL_DDL not in target.dialect.features:
        journal.journal.create(engine)  # as the first migration does
    stamp(engine, "b")
    taken = [round_trips(target, policy) for policy in ("ignore", "warn")]
    assert taken[1] - taken[0] <= 3  # BEGIN, SELECT and ROLLBACK
    stamp(engine, "a")
    assert round_trips(target, "warn") - taken[0] <= 12


def round_trips(target: Target, policy: str) -> int:
    """Return how often the first session waits for the server, with all that comes before."""
    host, port = str(target.url.host), target.url.port or target.dialect.port or 0
    with relay(host, port) as made:
        url = target.url.set(host="127.0.0.1", port=made.port)
        url = url.update_query_dict({"sslmode": "disable"})  # TLS takes now one trip, now two
        configure(url.render_as_string(hide_password=False), policy)
        with rx.session() as session:
            assert one(session) == 1
        taken = made.round_trips
        rx.dispose()
    return taken


@contextmanager
def sent(engine: Engine) -> Iterator[list[str]]:
    found: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.usefixtures("scripts")
def test_later_sessions_are_plain(url: str, engine: Engine, entered: Entered) -> None:
    stamp(engine, "b")
    configure(url, "warn")
    with entered() as first:
        assert isinstance(first, sessions.FirstSession)
    with entered() as second:
        assert not isinstance(second, sessions.FirstSession)


@pytest.mark.usefixtures("scripts")
def test_a_session_of_another_database_does_not_look(
    url: str, open_session: Callable[..., Session], said: Say
) -> None:
    with open_session(url) as session:
        assert not isinstance(session, sessions.FirstSession)
    assert said() == []


@pytest.mark.usefixtures("scripts")
def test_a_new_configuration_looks_again(url: str, engine: Engine, entered: Entered) -> None:
    stamp(engine, "a")
    configure(url, "ignore")
    with entered():
        pass
    configure(url, "raise")
    with pytest.raises(SchemaOutdated), entered():
        pass


@pytest.mark.usefixtures("scripts")
@pytest.mark.sync_driver
def test_a_new_engine_looks_again(url: str, engine: Engine) -> None:
    stamp(engine, "b")
    configure(url, "raise")
    with rx.session():
        pass
    stamp(engine, "a")
    with rx.session():
        pass
    rx.dispose()
    with pytest.raises(SchemaOutdated), rx.session():
        pass


@pytest.mark.usefixtures("scripts")
@pytest.mark.parametrize("policy", ["warn", "raise", "migrate"])
def test_a_server_that_is_down_is_told_by_the_session_and_asked_once(
    target: Target, entered: Entered, said: Say, tmp_path: Path, policy: str
) -> None:
    with hanging_up() as (port, calls):
        configure(unreachable(target, tmp_path, port), policy)
        with entered() as session:
            each = len(calls)  # a driver may call twice, with TLS and without
            assert each or target.dialect.file(target.url)
            with pytest.raises((DBAPIError, OSError)):
                one(session)
            assert len(calls) == each
            with pytest.raises((DBAPIError, OSError)):
                one(session)
            assert len(calls) == 2 * each
            bind: Any = session.bind
            assert not startup.is_settled(bind)
        with entered():  # the server may be back
            assert len(calls) == 3 * each
    assert said() == []


@contextmanager
def hanging_up() -> Iterator[tuple[int, list[object]]]:
    """Listen on a port and end each connection at once; yield the port and the connections."""
    calls: list[object] = []

    class HangUp(socketserver.BaseRequestHandler):
        def setup(self) -> None:
            calls.append(self.client_address)

    with socketserver.TCPServer(("127.0.0.1", 0), HangUp) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1], calls
        finally:
            server.shutdown()
            thread.join()


def unreachable(target: Target, tmp_path: Path, port: int) -> str:
    """Return a URL of the same backend that nothing answers."""
    if target.dialect.file(target.url):
        (tmp_path / "not a database").write_bytes(b"no database" * 100)
        return str(target.url.set(database=str(tmp_path / "not a database")))
    return target.url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)


def test_scripts_that_make_no_sense_stop_only_those_who_asked(
    url: str, entered: Entered, said: Say, scripts: None
) -> None:
    Path("alembic/versions/a.py").unlink()
    configure(url, "warn")
    with entered() as session:
        assert one(session) == 1
    (line,) = said()
    assert line.startswith("rxdb: The schema was not checked. Revision b (")
    configure(url, "raise")
    with pytest.raises(BadRevision, match="follows a"), entered():
        pass


@pytest.mark.usefixtures("scripts")
@pytest.mark.sync_driver
def test_of_several_threads_one_looks(url: str, engine: Engine, said: Say) -> None:
    stamp(engine, "a")
    configure(url, "warn")
    outcomes = in_threads(8, lambda: ok(rx.session()))
    assert (outcomes, len(said())) == ([1] * 8, 1)


@pytest.mark.usefixtures("scripts")
@pytest.mark.sync_driver
def test_of_several_threads_none_passes_where_the_policy_is_to_raise(
    url: str, engine: Engine
) -> None:
    stamp(engine, "a")
    configure(url, "raise")
    outcomes = in_threads(8, lambda: ok(rx.session()))
    assert [type(outcome) for outcome in outcomes] == [SchemaOutdated] * 8


@pytest.mark.usefixtures("scripts")
@pytest.mark.sync_driver
def test_of_several_threads_all_wait_for_the_one_that_migrates(url: str) -> None:
    configure(url, "migrate")
    assert in_threads(4, lambda: ok(rx.session(), "SELECT count(*) FROM made_by_b")) == [0] * 4


def ok(opened: Session, statement: str = "SELECT 1") -> Any:
    with opened as session:
        return session.scalar(text(statement))


def in_threads(count: int, work: Callable[[], Any]) -> list[Any]:
    """Start *work* in several threads at one moment; return what each returned or raised."""
    start = threading.Barrier(count)
    outcomes: list[Any] = []

    def run() -> None:
        start.wait()
        try:
            outcomes.append(work())
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


@pytest.mark.usefixtures("scripts")
@pytest.mark.async_driver
@pytest.mark.own_loop
@pytest.mark.parametrize(("policy", "expected"), [("warn", 1), ("migrate", 1), ("raise", None)])
def test_of_several_tasks_one_looks(url: str, said: Say, policy: str, expected: int | None) -> None:
    configure(url, policy)

    async def work() -> Any:
        try:
            async with rx.asession() as session:
                return await session.scalar(text("SELECT 1"))
        except SchemaOutdated:
            return None

    async def both() -> list[Any]:
        return await asyncio.gather(*(work() for _ in range(12)))

    assert asyncio.run(both()) == [expected] * 12
    assert len(said()) == (1 if policy == "warn" else 0)
    assert not startup._busy


PROGRAM = """
import asyncio, sqlalchemy
import rxdb as rx
rx.set_config(rx.Config(db_url={url!r}))
async def asynchronous():
    async with rx.asession() as session:
        await session.scalar(sqlalchemy.text("SELECT 1"))
def ordinary():
    with rx.session() as session:
        session.scalar(sqlalchemy.text("SELECT 1"))
{call}
{call}
"""


@pytest.mark.usefixtures("scripts")
def test_the_warning_is_seen_on_the_console(url: str, target: Target) -> None:
    call = "asyncio.run(asynchronous())" if databases.is_async(target) else "ordinary()"
    program = PROGRAM.format(url=url, call=call)
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", program]
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    assert done.stderr == "rxdb: The database is empty. Run: rxdb db migrate\n"
    assert done.stdout == ""
