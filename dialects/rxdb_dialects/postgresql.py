"""PostgreSQL 13 and later, and the parent of what speaks its wire protocol."""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from rxdb.dialect import (
    COMMON_OPTIONS,
    Details,
    Dialect,
    Driver,
    Limits,
    Rules,
    Standing,
    Target,
    execute,
    take,
)
from rxdb.errors import (
    BadValue,
    CheckViolation,
    ConnectionLost,
    ConstraintViolation,
    DatabaseMissing,
    Deadlock,
    ForeignKeyViolation,
    LockTimeout,
    LoginFailed,
    NotNullViolation,
    OutsideTransaction,
    ReadOnly,
    RxdbError,
    SerializationFailure,
    StatementTimeout,
    UniqueViolation,
)
from rxdb_dialects import _postgresql_plans
from rxdb_dialects._postgresql_enums import (
    alter_enum,
    create_enum,
    drop_enum,
    plain_default,
    retype_options,
)
from rxdb_dialects._postgresql_pipeline import sending_ahead
from rxdb_dialects._postgresql_texts import COLLATION, make_collation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.engine import Dialect as SQLAlchemyDialect
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.types import TypeEngine

    from rxdb.dialect import Conversions, Merge, Rows

LIBPQ = frozenset(
    [
        "channel_binding",
        "client_encoding",
        "fallback_application_name",
        "gssencmode",
        "gsslib",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "krbsrvname",
        "load_balance_hosts",
        "options",
        "passfile",
        "replication",
        "require_auth",
        "requirepeer",
        "service",
        "sslcertmode",
        "sslcompression",
        "sslcrl",
        "sslcrldir",
        "sslnegotiation",
        "sslpassword",
        "sslsni",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "tcp_user_timeout",
    ]
)
"""libpq's other key words (PostgreSQL manual, 34.1.2); psycopg and psycopg2 hand them on."""

ASYNCPG = frozenset(
    [
        "command_timeout",
        "direct_tls",
        "gsslib",
        "krbsrvname",
        "max_cacheable_statement_size",
        "max_cached_statement_lifetime",
        "passfile",
        "prepared_statement_cache_size",
        "statement_cache_size",
    ]
)
"""Arguments of ``asyncpg.connect`` that a text can say, and SQLAlchemy's own."""

ASYNCPG_TYPES: dict[str, type] = {
    "command_timeout": float,
    "direct_tls": bool,
    "max_cacheable_statement_size": int,
    "max_cached_statement_lifetime": int,
    "prepared_statement_cache_size": int,
    "statement_cache_size": int,
}

DEFAULTS = {
    "connect_timeout": "10",  # seconds; libpq waits for ever
    "keepalives_idle": "30",  # seconds; Linux waits two hours before it asks a silent peer
    "keepalives_interval": "10",
    "keepalives_count": "5",
    "tcp_user_timeout": "30000",  # milliseconds until unacknowledged data ends the connection
}

SESSION = {"TimeZone": "UTC"}
"""What each connection sets: now() and timestamps without a zone then mean the same everywhere."""


TABLES = (
    "SELECT relname FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p')"
    " AND relnamespace = pg_catalog.to_regnamespace(pg_catalog.quote_ident(current_schema()))"
)
"""The tables of the default schema, without the joins of the view pg_tables."""


def translate(target: Target) -> tuple[URL, dict[str, Any]]:
    """Hand libpq's words to psycopg and psycopg2 as they are, and say them to asyncpg its way."""
    settings = dict(SESSION)
    pooled = is_pooled(target)
    target = replace(target, url=target.url.difference_update_query(["pgbouncer"]))
    if target.read_only and not pooled:
        settings["default_transaction_read_only"] = "on"
        target = replace(target, url=for_reading(target.url))
    if target.driver.name == "asyncpg":
        return for_asyncpg(target, settings)
    if pooled:
        settings = {}  # :func:`prepare` says them
    usual = {name: v for name, v in DEFAULTS.items() if name not in target.url.query}
    own = target.url.query.get("options", "")
    startup = " ".join(f"-c {name}={value}" for name, value in settings.items())
    options = f"{startup} {own}".strip()
    return target.url, {**usual, **({"options": options} if options else {})}


def keep_meaning(dialect: SQLAlchemyDialect, url: URL) -> None:
    """Make the collation that columns need, refuse what other backends do not keep, read documents
    as they are read elsewhere, and let arithmetic with moments mean what it does in Python."""
    from rxdb import moments
    from rxdb_dialects import _comparisons, _postgresql_parts, _values

    _values.refuse_odd_numbers(dialect)
    make_collation(dialect, url)
    _postgresql_parts.read_parts(dialect)
    _postgresql_parts.write_text(dialect)
    _postgresql_parts.compare_whole_numbers(dialect)
    _comparisons.calculate_exactly(dialect)  # asyncpg says NUMERIC(12, 2)
    moments.calculate(dialect, moments.Native)


