"""The pytest plug-in: a small project's own tests on the backend under test."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
from databases import LEAVES_SOCKETS

from rxdb import Feature, registry
from rxdb.testing import servers

MODELS = """
import rxdb as rx

class Hero(rx.Model, table=True):
    name: str
"""

CONFTEST = """
import asyncio, inspect

def pytest_pyfunc_call(pyfuncitem):
    "Run a test that is an async def, as the plug-ins for that do."
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        names = pyfuncitem._fixtureinfo.argnames
        asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
        return True
"""

ORDINARY = """
import pytest
import rxdb as rx
from sqlalchemy import insert
from models import Hero

TWICE = pytest.mark.parametrize("time", [1, 2])

@rx.transaction
def add(session, name):
    session.add(Hero(name=name))

@rx.transaction
def add_and_fail(session, name):
    session.add(Hero(name=name))
    session.flush()
    raise LookupError(name)

def names():
    with rx.session(read_only=True) as session:
        return sorted(session.exec(rx.select(Hero.name)).all())

@TWICE
def test_commits_in_all_ways(rx_session, rx_engine, time):
    assert names() == []
    rx_session.add(Hero(name="session"))
    rx_session.commit()
    add("transaction")
    with pytest.raises(LookupError):
        add_and_fail("failed")
    with rx.session() as session:
        rx.bulk_insert(session, Hero, [{"name": "bulk"}])
        session.commit()
    with rx_engine.begin() as connection:
        connection.execute(insert(Hero), {"name": "engine"})
    assert names() == ["bulk", "engine", "session", "transaction"]

@TWICE
def test_rolls_back_alone(rx_session, time):
    rx_session.add(Hero(name="kept"))
    rx_session.commit()
    rx_session.add(Hero(name="taken back"))
    rx_session.flush()
    rx_session.rollback()
    with rx.session() as session:
        session.add(Hero(name="never committed"))
        session.flush()
    assert names() == ["kept"]

def test_a_read_only_session_refuses_to_write(rx_db):
    with rx.session(read_only=True) as session:
        session.add(Hero(name="x"))
        with pytest.raises(rx.ReadOnly):
            session.flush()
    with rx.session(read_only=True) as session, pytest.raises(rx.ReadOnly):
        session.execute(insert(Hero), {"name": "x"})
    assert names() == []

def test_the_code_ends_rxdb(rx_session):
    rx_session.add(Hero(name="kept"))
    rx_session.commit()
    rx.dispose()
    assert names() == ["kept"]
"""

AT_ONCE = """
from sqlalchemy import insert
from models import Hero
from test_ordinary import names

def test_what_is_stored_at_once_stays(rx_engine):
    at_once = rx_engine.execution_options(isolation_level="AUTOCOMMIT")
    with at_once.connect() as connection:
        connection.execute(insert(Hero), {"name": "kept"})
    with rx_engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(insert(Hero), {"name": "kept too"})
    with rx_engine.connect() as connection:
        connection.execute(insert(Hero), {"name": "taken back"})
    assert names() == ["kept", "kept too"]
"""

OWN = """
from threading import Thread
import pytest
from test_ordinary import TWICE, add, names

@TWICE
@pytest.mark.rx_commits
def test_has_a_database_of_its_own(rx_db, time):
    assert names() == []
    add("here")
    thread = Thread(target=add, args=["there"])
    thread.start()
    thread.join()
    assert names() == ["here", "there"]

def test_asks_for_one(rx_database, rx_session):
    assert names() == []
    add("here")
"""

ASYNCHRONOUS = """
import pytest
import rxdb as rx
from models import Hero

TWICE = pytest.mark.parametrize("time", [1, 2])

@rx.transaction
async def add(session, name):
    session.add(Hero(name=name))

async def names():
    async with rx.asession(read_only=True) as session:
        return sorted((await session.exec(rx.select(Hero.name))).all())

