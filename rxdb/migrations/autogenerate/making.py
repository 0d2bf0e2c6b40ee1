"""Make operations that can be taken back, out of models and of what a database said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy.sql.elements import conv

from rxdb.migrations.autogenerate import neutral
from rxdb.migrations.autogenerate.operations import CreateEnumOp, DropEnumOp, Group
from rxdb.migrations.autogenerate.past import plain
from rxdb.migrations.autogenerate.rendering import (
    AddIndex,
    Batch,
    DropConstraint,
    DropIndex,
    add_constraint,
)
from rxdb.migrations.autogenerate.shapes import find_enum
from rxdb.model import NAMING_CONVENTION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from alembic.operations.ops import MigrateOperation

    from rxdb.migrations.autogenerate.compare import Comparison
    from rxdb.migrations.autogenerate.past import Key
    from rxdb.migrations.autogenerate.shapes import Shape, Structure


class Created(Group):
    """A table made, with its types and indexes; its reverse drops it as a whole."""

    table_name: str
    schema: str | None

    def reverse(self) -> MigrateOperation:
        enums = [op for op in self.ops if isinstance(op, CreateEnumOp)]
        gone = Dropped(
            [
                ops.DropTableOp(self.table_name, schema=self.schema),
                *(DropEnumOp(op.name, op.members, schema=op.schema) for op in reversed(enums)),
            ]
        )
        gone.made = self
        return gone


class Dropped(Group):
    """A table dropped, which takes its indexes along."""

    made: Created

    def reverse(self) -> MigrateOperation:
        return self.made


class Maker:
    """Makes the operations of one comparison."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.dialect = comparison.dialect

    def create(self, table: sa.Table, foreign_keys: Collection[Any] | None = None) -> Created:
        """Return what makes a table; *foreign_keys* are those that it gets at once."""
        made: Any = ops.CreateTableOp.from_table(table)
        made.columns = [
            item
            for item in made.columns
            if not isinstance(item, sa.ForeignKeyConstraint)
            or foreign_keys is None
            or any(_same_key(item, constraint) for constraint in foreign_keys)
        ]
        made.info = {}
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        result = Created(
            [*self.enums(table.columns), made, *(AddIndex.from_index(index) for index in indexes)]
        )
        result.table_name, result.schema = table.name, table.schema
        return result

    def drop(self, table: sa.Table) -> MigrateOperation:
        """Return what drops a table, and can make it again."""
        return self.create(table).reverse()

    def enums(self, columns: Iterable[sa.Column[Any]]) -> list[CreateEnumOp]:
        """Return what makes the types that the columns need, where enums are types."""
        found = {}
        for column in columns:
            enum = find_enum(column.type)
            if enum is not None and enum.native_enum and enum.name:
                found[enum.name] = CreateEnumOp(enum.name, list(enum.enums), schema=enum.schema)
        return list(found.values())

    def foreign_key_of(self, constraint: sa.ForeignKeyConstraint) -> MigrateOperation:
        """Return what adds a foreign key of a circle, after all of its tables are there."""
        table = constraint.table
        (structure,) = (
            key
            for key, found in self.comparison.trial.foreign_keys(table).items()
            if found is constraint
        )
        made = self.foreign_key(table.name, table.schema, structure, constraint.name)
        return Batch(table.name, [add_constraint(made)], schema=table.schema)

    def old_table(self, key: Key, shape: Shape) -> sa.Table:
        """Return a table that is in the database: as the scripts describe it, or else as the
        database does, in neutral words."""
        known = self.comparison.past.table(*key)
        if known is not None and set(known.columns.keys()) == set(shape.columns):
            return known
        metadata = sa.MetaData()
        table = sa.Table(
            key[1],
            metadata,
            *(self.old_column(key, shape, name) for name in shape.columns),
            sa.PrimaryKeyConstraint(*shape.key, name=_final(shape.key_name or f"pk_{key[1]}")),
            schema=key[0],
            comment=shape.comment,
        )
        for structure, name in shape.indexes.items():
            if structure in shape.constraints:
                table.append_constraint(
                    sa.UniqueConstraint(
                        *structure[0], name=_final(name or _named("uq", key[1], structure[0]))
                    )
                )
            else:
                self._index_on(table, structure, name)
        for text, name in shape.checks.items():
            table.append_constraint(sa.CheckConstraint(text, name=_final(name) if name else None))
        for structure, name in shape.foreign_keys.items():
            made = self.foreign_key(key[1], key[0], structure, name)
            targets = [element.target_fullname for element in made.elements]
            copy = sa.ForeignKeyConstraint(
                structure[0],
                targets,
                name=made.name,
                ondelete=made.ondelete,
                onupdate=made.onupdate,
            )
            _placeholder(metadata, structure)
            table.append_constraint(copy)
        return table

    def old_column(self, key: Key, shape: Shape, name: str) -> sa.Column[Any]:
        """Return a column that is in the database, in neutral words."""
        raw = shape.columns[name].raw
        known = self.comparison.past.column(*key, str(raw["name"]))
        if known is not None:
            return plain(known)
        return neutral.column(raw, self.dialect)

    def in_order_of_drops(self, keys: Collection[Key], shapes: Mapping[Key, Shape]) -> list[Key]:
        """Return tables with those first that others do not refer to."""
        left = list(keys)
        result: list[Key] = []
        while left:
            referred = {
                structure[2]
                for key in left
                for structure in shapes[key].foreign_keys
                if structure[2] != key[1]
            }
            free = [key for key in left if key[1] not in referred] or left[:1]
            result += free
            left = [key for key in left if key not in free]
        return result

    def foreign_key(
        self, table: str, schema: str | None, structure: Structure, name: Any
    ) -> sa.ForeignKeyConstraint:
        """Return a foreign key on a table of its own, out of its structure."""
        columns, target_schema, target, referred, ondelete, onupdate, deferrable, initially = (
            structure
        )
        metadata = sa.MetaData()
        same = target == table and target_schema == schema
        names = dict.fromkeys([*columns, *(referred if same else ())])
        own = sa.Table(table, metadata, *(sa.Column(c, sa.Integer) for c in names), schema=schema)
        if not same:
            _placeholder(metadata, structure)
        prefix = f"{target_schema}.{target}" if target_schema else target
        constraint = sa.ForeignKeyConstraint(
            list(columns),
            [f"{prefix}.{column}" for column in referred],
            name=_final(name or f"{_named('fk', table, columns)}_{target}"),
            ondelete=ondelete or None,
            onupdate=onupdate or None,
            deferrable=deferrable or None,
            initially=initially or None,
        )
        own.append_constraint(constraint)
        return constraint

    def drop_constraint(self, constraint: Any) -> DropConstraint:
        """Return what drops a constraint, and can add it again."""
        found: Any = ops.DropConstraintOp.from_constraint(constraint)
        return DropConstraint(
            found.constraint_name,
            found.table_name,
            found.constraint_type,
            schema=found.schema,
            _reverse=add_constraint(constraint),
        )

    def unique(
        self, table: str, schema: str | None, columns: Iterable[str], name: str | None
    ) -> sa.UniqueConstraint:
        """Return a unique constraint on a table of its own."""
        listed = list(columns)
        own = _table(table, schema, listed)
        found = sa.UniqueConstraint(*listed, name=_final(name or _named("uq", table, listed)))
        own.append_constraint(found)
        return found

    def check(
        self, table: str, schema: str | None, text: str, name: str | None
    ) -> sa.CheckConstraint:
        """Return a CHECK on a table of its own."""
        own = _table(table, schema, ["id"])
        found = sa.CheckConstraint(sa.text(text), name=_final(name) if name else None)
        own.append_constraint(found)
        return found

    def key(
        self, table: str, schema: str | None, columns: Iterable[str], name: str | None
    ) -> sa.PrimaryKeyConstraint:
        """Return a primary key on a table of its own."""
        listed = list(columns)
        own = _table(table, schema, listed)
        found = sa.PrimaryKeyConstraint(*listed, name=_final(name or f"pk_{table}"))
        own.append_constraint(found)
        return found

    def drop_index(self, key: Key, structure: Structure, name: str | None) -> Any:
        """Return what drops an index, and can make it again."""
        known = self.comparison.past.table(*key)
        for index in known.indexes if known is not None else ():
            if index.name == name:
                return DropIndex.from_index(index)
        listed = [c for c in structure[0] if isinstance(c, str)]
        own = _table(key[1], key[0], listed)
        return DropIndex.from_index(self._index_on(own, structure, name))

    def _index_on(self, table: sa.Table, structure: Structure, name: str | None) -> sa.Index:
        columns, unique, options = structure
        parts = [table.c[c] if c in table.c else sa.text(str(c)) for c in columns]
        wheres: dict[str, Any] = {k: sa.text(v) for k, v in options if k.endswith("_where")}
        return sa.Index(
            _final(name or _named("ix", table.name, map(str, columns))),
            *parts,
            unique=unique,
            _table=table,
            **wheres,
        )


