"""One migration at a time: a lock of the server's own session, or a lease where none is trusted.

A lock belongs to a connection, to a file or to this process, and ends with it. A lease is a row
that its holder renews; who sees it not renewed for :data:`EXPIRES` seconds takes it over, and the
old holder, should it still live, is stopped before its COMMIT.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    MetaData,
    String,
    Table,
    case,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from rxdb.dialect import Feature, no_file
from rxdb.errors import (
    Deadlock,
    LockLost,
    LockTimeout,
    MigrationLockTimeout,
    SerializationFailure,
)
from rxdb.migrations.tables import LEASE, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from rxdb.dialect import Dialect, Target

Result = TypeVar("Result")

LONGEST_NAME = 64
"""Characters that a server takes for the name of a lock (MySQL manual, GET_LOCK)."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between two tries to take the lock; each pause is twice the one before."""

TRIES = 12
PAUSE = (2.5, 5.0)
"""Seconds, at random between these two, so that several do not come back together."""

BEAT = 5.0
"""Seconds between two renewals of a lease."""

EXPIRES = 30.0
"""Seconds without a renewal after which a lease is free: five renewals may get lost."""

AGAIN = {Deadlock, LockTimeout, SerializationFailure}
"""What a server says of a lock that was not free, or that it took away."""

HELD = "rxdb_migration_lock"
"""Where a connection keeps what it holds, in its ``info``."""

leases = Table(
    LEASE,
    MetaData(),
    Column("name", String(LONGEST_NAME), primary_key=True),
    Column("holder", String(255), nullable=False),  # empty: nobody
    Column("fence", BigInteger, nullable=False),  # one more for each holder
    Column("beats", BigInteger, nullable=False),  # one more for each renewal
    Column("beat_at", DateTime(timezone=True), nullable=False),  # the server's time
)


class Lock(Protocol):
    """What :func:`hold` holds."""

    def fence(self, connection: Connection) -> None:
        """Raise :class:`rxdb.errors.LockLost` when another may hold the lock by now."""

    def release(self) -> None:
        """Let the next one have it."""


@contextmanager
def hold(
    engine: Engine,
    connection: Connection,
    target: Target,
    *,
    timeout: float | None,
    waiting: Callable[[str], object],
    version_table: str = VERSION,
) -> Iterator[None]:
    """Hold the migration lock of a database while the body runs.

    *connection* is the one that will migrate; it must not be in a transaction, and is not
    afterwards. *timeout*: seconds to wait for another migration, None for ever. *waiting* is
    called once, with a sentence, when there is one to wait for. Migrations that keep their version
    in another *version_table* of a server's database do not wait for each other.

    Raises :class:`rxdb.errors.MigrationLockTimeout`.
    """
    with ExitStack() as stack:
        take = _taker(engine, connection, target, _name(target, version_table), stack)
        lock = _wait(take, timeout, waiting, is_async=engine.dialect.is_async)
        connection.info[HELD] = lock
        try:
            yield
        finally:
            connection.info.pop(HELD, None)
            lock.release()


def fence(connection: Connection) -> None:
    """Make sure, right before a COMMIT, that this connection's migration still holds its lock.

    Costs nothing where the lock ends with the migrating connection itself, else one round trip.
    Raises :class:`rxdb.errors.LockLost`.
    """
    lock: Lock | None = connection.info.get(HELD)
    if lock is not None:
        lock.fence(connection)


def retrying(
    work: Callable[[], Result],
    target: Target,
    *,
    report: Callable[[str], object],
    tries: int = TRIES,
    pause: tuple[float, float] = PAUSE,
) -> Result:
    """Run *work* again while a lock that it needs is not free, and return its result.

    *report* gets a sentence before each of the pauses, which are between *pause* seconds long.
    Raises :class:`rxdb.errors.MigrationLockTimeout` after the last of *tries*, and any other error
    at once.
    """
    for attempt in range(1, tries + 1):
        try:
            return work()
        except Exception as error:
            if not is_lock_timeout(target.dialect, error):
                raise
            if attempt == tries:
                raise MigrationLockTimeout(
                    f"Running traffic held a lock that the migration needs, at each of {tries} "
                    f"tries. Run it again when there is less: rxdb db migrate"
                ) from error
            seconds = random.uniform(*pause)  # noqa: S311 - no secret
            report(
                f"Running traffic holds a lock that the migration needs; "
                f"try {attempt + 1} of {tries} in {seconds:.0f} s."
            )
            time.sleep(seconds)
    raise AssertionError("tries is at least 1")


