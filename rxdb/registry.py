"""Find a dialect by name: rxdb's own first, then those that other packages register.

A built-in dialect is a module of :mod:`rxdb_dialects` whose name begins with no underscore; the
others are what dialects are made of. Any other package adds one through the entry-point group
``rxdb.dialects``, which is read only when no built-in dialect answers: reading it searches every
installed distribution, and runs what other packages bring.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from rxdb.dialect import Dialect
from rxdb.errors import BadPlugin, UnknownDialect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE = "rxdb_dialects"
GROUP = "rxdb.dialects"


def get(name: str) -> Dialect:
    """Return the dialect that *name* means, either its own name or an alias.

    Raises :class:`rxdb.errors.UnknownDialect` with the nearest known name.
    """
    for table in (built_in, plugins):
        if found := table().get(name.lower()):
            return found
    raise UnknownDialect.of(name, {*built_in(), *plugins()})


def every() -> list[Dialect]:
    """Return each known dialect once, in order of name."""
    found = {
        dialect.name: dialect for table in (plugins(), built_in()) for dialect in table.values()
    }
    return [found[name] for name in sorted(found)]


@cache
def built_in() -> dict[str, Dialect]:
    """Return rxdb's own dialects by each of their names."""
    package = import_module(PACKAGE)
    names = (m.name for m in iter_modules(package.__path__) if not m.name.startswith("_"))
    modules = (import_module(f"{PACKAGE}.{name}") for name in names)
    return dict(_names(module.dialect for module in modules))


@cache
def plugins() -> dict[str, Dialect]:
    """Return the dialects of other installed packages by each of their names."""
    return dict(_names(_plugins()))


def _plugins() -> Iterator[Dialect]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - for the others it is not needed

    for entry in entry_points(group=GROUP):
        try:
            found = entry.load()
        except Exception as error:
            raise BadPlugin(
                f"The dialect {entry.name!r} of the entry point {entry.value} does not load: "
                f"{error}. Uninstall the package that brings it, or repair it."
            ) from error
        if not isinstance(found, Dialect):
            raise BadPlugin(
                f"The entry point {entry.name} = {entry.value} leads to a "
                f"{type(found).__name__}, not to an rxdb.Dialect."
            )
        yield found


def _names(dialects: Iterable[Dialect]) -> Iterator[tuple[str, Dialect]]:
    for dialect in dialects:
        for name in (dialect.name, *dialect.aliases):
            yield name, dialect
