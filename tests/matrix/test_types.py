"""What a model's annotation means: the same values, filters and orders on every server.

Python itself is the judge. What is written is read back equal, ``ORDER BY`` is :func:`sorted`, and
``=``, ``<`` and ``IN`` are Python's. So what holds on each server is equal on all of them.
"""

import datetime as dt
import enum
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal

import databases
import pytest
from conftest import OpenSession
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from rxdb_dialects import _collation
from sqlalchemy import Connection, Engine, MetaData, Table, delete, exc, func, insert, select, text
from sqlmodel import Field

import rxdb as rx
from rxdb import Feature

EXAMPLES = int(os.environ.get("RXDB_ROUNDTRIPS", "3"))
"""How many lists of values of each kind are tried; one list has up to a hundred."""

Record = Callable[[str, object], None]

UTC = dt.UTC


class Color(enum.Enum):
    red = "the red one"
    green = "the green one"
    blue = "the blue one"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A way to annotate a field, and which values it shall keep."""

    annotation: Any
    values: st.SearchStrategy[Any]

    holds: str
    """What its column keeps, for the page that tests/compatibility.py writes."""

    constraints: dict[str, Any] = field(default_factory=dict)
    """What Field() is told."""
    edges: list[Any] = field(default_factory=list)
    """Values that are always tried."""

    needs: tuple[Feature, ...] = ()

    is_ordered: bool = True
    """Whether ORDER BY and ``<`` mean what they do in Python."""

    is_comparable: bool = True
    """Whether ``=`` and IN do."""

    sorted_by: Callable[[Any], Any] = lambda column: column
    """What is written for the column after ORDER BY, and before ``<``."""

    key: Callable[[Any], Any] = lambda value: value
    """What values are compared and sorted by."""


def decimals(digits: int, places: int) -> st.SearchStrategy[Decimal]:
    most = 10**digits - 1
    return st.integers(-most, most).map(lambda n: Decimal(f"{n}e-{places}"))


YEARS = dt.datetime(1000, 1, 3), dt.datetime(9999, 12, 29)  # noqa: DTZ001 - zones are added
"""MySQL's, less a day on each side for the time zones."""

zones = st.integers(-1439, 1439).map(lambda n: dt.timezone(dt.timedelta(minutes=n)))
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")

FOLDED = [
    chr(number)
    for number in (
        *range(0x20, 0x7F),
        *range(0xC0, 0x180),
        *range(0x391, 0x3CA),
        *range(0x410, 0x450),
    )
    if chr(number) not in "\xd7\xf7\u013f\u0140\u017f" and chr(number).isprintable()
]
"""ASCII, and the letters of Latin, Greek and Cyrillic script that the servers compare alike."""


def caseless(value: str) -> Any:
    """Return what a text without regard to case is compared and sorted by."""
    return _collation.key(value)


class Size(BaseModel):
    """A document."""

    width: Decimal
    made: dt.date | None = None
    tags: list[str] = []


