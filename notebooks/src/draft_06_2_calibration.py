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
from course_lib.datasets import load_photos
from course_lib.training.loop import fit

photos = load_photos()

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


# %% tags=["nbval-check-output"]
def error_by_hand(confidence, right, bins):
    """Return the calibration error with `bins` bins of equal mass."""
    parts = np.array_split(np.argsort(confidence), bins)
    gaps = [abs(right[part].mean() - confidence[part].mean()) for part in parts]
    return np.average(gaps, weights=[len(part) for part in parts])


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
# a = 0.8 that is √(0.8 · 0.2 / 60) = 0.05. The gap has no sign, so these misses do not cancel.
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
# An error above the floor is real, but how large is it? For that we draw the *images* anew: as many as there are, with
# replacement, a thousand times (the bootstrap). The errors of these draws scatter as the error of other test sets
# would. But they lie too high, since each draw adds its own noise. So `calibration_interval` takes the distance from
# the measured error to the upper 2.5 % of the draws, and goes as far down as up. Where the measured error is no clear
# sign of anything, the interval begins at 0.
#
# ### A network that is too sure
#
# Now a network for photographs: three convolutions, one hidden layer. We train it as one usually does, on
# cross-entropy, until the rate of the schedule has come down to 0. The rate of 0.002 was the best in chapter 03, and we
# kept it; images and epochs are what the time allows. Settings of this section were tried with one seed.


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


PHOTOS_SHOWN = photos.train.take(0, course.size(quick=3_000, full=25_000))
RECIPE = {"epochs": course.size(quick=2, full=10), "batch_size": 128, "learning_rate": 2e-3}
keras.utils.set_random_seed(course.seed)
hard_network = photo_classifier()
hard_history = fit(hard_network, PHOTOS_SHOWN, validation=photos.validation, **RECIPE)

# %%
epochs = np.arange(1, len(hard_history) + 1)
figure, pair = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for axes, metric, scale, ylabel in zip(pair, ("accuracy", "loss"), (100, 1), ("accuracy (%)", "loss"), strict=True):
    for colour, (prefix, name) in zip(plots.COLOURS, (("", "training"), ("val_", "validation")), strict=False):
        axes.plot(epochs, scale * np.array(hard_history.epochs[prefix + metric]), label=name, color=colour, marker="o")
    axes.set(xlabel="epoch", ylabel=ylabel)
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

# %% [markdown]
# The loss on validation images goes up again while accuracy does not go down. Guo and others (2017, section 3) saw the
# same in much larger networks. Whoever chooses by accuracy trains to the end.
#
# Both measure the same answers. How can they disagree? Look at one image. Let the score of the right class lie by the
# **margin** m above the nine others, all equal. The right class has the probability e^m / (e^m + 9), so the loss is
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
# class and 0 for the others. The right class has ln(probability) = m − ln(e^m + 9), each other class −ln(e^m + 9). With
# q for the part of the right class,
#
# loss = ln(e^m + 9) − q · m.
#
# Its slope is e^m / (e^m + 9) − q. It is 0 where the probability of the right class equals q. So the smoothed loss asks
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


def margin_loss(margin, epsilon, classes=10):
    """Return the loss where the right class scores `margin` above the others, by hand."""
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
    axes.set(xlabel="margin of the right class over the others", ylabel="loss", ylim=(0, 4.5))
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
truth = photos.validation.labels
temperatures = {"hard": fit_temperature(validation_scores, truth)}
temperatures["smoothed"] = fit_temperature(smooth_validation_scores, truth)
tried = np.geomspace(0.25, 8, 201)  # the same with nothing but eyes
losses = [negative_log_likelihood(validation_scores, truth, temperature) for temperature in tried]
print(f"lowest of 201 temperatures: {tried[np.argmin(losses)]:.2f}; fitted: {temperatures['hard']:.2f}")
for name, temperature in temperatures.items():
    expect(f"temperature, {name} labels", temperature, full=(0.3, 4), quick=(0.01, 50))

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
# and the label as zeros and one, summed over the classes: 0 at best, 2 at worst (Brier, 1950). Likelihood and Brier
# score judge calibration and discrimination together, and need no bins.

