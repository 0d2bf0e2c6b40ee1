"""What MySQL and MariaDB refuse in a model, or take for something else.

Sources: MySQL's manual, "Identifier Length Limits", "InnoDB Limits", "Limits on Table Column Count
and Row Size", "Data Type Default Values", "FOREIGN KEY Constraints"; MariaDB's "Foreign Keys" and
"CREATE TABLE".
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rxdb.dialect import Rules
from rxdb_dialects._mysql_types import WIDEST

if TYPE_CHECKING:
    from sqlalchemy import Column
    from sqlalchemy.types import TypeEngine

LARGE = r"(TINY|MEDIUM|LONG)?(TEXT|BLOB)\b.*|JSON"
"""Types that are kept outside of the row."""

QUOTED = re.compile("'.*'", re.DOTALL)


def refuses_default(type_: TypeEngine[Any], default: str) -> str:
    """Know what is no boolean, and what is a literal and not an expression."""
    import sqlalchemy as sa

    if isinstance(type_, sa.Boolean) and QUOTED.fullmatch(default) and not default[1:-1].isdigit():
        return "a boolean is a number there"
    return ""


def refuses_literal(type_: TypeEngine[Any], default: str) -> str:
    """Know what only MySQL refuses."""
    import sqlalchemy as sa

    if default.lower() in {"current_date", "current_time", "localtimestamp", "localtime"}:
        return "it is an expression there only in parentheses"
    is_large = isinstance(type_, sa.Text | sa.LargeBinary | sa.JSON)
    if is_large and re.fullmatch(r"'.*'|[\d.]+", default, re.DOTALL):
        return "TEXT, BLOB and JSON take no literal there, but an expression in parentheses"
    return refuses_default(type_, default)


SIZE = re.compile(r"(?<=CHAR)\(\d+\)| (CHARACTER SET|COLLATE) \w+")
SAME = {
    "BOOL": "TINYINT",
    "BOOLEAN": "TINYINT",
    "CHAR": "VARCHAR",
    "DECIMAL": "NUMERIC",
    "INT": "INTEGER",
    "NATIONAL VARCHAR": "VARCHAR",
}


def refers(child: str, parent: str) -> bool:
    """Ask for the same type; the lengths of texts may differ, those of numbers find no parent."""
    bare = (SIZE.sub("", text.upper()).strip() for text in (child, parent))
    first, second = (SAME.get(text, text) for text in bare)
    return first == second


def ignores_case(column: Column[Any], name: str) -> bool:
    """Look for a collation whose name says so; a character set alone brings one of these."""
    said: str | None = getattr(column.type, "collation", None)
    options = dict(column.table.kwargs)
    said = said or options.get(f"{name}_collate")
    if said:
        return said.lower().endswith("_ci")
    return any(f"{name}_{option}" in options for option in ("charset", "default_charset"))


MYSQL = Rules(
    longest_name=64,
    one_name=(frozenset({"foreign key"}), frozenset({"check"}), frozenset({"table"})),
    one_name_in_table=(frozenset({"index", "unique"}), frozenset({"column"})),
    case_blind=frozenset({"column", "check", "foreign key", "index", "unique"}),
    taken_names={"column": "DB_ROW_ID|DB_TRX_ID|DB_ROLL_PTR|FTS_DOC_ID"},
    missing_types="CLOB|UUID",
    widest_number=WIDEST,
    longest_char=255,
    coarse_time=r"(DATETIME|TIMESTAMP|TIME)(\([0-5]\))?",
    until_2038=r"TIMESTAMP\b.*",
    keeps_time_zone=False,
    functions=frozenset(
        {
            *("char_length", "curdate", "curtime", "date_format", "find_in_set", "from_unixtime"),
            *(
                "greatest",
                "hex",
                "ifnull",
                "instr",
                "json_extract",
                "json_length",
                "json_valid",
                "left",
            ),
            *("now", "rand", "unix_timestamp", "utc_date", "utc_time", "utc_timestamp", "uuid"),
        }
    ),
    foreign_words=r"::|\|\||\bILIKE\b|\bSIMILAR TO\b|\bGLOB\b|\bDISTINCT FROM\b|!?~\*?\s*''",
    refuses_default=refuses_literal,
    longest_key=dict.fromkeys(("primary key", "unique", "index"), 3072),
    letter=4,
    no_key=dict.fromkeys(("primary key", "unique", "index"), LARGE),
    longest_row=65535,
    ignored_actions=frozenset({"SET DEFAULT"}),
    defers=False,
    defers_unique=False,
    # MySQL manual, "CHECK Constraints"; MariaDB does the same.
    unchecked_actions=frozenset(
        {
            *("ON DELETE SET NULL", "ON DELETE SET DEFAULT"),
            *("ON UPDATE CASCADE", "ON UPDATE SET NULL", "ON UPDATE SET DEFAULT"),
        }
    ),
    checks_numbered_keys=False,
    unstable_words=r"\bCURRENT_(DATE|TIME|TIMESTAMP)\b|\b(CURDATE|CURTIME|NOW|RAND|SYSDATE|"
    r"UNIX_TIMESTAMP|UTC_DATE|UTC_TIME|UTC_TIMESTAMP|UUID)\s*\(",
    refers=refers,
    collations=r"[a-z\d]+_\w+|binary",
    ignores_case=ignores_case,
)

MARIADB = replace(
    MYSQL,
    one_name=(frozenset({"foreign key"}), frozenset({"table"})),
    one_name_in_table=(*MYSQL.one_name_in_table, frozenset({"check"})),
    missing_types="CLOB",
    widest_number=(65, 38),
    refuses_default=refuses_default,
    indexes_expressions=False,
    computes_not_null=False,
    # A unique key of any length is a hash (its manual, "Unique Constraints on BLOB"), and an index
    # keeps the first 3072 bytes of a column.
    longest_key=dict.fromkeys(("primary key", "index"), 3072),
    cuts_keys=frozenset({"index"}),
    no_key={"primary key": LARGE},
)
