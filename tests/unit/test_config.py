"""Where a URL comes from, and the ways to say one: rxconfig.py, the environment, DBConfig."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, NullPool, event, make_url
from sqlmodel import select

import rxdb as rx
from rxdb import config
from rxdb.engine import build, build_async, find_target

HEAD = "import rxdb as rx\n"


@pytest.fixture(autouse=True)
def _no_engine_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, _ in config.ENVIRONMENT_OPTIONS.values():
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write rxconfig.py into the current folder."""

    def write(text: str) -> Path:
        file = tmp_path / "rxconfig.py"
        file.write_text(text)
        return file

    return write


Write = Callable[[str], Path]


# The order --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "arguments", "urls"),
    [
        ("", "", ("sqlite:///reflex.db", "sqlite:///reflex.db")),
        ("DATABASE_URL=d", "", ("d", "d")),
        ("DATABASE_URL=d", "db_url='f'", ("f", "f")),
        ("", "db_url='f'", ("f", "f")),
        ("", "db_url='f', async_db_url='fa'", ("f", "fa")),
        ("REFLEX_DB_URL=r", "db_url='f'", ("r", "r")),
        ("RXDB_URL=x REFLEX_DB_URL=r DATABASE_URL=d", "db_url='f'", ("x", "x")),
        # An async_db_url of the file belongs to the file's db_url, not to the environment's.
        ("RXDB_URL=x", "db_url='f', async_db_url='fa'", ("x", "x")),
        ("REFLEX_DB_URL=r", "db_url='f', async_db_url='fa'", ("r", "r")),
        ("DATABASE_URL=d", "db_url='f', async_db_url='fa'", ("f", "fa")),
        ("RXDB_ASYNC_URL=xa", "db_url='f', async_db_url='fa'", ("f", "xa")),
        ("REFLEX_ASYNC_DB_URL=ra", "db_url='f', async_db_url='fa'", ("f", "ra")),
        ("RXDB_ASYNC_URL=xa REFLEX_ASYNC_DB_URL=ra", "", ("sqlite:///reflex.db", "xa")),
        ("RXDB_URL=x RXDB_ASYNC_URL=xa", "db_url='f'", ("x", "xa")),
        ("RXDB_URL=x REFLEX_ASYNC_DB_URL=ra", "", ("x", "ra")),
        # Blank values are passed over.
        ("RXDB_URL=_ REFLEX_DB_URL=_ DATABASE_URL=d", "db_url='  '", ("d", "d")),
        ("RXDB_URL=_ REFLEX_DB_URL=r", "db_url='f'", ("r", "r")),
        ("DATABASE_URL=_", "db_url=''", ("sqlite:///reflex.db", "sqlite:///reflex.db")),
        ("RXDB_ASYNC_URL=_", "db_url='f', async_db_url=' '", ("f", "f")),
        # Blanks around one are cut off.
        ("RXDB_URL=_x_", "", ("x", "x")),
    ],
)
def test_the_first_place_that_says_a_url_counts(
    variables: str,
    arguments: str,
    urls: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    write: Write,
) -> None:
    for variable in variables.split():
        name, _, value = variable.partition("=")
        monkeypatch.setenv(name, value.replace("_", " "))
    if arguments:
        write(f"{HEAD}config = rx.Config({arguments})\n")
    assert (config.database().url, config.database(is_async=True).url) == urls


@pytest.mark.parametrize(
    ("variables", "arguments", "sources"),
    [
        ("", "", ("default", "default")),
        ("DATABASE_URL", "", ("DATABASE_URL", "DATABASE_URL")),
        ("REFLEX_DB_URL", "", ("REFLEX_DB_URL", "REFLEX_DB_URL")),
        ("RXDB_ASYNC_URL", "db_url='f'", ("db_url in {file}", "RXDB_ASYNC_URL")),
        ("", "db_url='f', async_db_url='fa'", ("db_url in {file}", "async_db_url in {file}")),
    ],
)
def test_the_place_is_told(
    variables: str,
    arguments: str,
    sources: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    write: Write,
) -> None:
    for name in variables.split():
        monkeypatch.setenv(name, "sqlite:///a.db")
    file = write(f"{HEAD}config = rx.Config({arguments})\n")
    found = config.database().source, config.database(is_async=True).source
    assert found == tuple(source.format(file=file) for source in sources)


