"""Reflex's functions for migrations, under their names, done by rxdb.

They are those of ``reflex.model`` in version 0.10.1: the same arguments and the same answers. A
project's ``alembic.ini`` and ``alembic/`` are used as Reflex made them. Where Reflex would lose
data, or goes on with half of a migration, these raise an error of :mod:`rxdb.errors`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from alembic.script import ScriptDirectory

from rxdb import config, migrations
from rxdb.errors import SchemaOutdated, hide
from rxdb.migrations import database, project, revisions, state
from rxdb.migrations.environment import Run

if TYPE_CHECKING:
    from alembic.script import Script
    from sqlalchemy import URL, Connection, Engine

logger = logging.getLogger(__name__)

_told: set[str] = set()
"""What :func:`get_db_status` has logged already: a monitor asks every few seconds."""


def alembic_init() -> None:
    """Create ``alembic.ini`` and ``alembic/`` where they are missing."""
    with project.created():
        pass


def alembic_autogenerate(
    connection: Connection | None = None,
    message: str | None = None,
    write_migration_scripts: bool = True,
) -> bool:
    """Return whether the models differ from the database, and write a revision if they do.

    *connection* tells which database, by default the configured one; rxdb opens one of its own.
    Without an ``alembic.ini`` the answer is False.

    Raises :class:`rxdb.errors.SchemaOutdated` when the database is not at the newest revision.
    """
    if not project.ini().is_file():
        return False
    url = None if connection is None else _other(connection.engine.url)
    if write_migration_scripts:
        return migrations.make(message, url=url).path is not None
    now = state.check_schema(url)
    if not now.is_current and now.heads:
        raise SchemaOutdated(now.sentence)
    return bool(migrations.differences(url=url))


def migrate(autogenerate: bool = False) -> bool | None:
    """Apply all revisions, and return True; None without an ``alembic.ini``.

    *autogenerate* then writes what has changed in the models into a revision, and applies it.

    Raises :class:`rxdb.errors.DataLoss` for a revision that would lose rows or values: apply
    that one with ``rxdb db migrate --allow-data-loss``.
    """
    if not project.ini().is_file():
        return None
    if revisions.read().heads:
        migrations.migrate()
    if autogenerate and alembic_autogenerate():
        migrations.migrate()
    return True


def get_migration_history() -> tuple[str | None, list[Script]]:
    """Return the revision that the database is at, and all of them from the first to the newest.

    Raises :class:`rxdb.errors.NotInitialized` without an ``alembic.ini``.
    """
    script = ScriptDirectory.from_config(project.config(Run()))
    current = state.check_schema().current
    return (current[0] if current else None), [*script.walk_revisions()][::-1]


def format_revision(rev: Script, current_rev: str | None, current_reached_ref: list[bool]) -> str:
    """Return the line for a revision, with rich's markup for the colours.

    *current_reached_ref* is ``[False]`` before the first of them, and is set to ``[True]`` at the
    one that the database is at. A database at a revision that no script describes has no ✓.
    """
    is_known = current_rev is not None and current_rev in revisions.read().revisions
    is_applied = is_known and not current_reached_ref[0]
    if rev.revision == current_rev:
        current_reached_ref[0] = True
    sign = "[green]✓[/green]" if is_applied else "[red]✗[/red]"
    head = " (head)" if rev.is_head else ""
    return f"  [{sign}] {rev.revision}{head}, {rev.doc}"


def get_db_status() -> dict[str, bool]:
    """Return ``{"db": True}`` when the database answers; the reason for False is logged once."""
    try:
        database.with_engine(database.target(config.database().url), _ask)
    except Exception as error:  # noqa: BLE001 - drivers have errors of their own
        reason = hide(str(getattr(error, "orig", None) or error))
        if reason not in _told:
            _told.add(reason)
            logger.log(logging.ERROR, "The database does not answer: %s", reason)
        return {"db": False}
    return {"db": True}


def _ask(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")


def _other(url: URL) -> URL | None:
    """Return the URL of a database that is not the configured one."""
    own = database.target().url
    place = ("host", "port", "database")
    is_same = all(getattr(url, part) == getattr(own, part) for part in place)
    return None if is_same else url
