"""A dialect of another package works like one of rxdb's own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

import rxdb as rx
from rxdb import registry

PLUGIN = Path(__file__).parents[1] / "plugin"
BUILD = "import sys, hatchling.build as b; print(b.build_wheel(sys.argv[1]))"

SHOP = """
from importlib.metadata import entry_points
import rxdb as rx
from rxdb import registry

class Pet(rx.Model, table=True):
    name: str

rx.create_all("acmedb:///x.db")
with rx.session("acme:///x.db") as session:
    session.add_all([Pet(name="Ada"), Pet(name="Bob")])
    session.commit()
with rx.session("x.db", read_only=True) as session:
    assert session.exec(rx.select(Pet.name)).all() == ["Ada", "Bob"]
with rx.session("acmedb:///x.db", read_only=True) as session:
    session.add(Pet(name="Cid"))
    try:
        session.flush()
    except rx.ReadOnly:
        pass
    else:
        raise AssertionError("a read-only session wrote")

target = rx.parse("data.acme")
assert target.dialect is registry.get("ACME")
assert target.url.drivername == "acmedb+pysqlite", target
assert type(rx.get_engine("acmedb:///x.db").dialect).__name__ == "AcmeDialect"
names = [dialect.name for dialect in registry.every()]
assert names == sorted({*registry.built_in()} & {*names} | {"acmedb"}), names
try:
    rx.parse("acmdb:///x.db")
except rx.UnknownDialect as error:
    assert str(error) == "rxdb has no dialect 'acmdb'. Did you mean 'acmedb'?", error
print("works")
"""


def build(folder: Path) -> Path:
    """Build the wheel of tests/plugin."""
    done = run("-c", BUILD, str(folder), cwd=PLUGIN)
    return folder / done.splitlines()[-1]


def pack(folder: Path) -> Path:
    """Write the wheel of tests/plugin by hand, where nothing that builds one is installed."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    label = f"{project['name'].replace('-', '_')}-{project['version']}"
    groups = project["entry-points"].items()
    points = [
        f"[{g}]\n" + "".join(f"{n} = {v}\n" for n, v in points.items()) for g, points in groups
    ]
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    with ZipFile(folder / f"{label}-py3-none-any.whl", "w") as wheel:
        wheel.write(PLUGIN / "acmedb_rxdb.py", "acmedb_rxdb.py")
        wheel.writestr(f"{label}.dist-info/METADATA", metadata)
        wheel.writestr(f"{label}.dist-info/entry_points.txt", "\n".join(points))
    return folder / f"{label}-py3-none-any.whl"


def run(*arguments: str, cwd: Path, **environment: str) -> str:
    """Run this Python, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("make", [build, pack])
def test_a_backend_of_another_package_works(make: Callable[[Path], Path], tmp_path: Path) -> None:
    if make is build and find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds wheels, is not installed")
    site = tmp_path / "site"
    with ZipFile(make(tmp_path)) as wheel:
        wheel.extractall(site)  # what an installer does with a wheel of pure Python
    where = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    options = ("-W", "error", "-c", SHOP)
    assert run(*options, cwd=tmp_path, PYTHONPATH=where) == "works\n"
    assert {path.name for path in tmp_path.glob("*.db")} == {"x.db"}


CONFORMANCE = "from rxdb.testing.conformance import *\n"

LIAR = """
import dataclasses, acmedb_rxdb, rxdb

