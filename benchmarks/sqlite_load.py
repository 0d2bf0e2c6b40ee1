"""Measure writers of one SQLite file beside Reflex, SQLAlchemy and Django.

python benchmarks/sqlite_load.py             everything; writes its part of docs/benchmarks.md
python benchmarks/sqlite_load.py processes   only these; the page stays as it is
"""

from __future__ import annotations

import argparse
import math
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

import runner
from rich.console import Console
from rich.table import Table

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "benchmarks.md"
PLOT = CHECKOUT / "docs" / "plots" / "sqlite_load.svg"
WORKERS = Path(__file__).with_name("sqlite_workers.py")
PEERS = ("Reflex", "Django", "SQLAlchemy", "SQLModel", "aiosqlite")
QUIET = {"REFLEX_TELEMETRY_ENABLED": "false", "TELEMETRY_ENABLED": "false"}

PROCESSES = 4
ROWS = 1000
HOT = 10
"""Rows that all writers choose from: what is lost, is lost on hot rows."""
CALM = "seconds for a run to wait for a calm machine and to do again what others disturbed; 4"
HEAD_START = 0.3
"""Seconds until the workers begin, all at the same moment."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """How one contestant works under one load."""

    name: str
    contestant: str
    function: str = "threads"
    processes: int = 1
    each: int = 1
    """Threads or tasks in each process."""
    rows: int = ROWS
    reads: float = 0
    """The part of the transactions that only read."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one run came to; times in seconds."""

    rate: float
    """Commits in a second."""
    half: float
    p99: float
    slowest: float
    reads_p99: float
    lost: int
    locked: int


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What the ratio of one figure of two runs has to be."""

    own: str
    figure: str
    peer: str
    at_least: float = 0
    at_most: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Load:
    """Runs that are measured in turns."""

    title: str
    runs: Sequence[Run]
    goals: Sequence[Goal]
    times: int = 1
    """How many rounds there are for each that was asked for; of half the length where there are
    several. For ratios near 1: a rented processor's speed moves by more than that between runs."""

    def seconds(self, asked: float) -> float:
        """Return how long a run is."""
        return asked if self.times == 1 else asked / 2


CONTESTANTS = ("rxdb", "Reflex", "SQLAlchemy with BEGIN", "Django")
AGAINST_REFLEX = (
    Goal(own="rxdb", figure="rate", peer="Reflex", at_least=2.5),
    Goal(own="rxdb", figure="p99", peer="Reflex", at_most=0.5),
    Goal(own="rxdb", figure="slowest", peer="Reflex", at_most=0.4),
)
ALONE = "rxdb, one thread alone"


def of_all(contestants: Sequence[str] = CONTESTANTS, **options: Any) -> list[Run]:
    """Give each contestant the same load."""
    return [Run(name=name, contestant=name, **options) for name in contestants]


def beside_alone(rows: int) -> Load:
    """Return the load that tells what waiting for each other costs."""
    several = (
        Run(name="rxdb, 8 threads", contestant="rxdb", each=8, rows=rows),
        Run(name=f"rxdb, {PROCESSES} processes", contestant="rxdb", processes=PROCESSES, rows=rows),
    )
    return Load(
        title=f"Several and one thread alone, {rows:,} rows",
        runs=[*several, Run(name=ALONE, contestant="rxdb", rows=rows)],
        goals=[Goal(own=run.name, figure="rate", peer=ALONE, at_least=0.8) for run in several],
        times=8,
    )


def loads() -> dict[str, Load]:
    """Return all loads."""
    found = {}
    for key, rows in (("", ROWS), ("-hot", HOT)):
        found[f"threads{key}"] = Load(
            title=f"8 threads, {rows:,} rows",
            runs=of_all(each=8, rows=rows),
            goals=AGAINST_REFLEX,
        )
        found[f"processes{key}"] = Load(
            title=f"{PROCESSES} processes, {rows:,} rows",
            runs=of_all(processes=PROCESSES, rows=rows),
            goals=AGAINST_REFLEX,
        )
        found[f"alone{key}"] = beside_alone(rows)
        found[f"tasks{key}"] = Load(
            title=f"50 tasks of an event loop, {rows:,} rows",
            runs=of_all(CONTESTANTS[:3], function="tasks", each=50, rows=rows),
            goals=[],
        )
    found["mix"] = Load(
        title="8 threads, 80 % of the transactions only read",
        runs=[
            *of_all(each=8, reads=0.8),
            Run(name="rxdb, readers alone", contestant="rxdb", each=8, reads=1),
        ],
        goals=[Goal(own="rxdb", figure="reads_p99", peer="rxdb, readers alone", at_most=2)],
    )
    return found