def test_an_argument_goes_before_everything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RXDB_URL", "sqlite:///environment.db")
    rx.set_config(rx.Config(db_url="sqlite:///file.db"))
    assert rx.get_engine("sqlite:///argument.db").url.database == f"{tmp_path}/argument.db"
    assert rx.get_engine().url.database == f"{tmp_path}/environment.db"
    monkeypatch.delenv("RXDB_URL")
    assert rx.get_engine().url.database == f"{tmp_path}/file.db"
    rx.set_config(rx.Config())
    assert rx.get_engine().url.database == f"{tmp_path}/reflex.db"


def test_a_relative_path_is_another_file_in_another_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    below = tmp_path / "below"
    below.mkdir()
    rx.set_config(rx.Config(db_url="sqlite:///shop.db"))
    for folder in (tmp_path, below, tmp_path):
        monkeypatch.chdir(folder)
        assert rx.get_engine().url.database == f"{folder}/shop.db"
        assert rx.get_engine("sqlite:///own.db").url.database == f"{folder}/own.db"


def test_a_folder_that_was_set_is_the_same_in_another_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rx.set_config(rx.Config(db_url="sqlite:///shop.db", folder=tmp_path))
    found = rx.get_engine()
    monkeypatch.chdir("/")
    assert rx.get_engine() is found


@pytest.mark.parametrize(("path", "times"), [("{folder}/shop.db", 0), ("shop.db", 1)])
def test_the_system_is_asked_for_the_folder_only_where_it_matters(
    path: str, times: int, tmp_path: Path
) -> None:
    rx.set_config(rx.Config(db_url=f"sqlite:///{path.format(folder=tmp_path)}"))
    rx.get_engine()
    called: list[object] = []
    sys.setprofile(lambda frame, kind, of: called.append((kind, of)))
    rx.get_engine()
    sys.setprofile(None)
    assert called.count(("c_call", os.getcwd)) == times


def test_a_configuration_that_was_set_goes_before_the_file(write: Write) -> None:
    write(f"{HEAD}config = rx.Config(db_url='file')\n")
    chosen = rx.Config(db_url="chosen")
    rx.set_config(chosen)
    assert rx.get_config() is chosen
    assert config.database().source == "db_url of rx.Config"
    rx.set_config(None)
    assert rx.get_config().db_url == "file"


