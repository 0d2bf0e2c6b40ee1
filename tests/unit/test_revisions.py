"""Scripts are read as Alembic reads them, without Alembic."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxdb.errors import BadRevision, NotInitialized
from rxdb.migrations import revisions

INI = "[alembic]\nscript_location = %(here)s/alembic\npath_separator = os\n"


def write(
    folder: Path, text: str | bytes, name: str = "a.py", where: str = "alembic/versions"
) -> Path:
    """Write one script, with the files around it that Alembic asks for."""
    place = folder / where
    place.mkdir(parents=True, exist_ok=True)
    if not (folder / "alembic.ini").exists():
        (folder / "alembic.ini").write_text(INI)
    content = text if isinstance(text, bytes) else text.encode()
    (place / name).write_bytes(content)
    return place / name


def script(
    own: str, down: object = None, *, depends_on: object = None, labels: object = None
) -> str:
    return (
        f'"""about {own}"""\nrevision = {own!r}\ndown_revision = {down!r}\n'
        f"branch_labels = {labels!r}\ndepends_on = {depends_on!r}\n"
    )


def only(folder: Path) -> revisions.Revision:
    """Read the one script of *folder*, and compare with what Alembic makes of it."""
    (found,) = revisions.read(revisions.find_project(folder)).in_order()
    return found


FORMS = {
    "plain": ('revision = "a"\ndown_revision = None\n', ("a", (), ())),
    "annotated": (
        (
            "from typing import *\nrevision: str = 'a'\n"
            "down_revision: Union[str, Sequence[str], None] = None\n"
            "branch_labels: Union[str, Sequence[str], None] = None\n"
            "depends_on: Union[str, Sequence[str], None] = None\n"
        ),
        ("a", (), ()),
    ),
    "a comment behind": (
        "revision = 'a'  # it's = 'b'\ndown_revision = None # none\n",
        ("a", (), ()),
    ),
    "no spaces": ("revision='a'\ndown_revision=None\n", ("a", (), ())),
    "empty tuple": ("revision = 'a'\ndown_revision = ()\n", ("a", (), ())),
    "no last line end": ("revision = 'a'\ndown_revision = None", ("a", (), ())),
    "twice, the last one counts": (
        "revision = 'x'\ndown_revision = None\nrevision = 'a'\n",
        ("a", (), ()),
    ),
    "named in the docstring": (
        (
            '"""Words.\n\nrevision = "x"\ndown_revision = "y"\n"""\n'
            "revision = 'a'\ndown_revision = None\n"
        ),
        ("a", (), ()),
    ),
    "named in a text below": (
        'revision = \'a\'\ndown_revision = None\nNOTE = """\nrevision = \'x\'\n"""\n',
        ("a", (), ()),
    ),
    "joined texts": ("revision = 'a' 'b'\ndown_revision = (None)\n", ("ab", (), ())),
    "by another name": ("ID = 'a'\nrevision = ID\ndown_revision = None\n", ("a", (), ())),
    "escaped": ("revision = '\\x61'\ndown_revision = None\n", ("a", (), ())),
    "computed": ("revision = 'A'.lower()\ndown_revision = None\n", ("a", (), ())),
    "unpacked": ("revision, down_revision = 'a', None\n", ("a", (), ())),
    "chosen": (
        "revision = 'a'\nif True:\n    down_revision = None\nelse:\n    down_revision = 'x'\n",
        ("a", (), ()),
    ),
    "in functions too": (
        (
            "revision = 'a'\ndown_revision = None\n\n\ndef upgrade():\n    revision = 'x'\n"
            "    down_revision = 'y'\n"
        ),
        ("a", (), ()),
    ),
    "carriage returns": ("revision = 'a'\r\ndown_revision = None\r\n", ("a", (), ())),
    "a byte order mark": ("\ufeffrevision = 'a'\ndown_revision = None\n", ("a", (), ())),
    "a label": (
        "revision = 'a'\ndown_revision = None\nbranch_labels = ('x', 'y')\n",
        ("a", (), ("x", "y")),
    ),
    "one label": ("revision = 'a'\ndown_revision = None\nbranch_labels = 'x'\n", ("a", (), ("x",))),
}
"""How a script can be written; its id, the revisions it follows, and its labels."""


