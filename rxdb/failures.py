"""Say in rxdb's words what a database or its driver refuses, in errors that are SQLAlchemy's too.

Each error that leaves an engine of rxdb is of a class made here: of one of :mod:`rxdb.errors` and
of the one that SQLAlchemy would have raised. Which code means what is data of the dialect.
"""

from __future__ import annotations

import pickle
import select
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    event,
    exc,
)

from rxdb import config
from rxdb.dialect import Details, show
from rxdb.errors import (
    BadValue,
    CheckViolation,
    CommitUnknown,
    ConnectionLost,
    ConstraintViolation,
    DatabaseError,
    DatabaseMissing,
    Deadlock,
    ForeignKeyViolation,
    LoginFailed,
    ReadOnly,
    RxdbError,
    SerializationFailure,
    UniqueViolation,
    quoted,
)
from rxdb.url import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from rxdb.dialect import Target

USUAL: Mapping[type[exc.DBAPIError], type[DatabaseError]] = {
    exc.DataError: BadValue,
    exc.IntegrityError: ConstraintViolation,
}
"""What a class of SQLAlchemy's, which are those of PEP 249, means where no code says more."""

REFUSED_BY_TYPES = (ArithmeticError, LookupError, TypeError, ValueError)
"""What types raise for a value that they cannot send: an unknown member of an enum, a datetime
without time zone, what is no number."""

CONSTRAINTS: Mapping[type[DatabaseError], tuple[type, ...]] = {
    CheckViolation: (CheckConstraint,),
    ForeignKeyViolation: (ForeignKeyConstraint,),
    UniqueViolation: (PrimaryKeyConstraint, UniqueConstraint, Index),
}
"""What an error may speak of."""

AT_THE_DOOR = (DatabaseMissing, LoginFailed)
"""What ends an attempt to connect, where the server answers."""

ROLLED_BACK = (ConnectionLost, Deadlock, SerializationFailure)
"""After these the whole transaction is rolled back; MySQL lets it go on as a new one."""

NOTED = "rxdb_errors"
"""The attribute of a connection that holds the list for its errors."""

REFUSED_BY_DRIVERS = (OverflowError, TypeError, ValueError)
"""What drivers raise past PEP 249 for a value: sqlite3 the first beyond 64 bits, psycopg the second
for what JSON does not know, psycopg2 the third for NUL."""

COMMITTING = "rxdb_committing"
"""The attribute of a driver's error that came of COMMIT."""

SQLSTATE_CLASS = 2
"""The first characters of an SQLSTATE, its class (SQL standard, part 2, 24.1)."""


def attach(engine: Engine, target: Target) -> None:
    """Let all errors of *engine* be of :class:`rxdb.errors.DatabaseError` as well."""
    _wrap_connect(engine, target)
    if not target.read_only:  # a lost COMMIT of what only read leaves no question
        _mark_commits(engine)

    @event.listens_for(engine, "handle_error")
    def tell(context: ExceptionContext) -> BaseException | None:
        return None if context.is_pre_ping else _translated(context, target)


def watch(connection: Connection, errors: list[DatabaseError]) -> None:
    """Have the errors of a connection, also those that are caught, appended to *errors*.

    SQLAlchemy makes one such object for each transaction of a session.
    """
    setattr(connection, NOTED, errors)


