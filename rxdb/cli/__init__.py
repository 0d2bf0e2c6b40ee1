"""The command line: the group ``rxdb``, and how its commands fail."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from rxdb import __version__
from rxdb.errors import RxdbError, hide, is_own

COMMANDS = {"db": "rxdb.cli.db", "doctor": "rxdb.cli.doctor"}
"""Each command, and the module that holds it under the name ``command``; loaded when it is used."""

OTHER_WORDS = {
    "branches": "heads",
    "current": "status",
    "revision": "makemigrations",
    "showmigrations": "status",
    "sqlmigrate": "migrate --sql",
    "squashmigrations": "squash",
    "upgrade": "migrate",
}
"""Alembic's and Django's words for the commands of ``rxdb db``. Without them the nearest name to
``upgrade`` is ``downgrade``, which takes tables away."""


class Words(click.Group):
    """Answers a command that is not there with the one that is meant."""

    def meant(self, ctx: click.Context) -> dict[str, str]:
        """Return for each word that somebody may write the line that is meant."""
        there = {name: name for name in self.list_commands(ctx)}
        return {w: f"{ctx.command_path} {n}" for w, n in {**OTHER_WORDS, **there}.items()}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that *args* begin with."""
        name = args[0]
        if ctx.resilient_parsing or name.startswith("-") or self.get_command(ctx, name):
            return super().resolve_command(ctx, args)
        meant = self.meant(ctx)
        close = get_close_matches(name, meant, n=1)
        more = f" Run: {meant[close[0]]}" if close else ""
        raise click.UsageError(f"There is no command {name!r}.{more}", ctx)


class Commands(Words):
    """Loads a command when it is used, and ends an error of rxdb with its sentence and exit code 1.

    It is needed once, at the top: what a command of a group below raises arrives here too.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names for ``--help``."""
        return sorted(COMMANDS)

    def meant(self, ctx: click.Context) -> dict[str, str]:
        """Add the commands of ``rxdb db``, which many write without ``db``."""
        db = self.get_command(ctx, "db")
        assert isinstance(db, Words)
        below = db.meant(click.Context(db, parent=ctx, info_name="db"))
        own = {name: f"{ctx.command_path} {name}" for name in self.list_commands(ctx)}
        return {**below, **own}

    def get_command(
        self,
        ctx: click.Context,
        cmd_name: str,
    ) -> click.Command | None:
        """Load the command *cmd_name*."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of rxdb is a sentence for people, not a traceback."""
        try:
            return super().invoke(ctx)
        except RxdbError as error:
            if not is_own(error):
                raise
            click.secho(hide(str(error)), fg="red", err=True)
            ctx.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rxdb")
def cli() -> None:
    """One URL to a tuned engine, a session and safe migrations, the same on every backend."""
