"""Tests of a project's migrations, which nobody has to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rxdb import config, registry
from rxdb.dialect import Feature
from rxdb.errors import MigrationError, NotInitialized, RxdbError, SchemaOutdated, SeveralHeads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rxdb.testing.run import Run


def one_head(url: str) -> None:
    """The revisions end in one."""
    from rxdb.migrations import commands  # noqa: PLC0415 - loads Alembic

    heads = commands.heads()
    if len(heads) > 1:
        raise SeveralHeads.of(heads)


def upgrade(url: str) -> None:
    """An empty database comes to the newest revision."""
    from rxdb.migrations import commands  # noqa: PLC0415 - loads Alembic

    commands.migrate(url=url, allow_data_loss=True)


def downgrade(url: str) -> None:
    """All revisions can be taken back, nothing is left, and they can be applied again."""
    from sqlalchemy import inspect  # noqa: PLC0415 - few need it

    from rxdb.migrations import commands, database, tables  # noqa: PLC0415 - loads Alembic

    upgrade(url)
    commands.downgrade("base", url=url, allow_data_loss=True)

    def names(engine: Any) -> set[str]:
        return set(inspect(engine).get_table_names())

    left = database.with_engine(database.target(url), names) - tables.OWN - {tables.VERSION}
    if left:
        listed = ", ".join(sorted(left))
        raise MigrationError(f"After all revisions were taken back, there still is: {listed}.")
    upgrade(url)


def models(url: str) -> None:
    """The migrations lead to what the models say."""
    from rxdb.migrations import commands  # noqa: PLC0415 - loads Alembic

    upgrade(url)
    dialect = registry.get(url.partition(":")[0].partition("+")[0])
    if Feature.REFLECTED_CONSTRAINTS not in dialect.features:
        pytest.skip(f"{dialect.title} does not {Feature.REFLECTED_CONSTRAINTS.value}")
    if found := commands.differences(url=url):
        raise SchemaOutdated(
            f"The models differ from the migrations: {' '.join(found)} Run: rxdb db makemigrations"
        )


CHECKS: dict[str, Callable[[str], None]] = {
    "there_is_one_head": one_head,
    "an_empty_database_is_upgraded": upgrade,
    "all_is_taken_back_and_applied_again": downgrade,
    "the_models_say_the_same": models,
}


class MigrationItem(pytest.Item):
    """One of the checks, on one database."""

    def __init__(self, *, run: Run, label: str, check: str, **more: Any) -> None:
        """Add what is checked, and where."""
        super().__init__(**more)
        self.run, self.label, self.check = run, label, check

    def runtest(self) -> None:
        """Check it in an empty database."""
        with self.run.empty(self.label, is_configured=True) as url:
            CHECKS[self.check](url)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show rxdb's own sentence, and of other errors where they come from."""
        if isinstance(excinfo.value, RxdbError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Tell what it is called in the report."""
        return self.path, None, f"migrations: {self.name}"


def items(session: pytest.Session, run: Run) -> Iterator[MigrationItem]:
    """Yield the checks for each database. Raises :class:`pytest.UsageError` where there is nothing
    to check."""
    from rxdb.migrations import models as known  # noqa: PLC0415 - loads SQLAlchemy
    from rxdb.migrations.revisions import find_project  # noqa: PLC0415 - few need it

    if find_project() is None:
        told = NotInitialized.of(known.home(), is_configured=config.is_there())
        raise pytest.UsageError(f"--rx-migrations: {told}")
    for label in run.labels:
        for check in CHECKS:
            name = f"{check}[{label}]"
            yield MigrationItem.from_parent(
                session, name=name, nodeid=f"migrations::{name}", run=run, label=label, check=check
            )
