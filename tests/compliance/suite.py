"""Run SQLAlchemy's own compliance suite twice, on its plain engines and on rxdb's, and compare.

python tests/compliance/suite.py postgresql+psycopg SOURCE

SOURCE is the unpacked source distribution of the SQLAlchemy that is installed. Every test that
passes on a plain engine has to pass on rxdb's, or stand in CHANGED with the reason. The row of the
table in docs/compliance.md is written anew.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import databases
import sqlalchemy
from sqlalchemy.util import greenlet_spawn

from rxdb import Feature

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "compliance.md"
SUITE = "test/dialect/test_suite.py"
END = "<!-- compliance: end -->"
SCHEMA = "test_schema"
"""What the suite calls the second schema that it works in."""

CHANGED = {
    r"UnicodeSchemaTest::": "The test refers to a column that is not unique. SQLite takes that "
    "as long as foreign keys are off; rxdb turns them on.",
    r"IntegerTest::test_huge_int": "The test reads on one connection and creates a table on "
    "another. rxdb's transactions take SQLite's write lock when they begin.",
    r"NumericTest::test_many_significant_digits": "The test is expected to fail on SQLite, whose "
    "doubles keep 15 digits. rxdb keeps decimals exact, and it succeeds.",
    r"NumericTest::test_float_custom_scale": "The test is expected to fail on MySQL and MariaDB, "
    "whose FLOAT returns four decimals. rxdb's floats are DOUBLE there, and it succeeds.",
    r"NumericTest::test_infinity_floats": "The test keeps an infinite float. rxdb refuses it on "
    "every backend, since MySQL and MariaDB cannot keep it.",
    r"IntervalTest::test_arithmetic_operation_literal_interval": "The test calculates with a "
    "datetime that has no time zone. Through rxdb the result is one in UTC.",
    r"JSONTest::test_index_cross_casts\[.*-boolean\]": "The test reads a number or a text of a "
    "document as a boolean and takes any truth value. Through rxdb it is NULL on MySQL and "
    "MariaDB, as a part that is not there is.",
}
"""Tests that rxdb changes on purpose, as a pattern of their names, and why."""


@dataclass
class Compared:
    """What became of each test, on plain engines and on rxdb's."""

    passed: int = 0
    skipped: int = 0
    changed: dict[str, str] = field(default_factory=dict)
    """Tests that pass on a plain engine and, for the reason given, not on rxdb's."""

    failed: list[str] = field(default_factory=list)
    """The same without a reason."""

    also_plain: list[str] = field(default_factory=list)
    """Tests that fail on both."""

    def row(self, backend: str) -> str:
        """Return the row of the table."""
        counts = (self.passed, self.skipped, len(self.changed), len(self.failed))
        cells = (backend, *counts, len(self.also_plain))
        return f"| {' | '.join(map(str, cells))} |"


def compare(plain: dict[str, str], own: dict[str, str]) -> Compared:
    """Compare two outcomes, each ``passed``, ``skipped`` or ``failed`` by the test's name."""
    counts = Counter(own.values())
    found = Compared(passed=counts["passed"], skipped=counts["skipped"])
    for name, before in plain.items():
        after = own.get(name, "missing")
        if before == "failed":
            found.also_plain += [name] * (after == "failed")
        elif before != after:
            reasons = [why for pattern, why in CHANGED.items() if re.search(pattern, name)]
            if reasons:
                found.changed[name] = reasons[0]
            else:
                found.failed.append(f"{name}: {before} on a plain engine, {after} on rxdb's")
    return found


def outcomes(report: Path) -> dict[str, str]:
    """Read pytest's report; a test that also failed in its tear-down has failed."""
    found: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):
        # The suite puts driver and version into the name of each class.
        kind = re.sub(r"_[a-z]+\+.*", "", (case.get("classname") or "").rpartition(".")[2])
        name = f"{kind}::{case.get('name')}"
        is_failed = case.find("failure") is not None or case.find("error") is not None
        outcome = "failed" if is_failed else "passed" if case.find("skipped") is None else "skipped"
        found[name] = "failed" if found.get(name) == "failed" else outcome
    return found


def run(source: Path, url: str, *plugins: str) -> dict[str, str]:
    """Run the suite once. Its exit status says nothing: some tests may fail on both sides."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # -s keeps the suite from putting the source's own SQLAlchemy before the installed one.
        command = [sys.executable, "-s", "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugins]
        options = [SUITE, "--dburi", url, f"--junitxml={report}", "--timeout=300"]
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        done = subprocess.run(
            [*command, *options],
            cwd=source,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if not report.exists():
            raise SystemExit(
                f"The suite did not run:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        print(done.stdout.strip().splitlines()[-1])
        return outcomes(report)


def measured(backend: str, source: Path) -> Compared:
    """Run both, each on a database of its own."""
    name, _, driver = backend.partition("+")
    found = []
    is_async = databases.is_async(databases.target(f"{backend}:///suite"))
    with asyncio.Runner() as runner:

        def work(function: Callable[[], Any]) -> Any:
            return runner.run(greenlet_spawn(function)) if is_async else function()

        for plugins in ((), ("-p", "through_rxdb")):
            with (
                tempfile.TemporaryDirectory() as folder,
                closing(databases.of(name, driver, Path(folder))) as made,
                databases.empty(made) as target,
            ):
                if Feature.SCHEMAS in target.dialect.features:
                    databases.execute(target, work, f"DROP SCHEMA IF EXISTS {SCHEMA}")
                    databases.execute(target, work, f"CREATE SCHEMA {SCHEMA}")
                found.append(
                    run(source, target.url.render_as_string(hide_password=False), *plugins)
                )
    return compare(*found)


def write(backend: str, row: str) -> None:
    """Put the row into the page, in the place of the one that the backend had, and the reasons."""
    old = PAGE.read_text(encoding="utf-8")
    own = re.compile(rf"^\| {re.escape(backend)} \|.*\|$", re.MULTILINE)
    added = old.replace(f"\n{END}", f"{row}\n\n{END}", 1)
    with_row = own.sub(row, old) if own.search(old) else added
    reasons = "\n".join(f"- `{pattern.strip(':')}`: {why}" for pattern, why in CHANGED.items())
    part = re.compile(f"(<!-- reasons -->\n).*?({END})", re.DOTALL)
    PAGE.write_text(part.sub(rf"\g<1>\n{reasons}\n\n\g<2>", with_row), encoding="utf-8")


def main(backend: str, source: str) -> int:
    """Run, compare, print what differs, and write the row."""
    found = measured(backend, Path(source))
    for why, number in Counter(found.changed.values()).items():
        print(f"changed: {number} tests. {why}")
    for name in found.also_plain:
        print(f"fails on a plain engine too: {name}")
    for name in found.failed:
        print(f"FAILED: {name}")
    print(f"SQLAlchemy {sqlalchemy.__version__} {found.row(backend)}")
    write(backend, found.row(backend))
    return 1 if found.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
