"""What the sheets say to mistakes: a test finds every wrong answer, its message helps, and the page shows them all."""

from __future__ import annotations

import re
from functools import cache

import assignments
import mistakes
import pytest
from mistakes import MEMORISED, SHEETS, Verdict

HIDDEN = re.compile(r"### BEGIN HIDDEN TESTS\n(.*?)### END HIDDEN TESTS", flags=re.DOTALL)
IMPORTS = "import math"  # what some answers need of the cells before them
FEWEST_WORDS = 10

verdicts = cache(mistakes.verdicts)


def helps(error: Exception | None) -> bool:
    """Return whether an error comes from a test and tells in words what is wrong."""
    return isinstance(error, AssertionError) and len(re.findall(r"[^\W\d_]{2,}", str(error))) >= FEWEST_WORDS


def labelled(verdict: Verdict) -> str:
    """Return a wrong answer and what was said to it, for the message of a test."""
    return f"{verdict.cell}, {verdict.mistake}: {verdict.error!r}"


@pytest.mark.parametrize("sheet", SHEETS)
def test_every_mistake_gets_a_message_that_helps(sheet: str) -> None:
    for verdict in verdicts(sheet):
        if verdict.mistake != MEMORISED:
            assert helps(verdict.error), f"this message does not help: {labelled(verdict)}"


@pytest.mark.parametrize("sheet", SHEETS)
def test_learners_meet_at_least_three_mistakes_of_each_cell_before_they_hand_in(sheet: str) -> None:
    found = [verdict.cell for verdict in verdicts(sheet) if verdict.found_by == "visible"]
    for cell in mistakes.wrong_answers(sheet):
        assert found.count(cell) >= 3, f"the visible tests of {cell} find only {found.count(cell)} of the mistakes"


@pytest.mark.parametrize("sheet", SHEETS)
def test_memorised_answers_pass_the_visible_tests_and_no_other(sheet: str) -> None:
    for verdict in verdicts(sheet):
        assert verdict.error, f"no test finds this: {labelled(verdict)}"
        if verdict.mistake == MEMORISED:
            assert verdict.found_by == "hidden", f"the visible tests find this: {labelled(verdict)}"


@pytest.mark.parametrize("sheet", SHEETS)
def test_hidden_tests_alone_help_too(sheet: str) -> None:
    cells = {cell.id: cell.source for cell in assignments.source_notebook(assignments.SOURCES / f"{sheet}.py").cells}
    for cell, answers in mistakes.wrong_answers(sheet).items():
        tests = cells[f"{cell}-tests"]
        (hidden,) = HIDDEN.findall(tests)
        for answer in answers:
            # The right answer passes the visible tests, and leaves what the hidden ones call.
            error = mistakes.error_of(IMPORTS, cells[cell], HIDDEN.sub("", tests), answer["code"], hidden)
            if isinstance(error, AssertionError):
                assert helps(error), f"{cell}, {answer['mistake']}: hidden tests say {error!r}"


def test_page_is_what_the_sheets_say() -> None:
    assert mistakes.PAGE.read_text(encoding="utf-8") == mistakes.whole_page(), (
        f"{mistakes.PAGE.name} is not what the sheets say: run python notebooks/mistakes.py --write"
    )


def test_page_lists_every_mistake_of_every_question() -> None:
    page = mistakes.PAGE.read_text(encoding="utf-8")
    listed = [
        line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| mistake", "| ---"))
    ]
    expected = [one for sheet in SHEETS for one in verdicts(sheet) if one.mistake != MEMORISED]
    assert len(listed) == len(expected) > 500
    assert page.count("### Question") == sum(len({one.question for one in verdicts(sheet)}) for sheet in SHEETS)


def test_an_answer_that_no_test_finds_is_not_taken_for_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = {"q1-output-size": [{"mistake": "none", "code": "def conv_output(size, kernel, stride=1, padding=0): ..."}]}
    monkeypatch.setattr(mistakes, "wrong_answers", lambda sheet: right)
    (verdict,) = mistakes.verdicts("01_lenet")
    assert verdict.found_by == "visible"
    solution = next(
        cell.source
        for cell in assignments.source_notebook(assignments.SOURCES / "01_lenet.py").cells
        if cell.id == "q1-output-size"
    )
    right["q1-output-size"][0]["code"] = solution
    (verdict,) = mistakes.verdicts("01_lenet")
    assert verdict.found_by is None and verdict.error is None
