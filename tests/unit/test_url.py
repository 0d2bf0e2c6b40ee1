"""What each way of writing a URL means, and what a driver is given for it in the end."""

from __future__ import annotations

import asyncio
import sqlite3
import ssl
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, make_url

import rxdb as rx
from rxdb import Driver, Target, registry
from rxdb.engine import build, build_async

SERVERS = "postgresql+psycopg", "mysql+pymysql", "oracle+oracledb"
SYSTEM = ssl.get_default_verify_paths().cafile or ""
"""The authorities that this machine trusts."""


def written(target: Target) -> str:
    """The URL of *target* as a text, with its password."""
    return target.url.render_as_string(hide_password=False)


def driver(scheme: str) -> Driver:
    """The driver that *scheme* names; the test is skipped where it is not installed."""
    dialect, _, name = scheme.partition("+")
    (found,) = (d for d in registry.get(dialect).drivers if d.name == name)
    if not found.is_installed:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("postgres", "postgresql"),
        ("pgsql", "postgresql"),
        ("POSTGRESQL", "postgresql"),
        ("PostgreSQL+PsyCopg", "postgresql"),
        ("mysql2", "mysql"),
        ("sqlserver", "mssql"),
        ("cockroach", "cockroachdb"),
        ("cockroachdb", "cockroachdb"),
        ("mariadb", "mariadb"),
    ],
)
def test_a_scheme_means_its_backend(scheme: str, name: str) -> None:
    target = rx.parse(f"{scheme}://shop")
    assert target.dialect is registry.get(name)
    assert target.url.get_backend_name() == name
    assert target.url.host == "shop"


