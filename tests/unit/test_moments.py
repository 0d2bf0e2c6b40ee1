"""Arithmetic with moments for backends that the matrix has no server of."""

import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import make_url
from sqlalchemy.dialects import mssql, oracle
from sqlalchemy.exc import CompileError

import rxdb as rx
from rxdb import registry

SEEN = sa.column("seen", rx.UTCDateTime())
TOOK = sa.column("took", sa.Interval())
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def compiled(name: str, expression: sa.ColumnElement[Any]) -> str:
    make: dict[str, type[sa.Dialect]] = {"mssql": mssql.dialect, "oracle": oracle.dialect}
    dialect = make[name]()
    registry.get(name).keep_meaning(dialect, make_url(f"{name}://"))
    return str(sa.select(expression).compile(dialect=dialect))


@pytest.mark.parametrize("name", ["mssql", "oracle"])
@pytest.mark.parametrize("expression", [SEEN + HOUR < NOW, SEEN - NOW, TOOK * 2, -TOOK])
def test_what_nobody_has_tried_is_refused(name: str, expression: sa.ColumnElement[Any]) -> None:
    with pytest.raises(CompileError, match="Calculate in Python"):
        compiled(name, expression)


@pytest.mark.parametrize("name", ["mssql", "oracle"])
def test_what_python_calculates_is_compared(name: str) -> None:
    assert "seen <" in compiled(name, SEEN < NOW - HOUR)