@TWICE
async def test_commits_in_all_ways(rx_asession, time):
    assert await names() == []
    rx_asession.add(Hero(name="session"))
    await rx_asession.commit()
    await add("transaction")
    async with rx.asession() as session:
        session.add(Hero(name="another"))
        await session.commit()
        session.add(Hero(name="never committed"))
        await session.flush()
    assert await names() == ["another", "session", "transaction"]

@TWICE
@pytest.mark.rx_commits
async def test_has_a_database_of_its_own(rx_db, time):
    assert await names() == []
    await add("here")
    assert await names() == ["here"]
"""

BOTH = """
import rxdb as rx
from models import Hero
from test_asynchronous import add

async def test_both_see_the_same(rx_session, rx_asession):
    rx_session.add(Hero(name="ordinary"))
    rx_session.commit()
    await add("asynchronous")
    rx_asession.add(Hero(name="session"))
    await rx_asession.flush()
    names = rx_session.exec(rx.select(Hero.name)).all()
    assert sorted(names) == ["asynchronous", "ordinary", "session"]
"""


@pytest.fixture
def project(backend: str, pytester: pytest.Pytester) -> pytest.Pytester:
    """An application's folder, whose warnings are errors."""
    unclosed = "ignore:unclosed:ResourceWarning" if backend.endswith(LEAVES_SOCKETS) else ""
    pytester.makeini(f"[pytest]\nfilterwarnings =\n  error\n  {unclosed}\npythonpath = .\n")
    pytester.makepyfile(models=MODELS)
    pytester.makeconftest(CONFTEST)
    return pytester


def run(project: pytest.Pytester, backend: str, *options: str) -> pytest.RunResult:
    """Run the project's tests as its user would, in a process of its own."""
    arguments = ("-p", "rxdb.testing.plugin", f"--rx-db={backend}", *options)
    return project.runpytest_subprocess(*arguments, timeout=100)


def test_a_project_is_tested_without_a_trace(backend: str, project: pytest.Pytester) -> None:
    name, _, wanted = backend.partition("+")
    drivers = [d for d in registry.get(name).drivers if not wanted or d.name == wanted]
    drivers = [d for d in drivers if d.is_installed]
    expected = 0
    if any(driver.sync for driver in drivers):
        project.makepyfile(test_ordinary=ORDINARY, test_own=OWN)
        expected += 9
        if Feature.SAVEPOINTS in registry.get(name).features:
            project.makepyfile(test_at_once=AT_ONCE)
            expected += 1
    if any(driver.asynchronous for driver in drivers):
        project.makepyfile(test_asynchronous=ASYNCHRONOUS)
        expected += 4
        if drivers[0].sync and Feature.SAVEPOINTS in registry.get(name).features:
            project.makepyfile(test_both=BOTH)
            expected += 1
    result = run(project, backend)
    result.assert_outcomes(passed=expected)


