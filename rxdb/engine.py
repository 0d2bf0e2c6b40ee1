"""Build engines and keep them: one for each database, and for asynchronous work one per loop.

The application's options win over the dialect's, the dialect's over SQLAlchemy's.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import os
import re
import weakref
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import sqlalchemy
from sqlalchemy import URL, Engine, QueuePool, event

from rxdb import config, failures, observing
from rxdb.config import Config, DBConfig
from rxdb.dialect import Feature, Target, is_secret, take
from rxdb.errors import BadConfig, FolderMissing, NoEventLoop, ReadOnly, suggest
from rxdb.pool import AsyncFairPool, FairPool, PoolStatus, status
from rxdb.url import parse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from sqlalchemy.engine import Dialect as SQLAlchemyDialect
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState

    from rxdb.pool import Limit


class StandIn(Protocol):
    """What finds an engine instead of one of rxdb's own."""

    def __call__(self, target: Target, *, is_async: bool) -> Engine | AsyncEngine | None: ...


QUERY = re.compile(r"\s*(SELECT|SHOW|EXPLAIN|DESCRIBE)\b(?!.*\bINTO\b)", re.IGNORECASE | re.DOTALL)
"""What a server that cannot refuse to write itself is asked by a read-only session."""

MOST_ANSWERS = 256
"""How many URLs, folders and environments are remembered."""

AUTOCOMMIT = "AUTOCOMMIT"
"""SQLAlchemy's word for a connection on which each statement is a transaction of its own."""

SNAPSHOT = "rxdb_snapshot"
"""What the record of a connection is marked with while it holds a snapshot."""

UNKNOWN_OPTION = re.compile(r"Invalid argument\(s\) '(\w+)'")
DOCUMENTED_OPTION = re.compile(r":param (\w+)")
"""In SQLAlchemy's sentence about what ``create_engine`` does not take, and in its docstring."""

URLLike = str | URL | DBConfig

Made = TypeVar("Made", Engine, "AsyncEngine")


@dataclass
class _Kept:
    """The engines of one process, or the asynchronous ones of one event loop."""

    sync: dict[object, Engine] = field(default_factory=dict)
    answers: dict[object, tuple[Engine, Config]] = field(default_factory=dict)
    """What :func:`look_up` found. To parse, complete and hash a URL takes 60 us each time, which is
    twenty times what a session takes to be made. The current folder is part of a question only
    where it matters: the system needs as long to tell it as all the rest of a look-up takes."""
    limits: dict[object, Limit] = field(default_factory=dict)
    loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    lock: Lock = field(default_factory=Lock)
    stand_in: StandIn | None = None


@dataclass
class _Loop:
    """The engines of one event loop, and what ends them with it."""

    engines: dict[object, AsyncEngine] = field(default_factory=dict)
    limits: dict[object, Limit] = field(default_factory=dict)
    keeper: AsyncGenerator[None] | None = None


_kept = _Kept()


def get_engine(
    url: URLLike | None = None, *, read_only: bool = False, create: bool = False
) -> Engine:
    """Return the engine of a database; the same one each time, from any thread.

    Without *url* it is the configured database (see :func:`rxdb.config.database`). *read_only*
    asks for an engine on which the server refuses to write, and where each statement is its own
    transaction. *create* makes the missing folder of a database file.

    Raises what :func:`rxdb.parse` raises, and :class:`rxdb.errors.FolderMissing`.
    """
    return look_up(url, read_only=read_only, create=create)[0]


