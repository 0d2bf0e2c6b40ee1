"""Arithmetic with datetimes, dates and timedeltas: the same on every server.

Python itself is the judge. Each function below is called with the columns of a table, which makes
SQL, and with the values of a row, which makes what the SQL has to return.
"""

import datetime as dt
import os
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import databases
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, MetaData, Table, func, select
from sqlalchemy.exc import CompileError
from sqlmodel import Field

import rxdb as rx

EXAMPLES = int(os.environ.get("RXDB_ROUNDTRIPS", "3"))
"""How many lists of rows are tried."""

UTC = dt.UTC
ELSEWHERE = dt.timezone(dt.timedelta(hours=-3, minutes=-30))
NOON = dt.datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
THERE = NOON.astimezone(ELSEWHERE)
NEW_YEAR = dt.date(2026, 1, 1)
MICROSECOND = dt.timedelta(microseconds=1)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)

Of = Callable[[Any], Any]


class Calculated(rx.Model):
    metadata = MetaData()  # no other test's


class Event(Calculated, table=True):
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    seen: dt.datetime | None = None
    other: dt.datetime | None = None
    day: dt.date | None = None
    took: dt.timedelta | None = None
    rest: dt.timedelta | None = None
    times: int | None = None
    share: float | None = None


EVENTS: Table = Event.__table__  # type: ignore[attr-defined]  # SQLModel declares no __table__
COLUMNS = EVENTS.c

moments = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants it without
spans = st.timedeltas(dt.timedelta(days=-36_500), dt.timedelta(days=36_500)) | st.timedeltas(
    -2 * DAY, 2 * DAY
)
rows = st.fixed_dictionaries(
    {
        "seen": moments,
        "other": moments,
        "day": st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)),
        "took": spans,
        "rest": spans,
        "times": st.integers(-5, 5),
        "share": st.sampled_from([0.5, -0.25, 2.0, 0.0]),
    }
)
EDGES = [
    {
        "seen": NOON - HOUR,
        "other": NOON + 90 * MICROSECOND,
        "day": dt.date(2024, 2, 29),
        "took": took,
        "rest": -took,
        "times": 3,
        "share": 0.5,
    }
    for took in (MICROSECOND, -MICROSECOND, dt.timedelta(), HOUR, -DAY, 400 * DAY + MICROSECOND)
]

MOMENTS: dict[str, Of] = {
    "datetime + timedelta": lambda e: e.seen + HOUR,
    "timedelta + datetime": lambda e: HOUR + e.seen,
    "datetime - timedelta": lambda e: e.seen - (DAY + MICROSECOND),
    "datetime + column": lambda e: e.seen + e.took,
    "column + datetime": lambda e: e.took + e.seen,
    "datetime - column": lambda e: e.seen - e.took,
    "now - column": lambda e: NOON - e.took,
    "now + column, elsewhere": lambda e: THERE + e.took,
    "several": lambda e: e.seen + (e.seen - e.other) * 2 - e.took + e.rest,
    "a chain": lambda e: e.seen + e.took + e.rest + HOUR,
    "a number of timedeltas": lambda e: e.seen + e.times * HOUR,
}
SPANS: dict[str, Of] = {
    "datetime - datetime": lambda e: e.seen - e.other,
    "datetime - now": lambda e: e.seen - THERE,
    "now - datetime": lambda e: THERE - e.seen,
    "timedelta + timedelta": lambda e: e.took + e.rest,
    "timedelta - timedelta": lambda e: e.took - e.rest,
    "timedelta + value": lambda e: e.took + HOUR,
    "value - timedelta": lambda e: HOUR - e.took,
    "timedelta * 3": lambda e: e.took * 3,
    "-3 * timedelta": lambda e: -3 * e.took,
    "timedelta * column": lambda e: e.took * e.times,
    "column * timedelta": lambda e: e.times * e.took,
    "date - date": lambda e: e.day - NEW_YEAR,
    "value - date": lambda e: NEW_YEAR - e.day,
    "minus": lambda e: -e.took,
    "minus a difference": lambda e: -(e.seen - e.other),
    "sum of differences": lambda e: (e.day - NEW_YEAR) + (e.seen - e.other) * 2 + e.took,
    "a chain of numbers": lambda e: e.took * 2 * e.times,
}
DAYS: dict[str, Of] = {
    "date + timedelta": lambda e: e.day + 30 * DAY,
    "timedelta + date": lambda e: DAY + e.day,
    "date - timedelta": lambda e: e.day - 30 * DAY,
    "date + column": lambda e: e.day + e.took,
    "date - column": lambda e: e.day - e.took,
    "half days": lambda e: e.day + 12 * HOUR + 12 * HOUR + e.took,
}
FRACTIONS: dict[str, Of] = {
    "timedelta * 1.5": lambda e: e.took * 1.5,
    "timedelta * float": lambda e: e.took * e.share,
    "Decimal": lambda e: e.took * (0.25 if isinstance(e, SimpleNamespace) else Decimal("0.25")),
}
ALL = {**MOMENTS, **SPANS, **DAYS}

