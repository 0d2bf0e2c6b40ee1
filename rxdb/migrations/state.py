"""The true name of what state a database's schema is in, and the command to run next.

Reading it takes two to four short statements however many tables there are, and neither the
models nor Alembic. Where a dialect opens a plainly written URL by itself (``Dialect.glance``),
SQLAlchemy is not loaded either.
"""

from __future__ import annotations

import re
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rxdb import config, registry
from rxdb.dialect import Feature
from rxdb.errors import DriverMismatch, DriverMissing, hide, is_own
from rxdb.migrations import log, revisions, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from rxdb.engine import URLLike
    from rxdb.migrations.journal import Half
    from rxdb.migrations.revisions import History, Project, Revision

NAMES = (
    "no migrations",
    "half applied",
    "diverged",
    "ahead",
    "several heads",
    "empty",
    "unversioned",
    "behind",
    "at head",
    "models differ",
)
"""Every name that a state can have. Where several would be true the first of these is given, for
it has to be dealt with first; ``models differ`` comes from comparing with the models."""

SQUASHED = "squashed"
"""The folder beside the scripts where those go that one script has replaced."""


@dataclass(frozen=True, kw_only=True)
class SchemaState:
    """Where a database stands in the history of its migrations."""

    name: str
    """One of :data:`NAMES`:

    - ``no migrations``: the project has no ``alembic.ini``.
    - ``half applied``: a revision stopped half-way, and the server could not roll it back.
    - ``diverged``: the database is at a revision that no script describes, and that does not
      follow the scripts that are here: it stands beside a known one, or the log says that one of
      the scripts was not applied. Or one of the database's revisions comes before another.
    - ``ahead``: the database is at a revision that no script describes, and nothing says that
      one of the scripts here was not applied. This is what older code sees.
    - ``several heads``: two scripts follow the same one, and one of them is not applied.
    - ``empty``: there are no tables, and no revision is recorded.
    - ``unversioned``: there are tables, and no revision is recorded.
    - ``behind``: some scripts are not applied.
    - ``at head``: all scripts are applied.
    - ``models differ``: all scripts are applied, and the models say something else.
    """

    current: tuple[str, ...] = ()
    """The revisions that the database says it is at."""

    heads: tuple[str, ...] = ()
    """The newest revisions on disk."""

    pending: tuple[str, ...] = ()
    """The revisions to apply, oldest first."""

    unknown: tuple[str, ...] = ()
    """The revisions of :attr:`current` that no script describes."""

    half: Half | None = None
    """The revision that stopped half-way."""

    edited: tuple[str, ...] = ()
    """The revisions whose scripts are not what they were when they were applied."""

    files: Mapping[str, Path] = field(default_factory=dict, hash=False, repr=False)
    """The scripts of :attr:`edited`."""

    applied_at: Mapping[str, datetime] = field(default_factory=dict, hash=False, repr=False)
    """When each revision was applied last, in UTC, as far as the log tells."""

    @property
    def is_current(self) -> bool:
        """Whether all revisions are applied."""
        return self.name == "at head"

    @property
    def sentence(self) -> str:
        """What the state means, and the command to run; a line for each script that was edited."""
        edited = [
            f"The script of {revision} was edited after being applied: "
            f"restore {self.files.get(revision, 'it')}"
            for revision in self.edited
        ]
        return "\n".join([SENTENCES[self.name](self), *edited])

    def as_dict(self) -> dict[str, Any]:
        """Return what a program needs to know, ready for JSON."""
        return {
            "name": self.name,
            "current": list(self.current),
            "heads": list(self.heads),
            "pending": list(self.pending),
            "unknown": list(self.unknown),
            "edited": list(self.edited),
            "half": str(self.half) if self.half else None,
            "sentence": self.sentence,
        }

    def __str__(self) -> str:
        """Return the name with its number, such as ``behind 2``."""
        if self.half is not None and self.name == "half applied":
            return str(self.half)
        more = {"behind": f" {len(self.pending)}", "ahead": " (unknown revision)"}
        return f"{self.name}{more.get(self.name, '')}"


