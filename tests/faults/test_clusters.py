"""Clusters that lose a node under load: nothing acknowledged is lost, nothing is applied twice."""

from __future__ import annotations

from typing import Any

import clusters
import pytest
import transfers
from clusters import Ability
from sqlalchemy import URL
from transfers import Direct, StartLoad

import rxdb as rx

WORKERS = 20
FAILOVERS = 3

pytestmark = [pytest.mark.own_loop, pytest.mark.timeout(240)]
Places = dict[str, URL]


@pytest.mark.able(Ability.POOLS)
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_workers_share_few_sessions(
    cluster: Any, places: Places, start_load: StartLoad, direct: Direct, driver: str
) -> None:
    """Also while the server, and then the pooler itself, is killed and started again."""
    (entry,) = clusters.CLUSTERS[cluster.name].entry
    pooled = places[entry].update_query_dict({"pgbouncer": "true"})
    pooled = pooled.set(drivername=f"{pooled.get_backend_name()}+{driver}")
    home = places[clusters.CLUSTERS[cluster.name].home]
    load = start_load([pooled], allowed=(rx.ConnectionLost,), home=home, writers=WORKERS)
    with load.running():
        load.wait(300)
        assert not load.errors, load.errors
        for node in cluster:
            node.kill()
            node.restart()
            load.wait(100)
    load.figures["kills"] = len(cluster.nodes)
    load.check(*transfers.contents(direct(home)))


@pytest.mark.able(Ability.PROMOTES)
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_standby_takes_over(
    cluster: Any, places: Places, start_load: StartLoad, direct: Direct, driver: str
) -> None:
    primary, standby = cluster
    home = places[primary.name]
    with direct(home).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        connection.exec_driver_sql("SELECT pg_reload_conf()")  # what is acknowledged is on both
    hosts = ",".join(f"{url.host}:{url.port}" for url in places.values())
    text = home.render_as_string(hide_password=False).replace(f"{home.host}:{home.port}", hosts)
    both = rx.parse(f"{text}?target_session_attrs=read-write").url
    both = both.set(drivername=f"{both.get_backend_name()}+{driver}")
    load = start_load([both], allowed=(rx.ConnectionLost,), home=home)
    transfers.agreed([direct(url) for url in places.values()])
    with load.running():
        load.wait(200)
        primary.kill()
        standby.promote()
        load.wait(200)
    load.figures["kills"] = 1
    load.check(*transfers.contents(direct(places[standby.name])))


@pytest.mark.able(Ability.REJOINS)
def test_node_is_killed_and_rejoins(
    cluster: Any, places: Places, start_load: StartLoad, direct: Direct
) -> None:
    kind = clusters.CLUSTERS[cluster.name]
    nodes = [direct(url) for url in places.values()]
    # Until another primary is there, the others only read. A node that lags behind can lose each
    # conflict against faster ones, ten times in a row.
    allowed = (rx.ConnectionLost, rx.ReadOnly, rx.Deadlock)
    load = start_load([*places.values()], allowed)
    transfers.agreed(nodes)
    with load.running():
        for number in range(FAILOVERS):
            load.wait(100)
            node = [*cluster][number]
            if kind.primary:
                with nodes[0].connect() as connection:
                    port = connection.exec_driver_sql(kind.primary).scalar_one()
                node = next(one for one in cluster if one.port == port)
            node.kill()
            load.wait(100)
            node.restart()
            load.wait(100)
    load.figures["kills"] = FAILOVERS
    for contents in transfers.agreed(nodes):
        load.check(*contents)
