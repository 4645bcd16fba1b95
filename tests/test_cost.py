"""What networks cost: against counts by hand, the paper, and TensorFlow's own profiler."""

from __future__ import annotations

import math
from typing import Any

import keras
import pytest

from course_lib.analysis.cost import LayerCost, cost_table, layer_costs
from course_lib.models.layers import RandomAffine
from course_lib.models.lenet import lenet5, lenet5_1998

# Output places × kernel, or inputs × outputs.
TAUGHT = {
    "C1": 28 * 28 * 25 * 6, "S2": 0, "C3": 10 * 10 * 25 * 6 * 16, "S4": 0, "flatten": 0,
    "C5": 400 * 120, "F6": 120 * 84, "output": 84 * 10,
}  # fmt: skip


def profiled(model: keras.Model) -> int:
    """Return the floating-point operations of one input that TensorFlow's profiler counts in the model's graph."""
    import tensorflow as tf

    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((1, *model.input_shape[1:]))
    )
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return tf.compat.v1.profiler.profile(graph.graph, options=options).total_float_ops


def test_counts_of_the_taught_network() -> None:
    costs = layer_costs(lenet5())
    assert {cost.name: cost.macs for cost in costs} == TAUGHT
    assert [TAUGHT[name] for name in ("C1", "C3", "C5", "F6", "output")] == [117_600, 240_000, 48_000, 10_080, 840]
    assert sum(cost.macs for cost in costs) == 416_520
    assert sum(cost.parameters for cost in costs) == 61_706
    assert costs[0] == LayerCost("C1", (28, 28, 6), 156, 117_600)
    assert costs[-1] == LayerCost("output", (10,), 850, 840)


def test_counts_of_the_network_of_the_paper() -> None:
    costs = {cost.name: cost for cost in layer_costs(lenet5_1998()) if cost.macs}
    # The paper counts connections, biases among them: C1 122,304, C3 151,600, C5 48,120; take the biases away.
    # Sub-sampling multiplies once for each of its outputs, the radial basis once for each of 84 features a class.
    expected = {
        "C1": 122_304 - 28 * 28 * 6,
        "S2": 14 * 14 * 6,
        "C3": 151_600 - 10 * 10 * 16,
        "S4": 5 * 5 * 16,
        "C5": 48_120 - 120,
        "F6": 10_164 - 84,
        "output": 84 * 10,
    }
    assert {name: cost.macs for name, cost in costs.items()} == expected
    assert sum(cost.parameters for cost in layer_costs(lenet5_1998())) == 60_000
    assert costs["C5"].shape == (1, 1, 120)


LAYERS: list[tuple[tuple[int, ...], list[Any]]] = [
    ((20, 17, 3), [keras.layers.Conv2D, (8, (3, 5)), {"strides": 2, "padding": "same"}]),
    ((9, 9, 4), [keras.layers.Conv2D, (7, 1), {}]),
    ((37,), [keras.layers.Dense, (11,), {}]),
    ((7, 5, 16), [keras.layers.Dense, (3,), {}]),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("shape", "made"), LAYERS, ids=["strides", "1x1", "dense", "dense-map"])
def test_tensorflow_counts_two_operations_for_each(shape: tuple[int, ...], made: list[Any]) -> None:
    kind, sizes, more = made
    model = keras.Sequential([keras.Input(shape), kind(*sizes, use_bias=False, **more)])
    (cost,) = layer_costs(model)
    assert 2 * cost.macs == profiled(model) > 0
    assert cost.parameters == model.count_params()
    assert cost.shape == model.output_shape[1:]


def test_tensorflow_agrees_on_the_whole_network() -> None:
    model = lenet5(pooling="max")
    biases = 28 * 28 * 6 + 10 * 10 * 16 + 120 + 84 + 10  # one addition at each place
    comparisons = 4 * (14 * 14 * 6 + 5 * 5 * 16)  # four values in each pool
    assert profiled(model) == 2 * sum(cost.macs for cost in layer_costs(model)) + biases + comparisons


def test_groups_and_dilation_by_hand() -> None:
    # The profiler does not count these. A group sees half of the four maps; dilation 2 makes 3 × 3 reach 5 × 5.
    grouped = keras.Sequential([keras.Input((20, 17, 4)), keras.layers.Conv2D(6, 3, groups=2)])
    assert [cost.macs for cost in layer_costs(grouped)] == [18 * 15 * 6 * 9 * 2]
    dilated = keras.Sequential([keras.Input((21, 19, 2)), keras.layers.Conv2D(5, 3, dilation_rate=2)])
    assert [cost.macs for cost in layer_costs(dilated)] == [17 * 15 * 5 * 9 * 2]


def test_nested_models_are_laid_flat() -> None:
    inner = lenet5()
    outer = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Rescaling(2.0, name="twice"), inner])
    assert layer_costs(outer) == [LayerCost("twice", (28, 28, 1), 0, 0), *layer_costs(inner)]


def test_model_with_branches() -> None:
    entry = keras.Input((10,), name="entry")
    left, right = keras.layers.Dense(4, name="left")(entry), keras.layers.Dense(5, name="right")(entry)
    model = keras.Model(entry, [left, right])
    assert {cost.name: cost.macs for cost in layer_costs(model) if cost.macs} == {"left": 40, "right": 50}


def test_frozen_layers_have_macs_but_no_trainable_parameters() -> None:
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(4, name="frozen")])
    model.trainable = False
    assert layer_costs(model) == [LayerCost("frozen", (4,), 0, 40)]


@pytest.mark.parametrize("layer", [keras.layers.DepthwiseConv2D(3, name="odd"), RandomAffine(name="odd")])
def test_layer_of_unknown_cost_is_named(layer: keras.Layer) -> None:
    model = keras.Sequential([keras.Input((8, 8, 2)), layer])
    with pytest.raises(TypeError, match=f"'odd' .{type(layer).__name__}. is not known"):
        layer_costs(model)


def test_unbuilt_model_is_refused() -> None:
    with pytest.raises(ValueError, match="'late' is not built; give the model an Input"):
        layer_costs(keras.Sequential([keras.layers.Dense(3, name="late")]))


def test_table_shows_every_layer_and_the_sums() -> None:
    lines = cost_table(lenet5()).splitlines()
    assert len(lines) == 1 + len(TAUGHT) + 1
    assert [line.split()[0] for line in lines] == ["layer", *TAUGHT, "total"]
    assert lines[3].split() == ["C3", "10", "×", "10", "×", "16", "2,416", "240,000"]
    assert lines[-1].split() == ["total", "61,706", "416,520"]
    assert len({len(line) for line in lines}) == 1, "columns stand below one another"


def test_profiler_itself_counts_as_it_should() -> None:
    # Guards the tests above: should TensorFlow change what it counts, this one says so.
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)])
    assert profiled(model) == 2 * math.prod((6, 5)) + 5
