"""See what an engine does: slow statements in the log, and each statement's place in the code.

OpenTelemetry needs nothing from here: its instrumentation of SQLAlchemy sees the engines that rxdb
builds.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.util.concurrency import in_greenlet

from rxdb.dialect import Target, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import ExceptionContext

    from rxdb.config import Config

log = logging.getLogger("rxdb.slow")
"""Where slow statements are told, as warnings."""

STARTED = "rxdb_started"
"""Where a connection notes when its statement began."""

LIBRARIES = ("rxdb", "rxdb_dialects", "sqlalchemy", "sqlmodel", "opentelemetry", "alembic")
"""Packages whose code stands between an application and its database."""

NOT_IN_A_COMMENT = re.compile(r"[^\w./:-]+")
"""What could end a comment, or mean a parameter to a driver."""

LONGEST = 2000
"""Characters of a statement that the log shows."""


def attach(engine: Engine, target: Target, config: Config) -> None:
    """Watch *engine* as far as *config* says; where it says nothing, nothing is attached."""
    if config.slow_statement is not None:
        _log_slow_statements(engine, target, config.slow_statement)
    if config.comment_statements:
        _comment_statements(engine)


def _log_slow_statements(engine: Engine, target: Target, threshold: float) -> None:
    """Log each statement that takes *threshold* seconds or longer, also when it fails."""
    database = show(target.url)

    def tell(connection: Connection, statement: str, parameters: Any, *, failed: str = "") -> None:
        seconds = time.perf_counter() - connection.info.pop(STARTED, time.perf_counter())
        if seconds < threshold:
            return
        text = " ".join(statement.split())
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        log.warning(
            "%.3f s%s on %s at %s: %s",
            seconds,
            failed,
            database,
            place(),
            text,
            extra={"seconds": seconds, "statement": statement, "rows": _rows(parameters)},
        )

    @event.listens_for(engine, "before_cursor_execute")
    def start(connection: Connection, *_: Any) -> None:
        connection.info[STARTED] = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def end(
        connection: Connection, cursor: object, statement: str, parameters: Any, *_: Any
    ) -> None:
        tell(connection, statement, parameters)

    @event.listens_for(engine, "handle_error")
    def fail(context: ExceptionContext) -> None:
        if context.connection is not None and context.statement is not None:
            failed = f", then {type(context.original_exception).__name__},"
            tell(context.connection, context.statement, context.parameters, failed=failed)


def _rows(parameters: Any) -> int:
    """Return how many rows of parameters a statement was given."""
    return len(parameters) if isinstance(parameters, list) else 1


def _comment_statements(engine: Engine) -> None:
    """Add the application's line to each statement, where the server's own tools show it."""

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def comment(
        connection: Connection, cursor: object, statement: str, parameters: Any, *_: Any
    ) -> tuple[str, Any]:
        return f"{statement} /* {NOT_IN_A_COMMENT.sub('_', place())} */", parameters


def place() -> str:
    """Return where the application called, such as ``shop/orders.py:12 in place_order``.

    The innermost frame that belongs to none of the libraries in between.
    """
    for frame in _frames():
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in LIBRARIES and "greenlet" not in package:
            file = frame.f_code.co_filename
            short = os.path.relpath(file) if file.startswith(os.getcwd() + os.sep) else file  # noqa: PTH109 - for each statement
            return f"{short}:{frame.f_lineno} in {frame.f_code.co_name}"
    return "an unknown place"


def _frames() -> Iterator[FrameType]:
    """Yield the frames of the running code, innermost first; a greenlet's caller comes after it."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads source files
    while frame is not None:
        yield frame
        frame = frame.f_back
    if in_greenlet():
        parent: Any = import_module("greenlet").getcurrent().parent  # installed where one runs
        frame = parent.gr_frame if parent is not None else None
        while frame is not None:
            yield frame
            frame = frame.f_back
