"""The databases of a test run: a template for each backend, and what is made of it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from rxdb import config, registry
from rxdb.dialect import Feature
from rxdb.errors import DriverMissing, RxdbError, hide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from rxdb.dialect import Dialect, Target
    from rxdb.testing.isolation import Isolation
    from rxdb.testing.servers import Group

SEPARATOR = re.compile(r"[,\s]+(?=[A-Za-z][\w.-]*(?:\+\w+)?(?:://|,|\s|$))")
"""What stands between two backends: a URL may hold commas too."""

SCHEMAS = ("models", "migrations")


class BackendError(RxdbError):
    """A backend that tests were to run on cannot be had."""


@dataclass(frozen=True)
class Backend:
    """One database system that the tests run on."""

    label: str
    """What it is called in the names of tests."""

    dialect: Dialect
    driver: str
    """The driver that was asked for; empty where rxdb chooses."""

    url: str = field(default="", repr=False)
    """Where it is, if that was said."""

    @property
    def scheme(self) -> str:
        """What stands before ``://``."""
        return f"{self.dialect.name}{'+' if self.driver else ''}{self.driver}"

    @property
    def variable(self) -> str:
        """The environment variable with the URL of its server."""
        return f"RXDB_TEST_{self.dialect.name.upper()}"

    @property
    def is_server(self) -> bool:
        """Whether it is reached at an address; else a database is a file."""
        return self.dialect.port is not None


def backends(text: str) -> list[Backend]:
    """Read ``sqlite,postgresql+asyncpg,mysql://user:password@host/``.

    Raises :class:`rxdb.errors.UnknownDialect`.
    """
    found: dict[str, Backend] = {}
    for one in SEPARATOR.split(text.strip(", \n")):
        scheme, separator, _ = one.partition("://")
        name, _, driver = scheme.partition("+")
        label, number = scheme.lower(), 2
        while label in found:
            label, number = f"{scheme.lower()}-{number}", number + 1
        url = one if separator else ""
        found[label] = Backend(label, registry.get(name), driver.lower(), url)
    return list(found.values())


class Servers:
    """Where the servers are: as it was said, or else started for this run."""

    def __init__(self, chosen: Iterable[Backend], urls: Mapping[str, str] | None = None) -> None:
        """Take the *urls* that another process has found, by the name of the backend."""
        self.chosen = list(chosen)
        self.urls = dict(urls or {})
        self.group: Group | None = None

    def url(self, backend: Backend) -> str:
        """Return the URL of a backend's server. Raises :class:`BackendError`."""
        if backend.url:
            return backend.url
        given = os.environ.get(backend.variable, "").strip() or self.urls.get(backend.dialect.name)
        if not given:
            self._start(backend)
            given = self.urls[backend.dialect.name]
        return f"{backend.scheme}://{given.partition('://')[2]}"

    def all(self) -> dict[str, str]:
        """Have all servers run, and return where those are that were started."""
        for backend in self.chosen:
            if backend.is_server:
                self.url(backend)
        return self.urls

    def stop(self) -> None:
        """End what was started."""
        if self.group is not None:
            self.group.stop()

    def _start(self, wanted: Backend) -> None:
        """Start what this run needs; all of it at once where that is possible."""
        missing = [b for b in self.chosen if b.is_server and not b.url and b.dialect.server]
        missing = [b for b in missing if not os.environ.get(b.variable, "").strip()]
        recipes = {b.dialect.name: _recipe(b.dialect) for b in missing}
        name = wanted.dialect.name
        if name not in recipes:
            raise BackendError(
                f"No {wanted.dialect.title} server is known. "
                f"Run: export {wanted.variable}={name}://user:password@host/"
            )
        try:
            from rxdb.testing.servers import Group, ServerError  # noqa: PLC0415 - not on Windows
        except ImportError as error:
            raise BackendError(
                f"A throw-away server needs Linux or macOS. "
                f"Run: set {wanted.variable}={name}://user:password@host/"
            ) from error
        self.group = self.group or Group()
        try:
            try:
                self.group.start(recipes.values())
            except ServerError:  # of another backend, perhaps
                self.group.start([recipes[name]])
        except ServerError as error:
            raise BackendError(str(error)) from error
        self.urls |= self.group.urls


