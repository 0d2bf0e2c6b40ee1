"""What rxdb knows about one database backend: the values Feature, Driver, Dialect and Target.

A :class:`Dialect` is a value. Each backend declares one in ``dialects/rxdb_dialects/<name>.py``
under the name ``dialect``. What a backend does differently is either data in a field or a plain
function in a field (a hook), so that a relative of a backend is one call:
``dataclasses.replace(parent, name=..., drivers=...)``.

This module imports nothing heavy: the registry and ``rxdb doctor`` work without SQLAlchemy.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from rxdb.errors import DriverBroken, DriverTooOld

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    Conversions = Mapping[type, Callable[[Sequence[Any]], Sequence[Any]]]
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import URL, Column, Connection, Engine, Table
    from sqlalchemy.engine import Dialect as SQLAlchemyDialect
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.types import TypeEngine

    from rxdb.errors import RxdbError


class Feature(Enum):
    """Something a backend can do, beyond what SQLAlchemy's own dialect flags already say.

    ``rxdb/testing/conformance.py`` holds one probe for each, run on the real servers.
    """

    ALTER_COLUMN = "change a column of an existing table in place"
    CASELESS_TEXT = "compare texts without regard to case where a column asks for it"
    CONCURRENT_WRITES = "let two connections write at the same time"
    FOREIGN_KEYS = "refuse a row whose parent is not there"
    FRESH_READS = "show a read-only session what others commit while it is open"
    GENERATED_KEYS = "number the rows of an integer primary key by itself"
    JSON_PATHS = "find a part of a JSON document"
    LONG_DECIMALS = "keep decimals of more than 38 digits"
    LOCK_TIMEOUT = "stop waiting for a lock after the time that a session allows"
    READ_ONLY = "refuse by itself to write for a read-only session"
    REFLECTED_CONSTRAINTS = "tell which constraints a table has"
    SAVEPOINTS = "roll back part of a transaction"
    SCHEMAS = "keep tables in named schemas that can be created"
    SEVERAL_HOSTS = "take several hosts in one URL and connect to the first that answers"
    SEVERAL_PROCESSES = "let two processes work on one database"
    SKIP_LOCKED = "select rows that no other transaction holds"
    STATEMENT_TIMEOUT = "stop a statement after the time that a session allows"
    STRICT_TYPES = "refuse what does not fit a column's type"
    TLS = "encrypt the connection when sslmode=require asks for it"
    TRANSACTIONAL_DDL = "roll back CREATE, ALTER and DROP"


EVERYTHING = frozenset(Feature)

COMMON_OPTIONS = frozenset(
    {"application_name", "connect_timeout", "sslcert", "sslkey", "sslmode", "sslrootcert"}
)
"""The connection options that mean the same for every server and driver, in libpq's words
(PostgreSQL manual, 34.1.2). ``connect_timeout`` is in seconds, ``ssl…`` are paths of PEM files."""

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""The values of ``sslmode``, weakest first. From ``require`` on, no TLS means no connection."""

SECRET = re.compile(r"(?i)passw|^pwd$|secret|token|^odbc_connect$|^scram_.*_key$")
"""The names of connection options whose values are never shown."""


