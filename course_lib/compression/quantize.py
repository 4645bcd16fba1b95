"""Quantization: values held as small whole numbers, a network that computes with them, its noise. Chapter 08.

A value x has a code, and x ≈ step · (code - zero point). Rounding makes an error of at most half a step; spread evenly
over the step it has mean 0 and variance step² / 12. Sources: Bennett, Spectra of quantized signals, Bell System
Technical Journal 27, 1948 (the variance); Widrow and Kollár, Quantization noise, Cambridge University Press 2008 (when
it holds); Jacob and others, Quantization and training of neural networks for efficient integer-arithmetic-only
inference, CVPR 2018 ("the paper" below).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import ArrayLike, NDArray

from course_lib.analysis.gradients import input_gradient

_BITS = range(2, 17)
_LEARNED = (layers.Conv2D, layers.Dense)
_BATCH = 500  # inputs at a time


@dataclass(frozen=True, eq=False)
class Quantizer:
    """Turns values into codes, ``lowest`` to ``highest``, and back: x ≈ step · (code - zero_point) (the paper, eq. 1).

    ``step`` and ``zero_point`` have shape (), or (channels,) where each channel, an index of the last axis of the
    values, has its own. The value 0 is exactly a code, so that padding and silent units make no error.
    """

    step: NDArray[np.float64]
    zero_point: NDArray[np.int64]
    lowest: int
    highest: int

    def encode(self, values: ArrayLike) -> NDArray[np.int32]:
        """Return the nearest code of each value, same shape; beyond the range, the code at its end.

        Raises ValueError for no values, NaN and infinity.
        """
        codes = np.rint(_finite("encode(values)", values) / self.step) + self.zero_point
        return np.clip(codes, self.lowest, self.highest).astype(np.int32)

    def decode(self, codes: ArrayLike) -> NDArray[np.float64]:
        """Return the values that the codes stand for, same shape."""
        return self.step * (np.asarray(codes) - self.zero_point)

    def __call__(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the values as they are after quantization, same shape: decoded codes."""
        return self.decode(self.encode(values))

    def noise(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the variance of each value's rounding error, same shape: step² / 12, and 0 where a value is a code.

        Exactly a code are zeros, and often inputs that are whole numbers at birth, as 8-bit pixels are in 8 bits.
        """
        numbers = np.asarray(values, np.float64)
        return np.where(np.abs(self(numbers) - numbers) > 1e-3 * self.step, self.step**2 / 12, 0.0)


def fit_quantizer(values: ArrayLike, bits: int, *, symmetric: bool = True, per_channel: bool = False) -> Quantizer:
    """Return the quantizer of 2 to 16 bits whose range just holds all ``values``, so that none is cut off.

    Symmetric: codes -(2^(bits-1) - 1) to 2^(bits-1) - 1, zero point 0, the largest magnitude at the end. Otherwise
    (affine): codes 0 to 2^bits - 1 from the smallest value to the largest, 0 always among them, and the zero point is
    the code of 0 (the paper, section 2.1). ``per_channel`` gives each index of the last axis a range of its own.
    Raises ValueError for other bits, for no values, NaN or infinity, and for channels of values of one axis only.
    """
    numbers = _finite("fit_quantizer(values)", values)
    if bits not in _BITS:
        raise ValueError(f"fit_quantizer(bits={bits}): it must be a whole number from 2 to 16.")
    if per_channel and numbers.ndim < 2:
        raise ValueError(f"fit_quantizer(per_channel=True) needs values (…, channels), not {numbers.shape}.")
    axes = tuple(range(numbers.ndim - 1)) if per_channel else None
    low, high = np.minimum(numbers.min(axis=axes), 0), np.maximum(numbers.max(axis=axes), 0)
    if symmetric:
        highest = 2 ** (bits - 1) - 1
        lowest, span = -highest, 2 * np.maximum(-low, high)
    else:
        lowest, highest, span = 0, 2**bits - 1, high - low
    step = np.where(span > 0, span, 1.0) / (highest - lowest)  # where all values are 0, any step holds them
    zero_point = np.zeros_like(step) if symmetric else np.rint(-low / step)
    return Quantizer(step, zero_point.astype(np.int64), lowest, highest)


def decibels(power: float, noise: float) -> float:
    """Return 10 · log10(power / noise), infinite without noise. Raises ValueError unless power > 0 and noise ≥ 0."""
    if not (power > 0 and noise >= 0):
        raise ValueError(f"decibels(power={power}, noise={noise}): the power must be above 0, the noise not below.")
    return float(10 * np.log10(power / noise)) if noise else float("inf")


def signal_to_noise(values: ArrayLike, quantized: ArrayLike) -> float:
    """Return the ratio of the mean square of ``values`` to that of their error, in decibels.

    Raises ValueError for different shapes, no values, NaN, infinity, and values that are all 0.
    """
    exact, near = _finite("signal_to_noise(values)", values), _finite("signal_to_noise(quantized)", quantized)
    if exact.shape != near.shape:
        raise ValueError(f"signal_to_noise(): values have shape {exact.shape}, quantized {near.shape}; give the same.")
    return decibels(float((exact**2).mean()), float(((near - exact) ** 2).mean()))


@dataclass(frozen=True, eq=False)
class QuantizedNetwork:
    """A chain of layers in which both factors of every product are quantized, as if computed in integers.

    ``kernels`` and ``inputs`` hold the quantizers of each Conv2D's and Dense's kernel and of what goes into that layer,
    by the layer's name; an empty one leaves full precision. Biases, sums and scores keep it always: integer hardware
    holds sums in 32 bits (the paper, section 2.4).
    """

    network: keras.Sequential
    kernels: Mapping[str, Quantizer]
    inputs: Mapping[str, Quantizer]

    def scores(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """Return the scores (n, scores) of inputs (n, …). Raises ValueError for another shape, NaN, or no inputs."""
        examples = checked_examples("scores(inputs)", inputs, self.network.input_shape[1:])
        kernels = {name: quantizer(_kernel(self.network.get_layer(name))) for name, quantizer in self.kernels.items()}

        def rounded(layer: Any, values: Any) -> Any:
            values = self.inputs[layer.name](ops.convert_to_numpy(values)) if self.inputs else values
            return _product(layer, values, kernels.get(layer.name))

        batches = (examples[start : start + _BATCH] for start in range(0, len(examples), _BATCH))
        found = [_run(self.network.layers, batch, rounded) for batch in batches]
        return np.concatenate([ops.convert_to_numpy(scores) for scores in found])


def quantize_network(
    network: keras.Sequential,
    examples: ArrayLike,
    *,
    weight_bits: int | None,
    activation_bits: int | None,
    per_channel: bool = True,
) -> QuantizedNetwork:
    """Quantize a trained chain of Conv2D, Dense and layers without weights; the network itself stays as it is.

    Kernels are quantized symmetrically, per output channel or per tensor; what goes into a layer with a kernel, the
    network's inputs among it, affinely, from the least to the largest value that it takes for the ``examples``
    (n, …): training images, or the very inputs where no value may be cut off. None for bits keeps full precision.
    Raises TypeError for a network that is no such chain, ValueError for bits out of range and for examples of another
    shape, with NaN, or none.
    """
    learned = _learned(network)
    pictures = checked_examples("quantize_network(examples)", examples, network.input_shape[1:])
    ranges: dict[str, tuple[float, float]] = {layer.name: (0.0, 0.0) for layer in learned}

    def watch(layer: Any, values: Any) -> Any:
        low, high = ranges[layer.name]
        ranges[layer.name] = min(low, float(ops.min(values))), max(high, float(ops.max(values)))
        return _product(layer, values)

    kernels, inputs = {}, {}
    if weight_bits is not None:
        kernels = {layer.name: fit_quantizer(_kernel(layer), weight_bits, per_channel=per_channel) for layer in learned}
    if activation_bits is not None:
        for start in range(0, len(pictures), _BATCH):
            _run(network.layers, pictures[start : start + _BATCH], watch)
        inputs = {name: fit_quantizer(ends, activation_bits, symmetric=False) for name, ends in ranges.items()}
    return QuantizedNetwork(network, kernels, inputs)


def score_noise(quantized: QuantizedNetwork, inputs: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Return the variance of each score's error by its source, "C1 weights", "C1 inputs", …, each (n, scores).

    A model of first order, in which sources add up: Σ (∂ score / ∂ quantity)² · :meth:`Quantizer.noise`, with the
    gradients of the network in full precision, exact for each input and score. Every rounding error counts as drawn by
    itself with mean 0. For activations that comes near. For weights it stands for a mean over many networks: in one
    network their errors are fixed and shared by all inputs, and :func:`score_shift` says what they do there. Values
    beyond a quantizer's range are not modelled. Give about a hundred inputs: memory grows with n times the largest
    kernel. Raises as :meth:`QuantizedNetwork.scores`.
    """
    network, entering = quantized.network, {}
    count = network.output_shape[-1]  # of scores

    def watch(layer: Any, values: Any) -> Any:
        entering[layer.name] = ops.convert_to_numpy(values)
        return _product(layer, values)

    _run(network.layers, checked_examples("score_noise(inputs)", inputs, network.input_shape[1:]), watch)
    found: dict[str, NDArray[np.float64]] = {}
    for layer in _learned(network):
        values, after = entering[layer.name], network.layers[network.layers.index(layer) + 1 :]
        if layer.name in quantized.inputs:
            variance = quantized.inputs[layer.name].noise(values)
            slopes = _slopes(partial(_run, [layer, *after]), count, values)
            found[f"{layer.name} inputs"] = _totals(slope**2 * variance for slope in slopes)
        if layer.name in quantized.kernels:
            kernel, factors = _kernel(layer), _factors(layer, values)
            variance = quantized.kernels[layer.name].noise(kernel).reshape(-1, kernel.shape[-1])
            sums = ops.convert_to_numpy(_add_bias(layer, _product(layer, values)))
            slopes = _slopes(partial(_run, [layer.activation, *after]), count, sums)
            # The gradient of a weight: over the places that share it, what it multiplies times the slope at its sum.
            shared = (factors @ slope.reshape(len(values), -1, kernel.shape[-1]) for slope in slopes)
            found[f"{layer.name} weights"] = _totals(gradient**2 * variance for gradient in shared)
    return found


def score_shift(quantized: QuantizedNetwork, inputs: ArrayLike) -> NDArray[np.float32]:
    """Return how far the rounding of the weights moves each score of inputs (n, …), to first order: (n, scores).

    Σ ∂ score / ∂ weight · (quantized weight - weight), all 0 for weights in full precision. These errors are known
    before any input is seen, so nothing is drawn. Raises as :meth:`QuantizedNetwork.scores`.
    """
    network = quantized.network
    examples = checked_examples("score_shift(inputs)", inputs, network.input_shape[1:])
    kernels = {name: _kernel(network.get_layer(name)) for name in quantized.kernels}
    errors = {name: quantized.kernels[name](kernel) - kernel for name, kernel in kernels.items()}
    if not errors:
        return np.zeros((len(examples), network.output_shape[-1]), "float32")

    def scores(share: Any) -> Any:
        """Return the scores where each input meets weights with this share, (n,), of their errors."""

        def product(layer: Any, values: Any) -> Any:
            exact, error = _product(layer, values), _product(layer, values, errors[layer.name])
            return exact + ops.reshape(share, (-1,) + (1,) * (error.ndim - 1)) * error

        return _run(network.layers, examples, product)

    return np.stack(list(_slopes(scores, network.output_shape[-1], np.zeros(len(examples)))), axis=1)


def _slopes(scores: Callable[[Any], Any], count: int, values: NDArray) -> Iterator[NDArray[np.float32]]:
    """Yield for each of ``count`` scores its gradient by ``values``, of which ``scores`` makes them."""

    def of_score(score: int) -> Callable[[Any], Any]:
        return lambda x: scores(x)[:, score]

    for score in range(count):
        yield input_gradient(of_score(score), values)


def _totals(noise: Iterable[NDArray]) -> NDArray[np.float64]:
    """Sum the noise of each score, (n, …), over all but the inputs: (n, scores)."""
    return np.stack([each.reshape(len(each), -1).sum(axis=1, dtype=np.float64) for each in noise], axis=1)


def _product(layer: Any, values: Any, kernel: Any = None) -> Any:
    """Return the products of values with this kernel, or the layer's own, added up as the layer does."""
    kernel = layer.kernel if kernel is None else kernel
    values, kernel = (ops.convert_to_tensor(each, "float32") for each in (values, kernel))
    return ops.matmul(values, kernel) if isinstance(layer, layers.Dense) else layer.convolution_op(values, kernel)


def _add_bias(layer: Any, sums: Any) -> Any:
    return sums + layer.bias if layer.use_bias else sums


def _run(chain: Sequence[Any], values: Any, product: Callable[[Any, Any], Any] = _product) -> Any:
    """Run layers one after another; ``product`` says what a layer with a kernel makes of what goes into it."""
    values = ops.convert_to_tensor(values, "float32")
    for layer in chain:
        if type(layer) in _LEARNED:
            values = layer.activation(_add_bias(layer, product(layer, values)))
        else:
            values = layer(values)
    return values


def _factors(layer: Any, values: NDArray) -> NDArray[np.float32]:
    """Return what each weight of a channel multiplies, (n, weights, places); a dense layer has one place."""
    if isinstance(layer, layers.Conv2D):
        options = {"strides": layer.strides, "dilation_rate": layer.dilation_rate, "padding": layer.padding}
        values = ops.convert_to_numpy(ops.image.extract_patches(values, layer.kernel_size, **options))
    return values.reshape(len(values), -1, values.shape[-1]).transpose(0, 2, 1)


def _kernel(layer: Any) -> NDArray[np.float32]:
    return ops.convert_to_numpy(layer.kernel)


def _learned(network: Any) -> list[Any]:
    """Return the layers with a kernel; raise TypeError for a network that cannot be run as a chain of them."""
    if not isinstance(network, keras.Sequential) or not network.built or len(network.output_shape) != 2:
        raise TypeError(f"{network} cannot be quantized: give a built keras.Sequential with scores (n, scores).")
    learned = [layer for layer in network.layers if layer.weights]
    for layer in learned:
        if type(layer) not in _LEARNED or getattr(layer, "groups", 1) != 1:
            raise TypeError(
                f"{layer.name} ({type(layer).__name__}) of {network.name} has weights; only those of Dense and of "
                "Conv2D with one group can be quantized here. Fold normalisation into the kernel before it."
            )
    return learned


def checked_examples(call: str, inputs: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return inputs (n, …) as float32. Raises ValueError where … is not this shape, for none, NaN and infinity."""
    examples = np.asarray(inputs, np.float32)
    if examples.shape[1:] != shape or not len(examples):
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{call} of shape {examples.shape} must be (n, {wanted}), n at least 1.")
    return _finite(call, examples).astype(np.float32)


def _finite(call: str, values: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(values, np.float64)
    if not numbers.size:
        raise ValueError(f"{call} is empty, of shape {numbers.shape}; give at least one value.")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{call} has {int((~np.isfinite(numbers)).sum())} values that are NaN or infinite.")
    return numbers
