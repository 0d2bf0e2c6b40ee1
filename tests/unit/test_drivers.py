"""Which driver is chosen, and what is said when none can be used.

Each test gives this Python exactly the drivers it names: packages in a folder of their own. The
real ones cannot be found meanwhile.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rxdb as rx
from rxdb import Dialect, Driver, registry
from rxdb.migrations import database

CHECKOUT = Path(rx.__file__).resolve().parents[1]

WORKS = "drivers = lambda: ['ODBC Driver 18 for SQL Server']\n"  # pyodbc is asked for these
BROKEN = "raise ImportError('libpq.so.5: cannot open shared object file')\n"

DIALECTS = registry.every()
DRIVERS = [
    (dialect, driver)
    for dialect in DIALECTS
    for driver in (*dialect.drivers, *([dialect.plugin] if dialect.plugin else []))
]
MODULES = {driver.module for _, driver in DRIVERS} | {"greenlet"}

Install = Callable[..., Path]


class Hider:
    """Lets no module of these names be found."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Have exactly these modules installed: each name with its source text."""

    def belongs(name: str) -> bool:
        return name.partition(".")[0] in MODULES

    def install(*works: str, **sources: str) -> Path:
        packages = {**dict.fromkeys(works, WORKS), **sources}
        site = tmp_path / "site"
        for name, source in packages.items():
            (site / name).mkdir(parents=True)
            (site / name / "__init__.py").write_text(source)
        monkeypatch.syspath_prepend(site)
        monkeypatch.setattr(sys, "meta_path", [Hider(MODULES - packages.keys()), *sys.meta_path])
        return site

    real = {name: module for name, module in sys.modules.items() if belongs(name)}
    for name in real:
        del sys.modules[name]
    yield install
    for name in filter(belongs, list(sys.modules)):
        del sys.modules[name]
    sys.modules.update(real)


def able(dialect: Dialect, *, is_async: bool) -> list[Driver]:
    return [d for d in dialect.drivers if (d.asynchronous if is_async else d.sync)]


def url(dialect: Dialect, driver: Driver | None = None) -> str:
    """A URL that this backend takes."""
    scheme = dialect.scheme(driver) if driver else dialect.name
    return f"{scheme}://h/db" if dialect.port else f"{scheme}:///db"


def plugin(dialect: Dialect) -> list[str]:
    return [dialect.plugin.module] if dialect.plugin else []


KINDS = pytest.mark.parametrize("is_async", [False, True], ids=["session", "asession"])
EVERY = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)


@EVERY
@KINDS
def test_nothing_installed(dialect: Dialect, is_async: bool, install: Install) -> None:
    install("greenlet")
    error = rx.DriverMissing if able(dialect, is_async=is_async) else rx.DriverMismatch
    with pytest.raises(error) as caught:
        rx.parse(url(dialect), is_async)
    sentence = str(caught.value)
    if error is rx.DriverMismatch:
        assert sentence == (
            f"{dialect.name} is not asynchronous, so rx.asession() cannot use it. "
            f"Use rx.session() instead."
        )
        return
    assert isinstance(caught.value, ImportError)
    kind = "asynchronous driver" if is_async else "driver"
    packages = {driver.package for driver in able(dialect, is_async=is_async)}
    step = "Run: pip install " if packages != {""} else "It is a part of Python: install a Python"
    assert sentence.startswith(f"No {kind} for {dialect.title} is installed. {step}")
    assert [package for package in packages if package in sentence]
    usual = f"rxdb[{dialect.name}]"
    assert f"Run: pip install '{usual}'" in sentence or usual not in packages