def _translated(context: ExceptionContext, target: Target) -> BaseException | None:
    """Return the error to raise; None leaves what is no database's to SQLAlchemy."""
    known = _sqlalchemys(context)
    kind = None if known is None else _kind(context, known, target)
    if known is None or kind is None:
        return None
    is_demoted = kind is ReadOnly and not target.read_only and _is_retryable(context, target)
    if context.connection is not None and (issubclass(kind, ConnectionLost) or is_demoted):
        context.is_disconnect = True  # drivers tell it in different ways, some in none
    made = _make(kind, type(known), _arguments(known), detail=known.detail)
    made.connection_invalidated = context.is_disconnect
    found = target.dialect.details(context.original_exception)
    if issubclass(kind, ConstraintViolation | BadValue):
        found = _completed(found, kind, _table(found.table, context))
    made.constraint, made.table, made.columns = found
    if kind is ConnectionLost:
        made.said = str(ConnectionLost.of(doctor(target)))
    if kind in AT_THE_DOOR:
        made.said = _refused(kind, context, target)
    if kind is ReadOnly and target.read_only:
        made.said = str(ReadOnly.of(" ".join((context.statement or "").split()[:3])))
    noted = getattr(context.connection, NOTED, None)
    if noted is not None:
        noted.append(made)
    failure: BaseException = made
    return failure


def _sqlalchemys(context: ExceptionContext) -> exc.DBAPIError | None:
    """Return SQLAlchemy's error, also for what a driver raised past PEP 249, and for what the type
    of a column refused before anything was sent."""
    original, known = context.original_exception, context.sqlalchemy_exception
    if isinstance(original, RxdbError) or not isinstance(original, Exception):
        return None
    if known is None and _is_of_value(context):
        base: type[exc.DBAPIError] = exc.DataError
    elif type(known) is exc.StatementError and isinstance(original, REFUSED_BY_TYPES):
        base = exc.DataError
    elif known is None and _is_of_network(original):
        base = exc.OperationalError
    else:
        return known if isinstance(known, exc.DBAPIError) else None
    hide = context.engine is not None and context.engine.hide_parameters
    return base(context.statement, context.parameters, original, hide_parameters=hide)


def _is_of_value(context: ExceptionContext) -> bool:
    """Whether a driver refused a value. A TypeError may also mean that a text of SQL has another
    number of parameters, which is so with none that SQLAlchemy has written."""
    original = context.original_exception
    if isinstance(original, TypeError):
        return getattr(context.execution_context, "compiled", None) is not None
    return isinstance(original, REFUSED_BY_DRIVERS) and bool(context.statement)


def _kind(
    context: ExceptionContext, known: exc.DBAPIError, target: Target
) -> type[DatabaseError] | None:
    """Return the class of rxdb's; None for what is said by another error of rxdb."""
    original, meanings = context.original_exception, target.dialect.errors
    code = target.dialect.error_code(original)
    group = code[:SQLSTATE_CLASS] if isinstance(code, str) else ""
    usual = next((USUAL[base] for base in type(known).__mro__ if base in USUAL), DatabaseError)
    kind = (None if code is None else meanings.get(code, meanings.get(group))) or usual
    if kind in AT_THE_DOOR and context.connection is not None:
        kind = usual  # DROP DATABASE nowhere: a statement's, and not that of this session
    if context.is_disconnect or _is_of_network(original) or kind is ConnectionLost:
        return CommitUnknown if getattr(original, COMMITTING, False) else ConnectionLost
    return kind if issubclass(kind, DatabaseError) else None


def _refused(kind: type[DatabaseError], context: ExceptionContext, target: Target) -> str:
    """Return the sentence for a server that answers and lets nobody in."""
    user, setting = target.url.username or "", _setting(target)
    database = target.url.database or user
    source = setting.source if setting else "the URL"
    if kind is LoginFailed:
        return str(LoginFailed.of(user, database, source))
    quoted = context.dialect.identifier_preparer.quote(database)
    return str(DatabaseMissing.of(database, quoted, source))


def doctor(target: Target) -> str:
    """Return the command that looks at the database of *target*."""
    return "rxdb doctor" if _setting(target) else f"rxdb doctor --url {quoted(show(target.url))}"


def _setting(target: Target) -> config.Setting | None:
    """Return the setting that names the database of *target*; None where a URL was given."""
    for is_async in (False, True):
        with suppress(RxdbError):
            setting = config.database(is_async=is_async)
            if _place(parse(setting.url, is_async)) == _place(target):
                return setting
    return None


