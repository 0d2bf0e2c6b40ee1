"""SQLite 3.37 and later, in a file or in memory. It ships with Python.

Left to themselves, Python's ``sqlite3`` and SQLite lose updates under concurrent load, enforce no
foreign keys and cannot roll back CREATE TABLE. What is set here, and why, stands beside it.
"""

from __future__ import annotations

import math
import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote

from rxdb.dialect import (
    EVERYTHING,
    Details,
    Dialect,
    Driver,
    Feature,
    Limits,
    Rules,
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
    ConstraintViolation,
    ForeignKeyViolation,
    LockTimeout,
    NotNullViolation,
    OwnLock,
    ReadOnly,
    RxdbError,
    SerializationFailure,
    StatementTimeout,
    UniqueViolation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import URL, Column, Connection, Engine, Table
    from sqlalchemy.engine import Dialect as SQLAlchemyDialect
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.types import TypeEngine

    from rxdb.dialect import Conversions, Merge, Rows

MEMORY = "file:/rxdb?vfs=memdb&uri=true"
"""What ``sqlite://`` is here: SQLite's memdb file system (3.36 and later) gives all connections of
this process one database in memory, each with its own transactions and with locks that wait.
A single shared connection, SQLAlchemy's way, mixes the transactions of threads; SQLite's shared
cache does not wait for locks (its documentation, "Shared-Cache Mode")."""

PRAGMAS = {
    "case_sensitive_like": "ON",  # as on other servers; SQLite's LIKE takes a for A
    "busy_timeout": "5000",  # milliseconds to wait for another writer; Rails waits as long
    "foreign_keys": "ON",  # SQLite's default is OFF
    "journal_mode": "WAL",  # readers do not wait for a writer
    "synchronous": "NORMAL",  # with WAL a power cut corrupts nothing; fewer waits
    "mmap_size": "134217728",  # 128 MiB, as Rails
    "journal_size_limit": "67108864",  # 64 MiB, as Rails: a WAL file shrinks again
    "cache_size": "2000",  # pages, as Rails
    "legacy_alter_table": "OFF",  # macOS turns it on, and renames then lose references
}
"""What each connection sets. Any of them, and ``temp_store``, can be written in a URL:
``sqlite:///app.db?synchronous=FULL``."""

FILE_PRAGMAS = {"journal_mode", "synchronous", "mmap_size", "journal_size_limit"}
"""Only for a database in a file."""

SWITCH = ("ON", "OFF", "TRUE", "FALSE", "YES", "NO", "1", "0")
WORDS = {
    "case_sensitive_like": SWITCH,
    "foreign_keys": SWITCH,
    "journal_mode": ("DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL", "OFF"),
    "legacy_alter_table": SWITCH,
    "synchronous": ("OFF", "NORMAL", "FULL", "EXTRA", "0", "1", "2", "3"),
    "temp_store": ("DEFAULT", "FILE", "MEMORY", "0", "1", "2"),
}
"""The values of the PRAGMAs that do not take a number. SQLite passes over others without a word
(its documentation, "PRAGMA Statements")."""

URI_OPTIONS = frozenset({"cache", "immutable", "mode", "nolock", "psow", "vfs"})
"""What SQLite reads from a ``file:`` name (its documentation, "URI Filenames")."""

OPTIONS = URI_OPTIONS | {
    "cached_statements",
    "check_same_thread",
    "detect_types",
    "strict",
    "temp_store",
    "timeout",
    "uri",
    *PRAGMAS,
}

SUFFIXES = (".db", ".db3", ".s3db", ".sqlite", ".sqlite3")

ERRORS: dict[str | int, type[RxdbError]] = {
    5: LockTimeout,  # SQLITE_BUSY
    261: LockTimeout,  # SQLITE_BUSY_RECOVERY
    517: SerializationFailure,  # SQLITE_BUSY_SNAPSHOT: another wrote since this one read
    773: LockTimeout,  # SQLITE_BUSY_TIMEOUT
    "rxdb_own_lock": OwnLock,  # what _sqlite_queue says
    6: LockTimeout,  # SQLITE_LOCKED
    262: LockTimeout,  # SQLITE_LOCKED_SHAREDCACHE
    8: ReadOnly,  # SQLITE_READONLY, what query_only answers
    264: ReadOnly,  # SQLITE_READONLY_RECOVERY
    520: ReadOnly,  # SQLITE_READONLY_CANTLOCK
    776: ReadOnly,  # SQLITE_READONLY_ROLLBACK
    1032: ReadOnly,  # SQLITE_READONLY_DBMOVED
    1288: ReadOnly,  # SQLITE_READONLY_CANTINIT
    1544: ReadOnly,  # SQLITE_READONLY_DIRECTORY
    9: StatementTimeout,  # SQLITE_INTERRUPT: nothing else interrupts here
    18: BadValue,  # SQLITE_TOOBIG
    "rxdb_value_": BadValue,  # what _sqlite_strict names its CHECKs
    20: BadValue,  # SQLITE_MISMATCH
    3091: BadValue,  # SQLITE_CONSTRAINT_DATATYPE, of a STRICT table
    19: ConstraintViolation,  # SQLITE_CONSTRAINT
    275: CheckViolation,  # SQLITE_CONSTRAINT_CHECK
    787: ForeignKeyViolation,  # SQLITE_CONSTRAINT_FOREIGNKEY
    1299: NotNullViolation,  # SQLITE_CONSTRAINT_NOTNULL
    1555: UniqueViolation,  # SQLITE_CONSTRAINT_PRIMARYKEY
    1811: ConstraintViolation,  # SQLITE_CONSTRAINT_TRIGGER: RAISE(ABORT, …)
    2067: UniqueViolation,  # SQLITE_CONSTRAINT_UNIQUE
    2579: UniqueViolation,  # SQLITE_CONSTRAINT_ROWID
}
"""SQLite's result codes (its documentation, "Result and Error Codes")."""

RETRYABLE = frozenset(
    c for c, kind in ERRORS.items() if kind in {LockTimeout, SerializationFailure}
)


def read_path(text: str) -> URL | None:
    """Take ``app.db``, ``C:\\data\\app.db``, ``:memory:``, ``file:app.db?mode=ro`` for SQLite."""
    from sqlalchemy import URL

    if "://" in text.removeprefix("file:"):
        return None
    if text.startswith("file:"):
        return file_url(text)
    if text == ":memory:":
        return URL.create("sqlite")
    return URL.create("sqlite", database=text) if text.lower().endswith(SUFFIXES) else None


def file_url(text: str) -> URL:
    """Read SQLite's own ``file:path?options``, with an empty or no authority before the path."""
    from sqlalchemy import URL

    name, _, options = text.partition("?")
    path = re.sub(r"^file:(//(localhost)?(?=/))?", "", name)
    if path.startswith("//"):
        raise BadURL("SQLite reads files of this machine only. Write: file:///folder/app.db")
    return URL.create("sqlite", database=unquote(path), query=parse_qs(options))


def file(url: URL) -> str:
    """Return the file that holds the database, also where it is written ``file:PATH``."""
    name = url.database or ""
    name = unquote(name.removeprefix("file:")) if name.startswith("file:") else name
    is_memory = name in {"", ":memory:"} or {"memory", "memdb"} & {
        url.query.get("mode"),
        url.query.get("vfs"),
    }
    return "" if is_memory else name


def identity(url: URL) -> tuple[str, str]:
    """Return what is one database whichever way it is written, and the path of its file.

    A database in memory that no other connection can see has neither.
    """
    if path := file(url):
        real = os.path.normcase(os.path.realpath(path))
        return real, real
    is_own = url.database in {None, "", ":memory:"}
    name = MEMORY if is_own and "cache" not in url.query else (url.database or "")
    return (name if is_own or {"cache", "vfs"} & set(url.query) else ""), ""


def glance(text: str, folder: Path) -> tuple[DBAPIConnection, str] | None:
    """Open a file that is there, where the URL is no more than its path.

    The last connection to close takes the write-ahead log away, if it may write.
    """
    import sqlite3

    plain = re.fullmatch(r"sqlite:///([^?#%@:\s]+)", text)
    path = absolute(plain[1], folder) if plain else ""
    if not Path(path).is_file():
        return None
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"
    connection: Any = sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True)
    connection.execute("PRAGMA query_only = ON")
    return connection, tables


