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
# # 03 Receptive fields and depth
#
# **You will be able to**
#
# - compute by hand which pixels a place of any map sees;
# - say why a network uses much less than it sees;
# - count what a stack of small kernels saves, and where it saves nothing;
# - tell when depth beats width, and show it.
#
# | | |
# | --- | --- |
# | Before you start | chapters 01 and 02 |
# | Data | CIFAR-10; without it, patches of ten photographs that ship (numbers then differ) |
# | Running time, two cores | quick profile about a minute, full profile about 8 minutes |
# | Sheet | `exercises/03_receptive_fields.ipynb`, five questions |
# | Elsewhere | Binder builds from `environment.yml`; on Colab, clone the repository and `pip install -e .` |

# %%
import course_lib
from course_lib import claim, expect

course = course_lib.setup(chapter=3)

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers

from course_lib import plots
from course_lib.datasets import Images, load_photos

photos = load_photos()

# %% [markdown]
# ## 1. How far does one place see?
#
# A place of AlexNet's first map sees a window of 11 × 11 pixels. Its neighbour sees the same window, moved by 4. Now
# pooling looks at 3 places of that map in a row. The first sees 11 pixels, and each further one adds 4:
# 11 + 4 + 4 = 19.
#
# That is the whole idea. Keep three numbers for each layer. The **receptive field** is the number of pixels that one
# place sees along a side. The **effective stride** is the distance in pixels between the fields of two neighbouring
# places. A layer with a kernel of k and a stride of s changes them like this:
#
# - field ← field + (k − 1) · effective stride, because it sees k places, and each after the first adds one stride;
# - effective stride ← effective stride · s.
#
# The third number says where the field lies. Zeros at the border let the first place begin before the image. The
# **effective padding** is how many pixels before. It grows by the layer's padding times the effective stride, because
# this layer's zeros lie one effective stride apart in the image.
#
# From these follows the **centre** of the field: place p looks at the pixel p · effective stride − effective padding +
# (field − 1) / 2.

# %% tags=["nbval-check-output"]
alexnet_layers = [  # name, kernel, stride, padding on each side
    ("conv1", 11, 4, 0), ("pool1", 3, 2, 0), ("conv2", 5, 1, 2), ("pool2", 3, 2, 0),
    ("conv3", 3, 1, 1), ("conv4", 3, 1, 1), ("conv5", 3, 1, 1), ("pool5", 3, 2, 0),
]  # fmt: skip
field, stride, padding, by_hand = 1, 1, 0, {}
for name, kernel, step, zeros in alexnet_layers:
    field, padding = field + (kernel - 1) * stride, padding + zeros * stride
    stride = stride * step  # last, since this layer still looks at the map below
    by_hand[name] = field, stride, padding
    print(f"{name}: field {field:3}, effective stride {stride:2}, effective padding {padding:2}")

# %% [markdown]
# Each of the last places has a field of 195 pixels, and the fields are 32 pixels apart. Only the middle ones lie wholly
# in the picture. The library finds the same from the network itself.

# %% tags=["nbval-check-output"]
from course_lib.analysis.receptive_field import receptive_field, receptive_field_table
from course_lib.models.alexnet import alexnet

published = alexnet()
for name, (field, stride, padding) in by_hand.items():
    found = receptive_field(published, name)
    assert (found.size[0], found.stride[0], found.padding[0]) == (field, stride, padding), found
last = receptive_field(published, "pool5")
print(last)
assert last.centre(2)[0] == 2 * 32 - by_hand["pool5"][2] + (195 - 1) / 2
expect("receptive field of pool5 in AlexNet", last.size[0], exactly=195)

# %% [markdown]
# ## 2. Any graph
#
# A chain is easy. What about a network whose paths part and meet again? Each path has a field of its own, and a place
# behind the meeting sees what any of them sees. Here is a residual block: one path through two convolutions, the other
# straight on.

# %% tags=["nbval-check-output"]
entry = keras.Input((32, 32, 3), name="image")
x = layers.Conv2D(8, 3, padding="same", name="first")(entry)
bent = layers.Conv2D(8, 3, padding="same", name="bent1")(x)
bent = layers.Conv2D(8, 3, padding="same", name="bent2")(bent)
block = keras.Model(entry, layers.Add(name="sum")([x, bent]))
print(receptive_field_table(block))
expect("field behind the sum: the larger of 3 and 3 + 2 + 2", receptive_field(block).size[0], exactly=7)

# %% [markdown]
# Araujo, Norris and Sim (2019) list the fields of well-known networks. `receptive_field` reads them from the graphs
# that Keras ships.

# %% tags=["nbval-check-output"]
shelf = {
    "VGG16": (keras.applications.VGG16, 212),
    "MobileNet": (keras.applications.MobileNet, 315),
    "InceptionV3": (keras.applications.InceptionV3, 1311),
}
for name, (build, in_the_article) in shelf.items():
    model = build(weights=None, include_top=False, input_shape=(299 if name == "InceptionV3" else 224,) * 2 + (3,))
    expect(f"receptive field of {name}", receptive_field(model).size[0], exactly=in_the_article)

# %% [markdown]
# InceptionV3 sees 1,311 pixels and is given 299. Every place of its last maps sees the whole picture, and zeros beyond.
#
# After flattening there are no places any more: a unit sees the whole picture. Ask for its field, and the library says
# which layer is in the way.

