"""Databases in memory: shared by the threads and loops of a process, gone when disposed."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import inspect, text
from sqlmodel import select

import rxdb as rx


class Note(rx.Model, table=True):
    number: int = rx.Field(primary_key=True, sa_column_kwargs={"autoincrement": False})


@pytest.fixture(params=["sqlite://", "sqlite:///:memory:", "duckdb://"])
def url(request: pytest.FixtureRequest) -> str:
    text_url: str = request.param
    Note.__table__.create(rx.get_engine(text_url))  # type: ignore[attr-defined]  # SQLModel declares no __table__
    return text_url


def test_threads_write_to_one_database(url: str) -> None:
    def write(number: int) -> None:
        with rx.session(url) as session:
            session.add(Note(number=number))
            session.commit()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(200)))
    with rx.session(url, read_only=True) as session:
        assert len(session.exec(select(Note)).all()) == 200


def test_nobody_sees_what_was_not_committed(url: str) -> None:
    def read() -> list[Note]:
        with rx.session(url, read_only=True) as reader:  # in SQLite's memdb it waits for the writer
            return list(reader.exec(select(Note)).all())

    with rx.session(url) as writer, ThreadPoolExecutor(1) as thread:
        writer.add(Note(number=1))
        writer.flush()
        found = thread.submit(read)
        writer.rollback()
        assert found.result(timeout=10) == []


def test_ends_with_dispose(url: str) -> None:
    rx.dispose()
    assert not inspect(rx.get_engine(url)).has_table("note")


def test_the_asynchronous_side_sees_the_same() -> None:
    Note.__table__.create(rx.get_engine("sqlite://"))  # type: ignore[attr-defined]  # SQLModel declares no __table__

    async def write() -> None:
        async with rx.asession("sqlite://") as session:
            session.add(Note(number=1))
            await session.commit()

    asyncio.run(write())
    with rx.session("sqlite://") as session:
        assert session.scalar(text("SELECT number FROM note")) == 1
