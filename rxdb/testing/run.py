"""One run of pytest: its backends, their databases, and which of them a test works on."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from rxdb import config as configuration
from rxdb.config import ASYNC_URL_VARIABLES, DEFAULT_URL, LAST_VARIABLE, URL_VARIABLES
from rxdb.errors import RxdbError, suggest
from rxdb.testing.databases import SCHEMAS, Databases, Servers, backends, needs_own, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rxdb.dialect import Target

Result = TypeVar("Result")

OWN = "rx_commits"
"""The mark of a test that needs a database of its own."""


class Run:
    """What one process of a run knows about databases."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the options; raise :class:`pytest.UsageError` for those that make no sense."""
        given: list[str] = config.getoption("rx_db") or [config.getini("rx_db")]
        text = ",".join(filter(None, given)) or DEFAULT_URL.partition("://")[0]
        self.schema: str = config.getini("rx_schema")
        if self.schema not in {"", *SCHEMAS}:
            raise pytest.UsageError(
                f"There is no rx_schema={self.schema}. {suggest(self.schema, SCHEMAS)}"
            )
        try:
            self.backends = backends(text)
        except RxdbError as error:
            raise pytest.UsageError(str(error)) from error
        urls = getattr(config, "workerinput", {}).get("rx_servers")
        self.servers = Servers(self.backends, urls)
        self.labels = [backend.label for backend in self.backends]
        self._folder: Path | None = None
        self._databases: dict[str, Databases] = {}

    def databases(self, label: str) -> Databases:
        """Return the databases of a backend."""
        if label not in self._databases:
            backend = next(backend for backend in self.backends if backend.label == label)
            if self._folder is None and not backend.is_server:
                self._folder = Path(tempfile.mkdtemp(prefix="rxdb-test-"))
            made = Databases(backend, self.servers, self._folder or Path(), self.schema)
            self._databases[label] = made
        return self._databases[label]

    @contextmanager
    def configured(self, label: str, request: pytest.FixtureRequest) -> Iterator[Target]:
        """Make a database of this backend the configured one, for one test."""
        from rxdb import engine  # noqa: PLC0415 - loads SQLAlchemy

        databases = self.databases(label)
        is_marked = request.node.get_closest_marker(OWN) is not None
        is_own = is_marked or "rx_database" in request.fixturenames
        with _application():
            if is_own or needs_own(databases.backend):
                url = _made(databases.filled)
                try:
                    with _configured(url):
                        yield databases.target(url)
                finally:
                    databases.drop(url)
                return
            url, isolation = _made(databases.isolated)
            with _configured(url):
                engine.stand_in(isolation.find)
                try:
                    yield isolation.target
                finally:
                    engine.stand_in(None)
                    if not isolation.end_test():
                        databases.spoilt()

    @contextmanager
    def empty(self, label: str, *, is_configured: bool = False) -> Iterator[str]:
        """Make a database without tables; it is the configured one where that is asked for."""
        databases = self.databases(label)
        with _application():
            url = _made(databases.empty)
            try:
                with _configured(url) if is_configured else nullcontext():
                    yield url
            finally:
                databases.drop(url)

    def drop(self) -> None:
        """Drop the databases."""
        try:
            while self._databases:
                self._databases.popitem()[1].close()
        finally:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Drop the databases, and end the servers."""
        try:
            self.drop()
        finally:
            self.servers.stop()


@contextmanager
def _application() -> Iterator[None]:
    """Let no environment variable lead the application elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in (*URL_VARIABLES, *ASYNC_URL_VARIABLES, LAST_VARIABLE):
            patch.delenv(variable, raising=False)
        yield


@contextmanager
def _configured(url: str) -> Iterator[None]:
    before = configuration.get_config() if configuration.is_set() else None
    configuration.set_config(settings(url))
    try:
        yield
    finally:
        configuration.set_config(before)


def _made(make: Callable[[], Result]) -> Result:
    """Make a database; say in a sentence, without a traceback, what stands in the way."""
    try:
        return make()
    except RxdbError as error:
        problem = str(error)
    pytest.fail(problem, pytrace=False)