def is_pooled(target: Target) -> bool:
    """Tell by ``pgbouncer=true``, port 6543 or a host such as ``ep-1-pooler.example``."""
    from rxdb_dialects import _postgresql_poolers

    return _postgresql_poolers.is_pooled(target.url)


def prepare(engine: Engine, target: Target) -> None:
    """Say through a pooler what else is said when the connection starts; keep what is prepared."""
    from rxdb_dialects import _postgresql_poolers

    if target.driver.name == "psycopg":
        _postgresql_plans.keep(engine)
    if is_pooled(target):
        _postgresql_poolers.prepare(engine, target)


def for_reading(url: URL) -> URL:
    """Ask for the primary where the URL asks for read-write: with default_transaction_read_only
    no server counts as that (PostgreSQL manual, 34.1.2)."""
    if url.query.get("target_session_attrs") != "read-write":
        return url
    return url.update_query_dict({"target_session_attrs": "primary"})


def for_asyncpg(target: Target, settings: dict[str, str]) -> tuple[URL, dict[str, Any]]:
    """Let asyncpg read the TLS options from a DSN, the only place where it takes libpq's words."""
    from sqlalchemy.util import asbool

    readers: dict[str, Callable[[str], Any]] = {**ASYNCPG_TYPES, "direct_tls": asbool}
    url, ssl = take(target.url, ("sslmode", "sslrootcert", "sslcert", "sslkey"))
    url, common = take(url, ("application_name", "connect_timeout"))
    url, own = take(url, ASYNCPG_TYPES.keys() - {"prepared_statement_cache_size"})  # SQLAlchemy's
    name = {k: v for k, v in common.items() if k == "application_name"}
    timeout = int(common.get("connect_timeout", DEFAULTS["connect_timeout"]))
    arguments: dict[str, Any] = {
        "timeout": timeout if timeout > 0 else None,  # libpq's 0 means for ever
        "server_settings": {**settings, **name},
        **{option: readers[option](value) for option, value in own.items()},
    }
    return url, {**arguments, **({"dsn": f"postgresql://?{urlencode(ssl)}"} if ssl else {})}


def engine_options(target: Target) -> dict[str, Any]:
    """Replace connections now and then: servers and proxies drop old ones."""
    from rxdb_dialects import _postgresql_poolers

    pooled = _postgresql_poolers.arguments(target.driver.name) if is_pooled(target) else {}
    said = {name: value for name, value in pooled.items() if name not in target.url.query}
    return {"pool_recycle": 1800, "connect_args": said}  # seconds


ERRORS: dict[str | int, type[RxdbError]] = {
    "08": ConnectionLost,
    "22": BadValue,
    "23": ConstraintViolation,
    "23502": NotNullViolation,
    "23503": ForeignKeyViolation,
    "23505": UniqueViolation,
    "23514": CheckViolation,
    "25001": OutsideTransaction,  # such as CREATE INDEX CONCURRENTLY in a transaction
    "25006": ReadOnly,
    "28": LoginFailed,
    "3D000": DatabaseMissing,
    "25P03": ConnectionLost,  # idle_in_transaction_session_timeout
    "25P04": ConnectionLost,  # transaction_timeout
    "40001": SerializationFailure,
    "40P01": Deadlock,
    "55P03": LockTimeout,  # lock_not_available: lock_timeout, or NOWAIT
    "57014": StatementTimeout,
    "57P01": ConnectionLost,  # admin_shutdown: also pg_terminate_backend
    "57P02": ConnectionLost,  # crash_shutdown: another process of the server died
    "57P03": ConnectionLost,  # cannot_connect_now: starting up, or shutting down
    "57P05": ConnectionLost,  # idle_session_timeout
}
"""SQLSTATEs, and their classes (PostgreSQL manual, appendix A)."""

STALE_PLAN = "stale plan"
"""The code of a prepared statement that a change of its table made useless."""

RETRYABLE = frozenset(
    {
        *(code for code, kind in ERRORS.items() if kind is ConnectionLost),
        *("08000", "08001", "08003", "08004", "08006"),
        *("25006", "40001", "40P01", "55P03"),
        "53300",  # too_many_connections
        STALE_PLAN,
    }
)

