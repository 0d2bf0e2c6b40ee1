"""Let the writers of one SQLite file take turns, threads and tasks alike, so that nobody starves.

SQLite lets one connection write at a time and keeps no queue: who waits sleeps and tries again, for
longer each time, so that a newcomer goes first and an unlucky thread waits for seconds. In this
process a queue stands before BEGIN IMMEDIATE: first come, first served, but a thread that comes
again at once gets some turns in a row: to hand the turn to another thread costs more than half of a
short transaction. Only who has the turn meets other processes.

The turn belongs to the connection, and ends where SQLite's own lock does: at COMMIT, ROLLBACK and
close, in whichever thread that runs, and when a connection is dropped.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary, ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextvars import Token
    from types import FrameType

BEGIN = "BEGIN IMMEDIATE"

STAY = 0.015
"""Seconds in which a thread that writes may come again before those who wait. With 0.015 eight
threads are more than 0.8 times as fast as one alone, and just so with 0.01
(``benchmarks/sqlite_load.py``). The slowest waits for seven stays."""

MOST_TURNS = 40
"""Turns that a thread gets in a row while others wait."""

ROUND = 0.088
"""Seconds that all who stay take together, about, however many wait."""

EXPECTED = 4
"""Turns in a row after which a thread is expected once more: it then wakes nobody when it leaves,
which would interrupt it each time. Where threads do come again, the next ones are expected from
their first turn on, until one does not come."""

LOOK = 0.006
"""Seconds until the first of those who wait looks by itself, whether that thread still comes. Each
look interrupts who writes: with 0.002 eight threads do a tenth less
(``benchmarks/sqlite_load.py``)."""

GAP = 0.001
"""Seconds between two transactions of a thread that is expected: a look in between cuts no stay
short."""

LONGEST_PAUSE = 0.037
"""Seconds on average between two rounds of tries of who waits for a process that comes again and
again. So each stays for a while: code and data are in the caches of its processor. A longer pause
gains commits a second, and one of a hundred transactions waits for a pause and its round:
``benchmarks/sqlite_load.py`` has goals for both, and this meets the latter with little to spare."""

SHORTEST_PAUSE = 0.0002
"""Seconds between two rounds, at the least: where the other process writes now and then."""

TRIES = 5
"""Tries in a round, GLANCE apart: one of them meets that process between two transactions. With one
try in a round, who was unlucky a few times in a row waited for long."""

GLANCE = 0.0002
"""Seconds between two tries of a round, to which the system adds some; more of them would hold up
who writes."""

JITTER = 0.05
"""The part of a pause by which it is longer or shorter by chance, so that no two stay in step. More
makes no stay longer, and the longest waits longer."""

IN_A_ROW = 3
"""First tries that get in, one wait after the other, before pauses become shorter: one
alone may have met a process that stays, just between two of its transactions."""

AGEING = 0.12
"""Seconds of waiting after which the pauses are half as long; after twice as many, a fifth: nobody
waits for long by bad luck, or because others write for long and leave short gaps. SQLite's own
pauses grow to 0.1 s instead (``sqliteDefaultBusyCallback``)."""

SHORT_WAIT = 0.0009
"""Seconds after which BEGIN IMMEDIATE must have met another process: SQLite sleeps 1 ms before it
tries for the second time."""

CROWDED = 100
"""Transactions for which other processes are then expected again, each time."""

OWN = 0.5
"""Seconds to wait for a transaction of one's own: see :meth:`Turn.waits_for_itself`."""

OWN_LOCK = "rxdb_own_lock"
"""The attribute of an error that tells whether it was in vain for that reason."""

WRITER = "writer"
"""Under what a queue keeps whose turn it is."""

BUSY = 5
"""SQLITE_BUSY, the last byte of its extended codes too."""

LIBRARIES = frozenset(
    {"asyncio", "contextlib", "functools", "greenlet", "rxdb", "rxdb_dialects"}
    | {"sqlalchemy", "sqlmodel", "threading"}
)
"""Whose frames are not the place where an application began to write."""


