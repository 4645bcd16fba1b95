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
# # Exercises 10: a monitor for heartbeats
#
# Five questions on chapter 10, 20 points in all. Each question stands on its own, so they can be done in any order.
#
# | question | about | kind | points |
# | --- | --- | --- | --- |
# | 1 | what a small chip has to hold | arithmetic and code | 4 |
# | 2 | alarms by the hour | arithmetic and code | 4 |
# | 3 | a temperature for whole numbers | code | 4 |
# | 4 | what made later networks small | arithmetic and code | 4 |
# | 5 | a loose electrode | code and experiment | 4 |
#
# Write your answers where a cell says `YOUR CODE HERE`, and remove the line that raises `NotImplementedError`. Below
# each answer stands a cell with tests. Run it: silence means that the tests pass, and a message says what was expected,
# what came, and which mistake often gives that. When a sheet is graded, further tests with other numbers run.
#
# Hints open one at a time. Try for a few minutes before you open the next one.
#
# *Running time: under a minute on a CPU. Needs: chapter 10.*
#
# All questions use the same words:
#
# - A *window* is a row of samples around one beat. A *place* is one position of a map.
# - An *ectopic* beat is one that the monitor should report, here a ventricular one. All other beats are *plain*.
# - The monitor gives each beat a score, and raises an *alarm* where the score is at least as large as a *threshold*.
#   The alarm of a plain beat is a *false* one.
# - *Sensitivity* is the share of the ectopic beats that raise an alarm. *Specificity* is the share of the plain beats
#   that raise none.
#
# Nothing here is medical advice. The records in question 5 are synthesised.

# %%
import course_lib

settings = course_lib.setup(chapter=10)

# %%
import numpy as np

# %% [markdown]
# ## Question 1: what a small chip has to hold
#
# **a)** Write `sizes(layers)`. `layers` is a list of convolutions in one dimension, each a tuple
# `(kernel, maps in, maps out)`. Every output map has one kernel for each input map, and one bias. Return two numbers of
# bytes, `(floats, integers)`:
#
# - `floats`: all weights and biases as float32, 4 bytes each.
# - `integers`: each weight as int8, 1 byte; each bias as int32, 4 bytes; and for each output map a scale, a float32.
#
# Try it on paper first, with a kernel of 5 samples from 1 map to 6 maps. A weight shrinks to a quarter. Does the layer?

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A layer has `kernel * maps_in * maps_out` weights. It has as many biases, and as many scales, as it has output maps.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The layer on paper has 30 weights, 6 biases and 6 scales. As floats that is 4 · 36 bytes, since floats need no scales.
#
# </details>


# %% nbgrader={"grade_id": "q1-sizes", "solution": true}
def sizes(layers):
    """Return the bytes of a network as float32, and with int8 weights, int32 biases and a scale for each map."""
    ### BEGIN SOLUTION
    weights = sum(kernel * maps_in * maps_out for kernel, maps_in, maps_out in layers)
    outputs = sum(maps_out for _, _, maps_out in layers)
    return 4 * (weights + outputs), weights + 8 * outputs
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-sizes-tests", "points": 2}
def check_sizes(floats, integers, mistake, layers):
    """Compare one answer of sizes with the expected bytes."""
    given = sizes(list(layers))
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"sizes returns two numbers of bytes, (floats, integers); yours returns {given}."
    )
    assert given[0] == floats, (
        f"sizes({layers}): {floats} bytes were expected as floats; yours gives {given[0]}. {mistake}"
    )
    assert given[1] == integers, (
        f"sizes({layers}): the floats are right. With int8 weights {integers} bytes were expected; yours gives "
        f"{given[1]}. {mistake}"
    )


check_sizes(
    144,
    78,
    "30 weights and 6 biases: 4 · 36, and 30 + 4 · 6 + 4 · 6. As floats, 120 would mean that the biases were "
    "forgotten and 124 that there is one for each map that comes in. With int8, 36 would mean that biases take one "
    "byte and there are no scales, 54 that only the scales are missing, 58 that the layer has one scale, 60 that a "
    "bias takes one byte.",
    [(5, 1, 6)],
)
check_sizes(
    192480,
    48960,
    "A layer from 400 numbers to 120: 48,000 weights and 120 biases. Here the factor is 3.93. 50080 would mean a bias "
    "or a scale for each map that comes in.",
    [(1, 400, 120)],
)
check_sizes(
    4 * (30 + 480 + 22),
    30 + 480 + 8 * 22,
    "Two layers: add up the weights of both, and the biases and scales of both.",
    [(5, 1, 6), (5, 6, 16)],
)
### BEGIN HIDDEN TESTS
import random

hidden_random = random.Random(1001)
for _ in range(60):
    hidden_layers, hidden_floats, hidden_integers = [], 0, 0
    for _ in range(hidden_random.randint(1, 5)):
        hidden_kernel, hidden_in, hidden_out = (hidden_random.randint(1, 9) for _ in range(3))
        hidden_layers.append((hidden_kernel, hidden_in, hidden_out))
        for _ in range(hidden_out):
            hidden_floats += 4 * len(range(hidden_kernel * hidden_in)) + 4
            hidden_integers += len(range(hidden_kernel * hidden_in)) + 4 + 4
    check_sizes(hidden_floats, hidden_integers, "Counting map by map gives this.", hidden_layers)
### END HIDDEN TESTS

# %% [markdown]
# **b)** Weights lie in flash memory, of which there is more. What runs out first is often the working memory, which
# holds the maps. While a layer runs, its input and its output must both be there. Then the input can go.
#
# Write `demand(layers, samples)`. The network reads a window of one map with `samples` samples. Each layer is a tuple
# `(kernel, stride, maps)`: a convolution without padding that gives `maps` maps. Return `(macs, peak)`:
#
# - `macs`: the multiply–accumulates of one window, all layers together. Biases are not counted.
# - `peak`: the most bytes of maps that must be there at one time, with one byte a value.
#
# If a kernel is longer than the map that it reads, raise a `ValueError`.
#
# Try it on paper with a window of 96 samples, a layer `(5, 1, 6)`, and a second one, `(5, 2, 16)`.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A kernel of `k` on a map of `n` places with stride `s` gives `(n - k) // s + 1` places. The first layer gives 92.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Each value of the output takes `kernel * maps_in` multiply–accumulates. The first layer has 92 · 6 values and takes 5
# for each. In the second layer `maps_in` is 6.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Keep `places` and `maps` of the current map, at first `samples` and 1. For each layer work out the new ones, update
# `peak = max(peak, places * maps + new_places * new_maps)`, and then go on with the new ones.
#
# </details>


# %% nbgrader={"grade_id": "q1-demand", "solution": true}
def demand(layers, samples):
    """Return the multiply–accumulates of a window and the most bytes of maps at one time, one byte a value."""
    ### BEGIN SOLUTION
    places, maps, macs, peak = samples, 1, 0, 0
    for kernel, stride, new_maps in layers:
        if kernel > places:
            raise ValueError(f"a kernel of {kernel} does not fit on a map of {places} places")
        new_places = (places - kernel) // stride + 1
        macs += new_places * new_maps * kernel * maps
        peak = max(peak, places * maps + new_places * new_maps)
        places, maps = new_places, new_maps
    return macs, peak
    ### END SOLUTION


# %% nbgrader={"grade_id": "q1-demand-tests", "points": 2}
def check_demand(macs, peak, mistake, layers, samples):
    """Compare one answer of demand with the expected numbers."""
    given = demand(list(layers), samples)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"demand returns two numbers, (macs, peak); yours returns {given}."
    )
    assert given[0] == macs, (
        f"demand({layers}, {samples}): {macs} multiply–accumulates were expected; yours gives {given[0]}. {mistake}"
    )
    assert given[1] == peak, (
        f"demand({layers}, {samples}): the multiply–accumulates are right. The peak should be {peak} bytes; yours is "
        f"{given[1]}. {mistake}"
    )


