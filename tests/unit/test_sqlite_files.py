"""Which files SQLite leaves, and on which disks it keeps no write-ahead log."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rxdb_dialects import _sqlite_files
from sqlalchemy import text

import rxdb as rx
from rxdb import cli
from rxdb.cli.facts import examine

URL = "sqlite:///app.db"


def write() -> None:
    with rx.session(URL) as session:
        session.execute(text("CREATE TABLE IF NOT EXISTS note (n INTEGER)"))
        session.execute(text("INSERT INTO note VALUES (1)"))
        session.commit()


def read() -> list[Any]:
    with rx.session(URL, read_only=True) as session:
        return list(session.execute(text("SELECT n FROM note")).all())


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("works", [(write,), (write, read), (write, read, write)])
def test_dispose_leaves_the_file_alone(tmp_path: Path, works: tuple[Any, ...]) -> None:
    for work in works:
        work()
    assert files(tmp_path) == ["app.db", "app.db-shm", "app.db-wal"]
    rx.dispose()
    assert files(tmp_path) == ["app.db"]
    read()
    rx.dispose()
    assert files(tmp_path) == ["app.db"]


def test_commands_leave_the_database_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import rxdb as rx\nclass Hero(rx.Model, table=True):\n    name: str\n"
    )
    (tmp_path / "rxconfig.py").write_text(
        f"import rxdb as rx\nconfig = rx.Config(db_url={URL!r}, models=['app'])\n"
    )
    for command in ("init", "status"):
        subprocess.run([sys.executable, "-m", "rxdb", "db", command], check=True)
        assert [name for name in files(tmp_path) if name.startswith("app.db")] == ["app.db"]


def test_the_end_of_an_event_loop_leaves_no_file_and_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()

    async def work() -> None:
        for read_only in (False, True):
            async with rx.asession(URL, read_only=read_only) as session:
                await (await session.connection()).execute(text("SELECT 1"))
        assert threading.active_count() > before

    write()
    rx.dispose()
    asyncio.run(work())
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:  # its last word was that it is closed
            thread.join(20)
    assert threading.active_count() == before
    assert files(tmp_path) == ["app.db"]


def test_a_read_only_session_makes_no_file_and_finds_it_once_it_is_there(tmp_path: Path) -> None:
    with pytest.raises(rx.DatabaseError, match="no such table: note"):
        read()
    assert files(tmp_path) == []
    write()
    assert read() == [(1,)]


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ("/dev/sda / ext4 rw 0 0\n", "wal"),
        ("/dev/sda / ext4 rw 0 0\nserver:/x {folder} nfs4 rw 0 0\n", "delete"),
        ("//server/x / cifs rw 0 0\n/dev/sda {folder} ext4 rw 0 0\n", "wal"),
        ("/dev/sda {folder} ext4 rw 0 0\nserver:/x {folder} nfs rw 0 0\n", "delete"),
        ("me@server: {folder} fuse.sshfs rw 0 0\n", "delete"),
        ("server:/x {folder}x nfs rw 0 0\n", "wal"),
        ("", "wal"),
    ],
)
def test_there_is_no_write_ahead_log_on_a_network_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: str, expected: str
) -> None:
    listed = tmp_path / "mounts"
    listed.write_text(mounts.format(folder=tmp_path))
    monkeypatch.setattr(_sqlite_files, "MOUNTS", listed)
    with rx.session(URL) as session:
        assert session.scalar(text("PRAGMA journal_mode")) == expected
    with rx.session("sqlite:///own.db?journal_mode=TRUNCATE") as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "truncate"


@pytest.mark.parametrize(
    ("url", "kind", "told"),
    [
        (URL, "nfs", "on a network disk, so without a write-ahead log: commits and reads wait"),
        (f"{URL}?journal_mode=wal", "nfs", "on a network disk, where journal_mode=WAL damages"),
        (f"{URL}?mode=ro", "nfs", ""),
        (URL, "ext4", ""),
        ("sqlite://", "nfs", ""),
    ],
)
def test_doctor_tells_of_a_network_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, kind: str, told: str
) -> None:
    listed = tmp_path / "mounts"
    listed.write_text(f"server:/x {tmp_path} {kind} rw 0 0\n")
    monkeypatch.setattr(_sqlite_files, "MOUNTS", listed)
    (before,) = examine(URL).databases
    assert (before.note or "").startswith("no file yet: it is made at the first session")
    assert ("on a network disk" in (before.note or "")) == (kind == "nfs")
    write()
    rx.dispose()
    (database,) = examine(url).databases
    assert database.works
    assert (database.note or "").startswith(told)
    assert bool(database.note) == bool(told)
    assert ("on a network disk" in doctor(url)) == bool(told)


def doctor(url: str) -> str:
    return CliRunner().invoke(cli.cli, ["doctor", "--url", url], env={"COLUMNS": "200"}).output


NOBODY = 65534


@pytest.fixture
def sealed() -> Iterator[str]:
    """The URL of a database in a folder that this process may read, and no more."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rx.set_config(rx.Config(db_url=f"sqlite:///{folder}/app.db"))
        with rx.session() as session:
            session.execute(text("CREATE TABLE note (n INTEGER)"))
            session.execute(text("INSERT INTO note VALUES (1)"))
            session.commit()
        rx.dispose()
        (folder / "app.db").chmod(0o444)
        folder.chmod(0o555)
        is_root = os.geteuid() == 0
        if is_root:  # who may do everything
            os.seteuid(NOBODY)
        try:
            yield f"sqlite:///{folder}/app.db"
            rx.dispose()
        finally:
            if is_root:
                os.seteuid(0)
            folder.chmod(0o700)


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps no such permissions")
@pytest.mark.parametrize("read_only", [True, False])
def test_a_folder_without_permission_says_what_to_do(sealed: str, read_only: bool) -> None:
    with rx.session(sealed, read_only=read_only) as session, pytest.raises(rx.ReadOnly) as error:
        session.execute(text("SELECT n FROM note"))
    assert str(error.value).endswith("say so in its URL: ?immutable=1")
    with rx.session(f"{sealed}?immutable=1", read_only=read_only) as session:
        assert session.scalars(text("SELECT n FROM note")).all() == [1]
        with pytest.raises(rx.ReadOnly):
            session.execute(text("INSERT INTO note VALUES (2)"))