ADDED: list[Of] = [
    lambda e: e.took,
    lambda e: e.seen - e.other,
    lambda e: e.day - NEW_YEAR,
    lambda e: -e.rest,
]
FEW = len(EDGES) + 2
"""How many rows are added up: a timedelta ends at -970 years."""

CONDITIONS: dict[str, Of] = {
    "later than now": lambda e: e.seen + HOUR < NOON,
    "later than now, elsewhere": lambda e: e.seen + HOUR < THERE,
    "columns": lambda e: e.seen + e.took < e.other,
    "a value less a column": lambda e: THERE - e.took > e.seen,
    "a difference": lambda e: e.seen - e.other > dt.timedelta(hours=-2),
    "a difference and a column": lambda e: e.took <= e.other - e.seen,
    "a date": lambda e: e.day + DAY > NEW_YEAR,
    "a product": lambda e: e.took * 2 > e.rest,
}


@pytest.fixture
def events(engine: Engine, run: databases.Run) -> Table:
    run(lambda: EVENTS.create(engine))
    return EVENTS


def store(connection: Connection, values: list[dict[str, Any]]) -> list[Any]:
    """Have nothing but these rows in the table, and return what stands for them in Python."""
    connection.execute(sa.delete(EVENTS))
    numbered = [{"number": number, **row} for number, row in enumerate(values)]
    connection.execute(sa.insert(EVENTS), numbered)
    connection.commit()
    return [SimpleNamespace(**row) for row in numbered]


