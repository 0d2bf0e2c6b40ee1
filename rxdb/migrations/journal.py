"""Half-applied revisions: what was done of them, so that the next run goes on after it.

For databases that cannot roll DDL back. Each DDL statement ends the transaction before it, so a
revision is a row of pieces: what is written to rows, up to a DDL statement; the DDL statement;
rows again, and so on. Before a DDL statement its row of the journal, together with the rows of
everything since the one before, is committed; after it the row is marked as done. What was
written to rows since the last DDL statement is committed with the revision's end: the new version,
the log, and an empty journal.

A process may be killed at any point. Then the journal is empty and the version is the new one; or
everything in the journal was done, and nothing else was, but for the newest DDL statement, which
was started and may have taken effect. What the database looks like now, compared with what it
looked like right before, says which.

What a script read before a DDL statement is kept too, and read again from the journal: the table
may be gone by now, or hold no longer the rows that were to be changed.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import (
    Column,
    DateTime,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    event,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.engine.interfaces import ExecuteStyle

from rxdb import registry
from rxdb.errors import HalfApplied, hide
from rxdb.migrations import log
from rxdb.migrations.lock import fence
from rxdb.migrations.tables import JOURNAL, OWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from alembic.script import Script
    from sqlalchemy import Connection, Engine, Inspector
    from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext

    from rxdb.dialect import Dialect

DDL, DATA, READ = "ddl", "data", "read"
AUTOCOMMIT = "AUTOCOMMIT"
STARTED, DONE, FAILED = "started", "done", "failed"

QUERIES = ("SELECT", "WITH", "VALUES", "TABLE")
READING = (*QUERIES, "SHOW", "EXPLAIN", "DESCRIBE", "DESC", "HELP", "CHECKSUM")
OF_SESSION = ("SET", "USE", "LOCK", "UNLOCK", "PREPARE", "DEALLOCATE")
PASSING = frozenset((*READING, *OF_SESSION, "SAVEPOINT", "RELEASE", "ROLLBACK"))
"""What changes nothing that outlives the session, and is done again in each run."""

ENDING = frozenset(("BEGIN", "START", "COMMIT"))
"""What ends a transaction, said by the script itself."""

WRITING = frozenset(
    ("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "UPSERT", "LOAD", "CALL", "DO")
)
"""What a transaction can hold. All else is taken for DDL."""

COMMENT = re.compile(r"--[^\n]*\n|#[^\n]*\n|/\*(?!!).*?\*/|/\*!\d*|\*/|[\s(]+", re.DOTALL)
QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
NAME = re.compile(r'`([^`]+)`|"([^"]+)"|([\w$]+)')
TEMPORARY = re.compile(
    r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMPORARY|TEMP)\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r'[`"]?([\w$]+)',
    re.IGNORECASE,
)
WRITTEN_TO = re.compile(r'\b(?:INTO|UPDATE|FROM|TABLE|ON|EXISTS)\s+[`"]?([\w$]+)', re.IGNORECASE)
SECRET = re.compile(r"(?i)(\b(?:BY|PASSWORD)\b\s*(?:\(\s*)?)'(?:[^'\\]|\\.|'')*'")

LONGEST = 8000
"""Characters of a statement that are kept."""

MOST_RESULTS = 10_000
"""Results that are kept of statements with one text."""

MOST_READ = 2_000_000
"""Characters of what a revision read that are kept. More is read again from the tables."""

NOT_KEPT = re.compile(r"(?i)information_schema|@|lock\s*\(")
"""In queries that ask how the database is made now, or that do something to the session."""

journal = Table(
    JOURNAL,
    MetaData(),
    Column("revision", String(255), primary_key=True),
    Column("direction", String(10), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(10), nullable=False),
    Column("state", String(10), nullable=False),
    Column("hash", String(64), nullable=False),  # of the statement, without its parameters
    Column("times", Integer, nullable=False),  # that it was executed, one after the other
    Column("fingerprint", String(64)),  # of what the statement names, right before it
    Column("statement", Text, nullable=False),
    Column("results", Text(2**24 - 1)),  # JSON: a list of what Answer.saved returns
    Column("script", String(64), nullable=False),  # hash of the revision's file
    Column("total", Integer),  # statements of the revision; NULL if not known
    Column("at", DateTime, nullable=False, server_default=func.current_timestamp()),
)
OURS = {"rxdb_journal": True}
"""The execution option of the journal's own statements."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A statement of a revision that has begun."""

    number: int
    statement: str
    """Its text without parameters and passwords."""
    state: str
    """``"done"``, ``"failed"``, or ``"started"``: the process ended while it ran."""
    times: int = 1
    """How often it was executed in a row, as in a loop over rows."""


