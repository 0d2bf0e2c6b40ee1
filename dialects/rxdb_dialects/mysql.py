"""MySQL 8.0 and later, and the parent of what speaks its protocol."""

from __future__ import annotations

import math
import re
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rxdb.dialect import (
    COMMON_OPTIONS,
    EVERYTHING,
    Details,
    Dialect,
    Driver,
    Feature,
    Limits,
    Target,
    execute,
    run,
    take,
    to_json,
)
from rxdb.errors import (
    BadURL,
    BadValue,
    CheckViolation,
    ConnectionLost,
    ConstraintViolation,
    DatabaseError,
    DatabaseMissing,
    Deadlock,
    ForeignKeyViolation,
    LockTimeout,
    LoginFailed,
    NotNullViolation,
    ReadOnly,
    RxdbError,
    SerializationFailure,
    StatementTimeout,
    UniqueViolation,
)
from rxdb_dialects import _mysql_rollbacks
from rxdb_dialects._mysql_replicas import has_executed, standing_of, where
from rxdb_dialects._mysql_rules import MYSQL
from rxdb_dialects._mysql_types import WIDEST, keep_meaning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.engine import Dialect as SQLAlchemyDialect
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.types import TypeEngine

    from rxdb.dialect import Conversions, Merge, Rows

SESSION = (
    # An empty global sql_mode, as on Amazon RDS, cuts texts that are too long without a word and
    # stores 0000-00-00; TRADITIONAL refuses both. It is added, for an administrator may have more.
    "SET SESSION sql_mode = CONCAT(@@sql_mode, ',TRADITIONAL'), time_zone = '+00:00'"
)

READ_ONLY = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
"""A consistent snapshot is one in REPEATABLE READ only (MySQL manual, "START TRANSACTION")."""

NUMBERS = frozenset({"max_allowed_packet", "read_timeout", "write_timeout", "stmt_cache_size"})
SHARED = frozenset(
    {
        "charset",
        "client_flag",
        "init_command",
        "local_infile",
        "read_default_file",
        "read_default_group",
        "sql_mode",
        "unix_socket",
        "use_unicode",
    }
)
"""Arguments that the drivers have in common and a text can say."""

LONGEST = 31536000
"""Seconds: the most that PyMySQL and asyncmy wait for a connection. libpq's 0 means for ever."""

TYPES: dict[str, type] = {
    **dict.fromkeys(NUMBERS | {"client_flag", "connect_timeout"}, int),
    **dict.fromkeys(("compress", "local_infile", "use_unicode"), bool),
}

REQUIRED = ("require", "verify-ca", "verify-full")

MYSQLCLIENT_MODES = {
    "disable": "DISABLED",
    "allow": "REQUIRED",
    "prefer": "REQUIRED",
    "require": "REQUIRED",
    "verify-ca": "VERIFY_CA",
    "verify-full": "VERIFY_IDENTITY",
}

UUID_LENGTH = 32
"""Characters: SQLAlchemy keeps a UUID as hexadecimal digits where there is no type for it."""


def complete_url(url: URL, folder: Path) -> URL:
    """Speak full Unicode, also where the server's default is still latin1 or utf8mb3.

    A host that begins with ``/`` is a unix socket, as in PostgreSQL's URLs.
    """
    url, place = take(url, ("host", "port"))
    if "host" in place:
        url = url.update_query_dict({"unix_socket": place["host"]})
    return url if "charset" in url.query else url.update_query_dict({"charset": "utf8mb4"})


def translate(target: Target) -> tuple[URL, dict[str, Any]]:
    """Say the common options in the words of this driver."""
    url, common = take(target.url, COMMON_OPTIONS)
    url, numbers = take(url, NUMBERS)
    timeout = int(common.get("connect_timeout", "10"))  # seconds; mysqlclient waits for ever
    arguments: dict[str, Any] = {
        "connect_timeout": min(timeout, LONGEST) if timeout > 0 else LONGEST,
        **{name: int(value) for name, value in numbers.items()},
    }
    if (name := common.get("application_name")) and target.driver.name != "mysqldb":
        arguments |= {"program_name": name}  # mysqlclient has no way to say it
    return url, {**arguments, **SAY_TLS[target.driver.name](common)}


