"""The pytest plug-in, as far as it needs no server."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import rxdb as rx
from rxdb.migrations import database
from rxdb.testing.databases import ServerConnection, backends

MODELS = """
import rxdb as rx

class Hero(rx.Model, table=True):
    name: str

def names():
    with rx.session() as session:
        return sorted(session.exec(rx.select(Hero.name)).all())
"""

COUNTS = """
import rxdb as rx
from models import Hero, names

def test_adds(rx_session):
    assert names() == []
    rx_session.add(Hero(name="a"))
    rx_session.commit()
    assert names() == ["a"]

def test_adds_again(rx_session):
    test_adds(rx_session)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An application's folder, whose warnings are errors, where no server is known."""
    for name in ("POSTGRESQL", "MYSQL", "MARIADB"):
        monkeypatch.delenv(f"RXDB_TEST_{name}", raising=False)
    pytester.makeini("[pytest]\nfilterwarnings = error\npythonpath = .\n")
    pytester.makepyfile(models=MODELS)
    return pytester


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run the project's tests as its user would, in a process of its own."""
    return project.runpytest_subprocess("-p", "rxdb.testing.plugin", *options, timeout=100)


def test_the_plug_in_loads_next_to_nothing() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import rxdb.testing.plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["rxdb", "rxdb.testing", "rxdb.testing.plugin"]


def test_a_run_that_does_not_use_it_loads_nothing_more(project: pytest.Pytester) -> None:
    project.makepyfile(
        "import sys\n"
        "def test_nothing_is_loaded():\n"
        "    assert not {'sqlalchemy', 'rxdb.config', 'rxdb.testing.run'} & set(sys.modules)"
    )
    run(project).assert_outcomes(passed=1)


def test_the_library_is_not_rewritten(project: pytest.Pytester) -> None:
    """As pytest does it where the plug-in is installed, and not only loaded."""
    project.makepyfile(
        """
        import rxdb.transactions

        def test_loader():
            assert "Rewriting" not in type(rxdb.transactions.__spec__.loader).__name__
        """
    )
    project.runpytest_subprocess("-p", "rxdb.testing.plugin").assert_outcomes(passed=1)


def test_ordinary_sessions_need_no_greenlet(project: pytest.Pytester) -> None:
    project.makepyfile(COUNTS)
    project.makeconftest("import sys\nsys.modules['greenlet'] = None")
    run(project).assert_outcomes(passed=2)


def test_sqlite_is_what_tests_run_on_where_nothing_is_said(project: pytest.Pytester) -> None:
    project.makepyfile(COUNTS)
    result = run(project, "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*::test_adds?sqlite? PASSED*"])


def test_the_ini_file_names_the_databases(project: pytest.Pytester) -> None:
    project.makepyfile(COUNTS)
    project.makeini("[pytest]\npythonpath = .\nrx_db = sqlite, duckdb\n")
    run(project).assert_outcomes(passed=4)
    run(project, "--rx-db=sqlite").assert_outcomes(passed=2)


def test_workers_have_databases_of_their_own(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(project.mkdir("temporary")))
    project.makepyfile(COUNTS)
    run(project, "-n2").assert_outcomes(passed=2)
    assert not list(project.path.glob("temporary/rxdb*"))


def test_the_applications_own_database_is_not_touched(project: pytest.Pytester) -> None:
    project.makepyfile(COUNTS, rxconfig="import rxdb as rx\nconfig = rx.Config(db_url='own.db')")
    run(project).assert_outcomes(passed=2)
    assert not list(project.path.glob("*.db*"))


def test_the_environment_does_not_lead_elsewhere(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RXDB_URL", "sqlite:///elsewhere.db")
    project.makepyfile(COUNTS)
    run(project).assert_outcomes(passed=2)
    assert not list(project.path.glob("*.db*"))


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--rx-db=postgrs", "ERROR: rxdb has no dialect 'postgrs'. Did you mean 'postgres'?"),
        (
            "--rx-db=oracle",
            "No Oracle server is known. Run: export RXDB_TEST_ORACLE=oracle://user:password@host/",
        ),
    ],
)
def test_what_cannot_be_had_is_an_error(
    option: str, sentence: str, project: pytest.Pytester
) -> None:
    project.makepyfile(COUNTS)
    result = run(project, option)
    assert result.ret != 0
    assert sentence in result.stdout.str() + result.stderr.str()
    assert "Traceback" not in result.stdout.str()


