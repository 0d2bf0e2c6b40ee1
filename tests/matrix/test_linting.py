"""A finding is true: what it tells happens on the real server, and nothing happens without one."""

from __future__ import annotations

import pytest
from portability import CALLS, EXAMPLES, EXTENSIONS, Example
from sqlalchemy import Engine, MetaData, exc, text

import rxdb as rx
from rxdb import registry

pytestmark = pytest.mark.usefixtures("_has_rules")


@pytest.fixture
def _has_rules(server: str) -> None:
    if registry.get(server).rules is None:
        pytest.skip(f"{server} declares nothing of its tables")


BY_NAME = {f"{example.code} {example.label}".strip(): example for example in EXAMPLES}


def problem(engine: Engine, example: Example, metadata: MetaData) -> str:
    """Return what goes wrong when the tables are used."""
    try:
        with engine.begin() as connection:
            example.use(connection, metadata)
    except (exc.SQLAlchemyError, AssertionError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("name", BY_NAME)
def test_what_is_found_happens_and_the_fix_works(name: str, server: str, engine: Engine) -> None:
    example = BY_NAME[name]
    fixed = example.fixed.make()
    assert rx.check_models([server], fixed) == []
    assert problem(engine, example, fixed) == ""
    fixed.drop_all(engine)
    found = rx.check_models([server], example.broken.make())
    happened = problem(engine, example, example.broken.make())
    assert bool(found) is bool(happened), happened or found
    assert not found or example.code in {finding.code for finding in found}


def test_a_function_is_there_where_it_is_known(server: str, engine: Engine) -> None:
    rules = {d.name: d.rules for d in registry.every() if d.in_matrix and d.rules}
    known = rules[server].functions
    every = {name for one in rules.values() for name in one.functions}
    works = set[str]()
    for name in every - EXTENSIONS:
        try:
            with engine.connect() as connection:
                connection.execute(text(f"SELECT {CALLS[name]}")).all()
        except exc.SQLAlchemyError:
            continue
        works.add(name)
    assert works == known - EXTENSIONS
