"""Exercise sheets: the learner's sheet, the solution and an nbgrader course, all from one text source.

``python notebooks/assignments.py build/assignments`` makes an nbgrader course in that folder, ready to release.
``python notebooks/assignments.py --sheets`` writes the committed notebooks in ``notebooks/exercises`` again, and the
list of sheets in ``docs/instructor.md``.

The sources are ``notebooks/src/exercises/*.py`` (Jupytext, py:percent). The header of a cell that is graded says the
least that is needed, and :func:`source_notebook` adds what nbgrader wants besides:

    # %% nbgrader={"grade_id": "q1-size", "solution": true}       a cell that the learner fills in
    # %% nbgrader={"grade_id": "q1-size-tests", "points": 2}      its tests
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import jupytext
import nbformat
from nbformat.notebooknode import NotebookNode
from nbgrader.apps.baseapp import NbGrader
from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import IncludeHeaderFooter, InstantiateTests, SaveCells

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src" / "exercises"
SHEETS = HERE / "exercises"

GUIDE = HERE.parent / "docs" / "instructor.md"
BEGIN, END = "<!-- written by notebooks/assignments.py -->", "<!-- end of what assignments.py writes -->"

NBGRADER_SCHEMA = 3
COURSE_CONFIG = '''"""nbgrader's settings for this course; `nbgrader` reads them when it is run in this folder."""

import sys
from pathlib import Path

import course_lib

# The programs that build and grade a course lie beside the library.
sys.path.append(str(Path(course_lib.__file__).parent.parent / "notebooks"))

