"""AlexNet's update rule against the paper's formula in NumPy, and the rate that falls on a plateau."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from course_lib.datasets.sources import Images
from course_lib.training.loop import fit
from course_lib.training.optimizers import AlexNetSGD, Plateau


def by_hand(weight: np.ndarray, gradients: np.ndarray, rate: float, momentum: float, decay: float) -> list[np.ndarray]:
    """The paper's section 5, letter for letter."""
    found, velocity = [], np.zeros_like(weight)
    for gradient in gradients:
        velocity = momentum * velocity - decay * rate * weight - rate * gradient
        weight = weight + velocity
        found.append(weight)
    return found


@pytest.mark.parametrize("decay", [0.0005, 0.1, 0.0])
def test_every_step_is_the_papers(decay: float) -> None:
    generator = np.random.default_rng(0)
    start, gradients = generator.normal(size=(4, 3)), generator.normal(size=(20, 4, 3))
    variable = keras.Variable(start.astype("float32"))
    optimizer = AlexNetSGD(0.01, 0.9, decay)
    for gradient, expected in zip(gradients, by_hand(start, gradients, 0.01, 0.9, decay), strict=True):
        optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
        np.testing.assert_allclose(np.asarray(variable.value), expected, rtol=1e-5, atol=1e-6)


def test_without_decay_it_is_keras_sgd_and_with_decay_it_is_not() -> None:
    def after(optimizer: keras.optimizers.Optimizer) -> np.ndarray:
        variable = keras.Variable(np.ones((2, 2), "float32"))
        for step in range(10):
            optimizer.apply([tf.fill((2, 2), float(step))], [variable])
        return np.asarray(variable.value)

    np.testing.assert_allclose(after(AlexNetSGD(0.01, 0.9, 0)), after(keras.optimizers.SGD(0.01, 0.9)), rtol=1e-6)
    ours, theirs = after(AlexNetSGD(0.01, 0.9, 0.5)), after(keras.optimizers.SGD(0.01, 0.9, weight_decay=0.5))
    assert np.abs(ours - theirs).max() > 1e-3


def test_biases_are_not_decayed() -> None:
    bias = keras.Variable(np.ones(3, "float32"))
    AlexNetSGD(0.1, 0.9, 0.5).apply([tf.zeros(3)], [bias])
    np.testing.assert_array_equal(np.asarray(bias.value), 1)


def test_constants_are_checked_and_kept() -> None:
    with pytest.raises(ValueError, match=r"momentum=1\.0"):
        AlexNetSGD(momentum=1.0)
    with pytest.raises(ValueError, match="decay=-1"):
        AlexNetSGD(decay=-1)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(AlexNetSGD(0.02, 0.8, 0.003)))
    assert (float(again.learning_rate), again.momentum, again.decay) == (pytest.approx(0.02), 0.8, 0.003)


def test_plateau_waits_divides_and_stops_dividing() -> None:
    plateau = Plateau(patience=2, times=2)
    accuracies = [0.1, 0.2, 0.2, 0.19, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3]
    assert [plateau.divisions(accuracies[:n]) for n in range(12)] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2]
    assert plateau.rate(0.01, accuracies) == pytest.approx(1e-4)


def test_plateau_of_a_loss_wants_it_smaller() -> None:
    assert Plateau("val_loss", patience=1).divisions([3, 2, 1]) == 0
    assert Plateau("val_accuracy", patience=1).divisions([3, 2, 1]) == 2


@pytest.mark.parametrize("wrong", [{"factor": 1}, {"patience": 0}, {"times": 0}])
def test_impossible_plateaus_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        Plateau(**wrong)  # type: ignore[arg-type]


def test_fit_lowers_the_rate_as_the_history_says() -> None:
    keras.utils.set_random_seed(0)
    data = Images(np.random.default_rng(0).random((32, 2, 2, 1)).astype("float32"), np.arange(32, dtype="int32") % 2)
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    optimizer, plateau = AlexNetSGD(0.01), Plateau("accuracy", patience=1, times=2)
    history = fit(model, data, epochs=8, batch_size=16, optimizer=optimizer, plateau=plateau)
    divided = plateau.divisions(history.epochs["accuracy"][:-1])
    assert divided > 0, "random labels are no better learned each epoch"
    assert float(optimizer.learning_rate) == pytest.approx(0.01 / 10**divided)


def test_plateau_needs_a_plain_rate_and_its_metric() -> None:
    data = Images(np.zeros((4, 2, 2, 1), "float32"), np.zeros(4, "int32"))
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    for optimizer in (None, keras.optimizers.SGD(schedule)):
        with pytest.raises(ValueError, match="whose rate is a number"):
            fit(model, data, epochs=1, validation=data, optimizer=optimizer, plateau=Plateau())
    with pytest.raises(ValueError, match="'val_accuracy', which needs validation"):
        fit(model, data, epochs=1, optimizer=AlexNetSGD(), plateau=Plateau())


def test_fit_ends_when_the_history_is_good_enough() -> None:
    data = Images(np.zeros((4, 2, 2, 1), "float32"), np.zeros(4, "int32"))
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    history = fit(model, data, epochs=9, until=lambda history: len(history) == 3)
    assert len(history) == 3 and not history.interrupted
