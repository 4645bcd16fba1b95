"""The roofline: what a machine can do at most, what each layer asks of it, how long it takes. Introduced in chapter 08.

Source: Williams, Waterman and Patterson, Roofline: an insightful visual performance model for multicore architectures,
Communications of the ACM 52(4), 2009 ("the paper" below). Work is in multiply–accumulates of float32, each of which the
paper counts as two operations; traffic between processor and memory is in bytes; every time is the median of
``repeats`` calls, in seconds. All is measured on the processor, also where there is a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from course_lib import settings
from course_lib.analysis.cost import layer_costs
from course_lib.analysis.graph import Graph, trace

_BYTES = 4  # of a float32


@dataclass(frozen=True)
class Load:
    """What a layer asks of the machine for one batch: ``macs``, multiply–accumulates, and ``moved``, bytes."""

    name: str
    macs: int
    moved: int

    @property
    def intensity(self) -> float:
        """Multiply–accumulates for each byte moved, the paper's operational intensity."""
        return self.macs / self.moved


@dataclass(frozen=True)
class Roofline:
    """The most that a machine can do: ``rate``, multiply–accumulates a second, and ``bandwidth``, bytes a second."""

    rate: float
    bandwidth: float

    @property
    def ridge(self) -> float:
        """The intensity below which the bandwidth is the limit, and above which the rate is."""
        return self.rate / self.bandwidth

    def attainable(self, intensity: ArrayLike) -> NDArray[np.float64]:
        """Return the most multiply–accumulates a second at an intensity: the paper's formula, and its figure 1."""
        return np.minimum(self.rate, self.bandwidth * np.asarray(intensity, "float64"))

    def seconds(self, load: Load) -> float:
        """Return the least time for a load: as long as the slower of computing and moving, which go on at once."""
        return max(load.macs / self.rate, load.moved / self.bandwidth)


def median_seconds(function: Callable[[], Any], *, repeats: int, seconds: float = 0, warm_up: int = 2) -> float:
    """Return how long a call takes: the median of ``repeats`` calls, after ``warm_up`` calls that do not count.

    Where these together take less than ``seconds``, calls go on until they do not. Raises ValueError for fewer than one
    repeat.
    """
    if repeats < 1:
        raise ValueError(f"median_seconds(repeats={repeats}): it must be at least 1.")
    for _ in range(warm_up):
        function()
    times: list[int] = []
    spent = 0
    while len(times) < repeats or spent < 1e9 * seconds:
        start = time.perf_counter_ns()
        function()
        times.append(time.perf_counter_ns() - start)
        spent += times[-1]
    return float(np.median(times)) * 1e-9


def measure_rate(threads: int | None = None, *, size: int = 2048, repeats: int = 7) -> float:
    """Return the multiply–accumulates a second of a product of two float32 matrices, (size, size) each.

    ``threads`` is how many the product may use, by default one a core. NumPy on macOS, which multiplies with Apple's
    Accelerate, cannot be held to it. Raises ValueError for fewer than one thread.
    """
    left, right = np.random.default_rng(0).random((2, size, size), "float32")
    result = np.empty_like(left)
    with threadpool_limits(_checked(threads)):
        return size**3 / median_seconds(lambda: np.matmul(left, right, out=result), repeats=repeats)


def measure_bandwidth(threads: int | None = None, *, megabytes: int = 256, repeats: int = 7) -> float:
    """Return the bytes a second of a copy of ``megabytes``, each byte counted twice: it is read, and it is written.

    That is the "copy" of STREAM (McCalpin, 1995). Each thread copies its share; by default there is one a core. Take
    arrays far larger than the caches, or it is the speed of these. Raises ValueError for fewer than one thread.
    """
    count = _checked(threads)
    source = np.ones(megabytes * 250_000, "float32")
    target = np.zeros_like(source)
    shares = list(zip(np.array_split(target, count), np.array_split(source, count), strict=True))
    with ThreadPoolExecutor(count) as pool:
        seconds = median_seconds(lambda: list(pool.map(lambda share: np.copyto(*share), shares)), repeats=repeats)
    return 2 * source.nbytes / seconds


