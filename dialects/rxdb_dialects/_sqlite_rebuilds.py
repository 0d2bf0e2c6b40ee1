"""Watch Alembic rebuild SQLite's tables, and roll back whatever would lose something.

SQLite changes most of a table only by a copy: CREATE TABLE _alembic_tmp_t, INSERT … SELECT,
DROP TABLE t, RENAME. With foreign keys on, the DROP deletes or empties the rows of other tables
that refer to it (ON DELETE CASCADE, SET NULL), without an error; SQLite's own advice is to turn
them off before the transaction and to check before its end ("ALTER TABLE", section 7). Views that
read the table make the RENAME fail, its triggers go with it, and the copy has only what
SQLAlchemy's reflection tells.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rxdb.errors import DatabaseError, RebuildFailed
from rxdb_dialects import _sqlite_copies as copies
from rxdb_dialects import _sqlite_tables as tables
from rxdb_dialects._sqlite_tables import Column, Definition, quote, unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection

    from rxdb.dialect import Target

PREFIX = "_alembic_tmp_"
LONGEST = 50
"""Alembic cuts the name of its copy to so many characters."""

HARMLESS = {"ANALYZE", "EXPLAIN", "PRAGMA", "RELEASE", "ROLLBACK", "SAVEPOINT", "SELECT"}
"""Statements that cannot separate a row from its parent."""

OWN = ("alembic_version", "rxdb_migration_")
"""Where migrations write for themselves."""

WARNINGS = ("Skipped unsupported reflection of expression-based index", "Unnamed CHECK constraint")
"""What SQLAlchemy and Alembic warn of while they read a table, and what is put back here."""

BATCH = 400  # SQLite joins at most 500 SELECTs into one (its limit SQLITE_MAX_COMPOUND_SELECT)

logger = logging.getLogger("rxdb.migrations")

CAST = re.compile(
    r"""CAST\( ( (?: "[^"]*" | \w+ ) (?: \.(?: "[^"]*" | \w+ ) )? ) [ ]AS[ ]
    [\w ]+ (?: \([\d, ]*\) )? \)
    (?: [ ]AS[ ] (?: "[^"]*" | \w+ ) )?""",
    re.VERBOSE,
)
"""What Alembic copies a column with whose type changes. It destroys values without a word:
``CAST('2001-02-03' AS DATETIME)`` is 2001, ``CAST('abc' AS INTEGER)`` is 0. Without it a column
takes what fits its type, and keeps the rest as it is (SQLite, "Datatypes", 3.3)."""

MOMENT = (
    "CASE WHEN datetime({0}) IS NULL THEN {0} WHEN length({0}) = 10 THEN {0} || ' 00:00:00.000000' "
    "WHEN length({0}) = 19 THEN {0} || '.000000' ELSE {0} END"
)
"""A date as the moment at which it begins, with as many digits as SQLAlchemy writes: SQLite
compares their texts."""

CONVERTED = {
    "DATE": "CASE WHEN datetime({0}) IS NULL THEN {0} ELSE substr({0}, 1, 10) END",
    "DATETIME": MOMENT,
    "TIMESTAMP": MOMENT,
}
"""What a column becomes by its new type, where SQLite's own rules are not enough."""


@contextmanager
def migrating(connection: Connection, target: Target) -> Iterator[None]:
    """Turn foreign keys off for the revisions of one run, and leave them as they were.

    Inside a transaction ``PRAGMA foreign_keys`` does nothing, so this is entered outside of one.
    After an error the file is looked at, and the copy of :func:`back_up` restored when the
    rollback has not brought everything back.
    """
    before = _value(connection, "PRAGMA foreign_keys")
    _run(connection, "PRAGMA foreign_keys = OFF")
    if _value(connection, "PRAGMA foreign_keys"):
        raise RebuildFailed("Migrations begin inside a transaction. Run: connection.commit()")
    try:
        _remove_leftovers(connection)
        with copies.kept(target):
            try:
                yield
            except BaseException:
                connection.rollback()  # before the file is compared with its copy
                raise
    finally:
        if not (connection.closed or connection.invalidated):
            if connection.in_transaction():  # begun by a SELECT after the last revision
                connection.commit()
            _run(connection, f"PRAGMA foreign_keys = {before}")
            if _value(connection, "PRAGMA foreign_keys") != before:
                connection.invalidate()


