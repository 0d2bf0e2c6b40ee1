"""``rxdb doctor`` on a real server: what it reports, and what it says when it cannot connect.

It runs in a process of its own, for it runs an event loop where the driver is asynchronous.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import databases
import pytest
from sqlalchemy import URL, Engine

from rxdb import Target
from rxdb.dialect import release

PASSWORD = "wr0ng&p@ss"


def doctor(url: str | URL, *arguments: str) -> subprocess.CompletedProcess[str]:
    text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "rxdb", "doctor", "--url", text, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def place(target: Target, engine: Engine, run: databases.Run) -> Target:
    """A database that holds something; nobody else has its file open."""

    def fill() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE pet (name VARCHAR(20))")
        engine.dispose()

    run(fill)
    return target


@pytest.fixture
def server_place(place: Target) -> Target:
    """The same, on a server."""
    if not place.url.host:
        pytest.skip(f"{place.dialect.name} has no server")
    return place


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens at: bound, so that nobody else takes it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_reports_the_server(place: Target, url: str, server: str, engine: Engine) -> None:
    done = doctor(url, "--json")
    (found,) = json.loads(done.stdout)["databases"]
    assert (done.returncode, found["problem"]) == (0, None)
    assert found["checked_through"] == place.dialect.scheme(place.driver)
    assert release(found["server_version"]) >= place.dialect.oldest
    if query := databases.SERVERS[server].version:
        with engine.connect() as connection:
            answer = connection.exec_driver_sql(query).scalar_one()
        # 9.7.4-2 is read as 9.7.4.2
        assert found["server_version"] in answer.replace("-", ".")
    assert 0 < found["round_trip_ms"] < 10_000
    settings = found["settings"]
    assert list(settings) == list(place.dialect.settings)
    assert {answer["error"] for answer in settings.values()} <= {None}
    assert settings.get("TLS", {"value": "no"})["value"]


def test_prints_the_same(place: Target, url: str) -> None:
    done = doctor(url)
    assert done.returncode == 0
    assert f"{place.dialect.title} " in done.stdout
    assert all(label in done.stdout for label in place.dialect.settings)
    assert done.stdout.endswith("It works.\n")


@pytest.mark.parametrize(
    ("wrong", "arguments"), [("port", ()), ("user", ("--json",)), ("database", ())]
)
def test_says_why_it_cannot_connect(
    server_place: Target, closed_port: int, wrong: str, arguments: tuple[str, ...]
) -> None:
    url = {
        "port": server_place.url.set(host="127.0.0.1", port=closed_port, password=PASSWORD),
        "user": server_place.url.set(username="rxdb_nobody", password=PASSWORD),
        "database": server_place.url.set(database="rxdb_nowhere"),
    }[wrong]
    done = doctor(url, *arguments)
    assert done.returncode == 1
    told = {
        "port": f"Check that the server runs at {url.host}:{url.port}, and that ",
        "user": "The server refused the user 'rxdb_nobody': the name or the password is wrong, or ",
        "database": "Correct --url, or make it there: CREATE DATABASE rxdb_nowhere\n",
    }[wrong]
    assert told in done.stdout
    for secret in (PASSWORD, "wr0ng%26p%40ss", "Traceback"):
        assert secret not in done.stdout + done.stderr
