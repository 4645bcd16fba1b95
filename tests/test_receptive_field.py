"""Receptive fields: against published tables, counts by hand, gradients, and changes of single rows of the input."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import layers

from course_lib.analysis.receptive_field import receptive_field, receptive_field_table
from course_lib.models.alexnet import alexnet, two_towers
from course_lib.models.layers import EverySecond, LocalResponseNormalization, Subsampling
from course_lib.models.lenet import lenet5, lenet5_1998

# Araujo, Norris and Sim, Distill, 2019, table of sizes, effective strides and effective paddings, and the longer
# tables of their library (github.com/google-research/receptive_field, RECEPTIVE_FIELD_TABLE.md), there for TF-Slim.
VGG16 = {
    "block1_conv1": (3, 1, 1), "block1_pool": (6, 2, 2), "block2_conv1": (10, 2, 4), "block2_pool": (16, 4, 6),
    "block3_conv1": (24, 4, 10), "block3_conv2": (32, 4, 14), "block3_pool": (44, 8, 18), "block4_conv1": (60, 8, 26),
    "block4_pool": (100, 16, 42), "block5_conv1": (132, 16, 58), "block5_pool": (212, 32, 90),
}  # fmt: skip
MOBILENET = {
    "conv1": (3, 2, 0), "conv_pw_1": (7, 2, 2), "conv_pw_2": (11, 4, 2), "conv_pw_4": (27, 8, 6),
    "conv_pw_6": (59, 16, 14), "conv_pw_11": (219, 16, 94), "conv_pw_12": (251, 32, 94), "conv_pw_13": (315, 32, 126),
}  # fmt: skip
ALEXNET = {  # alexnet_v2 of TF-Slim has the same kernels, strides and paddings as the paper's network
    "conv1": (11, 4, 0), "pool1": (19, 8, 0), "conv2": (51, 8, 16), "pool2": (67, 16, 16), "conv3": (99, 16, 32),
    "conv4": (131, 16, 48), "conv5": (163, 16, 64), "pool5": (195, 32, 64),
}  # fmt: skip
# The same library's example for the Keras graph of InceptionV3 (RF_Keras_Applications.ipynb) has convolution 85.
INCEPTION = {"conv2d_85": (1183, 32, 554), "mixed10": (1311, 32, 618)}


def application(name: str, side: int) -> keras.Model:
    keras.utils.clear_session()  # so that automatic names count from 0
    return getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(side, side, 3))


def numbers(model: keras.Model, output: Any = None) -> tuple[Any, ...]:
    field = receptive_field(model, output)
    assert all(len(set(values)) == 1 for values in (field.size, field.stride, field.padding)), "both axes alike"
    return field.size[0], field.stride[0], field.padding[0]


def simple(*stack: keras.Layer, size: tuple[int | None, ...] = (32,), channels: int = 2) -> keras.Sequential:
    return keras.Sequential([keras.Input((*size, channels)), *stack])


@pytest.mark.parametrize(
    ("name", "side", "published"),
    [("VGG16", 224, VGG16), ("MobileNet", 224, MOBILENET), ("InceptionV3", 299, INCEPTION)],
)
def test_published_fields(name: str, side: int, published: dict[str, tuple[int, int, int]]) -> None:
    model = application(name, side)
    assert {layer: numbers(model, layer) for layer in published} == published
    assert receptive_field(model).aligned


def test_inception_resnet_as_published_and_at_once() -> None:
    model = application("InceptionResNetV2", 299)
    begin = time.perf_counter()
    assert numbers(model) == (3039, 32, 1482)
    assert time.perf_counter() - begin < 5


def test_alexnet_by_hand_and_as_published() -> None:
    # No padding here depends on the size of the image, and with a small one the dense layers are small.
    model, towers = alexnet(10, input_shape=(67, 67, 3)), two_towers(10, input_shape=(67, 67, 3))
    assert {layer: numbers(model, layer) for layer in ALEXNET} == ALEXNET
    # Where the towers have exchanged, the two halves see the same.
    assert {numbers(towers, layer) for layer in ("pool5a", "pool5b", "exchange5")} == {ALEXNET["pool5"]}
    assert receptive_field(towers, "exchange5").aligned


def test_lenet_by_hand() -> None:
    # 5; one pixel more by pooling; 4 steps of 2; 1 step of 2 more. The first convolution has 2 zeros before.
    expected = {"C1": (5, 1, 2), "S2": (6, 2, 2), "C3": (14, 2, 2), "S4": (16, 4, 2)}
    assert {layer: numbers(lenet5(), layer) for layer in expected} == expected
    assert {layer: numbers(lenet5_1998(), layer) for layer in expected} == expected
    # In 1998 C5 saw all 32 × 32 pixels of the padded image, and has a single place; so has what follows.
    assert {numbers(lenet5_1998(), layer) for layer in ("C5", "flatten", "F6", "output")} == {(32, 4, 2)}


def by_gradient(model: keras.Model, place: int) -> tuple[int, int]:
    """Return the first and last row of the input that a row of the output has a gradient to, all weights positive."""
    import tensorflow as tf

    def averaging(layer: keras.Layer) -> keras.Layer:  # the gradient of a maximum goes to one place only
        if not isinstance(layer, layers.MaxPooling2D):
            return layer.__class__.from_config(layer.get_config())
        config = {key: value for key, value in layer.get_config().items() if key != "pool_size"}
        return layers.AveragePooling2D(layer.pool_size, **config)

    model = keras.models.clone_model(model, clone_function=averaging)
    for layer in model.layers:
        if getattr(layer, "kernel", None) is not None:
            terms = np.prod(layer.kernel.shape[: 2 if isinstance(layer, layers.DepthwiseConv2D) else 3])
            layer.kernel.assign(np.full(layer.kernel.shape, 1 / terms, "float32"))
    image = tf.fill((1, *model.input_shape[1:]), 1e-4)
    with tf.GradientTape() as tape:
        tape.watch(image)
        out = tf.reduce_sum(model(image, training=False)[:, place])
    rows = np.flatnonzero(np.abs(tape.gradient(out, image)).sum((0, 2, 3)))
    return int(rows[0]), int(rows[-1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # TF-Slim has 483/32/239 at 224 and 241 at 321: it strides later and pads "same", more behind than before.
        # Keras strides in the first unit of a block and pads by fixed amounts: size as published, padding always 241.
        ("ResNet50", (483, 32, 241)),
        # Not in the article. By table 2 of Sandler et al. 2018, each 3 × 3 adds twice the stride before it:
        # 3 + 2·(2 + 2 + 4 + 4 + 8·2 + 8 + 16·3 + 16·3 + 16 + 32·2 + 32) = 491.
        ("MobileNetV2", (491, 32, 214)),
    ],
)
def test_networks_of_keras_agree_with_gradients(name: str, expected: tuple[int, int, int]) -> None:
    model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(768, 32, 3))
    field = receptive_field(model)
    assert (field.size[0], field.stride[0], field.padding[0]) == expected
    for place in (0, 11, 23):
        (first, last), _ = field.interval((place, 0))
        assert by_gradient(model, place) == (max(first, 0), min(last, 767))


# Steps of random graphs: each takes a tensor and the number of spatial axes, and returns a tensor.
Step = Callable[[Any, int], Any]
small = st.integers(1, 4)
paddings = st.sampled_from(["same", "valid"])
positive: dict[str, Any] = {"kernel_initializer": keras.initializers.Constant(0.1)}
both_positive: dict[str, Any] = {"depthwise_initializer": positive["kernel_initializer"]}


def kind(name: str, rank: int) -> Any:
    return getattr(layers, name.replace("#", f"{rank}D"))


@st.composite
def slides(draw: st.DrawFn) -> Step:
    kernel, stride, padding = draw(small), draw(st.integers(1, 3)), draw(paddings)
    name = draw(st.sampled_from(["Conv#", "DepthwiseConv#", "SeparableConv#", "MaxPooling#", "AveragePooling#"]))
    if "Pooling" in name:
        return lambda x, rank: kind(name, rank)(kernel, stride, padding=padding)(x)
    dilation = draw(st.integers(1, 3)) if stride == 1 else 1
    more = {"strides": stride, "padding": padding, "dilation_rate": dilation}
    if name == "Conv#":
        return lambda x, rank: kind(name, rank)(2, kernel, **more, **positive)(x)
    if name == "DepthwiseConv#":
        return lambda x, rank: kind(name, rank)(kernel, **more, **both_positive)(x)
    pointwise = {"pointwise_initializer": positive["kernel_initializer"]}
    return lambda x, rank: kind(name, rank)(2, kernel, **more, **both_positive, **pointwise)(x)


@st.composite
def grows(draw: st.DrawFn) -> Step:
    factor, more, padding = draw(st.integers(1, 3)), draw(st.integers(0, 3)), draw(paddings)
    name = draw(st.sampled_from(["Conv#Transpose", "ZeroPadding#", "UpSampling#"]))
    interpolation = draw(st.sampled_from(["nearest", "bilinear"]))
    if name == "Conv#Transpose":
        return lambda x, rank: kind(name, rank)(2, factor + more, factor, padding=padding, **positive)(x)
    if name == "ZeroPadding#":
        return lambda x, rank: kind(name, rank)((factor, more) if rank == 1 else ((factor, more), (more, factor)))(x)
    return lambda x, rank: kind(name, rank)(factor, **({} if rank == 1 else {"interpolation": interpolation}))(x)


@st.composite
def branches(draw: st.DrawFn) -> Step:
    stride, kernels = draw(st.integers(1, 2)), draw(st.lists(small, min_size=2, max_size=3))
    meeting = draw(st.sampled_from([layers.Add, layers.Concatenate, layers.Multiply, layers.Maximum, layers.Average]))

    def step(x: Any, rank: int) -> Any:
        ways = [kind("Conv#", rank)(2, k, stride, padding="same", **positive)(x) for k in kernels]
        return meeting()([*ways, x] if stride == 1 and x.shape[-1] == 2 else ways)

    return step


graphs = st.lists(st.one_of(slides(), grows(), branches()), min_size=1, max_size=4)


@pytest.mark.parametrize("size", [(72,), (48, 30)], ids=["1-D", "2-D"])
@settings(max_examples=30, deadline=None, derandomize=True)
@given(steps=graphs)
def test_interval_is_what_the_output_sees(size: tuple[int, ...], steps: list[Step]) -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        entry = x = keras.Input((*size, 2))
        for step in steps:
            assume(min(x.shape[1:-1]) > 10)
            x = step(x, len(size))
        model = keras.Model(entry, x)
        field = receptive_field(model)
        images = np.ones((1, *size, 2))
        before = np.asarray(model(images))
        for axis, length in enumerate(size):
            # Image i has its row i changed; a place has changed where it sees that row.
            changed = np.repeat(images, length, 0)
            np.moveaxis(changed, axis + 1, 1)[range(length), range(length)] = 1e6
            moved = np.asarray(model(changed)) - before > 1e-9 * before
            sees = np.moveaxis(moved, axis + 1, 1).reshape(length, x.shape[axis + 1], -1).any(-1)
            for place in range(x.shape[axis + 1]):
                position = [place if other == axis else 0 for other in range(len(size))]
                first, last = field.interval(position)[axis]
                rows = np.flatnonzero(sees[:, place])
                if first >= 0 and last < length:
                    assert (rows[0], rows[-1]) == (first, last), f"axis {axis}, place {place}"
                # Beyond the edge there are zeros, so that dilation or a stride can end the field before the edge.
                assert len(rows) == 0 or (max(first, 0) <= rows[0] and rows[-1] <= min(last, length - 1))
                assert last - first < field.size[axis]
    finally:
        keras.config.set_dtype_policy(policy)


def test_upsampling_by_hand() -> None:
    # Nearest, by 2: pairs see the same sample. A kernel of 3 on that sees 2 samples, of which either may be its own.
    field = receptive_field(simple(layers.UpSampling1D(2), layers.Conv1D(1, 3)))
    assert (field.size, field.stride, field.padding) == ((2,), (Fraction(1, 2),), (0,))
    assert [field.interval(place) for place in range(4)] == [((0, 1),), ((0, 1),), ((1, 2),), ((1, 2),)]
    assert [field.centre(place) for place in range(3)] == [(0.5,), (0.5,), (1.5,)]
    assert str(field) == f"{field.layer}: field 2, stride 1/2, padding 0"
    # Bilinear, by 3: the middle one of three lies on a pixel and sees only this.
    field = receptive_field(simple(layers.UpSampling2D(3, interpolation="bilinear"), size=(8, 8)))
    assert [field.interval(place)[0] for place in range(4)] == [(-1, 0), (0, 0), (0, 1), (0, 1)]


def test_our_own_layers_padding_and_cropping_by_hand() -> None:
    stack = [layers.ZeroPadding2D(((3, 0), (1, 2))), EverySecond(), LocalResponseNormalization(1), Subsampling()]
    field = receptive_field(simple(*stack, layers.Cropping2D(((1, 0), (2, 0))), size=(21, 17)))
    # EverySecond sees 1 pixel, Subsampling 2 of those, 3 pixels; cropping moves on by 1 and 2 of its steps of 4.
    assert (field.size, field.stride, field.padding) == ((3, 3), (4, 4), (-1, -7))
    assert field.interval((1, 0)) == ((5, 7), (7, 9)) and field.centre((1, 0)) == (6, 8)


def test_same_depends_on_the_size_only_sometimes() -> None:
    # TensorFlow: with stride 2 and a kernel of 3, an even size has its one zero behind, an odd one a zero on each side.
    wide = layers.Conv1D(1, 3, 2, padding="same", name="wide")
    assert [receptive_field(simple(wide, size=(size,))).padding for size in (32, 33)] == [(0,), (1,)]
    for layer in (layers.Conv1D(1, 2, 2, padding="same"), layers.Conv1D(1, 5, padding="same")):
        assert receptive_field(simple(layer, size=(None,))).size == layer.kernel_size
    with pytest.raises(ValueError, match=r"'wide' .*its zeros depend on the size of the input.*fixed input size"):
        receptive_field(simple(layers.Conv1D(1, 3, 2, padding="same", name="wide"), size=(None,)))
    inner = simple(layers.Conv1D(1, 3, 2, padding="same", name="wide"), size=(None,))
    assert receptive_field(simple(inner, size=(33,)), "wide").padding == (1,)


def test_branches_that_are_not_aligned() -> None:
    entry = keras.Input((32, 2))
    first, second = (layers.Conv1D(2, kernel, padding="same")(entry) for kernel in (2, 3))
    field = receptive_field(keras.Model(entry, first + second))
    # A kernel of 2 looks at 0 and 1, one of 3 at -1 to 1.
    assert (field.interval(5), field.aligned) == (((4, 6),), False)
    assert str(field).endswith("stride 1, padding 1, branches not aligned")
    drifting = layers.Concatenate(name="join")([layers.MaxPooling1D(2)(entry), layers.Conv1D(2, 17)(entry)])
    with pytest.raises(ValueError, match=r"'join' .*effective strides 2, 1: their fields drift apart"):
        receptive_field(keras.Model(entry, drifting))


def test_nested_and_shared_layers() -> None:
    twice = layers.Conv1D(2, 3, name="twice")
    inner = simple(layers.Conv1D(2, 5, name="within"), size=(None,))
    inner.name = "inner"
    model = simple(twice, inner, layers.Conv1D(2, 1, name="last"))
    assert [receptive_field(model, name).size for name in ("within", "inner", "last")] == [(7,), (7,), (7,)]
    assert receptive_field(model, twice).size == (3,)
    entry = keras.Input((32, 2))
    shared = keras.Model(entry, layers.Dense(1, name="end")(twice(twice(entry))))
    assert receptive_field(shared, "end").size == (5,)
    with pytest.raises(ValueError, match="'twice' is used at 2 places of the model"):
        receptive_field(shared, "twice")


def test_several_inputs_and_outputs() -> None:
    left, right = keras.Input((32, 2), name="left"), keras.Input((32, 2), name="right")
    near = layers.Conv1D(2, 3, padding="same", name="near")(left)
    far = layers.Conv1D(2, 7, padding="same", name="far")(right)
    model = keras.Model([left, right], [near, layers.Add(name="sum")([near, far])])
    assert [receptive_field(model, "sum", name).size for name in ("left", "right")] == [(3,), (7,)]
    for call, message in {
        (("sum", None)): "the model has the inputs 'left', 'right'; say which one: input='left'",
        (("sum", "top")): "input='top' is no input of the model; it has 'left', 'right'",
        (("near", "right")): "no path leads from the input 'right' to the output 'near'",
        ((None, "left")): "the model has several outputs; say which layer: output= one of 'near', 'sum'",
    }.items():
        with pytest.raises(ValueError, match=message):
            receptive_field(model, *call)


def test_layers_without_a_field_are_named() -> None:
    with pytest.raises(ValueError, match=r"'flatten' \(Flatten\) mixes or drops the places.*ask for the field of 'S4'"):
        receptive_field(lenet5())
    refused = {
        layers.GlobalAveragePooling2D(name="odd"): "'odd' .*ask for the field of 'before'",
        layers.Reshape((3, 12, 2), name="odd"): "'odd' .*ask for the field of 'before'",
        layers.GroupNormalization(1, name="odd"): "'odd' .*mixes or drops",
        layers.LayerNormalization(axis=[1, 2, 3], name="odd"): "'odd' .*axis=.* mixes places",
        layers.UpSampling2D(2, interpolation="bicubic", name="odd"): "'odd' .*interpolation='bicubic' is not known",
        layers.Conv2DTranspose(1, 2, 3, name="odd"): "'odd' .*kernel of 2 and stride 3 some places see nothing",
        layers.MaxPooling2D(2, data_format="channels_first", name="odd"): "'odd' .*known for 'channels_last'",
    }
    for layer, message in refused.items():
        with pytest.raises(ValueError, match=message):
            receptive_field(simple(layers.Conv2D(2, 1, name="before"), layer, size=(6, 6)))
    with pytest.raises(TypeError, match=r"'odd' \(Lambda\) sees is not known; write it with layers.*'before'"):
        receptive_field(
            simple(layers.Conv1D(2, 1, name="before"), layers.Lambda(lambda x: x, name="odd"), layers.ReLU())
        )


def test_one_map_spread_over_another_is_refused() -> None:
    entry = keras.Input((8, 8, 2))
    gate = layers.Conv2D(2, 8, name="gate")(entry)
    with pytest.raises(ValueError, match=r"'gated' .*spreads one map over another, of shapes \(None, 8, 8, 2\)"):
        receptive_field(keras.Model(entry, layers.Multiply(name="gated")([entry, gate])))


def test_wrong_names_and_inputs() -> None:
    with pytest.raises(ValueError, match=r"output='S5' is no layer of the model; names near it: .*'S4'"):
        receptive_field(lenet5(), "S5")
    with pytest.raises(ValueError, match="output='stranger' is a layer that the model does not use"):
        receptive_field(lenet5(), layers.Conv2D(1, 1, name="stranger"))
    with pytest.raises(ValueError, match=r"has the shape \(None, 7\); a receptive field needs \(batch"):
        receptive_field(keras.Sequential([keras.Input((7,)), layers.Dense(2)]))
    with pytest.raises(ValueError, match="'late' is not built"):
        receptive_field(keras.Sequential([layers.Dense(3, name="late")]))


def test_stride_of_zero_is_refused() -> None:
    model = simple(layers.Conv1D(1, 3, name="still"))
    model.get_layer("still").strides = (0,)  # Keras checks only when the layer is made
    with pytest.raises(ValueError, match=r"'still' \(Conv1D\): strides \(0,\) must be 1 or more"):
        receptive_field(model)


def test_positions_are_checked() -> None:
    field = receptive_field(lenet5(), "S4")
    assert field.map_size == (5, 5) and field.interval(4) == field.interval((4, 4)) == ((14, 29), (14, 29))
    with pytest.raises(IndexError, match=r"position \(5, 0\) lies outside the map of 'S4', 5 × 5"):
        field.interval((5, 0))
    with pytest.raises(ValueError, match=r"position \(1, 2, 3\) must have 2 indices"):
        field.centre((1, 2, 3))


def test_table_has_a_row_for_each_layer_with_a_field() -> None:
    lines = receptive_field_table(lenet5()).splitlines()
    assert [line.split()[0] for line in lines] == ["layer", "C1", "S2", "C3", "S4"]
    assert lines[3].split() == ["C3", "10", "×", "10", "14", "×", "14", "2", "×", "2", "2", "×", "2"]
    assert len({len(line) for line in lines}) == 1, "columns stand below one another"
