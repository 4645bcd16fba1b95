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
# # 07 Transfer
#
# **You will be able to**
#
# - give a trained network a new task, and say what of it to freeze, what to train, and at which rate;
# - keep batch normalisation from undoing what was frozen;
# - measure what a network forgets while it learns, and draw the trade as a curve;
# - hold weights near their old values, and give each of them the importance that it had;
# - find out, layer by layer, which features serve another task.
#
# | | |
# | --- | --- |
# | Before you start | chapter 02 |
# | Data | CIFAR-10; without it, patches of ten photographs that ship (numbers then differ) |
# | Weights | four small networks in `data/weights/`, trained by this course; section 2 has the command |
# | Running time, two cores | quick profile about a minute, full profile about 8 minutes |
# | Sheet | `exercises/07_transfer.ipynb`, five questions |
# | Elsewhere | Binder builds from `environment.yml`; on Colab, clone the repository and `pip install -e .` |

# %%
import course_lib
from course_lib import claim, expect

course = course_lib.setup(chapter=7)

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers

from course_lib import plots
from course_lib.datasets import load_photos
from course_lib.training.transfer import two_tasks

source, target = two_tasks(load_photos())


# %% [markdown]
# ## 1. Why use a network again?
#
# A network that tells frogs from ships has learned edges, colours and textures on the way. Cats and trucks have edges,
# colours and textures, too. If these features serve both, then a new task needs fewer images of its own. Using what was
# learned on one task, the **source**, for another, the **target**, is called **transfer**.
#
# Here both tasks come from one data set. The classes with an even number are the source, those with an odd number the
# target. Each half of CIFAR-10 has three kinds of animals and two of vehicles. No class is in both, so what transfers
# is features and not answers.

# %%
for name, task in (("source", source), ("target", target)):
    print(f"{name}: {', '.join(task.classes)}; {len(task.train):,} training images")
first = [task.train.images[task.train.labels == label][0] for task in (source, target) for label in range(5)]
plots.show(
    plots.image_grid(np.stack(first), [*source.classes, *target.classes], columns=5),
    caption="One training image of each class. Above the source task, below the target task.",
    alt="Two rows of five small photographs, one of each class: the source task above, the target task below.",
)

# %% [markdown]
# This is **near** transfer: the images are of one kind and of one size, taken and chosen in one way. Our copy of
# CIFAR-10 may have been compressed as JPEG once more; the line above says so. Then both tasks share that, too. From
# photographs to X-ray images is a longer step, and the numbers below say nothing about it.
#
# ## 2. A trained network and its card
#
# The network is a small AlexNet: five convolutions and three dense layers. It first cuts 28 × 28 pixels out of 32 × 32,
# at a random place in training and in the middle otherwise.
#
# After each of the first seven layers comes **batch normalisation** (Ioffe and Szegedy, 2015). It takes each map, or
# each unit of a dense layer, and computes
#
# scale · (x − mean) / √(variance + ε) + offset.
#
# Mean and variance are those of the batch, scale and offset are learned, and ε is a small number against a division by
# zero. So each layer gets numbers of one size, whatever the layers before it do, and bears higher rates.
#
# Count one layer: the third convolution has 48 maps, and each looks at 3 × 3 places of 32 maps. It has no bias, since
# batch normalisation adds its own offset: 48 · 3 · 3 · 32 = 13,824. Batch normalisation has four numbers a map: scale
# and offset, which are trained, and a stored mean and variance, which are not (section 5): 4 · 48 = 192.

# %% tags=["nbval-check-output"]
from course_lib.training.transfer import transfer_network

blank = transfer_network(classes=5)
for layer in blank.layers:
    if layer.weights:
        print(f"{layer.name:<6} {layer.output.shape[1:]!s:<13} {layer.count_params():>6,} parameters")
expect("parameters of conv3", blank.get_layer("conv3").count_params(), exactly=48 * 3 * 3 * 32)
expect("parameters of norm3", blank.get_layer("norm3").count_params(), exactly=4 * 48)
expect("parameters in all", blank.count_params(), exactly=101_045)

# %% [markdown]
# The network was trained on the source task beforehand, three times on CIFAR-10 with different seeds, and once on the
# sample. The command for the first is
#
#     course train source --data full --seed 0 --output data/weights
#
# and takes two minutes on two cores. Weights alone are numbers without meaning, so each file has a **card** beside it:
# command, data, classes, seed, accuracy, versions, and the SHA-256 of the file. Here is the card of the first.

# %%
from course_lib.models import weights
from course_lib.training.transfer import load_source, weights_name

old = load_source(source, seed=course.seed)
card = weights.read_card(f"{weights_name(source)}_0")
for key in ("command", "source", "examples", "test accuracy", "bytes", "sha256"):
    print(f"{key:<14} {card[key]}")

# %% [markdown]
# Loading compares the file with its card, and the card with what it is loaded for. Weights for other classes have the
# same shapes. They would load and then be wrong, quietly. Let us ask for those of the target task.

# %%
try:
    weights.read_card(f"{weights_name(source)}_0", classes=list(target.classes))
except ValueError as error:
    print(str(error).rpartition("/")[2])


# %%
def accuracy(network, data):
    """Return the percentage of images whose highest score is at the right class."""
    return 100 * float((network.predict(data.images, batch_size=1_000, verbose=0).argmax(axis=1) == data.labels).mean())


old_accuracy = accuracy(old, source.test)
expect("source network on the source task, %", old_accuracy, full=(84, 88), quick=(70, 100))

# %% [markdown]
# ## 3. A new head
#
# The last layer, `fc8`, answers with five scores for the five classes of the source. It is the **head**. The target has
# other classes, so the head is of no use there and is swapped. Everything before it, from the image to the 64 values of
# `fc7`, is the **trunk**, and it stays.

