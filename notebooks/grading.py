"""Grade what learners handed in: nbgrader gives the marks, and every submission runs apart, between walls.

``python notebooks/grading.py build/assignments`` grades all that is new in the course's folder ``submitted``.

Each submission is graded by nbgrader's ``autograde`` in a process of its own, and its cells run in a further one,
between walls (``grading_walls.py``). ``xargs`` keeps as many graders at work as there are cores. Every grader takes a
batch of submissions, since loading nbgrader takes as long as grading a short sheet, and forks itself for each of them.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import multiprocessing
import os
import shutil
import subprocess
import sys
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

import nbformat
from assignments import SOURCES, open_course
from grading_walls import READABLE, WalledExecute, why_no_walls
from nbgrader.api import Gradebook
from nbgrader.apps.baseapp import NbGrader
from nbgrader.converters import Autograde, GenerateFeedback
from sqlalchemy import Engine, event
from sqlalchemy.exc import SAWarning

MAX_NOTEBOOK = 20 << 20
MAX_BATCH = 20
NO_WALLS = """Nothing was graded, because submissions cannot be walled off on this computer:

    {reason}

Walls need Linux and the program bwrap, version 0.7 or newer: `sudo apt-get install bubblewrap`. Where the system
forbids them (as most containers do) or has none (macOS, Windows), grade in a virtual machine with Linux. If you trust
everybody who handed in, --no-walls grades with the limits alone."""

NO_COURSE = """{course} is no course: there is no gradebook.db in it. Is the path right? A new one is made by

    make assignments COURSE={course}"""

# nbgrader's gradebook provokes it wherever a submission is entered; nothing is lost.
warnings.filterwarnings("ignore", category=SAWarning)


@event.listens_for(Engine, "connect")
def wait_for_the_gradebook(connection, _) -> None:
    """Let a grader wait up to a minute while others write to the gradebook, instead of SQLite's five seconds."""
    connection.execute("PRAGMA busy_timeout = 60000")


@dataclass(frozen=True)
class Submission:
    """What one learner handed in for one sheet, in the folder of a course."""

    course: Path
    student: str
    sheet: str

    @property
    def notebook(self) -> Path:
        """The notebook that is graded; what else was handed in is not."""
        return self.course / "submitted" / self.student / self.sheet / f"{self.sheet}.ipynb"

    def folder(self, step: str) -> Path:
        """Where nbgrader puts what a step of grading makes of it: the step is autograded or feedback."""
        return self.course / step / self.student / self.sheet

    def is_graded(self) -> bool:
        """Return whether it was graded since it was handed in."""
        graded = self.folder("autograded") / self.notebook.name
        return graded.exists() and self.notebook.exists() and graded.stat().st_mtime >= self.notebook.stat().st_mtime

    def forget(self) -> None:
        """Delete the graded copy and the page of an earlier version, which would contradict the marks of this one."""
        for step in ("autograded", "feedback"):
            shutil.rmtree(self.folder(step), ignore_errors=True)

    def left_aside(self) -> list[str]:
        """Return the names of other notebooks that were handed in beside the one that is graded."""
        return sorted(path.name for path in self.notebook.parent.glob("*.ipynb") if path != self.notebook)

    def check(self) -> None:
        """Raise ValueError where nbgrader should not even look at it."""
        folder = self.notebook.parent
        if not self.notebook.exists():
            there = ", ".join(sorted(path.name for path in folder.iterdir()))
            if not there:
                raise ValueError(f"its folder is empty; put {self.notebook.name} into it and grade again.")
            raise ValueError(f"there is no file named {self.notebook.name}, but {there}; rename it and grade again.")
        for path in (folder.parent, folder, *folder.rglob("*")):
            # nbgrader copies what a link points to, and feedback would hand it to the learner.
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise ValueError(f"{path.name} is a link or a device; only files and folders can be graded.")
        size = self.notebook.stat().st_size
        if size > MAX_NOTEBOOK:
            raise ValueError(f"{self.notebook.name} has {size >> 20} MB; it may have {MAX_NOTEBOOK >> 20}.")
        try:
            nbformat.read(self.notebook, as_version=4)
        except Exception as error:
            raise ValueError(f"{self.notebook.name} is no notebook any more, broken or cut off; ask for it.") from error


