"""Text without regard to case: its order, its columns, and what is said where there is none."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import pytest
from rxdb_dialects import _collation
from sqlalchemy import Column, Integer, MetaData, Table, exc, select
from sqlalchemy.schema import CreateTable

import rxdb as rx
from rxdb import types

COLUMNS = {
    "sqlite://": "name VARCHAR_CASELESS(20) COLLATE rxdb_caseless",
    "postgresql+psycopg://db.example/app": "name VARCHAR(20) COLLATE rxdb_caseless",
    "mysql+pymysql://db.example/app": "CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_ci",
    "mariadb+pymysql://db.example/app": "COLLATE utf8mb4_uca1400_nopad_as_ci",
}


def table() -> Table:
    return Table("hero", MetaData(), Column("name", rx.CaseInsensitiveText(20)))


@pytest.mark.parametrize("url", COLUMNS)
def test_a_column_says_its_collation(url: str) -> None:
    made = str(CreateTable(table()).compile(rx.get_engine(url)))
    assert COLUMNS[url] in made.replace('"', "")


def test_a_script_makes_the_collation_ahead_of_the_table_that_needs_it() -> None:
    engine = rx.get_engine("postgresql+psycopg://db.example/app")
    first, second = str(CreateTable(table()).compile(engine)).split(";")
    assert first.startswith("CREATE COLLATION IF NOT EXISTS rxdb_caseless (provider = icu")
    assert second.strip().startswith("CREATE TABLE hero")
    other = Table("other", MetaData(), Column("n", Integer))
    assert "COLLATION" not in str(CreateTable(other).compile(engine))


def test_a_database_without_it_says_what_to_do() -> None:
    said = "DuckDB does not compare texts without regard to case .*Annotate the field as str"
    with pytest.raises(exc.CompileError, match=said):
        CreateTable(table()).compile(rx.get_engine("duckdb://"))


def test_a_statement_is_printed_without_a_database() -> None:
    name = table().c.name
    assert str(select(name).where(name.like("b%")).order_by(rx.exact(name))).splitlines() == [
        "SELECT hero.name ",
        "FROM hero ",
        "WHERE hero.name LIKE :param_1 ORDER BY hero.name",
    ]


ANNOTATIONS: dict[str, Any] = {
    "a type": Annotated[str, rx.CaseInsensitiveText(20)],
    "a class": Annotated[str, rx.CaseInsensitiveText],
    "no value": Optional[Annotated[str, rx.CaseInsensitiveText(20)]],  # noqa: UP045 - as pyright reads it
    "no value inside": Annotated[str | None, "other", rx.CaseInsensitiveText(20)],
}


@pytest.mark.parametrize("annotation", ANNOTATIONS.values(), ids=ANNOTATIONS)
def test_an_annotation_says_the_type(annotation: Any) -> None:
    assert isinstance(types.of_annotation(annotation), rx.CaseInsensitiveText)


EQUAL = [
    ("Bob", "bOB"),
    ("\xc4", "A\u0308"),
    ("\u1e9e", "\xdf"),
    ("\u03a3", "\u03c2"),
    ("a\xadb", "AB"),
]
ORDERED = [
    ("a", "B"),
    ("co", "cOte"),
    ("cote", "cot\xe9"),
    ("cot\xe9", "c\xf4te"),
    ("\xe9mile", "F"),
    ("stra\xdfe", "STRAU"),
    ("ss", "\xdf"),
    ("_", "1"),
    ("9", "a"),
    (" ", "-"),
    ("z", "\u03b1"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_case_and_spelling_do_not_count(one: str, other: str) -> None:
    assert _collation.compare(one, other) == 0


@pytest.mark.parametrize(("one", "other"), ORDERED)
def test_the_order_is_that_of_a_dictionary(one: str, other: str) -> None:
    assert (_collation.compare(one, other), _collation.compare(other, one)) == (-1, 1)
