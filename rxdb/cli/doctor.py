"""``rxdb doctor``: which drivers are there, which database is configured, and does it work.

The facts are gathered first, into values, and printed afterwards. ``--json`` prints the same
values as one object; what is not known is null:

- ``works``: whether every database below works, which is also what the exit code says;
- ``versions``: of rxdb and of what it stands on, by name; null for what is not installed;
- ``notes``: sentences about what is wrong and concerns no configured database;
- ``dialects``: for each backend ``name``, ``title``, ``oldest`` (the oldest supported server),
  ``drivers`` and ``plugin`` (SQLAlchemy's side of the backend, null where it is SQLAlchemy's own).
  A driver and a plug-in have ``name``, ``module``, ``state`` (``installed``, ``not installed``,
  ``broken`` or ``too old``), ``version``, ``sync``, ``async`` (both null for a plug-in),
  ``install`` (the line that installs it, null for a part of Python) and ``reason`` (why it cannot
  be used);
- ``databases``: the configured database, and the one for asynchronous work where it is another:
  ``url`` (without secrets), ``source`` (who said so), ``works``, ``problem`` (why it does not),
  ``note``, ``dialect``, ``title``, ``sessions`` (``rx.session`` and ``rx.asession`` to ``driver``
  and ``reason``), ``checked_through`` (a scheme), ``server_version``, ``round_trip_ms`` and
  ``settings`` (each label to ``value`` and ``error``).
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rxdb.cli.facts import BROKEN, INSTALLED, NOT_INSTALLED, TOO_OLD, examine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rxdb.cli.facts import DatabaseFacts, DriverFacts, Report

PART_OF_PYTHON = "a Python that was built with it"

UNBROKEN = 10_000
"""The columns of a pipe or a file, where rich would break lines at 80."""

STYLES = {INSTALLED: "green", NOT_INSTALLED: "dim", BROKEN: "red", TOO_OLD: "yellow"}


@click.command("doctor")
@click.option("--url", metavar="URL", help="Look at this database instead of the configured one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.pass_context
def command(ctx: click.Context, url: str | None, as_json: bool) -> None:
    """Tell which drivers are installed and whether the configured database works.

    The exit code is 0 when it works and 1 when it does not.

    \b
    Keys of --json, null where nothing is known:
      works      whether every database below works
      versions   of rxdb and of what it stands on
      notes      sentences about what concerns no configured database
      dialects   name, title, oldest, drivers and plugin, each with name,
                 module, state, version, sync, async, install, reason;
                 state: installed, not installed, broken or too old
      databases  url, source, works, problem, note, dialect, title,
                 sessions, checked_through, server_version,
                 round_trip_ms, settings
    """
    with redirect_stdout(sys.stderr):  # what rxconfig.py, a driver or echo=True prints
        report = examine(url)
    if as_json:
        click.echo(json.dumps(to_json(report), indent=2))
    else:
        is_narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
        width = None if is_narrow else UNBROKEN
        print_report(report, Console(markup=False, emoji=False, highlight=False, width=width))
    ctx.exit(0 if report.works else 1)


def print_report(report: Report, console: Console) -> None:
    """Print the report for people; sentences are not broken into lines, so that a command in them
    can be copied."""
    versions = [f"{name} {v or 'not installed'}" for name, v in report.versions.items()]
    console.print(", ".join(versions), end="\n\n")
    drivers = [
        (dialect.title, driver)
        for dialect in report.dialects
        for driver in (*dialect.drivers, dialect.plugin)
        if driver is not None
    ]
    console.print(_driver_table(drivers))
    if missing := [(title, d) for title, d in drivers if d.state == NOT_INSTALLED]:
        console.print()
        console.print(_install_table(missing))
    reasons = [driver.reason for _, driver in drivers if driver.reason]
    for sentence in dict.fromkeys([*report.notes, *reasons]):
        console.print(f"\n{sentence}", style="yellow", soft_wrap=True)
    for database in report.databases:
        console.print()
        _print_database(database, console)


def _driver_table(drivers: Iterable[tuple[str, DriverFacts]]) -> Table:
    table = _table("Backend", "Driver", "State", "Version", "Sessions")
    above = ""
    for title, driver in drivers:
        state = Text(driver.state, style=STYLES[driver.state])
        backend = "" if title == above else title
        table.add_row(backend, _name(driver), state, driver.version, _kind(driver))
        above = title
    return table


def _install_table(drivers: Iterable[tuple[str, DriverFacts]]) -> Table:
    """Give the commands a table of their own: in 80 columns they would not fit into the other."""
    table = _table("Backend", "Driver")
    table.add_column("To install", no_wrap=True, overflow="fold")
    for title, driver in drivers:
        table.add_row(title, _name(driver), driver.install or PART_OF_PYTHON)
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _name(driver: DriverFacts) -> str:
    return driver.name if driver.sync is not None else "plug-in"


def _kind(driver: DriverFacts) -> str:
    if driver.sync and driver.asynchronous:
        return "both"
    return "sync" if driver.sync else "async" if driver.asynchronous else ""


def _print_database(database: DatabaseFacts, console: Console) -> None:
    if database.url:
        console.print(Text("Database", style="bold"), database.url, soft_wrap=True)
    table = _table("", "")
    table.show_header = False
    table.columns[0].style = "dim"
    for label, value in _rows(database):
        table.add_row(label, value)
    console.print(table)
    is_read = database.dialect is not None  # or else the problem says the same
    for session in database.sessions.values():
        if is_read and session.reason:
            console.print(session.reason, style="dim", soft_wrap=True)
    if database.problem:
        console.print(database.problem, style="red", soft_wrap=True)
    else:
        console.print("It works.", style="green")


def _rows(database: DatabaseFacts) -> Iterator[tuple[str, str]]:
    if database.source:
        yield "from", database.source
    if database.dialect:
        for name, session in database.sessions.items():
            yield f"{name}()", session.driver or "none, see below"
    if database.round_trip_ms is not None:
        yield "server", f"{database.title} {database.server_version or 'of unknown version'}"
        yield "round trip", f"{database.round_trip_ms:.3g} ms"
    for label, answer in database.settings.items():
        yield label, f"not known: {answer.error}" if answer.error else answer.value or "(empty)"
    if database.note:
        yield "file", database.note


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as values of JSON, with the keys that this module's docstring lists."""
    return {
        "works": report.works,
        "versions": report.versions,
        "notes": list(report.notes),
        "dialects": [
            {
                **asdict(dialect),
                "drivers": [_driver_json(driver) for driver in dialect.drivers],
                "plugin": _driver_json(dialect.plugin) if dialect.plugin else None,
            }
            for dialect in report.dialects
        ],
        "databases": [{**asdict(d), "works": d.works} for d in report.databases],
    }


def _driver_json(driver: DriverFacts) -> dict[str, Any]:
    return {"async" if k == "asynchronous" else k: v for k, v in asdict(driver).items()}