def tls_for_mysqlclient(common: dict[str, str]) -> dict[str, Any]:
    """Use the client library's own modes, but its PREFERRED, which MariaDB's library takes for no
    TLS: :func:`prepare` falls back from REQUIRED instead."""
    files = {"ca": "sslrootcert", "cert": "sslcert", "key": "sslkey"}
    given = {key: common[option] for key, option in files.items() if option in common}
    mode = MYSQLCLIENT_MODES[common.get("sslmode", "prefer")]
    if mode.startswith("VERIFY"):
        # Without one, MariaDB's library takes any certificate of a server on this machine.
        given.setdefault("ca", ssl.get_default_verify_paths().cafile or "")
    return {"ssl_mode": mode, **({"ssl": given} if given else {})}


def tls_for_pymysql(common: dict[str, str]) -> dict[str, Any]:
    """Give one context for all connections: PyMySQL would make one for each,
    and read all of the system's authorities for it."""
    off = common.get("sslmode") == "disable"
    return {"ssl_disabled": True} if off else {"ssl": tls_context(common)}


def tls_for_async(common: dict[str, str]) -> dict[str, Any]:
    """Give a context unless TLS is off."""
    return {} if common.get("sslmode") == "disable" else {"ssl": tls_context(common)}


SAY_TLS = {
    "mysqldb": tls_for_mysqlclient,
    "pymysql": tls_for_pymysql,
    "asyncmy": tls_for_async,
    "aiomysql": tls_for_async,
}


NO_TLS: dict[str, dict[str, Any]] = {
    "mysqldb": {"ssl_mode": "DISABLED"},
    "pymysql": {"ssl_disabled": True},  # or it would make a context of its own and try again
}
"""What is said to a driver instead, after a server turned out to have no TLS."""


def tls_context(common: dict[str, str]) -> ssl.SSLContext:
    """Make one context for all connections of an engine, with what sslmode says is checked."""
    mode = common.get("sslmode", "prefer")
    checked = mode in {"verify-ca", "verify-full"}
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = mode == "verify-full"
        context.verify_mode = ssl.CERT_REQUIRED if checked else ssl.CERT_NONE
        if "sslrootcert" in common:
            context.load_verify_locations(common["sslrootcert"])
        elif checked:
            context.load_default_certs()
        if "sslcert" in common:
            context.load_cert_chain(common["sslcert"], common.get("sslkey"))
    except (OSError, ssl.SSLError) as error:
        raise BadURL(
            f"The TLS files of the URL cannot be read: {error}. "
            f"Look at sslrootcert, sslcert and sslkey."
        ) from error
    return context


def engine_options(target: Target) -> dict[str, Any]:
    """Choose READ COMMITTED, as Django does: under REPEATABLE READ, MySQL's default, a statement
    that writes sees rows that the reads before it did not, and data is lost (Django's notes on
    MySQL, "Isolation level"). A connection is replaced long before the server's wait_timeout,
    28,800 s, and before most proxies drop it."""
    return {
        "isolation_level": "READ COMMITTED",
        "json_serializer": to_json,
        "pool_recycle": 1800,
    }


def prepare(engine: Engine, target: Target) -> None:
    """Set sql_mode and time zone, and let types and sslmode mean what they do elsewhere.

    aiomysql goes on without TLS where the server offers none, so a required one is looked for.
    The others refuse to, so a preferred one is tried, and left out after that failed.
    """
    from sqlalchemy import event

    from rxdb_dialects._mysql_load import LOADS

    statements = (SESSION, READ_ONLY) if target.read_only else (SESSION,)
    mode = target.url.query.get("sslmode", "prefer")

    if target.read_only:
        _repeat_reads_again(engine)
    elif target.driver.name in LOADS:
        _allow_loads(engine)

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: object) -> None:
        if mode in REQUIRED and not _is_encrypted(connection):
            raise NotEncrypted(
                "The server offers no TLS, and sslmode asks for it. Turn TLS on at the server, "
                "or write sslmode=prefer where the network is trusted."
            )
        if target.driver.sync:
            _mysql_rollbacks.spare(connection, engine.dialect.loaded_dbapi)
        run(connection, *statements)

    @event.listens_for(engine, "first_connect")
    def first(connection: Any, record: object) -> None:
        charset, collation, others = _row(connection, COLLATIONS)
        if charset != "utf8mb4" or not others:
            _create_tables_in(engine, "" if others else collation)

    if not target.driver.sync:
        _hang_up_when_cancelled(engine)
    if mode in {"allow", "prefer"}:
        _fall_back_from_tls(engine, NO_TLS.get(target.driver.name, {}))