@contextmanager
def revising(connection: Connection, revision: str) -> Iterator[None]:
    """Watch the statements of one revision, and raise RebuildFailed when one loses something."""
    from sqlalchemy import event

    watch = Watch(connection, revision)
    event.listen(connection, "before_cursor_execute", watch.before, retval=True)
    event.listen(connection, "after_cursor_execute", watch.after)
    try:
        with warnings.catch_warnings():
            for start in WARNINGS:
                warnings.filterwarnings("ignore", message=start)
            yield
        watch.finish()
    except DatabaseError as error:
        watch.name_table(error)
        raise
    finally:
        event.remove(connection, "before_cursor_execute", watch.before)
        event.remove(connection, "after_cursor_execute", watch.after)
        watch.legacy(on=False)


@dataclass
class Rebuild:
    """One table on its way through a copy."""

    copy: str
    """The name of Alembic's copy."""

    counts: dict[str, int]
    """The rows of every table before."""

    table: str = ""
    """The table's own name; known when the rows are copied."""

    sequence: int | None = None
    """The highest number that AUTOINCREMENT has given."""

    names: dict[str, str] = field(default_factory=dict)
    """The columns that stay: old name to new name."""

    create: str = ""
    """What makes the copy instead of Alembic's own statement."""

    withheld: tuple[tables.Clause, ...] = ()
    """The CHECKs that wait until it is known what their columns are called."""

    generated: list[str] = field(default_factory=list)
    """The columns that SQLite computes; Alembic would copy their values, which it refuses."""

    converted: dict[str, str] = field(default_factory=dict)
    """What fills a column whose type is another now, where a copy of the value would not do."""

    indexes: list[Index] = field(default_factory=list)
    triggers: dict[str, str] = field(default_factory=dict)
    is_renamed: bool = False


@dataclass(frozen=True)
class Index:
    """An index as it was before the table was rebuilt."""

    name: str
    sql: str
    unique: bool
    columns: tuple[tuple[str | None, int, str], ...]
    """Name, whether descending, and collation of each; an expression has no name."""

    @property
    def names(self) -> list[str | None]:
        return [name for name, _, _ in self.columns]

    def has_lost(self, before: Index, names: list[str | None]) -> bool:
        """Whether this is the index *before*, but for its directions and collations."""
        is_same = self.names == names and self.unique == before.unique
        return is_same and [c[1:] for c in self.columns] != [c[1:] for c in before.columns]


