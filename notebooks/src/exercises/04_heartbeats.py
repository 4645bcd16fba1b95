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
# # Exercises 04: heartbeats
#
# Five questions on chapter 04, 20 points in all. Each question stands on its own, so they can be done in any order.
#
# | question | about | kind | points |
# | --- | --- | --- | --- |
# | 1 | the field in seconds | arithmetic and code | 4 |
# | 2 | windows without a loop | code | 4 |
# | 3 | sensitivity, predictive value, F1 | code and arithmetic | 4 |
# | 4 | the rhythm | code | 4 |
# | 5 | splits by beats and by patients | experiment | 4 |
#
# Write your answers where a cell says `YOUR CODE HERE`, and remove the line that raises `NotImplementedError`.
# Below each answer stands a cell with tests. Run it: silence means that the tests pass, and a message says what was
# expected, what came, and which mistake often gives that. When a sheet is graded, further tests with other numbers
# run.
#
# Hints open one at a time. Try for a few minutes before you open the next one.
#
# *Running time: about a minute on a CPU. Needs: chapter 04.*
#
# All questions count in the same way:
#
# - A *signal* is a row of numbers, its *samples*. They are numbered from 0. The *rate* says how many there are in a
#   second.
# - The *position* of a beat is the number of the sample at its spike.
# - A *place* is one position of a map, that is of what a layer gives. The signal itself counts as the first map.
# - A *mask* is an array of True and False, one for each beat. `array[mask]` takes the beats where it says True, and
#   `~mask` turns each True into False and each False into True.
#
# Nothing here is medical advice. The records in questions 4 and 5 are synthesised.

# %%
import course_lib

settings = course_lib.setup(chapter=4)

# %%
import numpy as np

# %% [markdown]
# ## Question 1: the field in seconds
#
# LeNet-5 in one dimension is a chain of five layers. None of them pads:
#
# 1. a convolution that reads `kernel` samples;
# 2. a pool of `pool` samples, without overlap, so its stride is `pool`;
# 3. a convolution that reads `kernel` places;
# 4. the same pool again;
# 5. a layer that reads `kernel` neighbouring places of the last map.
#
# **a)** Write `field_seconds(kernel, pool, rate)`. It returns how many seconds of the signal one output of layer 5
# sees. `rate` is the number of samples in a second. A field of `n` samples counts as `n / rate` seconds.
#
# Try it on paper first, with kernels of 5 and pools of 2. In samples, the fields after the five layers are 5, 6, 14,
# 16 and 32. At 120 samples a second the last one is 0.27 s. Now do the same with kernels of 3.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A layer that reads `k` places makes the field longer by `k - 1` steps. Before the first pool a step is 1 sample. How
# long is a step after the first pool, and how long after the second?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Start with a field of 1 sample and a step of 1. Go through the five layers, and add `(k - 1) * step` for each, pools
# too: a pool of `p` reads `p` places. After a pool, multiply the step by `pool`.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Work in samples up to the end, and divide by `rate` once. More samples in a second make the same field shorter.
#
# </details>


# %% nbgrader={"grade_id": "q1-seconds", "solution": true}
def field_seconds(kernel, pool, rate):
    """Return how many seconds LeNet-5 in one dimension sees, at rate samples a second."""
    ### BEGIN SOLUTION
    size, step = 1, 1
    for width, stride in [(kernel, 1), (pool, pool), (kernel, 1), (pool, pool), (kernel, 1)]:
        size += (width - 1) * step
        step *= stride
    return size / rate
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-seconds-tests", "points": 2}
def check_seconds(samples, mistake, kernel, pool, rate):
    """Compare one answer of field_seconds with the expected number of samples."""
    given = field_seconds(kernel, pool, rate)
    assert isinstance(given, (int, float)), f"field_seconds returns a number; yours returns a {type(given).__name__}."
    assert abs(given - samples / rate) < 1e-9, (
        f"field_seconds({kernel}, {pool}, {rate}) should be {samples} / {rate} = {samples / rate:.4f} s; "
        f"yours gives {given:.4f}, which is {given * rate:.4g} samples. {mistake}"
    )


check_seconds(
    32,
    "5, 6, 14, 16, 32. 16 samples would mean that layer 5 is missing, 29 that the pools gave a stride but did not "
    "themselves read further, 15 that the stride was left out, 31 that steps were counted instead of samples. If the "
    "samples are far too many, was the field divided by the rate?",
    5,
    2,
    120,
)
check_seconds(32, "Three times as many samples a second: the same 32 samples last a third of the time.", 5, 2, 360)
check_seconds(13, "A pool of 1 changes nothing. Three kernels of 5 are left, which see 5, 9 and 13 samples.", 5, 1, 100)
check_seconds(
    18,
    "3, 4, 8, 10, 18. Layer 5 reads three places now, too; 26 would mean that it still reads five. The formula of "
    "chapter 04, 5 p² + 4 p + 4, is for kernels of 5; it gives 32.",
    3,
    2,
    100,
)
check_seconds(
    100,
    "5, 8, 24, 36, 100. Behind the second pool a step is 4 × 4 samples long. 52 would mean that it was 4.",
    5,
    4,
    120,
)
### BEGIN HIDDEN TESTS
for hidden_kernel in range(1, 10):
    for hidden_pool in range(1, 7):
        # Every sample that the output sees, layer by layer, from the output back to the signal.
        hidden_seen = {0}
        for hidden_layer in "kpkpk":
            hidden_width = hidden_kernel if hidden_layer == "k" else hidden_pool
            hidden_stride = 1 if hidden_layer == "k" else hidden_pool
            hidden_seen = {place * hidden_stride + step for place in hidden_seen for step in range(hidden_width)}
        for hidden_rate in (50, 128, 250, 500):
            check_seconds(
                max(hidden_seen) + 1, "Listing every sample gives this.", hidden_kernel, hidden_pool, hidden_rate
            )
### END HIDDEN TESTS

# %% [markdown]
# **b)** How large must the pools be, so that the network sees a whole heartbeat?
#
# Write `pool_for(beats_per_minute, kernel, rate)`. It returns the smallest pool, an integer of at least 1, with which
# the field of the same network is at least as long as one heartbeat. A heartbeat lasts from one spike to the next, so
# at 60 beats a minute it lasts one second. A field that is exactly as long is long enough.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# How many seconds does a heartbeat last at 75 beats a minute? It is less than one second.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# You need not solve an equation. Try a pool of 1, then of 2, and so on, and stop at the first one that is enough.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Write the five steps of part a) as one formula in samples: the two kernels and the two pools, and layer 5 with steps
# of `pool * pool`. A `while` loop makes `pool` larger as long as the field is *shorter* than the heartbeat.
#
# </details>