def check_refused(layers, samples):
    """Check that a kernel without a place is refused."""
    try:
        given = demand(list(layers), samples)
    except ValueError:
        return
    raise AssertionError(
        f"demand({layers}, {samples}): a kernel does not fit on the map that it reads, so a ValueError is right; yours "
        f"returns {given}. Look at the map of each layer, not at the window alone."
    )


check_demand(
    2760,
    648,
    "92 places of 6 maps, 5 products for each. 96 bytes come in and 552 go out. A peak of 552 would mean that the "
    "input was left out, and 2880 multiply–accumulates that the map was padded.",
    [(5, 1, 6)],
    96,
)
check_demand(
    23880,
    1256,
    "The second layer gives 44 places of 16 maps, and each value takes 5 · 6 products: 21,120 more. 6280 in all would "
    "mean that the 6 maps that come in were not counted, 24360 that places were rounded up, 45000 that the stride was "
    "ignored. While it runs, 552 + 704 bytes are there; by then the window is gone. A peak of 1352 would mean that all "
    "maps are kept, 704 that only outputs count, 648 that the first layer alone was looked at.",
    [(5, 1, 6), (5, 2, 16)],
    96,
)
check_demand(
    42,
    14,
    "Places 10, 4, 1. The first layer holds 10 + 4 bytes and takes 12 products, the second holds 4 + 5 and takes 20, "
    "the third 5 + 2 and takes 10. If it is more, was the number of places rounded up, or the stride ignored? A peak "
    "of 15 would mean that the largest input and the largest output were added, which belong to different layers.",
    [(3, 2, 1), (4, 1, 5), (1, 1, 2)],
    10,
)
check_refused([(11, 1, 4)], 10)
check_refused([(8, 1, 4), (4, 1, 4)], 10)
### BEGIN HIDDEN TESTS
import random

check_demand(6, 5, "A kernel that just fits has one place.", [(3, 1, 2)], 3)
hidden_random = random.Random(1002)
hidden_refused = 0
for _ in range(120):
    hidden_samples = hidden_random.randint(5, 60)
    hidden_layers = [
        (hidden_random.randint(1, 7), hidden_random.randint(1, 3), hidden_random.randint(1, 6))
        for _ in range(hidden_random.randint(1, 4))
    ]
    hidden_maps, hidden_macs, hidden_held = [list(range(hidden_samples))], 0, []
    for hidden_kernel, hidden_stride, hidden_count in hidden_layers:
        hidden_starts = [
            start for start in hidden_maps[0][::hidden_stride] if start + hidden_kernel <= len(hidden_maps[0])
        ]
        if not hidden_starts:
            hidden_refused += 1
            check_refused(hidden_layers, hidden_samples)
            break
        hidden_new = [list(range(len(hidden_starts))) for _ in range(hidden_count)]
        hidden_macs += sum(hidden_kernel for _ in hidden_maps for one in hidden_new for _ in one)
        hidden_held.append(sum(map(len, hidden_maps)) + sum(map(len, hidden_new)))
        hidden_maps = hidden_new
    else:
        check_demand(hidden_macs, max(hidden_held), "Listing every value gives this.", hidden_layers, hidden_samples)
assert hidden_refused > 5
### END HIDDEN TESTS

# %% [markdown]
# What would the network of your choice take? Change the layers, and watch which of the numbers moves most.

# %%
layers = [(5, 1, 6), (5, 2, 16), (5, 2, 32), (20, 1, 32), (1, 1, 2)]
maps_in = [1, *(maps for _, _, maps in layers)]
floats, integers = sizes([(kernel, before, maps) for (kernel, _, maps), before in zip(layers, maps_in, strict=False)])
macs, peak = demand(layers, 96)
print(f"{floats:,} bytes as floats, {integers:,} with int8 weights: {floats / integers:.2f} times smaller")
print(f"{macs:,} multiply–accumulates and {peak:,} bytes of maps for a window of 96 samples")

# %% [markdown]
# To think about, without points: which layer sets the peak? Does a longer window move the peak, the weights, or both?

# %% [markdown]
# ## Question 2: alarms by the hour
#
# A monitor with a sensitivity of 95 % and a specificity of 99 % sounds good. Its wearer does not hear percents. The
# wearer hears alarms, and asks how many there are in an hour, and how many of them are true.
#
# **a)** Write `alarms(sensitivity, specificity, prevalence, rate)`. `prevalence` is the share of all beats that is
# ectopic, and `rate` is the number of beats in a minute. Return `(predictivity, per_hour)`:
#
# - `predictivity`: of the alarms, the share that is true. If there is no alarm at all, nothing can be said: return
#   `np.nan` for it.
# - `per_hour`: how many *false* alarms there are in an hour on average.
#
# Try it on paper with 90 %, 99 %, one ectopic beat in a hundred, and 60 beats a minute. Then guess what becomes of the
# predictivity with one ectopic beat in a thousand.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Count the beats of one hour: how many are there, how many of them are ectopic, and how many are plain?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Of 3,600 beats 36 are ectopic, and 90 % of them raise an alarm. The other 3,564 are plain, and 1 % of them raise one.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Predictivity is true alarms over all alarms. It is not the sensitivity: that one is over all ectopic beats.
#
# </details>


# %% nbgrader={"grade_id": "q2-alarms", "solution": true}
def alarms(sensitivity, specificity, prevalence, rate):
    """Return the share of the alarms that is true, np.nan without any, and the false alarms in an hour."""
    ### BEGIN SOLUTION
    beats = 60 * rate
    true = beats * prevalence * sensitivity
    false = beats * (1 - prevalence) * (1 - specificity)
    return true / (true + false) if true + false > 0 else np.nan, false
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-alarms-tests", "points": 2}
def check_alarms(predictivity, per_hour, mistake, *given):
    """Compare one answer of alarms with the expected numbers."""
    called = f"alarms{given}"
    try:
        answer = alarms(*given)
    except ZeroDivisionError as error:
        raise AssertionError(f"{called} divides by zero. {mistake}") from error
    assert isinstance(answer, (tuple, list)) and len(answer) == 2, (
        f"alarms returns two numbers, (predictivity, per_hour); yours returns {answer}."
    )
    assert all(each is not None for each in answer), (
        f"{called}: both should be numbers, np.nan where nothing can be said; yours are {answer}. {mistake}"
    )
    assert np.isclose(answer[1], per_hour, rtol=1e-9, atol=1e-9), (
        f"{called}: {per_hour:.4f} false alarms an hour were expected; yours gives {answer[1]:.4f}. {mistake}"
    )
    assert np.isclose(answer[0], predictivity, rtol=1e-9, atol=1e-12, equal_nan=True), (
        f"{called}: the false alarms are right. The predictivity should be {predictivity:.6f}; yours is "
        f"{answer[0]:.6f}. {mistake}"
    )


check_alarms(
    32.4 / 68.04,
    35.64,
    "32.4 true alarms and 35.64 false ones, so not even half are true. 36 false alarms would mean that all beats were "
    "taken for plain, 68.04 that true alarms were counted as well, 0.594 that it was the number in a minute, 3.6 "
    "that missed beats were. A predictivity of 0.9 is the sensitivity, and 0.989 would mean "
    "that both kinds of beats were taken for equally frequent.",
    0.9,
    0.99,
    0.01,
    60,
)
check_alarms(
    3.24 / (3.24 + 35.964),
    35.964,
    "One ectopic beat in a thousand: the false alarms stay, and the true ones become a tenth. 8 % of the alarms are "
    "true, though nothing about the monitor has changed.",
    0.9,
    0.99,
    0.001,
    60,
)
check_alarms(1, 0, "A specificity of 1: no false alarm, and all alarms are true.", 0.5, 1, 0.02, 75)
check_alarms(
    np.nan, 0, "This monitor never raises an alarm. What share of no alarms is true? That is NaN, not 0.", 0, 1, 0.1, 75
)
check_alarms(0, 90, "No beat is ectopic. All alarms are false, so the predictivity is 0.", 0.9, 0.98, 0, 75)
### BEGIN HIDDEN TESTS
from fractions import Fraction as HiddenFraction
import random

