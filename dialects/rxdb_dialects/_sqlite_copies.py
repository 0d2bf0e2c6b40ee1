"""Copy a SQLite file before a revision that drops data, and bring the copy back after a failure.

Both ways go through SQLite's online backup: the application may stay connected, a copy of a file
in WAL mode has what still stands in the ``-wal`` file, and a restored file changes for all its
connections at once.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rxdb.errors import MigrationFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rxdb.dialect import Target

PAGES = 4096
"""Pages that are copied at once: 16 MiB with SQLite's default page of 4096 bytes."""

PATIENCE = 30.0
"""Seconds to wait for other connections, each time the copying cannot go on."""

TIME = "%Y%m%dT%H%M%SZ"
"""How the name of a copy ends; in the order of the times."""

logger = logging.getLogger("rxdb.migrations")

_made: dict[str, str] = {}
"""The newest copy of each file in the run that is going on."""


def back_up(target: Target) -> str:
    """Copy the database file beside itself, and return the path of the copy.

    It is named ``app.db.before-`` with the time in UTC, belongs to the same permissions, is
    checked and on the disk when this returns. A database in memory has no copy: the path is empty.
    Raises :class:`rxdb.errors.MigrationFailed` when the copy cannot be made; nothing was changed.
    """
    file = target.dialect.file(target.url)
    if not file or not Path(file).exists():
        return ""
    copy = _free_name(file)
    partial = Path(f"{copy}.partial")
    try:
        _refuse_full_disk(file)
        partial.touch(mode=0o600)
        _transfer(file, str(partial))
        _check(str(partial))
        shutil.copymode(file, partial)
        _sync(partial)
        partial.rename(copy)
        _sync(copy.parent)
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        raise MigrationFailed(
            f"No copy of {file} could be made, and nothing was changed: {error}. "
            f"Make room or give the permission to write in {copy.parent}, then run it again."
        ) from error
    _made[file] = str(copy)
    return str(copy)


def before(target: Target, moment: datetime) -> str:
    """Return the path of the newest copy that was made before *moment*, or nothing."""
    file = Path(target.dialect.file(target.url))
    made = re.compile(re.escape(f"{file.name}.before-") + r"(\d{8}T\d{6}Z)(?:-(\d+))?")
    latest = f"{moment:{TIME}}"
    found = [
        (name[1], int(name[2] or 1), str(path))
        for path in file.parent.iterdir()
        if (name := made.fullmatch(path.name)) and name[1] <= latest
    ]
    return max(found)[2] if found else ""


def restore(target: Target, copy: str) -> None:
    """Bring the database back to what *copy* holds, in one transaction of the file.

    Raises :class:`rxdb.errors.MigrationFailed` when that cannot be done.
    """
    file = target.dialect.file(target.url)
    try:
        _check(copy)
        _transfer(copy, file)
        _check(file)
    except (OSError, sqlite3.Error) as error:
        raise MigrationFailed(
            f"{file} could not be restored: {error}. Stop the application, delete "
            f"{file}-wal and {file}-shm, and copy {copy} to {file}."
        ) from error


@contextmanager
def kept(target: Target) -> Iterator[None]:
    """Watch over a run of migrations: after an error, look whether all of it was rolled back.

    The copy is restored when the file is damaged, or when tables differ although the version is
    still the one of the copy. Rows are left alone: other connections may have written some.
    """
    file = target.dialect.file(target.url)
    _made.pop(file, None)
    try:
        yield
    except Exception as error:
        if copy := _made.get(file):
            if reason := _damage(file, copy):
                restore(target, copy)
                logger.warning("%s was restored from %s: %s", file, copy, reason)
                error.add_note(f"The database was restored from {copy}: {reason}")
            else:
                error.add_note(f"The copy from before is {copy}")
        raise
    finally:
        _made.pop(file, None)


def _damage(file: str, copy: str) -> str:
    """Return why *file* is not what it was when *copy* was made, or nothing."""
    try:
        _check(file)
        before, now = _state(copy), _state(file)
    except sqlite3.Error as error:
        return str(error)
    is_same_version = before[0] == now[0]
    return "the rollback left changed tables behind." if is_same_version and before != now else ""


def _state(file: str) -> tuple[list[Any], list[Any]]:
    """Return the revisions that the file is at, and what all its tables are."""
    with closing(_open(file)) as connection:
        schema = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall()
        is_versioned = any(name == "alembic_version" for name, _ in schema)
        query = "SELECT version_num FROM alembic_version ORDER BY 1"
        return connection.execute(query).fetchall() if is_versioned else [], schema


def _free_name(file: str) -> Path:
    """Return a name beside *file* that is not taken."""
    start = f"{file}.before-{datetime.now(UTC):{TIME}}"
    names = (Path(start if n == 1 else f"{start}-{n}") for n in range(1, 10_000))
    return next(name for name in names if not name.exists())


def _refuse_full_disk(file: str) -> None:
    size = Path(file).stat().st_size
    wal = Path(f"{file}-wal")
    size += wal.stat().st_size if wal.exists() else 0
    free = shutil.disk_usage(Path(file).parent).free
    if free < size:
        raise OSError(f"{size:,} bytes are needed, and {free:,} are free")


def _transfer(source: str, destination: str) -> None:
    """Copy a database as one moment of it; nothing of *destination* is changed by a failure."""
    deadline = time.monotonic() + PATIENCE

    def progress(status: int, remaining: int, total: int) -> None:
        nonlocal deadline
        if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            if time.monotonic() > deadline:
                raise sqlite3.OperationalError("another connection holds the database")
        else:
            deadline = time.monotonic() + PATIENCE

    with closing(_open(source)) as old, closing(_open(destination)) as new:
        old.backup(new, pages=PAGES, progress=progress)


def _check(file: str) -> None:
    """Raise when SQLite finds the file damaged."""
    with closing(_open(file)) as connection:
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer != "ok":
        raise sqlite3.DatabaseError(f"{file} is damaged: {answer}")


def _open(file: str) -> sqlite3.Connection:
    """Open a file that is there."""
    uri = f"{Path(file).absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _sync(path: Path) -> None:
    """Wait until *path* is on the disk; a folder only where the system can."""
    with suppress(PermissionError):  # Windows opens no folder
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
