"""Write the projects that the contestants work on: models, revisions, and each tool's own files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import alembic.command
from alembic.config import Config

import rxdb.migrations.project

TABLES = 100
"""How many tables the models have."""

REVISIONS = 50
"""How many revisions made them."""

ALTERING = 10
"""How many of these, the last ones, add a column to some of the tables."""

CHAIN = 200
"""How many revisions the upgrade goes through."""

REVISION = '''"""{message}

Revision ID: {id}
Revises: {down}
Create Date: 2026-01-01 12:00:00

"""
import sqlalchemy as sa
from alembic import op

revision = "{id}"
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
{up}


def downgrade() -> None:
{back}
'''

MODEL = """
class Table{n:03}(SQLModel, table=True):
    __tablename__ = "table_{n:03}"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=80, index=True)
    code: str = Field(max_length=20, index=True, unique=True)
    text: str | None = Field(default=None, sa_type=sa.Text)
    amount: Decimal = Field(
        max_digits=10, decimal_places=2, sa_column_kwargs={{"server_default": "0"}}
    )
    is_active: bool = Field(sa_column_kwargs={{"server_default": sa.true()}})
    created: datetime = Field(
        sa_type=sa.DateTime, sa_column_kwargs={{"server_default": sa.text("CURRENT_TIMESTAMP")}}
    )
    parent_id: int | None = Field(default=None, foreign_key="table_{parent:03}.id", index=True)
"""

MODELS = '''"""The models of an application."""
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlmodel import Field, SQLModel
'''

CREATE = """    op.create_table(
        "table_{n:03}",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("code", sa.String(length=20), nullable=False),
{text}        sa.Column("amount", sa.Numeric(10, 2), server_default="0", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column(
            "created", sa.DateTime(), server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False
        ),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["table_{parent:03}.id"],
            name="fk_table_{n:03}_parent_id_table_{parent:03}",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_table_{n:03}"),
    )
    op.create_index("ix_table_{n:03}_name", "table_{n:03}", ["name"], unique=False)
    op.create_index("ix_table_{n:03}_code", "table_{n:03}", ["code"], unique=True)
    op.create_index("ix_table_{n:03}_parent_id", "table_{n:03}", ["parent_id"], unique=False)"""

TEXT = 'sa.Column("text", sa.Text(), nullable=True)'

ITEM = """    op.create_table(
        "item_{n:03}",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("amount", sa.Numeric(10, 2), nullable=True),
        sa.Column("created", sa.DateTime(), nullable=True),{more}
        sa.PrimaryKeyConstraint("id", name="pk_item_{n:03}"),
    )"""

FOREIGN = """
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["item_{parent:03}.id"], name="fk_item_{n:03}_parent_id_item_{parent:03}"
        ),"""

ADD = '    op.add_column("item_{n:03}", sa.Column("{name}", {type}))'
DROP = '    op.drop_column("item_{n:03}", "{name}")'
INDEX = '    op.create_index("ix_item_{n:03}_{name}", "item_{n:03}", ["{name}"], unique=False)'
DROP_INDEX = '    op.drop_index("ix_item_{n:03}_{name}", table_name="item_{n:03}")'
DROP_ITEM = '    op.drop_table("item_{n:03}")'


def chain(folder: Path) -> int:
    """Write CHAIN revisions, each a table or a column, some with an index or a foreign key.

    Returns how many tables they create.
    """
    tables = -1
    for number in range(CHAIN):
        kind = number % 5
        tables += kind in (0, 3)
        n = tables
        if kind == 0:
            up = [ITEM.format(n=n, more=""), INDEX.format(n=n, name="name")]
            back = [DROP_INDEX.format(n=n, name="name"), DROP_ITEM.format(n=n)]
        elif kind == 3:  # noqa: PLR2004 - a kind of revision
            up = [ITEM.format(n=n, more=FOREIGN.format(n=n, parent=n - 1))]
            back = [DROP_ITEM.format(n=n)]
        else:
            name = f"more_{kind}"
            type_ = {
                1: "sa.String(length=40), nullable=True",
                2: 'sa.Integer(), server_default="0", nullable=False',
                4: "sa.DateTime(), nullable=True",
            }[kind]
            up, back = [ADD.format(n=n, name=name, type=type_)], [DROP.format(n=n, name=name)]
            if kind == 4:  # noqa: PLR2004 - the next kind
                up.append(INDEX.format(n=n, name=name))
                back.insert(0, DROP_INDEX.format(n=n, name=name))
        write_revision(folder, number, up, back)
    return tables + 1


def creation(folder: Path) -> None:
    """Write REVISIONS revisions that make the tables of the models, a quarter in two steps."""
    creating = REVISIONS - ALTERING
    for number in range(creating):
        tables = range(number * TABLES // creating, (number + 1) * TABLES // creating)
        up = [create(n) for n in tables]
        back = [f'    op.drop_table("table_{n:03}")' for n in reversed(tables)]
        write_revision(folder, number, up, back)
    for number in range(ALTERING):
        tables = range(number * TABLES // ALTERING, (number + 1) * TABLES // ALTERING)
        altered = [n for n in tables if grows(n)]
        up = [f'    op.add_column("table_{n:03}", {TEXT})' for n in altered]
        back = [f'    op.drop_column("table_{n:03}", "text")' for n in altered]
        write_revision(folder, creating + number, up, back)


def create(n: int) -> str:
    """Return the operations that create a table with its indexes."""
    text = "" if grows(n) else f"        {TEXT},\n"
    return CREATE.format(n=n, parent=max(n - 1, 0), text=text)


def grows(n: int) -> bool:
    """Whether a table gets one of its columns later."""
    return n % 4 == 0


def write_revision(folder: Path, number: int, up: list[str], back: list[str]) -> None:
    """Write one script that follows the one before it."""
    down = identifier(number - 1) if number else None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{identifier(number)}_change_{number}.py").write_text(
        REVISION.format(
            id=identifier(number),
            down=down,
            message=f"change {number}",
            up="\n".join(up),
            back="\n".join(back),
        ),
        encoding="utf-8",
    )


def identifier(number: int) -> str:
    """Return an id that looks like Alembic's."""
    return f"{(number + 1) * 0x9E3779B1 % 2**48:012x}"


