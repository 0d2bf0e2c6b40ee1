"""Money that many writers move at once, and what must be true of it after any fault.

Each transfer writes a row under a key that its caller made before it began. That row is how a
caller finds out whether a transfer whose commit got no answer has happened, and it can be there
only once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread
from traceback import format_exception
from typing import Any, Protocol
from uuid import UUID, uuid4

from sqlalchemy import (
    URL,
    CheckConstraint,
    Column,
    Engine,
    Integer,
    MetaData,
    Select,
    Table,
    Uuid,
    func,
    insert,
    select,
    update,
)
from sqlmodel import Session

import rxdb as rx

ACCOUNTS = 20
BALANCE = 1000
"""What each account has at first."""

GIVE_UP = {"timeout": 5.0}
"""Options of rx.transaction where another node can be asked: by default it goes on for 30 s at one
that is down or starts, and half a minute at each of two is all the patience there is."""

PATIENCE = 60
"""Seconds until a server that was hit must have settled everything."""

PAUSE = 0.05
"""Seconds that a caller waits after an error, before it asks again."""

HOME = rx.DatabaseError.__module__

METADATA = MetaData()
account = Table(
    "account",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("balance", Integer, CheckConstraint("balance >= 0"), nullable=False),
)
transfer = Table(
    "transfer",
    METADATA,
    Column("key", Uuid, primary_key=True),
    Column("source", Integer, nullable=False),
    Column("destination", Integer, nullable=False),
    Column("amount", Integer, nullable=False),
)


@dataclass(frozen=True)
class Order:
    """One transfer that somebody asked for."""

    source: int
    destination: int
    amount: int
    key: UUID = field(default_factory=uuid4)


def move(session: Session, order: Order) -> None:
    """Move the money, as an application does that reads, computes and writes."""
    balances = {}
    for number in (order.source, order.destination):
        query = select(account.c.balance).where(account.c.id == number).with_for_update()
        balances[number] = session.execute(query).scalar_one()
    amount = min(order.amount, balances[order.source])
    for number, change in ((order.source, -amount), (order.destination, amount)):
        changed = update(account).where(account.c.id == number)
        session.execute(changed.values(balance=balances[number] + change))
    row = {"key": order.key, "source": order.source, "destination": order.destination}
    session.execute(insert(transfer).values(**row, amount=amount))


def create(engine: Engine) -> None:
    """Make the tables, and give each account its money."""
    METADATA.create_all(engine)
    with engine.begin() as connection:
        rows = [{"id": number, "balance": BALANCE} for number in range(ACCOUNTS)]
        connection.execute(insert(account), rows)


def _fetch(query: Select[Any], session: Session) -> Sequence[Any]:
    return session.execute(query).all()


class Way(Protocol):
    """How a program talks to the database."""

    async def transact(self, work: Callable[[Session], Any], **options: Any) -> Any:
        """Do the work in a transaction, and return what it returns."""

    async def read(self, url: str, query: Select[Any]) -> Sequence[Any]:
        """Return the rows of a query."""

    async def pause(self, seconds: float) -> None:
        """Wait."""

    def start(self, works: Sequence[Coroutine[Any, Any, None]]) -> list[Thread]:
        """Do all of this at once."""


class Threads:
    """Ordinary drivers, each writer in a thread."""

    async def transact(self, work: Callable[[Session], Any], **options: Any) -> Any:
        run: Any = rx.transaction(**options)(work)
        return run()

    async def read(self, url: str, query: Select[Any]) -> Sequence[Any]:
        with rx.session(url, read_only=True) as session:
            return _fetch(query, session)

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - it has its thread for itself

    def start(self, works: Sequence[Coroutine[Any, Any, None]]) -> list[Thread]:
        return [_begin(partial(drive, work)) for work in works]


class Tasks:
    """Asynchronous drivers, each writer a task of one event loop."""

    async def transact(self, work: Callable[[Session], Any], **options: Any) -> Any:
        async def body(session: Any) -> Any:
            return await session.run_sync(work)

        run: Any = rx.transaction(**options)(body)
        return await run()

    async def read(self, url: str, query: Select[Any]) -> Sequence[Any]:
        async with rx.asession(url, read_only=True) as session:
            rows: Sequence[Any] = await session.run_sync(partial(_fetch, query))
            return rows

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def start(self, works: Sequence[Coroutine[Any, Any, None]]) -> list[Thread]:
        async def all_at_once() -> None:
            await asyncio.gather(*works)

        return [_begin(lambda: asyncio.run(all_at_once()))]


def drive(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits for an event loop."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for an event loop")


def _begin(work: Callable[[], None]) -> Thread:
    thread = Thread(target=work)
    thread.start()
    return thread


@dataclass
class Load:
    """Writers that move money without a pause, and a reader that looks at the sum."""

    way: Way
    urls: Sequence[str]
    """Where the database is: one URL, or those of all nodes. A writer goes on to the next one
    when a node does not serve it, as an application does that knows all nodes."""
    allowed: tuple[type[Exception], ...]
    """The errors that a caller may see, beside CommitUnknown."""
    writers: int = 8
    orders: int | None = None
    """Transfers of each writer; None for as many as there is time."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of rx.transaction."""
    accounts: int = ACCOUNTS
    """Between how many accounts the money moves."""

    done: list[UUID] = field(default_factory=list)
    """Transfers whose commit was answered."""
    applied: list[UUID] = field(default_factory=list)
    """Transfers whose commit was not answered, and whose row was there."""
    repeated: list[UUID] = field(default_factory=list)
    """Those whose row was not there, and that were then made once more."""
    failed: list[UUID] = field(default_factory=list)
    """Transfers that ended with an allowed error: they must not have happened."""
    errors: list[str] = field(default_factory=list)
    """The classes of the errors that came to a caller."""
    unexpected: list[BaseException] = field(default_factory=list)
    sums: Counter[tuple[int, bool]] = field(default_factory=Counter)
    """What the reader saw: the sum of the money, and whether an account was below zero."""
    called: list[UUID] = field(default_factory=list)
    """The calls of rx.transaction."""
    begun: list[UUID] = field(default_factory=list)
    """The beginnings of its work."""
    longest: float = 0.0
    """Seconds until it was known of each unanswered commit what became of it."""
    figures: dict[str, Any] = field(default_factory=dict)
    """What the test itself counted, for the summary."""

    _over: Event = field(default_factory=Event)
    _threads: list[Thread] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have the writers and the reader at work for the length of a ``with`` block."""
        works = [self._guarded(self._write(number)) for number in range(self.writers)]
        self._threads = self.way.start([*works, self._guarded(self._watch())])
        try:
            yield
        finally:
            if self.orders is None:
                self._over.set()
            self._join()
            self._over.set()

    def wait(self, transfers: int) -> None:
        """Wait until so many more transfers are done."""
        goal, deadline = len(self.done) + transfers, time.monotonic() + PATIENCE
        while len(self.done) < goal and time.monotonic() < deadline and not self.unexpected:
            time.sleep(0.01)
        assert not self.unexpected, "".join(format_exception(self.unexpected[0]))
        assert len(self.done) >= goal, f"{len(self.done)} of {goal} transfers, {self.errors}"

    def check(self, rows: Sequence[Any], balances: dict[int, int]) -> None:
        """Compare what the database holds with what the callers were told."""
        assert not self.unexpected, "".join(format_exception(self.unexpected[0]))
        assert self.sums.keys() == {(ACCOUNTS * BALANCE, False)}, self.sums
        expected = dict.fromkeys(range(ACCOUNTS), BALANCE)
        for row in rows:
            expected[row.source] -= row.amount
            expected[row.destination] += row.amount
        assert balances == expected  # nothing was applied twice, or by half
        assert sum(balances.values()) == ACCOUNTS * BALANCE
        assert min(balances.values()) >= 0
        found = {row.key for row in rows}
        settled = {*self.done, *self.applied, *self.repeated}
        assert settled - found == set(), "acknowledged, and lost"
        assert found - settled == set(), "reported as failed, and applied"

    def summary(self) -> str:
        """Return one line of figures."""
        figures = {
            "transfers": len(self.done),
            "run again": self.run_again,
            "unknown commits": f"{len(self.applied)} applied, {len(self.repeated)} not",
            "known after": f"{self.longest:.1f} s",
            "failed": len(self.failed),
            "reads": sum(self.sums.values()),
            **self.figures,
            "errors": dict(Counter(self.errors)),
        }
        return ", ".join(f"{name}: {value}" for name, value in figures.items())

    @property
    def run_again(self) -> int:
        """How often rx.transaction has run the work once more."""
        return len(self.begun) - len(self.called)

    async def _write(self, number: int) -> None:
        choose = random.Random(number)
        node = number
        count = 0
        while not self._over.is_set() and (self.orders is None or count < self.orders):
            count += 1
            source, destination = choose.sample(range(self.accounts), 2)
            order = Order(source, destination, choose.randint(1, 100))
            url = self.urls[node % len(self.urls)]
            try:
                await self._transact(url, order)
                self.done.append(order.key)
            except rx.CommitUnknown as error:
                self._note(error)
                begun = time.monotonic()
                await self._settle(order, node)
                self.longest = max(self.longest, time.monotonic() - begun)
            except self.allowed as error:
                self._note(error)
                self.failed.append(order.key)
                node += 1
                await self.way.pause(PAUSE)

    async def _settle(self, order: Order, node: int) -> None:
        """Find out what became of a transfer, and make it if it did not happen.

        A look alone does not decide: the server may still be at the commit. The key does.
        """
        known: tuple[type[Exception], ...] = (rx.CommitUnknown, *self.allowed)
        begun = time.monotonic()
        seen: list[str] = []
        options = GIVE_UP if len(self.urls) > 1 else {}
        look = partial(_fetch, select(transfer).where(transfer.c.key == order.key))
        while time.monotonic() < begun + PATIENCE:
            url = self.urls[node % len(self.urls)]
            try:
                if await self.way.transact(look, url=url, read_only=True, **options):
                    self.applied.append(order.key)
                    return
                await self._transact(url, order, **options)
            except rx.UniqueViolation:
                self.applied.append(order.key)
                return
            except known as error:
                self._note(error)
                which = node % len(self.urls)
                seen.append(f"{time.monotonic() - begun:.1f} s, node {which}: {error!r}")
                node += 1
                await self.way.pause(PAUSE)
            else:
                self.repeated.append(order.key)
                return
        raise AssertionError("\n".join([f"{order} is not settled after {PATIENCE} s", *seen]))

    async def _transact(self, url: str, order: Order, **more: Any) -> None:
        def work(session: Session) -> None:
            self.begun.append(order.key)
            move(session, order)

        self.called.append(order.key)
        await self.way.transact(work, url=url, **{**self.options, **more})

    async def _watch(self) -> None:
        query = select(func.sum(account.c.balance), func.min(account.c.balance))
        node = 0
        while not self._over.is_set() and not self._is_done():
            try:
                ((total, lowest),) = await self.way.read(self.urls[node % len(self.urls)], query)
                self.sums[int(total), lowest < 0] += 1
                node += len(self.urls) > 1
            except self.allowed:
                node += 1
            await self.way.pause(PAUSE)

    def _is_done(self) -> bool:
        if self.orders is None or self.unexpected:
            return bool(self.unexpected)
        settled = (self.done, self.applied, self.repeated, self.failed)
        return sum(map(len, settled)) >= self.writers * self.orders

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except BaseException as error:  # noqa: BLE001 - the test tells it
            self.unexpected.append(error)

    def _note(self, error: Exception) -> None:
        self.errors.append(next(c.__name__ for c in type(error).__mro__ if c.__module__ == HOME))

    def _join(self) -> None:
        deadline = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
        assert not any(thread.is_alive() for thread in self._threads), "a writer hangs"


def contents(engine: Engine) -> tuple[Sequence[Any], dict[int, int]]:
    """Return the rows of all transfers, and the balances, both of one moment."""
    with engine.connect() as connection:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        rows = connection.execute(select(transfer)).all()
        balances = connection.execute(select(account.c.id, account.c.balance)).all()
    return rows, {row.id: row.balance for row in balances}


def agreed(engines: Sequence[Engine]) -> list[tuple[Sequence[Any], dict[int, int]]]:
    """Return the contents of all nodes as soon as they are the same."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            found = [contents(engine) for engine in engines]
        except rx.DatabaseError:  # the tables are not there yet
            if time.monotonic() > deadline:
                raise
        else:
            if len({len(rows) for rows, _ in found}) == 1 or time.monotonic() > deadline:
                return found
        time.sleep(PAUSE)


Direct = Callable[[URL], Engine]
"""Makes an engine for the test itself."""

StartLoad = Callable[..., Load]
"""Makes the tables and a load: the URLs, the errors that a caller may see, ``home`` where the
tables are made if not at the first URL, and options of Load."""
