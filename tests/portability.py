"""Models that fail, or mean something else, on some backend; the same put right; and a use of both.

``tests/matrix/test_linting.py`` creates and uses them on the real server. The broken one has to
fail where :func:`rxdb.check_models` says so and nowhere else, the one put right has to work.
"""

from __future__ import annotations

import datetime as dt
import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    inspect,
    text,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.schema import CreateSchema, DropSchema, conv

import rxdb as rx
from rxdb.model import NAMING_CONVENTION

Part = Callable[[], Any]
Use = Callable[[Connection, MetaData], None]


def key() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=False)


@dataclass(frozen=True)
class Model:
    """A table with a key, and what it is made of beside that; *others* are tables beside it."""

    parts: tuple[Part, ...]
    name: str = "thing"
    others: tuple[Model, ...] = ()
    key: Part = key
    options: tuple[tuple[str, Any], ...] = ()
    is_named: bool = True

    def make(self) -> MetaData:
        metadata = MetaData(naming_convention=NAMING_CONVENTION if self.is_named else None)
        for model in (*self.others, self):
            parts = [part() for part in (model.key, *model.parts)]
            Table(model.name, metadata, *parts, **dict(model.options))
        return metadata


def model(*parts: Part, **more: Any) -> Model:
    options = {k: more.pop(k) for k in list(more) if k not in Model.__dataclass_fields__}
    return Model(parts, options=tuple(options.items()), **more)


def value(type_: Any = Integer, **options: Any) -> Part:
    return lambda: Column("value", type_, **options)


def check(words: str, name: str | None = "a") -> Part:
    return partial(CheckConstraint, words, name=name)


def of(*others: str, name: str, unique: bool = False) -> Part:
    return partial(Index, name, *others, unique=unique)


@dataclass(frozen=True)
class Example:
    code: str
    label: str
    broken: Model
    fixed: Model
    use: Use


# What is done with the tables


def create(connection: Connection, metadata: MetaData) -> None:
    """Create them, find them, with all that has a name, and write a row."""
    metadata.create_all(connection)
    metadata.create_all(connection)
    there = inspect(connection)
    for table in metadata.sorted_tables:
        found = {c["name"] for c in there.get_columns(table.name)}
        assert found == {c.name for c in table.columns}
        known: list[Any] = [
            there.get_indexes,
            there.get_unique_constraints,
            there.get_check_constraints,
        ]
        names = {one["name"] for look in known for one in look(table.name)}
        wanted = (UniqueConstraint, CheckConstraint)
        named = [*table.indexes, *(c for c in table.constraints if isinstance(c, wanted))]
        assert {one.name for one in named} <= names
        connection.execute(table.insert().values(id=1))
        connection.execute(sa.select(table)).all()


def only_create(connection: Connection, metadata: MetaData) -> None:
    metadata.create_all(connection)


def fill(connection: Connection, metadata: MetaData) -> None:
    """Write texts as long as the columns allow, which no compression makes shorter."""
    metadata.create_all(connection)
    letters = random.Random(1)
    table = metadata.tables["thing"]
    texts = [column for column in table.columns if isinstance(column.type, String)]
    row = {
        column.name: "".join(letters.choices(string.ascii_letters, k=column.type.length or 20))
        for column in texts
        if isinstance(column.type, String)
    }
    connection.execute(table.insert().values({"id": 1, **row}))


def keep(written: Any) -> Use:
    """Write a value, and read the same."""

    def use(connection: Connection, metadata: MetaData) -> None:
        metadata.create_all(connection)
        table = metadata.tables["thing"]
        connection.execute(table.insert().values(id=1, value=written))
        assert connection.scalar(sa.select(table.c.value)) == written

    return use


def rely(connection: Connection, metadata: MetaData) -> None:
    """Let the server fill the column."""
    metadata.create_all(connection)
    table = metadata.tables["thing"]
    connection.execute(table.insert().values(id=1))
    assert connection.scalar(sa.select(table.c.value)) is not None