# %% nbgrader={"grade_id": "q1-pool", "solution": true}
def pool_for(beats_per_minute, kernel, rate):
    """Return the smallest pool with which LeNet-5 in one dimension sees a whole heartbeat."""
    ### BEGIN SOLUTION
    pool = 1
    while (kernel * pool**2 + (kernel - 1) * pool + kernel - 1) / rate < 60 / beats_per_minute:
        pool += 1
    return pool
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-pool-tests", "points": 2}
def check_pool(expected, mistake, beats_per_minute, kernel, rate):
    """Compare one answer of pool_for with the expected one."""
    given = pool_for(beats_per_minute, kernel, rate)
    assert given == expected, (
        f"pool_for({beats_per_minute}, {kernel}, {rate}) should be {expected}; yours gives {given}. {mistake}"
    )
    assert int(given) == given and not isinstance(given, float), (
        f"A pool is a whole number of samples, an integer; yours is the {type(given).__name__} {given}."
    )


check_pool(
    4,
    "The heartbeat lasts 60 / 75 = 0.8 s, which are 96 samples. Pools of 3 see 61 samples, pools of 4 see 100. 3 would "
    "mean the largest pool that is too short, 6 that 75 / 60 was taken, 43 that 75 were taken for seconds.",
    75,
    5,
    120,
)
check_pool(8, "At 360 samples a second 0.8 s are 288 samples. Pools of 7 see 277, pools of 8 see 356.", 75, 5, 360)
check_pool(
    2,
    "One second at 32 samples a second: 32 samples, and pools of 2 see exactly 32. That is enough. 3 would mean that "
    "the field had to be longer.",
    60,
    5,
    32,
)
check_pool(1, "A third of a second, 10 samples. Without pooling the kernels see 13. No pool is below 1.", 180, 5, 30)
check_pool(
    8, "Kernels of 3, and 1.5 s or 180 samples. Pools of 7 see 163, pools of 8 see 210. Is 5 still in it?", 40, 3, 120
)
### BEGIN HIDDEN TESTS
import random

check_pool(2, "Half a second at 64 samples a second: exactly 32 samples.", 120, 5, 64)
check_pool(3, "The heartbeat has 34.9 samples. Pools of 3 see 27 + 6 + 2.", 110, 3, 64)
hidden_random = random.Random(60)
for _ in range(200):
    hidden_beats = hidden_random.randint(30, 220)
    hidden_kernel = hidden_random.randint(2, 11)
    hidden_rate = hidden_random.choice([30, 100, 120, 125, 128, 250, 360, 500])
    hidden_fields = []
    for hidden_pool in range(1, 60):
        hidden_places = (hidden_kernel - 1) * hidden_pool + hidden_pool  # of the second convolution, under layer 5
        hidden_places = (hidden_places - 1 + hidden_kernel) * hidden_pool
        hidden_fields.append(hidden_places + hidden_kernel - 1)
    # Exact in whole numbers. A field that is just as long could fall to either side in fractions: it is left out here.
    if any(field * hidden_beats == 60 * hidden_rate for field in hidden_fields):
        continue
    check_pool(
        1 + sum(field * hidden_beats < 60 * hidden_rate for field in hidden_fields),
        "Trying one pool after the other gives this.",
        hidden_beats,
        hidden_kernel,
        hidden_rate,
    )
### END HIDDEN TESTS

# %% [markdown]
# To think about, without points: a smartwatch has a cheaper chip and 30 samples a second. The network sees more seconds
# for nothing. What does it lose?

# %% [markdown]
# ## Question 2: windows without a loop
#
# A network reads windows of one length. The window of a beat at sample `centre` begins `before` samples earlier, so its
# first sample is `centre - before`. It has `before + after` samples, so its last one is `centre + after - 1`.
#
# **a)** Near the ends of a record a window may reach beyond the signal. Write `fits(centres, length, before, after)`.
# `centres` is an array of the positions of the beats, and `length` is the number of samples of the signal. Return a
# mask, True for each beat whose window lies wholly within the signal.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A signal of 10 samples has the samples 0 to 9. With `before = 2` and `after = 3`, which is the first centre that is
# allowed, and which the last?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A comparison such as `centres >= 5` compares each number of the array and gives a mask. `&` joins two masks: True
# where both are. Put each comparison in brackets: `(a >= 1) & (a <= 2)`.
#
# </details>


# %% nbgrader={"grade_id": "q2-fits", "solution": true}
def fits(centres, length, before, after):
    """Return a mask (beats,): True where the window around a centre lies within a signal of this length."""
    ### BEGIN SOLUTION
    return (centres - before >= 0) & (centres + after <= length)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-fits-tests", "points": 1}
def check_fits(expected, mistake, centres, length, before, after):
    """Compare one answer of fits with the expected one."""
    given = np.asarray(fits(np.array(centres, int), length, before, after))
    expected = np.array(expected, bool)
    called = f"fits({centres}, {length}, {before}, {after})"
    assert given.shape == expected.shape and (given.dtype == bool or not centres), (
        f"{called} should be a mask of True and False with shape {expected.shape}, one for each beat; yours has the "
        f"type {given.dtype} and shape {given.shape}."
    )
    assert np.array_equal(given, expected), (
        f"{called} should be {expected.tolist()}; yours gives {given.tolist()}. {mistake}"
    )