@dataclass(frozen=True, kw_only=True)
class Half:
    """A revision that has begun and not ended."""

    revision: str
    direction: str
    """``"upgrade"`` or ``"downgrade"``."""
    done: int
    total: int | None
    """How many statements it has; None where its script decides that as it runs."""
    statements: tuple[Step, ...]

    def __str__(self) -> str:
        return f"half applied: {self.done} {f'of {self.total}' if self.total else 'done'}"


def read(connection: Connection) -> Half | None:
    """Return the revision that was left half-way, or None. Costs two queries at most."""
    if not inspect(connection).has_table(JOURNAL):
        return None
    kept = [column for column in journal.c if column is not journal.c.results]
    asked = select(*kept).where(journal.c.kind != READ).order_by(journal.c.step)
    rows = connection.execute(asked).all()
    if not rows:
        return None
    steps = tuple(
        Step(number=number, statement=row.statement, state=row.state, times=row.times)
        for number, row in enumerate(rows, start=1)
    )
    done = sum(step.state == DONE for step in steps)
    total = rows[-1].total
    return Half(
        revision=rows[0].revision,
        direction=rows[0].direction,
        done=done,
        total=max(total, len(steps)) if total else None,
        statements=steps,
    )


def forget(connection: Connection) -> None:
    """Empty the journal, after somebody brought the database to the revision's end or beginning
    by hand. The caller commits."""
    if inspect(connection).has_table(JOURNAL):
        connection.execute(delete(journal), execution_options=OURS)


def count(script: Script, direction: str, dialect: Any) -> int | None:
    """Return how many statements a revision has, or None where it has to run to know.

    Many rows of one insert are one statement, as they are when it runs.
    """
    from rxdb.migrations import lookahead  # noqa: PLC0415 - loads Alembic, and status reads journals

    written = lookahead.statements(script, dialect, direction)
    if written is None:
        return None
    changing = [statement for statement in written if kind(statement) is not None]
    starts: list[str] = [re.split(r"\bVALUES\b", text, maxsplit=1)[0] for text in changing]
    pairs = zip(starts, ["", *starts], strict=False)
    return sum(start != last or not start.startswith("INSERT") for start, last in pairs)


