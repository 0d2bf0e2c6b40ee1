"""What ``rxdb doctor`` finds out, says and exits with."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote, quote_plus

import click
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

import rxdb
from rxdb import Dialect, Driver, Target, cli, registry
from rxdb.cli import facts
from rxdb.errors import BadURL

PASSWORD = "p@ss wörd/%:?&"

ALL_KEYS = {
    "": {"works", "versions", "notes", "dialects", "databases"},
    "versions": {"python", "rxdb", "sqlalchemy", "sqlmodel", "alembic", "greenlet"},
    "dialects": {"name", "title", "oldest", "drivers", "plugin"},
    "drivers": {"name", "module", "state", "version", "sync", "async", "install", "reason"},
    "databases": {
        "url",
        "source",
        "works",
        "problem",
        "note",
        "dialect",
        "title",
        "sessions",
        "checked_through",
        "server_version",
        "round_trip_ms",
        "settings",
    },
    "sessions": {"driver", "reason"},
    "settings": {"value", "error"},
}


def doctor(*arguments: str, **environment: str) -> Result:
    result = CliRunner().invoke(
        cli.cli, ["doctor", *arguments], env={"COLUMNS": "80"} | environment
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def report(*arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
    result = doctor("--json", *arguments, **environment)
    found: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, found


def database(*arguments: str, **environment: str) -> dict[str, Any]:
    """Return what is said about the one configured database."""
    code, found = report(*arguments, **environment)
    (only,) = found["databases"]
    assert code == (0 if only["works"] else 1)
    assert found["works"] is only["works"] is (only["problem"] is None)
    return dict(only)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database that is there."""
    path = tmp_path / "app.db"
    sqlite3.connect(path).execute("CREATE TABLE pet (name TEXT)").connection.close()
    return path


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens at: bound, so that nobody else takes it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the dialect of SQLite be another one for this test."""

    def change(**fields: Any) -> None:
        changed = replace(registry.get("sqlite"), **fields)
        dialects = {**registry.built_in(), "sqlite": changed}
        monkeypatch.setattr(registry, "built_in", lambda: dialects)

    return change


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Add the dialect ``acme`` of another package, whose one driver is a module made here."""
    modules = tmp_path / "modules"
    modules.mkdir()
    monkeypatch.syspath_prepend(modules)

    def plugin(source: str | None, version: str = "1.5", **fields: Any) -> dict[str, Any]:
        name = f"acme_{modules.parent.name}".replace("-", "_")
        if source is not None:
            (modules / f"{name}.py").write_text(source)
            metadata = modules / f"{name}-{version}.dist-info" / "METADATA"
            metadata.parent.mkdir()
            metadata.write_text(f"Name: {name}\nVersion: {version}\n")
        driver = Driver(name="fast", module=name, package="acme-fast", **fields)
        acme = Dialect(name="acme", title="Acme", drivers=(driver,))
        monkeypatch.setattr(registry, "plugins", lambda: {"acme": acme})
        monkeypatch.delitem(sys.modules, name, raising=False)
        _, found = report()
        (told,) = [dialect for dialect in found["dialects"] if dialect["name"] == "acme"]
        return dict(told["drivers"][0])

    return plugin


# The drivers


def test_every_dialect_and_driver_is_there() -> None:
    _, found = report()
    assert [d["name"] for d in found["dialects"]] == [d.name for d in registry.every()]
    for told, dialect in zip(found["dialects"], registry.every(), strict=True):
        assert [d["module"] for d in told["drivers"]] == [d.module for d in dialect.drivers]
        assert (told["plugin"] is None) is (dialect.plugin is None)
        if told["plugin"]:
            assert (told["plugin"]["sync"], told["plugin"]["async"]) == (None, None)


def test_an_installed_driver(plugin: Any) -> None:
    told = plugin("", sync=False, asynchronous=True)
    assert told.pop("module").startswith("acme_")
    assert told == {
        "name": "fast",
        "state": "installed",
        "version": "1.5",
        "sync": False,
        "async": True,
        "install": "pip install acme-fast",
        "reason": None,
    }


