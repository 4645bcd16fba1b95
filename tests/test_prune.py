"""Pruning: masks by size, masks held through training, what is counted, schedules, and filters really removed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray
from scipy import sparse

from course_lib.analysis.cost import layer_costs
from course_lib.compression.prune import (
    Sparsity,
    csr_bytes,
    cubic_shares,
    filter_masks,
    iterative_shares,
    kernels,
    magnitude_masks,
    masks_of,
    prune,
    remove_filters,
    sparsity,
)
from course_lib.datasets.sources import Examples
from course_lib.models.lenet import lenet5
from course_lib.training.loop import fit


def small(seed: int = 0) -> keras.Sequential:
    """Two kernels, (4, 6) and (6, 3), with batch normalisation between them."""
    keras.utils.set_random_seed(seed)
    chain = [layers.Dense(6, name="first"), layers.BatchNormalization(), layers.ReLU(), layers.Dense(3, name="head")]
    return keras.Sequential([keras.Input((4,)), *chain], name="small")


def digits_like(seed: int = 0) -> keras.Sequential:
    """Convolutions with batch normalisation before and after the activation, pooling, dense layers."""
    keras.utils.set_random_seed(seed)
    chain = [
        layers.Rescaling(2.0, offset=-1.0),
        layers.Conv2D(5, 3, use_bias=False, name="conv1"),
        layers.BatchNormalization(name="norm1"),
        layers.ReLU(name="relu1"),
        layers.MaxPooling2D(2),
        layers.Conv2D(7, 3, padding="same", activation="relu", name="conv2"),
        layers.BatchNormalization(name="norm2"),
        layers.AveragePooling2D(2),
        layers.Flatten(name="flatten"),
        layers.BatchNormalization(name="norm3"),
        layers.Dense(8, activation="tanh", name="dense"),
        layers.Dropout(0.3),
        layers.Dense(4, name="head"),
    ]
    network = keras.Sequential([keras.Input((14, 14, 2)), *chain], name="digits_like")
    draw = np.random.default_rng(seed)
    # Biases, and what batch normalisation has, are 0 or 1 at first, where a mistake would not show.
    network.set_weights([w if w.ndim > 1 else draw.uniform(0.2, 1.5, size=w.shape) for w in network.get_weights()])
    return network


def examples(count: int = 64) -> Examples:
    draw = np.random.default_rng(1)
    inputs = draw.normal(size=(count, 4)).astype("float32")
    return Examples(inputs, (inputs[:, 0] > inputs[:, 1]).astype("int32") + (inputs[:, 2] > 0.5))


def value(variable: keras.Variable) -> NDArray:
    return np.array(keras.ops.convert_to_numpy(variable.value))


def values(network: keras.Model) -> dict[str, NDArray]:
    return {name: value(kernel) for name, kernel in kernels(network).items()}


def answers(network: keras.Model, inputs: NDArray) -> NDArray:
    return keras.ops.convert_to_numpy(network(inputs, training=False))


def assert_held(network: keras.Model, masks: dict[str, NDArray]) -> None:
    """Exactly zero where a mask is False, and nowhere else."""
    for name, kernel in values(network).items():
        np.testing.assert_array_equal(kernel != 0, masks[name])


def test_masks_remove_the_smallest_of_all_or_of_each_layer() -> None:
    network = keras.Sequential([keras.Input((2,)), layers.Dense(3, name="a"), layers.Dense(2, name="b")])
    network.get_layer("a").set_weights([np.array([[0.1, -5, 4], [-0.3, 0.5, -6]]), np.zeros(3)])
    network.get_layer("b").set_weights([np.array([[-0.2, 0.4], [0.6, 7], [-8, 9]]), np.zeros(2)])
    whole = magnitude_masks(network, 0.5)  # 0.1 to 0.6 of twelve
    np.testing.assert_array_equal(whole["a"], [[False, True, True], [False, False, True]])
    np.testing.assert_array_equal(whole["b"], [[False, False], [False, True], [True, True]])
    by_layer = magnitude_masks(network, {"a": 2 / 3})
    np.testing.assert_array_equal(by_layer["a"], [[False, True, False], [False, False, True]])
    assert by_layer["b"].all()
    assert all(mask.all() for mask in magnitude_masks(network, 0).values())


@pytest.mark.parametrize("share", [0.1, 0.29, 0.5, 0.9, 0.999])
def test_the_masks_are_those_of_a_threshold_at_the_quantile(share: float) -> None:
    keras.utils.set_random_seed(0)
    network = lenet5()
    sizes = np.concatenate([np.abs(kernel).ravel() for kernel in values(network).values()])
    count = round(share * sizes.size)
    threshold = np.partition(sizes, count)[count]
    masks = magnitude_masks(network, share)
    for name, kernel in values(network).items():
        np.testing.assert_array_equal(masks[name], np.abs(kernel) >= threshold)
    assert sum(np.count_nonzero(~mask) for mask in masks.values()) == count


def test_of_equal_weights_as_many_go_as_were_asked_for() -> None:
    network = small()
    for layer in (network.get_layer("first"), network.get_layer("head")):
        layer.kernel.assign(np.ones(layer.kernel.shape))
    masks = magnitude_masks(network, 0.5)
    assert sum(np.count_nonzero(~mask) for mask in masks.values()) == 21  # of 24 + 18


def test_the_counts_of_han_and_others_for_the_lenet5_of_caffe() -> None:
    """Han, Pool, Tran and Dally, NIPS 2015: 431 thousand weights, 8 percent left (table 4), 12 × (table 1)."""
    options = {"bias_initializer": "ones"}
    chain = [
        layers.Conv2D(20, 5, name="conv1", **options), layers.MaxPooling2D(2),
        layers.Conv2D(50, 5, name="conv2", **options), layers.MaxPooling2D(2), layers.Flatten(),
        layers.Dense(500, name="fc1", **options), layers.Dense(10, name="fc2", **options),
    ]  # fmt: skip
    network = keras.Sequential([keras.Input((28, 28, 1)), *chain])
    masks = magnitude_masks(network, {"conv1": 0.34, "conv2": 0.88, "fc1": 0.92, "fc2": 0.81})
    assert round(100 * np.concatenate([mask.ravel() for mask in masks.values()]).mean()) == 8
    prune(network, masks)
    found = sparsity(network)
    assert (found.parameters, found.kept) == (431_080, 330 + 3_000 + 32_000 + 950 + 580)
    assert round(found.factor) == 12
    assert sparsity(network.get_layer("fc1")) == Sparsity(400_500, 32_500)


def test_sparsity_counts_zeros_of_every_weight() -> None:
    network = small()  # biases, offsets and moving means are 0 to begin with, scales and variances 1
    assert sparsity(network) == Sparsity(4 * 6 + 6 + 4 * 6 + 6 * 3 + 3, 24 + 12 + 18)
    assert sparsity(network).parameters == network.count_params()
    head = network.get_layer("head")
    head.kernel.assign(np.zeros((6, 3)))
    assert (sparsity(head).share, sparsity(head).factor) == (1, float("inf"))
    with pytest.raises(ValueError, match=r"re_lu.* has no weights to count"):
        sparsity(network.layers[2])


def optimizers() -> dict[str, keras.optimizers.Optimizer]:
    return {
        "Adam": keras.optimizers.Adam(0.02),
        "AdamW": keras.optimizers.AdamW(0.02, weight_decay=0.1),
        "momentum": keras.optimizers.SGD(0.02, momentum=0.9, nesterov=True),
    }


@pytest.mark.parametrize("kind", optimizers())
def test_masks_hold_bit_for_bit_under_momentum_from_before(kind: str) -> None:
    network, optimizer = small(), optimizers()[kind]
    fit(network, examples(), epochs=3, batch_size=16, optimizer=optimizer)
    masks = magnitude_masks(network, 0.6)
    moments = [value(variable) for variable in optimizer.variables if tuple(variable.shape) == (4, 6)]
    assert moments
    assert all((moment[~masks["first"]] != 0).any() for moment in moments)  # so there is something to hold against
    prune(network, masks)
    before = values(network)
    assert_held(network, masks)
    fit(network, examples(), epochs=5, batch_size=16, optimizer=optimizer)
    assert_held(network, masks)
    for name, kernel in values(network).items():
        assert (kernel != before[name])[masks[name]].all()  # all others are trained
    prune(network, {})
    fit(network, examples(), epochs=1, batch_size=16, optimizer=optimizer)
    assert all((kernel != 0).all() for kernel in values(network).values())  # without the masks they move


def test_a_step_moves_what_is_left_as_if_nothing_were_held() -> None:
    held, free = small(), small()
    masks = magnitude_masks(held, 0.5)
    for network in (held, free):
        prune(network, masks)
    prune(free, {})
    for network in (held, free):
        fit(network, examples(), epochs=1, batch_size=64, optimizer=keras.optimizers.SGD(0.1))
    for name, kernel in values(free).items():
        assert (kernel[~masks[name]] != 0).any()
        np.testing.assert_array_equal(values(held)[name], np.where(masks[name], kernel, 0))


def test_a_model_that_is_compiled_already_keeps_new_masks() -> None:
    network, data = small(), examples()
    network.compile(keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(data.inputs, data.labels, epochs=1, verbose=0)
    for share in (0.3, 0.7):
        masks = magnitude_masks(network, share)
        prune(network, masks)
        network.fit(data.inputs, data.labels, epochs=2, verbose=0)
        assert_held(network, masks)


def test_masks_survive_saving_and_loading(tmp_path: Path) -> None:
    network = small()
    masks = magnitude_masks(network, 0.7)
    prune(network, masks)
    fit(network, examples(), epochs=2, batch_size=16)
    network.save(tmp_path / "pruned.keras")
    network.save_weights(tmp_path / "pruned.weights.h5")
    whole, weights = keras.saving.load_model(tmp_path / "pruned.keras"), small(seed=1)
    weights.load_weights(tmp_path / "pruned.weights.h5")
    for loaded in (whole, weights):
        assert sparsity(loaded) == sparsity(network)
        prune(loaded, masks_of(loaded))
        fit(loaded, examples(), epochs=2, batch_size=16)
        assert_held(loaded, masks)


def test_rounds_with_rewinding_remove_more_and_give_nothing_back() -> None:
    network = small()
    early, gone = network.get_weights(), {name: np.ones(kernel.shape, bool) for name, kernel in values(network).items()}
    for share in iterative_shares(0.8, 3):
        fit(network, examples(), epochs=2, batch_size=16, learning_rate=0.02)
        masks = magnitude_masks(network, share)
        assert all((mask <= gone[name]).all() for name, mask in masks.items())
        network.set_weights(early)
        prune(network, masks)
        for name, kernel in values(network).items():
            start = early[0] if name == "first" else early[-2]
            np.testing.assert_array_equal(kernel, np.where(masks[name], start, 0))
        gone = masks
    assert sum(np.count_nonzero(kernel) for kernel in values(network).values()) == 42 - round(0.8 * 42)


def test_gradual_shares_are_the_cubic_of_zhu_and_gupta() -> None:
    assert cubic_shares(0.8, 1) == [0.8]
    assert cubic_shares(0.8, 2) == pytest.approx([0.7, 0.8])  # 7/8 of the way at half time
    assert cubic_shares(0.8, 2, initial=0.4) == pytest.approx([0.75, 0.8])
    assert cubic_shares(0.5, 4) == pytest.approx([37 / 128, 56 / 128, 63 / 128, 64 / 128])


def test_iterative_shares_remove_the_same_part_of_what_is_left() -> None:
    assert iterative_shares(0.9, 1) == pytest.approx([0.9])
    # A fifth a round, as Frankle and Carbin prune dense layers: 80, 64, 51.2 percent are left.
    assert iterative_shares(0.488, 3) == pytest.approx([0.2, 0.36, 0.488])


@pytest.mark.parametrize("shares", [cubic_shares, iterative_shares])
def test_schedules_that_cannot_be_are_refused(shares: Callable[[float, int], list[float]]) -> None:
    for final in (1.0, -0.1):
        with pytest.raises(ValueError, match=rf"final is {final}: it must be at least 0"):
            shares(final, 3)
    with pytest.raises(ValueError, match="rounds is 0: there must be at least 1"):
        shares(0.5, 0)
    for initial in (0.6, -0.1):
        with pytest.raises(ValueError, match=rf"initial is {initial}: .* at most final, 0\.5"):
            cubic_shares(0.5, 3, initial=initial)


@pytest.mark.parametrize("shape", [(3, 3, 4, 5), (40, 30)])
def test_the_bytes_of_csr_are_those_of_its_three_arrays(shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    kernel = draw.normal(size=shape).astype("float32") * (draw.uniform(size=shape) < 0.1)
    kept, rows = np.count_nonzero(kernel), shape[-1]
    assert csr_bytes(kernel) == (8 * kept + 4 * (rows + 1), 4 * kernel.size)
    other = sparse.csr_matrix(np.moveaxis(kernel, -1, 0).reshape(rows, -1))
    assert csr_bytes(kernel)[0] == sum(part.nbytes for part in (other.data, other.indices, other.indptr))
    with pytest.raises(ValueError, match=r"at least two dimensions, not the shape \(3,\)"):
        csr_bytes(np.ones(3))


def test_masks_that_cannot_be_are_refused_with_nothing_changed() -> None:
    network = small()
    before = values(network)
    good = magnitude_masks(network, 0.5)
    with pytest.raises(ValueError, match=r"the mask of head has shape \(3, 6\), its kernel \(6, 3\)"):
        prune(network, {**good, "head": np.ones((3, 6))})
    for call in (prune, magnitude_masks, filter_masks, remove_filters):
        with pytest.raises(ValueError, match="nobody is no layer of small with a kernel; those are first, head"):
            call(network, {"nobody": 0.5})
    for name, kernel in values(network).items():
        np.testing.assert_array_equal(kernel, before[name])
        assert kernels(network)[name].constraint is None
    own = keras.Sequential([keras.Input((4,)), layers.Dense(2, kernel_constraint="non_neg", name="own")])
    with pytest.raises(ValueError, match="the constraint of own"):
        prune(own, {})


@pytest.mark.parametrize("share", [1.0, 1.5, -0.1])
def test_shares_that_cannot_be_are_refused(share: float) -> None:
    network = small()
    with pytest.raises(ValueError, match=rf"the share of small is {share}: it must be .* below 1"):
        magnitude_masks(network, share)
    for call in (magnitude_masks, filter_masks):
        with pytest.raises(ValueError, match=rf"the share of first is {share}:"):
            call(network, {"first": share})


def test_models_without_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="later has no weights yet"):
        kernels(keras.Sequential([layers.Dense(2)], name="later"))
    with pytest.raises(ValueError, match="no layer with a kernel"):
        kernels(keras.Sequential([keras.Input((4,)), layers.BatchNormalization()]))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="inner")
    with pytest.raises(ValueError, match="holds the model inner"):
        kernels(keras.Sequential([keras.Input((4,)), inner, layers.Dense(2)]))


def test_the_filters_of_smallest_l1_norm_go() -> None:
    network = keras.Sequential([keras.Input((5, 5, 2)), layers.Conv2D(4, 2, name="conv")])
    kernel = np.zeros((2, 2, 2, 4))
    kernel[0, 0, 0] = [3, 0, -2, 1.5]
    kernel[1, 1, 1] = [0, -1, -2, 1.5]  # sums 3, 1, 4, 3: the largest weight is not in the largest filter
    network.get_layer("conv").set_weights([kernel, np.array([0, 99, 0, 0])])
    np.testing.assert_array_equal(filter_masks(network, {"conv": 0.25})["conv"], [True, False, True, True])
    np.testing.assert_array_equal(filter_masks(network, {"conv": 0.75})["conv"], [False, False, True, False])


KEEP = {
    "conv1": np.array([True, False, True, True, False]),
    "conv2": np.array([False, True, True, False, True, True, False]),
    "dense": np.array([True, True, False, True, False, False, True, True]),
}


@pytest.mark.parametrize("names", [["conv1"], ["conv2"], ["dense"], ["conv1", "conv2", "dense"]])
def test_a_smaller_model_answers_as_one_whose_maps_are_zero(names: list[str]) -> None:
    network, keep = digits_like(), {name: KEEP[name] for name in names}
    before = network.get_weights()
    inputs = np.random.default_rng(3).uniform(size=(6, 14, 14, 2)).astype("float32")
    smaller = remove_filters(network, keep)
    last = {"conv1": "norm1", "conv2": "norm3", "dense": "dense"}  # where the maps are last scaled and shifted
    zero_after = {last[name]: keep[name].astype("float32") for name in names}
    maps = inputs
    for layer in network.layers:
        maps = keras.ops.convert_to_numpy(layer(maps))
        if layer.name in zero_after:
            mask = zero_after[layer.name]
            maps = (maps.reshape(-1, mask.size) * mask).reshape(maps.shape)
    expected = maps
    np.testing.assert_allclose(answers(smaller, inputs), expected, rtol=1e-4, atol=1e-4)
    assert np.abs(answers(network, inputs) - expected).max() > 0.05
    for name in names:
        assert smaller.get_layer(name).kernel.shape[-1] == np.count_nonzero(keep[name])
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_removed_filters_of_lenet_are_filters_set_to_zero(pooling: str) -> None:
    keras.utils.set_random_seed(0)
    network = lenet5(pooling=pooling)
    keep = filter_masks(network, {"C1": 0.5, "C3": 0.25, "C5": 0.5, "F6": 0.5})
    smaller = remove_filters(network, keep)
    # 3 filters, 12, 60 and 42 are left
    assert smaller.count_params() == 26 * 3 + (25 * 3 + 1) * 12 + (25 * 12 + 1) * 60 + 61 * 42 + 43 * 10
    for name, mask in keep.items():
        network.get_layer(name).set_weights([weight * mask for weight in network.get_layer(name).get_weights()])
    inputs = np.random.default_rng(0).uniform(size=(5, 28, 28, 1)).astype("float32")
    np.testing.assert_allclose(answers(smaller, inputs), answers(network, inputs), rtol=1e-4, atol=1e-5)
    history = fit(smaller, Examples(inputs, np.arange(5, dtype="int32")), epochs=1, batch_size=5)
    assert np.isfinite(history.last("loss"))


def test_the_counts_of_li_and_others_for_vgg16() -> None:
    """Li et al., ICLR 2017, table 1: VGG-16-pruned-A, half the filters of convolutions 1 and 8 to 13 removed."""
    chain: list[keras.Layer] = []
    zeros, number = {"kernel_initializer": "zeros", "use_bias": False}, 0  # to draw 15 million weights takes seconds
    for maps, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            number += 1
            chain += [layers.Conv2D(maps, 3, padding="same", name=f"conv{number}", **zeros)]
            chain += [layers.BatchNormalization(), layers.ReLU()]
        chain.append(layers.MaxPooling2D(2))
    chain += [layers.Flatten(), layers.Dense(512, kernel_initializer="zeros"), layers.Dense(10)]
    network = keras.Sequential([keras.Input((32, 32, 3)), *chain])
    keep = filter_masks(network, {f"conv{number}": 0.5 for number in (1, *range(8, 14))})
    counts = []
    for model in (network, remove_filters(network, keep)):
        costs = layer_costs(model)
        counts.append((sum(cost.macs for cost in costs), sum(cost.parameters for cost in costs)))
    assert [f"{macs:.2e} {parameters:.1e}" for macs, parameters in counts] == ["3.13e+08 1.5e+07", "2.06e+08 5.4e+06"]
    assert 100 * (1 - counts[1][0] / counts[0][0]) == pytest.approx(34.2, abs=0.05)
    assert 100 * (1 - counts[1][1] / counts[0][1]) == pytest.approx(64.0, abs=0.1)


def test_filters_that_cannot_be_removed_are_refused() -> None:
    network = digits_like()
    with pytest.raises(ValueError, match=r"the mask of conv1 has shape \(4,\); it must be \(5,\)"):
        remove_filters(network, {"conv1": np.ones(4)})
    with pytest.raises(ValueError, match="the mask of conv2 leaves no filter"):
        remove_filters(network, {"conv2": np.zeros(7)})
    with pytest.raises(ValueError, match="outputs of the last layer are the answers"):
        remove_filters(network, {"head": [True, False, True, True]})
    inputs = keras.Input((4,))
    branch = keras.Model(inputs, layers.Add()([layers.Dense(2)(inputs), layers.Dense(2)(inputs)]), name="branch")
    with pytest.raises(ValueError, match="branch is no plain chain"):
        remove_filters(branch, {})


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.LayerNormalization(name="mixes"), r"mixes \(LayerNormalization\) may mix maps"),
        (layers.Conv2D(4, 1, groups=2, name="grouped"), r"grouped \(Conv2D\) may mix maps"),
    ],
)
def test_layers_that_may_mix_maps_must_see_all_of_them(layer: keras.Layer, message: str) -> None:
    chain = [layers.Conv2D(4, 3, name="conv"), layer, layers.Flatten(), layers.Dense(6, name="dense"), layers.Dense(2)]
    network = keras.Sequential([keras.Input((5, 5, 1)), *chain])
    with pytest.raises(ValueError, match=message):
        remove_filters(network, {"conv": [True, True, False, True]})
    inputs = np.random.default_rng(0).normal(size=(3, 5, 5, 1)).astype("float32")
    np.testing.assert_allclose(answers(remove_filters(network, {}), inputs), answers(network, inputs), rtol=1e-5)
    assert remove_filters(network, {"dense": [True] * 3 + [False] * 3}).get_layer("dense").units == 3


def test_filters_of_other_layers_are_refused() -> None:
    network = keras.Sequential(
        [keras.Input((5, 5, 2)), layers.Conv2D(4, 1, groups=2, name="grouped"), layers.Conv2D(2, 1)]
    )
    with pytest.raises(ValueError, match="grouped must be a Conv2D of one group or a Dense"):
        remove_filters(network, {"grouped": [True, True, False, True]})
