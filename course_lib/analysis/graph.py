"""The graph of a model as a flat list of calls, for the analyses beside it. Introduced in chapter 03."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras

# What treats each place by itself and is no public layer: operations of `keras.ops`, which stand in a graph without a
# layer as in `x + y`, and the layers that `keras.applications` keeps to itself.
_ELEMENTWISE = {
    "keras.src.ops.": {
        "Abs", "Add", "Clip", "Divide", "Elu", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Maximum",
        "Minimum", "Multiply", "Negative", "Relu", "Relu6", "Sigmoid", "Silu", "Sqrt", "Square", "Subtract", "Tanh",
        "TrueDivide",
    },
    "keras.src.applications.": {"CustomScaleLayer", "LayerScale", "StochasticDepth"},
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Call:
    """One use of an operation (a layer, or one of ``keras.ops``): the tensors that go in and come out.

    The tensors hold shapes only. Each is an object of its own, also where a layer or a nested model is used twice.
    """

    operation: Any
    inputs: tuple[keras.KerasTensor, ...]
    outputs: tuple[keras.KerasTensor, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """The calls of a model in an order in which they can be computed, nested models laid flat.

    ``nested`` has the calls of the nested models as wholes, by which they can be found.
    """

    inputs: tuple[Call, ...]
    outputs: tuple[keras.KerasTensor, ...]
    calls: list[Call] = field(default_factory=list)
    nested: list[Call] = field(default_factory=list)


def trace(model: keras.Model) -> Graph:
    """Return the graph of a Functional or Sequential ``model``.

    Raises ValueError where the model is not built, TypeError where it has no graph because it is a subclass of
    Model with a ``call`` of its own.
    """
    for layer in model.layers:
        if not layer.built:
            raise ValueError(f"layer {layer.name!r} is not built; give the model an Input, or call it once.")
    if not _has_graph(model):
        raise TypeError(
            f"model {model.name!r} ({type(model).__name__}) has no graph to read; build it from an Input by "
            "keras.Sequential or keras.Model(inputs, outputs)."
        )
    inputs = tuple(
        Call(tensor._keras_history.operation, (), (keras.KerasTensor(tensor.shape, tensor.dtype),))
        for tensor in model.inputs
    )
    graph = Graph(inputs, ())
    outputs = _follow(model, [call.outputs[0] for call in inputs], graph)
    return Graph(inputs, tuple(outputs), graph.calls, graph.nested)


def is_elementwise(operation: Any) -> bool:
    """Return whether ``operation``, though no public layer, is known to treat each place of a map by itself."""
    kind = type(operation)
    return any(kind.__module__.startswith(room) and kind.__name__ in names for room, names in _ELEMENTWISE.items())


def _has_graph(model: Any) -> bool:
    return isinstance(model, keras.Model) and hasattr(getattr(model, "_functional", model), "_nodes_by_depth")


def _follow(model: Any, inputs: list[keras.KerasTensor], graph: Graph) -> list[keras.KerasTensor]:
    # Keras has no public way to read which tensor goes where: this is how its own Function runs through its nodes.
    nodes_by_depth = getattr(model, "_functional", model)._nodes_by_depth
    known = {id(tensor): mine for tensor, mine in zip(model.inputs, inputs, strict=True)}
    for depth in sorted(nodes_by_depth, reverse=True):
        for node in nodes_by_depth[depth]:
            if node.is_input:
                continue
            entering = [known[id(tensor)] for tensor in node.input_tensors]
            if _has_graph(node.operation):
                leaving = _follow(node.operation, entering, graph)
                graph.nested.append(Call(node.operation, tuple(entering), tuple(leaving)))
            else:
                leaving = [keras.KerasTensor(spec.shape, spec.dtype) for spec in _specs(node, entering, known)]
                graph.calls.append(Call(node.operation, tuple(entering), tuple(leaving)))
            known |= {id(tensor): mine for tensor, mine in zip(node.outputs, leaving, strict=True)}
    return [known[id(tensor)] for tensor in model.outputs]


def _specs(node: Any, entering: list[keras.KerasTensor], known: dict[int, Any]) -> list[keras.KerasTensor]:
    # A nested model may have been built for any size; here the size at which it is used counts.
    if all(mine.shape == tensor.shape for mine, tensor in zip(entering, node.input_tensors, strict=True)):
        return node.outputs
    args, kwargs = node.arguments.fill_in(known)
    return keras.tree.flatten(node.operation.compute_output_spec(*args, **kwargs))
