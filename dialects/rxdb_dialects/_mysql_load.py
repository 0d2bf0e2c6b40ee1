"""Many rows into MySQL and MariaDB: LOAD DATA LOCAL where the server allows it, else INSERT.

The server asks for a file by name, and might ask for another one than the statement names. Here
no file is read at all: what is sent is the text of the rows, and only for the name ``rxdb``. Every
other request, and any outside of this call, is refused as by a driver without ``local_infile``.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import warnings
from contextlib import nullcontext, suppress
from itertools import pairwise
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from rxdb_dialects import _text_rows
from rxdb_dialects._text_rows import FORMATS, PIECE, each, without_zone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from rxdb.dialect import Merge, Rows
    from rxdb_dialects._text_rows import Format

NAME = b"rxdb"
"""What the statement names and the server asks for."""

PACKET = 65536
"""Bytes that are sent at once."""

LOCAL_FILES = 128
"""The client's flag without which the server refuses the statement (MySQL manual, "Capabilities
Flags", CLIENT_LOCAL_FILES). The driver goes on refusing to read files."""

FIRST = 50
"""Rows of the first piece: the server begins to work sooner."""

FEW = 50
"""Fewer rows go by INSERT, which takes fewer round trips."""


def clocks(values: Sequence[dt.time]) -> Iterator[str]:
    """Write times as the drivers do."""
    return map(str, map(methodcaller("replace", tzinfo=None), values))


TEXTS: Mapping[type, Format] = {
    **FORMATS,
    bool: each("01".__getitem__),
    bytes: each(bytes.hex),
    dt.datetime: without_zone,  # as the drivers do
    dt.time: clocks,
}


def write_rows(connection: Connection, rows: Rows) -> bool:
    """Load the rows, or insert them as the driver packs many rows into one statement."""
    if len(rows) >= FEW and can_load(connection) and load(connection, rows):
        return True
    prepare = connection.dialect.identifier_preparer
    names = ", ".join(prepare.quote(column.name) for column in rows.columns)
    marks = ", ".join(["%s"] * len(rows.columns))
    statement = f"INSERT INTO {prepare.format_table(rows.table)} ({names}) VALUES ({marks})"
    connection.exec_driver_sql(statement, list(zip(*rows.values, strict=True)))
    return True


def can_load(connection: Connection) -> bool:
    """Whether server and driver can; the server is asked once for each engine."""
    dialect: Any = connection.dialect
    if dialect.driver not in LOADS or not dialect._backslash_escapes:  # noqa: SLF001 - no public way
        return False
    if not hasattr(dialect, "rxdb_can_load"):
        found = connection.exec_driver_sql("SELECT @@local_infile").scalar()
        dialect.rxdb_can_load = bool(found)
    return bool(dialect.rxdb_can_load)


def load(connection: Connection, rows: Rows) -> bool:
    """Load the rows, and undo that where the server warns.

    LOAD DATA LOCAL makes warnings of errors, and leaves out rows with a key that is there already
    (MySQL manual, "LOAD DATA Statement", "IGNORE and LOCAL"). INSERT then tells what is wrong.
    """
    import sqlalchemy as sa
    from sqlalchemy.dialects.mysql import BIT
    from sqlalchemy.exc import SQLAlchemyError

    dialect: Any = connection.dialect
    types = [column.type._unwrapped_dialect_impl(dialect) for column in rows.columns]  # noqa: SLF001 - no public way
    if any(isinstance(type_, BIT | sa.types.NullType) for type_ in types):
        return False
    text = Text(rows, [isinstance(type_, sa.LargeBinary) for type_ in types])
    prepare = dialect.identifier_preparer
    names, sets = [], []
    for number, (column, is_binary) in enumerate(zip(rows.columns, text.binary, strict=True)):
        name = prepare.quote(column.name)
        names.append(f"@rxdb_{number}" if is_binary else name)
        sets += [f"{name} = UNHEX(@rxdb_{number})"] if is_binary else []
    statement = (
        f"LOAD DATA LOCAL INFILE '{NAME.decode()}' INTO TABLE {prepare.format_table(rows.table)} "
        f"CHARACTER SET utf8mb4 ({', '.join(names)}){' SET ' if sets else ''}{', '.join(sets)}"
    ).replace("%%", "%")  # doubled for parameters, and there are none
    found: list[tuple[int, int]] = []

    def send(cursor: object, statement: str) -> None:
        found.append(_sent(connection, statement, iter(text)))

    savepoint = connection.begin_nested()
    try:
        _text_rows.execute(connection, statement, send)
    except SQLAlchemyError:
        with suppress(SQLAlchemyError):
            savepoint.rollback()
        raise
    except BaseException:  # it was left in the midst of an answer
        connection.invalidate()
        raise
    written, warned = found[0]
    if text.error or warned or written != len(rows):
        savepoint.rollback()
        if isinstance(text.error, Exception):
            raise text.error
        return False
    savepoint.commit()
    return True


