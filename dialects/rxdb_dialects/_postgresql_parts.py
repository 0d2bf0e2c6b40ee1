"""Parts of JSON documents on PostgreSQL, and whole numbers in comparisons."""

from __future__ import annotations

import json
from typing import Any

from rxdb_dialects import _json_paths
from rxdb_dialects._comparisons import widen


def read_parts(dialect: Any) -> None:
    """Find every key, and read whole numbers of 64 bits, as everywhere."""
    import sqlalchemy as sa

    usual: Any = dialect.colspecs.get(sa.JSON.JSONPathType, sa.JSON.JSONPathType)

    class Path(usual):  # type: ignore[misc]  # the class that this engine has
        def literal_processor(self, dialect: Any) -> Any:
            quote: Any = sa.String().dialect_impl(dialect).literal_processor(dialect)
            return lambda steps: quote(_json_paths.braces(steps))

    def wide(binary: Any) -> Any:
        if type(binary.type) is not sa.Integer:
            return binary
        changed = binary._clone()  # noqa: SLF001 - as SQLAlchemy's own compilers change one
        changed.type = sa.BigInteger()
        return changed

    _json_paths.read_parts(dialect, sought=wide)
    dialect.colspecs = {**dialect.colspecs, sa.JSON.JSONPathType: Path}


def write_text(dialect: Any) -> None:
    """Write documents when their values are bound, as on every backend: psycopg would do so when
    it sends them, where what cannot be written is an error of no statement."""
    import sqlalchemy as sa
    from sqlalchemy.dialects.postgresql import JSON, JSONB

    def own(usual: Any) -> Any:
        class Document(usual):  # type: ignore[misc]  # the class that this engine has
            def bind_processor(self, dialect: Any) -> Any:
                return self._make_bind_processor(None, dialect._json_serializer or json.dumps)  # noqa: SLF001 - SQLAlchemy tells it nowhere else

        return Document

    kinds: list[Any] = [kind for kind in (sa.JSON, JSON, JSONB) if kind in dialect.colspecs]
    written = {kind: own(dialect.colspecs[kind]) for kind in kinds}
    dialect.colspecs = {**dialect.colspecs, **written}


def compare_whole_numbers(dialect: Any) -> None:
    """Compare with whole numbers of 64 bits: the drivers say INTEGER for a column of 32 bits, and
    the server refuses a larger number. Indexes serve both sizes."""
    import sqlalchemy as sa

    large = sa.BigInteger()

    def wider(type_: Any) -> Any:
        is_small = isinstance(type_, sa.Integer) and not isinstance(type_, sa.BigInteger)
        return large if is_small else None

    widen(dialect, wider, all_operators=False)
