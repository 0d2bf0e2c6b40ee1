"""Make a database like another one, which MySQL and MariaDB have no statement for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection

COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = '{}' AND table_name = '{}' AND coalesce(generation_expression, '') = ''
ORDER BY ordinal_position
"""


def clone(connection: Connection, source: str, copy: str) -> None:
    """Create tables, views and triggers as the server itself would write them, with all rows."""

    def ask(statement: str) -> list[Any]:
        result = connection.execution_options(no_parameters=True).exec_driver_sql(statement)
        return list(result) if result.returns_rows else []

    ask(f"CREATE DATABASE `{copy}`")
    ask(f"USE `{copy}`")
    ask("SET foreign_key_checks = 0")
    listed = ask(f"SHOW FULL TABLES FROM `{source}`")
    for table in [name for name, kind in listed if kind == "BASE TABLE"]:
        ask(ask(f"SHOW CREATE TABLE `{source}`.`{table}`")[0][1])
        columns = ", ".join(f"`{row[0]}`" for row in ask(COLUMNS.format(source, table)))
        rows = f"SELECT {columns} FROM `{source}`.`{table}`"
        ask(f"INSERT INTO `{table}` ({columns}) {rows}")
    for trigger in ask(f"SHOW TRIGGERS FROM `{source}`"):
        ask(ask(f"SHOW CREATE TRIGGER `{source}`.`{trigger[0]}`")[0][2])
    views = [name for name, kind in listed if kind == "VIEW"]
    texts = {view: ask(f"SHOW CREATE VIEW `{source}`.`{view}`")[0][1] for view in views}
    while views:  # those that others select from go first
        later = [view for view in views if any(f"`{v}`" in texts[view] for v in views if v != view)]
        for view in [view for view in views if view not in later] or views:
            ask(texts[view].replace(f"`{source}`.", ""))
        views = later if later != views else []
