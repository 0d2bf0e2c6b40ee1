"""The files of the migrations: where they are, and how a project gets them."""

from __future__ import annotations

import os
import re
import shutil
from argparse import Namespace
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.config import Config

from rxdb.config import is_there
from rxdb.errors import NotInitialized
from rxdb.migrations import models, revisions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rxdb.migrations.environment import Run

TEMPLATE = Path(__file__).parent / "template"

PLACEHOLDER = "driver://user:pass@localhost/dbname"
"""The URL in an ``alembic.ini`` that nobody has edited."""


def ini() -> Path:
    """Return where ``alembic.ini`` is or would be: ``ALEMBIC_CONFIG``, or the application's
    folder."""
    return models.home() / (os.environ.get(revisions.VARIABLE, "").strip() or revisions.INI)


def config(ask: Run) -> Config:
    """Return Alembic's configuration of this project, with *ask* for the environment.

    A project whose ``env.py`` does not ask rxdb, as Reflex leaves it and never runs it, is served
    by rxdb's own. Raises :class:`rxdb.errors.NotInitialized` where there are no migrations.
    """
    read = _read({"rxdb": ask})
    if "rxdb" not in _text(_env_py(read)):
        _stand_in(read)
    return read


def connect() -> Path | None:
    """Let an ``env.py`` that is Alembic's untouched template ask rxdb, so that
    ``alembic upgrade head`` works too; return its path, or None where there is nothing to do."""
    read = _read({})
    file = _env_py(read)
    statements = re.sub(r"#.*|\s", "", _text(file))
    is_untouched = (
        read.get_main_option("sqlalchemy.url") in {None, "", PLACEHOLDER}
        and "target_metadata=None" in statements
        and "engine_from_config(" in statements
    )
    if not is_untouched:
        return None
    shutil.copyfile(TEMPLATE / "env.py", file)
    return file


def _read(attributes: dict[str, Any]) -> Config:
    found = revisions.find_project()
    if found is None:
        raise NotInitialized.of(models.home(), is_configured=is_there())
    is_toml = found.ini.name == revisions.TOML
    read = Config(
        None if is_toml else found.ini,
        toml_file=found.ini if is_toml else found.ini.parent / revisions.TOML,
        cmd_opts=Namespace(quiet=True, x=None),
        attributes=attributes,
    )
    _set(read, "script_location", str(found.script_location))  # also from another folder
    return read


def _env_py(read: Config) -> Path:
    return Path(read.get_alembic_option("script_location") or "") / "env.py"


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _stand_in(read: Config) -> None:
    """Use rxdb's own ``env.py``, and leave the revisions and their template where they are."""
    location = _env_py(read).parent
    listed = read.get_version_locations_list() or [str(location / "versions")]
    paths = read.get_prepend_sys_paths_list() or []
    options = {
        "path_separator": "newline",
        "script_location": str(TEMPLATE),
        "version_locations": "\n".join(listed),
        "prepend_sys_path": "\n".join(paths),
    }
    for name, value in options.items():
        _set(read, name, value)


def _set(read: Config, name: str, value: str) -> None:
    read.set_main_option(name, value.replace("%", "%%"))


@contextmanager
def created() -> Iterator[None]:
    """Create the files of a project, and take them away again when what follows fails."""
    file = ini()
    folder = file.parent / "alembic"
    places = {
        "alembic.ini": file,
        "env.py": folder / "env.py",
        "script.py.mako": folder / "script.py.mako",
    }
    folders = [path for path in (folder, folder / "versions") if not path.exists()]
    missing = {name: path for name, path in places.items() if not path.exists()}
    try:
        (folder / "versions").mkdir(parents=True, exist_ok=True)
        for name, path in missing.items():
            shutil.copyfile(TEMPLATE / name, path)
        yield
    except BaseException:
        for path in (*missing.values(), *folders):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        raise
