"""Let all sessions of a test share one transaction that is rolled back at its end.

The engine has one connection, and what SQLAlchemy takes for BEGIN, COMMIT and ROLLBACK are a
savepoint, its release, and the way back to it. So everything that the code under test does through
rxdb is part of the test's transaction: sessions, ``rx.transaction``, and engines used by hand.
"""

from __future__ import annotations

import asyncio
import weakref
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, Pool, event
from sqlalchemy.pool.base import _ConnectionRecord  # a checkout of its own for each session

from rxdb import config
from rxdb import engine as engines
from rxdb.dialect import Feature, Target, execute
from rxdb.errors import RxdbError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
    from sqlmodel import Session
    from sqlmodel.ext.asyncio.session import AsyncSession

OUTER = "rxdb_test"
"""The savepoint at the very beginning: it is gone when something ended the transaction."""

COMMITS = "Mark the test with @pytest.mark.rx_commits, which gives it a database of its own."


class TransactionEnded(RxdbError):
    """Something ended the transaction around a test, such as DDL where it commits."""


class OverlappingTransactions(RxdbError):
    """Two transactions of a test that one connection cannot keep apart."""


class OneConnection(Pool):
    """A pool that hands out one connection, to as many as ask for it."""

    _owner: _ConnectionRecord | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take what each pool does."""
        super().__init__(*arguments, **options)
        self._lent: weakref.WeakSet[_ConnectionRecord] = weakref.WeakSet()

    def _do_get(self) -> ConnectionPoolEntry:
        owner = self._owner
        if owner is None or owner.dbapi_connection is None:
            owner = self._owner = _ConnectionRecord(self)
        lent = _ConnectionRecord(self, connect=False)
        lent.dbapi_connection = owner.dbapi_connection
        lent.fresh, lent.starttime = False, owner.starttime
        lent.__dict__["info"] = owner.info
        self._lent.add(lent)
        return lent

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        if record.dbapi_connection is None and self._owner is not None:  # it was invalidated
            self._owner.dbapi_connection = None
        lent: Any = record
        lent.dbapi_connection = None

    def dispose(self) -> None:
        """Close the connection, and forget who still has it."""
        for lent in self._lent:
            lent.fairy_ref = None
        owner, self._owner = self._owner, None
        if owner is not None and owner.dbapi_connection is not None:
            owner.close()

    def recreate(self) -> OneConnection:
        """Make one like it, as ``Engine.dispose`` asks for."""
        return self.__class__(
            self._creator,
            reset_on_return=None,
            _dispatch=self.dispatch,
            dialect=self._dialect,
        )

    def status(self) -> str:
        """Say what it is."""
        return "one connection of a test"


@dataclass
class _Entry:
    """A transaction as SQLAlchemy knows it, and its savepoint."""

    connection: PoolProxiedConnection
    savepoint: str
    has_written: bool = False
    has_failed: bool = False
    is_autocommit: bool = False
    holds_others: bool = False
    """Whether an earlier one has written since its savepoint."""
    is_over: bool = False


class Outer:
    """The transaction around a test, on the one connection of an engine."""

    def __init__(self, engine: Engine, target: Target) -> None:
        self.engine = engine
        self.target = target
        self.raw: DBAPIConnection | None = None
        self.entries: list[_Entry] = []
        self.numbers = count(1)
        dialect: Any = engine.dialect  # this engine's own
        self.do_begin: Callable[[Any], None] = dialect.do_begin
        self.do_rollback: Callable[[Any], None] = dialect.do_rollback
        do_savepoint = dialect.do_savepoint
        do_release = dialect.do_release_savepoint
        do_rollback_to = dialect.do_rollback_to_savepoint
        dialect.do_begin, dialect.do_commit, dialect.do_rollback = (
            self.begin,
            self.commit,
            self.rollback,
        )
        # Two sessions would both begin at sa_savepoint_1, which some servers then replace.
        dialect.do_savepoint = lambda c, name: do_savepoint(c, _own(c, name))
        dialect.do_release_savepoint = lambda c, name: do_release(c, _own(c, name))
        dialect.do_rollback_to_savepoint = lambda c, name: do_rollback_to(c, _own(c, name))
        # It cannot change within a transaction.
        dialect.set_isolation_level = lambda connection, level: None
        dialect.reset_isolation_level = lambda connection: None
        event.listen(engine, "connect", self._is_new)
        event.listen(engine, "before_cursor_execute", self._note)
        event.listen(engine, "handle_error", self._note_error)

    def _is_new(self, _: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        record.info[engines.SNAPSHOT] = True  # its BEGIN would end the transaction
        self.raw = None
        self.entries.clear()

    def _note(self, connection: Connection, _: object, statement: str, *__: object) -> None:
        entry = self._find(connection.connection)
        if entry is None or engines.QUERY.match(statement):
            return
        entry.has_written = True
        asked = connection.get_execution_options().get("isolation_level")
        entry.is_autocommit = asked == engines.AUTOCOMMIT
        for later in self.entries[self.entries.index(entry) + 1 :]:
            later.holds_others = True

    def _note_error(self, context: ExceptionContext) -> None:
        if context.connection is not None and not context.is_disconnect:
            entry = self._find(context.connection.connection)
            if entry is not None:
                entry.has_written = entry.has_failed = True  # it has to go back, whatever it did

    def _find(self, connection: object) -> _Entry | None:
        return next((e for e in self.entries if e.connection is connection), None)

    def begin(self, connection: PoolProxiedConnection) -> None:
        """Set a savepoint; the first one of a test begins the transaction."""
        if self.raw is None:
            self.do_begin(connection)
            execute(connection.dbapi_connection, f"SAVEPOINT {OUTER}")  # type: ignore[arg-type]  # it is open
            self.raw = connection.dbapi_connection
        savepoint = f"rxdb_{next(self.numbers)}"
        self._say(f"SAVEPOINT {savepoint}")
        self.entries.append(_Entry(connection, savepoint))

    def commit(self, connection: PoolProxiedConnection) -> None:
        """Release the savepoint, or leave it where a later transaction is still open."""
        entry = self._find(connection)
        if entry is None or self.raw is None:
            return
        if entry is self.entries[-1]:
            self._drop_last()
            self._say(f"RELEASE SAVEPOINT {entry.savepoint}")
        else:
            entry.is_over = True

    def rollback(self, connection: PoolProxiedConnection) -> None:
        """Go back to the savepoint."""
        entry = self._find(connection)
        if self.raw is None:
            self.do_rollback(connection)
            return
        if entry is None:  # of the test before
            return
        if entry.is_autocommit and not entry.has_failed:  # what it did is stored already
            self.commit(connection)
            return
        is_last = entry is self.entries[-1]
        if is_last:
            self._drop_last()
        entry.is_over = True
        if is_last and not entry.holds_others:
            self._say(f"ROLLBACK TO SAVEPOINT {entry.savepoint}")
            self._say(f"RELEASE SAVEPOINT {entry.savepoint}")
        elif entry.has_written:
            raise OverlappingTransactions(
                "A transaction was rolled back while another one was open that began before or "
                f"after it, and both are parts of the one that surrounds this test. {COMMITS}"
            )

    def _drop_last(self) -> None:
        self.entries.pop()
        while self.entries and self.entries[-1].is_over:
            self.entries.pop()

    def _say(self, statement: str) -> None:
        assert self.raw is not None
        try:
            execute(self.raw, statement)
        except Exception as error:
            if Feature.TRANSACTIONAL_DDL in self.target.dialect.features:
                raise
            raise TransactionEnded(
                "The transaction around this test is over, and what was done before can be seen "
                f"by others: {self.target.dialect.title} commits at CREATE, ALTER and DROP. "
                f"{COMMITS}"
            ) from error

    def end(self) -> bool:
        """Roll back; return whether nothing of the test is left."""
        raw, self.raw = self.raw, None
        self.entries.clear()
        if raw is None:
            return True
        try:
            execute(raw, f"ROLLBACK TO SAVEPOINT {OUTER}")
        except Exception:  # noqa: BLE001 - the connection may be gone too
            is_clean = Feature.TRANSACTIONAL_DDL in self.target.dialect.features
        else:
            is_clean = True
        with suppress(Exception):  # the connection may be gone
            self.do_rollback(raw)
        return is_clean


def _own(connection: Connection, name: str) -> str:
    return f"{name}_{id(connection):x}"


def close(session: Session | AsyncSession) -> None:
    """Close a session at the end of a test, an asynchronous one from outside of its event loop.

    What others stored within its transaction is no concern any more: all is rolled back.
    """
    inner: Any = getattr(session, "sync_session", session)
    loop = getattr(inner, "loop", None)
    with suppress(OverlappingTransactions):
        if loop is None:
            inner.close()
        elif not loop.is_closed():
            loop.run_until_complete(session.close())


class Isolation:
    """The engines of one database whose sessions are rolled back after each test."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.outers: list[Outer] = []
        self._ordinary: Engine | None = None
        self._read_only: dict[Engine, Engine] = {}
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = (
            weakref.WeakKeyDictionary()
        )

    def find(self, target: Target, *, is_async: bool) -> Engine | AsyncEngine | None:
        """Return the engine for *target*, where that is this database."""
        mine, other = self.target.url, target.url
        if (target.dialect, other.host, other.port, other.database) != (
            self.target.dialect,
            mine.host,
            mine.port,
            mine.database,
        ):
            return None
        if self.target.driver.sync:
            engine = self._limited(self._get(), target)
            if not is_async:
                return engine
            from rxdb.testing.joining import JoiningEngine  # noqa: PLC0415 - needs greenlet

            return JoiningEngine(engine)
        if not is_async:
            return None
        from sqlalchemy.ext.asyncio import AsyncEngine  # noqa: PLC0415 - needs greenlet

        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            self._loops[loop] = _Loop(self._add(engines.build_async(self.target, **_options())))
        made = self._loops[loop].engine
        return AsyncEngine(self._limited(made.sync_engine, target))

    def _get(self) -> Engine:
        if self._ordinary is None:
            self._ordinary = engines.build(self.target, **_options())
            self._add(self._ordinary)
        return self._ordinary

    def _add(self, made: Any) -> Any:
        self.outers.append(Outer(getattr(made, "sync_engine", made), self.target))
        return made

    def _limited(self, engine: Engine, target: Target) -> Engine:
        if not target.read_only:
            return engine
        if engine not in self._read_only:
            self._read_only[engine] = engine.execution_options()
            engines.refuse_to_write(self._read_only[engine])
        return self._read_only[engine]

    def end_test(self) -> bool:
        """Roll back what the test did; return whether nothing of it is left."""
        clean = [outer.end() for outer in self.outers if not outer.engine.dialect.is_async]
        for loop, kept in list(self._loops.items()):
            if loop.is_closed():
                del self._loops[loop]
            elif not loop.is_running():
                clean.append(loop.run_until_complete(kept.end(self.outers)))
        return all(clean)

    def close(self) -> None:
        """End the connections."""
        self.end_test()
        if self._ordinary is not None:
            self._ordinary.dispose()
        for loop, kept in list(self._loops.items()):
            if not loop.is_closed() and not loop.is_running():
                loop.run_until_complete(kept.engine.dispose())


class _Loop:
    """The engine of one event loop, which ends with it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.keeper = self._dispose_with_loop()
        with suppress(StopIteration):
            self.keeper.asend(None).send(None)  # to its yield; the loop now knows of it

    async def _dispose_with_loop(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await self.engine.dispose()

    async def end(self, outers: list[Outer]) -> bool:
        from sqlalchemy.util import greenlet_spawn  # noqa: PLC0415 - needs greenlet

        mine = [outer for outer in outers if outer.engine is self.engine.sync_engine]
        return all([await greenlet_spawn(outer.end) for outer in mine])


def _options() -> dict[str, Any]:
    """Return the application's options that make sense for one connection."""
    given = config.get_config().engine_options
    own = {n: v for n, v in given.items() if not n.startswith(("pool", "max_overflow"))}
    return {**own, "poolclass": OneConnection, "pool_reset_on_return": None}