def check_schema(url: URLLike | None = None) -> SchemaState:
    """Return the state of the schema of *url*, by default of the configured database.

    The project's scripts are read from disk, the database is asked which revisions it is at. A
    database file that is not there yet is not made.

    Raises what :func:`rxdb.parse` raises, :class:`rxdb.errors.FolderMissing`,
    :class:`rxdb.errors.BadRevision` for scripts that make no sense, and SQLAlchemy's own errors for
    a server that does not answer.
    """
    project = revisions.find_project()
    if project is None:
        return SchemaState(name="no migrations")
    history = revisions.read(project)
    return _glance(url, project, history) or _ask(url, project, history)


def read(
    connection: Connection, history: History, *, project: Project | None = None
) -> SchemaState:
    """Return the state of the schema that *connection* leads to, in two to four statements.

    None of them fails on a table that is missing, so an open transaction stays usable.
    """
    from sqlalchemy import inspect  # noqa: PLC0415 - the light way does without it

    found = project or revisions.find_project()
    version, schema = _version_table(found)
    place = version_table(found, connection.dialect.identifier_preparer.quote)
    inspector = inspect(connection)
    names = set(inspector.get_table_names())
    is_there = inspector.has_table(version, schema) if schema else version in names

    def run(statement: str) -> Sequence[Any]:
        return connection.exec_driver_sql(statement).all()

    def half() -> Half | None:
        from rxdb.migrations import journal  # noqa: PLC0415 - few databases have one

        return journal.read(connection)

    return judge(
        history,
        _versions(run, place) if is_there else (),
        has_tables=bool(names - tables.OWN - {version}),
        half=half() if tables.JOURNAL in names else None,
        entries=log.entries(run(log.SELECT)) if tables.LOG in names else (),
    )


def version_table(project: Project | None, quote: Callable[[str], str]) -> str:
    """Return the table that says where the database is, as it stands in a statement."""
    name, schema = _version_table(project)
    return ".".join(quote(part) for part in (schema, name) if part)


def judge(
    history: History,
    current: Iterable[str],
    *,
    has_tables: bool,
    half: Half | None = None,
    entries: Sequence[log.Entry] = (),
) -> SchemaState:
    """Return the state of a database at *current*, of which *entries* is the log.

    *has_tables* says whether there are tables beside those of migrations.
    """
    rows = tuple(sorted(set(current)))
    known = tuple(row for row in rows if row in history.revisions)
    unknown = tuple(row for row in rows if row not in history.revisions)
    last = {entry.revision: entry for entry in entries}
    logged = {r for r, e in last.items() if e.direction == "upgrade" and r in history.revisions}
    applied = history.ancestors({*known, *(logged if unknown else ())})
    pending = tuple(r.id for r in history.in_order() if r.id not in applied)
    # A known row beside an unknown one is of another branch: a child takes its parent's row. The
    # log tells the same of an unknown row alone, where it knows any of the scripts that are here.
    is_apart = bool(unknown) and bool(known or (logged and pending))
    name = (
        "half applied" if half
        else "diverged" if is_apart or _overlap(history, known)
        else "ahead" if unknown
        else "several heads" if pending and len(history.heads) > 1
        else "at head" if rows and not pending
        else "behind" if rows
        else "unversioned" if has_tables
        else "empty"
    )  # fmt: skip
    edited = _edited(history, applied, last)
    return SchemaState(
        name=name,
        current=rows,
        heads=history.heads,
        pending=() if name == "ahead" else pending,
        unknown=unknown,
        half=half,
        edited=tuple(revision.id for revision in edited),
        files={revision.id: revision.path for revision in edited},
        applied_at={r: e.started_at for r, e in last.items() if e.direction == "upgrade"},
    )