class Journal:
    """Writes down what happens to an engine's migrating connection while a revision runs."""

    def __init__(self, engine: Engine, dialect: Dialect | None = None) -> None:
        self.dialect = dialect or registry.get(engine.dialect.name)
        self._running: _Revision | None = None
        self._written = False
        self._is_there = False
        event.listen(engine, "do_execute", self._execute)
        event.listen(engine, "do_executemany", self._executemany)
        event.listen(engine, "do_execute_no_params", self._execute_no_params)
        event.listen(engine, "commit", self._before_commit)
        event.listen(engine, "rollback", self._after_rollback)

    @contextmanager
    def revision(
        self, connection: Connection, script: Script, direction: str, total: int | None = None
    ) -> Iterator[None]:
        """Write down the statements of a revision, and leave out those that were done before.

        Entered in the revision's transaction before its first statement. After the body
        :meth:`finish` is to be called in the transaction that sets the new version.

        Raises :class:`rxdb.errors.HalfApplied` when another revision was left half-way, or when
        the script was edited where it was done already.
        """
        if not self._is_there:
            journal.create(connection, checkfirst=True)
            self._is_there = True
        columns = [column for column in journal.c if column is not journal.c.at]
        recorded = connection.execute(select(*columns).order_by(journal.c.step)).mappings().all()
        _refuse_another(recorded, script.revision, direction)
        self._running = running = _Revision(
            connection=connection,
            fingerprint=self._fingerprint,
            revision=script.revision,
            direction=direction,
            script=log.checksum(Path(script.path)),
            total=total or count(script, direction, connection.dialect),
            recorded=[_Row(**row) for row in recorded],
        )
        self._written = bool(recorded)
        try:
            yield
        finally:
            self._running = None
            self._written = self._written or running.has_written
        running.refuse_removed()

    def finish(self, connection: Connection) -> None:
        """Empty the journal; the revision's COMMIT then says that all of it was done."""
        if self._written:
            connection.execute(delete(journal), execution_options=OURS)

    def _fingerprint(self, connection: Connection, statement: str) -> str:
        describe = self.dialect.fingerprint or described
        return sha256(describe(connection, statement).encode()).hexdigest()

    def _execute(
        self, cursor: DBAPICursor, statement: str, parameters: Any, context: ExecutionContext
    ) -> bool:
        return self._journaled(
            statement,
            cursor,
            context,
            lambda: context.dialect.do_execute(cursor, statement, parameters, context),
            parameters,
        )

    def _executemany(
        self, cursor: DBAPICursor, statement: str, parameters: Any, context: ExecutionContext
    ) -> bool:
        return self._journaled(
            statement,
            cursor,
            context,
            lambda: context.dialect.do_executemany(cursor, statement, parameters, context),
        )

    def _execute_no_params(
        self, cursor: DBAPICursor, statement: str, context: ExecutionContext
    ) -> bool:
        return self._journaled(
            statement,
            cursor,
            context,
            lambda: context.dialect.do_execute_no_params(cursor, statement, context),
        )

    def _journaled(
        self,
        statement: str,
        cursor: DBAPICursor,
        context: Any,
        execute: Callable[[], None],
        parameters: Any = None,
    ) -> bool:
        """Return whether the statement was executed, or left out, here."""
        running = self._running
        if (
            running is None
            or context.root_connection is not running.connection
            or "rxdb_journal" in context.execution_options
        ):
            return False
        what = running.kind(statement)
        if what is None or (what == READ and _streams(context)):
            return False
        if what == DDL:
            answer = running.ddl(statement, cursor, execute)
        elif what == DATA:
            answer = running.data(statement, cursor, execute, is_batch=_is_batch(context))
        else:
            answer = running.read(statement, parameters, cursor, execute)
        if answer is not None:
            context.cursor = answer
        return True

    def _before_commit(self, connection: Connection) -> None:
        running = self._running
        if running is None or connection is not running.connection or connection.invalidated:
            return
        running.write_down()

    def _after_rollback(self, connection: Connection) -> None:
        if self._running is not None and connection is self._running.connection:
            self._running.pending.clear()


@dataclass(kw_only=True)
class _Row:
    """A row of the journal."""

    revision: str
    direction: str
    step: int
    kind: str
    state: str
    hash: str
    times: int
    statement: str
    script: str
    total: int | None
    fingerprint: str | None = None
    results: str | None = None

    def answer(self, number: int, cursor: Any) -> _Answer | None:
        """Return what one execution answered, or None where that was not kept."""
        kept = json.loads(self.results or "[]", object_hook=_from_json)
        if number >= len(kept):
            return _Answer(cursor)
        return None if kept[number] is None else _Answer(cursor, *kept[number])


@dataclass
class _Answer:
    """Stands for a cursor whose answer is known: of an earlier run, or read to the end."""

    cursor: Any
    rowcount: int = 0
    lastrowid: int | None = None
    description: Any = None
    rows: Sequence[Any] = ()
    read: int = 0

    @classmethod
    def of(cls, cursor: Any) -> _Answer:
        """Read the answer of a statement that was just executed."""
        description = cursor.description
        key = getattr(cursor, "lastrowid", None)
        return cls(
            cursor,
            cursor.rowcount,
            key if isinstance(key, int) else None,
            description,
            list(cursor.fetchall()) if description else [],
        )

    @property
    def saved(self) -> list[Any]:
        """What JSON can hold of it, without what it need not."""
        if not self.description:
            return [self.rowcount, self.lastrowid]
        columns = [[column[0], *[None] * 6] for column in self.description]
        return [self.rowcount, self.lastrowid, columns, [list(row) for row in self.rows]]

    def fetchone(self) -> Any:
        some = self.fetchmany(1)
        return some[0] if some else None

    def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        start, self.read = self.read, min(self.read + (size or 1), len(self.rows))
        return self.rows[start : self.read]

    def fetchall(self) -> Sequence[Any]:
        return self.fetchmany(len(self.rows) + 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cursor, name)


