"""The ledger: its rules, its verdicts, and that what is written follows from what was recorded."""

from __future__ import annotations

import functools
import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from course_lib import claim, claims, records, settings
from course_lib.claims import Entry, Verdict

RULES = """
[up]
claim = "It goes up."
sources = "A"
chapter = 1
metric = "points"
reproduced = "value >= 1"
partly = "value > 0"

[exact]
claim = "It is seven."
sources = "L, Z"
chapter = 2
metric = "count"
reproduced = "value == 7"
"""


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_settings: None) -> Path:
    """A ledger of two claims with an empty folder of results, in place of the course's own; chapter 1 is open."""
    (tmp_path / "claims.toml").write_text(RULES, encoding="utf-8")
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    here = functools.partial(claims.ledger, tmp_path / "claims.toml", tmp_path / "results")
    monkeypatch.setattr(claims, "ledger", here)
    read = claims.entries
    monkeypatch.setattr(claims, "entries", lambda path=tmp_path / "claims.toml": read(path))
    for name in ("COURSE_RECORD", "COURSE_RUN_LOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(settings, "_current", settings.Settings(1, "full", 5, "float32", "tensorflow"))
    return tmp_path


def write(book: Path, name: str, *values: float, profile: str = "full", kind: str = "claim") -> None:
    """Record these values of one claim, seeds 0, 1, …"""
    with (book / "results" / "01.jsonl").open("a", encoding="utf-8") as file:
        for seed, value in enumerate(values):
            found = {"kind": kind, "id": name, "seed": seed, "profile": profile, "value": value}
            file.write(json.dumps(found) + "\n")


def verdict(*values: float, reproduced: str = "value >= 1", partly: str = "value > 0") -> str:
    """Return the verdict on these values, one a seed."""
    return Verdict(Entry("n", "c", "A", 1, "m", reproduced, partly), dict(enumerate(values))).verdict


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), "open (0 of 3 seeds)"),
        ((5.0,), "open (1 of 3 seeds)"),
        ((5.0, 5.0), "open (2 of 3 seeds)"),
        ((1.0, 1.0, 1.0), "reproduced"),
        ((1.0, 2.0, 3.0, 4.0), "reproduced"),
        ((0.9, 5.0, 5.0), "partly"),  # the mean holds, one seed does not
        ((0.2, 0.1, 0.3), "partly"),  # only the weaker rule holds
        ((-1.0, 0.5, 0.6), "partly"),  # mean 0.033
        ((-1.0, 0.4, 0.5), "not reproduced"),  # mean -0.033, though two seeds hold the weaker rule
        ((0.0, 0.0, 0.0), "not reproduced"),
        ((5.0, 5.0, math.nan), "not reproduced"),
    ],
)
def test_verdict_follows_the_rules(values: tuple[float, ...], expected: str) -> None:
    assert verdict(*values) == expected


def test_without_a_weaker_rule_the_mean_decides_between_partly_and_not() -> None:
    assert verdict(0.5, 1.0, 2.0, partly="") == "partly"
    assert verdict(0.5, 0.5, 0.5, partly="") == "not reproduced"


@pytest.mark.parametrize(
    ("rule", "holds", "fails"),
    [
        ("value <= 5", 5.0, 5.01),
        ("value >= 0.989", 0.989, 0.9889),
        ("value < 5", 4.99, 5.0),
        ("value > -0.5", -0.49, -0.5),
        ("value == 7", 7.0, 7.5),
    ],
)
def test_every_comparison_means_what_it_says(rule: str, holds: float, fails: float) -> None:
    assert verdict(holds, holds, holds, reproduced=rule, partly="") == "reproduced"
    assert verdict(fails, fails, fails, reproduced=rule, partly="") == "not reproduced"


def test_mean_and_standard_deviation() -> None:
    judged = Verdict(Entry("n", "c", "A", 1, "m", "value > 0", ""), {0: 1.0, 4: 2.0, 9: 6.0})
    assert judged.mean == pytest.approx(3.0) and judged.sd == pytest.approx(math.sqrt(7))
    assert math.isnan(Verdict(judged.entry, {}).mean) and math.isnan(Verdict(judged.entry, {0: 1.0}).sd)


def test_claim_that_is_not_run_says_why_and_takes_no_value(book: Path) -> None:
    entry = Entry("far", "It costs too much.", "O", 1, "error", "value <= 1", not_run="too far")
    assert Verdict(entry, {}).verdict == "not run here: too far"
    with (book / "claims.toml").open("a", encoding="utf-8") as file:
        file.write(
            '[far]\nclaim = "c"\nsources = "O"\nchapter = 1\nmetric = "m"\n'
            'reproduced = "value <= 1"\nnot_run = "too far"\n'
        )
    with pytest.raises(ValueError, match=r"'far' is marked as not run \(too far\)"):
        claim("far", 0.5)
    assert "**not run here: too far**" in claims.claims_table(chapter=1)


