"""MariaDB 10.6 and later. It shares MySQL's protocol and drivers."""

from __future__ import annotations

from dataclasses import replace

from rxdb_dialects.mysql import dialect as mysql

PACKAGES = {"rxdb[mysql]": "rxdb[mariadb]"}

dialect = replace(
    mysql,
    name="mariadb",
    title="MariaDB",
    aliases=(),
    drivers=tuple(replace(d, package=PACKAGES.get(d.package, d.package)) for d in mysql.drivers),
    oldest=(10, 6),
)
