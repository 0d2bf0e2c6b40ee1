"""Let SQLite number keys of each size: it numbers INTEGER PRIMARY KEY and nothing else.

A BIGINT PRIMARY KEY stays empty there, and the row is refused (SQLite, "ROWIDs and the INTEGER
PRIMARY KEY"). Its INTEGER has 64 bits.
"""

from __future__ import annotations

from typing import Any


def number_keys(dialect: Any) -> None:
    """Write INTEGER for the key that the database numbers."""
    types: Any = type(dialect.type_compiler_instance)

    class TypeCompiler(types):  # type: ignore[misc]  # the class that this engine has
        def visit_BIGINT(self, type_: Any, **options: Any) -> str:  # noqa: N802
            return (
                "INTEGER" if is_numbered(options) else str(super().visit_BIGINT(type_, **options))
            )

        def visit_SMALLINT(self, type_: Any, **options: Any) -> str:  # noqa: N802
            text: str = super().visit_SMALLINT(type_, **options)
            return "INTEGER" if is_numbered(options) else text

    dialect.type_compiler_instance = dialect.type_compiler = TypeCompiler(dialect)


def is_numbered(options: dict[str, Any]) -> bool:
    """Whether a type is written for the only column of a key, which nobody else fills."""
    column = options.get("type_expression")
    table = getattr(column, "table", None)
    if table is None or len(table.primary_key.columns) != 1:
        return False
    return bool(table.autoincrement_column is column)