class Text:
    """The rows as text in pieces, each of which is converted while the server works on the one
    before.

    Where that fails it ends, so that the server answers, and ``error`` tells what there was.
    """

    def __init__(self, rows: Rows, binary: list[bool]) -> None:
        self.rows, self.binary = rows, binary
        self.error: Exception | bool = False
        """What a value raised; True where one has no format."""

    def __iter__(self) -> Iterator[bytes]:
        count = len(self.rows)
        for start, stop in pairwise([0, *range(FIRST, count, PIECE), count]):
            try:
                piece = self._piece(self.rows.part(start, stop))
            except Exception as error:  # noqa: BLE001 - it is raised when the server has answered
                self.error = error
                return
            if piece is None:
                self.error = True
                return
            yield piece

    def _piece(self, rows: Rows) -> bytes | None:
        for kinds, is_binary in zip(rows.kinds, self.binary, strict=True):
            if (bytes in kinds) != is_binary and kinds != {type(None)}:
                return None
        formats = _text_rows.formats_of(rows, [TEXTS] * len(self.binary))
        return None if formats is None else _text_rows.lines(rows.values, formats)


def _sent(connection: Connection, statement: str, text: Iterator[bytes]) -> tuple[int, int]:
    """Send the rows, and return how many were written and how many warnings there are."""
    driver: Any = connection.connection.driver_connection
    send = LOADS[connection.dialect.driver]
    if not connection.dialect.is_async:
        found: tuple[int, int] = send(driver, statement, text)
        return found
    from sqlalchemy.util import await_only

    return await_only(send(driver, statement, text))  # type: ignore[no-any-return]  # of any driver


