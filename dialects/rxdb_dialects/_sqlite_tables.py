"""Read SQLite's CREATE TABLE as text, and keep what SQLAlchemy's reflection does not tell.

SQLite changes most of a table only by a copy, and Alembic writes the copy's CREATE TABLE from what
SQLAlchemy reflects. Reflection passes over unnamed CHECK constraints, COLLATE, AUTOINCREMENT,
ON CONFLICT, the actions of some inline foreign keys, and unknown names of types. :func:`merge`
puts them back: whatever a revision's operations did not change stays as it was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from rxdb_dialects._sqlite_strict import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

TOKEN = re.compile(
    r"""(?P<space>(?:\s+|--[^\n]*|/\*.*?\*/)+)
    | [xX]?'(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\]
    | \d+(?:\.\d*)?(?:[eE][+-]?\d+)? | [^\W\d][\w$]* | .""",
    re.DOTALL | re.VERBOSE,
)

CLAUSES = {
    "AS",
    "CHECK",
    "COLLATE",
    "CONSTRAINT",
    "DEFAULT",
    "GENERATED",
    "NOT",
    "NULL",
    "PRIMARY",
    "REFERENCES",
    "UNIQUE",
}
"""The words that begin a clause of a column's definition."""

CONTINUES = {("ALWAYS", "AS"), ("DEFAULT", "NULL"), ("NOT", "NULL"), ("SET", "NULL")} | {
    ("SET", "DEFAULT")
}
"""Pairs of words of which the second begins no clause."""

OWN = "CHECK OF TYPE"
"""The kind of the CHECK that a column has for its type: no other CHECK changes with it."""

CONSTRAINTS = {"CHECK", "CONSTRAINT", "FOREIGN", "PRIMARY", "UNIQUE"}
"""The words that begin a constraint of the table, not a column."""


@dataclass(frozen=True)
class Clause:
    """One part of a column's definition, or one constraint of the table."""

    kind: str
    """``TYPE``, or the word it begins with, such as ``CHECK`` or ``REFERENCES``."""

    text: str
    """As it was written, without its name."""

    name: str = ""
    """What stands after CONSTRAINT."""

    written: str = field(default="", compare=False)
    """The name in the quotes it was written in."""

    columns: tuple[str, ...] = ()
    """The columns of this table that it speaks of; for a constraint of the table only."""

    def __str__(self) -> str:
        return f"CONSTRAINT {self.written} {self.text}" if self.name else self.text

    @property
    def meaning(self) -> tuple[str, ...]:
        """What is equal for two clauses that differ only in spaces, quotes and capitals."""
        return tuple(plain(piece) for piece in significant(self.text))


@dataclass(frozen=True)
class Column:
    """One column as CREATE TABLE defines it."""

    name: str
    clauses: tuple[Clause, ...]
    written: str = field(default="", compare=False)
    """The name in the quotes it was written in."""

    def of(self, kind: str) -> list[Clause]:
        return [clause for clause in self.clauses if clause.kind == kind]

    def __str__(self) -> str:
        return " ".join([self.written, *map(str, self.clauses)])


@dataclass(frozen=True)
class Definition:
    """A table as CREATE TABLE defines it."""

    columns: tuple[Column, ...]
    constraints: tuple[Clause, ...] = ()
    options: str = ""
    """What stands after the last parenthesis: ``STRICT``, ``WITHOUT ROWID``."""

    def column(self, name: str | None) -> Column | None:
        return next((c for c in self.columns if name and c.name.lower() == name.lower()), None)

    def create(self, name: str) -> str:
        """Return the statement that creates the table under *name*."""
        items = ",\n\t".join(map(str, (*self.columns, *self.constraints)))
        return f"CREATE TABLE {quote(name)} (\n\t{items}\n) {self.options}".rstrip()


def tokens(sql: str) -> list[str]:
    """Return the tokens of *sql*; spaces and comments are one space each."""
    return [" " if found["space"] else found[0] for found in TOKEN.finditer(sql)]


def significant(sql: str) -> Iterator[str]:
    """Yield the tokens of *sql* that are neither spaces nor comments."""
    return (found[0] for found in TOKEN.finditer(sql) if not found["space"])


def first(sql: str, count: int) -> list[str]:
    """Return the first tokens of *sql* without quotes, words in capitals as they are."""
    return [unquote(piece) for piece in islice(significant(sql), count)]


def unquote(piece: str) -> str:
    """Return the name that a token means."""
    if piece[:1] in {'"', "`", "'"} and len(piece) > 1:
        return piece[1:-1].replace(piece[0] * 2, piece[0])
    return piece[1:-1] if piece[:1] == "[" else piece


