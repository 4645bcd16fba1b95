"""Gradients with respect to the input: against calculus, differences, and what has no gradient."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from course_lib.analysis.gradients import input_gradient


def test_calculus() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(input_gradient(keras.ops.square, x), 2 * x, rtol=1e-6)
    np.testing.assert_allclose(input_gradient(keras.ops.sin, x), np.cos(x), rtol=1e-5, atol=1e-6)


def test_a_linear_network_has_its_weights_as_gradient() -> None:
    network = keras.Sequential([keras.Input((5,)), layers.Dense(2)])
    kernel, _ = network.get_weights()
    found = input_gradient(lambda x: network(x)[:, 1], np.ones((3, 5)))
    np.testing.assert_allclose(found, np.tile(kernel[:, 1], (3, 1)), rtol=1e-6)


def test_differences() -> None:
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [keras.Input((8, 8, 2)), layers.Conv2D(4, 3, activation="tanh"), layers.AveragePooling2D(2), layers.Flatten()]
    )
    generator = np.random.default_rng(1)
    x, direction = generator.normal(size=(2, 1, 8, 8, 2)).astype("float32")
    gradient = input_gradient(network, x)
    step = 1e-2
    rise = (np.sum(network(x + step * direction)) - np.sum(network(x - step * direction))) / (2 * step)
    assert np.sum(gradient * direction) == pytest.approx(float(rise), rel=1e-2)


def test_what_does_not_follow_from_the_argument_is_refused() -> None:
    with pytest.raises(ValueError, match=r"keras\.ops rather than NumPy"):
        input_gradient(lambda x: keras.ops.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="steps that have a gradient"):
        input_gradient(keras.ops.argmax, np.ones((2, 2)))
