"""The table ``rxdb_migration_log``: what was applied, when, how long it took, and by whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rxdb.migrations import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Insert, Table

COLUMNS = "id, revision, direction, started_at, seconds, host, rxdb_version, checksum"
SELECT = f"SELECT {COLUMNS} FROM {tables.LOG} ORDER BY id"  # noqa: S608 - names of ours
"""Plain SQL, for the state of a schema is also read without SQLAlchemy."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One revision that was applied or taken back."""

    id: int
    revision: str
    direction: str
    """``"upgrade"`` or ``"downgrade"``."""

    started_at: datetime
    """In UTC."""

    seconds: float
    host: str
    version: str
    """The version of rxdb."""

    checksum: str
    """What :func:`checksum` said of the script then; empty where there was none."""


def ensure(connection: Connection) -> None:
    """Create the table where it is missing.

    MySQL and MariaDB end a transaction at CREATE TABLE, so this comes before the first revision.
    """
    _table().create(connection, checkfirst=True)


Row = dict[str, Any]
"""One row, by the names of its columns; the number is given by :func:`record`."""


def row(*, revision: str, direction: str, started: datetime, seconds: float, checksum: str) -> Row:
    """Return a row for what this process did; *started* is aware of its time zone."""
    return {
        "revision": revision,
        "direction": direction,
        "started_at": started.astimezone(UTC).replace(tzinfo=None),
        "seconds": seconds,
        "host": _host(),
        "rxdb_version": import_module("rxdb").__version__,  # from above: by name, at run time
        "checksum": checksum,
    }


def record(connection: Connection, rows: Sequence[Row]) -> None:
    """Write *rows* in the transaction of *connection*, so that log and version agree.

    :func:`ensure` has to have been called before.
    """
    given = [{f"given_{name}": value for name, value in row.items()} for row in rows]
    connection.execute(_insert(), given if len(given) > 1 else given[0])


@lru_cache(maxsize=1)
def _host() -> str:
    import socket  # noqa: PLC0415 - not for status

    return socket.gethostname()[:255]


def read(connection: Connection) -> list[Entry]:
    """Return all entries, oldest first; none where the table is not there."""
    from sqlalchemy import inspect  # noqa: PLC0415 - for status it is slow

    if not inspect(connection).has_table(tables.LOG):
        return []
    return entries(connection.exec_driver_sql(SELECT))


def entries(rows: Iterable[Any]) -> list[Entry]:
    """Return what the rows of :data:`SELECT` say."""
    return [
        Entry(
            id=number,
            revision=revision,
            direction=direction,
            started_at=_utc(started_at),
            seconds=seconds,
            host=host,
            version=version,
            checksum=checksum,
        )
        for number, revision, direction, started_at, seconds, host, version, checksum in rows
    ]


def checksum(path: Path) -> str:
    """Return the SHA-256 of a script in hexadecimal; the kind of its line ends does not count."""
    found = path.stat()
    return _checksum(str(path), found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4096)
def _checksum(path: str, changed: int, size: int) -> str:
    import hashlib  # noqa: PLC0415 - where nothing was logged there is nothing to compare

    content = Path(path).read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return hashlib.sha256(content).hexdigest()


def _utc(value: datetime | str) -> datetime:
    """Return a time of the table; a backend that keeps times as text gives a text."""
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


@lru_cache(maxsize=1)
def _insert() -> Insert:
    """Return the statement of :func:`record`: made once, SQLAlchemy compiles it once."""
    from sqlalchemy import bindparam, func, insert, select  # noqa: PLC0415 - for status it is slow

    table = _table()
    # Numbered here and not by the server: one process migrates at a time, and a backend without
    # AUTO_INCREMENT needs no sequence.
    number = func.coalesce(func.max(table.c.id), 0) + 1
    columns = [column for column in table.columns if column.name != "id"]
    row = [bindparam(f"given_{column.name}", type_=column.type) for column in columns]
    return insert(table).from_select(["id", *columns], select(number, *row))


@lru_cache(maxsize=1)
def _table() -> Table:
    from sqlalchemy import (  # noqa: PLC0415 - for status it is slow
        Column,
        DateTime,
        Double,
        Integer,
        MetaData,
        String,
        Table,
    )

    return Table(
        tables.LOG,
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("revision", String(255), nullable=False),
        Column("direction", String(16), nullable=False),
        Column("started_at", DateTime, nullable=False),
        Column("seconds", Double, nullable=False),
        Column("host", String(255), nullable=False),
        Column("rxdb_version", String(64), nullable=False),
        Column("checksum", String(64), nullable=False),
    )
