"""A label for every pixel: the exchange of stride for dilation, against strided networks, TensorFlow and counts."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from course_lib.analysis.cost import layer_costs
from course_lib.analysis.receptive_field import receptive_field
from course_lib.models.alexnet import alexnet, alexnet_cifar
from course_lib.models.dense_prediction import (
    DilatedPooling2D,
    dilated,
    encoder_decoder,
    fully_convolutional,
    strided,
    trade_stride_for_dilation,
)


def chain(*stack: keras.Layer, size: tuple[int | None, int | None] = (32, 32), channels: int = 3) -> keras.Sequential:
    return keras.Sequential([keras.Input((*size, channels)), *stack])


def pictures(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def answers(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=False))


def with_random_weights(model: keras.Sequential, seed: int = 0) -> keras.Sequential:
    """Give every weight a value of its own, biases and statistics too."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        values = layer.get_weights()
        layer.set_weights([generator.uniform(0.1, 0.5, size=w.shape) - 0.25 * (w.ndim > 1) for w in values])
    return model


def agree(one: np.ndarray, other: np.ndarray) -> None:
    assert one.shape == other.shape
    assert np.abs(one - other).max() <= 1e-5 * np.abs(one).max()


# Fully convolutional


@pytest.mark.parametrize("classifier", [alexnet_cifar(side=20), alexnet_cifar(side=20, normalisation=True)])
def test_same_scores_at_the_classifiers_own_size(classifier: keras.Sequential) -> None:
    dense, images = fully_convolutional(classifier), pictures((3, 20, 20, 3))
    assert dense.count_params() == classifier.count_params()
    agree(answers(classifier, images)[:, None, None], answers(dense, images))


def test_each_place_of_a_larger_image_has_the_scores_of_its_window() -> None:
    # Nothing pads here, so windows know nothing of their surroundings: the first has 8 places, then 4, stride 4.
    classifier = with_random_weights(
        chain(
            layers.Conv2D(4, 5, strides=2, activation="relu"),
            layers.MaxPooling2D(2, 2),
            layers.Flatten(),
            layers.Dense(6, activation="tanh"),
            layers.Dropout(0.5),
            layers.Dense(5),
            size=(20, 20),
        )
    )
    dense, image = fully_convolutional(classifier), pictures((1, 32, 28, 3))
    scores = answers(dense, image)
    assert scores.shape == (1, 4, 3, 5)  # (32 - 20) / 4 + 1, (28 - 20) / 4 + 1
    for row, column in np.ndindex(4, 3):
        window = image[:, 4 * row : 4 * row + 20, 4 * column : 4 * column + 20]
        agree(answers(classifier, window)[0], scores[0, row, column])


def test_alexnet_sees_more_of_a_larger_picture() -> None:
    # The published network has places every 32 pixels; 67 pixels give one, 67 + 2 · 32 give three.
    network = alexnet(7, input_shape=(67, 67, 3))
    dense = fully_convolutional(network, input_shape=(131, 99, 3))
    assert dense.output_shape == (None, 3, 2, 7)
    assert dense.get_layer("fc6").kernel.shape == (1, 1, 256, 4096)
    assert receptive_field(dense, "fc8").stride == (32, 32)
    assert fully_convolutional(network).input_shape == (None, None, None, 3)


