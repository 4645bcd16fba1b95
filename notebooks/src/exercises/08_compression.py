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
# # Exercises 08: compression
#
# Five questions on chapter 08, 20 points in all. Each question stands on its own, so they can be done in any order.
#
# | question | about | kind | points |
# | --- | --- | --- | --- |
# | 1 | what is left, and how many bytes it takes | arithmetic and code | 4 |
# | 2 | what limits a layer | arithmetic and code | 4 |
# | 3 | a few bits for each number | code | 4 |
# | 4 | which weights go, and when | code and experiment | 4 |
# | 5 | what a teacher's answer says | code and experiment | 4 |
#
# Write your answers where a cell says `YOUR CODE HERE`, and remove the line that raises `NotImplementedError`. Below
# each answer stands a cell with tests. Run it: silence means that the tests pass, and a message says what was expected,
# what came, and which mistake often gives that. When a sheet is graded, further tests with other numbers run.
#
# Hints open one at a time. Try for a few minutes before you open the next one.
#
# *Running time: under a minute on a CPU. Needs: chapter 08.*
#
# All questions use the same words:
#
# - The *share* is the part of the weights that is removed, that is, set to 0: a number from 0 to below 1.
# - A *channel* is an index of the last axis of a kernel: a map that a convolution gives, or a unit of a dense layer.
# - The *rate* of a machine is how many multiply–accumulates it does in a second, and its *bandwidth* is how many bytes
#   it moves in a second. (In question 5 the rate is a learning rate.)
# - *Scores* are what a network gives before the softmax.

# %%
import course_lib

settings = course_lib.setup(chapter=8)

# %%
import numpy as np

# %% [markdown]
# ## Question 1: what is left, and how many bytes it takes
#
# **a)** Write `compression(layers, share)`. `layers` is a list of layers, each a tuple `(shape, bias)`:
#
# - `shape`: the shape of the kernel, `(height, width, maps in, maps out)` or `(inputs, units)`. Its last number is how
#   many maps or units the layer gives.
# - `bias`: True if the layer has a bias, one number for each map or unit it gives.
#
# Of the weights of all kernels together, n, exactly `round(share * n)` are removed. Biases are never removed. Return
# `(kept, factor)`: how many parameters are left, biases among them, and the compression factor, which is all parameters
# over those that are left.
#
# Try it on paper first: a dense layer from 10 inputs to 10 units with bias, of which 90 % are removed. Is it ten times
# smaller?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Keep two sums, one for kernels and one for biases. The kernel has as many weights as the product of its shape:
# `np.prod(shape)`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The share is of the kernels' weights alone. Round once, for all layers together.
#
# </details>


# %% nbgrader={"grade_id": "q1-factor", "solution": true}
def compression(layers, share):
    """Return how many parameters are left, and all parameters over those that are left."""
    ### BEGIN SOLUTION
    weights = sum(int(np.prod(shape)) for shape, _ in layers)
    biases = sum(shape[-1] for shape, bias in layers if bias)
    kept = weights - round(share * weights) + biases
    return kept, (weights + biases) / kept
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-factor-tests", "points": 2}
def check_factor(kept, total, mistake, layers, share):
    """Compare one answer of compression with the expected counts."""
    given = compression(list(layers), share)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"compression returns two numbers, (kept, factor); yours returns {given}."
    )
    assert given[0] == kept, (
        f"compression({layers}, {share}): {kept} parameters should be left; yours leaves {given[0]}. {mistake}"
    )
    assert abs(given[1] - total / kept) <= 1e-9 * total / kept, (
        f"compression({layers}, {share}): the factor should be {total} / {kept} = {total / kept:.4f}; yours is "
        f"{given[1]}. {mistake}"
    )


lenet = [((5, 5, 1, 6), True), ((5, 5, 6, 16), True), ((400, 120), True), ((120, 84), True), ((84, 10), True)]
check_factor(10, 100, "Of 100 weights 90 go, and there is no bias.", [((10, 10), False)], 0.9)
check_factor(
    20,
    110,
    "Of 100 weights 90 go, and all 10 biases stay: 110 / 20. A factor of 10 would mean that biases were removed or "
    "left out.",
    [((10, 10), True)],
    0.9,
)
check_factor(
    3,
    6,
    "There are 6 weights in both kernels together, so 3 go. 2 would mean that each kernel was rounded by itself.",
    [((1, 3), False), ((1, 3), False)],
    0.5,
)
check_factor(110, 110, "Nothing is removed, so nothing is won: the factor is 1.", [((10, 10), True)], 0)
check_factor(
    4846,
    61706,
    "This is LeNet-5. It has 61,470 weights in its kernels, of which 56,860 go, and 236 biases. 4847 would mean that "
    "the number was rounded down.",
    lenet,
    0.925,
)
### BEGIN HIDDEN TESTS
import random

hidden_random = random.Random(801)
for _ in range(80):
    hidden_layers, hidden_weights, hidden_biases = [], [], []
    for _ in range(hidden_random.randint(1, 5)):
        hidden_shape = tuple(hidden_random.randint(1, 9) for _ in range(hidden_random.choice([2, 4])))
        hidden_layers.append((hidden_shape, hidden_random.random() < 0.5))
        hidden_size = 1
        for hidden_side in hidden_shape:
            hidden_size *= hidden_side
        hidden_weights += [1] * hidden_size
        hidden_biases += [1] * hidden_side * hidden_layers[-1][1]
    hidden_share = hidden_random.choice([0, 0.3, 0.55, 0.9, 0.97])
    for hidden_place in range(round(hidden_share * len(hidden_weights))):
        hidden_weights[hidden_place] = 0
    if any(hidden_weights + hidden_biases):
        check_factor(
            sum(hidden_weights + hidden_biases),
            len(hidden_weights + hidden_biases),
            "Setting weight after weight to 0 and counting gives this.",
            hidden_layers,
            hidden_share,
        )
### END HIDDEN TESTS

# %% [markdown]
# **b)** What does a kernel take as *compressed sparse rows* (CSR)? The kernel becomes a matrix with one row for each
# channel. Its columns are all the other axes together. Each weight that is left takes 8 bytes: 4 for its value and 4
# for the number of its column. And there are 4 bytes for the place where each row begins, and once more 4 bytes for the
# place where the last row ends. As an array, each weight takes 4 bytes, zero or not.
#
# Write `csr(shape, kept)` for a kernel of that shape, in which `kept` weights are left. Return `(size, share)`:
#
# - `size`: the bytes as CSR.
# - `share`: the share of zeros at which CSR takes as many bytes as the array. From there on CSR pays. Do not round it
#   to whole weights. If it is above 1, CSR never pays: return `np.inf` for it.
#
# Try it on paper for a dense layer from 400 inputs to 120 units, of which 2,400 weights are left.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Let `rows = shape[-1]`, and let n be all weights. With e weights left, CSR takes 8 · e + 4 · (rows + 1) bytes.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Both take the same if 8 · e + 4 · (rows + 1) = 4 · n. Solve for e. The share of zeros is then 1 − e / n.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# It comes out as 1/2 + (rows + 1) / (2 · n). The first half is there because an entry costs twice as much, and the rest
# is the cost of the row starts.
#
# </details>


# %% nbgrader={"grade_id": "q1-csr", "solution": true}
def csr(shape, kept):
    """Return the bytes of a kernel as CSR, and the share of zeros from which CSR pays, np.inf if it never does."""
    ### BEGIN SOLUTION
    weights, rows = int(np.prod(shape)), shape[-1]
    share = 0.5 + (rows + 1) / (2 * weights)
    return 8 * kept + 4 * (rows + 1), share if share <= 1 else np.inf
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-csr-tests", "points": 2}
def check_csr(size, share, mistake, shape, kept):
    """Compare one answer of csr with the expected bytes and share."""
    given = csr(shape, kept)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"csr returns two numbers, (size, share); yours returns {given}."
    )
    assert given[0] == size, f"csr({shape}, {kept}): {size} bytes were expected; yours gives {given[0]}. {mistake}"
    assert np.isclose(given[1], share, rtol=1e-9, atol=0), (
        f"csr({shape}, {kept}): the bytes are right. CSR pays from a share of zeros of {share:.6f}; yours says "
        f"{given[1]}. {mistake}"
    )


