"""A revision that stopped half-way goes on where it stopped, where DDL cannot be rolled back."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, event, inspect, text
from sqlalchemy.exc import DBAPIError

from rxdb import Feature, Target
from rxdb.errors import HalfApplied
from rxdb.migrations.journal import Half, Journal, first_word, forget, kind, read

MakeEngine = Callable[..., Engine]


class Killed(BaseException):
    """Stands for the end of the process: nothing is cleaned up after it."""


class Count:
    """Counts what is sent to the server, and ends the process before one of them."""

    def __init__(self, kill_at: int) -> None:
        self.statements: list[str] = []
        self.kill_at = kill_at

    @property
    def is_over(self) -> bool:
        return 0 < self.kill_at <= len(self.statements)

    def add(self, statement: str) -> None:
        self.statements.append(statement)
        if len(self.statements) == self.kill_at:
            raise Killed


class Project:
    """A folder of revisions, and one database without transactional DDL."""

    def __init__(self, folder: Path, make: Callable[[], Engine], target: Target) -> None:
        self.folder, self.make, self.target = folder, make, target
        (folder / "versions").mkdir(parents=True)
        self.config = Config()
        self.config.set_main_option("script_location", str(folder))
        self.config.set_main_option("path_separator", "os")

    def write(self, revision: str, upgrade: str, downgrade: str = "pass", down: str = "") -> None:
        indented = textwrap.indent(textwrap.dedent(upgrade).strip(), "    ")
        (self.folder / "versions" / f"{revision}.py").write_text(
            "import sqlalchemy as sa\nfrom alembic import op\n"
            f"revision = {revision!r}\ndown_revision = {down or None!r}\n"
            f"def upgrade():\n{indented}\n"
            f"def downgrade():\n{textwrap.indent(textwrap.dedent(downgrade).strip(), '    ')}\n"
        )

    def migrate(
        self, destination: str = "head", kill_at: int = 0, direction: str = "upgrade"
    ) -> list[str]:
        """Run the revisions; return the statements that reached the server."""
        engine, sent, counted = self.make(), list[str](), Count(kill_at)
        journal = Journal(engine, self.target.dialect)
        script = ScriptDirectory.from_config(self.config)

        event.listen(engine, "before_cursor_execute", lambda *given: counted.add(given[2]))
        event.listen(engine, "commit", lambda _: counted.add("COMMIT"))

        def send(statement: str) -> None:
            """Also between the row of the journal and its DDL statement."""
            counted.add(statement)
            sent.append(" ".join(statement.split()))

        def steps(revision: Any, context: Any) -> Iterator[RevisionStep]:
            for step in getattr(script, f"_{direction}_revs")(destination, revision):
                step.migration_fn = self.journaled(journal, connection, step, send)
                yield step

        def applied(*_: object, **__: object) -> None:
            journal.finish(connection)

        with engine.connect() as connection:
            try:
                with EnvironmentContext(self.config, script, fn=steps) as environment:
                    environment.configure(
                        connection=connection,
                        transactional_ddl=False,
                        transaction_per_migration=True,
                        on_version_apply=applied,
                    )
                    with environment.begin_transaction():
                        environment.run_migrations()
            except BaseException as error:
                if counted.is_over:  # what was raised since is of no interest
                    connection.invalidate()
                    raise Killed from error
                raise
        self.counted = counted.statements
        return sent

    def journaled(
        self,
        journal: Journal,
        connection: Connection,
        step: RevisionStep,
        send: Callable[[str], None],
    ) -> Callable[..., None]:
        function, direction = step.migration_fn, "upgrade" if step.is_upgrade else "downgrade"

        def work(**_: object) -> None:
            with journal.revision(connection, step.revision, direction), watched(journal, send):
                function()

        return work

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self.make().connect() as connection:
            yield connection

    def value(self, query: str) -> Any:
        with self.connect() as connection:
            return connection.execute(text(query)).scalar()

    def half(self) -> Half | None:
        with self.connect() as connection:
            return read(connection)

    def empty(self) -> None:
        with self.make().begin() as connection:
            for name in inspect(connection).get_table_names():
                connection.exec_driver_sql(f"DROP TABLE {name}")


@contextmanager
def watched(journal: Journal, send: Callable[[str], None]) -> Iterator[None]:
    """Tell of the statements of the script that are executed, and not left out."""
    running: Any = journal._running
    ddl, data = running.ddl, running.data

    def note(step: Callable[..., Any]) -> Callable[..., Any]:
        def noted(statement: str, cursor: Any, execute: Callable[[], None], **options: bool) -> Any:
            def executed() -> None:
                send(statement)
                execute()

            return step(statement, cursor, executed, **options)

        return noted

    running.ddl, running.data = note(ddl), note(data)
    yield


@pytest.fixture(params=["own", "inspector"])
def project(
    target: Target, make_engine: MakeEngine, tmp_path: Path, request: pytest.FixtureRequest
) -> Project:
    """Once with the backend's own fingerprint, once with that of SQLAlchemy's inspector."""
    if Feature.TRANSACTIONAL_DDL in target.dialect.features:
        pytest.skip("a failure rolls DDL back, so nothing is ever half applied")
    if request.param == "inspector":
        target = replace(target, dialect=replace(target.dialect, fingerprint=None))
    return Project(tmp_path / "alembic", lambda: make_engine(poolclass=NullPool), target)


FIRST = """
op.create_table("a", sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))
t = sa.table("a", sa.column("id", sa.Integer), sa.column("n", sa.Integer))
op.bulk_insert(t, [{"n": 1}, {"n": 2}, {"n": 3}])
op.add_column("a", sa.Column("m", sa.Integer))
for id, n in op.get_bind().execute(sa.text("SELECT id, n FROM a WHERE m IS NULL")).all():
    op.get_bind().execute(sa.text("UPDATE a SET m = :m WHERE id = :id"), {"m": n * 10, "id": id})
