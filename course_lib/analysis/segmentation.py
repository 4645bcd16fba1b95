"""How good labels for every pixel are: mean IoU and boundary score. Introduced in chapter 05, after the same by hand.

Labels and predictions are whole numbers (n, h, w). Pixels whose label is ``void`` have no truth and count nowhere.
"""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray


def class_ious(labels: ArrayLike, predicted: ArrayLike, classes: int, void: int) -> NDArray[np.float64]:
    """Return the intersection over union of each class over all pixels together; NaN where a class never occurs.

    The counts are those of ``keras.metrics.MeanIoU``. Raises ValueError where the shapes differ, or where a label or a
    prediction is no class: Keras would leave it out unseen.
    """
    truth, guess = _checked(labels, predicted, classes, void)
    metric = keras.metrics.MeanIoU(classes, ignore_class=void)
    metric.update_state(truth, guess)
    counts = keras.ops.convert_to_numpy(metric.total_cm).astype(np.float64)
    right = np.diag(counts)
    with np.errstate(invalid="ignore"):
        return right / (counts.sum(axis=0) + counts.sum(axis=1) - right)


def mean_iou(labels: ArrayLike, predicted: ArrayLike, classes: int, void: int) -> float:
    """Return the mean of :func:`class_ious` over the classes that occur, in 0 to 1. Raises as it does."""
    return float(np.nanmean(class_ious(labels, predicted, classes, void)))


def boundary_score(labels: ArrayLike, predicted: ArrayLike, classes: int, void: int, tolerance: int = 1) -> float:
    """Return the mean boundary F1 over images, in 0 to 1: how well the borders of the classes are placed.

    Precision is the share of a class's predicted :func:`boundary` that lies within ``tolerance`` pixels, in a straight
    line, of the true one; recall the share of the true one that lies so near the predicted one; F1 = 2 · precision ·
    recall / (precision + recall), or 0 where one boundary is missing. The score of an image is the mean over the
    classes with a boundary in truth or prediction. Source: Csurka, Larlus and Perronnin, BMVC 2013; matching by growth
    as Perazzi et al., CVPR 2016. Raises as :func:`class_ious`, for a negative tolerance, and where no image has any.
    """
    if tolerance < 0:
        raise ValueError(f"boundary_score(tolerance={tolerance}): it must be 0 or more pixels.")
    truth, guess = _checked(labels, predicted, classes, void)
    guess = np.where(truth == void, void, guess)
    total, counted = np.zeros((2, len(truth)))
    for index in range(classes):
        true, found = boundary(truth, index, void), boundary(guess, index, void)
        precision, recall = _share(found, _grown(true, tolerance)), _share(true, _grown(found, tolerance))
        total += 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        counted += true.any(axis=(1, 2)) | found.any(axis=(1, 2))
    if not counted.any():
        raise ValueError("boundary_score(): no image has a boundary between two classes.")
    return float((total[counted > 0] / counted[counted > 0]).mean())


def boundary(labels: NDArray, index: int, void: int) -> NDArray[np.bool_]:
    """Return where pixels of class ``index`` have one of four neighbours of another class; (n, h, w) → the same."""
    inside, other = labels == index, (labels != index) & (labels != void)
    edge = np.zeros_like(inside)
    for axis in (1, 2):
        here, there = (np.moveaxis(mask, axis, 0) for mask in (inside, other))
        found = np.moveaxis(edge, axis, 0)  # a view: what is written here stands in edge
        found[1:] |= here[1:] & there[:-1]
        found[:-1] |= here[:-1] & there[1:]
    return edge


def _checked(labels: ArrayLike, predicted: ArrayLike, classes: int, void: int) -> tuple[NDArray, NDArray]:
    truth, guess = np.asarray(labels), np.asarray(predicted)
    if truth.shape != guess.shape or truth.ndim != 3:
        raise ValueError(f"labels {truth.shape} and predictions {guess.shape} must have one shape (n, h, w).")
    for name, found in (("label", truth[truth != void]), ("prediction", guess)):
        if found.min(initial=0) < 0 or found.max(initial=0) >= classes:
            raise ValueError(f"a {name} is {found.min()} or {found.max()}; the classes are 0 to {classes - 1}.")
    return truth, guess


def _share(pixels: NDArray[np.bool_], near: NDArray[np.bool_]) -> NDArray[np.float64]:
    return (pixels & near).sum(axis=(1, 2)) / np.maximum(pixels.sum(axis=(1, 2)), 1)


def _grown(pixels: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Return where some pixel of the same image lies within ``radius``, for masks (n, h, w)."""
    (_, height, width), room = pixels.shape, np.pad(pixels, ((0, 0), (radius, radius), (radius, radius)))
    offsets = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, -1).T
    grown = np.zeros_like(pixels)
    for down, right in offsets[(offsets**2).sum(axis=1) <= radius**2] + radius:
        grown |= room[:, down : down + height, right : right + width]
    return grown
