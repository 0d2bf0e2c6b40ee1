"""Which replica serves a read-only session; databases in files stand for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import rxdb as rx
from rxdb import registry, replicas
from rxdb.dialect import Standing

NAME = text("SELECT name FROM place")
Lags = dict[str, float | None]


@pytest.fixture
def lags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lags:
    """A primary, replicas ``a`` and ``b``, each with its name in it, and how far they are."""
    monkeypatch.setattr(replicas, "LOOK_AFTER", 3600.0)
    found: Lags = {"a": 1.0, "b": 3.0}
    for name in ("primary", *found):
        with rx.session(f"sqlite:///{tmp_path}/{name}.db") as session:
            connection = session.connection()
            connection.execute(text("CREATE TABLE place (name TEXT)"))
            connection.execute(text("INSERT INTO place (name) VALUES (:name)"), {"name": name})
            session.commit()

    def tell(replica: replicas.Replica) -> Standing | None:
        name = Path(str(replica.url)).stem
        return Standing(found[name], f"{name} at 7") if name in found else None

    monkeypatch.setattr(replicas, "look_at", tell)
    monkeypatch.setattr(replicas, "alook_at", asynchronous(tell))
    return found


def asynchronous(tell: Callable[[Any], Any]) -> Callable[[Any], Any]:
    async def atell(replica: replicas.Replica) -> Any:
        return tell(replica)

    return atell


def configure(folder: Path, **options: Any) -> None:
    urls = [f"sqlite:///{folder}/{name}.db" for name in ("b", "a")]
    url = f"sqlite:///{folder}/primary.db"
    rx.set_config(rx.Config(db_url=url, replica_urls=urls, on_outdated_schema="ignore", **options))
    read()  # the first one looks whether the schema is up to date, on the primary


def read(**options: Any) -> str:
    with rx.session(read_only=True, **options) as session:
        return str(session.scalar(NAME))


def test_the_least_lag_comes_first(lags: Lags, tmp_path: Path) -> None:
    configure(tmp_path)
    assert {read() for _ in range(5)} == {"a"}


def test_equal_ones_share_the_load(lags: Lags, tmp_path: Path) -> None:
    lags.update(a=0.1, b=0.2)
    configure(tmp_path)
    assert {read() for _ in range(50)} == {"a", "b"}


def test_one_that_is_far_behind_serves_nobody(lags: Lags, tmp_path: Path) -> None:
    lags.update(a=12.0)
    configure(tmp_path)
    assert read() == "b"
    configure(tmp_path, max_replica_lag=2)
    assert read() == "primary"


def test_one_that_does_not_answer_serves_nobody(lags: Lags, tmp_path: Path) -> None:
    del lags["a"]
    configure(tmp_path)
    assert read() == "b"


def test_the_primary_serves_who_writes_and_who_names_a_url(lags: Lags, tmp_path: Path) -> None:
    configure(tmp_path)
    with rx.session() as session:
        assert session.scalar(NAME) == "primary"
    with rx.session(f"sqlite:///{tmp_path}/primary.db", read_only=True) as session:
        assert session.scalar(NAME) == "primary"


def test_a_lost_connection_takes_it_out(lags: Lags, tmp_path: Path) -> None:
    configure(tmp_path)
    assert read() == "a"
    rx.dispose()
    (tmp_path / "a.db").unlink()
    (tmp_path / "a.db").mkdir()
    assert read() == "primary"  # a new engine looks at the schema first
    with pytest.raises(Exception, match="unable to open"):
        read()
    assert read() == "b"


def test_nothing_is_asked_for_a_session(
    lags: Lags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []
    tell = replicas.look_at

    def count(replica: replicas.Replica) -> Standing | None:
        looks.append(replica)
        return tell(replica)

    monkeypatch.setattr(replicas, "look_at", count)
    configure(tmp_path)
    for _ in range(100):
        read()
    assert len(looks) == 2


def test_a_backend_without_positions_reads_after_one_on_the_primary(
    lags: Lags, tmp_path: Path
) -> None:
    configure(tmp_path)
    assert read(after=rx.position()) == "primary"


def test_who_has_just_written_reads_from_the_primary(lags: Lags, tmp_path: Path) -> None:
    configure(tmp_path, read_your_writes=60)

    async def work() -> tuple[str, str]:
        async def write() -> str:
            with rx.session() as session:
                session.connection().execute(text("UPDATE place SET name = 'written'"))
                session.commit()
            return read()

        return await asyncio.create_task(write()), read()

    assert asyncio.run(work()) == ("written", "a")


def test_tasks_read_from_it_too(lags: Lags, tmp_path: Path) -> None:
    configure(tmp_path)

    async def aread() -> str:
        async with rx.asession(read_only=True) as session:
            return str(await session.scalar(NAME))

    async def work() -> list[str]:
        return [await aread() for _ in range(4)]  # the first one looks at the schema

    assert asyncio.run(work())[-1] == "a"


@pytest.mark.parametrize("name", ["max_replica_lag", "read_your_writes"])
@pytest.mark.parametrize("value", [-1, float("nan"), "a", None, True])
def test_what_is_no_number_of_seconds_is_refused(name: str, value: Any) -> None:
    with pytest.raises(rx.BadConfig, match=f"{name}=5"):
        rx.Config(**{name: value})


@pytest.mark.parametrize("name", ["postgresql", "mysql", "mariadb"])
@pytest.mark.parametrize("after", ["garbage", "0/", 5])
@pytest.mark.parametrize("replica_urls", [[], ["replica"]])
def test_what_is_no_position_is_refused(name: str, after: Any, replica_urls: list[str]) -> None:
    url = f"{name}://nobody@localhost/nothing"
    urls = [f"{name}://nobody@localhost/{name}" for name in replica_urls]
    rx.set_config(rx.Config(db_url=url, replica_urls=urls, on_outdated_schema="ignore"))
    with pytest.raises(rx.BadArgument, match=r"is no position of .* rx\.position\(\)"):
        rx.session(read_only=True, after=after)

    async def aread() -> None:
        rx.asession(read_only=True, after=after)

    with pytest.raises(rx.BadArgument, match=r"is no position of .* rx\.position\(\)"):
        asyncio.run(aread())


SOURCE, OTHER = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "a1b2c3d4-0000-11e1-9e33-c80aa9429562"


@pytest.mark.parametrize(
    ("name", "position", "token", "expected"),
    [
        ("postgresql", "0/3000148", "0/3000148", True),
        ("postgresql", "1/0", "0/FFFFFFFF", True),
        ("postgresql", "0/FFFFFFFF", "1/0", False),
        ("mysql", f"{SOURCE}:1-5", f"{SOURCE}:1-5", True),
        ("mysql", f"{SOURCE}:1-5", f"{SOURCE.upper()}:5", True),
        ("mysql", f"{SOURCE}:1-5", f"{SOURCE}:1-6", False),
        ("mysql", f"{SOURCE}:1-5:7-9", f"{SOURCE}:1-5:8", True),
        ("mysql", f"{SOURCE}:1-5:7-9", f"{SOURCE}:1-9", False),
        ("mysql", f"{SOURCE}:1-5,{OTHER}:1-2", f"{OTHER}:2", True),
        ("mysql", f"{SOURCE}:1-5", f"{SOURCE}:1-5,{OTHER}:1", False),
        ("mysql", f"{SOURCE}:1-5:urgent:1-3", f"{SOURCE}:urgent:3", True),
        ("mysql", f"{SOURCE}:1-5:urgent:1-3", f"{SOURCE}:urgent:4", False),
        ("mysql", f"{SOURCE}:1-5", "", False),
        ("mariadb", "0-1-42", "0-1-42", True),
        ("mariadb", "0-2-43", "0-1-42", True),  # another server was the primary meanwhile
        ("mariadb", "0-1-41", "0-1-42", False),
        ("mariadb", "0-1-42", "0-1-42,5-1-1", False),
        ("mariadb", "5-1-1,0-1-42", "0-1-42,5-1-1", True),
        ("mariadb", "0-1-42", "", False),
    ],
)
def test_a_position_has_reached_another(
    name: str, position: str, token: str, expected: bool
) -> None:
    assert registry.get(name).has_reached(position, token) is expected
