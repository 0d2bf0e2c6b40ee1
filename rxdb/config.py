"""Where the application says which database it uses: ``rxconfig.py`` and the environment."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from threading import get_ident
from types import NoneType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rxdb.errors import BadConfig, RxdbError, UnknownDialect, hide, quoted, suggest

if TYPE_CHECKING:
    from sqlalchemy import URL

FILE = "rxconfig.py"
DEFAULT_URL = "sqlite:///reflex.db"
URL_VARIABLES = ("RXDB_URL", "REFLEX_DB_URL")
"""What goes before ``db_url`` in ``rxconfig.py``, first one first."""
ASYNC_URL_VARIABLES = ("RXDB_ASYNC_URL", "REFLEX_ASYNC_DB_URL")
LAST_VARIABLE = "DATABASE_URL"
DECISIVE = (*URL_VARIABLES, *ASYNC_URL_VARIABLES, LAST_VARIABLE)
"""What hosting services set; it counts only where nothing else is said."""
KEPT = tuple(map(os.environ.encodekey, DECISIVE))
"""The same as os.environ keeps their names."""

POLICIES = ("warn", "raise", "migrate", "ignore")
"""What can be done about a database that is behind its migrations."""

DURABILITIES = ("normal", "full")
"""What a commit has to survive: a killed process, or a power failure too."""

Password = str | Callable[[], str] | None
"""A password, or what is asked for it at each new connection."""


class secret:  # noqa: N801 - a namespace that reads as rx.secret.file(...)
    """Where a password comes from when it is not written down: asked at each new connection."""

    @staticmethod
    def file(path: str | os.PathLike[str]) -> Callable[[], str]:
        """Read the password from *path*, without the line's end, at each new connection."""
        return _Provider("file", os.fspath(path))

    @staticmethod
    def env(name: str) -> Callable[[], str]:
        """Read the password from the environment variable *name* at each new connection."""
        return _Provider("env", name)


@dataclass(frozen=True)
class _Provider:
    """A place that holds a password. Two with the same place are the same."""

    kind: str
    place: str

    def __call__(self) -> str:
        if self.kind == "env":
            if self.place not in os.environ:
                raise BadConfig(
                    f"The password is to come from the environment variable {self.place}, which "
                    f"is not set. Run: export {self.place}=…"
                )
            return os.environ[self.place]
        try:
            return Path(self.place).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            reason = error.strerror
        except UnicodeError:  # not chained: it holds what was read
            reason = "it is not UTF-8 text"
        raise BadConfig(
            f"The password is to come from the file {self.place}, which cannot be read: {reason}."
        )


