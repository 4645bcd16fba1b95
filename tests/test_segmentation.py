"""Scores for labels of every pixel: against scikit-learn, SciPy, scikit-image, counts by hand and a slow reference."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import find_boundaries
from sklearn.metrics import jaccard_score

from course_lib.analysis.segmentation import boundary, boundary_score, class_ious, mean_iou

VOID = 4


def drawn(seed: int, count: int = 3, void: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return blocky labels of 4 classes (and void), and the same moved by a pixel with some blocks changed."""
    draw = np.random.default_rng(seed)
    blocks = draw.integers(0, VOID + void, size=(count, 4, 5))
    labels = blocks.repeat(6, axis=1).repeat(5, axis=2)
    changed = np.where(draw.random(blocks.shape) < 0.2, draw.integers(0, VOID, blocks.shape), blocks)
    predicted = np.roll(changed.repeat(6, axis=1).repeat(5, axis=2), (0, 1, 1), axis=(0, 1, 2))
    return labels, np.where(predicted == VOID, 0, predicted)


def test_iou_by_hand() -> None:
    labels = np.array([[[0, 0, 0, 1], [1, 1, 2, 2]]])
    predicted = np.array([[[0, 0, 1, 1], [1, 0, 2, 2]]])
    # Class 0: both in 2 pixels, either in 4. Class 1: 2 of 4. Class 2: 2 of 2. Class 3 never occurs.
    assert class_ious(labels, predicted, 4, VOID)[:3].tolist() == [2 / 4, 2 / 4, 1]
    assert np.isnan(class_ious(labels, predicted, 4, VOID)[3])
    assert mean_iou(labels, predicted, 4, VOID) == pytest.approx(2 / 3)
    without = labels.copy()
    without[0, 0, 2] = VOID  # one mistake of the two, for both classes
    assert class_ious(without, predicted, 4, VOID)[:2].tolist() == pytest.approx([2 / 3, 2 / 3])


