"""What a model promises, on every server and driver.

Without ``from __future__ import annotations``: SQLModel reads the annotations of relationships.
"""

import databases
import pytest
from conftest import OpenSession
from sqlalchemy import (
    CheckConstraint,
    Column,
    Engine,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    UniqueConstraint,
    exc,
    inspect,
)
from sqlalchemy import select as core_select
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column
from sqlmodel import Field, Relationship, SQLModel, select

import rxdb as rx
from rxdb import Feature


class Star(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=50, unique=True)
    planets: list["Planet"] = Relationship(back_populates="star")


class PlanetBase(rx.Model):
    name: str = Field(max_length=50, index=True)
    radius: int = 1


class PlanetCreate(PlanetBase):
    pass


class Planet(PlanetBase, table=True):
    __table_args__ = (
        UniqueConstraint("star_id", "name"),
        CheckConstraint("radius > 0"),
        CheckConstraint("radius < 100000", name="radius_in_km"),
        Index(None, "name", "radius"),
    )
    star_id: int | None = Field(default=None, foreign_key="star.id")
    star: Star | None = Relationship(back_populates="planets")


class Orbit(rx.Model, table=True):
    star: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    ring: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    name: str = Field(max_length=50)


CONSTRAINTS = {
    "foreign_keys": {"fk_planet_star_id_star"},
    "unique_constraints": {"uq_planet_star_id_name"},
    "check_constraints": {"ck_planet_c8a67a84", "ck_planet_radius_in_km"},
}
INDEXES = {"ix_planet_name", "ix_planet_name_radius"}


@pytest.fixture
def solar(engine: Engine, run: databases.Run) -> None:
    tables = [SQLModel.metadata.tables[name] for name in ("star", "planet")]
    run(lambda: SQLModel.metadata.create_all(engine, tables))


@pytest.mark.needs(Feature.GENERATED_KEYS)
@pytest.mark.usefixtures("solar")
def test_the_database_numbers_the_rows(open_session: OpenSession) -> None:
    planets = [Planet(name=name) for name in ("Venus", "Earth")]
    assert [planet.id for planet in planets] == [None, None]
    with open_session() as session:
        session.add_all(planets)
        session.commit()
    with open_session() as session:
        found = session.exec(select(Planet).order_by(Planet.id)).all()
        assert [(planet.id, planet.name) for planet in found] == [(1, "Venus"), (2, "Earth")]


@pytest.mark.needs(Feature.GENERATED_KEYS)
@pytest.mark.parametrize("kind", [SmallInteger, rx.BigInteger])
def test_the_database_numbers_keys_of_each_size(engine: Engine, kind: type[Integer]) -> None:
    table = Table("comet", MetaData(), Column("id", kind, primary_key=True), Column("a", Integer))
    table.create(engine)
    with engine.begin() as connection:
        for number in (1, 2):
            connection.execute(table.insert().values(a=number))
        found = connection.execute(core_select(table).order_by(table.c.a)).all()
        assert [tuple(row) for row in found] == [(1, 1), (2, 2)]
        if kind is rx.BigInteger:
            connection.execute(table.insert().values(id=10**12, a=3))
            assert connection.scalar(core_select(table.c.id).where(table.c.a == 3)) == 10**12


@pytest.mark.needs(Feature.GENERATED_KEYS)
@pytest.mark.usefixtures("solar")
def test_a_table_is_made_from_a_base_without_id(open_session: OpenSession) -> None:
    assert "id" not in PlanetCreate.model_fields
    with open_session() as session:
        planet = Planet.model_validate(PlanetCreate(name="Mars", radius=3390))
        session.add(planet)
        session.commit()
        session.refresh(planet)
        assert planet.model_dump() == {"id": 1, "name": "Mars", "radius": 3390, "star_id": None}


@pytest.mark.needs(Feature.GENERATED_KEYS)
@pytest.mark.usefixtures("solar")
def test_models_of_both_kinds_refer_to_each_other(open_session: OpenSession) -> None:
    with open_session() as session:
        session.add(Star(name="Sun", planets=[Planet(name="Venus")]))
        session.add(Planet(name="Proxima b", star=Star(name="Proxima")))
        session.commit()
    with open_session() as session:
        sun = session.exec(select(Star).where(Star.name == "Sun")).one()
        far = session.exec(select(Planet).where(Planet.name == "Proxima b")).one()
        assert [planet.name for planet in sun.planets] == ["Venus"]
        assert far.star is not None
        assert far.star.name == "Proxima"


def test_two_columns_are_one_key(open_session: OpenSession, engine: Engine) -> None:
    orbits = SQLModel.metadata.tables["orbit"]
    assert set(orbits.columns.keys()) == {"star", "ring", "name"}
    orbits.create(engine)
    with open_session() as session:
        session.add_all([Orbit(star=1, ring=1, name="a"), Orbit(star=1, ring=2, name="b")])
        session.commit()
    with open_session() as session:
        second = session.get(Orbit, (1, 2))
        assert second is not None
        assert second.name == "b"
        session.add(Orbit(star=1, ring=1, name="again"))
        with pytest.raises(exc.IntegrityError):
            session.flush()


@pytest.mark.needs(Feature.GENERATED_KEYS, Feature.REFLECTED_CONSTRAINTS)
@pytest.mark.usefixtures("solar")
def test_the_server_knows_each_constraint_by_name(engine: Engine) -> None:
    inspector = inspect(engine)
    for kind, names in CONSTRAINTS.items():
        found = getattr(inspector, f"get_{kind}")("planet")
        assert {constraint["name"] for constraint in found} == names
    assert {index["name"] for index in inspector.get_indexes("planet")} >= INDEXES
    key = inspector.get_pk_constraint("planet")["name"]
    assert key in {"pk_planet", None}  # None from MySQL, which calls every key PRIMARY


@pytest.mark.needs(Feature.GENERATED_KEYS)
def test_create_all_creates_every_registered_table(
    target: rx.Target, url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if databases.is_async(target):
        pytest.skip(f"{target.driver.name} cannot carry what create_all does")

    class Base(DeclarativeBase):
        pass

    class Data(MappedAsDataclass, DeclarativeBase):
        metadata = MetaData()

    monkeypatch.setattr(rx.ModelRegistry, "_metadata", [SQLModel.metadata])
    for base in (Base, Data, SQLModel):
        rx.ModelRegistry.register(base)

    class Comet(Base):
        __tablename__ = "comet"
        number: Mapped[int] = mapped_column(primary_key=True)

    class Dust(Data):
        __tablename__ = "dust"
        number: Mapped[int] = mapped_column(primary_key=True)

    rx.create_all(url)
    rx.create_all(url)  # what is there already stays
    assert {"star", "planet", "orbit", "comet", "dust"} <= set(inspect(engine).get_table_names())
    with engine.connect() as connection:
        for model in (Star, Planet, Orbit, Comet, Dust):
            assert connection.execute(core_select(model)).all() == []