@pytest.mark.parametrize(
    ("text", "database"),
    [
        ("sqlite:///app.db", "{here}/app.db"),
        ("sqlite3:///app.db", "{here}/app.db"),
        ("sqlite:///./app.db", "{here}/app.db"),
        ("sqlite:///data/../app.db", "{here}/app.db"),
        ("  sqlite:///app.db\n", "{here}/app.db"),
        ("app.db", "{here}/app.db"),
        ("APP.DB", "{here}/APP.DB"),
        ("./data/app.sqlite3", "{here}/data/app.sqlite3"),
        ("../app.sqlite", "{above}/app.sqlite"),
        ("sqlite:////srv/app.db", "/srv/app.db"),
        ("/srv/app.db", "/srv/app.db"),
        ("sqlite:///~/app.db", "{home}/app.db"),
        ("~/app.db", "{home}/app.db"),
        ("sqlite:///~nobody-of-that-name/app.db", "{here}/~nobody-of-that-name/app.db"),
        ("sqlite:///a b.db", "{here}/a b.db"),
        ("sqlite:///a%20b%3F%23.db", "{here}/a b?#.db"),
        ("sqlite:///x@y/z.db", "{here}/x@y/z.db"),
        ("file:app.db", "{here}/app.db"),
        ("file:a%20b.db", "{here}/a b.db"),
        ("file:///srv/app.db", "/srv/app.db"),
        ("file://localhost/srv/app.db", "/srv/app.db"),
        ("file:app.db?mode=ro", "file:{here}/app.db"),
        ("sqlite:///app.db?mode=ro", "file:{here}/app.db"),
        ("sqlite:///file:app.db?mode=ro&uri=true", "file:{here}/app.db"),
        ("sqlite:///100%25 %3F %23.db?mode=ro", "file:{here}/100%25%20%3F%20%23.db"),
        ("C:\\data\\app.db", "C:\\data\\app.db"),
        ("C:/data/app.db", "C:/data/app.db"),
        ("sqlite:///C:\\data\\app.db", "C:\\data\\app.db"),
        ("sqlite:///C:/data/app.db", "C:/data/app.db"),
        ("sqlite:///\\\\nas\\data\\app.db", "\\\\nas\\data\\app.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", ":memory:"),
        (":memory:", None),
        ("app.duckdb", "{here}/app.duckdb"),
        ("app.ddb", "{here}/app.ddb"),
        ("duckdb:///data/app.duckdb", "{here}/data/app.duckdb"),
        ("duckdb:////srv/app.duckdb", "/srv/app.duckdb"),
        ("duckdb://", ":memory:"),
        ("duckdb:///:memory:", ":memory:"),
    ],
)
def test_a_path_starts_at_the_current_folder(
    text: str, database: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    target = rx.parse(text)
    places = {"here": tmp_path, "above": tmp_path.parent, "home": "/home/me"}
    assert target.url.database == (database and database.format(**places))
    assert target.dialect.name == (
        "duckdb" if text.endswith(".ddb") or "duckdb" in text else "sqlite"
    )


def test_a_path_starts_at_the_folder_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rxconfig.py").write_text("import rxdb as rx\nconfig = rx.Config()\n")
    below = tmp_path / "shop" / "models"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert rx.parse("app.db").url.database == f"{tmp_path}/app.db"
    assert rx.parse("app.db", folder=Path("/srv")).url.database == "/srv/app.db"
    assert rx.parse("app.db", folder=Path("data")).url.database == f"{below}/data/app.db"
    rx.set_config(rx.Config(folder=Path("/opt")))
    assert rx.parse("app.db").url.database == "/opt/app.db"
    rx.set_config(rx.Config())
    assert rx.parse("app.db").url.database == f"{below}/app.db"


@pytest.mark.parametrize(
    "same",
    [
        [
            "sqlite:///a.db",
            "sqlite:///./a.db",
            "sqlite3:///a.db",
            "a.db",
            "file:a.db",
            "./b/../a.db",
        ],
        ["duckdb:///a.duckdb", "a.duckdb", "duckdb:///./a.duckdb"],
        ["postgresql://u:p@h/db", "postgres://u:p@h:5432/db", "pgsql://u@h/db?password=p"],
        ["postgresql://h/db", "postgresql:///db?host=h", "postgresql:///db?host=h&port=5432"],
        ["postgresql://h:1/db", "postgresql://h/db?port=1", "postgresql://g:2/db?host=h&port=1"],
        ["postgresql://%2Ftmp:1/db", "postgresql:///db?host=/tmp&port=1"],
        ["postgresql://[::1]/db", "postgresql:///db?host=::1", "postgresql:///db?host=[::1]:5432"],
        [
            "postgresql://a:1,b/db",
            "postgresql:///db?host=a:1&host=b",
            "postgresql:///db?host=a,b&port=1,5432",
            "postgresql:///db?host=a,b&port=1,",
        ],
        ["postgresql://a,b/db?port=7", "postgresql://a:7,b:7/db"],
        [
            "mysql+pymysql://h/db",
            "mysql+pymysql://h:3306/db",
            "mysql2+pymysql://h/db?charset=utf8mb4",
        ],
        ["mysql+pymysql:///db?host=/tmp/s", "mysql+pymysql:///db?unix_socket=/tmp/s"],
        ["mysql+pymysql://h:1/db", "mysql+pymysql://h/db?port=1"],
        ["oracle://h/db", "oracle://h:1521/?service_name=db"],
        ["postgresql://h/db?sslmode=disable&sslmode=require", "postgresql://h/db?sslmode=require"],
    ],
)
def test_these_urls_mean_the_same_database(same: list[str]) -> None:
    targets = [rx.parse(text) for text in same]
    assert targets == [targets[0]] * len(same)
    assert [rx.parse(target.url) for target in targets] == targets
    assert [rx.parse(written(target)) for target in targets] == targets


@pytest.mark.parametrize("scheme", [*SERVERS, "postgresql+asyncpg", "mysql+asyncmy"])
@pytest.mark.parametrize(
    ("text", "user", "password", "database"),
    [
        ("u:p@h/db", "u", "p", "db"),
        ("u@h/db", "u", None, "db"),
        (":p@h/db", None, "p", "db"),
        ("u:@h/db", "u", "", "db"),
        ("u%40corp:p%40%3A%2F%3F%23%25%20s@h/db", "u@corp", "p@:/?#% s", "db"),
        ("u:p+s@h/db", "u", "p+s", "db"),
        ("u:p s@h/db", "u", "p s", "db"),
        ("u:p%zz%@h/db", "u", "p%zz%", "db"),
        ("u:p#s&t=v;w@h/db", "u", "p#s&t=v;w", "db"),
        ("u:%C3%A9%F0%9F%98%80é@h/db", "u", "é😀é", "db"),
        ("h/a%20b", None, None, "a b"),
        ("h/a%3Fb", None, None, "a?b"),
        ("h/a%23b%2520", None, None, "a#b%20"),
        ("h/a/b", None, None, "a/b"),
        ("h/", None, None, None),
        ("h", None, None, None),
    ],
)
def test_every_part_is_decoded_once(
    scheme: str, text: str, user: str | None, password: str | None, database: str | None
) -> None:
    url = rx.parse(f"{scheme}://{text}", not driver(scheme).sync).url
    name = url.query.get("service_name", url.database)  # where Oracle has it
    assert (url.username, url.password, name, url.host) == (user, password, database, "h")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("postgresql://h/db", "h", 5432),
        ("postgresql://h:/db", "h", 5432),
        ("postgresql://h:5433/db", "h", 5433),
        ("postgresql://[::1]/db", "::1", 5432),
        ("postgresql://[fe80::1%eth0]:5433/db", "fe80::1%eth0", 5433),
        ("postgresql://u:p@[::1]:65535/db", "::1", 65535),
        ("postgresql:///db", None, None),
        ("postgresql://:5433/db", None, 5433),
        ("postgresql:///db?port=5433", None, 5433),
        ("cockroachdb://h/db", "h", 26257),
        ("mysql://h/db", "h", 3306),
        ("mariadb://h/db", "h", 3306),
        ("mssql+pymssql://h/db", "h", 1433),
        ("mssql+pymssql://h\\instance/db", "h\\instance", None),
        ("oracle://h/db", "h", 1521),
    ],
)
def test_a_host_has_its_port(text: str, host: str | None, port: int | None) -> None:
    if "pymssql" in text:
        driver("mssql+pymssql")
    url = rx.parse(text).url
    assert (url.host, url.port) == (host, port)