def _allow_loads(engine: Engine) -> None:
    """Tell the server that this client may be asked for the rows of LOAD DATA LOCAL."""
    from sqlalchemy import event

    from rxdb_dialects._mysql_load import LOCAL_FILES

    @event.listens_for(engine, "do_connect")
    def allow(dialect: Any, record: object, cargs: list[Any], cparams: dict[str, Any]) -> None:
        cparams["client_flag"] = cparams.get("client_flag", 0) | LOCAL_FILES


def _repeat_reads_again(engine: Engine) -> None:
    """Let a snapshot be one also on a connection that was used with another isolation level."""
    dialect: Any = engine.dialect
    reset = dialect.reset_isolation_level

    def reset_isolation_level(connection: Any) -> None:
        reset(connection)
        run(connection, READ_ONLY)

    dialect.reset_isolation_level = reset_isolation_level


def _hang_up_when_cancelled(engine: Engine) -> None:
    """End a connection that is given up without a good-bye: the driver would leave it open until
    the server ends TLS, and the server does that after its query."""
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        driver = connection.driver_connection
        writer = getattr(driver, "_writer", None)  # aiomysql's
        record.info["rxdb_transport"] = writer.transport if writer else driver._transport  # noqa: SLF001 - the driver has no public way

    @event.listens_for(engine, "invalidate")
    def invalidate(connection: Any, record: Any, error: BaseException | None) -> None:
        if transport := record.info.get("rxdb_transport"):
            with suppress(AttributeError):  # Python 3.11.2, where TLS has come to its end already
                transport.abort()
        connection.driver_connection.close()


def _fall_back_from_tls(engine: Engine, without: dict[str, Any]) -> None:
    from sqlalchemy import event

    @event.listens_for(engine, "do_connect")
    def connect(
        dialect: Any, record: object, cargs: list[Any], cparams: dict[str, Any]
    ) -> DBAPIConnection | None:
        try:
            connection: DBAPIConnection = dialect.connect(*cargs, **cparams)
        except dialect.loaded_dbapi.OperationalError as error:
            if "SSL" not in str(error) or not {"ssl", "ssl_mode"} & cparams.keys():
                raise
        else:
            return connection
        for name in ("ssl", "ssl_mode"):
            cparams.pop(name, None)
        cparams.update(without)  # for this connection and the later ones
        return None


COLLATIONS = """
SELECT @@character_set_database, c.collation_name, EXISTS (
    SELECT * FROM information_schema.tables AS t
    WHERE t.table_schema = DATABASE() AND t.table_collation <> c.collation_name
) AND NOT EXISTS (
    SELECT * FROM information_schema.tables AS t
    WHERE t.table_schema = DATABASE() AND t.table_collation = c.collation_name
) FROM information_schema.collations AS c
WHERE c.collation_name IN ('utf8mb4_0900_bin', 'utf8mb4_nopad_bin', 'utf8mb4_bin')
ORDER BY c.collation_name = 'utf8mb4_bin' LIMIT 1
"""
"""The collation in which texts are equal only when they are, as on other servers; MySQL's name for
it, MariaDB's, and one for MySQL before 8.0.17, to which ``'a'`` and ``'a '`` are equal."""


