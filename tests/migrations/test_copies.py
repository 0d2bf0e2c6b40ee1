"""A database that is a file is copied before a revision drops data, and nothing runs unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Column, Engine, Integer, MetaData, Table

from rxdb import Feature, Target, migrations
from rxdb.errors import DataLoss, MigrationFailed

pytestmark = pytest.mark.needs(Feature.REFLECTED_CONSTRAINTS)


@pytest.fixture
def item(project: Path, metadata: MetaData) -> Table:
    """A model whose table can be migrated."""
    return Table("item", metadata, Column("id", Integer, primary_key=True, autoincrement=False))


def begin(engine: Engine, item: Table, *body: str) -> None:
    """Create the table with three rows, and write a revision with this body."""
    migrations.init()
    with engine.begin() as connection:
        connection.execute(item.insert(), [{"id": n} for n in range(3)])
    made = migrations.make("by hand", empty=True)
    assert made.path is not None
    lines = "".join(f"    {line}\n" for line in body)
    text = made.path.read_text().replace("def upgrade() -> None:\n", f"def upgrade():\n{lines}")
    assert body[0] in text
    made.path.write_text(text)


def count(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(sa.table("item"))) or 0)


def copies(target: Target) -> list[Path]:
    """Return the copies of the file, if the database is one."""
    file = target.dialect.file(target.url)
    return sorted(Path(file).parent.glob(f"{Path(file).name}.before-*")) if file else []


def test_nothing_is_dropped_unasked(item: Table, engine: Engine, target: Target) -> None:
    begin(engine, item, "op.drop_table('item')")
    with pytest.raises(DataLoss, match=r"Table item is dropped with its 3 rows\.\n.*--allow-data"):
        migrations.migrate()
    assert count(engine) == 3
    assert copies(target) == []


def test_a_copy_is_made_and_told_before_data_is_dropped(
    item: Table, engine: Engine, target: Target
) -> None:
    begin(engine, item, "op.drop_table('item')")
    told: list[str] = []
    migrations.migrate(allow_data_loss=True, tell=told.append)
    assert not sa.inspect(engine).has_table("item")
    for copy in copies(target):
        assert str(copy) in told[0]
        before = sa.create_engine(sa.URL.create(target.dialect.name, database=str(copy)))
        assert count(before) == 3
        before.dispose()
    assert bool(copies(target)) is (target.dialect.back_up is not None)


def test_no_copy_is_made_where_nothing_is_lost(item: Table, engine: Engine, target: Target) -> None:
    begin(engine, item, "op.add_column('item', sa.Column('a', sa.Integer))")
    migrations.migrate()
    assert copies(target) == []


@pytest.mark.needs(Feature.TRANSACTIONAL_DDL)
def test_what_a_failing_revision_dropped_is_there_again(
    item: Table, engine: Engine, target: Target
) -> None:
    begin(engine, item, "op.drop_table('item')", "op.execute('SELECT no FROM where_at_all')")
    with pytest.raises(MigrationFailed, match="rolled back"):
        migrations.migrate(allow_data_loss=True)
    assert count(engine) == 3


@pytest.mark.needs(Feature.TRANSACTIONAL_DDL)
def test_a_file_is_restored_when_a_script_had_committed_before_it_failed(
    item: Table, engine: Engine, target: Target
) -> None:
    begin(
        engine,
        item,
        "with op.get_context().autocommit_block():",
        "    op.drop_table('item')",
        "op.execute('SELECT no FROM where_at_all')",
    )
    with pytest.raises(MigrationFailed) as caught:
        migrations.migrate(allow_data_loss=True)
    if target.dialect.back_up is None:
        assert not sa.inspect(engine).has_table("item")
    else:
        assert "restored from" in "".join(caught.value.__notes__)
        assert count(engine) == 3


def test_what_comes_back_is_told_to_be_empty(item: Table, engine: Engine, target: Target) -> None:
    """A column that a downgrade adds again is filled with empty texts; that was not said."""
    begin(engine, item, "op.add_column('item', sa.Column('a', sa.Integer))")
    migrations.migrate()
    made = migrations.make("dropped", empty=True)
    assert made.path is not None
    text = made.path.read_text().partition("def upgrade()")[0]
    made.path.write_text(
        f"{text}def upgrade() -> None:\n    op.drop_column('item', 'a')\n\n\n"
        f"def downgrade() -> None:\n    op.add_column('item', sa.Column('a', sa.Integer))\n"
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE item SET a = 1")
    migrations.migrate(allow_data_loss=True)
    made_before = copies(target)
    told: list[str] = []
    migrations.downgrade("-1", tell=told.append)
    assert told[0] == (
        "Column item.a comes back without the values that it had, unless the script brings them "
        "back."
    )
    assert told[1:] == [
        f"The newest copy of the database from before that is {copy}." for copy in made_before
    ]
    assert bool(made_before) is (target.dialect.copy_before is not None)
    told.clear()
    migrations.downgrade("-1", allow_data_loss=True, tell=told.append)
    assert not [one for one in told if "comes back" in one]
