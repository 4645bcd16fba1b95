"""Gradients with respect to inputs and weights: the one place that knows how each backend takes them. Chapter 03.

Keras has one interface for layers and operations on every backend, but none for gradients outside training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray


def input_gradient(function: Callable[[Any], Any], inputs: ArrayLike) -> NDArray[np.float32]:
    """Return how the sum of ``function(inputs)`` changes with each input value; same shape as ``inputs``.

    ``function`` takes a tensor of the backend and returns one, by a model or by ``keras.ops``. Raises ValueError where
    the result does not depend on the inputs, or not by steps that have a gradient; JAX gives zeros for the former.
    """
    start = keras.ops.convert_to_tensor(np.asarray(inputs, "float32"))
    return keras.ops.convert_to_numpy(tensor_gradient(function, start))


def tensor_gradient(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Do as :func:`input_gradient`, tensor in and tensor out, so that a compiled training step can. Chapter 09."""
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        found = jax.grad(lambda x: keras.ops.sum(function(x)))(inputs)
    elif backend == "torch":
        x = inputs.detach().requires_grad_()
        total = keras.ops.sum(function(x))
        if total.requires_grad:
            total.backward()
        found = x.grad
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total = keras.ops.sum(function(inputs))
        found = tape.gradient(total, inputs)
    if found is None:
        raise ValueError(
            "input_gradient(): the function's result does not follow from its argument by steps that have a gradient. "
            "Call the model on the argument itself, and use keras.ops rather than NumPy."
        )
    return found


def weight_gradients(function: Callable[[], Any], variables: Sequence[keras.Variable]) -> list[NDArray[np.float32]]:
    """Return how the sum of ``function()`` changes with each of ``variables``, in their order and shapes. Chapter 07.

    ``function`` computes with the variables, say by calling their model. A variable that may not be trained has a
    gradient as well. Raises ValueError naming a variable that the result does not depend on; JAX gives zeros for it.
    """
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        def total_for(values: list[Any]) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return keras.ops.sum(function())

        found = jax.grad(total_for)([variable.value for variable in variables])
    elif backend == "torch":
        import torch

        values = [variable.value for variable in variables]
        fixed = [value for value in values if not value.requires_grad]
        for value in fixed:
            value.requires_grad_(True)
        found = torch.autograd.grad(keras.ops.sum(function()), values, allow_unused=True)
        for value in fixed:
            value.requires_grad_(False)
    else:
        import tensorflow as tf

        values = [variable.value for variable in variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            total = keras.ops.sum(function())
        found = tape.gradient(total, values)
    for variable, gradient in zip(variables, found, strict=True):
        if gradient is None:
            raise ValueError(
                f"weight_gradients(): the function's result does not follow from {variable.path} by steps that have a "
                "gradient. Call the model inside the function, and use keras.ops rather than NumPy."
            )
    return [keras.ops.convert_to_numpy(gradient) for gradient in found]