@dataclass(frozen=True, kw_only=True)
class DBConfig:
    """A database said in words instead of a URL, accepted wherever a URL is.

    ``password`` is a text, or a function that is asked for it at each new connection (a token
    that rotates, :meth:`secret.file`, :meth:`secret.env`). ``query`` holds connection options
    such as ``{"sslmode": "verify-full"}``. A host that begins with ``/`` is the folder of a unix
    socket.
    """

    engine: str
    database: str = ""
    username: str | None = None
    password: Password = field(default=None, repr=False)
    host: str | None = None
    port: int | None = None
    query: Mapping[str, str | int] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        """Refuse a value of another type, without repeating it."""
        for name, kinds in DBCONFIG_TYPES.items():
            if not isinstance(value := getattr(self, name), kinds):
                expected = " or ".join(k.__name__ for k in kinds).replace("NoneType", "None")
                raise BadConfig(f"DBConfig.{name} is {expected}, not a {type(value).__name__}.")

    @classmethod
    def sqlite(cls, database: str | os.PathLike[str], **options: Any) -> DBConfig:
        """Name a file, or ``:memory:``."""
        return cls(engine="sqlite", database=os.fspath(database), **options)

    @classmethod
    def postgresql(
        cls,
        database: str,
        username: str | None = None,
        password: Password = None,
        host: str | None = None,
        port: int | None = 5432,
        **options: Any,
    ) -> DBConfig:
        """Name a PostgreSQL database; rxdb chooses among the installed drivers."""
        return cls(**_server("postgresql", database, username, password, host, port, options))

    @classmethod
    def postgresql_psycopg(
        cls,
        database: str,
        username: str | None = None,
        password: Password = None,
        host: str | None = None,
        port: int | None = 5432,
        **options: Any,
    ) -> DBConfig:
        """Name a PostgreSQL database, reached through psycopg 3."""
        engine = "postgresql+psycopg"
        return cls(**_server(engine, database, username, password, host, port, options))

    @classmethod
    def mysql(
        cls,
        database: str,
        username: str | None = None,
        password: Password = None,
        host: str | None = None,
        port: int | None = 3306,
        **options: Any,
    ) -> DBConfig:
        """Name a MySQL database."""
        return cls(**_server("mysql", database, username, password, host, port, options))

    @classmethod
    def mariadb(
        cls,
        database: str,
        username: str | None = None,
        password: Password = None,
        host: str | None = None,
        port: int | None = 3306,
        **options: Any,
    ) -> DBConfig:
        """Name a MariaDB database."""
        return cls(**_server("mariadb", database, username, password, host, port, options))

    def url(self) -> URL:
        """Return the URL as a value; the password only where it is a text."""
        from sqlalchemy import URL  # noqa: PLC0415 - rxdb.config loads without SQLAlchemy

        socket = self.host if self.host and self.host.startswith("/") else None
        place = {"host": socket, "port": self.port} if socket else {}
        query = {**self.query, **{k: v for k, v in place.items() if v}}
        return URL.create(
            self.engine,
            username=self.username or None,
            password=(self.password or None) if isinstance(self.password, str) else None,
            host=None if socket else self.host or None,
            port=None if socket or not self.host else self.port,
            database=self.database or None,
            query={option: str(value) for option, value in query.items()},
        )

    def get_url(self) -> str:
        """Return the URL as a text, **with the password**, every part percent-encoded."""
        user = quote(self.username, safe="") if self.username else ""
        if isinstance(self.password, str) and self.password:
            user = f"{user}:{quote(self.password, safe='')}"
        host = self.host or ""
        if host.startswith("/"):
            host = quote(host, safe="")
        elif ":" in host and "," not in host:
            host = f"[{host}]"
        port = f":{self.port}" if host and self.port else ""
        options = "&".join(f"{k}={quote(str(v), safe='/:')}" for k, v in self.query.items())
        path = quote(self.database, safe="/:\\")
        return (
            f"{self.engine}://{user + '@' if user else ''}{host}{port}/{path}"
            f"{'?' + options if options else ''}"
        )


DBCONFIG_TYPES: Mapping[str, tuple[Any, ...]] = {
    "engine": (str,),
    "database": (str,),
    "username": (str, NoneType),
    "password": (str, Callable, NoneType),
    "host": (str, NoneType),
    "port": (int, NoneType),
    "query": (Mapping,),
}


def _server(*values: Any) -> dict[str, Any]:
    *given, options = values
    names = ("engine", "database", "username", "password", "host", "port")
    return {**dict(zip(names, given, strict=True)), **options}