def test_the_nearest_file_upwards_is_found(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(f"{HEAD}config = rx.Config(db_url='above')\n")
    below = tmp_path / "shop" / "models"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert (rx.get_config().db_url, config.folder()) == ("above", tmp_path)
    (below.parent / "rxconfig.py").write_text(f"{HEAD}config = rx.Config(db_url='near')\n")
    rx.set_config(None)  # looks again
    assert (rx.get_config().db_url, config.folder()) == ("near", below.parent)
    monkeypatch.chdir(tmp_path)
    assert rx.get_config().db_url == "above"


def test_the_file_is_executed_once_with_its_folder_on_the_path(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_settings.py").write_text("URL = 'sqlite:///shop.db'\n")
    write(
        f"{HEAD}import pathlib, shop_settings\n"
        "with pathlib.Path('runs').open('a') as runs: runs.write('.')\n"
        "assert (__name__, pathlib.Path(__file__).name) == ('rxconfig', 'rxconfig.py')\n"
        "config = rx.Config(db_url=shop_settings.URL)\n"
    )
    monkeypatch.delitem(sys.modules, "shop_settings", raising=False)
    before = list(sys.path)
    assert rx.get_config() is rx.get_config()
    assert rx.get_config().db_url == "sqlite:///shop.db"
    assert Path("runs").read_text() == "."
    assert sys.path == before
    sys.modules.pop("shop_settings")


@pytest.mark.parametrize(
    "text",
    [
        "class Config:\n    app_name = 'shop'\n    db_url = 'sqlite:///shop.db'\nconfig = Config()",
        "from types import SimpleNamespace as N\nconfig = N(db_url='sqlite:///shop.db')",
        "class Other:\n    db_url = 'sqlite:///shop.db'\n    async_db_url = None\nconfig = Other()",
    ],
)
def test_the_configuration_of_reflex_is_understood(text: str, write: Write, tmp_path: Path) -> None:
    write(text)
    found = rx.get_config()
    assert (found.db_url, found.async_db_url) == ("sqlite:///shop.db", None)
    assert found.folder == tmp_path
    assert config.database().source == f"db_url in {tmp_path}/rxconfig.py"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "{file} has no config. Write: config = rx.Config(db_url=...)"),
        ("config = None", "{file} has no config. Write: config = rx.Config(db_url=...)"),
        ("config = {'db_url': 'a.db'}", "The config of {file} is a dict. Write: config = rx.Confi"),
        ("config = 'sqlite:///a.db'", "The config of {file} is a str. Write: config = rx.Config("),
        ("a = 1\nconfig = rx.Config(", "{file}, line 2: '(' was never closed."),
        ("a = 1\n  b = 2", "{file}, line 2: unexpected indent."),
        ("a = 'never ended", "{file}, line 1: unterminated string literal (detected at line 1)."),
        ("a = 1\nconfig = rx.Config()", "{file}, line 2: NameError: name 'rx' is not defined"),
        ("\nimport rxdv", "{file}, line 2: ModuleNotFoundError: No module named 'rxdv'"),
        (f"{HEAD}rx.Confg()", "{file}, line 2: AttributeError: module 'rxdb' has no attribute 'Co"),
        ("import os\n\nos.environ['SHOP_DB']", "{file}, line 3: KeyError: 'SHOP_DB'"),
        ("open('gone')", "{file}, line 1: FileNotFoundError: [Errno 2] No such file or directory"),
        ("1 + ''", "{file}, line 1: TypeError: unsupported operand type(s) for +: 'int' and 'str'"),
        (
            "def url():\n    return int('12')\n\nimport json\nport = json.loads('{{}}x')",
            "{file}, line 5: JSONDecodeError. To see all of it, run: python {file}",
        ),
        ("def url():\n    return nothing\n\nurl()", "{file}, line 2: NameError: name 'nothing' is"),
        ("int('hunter2')", "{file}, line 1: ValueError. To see all of it, run: python {file}"),
        (
            f"{HEAD}config = rx.Config(db_ur='a.db')",
            "{file}, line 2: Config has no option 'db_ur'. Did you mean 'db_url'?",
        ),
        (
            f"{HEAD}config = rx.Config(\n    nonsense='a.db',\n)",
            "{file}, line 2: Config has no option 'nonsense'. Known: app_name, async_db_url, comm",
        ),
        (
            f"{HEAD}config = rx.Config(db_url=rx.DBConfig.sqlite('a.db', hots='h'))",
            "{file}, line 2: DBConfig has no option 'hots'. Did you mean 'host'?",
        ),
        (
            f"{HEAD}config = rx.Config(models='shop.models')",
            '{file}, line 2: Config.models is a list. Write: models=["shop.models"]',
        ),
        (
            f"{HEAD}config = rx.Config(replica_urls='a.db')",
            "{file}, line 2: Config.replica_urls is a list. Write: replica_urls=[…]",
        ),
        (
            f"{HEAD}config = rx.Config(engine_options=['echo'])",
            "{file}, line 2: Config.engine_options is a dict. Write: engine_options={{'echo': Tru",
        ),
        (
            f"{HEAD}config = rx.Config(targets=['sqlite', 'mysql://h/db', 'sqllite'])",
            "{file}, line 2: Config.targets: rxdb has no dialect 'sqllite'. Did you mean 'sqlite'",
        ),
        (
            f"{HEAD}config = rx.Config(db_url=rx.DBConfig.postgresql('a', port='5432'))",
            "{file}, line 2: DBConfig.port is int or None, not a str.",
        ),
        (
            f"{HEAD}\nconfig = rx.get_config()",
            "{file}, line 3: The configuration is asked for before it is made; is a model import",
        ),
        ("import broken_settings", "{folder}/broken_settings.py, line 2: invalid syntax."),
        ("import failing_settings", "{file}, line 1: NameError: name 'nothing' is not defined"),
    ],
)
def test_a_mistake_in_the_file_gets_a_sentence(text: str, sentence: str, write: Write) -> None:
    file = write(text.replace("{{", "{").replace("}}", "}"))
    (file.parent / "broken_settings.py").write_text("a = 1\nb = = 2\n")
    (file.parent / "failing_settings.py").write_text("a = 1\nnothing\n")
    before = list(sys.path)
    for _ in range(2):  # a mistake is not kept
        with pytest.raises(rx.BadConfig) as caught:
            rx.get_config()
        assert str(caught.value).startswith(sentence.format(file=file, folder=file.parent))
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    assert sys.path == before
    write(f"{HEAD}config = rx.Config(db_url='repaired')\n")
    assert rx.get_config().db_url == "repaired"


