"""Run a function in a transaction, and run it again where the database asks for that.

The function gets a fresh session each time. It must be safe to run it again: what it does beside
the database belongs into :func:`on_commit`.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from sqlalchemy import event, select
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError
from sqlalchemy.util.concurrency import in_greenlet
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from rxdb.dialect import Feature, Limits
from rxdb.engine import URLLike, find_target
from rxdb.errors import (
    BadArgument,
    CommitUnknown,
    ConnectionLost,
    DatabaseError,
    Deadlock,
    LockTimeout,
    OwnLock,
    ReadOnly,
    SerializationFailure,
)
from rxdb.failures import ROLLED_BACK, watch
from rxdb.sessions import asession, session

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from sqlalchemy import Connection
    from sqlalchemy.orm import SessionTransaction
    from sqlmodel import Session
    from sqlmodel.ext.asyncio.session import AsyncSession

    from rxdb.dialect import Dialect, Target

Given = ParamSpec("Given")
Result = TypeVar("Result")

ATTEMPTS = 10
TIMEOUT = 30.0
"""Seconds, and how often: enough for a server that restarts or a standby that takes over, which
took 0.3 to 7 s where it was measured."""

LEVELS = ("READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SNAPSHOT", "SERIALIZABLE")
"""Weakest first. A database may give a stronger one than it is asked for (SQL standard, part 2,
4.35)."""

AFTER_A_CONFLICT = wait_random_exponential(multiplier=0.02, max=1.0)
AFTER_A_LOSS = wait_random_exponential(multiplier=0.1, max=5.0)
"""Seconds before the next try: at random between 0 and a bound that doubles (full jitter), so that
those who met do not meet again. A server that is away needs longer than a lock."""


@dataclass(kw_only=True)
class _Options:
    """What :func:`transaction` was asked for."""

    url: URLLike | None
    attempts: int
    timeout: float
    read_only: bool
    isolation_level: str | None
    limits: Limits

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or self.attempts < 1:
            raise BadArgument(f"attempts={self.attempts!r} is not a number from 1 on.")
        if not isinstance(self.timeout, int | float) or not self.timeout > 0:
            raise BadArgument(f"timeout={self.timeout!r} is no number of seconds above 0.")
        if self.isolation_level is None:
            return
        level = str(self.isolation_level).replace("_", " ").upper()  # as SQLAlchemy reads it
        if level == "AUTOCOMMIT":
            raise BadArgument(
                "A transaction cannot have isolation_level='AUTOCOMMIT', in which each statement "
                "is stored by itself. Use rx.session() and session.connection() for that."
            )
        if level not in LEVELS:
            raise BadArgument(
                f"isolation_level={self.isolation_level!r} is none of {', '.join(LEVELS)}."
            )
        self.isolation_level = level

    def of_session(self, dialect: Dialect) -> dict[str, Any]:
        """Return the arguments of :func:`rxdb.session`."""
        names = ("statement_timeout", "lock_timeout")
        limits = {n: v for n, v in zip(names, self.limits, strict=True) if v is not None}
        level = self.isolation_level
        if self.read_only and dialect.isolation and level not in {None, *LEVELS[:2]}:
            limits["snapshot"] = True  # a reader there has no transaction otherwise
        return {"read_only": self.read_only, **limits}

    def of_connection(self, dialect: Dialect, given: Session) -> dict[str, Any]:
        """Return the execution options of the connection of a session."""
        level, bind = self.isolation_level, given.bind
        if level is None or bind is None:
            return {}
        enough = LEVELS[LEVELS.index(level) :]
        if dialect.isolation in enough:
            return {}
        own: Any = bind.dialect  # its drivers know some levels, and not always the same
        known = () if dialect.isolation else own.get_isolation_level_values(None)
        found = next((one for one in enough if one in known), None)
        if found is None:
            raise BadArgument(
                f"{dialect.title} has no isolation_level={level!r}, and none that is stronger."
            )
        return {"isolation_level": found}


@dataclass
class _Hook:
    """What :func:`on_commit` was given."""

    function: Callable[[], Any]
    savepoint: SessionTransaction | None
    """The innermost savepoint that it depends on."""


@dataclass(kw_only=True)
class _Running:
    """One try of an outermost transaction."""

    session: Any
    transaction: SessionTransaction
    options: _Options
    target: Target
    owner: tuple[object, ...]
    """The thread and the task that it belongs to: those that it starts inherit the variable."""
    is_async: bool
    hooks: list[_Hook] = field(default_factory=list)
    follows_savepoints: bool = False
    is_guarded: bool = True
    errors: list[DatabaseError] = field(default_factory=list)
    """What the database refused, whether the function let it through or not."""
    doomed: BaseException | None = None
    """What a nested call raised that could not be rolled back alone."""

    @property
    def has_savepoints(self) -> bool:
        """Whether a nested call can be rolled back alone."""
        return Feature.SAVEPOINTS in self.target.dialect.features

    def failure(self) -> BaseException | None:
        """Return the error after which nothing may be stored, even if the function went on."""
        return self.doomed or next((e for e in self.errors if isinstance(e, ROLLED_BACK)), None)

    def before(self, error: SQLAlchemyError, transaction: SessionTransaction) -> Any:
        """Return the error that the function caught, where *error* only says that there was one."""
        if isinstance(error, InvalidRequestError) and not transaction.is_active:
            # With a flush that fails SQLAlchemy rolls back. What it keeps has no public name.
            return getattr(transaction, "_rollback_exception", None)
        if not self._follows(error):
            return None
        return next((e for e in reversed(self.errors) if not self._follows(e)), None)

    def _follows(self, error: BaseException) -> bool:
        dialect, orig = self.target.dialect, getattr(error, "orig", None)
        return orig is not None and dialect.error_code(orig) in dialect.aborted


_running: ContextVar[_Running | None] = ContextVar("rxdb_transaction", default=None)


class _Decorator(Protocol):
    """What a function becomes: the same without its session."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[AsyncSession, Given], Coroutine[Any, Any, Result]], /
    ) -> Callable[Given, Coroutine[Any, Any, Result]]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[Session, Given], Result], /
    ) -> Callable[Given, Result]: ...

    @overload  # a method, whose session is not its first parameter
    def __call__(self, function: Callable[..., Result], /) -> Callable[..., Result]: ...


