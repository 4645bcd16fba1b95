"""The loss of the 1998 network against its formula (eq. 9) in double precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from course_lib.training.losses import MaximumAPosteriori, smallest_penalty_accuracy


def equation_9(labels: NDArray, penalties: NDArray, rubbish: float) -> NDArray:
    """Return y_right + log(e^-j + Σ e^-y_i) for each example, one after the other."""
    losses = []
    for label, row in zip(labels.ravel(), penalties.astype(np.float64), strict=True):
        terms = np.append(-row, -rubbish)
        largest = terms.max()
        losses.append(row[label] + largest + np.log(np.exp(terms - largest).sum()))
    return np.array(losses)


def penalties_and_labels(n: int = 40, classes: int = 10, spread: float = 30.0) -> tuple[NDArray, NDArray]:
    """Return penalties, which are never negative, and labels."""
    draw = np.random.default_rng(0)
    return draw.uniform(0, spread, (n, classes)).astype("float32"), draw.integers(0, classes, n)


@pytest.mark.parametrize("rubbish", [0.5, 10.0, 60.0])
@pytest.mark.parametrize("spread", [1.0, 30.0, 400.0])
def test_loss_is_equation_9(rubbish: float, spread: float) -> None:
    penalties, labels = penalties_and_labels(spread=spread)
    each = MaximumAPosteriori(rubbish, reduction="none")(labels, penalties)
    expected = equation_9(labels, penalties, rubbish)
    assert keras.ops.convert_to_numpy(each) == pytest.approx(expected, rel=1e-5, abs=1e-5 * spread)
    mean = float(MaximumAPosteriori(rubbish)(labels, penalties))
    assert mean == pytest.approx(expected.mean(), rel=1e-5)


def test_loss_without_rubbish_is_cross_entropy_of_negative_penalties() -> None:
    penalties, labels = penalties_and_labels(spread=5)
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, -penalties)
    assert float(MaximumAPosteriori(rubbish=1e4)(labels, penalties)) == pytest.approx(float(theirs), rel=1e-5)


def test_default_of_rubbish_is_ten() -> None:
    penalties, labels = penalties_and_labels()
    expected = equation_9(labels, penalties, 10.0).mean()
    assert float(MaximumAPosteriori()(labels, penalties)) == pytest.approx(expected, rel=1e-5)


def test_labels_may_be_a_column() -> None:
    penalties, labels = penalties_and_labels()
    assert float(MaximumAPosteriori()(labels[:, None], penalties)) == float(MaximumAPosteriori()(labels, penalties))


def test_gradient_pulls_the_right_penalty_down_and_pushes_the_others_up() -> None:
    import tensorflow as tf

    penalties, labels = penalties_and_labels(spread=6)
    variable = tf.Variable(penalties)
    with tf.GradientTape() as tape:
        loss = MaximumAPosteriori(rubbish=4.0, reduction="sum")(labels, variable)
    gradient = tape.gradient(loss, variable).numpy()
    rows = np.arange(len(labels))
    # By hand: -p_i for a wrong class, 1 - p for the right one, p the softmax with the rubbish class in it.
    terms = np.exp(-np.column_stack([penalties.astype(float), np.full(len(labels), 4.0)]))
    expected = -(terms / terms.sum(axis=1, keepdims=True))[:, :-1]
    expected[rows, labels] += 1
    assert gradient == pytest.approx(expected, abs=1e-5)
    assert (gradient[rows, labels] > 0).all(), "descending it lowers the penalty of the right class"
    wrong = np.ones_like(gradient, bool)
    wrong[rows, labels] = False
    assert (gradient[wrong] < 0).all(), "and raises the others"


def test_far_penalties_are_left_alone() -> None:
    import tensorflow as tf

    variable = tf.Variable([[0.1, 100.0, 12.0]])
    with tf.GradientTape() as tape:
        loss = MaximumAPosteriori(rubbish=3.0)(np.array([0]), variable)
    gradient = tape.gradient(loss, variable).numpy()[0]
    assert abs(gradient[1]) < 1e-6 and gradient[0] > 0.04


def test_configuration_makes_the_same_loss_again() -> None:
    penalties, labels = penalties_and_labels()
    loss = MaximumAPosteriori(rubbish=7.5, name="map")
    again = MaximumAPosteriori.from_config(loss.get_config())
    assert (again.rubbish, again.name) == (7.5, "map")
    assert float(again(labels, penalties)) == float(loss(labels, penalties))


def test_accuracy_counts_smallest_penalties() -> None:
    penalties = np.array([[0.0, 1, 2], [3, 2, 1], [5, 0.5, 9], [1, 2, 0]], "float32")
    found = keras.ops.convert_to_numpy(smallest_penalty_accuracy(np.array([0, 0, 1, 2]), penalties))
    assert found.tolist() == [1, 0, 1, 1]
    column = keras.ops.convert_to_numpy(smallest_penalty_accuracy(np.array([[0], [0], [1], [2]]), penalties))
    assert column.tolist() == [1, 0, 1, 1]


def test_accuracy_is_called_accuracy_in_the_history() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile("sgd", MaximumAPosteriori(), metrics=[smallest_penalty_accuracy])
    model.layers[0].set_weights([np.eye(3, dtype="float32"), np.zeros(3, "float32")])
    inputs = np.array([[0.0, 1, 2], [2, 1, 0], [2, 0, 1], [0, 1, 2]], "float32")
    scores = model.evaluate(inputs, np.array([0, 2, 1, 1]), verbose=0, return_dict=True)
    assert scores["accuracy"] == pytest.approx(0.75)
