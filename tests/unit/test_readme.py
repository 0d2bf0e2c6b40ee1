"""What the README says is so: its tables, its two commands, the output of the quickstart."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(
    not (CHECKOUT / "docs").is_dir(), reason="the pages are not part of this copy of the tests"
)


def run(*command: str | Path, folder: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    """Run a Python program, away from the developer's own database."""
    own = ("RXDB_", "REFLEX_", "SQLALCHEMY_")
    environment = {name: v for name, v in os.environ.items() if not name.startswith(own)}
    return subprocess.run(
        [sys.executable, "-B", *command],
        capture_output=True,
        check=False,
        cwd=folder,
        encoding="utf-8",
        env={**environment, "PYTHONIOENCODING": "utf-8"},
        timeout=60,
    )


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_the_tables_are_current() -> None:
    checked = run("ci/tables", "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "<!-- tables: drivers -->" in README


def test_a_stale_table_is_told(tmp_path: Path) -> None:
    for name in ("rxdb", "dialects", "pyproject.toml"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    (tmp_path / "ci").mkdir()
    shutil.copy(CHECKOUT / "ci" / "tables", tmp_path / "ci")
    (tmp_path / "README.md").write_text(README.replace("| DuckDB |", "| DackDB |"), "utf-8")
    checked = run("ci/tables", "--check", folder=tmp_path)
    assert (checked.returncode, checked.stdout) == (
        1,
        "Not up to date: README.md. Run: ci/tables\n",
    )
    assert run("ci/tables", folder=tmp_path).stdout == "Written: README.md\n"
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == README


def test_both_commands_are_there() -> None:
    quickstart, tests = blocks("sh")
    _, activate, _, program = quickstart.strip().split(" && ")
    assert activate == ". .venv/bin/activate"  # the blocks below it run `rxdb` and `pytest`
    assert program == "python examples/quickstart.py"
    assert (CHECKOUT / "examples" / "quickstart.py").is_file()
    assert tests.strip() == "ci/run"
    assert os.access(CHECKOUT / "ci" / "run", os.X_OK)


def test_the_quickstart_prints_what_the_readme_shows(tmp_path: Path) -> None:
    pytest.importorskip("aiosqlite")
    program = run(CHECKOUT / "examples" / "quickstart.py", folder=tmp_path)
    assert program.returncode == 0, program.stderr
    assert program.stdout == blocks("text")[0]
