"""What passed on which database: a grid in Markdown or HTML, and a line each in the terminal."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rxdb.errors import hide

if TYPE_CHECKING:
    from collections.abc import Iterable

BACKEND, TEST = "rx_backend", "rx_test"
"""What a report of pytest says about its test: the database, and its name without that."""

WORDS = ("passed", "failed", "errors", "skipped", "xfailed", "xpassed")

LONGEST = 200
"""Letters of a reason."""

STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8884; padding: .3rem .6rem; text-align: left; }
td { vertical-align: top; }
thead th { position: sticky; top: 0; background: Canvas; }
td.passed { color: #1a7f37; } td.failed, td.errors { color: #cf222e; font-weight: 600; }
td.skipped, td.xfailed, td.xpassed { color: #9a6700; } td.missing { color: #8888; }
small { display: block; font-weight: 400; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Outcome:
    """How one test ended on one database."""

    word: str
    """One of WORDS."""

    reason: str = ""
    """Why, where it did not pass: one line."""


def describe(items: Iterable[pytest.Item]) -> None:
    """Let the reports of tests say which database they are about."""
    for item in items:
        label = getattr(item, "label", None) or _parameter(item)
        if label:
            item.user_properties += [(BACKEND, label), (TEST, _without(item.nodeid, label))]


def _parameter(item: pytest.Item) -> str | None:
    spec = getattr(item, "callspec", None)
    found: str | None = spec.params.get(BACKEND) if spec else None
    return found


def _without(name: str, label: str) -> str:
    """Return the name of a test without that of its database."""
    place, bracket, rest = name.partition("[")
    rest = re.sub(rf"(?:^|-){re.escape(label)}(?=[-\]])", "", rest, count=1).lstrip("-")
    return place if rest == "]" else f"{place}{bracket}{rest}"


@dataclass(eq=False)
class Grid:
    """Collects the reports of a run, where all of them arrive."""

    labels: list[str]
    files: list[str]
    """Where the grid is written to; the ending says how."""
    folder: Path
    rows: dict[str, dict[str, Outcome]] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test ended; of setup and teardown only what went wrong."""
        said = dict(report.user_properties)
        if BACKEND not in said:
            return
        word = _word(report)
        if report.when == "call" or word not in {"passed", "xpassed"}:
            row = self.rows.setdefault(str(said[TEST]), {})
            row[str(said[BACKEND])] = Outcome(word, "" if word == "passed" else _reason(report))

    def pytest_sessionfinish(self) -> None:
        """Write the files."""
        for name in self.files:
            write = self.html if Path(name).suffix in {".html", ".htm"} else self.markdown
            (self.folder / name).write_text(write(), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say in a line how the tests ended on each database."""
        if not self.rows or (len(self.labels) < 2 and not self.files):  # noqa: PLR2004 - one
            return
        terminalreporter.section("databases")
        width = max(map(len, self.labels))
        for label in self.labels:
            terminalreporter.write_line(f"{label:{width}}  {self.total(label)}")
        for name in self.files:
            terminalreporter.write_line(f"Written: {name}")

    def total(self, label: str) -> str:
        """Say how many tests ended how on a database."""
        counts = Counter(row[label].word for row in self.rows.values() if label in row)
        listed = (f"{counts[word]} {word}" for word in WORDS if counts[word])
        return ", ".join(listed) or "no tests"

    def markdown(self) -> str:
        """Return the grid as a table in Markdown."""
        lines = [
            ["Test", *self.labels],
            ["---"] * (len(self.labels) + 1),
            ["**Total**", *(self.total(label) for label in self.labels)],
        ]
        for test, row in sorted(self.rows.items()):
            cells = [_cell(row.get(label)) for label in self.labels]
            lines.append([f"`{test}`", *cells])
        table = (f"| {' | '.join(c.replace('|', chr(92) + '|') for c in line)} |" for line in lines)
        return "\n".join(["# What passed on which database", "", *table, ""])

    def html(self) -> str:
        """Return the grid as a page of its own."""
        heads = "".join(f"<th>{escape(label)}</th>" for label in self.labels)
        totals = "".join(f"<th>{escape(self.total(label))}</th>" for label in self.labels)
        rows = [
            f"<tr><td>{escape(test)}</td>{''.join(_html(row.get(lb)) for lb in self.labels)}</tr>"
            for test, row in sorted(self.rows.items())
        ]
        title = "What passed on which database"
        return "\n".join(
            [
                "<!doctype html>",
                f'<html lang="en"><meta charset="utf-8"><title>{title}</title>',
                '<meta name="viewport" content="width=device-width">',
                f"<style>{STYLE}</style>",
                f"<h1>{title}</h1>",
                "<table>",
                f"<thead><tr><th>Test</th>{heads}</tr><tr><th>Total</th>{totals}</tr></thead>",
                f"<tbody>{''.join(rows)}</tbody>",
                "</table></html>",
                "",
            ]
        )


def _word(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.failed and report.when != "call":
        return "errors"
    return report.outcome


def _reason(report: pytest.TestReport) -> str:
    said: Any = report.longrepr
    if hasattr(report, "wasxfail"):
        text = str(report.wasxfail).removeprefix("reason: ")
    elif isinstance(said, tuple):
        text = str(said[-1]).removeprefix("Skipped: ")
    else:
        crash = getattr(said, "reprcrash", None)
        text = str(crash.message if crash else said or "")
    lines = hide(text).strip().splitlines()
    line = lines[0] if lines else ""
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "not run"
    word = outcome.word if outcome.word in {"passed", "skipped"} else f"**{outcome.word}**"
    return f"{word}: {outcome.reason}" if outcome.reason else word


def _html(outcome: Outcome | None) -> str:
    if outcome is None:
        return '<td class="missing">not run</td>'
    why = f"<small>{escape(outcome.reason)}</small>" if outcome.reason else ""
    return f'<td class="{outcome.word}">{outcome.word}{why}</td>'