PASSWORD = "The user or password in postgresql://u:***@… holds an unquoted {!r}. Write @ as %40"
PORT = "The port of a URL is a number"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "This is not a database URL. A URL looks like sqlite:///app.db or postgresql://"),
        ("postgresql", "This is not a database URL."),
        ("postgresql:/h/db", "A URL has two slashes after postgresql:. Write: postgresql://h/db"),
        ("postgres:xyzzy", "two slashes after postgres:. Write: postgres://user:password@host/app"),
        ("mysql:/u:xyzzy@plugh/db", "Write: mysql://user:password@host/app"),
        ("sqlite:a.db", "A URL of a file has three slashes. Write: sqlite:///a.db"),
        (
            "sqlite:/a.db",
            "Write: sqlite:///a.db, or for a path from the root: sqlite:////a.db",
        ),
        ("sqlite+aiosqlite:/a.db?x=y", "has three slashes. Write: sqlite+aiosqlite:///a.db, or"),
        ("duckdb:/a.ddb", "A URL of a file has three slashes. Write: duckdb:///a.ddb, or"),
        ("://h/db", "This is not a database URL."),
        ("app.txt", "This is not a database URL."),
        ("u:secret@h/app.db", "This is not a database URL."),
        ("u:secret@h/app.duckdb", "This is not a database URL."),
        ("postgresql://h/d\nb", "A database URL is one line of printable text."),
        ("postgresql://h/\ud800", "A database URL is one line of printable text."),
        ("sqlite:///~%00/a.db", "The name of a database holds no zero byte."),
        ("nope://h/db", "rxdb has no dialect 'nope'. Known: cockroach, cockroachdb, duckdb,"),
        ("postgre://h/db", "rxdb has no dialect 'postgre'. Did you mean 'postgres'?"),
        ("mysq://h/db", "rxdb has no dialect 'mysq'. Did you mean 'mysql'?"),
        ("postgresql+psycopg3://h/db", "postgresql has no driver 'psycopg3'. Did you mean 'psyc"),
        ("postgresql+odd://h/db", "postgresql has no driver 'odd'. Known: asyncpg, psycopg, psyc"),
        ("sqlite+odd:///a.db", "sqlite has no driver 'odd'. Known: aiosqlite, pysqlite."),
        ("sqlite://app.db", "SQLite has no host. Write three slashes: sqlite:///app.db"),
        ("sqlite://data/app.db", "SQLite has no host. Write three slashes: sqlite:///data/app.db"),
        ("sqlite://u:secret@h/a.db", "SQLite has no host. Write three slashes: sqlite:///h/a.db"),
        ("sqlite://u:secret@/a.db", "SQLite has no user, password or port. Write the path"),
        ("sqlite:///a.db?password=secret", "SQLite has no user, password or port. Write the path"),
        ("sqlite:///a.db?host=h", "SQLite has no host. Write three slashes: sqlite:///h/"),
        ("duckdb://app.duckdb", "DuckDB has no host. Write three slashes: duckdb:///app.duckdb"),
        ("file://h/a.db", "SQLite reads files of this machine only. Write: file:///folder/app.db"),
        ("postgresql://::1/db", "An IPv6 address in a URL stands in brackets: postgresql://[::1]"),
        ("postgresql://::1:5432/db", "An IPv6 address in a URL stands in brackets:"),
        ("postgresql://[::1/db", "An IPv6 address in a URL stands in brackets:"),
        ("postgresql://h:x/db", f"{PORT}, as in postgresql://host:5432/app. If a password stands"),
        ("postgresql://h:-1/db", f"{PORT}, as in"),
        ("postgresql://h:٣/db", f"{PORT}, as in"),
        ("postgresql://h:0/db", f"{PORT} from 1 to 65535."),
        ("postgresql://h:65536/db", f"{PORT} from 1 to 65535."),
        (f"postgresql://h:{'9' * 5000}/db", f"{PORT} from 1 to 65535."),
        ("postgresql:///db?port=x", f"{PORT}, as in"),
        ("mysql:///db?host=h&port=x", f"{PORT}, as in"),
        ("mysql://a,b/db", "MySQL takes one host in a URL, not 2."),
        ("mariadb:///db?host=a,b", "MariaDB takes one host in a URL, not 2."),
        ("postgresql://a,b/db?port=1,2,3", "The URL has 2 hosts and 3 ports."),
        ("postgresql://a,/db", "One of the hosts in the URL is empty."),
        ("postgresql://u:xyzzy@plugh@h/db", PASSWORD.format("@")),
        ("postgresql://u:xyzzy:plugh@h/db", PASSWORD.format(":")),
        ("postgresql://u:xyzzy/plugh@h/db", PASSWORD.format("/")),
        ("postgresql://u:12/plugh@h/db", PASSWORD.format("/")),
        ("postgresql://u:xyzzy@s/plugh@h/db", PASSWORD.format("@")),
        ("postgresql://u:xyzzy?plugh@h/db", PASSWORD.format("?")),
        ("postgresql://u:xyzzy?plugh=t@h/db", PASSWORD.format("?")),
        ("postgresql://u:xyzzy?plugh=t&u=v@h", PASSWORD.format("?")),
        ("postgresql://u:12/xyzzy?plugh=t@h/db", PASSWORD.format("?")),
        ("postgresql://u:a@xyzzy?plugh=t@h/db", PASSWORD.format("?")),
        ("postgresql://u:a@xyzzy/b?plugh@h", PASSWORD.format("?")),
        ("postgresql://h/db?sslmod=require", "connection option 'sslmod'. Did you mean 'sslmode'?"),
        ("postgresql+psycopg://h/db?x=1", "has no connection option 'x'. Known: application_name,"),
        ("mysql+pymysql://h/db?chraset=latin1", "'chraset'. Did you mean 'charset'?"),
        ("mysql+pymysql://h/db?auth_plugin_map=x", "no connection option 'auth_plugin_map'."),
        ("postgresql://h/db?ssl=true", "has no connection option 'ssl'. Write: sslmode=require"),
        ("mysql+pymysql://h/db?ssl=verify-full", "option 'ssl'. Write: sslmode=verify-full"),
        ("postgresql+psycopg2://h/db?ssl=off", "option 'ssl'. Write: sslmode=disable"),
        (
            "postgresql://h/db?pool_size=5",
            "'pool_size'. Write into rxconfig.py: rx.Config(engine_options={\"pool_size\": 5})",
        ),
        ("sqlite:///a.db?echo=true", "option 'echo'. Write into rxconfig.py: rx.Config(engine_op"),
        ("sqlite:///a.db?journal_mod=WAL", "'journal_mod'. Did you mean 'journal_mode'?"),
        ("postgresql://h?sslmode=requir", "There is no sslmode='requir'. Did you mean 'require'?"),
        ("postgresql://h?sslmode=no", "There is no sslmode='no'. Known: allow, disable, prefer,"),
        ("postgresql://h?connect_timeout=5s", "connect_timeout='5s' is not a whole number."),
        ("mysql+pymysql://h?connect_timeout=x", "connect_timeout='x' is not a whole number."),
        ("mysql+pymysql://h?read_timeout=1.5", "read_timeout='1.5' is not a whole number."),
        ("mysql+pymysql://h?local_infile=maybe", "local_infile='maybe' is neither true nor false."),
        ("sqlite:///a.db?timeout=long", "timeout='long' is not a number."),
        ("sqlite:///a.db?check_same_thread=x", "check_same_thread='x' is neither true nor false."),
    ],
)
def test_a_bad_url_gets_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(rx.BadURL) as caught:
        rx.parse(text)
    assert sentence in str(caught.value)
    assert not {part for part in ("secret", "xyzzy", "plugh") if part in str(caught.value)}


