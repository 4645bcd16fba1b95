"""The page of feedback: what ``nbgrader_config.py`` adds to nbgrader's own, so that it can be read from the top.

nbgrader's page lists "Test cell" so many times, names nobody, and has each message below the code of its test. This
step puts a table before everything else: whose work it is, the points of each question, and what each test said.
"""

from __future__ import annotations

import html
import re
from datetime import datetime
from typing import Any

from nbformat import v4
from nbformat.notebooknode import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

MOST = 1_000  # characters of a message
NO_COMMENT = "No response."  # what nbgrader puts where an answer was left untouched
STYLE = """
pre { white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere; }
#toc, .anchor-link { display: none; }
summary { display: list-item; }
table { margin-bottom: 1em; }
td, th { padding: 0.2em 1.2em 0.2em 0; text-align: left; vertical-align: top; }
td.points, td:first-child { white-space: nowrap; }
td pre { margin: 0; padding: 0; border: none; background: none; }
"""


class FeedbackPage(NbGraderPreprocessor):
    """nbgrader's step that begins a page of feedback with marks and messages; it runs when nbgrader has set the marks.

    What a learner wrote or printed is shown as text.
    """

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Put the table before the first cell and a name into the title, and add rules to the style sheets."""
        about = resources["nbgrader"]
        resources["inlining"]["css"].append(STYLE)
        about["notebook"] = html.escape(f"{about['assignment']}, {about['student']}")
        rows = []
        for question, cells in _questions(nb):
            tests = [cell.metadata.nbgrader for cell in cells if cell.metadata.nbgrader.get("grade")]
            if question and tests:
                score, most = (sum(test.get(key) or 0 for test in tests) for key in ("score", "points"))
                rows.append(f'<tr><th colspan="3">{html.escape(question)} ({_points(score, most)})</th></tr>')
            rows += map(_row, cells)
        if about["late_penalty"]:
            rows.append(f'<tr><td>handed in late</td><td class="points">−{about["late_penalty"]:g}</td></tr>')
        score = _points(about["score"], about["max_score"])
        whose = f"{html.escape(about['student'])}: {score}, graded on {datetime.now():%Y-%m-%d at %H:%M}"
        nb.cells.insert(0, v4.new_markdown_cell(f"<h4>{whose}</h4>\n<table>{''.join(rows)}</table>"))
        return nb, resources


def _questions(nb: NotebookNode) -> list[tuple[str, list[NotebookNode]]]:
    """Return the cells that have marks or a comment, by the heading under which they stand."""
    questions: list[tuple[str, list[NotebookNode]]] = [("", [])]
    for cell in nb.cells:
        if cell.cell_type == "markdown" and (heading := re.search(r"^## (Question .+)$", cell.source, re.MULTILINE)):
            questions.append((heading[1], []))
        details = cell.metadata.get("nbgrader", {})
        if details.get("grade") or details.get("comment", NO_COMMENT) not in (NO_COMMENT, None):
            questions[-1][1].append(cell)
    return questions


def _row(cell: NotebookNode) -> str:
    """Return the row of a test, or of an answer on which a teacher has commented, with a link to it."""
    details = cell.metadata.nbgrader
    name = html.escape(details["grade_id"])
    if not details.get("grade"):
        return f'<tr><td><a href="#comment-{name}">a comment on {name}</a></td><td></td></tr>'
    points = _points(details.get("score") or 0, details.get("points") or 0)
    said = html.escape(_said(cell)).replace("\n", "&#10;")  # an empty line would end the table
    link = f'<a href="#{name}">{name.removesuffix("-tests")}</a>'
    return f'<tr><td>{link}</td><td class="points">{points}</td><td><pre>{said}</pre></td></tr>'


def _said(cell: NotebookNode) -> str:
    """Return the message of the error that a cell ended in, without its traceback; nothing where it ended in none."""
    errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
    if not errors:
        return ""
    name, message = errors[-1].ename, errors[-1].evalue.strip()
    if name == "NotImplementedError" and not message:
        return "Nothing was written here."
    text = message if name == "AssertionError" and message else f"{name}: {message}"
    if name == "NameError":
        text += ". Perhaps the answer itself ended in an error: look there first."
    return text if len(text) <= MOST else f"{text[:MOST]} …"


def _points(score: float, most: float) -> str:
    return f"{score:g} of {most:g}"
