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
# | Running time, two cores | quick profile about a minute, full profile about 7 minutes |
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
# colours and textures, too. If these features serve both, then a new task needs fewer images of its own. To use what
# was learned on one task, the **source**, for another, the **target**, is called transfer.
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
# This is **near** transfer: the images are of one kind, of one size, taken and chosen in one way. Our copy of CIFAR-10
# may have been compressed as JPEG once more; the line above says so. Then both tasks share that, too. From photographs
# to X-ray pictures the way is longer, and the numbers below say nothing about it.
#
# ## 2. A trained network and its card
#
# The network is a small AlexNet: five convolutions, three dense layers. After each of the first seven comes batch
# normalisation. Count one layer: the third convolution has 48 maps, each looks at 3 × 3 places of 32 maps and has no
# bias, since batch normalisation adds its own: 48 · 3 · 3 · 32 = 13,824. Batch normalisation has four numbers a map, a
# scale and an offset, which are trained, and a mean and a variance, which are not: 4 · 48 = 192.

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
# It was trained on the source task beforehand, three times on CIFAR-10 with different seeds, and once on the sample.
# The command for the first is
#
#     course train source --data full --seed 0 --output data/weights
#
# and takes two minutes on two cores. Weights alone are numbers without meaning, so each file has a **card** beside it:
# command, data, classes, seed, accuracy, versions, and the SHA-256 of the file.

# %%
from course_lib.models import weights
from course_lib.training.transfer import load_source, weights_name

old = load_source(source, seed=course.seed)
card = weights.read_card(f"{weights_name(source)}_0")
for key in ("command", "source", "examples", "test accuracy", "bytes", "sha256"):
    print(f"{key:<14} {card[key]}")

# %% [markdown]
# Loading compares the file with its card, and the card with what it is loaded for. Weights for other classes have the
# same shapes, so they would load and then be wrong, quietly. Let us ask for those of the target task.

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
expect("source network on the source task, %", old_accuracy, full=(70, 100), quick=(70, 100))
expect("file of the weights, bytes", card["bytes"], full=(1, 1.6e6), quick=(1, 1.6e6))

# %% [markdown]
# ## 3. A new head
#
# The last layer, `fc8`, answers with five scores for the five classes of the source. The target has other classes, so
# this layer is of no use: it is the **head**, and it is swapped. All below it is the **trunk**, and it stays.

# %%
keras.utils.set_random_seed(course.seed)
swapped = keras.Sequential([keras.Input((32, 32, 3)), *old.layers[:-1], layers.Dense(5, name="new_head")])
some = target.test.images[:200]
print("trunk", old.layers[-2].output.shape[1:], "→ new head", swapped.output_shape[1:])
expect("weights of the new head: 64 · 5 + 5", swapped.layers[-1].count_params(), exactly=325)
assert swapped.get_layer("conv1") is old.get_layer("conv1")

# %% [markdown]
# The last line is a trap: the two networks share their layers, they do not have a copy each. Whoever trains `swapped`
# changes `old` as well. So make a second network and copy the weights over. The library's `transplant` copies those of
# the first `depth` learned layers, each with its batch normalisation: 7 of 8 here.

# %%
from course_lib.training.transfer import learned_layers, transplant


def with_new_head():
    """Return the source network's trunk, a copy, under a fresh head."""
    keras.utils.set_random_seed(course.seed)
    return transplant(old, transfer_network(classes=5), depth=7)


network = with_new_head()
trunks = [np.asarray(keras.Sequential(each.layers[:-1])(some)) for each in (swapped, network)]
assert np.array_equal(*trunks)
assert network.get_layer("conv1") is not old.get_layer("conv1")
print("the learned layers:", *(group[0].name for group in learned_layers(network)))

# %% [markdown]
# ## 4. Freezing
#
# A layer is frozen when training does not change it. In Keras that is one word, `trainable`.
#
# By hand: the trunk and the head train 100,309 numbers. The first convolution has 16 kernels of 5 × 5 places and 3
# colours, 16 · 75 = 1,200, and 16 scales and 16 offsets after it, together 1,232. Freeze it, and 99,077 are left.


# %% tags=["nbval-check-output"]
def left_to_train(network):
    """Return how many numbers training may change."""
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


expect("numbers to train", left_to_train(blank), exactly=100_309)
for name in ("conv1", "norm1"):
    blank.get_layer(name).trainable = False
expect("numbers to train without the first layer", left_to_train(blank), exactly=100_309 - 16 * 75 - 2 * 16)