check_fits(
    [False, True, True],
    "The window of centre 1 would begin at sample -1, that of centre 2 begins at sample 0. Sample 0 is there.",
    [1, 2, 5],
    10,
    2,
    3,
)
check_fits(
    [True, True, False],
    "The window of centre 7 has the samples 5 to 9, and 9 is the last of the signal, so it fits. That of centre 8 "
    "would need sample 10.",
    [6, 7, 8],
    10,
    2,
    3,
)
check_fits(
    [False, True, False],
    "The signal has 5 samples, and so has the window. It fits in one place only.",
    [1, 2, 3],
    5,
    2,
    3,
)
check_fits([True, True], "A window without samples before its centre may begin at sample 0.", [0, 3], 4, 0, 1)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(41)
check_fits([], "A record without beats.", [], 20, 4, 4)
for _ in range(60):
    hidden_length, hidden_before, hidden_after = hidden_random.integers([1, 0, 1], [40, 9, 9]).tolist()
    hidden_centres = hidden_random.integers(hidden_length, size=12).tolist()
    hidden_samples = set(range(hidden_length))
    check_fits(
        [hidden_samples.issuperset(range(one - hidden_before, one + hidden_after)) for one in hidden_centres],
        "Listing the samples of every window gives this.",
        hidden_centres,
        hidden_length,
        hidden_before,
        hidden_after,
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** Write `cut(signal, centres, before, after)`. It cuts all windows in one step, and it says which beats got none.
# Return two arrays, `(windows, left_out)`:
#
# - `windows` has shape (beats that fit, `before + after`), in the order of `centres`.
# - `left_out` has the *numbers* of the beats whose window would leave the signal. The first beat in `centres` has
#   number 0. It is an array of integers, and it is empty if all windows fit. So whoever calls `cut` can count what was
#   lost.
#
# No loop: no `for`, no `while`, no comprehension, no `map`, no `np.vectorize`. NumPy can take many samples at once: if
# `numbers` is an array of sample numbers, of any shape, then `signal[numbers]` has the same shape.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write down the sample numbers of two windows, one below the other. What do you add to the first number of a row to get
# the others? It is the same in every row.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.arange(before + after)` has the numbers 0, 1, 2 and so on. A column of shape (n, 1) plus a row of shape (m,) is a
# table of shape (n, m). `first[:, np.newaxis]` makes a column of `first`.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Choose the beats that fit with a mask, *before* you make the table. NumPy takes -1 for the last sample and would not
# complain. `np.flatnonzero(mask)` gives the numbers of all places where a mask is True.
#
# </details>


# %% nbgrader={"grade_id": "q2-cut", "solution": true}
def cut(signal, centres, before, after):
    """Return the windows around the centres, (kept, before + after), and the numbers of the beats without a window."""
    ### BEGIN SOLUTION
    first = centres - before
    inside = (first >= 0) & (centres + after <= len(signal))
    numbers = first[inside, np.newaxis] + np.arange(before + after)
    return signal[numbers], np.flatnonzero(~inside)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-cut-tests", "points": 3}
import dis

import numpy as np


def loops_in(code):
    """Return what in compiled code goes through things one by one."""
    found = {"a loop" for step in dis.get_instructions(code) if step.opname == "FOR_ITER" or "BACKWARD" in step.opname}
    found |= {name for name in code.co_names if name in ("map", "vectorize", "apply_along_axis", "fromiter")}
    return found.union(*(loops_in(part) for part in code.co_consts if hasattr(part, "co_code")))


def check_cut(expected_windows, expected_left_out, mistake, signal, centres, before, after):
    """Compare one answer of cut with the expected one."""
    signal = np.array(signal, float)
    called = f"A signal of {len(signal)} samples, centres {list(centres)}, before {before}, after {after}"
    given = cut(signal.copy(), np.array(centres, int), before, after)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        "cut returns two arrays, the windows and the numbers of the beats that were left out; yours returns "
        f"{type(given).__name__}."
    )
    windows, left_out = np.asarray(given[0]), np.asarray(given[1])
    expected_windows = np.array(expected_windows, float).reshape(-1, before + after)
    assert windows.shape == expected_windows.shape, (
        f"{called}: windows should have shape {expected_windows.shape}; yours have shape {windows.shape}. {mistake}"
    )
    assert np.array_equal(windows, expected_windows), (
        f"{called}: expected windows\n{expected_windows}\ngot\n{windows}\n{mistake}"
    )
    assert left_out.tolist() == list(expected_left_out), (
        f"{called}: the numbers of the beats left out should be {list(expected_left_out)}; yours are "
        f"{left_out.tolist()}. Not their positions, not a mask, and not the beats that were kept. "
        "If your list is inside another one, it comes from np.where: take [0] of that, or use np.flatnonzero."
    )


