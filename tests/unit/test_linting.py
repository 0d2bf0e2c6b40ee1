"""What is found in models without a server: how it is told, allowed and asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from portability import EXAMPLES
from sqlalchemy import Column, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlmodel import SQLModel

import rxdb as rx
from rxdb import linting

ROOT = Path(__file__).resolve().parents[2]

EVERYWHERE = ["sqlite", "postgresql", "mysql", "mariadb"]


def thing(*parts: Any, **options: Any) -> MetaData:
    metadata = MetaData()
    Table("thing", metadata, Column("id", Integer, primary_key=True), *parts, **options)
    return metadata


def codes(metadata: MetaData, targets: list[str] | None = None) -> list[str]:
    return [finding.code for finding in rx.check_models(targets or EVERYWHERE, metadata)]


def test_every_code_has_an_example() -> None:
    assert {example.code for example in EXAMPLES} == set(linting.CODES)


def test_only_known_codes_are_found() -> None:
    assert {code for e in EXAMPLES for code in codes(e.broken.make())} == set(linting.CODES)


def test_a_finding_is_told_with_its_fix() -> None:
    (found,) = rx.check_models(EVERYWHERE, thing(Column("code", String(800)), Index("a", "code")))
    assert found == rx.Finding(
        code="key-too-long",
        model="thing",
        table="thing",
        part="a",
        targets=("mysql",),
        problem="The key can have 3200 bytes, and 3072 fit: CREATE is refused.",
        fix='Column("code", String(768))',
    )
    assert str(found).splitlines() == [
        "thing.a: key-too-long on MySQL",
        "  The key can have 3200 bytes, and 3072 fit: CREATE is refused.",
        '  Write: Column("code", String(768))',
    ]


def test_the_same_on_several_targets_is_one_finding() -> None:
    (found,) = rx.check_models(EVERYWHERE, thing(Column("at", sa.DateTime)))
    assert (found.code, found.targets) == ("naive-datetime", tuple(EVERYWHERE))


def test_the_fix_is_written_as_the_model_is() -> None:
    class Base(DeclarativeBase):
        pass

    class Lamp(Base):
        __tablename__ = "lamp"
        id: Mapped[int] = mapped_column(primary_key=True)
        lit_at: Mapped[str] = mapped_column(sa.DateTime)

    (found,) = rx.check_models(["sqlite"], Base.metadata)
    assert (found.model, found.part) == ("Lamp", "lit_at")
    assert found.fix == "lit_at = mapped_column(rx.UTCDateTime())"

    class Lantern(rx.Model, table=True):
        name: str = rx.Field(sa_type=Text, unique=True)

    try:
        found = next(f for f in rx.check_models(["mysql"]) if f.model == "Lantern")
    finally:
        SQLModel.metadata.remove(Lantern.__table__)  # type: ignore[attr-defined]  # SQLModel declares no __table__
    assert (found.code, found.fix) == ("text-key", "name = rx.Field(sa_type=String(255))")


AT: Any = {"info": {"rxdb_allow": ["naive-datetime"]}}


@pytest.mark.parametrize(
    "metadata",
    [
        thing(Column("at", sa.DateTime, **AT)),
        thing(Column("at", sa.DateTime), **AT),
        thing(Column("at", rx.UTCDateTime())),
    ],
)
def test_what_is_meant_is_left_out(metadata: MetaData) -> None:
    assert codes(metadata) == []


def test_an_index_is_allowed_by_its_own_info() -> None:
    allowed = {"rxdb_allow": ["text-key"]}
    assert codes(thing(Column("a", Text), Index("ix_a", "a", info=allowed))) == []
    assert codes(thing(Column("a", Text), Index("ix_a", "a"))) == ["text-key"]


def test_an_unknown_code_is_not_allowed() -> None:
    metadata = thing(Column("at", sa.DateTime, info={"rxdb_allow": ["naive-datetimes"]}))
    with pytest.raises(rx.BadArgument, match="Did you mean 'naive-datetime'"):
        rx.check_models(["sqlite"], metadata)


def test_a_constraint_of_one_backend_is_no_finding_on_another() -> None:
    check = sa.CheckConstraint("a ~ '^x'", name="ck_a")
    assert codes(thing(Column("a", String(9)), check)) == ["sql-words"]
    check = sa.CheckConstraint("a ~ '^x'", name="ck_a").ddl_if(dialect="postgresql")
    assert codes(thing(Column("a", String(9)), check)) == []


def test_the_targets_are_those_of_the_configuration() -> None:
    metadata = thing(Column("code", Text), Index("a", "code"))
    rx.set_config(rx.Config(db_url="sqlite://", targets=["mysql://me@db.example/shop"]))
    assert [f.targets for f in rx.check_models(metadata=metadata)] == [("mysql",)]
    rx.set_config(rx.Config(db_url=rx.DBConfig.mysql("shop")))
    assert [f.targets for f in rx.check_models(metadata=metadata)] == [("mysql",)]
    rx.set_config(rx.Config(db_url="sqlite://"))
    assert rx.check_models(metadata=metadata) == []
    with pytest.raises(rx.UnknownDialect):
        rx.check_models(["mysq"], metadata)


@pytest.mark.parametrize("name", ["cockroachdb", "duckdb", "mssql", "oracle"])
def test_other_backends_can_be_targets(name: str) -> None:
    made: Column[Any] = Column("a", rx.UTCDateTime(), server_default=sa.func.now())
    assert codes(thing(made), [name]) == []
    assert codes(thing(Column("a", sa.Integer)), [name]) == []
    assert codes(thing(Column("a", sa.Integer), sa.UniqueConstraint("a")), [name]) == [
        "unnamed-constraint"
    ]


def test_nothing_is_told_of_a_backend_that_nobody_looked_at() -> None:
    made = thing(Column("a", rx.UTCDateTime(), server_default=sa.text("now()")))
    assert codes(made, ["duckdb"]) == []
    assert codes(made, ["sqlite"]) == ["server-default"]


@pytest.mark.parametrize("name", ["postgresql", "mysql"])
def test_the_check_of_a_type_that_is_there_is_not_created(name: str) -> None:
    kind = sa.Boolean(create_constraint=True)
    expected = {"postgresql": [], "mysql": ["unnamed-constraint"]}[name]
    assert codes(thing(Column("a", kind)), [name]) == expected


def test_a_text_without_regard_to_case_is_meant() -> None:
    names: Column[str] = Column("name", rx.CaseInsensitiveText(60))
    unique = sa.UniqueConstraint("name", name="uq_thing_name")
    assert codes(thing(names, unique)) == []


def test_what_only_a_manual_tells() -> None:
    unique = sa.UniqueConstraint("a", name="uq_a")
    assert codes(thing(Column("a", String(9)), unique), ["mssql"]) == ["case-insensitive-key"]
    unique = sa.UniqueConstraint("a", name="uq_a")
    cased = String(9, collation="Latin1_General_CS_AS")
    assert codes(thing(Column("a", cased), unique), ["mssql"]) == []


MODELS = """
import rxdb as rx