def look_up(url: URLLike | None, *, read_only: bool, create: bool = False) -> tuple[Engine, Config]:
    """Return what :func:`get_engine` does, and the configuration that applies."""
    question: object = None
    if url is None or isinstance(url, str):
        question = (url, read_only, config.fingerprint())
        if (answer := _kept.answers.get(question)) is not None:
            return answer
        here = (question, config.current_folder())
        if (answer := _kept.answers.get(here)) is not None:
            return answer
        question = question if _is_the_same_everywhere(url) else here
    target = find_target(url, read_only=read_only)
    key = _key(target)
    with _kept.lock:
        engine: Any = _kept.stand_in(target, is_async=False) if _kept.stand_in else None
        if engine is None:
            if key not in _kept.sync:
                ensure_folder(target, create=create)
                _kept.sync[key] = _within(_kept.limits, build, target)
            engine = _kept.sync[key]
        answer = engine, config.get_config()
        if question is not None:
            if len(_kept.answers) >= MOST_ANSWERS:
                _kept.answers.clear()
            _kept.answers[question] = answer
        return answer


def get_async_engine(
    url: URLLike | None = None,
    *,
    read_only: bool = False,
    create: bool = False,
) -> AsyncEngine:
    """Return the asynchronous engine of a database that belongs to the running event loop.

    It is disposed when the loop ends (``asyncio.run`` and every runner that ends a loop's
    asynchronous generators). The arguments and errors are those of
    :func:`get_engine`, and :class:`rxdb.errors.NoEventLoop`.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if loop is None:
        raise NoEventLoop.of()
    target = find_target(url, is_async=True, read_only=read_only)
    other: Any = _kept.stand_in(target, is_async=True) if _kept.stand_in else None
    if other is not None:
        return other  # type: ignore[no-any-return] # an asynchronous one was asked for
    key = _key(target)
    if (kept := _kept.loops.get(loop)) is not None and key in kept.engines:
        return kept.engines[key]
    ensure_folder(target, create=create)
    if kept is None:
        _end_left_behind()
        with _kept.lock:
            kept = _kept.loops.setdefault(loop, _Loop())
        kept.keeper = _dispose_with_loop(kept)
        with suppress(StopIteration):
            kept.keeper.asend(None).send(None)  # to its yield; the loop now knows of it
    engine = _within(kept.limits, build_async, target)
    kept.engines[key] = engine
    return engine


def stand_in(find: StandIn | None) -> None:
    """Ask *find* for the engine of each target, ordinary or asynchronous, before one of rxdb's own
    is used; it returns None for those that it does not know. None ends that.

    :mod:`rxdb.testing` lets all sessions of a test use one connection this way.
    """
    with _kept.lock:
        _kept.stand_in = find
        _kept.answers.clear()


def dispose() -> None:
    """Close the pooled connections of every engine that rxdb keeps, and forget the engines.

    Those of a running event loop are ended by :func:`adispose` or with their loop. Those that a
    closed one has left behind are ended here.
    """
    with _kept.lock:
        engines = list(_kept.sync.values())
        _kept.sync.clear()
        _kept.answers.clear()
        _kept.limits.clear()
    for engine in engines:
        engine.dispose()
    _end_left_behind()


async def adispose() -> None:
    """Close the pooled connections of the running event loop's engines, and forget them."""
    kept = _kept.loops.pop(asyncio.get_running_loop(), None)
    if kept is not None and kept.keeper is not None:
        await kept.keeper.aclose()


def pool_status(url: URLLike | None = None) -> PoolStatus:
    """Return how the connections of a database are used, in this process.

    Without *url* it is the configured database. Within an event loop the connections of its
    asynchronous engines count as well. Engines that were not used yet, and those whose pool the
    application chose, count nothing.

    Raises what :func:`rxdb.parse` raises.
    """
    try:
        kept = _kept.loops.get(asyncio.get_running_loop())
    except RuntimeError:
        kept = None
    found: list[Engine | AsyncEngine | None] = []
    for is_async, engines in ((False, _kept.sync), (True, kept.engines if kept else {})):
        if engines:
            target = find_target(url, is_async=is_async)
            keys = [_key(replace(target, read_only=read_only)) for read_only in (False, True)]
            found += [engines.get(key) for key in keys]
    pools = [engine.pool for engine in found if engine is not None]
    return status(pool for pool in pools if isinstance(pool, FairPool))


