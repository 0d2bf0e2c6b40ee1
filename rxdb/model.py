"""Models, and the registry of all the tables that belong to the application."""

from __future__ import annotations

import sys
import typing
import zlib
from copy import copy
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined as Undefined
from sqlalchemy import CheckConstraint, Column, MetaData, PrimaryKeyConstraint, String, Table
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.compiler import compiles
from sqlmodel import AutoString, Field, SQLModel
from sqlmodel.main import FieldInfo as SQLModelField
from sqlmodel.main import RelationshipInfo, SQLModelMetaclass

from rxdb import types
from rxdb.engine import URLLike, get_engine

if TYPE_CHECKING:
    from collections.abc import Iterator


def own_constraint_name(constraint: CheckConstraint, table: Table) -> str:
    """Return the name that a check was given, or else eight digits that stand for its text."""
    if isinstance(constraint.name, str):
        return str(constraint.name)
    return f"{zlib.crc32(str(constraint.sqltext).encode()):08x}"


NAMING_CONVENTION: dict[str, Any] = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(own_constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
    "own_constraint_name": own_constraint_name,
}
"""Every constraint has a name, the same on every backend: a migration can drop only what it can
name (Alembic documentation, "The Importance of Naming Constraints"). SQLAlchemy's own
``constraint_name`` would refuse a check without one. The convention is put on SQLModel's own
metadata, unless the application has put its own there, because models of both kinds refer to each
other."""

if dict(SQLModel.metadata.naming_convention) == dict(MetaData().naming_convention):
    SQLModel.metadata.naming_convention = NAMING_CONVENTION


@compiles(AutoString)
def _with_length(type_: AutoString, compiler: Any, **options: Any) -> str:
    """Let a ``str`` without ``max_length`` have 255 characters where it needs a number.

    That is what SQLModel does too, but before 0.0.47 for the name ``mysql`` only.
    """
    try:
        text = compiler.visit_type_decorator(type_, **options)
    except CompileError:
        text = compiler.process(String(AutoString.mysql_default_length), **options)
    return str(text)


def _typed(namespace: dict[str, Any], *, table: bool) -> dict[str, Any]:
    """Return a class body whose fields say the types that SQLModel does not know by itself.

    Raises :class:`TypeError` for a field of a table that can be no column.
    """
    known = _known(namespace)
    typed = dict(namespace)
    annotations = dict(namespace.get("__annotations__", {}))
    for name, annotation in namespace.get("__annotations__", {}).items():
        given = namespace.get(name, Undefined)
        if name.startswith("_") or isinstance(given, RelationshipInfo):
            continue
        evaluated = _evaluated(annotation, known)
        more = getattr(evaluated, "__metadata__", ())
        type_ = types.of_annotation(evaluated, [given], name=name)
        is_said = any(map(_says_type, [given, *more]))
        if table and not is_said and types.is_mixed(evaluated):
            told = "A Literal in a table is of texts only, or of whole numbers only."
            raise TypeError(f"{namespace.get('__qualname__')}.{name}: {told}")
        if type_ is None or is_said:
            continue
        rest = [info for info in more if not types.is_type(info)]
        if len(rest) < len(more):  # older versions of SQLModel forget Field() where there is more
            inner = typing.get_args(evaluated)[0]
            annotations[name] = Annotated[(inner, *rest)] if rest else inner
        if any(isinstance(info, SQLModelField) for info in rest):
            inner = typing.get_args(evaluated)[0]
            annotations[name] = Annotated[(inner, *(_with_type(info, type_) for info in rest))]
        elif isinstance(given, SQLModelField):
            typed[name] = _with_type(given, type_)
        else:
            typed[name] = Field(given, sa_type=type_)
    return typed | ({"__annotations__": annotations} if annotations else {})


def _with_type(info: Any, type_: Any) -> Any:
    """Return a field's description with the type of its column.

    SQLModel keeps it in the description itself and, in later versions, in its metadata too.
    """
    if not hasattr(info, "sa_type"):
        return info
    said = copy(info)
    said.sa_type = type_
    if hasattr(info, "metadata"):
        said.metadata = [_with_type(more, type_) for more in info.metadata]
    return said


def _says_type(info: object) -> bool:
    """Whether a field's description says its type, or its whole column."""
    said = (getattr(info, name, Undefined) for name in ("sa_type", "sa_column"))
    return any(value is not Undefined for value in said)


