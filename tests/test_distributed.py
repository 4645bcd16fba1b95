"""Training on several devices: the result of one device, exact resume, and errors that say what there is.

Each run has a process of its own, since a process keeps the devices that it began with. The processor stands for two
devices; photographs are drawn and prepared as in test_imagenet.py; the network is small, without dropout, of which
each device would draw its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from test_imagenet import COUNTS, encoded, flip_a_byte, prepare_imagenette
from test_loop import kill_after_two_epochs

from course_lib.cli import main
from course_lib.datasets.imagenet import PHOTO_SETS
from course_lib.training import distributed
from course_lib.training.distributed import devices, on_devices, split_cpu


def small(classes: int, *, groups: int, input_shape: tuple[int, int, int]) -> keras.Model:
    """A network in AlexNet's place."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.AveragePooling2D(27, 25),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(classes),
        ]
    )


COURSE = textwrap.dedent(
    f"""
    import sys
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from dataclasses import replace
    import course_lib.models.alexnet
    import test_distributed
    from course_lib.cli import main
    from course_lib.datasets.imagenet import PHOTO_SETS

    course_lib.models.alexnet.alexnet = test_distributed.small
    PHOTO_SETS["imagenette"] = replace(PHOTO_SETS["imagenette"], splits={COUNTS!r})
    sys.exit(main(["train", "alexnet", *sys.argv[1:]]))
    """
)


