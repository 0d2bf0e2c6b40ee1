"""Throw-away servers of MySQL and MariaDB: where their programs are, and how they are run."""

from __future__ import annotations

import re
import signal
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from rxdb.testing.servers import Binaries, Server, binaries_of, find_on_path, from_tree

if TYPE_CHECKING:
    from pathlib import Path

MYSQL_OWN = ("--secure-file-priv=NULL", "--mysqlx=OFF", "--innodb-redo-log-capacity=32M")


def _find_mariadb(tree: Path) -> Binaries | None:
    for program in find_on_path("mariadbd"):
        for initialiser in find_on_path("mariadb-install-db"):
            if found := binaries_of((str(program),), (str(initialiser),), "--no-defaults"):
                return found
    own = from_tree(tree, "usr/sbin/mariadbd"), from_tree(tree, "usr/bin/mariadb-install-db")
    return binaries_of(*own, "--no-defaults", f"--basedir={tree}/usr")


def _initialise_mariadb(home: Path) -> list[str]:
    users = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
    logs = ["--innodb-log-file-size=8M", "--loose-aria-log-file-size=8388608"]
    return [f"--datadir={home}/data", *users, *logs]


def _start_mysql_family(home: Path, port: int) -> list[str]:
    return [
        f"--datadir={home}/data",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--socket={home}/socket",
        f"--pid-file={home}/pid",
        f"--init-file={home}/users.sql",
        "--max-connections=300",
        "--local-infile=1",
        "--innodb-flush-log-at-trx-commit=2",
        "--innodb-flush-method=nosync",
        "--innodb-buffer-pool-size=128M",
        "--skip-log-bin",
        "--performance-schema=OFF",
        "--skip-name-resolve",
    ]


def _find_mysql(tree: Path) -> Binaries | None:
    """Find Oracle's own: Debian's mysqld is a link to MariaDB."""
    for program in find_on_path("mysqld"):
        found = binaries_of((str(program),), (str(program),), "--no-defaults")
        if found and not re.search("MariaDB|Percona", found.version):
            return found
    own, share = from_tree(tree, "usr/sbin/mysqld"), f"{tree}/usr/share/mysql"
    folders = (
        f"--basedir={tree}/usr",
        f"--lc-messages-dir={share}",
        f"--character-sets-dir={share}/charsets",
        f"--plugin-dir={tree}/usr/lib/mysql/plugin",
    )
    return binaries_of(own, own, "--no-defaults", *folders)


def _initialise_mysql(home: Path) -> list[str]:
    disk = ["--innodb-flush-method=nosync", "--skip-log-bin"]
    return ["--initialize-insecure", f"--datadir={home}/data", *disk, *MYSQL_OWN]


def _is_mysql_ready(answer: bytes) -> bool:
    """A greeting begins with 10; a server whose connections are all in use says error 1040."""
    return answer[4:5] == b"\x0a" or answer[4:7] == b"\xff" + struct.pack("<H", 1040)


mariadb = Server(
    name="mariadb",
    database="mysql",
    programs="mariadbd and mariadb-install-db",
    packages=("mariadb-server-core", "mariadb-client-core"),
    unpacked=False,
    find=_find_mariadb,
    initialise=_initialise_mariadb,
    start=lambda home, port: [*_start_mysql_family(home, port), "--innodb-log-file-size=8M"],
    certificate=lambda home: [f"--ssl-cert={home}/server.crt", f"--ssl-key={home}/server.key"],
    socket=lambda home, _port: home / "socket",
    hello=b"",
    is_ready=_is_mysql_ready,
    stop=signal.SIGTERM,
    is_it=lambda answer: b"MariaDB" in answer,
)

mysql = replace(
    mariadb,
    name="mysql",
    programs="a mysqld that is MySQL and not MariaDB",
    packages=("mysql-server-core",),
    unpacked=True,  # Debian has it in unstable alone
    find=_find_mysql,
    initialise=_initialise_mysql,
    start=lambda home, port: [*_start_mysql_family(home, port), *MYSQL_OWN],
    certificate=lambda _home: [],
    is_it=lambda answer: b"MariaDB" not in answer,
)
