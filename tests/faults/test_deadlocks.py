"""Transactions that lock the same rows in opposite orders all succeed."""

from __future__ import annotations

import pytest
import transfers
from transfers import Direct, StartLoad

from rxdb import Feature, Target

DEADLOCKS = 20  # PostgreSQL looks for one after a second
ACCOUNTS = 4

pytestmark = [
    pytest.mark.needs(Feature.SKIP_LOCKED),  # it locks single rows
    pytest.mark.own_loop,
    pytest.mark.timeout(240),
]


def test_provoked(target: Target, start_load: StartLoad, direct: Direct) -> None:
    load = start_load([target.url], allowed=(), accounts=ACCOUNTS)
    with load.running():
        while load.run_again < DEADLOCKS:
            load.wait(1)
    load.check(*transfers.contents(direct(target.url)))