def test_a_driver_that_is_not_installed(plugin: Any) -> None:
    told = plugin(None)
    assert (told["state"], told["version"], told["reason"]) == ("not installed", None, None)
    assert told["install"] == "pip install acme-fast"
    assert "acme-fast" in doctor().output


def test_a_driver_that_is_a_part_of_python_has_no_line() -> None:
    _, found = report()
    (sqlite,) = [dialect for dialect in found["dialects"] if dialect["name"] == "sqlite"]
    assert sqlite["drivers"][0]["install"] is None


def test_a_driver_whose_library_is_missing(plugin: Any) -> None:
    told = plugin("raise ImportError('libacme.so.5: cannot open shared object file')")
    assert (told["state"], told["version"]) == ("broken", "1.5")
    assert "libacme.so.5" in told["reason"]
    assert told["install"] in told["reason"]
    shown = doctor()
    assert told["reason"] in shown.output.splitlines()
    assert shown.exit_code == 0  # the configured database does not use it


def test_a_driver_that_is_too_old(plugin: Any) -> None:
    told = plugin("", minimum="1.10")
    assert told["state"] == "too old"
    assert "version 1.5, rxdb needs 1.10 or later" in told["reason"]


def test_a_broken_dialect_of_another_package_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint(name="acme", value="no_such_module:dialect", group=registry.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [entry])
    registry.plugins.cache_clear()
    code, found = report()
    assert code == 0
    assert "no_such_module" in found["notes"][0]
    assert "sqlite" in [dialect["name"] for dialect in found["dialects"]]
    assert found["notes"][0] in doctor().output.splitlines()


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    ("lock", "line"),
    [
        ("", "pip install 'rxdb[duckdb]'"),
        ("uv.lock", "uv add 'rxdb[duckdb]'"),
        ("poetry.lock", "poetry add 'rxdb[duckdb]'"),
    ],
)
def test_install_lines_can_be_copied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, columns: int, lock: str, line: str
) -> None:
    if lock:
        (tmp_path / lock).touch()
    monkeypatch.setattr(Driver, "is_installed", property(lambda _: False))
    result = doctor(COLUMNS=str(columns))
    assert result.exit_code == 1
    lines = [printed.rstrip() for printed in result.output.splitlines()]
    assert any(printed.endswith(f"  {line}") for printed in lines)
    for dialect in registry.every():
        for driver in dialect.drivers:
            package = driver.package or "built with it"
            assert any(p.endswith((f" {package}", f" '{package}'")) for p in lines), package
    tables = lines[: lines.index("Database sqlite:///reflex.db")]
    assert max(map(len, tables)) <= columns
    assert "…" not in result.output


def test_no_command_is_cut_where_the_terminal_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver, "is_installed", property(lambda _: False))
    assert "…" not in doctor(COLUMNS="30").output


def test_no_line_is_broken_where_nobody_looks(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 60) / ("b" * 60)
    folder.mkdir(parents=True)
    (folder / "app.db").touch()
    shop = folder / "rxconfig.py"
    shop.write_text("import rxdb as rx\n\nconfig = rx.Config(db_url='sqlite:///app.db')\n")
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [sys.executable, "-m", "rxdb", "doctor"]
    run = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=True)
    lines = [line.rstrip() for line in run.stdout.splitlines()]
    assert f"db_url in {shop}" in [line.removeprefix("from").strip() for line in lines]


def test_no_colours_where_nobody_looks() -> None:
    assert "\x1b" not in doctor().output


# The configured database


