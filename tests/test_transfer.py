"""Transfer: split, freezing, transplanting, rates by layer, the pull to old weights and the Fisher information."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from course_lib.analysis.gradients import weight_gradients
from course_lib.datasets.photos import CIFAR10, SAMPLE
from course_lib.datasets.sources import Examples, ImageData, Images
from course_lib.models import weights
from course_lib.training.loop import fit
from course_lib.training.transfer import (
    DiscriminativeAdam,
    fisher_information,
    freeze,
    learned_layers,
    load_source,
    pull_to_old,
    rate_shares,
    transfer_network,
    transplant,
    trunk_variables,
    two_tasks,
)


def small(seed: int = 0, *, classes: int = 3) -> keras.Sequential:
    """Three learned layers, 4 → 5 → 6 → classes: the first two without bias and with batch normalisation."""
    keras.utils.set_random_seed(seed)
    network = keras.Sequential([keras.Input((4,))], name="small")
    for units in (5, 6):
        network.add(layers.Dense(units, use_bias=False))
        network.add(layers.BatchNormalization(momentum=0.5))
        network.add(layers.ReLU())
    network.add(layers.Dense(classes, name="head"))
    return network


def examples(count: int = 32, *, seed: int = 1) -> Examples:
    """Inputs whose mean is 2 and not 0, so that batch normalisation has something to learn."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(2, 3, size=(count, 4)).astype("float32")
    return Examples(inputs, (inputs[:, 0] > inputs[:, 1]).astype("int32") + (inputs[:, 2] > 3))


def values(network: keras.Model) -> list[list[NDArray]]:
    """Return the values of all weights, moving statistics among them, by learned layer."""
    return [[weight for layer in group for weight in layer.get_weights()] for group in learned_layers(network)]


def trainable(network: keras.Model) -> list[list[keras.Variable]]:
    """Return all variables that the network trains, by learned layer."""
    return [[each for layer in group for each in layer.trainable_variables] for group in learned_layers(network)]


def regression(classes: int) -> keras.Sequential:
    """Softmax regression of three inputs, and behind it a head that changes nothing, since the head is left out."""
    network = keras.Sequential([keras.Input((3,)), layers.Dense(classes), layers.Dense(classes, use_bias=False)])
    network.layers[1].set_weights([np.eye(classes)])
    return network


def photos(classes: tuple[str, ...]) -> ImageData:
    """Three parts in which each image has the value that its number and label give, labels in no order."""

    def part(count: int, first: int) -> Images:
        labels = np.random.default_rng(first).permutation(np.arange(count) % len(classes)).astype("int32")
        return Images((first + np.arange(count)).reshape(-1, 1, 1, 1).astype("float32"), labels)

    return ImageData(part(40, 0), part(20, 100), part(30, 200), classes, "numbers")


def test_the_tasks_share_no_class_and_lose_no_image() -> None:
    both = photos(CIFAR10.classes)
    source, target = two_tasks(both)
    assert source.classes == ("airplane", "bird", "deer", "frog", "ship")
    assert target.classes == ("automobile", "cat", "dog", "horse", "truck")
    for name in ("train", "validation", "test"):
        part, found = getattr(both, name), {}
        for task in (source, target):
            chosen: Images = getattr(task, name)
            assert chosen.labels.dtype == np.int32
            for number, label in zip(chosen.images.ravel(), chosen.labels, strict=True):
                found[number] = task.classes[label]
            assert (np.diff(chosen.images.ravel()) > 0).all()  # still in the old order
        assert len(found) == len(part)
        assert [found[number] for number in part.images.ravel()] == [CIFAR10.classes[label] for label in part.labels]


def test_the_network_has_the_parameters_that_the_sums_by_hand_give() -> None:
    network = transfer_network()
    # 28 pixels after the crop, and 14, 7, 3 after the poolings: 3 · 3 · 32 inputs to the first dense layer
    kernels = [25 * 3 * 16, 9 * 16 * 32, 9 * 32 * 48, 9 * 48 * 48, 9 * 48 * 32, 288 * 128, 128 * 64, 64 * 5]
    maps = [16, 32, 48, 48, 32, 128, 64]
    assert [int(np.prod(group[0].kernel.shape)) for group in learned_layers(network)] == kernels
    assert network.count_params() == sum(kernels) + 4 * sum(maps) + 5 == 101_045
    with pytest.raises(ValueError, match="side=9"):
        transfer_network(side=9)


