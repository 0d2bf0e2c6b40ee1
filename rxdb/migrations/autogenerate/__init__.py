"""What ``makemigrations`` and ``check`` compare, and how a revision's script is written.

Alembic asks through its public interfaces: a plug-in compares (``autogenerate_plugins``), hooks
filter and render. The comparison asks the server itself how it would store each model: see
:mod:`rxdb.migrations.autogenerate.trial`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rxdb.errors import quoted

if TYPE_CHECKING:
    from sqlalchemy import MetaData

    from rxdb.dialect import Dialect
    from rxdb.migrations.autogenerate.past import Past

__all__ = ["Question", "Wishes", "options"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What only a person knows."""

    kind: str
    """``"rename column"`` and ``"rename table"`` are answered with True or False, ``"fill"`` with a
    text, or None for no answer."""

    text: str
    """The question as a sentence."""

    name: str
    """The column or table it is about: ``"user.name"``."""

    error: str = ""
    """What was wrong with the answer before."""


Answer = bool | str | None


@dataclass(kw_only=True)
class Wishes:
    """What a comparison cannot find out by itself, and what it found."""

    renames: Mapping[str, str] = field(default_factory=dict)
    """``"user.name"`` to ``"full_name"``, or an old table to a new one."""

    no_renames: Collection[str] = ()
    """Columns and tables that are gone and have no other name: ``"user.name"``."""

    fills: Mapping[str, str] = field(default_factory=dict)
    """``"user.age"`` to what existing rows get in a new column."""

    ask: Callable[[Question], Any] | None = None
    """Asked where neither says it; None where nobody is there to answer."""

    allow_drops: bool = False
    """Whether most of the tables may be dropped."""

    command: str = ""
    """The command that writes a revision, without these wishes. With it nothing is dropped that
    may have been renamed; empty where nothing is written."""

    found: list[str] = field(default_factory=list)
    """One sentence for each change."""

    def again(self, *more: str, new: str = "") -> str:
        """Return :attr:`command` with all wishes and *more*; *new* needs no value any longer."""
        fills = {name: text for name, text in self.fills.items() if name != new}
        return " ".join(
            [
                self.command,
                *(f"--rename {quoted(old)}={quoted(name)}" for old, name in self.renames.items()),
                *(f"--no-rename {quoted(name)}" for name in self.no_renames),
                *(f"--fill {quoted(name)}={quoted(text)}" for name, text in fills.items()),
                *(["--allow-drops"] if self.allow_drops else []),
                *more,
            ]
        )


def options(
    target_metadata: MetaData | Iterable[MetaData],
    *,
    dialect: Dialect,
    wishes: Wishes | None = None,
    history_tables: Callable[[], set[str]] | None = None,
    past: Callable[[], Past] | None = None,
    blank: bool = False,
    user: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the arguments for Alembic's ``context.configure`` that compare with the models.

    *dialect* is the backend of the database. *past* tells what the project's revisions made of
    which tables, and *history_tables* their names alone; left out, the scripts that Alembic
    knows are read. *blank* compares with a database without any table. *user* holds what the
    application's ``env.py`` gave to ``run()``: its hooks are called as well.
    """
    from rxdb.migrations.autogenerate.settings import build  # noqa: PLC0415 - loads Alembic

    return build(
        target_metadata,
        dialect=dialect,
        wishes=wishes if wishes is not None else Wishes(),
        history_tables=history_tables,
        past=past,
        blank=blank,
        user=user or {},
    )
