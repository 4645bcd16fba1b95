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
# # Exercises 05: dilation
#
# Five questions on chapter 05, 20 points in all. Each question stands on its own, so they can be done in any order.
#
# | question | about | kind | points |
# | --- | --- | --- | --- |
# | 1 | how far a stack sees | arithmetic and code | 4 |
# | 2 | holes in the field | code | 4 |
# | 3 | strides traded for dilation | code | 4 |
# | 4 | a score that does not flatter | code and arithmetic | 4 |
# | 5 | what coarse labels lose, and what a small field misses | experiment | 4 |
#
# Write your answers where a cell says `YOUR CODE HERE`, and remove the line that raises `NotImplementedError`.
# Below each answer stands a cell with tests. Run it: silence means that the tests pass, and a message says what was
# expected, what came, and which mistake often gives that. When a sheet is graded, further tests with other numbers
# run.
#
# Hints open one at a time. Try for a few minutes before you open the next one.
#
# *Running time: under a minute on a CPU. Needs: chapter 05.*
#
# All questions count in the same way:
#
# - Questions 1 to 3 look at one axis of the picture. Height and width are treated alike, so one axis is enough. Nothing
#   is padded there.
# - The pixels of a row are numbered from 0. A *place* is one position of a map, that is of what a layer gives. Places
#   are numbered from 0, too.
# - The *field* of a place is the run of pixels from the first one that it sees to the last one. Pixels between them
#   that it does not see count as well.
# - A *kernel* of k values with *dilation* d reads k values that lie d apart. Dilation 1 is the ordinary convolution. A
#   pooling layer is counted like a convolution: it reads `kernel` values.
# - *Labels* are whole numbers, one for each pixel: its class. Pixels that belong to no class have the label *void*.

# %%
import course_lib

settings = course_lib.setup(chapter=5)

# %%
import numpy as np

# %% [markdown]
# ## Question 1: how far a stack sees
#
# **a)** Write `fields(layers)`. `layers` is a list of `(kernel, stride, dilation)`, and the layer next to the picture
# comes first. Return a list of integers: the field of a place after the first layer, after the second, and so on to the
# last.
#
# Try it on paper first: a convolution of 3, a pooling of 2 with stride 2, a convolution of 3, and another one of 3 with
# dilation 2. After the first two layers the field is 3 and 4 pixels long. What comes then?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Start with a field of 1 pixel. A kernel of `k` values takes `k - 1` steps from its first value to its last. How many
# places long is one of these steps, if the dilation is 2?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A step is `dilation` places long. These are places of the map before the layer. After a stride of 2 neighbouring
# places lie 2 pixels apart. So keep a second number: how many pixels lie between neighbouring places.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# For each layer add `(kernel - 1) * dilation * apart` to the field, and append the field to the list. Only then
# multiply `apart` by the stride. Dilation does not change `apart`: a dilated kernel moves on by one place like any
# other.
#
# </details>


# %% nbgrader={"grade_id": "q1-fields", "solution": true}
def fields(layers):
    """Return the field after each of the layers (kernel, stride, dilation), a list of integers."""
    ### BEGIN SOLUTION
    field, apart, found = 1, 1, []
    for kernel, stride, dilation in layers:
        field += (kernel - 1) * dilation * apart
        apart *= stride
        found.append(field)
    return found
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-fields-tests", "points": 2}
def check_fields(expected, mistake, layers):
    """Compare one answer of fields with the expected one."""
    given = fields(list(layers))
    assert isinstance(given, (list, tuple)), f"fields returns a list; yours returns a {type(given).__name__}."
    assert list(given) == expected, f"fields({layers}) should be {expected}; yours gives {list(given)}. {mistake}"


check_fields(
    [3, 5, 7, 9],
    "Four layers without dilation: each adds 2 pixels. The list has one number for each layer, and the single pixel "
    "before the first layer is not in it.",
    [(3, 1, 1)] * 4,
)
check_fields(
    [5, 7],
    "The dilated kernel moves on by one pixel, like any other. A 9 would mean that dilation went on like a stride.",
    [(3, 1, 2), (3, 1, 1)],
)
check_fields(
    [3, 7, 15, 31],
    "Dilations that double add 2, 4, 8 and 16 pixels. 3, 8, 19, 42 would mean that a dilated kernel was counted as "
    "kernel × dilation wide.",
    [(3, 1, 1), (3, 1, 2), (3, 1, 4), (3, 1, 8)],
)
check_fields(
    [3, 11],
    "Behind the stride of 2, a step with dilation 2 is 2 × 2 pixels long. 7 would mean that one of the two was left "
    "out. 5 at the start would mean that a stride widens its own layer.",
    [(3, 2, 1), (3, 1, 2)],
)
check_fields([7, 9], "A layer with stride 2 and dilation 3: 7 pixels. What follows steps by 2.", [(3, 2, 3), (2, 1, 1)])
check_fields(
    [3, 4, 8, 12, 20, 28, 44, 60, 92, 124],
    "This is the dilated network of chapter 05, before its scores are interpolated. 10 instead of 12 would mean that a "
    "layer took only the stride of the one before it; the stride of 2 concerns all layers behind it.",
    [(3, 1, 1), (2, 2, 1)] + [(3, 1, dilation) for dilation in (1, 1, 2, 2, 4, 4, 8, 8)],
)
### BEGIN HIDDEN TESTS
import random

check_fields([], "Without layers the list is empty.", [])
check_fields(
    [3, 5, 9, 17, 33, 65, 67, 67],
    "This is the context network of Yu and Koltun.",
    [(3, 1, rate) for rate in (1, 1, 2, 4, 8, 16, 1)] + [(1, 1, 1)],
)
hidden_random = random.Random(505)
for _ in range(40):
    hidden_layers = [
        (hidden_random.randint(1, 4), hidden_random.randint(1, 3), hidden_random.randint(1, 5))
        for _ in range(hidden_random.randint(1, 5))
    ]
    hidden_fields = []
    for hidden_count in range(1, len(hidden_layers) + 1):
        # Every pixel that place 0 sees, from the last layer back to the picture.
        hidden_pixels = {0}
        for hidden_kernel, hidden_stride, hidden_dilation in reversed(hidden_layers[:hidden_count]):
            hidden_pixels = {
                place * hidden_stride + step * hidden_dilation
                for place in hidden_pixels
                for step in range(hidden_kernel)
            }
        hidden_fields.append(max(hidden_pixels) + 1)
    check_fields(hidden_fields, "Listing every pixel gives this.", hidden_layers)
### END HIDDEN TESTS