@dataclass(kw_only=True)
class _Revision:
    """A revision that runs, beside what an earlier run has left in the journal."""

    connection: Connection
    fingerprint: Callable[[Connection, str], str]
    revision: str
    direction: str
    script: str
    total: int | None
    recorded: list[_Row]
    position: int = 0
    """The first recorded row that may still come."""
    used: int = 0
    """How often the row at this position came already."""
    pending: list[_Row] = field(default_factory=list)
    """What was written to rows, and is not yet committed."""
    results: dict[int, list[str]] = field(default_factory=dict)
    """JSON of what the statements of a pending row answered."""
    read_so_far: int = 0
    temporary: set[str] = field(default_factory=set)
    has_written: bool = False
    last_step: int = 0

    def __post_init__(self) -> None:
        self.last_step = max((row.step for row in self.recorded), default=0)

    @property
    def is_edited(self) -> bool:
        """Whether the script is not the one of the earlier run."""
        return any(row.script != self.script for row in self.recorded)

    def kind(self, statement: str) -> str | None:
        """Return whether to write a statement down as DDL, as data, or not at all."""
        if (created := TEMPORARY.match(statement)) is not None:
            self.temporary.add(created[1].lower())
            return None  # it is gone with the session, so each run makes it
        target = WRITTEN_TO.search(statement) if self.temporary else None
        if target is not None and target[1].lower() in self.temporary:
            return None
        what = kind(statement)
        word = first_word(statement)
        if what is None and word in ENDING:
            self.write_down()
        if what is None and word in QUERIES:
            is_kept = NOT_KEPT.search(statement) is None and not _is_ours(statement)
            return READ if is_kept else None
        return what

    def ddl(
        self, statement: str, cursor: DBAPICursor, execute: Callable[[], None]
    ) -> _Answer | None:
        """Execute a DDL statement between two rows of the journal, or leave it out."""
        hashed = _hash(statement)
        row = self._find(DDL, hashed)
        if row is None:
            self._refuse_new(statement)
            self._forget_replaced()
        elif row.state == DONE:
            return _Answer(cursor)
        elif row.state == STARTED and self._took_effect(row):
            self._mark(row, DONE)
            return _Answer(cursor)
        else:
            self._forget(row)  # it comes after what this run did
        fence(self.connection)
        self.write_down()
        row = self._row(DDL, STARTED, statement, hashed)
        row.fingerprint = self.fingerprint(self.connection, row.statement)
        self._own(insert(journal).values(vars(row)))
        self._commit()
        try:
            execute()
        except Exception:
            with suppress(Exception):  # the connection may be what failed
                self.connection.connection.rollback()
                self._mark(row, FAILED)
            raise
        self._mark(row, DONE)
        return None

    def data(
        self, statement: str, cursor: DBAPICursor, execute: Callable[[], None], *, is_batch: bool
    ) -> _Answer | None:
        """Execute a statement that writes rows, or leave it out."""
        hashed = _hash(statement)
        row = self._find(DATA, hashed)
        if row is not None:
            answer = row.answer(self.used - 1, cursor)
            if answer is None or (answer.description and is_batch):
                raise HalfApplied(
                    f"{self._begun} The rest needs what this statement returned, and that was "
                    f"not kept: {shorten(statement)}. To see what is done, run: rxdb db repair"
                )
            return answer
        self._refuse_new(statement)
        is_autocommit = self.connection.get_execution_options().get("isolation_level") == AUTOCOMMIT
        if is_autocommit:
            self._own_text("BEGIN")  # without one, the statement and its row could part
        execute()
        is_kept = not (is_batch and cursor.description)
        answer = _Answer.of(cursor) if is_kept else None
        self._note(DATA, statement, hashed, _to_json(answer.saved) if answer else "null")
        if is_autocommit:
            self.write_down()
            self._own_text("COMMIT")
        return answer

    def read(
        self, statement: str, parameters: Any, cursor: DBAPICursor, execute: Callable[[], None]
    ) -> _Answer | None:
        """Execute a query, or answer it as before."""
        hashed = _hash(f"{statement}\n{parameters!r}")
        row = self._find(READ, hashed)
        answer = row.answer(self.used - 1, cursor) if row is not None else None
        if answer is not None:
            return answer
        execute()
        if self.read_so_far >= MOST_READ or not cursor.description:
            return None
        answer = _Answer.of(cursor)
        is_large = len(answer.rows) * len(answer.description) > MOST_READ // 8
        saved = "null" if is_large else _to_json(answer.saved)
        self.read_so_far += len(saved)
        if self.read_so_far < MOST_READ:
            self._note(READ, statement, hashed, saved)
        return answer

    def write_down(self) -> None:
        """Insert the rows of the data that the next COMMIT will make last."""
        for row in self.pending:
            row.results = f"[{','.join(self.results.pop(row.step, ()))}]"
        if self.pending:
            self._own(insert(journal), [vars(row) for row in self.pending])
        self.pending.clear()

    def refuse_removed(self) -> None:
        """Raise when an edited script has no longer what was done of it."""
        gone = self._ahead()
        if self.is_edited and gone:
            raise HalfApplied(
                f"{self._begun} Its script was edited since and lacks what was done: "
                f"{shorten(gone[0].statement)}. To see what is done, run: rxdb db repair"
            )

    def _find(self, what: str, hashed: str) -> _Row | None:
        """Return the recorded row that a statement is, from the position on."""
        for index in range(self.position, len(self.recorded)):
            row = self.recorded[index]
            used = self.used if index == self.position else 0
            if row.kind == what and row.hash == hashed and used < row.times:
                is_ddl = what == DDL
                self.position, self.used = (index + 1, 0) if is_ddl else (index, used + 1)
                return row
        return None

    def _ahead(self) -> list[_Row]:
        """Return the DDL that an earlier run did and this one has not come to."""
        return [
            row
            for row in self.recorded[self.position :]
            if row.kind == DDL
            and row.times
            and (row.state == DONE or (row.state == STARTED and self._took_effect(row)))
        ]

    def _refuse_new(self, statement: str) -> None:
        """Raise for a statement that an edited script has before others that are done.

        A script that is the same has such statements where it looks before it acts: what is not
        in the journal was not done.
        """
        if self.is_edited and (ahead := self._ahead()):
            raise HalfApplied(
                f"{self._begun} Its script was edited since, and has now {shorten(statement)} "
                f"before {shorten(ahead[0].statement)}, which is done. "
                f"To see what is done, run: rxdb db repair"
            )

    def _forget_replaced(self) -> None:
        """Forget what did not take effect and stands in the edited script no longer, or later."""
        if self.is_edited:
            for row in self.recorded[self.position :]:
                if row.kind == DDL and row.state != DONE:
                    self._forget(row)

    def _forget(self, row: _Row) -> None:
        row.times = 0  # never found again
        self._own(delete(journal).where(*self._is(row)))

    def _took_effect(self, row: _Row) -> bool:
        return row.fingerprint != self.fingerprint(self.connection, row.statement)

    def _note(self, what: str, statement: str, hashed: str, saved: str) -> None:
        """Remember what was written or read, for the next COMMIT."""
        last = self.pending[-1] if self.pending else None
        if last is not None and last.hash == hashed and last.kind == what:
            last.times += 1
        else:
            last = self._row(what, DONE, statement, hashed)
            self.pending.append(last)
        results = self.results.setdefault(last.step, [])
        if len(results) < MOST_RESULTS:
            results.append(saved)

    def _row(self, what: str, state: str, statement: str, hashed: str) -> _Row:
        self.last_step += 1
        return _Row(
            revision=self.revision,
            direction=self.direction,
            step=self.last_step,
            kind=what,
            state=state,
            hash=hashed,
            times=1,
            statement=SECRET.sub(r"\1'***'", hide(statement))[:LONGEST],
            script=self.script,
            total=self.total,
        )

    def _mark(self, row: _Row, state: str) -> None:
        row.state = state
        self.write_down()
        self._own(update(journal).where(*self._is(row)).values(state=state))
        self._commit()

    def _is(self, row: _Row) -> tuple[Any, ...]:
        columns = journal.c
        return (
            columns.revision == row.revision,
            columns.direction == row.direction,
            columns.step == row.step,
        )

    def _own(self, statement: Any, rows: list[dict[str, Any]] | None = None) -> None:
        self.has_written = True
        self.connection.execute(statement, rows, execution_options=OURS)

    def _own_text(self, statement: str) -> None:
        self.connection.exec_driver_sql(statement, execution_options=OURS)

    def _commit(self) -> None:
        """Commit at the server; SQLAlchemy's transaction goes on, as it does over DDL."""
        self.connection.connection.commit()

    @property
    def _begun(self) -> str:
        done = sum(row.state == DONE for row in self.recorded if row.kind != READ)
        of = f" of {self.total}" if self.total else ""
        return f"The {self.direction} of {self.revision} was left half-way: {done}{of} are done."