CONNECTION_FAILURE = "08006"
NO_CONNECTION = re.compile(
    r"(?i)connection (refused|reset|timed out|timeout|is closed|already closed|is lost|is bad)"
    r"|closed the connection|connection has been closed|terminating connection"
    r"|(timeout|timed out|expired)$|could not (connect|receive|send)|unreachable|no route"
    r"|is (starting up|shutting down|in recovery)|not yet accepting|recovery mode"
    r"|session is (not )?read-only|hot standby mode|none of the hosts match"
)
"""What libpq says of a connection without an SQLSTATE; the last line while a standby is promoted
and target_session_attrs waits for it."""


REFUSED = {
    "28P01": re.compile(
        r"FATAL: +password authentication failed|no password supplied"
        r'|FATAL: +role ".*" does not exist|no pg_hba\.conf entry'
    ),
    "3D000": re.compile(r'FATAL: +database ".*" does not exist'),
}
"""What libpq hands on of a server that lets nobody in: the words without the SQLSTATE."""


def error_code(error: BaseException) -> str | None:
    """Return the SQLSTATE; psycopg2 calls it pgcode, and libpq has none where the network failed.

    57014 says that a statement was canceled. Only the statement timeout does so by itself.
    """
    if _postgresql_plans.is_stale(error):
        return STALE_PLAN
    code: str | None = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if code == "57014" and "timeout" not in str(error):
        return None
    said = str(error).strip()
    if code or NO_CONNECTION.search(said):
        return code or CONNECTION_FAILURE
    return next((code for code, pattern in REFUSED.items() if pattern.search(said)), None)


KEY = re.compile(r"\((?P<columns>.+?)\)=\(")
"""The columns in ``Key (name, age)=(a, 1) already exists.``, whatever the language is."""

COLUMN = re.compile(r'"(?:[^"]|"")+"|[^\s,()"]+(?=,|$)')

OF_THE_PARENT = 3
"""Names in quotes where a row is still referred to: the parent, the constraint, the child."""


def details(error: BaseException) -> Details:
    """Read the fields that the server sends beside the message (PostgreSQL manual, 55.8)."""
    driver: Any = error.__cause__ or error  # SQLAlchemy has classes of its own for asyncpg
    told: Any = getattr(error, "diag", None)
    if told is not None:  # psycopg and psycopg2
        names = told.constraint_name, told.table_name, told.column_name
        message, detail = told.message_primary, told.message_detail
    else:
        fields = ("constraint_name", "table_name", "column_name", "message", "detail")
        constraint, table, column, message, detail = (getattr(driver, f, None) for f in fields)
        names = constraint, table, column
    constraint, table, column = names
    key = KEY.search(detail or "")
    is_parents = len(re.findall('"(?:[^"]|"")+"', message or "")) >= OF_THE_PARENT
    if column or key is None or is_parents:
        return Details(constraint, table, (column,) if column else ())
    columns = (c.strip('"').replace('""', '"') for c in COLUMN.findall(key["columns"]))
    return Details(constraint, table, tuple(columns))


def glance(text: str, folder: Path) -> tuple[DBAPIConnection, str] | None:
    """Connect with psycopg, where the URL has no options: libpq then reads it as rxdb does."""
    plain = re.fullmatch(r"postgres(?:ql(?:\+psycopg)?)?://([^?#\s]+)", text)
    if plain is None or find_spec("psycopg") is None:
        return None
    import psycopg

    connection: Any = psycopg.connect(
        f"postgresql://{plain[1]}",
        autocommit=True,
        connect_timeout=3,  # seconds; the usual way has its own time and tells what is wrong
        application_name="rxdb",
    )
    return connection, TABLES


def migration_lock(connection: Connection, name: str) -> Callable[[], None] | None:
    """Take an advisory lock of this session; it ends with the session at the latest."""
    from sqlalchemy import text

    key = {"key": int.from_bytes(sha256(name.encode()).digest()[:8], signed=True)}
    if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key):
        return None

    def release() -> None:
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)

    return release


def has_session_locks(connection: Connection) -> bool:
    """Tell a pooler such as PgBouncer: it has told the driver another process number than that
    of the server's session, which may serve another client after each transaction."""
    driver: Any = connection.connection.driver_connection
    told = driver.get_server_pid() if hasattr(driver, "get_server_pid") else driver.info.backend_pid
    answered = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    return bool(told == answered)


def bind_columns(type_: TypeEngine[Any], dialect: object) -> Conversions:
    """Check numbers and times as their types do."""
    from rxdb_dialects import _values

    return _values.bind_columns(type_, dialect)


def write_rows(connection: Connection, rows: Rows) -> bool:
    """Insert many rows with COPY."""
    from rxdb_dialects import _postgresql_copy

    return _postgresql_copy.write_rows(connection, rows)