# %% [markdown]
# **b)** What does dilation save? Write `layers_needed(pixels)`. It returns how many layers a stack of kernels of 3 with
# stride 1 needs until its field has *at least* so many pixels. Return two integers, `(plain, doubled)`:
#
# - `plain`: if all dilations are 1;
# - `doubled`: if the dilations are 1, 2, 4, 8 and so on.
#
# For one pixel no layer is needed.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write down the fields of both stacks, layer by layer: 1, 3, 5, 7, 9, ... and 1, 3, 7, 15, ... Now count the layers up
# to the first field that is large enough.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A `while` loop will do, one for each stack. Start with a field of 1 and no layers. As long as the field is *smaller*
# than `pixels`, add a layer.
#
# </details>


# %% nbgrader={"grade_id": "q1-needed", "solution": true}
def layers_needed(pixels):
    """Return how many layers of 3 see at least so many pixels: (without dilation, with dilations that double)."""
    ### BEGIN SOLUTION
    plain = pixels // 2
    doubled, field = 0, 1
    while field < pixels:
        field += 2 * 2**doubled
        doubled += 1
    return plain, doubled
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-needed-tests", "points": 2}
def check_needed(expected, mistake, pixels):
    """Compare one answer of layers_needed with the expected one."""
    given = layers_needed(pixels)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"layers_needed returns two integers, (plain, doubled); yours returns {given}."
    )
    assert tuple(given) == expected and not any(isinstance(number, float) for number in given), (
        f"layers_needed({pixels}) should be {expected}, two integers; yours gives {tuple(given)}. {mistake}"
    )


check_needed((4, 3), "Four plain layers see 9 pixels. Two layers with dilations 1 and 2 see 7, three see 15.", 9)
check_needed((5, 3), "At least 10: four plain layers see 9, which is too few. Count up, not down.", 10)
check_needed((15, 4), "Four layers with dilations 1, 2, 4, 8 see exactly 31 pixels, and that is enough.", 31)
check_needed((16, 5), "32 is one pixel more than four doubled layers see.", 32)
check_needed((0, 0), "A single pixel sees itself.", 1)
check_needed((63, 6), "126 pixels: the field of the dilated network in chapter 05. Six doubled layers see 127.", 126)
### BEGIN HIDDEN TESTS
for hidden_pixels in [*range(1, 400), 1023, 1024, 2047, 2048, 65535, 65536]:
    hidden_plain = next(count for count in range(40000) if 1 + 2 * count >= hidden_pixels)
    hidden_doubled = next(count for count in range(99) if 2 ** (count + 1) - 1 >= hidden_pixels)
    check_needed((hidden_plain, hidden_doubled), "Counting layers gives this.", hidden_pixels)
### END HIDDEN TESTS

# %% [markdown]
# To think about, without points: the field doubles with each layer. What must one watch, so that the place sees all of
# it? (Question 2 has it.) And what does the stack of six layers no longer have that one of 63 layers has?

# %% [markdown]
# ## Question 2: holes in the field
#
# All strides are 1 here. A layer is `(kernel, dilation)`.
#
# **a)** Write `seen(layers)`. It returns `(pixels, share)`:
#
# - `pixels`: the numbers of the pixels of a row that place 0 of the last map sees. It is a list of integers, from the
#   smallest to the largest, each number once. Pixel 0 is always the first.
# - `share`: which share of its *square* field the place sees in a picture. A pixel of the square is seen if its row is
#   among the seen ones and its column is, too.
#
# Without any layer the map is the picture itself, and the answer is `([0], 1.0)`.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Take one layer. Place 0 sees the pixels 0, d, 2 d and so on, `kernel` of them. Which pixels does place 5 see?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Put a second layer on top. Place 0 looks at some places of the first map, and each of them sees some pixels. Add each
# step of the one to each step of the other. A Python `set` keeps each number once, whatever number of paths leads to
# it.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Start with `{0}`. For each layer make a new set of all `pixel + step * dilation`. In the end the field runs from 0 to
# the largest number. Of so many rows a certain share is seen, and of the columns the same share. And of the square?
#
# </details>


# %% nbgrader={"grade_id": "q2-seen", "solution": true}
def seen(layers):
    """Return the pixels of a row that place 0 sees through layers (kernel, dilation), and the share of its square."""
    ### BEGIN SOLUTION
    pixels = {0}
    for kernel, dilation in layers:
        pixels = {pixel + step * dilation for pixel in pixels for step in range(kernel)}
    return sorted(pixels), (len(pixels) / (max(pixels) + 1)) ** 2
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-seen-tests", "points": 2}
def check_seen(expected, share, mistake, layers):
    """Compare one answer of seen with the expected one."""
    given = seen(list(layers))
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"seen returns two things, the pixels and the share; yours returns {given}."
    )
    pixels = [int(pixel) for pixel in given[0]]
    assert pixels == expected, (
        f"seen({layers}) should see the pixels {expected}; yours gives {pixels}. {mistake} Each number stands there "
        "once, and they go up."
    )
    assert abs(given[1] - share) < 1e-9, (
        f"seen({layers}) sees {len(expected)} pixels of a field of {expected[-1] + 1}, so the share of the square is "
        f"{share:.4f}; yours is {given[1]:.4f}. {mistake} The square has field × field pixels."
    )


check_seen([0], 1.0, "Without layers a place is a pixel.", [])
check_seen([0, 1, 2], 1.0, "An ordinary convolution of 3.", [(3, 1)])
check_seen(
    [0, 2, 4, 6, 8, 10, 12],
    49 / 169,
    "Three layers with dilation 2 step by even numbers only. 7 / 13 is the share of a row.",
    [(3, 2), (3, 2), (3, 2)],
)
check_seen(
    [0, 3, 4, 7],
    16 / 64,
    "Kernels of 2, with dilations 3 and 4: 0 and 3, and the same again 4 pixels further.",
    [(2, 3), (2, 4)],
)
check_seen(list(range(17)), 1.0, "The dilations 1, 2, 5 of chapter 05 leave no hole.", [(3, 1), (3, 2), (3, 5)])
check_seen(
    [*range(7), *range(9, 16), *range(18, 25)],
    441 / 625,
    "Three runs of 7 pixels, which begin 9 apart. Pixels 7 and 8 are seen by nobody.",
    [(3, 1), (3, 2), (3, 9)],
)
### BEGIN HIDDEN TESTS
import random

