"""A class from release to exported marks: right, partly right, blank, broken and hostile submissions, graded for real.

The limits of the course in this test are lower than those of a real one, so that reaching them takes little time. No
limit but the one on a cell's seconds depends on how fast the computer is, and that one is far from what answers take.
"""

from __future__ import annotations

import csv
import html
import importlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbformat.notebooknode import NotebookNode
from test_exercises import NO_WALLS, REPOSITORY, answered, points, source, tool, wrong_answers

grading = importlib.import_module("grading")
FeedbackPage = importlib.import_module("grading_feedback").FeedbackPage

SHEET = "01_lenet"
LIMITS = """
c.WalledExecute.timeout = 15
c.WalledExecute.memory_bytes = 1 << 30
c.WalledExecute.output_bytes = 1 << 20
c.WalledExecute.processes = 10
"""
RIGHT = {cell.id: cell.source for cell in source(SHEET).cells}
POINTS = {name.removesuffix("-tests"): value for name, value in points(SHEET).items()}

needs_walls = pytest.mark.skipif(NO_WALLS is not None, reason=f"submissions cannot be walled off here: {NO_WALLS}")


def before(answer: str, attack: str) -> dict[str, str]:
    """Return an answer cell that is right, if what stands before the answer comes to its end."""
    return {answer: f"{attack}\n\n\n{RIGHT[answer]}"}


def prowler(course: Path, port: int) -> NotebookNode:
    """Return a submission that tries to reach what lies outside its walls; each attempt raises where it fails."""
    stolen = [course / "source" / SHEET / f"{SHEET}.ipynb", tool.SOURCES / f"{SHEET}.py", course / "gradebook.db"]
    neighbour = course / "submitted" / "ada" / SHEET / f"{SHEET}.ipynb"
    return answered(
        SHEET,
        {
            **before(
                "q1-output-size",
                f"found = []\nfor path in {[str(path) for path in stolen]}:\n    try:\n"
                "        found.append(open(path, 'rb').read())\n    except OSError:\n        pass\nfound[0]",
            ),
            **before("q1-parameters", f"print(open({str(neighbour)!r}).read())"),
            **before(
                "q2-convolve",
                "written = 0\n"
                f"for folder in {[str(course), str(REPOSITORY), str(REPOSITORY / 'data'), sys.prefix, '/', '/dev']}:\n"
                "    try:\n        open(folder + '/prowler-was-here', 'w').close()\n        written += 1\n"
                "    except OSError:\n        pass\nassert written",
            ),
            **before("q3-subsample", f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=3)"),
        },
    )


def tamperer() -> NotebookNode:
    """Return a submission with edited, skipped, deleted and doubled tests, and with tests before their answer."""
    notebook = answered(SHEET, {"q1-parameters": "def conv_parameters(*_, **__):\n    return 0"})
    cells = {cell.id: cell for cell in notebook.cells}
    cells["q1-parameters-tests"].source = "pass"
    cells["q1-parameters-tests"].metadata["tags"] = ["skip-execution"]
    notebook.cells.remove(cells["q4-table-tests"])
    again = nbformat.from_dict(json.loads(json.dumps(cells["q5-shift-tests"])))
    again.id, again.source = "again", "pass"
    notebook.cells.append(again)
    notebook.cells.remove(cells["q3-subsample-tests"])
    notebook.cells.insert(0, cells["q3-subsample-tests"])
    return notebook


def careless() -> NotebookNode:
    """Return a submission with an endless loop, 2 GB of memory and an exit; its kernel lives on."""
    return answered(
        SHEET,
        {
            **before("q1-output-size", "while True:\n    pass"),
            **before("q1-parameters", "hoard = b'x' * (2 << 30)"),
            **before("q2-convolve", "import sys\nsys.exit(0)"),
        },
    )