hidden_random = random.Random(1003)
for _ in range(80):
    hidden_ectopic, hidden_plain = hidden_random.randint(0, 40), hidden_random.randint(1, 400)
    hidden_found, hidden_quiet = hidden_random.randint(0, 40), hidden_random.randint(0, 400)
    hidden_found, hidden_quiet = min(hidden_found, hidden_ectopic), min(hidden_quiet, hidden_plain)
    hidden_rate = hidden_random.randint(40, 180)
    hidden_all, hidden_false = hidden_ectopic + hidden_plain, hidden_plain - hidden_quiet
    hidden_alarms = hidden_found + hidden_false
    check_alarms(
        float(HiddenFraction(hidden_found, hidden_alarms)) if hidden_alarms else np.nan,
        float(HiddenFraction(60 * hidden_rate * hidden_false, hidden_all)),
        f"Of {hidden_ectopic} ectopic and {hidden_plain} plain beats, {hidden_found} and {hidden_false} raised alarms.",
        hidden_found / hidden_ectopic if hidden_ectopic else 0.5,
        hidden_quiet / hidden_plain,
        hidden_ectopic / hidden_all,
        hidden_rate,
    )
check_alarms(np.nan, 0, "Without an alarm nothing can be said.", 0, 1, 0.5, 90)
### END HIDDEN TESTS

# %% [markdown]
# **b)** So the number of false alarms is what should be bounded, and the threshold is what sets it. It is chosen on
# validation records, never on the test.
#
# Write `choose(scores, ectopic, hours, limit)`. `scores` is an array with the score of each beat, `ectopic` a mask that
# says which beats are ectopic, and `hours` how long the records last together. At most `limit` false alarms an hour are
# allowed. Return `(threshold, sensitivity)`:
#
# - Possible thresholds are the scores themselves, and `np.inf`, with which there is never an alarm.
# - Of the thresholds that keep the limit, take the one with the highest sensitivity. If several have it, take the
#   highest of them: it has the fewest false alarms.
#
# A beat raises an alarm if its score is *at least as large* as the threshold. So beats with equal scores go together.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# For one threshold, `np.sum(scores[~ectopic] >= threshold) / hours` is the number of false alarms in an hour, and
# `np.mean(scores[ectopic] >= threshold)` is the sensitivity.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Go through `[np.inf, *np.sort(scores)[::-1]]`, from the highest threshold to the lowest, and keep the best so far.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Start with `best = (np.inf, 0.0)`. Replace it only if the limit is kept and the sensitivity is *larger* than that of
# the best so far. Then of equal ones the highest threshold stays.
#
# </details>


# %% nbgrader={"grade_id": "q2-choose", "solution": true}
def choose(scores, ectopic, hours, limit):
    """Return the threshold with the highest sensitivity within a limit of false alarms an hour, and the sensitivity."""
    ### BEGIN SOLUTION
    best = (np.inf, 0.0)
    for threshold in np.sort(scores)[::-1]:
        sensitivity = np.mean(scores[ectopic] >= threshold)
        if np.sum(scores[~ectopic] >= threshold) <= limit * hours and sensitivity > best[1]:
            best = (threshold, sensitivity)
    return best
    ### END SOLUTION


# %% nbgrader={"grade_id": "q2-choose-tests", "points": 2}
import numpy as np


def check_choice(threshold, sensitivity, mistake, plain, ectopic, hours, limit):
    """Compare one answer of choose with the expected threshold and sensitivity; the beats stand in mixed order."""
    scores = np.array([*plain, *ectopic], float)
    mask = np.arange(len(scores)) >= len(plain)
    order = np.random.default_rng(5).permutation(len(scores))
    called = f"plain beats {list(plain)}, ectopic ones {list(ectopic)}, {hours} hours, limit {limit} an hour"
    try:
        given = choose(scores[order], mask[order], hours, limit)
    except (ValueError, IndexError) as error:
        raise AssertionError(f"{called}: choose fails with a {type(error).__name__}. {mistake}") from error
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"choose returns two numbers, (threshold, sensitivity); yours returns {given}."
    )
    assert given[0] == threshold, f"{called}: the threshold should be {threshold}; yours is {given[0]}. {mistake}"
    assert abs(given[1] - sensitivity) < 1e-9, (
        f"{called}: the threshold is right. The sensitivity should be {sensitivity:.4f}; yours is {given[1]:.4f}. "
        f"{mistake}"
    )


check_choice(
    3,
    0.75,
    "With threshold 3 the plain beats 5 and 3 raise alarms: two in one hour, which is allowed. Three of four ectopic "
    "beats are found. 2 would mean that an alarm needs more than the threshold, 4 that fewer alarms than the limit "
    "were allowed, 6 that true alarms were bounded as well, 1 that a share of the beats was bounded and not the alarms "
    "in an hour. A sensitivity of 0.6 would be the share of the alarms that is true.",
    [1, 2, 3, 5],
    [1, 3, 4, 6],
    1,
    2,
)
check_choice(
    1,
    1,
    "The same beats in two hours: four false alarms are allowed now, so all may be reported. The limit is by the hour.",
    [1, 2, 3, 5],
    [1, 3, 4, 6],
    2,
    2,
)
check_choice(
    7,
    1,
    "Every threshold from 4 to 7 finds the one ectopic beat and keeps the limit. Of equal ones take the highest, 7. It "
    "has no false alarm, and 4 would have one.",
    [4, 2, 1],
    [7],
    1,
    1,
)
check_choice(
    8,
    0.5,
    "At the score 5 stand one ectopic beat and two plain ones. No threshold can part them, so 5 has two false alarms, "
    "one too many. 5 would mean that beats with equal scores were taken one by one.",
    [5, 5, 1],
    [5, 8],
    1,
    1,
)
check_choice(
    np.inf,
    0,
    "The highest score is that of a plain beat, and no false alarm is allowed. So the monitor must be silent: np.inf, "
    "with a sensitivity of 0.",
    [9, 1],
    [3, 2],
    10,
    0,
)
### BEGIN HIDDEN TESTS
from itertools import groupby as hidden_groupby
import random

hidden_random = random.Random(1004)
hidden_silent = 0
for _ in range(150):
    hidden_plain = [hidden_random.randint(0, 12) for _ in range(hidden_random.randint(1, 14))]
    hidden_ectopic = [hidden_random.randint(2, 14) for _ in range(hidden_random.randint(1, 6))]
    hidden_hours, hidden_limit = hidden_random.choice([0.5, 1, 2, 4]), hidden_random.choice([0, 0.5, 1, 2])
    hidden_beats = sorted([(-s, 0) for s in hidden_plain] + [(-s, 1) for s in hidden_ectopic])
    hidden_best, hidden_found, hidden_false = (np.inf, 0), 0, 0
    for hidden_score, hidden_group in hidden_groupby(hidden_beats, key=lambda beat: beat[0]):
        hidden_kinds = [kind for _, kind in hidden_group]
        hidden_found += hidden_kinds.count(1)
        hidden_false += hidden_kinds.count(0)
        if hidden_false > hidden_limit * hidden_hours:
            break
        if 1 in hidden_kinds:
            hidden_best = (-hidden_score, hidden_found)
    hidden_silent += hidden_best[1] == 0
    check_choice(
        hidden_best[0],
        hidden_best[1] / len(hidden_ectopic),
        "Going down from the highest score gives this.",
        hidden_plain,
        hidden_ectopic,
        hidden_hours,
        hidden_limit,
    )
assert hidden_silent > 5
### END HIDDEN TESTS

# %% [markdown]
# A monitor in a hospital, where ectopic beats are frequent, and the same one on a healthy wrist. Guess the last column
# before you run the cell.

# %%
print("ectopic beats    false alarms an hour    true among the alarms")
for prevalence in (0.1, 0.01, 0.001, 0.0001):
    predictivity, per_hour = alarms(0.95, 0.99, prevalence, 70)
    print(f"one in {round(1 / prevalence):<10,d}{per_hour:20.1f}{100 * predictivity:23.1f} %")

