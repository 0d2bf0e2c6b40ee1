"""What a model gets without being asked, and what the registry of models knows."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, MetaData, String, Table
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import CompileError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    mapped_column,
    registry,
)
from sqlalchemy.sql.compiler import GenericTypeCompiler
from sqlmodel import Field, SQLModel

import rxdb as rx
from rxdb.migrations import models
from rxdb.model import NAMING_CONVENTION

HEADER = """
from typing import Annotated, ClassVar
from sqlalchemy import Column, Integer, PrimaryKeyConstraint
from sqlmodel import Field, Relationship, SQLModel
import rxdb as rx
Key = Annotated[int, Field(primary_key=True)]
"""

ID = ("id",)
NUMBER = ("number",)
BOTH = ("team", "number")

KEYS = {
    "no field": (ID, "class Hero(rx.Model, table=True): pass"),
    "no key": (
        ID,
        """
class Hero(rx.Model, table=True):
    number: Annotated[int, Field(index=True)]
    name: str
""",
    ),
    "id itself": (
        ID,
        """
class Hero(rx.Model, table=True):
    id: int | None = Field(default=None, primary_key=True)
""",
    ),
    "id of another type": (
        ID,
        """
class Hero(rx.Model, table=True):
    id: str = Field(primary_key=True)
""",
    ),
    "no key in a base": (
        ID,
        """
class Base(rx.Model):
    number: int
class Hero(Base, table=True): pass
""",
    ),
    "another model in a ClassVar": (
        ID,
        """
class Team(rx.Model, table=True): pass
class Hero(rx.Model, table=True):
    kind: ClassVar[type] = Team
""",
    ),
    "Field": (
        NUMBER,
        """
class Hero(rx.Model, table=True):
    number: int = Field(primary_key=True)
""",
    ),
    "Annotated": (
        NUMBER,
        """
class Hero(rx.Model, table=True):
    number: Annotated[int, Field(primary_key=True)]
""",
    ),
    "a name for Annotated": (
        NUMBER,
        """
class Hero(rx.Model, table=True):
    number: Key
""",
    ),
    "Column": (
        NUMBER,
        """
class Hero(rx.Model, table=True):
    number: int = Field(sa_column=Column(Integer, primary_key=True))
""",
    ),
    "Column in Annotated": (
        NUMBER,
        """
class Hero(rx.Model, table=True):
    number: Annotated[int, Field(sa_column=Column(Integer, primary_key=True))]
""",
    ),
    "PrimaryKeyConstraint": (
        BOTH,
        """
class Hero(rx.Model, table=True):
    __table_args__ = (PrimaryKeyConstraint("team", "number"), {"comment": "two columns"})
    team: int
    number: int
""",
    ),
    "two Fields": (
        BOTH,
        """
class Hero(rx.Model, table=True):
    team: int = Field(primary_key=True)
    number: int = Field(primary_key=True)
""",
    ),
    "Field in a base": (
        NUMBER,
        """
class Base(rx.Model):
    number: int = Field(primary_key=True)
class Hero(Base, table=True): pass
""",
    ),
    "Annotated in a base": (
        NUMBER,
        """
class Base(SQLModel):
    number: Annotated[int, Field(primary_key=True)]
class Hero(Base, rx.Model, table=True): pass
""",
    ),
    "PrimaryKeyConstraint in a base": (
        BOTH,
        """
class Base(rx.Model):
    __table_args__ = (PrimaryKeyConstraint("team", "number"),)
    team: int
    number: int
class Hero(Base, table=True): pass
""",
    ),
    "PrimaryKeyConstraint that takes the place of another": (
        NUMBER,
        """
class Base(rx.Model):
    __table_args__ = (PrimaryKeyConstraint("team"),)
    team: int
    number: int
class Hero(Base, table=True):
    __table_args__ = (PrimaryKeyConstraint("number"),)
""",
    ),
    "PrimaryKeyConstraint in a base, replaced": (
        ID,
        """
class Base(rx.Model):
    __table_args__ = (PrimaryKeyConstraint("number"),)
    number: int
class Hero(Base, table=True):
    __table_args__ = {"comment": "no key"}
""",
    ),
}
"""A declaration of a table, and what its primary key is then."""

Declare = Callable[[str], ModuleType]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Execute a source as a module of its own, whose tables other tests do not see."""
    own = registry(metadata=MetaData(naming_convention=NAMING_CONVENTION))
    monkeypatch.setattr(SQLModel, "_sa_registry", own)
    monkeypatch.setattr(SQLModel, "metadata", own.metadata)

    def declare(source: str) -> ModuleType:
        module = ModuleType("models")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(source, module.__name__, "exec", dont_inherit=True), vars(module))
        own.configure()
        return module

    return declare


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rx.ModelRegistry, "_metadata", [SQLModel.metadata])


def table_of(model: Any) -> Table:
    table: Table = model.__table__
    return table


@pytest.mark.parametrize("future", ["", "from __future__ import annotations"])
@pytest.mark.parametrize(("key", "source"), KEYS.values(), ids=KEYS)
def test_the_key_is_the_declared_one_or_id(
    declare: Declare, key: tuple[str, ...], source: str, future: str
) -> None:
    hero = declare(f"{future}\n{HEADER}\n{source}").Hero
    assert tuple(column.name for column in table_of(hero).primary_key) == key
    assert ("id" in hero.model_fields) == (key == ID)


def test_a_class_that_comes_later_is_no_obstacle(declare: Declare) -> None:
    source = """
class Hero(rx.Model, table=True):
    number: Key
    team_id: int | None = Field(default=None, foreign_key="team.id")
    team: Team = Relationship()
class Team(rx.Model, table=True): pass
"""
    hero = declare(f"from __future__ import annotations\n{HEADER}\n{source}").Hero
    assert [column.name for column in table_of(hero).primary_key] == ["number"]