# %%
keras.utils.set_random_seed(course.seed)
swapped = keras.Sequential([keras.Input((32, 32, 3)), *old.layers[:-1], layers.Dense(5, name="new_head")])
print("trunk", old.layers[-2].output.shape[1:], "→ new head", swapped.output_shape[1:])
expect("weights of the new head: 64 · 5 + 5", swapped.layers[-1].count_params(), exactly=325)
assert swapped.get_layer("conv1") is old.get_layer("conv1")

# %% [markdown]
# The last line shows a trap: the two networks share their layers. Training `swapped` changes `old` as well. So make a
# second network and copy the weights over.
#
# The library counts **learned layers** from the image on, 1 to 8: `conv1` to `conv5`, then `fc6`, `fc7`, `fc8`. To each
# belongs what follows it, such as its batch normalisation. **Depth** k means the first k of them. `transplant` copies
# that many: 7 copy the trunk.

# %%
from course_lib.training.transfer import learned_layers, transplant

copied = transplant(old, transfer_network(classes=5), depth=7)
some = target.test.images[:200]
trunks = [np.asarray(keras.Sequential(network.layers[:-1])(some)) for network in (swapped, copied)]
assert np.array_equal(*trunks)
assert copied.get_layer("conv1") is not old.get_layer("conv1")
print("the learned layers:", *(group[0].name for group in learned_layers(copied)))

# %% [markdown]
# ## 4. Freezing
#
# A layer is frozen when training does not change it. In Keras that is one word, `trainable`.
#
# By hand: trunk and head have 100,309 numbers to train. The first convolution has 16 kernels of 5 × 5 places and 3
# colours, 16 · 75 = 1,200, and 16 scales and 16 offsets after it, together 1,232. Freeze it, and 99,077 are left.


# %%
def left_to_train(network):
    """Return how many numbers training may change."""
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


# %% tags=["nbval-check-output"]
expect("numbers to train", left_to_train(blank), exactly=100_309)
for name in ("conv1", "norm1"):
    blank.get_layer(name).trainable = False
expect("numbers to train without the first layer", left_to_train(blank), exactly=100_309 - 16 * 75 - 2 * 16)

# %% [markdown]
# The library's `freeze` does so by depth and returns what is left. Depth 7 leaves the head alone: the trunk is then a
# fixed function, and a linear classifier is learned on its 64 values. Donahue and others (2014) did this with the
# layers of AlexNet, and it is called feature extraction.

# %% tags=["nbval-check-output"]
from course_lib.training.transfer import freeze

assert freeze(blank, depth=1) == left_to_train(blank) == 99_077
for depth, group in enumerate(learned_layers(blank)):
    print(f"depth {depth}: {freeze(blank, depth):>7,} left, from {group[0].name} on")
expect("numbers to train in the head", freeze(blank, depth=7), exactly=325)

# %% [markdown]
# Now the parts that all runs below share. `few` draws as many target images of each class as asked for. `begin` makes a
# network for the target that takes its first layers from the source network, and freezes some of them. `train` gives
# each the same number of steps, 50 images a step: Adam with a rate that falls to 0 along half a cosine, random crops
# and mirror images. Where there are few images, they are repeated.
#
# Mind the seed in `begin`. The source networks were trained with the seeds 0, 1 and 2. With the same seed, the fresh
# head would be the very one that the source network began with, and its trunk has learned to serve that head.

# %%
from course_lib.training.loop import fit

IMAGES, EPOCHS = course.size(quick=(500, 2), full=(2_500, 10))  # images an epoch, and epochs
COUNTS = course.size(quick=(50,), full=(5, 20, 100, 500))  # target images a class
SOME, MOST = course.size(quick=(50, 50), full=(100, 500))
spent = []  # seconds of each run


def few(count):
    """Return `count` target images of each class; a larger count holds the smaller."""
    generator = np.random.default_rng(course.seed)
    orders = [generator.permutation(np.flatnonzero(target.train.labels == label)) for label in range(5)]
    return target.train[np.concatenate([order[:count] for order in orders])]


# %%
def begin(taken=7, frozen=0):
    """Return a network for the target: its first `taken` layers from the source, the first `frozen` of them frozen."""
    keras.utils.set_random_seed(1_000 + course.seed)
    network = transplant(old, transfer_network(classes=5), depth=taken)
    freeze(network, frozen)
    return network


def train(network, data, rate, images=IMAGES, **more):
    """Train what is not frozen, `images` images an epoch whatever the number of data, and return the network."""
    repeated = data[np.resize(np.arange(len(data)), images)]
    history = fit(network, repeated, epochs=EPOCHS, batch_size=50, learning_rate=rate, **more)
    spent.append(history.seconds)
    return network


# %% [markdown]
# Each network is measured twice: on the target as it is, and on the source with the old head on its trunk.

# %%
for_source, for_target = load_source(source, seed=course.seed), transfer_network(classes=5)


def on_source(network, data=source.test):
    """Return the accuracy of the network's trunk on the source task, under the old head, %."""
    return accuracy(transplant(network, for_source, depth=7), data)


def on_target(network, data=target.test):
    """Return the accuracy on the target task, %. All networks are copied into one, which compiles once."""
    return accuracy(transplant(network, for_target, depth=8), data)


# %% [markdown]
# ## 5. Batch normalisation, the trap
#
# In training, batch normalisation takes mean and variance from the batch. Afterwards there may be no batch, so it uses
# stored ones. They are averages over the past:
#
# stored ← 0.9 · stored + 0.1 · the batch's.
#
# No gradient moves them. They move whenever the layer is called in training.
#
# By hand: four values 1, 3, 5, 7 have the mean 4 and the variance 5. A mean of 0 was stored; after one step it is 0.4.
# After 20 such steps 0.9²⁰ = 0.12 of the old is left, after 50, which is an epoch in the full profile, half a percent.
# So the stored numbers soon belong to the new task.

