"""Tell what in the models means something else, or fails, on a backend: from the models alone.

What is common is here; what a backend refuses is in :class:`rxdb.dialect.Rules`. No server and no
driver is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    make_url,
)
from sqlalchemy.exc import CompileError, IdentifierError, NoReferenceError
from sqlalchemy.orm import mapperlib
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlmodel import SQLModel

from rxdb import config, registry
from rxdb.config import DBConfig
from rxdb.dialect import Feature, Rules
from rxdb.errors import BadArgument, suggest
from rxdb.model import ModelRegistry

if TYPE_CHECKING:
    from sqlalchemy import URL, MetaData

    from rxdb.dialect import Dialect

CODES = {
    "cannot-create": "SQLAlchemy refuses to write the CREATE TABLE.",
    "case-insensitive-key": "`Bob` and `bob` are one value of a unique key.",
    "checked-column": "A CHECK names a column that the server changes: CREATE TABLE is refused.",
    "collation": "The collation is another backend's: CREATE TABLE is refused.",
    "computed-not-null": "A computed column cannot be NOT NULL: CREATE TABLE is refused.",
    "deferrable": "A constraint cannot wait until COMMIT: CREATE TABLE is refused.",
    "enum-name-twice": "Two enums have one name and different members; the type that was created "
    "first refuses the other's.",
    "expression-index": "An index can hold columns only: CREATE is refused.",
    "foreign-key-target": "A foreign key refers to what is not there or not unique: CREATE TABLE "
    "is refused, or each write.",
    "foreign-key-type": "A column and the one that it refers to cannot be compared: CREATE TABLE "
    "is refused.",
    "key-too-long": "An index or a key has more bytes than fit: CREATE is refused, or a long "
    "value.",
    "naive-datetime": "A datetime comes back without its time zone, as another moment.",
    "name-taken": "The server keeps the name for itself: CREATE TABLE is refused.",
    "name-too-long": "A name is refused, or cut and then not found.",
    "name-twice": "Two things have one name: the second CREATE is refused.",
    "no-length": "A text has no length where one is needed: CREATE TABLE is refused.",
    "no-microseconds": "The fraction of a second is rounded away.",
    "no-schema": "There are no schemas: CREATE TABLE is refused.",
    "partial-index": "A unique index loses its condition, and refuses rows that others take.",
    "row-too-long": "The texts of a row have more bytes than a row: CREATE TABLE is refused.",
    "server-default": "The default is in another backend's words: CREATE TABLE is refused, or the "
    "row that needs it.",
    "set-default": "ON DELETE SET DEFAULT does nothing: the parent cannot be deleted.",
    "set-null": "A foreign key sets NULL where the column refuses it: the parent cannot be "
    "deleted.",
    "sql-words": "A CHECK or a computed column is in another backend's words.",
    "text-key": "The type cannot be part of an index or a key: CREATE is refused.",
    "type-too-large": "A number or a text is larger than the type can be: CREATE TABLE is refused.",
    "unknown-type": "The type is another backend's: CREATE TABLE is refused.",
    "unnamed-constraint": "A constraint has no name, or one of the server's own: no migration that "
    "runs everywhere can drop it.",
    "unnamed-enum": "An enum has no name where it is a type of its own: CREATE TABLE is refused.",
    "year-2038": "The type ends on 2038-01-19: later times are refused.",
}
"""Each code, and what it says."""

ALLOW = "rxdb_allow"
"""The key of ``info`` under which a column, an index, a constraint or a table lists the codes that
are meant there."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing in the models that is not the same on every target."""

    code: str
    """What kind of thing, such as ``key-too-long``."""

    model: str
    """The class, or the table where there is none."""

    table: str
    """The table, with its schema."""

    part: str
    """The column, index or constraint; empty for the table itself."""

    targets: tuple[str, ...]
    """The backends, by their names."""

    problem: str
    """What would happen there."""

    fix: str
    """The line to write instead."""

    def __str__(self) -> str:
        """Tell all of it in lines."""
        where = f"{self.model}.{self.part}" if self.part else self.model
        titles = ", ".join(registry.get(name).title for name in self.targets)
        return f"{where}: {self.code} on {titles}\n  {self.problem}\n  Write: {self.fix}"