def _place(target: Target) -> tuple[object, ...]:
    url = target.url
    return target.dialect, url.host, url.port, url.query.get("host"), url.database, url.username


def _is_retryable(context: ExceptionContext, target: Target) -> bool:
    return target.dialect.error_code(context.original_exception) in target.dialect.retryable


def _is_of_network(error: BaseException) -> bool:
    """Whether a socket failed: some drivers hand that on, others name it as the cause."""
    return any(
        isinstance(e, OSError | EOFError) and getattr(e, "filename", None) is None
        for e in (error, error.__cause__)
    )


def _wrap_connect(engine: Engine, target: Target) -> None:
    """Have drivers that hand on what their sockets say raise their own error instead."""
    dialect: Any = engine.dialect
    connect, package = dialect.connect, target.driver.module.partition(".")[0]

    def do_connect(*arguments: Any, **options: Any) -> DBAPIConnection:
        try:
            connection: DBAPIConnection = connect(*arguments, **options)
        except Exception as error:
            is_own = isinstance(error, dialect.loaded_dbapi.Error | RxdbError)
            is_of_driver = type(error).__module__.partition(".")[0] == package
            if is_own or not (is_of_driver or _is_of_network(error)):
                raise
            said = str(error) or type(error).__name__
            failure = dialect.loaded_dbapi.OperationalError(said)
            if hasattr(failure, "orig"):  # SQLAlchemy's own, for asyncpg
                failure.orig = error
            raise failure from error
        return connection

    dialect.connect = do_connect


def _mark_commits(engine: Engine) -> None:
    """Mark the errors of COMMIT: whether it was done is not known when the connection breaks.

    One that the server has closed before is found so before COMMIT is sent: nothing was done.
    """
    dialect: Any = engine.dialect
    commit = dialect.do_commit

    def do_commit(connection: Any) -> None:
        if _is_hung_up(connection):
            failure = dialect.loaded_dbapi.OperationalError("closed before COMMIT was sent")
            raise failure from ConnectionResetError("the server closed the connection")
        try:
            commit(connection)
        except Exception as error:
            setattr(error, COMMITTING, True)
            raise

    dialect.do_commit = do_commit


HUNG_UP = getattr(select, "POLLRDHUP", 0)
"""What Linux says of a socket whose other side is closed, also while there is something to read."""


def _is_hung_up(connection: Any) -> bool:
    """Whether the server has closed a connection, as far as its driver shows the socket."""
    fileno = getattr(getattr(connection, "driver_connection", connection), "fileno", None)
    if not HUNG_UP or fileno is None:
        return False
    try:
        poll = select.poll()
        poll.register(fileno(), HUNG_UP)
        return bool(poll.poll(0))
    except Exception:  # noqa: BLE001 - a driver that has no socket any more tells so at COMMIT
        return False


# The classes


class _Failure(exc.DBAPIError):
    """What the classes made by :func:`_combined` have in common."""

    kind: type[DatabaseError]
    base: type[exc.DBAPIError]
    constraint: str | None
    table: str | None
    columns: tuple[str, ...]
    sentence: Callable[[], str]
    said: str = ""

    def __init__(self, *arguments: Any) -> None:
        exc.DBAPIError.__init__(self, *arguments)  # past OSError's own, which some classes have

    def __str__(self) -> str:
        told = exc.DBAPIError.__str__(self)
        said = self.said or self.sentence()
        return f"{said}\n{told}" if said else told

    def __reduce__(self) -> tuple[Any, ...]:
        state = {k: v for k, v in vars(self).items() if k not in {"orig", "statement", "params"}}
        arguments = list(_arguments(self))
        arguments[2] = _picklable(self.orig)
        return _make, (self.kind, self.base, tuple(arguments)), state


def _make(
    kind: type[DatabaseError],
    base: type[exc.DBAPIError],
    arguments: tuple[Any, ...],
    detail: list[str] | None = None,
) -> Any:
    made: Any = _combined(kind, base)(*arguments)  # type: ignore[arg-type]  # classes are hashable
    made.detail = detail or []
    return made