numbers = st.integers(-(2**53), 2**53) | st.floats(-1e15, 1e15).map(lambda x: round(x, 3))
documents = st.recursive(
    st.none() | st.booleans() | numbers | st.text(letters, max_size=9),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(letters), some, max_size=3),
    max_leaves=8,
)
KINDS = {
    "str": Kind(
        holds="all of Unicode but NUL; sorted by `rx.exact()`",
        annotation=str,
        constraints={"max_length": 60},
        values=st.text(letters, max_size=60),
        edges=["", " ", "a", "A", "a ", "á", "ß", "ss", "😀", "😀" * 60, "'", '"', "\\", "%", "_"],
        sorted_by=rx.exact,
    ),
    "long str": Kind(
        holds="any number of letters; sorted by `rx.exact()`",
        annotation=Annotated[str, rx.Text],
        values=st.text(letters, max_size=9) | st.text("abAB -_.\xe4\xc4", max_size=4),
        edges=["a", "B", "A", "b", "\xe4", "z", "\uffff", "\N{GRINNING FACE}" * 20_000],
        sorted_by=rx.exact,
    ),
    "text without regard to case": Kind(
        holds="letters of Latin, Greek and Cyrillic script",
        needs=(Feature.CASELESS_TEXT,),
        annotation=Annotated[str, rx.CaseInsensitiveText(60)],
        values=st.text(FOLDED, max_size=9) | st.text("abAB -\xe4\xc4\xe1", max_size=4),
        edges=["Bob", "bob", "BOB ", "B\xf6b", "Stra\xdfe", "STRASSE", "stra\u1e9ee", *FOLDED],
        key=caseless,
    ),
    "int": Kind(
        holds="from -2147483648 to 2147483647",
        annotation=int,
        values=st.integers(-(2**31), 2**31 - 1),
        edges=[-(2**31), 2**31 - 1, 0],
    ),
    "float": Kind(
        holds="64 bits, as Python's",
        annotation=float,
        values=st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
        edges=[0.1, 1 / 3, 1e308, 2.0**53 + 2, -1.5e-300],
    ),
    "bool": Kind(holds="`True` and `False`", annotation=bool, values=st.booleans()),
    "bytes": Kind(
        holds="any number of them",
        annotation=bytes,
        values=st.binary(max_size=200),
        edges=[b"", b"\0", b"\xff\0'\"\\", bytes(range(256)) * 280],
    ),
    "Decimal": Kind(
        holds="35 digits before the point and 30 after it; on SQLite and PostgreSQL more",
        needs=(Feature.LONG_DECIMALS,),
        annotation=Decimal,
        values=decimals(60, 28),
        edges=[Decimal("12345678901234567890.12"), Decimal("0.1"), Decimal(100), Decimal(-2)],
    ),
    "Decimal of 30 digits": Kind(
        holds="as many digits as are said",
        annotation=Decimal,
        constraints={"max_digits": 30, "decimal_places": 10},
        values=decimals(30, 10),
        edges=[Decimal("12345678901234567890.12"), Decimal("-12345678901234567890.12")],
    ),
    "Decimal of 12 digits": Kind(
        holds="as many digits as are said",
        annotation=Decimal,
        constraints={"max_digits": 12, "decimal_places": 2},
        values=decimals(12, 2),
        edges=[Decimal("9999999999.99"), Decimal("0.01"), Decimal("-0.29")],
    ),
    "datetime": Kind(
        holds="from 1000 to 9999, with microseconds, in UTC",
        annotation=dt.datetime,
        values=st.datetimes(*YEARS, timezones=zones),
        edges=[
            dt.datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
            dt.datetime(1970, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-11))),
        ],
    ),
    "date": Kind(
        holds="from 1000 to 9999", annotation=dt.date, values=st.dates(dt.date(1000, 1, 1))
    ),
    "time": Kind(
        holds="with microseconds",
        annotation=dt.time,
        values=st.times(),
        edges=[dt.time(), dt.time(23, 59, 59, 999999), dt.time(1, 2, 3, 4)],
    ),
    "timedelta": Kind(
        holds="from -970 to 8029 years, with microseconds",
        annotation=dt.timedelta,
        values=st.timedeltas(dt.timedelta(days=-300_000), dt.timedelta(days=2_900_000)),
        edges=[dt.timedelta(microseconds=1), dt.timedelta(microseconds=-1)],
    ),
    # MariaDB takes those of RFC 9562 only, and sorts the older ones by their time
    "UUID": Kind(
        holds="those of RFC 9562; ORDER BY differs",
        annotation=uuid.UUID,
        values=st.uuids(version=4),
        is_ordered=False,
    ),
    "dict": Kind(
        holds="JSON",
        annotation=dict,
        values=st.dictionaries(st.text(letters, max_size=9), documents, max_size=4),
        edges=[{}, {"a": {"b": [1, None, True, "\N{GRINNING FACE}"]}}],
        is_comparable=False,
        is_ordered=False,
    ),
    "list": Kind(
        holds="JSON",
        annotation=list[Any],
        values=st.lists(documents, max_size=4),
        edges=[[], [[]], [None], ["", "'", '"', "\\"]],
        is_comparable=False,
        is_ordered=False,
    ),
    "list of datetime": Kind(
        holds="JSON",
        annotation=list[dt.datetime],
        values=st.lists(st.datetimes(timezones=zones), max_size=3),
        is_comparable=False,
        is_ordered=False,
    ),
    "pydantic model": Kind(
        holds="JSON, checked both ways",
        annotation=Size,
        values=st.builds(Size, width=decimals(40, 20), tags=st.lists(st.text(letters))),
        is_comparable=False,
        is_ordered=False,
    ),
    "int of 64 bits": Kind(
        holds="64 bits",
        annotation=int,
        constraints={"le": 2**63 - 1},
        values=st.integers(-(2**63), 2**63 - 1),
        edges=[-(2**63), 2**63 - 1],
    ),
    "Literal": Kind(
        holds="its texts, with a CHECK",
        annotation=Literal["small", "it's large"],
        values=st.sampled_from(["small", "it's large"]),
    ),
    "Enum": Kind(
        holds="the names of its members; ORDER BY differs",
        annotation=Color,
        values=st.sampled_from(Color),
        is_ordered=False,
    ),
}


class Kept(rx.Model):
    metadata = MetaData()  # no other test's


def declare(name: str, kind: Kind) -> Table:
    """Return the table of a model with one field of this kind."""
    number = {"number": Field(primary_key=True, sa_column_kwargs={"autoincrement": False})}
    annotations = {"number": int, "value": kind.annotation | None}
    body = {"__annotations__": annotations, "__module__": __name__, **number}
    body["value"] = Field(default=None, **kind.constraints)
    body["__tablename__"] = f"kept_{name.lower().replace(' ', '_')}"
    make: Any = type(Kept)
    table: Table = make(f"Kept{name.title().replace(' ', '')}", (Kept,), body, table=True).__table__
    return table