def upsert(connection: Connection, merge: Merge) -> tuple[int, int]:
    """Insert or update with ON CONFLICT."""
    from rxdb_dialects import _postgresql_copy

    return _postgresql_copy.upsert(connection, merge)


def limit_lock_wait(seconds: float) -> tuple[str, ...]:
    """Limit it in milliseconds."""
    return (f"SET lock_timeout = {max(1, round(seconds * 1000))}",)


def json_type() -> TypeEngine[Any]:
    """Keep documents parsed: they can be compared, and indexed (PostgreSQL manual, 8.14)."""
    from sqlalchemy.dialects.postgresql import JSONB

    return JSONB(none_as_null=True)


def caseless(length: int, dialect: SQLAlchemyDialect) -> TypeEngine[Any]:
    """Compare with a collation that rxdb makes where it is needed."""
    from sqlalchemy import String

    return String(length, collation=COLLATION)


def letters(text: str) -> str:
    """Take the case away by ICU: before PostgreSQL 18 there is no LIKE for a collation that is not
    deterministic, and the database's own lower() may know ASCII only."""
    return f'lower({text} COLLATE "und-x-icu")'


def exact(text: str, dialect: SQLAlchemyDialect) -> str:
    """Compare bytes: the database sorts by its locale."""
    return f'({text} COLLATE "C")'


def limit(connection: Connection, limits: Limits) -> Callable[[DBAPIConnection], None] | None:
    """Set it for this transaction, which takes one round trip and passes through poolers; where
    each statement is a transaction of its own, for the session."""
    wanted = {"statement_timeout": limits.statement, "lock_timeout": limits.lock}
    milliseconds = {n: max(1, round(s * 1000)) for n, s in wanted.items() if s is not None}
    driver: Any = connection.connection.dbapi_connection
    is_local = "false" if driver.autocommit else "true"
    calls = (f"set_config('{name}', '{value}', {is_local})" for name, value in milliseconds.items())
    connection.exec_driver_sql(f"SELECT {', '.join(calls)}")
    if not driver.autocommit:
        return None
    return lambda returned: execute(returned, *(f"RESET {name}" for name in milliseconds))


def is_empty(connection: Connection, own: Collection[str]) -> bool:
    """Look for tables, views and foreign tables in all schemas but the server's own."""
    from sqlalchemy import text

    found = text(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname <> ALL (:own)"
        " AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_')"
    )
    return not connection.scalar(found, {"own": list(own)})


STANDING = """
SELECT CASE
    WHEN NOT pg_is_in_recovery() THEN 0
    WHEN EXISTS (SELECT FROM pg_stat_wal_receiver)
        AND pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
    ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
END, CASE
    WHEN pg_is_in_recovery() THEN CAST(pg_last_wal_replay_lsn() AS text)
    ELSE CAST(pg_current_wal_lsn() AS text)
END
"""
"""One that has replayed all it received is up to date while it is connected, however long ago the
last transaction was; one that lost its primary falls behind."""


def standing(connection: Connection) -> Standing:
    """Tell the seconds since the last transaction that was replayed, and the position of that."""
    lag, position = connection.exec_driver_sql(STANDING).one()
    return Standing(None if lag is None else float(lag), position)


def position(connection: Connection) -> str:
    """Return where the next record of the log goes: also a commit that did not wait for the disk
    is before that."""
    query = "SELECT CAST(pg_current_wal_insert_lsn() AS text)"  # asyncpg would make it a number
    return str(connection.exec_driver_sql(query).scalar_one())


def has_reached(position: str, token: str) -> bool:
    """Compare two such as 0/3000148: two hexadecimal numbers of 32 bits."""
    return log_position(position) >= log_position(token)