def _arguments(error: exc.DBAPIError) -> tuple[Any, ...]:
    """Return what makes an error of SQLAlchemy's again."""
    return (
        error.statement,
        error.params,
        error.orig,
        error.hide_parameters,
        error.connection_invalidated,
        error.__dict__.get("code"),
        error.ismulti,
    )


@cache
def _combined(kind: type[DatabaseError], base: type[exc.DBAPIError]) -> type[_Failure]:
    """Return the class that is *kind* and *base*.

    Drivers disagree on the class of PEP 249, so what means one thing here is also caught by one
    class of SQLAlchemy's: a violated constraint by IntegrityError, a bad value by DataError.
    """
    usual = next((sa for sa, meant in USUAL.items() if issubclass(kind, meant)), base)
    bases = [base, usual] if not issubclass(base, usual) else [base]
    own = [b for b in bases if not any(issubclass(o, b) for o in bases if o is not b)]
    shown = base if kind is DatabaseError else kind  # rxdb has no word for it
    names = {
        "__module__": shown.__module__,
        "__qualname__": shown.__name__,
        "__doc__": shown.__doc__,
        "kind": kind,
        "base": base,
    }
    return type(shown.__name__, (_Failure, kind, *own), names)


def _picklable(error: BaseException | None) -> BaseException | None:
    """Return *error*, or what it says where it does not survive pickling."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - what was just written
    except Exception:  # noqa: BLE001 - whatever a driver's class raises
        return RuntimeError(str(error))
    return error


# What the server did not say, and the models know


def retell(error: DatabaseError, name: str, table: Table) -> None:
    """Let an error that speaks of the temporary table *name*, or of no table, speak of *table*."""
    kind = getattr(error, "kind", type(error))
    if error.table not in {None, name, table.name} or not issubclass(
        kind, ConstraintViolation | BadValue
    ):
        return
    own = table.name if error.table == name else error.table
    found = Details(error.constraint, own, error.columns)
    error.constraint, error.table, error.columns = _completed(found, kind, table)


def _completed(found: Details, kind: type[DatabaseError], table: Table | None) -> Details:
    """Add to a constraint's name its table and columns, or the name to the columns.

    Only what the models confirm: a trigger may have changed another table.
    """
    if table is None or not (found.constraint or found.columns):
        return found
    if not set(found.columns) <= {column.name for column in table.columns}:
        return found
    for name, columns in _constraints(table, kind):
        if found.constraint in {None, name} and set(found.columns) in (set(), columns):
            ordered = tuple(c.name for c in table.columns if c.name in columns)
            return Details(name, table.name, found.columns or ordered)
    return found._replace(table=table.name) if found.columns else found


def _table(name: str | None, context: ExceptionContext) -> Table | None:
    """Return the model's table of that name, by default the one that the statement changes."""
    compiled = getattr(context.execution_context, "compiled", None)
    table = getattr(getattr(compiled, "statement", None), "table", None)
    if not isinstance(table, Table):
        return None
    others = (t for t in table.metadata.tables.values() if t.name == name)
    return table if name in {None, table.name} else next(others, None)


def _constraints(table: Table, kind: type[DatabaseError]) -> Iterator[tuple[str | None, set[str]]]:
    """Yield name and columns of those constraints of a table that *kind* may speak of, of the
    primary key also under the names that servers give it."""
    kinds = CONSTRAINTS.get(kind, ())
    items: list[Any] = [c for c in (*table.constraints, *table.indexes) if isinstance(c, kinds)]
    for item in items:
        if isinstance(item, Index) and not item.unique:
            continue
        columns = {column.name for column in getattr(item, "columns", ())}
        name = str(item.name) if isinstance(item.name, str) else None
        is_key = isinstance(item, PrimaryKeyConstraint)
        usual = ("PRIMARY", f"{table.name}_pkey") if is_key else ()
        yield from ((known, columns) for known in (name, *usual))
