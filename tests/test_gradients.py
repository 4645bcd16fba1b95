"""Gradients with respect to inputs and weights: against calculus, differences, and what has no gradient."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from course_lib.analysis.gradients import input_gradient, weight_gradients


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


def test_weights_in_order_and_shape() -> None:
    x = np.random.default_rng(0).normal(size=(7, 4)).astype("float32")
    dense = layers.Dense(3)
    dense.build((None, 4))
    bias, kernel = weight_gradients(lambda: dense(x), [dense.bias, dense.kernel])
    np.testing.assert_array_equal(bias, [7, 7, 7])
    np.testing.assert_allclose(kernel, np.tile(x.sum(axis=0)[:, None], 3), rtol=1e-5, atol=1e-6)


def test_a_weight_that_is_used_twice_has_the_sum() -> None:
    values = np.array([1.0, -2.0, 3.0])
    first, second = keras.Variable(values), keras.Variable(2 * values)
    found = weight_gradients(lambda: first * second + keras.ops.square(first), [first, second])
    np.testing.assert_allclose(found, [4 * values, values], rtol=1e-6)


def test_logistic_regression() -> None:
    generator = np.random.default_rng(0)
    x, labels = generator.normal(size=(20, 4)).astype("float32"), generator.integers(2, size=20)
    network = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    network.set_weights([generator.normal(size=(4, 1)), np.array([0.3])])

    def loss() -> object:
        return keras.ops.binary_crossentropy(labels[:, None].astype("float32"), network(x), from_logits=True)

    kernel, bias = network.get_weights()
    errors = 1 / (1 + np.exp(-(x @ kernel + bias))) - labels[:, None]
    found = weight_gradients(loss, network.trainable_variables)
    np.testing.assert_allclose(found[0], x.T @ errors, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], errors.sum(axis=0), rtol=1e-4, atol=1e-5)


def test_a_frozen_weight_has_a_gradient_and_stays_frozen() -> None:
    network = keras.Sequential([keras.Input((2,)), layers.Dense(1, use_bias=False)])
    network.layers[0].trainable = False
    (found,) = weight_gradients(lambda: network(np.array([[3.0, 5.0]])), network.variables)
    np.testing.assert_array_equal(found, [[3], [5]])
    assert network.trainable_variables == []


def test_a_weight_that_the_result_does_not_follow_from_is_named() -> None:
    used, unused = keras.Variable(1.0), keras.Variable(1.0, name="idle")
    with pytest.raises(ValueError, match="does not follow from idle"):
        weight_gradients(lambda: 2 * used, [used, unused])
    with pytest.raises(ValueError, match=r"keras\.ops rather than NumPy"):
        weight_gradients(lambda: keras.ops.convert_to_tensor(2 * keras.ops.convert_to_numpy(used.value)), [used])
