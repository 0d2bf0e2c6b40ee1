"""What ``import rxdb`` costs and gives."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import rxdb as rx
from rxdb import errors

HEAVY = {
    *("sqlalchemy", "sqlmodel", "alembic", "rich", "click", "pydantic", "greenlet", "typing"),
    *("asyncio", "dataclasses", "importlib.metadata", "inspect", "logging", "re", "ssl"),
}

LIGHT = {"rxdb", "__future__", "warnings", "_frozen_importlib", "_imp"}

TREE = ast.parse(Path(rx.__file__).read_text(encoding="utf-8"))


def loaded(statement: str) -> set[str]:
    """The modules that *statement* loads in a Python of its own."""
    program = (
        "import json, sys; before = set(sys.modules)\n"
        f"{statement}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    return set(json.loads(done.stdout))


def test_importing_rxdb_loads_next_to_nothing() -> None:
    found = loaded("import rxdb")
    assert found & HEAVY == set()
    assert {name for name in found if name.startswith("rxdb")} == {"rxdb"}
    assert {name for name in found if not name.startswith("importlib")} <= LIGHT


@pytest.mark.parametrize(
    ("statement", "without"),
    [
        ("import rxdb; dir(rxdb); rxdb.__version__", "rxdb.config sqlalchemy typing"),
        ("import rxdb; rxdb.DBConfig.sqlite('a.db')", "sqlalchemy sqlmodel alembic click rich"),
        ("import rxdb; rxdb.get_config(); rxdb.BadURL; rxdb.Feature", "sqlalchemy sqlmodel"),
        ("import rxdb.config, rxdb.dialect, rxdb.registry, rxdb.errors", "sqlalchemy ssl"),
        ("import rxdb.registry; rxdb.registry.every()", "sqlalchemy sqlite3 duckdb psycopg"),
        ("import rxdb; rxdb.parse('app.db')", "sqlmodel alembic click rich duckdb psycopg"),
        ("import rxdb; rxdb.get_engine('app.db')", "sqlmodel alembic click rich duckdb psycopg"),
        ("import rxdb.__main__", "click rich sqlalchemy"),
    ],
)
def test_a_module_loads_when_it_is_needed(statement: str, without: str) -> None:
    assert loaded(statement) & set(without.split()) == set()


@pytest.mark.parametrize("name", rx.__all__)
def test_a_public_name_is_the_object_of_its_home(name: str) -> None:
    home = import_module(rx._NAMES[name])
    assert getattr(rx, name) is getattr(home, name)
    assert vars(rx)[name] is getattr(home, name)  # kept after its first use


def test_the_public_names() -> None:
    assert len(set(rx.__all__)) == len(rx.__all__)
    assert dir(rx) == sorted(dir(rx))
    show = [sys.executable, "-c", "import rxdb; print(*dir(rxdb))"]  # before one of them is used
    shown = subprocess.run(show, check=True, capture_output=True, text=True, timeout=60).stdout
    assert {*rx.__all__, "__version__"} <= set(shown.split())


def test_every_error_is_public() -> None:
    found = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, rx.RxdbError)
    }
    assert found - set(rx.__all__) == set()


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"^module 'rxdb' has no attribute 'sesion'$"):
        rx.sesion  # noqa: B018 - the point of the test
    with pytest.raises(ImportError, match="cannot import name 'sesion'"):
        from rxdb import sesion  # noqa: F401 - the point of the test


def test_type_checkers_see_the_same_names() -> None:
    (block,) = (
        node
        for node in TREE.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {
        (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname  # handed on, says PEP 484
    }
    assert seen == {(home, name) for home, names in rx._HOMES.items() for name in names}


def test_the_version_is_that_of_the_distribution() -> None:
    found = Path(rx.__file__).parents[1] / "pyproject.toml"
    if not found.is_file():
        pytest.skip("this rxdb was installed from a wheel")
    assert tomllib.loads(found.read_text())["project"]["version"] == rx.__version__