@pytest.mark.parametrize("given", ["sqlite:///a.db", {"db_url": "sqlite:///a.db"}])
def test_only_a_config_can_be_set(given: Any) -> None:
    with pytest.raises(rx.BadConfig) as caught:
        rx.set_config(given)
    assert str(caught.value) == (
        f"rx.set_config() takes a Config, not a {type(given).__name__}. "
        f"Write: rx.set_config(rx.Config(db_url=…))"
    )


def test_an_engine_option_that_is_not_there() -> None:
    rx.set_config(rx.Config(db_url="sqlite:///a.db", engine_options={"pool_sise": 3}))
    sentence = "SQLAlchemy has no option 'pool_sise'. Did you mean 'pool_size'?"
    with pytest.raises(rx.BadConfig, match=re.escape(sentence)):
        rx.get_engine()
    with pytest.raises(rx.BadConfig, match=re.escape(sentence)):
        build_async(find_target(is_async=True), pool_sise=3)
    given: dict[str, Any] = {"poolclass": NullPool, "pool_size": 3}  # known, and not for this pool
    with pytest.raises(TypeError, match="pool_size"):
        build(find_target(), **given)


def test_a_file_that_changes_the_path_is_survived(write: Write, tmp_path: Path) -> None:
    write(f"{HEAD}import sys\nsys.path.remove({str(tmp_path)!r})\nconfig = rx.Config()\n")
    assert rx.get_config().folder == tmp_path


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (5, "A database URL is a text, not a int."),
        (Path("a.db"), "A database URL is a text, not a PosixPath."),
        ("nonsense", "This is not a database URL."),
    ],
)
def test_a_url_of_a_wrong_kind_gets_a_sentence(url: Any, sentence: str) -> None:
    rx.set_config(rx.Config(db_url=url))
    with pytest.raises(rx.BadURL) as caught:
        rx.get_engine()
    assert str(caught.value).startswith(sentence)


def test_what_is_shown_of_a_configuration() -> None:
    everything = rx.Config(
        app_name="shop",
        db_url="postgresql://u:secret@h/db",
        migration_url="postgresql://u:secret@h/db",
        replica_urls=["postgresql://u:secret@h/db"],
        engine_options={"connect_args": {"password": "secret"}},
        models=["shop.models"],
    )
    assert repr(everything) == (
        "Config(app_name='shop', models=('shop.models',), db_url=***, migration_url=***, "
        "replica_urls=***, engine_options=***)"
    )
    assert repr(rx.Config()) == "Config()"


