"""Paths into JSON documents that find every key, whatever characters it has.

SQLAlchemy writes keys as they are, so that a quote ends one.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

STEP = re.compile(r'\[(\d+)\]|\.("(?:[^"\\]|\\.)*")', re.DOTALL)
"""A position, or a key as JSON writes a text."""


def dollar(steps: Any) -> str:
    """Return ``$."a"[0]`` for a key and a position, or for one of them."""
    some = [steps] if isinstance(steps, str | int) else steps
    return "$" + "".join(
        f"[{step}]" if isinstance(step, int) else f".{json.dumps(step, ensure_ascii=False)}"
        for step in some
    )


def braces(steps: Any) -> Any:
    """Return ``{"a","0"}`` for a key and a position; a text is such a path already."""
    if isinstance(steps, str):
        return steps
    texts = [str(step).replace("\\", "\\\\").replace('"', '\\"') for step in steps]
    return "{" + ",".join(f'"{text}"' for text in texts) + "}"


def write_with_dollar(dialect: Any) -> None:
    """Let the backend's types for paths escape what has a meaning in them."""
    import sqlalchemy as sa

    def own(kind: Any) -> Any:
        class Path(dialect.colspecs.get(kind, kind)):  # type: ignore[misc]  # the class that this engine has
            def _format_value(self, value: Any) -> str:
                return dollar(value)

        return Path

    kinds = (sa.JSON.JSONIndexType, sa.JSON.JSONPathType)
    dialect.colspecs = {**dialect.colspecs, **{kind: own(kind) for kind in kinds}}


def as_it_is(binary: Any) -> Any:
    """Look for a part as SQLAlchemy does."""
    return binary


def as_written(text: str, type_: Any) -> str:
    """Leave what SQLAlchemy writes."""
    return text


def read_parts(
    dialect: Any,
    *,
    sought: Callable[[Any], Any] = as_it_is,
    written: Callable[[str, Any], str] = as_written,
) -> None:
    """Let the statements of one engine look for another expression where one asks for a part of a
    document, or write it in another way, of which they are told the type."""
    statements: Any = dialect.statement_compiler

    class Compiler(statements):  # type: ignore[misc]  # the class that this engine has
        def visit_json_getitem_op_binary(self, binary: Any, *arguments: Any, **options: Any) -> str:
            usual = super().visit_json_getitem_op_binary
            return written(usual(sought(binary), *arguments, **options), binary.type)

        def visit_json_path_getitem_op_binary(
            self, binary: Any, *arguments: Any, **options: Any
        ) -> str:
            usual = super().visit_json_path_getitem_op_binary
            return written(usual(sought(binary), *arguments, **options), binary.type)

    dialect.statement_compiler = Compiler


def part(document: str | None, path: str) -> str | None:
    """Return the part of a document, as JSON; None where there is no such part."""
    if document is None:
        return None
    found = json.loads(document)
    for position, key in STEP.findall(path):
        step = json.loads(key) if key else int(position)
        if not isinstance(found, dict if key else list):
            return None
        try:
            found = found[step]
        except LookupError:
            return None
    return json.dumps(found, ensure_ascii=False)
