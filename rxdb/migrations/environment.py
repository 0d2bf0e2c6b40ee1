"""What ``alembic/env.py`` calls: connect, lock, guard, and let Alembic run the revisions."""

from __future__ import annotations

import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from alembic import context
from alembic.ddl.impl import DefaultImpl
from alembic.operations.ops import AddColumnOp, CreateTableOp
from alembic.runtime.migration import RevisionStep, StampStep
from sqlalchemy import inspect, make_url

from rxdb import registry
from rxdb.dialect import Feature
from rxdb.errors import (
    DataLoss,
    LockLost,
    MigrationError,
    MigrationFailed,
    OutsideTransaction,
    is_own,
)
from rxdb.migrations import database, journal, lock, log, lookahead, models, tables, together
from rxdb.migrations.autogenerate import Wishes, options
from rxdb.migrations.autogenerate import operations as _operations  # noqa: F401 - op.alter_enum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from alembic.runtime.migration import MigrationContext, MigrationInfo, MigrationStep
    from alembic.script import Script
    from sqlalchemy import Connection, Engine

    from rxdb.dialect import Dialect, Target
    from rxdb.engine import URLLike
    from rxdb.migrations.lookahead import Finding

ALEMBIC = getLogger("alembic.runtime.migration")
"""Where Alembic says which revision it runs."""

OF_TRANSACTIONS = frozenset({"transaction_per_migration", "on_version_apply"})
"""Alembic's options that ask for, or hear of, each revision by itself."""

UNLESS = ", unless the script brings them back."
"""A script that was written by hand may."""

LOCK_WAIT = 5.0
"""Seconds that a statement waits for a lock that running traffic holds. All other traffic queues
up behind a statement that waits, so it gives up and tries again later."""


@dataclass(frozen=True, kw_only=True)
class Applied:
    """A revision that was applied, or taken back."""

    revision: str
    message: str
    direction: str
    """``"upgrade"`` or ``"downgrade"``."""

    seconds: float


def silent(*_: object) -> None:
    """Tell nobody."""


def refuse(findings: Sequence[Finding]) -> bool:
    """Allow no loss of data."""
    return False


def allow(findings: Sequence[Finding]) -> bool:
    """Allow what was found: somebody said so."""
    return True


@dataclass(kw_only=True)
class Run:
    """What a command asks of the environment, and what it hears from it."""

    url: URLLike | None = None
    """The database, if not the configured one."""

    lock_timeout: float | None = None
    """Seconds to wait for another migration to end; None waits for ever."""

    lock_wait: float = LOCK_WAIT
    """Seconds that one statement waits for running traffic."""

    may_lose: Callable[[Sequence[Finding]], bool] = refuse
    """Whether what was found may be lost."""

    starting: Callable[[str, str, int, int], None] = silent
    """Hears which revision begins, its message, its number and how many there are."""

    tell: Callable[[str], None] = silent
    """Hears what is waited for, and where a copy was made."""

    wishes: Wishes = field(default_factory=Wishes)
    """What a comparison with the models does about renames and fill values."""

    blank: bool = False
    """Whether to compare with an empty database instead of the one that is there."""

    dialect_name: str = ""
    """The backend to write SQL for, if not the database's own."""

    applied: list[Applied] = field(default_factory=list)
    """What was done, in order."""

    @property
    def target(self) -> Target:
        """The database."""
        return database.target(self.url)


def run(**user: Any) -> None:
    """Do what Alembic was asked for. Called by ``alembic/env.py`` and by nothing else.

    The arguments are those of Alembic's ``context.configure``, such as ``include_object``,
    ``include_schemas`` or ``version_table``. Alembic's own command line may lose data: it has
    nobody to ask.
    """
    ask: Run = context.config.attributes.get("rxdb") or Run(may_lose=allow)
    if context.is_offline_mode():
        _write_sql(ask, user)
    else:
        database.with_engine(ask.target, lambda engine: _work(engine, ask, user))


