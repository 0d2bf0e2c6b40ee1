"""Run the property tests of types on each server, and write docs/compatibility.md from the outcome.

python tests/compatibility.py [SERVER[+DRIVER] …]

Without servers it is all four, which ``ci/servers`` starts. RXDB_ROUNDTRIPS says how many lists of
values are tried for each kind; a list has up to a hundred.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "compatibility.md"
SERVERS = ("sqlite", "postgresql", "mysql", "mariadb")
MARKS = {"passed": "yes", "skipped": "no such column", "failed": "**no**"}

HEAD = (
    "# Compatibility\n\n"
    "What each type means on each server, as the property tests found it. They write generated "
    "values, read them back, and compare filters and orders with Python's own; "
    "`tests/compatibility.py` made this page of what came out. [Models](models.md#types) tells how "
    "to declare them.\n"
)
KEPT = (
    "\nA type stands where what was written came back equal, and `=`, `IN`, `<` and ORDER BY "
    "answered as Python does; **no** stands where they did not. Enums and UUIDs are compared by "
    "`=` and `IN` only, documents not at all.\n"
)


@dataclass
class Run:
    """Notes what the tests find. A plug-in of pytest."""

    outcomes: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """Test, case and server to what came out."""

    found: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """Kind and server to what the test recorded."""

    versions: dict[str, str] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the outcome of a test."""
        said: dict[str, Any] = dict(report.user_properties)
        if "server" not in said or report.when == "teardown":
            return
        if report.when == "setup" and report.passed:
            return
        server = said["server"]
        test = report.nodeid.partition("::")[2].partition("[")[0]
        self.outcomes[test, str(said["case"]), server] = report.outcome
        if "column" in said:
            self.found[str(said["case"]), server] = said
        if "version" in said:
            self.versions[server] = str(said["version"])


def main(arguments: list[str]) -> int:
    """Run the tests, and write the page."""
    servers = arguments or list(SERVERS)
    run = Run()
    tests = str(CHECKOUT / "tests" / "matrix" / "test_types.py")
    options = [f"--backend={server}" for server in servers]
    code = pytest.main(["-q", "-p", "no:cacheprovider", tests, *options], plugins=[run])
    PAGE.write_text(page(run, servers), encoding="utf-8")
    print(f"Written: {PAGE.relative_to(CHECKOUT)}")  # noqa: T201 - a program
    return int(code)


def page(run: Run, servers: list[str]) -> str:
    """Return the page."""
    rows = {case: said for (case, _), said in run.found.items()}
    counts = [int(said["values"]) for said in run.found.values()]
    tried = f"{sum(counts):,} values, at least {min(counts):,} of each type on each server"
    versions = ", ".join(f"{title(server)} {run.versions.get(server, '')}" for server in servers)
    kept = [
        [str(rows[case]["annotation"]), str(rows[case]["holds"]), *cells(run, case, servers)]
        for case in rows
    ]
    parts = [
        HEAD,
        f"This run: {versions}; {tried}.\n",
        "## What is kept\n",
        table(["Annotation", "Values", *map(title, servers)], kept),
        KEPT,
    ]
    for name, heading in SECTIONS.items():
        cases = dict.fromkeys(case for test, case, _ in run.outcomes if test == name)
        lines = [[case, *(mark(run, name, case, server) for server in servers)] for case in cases]
        parts += [f"\n## {heading}\n", table(["", *map(title, servers)], lines)]
    return "\n".join(parts) + "\n"


SECTIONS = {
    "test_what_does_not_fit_is_refused": "What is refused, with `rx.BadValue`",
    "test_a_value_of_python_that_does_not_fit_is_refused": "What is refused of Python's values",
    "test_a_path_into_a_document_means_the_same": "What `rx.json_path()` finds",
}


def cells(run: Run, case: str, servers: Iterable[str]) -> Iterable[str]:
    """Yield the column's type on each server, or that the test failed."""
    test = "test_values_filters_and_orders_are_those_of_python"
    for server in servers:
        is_kept = run.outcomes.get((test, case, server)) == "passed"
        yield f"`{run.found[case, server]['column']}`" if is_kept else "**no**"


def mark(run: Run, test: str, case: str, server: str) -> str:
    return MARKS[run.outcomes.get((test, case, server), "failed")]


def title(server: str) -> str:
    """Return a server's name as people write it."""
    from rxdb import registry

    name, _, driver = server.partition("+")
    return registry.get(name).title + (f" ({driver})" if driver else "")


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    os.chdir(CHECKOUT)
    sys.exit(main(sys.argv[1:]))
