"""Types of MySQL and MariaDB that keep what a model's type means elsewhere.

SQLAlchemy's ``DateTime`` is DATETIME there, which rounds to seconds; ``LargeBinary`` is BLOB and
``Text`` is TEXT, which end at 64 kB; ``Float`` is FLOAT, which keeps seven digits; ``Numeric`` is
DECIMAL(10, 0), which rounds to whole numbers (MySQL manual, "Data Types"). A type of SQLAlchemy's
dialect for MySQL, such as ``mysql.DATETIME()``, is taken as it is written.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rxdb_dialects import _json_paths
from rxdb_dialects._values import refuse_odd_numbers

if TYPE_CHECKING:
    from sqlalchemy import URL

WIDEST = (65, 30)
"""The digits of a DECIMAL in all, and after the point, at most."""

LONGEST = 16383
"""The characters of utf8mb4 in the 65,535 bytes of a row, which a VARCHAR shares."""

NOW = re.compile(r"(now|current_timestamp)(\(\))?", re.IGNORECASE)


FLAGS = re.DOTALL | re.IGNORECASE
AS_IT_IS = re.compile(r"\s*['\"(].*|\w*|.*\bON UPDATE\b.*|(now|current_timestamp)\(.*", FLAGS)
"""A default that needs no parentheses, which SQLAlchemy writes from 2.1 on."""


def keep_meaning(dialect: Any, url: URL) -> None:
    """Give generic types the server's types that can hold their values."""
    import sqlalchemy as sa

    from rxdb_dialects import _mysql_moments

    types = type_compiler(type(dialect.type_compiler_instance))(dialect)
    # Alembic's MODIFY and CHANGE ask for it by its older name.
    dialect.type_compiler_instance = dialect.type_compiler = types
    dialect.ddl_compiler = compiler(dialect.ddl_compiler)
    dialect.colspecs = {**dialect.colspecs, sa.Numeric: numeric()}
    _json_paths.read_parts(dialect, written=as_truth)
    _json_paths.write_with_dollar(dialect)
    refuse_odd_numbers(dialect)
    _mysql_moments.keep_meaning(dialect)
    refuse_nul(dialect)


def as_truth(text: str, type_: Any) -> str:
    """Let what is no truth value be NULL, as a part of a document that is not there."""
    import sqlalchemy as sa

    end = " ELSE false END"
    if not isinstance(type_, sa.Boolean) or not text.endswith(end):
        return text
    return f"{text.removesuffix(end)} WHEN false THEN false END"


def refuse_nul(dialect: Any) -> None:
    """Refuse the character NUL in texts, as PostgreSQL does: what holds it could never move there.

    It takes 40 ns for each value, where a statement takes a round trip.
    """
    execute, execute_many = dialect.do_execute, dialect.do_executemany

    def do_execute(cursor: Any, statement: Any, parameters: Any, context: Any = None) -> Any:
        refuse(parameters)
        return execute(cursor, statement, parameters, context=context)

    def do_executemany(cursor: Any, statement: Any, parameters: Any, context: Any = None) -> Any:
        for some in parameters:
            refuse(some)
        return execute_many(cursor, statement, parameters, context=context)

    def refuse(parameters: Any) -> None:
        for value in parameters.values() if isinstance(parameters, dict) else parameters or ():
            if type(value) is str and "\0" in value:
                raise dialect.loaded_dbapi.DataError("A text cannot hold the character NUL.")

    dialect.do_execute, dialect.do_executemany = do_execute, do_executemany


def type_compiler(types: Any) -> Any:
    """Return what writes the names of types; what is MySQL's own is left as it is."""

    class TypeCompiler(types):  # type: ignore[misc]  # the class that this engine has
        def visit_DATETIME(self, type_: Any, **options: Any) -> str:
            return own_time(type_, super().visit_DATETIME(type_, **options))

        def visit_TIME(self, type_: Any, **options: Any) -> str:
            return own_time(type_, super().visit_TIME(type_, **options))

        def visit_TIMESTAMP(self, type_: Any, **options: Any) -> str:
            return own_time(type_, super().visit_TIMESTAMP(type_, **options))

        def visit_FLOAT(self, type_: Any, **options: Any) -> str:
            text: str = super().visit_FLOAT(type_, **options)
            return text if type_.precision or self._mysql_type(type_) else "DOUBLE"

        def visit_NUMERIC(self, type_: Any, **options: Any) -> str:
            text: str = super().visit_NUMERIC(type_, **options)
            return text if type_.precision or self._mysql_type(type_) else f"NUMERIC{WIDEST}"

        def visit_TEXT(self, type_: Any, **options: Any) -> str:
            text: str = super().visit_TEXT(type_, **options)
            is_said = type_.length or self._mysql_type(type_)
            return text if is_said else self._extend_string(type_, {}, "LONGTEXT")

        def visit_VARCHAR(self, type_: Any, **options: Any) -> str:
            text: str = super().visit_VARCHAR(type_, **options)
            fits = type_.length <= LONGEST
            return text if fits else self._extend_string(type_, {}, "LONGTEXT")

        def visit_large_binary(self, type_: Any, **options: Any) -> str:
            return super().visit_large_binary(type_, **options) if type_.length else "LONGBLOB"

    return TypeCompiler


def own_time(type_: Any, text: str) -> str:
    """Return a time with microseconds, unless a type of MySQL's own says how many digits."""
    return text if hasattr(type_, "fsp") else f"{text}(6)"


def compiler(ddl: Any) -> Any:
    """Return what writes the definitions of columns."""

    class Compiler(ddl):  # type: ignore[misc]  # the class that this engine has
        def get_column_default_string(self, column: Any) -> str | None:
            text: str | None = super().get_column_default_string(column)
            is_now = NOW.fullmatch(text or "") and not hasattr(column.type, "fsp")
            # As an expression it fits each precision; DATETIME(6) DEFAULT now() is refused.
            if is_now or text is None:
                return "(now(6))" if is_now else None
            return text if AS_IT_IS.fullmatch(text) else f"({text})"

    return Compiler


def numeric() -> Any:
    """Return what reads decimals."""
    from sqlalchemy.dialects import mysql

    class Plain(mysql.NUMERIC):
        """Leaves out the zeros that fill thirty places where a model names no number of them."""

        def result_processor(self, dialect: Any, coltype: Any) -> Any:
            usual: Any = super().result_processor(dialect, coltype)  # type: ignore[no-untyped-call]  # SQLAlchemy's has no types
            return usual if self.precision is not None or not self.asdecimal else plain

    return Plain


def plain(value: Any) -> Any:
    """Return a decimal without the zeros after its last digit."""
    if not isinstance(value, Decimal):
        return value
    text = format(value, "f")
    return Decimal(text.rstrip("0").rstrip(".")) if "." in text else value
