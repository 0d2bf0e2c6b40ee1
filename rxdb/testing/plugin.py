"""What pytest loads: options, fixtures, and nothing of rxdb before one of them is used.

Every run of pytest where rxdb is installed imports this module. It takes 1 ms, and without an
option and a fixture of it nothing changes.
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

_run = pytest.StashKey["Run"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the command line and of the ini file."""
    group = parser.getgroup("rxdb", "databases of the application's tests")
    group.addoption(
        "--rx-db",
        action="append",
        metavar="NAMES",
        help="the databases that tests run on: sqlite,postgresql,mysql+asyncmy,URL (ini: rx_db)",
    )
    parser.addini("rx_db", "the databases that tests run on, as --rx-db names them", default="")
    parser.addini("rx_schema", "what makes the tables: models or migrations", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a name that is none, and tell pytest of the mark."""
    config.addinivalue_line(
        "markers", "rx_commits: the test commits, in a database of its own from rxdb's plug-in"
    )
    if config.getoption("rx_db") or config.getini("rx_db"):
        get(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what was started."""
    if (run := config.stash.get(_run, None)) is not None:
        run.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the servers are."""
    node.workerinput["rx_servers"] = get(node.config).servers.all()


def get(config: pytest.Config) -> Run:
    """Return what this run of pytest knows about databases."""
    if _run not in config.stash:
        from rxdb.testing.run import Run  # noqa: PLC0415 - loads rxdb

        config.stash[_run] = Run(config)
    return config.stash[_run]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses a database once on each."""
    if "rx_backend" in metafunc.fixturenames:
        backends = get(metafunc.config).backends
        metafunc.parametrize("rx_backend", [b.label for b in backends], scope="session")


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

    with rxdb.session() as session:
        yield session


@pytest.fixture
def rx_asession(rx_db: Target) -> Iterator[AsyncSession]:
    """An asynchronous session of the configured database, for a test that is an ``async def``."""
    from sqlmodel.ext.asyncio.session import AsyncSession  # noqa: PLC0415 - needs greenlet

    from rxdb.testing.isolation import FindingSession, close  # noqa: PLC0415 - few need it

    session = AsyncSession(sync_session_class=FindingSession, expire_on_commit=False)
    yield session
    close(session)
