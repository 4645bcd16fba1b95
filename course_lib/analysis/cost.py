"""What a network costs: parameters, multiply–accumulates and activation memory, layer by layer.

Introduced in chapter 01, and used for any Keras model from chapter 02 on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras

from course_lib.analysis.graph import Call, is_elementwise, trace
from course_lib.models.augmentation import RandomCropFlip
from course_lib.models.dense_prediction import DilatedPooling2D
from course_lib.models.layers import (
    EverySecond,
    LocalResponseNormalization,
    RadialBasis,
    SparseConv2D,
    Subsampling,
)

_BYTES = 4  # of a float32


def _kinds(*names: str, rank: str = "") -> tuple[type[keras.Layer], ...]:
    return tuple(getattr(keras.layers, name + rank) for name in names)


# Layers that only add, compare, move, squash or normalise: no products with weights or between maps.
_FREE: tuple[Any, ...] = (
    DilatedPooling2D,
    EverySecond,
    LocalResponseNormalization,
    RandomCropFlip,
    *_kinds(
        "Activation", "ActivityRegularization", "Add", "AlphaDropout", "Average", "BatchNormalization", "CenterCrop",
        "Concatenate", "Dropout", "ELU", "Embedding", "Flatten", "GaussianDropout", "GaussianNoise",
        "GroupNormalization", "Identity", "InputLayer", "LayerNormalization", "LeakyReLU", "Masking", "Maximum",
        "Minimum", "Multiply", "Normalization", "PReLU", "Permute", "RMSNormalization", "ReLU", "RepeatVector",
        "Rescaling", "Reshape", "Softmax", "Subtract", "UnitNormalization",
    ),
    *(
        kind
        for rank in ("1D", "2D", "3D")
        for kind in _kinds(
            "AveragePooling", "Cropping", "GlobalAveragePooling", "GlobalMaxPooling", "MaxPooling", "SpatialDropout",
            "UpSampling", "ZeroPadding", rank=rank,
        )
    ),
)  # fmt: skip
_CONVOLUTIONS: tuple[Any, ...] = (
    *_kinds("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D"),
    SparseConv2D,
)
_SEPARABLE = _kinds("SeparableConv1D", "SeparableConv2D")
_TRANSPOSED = _kinds("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
_RECURRENT = _kinds("SimpleRNN", "LSTM", "GRU")


@dataclass(frozen=True)
class LayerCost:
    """One layer: name, output shape without the batch, trainable parameters, multiply–accumulates for one input, and
    ``memory``, the bytes that its output takes for one input in float32.

    A layer that a model uses at several places has one entry: the shape at the first place, its parameters once,
    its multiply–accumulates and memory at all places together.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    memory: int


def layer_costs(model: keras.Model) -> list[LayerCost]:
    """Return the cost of each layer of ``model``, in its order, nested models laid flat.

    A multiply–accumulate is one product, with a weight or (in attention) of two activations that are summed over,
    and its addition. A convolution counts its products with the zeros of its padding too. Not counted are biases,
    activations, normalisation (one product a value, which can be folded into the weights before it), merging,
    pooling, and the scaling of maps. Memory is that of all outputs, as training keeps them; layers that work in
    place, or are fused, need less. Raises ValueError for a model that is not built or leaves a size open, TypeError
    for a layer whose cost is not known and for a model that has no graph.
    """
    graph = trace(model)
    calls: dict[int, list[Call]] = {id(layer): [] for layer in _layers(model)}
    for call in (*graph.inputs, *graph.calls):
        if id(call.operation) in calls:
            calls[id(call.operation)].append(call)
        elif not isinstance(call.operation, keras.layers.InputLayer) and not is_elementwise(call.operation):
            raise _unknown(call.operation)
    # The inputs of nested models are never called: what goes in comes from the layer before.
    return [_cost(uses) for uses in calls.values() if uses]


