"""Sessions, the same on every backend.

The module is not called ``session``: Python would then put it where ``rx.session`` belongs.
"""

from __future__ import annotations

import math
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from sqlalchemy import Engine, Table, bindparam, event, inspect, select
from sqlalchemy.orm import Mapper
from sqlalchemy.util.concurrency import in_greenlet
from sqlmodel import Session

from rxdb import config, replicas
from rxdb.dialect import Feature, Limits
from rxdb.engine import SNAPSHOT, URLLike, find_target, get_async_engine, look_up
from rxdb.errors import BadArgument, GreenletMissing, ReadOnly
from rxdb.migrations import startup

if TYPE_CHECKING:
    from typing import Self

    from sqlalchemy import Connection, Pool, Select
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState
    from sqlmodel.ext.asyncio.session import AsyncSession

    from rxdb.config import Config
    from rxdb.dialect import Dialect

Bind = TypeVar("Bind", Engine, "AsyncEngine")


BASE = "rxdb_engine"
"""The attribute of an engine with limits that holds the one it was made of."""

LIMITED = "rxdb_take_back"
"""Where a pooled connection keeps what takes its limits back."""


class KeyedSession(Session):
    """A session whose ``get()`` makes its statement once for each model.

    SQLAlchemy makes it anew for each object, and its key in the cache of compiled statements too.
    """

    def get(self, entity: Any, ident: Any, **given: Any) -> Any:
        """Do what SQLAlchemy's does; what goes beyond one plain key is left to it."""
        is_plain = type(ident) in PLAIN_KEYS and GET_OPTIONS.issuperset(given)
        if is_plain and not any(given.values()):
            mapper = inspect(entity, raiseerr=False)
            statement = _by_key(mapper) if isinstance(mapper, Mapper) else None
            if statement is not None and (
                mapper.identity_key_from_primary_key((ident,)) not in self.identity_map
            ):
                found = super().execute(statement, {BY_KEY: ident})
                return found.unique().scalars().one_or_none()
        return super().get(entity, ident, **given)


PLAIN_KEYS = frozenset({int, str, UUID})
"""Types of keys that are one value: neither a list of several nor a composite one."""

GET_OPTIONS = frozenset(signature(Session.get).parameters)
"""What SQLAlchemy's ``get()`` knows; it refuses the rest itself."""

BY_KEY = "rxdb_key"
"""The parameter of a statement that loads one object."""

STATEMENT = "rxdb_by_key"
"""Where a mapper keeps that statement; it lives as long as its model."""


def _by_key(mapper: Mapper[Any]) -> Select[Any] | None:
    """Return the statement that loads one object; None where SQLAlchemy has to make it."""
    if STATEMENT not in vars(mapper):
        setattr(mapper, STATEMENT, _make_by_key(mapper))
    statement: Select[Any] | None = vars(mapper)[STATEMENT]
    return statement


def _make_by_key(mapper: Mapper[Any]) -> Select[Any] | None:
    is_plain = isinstance(mapper.persist_selectable, Table) and len(mapper.primary_key) == 1
    if not is_plain or mapper.with_polymorphic or mapper.always_refresh:
        return None
    (column,) = mapper.primary_key
    return select(mapper).where(column == bindparam(BY_KEY, type_=column.type))


class ReadOnlySession(KeyedSession):
    """A session that refuses to send pending changes; the server refuses the rest."""


@event.listens_for(ReadOnlySession, "before_flush")  # which is not asked where nothing changed
def _refuse_to_flush(session: Session, context: object, objects: object) -> None:
    modified = (one for one in session.dirty if session.is_modified(one))
    changed = next(iter((*session.new, *session.deleted, *modified)), None)
    if changed is not None:
        raise ReadOnly.of(f"a {type(changed).__name__} was added, changed or deleted")


class SnapshotSession(ReadOnlySession):
    """A read-only session in which all statements see one moment."""


@event.listens_for(SnapshotSession, "after_begin")
def _begin_snapshot(session: Session, transaction: object, connection: Connection) -> None:
    if not connection.info.get(SNAPSHOT):  # a savepoint is in it already
        connection.exec_driver_sql(session.info[SNAPSHOT])
        connection.info[SNAPSHOT] = True


class FirstSession(KeyedSession):
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


class FirstSnapshotSession(FirstSession, SnapshotSession):
    """The same with one moment for all statements."""


FIRST: dict[type[Session], type[Session]] = {
    KeyedSession: FirstSession,
    ReadOnlySession: FirstReadOnlySession,
    SnapshotSession: FirstSnapshotSession,
}
"""Each kind of session, and the first ones of its kind."""