def build(target: Target, **options: Any) -> Engine:
    """Create the engine for *target*; *options* win over what the dialect asks for."""
    url, arguments = _arguments(target, options)
    try:
        engine = sqlalchemy.create_engine(url, **arguments)  # by name: instrumentation replaces it
    except TypeError as error:
        _refuse_unknown_option(error)
        raise
    _prepare(engine, target, options)
    return engine


def build_async(target: Target, **options: Any) -> AsyncEngine:
    """Create the asynchronous engine for *target*; *options* win over what the dialect asks for."""
    from sqlalchemy.ext import asyncio as sa_asyncio  # noqa: PLC0415 - needs greenlet

    url, arguments = _arguments(target, options, is_async=True)
    try:
        engine = sa_asyncio.create_async_engine(url, **arguments)
    except TypeError as error:
        _refuse_unknown_option(error)
        raise
    _prepare(engine.sync_engine, target, options)
    return engine


def _refuse_unknown_option(error: TypeError) -> None:
    """Say which option was probably meant: SQLAlchemy documents all, and names the wrong one."""
    found = UNKNOWN_OPTION.match(str(error))
    known = DOCUMENTED_OPTION.findall(sqlalchemy.create_engine.__doc__ or "")
    if found and found[1] not in known:
        raise BadConfig(
            f"Config.engine_options: SQLAlchemy has no option {found[1]!r}. "
            f"{suggest(found[1], known)}"
        ) from error


def find_target(
    url: URLLike | None = None, *, is_async: bool = False, read_only: bool = False
) -> Target:
    """Return the target of *url*, or of the configured database."""
    target = _find(url, is_async=is_async, folder=config.folder())
    return replace(target, read_only=True) if read_only else target


def _find(url: URLLike | None, *, is_async: bool, folder: Path) -> Target:
    given = config.database(is_async=is_async) if url is None else None
    settings = config.get_config()
    wanted = given.url if given else url
    if not isinstance(wanted, str | URL | DBConfig):
        parse(wanted)  # type: ignore[arg-type]  # raises, with a sentence
    return _parse(wanted, is_async, folder, settings.app_name, settings.durability)


def _is_the_same_everywhere(url: str | None) -> bool:
    """Whether *url* means the same database in each folder: ``rxconfig.py`` is not asked, and no
    path is relative."""
    if not config.is_set():
        return False
    own = config.get_config().folder
    if own is not None and own.is_absolute():
        return True
    here = config.folder()
    found, elsewhere = (_find(url, is_async=False, folder=f) for f in (here, here / "elsewhere"))
    return found == elsewhere


@lru_cache(maxsize=256)
def _parse(url: Any, is_async: bool, folder: Path, name: str, durability: str) -> Target:
    """Parse a URL once; the server is told *name*, the application that connects."""
    target = replace(parse(url, is_async, folder=folder), durability=durability)
    if not name or "application_name" not in target.dialect.options:
        return target
    named = {"application_name": name, **target.url.query}
    return replace(target, url=target.url.set(query=named))


def _key(target: Target) -> object:
    """Return what makes two targets one database for one use."""
    return (target.url, target.url.password, target.password, target.read_only)


def _within(limits: dict[object, Limit], build: Callable[..., Made], target: Target) -> Made:
    """Build an engine that shares its limit with the other one of the same database.

    Where one connection writes at a time, the others that are to write wait for it with a
    connection in their hands. They must not take those of the readers.
    """
    options = _application_options()
    if Feature.CONCURRENT_WRITES not in target.dialect.features:
        return build(target, **options)
    key = _key(replace(target, read_only=False))
    made = build(target, **({"limit": limits[key]} if key in limits else {}), **options)
    pool = made.pool
    if isinstance(pool, FairPool):
        limits.setdefault(key, pool.shared)
    return made


def _application_options() -> dict[str, Any]:
    return {**config.engine_options(), **config.get_config().engine_options}