@dataclass(frozen=True, kw_only=True, repr=False)
class Config:
    """What an application says about its database, in ``rxconfig.py`` as ``config = rx.Config(…)``.

    A URL is a text, a :class:`sqlalchemy.URL` or a :class:`DBConfig`.
    """

    app_name: str = ""
    """The application's package; servers show it as the name of the connection."""

    db_url: str | URL | DBConfig | None = None
    """The database."""

    async_db_url: str | URL | DBConfig | None = None
    """Another URL for asynchronous sessions; without it they use :attr:`db_url`."""

    migration_url: str | URL | DBConfig | None = None
    """Another URL for migrations, such as one that goes round a connection pooler."""

    replica_urls: Sequence[str | URL | DBConfig] = ()
    """Copies of the database that serve read-only sessions."""

    max_replica_lag: float = 10.0
    """Seconds that a replica may be behind; with more it serves no session."""

    read_your_writes: float = 0.0
    """Seconds after a commit in which the same thread or task reads from the database itself."""

    engine_options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments for :func:`sqlalchemy.create_engine`; they win over rxdb's own."""

    models: Sequence[str] = ()
    """The modules that hold the models, such as ``("shop.models",)``."""

    targets: Sequence[str | URL | DBConfig] = ()
    """The backends that every migration has to run on: names such as ``"postgresql"``, or URLs of
    throw-away databases, on which each new revision is then tried before its file is kept."""

    on_outdated_schema: str = "warn"
    """What the first session of a process does when the database is not at the newest revision:
    ``"warn"``, ``"raise"``, ``"migrate"`` or ``"ignore"``."""

    slow_statement: float | None = None
    """Seconds from which a statement is told to the logger ``rxdb.slow``; None tells of none."""

    comment_statements: bool = False
    """Whether each statement carries the application's line as a comment, for the server's own
    logs and views."""

    durability: str = "normal"
    """``"full"`` has a commit wait until it would survive a power failure, also where ``"normal"``
    may lose the last ones then (SQLite: ``synchronous=FULL`` instead of NORMAL). A server keeps to
    its own settings."""

    expire_on_commit: bool | None = None
    """Whether sessions read the attributes of an object anew after a commit. None means yes, and
    no for asynchronous sessions."""

    folder: Path | None = None
    """Where a relative path of a database file starts; None means the current folder."""

    def __post_init__(self) -> None:
        """Refuse a value that can only be a mistake."""
        self._refuse_other_types()
        if self.on_outdated_schema not in POLICIES:
            raise BadConfig(
                f"There is no on_outdated_schema={self.on_outdated_schema!r}. "
                f"{suggest(str(self.on_outdated_schema), POLICIES)}"
            )
        if self.durability not in DURABILITIES:
            raise BadConfig(
                f"There is no durability={self.durability!r}. "
                f"{suggest(str(self.durability), DURABILITIES)}"
            )
        if self.slow_statement is not None and not _is_duration(self.slow_statement):
            raise BadConfig(
                f"Config.slow_statement is a number of seconds, not {self.slow_statement!r}. "
                f"Write: slow_statement=0.5"
            )
        if not isinstance(self.engine_options, Mapping):
            raise BadConfig("Config.engine_options is a dict. Write: engine_options={'echo': True}")
        for target in self.targets:
            _check_backend(target)

    def _refuse_other_types(self) -> None:
        for name in ("replica_urls", "models", "targets"):
            if isinstance(given := getattr(self, name), str):
                shown = f'"{given}"' if name == "models" else "…"  # a URL may hold a password
                raise BadConfig(f"Config.{name} is a list. Write: {name}=[{shown}]")
        for name in ("max_replica_lag", "read_your_writes"):
            if not _is_duration(getattr(self, name)):
                raise BadConfig(f"Config.{name} is a number of seconds. Write: {name}=5")
        for name, others in (("comment_statements", ()), ("expire_on_commit", (None,))):
            if getattr(self, name) not in (True, False, *others):
                raise BadConfig(f"Config.{name} is True or False. Write: {name}=True")

    def __repr__(self) -> str:
        """Name what is set; URLs are left out, for they may hold a password."""
        shown = {"app_name": self.app_name, "models": tuple(self.models)}
        urls = [name for name in ("db_url", "async_db_url", "migration_url") if getattr(self, name)]
        hidden = dict.fromkeys([*urls, *(["replica_urls"] if self.replica_urls else [])], "***")
        hidden |= {"engine_options": "***"} if self.engine_options else {}
        parts = [f"{k}={v!r}" for k, v in shown.items() if v]
        return f"Config({', '.join([*parts, *(f'{k}={v}' for k, v in hidden.items())])})"


def _check_backend(target: str | URL | DBConfig) -> None:
    """Refuse the name of a backend that is not there; a URL is read when it is used."""
    if not isinstance(target, str) or "://" in target:
        return
    from rxdb import registry  # noqa: PLC0415 - loads the dialects, and few name any

    try:
        registry.get(target)
    except UnknownDialect as error:
        raise BadConfig(f"Config.targets: {error}") from None


@dataclass(frozen=True, kw_only=True, repr=False)
class Setting:
    """A URL that applies, and who said so."""

    url: str | URL | DBConfig
    source: str
    """Such as ``RXDB_URL``, ``db_url in /srv/shop/rxconfig.py`` or ``default``."""


_chosen: Config | None = None
_turn = 0
"""How often :func:`set_config` was called."""
_found: dict[str, Path | None] = {}
_loaded: dict[Path, Config] = {}
_loading: set[tuple[Path, int]] = set()
"""The files that are being executed, each with its thread."""


