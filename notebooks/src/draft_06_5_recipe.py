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
#
# Read differently, v is ten times the rate, times a mean of past gradients with the weights 0.1, 0.09, 0.081, … They
# add up to 1. The newest ten hold 1 − 0.9¹⁰ = 65 % of the weight, so it is like an average over ten steps.

# %% tags=["nbval-check-output"]
for gradient, sign, exact in (("steady", 1, 10), ("alternating", -1, 0.5263)):
    velocity = 0.0
    for step in range(500):
        velocity = 0.9 * velocity + sign**step
    expect(f"size of the velocity for a {gradient} gradient", round(abs(velocity), 4), exactly=exact)
fading = 0.1 * 0.9 ** np.arange(500)  # the weight of a gradient that is so many steps old
expect("weight of the newest ten gradients", round(fading[:10].sum(), 4), exactly=0.6513)

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


# %% tags=["nbval-check-output"]
def what_is_left(rate, momentum, coupled, decay=0.003, steps=2_000):
    """Return what is left of a weight of 1 after steps without a gradient."""
    weight, velocity = 1.0, 0.0
    for _ in range(steps):
        pull = rate * decay * weight
        velocity = momentum * velocity - coupled * pull
        weight = weight + velocity - (1 - coupled) * pull
    return weight


expect("left without momentum, rate 0.03", round(what_is_left(0.03, 0.0, coupled=True), 3), exactly=0.835)
expect("left with momentum, coupled, rate 0.003", round(what_is_left(0.003, 0.9, coupled=True), 3), exactly=0.836)
expect("left with momentum, decoupled, rate 0.003", round(what_is_left(0.003, 0.9, coupled=False), 3), exactly=0.982)

# %% [markdown]
# ### A schedule
#
# The gradient of a batch is that of all images plus noise. A high rate moves fast, but the noise keeps the weights
# jumping around the place they seek. A low rate comes to rest, but takes long to get there. So begin high and end low.
# AlexNet divided its rate by 10 when it stood still. Today's usual choice is half a cosine, from the first rate to 0
# (Loshchilov and Hutter, 2017): rate/2 · (1 + cos(π · step/steps)). It is flat at both ends, and half of the first rate
# on average.

# %% tags=["nbval-check-output"]
steps = np.array([0, 500, 1_000, 1_500, 2_000])
by_hand = 0.03 / 2 * (1 + np.cos(np.pi * steps / 2_000))
schedule = keras.optimizers.schedules.CosineDecay(0.03, 2_000)
assert np.allclose(by_hand, [float(schedule(step)) for step in steps], atol=1e-7)
for step, rate in zip(steps, by_hand, strict=True):
    print(f"step {step:>5,}: constant rate 0.0300, half a cosine {rate:.4f}")

# %%
figure, (first, second, third) = plt.subplots(1, 3, figsize=(10, 2.9), layout="constrained")
first.bar(np.arange(30), fading[:30], color=plots.COLOURS[0])
first.set(xlabel="age of a gradient (steps)", ylabel="weight in the velocity", title="momentum 0.9")
steps = np.arange(2_001)
for decay, colour in zip((0.001, 0.003, 0.01), plots.COLOURS, strict=False):
    second.plot(steps, (1 - 0.03 * decay) ** steps, color=colour, label=f"{decay}")
second.set(xlabel="steps without a gradient", ylabel="part of the weight left", title="decay, rate 0.03", ylim=(0, 1))
second.legend()
third.plot(steps, np.full(2_001, 0.03), plots.STYLES[1], color=plots.COLOURS[1], label="constant")
third.plot(steps, 0.015 * (1 + np.cos(np.pi * steps / 2_000)), color=plots.COLOURS[0], label="half a cosine")
third.set(xlabel="step", ylabel="learning rate", title="schedule")
third.legend()
plots.show(
    figure,
    caption="Left: what older gradients still count. Middle: how three decays shrink a weight. Right: two schedules.",
    alt="Three panels: bars that fall by a tenth from one to the next, three falling curves of which the largest decay "
    "falls fastest, and a flat line beside half a cosine from 0.03 to 0.",
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
from course_lib.training.loop import fit
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
RATES = {
    "none": 0.03, "+ dropout": 0.03, "+ decay": 0.03, "+ momentum": 0.003, "+ schedule": 0.03, "+ augmentation": 0.03,
    "all": 0.03, "− dropout": 0.03, "− decay": 0.03, "− momentum": 0.1, "− schedule": 0.01, "− augmentation": 0.01,
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
accuracies = {}
for name in course.size(quick=("none", "+ momentum", "− dropout", "all"), full=tuple(recipes)):
    print(f"{name:<16}", end="")
    accuracies[name] = follow(recipes[name], RATES[name])

# %%
from course_lib.records import mean_interval


def check(name, score="test accuracy, %"):
    """Return the name under which a score of a run is recorded."""
    return f"recipe, {name}: {score}"


for name, (training, tested) in accuracies.items():
    expect(check(name), tested, full=(40, 65), quick=(5, 100))
    expect(check(name, "training less test accuracy, points"), training - tested, full=(-5, 60), quick=(-50, 100))

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
for name, rate in RATES.items():
    scores = [over_seeds(name, score) for score in ("test accuracy, %", "training less test accuracy, points")]
    print(f"{name:<16}{rate:>6}   {scores[0]:<20}{scores[1]}")


# %%
def bought(name, base):
    """Return by how many points `name` is ahead of `base`, and the half-width: over the seeds, else this run's, 0."""
    here = [accuracies.get(run, (np.nan, np.nan))[1] for run in (name, base)]
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
# ### The pieces do not add up
#
# If each piece did its work whatever the others do, all five would buy the sum of what each buys alone. Two things
# stand against that. Pieces that fight the same enemy share the spoils: dropout, decay and augmentation all act against
# over-fitting, and a gap closes only once. And pieces can make room for each other: half a cosine can begin with a rate
# that would be too noisy to end with, and momentum, too, bears a high rate that would break plain descent. Here is the
# balance, from this run (in the quick profile, of the pieces that were run).

# %%
gain = {name: tested - accuracies["none"][1] for name, (_, tested) in accuracies.items()}
alone = sum(gain.get(f"+ {piece}", 0) for piece in PIECES)
print(f"sum of what each buys alone {alone:+.1f} points, all together {gain['all']:+.1f} points")
expect("recipe: all together less the sum, points", gain["all"] - alone, full=(-10, 10), quick=(-100, 100))
