"""The pool of connections: first come, first served, within one limit for a database's engines.

SQLAlchemy's QueuePool puts a returned connection where any thread may take it. A running thread
takes it before the one that has waited longest is awake, which may go on for seconds. Here it is
handed to whoever has waited longest.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock, RLock, get_ident
from typing import TYPE_CHECKING, Any

from sqlalchemy import AsyncAdaptedQueuePool, QueuePool, event, exc

from rxdb.errors import PoolTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

POOL_SIZE = 10
"""Connections of one database in one process, where the application does not say another number;
docs/configuration.md tells how it was chosen."""

PING_AFTER_IDLE = 30.0
"""Seconds that a pooled connection may have been idle before it is tested at its next use. A test
is a round trip of its own: at each checkout, a read-only session would take two instead of one."""

PATIENCE = 1.0
"""Seconds that who waits for one engine lets later ones of the other engine go first, whose
connections are there: to close one and open another takes longer than most transactions."""


class OutOfConnections(PoolTimeout, exc.TimeoutError):
    """rxdb's error and SQLAlchemy's at once, shown under the name to catch."""

    __module__ = PoolTimeout.__module__
    __qualname__ = PoolTimeout.__qualname__

    def __reduce__(self) -> tuple[Any, ...]:
        return _out_of_connections, self.args


def _out_of_connections(sentence: str) -> OutOfConnections:
    return OutOfConnections(sentence)


@dataclass(kw_only=True)
class Counters:
    """What happened in a pool since its engine was made."""

    opened: int = 0
    closed: int = 0
    invalidated: int = 0
    timeouts: int = 0


@dataclass(frozen=True, kw_only=True)
class PoolStatus:
    """How the connections of one database are used, in this process."""

    size: int
    """How many are kept; 0 means any number."""

    max_overflow: int
    """How many more may be open at a time; -1 means any number."""

    checked_out: int
    """How many are in use, or being opened."""

    idle: int
    """How many wait to be used."""

    waiting: int
    """How many threads or tasks wait for one."""

    opened: int
    """How many were opened since the engine was made."""

    closed: int
    """How many were closed."""

    invalidated: int
    """How many were given up because they were broken."""

    timeouts: int
    """How often nobody gave one back within ``pool_timeout``."""


class Limit:
    """How many connections the pools of one database may have open together, and who waits."""

    def __init__(self, size: int, max_overflow: int) -> None:
        self.size = size
        self.max_overflow = max_overflow
        self.most = math.inf if size == 0 or max_overflow < 0 else size + max_overflow
        self.lock = RLock()  # the garbage collector may return a connection at any moment
        self.open = 0
        self.waiters: deque[_Waiter] = deque()
        self.pools: list[FairPool] = []

    def next_for(self, pool: FairPool) -> _Waiter:
        """Take the waiter that a connection of *pool* goes to out of the queue.

        That is the first of all, unless it waits for another engine and would need another
        connection, while one of *pool* could go on at once.
        """
        first = self.waiters[0]
        own = first
        if first.pool is not pool:
            own = next((one for one in self.waiters if one.pool is pool), first)
        chosen = first if self._is_due(first, own) else own
        self.waiters.remove(chosen)
        return chosen

    def _is_due(self, first: _Waiter, own: _Waiter) -> bool:
        """Whether *first* shall have a connection of its engine opened for it.

        Its engine has less than half of the connections that its part of the demand would give
        it, or none, or it has waited for too long.
        """
        here, there = own.pool, first.pool
        if here is there or not there.open or own.since - first.since > PATIENCE:
            return True
        demand = here.open + here.waiting, there.open + there.waiting
        return 2 * (there.open + 1) * demand[0] <= here.open * demand[1]

    def grant(self) -> None:
        """Let those who wait open connections, while there is room."""
        while self.waiters and self.open < self.most:
            waiter = self.waiters.popleft()
            self.open += 1
            waiter.pool.open += 1
            waiter.give(_Room())

    def part(self, pool: FairPool) -> None:
        """Let *pool*, which ends, count for itself: its connections are no longer this limit's."""
        with self.lock:
            if pool.limit is not self:
                return
            alone = Limit(self.size, self.max_overflow)
            alone.lock = self.lock
            alone.pools, alone.open = [pool], pool.open
            alone.waiters = deque(one for one in self.waiters if one.pool is pool)
            self.waiters = deque(one for one in self.waiters if one.pool is not pool)
            self.pools.remove(pool)
            self.open -= pool.open
            pool.limit = alone
            self.grant()

    def forget(self) -> None:
        """Begin anew in the child of a fork, whose parent may have held the lock."""
        inherited, self.lock, self.waiters = list(self.pools), RLock(), deque()
        for pool in inherited:
            pool.lock, pool.waiting = self.lock, 0
            self.part(pool)


