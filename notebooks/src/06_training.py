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
# # 06 The art of training
#
# **You will be able to**
#
# - say when a ReLU unit is dead, how one large step kills it, and what wakes it;
# - measure whether a network is as often right as it is sure, and mend it in two ways;
# - say what top-5 accuracy forgives, and what it hides;
# - train and judge a detector of something that is there once in a thousand times;
# - find out what a piece of a training recipe is worth, and how sure you may be of it.
#
# | | |
# | --- | --- |
# | Before you start | chapters 01 and 02; section 5 uses the heartbeats of chapter 04 |
# | Data | MNIST, CIFAR-10 and MIT-BIH; without them, the samples that ship (numbers then differ) |
# | Running time, two cores | quick profile about a minute, full profile about 7 minutes |
# | Sheet | `exercises/06_training.ipynb`, five questions |
# | Elsewhere | Binder builds from `environment.yml`; on Colab, clone the repository and `pip install -e .` |
#
# The chapter has four parts, and each can be read by itself: sections 1 and 2 (dead units), 3 and 4 (confidence and
# guesses), 5 (rare things) and 6 (the recipe). Section 7 needs them all.

# %%
import course_lib
from course_lib import claim, expect

course = course_lib.setup(chapter=6)

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from ipywidgets import FloatSlider, interact
from keras import layers

from course_lib import plots
from course_lib.datasets import Examples, load_digits, load_photos
from course_lib.training.loop import fit

digits = load_digits()
photos = load_photos()

# %% [markdown]
# ## 1. Dead units
#
# ReLU passes what is positive and answers 0 to all else. In the backward pass it is a gate: where the input was
# positive the gradient goes through, elsewhere it stops. So a unit that never answers never learns.
#
# ### One unit by hand
#
# A unit has the weights 0.5 and −1 and a bias b. It sees the example x = (1, 2), and its output y should be 3. The loss
# is half the squared error.
#
# - The input of ReLU is u = 0.5 · 1 − 1 · 2 + b = b − 1.5, and y = max(0, u).
# - The chain rule: ∂loss/∂w = (y − 3) · gate · x, with gate = 1 if u > 0, else 0. For the bias, put 1 in place of x.
#
# With b = 2.5, u is 1 and the gate is open: the gradient is −2 · 1 · (1, 2) = (−2, −4), and −2 for the bias. With
# b = −0.5, u is −1 and the gate is closed: −3 · 0 · (1, 2) = (0, 0), and 0 for the bias. The error is larger, and
# nothing is learned from it.

# %%
from course_lib.analysis.gradients import input_gradient

example, wanted = np.array([1.0, 2.0], "float32"), 3.0


def half_squared_error(parameters):
    """The loss of one unit as a function of its two weights and its bias."""
    u = keras.ops.sum(parameters[:2] * example) + parameters[2]
    return (keras.ops.relu(u) - wanted) ** 2 / 2


# %% tags=["nbval-check-output"]
for bias, by_hand in ((2.5, [-2, -4, -2]), (-0.5, [0, 0, 0])):
    gradient = input_gradient(half_squared_error, [0.5, -1, bias])
    assert np.array_equal(gradient, by_hand)
    print(f"bias {bias}: gradient {[int(value) for value in gradient]}")

# %% [markdown]
# ### Over a data set
#
# One closed gate does no harm: other examples may open it. The gradient of a data set is a sum over its examples. It is
# 0 for certain only if every gate is closed, that is, if w · x + b ≤ 0 for all x. In one line:
#
# b ≤ −max(w · x), the maximum taken over the data set.
#
# Such a unit is **dead** over this data set. Neither more epochs nor a higher rate will move its weights. Something
# else may: the layers before it learn too, and can change its x; momentum goes on for a while; decay shrinks w.
#
# By hand, with the same weights and five examples: w · x is −1.5, −1, 0.5, 1, −1. The maximum is 1, so the unit is dead
# if b ≤ −1. The library's `dead_units` asks a network the same question, layer by layer.

# %% tags=["nbval-check-output"]
from course_lib.analysis.activations import answer_counts, dead_units

five = np.array([[1, 2], [0, 1], [3, 1], [2, 0], [4, 3]], "float32")
biases = np.array([0, -0.75, -1, -2], "float32")
alike = np.repeat([[0.5], [-1]], len(biases), axis=1)  # four units, which differ in their bias only
layer = keras.layers.Dense(len(biases), activation="relu", name="four")
network = keras.Sequential([keras.Input((2,)), layer])
layer.set_weights([alike, biases])
dead_by_hand = biases <= -(five @ alike).max(axis=0)
assert np.array_equal(dead_units(network, five)["four"], dead_by_hand)
print("examples answered:", answer_counts(network, five)["four"], "  dead:", dead_by_hand)

# %% [markdown]
# ### How many to expect
#
# Now take the examples from a distribution. Let the d inputs be independent and normal with mean 0 and standard
# deviation 1 (deviation, for short). Then w · x + b is a sum of normal variables. It is normal with mean b and
# deviation ‖w‖, the length of w.
#
# So the unit answers an example with probability Φ(b/‖w‖), where Φ is the normal distribution function. The examples
# are independent, so it answers none of n with probability (1 − Φ(b/‖w‖))ⁿ.
#
# By hand:
#
# - b = 0: each example is a coin, and the unit is dead over n of them with probability 1/2ⁿ.
# - b = −‖w‖: Φ(−1) is 0.159. The unit is silent over ten examples with probability 0.841¹⁰ = 0.18, over a hundred with
#   0.00000003.
#
# The second line says something about the word "dead". With such inputs no unit is dead for ever. A large enough data
# set has an example that it answers. Bias and weights alone do not settle the matter; the number of examples does, too.
#
# One step is left. In a layer with random weights of deviation s, ‖w‖ differs from unit to unit: its square is s² times
# a sum of d squared standard normal numbers, which is called χ² with d degrees of freedom. With d = 100 and s = 0.1,
# ‖w‖ is 1 ± 0.07. That looks harmless, but the power n makes much of it. So we need the mean over ‖w‖. First by drawing
# it a hundred thousand times, then by the library, which integrates.

# %% tags=["nbval-check-output"]
from scipy.special import ndtr

from course_lib.analysis.activations import dead_probability

D, S = 100, 0.1
norms = S * np.sqrt(np.random.default_rng(0).chisquare(D, 100_000))
fixed = ndtr(3) ** 1_000  # 1 − Φ(−3) = Φ(3)
drawn = (ndtr(3 / norms) ** 1_000).mean()
exact = dead_probability(-3, deviation=S, fan_in=D, examples=1_000)
print(f"b = -3, 1,000 examples: {fixed:.2f} if every norm were 1, {drawn:.2f} over drawn norms, {exact:.2f} exact")
assert abs(drawn - exact) < 0.01

# %% tags=["nbval-check-output"]
for examples, share in ((10, 98.5), (100, 86.1), (1_000, 30.8), (10_000, 0.8)):
    predicted = 100 * dead_probability(-3, deviation=S, fan_in=D, examples=examples)
    expect(f"dead at a bias of -3 over {examples:,} examples, %", round(float(predicted), 1), exactly=share)

# %% [markdown]
# Now measure. Ten layers of 2,000 units each meet 1,000 examples of their own. (Units of one layer see the same
# examples, so they are not independent witnesses; ten data sets even that out.)


# %%
def largest_answers(seed, counts, *, units=2_000):
    """Return the largest w · x of each of `units` random units over the first n examples, a row for each n."""
    generator = np.random.default_rng((course.seed, seed))
    answers = generator.normal(size=(max(counts), D)) @ generator.normal(scale=S, size=(D, units))
    return [answers[:n].max(axis=0) for n in counts]


# %%
COUNTS = (100, 1_000)
BIASES = np.array([-2, -2.5, -3, -3.5, -4])
largest = np.concatenate([largest_answers(seed, COUNTS) for seed in range(10)], axis=1)
measured = 100 * (BIASES[:, None, None] <= -largest).mean(axis=-1)  # a row for each bias, a column for each n
predicted = 100 * np.stack([dead_probability(BIASES, deviation=S, fan_in=D, examples=n) for n in COUNTS], axis=1)

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
steps = np.linspace(-5, 0, 101)
for column, n in enumerate(COUNTS):
    curve = 100 * dead_probability(steps, deviation=S, fan_in=D, examples=n)
    axes.plot(steps, curve, color=plots.COLOURS[column], linestyle=plots.STYLES[column], label=f"{n:,} examples")
    axes.plot(BIASES, measured[:, column], "o", color=plots.COLOURS[column])
axes.set(xlabel="bias (the weight vectors have a length of about 1)", ylabel="dead units (%)")
axes.grid(alpha=0.3)
axes.legend()
plots.show(
    figure,
    caption="Share of dead units against the bias: predicted (lines) and measured (dots, 20,000 units), for two sizes "
    "of the data set.",
    alt="Two falling S-shaped curves over the bias, one for 100 examples and one for 1,000, with five dots each.",
)

# %%
for bias, row, other in zip(BIASES, predicted, measured, strict=True):
    print(f"bias {bias:>4}: {row[1]:5.1f} % predicted, {other[1]:5.1f} % measured")
apart = np.abs(predicted - measured)
claim("dead-units-follow-from-weights", apart[:, 1].max())
expect("largest difference at 1,000 examples, points", apart[:, 1].max(), full=(0, 2), quick=(0, 2))
expect("largest difference at 100 examples, points", apart[:, 0].max(), full=(0, 2), quick=(0, 2))

# %% [markdown]
# ### On digits
#
# Pixels are neither normal nor independent. What is left of the prediction?
#
# Let random units look at digits. For each unit we measure the mean and the deviation of w · x over the digits, and put
# them in the place of 0 and ‖w‖. So the unit answers with probability Φ((mean + b)/deviation), *if* its w · x is
# normal. As a sum of hundreds of terms it might be, about. But only its far end decides here: over n examples, the
# largest one in n. A sum of terms that hang together is normal at the far end last of all.

# %%
flat = digits.train.take(0, 10_000).images.reshape(-1, 28 * 28)
weights = np.random.default_rng(course.seed).normal(scale=1 / 28, size=(28 * 28, 1_000)).astype("float32")
answers = flat @ weights
DIGIT_BIASES = np.linspace(-1.8, -0.2, 17)
on_digits = {}
for n in (1_000, len(flat)):
    seen = answers[:n]
    one = ndtr(-(DIGIT_BIASES[:, None] + seen.mean(axis=0)) / seen.std(axis=0))  # silent for one digit
    on_digits[n] = 100 * (one**n).mean(axis=1), 100 * (DIGIT_BIASES[:, None] <= -seen.max(axis=0)).mean(axis=1)

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for colour, (n, (by_normal, counted)) in zip(plots.COLOURS, on_digits.items(), strict=False):
    axes.plot(DIGIT_BIASES, by_normal, color=colour, label=f"{n:,} digits")
    axes.plot(DIGIT_BIASES, counted, "o", color=colour)
axes.set(xlabel="bias", ylabel="dead units (%)")
axes.grid(alpha=0.3)
axes.legend()
plots.show(
    figure,
    caption="Share of dead units over real digits: predicted as if each unit's input were normal (lines), and counted "
    "(dots, 1,000 random units).",
    alt="Two falling S-shaped lines over the bias, one for each number of digits, and 17 dots for each.",
)

# %%
for n, (by_normal, counted) in on_digits.items():
    off = np.abs(by_normal - counted).max()
    name = "1,000 digits" if n == 1_000 else "all of these digits"
    expect(f"largest difference over {name}, points", off, full=(2, 15), quick=(0, 30))

# %% [markdown]
# So the condition is exact: a unit is dead if and only if b ≤ −max(w · x). The *forecast* is as good as what one knows
# about the largest w · x. For normal inputs that is everything. For digits mean and deviation tell most of it.

# %% [markdown]
# ## 2. One step too large
#
# Where do dead units come from? One source is a single step that is far too large. It throws w and b far along the
# gradient, and where they land is chance. If w · x + b is positive nowhere, the gate is shut.
#
# We take the LeNet-5 of chapter 01 with ReLU and train it for one epoch. Some units are dead even then.
# (A map of a convolution counts as one unit here: its places share their weights, so it is dead if it answers at no
# place of any image.)

# %%
from course_lib.models.lenet import lenet5

