"""``rxdb db …`` on every server: what each command does, prints and exits with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table

import rxdb as rx
from rxdb import Feature, Target, cli, migrations

Answer = tuple[int, dict[str, Any]]


def db(*arguments: str) -> Result:
    """Run a command as a program does, without a terminal."""
    result = CliRunner().invoke(cli.cli, ["db", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def asked(*arguments: str) -> Answer:
    """Return the exit code and the object of ``--json``."""
    result = db(*arguments, "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    assert (result.exit_code == 0) is ("error" not in found)
    return result.exit_code, found


def done(*arguments: str) -> str:
    """Return what a command prints that has to succeed."""
    result = db(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str) -> str:
    """Return the sentence of a command that has to fail, and that prints nothing else."""
    result = db(*arguments)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.stderr


def script(project: Path, revision: str) -> Path:
    (found,) = (project / "alembic" / "versions").glob(f"{revision}_*.py")
    return found


def shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()))


def write(project: Path, revision: str, upgrade: str, downgrade: str = "pass") -> None:
    """Fill a revision by hand."""
    file = script(project, revision)
    before, _, _ = file.read_text().partition("def upgrade()")
    file.write_text(
        f"{before}def upgrade() -> None:\n    {upgrade}\n\n\n"
        f"def downgrade() -> None:\n    {downgrade}\n"
    )


@pytest.fixture
def user(project: Path, metadata: MetaData) -> Table:
    """The first version of a model, without a database yet."""
    return Table("user", metadata, Column("id", Integer, primary_key=True))


@pytest.fixture
def first(user: Table) -> str:
    """The first revision, applied."""
    _, found = asked("init")
    return str(found["revision"])


def test_from_nothing_to_a_change_and_back(user: Table, engine: Engine, project: Path) -> None:
    said = done("init").splitlines()
    database = said.pop(0)
    assert said[0] == "Table user was added."
    (first,) = migrations.heads()
    assert said[1] == f"Written: {shown(script(project, first))}"
    assert said[2].startswith(f"Applied {first}, initial, in ")
    assert said[3:] == [f"The database is at head ({first})."]

    user.append_column(Column("name", String(50)))
    said = done("makemigrations", "-m", "add a name").splitlines()
    (second,) = migrations.heads()
    assert said == [
        "Column user.name was added.",
        f"Written: {shown(script(project, second))}",
        "To apply it, run: rxdb db migrate",
    ]
    behind = done("status").splitlines()
    assert behind[1].startswith(f"  [✓] {first}, initial, 20")
    assert behind[1].endswith(" UTC")
    assert behind[2] == f"  [✗] {second} (head), add a name"
    assert behind[3].endswith(
        f"1 revision behind: it is at {first}, the newest is {second}. Run: rxdb db migrate"
    )
    named, applied, now = done("migrate").splitlines()
    assert named == database
    assert applied.startswith(f"Applied {second}, add a name, in ")
    assert now == f"The database is at head ({second})."
    assert done("status").splitlines()[2].startswith(f"  [✓] {second} (head), add a name, 20")
    named, taken, now = done("downgrade", "-1").splitlines()
    assert named == database
    assert taken.startswith(f"Taken back: {second}, add a name, in ")
    assert "1 revision behind" in now


def test_the_database_is_named_before_it_is_changed(
    first: str, user: Table, target: Target, engine: Engine
) -> None:
    """Whoever was asked whether to lose data was not told where."""
    url = target.url.render_as_string(hide_password=False)
    shown = target.url.render_as_string(hide_password=True)
    for command in (["migrate"], ["downgrade", "base"], ["init", "--adopt"]):
        assert done(*command).splitlines()[0] == f"{shown} (db_url of rx.Config)", command
        assert done(*command, "--url", url).splitlines()[0] == f"{shown} (--url)", command
    done("migrate")
    with engine.begin() as connection:
        connection.execute(user.insert(), [{"id": 1}])
    assert db("downgrade", "base").stdout == f"{shown} (db_url of rx.Config)\n"
    for command in (["migrate"], ["downgrade", "base"], ["init"]):
        _, found = asked(*command)
        assert (found["database"], found["source"]) == (shown, "db_url of rx.Config")


def test_what_needs_no_work_says_so(first: str) -> None:
    assert done("migrate").splitlines()[1:] == [
        f"Nothing to do. The database is at head ({first})."
    ]
    assert done("makemigrations", "-m", "nothing") == "No changes.\n"
    assert done("merge") == f"Nothing to merge: there is one head ({first}).\n"
    assert done("repair").splitlines()[0] == "No revision is half applied."
    assert done("wait", "--timeout", "5") == "The database answers.\n"
    code, found = asked("makemigrations")
    assert (code, found) == (0, {"revision": None, "path": None, "found": [], "proven": []})


def test_lists_the_revisions(first: str, project: Path) -> None:
    done("makemigrations", "--empty", "-m", "by hand")
    (second,) = migrations.heads()
    one, two = done("history").splitlines()
    assert one == f"{first}, initial  {shown(script(project, first))}"
    assert two == f"{second} (head), by hand  {shown(script(project, second))}"
    assert done("heads") == f"{two}\n"
    _, found = asked("history")
    assert [(r["id"], r["is_head"], r["follows"]) for r in found["revisions"]] == [
        (first, False, []),
        (second, True, [first]),
    ]


def test_data_is_lost_only_when_asked_for(first: str, user: Table, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(user.insert(), [{"id": 1}, {"id": 2}, {"id": 3}])
    said = refused("downgrade", "base")
    assert "would lose data" in said
    assert "3 rows" in said
    assert "--allow-data-loss" in said
    code, found = asked("downgrade", "base")
    assert (code, found["error"]["kind"], found["applied"]) == (1, "DataLoss", [])
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(user)) == 3
    done("downgrade", "base", "--allow-data-loss")
    assert not sa.inspect(engine).has_table("user")


def test_a_plan_changes_nothing(first: str, user: Table, engine: Engine, target: Target) -> None:
    with engine.begin() as connection:
        connection.execute(user.insert(), [{"id": 1}, {"id": 2}])
    before = asked("status")
    said = done("downgrade", "base", "--plan")
    assert f"  Take back {first}, initial\n    Table user is dropped.\n" in said
    assert "DROP TABLE" in said
    assert "This could lose data: Table user is dropped with its 2 rows." in said
    _, found = asked("downgrade", "base", "--plan")
    (plan,) = found["plans"]
    assert plan["target"].startswith(target.url.render_as_string().split("?")[0])
    assert [(loss["rows"], loss["kind"]) for loss in plan["losses"]] == [(2, "drop table")]
    assert asked("status") == before
    assert "Nothing to do." in done("migrate", "--plan")


@pytest.mark.parametrize(
    "way",
    [("downgrade", "nowhere"), ("downgrade", "-9"), ("migrate", "nowhere"), ("migrate", "+9")],
)
def test_a_plan_to_nowhere_says_what_the_command_would_say(
    first: str, way: tuple[str, str]
) -> None:
    said = refused(*way)
    assert refused(*way, "--plan") == said
    assert ("nowhere" in said) is (way[1] == "nowhere")


def test_a_plan_tells_of_an_unknown_revision(first: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'gone'")
    assert refused("migrate", "--plan") == refused("migrate")


def test_a_plan_of_an_empty_database_makes_no_table(
    user: Table, engine: Engine, target: Target
) -> None:
    done("init")
    done("downgrade", "base")
    with engine.begin() as connection:
        for name in sa.inspect(connection).get_table_names():
            quoted = connection.dialect.identifier_preparer.quote(name)
            connection.exec_driver_sql(f"DROP TABLE {quoted}")
    said = done("migrate", "--plan", "--dialect", target.dialect.name)
    assert "Table user is added, with id." in said
    assert f"\n{target.dialect.title}\n" in said
    assert "No data would be lost." in said
    assert sa.inspect(engine).get_table_names() == []


def test_sql_is_written_without_a_database(first: str) -> None:
    said = done("migrate", "--sql")
    assert "CREATE TABLE" in said
    assert "alembic_version" in said
    assert "DROP TABLE" in done("downgrade", "base", "--sql")


@pytest.mark.needs(Feature.REFLECTED_CONSTRAINTS)
def test_sql_that_needs_the_table_as_it_is_points_to_the_plan(
    user: Table, metadata: MetaData, target: Target
) -> None:
    """It was told in Alembic's words, of a mode that nobody had asked for."""
    name = Column("name", String(50))
    user.append_column(name)
    done("init")
    name.nullable = False
    done("makemigrations", "-m", "no nulls")
    if Feature.ALTER_COLUMN in target.dialect.features:
        assert "NOT NULL" in done("migrate", "--sql")
        return
    said = refused("migrate", "--sql")
    assert said == (
        "A revision builds the table user again out of what it is in the database, and --sql looks "
        "at none. To see what each revision does, run: rxdb db migrate --plan\n"
    )
    assert "user.name refuses NULL" in done("migrate", "--plan")


