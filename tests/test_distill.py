"""Distillation: its loss against the formula by hand and Keras' Distiller, the factor T², the limit of high T."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from course_lib.analysis.gradients import input_gradient
from course_lib.compression.distill import SoftTargetLoss, label_accuracy, with_scores
from course_lib.datasets.sources import Examples
from course_lib.training.loop import fit

CLASSES = 5


def scores(count: int = 40, *, seed: int = 0, size: float = 3.0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, size, (count, CLASSES)).astype("float32")


def labels(count: int = 40) -> NDArray[np.int32]:
    return np.random.default_rng(9).integers(0, CLASSES, count).astype("int32")


def targets(teacher: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.column_stack([labels(len(teacher)), teacher]).astype("float32")


def linear(seed: int) -> keras.Sequential:
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES)])


def soft_gradient(temperature: float, teacher: NDArray[np.float32], student: NDArray[np.float32]) -> NDArray:
    """Return the gradient of the soft part alone with respect to the student's scores, for each example."""
    loss = SoftTargetLoss(temperature, hard=0.0, reduction="sum")
    return input_gradient(lambda z: loss(targets(teacher), z), student)


@pytest.mark.parametrize(("temperature", "hard"), [(1.0, 0.0), (4.0, 0.1), (0.5, 0.5), (20.0, 1.0)])
def test_the_loss_is_the_formula(temperature: float, hard: float) -> None:
    teacher, student = scores(seed=1), scores(seed=2)
    with_label = -log_softmax(student, axis=1)[np.arange(40), labels()]
    with_teacher = -(softmax(teacher / temperature, axis=1) * log_softmax(student / temperature, axis=1)).sum(axis=1)
    expected = (hard * with_label + (1 - hard) * temperature**2 * with_teacher).mean()
    assert float(SoftTargetLoss(temperature, hard)(targets(teacher), student)) == pytest.approx(expected, rel=1e-5)


def test_two_classes_by_hand() -> None:
    # Teacher ln 9 : 0 is 0.9 : 0.1, at temperature 2 it is 3 : 1; a student without opinion pays ln 2 for anything.
    teacher, student = np.array([[0, np.log(9), 0]], "float32"), np.zeros((1, 2), "float32")
    assert float(SoftTargetLoss(2.0, 0.0)(teacher, student)) == pytest.approx(4 * np.log(2), rel=1e-5)
    gradient = input_gradient(lambda z: SoftTargetLoss(2.0, 0.0)(teacher, z), student)
    np.testing.assert_allclose(gradient, [[2 * (1 / 2 - 3 / 4), 2 * (1 / 2 - 1 / 4)]], atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 3.0, 8.0])
def test_the_distiller_of_keras_has_the_same_gradient(temperature: float) -> None:
    # It takes the Kullback–Leibler divergence, which lacks the entropy of the teacher's answer: the same slope.
    teacher, student = linear(1), linear(2)
    theirs = keras.distillation.Distiller(
        teacher,
        student,
        keras.distillation.LogitsDistillation(temperature, loss=keras.losses.KLDivergence()),
        student_loss_weight=0.3,
    )
    theirs.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    inputs = np.random.default_rng(3).normal(size=(40, 4)).astype("float32")
    answers = keras.ops.convert_to_numpy(teacher(inputs))
    entropy = -(softmax(answers / temperature, axis=1) * log_softmax(answers / temperature, axis=1)).sum(axis=1).mean()
    ours = float(SoftTargetLoss(temperature, 0.3)(targets(answers), student(inputs)))
    total = float(theirs.compute_loss(x=inputs, y=labels(), y_pred=student(inputs)))
    assert ours == pytest.approx(total + 0.7 * temperature**2 * entropy, rel=1e-4)


def test_the_squared_temperature_keeps_gradients_at_one_size() -> None:
    # Section 2: without the factor they shrink as 1/T². With it, from 50 to 100 they change by a few per cent at most.
    teacher, student = scores(seed=1), scores(seed=2)
    sizes = {t: np.linalg.norm(soft_gradient(t, teacher, student)) for t in (50.0, 100.0)}
    assert sizes[100.0] == pytest.approx(sizes[50.0], rel=0.1)
    by_hand = softmax(student / 100, axis=1) - softmax(teacher / 100, axis=1)  # eq. 2, times T
    np.testing.assert_allclose(soft_gradient(100.0, teacher, student), 100 * by_hand, rtol=0.02, atol=2e-3)


def test_at_high_temperature_it_matches_centred_scores() -> None:
    # Section 2.1, eq. 4: the gradient goes to (z - v) / classes for scores of mean 0, that of their squared error.
    teacher, student = scores(seed=1), scores(seed=2)
    centred = [z - z.mean(axis=1, keepdims=True) for z in (student, teacher)]
    expected = (centred[0] - centred[1]) / CLASSES
    errors = {t: np.abs(soft_gradient(t, teacher, student) - expected).max() for t in (50.0, 200.0)}
    assert errors[200.0] < 0.03 * np.abs(expected).max()
    assert errors[200.0] < errors[50.0] / 2.5  # a first-order term is left, which falls as 1/T


def test_a_student_on_scores_alone_becomes_its_teacher() -> None:
    teacher, student = linear(1), linear(2)
    inputs = np.random.default_rng(3).normal(size=(400, 4)).astype("float32")
    answers = keras.ops.convert_to_numpy(teacher(inputs))
    own = answers.argmax(axis=1)
    wrong = Examples(inputs, ((own + 1) % CLASSES).astype("int32"))
    history = fit(
        student,
        with_scores(wrong, answers),
        validation=with_scores(wrong, answers),
        epochs=40,
        batch_size=50,
        learning_rate=0.05,
        loss=SoftTargetLoss(2.0, hard=0.0),
        metrics=[label_accuracy],
        seed=0,
    )
    found = keras.ops.convert_to_numpy(student(inputs)).argmax(axis=1)
    assert (found == own).mean() > 0.97
    # No label is right where the student has learnt to answer as its teacher does.
    assert history.last("accuracy") == pytest.approx(history.last("val_accuracy"), abs=0.02)
    assert history.last("val_accuracy") == pytest.approx((found == wrong.labels).mean(), abs=1e-6)
    assert history.last("val_accuracy") < 0.03


def test_with_weight_one_the_scores_do_not_count() -> None:
    inputs = np.random.default_rng(3).normal(size=(60, 4)).astype("float32")
    plain, distilled = linear(2), linear(2)
    fit(plain, Examples(inputs, labels(60)), epochs=3, batch_size=20, seed=0)
    given = with_scores(Examples(inputs, labels(60)), scores(60))
    fit(distilled, given, epochs=3, batch_size=20, loss=SoftTargetLoss(4.0, hard=1.0), metrics=[], seed=0)
    for ours, theirs in zip(plain.get_weights(), distilled.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_loss_is_saved_with_its_numbers() -> None:
    again = keras.losses.deserialize(keras.losses.serialize(SoftTargetLoss(4.0, 0.2)))
    assert (again.temperature, again.hard) == (4.0, 0.2)


def test_bad_input_is_refused() -> None:
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=rf"temperature={temperature}.*above 0"):
            SoftTargetLoss(temperature)
    with pytest.raises(ValueError, match=r"hard=1\.5.*from 0 to 1"):
        SoftTargetLoss(4.0, hard=1.5)
    examples = Examples(np.zeros((40, 4), "float32"), labels())
    for wrong in (scores(39), scores()[:, 0]):
        with pytest.raises(ValueError, match=r"does not fit labels of shape \(40,\)"):
            with_scores(examples, wrong)
