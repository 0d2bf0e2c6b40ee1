"""Where an SQLite file is: on a disk that other machines share, or where nobody may write.

With a write-ahead log even a reader writes: into the index that all share, a file beside the
database. Without the right to make that file SQLite reads only what is declared to be immutable
(its documentation, "Write-Ahead Logging", "Read-Only Databases").
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rxdb.errors import ReadOnly

if TYPE_CHECKING:
    from sqlalchemy import Engine

NETWORK = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "gfs2", "lustre", "ncpfs", "nfs"}
    | {"nfs4", "ocfs2", "smb2", "smb3", "smbfs", "virtiofs"}
)
"""File systems that other machines share, as Linux names them. A write-ahead log needs memory that
all who read share, so there it damages or hides data (SQLite, "Write-Ahead Logging")."""

MOUNTS = Path("/proc/mounts")


def is_on_network(path: str) -> bool:
    """Whether a file is on a network file system, where Linux tells it."""
    try:
        lines = [line.split() for line in MOUNTS.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return False
    real = Path(os.path.realpath(path))
    places = [(Path(line[1].replace("\\040", " ")), line[2]) for line in lines]
    around = [(len(place.parts), kind) for place, kind in places if place in real.parents]
    deepest = max((depth for depth, _ in around), default=0)
    kinds = [kind for depth, kind in around if depth == deepest]
    return bool(kinds) and kinds[-1] in NETWORK  # the last mount of a place covers the others


WAL = (18, 2)
"""The byte of a database file that tells how it is read, and what it says for a write-ahead log
(SQLite's documentation, "Database File Format", 1.3.4)."""


def is_open(path: str) -> bool:
    """Whether this process may write to a file, or make it, and may make others beside it."""
    return may_add(path) and (not Path(path).exists() or may_write(path))


def may_add(path: str) -> bool:
    """Whether this process may make files beside a file; no folder is no answer yet."""
    return not folder(path).is_dir() or may_write(folder(path))


def may_write(path: str | Path) -> bool:
    """Whether this process, as whoever it acts for, may write to a file or into a folder."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def folder(path: str) -> Path:
    """Return the folder of a file, behind links."""
    return Path(os.path.realpath(path)).parent


def is_sealed(path: str) -> bool:
    """Whether a file is on a file system that is mounted to be read only."""
    status = getattr(os, "statvfs", None)  # not on Windows
    return status is not None and bool(status(path).f_flag & os.ST_RDONLY)


def has_log(path: str) -> bool:
    """Whether a database keeps a write-ahead log."""
    at, kind = WAL
    with Path(path).open("rb") as opened:
        return opened.read(at + 1)[at:] == bytes([kind])


def read_what_cannot_be_written(engine: Engine, path: str) -> None:
    """Read a database with a write-ahead log where its folder takes no file; or say what to do.

    On a file system that is mounted to be read only nothing changes the file. Elsewhere others may
    have the right to, and what is read as immutable while it changes is read wrongly.
    """
    from sqlalchemy import event

    @event.listens_for(engine, "do_connect")
    def do_connect(
        dialect: object, record: object, arguments: list[Any], options: dict[str, Any]
    ) -> None:
        if not Path(path).is_file() or may_add(path) or "immutable" in str(arguments[0]):
            return
        if not has_log(path) or Path(f"{path}-shm").exists():
            return
        if is_sealed(path):
            arguments[0] = f"{Path(os.path.realpath(path)).as_uri()}?immutable=1"
            options["uri"] = True
            return
        raise ReadOnly(
            f"{path} keeps a write-ahead log, which even a reader needs a file for, and this "
            f"process may make none in {folder(path)}. Give it the right to, or, if nothing ever "
            f"changes that database, say so in its URL: ?immutable=1"
        )