acmedb_rxdb.dialect = dataclasses.replace(
    acmedb_rxdb.dialect,
    features=acmedb_rxdb.dialect.features ^ {rxdb.Feature.SAVEPOINTS, rxdb.Feature.TLS},
)
"""


def test_its_declarations_are_tried_with_one_line(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = pytester.path / "site"
    with ZipFile(pack(pytester.path)) as wheel:
        wheel.extractall(site)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    pytester.makepyfile(test_acmedb=CONFORMANCE)
    options = ("-p", "rxdb.testing.plugin", "--rx-db=acme")
    result = pytester.runpytest_subprocess(*options, timeout=100)
    result.assert_outcomes(passed=len(rx.Feature))
    pytester.makeconftest(LIAR)
    result = pytester.runpytest_subprocess(*options, "-k", "savepoints or tls", timeout=100)
    result.assert_outcomes(failed=2)
    sentences = (
        "AcmeDB does not declare Feature.SAVEPOINTS, but the probe succeeded",
        "AcmeDB declares Feature.TLS, but *",
    )
    result.stdout.fnmatch_lines(sentences)


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a package that registers dialects: each name with the entry point's value."""

    def add(source: str, **points: str) -> None:
        (tmp_path / "acme_of_this_test.py").write_text(source)
        folder = tmp_path / "acme_of_this_test-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        lines = [f"{name} = {value}\n" for name, value in points.items()]
        (folder / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{''.join(lines)}")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "acme_of_this_test", raising=False)
        registry.plugins.cache_clear()

    return add


@pytest.fixture(autouse=True)
def _forget_plugins() -> Iterator[None]:
    yield
    registry.plugins.cache_clear()


MINE = """
from dataclasses import replace
from rxdb_dialects.sqlite import dialect as sqlite
dialect = replace(sqlite, name="mydb", aliases=("mine",))
impostor = replace(sqlite, name="sqlite", aliases=("postgres",), title="Impostor")
nothing = None
def function(): ...
"""


@pytest.mark.parametrize(
    ("source", "name", "problem"),
    [
        ("import nothing_of_that_name", "dialect", "No module named 'nothing_of_that_name'"),
        ("1 / 0", "dialect", "division by zero"),
        (MINE, "gone", "module 'acme_of_this_test' has no attribute 'gone'"),
        (MINE, "nothing", "NoneType"),
        (MINE, "function", "function"),
    ],
)
def test_a_plugin_that_cannot_be_used(
    source: str, name: str, problem: str, add: Callable[..., None]
) -> None:
    value = f"acme_of_this_test:{name}"
    add(source, bad=value)
    loads = " " not in problem
    sentence = (
        f"The entry point bad = {value} leads to a {problem}, not to an rxdb.Dialect."
        if loads
        else f"The dialect 'bad' of the entry point {value} does not load: {problem}. "
        f"Uninstall the package that brings it, or repair it."
    )
    for use in (lambda: rx.parse("bad:///x.db"), registry.every, lambda: rx.parse("x.bad")):
        with pytest.raises(rx.BadPlugin) as caught:
            use()
        assert str(caught.value) == sentence
        assert (caught.value.__cause__ is None) is loads
    # rxdb's own backends are not disturbed
    assert rx.parse("sqlite:///x.db").dialect is rx.parse("x.db").dialect is registry.get("sqlite")
    assert rx.parse("x.duckdb").dialect is registry.get("duckdb")


def test_a_plugin_does_not_replace_a_backend(add: Callable[..., None]) -> None:
    add(MINE, sqlite="acme_of_this_test:impostor", mydb="acme_of_this_test:dialect")
    assert registry.get("sqlite").title == "SQLite"
    assert registry.get("postgres").title == "PostgreSQL"
    assert registry.get("mine").name == "mydb"
    assert [d.title for d in registry.every() if d.name == "sqlite"] == ["SQLite"]


def test_a_name_of_rxdb_reads_no_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry_points(group: str) -> list[object]:
        raise AssertionError(f"the entry points {group} were read")

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    for name in registry.built_in():
        assert registry.get(name.upper())
    for text in ("app.db", "sqlite:///app.db", "postgresql://h/db", "app.duckdb", ":memory:"):
        assert rx.parse(text)
    with pytest.raises(AssertionError, match=f"the entry points {registry.GROUP} were read"):
        registry.get("other")


def test_entry_points_are_read_once(
    add: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    add(MINE, mydb="acme_of_this_test:dialect")
    assert registry.get("mydb") is registry.get("MINE")
    monkeypatch.setattr(metadata, "entry_points", None)
    assert registry.get("mydb") is registry.get("mine")