def two(*rows: dict[str, Any]) -> Use:
    """Write rows one after the other."""

    def use(connection: Connection, metadata: MetaData) -> None:
        metadata.create_all(connection)
        for number, row in enumerate(rows, start=1):
            connection.execute(metadata.tables["thing"].insert().values(id=number, **row))

    return use


WORDS = {"unique": UniqueConstraint, "check": CheckConstraint, "foreignkey": ForeignKeyConstraint}


def drop(connection: Connection, metadata: MetaData) -> None:
    """Drop each constraint in a migration."""
    metadata.create_all(connection)
    operations = Operations(MigrationContext.configure(connection))
    for table in metadata.sorted_tables:
        for word, kind in WORDS.items():
            for constraint in [c for c in table.constraints if isinstance(c, kind)]:
                assert constraint.name, "there is nothing to drop it by"
                with operations.batch_alter_table(table.name) as batch:
                    batch.drop_constraint(str(constraint.name), type_=word)


def refer(connection: Connection, metadata: MetaData) -> None:
    """Write a parent, and a child of it."""
    metadata.create_all(connection)
    child = metadata.tables["thing"]
    (key,) = child.c.value.foreign_keys
    for table, column in ((key.column.table, key.column), (child, child.c.value)):
        one = "1" if isinstance(column.type, String) else 1
        connection.execute(table.insert().values({"id": 1, column.name: one}))


def delete_parent(connection: Connection, metadata: MetaData) -> None:
    refer(connection, metadata)
    connection.execute(metadata.tables["parent"].delete())
    found = connection.scalar(sa.select(func.count()).select_from(metadata.tables["thing"]))
    assert found == 1


def child_first(connection: Connection, metadata: MetaData) -> None:
    """Write the child before its parent, or the other way round where it says nothing else."""
    metadata.create_all(connection)
    parent, child = metadata.tables["parent"], metadata.tables["thing"]
    (key,) = child.foreign_key_constraints
    rows = [child.insert().values(id=1, value=1), parent.insert().values(id=1)]
    for row in rows if key.deferrable else reversed(rows):
        connection.execute(row)


def number(connection: Connection, metadata: MetaData) -> None:
    """Leave the key to the database."""
    metadata.create_all(connection)
    table = metadata.tables["thing"]
    for _ in range(2):
        connection.execute(table.insert().values(value=1))
    assert sorted(connection.scalars(sa.select(table.c.id))) == [1, 2]


def in_schema(connection: Connection, metadata: MetaData) -> None:
    (schema,) = {table.schema for table in metadata.sorted_tables}
    if schema:
        connection.execute(DropSchema(schema, if_exists=True))
        connection.execute(CreateSchema(schema))
    only_create(connection, metadata)
    if schema:
        metadata.drop_all(connection)
        connection.execute(DropSchema(schema))


def last_members(connection: Connection, metadata: MetaData) -> None:
    metadata.create_all(connection)
    for table in metadata.sorted_tables:
        members = getattr(table.c.value.type, "enums", ["a"])
        connection.execute(table.insert().values(id=1, value=members[-1]))


AWARE = dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
PRECISE = dt.datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)
LATE = dt.datetime(2040, 1, 1, tzinfo=dt.UTC)
LONG = "a_name_of_more_letters_than_some_servers_keep_for_a_name_of_anything_at_all"
CYRILLIC = "название_которое_длиннее_чем_надо_и_больше"
FOUR = "abcd"
LOWER = func.lower(sa.literal_column("value"))
PARENT = model(name="parent")
PLAIN = model(value())


def texts(count: int, length: int, *more: Part) -> Model:
    columns = (partial(Column, name, String(length)) for name in FOUR[:count])
    return model(*columns, *more)


def child(type_: Any = Integer, *, nullable: bool = True, **options: Any) -> Model:
    key = lambda: Column("value", type_, ForeignKey("parent.id", **options), nullable=nullable)  # noqa: E731 - a part of a model
    return model(key, others=(PARENT,))


def child_of(parent: Any, type_: Any) -> Model:
    key = partial(Column, "id", parent, primary_key=True, autoincrement=False)
    return model(
        lambda: Column("value", type_, ForeignKey("parent.id")),
        others=(model(name="parent", key=key),),
    )