def quote(name: str) -> str:
    """Return *name* as SQL reads it, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def plain(piece: str) -> str:
    """Return what two spellings of a piece have in common."""
    return piece if piece[:1] in {"'", "x", "X"} and piece[-1:] == "'" else unquote(piece).lower()


def parse(sql: str) -> Definition:
    """Read a CREATE TABLE statement, as ``sqlite_schema`` keeps it."""
    every = tokens(sql)
    start = every.index("(")
    end = _closing(every, start)
    items = [_strip(item) for item in _split(every[start + 1 : end])]
    is_constraint = [item[0].upper() in CONSTRAINTS for item in items]
    columns = [_column(i) for i, other in zip(items, is_constraint, strict=True) if not other]
    constraints = [_constraint(i) for i, other in zip(items, is_constraint, strict=True) if other]
    return Definition(tuple(columns), tuple(constraints), "".join(every[end + 1 :]).strip(" ;"))


def copied_columns(insert: str) -> dict[str, str]:
    """Return where the columns of Alembic's copy come from: new name to old name.

    *insert* is its ``INSERT INTO _alembic_tmp_t (a, b) SELECT t.a, CAST(t.b AS …) FROM t``.
    """
    every = tokens(insert)
    start = every.index("(")
    end = _closing(every, start)
    new = [unquote(_strip(item)[0]) for item in _split(every[start + 1 : end])]
    words = [piece.upper() for piece in every]
    select = words.index("SELECT", end)
    source = len(words) - 1 - words[::-1].index("FROM")
    old = [_column_of(list(significant("".join(e)))) for e in _split(every[select + 1 : source])]
    return {n: o for n, o in zip(new, old, strict=True) if o}


def copying(insert: str, without: Iterable[str], expressions: Mapping[str, str]) -> str:
    """Return Alembic's INSERT … SELECT without some of the columns that it fills, and with others
    filled by an expression, in which ``{0}`` stands for what would be copied."""
    every = tokens(insert)
    start = every.index("(")
    end = _closing(every, start)
    words = [piece.upper() for piece in every]
    select = words.index("SELECT", end)
    source = len(words) - 1 - words[::-1].index("FROM")
    targets = [_strip(item) for item in _split(every[start + 1 : end])]
    values = [_strip(item) for item in _split(every[select + 1 : source])]
    filled = {
        unquote(target[0]): "".join(value) for target, value in zip(targets, values, strict=True)
    }
    kept = {name: value for name, value in filled.items() if name not in set(without)}
    into = ", ".join(map(quote, kept))
    these = ", ".join(expressions.get(name, "{0}").format(value) for name, value in kept.items())
    table = "".join(every[:start])
    return f"{table}({into}) SELECT {these} {''.join(every[source:])}"


def rename(sql: str, names: Mapping[str, str], table: str) -> str:
    """Return *sql* with the columns of *table* called by their new names.

    The columns after REFERENCES are those of another table, unless it is *table* itself.
    """
    changed = {old.lower(): new for old, new in names.items() if old != new}
    if not changed:
        return sql
    result: list[str] = []
    target, hidden = "", False  # what REFERENCES names, and whether its columns are being read
    for piece in tokens(sql):
        name = unquote(piece).lower()
        if name == "references":
            target = "?"
        elif target == "?" and piece != " ":
            target = name
        elif target and piece != " ":
            hidden = (hidden or piece == "(") and piece != ")" and target != table.lower()
            target = target if hidden else ""
        is_name = not piece.startswith("'") and not hidden and target != name
        result.append(quote(changed[name]) if is_name and name in changed else piece)
    return "".join(result)


def merge(
    old: Definition, told: Definition, new: Definition, origin: Mapping[str, str], table: str
) -> Definition:
    """Return *new*, with all that *told* had lost of *old*.

    *old* is the table as it was written, *told* the same as reflection tells it but without the
    CHECKs that have no name, and *new* is made of *told* by a revision's operations. *origin*
    leads from the new columns' names to the old.
    """
    names = {before: after for after, before in origin.items()}
    written, told = told, _renamed(told, names, table)
    old = _renamed(old, names, table)
    columns = tuple(_merged(old, told, column, column.name in origin) for column in new.columns)
    # Alembic renames no column inside a CHECK: both spellings are the constraint from before
    added = _without(new.constraints, (*told.constraints, *written.constraints))
    both = zip(told.constraints, written.constraints, strict=True)
    gone = [now for now, before in both if not _has(new, now) and not _has(new, before)]
    kept = Definition(columns, old.constraints)
    for constraint in gone:
        same = (a for a in added if a.meaning == constraint.meaning and not constraint.name)
        heir = next(same, None)  # by a naming convention, it has a name now
        kept = _replace(kept, constraint, heir)
        added = [a for a in added if a is not heir]
    kept = _drop_checks(kept, added, told, new)
    options = new.options if new.options != told.options else old.options
    return Definition(kept.columns, (*kept.constraints, *added), options)


def withhold(old: Definition, new: Definition) -> tuple[Clause, ...]:
    """Return the CHECKs of *new* that speak of a column that only *old* has.

    It was dropped or renamed. SQLite refuses such a CHECK, or takes the name for a text.
    """
    gone = {c.name.lower() for c in old.columns} - {c.name.lower() for c in new.columns}
    return tuple(c for c in new.constraints if c.kind == "CHECK" and gone.intersection(c.meaning))


def lost_checks(old: Definition, new: Definition, origin: Iterable[str]) -> list[str]:
    """Return the CHECKs that speak of a column that goes and of one that stays."""
    stay = {name.lower() for name in origin}
    every = {column.name.lower() for column in old.columns}
    unnamed = [c for c in (*_inline(old), *old.constraints) if not c.name]
    named = [c for c in new.constraints if c.name]
    checks = [c for c in (*unnamed, *named) if c.kind == "CHECK"]
    used = [(check, every.intersection(check.meaning)) for check in checks]
    return [check.text for check, columns in used if columns - stay and columns & stay]


def _has(table: Definition, clause: Clause) -> bool:
    return not _without([clause], table.constraints)


def _merged(old: Definition, told: Definition, column: Column, is_copied: bool) -> Column:
    """Take each clause from *column* where the revision changed it, and else from *old*."""
    before, plainly = old.column(column.name), told.column(column.name)
    if not is_copied or before is None or plainly is None:
        return column
    changed = {
        c.kind
        for c in (*plainly.clauses, *column.clauses)
        if _means(column, c.kind) != _means(plainly, c.kind)
    }
    kept = [c for c in before.clauses if c.kind not in changed]
    new = [c for c in column.clauses if c.kind in changed]
    clauses = sorted((*kept, *new), key=lambda clause: clause.kind != "TYPE")
    return replace(column, clauses=tuple(clauses))


def _means(column: Column, kind: str) -> list[tuple[str, ...]]:
    return [clause.meaning for clause in column.of(kind)]


def _without(some: Iterable[Clause], others: Iterable[Clause]) -> list[Clause]:
    known = {(other.name, other.meaning) for other in others}
    return [one for one in some if (one.name, one.meaning) not in known]


def _replace(table: Definition, gone: Clause, heir: Clause | None) -> Definition:
    """Take a constraint away, or name it as its heir is, wherever and however it was written."""

    def new(clause: Clause) -> list[Clause]:
        return [replace(clause, name=heir.name, written=heir.written)] if heir else []

    def is_it(clause: Clause, columns: tuple[str, ...]) -> bool:
        if gone.name:
            return clause.name == gone.name
        kinds = {"FOREIGN": {"FOREIGN", "REFERENCES"}}.get(gone.kind, {gone.kind})
        return clause.kind in kinds and columns == gone.columns

    def all_of(clauses: Iterable[Clause], columns: tuple[str, ...] | None) -> tuple[Clause, ...]:
        parts = ((c, is_it(c, c.columns if columns is None else columns)) for c in clauses)
        return tuple(n for c, is_gone in parts for n in (new(c) if is_gone else [c]))

    columns = tuple(replace(c, clauses=all_of(c.clauses, (c.name,))) for c in table.columns)
    return Definition(columns, all_of(table.constraints, None), table.options)


def _drop_checks(
    kept: Definition, added: Iterable[Clause], told: Definition, new: Definition
) -> Definition:
    """Take away the CHECKs that the revision's operations have made void.

    That is one over a column that is gone. Of those without a name, it is also one that a new
    CHECK over the same columns replaces, and ``x IN (…)`` of a column whose type changed: it
    belonged to a Boolean or an Enum.
    """
    present = {column.name.lower() for column in new.columns}
    before = {column.name.lower() for column in told.columns}
    known = present | before
    fresh = [known.intersection(c.meaning) for c in added if c.kind == "CHECK"]
    retyped = {
        c.name.lower()
        for c in new.columns
        if (t := told.column(c.name)) and _means(c, "TYPE") != _means(t, "TYPE")
    }

    def is_void(clause: Clause) -> bool:
        used = known.intersection(clause.meaning) if clause.kind == "CHECK" else set()
        if clause.name or clause.kind != "CHECK":
            return bool(used - present)
        is_choice = clause.meaning[3:4] == ("in",)  # after: check ( x
        return bool(used - present) or used in fresh or (is_choice and bool(used & retyped))

    def valid(clauses: Iterable[Clause]) -> tuple[Clause, ...]:
        return tuple(clause for clause in clauses if not is_void(clause))

    columns = tuple(replace(column, clauses=valid(column.clauses)) for column in kept.columns)
    return Definition(columns, valid(kept.constraints), kept.options)


def _renamed(table: Definition, names: Mapping[str, str], own: str) -> Definition:
    lower = {old.lower(): new for old, new in names.items()}

    def one(clause: Clause) -> Clause:
        if clause.name.startswith(PREFIX):  # its column has a new name, and so has it
            column = clause.name.removeprefix(PREFIX)
            name = PREFIX + lower.get(column.lower(), column)
            clause = replace(clause, name=name, written=quote(name))
        columns = tuple(lower.get(name.lower(), name) for name in clause.columns)
        text = clause.text if clause.kind == "TYPE" else rename(clause.text, names, own)
        return replace(clause, text=text, columns=columns)

    columns = tuple(
        replace(c, name=lower.get(c.name.lower(), c.name), clauses=tuple(map(one, c.clauses)))
        for c in table.columns
    )
    return Definition(columns, tuple(map(one, table.constraints)), table.options)


def _inline(table: Definition) -> list[Clause]:
    return [clause for column in table.columns for clause in column.clauses]


def _column(item: list[str]) -> Column:
    """Read ``name type clause clause …``."""
    starts = [0]
    depth, previous, named = 0, "", False
    rest = item[1:]
    for at, piece in enumerate(rest):
        word = piece.upper()
        depth += (piece == "(") - (piece == ")")
        if depth or piece == " ":
            continue
        following = next((t.upper() for t in rest[at + 1 :] if t != " "), "")
        begins = word in CLAUSES and (previous, word) not in CONTINUES
        if begins and (word, following) != ("NOT", "DEFERRABLE") and previous != "CONSTRAINT":
            if not named:
                starts.append(at)
            named = word == "CONSTRAINT"
        previous = word
    pieces = [_strip(rest[a:b]) for a, b in zip(starts, [*starts[1:], len(rest)], strict=True)]
    kind = Clause("TYPE", "".join(pieces[0]))
    clauses = ((kind,) if kind.text else ()) + tuple(map(_clause, pieces[1:]))
    return Column(unquote(item[0]), clauses, item[0])


def _clause(item: list[str]) -> Clause:
    """Read one clause with its name, if it has one."""
    if item[0].upper() != "CONSTRAINT":
        return Clause(item[0].upper(), "".join(item))
    named = [at for at, piece in enumerate(item) if piece != " "]
    rest = _strip(item[named[1] + 1 :])
    name = item[named[1]]
    kind = rest[0].upper() if rest else ""
    if unquote(name).startswith(PREFIX):
        kind = OWN
    return Clause(kind, "".join(rest), unquote(name), written=name)


def _constraint(item: list[str]) -> Clause:
    """Read a constraint of the table and the columns of its first parentheses."""
    clause = _clause(item)
    if clause.kind == "CHECK":
        return clause
    every = tokens(clause.text)
    start = every.index("(")
    inside = _split(every[start + 1 : _closing(every, start)])
    return replace(clause, columns=tuple(unquote(_strip(column)[0]) for column in inside))


def _column_of(expression: list[str]) -> str:
    """Return the column in ``t.a`` or ``CAST(t.a AS …) AS b``."""
    dot = expression.index(".") if "." in expression else -1
    return unquote(expression[dot + 1]) if dot > 0 else ""


def _closing(every: list[str], start: int) -> int:
    depth = 0
    for at in range(start, len(every)):
        depth += (every[at] == "(") - (every[at] == ")")
        if depth == 0:
            return at
    raise ValueError("A parenthesis is not closed.")


def _split(every: list[str]) -> list[list[str]]:
    items: list[list[str]] = [[]]
    depth = 0
    for piece in every:
        depth += (piece == "(") - (piece == ")")
        if piece == "," and depth == 0:
            items.append([])
        else:
            items[-1].append(piece)
    return items


def _strip(item: list[str]) -> list[str]:
    start = next((at for at, piece in enumerate(item) if piece != " "), len(item))
    end = next((at for at in range(len(item), start, -1) if item[at - 1] != " "), start)
    return item[start:end]
