"""Distillation: a student learns from a teacher's scores as well as from the labels. Introduced in chapter 08.

Source: Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, NIPS 2014 deep learning workshop,
arXiv:1503.02531, section 2 ("the paper" below). Keras' own Distiller computes the teacher anew for each batch of each
epoch, and the same for its validation; here the teacher answers once and its scores stand beside the labels. Scores
(logits) are (n, classes), labels are whole numbers, (n,), targets are (n, 1 + classes): the label, then the scores.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from course_lib.datasets.sources import Examples


def with_scores(examples: Examples, scores: ArrayLike) -> Examples:
    """Return the examples with targets in the place of labels, for :class:`SoftTargetLoss`.

    ``scores`` are the teacher's for these examples, in their order. Raises ValueError where they do not fit.
    """
    matrix, labels = np.asarray(scores, "float32"), np.asarray(examples.labels)
    if labels.ndim != 1 or matrix.ndim != 2 or len(matrix) != len(labels):
        raise ValueError(
            f"with_scores(scores of shape {matrix.shape}) does not fit labels of shape {labels.shape}; give scores "
            "(n, classes) for labels (n,)."
        )
    return Examples(examples.inputs, np.column_stack([labels, matrix]).astype("float32"))


@keras.saving.register_keras_serializable("course_lib")
class SoftTargetLoss(keras.losses.Loss):
    """hard · cross-entropy with the label + (1 - hard) · T² · cross-entropy with the teacher's answer at T.

    T is the ``temperature`` by which the scores of both are divided before the softmax; the label is met at T = 1.
    T² makes up for gradients that shrink as 1/T² (the paper, section 2). ``hard`` is the weight of the label, from 0 to
    1, which is plain training. Raises ValueError for a temperature that is not above 0 and for another weight.
    """

    def __init__(self, temperature: float, hard: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not temperature > 0:
            raise ValueError(f"SoftTargetLoss(temperature={temperature}): it must be above 0.")
        if not 0 <= hard <= 1:
            raise ValueError(f"SoftTargetLoss(hard={hard}): the weight of the label must be from 0 to 1.")
        self.temperature, self.hard = temperature, hard

    def call(self, y_true: Any, y_pred: Any) -> Any:
        label, teacher = ops.cast(y_true[:, 0], "int32"), ops.softmax(y_true[:, 1:] / self.temperature)
        hard = ops.sparse_categorical_crossentropy(label, y_pred, from_logits=True)
        soft = ops.categorical_crossentropy(teacher, y_pred / self.temperature, from_logits=True)
        return self.hard * hard + (1 - self.hard) * self.temperature**2 * soft

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature, "hard": self.hard}


def label_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Return for each example 1 where the largest of its scores is that of the label in its target, else 0."""
    return keras.metrics.sparse_categorical_accuracy(y_true[:, 0], y_pred)


label_accuracy.__name__ = "accuracy"  # the name of the metric in the history
