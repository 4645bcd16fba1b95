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
# # Exercises 02: AlexNet
#
# Five questions on chapter 02, 20 points in all. Each question stands on its own, so they can be done in any order.
#
# | question | about | kind | points |
# | --- | --- | --- | --- |
# | 1 | why 227 pixels and not 224 | arithmetic and code | 4 |
# | 2 | what a layer on two GPUs costs | arithmetic | 4 |
# | 3 | local response normalisation | code | 4 |
# | 4 | the update rule | code | 4 |
# | 5 | ten windows instead of one | code and experiment | 4 |
#
# Write your answers where a cell says `YOUR CODE HERE`, and remove the line that raises `NotImplementedError`.
# Below each answer stands a cell with tests. Run it: silence means that the tests pass, and a message says what was
# expected, what came, and which mistake often gives that. When a sheet is graded, further tests with other numbers
# run.
#
# Hints open one at a time. Try for a few minutes before you open the next one.
#
# "The paper" is A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet classification with deep convolutional neural
# networks", *Advances in Neural Information Processing Systems* 25, 2012.
#
# *Running time: under a minute on a CPU. Needs: chapter 02.*

# %%
import course_lib

settings = course_lib.setup(chapter=2)

# %%
import numpy as np

# %% [markdown]
# ## Question 1: why 227 and not 224?
#
# The first layer of AlexNet has windows of 11 × 11 pixels and moves them in steps of 4. Nothing is padded there. The
# paper says that the image has 224 pixels a side (section 3.5), and it draws 55 places of the window along that side
# (figure 2). Both cannot be true.
#
# **a)** The first window begins at pixel 0. Each further one begins `step` pixels later, and a window that would hang
# over the far edge is left out. So some pixels at the far edge may lie in no window at all.
#
# Write `unseen_pixels(size, window, step)`. It returns how many pixels of a line of `size` pixels lie in no window.
# The step is never longer than the window, so there are no gaps in between. A window that is longer than the line
# sees none of it.
#
# Work out two cases on paper first: 227 and 224 pixels, with windows of 11 in steps of 4.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Put the first window down. How many pixels lie to the right of it?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Each whole step into these pixels sees `step` more of them. What is left over is too short for another step.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `%` gives the remainder of a division. Deal with a window that is too long first: a remainder of a negative number
# is not what you want.
#
# </details>


# %% nbgrader={"grade_id": "q1-unseen", "solution": true}
def unseen_pixels(size, window, step):
    """Return how many of size pixels in a line lie in no window."""
    ### BEGIN SOLUTION
    if window > size:
        return size
    return (size - window) % step
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-unseen-tests", "points": 2}
def check_unseen(expected, mistake, size, window, step):
    """Compare one answer of unseen_pixels with the expected one."""
    given = unseen_pixels(size, window, step)
    assert given == expected, (
        f"unseen_pixels({size}, {window}, {step}) should be {expected}; yours gives {given}. {mistake}"
    )


check_unseen(
    0,
    "The last window begins at pixel 216 and ends exactly at the edge. 3 would mean that you divided all 227 pixels, "
    "not those beyond the first window.",
    227,
    11,
    4,
)
check_unseen(
    1,
    "213 pixels lie beyond the first window: 53 whole steps and 1 pixel. 3 would mean that you counted how many pixels "
    "the next window lacks; 0.25 that you gave the rest in steps and not in pixels.",
    224,
    11,
    4,
)
check_unseen(0, "Windows begin at pixels 0, 2 and 4, and the last one ends at the edge.", 7, 3, 2)
check_unseen(1, "Windows begin at pixels 0, 2, 4 and 6, and the last one ends with pixel 8.", 10, 3, 2)
check_unseen(4, "A window of 11 pixels has no place on 4 pixels, so none of them is seen.", 4, 11, 4)
assert isinstance(unseen_pixels(227, 11, 4), (int, np.integer)), (
    f"A number of pixels is an integer; yours is a {type(unseen_pixels(227, 11, 4)).__name__}. / gives a fraction even "
    "where nothing is left over; // and % of whole numbers give whole numbers."
)
### BEGIN HIDDEN TESTS
for hidden_size in range(1, 30):
    for hidden_window in range(1, 13):
        for hidden_step in range(1, min(hidden_window, 5) + 1):
            hidden_seen = set()
            for hidden_start in range(0, hidden_size - hidden_window + 1, hidden_step):
                hidden_seen.update(range(hidden_start, hidden_start + hidden_window))
            check_unseen(
                hidden_size - len(hidden_seen),
                "Mark the pixels of every window, and count those without a mark.",
                hidden_size,
                hidden_window,
                hidden_step,
            )
### END HIDDEN TESTS

# %% [markdown]
# **b)** Now follow the side of the maps through the network. Only four layers change it:
#
# | layer | window | step | places |
# | --- | --- | --- | --- |
# | conv1 | 11 | 4 | windows must fit exactly |
# | pool1, pool2, pool5 | 3 | 2 | rounded down: what is left over at the far edge is lost |
#
# Convolutions 2 to 5 are padded with zeros, so that a map is as large behind them as before.
#
# Write `alexnet_sides(side)`. It returns a list of four integers: the sides of the maps behind conv1, pool1, pool2
# and pool5, for an image of `side` pixels. Raise a `ValueError` where the windows of conv1 do not fit exactly, so
# that some pixel is unseen. Raise one too where any of the four windows finds no place.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A window has one place at the start, and one more for each whole step. That holds for the convolution and for the
# poolings.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Begin a list with the side behind conv1. Then append the next side three times, each computed from the last one in
# the list.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Before each division, compare the window with the side that it has to fit into.
#
# </details>


