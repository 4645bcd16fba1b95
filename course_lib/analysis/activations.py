"""Which ReLU units are dead, counted and predicted. Introduced in chapter 06.

A unit of a dense layer, or a map of a convolution, is dead over a data set if its input is positive for no example.
Then its output is 0 for all of them, and so is the gradient of its weights.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from course_lib.analysis.graph import trace

_ACTIVATIONS = (keras.activations.relu, keras.activations.relu6, keras.activations.leaky_relu)
_OPERATIONS = ("Relu", "Relu6", "LeakyRelu")  # what those of `keras.ops` are called in a graph


def answer_counts(model: keras.Model, inputs: Any, *, batch_size: int = 512) -> dict[str, NDArray[np.int64]]:
    """Return how many of the ``inputs`` each unit answers, (units,), for each layer with ReLU or leaky ReLU, by name.

    ``inputs`` is an array (n, …), or several by the names of the model's inputs. A unit answers an example if its
    output is positive, a map if any of its places is; the last axis holds the units. With leaky ReLU, too, that says
    whether what went in was positive. The ReLU may be an activation, a layer, or an operation of ``keras.ops``; one
    that hides in a function of your own is not seen. A layer that is used twice answers if it does so either time.
    Memory does not grow with n.

    Raises ValueError where there is no ReLU, no input, no batch, or where layers with ReLU share a name, TypeError for
    a model without a graph, FloatingPointError where a layer gives NaN.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: it must be at least 1.")
    used = {id(call.operation): call for call in trace(model).calls if _rectifies(call.operation)}
    counts = {call.operation.name: np.zeros(call.outputs[0].shape[-1], np.int64) for call in used.values()}
    if not counts:
        found = ", ".join(layer.name for layer in model.layers)
        raise ValueError(f"model {model.name!r} has no ReLU that can be seen; its layers are {found}.")
    if len(counts) < len(used):
        names = ", ".join(call.operation.name for call in used.values())
        raise ValueError(f"each layer with ReLU needs a name of its own; here they are {names}.")
    arrays = _in_order(model, inputs)
    for start in range(0, len(arrays[0]), batch_size):
        answered: dict[str, Any] = {}

        def watch(operation: Any, output: Any, answered: dict[str, Any] = answered) -> None:
            if id(operation) in used:
                name = operation.name
                answered[name] = _answers(name, output) | answered.get(name, np.False_)

        _run(model, [keras.ops.convert_to_tensor(array[start : start + batch_size]) for array in arrays], watch)
        for name, examples in answered.items():
            counts[name] += examples.sum(axis=0)
    return counts


def dead_units(model: keras.Model, inputs: Any, *, batch_size: int = 512) -> dict[str, NDArray[np.bool_]]:
    """Return for each layer with ReLU, by name, which of its units answer none of the ``inputs``, (units,).

    Arguments, rules and errors are those of :func:`answer_counts`. In a network with leaky ReLU these are the units
    that would be dead with ReLU.
    """
    return {name: counts == 0 for name, counts in answer_counts(model, inputs, batch_size=batch_size).items()}


def dead_probability(bias: ArrayLike, *, deviation: float, fan_in: int, examples: int) -> NDArray[np.float64]:
    """Return the probability that a ReLU unit with this ``bias`` is dead over so many ``examples``; shape of ``bias``.

    The ``fan_in`` inputs are independent, normal with mean 0 and deviation 1, and so are the weights, with the given
    ``deviation``. A unit's input is then normal with mean b and deviation ‖w‖, so it answers an example with
    probability Φ(b/‖w‖) and is dead over n with probability (1 − Φ(b/‖w‖))ⁿ; ‖w‖² is the squared
    deviation times a χ² with ``fan_in`` degrees of freedom, over which the mean is taken. Derived in chapter 06.

    Raises ValueError where the deviation is not positive, or there is no input or no example.
    """
    for name, value in (("deviation", deviation), ("fan_in", fan_in), ("examples", examples)):
        if not value > 0:
            raise ValueError(f"dead_probability({name}={value}): it must be greater than 0.")
    # The χ² as a function of a standard normal z: a smooth integrand that is 0 at both ends, for which the plain sum
    # over even steps is exact to many digits.
    z = np.linspace(-8, 8, 801)
    norms = deviation * np.sqrt(stats.chi2.ppf(special.ndtr(z), fan_in))
    silent = np.exp(examples * special.log_ndtr(-np.asarray(bias, float)[..., None] / norms))
    return silent @ stats.norm.pdf(z) * (z[1] - z[0])


def _rectifies(operation: Any) -> bool:
    """Return whether what the operation gives out has gone through ReLU or leaky ReLU."""
    activation = getattr(operation, "activation", None)
    return (
        isinstance(operation, (layers.ReLU, layers.LeakyReLU))
        or isinstance(activation, (layers.ReLU, layers.LeakyReLU))
        or activation in _ACTIVATIONS
        or (type(operation).__module__.startswith("keras.src.ops.") and type(operation).__name__ in _OPERATIONS)
    )


def _in_order(model: keras.Model, inputs: Any) -> list[NDArray]:
    """Return the arrays in the order of the model's inputs."""
    names = [tensor.name for tensor in model.inputs]
    given = inputs if isinstance(inputs, dict) else dict.fromkeys(names[:1], inputs)
    if set(given) != set(names):
        raise ValueError(f"the model has the inputs {', '.join(names)}; give an array for each, by name.")
    arrays = [np.asarray(given[name]) for name in names]
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1 or 0 in lengths:
        raise ValueError(f"inputs have the lengths {sorted(lengths)}; they need a common one, of at least 1.")
    return arrays


def _answers(name: str, output: Any) -> NDArray[np.bool_]:
    """Return which units (columns) answer which examples (rows)."""
    if keras.ops.any(keras.ops.isnan(output)):
        raise FloatingPointError(f"layer {name!r} gives NaN; are the weights still finite?")
    places = tuple(range(1, len(output.shape) - 1))
    return keras.ops.convert_to_numpy(keras.ops.any(output > 0, axis=places) if places else output > 0)


def _run(model: Any, tensors: list[Any], watch: Callable[[Any, Any], None]) -> Any:
    """Run the graph of ``model``, nested models laid open, and show ``watch`` each operation and what it gives."""

    def watched(operation: Any) -> Callable[..., Any]:
        if hasattr(getattr(operation, "_functional", operation), "_run_through_graph"):
            return lambda *args, **kwargs: _run(operation, keras.tree.flatten((args, kwargs)), watch)
        trains = isinstance(operation, keras.Layer) and "training" in inspect.signature(operation.call).parameters

        def call(*args: Any, **kwargs: Any) -> Any:
            output = operation(*args, **kwargs | {"training": False} if trains else kwargs)
            watch(operation, output)
            return output

        return call

    # Keras has no public way to see what goes on inside nested models: this is how its own Functional.call does it.
    outputs = getattr(model, "_functional", model)._run_through_graph(tensors, operation_fn=watched)
    return outputs[0] if isinstance(outputs, (list, tuple)) and len(outputs) == 1 else outputs
