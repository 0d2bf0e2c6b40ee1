"""What ``rxdb db`` loads, asks, prints and exits with, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from rxdb import Driver, cli, registry
from rxdb.cli import db, output

HERO = """
import rxdb as rx


class Hero(rx.Model, table=True):
    name: str
"""

CONFIG = """
import rxdb as rx

config = rx.Config(app_name="shop", db_url="sqlite:///shop.db"{more})
"""


def rxdb(*arguments: str, folder: Path | None = None, **environment: str) -> Any:
    """Run the command line as a user does, where warnings are errors."""
    own = ("RXDB_", "REFLEX_", "SQLALCHEMY_", "DATABASE_URL", "DB_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return subprocess.run(
        [sys.executable, "-B", "-W", "error", "-m", "rxdb", *arguments],
        capture_output=True,
        check=False,
        cwd=folder,
        encoding=environment.get("PYTHONIOENCODING", "utf-8"),
        env={**kept, "PYTHONIOENCODING": "utf-8", **environment},
        timeout=60,
    )


def done(*arguments: str, folder: Path | None = None) -> str:
    """Return what a command prints that has to succeed, without a word on the error stream."""
    result = rxdb("db", *arguments, folder=folder)
    assert (result.returncode, result.stderr) == (0, "")
    return str(result.stdout)


def configure(more: str = "") -> None:
    Path("rxconfig.py").write_text(CONFIG.format(more=more))


def model(*fields: str) -> None:
    """Write the application's model, with more fields than the name."""
    Path("shop").mkdir(exist_ok=True)
    Path("shop/shop.py").write_text(HERO + "".join(f"    {field}\n" for field in fields))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """An application with one model and no migrations, in the current folder."""
    configure()
    model()
    return tmp_path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """That application after its first revision was applied, and the revision."""
    folder = tmp_path_factory.mktemp("made")
    with chdir(folder):
        configure()
        model()
        return folder, str(json.loads(done("init", "--json"))["revision"])