check_csr(
    19684,
    0.5 + 121 / 96000,
    "120 rows: 2,400 · 8 + 121 · 4. 20804 bytes would mean that the inputs were taken for the rows, 19680 that the "
    "end of the last row was forgotten. The share is a little above one half, since the row starts cost something.",
    (400, 120),
    2400,
)
check_csr(
    1988,
    0.5 + 17 / 4800,
    "A convolution that gives 16 maps has 16 rows, of 150 weights each: 240 · 8 + 17 · 4.",
    (5, 5, 6, 16),
    240,
)
check_csr(16, 1, "One row of two weights: 8 + 2 · 4. With no weight left both take 8 bytes.", (2, 1), 1)
check_csr(
    40,
    np.inf,
    "Five rows of one weight each: 2 · 8 + 6 · 4. The array takes 20 bytes, less than the row starts alone, so even "
    "without any weight CSR does not pay.",
    (1, 5),
    2,
)
### BEGIN HIDDEN TESTS
from fractions import Fraction as HiddenFraction
import random

hidden_random = random.Random(802)
hidden_never = set()
for _ in range(80):
    hidden_shape = tuple(hidden_random.randint(1, 9) for _ in range(hidden_random.choice([2, 4])))
    hidden_count = 1
    for hidden_side in hidden_shape:
        hidden_count *= hidden_side
    hidden_kept = hidden_random.randint(0, hidden_count)
    hidden_starts = sum(4 for _ in range(hidden_side)) + 4
    hidden_share = 1 - HiddenFraction(4 * hidden_count - hidden_starts, 8 * hidden_count)
    hidden_never.add(hidden_share > 1)
    check_csr(
        hidden_starts + sum(4 + 4 for _ in range(hidden_kept)),
        np.inf if hidden_share > 1 else float(hidden_share),
        "Adding up entry by entry gives this.",
        hidden_shape,
        hidden_kept,
    )
assert len(hidden_never) == 2
### END HIDDEN TESTS

# %% [markdown]
# Both together, for the dense layer with 48,000 weights that LeNet-5 has in its middle. Before you run the cell, guess:
# how much larger or smaller is it as CSR with 30 % zeros, and with 90 %?

# %%
print("zeros    fewer parameters    fewer bytes as CSR")
for share in (0.3, 0.5, 0.6, 0.8, 0.9, 0.95, 0.98):
    kept, factor = compression([((400, 120), False)], share)
    print(f"{100 * share:3.0f} %{factor:15.1f} times{4 * 48_000 / csr((400, 120), kept)[0]:16.1f} times")
print(f"CSR pays from {100 * csr((400, 120), 0)[1]:.2f} % zeros")

# %% [markdown]
# To think about, without points: the number of a column is below 400, so two bytes would do for it. From which share of
# zeros would CSR pay then?

# %% [markdown]
# ## Question 2: what limits a layer
#
# A machine computes and moves bytes at the same time. A layer is done when both are done.
#
# **a)** Write `least_time(macs, moved, rate, bandwidth)`. `macs` are the multiply–accumulates of a layer, and `moved`
# the bytes that it moves. Each of the four may be a number or an array; arrays have the same shape, and numbers go with
# each of their elements. Return `(seconds, limit)`:
#
# - `seconds`: the least time that the layer takes.
# - `limit`: the word `"arithmetic"` where computing takes longer, and `"memory"` otherwise, also where both take the
#   same time. For arrays it is an array of words.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Computing takes `macs / rate` seconds. How long does moving take? Both go on at once, so their times do not add up.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `max` and `if` fail for arrays. `np.maximum(a, b)` takes the larger one element by element, and
# `np.where(condition, "yes", "no")` chooses element by element. Both work for numbers as well.
#
# </details>


# %% nbgrader={"grade_id": "q2-time", "solution": true}
def least_time(macs, moved, rate, bandwidth):
    """Return the least seconds of layers, and what limits each: "arithmetic" or "memory"."""
    ### BEGIN SOLUTION
    computing, moving = np.divide(macs, rate), np.divide(moved, bandwidth)
    return np.maximum(computing, moving), np.where(computing > moving, "arithmetic", "memory")
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-time-tests", "points": 2}
import numpy as np


def check_time(seconds, limit, mistake, *given):
    """Compare one answer of least_time with the expected times and words."""
    arguments = [np.array(each, float) if isinstance(each, list) else each for each in given]
    called = f"least_time{given}"
    try:
        answer = least_time(*arguments)
    except ValueError as error:
        raise AssertionError(
            f"{called} fails: {error} That is what `if` and `max` say of arrays; np.where and np.maximum go element by "
            f"element. {mistake}"
        ) from error
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
        f"least_time returns the seconds and what limits; yours returns {answer}."
    )
    yours, words, seconds = np.asarray(answer[0]), np.asarray(answer[1]), np.array(seconds, float)
    assert yours.shape == seconds.shape and np.allclose(yours, seconds, rtol=1e-9, atol=0), (
        f"{called}: {seconds.tolist()} seconds were expected; yours gives {yours.tolist()}. {mistake}"
    )
    assert words.tolist() == limit, (
        f"{called}: the seconds are right. The limit should be {limit}; yours says {words.tolist()}. {mistake}"
    )


