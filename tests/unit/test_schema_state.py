"""The name of a state follows from the scripts, the version table, the log and the journal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

import rxdb as rx
from rxdb.migrations import revisions, state
from rxdb.migrations.log import Entry
from rxdb.migrations.revisions import History, Revision


def history(**parents: str | tuple[str, ...]) -> History:
    """Return scripts, each with what it follows: ``history(a=(), b="a")``."""
    return History(
        Revision(id=own, down=(down,) if isinstance(down, str) else down, path=Path(f"{own}.py"))
        for own, down in parents.items()
    )


def entries(*said: str) -> list[Entry]:
    """Return a log of ``"+a"`` for what was applied, and ``"-a"`` for what was taken back."""
    return [
        Entry(
            id=number,
            revision=one[1:],
            direction="upgrade" if one[0] == "+" else "downgrade",
            started_at=datetime(2026, 1, 1, tzinfo=UTC),
            seconds=0.1,
            host="here",
            version="1",
            checksum="",
        )
        for number, one in enumerate(said, start=1)
    ]


LINE = history(a=(), b="a", c="b")
FORK = history(a=(), b="a", c="a")
MERGED = history(a=(), b="a", c="a", d=("b", "c"))
NONE = history()

NAMES: list[tuple[History, tuple[str, ...], bool, tuple[str, ...], str]] = [
    (LINE, (), False, (), "empty"),
    (LINE, (), True, (), "unversioned"),
    (LINE, ("a",), True, (), "behind 2"),
    (LINE, ("c",), True, (), "at head"),
    (LINE, ("c",), False, (), "at head"),
    (LINE, ("x",), True, (), "ahead (unknown revision)"),
    (LINE, ("x", "y"), True, (), "ahead (unknown revision)"),
    (LINE, ("a", "x"), True, (), "diverged"),
    (LINE, ("c", "x"), True, (), "diverged"),
    (LINE, ("a", "b"), True, (), "diverged"),
    (LINE, ("x",), True, ("+a", "+b", "+c", "+x"), "ahead (unknown revision)"),
    (LINE, ("x",), True, ("+c", "+x"), "ahead (unknown revision)"),
    (LINE, ("x",), True, ("+x",), "ahead (unknown revision)"),
    (LINE, ("x",), True, ("+a", "+b", "+x"), "diverged"),
    (LINE, ("x",), True, ("+b", "+c", "-c", "+x"), "diverged"),
    (LINE, ("b",), True, ("+a", "+b", "+c", "-c"), "behind 1"),
    (FORK, (), False, (), "several heads"),
    (FORK, (), True, (), "several heads"),
    (FORK, ("b",), True, (), "several heads"),
    (FORK, ("b", "c"), True, (), "at head"),
    (FORK, ("x",), True, (), "ahead (unknown revision)"),
    (MERGED, ("b", "c"), True, (), "behind 1"),
    (MERGED, ("b",), True, (), "behind 2"),
    (MERGED, ("d",), True, (), "at head"),
    (NONE, (), False, (), "empty"),
    (NONE, (), True, (), "unversioned"),
    (NONE, ("x",), True, (), "ahead (unknown revision)"),
]
"""Scripts, the rows of the version table, whether there are tables, the log, and the state."""


@pytest.mark.parametrize(("scripts", "rows", "has_tables", "said", "name"), NAMES)
def test_a_state_has_one_name(
    scripts: History, rows: tuple[str, ...], has_tables: bool, said: tuple[str, ...], name: str
) -> None:
    found = state.judge(scripts, rows, has_tables=has_tables, entries=entries(*said))
    assert str(found) == name
    assert found.is_current == (name == "at head")
    assert found.sentence.endswith(".") or "un: rxdb db " in found.sentence


def test_what_is_unknown_is_named_and_nothing_is_pending_then() -> None:
    found = state.judge(LINE, ("x",), has_tables=True)
    assert (found.current, found.unknown, found.pending) == (("x",), ("x",), ())


@pytest.mark.parametrize("name", state.NAMES)
def test_each_name_has_a_sentence_with_a_command(name: str) -> None:
    found = state.SchemaState(name=name, current=("a",), heads=("b",), pending=("b",))
    assert "un: rxdb db " in found.sentence or name == "at head"


def test_a_database_file_that_is_not_there_is_empty_and_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "alembic/versions").mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = alembic\n")
    assert state.check_schema("sqlite:///app.db").name == "empty"
    assert state.ready("sqlite:///app.db")[1]["name"] == "empty"
    with pytest.raises(rx.FolderMissing, match="mkdir -p") as caught:
        state.check_schema("sqlite:///no/folder/app.db")
    assert state.ready("sqlite:///no/folder/app.db")[1]["sentence"] == str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alembic", "alembic.ini"]


def test_a_plain_url_and_an_unusual_one_give_the_same(tmp_path: Path) -> None:
    """The first is read without SQLAlchemy, the second is not."""
    import sqlite3
    from contextlib import closing

    (tmp_path / "alembic/versions").mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = alembic\n")
    (tmp_path / "alembic/versions/a.py").write_text("revision = 'a'\ndown_revision = None\n")
    with closing(sqlite3.connect("app.db")) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('a')")
        connection.commit()
    project = revisions.find_project()
    assert project is not None
    found = revisions.read(project)
    glanced = state._glance("sqlite:///app.db", project, found)
    assert glanced is not None
    assert glanced.is_current
    for url in (
        "sqlite:///app.db?busy_timeout=100",
        f"file:{tmp_path}/app.db?mode=ro",
        "sqlite+pysqlite:///app.db",
        "app.db",
    ):
        assert state._glance(url, project, found) is None
        assert state.check_schema(url) == glanced