# The environment of engines -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "options"),
    [
        *(
            ("SQLALCHEMY_ECHO", v, {"echo": True})
            for v in ("true", "TRUE", "1", " yes ", "y", "on")
        ),
        *(("SQLALCHEMY_ECHO", v, {"echo": False}) for v in ("false", "0", "No", "n", "off")),
        ("SQLALCHEMY_POOL_PRE_PING", "true", {"pool_pre_ping": True}),
        ("SQLALCHEMY_POOL_SIZE", " 7 ", {"pool_size": 7}),
        ("SQLALCHEMY_MAX_OVERFLOW", "-1", {"max_overflow": -1}),
        ("SQLALCHEMY_POOL_RECYCLE", "60", {"pool_recycle": 60}),
        ("SQLALCHEMY_POOL_TIMEOUT", "3", {"pool_timeout": 3}),
        ("SQLALCHEMY_POOL_SIZE", "  ", {}),
        ("SQLALCHEMY_UNKNOWN", "7", {}),
    ],
)
def test_a_variable_sets_an_engine_option(
    variable: str, value: str, options: Mapping[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.engine_options() == {}
    monkeypatch.setenv(variable, value)
    assert config.engine_options() == options


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "SQLALCHEMY_ECHO",
            "maybe",
            "SQLALCHEMY_ECHO='maybe' is neither true nor false. Run: export SQLALCHEMY_ECHO=true",
        ),
        (
            "SQLALCHEMY_POOL_PRE_PING",
            "2",
            "SQLALCHEMY_POOL_PRE_PING='2' is neither true nor false. Run: export SQLALCHEMY_POOL_P",
        ),
        ("SQLALCHEMY_POOL_SIZE", "abc", "SQLALCHEMY_POOL_SIZE='abc' is not a whole number."),
        ("SQLALCHEMY_POOL_TIMEOUT", "1.5", "SQLALCHEMY_POOL_TIMEOUT='1.5' is not a whole number."),
    ],
)
def test_a_bad_variable_gets_a_sentence(
    variable: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(rx.BadConfig) as caught:
        rx.get_engine("sqlite:///a.db")
    assert str(caught.value).startswith(sentence)


def test_the_application_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLALCHEMY_ECHO", "true")
    assert rx.get_engine("sqlite:///a.db").echo is True
    rx.dispose()
    rx.set_config(rx.Config(engine_options={"echo": False}))
    assert rx.get_engine("sqlite:///a.db").echo is False


# DBConfig ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (rx.DBConfig.sqlite("app.db"), "sqlite:///app.db"),
        (rx.DBConfig.sqlite("/srv/app.db"), "sqlite:////srv/app.db"),
        (rx.DBConfig.sqlite(Path("/srv/app.db")), "sqlite:////srv/app.db"),
        (rx.DBConfig.sqlite(":memory:"), "sqlite:///:memory:"),
        (rx.DBConfig.sqlite("C:\\data\\app.db"), "sqlite:///C:\\data\\app.db"),
        (rx.DBConfig.sqlite("a b?#.db", query={"mode": "ro"}), "sqlite:///a%20b%3F%23.db?mode=ro"),
        (rx.DBConfig.postgresql("db"), "postgresql:///db"),
        (rx.DBConfig.postgresql("db", "u"), "postgresql://u@/db"),
        (rx.DBConfig.postgresql("db", "u", ""), "postgresql://u@/db"),
        (rx.DBConfig.postgresql("db", "u", "p", "h"), "postgresql://u:p@h:5432/db"),
        (rx.DBConfig.postgresql("db", "u", "p", "h", None), "postgresql://u:p@h/db"),
        (rx.DBConfig.postgresql("db", host="h"), "postgresql://h:5432/db"),
        (rx.DBConfig.postgresql("db", None, "p", "h"), "postgresql://:p@h:5432/db"),
        (rx.DBConfig.postgresql("db", host="::1"), "postgresql://[::1]:5432/db"),
        (rx.DBConfig.postgresql("db", host="a,b"), "postgresql://a,b:5432/db"),
        (rx.DBConfig.postgresql("db", host="a:1,b:2", port=None), "postgresql://a:1,b:2/db"),
        (rx.DBConfig.postgresql("db", host="/tmp", port=None), "postgresql://%2Ftmp/db"),
        (rx.DBConfig.postgresql("db", host="/tmp", port=1), "postgresql://%2Ftmp:1/db"),
        (rx.DBConfig.postgresql("db", "a b", "my p+s@:/?#%é"),
         "postgresql://a%20b:my%20p%2Bs%40%3A%2F%3F%23%25%C3%A9@/db"),
        (rx.DBConfig.postgresql("db", host="h", query={"sslmode": "require", "connect_timeout": 5}),
         "postgresql://h:5432/db?sslmode=require&connect_timeout=5"),
        (rx.DBConfig.postgresql_psycopg("db", "u", "p", "h"), "postgresql+psycopg://u:p@h:5432/db"),
        (rx.DBConfig.mysql("db", "u", "p", "h"), "mysql://u:p@h:3306/db"),
        (rx.DBConfig.mysql("db", host="h", query={"unix_socket": "/tmp/s"}),
         "mysql://h:3306/db?unix_socket=/tmp/s"),
        (rx.DBConfig.mariadb("db", "u", "p", "h", 3307), "mariadb://u:p@h:3307/db"),
        (rx.DBConfig(engine="oracle", host="h", database="db"), "oracle://h/db"),
        (rx.DBConfig.postgresql("db", "u", lambda: "p", "h"), "postgresql://u@h:5432/db"),
    ],
)  # fmt: skip
def test_a_dbconfig_as_a_url(found: rx.DBConfig, text: str) -> None:
    assert found.get_url() == text
    target = rx.parse(found)
    assert target.url == rx.parse(text).url
    assert target.url.password == rx.parse(found.url()).url.password


