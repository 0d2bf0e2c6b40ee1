"""How a command of ``rxdb db`` speaks: lines for people, one object for programs, and how it fails.

Nothing costly is imported here, so that a command is as quick as what it does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import redirect_stdout
from functools import wraps
from typing import TYPE_CHECKING, Any, TextIO

import click

from rxdb import config
from rxdb.errors import DatabaseMissing, LoginFailed, hide, is_own

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.status import Status

PLAIN = str.maketrans({"✓": "x", "✗": "-", "…": "...", "→": "->"})
"""For a terminal or a file that knows no other letters."""


class Output:
    """What one run of a command says."""

    def __init__(self, *, as_json: bool = False) -> None:
        """Keep the stream: what the application itself prints goes elsewhere later on."""
        self.as_json = as_json
        self.stream: TextIO = sys.stdout
        self.data: dict[str, Any] = {}
        """What ``--json`` prints in the end, also when the command fails half-way."""

    @property
    def is_terminal(self) -> bool:
        """Whether a person watches."""
        return not self.as_json and self.stream.isatty()

    @property
    def can_ask(self) -> bool:
        """Whether a person is there to answer."""
        return self.is_terminal and sys.stdin.isatty()

    def line(self, text: str = "", **style: Any) -> None:
        """Print a line for people."""
        if not self.as_json:
            click.secho(_written(text, self.stream), file=self.stream, **style)

    def tell(self, text: str) -> None:
        """Print on the error stream what happens meanwhile."""
        click.secho(_written(hide(text), sys.stderr), err=True, dim=True)

    def fail(self, kind: str, message: str) -> int:
        """Print why the command failed, and return its exit code."""
        self.data["error"] = {"kind": kind, "message": message}
        click.secho(_written(message, sys.stderr), err=True, fg="red")
        return 1


class Progress:
    """Prints each revision when it is done, with the time it took; on a terminal what runs now."""

    def __init__(self, output: Output, done: str = "Applied") -> None:
        """Begin each line with *done*."""
        self.output = output
        self.done = done
        self.current = ("", "")
        self.clock = 0.0
        self.status: Status | None = None

    def start(self, revision: str, message: str, number: int, total: int) -> None:
        """Show that a revision begins; the one before it has ended, unless it is the same again."""
        self.pause()
        if self.current[0] not in {"", revision}:
            self.finish()
        self.current, self.clock = (revision, message), time.perf_counter()
        if self.output.is_terminal:
            from rich.console import Console
            from rich.text import Text

            text = Text(f"{number} of {total}: {named(revision, message)} …")
            self.status = status = Console(file=self.output.stream).status(text)
            status.start()

    def pause(self) -> None:
        """Leave the terminal to somebody else."""
        if self.status is not None:
            self.status.stop()
            self.status = None

    def tell(self, text: str) -> None:
        """Print what happens meanwhile, above what runs now."""
        if self.status is not None:
            self.status.console.print(text, style="dim", markup=False, highlight=False)
        else:
            self.output.tell(text)

    def finish(self) -> None:
        """Print that the revision is done."""
        self.pause()
        if self.current[0]:
            seconds = time.perf_counter() - self.clock
            name = named(*self.current)
            self.output.line(f"{self.done} {name}, in {seconds:.2f} s", fg="green")
        self.current = ("", "")


def verb(
    group: click.Group,
    name: str,
    *,
    has_url: bool = True,
    kind: type[click.Command] = click.Command,
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command of *group* of a function that is given an :class:`Output` first.

    The command has ``--json`` and, with *has_url*, ``--url``; what the function raises on purpose,
    and what a database or a file refuses, becomes a sentence and the exit code 1.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @wraps(function)
        def run(as_json: bool, **options: Any) -> None:
            output = Output(as_json=as_json)
            with redirect_stdout(sys.stderr):  # what models, rxconfig.py or echo=True prints
                code = _guarded(function, output, options)
            if as_json:
                click.echo(json.dumps(output.data, indent=2), file=output.stream)
            click.get_current_context().exit(code)

        command = click.command(name, cls=kind)(run)
        help_json = "Print one JSON object and nothing else."
        command = click.option("--json", "as_json", is_flag=True, help=help_json)(command)
        if has_url:
            help_url = "Another database than the configured one."
            command = click.option("--url", metavar="URL", help=help_url)(command)
        group.add_command(command)
        return command

    return decorate


def _guarded(function: Callable[..., None], output: Output, options: dict[str, Any]) -> int:
    url = options.get("url")
    try:
        if "url" in options and url is None and (passed_over := _passed_over()):
            output.tell(passed_over)
        function(output, **options)
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if not (told := hide(str(error)) if is_own(error) else _explained(error, url)):
            raise
        return output.fail(type(error).__name__, told)
    return 0


def _passed_over() -> str:
    """Say that ``DB_URL`` is not read, where somebody seems to think that it is."""
    if os.environ.get("DB_URL", "").strip() and config.database().source == "default":
        return (
            f"The variable DB_URL is not read; this is {config.DEFAULT_URL}. "
            f'To use the other database, run: export RXDB_URL="$DB_URL"'
        )
    return ""


def _explained(error: Exception, url: str | None) -> str:
    """Return the sentence for what a database or a file refuses; nothing for other errors."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    from rxdb.cli import facts
    from rxdb.migrations import database

    if isinstance(error, OSError) and error.filename and not isinstance(error, ConnectionError):
        return hide(f"{error.filename}: {error.strerror}.")
    target = database.target(url)
    package = type(error).__module__.partition(".")[0]
    is_of_driver = package == target.driver.module.partition(".")[0]
    if not (is_of_driver or isinstance(error, DBAPIError | OSError)):
        return ""
    setting = database.setting(url)
    if isinstance(error, LoginFailed | DatabaseMissing):
        return facts.told(error, setting)
    reason = facts.reason(error, target)
    if isinstance(error, DBAPIError) and not isinstance(error, InterfaceError | OperationalError):
        return f"The database refused a statement: {reason}"
    return f"The database cannot be used: {reason} {facts.next_step(target, setting)}"


def _written(text: str, stream: TextIO) -> str:
    """Return *text* in letters that *stream* can write."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(PLAIN).encode(encoding, "replace").decode(encoding)
    return text


def named(revision: str, message: str) -> str:
    """Return a revision's id and what its author called it."""
    return f"{revision}, {message}" if message else revision


def place(path: Path) -> str:
    """Return a path as a person in the current folder would write it."""
    try:
        return str(path.relative_to(path.cwd()))
    except ValueError:
        return str(path)
