"""The programs of SQLModel's documentation: fetch them, rewrite them for rxdb, run them.

They are SQLModel's and not kept here. Its source distribution has them in ``docs_src``; that of
the installed version is fetched once into the user's cache.
"""

from __future__ import annotations

import ast
import gc
import json
import logging
import multiprocessing
import os
import re
import runpy
import subprocess
import sys
import tarfile
import tempfile
import traceback
import uuid
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from rxdb import registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from sqlalchemy import Engine

FOLDER = "docs_src"
PATIENCE = 60
"""Seconds until a program is ended; the slowest takes 2."""

REQUESTS: tuple[tuple[str, str, dict[str, object] | None], ...] = (
    ("POST", "/teams/", {"name": "Preventers", "headquarters": "Sharp Tower"}),
    ("POST", "/heroes/", {"name": "Rusty-Man", "secret_name": "Tommy Sharp", "team_id": 1}),
    ("POST", "/heroes/", {"name": "Deadpond", "secret_name": "Dive Wilson", "password": "x"}),
    ("POST", "/heroes/", {"name": "Spider-Boy", "secret_name": "Pedro", "password": "y"}),
    ("POST", "/heroes/", {"name": "Nobody", "password": "z"}),
    ("GET", "/heroes/", None),
    ("GET", "/heroes/?offset=1&limit=1", None),
    ("GET", "/heroes/1", None),
    ("GET", "/heroes/9000", None),
    ("PATCH", "/heroes/1", {"age": 49, "password": "changed"}),
    ("PATCH", "/heroes/9000", {"age": 49}),
    ("GET", "/teams/1", None),
    ("PATCH", "/teams/1", {"headquarters": "Preventers Tower"}),
    ("GET", "/teams/", None),
    ("DELETE", "/heroes/1", None),
    ("DELETE", "/heroes/2", None),
    ("DELETE", "/heroes/9000", None),
    ("DELETE", "/teams/1", None),
    ("GET", "/teams/1", None),
)
"""What is asked of each application. One without such a route answers 404 or 405, in both forms."""


class CannotFetchError(Exception):
    """The programs are not there; the message says why."""


@dataclass(frozen=True)
class Program:
    """A script, an application of FastAPI, or one function of a test file."""

    module: str
    """Such as ``docs_src.tutorial.insert.tutorial001``."""

    kind: str
    """``script``, ``application`` or ``test``."""

    test: str = ""
    """The name of the test function."""

    def __str__(self) -> str:
        path = _any_python(self.module).removeprefix(f"{FOLDER}.").removeprefix("tutorial.")
        return path.replace(".", "/") + (f"::{self.test}" if self.test else "")


@dataclass(frozen=True)
class Outcome:
    """What a program did."""

    printed: list[str]
    """The lines it printed; the answers, for an application."""

    error: str
    """The class of the error that ended it; empty where none did."""

    rows: dict[str, list[str]]
    """What its tables hold at its end."""

    warned: set[str]
    """The warnings that came with it."""

    told: str = field(default="", compare=False)
    """The traceback, for people to read."""


def fetch() -> Path:
    """Return the folder of the source distribution of the installed SQLModel.

    Raises :class:`CannotFetchError`.
    """
    name = f"sqlmodel-{version('sqlmodel')}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "rxdb"
    if not (cache / name).is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as new:
            with tarfile.open(_download(name, Path(new))) as tar:
                tar.extractall(new, filter="data")
            try:
                Path(new, name).rename(cache / name)
            except OSError:
                if not (cache / name).is_dir():  # else another process was faster
                    raise
    return cache / name


def _download(name: str, folder: Path) -> Path:
    options = ["--no-deps", "--no-binary", "sqlmodel", name.replace("-", "==")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder), *options]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    archive = folder / f"{name}.tar.gz"
    if done.returncode or not archive.exists():
        reason = (done.stderr.strip() or "there is no .tar.gz").splitlines()[-1]
        raise CannotFetchError(
            f"The tutorial programs of {name} cannot be fetched, so none is tested. pip says: "
            f"{reason.rstrip('.')}. Run: pip download {' '.join(options)}"
        )
    return archive


def find(root: Path) -> list[Program]:
    """Return every program below *root*.

    Files that differ in ``_py39`` or ``_py310`` are one program written for several Pythons; the
    newest form is taken. A file that others import is a part of them.
    """
    newest: dict[str, Path] = {}
    for path in sorted((root / FOLDER).rglob("*.py"), key=lambda path: _python(path, root)):
        newest[_any_python(str(path.relative_to(root)))] = path
    trees = {path: ast.parse(path.read_text()) for path in newest.values()}
    parts = {part for path, tree in trees.items() for part in _parts(path, tree)}
    programs = (
        program
        for path, tree in trees.items()
        for program in _programs(path, tree, root, is_part=path in parts)
    )
    return sorted(programs, key=str)