def _final(name: Any) -> Any:
    """Say that a name is what stands in the database, whatever convention there is."""
    return conv(name)


def _named(kind: str, table: str, columns: Iterable[str]) -> str:
    """Return the name that rxdb's convention gives."""
    assert kind in NAMING_CONVENTION
    return f"{kind}_{table}_{'_'.join(columns)}"


def _table(name: str, schema: str | None, columns: Iterable[str]) -> sa.Table:
    made = (sa.Column(column, sa.Integer) for column in dict.fromkeys(columns))
    return sa.Table(name, sa.MetaData(), *made, schema=schema)


def _placeholder(metadata: sa.MetaData, structure: Structure) -> None:
    """Make a table to refer to, with the columns that are referred to."""
    _, schema, target, referred, *_ = structure
    key = f"{schema}.{target}" if schema else target
    if key not in metadata.tables:
        sa.Table(target, metadata, *(sa.Column(c, sa.Integer) for c in referred), schema=schema)


def _same_key(one: sa.ForeignKeyConstraint, other: sa.ForeignKeyConstraint) -> bool:
    def said(found: sa.ForeignKeyConstraint) -> tuple[Any, ...]:
        return (
            [element.parent.name for element in found.elements if element.parent is not None]
            or list(found.column_keys),
            [element.target_fullname for element in found.elements],
        )

    return one is other or said(one) == said(other)
