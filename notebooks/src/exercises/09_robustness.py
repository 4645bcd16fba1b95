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
# # Exercises 09: robustness
#
# Five questions on chapter 09, 20 points in all. Each question stands on its own, so they can be done in any order.
#
# | question | about | kind | points |
# | --- | --- | --- | --- |
# | 1 | shape bias and corruption error | arithmetic and code | 4 |
# | 2 | one step of the fast gradient sign method | code | 4 |
# | 3 | back into the ball: the L2 projection | code | 4 |
# | 4 | a corruption in five severities | code | 4 |
# | 5 | training against the worst case | arithmetic and experiment | 4 |
#
# Write your answers where a cell says `YOUR CODE HERE`, and remove the line that raises `NotImplementedError`. Below
# each answer stands a cell with tests. Run it: silence means that the tests pass, and a message says what was expected,
# what came, and which mistake often gives that. When a sheet is graded, further tests with other numbers run.
#
# Hints open one at a time. Try for a few minutes before you open the next one.
#
# *Running time: under a minute on a CPU. Needs: chapter 09.*
#
# All questions use the same words:
#
# - *Images* are arrays of shape `(n, height, width, channels)` with values from 0 to 1.
# - An *attack* changes images within a *radius*: in the L∞ norm no value may change by more than the radius; in the L2
#   norm the root of the sum of all squared changes of an image may not exceed it.
# - An *error* is a share of images, from 0 to 1.

# %%
import course_lib

settings = course_lib.setup(chapter=9)

# %%
import numpy as np

# %% [markdown]
# ## Question 1: shape bias and corruption error
#
# **a)** Write `bias(decisions, shapes, textures)`. All three are lists of class names, one for each image: what the
# network answered, the class of the shape, and the class of the texture. Where shape and texture are the same class
# there is no conflict, and the image does not count at all.
#
# Return three numbers:
#
# - the *shape bias*: among the images that went to the class of their shape or of their texture, the share that went to
#   the shape;
# - its standard error, √(b · (1 − b) / m), where b is the shape bias and m is the number of images it comes from;
# - the share of images with a conflict that was *decided*, that is, went to one or the other.
#
# There is always at least one decision. Try it on paper first: of 100 images with a conflict, 64 go to the shape and 16
# to the texture.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# 64 / 80 is 0.8. The standard error comes from 80 decisions, not from 100 images.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Make arrays of the lists with `np.array`. Then `shapes != textures` marks the conflicts, and `(decisions == shapes) &
# conflict` marks the images that went to the shape.
#
# </details>


# %% nbgrader={"grade_id": "q1-bias", "solution": true}
def bias(decisions, shapes, textures):
    """Return the shape bias, its standard error, and the share of images with a conflict that was decided."""
    ### BEGIN SOLUTION
    decided, shape, texture = np.array(decisions), np.array(shapes), np.array(textures)
    conflict = shape != texture
    by_shape = int(((decided == shape) & conflict).sum())
    counted = by_shape + int(((decided == texture) & conflict).sum())
    share = by_shape / counted
    return share, (share * (1 - share) / counted) ** 0.5, counted / int(conflict.sum())
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-bias-tests", "points": 2}
def check_bias(expected, mistake, decisions, shapes, textures):
    """Compare one answer of bias with the expected three numbers."""
    given = bias(list(decisions), list(shapes), list(textures))
    assert isinstance(given, (tuple, list)) and len(given) == 3, (
        f"bias returns three numbers, (shape bias, standard error, decided); yours returns {given}."
    )
    names = ("shape bias", "standard error", "share that was decided")
    for name, yours, wanted in zip(names, given, expected, strict=True):
        assert abs(float(yours) - wanted) < 1e-6, (
            f"{len(decisions)} images: the {name} should be {wanted:.4f}; yours is {float(yours):.4f}. {mistake}"
        )


check_bias(
    (0.8, 0.1 / 5**0.5, 0.8),
    "64 to the shape, 16 to the texture, 20 elsewhere. A bias of 0.64 would mean that the 20 were counted, a standard "
    "error of 0.04 that it was taken over 100 images.",
    ["cat"] * 64 + ["dog"] * 16 + ["car"] * 20,
    ["cat"] * 100,
    ["dog"] * 100,
)
check_bias(
    (0.5, 0.25, 1),
    "Four images have a conflict and two go each way. The two in which both cues are a cat do not count: 2 / 3 would "
    "mean that they did.",
    ["cat", "dog", "car", "bird", "cat", "cat"],
    ["cat", "dog", "dog", "dog", "cat", "cat"],
    ["dog", "cat", "car", "bird", "cat", "cat"],
)
check_bias(
    (0.25, (0.25 * 0.75 / 4) ** 0.5, 4 / 6),
    "One to the shape, three to the texture, two of six elsewhere. A bias of 0.75 would mean swapped cues.",
    ["car", "dog", "dog", "dog", "bird", "bird"],
    ["car", "car", "car", "car", "car", "car"],
    ["dog", "dog", "dog", "dog", "dog", "dog"],
)
### BEGIN HIDDEN TESTS
import random

