"""Many rows into PostgreSQL: COPY, through each of the drivers."""

from __future__ import annotations

import datetime as dt
import re
from collections import deque
from decimal import Decimal
from functools import cache
from itertools import repeat
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rxdb_dialects import _text_rows
from rxdb_dialects._sqlite_rows import on_conflict
from rxdb_dialects._text_rows import FORMATS, each

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from sqlalchemy import Column, Connection

    from rxdb.dialect import Merge, Rows
    from rxdb_dialects._text_rows import Send

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


MANY = 100
"""Fewer rows go as text, which takes fewer round trips."""

BINARY: Mapping[type, frozenset[int]] = {
    bool: frozenset({16}),
    bytes: frozenset({17}),
    int: frozenset({20, 21, 23}),
    str: frozenset({25, 1042, 1043}),
    float: frozenset({701}),
    dt.date: frozenset({1082}),
    dt.datetime: frozenset({1114, 1184}),
    Decimal: frozenset({1700}),
    UUID: frozenset({2950}),
}
"""The types of columns, by their numbers in PostgreSQL's pg_type.dat, that psycopg writes in
binary for a type of Python, each with one meaning."""

LARGEST = {21: 2**15 - 1, 23: 2**31 - 1, 20: 2**63 - 1}
"""Of whole numbers: psycopg cuts off the upper bits of others."""


def write_rows(connection: Connection, rows: Rows) -> bool:
    """Copy the rows, in binary where psycopg does that in C; what is no plain value is left to
    INSERT."""
    dialect: Any = connection.dialect
    copy = (ASYNC_COPIES if dialect.is_async else COPIES).get(dialect.driver)
    if copy is None or len(rows) < FEW:
        return False
    return by_binary(connection, rows) or by_text(connection, rows, copy)


def by_binary(connection: Connection, rows: Rows) -> bool:
    """Copy the rows through psycopg, which takes less time than text, for client and server.

    Binary values have to have the very type of their column, which the server is asked for. What
    is refused goes again as text, which may have been meant, or has the better error.
    """
    from sqlalchemy import exc

    dialect: Any = connection.dialect
    if dialect.driver != "psycopg" or dialect.is_async or len(rows) < MANY:
        return False
    if any(map(is_document, rows.columns, repeat(dialect))):
        return False
    kinds = [some - {type(None)} for some in rows.kinds]
    if not is_fast() or any(len(some) > 1 or not some <= BINARY.keys() for some in kinds):
        return False
    statement, names, table = statement_of(connection, rows)

    def send(cursor: Any, statement: str) -> None:
        cursor.execute(f"SELECT {names} FROM {table} LIMIT 0")
        types = [column.type_code for column in cursor.description]
        for some, type_, values in zip(kinds, types, rows.values, strict=True):
            if not is_exact(some, type_, values):
                raise ValueError("Its type is another one.")
        with cursor.copy(statement) as copy:
            copy.set_types(
                [type_ if some else TEXT for some, type_ in zip(kinds, types, strict=True)]
            )
            deque(map(copy.write_row, zip(*rows.values, strict=True)), maxlen=0)

    binary = f"{statement} (FORMAT BINARY)"
    try:
        with connection.begin_nested():
            _text_rows.execute(connection, binary, telling(connection, send))
    except (exc.DataError, exc.ProgrammingError, ValueError, TypeError, ArithmeticError):
        return False
    return True


def is_document(column: Column[Any], dialect: Any) -> bool:
    """Whether a column holds JSON, which is sent as text."""
    import sqlalchemy as sa

    return isinstance(column.type._unwrapped_dialect_impl(dialect), sa.JSON)  # noqa: SLF001 - SQLAlchemy tells it nowhere else


TEXT = 25
"""Any type does for a column of NULL; this one is always known."""


@cache
def is_fast() -> bool:
    """Whether psycopg has its part in C: without it text is faster."""
    from psycopg import pq

    return pq.__impl__ != "python"


def is_exact(kinds: frozenset[type], type_: int, values: Sequence[Any]) -> bool:
    """Whether all values of a column, of the one type of Python in *kinds*, fit its type."""
    if any(type_ not in BINARY[kind] for kind in kinds):
        return False
    if kinds != {int}:
        return True
    known = [value for value in values if value is not None]
    most = LARGEST[type_]
    return all(-most <= end <= most for end in (min(known), max(known)))


def statement_of(connection: Connection, rows: Rows) -> tuple[str, str, str]:
    """Return the COPY, and the names of columns and table in it."""
    dialect: Any = connection.dialect
    prepare = dialect.identifier_preparer
    names = ", ".join(prepare.quote(column.name) for column in rows.columns)
    table = prepare.format_table(rows.table)
    statement = f"COPY {table} ({names}) FROM STDIN"
    if dialect.paramstyle not in {"format", "pyformat"}:
        return statement, names, table
    one, two, three = (text.replace("%%", "%") for text in (statement, names, table))
    return one, two, three  # doubled for parameters, and there are none


def by_text(connection: Connection, rows: Rows, copy: Any) -> bool:
    """Copy the rows as text."""
    import sqlalchemy as sa

    dialect: Any = connection.dialect
    types = [column.type._unwrapped_dialect_impl(dialect) for column in rows.columns]  # noqa: SLF001 - SQLAlchemy tells it nowhere else
    formats = [BOOLEANS if isinstance(type_, sa.Boolean) else TEXTS for type_ in types]
    text = _text_rows.write(rows, formats)
    if text is None:
        return False
    statement, _, _ = statement_of(connection, rows)

    def send(cursor: Any, statement: str) -> None:
        if dialect.is_async:
            from sqlalchemy.util import await_only

            await_only(copy(connection, rows, statement, text))
        else:
            copy(cursor, statement, text)

    _text_rows.execute(connection, statement, telling(connection, send))
    return True


def telling(connection: Connection, send: Send) -> Send:
    """Let an error be one that SQLAlchemy knows, with the row that PostgreSQL tells."""

    def told(cursor: Any, statement: str) -> None:
        try:
            send(cursor, statement)
        except Exception as error:
            if (meant := translated(connection, error)) is error:
                raise
            raise meant from error

    return told


def translated(connection: Connection, error: Exception) -> Exception:
    """Return the error that SQLAlchemy knows, with the row that PostgreSQL tells."""
    found: Any = error
    raw: Any = connection.connection.dbapi_connection
    if hasattr(raw, "_handle_exception"):  # SQLAlchemy's side of an asynchronous driver
        try:
            raw._handle_exception(error)  # noqa: SLF001 - the adapter's own translation of errors
        except Exception as meant:  # noqa: BLE001 - that is what it is for
            found = meant
    where = getattr(getattr(error, "diag", error), "context", None)
    if line := LINE.search(where or ""):
        found.rxdb_line = int(line[1]) - 1
    return found  # type: ignore[no-any-return]  # Any is an error here


def by_psycopg(cursor: Any, statement: str, text: Iterator[bytes]) -> None:
    """Send the text through psycopg's copy."""
    with cursor.copy(statement) as copy:
        for piece in text:
            copy.write(piece)


class File:
    """What psycopg2 reads from: a piece for each read."""

    def __init__(self, text: Iterator[bytes]) -> None:
        self._text = text

    def read(self, size: int) -> bytes:
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
        f"WITH written AS ({on_conflict(merge)} RETURNING (xmax = 0) AS is_new) "
        "SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM written"
    ).one()
    return counts[0], counts[1]
