"""Sessions, the same on every backend.

The module is not called ``session``: Python would then put it where ``rx.session`` belongs.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session as SQLAlchemySession
from sqlalchemy.util.concurrency import in_greenlet
from sqlmodel import Session

from rxdb import replicas
from rxdb.dialect import Feature, Limits
from rxdb.engine import URLLike, find_target, get_async_engine, get_engine
from rxdb.errors import BadArgument, GreenletMissing, ReadOnly
from rxdb.migrations import startup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from sqlalchemy import Connection, Pool
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState
    from sqlmodel.ext.asyncio.session import AsyncSession

    from rxdb.dialect import Dialect

Bind = TypeVar("Bind", Engine, "AsyncEngine")
Made = TypeVar("Made", bound=SQLAlchemySession)


BASE = "rxdb_engine"
"""The attribute of an engine with limits that holds the one it was made of."""

LIMITED = "rxdb_take_back"
"""Where a pooled connection keeps what takes its limits back."""


class ReadOnlySession(Session):
    """A session that refuses to send pending changes; the server refuses the rest."""

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Refuse new, changed and deleted objects before a statement goes out."""
        changed = [*self.new, *self.deleted, *(o for o in self.dirty if self.is_modified(o))]
        if changed:
            raise ReadOnly.of(f"a {type(changed[0]).__name__} was added, changed or deleted")
        super().flush(objects)


class FirstSession(Session):
    """A session that looks whether the database is at the newest revision, before all else.

    That is where its ``with`` block begins, or else at its first statement. A connection that
    cannot be made is told where the session itself would, and tried once.
    """

    _failure: Exception | None = None

    def __enter__(self) -> Self:
        """Look before the block begins."""
        self.look()
        return super().__enter__()

    def get_bind(self, *args: Any, **options: Any) -> Engine | Connection:
        """Look before the first statement, where there is no ``with`` block."""
        found = super().get_bind(*args, **options)
        if self._failure is None:
            self.look()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return found

    def look(self) -> None:
        """Do what ``Config.on_outdated_schema`` says; see :mod:`rxdb.migrations.startup`."""
        bind: Any = self.bind
        engine = getattr(bind, BASE, bind)
        if not startup.is_settled(engine) and (not engine.dialect.is_async or in_greenlet()):
            self._failure = startup.look(engine)


class FirstReadOnlySession(FirstSession, ReadOnlySession):
    """The same where nothing can be written."""


def session(
    url: URLLike | None = None,
    *,
    read_only: bool = False,
    after: str | None = None,
    statement_timeout: float | None = None,
    lock_timeout: float | None = None,
) -> Session:
    """Open a session: ``with rx.session() as session:``.

    It is a :class:`sqlmodel.Session`. Nothing reaches the database for good before
    ``session.commit()``; what was not committed is rolled back at the end.

    *url* names another database than the configured one. A *read_only* session refuses to write,
    on every backend; each of its statements sees the newest committed data and takes one round
    trip, without a transaction around them.

    Without *url* a *read_only* session goes to one of ``Config.replica_urls``, if one is healthy.
    *after* is what :func:`rxdb.position` returned: the session sees at least that.

    *statement_timeout* and *lock_timeout* are in seconds: how long a statement may take
    (:class:`rxdb.errors.StatementTimeout`), and how long it may wait for a lock
    (:class:`rxdb.errors.LockTimeout`). None leaves them to the database.

    The first session of a process on the configured database looks whether that is at the newest
    revision, and does what ``Config.on_outdated_schema`` says.

    Raises what :func:`rxdb.get_engine` raises, :class:`rxdb.errors.BadArgument` for a timeout that
    makes no sense or that the database does not have, and in a read-only session
    :class:`rxdb.errors.ReadOnly` for each attempt to write.
    """
    engine = get_engine(url, read_only=read_only)
    if read_only and url is None and startup.is_settled(engine):
        url = replicas.choose(after=after)
        engine = get_engine(url, read_only=True)
    bind = limit(engine, Limits(statement_timeout, lock_timeout), url)
    if url is None and not startup.is_settled(engine):
        return FirstReadOnlySession(bind) if read_only else _noted(FirstSession(bind), url)
    return ReadOnlySession(bind) if read_only else _noted(Session(bind), url)