op.execute("INSERT INTO a (n, m) VALUES (4, 40)")
op.create_index("a_n", "a", ["n"])
op.execute("UPDATE a SET n = n + 1")
op.rename_table("a", "b")
op.execute("UPDATE b SET m = m + 1")
"""


ENDING = """
op.execute("CREATE TABLE b (n integer, m integer)")
op.execute("INSERT INTO b VALUES (1, 1), (2, 2)")
op.execute("UPDATE b SET n = n + 1")
with op.get_context().autocommit_block():
    op.execute("UPDATE b SET n = n * 2")
    op.execute("UPDATE b SET n = n + 1")
op.execute("UPDATE b SET n = n + 10")
op.execute("COMMIT")
op.execute("UPDATE b SET n = n * 2")
op.add_column("b", sa.Column("x", sa.Integer))
"""


def rows(project: Project) -> list[tuple[int, int]]:
    with project.connect() as connection:
        return [(n, m) for n, m in connection.execute(text("SELECT n, m FROM b ORDER BY n"))]


EXPECTED = [(2, 11), (3, 21), (4, 31), (5, 41)]
SCRIPTS = {"rows and tables": (FIRST, EXPECTED), "transactions": (ENDING, [(30, 1), (34, 2)])}


@pytest.mark.parametrize(("script", "expected"), SCRIPTS.values(), ids=SCRIPTS.keys())
def test_every_point_of_a_kill_is_recovered_from(
    project: Project, script: str, expected: list[tuple[int, int]]
) -> None:
    project.write("r1", script)
    project.migrate()
    assert rows(project) == expected
    total = len(project.counted)
    assert total > 25
    for kill_at in range(1, total + 1):
        project.empty()
        with pytest.raises(Killed):
            project.migrate(kill_at=kill_at)
        project.migrate()
        assert rows(project) == expected, f"killed before statement {kill_at} of {total}"
        assert project.half() is None
        assert project.value("SELECT version_num FROM alembic_version") == "r1"


def test_a_second_kill_is_recovered_from_too(project: Project) -> None:
    project.write("r1", FIRST)
    for first, second in ((12, 12), (18, 20), (25, 14), (30, 22)):
        for kill_at in (first, second):
            with pytest.raises(Killed):
                project.migrate(kill_at=kill_at)
        project.migrate()
        assert rows(project) == EXPECTED, (first, second)
        project.empty()


BROKEN = """
op.create_table("a", sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))
op.execute("INSERT INTO a (id, n) VALUES (1, 7), (2, 7)")
op.add_column("a", sa.Column("m", sa.Integer))
op.create_index("a_n", "a", ["n"], unique=True)
op.execute("UPDATE a SET m = 1")
"""


def fail(project: Project) -> None:
    project.write("r1", BROKEN)
    with pytest.raises(DBAPIError):
        project.migrate()


def test_the_state_says_how_far_it_came(project: Project) -> None:
    fail(project)
    half = project.half()
    assert half is not None
    assert str(half) == "half applied: 3 of 5"
    assert (half.revision, half.direction) == ("r1", "upgrade")
    assert [step.state for step in half.statements] == ["done", "done", "done", "failed"]
    assert "CREATE UNIQUE INDEX" in half.statements[3].statement


def test_a_rerun_after_the_cause_is_gone_does_the_rest(project: Project) -> None:
    fail(project)
    with pytest.raises(DBAPIError):
        project.migrate()
    with project.make().begin() as connection:
        connection.execute(text("UPDATE a SET n = id"))
    sent = project.migrate()
    assert [s.split(" ")[0] for s in sent] == ["CREATE", "UPDATE"]
    assert project.value("SELECT count(*) FROM a WHERE m = 1") == 2
    assert project.half() is None


def test_a_script_may_be_corrected_where_it_failed(project: Project) -> None:
    fail(project)
    corrected = BROKEN.replace(
        'op.create_index("a_n"', 'op.execute("UPDATE a SET n = id")\nop.create_index("a_n"'
    )
    project.write("r1", corrected)
    sent = project.migrate()
    assert [s.split(" ")[0] for s in sent] == ["UPDATE", "CREATE", "UPDATE"]
    assert project.value("SELECT count(*) FROM a WHERE m = 1") == 2


def test_a_failed_statement_may_be_another(project: Project) -> None:
    fail(project)
    other = 'op.add_column("a", sa.Column("x", sa.Integer))\nop.create_index("a_x", "a", ["n"])'
    project.write("r1", BROKEN.replace('op.create_index("a_n", "a", ["n"], unique=True)', other))
    project.migrate()
    assert project.half() is None
    assert project.value("SELECT count(x) FROM a") == 0


def test_a_script_must_not_change_where_it_is_done(project: Project) -> None:
    fail(project)
    project.write(
        "r1", BROKEN.replace('sa.Column("m", sa.Integer)', 'sa.Column("m", sa.String(9))')
    )
    with pytest.raises(HalfApplied, match=r"3 of 5 are done\..*rxdb db repair"):
        project.migrate()


def test_a_script_must_not_lose_what_is_done(project: Project) -> None:
    fail(project)
    project.write("r1", BROKEN.partition("op.add_column")[0])
    with pytest.raises(HalfApplied, match="lacks what was done: ALTER TABLE a ADD"):
        project.migrate()


def test_another_revision_waits_for_the_half_one(project: Project) -> None:
    project.write("r0", "pass")
    project.write("r1", BROKEN, down="r0")
    with pytest.raises(DBAPIError):
        project.migrate()
    with pytest.raises(HalfApplied, match="upgrade of r1 was left half-way"):
        project.migrate("base", direction="downgrade")
    with project.make().begin() as connection:
        forget(connection)
    project.migrate("base", direction="downgrade")


def test_a_downgrade_is_journaled_too(project: Project) -> None:
    downgrade = """
    op.drop_index("a_n", "a")
    op.drop_column("a", "m")
    op.drop_table("missing")
    op.drop_table("a")
    """
    project.write("r1", BROKEN.replace(", unique=True", ""), downgrade)
    project.migrate()
    with pytest.raises(DBAPIError):
        project.migrate("base", direction="downgrade")
    assert str(project.half()) == "half applied: 2 of 4"
    with project.make().begin() as connection:
        connection.exec_driver_sql("CREATE TABLE missing (a integer)")
    assert len(project.migrate("base", direction="downgrade")) == 2
    assert project.half() is None


def test_keys_of_rows_that_are_there_are_known_to_the_rest(project: Project) -> None:
    script = """
    op.create_table("a", sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))
    n = sa.Column("n", sa.Integer)
    table = sa.Table("a", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), n)
    bind = op.get_bind()
    keys = [bind.execute(table.insert().values(n=n)).inserted_primary_key[0] for n in (5, 6)]
    changed = bind.execute(sa.text("UPDATE a SET n = n + 1")).rowcount
    op.create_table("c", sa.Column("a", sa.Integer), sa.Column("changed", sa.Integer))
    op.execute("STOP")
    for key in keys:
        bind.execute(sa.text("INSERT INTO c VALUES (:a, :n)"), {"a": key, "n": changed})
    """
    project.write("r1", script)
    with pytest.raises(DBAPIError):
        project.migrate()
    project.write("r1", script.replace('op.execute("STOP")', ""))
    project.migrate()
    with project.connect() as connection:
        found = connection.execute(text("SELECT a, changed FROM c ORDER BY a")).all()
    assert [tuple(row) for row in found] == [(1, 2), (2, 2)]


def test_what_was_read_is_known_to_the_rest(project: Project) -> None:
    """The table is gone when the script goes on with its rows."""
    script = """
    op.execute("CREATE TABLE old (n integer, d datetime, p decimal(9, 2), b blob, s varchar(9))")
    op.execute("INSERT INTO old VALUES (1, '2026-01-02 03:04:05', 1.25, x'00ff', 'é%')")
    op.execute("CREATE TABLE a (n integer, d datetime, p decimal(9, 2), b blob, s varchar(9))")
    rows = op.get_bind().execute(sa.text("SELECT * FROM old WHERE n = :n"), {"n": 1}).all()
    assert op.get_bind().execute(sa.text("SELECT count(*) FROM old")).scalar_one() == 1
    op.execute("DROP TABLE old")
    op.execute("STOP")
    for row in rows:
        insert = sa.text("INSERT INTO a VALUES (:n, :d, :p, unhex(:b), :s)")
        op.get_bind().execute(insert, {**row._mapping, "b": row.b.hex()})
    """
    project.write("r1", script)
    with pytest.raises(DBAPIError):
        project.migrate()
    assert str(project.half()) == "half applied: 4 done"
    project.write("r1", script.replace('op.execute("STOP")', ""))
    project.migrate()
    with project.connect() as connection:
        found = connection.execute(text("SELECT n, d, p, b, s FROM a")).one()
    expected = (
        1,
        datetime.fromisoformat("2026-01-02T03:04:05"),
        Decimal("1.25"),
        b"\x00\xff",
        "é%",
    )
    assert tuple(found) == expected


def test_what_the_database_returned_is_known_to_the_rest(project: Project) -> None:
    """Rows that the ORM added in one run get children in the next."""
    script = """
    from sqlalchemy.orm import Session, declarative_base
    Base = declarative_base()
    class A(Base):
        __tablename__ = "a"
        id = sa.Column(sa.Integer, primary_key=True)
        n = sa.Column(sa.Integer)
    A.__table__.create(op.get_bind())
    session = Session(op.get_bind())
    added = A(n=7)
    session.add(added)
    session.flush()
    op.execute("CREATE TABLE c (a integer)")
    op.execute("STOP")
    op.get_bind().execute(sa.text("INSERT INTO c VALUES (:a)"), {"a": added.id})
    """
    project.write("r1", script)
    with pytest.raises(DBAPIError):
        project.migrate()
    project.write("r1", script.replace('op.execute("STOP")', ""))
    project.migrate()
    assert project.value("SELECT count(*) FROM a JOIN c ON c.a = a.id") == 1


def test_a_script_that_looks_before_it_acts_goes_on(project: Project) -> None:
    project.write(
        "r1",
        """
        there = sa.inspect(op.get_bind()).get_table_names()
        if "a" not in there:
            op.execute("CREATE TABLE a (n integer)")
        op.execute("INSERT INTO a VALUES (1)")
        op.execute("CREATE TABLE b (n integer)")
        op.execute("INSERT INTO missing VALUES (1)")
        """,
    )
    with pytest.raises(DBAPIError):
        project.migrate()
    with project.make().begin() as connection:
        connection.exec_driver_sql("CREATE TABLE missing (n integer)")
    project.migrate()
    assert project.value("SELECT count(*) FROM a") == 1
    assert project.value("SELECT count(*) FROM missing") == 1


def test_temporary_tables_are_made_in_each_run(project: Project) -> None:
    script = """
    op.execute("CREATE TEMPORARY TABLE old AS SELECT 1 AS n")
    op.execute("CREATE TABLE a (n integer)")
    op.execute("STOP")
    op.execute("INSERT INTO a SELECT n FROM old")
    """
    project.write("r1", script)
    with pytest.raises(DBAPIError):
        project.migrate()
    project.write("r1", script.replace('op.execute("STOP")', "pass"))
    project.migrate()
    assert project.value("SELECT count(*) FROM a") == 1


def test_statements_outside_of_a_transaction_are_written_down(project: Project) -> None:
    project.write(
        "r1",
        """
        op.execute("CREATE TABLE a (n integer)")
        with op.get_context().autocommit_block():
            op.execute("INSERT INTO a VALUES (1)")
            op.execute("INSERT INTO a VALUES (2)")
        op.execute("INSERT INTO missing VALUES (1)")
        """,
    )
    with pytest.raises(DBAPIError):
        project.migrate()
    with project.make().begin() as connection:
        connection.exec_driver_sql("CREATE TABLE missing (n integer)")
    project.migrate()
    assert project.value("SELECT count(*) FROM a") == 2


def test_a_commit_of_the_script_itself_is_seen(project: Project) -> None:
    project.write(
        "r1",
        """
        op.execute("CREATE TABLE a (n integer)")
        op.execute("INSERT INTO a VALUES (1)")
        op.execute("COMMIT")
        op.execute("INSERT INTO missing VALUES (1)")
        """,
    )
    with pytest.raises(DBAPIError):
        project.migrate()
    with project.make().begin() as connection:
        connection.exec_driver_sql("CREATE TABLE missing (n integer)")
    project.migrate()
    assert project.value("SELECT count(*) FROM a") == 1


def test_no_password_is_written_down(project: Project) -> None:
    project.write(
        "r1",
        """
        op.execute("CREATE TABLE a (n integer) COMMENT = 'mysql://u:hunter2@h/d'")
        op.execute("CREATE USER 'rxdb_nobody'@'%%' IDENTIFIED BY 'hunter2' STOP")
        """,
    )
    with pytest.raises(DBAPIError):
        project.migrate()
    half = project.half()
    assert half is not None
    assert len(half.statements) == 2
    assert "hunter2" not in repr(half)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 1", None),
        ("  -- a comment\n  select 1", None),
        ("/* a */ (SELECT 1)", None),
        ("SET @x = 1", None),
        ("/*!40101 SET NAMES utf8 */", None),
        ("INSERT INTO a VALUES (1)", "data"),
        ("WITH x AS (SELECT 1) SELECT * FROM x", None),
        ("WITH x AS (SELECT 'update') SELECT * FROM x", None),
        ("WITH x AS (SELECT 1) UPDATE a SET n = 1", "data"),
        ("CREATE TABLE a (n integer)", "ddl"),
        ("drop index i on a", "ddl"),
        ("TRUNCATE TABLE a", "ddl"),
        ("INSERT INTO rxdb_migration_log VALUES (1)", None),
        ("", None),
    ],
)
def test_statements_are_told_apart(statement: str, expected: str | None) -> None:
    assert kind(statement) == expected
    assert first_word(statement).isupper() or not statement