# %%
from course_lib.analysis.calibration import brier_score

test_labels, calibration = photos.test.labels, {}
print(f"{'labels':<23}{'acc.':>5}{'conf.':>7}{'calibration error':>22}{'floor':>7}{'neg. log-lik.':>15}{'Brier':>7}")
for name, (scores, temperature) in VARIANTS.items():
    forecast = softmax(scores, temperature)
    accuracy, confidence = 100 * (scores.argmax(axis=1) == test_labels).mean(), 100 * forecast.max(axis=1).mean()
    calibration[name] = 100 * calibration_error(forecast, test_labels, bins=15)
    low, high = calibration_interval(forecast, test_labels, bins=15, seed=course.seed)
    floor = 100 * calibration_floor(forecast, bins=15, seed=course.seed)
    found = f"{calibration[name]:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    loss, brier = negative_log_likelihood(scores, test_labels, temperature), brier_score(forecast, test_labels)
    print(f"{name:<23}{accuracy:>5.1f}{confidence:>7.1f}{found:>22}{floor:>7.1f}{loss:>15.3f}{brier:>7.3f}")

# %%
accuracies = {
    name: 100 * float((scores.argmax(axis=1) == test_labels).mean())
    for name, scores in (("hard", hard_scores), ("smoothed", smooth_scores))
}
for name, value in accuracies.items():
    expect(f"{name} labels: test accuracy, %", value, full=(60, 75), quick=(5, 100))
for name, (scores, temperature) in VARIANTS.items():
    expect(f"{name}: calibration error, %", calibration[name], full=(0, 30), quick=(0, 60))
    loss = negative_log_likelihood(scores, test_labels, temperature)
    expect(f"{name}: negative log-likelihood", loss, full=(0.8, 2), quick=(0.01, 5))
claim("smoothing-keeps-top1", abs(accuracies["smoothed"] - accuracies["hard"]))
claim("smoothing-calibrates", calibration["hard"] / calibration["smoothed"])
gain = calibration["hard"] / calibration["hard, temperature"]
expect("calibration error without over that with temperature, hard labels", gain, full=(1, 30), quick=(0.1, 50))

# %% [markdown]
# Does the number of bins matter here as well? Once more 5, 15 and 50, now for the test images.

# %%
for name, (scores, temperature) in VARIANTS.items():
    forecast = softmax(scores, temperature)
    found = [100 * calibration_error(forecast, test_labels, bins=bins, equal=equal)
             for equal in ("width", "mass") for bins in (5, 15, 50)]  # fmt: skip
    print(f"{name:<23} equal width {found[0]:5.1f}{found[1]:6.1f}{found[2]:6.1f}", end="")
    print(f"   equal mass {found[3]:5.1f}{found[4]:6.1f}{found[5]:6.1f}")

# %% [markdown]
# Try temperatures yourself, on the validation images and with hard labels. Where does the curve meet the diagonal? What
# happens to the confidence as T grows?


# %%
@interact(temperature=FloatSlider(1, min=0.2, max=6, step=0.1))
def explore_temperature(temperature):
    axes = plt.subplots(figsize=(3.6, 3.8), layout="constrained")[1]
    draw_reliability(axes, softmax(validation_scores, temperature), truth, f"T = {temperature:.1f}")
    plt.show()


# %%
figure, row = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained", sharey=True)
for axes, temperature in zip(row, (0.5, 1.0, temperatures["hard"], 5.0), strict=True):
    draw_reliability(axes, softmax(validation_scores, temperature), truth, f"T = {temperature:.2f}")
plots.show(
    figure,
    caption="Validation images of the network trained on hard labels, under four temperatures; the third is the one "
    "that was fitted to them.",
    alt="Four reliability diagrams, one for each temperature. As it grows, the dots move left, to lower confidence.",
)
