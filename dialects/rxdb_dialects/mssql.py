"""Microsoft SQL Server 2019 and later.

Declared and tested without a server: there is none in rxdb's test matrix.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rxdb.dialect import EVERYTHING, Dialect, Driver, Feature, Rules, Target
from rxdb.errors import BadURL

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import URL, Column


USUAL_PORT = 1433


def complete_url(url: URL, folder: Path) -> URL:
    """Name the newest installed ODBC driver, where the URL leaves the choice open.

    A named instance, ``host\\name``, has no usual port: the server tells it.
    """
    if url.port == USUAL_PORT and "\\" in (url.host or ""):
        url = url._replace(port=None)
    by_odbc = url.get_driver_name() in {"pyodbc", "aioodbc"}
    if not by_odbc or not url.host or "driver" in url.query:
        return url
    names = import_module("pyodbc").drivers()
    installed = [name for name in names if name.startswith("ODBC Driver")]
    if not installed:
        raise BadURL(
            "There is no ODBC driver for SQL Server on this machine. Install Microsoft's "
            "msodbcsql18, or name yours in the URL: ?driver=NAME"
        )
    return url.update_query_dict({"driver": max(installed)})


def engine_options(target: Target) -> dict[str, Any]:
    """Send many rows in one round trip where the driver is able to."""
    return {"fast_executemany": True} if target.driver.name == "pyodbc" else {}


def ignores_case(column: Column[Any], name: str) -> bool:
    """Look for a collation that sees case: the usual ones of a server do not."""
    said: str = getattr(column.type, "collation", None) or ""
    return not re.search("_(CS|BIN2?)(_|$)", said.upper())


KEYS = ("primary key", "unique", "index")


def keep_meaning(sqlalchemy_dialect: Any, url: URL) -> None:
    """Refuse arithmetic with moments, which nobody has tried on a server."""
    from rxdb import moments

    moments.calculate(sqlalchemy_dialect, moments.Unwritten)


RULES = Rules(
    longest_name=128,
    one_name=(frozenset({"check", "foreign key", "primary key", "table", "unique"}),),
    one_name_in_table=(frozenset({"column"}), frozenset({"index", "unique"})),
    case_blind=frozenset({"check", "column", "foreign key", "index", "table", "unique"}),
    widest_number=(38, 38),
    functions=frozenset({"charindex", "getdate", "getutcdate", "left", "newid", "rand"}),
    foreign_words=r"::|\|\||`|<=>|\bILIKE\b|\bGLOB\b|\bREGEXP\b|\bRLIKE\b|!?~\*?\s*''",
    longest_key={"primary key": 900, "unique": 1700, "index": 1700},
    no_key=dict.fromkeys(KEYS, r"N?VARCHAR\(max\)|VARBINARY\(max\)|N?TEXT|IMAGE|JSON|XML"),
    defers=False,
    ignores_case=ignores_case,
)
"""As its manual says ("Maximum capacity specifications", "CREATE INDEX"); on no server tried."""

dialect = Dialect(
    name="mssql",
    title="SQL Server",
    aliases=("sqlserver",),
    drivers=(
        Driver(name="pyodbc", module="pyodbc", package="rxdb[mssql]"),
        Driver(name="pymssql", module="pymssql", package="pymssql"),
        Driver(name="aioodbc", module="aioodbc", package="aioodbc", sync=False, asynchronous=True),
    ),
    features=EVERYTHING
    - {
        Feature.CASELESS_TEXT,
        Feature.LOCK_TIMEOUT,
        Feature.READ_ONLY,
        Feature.SEVERAL_HOSTS,
        Feature.SKIP_LOCKED,
        Feature.STATEMENT_TIMEOUT,
        Feature.TLS,  # the driver's own options say it
    },
    oldest=(15,),
    port=USUAL_PORT,
    settings={
        "isolation level": "SELECT transaction_isolation_level FROM sys.dm_exec_sessions "
        "WHERE session_id = @@SPID",
    },
    keep_meaning=keep_meaning,
    rules=RULES,
    complete_url=complete_url,
    engine_options=engine_options,
)
