"""What a network costs: shapes, parameters and multiply–accumulates, layer by layer. Introduced in chapter 01."""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras

from course_lib.models.layers import EverySecond, RadialBasis, SparseConv2D, Subsampling

# Layers that only add, compare, move or squash: no products with weights.
_FREE = (
    EverySecond,
    keras.layers.Activation,
    keras.layers.AveragePooling2D,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.InputLayer,
    keras.layers.MaxPooling2D,
    keras.layers.Rescaling,
    keras.layers.ZeroPadding2D,
)


@dataclass(frozen=True)
class LayerCost:
    """One layer: name, output shape without the batch, trainable parameters, multiply–accumulates for one input."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    macs: int


def layer_costs(model: keras.Model) -> list[LayerCost]:
    """Return the cost of each layer of ``model``, in its order, nested models laid flat.

    A multiply–accumulate is one product with a weight and its addition; biases are not counted. Raises ValueError
    for a model that is not built, TypeError for a layer whose cost is not known.
    """
    costs: list[LayerCost] = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            costs += layer_costs(layer)
            continue
        if not layer.built:
            raise ValueError(f"layer {layer.name!r} is not built; give the model an Input, or call it once.")
        shape = tuple(layer.output.shape)[1:]
        parameters = sum(math.prod(weight.shape) for weight in layer.trainable_weights)
        costs.append(LayerCost(layer.name, shape, parameters, _macs(layer, shape)))
    return costs


def _macs(layer: keras.Layer, shape: tuple[int, ...]) -> int:
    if isinstance(layer, _FREE):
        return 0
    if isinstance(layer, keras.layers.Conv2D):
        return math.prod(shape[:2]) * math.prod(layer.kernel.shape)
    if isinstance(layer, SparseConv2D):  # only the connections that the table has
        return math.prod(shape[:2]) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Dense):  # once at each place of a map
        return math.prod(shape[:-1]) * math.prod(layer.kernel.shape)
    if isinstance(layer, Subsampling):
        return math.prod(shape)
    if isinstance(layer, RadialBasis):
        return layer.centres.size
    raise TypeError(
        f"the cost of layer {layer.name!r} ({type(layer).__name__}) is not known to course_lib.analysis.cost."
    )


def cost_table(model: keras.Model) -> str:
    """Return :func:`layer_costs` as text, a row a layer and a row of sums."""
    costs = layer_costs(model)
    rows = [(cost.name, " × ".join(map(str, cost.shape)), cost.parameters, cost.macs) for cost in costs]
    rows.append(("total", "", sum(cost.parameters for cost in costs), sum(cost.macs for cost in costs)))
    lines = [f"{'layer':<14}{'output':<16}{'parameters':>12}{'multiply–accumulates':>23}"]
    return "\n".join(
        [*lines, *(f"{name:<14}{shape:<16}{parameters:>12,}{macs:>23,}" for name, shape, parameters, macs in rows)]
    )