def check_models(
    targets: Sequence[str | URL | DBConfig] | None = None,
    metadata: MetaData | Iterable[MetaData] | None = None,
) -> list[Finding]:
    """Return what in the models would fail, or mean something else, on one of the *targets*.

    *targets* are names of backends, such as ``"postgresql"``, or URLs, of which the backend counts;
    without any they are ``Config.targets``, or else the backend of the configured database.
    *metadata* holds the tables; without it they are those of :class:`rxdb.ModelRegistry`. Nothing
    is connected to, and no driver is needed.

    A finding that is meant is left out: ``info={"rxdb_allow": ["naive-datetime"]}`` of a column, an
    index, a constraint or a table.

    Raises :class:`rxdb.errors.UnknownDialect` for an unknown target, and
    :class:`rxdb.errors.BadArgument` for a code in ``rxdb_allow`` that there is not.
    """
    wanted = (config.get_config().targets if targets is None else targets) or _configured()
    found = ModelRegistry.get_metadata() if metadata is None else metadata
    known = (found,) if isinstance(found, sa.MetaData) else tuple(found)
    tables = [table for one in known for table in one.tables.values()]
    models = _models()
    merged: dict[tuple[str, ...], list[str]] = {}
    for dialect in dialects(wanted):
        place = Place(dialect, models)
        of_one = (p for table in tables for rule in OF_ONE for p in rule(table, place))
        of_all = (p for rule in OF_ALL for p in rule(tables, place))
        for problem in (*of_one, *of_all):
            if problem.code not in _allowed(problem.item):
                merged.setdefault(_key(problem, models), []).append(dialect.name)
    keys = sorted(merged, key=lambda key: key[1:4])
    return [
        Finding(
            code=code, model=model, table=table, part=part,
            targets=tuple(merged[code, model, table, part, problem, fix]), problem=problem, fix=fix,
        )
        for code, model, table, part, problem, fix in keys
    ]  # fmt: skip


def _configured() -> tuple[Any, ...]:
    return (config.database().url,)


def dialects(targets: Iterable[str | URL | DBConfig]) -> list[Dialect]:
    """Return each backend that is meant, once."""
    return list({dialect.name: dialect for dialect in map(_dialect, targets)}.values())


def _dialect(wanted: str | URL | DBConfig) -> Dialect:
    if isinstance(wanted, str) and "://" not in wanted:
        return registry.get(wanted)
    url = wanted.url() if isinstance(wanted, DBConfig) else make_url(wanted)
    return registry.get(url.get_backend_name())


def _models() -> dict[Table, type]:
    """Return the class of each table that has one."""
    found: dict[Table, type] = {}
    for known in list(mapperlib._all_registries()):  # noqa: SLF001 - SQLAlchemy lists them nowhere else
        for mapper in known.mappers:
            if isinstance(mapper.local_table, Table) and not mapper.single:
                found.setdefault(mapper.local_table, mapper.class_)
    return found


class Problem(NamedTuple):
    """What a rule found on one backend."""

    code: str
    item: Any
    """The table, column, index or constraint."""
    problem: str
    fix: str


def _key(found: Problem, models: dict[Table, type]) -> tuple[str, str, str, str, str, str]:
    table = _table(found.item)
    model = models[table].__name__ if table in models else table.name
    return (found.code, model, table.fullname, _part(found.item), found.problem, found.fix)


def _table(item: Any) -> Table:
    table: Table = item if isinstance(item, Table) else item.table
    return table


def _part(item: Any) -> str:
    if isinstance(item, Table):
        return ""
    if item.name:
        return str(item.name)
    columns = [c.name for c in item.columns]
    return ", ".join(columns) or str(getattr(item, "sqltext", ""))


def _allowed(item: Any) -> set[str]:
    """Return the codes that are meant here, on the columns of an index too."""
    items = [item, _table(item)]
    if isinstance(item, Index | sa.Constraint):
        items += list(getattr(item, "columns", ()))
    found = {code for one in items for code in getattr(one, "info", {}).get(ALLOW, ())}
    for code in found - CODES.keys():
        raise BadArgument(f"There is no finding {code!r} to allow. {suggest(code, CODES)}")
    return found


