"""Local response normalisation against TensorFlow's; crops, mirror images, colours and ten crops against NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from course_lib.models.augmentation import (
    ColourShift,
    RandomCropFlip,
    colour_axes,
    ten_crop_probabilities,
    ten_crops,
)
from course_lib.models.layers import LocalResponseNormalization


@pytest.mark.parametrize(
    "constants", [{}, {"depth": 9, "k": 1.0, "alpha": 0.05, "beta": 0.5}, {"depth": 1, "alpha": 1}]
)
def test_normalisation_is_tensorflows(constants: dict[str, float]) -> None:
    layer = LocalResponseNormalization(**constants)  # type: ignore[arg-type]
    maps = (np.random.default_rng(0).normal(size=(2, 5, 4, 13)) * 40).astype("float32")
    theirs = tf.nn.local_response_normalization(maps, layer.depth // 2, layer.k, layer.alpha, layer.beta)
    np.testing.assert_allclose(np.asarray(layer(maps)), theirs, rtol=2e-6, atol=1e-6)


def test_gradient_of_the_normalisation_is_tensorflows() -> None:
    layer = LocalResponseNormalization(alpha=0.01)
    maps = tf.constant(np.random.default_rng(0).normal(size=(1, 2, 2, 7)) * 10, tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(maps)
        ours = tf.reduce_sum(layer(maps) ** 2)
        theirs = tf.reduce_sum(tf.nn.local_response_normalization(maps, 2, 2.0, 0.01, 0.75) ** 2)
    np.testing.assert_allclose(tape.gradient(ours, maps), tape.gradient(theirs, maps), rtol=1e-4, atol=1e-4)


def test_groups_are_normalised_apart() -> None:
    maps = (np.random.default_rng(0).normal(size=(2, 3, 3, 8)) * 40).astype("float32")
    halves = [tf.nn.local_response_normalization(half, 2, 2.0, 1e-4, 0.75) for half in np.split(maps, 2, axis=-1)]
    np.testing.assert_allclose(
        np.asarray(LocalResponseNormalization(groups=2)(maps)), np.concatenate(halves, axis=-1), rtol=2e-6
    )


def test_impossible_normalisations_are_refused() -> None:
    with pytest.raises(ValueError, match=r"depth=4.*odd"):
        LocalResponseNormalization(depth=4)
    with pytest.raises(ValueError, match=r"groups=3\) does not divide 8 maps"):
        LocalResponseNormalization(groups=3).build((None, 5, 5, 8))


def numbered(count: int, height: int = 8, width: int = 9) -> np.ndarray:
    """Return images whose pixels hold their own image, row and column."""
    return np.stack(np.meshgrid(range(count), range(height), range(width), indexing="ij"), axis=-1).astype("float32")


def test_each_crop_is_a_window_of_its_own_image_and_half_are_mirrored() -> None:
    images = numbered(2_000)
    crops = np.asarray(RandomCropFlip(6, seed=3)(images, training=True)).astype(int)
    assert crops.shape == (2_000, 6, 6, 3)
    assert (crops[..., 0] == np.arange(2_000)[:, None, None]).all()
    rows, columns = crops[:, :, 0, 1], crops[:, 0, :, 2]
    assert (np.diff(rows, axis=1) == 1).all()
    mirrored = columns[:, 0] > columns[:, -1]
    assert (np.diff(columns, axis=1) == np.where(mirrored, -1, 1)[:, None]).all()
    assert 0.45 < mirrored.mean() < 0.55
    for first, places in ((rows[:, 0], 3), (columns.min(axis=1), 4)):  # 8 - 6 + 1 and 9 - 6 + 1, all about as often
        counts = np.bincount(first, minlength=places)
        assert len(counts) == places and (np.abs(counts / 2_000 - 1 / places) < 0.05).all()


def test_outside_training_the_crop_is_central() -> None:
    crops = np.asarray(RandomCropFlip(6)(numbered(2)))
    np.testing.assert_array_equal(crops, numbered(2)[:, 1:7, 1:7])
    with pytest.raises(ValueError, match=r"size=10\) does not fit images of \(8, 9\)"):
        RandomCropFlip(10)(numbered(2))


def test_crops_work_inside_a_saved_model(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = keras.Sequential([keras.Input((8, 9, 3)), RandomCropFlip(6, seed=1), ColourShift(np.ones(3), np.eye(3))])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again(numbered(2))), np.asarray(model(numbered(2))))


def test_axes_are_those_of_the_covariance() -> None:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(50, 10, 10, 3)).astype("float32") * [3, 2, 1]
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    variances, axes = colour_axes((images @ turn.T).astype("float32"))
    np.testing.assert_allclose(variances, [9, 4, 1], rtol=0.05)
    np.testing.assert_allclose(np.abs(axes.T @ turn), np.eye(3), atol=0.05)
    assert (axes[np.abs(axes).argmax(axis=0), range(3)] > 0).all()
    with pytest.raises(ValueError, match="3 channels, not 1"):
        colour_axes(np.zeros((2, 4, 4, 1), "float32"))


def test_colours_shift_whole_images_with_the_right_spread() -> None:
    variances, axes = np.array([0.2, 0.02, 0.004]), np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    layer = ColourShift(variances, axes, strength=0.1, seed=0)
    images = np.zeros((4_000, 2, 2, 3), "float32")
    shifted = np.asarray(layer(images, training=True))
    assert (shifted == shifted[:, :1, :1]).all(), "one colour for a whole image"
    np.testing.assert_allclose((shifted[:, 0, 0] @ axes).std(axis=0), 0.1 * variances, rtol=0.05)
    np.testing.assert_array_equal(np.asarray(layer(images)), images)
    with pytest.raises(ValueError, match="needs 3 variances"):
        ColourShift([1, 2], axes)


def test_ten_crops_are_corners_centre_and_their_mirrors() -> None:
    images = numbered(2)
    crops = ten_crops(images, 6)
    assert crops.shape == (10, 2, 6, 6, 3)
    assert [tuple(crop[0, 0, 0, 1:].astype(int)) for crop in crops[:5]] == [(0, 0), (0, 3), (2, 0), (2, 3), (1, 1)]
    np.testing.assert_array_equal(crops[5:], crops[:5, :, :, ::-1])
    with pytest.raises(ValueError, match="does not fit images of 8 × 9"):
        ten_crops(images, 9)


def test_ten_crop_probabilities_are_the_mean_over_crops() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])
    images = np.random.default_rng(0).random((3, 8, 9, 3)).astype("float32")
    expected = np.mean([tf.nn.softmax(model(crop)) for crop in ten_crops(images, 6)], axis=0)
    found = ten_crop_probabilities(model, images)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