class Watch:
    """What the statements of one revision do to the tables."""

    def __init__(self, connection: Connection, revision: str) -> None:
        self.connection = connection
        self.revision = revision
        self.rebuild: Rebuild | None = None
        self.violations: dict[tuple[str, str], int] | None = None
        self.broken: dict[str, str] | None = None
        self.renamed: dict[str, str] = {}
        self.copied: dict[str | None, str] = {}
        self.is_legacy = False
        self.busy = False

    def before(
        self, _: object, _cursor: object, statement: str, parameters: Any, *__: object
    ) -> tuple[str, Any]:
        """Look at a statement before it runs, and return what shall run."""
        self._look(statement, self._begins)
        rebuild = self.rebuild
        if rebuild and rebuild.create:
            statement, rebuild.create = rebuild.create, ""
            return statement, parameters
        words = tables.first(statement, 3) if rebuild else []
        if (
            rebuild
            and [w.upper() for w in words[:2]] == ["INSERT", "INTO"]
            and words[2:] == [rebuild.copy]
        ):
            statement = CAST.sub(r"\1", statement)
            if rebuild.generated or rebuild.converted:
                statement = tables.copying(statement, rebuild.generated, rebuild.converted)
                rebuild.generated, rebuild.converted = [], {}
        return statement, parameters

    def after(self, *arguments: Any) -> None:
        """Look at a statement that has run."""
        if arguments[2].lstrip()[:5].upper() == "ALTER":
            self._look(arguments[2], self._ended)

    def _look(self, statement: str, see: Callable[[str, list[str]], None]) -> None:
        if self.busy:
            return
        self.busy = True
        try:
            see(statement, tables.first(statement, 8))
        finally:
            self.busy = False

    def _begins(self, statement: str, words: list[str]) -> None:
        verb = [word.upper() for word in words[:2]]
        rebuild = self.rebuild
        if rebuild and rebuild.is_renamed and verb[:1] != ["CREATE"]:
            self._close(rebuild)
            rebuild = None
        if not _is_harmless(words, statement):
            self._note()
        if verb == ["CREATE", "TABLE"] and words[2].startswith(PREFIX):
            self._close(rebuild)
            self.rebuild = Rebuild(words[2], _counts(self.connection))
            self._withhold(self.rebuild, statement)
            self.broken = _broken(self.connection) if self.broken is None else self.broken
        elif rebuild and verb == ["INSERT", "INTO"] and words[2] == rebuild.copy:
            self._complete(rebuild, statement)
        elif rebuild and verb == ["DROP", "TABLE"]:
            if words[2] == rebuild.copy:  # the rows could not be copied
                self.rebuild = None
            elif words[2].lower() == rebuild.table.lower():
                self._compare_copy(rebuild)
        elif rebuild and verb == ["ALTER", "TABLE"] and words[2] == rebuild.copy:
            self.legacy(on=True)  # or the views that read the table make the RENAME fail

    def _ended(self, _: str, words: list[str]) -> None:
        self.legacy(on=False)
        if [word.upper() for word in words[3:5]] != ["RENAME", "TO"]:
            return
        if self.rebuild and words[2] == self.rebuild.copy:
            self._renamed(self.rebuild)
        else:
            self.renamed[words[2]] = words[5]

    def finish(self) -> None:
        """Look at the whole database once more, before COMMIT."""
        self.busy = True
        self._close(self.rebuild)
        self._check_foreign_keys()
        if self.broken is not None:
            self._check_readers(self.broken)

    def name_table(self, error: DatabaseError) -> None:
        """Let the error of a row that does not fit into a copy name the table itself, also in
        SQLite's words, which are all that a failed migration repeats."""
        copy = error.table
        if copy not in self.copied:
            return
        error.table = self.copied[copy]
        failure: Any = error
        for told in (failure, failure.orig):
            told.args = tuple(str(a).replace(f"{copy}.", f"{error.table}.") for a in told.args)

    def legacy(self, *, on: bool) -> None:
        """Let a RENAME pass over what refers to the table, or not."""
        if on != self.is_legacy:
            _run(self.connection, f"PRAGMA legacy_alter_table = {'ON' if on else 'OFF'}")
            self.is_legacy = on

    def _note(self) -> None:
        """Remember the rows that had no parent already before the revision's first change."""
        if self.violations is None:
            self.violations = _violations(self.connection)
            for (table, parent), count in self.violations.items():
                logger.warning(
                    "%s of %s did not refer to a row of %s already before revision %s.",
                    _rows(count), table, parent, self.revision,
                )  # fmt: skip

    def _withhold(self, rebuild: Rebuild, create: str) -> None:
        """Keep CHECKs of renamed columns, which Alembic does not rename there, for later."""
        if table := _original(rebuild.copy, _names(self.connection)):
            new = tables.parse(create)
            rebuild.withheld = tables.withhold(tables.parse(_sql(self.connection, table)), new)
            if rebuild.withheld:
                kept = tuple(c for c in new.constraints if c not in rebuild.withheld)
                rebuild.create = replace(new, constraints=kept).create(rebuild.copy)

    def _complete(self, rebuild: Rebuild, insert: str) -> None:
        """Make the copy over again, now with all that reflection had not told."""
        origin = tables.copied_columns(insert)
        rebuild.table = unquote(list(tables.significant(insert))[-1])
        self.copied[rebuild.copy] = rebuild.table
        rebuild.names = {old: new for new, old in origin.items()}
        rebuild.indexes = _indexes(self.connection, rebuild.table)
        rebuild.triggers = _triggers(self.connection, rebuild.table)
        old = tables.parse(_sql(self.connection, rebuild.table))
        made = tables.parse(_sql(self.connection, rebuild.copy))
        new = replace(made, constraints=(*made.constraints, *rebuild.withheld))
        if lost := tables.lost_checks(old, new, origin.values()):
            raise self._failed(
                f"The table {rebuild.table} would lose {lost[0]}, which reads a column that goes. "
                f"Write what shall hold from now on into "
                f"batch_alter_table({rebuild.table!r}, table_args=(sa.CheckConstraint(…),))."
            )
        told = tables.parse(_reflected(self.connection, rebuild.table))
        merged = tables.merge(old, told, new, origin, rebuild.table)
        rebuild.sequence = _sequence(self.connection, rebuild.table)
        shape = _shape(self.connection, rebuild.copy)
        rebuild.generated = [name for name, _, _, hidden in shape if hidden]
        rebuild.converted = _conversions(old, merged, origin)
        if merged == made:
            return
        statement = merged.create(rebuild.copy)
        try:
            _run(self.connection, f"DROP TABLE {quote(rebuild.copy)}", statement)
        except sqlite3.Error as error:
            raise self._failed(
                f"The table {rebuild.table} cannot be rebuilt with all it has: {error}. Hand the "
                f"whole table to batch_alter_table({rebuild.table!r}, copy_from=sa.Table(…))."
            ) from error
        if _shape(self.connection, rebuild.copy) != shape:
            raise self._failed(f"The table {rebuild.table} could not be read: {statement}")

    def _compare_copy(self, rebuild: Rebuild) -> None:
        copied = _counts(self.connection, [rebuild.copy])[rebuild.copy]
        kept = _counts(self.connection, [rebuild.table])[rebuild.table]
        if copied != kept:
            raise self._failed(f"The table {rebuild.table} has {_rows(kept)}, its copy {copied}.")

    def _renamed(self, rebuild: Rebuild) -> None:
        """Compare all other tables with before, and put the triggers back."""
        rebuild.is_renamed = True
        now = _counts(self.connection)
        for name, count in rebuild.counts.items():
            if now.get(name) != count:
                raise self._failed(
                    f"The table {name} had {_rows(count)}, and has {now.get(name, 0)} since "
                    f"{rebuild.table} was rebuilt."
                )
        for name, sql in rebuild.triggers.items():
            self._again("trigger", name, sql)
        if rebuild.sequence is not None and "sqlite_sequence" in _names(self.connection):
            _continue(self.connection, rebuild.table, rebuild.sequence)

    def _close(self, rebuild: Rebuild | None) -> None:
        """Put back the indexes that Alembic could not, once it has made its own."""
        self.rebuild = None
        if rebuild is None or not rebuild.is_renamed:
            return
        now = {index.name: index for index in _indexes(self.connection, rebuild.table)}
        lower = {old.lower(): new for old, new in rebuild.names.items()}
        for index in rebuild.indexes:
            sql = tables.rename(index.sql, rebuild.names, rebuild.table)
            names = [name and lower.get(name.lower()) for name in index.names]
            found = now.get(index.name)
            if found is None and None in index.names:
                self._again("index", index.name, sql)
            elif found and found.has_lost(index, names):
                _run(self.connection, f"DROP INDEX {quote(index.name)}")
                self._again("index", index.name, sql)

    def _again(self, kind: str, name: str, sql: str) -> None:
        try:
            _run(self.connection, sql)
        except sqlite3.Error as error:
            raise self._dependent(kind, name, str(error)) from error

    def _check_foreign_keys(self) -> None:
        if self.violations is None:
            return
        known = {
            (self.renamed.get(table, table), self.renamed.get(parent, parent)): count
            for (table, parent), count in self.violations.items()
        }
        for (table, parent), count in _violations(self.connection).items():
            new = count - known.get((table, parent), 0)
            if new > 0 and table not in _names(self.connection):
                raise self._failed(f"The foreign keys cannot be checked: {parent}.")
            if new > 0:
                raise self._failed(
                    f"It would leave {_rows(new)} of {table} that refer to no row of {parent}. "
                    "Foreign keys are off while SQLite is migrated, so that no ON DELETE runs: "
                    f"change or delete these rows of {table} in the revision, before {parent}."
                )

    def _check_readers(self, broken: dict[str, str]) -> None:
        for reader, error in _broken(self.connection).items():
            if reader not in broken:
                kind, _, name = reader.partition(" ")
                raise self._dependent(kind, name, error)

    def _dependent(self, kind: str, name: str, error: str) -> RebuildFailed:
        return self._failed(
            f"The {kind} {name} does not fit the rebuilt table: {error}. Drop it before the batch, "
            f"and create it again after it: op.execute('DROP {kind.upper()} {name}')."
        )

    def _failed(self, sentence: str) -> RebuildFailed:
        return RebuildFailed(f"Revision {self.revision} was rolled back. {sentence}")


