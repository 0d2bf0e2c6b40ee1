"""PgBouncer and its like, which give the server's session to another client after each transaction.

What belongs to a session is therefore not said: no prepared statement that a later transaction
needs, no ``options`` at the start, which PgBouncer before 1.20 refuses, and of the settings only
TimeZone. PgBouncer keeps that one for each client (its documentation, "Features").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import event
from sqlalchemy.util import asbool

from rxdb.dialect import run, take

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

    from rxdb.dialect import Target

PORT = "6543"
"""Where Supabase's pooler hands on sessions for one transaction."""

SUFFIX = "-pooler"
"""How the first part of the name of a pooler of Neon ends."""

OPTION = "pgbouncer"


def is_pooled(url: URL) -> bool:
    """Whether a URL leads to such a pooler: ``pgbouncer=`` decides, or else its port and host."""
    _, said = take(url, [OPTION])
    if OPTION in said:
        return asbool(said[OPTION])
    _, places = take(url, ["host", "port"])
    hosts = (url.host or places.get("host", "")).split(",")
    ports = str(url.port or places.get("port", "")).split(",")
    return PORT in ports or any(host.partition(".")[0].endswith(SUFFIX) for host in hosts)


def arguments(driver: str) -> dict[str, Any]:
    """Let no prepared statement outlive its transaction, and let no two have one name."""
    if driver == "psycopg":
        return {"prepare_threshold": None}
    if driver == "asyncpg":
        return {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"__rxdb_{uuid4()}__",
        }
    return {}


def prepare(engine: Engine, target: Target) -> None:
    """Set the time zone, and begin each transaction of a read-only engine with READ ONLY."""
    dialect: Any = engine.dialect

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: object) -> None:
        if target.driver.name != "asyncpg":  # which says it at the start
            run(connection, "SET TimeZone = 'UTC'")
        if target.read_only:
            dialect.set_readonly(connection, True)  # noqa: FBT003 - its own name for it