ODD = (
    "a b",
    "a?b",
    "a#b",
    "a%20b",
    "a/b",
    "a+b",
    "a@b",
    "a:b",
    "a&b=c",
    "é😀",
    "'a\"b",
    "100%",
    "~a",
)
MAKERS: tuple[Callable[..., rx.DBConfig], ...] = (
    rx.DBConfig.postgresql,
    rx.DBConfig.postgresql_psycopg,
    rx.DBConfig.mysql,
    rx.DBConfig.mariadb,
)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("host", ["h", "::1", "fe80::1%eth0", "/var/run/db", None])
def test_odd_names_come_back(make: Callable[..., rx.DBConfig], odd: str, host: str | None) -> None:
    found = make(odd, odd, odd, host)
    direct, through_text = rx.parse(found).url, rx.parse(found.get_url()).url
    assert direct == through_text
    assert (direct.database, direct.username, direct.password) == (odd, odd, odd)
    where = direct.query.get("host") or direct.query.get("unix_socket") or direct.host
    assert where == host


@pytest.mark.parametrize("odd", [*ODD, "a\\b"])
def test_odd_file_names_come_back(odd: str, tmp_path: Path) -> None:
    found = rx.DBConfig.sqlite(f"./{odd}.db")
    assert rx.parse(found) == rx.parse(found.get_url())
    assert rx.parse(found).url.database == f"{tmp_path}/{odd}.db"