# %% [markdown]
# To think about, without points: which of the two would you rather improve for the healthy wrist, sensitivity or
# specificity? And what if the monitor reported only three ectopic beats in a row?

# %% [markdown]
# ## Question 3: a temperature for whole numbers
#
# An int8 network gives whole numbers, the *codes*, one for each class. A code stands for the score
# `scale * (code - zero_point)`. Chapter 06 divides scores by a temperature, so that the softmax after it is as sure as
# it is right. Does that work with codes?
#
# **a)** Write `probabilities(codes, scale, zero_point, temperature)`. `codes` is an array of shape (beats, classes) and
# type `np.int8`, as the chip delivers it. Return two arrays of that shape, `(scores, probabilities)`: the scores, not
# divided by the temperature, and the softmax over the classes of the scores divided by the temperature.
#
# Mind two traps. `np.int8` holds numbers from −128 to 127, and what goes beyond comes out at the other end. And large
# scores must not give `nan`.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `codes.astype(float)` makes floats of the codes. Do this before you subtract anything: as int8, 100 − (−100) is −56.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The softmax of a row is `exp(row) / exp(row).sum()`. It stays the same if the largest number of the row is taken off
# first, and then no power is above 1.
#
# </details>


# %% nbgrader={"grade_id": "q3-probabilities", "solution": true}
def probabilities(codes, scale, zero_point, temperature):
    """Return the scores (beats, classes) that int8 codes stand for, and their softmax at a temperature."""
    ### BEGIN SOLUTION
    scores = scale * (codes.astype(float) - zero_point)
    powers = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    return scores, powers / powers.sum(axis=1, keepdims=True)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-probabilities-tests", "points": 2}
import numpy as np


def check_probabilities(scores, shares, mistake, codes, scale, zero_point, temperature):
    """Compare one answer of probabilities with the expected scores and probabilities."""
    called = f"codes {codes}, scale {scale:.4g}, zero point {zero_point}, temperature {temperature}"
    with np.errstate(all="ignore"):
        given = probabilities(np.array(codes, np.int8), scale, zero_point, temperature)
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"probabilities returns two arrays, (scores, probabilities); yours returns {type(given).__name__}."
    )
    for name, yours, right in zip(("scores", "probabilities"), given, (scores, shares), strict=True):
        yours, right = np.asarray(yours, float), np.array(right, float)
        assert yours.shape == right.shape and np.allclose(yours, right, rtol=1e-5, atol=1e-6), (
            f"{called}: the {name} should be {right.round(6).tolist()}; yours are {yours.round(6).tolist()}. {mistake}"
        )


third = 3**0.5
check_probabilities(
    [[np.log(3), 0], [0, 0]],
    [[0.75, 0.25], [0.5, 0.5]],
    "With a scale of ln 3 / 10, ten steps stand for ln 3, and the softmax makes 3 : 1 of it. Scores of 1.648 and 0.549 "
    "would mean that the zero point was forgotten. The rows are beats, and each row of probabilities sums to 1.",
    [[15, 5], [5, 5]],
    np.log(3) / 10,
    5,
    1,
)
check_probabilities(
    [[np.log(3), 0]],
    [[third / (1 + third), 1 / (1 + third)]],
    "The same scores at temperature 2: √3 : 1, less sure. 0.9 and 0.1 would mean that the scores were multiplied by "
    "the temperature, 0.375 and 0.125 that the probabilities were divided by it. The scores that you return are those "
    "before the division.",
    [[15, 5]],
    np.log(3) / 10,
    5,
    2,
)
check_probabilities(
    [[2, 0]],
    [[0.880797, 0.119203]],
    "100 − (−100) is 200, which is more than an int8 can hold. −0.56 for the first score would mean that it came out "
    "at the other end. Turn the codes into floats first.",
    [[100, -100]],
    0.01,
    -100,
    1,
)
check_probabilities(
    [[1270, -1280]],
    [[1, 0]],
    "The network is as good as sure. nan means that exp(1270) was computed: take the largest score of the row off "
    "first.",
    [[127, -128]],
    10,
    0,
    1,
)
check_probabilities(
    [[1000, 1000], [-1000, -1000]],
    [[0.5, 0.5], [0.5, 0.5]],
    "Two beats far apart. nan means that one largest score was taken off for all beats: each row has its own.",
    [[100, 100], [-100, -100]],
    10,
    0,
    1,
)
### BEGIN HIDDEN TESTS
import math as hidden_math
import random

hidden_random = random.Random(1005)
for _ in range(60):
    hidden_zero, hidden_classes = hidden_random.randint(-128, 127), hidden_random.randint(2, 5)
    hidden_scale, hidden_temperature = hidden_random.choice([0.02, 0.1, 0.4]), hidden_random.choice([0.5, 1, 1.7, 4])
    hidden_codes = [
        [hidden_random.randint(-128, 127) for _ in range(hidden_classes)] for _ in range(hidden_random.randint(1, 4))
    ]
    hidden_scores = [[hidden_scale * (code - hidden_zero) for code in row] for row in hidden_codes]
    hidden_shares = []
    for hidden_row in hidden_scores:
        # One over the sum of all odds against a class needs no softmax.
        hidden_shares.append(
            [
                1 / sum(hidden_math.exp((other - score) / hidden_temperature) for other in hidden_row)
                for score in hidden_row
            ]
        )
    check_probabilities(
        hidden_scores,
        hidden_shares,
        "Going number by number gives this.",
        hidden_codes,
        hidden_scale,
        hidden_zero,
        hidden_temperature,
    )
### END HIDDEN TESTS

# %% [markdown]
# **b)** Write `fit(scores, labels, grid)`. `scores` has the shape (beats, classes) and is of validation beats, `labels`
# is an array with the number of the right class of each beat, and `grid` is a list of temperatures. Return
# `(temperature, loss)`: the temperature of the grid with the smallest loss, and this loss. The loss is the mean over
# the beats of −ln of the probability that the softmax at this temperature gives to the right class.
#
# A beat may be so wrong that its probability rounds to 0. Its loss is large then, but not infinite.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write a small function inside yours that returns the loss at one temperature, and call it for each one of the grid.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The logarithm of the softmax is `row - log(exp(row).sum())`. Take the largest number of the row off first, as in
# part a). No probability has to be computed, so none can round to 0.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `logarithms[np.arange(len(labels)), labels]` takes from each row the number of its right class. With the losses in a
# list, `np.argmin` says where the smallest one stands.
#
# </details>


# %% nbgrader={"grade_id": "q3-fit", "solution": true}
def fit(scores, labels, grid):
    """Return the temperature of a grid with the smallest mean −ln p of the right class, and that loss."""
    ### BEGIN SOLUTION

    def loss(temperature):
        rows = (scores - scores.max(axis=1, keepdims=True)) / temperature
        logarithms = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
        return -logarithms[np.arange(len(labels)), labels].mean()

    best = min(grid, key=loss)
    return best, loss(best)
    ### END SOLUTION


# %% nbgrader={"grade_id": "q3-fit-tests", "points": 2}
import numpy as np


def check_fit(temperature, loss, mistake, scores, labels, grid):
    """Compare one answer of fit with the expected temperature and loss."""
    called = f"{len(scores)} beats, scores from {np.min(scores):.4g} to {np.max(scores):.4g}, grid {grid}"
    with np.errstate(all="ignore"):
        given = fit(np.array(scores, float), np.array(labels), list(grid))
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"fit returns two numbers, (temperature, loss); yours returns {given}."
    )
    assert given[0] == temperature, f"{called}: the temperature should be {temperature}; yours is {given[0]}. {mistake}"
    assert np.isclose(given[1], loss, rtol=1e-6, atol=1e-9), (
        f"{called}: the temperature is right. The loss should be {loss:.6f}; yours is {given[1]:.6f}. {mistake}"
    )