def grade(app: NbGrader, submission: Submission) -> None:
    """Let nbgrader grade a submission and write its page, in a process of its own, and print the marks."""
    terminal = os.fdopen(os.dup(1), "w")
    log = submission.course / "logs" / submission.sheet / f"{submission.student}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    app.coursedir.student_id, app.coursedir.assignment_id = submission.student, submission.sheet
    submission.forget()
    try:
        submission.check()
    except ValueError as reason:
        sys.exit(str(reason))
    try:
        Autograde(coursedir=app.coursedir, parent=app, force=True).start()
        GenerateFeedback(coursedir=app.coursedir, parent=app, force=True).start()
    except Exception:
        submission.forget()  # marks without a page are no grading
        traceback.print_exc()
        print(*WalledExecute.remarks, file=sys.stderr)
        sys.exit(1)
    with Gradebook(app.coursedir.db_url, app.coursedir.course_id) as book:
        marks = book.find_submission(submission.sheet, submission.student)
        line = f"{submission.sheet}  {submission.student}  {marks.score:g} of {marks.max_score:g}"
    others = [f"also there, not graded: {', '.join(names)}"] if (names := submission.left_aside()) else []
    print(line, *WalledExecute.remarks, *others, sep="  ", file=terminal, flush=True)


def grade_batch(course: Path, names: list[str], walls: bool) -> int:
    """Grade submissions, named as sheet/student, one after the other; return how many could not be graded."""
    app = open_course(course)
    if not walls:
        app.config.WalledExecute.walls = False
    patience = WalledExecute(parent=app).total_seconds + 120
    failed = 0
    for name in names:
        sheet, student = name.split("/")
        child = multiprocessing.get_context("fork").Process(
            target=grade, args=(app, Submission(course, student, sheet))
        )
        child.start()
        child.join(patience)
        if child.exitcode is None:
            child.kill()
            child.join()
        if child.exitcode:
            failed += 1
            log = course / "logs" / sheet / f"{student}.log"
            last = (log.read_text(errors="replace").strip() or "nbgrader took too long").splitlines()[-1]
            print(f"{sheet}  {student}  NOT GRADED, 0 marks: {last} ({log.relative_to(course)})", flush=True)
    return failed


def misplaced(course: Path, known: list[str]) -> list[Path]:
    """Return the notebooks in the folder ``submitted`` that lie where no submission is looked for."""
    submitted = course / "submitted"
    found = [path.relative_to(submitted) for path in sorted(submitted.rglob("*.ipynb"))]
    right = [path for path in found if len(path.parts) > 2 and path.parts[1] in known]
    return [path for path in found if path not in right and ".ipynb_checkpoints" not in path.parts]


def enrol(app: NbGrader, submissions: list[Submission]) -> None:
    """Enter submissions in the gradebook without marks, which those have that cannot be graded."""
    with Gradebook(app.coursedir.db_url, app.coursedir.course_id) as book:
        for submission in submissions:
            book.update_or_create_student(submission.student)
            entry = book.update_or_create_submission(submission.sheet, submission.student)
            for notebook in entry.notebooks:
                for mark in notebook.grades:
                    mark.auto_score = 0
        book.db.commit()


def export_marks(app: NbGrader, submissions: list[Submission]) -> Path:
    """Write the marks of what was handed in to ``grades.csv``, and whether each was graded; return where that is.

    nbgrader's own export has a row for every learner and every sheet, with 0 for what nobody handed in.
    """
    path = Path(app.coursedir.root) / "grades.csv"
    with Gradebook(app.coursedir.db_url, app.coursedir.course_id) as book, path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["assignment", "student_id", "score", "max_score", "status"])
        for submission in submissions:
            score, graded = 0.0, submission.is_graded()
            if graded:
                marks = book.find_submission(submission.sheet, submission.student)
                score = max(0.0, marks.score - marks.late_submission_penalty)
            most = book.find_assignment(submission.sheet).max_score
            status = "graded" if graded else "not graded"
            table.writerow([submission.sheet, submission.student, score, most, status])
    return path


