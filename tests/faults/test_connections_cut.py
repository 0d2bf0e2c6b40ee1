"""A connection that breaks inside a transaction costs one repetition, and at its COMMIT a look."""

from __future__ import annotations

import time

import databases
import proxy
import pytest
import transfers
from proxy import Stage
from sqlalchemy import URL, text
from transfers import Direct, StartLoad

import rxdb as rx
from rxdb import Target

TRANSFERS = 40  # of each of eight writers
EVERY = 15
KILLED = 40  # sessions
MARK = b"INSERT INTO transfer"

pytestmark = [pytest.mark.own_loop, pytest.mark.timeout(240)]


@pytest.fixture
def place(target: Target) -> URL:
    """Where the server under test is."""
    if not databases.SERVERS[target.dialect.name].variable:
        pytest.skip(f"{target.dialect.name} has no connection that could be cut")
    return target.url


@pytest.mark.parametrize("stage", Stage, ids=lambda stage: stage.name.lower())
def test_cut_at_a_stage(place: URL, start_load: StartLoad, direct: Direct, stage: Stage) -> None:
    assert place.host
    assert place.port
    with proxy.running(proxy.Cutter(place.host, place.port, stage, EVERY, MARK)) as cutter:
        through = place.set(port=cutter.port).update_query_dict({"sslmode": "disable"})
        load = start_load([through], allowed=(), orders=TRANSFERS)
        with load.running():
            pass
        load.figures["cut"] = cutter.cuts
        load.check(*transfers.contents(direct(place)))
        assert cutter.cuts > 5
        if stage in {Stage.REQUEST, Stage.ANSWER}:
            assert load.errors == ["CommitUnknown"] * cutter.cuts
            assert not (load.applied if stage is Stage.REQUEST else load.repeated)
        else:
            assert not load.errors
            assert load.run_again


def test_sessions_ended_by_an_administrator(
    place: URL, start_load: StartLoad, direct: Direct
) -> None:
    server = databases.SERVERS[place.get_backend_name()]
    load = start_load([place], allowed=(rx.ConnectionLost,))
    killed = 0
    with load.running(), direct(place).connect() as connection:
        administrator = connection.execution_options(isolation_level="AUTOCOMMIT")
        load.wait(20)
        while killed < KILLED:
            session = administrator.scalar(text(server.other_sessions))
            if session is None:
                continue
            try:
                administrator.exec_driver_sql(server.end_session.format(session))
            except rx.DatabaseError:  # it went by itself meanwhile
                continue
            killed += 1
            time.sleep(0.05)
        load.wait(20)
    load.figures["sessions ended"] = killed
    load.check(*transfers.contents(direct(place)))
    assert load.run_again