@pytest.mark.parametrize(
    ("environment", "config", "arguments", "source"),
    [
        ({}, "", [], "default"),
        ({"DATABASE_URL": "sqlite:///app.db"}, "", [], "DATABASE_URL"),
        ({"RXDB_URL": "sqlite:///app.db"}, "db_url='sqlite:///other.db'", [], "RXDB_URL"),
        ({}, "db_url='sqlite:///app.db'", [], "db_url in {folder}/rxconfig.py"),
        ({"RXDB_URL": "sqlite:///other.db"}, "", ["--url", "sqlite:///app.db"], "--url"),
    ],
)
def test_where_the_url_came_from(
    tmp_path: Path,
    environment: Mapping[str, str],
    config: str,
    arguments: list[str],
    source: str,
) -> None:
    if config:
        (tmp_path / "rxconfig.py").write_text(f"import rxdb as rx\nconfig = rx.Config({config})\n")
    source = source.format(folder=tmp_path)
    found = database(*arguments, **environment)
    name = "reflex" if source == "default" else "app"
    assert (found["url"], found["source"]) == (f"sqlite+pysqlite:///{tmp_path}/{name}.db", source)
    shown = doctor(*arguments, COLUMNS="300", **environment).output
    assert found["url"] in shown
    assert ["from", source] in [line.rstrip().split(maxsplit=1) for line in shown.splitlines()]


def test_a_database_that_is_there(file: Path) -> None:
    found = database("--url", f"sqlite:///{file}")
    assert found["server_version"] == sqlite3.sqlite_version
    assert found["round_trip_ms"] > 0
    assert list(found["settings"]) == list(registry.get("sqlite").settings)
    assert found["settings"]["busy timeout (ms)"] == {"value": "5000", "error": None}
    assert found["settings"]["foreign keys"] == {"value": "1", "error": None}
    shown = doctor("--url", f"sqlite:///{file}").output
    assert f"SQLite {sqlite3.sqlite_version}" in shown
    assert "It works." in shown


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    found = database(RXDB_URL="sqlite:///new.db")
    assert found["works"]
    assert found["note"] == "no file yet: it is made at the first session"
    assert found["note"] in doctor(RXDB_URL="sqlite:///new.db").output
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder(tmp_path: Path) -> None:
    found = database(RXDB_URL="sqlite:///data/new.db")
    assert found["problem"].startswith(f"The folder {tmp_path}/data for the database file new.db")
    result = doctor(RXDB_URL="sqlite:///data/new.db")
    assert result.exit_code == 1
    assert found["problem"] in result.output.splitlines()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_in_a_folder_that_cannot_be_written_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = database(RXDB_URL="sqlite:///new.db")
    assert "cannot be written to. Check that " in found["problem"]


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "app.db").write_text("This is a shopping list. " * 99)
    found = database(RXDB_URL="sqlite:///app.db")
    assert found["problem"] == (
        f"The database cannot be used: file is not a database. Check that {tmp_path}/app.db is a "
        f"SQLite database that you may read and write, and that no other process holds it."
    )


def test_an_asynchronous_driver_does_where_the_url_names_one(file: Path) -> None:
    pytest.importorskip("aiosqlite")
    found = database("--url", f"sqlite+aiosqlite:///{file}")
    assert found["works"]
    assert found["checked_through"] == "sqlite+aiosqlite"
    assert found["server_version"] == sqlite3.sqlite_version
    assert found["settings"]["journal mode"]["value"] == "wal"
    assert found["sessions"]["rx.asession"] == {"driver": "aiosqlite", "reason": None}
    reason = found["sessions"]["rx.session"]["reason"]
    assert "is not synchronous" in reason
    assert reason in doctor("--url", f"sqlite+aiosqlite:///{file}").output.splitlines()


def test_an_asynchronous_driver_does_where_no_other_is_installed(file: Path, change: Any) -> None:
    pytest.importorskip("aiosqlite")
    missing, asynchronous = registry.get("sqlite").drivers
    change(drivers=(replace(missing, module="no_such_module", package="acme"), asynchronous))
    found = database("--url", f"sqlite:///{file}")
    assert found["works"]
    assert found["checked_through"] == "sqlite+aiosqlite"
    reason = found["sessions"]["rx.session"]["reason"]
    assert "Run: pip install acme" in reason
    assert reason in doctor("--url", f"sqlite:///{file}").output.splitlines()


