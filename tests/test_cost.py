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
    assert costs[0] == LayerCost("C1", (28, 28, 6), 156, 117_600, 4 * 28 * 28 * 6)
    assert costs[-1] == LayerCost("output", (10,), 850, 840, 40)


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


# Shape of the input, a layer, and the operations that the profiler counts besides two for each multiply–accumulate.
LAYERS: dict[str, tuple[tuple[int, ...], keras.Layer, int]] = {
    "strides": ((20, 17, 3), keras.layers.Conv2D(8, (3, 5), strides=2, padding="same", use_bias=False), 0),
    "1x1": ((9, 9, 4), keras.layers.Conv2D(7, 1, use_bias=False), 0),
    "dense": ((37,), keras.layers.Dense(11, use_bias=False), 0),
    "dense-map": ((7, 5, 16), keras.layers.Dense(3, use_bias=False), 0),
    "bias": ((9, 9, 4), keras.layers.Conv2D(7, 3), 7 * 7 * 7),
    "1d": ((31, 3), keras.layers.Conv1D(8, 5, strides=2, use_bias=False), 0),
    "3d": ((9, 8, 7, 2), keras.layers.Conv3D(4, 3, use_bias=False), 0),
    "depthwise": ((20, 17, 3), keras.layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2, use_bias=False), 0),
    "separable": ((20, 17, 3), keras.layers.SeparableConv2D(8, 3, padding="same", use_bias=False), 0),
    "transposed": ((9, 8, 5), keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same", use_bias=False), 0),
    "lstm": ((6, 5), keras.layers.LSTM(4, use_bias=False, unroll=True), 0),
    "gru": ((6, 5), keras.layers.GRU(4, use_bias=False, unroll=True), 0),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_tensorflow_counts_two_operations_for_each(name: str) -> None:
    shape, layer, more = LAYERS[name]
    model = keras.Sequential([keras.Input(shape), layer])
    (cost,) = layer_costs(model)
    if name in ("lstm", "gru"):  # it also counts the gates and sums of each step, at most 13 to a unit
        assert 2 * cost.macs < profiled(model) < 2 * cost.macs + 13 * 6 * 4
    else:
        assert 2 * cost.macs + more == profiled(model) > 0
    assert cost.parameters == model.count_params()
    assert cost.shape == model.output_shape[1:]
    assert cost.memory == 4 * math.prod(cost.shape)


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
    assert layer_costs(outer) == [LayerCost("twice", (28, 28, 1), 0, 0, 4 * 28 * 28), *layer_costs(inner)]


def test_model_with_branches() -> None:
    entry = keras.Input((10,), name="entry")
    left, right = keras.layers.Dense(4, name="left")(entry), keras.layers.Dense(5, name="right")(entry)
    model = keras.Model(entry, [left, right])
    assert {cost.name: cost.macs for cost in layer_costs(model) if cost.macs} == {"left": 40, "right": 50}


def test_frozen_layers_have_macs_but_no_trainable_parameters() -> None:
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(4, name="frozen")])
    model.trainable = False
    assert layer_costs(model) == [LayerCost("frozen", (4,), 0, 40, 16)]


@pytest.mark.parametrize("layer", [keras.layers.Lambda(lambda x: x, name="odd"), RandomAffine(name="odd")])
def test_layer_of_unknown_cost_is_named(layer: keras.Layer) -> None:
    model = keras.Sequential([keras.Input((8, 8, 2)), layer])
    with pytest.raises(TypeError, match=f"'odd' .{type(layer).__name__}. is not known"):
        layer_costs(model)


def test_operation_of_unknown_cost_is_named() -> None:
    entry = keras.Input((4, 4))
    with pytest.raises(TypeError, match=r"\(Matmul\) is not known"):
        layer_costs(keras.Model(entry, keras.ops.matmul(entry, entry)))
    assert layer_costs(keras.Model(entry, entry + 2 * entry))[0].shape == (4, 4)


def test_open_size_is_refused() -> None:
    model = keras.Sequential([keras.Input((None, 8, 2)), keras.layers.Conv2D(3, 3, name="open")])
    with pytest.raises(ValueError, match=r"'open' has a map of open size, \(None, None, 8, 2\); give"):
        layer_costs(model)


