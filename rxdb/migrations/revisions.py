"""Read the revisions on disk without Alembic: which there are, and how they follow each other.

Alembic imports each script, which takes about ten times as long and needs SQLAlchemy. Here a
regular expression reads the four names that matter. A script that says them in another way is
parsed, and executed as Alembic would only where parsing does not settle it.
"""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rxdb import config
from rxdb.errors import BadRevision, NotInitialized

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

INI = "alembic.ini"
TOML = "pyproject.toml"
VARIABLE = "ALEMBIC_CONFIG"

SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}
"""Alembic's names of what stands between two folders of ``version_locations``."""

NAMES = ("revision", "down_revision", "depends_on", "branch_labels")

ASSIGNMENT = re.compile(
    r"""(?mx) ^ (?P<name> revision | down_revision | depends_on | branch_labels ) [ \t]*
    (?: : [^=\n\#]* )? = (?!=) [ \t]*
    (?P<value> None | '[^'\\\n]*' | "[^"\\\n]*" | [(\[] [^()\[\]\#\\]* [)\]] )?
    (?P<end> [ \t]* (?: \#.* )? $ )?"""
)
"""A name at the start of a line and, where it is simple enough, its value: None, a text, or texts
in brackets."""

DOCSTRING = re.compile(
    r"""(?x) \A (?: \s | \#.*\n )* [rRuU]? (?: (\"{3}|'{3}) \s* ([^\n]*?) \s* (?:\1|\n)
    | (["']) ([^\n]*?) \3 )"""
)


@dataclass(frozen=True, kw_only=True)
class Project:
    """Where a project keeps its migrations, as its ``alembic.ini`` says."""

    ini: Path
    """``alembic.ini``, or the ``pyproject.toml`` with the table ``[tool.alembic]``."""

    script_location: Path
    """The folder of ``env.py``."""

    version_locations: tuple[Path, ...]
    """The folders of the revisions."""

    options: Mapping[str, str] = field(default_factory=dict)
    """All of the section ``[alembic]``."""

    recursive: bool = False
    """Whether the folders in these folders hold revisions too."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One script."""

    id: str
    down: tuple[str, ...]
    """The revisions it follows; none for the first one, several for a merge."""

    depends_on: tuple[str, ...] = ()
    """Revisions of other branches that have to be applied before it."""

    labels: tuple[str, ...] = ()
    """The names of the branch that begins here."""

    message: str = ""
    """The first line of the docstring."""

    path: Path

    @property
    def parents(self) -> tuple[str, ...]:
        """All that has to be applied before it."""
        return tuple(dict.fromkeys((*self.down, *self.depends_on)))


class History:
    """All revisions of a project, and the order among them."""

    def __init__(self, revisions: Iterable[Revision] = ()) -> None:
        """Put *revisions* in order.

        Raises :class:`rxdb.errors.BadRevision` for an id that two scripts have, for a parent that
        no script has, and for a circle.
        """
        found: dict[str, Revision] = {}
        for revision in revisions:
            if (other := found.setdefault(revision.id, revision)) is not revision:
                raise BadRevision(
                    f"Two scripts are revision {revision.id}: {other.path} and {revision.path}. "
                    f"Remove one, or give it another id."
                )
        labels = {label: r.id for r in found.values() for label in r.labels}
        self.revisions: Mapping[str, Revision] = {
            revision.id: _resolved(revision, labels) for revision in found.values()
        }
        for revision in self.revisions.values():
            for parent in revision.parents:
                if parent not in self.revisions:
                    raise BadRevision(
                        f"Revision {revision.id} ({revision.path}) follows {parent}, which no "
                        f"script describes. Bring back the script of {parent}, for example from "
                        f"version control."
                    )
        followed = {parent for r in self.revisions.values() for parent in r.down}
        self.heads = tuple(sorted(key for key in self.revisions if key not in followed))
        """The revisions that no other follows; Alembic's ``head`` where it is one."""
        self.bases = tuple(sorted(r.id for r in self.revisions.values() if not r.down))
        """The revisions that follow no other."""
        self._order = self._sorted()

    def in_order(self) -> tuple[Revision, ...]:
        """Return all revisions, each one after those it follows or depends on."""
        return self._order

    def ancestors(self, ids: Iterable[str]) -> set[str]:
        """Return what has been applied when *ids* have been: these and all before them.

        An id that no script describes has no known ancestors and is left out.
        """
        found: set[str] = set()
        todo = [key for key in ids if key in self.revisions]
        while todo:
            if (key := todo.pop()) not in found:
                found.add(key)
                todo += self.revisions[key].parents
        return found

    def pending(self, current: Iterable[str]) -> tuple[Revision, ...]:
        """Return what a database at *current* still lacks, oldest first."""
        applied = self.ancestors(current)
        return tuple(revision for revision in self._order if revision.id not in applied)

    def _sorted(self) -> tuple[Revision, ...]:
        """Return parents before children, and a branch without others in between."""
        children: dict[str, list[str]] = {key: [] for key in self.revisions}
        missing = {key: len(r.parents) for key, r in self.revisions.items()}
        for revision in self.revisions.values():
            for parent in revision.parents:
                children[parent].append(revision.id)
        ready = sorted((key for key, count in missing.items() if not count), reverse=True)
        order: list[Revision] = []
        while ready:
            key = ready.pop()
            order.append(self.revisions[key])
            for child in sorted(children[key], reverse=True):
                missing[child] -= 1
                if not missing[child]:
                    ready.append(child)
        if len(order) < len(self.revisions):
            circle = sorted(self.revisions.keys() - {revision.id for revision in order})
            raise BadRevision(
                f"These revisions follow each other in a circle: {', '.join(circle)}. "
                f"Correct down_revision in one of their scripts."
            )
        return tuple(order)


