"""Keep what psycopg has prepared, and read on after a migration changed what that returns.

psycopg prepares what a connection has executed five times, and forgets all of it at each ROLLBACK:
that may have undone the CREATE or ALTER that a statement needs. A session that reads ends with one,
so its statements would be parsed and planned each time. Here only a ROLLBACK after an error, or
after more than QUERIES, forgets.

PostgreSQL refuses to execute a prepared statement once the type of a column that it returns has
changed: "cached plan must not change result type". In AUTOCOMMIT, as in a read-only session, there
is no ROLLBACK, and it would go on failing for as long as the connection lives.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rxdb.dialect import execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

REFUSED_BY = "RevalidateCachedQuery"
"""The server's function that refuses, which it tells in each language; the code, 0A000, is that of
all that PostgreSQL does not support."""

STALE = "rxdb_stale"
"""What the record of a connection is marked with until psycopg has forgotten what it prepared: the
end of a snapshot, a ROLLBACK that is said as a statement, does not always let it do so."""

CHANGED = "rxdb_changed"
"""The attribute of psycopg's connection that tells that its transaction did more than QUERIES."""

QUERIES = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|VALUES|SET|SHOW|SAVEPOINT|RELEASE)\b", re.IGNORECASE
)
"""What changes no table's columns; what is written otherwise is taken for something that does."""


def is_stale(error: BaseException) -> bool:
    """Whether a statement was refused because it has to be prepared anew; it had no effect."""
    told: Any = getattr(error, "diag", None)  # psycopg's
    driver = error.__cause__ or error  # SQLAlchemy has classes of its own for asyncpg
    return (
        getattr(told, "source_function", None) == REFUSED_BY
        or type(driver).__name__ == "InvalidCachedStatementError"
    )


def keep(engine: Engine) -> None:
    """Keep them at a ROLLBACK, and execute one that was refused again, prepared anew, where nothing
    of its transaction was before it."""
    from sqlalchemy import event

    dialect: Any = engine.dialect
    dialect.do_rollback = _keeping(dialect.do_rollback)
    for name in ("do_execute", "do_execute_no_params"):
        setattr(dialect, name, _again(getattr(dialect, name), dialect.loaded_dbapi.Error))

    @event.listens_for(engine, "reset")
    def forget(connection: DBAPIConnection, record: ConnectionPoolEntry, state: Any) -> None:
        if record.info.pop(STALE, False) and state.asyncio_safe:
            connection.rollback()


def _keeping(rollback: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return SQLAlchemy's *rollback*, during which psycopg has nothing to forget."""
    from psycopg.pq import TransactionStatus

    def keep(connection: Any) -> None:
        driver = getattr(connection, "driver_connection", connection)
        prepared = getattr(driver, "_prepared", None)
        is_fine = driver.pgconn.transaction_status == TransactionStatus.INTRANS
        if prepared is None or not is_fine or getattr(driver, CHANGED, False):
            rollback(connection)
            setattr(driver, CHANGED, False)
            return
        driver._prepared = type(prepared)()  # noqa: SLF001 - there is no other way to ask for it
        try:
            rollback(connection)
        finally:
            driver._prepared = prepared  # noqa: SLF001 - psycopg has no public way

    return keep


def _forget(driver: Any) -> None:
    """Let psycopg know that the server has; before 3.3 it does not see that in the answer."""
    prepared = getattr(driver, "_prepared", None)
    if prepared is not None:
        prepared.clear()


def _again(send: Callable[..., None], failure: type[Exception]) -> Callable[..., None]:
    """Return SQLAlchemy's *send*, whose last argument is the context of an execution."""
    from psycopg.pq import TransactionStatus

    def send_again(*arguments: Any) -> None:
        connection = arguments[-1].root_connection.connection
        driver = connection.driver_connection
        server = driver.pgconn
        is_first = server.transaction_status == TransactionStatus.IDLE
        if not QUERIES.match(arguments[1]):
            setattr(driver, CHANGED, True)
        try:
            send(*arguments)
        except failure as error:
            if not is_stale(error):
                raise
            if not is_first:
                connection.info[STALE] = True
                raise
            if server.transaction_status == TransactionStatus.IDLE:  # in AUTOCOMMIT
                execute(connection, "DEALLOCATE ALL")
                _forget(driver)
            connection.rollback()
            send(*arguments)

    return send_again
