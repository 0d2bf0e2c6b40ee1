"""Run the command line: ``rxdb`` and ``python -m rxdb``."""

from __future__ import annotations


def main() -> None:
    """Run the command that the arguments name."""
    from rxdb.cli import cli  # noqa: PLC0415 - click and rich load only for the command line

    cli(prog_name="rxdb")


if __name__ == "__main__":
    main()
