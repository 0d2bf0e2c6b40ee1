"""Sessions, the same on every backend.

The module is not called ``session``: Python would then put it where ``rx.session`` belongs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlmodel import Session

from rxdb.engine import URLLike, get_async_engine, get_engine
from rxdb.errors import GreenletMissing, ReadOnly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlmodel.ext.asyncio.session import AsyncSession


class ReadOnlySession(Session):
    """A session that refuses to send pending changes; the server refuses the rest."""

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Refuse new, changed and deleted objects before a statement goes out."""
        changed = [*self.new, *self.deleted, *(o for o in self.dirty if self.is_modified(o))]
        if changed:
            raise ReadOnly.of(f"a {type(changed[0]).__name__} was added, changed or deleted")
        super().flush(objects)


def session(url: URLLike | None = None, *, read_only: bool = False) -> Session:
    """Open a session: ``with rx.session() as session:``.

    It is a :class:`sqlmodel.Session`. Nothing reaches the database for good before
    ``session.commit()``; what was not committed is rolled back at the end.

    *url* names another database than the configured one. A *read_only* session refuses to write,
    on every backend; each of its statements sees the newest committed data and takes one round
    trip, without a transaction around them.

    Raises what :func:`rxdb.get_engine` raises, and in a read-only session
    :class:`rxdb.errors.ReadOnly` for each attempt to write.
    """
    engine = get_engine(url, read_only=read_only)
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
    kind = ReadOnlySession if read_only else Session
    return AsyncSession(engine, sync_session_class=kind, expire_on_commit=False)
