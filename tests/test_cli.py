"""The command `course`, called as a learner calls it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import nbclient
import nbformat
import numpy as np
import pytest
from nbclient.output_widget import OutputWidget

from course_lib import claims, cli, settings
from course_lib.cli import execute, main
from course_lib.datasets import digits, sources


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_settings: None) -> None:
    """Quick profile, no data but what ships, nothing recorded."""
    for name in ("COURSE_DATA_DIR", "COURSE_SEED", "COURSE_PRECISION", "COURSE_RECORD", "COURSE_RUN_LOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")


def has_data(monkeypatch: pytest.MonkeyPatch, folder: Path, *names: str) -> None:
    """Make a mirror that looks as if it held these data sets."""
    for name in names:
        (folder / "tensorflow_datasets" / name).mkdir(parents=True)
    monkeypatch.setenv("COURSE_DATA_DIR", str(folder))


def test_doctor_says_what_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    has_data(monkeypatch, tmp_path / "mirror", "mnist")
    monkeypatch.setattr(socket, "gethostname", lambda: "very-secret-host")
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for line in (
        "digits_sample.npz: 5,000 examples, whole",
        "mnist: full set found",
        "fashion_mnist: not found locally",
    ):
        assert line in printed
    assert f"{settings.cores()} cores" in printed and "downloads  can be kept" in printed
    assert "profile    quick" in printed and "keras 3." in printed
    assert "very-secret-host" not in printed


@pytest.mark.parametrize(("found", "said"), [("/usr/bin/bwrap", "bwrap found"), (None, "no bwrap; only")])
def test_doctor_says_whether_submissions_can_be_walled_off(
    found: str | None, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("course_lib.cli.shutil.which", lambda name: found)
    assert main(["doctor"]) == 0
    assert f"grading    {said}" in capsys.readouterr().out


def test_doctor_fails_where_downloads_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert main(["doctor"]) == 1
    assert "CANNOT" in capsys.readouterr().out


def test_doctor_reports_a_broken_sample(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: sources.Sample) -> None:
        raise sources.DataError("digits_sample.npz: wrong checksum")

    monkeypatch.setattr(sources.Sample, "read", broken)
    assert main(["doctor"]) == 1
    printed = capsys.readouterr()
    assert "wrong checksum" in printed.out + printed.err


@pytest.mark.parametrize("words", [["data"], ["data", "list"]])
def test_data_lists_what_is_there(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    has_data(monkeypatch, tmp_path / "mirror", "mnist")
    assert main(words) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "mnist: found"
    assert [line.partition(":")[0] for line in others] == ["fashion_mnist", "cifar10", "mitdb", "camvid"]
    assert all("not found locally" in line and "course data download" in line for line in others)


def test_data_check_fails_where_nothing_is_and_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "mnist"]) == 1
    assert capsys.readouterr().out.startswith("mnist: not found locally")


def test_data_check_goes_on_after_a_broken_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    has_data(monkeypatch, tmp_path / "mirror", "mnist")
    assert main(["data", "check"]) == 1
    first, *others = capsys.readouterr().out.splitlines()
    assert "dataset_info.json: it cannot be read" in first
    assert all(line.partition(":")[2].startswith(" not found") for line in others)


@pytest.mark.parametrize("action", ["list", "check", "download"])
def test_unknown_data_set_is_named(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", action, "mnist", "emnist"]) == 1
    assert (
        capsys.readouterr().err
        == "course data: there is no data set emnist; there are mnist, fashion_mnist, cifar10, mitdb, camvid.\n"
    )


def test_download_offline_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "download", "mnist"]) == 1
    assert "COURSE_OFFLINE=1 forbids a download" in capsys.readouterr().out


def test_chapter_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "99"]) == 1
    assert capsys.readouterr().err.startswith("course run: there is no chapter 99; there are 0, 1")


def test_no_chapters_at_all_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "NOTEBOOKS", tmp_path)
    assert main(["run"]) == 1
    assert capsys.readouterr().err == (
        f"course run: there are no chapters in {tmp_path}: python notebooks/build.py builds them.\n"
    )


@pytest.mark.parametrize(
    "words",
    [[], ["fly"], ["run", "one"], ["run", "--profile", "fast"], ["train", "lenet5"], ["train", "alexnet"], ["train"]],
)
def test_wrong_words_are_explained(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2 and "usage: course" in capsys.readouterr().err


def test_wrong_environment_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COURSE_PROFILE", "fast")
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err.startswith("course doctor: COURSE_PROFILE is 'fast'")


def test_claims_prints_the_ledger_and_writes_it_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claims, "PAGE", tmp_path / "CLAIMS.md")
    assert main(["claims"]) == 0
    printed = capsys.readouterr().out
    assert all(entry.claim in " ".join(printed.split()) for entry in claims.entries().values())
    assert max(map(len, printed.splitlines())) <= 100
    assert not (tmp_path / "CLAIMS.md").exists()
    assert main(["claims", "--chapter", "99"]) == 1
    assert capsys.readouterr().err.startswith("course claims: chapter 99 has no claims; there are claims in 1, 2")
    assert main(["claims", "--write"]) == 0
    assert (tmp_path / "CLAIMS.md").read_text(encoding="utf-8") == claims.page()


# Chapters


def notebook(folder: Path, *cells: str, name: str = "05_tiny.ipynb") -> Path:
    """Write a notebook of these cells."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(made, folder / name)
    return folder / name


