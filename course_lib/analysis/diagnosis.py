"""Scores of a classifier the way medicine reports them: sensitivity and predictive value. Introduced in chapter 04.

Source: ANSI/AAMI EC57, testing and reporting performance results of cardiac rhythm and ST segment measurement
algorithms, as used by de Chazal et al. (2004).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray


def confusion_counts(labels: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Return how often each true class (row) was given each class (column), (classes, classes).

    Raises ValueError where the two differ in length or hold something that is no class.
    """
    true, given = np.asarray(labels), np.asarray(predicted)
    if true.shape != given.shape:
        raise ValueError(f"labels {true.shape} and predictions {given.shape} must have the same shape.")
    for name, values in (("labels", true), ("predictions", given)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(f"{name} run from {values.min()} to {values.max()}; they must lie in 0 to {classes - 1}.")
    return np.bincount(true.ravel() * classes + given.ravel(), minlength=classes**2).reshape(classes, classes)


def sensitivity(counts: ArrayLike) -> NDArray[np.float64]:
    """Return the part of each true class that was found, (classes,); NaN where there was nothing to find."""
    return _share(np.asarray(counts), axis=1)


def predictive_value(counts: ArrayLike) -> NDArray[np.float64]:
    """Return the part of each class's alarms that was right (+P, precision), (classes,); NaN where there was none."""
    return _share(np.asarray(counts), axis=0)


def _share(counts: NDArray, axis: int) -> NDArray[np.float64]:
    total = counts.sum(axis=axis).astype(float)
    return np.divide(counts.diagonal(), total, out=np.full(len(total), np.nan), where=total > 0)


def f1(counts: ArrayLike) -> NDArray[np.float64]:
    """Return the harmonic mean of sensitivity and predictive value, (classes,); NaN for no beat and no alarm."""
    table = np.asarray(counts)
    total = table.sum(axis=0) + table.sum(axis=1)
    return np.divide(2 * table.diagonal(), total, out=np.full(len(total), np.nan), where=total > 0)


def patient_interval(
    statistic: Callable[[NDArray[np.int64]], float],
    counts: ArrayLike,
    *,
    seed: int,
    draws: int = 2_000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the bootstrap interval (percentiles) of a statistic of the summed counts (patients, classes, classes).

    Whole patients are drawn, with replacement, since beats of one heart are no independent witnesses (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). Raises ValueError for fewer than two patients.
    """
    tables = np.asarray(counts)
    if tables.ndim != 3 or len(tables) < 2:
        raise ValueError(f"patient_interval needs a table for each of two or more patients, not shape {tables.shape}.")
    drawn = np.random.default_rng(seed).integers(len(tables), size=(draws, len(tables)))
    values = [statistic(tables[chosen].sum(axis=0)) for chosen in drawn]
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def precision_recall(
    labels: ArrayLike, scores: ArrayLike, *, prevalence: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return precision, sensitivity and the threshold they belong to, (thresholds,) each, the strictest first.

    ``labels`` (n,) are 1 for what is to be found, 0 for the rest. An alarm is a score (n,) at or above the threshold,
    so equal scores stand or fall together. ``prevalence`` is the share of 1 where the classifier will be used, by
    default that of ``labels``: precision = π TPR / (π TPR + (1 − π) FPR), Bayes' theorem (Altman and Bland, Diagnostic
    tests 2: predictive values, BMJ 309, 1994). Introduced in chapter 06. Raises ValueError where labels are not of both
    kinds, lengths differ, a score is NaN, or the prevalence does not lie between 0 and 1.
    """
    true, ranks = np.asarray(labels), np.asarray(scores, float)
    if true.shape != ranks.shape or true.ndim != 1:
        raise ValueError(f"labels {true.shape} and scores {ranks.shape} must be two rows of the same length.")
    if set(np.unique(true)) != {0, 1}:
        raise ValueError(f"labels hold {np.unique(true).tolist()[:5]}; they must hold 0 and 1, and some of each.")
    if np.isnan(ranks).any():
        raise ValueError(f"scores hold NaN, the first at place {int(np.isnan(ranks).argmax())}.")
    if prevalence is not None and not 0 < prevalence < 1:
        raise ValueError(f"prevalence={prevalence}: a share between 0 and 1, for example 1 / 1001 for 1000 to 1.")
    order = np.argsort(-ranks, kind="stable")
    last = np.append(np.flatnonzero(np.diff(ranks[order])), len(order) - 1)  # of each group of equal scores
    found = np.cumsum(true[order])[last]
    false_alarms = last + 1 - found
    rare, frequent = found[-1], false_alarms[-1]
    times = 1.0 if prevalence is None else (1 / prevalence - 1) * rare / frequent  # that each 0 counts, where used
    return found / (found + times * false_alarms), found / rare, ranks[order][last]


def sensitivity_at_precision(
    labels: ArrayLike, scores: ArrayLike, precision: float, *, prevalence: float | None = None
) -> float:
    """Return the highest sensitivity of all thresholds whose precision is at least ``precision``, up to rounding.

    0 where no threshold is so precise: then no alarm may be raised, and nothing is found. The threshold is chosen on
    these very examples, so few false alarms decide, and the value is a little flattering. Arguments and errors as in
    :func:`precision_recall`. Introduced in chapter 06.
    """
    if not 0 < precision <= 1:
        raise ValueError(f"precision={precision}: a share above 0 and up to 1, for example 0.5.")
    reached, found, _ = precision_recall(labels, scores, prevalence=prevalence)
    return float(found[reached >= precision - 1e-12].max(initial=0.0))