def models() -> str:
    """Return the models' module."""
    classes = (MODEL.format(n=n, parent=max(n - 1, 0)) for n in range(TABLES))
    return MODELS + "\n".join(classes)


def application(folder: Path, library: str, more: str = "") -> None:
    """Write an application of the *library* with the models, laid out as Reflex does."""
    package = folder / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models.py").write_text(models(), encoding="utf-8")
    (package / "shop.py").write_text(
        f"import {library} as rx\n\nfrom shop import models\n{more}", encoding="utf-8"
    )
    (folder / "rxconfig.py").write_text(
        f'import {library} as rx\n\nconfig = rx.Config(app_name="shop")\n', encoding="utf-8"
    )


def for_rxdb(folder: Path, versions: Path) -> Path:
    """Write an application with what ``rxdb db init`` makes."""
    application(folder, "rxdb")
    template = rxdb.migrations.project.TEMPLATE
    (folder / "alembic").mkdir()
    shutil.copy(template / "env.py", folder / "alembic")
    shutil.copy(template / "script.py.mako", folder / "alembic")
    ini = (template / "alembic.ini").read_text(encoding="utf-8")
    (folder / "alembic.ini").write_text(
        f"{ini.rstrip()}\nversion_locations = {versions}\n", encoding="utf-8"
    )
    return folder


def for_alembic(folder: Path, versions: Path, library: str = "sqlmodel", more: str = "") -> Path:
    """Write an application with what ``alembic init`` makes, which is Reflex's too.

    The one change that Alembic asks for is made: ``env.py`` is told of the models.
    """
    application(folder, library, more)
    ini = folder / "alembic.ini"
    with redirect_stdout(StringIO()):
        alembic.command.init(Config(str(ini)), str(folder / "alembic"), template="generic")
    replace(ini, "[alembic]\n", f"[alembic]\nversion_locations = {versions}\n")
    replace(
        folder / "alembic" / "env.py",
        "target_metadata = None",
        "from shop import models\n\ntarget_metadata = models.SQLModel.metadata",
    )
    return folder


def for_reflex(folder: Path, versions: Path) -> Path:
    """Write an application of Reflex with what ``reflex db init`` makes."""
    page = '\n\ndef index():\n    return rx.text("shop")\n\n\napp = rx.App()\napp.add_page(index)\n'
    return for_alembic(folder, versions, "reflex", page)


def replace(file: Path, old: str, new: str) -> None:
    """Replace what stands once in a file."""
    text = file.read_text(encoding="utf-8")
    if text.count(old) != 1:
        raise LookupError(f"{file} has {old!r} {text.count(old)} times")
    file.write_text(text.replace(old, new), encoding="utf-8")


MANAGE = """import os
import sys

from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""

SETTINGS = """SECRET_KEY = "benchmark"
INSTALLED_APPS = ["shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.db"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""

DJANGO_MODEL = """
class Table{n:03}(models.Model):
    name = models.CharField(max_length=80, db_index=True)
    code = models.CharField(max_length=20, unique=True)
    text = models.TextField(null=True)
    amount = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    is_active = models.BooleanField(default=True)
    created = models.DateTimeField(auto_now_add=True)
    parent = models.ForeignKey("shop.Table{parent:03}", null=True, on_delete=models.CASCADE)
"""

DJANGO_CREATE = """        migrations.CreateModel(
            name="Table{n:03}",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=80, db_index=True)),
                ("code", models.CharField(max_length=20, unique=True)),
                ("text", models.TextField(null=True)),
                ("amount", models.DecimalField(max_digits=10, decimal_places=2, default=0)),
                ("is_active", models.BooleanField(default=True)),
                ("created", models.DateTimeField(auto_now_add=True)),
                ("parent", models.ForeignKey(
                    "shop.Table{parent:03}", null=True, on_delete=models.CASCADE)),
            ],
        ),"""

DJANGO_MIGRATION = """from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [{after}]
    operations = [
{operations}
    ]
"""


def for_django(folder: Path) -> Path:
    """Write a Django project with the same tables in as many migrations, and no other app."""
    package = folder / "shop"
    (package / "migrations").mkdir(parents=True)
    (folder / "manage.py").write_text(MANAGE, encoding="utf-8")
    (folder / "settings.py").write_text(SETTINGS, encoding="utf-8")
    (package / "__init__.py").touch()
    (package / "migrations" / "__init__.py").touch()
    classes = (DJANGO_MODEL.format(n=n, parent=max(n - 1, 0)) for n in range(TABLES))
    head = "from django.db import models\n"
    (package / "models.py").write_text(head + "\n".join(classes), encoding="utf-8")
    for name, text in _django_migrations():
        (package / "migrations" / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def _django_migrations() -> Iterator[tuple[str, str]]:
    each = TABLES // REVISIONS
    before = ""
    for number in range(REVISIONS):
        name = f"{number + 1:04}_change"
        operations = (
            DJANGO_CREATE.format(n=n, parent=max(n - 1, 0))
            for n in range(number * each, (number + 1) * each)
        )
        after = f'("shop", "{before}")' if before else ""
        yield name, DJANGO_MIGRATION.format(after=after, operations="\n".join(operations))
        before = name
