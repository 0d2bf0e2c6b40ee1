"""Microsoft SQL Server 2019 and later.

Declared and tested without a server: there is none in rxdb's test matrix.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rxdb.dialect import EVERYTHING, Dialect, Driver, Feature, Target
from rxdb.errors import BadURL

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import URL


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
    complete_url=complete_url,
    engine_options=engine_options,
)