# %% nbgrader={"grade_id": "q1-sides", "solution": true}
def alexnet_sides(side):
    """Return the sides of AlexNet's maps behind conv1, pool1, pool2 and pool5; raise ValueError where none fits."""
    ### BEGIN SOLUTION
    if side < 11 or (side - 11) % 4:
        raise ValueError(f"Windows of 11 pixels in steps of 4 do not fit {side} pixels exactly.")
    sides = [(side - 11) // 4 + 1]
    for pooling in ("pool1", "pool2", "pool5"):
        if sides[-1] < 3:
            raise ValueError(f"{pooling} has windows of 3; it finds no place on maps of {sides[-1]} pixels.")
        sides.append((sides[-1] - 3) // 2 + 1)
    return sides
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-sides-tests", "points": 2}
def check_sides(expected, mistake, side):
    """Compare one answer of alexnet_sides with the expected one."""
    try:
        given = alexnet_sides(side)
    except ValueError as error:
        raise AssertionError(
            f"alexnet_sides({side}) should be {expected}; yours raises a ValueError. Only conv1 has to fit "
            f"exactly. {mistake}"
        ) from error
    assert np.ndim(given) == 1 and list(given) == expected, (
        f"alexnet_sides({side}) should be {expected}; yours gives {given}. {mistake}"
    )
    assert all(isinstance(value, (int, np.integer)) for value in given), (
        f"Sides are whole numbers of pixels; yours are {given}. / always gives a fraction, // gives a whole number."
    )


def check_sides_refused(mistake, side):
    """See that alexnet_sides raises a ValueError."""
    try:
        accepted = alexnet_sides(side)
    except ValueError:
        return
    raise AssertionError(f"alexnet_sides({side}) should raise a ValueError; yours returns {accepted}. {mistake}")


check_sides(
    [55, 27, 13, 6],
    "54 instead of 55 would mean that the place at the start was not counted; 56 that you divided before you took the "
    "window off.",
    227,
)
check_sides(
    [56, 27, 13, 6],
    "From 56, windows of 3 in steps of 2 find 27 places and one row is lost. 28 would mean blocks of 2 × 2, or "
    "rounding up.",
    231,
)
check_sides([15, 7, 3, 1], "Behind pool5 one place is left, and that is enough.", 67)
check_sides_refused("One pixel at the far edge of 224 is unseen.", 224)
check_sides_refused("Windows of 11 do not fit 7 pixels, though 11 - 7 is a whole step.", 7)
check_sides_refused("The maps have sides 14, 6 and 2, and no window of 3 fits into 2 pixels.", 63)
### BEGIN HIDDEN TESTS
for hidden_side in range(1, 300):
    hidden_wanted = [len(range(0, hidden_side - 11 + 1, 4))]
    for _hidden_pooling in range(3):
        hidden_wanted.append(len(range(0, hidden_wanted[-1] - 3 + 1, 2)))
    if min(hidden_wanted) == 0 or (hidden_wanted[0] - 1) * 4 + 11 != hidden_side:
        check_sides_refused("Count the places of each window one by one.", hidden_side)
    else:
        check_sides(hidden_wanted, "Count the places of each window one by one.", hidden_side)
### END HIDDEN TESTS

# %% [markdown]
# ## Question 2: what a layer on two GPUs costs
#
# The paper spreads the maps of its network over two GPUs, because one had too little memory (section 3.2).
# Convolutions 2, 4 and 5 see only the maps on their own GPU (section 3.5). That is a grouped convolution with two
# groups: the input maps are divided into `groups` equal parts and the output maps too, and each part of the outputs
# sees only its own part of the inputs.
#
# **a)** Write `grouped_parameters(kernel, inputs, outputs, groups)`. It returns the number of trainable parameters of
# a grouped convolution with square kernels of side `kernel`, `inputs` input maps and `outputs` output maps. Each
# output map has a bias. Raise a `ValueError` where `groups` does not divide the inputs or does not divide the outputs.
#
# Convolution 2 of AlexNet has 96 input maps, 256 output maps and 5 × 5 kernels. How many parameters does it have on
# two GPUs? How many on one?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Look at a single output map. How many input maps does it see if there are two groups?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# It has one kernel for each of these input maps, and one bias. No two output maps share weights.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The groups shorten the list of inputs of each output map. The number of output maps in the whole layer stays.
#
# </details>


# %% nbgrader={"grade_id": "q2-parameters", "solution": true}
def grouped_parameters(kernel, inputs, outputs, groups):
    """Return the number of trainable parameters of a grouped convolution with biases."""
    ### BEGIN SOLUTION
    if inputs % groups or outputs % groups:
        raise ValueError(f"{groups} groups must divide the {inputs} input maps and the {outputs} output maps.")
    return outputs * (kernel * kernel * (inputs // groups) + 1)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-parameters-tests", "points": 2}
def check_grouped_parameters(expected, mistake, *arguments):
    """Compare one answer of grouped_parameters with the expected one."""
    given = grouped_parameters(*arguments)
    call = ", ".join(map(str, arguments))
    assert given == expected, f"grouped_parameters({call}) should be {expected}; yours gives {given}. {mistake}"


def check_groups_refused(mistake, *arguments):
    """See that grouped_parameters raises a ValueError."""
    try:
        accepted = grouped_parameters(*arguments)
    except ValueError:
        return
    call = ", ".join(map(str, arguments))
    raise AssertionError(f"grouped_parameters({call}) should raise a ValueError; yours returns {accepted}. {mistake}")


check_grouped_parameters(
    114,
    "Each of 6 output maps sees 2 input maps: 6 × (2 × 9 + 1). 57 would mean that you counted one group only, 60 that "
    "you divided inputs and outputs, 108 that the biases are missing, 120 that each group has biases for all maps.",
    3,
    4,
    6,
    2,
)
check_grouped_parameters(
    307_456,
    "Convolution 2 on two GPUs. 614656 would mean that the groups were ignored.",
    5,
    96,
    256,
    2,
)
check_grouped_parameters(614_656, "Convolution 2 on one GPU: one group is an ordinary convolution.", 5, 96, 256, 1)
check_groups_refused("Five input maps cannot be shared out evenly between two groups.", 3, 5, 4, 2)
check_groups_refused("Four output maps cannot be shared out evenly among three groups.", 3, 6, 4, 3)
### BEGIN HIDDEN TESTS
check_grouped_parameters(34_944, "Convolution 1: each map sees 3 colours, 96 × (11 × 11 × 3 + 1).", 11, 3, 96, 1)
check_grouped_parameters(885_120, "Convolution 3 sees the maps of both GPUs.", 3, 256, 384, 1)
check_grouped_parameters(663_936, "Convolution 4: each map sees 192 maps, 384 × (9 × 192 + 1).", 3, 384, 384, 2)
check_grouped_parameters(442_624, "Convolution 5: 256 × (3 × 3 × 192 + 1).", 3, 384, 256, 2)
check_grouped_parameters(80, "As many groups as maps: each output map sees one input map.", 3, 8, 8, 8)
check_grouped_parameters(39, "Three groups of 1 × 1 kernels: 3 × (12 × 1 + 1).", 1, 36, 3, 3)
check_groups_refused("Neither can be shared out.", 3, 10, 14, 4)
check_groups_refused("Twelve input maps, but nine output maps.", 5, 12, 9, 2)
check_groups_refused("Nine input maps, but twelve output maps.", 5, 9, 12, 2)
### END HIDDEN TESTS

# %% [markdown]
# **b)** Write `grouped_macs(side, kernel, inputs, outputs, groups)`. It returns the number of multiply–accumulates of
# the same layer for one image. `side` is the side of the *output* maps, which are square. One multiply–accumulate is
# one product of a weight with a value, and its addition to the sum. Zeros of the padding count like any other value.
# Adding a bias does not count. `groups` divides inputs and outputs here.
#
# The maps of convolution 2 have 27 pixels a side. How much work do the two groups save?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# For one pixel of one output map, each weight of this map is used exactly once.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A square map of side 27 has 27 × 27 pixels, and each has the same amount of work.
#
# </details>


# %% nbgrader={"grade_id": "q2-macs", "solution": true}
def grouped_macs(side, kernel, inputs, outputs, groups):
    """Return the multiply–accumulates of a grouped convolution for one image; side is that of the output maps."""
    ### BEGIN SOLUTION
    each_pixel = kernel * kernel * (inputs // groups)
    return side * side * outputs * each_pixel
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-macs-tests", "points": 2}
def check_macs(expected, mistake, *arguments):
    """Compare one answer of grouped_macs with the expected one."""
    given = grouped_macs(*arguments)
    call = ", ".join(map(str, arguments))
    assert given == expected, f"grouped_macs({call}) should be {expected}; yours gives {given}. {mistake}"


check_macs(
    432,
    "4 pixels, 6 output maps, and 9 × 2 products for each. 216 would mean that the side was not squared or that you "
    "counted one group only, 456 that the biases were counted, 864 that the groups were ignored.",
    2,
    3,
    4,
    6,
    2,
)
check_macs(
    223_948_800,
    "Convolution 2 on two GPUs: 27 × 27 pixels, 256 maps, 5 × 5 × 48 products for each.",
    27,
    5,
    96,
    256,
    2,
)
check_macs(447_897_600, "Convolution 2 on one GPU does twice the work.", 27, 5, 96, 256, 1)
### BEGIN HIDDEN TESTS
check_macs(105_415_200, "Convolution 1: 55 × 55 pixels, 96 maps, 11 × 11 × 3 products.", 55, 11, 3, 96, 1)
check_macs(149_520_384, "Convolution 3: 13 × 13 pixels, 384 maps, 3 × 3 × 256 products.", 13, 3, 256, 384, 1)
check_macs(112_140_288, "Convolution 4: 13 × 13 pixels, 384 maps, 3 × 3 × 192 products.", 13, 3, 384, 384, 2)
check_macs(74_760_192, "Convolution 5: 13 × 13 pixels, 256 maps, 3 × 3 × 192 products.", 13, 3, 384, 256, 2)
check_macs(3_528, "Each output map sees one input map.", 7, 3, 8, 8, 8)
check_macs(300, "Kernels of a single weight: 25 pixels, 3 maps, 4 products.", 5, 1, 12, 3, 3)
### END HIDDEN TESTS

# %% [markdown]
# To think about, without points: your counts for the five convolutions should sum to 666 million, which is what Sze,
# Chen, Yang and Emer count (*Proceedings of the IEEE* 105(12), 2017). Which convolution has the most parameters, and
# which does the most work? Why are they not the same?

# %% [markdown]
# ## Question 3: local response normalisation
#
# Behind convolutions 1 and 2, AlexNet lets neighbouring maps compete (section 3.3). Call $a_i$ the value of map $i$ at
# some place. It becomes
#
# $$b_i = \frac{a_i}{\left(k + \alpha \sum_j a_j^2\right)^\beta}$$
#
# The sum runs over `depth` neighbouring maps at the *same* place, with map $i$ in the middle and itself among them.
# `depth` is odd. Near the first and the last map some neighbours do not exist; the sum then has fewer terms. The paper
# chose depth 5, $k = 2$, $\alpha = 0.0001$ and $\beta = 0.75$.
#
# Write `normalise(maps, depth=5, k=2.0, alpha=1e-4, beta=0.75)` with NumPy. Maps are the last axis of `maps`. Before
# it there may be any number of axes, for height, width and images, or none. The result has the same shape, and `maps`
# itself stays unchanged. A loop over the maps is fine here.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Square all values first. Then one map after the other: which slice of the squares belongs to map `i`?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# With `half = depth // 2` the neighbours of map `i` have the numbers `i - half` to `i + half`. A slice may end beyond
# the last map. It must not begin below 0, since a negative number counts from the end.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `squares[..., first : last + 1]` slices the last axis, however many axes stand before it. Sum it over `axis=-1`.
#
# </details>


# %% nbgrader={"grade_id": "q3-normalise", "solution": true}
def normalise(maps, depth=5, k=2.0, alpha=1e-4, beta=0.75):
    """Return the local response normalisation of maps (…, channels)."""
    ### BEGIN SOLUTION
    half = depth // 2
    squares = maps**2
    result = np.empty(maps.shape)
    for i in range(maps.shape[-1]):
        energy = squares[..., max(0, i - half) : i + half + 1].sum(axis=-1)
        result[..., i] = maps[..., i] / (k + alpha * energy) ** beta
    return result
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-normalise-tests", "points": 4}
import numpy as np


def check_normalise(expected, mistake, maps, tolerance=1e-3, **constants):
    """Compare one answer of normalise with the expected one."""
    maps = np.array(maps, "float64")
    before = maps.copy()
    given = np.asarray(normalise(maps, **constants))
    assert np.array_equal(maps, before), (
        "The maps that were passed in have changed. Write into a new array: a value that is already normalised must "
        "not count as a neighbour of the next one."
    )
    expected = np.array(expected, "float64")
    assert given.shape == expected.shape, (
        f"The result should have the shape of the maps, {expected.shape}; yours has {given.shape}."
    )
    assert np.allclose(given, expected, atol=tolerance), (
        f"For {constants or 'the constants of the paper'}, expected\n{expected.round(4)}\nbut got\n{given.round(4)}\n"
        f"{mistake}"
    )


check_normalise(
    [1 / 6, 2 / 15, 3 / 14],
    "Each map is divided by 1 plus the squares of itself and its neighbours: 1 + 4, 1 + 4 + 9 and 4 + 9. A first value "
    "of 0.0667 would mean that the last map was taken for a neighbour of the first; 1 that a slice began below 0; 0.5 "
    "that it ended one map too early; 0.25 that nothing was squared; 0.2 that a map was left out of its own sum; 0.375 "
    "that the sum was divided by the depth.",
    [1, 2, 3],
    depth=3,
    k=1.0,
    alpha=1.0,
    beta=1.0,
)
check_normalise(
    [29.9070, 26.0847, 23.2370, 26.0847, 29.9070],
    "Five maps of 100. The middle one has five terms in its sum, 100 / (2 + 5) ** 0.75; the first and the last have "
    "three. 23.237 everywhere would mean that missing neighbours were made up; 20 or 14.2857 that beta was forgotten.",
    [100, 100, 100, 100, 100],
)
check_normalise(
    [[[1 / 2, 0]], [[2 / 5, 0]]],
    "Two places with two maps each. 0.1667 would mean that places were taken for neighbours, and not maps.",
    [[[1, 0]], [[2, 0]]],
    depth=3,
    k=1.0,
    alpha=1.0,
    beta=1.0,
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(2012)
for hidden_shape, hidden_depth, hidden_k, hidden_alpha, hidden_beta in [
    ((2, 3, 4, 7), 5, 2.0, 1e-4, 0.75),
    ((4, 5, 11), 3, 1.0, 0.2, 0.5),
    ((9,), 7, 2.0, 0.05, 0.75),
    ((6, 6), 1, 0.5, 1.0, 1.0),
    ((2, 3), 9, 1.0, 0.3, 0.75),
]:
    hidden_maps = hidden_random.normal(scale=20, size=hidden_shape)
    hidden_expected = hidden_maps.copy()
    for hidden_place in np.ndindex(hidden_shape):
        hidden_sum = 0.0
        for hidden_map in range(hidden_shape[-1]):
            if abs(hidden_map - hidden_place[-1]) <= (hidden_depth - 1) / 2:
                hidden_sum += hidden_maps[(*hidden_place[:-1], hidden_map)] ** 2
        hidden_expected[hidden_place] /= (hidden_k + hidden_alpha * hidden_sum) ** hidden_beta
    check_normalise(
        hidden_expected,
        "A loop over every value and all its neighbours gives these values.",
        hidden_maps,
        tolerance=1e-6,
        depth=hidden_depth,
        k=hidden_k,
        alpha=hidden_alpha,
        beta=hidden_beta,
    )
# What tf.nn.local_response_normalization gave, as numbers: TensorFlow takes too long to load here.
hidden_maps = [[[[30, -21, -4, -35, -32, -12, -4], [-17, -1, 28, 21, 24, 23, -9]]]]
check_normalise(
    [
        [
            [
                [3.8274, -1.7336, -0.2610, -2.6968, -2.7593, -1.0395, -0.5575],
                [-2.5210, -0.1187, 2.6739, 1.8610, 2.0778, 2.6027, -1.2529],
            ]
        ]
    ],
    "TensorFlow gives these values with depth_radius=2.",
    hidden_maps,
    depth=5,
    alpha=0.01,
)
check_normalise(
    [
        [
            [
                [3.6367, -2.5309, -0.4336, -3.2745, -2.9133, -1.5466, -1.3333],
                [-4.3180, -0.1352, 3.5474, 2.2008, 2.7123, 2.9619, -1.6036],
            ]
        ]
    ],
    "TensorFlow gives these values with depth_radius=1.",
    hidden_maps,
    depth=3,
    k=1.0,
    alpha=0.05,
    beta=0.5,
)
### END HIDDEN TESTS

# %% [markdown]
# Does TensorFlow agree with you? The next cell normalises random maps twice and prints the largest difference.
# TensorFlow counts neighbours on one side only, so its `depth_radius` is 2 where the depth is 5.

# %%
import tensorflow as tf

random_maps = np.random.default_rng(settings.seed).normal(scale=50, size=(1, 13, 13, 96))
theirs = tf.nn.local_response_normalization(random_maps.astype("float32"), 2, bias=2.0, alpha=1e-4, beta=0.75)
# The layer of the course, course_lib.models.layers.LocalResponseNormalization, computes the same.
print(f"largest difference: {np.abs(normalise(random_maps) - theirs).max():.1e}")

# %% [markdown]
# ## Question 4: the update rule
#
# AlexNet moves each weight $w$ with a velocity $v$ (section 5). One step, with the gradient $g$ of the loss and the
# learning rate $\varepsilon$:
#
# $$v \leftarrow 0.9\,v - 0.0005\,\varepsilon\,w - \varepsilon\,g \qquad\text{then}\qquad w \leftarrow w + v$$
#
# 0.9 is the momentum: so much of the velocity stays from step to step. 0.0005 is the weight decay: it pulls each
# weight a little towards 0.
#
# Write `alexnet_step(weight, velocity, gradient, rate, momentum=0.9, decay=0.0005)`. It returns the new weight and the
# new velocity, in this order. `weight`, `velocity` and `gradient` are arrays of one shape, and what was passed in stays
# unchanged.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The formula has two steps. The second one uses a result of the first one. Which one?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Three terms make the new velocity: what is left of the old one, the decay, the gradient. Two of them contain the
# rate.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `velocity *= momentum` changes the array of the caller. `velocity = momentum * velocity - …` makes a new one.
#
# </details>


# %% nbgrader={"grade_id": "q4-step", "solution": true}
def alexnet_step(weight, velocity, gradient, rate, momentum=0.9, decay=0.0005):
    """Return weight and velocity after one step of AlexNet's update rule."""
    ### BEGIN SOLUTION
    velocity = momentum * velocity - decay * rate * weight - rate * gradient
    return weight + velocity, velocity
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-step-tests", "points": 4}
import numpy as np


def check_steps(expected, mistake, weight, velocity, gradients, rates, **constants):
    """Compare weight and velocity after some steps of alexnet_step with the expected ones."""
    weight, velocity = np.array(weight, "float64"), np.array(velocity, "float64")
    for gradient, rate in zip(gradients, rates, strict=True):
        passed = [weight, velocity, np.array(gradient, "float64")]
        before = [array.copy() for array in passed]
        answer = alexnet_step(*passed, rate, **constants)
        for name, array, old in zip(("weight", "velocity", "gradient"), passed, before, strict=True):
            assert np.array_equal(array, old), (
                f"The {name} that was passed in has changed. += and the like change an array in place: make a new one."
            )
        assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
            f"alexnet_step should return two things, the new weight and the new velocity; yours returns {answer!r}."
        )
        weight, velocity = (np.asarray(array) for array in answer)
    after = "1 step" if len(rates) == 1 else f"{len(rates)} steps"
    for name, given, wanted in zip(("velocity", "weight"), (velocity, weight), expected[::-1], strict=True):
        assert given.shape == np.shape(wanted) and np.allclose(given, wanted, rtol=0, atol=1e-9), (
            f"After {after} the {name} should be\n{np.array(wanted)}\nand yours is\n{given}\n{mistake}"
        )


check_steps(
    ([0.8], [-0.2]),
    "At rest and without decay the velocity becomes minus rate times gradient. 0.2 would mean a step uphill; -2 or 2 "
    "that the rate is missing; -0.20005 that `decay` was not used. A weight of 1 would mean that it moved with the old "
    "velocity.",
    [1.0],
    [0.0],
    [[2.0]],
    [0.1],
    decay=0.0,
)
check_steps(
    ([0.75], [-0.15]),
    "Half of the first velocity, -0.1, stays, and -0.1 comes on top. A velocity of -0.1 would mean that nothing stayed "
    "of the first one; -0.2 that all of it stayed.",
    [1.0],
    [0.0],
    [[1.0], [1.0]],
    [0.1, 0.1],
    momentum=0.5,
    decay=0.0,
)
check_steps(
    ([8.575], [-0.925]),
    "No gradient, only decay. Step 1: the velocity becomes -0.5 × 0.1 × 10 = -0.5, and the weight 9.5. Step 2: it is "
    "0.9 × -0.5 - 0.5 × 0.1 × 9.5. A velocity of 0 would mean that the decay was taken from the weight "
    "directly and not by way of the velocity; -7 that it was not multiplied by the rate.",
    [10.0],
    [0.0],
    [[0.0], [0.0]],
    [0.1, 0.1],
    decay=0.5,
)
check_steps(
    ([1.449995, -2.00999], [0.449995, -0.00999]),
    "The constants of the paper, rate 0.01. The decay contributes -0.000005 and +0.00001 here: it pulls a negative "
    "weight upwards.",
    [1.0, -2.0],
    [0.5, 0.0],
    [[0.0, 1.0]],
    [0.01],
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(580)
for hidden_shape, hidden_constants in [
    ((3, 4), {}),
    ((2, 3, 3, 1), {"momentum": 0.6, "decay": 0.3}),
    ((5,), {"momentum": 0.0, "decay": 0.1}),
    ((), {"decay": 0.02}),
]:
    hidden_rates = [0.1] * 6 + [0.01] * 6
    hidden_start = hidden_random.normal(size=(2, *hidden_shape))
    hidden_gradients = hidden_random.normal(size=(12, *hidden_shape))
    hidden_kept = hidden_constants.get("momentum", 0.9)
    hidden_pull = hidden_constants.get("decay", 0.0005)
    hidden_weights = np.array(hidden_start[0])
    hidden_speeds = np.array(hidden_start[1])
    for hidden_rate, hidden_gradient in zip(hidden_rates, hidden_gradients, strict=True):
        for hidden_place in np.ndindex(hidden_shape):
            hidden_push = hidden_rate * (hidden_gradient[hidden_place] + hidden_pull * hidden_weights[hidden_place])
            hidden_speeds[hidden_place] = hidden_kept * hidden_speeds[hidden_place] - hidden_push
            hidden_weights[hidden_place] += hidden_speeds[hidden_place]
    check_steps(
        (hidden_weights, hidden_speeds),
        "The rate fell to a tenth halfway. Weight by weight, the formula gives these values.",
        *hidden_start,
        hidden_gradients,
        hidden_rates,
        **hidden_constants,
    )
### END HIDDEN TESTS

# %% [markdown]
# To think about, without points: let the gradient always be 1, and the decay 0. At which value does the velocity stop
# changing? Set the new velocity equal to the old one in the formula. How many times larger is that than the first
# step?

# %% [markdown]
# ## Question 5: ten windows instead of one
#
# In training, AlexNet sees a random window of each image, half of them mirrored. For a test image, the paper takes ten
# fixed windows and averages the ten answers (section 4.1). You write both halves of that, and then you measure
# whether it helps.
#
# **a)** Write `ten_windows(images, side)`. `images` has shape (n, h, w, c). The result has shape
# (10, n, side, side, c):
#
# | place on the first axis | window |
# | --- | --- |
# | 0, 1, 2, 3 | upper left, upper right, lower left, lower right corner |
# | 4 | the centre |
# | 5, 6, 7, 8, 9 | the same five, mirrored so that left and right are exchanged |
#
# In the centre, equally many pixels are cut off above and below, and equally many left and right. Where their number is
# odd, one pixel less is cut off above than below, and one less on the left than on the right. Raise a `ValueError`
# where the images are smaller than the window.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Every window is given by the row and the column of its upper left pixel. Write these five pairs down for an image of
# 32 × 32 and a window of 28.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `down = h - side` rows are not in the window. For the lower corners all of them lie above it. For the centre half of
# them do, rounded down.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The axes are images, rows, columns, channels. `window[:, :, ::-1]` reverses the third one. `np.stack` puts a list of
# ten arrays into one array with a new first axis.
#
# </details>


# %% nbgrader={"grade_id": "q5-windows", "solution": true}
def ten_windows(images, side):
    """Return corners, centre and their mirror images of images (n, h, w, c), shape (10, n, side, side, c)."""
    ### BEGIN SOLUTION
    down, right = images.shape[1] - side, images.shape[2] - side
    if down < 0 or right < 0:
        raise ValueError(f"Images of {images.shape[1]} × {images.shape[2]} pixels have no window of {side} pixels.")
    places = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    five = [images[:, top : top + side, left : left + side] for top, left in places]
    return np.stack(five + [window[:, :, ::-1] for window in five])
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-windows-tests", "points": 2}
import numpy as np

PLACES = ("upper left", "upper right", "lower left", "lower right", "centre")


def check_windows(expected, mistake, images, side):
    """Compare one answer of ten_windows with the expected one."""
    given = np.asarray(ten_windows(images, side))
    expected = np.array(expected, "float64")
    assert given.shape == expected.shape, (
        f"Images of shape {images.shape} and side {side} should give shape {expected.shape}; yours is {given.shape}. "
        "The ten windows are a first axis of their own."
    )
    for number, (mine, wanted) in enumerate(zip(given, expected, strict=True)):
        name = f"{PLACES[number % 5]}{', mirrored' if number >= 5 else ''}"
        assert np.array_equal(mine, wanted), (
            f"Window {number} ({name}) should be\n{np.squeeze(wanted)}\nand yours is\n{np.squeeze(mine)}\n{mistake}"
        )


# Three rows and four columns: 0 1 2 3, then 4 5 6 7, then 8 9 10 11.
small = np.arange(12.0).reshape(1, 3, 4, 1)
five = [[[0, 1], [4, 5]], [[2, 3], [6, 7]], [[4, 5], [8, 9]], [[6, 7], [10, 11]], [[1, 2], [5, 6]]]
mirrored = [[[1, 0], [5, 4]], [[3, 2], [7, 6]], [[5, 4], [9, 8]], [[7, 6], [11, 10]], [[2, 1], [6, 5]]]
check_windows(
    np.reshape([*five, *mirrored], (10, 1, 2, 2, 1)),
    "Rows come before columns, in the shape and in slices. A centre with larger numbers means that half of an odd rest "
    "was rounded up; a mirrored window upside down means that rows were reversed instead of columns.",
    small,
    2,
)
check_windows(
    np.tile(np.reshape([1, 2, 3, 4, 5, 6], (1, 2, 1, 1, 3)), (10, 1, 1, 1, 1)),
    "Two images of a single pixel each, in three colours: every window is the image itself. Were images or colours "
    "reversed?",
    np.arange(1.0, 7.0).reshape(2, 1, 1, 3),
    1,
)
try:
    too_large = ten_windows(small, 4)
except ValueError:
    pass
else:
    raise AssertionError(
        "A window of 4 × 4 has no place on an image of 3 × 4: raise a ValueError. Yours returns an array of shape "
        f"{np.shape(too_large)}."
    )
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(10)
for hidden_shape, hidden_side in [
    ((3, 8, 8, 3), 5),
    ((2, 9, 6, 1), 4),
    ((4, 6, 9, 2), 6),
    ((1, 7, 7, 3), 7),
    ((2, 5, 8, 3), 1),
]:
    hidden_images = hidden_random.normal(size=hidden_shape)
    hidden_expected = np.empty((10, hidden_shape[0], hidden_side, hidden_side, hidden_shape[3]))
    hidden_rest = hidden_shape[1] - hidden_side, hidden_shape[2] - hidden_side
    for hidden_window, hidden_image, row, column, channel in np.ndindex(hidden_expected.shape):
        # Corners in the order 00, 01, 10, 11: the first digit says lower, the second right.
        corner = hidden_window % 5
        hidden_top = hidden_rest[0] // 2 if corner == 4 else hidden_rest[0] * (corner // 2)
        hidden_left = hidden_rest[1] // 2 if corner == 4 else hidden_rest[1] * (corner % 2)
        hidden_column = column if hidden_window < 5 else hidden_side - 1 - column
        hidden_expected[hidden_window, hidden_image, row, column, channel] = hidden_images[
            hidden_image, hidden_top + row, hidden_left + hidden_column, channel
        ]
    check_windows(
        hidden_expected,
        "Pixel by pixel, the table gives these values.",
        hidden_images,
        hidden_side,
    )
for hidden_shape, hidden_side in [((2, 6, 4, 3), 5), ((2, 4, 6, 3), 5), ((1, 4, 4, 1), 6)]:
    try:
        ten_windows(np.zeros(hidden_shape), hidden_side)
    except ValueError:
        continue
    hidden_call = f"ten_windows on images of shape {hidden_shape}, side {hidden_side}"
    raise AssertionError(f"{hidden_call}: a window has no place there, so a ValueError should be raised, and was not.")
### END HIDDEN TESTS

# %% [markdown]
# **b)** The network gives scores for each window. The paper averages what comes out of the softmax, which are
# probabilities. For one window of one image with scores $s$, class $i$ has the probability
#
# $$p_i = \frac{e^{s_i}}{\sum_j e^{s_j}}$$
#
# Write `mean_probabilities(scores)`. `scores` has shape (windows, n, classes), with any number of windows. The result
# has shape (n, classes): the mean, over the windows, of the probabilities. Scores may be as large as 1000, and
# $e^{1000}$ is too large for a computer. Your answer must be right there too.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Two things happen, and their order matters: softmax within each window, then the mean over the windows.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The sum in the softmax runs over classes, the last axis. With `keepdims=True` the result of a sum can be divided by
# without changing its shape.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Subtract the same number from all scores of a window, and the probabilities stay as they are: the factor appears
# above and below. Take the largest score of that window. Then no exponent is above 0.
#
# </details>


# %% nbgrader={"grade_id": "q5-mean", "solution": true}
def mean_probabilities(scores):
    """Return the mean over windows of the probabilities, (n, classes), for scores (windows, n, classes)."""
    ### BEGIN SOLUTION
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.mean(powers / powers.sum(axis=-1, keepdims=True), axis=0)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-mean-tests", "points": 2}
import numpy as np


def check_mean(expected, mistake, scores):
    """Compare one answer of mean_probabilities with the expected one."""
    given = np.asarray(mean_probabilities(np.array(scores, "float64")))
    expected = np.array(expected, "float64")
    assert given.shape == expected.shape, (
        f"Scores of shape {np.shape(scores)} should give shape {expected.shape}; yours is {given.shape}. Windows are "
        "the first axis, and that one goes."
    )
    assert np.allclose(given, expected, atol=1e-6), (
        f"For the scores\n{np.array(scores).round(4)}\nexpected\n{expected.round(4)}\nbut got\n{given.round(4)}\n"
        f"{mistake}"
    )


check_mean(
    [[0.7, 0.3]],
    "One window gives 0.9 and 0.1, the other 0.5 and 0.5. 0.75 would mean that the scores were averaged before the "
    "softmax; 1.4 that the probabilities were summed; 1.0 or 0.5 that windows voted.",
    [[[np.log(9), 0]], [[0, 0]]],
)
check_mean(
    [[0.9, 0.1], [0.5, 0.5]],
    "One window, two images: each row sums to 1. Columns that sum to 1 mean a sum over images instead of classes.",
    [[[np.log(9), 0], [0, 0]]],
)
check_mean(
    [[0.5, 0.5]],
    "Two windows that are certain of opposite things. nan means that exp(1000) was computed, or that one number was "
    "subtracted from all windows: take from each window its own largest score.",
    [[[1000, 0]], [[-1000, 0]]],
)
### BEGIN HIDDEN TESTS
from scipy.special import softmax

hidden_random = np.random.default_rng(41)
for hidden_shape, hidden_scale in [((10, 6, 10), 3), ((1, 4, 5), 1), ((10, 1, 1000), 10), ((3, 7, 2), 900)]:
    hidden_scores = hidden_random.normal(scale=hidden_scale, size=hidden_shape)
    check_mean(
        softmax(hidden_scores, axis=2).mean(axis=0),
        "SciPy's softmax, averaged over the windows, gives these values.",
        hidden_scores,
    )
check_mean([[0.5, 0.5]], "All scores are far below 0.", [[[-2000, -2000]]])
check_mean([[1, 0], [0, 1]], "Each image has a largest score of its own.", [[[1000, 0], [-1000, 0]]])
### END HIDDEN TESTS

# %% [markdown]
# Now the experiment. The next cell trains a small AlexNet for a few epochs on photographs of 32 × 32 pixels, from which
# random windows of 28 × 28 are cut. Where CIFAR-10 is not at hand, it takes the patches that ship with the course.
# Training takes half a minute or less.

# %%
import keras
from course_lib.datasets import load_photos
from course_lib.models.alexnet import alexnet_cifar
from course_lib.models.augmentation import RandomCropFlip
from course_lib.training.loop import fit

photos = load_photos()
keras.utils.set_random_seed(settings.seed)
network = alexnet_cifar()
augmented = keras.Sequential([keras.Input((32, 32, 3)), RandomCropFlip(28, seed=settings.seed), network])
history = fit(augmented, photos.train.take(0, 6_000), epochs=4, learning_rate=1.5e-3)

# %% [markdown]
# The same network now answers for each of the ten windows. Before you run the cell, guess: by how many percentage
# points is the mean of ten windows better than the central window alone? In the paper it lowered the error of the full
# network on ImageNet 2010 from 39.0 % to 37.5 %, and the top-5 error from 18.3 % to 17.0 % (section 6, footnote 4).

# %%
test = photos.test.take(0, 1_000)  # loaded by course_lib above
scores = np.stack([network.predict(window, batch_size=500, verbose=0) for window in ten_windows(test.images, 28)])
for name, chosen in {"central window": scores[4:5], "ten windows": scores}.items():
    answers = mean_probabilities(chosen).argmax(axis=1)
    print(f"{name:<16}{np.mean(answers == test.labels):8.3f} of {len(test):,} test images right")

# %% [markdown]
# To think about, without points: ten windows cost ten times the work. And with 1,000 test images, how many images lie
# between two accuracies that differ by one percentage point? Run the two cells again with `settings.seed + 1` in place
# of `settings.seed`. Does the difference keep its sign?
