"""Parameters beside a column in an expression, which need not fit the column as what is written.

SQLAlchemy gives a parameter the type of what it is compared with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def widen(dialect: Any, wider: Callable[[Any], Any], *, all_operators: bool) -> None:
    """Let parameters in comparisons, or in all expressions of two sides, have another type.

    *wider* returns it for theirs, or None.
    """
    from sqlalchemy.sql import elements, operators

    compared = {
        getattr(operators, name)
        for name in (
            *("eq", "ne", "lt", "le", "gt", "ge", "in_op", "not_in_op"),
            *("between_op", "not_between_op", "is_distinct_from", "is_not_distinct_from"),
        )
    }
    statements: Any = dialect.statement_compiler
    lists = elements.ClauseList, elements.ExpressionClauseList

    def found(side: Any, known: dict[Any, Any]) -> Any:
        if isinstance(side, elements.BindParameter):
            type_ = wider(side.type)
            if type_ is None:
                return side
            if side not in known:  # SQLAlchemy asks for one copy, however often it is written
                known[side] = side._with_binary_element_type(type_)  # noqa: SLF001 - no other way to change a side
            return known[side]
        if isinstance(side, lists):  # BETWEEN
            some = [found(clause, known) for clause in side.clauses]
            if any(one is not other for one, other in zip(some, side.clauses, strict=True)):
                side = side._clone()  # noqa: SLF001 - as SQLAlchemy copies
                side.clauses = type(side.clauses)(some)
        return side

    class Compiler(statements):  # type: ignore[misc]  # the class that this engine has
        def visit_binary(self, binary: Any, *arguments: Any, **options: Any) -> Any:
            if all_operators or binary.operator in compared:
                known = self.__dict__.setdefault("rxdb_wider", {}).setdefault(wider, {})
                left, right = found(binary.left, known), found(binary.right, known)
                if left is not binary.left or right is not binary.right:
                    binary = binary._clone()  # noqa: SLF001 - as SQLAlchemy copies
                    binary.left, binary.right = left, right
            return super().visit_binary(binary, *arguments, **options)

    dialect.statement_compiler = Compiler


def calculate_exactly(dialect: Any) -> None:
    """Round a decimal that is written to its column's places, and not one beside a column."""
    import sqlalchemy as sa

    def without_scale(type_: Any) -> Any:
        is_scaled = isinstance(type_, sa.Numeric) and not isinstance(type_, sa.Float)
        return sa.Numeric() if is_scaled and type_.precision is not None else None

    widen(dialect, without_scale, all_operators=True)
