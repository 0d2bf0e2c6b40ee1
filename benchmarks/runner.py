"""Measure contestants in turns, so that a noisy machine disturbs them alike, and report.

In each round every contestant runs once, and each round begins with another one. What counts is
the median of the ratios of two contestants in the same round, and the middle half of these ratios.
A contestant is a program, or a function in a process of its own that lives from the first round to
the last: no library sees what another one registered.
"""

from __future__ import annotations

import gc
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

Work = Callable[[], Any]
"""What is timed. It returns what it found, or a function that finds out when the clock has stopped;
the runner compares that with what was expected."""

Found = TypeVar("Found")

DISTURBED = 1.2
"""How many times as long as its shortest time a loop takes where others use the machine."""

LOOP = 100_000
"""How often the loop turns, which takes a few milliseconds."""

SETTLE = 100
"""How often it runs at first, to find its shortest time."""

PATIENCE = 120
"""Seconds until a program is taken for stuck."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way to do the work."""

    name: str

    run: Callable[[], float]
    """Do the work once, and return the seconds it took; preparing and tidying do not count."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """How long one contestant may take, as a part of the time of another."""

    contestant: str
    peer: str
    at_most: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """One work, and who does it."""

    title: str
    contestants: Sequence[Contestant]
    goals: Sequence[Goal]
    rounds: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """The median of the ratios of two contestants round by round, and the middle half of them."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{shown(self.median)} ({shown(self.low)} to {shown(self.high)})"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was measured for one case."""

    case: Case
    times: Mapping[str, Sequence[float]]
    """The seconds of each contestant, one for each round."""

    def ratio(self, goal: Goal) -> Ratio:
        """Compare the two contestants of a goal."""
        return ratio(self.times[goal.contestant], self.times[goal.peer])

    def is_met(self, goal: Goal) -> bool:
        """Whether the median of the ratios is as small as it shall be."""
        return self.ratio(goal).median <= goal.at_most


def measure(case: Case, warm_up: int = 1) -> Outcome:
    """Run each contestant once in each round, after *warm_up* rounds that do not count."""
    times: dict[str, list[float]] = {contestant.name: [] for contestant in case.contestants}
    for number in range(-warm_up, case.rounds):
        for contestant in turned(case.contestants, number):
            seconds = contestant.run()
            if number >= 0:
                times[contestant.name].append(seconds)
    return Outcome(case=case, times=times)


class Calm:
    """Waits until nobody else uses the machine, and has a run that was disturbed done again.

    A rented processor is shared: while others use their part, a loop that always does the same
    takes longer. It runs on each processor before and after a run, whichever contestant's that is.
    """

    def __init__(self, patience: float) -> None:
        """Find out how fast the loop can be. *patience* is in seconds, on average for a run."""
        self.each = patience
        self.patience = 0.0
        self.fastest = math.inf
        self.runs = self.again = self.disturbed = 0
        for _ in range(SETTLE):
            self.is_calm()

    def is_calm(self) -> bool:
        """Whether the loop is about as fast as ever before, on each processor."""
        processors = os.sched_getaffinity(0)
        try:
            times = [looped(processor) for processor in processors]
        finally:
            os.sched_setaffinity(0, processors)
        self.fastest = min(self.fastest, *times)
        return max(times) < DISTURBED * self.fastest

    def run(self, work: Callable[[], Found]) -> Found:
        """Do the work, and again where the machine is not calm after it, while patience lasts."""
        self.runs += 1
        self.patience += self.each  # with what earlier runs did not need
        while True:
            begun = time.monotonic()
            while not self.is_calm() and time.monotonic() < begun + self.patience:
                time.sleep(0.1)
            waited = time.monotonic() - begun
            found = work()
            is_calm = self.is_calm()
            spent = waited if is_calm else time.monotonic() - begun  # the run too, if it is lost
            self.patience = max(0, self.patience - spent)
            if is_calm or not self.patience:
                self.disturbed += not is_calm
                return found
            self.again += 1

    def __str__(self) -> str:
        return (
            f"Of {self.runs} runs {self.disturbed} were disturbed by others on the machine, and "
            f"count; {self.again} more were, and were done again. Disturbed: a loop that always "
            f"does the same takes {DISTURBED:g} times its shortest time, or longer, after the run."
        )


def looped(processor: int) -> float:
    """Return the seconds of a loop on one processor."""
    os.sched_setaffinity(0, {processor})
    begun = time.perf_counter()
    for _ in range(LOOP):
        pass
    return time.perf_counter() - begun


def turned(contestants: Sequence[Any], number: int) -> list[Any]:
    """Return the order of round *number*: who began the last round is the last one now."""
    first = number % len(contestants)
    return [*contestants[first:], *contestants[:first]]


def ratio(own: Sequence[float], peer: Sequence[float]) -> Ratio:
    """Compare two contestants round by round."""
    ratios = [a / b for a, b in zip(own, peer, strict=True)]
    low, median, high = (
        statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    )
    return Ratio(median=median, low=low, high=high)


@contextmanager
def bytecode() -> Iterator[None]:
    """Let all contestants find their modules compiled, as on a machine where they are in use.

    The first round writes the bytecode to a folder that is gone afterwards. Without it, a process
    would compile hundreds of modules at each start where PYTHONDONTWRITEBYTECODE is set.
    """
    names = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="rxdb-bytecode-") as folder:
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        try:
            yield
        finally:
            del os.environ["PYTHONPYCACHEPREFIX"]
            os.environ.update(before)


# Programs


def program(
    name: str, *command: str, folder: Path, variables: Mapping[str, str], prints: str = ""
) -> Contestant:
    """Return a contestant that is a whole process; *prints* has to be in what it prints."""

    def run() -> float:
        begun = time.perf_counter()
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **variables},
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
        )
        seconds = time.perf_counter() - begun
        if done.returncode or prints not in done.stdout + done.stderr:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
        return seconds

    return Contestant(name=name, run=run)


# Functions, each in the process of a worker


class Worker:
    """A process that runs the functions of one file when it is told to, and times them."""

    def __init__(self, file: Path, *, folder: Path, variables: Mapping[str, str]) -> None:
        self._log = (folder / "worker.log").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, str(file)],
            cwd=folder,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def run(self, function: str, expected: Any, **arguments: Any) -> float:
        """Run a function, and return its seconds; it has to find what is *expected*."""
        seconds, found = self.call(function, **arguments)
        if found != expected:
            raise RuntimeError(f"{function} found {found!r} and not {expected!r}")
        return seconds

    def call(self, function: str, **arguments: Any) -> tuple[float, Any]:
        """Run a function, and return its seconds and what it found."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([function, arguments]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            self._log.seek(0)
            raise RuntimeError(f"{function} failed:\n{self._log.read()[-4000:]}")
        seconds, found = json.loads(answer)
        return float(seconds), found

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=PATIENCE)
        self._log.close()


