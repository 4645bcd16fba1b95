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
# # Exercises 01: LeNet-5
#
# Five questions on chapter 01, 20 points in all. Each question stands on its own, so they can be done in any order.
#
# | question | about | kind | points |
# | --- | --- | --- | --- |
# | 1 | sizes and parameters of a convolution | arithmetic | 4 |
# | 2 | convolution by hand | code | 4 |
# | 3 | the sub-sampling layer of 1998 | code | 4 |
# | 4 | the sparse connections of C3 | arithmetic and code | 4 |
# | 5 | digits that move | experiment | 4 |
#
# Write your answers where a cell says `YOUR CODE HERE`, and remove the line that raises `NotImplementedError`.
# Below each answer stands a cell with tests. Run it: silence means that the tests pass, and a message says what was
# expected, what came, and which mistake often gives that. When a sheet is graded, further tests with other numbers
# run.
#
# Hints open one at a time. Try for a few minutes before you open the next one.
#
# *Running time: under a minute on a CPU. Needs: chapter 01.*

# %%
import course_lib

settings = course_lib.setup(chapter=1)

# %%
import numpy as np

# %% [markdown]
# ## Question 1: how large, and how many?
#
# A convolution slides a square kernel over a square input. The input may be padded with zeros on every side. The
# stride says how many pixels the kernel moves from one position to the next. A position counts only if the whole
# kernel lies on the padded input.
#
# **a)** Write `conv_output(size, kernel, stride=1, padding=0)`. It returns the side of the output in pixels, an
# integer. `padding` is the number of zeros on *each* side. A kernel that is larger than the padded input fits
# nowhere: raise a `ValueError` then.
#
# Work out two cases on paper first: the first layer of LeNet-5 (32 pixels, a 5 × 5 kernel), and the first layer of
# AlexNet (227 pixels, an 11 × 11 kernel, stride 4).

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Place the kernel at the left edge. By how many pixels can its left side still move before its right side leaves the
# padded input?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Count how many whole strides fit into that distance. The kernel also has a position before the first stride.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Padding on each side makes the input longer by twice the padding. `//` divides and rounds down.
#
# </details>


# %% nbgrader={"grade_id": "q1-output-size", "solution": true}
def conv_output(size, kernel, stride=1, padding=0):
    """Return the side of a convolution's output in pixels; raise ValueError where the kernel does not fit."""
    ### BEGIN SOLUTION
    padded = size + 2 * padding
    if kernel > padded:
        raise ValueError(f"The kernel is {kernel} pixels wide; it must fit into the padded input of {padded} pixels.")
    return (padded - kernel) // stride + 1
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-output-size-tests", "points": 2}
def check_output_size(expected, mistake, *arguments, **keywords):
    """Compare one answer of conv_output with the expected one."""
    given = conv_output(*arguments, **keywords)
    call = ", ".join([*map(str, arguments), *(f"{name}={value}" for name, value in keywords.items())])
    assert given == expected, f"conv_output({call}) should be {expected}; yours gives {given}. {mistake}"


check_output_size(28, "27 would mean that the position before the first move was not counted.", 32, 5)
check_output_size(14, "Did the stride divide the distance that the kernel can move?", 28, 2, stride=2)
check_output_size(55, "216 pixels to move, 4 at a time, and the position at the start.", 227, 11, stride=4)
check_output_size(54, "213 pixels hold 53 whole strides; the rest is lost. Round down, not up.", 224, 11, stride=4)
check_output_size(27, "Zeros are added on both sides, so the input becomes 27 + 4 pixels long.", 27, 5, padding=2)
check_output_size(2, "The padding counts before you ask whether the kernel fits.", 4, 5, padding=1)
assert isinstance(conv_output(227, 11, stride=4), (int, np.integer)), (
    f"A number of pixels is an integer; yours is a {type(conv_output(227, 11, stride=4)).__name__}. "
    "/ always gives a fraction, // gives a whole number."
)
try:
    too_large = conv_output(4, 5)
except ValueError:
    pass
else:
    raise AssertionError(f"A 5-pixel kernel does not fit into 4 pixels: raise a ValueError. Yours returns {too_large}.")
