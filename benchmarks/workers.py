"""The functions that are timed, each in a process where only its own library works.

A function prepares and returns what is timed; that returns what it found.
"""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import runner


def rxdb_upgrade(url: str) -> runner.Work:
    """Apply all revisions to the empty database at *url*."""
    from rxdb import migrations

    def work() -> runner.Work:
        migrations.migrate(url=url)
        return lambda: _upgraded(url)

    return work


def alembic_upgrade(url: str) -> runner.Work:
    """Apply all revisions to the empty database at *url*."""
    from alembic import command

    config = _alembic_config(url)

    def work() -> runner.Work:
        command.upgrade(config, "head")
        return lambda: _upgraded(url)

    return work


def _upgraded(url: str) -> list[Any]:
    """Return at which revision a database is, and how many tables the revisions made."""
    import sqlalchemy as sa

    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        names = sa.inspect(connection).get_table_names()
    engine.dispose()
    return [revision, sum(name.startswith(("item_", "table_")) for name in names)]


def rxdb_check() -> runner.Work:
    """Look at the configured database as a start does: nothing is connected, nothing read yet."""
    import rxdb

    rxdb.dispose()
    _forget()
    return lambda: str(rxdb.check_schema())


def _forget() -> None:
    """Have rxdb forget what it read of the revisions."""
    for module in ("rxdb.migrations.revisions", "rxdb.migrations.state"):
        for value in vars(import_module(module)).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def reflex_check() -> runner.Work:
    """Do what `reflex run` does before it serves: nothing is connected yet.

    What it finds it only logs.
    """
    model = import_module("reflex.model")
    prerequisites = import_module("reflex.utils.prerequisites")
    import_module("shop.shop")
    for engine in model._ENGINE.values():
        engine.dispose()
    model._ENGINE.clear()
    logged = _Logged()

    def work() -> list[str]:
        prerequisites.logger.addHandler(logged)
        prerequisites.check_schema_up_to_date()
        prerequisites.logger.removeHandler(logged)
        return logged.texts

    return work


class _Logged(logging.Handler):
    """Keeps the errors that are logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def rxdb_differences() -> runner.Work:
    """Compare the models and the configured database, and give each difference a sentence."""
    import rxdb
    from rxdb import migrations

    rxdb.dispose()
    return lambda: list(migrations.differences())


def alembic_compare(url: str, **options: Any) -> runner.Work:
    """Compare the models and the database with Alembic's function for programs."""
    import sqlalchemy as sa
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    metadata = _models()

    def work() -> list[str]:
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts=options)
            found = [str(difference) for difference in compare_metadata(context, metadata)]
        engine.dispose()
        return found

    return work


def alembic_check(url: str) -> runner.Work:
    """Do what `alembic check` does."""
    from alembic import command

    _models()
    config = _alembic_config(url)

    def work() -> list[str]:
        command.check(config)  # raises when something differs
        return []

    return work


def _models() -> Any:
    """Import the models before the clock runs."""
    return import_module("shop.models").SQLModel.metadata


def _alembic_config(url: str) -> Any:
    from alembic.config import Config

    config = Config(str(Path.cwd() / "alembic.ini"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


FUNCTIONS = (
    rxdb_upgrade,
    alembic_upgrade,
    rxdb_check,
    reflex_check,
    rxdb_differences,
    alembic_compare,
    alembic_check,
)

if __name__ == "__main__":
    runner.serve({function.__name__: function for function in FUNCTIONS})
