"""What the exercise sheets say to common mistakes: the wrong answers in ``tests/wrong_answers``, run against the tests.

``python notebooks/mistakes.py 04_heartbeats`` prints them for one sheet; without a name, for all.
``python notebooks/mistakes.py --write`` writes ``docs/wrong_answers.md`` again, the table of all sheets.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import assignments
import numpy as np

WRONG_ANSWERS = assignments.HERE.parent / "tests" / "wrong_answers"
PAGE = assignments.HERE.parent / "docs" / "wrong_answers.md"
SHEETS = sorted(path.stem for path in assignments.SOURCES.glob("*.py"))
MEMORISED = "memorised"  # the answer that knows the visible tests by heart

HEAD = """# Wrong answers, and what the sheets say to them

For every question: mistakes that learners make, and the message that each of them gets. The messages come from running
the wrong answers in `tests/wrong_answers` against the tests of the sheets. A message marked *hidden* comes from a test
that learners see only in their feedback. For every question there is one more wrong answer, which knows the visible
tests by heart; only hidden tests catch it, and it is not listed here.

Written by `python notebooks/mistakes.py --write`; do not edit. A test holds it to what the sheets say.
"""


@dataclass(frozen=True)
class Verdict:
    """What becomes of a wrong answer: found by a ``visible`` or a ``hidden`` test, with an error; None if by none."""

    question: str
    cell: str
    mistake: str
    found_by: str | None
    error: Exception | None


def wrong_answers(sheet: str) -> dict[str, list[dict[str, str]]]:
    """Return the wrong answers of a sheet, each with ``mistake`` and ``code``, by the grade_id of the answer cell."""
    return tomllib.loads((WRONG_ANSWERS / f"{sheet}.toml").read_text(encoding="utf-8"))


def error_of(*cells: str) -> Exception | None:
    """Run cells one after another, as a kernel does after ``import numpy as np``; return the error that ends them."""
    namespace = {"np": np}
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            for cell in cells:
                exec(cell, namespace)
    except Exception as error:
        return error
    return None


def verdicts(sheet: str) -> list[Verdict]:
    """Return what becomes of each wrong answer of a sheet."""
    source = assignments.SOURCES / f"{sheet}.py"
    visible = {cell.id: cell.source for cell in assignments.release_notebook(source).cells}
    full = {cell.id: cell.source for cell in assignments.source_notebook(source).cells}
    questions, question = {}, ""
    for cell, text in full.items():
        if heading := re.search(r"^## (Question .*)$", text, flags=re.MULTILINE):
            question = heading[1]
        questions[cell] = question
    found = []
    for cell, answers in wrong_answers(sheet).items():
        for answer in answers:
            error, found_by = error_of(answer["code"], visible[f"{cell}-tests"]), "visible"
            if error is None:
                error, found_by = error_of(answer["code"], full[f"{cell}-tests"]), "hidden"
            found.append(Verdict(questions[cell], cell, answer["mistake"], found_by if error else None, error))
    return found


def page(sheets: Iterable[str]) -> str:
    """Return the wrong answers of some sheets as a page in Markdown: for each question a table."""
    lines = []
    for sheet in sheets:
        heading = assignments.source_notebook(assignments.SOURCES / f"{sheet}.py").cells[0].source.splitlines()[0]
        lines += ["", f"#{heading}"]
        question = cell = None
        for verdict in verdicts(sheet):
            if verdict.mistake == MEMORISED:
                continue
            if verdict.question != question:
                question = verdict.question
                lines += ["", f"### {question}"]
            if verdict.cell != cell:
                cell = verdict.cell
                lines += ["", f"| mistake in `{cell}` | message |", "| --- | --- |"]
            mark = "*hidden:* " if verdict.found_by == "hidden" else ""
            lines.append(f"| {_in_table(verdict.mistake)} | {mark}{_in_table(str(verdict.error))} |")
    return "\n".join(lines).lstrip("\n") + "\n"


def whole_page() -> str:
    """Return the text of ``docs/wrong_answers.md``: what it is, then all sheets."""
    return f"{HEAD}\n{page(SHEETS)}"


def _in_table(text: str) -> str:
    """Return a text on one line, with its long decimals shortened and what Markdown would take for markup escaped."""
    text = re.sub(r"\d+\.\d{7,}(e[-+]?\d+)?", lambda number: f"{float(number[0]):.6g}", " ".join(text.split()))
    return re.sub(r"([|*<\\])", r"\\\1", text)


def main() -> None:
    """Read the command line and do what it asks."""
    parser = argparse.ArgumentParser(description="Show what the exercise sheets say to common mistakes.")
    parser.add_argument("sheets", nargs="*", help="names of sheets, say 04_heartbeats; all of them without")
    parser.add_argument("--write", action="store_true", help="write docs/wrong_answers.md, with all sheets")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.sheets) - set(SHEETS)):
        parser.error(f"there is no sheet {unknown[0]!r}; the sheets are {', '.join(SHEETS)}")
    if arguments.write:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(whole_page(), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(assignments.HERE.parent)}")
    else:
        sys.stdout.write(page(arguments.sheets or SHEETS))


if __name__ == "__main__":
    main()
