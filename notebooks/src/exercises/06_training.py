# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercises 06: the art of training
#
# Five questions on chapter 06, 20 points in all. Each question stands on its own, so they can be done in any order.
#
# | question | about | kind | points |
# | --- | --- | --- | --- |
# | 1 | when a unit is dead | arithmetic and code | 4 |
# | 2 | the calibration error | code | 4 |
# | 3 | what label smoothing asks for | code and arithmetic | 4 |
# | 4 | focal loss and its gradient | code and arithmetic | 4 |
# | 5 | a thousand to one | code and experiment | 4 |
#
# Write your answers where a cell says `YOUR CODE HERE`, and remove the line that raises `NotImplementedError`.
# Below each answer stands a cell with tests. Run it: silence means that the tests pass, and a message says what was
# expected, what came, and which mistake often gives that. When a sheet is graded, further tests with other numbers
# run.
#
# Hints open one at a time. Try for a few minutes before you open the next one.
#
# *Running time: under a minute on a CPU. Needs: chapter 06.*
#
# All questions use the same words:
#
# - A *score* is what the last layer gives before softmax or sigmoid. Some call it a logit.
# - Softmax turns the scores of K classes into probabilities, and the sigmoid σ(z) = 1 / (1 + e⁻ᶻ) turns a single score
#   into the probability of class 1.
# - Classes are numbered from 0. A *label* is the number of the true class.
# - All logarithms are natural ones, as `math.log` and `np.log` take them. Shares and probabilities run from 0 to 1.

# %%
import course_lib

settings = course_lib.setup(chapter=6)

# %%
import math

import numpy as np

# %% [markdown]
# ## Question 1: when a unit is dead
#
# A unit with ReLU *answers* an example if its input, weights and bias included, is greater than 0. Otherwise it is
# *silent*. From example to example this input varies. Let it be normally distributed with a mean and a standard
# deviation, and let the examples be independent of each other.
#
# Φ(x) = (1 + erf(x / √2)) / 2 is the probability that a normally distributed number with mean 0 and deviation 1 is
# smaller than x. Python has erf as `math.erf`.
#
# **a)** Write `answers(mean, deviation, examples)`. It returns two probabilities, `(one, none)`:
#
# - `one`: that the unit answers a given example;
# - `none`: that it answers none at all, where `examples` says how many there are. Then it is *dead* over them.
#
# Try it on paper first: what are the two numbers for a mean of 0, a deviation of 1 and three examples?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Take the mean from the input and divide by the deviation: the result has mean 0 and deviation 1. The input is greater
# than 0 if the result is greater than `-mean / deviation`. The normal distribution is symmetric, so it lies above −x as
# often as below x.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# So `one` is Φ(mean / deviation). A mean far below 0 makes it small. Is that what you get?
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The unit is silent for one example with probability `1 - one`. To be dead it must be silent for the first *and* the
# second *and* all others. Probabilities of independent events are multiplied.
#
# </details>


# %% nbgrader={"grade_id": "q1-answers", "solution": true}
def answers(mean, deviation, examples):
    """Return the probability that a ReLU unit answers one example, and that it answers none of so many."""
    ### BEGIN SOLUTION
    one = (1 + math.erf(mean / deviation / math.sqrt(2))) / 2
    return one, (1 - one) ** examples
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-answers-tests", "points": 2}
def check_answers(one, none, mistake, mean, deviation, examples):
    """Compare one answer of answers with the expected one."""
    given = answers(mean, deviation, examples)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"answers returns two probabilities, (one, none); yours returns {given}."
    )
    for name, right, yours in (("one", one, given[0]), ("none", none, given[1])):
        assert abs(right - yours) < 1e-6, (
            f"answers({mean}, {deviation}, {examples}): the probability `{name}` should be {right:.6f}; yours is "
            f"{yours:.6f}. {mistake}"
        )


check_answers(
    0.5,
    0.125,
    "With a mean of 0 the input is positive half of the time. Three silent examples in a row: ½ · ½ · ½. 0.875 would "
    "mean that at least one is answered, or that not all are. 0 would mean that probabilities were added.",
    0,
    1,
    3,
)
check_answers(
    0.691462,
    0.002796,
    "The mean lies half a deviation above 0. 0.841345 would mean that the deviation was left out, 0.598706 that it was "
    "squared, 0.760250 that √2 was left out, and 0.308538 that silent and answered are swapped.",
    1,
    2,
    5,
)
check_answers(
    0.001350,
    0.259030,
    "The mean lies three deviations below 0. A given example is hardly ever answered, and yet three units in four "
    "answer at least one of 1,000.",
    -6,
    2,
    1000,
)
check_answers(0.999968, 0, "This unit is practically always awake: (1 − 0.999968)¹⁰ is 0.", 2, 0.5, 10)
check_answers(0.000032, 0.149523, "Four deviations below 0, over the 60,000 training digits of MNIST.", -4, 1, 60000)
### BEGIN HIDDEN TESTS
import random
from statistics import NormalDist

