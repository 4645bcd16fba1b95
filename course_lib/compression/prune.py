"""Pruning: weights set to zero and held there, filters really removed, and what is left counted. Chapter 08.

A mask has the shape of a layer's kernel and is True where a weight stays; masks go by the layer's name. Biases and
batch normalisation are never masked. A share is the part of the kernels' weights that goes, from 0 to below 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

Mask = NDArray[np.bool_]

# Layers that treat each map by itself; their weights, if any, have one value a map.
_BY_MAP: tuple[Any, ...] = (
    layers.Activation, layers.AveragePooling2D, layers.BatchNormalization, layers.Dropout, layers.Flatten,
    layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D, layers.LeakyReLU, layers.MaxPooling2D, layers.ReLU,
    layers.SpatialDropout2D, layers.ZeroPadding2D,
)  # fmt: skip


def kernels(model: keras.Model, names: Iterable[str] = ()) -> dict[str, keras.Variable]:
    """Return the kernels that can be pruned, by the name of their layer, in the model's order.

    A layer with two kernels, such as a separable convolution, is left out. Raises ValueError for a model that has no
    weights yet, that holds another model, or in which no layer has a kernel, and where one of ``names`` has none.
    """
    if not model.built:
        raise ValueError(f"{model.name} has no weights yet: begin it with keras.Input, or call its build.")
    inner = [layer.name for layer in model.layers if isinstance(layer, keras.Model)]
    if inner:
        raise ValueError(f"{model.name} holds the model {inner[0]}: prune {inner[0]} by itself, or lay it flat.")
    found = {layer.name: layer.kernel for layer in model.layers if hasattr(layer, "kernel")}
    if not found:
        raise ValueError(f"{model.name} has no layer with a kernel, so there is nothing to prune.")
    wrong = [name for name in names if name not in found]
    if wrong:
        raise ValueError(f"{wrong[0]} is no layer of {model.name} with a kernel; those are {', '.join(found)}.")
    return found


def magnitude_masks(model: keras.Model, share: float | Mapping[str, float]) -> dict[str, Mask]:
    """Return masks that remove the weights smallest in size: a ``share`` of all, or of each layer its own.

    One number ranks all kernels together; a mapping from layer names to shares ranks each layer by itself, and layers
    that it does not name are kept whole. Exactly round(share · weights) go, of equal ones the first. Zeros are the
    smallest, so what an earlier pruning removed stays removed when the share grows. Source: Han, Pool, Tran and Dally,
    Learning both weights and connections for efficient neural networks, NIPS 2015, section 3. Raises ValueError for a
    share outside [0, 1), a layer without a kernel, and as :func:`kernels`.
    """
    found = kernels(model, share if isinstance(share, Mapping) else ())
    sizes = {name: np.abs(ops.convert_to_numpy(kernel.value)) for name, kernel in found.items()}
    if isinstance(share, Mapping):
        return {name: _largest(size, share.get(name, 0.0), name) for name, size in sizes.items()}
    together = _largest(np.concatenate([size.ravel() for size in sizes.values()]), share, model.name)
    parts = np.split(together, np.cumsum([size.size for size in sizes.values()])[:-1])
    return {name: part.reshape(size.shape) for part, (name, size) in zip(parts, sizes.items(), strict=True)}


class _Hold(keras.constraints.Constraint):
    """Zero where the mask is False."""

    def __init__(self, mask: Mask) -> None:
        self.mask = mask

    def __call__(self, kernel: Any) -> Any:
        return ops.where(self.mask, kernel, 0)


def prune(model: keras.Model, masks: Mapping[str, ArrayLike]) -> None:
    """Set the weights to zero where a mask is False, and hold them there through all further training of this model.

    The mask becomes the constraint of the kernel, which every optimizer of Keras applies after its step; so momentum
    from before cannot move a removed weight. Only ``use_ema``, which averages the weights before that, can. Masks
    given earlier are replaced, and kernels without a mask are free: ``prune(model, {})`` frees all. Weights set by
    hand, say to early ones, are not masked: prune again. A copy, or a model loaded from a file, has the zeros and not
    the constraint: ``prune(loaded, masks_of(loaded))``. Raises ValueError, with nothing changed, for a mask of the
    wrong shape, a layer without a kernel, a kernel with a constraint of its own, and as :func:`kernels`.
    """
    found = kernels(model, masks)
    holds = {name: _Hold(np.asarray(mask, bool)) for name, mask in masks.items()}
    for name, kernel in found.items():
        if name in holds and holds[name].mask.shape != tuple(kernel.shape):
            raise ValueError(
                f"prune(): the mask of {name} has shape {holds[name].mask.shape}, its kernel {tuple(kernel.shape)}."
            )
        if not isinstance(kernel.constraint, _Hold | None):
            raise ValueError(f"prune() would take the place of the constraint of {name}; build the layer without one.")
    for name, kernel in found.items():
        kernel.constraint = holds.get(name)
        if kernel.constraint is not None:
            kernel.assign(kernel.constraint(kernel.value))
    model.train_function = None  # a step of training that is compiled already would not know the masks


def masks_of(model: keras.Model) -> dict[str, Mask]:
    """Return the masks that the zeros in the kernels make: those of a pruned model that was saved and loaded."""
    return {name: ops.convert_to_numpy(kernel.value) != 0 for name, kernel in kernels(model).items()}


@dataclass(frozen=True)
class Sparsity:
    """How many parameters there are, as Keras counts them, and how many of them are ``kept``, that is not zero."""

    parameters: int
    kept: int

    @property
    def share(self) -> float:
        """The part that is zero, from 0 to 1."""
        return 1 - self.kept / self.parameters

    @property
    def factor(self) -> float:
        """The compression: all parameters over those kept."""
        return self.parameters / self.kept if self.kept else math.inf


def sparsity(model: keras.Layer) -> Sparsity:
    """Count the weights of a model or of one layer, biases and batch normalisation among them.

    Raises ValueError where there are none.
    """
    weights = model.get_weights()
    if not weights:
        raise ValueError(f"sparsity(): {model.name} has no weights to count.")
    return Sparsity(sum(weight.size for weight in weights), sum(int(np.count_nonzero(weight)) for weight in weights))


def csr_bytes(kernel: ArrayLike) -> tuple[int, int]:
    """Return the bytes of a kernel (…, inputs, outputs) as a sparse matrix, and as it is.

    The matrix has one row an output, in compressed sparse rows (CSR): each weight that is not zero and the number of
    its column, then the place where each row begins, as ``scipy.sparse`` stores them. Raises ValueError for fewer than
    two dimensions.
    """
    dense = np.asarray(kernel)
    if dense.ndim < 2:
        raise ValueError(f"csr_bytes(): a kernel has at least two dimensions, not the shape {dense.shape}.")
    matrix = sparse.csr_array(dense.reshape(-1, dense.shape[-1]).T)
    return matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes, dense.nbytes


def cubic_shares(final: float, rounds: int, initial: float = 0.0) -> list[float]:
    """Return the share after each round of gradual pruning: much at first, less and less towards ``final``.

    final + (initial − final) · (1 − round / rounds)³: Zhu and Gupta, To prune, or not to prune, arXiv:1710.01878,
    equation 1; the share before the first round, ``initial``, is left out. One round is one-shot pruning. Raises
    ValueError for shares outside [0, 1), an ``initial`` above ``final``, and fewer than one round.
    """
    progress = _progress(final, rounds)
    if not 0 <= initial <= final:
        raise ValueError(f"initial is {initial}: it must be at least 0 and at most final, {final}.")
    return [final + (initial - final) * (1 - done) ** 3 for done in progress]


def iterative_shares(final: float, rounds: int) -> list[float]:
    """Return the share after each round of iterative pruning: every round removes the same part of what is left.

    1 − (1 − final)^(round / rounds). Between rounds the network is trained on (Han and others, 2015, section 3) or
    begins again from early weights (Frankle and Carbin, The lottery ticket hypothesis, ICLR 2019, section 1). One
    round is one-shot pruning. Raises ValueError for a ``final`` outside [0, 1) and for fewer than one round.
    """
    return [1 - (1 - final) ** done for done in _progress(final, rounds)]


def filter_masks(model: keras.Model, shares: Mapping[str, float]) -> dict[str, Mask]:
    """Return for each layer named which of its filters (outputs) stay, (filters,), once its share of them is removed.

    Those go whose weights have the smallest sum of sizes, the L1 norm; the bias does not count. Source: Li, Kadav,
    Durdanovic, Samet and Graf, Pruning filters for efficient ConvNets, ICLR 2017, section 3.1. Raises as
    :func:`magnitude_masks`.
    """
    found = kernels(model, shares)
    matrices = {name: ops.convert_to_numpy(found[name].value).reshape(-1, found[name].shape[-1]) for name in shares}
    return {name: _largest(np.abs(matrix).sum(axis=0), shares[name], name) for name, matrix in matrices.items()}


def remove_filters(model: keras.Sequential, keep: Mapping[str, ArrayLike]) -> keras.Sequential:
    """Return a smaller model: of the layers named, Conv2D or Dense, it has only the filters (units) that stay.

    ``keep`` has a mask (filters,) for each. With a filter goes its map: its values of batch normalisation, and the
    weights of the next layer that read it (Li and others, 2017, section 3.1). So the answers are those of the old
    model with these maps at zero where they enter the next layer with a kernel. The old model is left as it is; in the
    new one no mask is held. Images are (n, h, w, c). Raises ValueError for a model that is no plain chain of layers, a
    mask of the wrong shape or with no filter left, a layer without a kernel, the last layer, whose outputs are the
    answers, a layer whose filters cannot be removed, and one that may mix maps, where some are missing.
    """
    if not isinstance(model, keras.Sequential):
        raise ValueError(f"remove_filters(): {model.name} is no plain chain of layers; it must be a keras.Sequential.")
    kernels(model, keep)
    copies: list[keras.Layer] = []
    values: list[list[NDArray]] = []
    maps = np.ones(model.input_shape[-1], bool)  # which of those that would enter the layer are left
    for layer in model.layers:
        config, weights = layer.get_config(), layer.get_weights()
        if isinstance(layer, layers.Conv2D | layers.Dense) and getattr(layer, "groups", 1) == 1:
            entering, maps = _repeat(maps, weights[0].shape[-2]), _filters(layer, keep)
            weights = [weights[0][..., entering, :][..., maps], *(bias[maps] for bias in weights[1:])]
            config["filters" if "filters" in config else "units"] = int(maps.sum())
        elif layer.name in keep:
            raise ValueError(f"remove_filters(): {layer.name} must be a Conv2D of one group or a Dense.")
        elif isinstance(layer, _BY_MAP):
            weights = [weight[_repeat(maps, weight.size)] for weight in weights]
        elif maps.all():
            maps = np.ones(layer.output.shape[-1], bool)
        else:
            raise ValueError(
                f"remove_filters(): {layer.name} ({type(layer).__name__}) may mix maps, and some that enter it would "
                "be missing; keep all filters of the layer before it."
            )
        copies.append(type(layer).from_config(config))
        values.append(weights)
    if not maps.all():
        raise ValueError("remove_filters(): the outputs of the last layer are the answers; keep all of them.")
    entry = keras.Input(batch_shape=model.input_shape, dtype=model.inputs[0].dtype)
    smaller = keras.Sequential([entry, *copies], name=model.name)
    for copy, weights in zip(copies, values, strict=True):
        copy.set_weights(weights)
    return smaller


def _repeat(maps: Mask, size: int) -> Mask:
    """Return the mask of the maps for ``size`` values: Flatten lays place by place, at each all maps."""
    return np.tile(maps, size // maps.size)


def _filters(layer: keras.Layer, keep: Mapping[str, ArrayLike]) -> Mask:
    """Return which filters of the layer stay."""
    count = layer.kernel.shape[-1]
    mask = np.asarray(keep.get(layer.name, np.ones(count)), bool)
    if mask.shape != (count,):
        raise ValueError(f"remove_filters(): the mask of {layer.name} has shape {mask.shape}; it must be ({count},).")
    if not mask.any():
        raise ValueError(f"remove_filters(): the mask of {layer.name} leaves no filter; keep at least one.")
    return mask


def _largest(sizes: NDArray, share: float, name: str) -> Mask:
    """Return which stay when round(share · n) of the smallest go."""
    _check_share(f"the share of {name}", share)
    stays = np.ones(sizes.shape, bool)
    stays.flat[np.argsort(sizes, axis=None, kind="stable")[: round(share * sizes.size)]] = False
    return stays


def _check_share(what: str, share: float) -> None:
    if not 0 <= share < 1:
        raise ValueError(f"{what} is {share}: it must be at least 0, where nothing is removed, and below 1.")


def _progress(final: float, rounds: int) -> list[float]:
    """Return how much of the pruning is done after each round, up to 1."""
    _check_share("final", final)
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}: there must be at least 1.")
    return [done / rounds for done in range(1, rounds + 1)]
