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
# # Exercises 03: receptive fields
#
# Five questions on chapter 03, 20 points in all. Each question stands on its own, so they can be done in any order.
#
# | question | about | kind | points |
# | --- | --- | --- | --- |
# | 1 | the recursion for a chain of layers | code | 4 |
# | 2 | which pixels, and which of them are zeros | code | 4 |
# | 3 | a stack of small kernels for a large one | arithmetic and code | 4 |
# | 4 | branches and shortcuts | code | 4 |
# | 5 | the field found by changing pixels | experiment | 4 |
#
# Write your answers where a cell says `YOUR CODE HERE`, and remove the line that raises `NotImplementedError`.
# Below each answer stands a cell with tests. Run it: silence means that the tests pass, and a message says what was
# expected, what came, and which mistake often gives that. When a sheet is graded, further tests with other numbers
# run.
#
# Hints open one at a time. Try for a few minutes before you open the next one.
#
# *Running time: under a minute on a CPU. Needs: chapter 03.*
#
# All questions count in the same way:
#
# - Questions 1 to 4 look at one axis of the image. Height and width are treated alike, so one axis is enough.
# - The pixels of the image are numbered from 0. Pixel -1 is the last zero of the padding in front of the image.
# - A *place* is one position of a map. The places of a map are numbered from 0, too.
# - A *layer* is `(kernel, stride, padding)`. `padding` is the number of zeros on each side. A pooling layer is written
#   in the same way. `[(3, 1, 1), (2, 2, 0)]` is a convolution of width 3 with one zero on each side, and after it a
#   pooling layer of width 2 and stride 2. The layer next to the image comes first.

# %%
import course_lib

settings = course_lib.setup(chapter=3)

# %%
import numpy as np

# %% [markdown]
# ## Question 1: the recursion
#
# The receptive field of a place is the run of pixels that it can see. Go from the image to the output: each kernel
# wider than 1 makes it longer. How much longer depends on the *effective stride*, the distance in pixels between the
# fields of two neighbouring places.
#
# **a)** Write `field(layers)`. It returns three integers for the last map of the chain, `(size, stride, start)`:
#
# - `size`: how many pixels a place sees, counted from the first to the last, padding and gaps included.
# - `stride`: the effective stride.
# - `start`: the first pixel that place 0 sees. It is negative where place 0 sees padding.
#
# Without any layer the map is the image itself, and the answer is `(1, 1, 0)`.
#
# Araujo, Norris and Sim give the same three numbers in *Computing receptive fields of convolutional neural networks*
# (Distill, 2019, doi:10.23915/distill.00021). Their effective padding is `-start`.
#
# Try LeNet-5 on paper first: a 5 × 5 convolution with padding 2, pooling 2 × 2 with stride 2, a 5 × 5 convolution
# without padding, and the same pooling again.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A kernel of width 3 looks at three neighbouring places of the map before it. Their fields overlap. How many pixels
# does the second of them add to what the first one sees?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A kernel takes `kernel - 1` steps from its first place to its last. Each step is as long as the effective stride of
# the map *before* the layer.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The strides of the layers are multiplied. Padding moves the start back by `padding` places of the map before the
# layer, and a place there is worth as many pixels as its effective stride. Change the stride last in the loop.
#
# </details>


# %% nbgrader={"grade_id": "q1-field", "solution": true}
def field(layers):
    """Return (size, stride, start) of the field for a chain of layers (kernel, stride, padding)."""
    ### BEGIN SOLUTION
    size, effective, start = 1, 1, 0
    for kernel, stride, padding in layers:
        size += (kernel - 1) * effective
        start -= padding * effective
        effective *= stride
    return size, effective, start
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-field-tests", "points": 2}
def check_field(expected, mistake, layers):
    """Compare one answer of field with the expected one."""
    given = field(list(layers))
    assert isinstance(given, (tuple, list)) and tuple(given) == expected, (
        f"field({layers}) should be {expected}, that is size, effective stride and start; yours gives {given}. "
        f"{mistake}"
    )


check_field((1, 1, 0), "Without layers each place is a pixel and sees itself.", [])
check_field(
    (5, 1, 0),
    "Three neighbours that see 3 pixels each overlap. 6 would mean that the kernels were added, 9 that they were "
    "multiplied.",
    [(3, 1, 0), (3, 1, 0)],
)
check_field(
    (6, 2, 0),
    "The stride of a layer acts on the layers after it. A size of 7 means that it also widened the layer's own steps.",
    [(5, 1, 0), (2, 2, 0)],
)
check_field(
    (15, 4, 0),
    "Two strides of 2 make an effective stride of 4. A size of 7 would mean that no stride was counted, 11 that "
    "the third layer took only the stride of the second. A stride of 5 means that the strides were added.",
    [(3, 2, 0), (3, 2, 0), (3, 1, 0)],
)
check_field(
    (7, 4, -3),
    "Each layer has one zero on each side. In front of the second layer a place is worth 2 pixels: 1 + 2 pixels of "
    "padding. A start of -2 counts places as pixels, a start of 3 has the sign of the effective padding. The size does "
    "not change with padding.",
    [(3, 2, 1), (3, 2, 1)],
)
check_field(
    (16, 4, -2),
    "This is LeNet-5 up to its second pooling layer. The fields of its four layers are 5, 6, 14 and 16 pixels long.",
    [(5, 1, 2), (2, 2, 0), (5, 1, 0), (2, 2, 0)],
)
check_field(
    (51, 8, -16),
    "These are the first three layers of AlexNet. Their fields are 11, 19 and 51 pixels long.",
    [(11, 4, 0), (3, 2, 0), (5, 1, 2)],
)
### BEGIN HIDDEN TESTS
import random

