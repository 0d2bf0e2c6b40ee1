"""What ``rxdb doctor`` finds out, as values: the drivers, the configured databases, the answers."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, Connection, Select, literal_column, make_url, select
from sqlalchemy.exc import ArgumentError

from rxdb import __version__, config, registry
from rxdb.config import DBConfig, Setting
from rxdb.dialect import Dialect, Driver, Target, is_secret, release, show
from rxdb.engine import URLLike, ensure_folder, find_target, get_async_engine, get_engine
from rxdb.errors import (
    BadURL,
    DatabaseMissing,
    DriverError,
    DriverMismatch,
    DriverMissing,
    DriverTooOld,
    LoginFailed,
    RxdbError,
    ended,
    hide,
    install,
    is_own,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

INSTALLED, NOT_INSTALLED, BROKEN, TOO_OLD = "installed", "not installed", "broken", "too old"

FOUNDATIONS = ("sqlalchemy", "sqlmodel", "alembic", "greenlet")

ROUND_TRIPS = 5

NO_FILE = "no file yet: it is made at the first session"

TLS = "TLS"
"""The setting whose empty answer means that the connection is not encrypted."""


@dataclass(frozen=True, kw_only=True)
class DriverFacts:
    """One driver, or one plug-in, of this environment."""

    name: str
    module: str
    state: str
    version: str | None
    sync: bool | None
    asynchronous: bool | None
    install: str | None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class DialectFacts:
    """One backend that rxdb knows."""

    name: str
    title: str
    oldest: str | None
    drivers: tuple[DriverFacts, ...]
    plugin: DriverFacts | None


@dataclass(frozen=True, kw_only=True)
class SessionFacts:
    """Which driver one kind of session gets, or why it gets none."""

    driver: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server says about one setting, or why it says nothing."""

    value: str | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class DatabaseFacts:
    """One configured database."""

    url: str
    source: str
    problem: str | None = None
    note: str | None = None
    dialect: str | None = None
    title: str | None = None
    sessions: Mapping[str, SessionFacts] = field(default_factory=dict)
    checked_through: str | None = None
    server_version: str | None = None
    round_trip_ms: float | None = None
    settings: Mapping[str, Answer] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        """Whether a session can use it."""
        return self.problem is None


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that ``rxdb doctor`` finds out."""

    versions: Mapping[str, str | None]
    notes: tuple[str, ...]
    dialects: tuple[DialectFacts, ...]
    databases: tuple[DatabaseFacts, ...]

    @property
    def works(self) -> bool:
        """Whether every configured database works."""
        return all(database.works for database in self.databases)


def examine(url: str | None = None) -> Report:
    """Gather the facts; *url* goes before what is configured."""
    dialects, notes = _dialects()
    try:
        databases = tuple(check(setting, kinds) for setting, kinds in _settings(url))
    except RxdbError as error:  # rxconfig.py cannot be used
        databases = (DatabaseFacts(url="", source="", problem=hide(str(error))),)
    return Report(
        versions={
            "rxdb": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in FOUNDATIONS},
        },
        notes=notes,
        dialects=tuple(_dialect(dialect) for dialect in dialects),
        databases=databases,
    )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _dialects() -> tuple[list[Dialect], tuple[str, ...]]:
    """Return each known dialect, or rxdb's own and a note when another package's is broken."""
    try:
        return registry.every(), ()
    except RxdbError as error:
        own = {dialect.name: dialect for dialect in registry.built_in().values()}
        return [own[name] for name in sorted(own)], (hide(str(error)),)


def _dialect(dialect: Dialect) -> DialectFacts:
    return DialectFacts(
        name=dialect.name,
        title=dialect.title,
        oldest=_dotted(dialect.oldest),
        drivers=tuple(_driver(driver) for driver in dialect.drivers),
        plugin=replace(_driver(dialect.plugin), sync=None, asynchronous=None)
        if dialect.plugin
        else None,
    )


def _driver(driver: Driver) -> DriverFacts:
    facts = DriverFacts(
        name=driver.name or driver.module,
        module=driver.module,
        state=NOT_INSTALLED,
        version=None,
        sync=driver.sync,
        asynchronous=driver.asynchronous,
        install=install(driver.package) or None,
    )
    if not driver.is_installed:
        return facts
    facts = replace(facts, state=INSTALLED, version=driver.version or None)
    try:
        driver.load()
    except DriverError as error:
        state = TOO_OLD if isinstance(error, DriverTooOld) else BROKEN
        again = install(driver.package, again=True) or None
        return replace(facts, state=state, reason=hide(str(error)), install=again)
    return facts


def _settings(url: str | None) -> Iterator[tuple[Setting, tuple[bool, ...]]]:
    """Yield each database, and for which kinds of session it is (is_async)."""
    if url is not None:
        yield Setting(url=url, source="--url"), (False, True)
        return
    ordinary, asynchronous = config.database(), config.database(is_async=True)
    if ordinary.url == asynchronous.url:
        yield ordinary, (False, True)
    else:
        yield ordinary, (False,)
        yield asynchronous, (True,)


def check(setting: Setting, kinds: Sequence[bool]) -> DatabaseFacts:
    """Connect to the database of *setting*, and ask it.

    It is reached through a synchronous driver, or else through an asynchronous one; *kinds* says
    which of the two are asked for (is_async). A failure is not raised: it is ``problem``.
    """
    found = {is_async: _find(setting.url, is_async=is_async) for is_async in kinds}
    sessions = {
        "rx.asession" if is_async else "rx.session": _session(target)
        for is_async, target in found.items()
    }
    target = _choose(list(found.values()))
    if isinstance(target, RxdbError):
        shown = _unread(setting.url, target)
        problem = hide(str(target))
        return DatabaseFacts(url=shown, source=setting.source, problem=problem, sessions=sessions)
    facts = DatabaseFacts(
        url=show(target.url),
        source=setting.source,
        dialect=target.dialect.name,
        title=target.dialect.title,
        sessions=sessions,
        checked_through=target.dialect.scheme(target.driver),
    )
    try:
        return _ask(facts, setting.url, target, is_async=target is not found.get(False))
    except Exception as error:  # noqa: BLE001 - some drivers raise their own, and OSErrors
        if is_own(error):
            return replace(facts, problem=reason(error, target))
        if isinstance(error, LoginFailed | DatabaseMissing):
            return replace(facts, problem=told(error, setting))
        problem = f"The database cannot be used: {reason(error, target)}"
        return replace(facts, problem=f"{problem} {next_step(target, setting)}")


def _find(url: URLLike, *, is_async: bool) -> Target | RxdbError:
    try:
        return find_target(url, is_async=is_async)
    except RxdbError as error:
        return error


def _session(target: Target | RxdbError) -> SessionFacts:
    if isinstance(target, RxdbError):
        return SessionFacts(reason=hide(str(target)))
    return SessionFacts(driver=target.driver.name or target.driver.module)


def _choose(found: Sequence[Target | RxdbError]) -> Target | RxdbError:
    """Return the first, unless it only lacks a driver of its kind and the second has one."""
    first, *others = found
    for other in others:
        if isinstance(first, DriverMismatch):
            return other  # the URL names an asynchronous driver
        if isinstance(first, DriverMissing) and isinstance(other, Target):
            return other
    return first


def _unread(url: URLLike, error: RxdbError) -> str:
    """Return what of a URL without a target may be shown.

    Where the URL itself is wrong, a password may stand anywhere in it, in an unknown option too.
    """
    is_wrong = isinstance(error, BadURL)
    if isinstance(url, DBConfig):
        url = url.url()
    if isinstance(url, URL):
        return f"{url.drivername}://***" if is_wrong else show(url)
    scheme, separator, _ = str(url).strip().partition("://")
    if not separator:
        return "***" if is_wrong else scheme  # the path of a file
    hidden = f"{scheme}://***" if re.fullmatch(r"[\w+.-]+", scheme) else "***"
    try:
        return hidden if is_wrong else show(make_url(url.strip()))
    except (ArgumentError, ValueError):  # several hosts
        return hidden


def _ask(facts: DatabaseFacts, url: URLLike, target: Target, *, is_async: bool) -> DatabaseFacts:
    if file := target.dialect.file(target.url):
        folder = Path(file).parent
        ensure_folder(target)
        is_there = Path(file).exists()
        if not is_there and not os.access(folder, os.W_OK):
            raise PermissionError(f"{file} is not there, and {folder} cannot be written to")
        remark = target.dialect.remark(target)
        if not is_there:
            return replace(facts, note="; ".join(filter(None, (NO_FILE, remark))))
        facts = replace(facts, note=remark or None)
    if is_async:
        return asyncio.run(_ask_async(facts, url, target))
    with get_engine(url).connect() as connection:
        return _answers(connection, facts, target)


async def _ask_async(facts: DatabaseFacts, url: URLLike, target: Target) -> DatabaseFacts:
    async with get_async_engine(url).connect() as connection:
        return await connection.run_sync(_answers, facts, target)


def _answers(connection: Connection, facts: DatabaseFacts, target: Target) -> DatabaseFacts:
    dialect = target.dialect
    version = _server_version(connection, dialect)
    is_old = version is not None and release(version) < dialect.oldest
    problem = (
        f"{dialect.title} {version} is older than {_dotted(dialect.oldest)}, the oldest that rxdb "
        f"supports. Upgrade it."
    )
    return replace(
        facts,
        problem=problem if is_old else None,
        server_version=version,
        round_trip_ms=round(_round_trip(connection), 3),
        settings={
            label: _setting(connection, target, label, query)
            for label, query in dialect.settings.items()
        },
    )


def _server_version(connection: Connection, dialect: Dialect) -> str | None:
    """Return the version as numbers and dots, or None where nobody knows it."""
    if not dialect.version_query:
        return _dotted(release(getattr(connection.dialect, "server_version_info", None) or ()))
    answer = _last_value(connection, dialect.version_query)
    return answer if release(answer) else None


def _round_trip(connection: Connection) -> float:
    """Return the milliseconds that the smallest question takes, without those of BEGIN."""
    question: Select[tuple[int]] = select(
        literal_column("1")
    )  # SQLAlchemy adds a FROM where the server wants one
    times: list[float] = []
    with connection.begin():
        connection.scalar(question)
        for _ in range(ROUND_TRIPS):
            start = time.perf_counter()
            connection.scalar(question)
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def _setting(connection: Connection, target: Target, label: str, query: str) -> Answer:
    try:
        value = _last_value(connection, query)
    except Exception as error:  # noqa: BLE001 - one question must not end the report
        return Answer(error=reason(error, target))
    return Answer(value="no" if label == TLS and not value else value)


def _last_value(connection: Connection, query: str) -> str:
    """Return the last value of the first row; a transaction of its own, for a failure ends it."""
    with connection.begin():
        row = connection.exec_driver_sql(query).first()
    value = row[-1] if row else None
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def reason(error: BaseException, target: Target) -> str:
    """Return what an error says, without the password; what a driver says comes on one line."""
    text = str(error) if is_own(error) else _words(error)
    text = hide(text)
    for secret in sorted(_secrets(target), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _words(error: BaseException) -> str:
    """Return the driver's own words: without what SQLAlchemy adds, and without numbers."""
    original = getattr(error, "orig", None) or error
    *_, text = ["", *_texts(original.args)]
    text = re.sub(r"^<class '[^']*'>: ", "", text or str(original))  # SQLAlchemy's, for asyncpg
    lines: list[str] = []
    for line in (line.strip(" \t-") for line in text.splitlines()):
        if not any(line in above for above in lines):  # libpq repeats itself for each attempt
            lines.append(line)
    return " ".join(ended(line) for line in lines if line) or f"{type(original).__name__}."


