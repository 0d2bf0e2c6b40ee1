"""Scripts written on one backend run on the others, up and down, and lose nothing.

Each change is compared on the server under test and on SQLite, and on every further server that is
known. Where all write the same text, running it on each proves all pairs; where a text differs,
each runs on each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import databases
import pytest
import sqlalchemy as sa
import zoo
from zoo_changes import CHANGES, Change, metadata

from rxdb import Feature, Target
from rxdb.engine import build
from rxdb.migrations.autogenerate import Wishes

pytestmark = [pytest.mark.needs(Feature.GENERATED_KEYS, Feature.REFLECTED_CONSTRAINTS)]


@dataclass
class Place:
    """A database that a change is made to."""

    name: str
    target: Target
    engine: sa.Engine
    first: str = ""
    """The script that made the models from before."""


@pytest.fixture
def places(target: Target, engine: sa.Engine, tmp_path: Path) -> Iterator[list[Place]]:
    found = [Place(target.dialect.name, target, engine)]
    with ExitStack() as stack:
        for name in ("sqlite", *zoo.OTHERS):
            if name == target.dialect.name:
                continue
            others = stack.enter_context(closing(databases.of(name, "", tmp_path)))
            other = stack.enter_context(databases.empty(others))
            made = build(other)
            stack.callback(made.dispose)
            found.append(Place(name, other, made))
        try:
            yield found
        finally:
            for place in found:
                zoo.clear(place.engine, place.target)


def test_there_are_enough_changes() -> None:
    assert len(CHANGES) >= 60


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_change_runs_everywhere(places: list[Place], name: str) -> None:
    change = CHANGES[name]
    places = [p for p in places if not set(change.needs) - p.target.dialect.features]
    if not places:
        pytest.skip("no backend at hand can do it")
    before = metadata(change, "before")
    for place in places:
        start(place, change, before)
    scripts = {place.name: written(place, change) for place in places}
    texts = {script.source for script in scripts.values() if not script.is_empty}
    if not texts and not change.same:
        pytest.skip("no backend at hand keeps anything of it")
    assert texts, "nobody sees the change"
    if change.same:
        first = scripts[places[0].name]
        for other in scripts.values():
            assert other.source == first.source
    for place in places:
        for text in sorted(texts):
            there_and_back(place, change, replace(scripts[place.name], text=text))


def start(place: Place, change: Change, before: sa.MetaData) -> None:
    """Make the models from before through a script, and put the rows in."""
    with place.engine.connect() as connection:
        first = zoo.compare(connection, place.target, before, blank=True)
        connection.rollback()
        place.first = first.source
        zoo.run(connection, place.target, first, "upgrade", before)
        for table in before.sorted_tables:
            if rows := change.rows.get(table.fullname):
                connection.execute(table.insert(), [dict(row) for row in rows])
        connection.commit()
        assert differences(connection, place, change, "before", (place.first,)) == ()


def written(place: Place, change: Change) -> zoo.Script:
    """Return the script that leads to the models from after."""
    with place.engine.connect() as connection:
        wishes = Wishes(renames=change.renames, fills=change.fills, allow_drops=True)
        return zoo.compare(
            connection,
            place.target,
            metadata(change, "after"),
            scripts=(place.first,),
            wishes=wishes,
        )


def there_and_back(place: Place, change: Change, script: zoo.Script) -> None:
    """Run a script up, down and up; it ends where it began."""
    scripts = (place.first, script.source)
    with place.engine.connect() as connection:
        for direction in ("upgrade", "downgrade", "upgrade", "downgrade"):
            models = metadata(change, "after" if direction == "upgrade" else "before")
            zoo.run(connection, place.target, script, direction, models)
            which, known = ("after", scripts) if direction == "upgrade" else ("before", scripts[:1])
            assert differences(connection, place, change, which, known) == (), script.source
            expected = change.expect if direction == "upgrade" else change.expect_down
            check_rows(connection, models, expected)
            if direction == "upgrade" and change.check is not None:
                change.check(connection, models)
            connection.rollback()


def differences(
    connection: sa.Connection, place: Place, change: Change, which: str, scripts: tuple[str, ...]
) -> tuple[str, ...]:
    wishes = Wishes(allow_drops=True)
    models = metadata(change, which)
    script = zoo.compare(connection, place.target, models, scripts=scripts, wishes=wishes)
    found = script.found
    connection.rollback()
    return found


def check_rows(connection: sa.Connection, models: sa.MetaData, expected: Any) -> None:
    for name, rows in expected.items():
        table = models.tables[name]
        found = connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings()
        for row, wanted in zip(found.all(), rows, strict=True):
            assert {key: row[key] for key in wanted} == dict(wanted)
