"""Same seed, same numbers: bit for bit, in another process."""

from __future__ import annotations

import os
import subprocess
import sys

TRAIN = """
import hashlib, sys
import keras
from course_lib import setup
from course_lib.datasets.digits import read_sample
from course_lib.datasets.sources import as_images
from course_lib.models.lenet import lenet5
from course_lib.training.loop import fit

images = as_images(read_sample()).take(0, 500)
for seed in map(int, sys.argv[1:]):
    keras.backend.clear_session()
    setup(chapter=1, seed=seed)
    model = lenet5(activation="relu", pooling="max")
    before = b"".join(weight.tobytes() for weight in model.get_weights())
    history = fit(model, images, epochs=2, batch_size=64)
    after = b"".join(weight.tobytes() for weight in model.get_weights())
    assert after != before and len(after) == 4 * 61_706
    print("HASH", seed, hashlib.sha256(after).hexdigest(), *map(float.hex, history.epochs["loss"]))
"""


def started(*seeds: int) -> subprocess.Popen[str]:
    """Start a process that trains once with each of the seeds."""
    left_out = ("COURSE_SEED", "COURSE_DATA_DIR", "COURSE_PRECISION", "COURSE_RECORD", "COURSE_RUN_LOG")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"COURSE_PROFILE": "quick", "KERAS_BACKEND": "tensorflow", "PYTHONHASHSEED": str(seeds[0])}
    command = [sys.executable, "-c", TRAIN, *map(str, seeds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finished(process: subprocess.Popen[str]) -> list[list[str]]:
    """Return for each training seed, hash of the weights and losses, as text."""
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error[-2_000:]
    return [line.split()[1:] for line in out.splitlines() if line.startswith("HASH")]


def test_two_processes_with_one_seed_agree_bit_for_bit() -> None:
    # The second process trains with another seed first: what ran before must leave no trace either.
    processes = started(3), started(4, 3)
    (first,), (other, second) = map(finished, processes)
    assert first == second
    assert other[0] == "4" and other[1] != first[1] and other[2:] != first[2:]