def test_a_broken_driver_is_a_problem_although_an_asynchronous_one_works(
    file: Path, change: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiosqlite")
    (tmp_path / "broken_driver.py").write_text("raise ImportError('libsqlite3.so')")
    monkeypatch.syspath_prepend(tmp_path)
    broken, asynchronous = registry.get("sqlite").drivers
    change(drivers=(replace(broken, module="broken_driver"), asynchronous))
    found = database("--url", f"sqlite:///{file}")
    assert "'broken_driver' is installed but does not load: libsqlite3.so" in found["problem"]


def test_another_database_for_asynchronous_work(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiosqlite")
    environment = {"RXDB_URL": "sqlite:///new.db", "RXDB_ASYNC_URL": f"sqlite:///{file}"}
    code, found = report(**environment)
    ordinary, asynchronous = found["databases"]
    assert code == 0
    assert (ordinary["source"], asynchronous["source"]) == ("RXDB_URL", "RXDB_ASYNC_URL")
    assert ordinary["checked_through"] == "sqlite+pysqlite"
    assert asynchronous["checked_through"] == "sqlite+aiosqlite"
    assert list(ordinary["sessions"]) == ["rx.session"]
    assert list(asynchronous["sessions"]) == ["rx.asession"]
    shown = doctor(**environment).output
    assert ordinary["url"] in shown
    assert asynchronous["url"] in shown


def test_the_same_database_for_asynchronous_work_is_told_once(file: Path) -> None:
    url = f"sqlite:///{file}"
    assert database(RXDB_URL=url, RXDB_ASYNC_URL=url)["source"] == "RXDB_URL"


def test_a_failure_of_either_database_is_one(file: Path) -> None:
    code, found = report(RXDB_URL=f"sqlite:///{file}", RXDB_ASYNC_URL="sqlite:///data/new.db")
    assert code == 1
    assert found["works"] is False
    assert [d["works"] for d in found["databases"]] == [True, False]


def test_a_server_that_is_too_old(file: Path, change: Any) -> None:
    change(oldest=(99, 1))
    found = database("--url", f"sqlite:///{file}")
    assert found["problem"] == (
        f"SQLite {sqlite3.sqlite_version} is older than 99.1, the oldest that rxdb supports. "
        f"Upgrade it."
    )
    assert found["settings"]  # the rest is told all the same


@pytest.mark.parametrize(
    ("answer", "version", "works"),
    [("4.5.6-dev", "4.5.6-dev", True), ("2.9", "2.9", False), ("unknown", None, True)],
)
def test_a_dialect_may_ask_for_the_version_itself(
    file: Path, change: Any, answer: str, version: str | None, works: bool
) -> None:
    change(oldest=(3, 0), version_query=f"SELECT '{answer}'")
    found = database("--url", f"sqlite:///{file}")
    assert (found["server_version"], found["works"]) == (version, works)
    assert (version or "of unknown version") in doctor("--url", f"sqlite:///{file}").output


def test_duckdb_tells_its_own_version() -> None:
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("duckdb_engine")
    assert database("--url", "duckdb://")["server_version"] == duckdb.__version__


def test_a_question_that_fails_does_not_end_the_report(file: Path, change: Any) -> None:
    change(
        settings={
            "first": "SELECT missing",
            "TLS": "SELECT ''",
            "none": "SELECT 1 WHERE 0",
            "last value": "SELECT 1, 'answer'",
        }
    )
    found = database("--url", f"sqlite:///{file}")
    assert found["works"]
    assert found["settings"] == {
        "first": {"value": None, "error": "no such column: missing."},
        "TLS": {"value": "no", "error": None},
        "none": {"value": "", "error": None},
        "last value": {"value": "answer", "error": None},
    }
    shown = doctor("--url", f"sqlite:///{file}").output
    assert "not known: no such column: missing." in shown
    assert ["none", "(empty)"] in [line.split() for line in shown.splitlines()]


def test_what_else_writes_to_stdout_goes_elsewhere(file: Path, tmp_path: Path) -> None:
    (tmp_path / "rxconfig.py").write_text(
        f"import rxdb as rx\nprint('noise')\nconfig = rx.Config(db_url='sqlite:///{file}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "rxdb", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SQLALCHEMY_ECHO": "true"},
    )
    assert json.loads(done.stdout)["works"] is True
    assert "noise" in done.stderr
    assert "PRAGMA" in done.stderr


# What cannot work


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgrsql://u:hunter2@h/app", "Did you mean 'postgresql'?"),
        ("postgresql://u:hunter2@more@h/app", "holds an unquoted '@'"),
        ("sqlite://hunter2/app.db", "SQLite has no host"),
        ("sqlite:///app.db?pasword=hunter2", "no connection option 'pasword'"),
        ("hunter2", "This is not a database URL."),
        ("", "This is not a database URL."),
    ],
)
def test_a_url_that_cannot_be_read(url: str, problem: str) -> None:
    found = database("--url", url)
    assert problem in found["problem"]
    assert found["source"] == "--url"
    assert "hunter2" not in found["url"]
    assert "more" not in found["url"]
    result = doctor("--url", url)
    assert result.exit_code == 1
    assert found["problem"] in result.output.splitlines()