hidden_random = random.Random(601)
for _ in range(60):
    hidden_mean, hidden_deviation = hidden_random.uniform(-8, 3), hidden_random.uniform(0.2, 4)
    hidden_examples = hidden_random.choice([1, 2, 10, 100, 5000])
    hidden_silent = NormalDist(hidden_mean, hidden_deviation).cdf(0)
    check_answers(
        1 - hidden_silent,
        hidden_silent**hidden_examples,
        "Python's own statistics.NormalDist gives this.",
        hidden_mean,
        hidden_deviation,
        hidden_examples,
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** Now ask the other way round. Let the unit have independent inputs with mean 0 and deviation 1, as in chapter
# 06. Then its mean is the bias, and its deviation is the length of its weights. How low must the bias be to kill it?
#
# Write `fatal_bias(deviation, examples, probability)`. It returns the bias at which the unit is dead over so many
# examples with the given probability, a number above 0 and below 1. An error of less than 0.0001 is small enough.
# For few examples and a small probability the bias may be positive.
#
# Φ has no inverse that can be written down. Find the bias by halving: keep a bias that is too low and one that is too
# high, look at the one halfway between, and let it take the place of one of the two.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The lower the bias, the more probable is death. As limits, ten deviations below 0 and ten above will do: there the
# probability of death is practically 1 and 0.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# As in a), the unit is dead with probability `(1 - phi) ** examples`, where `phi` is Φ(bias / deviation). If that is
# greater than `probability` at the bias halfway, this bias is too low.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Each halving makes the error half as large, so 100 of them are plenty:
#
#     low, high = -10 * deviation, 10 * deviation
#     for _ in range(100):
#         bias = (low + high) / 2
#         ...
#
# If the bias is too low, set `low = bias`, otherwise `high = bias`.
#
# </details>


# %% nbgrader={"grade_id": "q1-bias", "solution": true}
def fatal_bias(deviation, examples, probability):
    """Return the bias at which a unit is dead over so many examples with this probability; its inputs have mean 0."""
    ### BEGIN SOLUTION
    too_low, too_high = -10 * deviation, 10 * deviation
    for _ in range(100):
        bias = (too_low + too_high) / 2
        silent = (1 - math.erf(bias / deviation / math.sqrt(2))) / 2
        if silent**examples > probability:
            too_low = bias
        else:
            too_high = bias
    return bias
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-bias-tests", "points": 2}
def check_bias(expected, mistake, deviation, examples, probability):
    """Compare one answer of fatal_bias with the expected one."""
    given = fatal_bias(deviation, examples, probability)
    assert isinstance(given, (int, float)), f"fatal_bias returns a number; yours returns {given}."
    assert abs(given - expected) < 1e-4, (
        f"fatal_bias({deviation}, {examples}, {probability}) should be {expected:.4f}; yours is {given:.4f}. {mistake}"
    )


check_bias(
    0,
    "For one example, a bias of 0 makes it an even chance. 10 or -10 would mean that the search kept the wrong half.",
    1,
    1,
    0.5,
)
check_bias(
    -4.2326,
    "Over 60,000 examples the bias must lie more than four deviations below 0. 4.2326 would mean that the sign is "
    "lost, -4.3054 that half an answer is expected over all examples, which is not the same as none with probability "
    "one half. 0 would mean that `examples` was left out.",
    1,
    60000,
    0.5,
)
check_bias(-8.4651, "With twice the deviation the bias must be twice as low.", 2, 60000, 0.5)
check_bias(
    -5.1026,
    "A death that is 99 % sure needs a lower bias than an even chance. -3.7853 would mean that 0.99 was taken for the "
    "probability to live.",
    1,
    60000,
    0.99,
)
check_bias(
    1.2816,
    "Silent for two examples with probability 0.01, so for one with probability 0.1. The bias is positive. 0 would "
    "mean that the search ended there.",
    1,
    2,
    0.01,
)
### BEGIN HIDDEN TESTS
import random
from statistics import NormalDist

hidden_random = random.Random(602)
for _ in range(60):
    hidden_deviation = hidden_random.uniform(0.1, 3)
    hidden_examples = hidden_random.choice([1, 3, 50, 1000, 60000])
    hidden_probability = hidden_random.uniform(0.02, 0.98)
    hidden_silent = hidden_probability ** (1 / hidden_examples)
    check_bias(
        -hidden_deviation * NormalDist().inv_cdf(hidden_silent),
        "Python's own statistics.NormalDist gives this.",
        hidden_deviation,
        hidden_examples,
        hidden_probability,
    )
### END HIDDEN TESTS

# %% [markdown]
# Try your function on units. The next cell draws the inputs of 2,000 units for 100 examples, adds a fatal bias to them,
# and counts how many units are dead. Below that it prints which bias kills over how many examples, in deviations.
# Before you run it, guess: with 600 times as many examples, how many times as low must the bias be?

# %%
inputs = np.random.default_rng(6).standard_normal((2000, 100))
for probability in (0.1, 0.5, 0.9):
    dead = (inputs + fatal_bias(1, 100, probability) <= 0).all(axis=1)
    print(f"dead with probability {probability:.1f}: {dead.mean():.3f} of the units drawn")
print("\nbias that kills with probability   0.01     0.5    0.99")
for examples in (1, 100, 60000, 1200000):
    biases = [fatal_bias(1, examples, probability) for probability in (0.01, 0.5, 0.99)]
    print(f"{examples:20,} examples" + "".join(f"{round(bias, 2) + 0:8.2f}" for bias in biases))

# %% [markdown]
# To think about, without points: pictures of the same digit are much alike, so the examples are not independent. Does
# that make a dead unit more or less probable than the formula says?

# %% [markdown]
# ## Question 2: the calibration error
#
# For each example a network gives the probabilities of all classes. The class with the largest one is its prediction,
# and this largest probability is its *confidence*. A network is calibrated if of all predictions that it makes with a
# confidence of, say, 0.8, the share that is right is 0.8.
#
# To measure that, sort the examples into bins of similar confidence. The *gap* of a bin is the difference between the
# mean confidence in it and its *accuracy*, the share of its predictions that are right, taken as a positive number.
# The expected calibration error is the mean of the gaps, in which each bin counts as often as it has examples. An
# empty bin does not count.
#
# **a)** Write `equal_width_error(probabilities, labels, bins)`. `probabilities` has shape (n, classes), `labels` has
# shape (n,), and `bins` is the number of bins. Return the expected calibration error, a number from 0 to 1.
#
# The bins divide the line from 0 to 1 into parts of equal width. Each holds the confidences above its lower edge, up to
# and including its upper edge. The second of four bins, for example, holds those above 0.25, up to and including 0.5.
#
# Try it on paper with two bins and three predictions: two with a confidence of 0.9, one right and one wrong, and one
# with a confidence of 0.4, which is right.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Make two arrays with a number for each example: `probabilities.max(axis=1)` is the confidence, and
# `probabilities.argmax(axis=1) == labels` says whether the prediction is right.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A loop over the bins is fine. A mask takes the examples of bin number `i`:
# `(confidence > i / bins) & (confidence <= (i + 1) / bins)`. Leave the bin out if the mask is nowhere True.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# For each bin add `mask.mean() * abs(confidence[mask].mean() - right[mask].mean())`. The first factor is the share of
# all examples that lie in the bin, so no division is left for the end.
#
# </details>


# %% nbgrader={"grade_id": "q2-width", "solution": true}
def equal_width_error(probabilities, labels, bins):
    """Return the expected calibration error of probabilities (n, classes) with bins of equal width."""
    ### BEGIN SOLUTION
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    numbers = np.searchsorted(np.arange(1, bins) / bins, confidence)
    gaps = np.bincount(numbers, confidence - right, minlength=bins)
    return np.abs(gaps).sum() / len(labels)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-width-tests", "points": 2}
import numpy as np


def check_width(expected, mistake, confidences, right, bins):
    """Compare one answer of equal_width_error with the expected one; right holds 1 for each right prediction."""
    predicted = np.arange(len(confidences)) % 3
    probabilities = np.repeat((1 - np.array(confidences, float))[:, np.newaxis] / 2, 3, axis=1)
    probabilities[np.arange(len(predicted)), predicted] = confidences
    labels = np.where(np.array(right) == 1, predicted, (predicted + 1) % 3)
    given = equal_width_error(probabilities.copy(), labels.copy(), bins)
    assert np.ndim(given) == 0 and abs(given - expected) < 1e-9, (
        f"{len(predicted)} predictions of three classes with the confidences {list(confidences)[:8]}, of which "
        f"{list(right)[:8]} are right, in {bins} bins of equal width: the error should be {expected:.5f}; yours is "
        f"{given}. {mistake}"
    )


check_width(
    1.4 / 3,
    "This is the case for paper. Two predictions have a gap of 0.9 − 0.5, and one has a gap of 0.6. 0.5 would mean "
    "that each bin counted the same, 0.06667 that gaps of different sign were added, and 0.53333 that there is a gap "
    "for each example. 0.21667 would mean that the probability of the true class was taken for the confidence.",
    [0.9, 0.9, 0.4],
    [1, 0, 1],
    2,
)
check_width(
    0.3,
    "The upper three have a gap of 0.21667, the lower two one of 0.425, and two bins are empty. 0.36 would mean that "
    "the bins divide the line from the lowest confidence to the highest. NaN comes from the mean of an empty bin.",
    [0.9, 0.8, 0.95, 0.6, 0.55],
    [1, 0, 1, 1, 1],
    4,
)
check_width(
    0.04,
    "In a single bin, mean confidence and accuracy are those of all examples.",
    [0.9, 0.8, 0.95, 0.6, 0.55],
    [1, 0, 1, 1, 1],
    1,
)
check_width(
    0.0625,
    "0.5 is the upper edge of the second bin and belongs to it, and so does 0.375. 0.5625 would mean that 0.5 went "
    "into the third bin.",
    [0.5, 0.375],
    [0, 1],
    4,
)
check_width(
    0.475,
    "A confidence of 1 belongs to the last bin, together with 0.95. 0.525 would mean that it has a bin of its own, and "
    "0.025 that it was lost.",
    [1.0, 0.95],
    [0, 1],
    10,
)
check_width(0.4, "One prediction, and it is wrong.", [0.4], [0], 5)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(603)
for hidden_case in range(40):
    hidden_count, hidden_classes = int(hidden_random.integers(5, 60)), int(hidden_random.integers(2, 8))
    hidden_powers = np.exp(hidden_random.normal(0, 3, (hidden_count, hidden_classes)))
    hidden_probabilities = hidden_powers / hidden_powers.sum(axis=1, keepdims=True)
    hidden_labels = hidden_random.integers(hidden_classes, size=hidden_count)
    hidden_bins = (3, 7, 15, 40)[hidden_case % 4]
    hidden_sums = {}
    for hidden_row, hidden_label in zip(hidden_probabilities.tolist(), hidden_labels.tolist(), strict=True):
        hidden_best = max(hidden_row)
        hidden_bin = min(edge for edge in range(1, hidden_bins + 1) if hidden_best <= edge / hidden_bins + 1e-12)
        hidden_gap = hidden_best - (hidden_row.index(hidden_best) == hidden_label)
        hidden_sums[hidden_bin] = hidden_sums.get(hidden_bin, 0) + hidden_gap
    hidden_expected = sum(abs(gap) for gap in hidden_sums.values()) / hidden_count
    hidden_given = equal_width_error(hidden_probabilities.copy(), hidden_labels.copy(), hidden_bins)
    assert abs(hidden_given - hidden_expected) < 1e-9, (
        f"{hidden_count} random predictions of {hidden_classes} classes in {hidden_bins} bins of equal width: the "
        f"error should be {hidden_expected:.5f}; yours is {hidden_given}."
    )
check_width(0.25, "All four lie on an edge, and so in the same bin.", [0.75, 0.75, 0.75, 0.75], [1, 0, 1, 0], 4)
### END HIDDEN TESTS

# %% [markdown]
# **b)** A good network is sure of most of its answers, so most examples fall into the last bin of equal width, and some
# bins have hardly any. Bins of *equal mass* hold the same number of examples each: the first bin those with the lowest
# confidence, the last one those with the highest.
#
# Write `equal_mass_error(probabilities, labels, bins)`, as in a) but with such bins. The number of examples is a
# multiple of `bins`, and no two confidences are alike.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Put the examples in the order of their confidence. Then the bins are runs of the same length. `np.argsort(confidence)`
# gives the order, and `confidence[order]` follows it. What else must follow?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `array.reshape(bins, -1)` cuts a sorted array into `bins` rows of the same length. Then `.mean(axis=1)` has one number
# for each bin.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# All bins have the same number of examples, so the error is the plain mean of the gaps. Take the absolute value of each
# gap before you take this mean, but after you took the means within the bin.
#
# </details>


# %% nbgrader={"grade_id": "q2-mass", "solution": true}
def equal_mass_error(probabilities, labels, bins):
    """Return the expected calibration error of probabilities (n, classes) with bins of equal mass."""
    ### BEGIN SOLUTION
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    gaps = (confidence - right)[np.argsort(confidence)].reshape(bins, -1).mean(axis=1)
    return np.abs(gaps).mean()
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-mass-tests", "points": 2}
import numpy as np


def check_mass(expected, mistake, confidences, right, bins):
    """Compare one answer of equal_mass_error with the expected one; right holds 1 for each right prediction."""
    predicted = np.arange(len(confidences)) % 3
    probabilities = np.repeat((1 - np.array(confidences, float))[:, np.newaxis] / 2, 3, axis=1)
    probabilities[np.arange(len(predicted)), predicted] = confidences
    labels = np.where(np.array(right) == 1, predicted, (predicted + 1) % 3)
    given = equal_mass_error(probabilities.copy(), labels.copy(), bins)
    assert np.ndim(given) == 0 and abs(given - expected) < 1e-9, (
        f"{len(predicted)} predictions of three classes with the confidences {list(confidences)[:8]}, of which "
        f"{list(right)[:8]} are right, in {bins} bins of equal mass: the error should be {expected:.5f}; yours is "
        f"{given}. {mistake}"
    )


six, six_right = [0.9, 0.5, 0.95, 0.6, 0.8, 0.7], [0, 1, 1, 1, 1, 1]
check_mass(
    0.375,
    "The bins hold 0.5 and 0.6, 0.7 and 0.8, 0.9 and 0.95. Their gaps are 0.45, 0.25 and 0.425. 0.20833 would mean "
    "that the bins have equal width, 0.225 that nothing was sorted, 0.125 that the confidences were sorted and what is "
    "right was not. 0.09167 would mean that gaps of different sign were added, and 0.39167 that there is a gap for "
    "each example.",
    six,
    six_right,
    3,
)
check_mass(0.55 / 6, "In a single bin, mean confidence and accuracy are those of all examples.", six, six_right, 1)
check_mass(2.35 / 6, "With a bin for each example, each gap counts by itself.", six, six_right, 6)
check_mass(
    0.1,
    "The upper two are both right at a mean confidence of 0.9, and of the lower two one is right at 0.6. So each gap "
    "is 0.1.",
    [0.62, 0.92, 0.58, 0.88],
    [1, 1, 0, 1],
    2,
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(604)
for _ in range(40):
    hidden_bins, hidden_each = int(hidden_random.integers(2, 12)), int(hidden_random.integers(1, 7))
    hidden_classes = int(hidden_random.integers(2, 8))
    hidden_powers = np.exp(hidden_random.normal(0, 2, (hidden_bins * hidden_each, hidden_classes)))
    hidden_probabilities = hidden_powers / hidden_powers.sum(axis=1, keepdims=True)
    hidden_labels = hidden_random.integers(hidden_classes, size=len(hidden_powers))
    hidden_pairs = sorted(
        (max(row), row.index(max(row)) == label)
        for row, label in zip(hidden_probabilities.tolist(), hidden_labels.tolist(), strict=True)
    )
    hidden_expected = 0.0
    for hidden_start in range(0, len(hidden_pairs), hidden_each):
        hidden_bin = hidden_pairs[hidden_start : hidden_start + hidden_each]
        hidden_expected += abs(sum(best - hit for best, hit in hidden_bin)) / len(hidden_pairs)
    hidden_given = equal_mass_error(hidden_probabilities.copy(), hidden_labels.copy(), hidden_bins)
    assert abs(hidden_given - hidden_expected) < 1e-9, (
        f"{len(hidden_pairs)} random predictions of {hidden_classes} classes in {hidden_bins} bins of equal mass: the "
        f"error should be {hidden_expected:.5f}; yours is {hidden_given}."
    )
### END HIDDEN TESTS

# %% [markdown]
# Now use both. The next cell draws scores for 3,000 examples, and draws each label with the probabilities that softmax
# makes of the scores. So these probabilities are calibrated by construction. With the scores doubled they are too
# confident. Before you run it, guess: what is the error of the calibrated ones, and does it depend on the bins?

# %%
generator = np.random.default_rng(6)
class_scores = generator.normal(0, 2, (3000, 10))


def softmax(values):
    """Return the softmax of each row."""
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


drawn = np.array([generator.choice(10, p=row) for row in softmax(class_scores)])
print("error (%) of         calibrated            too confident")
print("bins              width     mass         width     mass")
for bins in (1, 5, 15, 100, 1000):
    errors = [
        100 * error(softmax(factor * class_scores), drawn, bins)
        for factor in (1, 2)
        for error in (equal_width_error, equal_mass_error)
    ]
    print(f"{bins:4d}" + "".join(f"{error:{width}.1f}" for error, width in zip(errors, (19, 9, 14, 9), strict=True)))

# %% [markdown]
# To think about, without points: the error of the calibrated probabilities grows with the number of bins, as in chapter
# 06. That of the too confident ones hardly does, until there are very many bins. Why? Think of the sign that a gap has
# before it is taken as a positive number.

# %% [markdown]
# ## Question 3: what label smoothing asks for
#
# Cross-entropy compares the probabilities of a network with a *target*. It, too, has a number for each class, and they
# sum to 1. A *hard* target has 1 at the true class and 0 at all others. Label smoothing takes a share ε of the 1 away
# and divides it equally among *all* K classes, the true one included. That is how Keras does it.
#
# **a)** Write `smooth(labels, classes, epsilon)`. `labels` is an array of n whole numbers. Return the smoothed targets,
# an array of shape (n, classes).
#
# Try it on paper with four classes and an ε of 0.1. What stands at the true class?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Start with the hard targets. `np.eye(classes)` has a 1 in each row, at column 0, 1, 2 and so on. Which rows do you
# need, in which order?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.eye(classes)[labels]` are the hard targets. Take a share of `epsilon` away: multiply by `1 - epsilon`. What is
# still missing in the sum of a row?
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The share that was taken is divided among `classes` classes. So add `epsilon / classes` everywhere, at the true class
# as well.
#
# </details>


# %% nbgrader={"grade_id": "q3-smooth", "solution": true}
def smooth(labels, classes, epsilon):
    """Return the smoothed targets of labels (n,), an array (n, classes)."""
    ### BEGIN SOLUTION
    return (1 - epsilon) * np.eye(classes)[labels] + epsilon / classes
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-smooth-tests", "points": 2}
import numpy as np


def check_smooth(true, other, mistake, labels, classes, epsilon):
    """Compare one answer of smooth with the expected targets: those of the true class and of all others."""
    expected = np.full((len(labels), classes), float(other))
    for row, label in enumerate(labels):
        expected[row, label] = true
    given = np.asarray(smooth(np.array(labels, int), classes, epsilon), float)
    called = f"smooth({list(labels)[:8]}, {classes}, {epsilon})"
    assert given.shape == expected.shape, (
        f"{called} should have the shape {expected.shape}, a row for each label; yours has {given.shape}. {mistake}"
    )
    wrong = np.flatnonzero(np.abs(given - expected).max(axis=1) > 1e-9)
    assert not len(wrong), (
        f"{called}: row {wrong[0]}, of label {labels[wrong[0]]}, should be {expected[wrong[0]].round(4).tolist()}; "
        f"yours is {given[wrong[0]].round(4).tolist()}. {mistake}"
    )


check_smooth(
    0.925,
    0.025,
    "0.9 is left, and each of four classes gets 0.025. If the true class has 0.9 and the others 0.0333, the share was "
    "given to the others only. If it has 0.9 and the others 0.025, it got nothing back. A row must sum to 1.",
    [2, 0],
    4,
    0.1,
)
check_smooth(1, 0, "Without smoothing the hard target is left.", [1, 1, 2], 3, 0)
check_smooth(0.2, 0.2, "With an ε of 1 nothing is left of the label.", [4], 5, 1)
check_smooth(0.75, 0.25, "Of two classes each gets half of ε.", [0, 1, 1], 2, 0.5)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(605)
for _ in range(40):
    hidden_classes, hidden_epsilon = int(hidden_random.integers(2, 30)), float(hidden_random.random())
    hidden_other = hidden_epsilon / hidden_classes
    check_smooth(
        1 - (hidden_classes - 1) * hidden_other,
        hidden_other,
        "What the others do not have is left for the true class.",
        hidden_random.integers(hidden_classes, size=int(hidden_random.integers(1, 20))).tolist(),
        hidden_classes,
        hidden_epsilon,
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** The sources of this course explain label smoothing with a target of 95 % for the true class. Which ε is that,
# and what does the loss then ask for?
#
# For given targets, cross-entropy is smallest when the probabilities equal the targets. With a hard target that
# never happens: the score of the true class would have to lie infinitely far above the others. With a smoothed one it
# happens at a certain distance. All other classes have the same target, so there they have the same score. The *margin*
# is the score of the true class, less that of any other class.
#
# Write `asked(target, classes)`. `target` is the smoothed target of the true class, less than 1 and more than
# 1 / classes. Return two numbers, `(epsilon, margin)`:
#
# - `epsilon`: the ε which gives that target;
# - `margin`: the margin at which softmax gives exactly the smoothed targets.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write down the target of the true class as in a), with ε and K, and solve it for ε. Or start with the other classes:
# together they get `1 - target`. How much is that for each of them, and how many times that is ε?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Each of the other K − 1 classes has ε / K, and this is `(1 - target) / (classes - 1)`. Now for the margin: softmax
# divides e to the power of each score by the same sum. What is left if you divide the probability of one class by that
# of another?
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The quotient of two probabilities is e to the power of the difference of their scores. So the margin is the logarithm
# of a quotient: `target`, divided by the target of another class.
#
# </details>


# %% nbgrader={"grade_id": "q3-asked", "solution": true}
def asked(target, classes):
    """Return the ε that gives the true class this target, and the margin of scores at which softmax gives it, too."""
    ### BEGIN SOLUTION
    other = (1 - target) / (classes - 1)
    return other * classes, math.log(target / other)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-asked-tests", "points": 2}
def check_asked(epsilon, margin, mistake, target, classes):
    """Compare one answer of asked with the expected one."""
    given = asked(target, classes)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"asked returns two numbers, (epsilon, margin); yours returns {given}."
    )
    for name, right, yours in (("epsilon", epsilon, given[0]), ("margin", margin, given[1])):
        assert abs(right - yours) < 1e-5, (
            f"asked({target}, {classes}): {name} should be {right:.5f}; yours is {yours:.5f}. {mistake}"
        )


check_asked(
    0.1,
    2.94444,
    "With two classes an ε of 0.1 leaves 0.95. 0.05 would mean that ε is what the true class lacks, but part of ε "
    "comes back to it. The true class is 19 times as probable as the other, and the margin is the logarithm of 19. "
    "1.27875 would be the logarithm to base 10, and 3.63759 would mean that both classes share the 5 %.",
    0.95,
    2,
)
check_asked(
    0.055556,
    5.14166,
    "Ten classes, as the digits and CIFAR-10 have. A margin of 2.94444 would mean that the true class was compared "
    "with all others together.",
    0.95,
    10,
)
check_asked(0.050050, 9.85119, "The thousand classes of ImageNet ask for nearly twice the margin of ten.", 0.95, 1000)
check_asked(0.1, 3.61092, "This is the target of a), so ε is 0.1 again.", 0.925, 4)
### BEGIN HIDDEN TESTS
import random

hidden_random = random.Random(606)
for _ in range(60):
    hidden_classes, hidden_epsilon = hidden_random.randint(2, 200), hidden_random.uniform(0.01, 0.9)
    check_asked(
        hidden_epsilon,
        float(np.log(1 + hidden_classes * (1 / hidden_epsilon - 1))),
        "The target was made from this ε.",
        1 - hidden_epsilon + hidden_epsilon / hidden_classes,
        hidden_classes,
    )
### END HIDDEN TESTS

# %% [markdown]
# Try both functions together. The next cell asks for 95 % among ever more classes. It prints ε, the margin, and the
# smoothed loss at this margin, one below it and one above. Before you run it, guess: by how much does the margin grow
# if there are ten times as many classes?

# %%
print("classes   epsilon   margin   loss one below   at the margin   one above")
for classes in (2, 10, 100, 1000):
    epsilon, margin = asked(0.95, classes)
    target = smooth(np.array([0]), classes, epsilon)[0]
    losses = []
    for distance in (margin - 1, margin, margin + 1):
        logarithms = np.r_[distance, np.zeros(classes - 1)] - np.log(np.exp(distance) + classes - 1)
        losses.append(-(target * logarithms).sum())
    print(f"{classes:7d}{epsilon:10.4f}{margin:9.3f}{losses[0]:17.4f}{losses[1]:16.4f}{losses[2]:12.4f}")

# %% [markdown]
# To think about, without points: the same 95 % asks for a larger margin where there are more classes. Why does each
# step from ten to a hundred and to a thousand add about the same?

# %% [markdown]
# ## Question 4: focal loss and its gradient
#
# A network gives one score z to each example, and p = σ(z) is the probability of class 1. The label is 1 or 0. Let
# p_t be the probability of the *true* class: p for label 1, and 1 − p for label 0. Let α_t be a weight in the same way:
# α for label 1, and 1 − α for label 0. Focal loss is
#
# $$ L = -\alpha_t \, (1 - p_t)^\gamma \, \log p_t $$
#
# **a)** Write `focal_loss(scores, labels, gamma, alpha)`. `scores` and `labels` are arrays of shape (n,), and the
# scores lie between −30 and 30. Return the loss of each example, an array of shape (n,), and not their mean.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Make three arrays, one after the other: `p`, then `p_t`, then `alpha_t`. `np.where(labels == 1, a, b)` takes `a` where
# the label is 1 and `b` elsewhere.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `p = 1 / (1 + np.exp(-scores))`, and `p_t = np.where(labels == 1, p, 1 - p)`. The factor (1 − p_t)^γ is small where
# the network is right and sure.
#
# </details>


# %% nbgrader={"grade_id": "q4-loss", "solution": true}
def focal_loss(scores, labels, gamma, alpha):
    """Return the focal loss of each example, (n,), from scores and labels (n,)."""
    ### BEGIN SOLUTION
    p = 1 / (1 + np.exp(-scores))
    p_true = np.where(labels == 1, p, 1 - p)
    weight = np.where(labels == 1, alpha, 1 - alpha)
    return -weight * (1 - p_true) ** gamma * np.log(p_true)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-loss-tests", "points": 1}
import numpy as np


def check_loss(expected, mistake, scores, labels, gamma, alpha):
    """Compare the losses of some examples with the expected ones."""
    given = np.asarray(focal_loss(np.array(scores, float), np.array(labels, int), gamma, alpha))
    called = f"focal_loss({scores}, {labels}, gamma={gamma}, alpha={alpha})"
    assert given.shape == (len(expected),), (
        f"{called} should have the shape {(len(expected),)}, a loss for each example; yours has {given.shape}."
    )
    assert np.allclose(given, expected, rtol=1e-5, atol=1e-8), (
        f"{called} should be {np.round(expected, 6).tolist()}; yours is {given.round(6).tolist()}. {mistake}"
    )


check_loss(
    [0.34657359, 0.15663084, 0.65663084],
    "With γ = 0 it is the cross-entropy, and α = 0.5 halves it for both labels. The third label is 0, so its p_t is 1 "
    "− σ(1) = 0.269. If your third loss equals the second one, p was taken for p_t. A negative loss means that a sign "
    "is missing.",
    [0, 1, 1],
    [1, 1, 0],
    0,
    0.5,
)
check_loss(
    [0.0433217, 0.1299651],
    "At a score of 0 both classes have probability 0.5. Label 1 weighs 0.25, and label 0 weighs 1 − 0.25.",
    [0, 0],
    [1, 0],
    2,
    0.25,
)
check_loss(
    [0.00045089, 1.23755863],
    "With a score of 2, label 1 is easy and label 0 is hard. If the first loss is the larger of the two, the factor is "
    "a power of p_t and not of 1 − p_t.",
    [2, 2],
    [1, 0],
    2,
    0.25,
)
check_loss([1.45200272, 0.00115215], "With a score of −3 it is the other way round.", [-3, -3], [1, 0], 1, 0.5)
### BEGIN HIDDEN TESTS
from math import exp as hidden_exp, log1p as hidden_log1p

hidden_random = np.random.default_rng(607)
for _ in range(40):
    hidden_scores = hidden_random.normal(0, 4, int(hidden_random.integers(1, 9))).clip(-12, 12)
    hidden_labels = hidden_random.integers(2, size=len(hidden_scores))
    hidden_gamma, hidden_alpha = float(hidden_random.choice([0, 0.5, 1, 2, 5])), float(hidden_random.random())
    hidden_expected = []
    for hidden_score, hidden_label in zip(hidden_scores.tolist(), hidden_labels.tolist(), strict=True):
        hidden_sure = hidden_score if hidden_label else -hidden_score
        hidden_plain = hidden_log1p(hidden_exp(-hidden_sure))
        hidden_factor = (1 / (1 + hidden_exp(hidden_sure))) ** hidden_gamma
        hidden_expected.append((hidden_alpha if hidden_label else 1 - hidden_alpha) * hidden_factor * hidden_plain)
    check_loss(
        hidden_expected,
        "Example by example, this is it.",
        hidden_scores.tolist(),
        hidden_labels.tolist(),
        hidden_gamma,
        hidden_alpha,
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** What moves the network is the gradient: how the loss changes with the score. Write
# `focal_gradient(scores, labels, gamma, alpha)`. Return dL / dz for each example, an array of shape (n,). Work the
# formula out on paper. Chapter 06 has the slope for the score of the true class. Here z is the score of class 1,
# whatever the label is.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The chain rule goes in two steps: from the score to p_t, then from p_t to the loss. For label 1, dp_t / dz is
# p_t (1 − p_t). And for label 0, where p_t falls as the score grows?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The loss has two factors with p_t in them, so the product rule gives two terms:
#
# $$ \frac{dL}{dp_t} =
# \alpha_t \left( \gamma \, (1 - p_t)^{\gamma - 1} \log p_t - \frac{(1 - p_t)^\gamma}{p_t} \right) $$
#
# Multiply it by dp_t / dz.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# After that both terms have the factor (1 − p_t)^γ. Take it out, and for label 1 this is left:
# `alpha_t * (1 - p_t) ** gamma * (gamma * p_t * np.log(p_t) - (1 - p_t))`. For label 0 the sign is the opposite one.
#
# </details>


# %% nbgrader={"grade_id": "q4-gradient", "solution": true}
def focal_gradient(scores, labels, gamma, alpha):
    """Return the derivative of each example's focal loss with respect to its score, (n,)."""
    ### BEGIN SOLUTION
    p = 1 / (1 + np.exp(-scores))
    p_true = np.where(labels == 1, p, 1 - p)
    weight = np.where(labels == 1, alpha, alpha - 1)  # minus for label 0, where p_true falls as the score grows
    return weight * (1 - p_true) ** gamma * (gamma * p_true * np.log(p_true) - (1 - p_true))
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-gradient-tests", "points": 2}
import numpy as np


def check_gradient(expected, mistake, scores, labels, gamma, alpha):
    """Compare the gradients of some examples with the expected ones."""
    given = np.asarray(focal_gradient(np.array(scores, float), np.array(labels, int), gamma, alpha))
    called = f"focal_gradient({scores}, {labels}, gamma={gamma}, alpha={alpha})"
    assert given.shape == (len(expected),), (
        f"{called} should have the shape {(len(expected),)}, a number for each example; yours has {given.shape}."
    )
    assert np.allclose(given, expected, rtol=1e-4, atol=1e-6), (
        f"{called} should be {np.round(expected, 6).tolist()}; yours is {given.round(6).tolist()}. {mistake}"
    )


check_gradient(
    [-0.25, -0.13447071, 0.36552929],
    "With γ = 0 this is cross-entropy, halved by α = 0.5: half of p − label. If your third number is negative, the "
    "minus of dp_t / dz for label 0 is missing. −1, −0.68394 and 1.859141 would be the derivative with respect to p, "
    "and zeros would mean that log p_t was taken for a constant.",
    [0, 1, 1],
    [1, 1, 0],
    0,
    0.5,
)
check_gradient(
    [-0.0745717, 0.2237151],
    "−0.03125 and 0.09375 would mean that the factor (1 − p_t)^γ was taken for a constant: it changes with the score "
    "as well. 0.012072 and −0.036215 would mean that the minus in 1 − p_t was forgotten when it was differentiated.",
    [0, 0],
    [1, 0],
    2,
    0.25,
)
check_gradient(
    [-0.00121774, 0.8075353],
    "With a score of 2, label 1 is easy and hardly pulls. Label 0 is hard.",
    [2, 2],
    [1, 0],
    2,
    0.25,
)
check_gradient([-0.52256123, 0.00222211], "A score of −3, and γ = 1.", [-3, -3], [1, 0], 1, 0.5)
### BEGIN HIDDEN TESTS
from math import exp as hidden_exp, log1p as hidden_log1p

hidden_random = np.random.default_rng(608)
for _ in range(40):
    hidden_scores = hidden_random.normal(0, 2, int(hidden_random.integers(1, 9))).clip(-5, 5)
    hidden_labels = hidden_random.integers(2, size=len(hidden_scores))
    hidden_gamma, hidden_alpha = float(hidden_random.choice([0, 0.5, 1, 2, 5])), float(hidden_random.random())
    hidden_expected = []
    for hidden_score, hidden_label in zip(hidden_scores.tolist(), hidden_labels.tolist(), strict=True):
        hidden_losses = []
        for hidden_step in (1e-5, -1e-5):
            hidden_sure = (hidden_score + hidden_step) * (1 if hidden_label else -1)
            hidden_wrong = 1 / (1 + hidden_exp(hidden_sure))
            hidden_losses.append(hidden_wrong**hidden_gamma * hidden_log1p(hidden_exp(-hidden_sure)))
        hidden_weight = hidden_alpha if hidden_label else 1 - hidden_alpha
        hidden_expected.append(hidden_weight * (hidden_losses[0] - hidden_losses[1]) / 2e-5)
    check_gradient(
        hidden_expected,
        "Small steps of the score give this.",
        hidden_scores.tolist(),
        hidden_labels.tolist(),
        hidden_gamma,
        hidden_alpha,
    )
### END HIDDEN TESTS

# %% [markdown]
# Check one of your answers with the other. Take the loss a small step above a score, less the loss a small step below,
# and divide by twice the step. This quotient, a *finite difference*, is nearly the gradient. The last column has the
# gradient of cross-entropy with the same α of 0.5. Before you run the cell, guess: where does focal loss with a γ of 2
# pull less than cross-entropy, and is there a score where it pulls more?

# %%
points = np.linspace(-4, 4, 9)
ones = np.ones(9, int)
rise = (focal_loss(points + 1e-5, ones, 2, 0.5) - focal_loss(points - 1e-5, ones, 2, 0.5)) / 2e-5
print("score, label 1    focal loss   gradient   finite difference   cross-entropy's gradient")
for row in zip(points, focal_loss(points, ones, 2, 0.5), focal_gradient(points, ones, 2, 0.5), rise, strict=True):
    print("{:14.0f}{:14.5f}{:11.5f}{:20.5f}".format(*row) + f"{0.5 / (1 + np.exp(-row[0])) - 0.5:27.5f}")

# %% [markdown]
# **c)** At 1000 to 1, a thousand easy negatives may stand against one hard positive. Which side has the larger loss?
#
# Write `easy_for_hard(easy, hard, gamma)`. It returns how many easy examples have together the same focal loss as one
# hard example. The true class of an easy example has probability `easy`, that of the hard one `hard`. All have the same
# α_t. The number need not be whole.
#
# Try it on paper for an `easy` of 0.99 and a `hard` of 0.5, first with a γ of 0, then with 2. The logarithm of 0.5 is
# −0.6931, and that of 0.99 is −0.01005.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write down the loss of both, without α_t. How many times does the smaller one go into the larger one?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The quotient has two parts: that of the logarithms, which cross-entropy has as well, and that of the factors. The hard
# example is above, the easy one below.
#
# </details>


# %% nbgrader={"grade_id": "q4-easy", "solution": true}
def easy_for_hard(easy, hard, gamma):
    """Return how many examples with this easy probability have the focal loss of one with the hard probability."""
    ### BEGIN SOLUTION
    return ((1 - hard) / (1 - easy)) ** gamma * math.log(hard) / math.log(easy)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-easy-tests", "points": 1}
def check_easy(expected, mistake, easy, hard, gamma):
    """Compare one answer of easy_for_hard with the expected one."""
    given = easy_for_hard(easy, hard, gamma)
    assert abs(given / expected - 1) < 1e-6, (
        f"easy_for_hard({easy}, {hard}, {gamma}) should be {expected:,.4f}; yours is {given:,.4f}. {mistake}"
    )


check_easy(
    68.96756394,
    "With γ = 0 it is cross-entropy: 0.6931 / 0.01005. So 1,000 easy examples outweigh the hard one. 0.0145 would be "
    "the quotient the other way round, 1 would mean that the logarithms were left out, and 0 that γ is a factor and "
    "not a power.",
    0.99,
    0.5,
    0,
)
check_easy(
    172418.9098,
    "The factors are 0.5² and 0.01², so the number is 2,500 times that of cross-entropy. 17.5920 would mean that the "
    "factor is a power of p_t.",
    0.99,
    0.5,
    2,
)
check_easy(28.850270, "log 0.2 / log 0.8 is 7.2126, and the factors are 0.8 and 0.2.", 0.8, 0.2, 1)
### BEGIN HIDDEN TESTS
import random

hidden_random = random.Random(609)
for _ in range(60):
    hidden_easy, hidden_hard = hidden_random.uniform(0.55, 0.995), hidden_random.uniform(0.02, 0.5)
    hidden_gamma = hidden_random.choice([0.5, 1, 2, 3])
    hidden_losses = [-((1 - true) ** hidden_gamma) * np.log(true) for true in (hidden_easy, hidden_hard)]
    check_easy(
        hidden_losses[1] / hidden_losses[0], "The losses themselves give this.", hidden_easy, hidden_hard, hidden_gamma
    )
### END HIDDEN TESTS

# %% [markdown]
# To think about, without points: some labels of a data set are wrong. What is p_t for such an example in a good
# network, and what does focal loss make of it?

# %% [markdown]
# ## Question 5: a thousand to one
#
# The examples of a rare class are the *positives*, all others are the *negatives*. A detector gives each example a
# score and raises an *alarm* where the score is at least as large as a threshold. Where it is used there are `ratio`
# negatives for each positive, for instance 1,000.
#
# A test set seldom has this ratio, and it need not. The share of the positives that raise an alarm does not depend on
# how many there are, and neither does the share of the negatives that do. So measure both shares on the test set, and
# then work out what they come to at the ratio. In chapter 06 they are the true-positive rate and the false-positive
# rate, and the prevalence π is 1 / (1 + `ratio`).
#
# **a)** Write `measure(negatives, positives, threshold, ratio)`. `negatives` and `positives` are arrays with the scores
# of the negative and of the positive examples in a test set. Return `(sensitivity, precision, accuracy)`:
#
# - `sensitivity`: of the positives, the share that raises an alarm;
# - `precision`: of the alarms, the share that is raised by positives, at this ratio;
# - `accuracy`: of all examples, the share that is treated rightly, at this ratio. A positive should raise an alarm, a
#   negative should not.
#
# If there is no alarm at all, nothing can be said of the precision: return `np.nan` for it.
#
# Try it on paper: half of the positives and one negative in 100 reach the threshold, and the ratio is 1,000. Take one
# positive and 1,000 negatives. How many right and how many false alarms do they raise on average?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `np.mean(positives >= threshold)` is the sensitivity. In the same way you get the share of the negatives that raise a
# false alarm.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# For one positive there are `ratio` negatives. On average they raise `sensitivity` right alarms and `ratio * false`
# false ones, where `false` is the share from hint 1. Precision is the number of right alarms over that of all alarms.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Of `1 + ratio` examples, `sensitivity` positives and `ratio * (1 - false)` negatives are treated rightly.
#
# </details>


# %% nbgrader={"grade_id": "q5-measure", "solution": true}
def measure(negatives, positives, threshold, ratio):
    """Return sensitivity, precision and accuracy of a threshold, with ratio negatives for each positive."""
    ### BEGIN SOLUTION
    found, false = np.mean(positives >= threshold), np.mean(negatives >= threshold)
    alarms = found + ratio * false
    precision = found / alarms if alarms > 0 else np.nan
    return found, precision, (found + ratio * (1 - false)) / (1 + ratio)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-measure-tests", "points": 2}
import numpy as np


def check_measure(expected, mistake, negatives, positives, threshold, ratio):
    """Compare one answer of measure with the expected one."""
    given = measure(np.array(negatives, float), np.array(positives, float), threshold, ratio)
    assert isinstance(given, (tuple, list)) and len(given) == 3, (
        f"measure returns (sensitivity, precision, accuracy); yours returns {given}."
    )
    called = f"negatives {list(negatives)[:8]}, positives {list(positives)[:8]}, threshold {threshold}, ratio {ratio}"
    for name, right, yours in zip(("sensitivity", "precision", "accuracy"), expected, given, strict=True):
        assert np.allclose(right, yours, rtol=0, atol=1e-6, equal_nan=True), (
            f"{called}: the {name} should be {right:.6f}; yours is {yours:.6f}. {mistake}"
        )


check_measure(
    (1, 1 / 1.4, 0.8),
    "Both positives and two of the five negatives raise an alarm: a score of 2 is at least 2. The ratio is 1, "
    "so 1 alarm in 1.4 is right. A precision of 0.5 would mean that the negatives were counted as they stand in the "
    "test set, 0.6 that the share of quiet negatives was taken, and 1 that a positive was taken for one example in "
    "`ratio`: it is one in `ratio` + 1.",
    [0, 1, 2, 3, 0],
    [2, 4],
    2,
    1,
)
check_measure(
    (0.5, 0.5 / 10.5, 990.5 / 1001),
    "This is the case for paper: half a right alarm and ten false ones. A precision of 0.5 would mean that the test "
    "set was taken as it is, and one of nearly 1 that the positives were multiplied by the ratio.",
    [5] + [0] * 99,
    [6, 1],
    5,
    1000,
)
check_measure(
    (0, np.nan, 1000 / 1001),
    "Nothing reaches the threshold. The precision is NaN, not 0 and not 1, and the accuracy is excellent.",
    [0, 1, 2, 3],
    [2, 4],
    5,
    1000,
)
check_measure((0, 0, 0.4), "All alarms are false, so the precision is 0, and that is known.", [3, 0], [1, 1], 2, 4)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(610)
for _ in range(40):
    hidden_negatives = hidden_random.integers(0, 8, int(hidden_random.integers(1, 20))).tolist()
    hidden_positives = hidden_random.integers(2, 10, int(hidden_random.integers(1, 20))).tolist()
    hidden_threshold, hidden_ratio = float(hidden_random.integers(0, 11)), int(hidden_random.choice([1, 2, 50, 1000]))
    # A test set of the ratio: each positive stands there often enough, and so does each negative.
    hidden_crowd = [(score, True) for score in hidden_positives] * len(hidden_negatives)
    hidden_crowd += [(score, False) for score in hidden_negatives] * (len(hidden_positives) * hidden_ratio)
    hidden_alarms = [true for score, true in hidden_crowd if score >= hidden_threshold]
    hidden_right = sum((score >= hidden_threshold) == true for score, true in hidden_crowd)
    check_measure(
        (
            sum(score >= hidden_threshold for score in hidden_positives) / len(hidden_positives),
            sum(hidden_alarms) / len(hidden_alarms) if hidden_alarms else np.nan,
            hidden_right / len(hidden_crowd),
        ),
        "A test set of this ratio gives this.",
        hidden_negatives,
        hidden_positives,
        hidden_threshold,
        hidden_ratio,
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** A low threshold finds many positives and raises many false alarms. A high one finds few and raises few. To
# compare detectors, fix the precision and ask for the sensitivity.
#
# Write `best_sensitivity(negatives, positives, ratio, precision)`. It returns the largest sensitivity that any
# threshold reaches while its precision, at the given ratio, is at least `precision`. If no threshold reaches that
# precision, return 0.
#
# Take care: precision does not simply fall as the threshold falls. Each further positive that is found raises it, and
# each further false alarm lowers it.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# There are endlessly many thresholds, but only a few matter. As long as the threshold stays between the scores of two
# positives, lowering it can only bring further false alarms. So it is enough to try the scores of the positives.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# For each of them compute sensitivity and precision as in a), and keep the sensitivity if the precision is high enough.
# Do not stop at the first threshold that fails: a later one may do. At the end take the largest that you kept.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `best = 0`, then `for threshold in np.unique(positives):` with `found` and `false` as in a). If
# `found / (found + ratio * false)` is at least `precision`, set `best = max(best, found)`. There is always an alarm at
# these thresholds, so no division by 0 can happen.
#
# </details>


# %% nbgrader={"grade_id": "q5-best", "solution": true}
def best_sensitivity(negatives, positives, ratio, precision):
    """Return the largest sensitivity of any threshold with at least this precision, at this ratio; 0 if none has it."""
    ### BEGIN SOLUTION
    thresholds, ordered = np.sort(positives), np.sort(negatives)
    found = 1 - np.searchsorted(thresholds, thresholds) / len(positives)
    false = 1 - np.searchsorted(ordered, thresholds) / len(negatives)
    return found[found / (found + ratio * false) >= precision].max(initial=0)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-best-tests", "points": 2}
import numpy as np


def check_best(expected, mistake, negatives, positives, ratio, precision):
    """Compare one answer of best_sensitivity with the expected one."""
    given = best_sensitivity(np.array(negatives, float), np.array(positives, float), ratio, precision)
    assert np.ndim(given) == 0 and abs(given - expected) < 1e-9, (
        f"negatives {list(negatives)[:12]}, positives {list(positives)[:12]}, ratio {ratio}: at a precision of at "
        f"least {precision} the best sensitivity should be {expected:.4f}; yours is {given}. {mistake}"
    )


mixed_negatives, mixed_positives = [4.5] + [0] * 9, [5, 4, 3, 2, 1]
check_best(
    1,
    "The precision is 1 at threshold 5, falls to 0.29 at 4, and then rises to 0.38, 0.44 and 0.5. 0.2 would mean that "
    "the search ended at the first threshold that fails, or that the threshold with the highest precision was taken. 0 "
    "would mean that only scores above the threshold raise an alarm: at least as large is enough.",
    mixed_negatives,
    mixed_positives,
    10,
    0.45,
)
check_best(
    0.2,
    "Now only threshold 5 is precise enough. 1 would mean that the ratio was left out, or that a precision was "
    "returned.",
    mixed_negatives,
    mixed_positives,
    10,
    0.6,
)
check_best(0, "The two highest scores are negatives, and no threshold is precise enough.", [3, 3, 0, 0], [1, 2], 1, 0.9)
check_best(
    0,
    "Three positives share the score 2 with a negative, and no threshold can part them: the precision is 0.6 there, "
    "and 0.67 at threshold 1. 0.75 would mean that the positives were counted first.",
    [2] + [0] * 9,
    [2, 2, 2, 1],
    5,
    0.7,
)
check_best(
    0.75,
    "One negative in 4,000 counts as a quarter of a positive. Only threshold 0 lets all other negatives in.",
    [9] + [0] * 3999,
    [10, 8, 7, 0],
    1000,
    0.7,
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(611)
hidden_results = set()
for hidden_case in range(60):
    hidden_spread = (6, 40, 1000)[hidden_case % 3]
    hidden_negatives = hidden_random.integers(0, hidden_spread, int(hidden_random.integers(1, 60)))
    hidden_positives = hidden_random.integers(hidden_spread // 3, 2 * hidden_spread, int(hidden_random.integers(1, 12)))
    hidden_ratio, hidden_precision = int(hidden_random.choice([1, 3, 20, 1000])), float(hidden_random.uniform(0.3, 0.9))
    hidden_best, hidden_near = 0.0, False
    for hidden_threshold in range(-1, 2 * hidden_spread + 1):
        hidden_found = sum(score >= hidden_threshold for score in hidden_positives.tolist()) / len(hidden_positives)
        hidden_false = sum(score >= hidden_threshold for score in hidden_negatives.tolist()) / len(hidden_negatives)
        hidden_wanted = hidden_precision * (hidden_found + hidden_ratio * hidden_false)
        hidden_near = hidden_near or 0 < abs(hidden_found - hidden_wanted) < 1e-9
        if hidden_found >= hidden_wanted:
            hidden_best = max(hidden_best, hidden_found)
    if not hidden_near:
        hidden_results.add(round(hidden_best, 2))
        check_best(
            hidden_best,
            "Trying every threshold gives this.",
            hidden_negatives.tolist(),
            hidden_positives.tolist(),
            hidden_ratio,
            hidden_precision,
        )
assert len(hidden_results) > 8
### END HIDDEN TESTS

# %% [markdown]
# Now the experiment. Two normal distributions stand for the scores of a detector: 200,000 negatives with mean 0, and
# 1,000 positives whose mean lies higher by a gap. Each row asks the same detector twice, at 1000 to 1: first at the
# threshold halfway between the two means, then at the one with the best sensitivity at a precision of 50 %. A program
# that never raises an alarm has an accuracy of 99.900 %. Before you run the cell, guess: what is the accuracy of a
# detector that finds 80 % of the positives at this precision?

# %%
generator = np.random.default_rng(6)
negatives, noise = generator.standard_normal(200000), generator.standard_normal(1000)
print("(%)      halfway:                                   at a precision of 50:")
print("gap      sensitivity   precision   accuracy         sensitivity   precision   accuracy")
for gap in (2, 3, 4, 5):
    positives = noise + gap
    best = best_sensitivity(negatives, positives, 1000, 0.5)
    threshold = np.sort(positives)[-max(round(best * len(positives)), 1)]
    rows = [100 * np.array(measure(negatives, positives, value, 1000)) for value in (gap / 2, threshold)]
    print(f"{gap:3d}" + "   ".join("{:17.1f}{:12.1f}{:11.3f}".format(*row) for row in rows))

# %% [markdown]
# To think about, without points: at a precision of 50 %, why is the accuracy always that of a program which never
# raises an alarm? On which side of 50 % must the precision lie, so that the accuracy is better than that?
