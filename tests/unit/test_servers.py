"""ci/servers, as far as it can be tested without a server."""

import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "ci" / "servers"
VARIABLES = {
    "RXDB_TEST_POSTGRESQL": "postgresql://user:password@there:1/one",
    "RXDB_TEST_MARIADB": "mariadb://user:it's@there:2/two",
    "RXDB_TEST_MYSQL": "mysql://user:$HOME@there:3/three",
}


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Load ci/servers as if it were in another checkout: this one's servers may be in use."""
    loader = SourceFileLoader("servers", str(SCRIPT))
    spec = spec_from_loader("servers", loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    return module


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ci/servers where the environment names all servers."""
    command = [sys.executable, str(SCRIPT), *arguments]
    environment = os.environ | VARIABLES
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_server_that_the_environment_names_is_not_started(
    servers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, url in VARIABLES.items():
        monkeypatch.setenv(name, url)
    assert servers.up() == VARIABLES
    assert servers.up(["mysql"]) == {"RXDB_TEST_MYSQL": VARIABLES["RXDB_TEST_MYSQL"]}
    assert not servers.state_folder().exists()


def test_a_shell_reads_the_output_as_it_was_meant() -> None:
    script = call("up").stdout + "env"
    output = subprocess.check_output(
        ["sh", "-c", script], text=True, env={"PATH": os.environ["PATH"]}
    )
    assert set(output.splitlines()) >= {f"{name}={url}" for name, url in VARIABLES.items()}


def test_run_gives_the_command_the_variables_and_returns_its_status() -> None:
    result = call("run", "mysql", "--", "sh", "-c", 'echo "$RXDB_TEST_MYSQL"; exit 3')
    assert (result.returncode, result.stdout) == (3, VARIABLES["RXDB_TEST_MYSQL"] + "\n")


def test_an_unknown_server_is_an_error_that_names_the_known_ones() -> None:
    result = call("up", "postgres")
    assert (result.returncode, result.stdout) == (1, "")
    assert "no server 'postgres'. Choose from: postgresql, mariadb, mysql" in result.stderr


def test_a_mysqld_that_is_mariadb_is_refused(
    servers: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = {
        "debian": "mysqld  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu on x86_64",
        "oracle": "mysqld  Ver 9.7.4 for Linux on x86_64 (MySQL Community Server - GPL)",
    }
    for folder, answer in answers.items():
        program = tmp_path / folder / "mysqld"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho '{answer}'\n")
        program.chmod(0o755)
    monkeypatch.setattr(servers.base, "nobody", dict)  # who could not enter tmp_path
    monkeypatch.setenv("PATH", f"{tmp_path}/debian:{tmp_path}/oracle", prepend=":")
    found = servers.get("mysql").find(tmp_path)
    assert found.server[0] == f"{tmp_path}/oracle/mysqld"
    assert servers.base.short(found.version) == "9.7.4"


def test_files_are_in_memory_where_that_is_large_and_nothing_else_was_said(
    servers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Path("/var")  # short, and open to all
    monkeypatch.setattr(servers.base, "MEMORY", memory)
    monkeypatch.setattr(servers.base, "MEMORY_NEEDED", 0)
    monkeypatch.setattr(servers.base.os, "access", lambda path, mode: True)
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert servers.state_folder().parent == Path("/tmp")
    monkeypatch.delenv("TMPDIR")
    assert servers.state_folder().parent == memory
    monkeypatch.setattr(servers.base, "MEMORY_NEEDED", 2**80)
    assert servers.state_folder().parent != memory


def test_down_is_fine_when_nothing_runs(servers: ModuleType) -> None:
    servers.down()
    assert servers.running() == {}
    assert not servers.state_folder().exists()
