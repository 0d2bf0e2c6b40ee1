"""Measure sessions beside those of Reflex, SQLModel, Django and others, and write the page.

python benchmarks/sessions.py                everything; servers where RXDB_TEST_POSTGRESQL and
                                             RXDB_TEST_MYSQL have their URLs
python benchmarks/sessions.py read threads   only these; docs/benchmarks.md stays as it is
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import migrations
import runner
import sqlalchemy as sa
from migrations import PAGE, QUIET, SQLITE, Backend
from runner import Case, Contestant, Goal, Outcome

HERE = Path(__file__).parent
DELAY = 0.0005
"""Seconds on each round trip: a server in the same data centre."""

COUNT = 100
"""Sessions that are timed at once: one is too short for the clock's noise."""

SIZED = {f"rxdb, {size} connections": ("rxdb", size) for size in (5, 20)}
"""The pool of rxdb beside its default of 10, to see what the size changes."""

WAIT = 0.005
"""Seconds that a query waits at the server."""

SECONDS = 1.5
"""How long the threads run."""

THREADS_ROUNDS = 9
"""At most: each of its contestants takes SECONDS in each round."""

FEWER = 5
"""So many times fewer sessions at once where each takes long, or where there are more rounds."""

SERVERS = {"PostgreSQL": "postgresql+psycopg", "MySQL": "mysql+pymysql"}

TITLES = {
    "rxdb": "rx.session()",
    "rxdb_read_only": "rx.session(read_only=True)",
    "rxdb_kept": "rx.session(expire_on_commit=False)",
    "sqlmodel_on_rxdb": "sqlmodel.Session on rxdb's engine",
    "sqlmodel": "sqlmodel.Session",
    "sqlalchemy": "sqlalchemy.orm.Session",
    "reflex": "Reflex",
    "advanced_alchemy": "advanced-alchemy",
    "flask_sqlalchemy": "Flask-SQLAlchemy",
    "django": "Django",
    "driver": "the driver alone",
}
OWN, REFLEX = TITLES["rxdb"], TITLES["reflex"]
PEERS = [name for name in TITLES if "rxdb" not in name]


# Where it is measured


def backends() -> list[Backend]:
    """Return SQLite, and the servers that are known."""
    found = [SQLITE]
    for title, scheme in SERVERS.items():
        variable = f"RXDB_TEST_{title.upper()}"
        if not (given := os.environ.get(variable)):
            print(f'{title} is not measured. Run: eval "$(ci/servers up {title.lower()})"')
            continue
        server = sa.make_url(given).set(drivername=scheme)
        version = migrations.on_server(server, "SELECT version()").removeprefix(f"{title} ")
        found.append(
            Backend(
                title=title,
                version=version.partition(" ")[0],
                make=partial(migrations.make_on_server, server),
                drop=partial(drop, server),
            )
        )
    return found


def drop(server: sa.URL, url: str) -> None:
    """Drop a database; all workers have ended."""
    migrations.on_server(server, f"DROP DATABASE {sa.make_url(url).database}")


@contextmanager
def heroes(backend: Backend, folder: Path) -> Iterator[str]:
    """Yield the URL of a database with one hero."""
    with backend.database(folder) as url:
        metadata = sa.MetaData()
        key = sa.Column("id", sa.Integer, primary_key=True)
        table = sa.Table("hero", metadata, key, sa.Column("name", sa.String(100), nullable=False))
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(table.insert(), {"name": "Tarantula"})  # its key is 1
        yield url


def own(backend: Backend, folder: Path, stack: ExitStack) -> Callable[[], str]:
    """Return what makes another database each time: a file of SQLite stays in the journal mode that
    the first who opens it asks for."""
    return lambda: stack.enter_context(heroes(backend, folder))


