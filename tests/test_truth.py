"""What is broken is caught, and by name: a broken cell, a drifted number, a changed output, a dead kernel or link.

A small course is built, run and tested by the course's own commands, in processes of their own. For dead links of data
sets see ``test_sources.py``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from course_lib.settings import REPOSITORY

# The text source of each chapter, and what is done to it once it is built.
SOURCES = {
    "01_whole": '# %%\nfrom course_lib import expect\n\n# %%\nexpect("weights of a kernel", 5 * 5, exactly=25)\n',
    "02_broken": "# %%\nimport math\n\n# %%\nprint(math.sqrt(2))\n",
    "03_drifted": "# %%\nfrom course_lib import expect\n\nreached = 0.93\n\n"
    '# %%\nexpect("accuracy of the drifted one", reached, quick=(0.9, 0.95), full=(0.98, 1))\n',
    "04_changed": '# %%\nside = 5\n\n# %% tags=["nbval-check-output"]\nprint("a kernel of", side**2, "weights")\n',
    "05_dying": "# %%\nimport os\n\n# %%\nos.getpid()\n",
}
FAULTS = {
    "02_broken": ("math.sqrt(2)", "math.square_root(2)"),
    "03_drifted": ("0.93", "0.87"),
    "04_changed": ("side = 5", "side = 6"),
    "05_dying": ("os.getpid()", "os._exit(1)"),
}


def call(course: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Call Python with these words in the small course, in the quick profile, without a mirror."""
    environment = {**os.environ, "PYTHONPATH": str(course), "COURSE_PROFILE": "quick", "COURSE_OFFLINE": "1"}
    environment.pop("COURSE_DATA_DIR", None)
    return subprocess.run([sys.executable, *words], cwd=course, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the library with five small chapters, built, one of them executed, four of them broken since."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copytree(REPOSITORY / "course_lib", folder / "course_lib", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "notebooks" / "src").mkdir(parents=True)
    shutil.copy(REPOSITORY / "notebooks" / "build.py", folder / "notebooks")
    sources = {name: folder / "notebooks" / "src" / f"{name}.py" for name in SOURCES}
    for name, path in sources.items():
        path.write_text(SOURCES[name], encoding="utf-8")
    for words in ([], ["--execute", "04"]):
        built = call(folder, "notebooks/build.py", *words)
        assert built.returncode == 0, built.stderr
    for name, (right, wrong) in FAULTS.items():
        text = sources[name].read_text(encoding="utf-8")
        assert text.count(right) == 1
        sources[name].write_text(text.replace(right, wrong), encoding="utf-8")
    assert call(folder, "notebooks/build.py").returncode == 0
    return folder


@pytest.fixture(scope="module")
def run(course: Path) -> subprocess.CompletedProcess[str]:
    """What ``course run`` says of it."""
    return call(course, "-m", "course_lib.cli", "run")


@pytest.fixture(scope="module")
def tested(course: Path) -> subprocess.CompletedProcess[str]:
    """What ``make test`` says of its chapters; the dying one would be waited for until the end of its time."""
    chapters = [f"notebooks/{name}.ipynb" for name in SOURCES if name != "05_dying"]
    return call(course, "-m", "pytest", "-ra", "--nbval-lax", "--nbval-cell-timeout=600", *chapters)


def message(run: subprocess.CompletedProcess[str], chapter: str) -> str:
    """Return what ``course run`` wrote on the failure of a chapter."""
    (found,) = re.findall(rf"(?s){chapter} failed:\n(.*?)(?=\n\d\d_\w+ failed:|\Z)", run.stderr)
    return found


def test_run_fails_and_says_which_chapters(run: subprocess.CompletedProcess[str]) -> None:
    rows = {line.split()[0]: line.split()[-1] for line in run.stdout.partition("checks passed")[2].splitlines()[1:]}
    assert run.returncode == 1
    assert rows == {
        "01_whole": "ok", "02_broken": "FAILED", "03_drifted": "FAILED", "04_changed": "ok", "05_dying": "FAILED",
    }  # fmt: skip


def test_run_shows_the_cell_of_a_broken_chapter(run: subprocess.CompletedProcess[str]) -> None:
    found = message(run, "02_broken")
    assert "print(math.square_root(2))" in found and "AttributeError" in found


def test_run_names_check_value_and_band_of_a_drifted_number(run: subprocess.CompletedProcess[str]) -> None:
    found = message(run, "03_drifted")
    assert "accuracy of the drifted one: 0.87 (expected 0.9 to 0.95 in the quick profile)" in found


def test_run_says_that_a_kernel_died(run: subprocess.CompletedProcess[str]) -> None:
    assert "the kernel died" in message(run, "05_dying")


def test_notebook_tests_name_chapter_and_cell(tested: subprocess.CompletedProcess[str]) -> None:
    assert tested.returncode == 1
    assert sorted(re.findall(r"(?m)^FAILED notebooks/(\S+)::(Cell \d+)", tested.stdout)) == [
        ("02_broken.ipynb", "Cell 1"),
        ("03_drifted.ipynb", "Cell 1"),
        ("04_changed.ipynb", "Cell 1"),
    ]


def test_notebook_tests_say_what_is_wrong(tested: subprocess.CompletedProcess[str]) -> None:
    assert "math.square_root(2)" in tested.stdout
    assert "accuracy of the drifted one: 0.87 (expected 0.9 to 0.95 in the quick profile)" in tested.stdout
    assert "a kernel of 25 weights" in tested.stdout and "a kernel of 36 weights" in tested.stdout


def test_a_course_without_chapters_is_a_failure(course: Path, tmp_path: Path) -> None:
    shutil.copytree(course / "course_lib", tmp_path / "course_lib")
    done = call(tmp_path, "-m", "course_lib.cli", "run")
    assert done.returncode == 1 and "there are no chapters in" in done.stderr
    missing = call(course, "-m", "course_lib.cli", "run", "1", "7")
    assert missing.returncode == 1 and missing.stderr.startswith("course run: there is no chapter 7; there are 1, 2")


# Links from one file of the course to another

LINK = re.compile(r"\]\(([^()\s]+)\)|<(?:img|a)\b[^>]*(?:src|href)=[\"']([^\"']+)[\"']")
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "benchmarks/*.md", "data/*.md", "docs/**/*.md", "notebooks/**/*.ipynb")
    for path in REPOSITORY.glob(pattern)
    if ".ipynb_checkpoints" not in path.parts
)