def _conversions(old: Definition, new: Definition, origin: Mapping[str, str]) -> dict[str, str]:
    """Return what fills the columns that hold dates or moments now, and did not before."""
    found: dict[str, str] = {}
    for column in new.columns:
        before, after = (_type(c) for c in (old.column(origin.get(column.name)), column))
        if before != after and after in CONVERTED:
            found[column.name] = CONVERTED[after]
    return found


def _type(column: Column | None) -> str:
    """Return the type of a column as it is declared, in capitals."""
    clauses = column.of("TYPE") if column else []
    return clauses[0].text.upper() if clauses else ""


def _is_harmless(words: list[str], statement: str) -> bool:
    """Whether a statement that begins so cannot leave a row without its parent."""
    upper = [word.upper() for word in words]
    if not upper or upper[0] in HARMLESS:
        return True
    if upper[0] == "CREATE":
        return not any(word.startswith(PREFIX) for word in words) and "AS" not in upper[:7]
    if upper[0] == "ALTER":
        return upper[3:4] == ["ADD"] and "REFERENCES" not in statement.upper()
    place = {"DELETE": 2, "INSERT": 2, "UPDATE": 1}.get(upper[0])
    return place is not None and len(words) > place and words[place].startswith(OWN)


def _remove_leftovers(connection: Connection) -> None:
    """Drop the copies that another tool has left, where their tables have all the rows.

    A copy whose table is gone, or has fewer rows, may be all that is left of them, and stays.
    """
    for copy, table in _leftovers(connection).items():
        counts = _counts(connection, [copy, table] if table else [copy])
        rows, name = _rows(counts[copy]), copy.removeprefix(PREFIX)
        if not table:
            raise RebuildFailed(
                f"An earlier migration left {copy} with {rows}, and there is no table {name}. "
                f"Look at the rows, then run this SQL: "
                f"ALTER TABLE {quote(copy)} RENAME TO {quote(name)}"
            )
        if counts[copy] > counts[table]:
            raise RebuildFailed(
                f"An earlier migration left {copy} with {rows}, and {table} has {counts[table]}. "
                f"Compare them, then run this SQL: DROP TABLE {quote(copy)}"
            )
        logger.warning("The copy %s that an earlier migration had left is removed.", copy)
        _run(connection, f"DROP TABLE {quote(copy)}")


