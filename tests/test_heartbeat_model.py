"""LeNet in one dimension: parameters counted by hand, the field that a pool gives, the same answers as in two."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from course_lib.analysis.receptive_field import receptive_field
from course_lib.models.heartbeat import field_of, lenet_1d, rhythm_network

POOLS = pytest.mark.parametrize("pool", [1, 2, 3, 4, 7])
# Kernel times input maps times output maps, and a bias for each output map.
BY_HAND = {
    "C1": 5 * 1 * 6 + 6,
    "C3": 5 * 6 * 16 + 16,
    "C5": 5 * 16 * 120 + 120,
    "F6": 120 * 84 + 84,
    "output": 84 * 5 + 5,
}


@POOLS
def test_parameters_are_those_counted_by_hand_for_every_pool(pool: int) -> None:
    model = lenet_1d(pool=pool)
    assert {layer.name: layer.count_params() for layer in model.layers if layer.count_params()} == BY_HAND
    assert model.count_params() == sum(BY_HAND.values()) == 20_841
    assert model.input_shape == (None, field_of(pool), 1) and model.output_shape == (None, 5)
    assert model.get_layer("S4").output.shape == (None, 5, 16)


def test_maps_are_as_long_as_those_of_lenet_5_are_wide() -> None:
    assert [layer.output.shape[1] for layer in lenet_1d().layers[:4]] == [28, 14, 10, 5]
    assert field_of(2) == 32


@POOLS
def test_field_is_that_of_the_graph(pool: int) -> None:
    """With a convolution of 5 in place of flattening and C5: the same numbers, and a layer that has a field."""
    model = lenet_1d(pool=pool)
    maps = layers.Conv1D(120, 5, name="C5_as_convolution")(model.get_layer("S4").output)
    field = receptive_field(keras.Model(model.inputs, maps))
    assert field.size == (field_of(pool),) and field.stride == (pool * pool,) and field.map_size == (1,)
    assert field.interval(0) == ((0, field_of(pool) - 1),)


@POOLS
def test_every_sample_of_the_field_counts_and_none_is_wasted(pool: int) -> None:
    """Without tanh the answers are linear, so a sample that has no say would show: the last one as well as the first.

    A pool that does not divide its map would drop the map's end.
    """
    model = lenet_1d(pool=pool)
    for layer in model.layers:
        if hasattr(layer, "activation"):
            layer.activation = keras.activations.linear
    inputs = np.concatenate([np.zeros((1, field_of(pool))), np.eye(field_of(pool))])[..., None]
    answers = keras.ops.convert_to_numpy(model(inputs.astype(np.float32)))
    assert (np.abs(answers[1:] - answers[0]).max(axis=1) > 1e-6).all()


@pytest.mark.parametrize(("pool", "samples", "channels", "classes"), [(2, 72, 1, 5), (3, 100, 2, 3), (2, 16, 1, 2)])
def test_window_channels_and_classes_are_as_asked(pool: int, samples: int, channels: int, classes: int) -> None:
    model = lenet_1d(classes, pool=pool, samples=samples, channels=channels)
    places = ((samples - 4) // pool - 4) // pool
    assert model.get_layer("S4").output.shape == (None, places, 16)
    assert model.get_layer("C5").count_params() == places * 16 * 120 + 120
    assert model.get_layer("C1").count_params() == 5 * channels * 6 + 6
    assert model(np.zeros((3, samples, channels), np.float32)).shape == (3, classes)


@pytest.mark.parametrize(("pool", "samples", "least"), [(2, 15, 16), (3, 24, 25), (1, 8, 9), (2, 0, 16)])
def test_window_that_is_too_short_is_refused(pool: int, samples: int, least: int) -> None:
    with pytest.raises(ValueError, match=rf"samples={samples}, pool={pool}\): the window needs at least {least} sampl"):
        lenet_1d(pool=pool, samples=samples)
    assert lenet_1d(pool=pool, samples=least).get_layer("S4").output.shape == (None, 1, 16)


@pytest.mark.parametrize("pool", [0, -2])
def test_pool_below_one_is_refused(pool: int) -> None:
    with pytest.raises(ValueError, match=rf"field_of\(pool={pool}\): a pool has at least 1 sample"):
        field_of(pool)
    for samples in (None, 100):
        with pytest.raises(ValueError):
            lenet_1d(pool=pool, samples=samples)


@pytest.mark.parametrize("pool", [2, 3])
def test_answers_are_those_of_lenet_on_images_one_pixel_high(pool: int) -> None:
    keras.utils.set_random_seed(0)
    ours = lenet_1d(pool=pool, samples=90)
    flat = keras.Sequential(
        [
            keras.Input((1, 90, 1)),
            layers.Conv2D(6, (1, 5), activation="tanh"),
            layers.AveragePooling2D((1, pool)),
            layers.Conv2D(16, (1, 5), activation="tanh"),
            layers.AveragePooling2D((1, pool)),
            layers.Flatten(),
            layers.Dense(120, activation="tanh"),
            layers.Dense(84, activation="tanh"),
            layers.Dense(5),
        ]
    )
    flat.set_weights(
        [weight.reshape(other.shape) for weight, other in zip(ours.get_weights(), flat.weights, strict=True)]
    )
    windows = np.random.default_rng(0).normal(size=(8, 90, 1)).astype(np.float32)
    one, two = (keras.ops.convert_to_numpy(answers) for answers in (ours(windows), flat(windows[:, None])))
    assert np.abs(one - two).max() < 1e-5 < np.ptp(one, axis=0).min()


def test_rhythm_network_by_hand_count() -> None:
    network = rhythm_network(samples=144)  # 140, 70, 66, 33, 29 samples
    shapes = {layer.name: layer.output.shape[1:] for layer in network.layers}
    assert [shapes[f"conv{number}"] for number in (1, 2, 3)] == [(140, 16), (66, 32), (29, 64)]
    convolutions = (5 * 1 * 16 + 16) + (5 * 16 * 32 + 32) + (5 * 32 * 64 + 64)
    assert network.count_params() == convolutions + ((29 * 64 + 4) * 64 + 64) + (64 * 5 + 5)


def test_rhythm_network_reads_both_inputs() -> None:
    generator = np.random.default_rng(0)
    inputs = {"windows": generator.normal(size=(2, 48, 1)), "rhythm": generator.normal(size=(2, 4))}
    network = rhythm_network(samples=48)
    scores = network.predict(inputs, verbose=0)
    for name in inputs:
        assert np.abs(network.predict({**inputs, name: inputs[name] + 1}, verbose=0) - scores).max() > 1e-4


def test_rhythm_network_needs_a_window() -> None:
    rhythm_network(samples=32)
    with pytest.raises(ValueError, match=r"rhythm_network\(samples=31\): the window needs at least 32 samples"):
        rhythm_network(samples=31)