# What ends the kernel, from question 3 on, and what the learner is told.
FATAL = {
    "forker": (
        "import os, time\nfor _ in range(40):\n    if os.fork() == 0:\n        time.sleep(60)\ntime.sleep(60)",
        "more than 10 processes",
    ),
    "hoarder": (
        "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n        hoard = b'x' * (400 << 20)\n"
        "        time.sleep(60)\ntime.sleep(60)",
        "more than 1 GiB of memory",
    ),
    "flooder": ("for _ in range(100):\n    print('flood ' * 175_000)", "printed more than 1,048,576 characters"),
    "killer": ("import os\nos.kill(os.getpid(), 9)", "Kernel died"),
    "deserter": ("import os\nos.kill(os.getppid(), 9)", "the kernel ended"),
}
LOST = {
    "ada": set(),
    "ben": {"q2-convolve", "q4-count"},
    "Doe, Cleo": set(POINTS),
    "careless": {"q1-output-size", "q1-parameters", "q2-convolve"},
    "tamperer": {"q1-parameters", "q3-subsample", "q4-table"},
    "prowler": {"q1-output-size", "q1-parameters", "q2-convolve", "q3-subsample"},
    **{name: {"q3-subsample", "q4-count", "q4-table", "q5-shift"} for name in FATAL},
    **{name: set(POINTS) for name in ("torn", "huge", "linked", "missing")},
}
NOT_GRADED = {
    "torn": "is no notebook",
    "huge": "may have 20",
    "linked": "is a link",
    "missing": "no file named 01_lenet.ipynb, but final (2).ipynb",
}


@dataclass
class Class:
    """A class after grading: the folder of its course, what grading printed, and the marks that were exported."""

    course: Path
    printed: str
    status: int
    marks: dict[str, float]

    def cells(self, student: str) -> dict[str, NotebookNode]:
        """Return the cells of a graded notebook by their grade_id."""
        graded = nbformat.read(self.course / "autograded" / student / SHEET / f"{SHEET}.ipynb", as_version=4)
        return {cell.metadata.nbgrader.grade_id: cell for cell in graded.cells if "nbgrader" in cell.metadata}