def test_learned_layers_hold_their_batch_normalisation() -> None:
    network = transfer_network(7, side=10)
    kinds = [[type(layer).__name__ for layer in group] for group in learned_layers(network)]
    convolution, norm = ["Conv2D", "BatchNormalization", "ReLU"], ["Dense", "BatchNormalization", "ReLU"]
    pooled = [*convolution, "MaxPooling2D"]
    assert kinds == [pooled, pooled, convolution, convolution, [*pooled, "Flatten"], norm, norm, ["Dense"]]
    assert network.output_shape == (None, 7)


def test_networks_whose_layers_have_no_order_are_refused() -> None:
    nested = keras.Sequential([keras.Input((4,)), keras.Sequential([layers.Dense(2)], name="inner"), layers.Dense(2)])
    with pytest.raises(ValueError, match="holds the network inner"):
        learned_layers(nested)
    early = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(name="first"), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"first of .* stands before the first learned layer"):
        learned_layers(early)
    with pytest.raises(ValueError, match="later has no weights yet"):
        learned_layers(keras.Sequential([layers.Dense(2)], name="later"))


def test_a_kernel_in_two_parts_is_one_learned_layer() -> None:
    parts = [layers.SeparableConv2D(2, 3), layers.Flatten(), layers.Dense(2)]
    assert [len(group) for group in learned_layers(keras.Sequential([keras.Input((3, 3, 1)), *parts]))] == [2, 1]


def test_freeze_counts_what_is_left_and_thaws_the_rest() -> None:
    network = small()
    # kernel, scale and offset; the head has a bias; moving statistics count nowhere
    left = [4 * 5 + 10 + 5 * 6 + 12 + 6 * 3 + 3, 5 * 6 + 12 + 6 * 3 + 3, 6 * 3 + 3, 0]
    assert [freeze(network, depth) for depth in range(4)] == left
    assert freeze(network, 1) == left[1]
    for depth in (-1, 4):
        with pytest.raises(ValueError, match=rf"depth={depth}.*3 learned layers"):
            freeze(network, depth)


@pytest.mark.parametrize("depth", [1, 2])
def test_training_moves_no_bit_of_frozen_layers_and_every_weight_of_the_others(depth: int) -> None:
    network = small()
    freeze(network, depth)
    before = values(network)
    fit(network, examples(), epochs=2, batch_size=16, learning_rate=0.01)
    for number, (old, new) in enumerate(zip(before, values(network), strict=True)):
        for was, now in zip(old, new, strict=True):
            assert np.array_equal(was, now) == (number < depth)


def test_frozen_batch_normalisation_ignores_the_batch() -> None:
    network, inputs = small(), examples().inputs

    def scores(*, training: bool) -> NDArray:
        return keras.ops.convert_to_numpy(network(inputs, training=training))

    quiet = scores(training=False)
    freeze(network, 2)
    np.testing.assert_array_equal(scores(training=True), quiet)
    freeze(network, 0)
    assert np.abs(scores(training=True) - quiet).max() > 0.1


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_transplant_copies_the_first_layers_and_leaves_a_fresh_head(depth: int) -> None:
    donor, receiver = small(0), small(1, classes=5)
    for group in learned_layers(donor):  # scales, offsets and statistics begin alike in every network
        for layer in group:
            layer.set_weights([weight + 0.5 for weight in layer.get_weights()])
    theirs, ours = values(donor), values(receiver)
    assert transplant(donor, receiver, depth) is receiver
    for new, expected in zip(values(receiver), theirs[:depth] + ours[depth:], strict=True):
        for is_now, should_be in zip(new, expected, strict=True):
            np.testing.assert_array_equal(is_now, should_be)
    assert receiver.output_shape == (None, 5)
    for kept, still in zip(theirs, values(donor), strict=True):
        for was, now in zip(kept, still, strict=True):
            np.testing.assert_array_equal(was, now)