part = digits.train.take(0, course.size(quick=1_500, full=len(digits.train)))


def dead_over(network, images):
    """Return for each layer with ReLU, by name, which units answer none of the images."""
    return dead_units(network, images, batch_size=2_000)


def count(masks):
    """Return how many units are marked, all layers together."""
    return sum(int(mask.sum()) for mask in masks.values())


keras.utils.set_random_seed(course.seed)
lenet = lenet5(activation="relu", pooling="max")
history = fit(lenet, part, epochs=1)
sound = lenet.get_weights()
dead = {"before the step": dead_over(lenet, part.images)}
units = sum(mask.size for mask in dead["before the step"].values())
expect("units of LeNet-5 with ReLU", units, exactly=6 + 16 + 120 + 84)
expect("units dead after one epoch", count(dead["before the step"]), full=(20, 80), quick=(0, 150))

# %% [markdown]
# Now one step of plain gradient descent on the first 128 digits, always from the same weights, at rates from ordinary
# to absurd. We count over the validation digits which units fell silent, of those that answered before.

# %%
STEP_RATES = (0.1, 0.3, 1, 3, 10, 30, 100)
one_batch = part.take(0, 128)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
lenet.compile(optimizer=keras.optimizers.SGD(), loss=loss)
alive = {name: ~mask for name, mask in dead_over(lenet, digits.validation.images).items()}


def step_at(rate):
    """Set `lenet` to where one step at this rate leads."""
    lenet.set_weights(sound)
    lenet.optimizer.learning_rate = rate
    lenet.train_on_batch(one_batch.images, one_batch.labels)


fallen = []
for rate in STEP_RATES:
    step_at(rate)
    now = dead_over(lenet, digits.validation.images)
    fallen.append(100 * count({name: now[name] & alive[name] for name in now}) / count(alive))
    print(f"rate {rate:>5}: {fallen[-1]:4.1f} % of the units fall silent")

# %%
figure = plots.curves(
    STEP_RATES, {"silenced": fallen}, xlabel="rate of the one step", ylabel="units that fall silent (%)"
)
figure.axes[0].set(xscale="log", ylim=(0, 100))
figure.axes[0].set_xticks(STEP_RATES, STEP_RATES)
plots.show(
    figure,
    caption="What one step does, by its size: share of the units that answered before it and not after it, over the "
    "validation digits.",
    alt="A curve of the share of silenced units over the rate of the step, logarithmic, with a dot for each of seven.",
)
expect("silenced by a step at rate 100, %", fallen[-1], full=(30, 65), quick=(5, 90))

# %% [markdown]
# The curve need not go to 100 %. In a very large step the old weights hardly count any more: what is left is the
# gradient times the rate. A unit is then dead or not by the direction of its gradient, and a step twice as large has
# the same direction. So about half of the units go down, and the others go up.
#
# We go on with the rate 10. With seed 0 it was the smallest of these that silenced a quarter of the units.

# %%
step_at(10)
damaged = lenet.get_weights()
dead["after the step"] = dead_over(lenet, part.images)
silenced = {name: mask & ~dead["before the step"][name] for name, mask in dead["after the step"].items()}
for name, mask in silenced.items():
    print(f"{name}: {mask.sum():>2} of {mask.size:>3} units silenced")
expect("units silenced by the step", count(silenced), full=(30, 120), quick=(1, 200))

# %% [markdown]
# ### Do they wake?
#
# Ordinary training follows: two epochs with Adam, on the same digits. To compare, the sound weights from before the
# step get the same training.
#
# And twice the damaged network goes on with **leaky ReLU** in place of ReLU, which lets a part of what is negative
# through: u if u > 0, else slope · u (Maas, Hannun and Ng, 2013). The gate is never quite shut, and a silent unit still
# has a small gradient. The authors' slope is 0.01. Keras' layer takes 0.3 if one does not say. Here, too, a unit is
# awake if its input is positive for at least one digit.
#
# Of the rates 0.001, 0.003 and 0.01 for this training the last was best on the validation digits, tried with seed 0;
# higher ones were not tried.

# %%
SLOPES = course.size(quick=(0.3,), full=(0.01, 0.3))
LEAKY = {f"leaky, slope {slope}": keras.layers.LeakyReLU(slope) for slope in SLOPES}
RUNS = {"no step": ("relu", sound), "ReLU": ("relu", damaged)}
RUNS |= {name: (activation, damaged) for name, activation in LEAKY.items()}
lenet_accuracy = {}


def percent_right(network, data):
    """Return the share of the images whose class has the highest score, in percent."""
    return 100 * (network.predict(data.images, batch_size=1_000, verbose=0).argmax(axis=1) == data.labels).mean()


for name, (activation, start) in RUNS.items():
    repaired = lenet5(activation=activation, pooling="max")
    repaired.set_weights(start)
    history = fit(repaired, part, epochs=course.size(quick=1, full=2), learning_rate=0.01)
    dead[name] = dead_over(repaired, part.images)
    lenet_accuracy[name] = [percent_right(repaired, images) for images in (digits.validation, digits.test)]

# %%
woken = {}
bands = {"ReLU": (0, 70), "leaky, slope 0.01": (0, 50), "leaky, slope 0.3": (40, 100)}
for name in ("ReLU", *LEAKY):
    awake = {layer: mask & ~dead[name][layer] for layer, mask in silenced.items()}
    woken[name] = 100 * count(awake) / count(silenced)
    print(f"{name}: {count(dead[name])} units dead in the end, test accuracy {lenet_accuracy[name][1]:.1f} %")
    expect(f"{name}: silenced units that wake, %", woken[name], full=bands[name], quick=(0, 100))

# %% [markdown]
# Each unit has a column in the picture. The step adds dark blocks; how much of them does each training take away? Look
# also for columns that turn dark only in the last rows: training itself can silence a unit.

# %%
by_state = {name: np.lexsort((~silenced[name], ~mask)) for name, mask in dead["before the step"].items()}
shown = {state: masks for state, masks in dead.items() if state != "no step"}
strips = np.array([np.concatenate([masks[name][by_state[name]] for name in by_state]) for masks in shown.values()])
figure, axes = plt.subplots(figsize=(9, 2.4), layout="constrained")
axes.imshow(strips, aspect="auto", interpolation="nearest", cmap="Blues", vmin=-0.1, vmax=1.1)
starts = np.cumsum([0] + [len(places) for places in by_state.values()])
axes.set_xticks((starts[:-1] + starts[1:]) / 2, by_state)
axes.set_yticks(range(len(shown)), shown)
for start in starts[1:-1]:
    axes.axvline(start - 0.5, color="black", linewidth=1)
axes.set(xlabel="units, layer by layer", ylabel="state")
plots.show(
    figure,
    caption="Every unit of LeNet-5, a column each: dark where it answers no training digit. In each layer those that "
    "were dead at the start come first, then those that the step silenced. The rows below are after training.",
    alt="Strips of 226 columns, light or dark: before the step, after it, and after training with ReLU and with "
    "leaky ReLU.",
)

# %% [markdown]
# For the claims we take the slope with the better accuracy on the validation digits. The difference in accuracy between
# it and ReLU has two parts: the units that woke, and leaky ReLU itself. The run without the step shows what ReLU
# reaches with its units intact.

# %%
slope = max(LEAKY, key=lambda name: lenet_accuracy[name][0])
print("chosen:", slope)
claim("large-step-kills-units", 100 - woken["ReLU"])
claim("leaky-relu-revives", woken[slope])
claim("dead-units-cost-accuracy", lenet_accuracy[slope][1] - lenet_accuracy["ReLU"][1])
for name, band in {"no step": (98, 99.4), "ReLU": (80, 98), slope: (82, 98)}.items():
    name_of_check = "chosen slope" if name == slope else name
    expect(f"{name_of_check}: test accuracy in the end, %", lenet_accuracy[name][1], full=band, quick=(5, 100))
expect("chosen slope: silenced units that wake, %", woken[slope], full=(40, 100), quick=(0, 100))

# %% [markdown]
# ## 3. How sure is the network, and is it right to be?
#
# A classifier gives each class a probability. It names the class with the largest one, and that probability is its
# **confidence**. Can we take the number at its word?
#
# Weather forecasters have asked this for a long time (Murphy and Winkler, 1977). One says "rain, 70 %" on ten days.
# Each day it rains or it does not, so no single day can prove the number wrong. But if it rains on seven of the ten, it
# meant what it said. A forecaster is **calibrated** if, of all cases with confidence p, the fraction p comes true. A
# network is calibrated if, of all images with confidence p, the fraction p is classified rightly.
#
# By hand: ten forecasts. On five days the forecaster says 60 %, and it rains on three. On five other days it says 90 %,
# and it rains on three as well.
#
# - First group: 3/5 = 0.6 came true, 0.6 was said. The gap is 0.
# - Second group: 3/5 = 0.6 came true, 0.9 was said. The gap is 0.3.
#
# Each group has half of the days, so the mean gap is 0.5 · 0 + 0.5 · 0.3 = 0.15. This is the **expected calibration
# error** (Naeini and others, 2015; Guo and others, 2017, equation 3).

# %% tags=["nbval-check-output"]
said = np.array([0.6, 0.6, 0.6, 0.6, 0.6, 0.9, 0.9, 0.9, 0.9, 0.9])
rained = np.array([1, 0, 1, 1, 0, 1, 1, 0, 1, 0])
error = 0.0
for number in np.unique(said):
    group = said == number
    gap = abs(rained[group].mean() - number)
    error += group.mean() * gap
    print(f"said {number}: {rained[group].mean()} came true, gap {gap:.1f}, weight {group.mean()}")
expect("calibration error of ten forecasts", round(error, 12), exactly=0.15)

# %% [markdown]
# The library has it as `calibration_error`. It takes probabilities (n, classes) and labels (n,). Here the classes are
# rain and no rain.

# %% tags=["nbval-check-output"]
from course_lib.analysis.calibration import calibration_error, reliability

table = reliability(np.stack([said, 1 - said], axis=1), 1 - rained, bins=10, equal="width")
for row in zip(table.confidence, table.accuracy, table.count, strict=True):
    print("mean confidence {:.2f}, accuracy {:.2f}, forecasts {}".format(*row))
assert np.isclose(table.error, error)

# %% [markdown]
# ### Bins
#
# The forecaster used two numbers only. A network hardly ever says the same number twice, so its groups must be
# **bins**: images whose confidence is nearly the same. There are two ways to cut.
#
# - **Equal width**: 0 to 1/15, 1/15 to 2/15 and so on. A network that is nearly always sure fills the last bin. In the
#   others lie a few images, and what part of those is right is mostly luck.
# - **Equal mass**: sort the images by confidence and cut them into parts of equal size. Each bin then counts the same.
#
# To see what the bins do to the result, take a forecaster of whom we know the truth. Each of its 3,000 forecasts comes
# true with just the probability that it says. Its true calibration error is 0.


# %%
def error_by_hand(confidence, right, bins):
    """Return the calibration error with `bins` bins of equal mass."""
    parts = np.array_split(np.argsort(confidence), bins)
    gaps = [abs(right[part].mean() - confidence[part].mean()) for part in parts]
    return np.average(gaps, weights=[len(part) for part in parts])


# %% tags=["nbval-check-output"]
generator = np.random.default_rng(0)
said = 1 - 0.5 * generator.random(3_000) ** 2  # between 0.5 and 1, more often near 1
came_true = generator.random(3_000) < said
forecast, outcome = np.stack([said, 1 - said], axis=1), 1 - came_true
for bins in (5, 15, 50):
    errors = {equal: calibration_error(forecast, outcome, bins=bins, equal=equal) for equal in ("width", "mass")}
    assert np.isclose(errors["mass"], error_by_hand(said, came_true, bins))
    print(f"{bins:2} bins: equal width {errors['width']:.3f}, equal mass {errors['mass']:.3f}")

# %% [markdown]
# The forecaster is perfect, and yet the error is never 0. It grows with the number of bins. That is noise. A bin of m
# images, of which the part a should be right, misses a by about √(a · (1 − a) / m). With 50 bins m is 60, and for
# a = 0.8 that is √(0.8 · 0.2 / 60) = 0.05. Gaps are counted without their sign, so these misses do not cancel.
#
# It follows that a calibration error means nothing without the number of bins. From here on we use 15 bins of equal
# mass. And an error needs a yardstick: how large would it be for a calibrated network with the same confidences? We can
# find out by lot. For each image draw anew whether it is right, with its confidence as the probability, and measure.
# Do this a thousand times (Bröcker and Smith, 2007). An error below the highest 5 % of these says nothing against the
# network. We call this border the **floor**.

