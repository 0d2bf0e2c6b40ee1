"""Wait until a server answers, as a container does that is started beside its database."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rxdb.dialect import Target, show
from rxdb.errors import NotAnswering, is_own

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from rxdb.engine import URLLike

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds between two attempts. They grow by half, and vary so that many processes that wait for
one server do not all come at once."""

LONGEST_ATTEMPT = 5.0
"""Seconds for one attempt, where the driver can be told: a server that is not up yet may swallow
what is sent to it."""


def wait(
    timeout: float = 60.0,
    url: URLLike | None = None,
    *,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Return as soon as the database of *url*, by default the configured one, answers a query.

    *timeout* is in seconds; there is at least one attempt. *tell* is given a sentence at the
    first failure. A database in a file that is not there yet does not have to be waited for.

    Raises :class:`rxdb.errors.NotAnswering` when the time is up, and at once what
    :func:`rxdb.parse` raises, :class:`rxdb.errors.FolderMissing`, and, where the server answers and
    lets nobody in, :class:`rxdb.errors.LoginFailed` or :class:`rxdb.errors.DatabaseMissing`.
    """
    from rxdb import failures  # noqa: PLC0415 - loads SQLAlchemy
    from rxdb.engine import ensure_folder  # noqa: PLC0415 - loads SQLAlchemy
    from rxdb.migrations import database  # noqa: PLC0415 - loads SQLAlchemy

    target = database.target(url)
    ensure_folder(target)
    file = target.dialect.file(target.url)
    if file and not Path(file).exists():
        return
    end = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        try:
            database.with_engine(_impatient(target, end - time.monotonic()), _ask)
        except Exception as error:
            if is_own(error) or isinstance(error, failures.AT_THE_DOOR):
                raise
            left = end - time.monotonic()
            if left <= 0:
                raise NotAnswering.of(
                    show(target.url), timeout, error, failures.doctor(target)
                ) from error
            if tell is not None:
                tell(f"Waiting for {show(target.url)} …")
                tell = None
            time.sleep(min(left, pause * random.uniform(0.5, 1.5)))  # noqa: S311 - no secret
            pause = min(pause * 1.5, LONGEST_PAUSE)
        else:
            return


def _ask(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")


def _impatient(target: Target, seconds: float) -> Target:
    """Limit how long one attempt to connect takes, where the URL does not."""
    option = "connect_timeout"
    if option not in target.dialect.options or option in target.url.query:
        return target
    limit = max(1, round(min(seconds, LONGEST_ATTEMPT)))
    return replace(target, url=target.url.update_query_dict({option: str(limit)}))