def find_project(folder: Path | None = None) -> Project | None:
    """Return where the migrations are kept, or None where there are none.

    That is what ``ALEMBIC_CONFIG`` names, or else ``alembic.ini`` or ``[tool.alembic]`` of
    ``pyproject.toml``, in *folder*: by default that of ``rxconfig.py``, or the current one.

    Raises :class:`rxdb.errors.BadRevision` for a file that cannot be read.
    """
    home = folder or _home()
    named = os.environ.get(VARIABLE, "").strip()
    is_toml = Path(named).name == TOML
    ini = home / (INI if is_toml or not named else named)
    toml = home / (named if is_toml else TOML)
    key = (str(ini), _stamp(ini), str(toml), _stamp(toml))
    if key[1] is None and key[3] is None:
        return None
    if key not in _projects:
        _projects[key] = _project(ini, toml)
    return _projects[key]


def read(project: Project | None = None) -> History:
    """Return the revisions of *project*, by default of :func:`find_project`'s.

    Raises :class:`rxdb.errors.NotInitialized` where there are no migrations, and
    :class:`rxdb.errors.BadRevision` for a script that cannot be read or that fits nowhere.
    """
    found = project or find_project()
    if found is None:
        raise NotInitialized.of(_home(), is_configured=config.is_there())
    files = tuple(_files(found))
    if (history := _histories.get(files)) is None:
        history = History([_load(*file) for file in files])
        _histories.clear()  # of one project; the parsed scripts stay
        _histories[files] = history
    return history


_File = tuple[str, int, int]
"""The path of a script, when it was changed in nanoseconds, and its size in bytes."""

_projects: dict[object, Project | None] = {}
_histories: dict[tuple[_File, ...], History] = {}
_scripts: dict[str, tuple[_File, Revision]] = {}


def _home() -> Path:
    file = config.find()
    return file.parent if file else config.folder()


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size)


def _project(ini: Path, toml: Path) -> Project | None:
    options, lists = _read_toml(toml)
    file = toml
    if ini.is_file():
        options, file = {**options, **_read_ini(ini)}, ini
    elif not options and not lists:
        return None
    location = options.get("script_location")
    if not location:
        raise BadRevision(
            f"{file} has no script_location. Write: script_location = %(here)s/alembic"
        )
    here = file.parent.absolute()
    paths = [here, *(here / path for path in _split(options, "prepend_sys_path"))]
    script_location = _path(location, here, paths)
    listed = _split(options, "version_locations") or lists.get("version_locations", [])
    return Project(
        ini=file,
        script_location=script_location,
        version_locations=tuple(_path(place, here, paths) for place in listed)
        or (script_location / "versions",),
        options=options,
        recursive=options.get("recursive_version_locations") == "true",
    )


