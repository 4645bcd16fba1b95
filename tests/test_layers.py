"""The layers of the 1998 network against slow loops, against Keras, and against the paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray

from course_lib.models.layers import RadialBasis, RandomAffine, SparseConv2D, Subsampling, fan_in_uniform, scaled_tanh

Array = NDArray[np.float32]
few = examples(max_examples=12, deadline=None, derandomize=True)


def array(*shape: int, seed: int = 0) -> Array:
    """Return normal numbers of this shape."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def apply(layer: keras.Layer, inputs: Array, **kwargs: Any) -> Array:
    """Return what the layer makes of the inputs, as NumPy."""
    return keras.ops.convert_to_numpy(layer(inputs, **kwargs))


def input_gradient(layer: keras.Layer, inputs: Array, output_map: int) -> Array:
    """Return the gradient of the sum of one output map with respect to the inputs."""
    import tensorflow as tf

    variable = tf.Variable(inputs)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(variable)[..., output_map])
    return tape.gradient(total, variable).numpy()


# scaled tanh and initialiser


def test_scaled_tanh_maps_one_to_one() -> None:
    assert keras.ops.convert_to_numpy(scaled_tanh(np.float32([-1, 1]))) == pytest.approx([-1, 1], abs=1e-4)


def test_scaled_tanh_is_the_formula_of_the_paper() -> None:
    x = np.linspace(-6, 6, 101)
    expected = 1.7159 * (np.exp(4 * x / 3) - 1) / (np.exp(4 * x / 3) + 1)  # tanh written out
    assert keras.ops.convert_to_numpy(scaled_tanh(x.astype("float32"))) == pytest.approx(expected, abs=2e-6)


def test_initialiser_fills_the_range_of_the_paper() -> None:
    drawn = keras.ops.convert_to_numpy(fan_in_uniform(25)((20_000,)))
    assert np.abs(drawn).max() <= 2.4 / 25
    assert drawn.min() < -0.99 * 2.4 / 25 and drawn.max() > 0.99 * 2.4 / 25
    assert drawn.std() == pytest.approx(2.4 / 25 / np.sqrt(3), rel=0.02)


# Subsampling


def subsampling(inputs: Array, coefficient: Array, bias: Array) -> Array:
    """Return the paper's sub-sampling, one block after the other."""
    n, height, width, channels = inputs.shape
    result = np.zeros((n, height // 2, width // 2, channels))
    for i, row, column, channel in np.ndindex(*result.shape):
        block = inputs[i, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2, channel]
        result[i, row, column, channel] = block.astype(float).sum() * coefficient[channel] + bias[channel]
    return result


@few
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_subsampling_equals_the_loop(n: int, half_height: int, half_width: int, channels: int) -> None:
    inputs = array(n, 2 * half_height, 2 * half_width, channels)
    layer = Subsampling()
    layer.build(inputs.shape)
    coefficient, bias = array(channels, seed=1), array(channels, seed=2)
    layer.set_weights([coefficient, bias])
    expected = subsampling(inputs, coefficient, bias)
    assert apply(layer, inputs) == pytest.approx(expected, abs=1e-5)
    assert layer.compute_output_shape(inputs.shape) == expected.shape
    assert layer.count_params() == 2 * channels


def test_subsampling_starts_as_a_mean() -> None:
    inputs = array(2, 6, 4, 3)
    assert apply(Subsampling(), inputs) == pytest.approx(apply(keras.layers.AveragePooling2D(2), inputs), abs=1e-6)


@pytest.mark.parametrize("shape", [(None, 5, 4, 1), (None, 4, 5, 1), (None, None, 4, 1)])
def test_subsampling_refuses_odd_and_unknown_sizes(shape: tuple[int | None, ...]) -> None:
    with pytest.raises(ValueError, match="even"):
        Subsampling().build(shape)


# SparseConv2D


def sparse_convolution(inputs: Array, table: Sequence[Sequence[int]], weights: dict, bias: Array) -> Array:
    """Return the sum over the connections of the table, one product after the other."""
    size = next(iter(weights.values())).shape[0]
    n, height, width, _ = inputs.shape
    result = np.zeros((n, height - size + 1, width - size + 1, len(table)))
    for i, row, column, target in np.ndindex(*result.shape):
        patch = inputs[i, row : row + size, column : column + size]
        result[i, row, column, target] = bias[target]
        for source in table[target]:
            result[i, row, column, target] += (patch[..., source].astype(float) * weights[source, target]).sum()
    return result


tables = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True), min_size=1, max_size=4)