def _recipe(dialect: Dialect) -> Any:
    module, _, name = dialect.server.partition(":")
    return getattr(import_module(module), name)


class Databases:
    """The databases of one backend in one process."""

    def __init__(self, backend: Backend, servers: Servers, folder: Path, schema: str) -> None:
        """Make nothing yet.

        *folder* is for databases in files; *schema* says what makes the tables, one of SCHEMAS, or
        ``""`` for migrations where the project has some, and else the models.
        """
        self.backend = backend
        self.servers = servers
        self.folder = folder
        self.schema = schema
        self.made: list[str] = []
        self._server: ServerConnection | None = None
        self._template: str | None = None
        self._isolation: Isolation | None = None

    def empty(self) -> str:
        """Return the URL of a new database without tables."""
        name = _name()
        if not self.backend.is_server:
            return self._register(self._file(name))
        self._on_server(lambda connection: connection.exec_driver_sql(f"CREATE DATABASE {name}"))
        return self._register(self._at(name))

    def filled(self) -> str:
        """Return the URL of a new database with the application's tables, and no more."""
        template, name = self._get_template(), _name()
        clone = self.backend.dialect.clone
        if not self.backend.is_server:
            source, copy = (self.target(url) for url in (template, self._file(name)))
            for path in _files(source):
                there = str(path).replace(_path(source), _path(copy))
                shutil.copyfile(path, there)
            return self._register(self._file(name))
        if clone is None:
            return self._fill(self.empty())
        old = self.target(template).url.database or ""
        self._on_server(lambda connection: clone(connection, old, name))
        return self._register(self._at(name))

    def drop(self, url: str, *, is_forced: bool = True) -> None:
        """Drop a database that was made here; unless it *is_forced*, a server may refuse that
        while somebody is connected."""
        from rxdb.engine import dispose  # noqa: PLC0415 - loads SQLAlchemy

        dispose()
        target = self.target(url)
        if self.backend.is_server:
            usual = "DROP DATABASE {}"
            statement = self.backend.dialect.drop_database if is_forced else usual
            statement = statement.format(target.url.database)
            self._on_server(lambda connection: connection.exec_driver_sql(statement))
        else:
            for path in _files(target):
                path.unlink()
        self.made.remove(url)

    def isolated(self) -> tuple[str, Isolation]:
        """Return the URL of the database for tests that are rolled back, and what does that."""
        from rxdb.testing.isolation import Isolation  # noqa: PLC0415 - loads SQLAlchemy

        if self._isolation is None:
            url = self.filled()
            self._isolation = Isolation(self.target(url))
        return self.made_url(self._isolation.target), self._isolation

    def spoilt(self) -> None:
        """Forget the database of tests that are rolled back: the next one gets another."""
        isolation, self._isolation = self._isolation, None
        if isolation is not None:
            isolation.close()
            self.drop(self.made_url(isolation.target))

    def made_url(self, target: Target) -> str:
        """Return the URL that leads to a target."""
        return next(url for url in self.made if self.target(url).url == target.url)

    def close(self) -> None:
        """Drop all that was made, and close the connection to the server."""
        try:
            if self._isolation is not None:
                self._isolation.close()
            for url in list(self.made):
                self.drop(url)
        finally:
            server, self._server = self._server, None
            if server is not None:
                server.close()

    def has_migrations(self) -> bool:
        """Whether the tables come from the project's migrations."""
        from rxdb.migrations.revisions import find_project  # noqa: PLC0415 - few need it

        return self.schema == "migrations" or (not self.schema and find_project() is not None)

    def _get_template(self) -> str:
        if self._template is None:
            url = self.empty()
            try:
                self._template = self._fill(url)
            except BaseException:
                self.drop(url)
                raise
        return self._template

    def _fill(self, url: str) -> str:
        """Make the application's tables in an empty database."""
        from rxdb.migrations import database  # noqa: PLC0415 - loads SQLAlchemy

        if self.has_migrations():
            from rxdb.migrations import commands  # noqa: PLC0415 - loads Alembic

            commands.migrate(url=url, allow_data_loss=True)
            return url
        from rxdb.migrations.models import load  # noqa: PLC0415 - loads the models

        known = load()

        def create(engine: Engine) -> None:
            for metadata in known:
                metadata.create_all(engine)

        database.with_engine(self.target(url), create)
        return url

    def _on_server(self, work: Callable[[Any], Any]) -> None:
        """Work on a connection to the server, outside of a transaction."""
        found = self.target(self.servers.url(self.backend))
        try:
            if self._server is None:
                self._server = ServerConnection(found)
            self._server.run(work)
        except DriverMissing:
            raise
        except Exception as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()
            raise BackendError(
                f"No database for tests can be made on {found}: {hide(reason[0])} "
                f"Its user must be allowed to create and drop databases."
            ) from error

    def target(self, url: str) -> Target:
        """Return the target of a URL, ordinary or asynchronous as its driver is."""
        from rxdb.migrations import database  # noqa: PLC0415 - loads SQLAlchemy

        return database.target(url)

    def _at(self, name: str) -> str:
        url = self.target(self.servers.url(self.backend)).url.set(
            database=name, drivername=self.backend.scheme
        )
        return url.render_as_string(hide_password=False)

    def _file(self, name: str) -> str:
        return f"{self.backend.scheme}:///{quote(str(self.folder / name))}.db"

    def _register(self, url: str) -> str:
        self.made.append(url)
        return url


