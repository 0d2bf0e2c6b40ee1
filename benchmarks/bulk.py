"""Measure rx.bulk_insert and rx.upsert beside the drivers and SQLAlchemy; docs/benchmarks.md.

python benchmarks/bulk.py                  everything; each server where RXDB_TEST_… has its URL
python benchmarks/bulk.py insert           only this; the page stays as it is
python benchmarks/bulk.py --rows 1000000   more rows; the page stays as it is
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from itertools import chain, repeat
from pathlib import Path
from uuid import uuid4

import runner
import sqlalchemy as sa
from runner import Case, Contestant, Goal, Outcome, Worker

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "benchmarks.md"
WORKERS = Path(__file__).with_name("bulk_workers.py")
SEARCHED = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "dialects")])
VERSIONS = ("SQLAlchemy", "SQLModel", "psycopg", "PyMySQL")

ROWS = 100_000
FEW = 10
"""Of many more rows ``add_all`` gets this part, and ``merge`` a fifth of that part always; their
times are multiplied, so that they do not take most of the run. The round that warms up has this
part of the rows for all."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """One database, and how fast rxdb shall be there beside the driver and Core."""

    title: str
    variable: str
    driver: str
    raw: str
    best: float
    core: float


SERVERS = (
    Server(
        title="SQLite",
        variable="",
        driver="sqlite",
        raw="sqlite3 executemany",
        best=1 / 0.8,
        core=1 / 1.5,
    ),
    Server(
        title="PostgreSQL",
        variable="RXDB_TEST_POSTGRESQL",
        driver="postgresql+psycopg",
        raw="psycopg COPY",
        best=1 / 0.8,
        core=1 / 2.5,
    ),
    Server(
        title="MySQL",
        variable="RXDB_TEST_MYSQL",
        driver="mysql+pymysql",
        raw="LOAD DATA LOCAL of a pipe",
        best=1 / 0.8,
        core=1 / 1.3,
    ),
    Server(
        title="MariaDB",
        variable="RXDB_TEST_MARIADB",
        driver="mariadb+pymysql",
        raw="LOAD DATA LOCAL of a pipe",
        best=1 / 0.8,
        core=1 / 1.3,
    ),
)


def rounded(ratio: float) -> float:
    """Return a goal as people read it."""
    return round(ratio, 3)


@contextmanager
def database(server: Server, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty database."""
    if not server.variable:
        yield f"sqlite:///{folder}/bulk.db"
        return
    url = sa.make_url(os.environ[server.variable]).set(drivername=server.driver)
    name = f"rxdb_{uuid4().hex[:12]}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        force = " WITH (FORCE)" if server.driver.startswith("postgresql") else ""
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}{force}")


def contestant(
    name: str, at: Worker, called: str, url: str, count: int, part: int = 1
) -> Contestant:
    """Return a contestant that writes a part of the rows; its time is that of all."""
    sizes = chain([count // part // FEW], repeat(count // part))

    def run() -> float:
        rows = next(sizes)
        return part * at.run(called, rows, url=url, count=rows)

    return Contestant(name=name, run=run)


def insert(server: Server, at: Worker, url: str, rows: int, rounds: int) -> Case:
    """Insert rows into an empty table."""
    part = 1 if rows <= ROWS else FEW
    note = f"add_all wrote {rows // part:,} rows, and its time is multiplied by {part}."
    return Case(
        title=f"Insert {rows:,} rows of 8 columns, {server.title}",
        contestants=[
            contestant("rx.bulk_insert", at, "bulk_insert", url, rows),
            contestant(server.raw, at, "raw", url, rows),
            contestant("Core's insert", at, "core_insert", url, rows),
            contestant("add_all", at, "add_all", url, rows, part),
        ],
        goals=[
            Goal(contestant="rx.bulk_insert", peer=server.raw, at_most=rounded(server.best)),
            Goal(contestant="rx.bulk_insert", peer="Core's insert", at_most=rounded(server.core)),
            Goal(contestant="rx.bulk_insert", peer="add_all", at_most=1 / 8),
        ],
        rounds=rounds,
        note=note if part > 1 else "",
    )


def upsert(server: Server, at: Worker, url: str, rows: int, rounds: int) -> Case:
    """Insert or update rows, half of which are there."""
    rows //= 2
    part = FEW * FEW // 2
    return Case(
        title=f"Upsert {rows:,} rows, half of them there, {server.title}",
        contestants=[
            contestant("rx.upsert", at, "upsert", url, rows),
            contestant("Core's upsert", at, "core_upsert", url, rows),
            contestant("Session.merge", at, "merge", url, rows, part),
        ],
        goals=[
            Goal(contestant="rx.upsert", peer="Core's upsert", at_most=rounded(1 / 1.3)),
            Goal(contestant="rx.upsert", peer="Session.merge", at_most=1 / 20),
        ],
        rounds=rounds,
        note=f"merge wrote {rows // part:,} rows, and its time is multiplied by {part}.",
    )


CASES = {"insert": insert, "upsert": upsert}


def peak(url: str, folder: Path, rows: int) -> int:
    """Return the most memory, in MB, that a new process has while it writes *rows*."""
    done = subprocess.run(
        [sys.executable, str(WORKERS)],
        input=json.dumps(["memory", {"url": url, "count": rows}]),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": SEARCHED},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(json.loads(done.stdout)[1])


def main() -> int:
    """Measure, print, and write the page when everything was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("works", nargs="*", metavar="WORK", help="insert, upsert, memory")
    parser.add_argument("--rounds", type=int, default=5, help="how often; 5 where not given")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"{ROWS} where not given")
    options = parser.parse_args()
    works = options.works or [*CASES, "memory"]
    if unknown := set(works) - {*CASES, "memory"}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    known = [s for s in SERVERS if not s.variable or os.environ.get(s.variable)]
    outcomes: list[Outcome] = []
    peaks: list[tuple[str, ...]] = []
    with runner.bytecode(), tempfile.TemporaryDirectory(prefix="rxdb-") as name:
        folder = Path(name)
        for server in known:
            with (
                database(server, folder) as url,
                runner.worker(WORKERS, folder=folder, variables={"PYTHONPATH": SEARCHED}) as at,
            ):
                for work in works:
                    print(f"{work}, {server.title} …", flush=True)
                    if work in CASES:
                        case = CASES[work](server, at, url, options.rows, options.rounds)
                        outcomes.append(runner.measure(case))
                    else:
                        found = [peak(url, folder, rows) for rows in (ROWS, 10 * ROWS)]
                        peaks.append((server.title, *(f"{mb} MB" for mb in found)))
    runner.show(outcomes)
    head = ("rx.bulk_insert of a generator", f"{ROWS:,} rows", f"{10 * ROWS:,} rows")
    memory = _table(head, peaks)
    print(memory)
    if not options.works and len(known) == len(SERVERS) and options.rows == ROWS:
        more = ["### The most memory of the process", memory]
        runner.publish(PAGE, "bulk", versions(), outcomes, more)
    return 0


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def versions() -> str:
    """Say what was measured."""
    found = {
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        **{title: metadata.version(title.lower()) for title in VERSIONS},
    }
    return ", ".join(f"{title} {version}" for title, version in found.items()) + "."


if __name__ == "__main__":
    sys.exit(main())