check_time(
    2,
    "arithmetic",
    "Computing takes 200 / 100 = 2 seconds and moving 1 / 10. 2.1 would mean that one waits for the other, 0.1 that "
    "the layer is done when the first of both is.",
    200,
    1,
    100,
    10,
)
check_time(4, "memory", "Computing takes 0.5 seconds and moving 40 / 10 = 4.", 50, 40, 100, 10)
check_time(
    1.5, "arithmetic", "1.5 seconds against 1. What counts is time, not that 150 is more than 100.", 150, 10, 100, 10
)
check_time(
    10, "memory", "More multiply–accumulates than bytes, and memory is the limit all the same.", 500, 100, 100, 10
)
check_time(3, "memory", "Both take 3 seconds, for which the word is memory.", 300, 30, 100, 10)
check_time(
    [2, 4, 1.5],
    ["arithmetic", "memory", "arithmetic"],
    "Three layers on one machine, each for itself.",
    [200, 50, 150],
    [1, 40, 10],
    100,
    10,
)
check_time(
    [4, 2, 2],
    ["memory", "memory", "arithmetic"],
    "One layer on three machines, whose bandwidth grows. From the second to the third it is no use any more.",
    8,
    4,
    4,
    [1, 2, 4],
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(803)
hidden_words = set()
for hidden_case in range(60):
    hidden_shape = [(), (4,), (2, 3)][hidden_case % 3]
    hidden_table = 10.0 ** hidden_random.uniform(0, 6, (4, *hidden_shape))
    hidden_alone = hidden_random.random(4) < 0.4  # which of the four are one number for all
    hidden_alone[hidden_case % 4] = False
    for hidden_row in np.flatnonzero(hidden_alone):
        hidden_table[hidden_row] = hidden_table[hidden_row].flat[0]
    hidden_seconds, hidden_limit = np.zeros(hidden_shape), np.zeros(hidden_shape, object)
    for hidden_place in np.ndindex(hidden_shape):
        hidden_macs, hidden_moved, hidden_rate, hidden_bandwidth = (row[hidden_place] for row in hidden_table)
        hidden_both = sorted([(hidden_macs / hidden_rate, "arithmetic"), (hidden_moved / hidden_bandwidth, "memory")])
        hidden_seconds[hidden_place], hidden_limit[hidden_place] = hidden_both[-1]
        hidden_words.add(hidden_both[-1][1])
    check_time(
        hidden_seconds.tolist(),
        hidden_limit.tolist(),
        "Layer by layer this comes out.",
        *(row.flat[0] if alone else row.tolist() for row, alone in zip(hidden_table, hidden_alone, strict=True)),
    )
assert len(hidden_words) == 2
### END HIDDEN TESTS

# %% [markdown]
# **b)** With one image a dense layer uses each weight once, and memory is the limit. With more images in a call each
# weight is used more often. How many are needed?
#
# A dense layer has `inputs` inputs, `units` units and a bias. For a call with n images
#
# - it does n · inputs · units multiply–accumulates;
# - it moves all weights and biases once, and the inputs and outputs of each image, 4 bytes a number.
#
# Its *intensity* is the first over the second. The *ridge* is the machine's rate over its bandwidth, in
# multiply–accumulates a byte: layers whose intensity is below it are limited by memory.
#
# Write `ridge_batch(inputs, units, ridge)`. Return the n at which the intensity is just the ridge, a number that need
# not be whole. If the intensity stays below the ridge for any n, return `np.inf`.
#
# Try it on paper for 80 inputs, 80 units and a ridge of 1, and then for a ridge of 10.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write down the bytes: 4 · (inputs · units + units + n · (inputs + units)). Intensity = ridge is an equation in which n
# stands on both sides.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Bring all that has an n to one side: n · (inputs · units − 4 · ridge · (inputs + units)) = 4 · ridge · (inputs · units
# + units).
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# What if the bracket with the difference is 0 or less? Then each further image moves as many bytes as the ridge allows
# for its arithmetic, or more, and no n is enough.
#
# </details>


# %% nbgrader={"grade_id": "q2-batch", "solution": true}
def ridge_batch(inputs, units, ridge):
    """Return with how many images a call the intensity of a dense layer reaches the ridge, np.inf if it never does."""
    ### BEGIN SOLUTION
    lead = inputs * units - 4 * ridge * (inputs + units)
    return 4 * ridge * units * (inputs + 1) / lead if lead > 0 else np.inf
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-batch-tests", "points": 2}
import numpy as np


def check_batch(expected, mistake, inputs, units, ridge):
    """Compare one answer of ridge_batch with the expected number of images."""
    given = ridge_batch(inputs, units, ridge)
    assert isinstance(given, (int, float, np.number)) and np.isclose(given, expected, rtol=1e-9, atol=0), (
        f"ridge_batch({inputs}, {units}, {ridge}) should be {expected:.6f}; yours gives {given}. {mistake}"
    )


check_batch(
    4.5,
    "n · (6400 − 640) = 4 · 6480. 4 would mean that only weights were counted, 4.05 that inputs and outputs were "
    "left out, 4.4444 that the biases were, and a value below 1.1 that numbers have one byte.",
    80,
    80,
    1,
)
check_batch(
    40.5,
    "n · (6400 − 3200) = 20 · 6480. A ridge five times as high asks for nine times the images, since the inputs and "
    "outputs of the images want to be moved as well.",
    80,
    80,
    5,
)
check_batch(
    8080 / 1520,
    "n · (2000 − 480) = 4 · (2000 + 20). There is a bias for each of the 20 units and none for an input.",
    100,
    20,
    1,
)
check_batch(
    np.inf, "The intensity comes as near to 10 as one likes with more images, and never gets there.", 80, 80, 10
)
check_batch(np.inf, "A negative number of images is no answer: the ridge is out of reach.", 80, 80, 25)
### BEGIN HIDDEN TESTS
import random


def hidden_enough(images, inputs, units, ridge):
    """Return whether so many images reach the ridge."""
    numbers = (inputs + 1) * units + images * inputs + images * units
    return images * inputs * units >= ridge * numbers * 4


hidden_random = random.Random(804)
hidden_kinds = set()
for _ in range(80):
    hidden_inputs, hidden_units = (round(10 ** hidden_random.uniform(0.3, 4)) for _ in range(2))
    hidden_ridge = hidden_random.choice([0.3, 1.7, 6.1, 23.9, 70.3])

    hidden_layer = hidden_inputs, hidden_units, hidden_ridge
    hidden_low, hidden_high = 0.0, 1e12
    if hidden_enough(hidden_high, *hidden_layer):
        for _ in range(200):  # halve the stretch in which the ridge is reached
            hidden_middle = (hidden_low + hidden_high) / 2
            if hidden_enough(hidden_middle, *hidden_layer):
                hidden_high = hidden_middle
            else:
                hidden_low = hidden_middle
    else:
        hidden_high = np.inf
    hidden_kinds.add(hidden_high == np.inf)
    check_batch(hidden_high, "Searching for the batch gives this.", *hidden_layer)
assert len(hidden_kinds) == 2
### END HIDDEN TESTS

# %% [markdown]
# Now for real layers, the three dense ones of AlexNet and those of LeNet-5. Before you run the cell, guess: which of
# them never reaches a ridge of 20, however large the batch?

# %%
ridges = (1, 2, 5, 10, 20, 50)
print("images a call for a ridge of" + "".join(f"{ridge:8d}" for ridge in ridges))
for name, inputs, units in (
    ("AlexNet 9216 → 4096", 9216, 4096),
    ("AlexNet 4096 → 4096", 4096, 4096),
    ("AlexNet 4096 → 1000", 4096, 1000),
    ("LeNet-5  400 → 120", 400, 120),
    ("LeNet-5  120 → 84", 120, 84),
    ("LeNet-5   84 → 10", 84, 10),
):
    print(f"{name:28s}" + "".join(f"{ridge_batch(inputs, units, ridge):8.1f}" for ridge in ridges))

# %% [markdown]
# To think about, without points: numbers of two bytes instead of four halve what is moved. What does that do to these
# batches, if the rate stays the same?

# %% [markdown]
# ## Question 3: a few bits for each number
#
# **a)** Write `quantize(kernel, bits)`, a symmetric quantizer with a step for each channel. The channels are the last
# axis of `kernel`, which has two axes or more.
#
# - Codes are whole numbers from −h to h, with h = 2^(bits − 1) − 1.
# - The step of a channel is its largest magnitude over h.
# - The code of a weight is the whole number nearest to weight / step, as `np.rint` finds it.
# - A channel in which all weights are 0 has only codes of 0.
#
# Return `(codes, values)`, both of the kernel's shape: the codes, an array of integers, and the values that they stand
# for, code times step.
#
# Try it on paper for 4 bits and one channel with the weights 0.7, −0.33 and 0.04.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `axis=(0, 1, 2)` takes all axes but the last of a kernel with four. For any number of axes that is
# `tuple(range(kernel.ndim - 1))`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The largest magnitude is not the largest value: take `np.abs` first. The steps have shape `(channels,)`, and NumPy
# divides each channel by its own.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# In a channel of zeros the step would be 0, and 0 / 0 is NaN. Any other step holds zeros as well:
# `np.where(step > 0, step, 1)`.
#
# </details>


# %% nbgrader={"grade_id": "q3-quantize", "solution": true}
def quantize(kernel, bits):
    """Return the codes of a kernel (…, channels), and the values that they stand for."""
    ### BEGIN SOLUTION
    step = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1))) / (2 ** (bits - 1) - 1)
    step = np.where(step > 0, step, 1)
    codes = np.rint(kernel / step).astype(int)
    return codes, codes * step
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-quantize-tests", "points": 2}
import numpy as np


def check_quantize(codes, values, mistake, kernel, bits):
    """Compare one answer of quantize with the expected codes and values."""
    kernel, codes, values = np.array(kernel, float), np.array(codes, int), np.array(values, float)
    with np.errstate(all="ignore"):
        given = quantize(kernel.copy(), bits)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"quantize returns two arrays, (codes, values); yours returns {type(given).__name__}."
    )
    yours, meant = np.asarray(given[0]), np.asarray(given[1])
    called = f"quantize({kernel.round(4).tolist()}, {bits})"
    called = called if kernel.size < 20 else f"A kernel of shape {kernel.shape}, {bits} bits"
    assert yours.shape == codes.shape and np.issubdtype(yours.dtype, np.integer), (
        f"{called}: the codes should be integers of shape {codes.shape}; yours are {yours.dtype} of shape "
        f"{yours.shape}. {mistake}"
    )
    assert (yours == codes).all(), (
        f"{called}: the codes should be {codes.ravel()[:20].tolist()}; yours are "
        f"{yours.ravel()[:20].tolist()}. {mistake}"
    )
    assert meant.shape == values.shape and np.allclose(meant, values, rtol=1e-9, atol=1e-12), (
        f"{called}: the codes are right. They should stand for {values.ravel()[:20].round(4).tolist()}; "
        f"yours stand for {meant.ravel()[:20].round(4).tolist()}. {mistake}"
    )