hidden_random = random.Random(901)
for _ in range(60):
    hidden_rows = [("a", "a", "b"), ("b", "a", "b")]
    hidden_rows += [tuple(hidden_random.choice("abcd") for _ in range(3)) for _ in range(hidden_random.randint(1, 60))]
    hidden_clash = [row for row in hidden_rows if row[1] != row[2]]
    hidden_shape = sum(answer == shape for answer, shape, _ in hidden_clash)
    hidden_texture = sum(answer == texture for answer, _, texture in hidden_clash)
    hidden_sum = hidden_shape + hidden_texture
    hidden_expected = (
        hidden_shape / hidden_sum,
        (hidden_shape * hidden_texture / hidden_sum**3) ** 0.5,
        hidden_sum / len(hidden_clash),
    )
    check_bias(hidden_expected, "Counting image by image gives this.", *zip(*hidden_rows, strict=True))
### END HIDDEN TESTS

# %% [markdown]
# **b)** Write `corruption_error(errors, reference, clean)`. `errors` and `reference` are dictionaries: for each
# corruption a list of errors, one for each severity, of a network and of the reference network. `clean` holds the two
# errors on clean images, `(network, reference)`. Return two numbers in percent:
#
# - the *mean corruption error*: for each corruption the sum of the network's errors divided by the sum of the
#   reference's, then the mean over the corruptions;
# - the *relative* mean corruption error: the same, after each network's clean error was taken off each of its errors.
#
# Try it on paper first: one corruption with errors 0.2 and 0.4, reference 0.4 and 0.6, clean errors 0.1 and 0.3.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# 0.6 / 1.0 is 60 %. With the clean errors taken off, 0.1 and 0.3 are left to the network, 0.1 and 0.3 to the reference:
# 100 %. The network is the better one, and yet the corruption adds as much to its error.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A mean of ratios is not a ratio of means. Divide first, for each corruption by itself, and average then. With
# severities in a list, the clean error has to be taken off as often as there are severities.
#
# </details>


# %% nbgrader={"grade_id": "q1-corruption", "solution": true}
def corruption_error(errors, reference, clean):
    """Return mean corruption error and relative mean corruption error, both in percent."""
    ### BEGIN SOLUTION
    plain, relative = [], []
    for name, values in errors.items():
        ours, theirs = np.array(values, float), np.array(reference[name], float)
        plain.append(ours.sum() / theirs.sum())
        relative.append((ours - clean[0]).sum() / (theirs - clean[1]).sum())
    return 100 * float(np.mean(plain)), 100 * float(np.mean(relative))
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-corruption-tests", "points": 2}
def check_corruption(expected, mistake, errors, reference, clean):
    """Compare one answer of corruption_error with the expected two numbers."""
    given = corruption_error(dict(errors), dict(reference), clean)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"corruption_error returns two numbers, (mean, relative mean); yours returns {given}."
    )
    for name, yours, wanted in zip(("mean", "relative mean"), given, expected, strict=True):
        assert abs(float(yours) - wanted) < 1e-6 * max(1, abs(wanted)), (
            f"errors {errors}, reference {reference}, clean {clean}: the {name} corruption error should be "
            f"{wanted:.2f} %; yours is {float(yours):.2f}. {mistake}"
        )


check_corruption(
    (60, 100),
    "0.6 / 1.0, and (0.6 − 0.2) / (1.0 − 0.6). A mean of 0.6 would mean a share instead of percent, a relative mean of "
    "71.43 that the clean errors were taken off once and not at each severity.",
    {"noise": [0.2, 0.4]},
    {"noise": [0.4, 0.6]},
    (0.1, 0.3),
)
check_corruption(
    (110, 110),
    "The ratios are 0.6 / 0.5 and 1.0 / 1.0. A mean of 106.67 would mean that errors of all corruptions were added up "
    "before dividing.",
    {"noise": [0.2, 0.4], "blur": [0.5, 0.5]},
    {"noise": [0.1, 0.4], "blur": [0.3, 0.7]},
    (0, 0),
)
check_corruption(
    (100, 150),
    "The errors are those of the reference; only the clean errors differ. 66.67 would mean that the clean errors were "
    "swapped.",
    {"blur": [0.4, 0.4]},
    {"blur": [0.4, 0.4]},
    (0.1, 0.2),
)
### BEGIN HIDDEN TESTS
import random

