"""The training loop: order of the data, resuming after a kill, interrupts, NaN, agreement with plain Keras."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from course_lib.datasets.digits import read_sample
from course_lib.datasets.sources import Examples, Images, as_images
from course_lib.models.lenet import lenet5
from course_lib.training import loop
from course_lib.training.loop import Batches, TrainingDiverged, fit


@pytest.fixture(scope="module")
def digits() -> Images:
    images, labels = read_sample()
    return as_images((images[:500], labels[:500]))


def numbered(count: int) -> Images:
    """Return images that hold their own index, to follow each one."""
    return Images(np.arange(count, dtype="float32").reshape(-1, 1, 1, 1), np.arange(count, dtype="int32"))


def served(batches: Batches) -> list[np.ndarray]:
    return [batches[index][0].ravel() for index in range(len(batches))]


@pytest.mark.parametrize(("count", "size"), [(10, 3), (12, 4), (5, 8), (1, 1)])
def test_every_example_comes_once_an_epoch(count: int, size: int) -> None:
    batches = Batches(numbered(count), size, seed=0)
    for epoch in range(3):
        batches.epoch = epoch
        parts = served(batches)
        assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
        assert sorted(np.concatenate(parts)) == list(range(count))


def test_order_depends_on_seed_and_epoch_and_nothing_else() -> None:
    def order(seed: int | None, epoch: int) -> list[float]:
        batches = Batches(numbered(100), 10, seed)
        for passed in range(epoch + 1):
            batches.epoch = passed
        return list(np.concatenate(served(batches)))

    def jump(seed: int, epoch: int) -> list[float]:
        batches = Batches(numbered(100), 10, seed)
        batches.epoch = epoch
        return list(np.concatenate(served(batches)))

    assert order(0, 2) == jump(0, 2)
    assert order(0, 0) != order(0, 1) and order(0, 0) != order(1, 0)
    assert order(None, 1) == list(range(100))


def test_batches_are_drawn_over_all_examples() -> None:
    """Shuffling after batching would leave neighbours together: here a batch spans far more than its own size."""
    parts = served(Batches(numbered(1_000), 10, seed=0))
    assert np.mean([np.ptp(part) for part in parts]) > 500


@pytest.mark.parametrize(("count", "size"), [(10, 3), (12, 4), (5, 8)])
def test_tensorflow_pipeline_serves_the_same_batches_each_epoch(count: int, size: int) -> None:
    batches = Batches(numbered(count), size, seed=3)
    data = loop._as_tf_data(batches)
    assert data.cardinality().numpy() == len(batches)
    for epoch in (0, 1, 5):
        batches.epoch = epoch
        theirs = [images.numpy().ravel() for images, _ in data]
        assert [part.tolist() for part in theirs] == [part.tolist() for part in served(batches)]


def test_fit_shows_the_model_each_epoch_in_its_order(digits: Images) -> None:
    seen: list[np.ndarray] = []

    class Spy(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(500)

        def call(self, inputs: object, training: bool = False) -> object:
            import tensorflow as tf

            if training:
                tf.py_function(lambda x: seen.append(x.numpy().ravel()), [inputs], [])
            return self.dense(keras.ops.reshape(inputs, (-1, 1)) / 500)

    data = numbered(500)
    model = Spy()
    model(data.images[:1])
    fit(model, data, epochs=3, batch_size=64, seed=7)
    shown = np.concatenate(seen).reshape(3, 500)
    expected = []
    batches = Batches(data, 64, seed=7)
    for epoch in range(3):
        batches.epoch = epoch
        expected.append(np.concatenate(served(batches)))
    assert np.array_equal(shown, expected)


def test_fit_is_plain_keras_but_for_the_order(digits: Images) -> None:
    """One full batch an epoch leaves no order to differ in: losses must agree with model.fit to float error."""
    keras.utils.set_random_seed(0)
    ours, plain = lenet5(), lenet5()
    plain.set_weights(ours.get_weights())
    mine = fit(ours, digits, epochs=4, batch_size=500, optimizer=keras.optimizers.Adam(1e-3))
    plain.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    theirs = plain.fit(digits.images, digits.labels, epochs=4, batch_size=500, verbose=0)
    np.testing.assert_allclose(mine.epochs["loss"], theirs.history["loss"], rtol=1e-4)


def test_validation_is_measured_on_all_of_it(digits: Images) -> None:
    held_out = Images(np.tile(digits.images, (3, 1, 1, 1))[:1_203], np.tile(digits.labels, 3)[:1_203])
    model = lenet5()
    history = fit(model, digits, validation=held_out, epochs=2)
    scores = model.predict(held_out.images, verbose=0)
    assert history.last("val_accuracy") == pytest.approx((scores.argmax(axis=1) == held_out.labels).mean(), abs=1e-6)


def test_default_rate_falls_to_zero(digits: Images) -> None:
    model = lenet5()
    fit(model, digits, epochs=2, learning_rate=0.01)
    assert float(model.optimizer.learning_rate) == pytest.approx(0, abs=1e-8)


def test_history_names_what_it_has(digits: Images) -> None:
    history = fit(lenet5(), digits, epochs=1)
    with pytest.raises(KeyError, match=r"no 'top5'.*accuracy, loss"):
        history.last("top5")
    assert len(history) == 1 and history.seconds > 0


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"epochs": 1, "batch_size": 0}])
def test_impossible_arguments_are_refused(digits: Images, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        fit(lenet5(), digits, **wrong)


def test_no_examples_are_refused(digits: Images) -> None:
    with pytest.raises(ValueError, match="no training examples"):
        fit(lenet5(), digits.take(0, 0), epochs=1)


def test_nan_stops_with_advice(digits: Images) -> None:
    images = digits.images.copy()
    images[123] = np.nan
    with pytest.raises(
        TrainingDiverged, match=r"loss became nan in epoch 1.*learning rate.*NaN in the inputs"
    ) as caught:
        fit(lenet5(), Images(images, digits.labels), epochs=3)
    assert len(caught.value.history) == 0


def interrupt_in_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    original = loop._Watch.on_train_batch_end

    def interrupting(self: loop._Watch, batch: int, logs: dict[str, float] | None = None) -> None:
        original(self, batch, logs)
        if self.epoch == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop._Watch, "on_train_batch_end", interrupting)


def test_interrupt_keeps_history_and_says_how_to_go_on(
    digits: Images, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keras.utils.set_random_seed(1)
    uninterrupted = lenet5()
    start = uninterrupted.get_weights()
    whole = fit(uninterrupted, digits, validation=digits, epochs=4, seed=5)
    stopped = lenet5()
    stopped.set_weights(start)
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, epoch=2)
        history = fit(stopped, digits, validation=digits, epochs=4, seed=5, checkpoint=tmp_path)
    assert history.interrupted and history.epochs["loss"] == whole.epochs["loss"][:2]
    assert "Interrupted after 2 of 4 epochs. Run the same cell again" in capsys.readouterr().out
    resumed = lenet5()  # with other weights: the checkpoint brings the right ones
    history = fit(resumed, digits, validation=digits, epochs=4, seed=5, checkpoint=tmp_path)
    assert history.epochs == whole.epochs and not history.interrupted
    for ours, theirs in zip(resumed.get_weights(), uninterrupted.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_interrupt_ends_an_unattended_run(digits: Images, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COURSE_RUN_LOG", str(tmp_path / "log"))
    interrupt_in_epoch(monkeypatch, epoch=0)
    with pytest.raises(KeyboardInterrupt):
        fit(lenet5(), digits, epochs=2)


def test_checkpoint_of_another_run_is_refused(digits: Images, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, epoch=1)
        fit(lenet5(), digits, epochs=4, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"another run: .*batch size 128, now 64.*Delete that folder"):
        fit(lenet5(), digits, epochs=4, batch_size=64, checkpoint=tmp_path)
    (tmp_path / "run.json").write_text('{"identity": ')
    with pytest.raises(ValueError, match=r"run\.json: it cannot be read"):
        fit(lenet5(), digits, epochs=4, checkpoint=tmp_path)


def test_finished_run_leaves_no_checkpoint(digits: Images, tmp_path: Path) -> None:
    fit(lenet5(), digits, epochs=2, checkpoint=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


TRAIN = textwrap.dedent(
    """
    import hashlib, json, sys
    import keras
    from course_lib.datasets.digits import read_sample
    from course_lib.datasets.sources import as_images
    from course_lib.models.layers import RandomAffine
    from course_lib.models.lenet import lenet5
    from course_lib.training.loop import fit

    images, labels = read_sample()
    data = as_images((images, labels))
    keras.utils.set_random_seed(0)
    inner = lenet5()
    model = keras.Sequential([keras.Input((28, 28, 1)), RandomAffine(seed=0), keras.layers.Dropout(0.1, seed=1), inner])
    history = fit(model, data, validation=data.take(0, 500), epochs=6, checkpoint=sys.argv[1] or None, seed=0)
    digest = hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest()
    print(json.dumps({"weights": digest, "epochs": history.epochs}))
    """
)


def kill_after_two_epochs(training: subprocess.Popen[str], record: Path) -> None:
    """Send SIGKILL to a training run once its record on disk has two epochs."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and training.poll() is None:
        if record.exists() and len(json.loads(record.read_text())["epochs"]["loss"]) >= 2:
            break
        time.sleep(0.005)
    assert training.poll() is None, "training ended before it could be killed"
    training.send_signal(signal.SIGKILL)


