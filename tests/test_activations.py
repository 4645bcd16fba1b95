"""Dead units: exact counts on hand-made networks, and the closed form against other distributions and simulation."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from scipy import integrate, stats

from course_lib.analysis.activations import answer_counts, dead_probability, dead_units
from course_lib.models.lenet import lenet5

# Four units see a number x from 0 to 9 as x − 8, x − 3, −x − 1 and 5: they answer 1, 6, 0 and 10 of the ten.
NUMBERS = np.arange(10, dtype="float32")[:, None]
WEIGHTS = [np.array([[1, 1, -1, 0]], "float32"), np.array([-8, -3, -1, 5], "float32")]
ANSWERED = [1, 6, 0, 10]


def with_weights(model: keras.Model) -> keras.Model:
    model.get_layer("dense").set_weights(WEIGHTS)
    return model


def sequential(*chain: Any) -> keras.Model:
    return with_weights(keras.Sequential([keras.Input((1,)), *chain]))


def by_operation() -> keras.Model:
    start = keras.Input((1,))
    return with_weights(keras.Model(start, keras.ops.relu(layers.Dense(4, name="dense")(start))))


NETWORKS = {
    "activation by name": lambda: sequential(layers.Dense(4, activation="relu", name="dense")),
    "leaky by name": lambda: sequential(layers.Dense(4, activation="leaky_relu", name="dense")),
    "layer as activation": lambda: sequential(layers.Dense(4, activation=layers.LeakyReLU(0.01), name="dense")),
    "activation layer": lambda: sequential(layers.Dense(4, name="dense"), layers.Activation("relu")),
    "ReLU layer": lambda: sequential(layers.Dense(4, name="dense"), layers.ReLU(max_value=6)),
    "leaky layer": lambda: sequential(layers.Dense(4, name="dense"), layers.LeakyReLU()),
    "operation": by_operation,
}


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS.keys())
@pytest.mark.parametrize("batch_size", [3, 64])
def test_counts_by_hand(build: Any, batch_size: int) -> None:
    (counts,) = answer_counts(build(), NUMBERS, batch_size=batch_size).values()
    assert counts.tolist() == ANSWERED
    (dead,) = dead_units(build(), NUMBERS, batch_size=batch_size).values()
    assert dead.tolist() == [False, False, True, False]


def test_an_input_of_exactly_zero_is_no_answer() -> None:
    (counts,) = answer_counts(NETWORKS["activation by name"](), [[8.0], [3.0], [-1.0]]).values()
    assert counts.tolist() == [0, 1, 0, 3]


def test_a_map_answers_if_any_of_its_places_does() -> None:
    convolution = layers.Conv2D(3, 2, activation="relu", name="maps")
    model = keras.Sequential([keras.Input((3, 3, 1)), convolution, layers.Flatten(), layers.Dense(1)])
    kernels = np.zeros((2, 2, 1, 3), "float32")
    kernels[0, 0, 0] = [1, -1, 1]  # the top left pixel of each window, its negative, the pixel less 0.5
    convolution.set_weights([kernels, np.array([0, 0, -0.5], "float32")])
    one_pixel = np.zeros((4, 3, 3, 1), "float32")
    one_pixel[0, 0, 0] = one_pixel[1, 1, 1] = 1
    one_pixel[2, 2, 2] = 1  # the last pixel is top left in no window
    one_pixel[3, 0, 1] = 0.25
    counts = answer_counts(model, one_pixel, batch_size=3)
    assert list(counts) == ["maps"]
    assert counts["maps"].tolist() == [3, 0, 2]


def test_layers_have_their_names_and_a_layer_without_relu_is_left_out() -> None:
    images = np.random.default_rng(0).random((20, 28, 28, 1), "float32")
    found = dead_units(lenet5(activation="relu", pooling="max"), images)
    assert {name: len(mask) for name, mask in found.items()} == {"C1": 6, "C3": 16, "C5": 120, "F6": 84}


def test_dropout_and_batch_normalisation_are_as_in_use() -> None:
    """Dropout in training would silence at random; fresh statistics of a batch would silence half of the examples."""
    norm = layers.BatchNormalization(epsilon=1e-12)
    model = sequential(layers.Dense(4, name="dense"), layers.Dropout(0.9), norm, layers.ReLU(name="after"))
    assert answer_counts(model, NUMBERS)["after"].tolist() == ANSWERED


def test_nested_shared_and_several_inputs() -> None:
    inner = with_weights(keras.Sequential([keras.Input((1,)), layers.Dense(4, activation="relu", name="dense")]))
    left, right = keras.Input((1,), name="left"), keras.Input((1,), name="right")
    model = keras.Model([left, right], layers.Add()([inner(left), inner(right)]))
    counts = answer_counts(model, {"right": NUMBERS, "left": NUMBERS[::-1]}, batch_size=4)
    # On the pairs (x, 9 − x) the unit of x − 8 answers for 9 and 0, that of x − 3 for all, the others as before.
    assert {name: count.tolist() for name, count in counts.items()} == {"dense": [2, 10, 0, 10]}


def test_memory_does_not_grow_with_the_inputs() -> None:
    model = keras.Sequential([keras.Input((8,)), layers.Dense(2_000, activation="relu")])
    peaks = []
    for n in (1_000, 10_000):
        inputs = np.ones((n, 8), "float32")
        answer_counts(model, inputs[:10], batch_size=100)
        tracemalloc.start()
        answer_counts(model, inputs, batch_size=100)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def unrelated() -> keras.Model:
    return keras.Sequential([keras.Input((1,)), layers.Dense(4, activation="tanh", name="dense")])


def same_names() -> keras.Model:
    inner = keras.Sequential([keras.Input((1,)), layers.Dense(4, activation="relu", name="dense")])
    return keras.Sequential([keras.Input((1,)), inner, layers.Dense(1, activation="relu", name="dense")])


@pytest.mark.parametrize(
    ("build", "inputs", "options", "message"),
    [
        (unrelated, NUMBERS, {}, r"has no ReLU that can be seen; its layers are dense"),
        (same_names, NUMBERS, {}, r"needs a name of its own; here they are dense, dense"),
        (NETWORKS["ReLU layer"], NUMBERS, {"batch_size": 0}, r"batch_size=0: it must be at least 1"),
        (NETWORKS["ReLU layer"], NUMBERS[:0], {}, r"inputs have the lengths \[0\]"),
        (NETWORKS["ReLU layer"], {"other": NUMBERS}, {}, r"the model has the inputs .*; give an array for each"),
    ],
)
def test_wrong_arguments_are_named(build: Any, inputs: Any, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dead_units(build(), inputs, **options)


def test_several_inputs_must_be_given_by_name_and_have_one_length() -> None:
    left, right = keras.Input((1,), name="left"), keras.Input((1,), name="right")
    model = keras.Model([left, right], layers.ReLU()(layers.Add()([left, right])))
    with pytest.raises(ValueError, match="the model has the inputs left, right"):
        dead_units(model, NUMBERS)
    with pytest.raises(ValueError, match=r"inputs have the lengths \[3, 10\]"):
        dead_units(model, {"left": NUMBERS, "right": NUMBERS[:3]})


def test_weights_that_are_not_finite_do_not_pass_for_dead_units() -> None:
    model = NETWORKS["activation by name"]()
    model.get_layer("dense").set_weights([WEIGHTS[0], np.full(4, np.nan, "float32")])
    with pytest.raises(FloatingPointError, match="layer 'dense' gives NaN"):
        dead_units(model, NUMBERS)


@pytest.mark.parametrize("examples", [1, 10, 100])
@pytest.mark.parametrize("fan_in", [1, 7, 400])
def test_without_bias_each_example_is_a_coin(examples: int, fan_in: int) -> None:
    found = dead_probability(0, deviation=0.3, fan_in=fan_in, examples=examples)
    np.testing.assert_allclose(found, 0.5**examples, rtol=1e-9)


def test_two_inputs_and_one_example_are_a_laplace_distribution() -> None:
    """A normal variable with exponential variance is Laplace (Kotz, Kozubowski and Podgórski, 2001, section 2.2.1)."""
    biases = np.array([[-3, -1, -0.1], [0.1, 1, 3]])
    found = dead_probability(biases, deviation=0.7, fan_in=2, examples=1)
    np.testing.assert_allclose(found, stats.laplace(scale=0.7).cdf(-biases), rtol=1e-9)


@pytest.mark.parametrize(("bias", "fan_in", "examples"), [(-2, 3, 50), (-3, 100, 1_000), (-4, 784, 60_000), (1, 5, 2)])
def test_closed_form_is_the_integral_over_the_norm(bias: float, fan_in: int, examples: int) -> None:
    norm = stats.chi(fan_in, scale=fan_in**-0.5)
    ends = norm.ppf([1e-14, 0.01, 0.1, 0.5, 0.9, 0.99, 1 - 1e-14])
    pieces = [
        integrate.quad(lambda r: norm.pdf(r) * stats.norm.sf(bias / r) ** examples, low, high, epsabs=1e-12)[0]
        for low, high in itertools.pairwise(ends)
    ]
    found = dead_probability(bias, deviation=fan_in**-0.5, fan_in=fan_in, examples=examples)
    np.testing.assert_allclose(found, sum(pieces), rtol=1e-6, atol=1e-12)


def test_closed_form_against_simulation() -> None:
    """20,000 units in ten groups, each with its own inputs; 4 standard errors and what common inputs add."""
    generator = np.random.default_rng(0)
    biases = np.array([-1.5, -2, -2.5, -3])
    shares = []
    for _ in range(10):
        answers = generator.normal(size=(100, 30)) @ generator.normal(scale=30**-0.5, size=(30, 2_000))
        shares.append((answers.max(axis=0) + biases[:, None] <= 0).mean(axis=1))
    found = dead_probability(biases, deviation=30**-0.5, fan_in=30, examples=100)
    np.testing.assert_allclose(found, np.mean(shares, axis=0), atol=0.02)
    assert found[0] < 0.05 and found[-1] > 0.8


@pytest.mark.parametrize("options", [{"deviation": 0}, {"fan_in": -1}, {"examples": 0}, {"deviation": float("nan")}])
def test_closed_form_names_what_cannot_be(options: dict[str, float]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=rf"dead_probability\({name}="):
        dead_probability(-1, **{"deviation": 0.1, "fan_in": 10, "examples": 5} | options)  # type: ignore[arg-type]