# %% [markdown]
# The library's `freeze` does so by depth and returns what is left. Depth 7 leaves the head alone, which is called
# feature extraction: the trunk is then a fixed function, and only a linear classifier is learned.

# %% tags=["nbval-check-output"]
from course_lib.training.transfer import freeze

assert freeze(blank, depth=1) == left_to_train(blank) == 99_077
for depth, group in enumerate(learned_layers(blank)):
    print(f"depth {depth}: {freeze(blank, depth):>7,} left, from {group[0].name} on")
expect("numbers to train in the head", freeze(blank, depth=7), exactly=325)

# %% [markdown]
# All runs of this chapter train alike: the same number of steps, 50 images a step, Adam with a rate that falls to 0
# along half a cosine, random crops and mirror images. Where there are few images they come again and again. So no run
# has an advantage but its images and its start.


# %%
from course_lib.training.loop import fit

EPOCH, EPOCHS = course.size(quick=(500, 2), full=(2_500, 12))


def few(count, draw=0):
    """Return `count` target images of each class; a larger draw with the same number holds the smaller one."""
    generator = np.random.default_rng((course.seed, draw))
    orders = [generator.permutation(np.flatnonzero(target.train.labels == label)) for label in range(5)]
    return target.train[np.concatenate([order[:count] for order in orders])]


def train(network, data, rate, **more):
    """Train what is not frozen, in as many steps whatever the number of images, and return the history."""
    repeated = data[np.resize(np.arange(len(data)), EPOCH)]
    return fit(network, repeated, epochs=EPOCHS, batch_size=50, learning_rate=rate, **more)


# %% [markdown]
# ## 5. Batch normalisation, the trap
#
# In training, batch normalisation takes mean and variance from the batch. Afterwards it has no batch, so it uses stored
# ones. They are averages over the past: stored ← 0.9 · stored + 0.1 · the batch's. No gradient moves them. They move
# whenever the layer is called in training.
#
# By hand: four values 1, 3, 5, 7 have the mean 4. Stored was 0; after one step it is 0.4. After 20 such steps
# 0.9²⁰ = 0.12 of the old is left. So within one epoch the stored numbers belong to the new task.

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
# a frozen *layer*. Freeze its weights one by one, as other frameworks do, and the layer goes on to use the batch and to
# move what is stored. Nothing that is trained changes, and yet the trunk is another one.
#
# Here are both. The measure is the source task: the old head on the new trunk.

# %%
old_judge, new_judge = load_source(source, seed=course.seed), transfer_network(classes=5)


def on_source(network, data=source.test):
    """Return the accuracy of the network's trunk on the source task, under the old head, %."""
    return accuracy(transplant(network, old_judge, depth=7), data)


def on_target(network, data=target.test):
    """Return the accuracy on the target task, %. The judge is one network for all, so that it compiles once."""
    return accuracy(transplant(network, new_judge, depth=8), data)


HUNDRED = course.size(quick=50, full=100)
careful, careless = with_new_head(), with_new_head()
freeze(careful, depth=7)
for variable in careless.trainable_variables[:-2]:  # all but kernel and bias of the head
    variable.trainable = False
assert left_to_train(careful) == left_to_train(careless) == 325

# %%
for network in (careful, careless):
    _ = train(network, few(HUNDRED), rate=1e-2)
kernels = [network.get_layer("conv5").get_weights()[0] for network in (old, careful, careless)]
assert np.array_equal(kernels[0], kernels[1]) and np.array_equal(kernels[0], kernels[2])
print(f"source task before: {old_accuracy:.1f} %")
lost = {name: old_accuracy - on_source(network) for name, network in (("layers", careful), ("weights", careless))}
expect("points of the source task lost, layers frozen", lost["layers"], exactly=0)
expect("points of the source task lost, weights frozen", lost["weights"], full=(-5, 50), quick=(-50, 90))

# %%
from keras import ops

stored = {name: np.concatenate([layer.get_weights()[2] for layer in network.layers if layer.name.startswith("norm")])
          for name, network in (("old", old), ("careless", careless))}  # fmt: skip
spread = np.concatenate([np.sqrt(layer.get_weights()[3]) for layer in old.layers if layer.name.startswith("norm")])
moved = np.abs(stored["careless"] - stored["old"]) / spread
expect("stored means moved by, in standard deviations (median)", np.median(moved), full=(0, 5), quick=(0, 5))

# %% [markdown]
# The second trap is the size of the batch. A mean over few images is uncertain, so an image's answer depends on its
# neighbours in the batch. Take the trained network as it is, train nothing, and let it use the statistics of batches of
# several sizes.


