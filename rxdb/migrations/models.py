"""Import the application's models, so that their tables are known."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rxdb import config
from rxdb.errors import BadConfig, NoModels
from rxdb.model import ModelRegistry

if TYPE_CHECKING:
    from sqlalchemy import MetaData


def load() -> tuple[MetaData, ...]:
    """Import the models and return the metadata of every base.

    These are the modules of ``Config.models``; without any, ``app_name.app_name`` as Reflex lays
    an application out, or else the package ``app_name`` with all that is in it. They are looked
    for beside ``rxconfig.py``.

    Raises :class:`rxdb.errors.NoModels` when no table came of it, and
    :class:`rxdb.errors.BadConfig` when a module cannot be imported.
    """
    settings = config.get_config()
    _see(home())
    if settings.models:
        for module in settings.models:
            _import(module)
    elif settings.app_name:
        _import_application(settings.app_name)
    known = ModelRegistry.get_metadata()
    if not any(metadata.tables for metadata in known):
        named = settings.models or settings.app_name
        raise NoModels.of(named, is_configured=config.is_there())
    return known


def home() -> Path:
    """Return the folder of the application: where its ``rxconfig.py`` is, or the current one."""
    file = config.find()
    return file.parent if file else config.folder()


def _see(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _import_application(name: str) -> None:
    if _is_there(f"{name}.{name}"):
        _import(f"{name}.{name}")
    elif _is_there(name):
        package = _import(name)
        for module in pkgutil.walk_packages(getattr(package, "__path__", []), f"{name}."):
            if not module.name.endswith("__main__"):
                _import(module.name)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _import(module: str) -> object:
    file = re.fullmatch(r"(?:\./)?(\w+(?:[/\\]\w+)*)\.py", module)
    if file is not None:
        name = re.sub(r"[/\\]", ".", file[1])
        raise BadConfig(f'Config.models names modules, not files. Write: models=["{name}"]')
    try:
        return importlib.import_module(module)
    except Exception as error:
        gone = (error.name or "") if isinstance(error, ModuleNotFoundError) else ""
        missing = bool(gone) and f"{module}.".startswith(f"{gone}.")
        reason = "there is no such module" if missing else f"{type(error).__name__}: {error}"
        meant = _nearest(module, gone) if missing else ""
        step = (
            f"Did you mean {meant!r}?"
            if meant
            else f"Look at models=… in rxconfig.py, or run: python -c 'import {module}'"
        )
        raise BadConfig(f"The models in {module} cannot be imported: {reason}. {step}") from error


def _nearest(module: str, gone: str) -> str:
    """Return the module that was probably meant where *gone*, the beginning of *module*, is not
    there; an empty text where none is near."""
    above, _, name = gone.rpartition(".")
    if above and not hasattr(sys.modules.get(above), "__path__"):
        return above  # the name of a class stands behind it
    places = sys.modules[above].__path__ if above else [str(home())]
    close = get_close_matches(name, [found.name for found in pkgutil.iter_modules(places)], n=1)
    return ".".join(filter(None, (above, *close))) + module[len(gone) :] if close else ""