MOUNTED = """
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -c '
import sys, rxdb as rx
from sqlalchemy import text
for read_only in (True, False):
    with rx.session(f"sqlite:///{sys.argv[1]}/app.db", read_only=read_only) as session:
        print(session.scalars(text("SELECT n FROM note")).all())
        try:
            session.execute(text("INSERT INTO note VALUES (2)"))
        except rx.ReadOnly:
            print("read only")
' "$1"
"""


def test_what_is_mounted_to_be_read_only_is_read(tmp_path: Path) -> None:
    alone = [shutil.which("unshare") or "unshare", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("this machine lets nobody mount anything, not even for himself")
    write()
    rx.dispose()
    run = [*alone, "sh", "-c", MOUNTED, "sh", str(tmp_path), sys.executable]
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[1]", "read only"] * 2


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Write to a database that has no write-ahead log yet."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE note (id INTEGER PRIMARY KEY)")
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO note VALUES (1)")
        yield other


def test_the_first_connection_waits_for_who_writes_before_it_begins_a_log(tmp_path: Path) -> None:
    with writing(tmp_path / "app.db") as other:
        timer = threading.Timer(0.2, other.commit)
        timer.start()
        with rx.get_engine(f"sqlite:///{tmp_path}/app.db").connect() as connection:
            mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
            count = connection.exec_driver_sql("SELECT count(*) FROM note").scalar()
        timer.join()
    assert (mode, count) == ("wal", 1)


def test_the_first_connection_waits_no_longer_than_it_was_told(tmp_path: Path) -> None:
    engine = rx.get_engine(f"sqlite:///{tmp_path}/app.db?busy_timeout=100")
    with writing(tmp_path / "app.db"):
        begun = time.monotonic()
        with pytest.raises(rx.errors.LockTimeout):
            engine.connect()
        waited = time.monotonic() - begun
    assert 0.1 <= waited < 3
