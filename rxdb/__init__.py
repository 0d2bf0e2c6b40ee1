"""One URL to a tuned engine, a session and safe migrations, the same on every backend.

``import rxdb as rx`` costs almost nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # type checkers take it for typing's, the most costly import here
if TYPE_CHECKING:
    from typing import Any

    from sqlmodel import Field as Field
    from sqlmodel import Relationship as Relationship
    from sqlmodel import select as select

    from rxdb.bulk import Upserted as Upserted
    from rxdb.bulk import bulk_insert as bulk_insert
    from rxdb.bulk import upsert as upsert
    from rxdb.config import Config as Config
    from rxdb.config import DBConfig as DBConfig
    from rxdb.config import get_config as get_config
    from rxdb.config import secret as secret
    from rxdb.config import set_config as set_config
    from rxdb.dialect import Dialect as Dialect
    from rxdb.dialect import Driver as Driver
    from rxdb.dialect import Feature as Feature
    from rxdb.dialect import Target as Target
    from rxdb.engine import adispose as adispose
    from rxdb.engine import dispose as dispose
    from rxdb.engine import get_async_engine as get_async_engine
    from rxdb.engine import get_engine as get_engine
    from rxdb.engine import pool_status as pool_status
    from rxdb.errors import BadArgument as BadArgument
    from rxdb.errors import BadConfig as BadConfig
    from rxdb.errors import BadPlugin as BadPlugin
    from rxdb.errors import BadRevision as BadRevision
    from rxdb.errors import BadRow as BadRow
    from rxdb.errors import BadURL as BadURL
    from rxdb.errors import BadValue as BadValue
    from rxdb.errors import CheckViolation as CheckViolation
    from rxdb.errors import CommitUnknown as CommitUnknown
    from rxdb.errors import ConnectionLost as ConnectionLost
    from rxdb.errors import ConstraintViolation as ConstraintViolation
    from rxdb.errors import DatabaseError as DatabaseError
    from rxdb.errors import DatabaseMissing as DatabaseMissing
    from rxdb.errors import DataLoss as DataLoss
    from rxdb.errors import Deadlock as Deadlock
    from rxdb.errors import DriverBroken as DriverBroken
    from rxdb.errors import DriverError as DriverError
    from rxdb.errors import DriverMismatch as DriverMismatch
    from rxdb.errors import DriverMissing as DriverMissing
    from rxdb.errors import DriverTooOld as DriverTooOld
    from rxdb.errors import FillMissing as FillMissing
    from rxdb.errors import FolderMissing as FolderMissing
    from rxdb.errors import ForeignKeyViolation as ForeignKeyViolation
    from rxdb.errors import GreenletMissing as GreenletMissing
    from rxdb.errors import HalfApplied as HalfApplied
    from rxdb.errors import LockLost as LockLost
    from rxdb.errors import LockTimeout as LockTimeout
    from rxdb.errors import LoginFailed as LoginFailed
    from rxdb.errors import MigrationError as MigrationError
    from rxdb.errors import MigrationFailed as MigrationFailed
    from rxdb.errors import MigrationLockTimeout as MigrationLockTimeout
    from rxdb.errors import NoEventLoop as NoEventLoop
    from rxdb.errors import NoModels as NoModels
    from rxdb.errors import NotAnswering as NotAnswering
    from rxdb.errors import NotInitialized as NotInitialized
    from rxdb.errors import NotNullViolation as NotNullViolation
    from rxdb.errors import NotPortable as NotPortable
    from rxdb.errors import OutsideTransaction as OutsideTransaction
    from rxdb.errors import OwnLock as OwnLock
    from rxdb.errors import PoolTimeout as PoolTimeout
    from rxdb.errors import ReadOnly as ReadOnly
    from rxdb.errors import RebuildFailed as RebuildFailed
    from rxdb.errors import RenameUnclear as RenameUnclear
    from rxdb.errors import RxdbError as RxdbError
    from rxdb.errors import SchemaOutdated as SchemaOutdated
    from rxdb.errors import SerializationFailure as SerializationFailure
    from rxdb.errors import SeveralHeads as SeveralHeads
    from rxdb.errors import StatementTimeout as StatementTimeout
    from rxdb.errors import TablesExist as TablesExist
    from rxdb.errors import UniqueViolation as UniqueViolation
    from rxdb.errors import UnknownDialect as UnknownDialect
    from rxdb.errors import UnknownDriver as UnknownDriver
    from rxdb.errors import UnknownOption as UnknownOption
    from rxdb.errors import UnknownRevision as UnknownRevision
    from rxdb.linting import Finding as Finding
    from rxdb.linting import check_models as check_models
    from rxdb.migrations.state import SchemaState as SchemaState
    from rxdb.migrations.state import check_schema as check_schema
    from rxdb.migrations.state import ready as ready
    from rxdb.migrations.waiting import wait as wait
    from rxdb.model import Model as Model
    from rxdb.model import ModelRegistry as ModelRegistry
    from rxdb.model import create_all as create_all
    from rxdb.pool import PoolStatus as PoolStatus
    from rxdb.replicas import aposition as aposition
    from rxdb.replicas import position as position
    from rxdb.sessions import asession as asession
    from rxdb.sessions import session as session
    from rxdb.transactions import on_commit as on_commit
    from rxdb.transactions import transaction as transaction
    from rxdb.types import JSON as JSON
    from rxdb.types import BigInteger as BigInteger
    from rxdb.types import CaseInsensitiveText as CaseInsensitiveText
    from rxdb.types import Text as Text
    from rxdb.types import UTCDateTime as UTCDateTime
    from rxdb.types import exact as exact
    from rxdb.types import json_path as json_path
    from rxdb.url import parse as parse

__version__ = "0.1.0"

_HOMES = {
    "rxdb.bulk": ("Upserted", "bulk_insert", "upsert"),
    "rxdb.config": ("Config", "DBConfig", "get_config", "secret", "set_config"),
    "rxdb.dialect": ("Dialect", "Driver", "Feature", "Target"),
    "rxdb.engine": ("adispose", "dispose", "get_async_engine", "get_engine", "pool_status"),
    "rxdb.errors": (
        "BadArgument",
        "BadConfig",
        "BadPlugin",
        "BadRevision",
        "BadRow",
        "BadURL",
        "BadValue",
        "CheckViolation",
        "CommitUnknown",
        "ConnectionLost",
        "ConstraintViolation",
        "DataLoss",
        "DatabaseError",
        "DatabaseMissing",
        "Deadlock",
        "DriverBroken",
        "DriverError",
        "DriverMismatch",
        "DriverMissing",
        "DriverTooOld",
        "FillMissing",
        "FolderMissing",
        "ForeignKeyViolation",
        "GreenletMissing",
        "HalfApplied",
        "LockLost",
        "LockTimeout",
        "LoginFailed",
        "MigrationError",
        "MigrationFailed",
        "MigrationLockTimeout",
        "NoEventLoop",
        "NoModels",
        "NotAnswering",
        "NotInitialized",
        "NotNullViolation",
        "NotPortable",
        "OutsideTransaction",
        "OwnLock",
        "PoolTimeout",
        "ReadOnly",
        "RebuildFailed",
        "RenameUnclear",
        "RxdbError",
        "SchemaOutdated",
        "SerializationFailure",
        "SeveralHeads",
        "StatementTimeout",
        "TablesExist",
        "UniqueViolation",
        "UnknownDialect",
        "UnknownDriver",
        "UnknownOption",
        "UnknownRevision",
    ),
    "rxdb.linting": ("Finding", "check_models"),
    "rxdb.migrations.state": ("SchemaState", "check_schema", "ready"),
    "rxdb.migrations.waiting": ("wait",),
    "rxdb.model": ("Model", "ModelRegistry", "create_all"),
    "rxdb.pool": ("PoolStatus",),
    "rxdb.replicas": ("aposition", "position"),
    "rxdb.sessions": ("asession", "session"),
    "rxdb.transactions": ("on_commit", "transaction"),
    "rxdb.types": (
        "JSON",
        "BigInteger",
        "CaseInsensitiveText",
        "Text",
        "UTCDateTime",
        "exact",
        "json_path",
    ),
    "rxdb.url": ("parse",),
    "sqlmodel": ("Field", "Relationship", "select"),
}
"""Each module, and the public names that live there."""

_NAMES = {name: home for home, names in _HOMES.items() for name in names}

__all__ = list(_NAMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use (PEP 562)."""
    if name not in _NAMES:
        raise AttributeError(f"module 'rxdb' has no attribute {name!r}")
    value = getattr(import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