# Rows of VGG-16 and AlexNet from the table of Araujo, Norris and Sim.
hidden_vgg, hidden_rows = [], [(6, 2, -2), (16, 4, -6), (44, 8, -18), (100, 16, -42), (212, 32, -90)]
for hidden_depth, hidden_row in zip((2, 2, 3, 3, 3), hidden_rows, strict=True):
    hidden_vgg += [(3, 1, 1)] * hidden_depth + [(2, 2, 0)]
    check_field(hidden_row, "This is VGG-16 up to one of its pooling layers.", hidden_vgg)
check_field(
    (195, 32, -64),
    "This is AlexNet up to its last pooling layer.",
    [(11, 4, 0), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 2, 0)],
)
hidden_random = random.Random(2019)
for _ in range(40):
    hidden_layers = [
        (hidden_random.randint(1, 6), hidden_random.randint(1, 3), hidden_random.randint(0, 3))
        for _ in range(hidden_random.randint(1, 5))
    ]
    # All pixels that places 0 and 1 see, one by one, from the last layer back to the image.
    hidden_seen = [{0}, {1}]
    for hidden_kernel, hidden_stride, hidden_padding in reversed(hidden_layers):
        hidden_seen = [
            {place * hidden_stride - hidden_padding + step for place in places for step in range(hidden_kernel)}
            for places in hidden_seen
        ]
    hidden_first, hidden_second = min(hidden_seen[0]), min(hidden_seen[1])
    check_field(
        (max(hidden_seen[0]) - hidden_first + 1, hidden_second - hidden_first, hidden_first),
        "Listing every pixel gives this.",
        hidden_layers,
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** A dilated convolution spreads its kernel out. With dilation 2, one pixel is left out between two neighbouring
# weights, with dilation 3 two pixels, and so on. Dilation 1 is the ordinary convolution.
#
# Write `dilated_field(layers)` for a chain of layers `(kernel, stride, dilation)`. It returns the size of the
# receptive field as an integer. The size is counted from the first pixel seen to the last one, gaps included.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Draw three weights with dilation 2. From the first weight to the last, how many pixels does that cover?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# There are `kernel - 1` steps between the weights. Dilation makes each of these steps longer, and leaves their number
# as it is.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Dilation spreads one kernel. It does not move the kernel further from one place to the next, so the effective stride
# knows nothing of it.
#
# </details>


# %% nbgrader={"grade_id": "q1-dilated", "solution": true}
def dilated_field(layers):
    """Return the size of the field for a chain of layers (kernel, stride, dilation)."""
    ### BEGIN SOLUTION
    size, effective = 1, 1
    for kernel, stride, dilation in layers:
        size += (kernel - 1) * dilation * effective
        effective *= stride
    return size
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-dilated-tests", "points": 2}
def check_dilated(expected, mistake, layers):
    """Compare one answer of dilated_field with the expected one."""
    given = dilated_field(list(layers))
    assert given == expected, f"dilated_field({layers}) should be {expected}; yours gives {given}. {mistake}"


check_dilated(5, "With dilation 1 this is an ordinary convolution of width 5.", [(5, 1, 1)])
check_dilated(
    5, "Three weights with one gap between each two: 1 0 1 0 1. 6 would mean 3 times 2, 3 no dilation.", [(3, 1, 2)]
)
check_dilated(
    7,
    "The dilated kernel moves by one pixel, like any other. 9 would mean that the dilation went on like a stride.",
    [(3, 1, 2), (3, 1, 1)],
)
check_dilated(
    11,
    "A stride of 2 comes first, so each step of the dilated kernel is worth 2 × 2 pixels. 7 would mean that one of the "
    "two was left out.",
    [(3, 2, 1), (3, 1, 2)],
)
check_dilated(15, "Dilations that double: 1 + 2 + 4 + 8 pixels.", [(3, 1, 1), (3, 1, 2), (3, 1, 4)])
### BEGIN HIDDEN TESTS
import random

# Table 1 of Yu and Koltun, Multi-scale context aggregation by dilated convolutions, ICLR 2016.
hidden_context = [(3, 1, rate) for rate in (1, 1, 2, 4, 8, 16, 1)] + [(1, 1, 1)]
for hidden_count, hidden_size in enumerate((3, 5, 9, 17, 33, 65, 67, 67), start=1):
    check_dilated(hidden_size, "This is the context network of Yu and Koltun.", hidden_context[:hidden_count])
hidden_random = random.Random(2016)
for _ in range(40):
    hidden_layers = [
        (hidden_random.randint(1, 5), hidden_random.randint(1, 3), hidden_random.randint(1, 4))
        for _ in range(hidden_random.randint(1, 4))
    ]
    hidden_pixels = {0}
    for hidden_kernel, hidden_stride, hidden_dilation in reversed(hidden_layers):
        hidden_pixels = {
            place * hidden_stride + step * hidden_dilation for place in hidden_pixels for step in range(hidden_kernel)
        }
    check_dilated(max(hidden_pixels) - min(hidden_pixels) + 1, "Listing every pixel gives this.", hidden_layers)
### END HIDDEN TESTS

# %% [markdown]
# ## Question 2: which pixels?
#
# **a)** Write `interval(layers, place)`. It returns `(first, last)`: the first and the last pixel that `place` of the
# last map sees. Both can lie outside the image, where the padding is: below 0, or beyond the last pixel. Leave them as
# they are.
#
# This time, start at the output. A place of the last map sees some places of the map before. These see places of the
# map before that, until you arrive at the image.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Take one layer without padding. Place 0 sees the inputs 0 to `kernel - 1`. Where does the kernel of place 1 begin,
# and where that of place 5?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# With padding, everything moves back by `padding`. So place `i` sees the inputs from `i * stride - padding` on,
# `kernel` of them.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Keep two numbers, `first` and `last`, and let both begin as `place`. Walk through `reversed(layers)`. The new `first`
# is where the kernel of the old `first` begins. The new `last` is where the kernel of the old `last` *ends*.
#
# </details>


# %% nbgrader={"grade_id": "q2-interval", "solution": true}
def interval(layers, place):
    """Return the first and the last pixel that a place sees through a chain of layers (kernel, stride, padding)."""
    ### BEGIN SOLUTION
    first = last = place
    for kernel, stride, padding in reversed(layers):
        first = first * stride - padding
        last = last * stride - padding + kernel - 1
    return first, last
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-interval-tests", "points": 2}
def check_interval(expected, mistake, layers, place):
    """Compare one answer of interval with the expected one."""
    given = interval(list(layers), place)
    assert isinstance(given, (tuple, list)) and tuple(given) == expected, (
        f"interval({layers}, {place}) should be {expected}, the first and the last pixel; yours gives {given}. "
        f"{mistake}"
    )


check_interval((4, 6), "Three pixels: 4, 5 and 6. A last pixel of 7 is one too many.", [(3, 1, 0)], 4)
check_interval((6, 7), "With stride 2, place 3 begins at pixel 6.", [(2, 2, 0)], 3)
check_interval((-1, 1), "Pixel -1 is padding. (0, 1) would mean that the field was cut at the edge.", [(3, 1, 1)], 0)
check_interval(
    (4, 8),
    "The second layer looks at places 2 and 3 of the first map. They see pixels 4 to 6 and 6 to 8. (4, 9) would mean "
    "that the layers were walked from the image to the output, (4, 6) that the kernel of place 3 was left out.",
    [(3, 2, 0), (2, 2, 0)],
    1,
)
check_interval(
    (6, 21),
    "This is the middle of LeNet-5's second pooling layer. It sees places 4 and 5 below it, then 4 to 9, then 8 to 19, "
    "then pixels 6 to 21.",
    [(5, 1, 2), (2, 2, 0), (5, 1, 0), (2, 2, 0)],
    2,
)
### BEGIN HIDDEN TESTS
import random

check_interval((7, 7), "Without layers, a place is a pixel.", [], 7)
# From the table of Araujo, Norris and Sim: fields of 212 pixels, 32 apart, and the first begins at -90.
hidden_vgg = [layer for depth in (2, 2, 3, 3, 3) for layer in [(3, 1, 1)] * depth + [(2, 2, 0)]]
for hidden_place in range(7):
    check_interval(
        (32 * hidden_place - 90, 32 * hidden_place + 121),
        "This is the last pooling layer of VGG-16.",
        hidden_vgg,
        hidden_place,
    )
hidden_random = random.Random(23915)
for _ in range(40):
    hidden_layers = [
        (hidden_random.randint(1, 6), hidden_random.randint(1, 3), hidden_random.randint(0, 3))
        for _ in range(hidden_random.randint(1, 5))
    ]
    hidden_place = hidden_random.randint(0, 9)
    hidden_pixels = {hidden_place}
    for hidden_kernel, hidden_stride, hidden_padding in reversed(hidden_layers):
        hidden_pixels = {
            place * hidden_stride - hidden_padding + step for place in hidden_pixels for step in range(hidden_kernel)
        }
    check_interval(
        (min(hidden_pixels), max(hidden_pixels)), "Listing every pixel gives this.", hidden_layers, hidden_place
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** A place near the edge of a map sees zeros that are not part of the image. How many such places are there?
#
# Write `edge_places(size, stride, start, places, pixels)`. The map has `places` places. Place 0 sees `size` pixels
# from pixel `start` on, and each further place sees `size` pixels that lie `stride` further on. The image has `pixels`
# pixels. Return the number of places that see at least one pixel outside the image.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write down the first and the last pixel that place `i` sees. The image ends at pixel `pixels - 1`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A field that is longer than the image leaves it on both sides. Such a place counts once. A loop over the places with
# one question for each of them avoids the trap.
#
# </details>


# %% nbgrader={"grade_id": "q2-edge", "solution": true}
def edge_places(size, stride, start, places, pixels):
    """Return how many places of a map see at least one pixel outside the image."""
    ### BEGIN SOLUTION
    count = 0
    for place in range(places):
        first = start + place * stride
        last = first + size - 1
        if first < 0 or last >= pixels:
            count += 1
    return count
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-edge-tests", "points": 2}
def check_edge(expected, mistake, **numbers):
    """Compare one answer of edge_places with the expected one."""
    given = edge_places(**numbers)
    call = ", ".join(f"{name}={value}" for name, value in numbers.items())
    assert given == expected, f"edge_places({call}) should be {expected}; yours gives {given}. {mistake}"


check_edge(0, "Nothing is padded here, so no place sees zeros.", size=3, stride=1, start=0, places=6, pixels=8)
check_edge(
    2,
    "Place 0 sees pixel -1, and place 7 sees pixel 8. The last pixel of the image is 7, so 1 would mean that pixel 8 "
    "was taken for a part of it, or that only one edge was looked at.",
    size=3,
    stride=1,
    start=-1,
    places=8,
    pixels=8,
)
check_edge(
    1,
    "Place 3 sees pixels 6, 7 and 8. With padding only behind the image, only one edge has such places.",
    size=3,
    stride=2,
    start=0,
    places=4,
    pixels=8,
)
check_edge(
    5,
    "All five places see zeros, and some on both sides. 8 would mean that these were counted twice.",
    size=9,
    stride=1,
    start=-4,
    places=5,
    pixels=5,
)
check_edge(
    6,
    "This is the last map of VGG-16, with the numbers of Araujo, Norris and Sim. Only its middle place sees no zeros.",
    size=212,
    stride=32,
    start=-90,
    places=7,
    pixels=224,
)
### BEGIN HIDDEN TESTS
import random

check_edge(12, "VGG-16, last convolution.", size=196, stride=16, start=-90, places=14, pixels=224)
hidden_random = random.Random(224)
for _ in range(60):
    hidden_case = {
        "size": hidden_random.randint(1, 20),
        "stride": hidden_random.randint(1, 4),
        "start": -hidden_random.randint(0, 9),
        "places": hidden_random.randint(1, 12),
        "pixels": hidden_random.randint(4, 30),
    }
    hidden_image = set(range(hidden_case["pixels"]))
    hidden_number = sum(
        not hidden_image.issuperset(range(begin, begin + hidden_case["size"]))
        for begin in range(
            hidden_case["start"],
            hidden_case["start"] + hidden_case["places"] * hidden_case["stride"],
            hidden_case["stride"],
        )
    )
    check_edge(hidden_number, "Listing the pixels of every place gives this.", **hidden_case)
### END HIDDEN TESTS

# %% [markdown]
# ## Question 3: many small kernels for a large one
#
# Two 3 × 3 convolutions with stride 1, one behind the other, see 5 × 5 pixels. Simonyan and Zisserman built their
# networks from such stacks (*Very deep convolutional networks for large-scale image recognition*, ICLR 2015, section
# 2.3).
#
# **a)** Write `threes(kernel)`. It returns how many 3 × 3 convolutions with stride 1 have together the same field as
# one convolution with a kernel of side `kernel`, an integer. `kernel` is at least 3. Some sides cannot be had in this
# way: raise a `ValueError` then.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write down the field after one, two, three and four such layers. By how much does it grow each time?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The sides in your list have something in common. The sides that are missing from it call for the `ValueError`.
#
# </details>


# %% nbgrader={"grade_id": "q3-threes", "solution": true}
def threes(kernel):
    """Return how many 3 × 3 convolutions see as much as one kernel; raise ValueError where no number of them does."""
    ### BEGIN SOLUTION
    if kernel % 2 == 0:
        raise ValueError(f"A stack of 3 × 3 kernels has an odd field; a side of {kernel} is even.")
    return (kernel - 1) // 2
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-threes-tests", "points": 1}
def check_threes(expected, mistake, kernel):
    """Compare one answer of threes with the expected one."""
    given = threes(kernel)
    assert given == expected, f"threes({kernel}) should be {expected}; yours gives {given}. {mistake}"


check_threes(1, "One such layer is the kernel itself.", 3)
check_threes(2, "3, then 5: the second layer adds two pixels. 1 would mean 5 // 3.", 5)
check_threes(5, "3, 5, 7, 9, 11. 3 would mean 11 // 3, 4 that the first layer was not counted.", 11)
assert isinstance(threes(7), (int, np.integer)), (
    f"A number of layers is an integer; yours is a {type(threes(7)).__name__}. / always gives a fraction, // gives a "
    "whole number."
)
try:
    even = threes(4)
except ValueError:
    pass
else:
    raise AssertionError(f"No stack of 3 × 3 kernels sees exactly 4 pixels: raise a ValueError. Yours returns {even}.")
### BEGIN HIDDEN TESTS
hidden_side = 1
for hidden_layers in range(1, 30):
    hidden_side += 2
    check_threes(hidden_layers, "Each layer adds two pixels.", hidden_side)
    try:
        hidden_even = threes(hidden_side + 1)
    except ValueError:
        continue
    hidden_reason = "since no stack of 3 × 3 kernels has an even side"
    raise AssertionError(f"threes({hidden_side + 1}) should raise a ValueError, {hidden_reason}; yours: {hidden_even}.")
### END HIDDEN TESTS

# %% [markdown]
# **b)** Write `stack_parameters(kernels, inputs, outputs, bias=True)`. It returns the number of trainable parameters
# of a stack of convolutions. `kernels` lists the sides of their square kernels, the layer next to the image first.
# The first layer of the stack takes `inputs` maps. Every layer gives `outputs` maps to the next one. Each layer has
# one bias for each map that it gives; with `bias=False` there are none.
#
# Work out two cases without biases on paper: one 7 × 7 layer, and three 3 × 3 layers, with 64 maps everywhere. Which
# needs more weights, and by what factor?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# One layer with kernels of side `k`, `a` input maps and `b` output maps has `k * k * a * b` weights and `b` biases.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# What enters the second layer is what the first one gives: `outputs` maps. Only the first layer sees `inputs` maps.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# In a loop over the kernels, add the parameters of the layer, and then set `inputs = outputs`.
#
# </details>


# %% nbgrader={"grade_id": "q3-stack", "solution": true}
def stack_parameters(kernels, inputs, outputs, bias=True):
    """Return the number of trainable parameters of a stack of convolutions with square kernels."""
    ### BEGIN SOLUTION
    total = 0
    for kernel in kernels:
        total += kernel * kernel * inputs * outputs + (outputs if bias else 0)
        inputs = outputs
    return total
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-stack-tests", "points": 3}
def check_stack(expected, mistake, *arguments, **keywords):
    """Compare one answer of stack_parameters with the expected one."""
    given = stack_parameters(*arguments, **keywords)
    call = ", ".join([*map(str, arguments), *(f"{name}={value}" for name, value in keywords.items())])
    assert given == expected, f"stack_parameters({call}) should be {expected}; yours gives {given}. {mistake}"


check_stack(
    200704, "49 weights from each of 64 maps to each of 64 maps. 28672 would mean 7 of them.", [7], 64, 64, bias=False
)
check_stack(
    110592,
    "Three times 9 weights from each of 64 maps to each of 64 maps. The 7 × 7 layer needs 81 % more. "
    "36864 would mean that only one layer was counted, 331776 that the kernels were joined to one of side 9.",
    [3, 3, 3],
    64,
    64,
    bias=False,
)
check_stack(
    390,
    "The first layer takes 1 map: 6 × (9 + 1). The second takes 6: 6 × (6 × 9 + 1). 120 would mean that both took 1 "
    "map, 660 that both took 6, 384 that the last layer alone had biases, 378 that there were none.",
    [3, 3],
    1,
    6,
)
check_stack(34944, "The first layer of AlexNet: 96 × (3 × 11 × 11 + 1).", [11], 3, 96)
check_stack(
    334848,
    "Five 3 × 3 layers in its place. The first takes 3 maps, the other four take 96. 13440 would mean that all took 3.",
    [3, 3, 3, 3, 3],
    3,
    96,
)
### BEGIN HIDDEN TESTS
check_stack(244704, "A 7 × 7 and a 5 × 5 layer in place of the first of AlexNet.", [7, 5], 3, 96)
check_stack(244512, "The same without biases: 2 × 96 fewer.", [7, 5], 3, 96, bias=False)
check_stack(0, "A stack without layers has no parameters.", [], 3, 96)
# Layers of VGG-16: conv1_1 with conv1_2, and conv3_1 with conv3_2 and conv3_3.
check_stack(38720, "1,792 and 36,928 parameters.", [3, 3], 3, 64)
check_stack(1475328, "295,168 parameters, and twice 590,080.", [3, 3, 3], 128, 256)
check_stack(66, "Kernels that differ: 10, 18 and 38 parameters.", [1, 2, 3], 4, 2, bias=True)
### END HIDDEN TESTS

# %% [markdown]
# To think about, without points: keep the 96 output maps. From how many input maps on does the stack of five have fewer
# parameters than the 11 × 11 layer? The paper counts layers with as many input maps as output maps. An image has three.

# %% [markdown]
# ## Question 4: branches and shortcuts
#
# In many networks the path from the image divides. The branches meet again where their maps are added or
# concatenated, place by place. A place of the joined map sees whatever any of the branches sees.
#
# **a)** Write `joined(branches)`. Each branch is a list of layers `(kernel, stride, padding)`. All branches begin at
# the image, and a branch without layers is a shortcut. Return `(size, stride, start)` of the joined map:
#
# - `start` is the first pixel that place 0 sees through any branch, and `size` counts from there to the last pixel that
#   it sees through any branch, gaps included.
# - `stride` is the effective stride that all branches have in common. If they have different ones, the fields of the
#   branches drift apart from place to place, and no single size is right. Raise a `ValueError` then.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Work out three numbers for each branch: its effective stride, and the first and the last pixel that place 0 sees
# through it. For a shortcut they are 1, 0 and 0.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Going forward through a branch: the first pixel moves back by `padding` times the effective stride so far. The last
# pixel moves on by `kernel - 1 - padding` times it. Then the effective stride is multiplied by the stride of the layer.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The largest size of a branch is too small where branches look to different sides. Take the smallest first pixel and
# the largest last pixel of all branches. The strides of all branches in a `set` tell whether they agree.
#
# </details>


# %% nbgrader={"grade_id": "q4-joined", "solution": true}
def joined(branches):
    """Return (size, stride, start) of the map where branches of layers meet; raise ValueError if strides differ."""
    ### BEGIN SOLUTION
    strides, firsts, lasts = set(), [], []
    for branch in branches:
        effective, first, last = 1, 0, 0
        for kernel, stride, padding in branch:
            first -= padding * effective
            last += (kernel - 1 - padding) * effective
            effective *= stride
        strides.add(effective)
        firsts.append(first)
        lasts.append(last)
    if len(strides) > 1:
        raise ValueError(f"The branches have the effective strides {sorted(strides)}; they must have the same.")
    return max(lasts) - min(firsts) + 1, strides.pop(), min(firsts)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-joined-tests", "points": 2}
def check_joined(expected, mistake, branches):
    """Compare one answer of joined with the expected one."""
    given = joined([list(branch) for branch in branches])
    assert isinstance(given, (tuple, list)) and tuple(given) == expected, (
        f"joined({branches}) should be {expected}, that is size, effective stride and start; yours gives {given}. "
        f"{mistake}"
    )


check_joined((7, 1, -1), "A single branch is a chain.", [[(3, 1, 1), (5, 1, 0)]])
check_joined(
    (5, 1, -2),
    "A residual block: the shortcut sees pixel 0 only, and the two convolutions see pixels -2 to 2. A size of 6 would "
    "mean that the fields were added.",
    [[], [(3, 1, 1), (3, 1, 1)]],
)
check_joined(
    (5, 1, -2),
    "A block of GoogLeNet: fields of 1, 3, 5 and 3 pixels around the same pixel. The longest one holds the others. A "
    "size of 9 would mean that the branches were put one behind the other.",
    [[(1, 1, 0)], [(1, 1, 0), (3, 1, 1)], [(1, 1, 0), (5, 1, 2)], [(3, 1, 1), (1, 1, 0)]],
)
check_joined(
    (5, 1, -2),
    "The first branch sees pixels 0 to 2, the second -2 to 0; together they see -2 to 2. A size of 3 would mean that "
    "only the longest branch was taken, 6 that both were added.",
    [[(3, 1, 0)], [(3, 1, 2)]],
)
check_joined(
    (7, 2, -3),
    "The shortcut has a stride, too. Both branches have the effective stride 2.",
    [[(3, 2, 1), (3, 1, 1)], [(1, 2, 0)]],
)
try:
    drifting = joined([[(3, 2, 1)], []])
except ValueError:
    pass
else:
    raise AssertionError(
        "joined([[(3, 2, 1)], []]) has branches with the effective strides 2 and 1, so it should raise a ValueError; "
        f"yours returns {drifting}."
    )
### BEGIN HIDDEN TESTS
import random

check_joined((7, 4, 0), "A stride of 4 is worth two strides of 2.", [[(3, 4, 0)], [(3, 2, 0), (3, 2, 0)]])
check_joined((9, 1, -8), "The fields lie apart, and the gap counts.", [[(1, 1, 0)], [(2, 1, 8)]])
hidden_random, hidden_refused = random.Random(2015), 0
for _ in range(80):
    hidden_branches = [
        [
            (hidden_random.randint(1, 5), hidden_random.randint(1, 2), hidden_random.randint(0, 4))
            for _ in range(hidden_random.randint(0, 2))
        ]
        for _ in range(hidden_random.randint(1, 3))
    ]
    # What places 0 and 1 see through each branch, pixel by pixel.
    hidden_views = []
    for hidden_branch in hidden_branches:
        hidden_view = [{0}, {1}]
        for hidden_kernel, hidden_stride, hidden_padding in reversed(hidden_branch):
            hidden_view = [
                {place * hidden_stride - hidden_padding + step for place in places for step in range(hidden_kernel)}
                for places in hidden_view
            ]
        hidden_views.append(hidden_view)
    hidden_strides = {min(after) - min(before) for before, after in hidden_views}
    hidden_pixels = set().union(*(before for before, _ in hidden_views))
    if len(hidden_strides) == 1:
        check_joined(
            (max(hidden_pixels) - min(hidden_pixels) + 1, min(hidden_strides), min(hidden_pixels)),
            "Listing every pixel gives this.",
            hidden_branches,
        )
        continue
    hidden_refused += 1
    try:
        hidden_answer = joined(hidden_branches)
    except ValueError:
        continue
    hidden_reason = "since the effective strides of the branches differ"
    raise AssertionError(f"joined({hidden_branches}) should raise a ValueError, {hidden_reason}; got {hidden_answer}.")
assert hidden_refused > 10
### END HIDDEN TESTS

# %% [markdown]
# **b)** A residual network is a chain of blocks, and each block has a shortcut past its convolutions. So there are many
# paths through the network: at each block, a path goes through the convolutions or past them. Veit, Wilber and Belongie
# look at residual networks in this way (*Residual networks behave like ensembles of relatively shallow networks*,
# NeurIPS 2016). The longest path has the largest field. How large are those of the others?
#
# Write `path_fields(growths)`. All strides are 1. `growths` has one number for each block: by how many pixels its
# convolutions make the field longer. A path that goes past all blocks sees 1 pixel. Return a dictionary: for each size
# that occurs, the number of paths with a field of this size.
#
# The network of 110 layers in the paper has 54 blocks, so listing the paths one by one would take too long.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Start with no blocks: one path, which sees 1 pixel. Now add a block. Each path becomes two. What are their fields?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# You need not know the paths, only how many there are of each size. If ten paths see 5 pixels and the next block adds
# 4, then ten paths see 5 pixels and ten see 9.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# For each block, build a new dictionary from the old one. Two different ways may lead to the same size, so add to what
# is already there: `new[size] = new.get(size, 0) + count`.
#
# </details>


# %% nbgrader={"grade_id": "q4-paths", "solution": true}
def path_fields(growths):
    """Return how many paths through a chain of residual blocks have a field of each size, as a dictionary."""
    ### BEGIN SOLUTION
    paths = {1: 1}
    for growth in growths:
        longer = dict(paths)
        for size, count in paths.items():
            longer[size + growth] = longer.get(size + growth, 0) + count
        paths = longer
    return paths
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-paths-tests", "points": 2}
def check_paths(expected, mistake, growths):
    """Compare one answer of path_fields with the expected one."""
    given = path_fields(list(growths))
    assert isinstance(given, dict), (
        f"path_fields returns a dictionary of sizes and numbers of paths; yours returns a {type(given).__name__}."
    )
    found = {size: given[size] for size in sorted(given)}
    assert found == expected, f"path_fields({growths}) should be {expected}; yours gives {found}. {mistake}"


check_paths({1: 1}, "Without blocks there is one path, and it sees 1 pixel.", [])
check_paths({1: 1, 5: 1}, "One path goes past the block and one goes through it.", [4])
check_paths(
    {1: 1, 5: 2, 9: 1},
    "Two paths see 5 pixels: through the first block only, and through the second block only. 1 there would mean that "
    "one overwrote the other, or that the blocks could be left out only from the end.",
    [4, 4],
)
check_paths({1: 1, 3: 1, 5: 1, 7: 1}, "The blocks differ, and so do the four paths.", [2, 4])
check_paths(
    {1: 1, 3: 2, 5: 2, 7: 2, 9: 1},
    "Eight paths. 5 pixels come from the two blocks with 2, and from the block with 4.",
    [2, 2, 4],
)
### BEGIN HIDDEN TESTS
import itertools
import math
from collections import Counter

check_paths({1: 2, 3: 2}, "A block of 1 × 1 convolutions adds nothing, but its two paths count.", [2, 0])
for hidden_growths in ([4, 2, 2], [2, 4, 6, 8], [4] * 7, [2, 2, 2, 8, 16, 3, 1], [12, 4, 8, 4, 12]):
    hidden_counts = Counter(
        1 + sum(hidden_chosen) for hidden_chosen in itertools.product(*((0, growth) for growth in hidden_growths))
    )
    check_paths(
        {size: hidden_counts[size] for size in sorted(hidden_counts)},
        "Listing the paths one by one gives this.",
        hidden_growths,
    )
check_paths({1 + 4 * taken: math.comb(54, taken) for taken in range(55)}, "54 blocks that add 4 pixels each.", [4] * 54)
### END HIDDEN TESTS

# %% [markdown]
# To think about, without points: 54 blocks that add 4 pixels each give a field of 217 pixels. How many of the 2⁵⁴ paths
# see that much? Which size is the most frequent?

# %% [markdown]
# ## Question 5: change a pixel, watch a place
#
# So far you have calculated what a place sees. It can also be measured, without any knowledge of the layers: change one
# value of the image, and look whether the place changes.
#
# Write `seen(predict, image, place, step=1.0)`:
#
# - `predict` takes images of shape (n, height, width, channels) and returns maps of shape (n, rows, columns, maps).
# - `image` has shape (height, width, channels). It stays unchanged.
# - `place` is `(row, column)` in the maps.
# - Add `step` to one value of the image, a single channel of a single pixel. If one of the maps changes at `place` by
#   more than 0.000001, the pixel is seen. Then do the same with `step` taken away instead of added. Do this for all
#   channels of all pixels, and start each time from the original image.
# - Return the smallest box that holds all seen pixels: `((first row, last row), (first column, last column))`. Return
#   `None` if no pixel is seen.
#
# Calling a network takes time. Hand over many changed copies at once, for example all that belong to one row of pixels.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Begin with a version for one value: `changed = image.copy()`, then `changed[y, x, channel] += step`, then
# `predict(changed[np.newaxis])[0, row, column]`. It has one number for each map. Compare it with what the unchanged
# image gives.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A positive and a negative difference cancel in a sum. Take the absolute values, and then the largest of them.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `np.repeat(image[np.newaxis], count, axis=0)` makes `count` copies. Change another value in each of them, and remember
# which copy belongs to which pixel. Collect the rows and the columns of the seen pixels; `min` and `max` give the box.
#
# </details>


# %% nbgrader={"grade_id": "q5-seen", "solution": true}
def seen(predict, image, place, step=1.0):
    """Return the box of pixels that a place depends on, ((first row, last row), (first column, last column))."""
    ### BEGIN SOLUTION
    height, width, channels = image.shape
    row, column = place
    before = np.asarray(predict(image[np.newaxis]))[0, row, column]
    changes = [(x, channel, change) for x in range(width) for channel in range(channels) for change in (step, -step)]
    rows, columns = set(), set()
    for y in range(height):
        copies = np.repeat(image[np.newaxis], len(changes), axis=0)
        for copy, (x, channel, change) in zip(copies, changes, strict=True):
            copy[y, x, channel] += change
        after = np.asarray(predict(copies))[:, row, column]
        for difference, (x, _, _) in zip(after - before, changes, strict=True):
            if np.abs(difference).max() > 1e-6:
                rows.add(y)
                columns.add(x)
    if not rows:
        return None
    return (min(rows), max(rows)), (min(columns), max(columns))
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-seen-tests", "points": 4}
import numpy as np


def stand_in(rows, columns, *, stride=1, padding=0, colours=(1.0,), then=lambda maps: maps):
    """Return a stand-in for a network: it mixes the colours, sums windows of rows × columns, and applies then."""

    def predict(images):
        images = np.asarray(images, "float64")
        assert images.ndim == 4 and images.shape[-1] == len(colours), (
            f"predict expects images of shape (n, height, width, {len(colours)}); yours have shape {images.shape}. "
            "A single image needs a first axis of length 1."
        )
        zeros = ((0, 0), (padding, padding), (padding, padding))
        padded = np.pad(images @ np.array(colours), zeros)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), axis=(1, 2))
        return then(windows.sum(axis=(-2, -1))[:, ::stride, ::stride, np.newaxis])

    return predict


