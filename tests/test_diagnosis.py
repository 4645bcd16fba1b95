"""Scores: against scikit-learn, and by hand on the tables of a paper."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from course_lib.analysis.diagnosis import (
    confusion_counts,
    f1,
    patient_interval,
    precision_recall,
    predictive_value,
    sensitivity,
    sensitivity_at_precision,
)


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = generator.choice(4, 2_000, p=[0.85, 0.05, 0.09, 0.01])
    return labels, np.where(generator.random(2_000) < 0.8, labels, generator.integers(0, 4, 2_000))


def test_scores_are_those_of_scikit_learn(answers: tuple[np.ndarray, np.ndarray]) -> None:
    labels, predicted = answers
    counts = confusion_counts(labels, predicted, 4)
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(labels, predicted))
    np.testing.assert_allclose(sensitivity(counts), metrics.recall_score(labels, predicted, average=None))
    np.testing.assert_allclose(predictive_value(counts), metrics.precision_score(labels, predicted, average=None))
    np.testing.assert_allclose(f1(counts), metrics.f1_score(labels, predicted, average=None))


def test_scores_by_hand() -> None:
    counts = [[90, 10], [5, 15]]  # 100 of the first class, 20 of the second
    np.testing.assert_allclose(sensitivity(counts), [0.9, 0.75])
    np.testing.assert_allclose(predictive_value(counts), [90 / 95, 15 / 25])
    np.testing.assert_allclose(f1(counts), [2 * 90 / 195, 2 * 15 / 45])


def test_a_class_without_beats_or_alarms_has_no_score() -> None:
    counts = confusion_counts([0, 0, 1], [0, 0, 0], 3)
    np.testing.assert_array_equal(sensitivity(counts), [1, 0, np.nan])
    np.testing.assert_array_equal(predictive_value(counts), [2 / 3, np.nan, np.nan])
    np.testing.assert_array_equal(f1(counts), [0.8, 0, np.nan])


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([0, 1], [0], r"labels \(2,\) and predictions \(1,\)"),
        ([0, 3], [0, 1], "labels run from 0 to 3; they must lie in 0 to 2"),
        ([0, 1], [0, -1], "predictions run from -1 to 0"),
    ],
)
def test_wrong_arguments_are_named(labels: list[int], predicted: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_counts(labels, predicted, 3)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Patients with a true mean of 0.8 and a spread among them: 95 % intervals cover it in most of 200 trials."""
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        right = generator.binomial(100, generator.beta(8, 2, 30))
        counts = np.zeros((30, 2, 2), int)
        counts[:, 0, 0], counts[:, 0, 1] = right, 100 - right
        low, high = patient_interval(lambda table: sensitivity(table)[0], counts, seed=trial, draws=400)
        covered += low <= 0.8 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_interval_is_wider_than_that_of_independent_beats() -> None:
    counts = np.zeros((10, 2, 2), int)
    counts[:, 0] = [[100, 0], [0, 100]] * 5  # half of the patients all right, half all wrong
    low, high = patient_interval(lambda table: sensitivity(table)[0], counts, seed=0)
    assert high - low > 5 * 2 * 1.96 * np.sqrt(0.25 / 1_000)  # what 1,000 independent beats would give, five times


def test_interval_needs_patients() -> None:
    with pytest.raises(ValueError, match="two or more patients"):
        patient_interval(lambda table: 0.0, np.zeros((1, 2, 2)), seed=0)