@pytest.mark.parametrize(
    ("installed", "text", "what", "package"),
    [
        ("", "postgres://h", "driver for PostgreSQL", "'rxdb[postgresql]'"),
        (
            "psycopg2",
            "async postgresql://h",
            "asynchronous driver for PostgreSQL",
            "'rxdb[postgresql]'",
        ),
        (
            "asyncpg",
            "postgresql+psycopg://h",
            "driver 'psycopg' for PostgreSQL",
            "'rxdb[postgresql]'",
        ),
        (
            "psycopg",
            "postgresql+psycopg2://h",
            "driver 'psycopg2' for PostgreSQL",
            "'rxdb[psycopg2]'",
        ),
        ("", "async postgresql+asyncpg://h", "driver 'asyncpg' for PostgreSQL", "'rxdb[asyncpg]'"),
        ("", "mysql://h", "driver for MySQL", "'rxdb[mysql]'"),
        (
            "pymysql",
            "async mysql://h",
            "asynchronous driver for MySQL",
            "'rxdb[asyncmy]'",
        ),
        ("pymysql", "mysql+mysqldb://h", "driver 'mysqldb' for MySQL", "'rxdb[mysqlclient]'"),
        ("", "mariadb://h", "driver for MariaDB", "'rxdb[mariadb]'"),
        ("MySQLdb", "async mariadb+asyncmy://h", "driver 'asyncmy' for MariaDB", "'rxdb[asyncmy]'"),
        ("sqlite3", "async app.db", "asynchronous driver for SQLite", "'rxdb[async]'"),
        ("", "app.duckdb", "driver for DuckDB", "'rxdb[duckdb]'"),
        ("duckdb", "app.duckdb", "SQLAlchemy plug-in for DuckDB", "'rxdb[duckdb]'"),
        (
            "psycopg",
            "cockroachdb://h",
            "SQLAlchemy plug-in for CockroachDB",
            "'rxdb[cockroachdb]'",
        ),
        (
            "psycopg sqlalchemy_cockroachdb",
            "async cockroachdb+asyncpg://h",
            "driver 'asyncpg' for CockroachDB",
            "'rxdb[asyncpg,cockroachdb]'",
        ),
        ("", "mssql://h", "driver for SQL Server", "'rxdb[mssql]'"),
        ("pyodbc", "async mssql://h", "asynchronous driver for SQL Server", "aioodbc"),
        ("", "oracle://h", "driver for Oracle", "'rxdb[oracle]'"),
    ],
)
def test_the_sentence_for_a_missing_driver(
    installed: str, text: str, what: str, package: str, install: Install
) -> None:
    install("greenlet", *installed.split())
    with pytest.raises(rx.DriverMissing) as caught:
        rx.parse(text.removeprefix("async "), is_async=text.startswith("async "))
    assert str(caught.value) == f"No {what} is installed. Run: pip install {package}"


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        ({}, "No driver for SQLite is installed. It is a part of Python: install a Python that"),
        (
            {"sqlite3": "import _sqlite"},
            "The driver 'sqlite3' is installed but does not load: No module named '_sqlite'. It is",
        ),
    ],
)
def test_a_python_without_sqlite(sources: dict[str, str], sentence: str, install: Install) -> None:
    install(**sources)
    with pytest.raises(rx.errors.DriverError) as caught:
        rx.parse("app.db")
    assert str(caught.value).startswith(sentence)


@EVERY
def test_a_driver_for_ordinary_work_only(dialect: Dialect, install: Install) -> None:
    only = [driver for driver in dialect.drivers if driver.sync and not driver.asynchronous]
    if not only:
        pytest.skip(f"each driver for {dialect.title} is asynchronous too")
    install("greenlet", only[0].module, *plugin(dialect))
    assert rx.parse(url(dialect)).driver is only[0]
    with pytest.raises(rx.DriverMissing if able(dialect, is_async=True) else rx.DriverMismatch):
        rx.parse(url(dialect), is_async=True)


@EVERY
@KINDS
def test_a_broken_driver(dialect: Dialect, is_async: bool, install: Install) -> None:
    drivers = able(dialect, is_async=is_async)
    if not drivers:
        pytest.skip(f"{dialect.title} has no asynchronous driver")
    install("greenlet", *plugin(dialect), **{driver.module: BROKEN for driver in drivers})
    with pytest.raises(rx.DriverBroken) as caught:
        rx.parse(url(dialect), is_async)
    package = rx.errors.quoted(drivers[0].package)
    again = f"with its own libraries: pip install --upgrade --force-reinstall {package}"
    assert str(caught.value) == (
        f"The driver {drivers[0].module!r} is installed but does not load: "
        f"libpq.so.5: cannot open shared object file. "
        f"{f'Install it {again}' if drivers[0].package else rx.errors.PART_OF_PYTHON}"
    )
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value.__cause__, ImportError)
    assert str(caught.value.__cause__) == "libpq.so.5: cannot open shared object file"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
        ("raise ImportError('one\\ntwo')", "one"),
        ("raise ImportError", "ImportError"),
        ("raise OSError('libmysqlclient.so')", "libmysqlclient.so"),
        ("1 / 0", "division by zero"),
    ],
)
def test_why_a_driver_does_not_load(source: str, reason: str, install: Install) -> None:
    install(psycopg=source)
    with pytest.raises(rx.DriverBroken) as caught:
        rx.parse("postgresql://h/db")
    assert f"is installed but does not load: {reason}. Install it" in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("missing", ["duckdb_engine", "sqlalchemy_cockroachdb"])
