"""What is read from a server's words, and the sentences that rxdb says instead."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy import exc

import rxdb as rx
from rxdb import errors, failures, registry
from rxdb.dialect import Details
from rxdb.errors import DatabaseError


def mysql(code: int, text: str) -> Exception:
    return Exception(code, text)


@pytest.mark.parametrize(
    ("dialect", "error", "expected"),
    [
        (
            "sqlite",
            Exception("UNIQUE constraint failed: hero.name, hero.age"),
            Details(None, "hero", ("name", "age")),
        ),
        (
            "sqlite",
            Exception("UNIQUE constraint failed: my hero.first name, my hero.a,b"),
            Details(None, "my hero", ("first name", "a,b")),
        ),
        ("sqlite", Exception("UNIQUE constraint failed: index 'ix_low'"), Details("ix_low")),
        ("sqlite", Exception("CHECK constraint failed: ck_hero_age"), Details("ck_hero_age")),
        ("sqlite", Exception("CHECK constraint failed: age > 0"), Details()),
        (
            "sqlite",
            Exception("cannot store TEXT value in INTEGER column hero.age"),
            Details(None, "hero", ("age",)),
        ),
        ("sqlite", Exception("FOREIGN KEY constraint failed"), Details()),
        (
            "mysql",
            mysql(1062, "Duplicate entry 'a-1' for key 'hero.uq_hero_name'"),
            Details("uq_hero_name", "hero"),
        ),
        (
            "mysql",
            mysql(1062, "Duplicate entry 'for key 'x'' for key 'uq_hero_name'"),
            Details("uq_hero_name"),
        ),
        (
            "mysql",
            mysql(
                1452,
                "Cannot add or update a child row: a foreign key constraint fails (`db`.`hero`, "
                "CONSTRAINT `fk_hero` FOREIGN KEY (`a`, `b c`) REFERENCES `team` (`x`, `y`))",
            ),
            Details("fk_hero", "hero", ("a", "b c")),
        ),
        ("mysql", mysql(1048, "Column 'name' cannot be null"), Details(None, None, ("name",))),
        (
            "mysql",
            mysql(1364, "Field 'name' doesn't have a default value"),
            Details(None, None, ("name",)),
        ),
        ("mysql", mysql(3819, "Check constraint 'ck_age' is violated."), Details("ck_age")),
        (
            "mariadb",
            mysql(4025, "CONSTRAINT `ck_age` failed for `db`.`hero`"),
            Details("ck_age", "hero"),
        ),
        (
            "mariadb",
            mysql(1366, "Incorrect integer value: 'x' for column `db`.`hero`.`age` at row 1"),
            Details(None, "hero", ("age",)),
        ),
        (
            "duckdb",
            Exception('Constraint Error: NOT NULL constraint failed: hero."name"'),
            Details(None, "hero", ("name",)),
        ),
        (
            "duckdb",
            Exception('Constraint Error: Duplicate key "a: 1, b: x" violates unique constraint.'),
            Details(),
        ),
    ],
)
def test_names_are_read_from_messages(dialect: str, error: Exception, expected: Details) -> None:
    assert registry.get(dialect).details(error) == expected


class Told(Exception):
    """An error as asyncpg raises it."""

    constraint_name: str | None = None
    table_name: str | None = None
    column_name: str | None = None
    message = ""
    detail: str | None = None

    def __init__(self, **fields: Any) -> None:
        super().__init__(fields.get("message", ""))
        vars(self).update(fields)


@pytest.mark.parametrize(
    ("fields", "columns"),
    [
        ({"detail": "Key (name, age)=(a, 1) already exists."}, ("name", "age")),
        ({"detail": 'Key ("first name", "a,""b")=(a, 1) already exists.'}, ("first name", 'a,"b')),
        ({"detail": "Schlüssel »(name)=(a)« existiert bereits."}, ("name",)),
        ({"detail": "Key (lower(name::text))=(a) already exists."}, ()),
        ({"detail": None, "column_name": "age"}, ("age",)),
        (
            {
                "message": 'delete on table "team" violates "fk_hero" on table "hero"',
                "detail": 'Key (id)=(1) is still referenced from table "hero".',
            },
            (),
        ),
    ],
)
def test_columns_are_read_from_the_detail(fields: dict[str, Any], columns: tuple[str, ...]) -> None:
    assert registry.get("postgresql").details(Told(**fields)).columns == columns


@pytest.mark.parametrize(
    ("dialect", "error", "expected"),
    [
        ("postgresql", Told(sqlstate="57014", message="due to statement timeout"), "57014"),
        ("postgresql", Told(sqlstate="57014", message="due to user request"), None),
        ("postgresql", Told(message="connection failed: Connection refused"), "08006"),
        ("postgresql", Told(message="FATAL:  the database system is starting up"), "08006"),
        ("postgresql", Told(message="session is read-only"), "08006"),
        ("postgresql", Told(message='FATAL:  password authentication failed for "me"'), "28P01"),
        ("postgresql", Told(message="fe_sendauth: no password supplied"), "28P01"),
        ("postgresql", Told(message='FATAL:  database "shop" does not exist'), "3D000"),
        ("postgresql", Told(message='relation "shop" does not exist'), None),
        ("mysql", mysql(1290, "running with the --read-only option"), 1290),
        ("mysql", mysql(1290, "running with the --secure-file-priv option"), None),
        ("mysql", Exception(mysql(2013, "Lost connection")), 2013),
        ("duckdb", Exception("TransactionContext Error: Conflict on update!"), "Conflict"),
        ("duckdb", Exception("Parser Error: no\n\nLINE 1: SELECT 'Conflict'"), None),
    ],
)
def test_a_code_is_told_apart_by_its_text_where_it_means_several_things(
    dialect: str, error: Exception, expected: object
) -> None:
    assert registry.get(dialect).error_code(error) == expected


@pytest.mark.parametrize("dialect", registry.built_in().values(), ids=lambda d: d.name)
def test_what_is_repeated_is_no_fault_of_the_statement(dialect: rx.Dialect) -> None:
    faults = (rx.ConstraintViolation, rx.BadValue, rx.StatementTimeout)
    kinds = {dialect.errors[code] for code in dialect.retryable if code in dialect.errors}
    assert not [kind for kind in kinds if issubclass(kind, faults)]


FAMILY = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, DatabaseError) and "Migration" not in str(kind)
]


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("base", [exc.DBAPIError, exc.OperationalError, exc.IntegrityError])
def test_an_error_is_caught_as_rxdbs_and_as_sqlalchemys(
    kind: type[DatabaseError], base: type[exc.DBAPIError]
) -> None:
    orig = sqlite3.OperationalError("words of the server")
    made = failures._make(kind, base, ("SELECT 1", (), orig))
    with pytest.raises(kind):
        raise made
    with pytest.raises(base):
        raise made
    assert made.orig is orig
    assert "words of the server" in str(made)
    assert str(made).startswith(made.sentence())
    assert (made.constraint, made.table, made.columns, made.column) == (None, None, (), None)


@pytest.mark.parametrize(
    ("kind", "details", "sentence"),
    [
        (
            rx.UniqueViolation,
            Details("uq_hero_name", "hero", ("name",)),
            "There is already a row with this value of hero.name (uq_hero_name).",
        ),
        (
            rx.UniqueViolation,
            Details("uq_hero_name_age", "hero", ("name", "age")),
            "There is already a row with this value of hero.(name, age) (uq_hero_name_age).",
        ),
        (rx.UniqueViolation, Details(), "There is already a row with this value."),
        (
            rx.ForeignKeyViolation,
            Details("fk_hero_team", "hero", ("team",)),
            "hero.team refers to a row that is not there, or is to go (fk_hero_team).",
        ),
        (
            rx.NotNullViolation,
            Details(None, "hero", ("name",)),
            "hero.name needs a value: it refuses NULL.",
        ),
        (
            rx.CheckViolation,
            Details("ck_hero_age", "hero"),
            "The check of hero (ck_hero_age) refused a row.",
        ),
        (
            rx.BadValue,
            Details(None, None, ("age",)),
            "A value does not fit into age: its type, its length or its range.",
        ),
        (rx.ConstraintViolation, Details(), "A constraint was violated."),
    ],
)
def test_the_sentence_names_what_is_known(
    kind: type[DatabaseError], details: Details, sentence: str
) -> None:
    error = kind()
    error.constraint, error.table, error.columns = details
    assert error.sentence() == sentence


def test_an_original_that_cannot_be_pickled_leaves_its_words() -> None:
    class Local(Exception):
        pass

    made = failures._make(rx.Deadlock, exc.OperationalError, ("SELECT 1", (), Local("words")))
    function, arguments, state = made.__reduce__()
    again = function(*arguments)
    vars(again).update(state)
    assert type(again) is type(made)
    assert str(again.orig) == "words"
