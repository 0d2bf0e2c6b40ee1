"""Measure migrations beside Alembic, Reflex and Django, and write docs/benchmarks.md.

python benchmarks/migrations.py                      everything; PostgreSQL where
                                                     RXDB_TEST_POSTGRESQL has its URL
python benchmarks/migrations.py upgrade autogenerate only these; the page stays as it is
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

import projects
import runner
import sqlalchemy as sa
from runner import Case, Goal, Outcome, Worker

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "benchmarks.md"
WORKERS = Path(__file__).with_name("workers.py")
VARIABLE = "RXDB_TEST_POSTGRESQL"
PEERS = ("Alembic", "Reflex", "Django", "SQLAlchemy", "SQLModel", "psycopg")

QUIET = {
    "REFLEX_TELEMETRY_ENABLED": "false",
    "TELEMETRY_ENABLED": "false",
    "REFLEX_CHECK_LATEST_VERSION": "false",
    "RXDB_TEST_POSTGRESQL": "",
}
"""What keeps the peers from asking the network, which would count against them."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Where databases are made for the measurements."""

    title: str

    version: str

    make: Callable[[Path], str]
    """Create an empty database, and return its URL."""

    drop: Callable[[str], None]
    """Take the database away again."""

    @contextmanager
    def database(self, folder: Path) -> Iterator[str]:
        """Yield the URL of a database of its own."""
        url = self.make(folder)
        try:
            yield url
        finally:
            self.drop(url)

    @contextmanager
    def argument(self, folder: Path) -> Iterator[dict[str, str]]:
        """Yield a database as the argument of a worker's function."""
        with self.database(folder) as url:
            yield {"url": url}


def make_file(folder: Path) -> str:
    """Name a file that is not there yet."""
    return f"sqlite:///{folder}/{uuid4().hex[:12]}.db"


def drop_file(url: str) -> None:
    """Delete a database file with what SQLite puts beside it."""
    file = Path(sa.make_url(url).database or "")
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()


def make_on_server(server: sa.URL, _: Path) -> str:
    """Create a database on the server."""
    name = f"rxdb_{uuid4().hex[:12]}"
    on_server(server, f"CREATE DATABASE {name}")
    return server.set(database=name).render_as_string(hide_password=False)