# %% tags=["nbval-check-output"]
norm = layers.BatchNormalization(momentum=0.9, epsilon=0)
values = np.array([[1.0], [3], [5], [7]], "float32")
by_batch = np.asarray(norm(values, training=True))[:, 0]
print("by the batch:", by_batch.round(3), "  by hand:", ((values[:, 0] - 4) / np.sqrt(5)).round(3))
expect("stored mean after one step", round(float(norm.moving_mean[0]), 6), exactly=0.4)
norm.trainable = False
frozen_answer = np.asarray(norm(values, training=True))[:, 0]
expect("stored mean after a step of the frozen layer", round(float(norm.moving_mean[0]), 6), exactly=0.4)
assert np.allclose(frozen_answer, (values[:, 0] - 0.4) / np.sqrt(0.9 + 0.1 * 5), atol=1e-5)

# %% [markdown]
# A frozen batch normalisation in Keras uses what is stored, in training as well, and leaves it as it is. That holds for
# a frozen *layer*. Weights can also be frozen one by one, which is the usual way in PyTorch (`requires_grad = False`).
# The layer then goes on to use the batch and to move what is stored. No weight of the trunk changes, and yet the trunk
# answers differently.
#
# Here are both, for a frozen trunk under a new head.

# %%
careful, careless = begin(frozen=7), begin()
for variable in careless.trainable_variables[:-2]:  # all but kernel and bias of the head
    variable.trainable = False
assert left_to_train(careful) == left_to_train(careless) == 325
for network in (careful, careless):
    _ = train(network, few(MOST), rate=1e-2)
kernels = [network.get_layer("conv5").get_weights()[0] for network in (old, careful, careless)]
assert np.array_equal(kernels[0], kernels[1]) and np.array_equal(kernels[0], kernels[2])

# %%
print(f"source task before: {old_accuracy:.1f} %")
by_layers, by_weights = ((on_source(network), on_target(network)) for network in (careful, careless))
expect("points of the source task lost, layers frozen", old_accuracy - by_layers[0], exactly=0)
expect("points of the source task lost, weights frozen", old_accuracy - by_weights[0], full=(-1, 5), quick=(-50, 90))
expect("layers frozen: target task, %", by_layers[1], full=(54, 62), quick=(5, 100))
expect("weights frozen: target task, %", by_weights[1], full=(54, 62), quick=(5, 100))

# %% [markdown]
# How far did the stored means go? Maps have values of different size, so count in standard deviations of each map.

# %%
for name in ("norm1", "norm7"):
    before, after = (network.get_layer(name).moving_mean.numpy() for network in (old, careless))
    moved = np.abs(after - before) / np.sqrt(old.get_layer(name).moving_variance)
    expect(f"stored means of {name}: median move, standard deviations", np.median(moved), full=(0, 0.2), quick=(0, 5))

# %% [markdown]
# Source and target have images of one kind, so the means move little, and little is lost. It is another matter where
# the new images look different. Show the source network target images at half brightness, in training mode and once
# each, and train nothing at all.

# %%
dimmed, dark = load_source(source, seed=course.seed), few(MOST).images / 2
for start in range(0, len(dark), 50):
    dimmed(dark[start : start + 50], training=True)
expect("after dark images, nothing trained: source, %", on_source(dimmed), full=(65, 84), quick=(5, 100))

# %% [markdown]
# The second trap is the size of the batch (Wu and He, 2018). A mean over few images is uncertain, so an image's answer
# depends on its neighbours in the batch. Take the trained network as it is, train nothing, and let it use the
# statistics of batches of several sizes.

# %%
batchwise = load_source(source, seed=course.seed)


def accuracy_in_batches(data, size):
    """Return the accuracy, %, where each batch of `size` images gives its own statistics; nothing is trained."""
    right = 0
    for start in range(0, len(data), size):
        maps = data.images[start : start + size]
        for layer in batchwise.layers:
            maps = layer(maps, training=isinstance(layer, layers.BatchNormalization))
        right += (np.argmax(maps, axis=1) == data.labels[start : start + size]).sum()
    return 100 * right / len(data)


# %%
piece = source.test.take(0, course.size(quick=64, full=512))
with_stored = accuracy(old, piece)
with_batches = {size: accuracy_in_batches(piece, size) for size in (2, 4, 16, 64)}
for size, found in with_batches.items():
    print(f"batches of {size:>2}: {found:5.1f} %   with what is stored: {with_stored:.1f} %")
expect("points lost with batches of 2", with_stored - with_batches[2], full=(22, 45), quick=(-20, 90))
expect("points lost with batches of 64", with_stored - with_batches[64], full=(-3, 5), quick=(-30, 50))

# %% [markdown]
# So freeze layers, not weights, and give batch normalisation batches that are not tiny. Where only tiny batches fit
# into memory, freeze the normalisation as well.

# %% [markdown]
# ## 6. How many images are needed?
#
# Three ways to learn the target task:
#
# - from **scratch**: random weights, all of them trained;
# - **frozen**: the trunk of the source network, only the head trained;
# - **fine-tuned**: the trunk of the source network, everything trained.
#
# A fair comparison gives each way its own learning rate. With 100 images a class we tried 0.001, 0.003 and 0.01 from
# scratch, the same and 0.0003 for fine-tuning, and 0.003, 0.01 and 0.03 for the head alone, in runs of 12 epochs. We
# chose on the target's validation images, with seed 0. The same rates serve the other counts, where another might be
# better. And the validation images are many more than five a class: whoever has only those cannot choose so well.
#
# The frozen network of section 5 is one of these runs.

# %%
WAYS = {"scratch": (0, 0), "frozen": (7, 7), "fine-tuned": (7, 0)}  # learned layers taken over, and frozen
RATES = {"scratch": 3e-3, "frozen": 1e-2, "fine-tuned": 3e-3}
learned = {("frozen", MOST): careful}
for way, start in WAYS.items():
    for count in COUNTS:
        if (way, count) not in learned:
            learned[way, count] = train(begin(*start), few(count), RATES[way])