def test_a_class_that_is_never_right_counts_as_zero() -> None:
    labels, predicted = np.zeros((1, 2, 2), int), np.array([[[0, 0], [0, 1]]])
    assert mean_iou(labels, predicted, 4, VOID) == pytest.approx((3 / 4 + 0) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_iou_as_in_scikit_learn(seed: int) -> None:
    labels, predicted = drawn(seed)
    known = labels != VOID
    reference = jaccard_score(labels[known], predicted[known], labels=[0, 1, 2, 3], average=None)
    np.testing.assert_allclose(class_ious(labels, predicted, 4, VOID), reference)
    assert mean_iou(labels, predicted, 4, VOID) == pytest.approx(reference.mean())


def test_counts_stay_exact_for_many_pixels() -> None:
    # float32 cannot count beyond 2^24 = 16.8 million; the 233 test images have 10 million pixels.
    labels = np.zeros((190, 300, 300), np.int32)
    labels[0, 0, 0] = 1
    assert class_ious(labels, np.zeros_like(labels), 2, VOID)[0] == (labels.size - 1) / labels.size


# Boundary score


def slow_boundary_score(labels: np.ndarray, predicted: np.ndarray, classes: int, void: int, tolerance: float) -> float:
    """The definition, pixel by pixel."""
    images = []
    for truth, guess in zip(labels, np.where(labels == void, void, predicted), strict=True):
        scores = []
        for index in range(classes):
            edges = []
            for picture in (truth, guess):
                found = []
                for row, column in np.ndindex(picture.shape):
                    near = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
                    inside = [(r, c) for r, c in near if 0 <= r < picture.shape[0] and 0 <= c < picture.shape[1]]
                    if picture[row, column] == index and any(picture[p] not in (index, void) for p in inside):
                        found.append((row, column))
                edges.append(found)
            if not edges[0] and not edges[1]:
                continue
            shares = []
            for these, those in (edges, edges[::-1]):
                hits = [any(np.hypot(r - y, c - x) <= tolerance for y, x in those) for r, c in these]
                shares.append(np.mean(hits) if hits else 0.0)
            scores.append(2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0)
        if scores:
            images.append(np.mean(scores))
    return float(np.mean(images))


@pytest.mark.parametrize(("seed", "tolerance"), [(0, 0), (1, 1), (2, 2), (3, 3)])
def test_boundary_score_as_the_slow_one(seed: int, tolerance: int) -> None:
    labels, predicted = drawn(seed, count=2)
    expected = slow_boundary_score(labels, predicted, 4, VOID, tolerance)
    assert boundary_score(labels, predicted, 4, VOID, tolerance) == pytest.approx(expected)


def test_boundary_of_a_square_by_hand() -> None:
    labels = np.zeros((1, 12, 12), int)
    labels[0, 3:8, 3:8] = 1
    assert boundary(labels, 1, VOID).sum() == 16  # the rim of 5 × 5
    assert boundary(labels, 0, VOID).sum() == 20  # beside it, without the corners
    assert boundary_score(labels, labels, 2, VOID, 0) == 1
    moved = np.roll(labels, 1, axis=2)
    assert boundary_score(labels, moved, 2, VOID, 1) == 1  # all within a pixel
    # Without tolerance, of the rim of 16 the 4 in the upper and 4 in the lower row meet: 8 / 16. Around it, of 20, the
    # 4 above and 4 below meet: 8 / 20.
    assert boundary_score(labels, moved, 2, VOID, 0) == pytest.approx((8 / 16 + 8 / 20) / 2)


def test_a_missing_or_invented_class_scores_zero_and_void_counts_nowhere() -> None:
    labels = np.zeros((1, 10, 10), int)
    labels[0, 4:6, 4:6] = 1
    assert boundary_score(labels, np.zeros_like(labels), 3, VOID) == 0
    hidden = np.where(labels == 1, VOID, labels)
    with pytest.raises(ValueError, match="no image has a boundary"):
        boundary_score(hidden, labels, 3, VOID)
    # The second image has no boundary to place, and does not count.
    both = np.concatenate([labels, np.zeros_like(labels)])
    assert boundary_score(both, both, 3, VOID) == 1


@pytest.mark.parametrize("seed", range(3))
def test_boundary_as_in_scikit_image_and_distance_as_in_scipy(seed: int) -> None:
    labels, predicted = drawn(seed, count=1, void=False)
    for index in range(4):
        expected = find_boundaries((labels[0] == index).astype(int), connectivity=1, mode="inner")
        assert np.array_equal(boundary(labels, index, VOID)[0], expected)
    scores = []
    for index in range(4):
        true, found = boundary(labels, index, VOID)[0], boundary(predicted, index, VOID)[0]
        if true.any() and found.any():
            precision = (distance_transform_edt(~true)[found] <= 2).mean()
            recall = (distance_transform_edt(~found)[true] <= 2).mean()
            scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0)
        elif true.any() or found.any():
            scores.append(0.0)
    assert boundary_score(labels, predicted, 4, VOID, 2) == pytest.approx(np.mean(scores))


def test_bad_input_is_named() -> None:
    labels = np.zeros((1, 4, 4), int)
    with pytest.raises(ValueError, match=r"\(1, 4, 4\) and predictions \(1, 4, 5\)"):
        mean_iou(labels, np.zeros((1, 4, 5), int), 2, VOID)
    with pytest.raises(ValueError, match="a prediction is 0 or 2; the classes are 0 to 1"):
        mean_iou(labels, labels + 2 * np.eye(4, dtype=int), 2, VOID)
    with pytest.raises(ValueError, match="a label is 3 or 3"):
        class_ious(labels + 3, labels, 2, VOID)
    with pytest.raises(ValueError, match="tolerance=-1"):
        boundary_score(labels, labels, 2, VOID, -1)


# The loss that the chapter uses


def test_the_loss_is_the_mean_over_pixels_with_a_label() -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, VOID + 1, size=(3, 5, 6))
    labels[0] = VOID  # an image without any truth must not dilute the others
    scores = draw.normal(size=(3, 5, 6, 4)).astype("float32")
    log = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    known = labels != VOID
    expected = -np.take_along_axis(log, np.where(known, labels, 0)[..., None], axis=-1)[..., 0][known].mean()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=VOID)
    assert float(loss(labels, scores)) == pytest.approx(expected, rel=1e-5)
