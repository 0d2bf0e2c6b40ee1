"""A migration that is killed at any point ends at head when it is run again, with every row."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import databases
import fault_revisions
import migrating
import pytest

from rxdb import Feature, Target

POINTS = 50

pytestmark = [
    pytest.mark.needs(Feature.SEVERAL_PROCESSES),
    pytest.mark.timeout(300),
    pytest.mark.own_loop,
]
Check = Callable[[Target], None]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    fault_revisions.write(folder)
    return folder


@pytest.fixture
def check(run: databases.Run) -> Check:
    """Compare a database with what it is to hold after all revisions."""

    def check(target: Target) -> None:
        engine = migrating.engine(target)
        assert run(lambda: fault_revisions.found(engine)) == fault_revisions.EXPECTED

    return check


@contextmanager
def fresh(backend: str, folder: Path, run: databases.Run, number: int) -> Iterator[Target]:
    """A database of its own for each point, every second one empty."""
    name, _, driver = backend.partition("+")
    place = folder / str(number)
    place.mkdir()
    with (
        closing(databases.of(name, driver, place)) as made,
        databases.empty(made) as target,
    ):
        if number % 2:
            run(lambda: make_view(target))
        yield target


def make_view(target: Target) -> None:
    """Have something in the database: its revisions share no transaction then."""
    engine = migrating.engine(target)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE VIEW busy AS SELECT 1 AS one")


def test_killed_at_random_times(
    target: Target, backend: str, run: databases.Run, project: Path, check: Check, tmp_path: Path
) -> None:
    seed = int(os.environ.get("RXDB_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"RXDB_TEST_SEED={seed}")  # noqa: T201 - pytest shows it with a failure
    choose, killed, interrupted = random.Random(seed), 0, 0
    with migrating.start(project) as migrator:
        whole = migrator.migrate(target)
        assert not whole.error
        check(target)
        for number in range(POINTS * 3):
            delay = choose.uniform(whole.first, whole.seconds)
            with fresh(backend, tmp_path, run, number) as place:
                first = migrator.migrate(place, kill_after=delay)
                again = migrator.migrate(place)
                assert not again.error, f"killed after {delay:.3f} s"
                check(place)
            killed += first.killed
            interrupted += first.killed and bool(again.applied)
            if killed == POINTS:
                break
            if not first.killed:  # the machine is faster by now
                whole = min(whole, first, key=lambda outcome: outcome.seconds)
    assert killed == POINTS
    assert interrupted >= POINTS * 0.5, f"only {interrupted} had something left to do"


def test_killed_between_two_statements(
    target: Target, backend: str, run: databases.Run, project: Path, check: Check, tmp_path: Path
) -> None:
    with migrating.start(project) as migrator:
        whole = migrator.migrate(target)
        assert not whole.error
        step = max(1, whole.statements // POINTS)
        for turn, number in enumerate(range(1, whole.statements + 1, step)):
            with fresh(backend, tmp_path, run, turn) as place:
                assert migrator.migrate(place, kill_at=number).killed
                again = migrator.migrate(place)
                assert not again.error, f"killed before statement {number} of {whole.statements}"
                check(place)
