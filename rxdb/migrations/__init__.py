"""Migrations from Python: the same verbs as ``rxdb db …``. Each name is loaded at its first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rxdb.migrations.commands import Made as Made
    from rxdb.migrations.commands import check as check
    from rxdb.migrations.commands import differences as differences
    from rxdb.migrations.commands import downgrade as downgrade
    from rxdb.migrations.commands import half_applied as half_applied
    from rxdb.migrations.commands import heads as heads
    from rxdb.migrations.commands import history as history
    from rxdb.migrations.commands import init as init
    from rxdb.migrations.commands import make as make
    from rxdb.migrations.commands import merge as merge
    from rxdb.migrations.commands import migrate as migrate
    from rxdb.migrations.commands import repair as repair
    from rxdb.migrations.commands import sql as sql
    from rxdb.migrations.commands import squash as squash
    from rxdb.migrations.commands import stamp as stamp
    from rxdb.migrations.environment import Applied as Applied
    from rxdb.migrations.planning import Plan as Plan
    from rxdb.migrations.planning import Planned as Planned
    from rxdb.migrations.planning import compile_all as compile_all
    from rxdb.migrations.planning import plan as plan

_HOMES = {
    "rxdb.migrations.commands": (
        "Made",
        "check",
        "differences",
        "downgrade",
        "half_applied",
        "heads",
        "history",
        "init",
        "make",
        "merge",
        "migrate",
        "repair",
        "sql",
        "squash",
        "stamp",
    ),
    "rxdb.migrations.environment": ("Applied",),
    "rxdb.migrations.planning": ("Plan", "Planned", "compile_all", "plan"),
}

_NAMES = {name: home for home, names in _HOMES.items() for name in names}

__all__ = list(_NAMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Load a verb at its first use: the state of a database is read without Alembic."""
    if name not in _NAMES:
        raise AttributeError(f"module 'rxdb.migrations' has no attribute {name!r}")
    value = getattr(import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
