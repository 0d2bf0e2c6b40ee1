"""Refuse to drop what the models may only have forgotten."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rxdb.errors import BadConfig, NoModels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import MetaData

    from rxdb.migrations.autogenerate import Wishes
    from rxdb.migrations.autogenerate.past import Key


def refuse_doubles(bases: Iterable[MetaData]) -> None:
    """Refuse two bases that have a table of the same name."""
    counted = Counter(name for metadata in bases for name in metadata.tables)
    if twice := sorted(name for name, count in counted.items() if count > 1):
        raise BadConfig(
            f"Two registered bases have a table {twice[0]!r}. Give one of them another "
            f"__tablename__, or let both bases share one metadata."
        )


def refuse_forgotten(
    known: set[Key], kept: set[Key], removed: Sequence[Key], wishes: Wishes
) -> None:
    """Refuse to drop all tables, or more than half of those that the revisions made."""
    if not removed or wishes.allow_drops:
        return
    left = known & kept
    if left and 2 * len(left) >= len(known):
        return
    listed = ", ".join(full_name(key) for key in removed[:3]) + (", …" if len(removed) > 3 else "")  # noqa: PLR2004 - three are shown
    raise NoModels(
        f"Of the {len(known)} tables that the migrations know, the models have {len(left)}: "
        f"{listed} would be dropped. Name all modules of models in rxconfig.py: "
        f'rx.Config(models=["shop.models"]). If the tables shall go, add: --allow-drops'
    )


def full_name(key: Key) -> str:
    """Return a table's name with its schema."""
    return ".".join(part for part in key if part)
