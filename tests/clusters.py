"""Private servers and clusters that a test may kill: ci/clusters, loaded as a module.

``with clusters.started("standby") as cluster: cluster["primary"].kill()``
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

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
