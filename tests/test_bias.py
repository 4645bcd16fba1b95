"""Shape bias: counted by hand, over shared classes only; drawn images that hold the cues they are said to hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from course_lib.datasets import load_digits, load_photos
from course_lib.datasets.photos import CIFAR10
from course_lib.datasets.sources import Images
from course_lib.robustness.bias import SHARED, ShapeBias, draw_cues, shape_bias, shared_decisions


def test_decisions_counted_by_hand() -> None:
    shapes = ["cat", "cat", "cat", "dog", "dog", "bird", "bird"]
    textures = ["dog", "dog", "cat", "cat", "bird", "dog", "cat"]
    decisions = ["cat", "dog", "cat", "dog", "cat", "bird", "bird"]
    # The third agrees and is left out. Of the other six, four go to the shape, one to the texture, one elsewhere.
    found = shape_bias(decisions, shapes, textures)
    assert found == ShapeBias(shape=4, texture=1, other=1)
    assert found.bias == pytest.approx(4 / 5) and found.decided == pytest.approx(5 / 6)
    assert found.standard_error == pytest.approx(math.sqrt(0.8 * 0.2 / 5))


def test_numbers_serve_as_well_as_names() -> None:
    assert shape_bias([1, 2, 5], [1, 1, 1], [2, 2, 2]) == ShapeBias(1, 1, 1)


def test_guessing_has_a_bias_of_a_half_and_decides_two_in_k() -> None:
    generator = np.random.default_rng(0)
    shapes = generator.integers(7, size=70_000)
    textures = (shapes + generator.integers(1, 7, size=70_000)) % 7
    found = shape_bias(generator.integers(7, size=70_000), shapes, textures)
    assert found.bias == pytest.approx(0.5, abs=4 * found.standard_error)
    assert found.decided == pytest.approx(2 / 7, abs=0.01)


def test_no_decision_for_either_has_no_bias() -> None:
    found = shape_bias([3, 3], [1, 1], [2, 2])
    assert math.isnan(found.bias) and found.decided == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shapes \(2,\), \(3,\) and \(3,\); all must be \(n,\)"):
        shape_bias([1, 2], [1, 1, 1], [2, 2, 2])
    with pytest.raises(ValueError, match="must all be names or all be numbers"):
        shape_bias([1, 2], ["cat", "cat"], ["dog", "dog"])
    with pytest.raises(ValueError, match="agree in all 2 images"):
        shape_bias([1, 2], [1, 1], [1, 1])


def test_decisions_are_over_shared_classes_only() -> None:
    scores = np.zeros((4, 10))
    scores[0, [CIFAR10.classes.index("frog"), CIFAR10.classes.index("ship")]] = 9, 1  # frog is not shared
    scores[1, CIFAR10.classes.index("automobile")] = 5
    scores[2, :] = -np.arange(10)
    scores[3, CIFAR10.classes.index("truck")] = 0.1
    assert shared_decisions(scores, CIFAR10.classes).tolist() == ["boat", "car", "airplane", "truck"]
    assert set(SHARED) <= set(CIFAR10.classes) and len(set(SHARED.values())) == 7


def test_scores_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scores of shape \(2, 7\) do not fit 10 classes"):
        shared_decisions(np.zeros((2, 7)), CIFAR10.classes)
    with pytest.raises(ValueError, match="fewer than two are among airplane, automobile"):
        shared_decisions(np.zeros((2, 3)), ("bricks", "cat", "stars"))


# Drawn images

PHASES = np.linspace(0, 2 * np.pi, 10, endpoint=False)


def stripes() -> Images:
    """Textures that are told by the number of stripes: class k has k + 2 across the side, bright in red."""
    waves = [np.sin((label + 2) * 2 * np.pi * np.arange(32) / 32 + phase) for label in range(10) for phase in PHASES]
    images = np.zeros((100, 32, 32, 3), np.float32)
    images[..., 0] = 0.5 + 0.5 * np.array(waves)[:, None, :]
    return Images(images, np.repeat(np.arange(10), 10).astype(np.int32))


@pytest.fixture(scope="module")
def digits() -> Images:
    return load_digits(source="sample").train[:1000]


@pytest.mark.parametrize("agree", [True, False])
def test_silhouettes_are_digits_and_fillings_are_textures(digits: Images, agree: bool) -> None:
    cues = draw_cues(digits, stripes(), agree=agree, seed=0)
    assert cues.images.shape == (1000, 32, 32, 3) and cues.images.dtype == np.float32
    assert cues.images.min() >= 0 and cues.images.max() <= 1
    np.testing.assert_array_equal(cues.shapes, digits.labels)
    assert (cues.textures == cues.shapes).all() if agree else not (cues.textures == cues.shapes).any()
    grey = cues.images[..., 0]
    np.testing.assert_array_equal(cues.images[..., 1], grey)  # no colour is left
    inside = grey < 1
    assert 0.15 < inside.mean() < 0.5
    # Every stroke is covered: ink of the digit, taken at the nearest pixel of the larger image.
    place = (np.arange(28) * 31 / 27).round().astype(int)
    ink = digits.images[..., 0] > 0.7
    assert inside[:, place][:, :, place][ink].mean() > 0.995
    for index in range(0, 1000, 97):  # a sine of deviation 0.2 has amplitude 0.2 √2; its phase is one of ten
        angles = (cues.textures[index] + 2) * 2 * np.pi * np.arange(32) / 32 + PHASES[:, None]
        waves = 0.5 + 0.2 * np.sqrt(2) * np.sin(angles)
        distances = [np.abs(grey[index] - wave)[inside[index]].max() for wave in waves]
        assert min(distances) < 1e-4


def test_a_seed_decides_the_textures_and_nothing_else_the_silhouettes(digits: Images) -> None:
    first, again, other = (draw_cues(digits[:50], stripes(), agree=False, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.textures != other.textures).any()
    np.testing.assert_array_equal(first.images < 1, other.images < 1)


def test_conflicting_textures_are_spread_evenly(digits: Images) -> None:
    cues = draw_cues(digits, stripes(), agree=False, seed=0)
    counts = np.histogram2d(cues.shapes, cues.textures, bins=10)[0]
    assert counts[~np.eye(10, dtype=bool)].min() >= 2 and np.trace(counts) == 0


def test_brightness_does_not_give_the_texture_away(digits: Images) -> None:
    photos = load_photos(source="sample").train
    cues = draw_cues(digits, photos, agree=False, seed=0)
    means = np.array([image[image < 1].mean() for image in cues.images])
    between = np.array([means[cues.textures == label].mean() for label in range(10)])
    assert between.std() < 0.05 and means.mean() == pytest.approx(0.5, abs=0.05)


def test_silhouettes_alone_tell_the_digit() -> None:
    data = load_digits(source="sample")

    def flat(part: Images) -> NDArray:
        return (draw_cues(part, stripes(), agree=True, seed=0).images[..., 0] < 1).reshape(len(part), -1)

    model = LogisticRegression(max_iter=200).fit(flat(data.train[:1000]), data.train.labels[:1000])
    assert model.score(flat(data.test[:500]), data.test.labels[:500]) > 0.8


def test_a_class_without_photographs_is_refused(digits: Images) -> None:
    photos = stripes()
    with pytest.raises(ValueError, match="photos: there is none of class 4"):
        draw_cues(digits, photos[photos.labels != 4], agree=True, seed=0)