# %% tags=["nbval-check-output"]
from course_lib.analysis.calibration import calibration_floor, calibration_interval

generator = np.random.default_rng(0)
by_lot = [error_by_hand(said, generator.random(len(said)) < said, bins=15) for _ in range(1_000)]
floor = calibration_floor(forecast, bins=15, seed=0)
assert np.isclose(floor, np.quantile(by_lot, 0.95))
print(f"floor of the perfect forecaster: {floor:.3f}")

# %% [markdown]
# An error above the floor is a sign that the network is not calibrated. How far off is it? For that we draw the
# *images* anew: as many as there are, with replacement, a thousand times (the bootstrap). The errors of these draws
# scatter as the error of other test sets would. But they lie too high, since each draw adds its own noise. So
# `calibration_interval` takes the distance from the measured error to the upper 2.5 % of the draws, and goes as far
# down as up. Where the measured error is no clear sign of anything, the interval begins at 0.
#
# ### A network for photographs
#
# Now a network for photographs: three convolutions, one hidden layer. We train it as one usually does, on
# cross-entropy, until the rate of the schedule has come down to 0. The rate of 0.002 is that of chapter 03, and was
# not tuned again; images and epochs are what the time allows. Settings of this section were tried with one seed.


# %%
def photo_classifier():
    """A small network for photographs of 32 × 32 pixels, with ten classes."""
    convolution = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal"}
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(4, offset=-2),
            layers.Conv2D(32, 5, strides=2, **convolution),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, **convolution),
            layers.Conv2D(64, 3, **convolution),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10),
        ]
    )


expect("parameters of the photo classifier", photo_classifier().count_params(), exactly=190_346)
PHOTOS_SHOWN = photos.train.take(0, course.size(quick=3_000, full=25_000))
RECIPE = {"epochs": course.size(quick=2, full=10), "batch_size": 128, "learning_rate": 2e-3}
keras.utils.set_random_seed(course.seed)
hard_network = photo_classifier()
hard_history = fit(hard_network, PHOTOS_SHOWN, validation=photos.validation, **RECIPE)

# %%
epochs = np.arange(1, len(hard_history) + 1)
figure, pair = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for axes, metric, unit in zip(pair, ("accuracy", "loss"), ("fraction", "nats"), strict=True):
    for colour, (prefix, name) in zip(plots.COLOURS, (("", "training"), ("val_", "validation")), strict=False):
        axes.plot(epochs, hard_history.epochs[prefix + metric], label=name, color=colour, marker="o")
    axes.set(xlabel="epoch", ylabel=f"{metric} ({unit})")
pair[0].legend()
plots.show(
    figure,
    caption="The same training, measured by accuracy (left) and by its loss, the cross-entropy (right).",
    alt="Two panels over the epochs, accuracy and loss, with one curve for training and one for validation images.",
)
best_epoch = int(np.argmin(hard_history.epochs["val_loss"])) + 1
later = hard_history.epochs["val_accuracy"][-1] - hard_history.epochs["val_accuracy"][best_epoch - 1]
expect("epoch of the lowest validation loss", best_epoch, full=(3, 9), quick=(1, 2))
expect("points of validation accuracy gained after it", 100 * later, full=(-1, 6), quick=(-20, 20))
rise = hard_history.last("val_loss") / min(hard_history.epochs["val_loss"])
expect("validation loss at the end over its lowest", rise, full=(1, 1.2), quick=(1, 3))

# %% [markdown]
# After some epochs the loss on validation images stops falling and turns up, and accuracy does not go down with it. Guo
# and others (2017, section 3) saw the same in much larger networks. Whoever chooses by accuracy trains to the end.
#
# Both measure the same answers. How can they disagree? Look at one image. Let the score of the true class lie by the
# **margin** m above the nine others, all equal. The true class has the probability e^m / (e^m + 9), so the loss is
#
# −ln(e^m / (e^m + 9)) = ln(1 + 9 · e^−m).
#
# It falls with m and never gets to 0. Once the training images are right, only one thing makes their loss smaller:
# larger margins. New images get larger margins as well, also those that are wrong. A wrong answer stays wrong, so
# accuracy does not change; its loss grows by as much as the margin.
#
# ### Label smoothing
#
# A cure at the root: do not ask for endless margins. Instead of "this is a cat, 100 %", let the label say "95 % cat,
# and 5 % for the nine others together". This is **label smoothing** (Szegedy and others, 2016).
#
# With such a label the loss is the mean of all −ln(probability), weighted by the label. The scores are m for the right
# class and 0 for the others. The true class has ln(probability) = m − ln(e^m + 9), each other class −ln(e^m + 9). With
# q for the part of the true class,
#
# loss = ln(e^m + 9) − q · m.
#
# Its slope is e^m / (e^m + 9) − q. It is 0 where the probability of the true class equals q. So the smoothed loss asks
# for a certain margin and no more. Solve for it: e^m = 9 · q / (1 − q), and with q = 0.95 this is
# 9 · 0.95 / 0.05 = 171. The margin is ln 171 = 5.14.
#
# Keras mixes the label with an equal part for *every* class, the right one too. Of K classes the right one gets
# 1 − ε + ε/K and each other ε/K, where ε is its `label_smoothing`. So 5 % for the others means ε · (K − 1)/K = 0.05, or
# ε = 0.05 · 10/9 = 0.0556. In these terms the margin is ln((1 − ε + ε/K) / (ε/K)).
#
# Our labels are numbers, and Keras smooths one-hot labels. A few lines bring them together.


# %%
def smoothed_loss(epsilon, classes=10):
    """Return Keras' cross-entropy on scores with label smoothing `epsilon`, for labels that are whole numbers."""
    of_keras = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=epsilon)

    def loss(labels, scores):
        return of_keras(keras.ops.one_hot(keras.ops.cast(labels, "int32"), classes), scores)

    return loss


# %%
def margin_loss(margin, epsilon, classes=10):
    """Return the loss where the true class scores `margin` above the others, by hand."""
    q = 1 - epsilon + epsilon / classes
    return np.log(np.exp(margin) + classes - 1) - q * margin


# %% tags=["nbval-check-output"]
EPSILON = 0.05 * 10 / 9
wanted = np.log((1 - EPSILON + EPSILON / 10) / (EPSILON / 10))
expect("exp of the margin asked for", round(np.exp(wanted), 6), exactly=171)
scores = np.zeros((1, 10), "float32")
for margin in (0.0, wanted, 10.0):
    scores[0, 3] = margin
    losses = [float(smoothed_loss(epsilon)(np.array([3]), scores)) for epsilon in (0.0, EPSILON)]
    assert np.allclose(losses, [margin_loss(margin, epsilon) for epsilon in (0.0, EPSILON)], atol=1e-5)
    print(f"margin {margin:5.2f}: hard labels {losses[0]:.3f}, smoothed {losses[1]:.3f}")

# %% [markdown]
# At a margin of 10 the hard loss is nearly 0 and the smoothed one is worse than at 5.14. Note also that the smoothed
# loss is at best 0.308. So losses of the two trainings cannot be compared.
#
# Drag the slider: at which margin is the lowest point?


# %%
def draw_margin_loss(axes, epsilons):
    """Draw the loss over the margin for each ε, with a dot at the lowest point."""
    margins = np.linspace(-2, 12, 200)
    for colour, style, epsilon in zip(plots.COLOURS, plots.STYLES, epsilons, strict=False):
        axes.plot(margins, margin_loss(margins, epsilon), style, color=colour, label=f"ε = {epsilon:.3f}")
        if epsilon:
            lowest = np.log((1 - epsilon + epsilon / 10) / (epsilon / 10))
            axes.plot(lowest, margin_loss(lowest, epsilon), "o", color=colour)
    axes.set(xlabel="margin of the true class over the others", ylabel="loss (nats)", ylim=(0, 4.5))
    axes.legend()


@interact(epsilon=FloatSlider(0.05, min=0.01, max=0.5, step=0.01))
def explore_smoothing(epsilon):
    draw_margin_loss(plt.subplots(figsize=(6, 3.4), layout="constrained")[1], (0, epsilon))
    plt.show()


# %%
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
draw_margin_loss(axes, (0, EPSILON, 0.2))
plots.show(
    figure,
    caption="The loss of one image over its margin. Dots mark the lowest points. Without smoothing there is none.",
    alt="Three curves that fall steeply from the left. Without smoothing the curve goes on falling towards 0; with it, "
    "each has a lowest point and rises slowly after it, sooner and more steeply for the larger smoothing.",
)

# %% [markdown]
# Now the same network with smoothed labels, all else alike. We compared ε = 0.0556, which gives the 95 % of the
# sources, with 0.1, the value of Szegedy and others. On the validation images 0.0556 had the lower cross-entropy with
# the true labels, and 0.1 left the network less sure than right. So we take the sources' value.

# %%
keras.utils.set_random_seed(course.seed)
smooth_network = photo_classifier()
smooth_history = fit(smooth_network, PHOTOS_SHOWN, loss=smoothed_loss(EPSILON), **RECIPE)


def scores_of(network, data):
    """Return the scores of a network for images, (n, 10)."""
    return network.predict(data.images, batch_size=1_000, verbose=0)


hard_scores, smooth_scores = (scores_of(network, photos.test) for network in (hard_network, smooth_network))
validation_scores = scores_of(hard_network, photos.validation)
smooth_validation_scores = scores_of(smooth_network, photos.validation)

# %% [markdown]
# ### Temperature
#
# There is a cure after the fact, too, without any training. Divide all scores by one number T, the **temperature**. A
# T above 1 draws the scores together, and the probabilities become more even. A T below 1 drives them apart. The order
# of the classes stays, so the class that comes first stays, and so does the accuracy.
#
# By hand: scores 2 and 0 differ by 2, so the first class has e² / (e² + 1) = 0.88. With T = 2 they differ by 1:
# e / (e + 1) = 0.73.
#
# Which T? The one with the lowest cross-entropy on images that the network was not trained on: the validation images,
# not the test images (Guo and others, 2017, section 4.2). It is one number, and the loss as a function of 1/T is a
# bowl with one lowest point.

# %%
from course_lib.analysis.calibration import fit_temperature, negative_log_likelihood, softmax

expect("first class with T = 2", round(softmax([[2.0, 0.0]], temperature=2)[0, 0], 2), exactly=0.73)
validation_labels = photos.validation.labels
temperatures = {"hard": fit_temperature(validation_scores, validation_labels)}
temperatures["smoothed"] = fit_temperature(smooth_validation_scores, validation_labels)
tried = np.geomspace(0.25, 8, 201)  # the same with nothing but eyes
losses = [negative_log_likelihood(validation_scores, validation_labels, temperature) for temperature in tried]
print(f"lowest of 201 temperatures: {tried[np.argmin(losses)]:.2f}; fitted: {temperatures['hard']:.2f}")
for name, temperature in temperatures.items():
    expect(f"temperature, {name} labels", temperature, full=(0.9, 2), quick=(0.01, 50))

# %% [markdown]
# ### Four reliability diagrams
#
# A **reliability diagram** draws for each bin the accuracy over the mean confidence. A calibrated network lies on the
# diagonal. Below it, the network is more sure than right; above it, less sure than right.


# %%
def draw_reliability(axes, probabilities, labels, title):
    """Draw a reliability diagram with 15 bins of equal mass."""
    table = reliability(probabilities, labels, bins=15)
    axes.plot([0, 1], [0, 1], "--", color="grey", label="calibrated")
    axes.vlines(table.confidence, table.accuracy, table.confidence, color=plots.COLOURS[1], label="gap")
    axes.plot(table.confidence, table.accuracy, "o-", color=plots.COLOURS[0], label="bin")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean confidence", ylabel="accuracy", aspect="equal")
    axes.set_title(f"{title}\ncalibration error {100 * table.error:.1f} %", fontsize=10)