def grade_course(course: Path, sheets: list[str], processes: int, options: list[str], again: bool) -> bool:
    """Grade what is new in a course, in parallel processes; return whether all that was handed in could be graded.

    All marks of the course are in its ``grades.csv`` then. Raises ValueError where the course has no such sheet, or its
    settings leave the walls out, or a submission could read what it must not.
    """
    app = open_course(course)
    if WalledExecute not in Autograde(parent=app).autograde_preprocessors:
        raise ValueError(f"{course}/nbgrader_config.py does not name WalledExecute among the steps of Autograde.")
    for secret, folder in itertools.product((course, SOURCES), READABLE):
        if secret.is_relative_to(folder):
            raise ValueError(f"{secret} lies in {folder}, which submissions may read; move it to another place.")
    with Gradebook(app.coursedir.db_url, app.coursedir.course_id) as book:
        known = sorted(assignment.name for assignment in book.assignments)
    if unknown := set(sheets) - set(known):
        raise ValueError(f"{course} has no sheet named {', '.join(sorted(unknown))}; it has {', '.join(known)}.")
    everything = [
        Submission(course, folder.parent.name, folder.name)
        for folder in sorted((course / "submitted").glob("*/*"))
        if folder.name in known
    ]
    handed_in = [submission for submission in everything if not sheets or submission.sheet in sheets]
    new = [submission for submission in handed_in if again or not submission.is_graded()]
    enrol(app, new)
    print(f"{len(handed_in)} submissions: {len(handed_in) - len(new)} graded before, {len(new)} to grade.", flush=True)
    for path in (lost := misplaced(course, known)):
        print(f"NOT LOOKED AT: submitted/{path}", flush=True)
    if lost or not everything:
        example = f"submitted/ada/{known[0]}/{known[0]}.ipynb" if known else "submitted/LEARNER/SHEET/SHEET.ipynb"
        print(f"A submission is looked for by the names of learner and sheet, such as {example}.", flush=True)
    batch = max(1, min(MAX_BATCH, -(-len(new) // processes)))
    grader = [sys.executable, __file__, *options, "--batch", str(course)]
    done = subprocess.run(
        ["xargs", "-0", "-r", "-n", str(batch), "-P", str(processes), *grader],
        input="\0".join(f"{submission.sheet}/{submission.student}" for submission in new).encode(),
    )
    print(f"All marks are in {export_marks(app, everything)}.")
    if failed := [f"{submission.sheet} {submission.student}" for submission in new if not submission.is_graded()]:
        print(f"Not graded, {len(failed)} of {len(new)}: {', '.join(failed)}. The lines NOT GRADED say why.")
    return done.returncode == 0 and not lost


def main() -> None:
    """Read the command line and grade."""
    parser = argparse.ArgumentParser(description="Grade what is new in an nbgrader course, each submission apart.")
    parser.add_argument("course", type=Path, help="the folder of the course, say build/assignments")
    parser.add_argument("sheets", nargs="*", help="only these sheets, say 01_lenet")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="how many to grade at a time")
    parser.add_argument("--again", action="store_true", help="grade everything, not only what is new")
    parser.add_argument("--no-walls", action="store_true", help="grade without walls, for people whom you trust")
    parser.add_argument("--batch", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    course = arguments.course.resolve()
    if not (course / "gradebook.db").exists():
        sys.exit(NO_COURSE.format(course=course))
    if arguments.batch:
        sys.exit(grade_batch(course, arguments.sheets, not arguments.no_walls) > 0)
    if not arguments.no_walls and (reason := why_no_walls()):
        sys.exit(NO_WALLS.format(reason=reason))
    options = ["--no-walls"] * arguments.no_walls
    try:
        complete = grade_course(course, arguments.sheets, arguments.processes, options, arguments.again)
    except ValueError as error:
        sys.exit(str(error))
    if not complete:
        sys.exit("Not all that was handed in has marks, as said above; the rest has.")


if __name__ == "__main__":
    main()