def elsewhere(type_: Any, usual: Any) -> Any:
    """A type of one backend, and the usual one on the others."""
    own = type_.__module__.split(".")[-2]
    others = {"sqlite", "postgresql", "mysql", "mariadb", "duckdb"} - {own}
    others -= {"mariadb"} if own == "mysql" else set()
    return type_.with_variant(usual, *sorted(others))


class PreciseTime(sa.types.TypeDecorator[dt.datetime]):
    """A datetime in UTC, in a column of MySQL's own type."""

    impl = sa.DateTime
    cache_ok = True

    def __init__(self, own: Any) -> None:
        super().__init__()
        self.own = own

    def load_dialect_impl(self, dialect: Any) -> Any:
        own = self.own if dialect.name in {self.own.__module__.split(".")[-2], "mariadb"} else None
        is_ours = own is not None and (dialect.name != "mariadb" or "mysql" in own.__module__)
        # psycopg's dialect would make a TIMESTAMP without its precision of it
        return own if is_ours else dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value and value.replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value and value.replace(tzinfo=dt.UTC)


def default(type_: Any, words: str, fixed: Any = None) -> Example:
    fixed = text(words) if fixed is None else fixed
    return Example(
        "server-default",
        f"{type_} {words}",
        model(value(type_, server_default=text(words))),
        model(value(type_, server_default=fixed)),
        rely,
    )


def words(sql: str, fixed: str = "value <> ''") -> Example:
    made = [model(value(String(9)), check(one)) for one in (sql, fixed)]
    return Example("sql-words", sql, made[0], made[1], two({"value": "ab"}, {"value": "abb"}))


def example(
    code: str, label: str, broken: Model, fixed: Model = PLAIN, use: Use = create
) -> Example:
    return Example(code, label, broken, fixed, use)


def keyed(code: str, label: str, broken: Any, fixed: Any, **options: bool) -> Example:
    made = [model(value(type_, **options)) for type_ in (broken, fixed)]
    return Example(code, label, made[0], made[1], fill)


