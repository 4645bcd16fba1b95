"""Recorded values: written only when asked for, whole, and read back as written."""

from __future__ import annotations

import functools
import json
import platform
import re
import socket
import statistics
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from course_lib import records, settings


@pytest.fixture(autouse=True)
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_settings: None) -> Path:
    """A folder of results for this test, chapter 1, seed 2, full profile."""
    folder = tmp_path / "results"
    monkeypatch.setattr(records, "RESULTS", folder)
    for name in ("COURSE_RECORD", "COURSE_RUN_LOG", "COURSE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(settings, "_current", settings.Settings(1, "full", 2, "float32", "tensorflow"))
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(folder: Path, *found: dict[str, Any] | str, name: str = "01.jsonl") -> Path:
    """Write records, or lines as they are, to a file of results."""
    folder.mkdir(exist_ok=True)
    text = [line if isinstance(line, str) else json.dumps(line) for line in found]
    (folder / name).write_text("\n".join(text) + "\n", encoding="utf-8")
    return folder / name


def record(value: float, seed: int = 0, name: str = "a", profile: str = "full", kind: str = "check") -> dict[str, Any]:
    """Return a record with the keys that reading needs."""
    return {"kind": kind, "id": name, "seed": seed, "profile": profile, "value": value}


@pytest.mark.parametrize("asked", [None, "", "0"])
def test_nothing_is_written_unasked(
    monkeypatch: pytest.MonkeyPatch, results: Path, tmp_path: Path, asked: str | None
) -> None:
    if asked is not None:
        monkeypatch.setenv("COURSE_RECORD", asked)
    records.append("check", "a", 1.0)
    assert not results.exists() and list(tmp_path.iterdir()) == []


def test_record_holds_what_the_number_depends_on(monkeypatch: pytest.MonkeyPatch, results: Path) -> None:
    monkeypatch.setenv("COURSE_RECORD", "1")
    records.append("claim", "größer", 0.1 + 0.2)
    records.append("check", "b", 3.0, passed=True)
    first, second = lines(results / "01.jsonl")
    assert first["kind"] == "claim" and first["id"] == "größer" and first["value"] == 0.1 + 0.2
    assert (first["seed"], first["profile"], first["chapter"], first["data"]) == (2, "full", 1, "sample")
    assert first["versions"]["python"] == platform.python_version()
    assert {"keras", "numpy"} <= set(first["versions"])
    assert any(name.startswith("tensorflow") for name in first["versions"])
    assert re.fullmatch(r".+, \d+ cores, \w+ \w+", first["machine"])
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", first["date"])
    assert second["passed"] is True
    assert [found["id"] for found in records.read(results)] == ["größer", "b"]


def test_host_user_and_folders_are_not_recorded(monkeypatch: pytest.MonkeyPatch, results: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("COURSE_RECORD", "1")
    monkeypatch.setattr(socket, "gethostname", lambda: "very-secret-host")
    monkeypatch.setattr(platform, "node", lambda: "very-secret-host")
    records.append("check", "a", 1.0)
    (found,) = lines(results / "01.jsonl")
    assert set(found) == {
        "kind", "id", "value", "seed", "profile", "data", "chapter", "versions", "machine", "date",
    }  # fmt: skip
    text = json.dumps(found)
    assert "very-secret-host" not in text and str(Path.home()) + "/" not in text and str(tmp_path) not in text
    assert str(settings.REPOSITORY) not in text


def test_full_data_are_told_from_the_sample(monkeypatch: pytest.MonkeyPatch, results: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("COURSE_RECORD", "1")
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    (tmp_path / "tensorflow_datasets" / "mnist").mkdir(parents=True)
    records.append("check", "a", 1.0)
    (tmp_path / "tensorflow_datasets" / "fashion_mnist").mkdir()
    records.append("check", "a", 1.0)
    assert [found["data"] for found in lines(results / "01.jsonl")] == ["sample", "full"]


def test_log_of_a_run_is_written_beside_the_results(
    monkeypatch: pytest.MonkeyPatch, results: Path, tmp_path: Path
) -> None:
    log = tmp_path / "deep" / "run.jsonl"
    monkeypatch.setenv("COURSE_RUN_LOG", str(log))
    records.append("check", "a", 1.0)
    assert not results.exists() and len(lines(log)) == 1
    monkeypatch.setenv("COURSE_RECORD", "1")
    records.append("check", "b", 2.0)
    assert [found["id"] for found in lines(log)] == ["a", "b"]
    assert [found["id"] for found in lines(results / "01.jsonl")] == ["b"]


def test_last_record_of_a_seed_wins(results: Path) -> None:
    write(results, record(1.0, 0), record(2.0, 1), record(3.0, 0), record(9.0, 0, name="b"))
    found = [(one["id"], one["seed"], one["value"]) for one in records.read(results)]
    assert found == [("a", 1, 2.0), ("a", 0, 3.0), ("b", 0, 9.0)]


def test_claims_and_checks_of_one_name_are_kept_apart(results: Path) -> None:
    write(results, record(1.0), record(2.0, kind="claim"))
    assert sorted(one["value"] for one in records.read(results)) == [1.0, 2.0]


def test_profiles_are_kept_apart(results: Path) -> None:
    write(results, record(1.0), record(2.0, profile="quick"))
    assert [one["value"] for one in records.read(results)] == [1.0]
    assert [one["value"] for one in records.read(results, profile="quick")] == [2.0]


def test_all_files_of_the_folder_are_read_and_no_others(results: Path) -> None:
    write(results, record(1.0, name="z"), name="00.jsonl")
    write(results, record(2.0), name="01.jsonl")
    write(results, "not a record", name="README.md")
    assert [one["value"] for one in records.read(results)] == [1.0, 2.0]


def test_nothing_recorded_is_nothing(results: Path) -> None:
    assert records.read(results) == []


whole = json.dumps(record(1.0))
BROKEN = ["{", whole[:-9], "", "5", "null", "[]", '{"kind": "check"}', whole.replace('"seed": 0, ', "")]
BROKEN += [whole.replace(', "value": 1.0', ""), whole.replace(', "profile": "full"', "")]


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_line_is_named(results: Path, broken: str) -> None:
    path = write(results, whole, broken, whole)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}, line 2, is not a whole record.*COURSE_RECORD=1"):
        records.read(results)


def test_mean_and_sd_of_what_was_recorded(monkeypatch: pytest.MonkeyPatch, results: Path) -> None:
    monkeypatch.setattr(records, "read", functools.partial(records.read, results))
    write(results, record(0.98, 0), record(0.99, 1), record(0.97, 2), record(0.5, 0, kind="claim"), record(0.4, 0, "b"))
    assert records.recorded("a") == {0: 0.98, 1: 0.99, 2: 0.97}
    assert records.recorded("a", kind="claim") == {0: 0.5}
    assert records.recorded("unknown") == {}
    assert records.mean_and_sd("a") == f"0.9800 ± {statistics.stdev([0.98, 0.99, 0.97]):.4f} (3 seeds)"
    assert records.mean_and_sd("a") == "0.9800 ± 0.0100 (3 seeds)"
    assert records.mean_and_sd("a", digits=2) == "0.98 ± 0.01 (3 seeds)"
    assert records.mean_and_sd("b") == records.mean_and_sd("unknown") == "not recorded"


# Hours of sleep gained by ten patients with either drug (Student, Biometrika 6, 1908).
FIRST_DRUG = (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)
SECOND_DRUG = (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch, results: Path) -> Path:
    """Student's data as records, a patient a seed; the second drug was given in another order."""
    monkeypatch.setattr(records, "read", functools.partial(records.read, results))
    first = [record(value, patient, "first") for patient, value in enumerate(FIRST_DRUG)]
    second = [record(value, patient, "second") for patient, value in enumerate(SECOND_DRUG)]
    return write(results, *first, *reversed(second), record(99.0, 77, "second"), record(5.0, 1, "first", kind="claim"))


def test_interval_of_student_s_sleep_data(sleep: Path) -> None:
    found = records.mean_interval("second", minus="first")  # patient 77 had one drug only
    assert found is not None
    mean, half = found
    assert mean == pytest.approx(1.58)
    # R's help page of t.test, paired: 95 percent confidence interval −2.4598858 to −0.7001142 of first less second
    assert (mean - half, mean + half) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)
    swapped = records.mean_interval("first", minus="second")
    assert swapped == pytest.approx((-mean, half))


def test_interval_of_one_series_is_that_of_scipy(sleep: Path) -> None:
    found = records.mean_interval("first")
    assert found is not None
    low, high = stats.ttest_1samp(FIRST_DRUG, 0).confidence_interval(0.95)
    assert (found[0] - found[1], found[0] + found[1]) == pytest.approx((low, high))


def test_interval_needs_two_seeds(sleep: Path) -> None:
    assert records.mean_interval("unknown") is None
    assert records.mean_interval("first", minus="unknown") is None
    assert records.mean_interval("first", kind="claim") is None


def test_two_seeds_have_the_wide_interval_of_the_tables(monkeypatch: pytest.MonkeyPatch, results: Path) -> None:
    monkeypatch.setattr(records, "read", functools.partial(records.read, results))
    write(results, record(1.0, 0), record(3.0, 1))
    assert records.mean_interval("a") == pytest.approx((2.0, 12.706), abs=1e-3)  # t = 12.706, and sd/√2 = 1