def test_what_cannot_become_fully_convolutional() -> None:
    with pytest.raises(ValueError, match="no Flatten"):
        fully_convolutional(chain(layers.Conv2D(2, 3)))
    with pytest.raises(ValueError, match="'scores' is a Dense layer, and no Flatten"):
        fully_convolutional(chain(layers.GlobalAveragePooling2D(), layers.Dense(2, name="scores")))
    entry = keras.Input((8, 8, 1))
    with pytest.raises(ValueError, match=r"must be a keras\.Sequential that is built"):
        fully_convolutional(keras.Model(entry, layers.Flatten()(entry)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must be a keras\.Sequential that is built"):
        trade_stride_for_dilation(keras.Sequential([layers.Conv2D(2, 3)]))


# Stride traded for dilation


def shared(strided: keras.Sequential, images: np.ndarray, step: int, **more: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the answers of the strided network, and those of the traded one at the same places."""
    coarse, fine = answers(strided, images), answers(trade_stride_for_dilation(strided, **more), images)
    assert fine.shape[1] > (coarse.shape[1] - 1) * step and fine.shape[2] > (coarse.shape[2] - 1) * step
    return coarse, fine[:, ::step, ::step][:, : coarse.shape[1], : coarse.shape[2]]


def test_by_hand_in_one_row() -> None:
    # Kernel (1, 1), stride 2, then kernel (1, -1): 0…7 → 1, 5, 9, 13 → -4, -4, -4.
    # Stride 1: sums 1, 3, 5 … 13, and the second kernel takes places 2 apart: 1 - 5, 3 - 7 … = -4 five times.
    strided = chain(
        layers.Conv2D(1, (1, 2), strides=(1, 2), use_bias=False),
        layers.Conv2D(1, (1, 2), use_bias=False),
        size=(1, 8),
        channels=1,
    )
    strided.set_weights([np.ones((1, 2, 1, 1)), np.array([1.0, -1.0]).reshape(1, 2, 1, 1)])
    row = np.arange(8.0, dtype="float32").reshape(1, 1, 8, 1)
    assert answers(strided, row).ravel().tolist() == [-4, -4, -4]
    dense = trade_stride_for_dilation(strided)
    assert answers(dense, row).ravel().tolist() == [-4] * 5
    assert [layer.dilation_rate for layer in dense.layers[1::2]] == [(1, 1), (1, 2)]


@pytest.mark.parametrize("seed", range(12))
def test_same_answers_at_the_shared_places_for_drawn_networks(seed: int) -> None:
    draw = np.random.default_rng(seed)
    size, stack, step = tuple(int(n) for n in draw.integers(37, 48, size=2)), [], 1
    for _ in range(4):
        kernel, stride = int(draw.integers(1, 5)), int(draw.integers(1, 4)) if step < 6 else 1
        padding, step = str(draw.choice(["same", "valid"])), step * stride
        kind = draw.choice(["convolution", "max", "average"])
        if kind == "convolution":
            stack += [layers.Conv2D(3, kernel, strides=stride, padding=padding, activation="tanh")]
        else:
            pooling = layers.MaxPooling2D if kind == "max" else layers.AveragePooling2D
            stack += [layers.ZeroPadding2D(((1, 0), (0, 2))), pooling(kernel, stride, padding=padding)]
    strided = with_random_weights(chain(*stack, layers.BatchNormalization(), layers.ReLU(), size=size), seed)
    agree(*shared(strided, pictures((2, *size, 3), seed), step))


@pytest.mark.parametrize("side", [131, 139])  # the second leaves pixels over at each pooling
def test_alexnet_down_to_its_last_pooling(side: int) -> None:
    narrow = alexnet_like(side)
    coarse, fine = shared(narrow, np.random.default_rng(0).uniform(size=(1, side, side, 3)).astype("float32"), 32)
    assert coarse.shape[1] == 3
    agree(coarse, fine)


def alexnet_like(side: int) -> keras.Sequential:
    """Return AlexNet's layers up to pool5, an eighth as wide, with its own kernels, strides and normalisation."""
    published = alexnet(2, input_shape=(side // 32 * 32 + 3,) * 2 + (3,))
    stack = []
    for layer in published.layers[: [layer.name for layer in published.layers].index("flatten")]:
        settings = layer.get_config()
        if isinstance(layer, layers.Conv2D):
            settings |= {"filters": layer.filters // 8, "kernel_initializer": "he_normal"}
        stack.append(type(layer).from_config(settings))
    return chain(*stack, size=(side, side))


def test_field_weights_and_resolution_after_the_exchange() -> None:
    strided = chain(
        layers.Conv2D(8, 3, strides=2, padding="same", name="a"),
        layers.Conv2D(8, 3, strides=2, padding="same", name="b"),
        layers.Conv2D(8, 3, padding="same", name="c"),
        size=(24, 32),
    )
    dense = trade_stride_for_dilation(strided)
    assert dense.count_params() == strided.count_params()
    assert [dense.get_layer(name).dilation_rate for name in "abc"] == [(1, 1), (2, 2), (4, 4)]
    before, after = receptive_field(strided), receptive_field(dense)
    assert before.size == after.size == (15, 15)  # 1 + 2 · 1 + 2 · 2 + 2 · 4
    assert before.padding == after.padding
    assert (before.stride, after.stride) == ((4, 4), (1, 1))
    assert dense.output_shape == (None, 24, 32, 8)
    # Each weight is used at every pixel: 16 times the places, 4 times for the first layer.
    macs = [{cost.name: cost.macs for cost in layer_costs(model)} for model in (strided, dense)]
    assert {name: macs[1][name] / macs[0][name] for name in "abc"} == {"a": 4, "b": 16, "c": 16}


def test_first_strides_are_kept_where_asked() -> None:
    strided = with_random_weights(
        chain(*(layers.Conv2D(4, 3, strides=2, padding="same", activation="tanh") for _ in range(4)), size=(48, 64))
    )
    dense = trade_stride_for_dilation(strided, output_stride=4)
    assert dense.output_shape == (None, 12, 16, 4)
    convolutions = [layer for layer in dense.layers if isinstance(layer, layers.Conv2D)]
    assert [layer.strides[0] for layer in convolutions] == [2, 2, 1, 1]
    assert [layer.dilation_rate[0] for layer in convolutions] == [1, 1, 1, 2]
    agree(*shared(strided, pictures((1, 48, 64, 3)), 4, output_stride=4))
    assert trade_stride_for_dilation(strided, output_stride=16).output_shape == strided.output_shape


def test_a_kernel_that_was_dilated_before_is_dilated_further() -> None:
    strided = chain(layers.AveragePooling2D(2), layers.Conv2D(2, 3, dilation_rate=3, padding="same"))
    assert trade_stride_for_dilation(strided).layers[-1].dilation_rate == (6, 6)
    agree(*shared(strided, pictures((1, 32, 32, 3)), 2))


def test_strides_in_one_direction_only() -> None:
    strided = chain(layers.Conv2D(2, 3, strides=(1, 2), padding="same"), layers.MaxPooling2D((2, 3), 1))
    dense = trade_stride_for_dilation(strided)
    images = pictures((1, 32, 32, 3))
    agree(answers(strided, images), answers(dense, images)[:, :, ::2][:, :, :14])


def test_what_cannot_be_traded() -> None:
    with pytest.raises(ValueError, match=r"'flatten.*' \(Flatten\) has no dilated form.*fully_convolutional"):
        trade_stride_for_dilation(chain(layers.Conv2D(2, 3), layers.Flatten()))
    with pytest.raises(ValueError, match=r"UpSampling2D\) has no dilated form"):
        trade_stride_for_dilation(chain(layers.UpSampling2D(2)))
    open_sized = chain(layers.Conv2D(2, 3, strides=2, padding="same", name="halve"), size=(None, None))
    with pytest.raises(ValueError, match=r"'halve'.*leaves open"):
        trade_stride_for_dilation(open_sized)
    with pytest.raises(ValueError, match="output_stride=0"):
        trade_stride_for_dilation(chain(layers.Conv2D(2, 3)), output_stride=0)
    # Without padding the size does not matter.
    unpadded = chain(layers.Conv2D(2, 3, strides=2), layers.Conv2D(2, 3), size=(None, None))
    agree(*(each[:, :7, :7] for each in shared(unpadded, pictures((1, 19, 19, 3)), 2)))


# Three networks for every pixel


def test_three_networks_of_one_size_and_their_fields() -> None:
    networks = {build: build(11, (90, 120, 3)) for build in (strided, dilated, encoder_decoder)}
    assert {network.output_shape for network in networks.values()} == {(None, 90, 120, 11)}
    # 3·3·3·16 + 9·16·40 + 7·9·40·40 weights, four numbers a map of normalisation, 40·11 + 11 for the scores.
    count = 27 * 16 + 9 * 16 * 40 + 7 * 9 * 40**2 + 4 * (16 + 8 * 40) + 40 * 11 + 11
    assert networks[strided].count_params() == networks[dilated].count_params() == count
    assert networks[encoder_decoder].count_params() == pytest.approx(count, rel=0.01)
    # 3, pooling 4, then 2 · 2 · (1 + 1 + 2 + 2 + 4 + 4 + 8 + 8), and interpolation between two places 2 apart.
    assert receptive_field(networks[dilated], "scores").size == (124, 124)
    assert receptive_field(networks[dilated]).size == (126, 126)
    assert receptive_field(dilated(11, (90, 120, 3), dilations=[1] * 8)).size == (38, 38)
    # 3 + 1, then at strides of 2, 4, 8 and 16 two layers and a pooling each: 8 + 2, 16 + 4, 32 + 8, 64.
    assert receptive_field(networks[strided], "scores").size == (138, 138)
    assert receptive_field(networks[strided], "scores").stride == (16, 16)


def test_the_dilated_network_costs_what_it_costs_without_dilation() -> None:
    wide, narrow = dilated(5, (32, 48, 3)), dilated(5, (32, 48, 3), dilations=[1] * 8)
    assert [cost.macs for cost in layer_costs(wide)] == [cost.macs for cost in layer_costs(narrow)]
    expected = 32 * 48 * 27 * 16 + 16 * 24 * (9 * 16 * 40 + 7 * 9 * 40 * 40 + 40 * 5)
    assert sum(cost.macs for cost in layer_costs(wide)) == expected


@pytest.mark.parametrize("build", [strided, dilated, encoder_decoder])
def test_scores_stand_where_their_pixels_are(build: Any) -> None:
    # With kernels that only average the channels of one place, a white square comes out blurred at most.
    network = build(2, (80, 96, 3))
    for layer in network.layers:
        if isinstance(layer, layers.Conv2D):
            kernel = np.zeros(layer.kernel.shape, "float32")
            kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1 / kernel.shape[2]
            layer.set_weights([kernel, *layer.get_weights()[1:]])
    image = np.full((1, 80, 96, 3), 0.5, np.float32)  # it becomes 0 inside
    image[0, 32:48, 16:32] = 1
    seen = answers(network, image)[0, :, :, 0]
    assert seen.max() > 1
    centre = [np.average(place, weights=seen) for place in np.indices(seen.shape)]
    assert centre == pytest.approx([39.5, 23.5], abs=1e-3)
    assert build(2, (37, 53, 3)).output_shape == (None, 37, 53, 2)


@pytest.mark.parametrize("build", [strided, dilated, encoder_decoder])
def test_an_open_size_is_named(build: Any) -> None:
    with pytest.raises(ValueError, match=r"input_shape is \(None, 64, 3\)"):
        build(5, (None, 64, 3))


# Dilated pooling


@pytest.mark.parametrize(("kind", "name"), [("max", "MAX"), ("average", "AVG")])
def test_dilated_pooling_as_in_tensorflow(kind: str, name: str) -> None:
    import tensorflow as tf

    images, size, dilation = pictures((2, 13, 11, 3)), (3, 2), (2, 3)
    layer = DilatedPooling2D(kind, size, dilation)
    reference = tf.nn.pool(images, size, name, strides=(1, 1), padding="VALID", dilations=dilation).numpy()
    assert reference.shape == (2, 9, 8, 3)
    np.testing.assert_allclose(answers(chain(layer, size=(13, 11)), images), reference, atol=1e-6)


@pytest.mark.parametrize(("kind", "pooling"), [("max", layers.MaxPooling2D), ("average", layers.AveragePooling2D)])
def test_without_dilation_it_is_keras_pooling_borders_too(kind: str, pooling: type[keras.Layer]) -> None:
    images = pictures((2, 9, 8, 3))
    layer = DilatedPooling2D(kind, (3, 3), (1, 1), ((1, 1), (1, 1)))
    np.testing.assert_allclose(layer(images), pooling(3, 1, padding="same")(images), atol=1e-6)


def test_dilated_pooling_survives_saving_and_names_bad_kinds() -> None:
    layer = DilatedPooling2D("max", (2, 2), (3, 3), ((0, 3), (0, 3)))
    again = DilatedPooling2D.from_config(layer.get_config())
    images = pictures((1, 9, 9, 2))
    assert np.array_equal(layer(images), again(images))
    with pytest.raises(ValueError, match="kind='mean'"):
        DilatedPooling2D("mean", (2, 2), (1, 1))


def test_field_of_alexnet_survives_the_trade_of_its_strides() -> None:
    """195 pixels (Araujo, Norris and Sim, 2019), through convolutions and poolings alike; only the stride goes."""
    network = alexnet_like(163)
    dense = trade_stride_for_dilation(network)
    before, after = receptive_field(network), receptive_field(dense)
    assert before.size == after.size == (195, 195) and before.padding == after.padding
    assert before.stride == (32, 32) and after.stride == (1, 1)
    assert {cost.macs for cost in layer_costs(dense) if cost.name.startswith("pool")} == {0}