def _refuse_another(recorded: Any, revision: str, direction: str) -> None:
    """Raise when the journal tells of another revision, or of the other direction."""
    for row in recorded:
        if (row["revision"], row["direction"]) != (revision, direction):
            raise HalfApplied(
                f"The {row['direction']} of {row['revision']} was left half-way, and the "
                f"{direction} of {revision} cannot begin before it is done. "
                f"To see what is done, run: rxdb db repair"
            )


def first_word(statement: str) -> str:
    """Return the word that says what a statement does, in capitals."""
    start = 0
    while (found := COMMENT.match(statement, start)) is not None:
        start = found.end()
    word = NAME.match(statement, start)
    return (word[3] or "").upper() if word else ""


def kind(statement: str) -> str | None:
    """Return what a statement is to the journal; None for what changes nothing."""
    word = first_word(statement)
    if word == "WITH":
        words = {name.upper() for name in names(QUOTED.sub("", statement))}
        return DATA if words & WRITING else None
    if not word or word in PASSING or word in ENDING or _is_ours(statement):
        return None
    return DATA if word in WRITING else DDL


def names(statement: str) -> list[str]:
    """Return the words and quoted names of a statement, each once."""
    return list(dict.fromkeys("".join(found) for found in NAME.findall(statement)))


def described(connection: Connection, statement: str) -> str:
    """Describe the tables and views that a statement names, as SQLAlchemy sees them."""
    inspector = inspect(connection)
    named = set(names(statement))
    tables = sorted(named & set(inspector.get_table_names()))
    views = sorted(named & set(inspector.get_view_names()))
    parts = [
        *((name, _describe_table(inspector, name)) for name in tables),
        *((name, inspector.get_view_definition(name)) for name in views),
    ]
    return repr(parts)


