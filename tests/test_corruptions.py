"""Corruptions: strengths against statistics, closed forms and scikit-image; mCE against the paper's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import color, filters

from course_lib.datasets.photos import read_sample
from course_lib.robustness.corruptions import STRENGTHS, checked_images, corrupt, corruption_errors
from course_lib.robustness.corruptions import mean_corruption_error as mce

RANDOM = ("gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "occlusion")
# Errors of AlexNet on ImageNet-C, severity 1 to 5, and corruption errors of ResNet-50 in percent (the paper, table 1).
ALEXNET = {
    "gaussian_noise": (0.69528, 0.82542, 0.93554, 0.98138, 0.99452),
    "shot_noise": (0.71224, 0.85108, 0.93574, 0.98182, 0.99146),
    "impulse_noise": (0.78374, 0.89808, 0.94870, 0.98720, 0.99548),
    "defocus_blur": (0.65624, 0.73202, 0.85036, 0.91364, 0.94714),
    "glass_blur": (0.64308, 0.75054, 0.88806, 0.91622, 0.93344),
    "motion_blur": (0.58430, 0.70048, 0.82108, 0.89750, 0.92638),
    "zoom_blur": (0.70008, 0.76992, 0.80784, 0.84198, 0.87198),
    "snow": (0.71726, 0.88392, 0.86468, 0.91870, 0.94952),
    "frost": (0.61390, 0.79734, 0.88790, 0.89942, 0.93430),
    "fog": (0.67474, 0.76050, 0.84378, 0.87260, 0.94500),
    "brightness": (0.45140, 0.48502, 0.54048, 0.62166, 0.72444),
    "contrast": (0.64548, 0.76150, 0.88874, 0.97760, 0.99270),
    "elastic": (0.52596, 0.70116, 0.55686, 0.64076, 0.80554),
    "pixelate": (0.52218, 0.54620, 0.73728, 0.87092, 0.91262),
    "jpeg": (0.51002, 0.54718, 0.57294, 0.65458, 0.74778),
}
RESNET50 = dict(zip(ALEXNET, (80, 82, 83, 75, 89, 78, 80, 78, 75, 66, 57, 71, 85, 77, 77), strict=True))


@pytest.fixture(scope="module")
def photos() -> NDArray[np.float32]:
    return (read_sample()[0][:200] / 255).astype(np.float32)


def flat(value: float, side: int = 32, count: int = 20) -> NDArray[np.float32]:
    return np.full((count, side, side, 3), value, np.float32)


def distance(changed: NDArray, images: NDArray) -> float:
    return float(np.square(changed - images).mean())


def test_there_are_at_least_eight() -> None:
    assert len(STRENGTHS) >= 8 and all(len(strengths) == 5 for strengths in STRENGTHS.values())


@pytest.mark.parametrize("name", STRENGTHS)
@pytest.mark.parametrize("shape", [(3, 28, 28, 1), (2, 32, 32, 3), (2, 160, 128, 3)])
def test_shape_type_and_range_stay(name: str, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).random(shape, np.float32)
    for severity in (1, 5):
        changed = corrupt(images, name, severity, seed=0)
        assert changed.shape == shape and changed.dtype == np.float32
        assert changed.min() >= 0 and changed.max() <= 1 and distance(changed, images) > 0


@pytest.mark.parametrize("name", STRENGTHS)
def test_every_severity_is_worse_than_the_one_before(name: str, photos: NDArray[np.float32]) -> None:
    distances = [distance(corrupt(photos, name, severity, seed=0), photos) for severity in range(1, 6)]
    assert (np.diff(distances) > 0).all()


@pytest.mark.parametrize("name", STRENGTHS)
def test_a_seed_decides_and_later_images_do_not(name: str, photos: NDArray[np.float32]) -> None:
    first = corrupt(photos[:20], name, 3, seed=1)
    np.testing.assert_array_equal(corrupt(photos[:20], name, 3, seed=1), first)
    np.testing.assert_array_equal(corrupt(photos[:30], name, 3, seed=1)[:20], first)
    assert (distance(corrupt(photos[:20], name, 3, seed=2), first) > 0) == (name in RANDOM)


@pytest.mark.parametrize("severity", range(1, 6))
def test_noise_has_the_deviation_of_the_table(severity: int) -> None:
    images = flat(0.5)
    gaussian = corrupt(images, "gaussian_noise", severity, seed=0)
    assert gaussian.std() == pytest.approx(STRENGTHS["gaussian_noise"][severity - 1], rel=0.02)
    shot = corrupt(images, "shot_noise", severity, seed=0)  # a Poisson count of mean 0.5 c has variance 0.5 c
    assert shot.std() == pytest.approx(np.sqrt(0.5 / STRENGTHS["shot_noise"][severity - 1]), rel=0.02)
    assert gaussian.mean() == pytest.approx(0.5, abs=0.002) and shot.mean() == pytest.approx(0.5, abs=0.002)


def test_impulses_are_as_often_white_as_black() -> None:
    images = flat(0.5, count=50)
    for severity, share in enumerate(STRENGTHS["impulse_noise"], start=1):
        changed = corrupt(images, "impulse_noise", severity, seed=0)
        assert set(np.unique(changed)) == {0, 0.5, 1}
        for end in (0, 1):
            assert (changed == end).mean() == pytest.approx(share / 2, rel=0.15)


@pytest.mark.parametrize(("side", "factor"), [(32, 1), (28, 28 / 32), (64, 2)])
def test_blur_is_that_of_scikit_image_in_proportion_to_the_side(side: int, factor: float) -> None:
    image = np.random.default_rng(0).random((side, side, 3), np.float32)
    for severity, deviation in enumerate((0.4, 0.6, 0.7, 0.8, 1), start=1):
        expected = filters.gaussian(image, deviation * factor, mode="nearest", truncate=4, channel_axis=-1)
        np.testing.assert_allclose(corrupt(image[None], "gaussian_blur", severity, seed=0)[0], expected, atol=1e-5)


def test_motion_draws_a_point_out_along_a_line() -> None:
    points = np.zeros((30, 160, 160, 1), np.float32)
    points[:, 80, 80] = 1
    trails = corrupt(points, "motion_blur", 5, seed=0)[..., 0]
    np.testing.assert_allclose(trails.sum(axis=(1, 2)), 1, rtol=1e-5)
    slopes = []
    for trail in trails:
        rows, columns = np.nonzero(trail)
        along = np.hypot(rows - 80, columns - 80)
        # A half bell curve of deviation s has mean square s²; here s is 2.5 pixels of 32, and so 12.5 of 160.
        assert np.sqrt((trail[rows, columns] * along**2).sum()) == pytest.approx(12.5, rel=0.06)
        slope = np.sum((rows - 80) * (columns - 80)) / np.sum((columns - 80) ** 2)
        assert np.abs(rows - 80 - slope * (columns - 80)).max() <= 1
        slopes.append(slope)
    assert min(slopes) < -0.5 and max(slopes) > 0.5 and max(np.abs(slopes)) < 1.1
    np.testing.assert_allclose(corrupt(flat(0.3), "motion_blur", 5, seed=0), 0.3, rtol=1e-5)


def test_contrast_keeps_the_mean_and_shrinks_the_deviation() -> None:
    images = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    for severity, share in enumerate((0.75, 0.5, 0.4, 0.3, 0.15), start=1):
        changed = corrupt(images, "contrast", severity, seed=0)
        np.testing.assert_allclose(changed.mean(axis=(1, 2)), images.mean(axis=(1, 2)), rtol=1e-5)
        np.testing.assert_allclose(changed.std(axis=(1, 2)), share * images.std(axis=(1, 2)), rtol=1e-4)


def test_brightness_is_the_value_of_hsv() -> None:
    image = np.random.default_rng(0).random((32, 32, 3), np.float32)
    image[0] = 0
    for severity, gain in enumerate((0.05, 0.1, 0.15, 0.2, 0.3), start=1):
        hsv = color.rgb2hsv(image)
        hsv[..., 2] = np.clip(hsv[..., 2] + gain, 0, 1)
        np.testing.assert_allclose(
            corrupt(image[None], "brightness", severity, seed=0)[0], color.hsv2rgb(hsv), atol=1e-5
        )
        grey = corrupt(image[None, ..., :1], "brightness", severity, seed=0)[0]
        np.testing.assert_allclose(grey, np.clip(image[..., :1] + gain, 0, 1), atol=1e-6)


def test_jpeg_loses_what_jpeg_loses(photos: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(corrupt(flat(100 / 255), "jpeg", 5, seed=0), 100 / 255, atol=1.01 / 255)
    signal = -10 * np.log10(distance(corrupt(photos, "jpeg", 5, seed=0), photos))
    assert 20 < signal < 35  # decibels at quality 40
    grey = photos[:5, ..., :1]
    assert -10 * np.log10(distance(corrupt(grey, "jpeg", 1, seed=0), grey)) > 25


@pytest.mark.parametrize(
    ("side", "left"), [(32, (30, 28, 27, 24, 20)), (64, (30, 28, 27, 24, 20)), (28, (26, 25, 23, 21, 18))]
)
def test_pixelation_leaves_so_many_columns_and_rows(side: int, left: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random((1, side, side, 1), np.float32)
    for severity, count in enumerate(left, start=1):
        changed = corrupt(image, "pixelate", severity, seed=0)[0, ..., 0]
        assert np.unique(changed, axis=0).shape[0] == np.unique(changed, axis=1).shape[1] == count


def test_a_square_is_covered_by_the_mean_colour() -> None:
    images = np.random.default_rng(0).random((50, 32, 40, 3), np.float32)
    corners = set()
    for severity, side in enumerate((6, 10, 13, 16, 19), start=1):
        changed = corrupt(images, "occlusion", severity, seed=0)
        for image, before in zip(changed, images, strict=True):
            rows, columns = np.nonzero((image != before).any(axis=-1))
            assert len(rows) == side**2 == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            np.testing.assert_allclose(image[rows, columns], np.tile(before.mean(axis=(0, 1)), (side**2, 1)), rtol=1e-5)
            corners.add((rows.min(), columns.min()))
    assert len(corners) > 100


@pytest.mark.parametrize("severity", [0, 6, -1])
def test_other_severities_are_refused(severity: int) -> None:
    with pytest.raises(ValueError, match=rf"severity={severity}\): it must be 1, 2, 3, 4 or 5"):
        corrupt(flat(0.5), "jpeg", severity, seed=0)


def test_other_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"name='snow'\): it must be one of gaussian_noise, shot_noise"):
        corrupt(flat(0.5), "snow", 1, seed=0)


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 3), (2, 32, 32, 2), (2, 32, 32, 4), (1, 2, 32, 32, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(n, height, width, channels\)"):
        corrupt(np.zeros(shape), "jpeg", 1, seed=0)


@pytest.mark.parametrize(("value", "message"), [(1.5, "to 1.5"), (-0.1, "from -0.1"), (np.nan, "nan"), (255, "to 255")])
def test_images_outside_0_to_1_are_refused(value: float, message: str) -> None:
    images = flat(0.5)
    images[1, 2, 3, 0] = value
    with pytest.raises(ValueError, match=rf"{message}.*must lie in \[0, 1\]: divide bytes by 255"):
        checked_images(images)


def test_no_images_stay_none() -> None:
    for name in STRENGTHS:
        assert corrupt(np.zeros((0, 32, 32, 3)), name, 3, seed=0).shape == (0, 32, 32, 3)


def test_errors_are_counted_at_each_severity() -> None:
    """A network that calls an image bright above a mean of 0.5 errs once 0.38 is raised by more than 0.12."""
    images = np.concatenate([flat(0.38), flat(0.9)])
    labels = np.repeat([0, 1], 20)

    def bright(images: NDArray) -> NDArray:
        means = images.mean(axis=(1, 2, 3))
        return np.stack([0.5 - means, means - 0.5], axis=1)

    errors = corruption_errors(bright, images, labels, seed=0, names=["brightness", "contrast"])
    assert list(errors) == ["brightness", "contrast"]
    np.testing.assert_array_equal(errors["brightness"], [0, 0, 0.5, 0.5, 0.5])
    np.testing.assert_array_equal(errors["contrast"], np.zeros(5))
    assert list(corruption_errors(bright, images, labels, seed=0)) == list(STRENGTHS)
    with pytest.raises(ValueError, match=r"labels of shape \(40, 1\) do not fit images of shape \(40, 32, 32, 3\)"):
        corruption_errors(bright, images, labels[:, None], seed=0)


def test_mce_of_resnet_50_is_that_of_the_paper() -> None:
    errors = {name: np.full(5, RESNET50[name] / 100 * np.mean(ALEXNET[name])) for name in ALEXNET}
    assert mce(errors, ALEXNET) == pytest.approx(76.7, abs=0.3)  # their table rounds the fifteen to whole numbers
    assert mce(errors, ALEXNET, clean=(0.239, 0.435)) == pytest.approx(105.0, abs=0.5)
    assert mce(ALEXNET, ALEXNET) == pytest.approx(100)
    assert mce(ALEXNET, ALEXNET, clean=(0.435, 0.435)) == pytest.approx(100)


def test_mce_is_a_mean_of_ratios_of_sums() -> None:
    errors, reference = {"a": [0.1, 0.3], "b": [0.2, 0.2]}, {"a": [0.4, 0.4], "b": [0.1, 0.3]}
    assert mce(errors, reference) == pytest.approx(100 * (0.4 / 0.8 + 0.4 / 0.4) / 2)
    expected = 100 * ((0.4 - 0.1) / (0.8 - 0.2) + (0.4 - 0.1) / (0.4 - 0.2)) / 2
    assert mce(errors, reference, clean=(0.05, 0.1)) == pytest.approx(expected)


def test_errors_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="errors are of a, reference of a, b"):
        mce({"a": [0.1]}, {"a": [0.1], "b": [0.1]})
    with pytest.raises(ValueError, match="give the same ones"):
        mce({}, {})
    with pytest.raises(ValueError, match=r"a: errors of shape \(2,\) do not fit a reference of shape \(5,\)"):
        mce({"a": [0.1, 0.2]}, {"a": np.full(5, 0.1)})
    with pytest.raises(ValueError, match="reference: a adds 0 to its error"):
        mce({"a": [0.1, 0.2]}, {"a": [0, 0]})