def test_entries_are_read_as_written(book: Path) -> None:
    found = claims.entries()
    assert list(found) == ["up", "exact"]
    assert found["up"] == Entry("up", "It goes up.", "A", 1, "points", "value >= 1", "value > 0")
    assert found["exact"].partly == ""


WRONG = [
    ('reproduced = "value == 7"', 'reproduced = "value about 7"', "'value about 7' is no rule"),
    ('reproduced = "value == 7"', 'reproduced = "value == 7.0.1"', "'value == 7.0.1' is no rule"),
    ('reproduced = "value == 7"', 'reproduced = "value > ."', "'value > .' is no rule"),
    ('reproduced = "value == 7"', 'reproduced = "7 == value"', "is no rule"),
    ('reproduced = "value == 7"', "reproduced = 7", "is no rule"),
    ('reproduced = "value == 7"', 'reproduced = "value == 7; import os"', "is no rule"),
    ('reproduced = "value == 7"', 'reproduced = ""', "is no rule"),
    ('partly = "value > 0"', 'partly = "more or less"', "'more or less' is no rule"),
    ('reproduced = "value == 7"', "", "claim 'exact': .*reproduced"),
    ('metric = "count"', 'metrics = "count"', "claim 'exact': .*metrics"),
    ('metric = "points"', 'metric = "points"\nverdict = "reproduced"', "claim 'up': .*verdict"),
]


@pytest.mark.parametrize(("line", "wrong", "message"), WRONG)
def test_broken_entry_is_named(tmp_path: Path, line: str, wrong: str, message: str) -> None:
    assert RULES.count(line) == 1
    path = tmp_path / "claims.toml"
    path.write_text(RULES.replace(line, wrong), encoding="utf-8")
    with pytest.raises(ValueError, match=f"claims.toml, .*{message}"):
        claims.entries(path)


