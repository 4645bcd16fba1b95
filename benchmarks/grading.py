"""How long does grading a class take? The solutions of all sheets, handed in by several learners, between walls.

``python benchmarks/grading.py`` measures with one and with two graders at a time, and ``--learners 300 --sheets
01_lenet --processes 2`` a whole class with one sheet. ``--readme`` writes the table in README.md again from what was
recorded. What a class of 300 takes for all sheets is extrapolated, and called so.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from heartbeats import BUSY, BUSY_NOTE, at_least_one, busy

from course_lib import settings

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parent / "notebooks"
RESULTS = HERE / "results" / "grading.json"
README = HERE / "README.md"
MARKERS = ("<!-- written by benchmarks/grading.py -->", "<!-- end of what grading.py writes -->")
CLASS, SHEETS = 300, 10


def hand_in(course: Path, learners: int, sheets: list[str]) -> int:
    """Let learners hand in the solutions of the sheets named, else of all; return the number of submissions."""
    found = sorted((NOTEBOOKS / "exercises" / "solutions").glob("*.ipynb"))
    solutions = [path for path in found if not sheets or path.stem in sheets]
    if not solutions:
        raise RuntimeError(
            f"there is no sheet named {', '.join(sheets)}; there are {', '.join(p.stem for p in found)}."
        )
    for number in range(learners):
        for path in solutions:
            folder = course / "submitted" / f"learner-{number}" / path.stem
            folder.mkdir(parents=True)
            shutil.copy(path, folder)
    return learners * len(solutions)


def grade(course: Path, processes: int) -> float:
    """Grade all that was handed in, with feedback; return the seconds it took. Raises RuntimeError where it fails."""
    command = [sys.executable, NOTEBOOKS / "grading.py", course, "--again", "--processes", str(processes)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"grading failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start


def measure(learners: int, sheets: list[str], processes: list[int]) -> dict[str, Any]:
    """Grade the same submissions once for each number of graders at a time; return what is recorded."""
    with tempfile.TemporaryDirectory() as folder:
        course = Path(folder) / "course"
        subprocess.run([sys.executable, NOTEBOOKS / "assignments.py", course], check=True)
        submissions = hand_in(course, learners, sheets)
        runs = []
        for number in processes:
            others = busy()
            runs.append({"processes": number, "busy_before": others, "seconds": grade(course, number)})
            print(f"{submissions} submissions, {number} at a time: {runs[-1]['seconds']:.0f} s", flush=True)
    return {
        "machine": settings.machine(),
        "versions": settings.versions() | {name: version(name) for name in ("nbgrader", "ipykernel")},
        "date": datetime.now(UTC).date().isoformat(),
        "learners": learners,
        "sheets": sheets,
        "submissions": submissions,
        "runs": runs,
    }


def read(path: Path = RESULTS) -> list[dict[str, Any]]:
    """Return what was recorded, one record for each choice of sheets."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def table(results: dict[str, Any]) -> str:
    """Return recorded results as a Markdown table, with a line on how they were made."""
    sheets = ", ".join(results["sheets"])
    columns = ["graders at a time", f"{results['submissions']} submissions{f' of {sheets}' if sheets else ''}, seconds"]
    columns += ["seconds each"] if sheets else ["seconds each", f"{CLASS} learners × {SHEETS} sheets, extrapolated"]
    lines = [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for run in results["runs"]:
        each = run["seconds"] / results["submissions"]
        hours = "" if sheets else f" {each * CLASS * SHEETS / 3600:.1f} hours |"
        lines.append(f"| {run['processes']} | {run['seconds']:.0f} | {each:.1f} |{hours}")
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    others = max(run["busy_before"] for run in results["runs"])
    lines += [
        "",
        f"{results['date']}, {results['machine']}; {versions}. Processor in use by others before a "
        f"measurement: at most {others:.0%}{BUSY_NOTE if others > BUSY else ''}.",
    ]
    return "\n".join(lines)


def readme(text: str, path: Path = RESULTS) -> str:
    """Return README.md's ``text`` with the part between the markers made again from the record at ``path``."""
    before, rest = text.split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    found = "\n\n".join(map(table, read(path))) or "Not measured yet."
    return f"{before}{MARKERS[0]}\n\n### Grading\n\n{found}\n\n{MARKERS[1]}{after}"


def main() -> None:
    """Read the command line, measure, record, and print the table."""
    parser = argparse.ArgumentParser(description="Time the grading of a class.")
    parser.add_argument("--learners", type=at_least_one, default=3, help="each hands in the solution of every sheet")
    parser.add_argument("--sheets", nargs="+", default=[], help="only these, say 01_lenet; default: all")
    parser.add_argument("--processes", type=at_least_one, nargs="+", default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--readme", action="store_true", help="only write the table in README.md again")
    words = parser.parse_args()
    if not words.readme:
        try:
            results = measure(words.learners, words.sheets, words.processes)
        except (RuntimeError, OSError) as error:
            sys.exit(f"benchmarks/grading.py: {error}")
        records = [record for record in read() if record["sheets"] != words.sheets] + [results]
        records.sort(key=lambda record: len(record["sheets"]))
        RESULTS.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
        print(f"\n{table(results)}")
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