def test_id_comes_first_and_may_be_left_out(declare: Declare) -> None:
    hero = declare("import rxdb as rx\nclass Hero(rx.Model, table=True):\n    name: str").Hero
    assert list(hero.model_fields) == ["id", "name"]
    assert hero.model_fields["id"].annotation == int | None
    assert hero(name="Rex").id is None


def test_only_a_table_gets_an_id() -> None:
    class Base(rx.Model):
        name: str

    class Create(Base):
        age: int

    assert set(Base.model_fields) == {"name"}
    assert set(Create.model_fields) == {"name", "age"}
    assert set(rx.Model.model_fields) == set()


def test_an_unnamed_check_gets_the_same_name_each_time(declare: Declare) -> None:
    source = """
from sqlalchemy import CheckConstraint
import rxdb as rx
class Hero(rx.Model, table=True):
    __table_args__ = (CheckConstraint("age > 0"), CheckConstraint("age < 200"))
    age: int
"""
    names = {c.name for c in table_of(declare(source).Hero).constraints if is_check(c)}
    assert names == {"ck_hero_b38e8387", "ck_hero_c9142c5a"}


def is_check(constraint: object) -> bool:
    return isinstance(constraint, CheckConstraint)


def test_a_text_has_a_length_where_the_server_needs_one(declare: Declare) -> None:
    class Compiler(GenericTypeCompiler):
        def visit_VARCHAR(self, type_: String, **_: Any) -> str:
            if not type_.length:
                raise CompileError
            return f"VARCHAR({type_.length})"

    source = """
import rxdb as rx
class Hero(rx.Model, table=True):
    name: str
    title: str = rx.Field(max_length=20)
"""
    columns = table_of(declare(source).Hero).columns
    lax, strict = DefaultDialect(), DefaultDialect()
    strict.type_compiler_instance = Compiler(strict)
    assert [columns[name].type.compile(lax) for name in ("name", "title")] == [
        "VARCHAR",
        "VARCHAR(20)",
    ]
    assert [columns[name].type.compile(strict) for name in ("name", "title")] == [
        "VARCHAR(255)",
        "VARCHAR(20)",
    ]


def test_the_application_may_have_its_own_naming_convention() -> None:
    program = """
from sqlmodel import SQLModel
own = SQLModel.metadata.naming_convention = {"pk": "key_of_%(table_name)s"}
import rxdb as rx
class Hero(rx.Model, table=True): pass
assert Hero.__table__.primary_key.name == "key_of_hero", Hero.__table__.primary_key.name
assert SQLModel.metadata.naming_convention is own
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_sqlmodel_is_registered_from_the_start() -> None:
    assert rx.ModelRegistry.register(SQLModel) is SQLModel
    assert rx.ModelRegistry.register(rx.Model) is rx.Model
    assert rx.ModelRegistry.get_metadata() == (SQLModel.metadata,)


def test_a_base_is_registered_once() -> None:
    @rx.ModelRegistry.register
    class Base(DeclarativeBase):
        pass

    class Dog(Base):
        __tablename__ = "dog"
        name: Mapped[str] = mapped_column(primary_key=True)

    rx.ModelRegistry.register(Base)
    rx.ModelRegistry.register(Dog)
    assert rx.ModelRegistry.get_metadata() == (SQLModel.metadata, Base.metadata)


def test_every_kind_of_base_is_taken() -> None:
    class Base(DeclarativeBase):
        metadata = MetaData(schema="zoo")

    class Data(MappedAsDataclass, DeclarativeBase):
        pass

    class Own(SQLModel):
        metadata = MetaData()

    for base in (Base, Data, Own):
        assert rx.ModelRegistry.register(base) is base
    found = rx.ModelRegistry.get_metadata()
    assert found == (SQLModel.metadata, Base.metadata, Data.metadata, Own.metadata)


def test_a_model_declared_later_is_seen() -> None:
    class Base(DeclarativeBase):
        pass

    rx.ModelRegistry.register(Base)
    (_, metadata) = rx.ModelRegistry.get_metadata()

    class Cat(Base):
        __tablename__ = "cat"
        name: Mapped[str] = mapped_column(primary_key=True)

    assert metadata.tables["cat"] is Cat.__table__


@pytest.mark.parametrize("thing", [object, "Base", None, Field()])
def test_what_has_no_metadata_is_refused(thing: object) -> None:
    with pytest.raises(TypeError, match=r"has no metadata\. Register a declarative base"):
        rx.ModelRegistry.register(thing)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("store/models.py", 'names modules, not files. Write: models=["store.models"]'),
        ("./store/models.py", 'names modules, not files. Write: models=["store.models"]'),
        ("store.model", "there is no such module. Did you mean 'store.models'?"),
        ("store.models.Team", "there is no such module. Did you mean 'store.models'?"),
        ("stor.models", "there is no such module. Did you mean 'store.models'?"),
        ("store.teams", "there is no such module. Look at models=… in rxconfig.py, or run: python"),
        ("store.broken", "ModuleNotFoundError: No module named 'store.nothing'. Look at models="),
    ],
)
def test_models_that_cannot_be_imported(named: str, told: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "__init__.py").touch()
    (store / "models.py").write_text("class Team: ...\n")
    (store / "broken.py").write_text("import store.nothing\n")
    rx.set_config(rx.Config(models=[named]))
    importlib.invalidate_caches()
    try:
        with pytest.raises(rx.BadConfig, match=re.escape(told)):
            models.load()
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "store"]:
            del sys.modules[name]
        sys.path.remove(str(tmp_path))
