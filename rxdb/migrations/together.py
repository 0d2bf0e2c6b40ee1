"""Run the revisions of an empty database in one transaction, where nobody can tell the difference.

One transaction per revision is for the traffic that waits for a revision's locks, and keeps what
was applied before a failure. Tables that nobody has seen yet have no traffic; and after a failure
everything is rolled back, and run again with one transaction per revision.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.runtime.migration import RevisionStep
from sqlalchemy import event
from sqlalchemy.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alembic.runtime.migration import MigrationStep
    from sqlalchemy import Connection

MOST = 500
"""Statements of one transaction. PostgreSQL keeps a lock for each table, index and sequence until
its end, in a space that all databases of a server share: 6400 locks with its defaults, and a
CREATE TABLE takes up to five."""

SCRIPT = re.compile(
    r"autocommit_block|\bcommit\b|\bengine\b|\.connection\b|\bset_config\b"
    r"|\bSET\s+(LOCAL|CONSTRAINTS)\b",
    re.IGNORECASE,
)
"""In the source of a script: it may depend on where its transaction begins and ends."""

STATEMENT = re.compile(
    r"\A\s*(BEGIN|ABORT|(START|END|PREPARE)\s+TRANSACTION)\b"
    r"|(\A|;|\n|\*/)\s*(COMMIT|ROLLBACK(?!\s+(WORK\s+|TRANSACTION\s+)?TO))\b"
    r"|\bSET\s+(LOCAL|CONSTRAINTS|TRANSACTION)\b|\bset_config\b",
    re.IGNORECASE,
)
"""In a statement: it ends the transaction, or lasts until its end."""

HINTS = ("commit", "rollback", "transaction", "local", "constraints", "set_config", "engine",
         ".connection", "begin", "abort")  # fmt: skip
"""One of these, in small letters, is in all that the two patterns find; looking for them takes a
tenth of the time."""


class Apart(Exception):
    """A revision needs a transaction of its own."""


def chain(steps: Iterable[MigrationStep]) -> list[RevisionStep]:
    """Return the first of *steps*, as long as each is an upgrade that follows the one before and
    no other, and nothing in its script asks for a transaction of its own."""
    found: list[RevisionStep] = []
    before: str | None = None
    for step in steps:
        if not isinstance(step, RevisionStep) or not step.is_upgrade:
            break
        script = step.revision
        if script.down_revision != before or script.dependencies:
            break
        if find(SCRIPT, Path(script.path).read_text(encoding="utf-8", errors="replace")):
            break
        found.append(step)
        before = script.revision
    return found


def find(pattern: re.Pattern[str], text: str) -> str:
    """Return what *pattern* finds in *text*, or an empty text."""
    lower = text.lower()
    found = pattern.search(text) if any(hint in lower for hint in HINTS) else None
    return found[0].strip() if found else ""


@dataclass
class Watch:
    """What was executed in a transaction that several revisions share."""

    statements: int = 0
    broken: str = ""
    """Why they cannot share it; empty where they can."""

    @property
    def is_full(self) -> bool:
        """Whether the transaction is as long as it may be."""
        return self.statements >= MOST


@contextmanager
def watched(connection: Connection) -> Iterator[Watch]:
    """Raise :class:`Apart` as soon as a script ends the transaction, sets what lasts until its
    end, or opens another connection, which would see nothing of the revisions before and could
    wait for this one for ever. At the end at the latest, should the script catch it."""
    watch, here = Watch(), threading.get_ident()

    def refuse(reason: str) -> None:
        watch.broken = reason
        raise Apart(reason)

    def execute(_: Any, __: Any, statement: str, *___: Any) -> None:
        watch.statements += 1
        if found := find(STATEMENT, statement):
            refuse(found)

    def commit(_: Any) -> None:
        refuse("COMMIT")

    def check_out(*_: Any) -> None:
        if threading.get_ident() == here:
            refuse("another connection")

    listeners = (
        (connection, "before_cursor_execute", execute),
        (connection, "commit", commit),
        (Pool, "checkout", check_out),
    )
    for listener in listeners:
        event.listen(*listener)
    try:
        yield watch
    finally:
        for listener in listeners:
            event.remove(*listener)
    if watch.broken:
        raise Apart(watch.broken)