class Place:
    """One backend: its rules, and SQLAlchemy's words for it."""

    def __init__(self, dialect: Dialect, models: dict[Table, type]) -> None:
        self.dialect = dialect
        self.rules = dialect.rules or Rules()
        self.models = models
        url = make_url(f"{dialect.name}://")
        kind: Any = url.get_dialect()
        self.sql = kind()
        dialect.keep_meaning(self.sql, url)
        self.sql.server_version_info = (*dialect.oldest, 99)
        self._types: dict[int, str] = {}

    @cached_property
    def ddl(self) -> Any:
        """What writes the definitions of columns."""
        return self.sql.ddl_compiler(self.sql, None)

    def type(self, column: Column[Any]) -> str:
        """Return the type as it is written there; empty where it cannot be."""
        if id(column) not in self._types:
            try:
                text = self.sql.type_compiler_instance.process(column.type, type_expression=column)
            except CompileError:
                text = ""
            self._types[id(column)] = str(text)
        return self._types[id(column)]

    def write(self, element: Any) -> str:
        """Return an expression as it is written there; empty where it cannot be."""
        try:
            return str(element.compile(dialect=self.sql, compile_kwargs={"literal_binds": True}))
        except CompileError:
            return ""

    def makes(self, item: Any) -> bool:
        """Whether a constraint or an index is created there: ``ddl_if`` may say no, and a type that
        the backend has needs no CHECK."""
        condition = item._ddl_if  # noqa: SLF001 - SQLAlchemy tells it nowhere else
        rule = getattr(item, "_create_rule", None)
        return (rule is None or rule(self.ddl)) and (
            condition is None or condition._should_execute(item, item, None, self.ddl)  # noqa: SLF001 - the same
        )

    def declare(self, column: Column[Any], words: str) -> str:
        """Return how the column is declared with a type, or with other arguments."""
        model = self.models.get(column.table)
        if model is None:
            return f'Column("{column.name}", {words})'
        if issubclass(model, SQLModel):
            given = words if "=" in words.partition("(")[0] else f"sa_type={words}"
            return f"{column.key} = rx.Field({given})"
        return f"{column.key} = mapped_column({words})"


def _matches(pattern: str, text: str) -> bool:
    return bool(pattern) and re.fullmatch(pattern, text, re.IGNORECASE | re.DOTALL) is not None


# Names


KINDS = {
    CheckConstraint: "check",
    ForeignKeyConstraint: "foreign key",
    PrimaryKeyConstraint: "primary key",
    UniqueConstraint: "unique",
}


def _named(table: Table) -> Iterator[tuple[str, Any, str]]:
    """Yield each kind, thing and name of a table."""
    yield "table", table, table.name
    for column in table.columns:
        yield "column", column, column.name
    for index in table.indexes:
        if index.name:
            yield "index", index, str(index.name)
    for constraint in table.constraints:
        if type(constraint) in KINDS and isinstance(constraint.name, str):
            yield KINDS[type(constraint)], constraint, str(constraint.name)


def names(table: Table, place: Place) -> Iterator[Problem]:
    """Find names that are too long, or taken."""
    rules = place.rules
    for kind, item, name in _named(table):
        if _matches(rules.taken_names.get(kind, ""), name):
            problem = f"The server keeps the name {name} for itself: CREATE TABLE is refused."
            yield Problem("name-taken", item, problem, _renamed(kind, f"{name}_"))
        size = len(name.encode()) if rules.names_in_bytes else len(name)
        if kind == "primary key" or rules.longest_name is None or size <= rules.longest_name:
            continue
        unit = "bytes" if rules.names_in_bytes else "letters"
        short = name.encode()[: rules.longest_name - 10].decode(errors="ignore").rstrip("_")
        problem = (
            f"The name of the {kind} {name} has {size} {unit}, and {rules.longest_name} fit: "
            f"{_consequence(kind, item, name, place)}."
        )
        yield Problem("name-too-long", item, problem, _renamed(kind, short))


def _consequence(kind: str, item: Any, name: str, place: Place) -> str:
    preparer = place.sql.identifier_preparer
    try:
        if kind == "table":
            place.sql.validate_identifier(name)
        if kind not in {"table", "column"}:
            write = preparer.format_index if kind == "index" else preparer.format_constraint
            if (written := str(write(item))) != preparer.quote(name):
                return f"it is {written} there, and has another name than on other backends"
    except IdentifierError:
        return "CREATE is refused"
    return (
        "it is cut there, and then not found by this name"
        if place.rules.cuts_names
        else "CREATE is refused"
    )


def _renamed(kind: str, name: str) -> str:
    words = {
        "table": f'__tablename__ = "{name}"',
        "column": f'sa_column_kwargs={{"name": "{name}"}}',
        "index": f'Index("{name}", …)',
        "unique": f'UniqueConstraint(…, name="{name}")',
        "check": f'CheckConstraint(…, name="{name}")',
        "foreign key": f'ForeignKeyConstraint(…, name="{name}")',
        "primary key": f'PrimaryKeyConstraint(…, name="{name}")',
    }
    return words[kind]


def names_twice(tables: Sequence[Table], place: Place) -> Iterator[Problem]:
    """Find names that are one name there: by kind, by case, or after they were cut."""
    rules = place.rules
    seen: dict[tuple[Any, ...], tuple[str, Any, str]] = {}
    for table in tables:
        for kind, item, name in _named(table):
            text = name.encode()[: rules.longest_name] if rules.cuts_names else name.encode()
            folded = text.decode(errors="ignore").casefold() if kind in rules.case_blind else text
            lists = [
                *((kinds, table.schema) for kinds in rules.one_name if kind in kinds),
                *((kinds, table) for kinds in rules.one_name_in_table if kind in kinds),
            ]
            for names in lists:
                key = (
                    *names,
                    folded if isinstance(folded, str) else folded.decode(errors="ignore"),
                )
                if (other := seen.setdefault(key, (kind, item, name)))[1] is not item:
                    known = _table(other[1])
                    where = f" of {known.name}" if other[0] != "table" else ""
                    problem = (
                        f"The {kind} {name} has the name of the {other[0]} {other[2]}{where}: "
                        f"the second CREATE is refused."
                    )
                    fix = _renamed(kind, f"{name}_2" if table is known else f"{table.name}_{name}")
                    yield Problem("name-twice", item, problem, fix)
                    break