def test_an_rxconfig_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "rxconfig.py").write_text("import no_such_module")
    found = database()
    assert f"{tmp_path}/rxconfig.py, line 1: ModuleNotFoundError" in found["problem"]
    result = doctor()
    assert result.exit_code == 1
    assert found["problem"] in result.output.splitlines()
    assert "SQLite" in result.output  # the drivers are told all the same


def test_a_driver_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver, "is_installed", property(lambda _: False))
    url = f"postgresql://app:{quote(PASSWORD, safe='')}@db.example/app?sslpassword=hunter2"
    found = database("--url", url)
    assert found["problem"].startswith("No driver for PostgreSQL is installed. Run: pip install")
    assert found["url"] == "postgresql://app:***@db.example/app?sslpassword=%2A%2A%2A"


@pytest.mark.parametrize(
    "drivername", ["postgresql+psycopg", "postgresql+asyncpg", "mysql+pymysql"]
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_server_that_is_not_there(drivername: str, as_json: bool, closed_port: int) -> None:
    pytest.importorskip(drivername.partition("+")[2])
    pytest.importorskip("greenlet")
    quoted = quote(PASSWORD, safe="")
    url = f"{drivername}://app:{quoted}@127.0.0.1:{closed_port}/app?connect_timeout=3"
    arguments = ["--json"] if as_json else []
    result = doctor(*arguments, RXDB_URL=url)
    assert result.exit_code == 1
    assert "The database cannot be used: " in result.output
    assert (
        f"Check that the server runs at 127.0.0.1:{closed_port}, and that the user, the password "
        f"and the database of RXDB_URL are the right ones."
    ) in result.output
    assert "Traceback" not in result.output
    for secret in (PASSWORD, quoted, quote_plus(PASSWORD), json.dumps(PASSWORD)[1:-1]):
        assert secret not in result.output


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(111, "Connection refused"), "Connection refused."),
        (RuntimeError(), "RuntimeError."),
        (RuntimeError(f"as app:{PASSWORD}"), "as app:***."),
        (RuntimeError(f"as app:{quote(PASSWORD, safe='')}!"), "as app:***!"),
        (RuntimeError(f"as {quote_plus(PASSWORD)}"), "as ***."),
        (RuntimeError("the key s3cret"), "the key ***."),
        (RuntimeError("to other://app:unknown@h"), "to other://app:***@h."),
        (RuntimeError("failed\n\tIs it running?\n"), "failed. Is it running?"),
        (RuntimeError((20009, b"no answer")), "no answer."),
        (RuntimeError("<class 'driver.Refused'>: no"), "no."),
        (OperationalError("SELECT 1", {}, Exception(2003, "no route")), "no route."),
        (BadURL("Write:  a   b"), "Write:  a   b"),
    ],
)
def test_what_is_said_of_an_error(error: Exception, told: str) -> None:
    url = make_url("postgresql+psycopg://db.example/app?sslpassword=s3cret")
    dialect = registry.get("postgresql")
    plain = Target(dialect=dialect, driver=dialect.drivers[0], url=url.set(password=PASSWORD))
    asked = replace(plain, url=url, password=lambda: PASSWORD)
    assert facts.reason(error, plain) == told
    assert facts.reason(error, asked) == told


