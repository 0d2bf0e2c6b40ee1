"""Drive the comparison and the scripts it writes on real databases, without a project's files."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import databases
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_op_text, render_python_code
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from alembic.operations import Operations

from rxdb import Feature, Target
from rxdb.migrations.autogenerate import Wishes, options, past

HEAD = """import sqlalchemy as sa
from alembic import op
"""


SCHEMA = f"zoo_{uuid4().hex[:8]}"
"""A schema of this process alone: on some servers it is a database, which all tests see."""
OTHERS = tuple(
    name for name, server in databases.SERVERS.items() if os.environ.get(server.variable or "-")
)
"""The servers that are there beside the one under test."""

PREFIXES = {"sqlalchemy_module_prefix": "sa.", "alembic_module_prefix": "op."}
"""Alembic's own, for ``context.configure``."""


@dataclass
class Script:
    """What one comparison wrote."""

    upgrade: str
    downgrade: str
    imports: tuple[str, ...]
    found: tuple[str, ...] = ()
    text: str = ""

    @property
    def source(self) -> str:
        """A revision's file."""
        if self.text:
            return self.text
        return "\n".join(
            [
                HEAD,
                *self.imports,
                f"\ndef upgrade():\n    {self.upgrade}\n",
                f"\ndef downgrade():\n    {self.downgrade}\n",
            ]
        )

    @property
    def is_empty(self) -> bool:
        return not self.found


def compare(
    connection: sa.Connection,
    target: Target,
    metadata: sa.MetaData | tuple[sa.MetaData, ...],
    *,
    scripts: tuple[str, ...] = (),
    wishes: Wishes | None = None,
    blank: bool = False,
    user: Mapping[str, Any] | None = None,
    history: Callable[[], set[str]] | None = None,
) -> Script:
    """Compare a database with models, and return the script that makes it equal."""
    wishes = wishes or Wishes(allow_drops=True)
    found = options(
        metadata,
        dialect=target.dialect,
        wishes=wishes,
        past=None if history else lambda: past.read(scripts),
        history_tables=history,
        blank=blank,
        user=user,
    )
    given = {k: v for k, v in (user or {}).items() if k != "process_revision_directives"}
    context = MigrationContext.configure(connection, opts={**PREFIXES, **given, **found})
    script = produce_migrations(context, found["target_metadata"])
    rendering = AutogenContext(context, found["target_metadata"], autogenerate=False)
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    upgrade, downgrade = (
        render(part, rendering) for part in (script.upgrade_ops, script.downgrade_ops)
    )
    return Script(upgrade, downgrade, tuple(sorted(rendering.imports)), tuple(wishes.found))


def render(part: Any, context: AutogenContext) -> str:
    """Return the body of a function, and leave what it imports in *context*."""
    for operation in part.ops:
        render_op_text(context, operation)
    body = render_python_code(
        part,
        render_as_batch=True,
        render_item=context.opts["render_item"],
        migration_context=context.migration_context,
    )
    return body.replace("\n\n", "\n")


def run(
    connection: sa.Connection, target: Target, script: Script, direction: str, metadata: Any = None
) -> None:
    """Run a script as a revision is run: in one transaction, guarded by the backend's hook."""
    names: dict[str, Any] = {}
    exec(compile_(script.source), names)
    guard = target.dialect.migrating(connection, target)
    with guard, connection.begin(), target.dialect.revising(connection, "zoo"):
        opts = {
            "target_metadata": options(metadata or sa.MetaData(), dialect=target.dialect)[
                "target_metadata"
            ]
        }
        context = MigrationContext.configure(connection, opts=opts)
        with Operations.context(context), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "autoincrement and existing_autoincrement")
            names[direction]()


def write_sql(script: Script, dialect: sa.Dialect) -> str:
    """Return what a script would do, as ``--sql`` prints it."""
    output = io.StringIO()
    names: dict[str, Any] = {}
    exec(compile_(script.source), names)
    opts = {"as_sql": True, "literal_binds": True, "output_buffer": output}
    context = MigrationContext.configure(
        dialect_name=dialect.name, opts=opts, dialect_opts={"paramstyle": "named"}
    )
    with Operations.context(context):
        names["upgrade"]()
    return output.getvalue()


def clear(engine: sa.Engine, target: Target) -> None:
    """Drop the schema that a test made beside its own database."""
    if Feature.SCHEMAS not in target.dialect.features:
        return
    with engine.begin() as connection:
        if SCHEMA in sa.inspect(connection).get_schema_names():
            left = sa.MetaData(schema=SCHEMA)
            left.reflect(connection, SCHEMA)
            left.drop_all(connection)
            connection.execute(sa.schema.DropSchema(SCHEMA))


def compile_(source: str) -> Any:
    return compile(source, "<revision>", "exec")
