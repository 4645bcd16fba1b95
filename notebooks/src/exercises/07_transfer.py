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
# # Exercises 07: transfer
#
# Five questions on chapter 07, 20 points in all. Each question stands on its own, so they can be done in any order.
#
# | question | about | kind | points |
# | --- | --- | --- | --- |
# | 1 | what is trained, and what it costs | arithmetic and code | 4 |
# | 2 | batch normalisation that is frozen, or is not | code | 4 |
# | 3 | a rate for each layer | arithmetic and code | 4 |
# | 4 | held near the old weights | arithmetic and code | 4 |
# | 5 | a few examples, with and without old features | code and experiment | 4 |
#
# Write your answers where a cell says `YOUR CODE HERE`, and remove the line that raises `NotImplementedError`. Below
# each answer stands a cell with tests. Run it: silence means that the tests pass, and a message says what was expected,
# what came, and which mistake often gives that. When a sheet is graded, further tests with other numbers run.
#
# Hints open one at a time. Try for a few minutes before you open the next one.
#
# *Running time: under a minute on a CPU. Needs: chapter 07.*
#
# All questions use the same words:
#
# - The *source* task is the one that a network has learned. The *target* task is the one that it learns next.
# - A *learned layer* is a layer with a kernel: a convolution or a dense layer. Its bias counts with it, and so does the
#   batch normalisation behind it, if there are any. Learned layers are listed from the input on. The last one is the
#   *head*.
# - A *frozen* layer is not trained, and what counts with it is frozen, too. "Frozen to depth k" means that the first k
#   learned layers are frozen, and no others.
# - A *rate* is a learning rate.

# %%
import course_lib

settings = course_lib.setup(chapter=7)

# %%
import numpy as np

# %% [markdown]
# ## Question 1: what is trained, and what it costs
#
# **a)** Write `parameters(layers, frozen)`. `layers` is a list of learned layers, each a tuple `(shape, bias, norm)`:
#
# - `shape`: the shape of the kernel. It is `(height, width, maps in, maps out)` for a convolution and `(inputs, units)`
#   for a dense layer, so its last number is always how many maps or units the layer gives.
# - `bias`: True if the layer has a bias, one number for each map or unit it gives.
# - `norm`: True if batch normalisation follows. It has four numbers for each map or unit: a scale and an offset, which
#   are trained, and a moving mean and a moving variance. The latter two follow the data, but no gradient trains them.
#
# The network is frozen to depth `frozen`. Return two integers, `(trained, total)`: how many parameters are trained, and
# how many the network has, the moving ones among them.
#
# Try it on paper first: a 3 × 3 convolution from 3 to 8 maps without bias, batch normalisation behind it, and a head
# from 128 inputs to 5 classes with bias. How much is trained if the convolution is frozen?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Count one layer first. The kernel has as many numbers as the product of its shape. `np.prod(shape)` gives it, or
# `math.prod`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Keep two sums and go through the layers with `enumerate`. All four numbers of batch normalisation go into `total`, but
# only two of them into `trained`, and only if the layer is not frozen.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Let `maps = shape[-1]`. What can be trained in a layer is `np.prod(shape) + maps * bias + 2 * maps * norm`, since True
# counts as 1 and False as 0. Add it to `trained` if the layer's number, counted from 0, is at least `frozen`.
#
# </details>


# %% nbgrader={"grade_id": "q1-parameters", "solution": true}
def parameters(layers, frozen):
    """Return how many parameters are trained if the first layers are frozen, and how many there are in all."""
    ### BEGIN SOLUTION
    trained = total = 0
    for number, (shape, bias, norm) in enumerate(layers):
        learnable = int(np.prod(shape)) + shape[-1] * bias + 2 * shape[-1] * norm
        total += learnable + 2 * shape[-1] * norm
        if number >= frozen:
            trained += learnable
    return trained, total
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-parameters-tests", "points": 2}
def check_parameters(trained, total, mistake, layers, frozen):
    """Compare one answer of counts with the expected one."""
    given = parameters(list(layers), frozen)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"parameters returns two integers, (trained, total); yours returns {given}."
    )
    assert given[1] == total, (
        f"parameters({layers}, {frozen}): the network has {total} parameters; yours has {given[1]}. {mistake}"
    )
    assert given[0] == trained, (
        f"parameters({layers}, {frozen}): {trained} parameters should be trained; yours are {given[0]}. {mistake}"
    )


conv, head = ((3, 3, 3, 8), False, True), ((128, 5), True, False)
check_parameters(645, 645, "A head alone: 128 · 5 in its kernel and 5 in its bias.", [head], 0)
check_parameters(
    232,
    248,
    "The kernel has 216. Of 4 · 8 numbers of batch normalisation all are there and half are trained. 224 in all would "
    "mean that there is a bias, 232 that the moving ones were forgotten.",
    [conv],
    0,
)
check_parameters(
    645,
    893,
    "The convolution is frozen, and its scale and offset with it. It is still there. 661 would mean that its batch "
    "normalisation goes on learning, 232 that the last layer was frozen instead of the first.",
    [conv, head],
    1,
)
check_parameters(0, 893, "Two frozen layers of two leave nothing to train.", [conv, head], 2)
check_parameters(
    1237,
    1501,
    "216 + 32, then 576 + 32, then 645 numbers. Only the first layer is frozen.",
    [conv, ((3, 3, 8, 8), False, True), head],
    1,
)
check_parameters(
    37,
    49,
    "Here layers have a bias and batch normalisation: 6 + 3 + 6, then 9 + 3 + 6, then 3 + 1 are trained.",
    [((2, 3), True, True), ((3, 3), True, True), ((3, 1), True, False)],
    0,
)
### BEGIN HIDDEN TESTS
import random

check_parameters(
    58_631_144,
    62_378_344,
    "This is AlexNet without groups, its five convolutions frozen.",
    [
        ((11, 11, 3, 96), True, False),
        ((5, 5, 96, 256), True, False),
        ((3, 3, 256, 384), True, False),
        ((3, 3, 384, 384), True, False),
        ((3, 3, 384, 256), True, False),
        ((9216, 4096), True, False),
        ((4096, 4096), True, False),
        ((4096, 1000), True, False),
    ],
    5,
)
hidden_random = random.Random(701)
for _ in range(60):
    hidden_layers, hidden_sizes = [], []
    for _ in range(hidden_random.randint(1, 6)):
        hidden_shape = tuple(hidden_random.randint(1, 9) for _ in range(hidden_random.choice([2, 4])))
        hidden_bias, hidden_norm = hidden_random.random() < 0.5, hidden_random.random() < 0.5
        hidden_layers.append((hidden_shape, hidden_bias, hidden_norm))
        hidden_kernel = 1
        for hidden_side in hidden_shape:
            hidden_kernel *= hidden_side
        hidden_vectors = [hidden_side] * (int(hidden_bias) + 2 * int(hidden_norm))
        hidden_sizes.append((hidden_kernel + sum(hidden_vectors), 2 * hidden_side * int(hidden_norm)))
    for hidden_frozen in range(len(hidden_layers) + 1):
        check_parameters(
            sum(learnable for learnable, _ in hidden_sizes[hidden_frozen:]),
            sum(learnable + moving for learnable, moving in hidden_sizes),
            "Adding up vector by vector gives this.",
            hidden_layers,
            hidden_frozen,
        )
### END HIDDEN TESTS