def ensure_folder(target: Target, *, create: bool = False) -> None:
    """Raise :class:`rxdb.errors.FolderMissing` where a database file has no folder to be made in;
    *create* makes it."""
    file = target.dialect.file(target.url)
    if not file or Path(file).parent.is_dir():
        return
    if not create:
        raise FolderMissing.of(file)
    Path(file).parent.mkdir(parents=True, exist_ok=True)


def _arguments(
    target: Target, options: dict[str, Any], *, is_async: bool = False
) -> tuple[URL, dict[str, Any]]:
    """Return what ``create_engine`` gets; connect arguments of both sides are merged.

    The pool is rxdb's where the application names none and SQLAlchemy would use its QueuePool.
    """
    url, connect_args = target.dialect.translate(target)
    url, secrets = take(url, [option for option in url.query if is_secret(option)])
    defaults = target.dialect.engine_options(target)
    own = options.get("connect_args", {})
    merged = {**connect_args, **secrets, **defaults.get("connect_args", {}), **own}
    arguments = {**defaults, **options, **_fresh_reads(target), "connect_args": merged}
    limit = arguments.pop("limit", None)
    default: Any = url.get_dialect(is_async)
    usual = arguments.get("poolclass") or default.get_pool_class(url)
    if "pool" in options or "poolclass" in options or not issubclass(usual, QueuePool):
        return url, arguments
    pool = {
        "poolclass": AsyncFairPool if is_async else FairPool,
        "test_idle": "pool_pre_ping" not in options,
        **({"limit": limit} if limit else {}),
    }
    # What was used last is cached best.
    return url, {"pool_use_lifo": True, **arguments, **pool}


def _fresh_reads(target: Target) -> dict[str, Any]:
    """Let each statement of a read-only engine be a transaction of its own: one round trip."""
    if not target.read_only or Feature.FRESH_READS not in target.dialect.features:
        return {}
    if target.dialect.is_pooled(target):
        return {}
    return {"isolation_level": AUTOCOMMIT}


def _prepare(engine: Engine, target: Target, options: dict[str, Any]) -> None:
    if target.password is not None:
        _ask_for_password(engine, target.password)  # before a dialect's own do_connect
    target.dialect.keep_meaning(engine.dialect, target.url)
    target.dialect.prepare(engine, target)
    failures.attach(engine, target)
    observing.attach(engine, target, config.get_config())
    if target.read_only and Feature.READ_ONLY not in target.dialect.features:
        refuse_to_write(engine)
    if _fresh_reads(target):
        _spare_the_rollback(engine)
        if target.dialect.begin_snapshot:
            _end_snapshots(engine)


def _ask_for_password(engine: Engine, ask: Callable[[], str]) -> None:
    """Ask for the password at each new connection."""

    @event.listens_for(engine, "do_connect")
    def add(
        dialect: SQLAlchemyDialect, record: object, cargs: list[Any], cparams: dict[str, Any]
    ) -> None:
        _, without = dialect.create_connect_args(engine.url)
        cargs[:], args = dialect.create_connect_args(engine.url.set(password=ask()))
        cparams.update({name: args[name] for name in args.keys() - without.keys()})