few_shot = {way: [on_target(learned[way, count]) for count in COUNTS] for way in WAYS}

# %%
for way, found in few_shot.items():
    for count, value, band in zip(COUNTS, found, ((30, 60), (40, 62), (51, 71), (53, 79)), strict=False):
        expect(f"{way}, {count} images a class: target task, %", value, full=band, quick=(5, 100))

# %%
figure = plots.curves(COUNTS, few_shot, xlabel="target images a class", ylabel="test accuracy on the target task (%)")
figure.axes[0].set(xscale="log")
figure.axes[0].set_xticks(COUNTS, COUNTS)
plots.show(
    figure,
    caption="Accuracy on the target task against the number of its images, for three ways to learn it.",
    alt="Three curves of test accuracy over the number of target images a class: scratch, frozen and fine-tuned.",
)

# %% [markdown]
# The claim speaks of 100 images and of a pretrained network. We take the one that is better on the validation images.

# %%
better = max(("frozen", "fine-tuned"), key=lambda way: on_target(learned[way, SOME], target.validation))
print(f"with {SOME} images a class the validation images prefer: {better}")
gains = dict(zip(COUNTS, np.subtract(few_shot[better], few_shot["scratch"]), strict=True))
claim("few-data-suffice", gains[SOME])
for count, gained in gains.items():
    print(f"{count} images a class: {gained:+.1f} points over scratch")

# %% [markdown]
# ## 7. Learning rates
#
# In fine-tuning the rate also decides how far the weights move from those of the source network. Compare the rate that
# was chosen with a tenth of it.

# %%
CAUTIOUS = RATES["fine-tuned"] / 10
by_rate = {"chosen rate": learned["fine-tuned", SOME], "a tenth of it": train(begin(), few(SOME), CAUTIOUS)}
for name, network in by_rate.items():
    expect(f"{name}, {SOME} images a class: target, %", on_target(network), full=(55, 71), quick=(5, 100))
    expect(f"{name}, {SOME} images a class: source, %", on_source(network), full=(42, 84), quick=(5, 100))

# %% [markdown]
# The head is new and has far to go. The first convolution already finds edges and has little to learn. So why one rate
# for both? **Discriminative rates** (Howard and Ruder, 2018) divide the rate by a factor, 2.6, for each layer further
# from the head. By hand: 1 for the head, 1 / 2.6 = 0.38 for `fc7`, 0.15 for `fc6`, and 1 / 2.6⁷ = 0.0012 for `conv1`.
#
# Scaling the gradients would not help, since Adam divides by their size. The step itself must be shorter. The library's
# `DiscriminativeAdam` has a share of the rate for each weight. Adam's first step is as long as the rate, whatever the
# gradient, so one step with random gradients shows the shares.

# %%
from keras import ops

from course_lib.training.transfer import DiscriminativeAdam, rate_shares

freeze(blank, depth=0)
rule = DiscriminativeAdam(learning_rate=0.01, shares=rate_shares(blank, factor=2.6))
head_and_first = [blank.get_layer(name).kernel for name in ("fc8", "conv1")]
starts = [ops.convert_to_numpy(kernel) for kernel in head_and_first]
generator = np.random.default_rng(0)
rule.apply([generator.normal(size=each.shape).astype("float32") for each in blank.trainable_variables],
           blank.trainable_variables)  # fmt: skip
steps = [np.median(np.abs(kernel - start)) for kernel, start in zip(head_and_first, starts, strict=True)]
print(f"step of fc8 {steps[0]:.5f}, step of conv1 {steps[1]:.8f}; 2.6⁷ = {2.6**7:.0f}")
expect("step of fc8 over step of conv1", steps[0] / steps[1], full=(795, 812), quick=(795, 812))

# %% [markdown]
# Now train with it on the most images we use, at the rate of fine-tuning and with two factors, one on either side of
# the paper's. The results go into the picture of the next section.

# %%
from keras.optimizers.schedules import CosineDecay