def test_a_transplant_that_does_not_fit_is_refused() -> None:
    donor, receiver = small(0), small(1, classes=5)
    before = values(receiver)
    with pytest.raises(ValueError, match=r"head of small has weights of shapes \[\(6, 3\), \(3,\)\].*\(6, 5\)"):
        transplant(donor, receiver, 3)
    plain = keras.Sequential([keras.Input((4,)), layers.Dense(5, use_bias=False, name="bare"), layers.Dense(6)])
    with pytest.raises(ValueError, match=r"dense.* of small has .*, bare of .* has \[\(4, 5\)\]"):
        transplant(donor, plain, 1)
    for was, now in zip(before, values(receiver), strict=True):  # nothing is copied by halves
        for old, new in zip(was, now, strict=True):
            np.testing.assert_array_equal(old, new)


def test_a_transplant_passes_over_layers_without_weights() -> None:
    chain = [layers.Dense(5, name="first"), layers.Dropout(0.5), layers.ReLU(), layers.Dense(2)]
    with_dropout = keras.Sequential([keras.Input((4,)), *chain])
    without = keras.Sequential([keras.Input((4,)), layers.Dense(5, name="only"), layers.Dense(3)])
    transplant(with_dropout, without, 1)
    np.testing.assert_array_equal(without.get_layer("only").kernel, with_dropout.get_layer("first").kernel)


def test_a_transplant_deeper_than_a_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"transplant\(depth=4\)"):
        transplant(small(), small(), 4)


def test_source_weights_are_picked_by_seed_and_belong_to_the_classes(tmp_path: Path) -> None:
    source, target = two_tasks(photos(SAMPLE.classes))
    with pytest.raises(ValueError, match=r"no weights source_sample_.*course train source"):
        load_source(source, folder=tmp_path)
    kernels = []
    for seed in (0, 1):
        network = transfer_network()
        weights.save(network, f"source_sample_{seed}", tmp_path, {"classes": list(source.classes)})
        kernels.append(network.get_layer("fc8").get_weights()[0])
    for seed in (0, 1, 2):
        loaded = load_source(source, seed=seed, folder=tmp_path)
        np.testing.assert_array_equal(loaded.get_layer("fc8").get_weights()[0], kernels[seed % 2])
    with pytest.raises(ValueError, match="classes is"):
        load_source(target, folder=tmp_path)
    with pytest.raises(ValueError, match="no weights source_cifar10_"):
        load_source(two_tasks(photos(CIFAR10.classes))[0], folder=tmp_path)


def test_rates_fall_by_the_factor_with_the_distance_from_the_head() -> None:
    network = small()
    shares = rate_shares(network, 2)
    expected = [[1 / 4] * 3, [1 / 2] * 3, [1, 1]]  # kernel, scale and offset, twice; kernel and bias of the head
    assert [[shares[variable.path] for variable in group] for group in trainable(network)] == expected
    assert len(shares) == 8
    freeze(network, 2)
    assert rate_shares(network, 2) == shares  # a layer that thaws later has its share
    assert min(rate_shares(network).values()) == pytest.approx(1 / 6.76)
    assert set(rate_shares(network, 1).values()) == {1}
    with pytest.raises(ValueError, match=r"factor=0\.5"):
        rate_shares(network, 0.5)


def test_adam_with_equal_shares_is_adam_bit_for_bit() -> None:
    draw = np.random.default_rng(0)
    start, gradients = draw.normal(size=(3, 2)).astype("float32"), draw.normal(size=(20, 3, 2)).astype("float32")

    def after(build: type[keras.optimizers.Adam], share: float | None = None) -> NDArray:
        variable = keras.Variable(start)
        optimizer = build(0.01) if share is None else build(0.01, shares={variable.path: share})
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        return keras.ops.convert_to_numpy(variable.value)

    adam = after(keras.optimizers.Adam)
    np.testing.assert_array_equal(after(DiscriminativeAdam), adam)
    np.testing.assert_array_equal(after(DiscriminativeAdam, 1.0), adam)
    np.testing.assert_allclose(after(DiscriminativeAdam, 0.5) - start, (adam - start) / 2, rtol=1e-3, atol=1e-6)


