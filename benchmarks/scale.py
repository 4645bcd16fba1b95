"""What does ImageNet need? How fast AlexNet trains and photographs are decoded here, and what follows from that.

``python benchmarks/scale.py`` measures, records and writes the table in docs/scale.md; ``--page`` only writes it, with
your own ``--price`` of an hour, ``--peak`` and ``--utilisation`` of an accelerator, ``--cores`` and ``--network``.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from course_lib import settings

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results" / "scale.json"
PAGE = REPOSITORY / "docs" / "scale.md"
MARKERS = ("<!-- written by benchmarks/scale.py -->", "<!-- end of what scale.py writes -->")
EPOCHS = 90  # "roughly 90 cycles" through the training set: Krizhevsky and others, 2012, section 5
TRAINED, VALIDATED = 1_281_167, 50_000
ARCHIVES = 147_897_477_120 + 6_744_924_160  # bytes, from TFDS' list of checksums of imagenet2012
PHOTOGRAPHS = 384  # drawn for the measurement, on average as many bytes each as those of ImageNet
STEP = 128


def spent(work: Callable[[], Any], count: int) -> dict[str, float]:
    """Return the seconds a photograph of ``work`` on ``count`` of them: on the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return {
        "clock": (time.perf_counter() - clock) / count,
        "processor": (time.process_time() - processor) / count,
    }


