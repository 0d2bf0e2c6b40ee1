"""Turn a database URL into a Target: which backend, which driver, which full URL."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from sqlalchemy import URL

from rxdb import config, registry
from rxdb.config import DBConfig
from rxdb.dialect import SSL_MODES, Dialect, Driver, Feature, Target, take
from rxdb.errors import (
    BadURL,
    DriverError,
    DriverMismatch,
    DriverMissing,
    GreenletMissing,
    UnknownDialect,
    UnknownDriver,
    UnknownOption,
    suggest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = "sqlite:///app.db or postgresql://user:password@host:5432/app"
MOST_PORTS = 65535
PASSWORD_OPTIONS = ("password", "passwd", "password_file", "password_env")


def parse(
    url: str | URL | DBConfig, is_async: bool = False, *, folder: Path | None = None
) -> Target:
    """Read a database URL, and choose an installed driver for it.

    ``postgres://host/app`` and ``postgresql+psycopg://host/app`` mean the same database; a URL
    without ``+driver`` gets the first driver of its dialect that is installed, one with it gets
    that one. *is_async* asks for a driver of the asynchronous kind. A relative path of a database
    file starts at *folder*, by default the folder of ``rxconfig.py`` or the current one.

    ``?password_file=PATH`` and ``?password_env=NAME`` say where the password is; it is then read
    at each new connection.

    Raises a child of :class:`rxdb.errors.RxdbError` and nothing else: :class:`BadURL`,
    :class:`UnknownDialect`, :class:`UnknownDriver`, :class:`UnknownOption`,
    :class:`DriverMissing`, :class:`DriverBroken`, :class:`DriverTooOld`,
    :class:`DriverMismatch` or :class:`GreenletMissing`. None of them shows a password.
    """
    read = _read(url)
    scheme, _, wanted = read.drivername.partition("+")
    dialect = registry.get(scheme)
    driver = _choose(dialect, wanted, is_async=is_async)
    plain, password = _password(read.set(drivername=dialect.scheme(driver)), url)
    start = folder or config.folder()
    full = dialect.complete_url(_hosts(dialect, plain), start)
    _check_options(dialect, driver, full)
    return Target(dialect=dialect, driver=driver, url=full, password=password)


def _read(url: str | URL | DBConfig) -> URL:
    if isinstance(url, DBConfig):
        return url.url()
    if isinstance(url, URL):
        return url
    if not isinstance(url, str):
        raise BadURL(f"A database URL is a text, not a {type(url).__name__}. Write: {EXAMPLES}")
    text = url.strip()
    if any(ord(character) < ord(" ") or "\ud800" <= character <= "\udfff" for character in text):
        raise BadURL(f"A database URL is one line of printable text. Write: {EXAMPLES}")
    scheme, separator, rest = text.partition("://")
    name = scheme.partition("+")[0]
    if separator and _is_known(name):
        return _read_text(scheme.lower(), rest)
    for dialect in registry.every():
        if (found := dialect.read_path(text)) is not None:
            return found
    if separator and re.fullmatch(r"[A-Za-z][\w.-]*", name):
        registry.get(name)  # raises, with the nearest name
    raise BadURL(f"This is not a database URL. A URL looks like {EXAMPLES}")


def _is_known(name: str) -> bool:
    try:
        registry.get(name)
    except UnknownDialect:
        return False
    return True


def _read_text(scheme: str, rest: str) -> URL:
    """Read what follows ``://``. No message of this function repeats a part that may be secret."""
    head, _, query = rest.partition("?")
    authority, _, path = head.partition("/")
    _refuse_unquoted(scheme, head, query)
    user, at, place = authority.rpartition("@")
    name, colon, password = user.partition(":")
    several = "," in place
    host, port = ("", None) if several else _host(place)
    options: dict[str, list[str]] = {}
    for option, value in parse_qsl(query, keep_blank_values=True):
        options.setdefault(option, []).append(value)
    if several:
        options["host"] = [place]
    if host.lower().startswith("%2f"):  # a folder of unix sockets, as libpq writes it
        options["host"] = [unquote(host)]
        options |= {"port": [str(port)]} if port else {}
        host, port = "", None
    return URL.create(
        scheme,
        username=unquote(name) if at and name else None,
        password=unquote(password) if colon else None,
        host=host or None,
        port=port,
        database=unquote(path) or None,
        query={k: v[0] if len(v) == 1 else v for k, v in options.items()},
    )


def _refuse_unquoted(scheme: str, head: str, query: str) -> None:
    """Recognise a password with an ``@``, ``:``, ``/`` or ``?`` in it that should be quoted."""
    authority, slash, path = head.partition("/")
    user, at, _ = authority.rpartition("@")
    names = [option.partition("=")[0] for option in query.split("&")]
    open_ended = not at and ":" in authority
    strange = {
        "@": "@" in user or (bool(at) and "@" in path),
        ":": user.count(":") > 1,
        "/": open_ended and "@" in path,
        "?": any("@" in name for name in names) or (open_ended and not slash and "@" in query),
    }
    found = [character for character, is_there in strange.items() if is_there]
    if not found:
        return
    who = authority.partition(":")[0].partition("@")[0]
    write = {"@": "%40", ":": "%3A", "/": "%2F", "?": "%3F"}
    raise BadURL(
        f"The password in {scheme}://{who}:***@… holds an unquoted {found[-1]!r}. "
        f"Write {', '.join(f'{c} as {w}' for c, w in write.items())}; "
        f"""this quotes one: python -c "import getpass, urllib.parse as u; """
        f"""print(u.quote(getpass.getpass(), ''))\""""
    )