@overload
def transaction(
    function: Callable[Concatenate[AsyncSession, Given], Coroutine[Any, Any, Result]], /
) -> Callable[Given, Coroutine[Any, Any, Result]]: ...


@overload
def transaction(
    function: Callable[Concatenate[Session, Given], Result], /
) -> Callable[Given, Result]: ...


@overload
def transaction(function: Callable[..., Result], /) -> Callable[..., Result]: ...


@overload
def transaction(
    *,
    url: URLLike | None = None,
    attempts: int = ATTEMPTS,
    timeout: float = TIMEOUT,
    read_only: bool = False,
    isolation_level: str | None = None,
    statement_timeout: float | None = None,
    lock_timeout: float | None = None,
) -> _Decorator: ...


def transaction(
    function: Callable[..., Any] | None = None,
    /,
    *,
    url: URLLike | None = None,
    attempts: int = ATTEMPTS,
    timeout: float = TIMEOUT,
    read_only: bool = False,
    isolation_level: str | None = None,
    statement_timeout: float | None = None,
    lock_timeout: float | None = None,
) -> Any:
    """Make a function run in a transaction: ``@rx.transaction`` above ``def move(session, a, b)``.

    The function is then called without its session, ``move(a, b)``. It gets a fresh one each time
    it is run, an :func:`rxdb.asession` if it is an ``async def``; as the parameter that is called
    ``session``, or else the first. What it returns is returned after COMMIT; what it raises rolls
    everything back. To run a function once, call what is returned at once:
    ``rx.transaction(function)(a, b)``.

    It is run again, with a pause, after a deadlock, a conflict, a lock that was not free in time,
    and a connection that was lost before COMMIT: at most *attempts* times, and not when *timeout*
    seconds are over before the next try. The last error is raised then. A connection that is lost
    during COMMIT is :class:`rxdb.errors.CommitUnknown`, and nothing is run again.

    Called inside of another one on the same database, in the same thread and task, it is a
    savepoint of that. Only the outermost is run again, and its options count.

    *url*, *read_only*, *statement_timeout* and *lock_timeout* are those of :func:`rxdb.session`;
    *isolation_level* is such as ``"SERIALIZABLE"``; a database that does not have it gives the
    next stronger one.

    Raises :class:`rxdb.errors.BadArgument` for what makes no sense.
    """
    options = _Options(
        url=url,
        attempts=attempts,
        timeout=timeout,
        read_only=read_only,
        isolation_level=isolation_level,
        limits=Limits(statement_timeout, lock_timeout),
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        return _decorated(function, options)

    return decorate if function is None else decorate(function)


def on_commit(function: Callable[[], Any]) -> None:
    """Call *function* once after the transaction around this call is committed.

    It is forgotten when that transaction, or the savepoint around this call, is rolled back.
    Functions are called in the order in which they were given, outside of the transaction. In an
    asynchronous transaction they may be ``async def``. One that raises undoes nothing: the others
    are called, and its error is raised then.

    Raises :class:`rxdb.errors.BadArgument` outside of :func:`transaction`.
    """
    running = _mine()
    if running is None:
        raise BadArgument(
            "rx.on_commit() belongs into a function that rx.transaction runs, in its own thread "
            "and task: there is no transaction here."
        )
    if not running.is_async and inspect.iscoroutinefunction(function):
        raise BadArgument("This transaction is not asynchronous, so rx.on_commit() needs a `def`.")
    savepoint = _sync(running).get_nested_transaction()
    if savepoint is not None and not running.follows_savepoints:
        _follow_savepoints(running)
    running.hooks.append(_Hook(function, savepoint))


def _follow_savepoints(now: _Running) -> None:
    """Hand the hooks of a savepoint that is released on to what is around it, and forget those of
    one that ends in another way. Only where there is such a hook: listeners take time."""
    now.follows_savepoints = True
    session = _sync(now)

    @event.listens_for(session, "after_commit")
    def keep(session: Session) -> None:
        released = session.get_nested_transaction()
        if released is None:
            return
        around = released.parent
        while around is not None and not around.nested:
            around = around.parent
        for hook in now.hooks:
            if hook.savepoint is released:
                hook.savepoint = around

    @event.listens_for(session, "after_transaction_end")
    def forget(session: Session, transaction: SessionTransaction) -> None:
        if transaction.nested:
            now.hooks[:] = [hook for hook in now.hooks if hook.savepoint is not transaction]


# Calls


def _decorated(function: Callable[..., Any], options: _Options) -> Callable[..., Any]:
    name, place, signature = _place(function)

    def insert(given: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if place is None or len(arguments) < place:  # or what stands before it was given by name
            return function(*arguments, **{**named, name: given})
        return function(*arguments[:place], given, *arguments[place:], **named)

    others = [p for p in signature.parameters.values() if p.name != name]
    run: Callable[..., Any]

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def run_async(*arguments: Any, **named: Any) -> Any:
            return await _run_async(lambda given: insert(given, arguments, named), options)

        run = run_async
    else:

        @wraps(function)
        def run_sync(*arguments: Any, **named: Any) -> Any:
            return _run(lambda given: insert(given, arguments, named), options)

        run = run_sync
    own: Any = run
    own.__signature__ = signature.replace(parameters=others)
    return run


def _place(function: Callable[..., Any]) -> tuple[str, int | None, inspect.Signature]:
    """Return the parameter for the session, and where it is; None where it has to be named."""
    shown = getattr(function, "__qualname__", repr(function))
    if not callable(function):
        raise BadArgument(f"rx.transaction decorates a function, not {function!r}.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise BadArgument(
            f"{shown} is a generator: what was yielded cannot be taken back. Return a list."
        )
    signature = inspect.signature(function)
    names = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    ]
    own = signature.parameters.get("session")
    if own is not None and own.kind is own.KEYWORD_ONLY:
        return own.name, None, signature
    if not names:
        raise BadArgument(f"{shown} takes no session. Write: def {shown}(session):")
    name = "session" if "session" in names else names[0]
    return name, names.index(name), signature


def _run(call: Callable[[Any], Any], options: _Options) -> Any:
    outer = _outer(options, is_async=False)
    if outer is not None:
        return _run_inside(call, outer)
    target = find_target(options.url, read_only=options.read_only)
    of_session = options.of_session(target.dialect)
    hooks: list[Callable[[], Any]] = []

    def attempt() -> Any:
        with (
            session(options.url, **of_session) as given,
            _begun(given, options, target) as now,
        ):
            if chosen := options.of_connection(target.dialect, given):
                given.connection(execution_options=chosen)
            result = _checked(call(given))
            _finish(given, now, hooks)
        return result

    again = _Again(options, target)
    with again.told():
        result: Any = Retrying(**again.policy())(attempt)
    _raise_all([_caught(hook) for hook in hooks])
    return result


async def _run_async(call: Callable[[Any], Any], options: _Options) -> Any:
    outer = _outer(options, is_async=True)
    if outer is not None:
        return await _run_inside_async(call, outer)
    target = find_target(options.url, is_async=True, read_only=options.read_only)
    of_session = options.of_session(target.dialect)
    hooks: list[Callable[[], Any]] = []

    async def attempt() -> Any:
        async with asession(options.url, **of_session) as given:
            with _begun(given, options, target) as now:
                if chosen := options.of_connection(target.dialect, given.sync_session):
                    await given.connection(execution_options=chosen)
                result = await call(given)
                await given.run_sync(lambda _: _finish(given.sync_session, now, hooks))
        return result

    again = _Again(options, target)
    cancelled: asyncio.CancelledError | None = None
    result: Any = None
    try:
        with again.told():
            result = await AsyncRetrying(**again.policy())(attempt)
    except asyncio.CancelledError as error:  # there are hooks if it came after COMMIT
        cancelled = error
    _raise_all([cancelled, *[await _acaught(hook) for hook in hooks]])
    return result


@contextmanager
def _begun(given: Any, options: _Options, target: Target) -> Iterator[_Running]:
    """Let nested calls and hooks find this try of a transaction while its function runs."""
    sync: Session = getattr(given, "sync_session", given)
    now = _Running(
        session=given,
        transaction=sync.begin(),
        options=options,
        target=target,
        owner=_owner(),
        is_async=sync is not given,
    )

    @event.listens_for(sync, "after_begin")
    def note(session: Session, transaction: object, connection: Connection) -> None:
        watch(connection, now.errors)
        own: Any = connection
        own.commit = own.rollback = _refuse

    sync.expire_on_commit = False  # the session ends with COMMIT, and results outlive it
    _guard(sync, now.transaction)
    token = _running.set(now)
    try:
        with _told_first(now, now.transaction):
            yield now
    finally:
        _running.reset(token)
        now.errors.clear()  # they hold the connection, which holds this list
        _let_go(sync, now)


@contextmanager
def _told_first(now: _Running, transaction: SessionTransaction) -> Iterator[None]:
    """Raise the error that came first, where another one only follows from it.

    What follows a transaction that was rolled back is no error of its own: a savepoint that is
    gone, or a session that waits for its rollback.
    """
    try:
        yield
    except SQLAlchemyError as error:
        failure = now.failure()
        caught = now.before(error, transaction) if failure is None else None
        if caught is not None:
            caught.add_note(
                "The function went on after this error, and nothing is stored of what it did."
            )
        first = failure or caught
        if first is None or first is error:
            raise
        raise first from first.__cause__


def _finish(given: Session, now: _Running, hooks: list[Callable[[], Any]]) -> None:
    """Commit, unless the transaction was rolled back and the function went on.

    *hooks* are then those to be called, also when the task is cancelled while the connection goes
    back to its pool.
    """
    _settle(given, now, now.transaction)
    _let_go(given, now)
    if now.hooks:

        @event.listens_for(given, "after_commit")
        def note(session: Session) -> None:
            if not session.in_nested_transaction():
                hooks[:] = [hook.function for hook in now.hooks]

    given.commit()


def _is_doubtful(now: _Running, transaction: SessionTransaction, kept: int) -> bool:
    """Whether there was an error since there were *kept*."""
    return len(now.errors) > kept or not transaction.is_active


def _settle(given: Session, now: _Running, transaction: SessionTransaction, kept: int = 0) -> None:
    """Raise an error if nothing can be stored after one that the function caught.

    PostgreSQL answers a COMMIT after an error as if all were well, and rolls back (its manual,
    COMMIT). Only a transaction in which there was an error is asked, and one that went back to a
    savepoint is well.
    """
    failure = now.failure()
    if failure is not None:
        raise failure
    given.flush()
    if _is_doubtful(now, transaction, kept):
        given.execute(select(1))


def _guard(given: Session, transaction: SessionTransaction) -> None:
    """Refuse what ends the transaction, while its function runs.

    By attributes of these two objects: a listener of SQLAlchemy's costs more, and is not told which
    transaction is meant while a savepoint is open. SQLAlchemy itself calls none of these methods
    before the end.
    """
    own: Any
    for own in (given, transaction):
        own.commit = own.rollback = own.close = _refuse
    own = given
    own.invalidate = own.reset = _refuse
    own.begin = partial(_begin, given)


def _let_go(given: Session, now: _Running) -> None:
    if not now.is_guarded:
        return
    now.is_guarded = False
    own: Any
    for own in (given, now.transaction):
        del own.commit, own.rollback, own.close
    own = given
    del own.invalidate, own.reset, own.begin


def _refuse(*_: object, **__: object) -> None:
    raise BadArgument(
        "rx.transaction commits after the function, and it may run the function again: it cannot "
        "commit, roll back or close in between. To roll everything back, raise an error."
    )


def _begin(given: Session, nested: bool = False) -> SessionTransaction:
    """Begin savepoints only."""
    if nested:
        return type(given).begin(given, nested=True)
    raise BadArgument(
        "rx.transaction has begun the transaction, and commits after the function. For a part that "
        "can be rolled back alone, write: session.begin_nested()"
    )


# Nested calls


def _owner() -> tuple[object, ...]:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        task = None
    return threading.get_ident(), task


def _mine() -> _Running | None:
    """Return the transaction around this call, of this thread and task."""
    running = _running.get()
    return running if running is not None and running.owner == _owner() else None


def _outer(options: _Options, *, is_async: bool) -> _Running | None:
    """Return the transaction that a call belongs to: the one around it on the same database."""
    outer = _mine()
    if outer is None:
        return None
    target = find_target(options.url, is_async=outer.is_async)
    if (target.url, target.password) != (outer.target.url, outer.target.password):
        return None
    if outer.is_async != is_async and not (outer.is_async and in_greenlet()):
        kinds = ("asynchronous", "synchronous") if is_async else ("synchronous", "asynchronous")
        raise BadArgument(
            f"This {kinds[0]} transaction cannot be a part of the {kinds[1]} one around it. Write "
            f"both with `async def`, or call this one by: await session.run_sync(...)"
        )
    if outer.options.read_only and not options.read_only:
        raise ReadOnly.of("the transaction around this one was begun with read_only=True")
    level = options.isolation_level
    if level is not None and level != outer.options.isolation_level:
        raise BadArgument(
            f"isolation_level={level!r} cannot begin inside of a transaction. Ask for it at the "
            f"outermost one."
        )
    return outer


def _sync(outer: _Running) -> Session:
    """Return the session for a function that runs in the greenlet of an asynchronous one, too."""
    found: Session = getattr(outer.session, "sync_session", outer.session)
    return found


def _run_inside(call: Callable[[Any], Any], outer: _Running) -> Any:
    given, kept = _sync(outer), len(outer.errors)
    savepoint = given.begin_nested() if outer.has_savepoints else nullcontext(outer.transaction)
    with _nested(outer), savepoint as part, _told_first(outer, part):
        result = _checked(call(given))
        if _is_doubtful(outer, part, kept):
            _settle(given, outer, part, kept)
    return result


async def _run_inside_async(call: Callable[[Any], Any], outer: _Running) -> Any:
    given, kept = outer.session, len(outer.errors)
    with _nested(outer):
        async with given.begin_nested() if outer.has_savepoints else nullcontext() as savepoint:
            part = savepoint.sync_transaction if savepoint else outer.transaction
            with _told_first(outer, part):
                result = await call(given)
                if _is_doubtful(outer, part, kept):
                    await given.run_sync(_settle, outer, part, kept)
    return result


@contextmanager
def _nested(outer: _Running) -> Iterator[None]:
    """Where there are no savepoints, let an error keep the whole transaction from being stored."""
    try:
        yield
    except BaseException as error:
        if not outer.has_savepoints:
            outer.doomed = outer.doomed or error
        raise


# Again


class _Again:
    """Whether, and when, a transaction is run again."""

    def __init__(self, options: _Options, target: Target) -> None:
        self.options, self.target = options, target
        self.tries = 0
        self.started = time.monotonic()

    def policy(self) -> dict[str, Any]:
        """Return the arguments of tenacity."""
        stop = stop_after_attempt(self.options.attempts) | stop_before_delay(self.options.timeout)
        return {
            "stop": stop,
            "wait": self._pause,
            "retry": retry_if_exception(self._helps),
            "reraise": True,
        }

    @contextmanager
    def told(self) -> Iterator[None]:
        """Say in the last error how often it was tried."""
        try:
            yield
        except Exception as error:
            if self.tries > 1 and self._is_passing(error):
                seconds = time.monotonic() - self.started
                error.add_note(
                    f"rx.transaction ran it {self.tries} times in {seconds:.1f} s, each time in "
                    f"vain. Make it shorter, or allow more: attempts=, timeout="
                )
            raise

    def _helps(self, error: BaseException) -> bool:
        self.tries += 1
        return self._is_passing(error)

    def _is_passing(self, error: BaseException | None) -> bool:
        """Whether *error*, or what it was raised from, is over when the function is run again."""
        while error is not None:
            if isinstance(error, CommitUnknown):
                return self.options.read_only
            if isinstance(error, DatabaseError):
                return self._is_retryable(error)
            error = error.__cause__ if isinstance(error, Exception) else None
        return False

    def _is_retryable(self, error: DatabaseError) -> bool:
        if isinstance(error, OwnLock) or (isinstance(error, ReadOnly) and self.options.read_only):
            return False
        if isinstance(error, (ConnectionLost, Deadlock, LockTimeout, SerializationFailure)):
            return True
        orig = getattr(error, "orig", None)
        dialect = self.target.dialect
        return orig is not None and dialect.error_code(orig) in dialect.retryable

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome and state.outcome.exception()
        is_away = isinstance(error, (ConnectionLost, ReadOnly))
        return (AFTER_A_LOSS if is_away else AFTER_A_CONFLICT)(state)


# Results and hooks


def _checked(result: Any) -> Any:
    """Refuse a coroutine: it would run after the transaction."""
    if inspect.iscoroutine(result):
        result.close()
        raise BadArgument("The function returned a coroutine. Write it with `async def`.")
    return result


def _caught(hook: Callable[[], Any]) -> Exception | None:
    try:
        _checked(hook())
    except Exception as error:  # noqa: BLE001 - the others have their turn
        return error
    return None


async def _acaught(hook: Callable[[], Any]) -> Exception | asyncio.CancelledError | None:
    try:
        result = hook()
        if inspect.isawaitable(result):
            await result
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the others have their turn
        return error
    return None


def _raise_all(results: Iterable[Exception | asyncio.CancelledError | None]) -> None:
    """Raise what hooks raised; that their task was cancelled goes on in any case."""
    found = [error for error in results if error is not None]
    errors = [error for error in found if isinstance(error, Exception)]
    for error in errors:
        error.add_note("It was raised by a function of rx.on_commit: the transaction is committed.")
    several = ExceptionGroup("Functions of rx.on_commit failed", errors) if errors[1:] else None
    raised = several or next(iter(errors), None)
    cancelled = next((e for e in found if isinstance(e, asyncio.CancelledError)), None)
    if cancelled is not None:
        raise cancelled from raised
    if raised is not None:
        raise raised
