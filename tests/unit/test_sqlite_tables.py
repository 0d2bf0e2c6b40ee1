"""Reading SQLite's CREATE TABLE and Alembic's INSERT as text."""

from __future__ import annotations

import pytest
from rxdb_dialects import _sqlite_tables as tables

CLAUSES = {
    "a": [],
    "a INT": [("TYPE", "INT")],
    "a DOUBLE PRECISION NOT NULL": [("TYPE", "DOUBLE PRECISION"), ("NOT", "NOT NULL")],
    "a DECIMAL(10, 2) DEFAULT NULL": [("TYPE", "DECIMAL(10, 2)"), ("DEFAULT", "DEFAULT NULL")],
    "a DEFAULT 'NOT NULL, (' NOT NULL": [
        ("DEFAULT", "DEFAULT 'NOT NULL, ('"),
        ("NOT", "NOT NULL"),
    ],
    "a REFERENCES p (x) ON DELETE SET NULL ON UPDATE SET DEFAULT NOT DEFERRABLE UNIQUE": [
        ("REFERENCES", "REFERENCES p (x) ON DELETE SET NULL ON UPDATE SET DEFAULT NOT DEFERRABLE"),
        ("UNIQUE", "UNIQUE"),
    ],
    "a INT CONSTRAINT n CHECK (a > (1)) CONSTRAINT [o p] PRIMARY KEY DESC AUTOINCREMENT": [
        ("TYPE", "INT"),
        ("CHECK", "CHECK (a > (1))"),
        ("PRIMARY", "PRIMARY KEY DESC AUTOINCREMENT"),
    ],
    "a INT GENERATED ALWAYS AS (b || ',') VIRTUAL COLLATE NOCASE": [
        ("TYPE", "INT"),
        ("GENERATED", "GENERATED ALWAYS AS (b || ',') VIRTUAL"),
        ("COLLATE", "COLLATE NOCASE"),
    ],
    "a INT AS (b -- a comment, (\n)": [("TYPE", "INT"), ("AS", "AS (b )")],
}


@pytest.mark.parametrize("column", CLAUSES)
def test_a_column_has_its_clauses(column: str) -> None:
    (found,) = tables.parse(f"CREATE TABLE t ({column})").columns
    assert [(clause.kind, clause.text) for clause in found.clauses] == CLAUSES[column]


CONSTRAINTS = {
    "PRIMARY KEY (a, b)": ("PRIMARY", "", ("a", "b")),
    'CONSTRAINT "u 1" UNIQUE ("x y", `z`) ON CONFLICT FAIL': ("UNIQUE", "u 1", ("x y", "z")),
    "CHECK (a IN ('b', 'c'))": ("CHECK", "", ()),
    "FOREIGN KEY (a) REFERENCES p (b) MATCH FULL": ("FOREIGN", "", ("a",)),
}


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_constraint_has_its_kind_name_and_columns(constraint: str) -> None:
    (found,) = tables.parse(f"CREATE TABLE t (a INT, {constraint}) STRICT").constraints
    assert (found.kind, found.name, found.columns) == CONSTRAINTS[constraint]


def test_what_was_read_is_written_again() -> None:
    sql = (
        'CREATE TABLE "t" (\n\ta INT,\n\t[b c] TEXT NOT NULL,\n\tCONSTRAINT x CHECK (a > 1.5e3)\n)'
    )
    assert tables.parse(f"{sql} STRICT").create("t") == f"{sql} STRICT"


COPIES = {
    "INSERT INTO _alembic_tmp_t (id, a) SELECT t.id, t.a \nFROM t": {"id": "id", "a": "a"},
    'INSERT INTO _alembic_tmp_t (id, "a b") SELECT t.id, t."c d" FROM t': {
        "id": "id",
        "a b": "c d",
    },
    "INSERT INTO _alembic_tmp_t (a) SELECT CAST(t.b AS DECIMAL(10, 2)) AS b FROM t": {"a": "b"},
    'INSERT INTO "_alembic_tmp_x, y" (a) SELECT "x, y".b FROM "x, y"': {"a": "b"},
}


@pytest.mark.parametrize("insert", COPIES)
def test_columns_of_a_copy_are_followed(insert: str) -> None:
    assert tables.copied_columns(insert) == COPIES[insert]


RENAMES = {
    "CHECK (a > 'a')": "CHECK (\"z\" > 'a')",
    'UNIQUE ("A", b)': 'UNIQUE ("z", b)',
    "FOREIGN KEY (a, b) REFERENCES p (b, a) CHECK (a)": (
        'FOREIGN KEY ("z", b) REFERENCES p (b, a) CHECK ("z")'
    ),
    "REFERENCES a ON DELETE CASCADE": "REFERENCES a ON DELETE CASCADE",
    "REFERENCES t (a)": 'REFERENCES t ("z")',
}


@pytest.mark.parametrize("sql", RENAMES)
def test_a_column_is_renamed_where_it_is_this_table_s(sql: str) -> None:
    assert tables.rename(sql, {"a": "z", "b": "b"}, "t") == RENAMES[sql]


def test_a_copy_leaves_columns_out_and_converts_others() -> None:
    insert = "INSERT INTO c (id, a, b) SELECT t.id, CAST(t.a AS INT) AS a, t.b FROM t"
    assert tables.copying(insert, ["a"], {"b": "f({0})"}) == (
        'INSERT INTO c ("id", "b") SELECT t.id, f(t.b) FROM t'
    )
