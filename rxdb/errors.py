"""Every error that rxdb raises, each with the sentence that says what to do next."""

from __future__ import annotations

import os
import re
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

INSTALLERS = {"uv.lock": "uv add", "poetry.lock": "poetry add", "pdm.lock": "pdm add"}
"""The lock file of a project, and the command that adds a package to that project."""

PART_OF_PYTHON = "It is a part of Python: install a Python that was built with it."

ELSEWHERE = (
    "and no rxconfig.py here or above. Go to the folder of the application, or write rxconfig.py "
    'here: config = rx.Config(db_url="sqlite:///shop.db", models=["shop.models"])'
)

PASSWORD_IN_URL = re.compile(r"://[^:/\n]*:(.*)@(?=[\w%./\[…]|$)", re.MULTILINE)
"""To the last ``@`` of the line that a host may follow: a password is hidden whole, whatever is
in it."""
PASSWORD_OPTION = re.compile(
    r"""(?ix) [?&] \w* (?:passw|pwd|secret|token) \w* = ([^&\n]*)
    | (?:passw|pwd|secret|token) \w* (?: \s*=\s* | ['"]\s*:\s* )
      ( '(?:\\.|[^'\\])*' | "(?:\\.|[^"\\])*" | [^&\s;,]+ )"""
)
"""In a URL up to the next option, elsewhere a quoted text or a word."""


class RxdbError(Exception):
    """The base of all rxdb errors; catch this one to catch them all."""


class BadURL(RxdbError, ValueError):
    """A database URL that cannot be read, or that asks for what its backend does not have."""


class BadConfig(RxdbError, ValueError):
    """An ``rxconfig.py`` or an environment variable that cannot be used."""


class BadPlugin(RxdbError, TypeError):
    """An entry point of the group ``rxdb.dialects`` does not lead to a Dialect."""


class UnknownDialect(BadURL, LookupError):
    """A URL names a backend that rxdb has no dialect for."""

    @classmethod
    def of(cls, name: str, known: Iterable[str]) -> UnknownDialect:
        return cls(f"rxdb has no dialect {name!r}. {suggest(name, known)}")


class UnknownDriver(BadURL, LookupError):
    """A URL names a driver that rxdb does not know for this backend."""

    @classmethod
    def of(cls, dialect: str, driver: str, known: Iterable[str]) -> UnknownDriver:
        return cls(f"{dialect} has no driver {driver!r}. {suggest(driver, known)}")


class UnknownOption(BadURL, LookupError):
    """The query string of a URL holds an option that its driver does not know."""

    @classmethod
    def of(cls, scheme: str, option: str, known: Iterable[str], step: str = "") -> UnknownOption:
        told = step or suggest(option, known)
        return cls(f"{scheme} has no connection option {option!r}. {told}")


class DriverError(RxdbError, ImportError):
    """The backend is known, and the driver for it cannot be used as it is."""


class DriverMissing(DriverError):
    """Nothing that can talk to the backend is installed."""

    @classmethod
    def of(cls, what: str, package: str) -> DriverMissing:
        step = f"Run: {install(package)}" if package else PART_OF_PYTHON
        return cls(f"No {what} is installed. {step}")


class DriverBroken(DriverError):
    """A driver is installed, and importing it fails; the original error is the cause."""

    @classmethod
    def of(cls, module: str, package: str, cause: BaseException) -> DriverBroken:
        reason = str(cause).strip().splitlines() or [type(cause).__name__]
        again = f"Install it with its own libraries: {install(package, again=True)}"
        return cls(
            f"The driver {module!r} is installed but does not load: {reason[0]}. "
            f"{again if package else PART_OF_PYTHON}"
        )


class DriverTooOld(DriverError):
    """A driver is installed in a version that rxdb does not support."""

    @classmethod
    def of(cls, module: str, found: str, minimum: str, package: str) -> DriverTooOld:
        return cls(
            f"The driver {module!r} is version {found}, rxdb needs {minimum} or later. "
            f"Run: {install(package, again=True)}"
        )