def unnamed(table: Table, place: Place) -> Iterator[Problem]:
    """Find constraints without a name."""
    for constraint in table.constraints:
        if not place.makes(constraint):
            continue
        kind = KINDS.get(type(constraint))
        if kind in {"check", "foreign key", "unique"} and not isinstance(constraint.name, str):
            problem = (
                f"The {kind} constraint has no name, or one of the server's own, which differs: "
                f"no migration that runs everywhere can drop it."
            )
            columns = "_".join(c.name for c in getattr(constraint, "columns", ()))
            short = {"check": "ck", "foreign key": "fk", "unique": "uq"}[kind]
            name = "_".join(filter(None, (short, table.name, columns)))
            yield Problem("unnamed-constraint", constraint, problem, f'name="{name}"')


# Types


def types(table: Table, place: Place) -> Iterator[Problem]:
    """Find types that there are not, or that hold less."""
    for column in table.columns:
        text = place.type(column)
        if not text:
            yield _not_written(column, place)
        elif _matches(place.rules.missing_types, text):
            problem = f"There is no type {text}: CREATE TABLE is refused."
            yield Problem("unknown-type", column, problem, place.declare(column, _like(column)))
        else:
            yield from _smaller(column, text, place)


def _not_written(column: Column[Any], place: Place) -> Problem:
    kind = _plain(column)
    if isinstance(kind, sa.Enum) and not kind.name:
        words = f'Enum(…, name="{column.table.name}_{column.name}")'
        problem = "An enum is a type of its own there and needs a name: CREATE TABLE is refused."
        return Problem("unnamed-enum", column, problem, place.declare(column, words))
    if (
        isinstance(kind, sa.String)
        and not kind.length
        and type(kind).__name__ in {"String", "VARCHAR"}
    ):
        problem = "A VARCHAR needs a length there: CREATE TABLE is refused."
        return Problem("no-length", column, problem, place.declare(column, "String(255)"))
    problem = f"There is no type {type(kind).__name__}: CREATE TABLE is refused."
    return Problem("unknown-type", column, problem, place.declare(column, _like(column)))


def _plain(column: Column[Any]) -> Any:
    kind: Any = column.type
    while isinstance(kind, sa.TypeDecorator):
        kind = kind.impl_instance
    return kind


def _like(column: Column[Any]) -> str:
    """Return the type that every backend has for such values."""
    kind = _plain(column)
    known = (
        (sa.ARRAY | sa.JSON, "rx.JSON"),
        (sa.DateTime, "rx.UTCDateTime()"),
        (sa.Uuid, "Uuid()"),
        (sa.Interval, "Interval()"),
        (sa.LargeBinary | sa.BINARY | sa.VARBINARY, "LargeBinary()"),
        (sa.Integer, "Integer()"),
        (sa.Text, "rx.Text()"),
    )
    for types, words in known:
        if isinstance(kind, types):
            return words
    length = getattr(kind, "length", None)
    return f"String({length})" if isinstance(length, int) else "rx.Text()"


def _smaller(column: Column[Any], text: str, place: Place) -> Iterator[Problem]:
    rules, kind = place.rules, _plain(column)
    if _matches(rules.coarse_time, text):
        problem = f"{text} keeps no microseconds: 12:00:00.123456 is rounded."
        words = "Time()" if "TIME" in text and "DATE" not in text and "STAMP" not in text else ""
        words = words or "rx.UTCDateTime()"
        yield Problem("no-microseconds", column, problem, place.declare(column, words))
    if _matches(rules.until_2038, text):
        problem = f"{text} ends on 2038-01-19: later times are refused."
        yield Problem("year-2038", column, problem, place.declare(column, "rx.UTCDateTime()"))
    if isinstance(kind, sa.Numeric) and rules.widest_number and kind.precision:
        digits, places = rules.widest_number
        scale = getattr(kind, "scale", None) or 0
        if not isinstance(kind, sa.Float) and (kind.precision > digits or scale > places):
            problem = (
                f"A number has at most {digits} digits there, {places} of them after the point: "
                f"CREATE TABLE is refused."
            )
            words = f"Numeric({min(kind.precision, digits)}, {min(scale, places)})"
            yield Problem("type-too-large", column, problem, place.declare(column, words))
    if text.upper().startswith("CHAR(") and rules.longest_char:
        length = getattr(kind, "length", None) or 0
        if length > rules.longest_char:
            problem = f"A CHAR has at most {rules.longest_char} letters: CREATE TABLE is refused."
            yield Problem(
                "type-too-large", column, problem, place.declare(column, f"String({length})")
            )