# %%
VARIANTS = {
    "hard": (hard_scores, 1.0),
    "hard, temperature": (hard_scores, temperatures["hard"]),
    "smoothed": (smooth_scores, 1.0),
    "smoothed, temperature": (smooth_scores, temperatures["smoothed"]),
}
figure, row = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained", sharey=True)
for axes, (name, (scores, temperature)) in zip(row, VARIANTS.items(), strict=True):
    draw_reliability(axes, softmax(scores, temperature), photos.test.labels, name)
row[0].legend(fontsize=8)
plots.show(
    figure,
    caption="Test images in 15 bins of equal mass, for hard and smoothed labels, without and with temperature scaling.",
    alt="Four square diagrams of accuracy over mean confidence, each with a dashed diagonal, a dot for each bin, and a "
    "line from each dot to the diagonal.",
)

# %% [markdown]
# In numbers: accuracy, mean confidence, calibration error with its interval and its floor (all in percent), the
# negative log-likelihood, and the **Brier score**. That is the mean of the squared distances between the probabilities
# and the label as zeros and one, summed over the classes: 0 at best, 2 at worst (Brier, 1950). Both judge
# together how well the network tells classes apart and how honest its probabilities are, and need no bins.

# %%
from course_lib.analysis.calibration import brier_score

test_labels, calibration, likelihood, first_right = photos.test.labels, {}, {}, {}
print(f"{'labels':<23}{'acc.':>5}{'conf.':>7}{'calibration error':>22}{'floor':>7}{'neg. log-lik.':>15}{'Brier':>7}")
for name, (scores, temperature) in VARIANTS.items():
    answer = softmax(scores, temperature)
    first_right[name] = scores.argmax(axis=1) == test_labels
    calibration[name] = 100 * calibration_error(answer, test_labels, bins=15)
    low, high = calibration_interval(answer, test_labels, bins=15, seed=course.seed)
    floor = 100 * calibration_floor(answer, bins=15, seed=course.seed)
    found = f"{calibration[name]:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    likelihood[name] = negative_log_likelihood(scores, test_labels, temperature)
    print(f"{name:<23}{100 * first_right[name].mean():>5.1f}{100 * answer.max(axis=1).mean():>7.1f}{found:>22}", end="")
    print(f"{floor:>7.1f}{likelihood[name]:>15.3f}{brier_score(answer, test_labels):>7.3f}")

# %%
from course_lib.records import mean_interval

top_1 = {name: 100 * float(first_right[name].mean()) for name in ("hard", "smoothed")}
for name, value in top_1.items():
    expect(f"{name} labels: test accuracy, %", value, full=(63, 70), quick=(5, 100))
for name, band in zip(VARIANTS, ((7, 15), (0.3, 3.5), (1, 7), (0.3, 3.5)), strict=True):
    expect(f"{name}: calibration error, %", calibration[name], full=band, quick=(0, 60))
    expect(f"{name}: negative log-likelihood", likelihood[name], full=(0.9, 1.2), quick=(0.01, 5))
too_sure = 100 * float(softmax(hard_scores).max(axis=1).mean()) - top_1["hard"]
expect("hard labels: confidence less accuracy, points", too_sure, full=(6, 16), quick=(-50, 80))
claim("smoothing-keeps-top1", abs(top_1["smoothed"] - top_1["hard"]))
claim("smoothing-calibrates", calibration["hard"] / calibration["smoothed"])

# %% [markdown]
# These intervals are over test images, for one training. The chapter was run with several seeds; here is the mean
# change over them, and after ± the half-width of its 95 % interval (section 6 explains it).

# %%
changes = [("smoothed labels", "hard labels", "test accuracy, %")]
changes += [(name, "hard", "calibration error, %") for name in list(VARIANTS)[1:]]
for after, before, score in changes:
    if change := mean_interval(f"{after}: {score}", minus=f"{before}: {score}"):
        print(f"{after}, {score}: {change[0]:+.2f} ± {change[1]:.2f} against {before}")

# %% [markdown]
# Label smoothing is said not to change which class comes first. Accuracy alone does not show that: some answers may
# become right and as many others wrong. If it makes no difference to accuracy, each image that only one of the two
# networks gets right falls to either with equal chance. With d such images the difference in accuracy then has a
# standard error of √d images.

# %%
changed = 100 * (hard_scores.argmax(axis=1) != smooth_scores.argmax(axis=1)).mean()
expect("test images whose first class smoothing changed, %", changed, full=(20, 32), quick=(0, 100))
one_only = np.count_nonzero(first_right["hard"] != first_right["smoothed"])
noise = 100 * np.sqrt(one_only) / len(test_labels)
expect("standard error of the difference in accuracy, points", noise, full=(0.2, 0.7), quick=(0, 5))
cooled = softmax(hard_scores, temperatures["hard"]).argmax(axis=1)
expect("test images whose first class temperature changed", (cooled != hard_scores.argmax(axis=1)).sum(), exactly=0)

# %% [markdown]
# Try temperatures yourself, on the validation images and with hard labels. Where does the curve meet the diagonal? What
# happens to the confidence as T grows?


# %%
@interact(temperature=FloatSlider(1, min=0.2, max=6, step=0.1))
def explore_temperature(temperature):
    axes = plt.subplots(figsize=(3.6, 3.8), layout="constrained")[1]
    draw_reliability(axes, softmax(validation_scores, temperature), validation_labels, f"T = {temperature:.1f}")
    plt.show()


# %%
figure, row = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained", sharey=True)
for axes, temperature in zip(row, (0.5, 1.0, temperatures["hard"], 5.0), strict=True):
    draw_reliability(axes, softmax(validation_scores, temperature), validation_labels, f"T = {temperature:.2f}")
plots.show(
    figure,
    caption="Validation images of the network trained on hard labels, under four temperatures; the third is the one "
    "that was fitted to them.",
    alt="Four reliability diagrams, one for each temperature. As it grows, the dots move left, to lower confidence.",
)

# %% [markdown]
# ## 4. Five guesses
#
# ImageNet has a thousand classes, and among them are the Siberian husky, the Eskimo dog and the malamute: three sledge
# dogs. Who takes one for another has understood most of the picture. Yet **top-1 accuracy**, the share of pictures
# whose class comes first, counts it like taking the dog for a teapot. And many pictures show several things, of which
# one is the label. So the contest counted **top-5 accuracy**: the true class must be among the first five.
#
# More guesses are right more often, whatever the network. To know what a top-5 accuracy says, we need to know what it
# would be anyway, for a network of this top-1 accuracy. For that we need a model.
#
# ### A model of look-alikes
#
# Each picture has a **neighbourhood** of m classes that look alike. The true class is one of them. All others are never
# mistaken for it. Within the neighbourhood each class gets a score that is normal with deviation 1; those of the others
# have the mean 0, that of the true class has the mean d, its lead. The scores are independent.
#
# Two cases by hand:
#
# - d = 0: the true class is one of m equals. It is among the first k with probability k/m.
# - m = 2: the true class comes first if its score is the larger. The difference of the two is normal with mean d and
#   deviation √2, so top-1 accuracy is Φ(d/√2): for d = 1, 0.76.
#
# In general: let the true class have the score t. Each of its m − 1 rivals scores higher with probability
# q = 1 − Φ(t), independently. So the number that does is binomial, and the true class is among the first k if it is at
# most k − 1. What is left is to take the mean over t, which is normal around d: one integral.

# %%
from scipy.stats import binom, norm


def top_k(k, m, d):
    """Probability that the true class is among the first k, in a neighbourhood of m classes and with lead d."""
    step = 0.01
    noise = np.arange(-8, 8, step)
    q = norm.sf(noise + d)  # that one given rival scores higher
    return binom.cdf(k - 1, m - 1, q) @ norm.pdf(noise) * step


# %% tags=["nbval-check-output"]
expect("top-3 of 10 equals", round(top_k(3, m=10, d=0), 6), exactly=0.3)
expect("top-1 of 2 with a lead of 1", round(top_k(1, m=2, d=1), 4), exactly=round(norm.cdf(0.5**0.5), 4))

# %% [markdown]
# Is the integral right? Draw scores, count, compare.


# %%
def simulated(m, leads, draws=50_000):
    """Return top-1 to top-5 of drawn scores in percent, a row for each lead."""
    scores = np.random.default_rng((course.seed, m)).normal(size=(draws, m))
    above = [(scores[:, 1:] > scores[:, :1] + lead).sum(axis=1) for lead in leads]
    return 100 * np.array([[(rivals < k).mean() for k in range(1, 6)] for rivals in above])


# %%
LEADS = (0, 1, 2)
furthest = 0.0
for m in (2, 5, 10, 100):
    closed = 100 * np.array([[top_k(k, m, lead) for k in range(1, 6)] for lead in LEADS])
    drawn = simulated(m, LEADS)
    furthest = max(furthest, np.abs(closed - drawn).max())
    print(f"m = {m:>3}, d = 1: top-1 to top-5 {closed[1].round(1)} by integral, {drawn[1].round(1)} drawn")
expect("top-k, integral against drawn scores: largest difference, points", furthest, full=(0, 1), quick=(0, 1))

# %% [markdown]
# ### What the size of the neighbourhood does
#
# For each m there is one lead that gives a wanted top-1 accuracy, since a larger lead always helps. Take three networks
# that are right in 60 of 100 cases. The first confuses each class with two others, the second with nine, the third with
# all of a thousand.


# %%
def fitted_lead(top_1, m):
    """Return the lead that gives this top-1 accuracy in a neighbourhood of m classes."""
    leads = np.linspace(-2, 8, 501)
    return np.interp(top_1, [top_k(1, m, lead) for lead in leads], leads)


# %% tags=["nbval-check-output"]
GUESSES = range(1, 6)
curves = {}
for m in (3, 10, 1_000):
    lead = fitted_lead(0.6, m)
    curves[f"{m:,} look-alikes"] = [100 * top_k(k, m, lead) for k in GUESSES]
    print(f"m = {m:>5,}: d = {lead:.2f}, top-5 {curves[f'{m:,} look-alikes'][-1]:.0f} %")


# %%
def guess_curves(series):
    """Draw accuracies in percent over the number of guesses."""
    figure = plots.curves(GUESSES, series, xlabel="guesses k", ylabel="true class among the first k (%)")
    figure.axes[0].set_xticks(GUESSES)
    return figure


# %%
plots.show(
    guess_curves(curves),
    caption="Three networks with a top-1 accuracy of 60 % and neighbourhoods of three sizes.",
    alt="Three rising curves over one to five guesses that begin at 60 percent; the smaller the neighbourhood, the "
    "steeper, and with three look-alikes the curve is at 100 percent from the third guess on.",
)

# %% [markdown]
# So top-5 tells apart what top-1 does not: how far the mistakes stray.
#
# Now to a real network, AlexNet itself. Krizhevsky, Sutskever and Hinton (2012) give both accuracies, as errors: on the
# test pictures of 2010, and on the validation pictures of 2012 for one network and for the mean of seven (two of which
# had first been trained on a larger part of ImageNet). For the test pictures of 2010 they also quote the best method
# before, which used hand-made features. What top-5 accuracy follows from top-1, if m is simply the thousand classes?

# %% tags=["nbval-check-output"]
PUBLISHED = {  # top-1 and top-5 accuracy in percent, and the forecast
    "AlexNet, 2010": (62.5, 83.0, 83.0),
    "AlexNet, 2012": (59.3, 81.8, 80.7),
    "seven networks, 2012": (63.3, 84.6, 83.6),
    "hand-made features, 2010": (54.3, 74.3, 76.9),
}
for source, (top_1, top_5, forecast_5) in PUBLISHED.items():
    found = 100 * top_k(5, 1_000, fitted_lead(top_1 / 100, 1_000))
    print(f"{source}: top-1 {top_1} and top-5 {top_5} in the paper")
    expect(f"{source}: top-5 that follows", round(found, 1), exactly=forecast_5)

# %% [markdown]
# For AlexNet one number predicts the other within about a point. For the older method (Sánchez and Perronnin, 2011) the
# forecast is 2.6 points too high: where its first guess is wrong, the true class stands further down its list than in
# the model.
#
# That m is a thousand does *not* mean that AlexNet takes dogs for teapots. With a thousand rivals, the few that score
# highest are the look-alikes of this one picture. The model need not know which they are.
#
# ### Our network
#
# Which classes does our network confuse? Here are the ten commonest mistakes on the test photographs.

# %%
from course_lib.analysis.diagnosis import confusion_counts