OPEN = (
    "import os\nfrom course_lib import claim, expect, settings\n"
    "settings._current = settings.Settings(1, 'quick', settings.current().seed, 'float32', 'tensorflow')"
)


def test_execute_counts_checks_and_claims_and_leaves_the_file_alone(tmp_path: Path) -> None:
    path = notebook(
        tmp_path,
        OPEN,
        "expect('seed', settings.current().seed, exactly=4)",
        "claim('lenet-60k-parameters', 2.8)\nassert not os.environ.get('COURSE_RECORD')",
    )
    before, environment = path.read_bytes(), dict(os.environ)
    outcome = asyncio.run(execute(path, seed=4))
    assert (outcome.error, outcome.checks, outcome.claims) == ("", 1, 1)
    assert (outcome.chapter, outcome.seed) == ("05_tiny", 4) and 0 < outcome.seconds < 120
    assert path.read_bytes() == before and dict(os.environ) == environment
    assert [found.name for found in tmp_path.iterdir()] == ["05_tiny.ipynb"]


def test_run_reports_the_check_that_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = notebook(
        tmp_path, OPEN, "expect('one', 1, exactly=1)", "expect('two', 3, exactly=2)", "expect('never', 1, exactly=1)"
    )
    monkeypatch.setattr(cli, "NOTEBOOKS", tmp_path)
    outcomes: list[cli.Outcome] = []
    real = cli.execute

    async def kept(*arguments: Any, **more: Any) -> cli.Outcome:
        outcomes.append(await real(*arguments, **more))
        return outcomes[-1]

    monkeypatch.setattr(cli, "execute", kept)
    assert main(["run", "5"]) == 1
    (outcome,) = outcomes
    assert outcome.checks == 1 and outcome.claims == 0
    assert "two: 3 (expected exactly 2)" in outcome.error and "CheckFailed" in outcome.error
    assert "\x1b" not in outcome.error and "never" not in outcome.error
    printed = capsys.readouterr()
    row = printed.out.splitlines()[-1].split()
    assert (row[0], row[-3:]) == (path.stem, ["1", "0", "FAILED"])
    assert "05_tiny failed:" in printed.err and "two: 3 (expected exactly 2)" in printed.err


def test_chapters_run_side_by_side_and_are_listed_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The first waits for a file that the second writes: alone, one after the other, it would never end.
    wait = "import pathlib, time\nwhile not pathlib.Path('done').exists():\n    time.sleep(0.1)"
    for name, cell in (("05_first", wait), ("06_second", "import pathlib\npathlib.Path('done').touch()")):
        notebook(tmp_path, OPEN, cell, "expect('one', 1, exactly=1)", name=f"{name}.ipynb")
    monkeypatch.setattr(cli, "NOTEBOOKS", tmp_path)
    assert main(["run", "--jobs", "2"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-2:]]
    assert [(row[0], row[-1]) for row in rows] == [("05_first", "ok"), ("06_second", "ok")]


@pytest.mark.parametrize("words", [["--jobs", "0"], ["--jobs", "2", "--record"]])
def test_run_refuses_jobs_that_make_no_sense(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "0", *words]) == 1
    assert f"--jobs {words[1]}" in capsys.readouterr().err


# Training


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet-5 after one epoch on the sample, asked for with seed 3 while COURSE_SEED says 5."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_current", None)
        patch.setenv("COURSE_PROFILE", "quick")
        patch.setenv("COURSE_SEED", "5")
        patch.delenv("COURSE_DATA_DIR", raising=False)
        patch.setenv("KERAS_BACKEND", "tensorflow")
        words = ["train", "lenet5", "--epochs", "1", "--data", "sample", "--seed", "3", "--output", str(folder)]
        assert main(words) == 0
    return folder