def log_position(text: str) -> int:
    """Return the number of bytes that a position means."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def clone(connection: Connection, source: str, copy: str) -> None:
    """Let the server copy the files of a database, with all that is in them."""
    connection.exec_driver_sql(f'CREATE DATABASE "{copy}" TEMPLATE "{source}"')


NUMBER = re.compile(r"[-\d.]+")

FAMILIES = (
    {"BIGINT", "BIGSERIAL", "INTEGER", "SERIAL", "SMALLINT", "SMALLSERIAL"},
    {"CHAR", "TEXT", "VARCHAR"},
    {"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITHOUT TIME ZONE"},
)
"""Types that can be compared with each other."""


def refuses_default(type_: TypeEngine[Any], default: str) -> str:
    """Know that a number is no boolean."""
    import sqlalchemy as sa

    is_number = NUMBER.fullmatch(default.strip("()"))
    return "a number is no boolean there" if isinstance(type_, sa.Boolean) and is_number else ""


def refers(child: str, parent: str) -> bool:
    """Ask for types that can be compared."""
    first, second = (re.sub(r"\(.*?\)| COLLATE .*", "", text).upper() for text in (child, parent))
    return first == second or any({first, second} <= family for family in FAMILIES)


RULES = Rules(
    longest_name=63,
    names_in_bytes=True,
    cuts_names=True,
    one_name=(frozenset({"index", "primary key", "table", "unique"}),),
    one_name_in_table=(
        frozenset({"check", "foreign key", "primary key", "unique"}),
        frozenset({"column"}),
    ),
    taken_names={"column": "(?-i:cmax|cmin|ctid|tableoid|xmax|xmin)"},
    missing_types=r"(BINARY|CLOB|NCHAR|NVARCHAR|VARBINARY)\b.*",
    widest_number=(1000, 1000),
    coarse_time=r"(TIMESTAMP|TIME)\([0-5]\).*",
    functions=frozenset(
        {
            *("btrim", "cardinality", "char_length", "clock_timestamp", "date_trunc"),
            *("gen_random_uuid", "greatest", "json_array_length", "jsonb_build_object"),
            *("jsonb_typeof", "left", "now", "random", "statement_timestamp", "timezone"),
            *("to_tsvector", "transaction_timestamp", "uuid_generate_v4"),
        }
    ),
    foreign_words=r"`|<=>|\bGLOB\b|\bREGEXP\b|\bRLIKE\b",
    refuses_default=refuses_default,
    # A third of a page, of what compression has left (its manual, "B-Tree Indexes").
    longest_key=dict.fromkeys(("primary key", "unique", "index"), 2704),
    no_key=dict.fromkeys(("primary key", "unique", "index"), "JSON"),
    refers=refers,
    truth_is_number=False,
    collations=r"(?!(nocase|binary|rtrim|rxdb_decimal|(utf8|utf8mb[34]|latin\d|ascii)_\w+)$).*",
)

dialect = Dialect(
    name="postgresql",
    title="PostgreSQL",
    aliases=("postgres", "pgsql"),
    drivers=(
        Driver(
            name="psycopg",
            module="psycopg",
            package="rxdb[postgresql]",
            minimum="3.1",
            asynchronous=True,
            options=LIBPQ,
        ),
        Driver(
            name="psycopg2",
            module="psycopg2",
            package="rxdb[psycopg2]",
            distributions=("psycopg2", "psycopg2-binary"),
            minimum="2.9",
            options=LIBPQ,
        ),
        Driver(
            name="asyncpg",
            module="asyncpg",
            package="rxdb[asyncpg]",
            minimum="0.29",
            sync=False,
            asynchronous=True,
            options=ASYNCPG,
        ),
    ),
    oldest=(13,),
    in_matrix=True,
    port=5432,
    options=COMMON_OPTIONS | {"host", "pgbouncer", "port", "target_session_attrs"},
    types={**ASYNCPG_TYPES, "connect_timeout": int, "pgbouncer": bool},
    settings={
        "isolation level": "SHOW transaction_isolation",
        "time zone": "SHOW timezone",
        "character set": "SHOW server_encoding",
        "TLS": "SELECT CASE WHEN ssl THEN version ELSE 'no' END FROM pg_stat_ssl "
        "WHERE pid = pg_backend_pid()",
        "application name": "SHOW application_name",
    },
    errors=ERRORS,
    retryable=RETRYABLE,
    aborted=frozenset({"25P02"}),  # in_failed_sql_transaction
    error_code=error_code,
    details=details,
    glance=glance,
    translate=translate,
    engine_options=engine_options,
    keep_meaning=keep_meaning,
    rules=RULES,
    prepare=prepare,
    is_pooled=is_pooled,
    standing=standing,
    position=position,
    has_reached=has_reached,
    begin_snapshot="BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    migration_lock=migration_lock,
    has_session_locks=has_session_locks,
    limit_lock_wait=limit_lock_wait,
    limit=limit,
    is_empty=is_empty,
    sending_ahead=sending_ahead,
    write_rows=write_rows,
    bind_columns=bind_columns,
    upsert=upsert,
    server="rxdb_dialects._postgresql_server:server",
    clone=clone,
    drop_database="DROP DATABASE {} WITH (FORCE)",
    plain_default=plain_default,
    json_type=json_type,
    caseless=caseless,
    letters=letters,
    exact=exact,
    retype_options=retype_options,
    create_enum=create_enum,
    drop_enum=drop_enum,
    alter_enum=alter_enum,
)