def complete_url(url: URL, folder: Path) -> URL:
    """Start a relative path at *folder*, and write SQLite's own options the way it reads them."""
    refuse_server("SQLite", url)
    if not (name := file(url)):
        return url
    path = absolute(name, folder)
    if URI_OPTIONS & set(url.query):
        return url.set(database=f"file:{quote(path)}").update_query_dict({"uri": "true"})
    return url.set(database=path)


def refuse_server(title: str, url: URL) -> None:
    """Refuse what names a server; ``sqlite://app.db`` would else be a database in memory."""
    if url.host:
        name = "/".join(filter(None, (url.host, url.database)))
        raise BadURL(
            f"{title} has no host. Write three slashes: {url.get_backend_name()}:///{name}"
        )
    if url.username or url.password or url.port:
        raise BadURL(f"{title} has no user, password or port. Write the path of the file only.")


def absolute(name: str, folder: Path) -> str:
    """Return the path from the root, without ``.`` and ``..``; ``~`` is the user's home."""
    is_windows = re.match(r"[A-Za-z]:[\\/]|\\\\", name)
    home = os.path.expanduser(name)  # noqa: PTH111 - Path's raises for a user who is not there
    return name if is_windows else os.path.abspath(folder / home)  # noqa: PTH100 - without links


def translate(target: Target) -> tuple[URL, dict[str, Any]]:
    """Leave the PRAGMAs to :func:`prepare`, and open ``sqlite://`` through memdb."""
    from sqlalchemy import make_url

    url, _ = take(target.url, {*PRAGMAS, "strict", "temp_store"})
    in_memory = url.database in {None, "", ":memory:"}
    return (make_url(f"{url.drivername}:///{MEMORY}") if in_memory else url), {}


