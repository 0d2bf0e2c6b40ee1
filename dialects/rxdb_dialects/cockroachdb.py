"""CockroachDB 23.1 and later. It speaks PostgreSQL's protocol through its own SQLAlchemy plug-in.

Declared and tested without a server: there is none in rxdb's test matrix.
"""

from __future__ import annotations

from dataclasses import replace

from rxdb.dialect import Driver, Feature, as_compared, trusted
from rxdb_dialects.postgresql import dialect as postgresql

PACKAGES = {
    "rxdb[postgresql]": "rxdb[cockroachdb]",
    "rxdb[psycopg2]": "rxdb[cockroachdb,psycopg2]",
    "rxdb[asyncpg]": "rxdb[asyncpg,cockroachdb]",
}
"""What brings a driver, together with the plug-in."""

dialect = replace(
    postgresql,
    name="cockroachdb",
    title="CockroachDB",
    aliases=("cockroach",),
    drivers=tuple(replace(d, package=PACKAGES[d.package]) for d in postgresql.drivers),
    plugin=Driver(
        name="",
        module="sqlalchemy_cockroachdb",
        package="rxdb[cockroachdb]",
        distributions=("sqlalchemy-cockroachdb",),
    ),
    features=postgresql.features - {Feature.CASELESS_TEXT, Feature.TRANSACTIONAL_DDL},
    oldest=(23, 1),
    in_matrix=False,
    version_query="SELECT substring(version(), 'v([0-9.]+)')",  # the plug-in says 9.5 of each
    port=26257,
    settings={"isolation level": "SHOW transaction_isolation", "time zone": "SHOW timezone"},
    migration_lock=None,  # pg_try_advisory_lock is there and locks nothing
    has_session_locks=trusted,
    caseless=None,  # it has no CREATE COLLATION
    exact=as_compared,  # and sorts by code points
    server="",
    clone=None,
    drop_database="DROP DATABASE {} CASCADE",
)