hidden_random = random.Random(506)
for _ in range(60):
    hidden_layers = [
        (hidden_random.randint(1, 4), hidden_random.randint(1, 7)) for _ in range(hidden_random.randint(1, 4))
    ]
    # The number of paths to each pixel, as in the chapter: a convolution of rows of 1 and 0.
    hidden_paths = np.ones(1)
    for hidden_kernel, hidden_dilation in hidden_layers:
        hidden_row = np.zeros((hidden_kernel - 1) * hidden_dilation + 1)
        hidden_row[::hidden_dilation] = 1
        hidden_paths = np.convolve(hidden_paths, hidden_row)
    check_seen(
        np.flatnonzero(hidden_paths > 0.5).tolist(),
        float((np.outer(hidden_paths, hidden_paths) > 0.5).mean()),
        "Counting the paths gives this.",
        hidden_layers,
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** Write `next_dilation(layers, kernel)`. On top of the stack `layers`, again a list of `(kernel, dilation)`,
# comes one more layer with a kernel of `kernel` values, 2 or more. Return the largest dilation that it may have so that
# the whole stack leaves no hole: every pixel of the field is seen. Return 0 if every dilation leaves a hole.
#
# The stack may have holes already. Some holes can be closed by one more layer, some cannot.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Let the stack so far have no hole. The new layer puts copies of its field side by side, a dilation apart. How far
# apart may they begin without a gap between them?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# No dilation larger than the field so far can do: the pixel right after the first copy would be seen by nobody. So
# there are only a few dilations to try, from 1 to the field. Try them all, also those after one that leaves a hole.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Find out which pixels the stack so far sees, as a set that starts as `{0}`. For each dilation add the last layer to
# it. There is no hole if the set has as many members as the field has pixels, `max(pixels) + 1`.
#
# </details>


# %% nbgrader={"grade_id": "q2-next", "solution": true}
def next_dilation(layers, kernel):
    """Return the largest dilation for one more layer that leaves no hole in the field; 0 where there is none."""
    ### BEGIN SOLUTION
    pixels = {0}
    for width, dilation in layers:
        pixels = {pixel + step * dilation for pixel in pixels for step in range(width)}
    for dilation in range(max(pixels) + 1, 0, -1):
        wider = {pixel + step * dilation for pixel in pixels for step in range(kernel)}
        if len(wider) == max(wider) + 1:
            return dilation
    return 0
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-next-tests", "points": 2}
def check_next(expected, mistake, layers, kernel):
    """Compare one answer of next_dilation with the expected one."""
    given = next_dilation(list(layers), kernel)
    assert given == expected, f"next_dilation({layers}, {kernel}) should be {expected}; yours gives {given}. {mistake}"


check_next(
    1,
    "No layer comes before it, so the new one sees 0, d and 2 d, and only d = 1 leaves no pixel out between them. 0 "
    "would mean that runs of pixels had to overlap.",
    [],
    3,
)
check_next(
    3, "Three runs of 3 pixels may begin 3 apart: 0, 3 and 6. With 2 they overlap, with 4 there is a gap.", [(3, 1)], 3
)
check_next(
    7,
    "Dilations 1 and 2 see 7 pixels in a row. 4 would be the next one if they double: not the largest.",
    [(3, 1), (3, 2)],
    3,
)
check_next(7, "The new kernel has 2 values here. Only the field below it decides.", [(3, 1), (3, 2)], 2)
check_next(
    1,
    "The stack sees pixels 0, 2 and 4 of its field of 5. Only neighbours can fill the holes between them. 5 would mean "
    "that the field was taken, whether it has holes or not. 0 would mean that no hole can be closed.",
    [(3, 2)],
    3,
)
check_next(0, "Pixels 0, 9 and 18. A kernel of 3 cannot fill eight unseen pixels.", [(3, 9)], 3)
check_next(
    2,
    "The stack sees 0, 1, 4, 5. With dilation 1 the new layer leaves out pixel 3, and with 2 it fills the hole. 0 "
    "would mean that the search ended at the first dilation with a hole.",
    [(2, 1), (2, 4)],
    2,
)
### BEGIN HIDDEN TESTS
import itertools
import random

check_next(27, "Kernels of 3 and dilations 1, 3, 9 see 27 pixels without a hole.", [(3, 1), (3, 3), (3, 9)], 3)
hidden_random = random.Random(507)
hidden_results = set()
for hidden_case in range(120):
    hidden_layers = [
        (hidden_random.randint(2, 3), hidden_random.randint(1, 4)) for _ in range(hidden_random.randint(1, 3))
    ]
    if hidden_case % 2:
        hidden_layers.sort(key=lambda layer: layer[1])
    hidden_kernel, hidden_best = hidden_random.randint(2, 4), 0
    for hidden_try in range(1, 30):
        hidden_steps = [
            [step * hole for step in range(size)] for size, hole in [*hidden_layers, (hidden_kernel, hidden_try)]
        ]
        hidden_sums = sorted({sum(path) for path in itertools.product(*hidden_steps)})
        if hidden_sums == list(range(len(hidden_sums))):
            hidden_best = hidden_try
    check_next(hidden_best, "Trying every dilation gives this.", hidden_layers, hidden_kernel)
    hidden_results.add(hidden_best)
assert len(hidden_results) > 5
### END HIDDEN TESTS

# %% [markdown]
# To think about, without points: do the same layers in another order see other pixels? What, then, does "begin small"
# in chapter 05 protect from?

# %% [markdown]
# ## Question 3: strides traded for dilation
#
# A network has strides. Its traded network has the same kernels, all strides are 1, and layers are dilated, so that it
# reads the very values that the strided network read. Each of the two has a map of answers at its end. The answers of
# the strided network are all among those of the traded one.
#
# **a)** Write `trade(layers, pixels)`. `layers` is a list of `(kernel, stride)`, and the row has `pixels` pixels,
# enough for at least one answer. Return two lists, `(dilations, shared)`:
#
# - `dilations`: the dilation of each layer in the traded network;
# - `shared`: the places of the traded network's last map where the strided network answers, too. The first one is 0.
#
# Nothing is padded. Try it on paper with the example of chapter 05: kernel 2 with stride 2, then kernel 2 with stride
# 1, on 8 pixels. The strided network has maps of 4 and 3 places.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Go from front to back and keep a number, `lost`, at first 1. It says how many pixels lie between places that were
# neighbours in the strided network. Which layers does a stride concern: its own one, or those after it?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Each layer gets the dilation `lost`. Then `lost` is multiplied by the stride of this layer. In the end `lost` says how
# far apart the shared places are. The stride of the last layer is in it.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# How many places are shared? As many as the strided network has. A layer turns a map of `n` places into one of
# `(n - kernel) // stride + 1` places.
#
# </details>


# %% nbgrader={"grade_id": "q3-trade", "solution": true}
def trade(layers, pixels):
    """Return the dilations of the traded network, and the places of its last map where both networks answer."""
    ### BEGIN SOLUTION
    dilations, lost, places = [], 1, pixels
    for kernel, stride in layers:
        dilations.append(lost)
        lost *= stride
        places = (places - kernel) // stride + 1
    return dilations, [place * lost for place in range(places)]
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-trade-tests", "points": 2}
def check_trade(dilations, shared, mistake, layers, pixels):
    """Compare one answer of trade with the expected one."""
    given = trade(list(layers), pixels)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"trade returns two lists, the dilations and the shared places; yours returns {given}."
    )
    assert list(given[0]) == dilations, (
        f"trade({layers}, {pixels}): the dilations should be {dilations}; yours are {list(given[0])}. {mistake}"
    )
    assert list(given[1]) == shared, (
        f"trade({layers}, {pixels}): the shared places should be {shared}; yours are {list(given[1])}. {mistake}"
    )