def test_a_broken_plugin(missing: str, install: Install) -> None:
    (dialect,) = (d for d in DIALECTS if plugin(d) == [missing])
    install(dialect.drivers[0].module, **{missing: BROKEN})
    with pytest.raises(rx.DriverBroken, match=f"^The driver '{missing}' is installed but does not"):
        rx.parse(url(dialect))


@pytest.mark.parametrize(
    ("dialect", "driver"),
    [(dialect, driver) for dialect, driver in DRIVERS if driver.minimum],
    ids=lambda value: value.name,
)
def test_a_driver_that_is_too_old(dialect: Dialect, driver: Driver, install: Install) -> None:
    distribution = (driver.distributions or (driver.module,))[0].replace("-", "_")
    site = install("greenlet", driver.module, *plugin(dialect))
    metadata = site / f"{distribution}-0.0.1.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.0.1\n")
    importlib.invalidate_caches()
    with pytest.raises(rx.DriverTooOld) as caught:
        rx.parse(url(dialect), is_async=not driver.sync)
    assert str(caught.value) == (
        f"The driver {driver.module!r} is version 0.0.1, rxdb needs {driver.minimum} or later. "
        f"Run: pip install --upgrade --force-reinstall {rx.errors.quoted(driver.package)}"
    )


@pytest.mark.parametrize(
    ("installed", "text", "chosen"),
    [
        ("psycopg psycopg2 asyncpg", "postgresql://h", "psycopg"),
        ("psycopg psycopg2 asyncpg", "async postgresql://h", "psycopg"),
        ("psycopg2 asyncpg", "postgresql://h", "psycopg2"),
        ("psycopg2 asyncpg", "async postgresql://h", "asyncpg"),
        ("psycopg psycopg2", "postgresql+psycopg2://h", "psycopg2"),
        ("broken:psycopg psycopg2", "postgresql://h", "psycopg2"),
        ("broken:psycopg asyncpg", "async postgresql://h", "asyncpg"),
        ("MySQLdb pymysql", "mysql://h", "mysqldb"),
        ("broken:MySQLdb pymysql", "mariadb://h", "pymysql"),
        ("asyncmy aiomysql", "async mysql://h", "asyncmy"),
        ("aiomysql", "async mariadb://h", "aiomysql"),
        ("pyodbc pymssql", "mssql://h", "pyodbc"),
        ("broken:pyodbc pymssql", "mssql://h", "pymssql"),
    ],
)
def test_the_best_driver_that_works_is_chosen(
    installed: str, text: str, chosen: str, install: Install
) -> None:
    names = installed.split()
    broken = {name.removeprefix("broken:"): BROKEN for name in names if "broken:" in name}
    install("greenlet", *(name for name in names if "broken:" not in name), **broken)
    url = text.removeprefix("async ")
    assert rx.parse(url, is_async=url != text).driver.name == chosen


def test_a_named_driver_that_is_broken_is_not_replaced(install: Install) -> None:
    install("psycopg2", psycopg=BROKEN)
    with pytest.raises(rx.DriverBroken, match="'psycopg'"):
        rx.parse("postgresql+psycopg://h")


def test_the_first_of_several_broken_drivers_is_told(install: Install) -> None:
    install(psycopg="raise ImportError('first')", psycopg2="raise ImportError('second')")
    with pytest.raises(rx.DriverBroken, match="does not load: first"):
        rx.parse("postgresql://h")


def test_asynchronous_work_needs_greenlet(install: Install) -> None:
    install("psycopg", "aiosqlite")
    for text in ("postgresql://h/db", "sqlite+aiosqlite:///app.db"):
        with pytest.raises(rx.GreenletMissing) as caught:
            rx.parse(text, is_async=True)
        assert isinstance(caught.value, ImportError)
        assert str(caught.value) == (
            "Asynchronous sessions need greenlet. Run: pip install 'rxdb[async]'"
        )
    assert rx.parse("postgresql://h/db").driver.name == "psycopg"


def test_the_newest_odbc_driver_is_named(install: Install) -> None:
    names = ["ODBC Driver 17 for SQL Server", "ODBC Driver 18 for SQL Server", "SQLite3"]
    install(pyodbc=f"drivers = lambda: {names}")
    assert rx.parse("mssql://h/db").url.query["driver"] == "ODBC Driver 18 for SQL Server"
    assert rx.parse("mssql://h/db?driver=SQLite3").url.query["driver"] == "SQLite3"
    assert dict(rx.parse("mssql:///?odbc_connect=DSN").url.query) == {"odbc_connect": "DSN"}


def test_no_odbc_driver(install: Install) -> None:
    install(pyodbc="drivers = lambda: ['SQLite3']")
    with pytest.raises(rx.BadURL, match=r"^There is no ODBC driver for SQL Server on this machine"):
        rx.parse("mssql://h/db")


