"""Arithmetic with moments on MySQL and MariaDB, where ``+`` makes numbers of them.

What their functions for dates cannot keep is NULL with a warning (MySQL manual, "Date and Time
Functions"). So the microseconds are made to overflow BIGINT before, which is an error.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

EPOCH = "TIMESTAMP'1970-01-01 00:00:00'"

BEGINNING = datetime(1970, 1, 1)  # noqa: DTZ001 - the servers' moments have no time zone
MICROSECOND = timedelta(microseconds=1)
LARGEST = 2**63 - 1
ABOVE = LARGEST - (datetime.max - BEGINNING) // MICROSECOND  # noqa: DTZ901 - UTC is meant
"""What added to the last moment of Python's is the largest BIGINT."""

BELOW = LARGEST - (BEGINNING - datetime.min) // MICROSECOND  # noqa: DTZ901 - UTC is meant
"""What taken from the first moment is the smallest BIGINT but one."""


def keep_meaning(dialect: Any) -> None:
    """Let the dialect of one engine write arithmetic with moments."""
    from rxdb import moments

    moments.calculate(dialect, counting())
    moments.calculate(dialect, choosing())


def counting() -> Any:
    """Return what writes arithmetic."""
    from rxdb import moments

    class Counting(moments.Totalling, moments.Counted):
        def count(self, moment: str) -> str:
            return f"TIMESTAMPDIFF(MICROSECOND, {EPOCH}, {moment})"

        def moment(self, count: str) -> str:
            sure = f"{count} + {ABOVE} - {ABOVE} - {BELOW} + {BELOW}"
            return f"({EPOCH} + INTERVAL ({sure}) MICROSECOND)"

        def day(self, count: str) -> str:
            return f"DATE({self.moment(count)})"

        def whole_days(self, count: str) -> str:
            return f"(DATEDIFF({self.moment(count)}, {EPOCH}) * 86400000000)"

        def product(self, count: str, number: str, *, is_whole: bool) -> str:
            found = f"({count} * {number})"
            return found if is_whole else f"CAST(ROUND{found} AS SIGNED)"

        def number_of(self, value: Any, **options: Any) -> str:
            return self._counted(value, **options)

        def total(self, added: str) -> str:
            return self.moment(f"CAST(ROUND({added}) AS SIGNED)")

    return Counting


def choosing() -> Any:
    """Return what says of which type a value is where it may become the result of CASE or of a
    function: drivers send it as a text."""
    from sqlalchemy.sql.compiler import SQLCompiler

    from rxdb import moments

    casts: dict[Any, str] = {
        moments.Kind.MOMENT: "DATETIME(6)",
        moments.Kind.SPAN: "DATETIME(6)",
        moments.Kind.DAY: "DATE",
        moments.Kind.TIME: "TIME(6)",
    }

    class Choosing(SQLCompiler):
        def visit_case(self, clause: Any, **options: Any) -> str:
            options |= {"rxdb_chosen": True}
            return super().visit_case(clause, **options)  # type: ignore[no-untyped-call, no-any-return]

        def visit_function(self, func: Any, *arguments: Any, **options: Any) -> str:
            is_choice = func.name.lower() in moments.CHOOSING
            return super().visit_function(
                func, *arguments, **options | ({"rxdb_chosen": True} if is_choice else {})
            )

        def visit_bindparam(self, bindparam: Any, *arguments: Any, **options: Any) -> str:
            found: str = super().visit_bindparam(bindparam, *arguments, **options)  # type: ignore[no-untyped-call]  # SQLAlchemy's has no types
            name = casts.get(moments.kind_of(bindparam)) if options.get("rxdb_chosen") else None
            return f"CAST({found} AS {name})" if name and not bindparam.expanding else found

    return Choosing
