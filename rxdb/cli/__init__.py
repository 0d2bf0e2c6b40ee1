"""The command line: the group ``rxdb``, and how its commands fail."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from rxdb import __version__
from rxdb.errors import RxdbError, hide, is_own

COMMANDS = {"db": "rxdb.cli.db", "doctor": "rxdb.cli.doctor"}
"""Each command, and the module that holds it under the name ``command``; loaded when it is used."""


class Commands(click.Group):
    """Loads a command when it is used, and ends an error of rxdb with its sentence and exit code 1.

    It is needed once, at the top: what a command of a group below raises arrives here too.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names for ``--help``."""
        return sorted(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
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
