"""What the first session of a process does: look whether the database is at the newest revision."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from rxdb import config, engine
from rxdb.dialect import Feature
from rxdb.errors import SchemaOutdated, hide
from rxdb.migrations import revisions, state, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from rxdb.migrations.revisions import History, Project
    from rxdb.migrations.state import SchemaState

logger = logging.getLogger("rxdb")
"""Python shows a warning on standard error where the application has set up no logging."""

PAUSE = 0.01
"""Seconds between two looks whether another thread or task has finished its check."""

_inside: ContextVar[bool] = ContextVar("rxdb_startup", default=False)
"""Whether this thread or task is checking: the sessions of a migration do not check again."""

_busy: dict[Engine, object] = {}
"""The engines whose database is being looked at, each with what its looker put there."""

_settled: WeakKeyDictionary[Engine, config.Config | None] = WeakKeyDictionary()
"""The engines that need no look any more, as long as :func:`rxdb.set_config` is not called."""

_NEVER = config.Config()
"""Stands for an engine that was not seen yet."""

_warned: set[tuple[object, str]] = set()
"""What was said about which database."""


def is_settled(found: Engine) -> bool:
    """Whether the sessions of this engine need not look: the only cost of all but the first."""
    return _settled.get(found, _NEVER) is config._chosen  # noqa: SLF001 - without a system call


def look(found: Engine) -> Exception | None:
    """Do what ``Config.on_outdated_schema`` says when the database of *found* is out of date.

    *found* is the engine of a session of the configured database; the connection of an
    asynchronous one is used in the greenlet that this runs in. Of several threads and tasks one
    looks and the others wait for it. What was said once is not said again.

    Returns the error where no connection can be made, so that the session can raise it as its own
    without trying again. Raises :class:`rxdb.errors.SchemaOutdated` where the policy is
    ``"raise"``, and what :func:`rxdb.migrations.migrate` raises where it is ``"migrate"``.
    """
    if _inside.get():
        return None
    with _alone(found):
        if is_settled(found):
            return None
        chosen = config._chosen  # noqa: SLF001 - as is_settled
        failure = _look(config.get_config().on_outdated_schema, found)
        if failure is None:
            _settled[found] = chosen
        return failure


def _look(policy: str, found: Engine) -> Exception | None:
    try:
        project = None if policy == "ignore" else revisions.find_project()
        if project is None:
            return None
        history = revisions.read(project)
        try:
            connection = found.connect()
        except Exception as error:  # noqa: BLE001 - it is the session's to raise
            return error
        with connection:
            is_fine = not history.revisions or _is_at_head(connection, project, history)
        now = None if is_fine else _state(found, project, history)
    except Exception as error:
        if policy != "warn":
            raise
        _warn(found, f"The schema was not checked. {_first_line(error)}")
        return None
    if now is not None:
        _apply(policy, now, found)
    return None


def _apply(policy: str, now: SchemaState, found: Engine) -> None:
    if policy == "raise":
        raise SchemaOutdated(now.sentence)
    if policy == "warn" or now.name == "ahead":  # older code beside newer code, during a rollout
        _warn(found, now.sentence)
        return
    from rxdb.migrations.commands import migrate  # noqa: PLC0415 - loads Alembic

    if not _is_async(found):
        migrate()
        return
    import asyncio  # noqa: PLC0415 - is loaded by now

    from sqlalchemy.util import await_only  # noqa: PLC0415 - loaded for asynchronous engines only

    await_only(asyncio.to_thread(migrate))


def _is_at_head(connection: Connection, project: Project, history: History) -> bool:
    """Whether one SELECT already says so.

    It goes past SQLAlchemy's own BEGIN, which on some backends would wait for a writer. Where the
    server cannot roll back DDL, a row of the journal makes the answer another one.
    """
    place = state.version_table(project, connection.dialect.identifier_preparer.quote)
    journal = f" UNION ALL SELECT revision FROM {tables.JOURNAL}"  # noqa: S608 - a name of ours
    features = engine.find_target(is_async=connection.dialect.is_async).dialect.features
    more = "" if Feature.TRANSACTIONAL_DDL in features else journal
    try:
        cursor = connection.connection.cursor()
        cursor.execute(f"SELECT version_num FROM {place}{more}")  # noqa: S608 - quoted
        rows = [row[0] for row in cursor.fetchall()]
        cursor.close()
    except Exception:  # noqa: BLE001 - a table is missing; what else it is, the full look tells
        return False
    is_known = all(row in history.revisions for row in rows)
    return bool(rows) and is_known and len({*rows}) == len(rows) and not history.pending(rows)


def _state(found: Engine, project: Project, history: History) -> SchemaState | None:
    """Return the state of a schema that is not at head."""
    with found.connect() as connection:
        now = state.read(connection, history, project=project)
    return None if now.is_current else now


def _warn(found: Engine, sentence: str) -> None:
    """Say it once for each database."""
    url = found.url
    key = (url.get_backend_name(), url.host, url.port, url.database, url.query.get("host"))
    if (key, sentence) not in _warned:
        _warned.add((key, sentence))
        logger.warning("rxdb: %s", sentence)


@contextmanager
def _alone(found: Engine) -> Iterator[None]:
    """Let others wait that want to look at the same database."""
    mine = object()
    while _busy.setdefault(found, mine) is not mine:
        _pause(found)
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)
        del _busy[found]


def _pause(found: Engine) -> None:
    if not _is_async(found):
        time.sleep(PAUSE)
        return
    import asyncio  # noqa: PLC0415 - is loaded by now

    from sqlalchemy.util import await_only  # noqa: PLC0415 - loaded for asynchronous engines only

    await_only(asyncio.sleep(PAUSE))


def _is_async(found: Engine) -> bool:
    return bool(found.dialect.is_async)


def _first_line(error: Exception) -> str:
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    return hide(said[0] if said else type(error).__name__)
