"""Every check of the project. `nox` runs them all, `nox -l` lists them.

A session that needs a server starts it through ci/servers, and the last one stops them.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2025.2.9"
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False  # a machine with one Python still tests all of it

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
REPORTS = Path(".nox") / "reports"

# Server and driver to what is installed for it: one environment holds one driver and no other.
# mysqlclient compiles against the system's client library; mysqlclient-static is the same module
# as a wheel.
MATRIX = {
    "sqlite-pysqlite": ["."],
    "sqlite-aiosqlite": [".[async]"],
    "postgresql-psycopg": [".[postgresql]", "greenlet"],  # it is asynchronous too
    "postgresql-psycopg2": [".[psycopg2]"],
    "postgresql-asyncpg": [".[asyncpg]"],
    "mysql-pymysql": [".[mysql]"],
    "mysql-mysqldb": [".", "mysqlclient-static"],
    "mysql-asyncmy": [".[asyncmy]"],
    "mysql-aiomysql": [".[aiomysql]"],
    "mariadb-pymysql": [".[mariadb]"],
    "mariadb-mysqldb": [".", "mysqlclient-static"],
    "mariadb-asyncmy": [".[asyncmy]"],
    "duckdb": [".[duckdb]"],
}
SERVERS = ("postgresql", "mysql", "mariadb")
LONG = ("clusters", "db_command", "linting", "plugin", "secrets", "testing")
"""The unit tests that start many processes, or try many inputs: one Python is enough for them."""
TWO = "--numprocesses=2"
"""Runs tests in two processes; where nearly all wait for servers or for processes of their own."""

FAULTS = ("servers_killed", "connections_cut", "deadlocks")
CLUSTERS = ("pgbouncer", "standby", "galera", "groupreplication")

# The tests of migrations need no more than one driver of each server; with an asynchronous one
# those run that go all the way.
END_TO_END = [f"tests/migrations/test_{name}.py" for name in ("migrations", "reported_failures")]
MIGRATED = {
    "sqlite-pysqlite": ["tests/migrations"],
    "postgresql-psycopg": ["tests/migrations"],
    "mysql-pymysql": ["tests/migrations"],
    "mariadb-pymysql": ["tests/migrations"],
    "sqlite-aiosqlite": END_TO_END,
    "postgresql-asyncpg": END_TO_END,
    "mysql-asyncmy": END_TO_END,
}

# What is the same with other drivers of a server, and takes long: tried with these only.
ONE_EACH = {"duckdb", *(pair for pair in MIGRATED if MIGRATED[pair] != END_TO_END)}
SOME = {
    "tests/matrix/test_linting.py": ONE_EACH,
    "tests/matrix/test_testing.py": {*ONE_EACH, "postgresql-asyncpg"},
}


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and which module may import which."""
    install(session, ".", "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session
def typing(session: nox.Session) -> None:
    """Check types with mypy and pyright."""
    install(session, ".[postgresql,mysql,asyncmy,async]", "test", "typing", "benchmarks")
    session.run("mypy")
    session.run("pyright")


@nox.session(python=PYTHONS)
def unit(session: nox.Session) -> None:
    """Run the tests that need no server, with every driver."""
    install(session, ".[all,psycopg2,aiomysql]", "test", "mysqlclient-static", "pymssql")
    ignored = [f"--ignore=tests/unit/test_{name}.py" for name in LONG]
    pytest(session, "tests/unit", TWO, *(ignored if session.python != PYTHONS[0] else []))


@nox.session
@nox.parametrize("pair", [nox.param(pair, id=pair) for pair in MATRIX])
def tests(session: nox.Session, pair: str) -> None:
    """Run the shared matrix on one server, with only one driver installed."""
    name, _, driver = pair.partition("-")
    package, *more = MATRIX[pair]
    install(session, package, "test", *more)
    start(session, name)
    ignored = [f"--ignore={path}" for path, pairs in SOME.items() if pair not in pairs]
    backend = f"--backend={name}{'+' if driver else ''}{driver}"
    pytest(session, "tests/matrix", backend, *ignored, TWO)


@nox.session
@nox.parametrize("pair", [nox.param(pair, id=pair) for pair in MIGRATED])
def migrations(session: nox.Session, pair: str) -> None:
    """Run the tests of migrations on one server, without the zoo."""
    package, *more = MATRIX[pair]
    install(session, package, "test", *more)
    start(session, pair.partition("-")[0])
    backend = f"--backend={pair.replace('-', '+')}"
    pytest(session, *MIGRATED[pair], "--ignore=tests/migrations/test_zoo.py", backend, TWO)


@nox.session
@nox.parametrize("name", [nox.param(name, id=name) for name in ("sqlite", *SERVERS)])
def tutorials(session: nox.Session, name: str) -> None:
    """Run every program of SQLModel's tutorial through rxdb, and compare what it prints."""
    install(session, ".[postgresql,mysql,async]", "test", "tutorials")
    start(session, name)
    pytest(session, "tests/tutorials", f"--backend={name}", TWO)


@nox.session
def minimums(session: nox.Session) -> None:
    """Run on the oldest versions that pyproject.toml allows, SQLAlchemy 2.0 among them."""
    install(session, ".[postgresql,mysql,async]", "test", "--resolution=lowest-direct")
    start(session, "postgresql", "mysql")
    ignored = [f"--ignore={path}" for path in SOME]
    for name in ("sqlite", "sqlite+aiosqlite", "postgresql+psycopg", "mysql+pymysql"):
        pytest(session, "tests/matrix", f"--backend={name}", *ignored, TWO)
    backends = [f"--backend={name}" for name in ("sqlite", "postgresql", "mysql")]
    pytest(session, *END_TO_END, *backends, TWO)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel, then test the wheel away from the checkout."""
    install(session, "", "build", "test")
    away = Path(session.create_tmp()).resolve()
    shutil.rmtree(away, ignore_errors=True)
    session.run("python", "-m", "build", f"--outdir={away}/dist")
    (built,) = (away / "dist").glob("*.whl")
    session.run("check-wheel-contents", str(built))
    session.install("--reinstall-package=rxdb", f"{built}[all]")
    shutil.copytree("tests", away / "tests")
    shutil.copytree("examples", away / "examples")
    shutil.copy("pyproject.toml", away)
    session.chdir(away)
    session.run("python", "examples/quickstart.py")
    session.run("pytest", "tests/matrix", "--backend=sqlite", "--backend=duckdb", TWO)
    session.run("pytest", "tests/migrations/test_migrations.py", "--backend=sqlite")


@nox.session
def docs(session: nox.Session) -> None:
    """Run every code block of the documentation, and build the site."""
    install(session, ".[async,postgresql,mysql]", "test", "docs")
    # A page in one process: its blocks follow each other.
    pytest(session, "docs", "README.md", "CONTRIBUTING.md", TWO, "--dist=loadfile")
    session.env["NO_MKDOCS_2_WARNING"] = "1"  # Material's banner about its own future
    session.run("mkdocs", "build", "--strict", "--quiet", "--site-dir", session.create_tmp())


# These take long, and run when they are named: nox -s benchmarks

BENCHMARKS = ("migrations", "sqlite_load", "sessions", "bulk")
"""The programs of benchmarks/ that measure; each writes its own part of docs/benchmarks.md."""


@nox.session(default=False)
def benchmarks(session: nox.Session) -> None:
    """Measure rxdb beside its peers from the package index, and write docs/benchmarks.md."""
    install(session, ".[async,postgresql,mysql]", "benchmarks")
    start(session, *SERVERS)
    chosen = [name for name in BENCHMARKS if name in session.posargs] or BENCHMARKS
    options = [given for given in session.posargs if given not in BENCHMARKS]
    for name in chosen:
        session.run("python", f"benchmarks/{name}.py", *options)


@nox.session(default=False)
@nox.parametrize("name", [nox.param(name, id=name) for name in ("sqlite", *SERVERS)])
def interrupted(session: nox.Session, name: str) -> None:
    """Kill migrations at random points and run many at once, on one server."""
    install(session, ".[postgresql,mysql,async]", "test")
    start(session, name)
    pytest(
        session, *map(str, Path("tests/faults").glob("test_migrations_*.py")), f"--backend={name}"
    )


@nox.session(default=False)
@nox.parametrize("name", [nox.param(name, id=name) for name in SERVERS])
def faults(session: nox.Session, name: str) -> None:
    """Kill a server under load, cut its connections, end its sessions and provoke deadlocks."""
    install(session, ".[postgresql,mysql]", "test")
    start(session, name)
    files = [f"tests/faults/test_{name}.py" for name in FAULTS]
    pytest(session, *files, f"--backend={name}")


@nox.session(default=False)
@nox.parametrize("name", [nox.param(name, id=name) for name in CLUSTERS])
def clusters(session: nox.Session, name: str) -> None:
    """Kill nodes of one kind of cluster under load; each test starts its own with ci/clusters."""
    install(session, ".[postgresql,mysql,psycopg2,asyncpg]", "test")
    pytest(session, "tests/faults/test_clusters.py", f"--cluster={name}")


@nox.session(default=False)
def replicas(session: nox.Session) -> None:
    """Read from a replica, hold it up, kill and promote it, on each server with each driver."""
    drivers = ".[postgresql,psycopg2,asyncpg,mysql,asyncmy]"
    install(session, drivers, "test", "mysqlclient-static")
    pytest(session, "tests/faults/test_replicas.py")


@nox.session(default=False)
def poolers(session: nox.Session) -> None:
    """Share five connections of PgBouncer among twenty workers, with each driver."""
    install(session, ".[postgresql,psycopg2,asyncpg]", "test")
    pytest(session, "tests/faults/test_poolers.py")


@nox.session(default=False)
def roundtrips(session: nox.Session) -> None:
    """Try thousands of values of each type on each server, and write docs/compatibility.md."""
    install(session, ".[postgresql,mysql]", "test")
    start(session, *SERVERS)
    session.env.setdefault("RXDB_ROUNDTRIPS", "50")
    session.run("python", "tests/compatibility.py", *session.posargs)


@nox.session(default=False)
@nox.parametrize("name", [nox.param(name, id=name) for name in ("sqlite", *SERVERS)])
def zoo(session: nox.Session, name: str) -> None:
    """Run the migrations for every kind of change on one server and on all the others."""
    install(session, ".[postgresql,mysql,async]", "test")
    start(session, *SERVERS)
    pytest(session, "tests/migrations/test_zoo.py", f"--backend={name}", TWO)


@nox.session(default=False)
@nox.parametrize("pair", [nox.param(pair, id=pair) for pair in MATRIX if pair != "duckdb"])
def compliance(session: nox.Session, pair: str) -> None:
    """Run SQLAlchemy's own tests for dialects on plain engines and on rxdb's, and compare."""
    package, *more = MATRIX[pair]
    install(session, package, "test", "pip", "setuptools", *more)
    start(session, pair.partition("-")[0])
    found = session.run("python", "-c", VERSION, silent=True).strip()  # type: ignore[union-attr]
    sources = Path(session.create_tmp()).resolve()
    if not (source := sources / f"sqlalchemy-{found}").is_dir():
        # Its metadata is made with what is installed, without compiling its extensions.
        options = ("--no-deps", "--no-build-isolation", "--no-binary=sqlalchemy", "--quiet")
        env = {"DISABLE_SQLALCHEMY_CEXT": "1"}
        wanted = (f"sqlalchemy=={found}", f"--dest={sources}")
        session.run("python", "-m", "pip", "download", *options, *wanted, env=env)
        shutil.unpack_archive(sources / f"sqlalchemy-{found}.tar.gz", sources)
    backend, path = pair.replace("-", "+"), {"PYTHONPATH": "tests"}
    session.run("python", "tests/compliance/suite.py", backend, str(source), env=path)


VERSION = "from importlib import metadata; print(metadata.version('sqlalchemy'))"


def install(session: nox.Session, package: str, *more: str) -> None:
    """Install *package* editable, and *more*: dependency groups, options or distributions."""
    groups = PYPROJECT["dependency-groups"]
    listed = [nox.project.dependency_groups(PYPROJECT, m) if m in groups else (m,) for m in more]
    session.install(
        *(["-e", package] if package else []), *(one for many in listed for one in many)
    )


def pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest, and keep its report for ci/run to add up."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    kinds = ("--backend", "tests/unit/")
    label = "-".join([session.name, *(a for a in arguments if a.startswith(kinds))])
    name = "".join(c if c.isalnum() else "-" for c in label)
    report = f"--junitxml={(REPORTS / name).resolve()}.xml"
    session.run("pytest", *arguments, report, *session.posargs)


def start(session: nox.Session, *names: str) -> None:
    """Have the named servers run, and tell the session where they are."""
    wanted = [name for name in names if name in SERVERS]
    if wanted:
        session.env.update(servers().up(wanted))


_loaded: list[Any] = []


def servers() -> Any:
    """Load ci/servers, a program without an ending, as a module; stop its servers at the end."""
    if not _loaded:
        loader = SourceFileLoader("servers", str(Path("ci/servers").resolve()))
        spec = spec_from_loader("servers", loader)
        assert spec is not None
        module = module_from_spec(spec)
        loader.exec_module(module)
        if not module.running():
            atexit.register(module.down)
            signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # to atexit too
        _loaded.append(module)
    return _loaded[0]


def see_pyenv() -> None:
    """Put pyenv's Pythons on the path: its shims refuse each but the one chosen globally."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    bins = [str(path / "bin") for version in PYTHONS for path in sorted(root.glob(f"{version}.*"))]
    os.environ["PATH"] = os.pathsep.join([*bins, os.environ.get("PATH", "")])


see_pyenv()
