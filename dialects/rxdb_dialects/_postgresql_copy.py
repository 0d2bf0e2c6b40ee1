"""Many rows into PostgreSQL: COPY, through each of the drivers."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

from rxdb_dialects import _text_rows
from rxdb_dialects._sqlite_rows import on_conflict
from rxdb_dialects._text_rows import FORMATS, each

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from sqlalchemy import Connection

    from rxdb.dialect import Merge, Rows

LINE = re.compile(r"^COPY .*?, line (\d+)", re.MULTILINE)
"""Where PostgreSQL's error tells the row, counted from 1."""

FEW = 10
"""Fewer rows go by INSERT, which takes no round trip more and tells more of an error."""


def interval(value: dt.timedelta) -> str:
    """Write an interval in the server's words."""
    return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"


TEXTS = {
    **FORMATS,
    bytes: each(lambda value: "\\\\x" + value.hex()),
    bool: each("01".__getitem__),
    dt.timedelta: each(interval),
}
BOOLEANS = {**TEXTS, bool: each("ft".__getitem__)}


def write_rows(connection: Connection, rows: Rows) -> bool:
    """Copy the rows as text; what is no plain value is left to INSERT."""
    import sqlalchemy as sa

    dialect: Any = connection.dialect
    copy = (ASYNC_COPIES if dialect.is_async else COPIES).get(dialect.driver)
    if copy is None or len(rows.values[0]) < FEW:
        return False
    columns = []
    for column, values in zip(rows.columns, rows.values, strict=True):
        type_ = column.type._unwrapped_dialect_impl(dialect)  # noqa: SLF001
        if isinstance(type_, sa.JSON):
            columns.append((documents(values, dialect), TEXTS))
        else:
            columns.append((values, BOOLEANS if isinstance(type_, sa.Boolean) else TEXTS))
    text = _text_rows.write(columns)
    if text is None:
        return False
    quote = dialect.identifier_preparer
    names = ", ".join(quote.quote(column.name) for column in rows.columns)
    statement = f"COPY {quote.format_table(rows.table)} ({names}) FROM STDIN"
    if dialect.paramstyle in {"format", "pyformat"}:
        statement = statement.replace("%%", "%")  # doubled for parameters, and there are none

    def send(cursor: Any, statement: str) -> None:
        try:
            if dialect.is_async:
                from sqlalchemy.util import await_only

                await_only(copy(connection, rows, statement, text))
            else:
                copy(cursor, statement, text)
        except Exception as error:
            if (meant := translated(connection, error)) is error:
                raise
            raise meant from error

    _text_rows.execute(connection, statement, send)
    return True


def translated(connection: Connection, error: Exception) -> Exception:
    """Return the error that SQLAlchemy knows, with the row that PostgreSQL tells."""
    found: Any = error
    raw: Any = connection.connection.dbapi_connection
    if hasattr(raw, "_handle_exception"):  # SQLAlchemy's side of an asynchronous driver
        try:
            raw._handle_exception(error)  # noqa: SLF001
        except Exception as meant:  # noqa: BLE001 - that is what it is for
            found = meant
    where = getattr(getattr(error, "diag", error), "context", None)
    if line := LINE.search(where or ""):
        found.rxdb_line = int(line[1]) - 1
    return found  # type: ignore[no-any-return]


def documents(values: Sequence[Any], dialect: Any) -> Sequence[Any]:
    """Return JSON as text: psycopg wraps what it will write, the other drivers take texts."""
    usual = dialect._json_serializer or json.dumps  # noqa: SLF001
    return [
        (getattr(value, "dumps", None) or usual)(value.obj) if hasattr(value, "obj") else value
        for value in values
    ]


def by_psycopg(cursor: Any, statement: str, text: Iterator[bytes]) -> None:
    """Send the text through psycopg's copy."""
    with cursor.copy(statement) as copy:
        for piece in text:
            copy.write(piece)


class File:
    """What psycopg2 reads from: a piece for each read."""

    def __init__(self, text: Iterator[bytes]) -> None:
        self._text = text

    def read(self, size: int) -> bytes:  # noqa: ARG002 - it takes more than it asks for
        """Return the next piece; nothing at the end."""
        return next(self._text, b"")


def by_psycopg2(cursor: Any, statement: str, text: Iterator[bytes]) -> None:
    """Send the text as a file."""
    cursor.copy_expert(statement, File(text))


async def by_async_psycopg(
    connection: Connection, rows: Rows, statement: str, text: Iterator[bytes]
) -> None:
    """Send the text through psycopg's copy."""
    driver: Any = connection.connection.driver_connection
    async with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for piece in text:
            await copy.write(piece)


async def by_asyncpg(
    connection: Connection, rows: Rows, statement: str, text: Iterator[bytes]
) -> None:
    """Send the text as an asynchronous iterable; the savepoint has begun asyncpg's transaction."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in text:
            yield piece

    driver: Any = connection.connection.driver_connection
    await driver.copy_to_table(
        rows.table.name,
        schema_name=rows.table.schema,
        columns=[column.name for column in rows.columns],
        source=pieces(),
        format="text",
        encoding="utf-8",
    )


COPIES: dict[str, Any] = {"psycopg": by_psycopg, "psycopg2": by_psycopg2}
ASYNC_COPIES: dict[str, Any] = {
    "psycopg": by_async_psycopg,
    "psycopg_async": by_async_psycopg,
    "asyncpg": by_asyncpg,
}


def upsert(connection: Connection, merge: Merge) -> tuple[int, int]:
    """Insert or update with ON CONFLICT: a row that was inserted has no transaction in xmax."""
    counts = connection.exec_driver_sql(
        f"WITH written AS ({on_conflict(merge)} RETURNING (xmax = 0) AS is_new) "  # noqa: S608
        "SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM written"
    ).one()
    return counts[0], counts[1]
