"""Which URLs lead to a pooler, and what is said to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

import rxdb as rx
from rxdb.engine import build


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("db.example/app", False),
        ("db.example/app?pgbouncer=true", True),
        ("db.example:6543/app", True),
        ("db.example:6543/app?pgbouncer=false", False),
        ("ep-cool-1-pooler.eu.example/app", True),
        ("ep-cool-1-pooler.eu.example/app?pgbouncer=off", False),
        ("ep-cool-1.my-pooler.example/app", False),
        ("a.example:5432,b.example:6543/app", True),
        ("a.example,b-pooler.example/app", True),
    ],
)
def test_a_pooler_is_recognised(rest: str, expected: bool) -> None:
    target = rx.parse(f"postgresql+psycopg://{rest}")
    assert target.dialect.is_pooled(target) is expected


@pytest.mark.parametrize("read_only", [False, True])
def test_no_setting_of_a_session_is_said_at_the_start(read_only: bool) -> None:
    target = replace(rx.parse("postgresql+psycopg://db.example:6543/app"), read_only=read_only)
    _, arguments = target.dialect.translate(target)
    assert "options" not in arguments
    engine = build(target)
    assert engine.get_execution_options() == {}
    engine.dispose()
    own = replace(target, url=target.url.update_query_dict({"options": "-c x.y=1"}))
    assert own.dialect.translate(own)[1]["options"] == "-c x.y=1"


def test_the_word_is_not_handed_to_the_driver() -> None:
    target = rx.parse("postgresql+psycopg://db.example/app?pgbouncer=true")
    assert "pgbouncer" not in target.dialect.translate(target)[0].query


def test_what_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(rx.BadURL, match="pgbouncer='maybe' is neither true nor false"):
        rx.parse("postgresql+psycopg://db.example/app?pgbouncer=maybe")