@pytest.mark.parametrize(
    ("lock", "missing", "broken"),
    [
        (None, "pip install", "pip install --upgrade --force-reinstall"),
        ("uv.lock", "uv add", "uv add --upgrade"),
        ("poetry.lock", "poetry add", "poetry add"),
        ("pdm.lock", "pdm add", "pdm add"),
    ],
)
def test_the_line_to_run_is_that_of_the_project(
    lock: str | None, missing: str, broken: str, monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    if lock:
        Path(lock).touch()
    Path("shop/models").mkdir(parents=True)
    monkeypatch.chdir("shop/models")
    install(MySQLdb=BROKEN)
    with pytest.raises(rx.DriverMissing) as caught:
        rx.parse("postgresql://h")
    assert str(caught.value).endswith(f"Run: {missing} 'rxdb[postgresql]'")
    with pytest.raises(rx.DriverBroken) as broke:
        rx.parse("mysql+mysqldb://h")
    assert str(broke.value).endswith(f"libraries: {broken} 'rxdb[mysqlclient]'")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment without pip, as ``uv venv`` makes it; nothing but itself is on its PATH."""
    made = tmp_path / "environment"
    venv.create(made, with_pip=False, symlinks=True)
    return made


def put(file: Path, text: str = "") -> None:
    """Write a file that can be run."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def line(environment: Path, *path: str, **variables: str) -> str:
    """Return the line of a process in *environment*."""
    program = "from rxdb.errors import install; print(install('acme', again=True))"
    interpreter = environment / "bin/python"
    run = subprocess.run(
        [interpreter, "-c", program],
        capture_output=True,
        check=True,
        env={"PATH": os.pathsep.join(path), "PYTHONPATH": str(CHECKOUT), **variables},
        text=True,
        timeout=60,
    )
    return run.stdout.removesuffix(" --upgrade --force-reinstall acme\n")


@pytest.mark.skipif(os.name == "nt", reason="programs end in .exe there")
def test_the_line_to_run_is_for_this_environment(environment: Path, tmp_path: Path) -> None:
    own, other = environment / "bin", tmp_path / "elsewhere"
    interpreter = own / "python"
    put(other / "pip")
    assert line(environment, str(other)) == "pip install"  # there is nothing better to say
    put(other / "uv")
    assert line(environment, str(other)) == f"uv pip install --python {interpreter}"
    assert line(environment, str(other), VIRTUAL_ENV=str(environment)) == "uv pip install"
    (site,) = environment.glob("lib/python*/site-packages")
    put(site / "pip.py")
    assert line(environment, str(other)) == f"{interpreter} -m pip install"
    assert line(environment) == f"{interpreter} -m pip install"
    put(own / "pip")
    assert line(environment, str(other), str(own)) == f"{interpreter} -m pip install"
    assert line(environment, str(own), str(other)) == "pip install"


def test_the_line_to_run_where_the_current_folder_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert rx.errors.install("rxdb[postgresql]") == "pip install 'rxdb[postgresql]'"
    with pytest.raises(rx.BadConfig, match=r"^The current folder was removed. Run: cd"):
        rx.parse("app.db")


@pytest.mark.parametrize(
    ("system", "text", "quoted"),
    [
        ("posix", "pymssql", "pymssql"),
        ("posix", "rxdb[mysql]", "'rxdb[mysql]'"),
        ("posix", "it's", "'it'\\''s'"),
        ("posix", "", "''"),
        ("nt", "rxdb[mysql]", '"rxdb[mysql]"'),
    ],
)
def test_a_shell_reads_what_is_quoted(
    system: str, text: str, quoted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rx.errors, "os", type("os", (), {"name": system}))
    assert rx.errors.quoted(text) == quoted


def test_the_real_drivers_are_back(install: Install) -> None:
    before: dict[str, Any] = dict(sys.modules)
    install("psycopg")
    assert rx.parse("postgresql://h").driver.version != "0.0.1"
    assert before["sqlalchemy"] is sys.modules["sqlalchemy"]


@EVERY
def test_commands_tell_what_is_missing_of_the_driver_that_was_named(
    dialect: Dialect, install: Install
) -> None:
    only = [driver for driver in dialect.drivers if driver.asynchronous and not driver.sync]
    if not only:
        pytest.skip(f"no driver for {dialect.title} is asynchronous only")
    install("greenlet")
    with pytest.raises(rx.DriverMissing, match=only[0].name):
        database.target(f"{dialect.name}+{only[0].name}://host/db")