@pytest.fixture(params=[1, 8], ids=["many ties", "no ties"])
def ranked(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """A twentieth of 2,000 is to be found, with higher scores on the whole; rounded to one digit many are equal."""
    generator = np.random.default_rng(2)
    labels = (generator.random(2_000) < 0.05).astype(int)
    return labels, np.round(generator.normal(size=2_000) + 2 * labels, request.param)


def test_precision_recall_is_that_of_scikit_learn(ranked: tuple[np.ndarray, np.ndarray]) -> None:
    precision, found, thresholds = metrics.precision_recall_curve(*ranked)
    for ours, theirs in zip(precision_recall(*ranked), (precision[:-1], found[:-1], thresholds), strict=True):
        np.testing.assert_allclose(ours, theirs[::-1])  # theirs has one more: precision 1, nothing found


def test_another_prevalence_is_another_weight_of_the_frequent_class(ranked: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = ranked
    weights = np.where(labels == 1, 1.0, 50 * labels.sum() / (labels == 0).sum())  # together 50 to 1
    precision, found, _ = metrics.precision_recall_curve(labels, scores, sample_weight=weights)
    ours = precision_recall(labels, scores, prevalence=1 / 51)
    np.testing.assert_allclose(ours[0], precision[-2::-1])
    np.testing.assert_allclose(ours[1], found[-2::-1])
    for wanted in (0.02, 0.1, 0.3, 0.5):
        best = found[:-1][precision[:-1] >= wanted].max(initial=0)
        assert sensitivity_at_precision(labels, scores, wanted, prevalence=1 / 51) == pytest.approx(best)


def test_precision_at_a_prevalence_by_hand() -> None:
    """Nine of ten ill are found, and five of a hundred healthy get an alarm: at 1000 to 1 it is 0.9 of 50.9 alarms."""
    labels = np.repeat([1, 0], [10, 100])
    scores = np.repeat([1, 0, 1, 0], [9, 1, 5, 95])
    precision, found, thresholds = precision_recall(labels, scores, prevalence=1 / 1001)
    np.testing.assert_allclose(precision, [0.9 / 50.9, 1 / 1001])
    np.testing.assert_array_equal(found, [0.9, 1])
    np.testing.assert_array_equal(thresholds, [1, 0])
    assert precision_recall(labels, scores)[0][0] == 9 / 14


@pytest.mark.parametrize(("wanted", "expected"), [(1, 0.25), (0.75, 0.75), (0.76, 0.25), (0.5, 1), (0.1, 1)])
def test_sensitivity_at_a_precision_by_hand(wanted: float, expected: float) -> None:
    """From the top: ill, healthy, ill, ill, three healthy, ill. With 4 alarms 3 are right, with 8 alarms 4, all."""
    assert sensitivity_at_precision([1, 0, 1, 1, 0, 0, 0, 1], [8, 7, 6, 5, 4, 3, 2, 1], wanted) == expected


def test_precision_that_is_met_to_the_digit_counts() -> None:
    """Both ill found, one false alarm among 1,000 healthy: at 1000 to 1 half of the alarms are right."""
    labels, scores = np.repeat([1, 0], [2, 1_000]), np.repeat([1, 0], [3, 999])
    assert sensitivity_at_precision(labels, scores, 0.5, prevalence=1 / 1001) == 1


def test_nothing_is_found_where_no_threshold_is_precise_enough() -> None:
    assert sensitivity_at_precision([0, 1], [2, 1], 0.6) == 0
    assert sensitivity_at_precision([0, 1, 0], [1, 1, 1], 0.5) == 0  # all scores equal: one threshold, one in three


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0.5], 0.5), r"labels \(2,\) and scores \(1,\)"),
        (([0, 2], [0.5, 1], 0.5), r"labels hold \[0, 2\]; they must hold 0 and 1"),
        (([1, 1], [0.5, 1], 0.5), r"labels hold \[1\]"),
        (([0, 1], [0.5, np.nan], 0.5), "NaN, the first at place 1"),
        (([0, 1], [0.5, 1], 0), "precision=0: a share above 0"),
    ],
)
def test_wrong_arguments_of_a_ranking_are_named(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sensitivity_at_precision(*arguments)


@pytest.mark.parametrize("prevalence", [0, 1, 1000])
def test_prevalence_is_a_share(prevalence: float) -> None:
    with pytest.raises(ValueError, match=f"prevalence={prevalence}: a share between 0 and 1"):
        precision_recall([0, 1], [0, 1], prevalence=prevalence)
