"""What a migration would do, told without doing it: on the database, and on every target."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from rxdb import config, registry
from rxdb.dialect import Feature, show
from rxdb.errors import MigrationError, hide
from rxdb.migrations import (
    commands,
    database,
    environment,
    lookahead,
    project,
    proof,
    revisions,
    sentences,
)
from rxdb.migrations.environment import Run

if TYPE_CHECKING:
    from alembic.script import Script

    from rxdb.config import DBConfig
    from rxdb.dialect import Dialect
    from rxdb.engine import URLLike
    from rxdb.migrations.lookahead import Finding


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A revision that would be applied, or taken back."""

    revision: str
    message: str
    direction: str
    """``"upgrade"`` or ``"downgrade"``."""

    operations: tuple[str, ...]
    """What it does, a sentence for each operation."""

    reason: str
    """Why this may not be all; empty where it is."""

    statements: tuple[str, ...] | None
    """Its SQL; None where only the database itself can tell it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would happen on one database or backend."""

    target: str
    """The database without secrets, or the name of a backend."""

    title: str
    """What people call the backend."""

    revisions: tuple[Planned, ...]
    """In order."""

    losses: tuple[Finding, ...] = ()
    """What could lose data, with the rows concerned; of the database alone."""


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """Whether all revisions work on one target."""

    target: str
    problem: str = ""
    """Why they do not."""

    @property
    def works(self) -> bool:
        """Whether they do."""
        return not self.problem


def plan(
    revision: str = "head",
    *,
    down: bool = False,
    targets: Sequence[str | Any | DBConfig] | None = None,
    url: URLLike | None = None,
) -> tuple[Plan, ...]:
    """Return what :func:`~rxdb.migrations.migrate` to *revision* would do; change nothing.

    The first plan is the database's. There is another one for each of *targets*, by default
    ``Config.targets``: the same revisions in the SQL of that backend. *down* plans
    :func:`~rxdb.migrations.downgrade`.

    Raises what these raise before they begin.
    """
    run = Run(url=url)
    read = project.config(run)
    commands.refuse_several(revision)
    script = ScriptDirectory.from_config(read)
    found: list[tuple[list[RevisionStep], list[Finding]]] = []

    def look(heads: Any, migration: Any) -> list[Any]:
        steps = _steps(script, revision, heads, down=down)
        found.append((steps, lookahead.losses(migration.connection, steps)))
        return []

    target = run.target
    file = target.dialect.file(target.url)
    with commands.told(run):
        if file and not Path(file).exists():  # and it is not made for a look
            found.append((_steps(script, revision, (), down=down), []))
        else:
            with EnvironmentContext(read, script, fn=look, dont_mutate=True):
                script.run_env()
    ((steps, losses),) = found
    own = _plan(show(target.url), target.dialect, steps)
    others = config.get_config().targets if targets is None else targets
    return (replace(own, losses=tuple(losses)), *(_other(wanted, steps) for wanted in others))


def compile_all(
    targets: Sequence[str | Any | DBConfig] | None = None,
) -> tuple[Compiled, ...]:
    """Return for each of *targets*, by default ``Config.targets``, whether all revisions work.

    For the name of a backend the whole chain is compiled, or run on a throw-away file where a
    file is a database. A URL is an empty database, on which it is run up, down and up again.
    """
    wanted = config.get_config().targets if targets is None else targets
    return tuple(_compiled(one) for one in wanted)


def _steps(script: ScriptDirectory, revision: str, heads: Any, *, down: bool) -> list[RevisionStep]:
    """Return the steps as Alembic's own commands find them, in order."""
    if down:
        back = script.iterate_revisions(heads, revision, select_for_downgrade=True)
        steps = [MigrationStep.downgrade_from_script(script.revision_map, one) for one in back]
    else:
        forth = script.iterate_revisions(revision, heads, implicit_base=True)
        steps = [
            MigrationStep.upgrade_from_script(script.revision_map, one)
            for one in reversed(list(forth))
        ]
    return steps


def _other(wanted: str | Any | DBConfig, steps: Sequence[RevisionStep]) -> Plan:
    if isinstance(wanted, str) and "://" not in wanted:
        dialect = registry.get(wanted)
        return _plan(dialect.name, dialect, steps)
    target = database.target(wanted)
    return _plan(show(target.url), target.dialect, steps)


def _plan(name: str, dialect: Dialect, steps: Sequence[RevisionStep]) -> Plan:
    return Plan(
        target=name,
        title=dialect.title,
        revisions=tuple(_planned(step, dialect) for step in steps),
    )


def _planned(step: RevisionStep, dialect: Dialect) -> Planned:
    environment.settings(dialect)  # Alembic learns of a backend that it does not know
    url = make_url(f"{dialect.name}://")
    kind: Any = url.get_dialect()
    offline = kind(paramstyle="named")  # no % is doubled, as it is for some drivers
    dialect.keep_meaning(offline, url)
    script: Script = step.revision
    direction = "upgrade" if step.is_upgrade else "downgrade"
    ahead = lookahead.look(script, offline, direction)
    statements = lookahead.statements(script, offline, direction)
    return Planned(
        revision=script.revision,
        message=script.doc or "",
        direction=direction,
        operations=tuple(sentences.describe(operation) for operation in ahead.operations),
        reason=ahead.reason,
        statements=None if statements is None else tuple(statements),
    )


def _compiled(wanted: str | Any | DBConfig) -> Compiled:
    name = proof.name(wanted)
    heads = revisions.read().heads
    try:
        for head in heads:
            _compile(wanted, head)
    except Exception as error:  # noqa: BLE001 - whatever a script raises on that backend
        return Compiled(target=name, problem=hide(f"{type(error).__name__}: {error}"))
    return Compiled(target=name)


def _compile(wanted: str | Any | DBConfig, head: str) -> None:
    if not isinstance(wanted, str) or "://" in wanted:
        proof.attempt(wanted, head)
        return
    dialect = registry.get(wanted)
    if Feature.ALTER_COLUMN in dialect.features:
        commands.sql(head, dialect=dialect.name)
        return
    with tempfile.TemporaryDirectory(prefix="rxdb-") as folder:
        url = f"{dialect.name}:///{Path(folder) / 'check.db'}"
        commands.migrate(head, url=url, allow_data_loss=True)
        if found := commands.differences(url=url):
            raise MigrationError(f"The models differ from what the revisions made: {found[0]}")