def engine_options(target: Target) -> dict[str, Any]:
    """Let a connection wander between threads: the pool hands it to one at a time.

    Both kinds of engine have a pool; SQLAlchemy 2.0 gives none to an asynchronous file.
    """
    from sqlalchemy import AsyncAdaptedQueuePool, QueuePool

    from rxdb_dialects import _sqlite_queue

    arguments: dict[str, Any] = {"check_same_thread": False}
    if target.driver.sync:
        pool: Any = QueuePool
        arguments |= {} if target.read_only else {"factory": _sqlite_queue.Connection}
    else:
        from rxdb_dialects import _sqlite_async

        pool = AsyncAdaptedQueuePool
        own = _sqlite_async.Connection if target.read_only else _sqlite_async.Writer
        arguments |= {"factory": own}
    return {"poolclass": pool, "connect_args": arguments, "json_serializer": to_json}


def keep_meaning(sqlalchemy_dialect: Any, url: URL) -> None:
    """Keep decimals exact, number keys of each size, know texts without regard to case, calculate
    with moments, and let columns refuse what does not fit their types."""
    from rxdb_dialects import (
        _comparisons,
        _sqlite_columns,
        _sqlite_decimals,
        _sqlite_moments,
        _sqlite_parts,
        _sqlite_strict,
        _sqlite_texts,
        _values,
    )

    _values.refuse_odd_whole_numbers(sqlalchemy_dialect)
    _sqlite_decimals.keep_exact(sqlalchemy_dialect)
    _comparisons.calculate_exactly(sqlalchemy_dialect)
    _sqlite_parts.read_parts(sqlalchemy_dialect)
    _sqlite_columns.number_keys(sqlalchemy_dialect)
    _sqlite_columns.enclose_defaults(sqlalchemy_dialect)
    _sqlite_texts.know_caseless(sqlalchemy_dialect)
    _sqlite_moments.keep_meaning(sqlalchemy_dialect)
    if is_strict(url):
        _sqlite_strict.be_strict(sqlalchemy_dialect)


