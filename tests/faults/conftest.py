"""Loads for the tests of faults, and a line of figures for each at the end of the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import clusters
import databases
import pytest
import transfers
from sqlalchemy import URL, Engine, NullPool
from transfers import Direct, Load, StartLoad

import rxdb as rx
from rxdb import registry
from rxdb.engine import build

DATABASE = "transfers"
SUMMARIES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SUMMARIES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    summaries = terminalreporter.config.stash[SUMMARIES]
    if summaries:
        terminalreporter.section("faults")
        for line in summaries:
            terminalreporter.write_line(line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cluster_name" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("cluster")
        none = pytest.param("", marks=pytest.mark.skip("no cluster was asked for: --cluster"))
        metafunc.parametrize("cluster_name", chosen or [none])


@pytest.fixture
def cluster(cluster_name: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A cluster of this test's own, when it can do what the test needs."""
    (needed,) = request.node.get_closest_marker("able").args
    if needed not in clusters.CLUSTERS[cluster_name].abilities:
        pytest.skip(f"{cluster_name} does not {needed.value}")
    with clusters.started(cluster_name) as started:
        yield started


@pytest.fixture
def places(cluster: Any, direct: Direct) -> dict[str, URL]:
    """The URLs of all nodes, with an empty database."""
    kind = clusters.CLUSTERS[cluster.name]
    urls = {node.name: rx.parse(node.url).url for node in cluster}
    create_database(direct(urls[kind.home or next(iter(urls))]))
    return {name: url.set(database=DATABASE) for name, url in urls.items()}


def create_database(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {DATABASE}")


@pytest.fixture
def direct() -> Iterator[Direct]:
    """Make an engine for the test itself: the backend's first driver, and no pool."""
    with ExitStack() as ended:

        def make(url: URL) -> Engine:
            plain = url.set(drivername=url.get_backend_name()).difference_update_query(["charset"])
            engine = build(rx.parse(plain), poolclass=NullPool)
            ended.callback(engine.dispose)
            return engine

        yield make


@pytest.fixture
def private(backend: str, direct: Direct) -> Iterator[tuple[Any, URL]]:
    """A server of this test's own, of the kind under test, and the URL of an empty database."""
    name, _, driver = backend.partition("+")
    if not databases.SERVERS[name].variable:
        pytest.skip(f"{name} has no server that could be killed")
    with clusters.started(name) as cluster:
        url = rx.parse(cluster[name].url).url
        create_database(direct(url))
        if driver:
            url = url.set(drivername=f"{name}+{driver}")
        yield cluster[name], url.set(database=DATABASE)


@pytest.fixture
def start_load(direct: Direct, request: pytest.FixtureRequest) -> Iterator[StartLoad]:
    """Make the tables where the first URL leads, and a load on all of them."""
    loads: list[tuple[Load, URL]] = []

    def start(
        urls: Sequence[URL],
        allowed: tuple[type[Exception], ...],
        home: URL | None = None,
        **options: Any,
    ) -> Load:
        transfers.create(direct(home or urls[0]))
        texts = [url.render_as_string(hide_password=False) for url in urls]
        load = Load(way(urls[0]), texts, allowed, **options)
        loads.append((load, urls[0]))
        return load

    yield start
    for load, _ in loads:
        line = f"{request.node.name}: {load.summary()}"
        request.config.stash[SUMMARIES].append(line)
    rx.dispose()


def way(url: URL) -> transfers.Way:
    """Return how the driver of a URL is used."""
    dialect = registry.get(url.get_backend_name())
    name = url.drivername.partition("+")[2] or dialect.drivers[0].name
    driver = next(driver for driver in dialect.drivers if driver.name == name)
    return transfers.Threads() if driver.sync else transfers.Tasks()