check_trade(
    [1, 2],
    [0, 2, 4],
    "The first, third and fifth answers are the strided ones. A first dilation of 2 would mean that a layer was "
    "dilated by its own stride: it still reads neighbours.",
    [(2, 2), (2, 1)],
    8,
)
check_trade(
    [1, 1], [0, 1, 2], "Without strides nothing is traded, and both networks are the same.", [(3, 1), (3, 1)], 7
)
check_trade(
    [1, 2],
    [0, 4, 8],
    "The strided network has 7 places, then 3. The stride of the last layer dilates nothing, for nothing follows. But "
    "it moves the shared places apart, to 4.",
    [(3, 2), (3, 2)],
    15,
)
check_trade(
    [1, 1, 2, 2, 4],
    [0, 4],
    "Maps of 20, 10, 8, 4 and 2 places. Two strides of 2 make 4: they are multiplied, and a stride concerns all layers "
    "after it, not the next one alone.",
    [(3, 1), (2, 2), (3, 1), (2, 2), (3, 1)],
    22,
)
check_trade([1, 3, 6], [0, 6], "A stride of 3, then one of 2: 3 × 2 = 6, not 3 + 2.", [(3, 3), (2, 2), (2, 1)], 21)
### BEGIN HIDDEN TESTS
import random

hidden_random = random.Random(508)
for _ in range(60):
    hidden_layers = [(hidden_random.randint(1, 5), hidden_random.randint(1, 3)) for _ in range(4)]
    hidden_pixels = hidden_random.randint(1, 60)
    hidden_enough = 1
    for hidden_kernel, hidden_stride in reversed(hidden_layers):
        hidden_enough = (hidden_enough - 1) * hidden_stride + hidden_kernel
    hidden_pixels += hidden_enough
    # The first pixel of each strided place. In a row without an end its neighbours are as far apart as the dilation.
    hidden_firsts, hidden_endless, hidden_apart = list(range(hidden_pixels)), list(range(9999)), []
    for hidden_kernel, hidden_stride in hidden_layers:
        hidden_apart.append(hidden_endless[1] - hidden_endless[0])
        hidden_firsts = hidden_firsts[: len(hidden_firsts) - hidden_kernel + 1 : hidden_stride]
        hidden_endless = hidden_endless[::hidden_stride]
    check_trade(hidden_apart, hidden_firsts, "Following each place gives this.", hidden_layers, hidden_pixels)
### END HIDDEN TESTS

# %% [markdown]
# **b)** Now let it answer. Write `traded(row, layers)`. `row` is an array of numbers, and `layers` is a list of
# `(kernel, stride)`, where `kernel` is now an array with the values of the kernel. Trade the strides for dilation, and
# return the answers of the traded network, an array.
#
# As in chapter 05 a layer slides its kernel along the row and does not turn it round: without dilation its first answer
# is `kernel[0] * row[0] + kernel[1] * row[1] + ...`. Nothing is padded, so each map is shorter than the one before.
# There are no biases and no ReLU.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# First write one layer with a dilation. Its kernel spans `(len(kernel) - 1) * dilation + 1` values. At how many places
# does it fit on a map of `len(row)` values?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The answer at place `p` is the sum of `kernel[i] * row[p + i * dilation]`. A loop over places is fine. Or take a loop
# over the kernel: `kernel[i]` times a whole piece of the row, which begins at `i * dilation`.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Keep a number, `lost`, at first 1. Each layer has stride 1 and the dilation `lost`, and its answers are the row for
# the next layer. After each layer multiply `lost` by its stride.
#
# </details>


# %% nbgrader={"grade_id": "q3-traded", "solution": true}
def traded(row, layers):
    """Return the answers of the network (kernel, stride) on the row, its strides traded for dilation."""
    ### BEGIN SOLUTION
    lost = 1
    for kernel, stride in layers:
        places = len(row) - (len(kernel) - 1) * lost
        row = sum(value * row[i * lost : i * lost + places] for i, value in enumerate(kernel))
        lost *= stride
    return row
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-traded-tests", "points": 2}
import numpy as np


def check_traded(expected, mistake, row, layers):
    """Compare one answer of traded with the expected one."""
    given = np.asarray(traded(np.array(row, float), [(np.array(kernel, float), stride) for kernel, stride in layers]))
    expected = np.array(expected, float)
    called = f"traded({np.array(row).tolist()}, {layers})"
    assert given.shape == expected.shape, (
        f"{called} should have {len(expected)} answers, an array of shape {expected.shape}; yours has shape "
        f"{given.shape}. {mistake}"
    )
    assert np.allclose(given, expected, rtol=0, atol=1e-9), (
        f"{called} should be {expected.round(4).tolist()}; yours gives {given.round(4).tolist()}. {mistake}"
    )