def prepare(engine: Engine, target: Target) -> None:
    """Set the PRAGMAs, and begin each transaction where SQLAlchemy does.

    Left to itself, :mod:`sqlite3` begins only before INSERT, UPDATE and DELETE, so that a
    rollback undoes neither a savepoint nor a CREATE TABLE, and a read that turns into a write
    fails at once when another connection wrote in between (SQLITE_BUSY_SNAPSHOT), whatever the
    busy timeout. BEGIN IMMEDIATE waits its turn; a read-only engine needs no BEGIN.
    """
    from sqlalchemy import event

    from rxdb_dialects import _sqlite_files, _sqlite_queue

    path = file(target.url)
    statements = pragmas(target)
    known_as = identity(target.url)

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: object) -> None:
        if target.read_only or (path and not _sqlite_files.is_open(path)):
            connection.isolation_level = None  # sqlite3 begins nothing either
        teach(connection)
        set_up(connection, statements)
        if not target.read_only:
            _sqlite_queue.join(connection, *known_as)

    if path:
        _sqlite_files.read_what_cannot_be_written(engine, path)
        if target.read_only and "mode" not in target.url.query:
            read_without_creating(engine, path)
    if not target.driver.sync:
        from rxdb_dialects import _sqlite_async

        _sqlite_async.interrupt_when_cancelled(engine)
    # On the dialect of this one engine, not in SQLAlchemy's begin event: an error is then wrapped
    # as SQLAlchemy's own, and no event is dispatched for each transaction.
    sqlalchemy_dialect: Any = engine.dialect
    if target.read_only:
        sqlalchemy_dialect.do_begin = begin_to_read
    else:
        is_async = engine.dialect.is_async
        sqlalchemy_dialect.do_begin = _sqlite_queue.begin_async if is_async else _sqlite_queue.begin
        if not file(target.url):
            keep_memory(engine)


def begin_to_read(connection: Any) -> None:
    """Begin a transaction where an isolation level was asked for; :mod:`sqlite3` would not."""
    if connection.dbapi_connection.isolation_level is not None:
        execute(connection, "BEGIN")


def set_up(connection: Any, statements: list[str]) -> None:
    """Execute the PRAGMAs of a new connection, and again for as long as the busy timeout.

    Of several that begin a new database's write-ahead log at the same moment SQLite refuses all but
    one at once, without that timeout: each reads already, and would wait for the others to stop.
    """
    from rxdb_dialects._sqlite_queue import is_busy

    try:
        run(connection, *statements)
    except Exception as error:
        if not is_busy(error):
            raise
        from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout")
        (patience,) = cursor.fetchone()
        cursor.close()
        again = Retrying(
            retry=retry_if_exception(is_busy),
            wait=wait_random(0.001, 0.01),
            stop=stop_after_delay(patience / 1000),
            reraise=True,
        )
        again(run, connection, *statements)


def teach(connection: Any) -> None:
    """Tell a new connection how to compare decimals, and texts without regard to case, and how to
    calculate with moments.

    aiosqlite passes no collation on; its thread does nothing while a connection is being made.
    """
    from rxdb_dialects import (
        _collation,
        _json_paths,
        _sqlite_decimals,
        _sqlite_moments,
        _sqlite_parts,
        _sqlite_texts,
    )

    driver = connection.driver_connection if hasattr(connection, "driver_connection") else None
    raw: Any = getattr(driver, "_conn", None) or connection
    raw.create_collation(_sqlite_decimals.COLLATION, _sqlite_decimals.compare)
    decimal, arguments = _sqlite_decimals.OF_NUMBER, 2
    raw.create_function(decimal, arguments, _sqlite_decimals.of_number, deterministic=True)
    raw.create_function(_sqlite_parts.PART, arguments, _json_paths.part, deterministic=True)
    raw.create_collation(_sqlite_texts.COLLATION, _collation.compare)
    raw.create_function(_sqlite_texts.LOWER, 1, _sqlite_texts.lower, deterministic=True)
    _sqlite_moments.teach(raw)


def read_without_creating(engine: Engine, path: str) -> None:
    """Read an empty database in memory as long as there is no file: SQLite would make one."""
    from sqlalchemy import event
    from sqlalchemy.exc import DisconnectionError

    @event.listens_for(engine, "do_connect")
    def do_connect(
        dialect: object, record: Any, arguments: list[Any], options: dict[str, Any]
    ) -> None:
        if not Path(path).exists():
            arguments[0] = ":memory:"
            record.info[NO_FILE] = True

    @event.listens_for(engine, "checkout")
    def checkout(connection: object, record: Any, proxy: object) -> None:
        if NO_FILE in record.info and Path(path).exists():
            raise DisconnectionError


NO_FILE = "rxdb_no_file"