def card(folder: Path) -> dict[str, Any]:
    """Return the card of trained weights."""
    return json.loads((folder / "lenet5.json").read_text(encoding="utf-8"))


def test_card_belongs_to_its_weights(trained: Path) -> None:
    content = (trained / "lenet5.weights.h5").read_bytes()
    assert card(trained)["sha256"] == hashlib.sha256(content).hexdigest()
    assert card(trained)["bytes"] == len(content)
    assert sorted(path.name for path in trained.iterdir()) == ["lenet5.json", "lenet5.weights.h5"]


def test_card_says_how_the_weights_were_made(trained: Path) -> None:
    found = card(trained)
    assert (found["network"], found["data"], found["epochs"], found["examples"]) == ("lenet5", "sample", 1, 3_600)
    assert (found["activation"], found["pooling"], found["distort"]) == ("relu", "max", False)
    assert found["source"] == "sample of MNIST" and found["versions"] == settings.versions()
    assert str(trained) not in json.dumps(found)


def test_card_has_the_seed_that_was_used(trained: Path) -> None:
    """The environment overrides (setup's docstring), so the run had seed 5."""
    assert card(trained)["seed"] == 5


def test_weights_reach_the_accuracy_of_the_card(trained: Path) -> None:
    from course_lib.models.lenet import load_lenet5

    images, labels = digits.read_sample()
    scores = load_lenet5(trained).predict(images[4_000:].astype("float32") / 255, batch_size=500, verbose=0)
    right = float(np.mean(scores.argmax(axis=1) == labels[4_000:]))
    assert right == pytest.approx(card(trained)["test accuracy"], abs=0.0011)
    assert right > 0.5, "one epoch is enough to beat chance, 0.1, by far"


def test_card_that_was_edited_is_found_out(trained: Path, tmp_path: Path) -> None:
    from course_lib.models.lenet import load_lenet5

    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    (copy / "lenet5.json").write_text(json.dumps({**card(trained), "sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(ValueError, match="not the weights of its card"):
        load_lenet5(copy)


WRONG_TRAINING = [
    (["--data", "full"], "COURSE_OFFLINE=1 forbids a download"),
    (["--data", "sample", "--pooling", "mean"], "pooling is 'mean'"),
    (["--data", "sample", "--epochs", "0"], "epochs=0"),
    (["--data", "sample", "--epochs", "1", "--learning-rate", "1e30"], "at learning rate 1e+30"),
]


@pytest.mark.parametrize(("words", "message"), WRONG_TRAINING, ids=["no data", "pooling", "epochs", "diverged"])
def test_training_that_cannot_be_is_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "lenet5", *words, "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("course train: ") and message in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


WRONG_ALEXNET = [
    ([], "imagenette is not in the download folder, and COURSE_OFFLINE=1 forbids a download"),
    (["--dataset", "imagenet"], "Get ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar"),
    (["--devices", "99"], "devices(99): there are "),
    (["--devices", "0"], "devices(0): there are "),
    (["--batch-size", "0"], "batch_size=0 does not divide among 1 devices"),
    (["--image-size", "224"], "AlexNet does not fit images of 224 pixels"),
    (["--groups", "3"], "alexnet(groups=3)"),
    (["--devices", "2", "--split-cpu"], "split_cpu(2) comes too late"),
]


@pytest.mark.parametrize(
    ("words", "message"), WRONG_ALEXNET, ids=[" ".join(words) or "no data" for words, _ in WRONG_ALEXNET]
)
def test_alexnet_that_cannot_be_is_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keras.ops.ones(1)  # too late to split the processor
    assert main(["train", "alexnet", *words, "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("course train: ") and message in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_explorers_are_executed_without_messages_to_the_busy_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(OutputWidget, "_publish_msg", lambda self, kind, **_: sent.append(kind))
    explorer = "from ipywidgets import interact\ninteract(lambda x: print('seen', x), x=3)"

    def run(client: Callable[[nbformat.NotebookNode], nbclient.NotebookClient]) -> int:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in (explorer, "1 + 1")])
        client(notebook).execute()
        assert notebook.cells[1].outputs[0]["data"]["text/plain"] == "2"
        return len(sent)

    assert run(lambda notebook: cli.notebook_client(notebook, tmp_path)) == 0
    assert run(nbclient.NotebookClient) > 0  # or there is nothing left to prevent