def test_a_server_without_programs_is_an_error_that_says_what_to_install(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project.makepyfile(COUNTS)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    project.makeconftest(
        "from rxdb.testing import servers\n"
        "servers.find_on_path = lambda name: []\n"  # nor in /usr/sbin
    )
    result = run(project, "--rx-db=mariadb")
    result.assert_outcomes(errors=2)
    sentence = (
        "mariadb is not on this machine. Put mariadbd and mariadb-install-db on the PATH, run: "
        "apt-get install mariadb-server-core mariadb-client-core, or set RXDB_TEST_MARIADB to "
        "a server's URL."
    )
    result.stdout.fnmatch_lines([sentence])


def test_two_transactions_that_cannot_be_kept_apart_are_an_error(project: pytest.Pytester) -> None:
    project.makepyfile(
        "import rxdb as rx\n"
        "from models import Hero\n"
        "def test_crossing(rx_db):\n"
        "    first, second = rx.session(), rx.session()\n"
        "    first.add(Hero(name='first')), first.flush()\n"
        "    second.add(Hero(name='second')), second.flush()\n"
        "    first.rollback()\n"
        "def test_the_other_way_round(rx_db):\n"
        "    first, second = rx.session(), rx.session()\n"
        "    first.add(Hero(name='first')), first.flush()\n"
        "    second.add(Hero(name='second')), second.flush()\n"
        "    first.add(Hero(name='later')), first.commit()\n"
        "    second.rollback()\n"
        "def test_reading_is_fine(rx_db):\n"
        "    first, second = rx.session(), rx.session()\n"
        "    assert first.exec(rx.select(Hero)).all() == []\n"
        "    second.add(Hero(name='second')), second.flush()\n"
        "    first.close()\n"
        "    second.commit()\n"
        "    first.exec(rx.select(Hero)).all()\n"
        "    second.exec(rx.select(Hero)).all()\n"
        "    first.add(Hero(name='first')), first.commit()\n"
        "    second.close()\n"
        "    assert len(first.exec(rx.select(Hero)).all()) == 2\n"
    )
    result = run(project)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*OverlappingTransactions: A transaction was rolled back*"])


def test_migrations_that_are_not_there_are_an_error(project: pytest.Pytester) -> None:
    result = run(project, "--rx-migrations")
    assert result.ret != 0
    assert "--rx-migrations: " in result.stdout.str() + result.stderr.str()
    assert "no rxconfig.py here or above" in result.stdout.str() + result.stderr.str()


def test_two_heads_are_found(project: pytest.Pytester) -> None:
    project.makepyfile(rxconfig="import rxdb as rx\nconfig = rx.Config(models=['models'])")
    project.run(sys.executable, "-m", "rxdb", "db", "init", timeout=60)
    (script,) = project.path.glob("alembic/versions/*.py")
    for name in ("one", "two"):
        script.with_name(f"{name}.py").write_text(
            f"revision = {name!r}\ndown_revision = {script.name.partition('_')[0]!r}\n"
            "def upgrade() -> None: ...\ndef downgrade() -> None: ...\n"
        )
    project.makeini("[pytest]\npythonpath = .\nrx_migrations = true\n")
    result = run(project)
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["*there_is_one_head*", "*several heads*rxdb db merge*"])


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "two workers"])
def test_the_grid_tells_what_passed_where(
    workers: tuple[str, ...], project: pytest.Pytester
) -> None:
    project.makepyfile(
        "import pytest\n"
        "import models\n"
        "def test_fails_on_one(rx_db, rx_backend):\n"
        "    assert rx_backend == 'sqlite', '<b> postgresql://me:secret@h/'\n"
        "@pytest.mark.parametrize('x', [1, 'a-b'])\n"
        "def test_skips(rx_db, x):\n"
        "    if x == 1: pytest.skip('not | today')\n"
        "@pytest.mark.xfail(reason='known')\n"
        "def test_is_known(rx_empty):\n"
        "    raise ValueError\n"
        "def test_without_a_database():\n"
        "    pass\n"
    )
    file = "test_the_grid_tells_what_passed_where.py"
    options = ("--rx-db=sqlite,duckdb", "--rx-grid=grid.md", "--rx-grid=grid.html", *workers)
    result = run(project, *options)
    result.assert_outcomes(passed=4, failed=1, skipped=2, xfailed=2)
    result.stdout.fnmatch_lines(
        [
            "sqlite  2 passed, 1 skipped, 1 xfailed",
            "duckdb  1 passed, 1 failed, 1 skipped, 1 xfailed",
        ]
    )
    assert (project.path / "grid.md").read_text() == GRID.replace("FILE", file)
    page = (project.path / "grid.html").read_text()
    assert "AssertionError: &lt;b&gt; postgresql://me:***@h/" in page
    assert "secret" not in page


GRID = """\
# What passed on which database

| Test | sqlite | duckdb |
| --- | --- | --- |
| **Total** | 2 passed, 1 skipped, 1 xfailed | 1 passed, 1 failed, 1 skipped, 1 xfailed |
| `FILE::test_fails_on_one` | passed | **failed**: AssertionError: <b> postgresql://me:***@h/ |
| `FILE::test_is_known` | **xfailed**: known | **xfailed**: known |
| `FILE::test_skips[1]` | skipped: not \\| today | skipped: not \\| today |
| `FILE::test_skips[a-b]` | passed | passed |
"""


READ = [
    ("sqlite", ["sqlite"]),
    ("sqlite,postgresql+asyncpg", ["sqlite", "postgresql+asyncpg"]),
    ("sqlite\npostgres", ["sqlite", "postgres"]),
    ("mysql://a:b@h/,mysql://c:d@i:1/x", ["mysql", "mysql-2"]),
    ("postgresql://h:1,i:2/x,sqlite", ["postgresql", "sqlite"]),
]


@pytest.mark.parametrize(("text", "labels"), READ)
def test_the_names_of_databases_are_read(text: str, labels: list[str]) -> None:
    assert [backend.label for backend in backends(text)] == labels


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+aiosqlite"])
def test_databases_are_made_through_one_connection_with_the_applications_options(
    scheme: str, tmp_path: Path
) -> None:
    rx.set_config(rx.Config(engine_options={"execution_options": {"tenant": "a"}, "pool_size": 7}))
    seen = []

    def look(connection: Any) -> None:
        raw = connection.connection.dbapi_connection
        seen.append((id(raw), connection.get_execution_options()["tenant"], raw.isolation_level))

    with closing(ServerConnection(database.target(f"{scheme}:///{tmp_path}/a.db"))) as made:
        made.run(look)
        made.run(look)
    assert seen == [seen[0]] * 2
    assert seen[0][1:] == ("a", None)