def pragmas(target: Target) -> list[str]:
    """Return the statements for a new connection; what the URL says wins."""
    from rxdb_dialects import _sqlite_files

    _, own = take(target.url, {*PRAGMAS, "temp_store"})
    for name, value in own.items():
        words = WORDS.get(name, ())
        if value.upper() not in words and (words or not re.fullmatch("-?[0-9]{1,18}", value)):
            expected = f"one of {', '.join(words)}" if words else "a whole number"
            raise BadURL(f"{name}={value!r} is not {expected}.")
    path = written(target)
    usual = {name: v for name, v in PRAGMAS.items() if path or name not in FILE_PRAGMAS}
    if path and _sqlite_files.is_on_network(path):
        usual |= {"journal_mode": "DELETE", "synchronous": "FULL"}
    usual |= {"synchronous": "FULL"} if path and target.durability == "full" else {}
    only = {"query_only": "ON"} if target.read_only else {}
    return [f"PRAGMA {name} = {value}" for name, value in {**usual, **own, **only}.items()]


def written(target: Target) -> str:
    """Return the path of the file if this process may write to it; else nothing."""
    from rxdb_dialects import _sqlite_files

    path = file(target.url)
    may = bool(path) and target.url.query.get("mode") != "ro" and _sqlite_files.is_open(path)
    return path if may else ""


def remark(target: Target) -> str:
    """Tell of a network disk, and what follows for those who use the file."""
    from rxdb_dialects import _sqlite_files

    path = written(target)
    if not path or not _sqlite_files.is_on_network(path):
        return ""
    if str(target.url.query.get("journal_mode")).upper() == "WAL":
        return "on a network disk, where journal_mode=WAL damages or hides data: leave it out"
    return "on a network disk, so without a write-ahead log: commits and reads wait for each other"


def keep_memory(engine: Engine) -> None:
    """Keep a database in memory until the engine is disposed: it ends with its last connection."""
    import sqlite3

    from sqlalchemy import event

    kept = sqlite3.connect(MEMORY, uri=True, check_same_thread=False)

    @event.listens_for(engine, "engine_disposed")
    def end(engine: Engine) -> None:
        kept.close()


def is_strict(url: URL) -> bool:
    """Whether tables shall refuse what does not fit; ``strict=off`` in a URL leaves that."""
    return re.fullmatch("(?i)false|no|off|n|f|0", str(url.query.get("strict", ""))) is None


def error_code(error: BaseException) -> str | int | None:
    """Return SQLite's result code, the extended one where there is one; for a CHECK that is there
    for a column's type, the beginning of its name; and who waits for itself."""
    from rxdb_dialects._sqlite_queue import OWN_LOCK
    from rxdb_dialects._sqlite_strict import FAILED, PREFIX

    if getattr(error, OWN_LOCK, False):
        return OWN_LOCK
    if str(error).startswith(FAILED):
        return PREFIX
    code = getattr(error, "sqlite_errorcode", None)
    if code == TRIGGER and str(error).startswith("FOREIGN KEY"):
        return FOREIGN_KEY  # what ON DELETE RESTRICT says, as a trigger does
    return code if isinstance(code, int) else None


TRIGGER, FOREIGN_KEY = 1811, 787


REFUSED = re.compile(
    r"(?P<kind>UNIQUE|NOT NULL|CHECK) constraint failed: (?P<what>.+)"
    r"|cannot store \w+ value in \w+ column (?P<column>.+)",
    re.DOTALL,
)


def details(error: BaseException) -> Details:
    """Read ``UNIQUE constraint failed: hero.name, hero.age``; a CHECK has its name there, or
    else its text, an index of expressions ``index 'name'``."""
    found = REFUSED.fullmatch(str(error))
    if found is None:
        return Details()
    what = found["what"] or found["column"]
    if (column := what.removeprefix("rxdb_value_")) != what:
        return Details(None, None, (column,))
    if found["kind"] == "CHECK":
        return Details(what if re.fullmatch(r"\w+", what) else None)
    if index := re.fullmatch("index '(.+)'", what):
        return Details(index[1])
    table, _, first = what.partition(".")
    columns = first.split(f", {table}.")
    return Details(None, table, tuple(columns))


LOCK_SUFFIX = ".migration-lock"
_locks: dict[str, Lock] = {}