@pytest.mark.parametrize("value", [None, 5, b"sqlite:///a.db", ["sqlite:///a.db"], Path("a.db")])
def test_what_is_no_text_gets_a_sentence(value: Any) -> None:
    with pytest.raises(rx.BadURL, match=f"URL is a text, not a {type(value).__name__}. Write: sq"):
        rx.parse(value)


def test_the_way_to_quote_a_password_works(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(rx.BadURL) as caught:
        rx.parse("postgresql://u:p@ss@h/db")
    _, _, program = str(caught.value).rpartition('python -c "')
    program = program.removesuffix('"')
    assert '"' not in program  # it stands in double quotes
    exec(program.replace("getpass.getpass()", "'p@:/?s +%'"))
    quoted = capfd.readouterr().out.strip()
    assert rx.parse(f"postgresql://u:{quoted}@h/db").url.password == "p@:/?s +%"


@pytest.mark.parametrize(
    ("scheme", "kind", "able"),
    [
        ("postgresql+asyncpg", "synchronous", "postgresql+psycopg:// or postgresql+psycopg2://"),
        ("postgresql+psycopg2", "asynchronous", "postgresql+psycopg:// or postgresql+asyncpg://"),
        ("mysql+pymysql", "asynchronous", "mysql+asyncmy:// or mysql+aiomysql://"),
        ("mariadb+aiomysql", "synchronous", "mariadb+mysqldb:// or mariadb+pymysql://"),
        ("sqlite+pysqlite", "asynchronous", "sqlite+aiosqlite://"),
        ("sqlite+aiosqlite", "synchronous", "sqlite+pysqlite://"),
        ("cockroachdb+asyncpg", "synchronous", "cockroachdb+psycopg:// or cockroachdb+psycopg2://"),
        ("mssql+aioodbc", "synchronous", "mssql+pyodbc:// or mssql+pymssql://"),
        ("duckdb", "asynchronous", None),
    ],
)
def test_a_named_driver_is_not_replaced(scheme: str, kind: str, able: str | None) -> None:
    with pytest.raises(rx.DriverMismatch) as caught:
        rx.parse(f"{scheme}:///app", is_async=kind == "asynchronous")
    call = "asession" if kind == "asynchronous" else "session"
    way = f"Name one that is: {able}, or leave out the driver and rxdb chooses one."
    assert str(caught.value) == (
        f"{scheme} is not {kind}, so rx.{call}() cannot use it. "
        f"{way if able else 'Use rx.session() instead.'}"
    )


def test_one_url_serves_both_worlds() -> None:
    for url in ("app.db", "postgresql://u:p@h/db?sslmode=require", "mysql://u:p@h/db"):
        ordinary, asynchronous = rx.parse(url), rx.parse(url, is_async=True)
        assert ordinary.driver.sync
        assert asynchronous.driver.asynchronous
        scheme = asynchronous.dialect.scheme(asynchronous.driver)
        assert ordinary.url.set(drivername=scheme) == asynchronous.url


def test_a_named_driver_is_respected() -> None:
    assert rx.parse("postgresql+psycopg://h/db", is_async=True).driver.name == "psycopg"
    assert rx.parse("mysql+pymysql://h/db").driver.name == "pymysql"


def test_a_url_value_means_what_its_text_means() -> None:
    for text in (
        "postgresql://u:p%40s@h:1/db?sslmode=require",
        "sqlite:///a.db?mode=ro",
        "sqlite://",
    ):
        assert rx.parse(make_url(text)) == rx.parse(text)
    several = URL.create("postgresql", host="a,b", port=7, database="db")
    assert rx.parse(several) == rx.parse("postgresql://a:7,b:7/db")
    repeated = URL.create("postgresql", host="h", query={"sslmode": ("disable", "require")})
    assert rx.parse(repeated).url.query == {"sslmode": "require"}
    assert rx.parse(URL.create("PostgreSQL+PsyCopg", host="::1")).url.port == 5432


# What a driver's own connect function is given -----------------------------------------------


CONNECTS = {
    "psycopg": ("psycopg", "connect"),
    "psycopg2": ("psycopg2", "connect"),
    "asyncpg": ("asyncpg", "connect"),
    "pymysql": ("pymysql", "connect"),
    "mysqldb": ("MySQLdb", "connect"),
    "asyncmy": ("asyncmy", "connect"),
    "aiomysql": ("aiomysql", "connect"),
}
IRRELEVANT = {"client_flag", "context", "conv", "cursor_factory"}
"""What SQLAlchemy adds on its own account."""


class ReachedError(Exception):
    """A driver was told to connect."""


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what the driver's connect function gets for a URL."""

    def connect(*args: Any, **kwargs: Any) -> None:
        assert not args
        raise ReachedError(kwargs)

    def load_verify_locations(context: Any, cafile: str) -> None:
        context.loaded = {"ca": cafile}

    def load_cert_chain(context: Any, certfile: str, keyfile: str | None) -> None:
        context.loaded = {**getattr(context, "loaded", {}), "cert": certfile, "key": keyfile}

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load_verify_locations)
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load_cert_chain)

    def given(url: Any) -> dict[str, Any]:
        scheme = url.engine if isinstance(url, rx.DBConfig) else url.partition("://")[0]
        found = driver(scheme)
        module, name = CONNECTS[found.name]
        monkeypatch.setattr(import_module(module), name, connect)
        target = rx.parse(url, is_async=not found.sync)
        with pytest.raises(ReachedError) as caught:
            build(target).connect() if found.sync else asyncio.run(connect_async(target))
        received: dict[str, Any] = caught.value.args[0]
        return {k: plain(v) for k, v in received.items() if k not in IRRELEVANT}

    return given


