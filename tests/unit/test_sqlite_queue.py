"""Who may write to a SQLite file: first come, first served, and nobody for ever."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from rxdb_dialects import _sqlite_queue
from rxdb_dialects.sqlite import MEMORY
from sqlalchemy import exc, text
from sqlmodel import Session

import rxdb as rx

WRITE = text("UPDATE tally SET n = n + 1")


class Tally(rx.Model, table=True):
    id: int = rx.Field(primary_key=True)
    n: int = 0


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    found = f"sqlite:///{tmp_path}/app.db"
    rx.create_all(found)
    with rx.session(found) as session:
        session.add_all([Tally(id=number) for number in range(10)])
        session.commit()
    yield found
    rx.dispose()


@pytest.fixture
def queue(url: str) -> _sqlite_queue.Queue:
    return _sqlite_queue._queues[os.path.realpath(url.removeprefix("sqlite:///"))]


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)


def is_idle(queue: _sqlite_queue.Queue) -> bool:
    return not queue.waiting and queue.writer is None


def is_written(queue: _sqlite_queue.Queue) -> bool:
    return queue.writer is not None and queue.writer.begun > 0


async def auntil(is_so: Callable[[], bool]) -> None:
    await asyncio.to_thread(until, is_so)


def write(url: str, done: Callable[[], object] = lambda: None) -> None:
    with rx.session(url) as session:
        session.execute(WRITE)
        done()
        session.commit()


async def awrite(url: str, done: Callable[[], object] = lambda: None) -> None:
    async with rx.asession(url) as session:
        await (await session.connection()).execute(WRITE)
        done()
        await session.commit()


def begun(url: str) -> Session:
    session = rx.session(url)
    session.execute(WRITE)
    return session


# Order


def test_threads_write_in_the_order_in_which_they_came(
    url: str, queue: _sqlite_queue.Queue
) -> None:
    order: list[int] = []
    with ThreadPoolExecutor(8) as threads:
        with begun(url):
            for number in range(8):
                threads.submit(write, url, lambda n=number: order.append(n))  # type: ignore[misc]  # a lambda's default has no type
                until(lambda n=number: len(queue.waiting) == n + 1)  # type: ignore[misc]  # a lambda's default has no type
        until(lambda: is_idle(queue))
    assert order == list(range(8))


def test_threads_and_tasks_stand_in_one_queue(url: str, queue: _sqlite_queue.Queue) -> None:
    order: list[int] = []

    async def run() -> None:
        first = begun(url)
        waiting = []
        for number in range(8):
            done = lambda n=number: order.append(n)  # noqa: E731 - mypy needs no second type
            way = asyncio.to_thread(write, url, done) if number % 2 else awrite(url, done)
            waiting.append(asyncio.create_task(way))
            await auntil(lambda n=number: len(queue.waiting) == n + 1)  # type: ignore[misc]  # a lambda's default has no type
        first.close()
        await asyncio.gather(*waiting)

    asyncio.run(run())
    assert order == list(range(8))


@pytest.mark.parametrize("spelling", ["sqlite:///{}/app.db?cache_size=10", "sqlite:///{}/link.db"])
def test_all_spellings_of_a_file_share_its_queue(
    url: str, queue: _sqlite_queue.Queue, tmp_path: Path, spelling: str
) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "app.db")
    with begun(spelling.format(tmp_path)):
        assert queue.writer


@pytest.mark.parametrize("memory", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_has_one_queue_too(memory: str) -> None:
    rx.create_all(memory)
    queue = _sqlite_queue._queues[MEMORY]
    with rx.get_engine(memory).connect(), rx.get_engine(memory).connect():
        pass  # a new connection would wait for the writer before it comes to the queue
    with ThreadPoolExecutor(1) as threads:
        with begun(memory):
            waiting = threads.submit(write, memory)
            until(lambda: len(queue.waiting) == 1)
        waiting.result(timeout=20)
    assert is_idle(queue)


def test_a_reader_takes_no_turn(url: str, queue: _sqlite_queue.Queue) -> None:
    with rx.session(url, read_only=True) as session:
        session.get(Tally, 1)
        assert is_idle(queue)


# A thread may come again


def test_a_thread_that_comes_again_goes_first_a_limited_number_of_times(
    url: str, queue: _sqlite_queue.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_queue, "STAY", math.inf)
    monkeypatch.setattr(_sqlite_queue, "ROUND", math.inf)
    turns = 0
    with ThreadPoolExecutor(1) as threads:
        with begun(url):
            waiting = threads.submit(write, url)
            until(lambda: bool(queue.waiting))
            turns += 1
        while queue.waiting and turns <= _sqlite_queue.MOST_TURNS:
            write(url)
            turns += 1
        waiting.result(timeout=20)
    assert turns <= _sqlite_queue.MOST_TURNS + 1  # the last one came after who waited


def test_nobody_comes_again_before_others_when_the_stay_is_over(
    url: str, queue: _sqlite_queue.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_queue, "STAY", 0)
    order: list[str] = []
    with ThreadPoolExecutor(1) as threads:
        with begun(url):
            threads.submit(write, url, lambda: order.append("who waited"))
            until(lambda: bool(queue.waiting))
        write(url, lambda: order.append("who came again"))
    assert order == ["who waited", "who came again"]


def test_who_was_woken_in_vain_looks_again_by_itself(
    url: str, queue: _sqlite_queue.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_queue, "STAY", math.inf)
    monkeypatch.setattr(_sqlite_queue, "ROUND", math.inf)
    monkeypatch.setattr(_sqlite_queue, "EXPECTED", 0)
    with ThreadPoolExecutor(1) as threads:
        with begun(url):
            waiting = threads.submit(write, f"{url}?busy_timeout=600000")
            until(lambda: bool(queue.waiting))
            queue.wake_first()
            time.sleep(0.05)  # until it has gone back to sleep
            queue.waiting[0].wake = lambda: True  # which wakes nobody
        waiting.result(timeout=20)


class Queueing:
    """Three threads, and two tasks in the event loop of the first, that come and go by chance."""

    THREADS = 3
    EVERYBODY = range(5)

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.queue = _sqlite_queue.Queue("")
        self.threads = [threading.Thread() for _ in range(self.THREADS)]
        self.turns: dict[int, _sqlite_queue.Turn] = {}
        self.will_look: set[int] = set()
        self.may_pass: dict[int, int] = {}
        """How many turns may still come before that of each one who waits."""

    def come(self, number: int) -> None:
        if number in self.turns:
            return
        self.turns[number] = turn = _sqlite_queue.Turn(self.queue)
        is_thread = number < self.THREADS
        turn.thread = ref(self.threads[number if is_thread else 0])
        stands_for_a_task: Any = turn.thread
        turn.task = None if is_thread else stands_for_a_task
        if self.queue.enter(turn):
            assert is_thread or not self.may_pass
            self.begin(number)
            return
        self.may_pass[number] = (len(self.queue.waiting) + 1) * _sqlite_queue.MOST_TURNS

        def wake() -> bool:
            self.will_look.add(number)
            return True

        self.queue.line_up(turn, wake)

    def begin(self, number: int) -> None:
        self.may_pass.pop(number, None)
        for waiting in self.may_pass:
            self.may_pass[waiting] -= 1

    def look(self, number: int) -> None:
        if number not in self.may_pass:
            return
        turn, self.will_look = self.turns[number], self.will_look - {number}
        is_next = self.queue.waiting[0] is turn and self.queue.writer is None
        if _sqlite_queue.GAP and self.queue._is_expected(time.monotonic()):
            is_next = False
        assert self.queue.follow(turn) == is_next
        if is_next:
            self.begin(number)
        elif self.queue.nap(turn, 60) < 60:
            self.will_look.add(number)

    def leave(self, number: int) -> None:
        if number in self.turns:
            self.turns.pop(number).end()
            self.may_pass.pop(number, None)
            self.will_look.discard(number)

    def come_again(self, number: int) -> None:
        if number not in self.may_pass:
            self.leave(number)
            self.come(number)

    def stay_too_long(self, _: int) -> None:
        if self.chance.random() < 0.05:
            self.queue.stays_until = 0

    def step(self) -> None:
        do = (self.come, self.look, self.leave, self.come_again, self.stay_too_long)
        self.chance.choice(do)(self.chance.choice(self.EVERYBODY))
        writing = [turn for number, turn in self.turns.items() if number not in self.may_pass]
        assert writing == ([self.queue.writer] if self.queue.writer else [])
        assert all(number >= 0 for number in self.may_pass.values())
        if self.queue.writer is None and self.queue.waiting:
            first = self.queue.waiting[0]
            assert any(self.turns[number] is first for number in self.will_look)


@pytest.mark.parametrize("gap", [0, 30])
def test_whatever_happens_somebody_writes_and_nobody_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch, gap: float
) -> None:
    bounds = {"STAY": math.inf, "ROUND": math.inf, "MOST_TURNS": 4, "EXPECTED": 2, "GAP": gap}
    for name, value in bounds.items():
        monkeypatch.setattr(_sqlite_queue, name, value)
    for seed in range(300):
        queueing = Queueing(seed)
        for _ in range(100):
            queueing.step()


# Other processes


def pauses(queue: _sqlite_queue.Queue, waited: float = 0) -> float:
    return statistics.mean(queue.next_pause(waited) for _ in range(1000))


def test_who_often_tries_in_vain_tries_less_often_at_first_and_more_often_later() -> None:
    queue = _sqlite_queue.Queue("")
    at_first = pauses(queue)
    for _ in range(20):
        queue.learn(tries=3)
    assert pauses(queue) > 5 * at_first
    assert pauses(queue, waited=2) < 2 * at_first
    for tries in (1, 1, 2, 1, 1):
        queue.learn(tries)
    assert pauses(queue) > 5 * at_first
    for _ in range(20):
        queue.learn(tries=1)
    assert pauses(queue) < 2 * at_first


def test_one_long_wait_tells_that_another_process_stays(
    url: str, queue: _sqlite_queue.Queue
) -> None:
    at_first = pauses(queue)
    other = sqlite3.connect(
        url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    end = threading.Timer(0.2, lambda: other.execute("COMMIT"))
    end.start()
    write(url)
    end.join()
    other.close()
    assert pauses(queue) > 20 * at_first


# Nothing is lost


def test_threads_lose_no_update(url: str) -> None:
    def add(number: int) -> None:
        with rx.session(url) as session:
            tally = session.get(Tally, number % 3)
            assert tally
            tally.n += 1
            session.commit()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(300)))
    with rx.session(url, read_only=True) as session:
        assert session.exec(rx.select(Tally.n).where(Tally.id < 3)).all() == [100] * 3


def test_tasks_and_threads_lose_no_update(url: str, queue: _sqlite_queue.Queue) -> None:
    async def add(number: int) -> None:
        async with rx.asession(url) as session:
            tally = await session.get(Tally, number % 3)
            assert tally
            tally.n += 1
            session.add(tally)
            await session.commit()

    async def run() -> None:
        threads = [asyncio.to_thread(write, url) for _ in range(20)]
        await asyncio.gather(*threads, *(add(number) for number in range(90)))

    asyncio.run(run())
    with rx.session(url, read_only=True) as session:
        assert session.exec(rx.select(Tally.n).where(Tally.id < 3)).all() == [50] * 3
    assert is_idle(queue)


def test_processes_lose_no_update(url: str) -> None:
    program = (
        "import rxdb as rx, sys; from sqlalchemy import text\n"
        "for _ in range(20):\n"
        "    with rx.session(sys.argv[1]) as session:\n"
        "        n = session.scalar(text('SELECT n FROM tally WHERE id = 1'))\n"
        "        session.execute(text('UPDATE tally SET n = :n WHERE id = 1'), {'n': n + 1})\n"
        "        session.commit()\n"
    )
    command = [sys.executable, "-c", program, url]
    running = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    with rx.session(url, read_only=True) as session:
        assert session.scalar(text("SELECT n FROM tally WHERE id = 1")) == 40


# The event loop


def test_a_waiting_task_leaves_the_event_loop_to_others(
    url: str, queue: _sqlite_queue.Queue
) -> None:
    async def run() -> int:
        with begun(url):
            waiting = asyncio.create_task(awrite(url))
            turns = 0
            while not queue.waiting or turns < 100:
                await asyncio.sleep(0)
                turns += 1
        await waiting
        return turns

    assert asyncio.run(run()) >= 100


def test_a_cancelled_task_leaves_the_queue(url: str, queue: _sqlite_queue.Queue) -> None:
    async def run() -> None:
        with begun(url):
            waiting = [asyncio.create_task(awrite(url)) for _ in range(3)]
            await auntil(lambda: len(queue.waiting) == 3)
            waiting[0].cancel()
            with suppress(asyncio.CancelledError):
                await waiting[0]
            assert len(queue.waiting) == 2
        await asyncio.gather(*waiting[1:])

    asyncio.run(run())
    assert is_idle(queue)


def test_a_task_that_is_cancelled_while_it_writes_gives_its_turn_back(
    url: str, queue: _sqlite_queue.Queue
) -> None:
    async def hold() -> None:
        async with rx.asession(url) as session:
            await (await session.connection()).execute(WRITE)
            await asyncio.sleep(60)

    async def run() -> None:
        task = asyncio.create_task(hold())
        await auntil(lambda: is_written(queue))
        task.cancel()
        await awrite(url)

    asyncio.run(run())
    assert is_idle(queue)


def test_a_task_of_a_closed_event_loop_is_passed_over(url: str, queue: _sqlite_queue.Queue) -> None:
    turn = _sqlite_queue.Turn(queue)
    loop = asyncio.new_event_loop()
    loop.close()

    def wake() -> bool:
        try:
            loop.call_soon_threadsafe(print)
        except RuntimeError:
            return False
        return True

    turn.wake = wake
    with begun(url):
        queue.waiting.append(turn)
    assert is_idle(queue)
    write(url)


# Turns end


def end_by_commit(session: Session) -> None:
    session.commit()


def end_by_rollback(session: Session) -> None:
    session.rollback()


def end_by_close(session: Session) -> None:
    session.close()


def end_by_invalidate(session: Session) -> None:
    session.invalidate()


def end_by_closing_the_connection(session: Session) -> None:
    driver: Any = session.connection().connection.dbapi_connection
    driver.close()


def end_by_detach(session: Session) -> None:
    session.connection().detach()
    session.close()


@pytest.mark.parametrize(
    "end",
    [
        end_by_commit,
        end_by_rollback,
        end_by_close,
        end_by_invalidate,
        end_by_closing_the_connection,
        end_by_detach,
    ],
)
def test_a_turn_ends_with_its_transaction(
    url: str, queue: _sqlite_queue.Queue, end: Callable[[Session], None]
) -> None:
    session = begun(url)
    assert queue.writer
    end(session)
    assert is_idle(queue)
    write(url)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_dropped_session_ends_its_turn(url: str, queue: _sqlite_queue.Queue) -> None:
    def drop() -> None:
        begun(url)

    thread = threading.Thread(target=drop)
    thread.start()
    thread.join()
    gc.collect()
    assert is_idle(queue)
    write(url)


def test_a_failed_begin_ends_its_turn(url: str, queue: _sqlite_queue.Queue) -> None:
    with rx.get_engine(url).connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.execute("BEGIN")
        with pytest.raises(exc.OperationalError, match="within a transaction"):
            connection.execute(WRITE)
        assert is_idle(queue)
        driver.rollback()


def test_a_failed_commit_keeps_its_turn_until_the_rollback(
    url: str, queue: _sqlite_queue.Queue
) -> None:
    with rx.get_engine(url).connect() as connection:
        connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        connection.execute(text("CREATE TABLE part (whole INTEGER REFERENCES tally)"))
        connection.execute(text("INSERT INTO part VALUES (1000)"))
        driver: Any = connection.connection.dbapi_connection
        driver.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute(text("INSERT INTO part VALUES (1000)"))
        with pytest.raises(sqlite3.IntegrityError):
            driver.commit()
        assert queue.writer
    assert is_idle(queue)


def test_a_queue_goes_with_its_connections(url: str, tmp_path: Path) -> None:
    rx.dispose()
    gc.collect()
    assert os.path.realpath(tmp_path / "app.db") not in _sqlite_queue._queues


# Waiting in vain


def test_who_waits_in_vain_is_told_which_thread_writes(
    url: str, queue: _sqlite_queue.Queue
) -> None:
    ended = threading.Event()

    def import_orders() -> None:
        with begun(url):
            ended.wait(20)

    thread = threading.Thread(target=import_orders, name="importer")
    thread.start()
    until(lambda: is_written(queue))
    try:
        with pytest.raises(rx.LockTimeout) as caught:
            write(f"{url}?busy_timeout=50")
    finally:
        ended.set()
        thread.join()
    assert isinstance(caught.value, exc.OperationalError)
    said = str(caught.value)
    assert "database is locked: after 0.1 s it is still written to by thread 'importer'" in said
    assert f"which is now at {__file__}:" in said
    assert "in import_orders, in a transaction that began 0." in said
    assert "?busy_timeout=" in said
    assert is_idle(queue)


def test_a_thread_that_waits_for_itself_is_told_so(url: str) -> None:
    with (
        begun(url),
        pytest.raises(rx.LockTimeout, match="by another session of this thread itself"),
    ):
        write(f"{url}?busy_timeout=50")


def run_again(url: str) -> None:
    made: Any = rx.transaction(url=url)
    made(lambda session: session.execute(WRITE))()


async def arun_again(url: str) -> None:
    async def work(session: Any) -> None:
        await (await session.connection()).execute(WRITE)

    made: Any = rx.transaction(url=url)
    await made(work)()


@pytest.mark.parametrize("waiting", [write, run_again])
def test_a_thread_that_waits_for_itself_gives_up_soon(
    url: str, waiting: Callable[[str], None]
) -> None:
    began = time.monotonic()
    with begun(url), pytest.raises(rx.OwnLock, match="or do the work in its session") as caught:
        waiting(url)
    assert time.monotonic() - began < 2  # of the five seconds of the busy timeout
    assert "let that one begin it too" in str(caught.value)
    assert "?busy_timeout" not in str(caught.value)
    waiting(url)


@pytest.mark.parametrize("waiting", [awrite, arun_again])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_task_that_waits_for_itself_gives_up_soon(
    url: str, waiting: Callable[[str], Any], is_async: bool
) -> None:
    async def run() -> None:
        async with rx.asession(url) as session:
            if is_async:
                await (await session.connection()).execute(WRITE)
                await waiting(url)
            with begun(url):
                await waiting(url)

    began = time.monotonic()
    with pytest.raises(rx.OwnLock, match="by another session of this task itself"):
        asyncio.run(run())
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("waiting", [write, run_again])
def test_who_blocks_the_event_loop_of_the_writer_gives_up_soon(
    url: str, queue: _sqlite_queue.Queue, waiting: Callable[[str], None]
) -> None:
    async def hold(ended: asyncio.Event) -> None:
        async with rx.asession(url) as session:
            await (await session.connection()).execute(WRITE)
            await ended.wait()
            await session.commit()

    async def run() -> None:
        ended = asyncio.Event()
        task = asyncio.create_task(hold(ended), name="importer")
        await auntil(lambda: is_written(queue))
        began = time.monotonic()
        with pytest.raises(rx.OwnLock, match="by task 'importer', which is now at"):
            waiting(url)
        assert time.monotonic() - began < 2
        ended.set()
        await task
        waiting(url)

    asyncio.run(run())


def test_who_blocks_the_event_loop_of_the_writer_gets_what_is_being_committed(
    url: str, queue: _sqlite_queue.Queue
) -> None:
    async def run() -> None:
        async with rx.asession(url) as session:
            await (await session.connection()).execute(WRITE)
            commit = asyncio.create_task(session.commit())
            await asyncio.sleep(0)  # until aiosqlite's thread has it to do
            write(url)
            await commit

    asyncio.run(run())
    assert is_idle(queue)


@pytest.mark.parametrize("is_handed_on", [False, True])
def test_a_thread_waits_for_a_session_that_goes_on_in_another_one(
    url: str, monkeypatch: pytest.MonkeyPatch, is_handed_on: bool
) -> None:
    """A thread of a pool begins for one request, which ends elsewhere, and serves the next."""
    monkeypatch.setattr(_sqlite_queue, "OWN", 60 if is_handed_on else 0.01)
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:

        def end(session: Session) -> None:
            time.sleep(0.3)
            session.commit()
            session.close()

        def call(function: Callable[..., Any], *arguments: Any) -> Any:
            if is_handed_on:
                return first.submit(function, *arguments)
            return first.submit(copy_context().run, function, *arguments)

        session = call(begun, url).result(timeout=20)
        ending = second.submit(end, session)
        call(write, url).result(timeout=20)
        ending.result(timeout=20)


def test_a_task_waits_for_a_session_that_another_one_ends(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_queue, "OWN", 0.01)

    async def hold(is_begun: asyncio.Event) -> None:
        async with rx.asession(url) as session:
            await (await session.connection()).execute(WRITE)
            is_begun.set()
            await asyncio.sleep(0.3)
            await session.commit()

    async def run() -> None:
        is_begun = asyncio.Event()
        task = asyncio.create_task(hold(is_begun))
        await is_begun.wait()
        await awrite(url)
        await asyncio.create_task(awrite(url))
        await task

    asyncio.run(run())


def test_who_waits_in_vain_is_told_which_task_writes(url: str, queue: _sqlite_queue.Queue) -> None:
    async def hold(ended: asyncio.Event) -> None:
        async with rx.asession(url) as session:
            await (await session.connection()).execute(WRITE)
            await ended.wait()

    async def run() -> None:
        ended = asyncio.Event()
        task = asyncio.create_task(hold(ended), name="importer")
        await auntil(lambda: is_written(queue))
        here = "by task 'importer', which is now at .*test_sqlite_queue.py:[0-9]+ in hold"
        with pytest.raises(rx.LockTimeout, match=here):
            await awrite(f"{url}?busy_timeout=50")
        with pytest.raises(rx.LockTimeout, match=here):
            await asyncio.to_thread(write, f"{url}?busy_timeout=50")
        ended.set()
        await task

    asyncio.run(run())


def test_a_task_that_waits_for_itself_is_told_so(url: str) -> None:
    async def run() -> None:
        async with rx.asession(url) as session:
            await (await session.connection()).execute(WRITE)
            with pytest.raises(rx.LockTimeout, match="by another session of this task itself"):
                await awrite(f"{url}?busy_timeout=50")

    asyncio.run(run())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which process has a lock")
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_who_waits_in_vain_is_told_which_process_writes(url: str, mode: str) -> None:
    path = url.removeprefix("sqlite:///")
    rx.dispose()
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA journal_mode = ' + sys.argv[2]); c.execute('BEGIN IMMEDIATE')\n"
        "print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, path, mode]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout
        other.stdout.readline()
        try:
            with pytest.raises(rx.LockTimeout, match=rf"by process {other.pid} \(python"):
                write(f"{url}?busy_timeout=50&journal_mode={mode}")
        finally:
            other.communicate()
    write(url)


def test_a_connection_that_rxdb_did_not_make_is_named_as_such(url: str) -> None:
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(rx.LockTimeout, match="that rxdb did not make"):
            write(f"{url}?busy_timeout=50")
    finally:
        other.close()


def test_a_connection_waits_as_long_as_it_was_told(url: str) -> None:
    with rx.get_engine(url).connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.execute("PRAGMA busy_timeout = 20")
        with begun(url), pytest.raises(rx.LockTimeout):
            connection.execute(WRITE)
        connection.execute(WRITE)
        assert driver.execute("PRAGMA busy_timeout").fetchone() == (20,)
        driver.execute("PRAGMA busy_timeout = 5000")