@contextmanager
def delayed(url: str) -> Iterator[str]:
    """Put a delay on each round trip to a server, and yield the URL that has it."""
    server = sa.make_url(url)
    place = (str(server.host), str(server.port), str(DELAY))
    command = [sys.executable, str(HERE / "latency.py"), *place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield server.set(port=port).render_as_string(hide_password=False)
        process.terminate()


# The works


def read(backend: Backend, folder: Path, rounds: int, stack: ExitStack) -> Case:
    """Open a session, get an object by its key, close."""
    most = {} if backend is SQLITE else {OWN: 0.85}
    if backend.title == "PostgreSQL":
        most["rx.session(read_only=True)"] = 0.55
    names = ["rxdb", "rxdb_read_only", *PEERS]
    make = own(backend, folder, stack)
    return Case(
        title=f"Read an object, {backend.title}",
        note="Open a session, get an object by its key, close the session.",
        contestants=contestants(names, "read", make, folder, stack, "Tarantula"),
        goals=against_reflex(most),
        rounds=rounds,
    )


def overhead(backend: Backend, folder: Path, rounds: int, stack: ExitStack) -> Case:
    """Read with a session of rxdb and with one of SQLModel, on the same engine."""
    url = stack.enter_context(heroes(backend, folder))
    worker = started(folder / "overhead", stack)  # one process: two differ by more than 5 %
    names = ["rxdb", "sqlmodel_on_rxdb"]
    return Case(
        title=f"The session itself, {backend.title}",
        note="The same read, with both kinds of session in one process and on one engine.",
        contestants=tuple(
            contestant(name, "read", url, worker, "Tarantula", COUNT // FEWER) for name in names
        ),
        goals=(Goal(contestant=OWN, peer=TITLES["sqlmodel_on_rxdb"], at_most=1.05),),
        rounds=rounds * FEWER,
    )


def far(backend: Backend, folder: Path, rounds: int, stack: ExitStack) -> Case:
    """Read where the server is not on the same machine."""
    near = stack.enter_context(heroes(backend, folder))
    url = stack.enter_context(delayed(near))
    names = ["rxdb", "rxdb_read_only", "sqlmodel", "reflex", "django", "driver"]
    return Case(
        title=f"Read an object with {DELAY * 1000:g} ms on each round trip, {backend.title}",
        note="The same through a program that holds each message to the server back.",
        contestants=contestants(
            names, "read", lambda: url, folder, stack, "Tarantula", COUNT // FEWER
        ),
        goals=against_reflex({"rx.session(read_only=True)": 0.35}),
        rounds=rounds,
    )


def write(backend: Backend, folder: Path, rounds: int, stack: ExitStack) -> Case:
    """Open a session, add an object, commit, close."""
    make = own(backend, folder, stack)
    disk = f" A page of 4 KiB was on the disk after {runner.milliseconds(sync(folder))}."
    return Case(
        title=f"Write an object, {backend.title}",
        note="Open a session, add an object, commit, close the session. Each library has a "
        "database of its own." + (disk if backend is SQLITE else ""),
        contestants=contestants(["rxdb", *PEERS], "write", make, folder, stack, expected=True),
        goals=against_reflex({OWN: 0.3} if backend is SQLITE else {}),
        rounds=rounds,
    )


def sync(folder: Path) -> float:
    """Return what fsync takes, which decides how much SQLite gains by fewer of them."""
    times = []
    with (folder / "page").open("wb") as file:
        for _ in range(COUNT):
            file.write(bytes(4096))
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times)


def key(backend: Backend, folder: Path, rounds: int, stack: ExitStack) -> Case:
    """Open a session, add an object, commit, read its new key, close."""
    make = own(backend, folder, stack)
    names = ["rxdb", "rxdb_kept", "sqlmodel", "reflex", "advanced_alchemy", "flask_sqlalchemy"]
    most = {TITLES["rxdb_kept"]: 0.5} if backend.title == "PostgreSQL" else {}
    return Case(
        title=f"Write an object and read its key, {backend.title}",
        note="Open a session, add an object, commit, read the new key, close the session.",
        contestants=contestants(names, "write and read", make, folder, stack, expected=True),
        goals=against_reflex(most),
        rounds=rounds,
    )


def against_reflex(most: dict[str, float]) -> tuple[Goal, ...]:
    """Return the goals: a contestant, and the part of Reflex's time that it may take."""
    return tuple(Goal(contestant=c, peer=REFLEX, at_most=part) for c, part in most.items())


def contestants(
    names: Sequence[str],
    work: str,
    make: Callable[[], str],
    folder: Path,
    stack: ExitStack,
    expected: object,
    count: int = COUNT,
) -> tuple[Contestant, ...]:
    """Start a process for each library."""
    return tuple(
        contestant(name, work, make(), started(folder / f"{name}-{work}", stack), expected, count)
        for name in names
    )


def contestant(
    name: str, work: str, url: str, worker: runner.Worker, expected: object, count: int = COUNT
) -> Contestant:
    """Let a process open *count* sessions at once."""
    arguments = {"library": name, "work": work, "url": url, "count": count}

    def run() -> float:
        return worker.run("sessions", expected, **arguments) / count

    return Contestant(name=TITLES[name], run=run)


def started(folder: Path, stack: ExitStack) -> runner.Worker:
    """Start a worker in a folder of its own."""
    folder.mkdir()
    quiet = {**QUIET, "REFLEX_DIR": f"{folder}/home"}
    file = HERE / "session_workers.py"
    return stack.enter_context(runner.worker(file, folder=folder, variables=quiet))


def threads(backend: Backend, folder: Path, rounds: int, stack: ExitStack) -> Outcome:
    """Let 64 threads share the connections of one pool, as it is made by default."""
    pools = {"rxdb": ("rxdb", 0), "SQLAlchemy": ("QueuePool", 0), **SIZED}
    case = Case(
        title=f"64 threads on one pool, {backend.title}",
        note="Each takes a connection, asks `SELECT 1` and gives it back, again and again, for "
        f"{SECONDS:g} s. A wait is the time until a thread has its connection; *each* is the time "
        "of the whole divided by the number of queries. Where most waits are short and one takes "
        "as long as the whole, threads starve.",
        contestants=(),
        goals=(
            Goal(contestant="rxdb: slowest wait", peer="rxdb: median wait", at_most=3),
            Goal(contestant="rxdb: each", peer="SQLAlchemy: each", at_most=1),
        ),
        rounds=min(rounds, THREADS_ROUNDS),
    )
    return on_one_pool(case, pools, "SELECT 1", backend, folder, stack)


def waiting(backend: Backend, folder: Path, rounds: int, stack: ExitStack) -> Outcome:
    """Let them ask what takes the server time, but none of its processors'."""
    case = Case(
        title=f"64 threads on one pool whose queries wait {WAIT * 1000:g} ms, {backend.title}",
        note="The same with a query that waits at the server, as for a lock or a disk.",
        contestants=(),
        goals=(),
        rounds=min(rounds, THREADS_ROUNDS),
    )
    pools = {"rxdb": ("rxdb", 0), **SIZED}
    return on_one_pool(case, pools, f"SELECT pg_sleep({WAIT})", backend, folder, stack)


def on_one_pool(
    case: Case,
    pools: dict[str, tuple[str, int]],
    statement: str,
    backend: Backend,
    folder: Path,
    stack: ExitStack,
) -> Outcome:
    """Measure threads that share a pool, of several kinds and sizes; 0 means the default."""
    url = stack.enter_context(heroes(backend, folder))
    workers = {name: started(folder / f"pool-{number}", stack) for number, name in enumerate(pools)}
    times: dict[str, list[float]] = {}
    for number in range(case.rounds):
        for name in runner.turned(list(pools), number):
            pool, size = pools[name]
            arguments = {"pool": pool, "url": url, "size": size, "statement": statement}
            _, found = workers[name].call("threads", **arguments, seconds=SECONDS)
            for label, what in (("slowest", "slowest wait"), ("median", "median wait")):
                times.setdefault(f"{name}: {what}", []).append(found[label])
            times.setdefault(f"{name}: each", []).append(found["each"])
    return Outcome(case=case, times=times)


WORKS: dict[str, Callable[[Backend, Path, int, ExitStack], Case | Outcome]] = {
    "overhead": overhead,
    "read": read,
    "far": far,
    "write": write,
    "key": key,
    "threads": threads,
    "waiting": waiting,
}
ONLY = {
    "far": ("PostgreSQL",),
    "write": ("SQLite", "PostgreSQL"),
    "key": ("PostgreSQL",),
    "threads": ("PostgreSQL",),
    "waiting": ("PostgreSQL",),
}
"""Works that are not measured everywhere."""


def main() -> int:
    """Measure, print, and write the page when everything was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("works", nargs="*", metavar="WORK", help=", ".join(WORKS))
    parser.add_argument("--rounds", type=int, default=15, help="how often; 15 where not given")
    options = parser.parse_args()
    if unknown := set(options.works) - set(WORKS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    known = backends()
    with runner.bytecode():
        outcomes = [
            outcome
            for name in options.works or WORKS
            for outcome in measured(name, known, options.rounds)
        ]
    runner.show(outcomes)
    if not options.works and len(known) > len(SERVERS):
        runner.publish(PAGE, "sessions", versions(known), outcomes)
    return 0


def measured(name: str, known: Sequence[Backend], rounds: int) -> Iterator[Outcome]:
    """Measure one work on each backend that it is for."""
    titles = ONLY.get(name, ("SQLite", *SERVERS))
    for backend in (one for one in known if one.title in titles):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rxdb-")))
            print(f"{name}, {backend.title} …", flush=True)
            found = WORKS[name](backend, folder, rounds, stack)
            yield found if isinstance(found, Outcome) else runner.measure(found)


def versions(known: Sequence[Backend]) -> str:
    """Say what was measured."""
    peers = ("Reflex", "Django", "Flask-SQLAlchemy", "advanced-alchemy", "psycopg", "PyMySQL")
    return migrations.versions(known, ("SQLAlchemy", "SQLModel", *peers))


if __name__ == "__main__":
    sys.exit(main())
