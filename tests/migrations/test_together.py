"""The first revisions of an empty database may share a transaction; nothing else tells of it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, event

from rxdb import Feature, Target, migrations
from rxdb.errors import MigrationFailed
from rxdb.migrations import log, together

SCRIPT = '''"""about {own}"""
import sqlalchemy as sa
from alembic import op

revision = {own!r}
down_revision = {down!r}


def upgrade():
{body}
'''
TABLE = "op.create_table({own!r}, sa.Column('id', sa.Integer, primary_key=True))"

Write = Callable[..., None]


@pytest.fixture
def write(project: Path) -> Write:
    """Write revisions, each after the one before: what they do, by their names. Each does that
    and creates a table of its name."""
    versions = project / "alembic" / "versions"
    versions.mkdir(parents=True)
    (project / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/alembic\npath_separator = os\n"
    )

    def write(*, after: str | tuple[str, ...] | None = None, **bodies: str) -> None:
        for own, more in bodies.items():
            body = f"{TABLE.format(own=own)}\n{textwrap.dedent(more)}"
            text = SCRIPT.format(own=own, down=after, body=textwrap.indent(body, "    "))
            (versions / f"{own}.py").write_text(text)
            after = own

    return write


def applied(engine: Engine) -> list[str]:
    """Return the revisions of the log, after a look that each has made its table, and that the
    database is where the log ends."""
    with engine.connect() as connection:
        done = [entry.revision for entry in log.read(connection)]
        at = [
            row[0] for row in connection.execute(sa.text("SELECT version_num FROM alembic_version"))
        ]
    there = set(sa.inspect(engine).get_table_names())
    assert set(done) <= there
    assert at == done[-1:]
    assert len(set(done)) == len(done)
    return done


@contextmanager
def commits() -> Iterator[list[None]]:
    """Count the transactions that end with a COMMIT."""
    counted: list[None] = []

    def count(_: object) -> None:
        counted.append(None)

    event.listen(Engine, "commit", count)
    try:
        yield counted
    finally:
        event.remove(Engine, "commit", count)


def shares(target: Target) -> bool:
    """Whether the backend has revisions share a transaction."""
    return target.dialect.is_empty is not None


def test_an_empty_database_needs_no_transaction_for_each_revision(
    write: Write, target: Target, engine: Engine
) -> None:
    write(a="", b="", c="", d="", e="")
    with commits() as all_of_them:
        migrations.migrate()
    assert applied(engine) == list("abcde")
    write(after="e", f="", g="", h="", i="", j="")
    with commits() as again:
        migrations.migrate()
    assert applied(engine) == list("abcdefghij")
    saved = len(again) - len(all_of_them)
    assert (saved >= 3) is shares(target)


@pytest.mark.parametrize("kind", ["TABLE", "VIEW"])
def test_a_database_with_a_table_gets_a_transaction_for_each_revision(
    write: Write, engine: Engine, kind: str
) -> None:
    made = {"TABLE": "TABLE busy (id INTEGER)", "VIEW": "VIEW busy AS SELECT 1 AS id"}[kind]
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE {made}")
    write(a="", b="", c="", d="", e="")
    with commits() as counted:
        migrations.migrate()
    assert applied(engine) == list("abcde")
    assert len(counted) >= 5


@pytest.mark.needs(Feature.SCHEMAS)
def test_a_table_of_another_schema_counts(write: Write, target: Target, engine: Engine) -> None:
    write(a="", b="", c="", d="", e="")
    with engine.begin() as connection:
        own = f"other_{uuid4().hex[:12]}"
        connection.execute(sa.schema.CreateSchema(own))
        connection.exec_driver_sql(f"CREATE TABLE {own}.busy (id INTEGER)")
    try:
        with commits() as counted:
            migrations.migrate()
    finally:
        with engine.begin() as connection:
            connection.execute(
                sa.schema.DropSchema(own, cascade=target.dialect.is_empty is not None)
            )
    assert len(counted) >= 5


@pytest.mark.parametrize("is_busy", [False, True])
@pytest.mark.parametrize(
    "wrong",
    ["raise ValueError('stop')", TABLE.format(own="a"), "op.execute('SELECT no FROM where')"],
)
def test_what_was_applied_before_a_failure_stays(
    write: Write, engine: Engine, target: Target, is_busy: bool, wrong: str
) -> None:
    if is_busy:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE busy (id INTEGER)")
    write(a="", b="", c=wrong, d="", e="")
    with pytest.raises(MigrationFailed, match="about c") as caught:
        migrations.migrate()
    assert ("rolled back" in str(caught.value)) is (
        Feature.TRANSACTIONAL_DDL in target.dialect.features
    )
    assert applied(engine) == ["a", "b"]
    assert sa.inspect(engine).has_table("c") is (
        Feature.TRANSACTIONAL_DDL not in target.dialect.features
    )
    if Feature.TRANSACTIONAL_DDL in target.dialect.features:
        write(after="b", c="")
        assert [one.revision for one in migrations.migrate()] == ["c", "d", "e"]
        assert applied(engine) == list("abcde")


@pytest.mark.parametrize(
    "name", ["autocommit_block", "' '.join(['autocommit', 'block']).replace(' ', '_')"]
)
@pytest.mark.needs(Feature.TRANSACTIONAL_DDL)
def test_a_revision_outside_of_a_transaction_is_between_the_others(
    write: Write, engine: Engine, name: str
) -> None:
    """Whether reading the script tells of it or not."""
    asked = name if "'" in name else repr(name)
    block = f"""
        with getattr(op.get_context(), {asked})():
            op.execute("CREATE INDEX ix_c ON c (id)")
    """
    write(a="", b="", c=block, d="raise ValueError('stop')", e="")
    with pytest.raises(MigrationFailed, match="about d"):
        migrations.migrate()
    assert applied(engine) == list("abc")
    write(after="c", d="")
    assert [one.revision for one in migrations.migrate()] == ["d", "e"]
    assert [index["name"] for index in sa.inspect(engine).get_indexes("c")] == ["ix_c"]


@pytest.mark.needs(Feature.CONCURRENT_WRITES, Feature.TRANSACTIONAL_DDL)
@pytest.mark.sync_driver
def test_a_script_sees_what_the_ones_before_have_committed(write: Write, engine: Engine) -> None:
    """Through a connection of its own. Where it does not, its CREATE TABLE waits for the
    migration, which waits for it."""
    look = """
        import rxdb as rx
        with rx.session() as session:
            if not sa.inspect(session.get_bind()).has_table("b"):
                session.execute(sa.text("CREATE TABLE b (id INTEGER)"))
            session.execute(sa.text("INSERT INTO b (id) VALUES (7)"))
            getattr(session, "com" + "mit")()  # which reading the script does not find
    """
    write(a="", b="", c=look, d="")
    sent: list[str] = []

    def note(*given: Any) -> None:
        sent.append(given[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        migrations.migrate()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert applied(engine) == list("abcd")
    assert "CREATE TABLE b (id INTEGER)" not in sent
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT id FROM b")) == 7


def test_a_script_reads_what_it_has_just_made(write: Write, target: Target, engine: Engine) -> None:
    body = """
        op.bulk_insert(sa.table("b", sa.column("id")), [{"id": 1}, {"id": 2}])
        op.add_column("b", sa.Column("twice", sa.Integer))
        bind = op.get_bind()
        for id_ in bind.scalars(sa.text("SELECT id FROM b")).all():
            done = bind.execute(sa.text(f"UPDATE b SET twice = 2 * id WHERE id = {id_}"))
            assert done.rowcount == 1
        op.create_index("ix_b", "b", ["twice"])
        assert sa.inspect(bind).has_table("a")
    """
    write(a="", b=body, c="", d="", e="", f="")
    with commits() as counted:
        migrations.migrate()
    assert applied(engine) == list("abcdef")
    assert (len(counted) < 6) is shares(target)
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT id, twice FROM b ORDER BY id")).all()
    assert rows == [(1, 2), (2, 4)]


def test_branches_end_where_they_meet(write: Write, engine: Engine) -> None:
    write(a="", b="", c="")
    write(after="b", d="")
    write(after=("c", "d"), e="")
    migrations.migrate()
    assert set(applied(engine)) == set("abcde")


def test_a_transaction_does_not_grow_for_ever(
    write: Write, engine: Engine, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "MOST", 3)
    write(a="", b="", c="", d="", e="")
    told: list[tuple[str, int, int]] = []
    with commits() as counted:
        migrations.migrate(starting=lambda own, _, number, total: told.append((own, number, total)))
    assert applied(engine) == list("abcde")
    assert len(counted) >= (3 if shares(target) else 5)
    assert told == [(own, number, 5) for number, own in enumerate("abcde", start=1)]


def test_alembic_says_which_revisions_it_runs(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write(a="", b="", c="")
    with caplog.at_level("INFO", "alembic.runtime.migration"):
        migrations.migrate()
    said = [record.getMessage() for record in caplog.records if "about" in record.getMessage()]
    assert said == [
        "Running upgrade  -> a, about a",
        "Running upgrade a -> b, about b",
        "Running upgrade b -> c, about c",
    ]


def test_who_asks_alembic_for_a_transaction_for_each_revision_gets_it(
    write: Write, project: Path, engine: Engine
) -> None:
    write(a="", b="", c="", d="", e="")
    (project / "alembic" / "env.py").write_text(
        "from rxdb.migrations.environment import run\nrun(transaction_per_migration=True)\n"
    )
    with commits() as counted:
        migrations.migrate()
    assert applied(engine) == list("abcde")
    assert len(counted) >= 5


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("CREATE TABLE a (begin_at INTEGER, local INTEGER, CONSTRAINT c UNIQUE (local))", ""),
        ("INSERT INTO a (b) VALUES ('begin')", ""),
        ("SAVEPOINT a", ""),
        ("ROLLBACK TO SAVEPOINT a", ""),
        ("SET search_path TO a", ""),
        ("COMMIT", "COMMIT"),
        ("-- done\ncommit", "commit"),
        ("UPDATE a SET b = 1; COMMIT", "; COMMIT"),
        ("ROLLBACK", "ROLLBACK"),
        ("BEGIN", "BEGIN"),
        ("START TRANSACTION", "START TRANSACTION"),
        ("SET LOCAL search_path TO a", "SET LOCAL"),
        ("SET CONSTRAINTS ALL DEFERRED", "SET CONSTRAINTS"),
        ("SELECT set_config('search_path', 'a', true)", "set_config"),
    ],
)
def test_what_lasts_until_the_end_of_a_transaction_is_found(statement: str, found: str) -> None:
    assert together.find(together.STATEMENT, statement) == found


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("", ""),
        ("op.execute('SET search_path TO a')", ""),
        ("op.drop_table('locals')  # of the engineers' commits", ""),
        ("with op.get_context().autocommit_block(): ...", "autocommit_block"),
        ("op.get_bind().commit()", "commit"),
        ("helper(op.get_bind().engine)", "engine"),
        ("op.get_bind().connection.cursor()", ".connection"),
        ("op.execute('set local search_path to a')", "set local"),
    ],
)
def test_a_script_that_needs_a_transaction_of_its_own_is_found(more: str, found: str) -> None:
    script = SCRIPT.format(own="a", down=None, body=f"    {TABLE.format(own='a')}\n    {more}")
    assert together.find(together.SCRIPT, script) == found
