"""Which copy of the database serves a read-only session: a healthy one, the least lag first.

Nothing is asked for a session. What is known of a replica is looked up anew when it is
:data:`LOOK_AFTER` old, by one caller at a time, while the others go by what is known.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
import weakref
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from rxdb import config
from rxdb.dialect import never
from rxdb.engine import URLLike, find_target, get_async_engine, get_engine
from rxdb.errors import BadArgument, RxdbError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine
    from sqlalchemy.engine import ExceptionContext

    from rxdb.config import Config
    from rxdb.dialect import Standing

LOOK_AFTER = 2.0
"""Seconds that what is known of a replica may be old."""

RETRY_AFTER = 15.0
"""Seconds until a replica that did not answer is asked again: that may take a connect timeout."""

FAILURES = (SQLAlchemyError, RxdbError, OSError)

_wrote: ContextVar[float] = ContextVar("rxdb_wrote")


@dataclass(eq=False)
class Replica:
    """One copy, and what is known of it."""

    url: URLLike
    is_healthy: bool = False
    lag: float | None = None
    """Seconds behind the primary; None where the server does not tell."""
    position: str | None = None
    """How far it was when it was looked at."""
    next_look: float = 0.0

    def note(self, standing: Standing | None) -> None:
        """Keep what a look told; None means that it did not answer."""
        most = config.get_config().max_replica_lag
        lag, position = standing or (None, None)
        self.is_healthy = standing is not None and (lag is None or lag <= most)
        self.lag, self.position = lag, position
        self.next_look = time.monotonic() + (LOOK_AFTER if standing else RETRY_AFTER)

    def fail(self, context: ExceptionContext) -> None:
        """Leave it alone at once when a connection to it is lost or cannot be made."""
        if context.is_disconnect or context.connection is None:
            self.note(None)

    def watch(self, engine: Engine) -> None:
        """Learn of the failures of its sessions."""
        if not event.contains(engine, "handle_error", self.fail):
            event.listen(engine, "handle_error", self.fail)


@dataclass(eq=False)
class Replicas:
    """The copies of one database, as one process or one event loop sees them."""

    of: Config
    replicas: Sequence[Replica]
    lock: Lock = field(default_factory=Lock)
    task: asyncio.Task[None] | None = None

    def choose(self, after: str | None, *, is_async: bool) -> Replica | None:
        """Return the one for the next session; None means the primary."""
        if time.monotonic() - _wrote.get(float("-inf")) < self.of.read_your_writes:
            return None
        able = [replica for replica in self.replicas if replica.is_healthy]
        if after == "":
            return None  # the primary does not tell positions
        if after is not None:
            dialect = find_target(is_async=is_async).dialect
            able = [r for r in able if r.position and dialect.has_reached(r.position, after)]
        # Of those that are equal to the second any will do, and so they share the load.
        return min(able, key=lambda r: (round(r.lag or 0.0), random.random()), default=None)  # noqa: S311 - a choice is no secret

    def due(self) -> list[Replica]:
        """Return those that have to be looked at."""
        now = time.monotonic()
        return [replica for replica in self.replicas if replica.next_look <= now]

    def look(self) -> None:
        """Look at those that are due, unless another thread does."""
        if not self.due() or not self.lock.acquire(blocking=False):
            return
        try:
            for replica in self.due():
                replica.note(look_at(replica))
        finally:
            self.lock.release()

    def look_soon(self) -> None:
        """Look at them in a task of the running event loop, one at a time."""
        if self.due() and (self.task is None or self.task.done()):
            self.task = asyncio.get_running_loop().create_task(self._look_all())

    async def _look_all(self) -> None:
        for replica in self.due():
            replica.note(await alook_at(replica))


def choose(*, after: str | None = None, is_async: bool = False) -> URLLike | None:
    """Return the URL of the replica for the next read-only session; None means the primary.

    *after* is a position of the primary that it must have reached.
    """
    found = _known(is_async=is_async)
    if found is None:
        return None
    if is_async:
        found.look_soon()
    else:
        found.look()
    chosen = found.choose(after, is_async=is_async)
    if chosen is None:
        return None
    if is_async:
        chosen.watch(get_async_engine(chosen.url, read_only=True).sync_engine)
    else:
        chosen.watch(get_engine(chosen.url, read_only=True))
    return chosen.url


def check(after: object, *, is_async: bool) -> None:
    """Raise :class:`rxdb.errors.BadArgument` for what is no position of the configured database."""
    dialect = find_target(is_async=is_async).dialect
    try:  # each position has reached itself
        is_position = isinstance(after, str) and (
            not after or dialect.has_reached is never or dialect.has_reached(after, after)
        )
    except ValueError:
        is_position = False
    if not is_position:
        raise BadArgument(
            f"after={after!r} is no position of {dialect.title}. Hand over what rx.position() "
            f"returned after the commit."
        )


def look_at(replica: Replica) -> Standing | None:
    """Ask it how far it is; None when it does not answer."""
    try:
        target = find_target(replica.url)
        with get_engine(replica.url, read_only=True).connect() as connection:
            return target.dialect.standing(connection)
    except FAILURES:
        return None


async def alook_at(replica: Replica) -> Standing | None:
    """Do the same without blocking the event loop."""
    try:
        target = find_target(replica.url, is_async=True)
        async with get_async_engine(replica.url, read_only=True).connect() as connection:
            return await connection.run_sync(target.dialect.standing)
    except FAILURES:
        return None


def position() -> str:
    """Return how far the configured database is: all that was committed before is up to there.

    ``rx.session(read_only=True, after=position)`` then reads at least that. It takes one round
    trip. It is empty for a database that does not tell; such a session reads from the primary.

    Raises what :func:`rxdb.get_engine` raises.
    """
    with get_engine(read_only=True).connect() as connection:
        return find_target().dialect.position(connection)


async def aposition() -> str:
    """Return the same within an event loop; see :func:`position`."""
    target = find_target(is_async=True)
    async with get_async_engine(read_only=True).connect() as connection:
        return await connection.run_sync(target.dialect.position)


def note_write(session: object) -> None:
    """Remember that this thread or task has just committed."""
    _wrote.set(time.monotonic())


_process: list[Replicas] = []
_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Replicas] = weakref.WeakKeyDictionary()


def _known(*, is_async: bool) -> Replicas | None:
    """Return the replicas of the configuration that applies now."""
    own = config.get_config()
    if not own.replica_urls:
        return None
    loop = asyncio.get_running_loop() if is_async else None
    found = _loops.get(loop) if loop else _process[0] if _process else None
    if found is None or found.of is not own:
        found = Replicas(own, [Replica(url) for url in own.replica_urls])
        if loop:
            _loops[loop] = found
        else:
            _process[:] = [found]
    return found


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.clear)  # another thread may have held its lock
