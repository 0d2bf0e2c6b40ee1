"""ci/clusters, as far as it can be tested without a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import clusters

LAST = 10  # seconds until a process that is killed must be gone


def start(folder: Path, label: str) -> subprocess.Popen[bytes]:
    """Start a process with a child that, like a server, names a file of its folder."""
    folder.mkdir()
    program = "import subprocess; subprocess.run(['sleep', '60'])"
    return subprocess.Popen([sys.executable, "-c", program, f"{folder}/{label}"])


def test_the_end_of_the_owner_ends_its_cluster(tmp_path: Path) -> None:
    mine, other = (start(tmp_path / name, "data") for name in ("mine", "other"))
    guard = clusters.program()._guard(tmp_path / "mine")
    try:
        guard.communicate()  # closes the pipe, as the kernel does when the owner is killed
        assert mine.wait(LAST) < 0
        assert other.poll() is None
        assert not (tmp_path / "mine").exists()
        assert (tmp_path / "other").exists()
    finally:
        mine.kill()
        clusters.program().finish(tmp_path / "other")
        other.wait(LAST)


def test_an_unknown_cluster_is_an_error_that_names_the_others() -> None:
    command = [sys.executable, str(clusters.PROGRAM), "run", "oracle", "--", "true"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "postgresql" in answer.stderr


def test_ports_are_none_that_the_kernel_gives_to_clients() -> None:
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(given.read_text().split()[0]) if given.exists() else 32768
    assert clusters.program().free_port() < lowest