@dataclass(frozen=True, kw_only=True)
class Driver:
    """One DBAPI module that can carry a connection."""

    name: str
    """SQLAlchemy's name for it, what follows the ``+`` in a URL; empty where there is no choice."""

    module: str
    """The module that must be importable."""

    package: str
    """What to ``pip install``, for the error that says so; empty for a part of Python."""

    distributions: tuple[str, ...] = ()
    """The distributions that bring the module; the module's own name where this is empty."""

    minimum: str = ""
    """The oldest version that works, such as ``"1.4"``; empty where any does."""

    sync: bool = True
    """Whether an ordinary engine can use it."""

    asynchronous: bool = False
    """Whether an async engine can use it."""

    options: frozenset[str] | None = None
    """The connection options that the driver itself takes from a URL, beside the dialect's.
    None means that rxdb does not check them."""

    @property
    def is_installed(self) -> bool:
        """Whether the module is there; it may still fail to load, which :meth:`load` finds out."""
        try:
            return find_spec(self.module) is not None
        except (ImportError, ValueError):  # a parent package is missing, or the module is a stub
            return False

    @property
    def version(self) -> str:
        """The installed version, or an empty text."""
        from importlib import metadata  # noqa: PLC0415 - costly, and few need it

        for distribution in self.distributions or (self.module,):
            try:
                return metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
        return ""

    def load(self) -> None:
        """Import the driver.

        Raises :class:`rxdb.errors.DriverBroken` when that fails, with the original error as its
        cause, and :class:`rxdb.errors.DriverTooOld` for a version below :attr:`minimum`.
        """
        try:
            import_module(self.module)
        except Exception as error:
            raise DriverBroken.of(self.module, self.package, error) from error
        found = self.version
        if self.minimum and found and release(found) < release(self.minimum):
            raise DriverTooOld.of(self.module, found, self.minimum, self.package)


@dataclass(frozen=True, kw_only=True, repr=False)
class Target:
    """A database that rxdb is able to reach, and how it is to be used. Secrets are not shown."""

    dialect: Dialect
    """The backend."""

    driver: Driver
    """An installed driver that can do what was asked."""

    url: URL
    """The complete URL; its connection options are in rxdb's words, not yet in the driver's."""

    password: Callable[[], str] | None = None
    """Asked for the password at each new connection; None where the URL holds it."""

    read_only: bool = False
    """Whether the server shall refuse to write."""

    durability: str = "normal"
    """What a commit has to survive, as ``Config.durability`` says it."""

    def __repr__(self) -> str:
        only = ", read_only" if self.read_only else ""
        return f"<Target {show(self.url)}{only}>"

    __str__ = __repr__


class Details(NamedTuple):
    """What a database tells of a constraint that was violated, or of a value it refused."""

    constraint: str | None = None
    """The constraint's name."""

    table: str | None = None
    """The table that has the constraint, without its schema."""

    columns: tuple[str, ...] = ()
    """The columns of that table."""


class Limits(NamedTuple):
    """How long the statements of a session may take, in seconds; None is what the server says."""

    statement: float | None = None
    """One statement."""

    lock: float | None = None
    """Waiting for a lock that another transaction holds."""


class Standing(NamedTuple):
    """How far a replica is."""

    lag: float | None
    """Seconds behind the primary; None where it does not tell."""

    position: str | None
    """A position that :attr:`Dialect.has_reached` compares; None where there is none."""


def unchanged(url: URL, folder: Path) -> URL:
    """Leave the URL as it is."""
    return url


def no_path(text: str) -> URL | None:
    """Recognise no text that is not a URL."""


def as_written(target: Target) -> tuple[URL, dict[str, Any]]:
    """Hand the URL to the driver as it is."""
    return target.url, {}


def no_options(target: Target) -> dict[str, Any]:
    """Ask for nothing beyond SQLAlchemy's defaults."""
    return {}


def directly(target: Target) -> bool:
    """Have the server's session for as long as the connection lives."""
    return False


def answering(connection: Connection) -> Standing:
    """Find out that it answers, and no more."""
    connection.exec_driver_sql("SELECT 1")
    return Standing(None, None)


def no_position(connection: Connection) -> str:
    """Have no word for how far the database is."""
    return ""


def never(position: str, token: str) -> bool:
    """Trust no position."""
    return False


def nothing(where: object, what: object) -> None:
    """Leave it as SQLAlchemy made it."""


def no_file(url: URL) -> str:
    """Say that the database is not a file."""
    return ""


def no_remark(target: Target) -> str:
    """Say nothing about the file."""
    return ""


def nothing_at_a_glance(text: str, folder: Path) -> tuple[DBAPIConnection, str] | None:
    """Leave it to SQLAlchemy."""


def unguarded(connection: Connection, target: Target) -> AbstractContextManager[None]:
    """Run migrations as they are: the backend itself keeps what they do not touch."""
    return nullcontext()


def one_by_one(connection: Connection) -> AbstractContextManager[None]:
    """Wait for the answer to each statement."""
    return nullcontext()