def datetimes(table: Table, place: Place) -> Iterator[Problem]:
    """Find datetimes without a time zone; a TypeDecorator is trusted to care for it."""
    for column in table.columns:
        kind = column.type
        if isinstance(kind, sa.DateTime) and not (kind.timezone and place.rules.keeps_time_zone):
            problem = (
                "12:00+02:00 comes back without its time zone, as 12:00 on one backend and as "
                "10:00 on another."
            )
            fix = place.declare(column, "rx.UTCDateTime()")
            yield Problem("naive-datetime", column, problem, fix)


def enums(tables: Sequence[Table], place: Place) -> Iterator[Problem]:
    """Find enums that are one type there."""
    if place.dialect.create_enum is None:
        return
    seen: dict[tuple[str | None, str], tuple[list[str], Column[Any]]] = {}
    for table in tables:
        for column in table.columns:
            kind = _plain(column)
            if not (isinstance(kind, sa.Enum) and kind.native_enum and kind.name):
                continue
            key = (kind.schema or table.schema, kind.name)
            members, other = seen.setdefault(key, (list(kind.enums), column))
            if members != list(kind.enums):
                problem = (
                    f"The enum is the type {kind.name} there, as {other.table.name}.{other.name} "
                    f"is, which has other members: it refuses {kind.enums[-1]!r}."
                )
                words = f'Enum(…, name="{table.name}_{column.name}")'
                yield Problem("enum-name-twice", column, problem, place.declare(column, words))


def collations(table: Table, place: Place) -> Iterator[Problem]:
    """Find collations of another backend, and unique texts that ignore case."""
    rules = place.rules
    for column in table.columns:
        said = getattr(_plain(column), "collation", None)
        if said and rules.collations and not _matches(rules.collations, said):
            problem = f"There is no collation {said}: CREATE TABLE is refused."
            length = getattr(_plain(column), "length", None) or 255
            words = f"String({length})"
            yield Problem("collation", column, problem, place.declare(column, words))
    for kind, item, columns in _keys(table):
        if kind == "index":
            continue
        for column in columns:
            is_text = isinstance(_plain(column), sa.String) and not isinstance(
                _plain(column), sa.Enum
            )
            if is_text and rules.ignores_case(column, place.sql.name):
                problem = (
                    f"Bob and bob are one value of {column.name} there: the second is refused as a "
                    f"duplicate."
                )
                length = getattr(_plain(column), "length", None) or 255
                fix = (
                    f"{place.declare(column, f'String({length})')}  # without collation and charset"
                )
                yield Problem("case-insensitive-key", item, problem, fix)


# Keys


def _keys(table: Table) -> Iterator[tuple[str, Any, list[Column[Any]]]]:
    """Yield each kind of key, the key and its columns."""
    if table.primary_key.columns:
        yield "primary key", table.primary_key, list(table.primary_key.columns)
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield "unique", constraint, list(constraint.columns)
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        yield "unique" if index.unique else "index", index, list(index.columns)