def is_lock_timeout(dialect: Dialect, error: BaseException | None) -> bool:
    """Whether *error*, or what caused it, says that a lock was not free, now: try again."""
    while error is not None:
        if isinstance(error, DBAPIError) and error.orig is not None:
            code = dialect.error_code(error.orig)
            return code is not None and dialect.errors.get(code) in AGAIN
        error = error.__cause__
    return False


def _name(target: Target, version_table: str) -> str:
    """Return the lock's name: servers share one list of names among their databases."""
    name = f"rxdb {target.url.database or ''} {version_table}"
    return name if len(name) <= LONGEST_NAME else f"rxdb {sha256(name.encode()).hexdigest()[:40]}"


def _taker(
    engine: Engine, connection: Connection, target: Target, name: str, stack: ExitStack
) -> Callable[[], Lock | str]:
    """Return the function that tries once to take the lock: the lock, or who holds it.

    Where DDL ends a transaction, the migrating connection holds the lock itself: after its client
    was killed a server may still be at work on its last DDL, and the lock is free when that is
    over. Elsewhere a connection of its own does, outside of any transaction: CREATE INDEX
    CONCURRENTLY waits for the transactions of all others. A database file has no session.
    """
    dialect = target.dialect
    try_lock = dialect.migration_lock
    if try_lock is None:
        return lambda: _try_lease(engine, dialect, name)
    is_own = dialect.file is no_file and Feature.TRANSACTIONAL_DDL in dialect.features
    owner = engine.connect() if is_own else connection
    if is_own:
        stack.callback(owner.close)
        owner = owner.execution_options(isolation_level="AUTOCOMMIT")
    trusted = dialect.has_session_locks(owner)
    owner.rollback()
    if not trusted:
        return lambda: _try_lease(engine, dialect, name)

    def try_session() -> Lock | str:
        release = try_lock(owner, name)
        owner.rollback()
        return _Session(owner, release) if release else ""

    return try_session


def _wait(
    take: Callable[[], Lock | str],
    timeout: float | None,
    waiting: Callable[[str], object],
    *,
    is_async: bool,
) -> Lock:
    """Try until the lock is free, and say so the first time that it is not."""
    started, pause = time.monotonic(), FIRST_PAUSE
    lock = take()
    if isinstance(lock, str):
        waiting(f"Another migration is running{_by(lock)}; waiting.")
    while isinstance(lock, str):
        waited = time.monotonic() - started
        if timeout is not None and waited >= timeout:
            longer = max(timeout * 10, 60)
            raise MigrationLockTimeout(
                f"Another migration is running{_by(lock)}, and was not done after {timeout:g} s. "
                f"To wait longer, run: rxdb db migrate --lock-timeout {longer:g}"
            )
        left = LONGEST_PAUSE if timeout is None else timeout - waited
        _sleep(min(pause * random.uniform(0.5, 1), left), is_async=is_async)  # noqa: S311 - a pause is no secret
        pause = min(pause * 2, LONGEST_PAUSE)
        lock = take()
    return lock


def _by(holder: str) -> str:
    return f" ({holder})" if holder else ""


def _sleep(seconds: float, *, is_async: bool) -> None:
    """Let the event loop of an asynchronous driver go on meanwhile."""
    if not is_async:
        time.sleep(seconds)
        return
    from sqlalchemy.util import await_only  # noqa: PLC0415 - needs greenlet

    await_only(asyncio.sleep(seconds))


@dataclass
class _Session:
    """A lock that ends with a connection, a file's descriptor or this process."""

    owner: Connection
    end: Callable[[], None]
    checked: float = field(default_factory=time.monotonic)

    def fence(self, connection: Connection) -> None:
        """Ask the lock's own connection, once a second: many revisions take a millisecond each."""
        if self.owner is connection or time.monotonic() - self.checked < LONGEST_PAUSE:
            return
        self.checked = time.monotonic()
        try:
            self.owner.execute(select(1))
            self.owner.rollback()
        except SQLAlchemyError as error:
            raise _lost("the connection that held it was ended") from error

    def release(self) -> None:
        with suppress(SQLAlchemyError):  # a connection that is gone holds nothing
            if self.owner.in_transaction():
                self.owner.rollback()
            self.end()
            self.owner.rollback()


