"""The declarations of the backends agree with SQLAlchemy, the drivers and pyproject.toml."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import databases
import pytest
from sqlalchemy.dialects import registry as sqlalchemy_registry
from sqlalchemy.exc import NoSuchModuleError

import rxdb
from rxdb import Dialect, Driver, registry
from rxdb.dialect import COMMON_OPTIONS, no_file, release

ROOT = Path(__file__).parents[2]
DIALECTS = [registry.built_in()[name] for name in sorted(registry.built_in())]
DIALECTS = [dialect for n, dialect in enumerate(DIALECTS) if dialect not in DIALECTS[:n]]
DRIVERS = [(dialect, driver) for dialect in DIALECTS for driver in dialect.drivers]

EACH = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
EACH_DRIVER = pytest.mark.parametrize(
    ("dialect", "driver"), DRIVERS, ids=lambda value: value.name or "only"
)


def require(driver: Driver) -> Any:
    """The module of *driver*; the test is skipped where it is not installed."""
    if not driver.is_installed:
        pytest.skip(f"{driver.module} is not installed")
    return import_module(driver.module)


@EACH
def test_is_found_by_each_of_its_names(dialect: Dialect) -> None:
    for name in (dialect.name, *dialect.aliases):
        assert registry.get(name) is dialect
        assert registry.get(name.upper()) is dialect


def test_no_two_backends_share_a_name() -> None:
    names = Counter(name for dialect in DIALECTS for name in (dialect.name, *dialect.aliases))
    assert names.total() == len(names)
    assert set(names) == set(registry.built_in())


def test_each_module_declares_one_backend_of_its_name() -> None:
    folder = Path(import_module(registry.PACKAGE).__path__[0])
    modules = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert modules == {dialect.name for dialect in DIALECTS}


@EACH_DRIVER
def test_sqlalchemy_knows_the_driver(dialect: Dialect, driver: Driver) -> None:
    if dialect.plugin is not None:
        require(dialect.plugin)
    name = f"{dialect.name}.{driver.name}" if driver.name else dialect.name
    found = sqlalchemy_registry.load(name)
    assert found.name == dialect.name
    if driver.name:
        assert found.driver == driver.name
    asynchronous = found.get_async_dialect_cls(None) if driver.asynchronous else found
    assert asynchronous.is_async is driver.asynchronous
    with pytest.raises(NoSuchModuleError):
        sqlalchemy_registry.load(f"{dialect.name}.no_driver_of_this_name")


@EACH
def test_each_driver_works_in_a_world(dialect: Dialect) -> None:
    assert all(driver.sync or driver.asynchronous for driver in dialect.drivers)
    assert any(driver.sync for driver in dialect.drivers)  # migrations are ordinary work


EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]


@EACH
def test_what_is_to_be_installed_exists(dialect: Dialect) -> None:
    for driver in (*dialect.drivers, *([dialect.plugin] if dialect.plugin else [])):
        if not driver.package:
            assert driver.module in sys.stdlib_module_names
        elif driver.package.startswith("rxdb["):
            extras = driver.package.removeprefix("rxdb[").removesuffix("]").split(",")
            brought = {name for extra in extras for name in required(extra)}
            distributions = driver.distributions or (driver.module,)
            assert {d.replace("_", "-") for d in distributions} & brought, driver.package
        else:
            assert driver.package == driver.module  # a distribution that rxdb has no extra for


def required(extra: str) -> set[str]:
    """The distributions that an extra of rxdb installs."""
    return {re.split(r"[^\w.-]", line)[0].lower() for line in EXTRAS[extra]}


@EACH_DRIVER
def test_an_extra_asks_for_no_older_driver_than_is_needed(dialect: Dialect, driver: Driver) -> None:
    for line in EXTRAS.get(driver.package.removeprefix("rxdb[").removesuffix("]"), []):
        name, version = re.fullmatch(r"([\w.-]+).*>=([\d.]+)(,<.*)?", line).group(1, 2)  # type: ignore[union-attr]  # each line matches
        if name in (driver.distributions or (driver.module,)):
            assert release(version) >= release(driver.minimum), line


def test_the_matrix_runs_on_what_is_declared_for_it() -> None:
    declared = {dialect.name for dialect in DIALECTS if dialect.in_matrix}
    assert declared == set(databases.SERVERS)


@EACH
def test_the_declaration_is_whole(dialect: Dialect) -> None:
    assert dialect.title
    assert dialect.oldest
    assert dialect.types.keys() <= dialect.options | {
        option for driver in dialect.drivers for option in driver.options or ()
    }
    assert set(dialect.types.values()) <= {int, float, bool}
    if dialect.options & COMMON_OPTIONS:  # all of them, or none
        assert dialect.options >= COMMON_OPTIONS
    assert (dialect.port is None) is (dialect.file is not no_file)  # a server or a file


@pytest.mark.parametrize("name", ["postgresql+psycopg", "postgresql+psycopg2"])
def test_libpq_knows_the_options(name: str) -> None:
    (driver,) = (d for d in registry.get("postgresql").drivers if d.name == name.partition("+")[2])
    psycopg = require(registry.get("postgresql").drivers[0])
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    assert driver.options is not None
    newer = {"gssdelegation", "sslkeylogfile"}  # not in every libpq
    own = {"pgbouncer"}  # rxdb's
    assert {*driver.options, *registry.get("postgresql").options} - newer - own - known == set()


@pytest.mark.parametrize(
    ("name", "module", "function"),
    [
        ("asyncpg", "asyncpg", "connect"),
        ("pymysql", "pymysql.connections", "Connection"),
        ("asyncmy", "asyncmy", "connect"),
        ("aiomysql", "aiomysql", "connect"),
    ],
)
def test_the_connect_function_takes_the_options(name: str, module: str, function: str) -> None:
    driver = next(
        d for n in ("postgresql", "mysql") for d in registry.get(n).drivers if d.name == name
    )
    require(driver)
    taken = set(inspect.signature(getattr(import_module(module), function)).parameters)
    assert driver.options is not None
    own = {"prepared_statement_cache_size"}  # SQLAlchemy's
    assert driver.options - own - taken == set()


def test_mysqlclient_takes_the_options() -> None:
    (driver,) = (d for d in registry.get("mysql").drivers if d.name == "mysqldb")
    mysqldb = require(driver)
    values = {int: 1, bool: True}
    assert driver.options is not None
    for option in driver.options:
        value: Any = values.get(registry.get("mysql").types.get(option, str), "utf8mb4")
        with pytest.raises(mysqldb.Error):  # not TypeError: nobody listens at port 1
            mysqldb.connect(host="127.0.0.1", port=1, **{option: value})


# rxdb/ names no backend ------------------------------------------------------------------------

ALLOWED = {
    ("config.py", "sqlite"): "DBConfig.sqlite",
    ("config.py", "postgresql"): "DBConfig.postgresql",
    ("config.py", "postgresql+psycopg"): "DBConfig.postgresql_psycopg",
    ("config.py", "mysql"): "DBConfig.mysql",
    ("config.py", "mariadb"): "DBConfig.mariadb",
}
"""Where a name stands and why: a user asks for a backend by the name of a method."""


def decisions(tree: ast.Module) -> Iterator[str]:
    """Every text of a program that is no docstring."""
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    for node in texts:
        if isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value.lower()


def test_no_file_of_rxdb_names_a_backend() -> None:
    folder = Path(rxdb.__file__).parent
    found = {
        (path.relative_to(folder).as_posix(), text)
        for path in folder.rglob("*.py")
        for text in decisions(ast.parse(path.read_text(encoding="utf-8")))
        if text.partition("+")[0] in registry.built_in()
    }
    assert found == set(ALLOWED)


def test_no_backend_of_the_library_is_imported() -> None:
    for path in Path(rxdb.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith(registry.PACKAGE)], path


# A backend is one file -------------------------------------------------------------------------


FILE = '''"""A backend that is SQLite under another name."""
from dataclasses import replace
from rxdb_dialects.sqlite import dialect as sqlite
dialect = replace(sqlite, name="fakedb", title="FakeDB", aliases=("fake",))
'''


def test_adding_a_backend_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fakedb.py").write_text(FILE)
    package = import_module(registry.PACKAGE)
    with monkeypatch.context() as patch:
        patch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        patch.setattr(package, "fakedb", None, raising=False)  # goes at the end
        patch.setitem(sys.modules, f"{registry.PACKAGE}.fakedb", None)
        del sys.modules[f"{registry.PACKAGE}.fakedb"]
        registry.built_in.cache_clear()
        target = rxdb.parse("fake:///shop.db")
        assert target.dialect is registry.get("FAKEDB")
        assert target.url.drivername == "fakedb+pysqlite"
        assert "fakedb" in [dialect.name for dialect in registry.every()]
        with pytest.raises(rxdb.UnknownDialect, match="Did you mean 'fakedb'"):
            rxdb.parse("fakdb:///shop.db")
    registry.built_in.cache_clear()
    assert "fakedb" not in registry.built_in()


def test_a_relative_of_a_backend_is_a_change_to_it() -> None:
    parent = registry.get("mysql")
    child = replace(parent, name="child")
    same = {f.name for f in fields(Dialect) if getattr(child, f.name) == getattr(parent, f.name)}
    assert same == {f.name for f in fields(Dialect)} - {"name"}
    assert child != parent