async def connect_async(target: Target) -> None:
    async with build_async(target).connect():
        pass


def plain(value: Any) -> Any:
    """What can be compared of *value*: of a TLS context, what it checks and what it loaded."""
    if not isinstance(value, ssl.SSLContext):
        return value
    checks = {
        (ssl.CERT_NONE, False): "nothing",
        (ssl.CERT_REQUIRED, False): "certificate",
        (ssl.CERT_REQUIRED, True): "certificate and name",
    }[value.verify_mode, value.check_hostname]
    return {"checks": checks, **getattr(value, "loaded", {})}


POSTGRESQL = {"connect_timeout": "10", "host": "h", "port": 5432, "dbname": "db", "user": "u"}
KEEPALIVES = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "5"}
LIBPQ = {
    **POSTGRESQL,
    **KEEPALIVES,
    "password": "p@s",
    "tcp_user_timeout": "30000",
    "options": "-c TimeZone=UTC",
}
MYSQL = {"host": "h", "port": 3306, "user": "u", "charset": "utf8mb4", "connect_timeout": 10}
UNCHECKED = {"checks": "nothing"}


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("postgresql+psycopg", LIBPQ),
        ("postgresql+psycopg2", LIBPQ),
        (
            "postgresql+asyncpg",
            {
                "host": "h",
                "port": 5432,
                "database": "db",
                "user": "u",
                "password": "p@s",
                "timeout": 10,
                "server_settings": {"TimeZone": "UTC"},
            },
        ),
        ("mysql+pymysql", {**MYSQL, "database": "db", "password": "p@s", "ssl": UNCHECKED}),
        ("mysql+mysqldb", {**MYSQL, "database": "db", "password": "p@s", "ssl_mode": "REQUIRED"}),
        ("mysql+asyncmy", {**MYSQL, "database": "db", "password": "p@s", "ssl": UNCHECKED}),
        ("mysql+aiomysql", {**MYSQL, "db": "db", "password": "p@s", "ssl": UNCHECKED}),
    ],
)
def test_a_driver_gets_what_a_plain_url_says(scheme: str, expected: Any, given: Any) -> None:
    received = given(f"{scheme}://u:p%40s@h/db")
    names = {"db": "database", "passwd": "password"}  # mysqlclient takes both, by its version
    if "db" not in expected:
        received = {names.get(k, k): v for k, v in received.items()}
    for driver_own in ("prepared_statement_cache_size", "prepared_statement_name_func"):
        received.pop(driver_own, None)
    assert received == expected


