"""Send DDL without waiting for the answer to the statement before: libpq's pipeline mode.

The server works on a statement while Python prepares the next one. An error arrives late, with a
later statement, so this is only for work that is rolled back and done again after any error.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rxdb_dialects._postgresql_plans import CHANGED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection


@contextmanager
def sending_ahead(connection: Connection) -> Iterator[None]:
    """Send the DDL of *connection* ahead while the body runs; leaving waits for all answers.

    Only psycopg has pipelines. What is not DDL may return rows, or may be several statements in
    one text, which a pipeline refuses: it waits for all answers and is executed as ever.
    """
    if connection.dialect.driver != "psycopg" or connection.dialect.is_async:
        yield
        return
    from psycopg import Pipeline
    from sqlalchemy import event

    if not Pipeline.is_supported():  # libpq 14
        yield
        return
    ahead = _Ahead(connection)
    listeners = (
        (connection.engine, "do_execute", ahead.execute),
        (connection.engine, "do_executemany", ahead.wait_first),
        (connection.engine, "do_execute_no_params", ahead.wait_first),
    )
    for listener in listeners:
        event.listen(*listener)
    try:
        yield
    except BaseException:
        with suppress(Exception):  # an answer that came too late to be told
            ahead.wait()
        raise
    else:
        ahead.wait()
    finally:
        for listener in listeners:
            event.remove(*listener)


class _Ahead:
    """The pipeline of a connection, begun with DDL and ended before anything else."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.driver: Any = connection.connection.driver_connection
        self.pipeline: AbstractContextManager[Any] | None = None

    def execute(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        """Return whether the statement was sent here."""
        if context.root_connection is not self.connection:
            return False
        if not context.isddl or parameters:
            self.wait()
            return False
        if self.pipeline is None:
            begun: AbstractContextManager[Any] = self.driver.pipeline()
            begun.__enter__()
            self.pipeline = begun
        setattr(self.driver, CHANGED, True)
        cursor.execute(statement, parameters)
        return True

    def wait_first(self, *given: Any) -> bool:
        """Wait, and leave the statement, of which the last argument tells, to SQLAlchemy."""
        if given[-1].root_connection is self.connection:
            self.wait()
        return False

    def wait(self) -> None:
        """Wait for all answers. Raises the first error of the statements that were sent."""
        pipeline, self.pipeline = self.pipeline, None
        if pipeline is not None:
            pipeline.__exit__(None, None, None)