# %% [markdown]
# **b)** What does freezing save? To train on an image, a network computes up to three things in each learned layer:
#
# - the output of the layer: always;
# - the gradient with respect to the layer's own weights: if the layer is trained;
# - the gradient with respect to the layer's input: if there is a trained layer *before* it. That gradient is what is
#   passed back to the layers before.
#
# Each of the three takes about as many multiply–accumulates as the other two. Write `step_cost(costs, trained)`.
# `costs` lists the multiply–accumulates for the output of each layer, from the input on, and `trained` says of each
# layer whether it is trained, True or False. Any layers may be frozen here, not only the first ones. Return how many
# multiply–accumulates one image costs in training.
#
# Try it on paper for three layers of 100, 200 and 300: all of them trained, then the head alone, then the first layer
# alone.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# If all layers are trained, is it three times their sum? Not quite. The gradient with respect to the image itself is of
# no use to training.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Go from front to back and remember whether a trained layer has come by already. For the next layer that decides on the
# gradient with respect to its input. Whether the layer itself is trained does not matter for that.
#
# </details>


# %% nbgrader={"grade_id": "q1-cost", "solution": true}
def step_cost(costs, trained):
    """Return the multiply–accumulates of one image in training: outputs, weight gradients, input gradients."""
    ### BEGIN SOLUTION
    total, before = 0, False
    for cost, learns in zip(costs, trained, strict=True):
        total += cost * (1 + learns + before)
        before = before or learns
    return total
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-cost-tests", "points": 2}
def check_cost(expected, mistake, costs, trained):
    """Compare one answer of step_cost with the expected one."""
    given = step_cost(list(costs), list(trained))
    assert given == expected, f"step_cost({costs}, {trained}) should be {expected}; yours gives {given}. {mistake}"


check_cost(
    1700,
    "All are trained: three times each layer, less the gradient with respect to the image, 100. 1800 would mean that "
    "it was counted.",
    [100, 200, 300],
    [True, True, True],
)
check_cost(
    900,
    "The head alone: 600 for the outputs and 300 for its weights. Nothing is passed back. 1200 would mean that the "
    "head's input has a gradient because the head is trained.",
    [100, 200, 300],
    [False, False, True],
)
check_cost(
    1200,
    "The first layer alone: 600 for the outputs, 100 for its weights. The error must come back through both frozen "
    "layers, another 500. 700 would mean that it stops at frozen layers.",
    [100, 200, 300],
    [True, False, False],
)
check_cost(
    1400,
    "The last two: 600 for the outputs, 500 for weights, and 300 to pass the error from the head back to the second "
    "layer.",
    [100, 200, 300],
    [False, True, True],
)
check_cost(600, "Nothing is trained: only the outputs are computed.", [100, 200, 300], [False, False, False])
### BEGIN HIDDEN TESTS
import itertools

for hidden_costs in ([7], [5, 11], [64, 1, 9, 400], [3, 5, 17, 257, 65537]):
    for hidden_trained in itertools.product([False, True], repeat=len(hidden_costs)):
        hidden_first = hidden_trained.index(True) if any(hidden_trained) else len(hidden_costs)
        hidden_weights = sum(itertools.compress(hidden_costs, hidden_trained))
        check_cost(
            sum(hidden_costs) + hidden_weights + sum(hidden_costs[hidden_first + 1 :]),
            "The error comes back as far as the first trained layer.",
            hidden_costs,
            list(hidden_trained),
        )
### END HIDDEN TESTS

# %% [markdown]
# See it on a network of eight layers, with the multiply–accumulates of AlexNet in millions. Before you run the cell,
# guess: how much does it save to freeze the first five, where most of the multiplications are, and how much to freeze
# the last three, where most of the weights are?

# %%
alexnet = [105, 448, 150, 224, 150, 38, 17, 4]
print("frozen        million multiply–accumulates a training image")
for first, last in ((0, 0), (0, 2), (0, 5), (0, 7), (5, 8)):
    trained = [not first <= number < last for number in range(len(alexnet))]
    print(f"{f'{first + 1} to {last}' if last > first else 'none':14s}{step_cost(alexnet, trained):6d}")

# %% [markdown]
# To think about, without points: if the first layers are frozen and images are not varied from epoch to epoch, the
# outputs of the frozen layers are the same each time. What could be computed once and kept?

# %% [markdown]
# ## Question 2: batch normalisation that is frozen, or is not
#
# Batch normalisation has two modes. In *training mode* it normalises a batch with the batch's own mean and variance,
# and its moving mean and moving variance go a step towards them. In *inference mode* it normalises with the moving
# ones, and they stay where they are.
#
# **a)** Write `moving(mean, variance, batches, momentum, training)`. `mean` and `variance` are the moving ones at the
# start, arrays of shape `(channels,)`. `batches` is a list of arrays `(examples, channels)`, which the layer sees one
# after the other; they need not be of the same size. Return the moving mean and variance after the last batch, two
# arrays. In training mode (`training` is True) each batch does this, in each channel:
#
# - new moving mean = momentum × old moving mean + (1 − momentum) × mean of the batch,
# - and the same for the variance.
#
# The variance of a batch is the mean of the squared distances from the batch's mean, as `np.var` takes it. If
# `training` is False, nothing moves.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# One channel, a moving mean of 0, a momentum of 0.9 and the values 2, 4, 6: their mean is 4, and the moving mean goes a
# tenth of the way there.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Channels are columns, so a batch has one mean for each column: `batch.mean(axis=0)`. Take a loop over the batches, and
# let each of them start from what the one before left.
#
# </details>


# %% nbgrader={"grade_id": "q2-moving", "solution": true}
def moving(mean, variance, batches, momentum, training):
    """Return the moving mean and variance, (channels,) each, after a layer has seen the batches in turn."""
    ### BEGIN SOLUTION
    if training:
        for batch in batches:
            mean = momentum * mean + (1 - momentum) * batch.mean(axis=0)
            variance = momentum * variance + (1 - momentum) * batch.var(axis=0)
    return mean, variance
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-moving-tests", "points": 2}
def check_moving(expected, mistake, mean, variance, batches, momentum, training):
    """Compare one answer of moving with the expected mean and variance."""
    arrays = [np.array(batch, float) for batch in batches]
    given = moving(np.array(mean, float), np.array(variance, float), arrays, momentum, training)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"moving returns two arrays, the mean and the variance; yours returns {given}."
    )
    few = sum(array.size for array in arrays) < 20
    shown = f"batches {batches}" if few else f"{len(batches)} batches"
    for name, right, yours in zip(("mean", "variance"), expected, given, strict=True):
        right, yours = np.array(right, float), np.asarray(yours, float)
        assert yours.shape == right.shape and np.allclose(yours, right, rtol=1e-9, atol=1e-9), (
            f"From mean {mean} and variance {variance}, {shown}, momentum {momentum}, training={training}: the moving "
            f"{name} should be {right.round(4).tolist()}; yours is {yours.round(4).tolist()}. {mistake}"
        )