true = photos.test.labels
order = np.argsort(-hard_scores, axis=1, kind="stable")  # each row: classes from the best guess to the last
mistakes = confusion_counts(true, order[:, 0], 10)
np.fill_diagonal(mistakes, 0)
commonest = np.argsort(-mistakes, axis=None, kind="stable")[:10]
for row, column in zip(*np.unravel_index(commonest, mistakes.shape), strict=True):
    print(f"{photos.classes[row]:>10} taken for {photos.classes[column]:<10} {mistakes[row, column]:>4} times")
share = 100 * mistakes.flat[commonest].sum() / mistakes.sum()
print(f"These ten of 90 pairs hold {share:.0f} % of all mistakes.")
expect("mistakes in the ten commonest of 90 pairs, %", share, full=(27, 40), quick=(11, 100))

# %% [markdown]
# And where the first guess is wrong, is the second right? By chance, it would be in one case of nine; and one of the
# four guesses from the second to the fifth would be in four of nine, 44.4 %.

# %%
place = (order == true[:, None]).argmax(axis=1)  # of the true class, 0 for the first
wrong = place[place > 0]
second = 100 * (wrong == 1).mean()
forgiven = 100 * (wrong < 5).mean()
expect("second guess right where the first was wrong, %", second, full=(42, 57), quick=(0, 100))
expect("mistakes that top-5 forgives, %", forgiven, full=(86, 95), quick=(20, 100))
claim("top5-forgives-neighbours", forgiven - 400 / 9)

# %% [markdown]
# ### From top-1 to top-5
#
# Now the model. All ten classes may be look-alikes, so m = 10, and top-1 gives d. What does it say of top-2 to top-5?


# %%
def measured_top_k(scores, labels):
    """Return top-1 to top-5 accuracy, (5,)."""
    above = (scores > np.take_along_axis(scores, labels[:, None], axis=1)).sum(axis=1)
    return np.array([(above < k).mean() for k in GUESSES])


# %%
top = 100 * measured_top_k(hard_scores, true)
lead = fitted_lead(top[0] / 100, 10)
lines = {"measured": top, "model, m = 10": 100 * np.array([top_k(k, 10, lead) for k in GUESSES])}
plots.show(
    plots.curves(GUESSES, lines, xlabel="guesses k", ylabel="true class among the first k (%)"),
    caption="Test photographs: top-1 to top-5, measured, and as they follow from top-1 alone.",
    alt="Two rising curves over one to five guesses with a common first point, one measured and one from the model.",
)

# %%
for name, values in lines.items():
    print(f"{name:<16}", *(f"{value:6.1f}" for value in values))
claim("top5-follows-from-neighbourhoods", np.abs(lines["model, m = 10"] - top)[1:].max())
expect("top-5 of the network on test, %", top[-1], full=(95, 98.5), quick=(40, 100))

# %% [markdown]
# ### What top-5 cannot tell
#
# With ten classes, pure guessing has a top-5 accuracy of 50 %, and a mediocre network is close to 100 %. There is no
# room left to tell good from better. Top-5 needs many classes, and it needs k small beside them.
#
# It also rewards a list, and not an answer. A network whose second to fifth guesses are well ordered gains; whoever has
# to act on the first guess gains nothing.

# %% [markdown]
# ## 5. A thousand to one
#
# Of 1,001 people one is ill. A program that answers "healthy", whatever it sees, is right for 1,000 of them: 99.9 %.
# So accuracy says nothing here. Chapter 04 asked two other questions. What share of the ill was found: **sensitivity**,
# or true-positive rate, TPR. What share of the alarms was right: **precision**, which medicine calls the positive
# predictive value.
#
# Precision belongs to the place where an examination is used, and not to it alone. Take one that finds 90 %
# of the ill and alarms 1 % of the healthy, its false-positive rate, FPR. Try it on 1,000 ill and 1,000 healthy people:
# 900 alarms are right, 10 are false, a precision of 98.9 %. Now send it out where there are 1,000 healthy people to one
# who is ill. For 100 ill and 100,000 healthy people, 90 alarms are right and 1,000 are false: 8.3 %. The examination is
# the same.
#
# Let π be the share of the ill, the **prevalence**. Then
#
# precision = π · TPR / (π · TPR + (1 − π) · FPR).


# %% tags=["nbval-check-output"]
def precision_at(prevalence, found, alarmed):
    """Return the share of right alarms where `found` of the ill and `alarmed` of the healthy get one."""
    return prevalence * found / (prevalence * found + (1 - prevalence) * alarmed)


for healthy in (1, 10, 100, 1000):
    print(f"{healthy:>4} to 1: {precision_at(1 / (healthy + 1), 0.9, 0.01):.1%} of the alarms are right")

# %% [markdown]
# At 1,000 to 1, half of the alarms are right where π · TPR = (1 − π) · FPR, so where FPR is a thousandth of TPR.
#
# A network gives each person a score, and an alarm is a score above a threshold. A lower threshold finds more ill
# people and alarms more healthy ones. All pairs of sensitivity and precision make the **precision–recall curve**
# (recall is one more name of sensitivity). To compare networks by one number, fix what a doctor would bear, say one
# false alarm for each right one, and ask: what share of the ill is found at a **precision of 50 %**?
#
# By hand: eight people, sorted by score. The first, third, fourth and last are ill. Each threshold lets the first few
# pass. We ask for half of the alarms to be right, here at 1 to 1, and elsewhere at 10 to 1.

# %% tags=["nbval-check-output"]
from course_lib.analysis.diagnosis import precision_recall, sensitivity_at_precision

ill, score = np.array([1, 0, 1, 1, 0, 0, 0, 1]), np.arange(8, 0, -1)
found, alarmed = np.cumsum(ill) / ill.sum(), np.cumsum(1 - ill) / (1 - ill).sum()
print("found           ", found)
for healthy in (1, 10):
    by_hand = precision_at(1 / (healthy + 1), found, alarmed)
    print(f"precision {healthy:>2} to 1", by_hand.round(2), "→ found at 50 %:", found[by_hand >= 0.5].max())
    assert np.allclose(by_hand, precision_recall(ill, score, prevalence=1 / (healthy + 1))[0])
    assert found[by_hand >= 0.5].max() == sensitivity_at_precision(ill, score, 0.5, prevalence=1 / (healthy + 1))

# %% [markdown]
# The order is the same, and so are the thresholds. But at 10 to 1 a single false alarm among four healthy people stands
# for too many.
#
# ### Focal loss
#
# Why should a network have trouble with rare cases? Look at what it is told. Cross-entropy charges −log p_t for an
# example, where p_t is the probability that the network gives to the true class. Say that 1,000 healthy people are
# easy, p_t = 0.99, and the one who is ill is missed, p_t = 0.1. Each easy one costs 0.01005 and the missed one 2.303.
# But there are a thousand: together 10.05, four times as much as the one that matters.
#
# **Focal loss** turns down what is already right (Lin and others, 2017). It multiplies by (1 − p_t)^γ:
#
# loss = −(1 − p_t)^γ · log p_t.
#
# With γ = 2 an easy example counts 0.01² = 1/10,000, and the missed one 0.9² = 0.81. Now the thousand cost 0.001, the
# one 1.87. With γ = 0 it is cross-entropy.
#
# What moves the weights is not the loss, but its slope. Let s be the score of the true class, p_t = 1 / (1 + e^(−s)),
# so that dp_t/ds = p_t (1 − p_t). Then the slope of the loss is
#
# −(1 − p_t)^γ · (1 − p_t − γ · p_t · log p_t).
#
# For γ = 0 that is −(1 − p_t), as it must be for cross-entropy. Near p_t = 1, −log p_t is about 1 − p_t, so an easy
# example pulls (1 + γ)(1 − p_t)^γ times as strongly as with cross-entropy: at 0.99 and γ = 2 not 1/10,000, but about
# 3/10,000.


# %%
def focal(p, gamma):
    """Return the focal loss of an example whose true class has the probability p."""
    return -((1 - p) ** gamma) * np.log(p)


def pull(p, gamma):
    """Return how fast that loss falls as the score of the true class grows."""
    return (1 - p) ** gamma * (1 - p - gamma * p * np.log(p))


# %% tags=["nbval-check-output"]
print("p_t    cross-entropy   focal, γ = 2   less by   |   pull    with γ = 2   less by")
for p in (0.1, 0.5, 0.9, 0.99):
    costs, pulls = (focal(p, 0), focal(p, 2)), (pull(p, 0), pull(p, 2))
    print(f"{p:<7}{costs[0]:<16.5f}{costs[1]:<15.3g}{costs[0] / costs[1]:<10,.1f}|   "
          f"{pulls[0]:<8.2f}{pulls[1]:<13.3g}{pulls[0] / pulls[1]:,.1f}")  # fmt: skip

# %% [markdown]
# At p_t = 0.1 focal loss even pulls a little harder than cross-entropy. Keras has it as `BinaryFocalCrossentropy`. Its
# loss and slope must be ours. The paper has one more factor, α_t: α for the rare class, 1 − α for the frequent one.

# %% tags=["nbval-check-output"]
from course_lib.analysis.gradients import input_gradient

s = np.linspace(-6, 6, 25, dtype="float32")[:, None]
p = 1 / (1 + np.exp(-s.astype(float)))
for target, alpha_t in ((1.0, 0.25), (0.0, 0.75)):
    of_keras = keras.losses.BinaryFocalCrossentropy(True, alpha=0.25, gamma=2, from_logits=True, reduction=None)
    sign, labels = 2 * target - 1, np.full_like(s, target)
    assert np.allclose(of_keras(labels, sign * s), alpha_t * focal(p, 2)[:, 0], atol=1e-5)
    slopes = input_gradient(lambda x, y=labels, loss=of_keras: loss(y, x), sign * s)
    assert np.allclose(-sign * slopes, alpha_t * pull(p, 2), atol=1e-5)
print("loss and slope by hand are those of Keras, for both classes")


# %% [markdown]
# Try γ and α. (The sliders work in JupyterLab; the picture below stands for them.)

# %%
ps = np.linspace(0.005, 0.995, 199)


def draw_focal(axes, gamma, alpha=0.5, **style):
    """Draw the loss of both classes, and how strongly an example pulls, as a multiple of cross-entropy."""
    for weight, line in ((alpha, "-"), (1 - alpha, "--")):
        axes[0].plot(ps, 2 * weight * focal(ps, gamma), line, **style)
        axes[1].semilogy(ps, 2 * weight * pull(ps, gamma) / pull(ps, 0), line, **style)
    axes[0].set(xlabel="probability of the true class", ylabel="loss (nats)", ylim=(0, 5))
    axes[1].set(xlabel="probability of the true class", ylabel="pull (× cross-entropy)", ylim=(1e-6, 10))


@interact(gamma=FloatSlider(2, min=0, max=5, step=0.5), alpha=FloatSlider(0.75, min=0.05, max=0.95, step=0.05))
def explore_focal(gamma, alpha):
    axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")[1]
    draw_focal(axes, 0, color="0.6")
    draw_focal(axes, gamma, alpha, color=plots.COLOURS[0])
    axes[0].set_title("rare class solid, frequent dashed", fontsize=10)
    plt.show()


# %%
figure, pair = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for index, gamma in enumerate((0, 1, 2, 5)):
    draw_focal(pair, gamma, color=plots.COLOURS[index])
    pair[0].plot([], [], color=plots.COLOURS[index], label=f"γ = {gamma}")
pair[0].legend()
plots.show(
    figure,
    caption="Focal loss for four values of γ, and how strongly an example pulls on the weights, as a multiple of "
    "cross-entropy (γ = 0).",
    alt="Left, four falling curves of loss over the probability of the true class, lower for larger gamma. Right, on a "
    "logarithmic scale, four curves that start near one and fall the more steeply the larger gamma is.",
)

# %% [markdown]
# So focal loss is for hard examples, not for rare ones. The rare are helped because a network that has learned to
# answer "healthy" finds them hard. In the very first step all have p_t near 0.5, all are turned down alike, and it
# is still a thousand to one. (The paper starts the last bias so that the rare class begins at p = 0.01. We do not: all
# ways begin alike.)
#
# ### What to expect
#
# There are three other ways. Do nothing: plain **cross-entropy**. **Class weights**: multiply the loss of each ill
# person by 1,000, or some other number. **Resampling**: show each ill person many times.
#
# Before training, think of a network so strong that it learns the best answer for each person. Say that among people
# who look like this one, a share q is ill. Which p makes the mean loss smallest? For cross-entropy it is p = q. With a
# weight of w, or with each ill person shown w times, it is w · q / (w · q + 1 − q) (Elkan, 2001). For focal loss there
# is no such short formula. Let the computer look.

