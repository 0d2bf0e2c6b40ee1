"""No password is ever shown, and nothing but rxdb's own errors comes out of ``parse``.

What must not appear is looked for piece by piece: each password holds words that occur nowhere
else, between characters that mean something in a URL.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL

import rxdb as rx
from rxdb import config
from rxdb.dialect import show
from rxdb.engine import build, build_async
from rxdb.errors import hide

settings.register_profile(
    "secrets",
    deadline=None,
    database=None,  # each test has a folder of its own
    print_blob=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # explaining takes three times as long
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PROFILE = settings.get_profile("secrets")
TEXTS, URLS, FILES, ENGINES = 5000, 5000, 800, 200
"""How many of each are made in one run: more than 10,000."""

SCHEMES = ("postgresql", "postgres+psycopg", "mysql", "mariadb+pymysql", "oracle", "cockroachdb")
HOSTS = ("db.example.org", "10.0.0.1:5433", "[::1]:5432", "h1:1,h2:2", "%2Fvar%2Frun", "h:x", "")

WORDS = (
    "QXZJKVW",
    "qxzjkvw",
    "ZzQqXxJj",
    "KvKvKvKv",
    "wJwJwJ",
    "éßøжщ",
    "中文中文中文",
    "😀😀😀😀😀😀",
)
"""What no text of rxdb or SQLAlchemy contains."""
FORMS = {word: {word, quote(word), quote(word).lower(), ascii(word)[1:-1]} for word in WORDS}
MEANINGFUL = "12 +@:/?#%&=;,.'\"\\[]{}!$~"
BETWEEN = ("", *MEANINGFUL, *map("".join, product(MEANINGFUL, MEANINGFUL)))


@dataclass(frozen=True)
class Secret:
    """A password, and the words in it."""

    text: str
    words: tuple[str, ...]

    @property
    def forms(self) -> set[str]:
        """What must not appear: each word as it is, quoted as in a URL and as in Python."""
        return {form for word in self.words for form in FORMS[word]}


SECRETS = st.lists(st.sampled_from([*product(BETWEEN, WORDS)]), min_size=1, max_size=3).map(
    lambda pairs: Secret("".join(map("".join, pairs)), tuple(word for _, word in pairs))
)
WRITTEN: tuple[Callable[[str], str], ...] = (
    str,
    quote,
    quote_plus,
    lambda text: quote(text, safe=""),
    lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
)
"""The ways to put a password into a URL, right and wrong."""


class Notebook(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen += [record.getMessage(), repr(record.args), record.exc_text or ""]


@contextmanager
def watched(secret: Secret) -> Iterator[list[str]]:
    """Fail when something that was shown or logged holds a word of *secret*."""
    notebook, root = Notebook(), logging.getLogger()
    level = root.level
    root.addHandler(notebook)
    root.setLevel(logging.DEBUG)
    shown: list[str] = []
    try:
        yield shown
    finally:
        root.removeHandler(notebook)
        root.setLevel(level)
    forms = secret.forms
    for text in (*shown, *notebook.seen):
        found = {form for form in forms if form in text}
        assert not found, f"{found} in {text}"


def told(error: BaseException, frames: int | None = None) -> list[str]:
    """All that a program shows or a logger sends of an error, with the errors behind it.

    *frames* limits the lines of source text, which take the longest and are always the same.
    """
    chain: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        if (one := waiting.pop()) is not None and one not in chain:
            chain.append(one)
            waiting += [one.__cause__, one.__context__]
    formatted = "".join(traceback.format_exception(error, limit=frames))
    return [formatted, *(f"{one} {one!r} {one.args!r} {vars(one)!r}" for one in chain)]


def tried(call: Callable[[], Any], shown: list[str], frames: int | None = None) -> Any:
    """Return what *call* returns; of its error, one of rxdb's, only what it says."""
    try:
        return call()
    except rx.RxdbError as error:
        shown += told(error, frames)
        return None


def parsed(url: Any, shown: list[str], *, is_async: bool) -> rx.Target | None:
    found: rx.Target | None = tried(lambda: rx.parse(url, is_async), shown, 0)
    if found is not None:
        shown += [str(found), repr(found), f"{found}", show(found.url)]
        shown += [str(found.url), repr(found.url), repr([found]), repr({"target": found})]
    return found


# Nothing but rxdb's errors -------------------------------------------------------------------