hidden_random = random.Random(903)
for _ in range(40):
    hidden_levels, hidden_clean = hidden_random.randint(1, 6), (hidden_random.random() / 4, hidden_random.random() / 4)
    hidden_ours, hidden_theirs, hidden_ratios, hidden_added = {}, {}, 0, 0
    hidden_count = hidden_random.randint(1, 8)
    for hidden_name in range(hidden_count):
        hidden_ours[hidden_name] = [0.3 + hidden_random.random() / 2 for _ in range(hidden_levels)]
        hidden_theirs[hidden_name] = [0.3 + hidden_random.random() / 2 for _ in range(hidden_levels)]
        hidden_pair = sum(hidden_ours[hidden_name]), sum(hidden_theirs[hidden_name])
        hidden_ratios += 100 * hidden_pair[0] / hidden_pair[1] / hidden_count
        hidden_less = [total - hidden_levels * base for total, base in zip(hidden_pair, hidden_clean, strict=True)]
        hidden_added += 100 * hidden_less[0] / hidden_less[1] / hidden_count
    hidden_mistake = "Going corruption by corruption gives this."
    check_corruption((hidden_ratios, hidden_added), hidden_mistake, hidden_ours, hidden_theirs, hidden_clean)
### END HIDDEN TESTS

# %% [markdown]
# To think about, without points: a network guesses among ten classes, whatever the image. What is its mean corruption
# error against a reference with errors of 0.45 throughout, and what its relative one?

# %% [markdown]
# ## Question 2: one step of the fast gradient sign method
#
# Somebody has already computed the gradient of the loss with respect to every value of the images. Write
# `one_step(images, gradients, radius, targeted)`, where `images` and `gradients` have the same shape:
#
# - If `targeted` is False, the gradients belong to the loss of the right class. The attack wants that loss to *rise*.
#   Each value moves by `radius` in the direction of the sign of its gradient. Where the gradient is 0 it stays.
# - If `targeted` is True, the gradients belong to the loss of a class that the network shall answer instead. The attack
#   wants that loss to *fall*.
# - The result must be images again: values below 0 become 0, values above 1 become 1.
#
# Return the attacked images, an array of the same shape. The arrays that were given must stay as they are.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A value of 0.5 with the gradient −3 and a radius of 0.1 becomes 0.4. With the gradient −0.001 it does so, too: only
# the sign counts. `np.sign` gives −1, 0 or 1.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# To let a loss fall, go against its gradient. `np.clip(array, 0, 1)` comes last.
#
# </details>


# %% nbgrader={"grade_id": "q2-step", "solution": true}
def one_step(images, gradients, radius, targeted):
    """Return images after one step of the fast gradient sign method, in [0, 1]."""
    ### BEGIN SOLUTION
    direction = -1 if targeted else 1
    return np.clip(images + direction * radius * np.sign(gradients), 0, 1)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-step-tests", "points": 4}
def check_step(expected, mistake, images, gradients, radius, targeted):
    """Compare one answer of one_step with the expected images."""
    before, slopes, wanted = np.array(images, float), np.array(gradients, float), np.array(expected, float)
    untouched = before.copy(), slopes.copy()
    given = np.asarray(one_step(before, slopes, radius, targeted), float)
    called = f"one_step at radius {radius}, targeted {targeted}"
    if before.size < 12:
        called = f"images {before.ravel().tolist()}, gradients {slopes.ravel().tolist()}, {called}"
    assert given.shape == wanted.shape, (
        f"{called}: the shape should be {wanted.shape}; yours is {given.shape}. {mistake}"
    )
    assert np.allclose(given, wanted, rtol=0, atol=1e-6), (
        f"{called}: the values should begin {wanted.ravel()[:8].round(4).tolist()}; yours begin "
        f"{given.ravel()[:8].round(4).tolist()}. {mistake}"
    )
    assert np.array_equal(before, untouched[0]) and np.array_equal(slopes, untouched[1]), (
        f"{called}: the result is right, but an array that was given has changed. Do not write into it."
    )


def as_image(values):
    """Return a list of values as one image of one row."""
    return np.array(values, float).reshape(1, 1, -1, 1)


