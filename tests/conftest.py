"""The matrix: every test that asks for ``target`` runs once for each chosen server and driver.

``--backend postgresql+asyncpg`` chooses a server and a driver; the same test bodies run on
ordinary and on asynchronous drivers: for the latter inside an event loop, through the greenlets
that SQLAlchemy's own asynchronous side uses.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import clusters
import databases
import pytest
from sqlalchemy import URL, Engine, MetaData
from sqlmodel import Session

import rxdb as rx
from rxdb import Feature, Target, config, errors, registry
from rxdb import engine as engines
from rxdb.model import NAMING_CONVENTION, ModelRegistry
from rxdb.testing.databases import Databases

pytest_plugins = ["pytester", "rxdb.testing.plugin"]

OpenSession = Callable[..., Session]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        default=[],
        metavar="SERVER[+DRIVER]",
        help=f"run the matrix on this server: {', '.join(databases.SERVERS)}",
    )
    parser.addoption(
        "--cluster",
        action="append",
        default=[],
        choices=clusters.CLUSTERS,
        help="run tests/faults/test_clusters.py on this cluster",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Hand the chosen servers on to rxdb's plug-in."""
    chosen: Any = config.getoption("backend")
    for name in chosen:
        if name.partition("+")[0] not in databases.SERVERS:
            raise pytest.UsageError(
                f"--backend={name}: there is no such server. Known: {', '.join(databases.SERVERS)}"
            )
    if chosen:
        config.option.rx_db = chosen
    if any(backend.endswith(databases.LEAVES_SOCKETS) for backend in chosen):
        config.addinivalue_line("filterwarnings", "ignore:unclosed:ResourceWarning")


@pytest.fixture(scope="session")
def backend(rx_backend: str, request: pytest.FixtureRequest) -> str:
    """The server and driver under test. A server that nobody has started is started now."""
    from rxdb.testing import plugin  # not above: pytest itself imports it first

    run = plugin.get(request.config)
    backend = run.databases(rx_backend).backend
    if backend.is_server:
        os.environ.setdefault(backend.variable, run.servers.url(backend))
    return rx_backend


@pytest.fixture(autouse=True)
def _own_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Keep the developer's own settings out of each test, and each test's out of the next."""
    for variable in (*config.URL_VARIABLES, *config.ASYNC_URL_VARIABLES, config.LAST_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(errors, "pip", lambda: "pip install")  # however this environment was made
    yield
    rx.set_config(None)
    rx.dispose()


@pytest.fixture(scope="session")
def server(backend: str, run: databases.Run) -> str:
    """The name of the server under test, after a look that it is really that one."""
    name, _, driver = backend.partition("+")
    expected = databases.SERVERS[name]
    if expected.version:
        answer = str(databases.execute(databases.admin(name, driver), run, expected.version))
        assert expected.has in answer, f"{expected.variable} leads to another server: {answer}"
        assert expected.lacks not in answer, f"{expected.variable} leads to {answer}"
    return name


@pytest.fixture(scope="session")
def run(backend: str) -> Iterator[databases.Run]:
    """Run a function that works with an engine: as it is, or in an event loop's greenlet."""
    name, _, driver = backend.partition("+")
    known = {d.name: d for d in registry.get(name).drivers}
    if driver not in known or known[driver].sync:
        yield lambda function: function()
        return
    from sqlalchemy.util import greenlet_spawn

    with asyncio.Runner() as runner:
        yield lambda function: runner.run(greenlet_spawn(function))


@pytest.fixture(scope="session")
def made(
    server: str, backend: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    """The databases on the server under test, which are made through one connection."""
    folder = tmp_path_factory.getbasetemp()
    with closing(databases.of(server, backend.partition("+")[2], folder)) as found:
        yield found


@pytest.fixture
def target(
    server: str,
    backend: str,
    made: Databases,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Target]:
    """A database of the server under test, empty and this test's own."""
    dialect = registry.get(server)
    for mark in request.node.iter_markers("needs"):
        needed: tuple[Feature, ...] = mark.args
        for feature in needed:
            if feature not in dialect.features:
                pytest.skip(f"{server} does not {feature.value}")
    driver = backend.partition("+")[2] or dialect.drivers[0].name
    able = {d.name for d in dialect.drivers if d.sync}
    if request.node.get_closest_marker("sync_driver") and driver not in able:
        pytest.skip(f"{driver} carries no ordinary engine")
    able = {d.name for d in dialect.drivers if d.asynchronous}
    if request.node.get_closest_marker("async_driver") and driver not in able:
        pytest.skip(f"{driver} carries no asynchronous engine")
    made.folder = tmp_path
    with databases.empty(made) as found:
        yield found


@pytest.fixture
def url(target: Target) -> Iterator[str]:
    """The URL of :func:`target`, as a user would write it, with its password."""
    yield target.url.render_as_string(hide_password=False)
    rx.dispose()


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> MetaData:
    """The application's tables: those that the test adds, and no other test's."""
    own = MetaData(naming_convention=NAMING_CONVENTION)
    monkeypatch.setattr(ModelRegistry, "_metadata", [own])
    return own


@pytest.fixture
def project(url: str, metadata: MetaData, tmp_path: Path) -> Path:
    """An application's folder whose database is :func:`target`, without migrations yet."""
    folder = tmp_path / "project"
    folder.mkdir()
    rx.set_config(rx.Config(db_url=url, folder=folder))
    return folder


@pytest.fixture
def make_engine(target: Target, run: databases.Run) -> Iterator[Callable[..., Engine]]:
    """Build an engine for :func:`target` with rxdb's options and the test's own."""
    made: list[Engine] = []

    def make(found: Target = target, **options: Any) -> Engine:
        build = engines.build_async if databases.is_async(found) else engines.build
        engine: Any = build(found, **options)
        made.append(getattr(engine, "sync_engine", engine))
        return made[-1]

    yield make
    for engine in made:
        run(engine.dispose)


@pytest.fixture
def engine(make_engine: Callable[..., Engine]) -> Engine:
    """An engine for :func:`target`, as rxdb builds it."""
    return make_engine()


@pytest.fixture
def open_session(target: Target, url: str, run: databases.Run) -> Iterator[OpenSession]:
    """Open sessions as ``rx.session(url)`` does; through ``rx.asession(url)`` where the driver
    under test is asynchronous."""

    def open_session(place: str | URL = url, **options: Any) -> Session:
        if databases.is_async(target):
            return rx.asession(place, **options).sync_session
        return rx.session(place, **options)

    yield open_session
    if databases.is_async(target):
        from sqlalchemy.util import await_only

        run(lambda: await_only(rx.adispose()))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a matrix test where its driver needs it: in the greenlet of an event loop."""
    names = pyfuncitem._fixtureinfo.argnames
    run: databases.Run | None = pyfuncitem.funcargs.get("run")  # type: ignore[assignment]  # the fixture is this
    if run is None or pyfuncitem.get_closest_marker("own_loop"):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    run(lambda: pyfuncitem.obj(**arguments))
    return True
