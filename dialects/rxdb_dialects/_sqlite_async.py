"""What a cancelled task leaves of a connection of aiosqlite: nothing, at once."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import event

from rxdb_dialects import _sqlite_queue

if TYPE_CHECKING:
    from sqlalchemy import Engine


class Connection(sqlite3.Connection):
    """A connection that ends with ``close()``, whoever still refers to its cursors.

    Left to itself it lives on while a statement has rows that nobody fetched (sqlite3_close_v2,
    "zombie"), and with it the lock to write: as long as the traceback of the cancelled task.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()
        super().__init__(*arguments, **options)

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        """Open a cursor, and remember it."""
        made = super().cursor(*arguments, **options)
        self._cursors.add(made)
        return made

    def close(self) -> None:
        """Close the cursors first."""
        while self._cursors:  # none the second time: a cursor of a closed connection refuses
            self._cursors.pop().close()
        super().close()


class Writer(_sqlite_queue.Connection, Connection):
    """The same, for a connection that takes turns to write."""


def interrupt_when_cancelled(engine: Engine) -> None:
    """Stop the query of a connection that is given up: its thread closes it only afterwards."""

    @event.listens_for(engine, "invalidate")
    def invalidate(connection: Any, record: object, error: BaseException | None) -> None:
        with suppress(StopIteration, ValueError):  # done without waiting, or closed already
            connection.driver_connection.interrupt().send(None)
