"""What was reported to go wrong with migrations elsewhere, each once, on every server.

A test's docstring says what happened there; the test says what happens here.
"""

from __future__ import annotations

import datetime as dt
import enum
import io
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Enum,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Uuid,
    func,
)
from sqlalchemy.orm import DeclarativeBase
from sqlmodel import AutoString, SQLModel

import rxdb as rx
from rxdb import Feature, migrations
from rxdb.errors import (
    DataLoss,
    MigrationError,
    MigrationFailed,
    NoModels,
    OutsideTransaction,
    SchemaOutdated,
)
from rxdb.model import NAMING_CONVENTION, ModelRegistry

AWKWARD = 'it\'s 100%: :x \\n "quoted" é 🙂'
"""A default that was corrupted by quoting it wrongly."""

pytestmark = pytest.mark.needs(Feature.REFLECTED_CONSTRAINTS)


class Color(enum.Enum):
    """Before a member was added."""

    red = "red"
    green = "green"


class MoreColor(enum.Enum):
    """After it."""

    red = "red"
    green = "green"
    blue = "blue"


@pytest.fixture
def item(
    project: Path, metadata: MetaData, engine: sa.Engine, run: Callable[[Callable[[], None]], None]
) -> Table:
    """A table with two rows, at the first revision."""
    table = Table("item", metadata, Column("id", Integer, primary_key=True))
    migrations.init()

    def fill() -> None:
        with engine.begin() as connection:
            connection.execute(table.insert(), [{"id": 1}, {"id": 2}])

    run(fill)
    return table


def change(message: str = "change", **options: Any) -> Path:
    """Make a revision, apply it, and see that nothing differs any more."""
    made = migrations.make(message, **options)
    assert made.path is not None, made.found
    migrations.migrate()
    assert migrations.differences() == ()
    return made.path


def values(engine: sa.Engine, table: Table, column: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.scalars(sa.select(table.c[column]).order_by(table.c.id)))


def write(project: Path, body: str, *, revision: str = "f00d", name: str = "by_hand") -> Path:
    """Put a revision of one's own after the newest one."""
    (head,) = migrations.heads()
    file = project / "alembic" / "versions" / f"{revision}_{name}.py"
    file.write_text(
        f'"""{name}"""\nimport sqlalchemy as sa\nfrom alembic import op\n'
        f"revision = {revision!r}\ndown_revision = {head!r}\n"
        f"branch_labels = None\ndepends_on = None\n\n\n{body}\n"
    )
    return file


def test_a_text_default_reaches_existing_rows_as_it_is(item: Table, engine: sa.Engine) -> None:
    """The text of the model's default was corrupted: ``%`` doubled, ``:x`` turned into NULL."""
    item.append_column(Column("note", AutoString(), nullable=False, default=AWKWARD))
    change()
    assert values(engine, item, "note") == [AWKWARD, AWKWARD]


def test_a_callable_default_is_called_for_each_row(item: Table, engine: sa.Engine) -> None:
    """It was called once, and its value became the column's default for ever."""
    item.append_column(Column("token", Uuid(), nullable=False, default=uuid.uuid4))
    change()
    first, second = values(engine, item, "token")
    assert first != second
    (column,) = [c for c in sa.inspect(engine).get_columns("item") if c["name"] == "token"]
    assert column["default"] is None