ALL_OF_TLS = "sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/me.pem&sslkey=/me.key"
FILES = {"ca": "/ca.pem", "cert": "/me.pem", "key": "/me.key"}
NAMED = {"checks": "certificate and name", **FILES}


@pytest.mark.parametrize(
    ("scheme", "option", "changed"),
    [
        *((f"postgresql+{name}", option, {option.split("=")[0]: option.split("=")[1]})
          for name in ("psycopg", "psycopg2")
          for option in ("sslmode=require", "sslrootcert=/ca.pem", "sslcert=/me.pem",
                         "sslkey=/me.key", "connect_timeout=3", "application_name=shop",
                         "keepalives_idle=7", "tcp_user_timeout=0",
                         "target_session_attrs=read-write")),
        ("postgresql+psycopg", "options=-c a=b", {"options": "-c TimeZone=UTC -c a=b"}),
        ("postgresql+psycopg2", "options=-c a=b", {"options": "-c TimeZone=UTC -c a=b"}),
        ("postgresql+asyncpg", "sslmode=require", {"dsn": "postgresql://?sslmode=require"}),
        (
            "postgresql+asyncpg",
            ALL_OF_TLS,
            {
                "dsn": "postgresql://?sslmode=verify-full&sslrootcert=%2Fca.pem"
                "&sslcert=%2Fme.pem&sslkey=%2Fme.key"
            },
        ),
        ("postgresql+asyncpg", "connect_timeout=3", {"timeout": 3}),
        ("postgresql+asyncpg", "connect_timeout=0", {"timeout": None}),
        (
            "postgresql+asyncpg",
            "application_name=shop",
            {"server_settings": {"TimeZone": "UTC", "application_name": "shop"}},
        ),
        ("postgresql+asyncpg", "target_session_attrs=any", {"target_session_attrs": "any"}),
        ("postgresql+asyncpg", "command_timeout=1.5", {"command_timeout": 1.5}),
        ("postgresql+asyncpg", "statement_cache_size=0", {"statement_cache_size": 0}),
        ("postgresql+asyncpg", "direct_tls=false", {"direct_tls": False}),
        ("mysql+pymysql", "sslmode=disable", {"ssl": None, "ssl_disabled": True}),
        ("mysql+asyncmy", "sslmode=disable", {"ssl": None}),
        ("mysql+aiomysql", "sslmode=disable", {"ssl": None}),
        ("mysql+mysqldb", "sslmode=disable", {"ssl_mode": "DISABLED"}),
        *((f"mysql+{name}", "sslmode=require", {}) for name in ("pymysql", "asyncmy", "aiomysql")),
        ("mysql+mysqldb", "sslmode=require", {}),
        *((f"mysql+{name}", "sslmode=verify-ca&sslrootcert=/ca.pem",
           {"ssl": {"checks": "certificate", "ca": "/ca.pem"}})
          for name in ("pymysql", "asyncmy", "aiomysql")),
        ("mysql+mysqldb", "sslmode=verify-ca", {"ssl_mode": "VERIFY_CA", "ssl": {"ca": SYSTEM}}),
        *((f"mysql+{name}", ALL_OF_TLS, {"ssl": NAMED})
          for name in ("pymysql", "asyncmy", "aiomysql")),
        ("mysql+mysqldb", ALL_OF_TLS, {"ssl_mode": "VERIFY_IDENTITY", "ssl": FILES}),
        *((f"mysql+{name}", "application_name=shop", {"program_name": "shop"})
          for name in ("pymysql", "asyncmy", "aiomysql")),
        ("mysql+mysqldb", "application_name=shop", {}),
        *((f"mysql+{name}", f"connect_timeout={said}", {"connect_timeout": meant})
          for name in ("pymysql", "mysqldb", "asyncmy", "aiomysql")
          for said, meant in (("3", 3), ("0", 31536000), ("-1", 31536000), ("99999999", 31536000))),
        ("mysql+pymysql", "read_timeout=4", {"read_timeout": 4}),
        ("mysql+pymysql", "charset=latin1", {"charset": "latin1"}),
        ("mysql+pymysql", "local_infile=0", {"local_infile": False}),
        ("mysql+asyncmy", "max_allowed_packet=1024", {"max_allowed_packet": 1024}),
        *((f"mysql+{name}", "unix_socket=/tmp/s", {"unix_socket": "/tmp/s"})
          for name in ("pymysql", "mysqldb", "asyncmy", "aiomysql")),
    ],
)  # fmt: skip
def test_an_option_is_said_in_the_words_of_the_driver(
    scheme: str, option: str, changed: dict[str, Any], given: Any
) -> None:
    without, received = given(f"{scheme}://u@h/db"), given(f"{scheme}://u@h/db?{option}")
    names = without.keys() | received.keys()
    different = {n: received.get(n) for n in names if received.get(n) != without.get(n)}
    assert different == changed