def _texts(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, tuple):
            yield from _texts(value)
        elif isinstance(value, str | bytes):
            yield value if isinstance(value, str) else value.decode(errors="replace")


def _secrets(target: Target) -> set[str]:
    """Return the passwords of *target* in each way that they may be written."""
    found = {target.url.password or ""}
    for option, value in target.url.query.items():
        if is_secret(option):
            found |= {value} if isinstance(value, str) else set(value)
    if target.password is not None:
        with suppress(Exception):  # it is then the error that is told
            found.add(target.password())
    return {way(secret) for secret in found if secret for way in (str, quote_plus, _quoted)}


def _quoted(text: str) -> str:
    return quote(text, safe="")


def told(error: LoginFailed | DatabaseMissing, setting: Setting) -> str:
    """Return what is to be done where the server answers and lets nobody in."""
    sentence = str(error).partition("\n")[0]
    return hide(sentence.replace("Correct the URL", f"Correct {setting.source}"))


def next_step(target: Target, setting: Setting) -> str:
    url, file = target.url, target.dialect.file(target.url)
    if file:
        return (
            f"Check that {file} is a {target.dialect.title} database that you may read and write, "
            f"and that no other process holds it."
        )
    place = f"{url.host}:{url.port}" if url.host and url.port else url.host
    return (
        f"Check that the server runs{f' at {place}' if place else ''}, and that the user, the "
        f"password and the database of {setting.source} are the right ones."
    )


def _dotted(numbers: Sequence[int]) -> str | None:
    return ".".join(map(str, numbers)) or None
