"""The arguments for Alembic's ``context.configure``: what belongs to rxdb beside the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.runtime.plugins import Plugin
from sqlalchemy import MetaData

from rxdb.migrations.autogenerate import Wishes, compare, past, rendering

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from alembic.runtime.migration import MigrationContext

    from rxdb.dialect import Dialect
    from rxdb.migrations.autogenerate.past import Past

PLUGIN = "rxdb.autogenerate"

plugin = Plugin(PLUGIN)
plugin.add_autogenerate_comparator(compare.compare, "autogenerate", "rxdb")


class Bases(tuple[MetaData, ...]):
    """The metadata of several bases, and the naming convention that scripts use for them all."""

    __slots__ = ()

    @property
    def naming_convention(self) -> Mapping[str, Any]:
        """That of the first base; Alembic asks for it when an operation names a constraint."""
        return self[0].naming_convention if self else MetaData().naming_convention


@dataclass
class Settings:
    """What the comparison needs to know. It travels in Alembic's options."""

    dialect: Dialect
    wishes: Wishes
    blank: bool
    given_past: Callable[[], Past] | None
    given_names: Callable[[], set[str]] | None

    def read_past(self, context: MigrationContext) -> Past:
        """Return what the revisions did, from their scripts."""
        if self.given_past is not None:
            return self.given_past()
        if self.given_names is not None:
            names = {_split(name) for name in self.given_names()}
            return past.Past(names=names, ever=set(names))
        script: Any = context.opts.get("script")
        if script is None:
            return past.Past()
        paths = [Path(found.path) for found in script.walk_revisions()]
        return past.read(path.read_text(encoding="utf-8") for path in reversed(paths))


def build(
    target_metadata: MetaData | Iterable[MetaData],
    *,
    dialect: Dialect,
    wishes: Wishes,
    history_tables: Callable[[], set[str]] | None,
    past: Callable[[], Past] | None,
    blank: bool,
    user: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the arguments; see :func:`rxdb.migrations.autogenerate.options`."""
    known = (target_metadata,) if isinstance(target_metadata, MetaData) else tuple(target_metadata)
    return {
        "target_metadata": Bases(known),
        "rxdb": Settings(dialect, wishes, blank, past, history_tables),
        "autogenerate_plugins": [PLUGIN, *user.get("autogenerate_plugins", ())],
        "render_as_batch": True,
        "render_item": _Renderer(user.get("render_item")),
        "process_revision_directives": _Directives(user.get("process_revision_directives")),
    }


@dataclass(frozen=True)
class _Renderer:
    """Asks the user's ``render_item`` first."""

    own: Callable[..., Any] | None

    def __call__(self, kind: str, item: Any, context: AutogenContext) -> str | bool:
        if self.own is not None and (rendered := self.own(kind, item, context)) is not False:
            return str(rendered)
        return rendering.render_item(kind, item, context)


@dataclass(frozen=True)
class _Directives:
    """Writes no file when nothing has changed, after the user's own hook."""

    own: Callable[..., Any] | None

    def __call__(self, context: MigrationContext, revision: Any, directives: list[Any]) -> None:
        if self.own is not None:
            self.own(context, revision, directives)
        writes = "revision" in getattr(context.opts.get("fn"), "__qualname__", "")
        if writes and directives and directives[0].upgrade_ops.is_empty():
            directives[:] = []


def _split(name: str) -> tuple[str | None, str]:
    schema, _, table = name.rpartition(".")
    return (schema or None, table)


__all__ = ["PLUGIN", "Bases", "Settings", "build"]
