"""Many rows into SQLite: one INSERT with as many rows as it takes parameters."""

from __future__ import annotations

import datetime as dt
from itertools import repeat
from typing import TYPE_CHECKING, Any

from rxdb_dialects import _values
from rxdb_dialects._text_rows import naive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection
    from sqlalchemy.types import TypeEngine

    from rxdb.dialect import Conversions, Merge, Rows

PARAMETERS = 4000
"""For one statement. SQLite takes 32,766 (its documentation, "Limits"), and is no faster then."""


def write_rows(connection: Connection, rows: Rows) -> bool:
    """Insert them; the same text again is a statement that the driver has prepared."""
    prepare = connection.dialect.identifier_preparer
    names = ", ".join(prepare.quote(column.name) for column in rows.columns)
    width, count = len(rows.columns), len(rows)
    one = f"({', '.join('?' * width)})"
    begin = f"INSERT INTO {prepare.format_table(rows.table)} ({names}) VALUES "
    size = max(1, PARAMETERS // width)
    text = begin + ", ".join([one] * size)
    columns = rows.values
    for start in range(0, count, size):
        parts = [values[start : start + size] for values in columns]
        if (some := len(parts[0])) < size:
            text = begin + ", ".join([one] * some)
        flat: list[Any] = [None] * (width * some)
        for number, part in enumerate(parts):
            flat[number::width] = part
        connection.exec_driver_sql(text, tuple(flat))
    return True


def bind_columns(type_: TypeEngine[Any], dialect: Any) -> Conversions:
    """Write times and decimals as their types do."""
    from sqlalchemy.dialects import sqlite

    found: Any = type_.dialect_impl(dialect)
    for kind in (sqlite.DATE, sqlite.DATETIME, sqlite.TIME):
        if isinstance(found, kind):
            return TIMES if found._storage_format == kind._storage_format else {}  # noqa: SLF001 - SQLAlchemy tells it nowhere else
    return _values.bind_columns(type_, dialect)


def instants(values: Sequence[dt.datetime]) -> list[str]:
    """Write datetimes without their zone, always with microseconds."""
    return list(map(dt.datetime.isoformat, naive(values), repeat(" "), repeat("microseconds")))


def clocks(values: Sequence[dt.time]) -> list[str]:
    """Write times, always with microseconds."""
    return list(map(dt.time.isoformat, _values.clocks(values), repeat("microseconds")))


TIMES: Conversions = {
    dt.date: lambda values: list(map(dt.date.isoformat, values)),
    dt.datetime: instants,
    dt.time: clocks,
}


def upsert(
    connection: Connection, merge: Merge, parameters: tuple[Any, ...] | None = None
) -> tuple[int, int]:
    """Count those that are there first: nobody else writes meanwhile."""
    source, target = merge.source, merge.target
    same = " AND ".join(f"{target}.{name} = {source}.{name}" for name in merge.key)
    there = _count(
        connection,
        f"SELECT count(*) FROM {source} JOIN {target} ON {same} WHERE {merge.where}",
    )
    all_ = _count(connection, f"SELECT count(*) FROM {source} WHERE {merge.where}")
    connection.exec_driver_sql(on_conflict(merge), parameters)
    return all_ - there, there if merge.update else 0


def on_conflict(merge: Merge) -> str:
    """Return the statement that SQLite, PostgreSQL and DuckDB share."""
    names, key = ", ".join(merge.columns), ", ".join(merge.key)
    ways = [(name, f"excluded.{name}") for name in merge.update]
    ways += [(name, f"(SELECT {value} FROM {merge.source} LIMIT 1)") for name, value in merge.fixed]
    sets = ", ".join(f"{name} = {way}" for name, way in (*ways, *merge.computed))
    return (
        f"INSERT INTO {merge.target} ({names}) SELECT {names} FROM {merge.source} "
        f"WHERE {merge.where} ORDER BY {key} ON CONFLICT ({key}) "
        f"{f'DO UPDATE SET {sets}' if sets else 'DO NOTHING'}"
    )


def _count(connection: Connection, query: str) -> Any:
    return connection.exec_driver_sql(query).scalar_one()