@pytest.mark.parametrize(("text", "expected"), FORMS.values(), ids=FORMS)
def test_a_script_is_read_as_alembic_reads_it(
    tmp_path: Path, text: str, expected: tuple[Any, ...]
) -> None:
    write(tmp_path, text)
    found = only(tmp_path)
    assert (found.id, found.down, found.labels) == expected
    (alembics,) = ScriptDirectory.from_config(Config(tmp_path / "alembic.ini")).walk_revisions()
    assert (alembics.revision, tuple(sorted(alembics.branch_labels))) == (found.id, found.labels)


PARENTS = {
    "a text": "'p'",
    "a tuple": "('p', 'q')",
    "a tuple of one": "('p',)",
    "a list": '["p", "q"]',
    "several lines": "(\n    'p',\n    'q',\n)",
    "with comments": "(  # both\n    'p',  # one\n    'q',\n)",
}


@pytest.mark.parametrize("value", PARENTS.values(), ids=PARENTS)
@pytest.mark.parametrize("name", ["down_revision", "depends_on"])
def test_parents_are_read_in_each_form(tmp_path: Path, name: str, value: str) -> None:
    other = "depends_on" if name == "down_revision" else "down_revision"
    write(tmp_path, f"revision = 'a'\n{name}: object = {value}\n{other} = None\n")
    for parent in "pq":
        write(tmp_path, script(parent), f"{parent}.py")
    found = revisions.read(revisions.find_project(tmp_path)).revisions["a"]
    expected = ("p", "q") if "q" in value else ("p",)
    assert found.parents == expected
    assert (found.down if name == "down_revision" else found.depends_on) == expected


def test_a_script_in_another_encoding_is_read(tmp_path: Path) -> None:
    write(tmp_path, b"# -*- coding: utf-16-le -*-", "b.py")
    (tmp_path / "alembic/versions/b.py").unlink()
    text = '# -*- coding: latin-1 -*-\n"""Gr\xfc\xdfe"""\nrevision = "a"\ndown_revision = None\n'
    write(tmp_path, text.encode("latin-1"))
    assert only(tmp_path).message == "Grüße"


MESSAGES = {
    '"""Add a table.\n\nRevision ID: a\n"""\n': "Add a table.",
    '"""Add a table."""\n': "Add a table.",
    "'''Add a table.'''\n": "Add a table.",
    "# a comment\n\n'Add a table.'\n": "Add a table.",
    '"""\nAdd a table.\n"""\n': "Add a table.",
    'r"""Add a table.\n"""\n': "Add a table.",
    "": "",
    "import os\n": "",
}


@pytest.mark.parametrize(("start", "message"), MESSAGES.items())
def test_the_message_is_the_first_line_of_the_docstring(
    tmp_path: Path, start: str, message: str
) -> None:
    write(tmp_path, f"{start}revision = 'a'\ndown_revision = None\n")
    assert only(tmp_path).message == message


