"""Every program of SQLModel's documentation does the same on rxdb, on each server.

Changed as :func:`programs.rewrite` says and run on the server under test, it prints what the
unchanged program prints on its own SQLite file, leaves the same rows and gives the same warnings.
"""

from __future__ import annotations

from pathlib import Path

import databases
import pytest
from tutorials import programs
from tutorials.programs import Program, Run

from rxdb import Feature, Target

WHY_NONE = ""
try:
    PROGRAMS = programs.find(programs.fetch())
except programs.CannotFetchError as error:
    PROGRAMS, WHY_NONE = [], str(error)

ERRORS = {
    "one/tutorial004": "MultipleResultsFound",
    "one/tutorial005": "NoResultFound",
    "relationship_attributes/cascade_delete_relationships/tutorial004": "IntegrityError",
}
"""The programs that show an error, and which."""

REWRITTEN = {
    "from sqlmodel import SQLModel": "import rxdb as rx",
    "from sqlmodel import Field, SQLModel, create_engine": (
        "import rxdb as rx\nfrom sqlmodel import Field"
    ),
    "class Hero(SQLModel, table=True):\n    name: str": (
        "class Hero(rx.Model, table=True):\n    name: str"
    ),
    "SQLModel.metadata.create_all(engine)": "rx.Model.metadata.create_all(engine)",
    "engine = create_engine(sqlite_url, echo=True)": "engine = rx.get_engine()",
    "with Session(engine) as session:\n    session.exec(select(Hero))": (
        "with rx.session() as session:\n    session.exec(select(Hero))"
    ),
    "connection.execute(text('PRAGMA foreign_keys=ON'))": "None",
    "def read(session: Session): ...": "def read(session: Session):\n    ...",
}
"""What a program says, and what it says after it was rewritten."""


@pytest.fixture(scope="session")
def rewritten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rewritten")
    programs.rewrite_all(programs.fetch(), folder)
    return folder


@pytest.mark.parametrize(("source", "expected"), REWRITTEN.items())
def test_a_program_is_rewritten(source: str, expected: str) -> None:
    assert programs.rewrite(source) == expected


def test_the_programs_are_there() -> None:
    kinds = {program.kind for program in PROGRAMS}
    assert kinds == {"script", "application", "test"}, WHY_NONE
    assert len(PROGRAMS) > 80
    assert set(ERRORS) <= set(map(str, PROGRAMS))


@pytest.mark.needs(Feature.GENERATED_KEYS)
@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_does_the_same(
    program: Program, target: Target, url: str, rewritten: Path, tmp_path: Path
) -> None:
    if databases.is_async(target):
        pytest.skip(f"{target.driver.name} cannot carry an ordinary session, as the programs use")
    before = Run(program, programs.fetch(), tmp_path / "before")
    after = Run(program, rewritten, tmp_path / "after", url)
    expected = before.outcome()
    assert expected.error == ERRORS.get(str(program), ""), expected.told
    assert after.outcome() == expected
