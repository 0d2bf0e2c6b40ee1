"""Where the databases of the test matrix are, and how to get an empty one for a test.

A new backend is one more row of SERVERS.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool

from rxdb import Target, parse, registry
from rxdb.engine import build, build_async
from rxdb.testing.databases import Backend, Databases, Servers

Run = Callable[[Callable[[], Any]], Any]
"""Runs a function, for an asynchronous driver inside an event loop."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """One row of the matrix."""

    variable: str = ""
    """The environment variable that holds the server's URL; empty for a database in a file."""

    version: str = ""
    """A query that tells the server's name."""

    has: str = ""
    """What stands in the answer."""

    lacks: str = "\0"
    """What must not stand in it."""

    authority: str = ""
    """A query that tells the file of the authority that signed the server's certificate."""

    session: str = ""
    """A query that tells the number of the connection's session."""

    kill: str = ""
    """The statement that ends a session by its number."""

    limits: str = ""
    """A query that tells the timeouts of the session."""

    silent: frozenset[str] = frozenset()
    """The kinds of constraints whose names the server does not tell."""

    settings: Mapping[str, str] = field(default_factory=dict)
    """What each connection must have: a label of the dialect's settings, and a pattern."""

    end_session: str = ""
    """A statement that ends the session with the number given."""

    other_sessions: str = ""
    """A query for the numbers of the other sessions in the same database, in any order."""


LEAVES_SOCKETS = ("aiomysql",)
"""Drivers that leave the socket of a refused connection to the garbage collector."""

MYSQL_SESSIONS = (
    "SELECT id FROM information_schema.processlist "
    "WHERE db = database() AND id <> connection_id() ORDER BY rand()"
)

MYSQL_SETTINGS = {
    "sql_mode": r"(?=.*\bSTRICT_TRANS_TABLES\b)(?=.*\bNO_ZERO_DATE\b).*",
    "isolation level": "READ-COMMITTED",
    "time zone": r"\+00:00",
    "character set": "utf8mb4",
    "TLS": "TLS.*",
}

SERVERS = {
    "sqlite": Server(
        limits="PRAGMA busy_timeout",
        silent=frozenset({"foreign key"}),
        settings={
            "journal mode": "wal",
            "synchronous": "1",
            "foreign keys": "1",
            "busy timeout (ms)": "5000",
            "mmap size (bytes)": "134217728",
            "journal size limit (bytes)": "67108864",
            "cache size (pages)": "2000",
        },
    ),
    "duckdb": Server(silent=frozenset({"foreign key", "check"}), settings={"time zone": "UTC"}),
    "postgresql": Server(
        variable="RXDB_TEST_POSTGRESQL",
        version="SELECT version()",
        has="PostgreSQL",
        authority="SHOW ssl_cert_file",  # it signed itself
        session="SELECT pg_backend_pid()",
        kill="SELECT pg_terminate_backend({})",
        limits="SELECT current_setting('statement_timeout') || ' ' || "
        "current_setting('lock_timeout')",
        settings={
            "isolation level": "read committed",
            "time zone": "UTC",
            "character set": "UTF8",
            "TLS": "TLS.*",
            "application name": "matrix",
        },
        end_session="SELECT pg_terminate_backend({})",
        other_sessions="SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() ORDER BY random()",
    ),
    "mysql": Server(
        variable="RXDB_TEST_MYSQL",
        version="SELECT concat(@@version, ' ', @@version_comment)",  # Debian's does not say MySQL
        lacks="MariaDB",
        authority="SELECT concat(@@datadir, @@ssl_ca)",
        session="SELECT connection_id()",
        kill="KILL {}",
        limits="SELECT concat_ws(' ', @@SESSION.max_execution_time, "
        "@@SESSION.innodb_lock_wait_timeout, @@SESSION.lock_wait_timeout)",
        settings=MYSQL_SETTINGS,
        end_session="KILL {}",
        other_sessions=MYSQL_SESSIONS,
    ),
    "mariadb": Server(
        variable="RXDB_TEST_MARIADB",
        version="SELECT concat(@@version, ' ', @@version_comment)",
        has="MariaDB",
        authority="SELECT @@ssl_cert",  # it signed itself
        session="SELECT connection_id()",
        kill="KILL {}",
        limits="SELECT concat_ws(' ', @@SESSION.max_statement_time, "
        "@@SESSION.innodb_lock_wait_timeout, @@SESSION.lock_wait_timeout)",
        settings=MYSQL_SETTINGS,
        end_session="KILL {}",
        other_sessions=MYSQL_SESSIONS,
    ),
}


def admin(name: str, driver: str) -> Target:
    """Return where databases of the server *name* are created, reached through *driver*."""
    server = SERVERS[name]
    if not (url := os.environ.get(server.variable, "")):
        raise LookupError(f'No {name} server is known. Run: eval "$(ci/servers up {name})"')
    rest = url.partition("://")[2]
    return target(f"{name}{'+' if driver else ''}{driver}://{rest}")


def target(url: str) -> Target:
    """Parse *url* for the kind of work its driver can do: ordinary work where it can do both."""
    driver = parse(url, is_async=True).driver if _is_async_only(url) else None
    return parse(url, is_async=driver is not None)


def is_async(found: Target) -> bool:
    """Whether every use of *found* needs an event loop."""
    return not found.driver.sync


def of(name: str, driver: str, folder: Path) -> Databases:
    """Return what makes databases on a server; those in files are made in *folder*."""
    backend = Backend(name, registry.get(name), driver)
    return Databases(backend, Servers([backend]), folder, "models")


@contextmanager
def empty(made: Databases) -> Iterator[Target]:
    """Yield a database made for one test and dropped after it."""
    url = made.empty()
    try:
        yield target(url)
    finally:
        made.drop(url, is_forced=False)  # no test leaves a session behind


def execute(found: Target, run: Run, statement: str) -> Any:
    """Execute one statement outside a transaction, and return its first value."""
    options = {"poolclass": NullPool, "isolation_level": "AUTOCOMMIT"}
    engine = (
        build_async(found, **options).sync_engine if is_async(found) else build(found, **options)
    )

    def work() -> Any:
        with engine.connect() as connection:
            result = connection.exec_driver_sql(statement)
            return result.scalar() if result.returns_rows else None

    return run(work)


def at_once(found: Target, *functions: Callable[[], Any]) -> list[Any]:
    """Call functions at the same time: in threads, or as tasks of the running event loop. Return
    their results, or what they raised."""
    if is_async(found):
        from sqlalchemy.util import await_only, greenlet_spawn

        tasks = (greenlet_spawn(function) for function in functions)
        results: list[Any] = await_only(asyncio.gather(*tasks, return_exceptions=True))
        return results
    with ThreadPoolExecutor(len(functions)) as pool:
        futures = [pool.submit(function) for function in functions]
    return [future.exception() or future.result() for future in futures]


def _is_async_only(url: str) -> bool:
    scheme, _, driver = url.partition("://")[0].partition("+")
    return any(d.name == driver and not d.sync for d in registry.get(scheme).drivers)