check_traded(
    [9, 22, 41],
    "One layer without a stride: 1 · 1 + 2 · 4 is the first answer. 6, 17, 34 would mean that the kernel was turned "
    "round, as np.convolve does.",
    [1, 4, 9, 16],
    [([1, 2], 1)],
)
check_traded(
    [1, 5, 13, 25],
    "One layer with stride 2. In the traded network it answers at every place, and it still reads neighbours.",
    [0, 1, 4, 9, 16],
    [([1, 1], 2)],
)
check_traded(
    [-4, -5, -7, -8, -8],
    "The example of chapter 05. Three answers mean that the stride is still there. Six mean that the second layer is "
    "not dilated.",
    [0, 1, 2, 3, 5, 7, 9, 11],
    [([1, 1], 2), ([1, -1], 1)],
)
check_traded(
    [-67, -70, -80],
    "The dilations are 1, 2 and 4. If there are too many answers, the last layer took only the stride before it.",
    [2, 3, 5, 7, 11, 13, 17, 19, 23, 29],
    [([1, 1], 2), ([1, 2], 2), ([1, -1], 1)],
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(509)
for _ in range(30):
    hidden_layers = [
        (hidden_random.integers(-4, 5, size=hidden_random.integers(1, 5)).tolist(), int(hidden_random.integers(1, 4)))
        for _ in range(int(hidden_random.integers(1, 4)))
    ]
    hidden_lost, hidden_field = 1, 1
    for hidden_kernel, hidden_stride in hidden_layers:
        hidden_field += (len(hidden_kernel) - 1) * hidden_lost
        hidden_lost *= hidden_stride
    hidden_row = hidden_random.integers(-9, 10, size=hidden_field + int(hidden_random.integers(0, 25))).astype(float)
    # The strided network, once for each row that begins a pixel later: its answers take turns.
    hidden_expected = np.full(len(hidden_row) - hidden_field + 1, np.nan)
    for hidden_shift in range(min(hidden_lost, len(hidden_expected))):
        hidden_map = hidden_row[hidden_shift:].tolist()
        for hidden_kernel, hidden_stride in hidden_layers:
            hidden_map = [
                sum(weight * value for weight, value in zip(hidden_kernel, hidden_map[start:], strict=False))
                for start in range(0, len(hidden_map) - len(hidden_kernel) + 1, hidden_stride)
            ]
        hidden_expected[hidden_shift::hidden_lost] = hidden_map
    check_traded(hidden_expected, "The strided network on shifted rows gives this.", hidden_row.tolist(), hidden_layers)
### END HIDDEN TESTS

# %% [markdown]
# See it with numbers. The next cell runs a strided network on a row, and on the same row from pixel 1, 2 and 3 on.
# Before you run it, guess: where are these answers in the traded network?

# %%
kernels = [(np.array([1.0, 1]), 2), (np.array([1.0, 2]), 2), (np.array([1.0, -1]), 1)]
row = np.random.default_rng(5).integers(10, size=19).astype(float)
print("traded         ", traded(row, kernels))
for shift in range(4):
    values = row[shift:]
    for kernel, stride in kernels:
        values = np.correlate(values, kernel)[::stride]
    print(f"from pixel {shift} on", values)

# %% [markdown]
# To think about, without points: the four strided runs give the same answers as the one traded run. Which of the two
# ways computes something twice?

# %% [markdown]
# ## Question 4: a score that does not flatter
#
# **a)** Write `scores(labels, predicted, classes, void)`. `labels` and `predicted` are arrays of whole numbers of the
# same shape, whatever it is. `predicted` holds classes only, 0 to `classes - 1`. `labels` holds classes, and `void`
# where a pixel belongs to none. Return `(ious, mean)`:
#
# - `ious`: an array with the intersection over union of each class. Of the pixels that have the class in the labels
#   *or* in the prediction, it is the share in which both say so.
# - Pixels whose label is void count nowhere, whatever was predicted there.
# - If a class is at no pixel that counts, neither in the labels nor in the prediction, nothing can be said: put
#   `np.nan` there. If it does not occur and was predicted all the same, its IoU is 0.
# - `mean`: the mean of those that are not NaN.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# First throw void out of both arrays: `known = labels != void` is an array of True and False, and `labels[known]` has
# the labels of the pixels that count.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A loop over the classes is fine. `(labels == number) & (predicted == number)` is True where both say so, and `|` in
# place of `&` is True where at least one does. `.sum()` counts.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Start with `np.full(classes, np.nan)`, and write a number only where the union is not empty. `np.nanmean` leaves NaN
# out.
#
# </details>


# %% nbgrader={"grade_id": "q4-scores", "solution": true}
def scores(labels, predicted, classes, void):
    """Return the IoU of each class, (classes,), NaN where it is nowhere, and the mean of the others."""
    ### BEGIN SOLUTION
    known = labels != void
    truth, guess = labels[known], predicted[known]
    ious = np.full(classes, np.nan)
    for number in range(classes):
        both = ((truth == number) & (guess == number)).sum()
        either = ((truth == number) | (guess == number)).sum()
        if either > 0:
            ious[number] = both / either
    return ious, np.nanmean(ious)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-scores-tests", "points": 2}
import numpy as np


def check_scores(expected, mistake, labels, predicted, classes, void):
    """Compare one answer of scores with the expected IoUs."""
    labels, predicted, expected = np.array(labels, int), np.array(predicted, int), np.array(expected, float)
    given = scores(labels.copy(), predicted.copy(), classes, void)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"scores returns the IoUs and their mean; yours returns {type(given).__name__}."
    )
    ious, mean = np.asarray(given[0], float), given[1]
    called = f"Labels {labels.tolist()}, predicted {predicted.tolist()}, void {void}"
    assert ious.shape == (classes,), f"{called}: {classes} IoUs are expected; yours have shape {ious.shape}."
    assert np.allclose(ious, expected, rtol=0, atol=1e-9, equal_nan=True), (
        f"{called}: the IoUs should be {expected.round(4)}; yours are {ious.round(4)}. {mistake}"
    )
    right = expected[~np.isnan(expected)].mean()
    assert np.ndim(mean) == 0 and abs(mean - right) < 1e-9, (
        f"{called}: the IoUs are {expected.round(4)}, and their mean is {right:.4f}; yours is {mean}. NaN is left out "
        "of the mean, and 0 is not."
    )


