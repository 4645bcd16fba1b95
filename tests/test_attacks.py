"""Attacks: against closed forms for linear networks, within their budget; training on attacked images, step by step."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from course_lib.datasets.sources import Images
from course_lib.robustness.attacks import AdversarialTraining, Norm, fgsm, pgd
from course_lib.training.loop import fit

SHAPE = (4, 4, 3)
SIZE = int(np.prod(SHAPE))


def linear(classes: int = 2, seed: int = 0) -> keras.Sequential:
    """Scores that are linear in the image; weights of deviation 1."""
    network = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(classes)], name="linear")
    draw = np.random.default_rng(seed)
    network.set_weights([draw.normal(size=(SIZE, classes)), draw.normal(size=classes)])
    return network


def curved(seed: int = 0) -> keras.Sequential:
    keras.utils.set_random_seed(seed)
    parts = [layers.Conv2D(6, 3, activation="tanh", kernel_initializer="he_normal"), layers.Flatten(), layers.Dense(5)]
    return keras.Sequential([keras.Input((8, 8, 1)), *parts])


def pictures(count: int, shape: tuple[int, ...] = SHAPE, low: float = 0.0, high: float = 1.0) -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(low, high, (count, *shape)).astype("float32")


def away(network: keras.Sequential, labels: NDArray) -> NDArray:
    """Return for two classes the way from the right class to the other: the difference of weights, (n, *SHAPE)."""
    kernel = network.get_weights()[0]
    return ((kernel[:, 1] - kernel[:, 0]) * np.where(labels == 0, 1, -1)[:, None]).reshape(-1, *SHAPE)


def lengths(change: NDArray, norm: Norm) -> NDArray:
    flat = np.abs(change.reshape(len(change), -1))
    return flat.max(axis=1) if norm == "linf" else np.sqrt((flat.astype(float) ** 2).sum(axis=1))


def losses(network: keras.Model, images: NDArray, labels: NDArray) -> NDArray:
    scores = keras.ops.convert_to_numpy(network(images)).astype(float)
    return np.log(np.exp(scores).sum(axis=1)) - scores[range(len(labels)), labels]


def test_fgsm_on_a_linear_network_is_the_sign_of_its_weights() -> None:
    network, images, labels = linear(), pictures(20), np.arange(20) % 2
    expected = np.clip(images + 0.1 * np.sign(away(network, labels)), 0, 1)
    np.testing.assert_allclose(fgsm(network, images, labels, 0.1), expected, atol=1e-6)


def test_the_l2_step_goes_along_the_weights() -> None:
    network, images, labels = linear(), pictures(20, low=0.3, high=0.7), np.arange(20) % 2
    way = away(network, labels)
    expected = images + 0.2 * way / lengths(way, "l2")[:, None, None, None]
    np.testing.assert_allclose(fgsm(network, images, labels, 0.2, norm="l2"), expected, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_finds_the_worst_image_of_a_linear_network(norm: Norm) -> None:
    """From any start: in the cube the corner of the weights' signs, in the ball the point in their direction."""
    network, images, labels = linear(), pictures(20, low=0.3, high=0.7), np.arange(20) % 2
    way = away(network, labels)
    step = np.sign(way) if norm == "linf" else way / lengths(way, "l2")[:, None, None, None]
    for seed in (0, 1):
        found = pgd(network, images, labels, 0.2, norm=norm, steps=40, step_size=0.1, seed=seed)
        np.testing.assert_allclose(found, images + 0.2 * step, atol=1e-5)


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_what_survives_is_what_the_margin_says(norm: Norm, dual: int) -> None:
    """A linear network falls where the radius times the dual norm of the weights' difference exceeds the margin."""
    network, images = linear(), pictures(400, low=0.3, high=0.7)
    scores = keras.ops.convert_to_numpy(network(images))
    labels, margin = scores.argmax(axis=1), np.abs(scores[:, 1] - scores[:, 0])
    weight = np.linalg.norm(away(network, labels)[0].ravel(), ord=dual)
    radius = float(np.median(margin) / weight)
    attacked = pgd(network, images, labels, radius, norm=norm, steps=40, step_size=radius / 2)
    survives = keras.ops.convert_to_numpy(network(attacked)).argmax(axis=1) == labels
    sure = np.abs(margin - radius * weight) > 0.01 * radius * weight
    assert sure.mean() > 0.9 and 0.4 < survives.mean() < 0.6
    np.testing.assert_array_equal(survives[sure], (margin > radius * weight)[sure])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_attacked_images_stay_within_the_radius_and_within_0_to_1(norm: Norm) -> None:
    network, images, labels = curved(), pictures(30, (8, 8, 1)), np.arange(30) % 5
    for radius in (0.03, 0.5):
        one, many = (attack(network, images, labels, radius, norm=norm) for attack in (fgsm, pgd))
        for attacked in (one, many):
            assert attacked.dtype == np.float32 and attacked.min() >= 0 and attacked.max() <= 1
            assert lengths(attacked - images, norm).max() <= radius + 1e-6
            assert lengths(attacked - images, norm).min() > radius / 2
        # Steps that begin at the image go where the one step goes, or higher. Those that begin elsewhere need not get
        # there: in the ball, 20 steps from a place at a right angle to the gradient leave an angle, of cosine 0.98.
        direct = pgd(network, images, labels, radius, norm=norm, random_start=False)
        before, after, best, reached = (losses(network, each, labels) for each in (images, one, direct, many))
        assert (after > before).all() and (best > after - 1e-5).all()
        assert (reached - before).mean() > 0.95 * (best - before).mean()
    np.testing.assert_array_equal(pgd(network, images, labels, 0, norm=norm), images)