check_fit(
    2,
    np.log(4) - 0.75 * np.log(3),
    "Three of these four beats are right, and the scores are 2 ln 3, so at temperature 2 each beat gets 3/4: as sure "
    "as it is right. 0.5 would mean that the scores were multiplied by the temperature, 0.25 that the largest loss "
    "was looked for or that the labels have no say. Accuracy is the same at each temperature and cannot "
    "choose. A loss of 2.249341 would be a sum and not a mean, 0.811278 comes from the logarithm to base 2.",
    [[2 * np.log(3), 0]] * 4,
    [0, 0, 0, 1],
    [0.25, 0.5, 1, 2, 4, 8],
)
check_fit(
    0.5,
    np.log(1.25),
    "Now the network is too timid: all four beats are right with a probability of 2/3, so the lowest temperature is "
    "the best, and it gives 4/5. A temperature can make a network surer, too.",
    [[np.log(2), 0], [0, np.log(2)], [np.log(2), 0], [np.log(2), 0]],
    [0, 1, 0, 0],
    [2, 1, 0.5],
)
check_fit(
    4,
    600,
    "One beat of two is wrong by 4,800. Its probability rounds to 0, and the logarithm of 0 is infinite. Work with "
    "logarithms from the start; then its loss at temperature 4 is 4,800 / 4, and the mean of both is 600.",
    [[4800, 0], [4800, 0]],
    [0, 1],
    [1, 2, 4],
)
check_fit(
    3,
    np.log(3),
    "Three classes that all have the same score. Whatever the temperature, each gets 1/3; the grid has only one.",
    [[5, 5, 5], [-700, -700, -700]],
    [2, 0],
    [3],
)
### BEGIN HIDDEN TESTS
import math as hidden_math
import random

hidden_random = random.Random(1006)
hidden_chosen = set()
for _ in range(40):
    hidden_classes, hidden_spread = hidden_random.randint(2, 5), hidden_random.choice([0.5, 2, 6, 300])
    hidden_scores = [
        [hidden_random.gauss(0, hidden_spread) for _ in range(hidden_classes)]
        for _ in range(hidden_random.randint(5, 30))
    ]
    hidden_labels = [
        row.index(max(row)) if hidden_random.random() < 0.7 else hidden_random.randrange(hidden_classes)
        for row in hidden_scores
    ]
    hidden_grid = sorted({round(hidden_random.uniform(0.2, 8), 2) for _ in range(8)})
    hidden_losses = {}
    for hidden_temperature in hidden_grid:
        hidden_sum = 0.0
        for hidden_row, hidden_label in zip(hidden_scores, hidden_labels, strict=True):
            # -ln p is the logarithm of the sum of all odds against the class, the largest of them taken out.
            hidden_odds = [(other - hidden_row[hidden_label]) / hidden_temperature for other in hidden_row]
            hidden_sum += max(hidden_odds) + hidden_math.log(
                sum(hidden_math.exp(one - max(hidden_odds)) for one in hidden_odds)
            )
        hidden_losses[hidden_temperature] = hidden_sum / len(hidden_labels)
    hidden_best = min(hidden_losses, key=hidden_losses.get)
    hidden_chosen.add(hidden_best)
    check_fit(
        hidden_best,
        hidden_losses[hidden_best],
        "Going beat by beat gives this.",
        hidden_scores,
        hidden_labels,
        hidden_grid,
    )
assert len(hidden_chosen) > 10
### END HIDDEN TESTS

# %% [markdown]
# A made-up network that is far too sure, and its codes. Two thousand beats set the temperature, and two thousand others
# show what it does. Before you run the cell, guess which of the columns will not move.

# %%
generator = np.random.default_rng(10)
answers = generator.integers(2, size=4_000)
evidence = 1.5 * (2 * answers - 1) + 1.5 * generator.normal(size=4_000)
codes = np.clip(np.rint(np.stack([-evidence, evidence], axis=1) * 12 + 4), -128, 127).astype(np.int8)
first, second = slice(0, 2_000), slice(2_000, None)
temperature, _ = fit(probabilities(codes[first], 0.25, 4, 1)[0], answers[first], np.linspace(0.5, 10, 96))
print("temperature    right (%)    mean confidence (%)    of the wrong answers, 99 % sure (%)")
for each in (1, temperature):
    shares = probabilities(codes[second], 0.25, 4, each)[1]
    wrong = shares.argmax(axis=1) != answers[second]
    confidence = 100 * shares.max(axis=1)
    print(f"{each:11.1f}{100 * (1 - wrong.mean()):13.1f}", end="")
    print(f"{confidence.mean():23.1f}{100 * (confidence[wrong] > 99).mean():39.1f}")

# %% [markdown]
# To think about, without points: the chip has no division to spare. Which of scale, zero point and temperature could be
# put together into one number beforehand, and which has no influence on the probabilities at all?

# %% [markdown]
# ## Question 4: what made later networks small
#
# AlexNet has 61 million parameters, and ResNet-50, with fifty layers, has 26 million. Two ideas did most of that. One
# is a block that reduces the number of its maps before its larger kernels. The other is a head without hidden layers.
#
# **a)** Write `block(maps_in, branches, joined)`. A block gives its input to several branches side by side, and joins
# what they give. `branches` is a list of branches, and each branch is a list of convolutions, one after another, each a
# tuple `(kernel, maps)` with a square kernel. A branch without convolutions, `[]`, hands on the input as it is: a
# shortcut. Biases are not counted. Return `(weights, maps_out)`:
#
# - `weights`: the weights of all kernels in the block.
# - `maps_out`: the maps that the block gives. If `joined` is `"concatenate"`, the maps of the branches stand one behind
#   the other, as in GoogLeNet. If it is `"add"`, they are added map by map, as in ResNet. Then all branches must give
#   the same number of maps: raise a `ValueError` if they do not.
#
# Try it on paper with ResNet's bottleneck: 256 maps come in; one branch has a 1 × 1 convolution to 64 maps, a 3 × 3 one
# to 64, and a 1 × 1 one to 256; the other branch is a shortcut; they are added.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A convolution has `kernel * kernel * maps before * maps after` weights. The first one of each branch reads `maps_in`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Go through each branch with `maps = maps_in` at its start. At its end `maps` is what the branch gives. For a shortcut
# that is `maps_in`, without a special case.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Collect what the branches give in a list, `ends`. It is `sum(ends)` or `ends[0]`. `len(set(ends)) > 1` is true if they
# differ.
#
# </details>


# %% nbgrader={"grade_id": "q4-block", "solution": true}
def block(maps_in, branches, joined):
    """Return the weights of a block of branches, and how many maps it gives when they are joined."""
    ### BEGIN SOLUTION
    weights, ends = 0, []
    for branch in branches:
        maps = maps_in
        for kernel, new_maps in branch:
            weights += kernel**2 * maps * new_maps
            maps = new_maps
        ends.append(maps)
    if joined == "concatenate":
        return weights, sum(ends)
    if len(set(ends)) > 1:
        raise ValueError(f"branches with {ends} maps cannot be added")
    return weights, ends[0]
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-block-tests", "points": 2}
def check_block(weights, maps_out, mistake, maps_in, branches, joined):
    """Compare one answer of block with the expected numbers."""
    called = f'block({maps_in}, {branches}, "{joined}")'
    try:
        given = block(maps_in, [list(branch) for branch in branches], joined)
    except (ValueError, IndexError) as error:
        raise AssertionError(f"{called} fails with a {type(error).__name__}, {error}. {mistake}") from error
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"block returns two numbers, (weights, maps_out); yours returns {given}."
    )
    assert given[0] == weights, f"{called}: {weights} weights were expected; yours has {given[0]}. {mistake}"
    assert given[1] == maps_out, (
        f"{called}: the weights are right. The block should give {maps_out} maps; yours gives {given[1]}. {mistake}"
    )


def check_unequal(ends, maps_in, branches):
    """Check that branches that cannot be added are refused."""
    try:
        given = block(maps_in, [list(branch) for branch in branches], "add")
    except ValueError:
        return
    raise AssertionError(
        f'block({maps_in}, {branches}, "add"): the branches give {ends} maps, which cannot be added map by map, so a '
        f"ValueError is right; yours returns {given}."
    )


