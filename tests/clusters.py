"""Private servers and clusters that a test may kill: ci/clusters, loaded as a module.

``with clusters.started("standby") as cluster: cluster["primary"].kill()``
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any


class Ability(Enum):
    """Something a cluster can do; the value ends the sentence "this cluster does not …"."""

    POOLS = "share few sessions of a server among many clients"
    PROMOTES = "make its standby the primary"
    REJOINS = "take a node back that was killed"


@dataclass(frozen=True)
class Kind:
    """One row of the clusters under test."""

    abilities: frozenset[Ability]
    """What it can do."""

    entry: tuple[str, ...] = ()
    """The nodes that its users connect to; all when empty."""

    home: str = ""
    """The node where a database is created; the first when empty."""

    primary: str = ""
    """A query for the port of the node that takes writes; empty where all do."""


CLUSTERS = {
    "pgbouncer": Kind(frozenset({Ability.POOLS}), entry=("pgbouncer",), home="postgresql"),
    "standby": Kind(frozenset({Ability.PROMOTES})),
    "galera": Kind(frozenset({Ability.REJOINS})),
    "groupreplication": Kind(
        frozenset({Ability.REJOINS}),
        primary="SELECT member_port FROM performance_schema.replication_group_members "
        "WHERE member_role = 'PRIMARY'",
    ),
}

PROGRAM = Path(__file__).parents[1] / "ci" / "clusters"


def started(name: str) -> AbstractContextManager[Any]:
    """Start the cluster *name* for the length of a ``with`` block, which gets a ``Cluster``."""
    context: AbstractContextManager[Any] = program().started(name)
    return context


@cache
def program() -> Any:
    """Load ci/clusters, a program without an ending."""
    loader = SourceFileLoader("ci_clusters", str(PROGRAM))
    spec = spec_from_loader("ci_clusters", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module
