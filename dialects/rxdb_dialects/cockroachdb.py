"""CockroachDB 23.1 and later. It speaks PostgreSQL's protocol through its own SQLAlchemy plug-in.

Declared and tested without a server: there is none in rxdb's test matrix.
"""

from __future__ import annotations

from dataclasses import replace

from rxdb.dialect import Driver, Feature
from rxdb_dialects.postgresql import dialect as postgresql

dialect = replace(
    postgresql,
    name="cockroachdb",
    title="CockroachDB",
    aliases=("cockroach",),
    drivers=tuple(replace(driver, package="rxdb[cockroachdb]") for driver in postgresql.drivers),
    plugin=Driver(
        name="",
        module="sqlalchemy_cockroachdb",
        package="rxdb[cockroachdb]",
        distributions=("sqlalchemy-cockroachdb",),
    ),
    features=postgresql.features - {Feature.TRANSACTIONAL_DDL},
    oldest=(23, 1),
    in_matrix=False,
    port=26257,
    settings={"isolation level": "SHOW transaction_isolation", "time zone": "SHOW timezone"},
)
