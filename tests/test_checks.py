"""expect(): passes inside, fails outside, and says so in words."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from course_lib import expect, settings
from course_lib.checks import CheckFailed


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_settings: None) -> Path:
    """Quick profile, seed 3, and a log of what was recorded."""
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    monkeypatch.setenv("COURSE_SEED", "3")
    monkeypatch.setenv("COURSE_RUN_LOG", str(tmp_path / "log.jsonl"))
    return tmp_path / "log.jsonl"


def logged(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_exact_number_passes_and_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    expect("parameters", 61_706, exactly=61_706)
    assert capsys.readouterr().out == "✓ parameters: 61,706 (expected exactly 61,706)\n"


@pytest.mark.parametrize("value", [61_705, 61_707, 61_706.001, -61_706, math.nan, math.inf])
def test_another_number_fails(value: float, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckFailed, match=r"^parameters: .*expected exactly 61,706"):
        expect("parameters", value, exactly=61_706)
    assert "✓" not in capsys.readouterr().out


@pytest.mark.parametrize("value", [0.9, 0.95, 1.0])
def test_band_holds_its_ends(value: float, capsys: pytest.CaptureFixture[str]) -> None:
    expect("accuracy", value, quick=(0.9, 1.0), full=(0.98, 1.0))
    assert "(expected 0.9 to 1 in the quick profile)" in capsys.readouterr().out


@pytest.mark.parametrize("value", [0.8999, 1.0001, math.nan, math.inf, -math.inf])
def test_outside_the_band_fails(value: float) -> None:
    with pytest.raises(CheckFailed, match=r"expected 0\.9 to 1 in the quick profile"):
        expect("accuracy", value, quick=(0.9, 1.0), full=(0.0, 2.0))


def test_band_belongs_to_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_PROFILE", "full")
    expect("accuracy", 0.99, quick=(0, 0.5), full=(0.98, 1))
    with pytest.raises(CheckFailed, match="in the full profile"):
        expect("accuracy", 0.3, quick=(0, 0.5), full=(0.98, 1))


def test_numpy_numbers_are_numbers() -> None:
    import numpy as np

    expect("sum", np.float32(2.5), exactly=2.5)
    expect("count", np.int64(7), quick=(7, 7))
    with pytest.raises(CheckFailed):
        expect("sum", np.float64("nan"), quick=(-np.inf, np.inf))


def test_failure_is_an_assertion_and_says_what_to_do() -> None:
    assert issubclass(CheckFailed, AssertionError)
    with pytest.raises(CheckFailed, match=r"The text and this run disagree.*course doctor.*versions"):
        expect("accuracy", 0.1, quick=(0.9, 1.0))


@pytest.mark.parametrize(
    ("value", "more"),
    [(0.98896, {"quick": (0.989, 1.0)}), (0.123_456, {"exactly": 0.123_455}), (1.000_04, {"quick": (0.5, 1.0)})],
)
def test_failure_shows_a_number_that_lies_outside(value: float, more: dict[str, Any]) -> None:
    """A failing line must not read "0.989 (expected 0.989 to 1)"."""
    with pytest.raises(CheckFailed) as failure:
        expect("accuracy", value, **more)
    number, wanted = str(failure.value).removeprefix("accuracy: ").split(")")[0].split(" (expected ")
    assert number not in wanted.split()
    low, high = more.get("quick", (more.get("exactly"),) * 2)
    assert not low <= float(number) <= high


@pytest.mark.parametrize("more", [{}, {"exactly": 1, "quick": (0, 2)}, {"exactly": 1, "full": (0, 2)}])
def test_neither_or_both_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expect\('n'\): give either exactly"):
        expect("n", 1, **more)


def test_missing_band_is_named() -> None:
    with pytest.raises(ValueError, match=r"no band for the quick profile; give quick=\(low, high\)"):
        expect("n", 1, full=(0, 2))


@pytest.mark.parametrize("more", [{"quick": (2, 1)}, {"quick": (math.nan, 1)}, {"quick": (0, 2), "full": (2, 1)}])
def test_empty_band_is_refused_whichever_profile_runs(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is empty"):
        expect("n", 1, **more)


def test_every_check_is_logged_passed_or_not(log: Path) -> None:
    expect("a", 1, exactly=1)
    with pytest.raises(CheckFailed):
        expect("b", 2.5, quick=(0, 1))
    lines = logged(log)
    assert [(line["kind"], line["id"], line["value"], line["passed"]) for line in lines] == [
        ("check", "a", 1.0, True),
        ("check", "b", 2.5, False),
    ]
    assert {(line["seed"], line["profile"]) for line in lines} == {(3, "quick")}


def test_settings_of_the_chapter_come_before_the_environment(monkeypatch: pytest.MonkeyPatch, log: Path) -> None:
    monkeypatch.setattr(settings, "_current", settings.Settings(1, "full", 8, "float32", "tensorflow"))
    expect("a", 1, quick=(5, 6), full=(0, 1))
    assert [(line["seed"], line["profile"], line["chapter"]) for line in logged(log)] == [(8, "full", 1)]
