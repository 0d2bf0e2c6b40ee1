"""Try a new revision on every target before its file is kept."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData, inspect

from rxdb import config, registry
from rxdb.dialect import Feature, show
from rxdb.errors import MigrationError, hide
from rxdb.migrations import commands, database

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from rxdb.config import DBConfig
    from rxdb.migrations.commands import Made


def prove(made: Made) -> Made:
    """Return *made* with what it was tried on; delete its file when it fails somewhere.

    A target that is the name of a backend gets the script compiled, and run where a throw-away
    file is a database. A URL is an empty database: upgrade, compare, downgrade, upgrade.
    """
    assert made.path is not None
    done: list[str] = []
    for wanted in config.get_config().targets:
        try:
            done.append(attempt(wanted, made.revision))
        except Exception as error:
            made.path.unlink()
            raise MigrationError(
                f"The new revision does not work on {name(wanted)}: {hide(str(error))}\n"
                f"Its file was not kept."
            ) from error
    return replace(made, proven=tuple(done))


def attempt(wanted: str | Any | DBConfig, revision: str) -> str:
    """Try *revision*, and all before it, on one target; return what was done as a sentence."""
    if isinstance(wanted, str) and "://" not in wanted:
        dialect = registry.get(wanted)
        if Feature.ALTER_COLUMN in dialect.features:
            commands.sql(revision, dialect=dialect.name)
            commands.sql(f"{revision}:base", dialect=dialect.name, down=True)
            return f"It compiles for {dialect.title}."
        with tempfile.TemporaryDirectory(prefix="rxdb-") as folder:
            _up_down_up(f"{dialect.name}:///{Path(folder) / 'proof.db'}", revision)
    else:
        _up_down_up(wanted, revision)
    return f"It was applied, compared, taken back and applied again on {name(wanted)}."


def _up_down_up(url: Any, revision: str) -> None:
    target = database.target(url)
    if there := database.with_engine(target, lambda engine: inspect(engine).get_table_names()):
        raise MigrationError(
            f"it has tables ({', '.join(there[:3])}), and a target is an empty database. "
            f"Name another one, or the backend alone: {target.dialect.name}"
        )
    try:
        commands.migrate(revision, url=url, allow_data_loss=True)
        if found := commands.differences(url=url):
            raise MigrationError(f"After it, the models still differ: {' '.join(found)}")
        commands.downgrade("base", url=url, allow_data_loss=True)
        commands.migrate(revision, url=url, allow_data_loss=True)
    finally:
        with suppress(Exception):  # what failed before tells more
            commands.downgrade("base", url=url, allow_data_loss=True)
        database.with_engine(target, _empty)


def _empty(engine: Engine) -> None:
    """Drop what is left: the database was empty before."""
    left = MetaData()
    with engine.begin() as connection:
        left.reflect(connection)
        left.drop_all(connection)


def name(wanted: Any) -> str:
    """Return what people call a target."""
    if isinstance(wanted, str) and "://" not in wanted:
        return registry.get(wanted).title
    return show(database.target(wanted).url)
