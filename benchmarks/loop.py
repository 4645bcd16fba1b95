"""How fast is our training loop? LeNet-5 on MNIST: ``course_lib``'s loop, plain Keras and PyTorch, side by side.

``python benchmarks/loop.py --torch-python .venv-torch/bin/python`` compares the three, ``--choices`` compares the
settings that our loop could have, ``--readme`` writes the tables in README.md again from what was recorded. Each
measurement is a process of its own; they take turns, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from course_lib import settings

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
README = HERE / "README.md"
MARKERS = ("<!-- written by benchmarks/loop.py -->", "<!-- end of what loop.py writes -->")
BATCH_SIZE = 128
LEARNING_RATE = 1e-3
# Other work on the same cores need not slow the three loops alike: above this, the ratios are not to be trusted.
BUSY = 0.1
BUSY_NOTE = ", so these numbers should be taken again on an idle machine"


@dataclass(frozen=True)
class Variant:
    """One way to train. What is None stays as the loop, or Keras, has it."""

    name: str
    loop: str  # "course", "keras" or "torch"
    steps_per_execution: int | None = None
    xla: bool | None = None


COURSE = Variant("our loop", "course")
KERAS = Variant("plain Keras", "keras")
TORCH = Variant("PyTorch", "torch")
CHOICES = (
    COURSE,
    *(
        Variant(f"our loop, {steps} steps an execution", "course", steps_per_execution=steps)
        for steps in (1, 8, 32, 64)
    ),
    Variant("our loop with XLA", "course", xla=True),
    KERAS,
    Variant("plain Keras without XLA", "keras", xla=False),
)


def save_data(path: Path) -> tuple[int, list[str]]:
    """Save MNIST's training images and labels as .npz; return their number and the accelerators that Keras sees.

    Raises RuntimeError where the full data set cannot be had.
    """
    from course_lib.datasets import DataError, load_digits

    try:
        train = load_digits(source="full").train
    except (DataError, OSError) as error:
        reason = error.__cause__ if isinstance(error.__cause__, DataError) else error
        raise RuntimeError(
            f"this needs all of MNIST, not the sample: {reason} `course data download mnist` fetches it."
        ) from None
    np.savez(path, images=train.images, labels=train.labels)
    return len(train), settings.gpus()


def train_with_keras(variant: Variant, data: Path, epochs: int, seed: int) -> dict[str, Any]:
    """Train by our loop or by plain Keras: seconds of each epoch, loss and accuracy of the last one.

    The first epoch counts from the call, so that it holds compilation and handing the data over.
    """
    import keras

    from course_lib.models.lenet import lenet5

    class Stopwatch(keras.callbacks.Callback):
        """Notes when each epoch ended. It has no hook for a batch: that would make Keras read the loss every step."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            ends.append(time.perf_counter())
            last.update(logs or {})

    ends: list[float] = []
    last: dict[str, float] = {}
    with np.load(data) as saved:
        images, labels = saved["images"], saved["labels"]
    keras.utils.set_random_seed(seed)
    model = lenet5()
    run = _course if variant.loop == "course" else _keras
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        run(variant, model, images, labels, epochs, Stopwatch())
    seconds = np.diff([start, *ends]).tolist()
    return {"seconds": seconds, "loss": float(last["loss"]), "accuracy": float(last["accuracy"])}


def _course(variant: Variant, model: Any, images: Any, labels: Any, epochs: int, watch: Any) -> None:
    """Train by our loop as a chapter calls it; its progress bar is drawn, where nobody sees it."""
    import keras

    from course_lib.datasets import Images
    from course_lib.training import loop

    if variant.steps_per_execution is not None:
        loop.STEPS_PER_EXECUTION = variant.steps_per_execution
    keras_compile, keras_fit = model.compile, model.fit
    if variant.xla is not None:
        model.compile = lambda **options: keras_compile(**{**options, "jit_compile": variant.xla})
    model.fit = lambda data, *, callbacks, **options: keras_fit(data, callbacks=[*callbacks, watch], **options)
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    loop.fit(model, Images(images, labels), epochs=epochs, batch_size=BATCH_SIZE, optimizer=optimizer)


def _keras(variant: Variant, model: Any, images: Any, labels: Any, epochs: int, watch: Any) -> None:
    """Train as Keras' own guides do, all else at its defaults."""
    import keras

    options = {} if variant.xla is None else {"jit_compile": variant.xla}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), loss, metrics=["accuracy"], **options)
    model.fit(images, labels, batch_size=BATCH_SIZE, epochs=epochs, verbose=0, callbacks=[watch])


def train_with_torch(python: Path, data: Path, epochs: int, seed: int, device: str) -> dict[str, Any]:
    """Train in PyTorch's own environment, on as many threads as there are cores. Raises RuntimeError where it fails."""
    words = {
        "--data": data,
        "--epochs": epochs,
        "--batch-size": BATCH_SIZE,
        "--threads": settings.cores(),
        "--device": device,
        "--seed": seed,
    }
    command = [python, HERE / "torch_lenet.py", *(word for pair in words.items() for word in pair)]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{HERE.name}/torch_lenet.py failed under {python}:\n{done.stderr.strip()}")
    return json.loads(done.stdout)


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of this module in a fresh interpreter and return, or raise, what it does."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_hush) as pool:
        return pool.submit(function, *arguments).result()


