"""What each process of benchmarks/sqlite_load.py does: read a row, add one to it, commit.

Each contestant is used as its documentation shows it. The latency of a transaction is the time from
the wish to write until the caller has an answer, also where that is an error.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import runner

Step = Callable[[int], Any]
"""Do one transaction on the row of this number."""


@dataclass
class Seen:
    """What one thread or task has seen."""

    writes: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    committed: int = 0
    locked: int = 0


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one process does."""

    count: int
    """Threads or tasks."""
    seconds: float
    rows: int
    reads: float
    """The part of the transactions that only read."""
    start: float
    """When all processes begin, as of ``time.time()``."""
    seed: int
    own_row: int
    """A row that no other process writes: for the transaction that opens the first connection."""


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How one contestant writes and reads."""

    write: Step
    read: Step


def rxdb(url: str) -> Ways:
    """Use rx.session()."""
    import rxdb as rx

    counter = model()

    def write(number: int) -> None:
        with rx.session(url) as session:
            add_one(session, counter, number)

    def read(number: int) -> None:
        with rx.session(url, read_only=True) as session:
            session.get(counter, number)

    return Ways(write=write, read=read)


def reflex(url: str) -> Ways:
    """Use Reflex's rx.session()."""
    return of_sessions(lambda: import_module("reflex.model").session(url))


def recipe(url: str) -> Ways:
    """Use SQLAlchemy with the events that its documentation gives for SQLite's transactions."""
    from sqlmodel import Session

    engine = create_engine(url)
    return of_sessions(lambda: Session(engine))


def of_sessions(session: Callable[[], Any]) -> Ways:
    """Write and read in the same kind of session."""
    counter = model()

    def write(number: int) -> None:
        with session() as opened:
            add_one(opened, counter, number)

    def read(number: int) -> None:
        with session() as opened:
            opened.get(counter, number)

    return Ways(write=write, read=read)


def django(url: str) -> Ways:
    """Use Django's models, with the options that its documentation gives for concurrent writers."""
    settings = import_module("django.conf").settings
    database_layer = import_module("django.db")
    connections, models = database_layer.connections, import_module("django.db.models")
    transaction = database_layer.transaction
    options = {
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": url.removeprefix("sqlite:///"),
        "OPTIONS": options,
    }
    if not settings.configured:
        settings.configure(DATABASES={"default": database})
        import_module("django").setup()
        _django.append(
            type(
                "Counter",
                (models.Model,),
                {
                    "__module__": __name__,
                    "n": models.IntegerField(),
                    "Meta": type("Meta", (), {"app_label": "load", "db_table": "counter"}),
                },
            )
        )
    connections.close_all()
    settings.DATABASES["default"]["NAME"] = database["NAME"]
    connections.settings["default"]["NAME"] = database["NAME"]
    counter: Any = _django[0]

    def write(number: int) -> None:
        with transaction.atomic():
            row = counter.objects.get(pk=number)
            row.n += 1
            row.save()

    return Ways(write=write, read=lambda number: counter.objects.get(pk=number))


_django: list[Any] = []


def rxdb_async(url: str) -> Ways:
    """Use rx.asession()."""
    import rxdb as rx

    return of_async_sessions(lambda: rx.asession(url))


def reflex_async(url: str) -> Ways:
    """Use Reflex's rx.asession()."""
    asynchronous = url.replace("sqlite:", "sqlite+aiosqlite:")
    return of_async_sessions(lambda: import_module("reflex.model").asession(asynchronous))


def recipe_async(url: str) -> Ways:
    """Use SQLAlchemy's asynchronous side, with the same events."""
    from sqlmodel.ext.asyncio.session import AsyncSession

    engine = create_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    return of_async_sessions(lambda: AsyncSession(engine))


def of_async_sessions(session: Callable[[], Any]) -> Ways:
    """Write and read in the same kind of asynchronous session."""
    counter = model()

    async def write(number: int) -> None:
        async with session() as opened:
            row = await opened.get(counter, number)
            row.n += 1
            opened.add(row)
            await opened.commit()

    async def read(number: int) -> None:
        async with session() as opened:
            await opened.get(counter, number)

    return Ways(write=write, read=read)


def create_engine(url: str) -> Any:
    """Create an engine as SQLAlchemy's page on SQLite shows it, "Serializable isolation"."""
    from sqlalchemy import create_engine as create
    from sqlalchemy import event
    from sqlalchemy.ext.asyncio import create_async_engine

    given: Any = create_async_engine(url) if "aiosqlite" in url else create(url)
    engine = getattr(given, "sync_engine", given)

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    return given