### BEGIN HIDDEN TESTS
for hidden_size in range(1, 19):
    for hidden_kernel in range(1, 8):
        for hidden_stride in (1, 2, 3, 5):
            for hidden_padding in (0, 1, 3):
                # The positions one by one: the last one starts where the kernel touches the far edge.
                last_start = hidden_size + 2 * hidden_padding - hidden_kernel
                positions = len(range(0, last_start + 1, hidden_stride))
                if positions:
                    check_output_size(
                        positions,
                        "Count the positions one by one.",
                        hidden_size,
                        hidden_kernel,
                        stride=hidden_stride,
                        padding=hidden_padding,
                    )
                else:
                    try:
                        conv_output(hidden_size, hidden_kernel, hidden_stride, hidden_padding)
                    except ValueError:
                        continue
                    raise AssertionError(
                        f"A kernel of {hidden_kernel} pixels was accepted on an input of {hidden_size} pixels "
                        f"with padding {hidden_padding}; raise a ValueError."
                    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** Write `conv_parameters(kernel, inputs, outputs, bias=True)`. It returns the number of trainable parameters
# of a convolution with square kernels of side `kernel`, `inputs` input maps and `outputs` output maps, each output
# map connected to every input map. With `bias=False` the layer has no biases.
#
# The first layer of LeNet-5, C1, has one input map, six output maps and 5 × 5 kernels: 156 parameters. Do you get
# that on paper?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Look at one pixel of one output map. It sees a window of 5 × 5 pixels in *every* input map. How many weights is
# that?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# All pixels of one output map share these weights, so the size of the image does not matter. Each output map has
# weights of its own.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The contributions of all input maps are summed, and the bias is added to the sum. So there is one bias for each
# output map, however many input maps there are.
#
# </details>


# %% nbgrader={"grade_id": "q1-parameters", "solution": true}
def conv_parameters(kernel, inputs, outputs, bias=True):
    """Return the number of trainable parameters of a convolution with square kernels, every input to every output."""
    ### BEGIN SOLUTION
    weights = kernel * kernel * inputs * outputs
    return weights + outputs if bias else weights
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-parameters-tests", "points": 2}
def check_parameters(expected, mistake, *arguments, **keywords):
    """Compare one answer of conv_parameters with the expected one."""
    given = conv_parameters(*arguments, **keywords)
    call = ", ".join([*map(str, arguments), *(f"{name}={value}" for name, value in keywords.items())])
    assert given == expected, f"conv_parameters({call}) should be {expected}; yours gives {given}. {mistake}"


check_parameters(
    156, "C1: 36 would mean a kernel of 5 weights instead of 5 × 5; 150 that the biases are missing.", 5, 1, 6
)
check_parameters(
    2416,
    "C3, fully connected: 416 would mean that the input maps were not counted; 2496 that there was one bias for each "
    "connection instead of one for each output map.",
    5,
    6,
    16,
)
check_parameters(2400, "C3 without biases: 2416 would mean that `bias` was ignored.", 5, 6, 16, bias=False)
### BEGIN HIDDEN TESTS
check_parameters(
    48120, "C5 of LeNet-5: 120 × (16 × 5 × 5 + 1). Each output map has 16 kernels of 5 × 5 and one bias.", 5, 16, 120
)
check_parameters(34944, "The first layer of AlexNet: 96 × (3 × 11 × 11 + 1).", 11, 3, 96)
check_parameters(34848, "The first layer of AlexNet without biases.", 11, 3, 96, bias=False)
check_parameters(8, "A 1 × 1 convolution from three maps to two: 2 × (3 + 1).", 1, 3, 2)
### END HIDDEN TESTS

# %% [markdown]
# ## Question 2: convolution by hand
#
# Write `convolve(image, kernel, stride=1)` with NumPy.
#
# `image` has shape (height, width) and `kernel` has shape (rows, columns); neither needs to be square. Lay the
# kernel on the image, multiply what lies on top of each other, sum, and write the sum down. Then move on by
# `stride` pixels to the right, and at the end of a line by `stride` pixels down. Only positions where the whole
# kernel lies on the image count, so nothing is padded.
#
# The result is a floating-point array with one value for each position. Loops are fine here.
#
# A word on the name. In mathematics, a convolution turns the kernel by 180 degrees first. What neural networks call a
# convolution does not: it is a cross-correlation. Since the kernel is learned, the network does not care. Here the
# kernel stays as it is given.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Work out the shape of the result first. Question 1 has the formula; height and width each need it once.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The output at row `i` and column `j` belongs to the window whose top left corner is at row `i * stride` and column
# `j * stride` of the image.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `image[top : top + rows, left : left + columns]` is that window. Its product with the kernel, summed, is one number.
#
# </details>


# %% nbgrader={"grade_id": "q2-convolve", "solution": true}
def convolve(image, kernel, stride=1):
    """Return the cross-correlation of image (height, width) with kernel (rows, columns), without padding."""
    ### BEGIN SOLUTION
    rows, columns = kernel.shape
    height = (image.shape[0] - rows) // stride + 1
    width = (image.shape[1] - columns) // stride + 1
    result = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            top, left = i * stride, j * stride
            result[i, j] = np.sum(image[top : top + rows, left : left + columns] * kernel)
    return result
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-convolve-tests", "points": 4}
import numpy as np


def check_convolution(expected, mistake, image, kernel, **keywords):
    """Compare one answer of convolve with the expected one."""
    given = np.asarray(convolve(np.array(image, "float64"), np.array(kernel, "float64"), **keywords))
    expected = np.array(expected, "float64")
    assert given.shape == expected.shape, (
        f"The result should have shape {expected.shape}; yours has {given.shape}. A result as large as the image means "
        "that the image was padded; one row or column too few means that the last position is missing."
    )
    assert np.allclose(given, expected, atol=1e-6), f"Expected\n{expected}\nbut got\n{given}\n{mistake}"


check_convolution(
    [[-5, -5, -5], [-5, -5, -5]],
    "Here each pixel is compared with the one below and to the right, which is 5 larger. +5 would mean that the kernel "
    "was turned by 180 degrees.",
    np.arange(12).reshape(3, 4),
    [[1, 0], [0, -1]],
)
check_convolution(
    [[1, 0], [2, 1]],
    "The kernel has one row and three columns. Are rows and columns taken from the right axes?",
    [[1, 0, 0, 0], [0, 1, 0, 0]],
    [[1, 2, 3]],
)
check_convolution(
    [[12, 20], [52, 60]],
    "With stride 2 the windows start at rows 0 and 2 and at columns 0 and 2.",
    np.arange(25).reshape(5, 5),
    [[1, 1], [1, 1]],
    stride=2,
)
### BEGIN HIDDEN TESTS
from scipy.signal import correlate2d

hidden_random = np.random.default_rng(1998)
for hidden_shape, hidden_kernel_shape, hidden_stride in [
    ((9, 9), (3, 3), 1),
    ((8, 13), (2, 5), 1),
    ((13, 8), (5, 2), 3),
    ((10, 11), (3, 3), 2),
    ((6, 6), (6, 6), 1),
]:
    hidden_image = hidden_random.normal(size=hidden_shape)
    hidden_kernel = hidden_random.normal(size=hidden_kernel_shape)
    check_convolution(
        correlate2d(hidden_image, hidden_kernel, mode="valid")[::hidden_stride, ::hidden_stride],
        f"SciPy's correlate2d gives the expected values, for a kernel of {hidden_kernel_shape} and stride "
        f"{hidden_stride}. It neither turns the kernel nor pads the image.",
        hidden_image,
        hidden_kernel,
        stride=hidden_stride,
    )
### END HIDDEN TESTS

# %% [markdown]
# ## Question 3: the sub-sampling layer of 1998
#
# Today one would put average or max pooling behind a convolution. LeNet-5 has a layer of its own there, with
# weights that are trained (LeCun, Bottou, Bengio and Haffner, *Gradient-Based Learning Applied to Document
# Recognition*, Proceedings of the IEEE 86, 1998, section II.B).
#
# For each map, the layer S2 takes blocks of 2 × 2 pixels that do not overlap. It *sums* the four values. It
# multiplies the sum by a coefficient and adds a bias; each map has one coefficient and one bias. The result passes
# through the paper's scaled hyperbolic tangent, $f(x) = 1.7159\,\tanh\left(\tfrac{2}{3} x\right)$.
#
# Write `subsample(maps, coefficient, bias)`. `maps` has shape (height, width, channels) with even height and width;
# `coefficient` and `bias` have shape (channels,). The result has shape (height / 2, width / 2, channels).

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Four values belong to each block. One slice with step 2 picks the top left value of all blocks at once:
# `maps[0::2, 0::2]`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Add the four slices: top left, top right, bottom left, bottom right. That is the sum of each block; dividing by four
# would be average pooling.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Channels are the last axis, so NumPy multiplies by `coefficient` and adds `bias` channel by channel without a
# loop. The bias is added after the multiplication, once for each block.
#
# </details>


# %% nbgrader={"grade_id": "q3-subsample", "solution": true}
def subsample(maps, coefficient, bias):
    """Return the output of the 1998 sub-sampling layer for maps (height, width, channels)."""
    ### BEGIN SOLUTION
    blocks = maps[0::2, 0::2] + maps[0::2, 1::2] + maps[1::2, 0::2] + maps[1::2, 1::2]
    return 1.7159 * np.tanh(2 / 3 * (coefficient * blocks + bias))
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-subsample-tests", "points": 4}
import numpy as np


def check_subsample(expected, mistake, maps, coefficient, bias):
    """Compare one answer of subsample with the expected one."""
    arrays = [np.array(argument, "float64") for argument in (maps, coefficient, bias)]
    given = np.asarray(subsample(*arrays))
    expected = np.array(expected, "float64")
    assert given.shape == expected.shape, (
        f"The result should have shape {expected.shape}; yours has {given.shape}. Height and width are halved, "
        "and the channels stay as they are."
    )
    assert np.allclose(given, expected, atol=1e-3), (
        f"Expected\n{expected.round(4)}\nbut got\n{given.round(4)}\n{mistake}"
    )


check_subsample(
    np.ones((1, 1, 1)),
    "Four ones, times 0.25, is 1, and the paper chose its tangent so that f(1) = 1. 0.2834 would mean that the mean "
    "was taken instead of the sum, 0.7616 that the tangent was not scaled.",
    np.ones((2, 2, 1)),
    [0.25],
    [0.0],
)
check_subsample(
    np.ones((1, 1, 1)),
    "Four zeros, times 0.5, plus a bias of 1, is 1, and f(1) = 1. 0.5517 would mean that the bias was added before the "
    "multiplication, 1.4929 that it was added to each of the four pixels.",
    np.zeros((2, 2, 1)),
    [0.5],
    [1.0],
)
check_subsample(
    [[[1.0, -1.0], [0.0, 0.0]]],
    "The second map has a coefficient and a bias of its own, and the second block is all zeros.",
    [[[1, 1], [2, 2], [0, 0], [0, 0]], [[3, 3], [4, 4], [0, 0], [0, 0]]],
    [0.1, -0.1],
    [0.0, 0.0],
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(86)
for hidden_shape in [(28, 28, 6), (4, 10, 3), (10, 2, 16)]:
    hidden_maps = hidden_random.normal(size=hidden_shape)
    hidden_coefficient = hidden_random.normal(size=hidden_shape[2])
    hidden_bias = hidden_random.normal(size=hidden_shape[2])
    hidden_expected = np.empty((hidden_shape[0] // 2, hidden_shape[1] // 2, hidden_shape[2]))
    for i, j, channel in np.ndindex(hidden_expected.shape):
        hidden_sum = hidden_maps[2 * i : 2 * i + 2, 2 * j : 2 * j + 2, channel].sum()
        hidden_expected[i, j, channel] = 1.7159 * np.tanh(
            (hidden_coefficient[channel] * hidden_sum + hidden_bias[channel]) * 2 / 3
        )
    check_subsample(
        hidden_expected,
        "A loop over blocks and channels gives these values.",
        hidden_maps,
        hidden_coefficient,
        hidden_bias,
    )
### END HIDDEN TESTS

# %% [markdown]
# ## Question 4: not every map sees every map
#
# The third layer of LeNet-5, C3, has six input maps and sixteen output maps with 5 × 5 kernels. In the paper, most
# of the output maps see only some of the input maps. A *connection table* says which: a list with one set for each
# output map, and in the set the numbers of the input maps that it sees. Maps are numbered from 0.
#
# **a)** Write `sparse_parameters(table, kernel)`: the number of trainable parameters of a layer with the connection
# table `table` and square kernels of side `kernel`. Each connection between an input map and an output map has a
# kernel of its own. Each output map has one bias.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Start with one output map that sees three input maps through 5 × 5 kernels. How many weights does it have, and how
# many biases?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `len(inputs)` is the number of input maps in the set `inputs`. Sum over the output maps.
#
# </details>


# %% nbgrader={"grade_id": "q4-count", "solution": true}
def sparse_parameters(table, kernel):
    """Return the number of trainable parameters of a convolution whose connections are listed in table."""
    ### BEGIN SOLUTION
    return sum(kernel * kernel * len(inputs) + 1 for inputs in table)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-count-tests", "points": 2}
def check_count(expected, mistake, table, kernel):
    """Compare one answer of sparse_parameters with the expected one."""
    given = sparse_parameters(table, kernel)
    assert given == expected, (
        f"sparse_parameters({table}, {kernel}) should be {expected}; yours gives {given}. {mistake}"
    )


check_count(
    29,
    "Three connections with nine weights each, and two output maps. 30 would mean one bias for each connection, 28 one "
    "bias for the whole layer, 27 none, 38 that every output map was connected to every input map.",
    [{0}, {0, 1}],
    3,
)
check_count(
    1516,
    "A layer as large as C3: 60 connections and 16 output maps. 1560 would mean one bias for each connection.",
    [{0, 1, 2}] * 6 + [{0, 1, 2, 3}] * 9 + [{0, 1, 2, 3, 4, 5}],
    5,
)
### BEGIN HIDDEN TESTS
check_count(2416, "With every connection it is an ordinary convolution.", [set(range(6)) for _ in range(16)], 5)
check_count(6, "Three connections of one weight each, and three biases.", [{3}, {1}, {0}], 1)
check_count(148, "Three connections of 49 weights each, and one bias.", [{0, 2, 5}], 7)
### END HIDDEN TESTS

# %% [markdown]
# **b)** Write `c3_table()`. It returns the connection table of C3 as the paper gives it in its Table I: a list of
# sixteen sets, in this order.
#
# - Maps 0 to 5 see three inputs each that follow one another. Map 0 starts at input 0, map 1 at input 1, and so on.
#   After input 5 comes input 0 again.
# - Maps 6 to 11 see four inputs each that follow one another, wrapping around in the same way. Map 6 starts at
#   input 0.
# - Maps 12, 13 and 14 see the inputs {0, 1, 3, 4}, {1, 2, 4, 5} and {0, 2, 3, 5}.
# - Map 15 sees all six.
#
# The paper gives two reasons for the gaps: fewer connections, and output maps that are forced to differ because
# they see different things.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `{first, first + 1, first + 2}` is right as long as nothing goes beyond 5. The remainder of a division by 6 brings 6
# back to 0.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A set comprehension writes such a run: `{(first + step) % 6 for step in range(3)}`.
#
# </details>


# %% nbgrader={"grade_id": "q4-table", "solution": true}
def c3_table():
    """Return the connection table of C3: for each of sixteen output maps, the set of input maps that it sees."""
    ### BEGIN SOLUTION
    threes = [{(first + step) % 6 for step in range(3)} for first in range(6)]
    fours = [{(first + step) % 6 for step in range(4)} for first in range(6)]
    return [*threes, *fours, {0, 1, 3, 4}, {1, 2, 4, 5}, {0, 2, 3, 5}, {0, 1, 2, 3, 4, 5}]
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-table-tests", "points": 2}
table = [set(inputs) for inputs in c3_table()]
assert len(table) == 16, f"C3 has 16 output maps, so the table has 16 sets; yours has {len(table)}."
outside = sorted(set().union(*table) - set(range(6)))
assert not outside, (
    f"Input maps are numbered 0 to 5; yours also has {outside}. 6 often means that counting began at 1, or that a run "
    "did not wrap around."
)
sizes = [len(inputs) for inputs in table]
assert sizes == [3] * 6 + [4] * 9 + [6], (
    f"The sets should have the sizes {[3] * 6 + [4] * 9 + [6]}; yours have {sizes}. Sets that are too small near the "
    "end of a run were cut off at input 5 instead of wrapping around."
)
uses = [sum(number in inputs for inputs in table) for number in range(6)]
assert uses == [10] * 6, f"Every input map feeds ten output maps; yours feed {uses}. Is a run there twice?"
assert table[0] == {0, 1, 2} and table[6] == {0, 1, 2, 3}, (
    f"Maps 0 and 6 start at input 0: {{0, 1, 2}} and {{0, 1, 2, 3}}; yours are {table[0]} and {table[6]}."
)
### BEGIN HIDDEN TESTS
# Table I of the paper, read column by column.
paper = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"
for number, column in enumerate(paper.split()):
    expected = {int(digit) for digit in column}
    assert table[number] == expected, f"Map {number} of C3 sees {expected}; yours sees {table[number]}."
### END HIDDEN TESTS

# %% [markdown]
# ## Question 5: digits that move
#
# Convolution and pooling are said to make a network tolerate small shifts of its input. How far does that carry? You
# write the measurement, and then you measure the LeNet-5 that comes with the course.
#
# Write `accuracy_under_shift(predict, images, labels, shift)`:
#
# - `images` has shape (n, 28, 28, 1) and `labels` has shape (n,).
# - `predict` takes images and returns scores of shape (n, 10). The class with the largest score is the answer.
# - Move all images by `shift` pixels to the left, and compute the accuracy: the fraction of answers that equal the
#   labels. Do the same for moves to the right, up and down. Return the mean of the four accuracies.
# - Pixels that leave the image are lost. Pixels that become free are 0. Nothing comes back in on the other side.
# - `shift` is a whole number from 0 to 27. With 0 nothing moves. The images that are passed in stay unchanged.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Begin with an image of zeros, and copy into it the part of the old image that stays visible.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# For a move to the right, columns 0 to 27 - `shift` go to columns `shift` to 27. Beware of slices such as
# `[:-shift]`: for a shift of 0 they are empty. `[: 28 - shift]` works for 0 as well.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Another way: pad height and width with `shift` zeros on every side with `np.pad`, and cut four windows of 28 × 28
# pixels out of the larger image.
#
# </details>


# %% nbgrader={"grade_id": "q5-shift", "solution": true}
def accuracy_under_shift(predict, images, labels, shift):
    """Return the mean accuracy over moves of images (n, 28, 28, 1) by shift pixels to the left, right, up and down."""
    ### BEGIN SOLUTION
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)))
    # The corner of the window in the padded image; a window further right shows the digit further left.
    corners = [(shift, 2 * shift), (shift, 0), (2 * shift, shift), (0, shift)]
    accuracies = []
    for top, left in corners:
        scores = predict(padded[:, top : top + height, left : left + width])
        accuracies.append(np.mean(np.argmax(scores, axis=1) == labels))
    return float(np.mean(accuracies))
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-shift-tests", "points": 4}
import numpy as np


def dot_images(row, column, count=4):
    """Return black images with one white pixel."""
    images = np.zeros((count, 28, 28, 1), "float32")
    images[:, row, column] = 1.0
    return images


def sees(rule):
    """Return a stand-in for a network: it answers 1 where the rule holds for an image (28, 28), and 0 elsewhere."""

    def predict(images):
        assert np.shape(images)[1:] == (28, 28, 1), (
            f"predict expects images of shape (n, 28, 28, 1); yours have shape {np.shape(images)}."
        )
        return np.eye(10)[[int(rule(image[:, :, 0])) for image in np.asarray(images)]]

    return predict


def check_shift(expected, mistake, rule, row, column, shift, labels=(1, 1, 1, 1)):
    """Compare one answer of accuracy_under_shift for images with one white pixel with the expected one."""
    images = dot_images(row, column, len(labels))
    given = accuracy_under_shift(sees(rule), images, np.array(labels), shift)
    assert np.array_equal(images, dot_images(row, column, len(labels))), (
        "The images that were passed in have changed. Write into a new array, so that the next move starts from the "
        "original."
    )
    assert np.ndim(given) == 0 and np.isclose(given, expected), (
        f"A white pixel at row {row}, column {column}, shift {shift}: expected {expected}, got {given}. {mistake}"
    )


check_shift(1.0, "With a shift of 0 nothing moves. Is a slice such as [:-0] empty?", lambda image: image[9, 9], 9, 9, 0)
check_shift(0.0, "The pixel has left its place. 1.0 would mean that nothing moved.", lambda image: image[9, 9], 9, 9, 2)
check_shift(
    0.5,
    "This stand-in looks at one whole row. Moves to the left and right keep the pixel in it, moves up and down do not. "
    "1.0 would mean only horizontal moves, 0.0 only vertical ones.",
    lambda image: image[9].any(),
    9,
    9,
    2,
)
check_shift(
    0.25,
    "This stand-in looks at one pixel, and only the move to the right brings the white one there.",
    lambda image: image[9, 12],
    9,
    9,
    3,
)
check_shift(
    0.75,
    "The pixel at the left edge is lost in the move to the left. 1.0 would mean that it came back in on the right, as "
    "with np.roll.",
    lambda image: image.any(),
    9,
    1,
    2,
)
### BEGIN HIDDEN TESTS
# Which of the four moves happen, each on its own.
for hidden_row, hidden_column, hidden_move in [(20, 11, "down"), (10, 11, "up"), (15, 16, "right"), (15, 6, "left")]:
    check_shift(
        0.25,
        f"Only the move {hidden_move} brings the pixel where the stand-in looks.",
        lambda image, row=hidden_row, column=hidden_column: image[row, column],
        15,
        11,
        5,
    )
# What leaves on one side is lost, on each of the four sides; and what is at the edge is not repeated.
for hidden_row, hidden_column in [(0, 14), (27, 14), (14, 0), (14, 27)]:
    check_shift(
        0.75,
        "What leaves the image is lost. 0.5 would mean that the row at the edge was repeated instead of zeros.",
        lambda image: image.sum() == 1,
        hidden_row,
        hidden_column,
        4,
    )
    check_shift(0.75, "Pixels that become free are 0.", lambda image: image.sum() == 1, hidden_row, hidden_column, 1)
check_shift(0.5, "In a corner two of the four moves lose the pixel.", lambda image: image.any(), 0, 27, 27)
check_shift(0.375, "Labels that are not all equal.", lambda image: image[:, 7].any(), 9, 7, 6, labels=(1, 1, 1, 2) * 2)
check_shift(0.6, "A shift of 0 with labels that differ.", lambda image: image.any(), 3, 7, 0, labels=(1, 0, 1, 4, 1))
### END HIDDEN TESTS

# %% [markdown]
# Now the experiment. The next cell loads the test digits and the trained network, and prints the accuracy for
# shifts of 0 to 6 pixels. Before you run it, guess: at which shift does the network get fewer than half of the
# digits right?

# %%
from course_lib.datasets import load_digits
from course_lib.models.lenet import load_lenet5

digits = load_digits().test
lenet = load_lenet5()
print("shift  accuracy")
for shift in range(7):
    accuracy = accuracy_under_shift(
        lambda images: lenet.predict(images, verbose=0), digits.images[:500], digits.labels[:500], shift
    )
    print(f"{shift:5d}  {accuracy:8.3f}")

# %% [markdown]
# To think about, without points: the network has two pooling layers of 2 × 2. By how many pixels may a digit move
# before each layer sees its input in other blocks? And which part of the network has no reason at all to treat a
# shifted digit like the original one?
