"""Sessions, the same on every backend.

The module is not called ``session``: Python would then put it where ``rx.session`` belongs.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy.util.concurrency import in_greenlet
from sqlmodel import Session

from rxdb.engine import URLLike, get_async_engine, get_engine
from rxdb.errors import GreenletMissing, ReadOnly
from rxdb.migrations import startup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from sqlalchemy import Connection, Engine
    from sqlmodel.ext.asyncio.session import AsyncSession


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
        engine: Any = self.bind
        if not startup.is_settled(engine) and (not engine.dialect.is_async or in_greenlet()):
            self._failure = startup.look(engine)


class FirstReadOnlySession(FirstSession, ReadOnlySession):
    """The same where nothing can be written."""


def session(url: URLLike | None = None, *, read_only: bool = False) -> Session:
    """Open a session: ``with rx.session() as session:``.

    It is a :class:`sqlmodel.Session`. Nothing reaches the database for good before
    ``session.commit()``; what was not committed is rolled back at the end.

    *url* names another database than the configured one. A *read_only* session refuses to write,
    on every backend; each of its statements sees the newest committed data and takes one round
    trip, without a transaction around them.

    The first session of a process on the configured database looks whether that is at the newest
    revision, and does what ``Config.on_outdated_schema`` says.

    Raises what :func:`rxdb.get_engine` raises, and in a read-only session
    :class:`rxdb.errors.ReadOnly` for each attempt to write.
    """
    engine = get_engine(url, read_only=read_only)
    if url is None and not startup.is_settled(engine):
        return FirstReadOnlySession(engine) if read_only else FirstSession(engine)
    return ReadOnlySession(engine) if read_only else Session(engine)


def asession(url: URLLike | None = None, *, read_only: bool = False) -> AsyncSession:
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
    if url is None and not startup.is_settled(engine.sync_engine):
        return _first_async(AsyncSession)(
            engine,
            sync_session_class=FirstReadOnlySession if read_only else FirstSession,
            expire_on_commit=False,
        )
    kind = ReadOnlySession if read_only else Session
    return AsyncSession(engine, sync_session_class=kind, expire_on_commit=False)


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
