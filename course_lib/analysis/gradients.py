"""Gradients with respect to the input: the one place that knows how each backend takes them. Introduced in chapter 03.

Keras has one interface for layers and operations on every backend, but none for gradients outside training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray


def input_gradient(function: Callable[[Any], Any], inputs: ArrayLike) -> NDArray[np.float32]:
    """Return how the sum of ``function(inputs)`` changes with each input value; same shape as ``inputs``.

    ``function`` takes a tensor of the backend and returns one, by a model or by ``keras.ops``. Raises ValueError where
    the result does not depend on the inputs, or not by steps that have a gradient; JAX gives zeros for the former.
    """
    backend, start = keras.config.backend(), np.asarray(inputs, "float32")
    if backend == "jax":
        import jax

        found = jax.grad(lambda x: keras.ops.sum(function(x)))(keras.ops.convert_to_tensor(start))
    elif backend == "torch":
        x = keras.ops.convert_to_tensor(start).requires_grad_()
        total = keras.ops.sum(function(x))
        if total.requires_grad:
            total.backward()
        found = x.grad
    else:
        import tensorflow as tf

        x = tf.convert_to_tensor(start)
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = keras.ops.sum(function(x))
        found = tape.gradient(total, x)
    if found is None:
        raise ValueError(
            "input_gradient(): the function's result does not follow from its argument by steps that have a gradient. "
            "Call the model on the argument itself, and use keras.ops rather than NumPy."
        )
    return keras.ops.convert_to_numpy(found)