@contextmanager
def worker(file: Path, *, folder: Path, variables: Mapping[str, str]) -> Iterator[Worker]:
    """Start a worker, and end it."""
    started = Worker(file, folder=folder, variables=variables)
    try:
        yield started
    finally:
        started.close()


def function(
    name: str,
    at: Worker,
    called: str,
    expected: Any,
    given: Callable[[], AbstractContextManager[Mapping[str, Any]]] | None = None,
) -> Contestant:
    """Return a contestant that is a function; *given* makes its arguments anew for each run."""

    def run() -> float:
        with given() if given else nullcontext({}) as arguments:
            return at.run(called, expected, **arguments)

    return Contestant(name=name, run=run)


def serve(functions: Mapping[str, Callable[..., Work]]) -> None:
    """Be a worker. A function prepares, and what it returns is timed.

    What the libraries print goes where errors go, so that it is no answer. The folder's own
    modules can be imported, as by a program that is started there.
    """
    sys.path.insert(0, str(Path.cwd()))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        work = functions[name](**arguments)
        gc.collect()
        begun = time.perf_counter()
        found = work()
        seconds = time.perf_counter() - begun
        found = found() if callable(found) else found
        print(json.dumps([seconds, found]), file=answers, flush=True)


# Reports

SUMMARY = ("Work", "Goal", "Measured", "Met")


