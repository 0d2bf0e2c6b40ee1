"""AcmeDB, a backend of another package: SQLite under another name."""

from __future__ import annotations

from dataclasses import replace

from rxdb_dialects.sqlite import dialect as sqlite
from sqlalchemy import URL
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite


class AcmeDialect(SQLiteDialect_pysqlite):
    """What SQLAlchemy knows about AcmeDB."""

    name = "acmedb"
    supports_statement_cache = True


def read_path(text: str) -> URL | None:
    """Take a file name that ends in ``.acme`` for AcmeDB."""
    return URL.create("acmedb", database=text) if text.endswith(".acme") else None


dialect = replace(
    sqlite,
    name="acmedb",
    title="AcmeDB",
    aliases=("acme",),
    drivers=sqlite.drivers[:1],
    in_matrix=False,
    read_path=read_path,
)
