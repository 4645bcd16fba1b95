"""Do the chapters pass their tests every time? The notebook tests of ``make test``, again and again, each in a process.

``make flakes`` goes on until twenty runs of the chapters, as they are now, stand in ``results/flakes.jsonl``, a line a
run; it may be interrupted and started again. ``--summary`` counts what stands there. A run that fails is recorded like
any other, and the next one begins.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from course_lib import settings

RESULTS = Path(__file__).resolve().parent / "results" / "flakes.jsonl"
Run = dict[str, Any]


def fingerprint(folder: Path = settings.REPOSITORY / "notebooks") -> str:
    """Return a hash of the code in the chapters: their words may change, and it is still the same test."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        digest.update(json.dumps([path.name, code]).encode())
    return digest.hexdigest()[:16]


def read() -> list[Run]:
    """Return the recorded runs, the oldest first."""
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()] if RESULTS.exists() else []


def clean(run: Run) -> bool:
    """Return whether every cell passed, and there were cells."""
    return run["status"] == 0 and run["passed"] > 0 and not run["failed"]


def streak(runs: list[Run]) -> int:
    """Return how many runs at the end of ``runs`` were clean, one after the other, on the same notebooks."""
    length = 0
    for run in reversed(runs):
        if not clean(run) or run["notebooks"] != runs[-1]["notebooks"]:
            break
        length += 1
    return length


def run_once(arguments: list[str]) -> Run:
    """Run pytest with these arguments in a process of its own, and return how it went and which cells failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", f"--junitxml={report}", *arguments]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=settings.REPOSITORY, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        cases = list(ET.parse(report).iter("testcase")) if report.exists() else []
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    if done.returncode:
        print(done.stdout[-4_000:], done.stderr[-1_000:], file=sys.stderr)
    return {
        "status": done.returncode,
        "seconds": round(seconds, 1),
        "passed": sum(len(case) == 0 for case in cases),
        "failed": [f"{case.get('classname')}, {case.get('name')}" for case in bad],
    }


def summary(runs: list[Run]) -> str:
    """Return in some lines what the runs say."""
    if not runs:
        return "no run is recorded."
    failures = Counter(cell for run in runs for cell in run["failed"])
    seconds = [run["seconds"] for run in runs]
    lines = [
        f"runs recorded: {len(runs)}, clean: {sum(map(clean, runs))}",
        f"clean one after the other up to the last: {streak(runs)}, of the notebooks {runs[-1]['notebooks']}"
        f"{' as they are now' if runs[-1]['notebooks'] == fingerprint() else ', which have changed since'}",
        f"{statistics.median(seconds):.0f} seconds a run (median), {max(seconds):.0f} at most",
    ]
    return "\n".join(lines + [f"failed in {count}: {cell}" for cell, count in failures.most_common()])


def main() -> int:
    """Run, record and sum up; the exit status is 0 where the last ``--runs`` runs were clean, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--summary", action="store_true", help="run nothing")
    words, arguments = parser.parse_known_args()  # what it does not know is for pytest
    notebooks = fingerprint()
    done = sum(run["notebooks"] == notebooks for run in read())
    for number in range(done + 1, 1 if words.summary else words.runs + 1):
        run = {
            "run": number,
            "notebooks": notebooks,
            **run_once(arguments),
            "data": "mirror" if os.environ.get("COURSE_DATA_DIR") else "samples",
            "versions": settings.versions(),
            "machine": settings.machine(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        RESULTS.parent.mkdir(exist_ok=True)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run, ensure_ascii=False) + "\n")
        failed = "; ".join(run["failed"]) or "none"
        print(f"run {number}: {run['passed']} cells passed in {run['seconds']:.0f} s, failed: {failed}", flush=True)
    print(summary(read()))
    return int(streak(read()) < words.runs)


if __name__ == "__main__":
    raise SystemExit(main())