def _leftovers(connection: Connection) -> dict[str, str]:
    """Return Alembic's copies that are there, each with the table it was made of, or nothing."""
    names = _names(connection)
    return {name: _original(name, names) for name in names if name.startswith(PREFIX)}


def _original(copy: str, names: list[str]) -> str:
    """Return the table that Alembic's *copy* was made of, or nothing when it is gone."""
    start = copy.removeprefix(PREFIX)
    cut = len(start) if len(copy) == LONGEST else None
    return next((name for name in names if start in {name, name[:cut]}), "")


def _names(connection: Connection) -> list[str]:
    """Return the names of all tables that have rows of their own."""
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
    return [name for (name,) in _all(connection, query)]


def _counts(connection: Connection, names: list[str] | None = None) -> dict[str, int]:
    """Return the number of rows of each table, by default of every one but SQLite's own."""
    every = names or [n for n in _names(connection) if not n.startswith("sqlite_")]
    counts: dict[str, int] = {}
    for start in range(0, len(every), BATCH):
        part = every[start : start + BATCH]
        selects = (
            f"SELECT {start + n}, count(*) FROM {quote(name)}" for n, name in enumerate(part)
        )
        counts |= {every[n]: c for n, c in _all(connection, " UNION ALL ".join(selects))}
    return counts


def _sql(connection: Connection, table: str) -> str:
    query = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND lower(name) = lower(?)"
    return str(_all(connection, query, table)[0][0])


def _triggers(connection: Connection, table: str) -> dict[str, str]:
    query = (
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) = lower(?)"
    )
    return dict(_all(connection, query, table))


