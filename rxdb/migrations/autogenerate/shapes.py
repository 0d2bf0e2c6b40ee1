"""Tables as values that can be compared: what the server stores, without the names it does not
matter for.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Enum, Inspector, exc
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy import Table
    from sqlalchemy.engine import Dialect as SQLAlchemyDialect
    from sqlalchemy.types import TypeEngine

    from rxdb.dialect import Dialect

SEQUENCE = "<sequence>"
"""The default of a column that the database numbers."""


class Stored(NamedTuple):
    """How the server keeps a column, but for its name, its comment and whether it takes NULL."""

    type: str
    default: str | None
    generated: str = ""
    """The expression of a computed column, or what an identity column counts with."""


@dataclass(frozen=True)
class ColumnShape:
    """One column of a table."""

    stored: Stored
    nullable: bool
    comment: str | None
    raw: Mapping[str, Any] = field(compare=False, repr=False)
    """What the inspector said."""


Structure = tuple[Any, ...]
"""What an index, a constraint or a key is, without its name."""


@dataclass(frozen=True)
class Shape:
    """One table."""

    columns: Mapping[str, ColumnShape]
    key: tuple[str, ...]
    key_name: str | None = field(compare=False)
    indexes: Mapping[Structure, str | None]
    """Structure to name; a unique constraint is a unique index here, as it is for every server."""
    checks: Mapping[str, str | None]
    foreign_keys: Mapping[Structure, str | None]
    comment: str | None
    constraints: frozenset[Structure] = field(default=frozenset(), compare=False)
    """Which of the indexes the server calls a unique constraint."""

    def renamed(self, columns: Mapping[str, str], tables: Mapping[str, str]) -> Shape:
        """Return the table after columns of its own, and tables that it refers to, got new
        names."""
        if not columns and not tables:
            return self

        def new(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(columns.get(name, name) for name in names)

        keys = {
            (new(k[0]), k[1], tables.get(k[2], k[2]), *k[3:]): v
            for k, v in self.foreign_keys.items()
        }
        moved = {(new(k[0]), *k[1:]): v for k, v in self.indexes.items()}
        return replace(
            self,
            columns={columns.get(name, name): c for name, c in self.columns.items()},
            key=new(self.key),
            indexes=moved,
            foreign_keys=keys,
            constraints=frozenset((new(k[0]), *k[1:]) for k in self.constraints),
        )


class Reader:
    """Reads the shapes of tables from a database."""

    def __init__(self, dialect: Dialect, sqlalchemy_dialect: SQLAlchemyDialect) -> None:
        self.dialect = dialect
        self.sqlalchemy = sqlalchemy_dialect
        self._compile_type: Callable[..., str] = sqlalchemy_dialect.type_compiler_instance.process
        self._texts: dict[tuple[type, str], str] = {}

    def read(
        self, inspector: Inspector, schema: str | None, names: Iterable[str]
    ) -> dict[str, Shape]:
        """Return the shape of each named table, in as few queries as the backend needs."""
        wanted = list(names)
        if not wanted:
            return {}
        with warnings.catch_warnings():
            # of an index with expressions, where SQLAlchemy cannot read it
            warnings.filterwarnings("ignore", "Skipped unsupported reflection", exc.SAWarning)
            parts = {part: self._many(inspector, part, schema, wanted) for part in PARTS}
        return {
            name: self._shape({part: found.get((schema, name)) for part, found in parts.items()})
            for name in wanted
        }

    def read_one(self, inspector: Inspector, schema: str | None, name: str) -> Shape:
        """Return the shape of one table, a temporary one too."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Skipped unsupported reflection", exc.SAWarning)
            return self._shape({part: _one(inspector, part, schema, name) for part in PARTS})

    def type_text(self, type_: TypeEngine[Any]) -> str:
        """Return a type as the server writes it; a native enum with its members, in any order."""
        try:
            text = str(self._compile_type(type_))
        except Exception:  # noqa: BLE001 - a type that this backend does not have
            return repr(type_)
        enum = native_enum(type_, self.sqlalchemy)
        return f"{enum_name(text)}{sorted(enum.enums)}" if enum is not None else text

    def _many(
        self, inspector: Inspector, part: str, schema: str | None, names: list[str]
    ) -> Mapping[Any, Any]:
        try:
            found: Mapping[Any, Any] = getattr(inspector, f"get_multi_{part}")(
                schema=schema, filter_names=names
            )
        except NotImplementedError:
            return {}
        return found

    def _shape(self, parts: Mapping[str, Any]) -> Shape:
        indexes, constraints = _indexes(parts["indexes"] or (), parts["unique_constraints"] or ())
        key = parts["pk_constraint"] or {}
        if self.dialect.indexes_foreign_keys:
            for found in parts["foreign_keys"] or ():
                indexes = _without_own(indexes, found)
        return Shape(
            columns={c["name"]: self._column(c) for c in parts["columns"] or ()},
            key=tuple(key.get("constrained_columns") or ()),
            key_name=key.get("name"),
            indexes=indexes,
            constraints=constraints,
            checks={
                plain_check(check["sqltext"]): check["name"]
                for check in parts["check_constraints"] or ()
            },
            foreign_keys={
                self.foreign_key(
                    f["constrained_columns"],
                    f["referred_schema"],
                    f["referred_table"],
                    f["referred_columns"],
                    f.get("options") or {},
                ): f["name"]
                for f in parts["foreign_keys"] or ()
            },
            comment=(parts["table_comment"] or {}).get("text") or None,
        )

    def _column(self, found: Mapping[str, Any]) -> ColumnShape:
        stored = Stored(
            self.type_text(found["type"]), self.default(found.get("default")), _generated(found)
        )
        return ColumnShape(stored, found["nullable"], found.get("comment") or None, found)

    def default(self, text: str | None) -> str | None:
        """Return a default as the server writes it, without what says the type again."""
        if text is None:
            return None
        if text.startswith("nextval("):
            return SEQUENCE
        return self.dialect.plain_default(str(text))

    def foreign_key(
        self,
        columns: Iterable[str],
        schema: str | None,
        table: str,
        referred: Iterable[str],
        given: Mapping[str, Any],
    ) -> Structure:
        """Return a foreign key without its name; what is the server's default is not said."""
        usual = {"", *self.dialect.usual_actions}
        own = schema if schema != self.sqlalchemy.default_schema_name else None
        actions = [str(given.get(on) or "").upper() for on in ("ondelete", "onupdate")]
        said = tuple("" if action in usual else action for action in actions)
        initially = str(given.get("initially") or "").upper()
        when = (bool(given.get("deferrable")), "" if initially == "IMMEDIATE" else initially)
        return (tuple(columns), own, table, tuple(referred), *said, *when)