def keys(table: Table, place: Place) -> Iterator[Problem]:
    """Find keys that the backend cannot hold."""
    rules = place.rules
    for kind, item, columns in _keys(table):
        if isinstance(item, Index) and _is_special(item, place):
            continue
        lengths = _prefixes(item, place)
        cannot = rules.no_key.get(kind, "")
        if refused := [
            c for c in columns if _matches(cannot, place.type(c)) and c.name not in lengths
        ]:
            for column in refused:
                problem = f"{place.type(column)} cannot be part of a key: CREATE is refused."
                yield Problem("text-key", item, problem, place.declare(column, "String(255)"))
            continue
        most = rules.longest_key.get(kind)
        if most is None:
            continue
        sizes = {c.name: _bytes(c, place, lengths.get(c.name)) for c in columns}
        cut = kind in rules.cuts_keys
        total = sum(min(size, most) if cut else size for size in sizes.values())
        if total > most:
            where = "a long value" if rules.letter == 1 else "CREATE"
            problem = f"The key can have {total} bytes, and {most} fit: {where} is refused."
            widest = max(columns, key=lambda c: sizes[c.name])
            rest = total - (min(sizes[widest.name], most) if cut else sizes[widest.name])
            fitting = max((most - rest) // rules.letter, 0)
            length = fitting or most // rules.letter // len(columns)
            yield Problem("key-too-long", item, problem, place.declare(widest, f"String({length})"))


def _is_special(index: Index, place: Place) -> bool:
    """Whether an index is of another kind than a tree of whole values."""
    options = index.kwargs
    using = next((str(v) for k, v in options.items() if k.endswith("_using") and v), "")
    prefix = any(k.endswith("_prefix") and v for k, v in options.items())
    return using.lower() not in {"", "btree"} or prefix


def _prefixes(item: Any, place: Place) -> dict[str, int]:
    """Return how many letters of a column an index keeps, where it says so."""
    said: Any = item.kwargs.get(f"{place.sql.name}_length") if isinstance(item, Index) else None
    if isinstance(said, int):
        return {c.name: said for c in item.columns}
    return dict(said or {})


def _bytes(column: Column[Any], place: Place, prefix: int | None = None) -> int:
    """Return how many bytes a column has in a key at most; of one without a limit, none."""
    kind, text = _plain(column), place.type(column)
    if isinstance(kind, sa.Enum) or not isinstance(kind, sa.String | sa.BINARY | sa.VARBINARY):
        return 0 if place.rules.letter == 1 else 4
    if said := re.search(r"\((\d+)\)", text):
        length = prefix or int(said[1])
        return length * (place.rules.letter if isinstance(kind, sa.String) else 1)
    if not re.search("TEXT|BLOB", text, re.IGNORECASE):
        return place.rules.letter
    return (prefix or 10**6) * place.rules.letter if prefix or place.rules.cuts_keys else 0


def rows(table: Table, place: Place) -> Iterator[Problem]:
    """Find rows that are longer than one may be."""
    most = place.rules.longest_row
    if most is None:
        return
    sizes = [
        size + (2 if size > 255 else 1)  # noqa: PLR2004 - the bytes in which its length is kept
        for column in table.columns
        if re.match("(VAR)?(CHAR|BINARY)", place.type(column), re.IGNORECASE)
        and (size := _bytes(column, place))
    ]
    if sum(sizes) > most:
        problem = (
            f"The texts of a row have {sum(sizes)} bytes, and {most} fit: CREATE TABLE is refused."
        )
        widest = max(table.columns, key=lambda c: _bytes(c, place))
        yield Problem("row-too-long", table, problem, place.declare(widest, "rx.Text()"))


def indexes(table: Table, place: Place) -> Iterator[Problem]:
    """Find indexes of expressions, and unique ones that lose their condition."""
    for index in filter(place.makes, table.indexes):
        if not (place.rules.indexes_expressions or all(map(_is_column, index.expressions))):
            problem = "An index holds columns there, and no expressions: CREATE is refused."
            fix = "Index(…)  # of a column with sa.Computed(…)"
            yield Problem("expression-index", index, problem, fix)
        conditions = [k for k, v in index.kwargs.items() if k.endswith("_where") and v is not None]
        if not (index.unique and conditions):
            continue
        if " WHERE " not in place.write(CreateIndex(index)).upper():
            problem = (
                "The index has no condition there: it refuses a second row with the same values "
                "that the condition leaves out."
            )
            where = f"{place.sql.name}_where"
            fix = (
                f"Index(…, {where}=…)"
                if where in _options_of_where(place)
                else f"{_named_key(index)}  # and check the condition in the application"
            )
            yield Problem("partial-index", index, problem, fix)


def _is_column(expression: Any) -> bool:
    while isinstance(expression, sa.UnaryExpression):  # such as DESC
        expression = expression.element
    return isinstance(expression, Column)


def _options_of_where(place: Place) -> set[str]:
    arguments: Any = dict(getattr(place.sql, "construct_arguments", None) or ()).get(Index, {})
    return {f"{place.sql.name}_where"} if "where" in arguments else set()


def _named_key(index: Index) -> str:
    columns = ", ".join(f'"{column.name}"' for column in index.columns)
    return f'Index("{index.name}", {columns})'


def deferred(table: Table, place: Place) -> Iterator[Problem]:
    """Find unique constraints that cannot wait."""
    for constraint in table.constraints:
        said = constraint.deferrable or constraint.initially
        if isinstance(constraint, UniqueConstraint) and said and not place.rules.defers_unique:
            problem = "A unique constraint cannot wait until COMMIT there: CREATE TABLE is refused."
            fix = "UniqueConstraint(…)  # without deferrable and initially"
            yield Problem("deferrable", constraint, problem, fix)


# Foreign keys


def foreign_keys(table: Table, place: Place) -> Iterator[Problem]:
    """Find foreign keys that cannot be made, or whose action cannot happen."""
    if Feature.FOREIGN_KEYS not in place.dialect.features:
        return
    for constraint in sorted(table.foreign_key_constraints, key=lambda c: str(c.name)):
        columns = [element.parent for element in constraint.elements]
        yield from _actions(constraint, columns, place)
        if (constraint.deferrable or constraint.initially) and not place.rules.defers:
            problem = "A foreign key cannot wait until COMMIT there: CREATE TABLE is refused."
            fix = "ForeignKey(…)  # without deferrable and initially"
            yield Problem("deferrable", constraint, problem, fix)
        try:
            parents = [element.column for element in constraint.elements]
        except NoReferenceError:
            target = constraint.elements[0].target_fullname
            problem = f"There is no {target}: no table is created."
            fix = f"import the module with {target.rpartition('.')[0]}, or correct the name"
            yield Problem("foreign-key-target", constraint, problem, fix)
            continue
        yield from _compared(constraint, columns, parents, place)
        unique = [
            {c.name for c in key} for kind, _, key in _keys(parents[0].table) if kind != "index"
        ]
        if {c.name for c in parents} not in unique:
            names = ", ".join(c.name for c in parents)
            problem = f"{parents[0].table.name}.{names} is not unique: the foreign key is refused."
            fix = place.declare(parents[0], "unique=True")
            yield Problem("foreign-key-target", constraint, problem, fix)


def _actions(
    constraint: ForeignKeyConstraint, columns: list[Any], place: Place
) -> Iterator[Problem]:
    said = {(constraint.ondelete or "").upper(), (constraint.onupdate or "").upper()}
    if "SET NULL" in said:
        for column in columns:
            if not column.nullable:
                problem = (
                    f"SET NULL is refused by {column.name}, which is NOT NULL: CREATE TABLE is "
                    f"refused, or to delete the parent."
                )
                fix = place.declare(column, "nullable=True")
                yield Problem("set-null", constraint, problem, fix)
    for action in sorted(said & place.rules.ignored_actions):
        problem = f"{action} does nothing there: a parent that has children cannot be deleted."
        yield Problem("set-default", constraint, problem, 'ForeignKey(…, ondelete="SET NULL")')


def _compared(
    constraint: ForeignKeyConstraint, columns: list[Any], parents: list[Any], place: Place
) -> Iterator[Problem]:
    for column, parent in zip(columns, parents, strict=True):
        first, second = place.type(column), place.type(parent)
        if first and second and not place.rules.refers(first, second):
            problem = (
                f"{column.name} is {first}, and {parent.table.name}.{parent.name} is {second}: the "
                f"foreign key is refused."
            )
            fix = place.declare(column, repr(parent.type))
            yield Problem("foreign-key-type", constraint, problem, fix)


# Words of SQL


LITERAL = re.compile(r"'(?:[^']|'')*'")
CALL = re.compile(r"([a-z_]\w*)\s*\(", re.IGNORECASE)


def _foreign(text: str, place: Place) -> str:
    """Return what in an expression only other backends understand."""
    if place.dialect.rules is None:
        return ""
    bare = LITERAL.sub("''", text)
    if place.rules.foreign_words:
        found = re.search(place.rules.foreign_words, bare, re.IGNORECASE)
        if found:
            return found[0].strip(" '")
    known = {name for d in registry.every() if d.rules for name in d.rules.functions}
    called = (name.lower() for name in CALL.findall(bare))
    return next((f"{n}()" for n in called if n in known - place.rules.functions), "")


def defaults(table: Table, place: Place) -> Iterator[Problem]:
    """Find defaults of the server in another backend's words."""
    for column in table.columns:
        try:
            text = place.ddl.get_column_default_string(column)
        except CompileError:
            continue
        if not text:
            continue
        word = _foreign(text, place)
        reason = f"{word} is not known there" if word else ""
        reason = reason or place.rules.refuses_default(_plain(column), text)
        if not reason and not _is_value(_plain(column), text):
            problem = f"{text} is no value of the column: CREATE TABLE is refused, or the row."
            fix = place.declare(column, 'sa_column_kwargs={"server_default": …}')
            yield Problem("server-default", column, problem, fix)
        if reason:
            problem = f"DEFAULT {text} is refused: {reason}."
            fix = place.declare(column, _default(_plain(column), text))
            yield Problem("server-default", column, problem, fix)


def _is_value(kind: Any, text: str) -> bool:
    """Whether a literal fits the type; of what is computed nobody knows."""
    if not LITERAL.fullmatch(text):
        return True
    value = text[1:-1].replace("''", "'")
    if isinstance(kind, sa.Enum):
        return value in kind.enums
    if isinstance(kind, sa.Integer):
        return re.fullmatch(r"\s*[+-]?\d+\s*", value) is not None
    return not (isinstance(kind, sa.String) and kind.length and len(value) > kind.length)


def _default(kind: Any, text: str) -> str:
    """Return a default that each backend takes."""
    bare = text.strip("()'").lower()
    if isinstance(kind, sa.Boolean):
        words = "sa.true()" if bare in {"1", "true", "t", "yes", "y", "on"} else "sa.false()"
    elif isinstance(kind, sa.DateTime):
        words = "sa.func.now()"
    elif literal := LITERAL.match(text):
        words = f'sa.text("({literal[0]})")'
    else:
        return "default_factory=…"
    return f'sa_column_kwargs={{"server_default": {words}}}'


def expressions(table: Table, place: Place) -> Iterator[Problem]:
    """Find CHECKs and computed columns in another backend's words."""
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint) and place.makes(constraint):
            yield from _check(constraint, place)
    for column in table.columns:
        if column.computed is not None:
            if not (column.nullable or place.rules.computes_not_null):
                problem = "A computed column cannot be NOT NULL there: CREATE TABLE is refused."
                fix = place.declare(column, "nullable=True")
                yield Problem("computed-not-null", column, problem, fix)
            word = _foreign(place.write(column.computed.sqltext), place)
            if word:
                problem = f"{word} means nothing there, or something else."
                fix = "Computed(…)  # in words of every backend"
                yield Problem("sql-words", column, problem, fix)