class Bench:
    """The processes of all contestants, and the folder of the databases."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.folder, self.numbers = folder, count()
        self.workers = {
            name: [self._worker(stack, f"{name}-{n}") for n in range(PROCESSES)]
            for name in CONTESTANTS
        }
        self.pool = stack.enter_context(ThreadPoolExecutor(PROCESSES))

    def _worker(self, stack: ExitStack, name: str) -> runner.Worker:
        own = self.folder / name
        own.mkdir()
        given = {**QUIET, "REFLEX_DIR": f"{own}/home"}
        return stack.enter_context(runner.worker(WORKERS, folder=own, variables=given))

    def measure(self, run: Run, seconds: float) -> Figures:
        """Run one contestant on a new database, and count what is there afterwards."""
        number = next(self.numbers)
        path = self.folder / f"{number}.db"
        numbers = [(n + 1,) for n in range(ROWS + PROCESSES)]
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)")
            database.executemany("INSERT INTO counter VALUES (?, 0)", numbers)
        arguments = {
            "contestant": run.contestant,
            "url": f"sqlite:///{path}",
            "count": run.each,
            "seconds": seconds,
            "rows": run.rows,
            "reads": run.reads,
        }
        workers = self.workers[run.contestant][: run.processes]
        start = time.time() + HEAD_START
        answers = [
            self.pool.submit(
                w.call,
                run.function,
                **arguments,
                start=start,
                seed=number * 10 + n,
                own_row=ROWS + 1 + n,
            )
            for n, w in enumerate(workers)
        ]
        found = [answer.result()[1] for answer in answers]
        with closing(sqlite3.connect(path)) as database:
            query = "SELECT sum(n) FROM counter WHERE id <= ?"
            ((stored,),) = database.execute(query, (ROWS,))
        return figures(found, stored, seconds)


def figures(found: Sequence[Mapping[str, Any]], stored: int, seconds: float) -> Figures:
    """Sum up what the workers saw, and what is stored."""
    writes = [latency for one in found for latency in one["writes"]] or [0.0]
    reads = [latency for one in found for latency in one["reads"]] or [0.0]
    committed = sum(one["committed"] for one in found)
    return Figures(
        rate=committed / max(seconds, *writes),
        half=statistics.median(writes),
        p99=percentile(writes, 99),
        slowest=max(writes),
        reads_p99=percentile(reads, 99),
        lost=committed - stored,
        locked=sum(one["locked"] for one in found),
    )


def percentile(values: Iterable[float], percent: int) -> float:
    """Return the value that *percent* of all do not pass."""
    ordered = sorted(values)
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


Results = dict[str, list[Figures]]
"""For each run of a load, what each round came to."""


def measure(bench: Bench, load: Load, rounds: int, seconds: float, calm: runner.Calm) -> Results:
    """Run all in turns; each round begins with another one."""
    results: Results = {run.name: [] for run in load.runs}
    for number in range(rounds * load.times):
        for name in runner.turned(list(results), number):
            (run,) = (run for run in load.runs if run.name == name)
            results[name].append(calm.run(partial(bench.measure, run, load.seconds(seconds))))
    return results


HEAD = (
    ("Contestant", "commits/s", "median", "p99", "slowest", "reads' p99", "lost", "locked"),
    ("Load", "Goal", "Measured", "Met"),
)
LABELS = {
    "rate": "commits/s",
    "p99": "p99",
    "slowest": "the slowest",
    "reads_p99": "the readers' p99",
}


def rows(results: Results) -> list[tuple[str, ...]]:
    """Return one row for each contestant: medians of the rounds, and sums of what went wrong."""

    def middle(name: str, figure: str) -> float:
        return float(statistics.median(getattr(one, figure) for one in results[name]))

    return [
        (
            name,
            f"{middle(name, 'rate'):,.0f}",
            *(
                runner.milliseconds(value) if (value := middle(name, figure)) else ""
                for figure in ("half", "p99", "slowest", "reads_p99")
            ),
            str(sum(one.lost for one in found)),
            str(sum(one.locked for one in found)),
        )
        for name, found in results.items()
    ]


def goals(load: Load, results: Results) -> list[tuple[str, ...]]:
    """Return one row for each goal."""
    ours = [one for run in load.runs if run.contestant == "rxdb" for one in results[run.name]]
    wrong = sum(one.lost + one.locked for one in ours)
    said = "rxdb: nothing lost, nothing locked"
    found: list[tuple[str, ...]] = [(load.title, said, str(wrong), met(is_met=wrong == 0))]
    for goal in load.goals:
        own, peer = (
            [getattr(one, goal.figure) for one in results[name]] for name in (goal.own, goal.peer)
        )
        ratio = runner.ratio(own, peer)
        bound = f"at least {goal.at_least}" if goal.at_least else f"at most {goal.at_most}"
        text = f"{goal.own}, {LABELS[goal.figure]}: {bound} of {goal.peer}"
        is_met = goal.at_least <= ratio.median <= goal.at_most
        found.append((load.title, text, str(ratio), met(is_met=is_met)))
    return found


def reached(measured: Mapping[str, tuple[Load, Results]]) -> list[tuple[str, ...]]:
    """Return the goals of all loads."""
    return [row for load, results in measured.values() for row in goals(load, results)]


def met(*, is_met: bool) -> str:
    """Say whether a goal is met."""
    return "yes" if is_met else "**no**"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table for a page."""
    rule = ["---", *["---:" if head is HEAD[0] else "---"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def show(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    shown = Table(title=title, title_justify="left")
    for name in head:
        shown.add_column(name)
    for line in lines:
        shown.add_row(*(cell.replace("**", "") for cell in line))
    Console().print(shown)


def plot(measured: Mapping[str, tuple[Load, Results]]) -> None:
    """Draw commits per second and the slowest transaction of each contestant."""
    compared = {key: results for key, (_, results) in measured.items() if "rxdb" in results}
    figure, axes = runner.drawing().subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    parts: tuple[tuple[Any, str, Callable[[Figures], float]], ...] = (
        (axes[0], "commits per second", lambda one: one.rate),
        (axes[1], "slowest transaction, ms (logarithmic)", lambda one: one.slowest * 1000),
    )
    for axis, title, value in parts:
        for place, name in enumerate(CONTESTANTS):
            heights = [
                statistics.median(map(value, results[name])) if name in results else 0
                for results in compared.values()
            ]
            axis.bar([n + place * 0.2 for n in range(len(heights))], heights, 0.19, label=name)
        axis.set_title(title)
        axis.set_xticks([n + 0.3 for n in range(len(compared))], list(compared), rotation=30)
    axes[1].set_yscale("log")
    axes[0].legend(frameon=False)
    runner.save(figure, PLOT)


def page(
    measured: Mapping[str, tuple[Load, Results]], rounds: int, seconds: float, calm: runner.Calm
) -> str:
    """Return what the page says."""
    versions = {
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        **{name: metadata.version(name.lower()) for name in PEERS},
    }
    paired, _ = measured["alone"]
    how = (
        f"Each transaction reads a row through the ORM, adds one and commits. {rounds} rounds of "
        f"{seconds:g} s on a new file each; medians of the rounds, sums of what was lost "
        "(committed, and not there) and locked (an error of waiting for others). One thread alone "
        f"and several are compared in {rounds * paired.times} rounds of "
        f"{paired.seconds(seconds):g} s: their ratio is near 1, and the speed of the "
        "processor moves by more than that from run to run."
    )
    parts = [
        ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        how,
        str(calm),
        f"![Commits per second and slowest transaction](plots/{PLOT.name})",
        "### Writers of one SQLite file: goals",
        table(HEAD[1], reached(measured)),
    ]
    for load, results in measured.values():
        parts += [f"### {load.title}", table(HEAD[0], rows(results))]
    return "\n\n".join(parts)


def main() -> int:
    """Measure, print, and write the page when everything was measured."""
    known = loads()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("loads", nargs="*", metavar="LOAD", help=", ".join(known))
    parser.add_argument("--rounds", type=int, default=5, help="how often; 5 where not given")
    parser.add_argument("--seconds", type=float, default=2, help="of each run; 2")
    parser.add_argument("--calm", type=float, default=4, help=CALM)
    options = parser.parse_args()
    if unknown := set(options.loads) - set(known):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    measured = {}
    with runner.bytecode(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rxdb-")))
        bench = Bench(stack, folder)
        calm = runner.Calm(options.calm)
        for name in options.loads or known:
            load = known[name]
            print(f"{load.title} …", flush=True)
            measured[name] = (load, measure(bench, load, options.rounds, options.seconds, calm))
            show(load.title, HEAD[0], rows(measured[name][1]))
    print(calm)
    show("Goals: the ratio of the rounds, and the middle half", HEAD[1], reached(measured))
    if not options.loads:
        plot(measured)
        runner.write(PAGE, "sqlite_load", page(measured, options.rounds, options.seconds, calm))
        print(f"Written: {PAGE.relative_to(CHECKOUT)}, {PLOT.relative_to(CHECKOUT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