PARTS = (
    *("postgresql", "mysql", "sqlite", "duckdb", "mssql+pymssql", "oracle", "nope", "file:", "C:"),
    *("://", ":///", "//", "/", ":", "@", "?", "&", "=", "#", "%", "%2F", "%00", "%zz", "%40", ","),
    *("[", "]", "::1", "h", "5432", "99999", "٣", "~", ".", "..", "\\", "+", " ", "\t", "\n", "\0"),
    *("host", "port", "sslmode", "require", "connect_timeout", "password", "password_file", "mode"),
    *(".db", ".duckdb", ":memory:", "é", "\ud800", "\u202e", "driver", "unix_socket", "1", "-1"),
)
TEXT = st.lists(st.sampled_from(PARTS), max_size=12).map("".join) | st.text(max_size=20)
NAME = st.none() | st.text(max_size=6)
URL_VALUE = st.builds(
    URL.create,
    st.sampled_from(("postgresql", "mysql+pymysql", "sqlite", "duckdb", "oracle", "nope", "")),
    username=NAME,
    password=NAME,
    host=NAME | st.sampled_from(("::1", "h1,h2", "/tmp", "h:1")),
    port=st.none() | st.integers(-1, 70000),
    database=NAME,
    query=st.dictionaries(
        st.sampled_from(("host", "port", "sslmode", "mode", "x", "password_file")),
        st.text(max_size=5) | st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple),
    ),
)
DBCONFIG: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    engine=st.sampled_from(("postgresql", "mysql+pymysql", "sqlite", "oracle", "nope", "")),
    database=st.text(max_size=6),
    username=NAME,
    password=NAME,
    host=NAME,
    port=st.none() | st.integers(-1, 70000),
)


@given(TEXT | URL_VALUE | DBCONFIG, st.booleans())
@settings(PROFILE, max_examples=TEXTS)
@example("sqlite:///~%00/a.db", False)  # noqa: FBT003 - hypothesis passes by place
@example("postgresql://h:" + "9" * 5000, False)  # noqa: FBT003 - hypothesis passes by place
@example("mysql:///db?host=h&port=x", False)  # noqa: FBT003 - hypothesis passes by place
@example("\ud800.db", False)  # noqa: FBT003 - hypothesis passes by place
def test_nothing_but_rxdb_errors_comes_out(value: Any, is_async: bool) -> None:
    if isinstance(value, dict):
        value = rx.DBConfig(**value)
        assert isinstance(value.get_url(), str)
    with suppress(rx.RxdbError):
        target = rx.parse(value, is_async)
        assert repr(target)
        assert rx.parse(target.url, is_async).url == target.url


# No password in URLs -------------------------------------------------------------------------

RIGHT = "{scheme}://user:{password}@{host}/shop"
PLACES = (
    RIGHT,
    RIGHT + "?sslmode=require",
    RIGHT + "?sslmod=require",
    RIGHT + "?connect_timeout=soon&sslmode=verify-full",
    "{scheme}://:{password}@{host}/shop",
    "{scheme}x://user:{password}@{host}/shop",
    "{scheme}+nope://user:{password}@{host}/shop",
    "{scheme}:user:{password}@{host}/shop",
    "{scheme}:/user:{password}@{host}/shop.db",
    "user:{password}@{host}/shop.db",
    "sqlite://user:{password}@{host}/shop.db",
    "duckdb://user:{password}@{host}/shop.duckdb",
    "file://user:{password}@{host}/shop.db",
)
QUERIES = (
    "{scheme}://user@{host}/shop?password={password}",
    "{scheme}://user:other@{host}/shop?sslmode=require&password={password}&x=y",
    "{scheme}://user@{host}/shop?passwd={password}&connect_timeout=3",
    "mssql+pymssql://user@{host}/shop?password={password}&pwd=other",
    "sqlite:///shop.db?password={password}",
)


def fill(secret: Secret, form: tuple[str, Callable[[str], str], str, str]) -> tuple[Secret, str]:
    """Put a password into a text that is or should be a URL."""
    place, write, scheme, host = form
    password = write(secret.text)
    if place in QUERIES:
        password = password.replace("&", "")  # what follows one is no part of the password
    return secret, place.format(scheme=scheme, host=host, password=password)


