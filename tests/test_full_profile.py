"""The numbers of the text on the real data, trained here and now."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from course_lib import records

TRAIN = textwrap.dedent(
    """
    import course_lib
    course_lib.setup(chapter=1)
    import keras
    from course_lib.datasets import load_digits
    from course_lib.models.lenet import lenet5
    from course_lib.training.loop import fit

    digits = load_digits()
    rate = keras.optimizers.schedules.CosineDecay(0.05, 15 * 430)
    model = lenet5()
    fit(model, digits.train, epochs=15, optimizer=keras.optimizers.SGD(rate, momentum=0.9, weight_decay=0.004))
    scores = model.predict(digits.test.images, batch_size=1_000, verbose=0)
    print((scores.argmax(axis=1) == digits.test.labels).mean())
    """
)


@pytest.mark.real_data
def test_taught_lenet_reaches_the_number_of_the_text() -> None:
    environment = {**os.environ, "COURSE_PROFILE": "full", "COURSE_SEED": "0", "COURSE_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", TRAIN], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    accuracy = float(done.stdout.splitlines()[-1])
    name = "taught LeNet-5: test accuracy"
    values = records.recorded(name).values()
    assert accuracy >= 0.985
    # Another processor, another sum order: a run may differ by some digits in ten thousand, not by more.
    assert min(values) - 0.003 <= accuracy <= max(values) + 0.003