check_quantize(
    [[7], [-3], [0]],
    [[0.7], [-0.3], [0]],
    "With 4 bits h is 7 and the step 0.1. Codes up to 8 would mean that h is 2^(bits − 1). A code of −4 would mean "
    "that the numbers were rounded down.",
    [[0.7], [-0.33], [0.04]],
    4,
)
check_quantize(
    [[7, 7], [-4, -4], [1, 1]],
    [[0.7, 70], [-0.4, -40], [0.1, 10]],
    "The second channel is a hundred times the first one, so its codes are the same. Codes of 0 in the first channel "
    "would mean one step for all. −3 instead of −4 would mean that the numbers were cut off, not rounded.",
    [[0.7, 70], [-0.38, -38], [0.06, 6]],
    4,
)
check_quantize(
    [[-127], [25]],
    [[-1], [25 / 127]],
    "The largest magnitude is that of −1, and 0.2 · 127 = 25.4.",
    [[-1], [0.2]],
    8,
)
check_quantize(
    [[0, 3], [0, -1]],
    [[0, 1], [0, -1 / 3]],
    "All weights of the first channel are 0, and so are its codes. A strange number there would mean 0 / 0.",
    [[0, 1], [0, -0.4]],
    3,
)
check_quantize(
    [[[[1, 0]], [[1, 1]]], [[[-1, 0]], [[0, -1]]]],
    [[[[2, 0]], [[2, 6]]], [[[-2, 0]], [[0, -6]]]],
    "A convolution with 2 bits has the codes −1, 0 and 1. Each of its two maps has a step of its own, 2 and 6.",
    [[[[1.5, 2]], [[2, 6]]], [[[-1.2, -1]], [[0.3, -4]]]],
    2,
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(805)
for hidden_case in range(40):
    hidden_shape = [(7, 3), (3, 2, 2, 4), (4, 2, 3)][hidden_case % 3]
    hidden_kernel = hidden_random.normal(0.2, 10.0 ** hidden_random.uniform(-3, 2, hidden_shape[-1]), hidden_shape)
    hidden_kernel[..., 0] *= hidden_case % 4 > 0
    hidden_bits = int(hidden_random.integers(2, 11))
    hidden_highest = sum(2**place for place in range(hidden_bits - 1))
    hidden_codes, hidden_values = np.zeros(hidden_shape, int), np.zeros(hidden_shape)
    for hidden_channel in range(hidden_shape[-1]):
        hidden_size = max(abs(weight) for weight in hidden_kernel[..., hidden_channel].ravel())
        hidden_grid = [hidden_size * code / hidden_highest for code in range(-hidden_highest, hidden_highest + 1)]
        for hidden_row in np.ndindex(hidden_shape[:-1]):
            hidden_place = (*hidden_row, hidden_channel)
            hidden_far = [abs(value - hidden_kernel[hidden_place]) for value in hidden_grid]
            if hidden_size:
                hidden_codes[hidden_place] = hidden_far.index(min(hidden_far)) - hidden_highest
            hidden_values[hidden_place] = hidden_codes[hidden_place] / hidden_highest * hidden_size
    check_quantize(
        hidden_codes,
        hidden_values,
        "Looking for the nearest of all codes gives this.",
        hidden_kernel.tolist(),
        hidden_bits,
    )
### END HIDDEN TESTS

# %% [markdown]
# What is a step for each channel worth? Here is a kernel of eight channels, whose sizes go from 0.01 to 1. The cell
# compares one step for all (it makes the kernel a single channel for that) with a step for each. Both columns are the
# signal to noise of the *smallest* channel in decibels: 20 means that the mean square of its weights is a hundred times
# that of their error. Before you run it, guess: how many decibels does one bit more bring?

# %%
generator = np.random.default_rng(8)
kernel = generator.normal(size=(200, 8)) * np.geomspace(0.01, 1, 8)
print("bits      one step for all      a step for each channel")
for bits in (8, 7, 6, 5, 4, 3, 2):
    together = quantize(kernel.reshape(-1, 1), bits)[1].reshape(kernel.shape)
    noise = [((values - kernel)[:, 0] ** 2).mean() for values in (together, quantize(kernel, bits)[1])]
    line = "".join(f"{10 * np.log10((kernel[:, 0] ** 2).mean() / each):19.1f} dB" for each in noise)
    print(f"{bits:4d}{line}")

# %% [markdown]
# To think about, without points: what does 0 dB mean for the weights of that channel?
#
# **b)** Activations after a ReLU are never negative, so half of the symmetric codes would be idle. Write
# `affine(values, bits)` for them. Codes are whole numbers from 0 to 2^bits − 1.
#
# - The range goes from `low` to `high`, the smallest and the largest of the values. But 0 must lie in the range: if all
#   values are positive, `low` is 0, and if all are negative, `high` is 0.
# - The step is (high − low) / (2^bits − 1). If all values are 0, the step is 1.
# - The *zero point* is the code that stands for 0: −low / step, rounded to a whole number.
# - The code of a value is value / step, rounded to a whole number, plus the zero point.
#
# Return `(step, zero_point, codes)`: a number, a whole number, and an array of integers in the shape of `values`. Round
# with `np.rint`. (No code leaves the range, except perhaps where −low / step ends in exactly one half, which does not
# occur here.)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# For −0.5, 0.4 and 1 with 2 bits the step is 1.5 / 3 = 0.5. Which code stands for 0, and which for −0.5?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `min(0, values.min())` takes care that 0 is in the range. Round −low / step and value / step each by itself: the value
# 0 then has exactly the code of the zero point.
#
# </details>


# %% nbgrader={"grade_id": "q3-affine", "solution": true}
def affine(values, bits):
    """Return the step, the zero point and the codes of values between their smallest and their largest."""
    ### BEGIN SOLUTION
    low, high = min(0, values.min()), max(0, values.max())
    step = (high - low) / (2**bits - 1) or 1
    zero_point = int(np.rint(-low / step))
    return step, zero_point, np.rint(values / step).astype(int) + zero_point
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-affine-tests", "points": 2}
import numpy as np


def check_affine(step, zero_point, codes, mistake, values, bits):
    """Compare one answer of affine with the expected step, zero point and codes."""
    called = f"affine({values}, {bits})"
    try:
        with np.errstate(all="ignore"):
            given = affine(np.array(values, float), bits)
    except ZeroDivisionError as error:
        raise AssertionError(f"{called} divides by zero. {mistake}") from error
    assert isinstance(given, (tuple, list)) and len(given) == 3, (
        f"affine returns (step, zero_point, codes); yours returns {given}."
    )
    assert np.ndim(given[0]) == 0 and np.isclose(given[0], step, rtol=1e-9, atol=0), (
        f"{called}: the step should be {step:.6f}; yours is {given[0]}. {mistake}"
    )
    assert np.ndim(given[1]) == 0 and given[1] == zero_point, (
        f"{called}: the step is right. The zero point should be {zero_point}; yours is {given[1]}. {mistake}"
    )
    yours, codes = np.asarray(given[2]), np.array(codes, int)
    assert yours.shape == codes.shape and np.issubdtype(yours.dtype, np.integer), (
        f"{called}: the codes should be integers of shape {codes.shape}; yours are {yours.dtype} of shape "
        f"{yours.shape}. {mistake}"
    )
    assert (yours == codes).all(), (
        f"{called}: the codes should be {codes.tolist()}; yours are {yours.tolist()}. {mistake}"
    )


check_affine(
    0.5,
    1,
    [0, 1, 2, 3],
    "From −0.5 to 1 there are three steps of 0.5. 0.375 would mean that there are four. The code 1 stands for 0.",
    [-0.5, 0, 0.4, 1],
    2,
)
check_affine(
    2,
    0,
    [1, 2, 3],
    "All values are positive, so the range begins at 0. A step of 1.3333 would mean that it began at 2.",
    [2, 3.6, 6],
    2,
)
check_affine(1, 3, [0, 2], "All values are negative, so the range ends at 0, whose code is the last one.", [-3, -1], 2)
check_affine(1, 0, [[0, 0]], "All values are 0. NaN, or an error by a division, would mean 0 / 0.", [[0, 0]], 4)
check_affine(
    3.4 / 7,
    2,
    [0, 2, 7],
    "−low / step is 2.06, so the zero point is 2. 0.23 lies 0.47 steps above 0, so it has the code 2. A code of 3 "
    "would mean that it was counted from low, which is no multiple of a step.",
    [-1, 0.23, 2.4],
    3,
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(806)
for hidden_case in range(60):
    hidden_values = hidden_random.normal([0, 1, -1, 5, -5][hidden_case % 5], 1.5, (3, 5)).round(3)
    hidden_bits = int(hidden_random.integers(2, 9))
    hidden_ends = sorted([*hidden_values.ravel().tolist(), 0.0])
    hidden_step = (hidden_ends[-1] - hidden_ends[0]) / (sum(2**place for place in range(hidden_bits)))
    hidden_zero = -hidden_ends[0] / hidden_step
    if abs(hidden_zero % 1 - 0.5) < 0.01 or (abs(hidden_values / hidden_step % 1 - 0.5) < 1e-6).any():
        continue
    check_affine(
        hidden_step,
        int(hidden_zero + 0.5),
        [[int(value / hidden_step + 1000.5) - 1000 + int(hidden_zero + 0.5) for value in row] for row in hidden_values],
        "Value by value this comes out.",
        hidden_values.tolist(),
        hidden_bits,
    )
### END HIDDEN TESTS

# %% [markdown]
# Why whole numbers at all? Because products and sums of codes are whole numbers, too, which a machine can compute in
# integers. The steps come in once, at the end. The cell computes a dense layer with 8-bit codes for inputs and weights,
# and adds them up in integers. Before you run it, guess: how many bits does the largest of the sums need?

# %%
inputs, weights = np.maximum(generator.normal(size=(50, 200)), 0), generator.normal(size=(200, 10))
step, zero_point, input_codes = affine(inputs, 8)
weight_codes, weight_values = quantize(weights, 8)
weight_steps = np.abs(weights).max(axis=0) / 127
sums = (input_codes - zero_point) @ weight_codes
rounded = sums * step * weight_steps
exact = inputs @ weights
largest = int(np.abs(sums).max())
print(f"sums: {sums.dtype}, the largest is {largest:,} and needs {largest.bit_length() + 1} bits with its sign")
print(f"the same from the values: {np.allclose(rounded, (step * (input_codes - zero_point)) @ weight_values)}")
print(f"signal to noise: {10 * np.log10((exact**2).mean() / ((rounded - exact) ** 2).mean()):.1f} dB")

# %% [markdown]
# ## Question 4: which weights go, and when
#
# **a)** Write `masks(kernels, share)`. `kernels` is a dictionary from names to arrays. A mask has the shape of its
# kernel, and is True where a weight stays. Return a dictionary of masks, one for each name.
#
# - All kernels are ranked together: those weights go that are smallest in magnitude, in whatever kernel they stand.
# - Exactly `round(share * n)` of the n weights go.
# - Of equal magnitudes the earlier one goes first: earlier in the dictionary's order, and within a kernel in the order
#   of `ravel()`.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `np.concatenate([kernel.ravel() for kernel in kernels.values()])` lays all weights in one row. Find out which of the
# row go, then cut the row into kernels again.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A threshold removes all equal ones or none of them. `np.argsort(sizes, kind="stable")` gives the places from the
# smallest to the largest, of equal ones the earlier first. Those that go are the first so many of it.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Begin with `np.ones(n, bool)` and set the places that go to False. Then go through the kernels: each takes the next
# `kernel.size` elements, with `.reshape(kernel.shape)`.
#
# </details>


# %% nbgrader={"grade_id": "q4-masks", "solution": true}
def masks(kernels, share):
    """Return masks by name, True where a weight stays when the share of all that is smallest in magnitude goes."""
    ### BEGIN SOLUTION
    sizes = np.abs(np.concatenate([kernel.ravel() for kernel in kernels.values()]))
    stays = np.ones(sizes.size, bool)
    stays[np.argsort(sizes, kind="stable")[: round(share * sizes.size)]] = False
    parts = np.split(stays, np.cumsum([kernel.size for kernel in kernels.values()])[:-1])
    return {name: part.reshape(kernels[name].shape) for name, part in zip(kernels, parts, strict=True)}
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-masks-tests", "points": 2}
import numpy as np


def check_masks(expected, mistake, kernels, share):
    """Compare one answer of masks with the expected ones, written as 1 and 0."""
    arrays = {name: np.array(kernel, float) for name, kernel in kernels.items()}
    given = masks({name: array.copy() for name, array in arrays.items()}, share)
    called = f"masks({kernels}, {share})" if sum(array.size for array in arrays.values()) < 20 else "masks"
    assert isinstance(given, dict) and set(given) == set(expected), (
        f"{called} should be a dictionary with a mask for each of {list(expected)}; yours gives {given}."
    )
    for name, array in arrays.items():
        mask, right = np.asarray(given[name]), np.array(expected[name], bool)
        assert mask.shape == array.shape and mask.dtype == bool, (
            f"{called}: the mask of {name} should have shape {array.shape} and hold True and False; yours has "
            f"{mask.shape} and {mask.dtype}. {mistake}"
        )
        assert (mask == right).all(), (
            f"{called}: of {name} {right.sum()} weights should stay, with the mask {right.ravel()[:20].tolist()}; of "
            f"yours {mask.sum()} stay, with {mask.ravel()[:20].tolist()}. {mistake}"
        )


check_masks(
    {"C1": [[1, 0], [0, 1]]},
    "The smallest are 0.5 and −1. If −3 goes, the sign was not taken off.",
    {"C1": [[-3, -1], [0.5, 2]]},
    0.5,
)
check_masks(
    {"C1": [1, 1], "F6": [[0, 0], [0, 1]]},
    "Three of six go, and the three smallest all stand in F6. If one of C1 goes, each kernel was ranked by itself.",
    {"C1": [5, -6], "F6": [[0.1, 0.2], [-0.3, 7]]},
    0.5,
)
check_masks(
    {"C1": [0, 0, 0], "F6": [1, 1]},
    "All are equal in size, and three of five go: the first three. A threshold would remove all of them or none.",
    {"C1": [1, -1, 1], "F6": [1, -1]},
    0.6,
)
check_masks(
    {"C1": [0, 1, 0, 1, 0]},
    "round(0.55 · 5) is 3. If two go, the number was rounded down.",
    {"C1": [1, 5, 2, 4, 3]},
    0.55,
)
check_masks({"C1": [1, 1], "F6": [1]}, "A share of 0 removes nothing, not even a zero.", {"C1": [0, 2], "F6": [3]}, 0)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(807)
for hidden_case in range(50):
    hidden_kernels, hidden_ranks = {}, []
    for hidden_name in ["output", "C1", "F6", "C3"][: 1 + hidden_case % 4]:
        hidden_shape = tuple(hidden_random.integers(1, 5, int(hidden_random.integers(1, 5))).tolist())
        hidden_array = hidden_random.normal(0, hidden_random.choice([0.3, 1, 4]), hidden_shape)
        hidden_kernels[hidden_name] = (hidden_array.round() if hidden_case % 3 else hidden_array).tolist()
        for hidden_place in np.ndindex(hidden_shape):
            hidden_ranks.append((abs(np.array(hidden_kernels[hidden_name])[hidden_place]), len(hidden_ranks)))
    hidden_share = float(hidden_random.choice([0, 0.25, 0.37, 0.5, 0.9, 0.975]))
    hidden_gone = {rank for _, rank in sorted(hidden_ranks)[: round(hidden_share * len(hidden_ranks))]}
    hidden_expected, hidden_count = {}, 0
    for hidden_name, hidden_kernel in hidden_kernels.items():
        hidden_expected[hidden_name] = np.zeros(np.shape(hidden_kernel))
        for hidden_place in np.ndindex(np.shape(hidden_kernel)):
            hidden_expected[hidden_name][hidden_place] = hidden_count not in hidden_gone
            hidden_count += 1
    check_masks(
        hidden_expected,
        "Sorting pairs of magnitude and place gives this.",
        hidden_kernels,
        hidden_share,
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** *Iterative* pruning removes some weights, trains, removes more, and trains again. In each round the same part
# of what is left goes. After r of R rounds to a share s the share that is gone is 1 − (1 − s)^(r / R).
#
# Write `prune_in_rounds(weights, final, rounds, train)`. `weights` is an array of one axis, with n weights. `train` is
# a function that gets such an array and returns a new one, of the same shape. It knows nothing of what was removed: it
# may move any weight. Each round does this:
#
# 1. Of the weights *as they are now*, set the `round(share * n)` smallest in magnitude to 0, with the share of this
#    round. Weights removed before are 0, so they are among them. Of equal ones the earlier goes first.
# 2. Train.
# 3. Set the weights that were removed to 0 again.
#
# Return `(shares, weights)`: the list of the shares, one for each round, and the weights after the last round.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# From 0 to 75 % in two rounds: half goes, then half of the other half. So the shares are 0.5 and 0.75.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# In a round, `stays = np.ones(n, bool)` and `stays[np.argsort(np.abs(weights), kind="stable")[:count]] = False`. Then
# `np.where(stays, weights, 0)` sets the others to 0, before the training and once more after it.
#
# </details>


# %% nbgrader={"grade_id": "q4-rounds", "solution": true}
def prune_in_rounds(weights, final, rounds, train):
    """Return the share after each round, and the weights after iterative pruning with training in each round."""
    ### BEGIN SOLUTION
    shares = [1 - (1 - final) ** (number / rounds) for number in range(1, rounds + 1)]
    for share in shares:
        stays = np.ones(weights.size, bool)
        stays[np.argsort(np.abs(weights), kind="stable")[: round(share * weights.size)]] = False
        weights = np.where(stays, train(np.where(stays, weights, 0)), 0)
    return shares, weights
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-rounds-tests", "points": 2}
import numpy as np


def check_rounds(shares, expected, mistake, weights, final, rounds, train):
    """Compare one answer of prune_in_rounds with the expected shares and weights."""
    calls = []

    def counted(current):
        calls.append(np.array(current, float))
        return np.array(train(calls[-1].copy()), float)

    given = prune_in_rounds(np.array(weights, float), final, rounds, counted)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"prune_in_rounds returns (shares, weights); yours returns {given}."
    )
    called = f"{weights if len(weights) < 12 else len(weights)} weights, final {final}, rounds {rounds}"
    listed, yours = [float(share) for share in given[0]], np.asarray(given[1], float)
    assert len(listed) == rounds and np.allclose(listed, shares, rtol=0, atol=1e-9), (
        f"{called}: the shares should be {np.round(shares, 4).tolist()}; yours are {np.round(listed, 4).tolist()}. "
        f"{mistake}"
    )
    assert len(calls) == rounds, (
        f"{called}: there is one training in each round, so {rounds} in all; the number of yours is {len(calls)}. "
        f"{mistake}"
    )
    assert yours.shape == np.shape(expected) and np.allclose(yours, expected, rtol=1e-9, atol=1e-9), (
        f"{called}: the shares are right. The weights should end as {np.round(expected[:12], 4).tolist()}; yours end "
        f"as {yours[:12].round(4).tolist()}. {mistake}"
    )


check_rounds(
    [0.5, 0.75],
    [4, 0, 0, 0],
    "Half goes, then half of what is left. 0.375 and 0.75 would mean equal steps. This training changes nothing.",
    [4, -3, 2, 1],
    0.75,
    2,
    lambda weights: weights,
)
check_rounds(
    [0.5, 0.75],
    [0, 7, 0, 0],
    "This training adds 1 to each weight. −3 and 5 are left and become −2 and 6. Then 6 alone is left and becomes 7. "
    "Numbers at the other places would mean that removed weights came back.",
    [-3, 5, 2, 1],
    0.75,
    2,
    lambda weights: weights + 1,
)
check_rounds(
    [0.5, 0.75],
    [0, 48, 0, 0],
    "This training makes the second weight four times as large. 4 and 3 are left, become 4 and 12, so the 4 goes. "
    "If the first weight is left, the ranking of the first weights was used in each round.",
    [4, 3, 2, 1],
    0.75,
    2,
    lambda weights: weights * np.array([1, 4, 1, 1]),
)
check_rounds(
    [0.2, 0.36, 0.488],
    [0, 0, 0, 0, 0, 6, 7, 8, 9, 10],
    "In each of three rounds a fifth of what is left goes: 2, then 4, then 5 weights in all are gone.",
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    0.488,
    3,
    lambda weights: weights,
)
check_rounds(
    [0.6],
    [0, 0, 2, -2.5, 0],
    "One round is one-shot pruning. Three of five go, of the equal ones the first, and training comes after it. This "
    "training makes the last weight nine times as large. If a 9 is left, it came before.",
    [2, 2, 2, -2.5, 1],
    0.6,
    1,
    lambda weights: weights * np.array([1, 1, 1, 1, 9]),
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(808)
for _ in range(40):
    hidden_start = hidden_random.normal(size=int(hidden_random.integers(3, 40)))
    hidden_final = float(hidden_random.choice([0.43, 0.8, 0.93, 0.97]))
    hidden_rounds = int(hidden_random.integers(1, 7))
    hidden_mix = hidden_random.normal(0, 0.3, (len(hidden_start), len(hidden_start)))
    hidden_weights = dict(enumerate(hidden_start.tolist()))  # only those that are left
    hidden_shares, hidden_left = [], 1.0
    for _ in range(hidden_rounds):
        hidden_left *= (1 - hidden_final) ** (1 / hidden_rounds)
        hidden_shares.append(1 - hidden_left)
        hidden_order = sorted(hidden_weights, key=lambda place: (abs(hidden_weights[place]), place))
        hidden_still = len(hidden_start) - round(hidden_shares[-1] * len(hidden_start))
        for hidden_place in hidden_order[: len(hidden_order) - hidden_still]:
            del hidden_weights[hidden_place]
        hidden_pulls = {
            place: sum(hidden_mix[place, other] * weight for other, weight in hidden_weights.items())
            for place in hidden_weights
        }
        hidden_weights = {place: weight + 0.1 + hidden_pulls[place] for place, weight in hidden_weights.items()}
    check_rounds(
        hidden_shares,
        [hidden_weights.get(place, 0.0) for place in range(len(hidden_start))],
        "Keeping a list of what is left gives this.",
        hidden_start.tolist(),
        hidden_final,
        hidden_rounds,
        lambda weights, mix=hidden_mix: weights + 0.1 + mix @ weights,
    )
### END HIDDEN TESTS

# %% [markdown]
# Does it pay to remove slowly? Here is the smallest network that can be pruned, a single unit: 60 inputs, 80 examples,
# and an output to which only the first 6 inputs contribute. The inputs move together, so that others can stand in for
# these 6. Training finds the best values of the weights that are not 0, by least squares. Nine tenths of the weights
# are to go, so that 6 are left.
#
# The cell does it in 1, 2, 4 and 8 rounds, on 50 such tasks each. It prints how many of the right 6 inputs are left,
# and the mean square error on new examples. Before you run it, guess: why should one round not be enough?

# %%
generator = np.random.default_rng(8)
found, errors = ({count: [] for count in (1, 2, 4, 8)} for _ in range(2))
for _ in range(50):
    mixing, truth = generator.normal(size=(10, 60)), np.zeros(60)
    truth[:6] = generator.choice([-1, 1], 6) * generator.uniform(1, 2, 6)
    inputs = generator.normal(size=(1_080, 10)) @ mixing + generator.normal(size=(1_080, 60))
    output = inputs @ truth + 3 * generator.normal(size=1_080)

    def least_squares(weights, inputs=inputs[:80], output=output[:80]):
        """Return the best weights, where only those that are not 0 may move."""
        left, best = np.flatnonzero(weights), np.zeros(60)
        best[left] = np.linalg.lstsq(inputs[:, left], output, rcond=None)[0]
        return best

    for count in found:
        weights = prune_in_rounds(least_squares(np.ones(60)), 0.9, count, least_squares)[1]
        found[count].append(np.count_nonzero(weights[:6]))
        errors[count].append(np.mean((inputs[80:] @ weights - output[80:]) ** 2))
print("rounds    right inputs left    mean square error on new examples (noise alone: 9)")
for count in found:
    spread = np.std(errors[count], ddof=1) / 50**0.5
    print(f"{count:6d}{np.mean(found[count]):16.2f} of 6{np.mean(errors[count]):18.1f} ± {spread:.1f}")

# %% [markdown]
# To think about, without points: training between the rounds costs time. With eight rounds of training for one-shot as
# well, would it catch up here? And in a network, where training does not find the best weights at once?

# %% [markdown]
# ## Question 5: what a teacher's answer says
#
# **a)** A student with scores z learns from a label and from a teacher with scores v. For one example its loss is
#
# h · cross-entropy(label, softmax(z)) + (1 − h) · T² · cross-entropy(softmax(v / T), softmax(z / T))
#
# with a temperature T and a weight h of the label. The cross-entropy of answers p with targets q is −Σ q · log p. A
# label is a target with 1 at its class and 0 elsewhere.
#
# Write `distillation(scores, teacher, labels, temperature, hard)`. `scores` and `teacher` have shape `(n, classes)`,
# and `labels` are whole numbers, `(n,)`. Return `(loss, gradient)`: the mean loss of the n examples, a number, and the
# gradient of that mean with respect to the student's `scores`, `(n, classes)`. Scores may be as large as 1,000.
#
# Try it on paper for two classes, scores 0 and 0, h = 0, and a teacher whose answer at the temperature is 3/4 and 1/4:
# what is the gradient at T = 1, and at T = 2?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# With respect to z, cross-entropy(q, softmax(z)) has the gradient softmax(z) − q. For z / T the chain rule gives one
# factor 1 / T more. What is left of T²?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.exp(1000)` is infinite. Subtract the largest score of each example first: that changes no softmax. And take the
# logarithm by hand: log softmax(z) is z − log Σ exp(z), which never takes the logarithm of 0.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The gradient is h · (softmax(z) − label) + (1 − h) · T · (softmax(z / T) − softmax(v / T)), all of it over n, since
# the loss is a mean.
#
# </details>


# %% nbgrader={"grade_id": "q5-loss", "solution": true}
def distillation(scores, teacher, labels, temperature, hard):
    """Return the mean loss of a student by labels and by a teacher's scores, and its gradient by the scores."""

    ### BEGIN SOLUTION
    def logarithms(scores):
        """Return the logarithm of the softmax."""
        lower = scores - scores.max(axis=1, keepdims=True)
        return lower - np.log(np.exp(lower).sum(axis=1, keepdims=True))

    n = len(scores)
    answer, soft = logarithms(scores), logarithms(scores / temperature)
    target, soft_target = np.eye(scores.shape[1])[labels], np.exp(logarithms(teacher / temperature))
    loss = -hard * (target * answer).sum() - (1 - hard) * temperature**2 * (soft_target * soft).sum()
    gradient = hard * (np.exp(answer) - target) + (1 - hard) * temperature * (np.exp(soft) - soft_target)
    return loss / n, gradient / n
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-loss-tests", "points": 2}
import numpy as np


def check_loss(loss, gradient, mistake, scores, teacher, labels, temperature, hard):
    """Compare one answer of distillation with the expected loss and gradient."""
    arrays = np.array(scores, float), np.array(teacher, float), np.array(labels, int)
    with np.errstate(all="ignore"):
        given = distillation(*(array.copy() for array in arrays), temperature, hard)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"distillation returns the loss and its gradient; yours returns {given}."
    )
    shown = [array.round(4).tolist() for array in arrays]
    called = f"scores {shown[0]}, teacher {shown[1]}, labels {shown[2]}, T = {temperature}, h = {hard}"
    assert np.ndim(given[0]) == 0 and np.isclose(given[0], loss, rtol=1e-6, atol=1e-9), (
        f"{called}: the loss should be {loss:.6f}; yours is {given[0]}. {mistake}"
    )
    yours, gradient = np.asarray(given[1], float), np.array(gradient, float)
    assert yours.shape == gradient.shape and np.allclose(yours, gradient, rtol=1e-5, atol=1e-7), (
        f"{called}: the loss is right. The gradient should be {gradient.round(5).tolist()}; yours is "
        f"{yours.round(5).tolist()}. {mistake}"
    )


two, three = np.log(2), np.log(3)
check_loss(
    two,
    [[-0.5, 0.5]],
    "The label alone: the answers are 1/2 each, and 1/2 less than 1 for the right one.",
    [[0, 0]],
    [[5, 1]],
    [0],
    4,
    1,
)
check_loss(
    two,
    [[-0.25, 0.25]],
    "The teacher alone, whose answers are 3/4 and 1/4. A loss of 0.130812 would mean that the teacher's entropy was "
    "taken off, which makes it a divergence.",
    [[0, 0]],
    [[three, 0]],
    [1],
    1,
    0,
)
check_loss(
    4 * two,
    [[-0.5, 0.5]],
    "At T = 2 this teacher's answers are 3/4 and 1/4. The loss has T² = 4, and the gradient T² / T = 2 times −1/4. A "
    "gradient of −1 would mean that the factor 1 / T was forgotten.",
    [[0, 0]],
    [[2 * three, 0]],
    [1],
    2,
    0,
)
check_loss(
    1.75 * two,
    [[0.25, -0.25]],
    "Three quarters of log 2 for the label, and a quarter of 4 · log 2 for the teacher. 2.252728 would mean that the "
    "two weights were swapped.",
    [[0, 0]],
    [[2 * three, 0]],
    [1],
    2,
    0.75,
)
check_loss(
    two,
    [[-0.25, 0.25], [0.25, -0.25]],
    "Two examples: the loss is their mean, so each has half of the gradient that it would have alone.",
    [[0, 0], [0, 0]],
    [[0, 0], [0, 0]],
    [0, 1],
    1,
    1,
)
check_loss(
    15.597118874,
    [[-1.091329442, 0.837302745, 0.254026697]],
    "This is the example of the chapter. 15.568363 would mean that the label was met at T = 4 as well, and "
    "15.372656 that the teacher's scores were not divided by T.",
    [[1, 2, -1]],
    [[6, 2, 0]],
    [0],
    4,
    0.1,
)
check_loss(
    0,
    [[0, 0]],
    "The student is as good as sure, and right. nan would mean that exp(1000) was computed, or the logarithm of 0.",
    [[1000, 0]],
    [[1, 0]],
    [0],
    3,
    1,
)
### BEGIN HIDDEN TESTS
import math


def hidden_entropy(answers, targets):
    """Return the cross-entropy of the softmax of a list of scores with a list of targets."""
    top = max(answers)
    whole = top + math.log(sum(math.exp(answer - top) for answer in answers))
    return sum(target * (whole - answer) for answer, target in zip(answers, targets, strict=True))


def hidden_loss(scores, teacher, labels, temperature, hard):
    """Return the mean loss, example by example."""
    total = 0.0
    for student, master, label in zip(scores, teacher, labels, strict=True):
        powers = [math.exp((score - max(master)) / temperature) for score in master]
        soft = hidden_entropy([score / temperature for score in student], [power / sum(powers) for power in powers])
        right = [float(place == label) for place in range(len(student))]
        total += hard * hidden_entropy(student, right) + (1 - hard) * temperature**2 * soft
    return total / len(labels)


hidden_random = np.random.default_rng(809)
for hidden_case in range(30):
    hidden_shape = tuple(hidden_random.integers(2, 6, 2).tolist())
    hidden_scores, hidden_teacher = hidden_random.normal(0, [1, 5, 300][hidden_case % 3], (2, *hidden_shape))
    hidden_labels = hidden_random.integers(hidden_shape[1], size=hidden_shape[0]).tolist()
    hidden_rest = float(hidden_random.choice([0.5, 1, 2, 5, 20])), float(hidden_random.choice([0, 0.1, 0.5, 1]))
    hidden_gradient = np.zeros(hidden_shape)
    for hidden_place in np.ndindex(hidden_shape):
        hidden_both = []
        for hidden_move in (1e-4, -1e-4):
            hidden_moved = hidden_scores.copy()
            hidden_moved[hidden_place] += hidden_move
            hidden_both.append(hidden_loss(hidden_moved.tolist(), hidden_teacher.tolist(), hidden_labels, *hidden_rest))
        hidden_gradient[hidden_place] = (hidden_both[0] - hidden_both[1]) / 2e-4
    check_loss(
        hidden_loss(hidden_scores.tolist(), hidden_teacher.tolist(), hidden_labels, *hidden_rest),
        hidden_gradient,
        "Finite differences of the loss give this.",
        hidden_scores.tolist(),
        hidden_teacher.tolist(),
        hidden_labels,
        *hidden_rest,
    )
### END HIDDEN TESTS

# %% [markdown]
# A gradient should be checked against the loss that it belongs to: move a score by a little, and see by how much the
# loss changes. The cell does so at several temperatures, for the teacher's part alone. It also prints how long the
# gradient is, with the factor T² in the loss and without it. Before you run it, guess: what does the last column do
# when T doubles?

# %%
generator = np.random.default_rng(8)
scores, teacher, labels = generator.normal(size=(20, 5)), 3 * generator.normal(size=(20, 5)), np.zeros(20, int)
print("temperature   largest difference   length with T²   length without")
for temperature in (1, 2, 4, 8, 16, 32):
    gradient, differences = distillation(scores, teacher, labels, temperature, 0)[1], np.zeros((20, 5))
    for place in np.ndindex(20, 5):
        move = np.zeros((20, 5))
        move[place] = 1e-5
        up, down = (distillation(scores + sign * move, teacher, labels, temperature, 0)[0] for sign in (1, -1))
        differences[place] = (up - down) / 2e-5
    largest, length = np.abs(gradient - differences).max(), np.linalg.norm(gradient)
    print(f"{temperature:11d}{largest:21.1e}{length:17.4f}{length / temperature**2:17.6f}")

# %% [markdown]
# **b)** Now a student that learns. It is linear: its scores are `inputs @ weights`, with weights of shape `(features,
# classes)`. Its targets are probabilities of shape `(n, classes)`. They may be labels, a 1 and zeros in each row, or a
# teacher's answers.
#
# Write `train_student(inputs, targets, temperature, rate, steps)`. All weights begin at 0. Each step is one of plain
# gradient descent, with the learning rate `rate`, on the mean over all n examples of
#
# T² · cross-entropy(targets, softmax(scores / T)).
#
# The targets are met as they are: if they come from a teacher, they have been softened already. Return the weights.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The gradient by the scores of one example is T · (softmax(scores / T) − target), as in part a).
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A weight multiplies one input and adds to one score. So the gradient by the weights is `inputs.T @ g / n`, with the
# gradients g by the scores, one row an example.
#
# </details>


# %% nbgrader={"grade_id": "q5-student", "solution": true}
def train_student(inputs, targets, temperature, rate, steps):
    """Return the weights (features, classes) of a linear student after steps of gradient descent from 0."""
    ### BEGIN SOLUTION
    weights = np.zeros((inputs.shape[1], targets.shape[1]))
    for _ in range(steps):
        scores = inputs @ weights / temperature
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        slopes = temperature * (powers / powers.sum(axis=1, keepdims=True) - targets)
        weights = weights - rate * inputs.T @ slopes / len(inputs)
    return weights
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-student-tests", "points": 2}
import numpy as np


def check_student(expected, mistake, inputs, targets, temperature, rate, steps):
    """Compare one answer of train_student with the expected weights."""
    arrays, expected = (np.array(inputs, float), np.array(targets, float)), np.array(expected, float)
    with np.errstate(all="ignore"):
        given = np.asarray(train_student(*(array.copy() for array in arrays), temperature, rate, steps), float)
    called = f"{len(inputs)} examples, T = {temperature}, rate {rate}, steps {steps}"
    if arrays[0].size < 12:
        called = f"inputs {inputs}, targets {targets}, T = {temperature}, rate {rate}, steps {steps}"
    assert given.shape == expected.shape, (
        f"{called}: the weights should have shape {expected.shape}; yours have {given.shape}. {mistake}"
    )
    assert np.allclose(given, expected, rtol=1e-5, atol=1e-7), (
        f"{called}: the weights should be {expected[:3].round(4).tolist()}; yours are {given[:3].round(4).tolist()}. "
        f"{mistake}"
    )


one_step = 1 / (1 + np.exp(-1))  # the answer for class 0 when the scores are 0.5 and −0.5
check_student([[0, 0]], "Without any step the weights are 0.", [[1]], [[1, 0]], 1, 1, 0)
check_student(
    [[0.5, -0.5]],
    "The answers are 1/2 and 1/2, so the gradient is −1/2 and 1/2. The other signs would mean that the step went "
    "uphill.",
    [[1]],
    [[1, 0]],
    1,
    1,
    1,
)
check_student(
    [[1.5 - one_step, one_step - 1.5]],
    "The second step begins at the answer 0.7311, so it adds 0.2689. If the weights are 0.5 or 1, look whether the "
    "scores are computed anew in each step.",
    [[1]],
    [[1, 0]],
    1,
    1,
    2,
)
check_student(
    [[1.5, -1.5]],
    "At T = 3 the gradient by a score is T · (1/2 − 1). 4.5 would mean T², and 0.5 that T was left out.",
    [[1]],
    [[1, 0]],
    3,
    1,
    1,
)
check_student(
    [[3 - 2 * one_step, 2 * one_step - 3]],
    "Two steps at T = 2. After the first one the scores are 1 and −1. Divided by T they are 0.5 and −0.5.",
    [[1]],
    [[1, 0]],
    2,
    1,
    2,
)
check_student(
    [[0.5, -0.5], [-1, 1]],
    "Two examples with soft targets, each of which has its own input. Twice these weights would mean a sum over the "
    "examples and not their mean.",
    [[1, 0], [0, 2]],
    [[0.75, 0.25], [0.25, 0.75]],
    1,
    4,
    1,
)
### BEGIN HIDDEN TESTS
from math import exp as hidden_exp, log as hidden_log


def hidden_loss(inputs, targets, temperature, weights):
    """Return the mean loss of a student, example by example."""
    total = 0.0
    for row, target in zip(inputs, targets, strict=True):
        columns = zip(*weights, strict=True)
        answers = [sum(x * w for x, w in zip(row, column, strict=True)) / temperature for column in columns]
        top = max(answers)
        whole = top + hidden_log(sum(hidden_exp(answer - top) for answer in answers))
        total += temperature**2 * sum(t * (whole - answer) for t, answer in zip(target, answers, strict=True))
    return total / len(inputs)


hidden_random = np.random.default_rng(810)
for hidden_case in range(20):
    hidden_shape = int(hidden_random.integers(1, 4)), int(hidden_random.integers(2, 5))
    hidden_count, hidden_steps = int(hidden_random.integers(2, 8)), int(hidden_random.integers(1, 6))
    hidden_inputs = hidden_random.normal(size=(hidden_count, hidden_shape[0])).round(3).tolist()
    hidden_targets = hidden_random.dirichlet(np.ones(hidden_shape[1]), hidden_count)
    if hidden_case % 2:
        hidden_targets = np.eye(hidden_shape[1])[hidden_targets.argmax(axis=1)]
    hidden_targets = hidden_targets.tolist()
    hidden_temperature, hidden_rate = (
        float(hidden_random.choice([0.5, 1, 2, 4])),
        float(hidden_random.choice([0.1, 0.5])),
    )
    hidden_weights = np.zeros(hidden_shape)
    for _ in range(hidden_steps):
        hidden_gradient = np.zeros(hidden_shape)
        for hidden_place in np.ndindex(hidden_shape):
            hidden_both = []
            for hidden_move in (1e-4, -1e-4):
                hidden_moved = hidden_weights.copy()
                hidden_moved[hidden_place] += hidden_move
                hidden_both.append(
                    hidden_loss(hidden_inputs, hidden_targets, hidden_temperature, hidden_moved.tolist())
                )
            hidden_gradient[hidden_place] = (hidden_both[0] - hidden_both[1]) / 2e-4
        hidden_weights = hidden_weights - hidden_rate * hidden_gradient
    check_student(
        hidden_weights,
        "Descending by finite differences gives this.",
        hidden_inputs,
        hidden_targets,
        hidden_temperature,
        hidden_rate,
        hidden_steps,
    )
### END HIDDEN TESTS

# %% [markdown]
# Now the experiment: what does a teacher's answer say beyond the label? An example comes from one of five classes and
# has 20 numbers: the mean of its class plus noise of deviation 1. The classes overlap. The teacher knows the true
# means, so its scores are the best that there can be, and it is wrong now and then all the same. (Among a few thousand
# test examples a student may be a hair luckier.)
#
# The student sees few examples, and is told one of four things about each: its label; the class that the teacher
# thinks most likely, and nothing else; the teacher's whole answer; the same at T = 4. All have the same examples, rate
# and steps. The difference between the second and the first is that the teacher corrects odd labels. The difference
# between the third and the second is dark knowledge.
#
# Before you run the cell, guess: how many examples with labels are worth five with answers?

# %%
generator = np.random.default_rng(8)
means = 0.5 * generator.normal(size=(5, 20))
best = np.vstack([means.T, -(means**2).sum(axis=1) / 2])  # the teacher's weights


def draw(count):
    """Return so many inputs of each class, (n, 21), the last one 1 for an offset, and their labels, (n,)."""
    labels = np.repeat(np.arange(5), count)
    return np.column_stack([means[labels] + generator.normal(size=(len(labels), 20)), np.ones(len(labels))]), labels


def softened(scores, temperature):
    """Return the softmax of scores (n, classes) at a temperature."""
    powers = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


test, truth = draw(1_000)
print(f"teacher: {100 * ((test @ best).argmax(axis=1) == truth).mean():.1f} % right")
print("test accuracy (%), mean and standard error over 10 draws")
print("examples a class        labels   teacher's choice   teacher's answer     answer, T = 4")
for count in (2, 5, 20, 80):
    right = np.zeros((10, 4))
    for repetition in range(10):
        inputs, labels = draw(count)
        scores = inputs @ best
        told = np.eye(5)[labels], np.eye(5)[scores.argmax(axis=1)], softened(scores, 1), softened(scores, 4)
        for way, (targets, temperature) in enumerate(zip(told, (1, 1, 1, 4), strict=True)):
            weights = train_student(inputs, targets, temperature, 0.1, 200)
            right[repetition, way] = 100 * ((test @ weights).argmax(axis=1) == truth).mean()
    spread = right.std(axis=0, ddof=1) / 10**0.5
    line = "".join(f"{mean:13.1f} ± {error:.1f}" for mean, error in zip(right.mean(axis=0), spread, strict=True))
    print(f"{count:16d}{line}")

# %% [markdown]
# To think about, without points: this student has the form of its teacher, and the teacher is the best there is. What
# of the result would you expect to shrink for a student that is too small to do what its teacher does? And what would a
# teacher teach that is sure and wrong?