@few
@given(tables, st.integers(1, 3), st.integers(0, 2), st.integers(0, 3))
def test_sparse_convolution_equals_the_loop(table: list[list[int]], size: int, more: int, wider: int) -> None:
    inputs = array(2, size + more, size + more + wider, 4)
    layer = SparseConv2D(table, size)
    layer.build(inputs.shape)
    kernel, bias = array(*layer.kernel.shape, seed=1), array(len(table), seed=2)
    layer.set_weights([kernel, bias])
    connections = [(source, target) for target, maps in enumerate(table) for source in maps]
    weights = {connection: kernel[..., place] for place, connection in enumerate(connections)}
    expected = sparse_convolution(inputs, table, weights, bias)
    assert apply(layer, inputs) == pytest.approx(expected, abs=1e-4)
    assert layer.compute_output_shape(inputs.shape) == expected.shape
    assert layer.count_params() == size**2 * len(connections) + len(table)


@pytest.mark.parametrize(("size", "channels", "maps"), [(1, 1, 1), (3, 2, 5), (5, 6, 16)])
def test_complete_table_is_an_ordinary_convolution(size: int, channels: int, maps: int) -> None:
    inputs, dense, bias = array(2, 9, 8, channels), array(size, size, channels, maps, seed=1), array(maps, seed=2)
    ordinary = keras.layers.Conv2D(maps, size)
    ordinary.build(inputs.shape)
    ordinary.set_weights([dense, bias])
    sparse = SparseConv2D([range(channels)] * maps, size)
    sparse.build(inputs.shape)
    # Connections are numbered map after map: the last two axes of the dense kernel, the other way round.
    sparse.set_weights([dense.transpose(0, 1, 3, 2).reshape(size, size, -1), bias])
    assert sparse.count_params() == ordinary.count_params()
    assert apply(sparse, inputs) == pytest.approx(apply(ordinary, inputs), abs=1e-4)


def test_missing_connections_carry_nothing_before_and_after_training() -> None:
    table, inputs = [[0, 1], [2], [0, 2]], array(4, 7, 6, 3)
    layer = SparseConv2D(table, 3)
    model = keras.Sequential([keras.Input(inputs.shape[1:]), layer, keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    before = layer.get_weights()[0]
    for _ in range(3):
        for target, maps in enumerate(table):
            reached = np.abs(input_gradient(layer, inputs, target)).max(axis=(0, 1, 2)) > 0
            assert np.flatnonzero(reached).tolist() == maps
        model.train_on_batch(inputs, array(4, 2, seed=3))
    assert (layer.get_weights()[0] != before).all(), "every connection that exists is trained"


def test_table_of_the_paper_has_sixty_connections_and_1516_parameters() -> None:
    from course_lib.models.lenet import C3_TABLE

    layer = SparseConv2D(C3_TABLE, 5)
    layer.build((None, 14, 14, 6))
    assert layer.kernel.shape == (5, 5, 60)
    assert layer.count_params() == 1_516


@pytest.mark.parametrize("table", [[], [[0], []], [[0, 1, 0]]])
def test_table_must_list_different_maps(table: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="connection table"):
        SparseConv2D(table, 3)


@pytest.mark.parametrize(("table", "named"), [([[0, 3]], "map 3"), ([[0], [-1, 1]], "map -1")])
def test_table_must_fit_the_input(table: list[list[int]], named: str) -> None:
    with pytest.raises(ValueError, match=f"{named};"):
        SparseConv2D(table, 3).build((None, 9, 9, 3))


# RadialBasis


@few
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 5))
def test_radial_basis_is_the_squared_distance(n: int, features: int, classes: int) -> None:
    inputs, centres = array(n, features), array(classes, features, seed=1)
    layer = RadialBasis(centres)
    expected = np.zeros((n, classes))
    for i, k, feature in np.ndindex(n, classes, features):
        expected[i, k] += (float(inputs[i, feature]) - float(centres[k, feature])) ** 2
    assert apply(layer, inputs) == pytest.approx(expected, abs=1e-4)
    assert layer.compute_output_shape(inputs.shape) == expected.shape
    assert layer.count_params() == 0


