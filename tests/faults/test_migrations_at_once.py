"""Processes that migrate at the same moment take turns, and each revision is applied once."""

from __future__ import annotations

from pathlib import Path

import databases
import fault_revisions
import migrating
import pytest

from rxdb import Feature, Target

PROCESSES = 8

pytestmark = [
    pytest.mark.needs(Feature.SEVERAL_PROCESSES),
    pytest.mark.own_loop,
]


LEASE = pytest.param(True, id="lease", marks=pytest.mark.needs(Feature.CONCURRENT_WRITES))


@pytest.mark.parametrize("lease", [pytest.param(False, id="lock"), LEASE])
def test_each_revision_is_applied_once(
    target: Target, run: databases.Run, tmp_path: Path, *, lease: bool
) -> None:
    project = tmp_path / "project"
    fault_revisions.write(project)
    with migrating.start(project) as migrator:
        outcomes = migrator.migrate_at_once(target, PROCESSES, lease=lease)
    assert [outcome.error for outcome in outcomes] == [""] * PROCESSES
    applied = [revision for outcome in outcomes for revision in outcome.applied]
    assert sorted(applied) == sorted(fault_revisions.SCRIPTS)
    waited = [sentence for outcome in outcomes for sentence in outcome.said]
    assert any(sentence.startswith("Another migration is running") for sentence in waited)
    engine = migrating.engine(target)
    assert run(lambda: fault_revisions.found(engine)) == fault_revisions.EXPECTED