def coloured(number: int) -> bytes:
    """Return a small photograph whose colour belongs to its class, with some noise."""
    random = np.random.default_rng(number)
    return encoded(
        np.clip(np.random.default_rng(number % 10).uniform(0, 255, 3) + random.normal(0, 40, (64, 80, 3)), 0, 255)
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror with 52 photographs for training and 21 for validation."""
    return prepare_imagenette(tmp_path_factory.mktemp("data"), draw=coloured, shards=2).parent


def course(data: Path, output: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start ``course train alexnet`` with a small network in AlexNet's place: batches of 8, so the last holds 4."""
    return subprocess.Popen(
        [sys.executable, "-c", COURSE, "--batch-size", "8", "--output", str(output), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COURSE_DATA_DIR": str(data), "KERAS_BACKEND": "tensorflow", **environment},
    )


def finished(process: subprocess.Popen[str]) -> str:
    """Return what a run printed; it must end well."""
    printed, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return printed


def weights(output: Path) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    with h5py.File(output / "alexnet.weights.h5") as file:
        file.visititems(lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return found


def card(output: Path) -> dict[str, Any]:
    return json.loads((output / "alexnet.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, str]]:
    """Three epochs on one device and on two: for each where its weights are and what it printed."""
    outputs = {count: tmp_path_factory.mktemp(f"devices{count}") for count in (1, 2)}
    started = {
        count: course(data, output, "--epochs", "3", "--devices", str(count), "--split-cpu")
        for count, output in outputs.items()
    }
    return {count: (outputs[count], finished(process)) for count, process in started.items()}


def test_two_devices_reach_the_weights_of_one(runs: dict[int, tuple[Path, str]]) -> None:
    """21 steps of momentum and decay, the last of each epoch half as large: equal to float error."""
    one, two = (weights(output) for output, _ in runs.values())
    assert len(one) == 4
    for ours, theirs in zip(two, one, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.abs(one[1]).max() > 1e-3, "it has learned something"
    for metric in ("validation accuracy", "validation top-5 accuracy"):
        assert card(runs[1][0])[metric] == pytest.approx(card(runs[2][0])[metric], abs=1e-6)


def test_command_says_what_it_does(runs: dict[int, tuple[Path, str]]) -> None:
    printed = runs[2][1]
    assert "on 52 photographs of imagenette, 8 a step, on cpu:0, cpu:1" in printed
    assert "images a second" in printed and "validation accuracy" in printed and "top-5" in printed


def test_card_says_how_the_weights_were_made(runs: dict[int, tuple[Path, str]]) -> None:
    found = card(runs[2][0])
    assert (found["network"], found["dataset"], found["devices"], found["groups"]) == ("alexnet", "imagenette", 2, 2)
    assert (found["batch_size"], found["learning_rate"], found["precision"]) == (8, 0.01, "float32")
    assert found["source"] == "imagenette/320px-v2" and found["images a second"] > 0
    assert 0 <= found["validation accuracy"] <= found["validation top-5 accuracy"] <= 1
    assert str(runs[2][0]) not in json.dumps(found)


def test_killed_run_resumes_on_two_devices(data: Path, runs: dict[int, tuple[Path, str]], tmp_path: Path) -> None:
    """kill -9 after two of three epochs: the resumed run has the photographs, windows and weights of the whole one."""
    words = ["--epochs", "3", "--devices", "2", "--split-cpu", "--checkpoint", str(tmp_path / "run")]
    killed = course(data, tmp_path / "killed", *words)
    record = tmp_path / "run" / "run.json"
    kill_after_two_epochs(killed, record)
    killed.communicate(timeout=60)
    assert record.exists()
    assert "going on with AlexNet" in finished(course(data, tmp_path / "resumed", *words))
    for ours, theirs in zip(weights(tmp_path / "resumed"), weights(runs[2][0]), strict=True):
        assert np.array_equal(ours, theirs)


# In this process: one device


@pytest.fixture
def here(data: Path, monkeypatch: pytest.MonkeyPatch, fresh_settings: None) -> None:
    """The command in this process, with the small network and the few photographs."""
    monkeypatch.setattr("course_lib.models.alexnet.alexnet", small)
    monkeypatch.setitem(PHOTO_SETS, "imagenette", replace(PHOTO_SETS["imagenette"], splits=COUNTS))
    monkeypatch.setenv("COURSE_DATA_DIR", str(data))
    monkeypatch.setenv("COURSE_PRECISION", "float32")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")


def test_precision_is_that_of_the_command(here: None, tmp_path: Path) -> None:
    """With half floats the loss is scaled, so that the optimizer is a wrapped one."""
    words = ["--precision", "mixed_float16", "--batch-size", "26", "--epochs", "1", "--output", str(tmp_path)]
    assert main(["train", "alexnet", *words]) == 0
    assert card(tmp_path)["precision"] == "mixed_float16"


def test_damaged_file_is_named_in_one_line(
    here: None, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(data, tmp_path / "mirror"))
    damaged = copy / "tensorflow_datasets/imagenette/320px-v2/1.0.0/imagenette-train.tfrecord-00001-of-00002"
    flip_a_byte(damaged)
    monkeypatch.setenv("COURSE_DATA_DIR", str(copy))
    assert main(["train", "alexnet", "--batch-size", "8", "--epochs", "1", "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"course train: {damaged}: it is corrupt") and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_devices_are_listed_and_counted() -> None:
    assert devices(1) == devices()[:1]
    there = len(devices())
    with pytest.raises(ValueError, match=rf"devices\({there + 1}\): there are {there} here: .*pu:0"):
        devices(there + 1)
    with pytest.raises(ValueError, match=r"devices\(0\)"):
        devices(0)


def test_batch_must_divide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "devices", lambda count: [f"gpu:{number}" for number in range(count)])
    with pytest.raises(ValueError, match="batch_size=128 does not divide among 3 devices; 129 would"), on_devices(3):
        pass


def test_torch_and_a_second_strategy_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "devices", lambda count: [f"gpu:{number}" for number in range(count)])
    monkeypatch.setattr(distributed, "_strategies", {("gpu:0", "gpu:1", "gpu:2"): None})
    with pytest.raises(RuntimeError, match="has trained on gpu:0, gpu:1, gpu:2; start a new one"), on_devices(2):
        pass
    monkeypatch.setattr("keras.config.backend", lambda: "torch")
    with pytest.raises(RuntimeError, match="KERAS_BACKEND=tensorflow or jax"), on_devices(2):
        pass


def test_processor_cannot_be_split_late_or_into_nothing() -> None:
    keras.ops.ones(1)
    with pytest.raises(RuntimeError, match="comes too late"):
        split_cpu(2)
    with pytest.raises(ValueError, match="at least 1"):
        split_cpu(0)