bottleneck = [(1, 64), (3, 64), (1, 256)]
check_block(
    69632,
    256,
    "256 · 64, 9 · 64 · 64 and 64 · 256. 135168 would mean that the shortcut was taken for a convolution, 45056 that "
    "the kernels were not squared, 229376 that every convolution reads the 256 maps of the block, 70016 that there are "
    "biases. The shortcut gives the 256 maps that "
    "come in, and added to 256 they stay 256; 512 would mean that they were put one behind the other.",
    256,
    [bottleneck, []],
    "add",
)
check_block(
    1179648,
    256,
    "Two plain 3 × 3 convolutions of 256 maps: seventeen times as many as the bottleneck.",
    256,
    [[(3, 256), (3, 256)], []],
    "add",
)
check_block(
    163328,
    256,
    "The first inception block of GoogLeNet, whose paper says 159 K, that is 159.5 · 1024. 64 + 128 + 32 + 32 maps. "
    "Each branch starts at the 192 maps of the block; if yours has more or fewer weights, a branch may have started "
    "where the one before it ended.",
    192,
    [[(1, 64)], [(1, 96), (3, 128)], [(1, 16), (5, 32)], [(1, 32)]],
    "concatenate",
)
check_block(
    40,
    14,
    "A shortcut next to a convolution, one behind the other as in a dense block: 4 weights for each of 10 new maps, "
    "and 4 + 10 maps.",
    4,
    [[], [(1, 10)]],
    "concatenate",
)
check_unequal([64, 256], 64, [[], [(1, 64), (3, 64), (1, 256)]])
### BEGIN HIDDEN TESTS
import random

hidden_random = random.Random(1007)
hidden_refused = 0
for _ in range(120):
    hidden_in, hidden_weights, hidden_ends = hidden_random.randint(1, 6), 0, []
    hidden_branches = [
        [(hidden_random.choice([1, 3, 5]), hidden_random.randint(1, 5)) for _ in range(hidden_random.randint(0, 3))]
        for _ in range(hidden_random.randint(1, 4))
    ]
    if hidden_random.random() < 0.5:
        hidden_branches = [[*one, (1, 3)] for one in hidden_branches]
    for hidden_branch in hidden_branches:
        hidden_chain = [hidden_in, *(count for _, count in hidden_branch)]
        for hidden_place, (hidden_kernel, _) in enumerate(hidden_branch):
            hidden_rows = range(hidden_kernel * hidden_chain[hidden_place])
            hidden_weights += sum(1 for _ in hidden_rows for _ in range(hidden_kernel * hidden_chain[hidden_place + 1]))
        hidden_ends.append(hidden_chain[-1])
    check_block(
        hidden_weights, sum(hidden_ends), "Weight by weight this comes out.", hidden_in, hidden_branches, "concatenate"
    )
    if min(hidden_ends) == max(hidden_ends):
        check_block(
            hidden_weights, hidden_ends[0], "Weight by weight this comes out.", hidden_in, hidden_branches, "add"
        )
    else:
        hidden_refused += 1
        check_unequal(hidden_ends, hidden_in, hidden_branches)
assert 20 < hidden_refused < 100
### END HIDDEN TESTS

# %% [markdown]
# **b)** After the last convolution AlexNet and VGG flatten the maps, and dense layers read every value of every map.
# GoogLeNet and ResNet take the mean of each map instead, *global average pooling*, and one dense layer reads the means.
#
# Write `heads(side, maps, units)`. The last convolution gives `maps` maps of `side` × `side` values. `units` is a list
# with the units of the dense layers, one after another; the last number is that of the classes. Every unit has a bias.
# Return two numbers of parameters, `(flat, pooled)`:
#
# - `flat`: all dense layers, the first of which reads the flattened maps.
# - `pooled`: a single dense layer that reads the means of the maps and gives the classes.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A dense layer from `n` numbers to `m` units has `n * m + m` parameters.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The flattened maps are `side * side * maps` numbers. The means are `maps` numbers, and taking a mean has no parameter.
#
# </details>


# %% nbgrader={"grade_id": "q4-heads", "solution": true}
def heads(side, maps, units):
    """Return the parameters of dense layers on flattened maps, and of one dense layer on the mean of each map."""
    ### BEGIN SOLUTION
    before = [side * side * maps, *units[:-1]]
    flat = sum((inputs + 1) * outputs for inputs, outputs in zip(before, units, strict=True))
    return flat, (maps + 1) * units[-1]
    ### END SOLUTION


# %% nbgrader={"grade_id": "q4-heads-tests", "points": 2}
def check_heads(flat, pooled, mistake, side, maps, units):
    """Compare one answer of heads with the expected parameters."""
    given = heads(side, maps, list(units))
    called = f"heads({side}, {maps}, {units})"
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"heads returns two numbers of parameters, (flat, pooled); yours returns {given}."
    )
    assert given[0] == flat, f"{called}: {flat} parameters were expected when flat; yours gives {given[0]}. {mistake}"
    assert given[1] == pooled, (
        f"{called}: flat is right. Pooled, {pooled} were expected; yours gives {given[1]}. {mistake}"
    )


check_heads(
    185,
    20,
    "2 · 2 · 3 = 12 numbers come in: 12 · 10 + 10, and 10 · 5 + 5. When flat, 125 would mean that the side was not "
    "squared, 170 that the biases were forgotten, 130 that only the first layer was counted, 195 that each layer reads "
    "the maps. Pooled, 3 means go to 5 units: 15 would mean no biases, 95 that the hidden layer was kept, 55 that it "
    "feeds the classes, 65 that the maps were not pooled.",
    2,
    3,
    [10, 5],
)
check_heads(
    123642856,
    513000,
    "VGG-16: nine tenths of its 138 million parameters are in its head.",
    7,
    512,
    [4096, 4096, 1000],
)
check_heads(58631144, 257000, "AlexNet: of its 61 million parameters all but 2.3 million.", 6, 256, [4096, 4096, 1000])
check_heads(
    50177000, 1025000, "The head of GoogLeNet, which has no hidden layer: 1024 means to 1000 classes.", 7, 1024, [1000]
)
### BEGIN HIDDEN TESTS
import random

hidden_random = random.Random(1008)
for _ in range(80):
    hidden_side, hidden_maps = hidden_random.randint(1, 5), hidden_random.randint(1, 6)
    hidden_units = [hidden_random.randint(1, 8) for _ in range(hidden_random.randint(1, 4))]
    hidden_inputs = [None for _ in range(hidden_side) for _ in range(hidden_side) for _ in range(hidden_maps)]
    hidden_flat = 0
    for hidden_count in hidden_units:
        hidden_layer = [[0.0 for _ in hidden_inputs] + [0.0] for _ in range(hidden_count)]
        hidden_flat += sum(len(unit) for unit in hidden_layer)
        hidden_inputs = hidden_layer
    hidden_pooled = sum(len([*range(hidden_maps), "bias"]) for _ in range(hidden_units[-1]))
    check_heads(hidden_flat, hidden_pooled, "Counting unit by unit gives this.", hidden_side, hidden_maps, hidden_units)
### END HIDDEN TESTS

# %% [markdown]
# To think about, without points: the head of VGG-16 holds nine tenths of its parameters. Does it also take nine tenths
# of its multiply–accumulates? How often is a weight of a convolution used for one image, and how often one of the head?

