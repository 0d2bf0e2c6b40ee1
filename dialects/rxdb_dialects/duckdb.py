"""DuckDB 1.0 and later: one process opens the file, keys come from sequences."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rxdb.dialect import EVERYTHING, Details, Dialect, Driver, Feature, Target
from rxdb.errors import (
    CheckViolation,
    ForeignKeyViolation,
    NotNullViolation,
    ReadOnly,
    RxdbError,
    SerializationFailure,
    UniqueViolation,
)
from rxdb_dialects.sqlite import absolute, lock_in_process, refuse_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import URL, Connection, Engine

    from rxdb.dialect import Merge, Rows

MEMORY = {None, "", ":memory:"}
CONFLICT = "Conflict"
ABORTED = "transaction is aborted"
ERRORS: dict[str | int, type[RxdbError]] = {
    "read-only mode": ReadOnly,
    "unique constraint": UniqueViolation,
    "primary key constraint": UniqueViolation,
    "foreign key constraint": ForeignKeyViolation,
    "NOT NULL constraint": NotNullViolation,
    "CHECK constraint": CheckViolation,
    CONFLICT: SerializationFailure,
}
"""DuckDB's errors carry no code; these words stand in them."""


def read_path(text: str) -> URL | None:
    """Take a file name that ends in ``.duckdb`` for DuckDB."""
    from sqlalchemy import URL

    is_file = "://" not in text and text.lower().endswith((".duckdb", ".ddb"))
    return URL.create("duckdb", database=text) if is_file else None


def file(url: URL) -> str:
    """Return the file that holds the database."""
    return "" if url.database in MEMORY else url.database or ""


def complete_url(url: URL, folder: Path) -> URL:
    """Start a relative path at *folder*."""
    refuse_server("DuckDB", url)
    return url.set(database=absolute(file(url), folder) if file(url) else ":memory:")


def translate(target: Target) -> tuple[URL, dict[str, Any]]:
    """Give ``duckdb://`` a name, which makes all connections of this process share it."""
    in_memory = not file(target.url)
    return (target.url.set(database=":memory:rxdb") if in_memory else target.url), {}


def prepare(engine: Engine, target: Target) -> None:
    """Keep time in UTC, and begin read-only transactions where they are wanted: DuckDB has no
    read-only connection beside one that writes."""
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: object) -> None:
        connection.execute("SET TimeZone = 'UTC'")  # the machine's own otherwise

    if target.read_only:
        sqlalchemy_dialect: Any = engine.dialect
        sqlalchemy_dialect.do_begin = begin_read_only


def number_keys(sqlalchemy_dialect: Any) -> None:
    """Number integer primary keys from a sequence: DuckDB has no SERIAL, which its SQLAlchemy
    plug-in writes. Each table has its sequence, made and dropped with it."""
    compiler: Any = sqlalchemy_dialect.ddl_compiler

    class Compiler(compiler):  # type: ignore[misc]  # the class that the plug-in has
        def sequence(self, table: Any) -> str:
            column = table._autoincrement_column  # noqa: SLF001 - as SQLAlchemy's own dialects
            if column is None or column.default is not None or column.server_default is not None:
                return ""
            return f"{table.fullname}_{column.name}_seq"

        def get_column_specification(self, column: Any, **options: Any) -> str:
            name = self.sequence(column.table)
            if not name or column is not column.table._autoincrement_column:  # noqa: SLF001 - SQLAlchemy tells it nowhere else
                text: str = super().get_column_specification(column, **options)
                return text
            kind = self.dialect.type_compiler_instance.process(column.type)
            key = self.preparer.format_column(column)
            return f"{key} {kind} DEFAULT nextval('{name}') NOT NULL"

        def visit_create_table(self, create: Any, **options: Any) -> str:
            name, table = self.sequence(create.element), super().visit_create_table
            first = f'CREATE SEQUENCE IF NOT EXISTS "{name}";' if name else ""
            return f"{first}{table(create, **options)}"

        def visit_drop_table(self, drop: Any, **options: Any) -> str:
            name, table = self.sequence(drop.element), super().visit_drop_table
            last = f';\nDROP SEQUENCE IF EXISTS "{name}"' if name else ""
            return f"{table(drop, **options)}{last}"

    sqlalchemy_dialect.ddl_compiler = Compiler


def keep_meaning(sqlalchemy_dialect: Any, url: URL) -> None:
    """Number keys, keep every digit of a number, and let arithmetic with moments mean what it does
    in Python."""
    number_keys(sqlalchemy_dialect)
    keep_digits(sqlalchemy_dialect)
    add_timedeltas(sqlalchemy_dialect)


def add_timedeltas(sqlalchemy_dialect: Any) -> None:
    """Add up timedeltas as microseconds: DuckDB has no ``sum()`` of them."""
    from rxdb import moments

    class Compiler(moments.Totalling):
        def number_of(self, value: Any, **options: Any) -> str:
            return f"epoch_us({self.process(value, **options)})"

        def total(self, added: str) -> str:
            return f"to_microseconds(CAST(round({added}) AS BIGINT))"

    moments.calculate(sqlalchemy_dialect, Compiler)