# %%
def normalised_by_itself(layer, maps):
    """Normalise maps by their own mean and variance, then apply the layer's scale and offset."""
    scale, offset = layer.get_weights()[:2]
    axes = tuple(range(maps.ndim - 1))
    return (maps - maps.mean(axes)) / np.sqrt(maps.var(axes) + layer.epsilon) * scale + offset


def accuracy_in_batches(network, data, size):
    """Return the accuracy, %, where each batch of `size` images gives its own statistics; nothing is trained."""
    right = 0
    for start in range(0, len(data), size):
        maps = data.images[start : start + size]
        for layer in network.layers:
            by_itself = isinstance(layer, layers.BatchNormalization)
            maps = normalised_by_itself(layer, maps) if by_itself else np.asarray(layer(maps))
        right += (maps.argmax(axis=1) == data.labels[start : start + size]).sum()
    return 100 * right / len(data)


SIZES = (2, 4, 16, 64)
piece = source.test.take(0, course.size(quick=64, full=512))
with_batches = {size: accuracy_in_batches(old, piece, size) for size in SIZES}
with_stored = accuracy(old, piece)
for size, found in with_batches.items():
    print(f"batches of {size:>2}: {found:5.1f} %   with what is stored: {with_stored:.1f} %")
expect("points lost with batches of 2", with_stored - with_batches[2], full=(10, 60), quick=(-20, 90))
expect("points lost with batches of 64", with_stored - with_batches[64], full=(-5, 10), quick=(-30, 50))

# %% [markdown]
# So freeze layers, not weights, and give batch normalisation batches that are not tiny. Where only tiny batches fit
# into memory, freeze the normalisation as well.
#
# ## 6. How many images are needed?
#
# Three ways to learn the target task:
#
# - from **scratch**: random weights, all of them trained;
# - **frozen**: the trunk of the source network, only the head trained;
# - **fine-tuned**: the trunk of the source network, everything trained.
#
# A fair comparison gives each way its own learning rate. With 100 images a class we tried 0.001, 0.003 and 0.01 for
# scratch and for fine-tuning, and 0.003, 0.01 and 0.03 for the head alone, and chose on the target's validation images,
# with one seed.

# %%
WAYS = {"scratch": (0, 0), "frozen": (7, 7), "fine-tuned": (7, 0)}  # learned layers taken over, and frozen
RATES = {"scratch": 3e-3, "frozen": 1e-2, "fine-tuned": 3e-3}
COUNTS = course.size(quick=(5, 50), full=(5, 20, 100, 500))
FEWEST, MOST = COUNTS[0], COUNTS[-1]
DRAWS = course.size(quick=1, full=3)  # for the fewest images, where it matters which ones they are
seconds = {}


def begin(taken):
    """Return a network for the target that takes its first `taken` learned layers from the source network."""
    keras.utils.set_random_seed(course.seed)
    return transplant(old, transfer_network(classes=5), depth=taken)


def learn(way, data):
    """Return a network that learned the target task in one of the three ways."""
    taken, frozen = WAYS[way]
    network = begin(taken)
    freeze(network, frozen)
    seconds[way] = train(network, data, RATES[way]).seconds
    return network


# %%
learned = {
    (way, count, draw): learn(way, few(count, draw))
    for way in WAYS
    for count in COUNTS
    for draw in range(DRAWS if count == FEWEST else 1)
}
by_draw = {key: on_target(network) for key, network in learned.items()}
few_shot = {(way, count): np.mean([found for key, found in by_draw.items() if key[:2] == (way, count)])
            for way in WAYS for count in COUNTS}  # fmt: skip

# %%
for (way, count), found in few_shot.items():
    expect(f"{way}, {count} images a class: target task, %", found, full=(20, 90), quick=(5, 100))
for way in WAYS:
    print(
        f"{way}, {FEWEST} images a class, by draw:", *(f"{by_draw[way, FEWEST, draw]:.1f} %" for draw in range(DRAWS))
    )

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for way, colour, style in zip(WAYS, plots.COLOURS, plots.STYLES, strict=False):
    found = [few_shot[way, count] for count in COUNTS]
    axes.plot(COUNTS, found, marker="o", linestyle=style, color=colour, label=way)
    axes.plot([FEWEST] * DRAWS, [by_draw[way, FEWEST, draw] for draw in range(DRAWS)], "_", color=colour)