def model() -> Any:
    """Return the model of the table, made once."""
    from sqlmodel import Field, SQLModel

    if not _models:

        class Counter(SQLModel, table=True):
            id: int = Field(primary_key=True)
            n: int

        _models.append(Counter)
    return _models[0]


_models: list[Any] = []


def add_one(session: Any, counter: Any, number: int) -> None:
    """Read a row and write it, through the ORM."""
    row = session.get(counter, number)
    row.n += 1
    session.add(row)
    session.commit()


WAYS: dict[str, Callable[[str], Ways]] = {
    "rxdb": rxdb,
    "Reflex": reflex,
    "SQLAlchemy with BEGIN": recipe,
    "Django": django,
}
ASYNC_WAYS: dict[str, Callable[[str], Ways]] = {
    "rxdb": rxdb_async,
    "Reflex": reflex_async,
    "SQLAlchemy with BEGIN": recipe_async,
}


def threads(contestant: str, url: str, **given: Any) -> runner.Work:
    """Run a load in threads."""
    load = Load(**given)
    ways = WAYS[contestant](url)
    for step in (ways.write, ways.read):
        with unless_locked_out():
            step(load.own_row)
    seen = [Seen() for _ in range(load.count)]

    def one(number: int) -> None:
        chosen = random.Random(load.seed * 1000 + number)
        time.sleep(max(0, load.start - time.time()))
        end = time.perf_counter() + load.seconds
        while time.perf_counter() < end:
            is_read = chosen.random() < load.reads
            row = chosen.randint(1, load.rows)
            begun = time.perf_counter()
            error = None
            try:
                (ways.read if is_read else ways.write)(row)
            except Exception as failed:  # noqa: BLE001 - each contestant has its own class
                error = failed
            note(seen[number], is_read=is_read, begun=begun, error=error)
        if contestant == "Django":
            import_module("django.db").connections.close_all()

    def work() -> runner.Work:
        running = [threading.Thread(target=one, args=(n,)) for n in range(load.count)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        return lambda: total(seen)

    return work


def tasks(contestant: str, url: str, **given: Any) -> runner.Work:
    """Run a load in tasks of one event loop."""
    load = Load(**given)
    ways = ASYNC_WAYS[contestant](url)
    seen = [Seen() for _ in range(load.count)]

    async def one(number: int) -> None:
        chosen = random.Random(load.seed * 1000 + number)
        await asyncio.sleep(max(0, load.start - time.time()))
        end = time.perf_counter() + load.seconds
        while time.perf_counter() < end:
            is_read = chosen.random() < load.reads
            begun = time.perf_counter()
            error = None
            step: Callable[[int], Awaitable[None]] = ways.read if is_read else ways.write
            try:
                await step(chosen.randint(1, load.rows))
            except Exception as failed:  # noqa: BLE001 - each contestant has its own class
                error = failed
            note(seen[number], is_read=is_read, begun=begun, error=error)

    async def run() -> None:
        for step in (ways.write, ways.read):
            with unless_locked_out():
                await step(load.own_row)
        await asyncio.gather(*(one(number) for number in range(load.count)))

    def work() -> runner.Work:
        asyncio.run(run())
        return lambda: total(seen)

    return work


def note(seen: Seen, *, is_read: bool, begun: float, error: Exception | None) -> None:
    """Write down one transaction; an error that is none of waiting in vain ends the run."""
    (seen.reads if is_read else seen.writes).append(time.perf_counter() - begun)
    if error is None:
        seen.committed += not is_read
    elif is_locked_out(error):
        seen.locked += 1
    else:
        raise error


def is_locked_out(error: Exception) -> bool:
    """Whether a contestant waited for others in vain."""
    return "locked" in str(error) or "QueuePool limit" in str(error)


@contextmanager
def unless_locked_out() -> Iterator[None]:
    """Open a first connection; who is locked out takes part in the rest all the same."""
    try:
        yield
    except Exception as failed:  # each contestant has its own class
        if not is_locked_out(failed):
            raise


def total(seen: list[Seen]) -> dict[str, Any]:
    """Add up what all have seen."""
    return {
        "writes": [latency for one in seen for latency in one.writes],
        "reads": [latency for one in seen for latency in one.reads],
        "committed": sum(one.committed for one in seen),
        "locked": sum(one.locked for one in seen),
        "version": sqlite3.sqlite_version,
    }


if __name__ == "__main__":
    runner.serve({"threads": threads, "tasks": tasks})
