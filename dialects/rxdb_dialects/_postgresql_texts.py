"""Text without regard to case on PostgreSQL, by a collation that rxdb makes when a column needs it.

No collation that PostgreSQL brings takes ``Bob`` and ``bob`` for equal. One of ICU does when it is
made not deterministic (PostgreSQL manual, 24.2.2.4); that takes the right to create objects in the
schema, as a table does. citext would need an extension, and sees the letters of the database's
locale only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import URL

COLLATION = "rxdb_caseless"

CREATE = (
    f"CREATE COLLATION IF NOT EXISTS {COLLATION} "
    "(provider = icu, locale = 'und-u-ks-level2', deterministic = false);\n\n"
)
"""Level 2 sees letters and accents, and no case (Unicode Technical Standard 35, part 5)."""


NEEDED = re.compile(f'COLLATE "?{COLLATION}\\b')


def make_collation(dialect: Any, url: URL) -> None:
    """Let statements that name the collation make it first.

    They are two statements in one text, as ``--sql`` prints it; drivers get one after the other.
    """
    ddl: Any = dialect.ddl_compiler
    contexts: Any = dialect.execution_ctx_cls

    class Compiler(ddl):  # type: ignore[misc]  # the class that this engine has
        def process(self, obj: Any, **options: Any) -> str:
            text: str = super().process(obj, **options)
            is_first = obj is self.statement and NEEDED.search(text)
            return f"{CREATE}{text}" if is_first else text

    class Context(contexts):  # type: ignore[misc]  # the class that this engine has
        @classmethod
        def _init_ddl(cls, *arguments: Any, **options: Any) -> Any:
            made: Any = super()._init_ddl(*arguments, **options)
            if made.statement.startswith(CREATE):
                made.cursor.execute(CREATE.rstrip(";\n"))
                made.statement = made.statement.removeprefix(CREATE)
            return made

    dialect.ddl_compiler = Compiler
    dialect.execution_ctx_cls = Context
