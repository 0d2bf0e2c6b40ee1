"""What has to be done to one table, in an order that every backend can follow.

Indexes go first, then columns get their names, enums their members and the table its new columns,
which are filled. All that a backend without ALTER COLUMN needs to build the table again for stands
in one batch. Indexes that are new come after it, and columns that go, last.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.operations import ops

from rxdb.migrations.autogenerate import fills
from rxdb.migrations.autogenerate.guards import full_name
from rxdb.migrations.autogenerate.operations import AlterEnumOp, Group, Nothing
from rxdb.migrations.autogenerate.past import plain
from rxdb.migrations.autogenerate.rendering import (
    AddIndex,
    Alter,
    Batch,
    add_constraint,
)
from rxdb.migrations.autogenerate.shapes import SEQUENCE, Stored, find_enum
from rxdb.migrations.autogenerate.trial import final_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alembic.operations.ops import MigrateOperation

    from rxdb.migrations.autogenerate.compare import Comparison
    from rxdb.migrations.autogenerate.making import Maker
    from rxdb.migrations.autogenerate.past import Key
    from rxdb.migrations.autogenerate.shapes import ColumnShape, Shape, Structure

NUMBER = re.compile(r"-?\d+(\.\d+)?|'(?:[^']|'')*'")


class SetNotNull(Alter):
    """The end of adding a column; its reverse is dropping the column."""

    def reverse(self) -> Any:
        return Nothing()


class DropColumn(ops.DropColumnOp):
    """A column dropped, which comes back filled where it refuses NULL."""

    column: sa.Column[Any]

    def reverse(self) -> Any:
        return Group(added_back(self.column, self.table_name, self.schema))


class TableChanges:
    """The differences between one model and its table."""

    def __init__(
        self,
        comparison: Comparison,
        maker: Maker,
        table: sa.Table,
        key: Key,
        old_key: Key,
        there: Shape,
        want: Shape,
    ) -> None:
        self.comparison = comparison
        self.maker = maker
        self.table = table
        self.key = key
        self.old_key = old_key
        self.want = want
        self.name = full_name(key)
        self.columns = {c.name: c for c in table.columns if not c.system}
        self.before: list[MigrateOperation] = []
        self.batch: list[MigrateOperation] = []
        self.early: list[MigrateOperation] = []
        self.after: list[MigrateOperation] = []
        self.last: list[MigrateOperation] = []
        self.unnamed = False
        self.retyped: list[tuple[sa.Column[Any], sa.Column[Any]]] = []
        self.original = there
        self.there = self._with_renames(there)

    def operations(self) -> list[MigrateOperation]:
        """Return the operations, in order."""
        removed = [
            name
            for name in self.there.columns
            if name not in self.columns and self._wanted_column(name)
        ]
        kept = [name for name in self.columns if name in self.there.columns]
        added = [name for name in self.columns if name not in self.there.columns]
        drops, adds = self._constraints()
        self.batch += drops
        for name in added:
            self._add(self.columns[name])
        for name in kept:
            if self._may("column", self.columns[name], name, both=True):
                self._alter(self.columns[name], self.there.columns[name])
        self.batch += adds
        for name in removed:
            self._drop(name)
        self._comment()
        self._order_index_drops()
        return [*self.before, *self.early, *self._batches(), *self.after, *self.last]

    def _batches(self) -> list[MigrateOperation]:
        if not self.batch:
            return []
        convention = {kind: pattern for kind, pattern in NAMES.items() if self.unnamed}
        return [
            Batch(
                self.key[1],
                self.batch,
                schema=self.key[0],
                convention=convention or None,
                retyped=self.retyped,
            )
        ]

    def _say(self, sentence: str) -> None:
        self.comparison.say(sentence)

    def _may(
        self, kind: str, item: Any, name: str | None, *, there: bool = False, both: bool = False
    ) -> bool:
        """Ask the user's ``include_object``; *there* is what the database alone has, *both* what
        the model has too."""
        return self.comparison.may(kind, item, name, there=there, both=both)

    def _wanted_column(self, name: str) -> bool:
        """Ask the user's hooks about a column that is in the database alone."""
        context = self.comparison.context
        parents: Any = {"table_name": self.key[1], "schema_name": self.key[0]}
        return context.run_name_filters(name, "column", parents) and self._may(
            "column", self._old_column(name), name, there=True
        )

    # names

    def _with_renames(self, there: Shape) -> Shape:
        """Rename the columns that got another name, and return the table after it."""
        gone = [name for name in there.columns if name not in self.columns]
        new = [name for name in self.columns if name not in there.columns]
        self.moved: dict[str, str] = {}
        if gone:
            self.moved = self.comparison.renames.columns(
                self.name,
                gone,
                new,
                lambda old, name: (
                    there.columns[old].stored.type == self.want.columns[name].stored.type
                ),
            )
        moved = self.moved
        self.comparison.note_columns(
            [f"{self.name}.{c}" for c in gone if c not in moved],
            [f"{self.name}.{c}" for c in new if c not in moved.values()],
        )
        for old, name in moved.items():
            self._say(f"Column {self.name}.{old} was renamed to {name}.")
            column = self.comparison_old(there, old)
            self.before.append(
                Alter(
                    self.key[1],
                    old,
                    schema=self.key[0],
                    modify_name=name,
                    existing_type=column.type,
                    existing_nullable=there.columns[old].nullable,
                    existing_server_default=_argument(column),
                    existing_comment=there.columns[old].comment,
                )
            )
        return there.renamed(moved, {})

    def comparison_old(self, there: Shape, name: str) -> sa.Column[Any]:
        """Return a column of the database in neutral words, the model's where they fit."""
        new = self.moved.get(name, name)
        column = self.columns.get(new)
        if column is not None and self.want.columns[new].stored == there.columns[name].stored:
            return plain(column)
        return self.maker.old_column(self.old_key, there, name)

    def _old_column(self, name: str) -> sa.Column[Any]:
        found = self.maker.old_column(self.old_key, self.there, name)
        found.name = found.key = name
        found.nullable = self.there.columns[name].nullable
        return found

    # columns

    def _add(self, column: sa.Column[Any]) -> None:
        if not self._may("column", column, column.name):
            return
        name = f"{self.name}.{column.name}"
        self._say(f"Column {name} was added.")
        key = [c for c in self.table.primary_key.columns if c.name in self.there.columns]
        fill = self.comparison.fills.new(column, name, key)
        copy = plain(column)
        self.before += self.maker.enums([column])
        if fill is None:
            made = ops.AddColumnOp(self.key[1], copy, schema=self.key[0])
            (self.before if _is_plain_add(column) else self.batch).append(made)
            return
        copy.nullable = True
        self.before.append(ops.AddColumnOp(self.key[1], copy, schema=self.key[0]))
        self.before.append(fill)
        if not column.nullable:
            self.batch.append(self._not_null(column))

    def _not_null(self, column: sa.Column[Any]) -> SetNotNull:
        return SetNotNull(
            self.key[1],
            column.name,
            schema=self.key[0],
            existing_type=column.type,
            existing_server_default=_argument(column),
            existing_comment=column.comment,
            existing_nullable=True,
            modify_nullable=False,
        )

    def _drop(self, name: str) -> None:
        self._say(f"Column {self.name}.{name} was removed.")
        column = self._old_column(name)
        made = DropColumn(self.key[1], name, schema=self.key[0])
        made.column = column
        enums = [op.reverse() for op in self.maker.enums([column])]
        self.last += [made, *enums]

    def _alter(self, column: sa.Column[Any], there: ColumnShape) -> None:
        want = self.want.columns[column.name]
        label = f"{self.name}.{column.name}"
        if there.stored.generated != want.stored.generated and (
            there.stored.generated.startswith("computed")
            or want.stored.generated.startswith("computed")
        ):
            self._recompute(column)
            return
        stored = self._enum(column, there, want)
        type_differs = stored.type != want.stored.type
        default_differs = stored.default != want.stored.default and SEQUENCE not in (
            stored.default,
            want.stored.default,
        )
        nullable_differs = there.nullable != bool(column.nullable)
        says_comments = self.comparison.connection.dialect.supports_comments
        comment_differs = says_comments and there.comment != (column.comment or None)
        if not (type_differs or default_differs or nullable_differs or comment_differs):
            return
        old = self._old_column(column.name)
        existing_type = old.type if type_differs else column.type
        existing_default: Any = _argument(old if default_differs else column)
        kw: dict[str, Any] = {
            "existing_type": existing_type,
            "existing_nullable": there.nullable,
            "existing_server_default": existing_default,
            "existing_comment": there.comment,
        }
        if column.table.autoincrement_column is column:
            kw["autoincrement"] = True
        if nullable_differs:
            self._say(f"{label} {'takes' if column.nullable else 'refuses'} NULL now.")
            kw["modify_nullable"] = bool(column.nullable)
            if not column.nullable:
                self._fill_nulls(column, label)
        if comment_differs:
            self._say(f"The comment of {label} changed.")
            kw["modify_comment"] = column.comment or None
        if default_differs:
            self._say(f"The server default of {label} changed.")
            kw["modify_server_default"] = _argument(column)
        if type_differs:
            told = f"from {stored.type} to {want.stored.type}"
            self._say(f"The type of {label} changed {told}.")
            kw["modify_type"] = column.type
            if existing_type._type_affinity is not column.type._type_affinity:  # noqa: SLF001 - SQLAlchemy tells it nowhere else
                self.retyped.append((self._old_column(column.name), plain(column)))
                self._retype(column, kw)
                return
        self.batch.append(Alter(self.key[1], column.name, schema=self.key[0], **kw))

    def _retype(self, column: sa.Column[Any], kw: dict[str, Any]) -> None:
        """Change a type to one of another kind; a default of the old kind would be in the way."""
        old, new = kw["existing_server_default"], _argument(column)
        self.batch.append(Retype(self.key[1], column.name, schema=self.key[0], **kw))
        if old is not None or new is not None:
            first = {**kw, "modify_server_default": None}
            for name in ("modify_type", "modify_nullable", "modify_comment"):
                first.pop(name, None)
            again = {
                **kw,
                "existing_type": column.type,
                "existing_server_default": None,
                "modify_server_default": new,
            }
            for name in ("modify_type", "modify_nullable", "modify_comment"):
                again.pop(name, None)
            middle = {**kw, "existing_server_default": None}
            middle.pop("modify_server_default", None)
            self.batch.pop()
            made: tuple[dict[str, Any], ...] = (first, middle, again)
            if old is None:
                made = (middle, again)
            elif new is None:
                made = (first, middle)
            self.batch += [
                Retype(self.key[1], column.name, schema=self.key[0], **one) for one in made
            ]

    def _fill_nulls(self, column: sa.Column[Any], label: str) -> None:
        fill = self.comparison.fills.existing(column, label, list(self.table.primary_key.columns))
        if fill is not None:
            self.before.append(fill)

    def _recompute(self, column: sa.Column[Any]) -> None:
        """Make a computed column again: its values are made from the others."""
        self._say(f"How {self.name}.{column.name} is computed changed.")
        made = DropColumn(self.key[1], column.name, schema=self.key[0])
        made.column = self._old_column(column.name)
        self.before.append(made)
        self.batch.append(ops.AddColumnOp(self.key[1], plain(column), schema=self.key[0]))

    # enums

    def _enum(self, column: sa.Column[Any], there: ColumnShape, want: ColumnShape) -> Stored:
        """Change an enum's members, and return how the column is stored after it."""
        new = find_enum(column.type)
        if new is None:
            return there.stored
        old = self._old_enum(column.name, there)
        if old is None or set(old) == set(new.enums):
            return there.stored
        label = f"{self.name}.{column.name}"
        gained = [m for m in new.enums if m not in old]
        lost = [m for m in old if m not in new.enums]
        changes = [
            *([f"gained {', '.join(gained)}"] if gained else []),
            *([f"lost {', '.join(lost)}"] if lost else []),
        ]
        self._say(f"The enum of {label} {' and '.join(changes)}.")
        self.enums_changed.add(column.name)
        self.before.append(
            AlterEnumOp(
                self.key[1],
                column.name,
                name=new.name,
                existing=old,
                members=list(new.enums),
                nullable=there.nullable,
                server_default=self._unchanged_default(column, there, want),
                comment=there.comment if self._keeps_comments else column.comment,
                native_enum=new.native_enum,
                create_constraint=new.create_constraint,
                used=self._uses(new, gained),
                schema=self.key[0],
            )
        )
        return there.stored._replace(type=want.stored.type)

    def _uses(self, enum: sa.Enum, members: Iterable[str]) -> bool:
        """Whether a column of this enum has one of *members* for a default: this very revision may
        store it."""
        stored = set(members)
        for table in self.comparison.models.values():
            for column in table.columns:
                found = find_enum(column.type)
                if found is None or found.name != enum.name:
                    continue
                default: Any = _argument(column)
                python: Any = getattr(column.default, "arg", None)
                wish = self.comparison.wishes.fills.get(f"{table.fullname}.{column.name}")
                said = {str(getattr(default, "arg", "")), str(wish)}
                if said & stored or (python is not None and fills.member(python, found) in stored):
                    return True
        return False

    @property
    def _keeps_comments(self) -> bool:
        return self.comparison.connection.dialect.supports_comments

    @cached_property
    def enums_changed(self) -> set[str]:
        """The columns whose enum gets other members."""
        return set()

    def _unchanged_default(
        self, column: sa.Column[Any], there: ColumnShape, want: ColumnShape
    ) -> Any:
        same = there.stored.default == want.stored.default
        return _argument(column if same else self._old_column(column.name))

    def _old_enum(self, name: str, there: ColumnShape) -> list[str] | None:
        """Return the members that an enum has now, if it is one."""
        found = there.raw.get("type")
        if isinstance(found, sa.Enum):
            return list(found.enums)
        back = {new: old for old, new in self.moved.items()}
        known = self.comparison.past.column(*self.old_key, back.get(name, name))
        enum = find_enum(known.type) if known is not None else None
        return list(enum.enums) if enum is not None else None

    # constraints and indexes

    def _constraints(self) -> tuple[list[MigrateOperation], list[MigrateOperation]]:
        """Return what drops constraints and what adds them; indexes go before and after."""
        drops: list[MigrateOperation] = []
        adds: list[MigrateOperation] = []
        self._foreign_keys(drops, adds)
        self._checks(drops, adds)
        self._indexes(drops, adds)
        if self.there.key != self.want.key:
            self._say(f"The primary key of {self.name} changed.")
            if self.there.key:
                old = self.maker.key(self.key[1], self.key[0], self.there.key, self._key_name())
                drops.append(self.maker.drop_constraint(old))
            if self.want.key:
                adds.insert(0, add_constraint(self.table.primary_key))
        return drops, adds

    def _key_name(self) -> str | None:
        known = self.comparison.past.table(*self.old_key)
        named = known.primary_key.name if known is not None else None
        model = self.table.primary_key.name
        return self.there.key_name or (str(named) if named else None) or str(model or "") or None

    def _foreign_keys(self, drops: list[MigrateOperation], adds: list[MigrateOperation]) -> None:
        model = self.comparison.trial.foreign_keys(self.table)
        for structure, name in self.there.foreign_keys.items():
            if structure in model:
                continue
            old = self.maker.foreign_key(self.key[1], self.key[0], structure, name)
            if self._may("foreign_key_constraint", old, name, there=True):
                self._say(f"The foreign key {self.name}.{'+'.join(structure[0])} was removed.")
                drops.append(self._drop_key(structure, name))
        for structure, constraint in model.items():
            if structure not in self.there.foreign_keys and self._may(
                "foreign_key_constraint", constraint, constraint.name
            ):
                self._say(f"The foreign key {self.name}.{'+'.join(structure[0])} was added.")
                adds.append(self._add_key(structure, constraint.name))

    def _drop_key(self, structure: Structure, name: str | None) -> MigrateOperation:
        self.unnamed = self.unnamed or name is None
        made = self.maker.foreign_key(self.key[1], self.key[0], structure, name)
        return self.maker.drop_constraint(made)

    def _add_key(self, structure: Structure, name: Any) -> MigrateOperation:
        made = self.maker.foreign_key(self.key[1], self.key[0], structure, name)
        added: MigrateOperation = add_constraint(made)
        return added

    def _checks(self, drops: list[MigrateOperation], adds: list[MigrateOperation]) -> None:
        trial = self.comparison.trial
        model = {final_name(c, trial): c for _, c in trial.check_texts(self.table)}
        names = {text: name for text, name in self.want.checks.items() if name in model}
        bound = {
            final_name(c, trial)
            for c in model.values()
            if c._create_rule is not None  # noqa: SLF001 - a type's own
        }
        for text, name in self.there.checks.items():
            if text in self.want.checks or self._is_of_enum(text):
                continue
            if name is None:
                continue
            old = self._old_check(name, text)
            if self._may("check_constraint", old, name, there=True):
                self._say(f"The check {name} of {self.name} was removed.")
                drops.append(self.maker.drop_constraint(old))
        for text in self.want.checks:
            name = names.get(text)
            if text in self.there.checks or self._is_of_enum(text) or name is None:
                continue
            if name in bound and any(n not in self.there.columns for n in self.columns):
                continue  # the new column's type says it
            if self._may("check_constraint", model[name], name):
                self._say(f"The check {name} of {self.name} was added.")
                adds.append(add_constraint(model[name]))

    def _old_check(self, name: str, text: str) -> sa.CheckConstraint:
        """Return a CHECK as a script wrote it, or as the database does."""
        known = self.comparison.past.table(*self.old_key)
        for constraint in known.constraints if known is not None else ():
            if isinstance(constraint, sa.CheckConstraint) and constraint.name == name:
                text = str(constraint.sqltext)
        return self.maker.check(self.key[1], self.key[0], text, name)

    def _is_of_enum(self, text: str) -> bool:
        """Whether a CHECK is that of an enum whose members change: it changes with them."""
        return any(
            re.match(rf"[\"`(]*{re.escape(name)}\b.*?(\bIN\b|\bANY\b|=)", text, re.IGNORECASE)
            for name in self.enums_of_checks
        )

    @cached_property
    def enums_of_checks(self) -> set[str]:
        """The columns with an enum that a CHECK watches over, and whose members change."""
        found = set()
        for name, column in self.columns.items():
            new = find_enum(column.type)
            if new is None or not new.create_constraint or name not in self.there.columns:
                continue
            old = self._old_enum(name, self.there.columns[name])
            if old is not None and set(old) != set(new.enums):
                found.add(name)
        return found

    def _indexes(self, drops: list[MigrateOperation], adds: list[MigrateOperation]) -> None:
        gone = [s for s in self.there.indexes if s not in self.want.indexes]
        gone = [s for s in gone if not self._is_of_foreign_key(s)]
        new = [s for s in self.want.indexes if s not in self.there.indexes]
        self.dropped_indexes: list[MigrateOperation] = []
        for structure in gone:
            name = self.there.indexes[structure]
            if self._is_constraint(structure, name):
                made = self.maker.unique(self.key[1], self.key[0], structure[0], name)
                if self._may("unique_constraint", made, name, there=True):
                    self.unnamed = self.unnamed or name is None
                    self._say(f"The unique constraint on {self._on(structure)} was removed.")
                    drops.append(self.maker.drop_constraint(made))
                continue
            drop = self.maker.drop_index(self.key, structure, name)
            if self._may("index", drop.to_index(), name, there=True):
                self._say(f"The index on {self._on(structure)} was removed.")
                self.dropped_indexes.append(drop)
        for structure in new:
            item = self._model_index(structure)
            if isinstance(item, sa.UniqueConstraint):
                if self._may("unique_constraint", item, str(item.name)):
                    self._say(f"A unique constraint on {self._on(structure)} was added.")
                    adds.append(add_constraint(item))
            elif item is not None and self._may("index", item, str(item.name)):
                self._say(f"An index on {self._on(structure)} was added.")
                self._add_index(item, structure)
        self._free_indexes(gone, drops, adds)

    def _add_index(self, index: sa.Index, structure: Structure) -> None:
        """Add an index so that InnoDB lets go of it again: it keeps one for each foreign key."""
        made: Any = AddIndex.from_index(index)
        made.around = [
            (self._drop_key(key, name), self._add_key(key, name))
            for key, name in self.there.foreign_keys.items()
            if structure[0][: len(key[0])] == key[0] and not self._is_covered(key[0])
        ]
        is_for_new = any(
            structure[0][: len(key[0])] == key[0]
            for key in self.want.foreign_keys
            if key not in self.there.foreign_keys
        )
        (self.early if is_for_new else self.after).append(made)

    def _is_covered(self, columns: tuple[str, ...]) -> bool:
        found = [self.there.key, *(structure[0] for structure in self.there.indexes)]
        return any(one[: len(columns)] == columns for one in found)

    def _on(self, structure: Structure) -> str:
        return f"{self.name}.{'+'.join(map(str, structure[0]))}"

    def _is_constraint(self, structure: Structure, name: str | None) -> bool:
        """Whether what is unique was made as a constraint, and not as an index."""
        columns, unique, options = structure
        if not unique or any("where" in option for option, _ in options):
            return False
        known = self.comparison.past.table(*self.old_key)
        if known is not None and any(index.name == name for index in known.indexes):
            return False
        if known is not None and any(c.name == name for c in known.constraints):
            return True
        if structure in self.there.constraints:
            return True
        return bool(name) and not str(name).startswith("ix_") and None not in columns

    def _is_of_foreign_key(self, structure: Structure) -> bool:
        """Whether an index is one that the server made for a foreign key, which is gone since."""
        columns, unique, _ = structure
        if not self.comparison.dialect.indexes_foreign_keys or unique:
            return False
        name = str(self.there.indexes[structure])
        known = self.comparison.past.table(*self.old_key)
        if known is not None and any(index.name == name for index in known.indexes):
            return False
        return name.startswith("fk_") or "_ibfk_" in name or name == columns[0]

    def _model_index(self, structure: Structure) -> sa.Index | sa.UniqueConstraint | None:
        """Return what the model says for a structure that the server reported."""
        columns, unique, _ = structure
        for constraint in self.table.constraints:
            if not isinstance(constraint, sa.UniqueConstraint) or not unique:
                continue
            if tuple(c.name for c in constraint.columns) == tuple(columns):
                return constraint
        fitting = [
            index
            for index in self.table.indexes
            if tuple(getattr(e, "name", None) for e in index.expressions) == tuple(columns)
            and bool(index.unique) == unique
        ]
        if fitting:
            return fitting[0]
        wanted = self.want.indexes.get(structure)
        return next((i for i in self.table.indexes if i.name == wanted), None)

    def _free_indexes(self, gone: Iterable[Structure], drops: list[Any], adds: list[Any]) -> None:
        """Drop a foreign key for as long as the index goes that InnoDB would not let go of."""
        gone = list(gone)
        left = [s for s in self.there.indexes if s not in gone]
        covers = [self.there.key, *(s[0] for s in left)]
        for structure, name in self.there.foreign_keys.items():
            columns = structure[0]
            stays = structure in self.want.foreign_keys
            is_used = any(s[0][: len(columns)] == columns for s in gone)
            is_covered = any(c[: len(columns)] == columns for c in covers)
            if stays and is_used and not is_covered:
                drops.insert(0, self._drop_key(structure, name))
                adds.append(self._add_key(structure, name))

    def _order_index_drops(self) -> None:
        """Drop indexes first, but after the foreign keys that need them."""
        found = getattr(self, "dropped_indexes", [])
        keys = [
            position
            for position, op in enumerate(self.batch)
            if getattr(op, "constraint_type", "") == "foreignkey"
            and isinstance(op, ops.DropConstraintOp)
        ]
        if keys:
            self.batch[keys[-1] + 1 : keys[-1] + 1] = found
        else:
            self.before[:0] = found

    def _comment(self) -> None:
        if not self._keeps_comments:
            return
        old, new = self.there.comment, self.table.comment or None
        if old == new:
            return
        self._say(f"The comment of {self.name} changed.")
        if new is None:
            self.batch.append(
                ops.DropTableCommentOp(self.key[1], existing_comment=old, schema=self.key[0])
            )
        else:
            self.batch.append(
                ops.CreateTableCommentOp(self.key[1], new, existing_comment=old, schema=self.key[0])
            )


