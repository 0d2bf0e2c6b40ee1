"""What pytest loads: options, fixtures, and nothing of rxdb before one of them is used.

Every run of pytest where rxdb is installed imports this module, which takes 2 ms of the processor.
Without an option and a fixture of it nothing changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlmodel import Session
    from sqlmodel.ext.asyncio.session import AsyncSession

    from rxdb.dialect import Target
    from rxdb.testing.run import Run

pytest.register_assert_rewrite("rxdb.testing.conformance")

_run = pytest.StashKey["Run"]()


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the options of the command line and of the ini file."""
    _leave_the_library_as_it_is(pluginmanager)
    group = parser.getgroup("rxdb", "databases of the application's tests")
    group.addoption(
        "--rx-db",
        action="append",
        metavar="NAMES",
        help="the databases that tests run on: sqlite,postgresql,mysql+asyncmy,URL (ini: rx_db)",
    )
    group.addoption(
        "--rx-migrations",
        action="store_true",
        help="test the project's migrations on each database (ini: rx_migrations)",
    )
    group.addoption(
        "--rx-grid",
        action="append",
        default=[],
        metavar="FILE",
        help="write what passed on which database to FILE.html or FILE.md",
    )
    parser.addini("rx_db", "the databases that tests run on, as --rx-db names them", default="")
    parser.addini("rx_schema", "what makes the tables: models or migrations", default="")
    parser.addini("rx_migrations", "test the project's migrations", type="bool", default=False)


def _leave_the_library_as_it_is(pluginmanager: pytest.PytestPluginManager) -> None:
    """Keep pytest from rewriting the assertions of all modules of rxdb, as it does for each
    distribution with a plug-in.

    rxdb imports them when they are needed, in any thread, and two threads cannot parse at once in
    Python before 3.13: "AST constructor recursion depth mismatch" (gh-106905).
    """
    marked: set[str] = getattr(pluginmanager.rewrite_hook, "_must_rewrite", set())
    marked -= {"rxdb", "rxdb_dialects"}


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a name that is none, and tell pytest of the mark."""
    config.addinivalue_line(
        "markers", "rx_commits: the test commits, in a database of its own from rxdb's plug-in"
    )
    if _is_asked(config):
        get(config)


def _is_asked(config: pytest.Config) -> bool:
    """Whether an option wants something."""
    named = config.getoption("rx_db") or config.getini("rx_db")
    return bool(named or config.getoption("rx_grid") or _has_migrations(config))


def _has_migrations(config: pytest.Config) -> bool:
    return bool(config.getoption("rx_migrations") or config.getini("rx_migrations"))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Drop the databases: a worker of pytest-xdist is ended soon after this, and its server too."""
    if (run := session.config.stash.get(_run, None)) is not None:
        run.drop()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what was started."""
    if (run := config.stash.get(_run, None)) is not None:
        run.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the servers are."""
    if not _is_asked(node.config):
        return
    node.workerinput["rx_servers"] = get(node.config).servers.all()


def get(config: pytest.Config) -> Run:
    """Return what this run of pytest knows about databases."""
    if _run not in config.stash:
        from rxdb.testing.grid import Grid  # noqa: PLC0415 - loads rxdb
        from rxdb.testing.run import Run  # noqa: PLC0415 - loads rxdb

        run = config.stash[_run] = Run(config)
        if not hasattr(config, "workerinput"):  # the reports of workers arrive at their controller
            files: Any = config.getoption("rx_grid")
            config.pluginmanager.register(Grid(run.labels, files, config.invocation_params.dir))
    return config.stash[_run]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the tests of migrations, and let all reports say their database."""
    if _has_migrations(config):
        from rxdb.testing import migrations  # noqa: PLC0415 - few need it

        items += migrations.items(session, get(config))
    if _run in config.stash:
        from rxdb.testing.grid import describe  # noqa: PLC0415 - loads rxdb

        describe(items)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses a database once on each."""
    if "rx_backend" in metafunc.fixturenames:
        metafunc.parametrize("rx_backend", get(metafunc.config).labels, scope="session")


@pytest.fixture(scope="session")
def rx_backend(request: pytest.FixtureRequest) -> str:
    """The name of the database that the test runs on, as ``--rx-db`` has it."""
    name: str = request.param
    return name


@pytest.fixture
def rx_db(rx_backend: str, request: pytest.FixtureRequest) -> Iterator[Target]:
    """The configured database, with the application's tables: all that the test does in it
    through rxdb is rolled back, or thrown away where the test has the mark ``rx_commits``."""
    with get(request.config).configured(rx_backend, request) as target:
        yield target


@pytest.fixture
def rx_database(rx_db: Target) -> Target:
    """The configured database as a test's own: commits are real, and it is dropped afterwards."""
    return rx_db


@pytest.fixture
def rx_empty(rx_backend: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database of the test's own, without any tables; it is not the configured one."""
    with get(request.config).empty(rx_backend) as url:
        yield url


@pytest.fixture
def rx_engine(rx_db: Target) -> Engine:
    """What ``rx.get_engine()`` returns in this test."""
    import rxdb  # noqa: PLC0415 - few need it

    return rxdb.get_engine()


@pytest.fixture
def rx_session(rx_db: Target) -> Iterator[Session]:
    """A session of the configured database."""
    import rxdb  # noqa: PLC0415 - few need it
    from rxdb.testing.isolation import close  # noqa: PLC0415 - few need it

    session = rxdb.session()
    yield session
    close(session)


@pytest.fixture
def rx_asession(rx_db: Target) -> Iterator[AsyncSession]:
    """An asynchronous session of the configured database, for a test that is an ``async def``."""
    from sqlmodel.ext.asyncio.session import AsyncSession  # noqa: PLC0415 - needs greenlet

    from rxdb.testing.isolation import close  # noqa: PLC0415 - few need it
    from rxdb.testing.joining import FindingSession  # noqa: PLC0415 - needs greenlet

    session = AsyncSession(sync_session_class=FindingSession, expire_on_commit=False)
    yield session
    close(session)