def unchecked(connection: Connection, revision: str) -> AbstractContextManager[None]:
    """Run one revision as it is."""
    return nullcontext()


def no_limit(seconds: float) -> tuple[str, ...]:
    """Wait for locks as long as the server does."""
    return ()


def unlimited(connection: Connection, limits: Limits) -> None:
    """Limit nothing: the backend declares neither timeout."""


def trusted(connection: Connection) -> bool:
    """Trust a lock to hold as long as the connection that took it."""
    return True


def as_it_is(text: str) -> str:
    """Leave a reflected default as the server writes it."""
    return text


def as_compared(text: str, dialect: SQLAlchemyDialect) -> str:
    """Compare a text as the backend does."""
    return text


def not_known(type_: TypeEngine[Any]) -> TypeEngine[Any] | None:
    """Leave a reflected type to SQLAlchemy's own idea of it."""
    return None


def no_more(column: str, type_: TypeEngine[Any]) -> dict[str, str]:
    """Change a column's type without further options."""
    return {}


def no_conversions(type_: TypeEngine[Any], dialect: object) -> Conversions:
    """Leave all values to SQLAlchemy's types."""
    return {}


class Rows(Protocol):
    """Some rows that are to be inserted, column by column."""

    table: Table
    """Where they go."""

    columns: tuple[Column[Any], ...]
    """The columns they give."""

    @property
    def values(self) -> list[Sequence[Any]]:
        """For each column the values of all rows, as the driver takes them.

        They are converted when they are asked for. Raises :class:`rxdb.errors.BadRow` for a value
        that its type refuses.
        """
        ...

    @property
    def kinds(self) -> list[frozenset[type]]:
        """For each column the types of its values. It raises what ``values`` raises."""
        ...

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> Rows:
        """Return some of the rows, of which nothing is converted yet."""
        ...


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Rows of a temporary table that are to be inserted or updated; all names are quoted."""

    target: str
    """The table that is changed."""

    source: str
    """The temporary table."""

    row: str
    """The column of the temporary table with a row's position."""

    columns: tuple[str, ...]
    """The columns that are written."""

    key: tuple[str, ...]
    """The columns that tell whether a row is there."""

    update: tuple[str, ...]
    """The columns that are set where it is; none leaves it as it is."""

    fixed: tuple[tuple[str, str], ...]
    """Columns that are then set too, each with the column of the temporary table that holds its
    value, the same in all rows."""

    computed: tuple[tuple[str, str], ...]
    """Columns that are then set too, each with an expression of SQL."""

    other_keys: tuple[tuple[str, ...], ...]
    """Other unique keys among the columns that are written."""

    part: tuple[int, int] | None = None
    """The first position that is written, and the first that is not any more; None for all."""

    @property
    def where(self) -> str:
        """The condition that chooses the part."""
        return (
            f"{self.row} >= {self.part[0]} AND {self.row} < {self.part[1]}"
            if self.part
            else "1 = 1"
        )


def first_argument(error: BaseException) -> str | int | None:
    """Return what most drivers put first into an error: the server's number for it."""
    code = error.args[0] if error.args else None
    return code if isinstance(code, str | int) else None


def no_details(error: BaseException) -> Details:
    """Tell nothing beyond the code."""
    return Details()


def accepted(type_: TypeEngine[Any], default: str) -> str:
    """Take each default."""
    return ""


def related(child: str, parent: str) -> bool:
    """Let a foreign key compare any two types."""
    return True


def none_lost(column: Column[Any], dialect: SQLAlchemyDialect) -> str:
    """Copy a column with its collation."""
    return ""


def told_apart(column: Column[Any], name: str) -> bool:
    """See the difference between upper and lower case."""
    return False