class FairPool(QueuePool):
    """SQLAlchemy's QueuePool with a queue for those who wait, and a limit that pools may share.

    It takes QueuePool's arguments, and *limit*, which goes before *pool_size* and *max_overflow*.
    *test_idle* tests a connection that was idle for PING_AFTER_IDLE before it is used.
    """

    def __init__(  # no keyword-only ones: create_engine would not find them
        self,
        creator: Any,
        pool_size: int = POOL_SIZE,
        max_overflow: int = 0,
        limit: Limit | None = None,
        counters: Counters | None = None,
        test_idle: bool = False,
        **options: Any,
    ) -> None:
        self.counters = counters or Counters()
        super().__init__(creator, pool_size, max_overflow, **options)
        self.shared = limit or Limit(self.size(), self._max_overflow)
        self.limit = self.shared
        self.lock = self.limit.lock
        self.limit.pools.append(self)
        self.open = 0
        self.waiting = 0
        self.idle: deque[ConnectionPoolEntry] = deque()  # the one that is idle longest is first
        self.is_disposed = False
        self.test_idle = test_idle
        if counters is None:  # else it is one of the events that recreate() hands on
            event.listen(self, "invalidate", self._count_invalidated())

    # What SQLAlchemy calls

    def _do_get(self) -> ConnectionPoolEntry:
        with self.lock:
            found = self._take() or self._queue_up()
        if isinstance(found, _Waiter):
            found = self._wait(found)
        if not isinstance(found, _Room):
            return self._tested(found)
        try:
            if found.instead_of is not None:
                found.instead_of.close()
            return self._create_connection()
        except BaseException:
            self._release()
            raise

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        set_idle_since(record, time.monotonic())
        with self.lock:
            surplus = self._keep(record)
        if surplus is not None:
            owner, unwanted = surplus
            owner.close(unwanted)

    def recreate(self) -> FairPool:
        """Return a pool like this one, for the same engine; this one counts for itself then."""
        self.logger.info("Pool recreating")
        self.shared.part(self)
        return type(self)(
            self._creator,
            limit=self.shared,
            counters=self.counters,
            test_idle=self.test_idle,
            pool_size=self.size(),
            max_overflow=self._max_overflow,
            pre_ping=self._pre_ping,
            use_lifo=self._pool.use_lifo,
            timeout=self._timeout,
            recycle=self._recycle,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            _dispatch=self.dispatch,
            dialect=self._dialect,
        )

    def dispose(self) -> None:
        """Close what is idle, and what is in use when it comes back."""
        with self.lock:
            idle, self.idle = self.idle, deque()
            self.is_disposed = True
        for record in idle:
            self.close(record)
        self.logger.info("Pool disposed. %s", self.status())

    def checkedin(self) -> int:
        """Return the number of connections that are idle."""
        return len(self.idle)

    def checkedout(self) -> int:
        """Return the number of connections that are in use, or being opened."""
        return self.open - len(self.idle)

    def overflow(self) -> int:
        """Return how many connections there are beyond the size; below zero, how many less."""
        return self.open - self.size() if self.size() else 0

    def _should_wrap_creator(self, creator: Any) -> Any:
        create = super()._should_wrap_creator(creator)

        def count(record: ConnectionPoolEntry) -> DBAPIConnection:
            connection = create(record)
            self.counters.opened += 1
            return connection

        return count

    def _close_connection(self, connection: DBAPIConnection, *, terminate: bool = False) -> None:
        self.counters.closed += 1
        super()._close_connection(connection, terminate=terminate)

    def _count_invalidated(self) -> Callable[..., None]:
        counters = self.counters

        def count(*_: object) -> None:
            counters.invalidated += 1

        return count

    # Under the lock

    def _take(self) -> ConnectionPoolEntry | _Room | None:
        """Return an idle connection, or else room for a new one."""
        if self.idle:
            return self.idle.pop() if self._pool.use_lifo else self.idle.popleft()
        limit = self.limit
        if limit.open < limit.most:
            limit.open += 1
            self.open += 1
            self.is_disposed = False
            return _Room()
        for other in limit.pools:
            if other.idle:
                other.open -= 1
                self.open += 1
                return _Room(instead_of=other.idle.popleft())
        return None

    def _queue_up(self) -> ConnectionPoolEntry | _Room | _Waiter:
        waiter = self._waiter()
        self.limit.waiters.append(waiter)
        self.waiting += 1
        # The garbage collector may have returned a connection just before: nobody would be told.
        found = None if waiter.given else self._take()
        if found is not None:
            self.limit.waiters.remove(waiter)
            self.waiting -= 1
        return found or waiter

    def _keep(self, record: ConnectionPoolEntry) -> tuple[FairPool, ConnectionPoolEntry] | None:
        """Hand a connection over, or keep it; return what there is no place for, with its pool."""
        limit = self.limit
        if limit.waiters:
            waiter = limit.next_for(self)
            if waiter.pool is self:
                waiter.give(record)
            else:
                self.open -= 1
                waiter.pool.open += 1
                waiter.give(_Room(instead_of=record))
            return None
        if self.is_disposed:
            return self, record
        self.idle.append(record)
        if not limit.size or sum(len(pool.idle) for pool in limit.pools) <= limit.size:
            return None
        longest = min((pool for pool in limit.pools if pool.idle), key=_idle_since)
        return longest, longest.idle.popleft()

    # Outside of the lock

    def _wait(self, waiter: _Waiter) -> ConnectionPoolEntry | _Room:
        try:
            waiter.wait(self._timeout)
        except BaseException:  # a cancelled task, or Ctrl-C
            given = self._leave(waiter)
            if isinstance(given, _Room):
                try:
                    if given.instead_of is not None:
                        given.instead_of.close()
                finally:  # a task may be cancelled again while it closes
                    self._release()
            elif given is not None:
                self._do_return_conn(given)
            raise
        given = self._leave(waiter)
        if given is None:
            self.counters.timeouts += 1
            raise self._timed_out()
        return given

    def _leave(self, waiter: _Waiter) -> ConnectionPoolEntry | _Room | None:
        """Take a waiter out of the queue unless it was served; return what it was given."""
        with self.lock:
            if waiter.given is None:
                with suppress(ValueError):
                    self.limit.waiters.remove(waiter)
                self.waiting -= 1
            return waiter.given

    def _timed_out(self) -> PoolTimeout:
        with self.lock:
            out = [pool.checkedout() for pool in self.limit.pools]
            waiting = sum(pool.waiting for pool in self.limit.pools)
        return OutOfConnections.of(self._timeout, sum(out), waiting, self.size())

    def close(self, record: ConnectionPoolEntry) -> None:
        """Close a connection that was taken out of the pool."""
        try:
            record.close()
        finally:
            self._release()

    def _release(self) -> None:
        """Give up the room of a connection that is not there any more."""
        with self.lock:
            self.open -= 1
            self.limit.open -= 1
            self.limit.grant()

    def _tested(self, record: ConnectionPoolEntry) -> ConnectionPoolEntry:
        """Test a connection that was idle for long; a dead one is replaced, with its pool."""
        connection = record.dbapi_connection
        if (
            not self.test_idle
            or connection is None
            or time.monotonic() - idle_since(record) < PING_AFTER_IDLE
        ):
            return record
        dialect: Any = self._dialect
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            self._invalidate_time = time.time()
            self._end(record, error)
        except BaseException as error:
            self._end(record, error)
            self._do_return_conn(record)
            raise
        return record

    def _end(self, record: ConnectionPoolEntry, error: BaseException) -> None:
        """Invalidate a connection in hand; when that is cancelled, its place goes back."""
        try:
            record.invalidate(error)
        except BaseException:
            self._do_return_conn(record)
            raise

    def _waiter(self) -> _Waiter:
        return _Thread(self)


