"""Run each code block of the documentation, and compare what it prints with what the page shows.

A ``python`` block is executed; its output is what the ``output`` block right after it says, where
``...`` stands for anything. A block that raises is one whose ``output`` ends with the error. A
block with a title is a file, such as ``python title="rxconfig.py"``: it is written, not executed.

The blocks of a page run one after the other, in a folder that is empty when the page begins and
that the pages call ``/srv/shop``, on SQLite, with nothing of rxdb left from the page before, and
with models of its own.
"""
# ruff: noqa: INP001 - a folder of pages, not a package

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import traceback
from contextlib import ExitStack, redirect_stdout
from doctest import ELLIPSIS, OutputChecker
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from sqlalchemy import MetaData, orm
from sqlmodel import SQLModel
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import SkipParser

import rxdb as rx
from rxdb import config, errors, registry
from rxdb.model import NAMING_CONVENTION

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "/srv/shop"
"""What the pages call the folder that their blocks run in."""

BLOCK = re.compile(
    r"""^```python (?: [ ]title="(?P<file>[^"]+)" )? \n (?P<code>.*?) ^```\n
    (?: \n* ^```output\n (?P<output>.*?) ^```\n )?""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)

CONSOLE = re.compile(r"^```console\n(?P<console>.*?)^```\n", re.DOTALL | re.MULTILINE)
PROGRAMS = ("rxdb", "pytest")
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)

VARYING = {
    re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"): "(time)",
    re.compile(r"before-\d{8}T\d{6}Z"): "before-(time)",
    re.compile(r"\b\d+\.\d\d s\b"): "(seconds)",
}
"""What is never the same twice."""

ID = re.compile(r"\b[0-9a-f]{12}(?=\b|_)")

_page = ExitStack()


def parse(document: Document) -> Iterator[Region]:
    """Find the blocks of a page."""
    for found in BLOCK.finditer(document.text):
        yield Region(found.start(), found.end(), found, evaluate)
    for found in CONSOLE.finditer(document.text):
        yield Region(found.start(), found.end(), found["console"], run_console)


def run_console(example: Example) -> None:
    """Run the commands of one terminal, each in a process of its own."""
    shown, printed = "", ""
    ids = example.namespace.setdefault("ids", ({}, {}))
    for command, expected in COMMAND.findall(example.parsed):
        if command == "echo $?":
            found = f"{example.namespace['exit_code']}\n"
        else:
            program, *arguments = shlex.split(ID.sub(lambda found: real(found[0], ids), command))
            assert program in PROGRAMS, f"The pages run {' and '.join(PROGRAMS)} alone: {command}"
            run = subprocess.run(  # noqa: S603 - what the page says
                [sys.executable, "-B", "-m", program, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                encoding="utf-8",
                env={
                    **os.environ,
                    "PYTHONIOENCODING": "utf-8",
                    "COLUMNS": "80" if program == "pytest" else os.environ["COLUMNS"],
                    "PYTEST_PLUGINS": "rxdb.testing.plugin",  # where rxdb is not installed
                },
                check=False,
                timeout=60,
            )
            example.namespace["exit_code"] = run.returncode
            found = run.stdout.replace(os.path.realpath(Path.cwd()), FOLDER)
        shown += f"$ {command}\n{settled(expected, ids[0])}"
        printed += f"$ {command}\n{settled(found, ids[1])}"
    printed = re.sub("[ ]+$", "", printed, flags=re.MULTILINE)
    if not OutputChecker().check_output(shown, printed, ELLIPSIS):
        pytest.fail(f"The page shows:\n{shown}\nThe commands print:\n{printed}", pytrace=False)


def real(shown: str, ids: tuple[dict[str, str], dict[str, str]]) -> str:
    """Return the id that a revision has here and now."""
    words = {word: key for key, word in ids[1].items()}
    return words[ids[0][shown]]


def settled(text: str, ids: dict[str, str]) -> str:
    """Return a text in which ids are numbered as they come, and times are words."""
    text = ID.sub(lambda found: ids.setdefault(found[0], f"(revision {len(ids) + 1})"), text)
    for pattern, word in VARYING.items():
        text = pattern.sub(word, text)
    return text


def evaluate(example: Example) -> None:
    """Execute one block, or write the file that it is."""
    file, code, expected = example.parsed.group("file", "code", "output")
    if file:
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_text(code, encoding="utf-8")
        rx.set_config(None)  # what was read before may have changed
        return
    printed = StringIO()
    with redirect_stdout(printed):
        try:
            code = "\n" * example.line + code  # so that errors name the line of the page
            block = compile(code, example.path, "exec", dont_inherit=True)
            exec(block, example.namespace)  # noqa: S102
        except Exception as error:
            if expected is None:
                raise
            print(*traceback.format_exception_only(error), sep="", end="")  # noqa: T201
    found = printed.getvalue().replace(os.path.realpath(Path.cwd()), FOLDER)
    found = re.sub("[ ]+$", "", found, flags=re.MULTILINE)
    if not OutputChecker().check_output(expected or "", found, ELLIPSIS):
        pytest.fail(
            f"The page shows:\n{expected or 'nothing'}\nThe block prints:\n{found}", pytrace=False
        )


def begin(namespace: dict[str, Any]) -> None:
    """Begin a page in an empty folder, away from the developer's own settings."""
    folder = os.path.realpath(_page.enter_context(TemporaryDirectory()))
    _page.enter_context(mock.patch.dict(os.environ))  # a page may change it
    for variable in list(os.environ):
        if variable.startswith(("RXDB_", "REFLEX_", "SQLALCHEMY_", config.LAST_VARIABLE)):
            del os.environ[variable]
    os.environ["COLUMNS"] = "200"  # so that no line is broken
    patch = _page.enter_context(pytest.MonkeyPatch.context())
    patch.chdir(folder)
    patch.syspath_prepend(folder)
    patch.setattr(sys, "dont_write_bytecode", True)
    own = orm.registry(metadata=MetaData(naming_convention=NAMING_CONVENTION))
    patch.setattr(SQLModel, "_sa_registry", own)  # tests that run in the same call keep theirs
    patch.setattr(SQLModel, "metadata", own.metadata)
    patch.setattr(rx.ModelRegistry, "_metadata", [own.metadata])
    _page.callback(own.dispose)
    patch.setattr(errors, "pip", lambda: "pip install")  # however this environment was made
    _page.callback(forget, folder)
    namespace |= {"__name__": "__main__", "is_installed": is_installed}


def is_installed(module: str) -> bool:
    """For a block that is skipped where a driver is, or is not, installed."""
    return find_spec(module) is not None


def forget(folder: str) -> None:
    """Forget the page's settings, engines and dialects, and the modules in *folder*."""
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(folder):
            del sys.modules[name]
    rx.set_config(None)
    rx.dispose()
    registry.plugins.cache_clear()


class Pages:
    """The pages of docs/, and those of the project's folder that are named: pytest docs README.md.

    As a plug-in of its own it is also asked about files outside the folder of this conftest.
    """

    pytest_collect_file = staticmethod(
        Sybil(
            parsers=[parse, SkipParser()],
            pattern="*.md",
            path=str(Path(__file__).resolve().parents[1]),
            setup=begin,
            teardown=lambda _: _page.close(),
        ).pytest()
    )


def pytest_configure(config: pytest.Config) -> None:
    """Have the pages collected."""
    config.pluginmanager.register(Pages())