class Turn:
    """The right of one connection to write, or its place in the queue."""

    __slots__ = (
        *("asked", "begun", "is_queued", "is_up", "name", "patience"),
        *("place", "queue", "task", "thread", "wake"),
    )

    def __init__(self, queue: Queue, task: asyncio.Task[Any] | None = None) -> None:
        self.queue = queue
        self.asked = time.monotonic()
        self.begun = 0.0
        thread = threading.current_thread()
        self.name, self.thread = thread.name, ref(thread)
        self.task = None if task is None else ref(task)
        self.patience: float | None = None  # seconds, where it had to queue
        self.place: Token[None] | None = None  # where it began
        self.wake: Callable[[], bool] = bool  # what lets it look whether its turn has come
        self.is_queued = self.is_up = False

    def end(self) -> None:
        """Leave the queue, and let the next one begin. Once is enough, more do no harm."""
        self.queue.leave(self)

    def begin_here(self) -> None:
        """Remember the context of the thread or task in which it begins."""
        self.place = _here.set(None)

    def is_of_here(self) -> bool:
        """Whether it began in this context: a token can be used in its own only."""
        if self.place is None:
            return False
        try:
            _here.reset(self.place)
        except ValueError:
            return False
        self.begin_here()
        return True

    def waits_for_itself(self) -> bool:
        """Whether who writes cannot come to its end before this one does, as far as one can know.

        That is another session of the same thread or task, or, where this one blocks a thread, that
        of a task of its event loop. The same thread alone says little: one of a pool may have begun
        for a request that goes on in another one, while it serves the next. So what counts is the
        context, which a task has for itself, and so has each call that a web server or
        ``asyncio.to_thread`` hands to a pool.

        It is not certain. Another thread or task may have been handed that session, and a COMMIT
        may be under way in aiosqlite's thread. So nobody gives up before OWN is over, and the error
        says what to do about the former.
        """
        writer = self.queue.writer
        if writer is None or writer is self or not writer.begun:
            return False
        blocks_its_loop = self.task is None and writer.task and writer.thread is self.thread
        return bool(blocks_its_loop) or writer.is_of_here()

    def left(self, patience: float) -> float:
        """Return for how many seconds more it may wait."""
        most = min(patience, OWN) if self.waits_for_itself() else patience
        return self.asked + most - time.monotonic()

    def owner(self, asker: Turn) -> str:
        """Name who writes, as *asker* is to know it, and where that is now.

        It costs nothing before it is asked for; to write down where it began would cost each
        transaction.
        """
        if (self.thread is asker.thread and self.task is asker.task) or self.is_of_here():
            return f"another session of this {'task' if asker.task else 'thread'} itself"
        if self.task:
            task = self.task()
            frames = task.get_stack() if task else []
            who = f"task {task.get_name()!r}" if task else "a task that is gone"
            return who + place(frames[::-1])
        thread = self.thread()
        frame = sys._current_frames().get(thread.ident or 0) if thread else None  # noqa: SLF001 - the standard library's own way, for debuggers
        return f"thread {self.name!r}" + place(above(frame))