def _indexes(connection: Connection, table: str) -> list[Index]:
    """Return the indexes of a table, without those that belong to its constraints."""
    query = (
        'SELECT i.name, s.sql, i."unique" FROM pragma_index_list(?) AS i '
        "JOIN sqlite_schema AS s ON s.type = 'index' AND s.name = i.name WHERE s.sql IS NOT NULL"
    )
    parts = "SELECT name, desc, coll FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno"
    return [
        Index(name, sql, bool(unique), tuple(_all(connection, parts, name)))
        for name, sql, unique in _all(connection, query, table)
    ]


def _sequence(connection: Connection, table: str) -> int | None:
    if "sqlite_sequence" not in _names(connection):
        return None
    rows = _all(connection, "SELECT seq FROM sqlite_sequence WHERE lower(name) = lower(?)", table)
    return rows[0][0] if rows else None


def _continue(connection: Connection, table: str, sequence: int) -> None:
    """Let AUTOINCREMENT give no number twice; where it is gone, there is nothing to do."""
    if "AUTOINCREMENT" in {t.upper() for t in tables.significant(_sql(connection, table))}:
        _all(connection, "DELETE FROM sqlite_sequence WHERE lower(name) = lower(?)", table)
        _all(connection, "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", table, sequence)


def _shape(connection: Connection, table: str) -> list[Any]:
    """Return what has to be equal in both ways of making the copy."""
    query = 'SELECT name, "notnull", pk, hidden FROM pragma_table_xinfo(?)'
    return _all(connection, query, table)


def _reflected(connection: Connection, table: str) -> str:
    """Return the CREATE TABLE that Alembic would write for *table* as it is.

    It leaves out the CHECKs without a name, which SQLAlchemy before 2.1 reads wrongly, too.
    """
    from alembic.migration import MigrationContext
    from sqlalchemy import CheckConstraint, MetaData, Table
    from sqlalchemy.schema import CreateTable

    listen = MigrationContext.configure(connection).impl.autogen_column_reflect
    found = Table(
        table, MetaData(), autoload_with=connection, listeners=[("column_reflect", listen)]
    )
    unnamed = {c for c in found.constraints if isinstance(c, CheckConstraint) and c.name is None}
    found.constraints -= unnamed
    return str(CreateTable(found).compile(dialect=connection.dialect))


def _violations(connection: Connection) -> dict[tuple[str, str], int]:
    """Return how many rows of a table have no parent in another.

    A foreign key that SQLite cannot even check is one, too, under an empty name of the table.
    """
    query = 'SELECT "table", parent, count(*) FROM pragma_foreign_key_check{} GROUP BY 1, 2'
    try:
        return {(table, parent): n for table, parent, n in _all(connection, query.format(""))}
    except sqlite3.Error:
        found: dict[tuple[str, str], int] = {}
    for name in _names(connection):
        try:
            found |= {(t, p): n for t, p, n in _all(connection, query.format("(?)"), name)}
        except sqlite3.Error as error:
            found["", str(error)] = 1
    return found


def _broken(connection: Connection) -> dict[str, str]:
    """Return the views and triggers that SQLite cannot compile, with its reason."""
    query = "SELECT type, name, tbl_name FROM sqlite_schema WHERE type IN ('view', 'trigger')"
    found: dict[str, str] = {}
    readers = _all(connection, query)
    views = {name for kind, name, _ in readers if kind == "view"}
    for kind, name, table in readers:
        if kind == "trigger" and table in views:
            continue
        try:
            for statement in _uses(connection, kind, table):
                _all(connection, f"EXPLAIN {statement}")
        except sqlite3.Error as error:
            found[f"{kind} {name}"] = str(error)
    return found


def _uses(connection: Connection, kind: str, table: str) -> list[str]:
    """Return statements that make SQLite compile the views or triggers of *table*."""
    name = quote(table)
    if kind == "view":
        return [f"SELECT * FROM {name}"]
    columns = [quote(column) for column, _, _, hidden in _shape(connection, table) if not hidden]
    sets = ", ".join(f"{column} = {column}" for column in columns)
    return [
        f"INSERT INTO {name} DEFAULT VALUES",
        f"UPDATE {name} SET {sets}",
        f"DELETE FROM {name}",
    ]


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _all(connection: Connection, query: str, *parameters: Any) -> list[Any]:
    """Ask the driver itself: no event, no log and no transaction of SQLAlchemy's comes of it."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def _value(connection: Connection, query: str) -> Any:
    return _all(connection, query)[0][0]


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        _all(connection, statement)
