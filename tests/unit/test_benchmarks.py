"""The arithmetic of the benchmarks' runner, and the page it writes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import runner
from runner import Case, Contestant, Goal, Outcome


def case(*contestants: Contestant, rounds: int = 3, at_most: float = 0.5) -> Case:
    goal = Goal(contestant="own", peer="peer", at_most=at_most)
    return Case(title="Work", contestants=contestants, goals=(goal,), rounds=rounds)


def test_each_round_begins_with_another_contestant() -> None:
    order: list[str] = []

    def contestant(name: str) -> Contestant:
        return Contestant(name=name, run=lambda: order.append(name) or 1.0)  # type: ignore[func-returns-value]  # append returns None

    outcome = runner.measure(case(contestant("own"), contestant("peer")))
    assert order == ["peer", "own", "own", "peer", "peer", "own", "own", "peer"]
    assert outcome.times == {"own": [1.0] * 3, "peer": [1.0] * 3}  # the first round is left out


@pytest.mark.parametrize(("patience", "runs", "again", "disturbed"), [(60, 2, 1, 0), (0, 1, 0, 1)])
def test_what_others_disturbed_is_done_again_while_patience_lasts(
    patience: float, runs: int, again: int, disturbed: int
) -> None:
    looks = iter([True, False, True, True])  # before and after each run

    class Watched(runner.Calm):
        def is_calm(self) -> bool:
            super().is_calm()
            return next(looks, True)

    calm = Watched(patience)
    looks = iter([True, False, True, True])
    assert calm.run(iter("abc").__next__) == "abc"[runs - 1]
    assert (calm.again, calm.disturbed) == (again, disturbed)
    assert f"Of 1 runs {disturbed} were disturbed" in str(calm)
    assert 0 < calm.fastest < 1


def test_the_ratio_is_that_of_pairs_and_not_of_medians() -> None:
    found = runner.ratio([1, 2, 30, 4, 5], [2, 4, 30, 80, 5])
    assert (found.low, found.median, found.high) == (0.5, 0.5, 1)


@pytest.mark.parametrize(("at_most", "met"), [(0.5, "yes"), (0.49, "**no**")])
def test_a_missed_goal_is_shown_as_missed(at_most: float, met: str) -> None:
    outcome = Outcome(case=case(at_most=at_most), times={"own": [1, 1, 2], "peer": [2, 2, 4]})
    ((*_, measured, shown),) = runner.summary([outcome])
    assert (measured, shown) == ("0.50 (0.50 to 0.50)", met)
    assert f"| {met} |" in runner.markdown([outcome])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.2345, "1234 ms"), (0.1, "100 ms"), (0.01234, "12.3 ms"), (0.0012345, "1.23 ms")],
)
def test_times_have_three_digits(seconds: float, text: str) -> None:
    assert runner.milliseconds(seconds) == text


def test_only_what_stands_between_the_marks_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- benchmarks: x -->\n<!-- benchmarks: end -->\nb\n")
    for text in ("one", r"two \1"):
        runner.write(page, "x", text)
        marks = f"<!-- benchmarks: x -->\n\n{text}\n\n<!-- benchmarks: end -->"
        assert page.read_text() == f"a\n{marks}\nb\n"
    with pytest.raises(LookupError, match="0 parts called y"):
        runner.write(page, "y", "")


def test_a_worker_must_find_what_is_expected(tmp_path: Path) -> None:
    file = tmp_path / "works.py"
    path = str(Path(runner.__file__).parent)
    file.write_text(
        f"import sys\nsys.path.insert(0, {path!r})\nimport runner\n"
        "def add(a, b):\n    print('no answer')\n    return lambda: a + b\n"
        "def late():\n    return lambda: lambda: 'looked up later'\n"
        "runner.serve({'add': add, 'late': late})\n"
    )
    with runner.worker(file, folder=tmp_path, variables={}) as worker:
        assert 0 <= worker.run("add", 3, a=1, b=2) < 1
        worker.run("late", "looked up later")
        with pytest.raises(RuntimeError, match="add found 3 and not 4"):
            worker.run("add", 4, a=1, b=2)
        with pytest.raises(RuntimeError, match="KeyError: 'subtract'"):
            worker.run("subtract", 0)


def test_contestants_find_their_modules_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "module.py").touch()
    code = "import module, os; print(os.path.exists(module.__cached__))"
    with runner.bytecode():
        program = runner.program(
            "it", sys.executable, "-c", code, folder=tmp_path, variables={}, prints="True"
        )
        program.run()
    assert os.environ["PYTHONDONTWRITEBYTECODE"] == "1"
    assert "PYTHONPYCACHEPREFIX" not in os.environ


def test_a_program_must_end_well_and_print_what_is_expected(tmp_path: Path) -> None:
    def program(code: str) -> Contestant:
        return runner.program(
            "it", sys.executable, "-c", code, folder=tmp_path, variables={}, prints="done"
        )

    assert program("print('done')").run() > 0
    for code in ("print('other')", "print('done'); raise SystemExit(3)"):
        with pytest.raises(RuntimeError, match="failed"):
            program(code).run()
