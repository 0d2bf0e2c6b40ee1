"""MariaDB 10.6 and later. It shares MySQL's protocol and drivers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rxdb_dialects._mysql_replicas import has_passed, standing_of, where
from rxdb_dialects._mysql_rules import MARIADB
from rxdb_dialects.mysql import dialect as mysql

if TYPE_CHECKING:
    from sqlalchemy import Connection

PACKAGES = {"rxdb[mysql]": "rxdb[mariadb]"}

STANDS_AT = "SELECT @@GLOBAL.gtid_current_pos"
"""The last transaction of each domain, a replica's or this server's own; empty without a binary
log on either side."""


def position(connection: Connection) -> str:
    """Return the transactions that are committed."""
    return where(connection, STANDS_AT)


dialect = replace(
    mysql,
    name="mariadb",
    title="MariaDB",
    aliases=(),
    drivers=tuple(replace(d, package=PACKAGES.get(d.package, d.package)) for d in mysql.drivers),
    oldest=(10, 6),
    rules=MARIADB,
    standing=standing_of("SHOW ALL SLAVES STATUS", STANDS_AT),
    position=position,
    has_reached=has_passed,
    server="rxdb_dialects._mysql_server:mariadb",
)
