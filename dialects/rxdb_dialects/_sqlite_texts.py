"""Text without regard to case on SQLite, whose own NOCASE knows the letters of ASCII only.

The columns have a collation in Python. A program that does not know it can read such a column, but
neither compare it nor write to its table where the column is a key.
"""

from __future__ import annotations

from functools import cache
from typing import Any

COLLATION = "rxdb_caseless"

TYPE = "VARCHAR_CASELESS"
"""SQLite does not tell the collation of a column, but what its type was called; one with CHAR in
its name holds texts ("Datatypes", 3.1)."""

LOWER = "rxdb_lower"
"""The function whose results LIKE compares; SQLite's own knows the letters of ASCII only."""


@cache
def type_class() -> Any:
    """Return the type of columns with this collation."""
    import sqlalchemy as sa

    class Caseless(sa.String):
        __visit_name__ = TYPE

    return Caseless


def know_caseless(dialect: Any) -> None:
    """Let columns with this collation be created and reflected."""
    import sqlalchemy as sa

    types: Any = type(dialect.type_compiler_instance)
    ddl: Any = dialect.ddl_compiler
    own = type_class()

    class TypeCompiler(types):  # type: ignore[misc]  # the class that this engine has
        def visit_VARCHAR_CASELESS(self, type_: Any, **_: Any) -> str:
            return f"{TYPE}({type_.length})"

    class Compiler(ddl):  # type: ignore[misc]  # the class that this engine has
        def get_column_specification(self, column: Any, **options: Any) -> str:
            text: str = super().get_column_specification(column, **options)
            type_ = column.type
            while isinstance(type_, sa.TypeDecorator):
                type_ = type_.load_dialect_impl(self.dialect)
            return f"{text} COLLATE {COLLATION}" if isinstance(type_, own) else text

    dialect.type_compiler_instance = dialect.type_compiler = TypeCompiler(dialect)
    dialect.ddl_compiler = Compiler
    dialect.ischema_names = {**dialect.ischema_names, TYPE: own}


def lower(text: Any) -> Any:
    """Return a text in small letters, for LIKE; what is no text stays what it is."""
    return text.lower() if isinstance(text, str) else text
