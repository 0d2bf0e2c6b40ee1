"""One session again and again, the same with each library, in a process where no other one works.

``sessions`` prepares and returns what is timed. A session is opened, used and closed as the
library's own documentation does it.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import runner

Session = Callable[[], Any]
"""Open a session, do the work, close it, and return what was found."""


def sessions(library: str, work: str, url: str, count: int) -> runner.Work:
    """Open *count* sessions, one after the other."""
    one = prepared(library, work, url)

    def run() -> Any:
        found = None
        for _ in range(count):
            found = one()
        return found

    return run


@cache
def prepared(library: str, work: str, url: str) -> Session:
    """Return the session of a library, after it was opened once."""
    one = LIBRARIES[library](work, url)
    one()
    return one


@cache
def rxdb_hero() -> Any:
    """Return rxdb's model; two contestants of one process share it."""
    import rxdb as rx

    class Hero(rx.Model, table=True):
        name: str

    return Hero


def rxdb(work: str, url: str, **options: Any) -> Session:
    """Use the configured database, as an application does."""
    import rxdb as rx

    rx.set_config(rx.Config(db_url=url, on_outdated_schema="ignore"))
    return orm(lambda: rx.session(**options), rxdb_hero(), work)


def rxdb_read_only(work: str, url: str) -> Session:
    """Use a read-only session."""
    return rxdb(work, url, read_only=True)


def rxdb_kept(work: str, url: str) -> Session:
    """Keep objects readable after a commit."""
    return rxdb(work, url, expire_on_commit=False)


def sqlmodel_on_rxdb(work: str, url: str) -> Session:
    """Use SQLModel's session on the engine that rxdb builds."""
    from sqlmodel import Session as SQLModelSession

    import rxdb as rx

    engine = rx.get_engine(url)
    return orm(lambda: SQLModelSession(engine), rxdb_hero(), work)


def sqlmodel(work: str, url: str) -> Session:
    """Use SQLModel's session on an engine as its documentation makes it."""
    from sqlmodel import Field, SQLModel, create_engine
    from sqlmodel import Session as SQLModelSession

    class Hero(SQLModel, table=True):
        id: int | None = Field(default=None, primary_key=True)
        name: str

    engine = create_engine(url)
    return orm(lambda: SQLModelSession(engine), Hero, work)


def sqlalchemy(work: str, url: str) -> Session:
    """Use SQLAlchemy as its documentation does."""
    from sqlalchemy import Integer, String, create_engine
    from sqlalchemy import orm as sa

    class Base(sa.DeclarativeBase):
        pass

    class Hero(Base):
        __tablename__ = "hero"
        id = sa.mapped_column(Integer, primary_key=True)
        name = sa.mapped_column(String(100), nullable=False)

    engine = create_engine(url)
    return orm(lambda: sa.Session(engine), Hero, work)


def reflex(work: str, url: str) -> Session:
    """Use Reflex's session."""
    from reflex.model import session
    from sqlmodel import Field, SQLModel

    class Hero(SQLModel, table=True):
        id: int | None = Field(default=None, primary_key=True)
        name: str

    return orm(lambda: session(url), Hero, work)


def advanced_alchemy(work: str, url: str) -> Session:
    """Use the repository of advanced-alchemy, which works with the sessions of SQLAlchemy."""
    from advanced_alchemy.base import DefaultBase
    from advanced_alchemy.config import SQLAlchemySyncConfig
    from advanced_alchemy.repository import SQLAlchemySyncRepository
    from sqlalchemy import Integer, String
    from sqlalchemy.orm import mapped_column

    class Hero(DefaultBase):
        __tablename__ = "hero"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(100), nullable=False)

    class Heroes(SQLAlchemySyncRepository[Hero]):
        model_type = Hero

    configuration = SQLAlchemySyncConfig(connection_string=url)

    def read() -> str:
        with configuration.get_session() as session:
            return str(Heroes(session=session).get(1).name)

    def write() -> bool:
        with configuration.get_session() as session:
            hero = Heroes(session=session).add(Hero(name="Rusty-Man"))
            session.commit()
            return work == "write" or hero.id > 0

    return read if work == "read" else write


def flask_sqlalchemy(work: str, url: str) -> Session:
    """Use the session of an application context."""
    from flask import Flask
    from flask_sqlalchemy import SQLAlchemy

    app = Flask("benchmark")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = SQLAlchemy(app)

    class Hero(db.Model):  # type: ignore[name-defined, misc]  # made at run time
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.String, nullable=False)

    def in_context() -> Any:
        with app.app_context():
            return use(db.session, Hero, work)

    return in_context