def get_config() -> Config:
    """Return the configuration of the application that the current folder is in.

    That is what :func:`set_config` was given, or else the ``config`` of the nearest
    ``rxconfig.py`` from the current folder upwards, loaded once, or else an empty one.

    Raises :class:`rxdb.errors.BadConfig` when the file cannot be used.
    """
    if _chosen is not None:
        return _chosen
    file = find()
    if file is None:
        return Config()
    if file not in _loaded:
        _loaded[file] = _load(file)
    return _loaded[file]


def set_config(config: Config | None) -> None:
    """Use *config* from now on instead of ``rxconfig.py``; None goes back to the file.

    Engines that were made before stay as they are; :func:`rxdb.dispose` ends them. Raises
    :class:`rxdb.errors.BadConfig` for what is no :class:`rxdb.Config`.
    """
    if not isinstance(config, Config | None):
        raise BadConfig(
            f"rx.set_config() takes a Config, not a {type(config).__name__}. "
            f"Write: rx.set_config(rx.Config(db_url=…))"
        )
    global _chosen, _turn  # noqa: PLW0603 - one configuration per process is what is promised
    _chosen = config
    _turn += 1
    if config is None:
        _found.clear()
        _loaded.clear()


def fingerprint() -> tuple[object, ...]:
    """Return what decides, with the current folder, which database a URL, or none, means.

    As long as both are the same, so is the database.
    """
    return _turn, _decisive()


def is_set() -> bool:
    """Whether :func:`set_config` was given a configuration: the same in each folder."""
    return _chosen is not None


def is_there() -> bool:
    """Whether the application says anything: without, the current folder may be the wrong one."""
    return is_set() or find() is not None


def _decisive() -> tuple[object, ...]:
    """Return the values of DECISIVE, as they are kept.

    To ask os.environ takes 0.7 us for each that is not set, to ask its dictionary 0.05 us.
    """
    kept = getattr(os.environ, "_data", None)
    return tuple(map(kept.get, KEPT)) if kept is not None else tuple(map(os.getenv, DECISIVE))


def find() -> Path | None:
    """Return the nearest ``rxconfig.py`` from the current folder upwards; looked for once."""
    here = current_folder()
    if here not in _found:
        folders = (Path(here), *Path(here).parents)
        _found[here] = next((f for d in folders if (f := d / FILE).is_file()), None)
    return _found[here]


def folder() -> Path:
    """Return where relative paths of database files start."""
    return get_config().folder or Path(current_folder())