class DriverMismatch(RxdbError, TypeError):
    """A URL names a synchronous driver for asynchronous work, or the other way round."""

    @classmethod
    def of(cls, scheme: str, able: Iterable[str], *, is_async: bool) -> DriverMismatch:
        kind, call = ("asynchronous", "asession") if is_async else ("synchronous", "session")
        names = list(able)
        way = (
            f"Name one that is: {' or '.join(f'{name}://' for name in names)}, "
            f"or leave out the driver and rxdb chooses one"
            if names
            else "Use rx.session() instead"
            if is_async
            else "Use rx.asession() instead"
        )
        return cls(f"{scheme} is not {kind}, so rx.{call}() cannot use it. {way}.")


class GreenletMissing(DriverError):
    """SQLAlchemy's asynchronous side needs greenlet, which it does not install by itself."""

    @classmethod
    def of(cls) -> GreenletMissing:
        return cls(f"Asynchronous sessions need greenlet. Run: {install('rxdb[async]')}")


class FolderMissing(RxdbError, FileNotFoundError):
    """A database file is to be made in a folder that is not there."""

    @classmethod
    def of(cls, file: str) -> FolderMissing:
        folder = os.path.dirname(file)  # noqa: PTH120 - keeps what the reader wrote
        return cls(
            f"The folder {folder} for the database file {os.path.basename(file)} does not exist. "  # noqa: PTH119 - as the reader wrote it
            f"Call rx.create_all(), which makes it, or run: mkdir -p {quoted(folder)}"
        )


class NoEventLoop(RxdbError, RuntimeError):
    """An asynchronous engine was asked for where no event loop runs."""

    @classmethod
    def of(cls) -> NoEventLoop:
        return cls(
            "rx.asession() and rx.get_async_engine() belong to a running event loop. "
            "Call them inside an `async def` that asyncio.run(...) runs."
        )


class BadArgument(RxdbError, ValueError):
    """A session or a transaction was asked for something that makes no sense."""


class DatabaseError(RxdbError):
    """What a database or its driver refuses, whichever they are; SQLAlchemy's own class too.

    Raised through an engine of rxdb it is at the same time the class that SQLAlchemy raises, such
    as ``sqlalchemy.exc.IntegrityError``, with its ``orig``, ``statement`` and ``params``.
    """

    constraint: str | None = None
    """The name of the constraint that was violated, where it is known."""

    table: str | None = None
    """The table that was to be changed, where it is known."""

    columns: tuple[str, ...] = ()
    """The columns of :attr:`table` that are concerned, where they are known."""

    @property
    def column(self) -> str | None:
        """The column, where it is known and there is one only."""
        return self.columns[0] if len(self.columns) == 1 else None

    def sentence(self) -> str:
        """Return what happened and what to do next; nothing where only the database knows."""
        return ""

    def _place(self) -> str:
        """Return the columns as people write them, such as ``hero.name``."""
        table = f"{self.table}." if self.table else ""
        if len(self.columns) > 1:
            return f"{table}({', '.join(self.columns)})"
        return f"{table}{self.column}" if self.column else self.table or ""

    def _named(self) -> str:
        """Return the name of the constraint in parentheses."""
        return f" ({self.constraint})" if self.constraint else ""


class ConstraintViolation(DatabaseError):
    """A row would break a rule of its table."""

    def sentence(self) -> str:
        of = f" of {self._place()}" if self._place() else ""
        return f"A constraint{of}{self._named()} was violated."


class UniqueViolation(ConstraintViolation):
    """There is already a row with these values."""

    def sentence(self) -> str:
        of = f" of {self._place()}" if self._place() else ""
        return f"There is already a row with this value{of}{self._named()}."


class ForeignKeyViolation(ConstraintViolation):
    """A row refers to one that is not there, or a row was to go that others refer to."""

    def sentence(self) -> str:
        place = self._place() or "A row"
        return f"{place} refers to a row that is not there, or is to go{self._named()}."


class NotNullViolation(ConstraintViolation):
    """A column that refuses NULL was given none or no value."""

    def sentence(self) -> str:
        return f"{self._place() or 'A column'} needs a value: it refuses NULL."


class CheckViolation(ConstraintViolation):
    """A CHECK constraint refused a row."""

    def sentence(self) -> str:
        of = f" of {self._place()}" if self._place() else ""
        return f"The check{of}{self._named()} refused a row."


class BadValue(DatabaseError, ValueError):
    """A value does not fit its column's type, length or range, or cannot be computed."""

    def sentence(self) -> str:
        into = self._place() or "its place"
        return f"A value does not fit into {into}: its type, its length or its range."


