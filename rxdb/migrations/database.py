"""Work on a database through whatever driver is installed, ordinary or asynchronous."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.pool import NullPool

from rxdb import config
from rxdb.engine import URLLike, build, build_async, ensure_folder, find_target
from rxdb.errors import DriverMismatch, DriverMissing

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from rxdb.dialect import Target

Result = TypeVar("Result")

STOPPING = 1.0
"""Seconds that the thread of a failed connection has to end."""

POOL = ("pool", "max_overflow", "isolation_level")
"""How the names of engine options begin that make no sense for one connection."""


def target(url: URLLike | None = None) -> Target:
    """Return the database that migrations work on: *url*, ``Config.migration_url``, or the
    configured database; with an asynchronous driver where there is no other.

    Raises what :func:`rxdb.parse` raises.
    """
    wanted = url if url is not None else config.get_config().migration_url
    try:
        return find_target(wanted)
    except DriverMismatch:  # the URL names an asynchronous driver
        return find_target(wanted, is_async=True)
    except DriverMissing:
        with suppress(DriverMismatch, DriverMissing):
            return find_target(wanted, is_async=True)
        raise


def setting(url: URLLike | None = None) -> config.Setting:
    """Return what :func:`target` reads, and who said so."""
    if url is not None:
        return config.Setting(url=url, source="--url")
    if other := config.get_config().migration_url:
        return config.Setting(url=other, source="migration_url")
    return config.database(is_async=not target().driver.sync)


def with_engine(found: Target, work: Callable[[Engine], Result], **options: Any) -> Result:
    """Return what *work* does with an engine of its own, whose connections end with it.

    Through an asynchronous driver it runs in the greenlet of an event loop of its own, in another
    thread where this one has a running loop. Raises :class:`rxdb.errors.FolderMissing`.
    """
    options = {**options_of_one(), "poolclass": NullPool, **options}
    ensure_folder(found)
    if found.driver.sync:
        engine = build(found, **options)
        try:
            return work(engine)
        finally:
            engine.dispose()

    async def working() -> Result:
        from sqlalchemy.util import greenlet_spawn  # noqa: PLC0415 - needs greenlet

        before = set(threading.enumerate())
        engine = build_async(found, **options)
        try:
            return await greenlet_spawn(work, engine.sync_engine)
        except BaseException:
            # aiosqlite tells the loop when the thread of a failed connection has ended, and does
            # not wait for it; a loop that is closed by then makes a traceback of it.
            for thread in set(threading.enumerate()) - before:
                await asyncio.to_thread(thread.join, STOPPING)
            raise
        finally:
            await engine.dispose()

    return _run(lambda: asyncio.run(working()))


def options_of_one() -> dict[str, Any]:
    """Return what the application says of its engines, as far as it is for one connection too."""
    given = config.get_config().engine_options
    return {name: given[name] for name in given if not name.startswith(POOL)}


def _run(function: Callable[[], Result]) -> Result:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return function()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function).result()