SEVERAL = "u@h1:5433,h2/db?target_session_attrs=read-write"
WITH_IPV6 = "u@[::1]:5433,[fe80::2],h3/db"


@pytest.mark.parametrize(
    ("scheme", "rest", "host", "port"),
    [
        *((f"postgresql+{name}", *row)
          for name in ("psycopg", "psycopg2")
          for row in ((SEVERAL, "h1,h2", "5433,5432"),
                      (WITH_IPV6, "::1,fe80::2,h3", "5433,5432,5432"),
                      ("u@/db?host=/tmp,h2&port=1,2", "/tmp,h2", "1,2"),
                      ("u@/db?host=/tmp", "/tmp", None),
                      ("u@%2Ftmp:5433/db", "/tmp", "5433"),
                      ("u@[::1]/db", "::1", 5432))),
        ("postgresql+asyncpg", SEVERAL, ["h1", "h2"], [5433, 5432]),
        ("postgresql+asyncpg", WITH_IPV6, ["::1", "fe80::2", "h3"], [5433, 5432, 5432]),
        ("postgresql+asyncpg", "u@/db?host=/tmp,h2&port=1,2", ["/tmp", "h2"], [1, 2]),
        ("postgresql+asyncpg", "u@/db?host=/tmp", "/tmp", None),
        ("postgresql+asyncpg", "u@%2Ftmp:5433/db", "/tmp", 5433),
        ("postgresql+asyncpg", "u@[::1]/db", "::1", 5432),
        ("postgresql+asyncpg", "u@:5433/db", None, 5433),
    ],
)  # fmt: skip
def test_a_driver_gets_every_host_with_its_port(
    scheme: str, rest: str, host: Any, port: Any, given: Any
) -> None:
    received = given(f"{scheme}://{rest}")
    assert (received.get("host"), received.get("port")) == (host, port)
    assert received.get("target_session_attrs") == ("read-write" if "attrs" in rest else None)