class BadRow(BadValue):
    """A row that :func:`rxdb.bulk_insert` or :func:`rxdb.upsert` cannot read."""

    row: int = 0
    """Its position among the rows of the call, counted from 0."""

    @classmethod
    def of(cls, row: int, told: str, column: str | None = None, table: str = "") -> BadRow:
        place = f"{column} of row {row}" if column else f"Row {row}"
        made = cls(f"{place}, counted from 0, cannot be written: {told}")
        made.row, made.columns, made.table = row, (column,) if column else (), table or None
        return made


class Deadlock(DatabaseError):
    """Two transactions waited for each other, and the database ended this one."""

    def sentence(self) -> str:
        return (
            "Two transactions waited for each other, and the database rolled this one back. "
            "Run the whole transaction again: rx.transaction does."
        )


class SerializationFailure(DatabaseError):
    """A transaction cannot be made to look as if it had run alone; the database ended it."""

    def sentence(self) -> str:
        return (
            "Another transaction changed what this one works with, and the database rolled this "
            "one back. Run the whole transaction again: rx.transaction does."
        )


class PoolTimeout(RxdbError, TimeoutError):
    """All connections that may be open are in use, and none came back in time."""

    @classmethod
    def of(cls, seconds: float, out: int, waiting: int, size: int) -> PoolTimeout:
        others = f"{waiting} more wait" if waiting > 1 else "nobody else waits"
        return cls(
            f"No connection came free within {seconds:g} s: all {out} are in use, and {others}. "
            f"End each session where its work ends; a thread that holds one and waits for a "
            f"second keeps both. To allow more: rx.Config(engine_options="
            f'{{"pool_size": {max(2 * size, out + 1)}}})'
        )


class LockTimeout(DatabaseError, TimeoutError):
    """A lock was not free in time."""

    def sentence(self) -> str:
        return (
            "Another transaction holds a lock that this one needs, and did not end in time. "
            "Run the whole transaction again: rx.transaction does."
        )


class OwnLock(LockTimeout):
    """A lock is held by an open session of the very thread or task that waits for it."""

    def sentence(self) -> str:
        return (
            "This transaction waits for another one of the same thread or task, which cannot end "
            "before this one does. End that one first, or do the work in its session."
        )


class StatementTimeout(DatabaseError, TimeoutError):
    """A statement took longer than it may, and was stopped."""

    def sentence(self) -> str:
        return "The statement took longer than its timeout allows, and was stopped."


class ConnectionLost(DatabaseError, ConnectionError):
    """The connection broke or could not be made; what was not committed is rolled back."""

    @classmethod
    def of(cls, doctor: str) -> ConnectionLost:
        return cls(
            f"The connection to the database was lost or could not be made. "
            f"Nothing is stored of a transaction that was not committed. To see what is wrong, "
            f"run: {doctor}"
        )

    def sentence(self) -> str:
        return str(ConnectionLost.of("rxdb doctor"))


class LoginFailed(DatabaseError):
    """The server answers, and does not let this user in."""

    @classmethod
    def of(cls, user: str, database: str, source: str) -> LoginFailed:
        return cls(
            f"The server refused the user {user!r}: the name or the password is wrong, or it may "
            f"not use the database {database!r}. Correct {source}."
        )

    def sentence(self) -> str:
        return (
            "The server refused the user: the name or the password is wrong, or it may not use "
            "the database. To see which URL is used, run: rxdb doctor"
        )


class DatabaseMissing(DatabaseError):
    """The server answers, and has no database of this name."""

    @classmethod
    def of(cls, name: str, quoted: str, source: str) -> DatabaseMissing:
        return cls(
            f"The server has no database {name!r}. Correct {source}, or make it there: "
            f"CREATE DATABASE {quoted}"
        )

    def sentence(self) -> str:
        return "The server has no such database. To see which URL is used, run: rxdb doctor"


class CommitUnknown(ConnectionLost):
    """The connection broke during COMMIT: the transaction is stored as a whole, or not at all."""

    def sentence(self) -> str:
        return (
            "The connection was lost during COMMIT, so the transaction may be stored or not. "
            "Look for its rows before you run it again."
        )