discriminative = {}
for factor in course.size(quick=(2,), full=(2, 4)):
    network = begin()
    schedule = CosineDecay(RATES["fine-tuned"], EPOCHS * IMAGES // 50)
    rule = DiscriminativeAdam(schedule, rate_shares(network, factor))
    train(network, few(MOST), RATES["fine-tuned"], optimizer=rule)
    discriminative[factor] = (on_source(network), on_target(network))

# %%
for factor, (kept, gained) in discriminative.items():
    expect(f"rates falling by {factor}: target, %", gained, full=(57, 74), quick=(5, 100))
    expect(f"rates falling by {factor}: source, %", kept, full=(66, 88), quick=(5, 100))

# %% [markdown]
# ## 8. Plasticity against forgetting
#
# A network that learns the target changes its trunk. The old head was made for the old trunk, so the source task
# suffers. That is **forgetting**, first described by McCloskey and Cohen (1989). How well a network can learn something
# new is its **plasticity**, measured here as the accuracy on the target. We expect the two to pull against each other,
# and vary the freezing depth to see it.
#
# We measure what a user of the old head would see. A head fitted anew to the new trunk might still tell the source
# classes apart.
#
# The target is learned from 500 images a class with 0, 2, 3, … 7 layers frozen. Depth 0 is fine-tuning and depth 7 is
# the frozen trunk, both from section 6. Depth 7 keeps the rate that suits the head alone, 0.01; all others
# have 0.003.

# %%
DEPTHS = course.size(quick=(0, 3, 6, 7), full=(0, 2, 3, 4, 5, 6, 7))
by_depth = {0: learned["fine-tuned", MOST], 7: learned["frozen", MOST]}
for depth in DEPTHS[1:-1]:
    by_depth[depth] = train(begin(frozen=depth), few(MOST), RATES["fine-tuned"])
freezing = {depth: (on_source(by_depth[depth]), on_target(by_depth[depth])) for depth in DEPTHS}

# %%
for depth, (kept, gained) in freezing.items():
    expect(f"depth {depth}: target, %", gained, full=(53, 80), quick=(5, 100))
    expect(f"depth {depth}: source, %", kept, full=(42, 88), quick=(5, 100))

# %%
best = max(DEPTHS, key=lambda depth: on_target(by_depth[depth], target.validation))
print("best depth on the validation images of the target:", best)
forgotten = {depth: old_accuracy - kept for depth, (kept, _) in freezing.items()}
claim("fine-tuning-forgets", forgotten[0])
claim("freezing-protects", 100 * (1 - forgotten[6] / forgotten[0]))
claim("freezing-costs-plasticity", freezing[best][1] - freezing[7][1])
claim("freeze-early-train-late", freezing[3][1] - max(freezing[0][1], freezing[7][1]))

# %% [markdown]
# Draw both in one plane. The best place is the upper right corner.


# %%
def draw_plane(axes, curves):
    """Draw named curves: what was learned of the target over what is left of the source, each point with its label."""
    for (name, points), colour, style in zip(curves.items(), plots.COLOURS, plots.STYLES, strict=False):
        axes.plot(*zip(*points.values(), strict=True), style, marker="o", color=colour, label=name)
        for label, point in points.items():
            axes.annotate(f"{label:g}", point, textcoords="offset points", xytext=(4, 4), fontsize=8, color=colour)
    axes.plot(*by_weights, "kx", label="weights frozen, statistics not")
    axes.axvline(old_accuracy, color="0.6", linestyle=":", label="source task before")
    axes.set(xlabel="source task, old head on the new trunk (%)", ylabel="target task (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


# %%
plane = {"freezing depth": freezing, "discriminative rates, factor": {1: freezing[0], **discriminative}}
figure, axes = plt.subplots(figsize=(6.8, 4.6), layout="constrained")
draw_plane(axes, plane)
plots.show(
    figure,
    caption="Plasticity against forgetting, 500 target images a class. Numbers along the curves: how many layers were "
    "frozen, and the factor between the rates of neighbouring layers. The cross is the careless network of section 5.",
    alt="Accuracy on the target task over accuracy on the source task: one curve of numbered points for the freezing "
    "depth and one for discriminative rates, a cross, and a dotted line for the source task before.",
)

# %% [markdown]
# Choose a depth. (The slider works in JupyterLab; the picture below stands for it.)

# %%
from ipywidgets import SelectionSlider, interact


def draw_depth(depth):
    """Draw which layers are frozen and how much each holds, and the point in the plane."""
    figure, (bars, curve) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    groups = learned_layers(blank)
    sizes = [sum(layer.count_params() for layer in group) for group in groups]
    colours = [plots.COLOURS[0]] * depth + [plots.COLOURS[1]] * (len(groups) - depth)
    bars.barh([group[0].name for group in groups], sizes, color=colours)
    bars.set(xlabel="parameters", title=f"above: frozen; {freeze(blank, depth):,} numbers to train below")
    bars.axhline(depth - 0.5, color="black")
    bars.invert_yaxis()
    draw_plane(curve, {"freezing depth": freezing})
    curve.plot(*freezing[depth], "ko", markersize=14, fillstyle="none")
    curve.set(title=f"depth {depth}: target {freezing[depth][1]:.1f} %, source {freezing[depth][0]:.1f} %")
    return figure


# %%
@interact(depth=SelectionSlider(options=DEPTHS))
def explore(depth):
    draw_depth(depth)
    plt.show()


# %%
plots.show(
    draw_depth(3),
    caption="Depth 3: which layers are frozen, how much each holds, and the point of this depth in the plane.",
    alt="Left, bars for the parameters of eight layers, with a line between the first three, frozen, and the others. "
    "Right, the curve over the freezing depth with one point circled.",
)

# %% [markdown]
# ## 9. A remedy: a pull towards the old weights
#
# Freezing is all or nothing for a layer. Softer: let each weight move, and add to the loss a cost that grows with the
# distance,
#
# α / 2 · Σ (w − w₀)², with w₀ the weight before
#
# (Li, Grandvalet and Davoine, 2018, call it L2-SP, SP for starting point; they also pull the head towards 0, and we do
# not). By hand: one weight that was 2, and a new task whose loss (w − 5)² / 2 would have it at 5. The slope of the sum,
# (w − 5) + α (w − 2), is 0 at w = (5 + 2 α) / (1 + α): without pull 5, with α = 1 the middle, 3.5, with α = 9 2.3.
#
# The library's `pull_to_old` adds the pull to every weight of the trunk.

# %% tags=["nbval-check-output"]
from course_lib.training.transfer import fisher_information, pull_to_old, trunk_variables

tiny = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False), layers.Dense(1, name="head")])
kernel = tiny.layers[0].kernel
kernel.assign([[2.0]])
pull_to_old(tiny, strength=1.0)
for weight in (2.0, 3.5, 5.0):
    kernel.assign([[weight]])
    pull = float(sum(tiny.losses))
    print(f"w = {weight}: pull {pull:.3f}, loss of the new task {(weight - 5) ** 2 / 2:.3f}")
    assert np.isclose(pull, (weight - 2) ** 2 / 2)