# %% tags=["nbval-check-output"]
grid = np.linspace(0.001, 0.999, 999)
print("q        cross-entropy    weight 100    focal, γ = 2")
for q in (0.01, 0.1, 0.3, 0.5):
    answers = [grid[(w * q * focal(grid, gamma) + (1 - q) * focal(1 - grid, gamma)).argmin()]
               for w, gamma in ((1, 0), (100, 0), (1, 2))]  # fmt: skip
    print(f"{q:<9}" + "".join(f"{answer:<15.3f}" for answer in answers))
    assert np.isclose(answers[1], 100 * q / (100 * q + 1 - q), atol=0.001)
assert (np.diff(pull(1 - grid, 2) / pull(grid, 2)) > 0).all()

# %% [markdown]
# The numbers differ, but in each column they grow with q. So all these losses would put people in the *same order*. A
# threshold of 0.5 finds more with class weights than without, and with a threshold chosen for a precision of 50 % all
# would find the same. (For focal loss: where the mean loss is smallest its slope is 0, so q · pull(p) = (1 − q) ·
# pull(1 − p). Then q/(1 − q) = pull(1 − p)/pull(p), which grows with p; so p grows with q. Charoenphakdee and others,
# 2021, find q from p in this way.) So if one of them is better at a fixed precision, it must be because a real network,
# with few examples and limited time, learns better that way. That cannot be derived. It must be measured.

# %% [markdown]
# ### One digit in a thousand
#
# The task: is it an 8? It shares its strokes with 3, 5, 6 and 9, so no single stroke gives it away. That is why we took
# it, before any training. Of MNIST's training part we take 45,000 other digits and 45 eights, drawn at random.


# %%
def made_rare(inputs, rare, count=None):
    """Return up to `count` examples of the frequent class, drawn at random, and one rare example for each thousand."""
    generator = np.random.default_rng(course.seed)
    frequent = generator.permutation(np.flatnonzero(~rare))[:count]
    few = generator.permutation(np.flatnonzero(rare))[: round(len(frequent) / 1000)]
    chosen = np.concatenate([frequent, few])
    print(f"{len(frequent):,} frequent and {len(few)} rare examples, {len(frequent) / len(few):,.0f} to 1")
    return Examples(inputs[chosen], rare[chosen].astype("int32"))


mostly_others = made_rare(digits.train.images, digits.train.labels == 8, course.size(quick=3_000, full=45_000))
is_eight = digits.test.labels == 8
allowed = (~is_eight).sum() / 1000
print(f"test: {is_eight.sum():,} eights, {(~is_eight).sum():,} others, all used")
print(f"half of the alarms right at 1000 to 1: at most {allowed:.1f} false ones, if every eight is found")

# %% [markdown]
# The test set keeps all of its eights; what a precision would be at 1,000 to 1 follows from the formula above. Mind how
# coarse that is. With MNIST's 9,026 others, nine false alarms are all that a precision of 50 % leaves, and fewer where
# fewer eights are found. So a handful of unusual digits decides. Only large differences will mean something.
#
# The threshold is set on the test digits themselves, for every way alike. That compares orders, and flatters all a
# little. Whoever uses such a network must fix the threshold on other data beforehand.
#
# Now the four ways. The network is LeNet-5 with ReLU and max pooling and a single score: above 0 it says "8", since a
# score of 0 is a probability of 0.5. In each way it starts from the same weights and sees as many batches. In
# resampling each rare example stands in the training set many times; the set is then longer, and the epochs fewer.
#
# What each way may choose for itself was chosen on digits that the training does not use, with seed 0: 9,149 others and
# 5,806 eights, again weighted to 1,000 to 1. First the rate, 0.001, 0.003 or 0.01, with six epochs. Then the rest, with
# five: weights of 10, 100 and 1,000; 200, 500 and 1,000 repeats; γ of 1, 2 and 5, and for γ = 2 the α 0.25, 0.5, 0.75
# and 0.9. Focal loss had six such settings, the others three or none: if that favours one, it is focal loss. Of the
# repeats 500 was best and 200 half a point behind; 250 lies between them and gives the same number of batches as the
# other ways.


# %%
def weighted(times):
    """Cross-entropy in which each rare example counts `times` times."""

    def loss(labels, scores):
        each = keras.ops.binary_crossentropy(labels, scores, from_logits=True)
        return keras.ops.mean((1 + (times - 1) * labels) * each)

    return loss


PLAIN = keras.losses.BinaryCrossentropy(from_logits=True)
FOCAL = keras.losses.BinaryFocalCrossentropy
WAYS = {  # the loss, how often each rare example is shown, the rate
    "cross-entropy": (PLAIN, 1, 0.003),
    "class weights": (weighted(10), 1, 0.003),
    "resampling": (PLAIN, 250, 0.003),
    "focal loss": (FOCAL(apply_class_balancing=True, alpha=0.9, gamma=2, from_logits=True), 1, 0.003),
}

# %%
from course_lib.models.lenet import lenet5


def taught(build, data, way, *, epochs, batch_size):
    """Return the network that `build()` returns, trained in one way."""
    loss, repeats, rate = way
    shown = data[np.concatenate([np.arange(len(data)), np.tile(np.flatnonzero(data.labels), repeats - 1)])]
    keras.utils.set_random_seed(course.seed)
    network, rounds = build(), max(1, round(epochs * len(data) / len(shown)))
    history = fit(network, shown, epochs=rounds, batch_size=batch_size, learning_rate=rate, loss=loss, metrics=())
    print(f"{rounds * -(-len(shown) // batch_size):,} batches in {history.seconds:.0f} s")
    return network


def scored(network, inputs):
    """Return the score of each input, (n,); above 0 the network says that it is rare."""
    return network.predict(inputs, batch_size=2_000, verbose=0)[:, 0]


# %%
digit_scores = {}
for name, way in WAYS.items():
    network = taught(
        lambda: lenet5(classes=1, activation="relu", pooling="max"),
        mostly_others, way, epochs=course.size(quick=1, full=5), batch_size=256,
    )  # fmt: skip
    digit_scores[name] = scored(network, digits.test.images)


# %%
def judged(data, rare, scores, bands):
    """Print and check what each way finds, at the threshold 0.5 and at a precision of 50 %; return the latter."""
    at_50 = {}
    for name, score in scores.items():
        at_half = 100 * (score[rare] > 0).mean()
        at_50[name] = 100 * sensitivity_at_precision(rare, score, 0.5, prevalence=1 / 1001)
        print(f"{name}: {1000 * (score[~rare] > 0).mean():.2f} false alarms in 1,000 at the threshold 0.5")
        expect(f"{data}, {name}: sensitivity at the threshold 0.5, %", at_half, full=bands[name][0], quick=(0, 100))
        expect(f"{data}, {name}: sensitivity at 50 % precision, %", at_50[name], full=bands[name][1], quick=(0, 100))
    return at_50


BANDS = {
    "cross-entropy": ((0, 60), (50, 85)), "class weights": ((50, 82), (62, 88)),
    "resampling": ((50, 85), (70, 95)), "focal loss": ((45, 82), (62, 90)),
}  # fmt: skip
found_digits = judged("digits", is_eight, digit_scores, BANDS)
claim("rare-class-is-ignored", 100 * (digit_scores["cross-entropy"][is_eight] > 0).mean())
claim("focal-rescues-rare-digit", found_digits["focal loss"] - found_digits["cross-entropy"])

# %% [markdown]
# ### One heartbeat in a thousand
#
# The same for ventricular beats among normal ones, as in chapter 04: MIT-BIH, the patients of the first half to learn
# from, those of the second half as the test. Only classes N and V, each beat less its patient's median beat, and one
# ventricular beat for each thousand normal ones kept for training. Record 201 is left out, since 202, in the test, is
# of the same person.

# %%
from course_lib.datasets.heartbeats import CLASSES, cut_beats, filtered, from_median_beat, load_heartbeats

patients = load_heartbeats()
kinds = [list(CLASSES).index(name) for name in "NV"]


def beats_of(records):
    """Return the normal and ventricular beats of these records, less each patient's median beat."""
    beats = from_median_beat(cut_beats([filtered(record) for record in records], before=0.5, after=0.7))
    return beats[np.isin(beats.labels, kinds)]


known = beats_of(record for record in patients.train if record.name != "201")
strangers = beats_of(patients.test)
mostly_normal = made_rare(known.windows, known.labels == kinds[1])
ventricular = strangers.labels == kinds[1]
print(f"test: {ventricular.sum():,} ventricular beats, {(~ventricular).sum():,} normal ones")

# %% [markdown]
# The normal beats of the test allow at most 44 false alarms at a precision of 50 %. But they are of 22 people only, and
# the unusual beats of a single heart can use that up. The network is the one-dimensional LeNet, with a window of 1.2 s.
# Settings were chosen inside the training half, with four groups of patients left out in turn: the rates, weights, γ
# and α of the digits, and 200 or 500 repeats. (333 lies between them and gives the same number of batches.) The four
# groups disagree widely, so these choices are close to chance.

# %%
from course_lib.models.heartbeat import lenet_1d

BEAT_WAYS = {
    "cross-entropy": (PLAIN, 1, 0.003),
    "class weights": (weighted(100), 1, 0.01),
    "resampling": (PLAIN, 333, 0.003),
    "focal loss": (FOCAL(gamma=2, from_logits=True), 1, 0.01),
}
beat_scores = {}
for name in course.size(quick=("cross-entropy", "focal loss"), full=tuple(BEAT_WAYS)):
    network = taught(
        lambda: lenet_1d(classes=1, samples=known.windows.shape[1]),
        mostly_normal, BEAT_WAYS[name], epochs=course.size(quick=1, full=4), batch_size=128,
    )  # fmt: skip
    beat_scores[name] = scored(network, strangers.windows)

# %%
anything = dict.fromkeys(BEAT_WAYS, ((0, 100), (0, 100)))  # the recorded seeds run from none to nearly all
found_beats = judged("heartbeats", ventricular, beat_scores, anything)
claim("focal-rescues-rare-heartbeat", found_beats["focal loss"] - found_beats["cross-entropy"])

# %%
figure, pair = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", sharey=True)
for axes, title, rare, scores in zip(
    pair, ("the digit 8", "ventricular beats"), (is_eight, ventricular), (digit_scores, beat_scores), strict=True
):
    for name, score in scores.items():
        index = list(WAYS).index(name)
        precision, found, _ = precision_recall(rare, score, prevalence=1 / 1001)
        axes.plot(100 * found, 100 * precision, plots.STYLES[index], color=plots.COLOURS[index], label=name)
    axes.axhline(50, color="0.6", linewidth=1)
    axes.set(title=title, xlabel="sensitivity (%)", xlim=(0, 100), ylim=(0, 103))
pair[0].set(ylabel="precision at 1000 to 1 (%)")
pair[0].legend()
plots.show(
    figure,
    caption="Precision–recall curves on the test sets, weighted to 1,000 to 1. The grey line is a precision of 50 %.",
    alt="Two panels, for the rare digit and for ventricular beats. In each a jagged curve of precision over "
    "sensitivity for each way, and a grey line at a precision of 50 percent.",
)

# %% [markdown]
# The curves are jagged on the left, where each step down is a single false alarm.
#
# ### Over the seeds
#
# One run is one draw of rare examples and one set of first weights. The table has all recorded runs. In each seed all
# ways had the same rare examples and first weights, so compare them in pairs: the difference to cross-entropy, seed by
# seed, its mean, and after ± the half-width of its 95 % interval by Student's t (section 6 explains it). An
# interval that holds zero leaves it open whether there is a difference. The seeds vary the rare examples and the first
# weights, not the test set: other patients may give another result, and there are only 22 here. And there are six
# intervals: one that just misses zero is no discovery.

# %%
from course_lib.records import mean_and_sd, mean_interval, recorded