@pytest.mark.parametrize("centres", [np.ones((10, 83)), np.ones(84), np.ones((1, 10, 84))])
def test_radial_basis_refuses_centres_that_do_not_fit(centres: Array) -> None:
    with pytest.raises(ValueError, match="do not fit inputs of 84 features"):
        RadialBasis(centres).build((None, 84))


# RandomAffine


def bilinear(image: Array, x: float, y: float) -> float:
    """Return the image's value between its pixels; outside is 0."""
    left, top, value = int(np.floor(x)), int(np.floor(y)), 0.0
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                value += (1 - abs(y - row)) * (1 - abs(x - column)) * float(image[row, column])
    return value


def test_each_image_is_resampled_once_by_an_affine_map_within_the_limits() -> None:
    n, height, width, shift, scale, shear = 6, 13, 16, 2.0, 0.1, 0.2
    rows, columns = np.mgrid[:height, :width].astype("float32")
    picture = np.random.default_rng(0).uniform(size=(height, width)).astype("float32")
    # Two ramps tell from which place each pixel was taken, ones tell whether all of its neighbours were inside.
    inputs = np.repeat(np.stack([columns, rows, np.ones_like(rows), picture], axis=-1)[None], n, axis=0)
    outputs = apply(RandomAffine(shift, scale, shear, seed=3), inputs, training=True)
    maps = []
    for output in outputs:
        inside = output[..., 2] > 1 - 1e-5
        places = np.stack([columns[inside], rows[inside], np.ones(inside.sum())], axis=-1).astype(float)
        found, *_ = np.linalg.lstsq(places, output[inside][:, :2].astype(float), rcond=None)
        assert places @ found == pytest.approx(output[inside][:, :2], abs=1e-3), "the map is affine"
        maps.append(found)
        for row, column in np.ndindex(height, width):
            x, y = np.array([column, row, 1]) @ found
            assert output[row, column, 3] == pytest.approx(bilinear(picture, x, y), abs=2e-3)
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        moved = np.append(centre, 1) @ found - centre
        assert np.abs(moved).max() <= shift + 1e-3
        assert abs(found[0, 0] - 1) <= scale + 1e-3 and abs(found[1, 1] - 1) <= scale + 1e-3
        assert abs(found[1, 0]) <= shear + 1e-3 and abs(found[0, 1]) <= shear + 1e-3
    assert np.std(maps, axis=0).min() > 1e-3, "each image has a map of its own"


def test_outside_training_nothing_is_distorted() -> None:
    inputs = array(3, 7, 6, 2)
    assert (apply(RandomAffine(seed=0), inputs) == inputs).all()
    assert (apply(RandomAffine(seed=0), inputs, training=False) == inputs).all()