def train(steps: int) -> dict[str, Any]:
    """Train the published AlexNet on noise in steps of 128, after one that is not counted."""
    import keras

    from course_lib.analysis.cost import layer_costs
    from course_lib.models.alexnet import alexnet
    from course_lib.training.optimizers import AlexNetSGD

    model = alexnet(1_000)
    model.compile(AlexNetSGD(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    random = np.random.default_rng(0)
    images = random.uniform(size=(STEP, 227, 227, 3)).astype("float32")
    labels = random.integers(0, 1_000, STEP)
    model.train_on_batch(images, labels)
    return {
        "parameters": model.count_params(),
        "macs": sum(cost.macs for cost in layer_costs(model)),
        "train": spent(lambda: [model.train_on_batch(images, labels) for _ in range(steps)], steps * STEP),
    }


def photograph() -> bytes:
    """Return a JPEG of 500 × 375 pixels, ImageNet's most common size: a real photograph that scikit-learn ships.

    The quality is chosen so that the bytes come close to ImageNet's average, 115,440 a photograph.
    """
    from PIL import Image
    from sklearn.datasets import load_sample_image

    stream = io.BytesIO()
    Image.fromarray(load_sample_image("china.jpg")).resize((500, 375)).save(stream, "JPEG", quality=97)
    return stream.getvalue()


def read() -> dict[str, Any]:
    """Read photographs from TFRecord files: by ``stream_photos`` for training, and the bytes alone."""
    sys.path.insert(0, str(REPOSITORY / "tests"))
    import tensorflow as tf
    from test_imagenet import prepare_imagenette

    from course_lib.datasets.imagenet import PHOTO_SETS, find_photos, stream_photos

    counts = {"train": PHOTOGRAPHS, "validation": 16}
    PHOTO_SETS["imagenette"] = replace(PHOTO_SETS["imagenette"], splits=counts)
    encoded = photograph()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = prepare_imagenette(Path(folder), counts, lambda number: encoded, shards=16)
        stream = stream_photos("imagenette", "train", batch_size=STEP, training=True, data_dir=data_dir)
        files = [str(path) for path in find_photos("imagenette", data_dir).glob("*train.tfrecord*")]
        records = tf.data.TFRecordDataset(files)
        list(stream.take(1))
        return {
            "bytes": len(encoded),
            "decode": spent(lambda: list(stream), PHOTOGRAPHS),
            "read": spent(lambda: list(records), PHOTOGRAPHS),
        }


def measure(steps: int) -> dict[str, Any]:
    """Measure, and return what is recorded: machine, versions, seconds a photograph of each part."""
    busy = psutil.cpu_percent(interval=1) / 100
    return {
        "machine": settings.machine(),
        "cores": settings.cores(),
        "versions": settings.versions(),
        "date": datetime.now(UTC).date().isoformat(),
        "busy_before": busy,
        **read(),
        **train(steps),
    }


def needs(record: dict[str, Any], *, peak: float, utilisation: float, cores: int, network: float) -> dict[str, float]:
    """Return what 90 epochs of ImageNet need, by arithmetic from the record.

    ``peak`` in floating-point operations a second, ``utilisation`` as a share of it, ``cores`` that decode beside the
    accelerator, ``network`` in bits a second between two workers. Hours, bytes and rates by name. Seconds are those of
    the processor, since what others do on the machine does not lengthen them.
    """
    trained = EPOCHS * TRAINED
    # A training step is three times the multiply–accumulates of a forward pass, each two operations (chapter 02).
    operations = 2 * record["macs"] * (3 * trained + EPOCHS * VALIDATED)
    decoded = EPOCHS * (TRAINED + VALIDATED)
    gradient = 4 * record["parameters"]
    steps = EPOCHS * -(-TRAINED // STEP)
    return {
        "hours to train here": trained * record["train"]["processor"] / record["cores"] / 3600,
        "hours to decode here": decoded * record["decode"]["processor"] / record["cores"] / 3600,
        "operations": operations,
        "hours to train on the accelerator": operations / (peak * utilisation) / 3600,
        "hours to decode beside it": decoded * record["decode"]["processor"] / cores / 3600,
        "cores that keep up": record["decode"]["processor"] * decoded / (operations / (peak * utilisation)),
        "bytes of the archives": ARCHIVES,
        "bytes read in 90 epochs": EPOCHS * ARCHIVES,
        "bytes of 256 × 256 pixels": (TRAINED + VALIDATED) * 256 * 256 * 3,
        "bytes of a gradient": gradient,
        # Two workers each send their half of the gradient and then half of the sum: as many bytes as it has.
        "hours to exchange gradients": steps * gradient * 8 / network / 3600,
    }


def table(record: dict[str, Any], found: dict[str, float], words: argparse.Namespace) -> str:
    """Return what is written between the markers."""

    def hours(*names: str, machines: int = 1) -> str:
        needed = max(found[name] for name in names)
        return f"{needed:,.1f} | {needed * words.price * machines:,.1f}"

    part = record["read"]["processor"] / record["decode"]["processor"]
    here = found["hours to train here"] + found["hours to decode here"]
    rows = [
        f"| this machine: training | {found['hours to train here']:,.0f} | |",
        f"| this machine: decoding, on the same cores | {found['hours to decode here']:,.0f} | |",
        f"| **this machine, together** | **{here:,.0f}** | **{here * words.price:,.0f}** |",
        f"| an accelerator: training alone | {hours('hours to train on the accelerator')} |",
        f"| {words.cores} cores beside it: decoding alone | {hours('hours to decode beside it')} |",
        "| **accelerator and cores, the slower of the two** | **"
        + hours("hours to train on the accelerator", "hours to decode beside it").replace(" | ", "** | **")
        + "** |",
        f"| two workers: exchange of gradients alone | {hours('hours to exchange gradients', machines=2)} |",
    ]
    images = {name: record["cores"] / record[name]["processor"] for name in ("train", "decode")}
    return "\n".join(
        [
            f"Measured on {record['date']} ({record['machine']}; "
            + ", ".join(f"{name} {version}" for name, version in record["versions"].items())
            + f"): AlexNet trains on {images['train']:,.1f} images a second in steps of {STEP}, and the pipeline "
            f"decodes {images['decode']:,.0f} photographs of {record['bytes']:,} bytes a second, each if all "
            f"cores ({record['cores']}) do nothing else. To read a photograph without decoding it takes {part:.1%} of "
            f"that time. The seconds are the processor's; before the measurement other programs used "
            f"{record['busy_before']:.0%} of it.",
            "",
            f"Assumed: an accelerator with a peak of {words.peak / 1e12:,.1f} million million operations a second, "
            f"used to {words.utilisation:.0%}; {words.network / 1e9:,.0f} Gbit/s between two workers; "
            f"an hour of either machine costs {words.price:g}.",
            "",
            f"| {EPOCHS} epochs of ImageNet | hours | cost |",
            "| --- | --- | --- |",
            *rows,
            "",
            f"To keep that accelerator busy, {found['cores that keep up']:,.0f} such cores would have to decode.",
            "",
            "| bytes | |",
            "| --- | --- |",
            f"| the archives | {found['bytes of the archives']:,} |",
            f"| read from disk in {EPOCHS} epochs, by each worker | {found['bytes read in 90 epochs']:,} |",
            f"| all photographs decoded to 256 × 256 pixels, a byte a value | {found['bytes of 256 × 256 pixels']:,} |",
            f"| a gradient, which two workers send each other every step | {found['bytes of a gradient']:,} |",
        ]
    )


def page(text: str, record: dict[str, Any], words: argparse.Namespace) -> str:
    """Return the page's ``text`` with the part between the markers made again from ``record``."""
    before, rest = text.split(MARKERS[0])
    found = needs(record, peak=words.peak, utilisation=words.utilisation, cores=words.cores, network=words.network)
    return f"{before}{MARKERS[0]}\n\n{table(record, found, words)}\n\n{MARKERS[1]}{rest.split(MARKERS[1])[1]}"


def command_line(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="write the page from the record, measure nothing")
    parser.add_argument("--steps", type=int, default=4, help="training steps that are timed")
    parser.add_argument("--price", type=float, default=1, help="of an hour of the machine; default: 1")
    parser.add_argument("--peak", type=float, default=19.5e12, help="operations a second; default: A100, float32")
    parser.add_argument("--utilisation", type=float, default=0.3, help="the share of the peak that is reached")
    parser.add_argument("--cores", type=int, default=16, help="that decode beside the accelerator")
    parser.add_argument("--network", type=float, default=10e9, help="bits a second between two workers")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure unless told not to, record, write the page and print the table."""
    words = command_line()
    if not words.page:
        RESULTS.write_text(json.dumps(measure(words.steps), indent=1) + "\n", encoding="utf-8")
    record = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = page(PAGE.read_text(encoding="utf-8"), record, words)
    PAGE.write_text(text, encoding="utf-8")
    print(text.split(MARKERS[0])[1].split(MARKERS[1])[0].strip())


if __name__ == "__main__":
    main()