def session(
    url: URLLike | None = None,
    *,
    read_only: bool = False,
    after: str | None = None,
    snapshot: bool = False,
    expire_on_commit: bool | None = None,
    statement_timeout: float | None = None,
    lock_timeout: float | None = None,
) -> Session:
    """Open a session: ``with rx.session() as session:``.

    It is a :class:`sqlmodel.Session`. Nothing reaches the database for good before
    ``session.commit()``; what was not committed is rolled back at the end.

    *url* names another database than the configured one. A *read_only* session refuses to write,
    on every backend; each of its statements sees the newest committed data and takes one round
    trip, without a transaction around them. With *snapshot* all statements of a read-only session
    see one moment, that of the first, which takes a transaction: two round trips more.

    *expire_on_commit* says whether the attributes of an object are read anew after a commit.
    Without it ``Config.expire_on_commit`` counts, and else they are.

    Without *url* a *read_only* session goes to one of ``Config.replica_urls``, if one is healthy.
    *after* is what :func:`rxdb.position` returned: the session sees at least that.

    *statement_timeout* and *lock_timeout* are in seconds: how long a statement may take
    (:class:`rxdb.errors.StatementTimeout`), and how long it may wait for a lock
    (:class:`rxdb.errors.LockTimeout`). None leaves them to the database.

    The first session of a process on the configured database looks whether that is at the newest
    revision, and does what ``Config.on_outdated_schema`` says.

    Raises what :func:`rxdb.get_engine` raises, :class:`rxdb.errors.BadArgument` for a timeout that
    makes no sense or that the database does not have, for a *snapshot* that there cannot be and for
    what is no position, and in a read-only session :class:`rxdb.errors.ReadOnly` for each attempt
    to write.
    """
    if after is not None:
        replicas.check(after, is_async=False)
    engine, settings = look_up(url, read_only=read_only)
    is_first = url is None and not startup.is_settled(engine)
    if read_only and url is None and settings.replica_urls and not is_first:
        url = replicas.choose(after=after)
        engine, settings = look_up(url, read_only=True)
    kind: type[Session] = ReadOnlySession if read_only else KeyedSession
    options: dict[str, Any] = {}
    if snapshot:
        kind, options = _snapshot(url, read_only=read_only, is_async=False)
    expire = settings.expire_on_commit if expire_on_commit is None else expire_on_commit
    if expire is not None:
        options["expire_on_commit"] = expire
    if is_first:
        kind = FIRST[kind]
    if statement_timeout is not None or lock_timeout is not None:
        engine = limit(engine, Limits(statement_timeout, lock_timeout), url)
    made = kind(engine, **options)
    return made if read_only or url is not None else _noted(made, settings)


def asession(
    url: URLLike | None = None,
    *,
    read_only: bool = False,
    after: str | None = None,
    snapshot: bool = False,
    expire_on_commit: bool | None = None,
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

    if after is not None:
        replicas.check(after, is_async=True)
    engine = get_async_engine(url, read_only=read_only)
    settings = config.get_config()
    is_settled = startup.is_settled(engine.sync_engine)
    if read_only and url is None and settings.replica_urls and is_settled:
        url = replicas.choose(after=after, is_async=True)
        engine = get_async_engine(url, read_only=True)
    kind: type[Session] = ReadOnlySession if read_only else KeyedSession
    options: dict[str, Any] = {}
    if snapshot:
        kind, options = _snapshot(url, read_only=read_only, is_async=True)
    expire = settings.expire_on_commit if expire_on_commit is None else expire_on_commit
    options["expire_on_commit"] = bool(expire)
    opened = AsyncSession
    if url is None and not is_settled:
        kind, opened = FIRST[kind], _first_async(AsyncSession)
    bind = limit(engine, Limits(statement_timeout, lock_timeout), url, is_async=True)
    made = opened(bind, sync_session_class=kind, **options)
    if not read_only and url is None:
        _noted(made.sync_session, settings)
    return made


def _noted(session: Session, settings: Config) -> Session:
    """Remember the commits of a session on the configured database, where that is wanted."""
    if settings.replica_urls and settings.read_your_writes > 0:
        event.listen(session, "after_commit", replicas.note_write)
    return session


def _snapshot(
    url: URLLike | None, *, read_only: bool, is_async: bool
) -> tuple[type[Session], dict[str, Any]]:
    """Return the class of a session that sees one moment, and its options."""
    if not read_only:
        raise BadArgument(
            "A snapshot is for reading. Write rx.session(read_only=True, snapshot=True), and for a "
            "session that writes: rx.transaction(isolation_level='REPEATABLE READ')"
        )
    dialect = find_target(url, is_async=is_async, read_only=True).dialect
    if Feature.FRESH_READS not in dialect.features:
        return ReadOnlySession, {}  # each of its read-only sessions is a snapshot
    if not dialect.begin_snapshot:
        raise BadArgument(
            f"rxdb knows no way to ask {dialect.title} for a snapshot. Leave out snapshot=True; "
            f"each statement then sees its own moment."
        )
    return SnapshotSession, {"info": {SNAPSHOT: dialect.begin_snapshot}}


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