def _write_sql(ask: Run, user: dict[str, Any]) -> None:
    """Write the SQL of the revisions instead of running them."""
    dialect = registry.get(ask.dialect_name) if ask.dialect_name else ask.target.dialect
    written = {"literal_binds": True, "dialect_opts": {"paramstyle": "named"}}
    context.configure(**{"url": f"{dialect.name}://", **settings(dialect), **written, **user})
    dialect.keep_meaning(context.get_context().dialect, make_url(f"{dialect.name}://"))
    with context.begin_transaction():
        context.run_migrations()


def _work(engine: Engine, ask: Run, user: dict[str, Any]) -> None:
    target = ask.target
    dialect = target.dialect
    with engine.connect() as connection:
        for statement in dialect.limit_lock_wait(ask.lock_wait):
            connection.exec_driver_sql(statement)
        connection.commit()
        usual = {"connection": connection, **settings(dialect), **user}
        context.configure(**usual)
        asked = context.get_context().opts
        if "revision_context" in asked:
            if Feature.REFLECTED_CONSTRAINTS not in dialect.features:
                raise MigrationError(
                    f"{dialect.title} does not tell what its tables look like, so models cannot "
                    f"be compared with them. Write the revision by hand. "
                    f"Run: rxdb db makemigrations --empty"
                )
            known = user.get("target_metadata") or models.load()
            compare = options(known, dialect=dialect, wishes=ask.wishes, blank=ask.blank, user=user)
            context.configure(**{**usual, **compare})
            _run_migrations()
        elif "destination_rev" in asked:  # upgrade, downgrade and stamp
            version_table = context.get_context().version_table
            with (
                dialect.migrating(connection, target),
                lock.hold(
                    engine,
                    connection,
                    target,
                    timeout=ask.lock_timeout,
                    waiting=ask.tell,
                    version_table=version_table,
                ),
            ):
                can_roll_back = Feature.TRANSACTIONAL_DDL in dialect.features
                runner = _Runner(
                    connection=connection,
                    target=target,
                    ask=ask,
                    journal=None if can_roll_back else journal.Journal(engine, dialect),
                    plan=asked["fn"],
                )
                if not OF_TRANSACTIONS & user.keys() and runner.is_new(version_table):
                    runner.run_together(usual)
                runner.configure(usual)
                lock.retrying(_run_migrations, target, report=ask.tell)
        else:
            _run_migrations()


def _run_migrations() -> None:
    with warnings.catch_warnings(), context.begin_transaction():
        # Scripts say autoincrement for MySQL, and Alembic warns of it on every other server.
        warnings.filterwarnings("ignore", "autoincrement and existing_autoincrement", UserWarning)
        context.run_migrations()


def settings(dialect: Dialect) -> dict[str, Any]:
    """Return how transactions work here, after Alembic has learned about the backend."""
    if dialect.migrates_like and dialect.name not in _taught:
        like = DefaultImpl.get_by_dialect(make_url(f"{dialect.migrates_like}://").get_dialect()())
        _taught[dialect.name] = type("Impl", (like,), {"__dialect__": dialect.name})
    return {
        "transactional_ddl": Feature.TRANSACTIONAL_DDL in dialect.features,
        "transaction_per_migration": True,
    }


_taught: dict[str, type] = {}
"""Implementations for Alembic, which registers a class when it is made (its documentation,
"Support for Third-party Dialects")."""