# %% [markdown]
# The plain pull holds all weights alike. But some hardly matter to the old task and may move. How much does a weight
# matter?
#
# Training has brought the log-likelihood of the old task near its maximum, where the slope is almost 0. So the slope
# does not tell. The curvature does: it says how fast the log-likelihood falls when the weight moves. It would take
# second derivatives. But averaged over labels that are drawn from the network's own answers, the curvature equals the
# mean **square of the first derivative** of the log-probability. This is the **Fisher information** F. So the cost
# becomes
#
# α / 2 · Σ F (w − w₀)²
#
# (Kirkpatrick and others, 2017, who call it elastic weight consolidation).
#
# By hand, with one weight w and the probability p = 1 / (1 + e^(−w x)) of "yes". The derivative of log p by w is
# (1 − p) x, that of log (1 − p) is −p x. Answers are "yes" with probability p, so the mean square is
# p (1 − p)² x² + (1 − p) p² x² = p (1 − p) x². At w = 0 it is x² / 4: 1 for an input of 2, and 0.0025 for an input of
# 0.1. To move w costs 400 times as much where the input is 2 as where it is 0.1.
#
# With five classes it is the same: draw a label from the answer, take the gradient, square it, average over images.

# %%
from course_lib.analysis.gradients import weight_gradients


def gradients_of(network, image, label):
    """Return the gradient of the log-probability of a label for an image (1, h, w, 3), for each weight of the trunk."""
    return weight_gradients(lambda: ops.log_softmax(network(image))[0, label], trunk_variables(network))


def fisher_by_hand(network, images, seed):
    """Return the mean square of that gradient over images, each with a label drawn from the network's answer."""
    generator = np.random.default_rng(seed)
    squares = [0.0] * len(trunk_variables(network))
    for image in images[:, None]:
        answer = np.asarray(ops.softmax(network(image)), "float64")[0]
        gradients = gradients_of(network, image, generator.choice(5, p=answer / answer.sum()))
        squares = [total + gradient**2 for total, gradient in zip(squares, gradients, strict=True)]
    return [total / len(images) for total in squares]


# %%
handful = source.train.images[:3]
pairs = zip(fisher_by_hand(old, handful, 1), fisher_information(old, handful, batch_size=1, seed=1), strict=True)
assert all(np.allclose(one, other, rtol=1e-3, atol=1e-8) for one, other in pairs)

# %% [markdown]
# The library takes one gradient for a batch of images, which costs less. Averaged over drawn labels, the gradient of
# each image is 0. So the products of the gradients of two images cancel on average, and the square of a sum has the sum
# of the squares as its mean.
#
# We divide F by its mean over all weights. Then α means the same in both pulls: what an average weight costs.

# %%
pictures = source.train.images[: course.size(quick=60, full=1_000)]
information = fisher_information(old, pictures, batch_size=20, seed=course.seed)
mean = np.concatenate([share.ravel() for share in information]).mean()
importance = [share / mean for share in information]
for variable, share in zip(trunk_variables(old), importance, strict=True):
    if variable.name == "kernel":
        print(f"{variable.path.split('/')[-2]:<6} an average weight counts {share.mean():6.2f}")

