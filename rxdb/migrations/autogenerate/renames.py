"""Tell a rename from a drop and an add."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rxdb.errors import MigrationError, RenameUnclear, quoted
from rxdb.migrations.autogenerate import Question
from rxdb.migrations.autogenerate.guards import full_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rxdb.migrations.autogenerate import Wishes
    from rxdb.migrations.autogenerate.past import Key

Found = TypeVar("Found")


class Renames:
    """The renames that were wished for, and those that were found by asking."""

    def __init__(self, wishes: Wishes) -> None:
        self.wishes = wishes
        self.used: set[str] = set()

    def tables(
        self, removed: Iterable[Key], added: Iterable[Key], fit: Callable[[Key, Key], bool]
    ) -> dict[Key, Key]:
        """Return the tables that got another name.

        Raises :class:`rxdb.errors.RenameUnclear`, as :meth:`columns` does.
        """
        free = list(added)
        found: dict[Key, Key] = {}
        for old in removed:
            name = full_name(old)
            candidates = [key for key in free if key[0] == old[0]]
            new = self._wished(name, {key[1]: key for key in candidates}, "table")
            if new is None:
                fitting = [key for key in candidates if not self._is_taken(key) and fit(old, key)]
                new = self._asked("rename table", name, {key[1]: key for key in fitting})
            if new is not None:
                found[old] = new
                free.remove(new)
        return found

    def columns(
        self,
        table: str,
        removed: Iterable[str],
        added: Iterable[str],
        fit: Callable[[str, str], bool],
    ) -> dict[str, str]:
        """Return the columns of one table that got another name."""
        free = list(added)
        found: dict[str, str] = {}
        for old in removed:
            name = f"{table}.{old}"
            new = self._wished(name, {column: column for column in free}, "column")
            if new is None:
                wished = set(self.wishes.renames.values())
                fitting = [c for c in free if c not in wished and fit(old, c)]
                new = self._asked("rename column", name, {c: c for c in fitting})
            if new is not None:
                found[old] = new
                free.remove(new)
        return found

    def refuse_unused(self, removed: Iterable[str], added: Iterable[str]) -> None:
        """Refuse a wish that concerns nothing."""
        gone, new = sorted(removed), sorted(added)
        wishes = {
            **{old: f"--rename {old}={name}" for old, name in self.wishes.renames.items()},
            **{old: f"--no-rename {old}" for old in self.wishes.no_renames if old not in gone},
        }
        if unused := sorted(set(wishes) - self.used):
            old = unused[0]
            raise MigrationError(
                f"{wishes[old]}: {old} is not gone from the models. "
                f"Gone: {', '.join(gone) or 'nothing'}. New: {', '.join(new) or 'nothing'}."
            )

    def _is_taken(self, key: Key) -> bool:
        return key[1] in self.wishes.renames.values()

    def _wished(self, name: str, candidates: dict[str, Found], kind: str) -> Found | None:
        if name not in self.wishes.renames:
            return None
        self.used.add(name)
        wanted = self.wishes.renames[name].rpartition(".")[2]
        if wanted not in candidates:
            there = ", ".join(sorted(candidates)) or "none"
            raise MigrationError(
                f"--rename {name}={wanted}: there is no new {kind} {wanted}. New: {there}."
            )
        return candidates[wanted]

    def _asked(self, kind: str, name: str, candidates: dict[str, Found]) -> Found | None:
        if name in self.wishes.no_renames:
            return None
        if candidates and self.wishes.ask is None:
            self._left_open(kind, name, list(candidates))
            return None
        for short, found in candidates.items():
            assert self.wishes.ask is not None
            text = f"Was `{name}` renamed to `{short}`?"
            if self.wishes.ask(Question(kind=kind, text=text, name=name)) is True:
                return found
        return None

    def _left_open(self, kind: str, name: str, candidates: list[str]) -> None:
        """Refuse to guess where a script is to be written, for a drop loses what a rename keeps."""
        wishes = self.wishes
        if not wishes.command:
            short = candidates[0]
            wishes.found.append(
                f"If {name} was renamed to {short}, say so: --rename {name}={short}"
            )
            return
        table = f"{name.rpartition('.')[0]}." if kind == "rename column" else ""
        lines = [
            f"If it is {table}{short} now, run: "
            + wishes.again(f"--rename {quoted(name)}={quoted(short)}", new=f"{table}{short}")
            for short in candidates
        ]
        what = "the values" if table else "the rows"
        raise RenameUnclear(
            "\n".join(
                [
                    f"{name} is gone from the models, and may have another name now.",
                    *lines,
                    f"If it is to be dropped with {what} in it, run: "
                    + wishes.again(f"--no-rename {quoted(name)}"),
                ]
            )
        )