CHECK = "{}, {}: sensitivity at 50 % precision, %"
for data in ("digits", "heartbeats"):
    for name in WAYS:
        gain = mean_interval(CHECK.format(data, name), minus=CHECK.format(data, "cross-entropy"))
        line = f"{data:<11}{name:<15}{mean_and_sd(CHECK.format(data, name)):<28}"
        if name != "cross-entropy" and gain:
            line += f"gain {gain[0]:+.1f} ± {gain[1]:.1f} points"
        print(line)

# %%
figure, pair = plt.subplots(1, 2, figsize=(9, 2.6), layout="constrained", sharey=True)
for axes, data in zip(pair, ("digits", "heartbeats"), strict=True):
    for place, name in enumerate(list(WAYS)[1:]):
        colour, names = plots.COLOURS[place + 1], [CHECK.format(data, way) for way in (name, "cross-entropy")]
        ours, plain = map(recorded, names)
        points = [ours[seed] - plain[seed] for seed in ours.keys() & plain.keys()]
        axes.plot(points, np.full(len(points), place + 0.2), "o", color=colour, alpha=0.5)
        if gain := mean_interval(names[0], minus=names[1]):
            axes.errorbar(gain[0], place, xerr=gain[1], fmt="D", color=colour, capsize=3)
    axes.axvline(0, color="0.6", linewidth=1)
    axes.set(title=data, xlabel="points of sensitivity gained over cross-entropy")
    axes.set_yticks(range(3), list(WAYS)[1:])
plots.show(
    figure,
    caption="Gain over cross-entropy in sensitivity at a precision of 50 %: each recorded seed (dots), the mean "
    "(diamonds) and its 95 % interval.",
    alt="Two panels, digits and heartbeats. In each a row for class weights, resampling and focal loss, with a dot for "
    "each recorded seed and a line for the interval of the mean around a diamond; a grey line marks zero.",
)

# %% [markdown]
# ## 6. What each piece of the recipe buys
#
# A network is not trained by its loss alone. A recipe stands around it, and most of what is in it was in AlexNet's:
# momentum, weight decay, a rate that falls, dropout, augmentation. Each is cheap. Which of them is worth having? First
# we look at what each does, in numbers. Then we take them one at a time, and together.
#
# ### Momentum
#
# The velocity of chapter 02 keeps nine tenths of itself at each step, v ← 0.9 v − rate · gradient, and the weight moves
# by v. So a gradient counts once now, 0.9 times in the next step, 0.81 times in the one after, and in all
#
# 1 + 0.9 + 0.81 + … = 1/(1 − 0.9) = 10 times.
#
# A steady gradient moves the weight as if the rate were ten times as high. This is the **effective rate**,
# rate/(1 − momentum). A gradient that changes sign at each step is damped instead: 1 − 0.9 + 0.81 − … = 1/(1 + 0.9) =
# 0.53. That is the point of it: fast along a valley, calm across.

# %% tags=["nbval-check-output"]
for gradient, sign, exact in (("steady", 1, 10), ("alternating", -1, 0.5263)):
    velocity = 0.0
    for step in range(500):
        velocity = 0.9 * velocity + sign**step
    expect(f"size of the velocity for a {gradient} gradient", round(abs(velocity), 4), exactly=exact)

# %% [markdown]
# So whoever adds momentum and leaves the rate alone has mostly raised the rate tenfold. That can help or harm, and says
# nothing about momentum. Below, each run has its own best rate.
#
# ### Weight decay
#
# Each step takes a small part of the weight away: w ← (1 − rate · decay) · w, besides what the gradient does. A weight
# must keep earning its size. With a rate of 0.03 and a decay of 0.003 the part is 0.00009. After 2,000 steps without a
# gradient, 0.99991²⁰⁰⁰ = e^−0.18 = 0.84 of the weight is left. For AlexNet the effective rate was 0.1 and the decay
# 0.0005, so the part was 0.00005: the weight would fall to 1/e in 20,000 steps, which was about two epochs.
#
# There are two ways to combine it with momentum. In AlexNet's rule the decay is added to the gradient and enters the
# velocity (Krizhevsky and others, 2012). It is then multiplied by ten like all that enters. This decay is **coupled**.
# It may also be taken from the weight directly, past the velocity: **decoupled** (Loshchilov and Hutter, 2019). Keras'
# `weight_decay` does that. Without momentum, plain gradient descent makes no difference between the two. With it, the
# same number means two strengths. We use AlexNet's rule throughout, so the decay is coupled.


# %%
def what_is_left(rate, momentum, coupled, decay=0.003, steps=2_000):
    """Return what is left of a weight of 1 after steps without a gradient."""
    weight, velocity = 1.0, 0.0
    for _ in range(steps):
        pull = rate * decay * weight
        velocity = momentum * velocity - coupled * pull
        weight = weight + velocity - (1 - coupled) * pull
    return weight


# %% tags=["nbval-check-output"]
expect("left without momentum, rate 0.03", round(what_is_left(0.03, 0.0, coupled=True), 3), exactly=0.835)
expect("left with momentum, coupled, rate 0.003", round(what_is_left(0.003, 0.9, coupled=True), 3), exactly=0.836)
expect("left with momentum, decoupled, rate 0.003", round(what_is_left(0.003, 0.9, coupled=False), 3), exactly=0.982)

# %% [markdown]
# ### A schedule
#
# The gradient of a batch is that of all images plus noise. A high rate moves fast, but the noise keeps the weights
# jumping around the place they seek. A low rate comes to rest, but takes long to get there. So begin high and end low.
# AlexNet divided its rate by 10 when the validation error stood still. Today's usual choice is half a cosine, from the
# first rate to 0 (Loshchilov and Hutter, 2017): rate/2 · (1 + cos(π · step/steps)). It is flat at both ends, and half
# of the first rate on average.