class Retype(Alter):
    """A column's type changed to another kind, with what each backend needs for it."""

    needs_options = True


NAMES = {
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
}
"""The names that :data:`rxdb.model.NAMING_CONVENTION` gives to what has none in the database."""


def added_back(column: sa.Column[Any], table: str, schema: str | None) -> list[Any]:
    """Return what adds a column again whose values are gone."""
    copy = plain(column)
    if copy.nullable or copy.server_default is not None or copy.computed or copy.identity:
        return [ops.AddColumnOp(table, copy, schema=schema)]
    copy.nullable = True
    sa.Table(table, sa.MetaData(), column := plain(column), schema=schema)
    column.nullable = False
    alter = Alter(
        table,
        column.name,
        schema=schema,
        existing_type=column.type,
        existing_comment=column.comment,
        existing_nullable=True,
        modify_nullable=False,
    )
    return [
        ops.AddColumnOp(table, copy, schema=schema),
        fills.zero(column),
        Batch(table, [alter], schema=schema),
    ]


def _argument(column: sa.Column[Any]) -> Any:
    """Return a column's server default for an operation, or None."""
    default: Any = column.server_default
    return default if isinstance(default, sa.DefaultClause) else None


def _is_plain_add(column: sa.Column[Any]) -> bool:
    """Whether a backend without ALTER COLUMN adds a column without building the table again."""
    enum = find_enum(column.type)
    if enum is not None and enum.create_constraint:
        return False
    if column.computed is not None or column.identity is not None:
        return False
    default: Any = column.server_default
    argument = default.arg if isinstance(default, sa.DefaultClause) else default
    if argument is None or isinstance(argument, str):
        return True
    if isinstance(argument, sa.TextClause):
        return NUMBER.fullmatch(argument.text.strip()) is not None
    return isinstance(argument, sa.True_ | sa.False_)


__all__ = ["DropColumn", "SetNotNull", "TableChanges"]