@dataclass(kw_only=True)
class _Runner:
    """Surrounds each revision of one run with what protects the data."""

    connection: Connection
    target: Target
    ask: Run
    journal: journal.Journal | None
    """None where a failure rolls DDL back."""

    plan: Callable[..., Iterable[MigrationStep]]
    """Alembic's function that finds the steps."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = 0.0
    has_looked: bool = False

    def is_new(self, version_table: str) -> bool:
        """Whether the database has no tables that an application could use, nor anything to
        lose."""
        is_empty = self.target.dialect.is_empty
        if is_empty is None or self.journal is not None:
            return False
        found = is_empty(self.connection, tables.OWN | {version_table})
        self.connection.rollback()
        return found

    def run_together(self, usual: dict[str, Any]) -> None:
        """Run the first revisions of an empty database in one transaction, as many as can share
        one. After a failure nothing of it stays and all is left to :meth:`steps`, which fails at
        the same revision, says so, and keeps what was applied before it."""
        self.has_looked = True
        together_only = {"transaction_per_migration": False, "fn": self.steps_together}
        context.configure(**{**usual, **together_only})
        before = len(self.ask.applied)
        try:
            _run_migrations()
        except Exception as error:
            if isinstance(error, LockLost) or self.connection.invalidated:
                raise
            del self.ask.applied[before:]
            self.connection.rollback()
            # A refused COMMIT has ended SQLAlchemy's transaction, and not the driver's.
            self.connection.connection.rollback()

    def steps_together(self, heads: Any, migration: MigrationContext) -> Iterator[MigrationStep]:
        """Yield a chain of revisions as one step, to the version of the last one."""
        todo = [] if heads else list(self.plan(heads, migration))
        chain = together.chain(todo)
        if len(chain) > 1:
            log.ensure(self.connection)
            yield self.joined(chain, len(todo))

    def joined(self, chain: Sequence[RevisionStep], total: int) -> StampStep:
        """Return the step that does all steps of *chain*, unless they are too much for one
        transaction: then it does the first ones."""
        last = chain[-1]
        step = StampStep(
            (), last.revision.revision, is_upgrade=True, branch_move=True,
            revision_map=last.revision_map,
        )  # fmt: skip

        def upgrade(**arguments: Any) -> None:
            done: list[log.Row] = []
            with (
                together.watched(self.connection) as watch,
                self.target.dialect.sending_ahead(self.connection),
            ):
                for number, one in enumerate(chain, start=1):
                    ALEMBIC.info("Running %s", one)
                    self.surrounded(one, one.migration_fn, number, total)(**arguments)
                    done.append(self.applied(one.revision, "upgrade"))
                    if watch.is_full:
                        break
            step.to_ = (done[-1]["revision"],)
            lock.fence(self.connection)
            log.record(self.connection, done)

        step.migration_fn = upgrade
        step.doc = f"up to {len(chain)} revisions in one transaction"
        return step

    def configure(self, usual: dict[str, Any]) -> None:
        """Have Alembic ask this runner for the steps, and tell it of each."""
        own = usual.pop("on_version_apply", ())
        callbacks: Any = (*(own if isinstance(own, tuple | list) else (own,)), self.note)
        context.configure(**usual, fn=self.steps, on_version_apply=callbacks)

    def steps(self, heads: Any, migration: MigrationContext) -> Iterator[MigrationStep]:
        """Yield what is to do, after a look at what it would lose."""
        todo = list(self.plan(heads, migration))
        revisions = [step for step in todo if isinstance(step, RevisionStep)]
        if revisions:
            if not heads:
                self.refuse_unversioned(revisions[0])
            self.look_ahead(revisions)
            log.ensure(self.connection)
            self.connection.commit()
        before = len(self.ask.applied)
        total = before + len(revisions)
        for number, step in enumerate(todo, start=before + 1):
            if isinstance(step, RevisionStep):
                step.migration_fn = self.surrounded(step, step.migration_fn, number, total)
            yield step

    def refuse_unversioned(self, step: RevisionStep) -> None:
        """Refuse to create tables that are there already, unless the revision stopped half-way."""
        if journal.read(self.connection) is not None:
            return
        operations = lookahead.look(step.revision, self.connection.dialect).operations
        made = [(op.table_name, op.schema) for op in operations if isinstance(op, CreateTableOp)]
        inspector = inspect(self.connection)
        there = [name for name, schema in made if inspector.has_table(name, schema)]
        if there:
            raise MigrationError(
                f"The database is at no revision, and has tables already that "
                f"{step.revision.revision} creates: {', '.join(there[:5])}. If they are what the "
                f"models say, run: rxdb db stamp head"
            )

    def look_ahead(self, revisions: Sequence[RevisionStep]) -> None:
        """Ask before data is lost, and copy a database that is a file; once in a run, which may
        be tried several times."""
        if self.has_looked:
            return
        self.has_looked = True
        losses = [f for f in lookahead.losses(self.connection, revisions) if f.rows != 0]
        self.connection.commit()
        if not losses:
            return
        if not self.ask.may_lose(losses):
            raise DataLoss.of(finding.what for finding in losses)
        if self.target.dialect.back_up is not None and (
            copy := self.target.dialect.back_up(self.target)
        ):
            self.ask.tell(f"A copy of the database from before is {copy}.")

    def surrounded(
        self, step: RevisionStep, function: Callable[..., None], number: int, total: int
    ) -> Callable[..., None]:
        """Return the function of a revision with everything around it."""
        script = step.revision
        revision, message = script.revision, script.doc

        @wraps(function)  # Alembic says its name
        def work(**arguments: Any) -> None:
            self.started, self.clock = datetime.now(UTC), time.perf_counter()
            self.ask.starting(revision, message, number, total)
            lost = [] if step.is_upgrade else self.lost(script)
            try:
                with (
                    self.journaled(script, step.is_upgrade),
                    self.target.dialect.revising(self.connection, revision),
                ):
                    function(**arguments)
            except Exception as error:
                if is_own(error) or lock.is_lock_timeout(self.target.dialect, error):
                    raise
                cause = getattr(error, "orig", None) or error
                code = self.target.dialect.error_code(cause)
                if code and self.target.dialect.errors.get(code) is OutsideTransaction:
                    raise OutsideTransaction.of(revision, cause) from error
                direction = "upgrade" if step.is_upgrade else "downgrade"
                raise MigrationFailed.of(
                    revision, message, direction, error, rolled_back=self.journal is None,
                    script=script.path,
                ) from error  # fmt: skip
            for sentence in lost:
                self.ask.tell(sentence)

        return work

    def lost(self, script: Script) -> list[str]:
        """Return what to say of columns and tables that come back, and that had held something."""
        ahead = lookahead.look(script, self.connection.dialect, "downgrade")
        told = []
        for operation in ahead.operations:
            if isinstance(operation, AddColumnOp):
                name = f"{operation.table_name}.{operation.column.name}"
                told.append(f"Column {name} comes back without the values that it had")
            elif isinstance(operation, CreateTableOp):
                told.append(f"Table {operation.table_name} comes back without the rows that it had")
        if told and self.target.dialect.copy_before is not None:
            times = [
                entry.started_at
                for entry in log.read(self.connection)
                if (entry.revision, entry.direction) == (script.revision, "upgrade")
            ]
            if times and (copy := self.target.dialect.copy_before(self.target, times[-1])):
                end = f"The newest copy of the database from before that is {copy}."
                return [f"{sentence}{UNLESS}" for sentence in told] + [end]
        return [f"{sentence}{UNLESS}" for sentence in told]

    def journaled(self, script: Script, is_upgrade: bool) -> AbstractContextManager[None]:
        """Write each statement down where a failure does not roll them back."""
        if self.journal is None:
            return nullcontext()
        direction = "upgrade" if is_upgrade else "downgrade"
        return self.journal.revision(self.connection, script, direction)

    def note(self, *, step: MigrationInfo, **_: Any) -> None:
        """Write the log in the transaction of the revision, and tell of it."""
        if step.is_stamp or step.up_revision is None:
            return
        lock.fence(self.connection)
        direction = "upgrade" if step.is_upgrade else "downgrade"
        script = cast("Script", step.up_revision)
        log.record(self.connection, [self.applied(script, direction)])
        if self.journal is not None:
            self.journal.finish(self.connection)

    def applied(self, script: Script, direction: str) -> log.Row:
        """Tell of a revision whose function has ended, and return its row of the log."""
        seconds = time.perf_counter() - self.clock
        self.ask.applied.append(
            Applied(
                revision=script.revision,
                message=script.doc,
                direction=direction,
                seconds=seconds,
            )
        )
        return log.row(
            revision=script.revision,
            direction=direction,
            started=self.started,
            seconds=seconds,
            checksum=log.checksum(Path(script.path)),
        )
