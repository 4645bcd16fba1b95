"""Quantizers, networks that compute with quantized values, and the noise that they predict."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from course_lib.analysis.gradients import weight_gradients
from course_lib.compression.quantize import (
    decibels,
    fit_quantizer,
    quantize_network,
    score_noise,
    score_shift,
    signal_to_noise,
)
from course_lib.datasets import load_digits
from course_lib.models.lenet import load_lenet5


def draw(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def chain(activation: str = "tanh") -> keras.Sequential:
    """Images (8, 8, 2) → a convolution, pooling, two dense layers → 3 scores, with biases that are not 0."""
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(4, 3, activation=activation, name="conv"),
            layers.ReLU(name="relu"),
            layers.AveragePooling2D(2, name="pool"),
            layers.Dropout(0.5, name="dropout"),
            layers.Flatten(name="flatten"),
            layers.Dense(5, activation=activation, name="hidden"),
            layers.Dense(3, name="output"),
        ],
        name="chain",
    )
    for layer in network.layers:
        if layer.weights:
            layer.bias.assign(draw(*layer.bias.shape, seed=9) / 5)
    return network


def dense(inputs: int = 6, scores: int = 4) -> keras.Sequential:
    network = keras.Sequential([keras.Input((inputs,)), layers.Dense(scores, name="output")])
    network.layers[0].set_weights([draw(inputs, scores, seed=3), draw(scores, seed=4)])
    return network


def test_symmetric_codes_by_hand() -> None:
    quantizer = fit_quantizer([-0.6, 0.25, 0.5], 3)
    assert (float(quantizer.step), int(quantizer.zero_point)) == (pytest.approx(0.2), 0)  # 0.6 / 3
    assert (quantizer.lowest, quantizer.highest) == (-3, 3)
    assert quantizer.encode([-0.6, 0.25, 0.5, 0.0, -0.11, 9, -9]).tolist() == [-3, 1, 2, 0, -1, 3, -3]
    np.testing.assert_allclose(quantizer([-0.6, 0.25, 0.5]), [-0.6, 0.2, 0.4])


def test_affine_codes_by_hand() -> None:
    quantizer = fit_quantizer([-1, 0.2, 2], 2, symmetric=False)
    assert (float(quantizer.step), int(quantizer.zero_point)) == (1.0, 1)
    assert quantizer.encode([-1, 0.2, 2, -7, 7]).tolist() == [0, 1, 3, 0, 3]
    np.testing.assert_allclose(quantizer([-1, 0.2, 2]), [-1, 0, 2])


@pytest.mark.parametrize("values", [[3.0, 4.0, 5.0], [-5.0, -4.0]])
def test_an_affine_range_holds_zero_even_where_no_value_is_near_it(values: list[float]) -> None:
    quantizer = fit_quantizer(values, 8, symmetric=False)
    assert float(quantizer.step) == pytest.approx(5 / 255)
    assert quantizer(0.0) == 0
    assert np.abs(quantizer(values) - values).max() <= 2.5 / 255


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_affine_quantizer_is_that_of_keras(bits: int, per_channel: bool) -> None:
    values = draw(50, 3) * [0.1, 1, 10] + [0, 0.3, -2]
    quantizer = fit_quantizer(values, bits, symmetric=False, per_channel=per_channel)
    axes = 0 if per_channel else None
    expected = keras.quantizers.fake_quant_with_min_max_vars(
        values.astype("float32"), values.min(axes), values.max(axes), bits, axis=1 if per_channel else None
    )
    np.testing.assert_allclose(quantizer(values), expected, atol=1e-5)


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_symmetric_quantizer_is_that_of_keras(per_channel: bool) -> None:
    values = draw(50, 3) * np.float32([0.1, 1, 10])
    codes, scale = keras.quantizers.abs_max_quantize(values, axis=0 if per_channel else (0, 1), epsilon=0.0)
    quantizer = fit_quantizer(values, 8, per_channel=per_channel)
    np.testing.assert_allclose(quantizer.step, 1 / np.squeeze(scale), rtol=1e-6)
    np.testing.assert_array_equal(quantizer.encode(values), codes)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", range(2, 17))
def test_no_error_exceeds_half_a_step_and_zero_has_none(bits: int, symmetric: bool) -> None:
    values = np.concatenate([draw(500, 2) * [1, 30] - [0.2, 5], np.zeros((1, 2))])
    quantizer = fit_quantizer(values, bits, symmetric=symmetric, per_channel=True)
    assert (np.abs(quantizer(values) - values) <= quantizer.step * (0.5 + 1e-9)).all()
    assert (quantizer(values)[-1] == 0).all()
    assert (quantizer.encode(values) >= quantizer.lowest).all() and (
        quantizer.encode(values) <= quantizer.highest
    ).all()


@pytest.mark.parametrize("symmetric", [False, True])
def test_nothing_but_zeros_is_held_exactly(symmetric: bool) -> None:
    values = np.zeros((4, 2))
    values[:, 1] = 3
    quantizer = fit_quantizer(values, 4, symmetric=symmetric, per_channel=True)
    np.testing.assert_allclose(quantizer(values), values)
    assert quantizer.zero_point.tolist() == [0, 0]


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_evenly_spread_values_have_noise_of_a_twelfth_of_the_squared_step(bits: int) -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 100_000)
    quantizer = fit_quantizer(np.append(values, 1), bits)
    step = 1 / (2 ** (bits - 1) - 1)
    squares = (quantizer(values) - values) ** 2
    # The square of an error spread over a step has the variance step⁴ (1/80 - 1/144) = step⁴ / 180.
    tolerance = 4 * step**2 / np.sqrt(180 * len(values))
    assert abs(squares.mean() - step**2 / 12) < tolerance
    assert abs(quantizer.noise(values).mean() - squares.mean()) < 2 * tolerance


# A sine dwells at its ends, where its error is not spread evenly over a step: with few bits that still shows.
@pytest.mark.parametrize(("bits", "tolerance"), [(8, 0.3), (12, 0.1), (16, 0.1)])
def test_a_full_sine_has_six_decibels_a_bit(bits: int, tolerance: float) -> None:
    sine = np.sin(np.linspace(0, 2000, 100_001))
    quantizer = fit_quantizer(np.append(sine, [1, -1]), bits, symmetric=False)
    assert signal_to_noise(sine, quantizer(sine)) == pytest.approx(
        6.02 * bits + 1.76, abs=tolerance
    )  # the textbook's formula


def test_values_that_are_codes_have_no_noise() -> None:
    pixels = np.arange(256, dtype="float32") / np.float32(255)
    assert not fit_quantizer(pixels, 8, symmetric=False).noise(pixels).any()
    halves = fit_quantizer(np.array([[-1, 8], [0.3, 2.2]]), 4, per_channel=True).noise([[-1, 0], [0.3, 2.2]])
    np.testing.assert_allclose(halves, [[0, 0], [1 / 7**2 / 12, (8 / 7) ** 2 / 12]])


def test_decibels() -> None:
    assert decibels(1000, 1) == pytest.approx(30)
    assert decibels(2, 1) == pytest.approx(3.0103)
    assert decibels(1, 0) == np.inf
    assert signal_to_noise([3, 4], [3, 4.5]) == pytest.approx(20)  # 25 / 0.25
    with pytest.raises(ValueError, match=r"decibels\(power=0, noise=1\)"):
        decibels(0, 1)
    with pytest.raises(ValueError, match=r"values have shape \(2,\), quantized \(1,\)"):
        signal_to_noise([1, 2], [1])


@pytest.mark.parametrize("bits", [1, 17, 0, -8, 2.5, float("nan")])
def test_bits_out_of_range_are_refused(bits: float) -> None:
    with pytest.raises(ValueError, match=r"bits=.*a whole number from 2 to 16"):
        fit_quantizer([1.0], bits)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"bits=.*a whole number from 2 to 16"):
        quantize_network(dense(), draw(2, 6), weight_bits=None, activation_bits=bits)  # type: ignore[arg-type]


def test_values_that_cannot_be_quantized_are_refused() -> None:
    with pytest.raises(ValueError, match=r"values\) is empty, of shape \(0, 3\)"):
        fit_quantizer(np.zeros((0, 3)), 8)
    with pytest.raises(ValueError, match="has 2 values that are NaN or infinite"):
        fit_quantizer([1, np.nan, np.inf], 8)
    with pytest.raises(ValueError, match=r"encode\(values\) has 1 values that are NaN"):
        fit_quantizer([1, 2], 8)([1, np.nan])
    with pytest.raises(ValueError, match=r"per_channel=True\) needs values \(…, channels\), not \(3,\)"):
        fit_quantizer([1, 2, 3], 8, per_channel=True)


@pytest.mark.parametrize("per_channel", [False, True])
def test_quantized_weights_are_those_of_a_network_that_has_them(per_channel: bool) -> None:
    network, images = chain(), draw(7, 8, 8, 2)
    before = [weight.copy() for weight in network.get_weights()]
    found = quantize_network(network, images, weight_bits=3, activation_bits=None, per_channel=per_channel)
    copy = keras.models.clone_model(network)
    copy.set_weights(
        [fit_quantizer(each, 3, per_channel=per_channel)(each) if each.ndim > 1 else each for each in before]
    )
    np.testing.assert_allclose(found.scores(images), copy(images), atol=1e-5)
    assert np.abs(found.scores(images) - network(images)).max() > 0.01
    for was, now in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_each_layer_gets_quantized_inputs() -> None:
    network, images, bits = chain(), draw(7, 8, 8, 2), 4
    found = quantize_network(network, images, weight_bits=None, activation_bits=bits).scores(images)
    exact = rounded = keras.ops.convert_to_tensor(images)
    for layer in network.layers:
        if layer.weights:
            rounded = fit_quantizer(exact, bits, symmetric=False)(rounded).astype("float32")
        exact, rounded = layer(exact), layer(rounded)
    np.testing.assert_allclose(found, rounded, atol=1e-5)


def test_without_bits_nothing_changes_and_with_sixteen_hardly_anything() -> None:
    network, images = chain(), draw(1100, 8, 8, 2)  # more than two batches
    scores = keras.ops.convert_to_numpy(network(images))
    exact = quantize_network(network, images, weight_bits=None, activation_bits=None)
    np.testing.assert_allclose(exact.scores(images), scores, atol=1e-6)
    assert score_noise(exact, images[:2]) == {}
    assert not score_shift(exact, images[:2]).any()
    fine = quantize_network(network, images, weight_bits=16, activation_bits=16)
    assert signal_to_noise(scores, fine.scores(images)) > 70


def test_ranges_come_from_the_examples_and_cut_off_what_is_beyond() -> None:
    network = dense()
    found = quantize_network(network, 0.5 * np.eye(6), weight_bits=None, activation_bits=8)
    np.testing.assert_allclose(found.scores(np.eye(6)), found.scores(0.5 * np.eye(6)))
    assert float(found.inputs["output"].step) == pytest.approx(0.5 / 255)


def test_the_noise_of_a_linear_layer_is_its_closed_form() -> None:
    network, inputs = dense(), draw(5, 6, seed=2)
    inputs[0, 0] = 0
    quantized = quantize_network(network, inputs, weight_bits=6, activation_bits=5)
    kernel = network.layers[0].get_weights()[0].astype("float64")
    step = (inputs.max() - inputs.min()) / (2**5 - 1)
    steps = np.abs(kernel).max(axis=0) / (2**5 - 1)
    noise = score_noise(quantized, inputs)
    assert list(noise) == ["output inputs", "output weights"]
    np.testing.assert_allclose(noise["output inputs"], step**2 / 12 * (inputs != 0) @ kernel**2, rtol=1e-4)
    rounded = np.abs(kernel) < np.abs(kernel).max(axis=0)  # the largest of each channel is a code
    np.testing.assert_allclose(noise["output weights"], inputs**2.0 @ (rounded * steps**2 / 12), rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "activation": "tanh"},
        {"kernel_size": 3, "padding": "same", "strides": 2, "use_bias": False},
        {"kernel_size": (2, 3), "dilation_rate": 2},
    ],
)
def test_the_noise_of_weights_is_the_sum_over_their_squared_gradients(options: dict[str, Any]) -> None:
    network = keras.Sequential([keras.Input((8, 8, 2)), layers.Conv2D(4, name="conv", **options)])
    network.add(layers.MaxPooling2D(2))
    network.add(layers.Flatten())
    network.add(layers.Dense(3, activation="tanh", name="output"))
    images = draw(2, 8, 8, 2)
    quantized = quantize_network(network, images, weight_bits=5, activation_bits=5)
    noise = score_noise(quantized, images)

    def gradient(kernel: keras.Variable, image: int, score: int) -> NDArray[np.float32]:
        return weight_gradients(lambda: network(images[image : image + 1])[:, score], [kernel])[0]

    for name in ("conv", "output"):
        kernel = network.get_layer(name).kernel
        variance = quantized.kernels[name].noise(kernel)
        expected = [
            [(gradient(kernel, image, score) ** 2 * variance).sum() for score in range(3)] for image in range(2)
        ]
        np.testing.assert_allclose(noise[f"{name} weights"], expected, rtol=1e-4)


def test_the_noise_of_activations_is_that_of_random_errors() -> None:
    """Errors drawn at the inputs of a linear chain, against the sum over sources."""
    network = chain(activation="linear")
    network.get_layer("conv").bias.assign(np.full(4, 100))  # so that ReLU stays open and all is linear
    images, draws = draw(1, 8, 8, 2), 4000
    quantized = quantize_network(network, images, weight_bits=None, activation_bits=8)
    generator, step = np.random.default_rng(0), float(quantized.inputs["conv"].step)
    noisy = images + generator.uniform(-step / 2, step / 2, (draws, 8, 8, 2))
    measured = np.var(keras.ops.convert_to_numpy(network(noisy.astype("float32"))), axis=0)
    predicted = score_noise(quantized, images)["conv inputs"][0]
    np.testing.assert_allclose(predicted, measured, rtol=4 * np.sqrt(2 / draws))  # four standard errors of a variance


def test_the_shift_of_a_linear_layer_is_what_its_rounded_weights_do() -> None:
    network, inputs = dense(), draw(5, 6, seed=2)
    quantized = quantize_network(network, inputs, weight_bits=3, activation_bits=3)
    kernel = network.layers[0].get_weights()[0]
    errors = fit_quantizer(kernel, 3, per_channel=True)(kernel) - kernel
    np.testing.assert_allclose(score_shift(quantized, inputs), inputs @ errors, atol=1e-5)


def test_the_shift_of_scores_is_the_measured_one_for_small_errors_and_all_layers() -> None:
    network, images = chain(), draw(6, 8, 8, 2)
    scores = keras.ops.convert_to_numpy(network(images))
    quantized = quantize_network(network, images, weight_bits=9, activation_bits=None)
    np.testing.assert_allclose(score_shift(quantized, images), quantized.scores(images) - scores, atol=2e-4)
    assert np.abs(quantized.scores(images) - scores).max() > 2e-3


@pytest.mark.parametrize("bits", [8, 6, 5, 4])
def test_the_predicted_noise_of_lenet5_is_the_measured_within_one_and_a_half_decibels(bits: int) -> None:
    network, images = load_lenet5(), load_digits(source="sample").test.images[:100]
    scores = keras.ops.convert_to_numpy(network(images))
    quantized = quantize_network(network, images, weight_bits=bits, activation_bits=bits)
    noise = score_noise(quantized, images)
    assert len(noise) == 10
    of_inputs = sum(variance for name, variance in noise.items() if name.endswith("inputs"))
    predicted = decibels(float((scores**2).mean()), float((score_shift(quantized, images) ** 2 + of_inputs).mean()))
    assert signal_to_noise(scores, quantized.scores(images)) == pytest.approx(predicted, abs=1.5)


def test_networks_that_are_no_chain_are_refused() -> None:
    def refused(network: keras.Model, message: str) -> None:
        with pytest.raises(TypeError, match=message):
            quantize_network(network, draw(1, 8, 8, 2), weight_bits=8, activation_bits=8)

    entering = keras.Input((8, 8, 2))
    refused(keras.Model(entering, layers.Dense(2)(layers.Flatten()(entering))), "give a built keras.Sequential")
    refused(keras.Sequential([layers.Dense(2)]), "give a built keras.Sequential")
    refused(keras.Sequential([entering, layers.Conv2D(2, 3)]), r"scores \(n, scores\)")
    for layer, message in (
        (layers.BatchNormalization(name="norm"), "norm .*Fold normalisation"),
        (layers.Conv2D(4, 3, groups=2, name="two"), "two .*one group"),
    ):
        refused(keras.Sequential([entering, layer, layers.Flatten(), layers.Dense(2)]), message)


def test_examples_that_do_not_fit_are_refused() -> None:
    quantized = quantize_network(dense(), draw(3, 6), weight_bits=8, activation_bits=8)
    for call in (quantized.scores, partial(score_noise, quantized), partial(score_shift, quantized)):
        with pytest.raises(ValueError, match=r"inputs\) of shape \(2, 5\) must be \(n, 6\)"):
            call(draw(2, 5))
        with pytest.raises(ValueError, match=r"inputs\) of shape \(0, 6\) must be"):
            call(np.zeros((0, 6)))
    with pytest.raises(ValueError, match=r"quantize_network\(examples\) has 6 values that are NaN"):
        quantize_network(dense(), np.full((1, 6), np.nan), weight_bits=8, activation_bits=8)