axes.set(xscale="log", xlabel="target images a class", ylabel="test accuracy on the target task (%)")
axes.set_xticks(COUNTS, COUNTS)
axes.grid(alpha=0.3)
axes.legend()
plots.show(
    figure,
    caption="Accuracy on the target task against the number of its images, for three ways to learn it. Dashes: single "
    "draws of the fewest images, whose mean is the point.",
    alt="Three curves of test accuracy over the number of target images a class: scratch, frozen and fine-tuned.",
)

# %% [markdown]
# For the claim we take the way with the pretrained network that is better on the validation images.

# %%
better = max(("frozen", "fine-tuned"), key=lambda way: on_target(learned[way, HUNDRED, 0], target.validation))
print(f"with {HUNDRED} images a class the validation images prefer: {better}")
claim("few-data-suffice", few_shot[better, HUNDRED] - few_shot["scratch", HUNDRED])

# %% [markdown]
# ## 7. Learning rates
#
# For fine-tuning the rate has a second meaning. A small one keeps the weights near those of the source network. Here
# are three rates, with 100 images a class, and for each the target with the new head and the source with the old one.

# %%
by_rate = {RATES["fine-tuned"]: learned["fine-tuned", HUNDRED, 0]}
for rate in course.size(quick=(), full=(3e-4, 1e-3)):
    by_rate[rate] = begin(7)
    freeze(by_rate[rate], 0)
    _ = train(by_rate[rate], few(HUNDRED), rate)
for rate, network in sorted(by_rate.items()):
    expect(f"rate {rate:g}: target task, %", on_target(network), full=(40, 90), quick=(5, 100))
    expect(f"rate {rate:g}: source task, %", on_source(network), full=(15, 90), quick=(5, 100))

# %% [markdown]
# The head is new and has far to go. The first convolution already finds edges and has little to learn. So why one rate
# for both? **Discriminative rates** (Howard and Ruder, 2018) divide the rate by 2.6 for each layer further from the
# head. By hand: 1 for the head, 1 / 2.6 = 0.38 for `fc7`, 0.15 for `fc6`, and 1 / 2.6⁷ = 0.0012 for `conv1`.
#
# It would not help to scale the gradients, since Adam divides by their size. The step itself must be shorter. The
# library's `DiscriminativeAdam` has a share of the rate for each weight. Adam's first step is as long as the rate,
# whatever the gradient, so one step with random gradients shows the shares.

# %%
from course_lib.training.transfer import DiscriminativeAdam, rate_shares

freeze(blank, depth=0)
rule = DiscriminativeAdam(learning_rate=0.01, shares=rate_shares(blank, factor=2.6))
head_and_first = [blank.get_layer(name).kernel for name in ("fc8", "conv1")]
before = [ops.convert_to_numpy(kernel) for kernel in head_and_first]
generator = np.random.default_rng(0)
gradients = [generator.normal(size=variable.shape).astype("float32") for variable in blank.trainable_variables]
rule.apply(gradients, blank.trainable_variables)
after = [ops.convert_to_numpy(kernel) for kernel in head_and_first]
steps = [np.median(np.abs(now - was)) for now, was in zip(after, before, strict=True)]
print(f"step of fc8 {steps[0]:.5f}, step of conv1 {steps[1]:.8f}; 2.6⁷ = {2.6**7:.0f}")
expect("step of fc8 over step of conv1", steps[0] / steps[1], full=(795, 812), quick=(795, 812))

# %% [markdown]
# Now train with it, with the most images we use. The whole rate was chosen like the others, among 0.003 and 0.01; most
# layers get little of it, so it may be higher. The result goes into the picture of the next section.

# %%
from keras.optimizers.schedules import CosineDecay