def drop_on_server(server: sa.URL, url: str) -> None:
    """Drop a database, whoever still keeps a connection to it."""
    on_server(server, f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")


def on_server(server: sa.URL, statement: str) -> str:
    """Execute one statement outside of a transaction, and return the first value."""
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        result = connection.exec_driver_sql(statement)
        return str(result.scalar()) if result.returns_rows else ""


SQLITE = Backend(title="SQLite", version=sqlite3.sqlite_version, make=make_file, drop=drop_file)


def backends() -> list[Backend]:
    """Return SQLite, and PostgreSQL where its server is known."""
    if not (given := os.environ.get(VARIABLE)):
        print('PostgreSQL is not measured. Run: eval "$(ci/servers up postgresql)"')
        return [SQLITE]
    server = sa.make_url(given).set(drivername="postgresql+psycopg")
    make, drop = partial(make_on_server, server), partial(drop_on_server, server)
    version = on_server(server, "SHOW server_version").partition(" ")[0]
    return [SQLITE, Backend(title="PostgreSQL", version=version, make=make, drop=drop)]


# The works


def upgrade(backend: Backend, folder: Path, rounds: int, stack: ExitStack) -> Case:
    """Apply CHAIN revisions to an empty database."""
    versions = folder / "versions"
    count = projects.chain(versions)
    expected = [projects.identifier(projects.CHAIN - 1), count]
    own = at(stack, projects.for_rxdb(folder / "rxdb", versions))
    peer = at(stack, projects.for_alembic(folder / "alembic", versions))
    given = partial(backend.argument, folder)
    return Case(
        title=f"Upgrade through {projects.CHAIN} revisions, {backend.title}",
        note="In process, on the same folder of revisions and an empty database each time. "
        "Alembic: its generic `env.py` and its defaults.",
        contestants=(
            runner.function("rxdb", own, "rxdb_upgrade", expected, given),
            runner.function("Alembic", peer, "alembic_upgrade", expected, given),
        ),
        goals=(Goal(contestant="rxdb", peer="Alembic", at_most=0.7),),
        rounds=rounds,
    )


def startup(backend: Backend, folder: Path, rounds: int, stack: ExitStack) -> Case:
    """Look whether a database with TABLES tables is up to date."""
    _, own, _, reflex = created(backend, folder, stack)
    return Case(
        title=f"Startup check with {projects.TABLES} tables, {backend.title}",
        note="In process, nothing connected yet. rxdb compares the revisions on disk with the "
        "database's, Reflex the models with the tables.",
        contestants=(
            runner.function("rxdb.check_schema()", own, "rxdb_check", "at head"),
            runner.function("Reflex's check", reflex, "reflex_check", []),
        ),
        goals=(Goal(contestant="rxdb.check_schema()", peer="Reflex's check", at_most=1 / 20),),
        rounds=rounds * 2,
    )


def autogenerate(backend: Backend, folder: Path, rounds: int, stack: ExitStack) -> Case:
    """Find out that TABLES tables are as the models want them."""
    (_, url), own, alembic, reflex = created(backend, folder, stack)
    goal = "Alembic's compare_metadata(), types and server defaults"
    peers = {
        goal: {"compare_type": True, "compare_server_default": True},
        "Alembic's compare_metadata(), its defaults": {},
    }
    return Case(
        title=f"Autogenerate with {projects.TABLES} tables and no change, {backend.title}",
        note="In process, with a new connection. rxdb and `alembic check` also read the revisions "
        "and run `env.py`; `compare_metadata()` compares and does nothing else. rxdb compares "
        "types and server defaults, which Alembic does on request and Reflex does not. A quarter "
        "of the tables got a column after they were made.",
        contestants=(
            runner.function("rxdb.migrations.differences()", own, "rxdb_differences", []),
            *(
                runner.function(name, alembic, "alembic_compare", [], same({"url": url, **options}))
                for name, options in peers.items()
            ),
            runner.function("alembic check", alembic, "alembic_check", [], same({"url": url})),
            runner.function("Reflex's comparison", reflex, "reflex_check", []),
        ),
        goals=(Goal(contestant="rxdb.migrations.differences()", peer=goal, at_most=0.5),),
        rounds=rounds,
    )


def created(
    backend: Backend, folder: Path, stack: ExitStack
) -> tuple[tuple[str, str], Worker, Worker, Worker]:
    """Create the tables of the models twice, and start workers for rxdb, Alembic and Reflex.

    rxdb has a database for itself: the peers would take its log for a table that is not wanted.
    """
    versions = folder / "versions"
    projects.creation(versions)
    url, peers = (stack.enter_context(backend.database(folder)) for _ in range(2))
    own = at(stack, projects.for_rxdb(folder / "rxdb", versions), {"RXDB_URL": url})
    alembic = at(stack, projects.for_alembic(folder / "alembic", versions))
    reflex = at(stack, projects.for_reflex(folder / "reflex", versions), {"REFLEX_DB_URL": peers})
    newest = projects.identifier(projects.REVISIONS - 1)
    own.run("rxdb_upgrade", [newest, projects.TABLES], url=url)
    alembic.run("alembic_upgrade", [newest, projects.TABLES], url=peers)
    return (url, peers), own, alembic, reflex


def processes(backend: Backend, folder: Path, rounds: int, stack: ExitStack) -> Case:
    """Run the commands that tell whether a database is up to date."""
    (url, peers), *_ = created(backend, folder, stack)
    variables = {**QUIET, "RXDB_URL": url, "REFLEX_DB_URL": peers, "REFLEX_DIR": f"{folder}/home"}
    django = projects.for_django(folder / "django")
    python, bin_ = sys.executable, Path(sys.executable).parent
    newest = projects.identifier(projects.REVISIONS - 1)
    own, alembic, reflex = folder / "rxdb", folder / "alembic", folder / "reflex"
    projects.replace(alembic / "alembic.ini", "driver://user:pass@localhost/dbname", peers)
    program = partial(runner.program, variables=variables)
    program("", python, "manage.py", "migrate", folder=django).run()
    check = "import rxdb; print(rxdb.check_schema())"
    ours = ("rxdb db status", "rxdb.check_schema()")
    return Case(
        title=f"As processes, {projects.REVISIONS} revisions, {backend.title}",
        note=f"Each from the start of Python to its end, on a database that is up to date: "
        f"{projects.TABLES} tables made by {projects.REVISIONS} revisions.",
        contestants=(
            program("rxdb db status", f"{bin_}/rxdb", "db", "status", folder=own, prints=newest),
            program("rxdb.check_schema()", python, "-c", check, folder=own, prints="at head"),
            program(
                "reflex db status", f"{bin_}/reflex", "db", "status", folder=reflex, prints=newest
            ),
            program(
                "django migrate --check", python, "manage.py", "migrate", "--check", folder=django
            ),
            program("alembic current", f"{bin_}/alembic", "current", folder=alembic, prints=newest),
            program("python -c pass", python, "-c", "pass", folder=own),
        ),
        goals=tuple(
            Goal(contestant=name, peer=peer, at_most=most)
            for name in ours
            for peer, most in (("reflex db status", 0.35), ("django migrate --check", 1))
        ),
        rounds=rounds,
    )


WORKS: dict[str, Callable[[Backend, Path, int, ExitStack], Case]] = {
    "upgrade": upgrade,
    "startup": startup,
    "autogenerate": autogenerate,
    "processes": processes,
}


def at(stack: ExitStack, folder: Path, variables: Mapping[str, str] | None = None) -> Worker:
    """Start a worker in a project."""
    given = {**QUIET, "REFLEX_DIR": f"{folder}/home", **(variables or {})}
    return stack.enter_context(runner.worker(WORKERS, folder=folder, variables=given))


def same(arguments: Mapping[str, Any]) -> Callable[[], AbstractContextManager[Mapping[str, Any]]]:
    """Give the same arguments each time."""
    return lambda: nullcontext(arguments)


def main() -> int:
    """Measure, print, and write the page when everything was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("works", nargs="*", metavar="WORK", help=", ".join(WORKS))
    parser.add_argument("--rounds", type=int, default=11, help="how often; 11 where not given")
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
    if not options.works and len(known) > 1:
        runner.publish(PAGE, "migrations", versions(known), outcomes)
    return 0


def measured(name: str, known: Sequence[Backend], rounds: int) -> Iterator[Outcome]:
    """Measure one work on each backend that it is for."""
    for backend in known if WORKS[name] is not processes else known[:1]:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rxdb-")))
            case = WORKS[name](backend, folder, rounds, stack)
            print(f"{case.title} …", flush=True)
            yield runner.measure(case)


def versions(known: Sequence[Backend], packages: Sequence[str] = PEERS) -> str:
    """Say what was measured."""
    found = {
        "Python": platform.python_version(),
        **{backend.title: backend.version for backend in known},
        **{title: metadata.version(title.lower()) for title in packages},
    }
    return ", ".join(f"{title} {version}" for title, version in found.items()) + "."


if __name__ == "__main__":
    sys.exit(main())
