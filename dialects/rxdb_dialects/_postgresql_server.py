"""A throw-away server of PostgreSQL: where its programs are, and how they are run."""

from __future__ import annotations

import signal
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

from rxdb.testing.servers import (
    Binaries,
    Server,
    binaries_of,
    find_on_path,
    from_tree,
    newest,
)


def _find_postgresql(tree: Path) -> Binaries | None:
    installed = newest(Path("/usr/lib/postgresql").glob("*/bin"))
    on_path = [program.parent for program in find_on_path("initdb")]
    for folder in [*_pg_config(), *installed, *on_path]:
        if found := binaries_of((f"{folder}/postgres",), (f"{folder}/initdb",)):
            return found
    for folder in newest(tree.glob("usr/lib/postgresql/*/bin")):
        return binaries_of(
            from_tree(tree, f"{folder}/postgres"), from_tree(tree, f"{folder}/initdb")
        )
    return None


def _pg_config() -> list[Path]:
    with suppress(OSError, subprocess.CalledProcessError):
        call = ["pg_config", "--bindir"]
        answer = subprocess.check_output(call, stderr=subprocess.DEVNULL, text=True)
        return [Path(answer.strip())]
    return []


def _initialise_postgresql(home: Path) -> list[str]:
    user = ["-U", "rxdb", f"--pwfile={home}/password", "-A", "scram-sha-256"]
    return ["-D", f"{home}/data", *user, "-E", "UTF8", "--locale=C", "--no-sync"]


def _start_postgresql(home: Path, port: int) -> list[str]:
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": home,
        "fsync": "off",
        "full_page_writes": "off",
        "max_connections": 300,
    }
    return ["-D", f"{home}/data", *(f"--{name}={value}" for name, value in settings.items())]


def _is_postgresql_ready(answer: bytes) -> bool:
    """A server that starts says 57P03; one whose connections are all in use, 53300, is up."""
    return answer[:1] == b"R" or b"C53300" in answer


def _hello_to_postgresql() -> bytes:
    """Make the startup message, as the manual's list of message formats has it."""
    body = struct.pack("!i", 3 << 16) + b"user\0rxdb\0database\0postgres\0\0"
    return struct.pack("!i", 4 + len(body)) + body


server = Server(
    name="postgresql",
    database="postgres",
    programs="PostgreSQL's initdb and postgres",
    packages=("postgresql",),
    unpacked=False,
    find=_find_postgresql,
    initialise=_initialise_postgresql,
    start=_start_postgresql,
    certificate=lambda home: [
        "--ssl=on",
        f"--ssl_cert_file={home}/server.crt",
        f"--ssl_key_file={home}/server.key",
    ],
    socket=lambda home, port: home / f".s.PGSQL.{port}",
    hello=_hello_to_postgresql(),
    is_ready=_is_postgresql_ready,
    stop=signal.SIGINT,
)
