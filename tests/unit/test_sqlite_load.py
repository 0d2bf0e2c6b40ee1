"""The arithmetic of the benchmark of writers of one SQLite file."""

from __future__ import annotations

import pytest
import sqlite_load
from sqlite_load import Figures, Goal, Load, Run


def figures(rate: float, lost: int = 0) -> Figures:
    return Figures(rate=rate, half=1, p99=1, slowest=1, reads_p99=1, lost=lost, locked=0)


def test_what_was_committed_and_is_not_there_was_lost() -> None:
    seen = {"writes": [0.1, 0.4], "reads": [], "committed": 2, "locked": 0}
    found = sqlite_load.figures([seen, {**seen, "locked": 1}], stored=3, seconds=2)
    assert (found.lost, found.locked, found.rate, found.slowest) == (1, 1, 2, 0.4)


def test_a_run_that_took_longer_than_it_should_counts_as_long_as_it_took() -> None:
    seen = {"writes": [4.0], "reads": [], "committed": 8, "locked": 0}
    assert sqlite_load.figures([seen], stored=8, seconds=1).rate == 2


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (100, 100)])
def test_a_percentile_is_a_value_that_was_seen(percent: int, expected: int) -> None:
    assert sqlite_load.percentile(range(1, 101), percent) == expected


@pytest.mark.parametrize(
    ("rate", "lost", "met"), [(5, 0, ["yes", "yes"]), (4, 1, ["**no**", "**no**"])]
)
def test_a_missed_goal_is_shown_as_missed(rate: float, lost: int, met: list[str]) -> None:
    runs = [Run(name=name, contestant=name) for name in ("rxdb", "Reflex")]
    goal = Goal(own="rxdb", figure="rate", peer="Reflex", at_least=2.5)
    load = Load(title="Load", runs=runs, goals=[goal])
    results = {"rxdb": [figures(rate, lost)] * 3, "Reflex": [figures(2)] * 3}
    assert [row[-1] for row in sqlite_load.goals(load, results)] == met