def cost_table(model: keras.Model, memory: bool = False) -> str:
    """Return :func:`layer_costs` as text, a row a layer and a row of sums; with ``memory``, its bytes as well."""
    costs = layer_costs(model)
    rows = [(cost.name, " × ".join(map(str, cost.shape)), cost.parameters, cost.macs, cost.memory) for cost in costs]
    rows.append(("total", "", *(sum(column) for column in list(zip(*rows, strict=True))[2:])))
    name, shape = max(14, *(len(row[0]) + 2 for row in rows)), max(16, *(len(row[1]) + 2 for row in rows))
    lines = [
        f"{'layer':<{name}}{'output':<{shape}}{'parameters':>12}{'multiply–accumulates':>23}{'bytes of output':>18}"
    ]
    lines += [f"{row[0]:<{name}}{row[1]:<{shape}}{row[2]:>12,}{row[3]:>23,}{row[4]:>18,}" for row in rows]
    return "\n".join(line if memory else line[:-18] for line in lines)


def _layers(model: keras.Model) -> list[keras.Layer]:
    return [
        inner
        for layer in model.layers
        for inner in (_layers(layer) if isinstance(layer, keras.Model) and layer.layers else [layer])
    ]


def _cost(uses: list[Call]) -> LayerCost:
    layer = uses[0].operation
    for call in uses:
        for tensor in (*call.inputs, *call.outputs):
            if None in tensor.shape[1:]:
                raise ValueError(
                    f"layer {layer.name!r} has a map of open size, {tensor.shape}; "
                    "give the model an Input with all sizes."
                )
    return LayerCost(
        layer.name,
        tuple(uses[0].outputs[0].shape)[1:],
        sum(math.prod(weight.shape) for weight in layer.trainable_weights),
        sum(_macs(call) for call in uses),
        sum(_BYTES * math.prod(tensor.shape[1:]) for call in uses for tensor in call.outputs),
    )


def _macs(call: Call) -> int:
    layer = call.operation
    before, after = (tuple(tensors[0].shape)[1:] if tensors else () for tensors in (call.inputs, call.outputs))
    if isinstance(layer, _FREE) or is_elementwise(layer):
        return 0
    if isinstance(layer, _CONVOLUTIONS):  # a sparse or grouped kernel has only the connections that there are
        return math.prod(after[:-1]) * math.prod(layer.kernel.shape)
    if isinstance(layer, _SEPARABLE):
        return math.prod(after[:-1]) * sum(
            math.prod(kernel.shape) for kernel in (layer.depthwise_kernel, layer.pointwise_kernel)
        )
    if isinstance(layer, _TRANSPOSED):  # each input meets the whole kernel, though "same" then cuts the edges off
        return math.prod(before[:-1]) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Dense):  # once at each place of a map
        return math.prod(after[:-1]) * math.prod(layer.kernel.shape)
    if isinstance(layer, Subsampling):
        return math.prod(after)
    if isinstance(layer, RadialBasis):
        return layer.centres.size
    if isinstance(layer, _RECURRENT):
        return before[0] * _step(layer)
    if isinstance(layer, keras.layers.Bidirectional) and isinstance(layer.forward_layer, _RECURRENT):
        return before[0] * (_step(layer.forward_layer) + _step(layer.backward_layer))
    if isinstance(layer, keras.layers.MultiHeadAttention):
        return _attention(layer, call)
    raise _unknown(layer)


def _step(layer: Any) -> int:
    return math.prod(layer.cell.kernel.shape) + math.prod(layer.cell.recurrent_kernel.shape)


def _attention(layer: Any, call: Call) -> int:
    query, value = call.inputs[:2]
    if set(layer.attention_axes) != set(range(1, len(query.shape) - 1)):
        raise TypeError(
            f"the cost of layer {layer.name!r} is known only for attention over all places, not over the axes "
            f"{layer.attention_axes}."
        )
    asking, answering = math.prod(query.shape[1:-1]), math.prod(value.shape[1:-1])
    parts = {"query": asking, "key": answering, "value": answering, "gate": asking, "output": asking}
    dense = {part: getattr(layer, f"_{part}_dense", None) for part in parts}
    projections = sum(parts[part] * math.prod(inner.kernel.shape) for part, inner in dense.items() if inner)
    # A product of each query with each key, then the mean of the values that these weigh.
    return projections + asking * answering * layer.num_heads * (layer.key_dim + layer.value_dim)


def _unknown(operation: Any) -> TypeError:
    return TypeError(
        f"the cost of layer {operation.name!r} ({type(operation).__name__}) is not known to course_lib.analysis.cost."
    )
