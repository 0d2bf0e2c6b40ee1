"""A server that is killed and started again under load loses nothing that it acknowledged."""

from __future__ import annotations

from typing import Any

import pytest
import transfers
from sqlalchemy import URL
from transfers import Direct, StartLoad

import rxdb as rx

KILLS = 10

pytestmark = [pytest.mark.own_loop, pytest.mark.timeout(240)]


def test_killed_under_load(private: tuple[Any, URL], start_load: StartLoad, direct: Direct) -> None:
    server, url = private
    load = start_load([url], allowed=(rx.ConnectionLost,))
    with load.running():
        for _ in range(KILLS):
            load.wait(100)
            server.kill()
            server.restart()
        load.wait(100)
    load.figures["kills"] = KILLS
    load.check(*transfers.contents(direct(url)))
    assert load.run_again