def current_folder() -> str:
    """Return the current folder; raise :class:`rxdb.errors.BadConfig` where it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - cheaper than Path.cwd(), for each session
    except OSError:
        raise BadConfig("The current folder was removed. Run: cd / and start again") from None


def database(*, is_async: bool = False) -> Setting:
    """Return the URL that applies: the environment, ``rxconfig.py``, or ``sqlite:///reflex.db``.

    In order: ``RXDB_URL``, ``REFLEX_DB_URL``, ``db_url`` of the configuration, ``DATABASE_URL``,
    the default. Blank values are passed over. For asynchronous work the same order over
    ``RXDB_ASYNC_URL``, ``REFLEX_ASYNC_DB_URL`` and ``async_db_url`` goes first, but an
    ``async_db_url`` of the file is passed over when the environment names another database.
    """
    config = get_config()
    file = find() if _chosen is None else None
    origin = f"in {file}" if file else "of rx.Config"
    if is_async and (setting := _environment(ASYNC_URL_VARIABLES)):
        return setting
    if setting := _environment(URL_VARIABLES):
        return setting
    if is_async and not _blank(config.async_db_url):
        return Setting(url=config.async_db_url or "", source=f"async_db_url {origin}")
    if not _blank(config.db_url):
        return Setting(url=config.db_url or "", source=f"db_url {origin}")
    return _environment((LAST_VARIABLE,)) or Setting(url=DEFAULT_URL, source="default")


def engine_options() -> dict[str, Any]:
    """Return the options for engines that Reflex reads from the environment."""
    return {
        option: read(variable)
        for option, (variable, read) in ENVIRONMENT_OPTIONS.items()
        if os.environ.get(variable, "").strip()
    }


def _environment(names: Sequence[str]) -> Setting | None:
    for name in names:
        if value := os.environ.get(name, "").strip():
            return Setting(url=value, source=name)
    return None


def _is_duration(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and value >= 0  # type: ignore[operator]  # is_number says so


def _blank(url: object) -> bool:
    return url is None or (isinstance(url, str) and not url.strip())


def _load(file: Path) -> Config:
    """Execute *file* with its folder first on ``sys.path``, and return its ``config``.

    An error of the file is told by its place and not chained: a traceback would show the line
    of the file, and that line may hold a password.
    """
    if (here := (file, get_ident())) in _loading:
        raise BadConfig("The configuration is asked for before it is made; is a model imported?")
    _loading.add(here)
    namespace: dict[str, Any] = {"__name__": "rxconfig", "__file__": str(file)}
    sys.path.insert(0, str(file.parent))
    try:
        exec(compile(file.read_bytes(), file, "exec"), namespace)  # noqa: S102 - it is the user's
        problem = ""
    except Exception as error:  # noqa: BLE001 - whatever the user's file raises is told
        problem = _told(error, file)
    finally:
        _loading.discard(here)
        with suppress(ValueError):  # the file may have changed the list
            sys.path.remove(str(file.parent))
    if problem:
        raise BadConfig(problem)
    if (config := namespace.get("config")) is None:
        raise BadConfig(f"{file} has no config. Write: config = rx.Config(db_url=...)")
    return _from(config, file)


def _told(error: Exception, file: Path) -> str:
    """Say where the file went wrong, and why where the reason cannot quote a password."""
    if isinstance(error, SyntaxError):
        return f"{error.filename or file}, line {error.lineno or 1}: {error.msg}."
    calls = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in calls if frame.f_code.co_filename == str(file)]
    place = f"{file}, line {lines[-1]}" if lines else f"{file}"
    unknown = UNKNOWN_OPTION.match(str(error)) if isinstance(error, TypeError) else None
    if unknown is not None:
        kind, option = unknown.groups()
        known = [f.name for f in fields(DBConfig if kind == "DBConfig" else Config)]
        return f"{place}: {kind} has no option {option!r}. {suggest(option, known)}"
    if isinstance(error, RxdbError):
        return f"{place}: {error}"
    if isinstance(error, QUOTING_NOTHING):
        return f"{place}: {type(error).__name__}: {hide(str(error))}"
    return f"{place}: {type(error).__name__}. To see all of it, run: python {quoted(str(file))}"


UNKNOWN_OPTION = re.compile(r"(Config|DBConfig)\.__init__\(\) got an unexpected .*? '(\w+)'")

QUOTING_NOTHING = (ImportError, LookupError, NameError, OSError, TypeError, AttributeError)
"""Errors whose texts name things: variables, modules, files, keys. Others, such as those of
``int(…)``, may quote a value."""


def _from(config: Any, file: Path) -> Config:
    """Take rxdb's own Config, or what Reflex's has of the same names."""
    if isinstance(config, Config):
        return replace(config, folder=config.folder or file.parent)
    names = ("app_name", "db_url", "async_db_url")
    if not any(hasattr(config, name) for name in names):
        raise BadConfig(
            f"The config of {file} is a {type(config).__name__}. Write: config = rx.Config(…)"
        )
    found = {name: value for name in names if (value := getattr(config, name, None)) is not None}
    return Config(**found, folder=file.parent)


def _bool(name: str) -> bool:
    value = os.environ[name].strip().lower()
    if value not in BOOLEANS:
        raise BadConfig(f"{name}={value!r} is neither true nor false. Run: export {name}=true")
    return BOOLEANS[value]


def _int(name: str) -> int:
    try:
        return int(os.environ[name])
    except ValueError:
        raise BadConfig(f"{name}={os.environ[name]!r} is not a whole number.") from None


BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "y", "on"), True),
    **dict.fromkeys(("false", "0", "no", "n", "off"), False),
}

ENVIRONMENT_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    option: (f"SQLALCHEMY_{option.upper()}", read)
    for option, read in {
        "echo": _bool,
        "pool_pre_ping": _bool,
        "pool_size": _int,
        "max_overflow": _int,
        "pool_recycle": _int,
        "pool_timeout": _int,
    }.items()
}
"""Engine option to the environment variable that Reflex reads for it, and how it is read."""
