"""The exercise sheets: what they release, what their tests catch, and that nbgrader gives the solutions all marks."""

from __future__ import annotations

import functools
import importlib
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest
from nbformat.notebooknode import NotebookNode

REPOSITORY = Path(__file__).resolve().parent.parent
WRONG_ANSWERS = Path(__file__).resolve().parent / "wrong_answers"
SHEETS = sorted(path.stem for path in (REPOSITORY / "notebooks" / "src" / "exercises").glob("*.py"))

Answers = dict[str, list[dict[str, str]]]


# The programs that build and grade a course lie beside the notebooks and are no package.
sys.path.append(str(REPOSITORY / "notebooks"))
tool = importlib.import_module("assignments")
NO_WALLS = importlib.import_module("grading_walls").why_no_walls()


def source(sheet: str) -> NotebookNode:
    """Return the notebook of a sheet with its solutions and hidden tests."""
    return tool.source_notebook(tool.SOURCES / f"{sheet}.py")


def release(sheet: str) -> NotebookNode:
    """Return the learner's version of a sheet."""
    return tool.release_notebook(tool.SOURCES / f"{sheet}.py")


def wrong_answers(sheet: str) -> Answers:
    """Return the wrong answers of a sheet by the grade_id of the cell that they replace."""
    return tomllib.loads((WRONG_ANSWERS / f"{sheet}.toml").read_text(encoding="utf-8"))


def points(sheet: str) -> dict[str, float]:
    """Return the points of each test cell of a sheet."""
    return {cell.id: cell.metadata.nbgrader.points for cell in source(sheet).cells if is_test(cell)}


def is_test(cell: NotebookNode) -> bool:
    """Return whether the cell holds graded tests."""
    return bool(cell.metadata.get("nbgrader", {}).get("grade"))


def answered(sheet: str, answers: dict[str, str]) -> NotebookNode:
    """Return a learner's sheet with solutions filled in, and the given cells instead where there are any.

    Cells that take long and bear no marks are left out, so that a kernel starts without TensorFlow.
    """
    notebook, solved = release(sheet), {cell.id: cell.source for cell in source(sheet).cells}
    notebook.cells = [
        cell
        for cell in notebook.cells
        if "nbgrader" in cell.metadata or (cell.cell_type == "code" and "course_lib" not in cell.source)
    ]
    for cell in notebook.cells:
        if not is_test(cell):
            cell.source = answers.get(cell.id, solved[cell.id])
    return notebook


def regions(text: str, name: str) -> list[str]:
    """Return the telling lines between the markers of solutions or of hidden tests: those of some length."""
    found = re.findall(rf"### BEGIN {name}\n(.*?)\n *### END {name}", text, flags=re.DOTALL)
    return [line.strip() for region in found for line in region.splitlines() if len(line.strip()) > 20]


@dataclass
class Grades:
    """What nbgrader released, and the marks that it gives the solutions: sheet, test cell."""

    folder: Path
    marks: dict[str, dict[str, float]] = field(default_factory=dict)
    released: dict[str, str] = field(default_factory=dict)


@functools.cache
def imports(sheet: str) -> dict[str, object]:
    """Return what the cells of a sheet that only import things, the course's library apart, leave to the answers."""
    names: dict[str, object] = {}
    for cell in release(sheet).cells:
        if "nbgrader" not in cell.metadata and re.fullmatch(r"((import|from) (?!course_lib).*|\s)+", cell.source):
            exec(cell.source, names)
    return names


def passes(sheet: str, answer: str, tests: str) -> bool:
    """Return whether an answer passes tests, run as a kernel does but without one, which is a hundred times as fast."""
    try:
        exec(f"{answer}\n{tests}", dict(imports(sheet)))
    except Exception:
        return False
    return True