PARTS = (
    "columns",
    "pk_constraint",
    "indexes",
    "unique_constraints",
    "check_constraints",
    "foreign_keys",
    "table_comment",
)


def native_enum(type_: TypeEngine[Any], dialect: SQLAlchemyDialect) -> Enum | None:
    """Return the enum that the server itself knows as one, or None."""
    if not dialect.supports_native_enum:
        return None
    enum = find_enum(type_)
    return enum if enum is not None and enum.native_enum else None


def find_enum(type_: TypeEngine[Any]) -> Enum | None:
    """Return the enum that a type is, or that a decorated type stands on."""
    while isinstance(type_, TypeDecorator):
        type_ = type_.impl_instance
    return type_ if isinstance(type_, Enum) else None


def enum_name(text: str) -> str:
    """Return ``color`` for a type of that name, ``ENUM`` for ``ENUM('red')``."""
    return text.partition("(")[0].strip()


def plain_check(text: str) -> str:
    """Return the text of a CHECK without line breaks and parentheses around all of it."""
    plain = re.sub(r"\s+", " ", str(text)).strip()
    while plain.startswith("(") and closes(plain) == len(plain) - 1:
        plain = plain[1:-1].strip()
    return plain


def closes(text: str) -> int:
    """Return where the parenthesis closes that *text* begins with; -1 if it does not."""
    depth = 0
    quoted = ""
    for position, letter in enumerate(text):
        if quoted:
            quoted = "" if letter == quoted else quoted
        elif letter in "'\"`":
            quoted = letter
        elif letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
            if depth == 0:
                return position
    return -1


def index_structure(
    columns: Iterable[Any], *, unique: bool, options: Iterable[tuple[str, str]] = ()
) -> Structure:
    """Return an index without its name."""
    return (tuple(columns), unique, tuple(sorted(options)))


def _indexes(
    indexes: Iterable[Mapping[str, Any]], uniques: Iterable[Mapping[str, Any]]
) -> tuple[dict[Structure, str | None], frozenset[Structure]]:
    found: dict[Structure, str | None] = {}
    for index in indexes:
        if index.get("duplicates_constraint"):
            continue
        names: Iterable[Any] = index.get("expressions") or index["column_names"]
        sorting = index.get("column_sorting") or {}
        said = dict(_said(index.get("dialect_options") or {}))
        said |= {f"sort {name}": str(order) for name, order in sorting.items()}
        structure = index_structure(names, unique=bool(index["unique"]), options=said.items())
        found.setdefault(structure, index["name"])
    constraints = set()
    for unique in uniques:
        said = dict(_said(unique.get("dialect_options") or {}))
        structure = index_structure(unique["column_names"], unique=True, options=said.items())
        found.setdefault(structure, unique["name"])
        if not unique.get("duplicates_index"):
            constraints.add(structure)
    return found, frozenset(constraints)


def _without_own(
    indexes: dict[Structure, str | None], key: Mapping[str, Any]
) -> dict[Structure, str | None]:
    """Leave out the index that the server made for a foreign key: it has the constraint's name, or
    the column's where the constraint had none."""
    columns = tuple(key["constrained_columns"])
    own = {key["name"], columns[0]}
    return {
        structure: name
        for structure, name in indexes.items()
        if structure[1] or structure[0] != columns or name not in own
    }


def _said(options: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield the options that say something."""
    for name, value in options.items():
        if value is None or value is False or value == []:
            continue
        yield name, plain_check(str(value))


def _generated(found: Mapping[str, Any]) -> str:
    computed = found.get("computed")
    identity = found.get("identity")
    if computed:
        return f"computed {plain_check(computed['sqltext'])} {bool(computed.get('persisted'))}"
    return f"identity {sorted(identity.items())}" if identity else ""


def _one(inspector: Inspector, part: str, schema: str | None, name: str) -> Any:
    try:
        return getattr(inspector, f"get_{part}")(name, schema=schema)
    except (NotImplementedError, exc.NoSuchTableError):
        # SQLAlchemy says the latter of a temporary table without an index, in SQLite's schema temp
        return None


def table_key(table: Table, default_schema: str | None) -> tuple[str | None, str]:
    """Return what names a table in its database."""
    return (table.schema if table.schema != default_schema else None, table.name)