REFUSED = {
    "no revision": ("down_revision = None\n", "says no revision"),
    "no down_revision": ("revision = 'a'\n", "says no down_revision"),
    "not Python": ("revision = = 'a'\n", r"a\.py, line 1: invalid syntax"),
    "a number": ("revision = 7\ndown_revision = None\n", "is a int, not a text"),
    "numbers": ("revision = 'a'\ndown_revision = (1, 2)\n", "neither None, a text nor several"),
    "fails": (
        "import nowhere\nrevision = nowhere.x\ndown_revision = None\n",
        "ModuleNotFoundError: No module named 'nowhere'",
    ),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_script_that_makes_no_sense_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = write(tmp_path, text, "a.py" if "revision = 'a'" in text else "zz_a.py")
    with pytest.raises(BadRevision, match=reason) as caught:
        only(tmp_path)
    assert path.name in str(caught.value)


BROKEN = {
    "the same id": ({"a": script("x"), "b": script("x")}, r"Two scripts are revision x"),
    "a missing parent": ({"a": script("x", "gone")}, r"x \(.*a\.py\) follows gone"),
    "a missing dependency": ({"a": script("x", depends_on="gone")}, "follows gone"),
    "a circle": ({"a": script("x", "y"), "b": script("y", "x")}, "in a circle: x, y"),
    "itself": ({"a": script("x", "x")}, "in a circle: x"),
}


@pytest.mark.parametrize(("scripts", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_history_that_makes_no_sense_is_refused(
    tmp_path: Path, scripts: dict[str, str], reason: str
) -> None:
    for name, text in scripts.items():
        write(tmp_path, text, f"{name}.py")
    with pytest.raises(BadRevision, match=reason):
        revisions.read(revisions.find_project(tmp_path))


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, script("a"))
    for name in ("__init__.py", "README", ".#a.py", "a.pyc", "a.py~"):
        write(tmp_path, "neither this nor that = =", name)
    write(tmp_path, "= =", "a.cpython-311.py", "alembic/versions/__pycache__")
    assert only(tmp_path).id == "a"


@st.composite
def histories(draw: st.DrawFn) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Draw revisions that follow and depend on earlier ones."""
    count = draw(st.integers(1, 9))
    found: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for number in range(count):
        before = sorted(found)
        some = st.lists(st.sampled_from(before), max_size=2, unique=True) if before else st.just([])
        found[f"r{number}"] = (tuple(draw(some)), tuple(draw(some)))
    return found


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), data=st.data())
def test_heads_bases_and_what_is_pending_are_as_alembic_says(
    tmp_path_factory: pytest.TempPathFactory,
    history: dict[str, tuple[tuple[str, ...], tuple[str, ...]]],
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("history")
    for own, (down, depends_on) in history.items():
        write(folder, script(own, down or None, depends_on=depends_on or None), f"{own}.py")
    mine = revisions.read(revisions.find_project(folder))
    directory = ScriptDirectory.from_config(Config(folder / "alembic.ini"))
    assert {*mine.heads} == {*directory.get_heads()}
    assert {*mine.bases} == {*directory.get_bases()}
    at = data.draw(st.sampled_from(sorted(history)))
    steps = directory.revision_map.iterate_revisions("heads", at, implicit_base=True)
    assert {r.id for r in mine.pending([at])} == {step.revision for step in steps if step} - {at}
    done: set[str] = set()
    for revision in mine.in_order():
        assert done >= {*revision.parents}
        done.add(revision.id)


INIS = {
    "here": ("script_location = %(here)s/alembic", "alembic", ["alembic/versions"]),
    "relative": ("script_location = alembic", "alembic", ["alembic/versions"]),
    "os": (
        (
            f"script_location = alembic\npath_separator = os\n"
            f"version_locations = %(here)s/a{os.pathsep}%(here)s/b c"
        ),
        "alembic",
        ["a", "b c"],
    ),
    "colon": (
        "script_location = alembic\npath_separator = :\nversion_locations = a:b",
        "alembic",
        ["a", "b"],
    ),
    "semicolon": (
        "script_location = alembic\npath_separator = ;\nversion_locations = a; b;",
        "alembic",
        ["a", "b"],
    ),
    "space": (
        "script_location = alembic\npath_separator = space\nversion_locations = a b",
        "alembic",
        ["a", "b"],
    ),
    "newline": (
        "script_location = alembic\npath_separator = newline\nversion_locations =\n  a\n  b c\n",
        "alembic",
        ["a", "b c"],
    ),
    "the old name": (
        "script_location = alembic\nversion_path_separator = space\nversion_locations = a b",
        "alembic",
        ["a", "b"],
    ),
    "without a separator": (
        "script_location = alembic\nversion_locations = a, b c",
        "alembic",
        ["a", "b", "c"],
    ),
    "a package": (
        "script_location = shop:migrations",
        "shop/migrations",
        ["shop/migrations/versions"],
    ),
    "a package inside": (
        "script_location = shop.inner:migrations\nprepend_sys_path = .",
        "shop/inner/migrations",
        ["shop/inner/migrations/versions"],
    ),
    "a percent sign elsewhere": (
        "script_location = alembic\nsqlalchemy.url = postgresql://me:p%40ss@host/app",
        "alembic",
        ["alembic/versions"],
    ),
}


@pytest.mark.parametrize(("text", "location", "versions"), INIS.values(), ids=INIS)
def test_the_folders_are_those_that_alembic_finds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    location: str,
    versions: list[str],
) -> None:
    for folder in ("alembic", "a", "b", "c", "b c", "shop/migrations", "shop/inner/migrations"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for package in ("shop", "shop/inner"):
        (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / "alembic.ini").write_text(f"[alembic]\n{text}\n")
    found = revisions.find_project()
    assert found is not None
    assert found.script_location == tmp_path / location
    assert list(found.version_locations) == [tmp_path / place for place in versions]
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        monkeypatch.delitem(sys.modules, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are old
        directory = ScriptDirectory.from_config(Config("alembic.ini"))
    assert Path(directory.dir).absolute() == found.script_location
    assert [path.absolute() for path in directory._version_locations] == list(
        found.version_locations
    )


def test_a_wrong_separator_is_named(tmp_path: Path) -> None:
    (tmp_path / "alembic.ini").write_text(
        "[alembic]\nscript_location = a\npath_separator = ,\nversion_locations = a\n"
    )
    with pytest.raises(BadRevision, match="no path_separator = ,"):
        revisions.find_project()


def test_folders_in_folders_count_only_when_the_ini_says_so(tmp_path: Path) -> None:
    write(tmp_path, script("a"))
    write(tmp_path, script("b", "a"), "b.py", "alembic/versions/2026/11")
    assert set(revisions.read().revisions) == {"a"}
    (tmp_path / "alembic.ini").write_text(f"{INI}recursive_version_locations = true\n")
    assert set(revisions.read().revisions) == {"a", "b"}


def test_a_label_can_stand_for_the_revision_that_is_depended_on(tmp_path: Path) -> None:
    write(tmp_path, script("a", labels=("users",)))
    write(tmp_path, script("b", depends_on="users"), "b.py")
    history = revisions.read()
    assert history.revisions["b"].depends_on == ("a",)
    assert [r.id for r in history.in_order()] == ["a", "b"]
    assert history.heads == ("a", "b")
    assert not history.pending(["b"])


def test_the_same_folder_twice_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, script("a"))
    (tmp_path / "link").symlink_to(tmp_path / "alembic/versions/a.py")
    (tmp_path / "alembic.ini").write_text(
        f"{INI}version_locations = alembic/versions{os.pathsep}alembic/versions\n"
    )
    assert only(tmp_path).id == "a"


@pytest.mark.parametrize("variable", ["", "db/pyproject.toml"])
def test_pyproject_says_where_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    home = tmp_path / Path(variable).parent
    home.mkdir(exist_ok=True)
    (home / "pyproject.toml").write_text(
        '[tool.alembic]\nscript_location = "%(here)s/m"\nversion_locations = ["%(here)s/a", "b"]\n'
        'version_table = "versions"\nrecursive_version_locations = true\n'
    )
    monkeypatch.setenv("ALEMBIC_CONFIG", variable)
    found = revisions.find_project()
    assert found is not None
    assert found.ini == home / "pyproject.toml"
    assert found.version_locations == (home / "a", home / "b")
    assert found.options["version_table"] == "versions"
    assert found.recursive


def test_the_ini_goes_before_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.alembic]\nscript_location = "b"\n')
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = a\n")
    found = revisions.find_project()
    assert found is not None
    assert found.script_location == tmp_path / "a"


def test_a_pyproject_of_something_else_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["alembic"]\n')
    assert revisions.find_project() is None
    with pytest.raises(NotInitialized, match=r"no rxconfig\.py here or above"):
        revisions.read()


def test_the_variable_names_another_ini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "db", script("a"))
    assert revisions.find_project() is None
    monkeypatch.setenv("ALEMBIC_CONFIG", "db/alembic.ini")
    assert set(revisions.read().revisions) == {"a"}


def test_the_project_is_beside_rxconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, script("a"))
    (tmp_path / "rxconfig.py").write_text("import rxdb as rx\nconfig = rx.Config()\n")
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert set(revisions.read().revisions) == {"a"}


def test_a_script_that_changes_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, script("a"))
    first = revisions.read()
    assert revisions.read() is first
    path.write_text(script("another"))
    assert set(revisions.read().revisions) == {"another"}
    write(tmp_path, script("b", "another"), "b.py")
    assert set(revisions.read().revisions) == {"another", "b"}
    path.unlink()
    with pytest.raises(BadRevision, match="follows another"):
        revisions.read()


LIGHT = """
import sys
from rxdb.migrations import revisions, state
assert revisions.read().heads == ("a",)
print(state.check_schema().name)
heavy = {"alembic", "sqlalchemy", "sqlmodel", "pydantic", "click", "rich", "asyncio"}
print(sorted(heavy & set(sys.modules)))
"""


def test_neither_alembic_nor_sqlalchemy_is_imported(tmp_path: Path) -> None:
    """A process that only asks for the state starts in a fraction of the time."""
    import sqlite3

    write(tmp_path, script("a"))
    with sqlite3.connect(tmp_path / "reflex.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('a')")
    connection.close()
    command = [sys.executable, "-c", LIGHT]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["at head", "[]"]