@dataclass(frozen=True, kw_only=True, eq=False)
class Rules:
    """What a backend refuses in a model, or takes for something else; by default nothing.

    :mod:`rxdb.linting` asks, without a server; ``tests/matrix/test_linting.py`` has each answer
    proven by the real one. A *kind* of name is ``table``, ``column``, ``index``, ``unique``,
    ``check``, ``foreign key`` or ``primary key``, a kind of key one of ``primary key``, ``unique``
    and ``index``. Patterns match a whole text, in upper or lower case.
    """

    longest_name: int | None = None
    """How long a name may be."""

    names_in_bytes: bool = False
    """Whether that counts bytes of UTF-8, not letters."""

    cuts_names: bool = False
    """Whether the server cuts a longer name instead of refusing it."""

    one_name: tuple[frozenset[str], ...] = ()
    """Kinds that share one list of names in a schema."""

    one_name_in_table: tuple[frozenset[str], ...] = ()
    """Kinds that share one list of names in a table."""

    case_blind: frozenset[str] = frozenset()
    """Kinds whose names are equal when they differ in case only."""

    taken_names: Mapping[str, str] = field(default_factory=dict)
    """For a kind the pattern of names that the server keeps for itself."""

    missing_types: str = ""
    """The pattern of types that SQLAlchemy writes and the server does not have."""

    widest_number: tuple[int, int] | None = None
    """The digits of a NUMERIC in all, and after the point, at most."""

    longest_char: int | None = None
    """The letters of a CHAR, at most."""

    coarse_time: str = ""
    """The pattern of types that keep no microseconds."""

    until_2038: str = ""
    """The pattern of types that end on 2038-01-19."""

    keeps_time_zone: bool = True
    """Whether ``DateTime(timezone=True)`` keeps which moment was meant."""

    functions: frozenset[str] = frozenset()
    """Those of the functions that some backends have and others lack which this one has."""

    foreign_words: str = ""
    """The pattern of operators and words of other backends, found anywhere outside of texts."""

    refuses_default: Callable[[TypeEngine[Any], str], str] = accepted
    """Why a column of this type cannot have this default, or an empty text."""

    longest_key: Mapping[str, int] = field(default_factory=dict)
    """For a kind of key how many bytes it may have."""

    letter: int = 1
    """The bytes that a key reserves for each letter of a text."""

    cuts_keys: frozenset[str] = frozenset()
    """Kinds of keys in which a column that is too long is cut, not refused."""

    no_key: Mapping[str, str] = field(default_factory=dict)
    """For a kind of key the pattern of types that it cannot hold."""

    longest_row: int | None = None
    """The bytes of a row, not counting what is kept outside of it."""

    ignored_actions: frozenset[str] = frozenset()
    """The words after ON DELETE and ON UPDATE that do nothing here."""

    defers: bool = True
    """Whether a foreign key can wait until COMMIT."""

    defers_unique: bool = True
    """Whether a unique constraint can."""

    indexes_expressions: bool = True
    """Whether an index can hold what is computed from the columns."""

    unchecked_actions: frozenset[str] = frozenset()
    """Of foreign keys the words, as ``ON DELETE SET NULL``, whose columns no CHECK may name."""

    checks_numbered_keys: bool = True
    """Whether a CHECK may name the key that the server numbers."""

    unstable_words: str = ""
    """The pattern of what no CHECK may ask for, such as the time, anywhere outside of texts."""

    computes_not_null: bool = True
    """Whether a computed column can be NOT NULL."""

    truth_is_number: bool = True
    """Whether a boolean can be compared with 0 and 1."""

    refers: Callable[[str, str], bool] = related
    """Whether a column of the first type can refer to one of the second; both as they are written
    in CREATE TABLE."""

    collations: str = ""
    """The pattern of collations that may be there; empty where none is known."""

    ignores_case: Callable[[Column[Any], str], bool] = told_apart
    """Whether ``Bob`` and ``bob`` are one value in a column of text; *name* is the backend's, as
    the options of a table begin."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dialect:
    """Everything rxdb knows about one database backend. Two are equal only when they are one."""

    name: str
    """SQLAlchemy's name for the backend, as in ``engine.dialect.name``."""

    title: str
    """The name that people use, for sentences and tables."""

    drivers: tuple[Driver, ...]
    """The drivers rxdb can use, best first."""

    aliases: tuple[str, ...] = ()
    """Other URL schemes that mean this backend."""

    plugin: Driver | None = None
    """The package that brings SQLAlchemy's side of the backend, when SQLAlchemy itself does not."""

    features: frozenset[Feature] = EVERYTHING
    """What the oldest supported server can do."""

    oldest: tuple[int, ...] = ()
    """The oldest supported server version."""

    version_query: str = ""
    """The query that tells the server's version, where SQLAlchemy does not know it."""

    in_matrix: bool = False
    """Whether rxdb's own test matrix runs on a real server of this backend."""

    migrates_like: str = ""
    """The Alembic implementation to use, when Alembic has none under ``name``."""

    port: int | None = None
    """The port that a URL without one means."""

    options: frozenset[str] = frozenset()
    """The connection options that every driver of this backend understands, through
    :attr:`translate`."""

    types: Mapping[str, type] = field(default_factory=dict)
    """The connection options that are no texts: ``int`` (a whole number), ``float`` or ``bool``."""

    settings: Mapping[str, str] = field(default_factory=dict)
    """What ``rxdb doctor`` reads back: a label, and the query whose last value of the first row is
    the answer."""

    errors: Mapping[str | int, type[RxdbError]] = field(default_factory=dict)
    """What the server's error codes mean; of an SQLSTATE also its class, the first two
    characters."""

    retryable: frozenset[str | int] = frozenset()
    """The codes after which the whole transaction, run again, may well succeed: the server rolled
    it back because of another one, or was not there for a moment."""

    aborted: frozenset[str | int] = frozenset()
    """The codes that only say that an error before has made the transaction useless."""

    error_code: Callable[[BaseException], str | int | None] = first_argument
    """Return the code that a driver's error carries; None where it means nothing here."""

    details: Callable[[BaseException], Details] = no_details
    """Return the constraint, the table and the columns that a driver's error names."""

    read_path: Callable[[str], URL | None] = no_path
    """Recognise a text that is not a URL, such as the path of a file."""

    file: Callable[[URL], str] = no_file
    """Return the path of the file that holds the database; empty where there is none."""

    remark: Callable[[Target], str] = no_remark
    """Say what ``rxdb doctor`` should of the place of that file; empty where it is as usual."""

    complete_url: Callable[[URL, Path], URL] = unchanged
    """Fill in what the backend needs and a short URL leaves out; a relative path starts at the
    folder given."""

    translate: Callable[[Target], tuple[URL, dict[str, Any]]] = as_written
    """Say a URL's options the way the driver takes them: the URL for SQLAlchemy, and connect
    arguments."""

    engine_options: Callable[[Target], dict[str, Any]] = no_options
    """Options for the engine; the application's own options win over these."""

    is_pooled: Callable[[Target], bool] = directly
    """Whether a pooler stands in between that gives the server's session to another client after
    each transaction. A read-only session is then a transaction, and no setting of a session."""

    standing: Callable[[Connection], Standing] = answering
    """Ask a replica how far it is behind, and where it stands."""

    position: Callable[[Connection], str] = no_position
    """Ask the primary where it stands: what was committed before is up to there. Empty where the
    backend does not tell."""

    has_reached: Callable[[str, str], bool] = never
    """Whether a replica that stands at the first position has what the second one says."""

    keep_meaning: Callable[[Any, URL], None] = nothing
    """Let SQLAlchemy's dialect, of an engine or on its own, write and read types so that they mean
    here what they mean elsewhere. SQL that is only written down is spelled by it too. The URL may
    hold nothing but the backend's name."""

    rules: Rules | None = None
    """What the tables of a model can be; None where nobody has looked."""

    prepare: Callable[[Engine, Target], None] = nothing
    """Attach the SQLAlchemy events that the backend needs."""

    isolation: str = ""
    """The isolation level of all transactions, where there is no other. Empty where a transaction
    can ask for one."""

    begin_snapshot: str = ""
    """The statement that begins a read-only transaction whose statements all see one moment, on a
    connection that is in AUTOCOMMIT. Empty where there is none."""

    migration_lock: Callable[[Connection, str], Callable[[], None] | None] | None = None
    """Try to take the lock of this name, without waiting, for as long as the connection or this
    process lives. Return what releases it, or None when another holds it. A backend without such
    a lock has no hook, and migrations take a lease: a row with a heartbeat."""

    has_session_locks: Callable[[Connection], bool] = trusted
    """Whether :attr:`migration_lock` can be trusted on this very server: not on a cluster whose
    nodes do not share locks, and not through a proxy that shares one session among many."""

    limit_lock_wait: Callable[[float], tuple[str, ...]] = no_limit
    """Return the statements that limit, in seconds, how long a statement of this connection waits
    for a lock that running traffic holds."""

    limit: Callable[[Connection, Limits], Callable[[DBAPIConnection], None] | None] = unlimited
    """Limit the statements of the transaction that is about to begin on this connection. Return
    what takes it back when the connection goes back to its pool, or None where the end of the
    transaction does. That is called inside of a transaction, and must not end it."""

    migrating: Callable[[Connection, Target], AbstractContextManager[None]] = unguarded
    """Surround all revisions of one run; entered and left outside of a transaction."""

    revising: Callable[[Connection, str], AbstractContextManager[None]] = unchecked
    """Surround one revision: entered inside its transaction before its first statement, left
    before its COMMIT. An error that is raised at the end rolls the revision back."""

    is_empty: Callable[[Connection, Collection[str]], bool] | None = None
    """Whether the database holds no tables and views but those of the names given, in any schema:
    nobody can wait for a lock of them, so that the first revisions may share one transaction. None
    where that gains nothing."""

    sending_ahead: Callable[[Connection], AbstractContextManager[None]] = one_by_one
    """Surround statements of one transaction that is rolled back, and run again without this hook,
    after any error: each may be sent before the answer to the one before it has come. All have
    come when it is left."""

    back_up: Callable[[Target], str] | None = None
    """Copy the database before a revision that drops data, and return where the copy is."""

    copy_before: Callable[[Target, datetime], str] | None = None
    """Return where the newest copy of :attr:`back_up` is that was made before a moment in UTC;
    nothing where there is none."""

    unchanged_tables: Callable[[Connection, Iterable[Table]], set[str]] | None = None
    """Return the names of those tables that are certainly as their models say, where that costs
    less than describing them."""

    plain_default: Callable[[str], str] = as_it_is
    """Return a reflected default without what only repeats the column's type."""

    neutral_type: Callable[[TypeEngine[Any]], TypeEngine[Any] | None] = not_known
    """Return what a model would say for a reflected type, where the backend keeps that type under
    another name; None leaves it to SQLAlchemy."""

    json_type: Callable[[], TypeEngine[Any]] | None = None
    """Return the type for JSON documents, where it is another than SQLAlchemy's JSON."""

    caseless: Callable[[int, SQLAlchemyDialect], TypeEngine[Any]] | None = None
    """Return the type for texts of up to so many letters that are compared without regard to
    case; None where there is none."""

    letters: Callable[[str], str] = as_it_is
    """Return what LIKE has to look at for such a column, in SQL, where LIKE sees the case or does
    not take the column."""

    exact: Callable[[str, SQLAlchemyDialect], str] = as_compared
    """Return a text, in SQL, so that it is compared and sorted by its code points, whatever the
    column's collation is."""

    retype_options: Callable[[str, TypeEngine[Any]], dict[str, str]] = no_more
    """Return what ``alter_column`` needs beside the new type of the named column, under names
    that other backends pass over."""

    usual_actions: frozenset[str] = frozenset({"NO ACTION"})
    """The words after ON DELETE and ON UPDATE that mean what a foreign key does anyway."""

    indexes_foreign_keys: bool = False
    """Whether the server makes an index for each foreign key that has none."""

    temporary_schema: str = ""
    """Where reflection finds temporary tables, if not beside the others."""

    drop_temporary: str = "DROP TABLE"
    """The statement that drops a temporary table and no other."""

    create_enum: Callable[[Any, Any], None] | None = None
    """Create the type of an enum unless it is there: Alembic's Operations, and what is asked. None
    means that a column holds its own members."""

    drop_enum: Callable[[Any, Any], None] | None = None
    """Drop the type of an enum unless a table uses it."""

    alter_enum: Callable[[Any, Any], None] | None = None
    """Change the members of an enum's type. None means that this is a change of the column."""

    fingerprint: Callable[[Connection, str], str] | None = None
    """Return a text that changes when the given DDL statement takes effect. None means that
    SQLAlchemy's inspector describes the tables that the statement names."""

    lost_collation: Callable[[Column[Any], SQLAlchemyDialect], str] = none_lost
    """The collation of a column that a table made of a query does not have; nothing if it has."""

    write_rows: Callable[[Connection, Rows], bool] | None = None
    """Insert some rows by the fastest way, inside a savepoint. False leaves them to SQLAlchemy,
    where that way does not take these columns or values; nothing is written then."""

    bind_columns: Callable[[TypeEngine[Any], Any], Conversions] = no_conversions
    """Return what converts a whole column for ``write_rows`` faster than the type's own conversion,
    with the same outcome, by the type of its values. It may raise: then each value is tried."""

    upsert: Callable[[Connection, Merge], tuple[int, int]] | None = None
    """Insert the rows of a temporary table or update those that are there, with the locks in the
    order of the keys. Return how many were inserted, and how many updated."""

    key_step: str = ""
    """The query for how far the generated keys of one statement are apart, where the server does
    not return them."""

    glance: Callable[[str, Path], tuple[DBAPIConnection, str] | None] = nothing_at_a_glance
    """Open the database of a URL text for reading without SQLAlchemy, whose import takes longer
    than all else that the state of a schema needs; a relative path starts at the folder given.
    Return the connection and the query for the names of the tables, or None, also for a URL that
    is written in an unusual way: :func:`rxdb.parse` then reads it."""

    server: str = ""
    """Where the recipe of a throw-away server for tests is, a value of
    :class:`rxdb.testing.servers.Server`: ``"module:name"``."""

    clone: Callable[[Connection, str, str], None] | None = None
    """Make the second database, which is not there yet, with the tables and the rows of the first,
    to which nobody is connected. None means that it is created, and its tables are made anew."""

    drop_database: str = "DROP DATABASE {}"
    """The statement that drops a database of tests, also while a session in it was forgotten."""

    def scheme(self, driver: Driver) -> str:
        """Return what stands before ``://`` to reach this backend through *driver*."""
        return f"{self.name}+{driver.name}" if driver.name else self.name


