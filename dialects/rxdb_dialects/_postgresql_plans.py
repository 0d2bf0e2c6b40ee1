"""Read on after a migration changed what a prepared statement returns.

psycopg prepares what a connection has executed five times. PostgreSQL refuses to execute that once
the type of a column that it returns has changed: "cached plan must not change result type". With
the ROLLBACK of a transaction psycopg forgets what it has prepared. Where there is none, as in a
read-only session, the statement would go on failing for as long as the connection lives.
"""

from __future__ import annotations

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


def is_stale(error: BaseException) -> bool:
    """Whether a statement was refused because it has to be prepared anew; it had no effect."""
    told: Any = getattr(error, "diag", None)  # psycopg's
    driver = error.__cause__ or error  # SQLAlchemy has classes of its own for asyncpg
    return (
        getattr(told, "source_function", None) == REFUSED_BY
        or type(driver).__name__ == "InvalidCachedStatementError"
    )


def prepare_anew(engine: Engine) -> None:
    """Execute such a statement again where nothing of its transaction was before it."""
    from sqlalchemy import event

    dialect: Any = engine.dialect
    for name in ("do_execute", "do_execute_no_params"):
        setattr(dialect, name, _again(getattr(dialect, name), dialect.loaded_dbapi.Error))

    @event.listens_for(engine, "reset")
    def forget(connection: DBAPIConnection, record: ConnectionPoolEntry, state: Any) -> None:
        if record.info.pop(STALE, False) and state.asyncio_safe:
            connection.rollback()


def _again(send: Callable[..., None], failure: type[Exception]) -> Callable[..., None]:
    """Return SQLAlchemy's *send*, whose last argument is the context of an execution."""
    from psycopg.pq import TransactionStatus

    def send_again(*arguments: Any) -> None:
        connection = arguments[-1].root_connection.connection
        server = connection.driver_connection.pgconn
        is_first = server.transaction_status == TransactionStatus.IDLE
        try:
            send(*arguments)
        except failure as error:
            if not is_stale(error):
                raise
            if not is_first:
                connection.info[STALE] = True
                raise
            if server.transaction_status == TransactionStatus.IDLE:  # in AUTOCOMMIT
                execute(connection, "DEALLOCATE ALL")  # psycopg forgets when it sees the answer
            connection.rollback()
            send(*arguments)

    return send_again
