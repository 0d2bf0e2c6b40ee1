"""Many rows into PostgreSQL: COPY, through each of the drivers."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
from typing import TYPE_CHECKING, Any

from rxdb_dialects import _text_rows
from rxdb_dialects._sqlite_rows import on_conflict
from rxdb_dialects._text_rows import FORMATS, each

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    bool: each(lambda value: str(int(value))),
    dt.timedelta: each(interval),
}
BOOLEANS = {**TEXTS, bool: each(lambda value: "t" if value else "f")}


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
    try:
        if dialect.is_async:
            from sqlalchemy.util import await_only

            await_only(copy(connection, rows, statement, text))
        else:
            copy(connection, statement, text)
    except Exception as error:  # noqa: BLE001 - SQLAlchemy tells whose it is
        fail(connection, error, statement)
    return True


def fail(connection: Connection, error: Exception, statement: str) -> None:
    """Raise what SQLAlchemy would, with the row that PostgreSQL tells."""
    raw: Any = connection.connection.dbapi_connection
    translated: Any = error
    if hasattr(raw, "_handle_exception"):  # SQLAlchemy's side of an asynchronous driver
        try:
            raw._handle_exception(error)  # noqa: SLF001
        except Exception as meant:  # noqa: BLE001 - that is what it is for
            translated = meant
    where = getattr(getattr(error, "diag", error), "context", None)
    if found := LINE.search(where or ""):
        translated.rxdb_line = int(found[1]) - 1
    try:
        raise translated  # noqa: TRY301 - for its place in the traceback
    except Exception as raised:  # noqa: BLE001 - the same
        connection._handle_dbapi_exception(raised, statement, None, None, None)  # noqa: SLF001


def documents(values: Sequence[Any], dialect: Any) -> Sequence[Any]:
    """Return JSON as text: psycopg wraps what it will write, the other drivers take texts."""
    usual = dialect._json_serializer or json.dumps  # noqa: SLF001
    return [
        (getattr(value, "dumps", None) or usual)(value.obj) if hasattr(value, "obj") else value
        for value in values
    ]


def by_psycopg(connection: Connection, statement: str, text: bytes) -> None:
    """Send the text through psycopg's copy."""
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(text)


def by_psycopg2(connection: Connection, statement: str, text: bytes) -> None:
    """Send the text as a file."""
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        cursor.copy_expert(statement, io.BytesIO(text), len(text))


async def by_async_psycopg(connection: Connection, rows: Rows, statement: str, text: bytes) -> None:
    """Send the text through psycopg's copy."""
    driver: Any = connection.connection.driver_connection
    async with driver.cursor() as cursor, cursor.copy(statement) as copy:
        await copy.write(text)


async def by_asyncpg(connection: Connection, rows: Rows, statement: str, text: bytes) -> None:
    """Send the text as a file; the savepoint has begun asyncpg's transaction."""
    driver: Any = connection.connection.driver_connection
    await driver.copy_to_table(
        rows.table.name,
        schema_name=rows.table.schema,
        columns=[column.name for column in rows.columns],
        source=io.BytesIO(text),
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
