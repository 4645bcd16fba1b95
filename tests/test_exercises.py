"""The exercise sheets and their grader: nbgrader itself grades right, wrong, memorised and hostile submissions."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat.notebooknode import NotebookNode

REPOSITORY = Path(__file__).resolve().parent.parent
WRONG_ANSWERS = Path(__file__).resolve().parent / "wrong_answers"
SHEETS = sorted(path.stem for path in (REPOSITORY / "notebooks" / "src" / "exercises").glob("*.py"))
HOSTILE_TIMEOUT = 10

Answers = dict[str, list[dict[str, str]]]


def load_tool() -> ModuleType:
    """Return notebooks/assignments.py as a module; the folder of the notebooks is no package."""
    specification = importlib.util.spec_from_file_location("assignments", REPOSITORY / "notebooks" / "assignments.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


tool = load_tool()


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
    """Marks of every submission: sheet, student, test cell."""

    folder: Path
    marks: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    released: dict[str, str] = field(default_factory=dict)


def submissions(sheet: str) -> dict[str, NotebookNode]:
    """Return what the students hand in, by their names."""
    wrong = wrong_answers(sheet)
    rounds = itertools.zip_longest(*([(cell, answer["code"]) for answer in wrong[cell]] for cell in wrong))
    handed_in = {
        f"wrong-{number}": answered(sheet, dict(entry for entry in entries if entry))
        for number, entries in enumerate(rounds)
    }
    handed_in["solution"] = source(sheet)
    handed_in["untouched"] = release(sheet)
    return handed_in


def hostile_sheet() -> NotebookNode:
    """Return a submission that breaks what it can: its own marks must suffer, and nothing else."""
    notebook = answered(
        "01_lenet",
        {
            "q1-output-size": "while True:\n    pass",
            "q1-parameters": "import numpy\nhoard = numpy.zeros(9 << 30, 'uint8')",
            "q2-convolve": "import sys\nsys.exit(0)",
            "q3-subsample": "for _ in range(20000):\n    print('flood')",
        },
    )
    cells = {cell.id: cell for cell in notebook.cells}
    cells["q1-parameters-tests"].source = "pass"
    cells["q4-count-tests"].source = "pass"
    cells["q4-count"].source = "def sparse_parameters(table, kernel):\n    return 0"
    notebook.cells.remove(cells["q4-table-tests"])
    again = nbformat.from_dict(json.loads(json.dumps(cells["q5-shift-tests"])))
    again.id, again.source = "again", "pass"
    notebook.cells.append(again)
    return notebook


@pytest.fixture(scope="module")
def grades(tmp_path_factory: pytest.TempPathFactory) -> Grades:
    """Build the course once, hand everything in, and let nbgrader grade it."""
    from nbgrader.api import Gradebook

    result = Grades(tmp_path_factory.mktemp("course"))
    assert tool.build_course(result.folder) == SHEETS
    for sheet in SHEETS:
        result.released[sheet] = (result.folder / "release" / sheet / f"{sheet}.ipynb").read_text(encoding="utf-8")
        handed_in = submissions(sheet)
        if sheet == "01_lenet":
            handed_in["hostile"] = hostile_sheet()
        for student, notebook in handed_in.items():
            path = result.folder / "submitted" / student / sheet / f"{sheet}.ipynb"
            path.parent.mkdir(parents=True)
            path.write_text(nbformat.writes(notebook), encoding="utf-8")
        timeout = f"--ExecutePreprocessor.timeout={HOSTILE_TIMEOUT}"
        quick = [student for student in handed_in if student not in ("solution", "untouched")]
        # The endless loop meets a short time limit; the full notebooks load TensorFlow and get the course's own limit.
        for students, options in ((quick, [timeout]), (["solution", "untouched"], [])):
            others = f"--CourseDirectory.student_id_exclude={','.join(sorted(set(handed_in) - set(students)))}"
            done = tool.run_nbgrader(result.folder, "autograde", sheet, others, *options)
            assert done.returncode == 0, done.stderr[-3000:]
        with Gradebook(f"sqlite:///{result.folder / 'gradebook.db'}") as book:
            for submission in book.assignment_submissions(sheet):
                result.marks[sheet, submission.student.id] = {
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
def test_solution_gets_full_marks(sheet: str, grades: Grades) -> None:
    assert grades.marks[sheet, "solution"] == points(sheet)


@pytest.mark.parametrize("sheet", SHEETS)
def test_untouched_sheet_gets_no_marks(sheet: str, grades: Grades) -> None:
    assert grades.marks[sheet, "untouched"] == dict.fromkeys(points(sheet), 0)


@pytest.mark.parametrize("sheet", SHEETS)
def test_every_wrong_answer_is_caught(sheet: str, grades: Grades) -> None:
    wrong = wrong_answers(sheet)
    for number in range(max(len(answers) for answers in wrong.values())):
        marks = grades.marks[sheet, f"wrong-{number}"]
        for cell, answers in wrong.items():
            if number < len(answers):
                assert marks[f"{cell}-tests"] == 0, f"{cell}: {answers[number]['mistake']} was not caught"
            else:
                assert marks[f"{cell}-tests"] == points(sheet)[f"{cell}-tests"], f"{cell}: a right answer lost marks"


def test_hostile_submission_costs_only_its_own_marks(grades: Grades) -> None:
    expected = points("01_lenet")
    # The endless loop, the hoarded memory, the exit, the flood, a wrong answer with edited tests and an answer without
    # tests get nothing. The answer whose tests were doubled keeps its marks: the edited copy does not count.
    for lost in ("q1-output-size", "q1-parameters", "q2-convolve", "q3-subsample", "q4-count", "q4-table"):
        expected[f"{lost}-tests"] = 0
    assert grades.marks["01_lenet", "hostile"] == expected


def test_limits_of_the_course_take_hold(grades: Grades) -> None:
    graded = grades.folder / "autograded" / "hostile" / "01_lenet" / "01_lenet.ipynb"
    cells = {cell.id: cell for cell in nbformat.read(graded, as_version=4).cells}
    assert "CellTimeoutError" in [output.get("ename") for output in cells["q1-output-size"].outputs]
    assert sum(output.text.count("\n") for output in cells["q3-subsample"].outputs) <= 200
    if sys.platform == "linux":
        assert [output.ename for output in cells["q1-parameters"].outputs] == ["MemoryError"]


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