def with_draws(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """Let every random number of a layer be ``value``."""

    def drawn(shape: tuple[int, ...], *_: object, **__: object) -> Any:
        return keras.ops.full(shape, value)

    monkeypatch.setattr(keras.random, "uniform", drawn)


@pytest.mark.parametrize("pixels", [0, 1, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_whole_pixels_shift_and_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch, pixels: int, sign: int) -> None:
    inputs = array(2, 8, 9, 2)
    expected = np.zeros_like(inputs)
    move = sign * pixels
    for row, column in np.ndindex(8, 9):
        if 0 <= row + move < 8 and 0 <= column + move < 9:
            expected[:, row, column] = inputs[:, row + move, column + move]
    with_draws(monkeypatch, float(sign))
    output = apply(RandomAffine(shift=pixels, scale=0, shear=0), inputs, training=True)
    assert output == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("scale", "shear"), [(0.5, 0), (0, 0.4), (0.3, 0.2)])
def test_the_centre_stays_where_it_is(scale: float, shear: float) -> None:
    inputs = array(5, 9, 11, 1)
    output = apply(RandomAffine(shift=0, scale=scale, shear=shear, seed=1), inputs, training=True)
    assert output[:, 4, 5] == pytest.approx(inputs[:, 4, 5], abs=1e-4)
    assert np.abs(output - inputs).max() > 0.1, "the rest has moved"


def test_twice_the_size_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = array(1, 9, 9, 1)
    with_draws(monkeypatch, -1.0)
    output = apply(RandomAffine(shift=0, scale=0.5, shear=0), inputs, training=True)
    assert output[0, 0::2, 0::2, 0] == pytest.approx(inputs[0, 2:7, 2:7, 0], abs=1e-4)


def test_same_seed_same_distortion_and_a_new_one_each_call() -> None:
    inputs = array(4, 12, 12, 1)
    layer, same, other = RandomAffine(seed=5), RandomAffine(seed=5), RandomAffine(seed=6)
    first = apply(layer, inputs, training=True)
    assert (first == apply(same, inputs, training=True)).all()
    assert np.abs(first - apply(other, inputs, training=True)).max() > 0.01
    assert np.abs(first - apply(layer, inputs, training=True)).max() > 0.01


def test_grey_values_stay_in_their_range() -> None:
    images = np.random.default_rng(0).uniform(size=(20, 28, 28, 1)).round().astype("float32")
    output = apply(RandomAffine(shift=5, scale=0.4, shear=0.5, seed=2), images, training=True)
    assert output.min() >= 0 and output.max() <= 1 + 1e-6
    assert 0.1 < output.mean() < images.mean(), "some ink stays, some leaves the picture, none is added"


@pytest.mark.parametrize("wrong", [{"shift": -1.0}, {"scale": -0.1}, {"scale": 1.0}, {"shear": -0.2}])
def test_limits_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        RandomAffine(**wrong)


# Configuration, saving, precision

MADE = [
    (lambda: Subsampling(name="a"), (2, 8, 6, 3)),
    (lambda: SparseConv2D([[0, 2], [1]], 3, name="b"), (2, 8, 6, 3)),
    (lambda: RadialBasis(array(10, 4), name="c"), (2, 4)),
    (lambda: RandomAffine(1.0, 0.3, 0.1, seed=4, name="d"), (2, 8, 6, 3)),
]


@pytest.mark.parametrize(("make", "shape"), MADE, ids=["Subsampling", "SparseConv2D", "RadialBasis", "RandomAffine"])
def test_configuration_makes_the_same_layer_again(make: Any, shape: tuple[int, ...]) -> None:
    layer, inputs = make(), array(*shape)
    again = type(layer).from_config(layer.get_config())
    assert again.name == layer.name and again.get_config() == layer.get_config()
    training = {"training": True} if isinstance(layer, RandomAffine) else {}
    expected = apply(layer, inputs, **training)
    again.build(inputs.shape)
    if layer.get_weights():
        again.set_weights(layer.get_weights())
    assert (apply(again, inputs, **training) == expected).all()


CUSTOM = {
    kind.__name__: kind for kind in (Subsampling, SparseConv2D, RadialBasis, RandomAffine)
} | {"scaled_tanh": scaled_tanh}  # fmt: skip


def model_with_all() -> keras.Sequential:
    """Return a network that uses every layer of the module."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            RandomAffine(seed=1),
            Subsampling(),
            keras.layers.Activation(scaled_tanh),
            SparseConv2D([[0, 1], [2]], 3),
            keras.layers.Flatten(),
            RadialBasis(array(4, 8)),
        ]
    )


def test_saved_model_is_the_same_after_loading(tmp_path: Path) -> None:
    model, inputs = model_with_all(), array(3, 8, 8, 3)
    model.layers[1].set_weights([array(3, seed=5), array(3, seed=6)])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", custom_objects=CUSTOM)
    assert (apply(loaded, inputs) == apply(model, inputs)).all()


def test_saved_model_loads_without_a_list_of_its_layers(tmp_path: Path) -> None:
    model, inputs = model_with_all(), array(3, 8, 8, 3)
    model.save(tmp_path / "model.keras")
    assert (apply(keras.models.load_model(tmp_path / "model.keras"), inputs) == apply(model, inputs)).all()


def test_weights_go_into_a_file_and_back(tmp_path: Path) -> None:
    model, other, inputs = model_with_all(), model_with_all(), array(3, 8, 8, 3)
    assert np.abs(apply(model, inputs) - apply(other, inputs)).max() > 1e-3
    model.save_weights(tmp_path / "all.weights.h5")
    other.load_weights(tmp_path / "all.weights.h5")
    assert (apply(model, inputs) == apply(other, inputs)).all()


def test_mixed_precision_computes_in_the_short_type_and_keeps_long_weights() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = model_with_all()
        output = model(array(3, 8, 8, 3), training=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(output.dtype) == "bfloat16"
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