three = [[2], [4], [6]]
check_moving(
    ([0.4], [0.9 + 0.1 * 8 / 3]),
    "The batch has mean 4 and variance 8 / 3. A mean of 3.6 would mean that momentum was put on the batch. A variance "
    "of 1.3 would mean that the squares were divided by 2, not by 3.",
    [0],
    [1],
    [three],
    0.9,
    True,
)
check_moving(
    ([0.76], [0.81 + 0.19 * 8 / 3]),
    "The same batch once more: another tenth of what is left. 0.4 would mean that only one batch moved it.",
    [0],
    [1],
    [three, three],
    0.9,
    True,
)
check_moving(([0], [1]), "In inference mode nothing moves, whatever comes.", [0], [1], [three, three], 0.9, False)
check_moving(
    ([1, 5.5], [1, 0.5]),
    "Two channels, and each has its own mean: 1 and 10. A single number would mean that all values were taken "
    "together.",
    [1, 1],
    [1, 1],
    [[[0, 10], [2, 10]]],
    0.5,
    True,
)
check_moving(
    ([2], [0.75]),
    "A batch of one, whose variance is 0, then one of two with mean 4 and variance 1. The batches do not count by "
    "their size, and the later one weighs more than the earlier one.",
    [0],
    [1],
    [[[0]], [[3], [5]]],
    0.5,
    True,
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(703)
check_moving(([0.5], [2.0]), "Without batches nothing moves.", [0.5], [2.0], [], 0.99, True)
for hidden_case in range(30):
    hidden_channels, hidden_steps = int(hidden_random.integers(1, 5)), int(hidden_random.integers(1, 12))
    hidden_start = hidden_random.uniform(0.5, 3, (2, hidden_channels))
    hidden_momentum = float(hidden_random.choice([0.5, 0.9, 0.99, 0.3]))
    hidden_batches = [
        hidden_random.normal(hidden_random.normal(), 2, (int(hidden_random.integers(1, 9)), hidden_channels))
        for _ in range(hidden_steps)
    ]
    # All steps at once: a batch that is n batches back weighs (1 − momentum) · momentum ** n.
    hidden_expected = hidden_start * hidden_momentum**hidden_steps
    for hidden_back, hidden_batch in enumerate(reversed(hidden_batches)):
        hidden_mean = sum(hidden_batch) / len(hidden_batch)
        hidden_spread = sum((hidden_batch - hidden_mean) ** 2) / len(hidden_batch)
        hidden_weight = (1 - hidden_momentum) * hidden_momentum**hidden_back
        hidden_expected = hidden_expected + hidden_weight * np.array([hidden_mean, hidden_spread])
    check_moving(
        hidden_expected if hidden_case % 5 else hidden_start,
        "Adding up what each batch has left gives this.",
        hidden_start[0].tolist(),
        hidden_start[1].tolist(),
        [hidden_batch.tolist() for hidden_batch in hidden_batches],
        hidden_momentum,
        bool(hidden_case % 5),
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** What comes out? Write `normalise(batch, mean, variance, scale, offset, training, frozen)`. `batch` has shape
# `(examples, channels)`. `mean` and `variance` are the moving ones, and with `scale` and `offset` they have shape
# `(channels,)`. Return the output for the batch, of the batch's shape:
#
# output = scale × (input − m) / √(v + 0.001) + offset
#
# In training mode m and v are the batch's own mean and variance, in inference mode the moving ones. The network is
# called with `training` True or False. A layer that is `frozen` runs in inference mode in either case: so Keras does
# it. The moving ones need not be returned here.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write down the four cases of `training` and `frozen`. In how many of them is the batch's own mean used?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Decide on m and v in an `if`, and write the formula once after it. NumPy applies arrays of shape `(channels,)` to each
# row of the batch.
#
# </details>


# %% nbgrader={"grade_id": "q2-normalise", "solution": true}
def normalise(batch, mean, variance, scale, offset, training, frozen):
    """Return what batch normalisation makes of a batch (examples, channels), in the mode that it has to be in."""
    ### BEGIN SOLUTION
    if training and not frozen:
        mean, variance = batch.mean(axis=0), batch.var(axis=0)
    return scale * (batch - mean) / np.sqrt(variance + 0.001) + offset
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-normalise-tests", "points": 2}
import numpy as np


def check_normalise(expected, mistake, batch, training, frozen, mean=(0,), variance=(1,), scale=(1,), offset=(0,)):
    """Compare one answer of normalise with the expected output."""
    batch, expected = np.array(batch, float), np.array(expected, float)
    state = [np.array(numbers, float) for numbers in (mean, variance, scale, offset)]
    given = np.asarray(normalise(batch.copy(), *state, training, frozen), float)
    assert given.shape == expected.shape, (
        f"normalise gives an output of the batch's shape, {expected.shape}; yours has shape {given.shape}. {mistake}"
    )
    assert np.allclose(given, expected, rtol=1e-9, atol=1e-9), (
        f"Batch {batch.tolist()}, moving mean {list(mean)} and variance {list(variance)}, scale {list(scale)}, offset "
        f"{list(offset)}, training={training}, frozen={frozen}: the output should be {expected.round(4).tolist()}; "
        f"yours is {given.round(4).tolist()}. {mistake}"
    )


column = np.array([[2.0], [4], [6]])
own = (column - 4) / np.sqrt(8 / 3 + 0.001)
kept = column / np.sqrt(1.001)
check_normalise(
    own,
    "Training mode: the batch's mean, 4, becomes 0. About 2, 4, 6 would mean that the moving mean was used. If only "
    "the third decimal differs, look where the 0.001 stands.",
    column,
    True,
    False,
)
check_normalise(
    kept, "Inference mode: the moving mean is 0, so the values stay about what they are.", column, False, False
)
check_normalise(
    kept,
    "The network trains, but this layer is frozen: the moving mean and variance. -1.22, 0, 1.22 would mean that a "
    "frozen layer still used the batch. Exactly 2, 4, 6 would mean that it did nothing at all.",
    column,
    True,
    True,
)
check_normalise(kept, "Frozen and not even in training: the moving ones.", column, False, True)
check_normalise(
    [[2 * 4 / np.sqrt(4.001) + 5, -1]],
    "Two channels. The first one: 7 − 3 is 4, over √4.001, twice that and 5 more. Scale and offset work in both modes.",
    [[7, 8]],
    False,
    False,
    (3, 8),
    (4, 1),
    (2, 3),
    (5, -1),
)
### BEGIN HIDDEN TESTS
import itertools

hidden_random = np.random.default_rng(704)
for hidden_training, hidden_frozen, hidden_channels in itertools.product((True, False), (True, False), (1, 2, 3)):
    hidden_batch = hidden_random.normal(2, 3, (int(hidden_random.integers(2, 7)), hidden_channels))
    hidden_mean, hidden_scale, hidden_offset = hidden_random.normal(size=(3, hidden_channels))
    hidden_variance = hidden_random.uniform(0.01, 5, hidden_channels)
    hidden_expected = np.zeros_like(hidden_batch)
    for hidden_channel in range(hidden_channels):
        hidden_column = hidden_batch[:, hidden_channel].tolist()
        hidden_middle, hidden_spread = hidden_mean[hidden_channel], hidden_variance[hidden_channel]
        if (hidden_training, hidden_frozen) == (True, False):
            hidden_middle = sum(hidden_column) / len(hidden_column)
            hidden_spread = sum((value - hidden_middle) ** 2 for value in hidden_column) / len(hidden_column)
        hidden_factor = hidden_scale[hidden_channel] * (hidden_spread + 0.001) ** -0.5
        for hidden_row, hidden_value in enumerate(hidden_column):
            hidden_expected[hidden_row, hidden_channel] = (
                hidden_value - hidden_middle
            ) * hidden_factor + hidden_offset[hidden_channel]
    check_normalise(
        hidden_expected,
        "Value by value this comes out.",
        hidden_batch,
        hidden_training,
        hidden_frozen,
        hidden_mean.tolist(),
        hidden_variance.tolist(),
        hidden_scale.tolist(),
        hidden_offset.tolist(),
    )
### END HIDDEN TESTS

# %% [markdown]
# Now let a target task pull at the moving mean. In the source task a channel had mean 0 and deviation 1. The images of
# the target task are brighter: mean 3, deviation 1. No weight is trained, and the layer only sees target batches in
# training mode. Then the network goes back to the source task, in inference mode. The last column has the output for an
# input of 0, which was 0 before. Before you run the cell, guess: after how many batches has the moving mean gone half
# of its way?

# %%
generator = np.random.default_rng(7)
print("batches   moving mean   3 · (1 − 0.9ⁿ)   output for a source input of 0")
for steps in (0, 1, 2, 5, 10, 20, 50):
    batches = [generator.normal(3, 1, size=(64, 1)) for _ in range(steps)]
    mean, variance = moving(np.zeros(1), np.ones(1), batches, 0.9, True)
    output = normalise(np.zeros((1, 1)), mean, variance, np.ones(1), np.zeros(1), training=False, frozen=True)
    print(f"{steps:7d}{mean[0]:14.2f}{3 * (1 - 0.9**steps):17.2f}{output[0, 0]:33.2f}")

# %% [markdown]
# To think about, without points: here all kernels, scales and offsets were kept, and the source task is disturbed all
# the same. In some frameworks a layer whose weights get no gradient still moves its moving mean in training mode. What
# would one have to do there?

# %% [markdown]
# ## Question 3: a rate for each layer
#
# **a)** Early layers have learned what is useful to many tasks, late layers what belongs to the source task. So late
# layers may move more. With *discriminative rates* the head gets a rate, and each layer before it gets the rate of the
# layer behind it divided by a factor.
#
# Write `rates(count, rate, factor, frozen)`. Return a list of `count` rates, from the first layer to the head. The head
# has `rate`. The network is frozen to depth `frozen`: those layers have the rate 0, and the others keep what they would
# have without any freezing.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# With four layers, a rate of 0.1 and a factor of 2 the head has 0.1, the layer before it 0.05, and so on. What has the
# first layer?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Layer `i`, counted from 0, is `count - 1 - i` layers away from the head. So often its rate is divided by the factor.
#
# </details>


# %% nbgrader={"grade_id": "q3-rates", "solution": true}
def rates(count, rate, factor, frozen):
    """Return the rate of each of count layers, the head's last; the first layers are frozen and have 0."""
    ### BEGIN SOLUTION
    return [rate / factor ** (count - 1 - layer) if layer >= frozen else 0 for layer in range(count)]
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-rates-tests", "points": 2}
def check_rates(expected, mistake, count, rate, factor, frozen):
    """Compare one answer of rates with the expected list."""
    given = list(rates(count, rate, factor, frozen))
    called = f"rates({count}, {rate}, {factor}, {frozen})"
    assert len(given) == count, f"{called} should list {count} rates; yours lists {len(given)}: {given}. {mistake}"
    assert all(abs(yours - right) <= 1e-9 * rate for yours, right in zip(given, expected, strict=True)), (
        f"{called} should be {[round(right, 6) for right in expected]}; yours gives "
        f"{[round(float(yours), 6) for yours in given]}. {mistake}"
    )


check_rates(
    [0.0125, 0.025, 0.05, 0.1],
    "The head stands last and has the whole rate. 0.1, 0.05, ... would mean that the list is turned round. 0.00625 at "
    "the start would mean that the head's rate was divided, too.",
    4,
    0.1,
    2,
    0,
)
check_rates([0.01, 0.01, 0.01], "With a factor of 1 all layers learn alike.", 3, 0.01, 1, 0)
check_rates(
    [1 / 9, 1 / 3, 1],
    "Two layers away from the head the rate is divided by 3 twice: 1 / 9. 1 / 6 would mean that it was divided by 2 · "
    "3.",
    3,
    1,
    3,
    0,
)
check_rates(
    [0, 0, 0.25, 0.5, 1],
    "The first two are frozen: 0. The others have what they would have without freezing.",
    5,
    1,
    2,
    2,
)
check_rates([0, 0], "All are frozen, the head as well.", 2, 0.1, 2, 2)
### BEGIN HIDDEN TESTS
import random

hidden_random = random.Random(705)
for _ in range(60):
    hidden_count, hidden_factor = hidden_random.randint(1, 9), hidden_random.choice([1, 1.5, 2.6, 10])
    hidden_rate, hidden_frozen = hidden_random.choice([0.001, 0.03, 2]), hidden_random.randint(0, hidden_count)
    hidden_rates = [hidden_rate]
    while len(hidden_rates) < hidden_count:
        hidden_rates.insert(0, hidden_rates[0] / hidden_factor)
    for hidden_layer in range(hidden_frozen):
        hidden_rates[hidden_layer] = 0
    check_rates(
        hidden_rates, "From the head forward this comes out.", hidden_count, hidden_rate, hidden_factor, hidden_frozen
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** The smallest deep network is a chain: each layer has one weight and multiplies by it. For the input x it
# answers a = w₁ · w₂ · … · w_L · x, and its loss for the wanted answer y is (a − y)² / 2.
#
# Write `first_step(x, y, weights, rates)`. `weights` and `rates` are lists, from the first layer to the head. Return
# the list of the new weights after one step of plain gradient descent: each weight changes by minus its rate times the
# gradient of the loss with respect to it. Weights may be 0.
#
# Try it on paper for two weights 1 and 2, x = 3 and y = 4: what is the answer, by how much is it wrong, and which
# weight moves the answer more?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# By the chain rule the gradient for w₁ is (a − y) times the derivative of a with respect to w₁. How much does a grow if
# w₁ grows by a little? The other weights multiply it, and so does x.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The gradient for a weight is (a − y) · x · (product of all *other* weights). To divide the product of all by the
# weight itself fails where it is 0. `np.prod(weights[:i] + weights[i + 1:])` is the product without weight `i`.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# All gradients are taken at the old weights. So fill a new list, and do not write into the one that you read from.
#
# </details>


# %% nbgrader={"grade_id": "q3-step", "solution": true}
def first_step(x, y, weights, rates):
    """Return the weights of a chain after one step of gradient descent, each layer with its own rate."""
    ### BEGIN SOLUTION
    error = x * np.prod(weights) - y
    gradients = [error * x * np.prod(weights[:i] + weights[i + 1 :]) for i in range(len(weights))]
    return [weight - rate * gradient for weight, rate, gradient in zip(weights, rates, gradients, strict=True)]
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-step-tests", "points": 2}
def check_step(expected, mistake, x, y, weights, rates):
    """Compare one answer of first_step with the expected weights."""
    given = [float(weight) for weight in first_step(x, y, list(weights), list(rates))]
    called = f"first_step({x}, {y}, {weights}, {rates})"
    assert len(given) == len(expected), f"{called} should give {len(expected)} weights; yours gives {given}. {mistake}"
    assert all(abs(yours - right) <= 1e-6 * (1 + abs(right)) for yours, right in zip(given, expected, strict=True)), (
        f"{called} should be {[round(right, 6) for right in expected]}; yours gives "
        f"{[round(yours, 6) for yours in given]}. {mistake}"
    )


check_step(
    [3.8],
    "One weight: it answers 3 · 2 = 6, and 10 was wanted. The gradient is (6 − 10) · 2 = −8, so the weight grows by "
    "0.8. 3.4 would mean that x was left out, 4.6 that the loss was taken as (a − y)², and 2.2 a wrong sign.",
    2,
    10,
    [3],
    [0.1],
)
check_step(
    [0.88, 1.4],
    "The answer is 6 and 2 too large. The gradients are 2 · 3 · 2 = 12 and 2 · 3 · 1 = 6. A first weight of 0.88 "
    "beside a second one of 1.47 or 1.66 would mean that the new first weight was used for the second.",
    3,
    4,
    [1, 2],
    [0.01, 0.1],
)
check_step(
    [1, 2, 0.4, 5],
    "The answer is 0. Only the third weight can change that, and its gradient is (0 − 4) · 1 · 10 = −40. nan would "
    "mean that the product of all weights was divided by 0.",
    1,
    4,
    [1, 2, 0, 5],
    [0.01, 0.01, 0.01, 0.01],
)
check_step(
    [2, 2, 0.9],
    "The first two layers are frozen and stay. The head's gradient is (4 − 3) · 1 · 4, and its rate 0.025.",
    1,
    3,
    [2, 2, 1],
    [0, 0, 0.025],
)
### BEGIN HIDDEN TESTS
import random


def hidden_loss(x, y, weights):
    """Return the loss of the chain."""
    answer = x
    for weight in weights:
        answer *= weight
    return (answer - y) ** 2 / 2


hidden_random = random.Random(706)
for _ in range(60):
    hidden_weights = [hidden_random.choice([-1.5, -1, -0.5, 0, 0.5, 1, 2]) for _ in range(hidden_random.randint(1, 6))]
    hidden_rates = [hidden_random.uniform(0, 0.2) for _ in hidden_weights]
    hidden_x, hidden_y = hidden_random.uniform(-2, 2), hidden_random.uniform(-3, 3)
    hidden_expected = []
    for hidden_layer, (hidden_weight, hidden_rate) in enumerate(zip(hidden_weights, hidden_rates, strict=True)):
        # The loss is a parabola in each weight, so the difference one step to either side gives the exact slope.
        hidden_before, hidden_after = hidden_weights[:hidden_layer], hidden_weights[hidden_layer + 1 :]
        hidden_sides = [
            hidden_loss(hidden_x, hidden_y, [*hidden_before, hidden_weight + side, *hidden_after]) for side in (1, -1)
        ]
        hidden_expected.append(hidden_weight - hidden_rate * (hidden_sides[0] - hidden_sides[1]) / 2)
    check_step(hidden_expected, "The slope of the loss gives this.", hidden_x, hidden_y, hidden_weights, hidden_rates)
### END HIDDEN TESTS

# %% [markdown]
# See it in a chain of five weights, all of them 1, that should answer 2 where it answers 1. The rate of the head is
# 0.1. Before you run the cell, guess: how much of the move is left to the first layer with a factor of 2.6?

# %%
print("                    new weights                                answer")
for factor, frozen in ((1, 0), (2.6, 0), (10, 0), (1, 4)):
    found = first_step(1, 2, [1.0] * 5, rates(5, 0.1, factor, frozen))
    name = "head alone" if frozen else f"factor {factor}"
    print(f"{name:16s}" + "".join(f"{weight:8.4f}" for weight in found) + f"{np.prod(found):13.3f}")

# %% [markdown]
# To think about, without points: with plain gradient descent one could divide the gradients by the factor and give all
# layers the same rate. With Adam that would change next to nothing. Why?

# %% [markdown]
# ## Question 4: held near the old weights
#
# The loss of the target task gets a penalty for each weight that leaves its old value:
#
# penalty = strength / 2 × sum over all weights of importance × (weight − old)²
#
# **a)** Write `pull(weights, old, strength, importance=None)`. `weights`, `old` and `importance` are arrays of the same
# shape, whatever it is. Without `importance` each weight counts with 1. Return `(value, gradient)`: the penalty, a
# number, and its gradient with respect to the weights, an array of their shape.
#
# Try it on paper for the weights 3 and 1, whose old values are 1 and 2, and a strength of 0.5.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The distances are 2 and −1. Square, add, and take half of the strength of it. For the gradient take one weight: what
# is the derivative of c / 2 · (w − old)² with respect to w?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The 2 of the square cancels the half: the gradient is strength × importance × (weight − old). It keeps its sign, and
# it is 0 where a weight is still at its old value.
#
# </details>


# %% nbgrader={"grade_id": "q4-pull", "solution": true}
def pull(weights, old, strength, importance=None):
    """Return the penalty for leaving the old weights, and its gradient, of the shape of the weights."""
    ### BEGIN SOLUTION
    force = strength * (1 if importance is None else importance) * (weights - old)
    return np.sum(force * (weights - old)) / 2, force
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-pull-tests", "points": 2}
import numpy as np


def check_pull(value, gradient, mistake, weights, old, strength, importance=None):
    """Compare one answer of pull with the expected value and gradient."""
    arrays = [np.array(numbers, float) for numbers in (weights, old)]
    more = [] if importance is None else [np.array(importance, float)]
    given = pull(*arrays, strength, *more)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"pull returns the penalty and its gradient; yours returns {given}."
    )
    yours, gradient = np.asarray(given[1], float), np.array(gradient, float)
    called = f"Weights {weights}, old ones {old}, strength {strength}, importance {importance}"
    assert np.ndim(given[0]) == 0 and abs(given[0] - value) <= 1e-9 * (1 + abs(value)), (
        f"{called}: the penalty should be {value:.4f}; yours is {given[0]}. {mistake}"
    )
    assert yours.shape == gradient.shape and np.allclose(yours, gradient, rtol=1e-9, atol=1e-9), (
        f"{called}: the gradient should be {gradient.round(4).tolist()}; yours is {yours.round(4).tolist()}. {mistake}"
    )


check_pull(
    1.25,
    [1, -0.5],
    "Distances 2 and −1, squares 4 and 1: 0.5 / 2 · 5. A penalty of 2.5 would mean that the half was left out, or that "
    "the weights were squared and not their distances. In the gradient the second weight is below its old value, so "
    "its sign is negative.",
    [3, 1],
    [1, 2],
    0.5,
)
check_pull(0, [0, 0], "Nothing has moved. Weights are not pulled towards 0 but to where they were.", [3, 1], [3, 1], 2)
check_pull(
    9,
    [8, -2],
    "The first weight counts 4 times, the second one twice: 1 / 2 · (4 · 4 + 2 · 1). 34 would mean that the importance "
    "was squared as well, and a gradient of 2 and −1 that it was left out there.",
    [3, 1],
    [1, 2],
    1,
    [4, 2],
)
check_pull(
    3,
    [[1, 1, 1], [-1, -1, -1]],
    "A kernel of shape (2, 3): the penalty is one number, a sum over all of it. 0.5 would mean a mean instead.",
    [[2, 3, 4], [0, 0, 0]],
    [[1, 2, 3], [1, 1, 1]],
    1,
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(707)
for hidden_case in range(30):
    hidden_shape = [(5,), (2, 3), (3, 2, 2), ()][hidden_case % 4]
    hidden_weights, hidden_old = hidden_random.normal(size=(2, *hidden_shape))
    hidden_importance = hidden_random.uniform(0, 5, hidden_shape) if hidden_case % 3 else None
    hidden_strength, hidden_value = float(hidden_random.uniform(0, 3)), 0.0
    hidden_slopes = np.zeros(hidden_shape)
    for hidden_place in np.ndindex(hidden_shape):
        hidden_share = 1.0 if hidden_importance is None else float(np.asarray(hidden_importance)[hidden_place])
        hidden_pair = [float(np.asarray(numbers)[hidden_place]) for numbers in (hidden_weights, hidden_old)]
        hidden_both = [
            hidden_strength * hidden_share * (hidden_pair[0] + side - hidden_pair[1]) ** 2 / 2 for side in (1, -1)
        ]
        hidden_value += (sum(hidden_both) - hidden_strength * hidden_share) / 2
        hidden_slopes[hidden_place] = (hidden_both[0] - hidden_both[1]) / 2
    check_pull(
        hidden_value,
        hidden_slopes,
        "Weight by weight this comes out.",
        hidden_weights.tolist(),
        hidden_old.tolist(),
        hidden_strength,
        None if hidden_importance is None else np.asarray(hidden_importance).tolist(),
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** Where does training end, and what is left of the source task? Let both losses be parabolas in each weight:
#
# - source loss = 1/2 × sum of `source` × (weight − `old`)², so it is smallest at the old weights;
# - target loss = 1/2 × sum of `target` × (weight − `goal`)², so it is smallest at the goal.
#
# `source` and `target` are the curvatures: how steeply a loss rises when a weight leaves its best value. Training
# minimises target loss + penalty, with the penalty of a).
#
# Write `settle(old, goal, source, target, strength, importance)`; all but `strength` are arrays of the same shape.
# Return `(weights, forgotten)`: the weights at the minimum, an array, and the source loss that they have, a number. If
# neither the target loss nor the penalty depends on a weight, it stays at its old value.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The weights do not disturb each other, so take one. At the minimum the slopes of the two losses cancel: target · (w −
# goal) + strength · importance · (w − old) = 0. Solve it for w.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# w is a weighted mean of goal and old. The goal has the weight `target`, and the old value has the weight `strength *
# importance`: add both products and divide by the sum of the two.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Where that sum is 0, put the old value: `np.where(total > 0, ..., old)`. To keep NumPy from warning of 0 / 0, divide
# by `np.where(total > 0, total, 1)`. The importance decides where the weights settle, and `source` decides what that
# costs.
#
# </details>


# %% nbgrader={"grade_id": "q4-settle", "solution": true}
def settle(old, goal, source, target, strength, importance):
    """Return the weights with the least target loss and penalty, and the source loss that they have."""
    ### BEGIN SOLUTION
    hold = strength * importance
    total = target + hold
    mean = (target * goal + hold * old) / np.where(total > 0, total, 1)
    weights = np.where(total > 0, mean, old)
    return weights, np.sum(source * (weights - old) ** 2) / 2
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-settle-tests", "points": 2}
import numpy as np


def check_settle(expected, forgotten, mistake, old, goal, source, target, strength, importance):
    """Compare one answer of settle with the expected weights and source loss."""
    lists = (old, goal, source, target)
    arrays = [np.array(numbers, float) for numbers in lists]
    given = settle(*arrays, strength, np.array(importance, float))
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"settle returns the weights and the source loss; yours returns {given}."
    )
    yours, expected = np.asarray(given[0], float), np.array(expected, float)
    called = f"old {old}, goal {goal}, source {source}, target {target}, strength {strength}, importance {importance}"
    assert yours.shape == expected.shape and np.allclose(yours, expected, rtol=1e-7, atol=1e-7), (
        f"{called}: the weights should be {expected.round(4).tolist()}; yours are {yours.round(4).tolist()}. {mistake}"
    )
    assert np.ndim(given[1]) == 0 and abs(given[1] - forgotten) <= 1e-6 * (1 + forgotten), (
        f"{called}: the source loss should be {forgotten:.4f}; yours is {given[1]}. {mistake}"
    )


start, finish, steep, even = [0, 0], [1, 1], [8, 0.5], [1, 1]
check_settle(
    [1, 1],
    4.25,
    "Without a penalty the weights go to the goal, and the source loss there is (8 + 0.5) / 2. 8.5 would mean that the "
    "half was left out.",
    start,
    finish,
    steep,
    even,
    0,
    even,
)
check_settle(
    [0.5, 0.5],
    1.0625,
    "A plain penalty of strength 1 is as steep as the target loss: both weights stop halfway. 0.1111 and 0.6667 would "
    "mean that `source` was taken for the importance.",
    start,
    finish,
    steep,
    even,
    1,
    even,
)
check_settle(
    [1 / 9, 2 / 3],
    (8 / 81 + 0.5 * 4 / 9) / 2,
    "The importance is the source's curvature. The weight that matters to the source moves to 1 / (1 + 8), the other "
    "one to 1 / 1.5.",
    start,
    finish,
    steep,
    even,
    1,
    steep,
)
check_settle(
    [2.5, 5],
    1.125,
    "The target is three times as steep as the penalty, so the first weight goes three quarters of the way from 1 to "
    "3. 1.5 would mean that old and goal were swapped. Neither loss depends on the second weight, so it stays at 5.",
    [1, 5],
    [3, 9],
    [1, 7],
    [3, 0],
    0.5,
    [2, 0],
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(708)
for hidden_case in range(30):
    hidden_shape = [(4,), (2, 3)][hidden_case % 2]
    hidden_old, hidden_goal = hidden_random.normal(size=(2, *hidden_shape))
    hidden_source, hidden_target, hidden_importance = hidden_random.uniform(0, 4, (3, *hidden_shape)) * (
        hidden_random.random((3, *hidden_shape)) < 0.8
    )
    hidden_strength = float(hidden_random.choice([0, 0.1, 1, 30]))
    hidden_weights, hidden_forgotten = np.zeros(hidden_shape), 0.0
    for hidden_place in np.ndindex(hidden_shape):
        # The minimum lies between the two: halve the stretch where the slope changes its sign.
        hidden_low, hidden_high = hidden_old[hidden_place], hidden_goal[hidden_place]
        hidden_pulls = hidden_target[hidden_place], hidden_strength * hidden_importance[hidden_place]
        if not any(hidden_pulls):
            hidden_high = hidden_low
        for _ in range(60):
            hidden_middle = (hidden_low + hidden_high) / 2
            hidden_far = hidden_pulls[1] * abs(hidden_middle - hidden_old[hidden_place])
            if hidden_pulls[0] * abs(hidden_goal[hidden_place] - hidden_middle) > hidden_far:
                hidden_low = hidden_middle
            else:
                hidden_high = hidden_middle
        hidden_weights[hidden_place] = hidden_middle
        hidden_forgotten += hidden_source[hidden_place] * (hidden_middle - hidden_old[hidden_place]) ** 2 / 2
    check_settle(
        hidden_weights,
        hidden_forgotten,
        "Searching for the minimum gives this.",
        hidden_old.tolist(),
        hidden_goal.tolist(),
        hidden_source.tolist(),
        hidden_target.tolist(),
        hidden_strength,
        hidden_importance.tolist(),
    )
### END HIDDEN TESTS

# %% [markdown]
# Now trade one for the other. There are two weights, one that matters to the source task (curvature 10) and one that
# hardly does (0.1). The target task wants both to move from 0 to 1. Each row has another strength, and for both
# penalties the two losses. Before you run the cell, guess: if the target loss is to be about 0.1, how much of the
# source task does each of them forget?

# %%
old, goal, source, target = np.zeros(2), np.ones(2), np.array([10, 0.1]), np.ones(2)
print("               plain                        Fisher-weighted")
print("strength     target loss   source loss      target loss   source loss")
for strength in (0, 0.01, 0.03, 0.1, 0.3, 1, 3, 10):
    line = f"{strength:8}"
    for importance in (np.ones(2), source):
        weights, forgotten = settle(old, goal, source, target, strength, importance)
        line += f"{np.sum(target * (weights - goal) ** 2) / 2:16.3f}{forgotten:14.3f}"
    print(line)

# %% [markdown]
# To think about, without points: here the importance was the source's true curvature, and the two weights did not
# disturb each other. Which of the two is not so in a network, and what does a diagonal Fisher information leave out?

# %% [markdown]
# ## Question 5: a few examples, with and without old features
#
# The target task has few examples. One can learn from all that an input has, which is learning from scratch, or only
# from a few features that the source task has left, which stay frozen. Here inputs have 60 numbers. The source task has
# shown that 5 directions among them matter. What the target task needs lies mostly in those 5 directions too, but not
# wholly.
#
# **a)** Write `few_shot(train, labels, test, truth, classes, basis, strength)`. It trains a linear classifier and tests
# it:
#
# - `train` has shape `(examples, inputs)`, and `labels` are the classes, 0 to `classes - 1`; `test` and `truth`
#   likewise.
# - The features are `train @ basis`, with a `basis` of shape `(inputs, features)`. If `basis` is None, the features are
#   the inputs themselves.
# - The targets of an example are 1 for its own class and −1 for every other class, so they have shape `(examples,
#   classes)`.
# - The weights W, of shape `(features, classes)`, minimise the sum of the squares of features · W − targets, plus
#   `strength` times the sum of the squares of W. With F for the features and T for the targets they are W = (FᵀF +
#   strength · I)⁻¹ FᵀT. There is no offset.
# - The answer for an example is the class with the largest of features · W.
#
# Return `(weights, accuracy)`: the array W, and the share of right answers on `test`.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `labels[:, None] == np.arange(classes)` is True at the class of each example. `np.where` makes targets of it.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.linalg.solve(A, B)` gives A⁻¹B. `np.eye(n)` is I, and n is the number of features, not of examples.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The test inputs need the same features: `test @ basis`. `.argmax(axis=1)` gives the class of the largest score in each
# row, and the mean of `== truth` is the accuracy. Nothing of `test` goes into the weights.
#
# </details>


# %% nbgrader={"grade_id": "q5-few", "solution": true}
def few_shot(train, labels, test, truth, classes, basis, strength):
    """Return the weights of a linear classifier on the features, and the share of test examples that it gets right."""
    ### BEGIN SOLUTION
    if basis is not None:
        train, test = train @ basis, test @ basis
    targets = np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)
    weights = np.linalg.solve(train.T @ train + strength * np.eye(train.shape[1]), train.T @ targets)
    return weights, ((test @ weights).argmax(axis=1) == truth).mean()
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-few-tests", "points": 2}
import numpy as np


def check_few(expected, accuracy, mistake, train, labels, test, truth, classes, basis, strength):
    """Compare one answer of few_shot with the expected weights and accuracy."""
    arrays = np.array(train, float), np.array(labels, int), np.array(test, float), np.array(truth, int)
    try:
        given = few_shot(*arrays, classes, None if basis is None else np.array(basis, float), strength)
    except ValueError as error:
        raise AssertionError(
            f"few_shot fails: {error}. Arrays of these shapes cannot be multiplied. Do training and test inputs both "
            f"go through the basis? {mistake}"
        ) from error
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"few_shot returns the weights and the accuracy; yours returns {type(given).__name__}."
    )
    yours, expected = np.asarray(given[0], float), np.array(expected, float)
    called = f"{len(train)} examples with {arrays[0].shape[1]} inputs"
    if arrays[0].size < 12:
        called = f"train {train}, labels {labels}"
    called += f", {classes} classes, {'no basis' if basis is None else 'a basis'}, strength {strength}"
    assert yours.shape == expected.shape, (
        f"{called}: the weights should have shape {expected.shape}; yours have {yours.shape}. {mistake}"
    )
    assert np.allclose(yours, expected, rtol=1e-6, atol=1e-6), (
        f"{called}: the weights should be {expected[:3].round(4).tolist()}; yours are {yours[:3].round(4).tolist()}. "
        f"{mistake}"
    )
    assert np.ndim(given[1]) == 0 and abs(given[1] - accuracy) < 1e-9, (
        f"{called}: the weights are right. The accuracy should be {accuracy:.4f}; yours is {given[1]}. {mistake}"
    )


pair = [[1, 0], [0, 1]]
check_few(
    [[1, -1], [-1, 1]],
    0.5,
    "F is I and so is FᵀF. Without strength W is the targets themselves. 1 and 0 would mean that the other class has "
    "the target 0. Of the two test examples the second one is taken for class 1.",
    pair,
    [0, 1],
    [[2, 1], [1, 3]],
    [0, 0],
    2,
    None,
    0,
)
check_few(
    [[0.25, -0.25], [-0.25, 0.25]],
    1,
    "FᵀF + 3 · I is 4 · I. If the weights are 1 and −1, the strength was left out; if they are 1 / 7, it was taken "
    "times the number of examples.",
    pair,
    [0, 1],
    [[2, 1], [1, 3]],
    [0, 1],
    2,
    None,
    3,
)
check_few(
    [[-0.5, -0.5, 0.5]],
    1,
    "One example of class 2 with three inputs, and a basis that keeps the third: F is 2, and W is 2 · T / (4 + 0). "
    "Classes without an example have the target −1 as well.",
    [[7, 9, 2]],
    [2],
    [[-5, 6, 1], [0, 0, 3]],
    [2, 2],
    3,
    [[0], [0], [1]],
    0,
)
check_few(
    [[2 / 3, -2 / 3]],
    0.75,
    "The one feature is the first input less the second one, so F is 1 and −1. W is 2 / (2 + 1). The test examples "
    "need the same feature.",
    pair,
    [0, 1],
    [[3, 1], [1, 2], [9, 10], [5, 4]],
    [0, 1, 0, 0],
    2,
    [[1], [-1]],
    1,
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(709)
hidden_shares = set()
for hidden_case in range(30):
    hidden_inputs, hidden_classes = int(hidden_random.integers(2, 12)), int(hidden_random.integers(2, 5))
    hidden_count = int(hidden_random.integers(hidden_classes, 30))
    hidden_basis = hidden_random.normal(size=(hidden_inputs, 3)) if hidden_case % 2 else None
    hidden_strength = float(hidden_random.choice([0.1, 1, 10]))
    hidden_train, hidden_test = hidden_random.normal(0.5, 1, (2, hidden_count, hidden_inputs))
    hidden_labels, hidden_truth = hidden_random.integers(hidden_classes, size=(2, hidden_count))
    hidden_frame = np.eye(hidden_inputs) if hidden_basis is None else hidden_basis
    # The penalty is as good as one more example for each feature, √strength in size, whose targets are 0.
    hidden_rows = np.vstack([hidden_train @ hidden_frame, hidden_strength**0.5 * np.eye(hidden_frame.shape[1])])
    hidden_targets = -np.ones((len(hidden_rows), hidden_classes))
    hidden_targets[np.arange(hidden_count), hidden_labels] = 1
    hidden_targets[hidden_count:] = 0
    hidden_weights = np.linalg.lstsq(hidden_rows, hidden_targets, rcond=None)[0]
    hidden_right = 0
    for hidden_example, hidden_class in zip(hidden_test, hidden_truth, strict=True):
        hidden_scores = (hidden_example @ hidden_frame @ hidden_weights).tolist()
        hidden_right += hidden_scores.index(max(hidden_scores)) == hidden_class
    hidden_shares.add(hidden_right / hidden_count)
    check_few(
        hidden_weights,
        hidden_right / hidden_count,
        "Least squares with further examples gives this.",
        hidden_train.tolist(),
        hidden_labels.tolist(),
        hidden_test.tolist(),
        hidden_truth.tolist(),
        hidden_classes,
        None if hidden_basis is None else hidden_basis.tolist(),
        hidden_strength,
    )
assert len(hidden_shares) > 10
### END HIDDEN TESTS

# %% [markdown]
# **b)** Where do the two curves cross? Write `crossing(counts, frozen, scratch)`. `counts` lists the numbers of
# examples a class, smallest first. `frozen` and `scratch` are arrays of shape `(repetitions, len(counts))`: the
# accuracies with frozen features and from scratch, with other examples in each repetition.
#
# - Take the mean over the repetitions first, one curve each.
# - Between neighbouring counts the curves are straight lines over the *logarithm* of the count.
# - Return the smallest count at which scratch is at least as good as frozen, a number that need not be whole. If it is
#   so from the first count on, that is the first count. If it is so nowhere, return `np.inf`.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Look at the lead, mean of frozen less mean of scratch, one number for each count. Find the first count where it is 0
# or less. If that is the very first one, you are done.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Otherwise the crossing lies between this count and the one before. If the lead falls from 0.3 to −0.1, it is 0 after
# 0.3 / (0.3 + 0.1) of the way. That is three quarters of the way between the *logarithms*.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# A share t of the way from log(a) to log(b) is the logarithm of `a * (b / a) ** t`.
#
# </details>


# %% nbgrader={"grade_id": "q5-crossing", "solution": true}
def crossing(counts, frozen, scratch):
    """Return from how many examples a class on scratch is as good as frozen, np.inf if nowhere."""
    ### BEGIN SOLUTION
    lead = np.mean(frozen, axis=0) - np.mean(scratch, axis=0)
    caught_up = np.flatnonzero(lead <= 0)
    if len(caught_up) == 0:
        return np.inf
    after = caught_up[0]
    if after == 0:
        return counts[0]
    share = lead[after - 1] / (lead[after - 1] - lead[after])
    return counts[after - 1] * (counts[after] / counts[after - 1]) ** share
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-crossing-tests", "points": 2}
import numpy as np


def check_crossing(expected, mistake, counts, frozen, scratch):
    """Compare one answer of crossing with the expected count."""
    given = crossing(list(counts), np.array(frozen, float), np.array(scratch, float))
    called = f"crossing({counts}, {frozen}, {scratch})"
    called = called if len(called) < 300 else f"crossing at the counts {counts}"
    assert isinstance(given, (int, float, np.number)) and np.isclose(given, expected, rtol=1e-6, atol=0), (
        f"{called} should be {expected:.4f}; yours gives {given}. {mistake}"
    )


check_crossing(
    100,
    "The lead falls from 0.25 to −0.25, so they cross halfway, and halfway from 10 to 1000 on a logarithmic axis is "
    "100. 505 would mean that the axis was not logarithmic, 1000 that nothing was interpolated.",
    [10, 1000],
    [[0.75, 0.75]],
    [[0.5, 1]],
)
check_crossing(
    100 * 10**0.75,
    "The lead falls from 0.375 to −0.125: three quarters of the way from 100 to 1000.",
    [10, 100, 1000],
    [[0.75, 0.875, 0.875]],
    [[0.25, 0.5, 1]],
)
check_crossing(5, "Scratch is ahead from the first count on.", [5, 20], [[0.5, 0.5]], [[0.625, 0.75]])
check_crossing(
    np.inf,
    "Scratch never catches up, not even at the last count, so there is no crossing to report.",
    [5, 20, 80],
    [[0.5, 0.625, 0.75]],
    [[0.25, 0.5, 0.625]],
)
check_crossing(20, "At 20 both are exactly as good, and that counts.", [5, 20, 80], [[0.5] * 3], [[0.25, 0.5, 0.75]])
check_crossing(
    100,
    "Two repetitions. Frozen lies at 0.625, and the mean curve of scratch rises from 0.5 to 0.75. Other numbers would "
    "mean that the crossings of the repetitions were averaged, or that only one of them was used.",
    [10, 1000],
    [[0.625, 0.625], [0.625, 0.625]],
    [[0.375, 0.75], [0.625, 0.75]],
)
check_crossing(
    10,
    "They cross at 10, and scratch falls behind again before it is ahead for good. The first crossing is asked for.",
    [1, 100, 10000, 1000000],
    [[0.5, 0.5, 0.5, 0.5]],
    [[0.25, 0.75, 0.25, 0.75]],
)
### BEGIN HIDDEN TESTS
import itertools


def hidden_lead(place, axis, means):
    """Return by how much frozen is ahead at a place on the logarithmic axis."""
    return np.interp(place, axis, means[0]) - np.interp(place, axis, means[1])


hidden_random = np.random.default_rng(710)
hidden_kinds = set()
for _ in range(60):
    hidden_counts = np.cumsum(hidden_random.integers(1, 200, int(hidden_random.integers(2, 6)))).tolist()
    hidden_curves = hidden_random.random((2, int(hidden_random.integers(1, 4)), len(hidden_counts)))
    hidden_curves[0] += hidden_random.choice([0.4, 0.1]) * np.linspace(1, -1, len(hidden_counts))
    hidden_means = [sum(curve) / len(curve) for curve in hidden_curves]
    hidden_expected, hidden_axis = np.inf, np.log(hidden_counts)
    if hidden_lead(hidden_axis[0], hidden_axis, hidden_means) <= 0:
        hidden_expected = hidden_counts[0]
    else:
        for hidden_low, hidden_high in itertools.pairwise(hidden_axis):
            if hidden_lead(hidden_high, hidden_axis, hidden_means) <= 0:
                for _ in range(60):  # halve the stretch in which they cross
                    hidden_middle = (hidden_low + hidden_high) / 2
                    if hidden_lead(hidden_middle, hidden_axis, hidden_means) <= 0:
                        hidden_high = hidden_middle
                    else:
                        hidden_low = hidden_middle
                hidden_expected = float(np.exp(hidden_high))
                break
    hidden_kinds.add(
        "never" if hidden_expected == np.inf else "first" if hidden_expected == hidden_counts[0] else "between"
    )
    check_crossing(
        hidden_expected,
        "Searching along the curves gives this. np.interp needs a lead that only rises or only falls, and leads go up "
        "and down: look at two neighbouring counts alone.",
        hidden_counts,
        hidden_curves[0].tolist(),
        hidden_curves[1].tolist(),
    )
assert len(hidden_kinds) == 3
### END HIDDEN TESTS

# %% [markdown]
# Now the experiment. An input is the mean of its class plus noise of deviation 1 in each of 60 directions. The means of
# the ten source classes differ in 5 directions only. Those of the five target classes differ in the same 5 directions,
# and in one more, which the source task does not know.
#
# The first cell draws the data and trains on the source task, 500 examples a class. The 5 directions are taken from its
# weights, of shape (60, 10): the singular value decomposition finds the directions that a matrix uses most.

# %%
generator = np.random.default_rng(7)
axes = np.linalg.qr(generator.normal(size=(60, 60)))[0]  # 60 directions at right angles
shared, own = axes[:, :5], axes[:, 5:6]
source_means = 0.7 * generator.normal(size=(10, 5)) @ shared.T
target_means = 0.7 * generator.normal(size=(5, 5)) @ shared.T + generator.normal(size=(5, 1)) @ own.T


def draw(means, count):
    """Return so many inputs of each class, (n, 60), and their labels, (n,)."""
    labels = np.repeat(np.arange(len(means)), count)
    return means[labels] + generator.normal(size=(len(labels), 60)), labels


examples = draw(source_means, 500)
source_weights, learned = few_shot(*examples, *draw(source_means, 500), 10, None, 10)
basis = np.linalg.svd(source_weights)[0][:, :5]
print(f"source task: accuracy {learned:.2f}; features: {basis.shape}")

# %% [markdown]
# The second cell learns the target task, 20 times for each number of examples. Before you run it, guess: who is ahead
# with 5 examples a class, who with 500, and where do the curves cross?

# %%
test, truth = draw(target_means, 1000)
counts, frozen, scratch = [5, 20, 100, 500], np.zeros((20, 4)), np.zeros((20, 4))
for place in np.ndindex(20, 4):
    train, labels = draw(target_means, counts[place[1]])
    frozen[place] = few_shot(train, labels, test, truth, 5, basis, 10)[1]
    scratch[place] = few_shot(train, labels, test, truth, 5, None, 10)[1]
print("accuracy (%), mean and deviation over 20 draws")
print("examples a class   frozen features      from scratch")
for column, count in enumerate(counts):
    both = [
        f"{100 * values[:, column].mean():8.1f} ± {100 * values[:, column].std():.1f}" for values in (frozen, scratch)
    ]
    print(f"{count:16d}" + "     ".join(both))
print(f"scratch catches up at about {crossing(counts, frozen, scratch):.0f} examples a class")

# %% [markdown]
# To think about, without points: what keeps the frozen features from getting better between 100 and 500 examples? And
# how could one have both, the good start of the one and the good end of the other? (Question 4 has an answer: pull the
# weights towards old ones rather than to 0.)