def test_a_server_of_the_run_ends_with_it(
    backend: str, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = backend.partition("+")[0]
    dialect = registry.get(name)
    if not dialect.server:
        pytest.skip(f"rxdb starts no server of {name}")
    module, _, recipe = dialect.server.partition(":")
    try:
        servers.find(getattr(import_module(module), recipe))
    except servers.ServerError as error:
        pytest.skip(str(error))
    for variable in list(os.environ):
        if variable.startswith("RXDB_TEST_"):
            monkeypatch.delenv(variable)
    project.makepyfile(ENDS)
    # Without a signal, with Ctrl-C, and with one that nobody can answer
    for number, outcome in ((0, 0), (signal.SIGINT, 2), (signal.SIGKILL, -signal.SIGKILL)):
        monkeypatch.setenv("NUMBER", str(int(number)))
        result = run(project, backend)
        assert result.ret == outcome, result.stdout.str()
        folder = Path((project.path / "folder").read_text())
        assert folder.name.startswith("rxdb-")
        deadline = time.monotonic() + 30
        while folder.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not folder.exists()
        listed = (path / "cmdline" for path in Path("/proc").glob("[0-9]*"))
        assert not [path for path in listed if f"{folder}/" in read(path)]


def read(path: Path) -> str:
    """Return the command line of a process, or nothing where that has ended."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


ENDS = """
import os
import signal
from pathlib import Path
from rxdb.testing import plugin

def test_ends(rx_empty, request):
    group = plugin.get(request.config).servers.group
    Path("folder").write_text(str(group.folder))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    if number := int(os.environ["NUMBER"]):
        os.kill(os.getpid(), number)
"""

DDL = """
import rxdb as rx
from sqlalchemy import Column, Integer, MetaData, Table, inspect
from models import Hero
from test_ordinary import add, names

def test_creates(rx_engine):
    add("before")
    Table("other", MetaData(), Column("n", Integer)).create(rx_engine)
    add("after")

def test_sees_nothing_of_it(rx_engine):
    assert names() == []
    assert not inspect(rx_engine).has_table("other")
"""


def test_migrations_are_tested_and_told_in_a_grid(backend: str, project: pytest.Pytester) -> None:
    name = backend.partition("+")[0]
    if Feature.REFLECTED_CONSTRAINTS not in registry.get(name).features:
        pytest.skip(f"{name} does not {Feature.REFLECTED_CONSTRAINTS.value}")
    project.makepyfile(rxconfig=RXCONFIG)
    project.run(sys.executable, "-m", "rxdb", "db", "init", timeout=60)
    options = ("--rx-migrations", "--rx-grid=grid.md", "--rx-grid=grid.html", "test_skips.py")
    project.makepyfile(test_skips=SKIPS)
    run(project, backend, *options).assert_outcomes(passed=5, skipped=1)
    (script,) = project.path.glob("alembic/versions/*.py")
    script.write_text(re.sub("op.drop_table.*", "pass", script.read_text()))
    project.makepyfile(models=MODELS + "    power: int = 0\n")
    result = run(project, backend, *options)
    result.assert_outcomes(passed=3, failed=2, skipped=1)
    page = (project.path / "grid.md").read_text()
    assert page == GRID.replace("BACKEND", backend)
    assert '<td class="failed">failed<small>' in (project.path / "grid.html").read_text()


RXCONFIG = """
import rxdb as rx
config = rx.Config(db_url="sqlite:///own.db", models=["models"])
"""

SKIPS = """
import pytest
import rxdb as rx
from sqlalchemy import text
from rxdb.migrations import database

def test_skips(rx_db):
    pytest.skip("not | today")

def test_the_tables_come_from_the_migrations(rx_db):
    def count(engine):
        with engine.connect() as connection:
            return connection.scalar(text("SELECT count(*) FROM alembic_version"))
    assert database.with_engine(rx_db, count) == 1
"""

GRID = """\
# What passed on which database

| Test | BACKEND |
| --- | --- |
| **Total** | 3 passed, 2 failed, 1 skipped |
| `migrations::all_is_taken_back_and_applied_again` | **failed**: After all revisions were taken \
back, there still is: hero. |
| `migrations::an_empty_database_is_upgraded` | passed |
| `migrations::the_models_say_the_same` | **failed**: The models differ from the migrations: \
Column hero.power was added. Run: rxdb db makemigrations |
| `migrations::there_is_one_head` | passed |
| `test_skips.py::test_skips` | skipped: not \\| today |
| `test_skips.py::test_the_tables_come_from_the_migrations` | passed |
"""


@pytest.mark.sync_driver
def test_ddl_is_rolled_back_or_refused(
    target: object, backend: str, project: pytest.Pytester
) -> None:
    project.makepyfile(test_ordinary=ORDINARY, test_ddl=DDL)
    result = run(project, backend, "test_ddl.py")
    features = registry.get(backend.partition("+")[0]).features
    if Feature.TRANSACTIONAL_DDL in features or Feature.SAVEPOINTS not in features:
        result.assert_outcomes(passed=2)
    else:
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(["*commits at CREATE, ALTER and DROP. Mark the test with*"])