# %% tags=["nbval-check-output"]
try:
    receptive_field(published, "fc6")
except ValueError as error:
    print(error)

# %% [markdown]
# ## 3. Look through the network
#
# Choose a layer and a place. The frame is what that place sees. Near the border the frame leaves the picture: there the
# network sees zeros. (The sliders work in JupyterLab; the picture below stands for them.)

# %%
from ipywidgets import FloatSlider, interact
from skimage.data import astronaut

portrait = astronaut()[:454:2, 30:484:2]  # 227 × 227 pixels


def draw_field(axes, layer, down, right):
    """Frame on the portrait what the place of `layer` sees that lies at the fractions `down` and `right` of its map."""
    found = receptive_field(published, layer)
    place = [round(part * (size - 1)) for part, size in zip((down, right), found.map_size, strict=True)]
    (top, bottom), (left, end) = found.interval(place)
    axes.imshow(portrait, extent=(-0.5, 226.5, 226.5, -0.5))
    corner, size = (left - 0.5, top - 0.5), (end - left + 1, bottom - top + 1)
    axes.add_patch(plt.Rectangle(corner, *size, fill=False, color=plots.COLOURS[1], linewidth=2))
    axes.set(xlim=(-60, 287), ylim=(287, -60), xlabel="pixel", ylabel="pixel")
    axes.set_title(f"{layer}, place ({place[0]}, {place[1]})", fontsize=9)


@interact(
    layer=list(by_hand), down=FloatSlider(0.5, min=0, max=1, step=0.1), right=FloatSlider(0.5, min=0, max=1, step=0.1)
)
def explore(layer, down, right):
    draw_field(plt.subplots(figsize=(4, 4), layout="constrained")[1], layer, down, right)
    plt.show()


# %%
figure, rows = plt.subplots(2, 4, figsize=(9, 5), layout="constrained")
for axes, layer in zip(rows.flat, by_hand, strict=True):
    draw_field(axes, layer, 0.5, 0.5)
plots.show(
    figure,
    caption="What a place in the middle of each map of AlexNet sees. Portrait of Eileen Collins, NASA, public domain.",
    alt="Eight copies of a portrait with an orange frame each. The frame is a small square on the chest for conv1, "
    "about a third of the side for pool2, and all but a strip of the picture for pool5.",
)

# %% [markdown]
# ## 4. What it sees and what it uses
#
# The field says which pixels *can* change a value. Do they all change it equally? In a stack of 3 × 3 layers a pixel in
# the corner of the field reaches the end by one chain of places only. A pixel in the middle has thousands of them.
#
# How much a pixel counts is the **gradient** of the value with respect to it. Let the weights be random with mean zero.
# Then the squared gradient, on average over networks, spreads like a random walk. Each layer moves by −1, 0 or 1 with
# equal chance. The variance of one such step is ((−1)² + 0² + 1²) / 3 = 2/3. After n layers it is 2n/3, and the
# standard deviation is √(2n/3) pixels. With ReLU that is an approximation; the measurement will tell.
#
# So the field grows with n, 2n + 1 pixels. The part that counts grows only with √n. Luo and others (2016) call it the
# **effective receptive field**. Measure it.

# %%
from course_lib.analysis.gradients import input_gradient


def stack(depth, maps=16):
    """A stack of 3 × 3 convolutions with ReLU, for images exactly as large as the field of its one place."""
    convolutions = [layers.Conv2D(maps, 3, activation="relu", kernel_initializer="he_normal") for _ in range(depth)]
    return keras.Sequential([keras.Input((2 * depth + 1, 2 * depth + 1, 1)), *convolutions])


def influence(depth, networks):
    """Return the squared gradient of the one place, scaled to sum 1, averaged over random networks and images."""
    total = np.zeros((2 * depth + 1, 2 * depth + 1))
    for network in range(networks):
        keras.utils.set_random_seed(1000 * course.seed + network)
        image = np.random.default_rng(network).normal(size=(1, *total.shape, 1))
        squared = input_gradient(stack(depth), image)[0, :, :, 0] ** 2
        total += squared / squared.sum()
    return total / networks


def spread(weights):
    """Return the standard deviation in pixels, along the rows, of weights (n, n) that sum to 1."""
    rows, along = np.arange(len(weights)), weights.sum(axis=1)
    return float(np.sqrt((along * rows**2).sum() - (along * rows).sum() ** 2))


depths = [5, 10, 20, 40]
maps_of_influence = {depth: influence(depth, course.size(quick=3, full=20)) for depth in depths}
for depth, weights in maps_of_influence.items():
    predicted = np.sqrt(2 * depth / 3)
    print(f"{depth:2} layers: field {2 * depth + 1:2} pixels, spread {spread(weights):.2f}, predicted {predicted:.2f}")
ratios = [spread(weights) / np.sqrt(2 * depth / 3) for depth, weights in maps_of_influence.items()]
expect(
    "measured over predicted spread, farthest from 1",
    max(ratios, key=lambda r: abs(r - 1)),
    full=(0.85, 1.15),
    quick=(0.7, 1.3),
)