def try_rows(test: Callable[[list[Any]], None], engine: Engine) -> None:
    """Call *test* with lists of generated rows, each with the edges among them."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        database=None,
        derandomize="RXDB_ROUNDTRIPS" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(rows, min_size=10, max_size=30))
    def tried(found: list[dict[str, Any]]) -> None:
        with engine.connect() as connection:
            test(store(connection, [*EDGES, *found]))

    tried()


def column(connection: Connection, expression: Any, *order: Any) -> list[Any]:
    """Return what the server makes of an expression."""
    query = select(expression).order_by(*order or (COLUMNS.number,))
    return list(connection.scalars(query.select_from(EVENTS)))


def numbers(connection: Connection, condition: Any) -> set[int]:
    """Return the numbers of the rows that fulfil a condition."""
    return set(connection.scalars(select(COLUMNS.number).where(condition)))


def utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, dt.datetime) else value


@pytest.mark.usefixtures("events")
def test_results_are_those_of_python(engine: Engine) -> None:
    def check(found: list[Any]) -> None:
        with engine.connect() as connection:
            for name, of in ALL.items():
                expected = [utc(of(row)) for row in found]
                result = column(connection, of(COLUMNS))
                assert result == expected, name
                assert set(map(type, result)) == {type(expected[0])}, name
                zones = {getattr(value, "tzinfo", None) for value in result}
                assert zones <= {None if name not in MOMENTS else UTC}, name

    try_rows(check, engine)


@pytest.mark.usefixtures("events")
def test_filters_and_orders_are_those_of_python(engine: Engine) -> None:
    def check(found: list[Any]) -> None:
        with engine.connect() as connection:
            for name, of in ALL.items():
                values = [of(row) for row in found]
                ordered = column(connection, of(COLUMNS), of(COLUMNS))
                assert ordered == sorted(map(utc, values)), name
                for value in values[::7]:
                    some = numbers(connection, of(COLUMNS) == value)
                    assert some == {n for n, v in enumerate(values) if v == value}, name
                    some = numbers(connection, of(COLUMNS) < value)
                    assert some == {n for n, v in enumerate(values) if v < value}, name
                some = numbers(connection, of(COLUMNS).in_(values[::3]))
                assert some == {n for n, v in enumerate(values) if v in values[::3]}, name
            for name, is_true in CONDITIONS.items():
                some = numbers(connection, is_true(COLUMNS))
                assert some == {row.number for row in found if is_true(row)}, name

    try_rows(check, engine)


@pytest.mark.usefixtures("events")
def test_a_product_with_a_fraction_is_rounded_to_a_microsecond(engine: Engine) -> None:
    def check(found: list[Any]) -> None:
        with engine.connect() as connection:
            for name, of in FRACTIONS.items():
                for seen, row in zip(column(connection, of(COLUMNS)), found, strict=True):
                    assert abs(seen - of(row)) <= MICROSECOND, name

    try_rows(check, engine)


@pytest.mark.usefixtures("events")
def test_sums_and_averages_are_those_of_python(engine: Engine) -> None:
    def check(found: list[Any]) -> None:
        with engine.connect() as connection:
            for of in ADDED:
                values = [of(row) for row in found[:FEW]]
                functions = func.sum, func.avg, func.min, func.max
                query = select(*(f(of(COLUMNS)) for f in functions))
                seen = connection.execute(query.where(COLUMNS.number < FEW)).one()
                total = sum(values, dt.timedelta())
                assert (seen[0], *seen[2:]) == (total, min(values), max(values))
                assert abs(seen[1] - total / len(values)) <= MICROSECOND
            several = select(func.sum(COLUMNS.took.distinct()), func.sum(COLUMNS.took) * 2 + HOUR)
            few = [row.took for row in found[:FEW]]
            assert tuple(connection.execute(several.where(COLUMNS.number < FEW)).one()) == (
                sum(set(few), dt.timedelta()),
                sum(few, dt.timedelta()) * 2 + HOUR,
            )

    try_rows(check, engine)


@pytest.mark.usefixtures("events")
def test_sums_in_a_window_and_in_a_group(engine: Engine) -> None:
    with engine.connect() as connection:
        found = store(connection, EDGES)
        running = func.sum(COLUMNS.took).over(order_by=COLUMNS.number, rows=(-1, 0))
        pairs = zip([None, *found], found, strict=False)
        expected = [b.took + (a.took if a else dt.timedelta()) for a, b in pairs]
        assert column(connection, running) == expected
        long = func.avg(COLUMNS.took) > HOUR
        grouped = select(COLUMNS.number).group_by(COLUMNS.number).having(long)
        assert connection.scalars(grouped).all() == [len(EDGES) - 1]
        nothing = select(func.sum(COLUMNS.took), func.avg(COLUMNS.took)).where(COLUMNS.times > 9)
        assert tuple(connection.execute(nothing).one()) == (None, None)


@pytest.mark.usefixtures("events")
def test_results_can_be_chosen_from_and_come_out_of_subqueries(engine: Engine) -> None:
    with engine.connect() as connection:
        found = store(connection, EDGES)
        first = COLUMNS.number == 0
        for name, of in ALL.items():
            expected = [utc(of(row)) for row in found]
            inner = select(COLUMNS.number, of(COLUMNS).label("value")).subquery()
            outer = select(inner.c.value).order_by(inner.c.number)
            assert connection.scalars(outer).all() == expected, name
            value = expected[0]
            chosen = sa.case((first, of(COLUMNS)), else_=value)
            assert column(connection, chosen) == [value] * len(found), name
            some = func.coalesce(sa.case((~first, of(COLUMNS))), value)
            assert column(connection, some) == expected, name
            both = sa.union(select(of(COLUMNS)), select(of(COLUMNS))).subquery()
            assert set(connection.scalars(select(both))) == set(expected), name
        average = select(func.avg(COLUMNS.rest)).where(first).scalar_subquery()
        assert connection.scalar(select(average + HOUR)) == found[0].rest + HOUR


@pytest.mark.usefixtures("events")
def test_an_update_calculates(engine: Engine) -> None:
    with engine.connect() as connection:
        (row,) = store(connection, EDGES[-1:])
        changes: dict[str, Of] = {
            "seen": lambda e: e.seen + e.took,
            "other": lambda e: e.other - HOUR,
            "day": lambda e: e.day + DAY,
            "took": lambda e: e.took * 2 - DAY,
            "rest": lambda e: e.seen - e.other,
        }
        for name, of in changes.items():
            connection.execute(sa.update(EVENTS).values({name: of(COLUMNS)}))
            expected = of(row)
            setattr(row, name, expected)
            assert connection.scalar(select(COLUMNS[name])) == expected
            assert numbers(connection, COLUMNS[name] == expected) == {0}


@pytest.mark.usefixtures("events")
def test_nothing_plus_something_is_nothing(engine: Engine) -> None:
    with engine.connect() as connection:
        store(connection, [dict.fromkeys(EDGES[0])])
        for name, of in {**ALL, **FRACTIONS}.items():
            assert column(connection, of(COLUMNS)) == [None], name


@pytest.mark.usefixtures("events")
def test_the_clock_of_the_server_is_one_in_utc(engine: Engine) -> None:
    with engine.connect() as connection:
        store(connection, [{"seen": dt.datetime.now(UTC), "took": HOUR}])
        old = COLUMNS.seen < func.now() - HOUR
        soon = func.now() + HOUR > COLUMNS.seen
        assert (numbers(connection, old), numbers(connection, soon)) == (set(), {0})
        minute = dt.timedelta(minutes=1)
        query = select(func.now() - COLUMNS.seen, func.now() + COLUMNS.took)
        passed: Any
        later: Any
        passed, later = connection.execute(query).one()
        assert abs(passed) < minute
        assert abs(later - dt.datetime.now(UTC) - HOUR) < minute
        elsewhere = (dt.datetime.now(UTC) + 2 * HOUR).astimezone(ELSEWHERE)
        assert numbers(connection, func.now() + COLUMNS.took < elsewhere) == {0}


@pytest.mark.usefixtures("events")
def test_a_date_is_compared_with_a_datetime_as_its_beginning(engine: Engine) -> None:
    midnight = dt.datetime.combine(NEW_YEAR, dt.time(), UTC)
    with engine.connect() as connection:
        store(connection, [{"seen": midnight - HOUR, "day": NEW_YEAR}])
        assert numbers(connection, COLUMNS.seen + HOUR == COLUMNS.day) == {0}
        assert numbers(connection, COLUMNS.seen + HOUR > COLUMNS.day) == set()
        within = (COLUMNS.seen + HOUR).between(COLUMNS.day, COLUMNS.day + DAY)
        assert numbers(connection, within) == {0}


TOO_FAR: dict[str, Of] = {
    "a datetime": lambda e: e.seen + e.took * 100_000,
    "before the first year": lambda e: e.seen - e.took * 100_000,
    "a timedelta": lambda e: e.took * 100_000_000,
    "more than 64 bits": lambda e: e.took * 2_000_000_000 * 2_000_000_000,
    "a date": lambda e: e.day + e.took * 100_000,
}


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize("of", TOO_FAR.values(), ids=TOO_FAR)
def test_what_is_too_far_away_is_no_other_value(engine: Engine, of: Of) -> None:
    with engine.connect() as connection:
        store(connection, EDGES[-1:])
        try:
            (found,) = column(connection, of(COLUMNS))
        except (sa.exc.DBAPIError, OverflowError, ValueError, AttributeError):
            return
        assert isinstance(found, str)  # a driver's way to say what Python does not know


REFUSED: dict[str, tuple[Of, str]] = {
    "two datetimes": (lambda e: e.seen + e.other, "subtract one from another"),
    "a datetime and a number": (lambda e: e.seen + e.times, r"timedelta\(days=1\)"),
    "a date and a number": (lambda e: e.day + 1, r"timedelta\(days=1\)"),
    "a timedelta and a number": (lambda e: e.took + 1, r"timedelta\(days=1\)"),
    "a chain with a number": (lambda e: e.took + e.rest + 1, r"timedelta\(days=1\)"),
    "a datetime twice": (lambda e: e.seen * e.times, r"timedelta\(days=1\)"),
    "a date and a datetime": (lambda e: e.day - e.seen, "datetime.combine"),
    "a timedelta less a datetime": (lambda e: e.took - e.seen, "Add or subtract a timedelta"),
    "minus a datetime": (lambda e: -e.seen, "Add or subtract a timedelta"),
    "timedeltas multiplied": (lambda e: e.took * e.rest, r"column \* 0.5"),
    "a timedelta divided": (lambda e: e.took / 2, r"column \* 0.5"),
    "timedeltas divided": (lambda e: e.took / e.rest, r"column \* 0.5"),
    "a timedelta and seconds": (lambda e: e.took > e.times, r"timedelta\(seconds=1\)"),
    "a difference and seconds": (lambda e: e.seen - e.other > 60, r"timedelta\(seconds=1\)"),
    "days as a number": (lambda e: e.day - NEW_YEAR == 1, r"timedelta\(seconds=1\)"),
    "between numbers": (lambda e: e.took.between(1, 2), r"timedelta\(seconds=1\)"),
    "a timedelta and a datetime": (lambda e: e.took < e.seen, r"timedelta\(seconds=1\)"),
    "a sum of datetimes": (lambda e: func.sum(e.seen), r"min\(\) or max\(\)"),
    "an average of dates": (lambda e: func.avg(e.day), r"min\(\) or max\(\)"),
}


@pytest.mark.filterwarnings("ignore:Type object")  # SQLAlchemy 2.1 warns of some as well
@pytest.mark.parametrize(("of", "instead"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_meaning_is_refused_when_it_is_compiled(
    engine: Engine, of: Of, instead: str
) -> None:
    with pytest.raises(CompileError, match=instead):
        select(of(COLUMNS)).compile(engine)


UNKNOWN: dict[str, Of] = {
    "another function": lambda e: func.abs(e.took),
    "a number made of a timedelta": lambda e: sa.cast(e.took, sa.Integer),
    "a timedelta made of a text": lambda e: sa.cast("x" + sa.cast(e.times, sa.Text), sa.Interval),
    "a text with a timedelta": lambda e: sa.literal("") + sa.func.round(e.took),
    "an unknown function added": lambda e: e.seen + func.not_there(e.times),
    "a timedelta with a time": lambda e: e.took == sa.func.not_there(e.times),
}


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize("of", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_unknown_is_an_error_and_not_another_value(engine: Engine, of: Of) -> None:
    with engine.connect() as connection:
        store(connection, EDGES)
        with pytest.raises((CompileError, sa.exc.DBAPIError)):
            column(connection, of(COLUMNS))


@pytest.mark.sync_driver
@pytest.mark.usefixtures("events")
def test_a_model_calculates_in_its_session(url: str) -> None:
    """An attribute set to an expression, as SQLAlchemy's ORM takes it."""
    with rx.session(url) as session:
        session.add(Event(number=1, seen=NOON, took=HOUR))
        session.flush()
        event = session.exec(rx.select(Event)).one()
        changed: Any = event
        changed.seen = Event.seen + Event.took  # type: ignore[operator]  # an expression of columns
        session.flush()
        assert event.seen == NOON + HOUR
        passed: Any = Event.seen - Event.took  # type: ignore[operator]  # an expression of columns
        assert session.exec(rx.select(passed)).one() == NOON