def migration_lock(connection: Connection, name: str) -> Callable[[], None] | None:
    """Lock a file beside the database: the system frees it with the process, however that ends.

    The file is removed afterwards. Where there is none, or its folder cannot be written to, only
    the threads of this process exclude each other.
    """
    path = file(connection.engine.url)
    if not path:
        return lock_in_process(name)
    try:
        return lock_file(os.path.realpath(path) + LOCK_SUFFIX)
    except OSError:
        return lock_in_process(path)


def lock_in_process(name: str) -> Callable[[], None] | None:
    """Take the lock of this name among the threads of this process."""
    lock = _locks.setdefault(name, Lock())
    return lock.release if lock.acquire(blocking=False) else None


def lock_file(path: str) -> Callable[[], None] | None:
    """Take the lock of a file, which is made and, by whoever holds its lock, removed.

    An own descriptor for each try: threads exclude each other as processes do. Who gets the lock
    of a file that was removed meanwhile locked nothing that others can see.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    if not lock_descriptor(descriptor) or os.fstat(descriptor).st_nlink == 0:
        os.close(descriptor)
        return None

    def release() -> None:
        with suppress(OSError):  # Windows removes no open file
            os.unlink(path)  # noqa: PTH108 - it runs where connections end
        os.close(descriptor)

    return release


def lock_descriptor(descriptor: int) -> bool:
    """Lock an open file if nobody else has, without waiting."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except PermissionError:  # what Windows says of a locked file
        return False
    return True


def limit_lock_wait(seconds: float) -> tuple[str, ...]:
    """Limit it in milliseconds."""
    return (f"PRAGMA busy_timeout = {max(1, round(seconds * 1000))}",)


STEPS = 10_000
"""Instructions of SQLite's machine, far less than a millisecond, between two looks at the clock."""


def limit(connection: Connection, limits: Limits) -> Callable[[DBAPIConnection], None]:
    """Limit waiting by the busy timeout, and a statement by a look at the clock now and then."""
    back: list[Callable[[DBAPIConnection], None]] = []
    if limits.lock is not None:
        before = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
        (change,) = limit_lock_wait(limits.lock)
        connection.exec_driver_sql(change)
        back.append(lambda returned: execute(returned, f"PRAGMA busy_timeout = {before}"))
    if limits.statement is not None:
        stop_late_statements(connection, limits.statement)
        back.append(lambda returned: watch(returned, None))

    def take_back(returned: DBAPIConnection) -> None:
        for function in back:
            function(returned)

    return take_back


def stop_late_statements(connection: Connection, seconds: float) -> None:
    """Interrupt a statement that is not done *seconds* after it began; never a COMMIT."""
    engine: Any = connection.engine  # this session's own
    if not hasattr(engine, CLOCK):
        setattr(engine, CLOCK, clock(engine, seconds))
    driver: Any = connection.connection.dbapi_connection
    watch(driver, getattr(engine, CLOCK))


CLOCK = "rxdb_is_late"


def clock(engine: Engine, seconds: float) -> Callable[[], bool]:
    """Return what tells whether the statement that runs is late."""
    from sqlalchemy import event

    ends = [math.inf]

    def begin(*_: object) -> None:
        ends[0] = time.monotonic() + seconds

    def end(*_: object) -> None:
        ends[0] = math.inf

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "commit", end)
    event.listen(engine, "rollback", end)
    return lambda: time.monotonic() > ends[0]


def watch(connection: Any, is_late: Callable[[], bool] | None) -> None:
    """Ask *is_late* while statements run; aiosqlite has the connection in a thread of its own."""
    driver = getattr(connection, "driver_connection", connection)
    done = driver.set_progress_handler(is_late, STEPS)
    if done is not None:
        from sqlalchemy.util import await_only

        await_only(done)


def migrating(connection: Connection, target: Target) -> AbstractContextManager[None]:
    """Turn foreign keys off: with them on, rebuilding a table deletes the rows that refer to it."""
    from rxdb_dialects import _sqlite_rebuilds

    return _sqlite_rebuilds.migrating(connection, target)


def revising(connection: Connection, revision: str) -> AbstractContextManager[None]:
    """Count rows, check foreign keys, and put back what rebuilding a table loses."""
    from rxdb_dialects import _sqlite_rebuilds

    return _sqlite_rebuilds.revising(connection, revision)