def test_a_change_of_the_parent_keeps_the_children(
    project: Path, metadata: MetaData, engine: sa.Engine
) -> None:
    """Rebuilding the parent emptied the child table through ON DELETE CASCADE."""
    parent = Table(
        "parent",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("name", String(20), nullable=False),
    )
    child = Table(
        "child",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("parent_id", ForeignKey("parent.id", ondelete="CASCADE"), nullable=False),
    )
    migrations.init()
    with engine.begin() as connection:
        connection.execute(parent.insert(), [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
        connection.execute(child.insert(), [{"id": n, "parent_id": 1} for n in (1, 2, 3)])
    parent.c.name.nullable = True
    change()
    assert values(engine, child, "id") == [1, 2, 3]
    assert values(engine, parent, "name") == ["a", "b"]


def test_tables_of_others_are_left_alone(item: Table, engine: sa.Engine) -> None:
    """A table that no model describes was dropped."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE not_mine (id INTEGER)")
    assert migrations.make("nothing").path is None


def test_models_that_are_not_imported_drop_nothing(
    item: Table, metadata: MetaData, engine: sa.Engine
) -> None:
    """Every table was dropped when the module with the models was not imported."""
    metadata.remove(item)
    with pytest.raises(NoModels, match="models="):
        migrations.make("oops")
    assert values(engine, item, "id") == [1, 2]


def test_a_renamed_column_keeps_its_values(
    project: Path, metadata: MetaData, engine: sa.Engine
) -> None:
    """A rename became a drop and an add."""
    before = Table(
        "person", metadata, Column("id", Integer, primary_key=True), Column("name", String(30))
    )
    migrations.init()
    with engine.begin() as connection:
        connection.execute(before.insert().values(id=1, name="Ada"))
    metadata.remove(before)
    after = Table(
        "person", metadata, Column("id", Integer, primary_key=True), Column("full_name", String(30))
    )
    change(renames={"person.name": "full_name"})
    assert values(engine, after, "full_name") == ["Ada"]


def test_a_failed_revision_can_be_run_again(project: Path, item: Table, engine: sa.Engine) -> None:
    """A revision that failed in the middle could not be run again: the column, the table or a
    temporary table was there already."""
    file = write(
        project,
        "def upgrade():\n"
        "    op.add_column('item', sa.Column('s1', sa.String(10)))\n"
        "    op.create_table('other', sa.Column('id', sa.Integer, primary_key=True))\n"
        "    op.execute('INSERT INTO no_such_table VALUES (1)')\n"
        "    with op.batch_alter_table('item') as batch_op:\n"
        "        batch_op.alter_column('s1', existing_type=sa.String(10), type_=sa.String(20))\n"
        "\n\ndef downgrade():\n    pass\n",
    )
    with pytest.raises(MigrationFailed, match="no_such_table"):
        migrations.migrate()
    with pytest.raises(MigrationFailed, match="no_such_table"):
        migrations.migrate()
    file.write_text(file.read_text().replace("no_such_table VALUES (1)", "item (id) VALUES (3)"))
    migrations.migrate()
    assert values(engine, item, "id") == [1, 2, 3]
    assert {"item", "other"} <= set(sa.inspect(engine).get_table_names())
    assert not [n for n in sa.inspect(engine).get_table_names() if n.startswith("_alembic")]
    assert rx.check_schema().is_current


def test_only_the_nullability_of_a_column_changes(
    project: Path, metadata: MetaData, engine: sa.Engine
) -> None:
    """The script lacked the existing type, which MySQL's MODIFY needs."""
    table = Table(
        "item",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("name", String(20), nullable=False),
    )
    migrations.init()
    table.c.name.nullable = True
    assert "existing_type" in change().read_text()


def test_a_day_that_becomes_a_moment_stays_the_same_day(
    project: Path, metadata: MetaData, engine: sa.Engine
) -> None:
    """Rebuilding the table cast the day to a number, and left the year of it."""
    table = Table("item", metadata, Column("id", Integer, primary_key=True), Column("at", sa.Date))
    migrations.init()
    with engine.begin() as connection:
        connection.execute(table.insert().values(id=1, at=dt.date(2001, 2, 3)))
    write(
        project,
        "def upgrade():\n"
        "    with op.batch_alter_table('item') as batch_op:\n"
        "        batch_op.alter_column('at', existing_type=sa.Date(), type_=sa.DateTime())\n"
        "\n\ndef downgrade():\n    pass\n",
    )
    migrations.migrate(allow_data_loss=True)
    with engine.connect() as connection:
        kept = connection.scalar(sa.select(sa.cast(table.c.at, String(30))))
    assert str(kept).startswith("2001-02-03")


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_moment_that_becomes_a_day_is_only_that_day(
    project: Path, metadata: MetaData, engine: sa.Engine, by_hand: bool
) -> None:
    """The time of day stayed where a database keeps both as text, and no day was found any more."""
    table = Table("item", metadata, Column("id", Integer, primary_key=True), Column("at", DateTime))
    migrations.init()
    with engine.begin() as connection:
        at = dt.datetime(2001, 2, 3, 4, 5, 6)  # noqa: DTZ001 - the column has no time zone
        connection.execute(table.insert().values(id=1, at=at))
    table.c.at.type = sa.Date()
    if by_hand:
        write(
            project,
            "def upgrade():\n"
            "    with op.batch_alter_table('item') as batch_op:\n"
            "        batch_op.alter_column('at', existing_type=sa.DateTime(), type_=sa.Date())\n"
            "\n\ndef downgrade():\n    pass\n",
        )
    else:
        made = migrations.make("change").path
        assert made is not None
        assert "update" not in made.read_text()  # a second look at every row, on every server
    migrations.migrate(allow_data_loss=True)
    with engine.connect() as connection:
        kept = connection.scalar(sa.select(sa.cast(table.c.at, String(30))))
    assert kept == "2001-02-03"


def test_a_longer_text_is_noticed(project: Path, metadata: MetaData, engine: sa.Engine) -> None:
    """Changes of a type or a length were never noticed."""
    table = Table(
        "item", metadata, Column("id", Integer, primary_key=True), Column("name", String(20))
    )
    migrations.init()
    table.c.name.type = String(40)
    change()


def test_a_changed_server_default_is_noticed(
    project: Path, metadata: MetaData, engine: sa.Engine
) -> None:
    """Changes of a server default were never noticed."""
    table = Table("item", metadata, Column("id", Integer, primary_key=True), Column("n", Integer))
    migrations.init()
    table.c.n.server_default = sa.DefaultClause("7")
    change()
    with engine.begin() as connection:
        connection.execute(table.insert().values(id=1))
    assert values(engine, table, "n") == [7]


def test_a_new_member_of_an_enum_is_noticed(
    project: Path, metadata: MetaData, engine: sa.Engine
) -> None:
    """It was not noticed, and storing it failed on the servers."""
    before = Table(
        "item",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("color", Enum(Color, name="color"), nullable=False),
    )
    migrations.init()
    with engine.begin() as connection:
        connection.execute(before.insert().values(id=1, color=Color.red))
    metadata.remove(before)
    after = Table(
        "item",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("color", Enum(MoreColor, name="color"), nullable=False),
    )
    change()
    with engine.begin() as connection:
        connection.execute(after.insert().values(id=2, color=MoreColor.blue))
    assert values(engine, after, "color") == [MoreColor.red, MoreColor.blue]


@pytest.mark.parametrize(
    ("kind", "default"),
    [
        (Enum(Color, name="color"), Color.green),
        (JSON(), ["a", 'b"c']),
        (JSON(), {"a": [1, None]}),
        (Uuid(), uuid.UUID("489d2319-0000-4000-8000-000000000001")),
        (Boolean(), True),
    ],
    ids=["enum", "list", "dict", "uuid", "bool"],
)
def test_a_default_of_any_kind_reaches_existing_rows(
    item: Table, engine: sa.Engine, kind: Any, default: Any
) -> None:
    """makemigrations crashed: no literal value renderer is available."""
    item.append_column(Column("extra", kind, nullable=False, default=lambda: default))
    item.c.extra.default = sa.ColumnDefault(default)
    change()
    assert values(engine, item, "extra") == [default, default]


def test_a_script_names_no_dialect(project: Path, metadata: MetaData, engine: sa.Engine) -> None:
    """A script made on one server failed on another: ``sa.text('1')`` for a boolean."""
    Table(
        "item",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("ok", Boolean, nullable=False, server_default=sa.true()),
        Column("at", DateTime, server_default=func.now()),
        Column("price", sa.Numeric(10, 2), server_default="1.5"),
        Column("text", String(10), server_default=""),
    )
    made = migrations.init()
    assert made.path is not None
    text = made.path.read_text()
    assert "dialects" not in text
    assert "sa.true()" in text
    for name in ("sqlite", "postgresql", "mysql", "mariadb"):
        assert "CREATE TABLE" in migrations.sql(dialect=name)


def test_a_dropped_unique_is_noticed_though_it_has_no_name(
    project: Path, metadata: MetaData, engine: sa.Engine
) -> None:
    """Where the constraint had no name, its removal was not noticed."""
    plain = MetaData()
    Table("item", plain, Column("id", Integer, primary_key=True), Column("n", Integer, unique=True))
    plain.create_all(engine)
    table = Table(
        "item", metadata, Column("id", Integer, primary_key=True), Column("n", Integer, unique=True)
    )
    migrations.init(adopt=True)
    assert migrations.differences() == ()
    metadata.remove(table)
    Table("item", metadata, Column("id", Integer, primary_key=True), Column("n", Integer))
    change()
    with engine.begin() as connection:
        connection.execute(table.insert(), [{"id": 1, "n": 5}, {"id": 2, "n": 5}])


def test_each_base_keeps_its_naming_convention(
    project: Path, metadata: MetaData, engine: sa.Engine
) -> None:
    """Tables of several bases were copied, and their constraints lost their names."""

    class Base(DeclarativeBase):
        metadata = MetaData(naming_convention={**NAMING_CONVENTION, "uq": "unique_%(table_name)s"})

    class Other(Base):
        __tablename__ = "other"
        id = Column(Integer, primary_key=True)
        n = Column(Integer, unique=True)

    Table("item", metadata, Column("id", Integer, primary_key=True))
    ModelRegistry.register(Base)
    made = migrations.init()
    assert made.path is not None
    assert "unique_other" in made.path.read_text()
    assert Other.__tablename__ in sa.inspect(engine).get_table_names()


def test_a_model_that_is_declared_later_is_seen(
    item: Table, metadata: MetaData, engine: sa.Engine
) -> None:
    """The tables were remembered when they were first asked for."""
    assert len(ModelRegistry.get_metadata()) == 1
    Table("later", metadata, Column("id", Integer, primary_key=True))
    change()
    assert "later" in sa.inspect(engine).get_table_names()


def test_two_heads_are_named_and_merged(project: Path, item: Table) -> None:
    """The advice was to migrate, which failed."""
    (head,) = migrations.heads()
    for name in ("aaaa", "bbbb"):
        body = f"revision = {name!r}\ndown_revision = {head!r}\n"
        empty = "def upgrade():\n    pass\n\n\ndef downgrade():\n    pass\n"
        (project / "alembic" / "versions" / f"{name}.py").write_text(f"{body}\n\n{empty}")
    assert rx.check_schema().name == "several heads"
    with pytest.raises(MigrationError, match="rxdb db merge"):
        migrations.migrate()
    migrations.merge("join")
    migrations.migrate()
    assert rx.check_schema().is_current


def test_an_unknown_revision_is_not_taken_for_a_known_one(item: Table, engine: sa.Engine) -> None:
    """Every revision looked applied, and the start was silent."""
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'ffffffff'")
    now = rx.check_schema()
    assert now.name == "ahead"
    assert now.unknown == ("ffffffff",)
    with pytest.raises(MigrationError, match="ffffffff"):
        migrations.migrate()
    with pytest.raises(SchemaOutdated):
        migrations.make("more")


def test_a_failed_init_can_be_repeated(project: Path, metadata: MetaData, url: str) -> None:
    """What was left behind made the second try say: already initialized."""
    Table("item", metadata, Column("id", Integer, primary_key=True))
    broken = f"{url}/no/such/place"
    with pytest.raises(Exception, match=r"."):
        migrations.init(url=broken)
    assert list(project.iterdir()) == []
    migrations.init()
    assert rx.check_schema().is_current


def test_alembics_own_commands_work(project: Path, item: Table) -> None:
    """``alembic current`` failed: the generated env.py and its URL were for show."""
    from alembic import command
    from alembic.config import Config

    printed = io.StringIO()
    config = Config(str(project / "alembic.ini"), stdout=printed)
    command.current(config)
    assert "(head)" in printed.getvalue()
    command.downgrade(config, "base")
    command.upgrade(config, "head")
    assert rx.check_schema().is_current


def test_data_is_lost_only_when_somebody_said_so(
    item: Table, metadata: MetaData, engine: sa.Engine
) -> None:
    """A dropped column was dropped without a question."""
    item.append_column(Column("note", String(10), nullable=False, default="x"))
    change("add")
    metadata.remove(item)
    Table("item", metadata, Column("id", Integer, primary_key=True))
    migrations.make("drop")
    with pytest.raises(DataLoss, match=re.compile("item.note.*2|2.*item.note")):
        migrations.migrate()
    assert values(engine, item, "note") == ["x", "x"]


@pytest.mark.needs(Feature.TRANSACTIONAL_DDL)
def test_a_failing_revision_leaves_nothing_behind(
    project: Path, item: Table, engine: sa.Engine
) -> None:
    """A template that committed each statement left the table, and the next try failed."""
    write(
        project,
        "def upgrade():\n"
        "    op.create_table('left', sa.Column('id', sa.Integer, primary_key=True))\n"
        "    raise ValueError('stop')\n\n\ndef downgrade():\n    pass\n",
    )
    with pytest.raises(MigrationFailed, match="stop"):
        migrations.migrate()
    assert "left" not in sa.inspect(engine).get_table_names()


def test_a_percent_sign_in_the_url_or_the_folder_changes_nothing(
    target: rx.Target, url: str, metadata: MetaData, tmp_path: Path
) -> None:
    """Alembic's ini took it for an interpolation. The URL is not in the ini."""
    Table("item", metadata, Column("id", Integer, primary_key=True))
    folder = tmp_path / "100% %(here)s"
    folder.mkdir()
    password = target.url.password
    written = url.replace(f":{password}@", f":{str(password)[:-1]}%{ord(str(password)[-1]):x}@")
    place = written if password else f"{target.url.drivername}:///{quote(str(folder))}/a.db"
    rx.set_config(rx.Config(db_url=place, folder=folder))
    migrations.init()
    migrations.make("more", empty=True)
    migrations.migrate()
    assert rx.check_schema().is_current


@pytest.mark.needs(Feature.TRANSACTIONAL_DDL, Feature.SCHEMAS, Feature.TLS)
def test_what_cannot_run_in_a_transaction_is_told_where_it_can(
    project: Path, item: Table, engine: sa.Engine
) -> None:
    """CREATE INDEX CONCURRENTLY failed, or waited for the migration's own lock for ever."""
    statement = "op.execute('CREATE INDEX CONCURRENTLY ix_item ON item (id)')"
    body = f"def upgrade():\n    {statement}\n\n\ndef downgrade():\n    pass\n"
    file = write(project, body)
    with pytest.raises(OutsideTransaction, match=r"autocommit_block"):
        migrations.migrate()
    outside = f"with op.get_context().autocommit_block():\n        {statement}"
    file.write_text(file.read_text().replace(statement, outside))
    migrations.migrate()
    assert [index["name"] for index in sa.inspect(engine).get_indexes("item")] == ["ix_item"]


def test_sqlmodels_metadata_is_part_of_it() -> None:
    """Models of SQLModel are migrated without being registered."""
    assert SQLModel.metadata in ModelRegistry.get_metadata()