def test_the_first_step_of_training_is_shared_out() -> None:
    def moved(factor: float | None) -> list[list[NDArray]]:
        network = small()
        before = [[keras.ops.convert_to_numpy(variable.value) for variable in group] for group in trainable(network)]
        adam = keras.optimizers.Adam(0.01) if factor is None else DiscriminativeAdam(0.01, rate_shares(network, factor))
        fit(network, examples(), epochs=1, batch_size=32, optimizer=adam)
        return [
            [keras.ops.convert_to_numpy(variable.value) - start for variable, start in zip(group, starts, strict=True)]
            for group, starts in zip(trainable(network), before, strict=True)
        ]

    whole, shared = moved(None), moved(2)
    for share, steps, full_steps in zip((1 / 4, 1 / 2, 1), shared, whole, strict=True):
        for step, full in zip(steps, full_steps, strict=True):
            assert np.abs(full).max() == pytest.approx(0.01, rel=1e-3)  # Adam's first step is the rate
            np.testing.assert_allclose(step, share * full, rtol=1e-4, atol=3e-7)


def test_a_weight_without_a_share_is_refused() -> None:
    network = small()
    shares = rate_shares(network)
    del shares[network.get_layer("head").kernel.path]
    with pytest.raises(ValueError, match=r"has none for .*head/kernel: see rate_shares"):
        DiscriminativeAdam(0.01, shares).build(network.trainable_variables)


def test_shares_are_kept_with_the_optimizer() -> None:
    optimizer = DiscriminativeAdam(0.02, {"small/head/kernel": 0.25}, beta_1=0.8)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is DiscriminativeAdam
    assert (again.shares, again.beta_1) == ({"small/head/kernel": 0.25}, 0.8)


def test_the_trunk_is_all_that_can_learn_but_the_head_frozen_or_not() -> None:
    network, shapes = small(), [(4, 5), (5,), (5,), (5, 6), (6,), (6,)]
    assert [tuple(variable.shape) for variable in trunk_variables(network)] == shapes
    freeze(network, 2)
    assert [tuple(variable.shape) for variable in trunk_variables(network)] == shapes


@pytest.mark.parametrize("weighted", [False, True])
def test_the_pull_and_its_gradient_are_the_formula(weighted: bool) -> None:
    network, draw, strength = small(), np.random.default_rng(0), 0.3
    trunk = trunk_variables(network)
    importance = [
        draw.uniform(0, 4, size=variable.shape) if weighted else np.ones(variable.shape) for variable in trunk
    ]
    pull_to_old(network, strength, importance if weighted else None)
    shifts = [draw.normal(size=variable.shape) for variable in trunk]
    for variable, shift in zip(trunk, shifts, strict=True):
        variable.assign_add(shift)
    network.get_layer("head").kernel.assign_add(np.ones((6, 3)))  # the head is not pulled

    def penalty() -> object:
        return keras.ops.sum(keras.ops.stack(network.losses))

    expected = strength / 2 * sum(np.sum(share * shift**2) for share, shift in zip(importance, shifts, strict=True))
    assert float(penalty()) == pytest.approx(expected, rel=1e-5)
    for found, share, shift in zip(weight_gradients(penalty, trunk), importance, shifts, strict=True):
        np.testing.assert_allclose(found, strength * share * shift, rtol=1e-4, atol=1e-6)
    pull_to_old(network, 0)
    assert network.losses == []