def _read_ini(file: Path) -> dict[str, str]:
    from configparser import ConfigParser, Error, InterpolationError  # noqa: PLC0415 - costly

    here = file.absolute().parent.as_posix()
    parser = ConfigParser({"here": here})
    try:
        parser.read_string(_text(file), str(file))
    except Error as error:
        raise BadRevision(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
    if not parser.has_section("alembic"):
        return {}
    found: dict[str, str] = {}
    for name in parser.options("alembic"):
        try:
            found[name] = parser.get("alembic", name)
        except InterpolationError:  # a % of a password in sqlalchemy.url
            found[name] = parser.get("alembic", name, raw=True)
    return found


def _read_toml(file: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the texts of ``[tool.alembic]``, and its lists."""
    try:
        content = file.read_bytes()
    except OSError:
        return {}, {}
    if b"alembic" not in content:
        return {}, {}
    import tomllib  # noqa: PLC0415 - most projects have no such table

    try:
        table = tomllib.loads(content.decode()).get("tool", {}).get("alembic", {})
    except ValueError as error:
        raise BadRevision(f"{file} cannot be read: {error}") from None
    if not isinstance(table, dict):
        return {}, {}
    here = file.absolute().parent.as_posix()
    texts = {k: _here(v, here) for k, v in table.items() if isinstance(v, str)}
    texts |= {k: str(v).lower() for k, v in table.items() if isinstance(v, bool)}
    lists = {
        name: [_here(item, here) for item in value if isinstance(item, str)]
        for name, value in table.items()
        if isinstance(value, list)
    }
    return texts, {name: value for name, value in lists.items() if value}


def _here(value: str, here: str) -> str:
    return value.replace("%(here)s", here).replace("%%", "%")


def _split(options: Mapping[str, str], name: str) -> list[str]:
    """Split a list of folders as Alembic does (``Config.get_version_locations_list``)."""
    value = options.get(name, "")
    word = options.get("path_separator", options.get("version_path_separator"))
    if not value:
        return []
    if word is None:
        legacy = r", *|(?: +)" if name == "version_locations" else r", *|(?: +)|:"
        return [part for part in re.split(legacy, value) if part]
    if word not in SEPARATORS:
        raise BadRevision(
            f"There is no path_separator = {word}. Write one of: {', '.join(SEPARATORS)}"
        )
    return [part.strip() for part in value.split(SEPARATORS[word]) if part.strip()]


def _path(place: str, here: Path, paths: list[Path]) -> Path:
    """Return a folder: a path, or ``package:folder``.

    Alembic starts a relative path at the current folder, which is that of the ini file for those
    who start it as its manual does; the ini file's own folder goes first here.
    """
    if os.path.isabs(place):  # noqa: PTH117 - as Alembic asks; Path knows no drive without a root
        return Path(place)
    package, colon, inside = place.partition(":")
    if colon:
        return _package(package, paths).joinpath(*inside.split(":"))
    beside = here / place
    current = Path(place).absolute()
    return current if not beside.exists() and current.exists() else beside


def _package(name: str, paths: list[Path]) -> Path:
    """Return the folder of a package without importing it, also where it is not installed."""
    from importlib.machinery import PathFinder  # noqa: PLC0415 - few projects need it
    from importlib.util import find_spec  # noqa: PLC0415 - few need it

    folders: Any = None
    whole = ""
    for part in name.split("."):
        whole = f"{whole}.{part}" if whole else part
        spec = PathFinder.find_spec(whole, folders)
        if spec is None and folders is None:
            spec = PathFinder.find_spec(whole, [str(path) for path in paths]) or find_spec(whole)
        folders = spec.submodule_search_locations if spec else None
        if not folders:
            raise BadRevision(f"There is no package {name}, which script_location names.")
    return Path(next(iter(folders)))


def _files(project: Project) -> Iterator[_File]:
    """Yield each script once, those of one folder in order of name."""
    seen: set[str] = set()
    for place in project.version_locations:
        for entry in _listed(str(place), project.recursive):
            path = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
            if path not in seen:
                seen.add(path)
                found = entry.stat()
                yield (path, found.st_mtime_ns, found.st_size)


def _listed(folder: str, recursive: bool) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:  # Alembic passes over a folder that is not there
        return
    folders: list[str] = []
    for entry in listed:
        name = entry.name
        if name.endswith(".py") and not name.startswith((".#", "__init__")):
            yield entry
        elif recursive and entry.is_dir() and not name.endswith("__pycache__"):
            folders.append(entry.path)
    for inner in folders:
        yield from _listed(inner, recursive)


def _load(path: str, changed: int, size: int) -> Revision:
    kept = _scripts.get(path)
    if kept is not None and kept[0] == (path, changed, size):
        return kept[1]
    revision = _parse(Path(path))
    _scripts[path] = ((path, changed, size), revision)
    return revision


def _parse(path: Path) -> Revision:
    """Read one script: by its lines, or else by its syntax, or else by running it."""
    text = _text(path)
    names = _by_lines(text)
    message = _message(text)
    if names is None:
        names = _by_syntax(text, path)
    if names is None:
        names = _by_running(path)
    own = names.get("revision") or _legacy(path)
    if not own or "down_revision" not in names:
        lacks = "down_revision" if own else "revision"
        raise BadRevision(
            f"{path} says no {lacks}, so it is no revision. Remove it from this folder, or write: "
            f"{lacks} = …"
        )
    texts = {name: _texts(names.get(name), name, path) for name in NAMES[1:]}
    if not isinstance(own, str):
        raise BadRevision(f"The revision of {path} is a {type(own).__name__}, not a text.")
    return Revision(
        id=own,
        down=texts["down_revision"],
        depends_on=texts["depends_on"],
        labels=texts["branch_labels"],
        message=message,
        path=path,
    )


def _text(path: Path) -> str:
    """Return what a file says, in the encoding that its first lines name."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadRevision(f"{path} cannot be read: {error.strerror}.") from None
    content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if re.match(rb"(?:[^\n]*\n)?[ \t\f]*#.*?coding[:=]", content):
        from tokenize import detect_encoding  # noqa: PLC0415 - few scripts name an encoding

        lines = iter(content.splitlines(keepends=True))
        try:
            return content.decode(detect_encoding(lambda: next(lines, b""))[0])
        except (SyntaxError, UnicodeError) as error:
            raise BadRevision(f"{path} cannot be read: {error}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeError:
        return content.decode("latin-1")  # the names that matter are in ASCII


def _by_lines(text: str) -> dict[str, Any] | None:
    """Return the names where each stands once at the start of a line with a plain value."""
    found: dict[str, Any] = {}
    for match in ASSIGNMENT.finditer(text):
        name, value = match["name"], match["value"]
        if name in found or value is None or match["end"] is None:
            return None
        if value[0] in "([":
            try:
                found[name] = ast.literal_eval(value)
            except (SyntaxError, ValueError):
                return None
        else:
            found[name] = None if value == "None" else value[1:-1]
    is_whole = "revision" in found and "down_revision" in found
    return found if is_whole else None


def _by_syntax(text: str, path: Path) -> dict[str, Any] | None:
    """Return the names from the syntax of the script; None where a value is computed."""
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        reason = getattr(error, "msg", None) or error
        raise BadRevision(f"{path}, line {line}: {reason}.") from None
    found: dict[str, Any] = {}
    for statement in statements:
        name, value = _assigned(statement)
        try:
            found[name] = ast.literal_eval(value) if value is not None else None
        except (ValueError, TypeError):
            computed = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
            is_script = isinstance(statement, ast.FunctionDef)
            if computed & {*NAMES} and not is_script:
                return None
    return {name: found[name] for name in NAMES if name in found}


def _assigned(statement: ast.stmt) -> tuple[str, Any]:
    """Return the one name that *statement* assigns to and the value's syntax, or the statement."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, value
        case ast.AnnAssign(target=ast.Name(id=name), value=value) if value is not None:
            return name, value
    return "", statement


def _by_running(path: Path) -> dict[str, Any]:
    """Execute the script as Alembic does, where the names are computed."""
    import runpy  # noqa: PLC0415 - hardly any script needs it

    try:
        names = runpy.run_path(str(path), run_name=re.sub(r"\W", "_", path.name))
    except Exception as error:
        raise BadRevision(
            f"{path} cannot be read: {type(error).__name__}: {error}. Run: python {path}"
        ) from error
    return {name: names[name] for name in NAMES if name in names}


def _legacy(path: Path) -> str:
    """Return the id that the name of a very old script is (Alembic 0.1)."""
    match = re.match(r"([a-f0-9]+)\.py$", path.name)
    return match[1] if match else ""


def _texts(value: Any, name: str, path: Path) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else value or ()
    if not isinstance(found, tuple | list | set | frozenset) or not all(
        isinstance(one, str) for one in found
    ):
        raise BadRevision(f"{name} in {path} is neither None, a text nor several texts: {value!r}.")
    return tuple(found)


def _message(text: str) -> str:
    match = DOCSTRING.match(text)
    return (match[2] or match[4] or "").strip() if match else ""


def _resolved(revision: Revision, labels: Mapping[str, str]) -> Revision:
    """Return the revision with each label that it depends on as an id."""
    if not any(name in labels for name in revision.depends_on):
        return revision
    from dataclasses import replace  # noqa: PLC0415 - few need it

    return replace(revision, depends_on=tuple(labels.get(n, n) for n in revision.depends_on))