def keep_digits(sqlalchemy_dialect: Any) -> None:
    """Keep every digit of a number: FLOAT has 32 bits and DECIMAL three places here, and the
    plug-in reads a decimal through a float."""
    import sqlalchemy as sa

    types: Any = type(sqlalchemy_dialect.type_compiler_instance)

    class TypeCompiler(types):  # type: ignore[misc]  # the class that the plug-in has
        def visit_FLOAT(self, type_: Any, **options: Any) -> str:
            return super().visit_FLOAT(type_, **options) if type_.precision else "DOUBLE"

        def visit_NUMERIC(self, type_: Any, **options: Any) -> str:
            return super().visit_NUMERIC(type_, **options) if type_.precision else "DECIMAL(38, 15)"

    class Exact(sa.Numeric):  # type: ignore[type-arg]  # generic in stubs only
        """Hands decimals on as they are."""

        def bind_processor(self, dialect: Any) -> None:
            return None

        def result_processor(self, dialect: Any, coltype: Any) -> Any:
            return None if self.asdecimal else as_float

    types = TypeCompiler(sqlalchemy_dialect)
    sqlalchemy_dialect.type_compiler_instance = sqlalchemy_dialect.type_compiler = types
    sqlalchemy_dialect.colspecs = {
        **sqlalchemy_dialect.colspecs,
        sa.Numeric: Exact,
        sa.Float: sa.Float,
    }


def as_float(value: Any) -> float | None:
    """Return a decimal as the float that ``Numeric(asdecimal=False)`` asks for."""
    return None if value is None else float(value)


def begin_read_only(connection: Any) -> None:
    """Begin a transaction that refuses to write."""
    connection.execute("BEGIN TRANSACTION READ ONLY")


def migration_lock(connection: Connection, name: str) -> Callable[[], None] | None:
    """Let the threads of this process exclude each other: no other process opens the file."""
    return lock_in_process(f"{connection.engine.url.database} {name}")


def write_rows(connection: Connection, rows: Rows) -> bool:
    """Insert many rows with one statement."""
    from rxdb_dialects import _sqlite_rows

    return _sqlite_rows.write_rows(connection, rows)


def upsert(connection: Connection, merge: Merge) -> tuple[int, int]:
    """Insert or update with ON CONFLICT, whose SET takes no subquery here."""
    from rxdb_dialects import _sqlite_rows

    if not merge.fixed:
        return _sqlite_rows.upsert(connection, merge)
    listed = ", ".join(value for _, value in merge.fixed)
    values = connection.exec_driver_sql(f"SELECT {listed} FROM {merge.source} LIMIT 1").one()
    marked = (*merge.computed, *((name, "?") for name, _ in merge.fixed))
    return _sqlite_rows.upsert(connection, replace(merge, fixed=(), computed=marked), tuple(values))


def error_code(error: BaseException) -> str | None:
    """Recognise an error by its first sentence; the rest quotes the statement."""
    text = str(error).partition("\n")[0]
    return next((str(words) for words in (*ERRORS, ABORTED) if str(words) in text), None)


IN_MESSAGES = re.compile(
    r'NOT NULL constraint failed: (?P<table>[^.]+)\."?(?P<column>[^"]+)"?'
    r'|CHECK constraint failed on table "?(?P<checked>[^"]+)"?'
    r'|Duplicate key "(?P<key>\w+): [^,:]*" violates'
)


def details(error: BaseException) -> Details:
    """Read the names in the message; of several columns it tells values too, not to be told
    apart."""
    found = IN_MESSAGES.search(str(error))
    if found is None:
        return Details()
    column = found["column"] or found["key"]
    return Details(None, found["table"] or found["checked"], (column,) if column else ())


dialect = Dialect(
    name="duckdb",
    title="DuckDB",
    drivers=(Driver(name="", module="duckdb", package="rxdb[duckdb]", minimum="1.0"),),
    plugin=Driver(
        name="", module="duckdb_engine", package="rxdb[duckdb]", distributions=("duckdb-engine",)
    ),
    features=EVERYTHING
    - {
        Feature.CASELESS_TEXT,
        Feature.FRESH_READS,
        Feature.JSON_PATHS,  # not by the operators of PostgreSQL, which its plug-in writes
        Feature.LOCK_TIMEOUT,
        Feature.LONG_DECIMALS,
        Feature.REFLECTED_CONSTRAINTS,
        Feature.SAVEPOINTS,
        Feature.SEVERAL_HOSTS,
        Feature.SEVERAL_PROCESSES,
        Feature.SKIP_LOCKED,
        Feature.STATEMENT_TIMEOUT,
        Feature.STRICT_TYPES,  # it has no lengths
        Feature.TLS,
    },
    oldest=(1, 0),
    version_query="SELECT ltrim(version(), 'v')",  # its plug-in tells PostgreSQL's
    in_matrix=True,
    migrates_like="postgresql",
    settings={
        "time zone": "SELECT current_setting('TimeZone')",
        "threads": "SELECT current_setting('threads')",
    },
    errors=ERRORS,
    retryable=frozenset({CONFLICT}),
    aborted=frozenset({ABORTED}),
    error_code=error_code,
    details=details,
    read_path=read_path,
    file=file,
    complete_url=complete_url,
    translate=translate,
    keep_meaning=keep_meaning,
    prepare=prepare,
    isolation="SNAPSHOT",
    migration_lock=migration_lock,
    write_rows=write_rows,
    upsert=upsert,
)
