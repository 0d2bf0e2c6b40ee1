"""What ``Config.durability`` sets on SQLite, and that a URL's own word goes before it."""

from __future__ import annotations

import pytest
from sqlalchemy import text

import rxdb as rx

NORMAL, FULL = 1, 2
"""SQLite's numbers (its documentation, "PRAGMA synchronous")."""


@pytest.mark.parametrize(
    ("durability", "options", "expected"),
    [
        ("normal", "", NORMAL),
        ("full", "", FULL),
        ("full", "?synchronous=NORMAL", NORMAL),
        ("normal", "?synchronous=FULL", FULL),
    ],
)
def test_decides_whether_a_commit_waits_for_the_disk(
    durability: str, options: str, expected: int
) -> None:
    rx.set_config(rx.Config(db_url=f"sqlite:///app.db{options}", durability=durability))
    with rx.session() as session:
        assert session.scalar(text("PRAGMA synchronous")) == expected


def test_there_is_no_other_durability() -> None:
    with pytest.raises(rx.BadConfig, match=r"no durability='fall'\. Did you mean 'full'\?"):
        rx.Config(durability="fall")
