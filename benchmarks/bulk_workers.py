"""The functions of benchmarks/bulk.py that are timed: each writes rows and finds their number.

A function prepares, with an empty or half full table, and returns what is timed: from Python values
to the end of the COMMIT.
"""

from __future__ import annotations

import datetime as dt
import os
import resource
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import runner
import sqlalchemy as sa
from sqlmodel import Session

import rxdb as rx

COLUMNS = ["number", "name", "email", "age", "height", "balance", "created", "active"]
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Person(rx.Model, table=True):
    """Eight columns of the usual kinds."""

    number: int = rx.Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    name: str
    email: str
    age: int | None = None
    height: float
    balance: Decimal = rx.Field(max_digits=12, decimal_places=2)
    created: dt.datetime
    active: bool


TABLE: sa.Table = Person.__table__  # type: ignore[attr-defined]  # SQLModel's types do not know it


def row(number: int) -> tuple[Any, ...]:
    """Return one row."""
    return (
        number,
        f"Person number {number}",
        f"person{number}@example.com",
        number % 90 if number % 7 else None,
        1.5 + number % 50 / 100,
        Decimal(number % 100_000) / 100,
        START + dt.timedelta(seconds=number),
        number % 3 == 0,
    )


def dictionaries(count: int) -> list[dict[str, Any]]:
    """Return rows as SQLAlchemy takes them."""
    return [dict(zip(COLUMNS, row(number), strict=True)) for number in range(count)]


def engine_with(url: str, there: int) -> sa.Engine:
    """Return the engine of a database whose table holds every second of *there* numbers."""
    engine = rx.get_engine(url)
    TABLE.drop(engine, checkfirst=True)  # DELETE would leave its rows to be cleared away meanwhile
    TABLE.create(engine)
    with Session(engine) as session:
        rx.bulk_insert(session, Person, map(row, range(0, there, 2)))
        session.commit()
    return engine


def counted(engine: sa.Engine) -> runner.Work:
    """Find out how many rows there are, when the clock has stopped."""

    def count() -> Any:
        with engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(TABLE))

    return count


def bulk_insert(url: str, count: int) -> runner.Work:
    """rxdb's way."""
    engine, rows = engine_with(url, 0), dictionaries(count)

    def work() -> runner.Work:
        with Session(engine) as session:
            rx.bulk_insert(session, Person, rows)
            session.commit()
        return counted(engine)

    return work


def core_insert(url: str, count: int) -> runner.Work:
    """SQLAlchemy Core's way."""
    engine, rows = engine_with(url, 0), dictionaries(count)

    def work() -> runner.Work:
        with engine.begin() as connection:
            connection.execute(sa.insert(TABLE), rows)
        return counted(engine)

    return work


def add_all(url: str, count: int) -> runner.Work:
    """The way of a session; making the models is no part of it."""
    engine = engine_with(url, 0)
    models = [Person(**given) for given in dictionaries(count)]

    def work() -> runner.Work:
        with Session(engine) as session:
            session.add_all(models)
            session.commit()
        return counted(engine)

    return work


def raw(url: str, count: int) -> runner.Work:
    """The best way that the driver has."""
    engine, rows = engine_with(url, 0), [row(number) for number in range(count)]
    write = {"sqlite": raw_sqlite, "postgresql": raw_postgresql}.get(engine.dialect.name, raw_mysql)

    def work() -> runner.Work:
        connection: Any = engine.raw_connection()
        write(connection, rows)
        connection.commit()
        connection.close()
        return counted(engine)

    return work


def raw_sqlite(connection: Any, rows: list[tuple[Any, ...]]) -> None:
    """Call executemany, with the conversions written down for these columns."""
    values = (
        (a, b, c, d, e, float(f), g.replace(tzinfo=None).isoformat(" ", "microseconds"), int(h))
        for a, b, c, d, e, f, g, h in rows
    )
    marks = ", ".join("?" * len(COLUMNS))
    cursor = connection.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    cursor.executemany(f"INSERT INTO person ({', '.join(COLUMNS)}) VALUES ({marks})", values)


def raw_postgresql(connection: Any, rows: list[tuple[Any, ...]]) -> None:
    """Copy row by row, as psycopg's manual does."""
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY person ({', '.join(COLUMNS)}) FROM STDIN") as copy,
    ):
        for values in rows:
            copy.write_row(values)


def raw_mysql(connection: Any, rows: list[tuple[Any, ...]]) -> None:
    """Let the driver load a pipe that another thread fills, line by line."""
    pipe = Path(f"/tmp/rxdb-{os.getpid()}.pipe")
    os.mkfifo(pipe)

    def fill() -> None:
        with pipe.open("w", encoding="utf-8") as file:
            for a, b, c, d, e, f, g, h in rows:
                age = "\\N" if d is None else d
                created = g.replace(tzinfo=None)
                file.write(f"{a}\t{b}\t{c}\t{age}\t{e}\t{f}\t{created}\t{int(h)}\n")

    filling = threading.Thread(target=fill)
    filling.start()
    connection.driver_connection._local_infile = True  # else for the engine's whole life
    connection.cursor().execute(
        f"LOAD DATA LOCAL INFILE '{pipe}' INTO TABLE person CHARACTER SET utf8mb4 "
        f"({', '.join(COLUMNS)})"
    )
    connection.driver_connection._local_infile = False
    filling.join()
    pipe.unlink()


def upsert(url: str, count: int) -> runner.Work:
    """rxdb's way."""
    engine, rows = engine_with(url, count), dictionaries(count)

    def work() -> runner.Work:
        with Session(engine) as session:
            found = rx.upsert(session, Person, rows)
            session.commit()
        assert (found.inserted, found.updated) == (count // 2, count // 2)
        return counted(engine)

    return work


def core_upsert(url: str, count: int) -> runner.Work:
    """SQLAlchemy Core's way, without any counts."""
    engine, rows = engine_with(url, count), dictionaries(count)
    statement: Any
    if engine.dialect.name in {"mysql", "mariadb"}:
        from sqlalchemy.dialects.mysql import insert as mysql_insert

        statement = mysql_insert(TABLE)
        statement = statement.on_duplicate_key_update(
            {name: statement.inserted[name] for name in COLUMNS[1:]}
        )
    else:
        from sqlalchemy.dialects import postgresql, sqlite

        dialect: Any = sqlite if engine.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(TABLE)
        statement = statement.on_conflict_do_update(
            index_elements=["number"],
            set_={name: statement.excluded[name] for name in COLUMNS[1:]},
        )

    def work() -> runner.Work:
        with engine.begin() as connection:
            connection.execute(statement, rows)
        return counted(engine)

    return work


def merge(url: str, count: int) -> runner.Work:
    """The way of a session."""
    engine, rows = engine_with(url, count), dictionaries(count)

    def work() -> runner.Work:
        with Session(engine) as session:
            for given in rows:
                session.merge(Person(**given))
            session.commit()
        return counted(engine)

    return work


def memory(url: str, count: int) -> runner.Work:
    """Write rows that are made one by one; find the most memory that the process had, in MB."""
    engine = engine_with(url, 0)

    def rows() -> Iterator[tuple[Any, ...]]:
        return map(row, range(count))

    def work() -> runner.Work:
        with Session(engine) as session:
            assert rx.bulk_insert(session, Person, rows()) == count
            session.commit()
        return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    return work


if __name__ == "__main__":
    functions = (
        bulk_insert,
        core_insert,
        add_all,
        raw,
        upsert,
        core_upsert,
        merge,
        memory,
    )
    runner.serve({function.__name__: function for function in functions})