class AsyncFairPool(FairPool, AsyncAdaptedQueuePool):
    """The same for the tasks of one event loop."""

    def _waiter(self) -> _Waiter:
        return _Task(self)


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Whether a log record is worth a traceback.

    SQLAlchemy writes one at ERROR for a task that was cancelled while its connection came back.
    Nothing is wrong then: the connection is closed and replaced, and the task's owner knows.
    """
    import asyncio  # noqa: PLC0415 - is loaded by now

    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


logging.getLogger(f"{__name__}.{AsyncFairPool.__name__}").addFilter(_is_no_cancellation)


class _Room:
    """Leave to open a connection, instead of another one that has to be closed before."""

    __slots__ = ("instead_of",)

    def __init__(self, instead_of: ConnectionPoolEntry | None = None) -> None:
        self.instead_of = instead_of


class _Waiter:
    """Who waits for a connection of one pool."""

    given: ConnectionPoolEntry | _Room | None = None

    def __init__(self, pool: FairPool) -> None:
        self.pool = pool
        self.since = time.monotonic()

    def give(self, what: ConnectionPoolEntry | _Room) -> None:
        """Hand over a connection, or leave to open one; under the lock."""
        self.given = what
        self.pool.waiting -= 1
        self.wake()

    def wake(self) -> None:
        raise NotImplementedError

    def wait(self, timeout: float | None) -> None:
        """Wait until something was given, or for *timeout* seconds."""
        raise NotImplementedError


class _Thread(_Waiter):
    def __init__(self, pool: FairPool) -> None:
        super().__init__(pool)
        self._gate = Lock()
        self._gate.acquire()

    def wake(self) -> None:
        self._gate.release()

    def wait(self, timeout: float | None) -> None:
        self._gate.acquire(timeout=-1 if timeout is None else timeout)


class _Task(_Waiter):
    def __init__(self, pool: FairPool) -> None:
        import asyncio  # noqa: PLC0415 - is loaded by now

        super().__init__(pool)
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._woken = self._loop.create_future()

    def wake(self) -> None:
        """Wake the task; the garbage collector may return a connection in another thread."""
        if get_ident() == self._thread:
            self._end()
        else:
            self._loop.call_soon_threadsafe(self._end)

    def wait(self, timeout: float | None) -> None:
        from sqlalchemy.util import await_only  # noqa: PLC0415 - needs greenlet

        timer = None if timeout is None else self._loop.call_later(timeout, self._end)
        try:
            await_only(self._woken)
        finally:
            if timer is not None:
                timer.cancel()

    def _end(self) -> None:
        if not self._woken.done():
            self._woken.set_result(None)


def idle_since(record: Any) -> float:
    """Return when a connection came back to its pool, as time.monotonic() tells it."""
    return float(record.rxdb_idle_since)


def set_idle_since(record: Any, when: float) -> None:
    record.rxdb_idle_since = when


def _idle_since(pool: FairPool) -> float:
    return idle_since(pool.idle[0])


def status(pools: Iterable[FairPool]) -> PoolStatus:
    """Add up what the pools of one database, or of one engine, hold."""
    every = list(pools)

    def total(count: Callable[[FairPool], int]) -> int:
        return sum(count(pool) for pool in every)

    limits = list({id(pool.shared): pool.shared for pool in every}.values())
    return PoolStatus(
        size=sum(limit.size for limit in limits),
        max_overflow=sum(limit.max_overflow for limit in limits),
        checked_out=total(FairPool.checkedout),
        idle=total(FairPool.checkedin),
        waiting=total(lambda pool: pool.waiting),
        opened=total(lambda pool: pool.counters.opened),
        closed=total(lambda pool: pool.counters.closed),
        invalidated=total(lambda pool: pool.counters.invalidated),
        timeouts=total(lambda pool: pool.counters.timeouts),
    )
