"""Calibration: against scikit-learn, published examples of other libraries, sums by hand and the slow definition."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import brier_score_loss, log_loss

from course_lib.analysis.calibration import (
    brier_score,
    calibration_error,
    calibration_floor,
    calibration_interval,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    softmax,
)


def drawn(seed: int, count: int, *, sharpness: float = 1.0, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (count, classes) and labels drawn from softmax(scores / sharpness): calibrated at 1."""
    draw = np.random.default_rng(seed)
    scores = 2 * draw.normal(size=(count, classes))
    labels = (softmax(scores).cumsum(axis=1) > draw.random((count, 1))).argmax(axis=1)
    return sharpness * scores, labels


def two_classes(confidence: list[float], right: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of two classes, the first as confident as given, and labels that make it right or wrong."""
    first = np.array(confidence)
    return np.stack([first, 1 - first], axis=1), 1 - np.array(right)


# Calibration error


def test_error_by_hand() -> None:
    # Ten forecasts: four times 0.6, of which 1 is right, and six times 0.9, of which 5 are.
    probabilities, labels = two_classes([0.6] * 4 + [0.9] * 6, [1, 0, 0, 0, 1, 1, 1, 1, 1, 0])
    table = reliability(probabilities, labels, bins=10, equal="width")
    assert table.count.tolist() == [4, 6]
    assert table.confidence == pytest.approx([0.6, 0.9])
    assert table.accuracy == pytest.approx([1 / 4, 5 / 6])
    assert table.error == pytest.approx(0.4 * (0.6 - 1 / 4) + 0.6 * (0.9 - 5 / 6))
    # In one bin the two do not cancel fully: confidence 0.78, accuracy 0.6.
    assert calibration_error(probabilities, labels, bins=1) == pytest.approx(0.18)


def test_example_of_torchmetrics() -> None:
    # The example in the documentation of torchmetrics' MulticlassCalibrationError, 3 bins: 0.2000 as the mean, 0.2082
    # as the root of the mean square, 0.2333 as the largest.
    probabilities = [[0.25, 0.20, 0.55], [0.55, 0.05, 0.40], [0.10, 0.30, 0.60], [0.90, 0.05, 0.05]]
    table = reliability(probabilities, [0, 1, 2, 0], bins=3, equal="width")
    gaps, weights = np.abs(table.accuracy - table.confidence), table.count / 4
    assert table.error == pytest.approx(0.2000, abs=5e-5)
    assert math.sqrt((weights * gaps**2).sum()) == pytest.approx(0.2082, abs=5e-5)
    assert gaps.max() == pytest.approx(0.2333, abs=5e-5)


@pytest.mark.parametrize(
    ("probabilities", "labels", "width", "mass"),
    [
        ([[0.2, 0.8], [0.3, 0.7]], [1, 0], 0.45, 0.51478150),
        ([[0.35, 0.35, 0.3], [0.8, 0.15, 0.05]], [2, 1], 0.575, 0.6174544),
    ],
)
def test_examples_of_robustness_metrics(probabilities: list, labels: list, width: float, mass: float) -> None:
    # Expected values in the tests of google-research/robustness_metrics: "ece" (10 bins of equal width), and "gce" with
    # two adaptive bins and the root of the mean square.
    assert calibration_error(probabilities, labels, bins=10, equal="width") == pytest.approx(width)
    table = reliability(probabilities, labels, bins=2, equal="mass")
    squares = (table.accuracy - table.confidence) ** 2
    assert math.sqrt(np.average(squares, weights=table.count)) == pytest.approx(mass, abs=1e-6)


@pytest.mark.parametrize(("equal", "strategy"), [("width", "uniform"), ("mass", "quantile")])
@pytest.mark.parametrize("bins", [1, 5, 15, 50])
def test_table_as_in_scikit_learn(equal: str, strategy: str, bins: int) -> None:
    scores, labels = drawn(0, 1_000, sharpness=2)
    probabilities = softmax(scores).round(2)  # rounded, so that many confidences are equal
    probabilities[:, 0] += 1 - probabilities.sum(axis=1)
    probabilities = np.abs(probabilities) / np.abs(probabilities).sum(axis=1, keepdims=True)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    accuracies, confidences = calibration_curve(right, confidence, n_bins=bins, strategy=strategy)
    table = reliability(probabilities, labels, bins=bins, equal=equal)
    np.testing.assert_allclose(table.accuracy, accuracies)
    np.testing.assert_allclose(table.confidence, confidences)
    assert table.count.sum() == 1_000


@pytest.mark.parametrize("seed", range(3))
def test_equal_width_as_the_definition(seed: int) -> None:
    scores, labels = drawn(seed, 300, sharpness=1.5)
    probabilities, bins = softmax(scores), 15
    total = 0.0
    for number in range(1, bins + 1):  # Guo et al., section 2: the interval ((m - 1) / M, m / M]
        inside = [i for i in range(300) if (number - 1) / bins < max(probabilities[i]) <= number / bins]
        if inside:
            accuracy = sum(int(np.argmax(probabilities[i]) == labels[i]) for i in inside) / len(inside)
            confidence = sum(max(probabilities[i]) for i in inside) / len(inside)
            total += len(inside) / 300 * abs(accuracy - confidence)
    assert calibration_error(probabilities, labels, bins=bins, equal="width") == pytest.approx(total)


def test_bins_of_equal_mass_hold_equally_many_and_ties_stay_together() -> None:
    scores, labels = drawn(1, 1_500)
    assert reliability(softmax(scores), labels, bins=15).count.tolist() == [100] * 15
    sure, right = two_classes([1.0] * 90 + [0.6] * 10, [1] * 100)  # the quantiles of most bins are 1
    table = reliability(sure, right, bins=10)
    assert table.count.tolist() == [10, 90]
    backwards = reliability(sure[::-1], right[::-1], bins=10)
    assert np.array_equal(table.confidence, backwards.confidence)


def test_a_calibrated_forecaster_shows_only_the_noise_of_its_bins() -> None:
    # With one confidence c and one bin the error is |right / n - c|, whose mean is nearly √(2 c (1 - c) / (π n)).
    draw, count = np.random.default_rng(0), 400
    errors = []
    for _ in range(400):
        probabilities, labels = two_classes([0.7] * count, (draw.random(count) < 0.7).astype(int).tolist())
        errors.append(calibration_error(probabilities, labels, bins=1))
    assert np.mean(errors) == pytest.approx(math.sqrt(2 * 0.7 * 0.3 / (math.pi * count)), rel=0.1)
    # With 15 bins it is the mean of 15 such terms. A hundred times as many images: a tenth of the error.
    for count in (2_000, 200_000):
        scores, labels = drawn(2, count)
        table = reliability(softmax(scores), labels, bins=15)
        noise = np.sqrt(2 * table.confidence * (1 - table.confidence) / (math.pi * table.count))
        assert table.error == pytest.approx(np.average(noise, weights=table.count), rel=0.5)


def test_floor() -> None:
    # One confidence, one bin: the 95 % quantile of |normal| is 1.96 standard errors.
    probabilities, _ = two_classes([0.7] * 1_000, [1] * 1_000)
    floor = calibration_floor(probabilities, bins=1, seed=0, draws=4_000)
    assert floor == pytest.approx(1.96 * math.sqrt(0.7 * 0.3 / 1_000), rel=0.05)
    below = []
    for seed in range(100):
        scores, labels = drawn(seed, 1_000)
        probabilities = softmax(scores)
        floor = calibration_floor(probabilities, bins=15, seed=seed, draws=200)
        below.append(calibration_error(probabilities, labels, bins=15) < floor)
    assert 0.88 <= np.mean(below) <= 1


@pytest.mark.parametrize("gap", [0.0, 0.02, 0.1])
def test_interval_holds_the_true_error(gap: float) -> None:
    # A forecaster that is right less often than it says, by the same gap at every confidence: that is its true error.
    draw, held, low_enough = np.random.default_rng(3), [], []
    for seed in range(60):
        confidence = 0.6 + 0.4 * draw.random(1_000)
        right = draw.random(1_000) < confidence - gap
        probabilities, labels = two_classes(confidence.tolist(), right.astype(int).tolist())
        low, high = calibration_interval(probabilities, labels, bins=15, seed=seed, draws=200)
        held.append(low <= gap <= high)
        low_enough.append(low <= calibration_error(probabilities, labels, bins=15) <= high)
    assert np.mean(held) >= 0.85
    assert all(low_enough)


def test_interval_shrinks_with_images_and_repeats_with_the_seed() -> None:
    widths = []
    for count in (1_000, 16_000):
        scores, labels = drawn(5, count, sharpness=3)
        intervals = [calibration_interval(softmax(scores), labels, bins=10, seed=0, draws=300) for _ in range(2)]
        assert intervals[0] == intervals[1]
        widths.append(intervals[0][1] - intervals[0][0])
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.25)


# Brier score and likelihood


def test_brier_score_by_hand_and_in_scikit_learn() -> None:
    # The example in scikit-learn's documentation: 0.146 for three classes.
    forecast = [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.2, 0.2, 0.6]]
    by_hand = (0.04 + 0.01 + 0.01 + 0.04 + 0.09 + 0.01 + 0.04 + 0.04 + 0.16) / 3
    assert brier_score(forecast, [0, 1, 2]) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(0.146, abs=1e-3)
    assert brier_score([[0, 1]], [0]) == 2
    assert brier_score([[0, 1]], [1]) == 0
    scores, labels = drawn(0, 500)
    assert brier_score(softmax(scores), labels) == pytest.approx(brier_score_loss(labels, softmax(scores)))
    binary = softmax(scores[:, :2])
    half = brier_score_loss(labels % 2, binary[:, 1])
    assert brier_score(binary, labels % 2) == pytest.approx(2 * half)


def test_likelihood_as_in_scikit_learn_and_keras() -> None:
    scores, labels = drawn(0, 500)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, scores.astype("float32"))
    assert negative_log_likelihood(scores, labels) == pytest.approx(float(loss), rel=1e-6)
    expected = log_loss(labels, softmax(scores / 3))
    assert negative_log_likelihood(scores, labels, temperature=3) == pytest.approx(expected)
    assert negative_log_likelihood([[0.0, 2_000.0]], [0]) == 2_000  # where the probability itself is 0


# Temperature


class GivenScores(ClassifierMixin, BaseEstimator):
    """A classifier for scikit-learn whose inputs are already the scores."""

    def fit(self, scores: np.ndarray, labels: np.ndarray) -> GivenScores:
        self.classes_ = np.unique(labels)
        return self

    def decision_function(self, scores: np.ndarray) -> np.ndarray:
        return scores

    def predict(self, scores: np.ndarray) -> np.ndarray:
        return scores.argmax(axis=1)


@pytest.mark.parametrize("sharpness", [0.2, 1.0, 4.0, 1_000.0])
def test_temperature_recovers_a_known_sharpness(sharpness: float) -> None:
    scores, labels = drawn(0, 20_000, sharpness=sharpness)
    assert fit_temperature(scores, labels) == pytest.approx(sharpness, rel=0.03)


def test_temperature_as_in_scikit_learn() -> None:
    scores, labels = drawn(4, 2_000, sharpness=2.5)
    frozen = FrozenEstimator(GivenScores().fit(scores, labels))
    reference = CalibratedClassifierCV(frozen, method="temperature").fit(scores, labels)
    ours = softmax(scores, fit_temperature(scores, labels))
    np.testing.assert_allclose(ours, reference.predict_proba(scores), atol=1e-4)


def test_temperature_is_the_minimum_of_the_likelihood() -> None:
    scores, labels = drawn(6, 1_000, sharpness=3)
    best = fit_temperature(scores, labels)
    grid = best * np.linspace(0.5, 2, 301)
    losses = [negative_log_likelihood(scores, labels, temperature) for temperature in grid]
    assert grid[np.argmin(losses)] == pytest.approx(best, rel=0.01)
    # By hand: two classes at scores 1 and 0, right three times of four, so 3/4 = 1 / (1 + exp(-1 / T)): T = 1 / ln 3.
    assert fit_temperature([[1.0, 0.0]] * 4, [0, 0, 0, 1]) == pytest.approx(1 / math.log(3))


@pytest.mark.parametrize("temperature", [0.1, 1, 2.5, 50])
def test_scaling_never_changes_the_first_class(temperature: float) -> None:
    scores, _ = drawn(7, 2_000, sharpness=3)
    scores = scores.astype("float32")
    scaled = softmax(scores, temperature)
    assert np.array_equal(scaled.argmax(axis=1), scores.argmax(axis=1))
    np.testing.assert_allclose(scaled.sum(axis=1), 1)


def test_scaling_lowers_the_error_of_a_network_that_is_too_sure() -> None:
    scores, labels = drawn(8, 10_000, sharpness=2)
    new_scores, new_labels = drawn(9, 10_000, sharpness=2)
    before = calibration_error(softmax(new_scores), new_labels, bins=15)
    after = calibration_error(softmax(new_scores, fit_temperature(scores, labels)), new_labels, bins=15)
    assert before > 0.1
    assert after < 0.02


# What is refused

GOOD = np.array([[0.9, 0.1], [0.4, 0.6]])


@pytest.mark.parametrize("function", [reliability, calibration_error, calibration_interval, brier_score])
@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.array([[0.9, 0.1], [2.5, -1.0]]), [0, 1], r"sum to 1.*softmax\(scores\)"),
        (np.array([[0.9, 0.1], [0.4, 0.5]]), [0, 1], "row 1 sums to 0.9"),
        (np.array([[1.2, -0.2], [0.4, 0.6]]), [0, 1], "smallest is -0.2"),
        (np.array([[0.9, 0.1], [np.nan, 0.6]]), [0, 1], "finite; row 1 is not"),
        (np.array([0.9, 0.4]), [0, 1], r"\(2,\) must be \(n, classes\)"),
        (np.empty((0, 2)), [], r"\(0, 2\) must be \(n, classes\), at least one image"),
        (np.ones((2, 1)), [0, 0], "two classes"),
        (GOOD, [0], r"labels of shape \(1,\) do not fit 2 images"),
        (GOOD, GOOD, r"labels of shape \(2, 2\) do not fit"),
        (GOOD, [0, 2], "0 to 2.*from 0 to 1"),
        (GOOD, [0, -1], "-1 to 0.*from 0 to 1"),
        (GOOD, [0.0, 1.0], "float64.*whole numbers"),
    ],
)
def test_refuses(function: object, probabilities: np.ndarray, labels: list, message: str) -> None:
    options = {} if function is brier_score else {"bins": 15}
    options |= {"seed": 0} if function is calibration_interval else {}
    with pytest.raises(ValueError, match=message):
        function(probabilities, np.asarray(labels, dtype=None if len(labels) else int), **options)


def test_refuses_bins_and_temperatures_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"bins=0: there must be at least 1"):
        calibration_error(GOOD, [0, 1], bins=0)
    with pytest.raises(ValueError, match=r"equal='size'"):
        calibration_floor(GOOD, bins=2, equal="size", seed=0)  # type: ignore[arg-type]
    for temperature in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=r"temperature=.* above 0"):
            softmax(GOOD, temperature)
    with pytest.raises(ValueError, match=r"scores must be finite"):
        fit_temperature([[np.inf, 0.0]], [0])


def test_refuses_scores_that_have_no_best_temperature() -> None:
    with pytest.raises(ValueError, match="every image is right"):
        fit_temperature([[2.0, 0.0], [0.0, 1.0]], [0, 1])
    with pytest.raises(ValueError, match="no better than others"):
        fit_temperature([[2.0, 0.0], [0.0, 1.0], [0.5, 0.0]], [1, 0, 0])