EXAMPLES = [
    keyed("key-too-long", "unique", String(800), String(768), unique=True),
    keyed("key-too-long", "index", String(800), String(768), index=True),
    keyed("key-too-long", "very long index", String(3000), String(500), index=True),
    example(
        "key-too-long",
        "primary key",
        model(key=partial(Column, "id", String(769), primary_key=True)),
        model(key=partial(Column, "id", String(768), primary_key=True)),
        only_create,
    ),
    example(
        "key-too-long",
        "index of four",
        texts(4, 255, of(*FOUR, name="ix_a")),
        texts(3, 255, of(*FOUR[:3], name="ix_a")),
        fill,
    ),
    example(
        "key-too-long",
        "unique index of four",
        texts(4, 255, of(*FOUR, name="ix_a", unique=True)),
        texts(3, 255, of(*FOUR[:3], name="ix_a", unique=True)),
        fill,
    ),
    example(
        "key-too-long",
        "index of a long one and a number",
        model(value(String(800)), partial(Column, "a", Integer), of("value", "a", name="ix_a")),
        model(value(String(700)), partial(Column, "a", Integer), of("value", "a", name="ix_a")),
        fill,
    ),
    example(
        "key-too-long",
        "index with a length",
        model(
            value(String(800)),
            partial(Index, "ix_a", "value", mysql_length=700, mariadb_length=700),
        ),
        PLAIN,
        only_create,
    ),
    keyed("text-key", "index", Text, String(255), index=True),
    keyed("text-key", "unique", Text, String(255), unique=True),
    example(
        "text-key",
        "primary key",
        model(key=partial(Column, "id", Text, primary_key=True)),
        model(key=partial(Column, "id", String(255), primary_key=True)),
        only_create,
    ),
    example(
        "text-key", "bytes", model(value(sa.LargeBinary, index=True)), model(value(sa.LargeBinary))
    ),
    example("text-key", "JSON", model(value(sa.JSON, index=True)), model(value(sa.JSON))),
    example("text-key", "rx.JSON", model(value(rx.JSON, index=True)), model(value(rx.JSON))),
    example(
        "text-key",
        "with a length",
        model(value(Text), partial(Index, "ix_a", "value", mysql_length=700, mariadb_length=700)),
        PLAIN,
        only_create,
    ),
    example("name-too-long", "table", model(name=LONG)),
    example("name-too-long", "column", model(partial(Column, LONG, Integer))),
    example("name-too-long", "index", model(value(), of("value", name=LONG))),
    example(
        "name-too-long", "unique", model(value(), partial(UniqueConstraint, "value", name=LONG))
    ),
    example("name-too-long", "check by the convention", model(value(), check("value > 0", LONG))),
    example(
        "name-too-long",
        "index by the convention",
        model(partial(Column, LONG[:60], Integer, index=True)),
    ),
    example("name-too-long", "table of bytes", model(name=CYRILLIC)),
    example("name-too-long", "column of bytes", model(partial(Column, CYRILLIC, Integer))),
    example(
        "name-twice",
        "indexes",
        model(
            value(),
            of("value", name="ix_a"),
            others=(model(value(), of("value", name="ix_a"), name="other"),),
        ),
    ),
    example(
        "name-twice",
        "unique",
        model(
            value(),
            partial(UniqueConstraint, "value", name="uq_a"),
            others=(model(value(), partial(UniqueConstraint, "value", name="uq_a"), name="other"),),
        ),
    ),
    example(
        "name-twice",
        "checks",
        model(
            value(),
            check("value > 0", conv("ck_a")),
            others=(model(value(), check("value > 0", conv("ck_a")), name="other"),),
        ),
    ),
    example(
        "name-twice",
        "foreign keys",
        model(
            value(),
            partial(ForeignKeyConstraint, ["value"], ["parent.id"], name="fk_a"),
            others=(
                PARENT,
                model(
                    value(),
                    partial(ForeignKeyConstraint, ["value"], ["parent.id"], name="fk_a"),
                    name="other",
                ),
            ),
        ),
        use=only_create,
    ),
    example("name-twice", "index and table", model(value(), of("value", name="thing"))),
    example(
        "name-twice",
        "index and unique",
        model(value(), partial(UniqueConstraint, "value", name="uq_a"), of("value", name="uq_a")),
    ),
    example(
        "name-twice",
        "columns by case",
        model(partial(Column, "Name", Integer), partial(Column, "name", Integer)),
    ),
    example("name-twice", "tables by case", model(name="thing", others=(model(name="Thing"),))),
    example(
        "name-too-long",
        "columns equal when cut",
        model(
            partial(Column, LONG[:64] + "_1", Integer), partial(Column, LONG[:64] + "_2", Integer)
        ),
        use=only_create,
    ),
    example(
        "unnamed-constraint",
        "unique",
        model(value(unique=True), is_named=False),
        model(value(), partial(UniqueConstraint, "value", name="uq_a"), is_named=False),
        drop,
    ),
    example(
        "unnamed-constraint",
        "check",
        model(value(), check("value > 0", None), is_named=False),
        model(value(), check("value > 0"), is_named=False),
        drop,
    ),
    example(
        "unnamed-constraint",
        "foreign key",
        Model(child().parts, others=(PARENT,), is_named=False),
        Model(child(name="fk_a").parts, others=(PARENT,), is_named=False),
        drop,
    ),
    default(rx.UTCDateTime(), "now()", func.now()),
    default(rx.UTCDateTime(), "CURRENT_TIMESTAMP"),
    default(sa.Date(), "CURRENT_DATE", text("(CURRENT_DATE)")),
    default(sa.Time(), "CURRENT_TIME", text("(CURRENT_TIME)")),
    default(sa.Uuid(), "gen_random_uuid()", "0" * 32),
    default(String(36), "uuid()", "a"),
    default(sa.Boolean(), "true", sa.true()),
    default(sa.Boolean(), "1", sa.true()),
    default(sa.Boolean(), "'1'", sa.true()),
    default(sa.Boolean(), "'true'", sa.true()),
    default(sa.Boolean(), "'f'", sa.false()),
    default(sa.JSON(), "'{}'::jsonb", text("('{}')")),
    default(sa.JSON(), "'{}'", text("('{}')")),
    default(Text(), "'a'", text("('a')")),
    default(Integer(), "'7'"),
    default(Integer(), "(7)"),
    default(String(9), "lower('A')"),
    default(String(9), "'a' || 'b'", "ab"),
    example(
        "naive-datetime",
        "plain",
        model(value(sa.DateTime())),
        model(value(rx.UTCDateTime())),
        keep(AWARE),
    ),
    example(
        "naive-datetime",
        "with a zone",
        model(value(sa.DateTime(timezone=True))),
        model(value(rx.UTCDateTime())),
        keep(AWARE),
    ),
    example(
        "no-microseconds",
        "datetime",
        model(value(PreciseTime(mysql.DATETIME()))),
        model(value(PreciseTime(mysql.DATETIME(fsp=6)))),
        keep(PRECISE),
    ),
    example(
        "no-microseconds",
        "milliseconds",
        model(value(PreciseTime(mysql.DATETIME(fsp=3)))),
        model(value(rx.UTCDateTime())),
        keep(PRECISE),
    ),
    example(
        "no-microseconds",
        "timestamp",
        model(value(PreciseTime(postgresql.TIMESTAMP(precision=0)))),
        model(value(rx.UTCDateTime())),
        keep(PRECISE),
    ),
    example(
        "no-microseconds",
        "time",
        model(value(elsewhere(mysql.TIME(), sa.Time()))),
        model(value(sa.Time())),
        keep(PRECISE.time()),
    ),
    example(
        "year-2038",
        "",
        model(value(PreciseTime(mysql.TIMESTAMP(fsp=6)))),
        model(value(rx.UTCDateTime())),
        keep(LATE),
    ),
    *(
        example("unknown-type", str(type_), model(value(type_)))
        for type_ in [
            *(sa.ARRAY(Integer), postgresql.JSONB(), postgresql.INET(), postgresql.TSVECTOR()),
            *(mysql.LONGTEXT(), mysql.TINYINT(), mysql.YEAR(), postgresql.BYTEA()),
            *(sa.NVARCHAR(9), sa.CLOB(), sa.BINARY(3), sa.VARBINARY(3), postgresql.UUID()),
            *(sa.Unicode(9), sa.Double(), sa.REAL(), sa.Interval(), sa.Uuid(), sa.SmallInteger()),
        ]
    ),
    example("no-length", "String", model(value(String())), model(value(String(9)))),
    example("no-length", "CHAR", model(value(sa.CHAR()))),
    example(
        "unnamed-enum", "", model(value(sa.Enum("a"))), model(value(sa.Enum("a", name="kind")))
    ),
    example(
        "enum-name-twice",
        "",
        model(
            value(sa.Enum("c", "d", name="kind")),
            others=(model(value(sa.Enum("a", "b", name="kind")), name="other"),),
        ),
        model(
            value(sa.Enum("c", "d", name="kind")),
            others=(model(value(sa.Enum("a", "b", name="kind_2")), name="other"),),
        ),
        last_members,
    ),
    example("type-too-large", "CHAR", model(value(sa.CHAR(300))), model(value(sa.CHAR(255)))),
    *(
        example("type-too-large", f"{digits}, {places}", model(value(sa.Numeric(digits, places))))
        for digits, places in [(65, 30), (66, 2), (65, 31), (1001, 2)]
    ),
    example(
        "set-null",
        "",
        child(ondelete="SET NULL", nullable=False),
        child(ondelete="SET NULL"),
        delete_parent,
    ),
    example(
        "set-default", "", child(ondelete="SET DEFAULT"), child(ondelete="SET NULL"), delete_parent
    ),
    example("deferrable", "", child(deferrable=True, initially="DEFERRED"), child(), child_first),
    *(
        example(
            "foreign-key-type",
            f"{type_} to {parent}",
            child_of(parent, type_),
            child_of(parent, parent),
            refer,
        )
        for parent, type_ in [
            *(
                (Integer(), sa.BigInteger()),
                (sa.BigInteger(), Integer()),
                (Integer(), sa.SmallInteger()),
            ),
            *((Integer(), String(9)), (Integer(), sa.Numeric(10, 0)), (String(9), String(20))),
            *((String(9), sa.CHAR(9)), (sa.Numeric(10, 2), sa.Numeric(12, 2))),
        ]
    ),
    example(
        "foreign-key-target",
        "",
        model(
            lambda: Column("value", Integer, ForeignKey("parent.a")),
            others=(model(partial(Column, "a", Integer), name="parent"),),
        ),
        model(
            lambda: Column("value", Integer, ForeignKey("parent.a")),
            others=(model(partial(Column, "a", Integer, unique=True), name="parent"),),
        ),
        refer,
    ),
    example("foreign-key-target", "nowhere", Model(child().parts), child(), refer),
    example(
        "partial-index",
        "of two backends",
        model(
            value(),
            partial(
                Index,
                "ix_a",
                "value",
                unique=True,
                postgresql_where=text("id = 9"),
                sqlite_where=text("id = 9"),
            ),
        ),
        PLAIN,
        two({"value": 1}, {"value": 1}),
    ),
    example(
        "partial-index",
        "of one backend",
        model(
            value(), partial(Index, "ix_a", "value", unique=True, postgresql_where=text("id = 9"))
        ),
        PLAIN,
        two({"value": 1}, {"value": 1}),
    ),
    example(
        "deferrable",
        "unique",
        model(
            value(),
            partial(UniqueConstraint, "value", name="a", deferrable=True, initially="DEFERRED"),
        ),
        model(value(), partial(UniqueConstraint, "value", name="a")),
    ),
    example(
        "expression-index",
        "",
        model(value(String(9)), partial(Index, "ix_a", LOWER)),
        model(value(String(9)), partial(Index, "ix_a", "value")),
        only_create,
    ),
    *(
        example(
            "checked-column",
            f"a foreign key with {action}",
            Model((*changed.parts, check("value > 0")), others=(PARENT,)),
            Model((*child().parts, check("value > 0")), others=(PARENT,)),
            refer,
        )
        for action, changed in (
            ("ON DELETE SET NULL", child(ondelete="SET NULL")),
            ("ON DELETE CASCADE", child(ondelete="CASCADE")),
            ("ON UPDATE CASCADE", child(onupdate="CASCADE")),
        )
    ),
    example(
        "checked-column",
        "a number of the server",
        model(value(), check("id > 0"), key=partial(Column, "id", Integer, primary_key=True)),
        model(value(), key=partial(Column, "id", Integer, primary_key=True)),
        number,
    ),
    example(
        "computed-not-null",
        "",
        model(
            partial(Column, "value", Integer, sa.Computed("id * 2", persisted=True), nullable=False)
        ),
        model(partial(Column, "value", Integer, sa.Computed("id * 2", persisted=True))),
    ),
    example(
        "sql-words",
        "a number as a boolean",
        model(value(sa.Boolean), check("value = 1")),
        model(value(sa.Boolean), check("value IS NOT FALSE")),
        two({"value": True}),
    ),
    example(
        "sql-words",
        "the time of a check",
        model(value(sa.Date), check("value < CURRENT_DATE")),
        model(value(sa.Date), check("value < '2100-01-01'")),
        two({"value": dt.date(2026, 1, 1)}),
    ),
    default(Integer(), "'abc'", text("'7'")),
    default(String(2), "'abc'", text("'ab'")),
    default(sa.Enum("a", "b", name="letters"), "'c'", text("'a'")),
    example(
        "cannot-create",
        "two keys",
        model(
            value(),
            partial(
                Column, "a", Integer, primary_key=True, autoincrement=False, server_default="1"
            ),
            key=partial(Column, "id", Integer, primary_key=True, autoincrement=True),
        ),
        model(value(), key=partial(Column, "id", Integer, primary_key=True)),
        number,
    ),
    example("no-schema", "", model(schema="rxdb_lint_other"), PLAIN, in_schema),
    *(
        example(
            "collation",
            name,
            model(value(String(9, collation=name))),
            model(value(String(9))),
            fill,
        )
        for name in ("NOCASE", "C", "utf8mb4_bin")
    ),
    example(
        "case-insensitive-key",
        "table",
        model(
            value(String(9), unique=True),
            mysql_collate="utf8mb4_general_ci",
            mariadb_collate="utf8mb4_general_ci",
        ),
        model(value(String(9), unique=True)),
        two({"value": "Bob"}, {"value": "bob"}),
    ),
    example(
        "case-insensitive-key",
        "character set",
        model(value(String(9), unique=True), mysql_charset="utf8mb4", mariadb_charset="utf8mb4"),
        model(value(String(9), unique=True)),
        two({"value": "Bob"}, {"value": "bob"}),
    ),
    *(
        example(
            "row-too-long",
            str(count),
            model(*(partial(Column, f"c{n}", String(255)) for n in range(count))),
        )
        for count in (64, 65)
    ),
    *(
        words(sql)
        for sql in (
            *(
                "value ~ '[ab]'",
                "value ILIKE '%b'",
                "CAST(value AS char(9)) <> ''",
                "value::text <> ''",
            ),
            *(
                "value GLOB '*b'",
                "value REGEXP '.'",
                "value IS DISTINCT FROM 'c'",
                "value LIKE '%b'",
            ),
            *("value || 'x' <> '1'", "length(value) > 0", "value <> 'a::b'"),
        )
    ),
    *(
        example("name-taken", name, model(partial(Column, name, Integer)))
        for name in ("xmin", "DB_ROW_ID", "rowid")
    ),
    example("name-taken", "sqlite_thing", model(name="sqlite_thing")),
]