def _create_tables_in(engine: Engine, collation: str) -> None:
    """Let new tables hold every character, and tell texts apart by case and accent as other
    servers do.

    MariaDB before 11.6 makes latin1 databases unless it was told otherwise, and for both servers
    ``'Bob' = 'bob'`` is true. Where all tables are of another collation, new ones follow them: a
    foreign key needs the same on both sides, and so does a comparison.
    """
    dialect: Any = engine.dialect
    compiler: Any = dialect.ddl_compiler
    said = f" CHARSET=utf8mb4 COLLATE={collation}" if collation else " CHARSET=utf8mb4"

    class Compiler(compiler):  # type: ignore[misc]  # the class that this engine has
        def post_create_table(self, table: Any) -> str:
            options: str = super().post_create_table(table)
            is_said = re.search("CHARSET|COLLATE", options.upper())
            return options if is_said else f"{options}{said}"

    dialect.ddl_compiler = Compiler


UNSHARED = (
    "SHOW GLOBAL VARIABLES WHERE (Variable_name = 'wsrep_on' AND Value = 'ON') "
    "OR (Variable_name = 'group_replication_single_primary_mode' AND Value = 'OFF')"
)
"""What says that several nodes take writes: Galera, and group replication with several primaries.
They do not share the locks of GET_LOCK (MySQL manual, "Group Replication Limitations")."""


def migration_lock(connection: Connection, name: str) -> Callable[[], None] | None:
    """Take a lock of this session; after its client was killed the session, and with it the lock,
    ends when the server is done with its statement."""
    from sqlalchemy import text

    if connection.scalar(text("SELECT GET_LOCK(:name, 0)"), {"name": name}) != 1:
        return None

    def release() -> None:
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": name})

    return release


def has_session_locks(connection: Connection) -> bool:
    """Trust the lock where only one node takes writes."""
    return connection.exec_driver_sql(UNSHARED).first() is None


STANDS_AT = "SELECT IF(@@GLOBAL.gtid_mode = 'ON', @@GLOBAL.gtid_executed, '')"
"""The transactions of this server. Without GTIDs there is no position."""


def position(connection: Connection) -> str:
    """Return the transactions that are committed."""
    return where(connection, STANDS_AT)


def bind_columns(type_: TypeEngine[Any], dialect: object) -> Conversions:
    """Check numbers and times as their types do."""
    from rxdb_dialects import _values

    return _values.bind_columns(type_, dialect)


def write_rows(connection: Connection, rows: Rows) -> bool:
    """Insert many rows with LOAD DATA LOCAL, or many with one statement."""
    from rxdb_dialects import _mysql_load

    return _mysql_load.write_rows(connection, rows)


def upsert(connection: Connection, merge: Merge) -> tuple[int, int]:
    """Insert or update with ON DUPLICATE KEY UPDATE."""
    from rxdb_dialects import _mysql_load

    return _mysql_load.upsert(connection, merge)


def limit_lock_wait(seconds: float) -> tuple[str, ...]:
    """Limit it, in whole seconds, for the locks of tables and of rows: the server's own limits
    are a year and 50 s (MySQL manual, lock_wait_timeout and innodb_lock_wait_timeout)."""
    whole = max(1, math.ceil(seconds))
    names = ("lock_wait_timeout", "innodb_lock_wait_timeout")
    return tuple(f"SET SESSION {name} = {whole}" for name in names)


def limit(connection: Connection, limits: Limits) -> Callable[[DBAPIConnection], None]:
    """Set it for the session, and remember there what it was.

    MySQL limits SELECT only, in milliseconds (its manual, max_execution_time), MariaDB every
    statement, in seconds. Waiting for locks is limited in whole seconds, of rows and of tables.
    """
    sqlalchemy_dialect: Any = connection.dialect
    values: dict[str, str] = {}
    if limits.statement is not None and sqlalchemy_dialect.is_mariadb:
        values["max_statement_time"] = f"{max(0.001, limits.statement):f}"
    elif limits.statement is not None:
        values["max_execution_time"] = f"{max(1, round(limits.statement * 1000))}"
    if limits.lock is not None:
        whole = f"{max(1, math.ceil(limits.lock))}"
        values |= {"innodb_lock_wait_timeout": whole, "lock_wait_timeout": whole}
    changes = (
        f"@rxdb_{name} = @@SESSION.{name}, SESSION {name} = {value}"
        for name, value in values.items()
    )
    connection.exec_driver_sql(f"SET {', '.join(changes)}")
    back = ", ".join(f"SESSION {name} = @rxdb_{name}" for name in values)

    def give_back(returned: DBAPIConnection) -> None:
        with _mysql_rollbacks.beginning_nothing(returned):
            execute(returned, f"SET {back}")

    return give_back