def test_model_without_a_graph_is_refused() -> None:
    class Own(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs

    with pytest.raises(TypeError, match=r"'own' \(Own\) has no graph to read; build it from an Input"):
        layer_costs(Own(name="own"))


# Published multiply–accumulates, how finely they are published, and parameters as torchvision's documentation has them.
PUBLISHED = {
    # He et al., Deep residual learning, CVPR 2016, section 4.1: 15.3 G without the dense layers, which add 0.124 G.
    "VGG16": (15.3e9 + 0.124e9, 0.05e9, 138_357_544),
    # He et al. 2016, table 1: 3.8 G. Keras adds biases to the 53 convolutions, with 26,560 maps.
    "ResNet50": (3.8e9, 0.06e9, 25_557_032 + 26_560),
    # Sandler et al., MobileNetV2, CVPR 2018, table 4: 300 M.
    "MobileNetV2": (300e6, 1e6, 3_504_872),
    # Tan and Le, EfficientNet, ICML 2019, table 2: 0.39 G.
    "EfficientNetB0": (0.39e9, 0.005e9, 5_288_548),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks(name: str) -> None:
    costs = layer_costs(getattr(keras.applications, name)(weights=None))
    macs, within, parameters = PUBLISHED[name]
    assert sum(cost.macs for cost in costs) == pytest.approx(macs, abs=within)
    assert sum(cost.parameters for cost in costs) == parameters


def test_mobilenet_as_published() -> None:
    # Howard et al., MobileNets, 2017, table 8: 569 million mult-adds, 4.2 million parameters.
    costs = layer_costs(keras.applications.MobileNet(weights=None))
    assert round(sum(cost.macs for cost in costs) / 1e6) == 569
    assert round(sum(cost.parameters for cost in costs) / 1e6, 1) == 4.2


@pytest.mark.parametrize("name", ["ConvNeXtTiny", "MobileNetV3Small"])
def test_layers_of_newer_networks_are_known(name: str) -> None:
    model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    counted = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert sum(cost.parameters for cost in layer_costs(model)) == counted


def test_shared_layer_has_its_parameters_once_and_its_cost_twice() -> None:
    left, right, shared = keras.Input((10,)), keras.Input((10,)), keras.layers.Dense(4, name="shared")
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="inner")])
    model = keras.Model([left, right], [inner(shared(left)), inner(shared(right))])
    costs = {cost.name: cost for cost in layer_costs(model)}
    assert costs["shared"] == LayerCost("shared", (4,), 44, 2 * 40, 2 * 16)
    assert costs["inner"] == LayerCost("inner", (3,), 15, 2 * 12, 2 * 12)
    assert sum(cost.parameters for cost in costs.values()) == model.count_params()


def test_nested_model_counts_at_the_size_at_which_it_is_used() -> None:
    inner = keras.Sequential([keras.Input((None, None, 2)), keras.layers.Conv2D(3, 3, name="inner")])
    small = layer_costs(keras.Sequential([keras.Input((5, 6, 2)), inner]))
    assert [(cost.shape, cost.macs) for cost in small] == [((3, 4, 3), 12 * 9 * 2 * 3)]


def test_attention_by_hand() -> None:
    # Vaswani et al., Attention is all you need, 2017, section 3.2: 7 places with 12 features ask 5 with 10, 3 heads.
    query, value = keras.Input((7, 12)), keras.Input((5, 10))
    layer = keras.layers.MultiHeadAttention(num_heads=3, key_dim=4, value_dim=6)
    cost = layer_costs(keras.Model([query, value], layer(query, value)))[-1]
    projections = 7 * 12 * 3 * 4 + 5 * 10 * 3 * 4 + 5 * 10 * 3 * 6 + 7 * 3 * 6 * 12
    assert cost.macs == projections + 3 * 7 * 5 * 4 + 3 * 7 * 5 * 6


def test_recurrent_layers_by_hand() -> None:
    # An LSTM has four gates; each step takes 5 inputs and 4 units to 4 units (Hochreiter and Schmidhuber 1997).
    layers = [keras.layers.Bidirectional(keras.layers.LSTM(4)), keras.layers.SimpleRNN(3)]
    macs = [layer_costs(keras.Sequential([keras.Input((6, 5)), layer]))[0].macs for layer in layers]
    assert macs == [2 * 6 * 4 * (5 * 4 + 4 * 4), 6 * (5 * 3 + 3 * 3)]


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


def test_table_shows_memory_if_asked() -> None:
    lines = cost_table(lenet5(), memory=True).splitlines()
    assert lines[1].split()[-1] == "18,816" and lines[1].startswith(cost_table(lenet5()).splitlines()[1])
    assert lines[-1].split() == ["total", "61,706", "416,520", "33,976"]  # 4 bytes for each of 8,494 values
    assert len({len(line) for line in lines}) == 1, "columns stand below one another"


def test_profiler_itself_counts_as_it_should() -> None:
    # Guards the tests above: should TensorFlow change what it counts, this one says so.
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)])
    assert profiled(model) == 2 * math.prod((6, 5)) + 5
