"""A pytest plug-in: SQLAlchemy's own tests get each of their engines from rxdb.

``pytest -p through_rxdb --dburi URL`` in SQLAlchemy's source distribution. Its tests ask
``sqlalchemy.create_engine`` for an engine; here rxdb builds it, with its own options and events,
for :func:`rxdb.get_engine` is no more than that and a place to keep the engine.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import sqlalchemy
from sqlalchemy import URL, Engine

import rxdb
from rxdb import engine as engines
from rxdb.pool import AsyncFairPool

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


def through_rxdb(url: str | URL, **options: Any) -> Engine:
    """Build an engine; one of an asynchronous driver runs in the greenlet of the tests."""
    is_async = sqlalchemy.make_url(url).get_driver_name() in ASYNCHRONOUS
    if is_async and not {"pool", "poolclass"} & options.keys():
        options |= {"poolclass": AsyncFairPool, "test_idle": True}
    with patch.object(sqlalchemy, "create_engine", PLAIN):  # rxdb finds it by its name
        return engines.build(rxdb.parse(url, is_async=is_async), **options)


def async_through_rxdb(url: str | URL, **options: Any) -> AsyncEngine:
    """Build an asynchronous engine, which SQLAlchemy makes of an ordinary one."""
    from sqlalchemy.ext import asyncio  # needs greenlet

    with patch.object(asyncio, "create_async_engine", ASYNC_PLAIN[0]):
        return engines.build_async(rxdb.parse(url, is_async=True), **options)


def replace_async() -> None:
    """Have asynchronous engines built by rxdb as well."""
    from sqlalchemy.ext import asyncio  # needs greenlet

    ASYNC_PLAIN.append(asyncio.create_async_engine)
    asyncio.create_async_engine = async_through_rxdb


ASYNCHRONOUS = {"aiosqlite", "asyncpg", "asyncmy", "aiomysql"}
"""The drivers that carry no ordinary engine."""

PLAIN = sqlalchemy.create_engine
ASYNC_PLAIN: list[Any] = []
sqlalchemy.create_engine = through_rxdb
if find_spec("greenlet"):
    replace_async()
