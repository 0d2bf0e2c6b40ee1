"""Migrate in processes that are killed: forked from one that has imported everything already.

``Migrator`` starts this file as a program, which forks a child for each migration that it is
asked for. A child takes milliseconds to start instead of a second.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from rxdb import Target


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one migration ended."""

    killed: bool
    seconds: float
    """From the fork to the end."""
    first: float = 0.0
    """Seconds to the first statement."""
    statements: int = 0
    """Statements and COMMITs, those of rxdb and Alembic among them."""
    applied: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    """What was waited for."""
    error: str = ""


@dataclass
class Migrator:
    """A process that migrates the project in a folder."""

    process: subprocess.Popen[str]

    def migrate(self, target: Target, **options: Any) -> Outcome:
        """Migrate to the newest revision, and wait for the end of it.

        *kill_at*: the statement before which the process kills itself. *kill_after*: the seconds
        after which it is killed. *lease*: whether the backend's own lock is not to be used.
        """
        (outcome,) = self.migrate_at_once(target, 1, **options)
        return outcome

    def migrate_at_once(self, target: Target, count: int, **options: Any) -> list[Outcome]:
        """Migrate in several processes that begin together."""
        url = target.url.render_as_string(hide_password=False)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps({"url": url, "count": count, **options}), file=self.process.stdin)
        self.process.stdin.flush()
        return [Outcome(**one) for one in json.loads(self.process.stdout.readline())]


@contextmanager
def start(project: Path) -> Iterator[Migrator]:
    """Start a process for the project in this folder."""
    program = subprocess.Popen(
        [sys.executable, "-W", "ignore::ResourceWarning", str(Path(__file__)), str(project)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        yield Migrator(program)
        assert program.stdin is not None
        program.stdin.close()


def engine(target: Target) -> Engine:
    """Return an engine whose connections end where they are closed."""
    from sqlalchemy import NullPool

    from rxdb.engine import build, build_async

    if target.driver.sync:
        return build(target, poolclass=NullPool)
    return build_async(target, poolclass=NullPool).sync_engine


def serve(project: str) -> None:
    """Fork and report, one line for each line that asks."""
    import alembic.command  # noqa: F401 - loads before it forks

    import rxdb as rx
    from rxdb import migrations
    from rxdb.migrations import commands, environment  # noqa: F401 - loads before it forks

    assert migrations.__all__  # and with it everything that a migration imports
    os.chdir(project)
    for line in sys.stdin:
        asked = json.loads(line)
        rx.set_config(rx.Config(db_url=asked.pop("url"), folder=Path(project)))
        count, delay = asked.pop("count"), asked.pop("kill_after", None)
        forked = [_fork(**asked) for _ in range(count)]
        if delay is not None:
            time.sleep(delay)
            for pid, _, _ in forked:
                os.kill(pid, signal.SIGKILL)
        sys.stdout.write(json.dumps([_wait(*one) for one in forked]) + "\n")
        sys.stdout.flush()


def _fork(**asked: Any) -> tuple[int, int, float]:
    """Start a child; return its id, where it reports to, and when it began."""
    started = time.perf_counter()
    reader, writer = os.pipe()
    if pid := os.fork():
        os.close(writer)
        return pid, reader, started
    os.close(reader)
    try:
        report = _migrate(started, **asked)
    except BaseException:  # noqa: BLE001 - all of them are told
        report = {"error": traceback.format_exc()[-3000:]}
    os.write(writer, json.dumps(report).encode())
    os._exit(1 if "error" in report else 0)


def _wait(pid: int, reader: int, started: float) -> dict[str, Any]:
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    killed = os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    seconds = time.perf_counter() - started
    return {"killed": killed, "seconds": seconds, **(json.loads(text) if text else {})}


def _migrate(started: float, *, kill_at: int = 0, lease: bool = False) -> dict[str, Any]:
    from sqlalchemy import Engine, event

    from rxdb import migrations

    statements, first, said = 0, 0.0, list[str]()

    @event.listens_for(Engine, "before_cursor_execute")
    def count(*_: object) -> None:
        nonlocal statements, first
        statements += 1
        first = first or time.perf_counter() - started
        if statements == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "commit", count)
    if lease:
        _use_leases()
    applied = migrations.migrate(allow_data_loss=True, lock_timeout=90, tell=said.append)
    return {
        "seconds": time.perf_counter() - started,
        "first": first,
        "statements": statements,
        "applied": [one.revision for one in applied],
        "said": said,
    }


def _use_leases() -> None:
    """Behave as on a server whose locks cannot be trusted."""
    from dataclasses import replace

    from rxdb.migrations import database

    found = database.target

    def target(url: Any = None) -> Target:
        real = found(url)
        return replace(real, dialect=replace(real.dialect, migration_lock=None))

    database.target = target


if __name__ == "__main__":
    serve(sys.argv[1])