def _check(constraint: CheckConstraint, place: Place) -> Iterator[Problem]:
    """Find words of other backends in a CHECK, and columns that it may not name."""
    text = LITERAL.sub("''", place.write(constraint.sqltext))
    table: Table = constraint.table
    named = [c for c in table.columns if re.search(rf"(?<!\w){re.escape(c.name)}(?!\w)", text)]
    unstable = place.rules.unstable_words
    only = "CheckConstraint(…).ddl_if(dialect=[…])  # the backends that know it"
    if word := _foreign(text, place):
        problem = f"{word} means nothing there, or something else."
        yield Problem("sql-words", constraint, problem, only)
    elif unstable and (found := re.search(unstable, text, re.IGNORECASE)):
        problem = f"A CHECK cannot ask for {found[0].rstrip('( ')} there: CREATE TABLE is refused."
        yield Problem("sql-words", constraint, problem, only)
    for column in named:
        quoted = rf"\W?{re.escape(column.name)}\W?\s*(=|<>|!=)\s*[01]\b"
        is_boolean = isinstance(_plain(column), sa.Boolean) and not place.rules.truth_is_number
        if is_boolean and re.search(quoted, text):
            problem = f"{column.name} is no number there: CREATE TABLE is refused."
            yield Problem("sql-words", constraint, problem, f"CheckConstraint({column.name} IS …)")
        if reason := _changed(column, place):
            problem = f"{column.name} is changed by the server, {reason}: CREATE TABLE is refused."
            fix = "CheckConstraint(…).ddl_if(dialect=[…])  # the backends that allow it"
            yield Problem("checked-column", constraint, problem, fix)