def hand_in(course: Path, port: int) -> None:
    """Put the work of every learner where collecting puts it."""
    wrong = {cell: answers[0]["code"] for cell, answers in wrong_answers(SHEET).items()}
    unsolved = {name: "raise NotImplementedError()" for name in POINTS}
    notebooks = {
        "ada": answered(SHEET, {}),
        "ben": answered(SHEET, {name: wrong[name] for name in LOST["ben"]}),
        "Doe, Cleo": answered(SHEET, unsolved),
        "careless": careless(),
        "tamperer": tamperer(),
        "prowler": prowler(course, port),
        **{name: answered(SHEET, before("q3-subsample", attack)) for name, (attack, _) in FATAL.items()},
    }
    texts = {name: nbformat.writes(notebook) for name, notebook in notebooks.items()}
    texts["torn"] = texts["ada"][: len(texts["ada"]) // 2]
    texts["huge"] = texts["ada"] + " " * (21 << 20)
    texts["linked"] = texts["ada"]
    for name, text in texts.items():
        folder = course / "submitted" / name / SHEET
        folder.mkdir(parents=True)
        (folder / f"{SHEET}.ipynb").write_text(text, encoding="utf-8")
    (course / "submitted" / "linked" / SHEET / "notes.txt").symlink_to(course / "source" / SHEET / f"{SHEET}.ipynb")
    (course / "submitted" / "missing" / SHEET).mkdir(parents=True)
    (course / "submitted" / "missing" / SHEET / "final (2).ipynb").write_text(texts["ada"], encoding="utf-8")


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """Release a sheet, hand in, grade in two processes with feedback, and export the marks."""
    course = tmp_path_factory.mktemp("class") / "course"
    tool.build_course(course, [SHEET])
    with (course / "nbgrader_config.py").open("a", encoding="utf-8") as config:
        config.write(LIMITS)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        hand_in(course, server.getsockname()[1])
        command = [sys.executable, str(tool.HERE / "grading.py"), str(course), "--processes", "2"]
        done = subprocess.run(command, capture_output=True, text=True)
        with pytest.raises(BlockingIOError):
            server.accept()
    with (course / "grades.csv").open(encoding="utf-8") as file:
        marks = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    yield Class(course, done.stdout + done.stderr, done.returncode, marks)


@needs_walls
@pytest.mark.parametrize("student", LOST)
def test_each_submission_gets_the_marks_it_earned(student: str, graded: Class) -> None:
    earned = sum(value for name, value in POINTS.items() if name not in LOST[student])
    assert graded.marks[student] == earned, graded.printed


@needs_walls
@pytest.mark.parametrize("student", NOT_GRADED)
def test_what_cannot_be_graded_is_named_with_its_reason(student: str, graded: Class) -> None:
    line = next(line for line in graded.printed.splitlines() if line.startswith(f"{SHEET}  {student}  "))
    assert "NOT GRADED" in line and NOT_GRADED[student] in line
    assert graded.status == 1


@needs_walls
def test_every_limit_says_in_the_graded_copy_that_it_was_reached(graded: Class) -> None:
    cells = graded.cells("careless")
    names = {name: [output.get("ename") for output in cells[name].outputs] for name in POINTS}
    assert "CellTimeoutError" in names["q1-output-size"]
    assert "MemoryError" in names["q1-parameters"]
    assert "SystemExit" in names["q2-convolve"]
    for student, (_, reason) in FATAL.items():
        errors = [output.evalue for output in graded.cells(student)["q3-subsample"].outputs if "evalue" in output]
        assert any(reason in error for error in errors), f"{student}: {errors}"


@needs_walls
def test_graded_copies_stay_small(graded: Class) -> None:
    assert max(path.stat().st_size for path in graded.course.glob("autograded/*/*/*.ipynb")) < 2 << 20


@needs_walls
def test_prowler_was_stopped_at_each_wall(graded: Class) -> None:
    cells = graded.cells("prowler")
    errors = {name: [output.get("ename") for output in cells[name].outputs] for name in LOST["prowler"]}
    assert errors == {
        "q1-output-size": ["IndexError"],
        "q1-parameters": ["FileNotFoundError"],
        "q2-convolve": ["AssertionError"],
        "q3-subsample": ["ConnectionRefusedError"],
    }
    for folder in (graded.course, REPOSITORY, REPOSITORY / "data", Path(sys.prefix), Path("/")):
        assert not (folder / "prowler-was-here").exists()


@needs_walls
def test_feedback_is_written_for_all_that_was_graded(graded: Class) -> None:
    pages = {path.parent.parent.name: path for path in graded.course.glob(f"feedback/*/{SHEET}/{SHEET}.html")}
    assert set(pages) == set(LOST) - set(NOT_GRADED)
    for student, page in pages.items():
        text, earned = (
            page.read_text(encoding="utf-8"),
            sum(POINTS.values()) - sum(POINTS[name] for name in LOST[student]),
        )
        assert f"{student}: {earned:g} of {sum(POINTS.values()):g}, graded on " in text
        assert "pre { white-space: pre-wrap;" in text and f"<title>{SHEET}, {student}</title>" in text
    first = pages["ben"].read_text(encoding="utf-8").partition("</table>")[0]
    assert "<td>" in first and first.count("<pre>") == len(POINTS)
    for name, worth in POINTS.items():
        got = 0 if name in LOST["ben"] else worth
        assert f'<a href="#{name}-tests">{name}</a></td><td class="points">{got:g} of {worth:g}</td>' in first
    assert f"<pre>{html.escape(graded.cells('ben')['q2-convolve-tests'].outputs[-1].evalue)}</pre>" in first


def marked(name: str, score: float, **error: str) -> NotebookNode:
    """Return a cell of tests worth 2 points as it is when nbgrader has set its marks, with its error, if any."""
    outputs = [nbformat.v4.new_output("error", traceback=["long"], **error)] if error else []
    details = {"grade_id": name, "grade": True, "solution": False, "points": 2.0, "score": score}
    return nbformat.v4.new_code_cell("tests", outputs=outputs, metadata={"nbgrader": details})


def first_of_page(*cells: NotebookNode, late: float = 0) -> str:
    """Return what a page of feedback begins with."""
    about = {"student": "<b>eve", "assignment": "01", "score": 3.0, "max_score": 4.0, "late_penalty": late}
    resources = {"inlining": {"css": []}, "nbgrader": about}
    notebook, _ = FeedbackPage().preprocess(nbformat.v4.new_notebook(cells=list(cells)), resources)
    assert about["notebook"] == "01, &lt;b&gt;eve" and notebook.cells[1:] == list(cells)
    return notebook.cells[0].source


def test_page_of_feedback_begins_with_points_and_messages() -> None:
    heading = nbformat.v4.new_markdown_cell("text\n\n## Question 1: how many?\n\ntext")
    found = first_of_page(
        heading,
        marked("q1-a-tests", 0.0, ename="AssertionError", evalue="3 < 4\n\nand 5"),
        marked("q1-b-tests", 2.0),
        late=1.5,
    )
    assert found.startswith("<h4>&lt;b&gt;eve: 3 of 4, graded on ")
    assert '<tr><th colspan="3">Question 1: how many? (2 of 4)</th></tr>' in found
    assert (
        '<a href="#q1-a-tests">q1-a</a></td><td class="points">0 of 2</td><td><pre>3 &lt; 4&#10;&#10;and 5</pre>'
        in found
    )
    assert '<a href="#q1-b-tests">q1-b</a></td><td class="points">2 of 2</td><td><pre></pre>' in found
    assert '<td>handed in late</td><td class="points">−1.5</td>' in found


@pytest.mark.parametrize(
    ("ename", "evalue", "shown"),
    [
        ("NotImplementedError", "", "Nothing was written here."),
        ("NotImplementedError", "later", "NotImplementedError: later"),
        ("NameError", "name 'f' is not defined", "NameError: name &#x27;f&#x27; is not defined. Perhaps the answer"),
        ("AssertionError", "", "AssertionError: "),
        ("KernelEnded", "x" * 2_000, f"KernelEnded: {'x' * 987} …"),
        ("AssertionError", "</pre><script>", "&lt;/pre&gt;&lt;script&gt;"),
    ],
)
def test_page_of_feedback_shows_the_message_as_text(ename: str, evalue: str, shown: str) -> None:
    assert f"<pre>{shown}" in first_of_page(marked("q1-tests", 0.0, ename=ename, evalue=evalue))


def test_comments_of_a_teacher_are_listed_and_those_of_nbgrader_are_not() -> None:
    cells = [nbformat.v4.new_code_cell("answer") for _ in range(2)]
    for cell, name, comment in zip(cells, ("q1", "q2"), ("No response.", "well done"), strict=True):
        cell.metadata = nbformat.from_dict({"nbgrader": {"grade_id": name, "grade": False, "comment": comment}})
    found = first_of_page(*cells)
    assert '<a href="#comment-q2">a comment on q2</a>' in found and "q1" not in found


@needs_walls
def test_only_what_is_new_is_graded_again(
    graded: Class, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for student in NOT_GRADED:
        shutil.rmtree(graded.course / "submitted" / student)
    monkeypatch.setattr(sys, "argv", ["grading.py", str(graded.course)])
    grading.main()
    assert capsys.readouterr().out.startswith("11 submissions: 11 graded before, 0 to grade.\n")


@needs_walls
def test_a_broken_new_version_leaves_no_page_of_the_old_one(graded: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    handed_in = graded.course / "submitted" / "ben" / SHEET / f"{SHEET}.ipynb"
    handed_in.write_text("{broken", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["grading.py", str(graded.course)])
    with pytest.raises(SystemExit, match="Not all that was handed in has marks"):
        grading.main()
    with (graded.course / "grades.csv").open(encoding="utf-8") as file:
        rows = {row["student_id"]: (float(row["score"]), row["status"]) for row in csv.DictReader(file)}
    assert rows["ben"] == (0, "not graded") and rows["ada"] == (sum(POINTS.values()), "graded")
    assert not list(graded.course.glob(f"*/ben/{SHEET}/{SHEET}.html"))


@pytest.mark.parametrize(
    "place",
    ["eve.ipynb", "eve/01_lenet.ipynb", "eve/01_lente/01_lenet.ipynb", "01_lenet/eve/01_lenet.ipynb"],
)
def test_a_submission_in_a_wrong_place_is_named(place: str, tmp_path: Path) -> None:
    right = ["ada/01_lenet/01_lenet.ipynb", "ada/.ipynb_checkpoints/01_lenet.ipynb", "01_lenet/02_alexnet/any.ipynb"]
    for name in (*right, place, "notes.txt"):
        path = tmp_path / "submitted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert grading.misplaced(tmp_path, ["01_lenet", "02_alexnet"]) == [Path(place)]


@needs_walls
def test_what_lies_in_a_wrong_place_is_said_and_is_a_failure(
    graded: Class, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = graded.course / "submitted" / "gus" / f"{SHEET}.ipynb"
    lost.parent.mkdir()
    shutil.copy(graded.course / "release" / SHEET / f"{SHEET}.ipynb", lost)
    beside = graded.course / "submitted" / "ada" / SHEET / f"{SHEET} (1).ipynb"
    shutil.copy(lost, beside)
    (graded.course / "submitted" / "hal" / SHEET).mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["grading.py", str(graded.course), "--again", "--processes", "1"])
    for student in set(LOST) - {"ada"}:
        shutil.rmtree(graded.course / "submitted" / student, ignore_errors=True)
    with pytest.raises(SystemExit, match="Not all that was handed in has marks"):
        grading.main()
    printed = capsys.readouterr().out
    assert f"NOT LOOKED AT: submitted/gus/{SHEET}.ipynb\n" in printed
    assert f"submitted/ada/{SHEET}/{SHEET}.ipynb.\n" in printed
    assert f"Not graded, 1 of 2: {SHEET} hal. " in printed
    lost.unlink()
    beside.unlink()


@needs_walls
def test_marks_without_a_page_are_no_grading(
    graded: Class, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("the page cannot be written")

    monkeypatch.setattr(grading.GenerateFeedback, "start", fail)
    assert grading.grade_batch(graded.course, [f"{SHEET}/ada"], walls=True) == 1
    assert f"{SHEET}  ada  NOT GRADED, 0 marks: " in capfd.readouterr().out
    assert not grading.Submission(graded.course, "ada", SHEET).is_graded()


@needs_walls
def test_a_submission_is_ended_when_its_time_is_over() -> None:
    slow = "import time\nwhile True:\n    time.sleep(1)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in ("1 + 1", slow, "2 + 2")])
    walled = grading.WalledExecute(timeout=60, total_seconds=3)
    first, *others = walled.preprocess(notebook, {})[0].cells
    assert first.outputs[0].data["text/plain"] == "2"
    assert [cell.outputs[-1].evalue for cell in others] == ["the submission took more than 3 seconds"] * 2


def test_grading_refuses_without_walls_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gradebook.db").touch()
    monkeypatch.setattr(sys, "argv", ["grading.py", str(tmp_path)])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match=r"(?s)no program named bwrap.*apt-get install bubblewrap"):
        grading.main()


def test_grading_a_folder_that_is_no_course_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["grading.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=rf"(?s)is no course.*make assignments COURSE={tmp_path}"):
        grading.main()


def test_grading_refuses_a_course_whose_settings_leave_the_walls_out(tmp_path: Path) -> None:
    (tmp_path / "nbgrader_config.py").write_text("c = get_config()\n", encoding="utf-8")
    with pytest.raises(ValueError, match="does not name WalledExecute"):
        grading.grade_course(tmp_path, [], processes=1, options=[], again=False)