check_cut(
    [[13, 14, 15, 16, 17], [12, 13, 14, 15, 16]],
    [],
    "Two samples before the centre, then the centre and two after it. Here the sample with number n has the value "
    "10 + n. If all values are larger by 1, the window begins one sample too late.",
    np.arange(10, 20),
    [5, 4],
    2,
    3,
)
check_cut(
    [[10, 11, 12, 13, 14], [15, 16, 17, 18, 19]],
    [0, 3],
    "Beats 1 and 2 just fit. Beat 0 would need sample -1 and beat 3 sample 10. Three windows mean that beat 0 took "
    "samples from the other end, four that values were repeated at the ends, one that a beat that just fits was lost.",
    np.arange(10, 20),
    [1, 2, 7, 8],
    2,
    3,
)
check_cut([], [0, 1], "No window fits: a table of no rows, and of 4 columns.", [3, 1, 4, 1, 5], [0, 4], 2, 2)
looping = loops_in(cut.__code__)
assert not looping, (
    f"The windows are right, but cut has {', '.join(sorted(looping))} in it. Make one table of sample numbers, and "
    "take signal[table]."
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(42)
for hidden_case in range(40):
    hidden_signal = hidden_random.normal(size=hidden_random.integers(20, 80))
    hidden_before, hidden_after = hidden_random.integers([0, 1], [8, 12]).tolist()
    hidden_centres = hidden_random.integers(len(hidden_signal), size=15 if hidden_case else 0).tolist()
    hidden_windows, hidden_lost = [], []
    for hidden_number, hidden_centre in enumerate(hidden_centres):
        hidden_window = list(range(hidden_centre - hidden_before, hidden_centre + hidden_after))
        if hidden_window[0] < 0 or hidden_window[-1] >= len(hidden_signal):
            hidden_lost.append(hidden_number)
        else:
            hidden_windows.append([hidden_signal[sample] for sample in hidden_window])
    check_cut(
        hidden_windows,
        hidden_lost,
        "A loop over beats gives this.",
        hidden_signal,
        hidden_centres,
        hidden_before,
        hidden_after,
    )
### END HIDDEN TESTS

# %% [markdown]
# ## Question 3: more than one number
#
# A program gives a class to each beat. Two questions are asked of each class:
#
# - **Sensitivity**: of the beats of this class, which share was given this class?
# - **Positive predictive value**, +P: of the beats that were given this class, which share was of this class?
#
# Their harmonic mean is **F1**. For a class, let *right* be the number of beats of this class that were given it. Then
# F1 is 2 × *right*, divided by the number of beats of this class plus the number of beats that were given it.
#
# **a)** Write `scores(labels, predictions, classes)`. `labels` and `predictions` are arrays with the true and the given
# class of each beat, integers from 0 to `classes - 1`. Return three arrays `(sensitivity, predictive_value, f1)`, each
# with one number for each class.
#
# Where there is nothing to divide by, nothing can be said: put `np.nan` there, not a number.
#
# - If no beat is of a class, nobody can say how many of them would have been found.
# - If no beat was given a class, nobody can say how many of these alarms would have been right.
# - F1 is unknown only where *both* is the case. If there were beats of a class and all were missed, its F1 is 0.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# You need three counts for each class: how many beats are of it, how many were given it, and how many both. For one
# class, `np.sum(labels == number)` is the first of them.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A loop over the classes is fine. Start with three arrays full of NaN, `np.full(classes, np.nan)`, and fill in a share
# only if its divisor is not 0.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Take F1 from the counts, as the text above says, and not from the other two shares. One of these may be NaN, or both
# may be 0, and F1 still has a value.
#
# </details>


# %% nbgrader={"grade_id": "q3-scores", "solution": true}
def scores(labels, predictions, classes):
    """Return sensitivity, predictive value and F1, three arrays (classes,); NaN where nothing can be said."""
    ### BEGIN SOLUTION
    sensitivity, predictive_value, f1 = (np.full(classes, np.nan) for _ in range(3))
    for number in range(classes):
        true = np.sum(labels == number)
        alarms = np.sum(predictions == number)
        right = np.sum((labels == number) & (predictions == number))
        if true > 0:
            sensitivity[number] = right / true
        if alarms > 0:
            predictive_value[number] = right / alarms
        if true + alarms > 0:
            f1[number] = 2 * right / (true + alarms)
    return sensitivity, predictive_value, f1
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-scores-tests", "points": 3}
import numpy as np


def check_scores(expected, mistake, pairs, classes):
    """Compare one answer of scores with the expected one; pairs says how often each (label, prediction) occurs."""
    labels, predictions = (np.repeat([pair[side] for pair in pairs], list(pairs.values())) for side in (0, 1))
    given = scores(labels, predictions, classes)
    assert len(given) == 3 and all(np.shape(part) == (classes,) for part in given), (
        f"scores returns three arrays with {classes} numbers each, one for each class; yours have the shapes "
        f"{[np.shape(part) for part in given]}."
    )
    told = "; ".join(f"{count} of class {true} given {answer}" for (true, answer), count in pairs.items())
    for name, right, yours in zip(("sensitivity", "predictive value", "F1"), expected, given, strict=True):
        right, yours = np.array(right, float), np.asarray(yours, float)
        assert np.allclose(right, yours, rtol=0, atol=1e-9, equal_nan=True), (
            f"{told}. The {name} of the {classes} classes should be {right.round(4)}; yours is {yours.round(4)}. "
            f"{mistake}"
        )


check_scores(
    ([0.9, 0.75], [90 / 95, 0.6], [180 / 195, 30 / 45]),
    "These are the numbers of chapter 04. For class 1, 15 of the 20 beats were found, and 15 of its 25 alarms were "
    "right. If the two are swapped, labels and predictions were. An F1 of 0.675 is the plain mean of the two.",
    {(0, 0): 90, (0, 1): 10, (1, 0): 5, (1, 1): 15},
    2,
)
check_scores(
    ([1, 0, np.nan], [0.8, np.nan, np.nan], [16 / 18, 0, np.nan]),
    "A program that always answers 0. No beat was given class 1, so its predictive value is unknown. Two beats of it "
    "were missed, so its sensitivity and its F1 are 0. Class 2 does not occur at all and was never given. Nothing can "
    "be said of it, and that is NaN, not 0.",
    {(0, 0): 8, (1, 0): 2},
    3,
)
check_scores(
    ([0.5, np.nan], [1, 0], [2 / 3, 0]),
    "No beat is of class 1, but four were given it. Nothing could be found, and all four alarms were wrong.",
    {(0, 0): 4, (0, 1): 4},
    2,
)
check_scores(
    ([0.5, 0, 0], [0.5, 0, 0], [0.5, 0, 0]),
    "Classes 1 and 2 were taken for each other. Both shares are 0, and F1 is 0, too. NaN would mean that it was taken "
    "from the shares, as 0 / 0.",
    {(0, 0): 2, (0, 1): 2, (1, 2): 3, (2, 1): 1, (1, 0): 2},
    3,
)
### BEGIN HIDDEN TESTS
check_scores(([np.nan] * 4,) * 3, "No beats at all.", {(0, 0): 0}, 4)
hidden_random = np.random.default_rng(43)
for _ in range(40):
    hidden_classes = int(hidden_random.integers(2, 7))
    hidden_table = hidden_random.integers(1, 9, size=(hidden_classes, hidden_classes))
    hidden_table *= hidden_random.random(hidden_table.shape) < 0.35
    hidden_expected = [[], [], []]
    for hidden_number in range(hidden_classes):
        hidden_true = int(hidden_table[hidden_number].sum())
        hidden_alarms = int(hidden_table[:, hidden_number].sum())
        hidden_right = int(hidden_table[hidden_number, hidden_number])
        for hidden_part, hidden_top, hidden_bottom in zip(
            hidden_expected,
            (hidden_right, hidden_right, 2 * hidden_right),
            (hidden_true, hidden_alarms, hidden_true + hidden_alarms),
            strict=True,
        ):
            hidden_part.append(hidden_top / hidden_bottom if hidden_bottom else np.nan)
    check_scores(
        hidden_expected,
        "Counting the pairs gives this.",
        {(int(row), int(column)): int(count) for (row, column), count in np.ndenumerate(hidden_table)},
        hidden_classes,
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** Suppose that a program looks at no beat at all and always answers the most frequent class. How good does it
# look?
#
# Write `always_the_same(counts)`. `counts` is a list with the number of beats of each class. Return two numbers for
# this program, `(accuracy, mean_sensitivity)`:
#
# - the accuracy is the share of all beats that get the right answer;
# - the mean sensitivity is the mean over those classes that have at least one beat. Each class counts once, however
#   many beats it has.
#
# Try it on paper for the test half of MIT-BIH. De Chazal, O'Dwyer and Reilly (2004) count there 44,259 beats of class
# N, 1,837 of S, 3,221 of V, 388 of F and 7 of Q.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Which beats get the right answer? All beats of one class, and no other.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# So one class has a sensitivity of 1, and all others that occur have 0. What is the mean of these numbers?
#
# </details>


# %% nbgrader={"grade_id": "q3-always", "solution": true}
def always_the_same(counts):
    """Return accuracy and mean sensitivity of a program that always answers the most frequent class."""
    ### BEGIN SOLUTION
    occurring = [count for count in counts if count > 0]
    return max(occurring) / sum(occurring), 1 / len(occurring)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-always-tests", "points": 1}
def check_always(expected, mistake, counts):
    """Compare one answer of always_the_same with the expected one."""
    given = always_the_same(list(counts))
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"always_the_same returns two numbers, the accuracy and the mean sensitivity; yours returns {given}."
    )
    assert all(abs(right - yours) < 1e-9 for right, yours in zip(expected, given, strict=True)), (
        f"always_the_same({counts}) should be ({expected[0]:.4f}, {expected[1]:.4f}); yours gives "
        f"({given[0]:.4f}, {given[1]:.4f}). {mistake}"
    )


check_always((0.9, 0.5), "90 of 100 are right. One class is found wholly, the other not at all.", [90, 10])
check_always(
    (44259 / 49712, 0.2),
    "This is the test half of MIT-BIH. Nearly nine in ten answers are right, and four classes of five are never found.",
    [44259, 1837, 3221, 388, 7],
)
check_always(
    (0.6, 1 / 3),
    "The most frequent class is the last one here. The second class has no beats, so the mean is over three classes. "
    "0.25 would mean that it counted as a class that was missed.",
    [3, 0, 1, 6],
)
### BEGIN HIDDEN TESTS
import random

check_always((1.0, 1.0), "One class only: the program is always right.", [0, 12, 0])
check_always((0.25, 0.25), "Four classes with as many beats each.", [5, 5, 5, 5])
hidden_random = random.Random(2004)
for _ in range(30):
    hidden_counts = [hidden_random.randint(0, 30) for _ in range(hidden_random.randint(2, 7))] + [1]
    hidden_order = sorted(hidden_counts)
    check_always(
        (hidden_order[-1] / sum(hidden_order), 1 / sum(count > 0 for count in hidden_order)),
        "Counting gives this.",
        hidden_counts,
    )
### END HIDDEN TESTS

# %% [markdown]
# To think about, without points: a program finds every one of the 7 beats of class Q by chance, and nothing else. What
# is its mean sensitivity? Would you trust a mean of which a fifth hangs on 7 beats?

# %% [markdown]
# ## Question 4: the rhythm
#
# The tip of the spike is called R. The time from one R to the next is an **RR interval**. An early beat has a short
# interval before it.
#
# **a)** Write `rr_intervals(positions, patients, rate)`. It returns for each beat the seconds since the beat before it.
#
# - `positions` is an array of integers, the samples of the spikes, and `rate` is the number of samples in a second.
# - `patients` is an array that says for each beat whose it is. The beats of a patient stand together, in order of time.
#   Then come the beats of the next patient, whose positions are counted from the start of that patient's own record.
# - The first beat of each patient has no beat before it. Put `np.nan` there.
#
# The result is an array of floats with one number for each beat.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `np.diff(positions)` gives each position less the one before. It has one number fewer than there are beats. Which beat
# has none?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Start with `np.full(len(positions), np.nan)`, and write the differences, in seconds, from number 1 on.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Some of these differences are between two patients. They need not be negative, so their sign does not tell. Compare
# `patients[1:]` with `patients[:-1]`: where they differ, a new patient begins.
#
# </details>


# %% nbgrader={"grade_id": "q4-intervals", "solution": true}
def rr_intervals(positions, patients, rate):
    """Return the seconds from the beat before to each beat, (beats,); NaN for the first beat of each patient."""
    ### BEGIN SOLUTION
    intervals = np.full(len(positions), np.nan)
    intervals[1:] = np.diff(positions) / rate
    intervals[1:][patients[1:] != patients[:-1]] = np.nan
    return intervals
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-intervals-tests", "points": 2}
import numpy as np


def check_intervals(expected, mistake, positions, patients, rate):
    """Compare one answer of rr_intervals with the expected one."""
    given = np.asarray(rr_intervals(np.array(positions, int), np.array(patients, "U8"), rate), float)
    expected = np.array(expected, float)
    called = f"rr_intervals({positions}, {patients}, {rate})"
    assert given.shape == expected.shape, (
        f"{called} should have shape {expected.shape}, one number for each beat; yours has shape {given.shape}."
    )
    assert np.allclose(given, expected, rtol=0, atol=1e-9, equal_nan=True), (
        f"{called} should be {expected.round(4).tolist()}; yours gives {given.round(4).tolist()}. {mistake}"
    )


check_intervals(
    [np.nan, 1.0, 0.5, 1.5],
    "Seconds since the beat before. If all numbers stand one place too early, it is the time to the beat after, which "
    "a monitor does not know yet. 360, 180 and 540 are samples.",
    [100, 460, 640, 1180],
    ["a", "a", "a", "a"],
    360,
)
check_intervals(
    [np.nan, 0.8, np.nan, 1.0, 1.0],
    "Beat 2 is the first of patient b. A number there is the difference between two people.",
    [50, 130, 20, 120, 220],
    ["a", "a", "b", "b", "b"],
    100,
)
check_intervals(
    [np.nan, 0.8, np.nan, 0.9],
    "Here the second record begins at a larger position than the first one ended. 0.7 s looks like an interval, and is "
    "none.",
    [50, 130, 200, 290],
    ["a", "a", "b", "b"],
    100,
)
check_intervals([np.nan, np.nan, 2.0], "A patient with a single beat.", [10, 30, 230], ["a", "b", "b"], 100)
### BEGIN HIDDEN TESTS
check_intervals([np.nan], "A single beat has none before it, so its interval is NaN.", [77], ["p"], 250)
hidden_random = np.random.default_rng(44)
for _ in range(30):
    hidden_positions, hidden_patients, hidden_expected = [], [], []
    hidden_rate = int(hidden_random.choice([120, 250, 360]))
    for hidden_name in hidden_random.permutation(["100", "p9", "x", "b12"]):
        hidden_now = int(hidden_random.integers(0, 3000))
        for hidden_number in range(int(hidden_random.integers(1, 6))):
            hidden_gap = int(hidden_random.integers(60, 500))
            hidden_now += hidden_gap
            hidden_positions.append(hidden_now)
            hidden_patients.append(str(hidden_name))
            hidden_expected.append(hidden_gap / hidden_rate if hidden_number else np.nan)
    check_intervals(
        hidden_expected, "One patient at a time gives this.", hidden_positions, hidden_patients, hidden_rate
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** Some hearts beat fast and some slowly. So divide each interval by what was usual just before it.
#
# Write `rr_ratios(intervals, count=10)` for *one* patient. `intervals` is an array with an interval for each beat, NaN
# for the first. Return an array of ratios, one for each beat:
#
# - the interval of the beat, divided by the median of the last `count` intervals *before* that one. The beat's own
#   interval is not among them, and nothing that comes later is, since a monitor cannot look into the future.
# - Near the start there are fewer than `count` earlier intervals: take those that there are.
# - The first beat has no interval, and the second has no interval before its own. Nothing speaks against an even pulse
#   there: put 1.0. So no NaN is left.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write down which intervals count for beat 4, if `count` is 2. They are those of beats 2 and 3. And for beat 2? Only
# that of beat 1, since beat 0 has none.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A loop over the beats is fine here. Start with `np.ones(len(intervals))`. Which is the first beat whose ratio has to
# be worked out?
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `intervals[start:number]` ends before `number`. The start is `number - count`, but never below 1: number 0 is the NaN,
# and one NaN makes the whole median NaN.
#
# </details>


# %% nbgrader={"grade_id": "q4-ratios", "solution": true}
def rr_ratios(intervals, count=10):
    """Return each interval over the median of the last count intervals before it, (beats,); 1 where that is unknown."""
    ### BEGIN SOLUTION
    ratios = np.ones(len(intervals))
    for number in range(2, len(intervals)):
        earlier = intervals[max(1, number - count) : number]
        ratios[number] = intervals[number] / np.median(earlier)
    return ratios
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-ratios-tests", "points": 2}
import numpy as np


def check_ratios(expected, mistake, intervals, **keywords):
    """Compare one answer of rr_ratios with the expected one."""
    original = np.array([np.nan, *intervals])
    given = np.asarray(rr_ratios(original.copy(), **keywords), float)
    expected = np.array(expected, float)
    called = f"rr_ratios([nan, {', '.join(map(str, intervals))}], {keywords.get('count', 10)})"
    assert given.shape == expected.shape, (
        f"{called} should have shape {expected.shape}, one ratio for each beat, the first one too; yours has shape "
        f"{given.shape}."
    )
    assert not np.isnan(given).any(), (
        f"{called} should have no NaN; yours gives {given.round(4).tolist()}. The first two beats get 1.0, and the NaN "
        "of the first beat must not get into a median."
    )
    assert np.allclose(given, expected, rtol=0, atol=1e-9), (
        f"{called} should be {expected.round(4).tolist()}; yours gives {given.round(4).tolist()}. {mistake}"
    )


check_ratios([1, 1, 1, 1], "An even pulse, so every ratio is 1.", [0.8, 0.8, 0.8])
check_ratios(
    [1, 1, 1, 0.5, 1.5, 1],
    "An early beat, and a pause after it. The median of 1.0, 1.0 and 0.5 is 1.0. 1.8 for the pause would mean that "
    "their mean was taken, 3 that only the last interval was looked at. 1 for the early beat would mean that nothing "
    "was done before ten earlier intervals were there.",
    [1.0, 1.0, 0.5, 1.5, 1.0],
)
check_ratios(
    [1, 1, 2, 2 / 3],
    "Beat 2 has one earlier interval, 0.5. Beat 3 has two, 0.5 and 1.0, and their median is 0.75. 1.33 for beat 2 "
    "would mean that its own interval was among them. 1 for beat 3 would mean that the whole record was taken.",
    [0.5, 1.0, 0.5],
)
check_ratios(
    [1, 1, 2, 2, 1],
    "The heart slows down. With a count of 1 each interval is divided by the one before it alone.",
    [0.25, 0.5, 1.0, 1.0],
    count=1,
)
check_ratios(
    [1, 1, 1, 4, 4, 1, 1],
    "With a count of 3, beat 5 looks at beats 2 to 4, and their median is 1.0. Beat 4 looks at 0.25, 0.25 and 1.0; "
    "their median is 0.25. With the mean the ratio would be 2.",
    [0.25, 0.25, 1.0, 1.0, 1.0, 1.0],
    count=3,
)
long_record = [0.8, 0.9, 0.7, 0.8, 1.2, 0.8, 0.6, 0.9, 0.8]
whole, start = (np.asarray(rr_ratios(np.array([np.nan, *part]))) for part in (long_record, long_record[:5]))
assert np.allclose(whole[:6], start, equal_nan=True), (
    f"The ratios of the first six beats are {start.round(4).tolist()} when the record ends there, and "
    f"{whole[:6].round(4).tolist()} when it goes on. Something looks into the future."
)
### BEGIN HIDDEN TESTS
import statistics

check_ratios([1], "A single beat.", [])
check_ratios([1, 1], "Two beats.", [0.6])
hidden_random = np.random.default_rng(45)
for hidden_count in (1, 2, 4, 5, 10, 10, 10):
    hidden_intervals = hidden_random.uniform(0.4, 1.6, size=25).round(3).tolist()
    hidden_expected = [1.0, 1.0]
    for hidden_number in range(1, 25):
        hidden_usual = statistics.median(hidden_intervals[:hidden_number][-hidden_count:])
        hidden_expected.append(hidden_intervals[hidden_number] / hidden_usual)
    check_ratios(hidden_expected, "One beat at a time gives this.", hidden_intervals, count=hidden_count)
    if hidden_count == 10:
        check_ratios(hidden_expected, "The count is 10 if nothing else is said.", hidden_intervals)
### END HIDDEN TESTS

# %% [markdown]
# See what it is worth. The next cell takes the synthesised records and prints, for each of four patients, the median
# ratio of the normal, the early (A) and the ventricular (V) beats. Before you run it, guess: does the rhythm alone tell
# A from N? And A from V?

# %%
from course_lib.datasets.heartbeats import SAMPLING_RATE, load_heartbeats

people = load_heartbeats(source="sample")
print("record      N      A      V")
for record in [record for record in (*people.train, *people.test) if record.name in ("p05", "p08", "p15", "p16")]:
    ratios = rr_ratios(rr_intervals(record.positions, np.full(len(record.positions), record.name), SAMPLING_RATE))
    medians = (np.median(ratios[record.symbols == symbol]) for symbol in "NAV")
    print(f"{record.name:6s}" + "".join(f"{value:7.2f}" for value in medians))

# %% [markdown]
# To think about, without points: `rhythm` in the library also gives the interval *after* a beat, over the usual one. A
# monitor that wants to know it has to wait. For how long?

# %% [markdown]
# ## Question 5: whose beats are in the test?
#
# Chapter 04 splits beats in two ways: at random, and by patients. Here you write both, and measure how much the random
# split flatters.
#
# **a)** Write `split_by_patients(patients, count, seed)`. `patients` is an array that says for each beat whose it is.
# Draw `count` patients for the test. Return a mask, True for each beat of these patients and False for all others.
#
# - All beats of a patient fall on the same side. The beats of a patient need not stand together in the array.
# - Patients are drawn at random, each with the same chance, whether they have many beats or few.
# - Use `np.random.default_rng(seed)`, so that the same seed gives the same split and another seed another one.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# First find out who is there: `np.unique(patients)` has each name once. Draw from these names, not from the beats.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.random.default_rng(seed)` is a generator of random numbers. `generator.permutation(names)` shuffles the names, and
# the first `count` of them are drawn.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `np.isin(patients, drawn)` says for each beat whether its patient is among those drawn.
#
# </details>


# %% nbgrader={"grade_id": "q5-split", "solution": true}
def split_by_patients(patients, count, seed):
    """Return a mask (beats,): True for the beats of count patients drawn at random for the test."""
    ### BEGIN SOLUTION
    drawn = np.random.default_rng(seed).permutation(np.unique(patients))[:count]
    return np.isin(patients, drawn)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-split-tests", "points": 2}
import numpy as np


def tested_in(patients, count, seed):
    """Return who is in the test by split_by_patients, after a check that nobody is on both sides."""
    given = np.asarray(split_by_patients(np.array(patients), count, seed))
    assert given.dtype == bool and given.shape == (len(patients),), (
        f"split_by_patients returns a mask of {len(patients)} times True or False, one for each beat; yours has the "
        f"type {given.dtype} and shape {given.shape}."
    )
    inside, outside = ({str(name) for name in np.array(patients)[side]} for side in (given, ~given))
    assert not inside & outside, (
        f"Patients {sorted(inside & outside)} have beats on both sides. Draw names, and let all beats of a name follow."
    )
    assert len(inside) == count, (
        f"{count} of {len(set(patients))} patients should be in the test; yours has {len(inside)}: {sorted(inside)}. "
        "Is True the test? Was a patient drawn twice?"
    )
    return inside


def check_chances(patients, count):
    """Check over 300 seeds that each patient is in the test about as often as the others."""
    drawn = [tested_in(patients, count, seed) for seed in range(300)]
    expected = 300 * count / len(set(patients))
    for name in sorted(set(patients)):
        times = sum(name in inside for inside in drawn)
        assert abs(times - expected) < 50, (
            f"With 300 seeds, patient {name} was in the test {times} times. About {expected:.0f} are expected, since "
            f"each of {len(set(patients))} patients has the same chance. 0 and 300 mean that the seed changes nothing. "
            "If patients with many beats come too often, beats were drawn instead of names."
        )


together, mixed = ["ann"] * 4 + ["bob"] * 2 + ["eve"] * 3 + ["joe"], ["ann", "bob", "ann", "eve", "bob", "joe", "ann"]
for seed in range(5):
    tested_in(together, 1, seed)
    tested_in(mixed, 3, seed)
assert [tested_in(mixed, 2, seed) for seed in range(9)] == [tested_in(mixed, 2, seed) for seed in range(9)], (
    "The same call gave two different splits. Draw with np.random.default_rng(seed), not with np.random itself."
)
check_chances(mixed, 2)
check_chances(["many"] * 60 + ["few", "two", "two"], 1)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(46)
for hidden_number in range(2, 9):
    hidden_names = [f"p{hidden_index:02}" for hidden_index in range(hidden_number)]
    hidden_beats = hidden_random.permutation(hidden_names * 3 + hidden_names[:1] * 20).tolist()
    for hidden_count in range(1, hidden_number):
        tested_in(hidden_beats, hidden_count, hidden_number)
    check_chances(hidden_beats, 1)
### END HIDDEN TESTS

# %% [markdown]
# **b)** Write `measure(classify, windows, labels, asked, seed)`. It tests a classifier in both ways and returns two
# accuracies, `(by_beats, by_patients)`.
#
# - `windows` has one row for each beat, and `labels` has its class.
# - `asked` is the mask of a split by patients: True for the beats of the test. All other beats are for training.
# - `classify(learned_windows, learned_labels, asked_windows)` learns from the first two, and returns the classes that
#   it gives to `asked_windows`.
# - `by_patients` is the accuracy on the beats of the mask: the share of the answers that equal the labels.
# - `by_beats` is the accuracy with a random split of beats. Draw *as many* beats for the test as the mask has, at
#   random out of all, and train on all others. Use `np.random.default_rng(seed)`.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write a small function inside yours that takes any mask and returns the accuracy. Then call it with two masks.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `windows[~mask]` and `labels[~mask]` are for training, `windows[mask]` is asked, and the answers are compared with
# `labels[mask]`. The labels of the test must not get into `classify`.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# A shuffled mask has as many True as before, and they stand at random places.
# `np.random.default_rng(seed).permutation(asked)` shuffles it.
#
# </details>


# %% nbgrader={"grade_id": "q5-measure", "solution": true}
def measure(classify, windows, labels, asked, seed):
    """Return the accuracies (by_beats, by_patients): a random split of beats, and the given split by patients."""
    ### BEGIN SOLUTION

    def accuracy(mask):
        answers = classify(windows[~mask], labels[~mask], windows[mask])
        return float(np.mean(answers == labels[mask]))

    return accuracy(np.random.default_rng(seed).permutation(asked)), accuracy(asked)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-measure-tests", "points": 2}
import numpy as np


def siblings(patients, beats):
    """Return made-up beats: all of a patient are nearly alike, and patients that are alike have another class."""
    whose = np.repeat(np.arange(patients), beats)
    windows = np.stack([10.0 * whose, np.arange(len(whose)), np.ones(len(whose))], axis=1)
    windows[:, 1] *= 1e-6  # so that each beat differs a little
    return whose, windows, whose % 2


def most_similar(learned_windows, learned_labels, asked_windows):
    """Answer with the class of the most similar training beat."""
    distances = ((asked_windows[:, np.newaxis] - learned_windows) ** 2).sum(axis=-1)
    return learned_labels[distances.argmin(axis=1)]


def splits_of(windows, labels, asked, seed):
    """Run measure with a classifier that writes down what it gets; return the result and the tested beats."""
    numbers, tests = {tuple(window): number for number, window in enumerate(windows.tolist())}, []

    def spy(learned_windows, learned_labels, asked_windows):
        learned = [numbers[tuple(window)] for window in np.asarray(learned_windows).tolist()]
        tested = [numbers[tuple(window)] for window in np.asarray(asked_windows).tolist()]
        assert not set(learned) & set(tested), (
            f"{len(set(learned) & set(tested))} beats of the test were also used for training. Train on all others."
        )
        assert len(set(tested)) == len(tested) == asked.sum(), (
            f"The mask has {asked.sum()} beats for the test, so each of the two tests should have as many, none twice; "
            f"yours has {len(tested)}, of which {len(set(tested))} differ."
        )
        assert len(set(learned)) == len(learned) == len(labels) - asked.sum(), (
            f"All {len(labels) - asked.sum()} other beats are for training; yours are {len(set(learned))}."
        )
        assert np.array_equal(learned_labels, labels[learned]), (
            "Windows and labels for training do not match: some windows came with the label of another beat. Shuffle "
            "the mask, and use one mask for both."
        )
        tests.append(tested)
        return most_similar(np.asarray(learned_windows), np.asarray(learned_labels), np.asarray(asked_windows))

    return measure(spy, windows.copy(), labels.copy(), asked.copy(), seed), tests


def check_measure(patients, beats, tested):
    """Check one call of measure on made-up beats."""
    whose, windows, labels = siblings(patients, beats)
    asked = np.isin(whose, tested)
    results, shuffled = [], set()
    for seed in (1, 1, 2):
        result, tests = splits_of(windows, labels, asked, seed)
        assert isinstance(result, (tuple, list)) and len(result) == 2, (
            f"measure returns two accuracies, (by_beats, by_patients); yours returns {result}."
        )
        results.append(result)
        by_mask = [sorted(test) == np.flatnonzero(asked).tolist() for test in tests]
        assert sorted(by_mask) == [False, True], (
            f"classify should be called twice: once with the beats of the mask for the test, and once with a random "
            f"draw. Yours called it {len(tests)} times, {sum(by_mask)} of them with the beats of the mask."
        )
        shuffled.add(tuple(sorted(tests[by_mask.index(False)])))
    assert len(shuffled) == 2, (
        f"Seeds 1, 1 and 2 should give two different random splits; yours gave {len(shuffled)}. Is the seed used?"
    )
    for by_beats, by_patients in results:
        assert (round(by_beats, 6), round(by_patients, 6)) == (1.0, 0.0), (
            f"Expected the accuracies (1.0, 0.0), got ({by_beats:.4g}, {by_patients:.4g}). Each beat has siblings that "
            "are nearly the same, so by beats every answer is right; by patients the most similar patient has another "
            "class. (0.0, 1.0) would mean that the two are swapped."
        )


check_measure(6, 10, [1, 4])
answers_only = measure(
    lambda learned, classes, asked: np.zeros(len(asked), int),
    np.zeros((8, 2)),
    np.array([0, 0, 0, 0, 0, 0, 1, 1]),
    np.array([False] * 4 + [True] * 4),
    seed=5,
)
assert abs(answers_only[1] - 0.5) < 1e-9 and answers_only[0] * 4 in (2, 3, 4), (
    "A classifier that always answers 0 gets 2 of the 4 beats of the mask right, so by_patients is 0.5. With a random "
    f"draw of 4 beats it gets 2, 3 or 4 right. Yours returns {answers_only}. An accuracy is a share, not a count."
)
### BEGIN HIDDEN TESTS
for hidden_patients, hidden_beats, hidden_tested in [(7, 12, [2, 5]), (9, 11, [0, 3, 6]), (5, 20, [3])]:
    check_measure(hidden_patients, hidden_beats, hidden_tested)
hidden_always = []
for hidden_seed in range(20):
    hidden_answer = measure(
        lambda learned, classes, asked: np.full(len(asked), 2),
        np.arange(20.0).reshape(10, 2),
        np.array([2, 2, 2, 1, 0, 2, 2, 2, 1, 2]),
        np.array([True] * 5 + [False] * 5),
        seed=hidden_seed,
    )
    assert abs(hidden_answer[1] - 0.6) < 1e-9, f"Three of five answers are right by patients; got {hidden_answer[1]}."
    hidden_always.append(hidden_answer[0])
assert 0.6 < np.mean(hidden_always) < 0.8, "Over many random draws, seven of ten answers are right."
### END HIDDEN TESTS

# %% [markdown]
# Now the experiment, on the 16 synthesised records. Two classifiers take part. One remembers every training beat and
# answers with the class of the most similar one. The other remembers only the mean beat of each class. Before you run
# the cell, guess: which of the two does the random split flatter more, and why?

# %%
from course_lib.datasets.heartbeats import cut_beats, filtered, load_heartbeats


def nearest(known, asked):
    """Return for each asked window the number of the nearest known one, by squared distance."""
    return ((known**2).sum(axis=1) - 2 * asked @ known.T).argmin(axis=1)


def nearest_neighbour(learned_windows, learned_labels, asked_windows):
    """Answer with the class of the most similar training beat."""
    return learned_labels[nearest(learned_windows, asked_windows)]


def nearest_mean(learned_windows, learned_labels, asked_windows):
    """Answer with the class whose mean training beat is the most similar."""
    classes = np.unique(learned_labels)
    means = np.stack([learned_windows[learned_labels == number].mean(axis=0) for number in classes])
    return classes[nearest(means, asked_windows)]


people = load_heartbeats(source="sample")
beats = cut_beats([filtered(record) for record in (*people.train, *people.test)], before=0.3, after=0.5)
windows = beats.windows[..., 0]
print("mean accuracy of five splits (%)      by beats   by patients (lowest and highest)")
for name, classify in [("nearest neighbour", nearest_neighbour), ("nearest mean", nearest_mean)]:
    pairs = []
    for seed in range(5):
        asked = split_by_patients(beats.patients, 8, seed)
        pairs.append(measure(classify, windows, beats.labels, asked, seed))
    (by_beats, by_patients), each = 100 * np.mean(pairs, axis=0), [100 * pair[1] for pair in pairs]
    print(f"{name:35s}{by_beats:11.1f}{by_patients:14.1f} ({min(each):.1f} and {max(each):.1f})")

# %% [markdown]
# To think about, without points: how many times as many errors does the nearest neighbour make with patients whom it
# has not met? The five splits by patients differ a good deal. What would make their mean surer: more beats of the same
# sixteen people, or more people?