def prose(path: Path) -> str:
    """Return the Markdown of a document, without what stands in it as code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n\n".join("".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "markdown")
    return re.sub(r"(?s)```.*?```|`[^`\n]*`", "", text)


def anchors(path: Path) -> set[str]:
    """Return the names by which GitHub links to the headings of a document."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(path))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_within_the_course_lead_somewhere(path: Path) -> None:
    for link in map("".join, LINK.findall(prose(path))):
        if re.match(r"[a-z]+:", link):
            continue  # to elsewhere; `make links` asks those of the data sets
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{path.relative_to(REPOSITORY)} links to {link}, and there is no such file"
        if anchor and target.suffix in (".md", ".ipynb"):
            assert anchor in anchors(target), f"{path.relative_to(REPOSITORY)} links to {link}: no such heading"


def test_the_readme_links_the_ledger() -> None:
    assert "](data/CLAIMS.md)" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


# Workflows: they must do in a fork what they do here

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
MAY_BE_SET_UP = re.compile(r"sudo (apt-get update|apt-get install --yes bubblewrap|sysctl -w kernel\.apparmor_\w+=0)")


def workflow(path: Path) -> tuple[dict[Any, Any], list[str]]:
    """Return a workflow and the commands of its steps, without those that prepare the machine."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    steps = [step for job in found["jobs"].values() for step in job["steps"]]
    commands = [line for step in steps for line in step.get("run", "").splitlines()]
    return found, [command for command in commands if not MAY_BE_SET_UP.fullmatch(command)]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_needs_nothing_that_a_fork_lacks(path: Path) -> None:
    text, (found, _) = path.read_text(encoding="utf-8"), workflow(path)
    assert found["permissions"] == {"contents": "read"}
    assert not re.search(r"secrets|vars\.|COURSE_DATA_DIR|pull_request_target|self-hosted|INDEX_URL", text)
    for job in found["jobs"].values():
        assert job["runs-on"] == "ubuntu-latest" and job["timeout-minutes"] <= 90 and "permissions" not in job
        assert not [step for step in [job, *job["steps"]] if "continue-on-error" in step or "if" in step]
        for action in (step["uses"] for step in job["steps"] if "uses" in step):
            assert re.fullmatch(r"actions/[a-z-]+@(v\d+|[0-9a-f]{40})", action), f"{action} is not pinned"


def test_workflow_of_changes_calls_the_two_commands_of_the_readme_on_every_python() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    announced = re.findall(r"(?m)^    (make \w+)", readme.partition("You need")[0])
    found, commands = workflow(REPOSITORY / ".github" / "workflows" / "ci.yml")
    assert announced == commands == ["make run", "make test"]
    # YAML 1.1 reads the key `on` as true.
    assert set(found[True]) == {"push", "pull_request"} and found["env"] == {"CI": "true"}
    [job] = found["jobs"].values()
    assert job["strategy"]["matrix"] == {"python-version": ["3.11", "3.12", "3.13"]}
    assert job["strategy"]["fail-fast"] is False


def test_links_of_data_sets_are_asked_every_week() -> None:
    found, commands = workflow(REPOSITORY / ".github" / "workflows" / "links.yml")
    assert commands == ["make links"]
    [when] = found[True]["schedule"]
    minute, hour, day, month, weekday = when["cron"].split()
    assert (day, month) == ("*", "*") and weekday in list("0123456") and minute.isdigit() and hour.isdigit()
