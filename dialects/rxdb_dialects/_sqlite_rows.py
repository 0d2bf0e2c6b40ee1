"""Many rows into SQLite: one INSERT with as many rows as it takes parameters."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from rxdb.dialect import Merge, Rows

PARAMETERS = 1000
"""For one statement. SQLite takes 32,766 (its documentation, "Limits"), and is no faster then."""


def write_rows(connection: Connection, rows: Rows) -> bool:
    """Insert them; the same text again is a statement that the driver has prepared."""
    values = list(zip(*rows.values, strict=True))
    prepare = connection.dialect.identifier_preparer
    names = ", ".join(prepare.quote(column.name) for column in rows.columns)
    one = f"({', '.join('?' * len(rows.columns))})"
    begin = f"INSERT INTO {prepare.format_table(rows.table)} ({names}) VALUES "  # noqa: S608 - quoted
    size = max(1, PARAMETERS // len(rows.columns))
    text = begin + ", ".join([one] * size)
    for start in range(0, len(values), size):
        part = values[start : start + size]
        if len(part) < size:
            text = begin + ", ".join([one] * len(part))
        connection.exec_driver_sql(text, tuple(chain.from_iterable(part)))
    return True


def upsert(connection: Connection, merge: Merge) -> tuple[int, int]:
    """Count those that are there first: nobody else writes meanwhile."""
    source, target = merge.source, merge.target
    same = " AND ".join(f"{target}.{name} = {source}.{name}" for name in merge.key)
    there = _count(
        connection,
        f"SELECT count(*) FROM {source} JOIN {target} ON {same} WHERE {merge.where}",  # noqa: S608
    )
    all_ = _count(connection, f"SELECT count(*) FROM {source} WHERE {merge.where}")  # noqa: S608
    connection.exec_driver_sql(on_conflict(merge))
    return all_ - there, there if merge.update else 0


def on_conflict(merge: Merge) -> str:
    """Return the statement that SQLite, PostgreSQL and DuckDB share."""
    names, key = ", ".join(merge.columns), ", ".join(merge.key)
    sets = ", ".join(f"{name} = excluded.{name}" for name in merge.update)
    return (
        f"INSERT INTO {merge.target} ({names}) SELECT {names} FROM {merge.source} "  # noqa: S608
        f"WHERE {merge.where} ORDER BY {key} ON CONFLICT ({key}) "
        f"{f'DO UPDATE SET {sets}' if sets else 'DO NOTHING'}"
    )


def _count(connection: Connection, query: str) -> Any:
    return connection.exec_driver_sql(query).scalar_one()