def test_a_secret_that_holds_another_is_hidden_whole() -> None:
    url = make_url("postgresql+psycopg://app:abc@db.example/app?sslpassword=abcdef")
    dialect = registry.get("postgresql")
    target = Target(dialect=dialect, driver=dialect.drivers[0], url=url)
    assert facts.reason(RuntimeError("abcdef and abc"), target) == "*** and ***."


def test_a_password_that_cannot_be_found_does_not_hide_the_error() -> None:
    pytest.importorskip("psycopg")
    url = "postgresql+psycopg://app@127.0.0.1:1/app?password_env=NO_SUCH_VARIABLE"
    found = database(RXDB_URL=url)
    assert found["url"] == "postgresql+psycopg://app@127.0.0.1:1/app"
    assert "the environment variable NO_SUCH_VARIABLE" in found["problem"]


# The command


def test_the_keys_of_json(file: Path) -> None:
    _, found = report("--url", f"sqlite:///{file}")
    assert set(found) == ALL_KEYS[""]
    assert set(found["versions"]) == ALL_KEYS["versions"]
    assert found["versions"]["rxdb"] == rxdb.__version__
    for dialect in found["dialects"]:
        assert set(dialect) == ALL_KEYS["dialects"]
        for driver in (*dialect["drivers"], *filter(None, [dialect["plugin"]])):
            assert set(driver) == ALL_KEYS["drivers"]
    (only,) = found["databases"]
    assert set(only) == ALL_KEYS["databases"]
    assert set(only["sessions"]) == {"rx.session", "rx.asession"}
    for name in ("sessions", "settings"):
        for value in only[name].values():
            assert set(value) == ALL_KEYS[name]


def test_the_keys_of_json_are_in_the_help() -> None:
    text = doctor("--help").output
    assert all(
        key in text for name in ("", "dialects", "drivers", "databases") for key in ALL_KEYS[name]
    )


@pytest.mark.parametrize("arguments", [["--jsn"], ["--url"], ["more"]])
def test_a_wrong_option_exits_with_2(arguments: list[str]) -> None:
    result = doctor(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.output


def test_version() -> None:
    output = CliRunner().invoke(cli.cli, ["--version"]).output
    assert output == f"rxdb, version {rxdb.__version__}\n"


def test_an_unknown_command_exits_with_2() -> None:
    assert CliRunner().invoke(cli.cli, ["doktor"]).exit_code == 2


def test_commands_load_when_they_are_used() -> None:
    code = "import sys, rxdb.cli; print({'sqlalchemy', 'rich'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("arguments", [["fail"], ["group", "fail"]])
def test_an_error_of_any_command_is_a_red_sentence(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    @click.command
    def fail() -> None:
        raise BadURL("It is wrong: postgresql://app:hunter2@h/app. Write it anew.")

    for name, command in {"fail": fail, "group": click.Group("group", {"fail": fail})}.items():
        module = ModuleType(f"commands_{name}")
        vars(module)["command"] = command
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(cli.COMMANDS, name, module.__name__)
    result = CliRunner().invoke(cli.cli, arguments, color=True)
    sentence = "It is wrong: postgresql://app:***@h/app. Write it anew."
    assert result.exit_code == 1
    assert result.output == f"\x1b[31m{sentence}\x1b[0m\n"