# %%
everything = np.sort(np.concatenate([share.ravel() for share in importance]))[::-1]
held_by_few = 100 * everything[: len(everything) // 100].sum() / everything.sum()
expect("percent of the information that one percent of the weights has", held_by_few, full=(37, 57), quick=(5, 100))

# %% [markdown]
# The information needs images of the source, but only once. Afterwards it is one number a weight, and no image of the
# source is seen again.
#
# One thing the pull does not hold: the stored means and variances of batch normalisation, since no gradient moves them.
# Under a very strong pull the trunk would be that of section 5's careless network, the cross in the plane. Freezing a
# layer stops its statistics, too.
#
# Both pulls get the same three strengths. They were set beforehand, a factor of ten apart, so that the curves span the
# plane.

# %%
STRENGTHS = course.size(quick=(0.1,), full=(0.01, 0.1, 1.0))
PULLS = {"plain pull": None, "Fisher pull": importance}
pulled = {name: {} for name in PULLS}
for name in course.size(quick=("Fisher pull",), full=tuple(PULLS)):
    for strength in STRENGTHS:
        network = begin()
        pull_to_old(network, strength, PULLS[name])
        train(network, few(MOST), RATES["fine-tuned"])
        pulled[name][strength] = (on_source(network), on_target(network))

# %%
for name, points in pulled.items():
    for strength, (kept, gained) in points.items():
        expect(f"{name}, {strength:g}: target, %", gained, full=(52, 78), quick=(5, 100))
        expect(f"{name}, {strength:g}: source, %", kept, full=(56, 88), quick=(5, 100))
plane |= {f"{name}, strength": {0: freezing[0], **points} for name, points in pulled.items()}
figure, axes = plt.subplots(figsize=(6.8, 5), layout="constrained")
draw_plane(axes, plane)
plots.show(
    figure,
    caption="The plane of section 8 with the two pulls. Numbers along the curves: frozen layers, factor between the "
    "rates, strength of the pull. All curves begin at fine-tuning without any remedy.",
    alt="Four curves of accuracy on the target task over accuracy on the source task that begin at a common point: "
    "freezing depth, discriminative rates, a plain pull and a pull weighted by Fisher information.",
)

# %% [markdown]
# What does a remedy gain? Compare at an equal price. Follow each curve from fine-tuning on, until it has given up 3, 6
# or 9 points on the target. How much of the source task is left there? Between two networks of a curve we draw a
# straight line.


# %%
def kept_after(points, price):
    """Return the source accuracy, %, where a curve {label: (source, target)} has given up `price` points, else nan."""
    kept, gained = np.transpose(list(points.values()))
    lost = gained[0] - gained
    after = np.argmax(lost >= price)  # the first network beyond, 0 where there is none
    return np.interp(price, lost[after - 1 : after + 1], kept[after - 1 : after + 1]) if after else np.nan


PRICES = course.size(quick=(), full=(3, 6, 9))
for price in PRICES:
    for name, points in plane.items():
        short = name.split(",")[0]
        expect(
            f"{price} points given up, {short}: source left, %",
            kept_after(points, price),
            full=(52, 87),
            quick=(0, 100),
        )

# %% [markdown]
# ## 10. Which layers are general?
#
# So far the target had few images. To ask what a feature is worth, take more of them, and compare layers taken from the
# source with layers learned on the target (after Yosinski and others, 2014). Take the first k layers from the source
# network and freeze them. The rest begins at random and learns the target from 1,000 images a class; these runs are
# twice as long. With k = 0 everything is learned on the target; k = 2 takes two convolutions, k = 5 all of them.
#
# A loss against k = 0 may have three causes. The features do not fit the target. Neighbouring layers that had learned
# to work together were separated, as Yosinski and others found. And fewer weights can learn. The source network also
# saw four times as many images, which acts the other way. We measure the sum.

# %%
many, reused = few(course.size(quick=100, full=1_000)), {}
for taken in (0, 2, 5):
    network = train(begin(taken, frozen=taken), many, RATES["scratch"], images=len(many))
    reused[taken] = on_target(network)
    expect(f"first {taken} layers from the source: target, %", reused[taken], full=(66, 82), quick=(5, 100))

# %%
claim("early-layers-are-general", reused[0] - reused[2])
claim("late-layers-are-specific", reused[2] - reused[5])

# %% [markdown]
# ### A probe at each layer
#
# Another way to ask: what can be read off a layer? A **linear probe** (Alain and Bengio, 2017) is a linear classifier
# on the values of one layer; the network itself is not trained. If the classes can be told apart with straight cuts,
# the probe finds them.
#
# Our probe is least squares: it fits 1 to the right class and 0 to the others, and needs no steps. It pulls its
# weights a little to 0, with a strength that was not tuned. Of maps it sees means over 3 × 3 fields. The
# maps of `conv1`, for example, have 28 × 28 places; nine by nine of them become one mean, so 16 maps give 144 values.
# The numbers of values differ, from 64 to 432. So compare the trained with the random network at one layer, rather than
# two layers with each other.


# %%
def reader(network):
    """Return a network that gives the values of each of the first seven learned layers, (n, values)."""
    outputs = []
    for number in range(1, 8):
        maps = network.get_layer(f"relu{number}").output
        side = maps.shape[1] // 3
        outputs.append(layers.Reshape((-1,))(layers.AveragePooling2D(side, side)(maps)) if number < 6 else maps)
    return keras.Model(network.inputs, outputs)


def probe(seen, new, labels, new_labels):
    """Return the accuracy, %, on new values (m, d) of least squares fitted to values seen (n, d)."""
    mean, deviation = seen.mean(axis=0), seen.std(axis=0) + 1e-3
    seen, new = (np.insert((part - mean) / deviation, 0, 1, axis=1).astype("float64") for part in (seen, new))
    gram = seen.T @ seen + 0.1 * len(seen) * np.eye(seen.shape[1])
    fitted = np.linalg.solve(gram, seen.T @ np.eye(5)[labels])
    return 100 * float((np.argmax(new @ fitted, axis=1) == new_labels).mean())


# %%
probed = {}
for trunk, network in (("source network", old), ("random weights", begin(taken=0))):
    read = reader(network)
    for name, task in (("source", source), ("target", target)):
        learning = task.train.take(0, course.size(quick=300, full=5_000))
        values = [read.predict(part.images, batch_size=500, verbose=0) for part in (learning, task.test)]
        probed[name, trunk] = [probe(*pair, learning.labels, task.test.labels) for pair in zip(*values, strict=True)]

# %%
for (name, trunk), found in probed.items():
    for layer, number in (("conv1", 0), ("conv3", 2), ("fc7", 6)):
        expect(f"probe at {layer}, {trunk}: {name}, %", found[number], full=(35, 90), quick=(5, 100))

# %%
names = [group[0].name for group in learned_layers(old)][:-1]
figure = plots.curves(
    names,
    {f"{name} task, {trunk}": found for (name, trunk), found in probed.items()},
    xlabel="probed layer",
    ylabel="test accuracy of the probe (%)",
)
plots.show(
    figure,
    caption="What a linear probe reads off each layer of the source network, and of the same network with random "
    "weights, for both tasks. The probe of the source task learns from images that the source network has seen.",
    alt="Four curves of probe accuracy over the layers conv1 to fc7: source and target task, each for the trained "
    "network and for one with random weights.",
)

# %% [markdown]
# ## 11. What we measured
#
# Means and standard deviations over the recorded seeds, full profile, all on the 5,000 test images of a task. A seed
# picks the source network (there are three), the target images and the first weights. CIFAR-10 is a copy that was
# compressed as JPEG.

# %%
from course_lib.analysis.cost import layer_costs
from course_lib.records import mean_and_sd, mean_interval

macs = sum(cost.macs for cost in layer_costs(blank))
print(f"one network for all: {blank.count_params():,} parameters, {macs:,} multiply–accumulates an image")
print(f"{len(spent)} trainings in this run, half of them in less than {np.median(spent):.0f} s\n")
print(f"{'target task (%)':<24}" + "".join(f"{count:<27}" for count in COUNTS) + "images a class")
for way in WAYS:
    found = [mean_and_sd(f"{way}, {count} images a class: target task, %") for count in COUNTS]
    print(f"{way:<24}" + "".join(f"{value:<27}" for value in found))

# %%
rows = [f"depth {depth}" for depth in DEPTHS] + [f"rates falling by {factor}" for factor in discriminative]
rows += [f"{name}, {strength:g}" for name, points in pulled.items() for strength in points]
print(f"{MOST} images a class      target task (%)            source task (%)")
for row in rows:
    found = [mean_and_sd(f"{row}: {task}, %") for task in ("target", "source")]
    print(f"{row:<24}{found[0]:<27}{found[1]}")

# %% [markdown]
# What the remedies gain: points of the source task that they keep beyond freezing, at an equal price on the target. The
# mean of the differences by seed, and the half-width of its 95 % interval (chapter 06, section 6).

# %%
NAME = "{} points given up, {}: source left, %"
for price in PRICES:
    for name in list(plane)[1:]:
        short = name.split(",")[0]
        gain = mean_interval(NAME.format(price, short), minus=NAME.format(price, "freezing depth"))
        if gain:
            print(f"{price} points given up, {short:<22}{gain[0]:+.1f} ± {gain[1]:.1f} points over freezing")

# %%
for taken in (0, 2, 5):
    print(f"first {taken} layers from the source: {mean_and_sd(f'first {taken} layers from the source: target, %')}")

# %% [markdown]
# ## 12. What the sources claim, and what we found

# %%
from IPython.display import Markdown

Markdown(course_lib.claims_table(chapter=7))

# %% [markdown]
# **With a trained trunk, 100 images do the work of 500.** Fine-tuned on 100 images a class, the network is eight or
# nine points ahead of one from scratch, and close to what scratch reaches with 500.
#
# **A frozen trunk is for very few images.** With 5 a class, frozen and fine-tuned are close, and the draw of the images
# decides. From 100 on fine-tuning is ten points ahead and more, and with 500 the frozen trunk is behind even a network
# from scratch: it is given features and cannot make its own.
#
# **To fine-tune is to forget.** Of 86 % on the source task, 50 to 60 % are left, where chance is 20 %.
#
# **The late layers hold what the old head needs.** Freezing the first three avoids less than half of the loss on the
# source task, and the target is learned a little worse. Each further layer protects more and costs more. With six
# frozen nine tenths of the loss are avoided, and eleven or twelve points of the target are gone. So the sources are
# right that freezing protects and that too much of it hinders. That freezing early and training late is best for the
# new task we do not find: to train everything is better by a point or so, if one may forget the old task.
#
# **Early layers are general, late ones are not.** Two convolutions from the source network serve the target better than
# its own, by about three points: they have learned from four times as many images. All five together serve it worse.
# The probes show the same from another side. Towards `fc7` the source task can be read off better and better. The
# target can be read off best in the middle.
#
# **The Fisher pull is the best remedy, and its lead is small.** Where three points on the target are given up, it keeps
# four to eight points more of the source task than freezing; where nine are, hardly more. Three seeds leave wide
# intervals. Discriminative rates do about as well as freezing, need no depth to be chosen and no image of the source.
# The plain pull is no better than freezing, and behind it where much is given up: held hard enough to protect, it holds
# weights that the old task does not need.
#
# **Batch normalisation did little harm where source and target look alike.** The careless trunk lost about two points
# of the source task. Dark images cost about ten, without any training.
#
# What holds for all of these numbers: source and target are two halves of one data set, so this is near transfer. The
# network is small, and its source task had about 22,500 images, not millions.
#
# ## 13. Exercises
#
# The sheet `exercises/07_transfer.ipynb` has five questions. Hints open one at a time; `exercises/solutions/` has the
# answers. Six more to try right here:
#
# 1. By hand: how many numbers are left to train at depth 5? Check with `freeze(blank, depth=5)`.
# 2. In section 5 the careless trunk let its statistics move. Put the old ones back, layer by layer, with `get_weights`
#    and `set_weights`. What does the old head say now?
# 3. Train the head alone first, then everything, each for half of the steps (Kumar and others, 2022). Where on the
#    plane does this network lie, beside plain fine-tuning?
# 4. Join the two remedies: discriminative rates and a Fisher pull. Is the point beyond both curves?
# 5. Swap the tasks: take the odd classes as the source (`course train source` trains on the even ones; `fit` on
#    `target.train` does the other). Which probes change?
# 6. In `begin`, take the seed that the source network was trained with, 0, 1 or 2: the fresh head is then the one that
#    this network began with. Fine-tune again. How much of the source task is left now, and why?
#
# ## Further reading
#
# - J. Yosinski, J. Clune, Y. Bengio, H. Lipson, "How transferable are features in deep neural networks?", *Advances in
#   Neural Information Processing Systems* 27, 2014. Layers taken over and frozen, as in section 10, on ImageNet.
# - J. Howard, S. Ruder, "Universal language model fine-tuning for text classification", ACL 2018. Section 3.2 has
#   discriminative rates.
# - X. Li, Y. Grandvalet, F. Davoine, "Explicit inductive bias for transfer learning with convolutional networks", ICML
#   2018. L2-SP.
# - J. Kirkpatrick, R. Pascanu, N. Rabinowitz and others, "Overcoming catastrophic forgetting in neural networks",
#   *Proceedings of the National Academy of Sciences* 114(13):3521–3526, 2017. Elastic weight consolidation.
# - F. Kunstner, L. Balles, P. Hennig, "Limitations of the empirical Fisher approximation for natural gradient descent",
#   *Advances in Neural Information Processing Systems* 32, 2019. Why labels are drawn.
# - M. McCloskey, N. J. Cohen, "Catastrophic interference in connectionist networks: the sequential learning problem",
#   *Psychology of Learning and Motivation* 24:109–165, 1989. Forgetting, first described.
# - S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate
#   shift", ICML 2015.
# - Y. Wu, K. He, "Group normalization", ECCV 2018. What small batches do to batch normalisation, and a way without
#   batches.
# - A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report, University of Toronto,
#   2009. CIFAR-10.
# - G. Alain, Y. Bengio, "Understanding intermediate layers using linear classifier probes", ICLR workshop, 2017.
# - A. Kumar, A. Raghunathan, R. Jones, T. Ma, P. Liang, "Fine-tuning can distort pretrained features and underperform
#   out-of-distribution", ICLR 2022.
# - J. Donahue, Y. Jia, O. Vinyals, J. Hoffman, N. Zhang, E. Tzeng, T. Darrell, "DeCAF: a deep convolutional activation
#   feature for generic visual recognition", ICML 2014. AlexNet's layers as features for other tasks.