def release(version: str | Iterable[object]) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``"2.9.13 (dt)"`` is ``(2, 9, 13)``."""
    parts = version.split(".") if isinstance(version, str) else [str(part) for part in version]
    numbers: list[int] = []
    for part in parts:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def take(url: URL, names: Iterable[str]) -> tuple[URL, dict[str, str]]:
    """Return *url* without the named query options, and those options."""
    found = {name: _one(url.query[name]) for name in names if name in url.query}
    return url.difference_update_query(found), found


def is_secret(option: str) -> bool:
    """Whether the value of a connection option must not be shown."""
    return SECRET.search(option) is not None


def show(url: URL) -> str:
    """Return *url* as a text without its secrets, for people to read."""
    hidden = {option: "***" for option in url.query if is_secret(option)}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def run(connection: DBAPIConnection, *statements: str) -> None:
    """Execute *statements* on a connection that was just made, and end their transaction."""
    execute(connection, *statements)
    connection.commit()


def execute(connection: DBAPIConnection, *statements: str) -> None:
    """Execute *statements* past SQLAlchemy."""
    cursor = connection.cursor()
    try:
        for statement in statements:
            cursor.execute(statement)
    finally:
        cursor.close()


def to_json(value: object) -> str:
    """Write letters as they are: SQLite and MariaDB find no key that is written ``\\u03b1``."""
    import json  # noqa: PLC0415 - few need it

    return json.dumps(value, ensure_ascii=False)


def _one(value: str | tuple[str, ...]) -> str:
    """Return the last of several values, as web servers and libpq do."""
    return value if isinstance(value, str) else value[-1]