def _answers(packet: Any, asked: Any, text: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what is sent to the server that asks for a file."""
    name = asked(packet).filename
    if name == NAME:
        for piece in text:
            for start in range(0, len(piece), PACKET):
                yield piece[start : start + PACKET]
    yield b""


def by_pymysql(driver: Any, statement: str, text: Iterator[bytes]) -> tuple[int, int]:
    """Speak the protocol through PyMySQL's connection."""
    from pymysql.constants import COMMAND  # type: ignore[import-untyped]  # it has no types
    from pymysql.protocol import (  # type: ignore[import-untyped]  # it has no types
        LoadLocalPacketWrapper,
        OKPacketWrapper,
    )

    driver._execute_command(COMMAND.COM_QUERY, statement)  # noqa: SLF001 - no public way
    packet = driver._read_packet()  # noqa: SLF001 - no public way
    for part in _answers(packet, LoadLocalPacketWrapper, text):
        driver.write_packet(part)
    done = OKPacketWrapper(driver._read_packet())  # noqa: SLF001 - no public way
    return done.affected_rows, done.warning_count


async def by_aiomysql(driver: Any, statement: str, text: Iterator[bytes]) -> tuple[int, int]:
    """Speak the protocol through aiomysql's connection, which uses PyMySQL's packets."""
    from pymysql.constants import COMMAND
    from pymysql.protocol import (
        LoadLocalPacketWrapper,
        OKPacketWrapper,
    )

    await driver._execute_command(COMMAND.COM_QUERY, statement)  # noqa: SLF001 - asyncmy and aiomysql have no public way
    packet = await driver._read_packet()  # noqa: SLF001 - asyncmy and aiomysql have no public way
    for part in _answers(packet, LoadLocalPacketWrapper, text):
        driver.write_packet(part)
        await asyncio.sleep(0)  # lets it be sent
    done = OKPacketWrapper(await driver._read_packet())  # noqa: SLF001 - asyncmy and aiomysql have no public way
    return done.affected_rows, done.warning_count


async def by_asyncmy(driver: Any, statement: str, text: Iterator[bytes]) -> tuple[int, int]:
    """Speak the protocol through asyncmy's connection."""
    from asyncmy.constants import COMMAND
    from asyncmy.protocol import LoadLocalPacketWrapper, OKPacketWrapper

    await driver._execute_command(COMMAND.COM_QUERY, statement)  # noqa: SLF001 - asyncmy and aiomysql have no public way
    packet = await driver.read_packet()
    for part in _answers(packet, LoadLocalPacketWrapper, text):
        driver.write_packet(part)
        await asyncio.sleep(0)  # lets it be sent
    done = OKPacketWrapper(await driver.read_packet())
    return done.affected_rows, done.warning_count


LOADS: dict[str, Any] = {
    "pymysql": by_pymysql,
    "aiomysql": by_aiomysql,
    "asyncmy": by_asyncmy,
}
"""mysqlclient reads files by itself, whichever the server asks for: it inserts."""


def upsert(connection: Connection, merge: Merge) -> tuple[int, int]:
    """Insert or update with ON DUPLICATE KEY UPDATE, which counts the rows that it finds.

    The server's own count does not tell an inserted row from one that is as it was. And the clause
    takes every unique key: where it finds a row with another key than the one that was named, the
    same row is inserted by itself, and the server says which constraint is in the way.
    """
    source, target = merge.source, merge.target
    names = ", ".join(merge.columns)
    same = " AND ".join(f"{target}.{name} = {source}.{name}" for name in merge.key)
    first, *others = merge.update or merge.key[:1]
    value = f"{source}.{first}" if merge.update else f"{target}.{first}"
    counted = (
        "(@rxdb_found := @rxdb_found + 1) + "
        f"IF({same}, 0, @rxdb_strange := COALESCE(@rxdb_strange, {source}.{merge.row}))"
    )
    sets = [f"{first} = IF({counted} IS NULL, {value}, {value})"]
    sets += [f"{name} = {source}.{name}" for name in others]
    sets += [f"{name} = {source}.{value}" for name, value in merge.fixed]
    sets += [f"{name} = {expression}" for name, expression in merge.computed]
    order = ", ".join(f"{source}.{name}" for name in merge.key)
    listed = ", ".join(f"{source}.{name}" for name in merge.columns)
    connection.exec_driver_sql("SET @rxdb_found = 0, @rxdb_strange = NULL")
    with connection.begin_nested() if merge.part else nullcontext() as savepoint:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # aiomysql tells MySQL's
            connection.exec_driver_sql(
                f"INSERT INTO {target} ({names}) SELECT {listed} FROM {source} "
                f"WHERE {merge.where} ORDER BY {order} ON DUPLICATE KEY UPDATE {', '.join(sets)}"
            )
        found, strange = connection.exec_driver_sql("SELECT @rxdb_found, @rxdb_strange").one()
        if strange is not None and savepoint:
            savepoint.rollback()  # the row that was changed would be in the way as well
    if strange is not None:
        connection.exec_driver_sql(
            f"INSERT INTO {target} ({names}) SELECT {names} FROM {source} "
            f"WHERE {merge.row} = {int(strange)}"
        )
    count = connection.exec_driver_sql(
        f"SELECT count(*) FROM {source} WHERE {merge.where}"
    ).scalar_one()
    return count - int(found), int(found) if merge.update else 0
