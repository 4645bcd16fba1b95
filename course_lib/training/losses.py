"""Losses that Keras does not have. Introduced in chapter 01."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("course_lib")
class MaximumAPosteriori(keras.losses.Loss):
    """The discriminative loss of LeNet-5 (LeCun et al. 1998, eq. 9), on penalties (n, classes), labels (n,).

    It pulls the penalty of the right class down and pushes the others up: y_right + log(e^-j + Σ e^-y_i). The
    constant ``rubbish`` is j, the penalty of "none of the classes": wrong penalties are pushed up only about so far,
    and the right one must fall below it. The paper does not give its value.
    """

    def __init__(self, rubbish: float = 10.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rubbish = rubbish

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        right = ops.sum(y_pred * ops.one_hot(labels, ops.shape(y_pred)[-1], dtype=y_pred.dtype), axis=-1)
        with_rubbish = ops.pad(-y_pred, [[0, 0], [0, 1]], constant_values=-self.rubbish)
        return right + ops.logsumexp(with_rubbish, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rubbish": self.rubbish}


def smallest_penalty_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Return for each example 1 where the smallest of its penalties (n, classes) is that of its label (n,), else 0."""
    labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
    return ops.cast(ops.equal(ops.argmin(y_pred, axis=-1), labels), "float32")


smallest_penalty_accuracy.__name__ = "accuracy"  # the name of the metric in the history
