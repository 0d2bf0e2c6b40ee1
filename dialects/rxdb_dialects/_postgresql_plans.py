"""Read on after a migration changed what a prepared statement returns.

psycopg prepares what a connection has executed five times. PostgreSQL refuses to execute that once
the type of a column that it returns has changed: "cached plan must not change result type". With
the ROLLBACK of a transaction psycopg forgets what it has prepared. Where there is no transaction,
as in a read-only session, it would go on failing for as long as the connection lives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rxdb.dialect import execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

REFUSED_BY = "RevalidateCachedQuery"
"""The server's function that refuses, which it tells in each language; the code, 0A000, is that of
all that PostgreSQL does not support."""


def is_stale(error: BaseException) -> bool:
    """Whether a statement was refused because it has to be prepared anew; it had no effect."""
    told: Any = getattr(error, "diag", None)  # psycopg's
    driver = error.__cause__ or error  # SQLAlchemy has classes of its own for asyncpg
    return (
        getattr(told, "source_function", None) == REFUSED_BY
        or type(driver).__name__ == "InvalidCachedStatementError"
    )


def prepare_anew(engine: Engine) -> None:
    """Execute such a statement again where it was no part of a transaction."""
    dialect: Any = engine.dialect
    for name in ("do_execute", "do_execute_no_params"):
        setattr(dialect, name, _again(getattr(dialect, name), dialect.loaded_dbapi.Error))


def _again(send: Callable[..., None], failure: type[Exception]) -> Callable[..., None]:
    """Return SQLAlchemy's *send*, whose last argument is the context of an execution."""

    def send_again(*arguments: Any) -> None:
        try:
            send(*arguments)
        except failure as error:
            connection = arguments[-1].root_connection.connection.dbapi_connection
            if not connection.autocommit or not is_stale(error):
                raise
            execute(connection, "DEALLOCATE ALL")  # psycopg forgets its own when it sees the answer
            send(*arguments)

    return send_again