@dataclass
class _Lease:
    """A row of :data:`leases` that this process renews."""

    engine: Engine
    name: str
    number: int
    """The fencing number: who takes the lease over has a higher one."""
    last: float = field(default_factory=time.monotonic)
    stopped: Event = field(default_factory=Event)
    thread: Thread | None = None

    def start(self) -> _Lease:
        self.thread = Thread(target=self._keep, name="rxdb-migration-lease", daemon=True)
        self.thread.start()
        return self

    def fence(self, connection: Connection) -> None:
        """Renew the lease in the transaction that is about to be committed: until then nobody
        else can take it over, and where somebody did, there is no such row."""
        if not self._renew(connection):
            raise _lost("the lease was not renewed in time and another took it over")
        self.last = time.monotonic()

    def release(self) -> None:
        self.stopped.set()
        if self.thread is not None:
            self.thread.join()
        with suppress(SQLAlchemyError), self.engine.begin() as connection:  # or it expires
            connection.execute(update(leases).where(*self._mine()).values(holder=""))

    def _mine(self) -> tuple[Any, ...]:
        return leases.c.name == self.name, leases.c.fence == self.number

    def _renew(self, connection: Connection) -> bool:
        now = func.current_timestamp()  # of the transaction's beginning, on some servers
        newest = case((leases.c.beat_at < now, now), else_=leases.c.beat_at)
        values = {"beats": leases.c.beats + 1, "beat_at": newest}
        done = connection.execute(update(leases).where(*self._mine()).values(values))
        return done.rowcount == 1

    def _keep(self) -> None:
        """Renew until the end, each time on a connection made for it. What fails is tried again
        at the next beat: :meth:`fence` has the last word."""
        while not self.stopped.wait(BEAT):
            if time.monotonic() - self.last < BEAT:  # fence did, and may not have committed yet
                continue
            with suppress(SQLAlchemyError, OSError):
                _run_in_thread(self.engine, self._beat)

    def _beat(self) -> None:
        with self.engine.begin() as connection:
            self._renew(connection)


def _run_in_thread(engine: Engine, work: Callable[[], None]) -> None:
    """Run *work* in a thread of its own, for an asynchronous driver in an event loop of its own."""
    if not engine.dialect.is_async:
        work()
        return
    from sqlalchemy.util import greenlet_spawn  # noqa: PLC0415 - needs greenlet

    asyncio.run(greenlet_spawn(work))


def _try_lease(engine: Engine, dialect: Dialect, name: str) -> Lock | str:
    """Take the lease when nobody has it or its holder is silent, else return the holder."""
    me = f"process {os.getpid()} on {socket.gethostname()}"[:200] + f" {uuid4().hex[:8]}"
    try:
        _ensure_leases(engine)
        with engine.begin() as connection:
            claimed = _claim(connection, name, me)
    except DBAPIError as error:  # another was faster: its row is there, or the COMMIT conflicts
        if not isinstance(error, IntegrityError) and not is_lock_timeout(dialect, error):
            raise
        return ""
    return claimed if isinstance(claimed, str) else _Lease(engine, name, claimed).start()


def _claim(connection: Connection, name: str, me: str) -> int | str:
    """Return the fencing number of the lease that is ours now, or else its holder."""
    is_named, now = leases.c.name == name, func.current_timestamp()
    found = connection.execute(select(leases, now).where(is_named)).first()
    if found is None:
        row = {"name": name, "holder": me, "fence": 1, "beats": 0, "beat_at": now}
        connection.execute(insert(leases).values(row))
        return 1
    _, holder, number, beats, beat_at, time_there = found
    if holder and _seconds(beat_at, time_there) < EXPIRES:
        return str(holder).rpartition(" ")[0]
    as_seen = (is_named, leases.c.fence == number, leases.c.beats == beats)
    values = {"holder": me, "fence": number + 1, "beats": 0, "beat_at": now}
    taken = connection.execute(update(leases).where(*as_seen).values(values))
    return int(number) + 1 if taken.rowcount == 1 else ""


def _ensure_leases(engine: Engine) -> None:
    with engine.connect() as connection:
        if inspect(connection).has_table(LEASE):
            return
    with suppress(SQLAlchemyError), engine.begin() as connection:  # another may be faster
        leases.create(connection)


def _seconds(earlier: datetime, later: datetime) -> float:
    """Return the time between two values of one server, of which one may lack its zone."""
    if (earlier.tzinfo is None) != (later.tzinfo is None):
        earlier, later = earlier.replace(tzinfo=None), later.replace(tzinfo=None)
    return (later - earlier).total_seconds()


def _lost(reason: str) -> LockLost:
    return LockLost(
        f"This migration lost its lock: {reason}. Nothing was committed since. Run: rxdb db migrate"
    )