def ready(url: URLLike | None = None) -> tuple[bool, dict[str, Any]]:
    """Return whether the database answers and is at head, and what is to be said about it.

    This is for an endpoint such as ``/readyz``: the dict is ready for JSON and has the keys of
    :meth:`SchemaState.as_dict`. It raises nothing: a server that does not answer is
    ``{"name": "unreachable", …}``. Without migrations, a database that answers is ready.
    """
    try:
        project = revisions.find_project()
        history = revisions.read(project) if project else revisions.History()
        state = _ask(url, project, history, keep=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, the database is not ready
        return False, _not_ready(error)
    if project is None:
        state = SchemaState(name="no migrations")
    return state.is_current or project is None, state.as_dict()


def _ask(
    url: URLLike | None, project: Project | None, history: History, *, keep: bool = False
) -> SchemaState:
    """Connect through SQLAlchemy; *keep* leaves the connection in the pool for the next time."""
    from rxdb.engine import ensure_folder, find_target, get_engine  # noqa: PLC0415 - loads SQLAlchemy
    from rxdb.migrations import database  # noqa: PLC0415 - loads SQLAlchemy

    def work(engine: Engine) -> SchemaState:
        with engine.connect() as connection:
            return read(connection, history, project=project)

    try:
        target = find_target(url, read_only=True)
    except (DriverMismatch, DriverMissing):
        target = replace(database.target(url), read_only=True)
    ensure_folder(target)
    file = target.dialect.file(target.url)
    if file and not Path(file).exists():
        return judge(history, (), has_tables=False)
    if keep and target.driver.sync:
        return work(get_engine(url, read_only=True))
    return database.with_engine(target, work)


def _glance(url: URLLike | None, project: Project, history: History) -> SchemaState | None:
    """Read the state without SQLAlchemy; None where that does not work, for whatever reason."""
    wanted = url if url is not None else config.database().url
    version, schema = _version_table(project)
    is_plain = re.fullmatch(r"[a-z_]+", version) and not schema
    if not is_plain or not isinstance(wanted, str) or config.get_config().engine_options:
        return None
    dialect = registry.built_in().get(wanted.partition(":")[0].partition("+")[0])
    if dialect is None or Feature.TRANSACTIONAL_DDL not in dialect.features:
        return None  # where DDL cannot be rolled back, there is a journal to be read too
    try:
        opened = dialect.glance(wanted, config.folder())
        if opened is None:
            return None
        with closing(opened[0]) as connection:
            return _look(connection, opened[1], version, history)
    except Exception:  # noqa: BLE001 - the usual way comes next, and tells what is wrong
        return None


def _look(connection: DBAPIConnection, listing: str, version: str, history: History) -> SchemaState:
    """Read the state with plain SELECTs; *listing* asks for the names of the tables."""

    def run(statement: str) -> Sequence[Any]:
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchall()

    both = f"SELECT version_num, {log.COLUMNS} FROM {version} CROSS JOIN {tables.LOG} ORDER BY id"  # noqa: S608 - names
    with suppress(Exception):  # one of them is missing; nothing was begun that could be broken
        if rows := run(both):  # in the usual case one statement tells all
            entries = log.entries(row[1:] for row in rows)
            return judge(history, {row[0] for row in rows}, has_tables=True, entries=entries)
    names = {row[0] for row in run(listing)}
    return judge(
        history,
        _versions(run, version) if version in names else (),
        has_tables=bool(names - tables.OWN - {version}),
        entries=log.entries(run(log.SELECT)) if tables.LOG in names else (),
    )


def _versions(run: Callable[[str], Sequence[Any]], table: str) -> list[str]:
    return [row[0] for row in run(f"SELECT version_num FROM {table}")]  # noqa: S608 - quoted


def _version_table(project: Project | None) -> tuple[str, str]:
    """Return the name of the table that says where the database is, and its schema."""
    options = project.options if project else {}
    return options.get("version_table", tables.VERSION), options.get("version_table_schema", "")


def _overlap(history: History, known: Sequence[str]) -> bool:
    """Whether one row comes before another; Alembic then refuses to go on."""
    before = {p for row in known for p in history.revisions[row].down}
    while more := {p for row in before for p in history.revisions[row].down} - before:
        before |= more
    return not before.isdisjoint(known)


def _edited(
    history: History, applied: set[str], last: Mapping[str, log.Entry]
) -> tuple[Revision, ...]:
    """Return the applied revisions whose script has another checksum than the log."""
    logged = [
        (revision, last[revision.id].checksum)
        for revision in history.in_order()
        if revision.id in applied and revision.id in last
    ]
    changed = ((r, was) for r, was in logged if was and log.checksum(r.path) != was)
    return tuple(r for r, was in changed if not _is_squashed(r, was))


def _is_squashed(revision: Revision, checksum: str) -> bool:
    """Whether the script that was applied is put away, and this one stands for it."""
    away = revision.path.parent.parent / SQUASHED
    return any(log.checksum(file) == checksum for file in away.glob(f"*{revision.id}*.py"))


def _not_ready(error: Exception) -> dict[str, Any]:
    is_known = is_own(error)
    said = str(getattr(error, "orig", None) or error).strip().splitlines() or [""]
    empty = SchemaState(name="empty").as_dict()
    return {
        **empty,
        "name": "unknown" if is_known else "unreachable",
        "sentence": hide(said[0] if is_known else f"The database does not answer: {said[0]}"),
    }


def _listed(ids: Sequence[str], one: str, many: str, most: int = 5) -> str:
    """Say which revisions, and the verb that fits their number."""
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    names = f"{', '.join(ids[:most])}{more}"
    return f"{one} {names} was" if len(ids) == 1 else f"{many} {names} were"


def _no_migrations(state: SchemaState) -> str:
    return "There are no migrations here yet. Run: rxdb db init"


def _half_applied(state: SchemaState) -> str:
    revision = f"Revision {state.half.revision}" if state.half else "A revision"
    return f"{revision} is {state.half}. Run: rxdb db repair"


def _diverged(state: SchemaState) -> str:
    if not state.unknown:
        rows = ", ".join(state.current)
        return (
            f"The version table names {rows}, of which one comes before another. "
            f"Run: {_purge(state)}"
        )
    unknown = _listed(state.unknown, "Revision", "Revisions")
    return (
        f"{unknown} applied to this database by other code, and the scripts here go another way, "
        f"to {', '.join(state.heads)}. Bring the missing scripts here. Then run: rxdb db merge. "
        f"{_gone(state)}"
    )


def _ahead(state: SchemaState) -> str:
    return (
        f"{_listed(state.unknown, 'Revision', 'Revisions')} applied to this database, and no "
        f"script here describes that: it was migrated by other, probably newer code. Update this "
        f"code. Then run: rxdb db status. {_gone(state)}"
    )


def _gone(state: SchemaState) -> str:
    """Say what to do where nobody has the script any more."""
    scripts = "its script is" if len(state.unknown) == 1 else "their scripts are"
    return f"Only if {scripts} gone for good, run: {_purge(state)}"


def _purge(state: SchemaState) -> str:
    newest = {0: "base", 1: "head"}.get(len(state.heads), "heads")
    return f"rxdb db stamp --purge {newest}"


def _several_heads(state: SchemaState) -> str:
    return f"There are several heads: {', '.join(state.heads)}. Run: rxdb db merge"


def _empty(state: SchemaState) -> str:
    if not state.heads:
        return "The database is empty, and there are no revisions. Run: rxdb db makemigrations"
    return "The database is empty. Run: rxdb db migrate"


def _unversioned(state: SchemaState) -> str:
    return (
        "The database has tables, and no revision is recorded in it. If they are the tables of "
        "the models, run: rxdb db init --adopt. If not, run: rxdb db migrate"
    )


def _behind(state: SchemaState) -> str:
    count = f"{len(state.pending)} revision{'s' if len(state.pending) > 1 else ''}"
    place = f"it is at {', '.join(state.current)}, the newest is {', '.join(state.heads)}"
    return f"The database is {count} behind: {place}. Run: rxdb db migrate"


def _at_head(state: SchemaState) -> str:
    return f"The database is at head ({', '.join(state.heads)})."


def _models_differ(state: SchemaState) -> str:
    return "The models differ from the migrations. Run: rxdb db makemigrations"


SENTENCES: Mapping[str, Callable[[SchemaState], str]] = {
    "no migrations": _no_migrations,
    "half applied": _half_applied,
    "diverged": _diverged,
    "ahead": _ahead,
    "several heads": _several_heads,
    "empty": _empty,
    "unversioned": _unversioned,
    "behind": _behind,
    "at head": _at_head,
    "models differ": _models_differ,
}