discriminative = {}
for rate in course.size(quick=(1e-2,), full=(3e-3, 1e-2)):
    network = begin(7)
    freeze(network, 0)
    schedule = CosineDecay(rate, EPOCHS * EPOCH // 50)
    _ = train(network, few(MOST), rate, optimizer=DiscriminativeAdam(schedule, rate_shares(network)))
    discriminative[rate] = (on_source(network), on_target(network))
    expect(f"discriminative, {rate:g}: target task, %", discriminative[rate][1], full=(50, 90), quick=(5, 100))
    expect(f"discriminative, {rate:g}: source task, %", discriminative[rate][0], full=(20, 90), quick=(5, 100))

# %% [markdown]
# ## 8. Plasticity against forgetting
#
# A network that learns the target changes its trunk. The old head was made for the old trunk, so the source task
# suffers: that is **forgetting**. That a network can change at all is its **plasticity**. One is paid for with the
# other, and the freezing depth sets the price.
#
# We learn the target from 500 images a class eight times, with 0, 1, … 7 layers frozen. Each network is measured twice:
# on the target with its new head, on the source with the old one. Depth 0 is fine-tuning and depth 7 is the frozen
# trunk, from section 6.

# %%
DEPTHS = course.size(quick=(0, 3, 6, 7), full=tuple(range(8)))
by_depth = {0: learned["fine-tuned", MOST, 0], 7: learned["frozen", MOST, 0]}
for depth in DEPTHS[1:-1]:
    by_depth[depth] = begin(7)
    freeze(by_depth[depth], depth)
    _ = train(by_depth[depth], few(MOST), RATES["fine-tuned"])
plane = {depth: (on_source(by_depth[depth]), on_target(by_depth[depth])) for depth in DEPTHS}

# %%
for depth, (kept, gained) in plane.items():
    expect(f"depth {depth}: target task, %", gained, full=(40, 90), quick=(5, 100))
    expect(f"depth {depth}: source task, %", kept, full=(15, 90), quick=(5, 100))

# %%
best = max(DEPTHS, key=lambda depth: on_target(by_depth[depth], target.validation))
print("best depth on the validation images of the target:", best)
forgotten = {depth: old_accuracy - kept for depth, (kept, _) in plane.items()}
claim("fine-tuning-forgets", forgotten[0])
claim("freezing-protects", 100 * (1 - forgotten[6] / forgotten[0]))
claim("freezing-costs-plasticity", plane[best][1] - plane[7][1])
claim("freeze-early-train-late", plane[3][1] - max(plane[0][1], plane[7][1]))


# %%
def draw_plane(axes, curves=(), marked=None):
    """Draw what is left of the source task and what was learned of the target: by depth, and further named curves."""
    styles = zip(plots.COLOURS, ("-o", "--s", "-.^", ":D"), strict=False)
    for (name, points), (colour, style) in zip(
        [("freezing, by depth", [*plane.values()]), *curves], styles, strict=False
    ):
        axes.plot(*zip(*points, strict=True), style, color=colour, label=name)
    for depth, point in plane.items():
        axes.annotate(str(depth), point, textcoords="offset points", xytext=(5, 5))
    if marked is not None:
        axes.plot(*plane[marked], "o", markersize=14, fillstyle="none", color=plots.COLOURS[1])
    axes.axvline(old_accuracy, color=plots.COLOURS[6], linestyle=":", label="source task before")
    axes.set(xlabel="source task, old head on the new trunk (%)", ylabel="target task (%)")
    axes.grid(alpha=0.3)
    axes.legend()


figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
draw_plane(axes, [("discriminative rates", list(discriminative.values()))])
plots.show(
    figure,
    caption="Plasticity against forgetting. Each numbered point is a network with so many learned layers frozen; the "
    "best place is the upper right corner.",
    alt="Accuracy on the target task over accuracy on the source task: a curve of numbered points for the freezing "
    "depth, and the points of discriminative rates. A dotted line marks the source task before.",
)

# %% [markdown]
# Choose a depth. (The slider works in JupyterLab; the picture below stands for it.)

# %%
from ipywidgets import SelectionSlider, interact


def draw_depth(depth):
    """Draw which layers are frozen and how much each holds, and the point on the plane."""
    figure, (bars, curve) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
    groups = learned_layers(blank)
    freeze(blank, depth)
    sizes = [sum(layer.count_params() for layer in group) for group in groups]
    colours = [plots.COLOURS[5] if number < depth else plots.COLOURS[1] for number in range(len(groups))]
    bars.barh([group[0].name for group in groups], sizes, color=colours)
    bars.set(xlabel="parameters", title=f"blue: frozen; {left_to_train(blank):,} left to train")
    bars.invert_yaxis()
    draw_plane(curve, marked=depth)
    curve.set(title=f"depth {depth}: target {plane[depth][1]:.1f} %, source {plane[depth][0]:.1f} %")
    return figure


@interact(depth=SelectionSlider(options=DEPTHS))
def explore(depth):
    draw_depth(depth)
    plt.show()


# %%
plots.show(
    draw_depth(3),
    caption="Depth 3: which layers are frozen, how much each holds, and the point of this depth on the curve.",
    alt="Left, bars for the parameters of eight layers, the first three blue for frozen, the others orange. Right, the "
    "curve over the freezing depth with one point circled.",
)

# %% [markdown]
# ## 9. A remedy: a pull towards the old weights
#
# Freezing is all or nothing for a layer. Softer: let each weight move, and charge for the way. Add to the loss
#
# α / 2 · Σ (w − w₀)², with w₀ the weight before
#
# (Li, Grandvalet and Davoine, 2018, call it L2-SP, for starting point). By hand: one weight that was 2, and a new task
# whose loss (w − 5)² / 2 would have it at 5. Together the lowest point is (5 + 2 α) / (1 + α): without pull 5, with
# α = 1 the middle, 3.5, with α = 9 2.3. `pull_to_old` of the library adds the pull to every weight but the head's.

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
# The plain pull holds all weights alike. But some hardly matter to the old task, and these should be free. What does a
# weight matter? At the end of training the log-likelihood of the old task is at a top, where its slope is 0. How fast
# it falls to the sides is its curvature. On average over answers drawn from the network itself, the curvature is the
# mean **square of the gradient** of the log-probability: the **Fisher information** F. So charge
#
# α / 2 · Σ F (w − w₀)²
#
# (Kirkpatrick and others, 2017: elastic weight consolidation). By hand, with one weight w and p = 1 / (1 + e^(−w x))
# for "yes". The gradient of log p is (1 − p) x, that of log (1 − p) is −p x. Answers are "yes" with probability p, so
# the mean square is p (1 − p)² x² + (1 − p) p² x² = p (1 − p) x². At w = 0 it is x² / 4: 1 for an input of 2, and
# 0.0025 for an input of 0.1. To move the first weight is 400 times as dear.
#
# With five classes it is the same: draw a label from the answer, take the gradient, square it, average over images.

# %%
from functools import partial

from course_lib.analysis.gradients import weight_gradients


def log_probability(network, image, label):
    """Return the log of the probability that the network gives to a label for an image (1, h, w, 3)."""
    return ops.log_softmax(network(image))[0, label]


def fisher_by_hand(network, images, seed):
    """Return the mean squared gradient of the log-probability of drawn labels, for each weight of the trunk."""
    generator = np.random.default_rng(seed)
    squares = [0.0] * len(trunk_variables(network))
    for image in images[:, None]:
        answer = np.asarray(ops.softmax(network(image)), "float64")[0]
        label = generator.choice(5, p=answer / answer.sum())
        here = partial(log_probability, network, image, label)
        gradients = weight_gradients(here, trunk_variables(network))
        squares = [total + gradient**2 for total, gradient in zip(squares, gradients, strict=True)]
    return [total / len(images) for total in squares]


handful = source.train.images[:3]
pairs = zip(fisher_by_hand(old, handful, 1), fisher_information(old, handful, batch_size=1, seed=1), strict=True)
assert all(np.allclose(one, other, rtol=1e-3, atol=1e-8) for one, other in pairs)

# %% [markdown]
# The library takes one gradient for a batch of images, which costs less: with drawn labels the gradients of two images
# are as likely to agree as to disagree, so the square of a sum has the sum of the squares as its mean. We divide F by
# its mean over all weights. So α means the same in both penalties: what an average weight costs.

# %%
pictures = source.train.images[: course.size(quick=60, full=1_000)]
information = fisher_information(old, pictures, batch_size=20, seed=course.seed)
mean = np.concatenate([share.ravel() for share in information]).mean()
importance = [share / mean for share in information]
for variable, share in zip(trunk_variables(old), importance, strict=True):
    if variable.name == "kernel":
        print(f"{variable.path.split('/')[-2]:<6} an average weight counts {share.mean():6.2f}")
everything = np.sort(np.concatenate([share.ravel() for share in importance]))[::-1]
held_by_few = 100 * everything[: len(everything) // 100].sum() / everything.sum()
expect("percent of the information that one percent of the weights has", held_by_few, full=(1, 100), quick=(1, 100))

# %% [markdown]
# The information needs images of the source, but only once: afterwards it is one number a weight, and no image of the
# source is seen again. The strengths below were tried with one seed.

# %%
STRENGTHS = {
    "plain": course.size(quick=(), full=(0.01, 0.1, 0.3)),
    "Fisher": course.size(quick=(0.3,), full=(0.03, 0.3, 1.0)),
}
pulled = {kind: {} for kind in STRENGTHS}
for kind, strengths in STRENGTHS.items():
    for strength in strengths:
        network = begin(7)
        freeze(network, 0)
        pull_to_old(network, strength, importance if kind == "Fisher" else None)
        seconds[f"pulled, {kind}"] = train(network, few(MOST), RATES["fine-tuned"]).seconds
        pulled[kind][strength] = (on_source(network), on_target(network))

# %%
for kind, points in pulled.items():
    for strength, (kept, gained) in points.items():
        expect(f"pull, {kind}, {strength:g}: target task, %", gained, full=(40, 90), quick=(5, 100))
        expect(f"pull, {kind}, {strength:g}: source task, %", kept, full=(15, 90), quick=(5, 100))
curves = {f"pull, {kind}": [plane[0], *points.values()] for kind, points in pulled.items()}
figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
draw_plane(axes, [*curves.items(), ("discriminative rates", list(discriminative.values()))])
plots.show(
    figure,
    caption="The plane of section 8, and on it networks that were pulled to their old weights, more and more strongly.",
    alt="Four curves of accuracy on the target task over accuracy on the source task: freezing by depth, a plain pull, "
    "a pull weighted by Fisher information, and discriminative rates.",
)

# %% [markdown]
# What is the gain? Compare at equal plasticity. Take the target accuracy that the Fisher pull reaches with its middle
# strength. How much of the source task does each curve keep there? Between two points of a curve we draw a straight
# line.


# %%
def kept_at(points, gained):
    """Return the source accuracy of a curve of points (source, target) where its target accuracy is `gained`, %."""
    kept, target_accuracy = np.array(sorted(points, key=lambda point: point[1])).T
    return float(np.interp(gained, target_accuracy, kept))


kept, gained = list(pulled["Fisher"].values())[len(pulled["Fisher"]) // 2]
by_freezing, by_plain = kept_at(plane.values(), gained), kept_at(curves["pull, plain"], gained)
print(
    f"at {gained:.1f} % on the target: freezing keeps {by_freezing:.1f} %, plain {by_plain:.1f} %, Fisher {kept:.1f} %"
)
expect("points of the source task, Fisher pull over freezing", kept - by_freezing, full=(-20, 60), quick=(-90, 90))
expect("points of the source task, plain pull over freezing", by_plain - by_freezing, full=(-20, 60), quick=(-90, 90))
expect("points of the source task, Fisher pull over plain", kept - by_plain, full=(-20, 60), quick=(-90, 90))

# %% [markdown]
# ## 10. Which layers are general?
#
# So far the target was small. To ask what a feature is worth, and not how few images there are, take more of them, and
# compare layers taken from the source with layers learned on the target (after Yosinski and others, 2014). Take the
# first k layers from the source network and freeze them. The rest begins at random and learns the target. With k = 0
# everything is learned on the target; k = 2 takes two convolutions, k = 5 all of them. What is lost against k = 0 is
# what these layers know too little of the target.

# %%
many = few(course.size(quick=100, full=1_500))
reused = {}
for taken in (0, 2, 5):
    network = begin(taken)
    freeze(network, taken)
    _ = fit(network, many, epochs=EPOCHS, batch_size=50, learning_rate=RATES["scratch"])
    reused[taken] = on_target(network)
    expect(f"first {taken} layers from the source: target task, %", reused[taken], full=(50, 95), quick=(5, 100))

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
# The probe here is least squares: it fits 1 to the right class and 0 to the others, with a small pull of the weights to
# 0, and needs no steps. For maps we take means over fields, so that all convolutions are asked about the same places.


# %%
def reader(network):
    """Return a network that gives the values of each of the first seven learned layers, (n, values), fields averaged."""
    outputs = []
    for number in range(1, 8):
        maps = network.get_layer(f"relu{number}").output
        size = maps.shape[1] // 3
        outputs.append(layers.Reshape((-1,))(layers.AveragePooling2D(size, size)(maps)) if number < 6 else maps)
    return keras.Model(network.inputs, outputs)


def probe(learn, test, labels, test_labels):
    """Return the accuracy, %, of least squares on values (n, d): fitted to `learn`, measured on `test`."""
    mean, deviation = learn.mean(axis=0), learn.std(axis=0) + 1e-3
    learn, test = (np.insert((part - mean) / deviation, 0, 1, axis=1).astype("float64") for part in (learn, test))
    gram = learn.T @ learn + 0.1 * len(learn) * np.eye(learn.shape[1])
    fitted = np.linalg.solve(gram, learn.T @ np.eye(5)[labels])
    return 100 * float((np.argmax(test @ fitted, axis=1) == test_labels).mean())


# %%
keras.utils.set_random_seed(course.seed)
probed = {}
for trunk, network in (("source network", old), ("random weights", transfer_network(classes=5))):
    read = reader(network)
    for name, task in (("source", source), ("target", target)):
        seen = task.train.take(0, course.size(quick=300, full=5_000))
        values = [read.predict(part.images, batch_size=500, verbose=0) for part in (seen, task.test)]
        probed[trunk, name] = [probe(*pair, seen.labels, task.test.labels) for pair in zip(*values, strict=True)]

# %%
for layer, number in (("conv1", 0), ("conv3", 2), ("fc7", 6)):
    for name in ("source", "target"):
        found = probed["source network", name][number]
        expect(f"probe at {layer}: {name} task, %", found, full=(30, 95), quick=(5, 100))
names = [group[0].name for group in learned_layers(old)][:-1]
figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for (trunk, name), values in probed.items():
    colour, style = plots.COLOURS[name == "target"], "-" if trunk == "source network" else ":"
    axes.plot(names, values, style, marker="o", color=colour, label=f"{name} task, {trunk}")
axes.set(xlabel="probed layer", ylabel="test accuracy of the probe (%)")
axes.grid(alpha=0.3)
axes.legend()
plots.show(
    figure,
    caption="What a linear probe reads off each layer of the source network, for the source and for the target task. "
    "Dotted: the same network with random weights.",
    alt="Four curves of probe accuracy over the layers conv1 to fc7: source and target task, each for the trained "
    "network and for one with random weights.",
)

# %% [markdown]
# ## 11. What we measured
#
# Means and standard deviations over three seeds, from the recorded runs in the full profile. A seed picks the source
# network, the target images and the first weights. All on the 5,000 test images of a task. Our copy of CIFAR-10 was
# compressed as JPEG once more.

# %%
from course_lib.analysis.cost import layer_costs
from course_lib.records import mean_and_sd

macs = sum(cost.macs for cost in layer_costs(blank))
print(f"one network for all: {blank.count_params():,} parameters, {macs:,} multiply–accumulates an image")
print("trained in:", ", ".join(f"{name} {spent:.0f} s" for name, spent in seconds.items()), "(this run)\n")
print(f"{'target task (%)':<24}" + "".join(f"{count:<27}" for count in COUNTS) + "images a class")
for way in WAYS:
    found = [mean_and_sd(f"{way}, {count} images a class: target task, %") for count in COUNTS]
    print(f"{way:<24}" + "".join(f"{value:<27}" for value in found))

# %%
kinds = [f"depth {depth}" for depth in DEPTHS] + [f"discriminative, {rate:g}" for rate in discriminative]
kinds += [f"pull, {kind}, {strength:g}" for kind, strengths in STRENGTHS.items() for strength in strengths]
print(f"{MOST} images a class      target task (%)            source task (%)")
for kind in kinds:
    found = [mean_and_sd(f"{kind}: {task} task, %") for task in ("target", "source")]
    print(f"{kind:<24}{found[0]:<27}{found[1]}")

# %% [markdown]
# ## 12. What the sources claim, and what we found

# %%
from IPython.display import Markdown

Markdown(course_lib.claims_table(chapter=7))

# %% [markdown]
# What holds for all of these numbers: source and target are two halves of one data set, so this is near transfer. The
# network is small, and its source task had 22,500 images, not millions. And a single curve of eight networks has the
# noise of one training each; the table above says how much seeds differ.
#
# ## 13. Exercises
#
# The sheet `exercises/07_transfer.ipynb` has five questions. Hints open one at a time; `exercises/solutions/` has the
# answers. Five more to try right here:
#
# 1. By hand: how many numbers are left to train at depth 5? Check with `freeze(blank, depth=5)`.
# 2. In section 5 the careless trunk let its statistics move. Put the old ones back, layer by layer, with `get_weights`
#    and `set_weights`. What does the old head say now?
# 3. Train the head alone first, then everything, each for half of the steps (Kumar and others, 2022). Where on the
#    plane does this network lie, beside plain fine-tuning?
# 4. Join the two remedies: discriminative rates and a Fisher pull. Is the point beyond both curves?
# 5. Swap the tasks: take the odd classes as the source (`course train source` trains on the even ones; `fit` on
#    `target.train` does the other). Which probes change?
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
# - G. Alain, Y. Bengio, "Understanding intermediate layers using linear classifier probes", ICLR workshop, 2017.
# - A. Kumar, A. Raghunathan, R. Jones, T. Ma, P. Liang, "Fine-tuning can distort pretrained features and underperform
#   out-of-distribution", ICLR 2022.
# - J. Donahue, Y. Jia, O. Vinyals, J. Hoffman, N. Zhang, E. Tzeng, T. Darrell, "DeCAF: a deep convolutional activation
#   feature for generic visual recognition", ICML 2014. AlexNet's layers as features for other tasks.
