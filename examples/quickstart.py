"""Teams and their heroes: the same program on SQLite, PostgreSQL, MySQL and MariaDB.

    python examples/quickstart.py
    RXDB_URL=postgresql://user:password@localhost/app python examples/quickstart.py

The first line uses the SQLite file quickstart.db in the current folder.
"""

import asyncio
import os

import rxdb as rx


class Team(rx.Model, table=True):
    __tablename__ = "quickstart_team"  # a name that no other program has

    name: str = rx.Field(unique=True)
    heroes: list["Hero"] = rx.Relationship(
        back_populates="team",
        sa_relationship_kwargs={"lazy": "selectin"},  # loaded with the team, so no await later
    )


class Hero(rx.Model, table=True):
    __tablename__ = "quickstart_hero"

    name: str = rx.Field(index=True)
    age: int | None = None
    team_id: int | None = rx.Field(default=None, foreign_key="quickstart_team.id")
    team: Team | None = rx.Relationship(back_populates="heroes")


def write() -> None:
    """Add a team with two heroes, in one transaction."""
    with rx.session() as session:
        team = Team(name="Preventers")
        team.heroes = [Hero(name="Rusty-Man", age=48), Hero(name="Tarantula 🕷")]
        session.add(team)
        session.commit()
        print("Added the team", team.name, "with", len(team.heroes), "heroes")


def read() -> None:
    """Read them back; a read-only session takes one round trip for each query."""
    with rx.session(read_only=True) as session:
        for hero in session.exec(rx.select(Hero).order_by(Hero.name)):
            team = hero.team.name if hero.team else "no team"
            print(hero.name, "is", hero.age or "of unknown age", "and in", team)


def refuse() -> None:
    """Show what happens to a write in a read-only session."""
    with rx.session(read_only=True) as session:
        session.add(Hero(name="Nobody"))
        try:
            session.commit()
        except rx.ReadOnly as error:
            print("Refused:", error)


async def twin() -> None:
    """Do the same asynchronously, on the same URL."""
    async with rx.asession() as session:
        found = await session.exec(rx.select(Hero).where(Hero.name == "Rusty-Man"))
        hero = found.one()
        hero.age = 49
        session.add(hero)
        await session.commit()
        print(hero.name, "is now", hero.age)

        for team in await session.exec(rx.select(Team)):
            print(team.name, "has", len(team.heroes), "heroes")


def main() -> None:
    """Start from empty tables, and leave none behind."""
    os.environ.setdefault("RXDB_URL", "sqlite:///quickstart.db")
    rx.Model.metadata.drop_all(rx.get_engine())
    rx.create_all()
    write()
    read()
    refuse()
    asyncio.run(twin())
    rx.Model.metadata.drop_all(rx.get_engine())


if __name__ == "__main__":
    main()
