"""Scores: against scikit-learn, and by hand on the tables of a paper."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from course_lib.analysis.diagnosis import confusion_counts, f1, patient_interval, predictive_value, sensitivity


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