def test_a_target_is_approached() -> None:
    network, images, labels = linear(3), pictures(30), np.arange(30) % 3
    nearer = pgd(network, images, labels, 0.1, targeted=True)
    assert (losses(network, nearer, labels) < losses(network, images, labels)).all()
    two = linear(2)  # where there are two classes, to approach one is to leave the other
    np.testing.assert_allclose(
        fgsm(two, images, labels % 2, 0.1, targeted=True), fgsm(two, images, 1 - labels % 2, 0.1), atol=1e-6
    )


def test_seed_and_start() -> None:
    network, images, labels = curved(), pictures(30, (8, 8, 1)), np.arange(30) % 5
    first = pgd(network, images, labels, 0.1, steps=3, seed=3)
    np.testing.assert_array_equal(pgd(network, images, labels, 0.1, steps=3, seed=3), first)
    assert (pgd(network, images, labels, 0.1, steps=3, seed=4) != first).any()
    plain = pgd(network, images, labels, 0.1, steps=3, random_start=False)
    np.testing.assert_array_equal(pgd(network, images, labels, 0.1, steps=3, random_start=False, seed=9), plain)
    halves = pgd(network, images, labels, 0.1, steps=3, random_start=False, batch_size=7)
    np.testing.assert_allclose(halves, plain, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_fill_the_cube_or_the_ball(norm: Norm) -> None:
    """Steps of no length leave the start: uniform in each value, or with a radius whose mean is d / (d + 1)."""
    images, labels = np.full((2000, *SHAPE), 0.5, "float32"), np.zeros(2000, int)
    change = pgd(linear(), images, labels, 0.4, norm=norm, steps=1, step_size=0) - images
    assert np.abs(change.mean(axis=0)).max() < 0.05
    if norm == "linf":
        assert change.std() == pytest.approx(0.4 / np.sqrt(3), rel=0.01) and np.abs(change).max() < 0.4 + 1e-6
    else:
        assert lengths(change, "l2").mean() == pytest.approx(0.4 * SIZE / (SIZE + 1), rel=0.005)
        assert lengths(change, "l2").min() < 0.36


BUDGETS = [
    ({"radius": 8}, r"radius=8: images lie in \[0, 1\].*give 8 / 255"),
    ({"radius": -0.1}, "radius=-0.1"),
    ({"radius": float("nan")}, "radius=nan"),
    ({"radius": float("inf"), "norm": "l2"}, "radius=inf"),
    ({"norm": "l1"}, "norm='l1': it must be 'linf' or 'l2'"),
    ({"steps": 0}, "steps=0: it must be at least 1"),
    ({"step_size": -0.1}, "step_size=-0.1: it must be 0 or more"),
]


@pytest.mark.parametrize(("budget", "message"), BUDGETS)
def test_budgets_that_cannot_be_are_refused(budget: dict, message: str) -> None:
    network, arguments = linear(), {"radius": 0.1, **budget}
    with pytest.raises(ValueError, match=message):
        pgd(network, pictures(2), np.zeros(2, int), **arguments)
    with pytest.raises(ValueError, match=message):
        AdversarialTraining(network, **arguments)


def test_images_and_labels_that_cannot_be_are_refused() -> None:
    network, images = linear(), pictures(3)
    with pytest.raises(ValueError, match=r"images run from .* must lie in \[0, 1\]"):
        pgd(network, images * 255, np.zeros(3, int), 0.1)
    with pytest.raises(ValueError, match=r"images of shape \(4, 4, 3\) must be"):
        pgd(network, images[0], np.zeros(1, int), 0.1)
    for labels in (np.zeros(2, int), np.zeros((3, 2), int), np.zeros(3)):
        with pytest.raises(ValueError, match="must be whole numbers, one for each of 3 images"):
            fgsm(network, images, labels, 0.1)
    with pytest.raises(ValueError, match="batch_size=0"):
        fgsm(network, images, np.zeros(3, int), 0.1, batch_size=0)


def test_each_step_of_training_attacks_the_network_of_that_step() -> None:
    """The loop's training equals attack, step, attack, step by hand; an attack a step late would not."""
    images, labels = pictures(40, (8, 8, 1)), (np.arange(40) % 5).astype("int32")
    by_loop, by_hand = curved(), curved()
    wrapped = AdversarialTraining(by_loop, 1.0, norm="l2", steps=3, random_start=False)
    fit(wrapped, Images(images, labels), epochs=1, batch_size=10, optimizer=keras.optimizers.SGD(0.5), seed=0)
    by_hand.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    order = np.random.default_rng((0, 0)).permutation(40)
    stale, before = curved(), curved()
    stale.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for chosen in order.reshape(4, 10):
        for network, attacked_one in ((by_hand, by_hand), (stale, before)):
            attacked = pgd(attacked_one, images[chosen], labels[chosen], 1.0, norm="l2", steps=3, random_start=False)
            network.train_on_batch(attacked, labels[chosen])
    for ours, expected, other in zip(by_loop.get_weights(), by_hand.get_weights(), stale.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)
        assert np.abs(ours - other).max() > 1e-3


def two_features(count: int) -> Images:
    """Images of one strong value that is right in 19 of 20 and moves by 0.6, and of fifteen weak ones that move by 0.1.

    Together the weak values tell the class better than the strong one does. An attacker who may move each by 0.1 turns
    them round and leaves the strong one (Tsipras et al., Robustness may be at odds with accuracy, ICLR 2019).
    """
    draw = np.random.default_rng(count)
    labels = draw.integers(2, size=count)
    sign = 2.0 * labels - 1
    images = 0.5 + 0.05 * sign[:, None] + 0.05 * draw.normal(size=(count, 16))
    images[:, 0] = 0.5 + 0.3 * sign * np.where(draw.random(count) < 0.95, 1, -1)
    return Images(np.clip(images, 0, 1).reshape(-1, 4, 4, 1).astype("float32"), labels.astype("int32"))


def test_training_on_attacked_images_withstands_attacks() -> None:
    train, test = two_features(2000), two_features(1000)

    def accuracies(*, adversarial: bool) -> tuple[float, float, float]:
        keras.utils.set_random_seed(0)
        network = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)], name="linear")
        model = AdversarialTraining(network, 0.1, steps=5) if adversarial else network
        history = fit(model, train, validation=test, epochs=15, batch_size=50, learning_rate=1.0, seed=0)
        attacked = pgd(network, test.images, test.labels, 0.1)
        right = [
            (keras.ops.convert_to_numpy(network(each)).argmax(axis=1) == test.labels).mean()
            for each in (test.images, attacked)
        ]
        assert history.last("val_accuracy") == pytest.approx(right[0], abs=1e-6)  # on clean images
        return *right, history.last("accuracy")

    # The strong value alone is right in about 0.95, the weak ones in over 0.999: each lies a deviation from the
    # middle, and so fifteen together √15 deviations. To weigh them takes a large rate.
    strong = ((test.images[:, 0, 0, 0] > 0.5) == test.labels).mean()
    clean, under_attack, _ = accuracies(adversarial=False)
    assert clean > 0.98 > strong and under_attack < 0.5
    clean, under_attack, in_training = accuracies(adversarial=True)
    assert clean == pytest.approx(strong, abs=0.01) and under_attack == pytest.approx(strong, abs=0.01)
    assert in_training == pytest.approx(under_attack, abs=0.05)  # the metric of training is on attacked images


def test_the_wrapped_network_is_the_one_that_is_trained() -> None:
    network = linear()
    wrapped = AdversarialTraining(network, 0.1, norm="l2")
    images = pictures(5)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(wrapped(images)), keras.ops.convert_to_numpy(network(images))
    )
    assert [variable.path for variable in wrapped.trainable_variables] == [v.path for v in network.trainable_variables]


def test_another_library_attacks_as_we_do() -> None:
    """What `make attacks` recorded: Foolbox on the same weights in PyTorch, in an environment of its own."""
    folder = Path(__file__).resolve().parent.parent / "benchmarks"
    recorded = json.loads((folder / "results" / "attacks.json").read_text(encoding="utf-8"))
    assert recorded["digits"] == 1_000 and recorded["accuracy"] > 0.95
    assert recorded["largest difference of scores"] < 1e-3  # it is the same network
    page = (folder / "README.md").read_text(encoding="utf-8")
    for name, case in recorded["cases"].items():
        assert abs(case["success, ours"] - case["success, Foolbox"]) <= 0.02
        assert case["same answer"] >= 0.97
        assert case["random start"] or case["same pixels"] >= 0.95
        assert f"| {name} | {'—' if case['random start'] else format(case['same pixels'], '.2%')} |" in page
