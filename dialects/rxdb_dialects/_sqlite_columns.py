"""Columns that SQLite takes: keys of each size that it numbers, and calls as defaults.

It numbers INTEGER PRIMARY KEY and nothing else: a BIGINT PRIMARY KEY stays empty, and the row is
refused (SQLite, "ROWIDs and the INTEGER PRIMARY KEY"). Its INTEGER has 64 bits. A default that is
an expression stands in parentheses (SQLite, "CREATE TABLE"), which SQLAlchemy writes from 2.1 on.
"""

from __future__ import annotations

import re
from typing import Any

LITERAL = re.compile(r"\s*['\"(].*|\w*", re.DOTALL)
"""A default that needs no parentheses, in SQLAlchemy's own view: a text, or a word or number."""


def enclose_defaults(dialect: Any) -> None:
    """Write expressions in parentheses."""
    ddl: Any = dialect.ddl_compiler

    class Compiler(ddl):  # type: ignore[misc]  # the class that this engine has
        def get_column_default_string(self, column: Any) -> str | None:
            text: str | None = super().get_column_default_string(column)
            return text if text is None or LITERAL.fullmatch(text) else f"({text})"

    dialect.ddl_compiler = Compiler


def number_keys(dialect: Any) -> None:
    """Write INTEGER for the key that the database numbers."""
    types: Any = type(dialect.type_compiler_instance)

    class TypeCompiler(types):  # type: ignore[misc]  # the class that this engine has
        def visit_BIGINT(self, type_: Any, **options: Any) -> str:
            return (
                "INTEGER" if is_numbered(options) else str(super().visit_BIGINT(type_, **options))
            )

        def visit_SMALLINT(self, type_: Any, **options: Any) -> str:
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