# %% [markdown]
# ## Question 5: a loose electrode
#
# In a laboratory the electrodes are glued on, and the wearer sits still. On a wrist nothing is glued and nobody sits
# still. We say in decibels how noisy a record is. The *signal-to-noise ratio* is
#
# $$\text{SNR} = 10 \log_{10} \frac{P_\text{signal}}{P_\text{noise}}$$
#
# where the power $P$ of a row of samples is the mean square of their distances from their own mean. (So an electrode
# that adds the same voltage to all samples adds no power. The chapter takes the power of the signal from the height of
# the spikes; here it is that of the window.) At 0 dB noise and signal have the same power, at 10 dB the signal has ten
# times as much, and at −10 dB a tenth.
#
# **a)** Write `mix(windows, noise, ratio)`. `windows` and `noise` have the shape (beats, samples). Add to each window
# its row of noise, made larger or smaller so that the SNR of *this* window is `ratio` decibels. The noise is scaled by
# a factor and not changed otherwise. Return a new array, and leave what was given as it is.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `rows.var(axis=1, keepdims=True)` is the power of each row, of shape (beats, 1), so it can be divided by another one.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The noise should have the power `signal / 10 ** (ratio / 10)`, where `signal` is the power of the window.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# A factor on the samples acts on the power as its square. So the factor is the *root* of the power that the noise
# should have over the power that it has.
#
# </details>


# %% nbgrader={"grade_id": "q5-mix", "solution": true}
def mix(windows, noise, ratio):
    """Return windows (beats, samples) with noise added at a signal-to-noise ratio in decibels, window by window."""
    ### BEGIN SOLUTION
    wanted = windows.var(axis=1, keepdims=True) / 10 ** (ratio / 10)
    return windows + noise * np.sqrt(wanted / noise.var(axis=1, keepdims=True))
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-mix-tests", "points": 2}
import numpy as np


def check_mix(expected, mistake, windows, noise, ratio):
    """Compare one answer of mix with the expected windows."""
    signal, added, expected = np.array(windows, float), np.array(noise, float), np.array(expected, float)
    kept = signal.copy(), added.copy()
    given = np.asarray(mix(signal, added, ratio))
    called = (
        f"windows {windows}, noise {noise}, {ratio} dB" if signal.size < 20 else f"{len(signal)} windows, {ratio} dB"
    )
    assert np.array_equal(signal, kept[0]) and np.array_equal(added, kept[1]), (
        f"{called}: an array that was given has changed. += writes into it: make a new one with +."
    )
    assert given.shape == expected.shape, (
        f"{called}: the result should have the shape of the windows, {expected.shape}; yours has {given.shape}. "
        f"{mistake}"
    )
    assert np.allclose(given, expected, rtol=1e-6, atol=1e-6), (
        f"{called}: the first window should be {expected[0][:6].round(4).tolist()} and the last one "
        f"{expected[-1][:6].round(4).tolist()}; yours are {given[0][:6].round(4).tolist()} and "
        f"{given[-1][:6].round(4).tolist()}. {mistake}"
    )


check_mix(
    [[4, 0, -4, 0]],
    "The window has the power 4 and the noise 1. At 0 dB both are equal, so the noise is doubled. [6, -2, ...] would "
    "mean a factor of 4: the root was forgotten. [3, 1, ...] would mean that it was not scaled, [2.5, 1.5, ...] that "
    "signal and noise were swapped.",
    [[2, 2, -2, -2]],
    [[1, -1, -1, 1]],
    0,
)
check_mix(
    [[10.1, 9.9, -10.1, -9.9]],
    "At 40 dB the noise has a ten-thousandth of the power 100, so its samples are 0.1. 10.01 would mean that the root "
    "was forgotten, 11 that 20 was put where 10 belongs, and 1010 a ratio with the wrong sign.",
    [[10, 10, -10, -10]],
    [[1, -1, -1, 1]],
    40,
)
check_mix(
    [[4, 0, -4, 0], [2, 0, -2, 0]],
    "Windows with the powers 4 and 1, noise with the powers 1 and 16, and 0 dB for each of the two: the noise of the "
    "first is doubled, that of the second becomes a quarter. 5 and −3 in the second would mean that its noise was "
    "taken to have the power 1, and numbers with many decimals one factor for all windows.",
    [[2, 2, -2, -2], [1, 1, -1, -1]],
    [[1, -1, -1, 1], [4, -4, -4, 4]],
    0,
)
check_mix(
    [[109, 105, 101, 105]],
    "The same window, and 105 on top of it: an electrode's offset is no signal. Power is the mean square of the "
    "distances from the mean. A huge noise would mean that the mean of the squares themselves was taken.",
    [[107, 107, 103, 103]],
    [[1, -1, -1, 1]],
    0,
)
### BEGIN HIDDEN TESTS
hidden_random = np.random.default_rng(1009)
for _ in range(30):
    hidden_shape = tuple(int(each) for each in hidden_random.integers([1, 4], [6, 40]))
    hidden_windows = hidden_random.normal(size=hidden_shape) * hidden_random.uniform(0.1, 9) + hidden_random.normal()
    hidden_noise = hidden_random.normal(size=hidden_shape) * hidden_random.uniform(0.1, 9, (hidden_shape[0], 1)) + 3
    hidden_ratio = float(hidden_random.choice([-20, -3, 0, 2.5, 10, 30]))
    hidden_rows = []
    for hidden_window, hidden_row in zip(hidden_windows, hidden_noise, strict=True):
        hidden_powers = [sum((x - one.mean()) ** 2 for x in one) / one.size for one in (hidden_window, hidden_row)]
        hidden_low, hidden_high = 0.0, 1e6
        for _ in range(200):  # a search for the factor, larger noise giving a smaller ratio
            hidden_middle = (hidden_low + hidden_high) / 2
            if hidden_powers[0] > 10 ** (hidden_ratio / 10) * hidden_middle**2 * hidden_powers[1]:
                hidden_low = hidden_middle
            else:
                hidden_high = hidden_middle
        hidden_rows.append(hidden_window + hidden_low * hidden_row)
    check_mix(hidden_rows, "Searching for the factor gives this.", hidden_windows, hidden_noise, hidden_ratio)
### END HIDDEN TESTS

# %% [markdown]
# **b)** Write `measure(detect, mixed, windows, ectopic, noise, ratios)`. It measures what noise does to a detector.
#
# - `detect(windows)` returns a mask: True for each window that raises an alarm.
# - `mixed(windows, noise, ratio)` is a function such as `mix` from part a). Call it, and not `mix`, so that this part
#   stands without the other.
# - `ectopic` is a mask that says which beats are ectopic, and `ratios` is a list of decibels.
#
# Return two lists, `(lost, gained)`, with one number for each ratio: how much *lower* the sensitivity is than on the
# clean windows, and how much *higher* the share of plain beats that raise a false alarm. Both are differences of
# shares, so a fall from 0.9 to 0.6 is 0.3. Either may be negative.

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write a small function inside yours that takes an array of windows and returns two shares: of the ectopic beats, and
# of the plain ones, those with an alarm. Call it once for the clean windows, and once for each ratio.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# With `alarm = detect(some_windows)` the two shares are `alarm[ectopic].mean()` and `alarm[~ectopic].mean()`.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Each ratio starts from the clean windows. If you write the noisy windows into `windows`, noise is added to noise.
#
# </details>


# %% nbgrader={"grade_id": "q5-measure", "solution": true}
def measure(detect, mixed, windows, ectopic, noise, ratios):
    """Return for each ratio how much sensitivity a detector loses, and what share of false alarms it gains."""
    ### BEGIN SOLUTION

    def shares(some):
        alarm = detect(some)
        return float(alarm[ectopic].mean()), float(alarm[~ectopic].mean())

    sensitivity, false = shares(windows)
    noisy = [shares(mixed(windows, noise, ratio)) for ratio in ratios]
    return [sensitivity - found for found, _ in noisy], [wrong - false for _, wrong in noisy]
    ### END SOLUTION


# %% nbgrader={"grade_id": "q5-measure-tests", "points": 2}
import numpy as np