def _python(path: Path, root: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"_py3(\d+)", str(path.relative_to(root))))


def _any_python(name: str) -> str:
    return re.sub(r"_py3\d+", "", name)


def _parts(path: Path, tree: ast.Module) -> Iterator[Path]:
    """Yield the files that a file imports from its own folder."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (path.parent / f"{name}.py" for name in names)


def _programs(path: Path, tree: ast.Module, root: Path, *, is_part: bool) -> Iterator[Program]:
    module = ".".join(path.relative_to(root).with_suffix("").parts)
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    if path.stem.startswith("test_"):
        names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        yield from (Program(module, "test", name) for name in names if name.startswith("test_"))
    elif "FastAPI" in calls:
        yield Program(module, "application")
    elif tree.body and not is_part:
        yield Program(module, "script")


def rewrite_all(root: Path, to: Path) -> None:
    """Write each program below *root* into the folder *to*, rewritten."""
    for path in (root / FOLDER).rglob("*.py"):
        new = to / path.relative_to(root)
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(rewrite(path.read_text()))


def rewrite(source: str) -> str:
    """Change what a user changes who turns to rxdb, and leave the rest.

    ``SQLModel`` is ``rx.Model``, ``Session(engine)`` is ``rx.session()``, ``create_engine(…)`` is
    ``rx.get_engine()``, and ``import rxdb as rx`` stands above. ``PRAGMA foreign_keys=ON`` goes:
    rxdb sets it, and other servers refuse it. ``Session`` is still imported, for annotations.
    """
    return ast.unparse(ast.fix_missing_locations(_ToRxdb().visit(ast.parse(source))))


class _ToRxdb(ast.NodeTransformer):
    GONE = ("SQLModel", "create_engine")
    CALLS = {  # noqa: RUF012 - never changed
        "Session(engine)": "rx.session()",
        "create_engine": "rx.get_engine()",
        "connection.execute(text('PRAGMA foreign_keys=ON'))": "None",
    }

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt] | ast.stmt:
        if node.module != "sqlmodel":
            return node
        node.names = [alias for alias in node.names if alias.name not in self.GONE]
        return [*ast.parse("import rxdb as rx").body, *([node] if node.names else [])]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return _expression("rx.Model") if node.id == "SQLModel" else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        for text in (ast.unparse(node), ast.unparse(node.func)):
            if text in self.CALLS:
                return _expression(self.CALLS[text])
        return self.generic_visit(node)  # type: ignore[return-value]  # ast has it as AST


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


class Run:
    """A program at work, in a process of its own: all of them share ``SQLModel.metadata``.

    The process is forked from one that has imported everything. That takes 0.07 s where a new
    interpreter takes 1.5 s, and there are 218 runs on each server.
    """

    def __init__(self, program: Program, root: Path, folder: Path, url: str = "") -> None:
        """Start *program* of the tree *root* in the new folder *folder*.

        *url* is the database of the rewritten form.
        """
        folder.mkdir()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_loaded())
        self._answer, answer = context.Pipe(duplex=False)
        arguments = (answer, program, str(root), str(folder), url)
        self._process = context.Process(target=_work, args=arguments)
        self._process.start()
        answer.close()

    def outcome(self) -> Outcome:
        """Wait for the end, and return what came of it."""
        try:
            if not self._answer.poll(PATIENCE):
                raise TimeoutError(f"no end after {PATIENCE} s")
            found: Outcome = self._answer.recv()
        finally:
            self._process.kill()
            self._process.join()
            self._answer.close()
        return found


def _loaded() -> list[str]:
    """Return what the process has imported which all others are forked from.

    FastAPI needs ``pydantic.v1`` for its first route, without saying so before.
    """
    dialects = [dialect for dialect in registry.every() if dialect.in_matrix]
    usable = [d for dialect in dialects for d in dialect.drivers if d.sync and d.is_installed]
    own = [f"sqlalchemy.dialects.{dialect.name}" for dialect in dialects]
    return [
        "pytest",
        "rxdb.model",
        "rxdb.sessions",
        "fastapi.testclient",
        *own,
        *(d.module for d in usable),
    ]


def _work(answer: Connection, program: Program, root: str, folder: str, url: str) -> None:
    """Run a program in this process, and send what came of it."""
    gc.freeze()  # pytest collects garbage at its end, which took 0.2 s
    os.chdir(folder)
    sys.path.insert(0, root)
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **({"RXDB_URL": url} if url else {})}
    logging.disable(logging.INFO)  # what echo=True shows
    _be_repeatable()
    printed, error, told = StringIO(), "", ""
    caught: list[warnings.WarningMessage] = []
    try:
        with redirect_stdout(printed), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            WAYS[program.kind](program)
    except Exception as problem:  # noqa: BLE001 - an error is an outcome
        error, told = name_of(problem), traceback.format_exc()
    warned = {f"{one.category.__name__}: {one.message}" for one in caught}
    if program.kind == "test":  # pytest prints times; the original works in memory
        answer.send(Outcome([], error, {}, warned, told + printed.getvalue()))
    else:
        lines = _without_moments(printed.getvalue()).splitlines()
        answer.send(Outcome(lines, error, _rows(url), warned, told))


def _be_repeatable() -> None:
    """Settle what no program promises, in both of its forms.

    UUIDs are numbered. The attributes in a model's text are sorted: after a refresh their order
    follows memory addresses. Rows come in the order of their keys: without ORDER BY each server
    has its own.
    """
    from sqlalchemy import Select, event
    from sqlalchemy.orm import ORMExecuteState, Session
    from sqlmodel import SQLModel

    @event.listens_for(Session, "do_orm_execute")
    def order(state: ORMExecuteState) -> None:
        mapper, statement = state.bind_mapper, state.statement
        if mapper and isinstance(statement, Select) and not statement._order_by_clauses:
            state.statement = statement.order_by(*mapper.primary_key)

    keys = count(1)
    uuid.uuid4 = lambda: uuid.UUID(int=next(keys), version=4)
    attributes = SQLModel.__repr_args__
    SQLModel.__repr_args__ = lambda model: sorted(attributes(model))  # type: ignore[method-assign, assignment]


def _run_script(program: Program) -> None:
    runpy.run_module(program.module, run_name="__main__", alter_sys=True)


def _visit(program: Program) -> None:
    """Ask an application what REQUESTS says, between its start and its shutdown."""
    client_of = import_module("fastapi.testclient").TestClient
    app = import_module(program.module).app
    asked = {(method, path) for method, path, _ in REQUESTS}
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            route = (method.upper(), re.sub(r"\{.*\}", "1", path))
            assert route in asked, f"no request asks for {route}"
    with client_of(app) as client:
        for method, path, body in REQUESTS:
            try:
                response = client.request(method, path, json=body)
                # The order of an object's keys means nothing, and is not the same in each process.
                read = "json" in response.headers.get("content-type", "")
                text = json.dumps(response.json(), sort_keys=True) if read else response.text
                answer = f"{response.status_code} {text}"
            except Exception as error:  # noqa: BLE001 - an error is an answer
                answer = name_of(error)
            print(method, path, answer)  # noqa: T201 - the program prints


def _run_test(program: Program) -> None:
    import pytest

    spec = find_spec(program.module)
    path = spec.origin if spec else program.module
    quiet = ["-p", "no:cacheprovider", "-c", os.devnull]
    if status := pytest.main([*quiet, f"{path}::{program.test}"]):
        raise AssertionError(f"pytest ends with {status}")


WAYS = {"script": _run_script, "application": _visit, "test": _run_test}


def name_of(error: BaseException) -> str:
    """Return the class that the unchanged program catches: rxdb's errors are SQLAlchemy's too."""
    kinds = [kind for kind in type(error).__mro__ if kind.__module__ == "sqlalchemy.exc"]
    return [*kinds, type(error)][0].__name__


def _rows(url: str) -> dict[str, list[str]]:
    """Return the rows of each model's table, wherever the program put them."""
    from sqlalchemy import create_engine, inspect
    from sqlmodel import SQLModel

    import rxdb as rx

    engine: Engine = rx.get_engine() if url else create_engine("sqlite:///database.db")
    names = inspect(engine).get_table_names()
    with engine.connect() as connection:
        return {
            table.name: sorted(
                _without_moments(str(row)) for row in connection.execute(table.select())
            )
            for table in SQLModel.metadata.sorted_tables
            if table.name in names
        }


def _without_moments(text: str) -> str:
    """Leave out what two runs never have in common."""
    return re.sub(r"datetime\.datetime\(.*?\)", "…", text)
