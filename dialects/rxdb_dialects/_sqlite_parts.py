"""Parts of JSON documents on SQLite."""

from __future__ import annotations

from typing import Any

from rxdb_dialects import _json_paths
from rxdb_dialects._sqlite_decimals import OF_NUMBER, has_text

PART = "rxdb_json_part"
"""The function that finds a part by a key with a quote: in older versions no path can say one."""


def read_parts(dialect: Any) -> None:
    """Let a number in a document be the decimal that it is written as, and find every key."""
    import sqlalchemy as sa

    def found(binary: Any) -> Any:
        if not getattr(binary.right.type, "has_quote", False):
            return binary
        changed = binary._clone()  # noqa: SLF001 - as SQLAlchemy's own compilers change one
        changed.left = getattr(sa.func, PART)(binary.left, binary.right)
        changed.right = sa.literal_column("'$'")
        return changed

    def decimal(text: str, type_: Any) -> str:
        if not has_text(type_, dialect) or OF_NUMBER in text:
            return text  # SQLAlchemy 2.1 comes by twice, for a CAST and for what is in it
        return f"{OF_NUMBER}({text}, {'NULL' if type_.scale is None else type_.scale})"

    _json_paths.read_parts(dialect, sought=found, written=decimal)
    _json_paths.write_with_dollar(dialect)