@pytest.fixture
def first(tmp_path: Path, made: tuple[Path, str]) -> str:
    """The first revision, applied in the current folder; a copy, for commands take long."""
    folder, revision = made
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return revision


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens at: bound, so that nobody else takes it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_status_loads_neither_models_nor_what_migrates(first: str) -> None:
    program = (
        "import sys; sys.argv = ['rxdb', 'db', 'status']\n"
        "import rxdb.__main__\n"
        "try:\n    rxdb.__main__.main()\n"
        "finally:\n    print(*sorted(sys.modules))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    *said, modules = shown.stdout.splitlines()
    assert said[-1] == f"The database is at head ({first})."
    names = {name.partition(".")[0] for name in modules.split()}
    assert names & {"alembic", "sqlmodel", "sqlalchemy", "pydantic", "rich", "shop"} == set()


def test_success_is_never_silent_and_never_noisy(first: str) -> None:
    """In Reflex migrate, and makemigrations without a change, print nothing; each command prints
    warnings."""
    model("age: int | None = None")
    for command in (
        ["makemigrations", "-m", "age"],
        ["makemigrations", "--empty", "-m", "by hand", "--json"],
        ["migrate", "--plan"],
        ["migrate"],
        ["makemigrations"],
        ["status"],
        ["check"],
        ["history"],
        ["heads"],
        ["merge"],
        ["repair"],
        ["stamp"],
        ["wait"],
        ["squash"],
        ["downgrade", "-1"],
    ):
        assert done(*command).strip(), command


ELSEWHERE = ", and no rxconfig.py here or above. Go to the folder of the application, or write "


@pytest.mark.parametrize(
    ("command", "kind", "next_step"),
    [
        (["status"], "NotInitialized", ELSEWHERE),
        (["check"], "NotInitialized", ELSEWHERE),
        (["migrate"], "NotInitialized", ELSEWHERE),
        (["migrate", "--plan"], "NotInitialized", ELSEWHERE),
        (["migrate", "--sql"], "NotInitialized", ELSEWHERE),
        (["downgrade", "-1"], "NotInitialized", ELSEWHERE),
        (["makemigrations"], "NotInitialized", ELSEWHERE),
        (["stamp"], "NotInitialized", ELSEWHERE),
        (["history"], "NotInitialized", ELSEWHERE),
        (["heads"], "NotInitialized", ELSEWHERE),
        (["merge"], "NotInitialized", ELSEWHERE),
        (["squash"], "NotInitialized", ELSEWHERE),
        (["init"], "NoModels", ELSEWHERE),
    ],
)
def test_outside_a_project(command: list[str], kind: str, next_step: str, tmp_path: Path) -> None:
    """In Reflex these end in a traceback, or in the exit code 0."""
    result = rxdb("db", *command, "--json")
    assert result.returncode == 1
    assert next_step in result.stderr
    assert "Traceback" not in result.stderr
    found = json.loads(result.stdout)
    assert found["error"]["kind"] == kind
    assert next_step in found["error"]["message"]
    assert not (tmp_path / "alembic.ini").exists()
    assert not list(tmp_path.glob("*.db"))


@pytest.mark.parametrize("command", ["status", "migrate", "makemigrations", "check", "repair"])
def test_a_server_that_is_not_there(first: str, command: str, closed_port: int) -> None:
    url = f"postgresql://me:s3cret@127.0.0.1:{closed_port}/shop"
    result = rxdb("db", command, "--url", url)
    assert result.returncode == 1
    assert result.stdout.count(" (--url)\n") == result.stdout.count("\n") == (command == "migrate")
    assert result.stderr.startswith("The database cannot be used: ")
    assert f"Check that the server runs at 127.0.0.1:{closed_port}" in result.stderr
    assert result.stderr.count("\n") == 1
    assert "s3cret" not in result.stdout + result.stderr


def test_an_application_without_migrations_or_models(shop: Path) -> None:
    result = rxdb("db", "status")
    assert result.stderr == f"There are no migrations in {shop}. Run: rxdb db init\n"
    Path("shop/shop.py").unlink()
    named = 'Name their modules in rxconfig.py: rx.Config(models=["shop.models"])'
    result = rxdb("db", "init")
    assert result.stderr == f"No models with table=True were found in shop. {named}\n"


@pytest.mark.parametrize("command", ["init", "makemigrations", "migrate", "status", "wait"])
def test_the_folder_of_the_file_is_not_there(shop: Path, command: str) -> None:
    if command != "init":
        done("init")
        model("age: int | None = None")
    result = rxdb("db", command, RXDB_URL="sqlite:///data/shop.db")
    assert result.returncode == 1
    assert result.stderr == (
        f"The folder {shop}/data for the database file shop.db does not exist. "
        f"Call rx.create_all(), which makes it, or run: mkdir -p {shop}/data\n"
    )


def test_a_failed_init_can_be_repeated(shop: Path, closed_port: int) -> None:
    """In Reflex the files of the failed one stay, and the next one says that all is well."""
    failing = [f"mysql+pymysql://me@127.0.0.1:{closed_port}/shop", "sqlite:////proc/no/shop.db"]
    for url in failing:
        result = rxdb("db", "init", "--url", url)
        assert (result.returncode, result.stdout.count("\n")) == (1, 1), url
        assert "Traceback" not in result.stderr, result.stderr
        assert {path.name for path in shop.iterdir()} == {"rxconfig.py", "shop"}
    assert "The database is at head" in done("init")


def test_a_driver_that_is_not_installed(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Reflex migrate then prints a hint and exits with 0, and status ends in a traceback."""
    nobody = Driver(name="nobody", module="module_of_nobody", package="rxdb[nobody]", sync=True)
    lacking = replace(registry.get("sqlite"), drivers=(nobody,), glance=lambda *_: None)
    dialects = {**registry.built_in(), "sqlite": lacking}
    monkeypatch.setattr(registry, "built_in", lambda: dialects)
    for command in ("status", "migrate", "makemigrations", "check", "repair", "wait"):
        result = CliRunner().invoke(cli.cli, ["db", command])
        assert (result.exit_code, result.stdout) == (1, ""), command
        assert "Run: pip install 'rxdb[nobody]'" in result.stderr


def test_the_variable_that_is_not_read_is_told(tmp_path: Path) -> None:
    """In Reflex ``DB_URL`` is passed over without a word."""
    result = rxdb("db", "status", DB_URL="sqlite:///other.db")
    assert 'export RXDB_URL="$DB_URL"' in result.stderr
    configure()
    assert "DB_URL" not in rxdb("db", "status", DB_URL="sqlite:///other.db").stderr


def test_works_from_a_folder_inside(first: str, shop: Path) -> None:
    inside = shop / "shop"
    assert f"[✓] {first} (head)" in done("status", folder=inside)
    model("age: int | None = None")
    done("makemigrations", "-m", "age", folder=inside)
    done("migrate", folder=inside)
    done("check", folder=inside)
    assert not list(inside.glob("*.db"))


@pytest.mark.parametrize(
    "wrong",
    [
        ["migrate", "--dialect", "mysql"],
        ["migrate", "--plan", "--sql"],
        ["migrate", "--lock-timeout", "-1"],
        ["makemigrations", "--rename", "name"],
        ["makemigrations", "--fill", "=1"],
        ["repair", "--done", "--clear"],
        ["downgrade"],
        ["nothing"],
    ],
)
def test_wrong_usage_exits_with_2(first: str, wrong: list[str]) -> None:
    result = rxdb("db", *wrong)
    assert result.returncode == 2
    assert "Usage: " in result.stderr


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ("db upgrade", "rxdb db migrate"),
        ("db upgarde head", "rxdb db migrate"),
        ("db revision --autogenerate", "rxdb db makemigrations"),
        ("db current", "rxdb db status"),
        ("db showmigrations", "rxdb db status"),
        ("db staus", "rxdb db status"),
        ("db downgade", "rxdb db downgrade"),
        ("upgrade", "rxdb db migrate"),
        ("migrate", "rxdb db migrate"),
        ("init", "rxdb db init"),
        ("docter", "rxdb doctor"),
    ],
)
def test_the_word_of_another_tool(wrong: str, line: str) -> None:
    result = CliRunner().invoke(cli.cli, wrong.split(), prog_name="rxdb")
    assert result.exit_code == 2
    name = next(word for word in wrong.split() if word != "db")
    assert result.output.endswith(f"Error: There is no command {name!r}. Run: {line}\n")


def test_what_the_application_prints_is_no_part_of_the_object(first: str) -> None:
    with Path("shop/shop.py").open("a") as file:
        file.write("\nprint('hello from the application')\n")
    result = rxdb("db", "check", "--json")
    assert json.loads(result.stdout)["state"]["name"] == "at head"
    assert "hello from the application" in result.stderr


def test_a_message_is_shown_as_it_is(first: str) -> None:
    """In Reflex markup is printed raw in one place, and interpreted in others."""
    done("makemigrations", "--empty", "-m", "[bold]100%[/bold] :x")
    assert "[bold]100%[/bold] :x" in done("status")
    assert "[bold]100%[/bold] :x" in done("migrate")
    assert "[bold]100%[/bold] :x" in done("history")


def test_letters_that_the_output_does_not_know(first: str) -> None:
    result = rxdb("db", "status", PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert f"[x] {first} (head)" in result.stdout


def test_an_edited_script_is_told(first: str) -> None:
    (script,) = Path("alembic/versions").glob("*.py")
    script.write_text(script.read_text() + "\n# edited\n")
    said = done("status")
    assert ", edited since" in said
    *_, state, edited = said.splitlines()
    assert state == f"The database is at head ({first})."
    told = f"The script of {first} was edited after being applied: restore {script.resolve()}"
    assert edited == told


def test_all_revisions_are_tried_on_all_targets(first: str) -> None:
    configure(', targets=["sqlite", "postgresql"]')
    said = done("check")
    assert "All revisions work on SQLite." in said
    assert "All revisions work on PostgreSQL." in said
    done("makemigrations", "--empty", "-m", "by hand")
    done("migrate")
    (script,) = Path("alembic/versions").glob("*by_hand.py")
    text = script.read_text().replace("pass", "sa.Column('x', sa.Integer).nothing", 1)
    script.write_text(text)
    result = rxdb("db", "check", "--targets", "mysql,postgresql", "--json")
    found = json.loads(result.stdout)
    assert result.returncode == 1
    assert [(t["target"], t["works"]) for t in found["targets"]] == [
        ("MySQL", False),
        ("PostgreSQL", False),
    ]
    assert "nothing" in found["targets"][0]["problem"]


def test_a_target_that_is_not_empty_is_told(first: str, shop: Path) -> None:
    result = rxdb("db", "check", "--targets", "sqlite:///shop.db")
    assert result.returncode == 1
    assert result.stderr == (
        f"The revisions cannot run on sqlite+pysqlite:///{shop}/shop.db: it has "
        f"tables (alembic_version, hero, rxdb_migration_log), and a target is an empty database. "
        f"Name another one, or the backend alone: sqlite\n"
    )


def test_a_plan_tells_of_every_target(first: str) -> None:
    configure(', targets=["postgresql", "mysql"]')
    model("age: int | None = None")
    done("makemigrations", "-m", "age")
    found = json.loads(done("migrate", "--plan", "--json"))["plans"]
    assert [plan["title"] for plan in found] == ["SQLite", "PostgreSQL", "MySQL"]
    for plan in found:
        (revision,) = plan["revisions"]
        assert revision["operations"] == ["Column hero.age is added (INTEGER)."]
        assert any("ADD COLUMN age" in statement for statement in revision["statements"])


def test_a_rename_that_is_said(first: str) -> None:
    Path("shop/shop.py").write_text(HERO.replace("name: str", "full_name: str"))
    said = done("makemigrations", "--rename", "hero.name=full_name", "-m", "rename")
    assert "renamed" in said
    done("migrate")
    done("check")


def test_waiting_ends(shop: Path, closed_port: int) -> None:
    begin = time.monotonic()
    url = f"postgresql://me:s3cret@127.0.0.1:{closed_port}/shop"
    result = rxdb("db", "wait", "--timeout", "0.5", "--url", url, "--json")
    assert time.monotonic() - begin < 30
    assert result.returncode == 1
    found = json.loads(result.stdout)
    assert (found["answers"], found["error"]["kind"]) == (False, "NotAnswering")
    place = f"postgresql+psycopg://me:***@127.0.0.1:{closed_port}/shop?application_name=shop"
    line = f".\nTo see what is wrong, run: rxdb doctor --url '{place}'"
    assert found["error"]["message"].endswith(line)
    assert "s3cret" not in result.stdout + result.stderr


def test_every_command_can_speak_to_programs() -> None:
    assert set(db.command.commands) == {
        *("init", "makemigrations", "migrate", "downgrade", "stamp", "history", "heads"),
        *("merge", "squash", "status", "check", "repair", "wait"),
    }
    for name, command in db.command.commands.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--json" in options, name
        assert command.help, name
        assert f"``{name}``" in (db.__doc__ or ""), name


def test_an_error_of_rxdb_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    group = click.Group()

    @output.verb(group, "broken")
    def broken(out: output.Output, url: str | None) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken.main(["--url", "sqlite://"], standalone_mode=False)


class Terminal:
    """A command that runs in a terminal, with a person at it."""

    def __init__(self, *arguments: str) -> None:
        pty = pytest.importorskip("pty")
        self.pid, self.fd = pty.fork()
        if self.pid == 0:  # pragma: no cover - the child
            os.execv(sys.executable, [sys.executable, "-m", "rxdb", "db", *arguments])
        self.said = ""

    def until(self, text: str) -> str:
        """Read until *text* comes."""
        while text not in self.said:
            self.said += os.read(self.fd, 4096).decode()
        return self.said

    def answer(self, text: str) -> None:
        os.write(self.fd, f"{text}\n".encode())

    def end(self) -> tuple[int, str]:
        """Return the exit code, and all that was said, without colours."""
        try:
            while part := os.read(self.fd, 4096):
                self.said += part.decode()
        except OSError:  # the terminal is gone with its last process
            pass
        os.close(self.fd)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return code, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.said)


needs_terminal = pytest.mark.skipif(sys.platform == "win32", reason="it has no pseudo terminals")


@needs_terminal
@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_a_person_is_asked_before_data_is_lost(first: str, answer: str, code: int) -> None:
    with sqlite3.connect("shop.db") as connection:
        connection.execute("INSERT INTO hero (name) VALUES ('Tarantula')")
    connection.close()
    terminal = Terminal("downgrade", "base")
    said = terminal.until("?")
    assert f"Go on with sqlite+pysqlite:///{Path('shop.db').resolve()}?" in said
    assert "This loses data:" in said
    assert "Table hero is dropped with its 1 row." in said
    terminal.answer(answer)
    ended, said = terminal.end()
    assert ended == code
    assert ("Taken back: " in said) is (code == 0)
    assert ("nothing was done" in said) is (code == 1)


@needs_terminal
@pytest.mark.parametrize(("answer", "found"), [("y", "renamed"), ("n", "removed")])
def test_a_person_is_asked_about_a_rename(first: str, answer: str, found: str) -> None:
    Path("shop/shop.py").write_text(HERO.replace("name: str", "full_name: str | None = None"))
    terminal = Terminal("makemigrations", "-m", "change")
    terminal.until("Was `hero.name` renamed to `full_name`?")
    terminal.answer(answer)
    code, said = terminal.end()
    assert code == 0
    assert found in said.rpartition("?")[2]


@needs_terminal
def test_a_person_is_asked_what_existing_rows_get(first: str) -> None:
    model("age: int")
    terminal = Terminal("makemigrations", "-m", "age")
    terminal.until("What do existing rows get?")
    terminal.answer("many")
    terminal.until("stop)")
    terminal.answer("48")
    code, said = terminal.end()
    assert code == 0, said
    assert "48" in next(Path("alembic/versions").glob("*_age.py")).read_text()


@needs_terminal
def test_a_person_is_shown_what_runs(first: str) -> None:
    done("downgrade", "base")
    code, said = Terminal("migrate").end()
    assert code == 0
    assert f"1 of 1: {first}, initial …" in said
    assert f"Applied {first}, initial, in " in said


@needs_terminal
def test_a_person_may_adopt_tables(shop: Path) -> None:
    done("init")
    shutil.rmtree("alembic")
    Path("alembic.ini").unlink()
    with sqlite3.connect("shop.db") as connection:
        connection.execute("DROP TABLE alembic_version")
    connection.close()
    terminal = Terminal("init")
    terminal.until("[y/N]")
    terminal.answer("y")
    code, said = terminal.end()
    assert code == 0
    assert "The database is at head" in said