def test_the_text_is_understood_by_sqlalchemy() -> None:
    url = make_url(rx.DBConfig.postgresql("db", "a b", "p+s@: %", "::1").get_url())
    assert (url.username, url.password, url.host, url.port) == ("a b", "p+s@: %", "::1", 5432)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"engine": 5}, "DBConfig.engine is str, not a int."),
        ({"database": Path("a.db")}, "DBConfig.database is str, not a PosixPath."),
        ({"username": b"u"}, "DBConfig.username is str or None, not a bytes."),
        ({"password": 12345}, "DBConfig.password is str or Callable or None, not a int."),
        ({"host": 1}, "DBConfig.host is str or None, not a int."),
        ({"port": "5432"}, "DBConfig.port is int or None, not a str."),
        ({"query": "sslmode=require"}, "DBConfig.query is Mapping, not a str."),
    ],
)
def test_a_value_of_a_wrong_kind_gets_a_sentence(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(rx.BadConfig) as caught:
        rx.DBConfig(**{"engine": "postgresql", "database": "db", **arguments})
    assert str(caught.value) == sentence


def test_a_dbconfig_is_accepted_wherever_a_url_is(tmp_path: Path) -> None:
    found = rx.DBConfig.sqlite("shop.db")
    assert rx.parse(found) == rx.parse("sqlite:///shop.db")
    rx.set_config(rx.Config(db_url=found, async_db_url=found))
    assert rx.get_engine() is rx.get_engine(found) is rx.get_engine("sqlite:///shop.db")
    for url in (found, found.url(), None):
        with rx.session(url) as session:
            assert session.exec(select(1)).one() == 1

    async def work() -> None:
        async with rx.asession() as session:
            assert (await session.exec(select(1))).one() == 1

    asyncio.run(work())
    rx.create_all(found)
    assert (tmp_path / "shop.db").is_file()
    assert {found: 1}[rx.DBConfig.sqlite("shop.db")] == 1


# Passwords that are asked for -----------------------------------------------------------------


class ReachedError(Exception):
    """A driver was told to connect."""


def passwords(target: rx.Target, times: int) -> list[str]:
    """The passwords that a driver gets at *times* connections."""
    engine = build(target) if target.driver.sync else build_async(target).sync_engine
    found: list[str] = []

    @event.listens_for(engine, "do_connect")
    def note(dialect: object, record: object, cargs: list[Any], cparams: dict[str, Any]) -> None:
        found.append(cparams.get("password") or cparams["passwd"])
        raise ReachedError

    for _ in range(times):
        with pytest.raises(ReachedError):
            engine.raw_connection()
    return found


def test_a_password_is_asked_for_at_each_connection() -> None:
    tokens = iter(["first", "second", "third"])
    found = rx.DBConfig.postgresql_psycopg("db", "u", lambda: next(tokens), "h")
    assert passwords(rx.parse(found), 3) == ["first", "second", "third"]
    assert rx.parse(found).url.password is None


def test_a_password_comes_from_a_file_or_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text(" p@s \r\n", encoding="utf-8")
    monkeypatch.setenv("SHOP_PASSWORD", "p@s")
    for secret, password in (
        (rx.secret.file(file), " p@s "),
        (rx.secret.file(str(file)), " p@s "),
        (rx.secret.env("SHOP_PASSWORD"), "p@s"),
    ):
        found = rx.DBConfig.postgresql_psycopg("db", "u", secret, "h")
        assert passwords(rx.parse(found), 1) == [password]
    assert rx.secret.file("a") == rx.secret.file("a") != rx.secret.env("a")
    assert rx.parse("postgresql://u@h/db?password_env=A").password == rx.secret.env("A")
    assert rx.parse("postgresql://u@h/db?password_file=/a").password == rx.secret.file("/a")


UNREADABLE = "The password is to come from the file {}, which cannot be read: {}."
UNSET = (
    "The password is to come from the environment variable {0}, which is not set. Run: export {0}=…"
)


@pytest.mark.parametrize(
    ("secret", "sentence"),
    [
        (rx.secret.env("SHOP_PASSWORD"), UNSET.format("SHOP_PASSWORD")),
        (rx.secret.file("gone"), UNREADABLE.format("gone", "No such file or directory")),
        (rx.secret.file("binary"), UNREADABLE.format("binary", "it is not UTF-8 text")),
        (rx.secret.file("."), UNREADABLE.format(".", "Is a directory")),
    ],
)
def test_a_password_that_cannot_be_had(secret: Callable[[], str], sentence: str) -> None:
    Path("binary").write_bytes(b"hunter2\xff")
    with pytest.raises(rx.BadConfig) as caught:
        secret()
    assert str(caught.value) == sentence
    assert caught.value.__context__ is None


def test_a_url_value_and_its_password_are_kept() -> None:
    url = URL.create("postgresql", username="u", password="p@s", host="h", database="db")
    assert rx.parse(url).url.password == "p@s"
