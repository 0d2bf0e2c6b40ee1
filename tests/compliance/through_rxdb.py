"""A pytest plug-in: SQLAlchemy's own tests get each of their engines from rxdb.

``pytest -p through_rxdb --dburi URL`` in SQLAlchemy's source distribution. Its tests ask
``sqlalchemy.create_engine`` for an engine; here rxdb builds it, with its own options and events,
for :func:`rxdb.get_engine` is no more than that and a place to keep the engine.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy
from sqlalchemy import URL, Engine
from sqlalchemy.ext import asyncio

import rxdb
from rxdb import engine as engines


def through_rxdb(url: str | URL, **options: Any) -> Engine:
    """Build an engine; one of an asynchronous driver runs in the greenlet of the tests."""
    driver = sqlalchemy.make_url(url).get_driver_name()
    found = rxdb.parse(url, is_async=driver in ASYNCHRONOUS)
    return engines.build(found, **options)


def async_through_rxdb(url: str | URL, **options: Any) -> asyncio.AsyncEngine:
    """Build an asynchronous engine."""
    return engines.build_async(rxdb.parse(url, is_async=True), **options)


ASYNCHRONOUS = {"aiosqlite", "asyncpg", "asyncmy", "aiomysql"}
"""The drivers that carry no ordinary engine."""

sqlalchemy.create_engine = through_rxdb
asyncio.create_async_engine = async_through_rxdb
