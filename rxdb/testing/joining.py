"""Asynchronous sessions in the one transaction of a test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import Session

from rxdb import engine as engines

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


class JoiningEngine(AsyncEngine):
    """An asynchronous engine whose statements go through an ordinary connection.

    An ``rx.asession()`` is then part of the same transaction as an ``rx.session()``. Its statements
    hold the event loop for as long as they take.
    """

    def __init__(self, sync_engine: Engine) -> None:
        """Take an engine that SQLAlchemy's class would refuse: its driver is not asynchronous."""
        self.sync_engine = self._assign_proxied(sync_engine)

    def execution_options(self, **options: Any) -> AsyncEngine:
        """Return an engine of the same connection with other options."""
        return JoiningEngine(self.sync_engine.execution_options(**options))


class FindingSession(Session):
    """The inside of an asynchronous session that finds its engine where it is used first."""

    loop: asyncio.AbstractEventLoop | None = None
    """Where it was used last; None before its first use, and where it needs none."""

    def get_bind(self, *_: Any, **__: Any) -> Engine | Connection:
        """Return the engine of the running event loop."""
        found = engines.get_async_engine().sync_engine
        self.loop = asyncio.get_running_loop() if found.dialect.is_async else None
        return found