def layer_loads(model: keras.Model, batch_size: int) -> list[Load]:
    """Return what each layer asks for, in the order in which they are computed, nested models laid flat.

    Moved are, in float32 and once each, all weights of the layer and its inputs and outputs for the whole batch: the
    least that there can be, if nothing is left in a cache by the layer before. Layers that copy nothing, such as
    Flatten, are charged as if they did. Raises ValueError where a layer stands at several places, whose times would
    be one, for a batch of none, and as :func:`layer_costs`.
    """
    if batch_size < 1:
        raise ValueError(f"layer_loads(batch_size={batch_size}): it must be at least 1.")
    macs = {cost.name: cost.macs for cost in layer_costs(model)}
    loads = []
    for call in _graph(model).calls:
        maps = sum(int(np.prod(tensor.shape[1:])) for tensor in (*call.inputs, *call.outputs))
        weights = sum(int(np.prod(weight.shape)) for weight in call.operation.weights)
        name = call.operation.name
        loads.append(Load(name, batch_size * macs[name], _BYTES * (weights + batch_size * maps)))
    return loads


def layer_seconds(model: keras.Model, *inputs: ArrayLike, repeats: int = 30) -> dict[str, float]:
    """Return how long each layer takes alone, by name: compiled by TensorFlow, on what the layers before it give.

    ``inputs`` is the batch, an array for each input of the model. TensorFlow uses all cores, so compare with a roofline
    of all threads; :func:`call_overhead` is in every time. What fits the caches is still there from the call before.
    Raises RuntimeError for another backend, otherwise as :func:`layer_loads`.
    """
    tf, seconds = _tensorflow(), dict[str, float]()
    with tf.device("CPU"):
        copy = keras.models.clone_model(model)  # its weights lie in the memory of the processor
        copy.set_weights(model.get_weights())
        graph = _graph(copy)
        if len(inputs) != len(graph.inputs):
            raise ValueError(f"layer_seconds() has {len(inputs)} inputs; {model.name} takes {len(graph.inputs)}.")
        places = [call.outputs[0] for call in graph.inputs]
        known = {id(place): tf.constant(array, place.dtype) for place, array in zip(places, inputs, strict=True)}
        for call in graph.calls:
            entering = [known[id(tensor)] for tensor in call.inputs]
            compiled = _compiled(call.operation, entering[0] if len(entering) == 1 else entering)
            known |= zip(map(id, call.outputs), keras.tree.flatten(compiled()), strict=True)
            seconds[call.operation.name] = median_seconds(compiled, repeats=repeats)
    return seconds


def call_overhead(*, repeats: int = 300) -> float:
    """Return how long a compiled call takes that computes nothing. Raises RuntimeError as :func:`layer_seconds`."""
    tf = _tensorflow()
    with tf.device("CPU"):
        return median_seconds(_compiled(keras.layers.Identity(), tf.zeros((1, 1))), repeats=repeats)


def _checked(threads: int | None) -> int:
    count = settings.cores() if threads is None else threads
    if count < 1:
        raise ValueError(f"threads={threads}: it must be at least 1.")
    return count


def _graph(model: keras.Model) -> Graph:
    graph = trace(model)
    names = [call.operation.name for call in graph.calls]
    for call in graph.calls:
        if not isinstance(call.operation, keras.Layer):
            raise ValueError(f"{call.operation.name!r} in {model.name} is no layer; write it as one, such as Add.")
        if names.count(call.operation.name) > 1:
            raise ValueError(f"{model.name} has {call.operation.name!r} at several places; give each its own layer.")
    return graph


def _tensorflow() -> Any:
    if keras.config.backend() != "tensorflow":
        raise RuntimeError(f"compiled layers are timed with TensorFlow, and Keras runs on {keras.config.backend()}.")
    import tensorflow as tf

    return tf


def _compiled(layer: keras.Layer, argument: Any) -> Callable[[], Any]:
    """Return a call of ``layer`` on ``argument``, compiled by TensorFlow, with the least of Python around it."""
    function = _tensorflow().function(lambda x: layer(x, training=False), autograph=False, jit_compile=False)
    compiled = function.get_concrete_function(argument)
    return lambda: compiled(argument)