def _host(place: str) -> tuple[str, int | None]:
    """Split ``host:port``, ``[::1]:port`` or either without a port."""
    match = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::(.*))?", place, re.DOTALL)
    if match is None or (match[3] and ":" in match[3]):
        raise BadURL("An IPv6 address in a URL stands in brackets: postgresql://[::1]:5432/app")
    if match[3] and not (match[3].isascii() and match[3].isdigit()):
        raise BadURL(
            "The port of a URL is a number, as in postgresql://host:5432/app. If a password "
            "stands there, it needs quoting: @ as %40, : as %3A, / as %2F, ? as %3F."
        )
    port = int(match[3]) if match[3] else None
    if port is not None and port > MOST_PORTS:
        raise BadURL(f"The port of a URL is a number from 1 to {MOST_PORTS}.")
    return match[1] or match[2] or "", port


def _password(url: URL, given: str | URL | DBConfig) -> tuple[URL, Callable[[], str] | None]:
    """Move the password to where SQLAlchemy hides it, or find whom to ask for it."""
    plain, found = take(url, PASSWORD_OPTIONS)
    for option in ("password", "passwd"):
        if option in found:
            plain = plain.set(password=found[option])
    if "password_file" in found:
        ask: Callable[[], str] | None = config.secret.file(found["password_file"])
    elif "password_env" in found:
        ask = config.secret.env(found["password_env"])
    else:
        ask = given.password if isinstance(given, DBConfig) and callable(given.password) else None
    return (plain._replace(password=None) if ask else plain), ask


def _hosts(dialect: Dialect, url: URL) -> URL:
    """Give a URL its backend's usual port, and several hosts the form ``host=a,b&port=1,2``."""
    hosts = url.query.get("host", "")
    several = list(hosts) if isinstance(hosts, tuple) else hosts.split(",")
    if len(several) == 1:
        usual = url.host and url.port is None and dialect.port
        return url.set(port=dialect.port) if usual else url
    if Feature.SEVERAL_HOSTS not in dialect.features:
        raise BadURL(f"{dialect.title} takes one host in a URL, not {len(several)}.")
    ports = url.query.get("port", "")
    if ports:
        return url.update_query_dict({"host": ",".join(several)})
    pairs = [_host(place) for place in several]
    return url.update_query_dict(
        {
            "host": ",".join(host for host, _ in pairs),
            "port": ",".join(str(port or dialect.port) for _, port in pairs),
        }
    )


def _choose(dialect: Dialect, wanted: str, *, is_async: bool) -> Driver:
    """Return the driver that a URL names, or the first one that is installed and works."""
    able = [d for d in dialect.drivers if (d.asynchronous if is_async else d.sync)]
    named = [d for d in dialect.drivers if d.name == wanted]
    if wanted and not named:
        raise UnknownDriver.of(dialect.name, wanted, (d.name for d in dialect.drivers if d.name))
    chosen = [d for d in able if d in named] if wanted else able
    if not chosen:
        scheme = dialect.scheme(named[0]) if wanted else dialect.name
        raise DriverMismatch.of(scheme, map(dialect.scheme, able), is_async=is_async)
    if is_async and find_spec("greenlet") is None:
        raise GreenletMissing.of()
    driver = _working(dialect, chosen, "asynchronous " if is_async else "")
    if dialect.plugin is not None:
        _working(dialect, [dialect.plugin], "SQLAlchemy plug-in and ")
    return driver


def _working(dialect: Dialect, choices: list[Driver], kind: str) -> Driver:
    """Return the first choice that is installed and loads; raise what the first one there raises."""
    installed = [driver for driver in choices if driver.is_installed]
    failures: list[DriverError] = []
    for driver in installed:
        try:
            driver.load()
        except DriverError as error:
            failures.append(error)
        else:
            return driver
    if failures:
        raise failures[0]
    usual = f"rxdb[{dialect.name}]"  # before others that may have to be compiled
    packages = sorted({driver.package for driver in choices}, key=lambda p: (p != usual, p))
    raise DriverMissing.of(f"{kind}driver for {dialect.title}", packages[0], packages[1:])


def _check_options(dialect: Dialect, driver: Driver, url: URL) -> None:
    """Refuse an option that the driver would refuse later, in the driver's own words."""
    if driver.options is None:
        return
    known = {*dialect.options, *driver.options}
    for option in url.query:
        if option not in known:
            raise UnknownOption.of(dialect.scheme(driver), option, known)
    _, given = take(url, ("sslmode", "connect_timeout"))
    if (mode := given.get("sslmode")) and mode not in SSL_MODES and "sslmode" in dialect.options:
        raise BadURL(f"There is no sslmode={mode!r}. {suggest(mode, SSL_MODES)}")
    timeout = given.get("connect_timeout", "0")
    if "connect_timeout" in dialect.options and not timeout.isdecimal():
        raise BadURL(f"connect_timeout={timeout!r} is not a number of seconds.")
