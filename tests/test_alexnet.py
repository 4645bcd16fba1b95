"""AlexNet: the published counts, the two towers, and what 224 pixels do to it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from course_lib.models.alexnet import alexnet, alexnet_cifar, split_weights, two_towers

# Output side, maps, and parameters of each layer of the paper's network (section 3.5 and figure 2): half of the maps
# below for the convolutions that stay on one GPU.
PUBLISHED = {
    "conv1": (55, 96, (11 * 11 * 3 + 1) * 96),
    "conv2": (27, 256, (5 * 5 * 48 + 1) * 256),
    "conv3": (13, 384, (3 * 3 * 256 + 1) * 384),
    "conv4": (13, 384, (3 * 3 * 192 + 1) * 384),
    "conv5": (13, 256, (3 * 3 * 192 + 1) * 256),
}
SMALL = (67, 67, 3)  # the smallest side that leaves the last pool a place


def test_parameters_in_total() -> None:
    assert alexnet().count_params() == 60_965_224
    assert alexnet(groups=1).count_params() == 62_378_344
    assert two_towers().count_params() == 60_965_224


def test_every_layer_as_published() -> None:
    model = alexnet()
    for name, (side, maps, parameters) in PUBLISHED.items():
        layer = model.get_layer(name)
        assert layer.output.shape == (None, side, side, maps)
        assert layer.count_params() == parameters
    assert [model.get_layer(name).output.shape[1] for name in ("pool1", "pool2", "pool5")] == [27, 13, 6]
    assert model.get_layer("fc6").kernel.shape == (9_216, 4_096)
    assert [model.get_layer(name).count_params() for name in ("fc6", "fc7", "fc8")] == [
        37_752_832,
        16_781_312,
        4_097_000,
    ]
    assert sum(bool(layer.weights) for layer in model.layers) == 8


def test_pixels_are_those_of_the_paper() -> None:
    network = alexnet(10, input_shape=SMALL)
    seen = keras.Model(network.inputs, network.get_layer("pixels").output)
    mean = np.broadcast_to(np.array([123.68, 116.779, 103.939]) / 255, (1, *SMALL)).astype("float32")
    np.testing.assert_allclose(np.asarray(seen(mean)), 0, atol=1e-4)
    np.testing.assert_allclose(np.asarray(seen(mean + 0.1)), 25.5, atol=1e-3)


def test_weights_begin_as_published() -> None:
    keras.utils.set_random_seed(0)
    model = alexnet()
    for layer in model.layers:
        if not layer.weights:
            continue
        kernel, bias = layer.get_weights()
        assert abs(kernel.std() - 0.01) < 2e-4
        assert abs(kernel.mean()) < 2e-4
        assert set(bias) == {1.0 if layer.name in ("conv2", "conv4", "conv5", "fc6", "fc7") else 0.0}


def test_groups_compute_what_two_towers_compute() -> None:
    keras.utils.set_random_seed(1)
    whole, towers = alexnet(10, input_shape=SMALL), two_towers(10, input_shape=SMALL)
    for layer in whole.layers:  # larger weights than at the start, so that the normalisation has something to do
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([4 * kernel, bias])
    split_weights(whole, towers)
    images = np.random.default_rng(1).random((3, *SMALL)).astype("float32")
    ours, theirs = np.asarray(whole(images)), np.asarray(towers(images))
    assert np.abs(ours).max() > 1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(ours).max())


def test_undivided_weights_have_no_place_in_two_towers() -> None:
    with pytest.raises(ValueError, match=r"conv2 of alexnet is undivided .* needs? groups=2"):
        split_weights(alexnet(10, groups=1, input_shape=SMALL), two_towers(10, input_shape=SMALL))


def test_224_is_refused_and_227_recommended() -> None:
    with pytest.raises(ValueError, match=r"224 pixels.*54\.25 times.*needs 227"):
        alexnet(input_shape=(224, 224, 3))
    with pytest.raises(ValueError, match="63 pixels"):
        two_towers(input_shape=(63, 63, 3))
    with pytest.raises(ValueError, match=r"groups=3.*must be 2"):
        alexnet(groups=3)


def test_saved_and_loaded(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = alexnet(3, input_shape=SMALL)
    model.save(tmp_path / "alexnet.keras")
    again = keras.saving.load_model(tmp_path / "alexnet.keras")
    images = np.random.default_rng(0).normal(size=(1, *SMALL)).astype("float32")
    np.testing.assert_array_equal(np.asarray(model(images)), np.asarray(again(images)))


def test_small_alexnet_by_hand() -> None:
    # Maps of 28, 14, 7 and 4 places; 4 × 4 × 64 = 1,024 inputs of the first dense layer.
    convolutions = 32 * (75 + 1) + 64 * (288 + 1) + 96 * (576 + 1) + 96 * (864 + 1) + 64 * (864 + 1)
    dense = 256 * (1_024 + 1) + 128 * (256 + 1) + 10 * (128 + 1)
    network = alexnet_cifar()
    assert network.count_params() == convolutions + dense
    assert [network.get_layer(f"pool{number}").output.shape[1] for number in (1, 2, 5)] == [14, 7, 4]
    assert sum(bool(layer.weights) for layer in network.layers) == 8


def test_parts_of_small_alexnet_change_neither_shapes_nor_parameters() -> None:
    reference = alexnet_cifar()
    names = {layer.name for layer in reference.layers}
    for options in ({"normalisation": True}, {"overlapping": False}, {"dropout": 0.5}, {"activation": "tanh"}):
        changed = alexnet_cifar(**options)
        assert [weight.shape for weight in changed.weights if "seed" not in weight.path] == [
            weight.shape for weight in reference.weights if "seed" not in weight.path
        ]
        added = {layer.name for layer in changed.layers} - names
        assert added == ({"norm1", "norm2"} if "normalisation" in options else set())


def test_small_alexnet_refuses_images_without_room_for_three_poolings() -> None:
    with pytest.raises(ValueError, match="at least 8 pixels"):
        alexnet_cifar(side=7)
