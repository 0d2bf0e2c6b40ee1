"""Turn a database URL into a Target: which backend, which driver, which full URL."""

from __future__ import annotations

import re
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
GREENLET = Driver(name="", module="greenlet", package="rxdb[async]")
FORMS = {
    int: (r"-?\d{1,18}", "is not a whole number"),
    float: (r"\d{1,9}(\.\d{1,9})?", "is not a number"),
    bool: ("(?i)true|yes|on|y|t|1|false|no|off|n|f|0", "is neither true nor false"),
}
"""How the value of an option that is no text is written, in ASCII."""


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
    if "\0" in (read.database or ""):
        raise BadURL("The name of a database holds no zero byte.")
    scheme, _, wanted = read.drivername.lower().partition("+")
    dialect = registry.get(scheme)
    driver = _choose(dialect, wanted, is_async=is_async)
    plain, password = _password(_hosts(dialect, read), url)
    plain, options = take(plain.set(drivername=dialect.scheme(driver)), plain.query)
    start = Path(folder or config.folder())
    full = dialect.complete_url(plain.set(query=options), start)
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
    _refuse_few_slashes(text)
    is_login = re.match(r"(?!file:|[A-Za-z]:[\\/]).*:.*@", text)  # and no path: never shown
    for dialects in () if is_login else (registry.built_in, registry.plugins):
        for dialect in dialects().values():
            if (found := dialect.read_path(text)) is not None:
                return found
    if separator and re.fullmatch(r"[A-Za-z][\w.-]*", name):
        registry.get(name)  # raises, with the nearest name
    raise BadURL(f"This is not a database URL. A URL looks like {EXAMPLES}")


def _refuse_few_slashes(text: str) -> None:
    """Refuse ``sqlite:/app.db``, which ends like the path of a file in a folder ``sqlite:``."""
    found = re.match(r"(?!file:)([A-Za-z][\w.+-]+):(/?)(?!/)([^?]+)", text)
    if found is None or not _is_known(found[1].partition("+")[0]):
        return
    scheme, slash, rest = found.groups()
    is_plain = "@" not in text and ":" not in rest  # nothing that may be a password
    dialect = registry.get(scheme.partition("+")[0])
    if not dialect.file(URL.create(dialect.name, database="app")):
        place = rest if slash and is_plain else "user:password@host/app"
        raise BadURL(f"A URL has two slashes after {scheme}:. Write: {scheme}://{place}")
    path = rest if is_plain else "app.db"
    root = f", or for a path from the root: {scheme}:////{path}" if slash else ""
    raise BadURL(f"A URL of a file has three slashes. Write: {scheme}:///{path}{root}")


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
    places = [_host(one) for one in place.split(",")]
    options: dict[str, list[str]] = {}
    for option, value in parse_qsl(query, keep_blank_values=True):
        options.setdefault(option, []).append(value)
    host, port = places[0]
    if len(places) > 1 or host.startswith("/"):
        listed = {"host": [h for h, _ in places], "port": [str(p or "") for _, p in places]}
        options, host, port = {**listed, **options}, "", None
    return URL.create(
        scheme,
        username=unquote(name) if at and name else None,
        password=unquote(password) if colon else None,
        host=host or None,
        port=port,
        database=unquote(path) or None,
        query=options,
    )


def _refuse_unquoted(scheme: str, head: str, query: str) -> None:
    """Recognise a password with an ``@``, ``:``, ``/`` or ``?`` in it that should be quoted."""
    authority, slash, path = head.partition("/")
    user, at, _ = authority.rpartition("@")
    names = [option.partition("=")[0] for option in query.split("&")]
    open_ended = not at and ":" in authority
    late = query.partition("@")[2]  # where a host would be, and no application_name=me@work
    strange = {
        "@": "@" in user or (bool(at) and "@" in path),
        ":": user.count(":") > 1,
        "/": open_ended and "@" in path,
        "?": any("@" in name for name in names)
        or (":" in authority and "@" in query and (open_ended or not slash or "/" in late)),
    }
    found = [character for character, is_there in strange.items() if is_there]
    if not found:
        return
    who = authority.partition(":")[0].partition("@")[0]
    write = {"@": "%40", ":": "%3A", "/": "%2F", "?": "%3F"}
    raise BadURL(
        f"The user or password in {scheme}://{who}:***@… holds an unquoted {found[-1]!r}. "
        f"Write {', '.join(f'{c} as {w}' for c, w in write.items())}; "
        f"""this quotes one: python -c "import getpass, urllib.parse as u; """
        f"""print(u.quote(getpass.getpass(), ''))\""""
    )


def _host(place: str) -> tuple[str, int | None]:
    """Split ``host:port``, ``[::1]:port`` or either without a port.

    A host that begins with ``%2F`` is a folder of unix sockets, as libpq writes it.
    """
    match = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::(.*))?", place, re.DOTALL)
    if match is None or (match[3] and ":" in match[3]):
        raise BadURL("An IPv6 address in a URL stands in brackets: postgresql://[::1]:5432/app")
    host = match[1] or match[2] or ""
    return unquote(host) if host.lower().startswith("%2f") else host, _port(match[3] or "")