from grading_feedback import FeedbackPage
from grading_walls import DropDuplicates, WalledExecute
from nbgrader import preprocessors as nbgrader
from nbconvert.preprocessors import ClearMetadataPreprocessor, CSSHTMLHeaderPreprocessor

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "lenet-to-alexnet"
# nbgrader's own steps, but for two: a doubled cell stays readable, and notebooks are executed between walls.
c.Autograde.sanitize_preprocessors = [
    nbgrader.ClearOutput,
    DropDuplicates,
    nbgrader.OverwriteKernelspec,
    nbgrader.OverwriteCells,
    nbgrader.CheckCellMetadata,
]
c.Autograde.autograde_preprocessors = [
    WalledExecute,
    nbgrader.IgnorePattern,
    ClearMetadataPreprocessor,
    nbgrader.LimitOutput,
    nbgrader.SaveAutoGrades,
    nbgrader.AssignLatePenalties,
    nbgrader.CheckCellMetadata,
]
c.GenerateFeedback.preprocessors = [nbgrader.GetGrades, CSSHTMLHeaderPreprocessor, FeedbackPage]
# What a submission may take. docs/instructor.md says what these limits hold and what they do not.
c.WalledExecute.timeout = 120  # seconds for a cell; the longest of the sheets takes about twenty
c.WalledExecute.total_seconds = 600
c.WalledExecute.memory_bytes = 4 << 30
c.WalledExecute.processes = 16
c.WalledExecute.threads = 512
c.WalledExecute.output_bytes = 4 << 20
c.WalledExecute.disk_bytes = 256 << 20
# A flood of output is cut in the graded copy.
c.LimitOutput.max_lines = 200
'''


def source_notebook(source: Path) -> NotebookNode:
    """Return the notebook that a text source describes, solutions and hidden tests in it.

    nbgrader's metadata are completed and every cell has an id that depends on nothing but the source. Raises ValueError
    where a graded cell has no ``grade_id``, or where two cells have the same one.
    """
    notebook = jupytext.read(source, fmt="py:percent")
    kernel = notebook.metadata.get("kernelspec")
    if not kernel:
        raise ValueError(f"{source.name} names no kernel; its header needs jupyter: kernelspec: name: python3.")
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    used: set[str] = set()
    for cell in notebook.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata["nbgrader"] = _complete(cell.metadata["nbgrader"], source.name)
            identity = cell.metadata["nbgrader"]["grade_id"]
            if identity in used:
                raise ValueError(f"{source.name} has two cells with the grade_id {identity!r}; it must be unique.")
        else:
            digest = hashlib.sha256(cell.source.encode()).hexdigest()[:12]
            identity = next(name for name in _numbered(digest) if name not in used)
        used.add(identity)
        cell["id"] = identity
    nbformat.validate(notebook)
    return notebook


def _complete(brief: dict[str, object], name: str) -> NotebookNode:
    """Return nbgrader's metadata of a cell in full."""
    unknown = set(brief) - {"grade_id", "points", "solution"}
    if unknown or not brief.get("grade_id") or ("points" in brief) == bool(brief.get("solution")):
        raise ValueError(
            f'{name} has a cell with nbgrader={brief}; it must be {{"grade_id": …, "solution": true}} for an answer or '
            '{"grade_id": …, "points": …} for its tests.'
        )
    tests = "points" in brief
    return nbformat.from_dict(
        {
            **brief,
            "grade": tests,
            "locked": tests,
            "schema_version": NBGRADER_SCHEMA,
            "solution": not tests,
            "task": False,
        }
    )


def _numbered(stem: str) -> Iterator[str]:
    """Yield the stem, then the stem with 2, 3, … behind it."""
    yield stem
    number = 2
    while True:
        yield f"{stem}-{number}"
        number += 1


def release_notebook(source: Path) -> NotebookNode:
    """Return the learner's version: what nbgrader's own steps leave when solutions and hidden tests are taken out.

    The steps that need a gradebook or a header file are left out; the others run in nbgrader's order, so that the
    result is, cell for cell, what ``nbgrader generate_assignment`` releases.
    """
    notebook = source_notebook(source)
    resources: dict[str, object] = {}
    skipped = (IncludeHeaderFooter, InstantiateTests, SaveCells)
    for step in GenerateAssignment().preprocessors:
        if step not in skipped:
            notebook, resources = step().preprocess(notebook, resources)
    return notebook


def as_text(notebook: NotebookNode) -> str:
    """Return a notebook as the text of its file; the same notebook gives the same text."""
    return nbformat.writes(notebook) + "\n"


def sheets() -> dict[Path, str]:
    """Return every committed file that is built from the sheets, with the text that it should have.

    These are the learners' sheets, the solutions, and the teacher's guide with what the sheets say about themselves.
    """
    files = {GUIDE: guide(GUIDE.read_text(encoding="utf-8"))}
    for source in sorted(SOURCES.glob("*.py")):
        files[SHEETS / f"{source.stem}.ipynb"] = as_text(release_notebook(source))
        files[SHEETS / "solutions" / f"{source.stem}.ipynb"] = as_text(source_notebook(source))
    return files


def guide(text: str) -> str:
    """Return the text of the teacher's guide with what stands between its two marks written again.

    It is, for each sheet, the aims that its chapter states, and the questions and points of the sheet.
    """
    before, between = text.split(BEGIN)
    parts = []
    for source in sorted(SOURCES.glob("*.py")):
        chapter = jupytext.read(SOURCES.parent / source.name, fmt="py:percent").cells[0].source
        title, aims = (
            chapter.splitlines()[0].lstrip("# "),
            re.findall(r"^- (.+(?:\n  .+)*)$", chapter, flags=re.MULTILINE),
        )
        points: dict[str, float] = {}  # of each question, in their order
        for cell in source_notebook(source).cells:
            if question := re.search(r"^## Question (\d+: .+)$", cell.source, flags=re.MULTILINE):
                points[question[1].replace(":", ".", 1)] = 0
            elif worth := cell.metadata.get("nbgrader", {}).get("points"):
                points[next(reversed(points))] += worth
        parts += [f"### {title}", "\n".join(f"- {aim}" for aim in aims)]
        parts.append(f"Sheet `{source.stem}`, {sum(points.values()):g} points:")
        parts.append("\n".join(f"{question} ({worth:g})" for question, worth in points.items()))
    return before + BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + END + between.split(END)[1]


def write_sheets() -> list[Path]:
    """Write what is built from the sheets where it differs from their sources; return which files."""
    changed = []
    for path, text in sheets().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def open_course(folder: Path) -> NbGrader:
    """Return nbgrader's application with the settings of the course in a folder, errors alone going to the terminal.

    Raises what is wrong in ``nbgrader_config.py``; nbgrader alone would go on without its settings.
    """
    # nbgrader calls alembic by its bare name, which is found only where the environment's programs are on the path.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    app = NbGrader(log_level=logging.ERROR, raise_config_file_errors=True)
    app.initialize([], root=str(folder.resolve()))
    app.coursedir = CourseDirectory(parent=app, root=str(folder.resolve()))
    return app


def build_course(folder: Path, sheets: Iterable[str] = ()) -> list[str]:
    """Make an nbgrader course of all sheets, or of some, in a folder; return the names of the assignments.

    Settings that a teacher has changed and work that was handed in stay as they are. Raises RuntimeError where nbgrader
    refuses a sheet, as it does when cells were added after work was handed in; nbgrader itself says why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nbgrader_config.py"
    if not config.exists():
        config.write_text(COURSE_CONFIG, encoding="utf-8")
    app = open_course(folder)
    names = sorted(sheets) or [source.stem for source in sorted(SOURCES.glob("*.py"))]
    for name in names:
        target = folder / "source" / name / f"{name}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(as_text(source_notebook(SOURCES / f"{name}.py")), encoding="utf-8")
        app.coursedir.assignment_id = name
        try:
            GenerateAssignment(coursedir=app.coursedir, parent=app, force=True).start()
        except NbGraderException as error:
            raise RuntimeError(f"nbgrader could not generate {name}; it says above why.") from error
    return names


def main() -> None:
    """Read the command line and do what it asks."""
    parser = argparse.ArgumentParser(description="Build an nbgrader course, or the committed exercise notebooks.")
    parser.add_argument("folder", nargs="?", type=Path, help="where the nbgrader course goes, say build/assignments")
    parser.add_argument(
        "--sheets", action="store_true", help="write notebooks/exercises and the list in docs/instructor.md again"
    )
    arguments = parser.parse_args()
    if not arguments.sheets and arguments.folder is None:
        parser.error("name a folder for the nbgrader course, or ask for --sheets")
    if arguments.sheets:
        for path in write_sheets():
            print(f"wrote {path.relative_to(HERE.parent)}")
    if arguments.folder is not None:
        try:
            names = build_course(arguments.folder)
        except RuntimeError as error:
            sys.exit(str(error))
        folder = arguments.folder.resolve()
        print(f"The course in {folder} has {', '.join(names)}.")
        print("The learners' sheets are in its folder release/. What they hand in goes to submitted/LEARNER/SHEET/.")
        print(f"Then: make grade COURSE={folder}. docs/instructor.md says more.")


if __name__ == "__main__":
    main()