class Order(rx.Model, table=True):
    code: str = rx.Field(max_length={length}, unique=True)
"""


def check(folder: Path, length: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "rxconfig.py").write_text(
        "import rxdb as rx\n\n"
        'config = rx.Config(db_url="sqlite:///shop.db", models=["shop_models"])\n'
    )
    (folder / "shop_models.py").write_text(MODELS.format(length=length))
    command = [sys.executable, "-B", "-W", "error", "-m", "rxdb", "db", "check", "--models-only"]
    return subprocess.run(
        [*command, *arguments],
        capture_output=True,
        check=False,
        cwd=folder,
        encoding="utf-8",
        timeout=60,
    )


def test_the_command_tells_what_is_found(tmp_path: Path) -> None:
    done = check(tmp_path, 800, "--targets", "sqlite,mysql")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "Order.uq_order_code: key-too-long on MySQL",
        "  The key can have 3200 bytes, and 3072 fit: CREATE is refused.",
        "  Write: code = rx.Field(sa_type=String(768))",
    ]
    assert done.stderr.strip() == (
        "1 thing is found in the models for SQLite, MySQL. What is meant can be allowed: "
        'info={"rxdb_allow": ["key-too-long"]}'
    )
    assert not (tmp_path / "shop.db").exists()


def test_the_command_for_programs(tmp_path: Path) -> None:
    done = check(tmp_path, 800, "--targets", "sqlite,mysql", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["error"]["kind"]) == (1, "NotPortable")
    (found,) = told["findings"]
    assert (found["code"], found["targets"]) == ("key-too-long", ["mysql"])


def test_the_command_is_content(tmp_path: Path) -> None:
    done = check(tmp_path, 700, "--targets", "sqlite,mysql")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Nothing is found in the models for SQLite, MySQL.\n"
    own = check(tmp_path, 800)  # the configured database alone
    assert own.stdout == "Nothing is found in the models for SQLite.\n"


PROGRAM = """
import ast, re, sys
from sqlalchemy.exc import InvalidRequestError
from sqlmodel import SQLModel
import rxdb as rx

SKIPPED = re.compile("<!-- skip: next.*?^```.*?^```$", re.DOTALL | re.MULTILINE)
BLOCK = re.compile("^```python.*?\\n(.*?)^```", re.DOTALL | re.MULTILINE)
names, total = {"__name__": "page"}, 0


def run(path, *nodes):
    exec(compile(ast.Module(list(nodes), []), path, "exec"), names)


for path in sys.argv[1:]:
    text = SKIPPED.sub("", open(path, encoding="utf-8").read())
    SQLModel.metadata.clear()
    for code in BLOCK.findall(text) if path.endswith(".md") else [text]:
        if "table=True" not in code and "(DeclarativeBase)" not in code:
            continue
        for node in ast.parse(code).body:
            if isinstance(node, ast.Assign) and "Text" in ast.unparse(node):  # a type
                run(path, node)
            elif isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef):
                try:
                    run(path, node)
                except InvalidRequestError:  # a page shows a model again, when it has changed
                    SQLModel.metadata.clear()
                    SQLModel._sa_registry.dispose()
                    run(path, node)
        total += sum(len(metadata.tables) for metadata in rx.ModelRegistry.get_metadata())
        for finding in rx.check_models(["sqlite", "postgresql", "mysql", "mariadb"]):
            print(path, finding)
print(total)
"""


def test_nothing_is_found_in_the_documentation() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.py")]
    pages = [page for page in pages if page.name != "checks.md"]  # shows findings
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *map(str, pages)],
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=60,
    )
    *found, total = done.stdout.splitlines() or [done.stderr]
    assert found == []
    assert int(total) >= 20