class ServerConnection:
    """A connection to a server, outside of a transaction, that stays open: to open one for each
    statement takes longer than to make a database."""

    def __init__(self, target: Target) -> None:
        """Connect at the first use. Raises :class:`rxdb.errors.DriverMissing`."""
        from rxdb import engine  # noqa: PLC0415 - loads SQLAlchemy
        from rxdb.migrations import database  # noqa: PLC0415 - loads SQLAlchemy

        own = {"isolation_level": "AUTOCOMMIT", "pool_size": 1, "pool_pre_ping": True}
        options = database.options_of_one() | own
        self._loop: _Loop | None = None
        if target.driver.sync:
            self._engine = engine.build(target, **options)
        else:
            self._loop = _Loop(partial(engine.build_async, target, **options))
            self._engine = self._loop.engine.sync_engine

    def run(self, work: Callable[[Any], Any]) -> None:
        """Work on the connection."""

        def connected() -> None:
            with self._engine.connect() as connection:
                work(connection)

        connected() if self._loop is None else self._loop.run(connected)

    def close(self) -> None:
        """Close it."""
        if self._loop is None:
            self._engine.dispose()
        else:
            self._loop.close()


class _Loop:
    """An event loop in a thread of its own, with an engine that lives in it: its connections do
    not outlive the loop, and the caller's thread may have one of its own."""

    def __init__(self, build: Callable[[], AsyncEngine]) -> None:
        self._thread = ThreadPoolExecutor(1, "rxdb-testing")
        self._runner = self._thread.submit(asyncio.Runner).result()
        self.engine = self._thread.submit(build).result()

    def run(self, work: Callable[[], None]) -> None:
        from sqlalchemy.util import greenlet_spawn  # noqa: PLC0415 - needs greenlet

        self._thread.submit(self._runner.run, greenlet_spawn(work)).result()

    def close(self) -> None:
        with self._thread:
            self._thread.submit(self._runner.run, self.engine.dispose()).result()
            self._thread.submit(self._runner.close).result()


def settings(url: str) -> config.Config:
    """Return the application's configuration, for this database alone."""
    return replace(
        config.get_config(),
        db_url=url,
        async_db_url=None,
        migration_url=None,
        replica_urls=(),
        on_outdated_schema="ignore",
        folder=config.folder(),
    )


def needs_own(backend: Backend) -> bool:
    """Whether a test cannot be rolled back as a part of one transaction."""
    return Feature.SAVEPOINTS not in backend.dialect.features


def _name() -> str:
    return f"rxdb_{uuid4().hex[:12]}"


def _path(target: Target) -> str:
    return target.dialect.file(target.url)


def _files(target: Target) -> Iterator[Path]:
    """Yield the files of a database that are there: it may have some beside it."""
    path = Path(_path(target))
    yield from path.parent.glob(f"{path.name}*")
