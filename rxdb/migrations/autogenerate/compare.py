"""Find what differs between the models and a database, and the operations that make it equal."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from alembic.util import PriorityDispatchResult
from sqlalchemy import Inspector, inspect
from sqlalchemy.schema import sort_tables_and_constraints

from rxdb.dialect import Feature
from rxdb.migrations import tables as own_tables
from rxdb.migrations.autogenerate import guards
from rxdb.migrations.autogenerate.changes import TableChanges
from rxdb.migrations.autogenerate.fills import Fills
from rxdb.migrations.autogenerate.making import Maker
from rxdb.migrations.autogenerate.past import Past
from rxdb.migrations.autogenerate.renames import Renames
from rxdb.migrations.autogenerate.rendering import CreateSchemaOp, RenameTable
from rxdb.migrations.autogenerate.shapes import Reader, find_enum, native_enum, table_key
from rxdb.migrations.autogenerate.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alembic.autogenerate.api import AutogenContext
    from alembic.operations.ops import MigrateOperation, UpgradeOps
    from sqlalchemy import Table

    from rxdb.migrations.autogenerate.past import Key
    from rxdb.migrations.autogenerate.settings import Settings
    from rxdb.migrations.autogenerate.shapes import Shape


def compare(context: AutogenContext, upgrade_ops: UpgradeOps) -> PriorityDispatchResult:
    """Fill *upgrade_ops*. Alembic calls it as a plug-in, and reverses what it finds."""
    upgrade_ops.ops.extend(Comparison(context).operations())
    return PriorityDispatchResult.CONTINUE


class Comparison:
    """One comparison of the models with a database."""

    def __init__(self, context: AutogenContext) -> None:
        assert context.connection is not None
        self.context = context
        self.connection = context.connection
        self.settings: Settings = context.opts["rxdb"]
        self.wishes = self.settings.wishes
        self.dialect = self.settings.dialect
        self.reader = Reader(self.dialect, self.connection.dialect)
        self.trial = Trial(self.connection, self.reader)
        self.renames = Renames(self.wishes)
        self.fills = Fills(self.wishes)
        guards.refuse_doubles(context.opts["target_metadata"])

    @cached_property
    def past(self) -> Past:
        """What the revisions did before."""
        if self.settings.blank:
            return Past()
        return self.settings.read_past(self.context.migration_context)

    @cached_property
    def inspector(self) -> Inspector:
        return inspect(self.connection)

    @cached_property
    def default_schema(self) -> str | None:
        return self.connection.dialect.default_schema_name

    @cached_property
    def models(self) -> dict[Key, Table]:
        """The tables of the models that this comparison is about."""
        found = {}
        for table in self.context.sorted_tables:
            key = table_key(table, self.default_schema)
            if not self._is_own(key):
                found[key] = table
        return found

    def operations(self) -> list[MigrateOperation]:
        """Return what makes the database equal to the models."""
        there = set() if self.settings.blank else self._names()
        removed = self._removed(there - self.models.keys())
        added = [key for key in self.models if key not in there]
        if removed:
            kept = (self.models.keys() & there) | self._wished_tables(removed)
            guards.refuse_forgotten(self._known(), kept, removed, self.wishes)
        unchanged = self._unchanged(there)
        shapes = self._shapes([k for k in self.models if k in there - unchanged] + removed)
        moved = self.renames.tables(
            removed, added, lambda old, new: self._fits(shapes[old], self.models[new])
        )
        result: list[MigrateOperation] = [self._renamed(old, new) for old, new in moved.items()]
        names = {old[1]: new[1] for old, new in moved.items()}
        for old, new in moved.items():
            shapes[new] = shapes.pop(old)
        if names:
            shapes = {key: shape.renamed({}, names) for key, shape in shapes.items()}
        removed = [key for key in removed if key not in moved]
        added = [key for key in added if key not in moved.values()]
        back = {new: old for old, new in moved.items()}
        maker = Maker(self)
        altered = self._altered(shapes, back, maker)
        result += self._schemas(added)
        result += self._created(added, maker)
        result += altered
        result += self._dropped(removed, shapes, maker)
        self._refuse_unused(removed, added)
        return result

    def _is_own(self, key: Key) -> bool:
        context = self.context.migration_context
        return key[1] in own_tables.OWN or key == (
            context.version_table_schema,
            context.version_table,
        )

    def _names(self) -> set[Key]:
        """Return the tables that are there, in the schemas of the models."""
        schemas = {schema for schema, _ in self.models} | {None}
        if self.context.opts.get("include_schemas"):
            schemas |= {schema for schema, _ in self.past.names}
        if schemas != {None}:
            schemas = {s for s in schemas if s is None or s in self.inspector.get_schema_names()}
        return {
            (schema, name)
            for schema in schemas
            if self.context.run_name_filters(schema, "schema", {})
            for name in self.inspector.get_table_names(schema=schema)
            if not self._is_own((schema, name))
            and self.context.run_name_filters(name, "table", {"schema_name": schema})
        }

    def _removed(self, extra: set[Key]) -> list[Key]:
        """Return which tables the models no longer have: those that a revision created."""
        return sorted(extra & self.past.ever, key=str) if extra else []

    def _unchanged(self, there: set[Key]) -> set[Key]:
        """Return the tables that need no closer look."""
        if self.dialect.unchanged_tables is None or not there:
            return set()
        tables = [
            table
            for key, table in self.models.items()
            if key in there and key[0] is None and not self._needs_past(table)
        ]
        found = self.dialect.unchanged_tables(self.connection, tables)
        return {(None, name) for name in found}

    def _known(self) -> set[Key]:
        return {key for key in self.past.names if not self._is_own(key)}

    def _wished_tables(self, removed: Iterable[Key]) -> set[Key]:
        wished = self.wishes.renames
        return {key for key in removed if guards.full_name(key) in wished}

    def _shapes(self, keys: list[Key]) -> dict[Key, Shape]:
        found: dict[Key, Shape] = {}
        for schema in dict.fromkeys(key[0] for key in keys):
            names = [name for own, name in keys if own == schema]
            shapes = self.reader.read(self.inspector, schema, names)
            found |= {(schema, name): shape for name, shape in shapes.items()}
        return found

    def _fits(self, old: Shape, new: Table) -> bool:
        """Whether a table that is gone has the columns of a new one."""
        if set(old.columns) != {c.name for c in new.columns}:
            return False
        want = self.trial.ask(new).columns
        return all(want[name].stored.type == c.stored.type for name, c in old.columns.items())

    def _renamed(self, old: Key, new: Key) -> MigrateOperation:
        self.say(f"Table {guards.full_name(old)} was renamed to {new[1]}.")
        return RenameTable(old[1], new[1], schema=old[0])

    def _altered(
        self, shapes: dict[Key, Shape], back: dict[Key, Key], maker: Maker
    ) -> list[MigrateOperation]:
        result: list[MigrateOperation] = []
        for key, table in self.models.items():
            if key not in shapes:
                continue
            there = shapes[key]
            if self.trial.is_equal(table, there) and not self._needs_past(table):
                continue
            if not self.may("table", table, key[1], both=True):
                continue
            want = self.trial.ask(table)
            old_key = back.get(key, key)
            result += TableChanges(self, maker, table, key, old_key, there, want).operations()
        return result

    def _needs_past(self, table: Table) -> bool:
        """Whether a column has an enum whose members this backend does not keep."""
        return any(
            find_enum(c.type) is not None and native_enum(c.type, self.connection.dialect) is None
            for c in table.columns
        )

    def _schemas(self, added: Iterable[Key]) -> list[MigrateOperation]:
        wanted = dict.fromkeys(schema for schema, _ in added if schema)
        if not wanted or Feature.SCHEMAS not in self.dialect.features:
            return []
        there = set(self.inspector.get_schema_names())
        if self.settings.blank:
            there = set()
        return [CreateSchemaOp(schema) for schema in wanted if schema not in there]

    def _created(self, added: list[Key], maker: Maker) -> list[MigrateOperation]:
        chosen = [self.models[key] for key in added if self.may("table", self.models[key], key[1])]
        result: list[MigrateOperation] = []
        later: list[MigrateOperation] = []
        for table, keys in sort_tables_and_constraints(chosen):  # type: ignore[no-untyped-call]  # SQLAlchemy's has no types
            if table is None:
                later += [maker.foreign_key_of(constraint) for constraint in keys]
                continue
            self.say(f"Table {table.fullname} was added.")
            result.append(maker.create(table, keys))
        return result + later

    def _dropped(
        self, removed: list[Key], shapes: dict[Key, Shape], maker: Maker
    ) -> list[MigrateOperation]:
        result: list[MigrateOperation] = []
        for key in maker.in_order_of_drops(removed, shapes):
            table = maker.old_table(key, shapes[key])
            if self.may("table", table, key[1], there=True):
                self.say(f"Table {guards.full_name(key)} was removed.")
                result.append(maker.drop(table))
        return result

    def _refuse_unused(self, removed: list[Key], added: list[Key]) -> None:
        gone = [guards.full_name(key) for key in removed]
        new = [guards.full_name(key) for key in added]
        gone_columns, new_columns = self._columns
        self.renames.refuse_unused([*gone, *gone_columns], [*new, *new_columns])
        self.fills.refuse_unused(new_columns)

    @cached_property
    def _columns(self) -> tuple[list[str], list[str]]:
        """The columns that are gone, and those that are new; filled by the tables' changes."""
        return [], []

    def note_columns(self, gone: Iterable[str], new: Iterable[str]) -> None:
        """Remember which columns come and go, for what is said about a wrong wish."""
        self._columns[0].extend(gone)
        self._columns[1].extend(new)

    def may(
        self, kind: Any, item: Any, name: str | None, *, there: bool = False, both: bool = False
    ) -> bool:
        """Ask the user's own ``include_object``."""
        return self.context.run_object_filters(item, name, kind, there, item if both else None)

    def say(self, sentence: str) -> None:
        """Add a sentence to what was found."""
        self.wishes.found.append(sentence)


__all__ = ["Comparison", "compare"]
