"""How far a replica of MySQL or MariaDB is: its lag, and which transactions it has.

Both number each transaction for all servers, where they are set up to: MySQL in sets such as
``uuid:1-42`` (its manual, "GTID Sets"), MariaDB with the last number of each domain, ``0-1-42``
(its documentation, "Global Transaction ID").
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from rxdb.dialect import Standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

BEHIND = ("Seconds_Behind_Source", "Seconds_Behind_Master")
"""The column with the seconds, on MySQL and on MariaDB. NULL says that it does not replicate."""

DENIED = 1227
"""ER_SPECIFIC_ACCESS_DENIED_ERROR: the lag needs REPLICATION CLIENT, on MariaDB SLAVE MONITOR."""

INTERVAL = re.compile(r"(\d+)(?:-(\d+))?")


def standing_of(statement: str, position: str) -> Callable[[Connection], Standing]:
    """Return what asks with *statement* for the lag, and with *position* for the position."""

    def standing(connection: Connection) -> Standing:
        return Standing(lag(connection, statement), where(connection, position))

    return standing


def where(connection: Connection, query: str) -> str:
    """Return the transactions that a server has."""
    return "".join(str(connection.exec_driver_sql(query).scalar_one() or "").split())


def lag(connection: Connection, statement: str) -> float | None:
    """Return the seconds that a replica is behind; None for a server that is none, or does not tell
    this user.

    Group replication has channels too, which know no seconds.
    """
    from sqlalchemy.exc import DBAPIError

    try:
        channels = connection.exec_driver_sql(statement).mappings().all()
    except DBAPIError as error:
        if error.orig is None or error.orig.args[:1] != (DENIED,):
            raise
        return None
    own = [c for c in channels if not str(c.get("Channel_Name", "")).startswith("group_replica")]
    seconds = [next((c[name] for name in BEHIND if name in c), None) for c in own]
    return max((math.inf if s is None else float(s) for s in seconds), default=None)


def has_executed(position: str, token: str) -> bool:
    """Whether a set of MySQL's contains another one, which is not empty."""
    have, wanted = intervals(position), intervals(token)
    return bool(wanted) and all(
        any(low <= first and last <= high for low, high in have.get(source, []))
        for source, some in wanted.items()
        for first, last in some
    )


def intervals(text: str) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Read ``uuid:1-5:9,uuid:tag:1-3``: the numbers by server and tag."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for of_source in text.lower().split(","):
        source, *parts = of_source.split(":")
        tag = ""
        for part in parts:
            if numbers := INTERVAL.fullmatch(part):
                first, last = int(numbers[1]), int(numbers[2] or numbers[1])
                found.setdefault((source, tag), []).append((first, last))
            else:
                tag = part
    return found


def has_passed(position: str, token: str) -> bool:
    """Whether a position of MariaDB's is at another one, which is not empty, or behind it."""
    have, wanted = numbers(position), numbers(token)
    return bool(wanted) and all(have.get(domain, -1) >= last for domain, last in wanted.items())


def numbers(text: str) -> dict[str, int]:
    """Read ``0-1-42,5-1-7``: the last number of each domain."""
    return {of[0]: int(of[2]) for part in text.split(",") if len(of := part.split("-")) == 3}  # noqa: PLR2004 - domain, server, number
