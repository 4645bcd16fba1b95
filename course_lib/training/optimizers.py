"""AlexNet's own update rule, and its rate that falls when learning stalls. Introduced in chapter 02.

Source: Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks, NIPS 2012,
section 5 ("the paper" below).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("course_lib")
class AlexNetSGD(keras.optimizers.Optimizer):
    """The paper's rule: v ← momentum · v − decay · rate · w − rate · gradient, then w ← w + v.

    The decay enters the velocity, so momentum carries it on; Keras' SGD takes its ``weight_decay`` from the weight
    directly. As the rule is written for weights, biases (variables of one axis) are not decayed.
    Raises ValueError for a momentum outside [0, 1) and for a negative decay.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.9,
        decay: float = 0.0005,
        name: str = "AlexNetSGD",
        **more: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **more)
        if not 0 <= momentum < 1 or decay < 0:
            raise ValueError(f"AlexNetSGD(momentum={momentum}, decay={decay}): need 0 ≤ momentum < 1 and decay ≥ 0.")
        self.momentum, self.decay = momentum, decay

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self.velocities = [self.add_variable_from_reference(variable, name="velocity") for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        velocity = self.velocities[self._get_variable_index(variable)]
        rate = ops.cast(learning_rate, variable.dtype)
        decay = self.decay if len(variable.shape) > 1 else 0.0
        step = rate * (ops.cast(gradient, variable.dtype) + decay * variable)
        self.assign(velocity, self.momentum * velocity - step)
        self.assign_add(variable, velocity)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "decay": self.decay}


@dataclass(frozen=True)
class Plateau:
    """Divide the rate by ``factor`` when the ``metric`` has not improved for ``patience`` epochs, ``times`` at most.

    The paper divides by 10 when the validation error stops improving, three times in about 90 epochs, by hand; it
    does not say how long it waits. The rate follows from the history alone, so a resumed run has the same one;
    Keras' ReduceLROnPlateau forgets what it has seen. Raises ValueError for a factor ≤ 1 or counts below 1.
    """

    metric: str = "val_accuracy"
    factor: float = 10.0
    patience: int = 5
    times: int = 3

    def __post_init__(self) -> None:
        if self.factor <= 1 or self.patience < 1 or self.times < 1:
            raise ValueError(f"{self}: the factor must be above 1, patience and times at least 1.")

    def divisions(self, values: Sequence[float]) -> int:
        """Return how often the rate has been divided after epochs with these values; a larger accuracy is better.

        For a metric whose name ends in "loss" a smaller value is better.
        """
        sign = -1 if self.metric.endswith("loss") else 1
        best, waited, divided = -float("inf"), 0, 0
        for value in values:
            if sign * value > best:
                best, waited = sign * value, 0
                continue
            waited += 1
            if waited >= self.patience and divided < self.times:
                divided, waited = divided + 1, 0
        return divided

    def rate(self, first: float, values: Sequence[float]) -> float:
        """Return the learning rate of the next epoch, given the first epoch's rate and the metric so far."""
        return first / self.factor ** self.divisions(values)