CALLS = {
    "btrim": "btrim('a')",
    "cardinality": "cardinality(ARRAY[1])",
    "char_length": "char_length('a')",
    "clock_timestamp": "clock_timestamp()",
    "curdate": "curdate()",
    "curtime": "curtime()",
    "date_format": "date_format('2026-01-01', '%Y')",
    "date_trunc": "date_trunc('day', CURRENT_TIMESTAMP)",
    "datetime": "datetime('now')",
    "find_in_set": "find_in_set('a', 'a,b')",
    "from_unixtime": "from_unixtime(0)",
    "gen_random_uuid": "gen_random_uuid()",
    "greatest": "greatest(1, 2)",
    "hex": "hex('a')",
    "ifnull": "ifnull(NULL, 1)",
    "instr": "instr('ab', 'b')",
    "json_array_length": "json_array_length('[1]')",
    "json_extract": "json_extract('[1]', '$[0]')",
    "json_length": "json_length('[1]')",
    "json_valid": "json_valid('[1]')",
    "jsonb_build_object": "jsonb_build_object('a', 1)",
    "jsonb_typeof": "jsonb_typeof('[1]')",
    "julianday": "julianday('now')",
    "left": "left('ab', 1)",
    "now": "now()",
    "rand": "rand()",
    "random": "random()",
    "randomblob": "randomblob(4)",
    "statement_timestamp": "statement_timestamp()",
    "strftime": "strftime('%Y', 'now')",
    "timezone": "timezone('UTC', CURRENT_TIMESTAMP)",
    "to_tsvector": "to_tsvector('a')",
    "transaction_timestamp": "transaction_timestamp()",
    "typeof": "typeof(1)",
    "unix_timestamp": "unix_timestamp()",
    "utc_date": "utc_date()",
    "utc_time": "utc_time()",
    "utc_timestamp": "utc_timestamp()",
    "uuid": "uuid()",
}
"""A call of each function that :class:`rxdb.dialect.Rules` knows for a backend of the matrix."""

EXTENSIONS = {"uuid_generate_v4"}
"""Those that a server has after it was extended."""