def summary(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return one row for each goal, under the heads of SUMMARY."""
    return [
        (
            outcome.case.title,
            f"{goal.contestant}: at most {goal.at_most:g} of {goal.peer}",
            str(outcome.ratio(goal)),
            "yes" if outcome.is_met(goal) else "**no**",
        )
        for outcome in outcomes
        for goal in outcome.case.goals
    ]


DETAILS = ("Contestant", "Median", "Fastest")


def details(outcome: Outcome) -> list[tuple[str, ...]]:
    """Return one row for each contestant, under the heads of DETAILS."""
    return [
        (name, milliseconds(statistics.median(times)), milliseconds(min(times)))
        for name, times in outcome.times.items()
    ]


def show(outcomes: Sequence[Outcome]) -> None:
    """Print all tables on the terminal."""
    console = Console()
    for outcome in outcomes:
        title = f"{outcome.case.title}, {outcome.case.rounds} rounds"
        console.print(_rich(title, DETAILS, details(outcome)))
    rows = summary(outcomes)
    console.print(_rich("Goals: the ratio of the times, and the middle half", SUMMARY, rows))


def _rich(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", show_lines=False)
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number and head is DETAILS else "left")
    for row in rows:
        table.add_row(*(cell.replace("**", "") for cell in row))
    return table


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return all tables for a page."""
    parts = ["### Goals", _markdown(SUMMARY, summary(outcomes))]
    for outcome in outcomes:
        case = outcome.case
        note = f"{case.note} {case.rounds} rounds.".strip()
        parts += [f"### {case.title}", note, _markdown(DETAILS, details(outcome))]
    return "\n\n".join(parts)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:" if head is DETAILS else "---"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def publish(
    page: Path, part: str, said: str, outcomes: Sequence[Outcome], more: Sequence[str] = ()
) -> None:
    """Write a part of a page: what is *said* first, the plot, all tables, and *more*."""
    picture = page.parent / "plots" / f"{part}.svg"
    plot(outcomes, picture)
    shows = f"![Each ratio, its middle half and its goal](plots/{picture.name})"
    write(page, part, "\n\n".join([said, shows, markdown(outcomes), *more]))
    print(f"Written: docs/{page.name}, docs/plots/{picture.name}")


def plot(outcomes: Sequence[Outcome], picture: Path) -> None:
    """Draw the ratio of each goal, with the middle half, and where it is to be at most."""
    plt = drawing()
    every = [(outcome, goal) for outcome in outcomes for goal in outcome.case.goals][::-1]
    figure, axis = plt.subplots(figsize=(11, 0.6 + 0.3 * len(every)), layout="constrained")
    for place, (outcome, goal) in enumerate(every):
        found = outcome.ratio(goal)
        colour = "tab:green" if outcome.is_met(goal) else "tab:red"
        axis.plot([found.low, found.high], [place, place], color=colour, linewidth=4, alpha=0.4)
        axis.plot(found.median, place, "o", color=colour)
        axis.plot(goal.at_most, place, "|", color="black", markersize=12)
    labels = [f"{o.case.title}: {g.contestant} / {g.peer}" for o, g in every]
    axis.set_yticks(range(len(every)), labels, fontsize=8)
    axis.set_xscale("log")
    axis.set_xlabel("ratio of the times, logarithmic; the line is the goal: at most")
    axis.grid(axis="x", alpha=0.3)
    save(figure, picture)


def drawing() -> Any:
    """Return matplotlib, which gives the same file for the same picture, with texts as texts."""
    import_module("matplotlib").rcParams.update({"svg.hashsalt": "rxdb", "svg.fonttype": "none"})
    return import_module("matplotlib.pyplot")


def save(figure: Any, picture: Path) -> None:
    """Write a picture."""
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, metadata={"Date": None})


def write(page: Path, part: str, text: str) -> None:
    """Put *text* between the marks ``<!-- benchmarks: part -->`` and ``… end`` of a page."""
    mark = f"<!-- benchmarks: {part} -->\n"
    pattern = re.compile(rf"{mark}.*?(?=<!-- benchmarks: end -->)", re.DOTALL)
    before = page.read_text(encoding="utf-8")
    after, count = pattern.subn(lambda _: f"{mark}\n{text}\n\n", before)
    if count != 1:
        raise LookupError(f"{page} has {count} parts called {part}")
    page.write_text(after, encoding="utf-8")


def shown(number: float) -> str:
    """Return a ratio with as many digits as say something."""
    return f"{number:.2f}" if number >= 0.1 else f"{number:.3f}"  # noqa: PLR2004 - two of them


def milliseconds(seconds: float) -> str:
    """Return a time with three digits."""
    digits = 0 if seconds >= 0.1 else 1 if seconds >= 0.01 else 2  # noqa: PLR2004 - three in all
    return f"{seconds * 1000:.{digits}f} ms"