FILLED = st.builds(
    fill, SECRETS, st.sampled_from([*product(PLACES + QUERIES, WRITTEN, SCHEMES, HOSTS)])
)


@given(FILLED, st.booleans())
@settings(PROFILE, max_examples=URLS)
def test_no_password_of_a_url_is_shown(made: tuple[Secret, str], is_async: bool) -> None:
    secret, url = made
    with watched(secret) as shown:
        target = parsed(url, shown, is_async=is_async)
        if "://user" in url or "://:" in url:  # else nothing says that it is a password
            shown += [hide(url), hide(f"cannot reach {url} now"), hide(f"({url!r}, 'a@b')")]
        whole = rx.Config(app_name="shop", db_url=url, replica_urls=[url], migration_url=url)
        shown += [str(whole), repr(whole), repr([whole]), repr(config.Setting(url=url, source="x"))]
        if target is not None:
            parsed(target.url, shown, is_async=is_async)
            kept = target.url.password
            assert kept is None or any(word in kept for word in secret.words)


@given(SECRETS, st.sampled_from(SCHEMES), st.sampled_from(("h", "::1", "/tmp", "a,b", None)))
@settings(PROFILE, max_examples=ENGINES)
def test_no_password_of_a_value_is_shown(secret: Secret, scheme: str, host: str | None) -> None:
    with watched(secret) as shown:
        found = rx.DBConfig(engine=scheme, username="u", password=secret.text, host=host)
        asked = rx.DBConfig(engine=scheme, username="u", password=lambda: secret.text, host=host)
        value = URL.create(scheme, username="u", password=secret.text, host="h")
        in_query = URL.create(scheme, username="u", host="h", query={"password": secret.text})
        for url in (found, asked, found.url(), value, in_query):
            parsed(url, shown, is_async=False)
            shown += [repr(url if url is not in_query else ""), str(rx.Config(db_url=url))]
        shown.append(hide(found.get_url()))
        for wrong in ({"port": "5432"}, {"host": 5}, {"query": "x"}):
            arguments: dict[str, Any] = {"password": secret.text, **wrong}
            tried(lambda a=arguments: rx.DBConfig(engine=scheme, **a), shown)  # type: ignore[misc]  # a lambda's default has no type
        shown += [hide(f"password={secret.text!r}"), hide(f"{{'passwd': {secret.text!r}}}")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:secret@h/db", "postgresql://u:***@h/db"),
        ("postgresql://me@corp:secret@h/db", "postgresql://me@corp:***@h/db"),
        ("postgresql://a b:my se@c:r/e?t@h/db", "postgresql://a b:***@h/db"),
        ("postgresql://:secret@/db", "postgresql://:***@/db"),
        ("mysql://u:secret@[::1]/db now", "mysql://u:***@[::1]/db now"),
        ("postgresql://u@h/db?password=se cret&x=1", "postgresql://u@h/db?password=***&x=1"),
        ("password=secret host=h", "password=*** host=h"),
        ("PWD=secret;UID=u", "PWD=***;UID=u"),
        ("sslpassword = 'se c\\'ret' x", "sslpassword = *** x"),
        ('{"password": "se \\"cret", "x": 1}', '{"password": ***, "x": 1}'),
        ("api_token=secret", "api_token=***"),
        # what holds no password stays as it is
        ("sqlite:///x@y/z.db", "sqlite:///x@y/z.db"),
        ("postgresql://u@h:5432/db", "postgresql://u@h:5432/db"),
        ("Name one: postgresql+psycopg:// or mysql://", "Name one: postgresql+psycopg:// or mysql://"),
        ("No password is needed: see the manual", "No password is needed: see the manual"),
    ],
)  # fmt: skip
def test_what_is_hidden(text: str, shown: str) -> None:
    assert hide(text) == shown
    assert hide(shown) == shown


def test_a_sentence_stays_whole_when_it_is_hidden_again() -> None:
    for url in ("postgresql://u:xyzzy@plugh@h/db", "postgresql://u:x:y@h", "postgresql://::1/db"):
        with pytest.raises(rx.BadURL) as caught:
            rx.parse(url)
        assert hide(str(caught.value)) == str(caught.value)


@pytest.mark.parametrize(
    "option", ["sslpassword", "PWD", "access_token", "motherduck_token", "client_secret"]
)
def test_a_secret_option_is_not_shown(option: str) -> None:
    url = URL.create("mssql+pymssql", host="h", query={option: "hunter2", "x": "y"})
    assert "hunter2" not in show(url)
    assert "x=y" in show(url)
    assert "hunter2" not in hide(f"mssql://h?{option}=hunter2&x=y")


