"""Send no ROLLBACK where nothing was sent since the end of the last transaction.

``Session.close()`` ends its transaction and gives the connection back to the pool, which does not
know that and rolls back once more. The drivers send that to the server: a third round trip for a
session that reads, and for one that adds and commits.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def spare(connection: Any, driver: Any) -> None:
    """Let a connection of PyMySQL or mysqlclient know when there is nothing to roll back.

    One that something else has wrapped or derived stays as it is.
    """
    if type(connection) is driver.connections.Connection:
        connection.__class__ = _sparing(driver)


@contextmanager
def beginning_nothing(connection: Any) -> Iterator[None]:
    """Send what begins no transaction, such as SET of a session's variables."""
    has_ended = getattr(connection, "has_ended", False)
    yield
    if has_ended:
        connection.has_ended = True


@cache
def _sparing(driver: Any) -> Any:
    """Return the class of a driver's connections that know it.

    All that a cursor sends goes through ``query``. What is sent in other ways, such as a ping,
    begins no transaction, or comes after a SAVEPOINT, as the rows of LOAD DATA do.
    """

    class Connection(driver.connections.Connection):  # type: ignore[misc]  # either driver's
        has_ended = False
        """Whether nothing was sent since a COMMIT or ROLLBACK that the server did."""

        def query(self, *statement: Any, **options: Any) -> Any:
            self.has_ended = False
            return super().query(*statement, **options)

        def send_query(self, *statement: Any) -> Any:  # mysqlclient's only
            self.has_ended = False
            return super().send_query(*statement)

        def begin(self) -> None:
            self.has_ended = False
            super().begin()

        def commit(self) -> None:
            self.has_ended = False
            super().commit()
            self.has_ended = True

        def rollback(self) -> None:
            if self.has_ended and self.open:  # a closed one has to fail: the pool replaces it
                return
            self.has_ended = False
            super().rollback()
            self.has_ended = True

    return Connection