# %%
figure, row = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
for axes, (depth, weights) in zip(row, maps_of_influence.items(), strict=True):
    axes.imshow(np.sqrt(weights), cmap="gray_r", extent=(-depth - 0.5, depth + 0.5) * 2)
    axes.set(title=f"{depth} layers, field {2 * depth + 1}", xlabel="pixels from the centre")
row[0].set(ylabel="pixels from the centre")
plots.show(
    figure,
    caption="How strongly each pixel of the field counts (root of the mean squared gradient; darker is stronger).",
    alt="Four square fields with a dark blob in the centre and a pale rim. The deeper the stack, the smaller the blob "
    "is in comparison with the field.",
)

# %% [markdown]
# With 40 layers a place sees 81 × 81 pixels. How much of what counts lies in the middle 21 × 21?

# %%
middle = maps_of_influence[40][30:51, 30:51].sum()
expect("share of the middle 21 × 21 pixels, 40 layers", middle, full=(0.8, 0.97), quick=(0.6, 1))

# %% [markdown]
# A large field is a limit, and not a promise. Section 7 looks at what training does to it.
#
#
# ## 5. One large kernel or several small ones?
#
# One layer of 11 × 11 sees 11 pixels. So does a layer of 7 × 7 with one of 5 × 5 on top: 7 + (5 − 1) = 11. So do five
# of 3 × 3: 3 + 2 + 2 + 2 + 2 = 11.

# %% tags=["nbval-check-output"]
from course_lib.analysis.cost import layer_costs

KERNELS = {"one 11 × 11": [11], "7 × 7, 5 × 5": [7, 5], "five 3 × 3": [3] * 5}


def convolutions(kernels, maps, channels, side=55):
    """A stack of convolutions with ReLU and `maps` maps each, for `channels` maps of `side` × `side`."""
    chain = [layers.Conv2D(maps, kernel, padding="same", activation="relu") for kernel in kernels]
    return keras.Sequential([keras.Input((side, side, channels)), *chain])


def weights_of(model):
    """Return the number of weights of a model, without biases."""
    return sum(int(np.prod(weight.shape)) for weight in model.weights if weight.path.endswith("kernel"))


print(f"{'96 maps out, from':<20}{'96 maps':>12}{'3 colours':>12}   field")
counts = {}
for name, kernels in KERNELS.items():
    counts[name] = [weights_of(convolutions(kernels, 96, channels)) for channels in (96, 3)]
    field = receptive_field(convolutions(kernels, 96, 3)).size[0]
    print(f"{name:<20}{counts[name][0]:>12,}{counts[name][1]:>12,}   {field}")
    expect(f"field of {name}", field, exactly=11)

# %% [markdown]
# Read the two columns. In the middle of a network, where 96 maps come in and 96 go out, the stacks have fewer weights:
# 11² = 121 for each pair of maps, against 7² + 5² = 74 and 5 · 3² = 45.
#
# At the very front it is the other way round. Only 3 colours come in, so one large kernel is cheap there. The second
# layer of a stack has 96 maps to read, and costs more than all of AlexNet's first layer. That holds where each layer of
# the stack has 96 maps. With 13 maps or fewer between the 7 × 7 and the 5 × 5, the stack is cheaper there too.
#
# The work follows the weights: each weight of these layers is used once at each of the 55 × 55 places.

# %%
claim("stack-sees-as-far", receptive_field(convolutions([7, 5], 96, 3)).size[0])
claim("stack-fewer-parameters", counts["five 3 × 3"][0] / counts["one 11 × 11"][0])
claim("stack-cheaper-first-layer", counts["7 × 7, 5 × 5"][1] / counts["one 11 × 11"][1])

# %% [markdown]
# One more trap. Strides count too. Give the 7 × 7 layer a stride of 2, and the 5 × 5 layer on top takes steps of 2
# pixels: 7 + 4 · 2 = 15, not 11. To keep the field, the stride must come last.

# %% tags=["nbval-check-output"]
for strides in ((2, 1), (1, 2)):
    chain = [
        layers.Conv2D(8, kernel, strides=step, padding="same") for kernel, step in zip((7, 5), strides, strict=True)
    ]
    found = receptive_field(keras.Sequential([keras.Input((32, 32, 3)), *chain]))
    print(f"7 × 7 with stride {strides[0]}, 5 × 5 with stride {strides[1]}: field {found.size[0]}")
expect("field with the stride last", found.size[0], exactly=11)

# %% [markdown]
# ### More non-linear?
#
# Along a straight line of inputs, the output of a ReLU network is made of straight pieces. It can bend only where a
# ReLU switches on or off. So walk in a straight line from one photograph to another, and count the switches of all
# ReLUs on which one place of the last map depends.


# %%
def switches(kernels, pairs, steps=256):
    """Return how often the ReLUs that one output place depends on switch on a line between photographs, on average."""
    keras.utils.set_random_seed(course.seed)
    chain = [layers.Conv2D(16, kernel, kernel_initializer="he_normal", activation="relu") for kernel in kernels]
    network = keras.Sequential([keras.Input((11, 11, 3)), *chain])
    total = 0
    for layer in network.layers:
        activity = keras.Model(network.inputs[0], layer.output)
        for start, end in pairs:
            line = start + np.linspace(0, 1, steps)[:, None, None, None] * (end - start)
            on = np.asarray(activity(line.astype("float32"))) > 0
            total += np.count_nonzero(on[1:] != on[:-1])
    return total / len(pairs)