NAME = re.compile(r"`([^`]+)`|([\w$]+)")
COUNTER = re.compile(r" AUTO_INCREMENT=\d+")
PROGRAMS = {
    "TRIGGER": "SELECT trigger_name, action_timing, event_manipulation, event_object_table, "
    "action_statement FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
    "PROCEDURE": "SELECT routine_name, routine_definition, routine_comment "
    "FROM information_schema.routines WHERE routine_schema = DATABASE()",
    "EVENT": "SELECT event_name, event_definition, status, interval_value, interval_field, starts, "
    "ends FROM information_schema.events WHERE event_schema = DATABASE()",
}
"""What SHOW CREATE TABLE does not tell: a word of the statement, and the query."""


def fingerprint(connection: Connection, statement: str) -> str:
    """Show how the tables and views that a statement names are made now; which of them there are,
    also in other databases that it names; and the triggers, routines and events if it is about
    them."""
    from sqlalchemy import bindparam, text

    words = sorted({"".join(found) for found in NAME.findall(statement)})
    query = text(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE (table_schema = "
        "DATABASE() OR table_schema IN :words) AND table_name IN :words ORDER BY 1, 2"
    ).bindparams(bindparam("words", expanding=True))
    quote = connection.dialect.identifier_preparer.quote_identifier
    parts: list[str] = []
    for schema, name in connection.execute(query, {"words": words}).all():
        shown = connection.exec_driver_sql(f"SHOW CREATE TABLE {quote(schema)}.{quote(name)}")
        parts += [f"{schema}.{name}", COUNTER.sub("", str(shown.one()[1]))]
    upper = {word.upper().replace("FUNCTION", "PROCEDURE") for word in words}
    for word in sorted(PROGRAMS.keys() & upper):
        parts += [repr(tuple(row)) for row in connection.exec_driver_sql(PROGRAMS[word])]
    return "\n".join(parts)


CODES: dict[type[DatabaseError], tuple[int, ...]] = {
    BadValue: (
        *(1264, 1265, 1292, 1366, 1406),  # out of range, truncated, incorrect, too long
        *(1365, 1367, 1411, 1416, 1525, 1690),  # division by zero, illegal values, overflow
        *(3140, 3156),  # no JSON
    ),
    CheckViolation: (3819, 4025),  # MySQL's, MariaDB's
    ConnectionLost: (
        *(2002, 2003, 2005),  # no connection to the server
        *(2006, 2013, 2014, 2027, 2045, 2055),  # lost, or out of step
        *(1053, 1079, 3032),  # shutting down, or offline
        *(1152, 1158, 1159, 1160, 1161, 1184),  # the network
        *(1927, 3169, 4031),  # killed, or idle for too long
        1047,  # Galera: the node has not joined, or has lost, the cluster
    ),
    ConstraintViolation: (1761, 1762),  # a cascade would make a duplicate
    DatabaseMissing: (1049,),
    Deadlock: (1213, 1614, 3058),  # Galera's answer at COMMIT is 1213 as well
    ForeignKeyViolation: (1216, 1217, 1451, 1452),
    LockTimeout: (1205, 3572),  # 3572 is NOWAIT
    LoginFailed: (1044, 1045, 1698),  # 1044 also for a database that only others may see
    NotNullViolation: (1048, 1263, 1364),
    ReadOnly: (1290, 1792, 1836),  # 1290 is a replica's read_only
    SerializationFailure: (
        1020,  # MariaDB's innodb_snapshot_isolation: the record has changed
        1180,  # group replication at COMMIT: Lock deadlock; Retry transaction
        3101,  # a plug-in of the server, such as group replication, rolled back at COMMIT
    ),
    StatementTimeout: (1969, 3024),  # MariaDB's, MySQL's
    UniqueViolation: (1022, 1062, 1169, 1557, 1586, 1859),
}
"""Numbers of the servers (their manuals, "Error Codes"), from 2000 to 2999 of the client."""

ERRORS: dict[str | int, type[RxdbError]] = {
    code: kind for kind, codes in CODES.items() for code in codes
}

AGAIN = (ConnectionLost, Deadlock, LockTimeout, SerializationFailure)

RETRYABLE = frozenset(
    {
        *(code for kind in AGAIN for code in CODES[kind]),
        *(1290, 1836),  # what was the primary is a replica now
        1040,  # too many connections
        3100,  # group replication has no majority at COMMIT
    }
)


def error_code(error: BaseException) -> int | None:
    """Return the number; 1290 names the option in its way, which is not always read_only. 4025 is
    3140, no JSON, where MariaDB's own CHECK of a column refuses: its name has the column in it."""
    code = error.args[0] if error.args else None
    if isinstance(code, BaseException):
        return error_code(code)
    if code == 4025 and re.match("CONSTRAINT `[^`.]+\\.[^`]+` failed", str(error.args[1])):  # noqa: PLR2004 - ER_CONSTRAINT_FAILED
        return 3140
    is_other = code == 1290 and not re.search("read[-_]only", str(error))  # noqa: PLR2004 - ER_OPTION_PREVENTS_STATEMENT
    return code if isinstance(code, int) and not is_other else None


IN_MESSAGES = re.compile(
    r"(?:CONSTRAINT `(?P<fk>[^`]+)` FOREIGN KEY \((?P<columns>[^)]+)\))"
    r"|for key '(?P<key>[^']+)'$"
    r"|Check constraint '(?P<check>.+)' is violated"
    r"|CONSTRAINT `(?P<mariadb>.+)` failed for `[^`]+`\.`(?P<checked>[^`]+)`"
    r"|(?:[Cc]olumn|Field) (?P<column>'[^']+'|`[^`]+`(?:\.`[^`]+`)*)"
)
CHILD = re.compile(r"fails \(`[^`]+`\.`(?P<table>[^`]+)`")


def details(error: BaseException) -> Details:
    """Read the names in the message: there is no other place for them."""
    text = str(error.args[1]) if len(error.args) > 1 else ""
    found = IN_MESSAGES.search(text)
    if found is None:
        return Details()
    if found["fk"]:
        child = CHILD.search(text)
        columns = tuple(re.findall("`([^`]+)`", found["columns"]))
        return Details(found["fk"], child["table"] if child else None, columns)
    if found["key"]:
        table, _, name = found["key"].rpartition(".")  # MySQL names the table, MariaDB does not
        return Details(name, table or None)
    if found["column"]:
        *place, column = re.findall("['`]([^'`]+)['`]", found["column"])
        return Details(None, place[-1] if place else None, (column,))
    return Details(found["check"] or found["mariadb"], found["checked"])


class NotEncrypted(RxdbError, ConnectionError):
    """The URL requires TLS, and the connection has none."""


def _is_encrypted(connection: Any) -> bool:
    return bool(_one(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'"))


def _one(connection: Any, query: str) -> Any:
    """Return the last value of the query's only row."""
    return _row(connection, query)[-1]


def _row(connection: Any, query: str) -> Any:
    cursor = connection.cursor()
    cursor.execute(query)
    row = cursor.fetchone()
    cursor.close()
    return row


def plain_default(text: str) -> str:
    """Say CURRENT_TIMESTAMP in one way: ``(now())`` and ``current_timestamp()`` mean it too."""
    found = NOW.fullmatch(text)
    return f"CURRENT_TIMESTAMP{found[2] or ''}" if found else text


NOW = re.compile(r"\(?(now|current_timestamp)(?:\(\))?(\(\d\))?\)?", re.IGNORECASE)


def caseless(length: int, dialect: SQLAlchemyDialect) -> TypeEngine[Any]:
    """Compare with the server's collation that sees accents and no case; MariaDB has one since
    10.10."""
    from sqlalchemy.dialects.mysql import VARCHAR

    collation = "utf8mb4_uca1400_nopad_as_ci" if is_mariadb(dialect) else "utf8mb4_0900_as_ci"
    return VARCHAR(length, charset="utf8mb4", collation=collation)


def exact(text: str, dialect: SQLAlchemyDialect) -> str:
    """Compare code points, whatever the collation of a column is."""
    return f"({text} COLLATE {'utf8mb4_nopad_bin' if is_mariadb(dialect) else 'utf8mb4_0900_bin'})"


def is_mariadb(dialect: Any) -> bool:
    """Whether SQLAlchemy's dialect speaks to MariaDB, by its name or by what the server told."""
    return bool(dialect.is_mariadb)


def neutral_type(type_: TypeEngine[Any]) -> TypeEngine[Any] | None:
    """Say which of SQLAlchemy's types a column was made from."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    if isinstance(type_, mysql.TINYINT) and type_.display_width == 1:
        return sa.Boolean()
    if isinstance(type_, mysql.CHAR) and type_.length == UUID_LENGTH:
        return sa.Uuid()
    if isinstance(type_, mysql.DECIMAL) and (type_.precision, type_.scale) == WIDEST:
        return sa.Numeric()
    return None


def clone(connection: Connection, source: str, copy: str) -> None:
    """Create what is in a database again."""
    from rxdb_dialects import _mysql_clone

    _mysql_clone.clone(connection, source, copy)


dialect = Dialect(
    name="mysql",
    title="MySQL",
    aliases=("mysql2",),
    drivers=(
        Driver(
            name="mysqldb",
            module="MySQLdb",
            package="rxdb[mysqlclient]",
            distributions=("mysqlclient", "mysqlclient-static"),
            minimum="2.1",
            options=SHARED | {"collation", "compress", "read_timeout", "write_timeout"},
        ),
        Driver(
            name="pymysql",
            module="pymysql",
            package="rxdb[mysql]",
            minimum="1.1",
            options=SHARED | {"collation", "max_allowed_packet", "read_timeout", "write_timeout"},
        ),
        Driver(
            name="asyncmy",
            module="asyncmy",
            package="rxdb[asyncmy]",
            minimum="0.2.9",
            sync=False,
            asynchronous=True,
            options=SHARED | {"max_allowed_packet", "read_timeout", "stmt_cache_size"},
        ),
        Driver(
            name="aiomysql",
            module="aiomysql",
            package="rxdb[aiomysql]",
            minimum="0.2",
            sync=False,
            asynchronous=True,
            options=SHARED,
        ),
    ),
    features=EVERYTHING - {Feature.SEVERAL_HOSTS, Feature.TRANSACTIONAL_DDL},
    oldest=(8, 0),
    in_matrix=True,
    port=3306,
    options=COMMON_OPTIONS,
    types=TYPES,
    settings={
        "sql_mode": "SELECT @@SESSION.sql_mode",
        # MariaDB calls it tx_isolation up to 11.0
        "isolation level": "SHOW SESSION VARIABLES WHERE Variable_name IN "
        "('transaction_isolation', 'tx_isolation')",
        "time zone": "SELECT @@SESSION.time_zone",
        "character set": "SELECT @@SESSION.character_set_client",
        "character set of the database": "SELECT @@character_set_database",
        "TLS": "SHOW SESSION STATUS LIKE 'Ssl_version'",
    },
    errors=ERRORS,
    retryable=RETRYABLE,
    error_code=error_code,
    details=details,
    complete_url=complete_url,
    translate=translate,
    engine_options=engine_options,
    begin_snapshot="START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    standing=standing_of("SHOW REPLICA STATUS", STANDS_AT),
    position=position,
    has_reached=has_executed,
    keep_meaning=keep_meaning,
    rules=MYSQL,
    prepare=prepare,
    migration_lock=migration_lock,
    has_session_locks=has_session_locks,
    limit_lock_wait=limit_lock_wait,
    limit=limit,
    write_rows=write_rows,
    bind_columns=bind_columns,
    upsert=upsert,
    server="rxdb_dialects._mysql_server:mysql",
    clone=clone,
    key_step="SELECT @@auto_increment_increment",
    fingerprint=fingerprint,
    caseless=caseless,
    exact=exact,
    neutral_type=neutral_type,
    plain_default=plain_default,
    usual_actions=frozenset({"NO ACTION", "RESTRICT"}),  # InnoDB checks both at once
    indexes_foreign_keys=True,
    drop_temporary="DROP TEMPORARY TABLE",
)
