"""Exact decimals on SQLite: what is sent of them, one by one and a column at once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rxdb_dialects import _sqlite_decimals, _sqlite_rows
from sqlalchemy import DateTime, Float, Numeric, Time, make_url

from rxdb import registry

DIALECT = make_url("sqlite://").get_dialect()()
registry.get("sqlite").keep_meaning(DIALECT, make_url("sqlite://"))
SPECIAL = ["NaN", "sNaN", "Infinity", "1E+900", "9999999999.995", "-9999999999.995", "-0", "1E-999"]
DECIMALS = st.decimals(-(10**10), 10**10, places=4) | st.sampled_from(list(map(Decimal, SPECIAL)))


def outcome(work: Any) -> Any:
    """Return what came out, with its types, or that it was refused."""
    try:
        return [(type(value), value) for value in work()]
    except (ArithmeticError, ValueError):
        return "refused"


@given(st.lists(DECIMALS, min_size=1, max_size=5), st.sampled_from([(12, 2), (15, 0), (10, 10)]))
def test_a_column_is_sent_as_its_values_are(values: list[Decimal], size: tuple[int, int]) -> None:
    type_: Numeric[Any] = Numeric(*size)
    one = type_._cached_bind_processor(DIALECT)
    many = _sqlite_rows.bind_columns(type_, DIALECT)[Decimal]
    assert one is not None
    assert outcome(lambda: many(values)) == outcome(lambda: list(map(one, values)))


@given(st.lists(st.floats(), min_size=1, max_size=5))
def test_floats_are_sent_as_one_by_one(values: list[float]) -> None:
    one = Float()._cached_bind_processor(DIALECT)
    many = _sqlite_rows.bind_columns(Float(), DIALECT)[float]
    assert one is not None
    assert outcome(lambda: many(values)) == outcome(lambda: list(map(one, values)))


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (DateTime(), st.datetimes(timezones=st.none() | st.timezones())),
        (Time(), st.times(timezones=st.none() | st.timezones())),
    ],
)
def test_times_are_sent_as_one_by_one(type_: Any, values: st.SearchStrategy[Any]) -> None:
    one = type_._cached_bind_processor(DIALECT)

    @given(st.lists(values, min_size=1, max_size=5))
    def check(values: list[Any]) -> None:
        many = _sqlite_rows.bind_columns(type_, DIALECT)[type(values[0])]
        assert outcome(lambda: list(many(values))) == outcome(lambda: list(map(one, values)))

    check()


def test_a_long_decimal_is_left_to_its_type() -> None:
    assert _sqlite_rows.bind_columns(Numeric(30, 10), DIALECT) == {}
    assert _sqlite_decimals.EXACT == 15