class ReadOnly(DatabaseError):
    """A read-only session, or a server that only reads, was asked to write."""

    @classmethod
    def of(cls, what: str) -> ReadOnly:
        return cls(
            f"A read-only session cannot write: {what}. Use rx.session() without read_only=True."
        )

    def sentence(self) -> str:
        return (
            "The database cannot be written to here: a standby, a file without permission, or a "
            "setting of this connection. To see its settings, run: rxdb doctor"
        )


class MigrationError(RxdbError):
    """The base of what can go wrong with migrations."""


class NotInitialized(MigrationError):
    """There is no ``alembic.ini``: the project has no migrations yet."""

    @classmethod
    def of(cls, folder: object, *, is_configured: bool = True) -> NotInitialized:
        return cls(
            f"There are no migrations in {folder}. Run: rxdb db init"
            if is_configured
            else f"There are no migrations in {folder}, {ELSEWHERE}"
        )


class BadRevision(MigrationError):
    """A revision's file cannot be read, or its place in the history makes no sense."""


class TablesExist(MigrationError):
    """Tables of the models are there, and no migration made them."""

    @classmethod
    def of(cls, tables: str) -> TablesExist:
        return cls(
            f"The database has tables of the models already: {tables}. "
            f"To start from them as they are, run: rxdb db init --adopt"
        )


class UnknownRevision(MigrationError, LookupError):
    """A revision was named, or stands in the database, that no file describes."""

    @classmethod
    def of(cls, name: str) -> UnknownRevision:
        return cls(
            f"No file describes the revision {name!r}. To see them all, run: rxdb db history"
        )


class SeveralHeads(MigrationError):
    """Two revisions follow the same one, so that there is no single newest one."""

    @classmethod
    def of(cls, heads: Iterable[str]) -> SeveralHeads:
        return cls(f"There are several heads: {', '.join(heads)}. Run: rxdb db merge")


class NoModels(MigrationError):
    """No models were found, or so few that comparing would drop most tables."""

    @classmethod
    def of(cls, looked_in: str | Iterable[str], *, is_configured: bool = True) -> NoModels:
        named = looked_in if isinstance(looked_in, str) else ", ".join(looked_in)
        where = f" in {named}" if named else ""
        return cls(
            f"No models with table=True were found{where}. "
            f'Name their modules in rxconfig.py: rx.Config(models=["shop.models"])'
            if is_configured
            else f"No models with table=True were found, {ELSEWHERE}"
        )


class SchemaOutdated(MigrationError):
    """The database is not at the newest revision."""


class NotPortable(RxdbError):
    """Something in the models fails, or means something else, on one of the targets."""


class DataLoss(MigrationError):
    """A migration would lose rows or values, and nobody allowed it."""

    @classmethod
    def of(cls, losses: Iterable[str]) -> DataLoss:
        listed = "\n".join(f"  {loss}" for loss in losses)
        return cls(
            f"This would lose data, so nothing was done:\n{listed}\n"
            f"If that is meant, add: --allow-data-loss"
        )


class FillMissing(MigrationError):
    """A new column refuses NULL, and nobody said what existing rows shall hold."""


class RenameUnclear(MigrationError):
    """A column or a table may have got another name, and nobody said whether it did."""


class MigrationLockTimeout(LockTimeout, MigrationError):
    """A migration waited in vain: for another migration, or for a lock of running traffic."""


class LockLost(MigrationError):
    """A migration held the lock, and somebody else may hold it by now."""


class NotAnswering(RxdbError, TimeoutError):
    """A database did not answer in the time that :func:`rxdb.wait` was given."""

    @classmethod
    def of(cls, database: str, seconds: float, cause: BaseException, doctor: str) -> NotAnswering:
        said = str(getattr(cause, "orig", None) or cause).strip().splitlines()
        reason = said[0] if said else type(cause).__name__
        return cls(
            f"{database} did not answer for {seconds:g} seconds: {ended(hide(reason))}\n"
            f"To see what is wrong, run: {doctor}"
        )


class HalfApplied(MigrationError):
    """A revision stopped half-way, and what its script does now is not what it did then."""


class OutsideTransaction(MigrationError):
    """A revision has a statement that cannot run in a transaction."""

    @classmethod
    def of(cls, revision: str, cause: BaseException) -> OutsideTransaction:
        return cls(
            f"The revision {revision} was rolled back: {hide(str(cause).strip())}. Write the "
            f"statement into a revision of its own, there into: "
            f"with op.get_context().autocommit_block():"
        )


