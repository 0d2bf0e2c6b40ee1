"""Revisions that change tables and rows in all the ways that a killed migration could lose."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, inspect, text

from rxdb.migrations import journal, log
from rxdb.migrations.project import TEMPLATE

CUSTOMERS = 40

SCRIPTS = {
    "r1": """
        op.create_table(
            "customer",
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("name", sa.String(50), nullable=False),
            sa.Column("age", sa.Integer),
        )
        op.create_table(
            "orders",
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("customer_id", sa.Integer, sa.ForeignKey("customer.id", ondelete="CASCADE")),
            sa.Column("amount", sa.Integer, nullable=False),
        )
        customer = sa.table("customer", sa.column("id"), sa.column("name"), sa.column("age"))
        orders = sa.table("orders", sa.column("id"), sa.column("customer_id"), sa.column("amount"))
        ids = range(1, 41)
        op.bulk_insert(customer, [{"id": i, "name": f"n{i}", "age": i} for i in ids])
        op.bulk_insert(orders, [{"id": i, "customer_id": i, "amount": 10 * i} for i in ids])
    """,
    "r2": """
        op.add_column("customer", sa.Column("email", sa.String(100)))
        customer = sa.table("customer", sa.column("name", sa.String), sa.column("email"))
        op.execute(customer.update().values(email=customer.c.name + "@example.org"))
        op.create_index("ix_customer_email", "customer", ["email"], unique=True)
    """,
    "r3": """
        with op.batch_alter_table("customer") as batch:
            batch.alter_column("email", existing_type=sa.String(100), nullable=False)
            batch.alter_column(
                "name", existing_type=sa.String(50), type_=sa.String(80), existing_nullable=False
            )
    """,
    "r4": """
        customer = sa.table("customer", sa.column("id"), sa.column("age"))
        op.create_table(
            "tag",
            sa.Column("customer_id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("tag", sa.String(20), nullable=False),
        )
        tag = sa.table("tag", sa.column("customer_id"), sa.column("tag"))
        bind = op.get_bind()
        for row in bind.execute(sa.select(customer).order_by(customer.c.id)).all():
            bind.execute(tag.insert().values(customer_id=row.id, tag=f"age {row.age}"))
        op.create_index("ix_tag_tag", "tag", ["tag"])
        op.execute("UPDATE orders SET amount = amount + 1")
        with op.batch_alter_table("customer") as batch:
            batch.drop_column("age")
        op.execute("UPDATE orders SET amount = amount + 1")
    """,
    "r5": """
        op.rename_table("orders", "purchase")
        op.execute("UPDATE purchase SET amount = amount + 1")
        with op.batch_alter_table("purchase") as batch:
            batch.add_column(sa.Column("paid", sa.Integer, nullable=False, server_default="0"))
            batch.create_index("ix_purchase_amount", ["amount"])
        op.execute("INSERT INTO purchase (id, customer_id, amount, paid) VALUES (99, 1, 5, 1)")
    """,
}


def write(project: Path) -> None:
    """Write a project of these revisions into a folder."""
    versions = project / "alembic" / "versions"
    versions.mkdir(parents=True)
    shutil.copy(TEMPLATE / "alembic.ini", project)
    shutil.copy(TEMPLATE / "env.py", versions.parent)
    down = None
    for revision, body in SCRIPTS.items():
        upgrade = textwrap.indent(textwrap.dedent(body).strip(), "    ")
        (versions / f"{revision}.py").write_text(
            f'"""{revision}"""\nimport sqlalchemy as sa\nfrom alembic import op\n'
            f"revision = {revision!r}\ndown_revision = {down!r}\n"
            f"def upgrade():\n{upgrade}\ndef downgrade():\n    pass\n"
        )
        down = revision


def found(engine: Engine) -> dict[str, Any]:
    """Return what a test compares: the state, the rows, and how tables are made."""
    with engine.connect() as connection:

        def rows(query: str) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.execute(text(query))]

        inspector = inspect(connection)
        tables = sorted(inspector.get_table_names())
        return {
            "version": rows("SELECT version_num FROM alembic_version"),
            "log": [(entry.revision, entry.direction) for entry in log.read(connection)],
            "journal": journal.read(connection),
            "customers": rows("SELECT id, name, email FROM customer ORDER BY id"),
            "purchases": rows("SELECT id, customer_id, amount, paid FROM purchase ORDER BY id"),
            "tags": rows("SELECT customer_id, tag FROM tag ORDER BY customer_id"),
            "tables": [
                name for name in tables if not name.startswith(("rxdb_", "alembic_version"))
            ],
            "indexes": sorted(
                str(index["name"])
                for table in ("customer", "purchase", "tag")
                for index in inspector.get_indexes(table)
                if str(index["name"]).startswith("ix_")
            ),
            "nullable": {
                column["name"]: column["nullable"] for column in inspector.get_columns("customer")
            },
            "references": [
                (key["referred_table"], key["options"].get("ondelete"))
                for key in inspector.get_foreign_keys("purchase")
            ],
        }


IDS = range(1, CUSTOMERS + 1)
EXPECTED = {
    "version": [("r5",)],
    "log": [(revision, "upgrade") for revision in SCRIPTS],
    "journal": None,
    "customers": [(i, f"n{i}", f"n{i}@example.org") for i in IDS],
    "purchases": [*((i, i, 10 * i + 3, 0) for i in IDS), (99, 1, 5, 1)],
    "tags": [(i, f"age {i}") for i in IDS],
    "tables": ["customer", "purchase", "tag"],
    "indexes": ["ix_customer_email", "ix_purchase_amount", "ix_tag_tag"],
    "nullable": {"id": False, "name": False, "email": False},
    "references": [("customer", "CASCADE")],
}
"""What :func:`found` returns after all of them, whatever happened on the way."""
