"""Slow statements and the comments of statements, on every server and driver."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError

import rxdb as rx

HERE = Path(__file__).name
SECRET = "not to be shown"


def here() -> str:
    """Return the caller's line as the log tells it."""
    frame = sys._getframe(1)
    return f"{HERE}:{frame.f_lineno} in {frame.f_code.co_name}"


def test_a_slow_statement_is_told_with_its_place_and_without_its_values(
    make_engine: Callable[..., Engine], caplog: pytest.LogCaptureFixture
) -> None:
    rx.set_config(rx.Config(slow_statement=0))
    with make_engine().connect() as connection:
        caplog.clear()
        line = here().replace(f":{sys._getframe().f_lineno}", f":{sys._getframe().f_lineno + 1}")
        connection.execute(text("SELECT :what"), {"what": SECRET})
    (record,) = caplog.records
    message = record.getMessage()
    assert re.match(r"\d+\.\d{3} s on .+://", message)
    assert line in message
    assert "SELECT" in message
    assert SECRET not in message
    assert record.seconds > 0  # type: ignore[attr-defined]  # rxdb adds it


def test_a_slow_statement_that_fails_is_told_too(
    make_engine: Callable[..., Engine], caplog: pytest.LogCaptureFixture
) -> None:
    rx.set_config(rx.Config(slow_statement=0))
    with make_engine().connect() as connection:
        caplog.clear()
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT * FROM nowhere"))
    (record,) = caplog.records
    assert re.search(r" s, then \w+, on ", record.getMessage())


def test_a_quick_statement_is_not_told(
    make_engine: Callable[..., Engine], caplog: pytest.LogCaptureFixture
) -> None:
    rx.set_config(rx.Config(slow_statement=3600))
    with make_engine().connect() as connection:
        connection.execute(text("SELECT 1"))
    assert caplog.records == []


def test_a_statement_carries_its_place(make_engine: Callable[..., Engine]) -> None:
    rx.set_config(rx.Config(comment_statements=True))
    engine, sent = make_engine(), []

    @event.listens_for(engine, "after_cursor_execute")
    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    with engine.connect() as connection:
        sent.clear()
        answer = connection.execute(text("SELECT :n + 1"), {"n": 1}).scalar()
        line = sys._getframe().f_lineno - 1
    assert answer == 2
    assert re.search(rf" /\* \S*{HERE}:{line}_in_test_a_statement_carries_its_place \*/$", sent[0])


def test_nothing_is_attached_where_nothing_is_asked_for(make_engine: Callable[..., Engine]) -> None:
    plain = make_engine()
    rx.set_config(rx.Config(slow_statement=1.0, comment_statements=True))
    watched = make_engine()
    count = [len(list(e.dispatch.before_cursor_execute)) for e in (plain, watched)]
    assert count[1] == count[0] + 2