def _hush() -> None:
    """Send stderr nowhere: TensorFlow's greetings and the progress bar go there. Exceptions come back all the same."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def busy() -> float:
    """Return which part of the processor others use, from 0 to 1, over one second in which this process sleeps."""
    return psutil.cpu_percent(interval=1) / 100


def measure(variants: tuple[Variant, ...], rounds: int, epochs: int, torch_python: Path | None) -> dict[str, Any]:
    """Let the variants take turns, ``rounds`` times; return what is recorded: machine, versions, rounds, ratios."""
    versions = settings.versions()
    taken: list[dict[str, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "mnist.npz"
        images, gpus = in_new_process(save_data, data)
        for number in range(rounds):
            taken.append({})
            for variant in variants:
                others = busy()
                if variant.loop == "torch":
                    assert torch_python is not None
                    device = "cuda" if gpus else "cpu"
                    run = train_with_torch(torch_python, data, 1 + epochs, number, device)
                    versions["torch"] = run.pop("version")
                else:
                    run = in_new_process(train_with_keras, variant, data, 1 + epochs, number)
                speed = images * epochs / sum(run["seconds"][1:])
                taken[-1][variant.name] = run | {"images_per_second": speed, "busy_before": others}
                warning = f"; {others:.0%} of the processor was in use before it" if others > BUSY else ""
                print(f"round {number + 1}: {variant.name:<34}{speed:>9,.0f} images/s{warning}", flush=True)
    return {
        "machine": settings.machine(),
        "device": ", ".join(gpus) or f"CPU, {settings.cores()} cores",
        "backend": settings.current().backend,
        "versions": versions,
        "date": datetime.now(UTC).date().isoformat(),
        "images": images,
        "batch_size": BATCH_SIZE,
        "epochs_timed": epochs,
        "rounds": taken,
        "ratios": {variant.name: ratios(taken, variant.name) for variant in variants if variant is not COURSE},
    }


def ratios(rounds: list[dict[str, dict[str, Any]]], name: str) -> dict[str, Any]:
    """Return how many times as fast our loop was as ``name``: in each round, and their median, minimum, maximum."""
    each = [taken[COURSE.name]["images_per_second"] / taken[name]["images_per_second"] for taken in rounds]
    return {"per_round": each, "median": statistics.median(each), "min": min(each), "max": max(each)}


def table(results: dict[str, Any]) -> str:
    """Return recorded results as a Markdown table, with a line on how they were made."""
    lines = [
        "| | images a second, median | first epoch (s), median | last training loss | our loop ÷ this one (range) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in results["rounds"][0]:
        runs = [taken[name] for taken in results["rounds"]]
        speed = statistics.median(run["images_per_second"] for run in runs)
        first = statistics.median(run["seconds"][0] for run in runs)
        loss = statistics.median(run["loss"] for run in runs)
        ratio = results["ratios"].get(name)
        text = f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})" if ratio else "—"
        lines.append(f"| {name} | {speed:,.0f} | {first:.1f} | {loss:.3f} | {text} |")
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    rounds, epochs = len(results["rounds"]), results["epochs_timed"]
    others = max(run["busy_before"] for taken in results["rounds"] for run in taken.values())
    lines += [
        "",
        f"{results['date']}, {results['machine']}; device: {results['device']}; {versions}. "
        f"Rounds: {rounds}; epochs timed in each, after the first: {epochs}. Processor in use by others before a "
        f"measurement: at most {others:.0%}{BUSY_NOTE if others > BUSY else ''}.",
    ]
    return "\n".join(lines)


def readme(text: str, folder: Path = RESULTS) -> str:
    """Return README.md's ``text`` with the part between the markers made again from the records in ``folder``.

    Raises ValueError where a marker is missing.
    """
    if not all(marker in text for marker in MARKERS):
        raise ValueError(f"{README.name} lacks a marker; it needs a line {MARKERS[0]!r} and a line {MARKERS[1]!r}.")
    before, rest = text.split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    parts = []
    for title, name in (("Three loops", "loop"), ("Settings of our loop", "choices")):
        path = folder / f"{name}.json"
        found = table(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else "Not measured yet."
        parts.append(f"### {title}\n\n{found}")
    return f"{before}{MARKERS[0]}\n\n" + "\n\n".join(parts) + f"\n\n{MARKERS[1]}{after}"


def write_readme() -> None:
    """Write the tables in README.md again."""
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")


def at_least_one(text: str) -> int:
    """Read a number from the command line. Raises ArgumentTypeError below 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: it must be a whole number of 1 or more")
    return int(text)


def main() -> None:
    """Read the command line, measure, record, and print the table."""
    parser = argparse.ArgumentParser(description="Time our training loop against plain Keras and PyTorch.")
    parser.add_argument(
        "--torch-python", type=Path, help="Python of an environment with PyTorch; without it, no PyTorch"
    )
    parser.add_argument("--rounds", type=at_least_one, default=3)
    parser.add_argument("--epochs", type=at_least_one, default=4, help="epochs timed, after a first one that is not")
    parser.add_argument("--choices", action="store_true", help="compare settings of our loop instead")
    parser.add_argument("--readme", action="store_true", help="only write the tables in README.md again")
    words = parser.parse_args()
    if words.torch_python and not words.torch_python.exists():
        parser.error(f"--torch-python {words.torch_python}: there is no such file; `make benchmark` makes one")
    if not words.readme:
        # Every example of MNIST, and Keras' backend, for this process and those that it starts.
        os.environ["COURSE_PROFILE"] = "full"
        os.environ["KERAS_BACKEND"] = settings.current().backend
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        variants = CHOICES if words.choices else (COURSE, KERAS, *([TORCH] if words.torch_python else []))
        try:
            results = measure(variants, words.rounds, words.epochs, words.torch_python)
        except (RuntimeError, OSError) as error:
            sys.exit(f"benchmarks/loop.py: {error}")
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / ("choices.json" if words.choices else "loop.json")
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"\n{table(results)}")
    write_readme()


if __name__ == "__main__":
    main()