@pytest.mark.parametrize("name", ["pymysql", "mysqldb", "asyncmy", "aiomysql"])
@pytest.mark.parametrize(
    "rest", ["u@/db?unix_socket=/tmp/s", "u@/db?host=/tmp/s", "u@%2Ftmp%2Fs/db", "u@%2ftmp/s:1/db"]
)
def test_mysql_takes_a_unix_socket(name: str, rest: str, given: Any) -> None:
    received = given(f"mysql+{name}://{rest.replace('tmp/s:1', 'tmp%2Fs:1')}")
    assert received["unix_socket"] == "/tmp/s"
    assert "host" not in received


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql+asyncpg", "mysql+pymysql"])
@pytest.mark.parametrize("option", ["password", "passwd", "password_file", "password_env"])
def test_a_password_may_stand_in_the_query(
    scheme: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any
) -> None:
    (tmp_path / "secret").write_text("p@s\n")
    monkeypatch.setenv("SHOP_PASSWORD", "p@s")
    values = {"password_file": tmp_path / "secret", "password_env": "SHOP_PASSWORD"}
    url = f"{scheme}://u:other@h/db?{option}={values.get(option, 'p%40s')}"
    received = given(url)
    assert received["password"] == "p@s"
    assert "p@s" not in repr(rx.parse(url, not driver(scheme).sync))


# SQLite -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "pragma", "answer"),
    [
        ("", "foreign_keys", 1),
        ("foreign_keys=OFF", "foreign_keys", 0),
        ("journal_mode=delete", "journal_mode", "delete"),
        ("synchronous=FULL", "synchronous", 2),
        ("busy_timeout=250", "busy_timeout", 250),
        ("cache_size=-4000", "cache_size", -4000),
        ("temp_store=MEMORY", "temp_store", 2),
    ],
)
def test_a_pragma_may_stand_in_the_url(option: str, pragma: str, answer: object) -> None:
    engine = build(rx.parse(f"sqlite:///a.db?{option}"))
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == answer
    engine.dispose()


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("foreign_keys=t", "foreign_keys='t' is not one of ON, OFF, TRUE, FALSE, YES, NO, 1, 0."),
        ("journal_mode=WALL", "journal_mode='WALL' is not one of DELETE, TRUNCATE, PERSIST,"),
        ("journal_mode=WAL; DROP TABLE a", "journal_mode='WAL; DROP TABLE a' is not one of DELETE"),
        ("busy_timeout=long", "busy_timeout='long' is not a whole number."),
        ("busy_timeout=٣", "busy_timeout='٣' is not a whole number."),
        ("cache_size=1;2", "cache_size='1;2' is not a whole number."),
        ("mmap_size=", "mmap_size='' is not a whole number."),
    ],
)
def test_a_bad_pragma_is_refused(option: str, sentence: str) -> None:
    with pytest.raises(rx.BadURL) as caught:
        build(rx.parse(f"sqlite:///a.db?{option}"))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", ["a.db", "a b.db", "a?b.db", "a#b.db", "a%20b.db", "é.db"])
def test_a_file_of_any_name_can_be_opened_only_for_reading(name: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / name) as connection:
        connection.execute("CREATE TABLE pet (name TEXT)")
    connection.close()
    for query in ({"mode": "ro"}, {"mode": "ro", "uri": "true"}):
        config = rx.DBConfig.sqlite(name, query=query)
        absolute = rx.DBConfig.sqlite(tmp_path / name, query=query)
        for url in (config, absolute, absolute.get_url(), rx.parse(config).url):
            engine = build(rx.parse(url))
            with engine.connect() as found:
                assert found.exec_driver_sql("SELECT count(*) FROM pet").scalar() == 0
            engine.dispose()
    assert [path.name for path in tmp_path.iterdir()] == [name]
