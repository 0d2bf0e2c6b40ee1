"""DuckDB 1.0 and later: one process opens the file, keys come from sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rxdb.dialect import EVERYTHING, Dialect, Driver, Feature, Target
from rxdb.errors import ReadOnly
from rxdb_dialects.sqlite import absolute, refuse_server

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import URL, Engine

MEMORY = {None, "", ":memory:"}
READ_ONLY = "read-only mode"
"""DuckDB's errors carry no code; this stands in each that refuses to write."""


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


def begin_read_only(connection: Any) -> None:
    """Begin a transaction that refuses to write."""
    connection.execute("BEGIN TRANSACTION READ ONLY")


def error_code(error: BaseException) -> str | None:
    """Recognise a refused write by its text."""
    return READ_ONLY if READ_ONLY in str(error) else None


dialect = Dialect(
    name="duckdb",
    title="DuckDB",
    drivers=(Driver(name="", module="duckdb", package="rxdb[duckdb]", minimum="1.0"),),
    plugin=Driver(
        name="", module="duckdb_engine", package="rxdb[duckdb]", distributions=("duckdb-engine",)
    ),
    features=EVERYTHING
    - {
        Feature.FRESH_READS,
        Feature.GENERATED_KEYS,
        Feature.SAVEPOINTS,
        Feature.SEVERAL_HOSTS,
        Feature.SEVERAL_PROCESSES,
        Feature.SKIP_LOCKED,
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
    errors={READ_ONLY: ReadOnly},
    error_code=error_code,
    read_path=read_path,
    file=file,
    complete_url=complete_url,
    translate=translate,
    prepare=prepare,
)