@pytest.fixture(scope="module")
def grades(tmp_path_factory: pytest.TempPathFactory) -> Grades:
    """Build the course, hand in every solution as it stands, and grade it: with walls where there can be walls."""
    from nbgrader.api import Gradebook

    result = Grades(tmp_path_factory.mktemp("course"))
    assert tool.build_course(result.folder) == SHEETS
    for sheet in SHEETS:
        result.released[sheet] = (result.folder / "release" / sheet / f"{sheet}.ipynb").read_text(encoding="utf-8")
        path = result.folder / "submitted" / "solution" / sheet / f"{sheet}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(nbformat.writes(source(sheet)), encoding="utf-8")
    command = [sys.executable, str(tool.HERE / "grading.py"), str(result.folder)]
    done = subprocess.run(command + ["--no-walls"] * (NO_WALLS is not None), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with Gradebook(f"sqlite:///{result.folder / 'gradebook.db'}") as book:
        for sheet in SHEETS:
            submission = book.find_submission(sheet, "solution")
            result.marks[sheet] = {
                grade.name: grade.score for notebook in submission.notebooks for grade in notebook.grades
            }
    return result


def test_committed_sheets_are_what_their_sources_build() -> None:
    for path, text in tool.sheets().items():
        assert path.exists() and path.read_text(encoding="utf-8") == text, (
            f"{path.name} is not what its source builds: run python notebooks/assignments.py --sheets"
        )


def test_the_same_source_gives_the_same_bytes() -> None:
    assert tool.sheets() == tool.sheets()


@pytest.mark.parametrize("sheet", SHEETS)
def test_cell_ids_are_unique_and_name_the_graded_cells(sheet: str) -> None:
    cells = source(sheet).cells
    assert len({cell.id for cell in cells}) == len(cells)
    assert all(cell.id == cell.metadata.nbgrader.grade_id for cell in cells if "nbgrader" in cell.metadata)
    assert [cell.id for cell in release(sheet).cells] == [cell.id for cell in cells]


@pytest.mark.parametrize("sheet", SHEETS)
def test_learners_sheet_holds_no_solution_and_no_hidden_test(sheet: str) -> None:
    shown = tool.as_text(release(sheet))
    assert "BEGIN" not in shown and "raise NotImplementedError()" in shown
    visible = {line.strip() for cell in release(sheet).cells for line in cell.source.splitlines()}
    full = "\n".join(cell.source for cell in source(sheet).cells)
    hidden = regions(full, "SOLUTION") + regions(full, "HIDDEN TESTS")
    assert len(hidden) > 20
    assert not [line for line in hidden if line in visible]


@pytest.mark.parametrize("sheet", SHEETS)
def test_every_question_has_hints_and_at_least_three_wrong_answers(sheet: str) -> None:
    text = "\n".join(cell.source for cell in source(sheet).cells)
    assert 4 <= len(re.findall(r"^## Question", text, flags=re.MULTILINE)) <= 6
    for question in text.split("## Question")[1:]:
        assert 2 <= question.count("<details>") == question.count("</details>")
    wrong = wrong_answers(sheet)
    assert {f"{cell}-tests" for cell in wrong} == set(points(sheet))
    for cell, answers in wrong.items():
        mistakes = [answer["mistake"] for answer in answers]
        assert mistakes.count("memorised") == 1, f"{cell} needs one memorised answer"
        assert len(set(mistakes)) == len(mistakes) >= 4, f"{cell} needs three wrong answers besides the memorised one"


@pytest.mark.parametrize("sheet", SHEETS)
def test_nbgrader_releases_the_committed_sheet(sheet: str, grades: Grades) -> None:
    assert grades.released[sheet] == (tool.SHEETS / f"{sheet}.ipynb").read_text(encoding="utf-8")


@pytest.mark.parametrize("sheet", SHEETS)
def test_solution_gets_full_marks_and_runs_without_an_error(sheet: str, grades: Grades) -> None:
    assert grades.marks[sheet] == points(sheet)
    graded = nbformat.read(grades.folder / "autograded" / "solution" / sheet / f"{sheet}.ipynb", as_version=4)
    outputs = [output for cell in graded.cells for output in cell.get("outputs", [])]
    assert [output.evalue for output in outputs if output.output_type == "error"] == []


@pytest.mark.parametrize("sheet", SHEETS)
def test_untouched_answers_pass_no_tests(sheet: str) -> None:
    tests = {cell.id: cell.source for cell in source(sheet).cells if is_test(cell)}
    for cell in release(sheet).cells:
        if f"{cell.id}-tests" in tests:
            assert not passes(sheet, cell.source, tests[f"{cell.id}-tests"])


@pytest.mark.parametrize("sheet", SHEETS)
def test_every_wrong_answer_is_caught_and_the_right_one_is_not(sheet: str) -> None:
    cells = {cell.id: cell.source for cell in source(sheet).cells}
    for cell, answers in wrong_answers(sheet).items():
        assert passes(sheet, cells[cell], cells[f"{cell}-tests"]), f"{cell}: the solution lost marks"
        for answer in answers:
            caught = not passes(sheet, answer["code"], cells[f"{cell}-tests"])
            assert caught, f"{cell}: {answer['mistake']} was not caught"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ('{"solution": true}', "grade_id"),
        ('{"grade_id": "q1"}', "points"),
        ('{"grade_id": "q1", "solution": true, "points": 2}', "points"),
        ('{"grade_id": "q1", "grade": true}', "grade_id"),
    ],
)
def test_headers_that_nbgrader_would_misread_are_refused(header: str, message: str, tmp_path: Path) -> None:
    kernel = "# ---\n# jupyter:\n#   kernelspec:\n#     display_name: Python 3\n#     name: python3\n# ---\n\n"
    sheet = tmp_path / "sheet.py"
    sheet.write_text(f"{kernel}# %% nbgrader={header}\nprint(1)\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        tool.source_notebook(sheet)


def test_two_cells_with_one_grade_id_are_refused(tmp_path: Path) -> None:
    kernel = "# ---\n# jupyter:\n#   kernelspec:\n#     display_name: Python 3\n#     name: python3\n# ---\n\n"
    cell = '# %% nbgrader={"grade_id": "q1", "solution": true}\nprint(1)\n\n'
    sheet = tmp_path / "sheet.py"
    sheet.write_text(kernel + cell + cell, encoding="utf-8")
    with pytest.raises(ValueError, match="unique"):
        tool.source_notebook(sheet)