def test_resumes_after_a_kill_to_the_same_result(tmp_path: Path) -> None:
    """kill -9 in the middle, with dropout and distortions: weights bit for bit those of an uninterrupted run."""
    environment = {**os.environ, "COURSE_PROFILE": "quick", "COURSE_OFFLINE": "1"}

    def start(checkpoint: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", TRAIN, checkpoint]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)

    whole = start("")
    expected = json.loads(whole.communicate(timeout=300)[0].splitlines()[-1])
    folder = tmp_path / "run"
    killed = start(str(folder))
    record = folder / "run.json"
    kill_after_two_epochs(killed, record)
    killed.wait(timeout=60)
    assert record.exists()
    resumed = start(str(folder))
    assert json.loads(resumed.communicate(timeout=300)[0].splitlines()[-1]) == expected


def test_examples_may_have_several_inputs_by_name() -> None:
    """One input holds what the label says; the rows must stay together with it through order and batches."""

    labels = np.random.default_rng(0).integers(0, 2, 500).astype("int32")
    noise = np.random.default_rng(1).normal(size=(500, 3)).astype("float32")
    data = Examples({"noise": noise, "sign": 4.0 * labels[:, None].astype("float32") - 2}, labels)
    entries = [keras.Input((3,), name="noise"), keras.Input((1,), name="sign")]
    model = keras.Model(entries, keras.layers.Dense(2)(keras.layers.Concatenate()(entries)))
    history = fit(model, data, epochs=5, learning_rate=0.1, validation=data.take(0, 77))
    assert history.last("accuracy") == history.last("val_accuracy") == 1
    np.testing.assert_array_equal(data[labels == 1].inputs["sign"], 2)