def test_claim_prints_and_records(
    book: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim("up", 0.123_456)
    printed = capsys.readouterr().out
    assert "It goes up." in printed and "(A)" in printed and "points: 0.1235 here" in printed
    assert "reproduced where value >= 1" in printed
    assert not list((book / "results").iterdir())
    monkeypatch.setenv("COURSE_RECORD", "1")
    claim("up", 2)
    (line,) = (book / "results" / "01.jsonl").read_text(encoding="utf-8").splitlines()
    found = json.loads(line)
    assert (found["kind"], found["id"], found["value"], found["seed"]) == ("claim", "up", 2.0, 5)
    assert claims.ledger()[0].values == {5: 2.0}


def test_unknown_claim_is_refused(book: Path) -> None:
    with pytest.raises(KeyError, match=r"no claim 'down' in claims.toml; it has up, exact"):
        claim("down", 1.0)


def test_claim_of_another_chapter_is_refused(book: Path) -> None:
    with pytest.raises(ValueError, match="claim 'exact' belongs to chapter 2, this is chapter 1"):
        claim("exact", 7)


def test_ledger_takes_claims_of_the_full_profile_last_of_a_seed(book: Path) -> None:
    write(book, "up", 9.0, 9.0)
    write(book, "up", 1.0, 2.0, 3.0)
    write(book, "up", 50.0, profile="quick")
    write(book, "up", 60.0, kind="check")
    write(book, "gone", 1.0, 1.0, 1.0)
    up, exact = claims.ledger()
    assert up.values == {0: 1.0, 1: 2.0, 2: 3.0} and up.verdict == "reproduced"
    assert exact.values == {} and exact.verdict == "open (0 of 3 seeds)"
    assert [row.entry.id for row in claims.ledger(chapter=2)] == ["exact"]


def test_table_shows_every_claim_with_its_verdict(book: Path) -> None:
    write(book, "up", 1.0, 2.0, 6.0)
    lines = claims.claims_table().splitlines()
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert lines[2] == "| It goes up. | A | points | 3 ± 2.6 (3) | value >= 1 | **reproduced** | 01 |"
    assert lines[3] == "| It is seven. | L, Z | count | — | value == 7 | **open (0 of 3 seeds)** | 02 |"
    assert len(claims.claims_table(chapter=2).splitlines()) == 3


def test_table_shows_no_nan_for_a_single_seed(book: Path) -> None:
    write(book, "up", 1.5)
    row = claims.claims_table(chapter=1).splitlines()[2]
    assert "1.5" in row and "open (1 of 3 seeds)" in row
    assert "nan" not in row


SUMMARIES = """
[01]
sources = "It is said to go up."
found = '''
It went up by {up.mean:.1f} ± {up.sd:.1f}
points.

It may go further.
'''
written_for.reproduced = ["up"]
"""


def summarise(book: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put these summaries in place of the course's own."""
    (book / "findings.toml").write_text(text, encoding="utf-8")
    read = claims.findings
    monkeypatch.setattr(claims, "findings", lambda: read(book / "findings.toml"))


def test_page_has_counts_summary_and_table_of_each_chapter(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summarise(book, SUMMARIES, monkeypatch)
    monkeypatch.setattr(claims, "CHAPTERS", book)
    first = {"cell_type": "markdown", "source": ["# 01 The first\n", "\n", "More."]}
    (book / "01_first.ipynb").write_text(json.dumps({"cells": [first]}), encoding="utf-8")
    write(book, "up", 1.0, 2.0, 6.0)
    blocks = claims.page().strip().split("\n\n")
    assert blocks[0].startswith("# ") and blocks[1] == "**2 claims: 1 reproduced, 1 open.**"
    start = blocks.index("## 01 The first")
    assert blocks[start - 1] == (
        "| chapter | reproduced | open |\n| --- | --- | --- |\n| 01 The first | 1 | 0 |\n| 02 | 0 | 1 |"
    )
    head = "| | claim | source | mean ± sd (seeds) | verdict |\n| --- | --- | --- | --- | --- |\n"
    assert blocks[start + 1 :] == [
        "1 claim: 1 reproduced. [Read the chapter.](../notebooks/01_first.ipynb)",
        "**What the sources say.** It is said to go up.",
        "**What we found.** It went up by 3.0 ± 2.6 points.",
        "It may go further.",
        head + "| 1 | It goes up. | A | 3 ± 2.6 (3) | **reproduced** |",
        "How each was measured:",
        "1. points; reproduced where value >= 1",
        "## 02",  # neither notebook nor summary yet
        "1 claim: 1 open.",
        head + "| 1 | It is seven. | L, Z | — | **open (0 of 3 seeds)** |",
        "How each was measured:",
        "1. count; reproduced where value == 7",
    ]


def test_terminal_shows_claims_with_the_verdict_in_the_margin(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summarise(book, SUMMARIES, monkeypatch)
    monkeypatch.setattr(claims, "CHAPTERS", book)
    write(book, "up", 1.0, 2.0, 6.0)
    printed = claims.listing(width=44)
    assert printed.splitlines()[:7] == [
        "2 claims: 1 reproduced, 1 open.",
        "",
        "01",
        "==",
        "1 claim: 1 reproduced.",
        "",
        "reproduced      It goes up. (A)",
    ]
    margin = " " * len("not reproduced  ")
    assert f"(A)\n{margin}3 ± 2.6 over 3 seeds,\n{margin}reproduced where value >= 1:\n{margin}points\n" in printed
    assert "open            It is seven. (L, Z)" in printed and "went up" not in printed
    alone = claims.listing(1, width=44)
    assert "seven" not in alone and "What we found. It went up by 3.0 ± 2.6" in alone


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (SUMMARIES.replace("{up.mean", "{exact.mean"), r"chapter 01: the chapter has no claim 'exact'"),
        (SUMMARIES.replace("sources", "source"), r"findings.toml, chapter '01': .*source"),
        (SUMMARIES.replace("[01]", "[first]"), r"findings.toml, chapter 'first'"),
    ],
)
def test_broken_summary_is_named(book: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, message: str) -> None:
    summarise(book, wrong, monkeypatch)
    with pytest.raises(ValueError, match=message):
        claims.summary(1)


# The course's own ledger, worked out again from the lines of data/results.

DATA = settings.REPOSITORY / "data"


def recomputed() -> dict[str, dict[int, float]]:
    """Return claim → seed → value of the full profile on the full data, the last one recorded."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted((DATA / "results").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            one: dict[str, Any] = json.loads(line)
            if (one["kind"], one["profile"], one["data"]) == ("claim", "full", "full"):
                found.setdefault(one["id"], {})[one["seed"]] = one["value"]
    return found


OURS = tomllib.loads((DATA / "claims.toml").read_text(encoding="utf-8"))
# Claims are written down before their chapter is: until there is a notebook that measures them, they are open.
WRITTEN = {int(path.name[:2]) for path in (settings.REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb")}
MEASURED = [name for name, entry in OURS.items() if entry["chapter"] in WRITTEN and "not_run" not in entry]


@pytest.mark.parametrize("name", MEASURED)
def test_every_claim_has_three_seeds_in_the_full_profile_on_the_full_data(name: str) -> None:
    assert len(recomputed().get(name, {})) >= 3


def test_no_verdict_rests_on_a_sample() -> None:
    assert {row.entry.id: row.values for row in claims.ledger() if row.values} == recomputed()


def test_nothing_is_recorded_that_the_ledger_does_not_have() -> None:
    assert set(recomputed()) <= set(OURS)


def test_page_of_claims_is_what_the_records_say() -> None:
    assert (DATA / "CLAIMS.md").read_text(encoding="utf-8") == claims.page()


@pytest.mark.parametrize("name", MEASURED)
def test_written_verdict_follows_from_the_records(name: str) -> None:
    entry, values = OURS[name], np.array(list(recomputed()[name].values()))
    compare = {"<=": np.less_equal, ">=": np.greater_equal, "<": np.less, ">": np.greater, "==": np.equal}

    def holds(rule: str, against: Any) -> bool:
        _, sign, limit = rule.split()
        return bool(compare[sign](against, float(limit)).all())

    mean, weaker = values.mean(), entry.get("partly", entry["reproduced"])
    expected = "reproduced" if holds(entry["reproduced"], values) else "not reproduced"
    if expected == "not reproduced" and (holds(entry["reproduced"], mean) or holds(weaker, mean)):
        expected = "partly"
    rows = [line for line in section(entry["chapter"]).splitlines() if f" | {entry['claim']} | " in line]
    (cells,) = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows]
    _, _, sources, number, written = cells
    assert (sources, written) == (entry["sources"], f"**{expected}**")
    shown = re.fullmatch(r"(\S+) ± (\S+) \((\d+)\)", number)
    assert shown and int(shown[3]) == len(values)
    assert float(shown[1]) == pytest.approx(mean, rel=5.1e-4, abs=1e-12)
    assert float(shown[2]) == pytest.approx(values.std(ddof=1), rel=0.051, abs=1e-12)


def section(chapter: int) -> str:
    """Return a chapter's part of the page."""
    page = (DATA / "CLAIMS.md").read_text(encoding="utf-8")
    (found,) = [part for part in re.split(r"(?m)^## ", page) if part.startswith(f"{chapter:02d}")]
    return found


@pytest.mark.parametrize("name", OURS)
def test_every_claim_stands_under_its_chapter_and_nowhere_else(name: str) -> None:
    row, page = f" | {OURS[name]['claim']} | ", (DATA / "CLAIMS.md").read_text(encoding="utf-8")
    assert page.count(row) == 1 and row in section(OURS[name]["chapter"])


def test_page_counts_the_verdicts() -> None:
    page = (DATA / "CLAIMS.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| \d+ \| .* \| \*\*([^:*]+).*\*\* \|$", page)
    assert len(rows) == len(OURS)
    written = re.search(r"\*\*(\d+) claims: (.*)\.\*\*", page)
    assert written and int(written[1]) == len(OURS)
    counts = {kind: int(number) for number, kind in (part.split(" ", 1) for part in written[2].split(", "))}
    assert counts == {kind: rows.count(kind) for kind in sorted(set(rows), key=list(counts).index)}


@pytest.mark.parametrize("chapter", sorted({OURS[name]["chapter"] for name in OURS} & WRITTEN))
def test_summary_of_a_chapter_was_written_for_these_verdicts(chapter: int) -> None:
    summary = claims.findings().get(chapter)
    assert summary, f"data/findings.toml has no summary of chapter {chapter:02d}"
    written = {name: kind for kind, names in summary.written_for.items() for name in names}
    assert sum(map(len, summary.written_for.values())) == len(written), "a claim is listed twice"
    assert written == {row.entry.id: row.kind for row in claims.ledger(chapter=chapter)}
    said, found = claims.summary(chapter) or ("", "")
    assert len(said.split()) > 20 and len(found.split()) > 40 and "nan" not in found
    section_text = " ".join(section(chapter).split())
    assert " ".join(said.split()) in section_text and " ".join(found.split()) in section_text


def test_no_measured_number_is_typed_into_a_summary() -> None:
    """What may stand there: sizes, settings of an experiment, years, names. Another such number is added here."""
    allowed = r"\d+ × \d+|100 images|1000 to 1|2004|2012|2/255|top-[15]|F1|8-bit|(?:LeNet-|VGG|ResNet)\d+"
    for chapter, summary in claims.findings().items():
        words = re.sub(r"\{[^}]*\}", "", summary.found)
        assert not re.findall(r"\S*\d\S*", re.sub(allowed, "", words)), chapter