# %% tags=["nbval-check-output"]
steps = np.array([0, 500, 1_000, 1_500, 2_000])
by_hand = 0.03 / 2 * (1 + np.cos(np.pi * steps / 2_000))
schedule = keras.optimizers.schedules.CosineDecay(0.03, 2_000)
assert np.allclose(by_hand, [float(schedule(step)) for step in steps], atol=1e-7)
for step, rate in zip(steps, by_hand, strict=True):
    print(f"step {step:>5,}: constant rate 0.0300, half a cosine {rate:.4f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
steps = np.arange(2_001)
for decay, colour in zip((0.001, 0.003, 0.01), plots.COLOURS, strict=False):
    left.plot(steps, (1 - 0.03 * decay) ** steps, color=colour, label=f"{decay}")
left.set(xlabel="steps without a gradient", ylabel="part of the weight left", title="decay, rate 0.03", ylim=(0, 1))
left.legend()
right.plot(steps, np.full(2_001, 0.03), plots.STYLES[1], color=plots.COLOURS[1], label="constant")
right.plot(steps, 0.015 * (1 + np.cos(np.pi * steps / 2_000)), color=plots.COLOURS[0], label="half a cosine")
right.set(xlabel="step", ylabel="learning rate", title="schedule")
right.legend()
plots.show(
    figure,
    caption="Left: how three decays shrink a weight. Right: two schedules.",
    alt="Two panels: three falling curves of which the largest decay falls fastest, and a flat line beside half a "
    "cosine from 0.03 to 0.",
)

# %% [markdown]
# ### Dropout and augmentation
#
# Chapter 02 has both, in sections 6 and 7. Here dropout acts on the one hidden dense layer. Augmentation cuts 28 of 32
# pixels at a random place and mirrors half of the images. Without it the network sees the middle of the image, as it
# does at test time in either case.
#
# ### One at a time, and together
#
# The pieces are compared on a small network after AlexNet's pattern: three convolutions, a hidden dense layer, a last
# one. It has 156,842 parameters. It learns from the first 5,000 training photographs only, so it has 31 parameters for
# each of them and can over-fit. Twelve runs: without any of the five, with one, with all but one, with all.
#
# Each run gets 20 epochs of 100 steps, 50 photographs a step. So the question is what a piece buys *within this
# budget*. A longer one may well pay back what here only slows a network down.


# %%
from course_lib.models.augmentation import RandomCropFlip
from course_lib.training.optimizers import AlexNetSGD

PIECES = ("dropout", "decay", "momentum", "schedule", "augmentation")
recipes = {"none": set()} | {f"+ {piece}": {piece} for piece in PIECES}
recipes |= {"all": set(PIECES)} | {f"− {piece}": set(PIECES) - {piece} for piece in PIECES}
little = photos.train.take(0, course.size(quick=300, full=5_000))


def recipe_network(pieces):
    """Three convolutions, the first with stride 2, and two dense layers; with dropout and augmentation if asked for."""
    crop = RandomCropFlip(28, seed=course.seed) if "augmentation" in pieces else layers.CenterCrop(28, 28)
    network = keras.Sequential([keras.Input((32, 32, 3)), crop, layers.Rescaling(4, offset=-2)])
    for maps, kernel, stride in ((16, 5, 2), (32, 3, 1), (64, 3, 1)):
        network.add(layers.Conv2D(maps, kernel, stride, "same", activation="relu", kernel_initializer="he_normal"))
        if maps < 64:
            network.add(layers.MaxPooling2D(3, 2, padding="same"))
    network.add(layers.Flatten())
    network.add(layers.Dense(128, activation="relu", kernel_initializer="he_normal"))
    network.add(layers.Dropout(0.25 if "dropout" in pieces else 0.0, seed=course.seed))
    network.add(layers.Dense(10))
    return network


expect("parameters of the recipe's network", recipe_network(()).count_params(), exactly=156_842)

# %% [markdown]
# To be fair, strengths and rates were chosen on the 5,000 validation images, with seed 0:
#
# - dropout 0.25 (also tried: 0.5) and decay 0.003 (also 0.001, 0.01), each alone at the rate 0.03. Momentum is 0.9, the
#   schedule half a cosine, the crop 28 pixels; for these we tried nothing else;
# - for each run its own best rate. We tried 0.01, 0.03 and 0.1, with momentum a tenth of these, and went on in steps of
#   about three until the best had a worse one on either side. The next cell has the rates.

# %%
RECIPE_RATES = {
    "none": 0.03, "+ dropout": 0.03, "+ decay": 0.03, "+ momentum": 0.003, "+ schedule": 0.03, "+ augmentation": 0.03,
    "all": 0.03, "− dropout": 0.01, "− decay": 0.01, "− momentum": 0.1, "− schedule": 0.01, "− augmentation": 0.01,
}  # fmt: skip


def follow(pieces, rate):
    """Train with these pieces; return accuracy on the training and the test images, %, without dropout and crops."""
    keras.utils.set_random_seed(course.seed)
    network, epochs = recipe_network(pieces), course.size(quick=2, full=20)
    rates = keras.optimizers.schedules.CosineDecay(rate, epochs * -(-len(little) // 50))
    rule = AlexNetSGD(
        rates if "schedule" in pieces else rate,
        momentum=0.9 if "momentum" in pieces else 0.0,
        decay=0.003 if "decay" in pieces else 0.0,
    )
    fit(network, little, epochs=epochs, batch_size=50, optimizer=rule)
    parts = (little, photos.test)
    return [100 * np.mean(network.predict(p.images, 1_000, verbose=0).argmax(axis=1) == p.labels) for p in parts]


# %%
recipe_scores = {}
for name in course.size(quick=("none", "+ momentum", "− dropout", "all"), full=tuple(recipes)):
    print(f"{name:<16}", end="")
    recipe_scores[name] = follow(recipes[name], RECIPE_RATES[name])

# %%
from course_lib.records import mean_interval


def check(name, score="test accuracy, %"):
    """Return the name under which a score of a run is recorded."""
    return f"recipe, {name}: {score}"


for name, (training, tested) in recipe_scores.items():
    expect(check(name), tested, full=(38, 62), quick=(5, 100))
    expect(check(name, "training less test accuracy, points"), training - tested, full=(0, 55), quick=(-50, 100))

# %% [markdown]
# Now all seeds. The chapter was run with the seeds 0 to 4, and the results are recorded. A seed sets the first weights,
# the order of the images, what is dropped and where images are cut. Within a seed, all twelve runs start from the same
# weights and see the images in the same order. So compare within the seed: take the difference of two runs for each of
# them, and then the mean of the five differences. What all runs of a seed have in common drops out.
#
# The interval around the mean is t · sd/√5, with the standard deviation sd of the differences and t = 2.78, the value
# of Student's distribution for five of them (Student, 1908): about 1.24 sd. If the differences are normal, intervals
# made like this hold the true mean 95 times in 100.


# %%
def over_seeds(name, score):
    """Return "mean ± half-width" over the recorded seeds."""
    found = mean_interval(check(name, score))
    return f"{found[0]:.1f} ± {found[1]:.1f}" if found else "not recorded"


print(f"{'':<16}{'rate':>6}   {'test accuracy (%)':<20}training less test accuracy (points)")
for name, rate in RECIPE_RATES.items():
    scores = [over_seeds(name, score) for score in ("test accuracy, %", "training less test accuracy, points")]
    print(f"{name:<16}{rate:>6}   {scores[0]:<20}{scores[1]}")


# %%
def bought(name, base):
    """Return by how many points `name` is ahead of `base`, and the half-width: over the seeds, else this run's, 0."""
    here = [recipe_scores.get(run, (np.nan, np.nan))[1] for run in (name, base)]
    return mean_interval(check(name), minus=check(base)) or (here[0] - here[1], 0.0)


figure, axes = plt.subplots(figsize=(7.5, 4), layout="constrained")
for offset, label, marker, colour, pairs in (
    (-0.12, "added to none of them", "o", plots.COLOURS[0], [(f"+ {piece}", "none") for piece in PIECES]),
    (0.12, "added to the four others", "s", plots.COLOURS[1], [("all", f"− {piece}") for piece in PIECES]),
    (5, "all five, added to none", "D", plots.COLOURS[6], [("all", "none")]),
):
    gains, halves = np.transpose([bought(*pair) for pair in pairs])
    axes.errorbar(gains, np.arange(len(pairs)) + offset, xerr=halves, fmt=marker, color=colour, label=label, capsize=3)
axes.axvline(0, color="grey", linewidth=1)
axes.set(xlabel="test accuracy bought (points)", ylabel="piece of the recipe")
axes.set_yticks(range(6), [*PIECES, "all five"])
axes.invert_yaxis()
axes.grid(axis="x", alpha=0.3)
axes.legend()
plots.show(
    figure,
    caption="What each piece buys. Lines: 95 % intervals of the paired differences over the recorded seeds.",
    alt="A row for each of the five pieces with two points and their intervals: what the piece adds to none of the "
    "others, and what it adds to the four others. A last row has all five together against none. A line marks zero.",
)

# %% [markdown]
# A point right of the line helped. Where the interval crosses the line, five seeds do not settle it: the piece may help
# a little, or not, or harm.
#
# What five seeds can show is a difference well above the spread of the differences. Of a smaller one they say only that
# it is small. And there are eleven intervals: if each misses with probability 0.05, expect 11 · 0.05 = 0.55 misses.
# One that just clears the line is no discovery. Nor do seeds vary everything: all runs had the same 5,000 training
# images, test images, network, budget and choice of rates. Other images may rank the pieces otherwise.
#
# ### Do the pieces add up?
#
# If each piece did its work whatever the others do, all five would buy the sum of what each buys alone. Two things
# stand against that. Pieces that fight the same enemy share the spoils: dropout, decay and augmentation all act against
# over-fitting, and a gap closes only once. And pieces can make room for each other: half a cosine can begin with a rate
# that would be too noisy to end with, and momentum, too, bears a high rate that would break plain descent. Here is the
# balance. Six kinds of runs enter it, one of them four times, so it is noisy. (In the quick profile only some of the
# pieces were run.)

# %%
gain = {name: tested - recipe_scores["none"][1] for name, (_, tested) in recipe_scores.items()}
alone = sum(gain.get(f"+ {piece}", 0) for piece in PIECES)
print(f"sum of what each buys alone {alone:+.1f} points, all together {gain['all']:+.1f} points")
expect("recipe: all together less the sum, points", gain["all"] - alone, full=(-30, 12), quick=(-100, 100))
if balance := mean_interval("recipe: all together less the sum, points"):
    print(f"all together less the sum, over the recorded seeds: {balance[0]:+.1f} ± {balance[1]:.1f} points")

# %% [markdown]
# ## 7. What we measured
#
# Means and standard deviations over the recorded seeds, full profile. CIFAR-10 is a copy that was compressed as JPEG.

# %%
from course_lib.analysis.cost import layer_costs

MEASURED = {
    "LeNet-5 after a large step, MNIST": (lenet, [
        f"{way}: {score}" for way in ("ReLU", "chosen slope")
        for score in ("silenced units that wake, %", "test accuracy in the end, %")
    ]),
    "three convolutions, 25,000 images of CIFAR-10": (hard_network, [
        *(f"{labels} labels: test accuracy, %" for labels in ("hard", "smoothed")),
        *(f"{variant}: calibration error, %" for variant in VARIANTS), "top-5 of the network on test, %",
    ]),
    "three convolutions, 5,000 images of CIFAR-10": (recipe_network(()), [
        f"recipe, {recipe}: test accuracy, %" for recipe in ("none", "all")
    ]),
}  # fmt: skip
for part_name, (network, names) in MEASURED.items():
    macs = sum(cost.macs for cost in layer_costs(network))
    print(f"{part_name}: {network.count_params():,} parameters, {macs:,} multiply–accumulates")
    for name in names:
        print(f"    {name:<45}{mean_and_sd(name)}")

# %% [markdown]
# The table of the thousand to one stands in section 5, that of the recipe in section 6.
#
# ## 8. What the sources claim, and what we found

# %%
from IPython.display import Markdown

Markdown(course_lib.claims_table(chapter=6))

# %% [markdown]
# **When a unit is dead can be said exactly, and for normal inputs foretold.** The predicted share of dead units lies
# within a third of a point of the counted one. On digits the condition is as exact, but the forecast is off by four to
# nine points: all depends on the largest input, and the far end of real inputs is not normal.
#
# **One step too large does silence units, and most stay silent.** Ordinary training woke between one and four in ten.
# They wake because the layers before them go on learning.
#
# **Leaky ReLU wakes them if it leaks enough.** The sources speak of a tiny slope, and its inventors took 0.01. With
# that slope fewer units woke than with ReLU. With 0.3 it was six to eight in ten.
#
# **What dead units cost is not settled here.** After the step all networks stayed five to ten points behind the one
# without it. But networks whose units woke were now better and now worse than those whose units slept on. The step also
# leaves weights that are far too large, and our experiment does not separate the two harms.
#
# **Smoothing calibrates, and so does one number.** Smoothed labels cut the calibration error to about a third. A
# temperature, fitted in a second to the same network with hard labels, cut it to about a seventh. Both together are no
# better than the temperature alone.
#
# **Top-1 accuracy hardly moves, single answers do.** The accuracy changed by less than a point, which is not much more
# than chance explains. But the two networks name different classes for a quarter of the photographs. (Two seeds may
# differ as much; exercise 4 asks.) The temperature changes no answer.
#
# **Top-5 follows from top-1.** With nothing but the accuracy of the first guess the model says that of five guesses
# within a point. Nine in ten mistakes are forgiven, where chance alone would forgive four or five. Of ten classes that
# is easily had.
#
# **At a thousand to one the rare digit is not ignored; it is ranked well and called too rarely.** At the threshold 0.5
# plain cross-entropy finds none of the eights or up to a good quarter, by the luck of the seed. Yet at a precision of
# 50 % the same network finds about two thirds. The threshold was wrong, not the order.
#
# **Focal loss helps with the digit, and so does simpler help.** It gains about ten points over cross-entropy, class
# weights about as many, and to show the rare images more often at least as many. So the claim holds against doing
# nothing. Against its rivals focal loss has no lead.
#
# **With heartbeats the luck of the draw rules.** For new patients the same way finds nothing with one seed and four
# fifths with another. Of focal loss we can only say that the interval of its gain is very wide and holds zero. Showing
# the rare beats more often did best: two thirds or more with four seeds of five, and an interval that just clears zero.
#
# **The recipe is worth eight points or so, and most of it is augmentation.** Alone it gains nearly as much as all five
# together. Dropout helps alone, and in company it costs a point or two: there is little over-fitting left to cure, and
# twenty epochs are few. (There its rate differs as well, see the table.) Momentum, at its own best rate, buys little. A
# constant rate ends where the noise of the last steps leaves it, so runs without the schedule scatter more.
#
# ## 9. Exercises
#
# The sheet `exercises/06_training.ipynb` has five questions. Hints open one at a time; `exercises/solutions/` has the
# answers. More to try right here:
#
# 1. By hand: a unit has the bias −‖w‖ and normal inputs. Over how many examples is it dead with a probability below
#    1 %?
# 2. Set the biases of the silenced units of the damaged LeNet to 0 (`get_weights`, `set_weights`). How many answer
#    again? Does accuracy recover faster?
# 3. Fit the temperature to training photographs in place of validation ones. What comes out, and why is it useless?
# 4. Train the network with hard labels again with another seed. How many first classes differ, against the share that
#    smoothing changed?
# 5. Half of the pictures have a lead of 1, half of 3 (m = 10). Compute top-1 and top-5 of all. Then fit one lead to
#    that top-1. In which direction is its top-5 off?
# 6. Start the last bias of the digit's network at log(1/1000). What does that change for cross-entropy? And what is
#    left of each gain after twice the epochs?
# 7. Give all twelve recipes the rate 0.03. What does momentum "buy" now, and what was really compared?
# 8. Train "all" and "− dropout" for 60 epochs. Does dropout pay now?
#
# ## Further reading
#
# - V. Nair, G. E. Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010. ReLU.
# - A. L. Maas, A. Y. Hannun, A. Y. Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML workshop
#   on deep learning for audio, speech and language processing, 2013. Leaky ReLU.
# - K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers: surpassing human-level performance on ImageNet
#   classification", ICCV 2015. The first weights used here.
# - C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.
# - M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI
#   2015.
# - J. Nixon, M. W. Dusenberry, L. Zhang, G. Jerfel, D. Tran, "Measuring calibration in deep learning", CVPR workshops
#   2019. Bins of equal mass.
# - J. Bröcker, L. A. Smith, "Increasing the reliability of reliability diagrams", *Weather and Forecasting* 22(3):
#   651–661, 2007.
# - A. H. Murphy, R. L. Winkler, "Reliability of subjective probability forecasts of precipitation and temperature",
#   *Journal of the Royal Statistical Society C* 26(1):41–47, 1977.
# - G. W. Brier, "Verification of forecasts expressed in terms of probability", *Monthly Weather Review* 78(1):1–3,
#   1950.
# - C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking the Inception architecture for computer
#   vision", CVPR 2016. Label smoothing, section 7.
# - R. Müller, S. Kornblith, G. Hinton, "When does label smoothing help?", NeurIPS 2019. It calibrates, and it can harm
#   what others learn from the network.
# - O. Russakovsky and others, "ImageNet large scale visual recognition challenge", *International Journal of Computer
#   Vision* 115(3):211–252, 2015. Why five guesses.
# - A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet classification with deep convolutional neural networks", NIPS
#   2012. Momentum and decay: section 5.
# - J. Sánchez, F. Perronnin, "High-dimensional signature compression for large-scale image classification", CVPR 2011.
# - B. Efron, R. J. Tibshirani, *An Introduction to the Bootstrap*, Chapman and Hall, 1993.
# - D. G. Altman, J. M. Bland, "Diagnostic tests 2: predictive values", *BMJ* 309:102, 1994. Precision and prevalence.
# - G. B. Moody, R. G. Mark, "The impact of the MIT-BIH arrhythmia database", *IEEE Engineering in Medicine and Biology*
#   20(3):45–50, 2001.
# - P. de Chazal, M. O'Dwyer, R. B. Reilly, "Automatic classification of heartbeats using ECG morphology and heartbeat
#   interval features", *IEEE Transactions on Biomedical Engineering* 51(7):1196–1206, 2004. The split by patients.
# - A. Krizhevsky, *Learning multiple layers of features from tiny images*, University of Toronto, 2009. CIFAR-10.
# - T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollár, "Focal loss for dense object detection", ICCV 2017.
# - C. Elkan, "The foundations of cost-sensitive learning", IJCAI 2001.
# - N. Charoenphakdee, J. Vongkulbhisal, N. Chairatanakul, M. Sugiyama, "On focal loss for class-posterior probability
#   estimation: a theoretical perspective", CVPR 2021.
# - I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017. Half a cosine.
# - I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
# - Student, "The probable error of a mean", *Biometrika* 6(1):1–25, 1908.