# rxconfig.py ----------------------------------------------------------------------------------

HEAD = "import rxdb as rx\n"
SOURCES = (
    "config = rx.Config(db_url={url!r})",
    "config = rx.Config(db_url={url!r}, nonsense=1)",
    "config = rx.Config(db_url={url!r}",
    "config = rx.Config(db_url={url})",
    "config = rx.Config(db_url='{url})",
    "config = rx.Config(db_url={url!r}); nothing",
    "config = rx.Config(db_url={url!r}, models='a')",
    "raise ValueError({url!r})",
    "raise LookupError({url!r})",
    "raise OSError('cannot reach ' + {url!r})",
    "raise rx.RxdbError('this file raises what it likes')",
    "assert not {url!r}, {password!r}",
    "int({password!r})",
    "import json; json.loads({url!r})",
    "{url!r}.nothing",
    "{url!r} + 1",
    "open({url!r})",
    "{{}}[{url!r}]",
    "config = {url!r}",
    "config = rx.DBConfig.postgresql('shop', 'u', {password!r})",
    "db = rx.DBConfig.postgresql('shop', 'u', {password!r}, 'h')\nconfig = rx.Config(db_url=db)",
    "config = rx.Config(db_url=rx.DBConfig.postgresql('a', 'u', {password!r}, port='1'))",
    "config = rx.Config(db_url=rx.DBConfig.postgresql('a', 'u', {password!r}, hots='h'))",
    "class Reflex:\n    app_name, db_url = 'shop', {url!r}\nconfig = Reflex()",
)


@given(SECRETS, st.sampled_from(SOURCES), st.sampled_from(WRITTEN))
@settings(PROFILE, max_examples=FILES)
def test_no_password_of_the_file_is_shown(
    secret: Secret, source: str, write: Callable[[str], str]
) -> None:
    url = f"postgresql://user:{write(secret.text)}@h/shop"
    text = HEAD + source.format(url=url, password=secret.text)
    Path("rxconfig.py").write_text(text, encoding="utf-8")
    rx.set_config(None)
    with watched(secret) as shown:
        found = tried(rx.get_config, shown)
        if found is not None:
            shown += [str(found), repr(found), repr(vars(config)["_loaded"])]
            parsed(config.database().url, shown, is_async=False)
            tried(rx.get_engine, shown)
            shown.append(repr(tried(config.database, shown)))


# Engines --------------------------------------------------------------------------------------


@given(SECRETS, st.sampled_from(("postgresql+psycopg", "postgresql+asyncpg", "mysql+pymysql")))
@settings(PROFILE, max_examples=ENGINES)
def test_no_password_of_an_engine_is_shown(secret: Secret, scheme: str) -> None:
    quoted = quote(secret.text, safe="")
    is_async = scheme.endswith("asyncpg")
    with watched(secret) as shown:
        for rest in (f"u:{quoted}@h/db", f"u@h/db?password={quoted}"):
            target = parsed(f"{scheme}://{rest}", shown, is_async=is_async)
            assert target is not None
            engine: Any = (build_async if is_async else build)(target)
            shown += [str(engine), repr(engine), repr(engine.url), repr(engine.pool)]
            shown += [repr(vars(engine.pool)), repr(engine.dialect)]
            engine.pool.dispose()
            assert target.url.password == secret.text


def test_the_watch_sees_what_it_should() -> None:
    secret = Secret("QXZJKVW@éßøжщ", ("QXZJKVW", "éßøжщ"))

    def leak() -> None:
        try:
            int(secret.text)
        except ValueError:
            raise rx.BadURL("hidden") from None

    for shows in (
        lambda shown: shown.append("a QXZJKVW b"),
        lambda shown: shown.append("%C3%A9%C3%9F%C3%B8%D0%B6%D1%89"),
        lambda shown: shown.append(ascii(secret)),
        lambda _: logging.getLogger("any").debug("%s", secret.text),
        lambda shown: tried(leak, shown),
    ):
        with pytest.raises(AssertionError, match="in "), watched(secret) as shown:
            shows(shown)
    assert TEXTS + URLS + FILES + 2 * ENGINES > 10_000