def above(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame, its caller, and so on."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def place(frames: Iterable[FrameType]) -> str:
    """Say where the application is in the first of the frames that is its own."""
    for frame in frames:
        if not is_library(frame):
            code = frame.f_code
            return f", which is now at {code.co_filename}:{frame.f_lineno} in {code.co_name}"
    return ""


def is_library(frame: FrameType) -> bool:
    """Whether a frame is not the application's."""
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in LIBRARIES


class Queue:
    """The connections of this process that write to one file, or want to. The first one may.

    It has no lock: each step is one call into a deque or a dictionary, which no other thread
    divides, and to be woken twice does no harm. So a connection may leave from a finalizer, which
    can run at any moment.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.waiting: deque[Turn] = deque()
        self.held: dict[str, Turn] = {}
        self.guest: ref[threading.Thread] | None = None
        """The thread that left last and may come again before those who wait."""
        self.stays_until = self.left_at = 0.0
        self.turns_left = 0
        self.expected = EXPECTED
        self.crowded = CROWDED  # they may be there already
        self.pause = SHORTEST_PAUSE
        """Seconds, on average, between two rounds of tries of who waits for another process."""
        self.first_tries = 0
        """How many waits in a row ended with the first try after a pause."""

    @property
    def writer(self) -> Turn | None:
        """Whose turn it is."""
        return self.held.get(WRITER)

    def enter(self, turn: Turn) -> bool:
        """Let a turn begin where nobody writes, and nobody waits or its thread may stay."""
        if not self.waiting:
            return self._hold(turn, turn.asked)
        stays = self.guest is turn.thread and turn.task is None and turn.asked < self.stays_until
        if not stays or self.held.setdefault(WRITER, turn) is not turn:
            if self.guest is turn.thread:
                self.expected = 0  # its stay is over, and it came to the end
            return False
        self.turns_left -= 1
        return True

    def line_up(self, turn: Turn, wake: Callable[[], bool]) -> None:
        """Put a turn at the end; who is first may begin where a stay has just ended."""
        turn.wake, turn.is_queued = wake, True
        self.waiting.append(turn)
        if WRITER not in self.held:
            self.wake_first()

    def follow(self, turn: Turn) -> bool:
        """Let the first of those who wait begin where nobody writes."""
        now = time.monotonic()
        is_expected = self._is_expected(now)
        if self.waiting[0] is not turn or (is_expected and now < self.left_at + GAP):
            return False
        if not self._hold(turn, now):
            return False
        if is_expected:
            self.expected = EXPECTED  # it did not come
        self.waiting.remove(turn)
        return True

    def _is_expected(self, now: float) -> bool:
        """Whether the thread that left last is about to come again."""
        comes = self.guest is not None and MOST_TURNS - self.turns_left >= self.expected
        return comes and now < self.stays_until

    def _hold(self, turn: Turn, now: float) -> bool:
        if self.held.setdefault(WRITER, turn) is not turn:
            return False
        self.stays_until = now + min(STAY, ROUND / max(1, len(self.waiting)))
        self.turns_left = MOST_TURNS
        return True

    def leave(self, turn: Turn) -> None:
        """End a turn or its waiting, and let the first of those who wait look."""
        if turn.is_queued:
            with suppress(ValueError):
                self.waiting.remove(turn)
        if self.held.get(WRITER) is turn:
            self.guest = turn.thread if turn.task is None and self.turns_left > 1 else None
            self.left_at = time.monotonic()
            del self.held[WRITER]
        if self.waiting:
            self.wake_first()

    def wake_first(self) -> None:
        """Wake the first of those who wait, unless a thread is expected that comes again and again.

        It was woken in vain before, then, and looks by itself. A task whose event loop is closed
        will not come, and is taken out.
        """
        is_expected = self._is_expected(time.monotonic())
        with suppress(IndexError):
            while True:
                first = self.waiting[0]
                if first.is_up and is_expected:
                    return
                first.is_up = True
                if first.wake():
                    return
                with suppress(ValueError):
                    self.waiting.remove(first)

    def next_pause(self, waited: float) -> float:
        """Return the seconds until the next round."""
        pause = self.pause / (1 + (waited / AGEING) ** 2)
        chance = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - a pause is no secret
        return max(SHORTEST_PAUSE, pause * chance)

    def longer(self) -> None:
        """Wait longer between two rounds: another process stays."""
        self.pause = min(LONGEST_PAUSE, self.pause * 2)

    def learn(self, tries: int) -> None:
        """Find out how long other processes stay: whether first tries after a pause get in."""
        if tries > 1:
            self.first_tries = 0
            self.longer()
        elif tries:
            self.first_tries += 1
            if self.first_tries >= IN_A_ROW:
                self.pause = max(SHORTEST_PAUSE, self.pause / 2)

    def nap(self, turn: Turn, left: float) -> float:
        """Return for how many of the *left* seconds a turn that was woken in vain may sleep.

        While a thread stays, whoever is first looks by itself: that thread wakes nobody when it
        leaves, and may not come again. Where it has left, that shows soon.
        """
        stays = turn.is_up and time.monotonic() < self.stays_until + LOOK
        return min(left, LOOK if self.held else GAP) if stays else left


class Connection(sqlite3.Connection):
    """A connection that gives its turn back where its transaction ends."""

    queue: Queue | None = None
    turn: Turn | None = None

    def patience(self) -> int:
        """Return the milliseconds to wait; a session may have set its own."""
        (milliseconds,) = super().execute("PRAGMA busy_timeout").fetchone()
        return int(milliseconds)

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Execute a statement; BEGIN IMMEDIATE tries again in its own way.

        This is where aiosqlite comes by, in the thread of the connection.
        """
        turn = self.turn
        if sql is not BEGIN or turn is None:
            return super().execute(sql, *parameters)
        cursor = self.begin(turn, super().execute)
        turn.begun = time.monotonic()
        return cursor

    def begin(self, turn: Turn, execute: Callable[[str], sqlite3.Cursor]) -> sqlite3.Cursor:
        """Begin, and find out whether other processes write too.

        Where nobody else does, SQLite's own busy timeout stands ready: to set another one would
        take a tenth of the time of a session that adds a row and commits.
        """
        now = time.monotonic()
        has_waited = turn.patience is not None and now - turn.asked > turn.patience / 10
        if has_waited or turn.queue.crowded:
            return self.begin_among_others(turn, execute)
        try:
            cursor = execute(BEGIN)
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            raise locked(turn) from None
        finally:
            if time.monotonic() - now > SHORT_WAIT and turn.queue.path:
                turn.queue.crowded = CROWDED
        return cursor

    def begin_among_others(
        self, turn: Turn, execute: Callable[[str], sqlite3.Cursor]
    ) -> sqlite3.Cursor:
        """Try until no other process writes: often, and the more often the longer it takes."""
        patience = self.patience()
        turn.queue.crowded = max(0, turn.queue.crowded - 1)
        execute("PRAGMA busy_timeout = 0")
        tries = 0
        try:
            while True:
                try:
                    cursor = execute(BEGIN)
                except sqlite3.OperationalError as error:
                    waited = time.monotonic() - turn.asked
                    if not is_busy(error) or self.turn is not turn:
                        raise
                    if waited >= patience / 1000:
                        raise locked(turn) from None
                    turn.queue.crowded = CROWDED
                    tries += 1
                    is_new_round = tries % TRIES == 1  # the first try was one by itself
                    if is_new_round and tries > 1:
                        turn.queue.longer()
                    time.sleep(turn.queue.next_pause(waited) if is_new_round else GLANCE)
                else:
                    turn.queue.learn(tries)
                    return cursor
        finally:
            execute(f"PRAGMA busy_timeout = {patience}")

    def end_turn(self) -> None:
        """Let the next one begin."""
        turn = self.__dict__.pop("turn", None)  # at once: two threads may end it
        if turn is not None:
            turn.end()

    def commit(self) -> None:
        """Commit. A COMMIT that fails leaves the transaction open, and keeps the turn."""
        super().commit()
        self.end_turn()

    def rollback(self) -> None:
        """Roll back."""
        try:
            super().rollback()
        finally:
            self.end_turn()

    def close(self) -> None:
        """Close, which rolls back."""
        try:
            super().close()
        finally:
            self.end_turn()

    def __del__(self) -> None:
        """End the turn of a connection that nobody closed."""
        self.end_turn()


_here: ContextVar[None] = ContextVar("rxdb_sqlite_here")
_queues: WeakValueDictionary[str, Queue] = WeakValueDictionary()
_making = threading.Lock()


def join(connection: Any, name: str, path: str) -> None:
    """Let a new connection, sqlite3's or SQLAlchemy's around aiosqlite's, queue with all of *name*.

    A database without a name is this connection's own. *path* is that of the file. A connection of
    another class, which an application can ask for, takes no turns.
    """
    raw = sqlite_connection(connection)
    if isinstance(raw, Connection):
        with _making:
            raw.queue = _queues.setdefault(name, Queue(path)) if name else Queue(path)


def sqlite_connection(connection: Any) -> Any:
    """Return sqlite3's own connection; None where aiosqlite's is closed."""
    around: Any = getattr(connection, "driver_connection", None)
    raw: Any = connection if around is None else around._connection  # noqa: SLF001 - no other way
    return raw


def begin(connection: Any) -> None:
    """Begin a transaction of an ordinary engine when its turn has come.

    In AUTOCOMMIT, which SQLAlchemy says to :mod:`sqlite3` as ``isolation_level=None``, nothing
    begins. Otherwise sqlite3 would begin by itself, and finds that begun already.
    """
    raw = connection.dbapi_connection
    if raw.isolation_level is None:
        return
    if (queue := getattr(raw, "queue", None)) is None:
        raw.execute(BEGIN)
        return
    turn = take(raw, Turn(queue))
    try:
        if not queue.enter(turn):
            wait(turn, raw.patience() / 1000)
        raw.execute(BEGIN)
        turn.begin_here()
    except BaseException:
        raw.end_turn()
        raise


def wait(turn: Turn, patience: float) -> None:
    """Sleep until the turn has come."""
    gate = threading.Lock()
    gate.acquire()

    def wake() -> bool:
        with suppress(RuntimeError):  # it was woken before
            gate.release()
        return True

    queue = turn.queue
    turn.patience = patience
    queue.line_up(turn, wake)
    while not queue.follow(turn):
        left = turn.left(patience)
        if left <= 0:
            raise locked(turn)
        gate.acquire(timeout=queue.nap(turn, left))


def begin_async(connection: Any) -> None:
    """Begin a transaction of an asynchronous engine; its event loop runs on meanwhile."""
    from sqlalchemy.util import await_only

    adapted = connection.dbapi_connection
    raw: Any = sqlite_connection(adapted)
    if getattr(raw, "isolation_level", "") is None:  # AUTOCOMMIT
        return
    if raw is None or (queue := getattr(raw, "queue", None)) is None:
        adapted.execute(BEGIN)
        return
    turn = take(raw, Turn(queue, asyncio.current_task()))
    around = adapted.driver_connection
    try:
        if not queue.enter(turn):
            await_only(wait_async(turn, around))
        await_only(around.execute(BEGIN))
        turn.begin_here()
    except ValueError as error:  # what aiosqlite says of a closed connection
        raw.end_turn()
        raise sqlite3.OperationalError(str(error)) from error
    except BaseException:
        raw.end_turn()
        raise


async def wait_async(turn: Turn, connection: Any) -> None:
    """Wait until the turn has come."""
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()

    def wake() -> bool:
        try:
            loop.call_soon_threadsafe(woken.set)
        except RuntimeError:  # the event loop is closed
            return False
        return True

    queue = turn.queue
    queue.line_up(turn, wake)
    ((milliseconds,),) = await connection.execute_fetchall("PRAGMA busy_timeout")
    turn.patience = patience = milliseconds / 1000
    while not queue.follow(turn):
        left = turn.left(patience)
        if left <= 0:
            raise locked(turn)
        with suppress(TimeoutError):
            async with asyncio.timeout(queue.nap(turn, left)):
                await woken.wait()
        woken.clear()


def take(raw: Connection, turn: Turn) -> Turn:
    """Put a turn into the hands of its connection."""
    raw.end_turn()
    raw.turn = turn
    return turn


# Who holds the lock


def is_busy(error: BaseException) -> bool:
    """Whether SQLite refused since another connection holds the lock that was needed."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == BUSY


def locked(turn: Turn) -> sqlite3.OperationalError:
    """Return SQLite's error for waiting in vain, with the name of who writes."""
    waited = time.monotonic() - turn.asked
    writer = turn.queue.writer
    if writer is None or writer is turn or not writer.begun:
        who = other_process(turn.queue.path)
    else:
        since = f"{time.monotonic() - writer.begun:.1f} s"
        who = f"{writer.owner(turn)}, in a transaction that began {since} ago"
    is_own = turn.waits_for_itself()
    last = (
        "or, where another thread or task is to end that session, let that one begin it too"
        if is_own
        else f"or wait longer: ?busy_timeout={max(1000, round(waited * 2000))}"
    )
    error = sqlite3.OperationalError(
        f"database is locked: after {waited:.1f} s it is still written to by {who}. Commit, roll "
        f"back or close that session sooner; open what only reads with read_only=True; {last}"
    )
    error.sqlite_errorcode, error.sqlite_errorname = BUSY, "SQLITE_BUSY"
    setattr(error, OWN_LOCK, is_own)
    return error


WRITE_LOCKS = (("-shm", 120), ("", 0x40000001))
"""The bytes that SQLite locks to write: WAL_WRITE_LOCK, and the RESERVED lock without a WAL (its
documentation, "WAL-mode File Format", 2.3, and ``os.h``)."""


def other_process(path: str) -> str:
    """Name the process that writes, where Linux tells it."""
    for suffix, byte in WRITE_LOCKS:
        with suppress(OSError, ValueError):
            found = os.stat(path + suffix)  # noqa: PTH116 - a path of SQLite's, not ours
            device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
            for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
                _, kind, _, mode, process, file, first, last = line.split()[:8]
                is_it = (kind, mode, file) == ("POSIX", "WRITE", device)
                if is_it and int(first) <= byte <= int(last):
                    return named(int(process))
    return "another process, or a connection that rxdb did not make"


def named(process: int) -> str:
    """Name a process."""
    if process == os.getpid():
        return "a connection of this process that rxdb did not make"
    name = Path(f"/proc/{process}/comm").read_text(encoding="utf-8").strip()
    return f"process {process} ({name})"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_queues.clear)
