"""The tables that migrations keep for themselves, beside the application's own."""

from __future__ import annotations

VERSION = "alembic_version"
"""Alembic's: the revisions that the database is at."""

LOG = "rxdb_migration_log"
"""What was applied, when, how long it took, and by whom."""

JOURNAL = "rxdb_migration_journal"
"""The statements of a revision that has begun, where DDL cannot be rolled back."""

LEASE = "rxdb_migration_lease"
"""Who migrates, where no lock of the server can be trusted."""

OWN = frozenset({LOG, JOURNAL, LEASE})
"""Never part of a comparison with the models."""