def check_seen(expected, mistake, predict, image, place, **keywords):
    """Compare one answer of seen with the expected one."""
    original = image.copy()
    given = seen(predict, image, place, **keywords)
    assert np.array_equal(image, original), (
        "The image that was passed in has changed. Change a copy, so that every pixel starts from the original."
    )
    called = f"An image of shape {image.shape}, place {place}, step {keywords.get('step', 1.0)}: expected {expected}, "
    if expected is None or given is None:
        same = given is expected
    else:
        same = np.shape(given) == (2, 2) and np.array_equal(given, expected)
    assert same, f"{called}got {given}. {mistake}"


check_seen(
    ((2, 4), (3, 5)),
    "A window of 3 × 3. Rows 0 to 7 would mean that the whole map was watched instead of one place, rows 2 to 5 that "
    "the last row given is the one after the box.",
    stand_in(3, 3),
    np.zeros((8, 8, 1)),
    (2, 3),
)
check_seen(
    ((4, 5), (2, 6)),
    "A window of two rows and five columns, stride 2. Are rows and columns swapped?",
    stand_in(2, 5, stride=2),
    np.ones((8, 9, 1)),
    (2, 1),
)
check_seen(
    ((0, 1), (5, 7)),
    "Here a part of the window lies in the padding. There is nothing to change, so the box ends at the edge.",
    stand_in(3, 3, padding=1),
    np.zeros((8, 8, 1)),
    (0, 6),
)
check_seen(
    ((1, 2), (0, 1)),
    "This stand-in takes the second channel minus the first. If both channels are changed at once, nothing happens.",
    stand_in(2, 2, colours=(-1.0, 1.0)),
    np.full((5, 5, 2), 0.5),
    (1, 0),
)
check_seen(
    ((3, 5), (3, 5)),
    "This stand-in answers to darker pixels only, as a ReLU behind a negative weight does. Is `step` also taken away?",
    stand_in(3, 3, colours=(-1.0,), then=lambda maps: np.maximum(maps, 0)),
    np.zeros((9, 9, 1)),
    (3, 3),
)
check_seen(
    ((0, 1), (2, 3)),
    "There are two maps, and one falls where the other rises. In their sum, nothing changes.",
    stand_in(2, 2, then=lambda maps: np.concatenate([maps, -maps], axis=-1)),
    np.zeros((4, 6, 1)),
    (0, 2),
)
check_seen(
    None,
    "This stand-in is silent below a sum of 2, and one step of 1 does not wake it. No pixel is seen.",
    stand_in(3, 3, then=lambda maps: np.maximum(maps - 2, 0)),
    np.zeros((6, 7, 1)),
    (1, 2),
)
check_seen(
    ((1, 3), (2, 4)),
    "The same stand-in with a step of 3, which wakes it.",
    stand_in(3, 3, then=lambda maps: np.maximum(maps - 2, 0)),
    np.zeros((6, 7, 1)),
    (1, 2),
    step=3.0,
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(2016)
for hidden_rows, hidden_columns, hidden_stride, hidden_padding, hidden_colours in [
    (1, 4, 1, 0, (0.0, 0.0, 1.0)),
    (5, 2, 3, 1, (2.0, -1.0, -1.0)),
    (3, 6, 2, 1, (1.0, -1.0)),
    (4, 4, 4, 0, (0.5,)),
    (7, 3, 1, 1, (1.0, 0.0)),
]:
    hidden_image = hidden_random.normal(size=(11, 13, len(hidden_colours)))
    hidden_network = stand_in(
        hidden_rows, hidden_columns, stride=hidden_stride, padding=hidden_padding, colours=hidden_colours
    )
    hidden_map = hidden_network(hidden_image[np.newaxis])[0, :, :, 0]
    for hidden_place in [(0, 0), (hidden_map.shape[0] - 1, hidden_map.shape[1] - 1), (1, 2)]:
        hidden_top, hidden_left = (index * hidden_stride - hidden_padding for index in hidden_place)
        hidden_box = (
            (max(hidden_top, 0), min(hidden_top + hidden_rows - 1, 10)),
            (max(hidden_left, 0), min(hidden_left + hidden_columns - 1, 12)),
        )
        check_seen(hidden_box, "Arithmetic gives this box.", hidden_network, hidden_image, hidden_place)


def hidden_cross(images):
    """See five pixels: the place itself, two above, three to the right, and four below only when they get darker."""
    images = np.asarray(images)
    maps = np.zeros((len(images), 10, 10, 2))
    maps[:, 2:6, 0:7, 0] = images[:, 2:6, 0:7, 0] - images[:, 0:4, 0:7, 0] + 1e-3 * images[:, 2:6, 3:10, 1]
    maps[:, 2:6, 0:7, 1] = np.minimum(images[:, 6:10, 0:7, 2], 0.0)
    return maps


for hidden_place in [(2, 0), (4, 3), (5, 6)]:
    hidden_row, hidden_column = hidden_place
    check_seen(
        ((hidden_row - 2, hidden_row + 4), (hidden_column, hidden_column + 3)),
        "The box holds all seen pixels, also those on different arms.",
        hidden_cross,
        np.zeros((10, 10, 3)),
        hidden_place,
    )
check_seen(None, "A place that depends on nothing.", hidden_cross, np.zeros((10, 10, 3)), (9, 9))
### END HIDDEN TESTS

# %% [markdown]
# Now the experiment. The next cell takes the trained LeNet-5 of chapter 01 and one test digit. For several layers and
# places it prints the rows that the recursion gives, and the rows that your function finds. Before you run it, say for
# which lines the two will differ.

# %%
import keras
from course_lib.analysis.receptive_field import receptive_field
from course_lib.datasets import load_digits
from course_lib.models.lenet import load_lenet5

lenet, digit = load_lenet5(), load_digits().test.images[0]
print("layer  place   calculated  found")
for name, place in [("C1", (14, 14)), ("S2", (7, 7)), ("C3", (5, 5)), ("S4", (2, 2)), ("S4", (0, 0)), ("S4", (4, 4))]:
    part = keras.Model(lenet.inputs[0], lenet.get_layer(name).output)
    rows, columns = receptive_field(lenet, name).interval(place)
    box = seen(lambda images, part=part: keras.ops.convert_to_numpy(part(images)), digit, place)
    print(f"{name:5s}  {place!s:8s}{rows!s:>10s}  {box[0]}")

# %% [markdown]
# LeNet-5 has tanh and average pooling, and there every pixel counts a little. Max pooling is different: the largest
# value hides the others. The next cell builds a small network with max pooling. Its weights are all alike, and its
# images are noise. It shows which pixels the first place of the output sees, once with small changes and once with very
# large ones.

# %%
import keras
from course_lib.analysis.receptive_field import receptive_field

small = keras.Sequential(
    [
        keras.Input((20, 20, 1)),
        keras.layers.Conv2D(1, 3, kernel_initializer=keras.initializers.Constant(1 / 9)),
        keras.layers.MaxPooling2D(2),
        keras.layers.Conv2D(1, 3, kernel_initializer=keras.initializers.Constant(1 / 9)),
        keras.layers.MaxPooling2D(2),
    ]
)
print("calculated:", receptive_field(small).interval(0))
for number in range(6):
    noise = np.random.default_rng(number).uniform(size=(20, 20, 1)).astype("float32")
    boxes = [
        seen(lambda images: keras.ops.convert_to_numpy(small(images)), noise, (0, 0), step=size) for size in (0.01, 100)
    ]
    print(f"image {number}: small changes {boxes[0]}, large changes {boxes[1]}")

# %% [markdown]
# To think about, without points: can a box that was found be larger than the calculated one? If it is smaller, which of
# the two is wrong?
