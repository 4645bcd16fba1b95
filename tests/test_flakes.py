"""The record of repeated notebook tests: that runs are recorded as they went, and counted as they were recorded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from course_lib.settings import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "benchmarks"))
import flakes

sys.path.pop(0)


def notebook(folder: Path, *cells: str, name: str = "01_a.ipynb") -> Path:
    """Write a notebook of these cells, after a word of text."""
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("text"), *code]), folder / name)
    return folder / name


def made(notebooks: str = "a", failed: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """Return a run as it is recorded."""
    return {
        "notebooks": notebooks,
        "failed": list(failed),
        "status": int(bool(failed)),
        "passed": 9,
        "seconds": 60.0,
    } | more


@pytest.mark.parametrize(
    ("runs", "length"),
    [
        ([], 0),
        ([made(), made(), made()], 3),
        ([made(), made(failed=("01, Cell 3",)), made(), made()], 2),
        ([made(), made(failed=("01, Cell 3",))], 0),
        ([made("b"), made("b"), made("a")], 1),  # of other notebooks
        ([made("a"), made("b"), made("a")], 1),
        ([made(), made(status=2), made()], 1),  # pytest broke off, and no cell is to blame
        ([made(), made(passed=0)], 0),  # nothing was tested
    ],
)
def test_only_clean_runs_of_the_same_notebooks_one_after_the_other_count(runs: list[dict], length: int) -> None:
    assert flakes.streak(runs) == length


def test_a_run_names_the_cells_that_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = notebook(tmp_path, "1 + 1", "1 / 0", "2 + 2")
    run = flakes.run_once(["--nbval-lax", "-p", "no:cacheprovider", str(path)])
    assert (run["status"], run["passed"]) == (1, 2) and run["seconds"] > 0
    (failed,) = run["failed"]
    assert "01_a" in failed and failed.endswith("Cell 1")
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert not flakes.clean(run)


def test_interrupted_runs_go_on_and_a_failure_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = iter([made(), made(failed=("02, Cell 5",)), KeyboardInterrupt(), made(), made(), made(), made()])
    asked: list[list[str]] = []

    def once(arguments: list[str]) -> dict[str, Any]:
        asked.append(arguments)
        found = next(left)
        if isinstance(found, BaseException):
            raise found
        return {key: found[key] for key in ("status", "seconds", "passed", "failed")}

    monkeypatch.setattr(flakes, "run_once", once)
    monkeypatch.setattr(flakes, "RESULTS", tmp_path / "results" / "flakes.jsonl")
    monkeypatch.setattr(sys, "argv", ["flakes.py", "--runs", "5", "--nbval-lax", "notebooks/00_start_here.ipynb"])
    with pytest.raises(KeyboardInterrupt):
        flakes.main()
    assert flakes.main() == 1  # the second run failed, so the last five are not clean
    assert [run["run"] for run in flakes.read()] == [1, 2, 3, 4, 5]
    assert asked[0] == ["--nbval-lax", "notebooks/00_start_here.ipynb"]
    printed = capsys.readouterr().out
    assert "run 2: 9 cells passed in 60 s, failed: 02, Cell 5" in printed
    assert "runs recorded: 5, clean: 4\nclean one after the other up to the last: 3, of the notebooks" in printed
    assert "failed in 1: 02, Cell 5" in printed
    assert flakes.main() == 1 and len(flakes.read()) == 5  # all are there


def test_words_may_change_and_code_may_not(tmp_path: Path) -> None:
    path = notebook(tmp_path, "1 + 1")
    before = flakes.fingerprint(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace('"text"', '"other words"'), encoding="utf-8")
    assert flakes.fingerprint(tmp_path) == before
    notebook(tmp_path, "1 + 2")
    assert flakes.fingerprint(tmp_path) != before


def test_what_is_recorded_is_whole_and_counted_right() -> None:
    """Recounted from the lines themselves."""
    path = REPOSITORY / "benchmarks" / "results" / "flakes.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    seen: dict[str, int] = {}
    length, before = 0, ""
    for run in map(json.loads, lines):
        notebooks = run["notebooks"]
        seen[notebooks] = seen.get(notebooks, 0) + 1
        assert run["run"] == seen[notebooks], "a run is missing or stands there twice"
        assert run["seconds"] > 0 and run["versions"]["keras"] and run["data"] in ("samples", "mirror")
        passed = run["status"] == 0 and run["passed"] > 0
        assert not (passed and run["failed"]), "cells failed, and pytest did not say so"
        length = 0 if not passed else length + 1 if notebooks == before else 1
        before = notebooks
    assert flakes.streak(flakes.read()) == length
