"""Parts of JSON documents on SQLite."""

from __future__ import annotations

from typing import Any

from rxdb_dialects._json_paths import write_with_dollar
from rxdb_dialects._sqlite_decimals import OF_NUMBER, has_text

PART = "rxdb_json_part"
"""The function that finds a part by a key with a quote: in older versions no path can say one."""


def read_parts(dialect: Any) -> None:
    """Let a number in a document be the decimal that it is written as, and find every key."""
    statements: Any = dialect.statement_compiler

    class Compiler(statements):  # type: ignore[misc]  # the class that this engine has
        def visit_json_getitem_op_binary(self, binary: Any, *arguments: Any, **options: Any) -> str:
            found = super().visit_json_getitem_op_binary(self._found(binary), *arguments, **options)
            return self._decimal(found, binary.type)

        def visit_json_path_getitem_op_binary(
            self, binary: Any, *arguments: Any, **options: Any
        ) -> str:
            binary = self._found(binary)
            found = super().visit_json_path_getitem_op_binary(binary, *arguments, **options)
            return self._decimal(found, binary.type)

        def _found(self, binary: Any) -> Any:
            import sqlalchemy as sa

            if not getattr(binary.right.type, "has_quote", False):
                return binary
            found = binary._clone()  # noqa: SLF001
            found.left = getattr(sa.func, PART)(binary.left, binary.right)
            found.right = sa.literal_column("'$'")
            return found

        def _decimal(self, found: str, type_: Any) -> str:
            if not has_text(type_, self.dialect) or OF_NUMBER in found:
                return found  # SQLAlchemy 2.1 comes by twice, for a CAST and for what is in it
            return f"{OF_NUMBER}({found}, {'NULL' if type_.scale is None else type_.scale})"

    dialect.statement_compiler = Compiler
    write_with_dollar(dialect)