def _changed(column: Column[Any], place: Place) -> str:
    """Return what changes a column so that no CHECK may name it there; empty where nothing does."""
    if column is column.table.autoincrement_column and not place.rules.checks_numbered_keys:
        return "which numbers it"
    keys = [key.constraint for key in column.foreign_keys]
    said = [f"ON DELETE {k.ondelete}".upper() for k in keys if k and k.ondelete]
    said += [f"ON UPDATE {k.onupdate}".upper() for k in keys if k and k.onupdate]
    return next((action for action in said if action in place.rules.unchecked_actions), "")


# The rest


def creation(table: Table, place: Place) -> Iterator[Problem]:
    """Find what SQLAlchemy itself refuses to write."""
    if table.schema and Feature.SCHEMAS not in place.dialect.features:
        problem = f"There are no schemas, and so no {table.schema}: CREATE TABLE is refused."
        yield Problem("no-schema", table, problem, f'__tablename__ = "{table.schema}_{table.name}"')
    if not all(place.type(column) for column in table.columns):
        return
    try:
        CreateTable(table).compile(dialect=place.sql)
    except (IdentifierError, NoReferenceError):
        return
    except CompileError as error:
        problem = f"{str(error).partition('(Background')[0].strip().rstrip('.')}."
        yield Problem("cannot-create", table, problem, "what the message says")


OF_ONE = (
    names,
    unnamed,
    types,
    datetimes,
    collations,
    keys,
    rows,
    indexes,
    deferred,
    foreign_keys,
    defaults,
    expressions,
    creation,
)
"""The rules that look at one table."""

OF_ALL = (names_twice, enums)
"""The rules that look at all tables together."""