def test_training_feels_the_pull() -> None:
    network, draw = small(), np.random.default_rng(0)
    network.get_layer("head").kernel.assign(np.zeros((6, 3)))  # so no other gradient reaches the trunk
    trunk = trunk_variables(network)
    importance = [draw.uniform(0, 4, size=variable.shape) for variable in trunk]
    pull_to_old(network, 0.5, importance)
    old = [keras.ops.convert_to_numpy(variable.value) for variable in trunk]
    shifts = [draw.normal(size=variable.shape) for variable in trunk]
    for variable, shift in zip(trunk, shifts, strict=True):
        variable.assign_add(shift)
    fit(network, examples(), epochs=1, batch_size=32, optimizer=keras.optimizers.SGD(0.2))
    for variable, was, share, shift in zip(trunk, old, importance, shifts, strict=True):
        expected = was + shift * (1 - 0.2 * 0.5 * share)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable.value), expected, rtol=1e-4, atol=1e-5)


def test_a_pull_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"strength=-1"):
        pull_to_old(small(), -1)
    with pytest.raises(ValueError, match=r"shapes \[\(4, 5\)\], the weights of the trunk \[\(4, 5\), \(5,\)"):
        pull_to_old(small(), 1, [np.ones((4, 5))])
    decayed = keras.Sequential([keras.Input((4,)), layers.Dense(5, kernel_regularizer="l2"), layers.Dense(3)])
    with pytest.raises(ValueError, match=r"a regularizer of .*kernel"):
        pull_to_old(decayed, 1)


def test_the_fisher_information_of_an_even_choice_is_a_quarter_of_the_square() -> None:
    network = regression(2)
    network.layers[0].set_weights([np.zeros((3, 2)), np.zeros(2)])
    inputs = np.array([[1, -2, 0], [3, 4, 0.5]], "float32")
    # Whatever label is drawn, the gradient is x · (±1/2).
    kernel, bias = fisher_information(network, inputs, batch_size=1)
    np.testing.assert_allclose(kernel, np.tile([[10 / 8], [20 / 8], [0.25 / 8]], 2), rtol=1e-6)
    np.testing.assert_allclose(bias, [1 / 4, 1 / 4], rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_fisher_information_of_a_regression_is_its_closed_form(batch_size: int) -> None:
    """x² · p · (1 − p), the expectation over labels, within four of its own standard errors."""
    draw, batches = np.random.default_rng(2), 250
    network, inputs = regression(3), draw.normal(size=(batches * batch_size, 3)).astype("float32")
    kernel, bias = 0.7 * draw.normal(size=(3, 3)), np.array([0.5, 0, -0.5])
    network.layers[0].set_weights([kernel, bias])
    odds = np.exp(inputs @ kernel + bias)
    chance = odds / odds.sum(axis=1, keepdims=True)
    spread = chance * (1 - chance)
    found = fisher_information(network, inputs, batch_size=batch_size)
    for estimate, factors in zip(found, (inputs, np.ones((len(inputs), 1))), strict=True):
        # A gradient has variance v = x² p (1 − p) and fourth cumulant x⁴ p (1 − p) (1 − 6 p (1 − p)); the square of a
        # sum of independent ones has mean Σ v and variance 2 (Σ v)² + Σ cumulants.
        variance = factors[:, :, None] ** 2 * spread[:, None]
        cumulant = factors[:, :, None] ** 4 * (spread * (1 - 6 * spread))[:, None]
        sums = [part.reshape(batches, batch_size, *part.shape[1:]).sum(axis=1) for part in (variance, cumulant)]
        error = np.sqrt((2 * sums[0] ** 2 + sums[1]).sum(axis=0)) / len(inputs)
        expected = variance.mean(axis=0)
        assert (error < 0.2 * expected).all()  # else the comparison would say nothing
        np.testing.assert_array_less(np.abs(estimate.reshape(expected.shape) - expected), 4 * error)


def test_the_fisher_information_leaves_the_network_as_it_was() -> None:
    network, inputs = small(), examples(6).inputs
    freeze(network, 1)
    before = values(network)
    found = fisher_information(network, inputs, batch_size=4)
    assert [share.shape for share in found] == [tuple(variable.shape) for variable in trunk_variables(network)]
    assert all(share.max() > 0 and share.min() >= 0 for share in found)
    for old, new in zip(before, values(network), strict=True):
        for was, now in zip(old, new, strict=True):
            np.testing.assert_array_equal(was, now)
    with pytest.raises(ValueError, match="no images"):
        fisher_information(network, inputs[:0])