def _describe_table(inspector: Inspector, name: str) -> list[str]:
    asked = (
        inspector.get_columns,
        inspector.get_pk_constraint,
        inspector.get_foreign_keys,
        inspector.get_indexes,
        inspector.get_unique_constraints,
        inspector.get_check_constraints,
        inspector.get_table_comment,
    )
    answers = []
    for ask in asked:
        with suppress(NotImplementedError):
            answers.append(repr(ask(name)))
    return answers


def shorten(statement: str, most: int = 80) -> str:
    """Return a statement in one line."""
    line = " ".join(statement.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _is_ours(statement: str) -> bool:
    return any(own in statement for own in OWN)


def _streams(context: Any) -> bool:
    """Whether rows are to be read one after the other, as they may be too many."""
    options = context.execution_options
    return bool(options.get("stream_results") or options.get("yield_per"))


def _is_batch(context: Any) -> bool:
    """Whether SQLAlchemy inserts several rows and reads their keys from the driver's cursor."""
    return bool(context.execute_style is ExecuteStyle.INSERTMANYVALUES)


def _to_json(answer: list[Any]) -> str:
    """Return JSON, ``null`` for an answer that holds what has no JSON."""
    try:
        return json.dumps(answer, default=_as_json)
    except (TypeError, ValueError):
        return "null"


KINDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),  # before its base, date
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "interval": (timedelta, lambda v: [v.days, v.seconds, v.microseconds], lambda v: timedelta(*v)),
    "decimal": (Decimal, str, Decimal),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "uuid": (UUID, str, UUID),
}
"""What drivers return beside what JSON has: the type, to JSON, and back."""


def _as_json(value: Any) -> dict[str, Any]:
    for name, (known, to_json, _) in KINDS.items():
        if isinstance(value, known):
            return {"rxdb": name, "value": to_json(value)}
    raise TypeError


def _from_json(value: dict[str, Any]) -> Any:
    return KINDS[value["rxdb"]][2](value["value"]) if "rxdb" in value else value


def _hash(statement: str) -> str:
    return sha256(statement.encode()).hexdigest()