def _port(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch("[0-9]+", text):
        raise BadURL(
            "The port of a URL is a number, as in postgresql://host:5432/app. If a password "
            "stands there, it needs quoting: @ as %40, : as %3A, / as %2F, ? as %3F."
        )
    if len(text) > len(str(MOST_PORTS)) or not 0 < int(text) <= MOST_PORTS:
        raise BadURL(f"The port of a URL is a number from 1 to {MOST_PORTS}.")
    return int(text)


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
    """Say in one way where the server is, and on the backend's usual port where none is given.

    One host stands before the path, a socket as ``?host=/folder`` after it, and several hosts as
    ``?host=a,b&port=1,2``, whichever way they were written (PostgreSQL manual, 34.1.1).
    """
    pairs = [_member(place) for place in _listed(url.query.get("host") or url.host)]
    ports = [_port(port) for port in _listed(url.query.get("port") or url.port)]
    if len(pairs) > 1 and Feature.SEVERAL_HOSTS not in dialect.features:
        raise BadURL(f"{dialect.title} takes one host in a URL, not {len(pairs)}.")
    if len(ports) not in {0, 1, len(pairs)}:
        raise BadURL(f"The URL has {len(pairs)} hosts and {len(ports)} ports.")
    bare = url.difference_update_query(("host", "port"))._replace(host=None, port=None)
    if not pairs:
        return bare.set(port=ports[0]) if ports else bare
    ports = ports if len(ports) == len(pairs) else (ports or [None]) * len(pairs)
    found = [(host, own or port) for (host, own), port in zip(pairs, ports, strict=True)]
    host, port = found[0]
    if len(found) == 1 and not host.startswith("/"):
        return bare.set(host=host, port=port or dialect.port)
    usual = dialect.port if len(found) > 1 else None
    query = {
        "host": ",".join(host for host, _ in found),
        "port": ",".join(str(port or usual or "") for _, port in found),
    }
    return bare.update_query_dict({name: value for name, value in query.items() if value})


def _listed(value: str | int | tuple[str, ...] | None) -> list[str]:
    text = ",".join(value) if isinstance(value, tuple) else str(value or "")
    return text.split(",") if text else []


def _member(place: str) -> tuple[str, int | None]:
    """Split one host of a query or of a URL value, where an IPv6 address may stand bare."""
    is_bare = place.startswith("/") or (place.count(":") > 1 and "[" not in place)
    host, port = (place, None) if is_bare else _host(place)
    if not host:
        raise BadURL("One of the hosts in the URL is empty.")
    return host, port


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
    if is_async and not GREENLET.is_installed:
        raise GreenletMissing.of()
    what = f"driver {wanted!r}" if wanted else "asynchronous driver" if is_async else "driver"
    driver = _working(dialect, chosen, what)
    if dialect.plugin is not None:
        _working(dialect, [dialect.plugin], "SQLAlchemy plug-in")
    return driver


def _working(dialect: Dialect, choices: list[Driver], what: str) -> Driver:
    """Return the first choice that is installed and loads; raise what the first of them raises."""
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
    packages = [driver.package for driver in choices]
    package = usual if usual in packages else packages[0]
    raise DriverMissing.of(f"{what} for {dialect.title}", package)


def _meant(option: str, value: str, known: set[str]) -> str:
    """Return what to write for an option of another tool or of the engine; empty for others."""
    if option in {"ssl", "tls", "usessl", "use_ssl"} and "sslmode" in known:
        is_off = value.lower() in {"false", "no", "off", "0"}
        mode = value if value in SSL_MODES else "disable" if is_off else "require"
        return f"Write: sslmode={mode}"
    if option in config.ENVIRONMENT_OPTIONS:
        is_word = value.lower() in {"true", "false"}
        shown = value.capitalize() if is_word else value if value.isdecimal() else "…"
        return f'Write into rxconfig.py: rx.Config(engine_options={{"{option}": {shown}}})'
    return ""


def _check_options(dialect: Dialect, driver: Driver, url: URL) -> None:
    """Refuse an option that the driver would refuse later, in the driver's own words."""
    if driver.options is None:
        return
    known = {*dialect.options, *driver.options}
    _, given = take(url, url.query)
    for option, value in given.items():
        if option not in known:
            step = _meant(option, value, known)
            raise UnknownOption.of(dialect.scheme(driver), option, known, step)
        form, reproach = FORMS.get(dialect.types.get(option, str), ("(?s).*", ""))
        if not re.fullmatch(form, value, re.ASCII):
            raise BadURL(f"{option}={value!r} {reproach}.")
    if (mode := given.get("sslmode")) and mode not in SSL_MODES and "sslmode" in dialect.options:
        raise BadURL(f"There is no sslmode={mode!r}. {suggest(mode, SSL_MODES)}")