check_step(
    as_image([0.6, 0.4, 0.5]),
    "Up where the gradient is positive, down where it is negative, by 0.1 and whatever its size; a gradient of 0 moves "
    "nothing. 0.7 and 0.2 would mean that the step went along the gradient itself.",
    as_image([0.5, 0.5, 0.5]),
    as_image([2, -3, 0]),
    0.1,
    False,
)
check_step(
    as_image([0.4, 0.6, 0.5]),
    "With a target the loss shall fall, so go against the gradient.",
    as_image([0.5, 0.5, 0.5]),
    as_image([2, -3, 0]),
    0.1,
    True,
)
check_step(
    as_image([1, 0, 0.25, 1]),
    "0.9 + 0.25 and 0.1 − 0.25 lie outside [0, 1] and are clipped, after the step.",
    as_image([0.9, 0.1, 0, 1]),
    as_image([1e-9, -1e-9, 5, 7]),
    0.25,
    False,
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(905)
for hidden_case in range(40):
    hidden_shape = (*hidden_random.integers(1, 6, size=3).tolist(), 3 if hidden_case % 2 else 1)
    hidden_images = hidden_random.random(hidden_shape)
    hidden_slopes = hidden_random.normal(size=hidden_shape) * 10.0 ** hidden_random.integers(-6, 4)
    hidden_slopes[hidden_random.random(hidden_shape) < 0.2] = 0
    hidden_radius, hidden_targeted = float(hidden_random.choice([0.01, 0.1, 0.5])), bool(hidden_case % 3 == 0)
    hidden_wanted = hidden_images.copy()
    hidden_up = hidden_slopes < 0 if hidden_targeted else hidden_slopes > 0
    hidden_down = hidden_slopes > 0 if hidden_targeted else hidden_slopes < 0
    hidden_wanted[hidden_up] = np.minimum(1, hidden_images[hidden_up] + hidden_radius)
    hidden_wanted[hidden_down] = np.maximum(0, hidden_images[hidden_down] - hidden_radius)
    hidden_mistake = "Going value by value gives this."
    check_step(hidden_wanted, hidden_mistake, hidden_images, hidden_slopes, hidden_radius, hidden_targeted)
### END HIDDEN TESTS

# %% [markdown]
# ## Question 3: back into the ball
#
# After each step an attack in the L2 norm has to come back into the ball: the set of all images whose change has a
# length of at most `radius`. Write `into_ball(images, clean, radius)`. Both arrays have the shape `(n, height, width,
# channels)`.
#
# - The *change* of an image is `images − clean`. Its length is the root of the sum of all its squares, over height,
#   width and channels, for every image by itself.
# - Where the length exceeds the radius, the change is shortened to exactly the radius. Its direction stays.
# - Where it does not, the image stays as it is. A change of length 0 must not divide by 0.
#
# Return clean images plus changes, the same shape. No clipping to [0, 1] here.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A change of (3, 4) has length 5. For a radius of 2.5 it is multiplied by 0.5, and for a radius of 7 by 1.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.sqrt((change**2).sum(axis=(1, 2, 3), keepdims=True))` has the shape `(n, 1, 1, 1)`, so that it can be divided by.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The factor is `radius / length`, but at most 1: `np.minimum(1, …)`. As the divisor take `np.maximum(length, 1e-12)`,
# so that a length of 0 does no harm.
#
# </details>


# %% nbgrader={"grade_id": "q3-ball", "solution": true}
def into_ball(images, clean, radius):
    """Return the nearest images whose change from the clean ones has at most the length of the radius."""
    ### BEGIN SOLUTION
    change = images - clean
    length = np.sqrt((change**2).sum(axis=(1, 2, 3), keepdims=True))
    return clean + change * np.minimum(1, radius / np.maximum(length, 1e-12))
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-ball-tests", "points": 4}
def check_ball(expected, mistake, changes, radius, start=0.5):
    """Compare one answer of into_ball with the expected changes."""
    moved, wanted = np.array(changes, float), np.array(expected, float)
    clean = np.full(moved.shape, start) + 0.01 * np.arange(moved.size).reshape(moved.shape)
    given = np.asarray(into_ball(clean + moved, clean.copy(), radius), float)
    assert given.shape == moved.shape, f"The shape should stay {moved.shape}; yours is {given.shape}. {mistake}"
    assert np.isfinite(given).all(), (
        f"radius {radius}: there are values in your images that are no numbers. A change of length 0 must stay 0."
    )
    left = given - clean
    assert np.allclose(left, wanted, rtol=0, atol=1e-6), (
        f"{len(moved)} images, radius {radius}: the changes should begin {wanted.ravel()[:6].round(4).tolist()}; yours "
        f"begin {left.ravel()[:6].round(4).tolist()}. {mistake}"
    )


def rows(*changes):
    """Return changes as images of one row and one channel."""
    return np.array(changes, float)[:, None, :, None]


check_ball(
    rows((1.5, 2)),
    "A change of (3, 4) has length 5, so it is halved. (2.5, 2.5) would mean that each value was clipped, as in the L∞ "
    "norm, or had a length of its own; (0.3, 0.4) that the root was forgotten; (1, 1.49) that the clean image was not "
    "added to what is left.",
    rows((3, 4)),
    2.5,
)
check_ball(
    rows((0.3, 0.4)),
    "A change of length 0.5 lies within a radius of 2 and stays. (1.2, 1.6) would mean that it was stretched.",
    rows((0.3, 0.4)),
    2,
)
check_ball(
    rows((1.5, 2), (0.3, -0.4), (0, 0)),
    "Every image has a length of its own: the first is shortened, the others stay.",
    rows((3, 4), (0.3, -0.4), (0, 0)),
    2.5,
)
check_ball(
    np.full((2, 2, 2, 3), 1 / 12**0.5),
    "Twelve values of 1 have the length √12, over height, width and channels together.",
    np.ones((2, 2, 2, 3)),
    1,
)
check_ball(rows((0, 0), (0, 0)), "Within a radius of 0 nothing may change.", rows((0, 0), (2, 1)), 0)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(907)
for _ in range(30):
    hidden_shape = tuple(int(side) for side in hidden_random.integers(1, 5, size=4))
    hidden_changes = hidden_random.normal(size=hidden_shape) * hidden_random.choice(
        [0.1, 1, 5], (hidden_shape[0], 1, 1, 1)
    )
    hidden_radius, hidden_wanted = float(hidden_random.choice([0.3, 1.0, 4.0])), []
    for hidden_change in hidden_changes:
        hidden_length = float(np.linalg.norm(hidden_change.ravel()))
        hidden_wanted.append(
            hidden_change if hidden_length <= hidden_radius else hidden_change * (hidden_radius / hidden_length)
        )
    hidden_mistake = "Going image by image gives this."
    check_ball(np.stack(hidden_wanted), hidden_mistake, hidden_changes, hidden_radius, float(hidden_random.normal()))
### END HIDDEN TESTS

# %% [markdown]
# ## Question 4: a corruption in five severities
#
# Dead and saturated pixels: *impulse noise* turns a share of all values white or black. Write `impulses(images,
# severity, seed)`:
#
# - The share at severity 1 to 5 is 0.01, 0.02, 0.03, 0.05 and 0.07.
# - Draw one number from 0 to 1 for each value: `np.random.default_rng(seed).random(images.shape)`.
# - Where the number is smaller than half of the share, the value becomes 1. Where it is at least half of the share and
#   smaller than the share, the value becomes 0. All others stay.
# - If `severity` is not one of 1, 2, 3, 4, 5, or if a value of the images is below 0 or above 1, raise a `ValueError`.
#   Its message must contain the value that was wrong: the severity, or the smallest or largest value of the images.
#
# Return the corrupted images. The array that was given must stay as it is.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The checks come first. `if severity not in (1, 2, 3, 4, 5):` and then `raise ValueError(f"severity={severity}: …")`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Since all severities draw the same numbers for a seed, a pixel that is hit at severity 1 is hit at severity 5 as well.
# `np.where(condition, there, elsewhere)` picks value by value, and does not change its arguments.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `np.where(draw < share, draw < share / 2, images)`: where True and False meet numbers they become 1 and 0.
#
# </details>


# %% nbgrader={"grade_id": "q4-impulses", "solution": true}
def impulses(images, severity, seed):
    """Return images in which a share of the values has turned white or black."""
    ### BEGIN SOLUTION
    if severity not in (1, 2, 3, 4, 5):
        raise ValueError(f"severity={severity}: it must be 1, 2, 3, 4 or 5.")
    if images.min() < 0 or images.max() > 1:
        raise ValueError(f"images run from {images.min():g} to {images.max():g}; they must lie in [0, 1].")
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    draw = np.random.default_rng(seed).random(images.shape)
    return np.where(draw < share, (draw < share / 2).astype(float), images)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-impulses-tests", "points": 4}
def check_impulses(white, black, mistake, images, severity, seed):
    """Compare one answer of impulses with how many values should have become 1 and 0, and with the rest."""
    before = np.array(images, float)
    given = np.asarray(impulses(before, severity, seed), float)
    assert np.array_equal(before, images), (
        "impulses has changed the array that it was given, as images[...] = 1 does. Make a new one, say with np.where."
    )
    assert given.shape == before.shape, f"The shape should stay {before.shape}; yours is {given.shape}. {mistake}"
    counts = int(((given == 1) & (before != 1)).sum()), int(((given == 0) & (before != 0)).sum())
    assert counts == (white, black), (
        f"severity {severity}, seed {seed}, {before.size} values: {white} should become 1 and {black} should become 0; "
        f"yours are {counts[0]} and {counts[1]}. {mistake}"
    )
    rest = (given != 0) & (given != 1)
    assert np.array_equal(given[rest], before[rest]), f"Values that are not hit must stay as they are. {mistake}"


def check_refusal(images, severity, needed):
    """Expect a ValueError whose message contains what was wrong."""
    message, called = None, f"severity {severity}, images {images}"
    try:
        impulses(np.array(images, float), severity, 0)
    except ValueError as error:
        message = str(error)
    except IndexError as error:
        raise AssertionError(
            f"{called}: this should raise a ValueError; yours fails with an IndexError, {error}. Check the severity "
            "before you look up its share."
        ) from error
    assert message is not None, (
        f"{called}: this should raise a ValueError, and did not. Severities are 1 to 5, and values lie in [0, 1]."
    )
    assert needed in message, (
        f"{called}: a ValueError is right. Its message should contain {needed}, so that one sees what was wrong; yours "
        f"is: {message!r}"
    )


grey = np.full((2, 20, 20, 1), 0.5)
check_impulses(
    3,
    5,
    "Of 800 values about 1 % are hit, half of them white. 5 and 3 would mean that white and black are swapped. 8 and "
    "10 would mean the share of severity 2, as if severities began with 0, or the whole share for each colour.",
    grey,
    1,
    0,
)
check_impulses(
    27,
    15,
    "Of 800 values about 7 % are hit at severity 5. White are draws below 0.035, black those from there to 0.07.",
    grey,
    5,
    0,
)
check_refusal([[[[0.5]]]], 6, "6")
check_refusal([[[[0.5]]]], 0, "0")
check_refusal([[[[0.5], [1.75]]]], 3, "1.75")
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(909)
for hidden_case in range(30):
    hidden_images = 0.1 + 0.8 * hidden_random.random((3, 11, 7, 1 + 2 * (hidden_case % 2)))
    hidden_severity, hidden_seed = 1 + hidden_case % 5, int(hidden_random.integers(1_000))
    hidden_table = {1: 0.01, 2: 0.02, 3: 0.03, 4: 0.05, 5: 0.07}
    hidden_edges = [0, hidden_table[hidden_severity] / 2, hidden_table[hidden_severity]]
    hidden_draw = np.random.default_rng(hidden_seed).random(hidden_images.shape)
    hidden_counts = np.histogram(hidden_draw, hidden_edges)[0]
    hidden_mistake = "Counting the draws gives this."
    check_impulses(*hidden_counts.tolist(), hidden_mistake, hidden_images, hidden_severity, hidden_seed)
    hidden_given = np.asarray(impulses(hidden_images.copy(), hidden_severity, hidden_seed), float)
    assert (hidden_given[hidden_draw < hidden_edges[1]] == 1).all(), "The smallest draws must turn white."
check_refusal([[[[0.5]]]], -1, "-1")
check_refusal([[[[0.5]]]], 2.5, "2.5")
check_refusal([[[[0.5], [-0.25]]]], 1, "-0.25")
### END HIDDEN TESTS

# %% [markdown]
# ## Question 5: training against the worst case
#
# For a linear network with two classes the strongest attack is known exactly, so robust training needs no PGD. Inputs
# have shape `(n, d)`; labels are −1 and 1. The score of an input x is x · w + b, and the network answers with its sign.
# The *margin* of an example is label · score: it is right where the margin is positive.
#
# An attack may move each value by up to `radius`, in whatever direction is worst (inputs need not stay in [0, 1] here).
#
# **a)** Write `margins(inputs, labels, weights, offset, radius)`. Return the margin of each example *after* the worst
# attack, an array `(n,)`.
#
# Try it on paper first: x = (2, 1), label 1, w = (3, −1), b = 0, and a radius of 0.5. In which direction does each
# value move?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The margin without an attack is 5. The first value goes down by 0.5, which costs 1.5. The second goes up by 0.5, which
# costs another 0.5. The margin is 3.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# For either label the worst move costs `radius` times the sum of |w|.
#
# </details>


# %% nbgrader={"grade_id": "q5-margins", "solution": true}
def margins(inputs, labels, weights, offset, radius):
    """Return the margin of each example after the worst attack within the radius, (n,)."""
    ### BEGIN SOLUTION
    return labels * (inputs @ weights + offset) - radius * np.abs(weights).sum()
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-margins-tests", "points": 2}
def check_margins(expected, mistake, inputs, labels, weights, offset, radius):
    """Compare one answer of margins with the expected array."""
    arrays = np.array(inputs, float), np.array(labels, float), np.array(weights, float)
    given, wanted = np.asarray(margins(*arrays, offset, radius), float), np.array(expected, float)
    called = f"weights {arrays[2].round(3).tolist()}, offset {offset}, radius {radius}"
    assert given.shape == wanted.shape, (
        f"{called}: margins should return an array of shape {wanted.shape}; yours has {given.shape}. {mistake}"
    )
    assert np.allclose(given, wanted, atol=1e-8), (
        f"{called}: the margins should begin {wanted[:4].round(4).tolist()}; "
        f"yours begin {given[:4].round(4).tolist()}. {mistake}"
    )


check_margins([5], "Without an attack it is label · score.", [[2, 1]], [1], [3, -1], 0, 0)
check_margins(
    [3],
    "The attack takes 0.5 · (3 + 1). 4 would mean that weights of different sign were left to cancel, 5 − 0.5 · √10 = "
    "3.42 that the length of w was taken, which belongs to the L2 norm.",
    [[2, 1]],
    [1],
    [3, -1],
    0,
    0.5,
)
check_margins(
    [-7, 3],
    "For the label −1 the margin is −score, and the attack lowers the margin as well. −3 and 7 would mean that it "
    "lowered the score.",
    [[2, 1], [-2, -1]],
    [-1, -1],
    [3, -1],
    0,
    0.5,
)
check_margins(
    [2, -4], "The offset counts with the score; no attack can move it.", [[2, 1], [2, 1]], [1, -1], [3, -1], -2, 0.25
)
### BEGIN HIDDEN TESTS
import itertools

hidden_random = np.random.default_rng(911)
for _ in range(30):
    hidden_inputs, hidden_weights = hidden_random.normal(size=(6, 4)), hidden_random.normal(size=4)
    hidden_labels, hidden_offset = hidden_random.choice([-1, 1], 6), float(hidden_random.normal())
    hidden_radius = float(hidden_random.random())
    # The worst of all corners of the cube is the worst of all places in it.
    hidden_corners = hidden_radius * np.array(list(itertools.product([-1, 1], repeat=4)))
    hidden_scores = (hidden_inputs[:, None] + hidden_corners) @ hidden_weights + hidden_offset
    hidden_worst = (hidden_labels[:, None] * hidden_scores).min(axis=1)
    hidden_mistake = "Trying all corners of the cube gives this."
    check_margins(
        hidden_worst, hidden_mistake, hidden_inputs, hidden_labels, hidden_weights, hidden_offset, hidden_radius
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** Write `robust_step(inputs, labels, weights, offset, radius, rate)`: one step of gradient descent on the
# attacked inputs.
#
# - First attack: every value moves by `radius` against the margin of its example, that is, by −radius · label ·
#   sign(w).
# - The loss is the mean over the examples of ln(1 + exp(−margin)), on the attacked inputs x′.
# - Its gradient with respect to the weights is the mean of −s · label · x′, with s = 1 / (1 + exp(margin)). With
#   respect to the offset it is the mean of −s · label. The attacked inputs count as fixed numbers.
# - Take the gradients times `rate` off weights and offset, and return both: `(weights, offset)`.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `labels[:, None] * np.sign(weights)` has the shape `(n, d)`: for each example its own direction.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# With `pull = labels / (1 + np.exp(margin))`, the negative gradient of the weights is the mean of `pull[:, None] *
# attacked` over the examples, and that of the offset is the mean of `pull`. So both are *added*, times the rate.
#
# </details>


# %% nbgrader={"grade_id": "q5-step", "solution": true}
def robust_step(inputs, labels, weights, offset, radius, rate):
    """Return weights and offset after one step of gradient descent on the attacked inputs."""
    ### BEGIN SOLUTION
    attacked = inputs - radius * labels[:, None] * np.sign(weights)
    pull = labels / (1 + np.exp(labels * (attacked @ weights + offset)))
    return weights + rate * (pull[:, None] * attacked).mean(axis=0), offset + rate * pull.mean()
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-step-tests", "points": 2}
def check_robust(expected, mistake, inputs, labels, weights, offset, radius, rate):
    """Compare one answer of robust_step with the expected weights and offset."""
    arrays = np.array(inputs, float), np.array(labels, float), np.array(weights, float)
    given = robust_step(*arrays, offset, radius, rate)
    called = f"{len(arrays[0])} inputs, weights {arrays[2].round(3).tolist()}, radius {radius}, rate {rate}"
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"robust_step returns weights and offset; yours returns {type(given).__name__}."
    )
    wanted = np.array(expected[0], float)
    assert np.shape(given[0]) == wanted.shape and np.allclose(given[0], wanted, atol=1e-7), (
        f"{called}: the weights should be {wanted.round(4).tolist()}; "
        f"yours are {np.round(given[0], 4).tolist()}. {mistake}"
    )
    assert np.ndim(given[1]) == 0 and abs(given[1] - expected[1]) < 1e-7, (
        f"{called}: the weights are right. The offset should be {expected[1]:.4f}; yours is {given[1]}. {mistake}"
    )


check_robust(
    ([1, 0], 0.5),
    "Weights of 0 have no sign, so nothing is attacked. The margin is 0, s is a half, and the weights become a half of "
    "x. (−1, 0) would mean that the step went up the loss.",
    [[2, 0]],
    [1],
    [0, 0],
    0,
    0.3,
    1,
)
check_robust(
    ([1.25, -0.75], 0.25),
    "The first value falls from 1.5 to 1, and the second rises from 0.5 to 1. The margin is 0, s is a half, and both "
    "weights gain 0.5 · 0.5 · 1. If the first becomes about 1.2, the gradient saw the clean input.",
    [[1.5, 0.5]],
    [1],
    [1, -1],
    0,
    0.5,
    0.5,
)
check_robust(
    ([1.25, -0.75], -0.25),
    "The same input with all signs turned, and the label −1: the attack pushes its margin down, too, so it moves the "
    "other way.",
    [[-1.5, -0.5]],
    [-1],
    [1, -1],
    0,
    0.5,
    0.5,
)
check_robust(
    ([1], 0),
    "Two examples, 3 with the label 1 and −1 with the label −1. The weight is 0: nothing is attacked, and s is a half. "
    "The weight gains half of the mean of 3 and 1, the offset nothing. 2 would mean a sum instead of a mean.",
    [[3], [-1]],
    [1, -1],
    [0],
    0,
    1,
    1,
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(913)
for _ in range(30):
    hidden_inputs, hidden_weights = hidden_random.normal(size=(7, 3)), hidden_random.normal(size=3)
    hidden_labels, hidden_offset = hidden_random.choice([-1, 1], 7), float(hidden_random.normal())
    hidden_radius, hidden_rate = float(hidden_random.random()), float(hidden_random.choice([0.1, 1]))
    hidden_moved = hidden_inputs.copy()
    for hidden_row, hidden_column in np.ndindex(7, 3):
        hidden_way = hidden_labels[hidden_row] * np.sign(hidden_weights[hidden_column])
        hidden_moved[hidden_row, hidden_column] -= hidden_radius * hidden_way
    # The gradient by differences of the loss, a step of 0.0001 to either side.
    hidden_theta, hidden_slopes = np.append(hidden_weights, hidden_offset), np.zeros(4)
    for hidden_place in range(4):
        for hidden_side in (1e-4, -1e-4):
            hidden_near = hidden_theta + hidden_side * (np.arange(4) == hidden_place)
            hidden_margins = hidden_labels * (hidden_moved @ hidden_near[:3] + hidden_near[3])
            hidden_slopes[hidden_place] += np.sign(hidden_side) * np.logaddexp(0, -hidden_margins).mean()
    hidden_theta = hidden_theta - hidden_rate * hidden_slopes / 2e-4
    check_robust(
        (hidden_theta[:3], hidden_theta[3]),
        "The gradient by differences gives this.",
        hidden_inputs,
        hidden_labels,
        hidden_weights,
        hidden_offset,
        hidden_radius,
        hidden_rate,
    )
### END HIDDEN TESTS

# %% [markdown]
# The experiment: inputs of 16 values. The first is strong, 3 times the label, and it is wrong in one of 20 examples.
# The other fifteen are weak: half of the label each, plus noise of deviation 0.5 (after Tsipras and others, 2019).
# Together the weak ones tell the label better than the strong one does. Now an attacker may move every value by 1.
#
# Before you run the cells, guess: which values does each network use, and what does each lose?

# %%
generator = np.random.default_rng(0)


def draw(count):
    """Return inputs (count, 16) and labels, −1 or 1."""
    labels = generator.choice([-1.0, 1.0], count)
    inputs = 0.5 * labels[:, None] + 0.5 * generator.normal(size=(count, 16))
    inputs[:, 0] = 3 * labels * np.where(generator.random(count) < 0.95, 1, -1)
    return inputs, labels


train, test = draw(2_000), draw(2_000)
learned = {}
for radius in (0.0, 1.0):
    weights, offset = np.zeros(16), 0.0
    for _ in range(1_000):
        weights, offset = robust_step(*train, weights, offset, radius, 0.2)
    learned[radius] = weights, offset
    print(f"trained at radius {radius}: strong weight {weights[0]:.2f}, mean weak weight {weights[1:].mean():.2f}")

# %%
print("accuracy (%) under the worst attack of radius")
print("trained at" + "".join(f"{radius:8.2f}" for radius in (0, 0.25, 0.5, 0.75, 1)))
for trained, (weights, offset) in learned.items():
    right = [(margins(*test, weights, offset, radius) > 0).mean() for radius in (0, 0.25, 0.5, 0.75, 1)]
    print(f"{trained:10.1f}" + "".join(f"{100 * share:8.1f}" for share in right))

# %% [markdown]
# To think about, without points: the robust network is worse on clean inputs. Would more examples mend that? And would
# a person, who must answer for the attacked input as well, have chosen otherwise?