def asession(
    url: URLLike | None = None,
    *,
    read_only: bool = False,
    after: str | None = None,
    statement_timeout: float | None = None,
    lock_timeout: float | None = None,
) -> AsyncSession:
    """Open an asynchronous session: ``async with rx.asession() as session:``.

    It is SQLModel's ``AsyncSession`` on the same URL as :func:`session`; rxdb chooses an
    asynchronous driver. Objects stay readable after ``await session.commit()``, since an expired
    attribute cannot be read without ``await``.

    The arguments and errors are those of :func:`session`, and
    :class:`rxdb.errors.NoEventLoop`.
    """
    try:
        from sqlmodel.ext.asyncio.session import AsyncSession  # noqa: PLC0415 - needs greenlet
    except ImportError as error:
        raise GreenletMissing.of() from error

    engine = get_async_engine(url, read_only=read_only)
    if read_only and url is None and startup.is_settled(engine.sync_engine):
        url = replicas.choose(after=after, is_async=True)
        engine = get_async_engine(url, read_only=True)
    bind = limit(engine, Limits(statement_timeout, lock_timeout), url, is_async=True)
    if url is None and not startup.is_settled(engine.sync_engine):
        made = _first_async(AsyncSession)(
            bind,
            sync_session_class=FirstReadOnlySession if read_only else FirstSession,
            expire_on_commit=False,
        )
    else:
        kind = ReadOnlySession if read_only else Session
        made = AsyncSession(bind, sync_session_class=kind, expire_on_commit=False)
    if not read_only:
        _noted(made.sync_session, url)
    return made


def _noted(session: Made, url: URLLike | None) -> Made:
    """Remember the commits of a session on the configured database, where that is wanted."""
    if url is None and replicas.is_noted():
        event.listen(session, "after_commit", replicas.note_write)
    return session


def limit(
    engine: Bind, limits: Limits, url: URLLike | None = None, *, is_async: bool = False
) -> Bind:
    """Return *engine*, the one of *url*, for sessions with these limits.

    Raises :class:`rxdb.errors.BadArgument`.
    """
    if limits == Limits():
        return engine
    target = find_target(url, is_async=is_async)
    check_limits(limits, target.dialect)
    limited = engine.execution_options()  # of the same pool, with events of its own
    sync: Any = getattr(limited, "sync_engine", limited)
    setattr(sync, BASE, getattr(engine, "sync_engine", engine))

    @event.listens_for(sync, "begin")
    def begin(connection: Connection) -> None:
        if LIMITED in connection.info:
            return
        take_back = target.dialect.limit(connection, limits)
        if take_back is not None:
            connection.info[LIMITED] = take_back

    _take_back_limits(sync.pool)
    return limited


def check_limits(limits: Limits, dialect: Dialect) -> None:
    """Raise :class:`rxdb.errors.BadArgument` for limits that *dialect* cannot hold."""
    needed = {
        "statement_timeout": (limits.statement, Feature.STATEMENT_TIMEOUT),
        "lock_timeout": (limits.lock, Feature.LOCK_TIMEOUT),
    }
    for name, (seconds, feature) in needed.items():
        if seconds is None:
            continue
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not is_number or not 0 < seconds < math.inf:
            raise BadArgument(f"{name}={seconds!r} is no number of seconds above 0.")
        if feature not in dialect.features:
            raise BadArgument(f"{dialect.title} does not {feature.value}. Leave out {name}.")


def _take_back_limits(pool: Pool) -> None:
    """Let no limit outlive its session on a connection of this pool."""
    if event.contains(pool, "reset", _reset):
        return
    event.listen(pool, "reset", _reset)


def _reset(connection: DBAPIConnection, record: ConnectionPoolEntry, state: PoolResetState) -> None:
    take_back = record.info.pop(LIMITED, None)
    if take_back is not None and not state.terminate_only:
        take_back(connection)


@cache
def _first_async(base: type[AsyncSession]) -> type[AsyncSession]:
    """Return the class of an asynchronous session that looks first; *base* needs greenlet."""

    class FirstAsyncSession(base):  # type: ignore[misc, valid-type]
        async def __aenter__(self) -> Self:
            entered: Self = await super().__aenter__()
            first: Any = self.sync_session
            await self.run_sync(lambda _: first.look())
            return entered

    return FirstAsyncSession