def test_an_unknown_revision_is_told(first: str, engine: Engine) -> None:
    """In Reflex ``status`` then shows each revision with ✓, and migrate ends in a traceback."""
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'gone'")
        connection.exec_driver_sql("DELETE FROM rxdb_migration_log")
    said = done("status")
    assert f"  [?] {first} (head), initial\n" in said
    assert "  [?] gone, no script here describes it\n" in said
    assert "✓" not in said
    way_out = "Only if its script is gone for good, run: rxdb db stamp --purge head\n"
    assert said.endswith(way_out)
    for command in (
        ("migrate",),
        ("downgrade", "-1"),
        ("makemigrations",),
        ("check",),
        ("stamp", "head"),
    ):
        assert refused(*command).endswith(way_out), command
    assert "nowhere" in refused("stamp", "nowhere", "--purge")
    code, found = asked("migrate")
    assert (code, found["error"]["kind"]) == (1, "UnknownRevision")
    assert done("stamp", "--purge", "head") == f"The database is at head ({first}).\n"
    assert done("check").startswith(f"The database is at head ({first}).\n")


@pytest.mark.parametrize("heads", [0, 2])
def test_an_unknown_revision_is_forgotten_with_no_head_or_several(
    first: str, engine: Engine, project: Path, heads: int
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'gone'")
    if heads:
        text = script(project, first).read_text()
        (project / "alembic" / "versions" / "two.py").write_text(text.replace(first, "2" * 12))
    else:
        script(project, first).unlink()
    newest = "heads" if heads else "base"
    assert refused("check").endswith(f"run: rxdb db stamp --purge {newest}\n")
    done("stamp", "--purge", newest)
    assert "gone" not in done("status")


def renamed(user: Table, old: Column[Any], new: Column[Any]) -> None:
    """Add a column with rows in it, and let the model call it otherwise."""
    user.append_column(old)
    done("makemigrations", "-m", "old", "--fill", f"user.{old.name}=x")
    done("migrate")
    with rx.session() as session:
        session.execute(user.insert(), [{"id": 1, old.name: "one"}])
        session.commit()
    remove(user, old)
    user.append_column(new)


def remove(table: Table, column: Column[Any]) -> None:
    table._columns.remove(column)


def pasted(said: str) -> list[list[str]]:
    """Return the commands that a sentence says to run."""
    return [
        shlex.split(line.partition("run: rxdb db ")[2])
        for line in said.splitlines()
        if "run: rxdb db " in line
    ]


@pytest.mark.needs(Feature.REFLECTED_CONSTRAINTS)
@pytest.mark.parametrize("nullable", [False, True])
def test_a_rename_is_asked_for_before_anything_is_written(
    first: str, user: Table, project: Path, nullable: bool
) -> None:
    """The line that was told led to a script that drops the column."""
    renamed(
        user,
        Column("name", String(50), nullable=nullable),
        Column("title", String(50), nullable=nullable),
    )
    before = migrations.heads()
    said = refused("makemigrations", "-m", "it's x", "--fill", "user.title=y")
    assert said.splitlines()[0] == (
        "user.name is gone from the models, and may have another name now."
    )
    rename, drop = pasted(said)
    fill = ["--fill", "user.title=y"]
    assert rename == ["makemigrations", "-m", "it's x", "--rename", "user.name=title"]
    assert drop == ["makemigrations", "-m", "it's x", *fill, "--no-rename", "user.name"]
    assert asked("makemigrations", "-m", "x")[1]["error"]["kind"] == "RenameUnclear"
    assert migrations.heads() == before
    done(*rename)
    done("migrate")
    done("check")
    with rx.session() as session:
        assert session.execute(sa.select(user.c.id, user.c.title)).all() == [(1, "one")]


@pytest.mark.needs(Feature.REFLECTED_CONSTRAINTS)
def test_a_column_that_was_not_renamed_is_dropped_when_it_is_said(first: str, user: Table) -> None:
    renamed(user, Column("name", String(50)), Column("title", String(50), nullable=False))
    _, drop = pasted(refused("makemigrations", "-m", "x"))
    assert "Add: --fill user.title=VALUE" in refused(*drop)
    assert "--no-rename user.nam: user.nam is not gone from the models. Gone: user.name." in (
        refused(*drop, "--no-rename", "user.nam", "--fill", "user.title=y")
    )
    said = done(*drop, "--fill", "user.title=y")
    assert "Column user.name was removed." in said
    assert "--allow-data-loss" in refused("migrate")
    done("migrate", "--allow-data-loss")
    done("check")


@pytest.mark.needs(Feature.REFLECTED_CONSTRAINTS)
def test_each_name_that_a_column_may_have_now_is_told(first: str, user: Table) -> None:
    renamed(user, Column("name", String(50)), Column("title", String(50)))
    user.append_column(Column("label", String(50)))
    title, label, _ = pasted(refused("makemigrations"))
    assert (title[-1], label[-1]) == ("user.name=title", "user.name=label")


@pytest.mark.needs(Feature.REFLECTED_CONSTRAINTS)
def test_a_table_that_may_have_another_name_is_not_dropped(
    first: str, user: Table, metadata: MetaData
) -> None:
    metadata.remove(user)
    Table("person", metadata, Column("id", Integer, primary_key=True))
    rename, drop = pasted(refused("makemigrations", "-m", "x", "--allow-drops"))
    assert rename == ["makemigrations", "-m", "x", "--allow-drops", "--rename", "user=person"]
    assert "Table user was removed." in done(*drop)
    Path(asked("history")[1]["revisions"][-1]["path"]).unlink()
    assert "Table user was renamed to person." in done(*rename)


def test_several_heads_are_merged(first: str, project: Path) -> None:
    """In Reflex there is no merge, and the advice is to run what then fails."""
    done("makemigrations", "--empty", "-m", "one")
    (one,) = migrations.heads()
    text = script(project, one).read_text()
    two = "2" * 12
    (project / "alembic" / "versions" / f"{two}_two.py").write_text(text.replace(one, two))
    for command in ("migrate", "makemigrations", "stamp", "check"):
        assert "Run: rxdb db merge" in refused(command), command
    assert len(done("heads").splitlines()) == 2
    said = done("merge", "-m", "both")
    assert "To apply it, run: rxdb db migrate" in said
    assert len(done("migrate").splitlines()) == 5
    assert len(done("heads").splitlines()) == 1
    assert f"(follows {one} and {two})" in done("history") or f"{two} and {one}" in done("history")


def test_check_fails_when_anything_differs(first: str, user: Table, target: Target) -> None:
    assert done("check").splitlines() == [
        f"The database is at head ({first}).",
        "The models are what the migrations say.",
    ]
    user.append_column(Column("name", String(50)))
    said = refused("check")
    assert "Column user.name was added." in said
    assert "Run: rxdb db makemigrations" in said
    code, found = asked("check")
    assert (code, found["differences"]) == (1, ["Column user.name was added."])
    assert found["error"]["kind"] == "SchemaOutdated"
    done("makemigrations", "-m", "name")
    assert "Run: rxdb db migrate" in refused("check")
    done("migrate")
    assert f"All revisions work on {target.dialect.title}." in done(
        "check", "--targets", target.dialect.name
    )


def test_init_on_tables_that_are_there(
    user: Table, metadata: MetaData, engine: Engine, project: Path
) -> None:
    metadata.create_all(engine)
    assert "rxdb db init --adopt" in refused("init")
    assert list(project.iterdir()) == []
    said = done("init", "--adopt")
    assert "The database is at head" in said
    assert "Applied" not in said
    done("check")


def test_a_failing_revision(
    first: str, project: Path, engine: Engine, target: Target, run: Callable[..., Any]
) -> None:
    done("makemigrations", "--empty", "-m", "two tables")
    (second,) = migrations.heads()
    tables = "; ".join(
        f"op.create_table('{name}', sa.Column('id', sa.Integer, primary_key=True))"
        for name in ("one", "one")
    )
    write(project, second, tables, "op.drop_table('one')")
    said = refused("migrate")
    assert f"The upgrade of {second} (two tables) failed: " in said
    if Feature.TRANSACTIONAL_DDL in target.dialect.features:
        assert "rolled back" in said
        assert not sa.inspect(engine).has_table("one")
        return
    assert "Run: rxdb db repair" in said or "run: rxdb db repair" in said
    assert "half applied: 1 of 2" in done("status")
    shown = done("repair")
    assert "  [✓] CREATE TABLE one (" in shown
    assert "  [✗] CREATE TABLE one (" in shown
    assert "rxdb db repair --clear" in shown
    _, found = asked("repair")
    assert [s["state"] for s in found["half"]["statements"]] == ["done", "failed"]
    assert "rxdb db repair" in refused("makemigrations")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE one")
    assert done("repair", "--clear").splitlines()[-1].endswith("Run: rxdb db migrate")
    assert "half" not in done("status")
    refused("migrate")
    assert done("repair", "--done").splitlines()[-1] == f"The database is at head ({second})."


def test_a_failing_revision_is_told_with_its_file_and_line(
    first: str, project: Path, target: Target
) -> None:
    done("makemigrations", "--empty", "-m", "bad")
    (second,) = migrations.heads()
    write(project, second, "bad()")
    file = script(project, second)
    file.write_text(f"{file.read_text()}\n\ndef bad() -> None:\n    op.execute('SELEC 1')\n")
    line = len(file.read_text().splitlines())
    said = refused("migrate").splitlines()
    assert "SELEC" in said[0]
    assert not said[0].endswith(")"), "the driver's tuple is shown"
    assert said[-2] == f"In {file}, line {line}"
    file.write_text(file.read_text().replace("    op.execute('SELEC 1')", "    raise KeyError"))
    if Feature.TRANSACTIONAL_DDL in target.dialect.features:
        told = refused("migrate").splitlines()
        assert told[0] == f"The upgrade of {second} (bad) failed: KeyError"
        assert told[1] == f"In {file}, line {line}"


def test_revisions_are_squashed(first: str, user: Table, project: Path, engine: Engine) -> None:
    user.append_column(Column("name", String(50)))
    done("makemigrations", "-m", "name")
    done("migrate")
    (head,) = migrations.heads()
    said = done("squash")
    assert "The 2 scripts are in " in said
    assert [r.id for r in migrations.history()] == [head]
    assert done("migrate").splitlines()[1:] == [f"Nothing to do. The database is at head ({head})."]
    done("downgrade", "base", "--allow-data-loss")
    done("migrate")
    done("check")


def test_no_password_is_shown(first: str, user: Table, target: Target) -> None:
    """In Reflex ``status`` prints the URL as it is."""
    password = target.url.password
    if not password:
        pytest.skip(f"{target.dialect.name} has no passwords")
    url = target.url.render_as_string(hide_password=False)
    for command in (
        ["status"],
        ["status", "--url", url],
        ["migrate", "--plan"],
        ["migrate"],
        ["init", "--json"],
        ["check", "--json"],
        ["repair"],
        ["status", "--url", url.replace(f":{password}@", f":{password}x@")],
        ["wait", "--timeout", "0", "--url", url.replace(f":{password}@", f":{password}x@")],
    ):
        result = db(*command)
        assert f":{password}" not in result.output, command
    assert rx.check_schema().is_current


def test_a_driver_that_is_asynchronous_only_works_too(first: str) -> None:
    _, found = asked("status")
    assert [r["applied"] for r in found["revisions"]] == [True]
    assert found["revisions"][0]["applied_at"].endswith("+00:00")