TABLES = {name: declare(name, kind) for name, kind in KINDS.items()}


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.needs(*KINDS[name].needs)) for name in KINDS]
)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _case(request: pytest.FixtureRequest, backend: str, record_property: Record) -> None:
    """Say for tests/compatibility.py what is tried on which server."""
    label = backend.replace("+", "-")
    case = request.node.callspec.id.removeprefix(f"{label}-").removesuffix(f"-{label}")
    record_property("server", backend)
    record_property("case", case)


@pytest.fixture
def table(name: str, engine: Engine, run: databases.Run) -> Table:
    run(lambda: TABLES[name].metadata.create_all(engine, tables=[TABLES[name]]))
    return TABLES[name]


def try_lists(values: st.SearchStrategy[Any], edges: list[Any], test: Callable[..., None]) -> None:
    """Call *test* with lists of generated values, each with the edges among them."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],  # a list of a hundred would take minutes to shrink
        database=None,
        derandomize="RXDB_ROUNDTRIPS" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(values, min_size=40, max_size=100))
    def tried(found: list[Any]) -> None:
        test([*edges, *found])

    tried()


def test_values_filters_and_orders_are_those_of_python(
    name: str, table: Table, engine: Engine, record_property: Record
) -> None:
    kind = KINDS[name]
    column = table.c.value
    order = kind.sorted_by(column)
    tried = []

    def check(values: list[Any]) -> None:
        tried.append(len(values))
        with engine.connect() as connection:
            store(connection, table, values)
            query = select(table.c.number, column).order_by(table.c.number)
            found = [value for _, value in connection.execute(query)]
            assert found == values
            # asyncpg has a subclass of UUID.
            kinds = [uuid.UUID if isinstance(v, uuid.UUID) else type(v) for v in found]
            assert kinds == [type(value) for value in values]
            if kind.is_ordered:
                ordered = connection.scalars(select(column).order_by(order)).all()
                assert list(map(kind.key, ordered)) == sorted(map(kind.key, values))
            keys = list(map(kind.key, values))
            for value, key in [*zip(values, keys, strict=True)][:20] if kind.is_comparable else ():
                numbers = matching(connection, table, column == value)
                assert numbers == {n for n, k in enumerate(keys) if k == key}
                if kind.is_ordered and not isinstance(value, bool):
                    numbers = matching(connection, table, order < value)
                    assert numbers == {n for n, k in enumerate(keys) if k < key}
            if not kind.is_comparable:
                return
            numbers = matching(connection, table, column.in_(values[::3]))
            assert numbers == {n for n, k in enumerate(keys) if k in keys[::3]}

    try_lists(kind.values, kind.edges, check)
    record_property("values", sum(tried))
    record_property("annotation", annotation_text(kind))
    record_property("holds", kind.holds)
    record_property("column", str(column.type.compile(engine.dialect)))
    record_property("version", ".".join(map(str, (engine.dialect.server_version_info or ())[:3])))


def annotation_text(kind: Kind) -> str:
    """Return how a field of this kind is written."""
    if more := getattr(kind.annotation, "__metadata__", ()):
        name = kind.annotation.__origin__.__name__
        said = more[0].__name__ if isinstance(more[0], type) else repr(more[0])
        return f"`Annotated[{name}, rx.{said}]`"
    is_class = isinstance(kind.annotation, type)
    shown = kind.annotation.__name__ if is_class else str(kind.annotation).replace("typing.", "")
    said = ", ".join(f"{name}={value}" for name, value in kind.constraints.items())
    return f"`{shown}`" + (f", `{said}`" if said else "")


def store(connection: Connection, table: Table, values: list[Any]) -> None:
    """Have nothing but *values* in the table, numbered from 0."""
    connection.execute(delete(table))
    rows = [{"number": number, "value": value} for number, value in enumerate(values)]
    connection.execute(insert(table), rows)
    connection.commit()


def matching(connection: Connection, table: Table, condition: Any) -> set[int]:
    """Return the numbers of the rows that fulfil a condition."""
    return set(connection.scalars(select(table.c.number).where(condition)))


class Friend(Kept, table=True):
    name: Annotated[str, rx.CaseInsensitiveText(50)] = Field(primary_key=True)
    mail: str = Field(sa_type=rx.CaseInsensitiveText, unique=True)


class Gift(Kept, table=True):
    giver: Annotated[str, rx.CaseInsensitiveText(50)] = Field(foreign_key="friend.name")


ROB = "R\N{LATIN SMALL LETTER O WITH DIAERESIS}b"
"""Another than Rob."""


@pytest.fixture
def friends(engine: Engine, run: databases.Run) -> Table:
    """The table of two friends."""
    tables = [Kept.metadata.tables[name] for name in ("friend", "gift")]
    rows = [{"name": "Rob", "mail": "10%_Rob@x"}, {"name": ROB, "mail": "b@x"}]

    def create() -> None:
        Kept.metadata.create_all(engine, tables=tables)
        with engine.begin() as connection:
            connection.execute(insert(tables[0]), rows)

    run(create)
    return tables[0]


LIKES: dict[str, tuple[Callable[[Any], Any], set[str]]] = {
    "LIKE": (lambda name: name.like("rO%"), {"Rob"}),
    "LIKE one letter": (lambda name: name.like("R_B"), {"Rob", ROB}),
    "LIKE with an accent": (lambda name: name.like(ROB.upper()), {ROB}),
    "NOT LIKE": (lambda name: name.not_like("RO%"), {ROB}),
    "ILIKE": (lambda name: name.ilike("rO%"), {"Rob"}),
    "startswith": (lambda name: name.startswith("RO"), {"Rob"}),
    "endswith": (lambda name: name.endswith("OB"), {"Rob"}),
    "contains": (lambda name: name.contains(ROB[1].upper()), {ROB}),
    "icontains": (lambda name: name.icontains("O"), {"Rob"}),
    "exact": (lambda name: rx.exact(name) == "rob", set()),
    "exact, as written": (lambda name: rx.exact(name) == "Rob", {"Rob"}),
    "exact LIKE": (lambda name: rx.exact(name).like("ro%"), set()),
}


@pytest.mark.needs(Feature.CASELESS_TEXT)
@pytest.mark.parametrize(("make", "found"), LIKES.values(), ids=LIKES)
def test_a_part_of_a_text_is_found_without_regard_to_case(
    friends: Table, engine: Engine, make: Callable[[Any], Any], found: set[str]
) -> None:
    with engine.connect() as connection:
        names = select(friends.c.name).where(make(friends.c.name))
        assert set(connection.scalars(names)) == found


@pytest.mark.needs(Feature.CASELESS_TEXT)
def test_a_sign_of_like_is_escaped_without_regard_to_case(friends: Table, engine: Engine) -> None:
    with engine.connect() as connection:
        names = select(friends.c.name).where(friends.c.mail.contains("%_rOB", autoescape=True))
        assert connection.scalars(names).all() == ["Rob"]


@pytest.mark.needs(Feature.CASELESS_TEXT)
@pytest.mark.parametrize("values", [{"name": "ROB", "mail": "c@x"}, {"name": "A", "mail": "B@X"}])
def test_a_key_is_unique_without_regard_to_case(
    friends: Table, engine: Engine, values: dict[str, str]
) -> None:
    with engine.connect() as connection, pytest.raises(rx.UniqueViolation):
        connection.execute(insert(friends), values)


@pytest.mark.needs(Feature.CASELESS_TEXT, Feature.FOREIGN_KEYS, Feature.GENERATED_KEYS)
def test_a_foreign_key_refers_without_regard_to_case(friends: Table, engine: Engine) -> None:
    gifts = Kept.metadata.tables["gift"]
    with engine.begin() as connection:
        connection.execute(insert(gifts), {"giver": "rOB"})
    with engine.connect() as connection:
        joined = select(gifts.c.giver, friends.c.name).join(friends)
        assert connection.execute(joined).all() == [("rOB", "Rob")]
        with pytest.raises(rx.ForeignKeyViolation):
            connection.execute(insert(gifts), {"giver": "Robert"})


class Person(Kept, table=True):
    name: str = Field(max_length=50, unique=True)
    note: str | None = Field(default=None, sa_type=rx.Text)
    seen: dt.datetime | None = Field(
        default=None, sa_column_kwargs={"server_default": func.current_timestamp()}
    )


@pytest.fixture
def people(engine: Engine, run: databases.Run) -> Table:
    table = Kept.metadata.tables["person"]
    run(lambda: table.create(engine))
    return table


@pytest.mark.needs(Feature.GENERATED_KEYS)
def test_names_that_differ_in_case_accent_or_a_space_are_different(
    people: Table, engine: Engine
) -> None:
    names = ["Bob", "bob", "b\N{LATIN SMALL LETTER O WITH DIAERESIS}b", "bob ", "BOB"]
    with engine.begin() as connection:
        connection.execute(insert(people), [{"name": name} for name in names])
    with engine.connect() as connection:
        for name in names:
            found = connection.scalars(select(people.c.name).where(people.c.name == name)).all()
            assert found == [name]
        likes = select(people.c.name).where(people.c.name.like("bo%"))
        assert sorted(connection.scalars(likes)) == ["bob", "bob "]


@pytest.mark.needs(Feature.GENERATED_KEYS)
def test_a_table_made_by_hand_changes_nothing_for_later_ones(
    people: Table, make_engine: Callable[..., Engine]
) -> None:
    later = make_engine()
    with make_engine().begin() as connection:
        connection.execute(text("CREATE TABLE by_hand (name VARCHAR(10))"))
    people.drop(later)
    Kept.metadata.tables["kept_bool"].create(later)  # one of rxdb's stays
    with make_engine().begin() as connection:
        people.create(connection)
        connection.execute(insert(people), [{"name": name} for name in ("Bob", "bob")])
        found = connection.scalars(select(people.c.name).where(people.c.name == "bob")).all()
    assert found == ["bob"]


@pytest.mark.needs(Feature.GENERATED_KEYS)
def test_a_text_may_be_longer_than_64_kilobytes(people: Table, engine: Engine) -> None:
    long = "\N{GRINNING FACE}a" * 70_000
    with engine.begin() as connection:
        connection.execute(insert(people), {"name": "Ann", "note": long})
        assert connection.scalar(select(people.c.note)) == long


@pytest.mark.needs(Feature.GENERATED_KEYS)
def test_the_server_tells_the_time_in_utc(people: Table, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(people), {"name": "Ann"})
        seen = connection.scalar(select(people.c.seen))
    assert seen is not None
    assert abs(seen - dt.datetime.now(UTC)) < dt.timedelta(minutes=5)


PATHS = {
    "text": (("name",), "as_string", "Rex"),
    "text with other letters": (("\N{GREEK SMALL LETTER ALPHA} b", 1), "as_string", "x'y"),
    "integer": (("pets", 0, "age"), "as_integer", 7),
    "float": (("pets", 1, "weight"), "as_float", 1.5),
    "boolean": (("pets", 1, "is_tame"), "as_boolean", True),
    "null": (("nothing",), "as_string", None),
    "what is not there": (("pets", 9, "age"), "as_integer", None),
    "integer of 64 bits": (("pets", 0, "steps"), "as_integer", 3_000_000_000),
    "no truth value": (("pets", 1, "is_tam"), "as_boolean", None),
    "null for a truth value": (("nothing",), "as_boolean", None),
    "key with a quote": (('5" disk',), "as_string", "old"),
    "key with a quote in a path": (("odd", 'a."b', 0), "as_integer", 4),
    "key with a backslash": (("odd", "C:\\new"), "as_integer", 5),
    "key with a comma and a brace": (("odd", "a, {b}"), "as_integer", 6),
    "key without a letter": (("odd", ""), "as_integer", 7),
    "key with a new line": (("odd", "\n"), "as_integer", 8),
    "key with a percent sign": (("odd", "100%s"), "as_integer", 9),
    "key with an apostrophe": (("odd", "it's"), "as_integer", 10),
}
DOCUMENT = {
    "name": "Rex",
    "\N{GREEK SMALL LETTER ALPHA} b": [0, "x'y"],
    "pets": [{"age": 7, "steps": 3_000_000_000}, {"weight": 1.5, "is_tame": True}],
    "nothing": None,
    '5" disk': "old",
    "odd": {
        'a."b': [4],
        "C:\\new": 5,
        "a, {b}": 6,
        "": 7,
        "\n": 8,
        "100%s": 9,
        "it's": 10,
    },
}


@pytest.mark.needs(Feature.JSON_PATHS)
@pytest.mark.parametrize(("path", "read", "value"), PATHS.values(), ids=PATHS)
def test_a_path_into_a_document_means_the_same(
    engine: Engine, path: tuple[str | int, ...], read: str, value: object
) -> None:
    table = TABLES["dict"]
    table.create(engine)
    part = getattr(rx.json_path(table.c.value, *path), read)()
    with engine.connect() as connection:
        store(connection, table, [DOCUMENT, {"name": "Other"}])
        assert connection.scalar(select(part).where(table.c.number == 0)) == value
        if value is not None:
            assert matching(connection, table, part == value) == {0}


@pytest.mark.needs(Feature.JSON_PATHS)
def test_no_document_holds_no_truth_value(engine: Engine) -> None:
    table = TABLES["dict"]
    table.create(engine)
    part = rx.json_path(table.c.value, "on").as_boolean()
    with engine.connect() as connection:
        store(connection, table, [None, {}, {"on": None}, {"on": False}, {"on": True}])
        found = connection.scalars(select(part).order_by(table.c.number)).all()
        assert found == [None, None, None, False, True]
        assert matching(connection, table, part.is_(None)) == {0, 1, 2}


@pytest.mark.needs(Feature.JSON_PATHS)
@pytest.mark.parametrize("path", [("name",), ("pets", 0, 'the "name"')])
def test_rows_are_grouped_by_a_part_of_a_document(
    engine: Engine, path: tuple[str | int, ...]
) -> None:
    table = TABLES["dict"]
    table.create(engine)
    part = rx.json_path(table.c.value, *path).as_string()
    rows = [{"name": name, "pets": [{'the "name"': name}]} for name in ("Rex", "Tom", "Rex")]
    with engine.connect() as connection:
        store(connection, table, rows)
        query = select(part, func.count()).group_by(part).order_by(part)
        assert connection.execute(query).all() == [("Rex", 2), ("Tom", 1)]


def test_a_position_in_a_document_is_not_negative() -> None:
    with pytest.raises(ValueError, match="from the beginning"):
        rx.json_path(TABLES["dict"].c.value, "pets", -1)


@pytest.mark.needs(Feature.JSON_PATHS)
def test_a_number_in_a_document_is_read_as_a_whole_decimal(engine: Engine) -> None:
    table = TABLES["dict"]
    table.create(engine)
    part = rx.json_path(table.c.value, "n").as_numeric(18, 2)
    with engine.connect() as connection:
        store(connection, table, [{"n": 99998969694839.98}, {"n": 5}, {}])
        found = connection.scalars(select(part).order_by(table.c.number)).all()
        assert found == [Decimal("99998969694839.98"), Decimal(5), None]
        assert matching(connection, table, part == found[0]) == {0}
        assert matching(connection, table, part == found[1]) == {1}


FILTERS: dict[str, tuple[str, list[Any], Callable[[Any], Any], set[int]]] = {
    "more places, =": ("12", ["0.10"], lambda d: d == Decimal("0.101"), set()),
    "more places, IN": ("12", ["0.10", "0.2"], lambda d: d.in_([Decimal("0.101")]), set()),
    "more places, <": ("12", ["0.10", "0.11"], lambda d: d < Decimal("0.1001"), {0}),
    "more places, BETWEEN": (
        "12",
        ["0.10", "0.11", "0.12"],
        lambda d: d.between(Decimal("0.1001"), Decimal("0.1199")),
        {1},
    ),
    "more places, on the left": ("12", ["0.10", "0.11"], lambda d: Decimal("0.1001") > d, {0}),
    "more digits, <": ("12", ["0.10"], lambda d: d < Decimal(10) ** 14, {0}),
    "more places of many, <": ("30", ["0.1", "0.2"], lambda d: d < Decimal("0.100000000001"), {0}),
    "more places, times": ("12", ["100", "200"], lambda d: d * Decimal("1.125") == 225, {1}),
}
"""A Decimal of how many digits, what it holds, a condition, and which rows fulfil it."""


@pytest.mark.parametrize(("digits", "values", "make", "found"), FILTERS.values(), ids=FILTERS)
def test_a_decimal_is_compared_with_one_of_more_places(
    engine: Engine,
    digits: str,
    values: list[str],
    make: Callable[[Any], Any],
    found: set[int],
) -> None:
    table = TABLES[f"Decimal of {digits} digits"]
    table.create(engine)
    with engine.connect() as connection:
        store(connection, table, list(map(Decimal, values)))
        for _ in range(2):  # the second time its SQL is known
            assert matching(connection, table, make(table.c.value)) == found


@pytest.mark.parametrize("name", ["int"])
def test_an_int_is_compared_with_a_larger_one(table: Table, engine: Engine) -> None:
    value = table.c.value
    with engine.connect() as connection:
        store(connection, table, [1, 2, None])
        assert matching(connection, table, value < 2**40) == {0, 1}
        assert matching(connection, table, value.in_([2, 2**40])) == {1}
        assert matching(connection, table, value.not_in([2, 2**40])) == {0}
        assert matching(connection, table, value.between(-(2**40), 2**40)) == {0, 1}
        assert matching(connection, table, value != 2**40) == {0, 1}
        assert matching(connection, table, (value < 2**40) | (value > 2**41)) == {0, 1}
        assert matching(connection, table, value.in_([])) == set()


@pytest.mark.parametrize("name", ["list"])
def test_a_document_keeps_integers_of_64_bits(table: Table, engine: Engine) -> None:
    value = [-(2**63), 2**64 - 1, 123456789012345678.5, "18446744073709551616"]
    with engine.connect() as connection:
        store(connection, table, [value])
        assert connection.scalar(select(table.c.value)) == value


@pytest.mark.parametrize("name", ["int", "int of 64 bits"])
def test_an_int_takes_a_whole_number(table: Table, engine: Engine) -> None:
    with engine.connect() as connection:
        store(connection, table, [2.0, Decimal(3), True, 2**31 - 1])
        found = connection.scalars(select(table.c.value).order_by(table.c.number)).all()
        assert found == [2, 3, 1, 2**31 - 1]


@pytest.mark.parametrize("name", ["float"])
def test_a_float_takes_a_decimal(table: Table, engine: Engine) -> None:
    with engine.connect() as connection:
        store(connection, table, [Decimal("15.756")])
        assert connection.scalars(select(table.c.value)).all() == [15.756]


def test_no_value_is_null_not_a_document(engine: Engine) -> None:
    table = TABLES["dict"]
    table.create(engine)
    with engine.connect() as connection:
        store(connection, table, [None, {}])
        assert matching(connection, table, table.c.value.is_(None)) == {0}


REFUSED = {
    "letters for int": ("int", "'abc'"),
    "an int of 33 bits": ("int", "3000000000"),
    "an int of 65 bits": ("int of 64 bits", "18446744073709551616"),
    "a str that is too long": ("str", f"'{61 * 'x'}'"),
    "letters for a Decimal": ("Decimal of 12 digits", "'abc'"),
    "a Decimal that is too long": ("Decimal of 12 digits", "10000000000.00"),
    "a long Decimal that is too long": ("Decimal of 30 digits", "123456789012345678901234"),
    "letters for a float": ("float", "'abc'"),
    "letters for a bool": ("bool", "'maybe'"),
    "letters for a datetime": ("datetime", "'soon'"),
    "the 30th of February": ("date", "'2024-02-30'"),
    "a datetime on the 30th of February": ("datetime", "'2024-02-30 10:20:30'"),
    "letters for a time": ("time", "'noon'"),
    "no member of an Enum": ("Enum", "'purple'"),
    "half a document": ("dict", "'{'"),
}
"""What no server takes, as SQL."""


@pytest.mark.needs(Feature.STRICT_TYPES)
@pytest.mark.parametrize(("name", "literal"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(
    name: str, table: Table, engine: Engine, literal: str
) -> None:
    statement = f"INSERT INTO {table.name} (number, value) VALUES (1, {literal})"
    with engine.connect() as connection:
        with pytest.raises(rx.BadValue):
            connection.exec_driver_sql(statement)
        connection.rollback()
        assert connection.execute(select(table)).all() == []


UNSENT = {
    "a naive datetime": ("datetime", dt.datetime(2024, 1, 1)),  # noqa: DTZ001 - as users forget it
    "a str for a Decimal": ("Decimal", "one"),
    "NUL in a str": ("str", "a\0b"),
    "NUL in a document": ("dict", {"a": ["\0"]}),
    "an integer of 65 bits in a document": ("dict", {"a": [2**64]}),
    "a negative integer of 65 bits in a document": ("list", [-(2**63) - 1]),
    "what JSON does not have": ("dict", {"a": Decimal("1.5")}),
    "another document": ("pydantic model", {"made": "yesterday"}),
    "no member of an Enum": ("Enum", "purple"),
    "another text than a Literal's": ("Literal", "huge"),
    "an int of 33 bits": ("int", 2**32),
    "an int of 65 bits": ("int of 64 bits", 2**64),
    "a str that is too long": ("str", 61 * "x"),
    "a Decimal that is too long": ("Decimal of 12 digits", Decimal("9999999999.995")),
    "nan": ("float", float("nan")),
    "infinity": ("float", float("inf")),
    "an int beyond a float": ("float", 10**400),
    "a Decimal that is nan": ("Decimal", Decimal("nan")),
    "a Decimal that is infinite": ("Decimal of 12 digits", Decimal("-inf")),
    "a Decimal that signals nan": ("Decimal of 30 digits", Decimal("snan")),
    "nan for an int": ("int", float("nan")),
    "half an int": ("int", 1.5),
    "half an int as a Decimal": ("int of 64 bits", Decimal("1.5")),
    "a time with a zone": ("time", dt.time(1, 2, 3, tzinfo=UTC)),
    "a longer Decimal": ("Decimal of 30 digits", Decimal("99999999999999999999.99999999995")),
}


@pytest.mark.needs(Feature.STRICT_TYPES)
@pytest.mark.parametrize(("name", "value"), UNSENT.values(), ids=UNSENT)
def test_a_value_of_python_that_does_not_fit_is_refused(
    name: str, table: Table, engine: Engine, value: object
) -> None:
    with engine.connect() as connection:
        with pytest.raises(rx.BadValue) as caught:
            store(connection, table, [value])
        assert isinstance(caught.value, exc.DataError)
        connection.rollback()
        assert connection.execute(select(table)).all() == []


class Level(enum.IntEnum):
    ten = 10
    one = 1
    two = 2


class Ranked(Kept, table=True):
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    level: Level | None = None
    color: Color = Color.red


@pytest.fixture
def ranked(engine: Engine, run: databases.Run) -> Table:
    table = Kept.metadata.tables["ranked"]

    def create() -> None:
        table.create(engine)
        rows = [{"number": n, "level": level} for n, level in enumerate([*Level, None])]
        with engine.begin() as connection:
            connection.execute(insert(table), rows)

    run(create)
    return table


MEMBERS: dict[str, tuple[Callable[[Any], Any], set[int]]] = {
    "a member": (lambda level: level == Level.ten, {0}),
    "what is equal to it": (lambda level: level == 1, {1}),
    "its name": (lambda level: level == "two", {2}),
    "another than it": (lambda level: level != 1, {0, 2}),
    "some": (lambda level: level.in_([1, Level.two]), {1, 2}),
    "no member": (lambda level: level.is_(None), {3}),
}


@pytest.mark.parametrize(("make", "found"), MEMBERS.values(), ids=MEMBERS)
def test_a_member_is_found(
    ranked: Table, engine: Engine, make: Callable[[Any], Any], found: set[int]
) -> None:
    with engine.connect() as connection:
        assert matching(connection, ranked, make(ranked.c.level)) == found


@pytest.mark.parametrize(("column", "value"), [("level", 5), ("level", "three"), ("color", "blu")])
def test_what_is_no_member_is_refused_in_a_filter(
    ranked: Table, engine: Engine, column: str, value: object
) -> None:
    with engine.connect() as connection:
        with pytest.raises(rx.BadValue):
            matching(connection, ranked, ranked.c[column] == value)
        with pytest.raises(rx.BadValue):
            matching(connection, ranked, ranked.c[column].in_([value]))


def test_members_are_not_put_in_order() -> None:
    level, color = Ranked.__table__.c.level, Ranked.__table__.c.color  # type: ignore[attr-defined]  # SQLModel declares no __table__
    comparisons: list[Callable[[], object]] = [
        lambda: level < Level.ten,
        lambda: Level.ten >= level,
        lambda: level.between(1, 2),
        lambda: color.like("re%"),
        lambda: color.contains("e"),
    ]
    for compare in comparisons:
        with pytest.raises(TypeError, match="no order"):
            compare()


class Chosen(Kept, table=True):
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    stage: Literal[1, 2, -3] | None = None
    big: Literal[1, 5_000_000_000] = 1
    rank: Literal[1, 2] = 1
    order: Literal[1, 2] = 1


def test_a_number_is_one_of_those_of_a_literal(engine: Engine) -> None:
    table = Kept.metadata.tables["chosen"]
    table.create(engine)
    fine: list[dict[str, Any]] = [
        {"number": 0, "stage": -3, "big": 5_000_000_000},
        {"number": 1, "stage": None},
    ]
    with engine.connect() as connection:
        for row in fine:
            connection.execute(insert(table), row)
        connection.commit()
        for row in ({"stage": 3}, {"stage": 1, "big": 2}):
            with pytest.raises(rx.CheckViolation):
                connection.execute(insert(table), {"number": 2, **row})
            connection.rollback()
        assert matching(connection, table, table.c.stage == -3) == {0}
    copied = table.to_metadata(MetaData())
    assert len(copied.constraints) == len(table.constraints)  # the CHECKs, once each


def test_a_literal_of_several_kinds_is_no_column() -> None:
    body = {"__annotations__": {"kind": Literal["a", 1]}, "__module__": __name__}
    body["__qualname__"] = "Mixed"
    make: Any = type(Kept)
    with pytest.raises(TypeError, match=r"Mixed\.kind: .*texts only"):
        make("Mixed", (Kept,), body, table=True)
    assert make("Mixed", (Kept,), body)(kind=1).kind == 1  # a model without a table


class Measured(Kept, table=True):
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    size: float | None = None
    price: Decimal | None = Field(default=None, max_digits=12, decimal_places=2)
    count: int | None = None
    clock: dt.time | None = None


ODD: dict[str, tuple[str, Any]] = {
    "nan": ("size", float("nan")),
    "infinity": ("size", float("-inf")),
    "a Decimal that is nan": ("price", Decimal("nan")),
    "a Decimal that is infinite": ("price", Decimal("inf")),
    "nan in a column of int": ("count", float("nan")),
    "a time with a zone": ("clock", dt.time(1, 2, 3, tzinfo=UTC)),
}


@pytest.mark.needs(Feature.STRICT_TYPES)
@pytest.mark.parametrize(("column", "value"), ODD.values(), ids=ODD)
@pytest.mark.parametrize("count", [20, 150])
def test_an_odd_value_among_many_rows_is_named(
    engine: Engine, open_session: OpenSession, column: str, value: object, count: int
) -> None:
    Kept.metadata.tables["measured"].create(engine)
    fine = {"size": 1.5, "price": Decimal("1.25"), "count": 3, "clock": dt.time(1, 2)}
    rows: list[dict[str, Any]] = [{"number": n, **fine} for n in range(count)]
    rows[13][column] = value
    with open_session(engine.url) as session:
        with pytest.raises(rx.BadRow, match=f"{column} of row 13"):
            rx.bulk_insert(session, Measured, rows)
        session.rollback()
        rows[13][column] = None
        assert rx.bulk_insert(session, Measured, rows) == count