def check_measure(lost, gained, mistake, values, ectopic, pushes, ratios, detect=None):
    """Compare one answer of measure with the expected lists, for windows of one sample and a stand-in for mix."""
    windows, noise = np.array(values, float)[:, np.newaxis], np.array(pushes, float)[:, np.newaxis]

    def pushed(windows, noise, ratio):
        assert windows.shape == noise.shape, (
            f"mixed got windows of shape {windows.shape} and noise of shape {noise.shape}. Mix all windows at once, "
            "and pick the ectopic ones among the alarms."
        )
        return windows + ratio * noise  # a stand-in: the ratio is the factor

    given = measure(
        detect or (lambda windows: windows[:, 0] >= 5), pushed, windows, np.array(ectopic, bool), noise, list(ratios)
    )
    called = f"beats {values}, ectopic {ectopic}, noise {pushes} times {ratios}, alarm from 5 on"
    assert isinstance(given, (tuple, list)) and len(given) == 2, (
        f"measure returns two lists, (lost, gained); yours returns {given}."
    )
    for name, yours, right in zip(("sensitivity lost", "false alarms gained"), given, (lost, gained), strict=True):
        assert np.shape(yours) == np.shape(right), (
            f"{called}: {len(right)} numbers of {name} were expected, one for each ratio; yours are {np.shape(yours)}."
        )
        assert np.allclose(yours, right, rtol=0, atol=1e-9), (
            f"{called}: the {name} should be {np.round(right, 4).tolist()}; yours is {np.round(yours, 4).tolist()}. "
            f"{mistake}"
        )


beats, kinds = [6, 7, 9, 5, 1, 2, 4, 6, 0, 3], [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
check_measure(
    [0.25, 0.5],
    [0.0, 0.0],
    "Clean, all four ectopic beats raise an alarm. The noise takes 1 and then 2 off each of them, so the beats 5 and 6 "
    "are lost one after the other: 1/4 and then 1/2. −0.25 would mean clean taken off noisy, 0.75 and 0.5 the "
    "sensitivity itself, 0.1 and 0.2 shares of all beats, 0.25 and 0.75 noise added to noise. No plain beat moves, so "
    "no false alarm is gained; 1/6 would mean that the one of the clean windows was counted.",
    beats,
    kinds,
    [-1, -1, -1, -1, 0, 0, 0, 0, 0, 0],
    [1, 2],
)
check_measure(
    [0.0, 0.0],
    [1 / 6, 2 / 6],
    "Now only the plain beats are moved, up by 1 and by 2. Clean, one of six raises a false alarm, the beat 6; then 4 "
    "joins it, and then 3. If yours is 2/6 and 3/6, the clean share was not taken off.",
    beats,
    kinds,
    [0, 0, 0, 0, 1, 1, 1, 1, 1, 1],
    [1, 2],
)
check_measure(
    [0.25, 0.0],
    [-1 / 6, 0.0],
    "Noise can also silence a false alarm, so the share that is gained may be negative. And the second ratio, 0, adds "
    "no noise: nothing is lost, though it stands after another one. 0 for the first would mean that gains were not "
    "allowed below 0.",
    beats,
    kinds,
    [-2, -2, -2, 0, 0, 0, 0, -2, 0, 0],
    [1, 0],
)
check_measure(
    [0.25],
    [0.0],
    "Clean, this monitor finds half of the four ectopic beats, 7 and 5, and with noise a quarter: 0.5 − 0.25 is lost. "
    "0.5 would mean that it was divided by the clean sensitivity, 0.75 that the clean one was taken for 1.",
    [7, 5, 1, 2, 0],
    [1, 1, 1, 1, 0],
    [0, -1, 0, 0, 0],
    [1],
)
### BEGIN HIDDEN TESTS
import random

hidden_random = random.Random(1010)
for _ in range(60):
    hidden_size = hidden_random.randint(4, 30)
    hidden_kinds = [1, 0] + [hidden_random.randint(0, 1) for _ in range(hidden_size - 2)]
    hidden_values = [hidden_random.randint(0, 9) for _ in range(hidden_size)]
    hidden_pushes = [hidden_random.randint(-3, 3) for _ in range(hidden_size)]
    hidden_ratios = [hidden_random.choice([-1, 0, 0.5, 1, 2]) for _ in range(hidden_random.randint(1, 5))]
    hidden_lists = [[], []]
    for hidden_ratio in hidden_ratios:
        for hidden_kind in (1, 0):
            hidden_change = 0
            for hidden_value, hidden_push, hidden_one in zip(hidden_values, hidden_pushes, hidden_kinds, strict=True):
                if hidden_one == hidden_kind:
                    hidden_change += (hidden_value + hidden_ratio * hidden_push >= 5) - (hidden_value >= 5)
            hidden_share = hidden_change / hidden_kinds.count(hidden_kind)
            hidden_lists[1 - hidden_kind].append(-hidden_share if hidden_kind else hidden_share)
    check_measure(
        *hidden_lists, "Going beat by beat gives this.", hidden_values, hidden_kinds, hidden_pushes, hidden_ratios
    )
### END HIDDEN TESTS

# %% [markdown]
# Now the experiment, on the synthesised records. Two detectors compare the shape of a beat with a known shape, by their
# correlation. 1 means the same shape, 0 nothing in common. Neither was made for noise.
#
# - *Like a known ectopic beat*: an alarm where the beat resembles the mean ventricular beat of other patients.
# - *Unlike the wearer's own beat*: an alarm where the beat does not resemble the median beat of the same patient.
#
# Both thresholds let 5 % of the plain training beats raise an alarm. The noise is of two kinds: *white*, as of a tense
# muscle, and *drift*, a slow wave, as of breathing.
#
# Before you run the cell, guess for each of the two what happens when an electrode comes loose: does it fall silent, or
# does it cry wolf? And which kind of noise is worse at the same ratio?

# %%
from course_lib.datasets.heartbeats import CLASSES, cut_beats, filtered, load_heartbeats


def unit(rows):
    """Return rows (n, samples) with mean 0 and length 1, so that the product of two of them is their correlation."""
    rows = rows - rows.mean(axis=-1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def own_shape(beats):
    """Return for each beat the median beat of its patient, (n, samples), length 1."""
    names, whose = np.unique(beats.patients, return_inverse=True)
    return unit(np.stack([np.median(beats.windows[beats.patients == name, :, 0], axis=0) for name in names]))[whose]


people = load_heartbeats(source="sample")
train, test = (
    cut_beats([filtered(record) for record in records], before=0.3, after=0.5)
    for records in (people.train, people.test)
)
ventricular = list(CLASSES).index("V")
known = unit(train.windows[train.labels == ventricular, :, 0].mean(axis=0))
plain = train.labels != ventricular
own = own_shape(test)
like = np.quantile((unit(train.windows[..., 0]) @ known)[plain], 0.95)
unlike = np.quantile((unit(train.windows[..., 0]) * own_shape(train)).sum(axis=1)[plain], 0.05)
detectors = {
    "like a known ectopic beat": lambda windows: unit(windows) @ known >= like,
    "unlike the wearer's own beat": lambda windows: (unit(windows) * own).sum(axis=1) <= unlike,
}
windows, ectopic, generator = test.windows[..., 0], test.labels == ventricular, np.random.default_rng(5)
seconds = np.arange(windows.shape[1]) / 120
waves = generator.uniform(0.2, 0.6, (len(windows), 1)) * seconds + generator.random((len(windows), 1))
noises = {"white": generator.normal(size=windows.shape), "drift": np.sin(2 * np.pi * waves)}
ratios = [20, 10, 5, 0, -5]
print("all numbers in %" + 20 * " " + "".join(f"{ratio:8d} dB" for ratio in ratios))
for name, detect in detectors.items():
    clean = 100 * detect(windows)
    print(f"{name}: sensitivity {clean[ectopic].mean():.0f}, false alarms {clean[~ectopic].mean():.0f}")
    for kind, noise in noises.items():
        lost, gained = measure(detect, mix, windows, ectopic, noise, ratios)
        print(f"  {kind}: sensitivity lost" + " " * 12 + "".join(f"{round(100 * each):11d}" for each in lost))
        print(f"  {kind}: false alarms gained" + " " * 9 + "".join(f"{round(100 * each):11d}" for each in gained))

# %% [markdown]
# To think about, without points: at 0 dB the correlation of a beat with its own clean shape is about $1 / \sqrt 2$.
# Where does that come from, and how does it explain both detectors? Which of the two mistakes would a wearer notice?
# And what should the monitor do when a signal is too noisy to judge?