def is_empty(connection: Connection, own: Collection[str]) -> bool:
    """Look for tables and views. The first revisions then share one transaction, which saves a
    COMMIT, a version and a row of the log for each."""
    query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
    names = (name for (name,) in connection.exec_driver_sql(query))
    return {name for name in names if not name.startswith("sqlite_")} <= set(own)


def back_up(target: Target) -> str:
    """Copy the file beside itself, as ``app.db.before-20260102T030405Z``."""
    from rxdb_dialects import _sqlite_copies

    return _sqlite_copies.back_up(target)


def copy_before(target: Target, moment: datetime) -> str:
    """Return the newest copy that :func:`back_up` made before *moment*."""
    from rxdb_dialects import _sqlite_copies

    return _sqlite_copies.before(target, moment)


def unchanged_tables(connection: Connection, tables: Iterable[Table]) -> set[str]:
    """Compare what CREATE TABLE and CREATE INDEX would say with what SQLite keeps of them.

    One query reads all of it; describing a table takes a dozen PRAGMAs. Lines may stand in another
    order. A table that was altered is described.
    """
    from sqlalchemy.schema import CreateIndex, CreateTable

    dialect = connection.dialect
    query = "SELECT tbl_name, type, sql FROM sqlite_master WHERE sql IS NOT NULL"
    stored: dict[str, dict[str, list[str]]] = {}
    for name, kind, sql in connection.exec_driver_sql(query):
        stored.setdefault(name, {}).setdefault(kind, []).append(sql)
    found = set()
    for table in tables:
        kept = stored.get(table.name, {})
        made = [str(CreateTable(table).compile(dialect=dialect))]
        if [as_lines(sql) for sql in kept.get("table", ())] != [as_lines(sql) for sql in made]:
            continue
        indexes = [str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes]
        if sorted(kept.get("index", ())) == sorted(indexes):
            found.add(table.name)
    return found


def as_lines(sql: str) -> list[str]:
    """Return the lines of a CREATE TABLE in the order of the alphabet."""
    return sorted(line.strip().rstrip(",") for line in sql.strip().splitlines())


def write_rows(connection: Connection, rows: Rows) -> bool:
    """Insert many rows with one statement."""
    from rxdb_dialects import _sqlite_rows

    return _sqlite_rows.write_rows(connection, rows)


def bind_columns(type_: TypeEngine[Any], dialect: object) -> Conversions:
    """Convert times and decimals column by column."""
    from rxdb_dialects import _sqlite_rows

    return _sqlite_rows.bind_columns(type_, dialect)


def upsert(connection: Connection, merge: Merge) -> tuple[int, int]:
    """Insert or update with ON CONFLICT."""
    from rxdb_dialects import _sqlite_rows

    return _sqlite_rows.upsert(connection, merge)


def caseless(length: int, dialect: SQLAlchemyDialect) -> TypeEngine[Any]:
    """Compare with rxdb's own collation: NOCASE knows no letters but those of ASCII."""
    from rxdb_dialects import _sqlite_texts

    return _sqlite_texts.type_class()(length)  # type: ignore[no-any-return]  # a class made at run time


def lost_collation(column: Column[Any], dialect: SQLAlchemyDialect) -> str:
    """Return the collation: CREATE TABLE AS copies none."""
    from rxdb_dialects import _sqlite_decimals, _sqlite_texts

    if _sqlite_decimals.has_text(column.type, dialect):
        return _sqlite_decimals.COLLATION
    type_ = column.type._unwrapped_dialect_impl(dialect)  # noqa: SLF001 - SQLAlchemy tells it nowhere else
    is_own = isinstance(type_, _sqlite_texts.type_class())
    return _sqlite_texts.COLLATION if is_own else getattr(type_, "collation", None) or ""


def letters(text: str) -> str:
    """Take the case away with rxdb's own function; LIKE looks at no collation."""
    from rxdb_dialects import _sqlite_texts

    return f"{_sqlite_texts.LOWER}({text})"


def exact(text: str, dialect: SQLAlchemyDialect) -> str:
    """Compare bytes, whatever the collation of a column is."""
    return f"({text} COLLATE BINARY)"


def refuses_default(type_: TypeEngine[Any], default: str) -> str:
    """Know what the CHECK of the type refuses when a row is written."""
    import sqlalchemy as sa

    is_text = default.startswith("'")
    if is_text and not re.fullmatch("'(?:[^']|'')*'", default):
        return "it is an expression there only in parentheses"
    if isinstance(type_, sa.Boolean) and is_text and default not in {"'0'", "'1'"}:
        return "a boolean is 0 or 1 there"
    if isinstance(type_, sa.LargeBinary) and is_text:
        return "a text is no bytes there"
    return ""