def django(work: str, url: str) -> Session:
    """Use Django's models on a connection that is kept; there are no sessions."""
    from sqlalchemy import make_url

    made = make_url(url)
    engine = {"sqlite": "sqlite3"}.get(made.get_backend_name(), made.get_backend_name())
    if engine == "mysql":
        import_module("pymysql").install_as_MySQLdb()  # the driver of all others here
    import_module("django.conf").settings.configure(
        DATABASES={
            "default": {
                "ENGINE": f"django.db.backends.{engine}",
                "NAME": made.database,
                "USER": made.username or "",
                "PASSWORD": made.password or "",
                "HOST": made.host or "",
                "PORT": str(made.port or ""),
                "CONN_MAX_AGE": None,
            }
        }
    )
    import_module("django").setup()
    models: Any = import_module("django.db.models")

    class Hero(models.Model):  # type: ignore[misc]  # Django has no types
        name = models.TextField()

        class Meta:
            app_label = "benchmark"
            db_table = "hero"

    def read() -> str:
        return str(Hero.objects.get(pk=1).name)

    def write() -> bool:
        return bool(Hero.objects.create(name="Rusty-Man").pk)

    return read if work == "read" else write


def driver(work: str, url: str) -> Session:
    """Use a connection of the driver, which stays open: the least that the work takes."""
    from sqlalchemy import create_engine

    engine = create_engine(url)
    connection: Any = engine.raw_connection().dbapi_connection
    value = "?" if engine.dialect.paramstyle == "qmark" else "%s"

    def read() -> str:
        cursor = connection.cursor()
        cursor.execute(f"SELECT id, name FROM hero WHERE id = {value}", (1,))
        name = cursor.fetchone()[1]
        cursor.close()
        connection.rollback()
        return str(name)

    def write() -> bool:
        cursor = connection.cursor()
        cursor.execute(f"INSERT INTO hero (name) VALUES ({value})", ("Rusty-Man",))
        connection.commit()
        cursor.close()
        return True

    return read if work == "read" else write


def orm(open_session: Callable[[], Any], model: Any, work: str) -> Session:
    """Open one of SQLAlchemy's sessions in a ``with`` block."""

    def one() -> Any:
        with open_session() as session:
            return use(session, model, work)

    return one


def use(session: Any, model: Any, work: str) -> Any:
    """Read one row by its key, or add a row; ``write and read`` asks for the new key, too."""
    if work == "read":
        return session.get(model, 1).name
    hero = model(name="Rusty-Man")
    session.add(hero)
    session.commit()
    return work == "write" or hero.id > 0


LIBRARIES: dict[str, Callable[[str, str], Session]] = {
    function.__name__: function
    for function in (
        rxdb,
        rxdb_read_only,
        rxdb_kept,
        sqlmodel_on_rxdb,
        sqlmodel,
        sqlalchemy,
        reflex,
        advanced_alchemy,
        flask_sqlalchemy,
        django,
        driver,
    )
}


# Many threads on one pool


def threads(pool: str, url: str, size: int, statement: str, seconds: float) -> runner.Work:
    """Let 64 threads take a connection and ask a query each, again and again."""
    engine = engine_with(pool, url, size)

    def run() -> dict[str, float]:
        waits = in_threads(engine, statement, seconds)
        return {
            "median": statistics.median(waits),
            "slowest": max(waits),
            "each": seconds / len(waits),
        }

    return run


@cache
def engine_with(pool: str, url: str, size: int) -> Any:
    """Return an engine whose connections are open: those take longer than a wait."""
    if pool == "rxdb":
        import rxdb as rx

        rx.set_config(rx.Config(engine_options={"pool_size": size} if size else {}))
        engine = rx.get_engine(url)
    else:
        from sqlalchemy import create_engine

        engine = create_engine(url, **({"pool_size": size, "max_overflow": 0} if size else {}))
    in_threads(engine, "SELECT 1", 0.2)
    return engine


def in_threads(engine: Any, query: str, seconds: float) -> list[float]:
    """Return the seconds that each of the 64 threads waited for each of its connections."""
    from sqlalchemy import text

    statement = text(query)
    waits: list[list[float]] = [[] for _ in range(64)]
    ready = threading.Barrier(len(waits))

    def work(mine: list[float]) -> None:
        ready.wait()
        until = time.perf_counter() + seconds
        while (asked := time.perf_counter()) < until:
            with engine.connect() as connection:
                mine.append(time.perf_counter() - asked)
                connection.execute(statement)

    every = [threading.Thread(target=work, args=(mine,)) for mine in waits]
    for thread in every:
        thread.start()
    for thread in every:
        thread.join()
    return [wait for mine in waits for wait in mine]


if __name__ == "__main__":
    runner.serve({"sessions": sessions, "threads": threads})