class RebuildFailed(MigrationError):
    """A table was rebuilt and something would have been lost; all of it was rolled back."""


class MigrationFailed(MigrationError):
    """A revision's script failed; the database's own error is the cause."""

    @classmethod
    def of(
        cls,
        revision: str,
        message: str,
        direction: str,
        cause: BaseException,
        *,
        rolled_back: bool,
        script: str,
    ) -> MigrationFailed:
        reason = _said(getattr(cause, "orig", None) or cause) or type(cause).__name__
        line = _line(cause, script)
        place = f"{script}, line {line}" if line else script
        step = (
            "All of it was rolled back; correct the cause and run the command again."
            if rolled_back
            else "This server cannot roll back DDL. To see what is done, run: rxdb db repair"
        )
        named = f"{revision} ({message})" if message else revision
        return cls(f"The {direction} of {named} failed: {hide(reason)}\nIn {place}\n{step}")


def _said(error: BaseException) -> str:
    """Return what an error says; of a driver's code and text, which it shows as a tuple, the
    text."""
    told = str(error).strip()
    texts = [part for part in error.args if isinstance(part, str)]
    return texts[-1].strip() if texts and told == str(error.args) else told


def _line(error: BaseException, file: str) -> int:
    """Return the line of *file* where *error* came from; 0 where its traceback does not tell."""
    found = 0
    trace = error.__traceback__
    while trace is not None:
        if os.path.realpath(trace.tb_frame.f_code.co_filename) == os.path.realpath(file):
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def is_own(error: object) -> bool:
    """Whether rxdb itself says this, and not a database in rxdb's words."""
    return isinstance(error, RxdbError) and getattr(error, "orig", None) is None


def hide(text: str) -> str:
    """Return *text* with the password of every URL in it, and every ``password=…``, as ``***``."""
    letters = list(text)
    for pattern in (PASSWORD_IN_URL, PASSWORD_OPTION):  # each on the whole text: they may overlap
        for found in pattern.finditer(text):
            start, end = found.span(found.lastindex or 0)
            letters[start:end] = "\0" * (end - start)
    return re.sub("\0+", "***", "".join(letters))


def ended(text: str) -> str:
    """Return *text* with a full stop, so that another sentence may follow."""
    return text if text.endswith((".", "?", "!", ":", ";", ",")) else f"{text}."


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the name that was probably meant, or else all there are."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names) or 'none'}."


def install(package: str, *, again: bool = False) -> str:
    """Return the line that installs *package* in the project that the current folder is in.

    *again* asks for the newest version even where some version is there already. What is a part
    of Python has no package, and no line.
    """
    if not package:
        return ""
    command = _installer()
    force = (
        " --upgrade --force-reinstall" if "pip install" in command
        else " --upgrade" if command == "uv add"
        else ""
    )  # fmt: skip
    return f"{command}{force if again else ''} {quoted(package)}"


def quoted(text: str) -> str:
    """Return *text* in the quotes that the shell of this system takes away again."""
    if text and all(character.isalnum() or character in "-_./\\:" for character in text):
        return text
    return f'"{text}"' if os.name == "nt" else "'" + text.replace("'", "'\\''") + "'"


def _installer() -> str:
    try:
        here = Path.cwd()
    except OSError:  # the current folder was removed
        return pip()
    for folder in (here, *here.parents):
        for lock, command in INSTALLERS.items():
            if (folder / lock).is_file():
                return command
    return pip()


def pip() -> str:
    """Return the command that installs into the environment of this very interpreter.

    The ``pip`` of the PATH may be another one's, and ``uv venv`` makes environments without pip.
    """
    import shutil  # noqa: PLC0415 - for the few that need it
    from importlib.util import find_spec  # noqa: PLC0415 - few need it
    from sysconfig import get_path  # noqa: PLC0415 - few need it

    interpreter, found = Path(sys.executable), shutil.which("pip")
    if find_spec("pip") is None and shutil.which("uv"):
        is_active = os.environ.get("VIRTUAL_ENV") == sys.prefix
        return f"uv pip install{'' if is_active else f' --python {quoted(sys.executable)}'}"
    own = {interpreter.parent, Path(get_path("scripts"))}
    if find_spec("pip") is None or (found and Path(found).parent in own):
        return "pip install"
    return f"{quoted(sys.executable)} -m pip install"