def neutral_type(type_: TypeEngine[Any]) -> TypeEngine[Any] | None:
    """Say which of SQLAlchemy's types a column was made from."""
    import sqlalchemy as sa

    is_uuid = isinstance(type_, sa.CHAR) and type_.length == UUID_LENGTH
    return sa.Uuid() if is_uuid else None


RULES = Rules(
    one_name=(frozenset({"table", "index"}),),
    one_name_in_table=(frozenset({"column"}),),
    case_blind=frozenset({"column", "index", "table"}),
    taken_names={"table": "sqlite_.*"},
    keeps_time_zone=False,
    functions=frozenset(
        {
            *("datetime", "hex", "ifnull", "instr", "json_array_length", "json_extract"),
            *("json_valid", "julianday", "random", "randomblob", "strftime", "typeof"),
        }
    ),
    foreign_words=r"::|<=>|\bILIKE\b|\bSIMILAR TO\b|\bRLIKE\b|!?~\*?\s*''|\blocaltime(stamp)?\b",
    refuses_default=refuses_default,
    collations="BINARY|NOCASE|RTRIM|rxdb_caseless|rxdb_decimal",
    defers_unique=False,
)
"""What SQLite refuses or takes for something else; a name can have any length."""

UUID_LENGTH = 32
"""Characters: SQLAlchemy keeps a UUID as hexadecimal digits where there is no type for it."""

dialect = Dialect(
    name="sqlite",
    title="SQLite",
    aliases=("sqlite3",),
    drivers=(
        Driver(name="pysqlite", module="sqlite3", package="", options=frozenset()),
        Driver(
            name="aiosqlite",
            module="aiosqlite",
            package="rxdb[async]",
            minimum="0.20",
            sync=False,
            asynchronous=True,
            options=frozenset(),
        ),
    ),
    features=EVERYTHING
    - {
        Feature.ALTER_COLUMN,
        Feature.CONCURRENT_WRITES,
        Feature.SCHEMAS,
        Feature.SEVERAL_HOSTS,
        Feature.SKIP_LOCKED,
        Feature.TLS,
    },
    oldest=(3, 37),  # 3.35 brought RETURNING, 3.36 shared memdb, 3.37 STRICT tables
    in_matrix=True,
    options=OPTIONS,
    types={
        "cached_statements": int,
        "check_same_thread": bool,
        "detect_types": int,
        "strict": bool,
        "timeout": float,
        "uri": bool,
    },
    settings={
        "journal mode": "PRAGMA journal_mode",
        "synchronous": "PRAGMA synchronous",
        "foreign keys": "PRAGMA foreign_keys",
        "busy timeout (ms)": "PRAGMA busy_timeout",
        "mmap size (bytes)": "PRAGMA mmap_size",
        "journal size limit (bytes)": "PRAGMA journal_size_limit",
        "cache size (pages)": "PRAGMA cache_size",
        "character set": "PRAGMA encoding",
        "time zone": "SELECT 'none: SQLite keeps times as text'",
    },
    errors=ERRORS,
    retryable=RETRYABLE,
    error_code=error_code,
    details=details,
    read_path=read_path,
    file=file,
    remark=remark,
    glance=glance,
    complete_url=complete_url,
    translate=translate,
    engine_options=engine_options,
    keep_meaning=keep_meaning,
    rules=RULES,
    prepare=prepare,
    isolation="SERIALIZABLE",  # its documentation, "Isolation In SQLite"
    begin_snapshot="BEGIN",
    migration_lock=migration_lock,
    limit_lock_wait=limit_lock_wait,
    limit=limit,
    migrating=migrating,
    revising=revising,
    is_empty=is_empty,
    back_up=back_up,
    copy_before=copy_before,
    unchanged_tables=unchanged_tables,
    caseless=caseless,
    letters=letters,
    exact=exact,
    neutral_type=neutral_type,
    write_rows=write_rows,
    bind_columns=bind_columns,
    upsert=upsert,
    lost_collation=lost_collation,
    temporary_schema="temp",
)