def _known(namespace: dict[str, Any]) -> dict[str, Any]:
    """Return the names that the annotations of a class body may use."""
    module = sys.modules.get(namespace.get("__module__", ""))
    return {**vars(typing), **(vars(module) if module else {}), **namespace}


def _evaluated(annotation: object, known: dict[str, Any]) -> object:
    """Read an annotation that ``from __future__ import annotations`` left as a text.

    One that cannot be read yet, such as the name of a class further down, is left to pydantic.
    """
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, known)  # noqa: S307 - the class body's own text
    except Exception:  # noqa: BLE001 - pydantic tells what is wrong with it
        return annotation


class _ModelMeta(SQLModelMetaclass):
    """Gives a table without a primary key the column ``id``, and fields their types."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> Any:
        if options.get("table") and not _has_key(bases, namespace):
            namespace = {**namespace, "id": Field(default=None, primary_key=True)}
            annotations = namespace.get("__annotations__", {})
            namespace["__annotations__"] = {"id": int | None, **annotations}
        return super().__new__(
            cls, name, bases, _typed(namespace, table=bool(options.get("table"))), **options
        )


class Model(SQLModel, metaclass=_ModelMeta):
    """The base of an application's models: a SQLModel whose tables need no ``id`` written down.

    ``class User(rx.Model, table=True)`` has ``id: int | None``, numbered by the database, unless
    the class or one of its bases declares another primary key.
    """

    if TYPE_CHECKING:
        id: Any = Field(default=None, primary_key=True)


RegisteredT = TypeVar("RegisteredT")


class ModelRegistry:
    """The bases whose tables are the application's.

    Models of :class:`rxdb.Model` and of SQLModel are always part of it. Other bases are
    registered once: ``rx.ModelRegistry.register(Base)``, or as a decorator. Nothing is copied, so
    models that are declared later are seen too.
    """

    _metadata: ClassVar[list[MetaData]] = [SQLModel.metadata]

    @classmethod
    def register(cls, base: RegisteredT) -> RegisteredT:
        """Add the metadata of *base*, a declarative base or model, and return *base*.

        Raises :class:`TypeError` for what has no ``metadata``.
        """
        metadata = getattr(base, "metadata", None)
        if not isinstance(metadata, MetaData):
            raise TypeError(
                f"{base!r} has no metadata. Register a declarative base or one of its models."
            )
        if not any(metadata is known for known in cls._metadata):
            cls._metadata.append(metadata)
        return base

    @classmethod
    def get_metadata(cls) -> tuple[MetaData, ...]:
        """Return the metadata of each base, in order of registration.

        Alembic's ``target_metadata`` takes it as it is.
        """
        return tuple(cls._metadata)


def create_all(url: URLLike | None = None, *, create: bool = True) -> None:
    """Create the tables of all models that are not there yet.

    *url* names another database than the configured one. The folder of a database file is made
    where it is missing, unless *create* is false.
    """
    engine = get_engine(url, create=create)
    for metadata in ModelRegistry.get_metadata():
        metadata.create_all(engine)


def _has_key(bases: tuple[type, ...], namespace: dict[str, Any]) -> bool:
    """Whether a class body or one of its bases declares ``id`` or a primary key."""
    inherited = {k: v for base in bases for k, v in getattr(base, "model_fields", {}).items()}
    if "id" in namespace.get("__annotations__", {}) or "id" in inherited:
        return True
    inherited_arguments = (getattr(base, "__table_args__", None) for base in bases)
    arguments = namespace.get("__table_args__") or next(filter(None, inherited_arguments), None)
    if _holds_key(arguments):
        return True
    return any(map(_is_key, [*_infos(namespace), *inherited.values()]))


def _infos(namespace: dict[str, Any]) -> Iterator[object]:
    """Yield what describes each field: its default, and what ``Annotated`` adds."""
    yield from namespace.values()
    known = _known(namespace)
    for annotation in namespace.get("__annotations__", {}).values():
        yield from getattr(_evaluated(annotation, known), "__metadata__", ())


def _is_key(info: object) -> bool:
    """Whether a field's description says so itself, or through what ``Annotated`` left in it."""
    column = getattr(info, "sa_column", None)
    if isinstance(column, Column):
        return column.primary_key
    if getattr(info, "primary_key", None) is True:
        return True
    return isinstance(info, FieldInfo) and any(map(_is_key, info.metadata))


def _holds_key(table_args: object) -> bool:
    """Whether ``__table_args__`` holds a primary key."""
    arguments = table_args if isinstance(table_args, tuple) else ()
    return any(isinstance(argument, PrimaryKeyConstraint) for argument in arguments)