def _spare_the_rollback(engine: Engine) -> None:
    """End no transaction where there is none: it takes MySQL's drivers two round trips.

    There is one after all where an isolation level was asked for. SQLAlchemy has
    ``skip_autocommit_rollback`` for this, from 2.0.43 on. And set no savepoint: servers refuse it
    there, or forget it at once, and there is nothing that it could take back.
    """
    dialect: Any = engine.dialect  # this engine's own
    set_level = dialect.set_isolation_level
    in_transactions: set[int] = set()
    """The driver's connections; a new one, which may be at the same place, is taken out first."""

    def set_isolation_level(connection: object, level: str) -> None:
        if level == AUTOCOMMIT:
            set_level(connection, level)
            in_transactions.discard(id(connection))
        else:
            in_transactions.add(id(connection))
            set_level(connection, level)

    def has_begun(connection: Any) -> bool:
        return bool(in_transactions) and id(connection.dbapi_connection) in in_transactions

    def where_one_began(end: Callable[[Any], None]) -> Callable[[Any], None]:
        return lambda connection: end(connection) if has_begun(connection) else None

    def within_one(mark: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
        def mark_it(connection: Any, name: str) -> None:
            if connection.info.get(SNAPSHOT) or has_begun(connection.connection):
                mark(connection, name)

        return mark_it

    dialect.set_isolation_level = set_isolation_level
    for name in ("do_commit", "do_rollback"):
        setattr(dialect, name, where_one_began(getattr(dialect, name)))
    for name in ("do_savepoint", "do_rollback_to_savepoint", "do_release_savepoint"):
        setattr(dialect, name, within_one(getattr(dialect, name)))


def _end_snapshots(engine: Engine) -> None:
    """End the transaction of a snapshot when its connection goes back to the pool."""

    @event.listens_for(engine, "reset")
    def end(connection: Any, record: ConnectionPoolEntry, state: PoolResetState) -> None:
        if record.info.pop(SNAPSHOT, False) and state.asyncio_safe:
            cursor = connection.cursor()
            cursor.execute("ROLLBACK")
            cursor.close()


def refuse_to_write(engine: Engine) -> None:
    """Let only queries through, where the server itself would let every statement through."""

    @event.listens_for(engine, "before_cursor_execute")
    def refuse(
        connection: object, cursor: object, statement: str, parameters: object, *_: object
    ) -> None:
        if not QUERY.match(statement):
            raise ReadOnly.of(" ".join(statement.split()[:3]))


async def _dispose_with_loop(kept: _Loop) -> AsyncGenerator[None]:
    """Wait for the end of the loop, which closes its asynchronous generators, then dispose."""
    try:
        yield
    finally:
        engines = list(kept.engines.values())
        kept.engines.clear()
        kept.limits.clear()
        for engine in engines:
            await engine.dispose()


def _end_left_behind() -> None:
    """End the connections of loops that were closed, but not their asynchronous generators.

    A loop is not freed either, for its connections know it. The connections are closed in a new
    one: aiosqlite's thread serves any. A socket whose loop is closed cannot say good-bye; it is
    closed when it is freed.
    """
    with _kept.lock:
        closed = [_kept.loops.pop(loop) for loop in list(_kept.loops) if loop.is_closed()]
    engines = [engine.sync_engine for kept in closed for engine in kept.engines.values()]
    if not engines:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        _run(_terminate(engines))
    else:
        thread = Thread(target=_run, args=(_terminate(engines),))
        thread.start()
        thread.join()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Do what ``asyncio.run`` does, but leave the current event loop of the thread alone."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


async def _terminate(engines: list[Engine]) -> None:
    from sqlalchemy.util import greenlet_spawn  # noqa: PLC0415 - needs greenlet

    for engine in engines:
        idle = engine.pool.idle if isinstance(engine.pool, FairPool) else ()
        for connection in [record.dbapi_connection for record in idle]:
            with suppress(Exception):  # it may be broken by now
                await greenlet_spawn(engine.dialect.do_terminate, connection)
        engine.dispose(close=False)


def _forget_after_fork() -> None:
    """Leave the parent's sockets to the parent: a child begins with empty pools.

    The inherited connections are kept for ever. mysqlclient says good-bye to the server when a
    connection object goes, at the latest when the child ends, and the server then ends the
    parent's connection.
    """
    global _kept  # a new lock too: the parent may hold the old one for ever
    inherited, _kept = _kept, _Kept()
    loops = [
        engine.sync_engine for loop in inherited.loops.values() for engine in loop.engines.values()
    ]
    engines = [*inherited.sync.values(), *loops]
    pools = [engine.pool for engine in engines]
    for pool in pools:
        if isinstance(pool, FairPool):
            pool.shared.forget()
    if pools:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(pools))
    for engine in engines:
        engine.dispose(close=False)


atexit.register(dispose)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