check_scores(
    [0.9, 0.5],
    "These are the twelve pixels of chapter 05. If the first IoU is 0.9 and the second 1 / 3, void was counted as a "
    "wrong answer. If the first is 1, only the labels were in the divisor. If they are 18 / 19 and 2 / 3, the "
    "intersection was counted twice: that is F1.",
    [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 2, 0]],
    [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]],
    2,
    2,
)
check_scores(
    [0.5, np.nan, 0.5],
    "Class 1 is nowhere: NaN, not 0. Class 0 is right at one pixel of two.",
    [0, 0, 2],
    [0, 2, 2],
    3,
    9,
)
check_scores(
    [1 / 3, 0, 0],
    "Class 1 occurs and is never predicted: 0. Class 2 never occurs and is predicted once: 0 as well, not NaN.",
    [0, 0, 1],
    [0, 2, 0],
    3,
    9,
)
check_scores(
    [1, np.nan],
    "Class 1 was predicted at a void pixel only. That pixel counts nowhere, so nothing can be said of class 1.",
    [[0, 5], [0, 0]],
    [[0, 1], [0, 0]],
    2,
    5,
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(510)
for hidden_case in range(40):
    hidden_classes = int(hidden_random.integers(2, 7))
    hidden_void = int(hidden_random.choice([hidden_classes, 255, -1]))
    hidden_names = hidden_random.choice(hidden_classes, size=(2, 2))
    hidden_shape = [(7,), (3, 4), (2, 3, 4)][hidden_case % 3]
    hidden_truth = hidden_names[0][hidden_random.integers(2, size=hidden_shape)]
    hidden_guess = hidden_names[
        hidden_random.integers(2, size=hidden_shape), hidden_random.integers(2, size=hidden_shape)
    ]
    hidden_truth = np.where(hidden_random.random(hidden_shape) < 0.25, hidden_void, hidden_truth)
    hidden_truth.flat[0] = hidden_names[0, 0]
    hidden_pairs = [
        pair
        for pair in zip(hidden_truth.ravel().tolist(), hidden_guess.ravel().tolist(), strict=True)
        if pair[0] != hidden_void
    ]
    hidden_expected = []
    for hidden_number in range(hidden_classes):
        hidden_any = [pair for pair in hidden_pairs if hidden_number in pair]
        hidden_both = [pair for pair in hidden_any if pair[0] == pair[1]]
        hidden_expected.append(len(hidden_both) / len(hidden_any) if hidden_any else np.nan)
    check_scores(
        hidden_expected, "Counting the pairs gives this.", hidden_truth, hidden_guess, hidden_classes, hidden_void
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** Why does pixel accuracy flatter? Take a picture of `pixels` pixels with one object in it, a rectangle `height`
# pixels high and `width` pixels wide. All else is background. The prediction has the same rectangle, but moved to the
# right by `shift` columns. It is still wholly within the picture.
#
# Write `moved(height, width, shift, pixels)`. Return three shares, `(accuracy, background, thing)`:
#
# - `accuracy`: the share of pixels whose class is right;
# - `background` and `thing`: the IoU of the background and that of the object.
#
# Try it on paper for a pole of 40 × 2 pixels and for a car of 40 × 40 pixels, both moved by one column.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Draw both rectangles. They overlap in `width - shift` columns, unless they do not overlap at all. How many pixels are
# in both of them, and how many in at least one?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A pixel that is in exactly one of the two is wrong, whichever it is: on the left the object is missed, on the right it
# is seen where it is not.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The background is all that is outside. It is background in both where neither rectangle is, and background in at least
# one where not both rectangles are.
#
# </details>


# %% nbgrader={"grade_id": "q4-moved", "solution": true}
def moved(height, width, shift, pixels):
    """Return pixel accuracy, IoU of the background and IoU of an object that is predicted some columns beside."""
    ### BEGIN SOLUTION
    both = height * max(width - shift, 0)
    either = 2 * height * width - both
    return (pixels - either + both) / pixels, (pixels - either) / (pixels - both), both / either
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-moved-tests", "points": 2}
def check_moved(both, either, mistake, height, width, shift, pixels):
    """Compare one answer of moved with the expected one, from the pixels in both rectangles and in either."""
    given = moved(height, width, shift, pixels)
    assert isinstance(given, (tuple, list)) and len(given) == 3, (
        f"moved returns three shares, (accuracy, background, thing); yours returns {given}."
    )
    expected = {
        "accuracy": 1 - (either - both) / pixels,
        "IoU of the background": (pixels - either) / (pixels - both),
        "IoU of the object": both / either,
    }
    for (name, right), yours in zip(expected.items(), given, strict=True):
        assert abs(right - yours) < 1e-9, (
            f"moved({height}, {width}, {shift}, {pixels}): the {name} should be {right:.6f}; yours is {yours:.6f}. "
            f"{mistake}"
        )


check_moved(
    40,
    120,
    "The pole overlaps in one column of 40 pixels, and three columns are in one or the other. 80 pixels are wrong: 40 "
    "that were missed and 40 that were taken for a pole.",
    40,
    2,
    1,
    96 * 128,
)
check_moved(
    1560,
    1640,
    "The car overlaps in 39 columns of 40. The same 80 pixels are wrong, so the accuracy is that of the pole.",
    40,
    40,
    1,
    96 * 128,
)
check_moved(30, 30, "Nothing moved, so everything is right.", 10, 3, 0, 1000)
check_moved(
    0,
    160,
    "Moved by three columns, a pole of two columns no longer overlaps. 160 pixels are wrong, not 240, and an IoU is "
    "never negative.",
    40,
    2,
    3,
    96 * 128,
)
### BEGIN HIDDEN TESTS
import random

hidden_random = random.Random(511)
for _ in range(60):
    hidden_height, hidden_width, hidden_shift = (hidden_random.randint(low, 9) for low in (1, 1, 0))
    hidden_first = {(y, x) for y in range(hidden_height) for x in range(hidden_width)}
    hidden_second = {(y, x + hidden_shift) for y, x in hidden_first}
    check_moved(
        len(hidden_first & hidden_second),
        len(hidden_first | hidden_second),
        "Listing the pixels gives this.",
        hidden_height,
        hidden_width,
        hidden_shift,
        hidden_random.randint(200, 5000),
    )
### END HIDDEN TESTS

# %% [markdown]
# To think about, without points: of the three numbers for the pole, which one shows that only half of it was found? And
# is the mean of the two IoUs strict enough for you?

# %% [markdown]
# ## Question 5: what coarse labels lose, and what a small field misses
#
# The library draws road scenes with exact labels. Own lane and oncoming lane look the same in them. A round sign stands
# on the side of the own lane, and only this sign tells which lane is which. No network is trained here. Part a) asks
# what a network could do that makes no mistake, part b) asks for how many pixels the sign is in sight at all.
#
# **a)** A perfect network that answers only once for each block of `step` × `step` pixels: what does it lose?
#
# Write `perfect_iou(labels, step, index, void)`. `labels` has shape (scenes, height, width), and height and width are
# multiples of `step`. Cut each scene into blocks of `step` × `step` pixels. Take the label in the middle of the block,
# in row `step // 2` and column `step // 2` counted from the block's corner, and give it to the whole block. That is the
# prediction. Return the IoU of class `index`, over all scenes together.
#
# Pixels whose *true* label is void count nowhere. If the middle of a block is void, the prediction there is void, and
# so it is not class `index`.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `labels[:, 1::2]` takes the rows 1, 3, 5 and so on of all scenes. Take rows and columns so that only the middles of
# the blocks are left, one number for each block.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `small.repeat(3, axis=1)` writes each row three times, one below the other. Do so for rows and for columns, and the
# array has its old shape again.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Make two arrays of True and False: where the label is `index`, and where the prediction is, the latter without void
# pixels. `&` between them is the intersection, and `|` is the union.
#
# </details>


# %% nbgrader={"grade_id": "q5-perfect", "solution": true}
def perfect_iou(labels, step, index, void):
    """Return the IoU of a class if the true labels are kept once for each block of step × step pixels."""
    ### BEGIN SOLUTION
    middles = labels[:, step // 2 :: step, step // 2 :: step]
    predicted = middles.repeat(step, axis=1).repeat(step, axis=2)
    true = labels == index
    found = (predicted == index) & (labels != void)
    return (true & found).sum() / (true | found).sum()
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-perfect-tests", "points": 2}
import numpy as np


def check_perfect(expected, mistake, labels, step, index, void=9):
    """Compare one answer of perfect_iou with the expected one."""
    labels = np.array(labels, int)
    given = perfect_iou(labels.copy(), step, index, void)
    shown = f"on the labels\n{labels}\n" if labels.size < 50 else f"on {len(labels)} scenes "
    assert np.ndim(given) == 0 and abs(given - expected) < 1e-9, (
        f"perfect_iou {shown}with step {step} and void {void}: the IoU of class {index} should be {expected:.4f}; "
        f"yours is {given}. {mistake}"
    )


line, beside = [[0, 1, 0, 0]] * 4, [[1, 0, 0, 0]] * 4
corner = [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
check_perfect(1, "With blocks of one pixel nothing is lost.", [line], 1, 1)
check_perfect(
    0.5,
    "The line goes through the middles of its blocks (row 1, column 1), so it becomes two columns wide: 4 pixels of "
    "8. 0 would mean that the corner of each block was kept, or that the small picture was repeated whole, as np.tile "
    "does.",
    [line],
    2,
    1,
)
check_perfect(2 / 3, "The same for the background: 8 pixels of 12 are left.", [line], 2, 0)
check_perfect(0, "One column further to the left, no middle lies on the line, and it is gone.", [beside], 2, 1)
check_perfect(0.5, "The line lies across now. Rows are kept as columns are.", [np.transpose(line)], 2, 1)
check_perfect(
    0.25,
    "One block of 4 × 4. Its middle, row 2 and column 2, has class 1, and so has all of the prediction. 0 would mean "
    "that another pixel was kept, or the most frequent label.",
    [corner],
    4,
    1,
)
check_perfect(
    1 / 3, "Both scenes together: 4 pixels of 12. 0.25 would be the mean of two scenes.", [line, beside], 2, 1
)
check_perfect(
    0.5,
    "Column 2 is void. The prediction says class 0 there, and that counts nowhere. 1 / 3 would mean that it did.",
    [[[0, 1, 9, 0]] * 4],
    2,
    0,
)
check_perfect(
    2 / 3,
    "Column 3 is void and lies in the middle of its blocks. There the prediction is void, so column 2 is missed. 1 "
    "would mean that the block took another label.",
    [[[0, 0, 0, 9]] * 4],
    2,
    0,
)
### BEGIN HIDDEN TESTS
from course_lib.datasets import scenes as hidden_scenes

hidden_labels = hidden_scenes.draw_scenes(3, seed=512, height=48, width=64).labels
hidden_rows, hidden_columns = np.indices((48, 64))
for hidden_step in (2, 4, 8, 16):
    hidden_middle = tuple(
        grid // hidden_step * hidden_step + hidden_step // 2 for grid in (hidden_rows, hidden_columns)
    )
    hidden_coarse = np.stack([scene[hidden_middle] for scene in hidden_labels])
    hidden_pairs = [
        pair
        for pair in zip(hidden_labels.ravel().tolist(), hidden_coarse.ravel().tolist(), strict=True)
        if pair[0] != hidden_scenes.VOID
    ]
    for hidden_class in (0, 1, 2, 3, 4, 5, 6, 7):
        hidden_any = sum(hidden_class in pair for pair in hidden_pairs)
        hidden_both = hidden_pairs.count((hidden_class, hidden_class))
        check_perfect(
            hidden_both / hidden_any,
            "These are drawn scenes.",
            hidden_labels,
            hidden_step,
            hidden_class,
            hidden_scenes.VOID,
        )
hidden_random = np.random.default_rng(512)
for hidden_step in (3, 5, 6):
    hidden_small = hidden_random.integers(3, size=(2, 2 * hidden_step, 4 * hidden_step))
    hidden_coarse = np.zeros_like(hidden_small)
    for hidden_scene, hidden_row, hidden_column in np.ndindex(2, 2, 4):
        hidden_top, hidden_left = hidden_row * hidden_step, hidden_column * hidden_step
        hidden_label = hidden_small[hidden_scene, hidden_top + hidden_step // 2, hidden_left + hidden_step // 2]
        hidden_block = hidden_coarse[hidden_scene, hidden_top : hidden_top + hidden_step]
        hidden_block[:, hidden_left : hidden_left + hidden_step] = hidden_label
    hidden_both = np.sum((hidden_small == 1) * (hidden_coarse == 1))
    hidden_any = np.sum((hidden_small == 1) + (hidden_coarse == 1))
    check_perfect(hidden_both / hidden_any, "Block by block gives this.", hidden_small, hidden_step, 1)
### END HIDDEN TESTS

# %% [markdown]
# Now the experiment, on 20 drawn scenes of 48 × 64 pixels. Before you run it, guess: which classes lose half already
# with blocks of 2 × 2, and which still have half with blocks of 16 × 16?

# %%
from course_lib.datasets.scenes import DRAWN, VOID, draw_scenes

drawn = draw_scenes(20, seed=1, height=48, width=64).labels
print("IoU (%) of perfect labels, one for each block of")
print("class           pixels" + "".join(f"{f'{step} × {step}':>9}" for step in (1, 2, 4, 8, 16)))
for index in np.argsort(np.bincount(drawn.ravel())[: len(DRAWN)]):
    ious = [100 * perfect_iou(drawn, step, index, VOID) for step in (1, 2, 4, 8, 16)]
    print(f"{DRAWN[index]:14s}{(drawn == index).mean():8.1%}" + "".join(f"{iou:9.0f}" for iou in ious))

# %% [markdown]
# To think about, without points: poles have many more pixels than signs. Yet they lose more, up to blocks of 8 × 8. So
# it is not the number of pixels that decides. What is it? And what would change if the scenes were drawn twice as high
# and wide?

# %% [markdown]
# **b)** A network answers for every pixel, but its field is small. What can it know?
#
# Write `accuracy(labels, lanes, sign, size)`. `labels` has shape (scenes, height, width), `lanes` is a list of the
# labels of the two lanes, `sign` is the label of the sign, and `size` is an odd number. It returns how many of the
# pixels of the lanes this rule gets right:
#
# - The field of a pixel is a square of `size` × `size` pixels with the pixel in the middle. What lies outside of the
#   picture is empty.
# - If at least one pixel of the sign lies in the field, the rule names the right lane.
# - Otherwise it can only guess, and half of the guesses are right: such a pixel counts as 0.5.
#
# Return the share, over the pixels of both lanes in all scenes together.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# With a `size` of 5 a pixel sees two pixels far in each direction, so the reach is `size // 2`. Which pixels see the
# sign's pixel in row 10 and column 20? They form a square, too.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Make an array `sees` of the shape of `labels`, False everywhere. `np.argwhere(labels == sign)` lists scene, row and
# column of each pixel of the signs. Set the square around each of them to True.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# A slice must not begin below 0: `max(row - reach, 0)`. Beyond the other end NumPy cuts it off by itself.
# `np.isin(labels, lanes)` is True at the pixels of the lanes. There take 1 where the sign is seen and 0.5 elsewhere, as
# `np.where` does.
#
# </details>


# %% nbgrader={"grade_id": "q5-accuracy", "solution": true}
def accuracy(labels, lanes, sign, size):
    """Return the share of lane pixels that are right if those with the sign in their field know, and others guess."""
    ### BEGIN SOLUTION
    reach = size // 2
    sees = np.zeros(labels.shape, bool)
    for scene, row, column in np.argwhere(labels == sign):
        sees[scene, max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1] = True
    known = sees[np.isin(labels, lanes)]
    return np.where(known, 1, 0.5).mean()
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-accuracy-tests", "points": 2}
import numpy as np


def check_accuracy(expected, mistake, labels, size, lanes=(3, 4), sign=7):
    """Compare one answer of accuracy with the expected one."""
    labels = np.array(labels, int)
    given = accuracy(labels.copy(), list(lanes), sign, size)
    shown = f"on the labels\n{labels}\n" if labels.size < 80 else f"on {len(labels)} scenes "
    assert np.ndim(given) == 0 and abs(given - expected) < 1e-9, (
        f"accuracy {shown}with lanes {list(lanes)}, sign {sign} and size {size} should be {expected:.4f}; yours is "
        f"{given}. {mistake}"
    )


street = [[7, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 3, 3, 3, 4, 4, 4]]
high = [[7, 0, 0], [7, 0, 0], [0, 0, 0], [0, 0, 0], [3, 4, 4]]
bare = [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 3, 4, 0, 0]]
check_accuracy(
    0.5,
    "A field of 3 reaches one pixel far. Nobody sees the sign, so all guess. 0 would mean that guesses count as "
    "wrong, 2 / 3 that the size was taken for the reach.",
    [street],
    3,
)
check_accuracy(
    3.5 / 6,
    "A field of 5 reaches 2 pixels far. Only the first pixel of the lanes sees the sign, in the corner of its square. "
    "0.5 would mean that the distance was measured in a straight line, or in steps along rows and columns, or that "
    "the slice began below 0.",
    [street],
    5,
)
check_accuracy(4 / 6, "A field of 7 reaches 3 pixels far: two pixels of six know.", [street], 7)
check_accuracy(1, "A field of 15 reaches 7 pixels far: all of them know.", [street], 15)
check_accuracy(
    1,
    "A field of 7 reaches from the lane up to the lower pixel of the sign. One pixel of the sign is enough.",
    [high],
    7,
)
check_accuracy(
    7 / 8,
    "The second scene has no sign, and its two pixels guess. 1 would mean that they looked into the first scene, 0.75 "
    "that the mean of two scenes was taken.",
    [street, bare],
    15,
)
### BEGIN HIDDEN TESTS
from course_lib.datasets import scenes as hidden_scenes

hidden_lanes, hidden_sign = (hidden_scenes.OWN, hidden_scenes.ONCOMING), hidden_scenes.SIGN
for hidden_distance in (6, 12):
    hidden_drawn = hidden_scenes.draw_scenes(3, seed=513, height=48, width=64, distance=hidden_distance).labels
    for hidden_size in (2 * hidden_distance - 1, 31, 45, 61, 127):
        hidden_right, hidden_count = 0, 0
        for hidden_scene in hidden_drawn:
            hidden_signs = np.argwhere(hidden_scene == hidden_sign)
            for hidden_pixel in np.argwhere(np.isin(hidden_scene, hidden_lanes)):
                hidden_near = np.abs(hidden_signs - hidden_pixel).max(axis=1).min()
                hidden_right += 1.0 if 2 * hidden_near + 1 <= hidden_size else 0.5
                hidden_count += 1
        check_accuracy(
            hidden_right / hidden_count, "These are drawn scenes.", hidden_drawn, hidden_size, hidden_lanes, hidden_sign
        )
hidden_turned = np.transpose([street], (0, 2, 1))[:, ::-1]
check_accuracy(3.5 / 6, "The street from below.", hidden_turned, 5)
check_accuracy(3.5 / 6, "Other labels.", np.array([street]) + 20, 5, lanes=(23, 24), sign=27)
### END HIDDEN TESTS

# %% [markdown]
# Now the experiment. In these scenes at least 16 rows or columns lie between lanes and sign. The table has the rule's
# accuracy for the pixels of each lane and for both together. Before you run it, guess: which lane's pixels need the
# larger field? From which field on is the rule better than a guess?

# %%
from course_lib.datasets.scenes import ONCOMING, OWN, SIGN

far = draw_scenes(20, seed=1, height=48, width=64, distance=16).labels
print("accuracy (%) by side of the field      own lane   oncoming lane   both")
for size in (1, 31, 41, 51, 61, 81, 101, 127):
    own, oncoming, both = (100 * accuracy(far, lanes, SIGN, size) for lanes in ([OWN], [ONCOMING], [OWN, ONCOMING]))
    print(f"{size:36d}{own:11.0f}{oncoming:16.0f}{both:7.0f}")

# %% [markdown]
# To think about, without points: on the other side of the road stands a post without a sign. Could a pixel of the
# oncoming lane learn something from it, with a smaller field than the rule needs?