patches = photos.test.images[: course.size(quick=20, full=100), 10:21, 10:21] - 0.5
pairs = list(zip(patches[::2], patches[1::2], strict=True))
found = {name: switches(kernels, pairs) for name, kernels in KERNELS.items()}
for name, number in found.items():
    print(f"{name}: {number:.0f} switches from one photograph to the next")
claim("stack-more-nonlinearities", found["five 3 × 3"] / found["one 11 × 11"])
sides = [11 - 2 * layer for layer in range(1, 6)]  # places of each layer of the stack on which the last one depends
expect("ReLUs behind a place of the stack, for each map", sum(side**2 for side in sides), exactly=165)

# %% [markdown]
# The stack bends so often because it has so many ReLUs: 165 for each one of the single layer. A single ReLU switches
# about as often in both.

# %% [markdown]
# ### Finer maps
#
# AlexNet's first layer moves by 4 pixels. Later networks take smaller steps. With stride 2 its map would have
# (227 − 11) / 2 + 1 = 109 places a side instead of 55, nearly four times as many in all.

# %% tags=["nbval-check-output"]
sides = {step: (227 - 11) // step + 1 for step in (4, 2)}
print(sides, "places a side")
claim("smaller-stride-finer-maps", sides[2] ** 2 / sides[4] ** 2)

# %% [markdown]
# ## 6. Which one reads photographs better?
#
# Five networks, alike but for one part. All see crops of 28 pixels.
#
# - Three differ at the **front**: one kernel of 11 × 11, a 7 × 7 and a 5 × 5, or five of 3 × 3. Field, effective
#   stride and shape of the result are equal.
# - One has the 11 × 11 front with **stride 4** and no pooling, where the others have stride 2 and pooling. All shapes
#   after that are equal. It does a quarter of the work at the front, and its field there is 11 pixels, not 15. What we
#   measure is this whole exchange.
# - One has a 5 × 5 layer **inside**, where the others have two of 3 × 3.
#
# The weights of the first layer begin small, with deviation 0.01 as in AlexNet. So what is to be seen in them later was
# learned, and not drawn by lot.

# %%
from course_lib.models.augmentation import RandomCropFlip
from course_lib.training.loop import fit


def photo_network(front, stride=2, inside=(3, 3)):
    """A small network for photographs: a front of given kernels, pooling, convolutions, two dense layers."""
    steps = [1] * (len(front) - 1) + [stride]
    convolution = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal"}
    first = {**convolution, "kernel_initializer": keras.initializers.RandomNormal(stddev=0.01)}
    chain = [
        layers.Conv2D(16, k, strides=s, name=f"front{i}", **(first if i == 1 else convolution))
        for i, (k, s) in enumerate(zip(front, steps, strict=True), 1)
    ]
    chain += [layers.MaxPooling2D(3, 2, padding="same", name="pool1")] if stride == 2 else []
    chain += [layers.Conv2D(64, 3, name="conv2", **convolution)]
    chain += [layers.Conv2D(64, k, name=f"inside{i}", **convolution) for i, k in enumerate(inside, 1)]
    chain += [layers.MaxPooling2D(3, 2, padding="same", name="pool2"), layers.Flatten(name="flatten")]
    chain += [layers.Dense(128, activation="relu", name="dense"), layers.Dense(10, name="scores")]
    return keras.Sequential([keras.Input((28, 28, 3)), layers.Rescaling(4, offset=-2, name="scale"), *chain])


variants = {  # options, band of the test accuracy in percent
    "one 11 × 11": ({"front": [11]}, (56, 65)),
    "7 × 7, 5 × 5": ({"front": [7, 5]}, (57, 65)),
    "five 3 × 3": ({"front": [3] * 5}, (57, 65)),
    "11 × 11, stride 4": ({"front": [11], "stride": 4}, (52, 61)),
    "11 × 11, a 5 × 5 inside": ({"front": [11], "inside": [5]}, (58, 66)),
}
print(receptive_field_table(photo_network([11])))

# %% [markdown]
# The learning rate is 0.002 for all. On the validation images it was the best of 0.0005, 0.001 and 0.002 for the first
# and for the third network, by half a point or less over 0.001.

# %%
part = photos.train.take(0, course.size(quick=1_000, full=20_000))
networks, accuracies = {}, {}
for name, (options, _) in variants.items():
    keras.utils.set_random_seed(course.seed)
    networks[name] = photo_network(**options)
    augmented = keras.Sequential([keras.Input((32, 32, 3)), RandomCropFlip(28, seed=course.seed), networks[name]])
    fit(augmented, part, epochs=course.size(quick=2, full=8), batch_size=64, learning_rate=2e-3)
    scores = augmented.predict(photos.test.images, batch_size=1_000, verbose=0)
    accuracies[name] = 100 * float((scores.argmax(axis=1) == photos.test.labels).mean())

# %%
print(f"{'network':<26}{'parameters':>11}{'mult.–acc.':>12}{'test accuracy':>15}")
for name, network in networks.items():
    macs = sum(cost.macs for cost in layer_costs(network))
    print(f"{name:<26}{network.count_params():>11,}{macs:>12,}{accuracies[name]:>13.1f} %")
    expect(f"{name}: test accuracy, %", accuracies[name], full=variants[name][1], quick=(10, 100))
reference = accuracies["one 11 × 11"]
claim("stack-as-accurate", accuracies["five 3 × 3"] - reference)
expect("points that 7 × 7, 5 × 5 gain", accuracies["7 × 7, 5 × 5"] - reference, full=(-4, 5), quick=(-50, 50))
claim("two-threes-for-a-five", reference - accuracies["11 × 11, a 5 × 5 inside"])
claim("finer-maps-help", reference - accuracies["11 × 11, stride 4"])

# %% [markdown]
# ## 7. What training does to the field
#
# Back to the effective field, this time of a network that has learned. We take the central place of the layer
# `inside2` in the network with five 3 × 3 layers, over many photographs, before and after training. Its field of 39
# pixels is larger than the crop of 28, so the crop cuts off a little on all sides.

# %%
trained = networks["five 3 × 3"]
keras.utils.set_random_seed(course.seed)
untrained = photo_network([3] * 5)
crops = photos.test.images[: course.size(quick=32, full=256), 2:30, 2:30]


def influence_of_centre(network, layer="inside2"):
    """Return how strongly each pixel changes the central place of `layer`: mean squared gradient, summing to 1."""
    features = keras.Model(network.inputs, network.get_layer(layer).output)
    total = 0.0
    for index in range(0, 64, 8):  # some of the 64 maps, one at a time, so that their gradients do not cancel
        gradient = input_gradient(lambda x, index=index: features(x)[:, 3, 3, index], crops)
        total = total + (gradient**2).sum(axis=(0, 3))
    return total / total.sum()


seen = {"untrained": influence_of_centre(untrained), "trained": influence_of_centre(trained)}
whole = receptive_field(trained, "inside2").size[0]
for name, weights in seen.items():
    print(f"{name}: spread {spread(weights):.2f} pixels; the field has {whole}")
expect(
    "spread after over before training",
    spread(seen["trained"]) / spread(seen["untrained"]),
    full=(0.75, 1.05),
    quick=(0.3, 3),
)

# %%
figure, row = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
for axes, (name, weights) in zip(row, seen.items(), strict=True):
    axes.imshow(np.sqrt(weights), cmap="gray_r")
    axes.set(title=name, xlabel="pixel", ylabel="pixel")
plots.show(
    figure,
    caption="How strongly each pixel of a crop counts for the central place of `inside2`; darker is stronger.",
    alt="Two square grey maps side by side, dark in the middle, before and after training.",
)

# %% [markdown]
# ## 8. Depth against width
#
# Two of the sources say: a deep network builds parts from parts, and a shallow one of the same size does not. A single
# wide hidden layer can represent the same functions, but it may need far more units. To compare them we need pictures
# that *are* built from parts. Cagnetta and others (2024) give a recipe, the **random hierarchy model**.
#
# There are eight symbols. A rule replaces each symbol by a block of 2 × 2 symbols; it has eight blocks for each,
# and takes one at random. Start with one symbol, the class. Apply rules three times: 2 × 2 symbols, 4 × 4, 8 × 8. Draw
# each of the 64 symbols as a small glyph. A single glyph says little about the class; how blocks fit into
# blocks says all.

# %%
LEVELS, SYMBOLS, BLOCKS = 3, 8, 8
generator = np.random.default_rng(course.seed)
glyphs = generator.integers(2, size=(SYMBOLS, 4, 4)).astype("float32")
rules = []
for _ in range(LEVELS):  # the 64 blocks of a rule all differ, so that each stands for one symbol only
    blocks = generator.choice(SYMBOLS**4, SYMBOLS * BLOCKS, replace=False)
    digits = np.stack([blocks // SYMBOLS**place % SYMBOLS for place in range(4)], axis=-1)
    rules.append(digits.reshape(SYMBOLS, BLOCKS, 2, 2))


def tiled(blocks):
    """Lay blocks (n, h, w, b, b) side by side: (n, h·b, w·b)."""
    count, height, width, side, _ = blocks.shape
    return blocks.transpose(0, 1, 3, 2, 4).reshape(count, height * side, width * side)


def built_from_parts(count):
    """Return `count` pictures, 32 × 32, with their classes, drawn by the rules."""
    labels = generator.integers(SYMBOLS, size=count)
    symbols = labels[:, None, None]
    for rule in rules:
        symbols = tiled(rule[symbols, generator.integers(BLOCKS, size=symbols.shape)])
    return finished(symbols, labels)


def finished(symbols, labels):
    """Return the picture of symbols (n, 8, 8), with a little noise, and the labels."""
    pictures = tiled(glyphs[symbols])[..., None]
    noise = generator.normal(0, 0.1, size=pictures.shape)
    return Images((pictures + noise).astype("float32"), labels)


learn, test = built_from_parts(course.size(quick=2_000, full=10_000)), built_from_parts(5_000)
print("pictures", learn.images.shape, "classes", sorted(set(learn.labels.tolist())))

# %%
plots.show(
    plots.image_grid(learn.images[:8, ..., 0].clip(0, 1), [f"class {label}" for label in learn.labels[:8]]),
    caption="Pictures built from parts by rules. Can you tell the classes?",
    alt="Eight pictures like crossword puzzles, black and white squares without any shape that the eye could name.",
)

# %% [markdown]
# Now four networks with one, two, three and four convolutions, each as wide as 20,000 parameters allow. The first
# convolution reads one glyph, each further one a block of 2 × 2. Windows that fit the rules so well are generous to
# depth: photographs come without such a grid.
#
# The network with one convolution can only add up what single glyphs say. So that width gets its chance there is a
# fifth, **wide** network: it reads the glyphs, and one hidden layer sees all of them at once.


# %%
def tower(depth, width):
    """A convolution for the glyphs, then depth − 1 for blocks of 2 × 2, then the scores."""
    chain = [layers.Conv2D(width, 4, strides=4, activation="relu")]
    chain += [layers.Conv2D(width, 2, strides=2, activation="relu") for _ in range(depth - 1)]
    return keras.Sequential([keras.Input((32, 32, 1)), *chain, layers.Flatten(), layers.Dense(SYMBOLS)])


def widest(depth, parameters=20_000):
    """Return the widest tower of this depth that has at most so many parameters."""
    width = 1
    while tower(depth, width + 1).count_params() <= parameters:
        width += 1
    return tower(depth, width)


def wide():
    """Return the wide network: eight maps that read the glyphs, then one hidden layer of 38 units that sees all."""
    chain = [layers.Conv2D(8, 4, strides=4, activation="relu"), layers.Flatten(), layers.Dense(38, activation="relu")]
    return keras.Sequential([keras.Input((32, 32, 1)), *chain, layers.Dense(SYMBOLS)])


def learned(build, learn, test):
    """Train the network that `build()` returns; return its test accuracy in percent."""
    keras.utils.set_random_seed(course.seed)
    network = build()
    fit(network, learn, epochs=course.size(quick=3, full=12), learning_rate=3e-3)
    scores = network.predict(test.images, batch_size=1_000, verbose=0)
    return 100 * float((scores.argmax(axis=1) == test.labels).mean())


BANDS = {"wide": (20, 35), "depth 1": (20, 36), "depth 2": (30, 55), "depth 3": (45, 95), "depth 4": (85, 100)}
shapes = {"wide": wide, **{f"depth {depth}": lambda depth=depth: widest(depth) for depth in (1, 2, 3, 4)}}
parts = {name: learned(build, learn, test) for name, build in shapes.items()}
for name, accuracy in parts.items():
    print(f"{name}, {shapes[name]().count_params():,} parameters: {accuracy:.1f} %")
    expect(f"{name}: accuracy on pictures built from parts, %", accuracy, full=BANDS[name], quick=(5, 100))
claim("depth-beats-width", parts["depth 4"] - max(parts["wide"], parts["depth 1"]))

# %% [markdown]
# Is it the parts, or are deep networks better anyway? Change one thing: the class no longer comes from rules. Draw 64
# symbols at random and let the class be the one that occurs most often. To count, no parts are needed.


# %%
def counted(count):
    """Return pictures of random symbols whose class is the most frequent symbol; ties go to the smaller number."""
    symbols = generator.integers(SYMBOLS, size=(count, 8, 8))
    numbers = np.stack([(symbols == symbol).sum(axis=(1, 2)) for symbol in range(SYMBOLS)], axis=1)
    return finished(symbols, numbers.argmax(axis=1))


counting, counting_test = counted(course.size(quick=2_000, full=10_000)), counted(5_000)
plain = {name: learned(build, counting, counting_test) for name, build in shapes.items()}
for name, accuracy in plain.items():
    print(f"{name}: {accuracy:.1f} %")
gain = plain["depth 4"] - max(plain["wide"], plain["depth 1"])
expect("points that depth gains where nothing is built from parts", gain, full=(-45, 5), quick=(-60, 40))

# %%
depths = (1, 2, 3, 4)
drawn = {}
for task, found in (("built from parts", parts), ("counted", plain)):
    drawn[task] = [found[f"depth {depth}"] for depth in depths]
    drawn[f"{task}, wide"] = [found["wide"]] * len(depths)
plots.show(
    plots.curves(depths, drawn, xlabel="convolutions", ylabel="test accuracy (%)"),
    caption="Depth at about 20,000 parameters, on pictures built from parts and on pictures to count. Level lines: "
    "the wide network.",
    alt="Two curves of test accuracy over one to four convolutions, and two level lines for the wide network.",
)

# %% [markdown]
# ## 9. What the layers look for
#
# First the kernels themselves. These are the 16 of 11 × 11 pixels, after training.

# %%
plots.show(
    plots.kernel_grid(networks["one 11 × 11"].get_layer("front1").get_weights()[0]),
    caption="The sixteen 11 × 11 kernels of the first layer after training, in colour; grey is 0.",
    alt="Sixteen small colour squares, one for each kernel.",
)  # fmt: skip

# %% [markdown]
# "Edges and colour" should be more than a look. So let us say what we mean. A kernel is an edge or a patch in one
# colour if it is, for more than half of its energy, one colour times one **Gabor pattern**: a wave of some direction,
# length and phase under a bell. Without the wave only the bell is left: a patch. We try many such patterns and keep the
# best.
#
# A wave of any phase is a sum of a cosine and a sine. We make the two orthogonal, so that the energy that they explain
# is a sum of two squares.


# %%
def bell(y, x, width):
    """Return a bell around 0 of the given width, at the places y, x."""
    return np.exp(-(y**2 + x**2) / (2 * width**2))


def wave_pair(y, x, envelope, waves, angle, side):
    """Return cosine and sine under the envelope, made orthogonal and of length 1: (2, side · side)."""
    phase = 2 * np.pi * waves / side * (np.cos(angle) * x + np.sin(angle) * y)
    pair = np.stack([envelope * np.cos(phase), envelope * np.sin(phase)]).reshape(2, -1)
    return np.linalg.qr(pair.T)[0].T


def gabor_bank(side):
    """Return patterns for kernels of `side` pixels: bells and waves under bells, (patterns, 2, side · side)."""
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    bank = []
    for down, right, width in np.ndindex(3, 3, 3):  # nine centres, three widths
        y, x = rows - (down - 1) * side / 4, columns - (right - 1) * side / 4
        envelope = bell(y, x, side / (2.5 + 2 * width))
        patch = envelope.ravel() / np.linalg.norm(envelope)
        bank.append(np.stack([patch, np.zeros_like(patch)]))
        for waves in (0.5, 1, 1.5, 2, 3):
            bank += [wave_pair(y, x, envelope, waves, angle, side) for angle in np.arange(8) * np.pi / 8]
    return np.stack(bank)


def explained(kernels):
    """Return for each kernel (n, side, side, 3) the share of its energy in the best pattern times the best colour."""
    flat = kernels.reshape(len(kernels), -1, 3)
    # For each pattern 2 × 3 products, phases by colours; their largest singular value is the best phase and colour.
    products = np.einsum("bpk,nkc->nbpc", gabor_bank(kernels.shape[1]), flat)
    best = (np.linalg.svd(products, compute_uv=False)[..., 0] ** 2).max(axis=1)
    return best / (flat**2).sum(axis=(1, 2))


# %% [markdown]
# Half is a low bar: smooth noise of one colour may pass it. So we need a control. We take the trained kernels and
# scramble the phases of their waves. Then each keeps its colours and how coarse it is, and loses its shape.


# %%
def scrambled(kernels):
    """Return kernels (n, side, side, 3) with the same waves and colours, the phases of the waves drawn by lot."""
    noise = np.random.default_rng(course.seed).normal(size=kernels.shape[:3])
    turn = np.exp(1j * np.angle(np.fft.fft2(noise)))[..., None]
    return np.fft.ifft2(np.fft.fft2(kernels, axes=(1, 2)) * turn, axes=(1, 2)).real


eye = networks["one 11 × 11"]
kernels = eye.get_layer("front1").get_weights()[0].transpose(3, 0, 1, 2)
shares = {"trained": explained(kernels), "scrambled": explained(scrambled(kernels))}
for (name, values), band in zip(shares.items(), ((0.42, 0.65), (0.25, 0.5)), strict=True):
    print(f"{name}: mean share explained {values.mean():.2f}, above one half in {(values > 0.5).mean():.0%}")
    expect(f"{name} kernels: mean share explained", values.mean(), full=band, quick=(0.1, 0.9))
claim("first-layers-learn-edges-and-colour", 100 * (shares["trained"] > 0.5).mean())

# %% [markdown]
# Kernels of later layers say little to the eye. But we can ask for the **patches** of test photographs at which a map
# is strongest. `receptive_field` says which pixels to cut out.


# %%
def strongest_patches(network, layer, maps, each=6):
    """Return for each of `maps` the `each` patches, of different photographs, at which it is strongest."""
    found, features = receptive_field(network, layer), keras.Model(network.inputs, network.get_layer(layer).output)
    images = photos.test.images[:, 2:30, 2:30]
    values = features.predict(images, batch_size=1_000, verbose=0)
    room = max(found.size)
    padded = np.pad(images, ((0, 0), (room, room), (room, room), (0, 0)), constant_values=0.5)
    patches = []
    for index in maps:
        best = values[..., index].reshape(len(images), -1)
        for image in np.argsort(best.max(axis=1))[::-1][:each]:
            place = np.unravel_index(best[image].argmax(), found.map_size)
            (top, bottom), (left, right) = found.interval([int(part) for part in place])
            patches.append(padded[image, top + room : bottom + room + 1, left + room : right + room + 1])
    return np.stack(patches)


for layer in ("front1", "conv2", "inside2"):
    patches = strongest_patches(eye, layer, range(4))
    plots.show(
        plots.image_grid(patches, [f"map {n // 6}" for n in range(len(patches))], columns=6),
        caption=f"The patches at which four maps of `{layer}` are strongest: fields of "
        f"{receptive_field(eye, layer).size[0]} pixels. Grey lies outside the crop.",
        alt=f"Four rows of six photograph patches, one row for each map of the layer {layer}.",
    )

# %% [markdown]
# The other way is to make a picture that the map likes best, **activation maximisation** (Erhan and others, 2009).
# Begin with grey, follow the gradient uphill, and blur a little at each step, or the result is dust. We climb the value
# before the ReLU, since a ReLU that is off has no slope.


# %%
def blurred(pictures):
    """Mix each pixel of pictures (n, h, w, c) with its four neighbours; at the edge with itself."""
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    neighbours = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return 0.75 * pictures + 0.25 * neighbours / 4


def maximised(network, name, maps, steps=60, rate=0.02):
    """Return one picture for each of `maps` that makes the central place of this map of the layer `name` large."""
    layer = network.get_layer(name)
    below, middle = keras.Model(network.inputs[0], layer.input), layer.output.shape[1] // 2
    which = keras.ops.one_hot(np.array(maps), layer.filters)

    def centre(x):
        values = keras.ops.conv(below(x), layer.kernel, strides=layer.strides, padding="same")
        return values[:, middle, middle] * which

    pictures = 0.5 + np.random.default_rng(course.seed).normal(0, 0.02, size=(len(maps), 28, 28, 3))
    for _ in range(steps):
        gradient = input_gradient(centre, pictures)
        gradient /= np.sqrt((gradient**2).mean(axis=(1, 2, 3), keepdims=True)) + 1e-8
        pictures = blurred(pictures + rate * gradient).clip(0, 1)
    return pictures


dreamed = np.concatenate([maximised(eye, layer, range(8)) for layer in ("front1", "conv2", "inside2")])
plots.show(
    plots.image_grid(dreamed, [f"{layer}, map {n}" for layer in ("front1", "conv2", "inside2") for n in range(8)]),
    caption="Pictures that sixty steps uphill made, each for the central place of one map.",
    alt="Three rows of eight small pictures, one row for each of the layers front1, conv2 and inside2.",
)

# %% [markdown]
# ## 10. What we measured
#
# Means and standard deviations over three seeds, from the recorded runs in the full profile: 20,000 training images of
# CIFAR-10, 8 epochs, 10,000 test images. Our copy of CIFAR-10 was compressed as JPEG once more.

# %%
from course_lib.records import mean_and_sd

print(f"{'network':<26}{'parameters':>11}{'mult.–acc.':>12}   test accuracy (%)")
for name, network in networks.items():
    macs = sum(cost.macs for cost in layer_costs(network))
    print(f"{name:<26}{network.count_params():>11,}{macs:>12,}   {mean_and_sd(f'{name}: test accuracy, %')}")

# %% [markdown]
# ## 11. What the sources claim, and what we found

# %%
from IPython.display import Markdown

Markdown(course_lib.claims_table(chapter=3))

# %% [markdown]
# **What is arithmetic holds, with a condition.** A 7 × 7 and a 5 × 5 layer see 11 pixels, if the stride comes last.
# Inside a network a stack has fewer weights. In AlexNet's first layer, of which the first source speaks, it has seven
# times as many, because only three colours come in there.
#
# **A stack bends more often**, since it has more ReLUs.
#
# **Five 3 × 3 read photographs better than one 11 × 11**, by about two points, for twice the work. Inside the network,
# two 3 × 3 were about two points *worse* than one 5 × 5; they have fewer weights. All of that is after eight epochs on
# 20,000 images. The sources promise both at once, and here only one of the two came.
#
# **Finer first maps help**, by about three points. They also cost more work.
#
# **Depth beats width where pictures are built from parts**, and by far: one wide layer stays near what single glyphs
# tell, four layers read nearly all pictures. Where glyphs are only counted, depth gains nothing and may lose much. So
# the claim needs its condition, "data built from parts".
#
# **The first layer learns edges and colour, partly.** Over three seeds about half of the kernels are mostly one edge or
# one patch of one colour, and the share differs much from seed to seed. Scrambled kernels have less of it. The others
# are mixtures, or have not learned much in eight epochs.
#
# ## 12. Exercises
#
# The sheet `exercises/03_receptive_fields.ipynb` has five questions: the recursion, which pixels a place sees, stacks,
# branches, and a field found by nudging pixels. Hints open one at a time; `exercises/solutions/` has the answers.
#
# Three more to try right here:
#
# 1. Give `stack` a stride of 2 in its fifth layer. What is the field of 10 layers now? How fast does the spread grow?
# 2. Try `photo_network([11], inside=(7, 7))` with fewer than 64 maps inside, for as many parameters. What happens?
# 3. In section 8, train on 40,000 pictures. Does the wide network catch up?
#
# ## Further reading
#
# - A. Araujo, W. Norris, J. Sim, "Computing receptive fields of convolutional neural networks", *Distill*, 2019,
#   doi:10.23915/distill.00021.
# - W. Luo, Y. Li, R. Urtasun, R. Zemel, "Understanding the effective receptive field in deep convolutional neural
#   networks", *Advances in Neural Information Processing Systems* 29, 2016.
# - K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015. Section
#   2.3 is the argument for stacks of 3 × 3.
# - F. Cagnetta, L. Petrini, U. M. Tomasini, A. Favero, M. Wyart, "How deep neural networks learn compositional data:
#   the random hierarchy model", *Physical Review X* 14:031001, 2024.
# - D. Erhan, Y. Bengio, A. Courville, P. Vincent, "Visualizing higher-layer features of a deep network", University of
#   Montreal, technical report 1341, 2009.
# - M. D. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014: why the first layer of
#   AlexNet profits from a smaller stride.
