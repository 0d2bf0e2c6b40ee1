"""Oracle Database 19c and later, through the thin driver: no client libraries needed.

Declared and tested without a server: there is none in rxdb's test matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rxdb.dialect import EVERYTHING, Dialect, Driver, Feature, Rules

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import URL


def complete_url(url: URL, folder: Path) -> URL:
    """Read ``oracle://host/NAME`` as the service NAME; a SID has to be asked for by ``?sid=``."""
    if not url.database or "service_name" in url.query:
        return url
    # URL.set(database=None) would leave the name where it is.
    return url._replace(database=None).update_query_dict({"service_name": url.database})


def keep_meaning(sqlalchemy_dialect: Any, url: URL) -> None:
    """Refuse arithmetic with moments, which nobody has tried on a server."""
    from rxdb import moments

    moments.calculate(sqlalchemy_dialect, moments.Unwritten)


RULES = Rules(
    longest_name=128,
    names_in_bytes=True,
    one_name=(
        frozenset({"table"}),
        frozenset({"index"}),
        frozenset({"check", "foreign key", "primary key", "unique"}),
    ),
    one_name_in_table=(frozenset({"column"}),),
    widest_number=(38, 127),
    functions=frozenset({"greatest", "instr", "nvl", "sys_guid"}),
    foreign_words=r"::|`|<=>|\bILIKE\b|\bGLOB\b|\bREGEXP\b|\bRLIKE\b|!?~\*?\s*''",
    no_key=dict.fromkeys(("primary key", "unique", "index"), "N?CLOB|BLOB|LONG.*|JSON"),
)
"""As its manual says ("Logical Database Limits", "Database Object Names"); on no server tried."""

dialect = Dialect(
    name="oracle",
    title="Oracle",
    drivers=(
        Driver(
            name="oracledb",
            module="oracledb",
            package="rxdb[oracle]",
            minimum="2.0",
            asynchronous=True,
        ),
    ),
    features=EVERYTHING
    - {
        Feature.CASELESS_TEXT,
        Feature.LOCK_TIMEOUT,
        Feature.READ_ONLY,
        Feature.SCHEMAS,
        Feature.SEVERAL_HOSTS,
        Feature.STATEMENT_TIMEOUT,
        Feature.TRANSACTIONAL_DDL,
    },
    oldest=(19,),
    port=1521,
    settings={"time zone": "SELECT sessiontimezone FROM dual"},
    keep_meaning=keep_meaning,
    rules=RULES,
    complete_url=complete_url,
)
