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
# # 05 Dilation and dense prediction
#
# **You will be able to**
#
# - turn a classifier into a network that answers for every pixel, without training it again;
# - trade a stride for dilation by hand, and say what it costs;
# - find the holes that dilation leaves, and close them;
# - measure labels of pixels so that a lazy network cannot hide.
#
# | | |
# | --- | --- |
# | Before you start | chapters 02 and 03 |
# | Data | CamVid; without it, drawn road scenes (numbers then differ). Section 9 draws scenes in any case |
# | Running time, two cores | quick profile about a minute, full profile about 9 minutes |
# | Sheet | `exercises/05_dilation.ipynb`, five questions |
# | Elsewhere | Binder builds from `environment.yml`; on Colab, clone the repository and `pip install -e .` |

# %%
import course_lib
from course_lib import claim, expect

course = course_lib.setup(chapter=5)

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers

from course_lib import plots
from course_lib.datasets import Images
from course_lib.datasets.scenes import draw_scenes, load_scenes

scenes = load_scenes()


# %% [markdown]
# ## 1. From one label to one for each pixel
#
# A classifier says: there is a car in this picture. To drive, one must know which pixels are the car. The task of
# giving each pixel a label is called **semantic segmentation**, or dense prediction.
#
# CamVid has pictures from a car in Cambridge (Brostow and others, 2009). We use the version of the SegNet tutorial,
# with 480 × 360 pixels and 11 classes (Badrinarayanan and others, 2017), which is released under CC BY-NC 4.0: not for
# commercial use. Some pixels belong to none of the 11. They are called **void**, and they must count neither in the
# loss nor in the score.
#
# We altered it: resized to 240 × 180 pixels, and our copy is stored as JPEG. Here we halve it once more, so that
# training takes minutes. So the numbers below compare networks with each other, and not with articles.


# %%
def halved(images, labels):
    """Return images (n, h, w, 3) about 90 pixels high, by means of blocks, and the labels of the blocks' corners."""
    n, height, width, _ = images.shape
    step = height // 90
    blocks = images.reshape(n, height // step, step, width // step, step, 3)
    return Images(blocks.mean(axis=(2, 4)), labels[:, ::step, ::step])


learn, validation, test = (halved(part.images, part.labels) for part in (scenes.train, scenes.validation, scenes.test))
classes, void = len(scenes.classes), scenes.void
SHAPE = test.images.shape[1:]
print("images", learn.images.shape, "labels", learn.labels.shape, "classes", classes)
share = (learn.labels == void).mean()
expect("share of void in the training labels", share, full=(0.03, 0.05), quick=(0, 0.2))

# %%
pictured = np.linspace(0, len(test) - 1, 5).round().astype(int)[1:4]


def draw_rows(columns):
    """Draw the pictures or label maps in each of the named columns, a row for each of `pictured`, with a legend."""
    size = (1.9 * len(columns), 1.6 * len(pictured) + 0.6)
    figure, grid = plt.subplots(len(pictured), len(columns), figsize=size, layout="constrained", squeeze=False)
    for (row, column), axes in np.ndenumerate(grid):
        title, maps = list(columns.items())[column]
        picture = maps[pictured[row]]
        axes.imshow(picture if picture.ndim == 3 else scenes.colours[picture])
        axes.set_title(title if row == 0 else "", fontsize=10)
        axes.axis("off")
    names = [*scenes.classes, "void"]
    patches = [plt.Rectangle((0, 0), 1, 1, color=colour / 255) for colour in scenes.colours]
    figure.legend(patches, names, loc="outside lower center", ncols=6, fontsize=8)
    return figure


plots.show(
    draw_rows({"picture": test.images, "labels": test.labels}),
    caption="Three test pictures and their labels. CamVid, CC BY-NC 4.0, altered; without it, drawn scenes.",
    alt="Three street pictures, and beside each the same street in flat colours, one for each class; black is void.",
)

# %% [markdown]
# ## 2. Dilation by hand
#
# What does one pixel need to know? Grey next to grey may be road or pavement. To tell, look further. Chapter 03 has
# three ways to see further. Larger kernels cost weights. More layers cost weights too, and each 3 × 3 adds only two
# places. Strides cost resolution: after four of them, one place stands for 16 × 16 pixels.
#
# There is a fourth way: keep the kernel, and let it skip pixels. With a **dilation** of d, a kernel of k values looks
# at every d-th pixel. It spans (k − 1) · d + 1 pixels and still has k weights.
#
# By hand, in one dimension, with the kernel (1, −2, 1) and d = 2: the first answer is x₀ − 2 · x₂ + x₄.

# %% tags=["nbval-check-output"]
row = np.array([0.0, 1, 4, 9, 16, 25, 36, 49])
kernel = np.array([1.0, -2, 1])


def dilated_by_hand(row, kernel, dilation):
    """Slide the kernel along the row; its values lie `dilation` apart."""
    span = (len(kernel) - 1) * dilation + 1
    places = range(len(row) - span + 1)
    return np.array([sum(w * row[p + i * dilation] for i, w in enumerate(kernel)) for p in places])


for dilation in (1, 2, 3):
    print(f"dilation {dilation}: span {2 * dilation + 1}, answers {dilated_by_hand(row, kernel, dilation)}")

# %% [markdown]
# The row holds squares, and their second difference is 2 over steps of one, 8 over steps of two, 18 over steps of
# three. Divided by d² each gives 2: the same bend, seen at three scales with the same three weights.
#
# In two dimensions the same holds for rows and columns. Keras has it as `dilation_rate`.

# %% tags=["nbval-check-output"]
picture = np.random.default_rng(0).normal(size=(1, 9, 9, 1)).astype("float32")
square = np.random.default_rng(1).normal(size=(3, 3)).astype("float32")
layer = layers.Conv2D(1, 3, dilation_rate=2, use_bias=False)
layer.build(picture.shape)
layer.set_weights([square[:, :, None, None]])
by_hand = sum(square[i, j] * picture[0, 2 * i : 2 * i + 5, 2 * j : 2 * j + 5, 0] for i, j in np.ndindex(3, 3))
assert np.allclose(layer(picture)[0, :, :, 0], by_hand, atol=1e-5)
print("Keras and the sum by hand agree on a map of", by_hand.shape)

# %% [markdown]
# ### How far does a stack see?
#
# The rule of chapter 03 needs one more factor: field ← field + (k − 1) · dilation · effective stride. The effective
# stride is the product of all strides before this layer; here it is 1.
#
# Four layers of 3 × 3 without dilation see 1 + 2 + 2 + 2 + 2 = 9 pixels. With dilations 1, 2, 4, 8 they see
# 1 + 2 + 4 + 8 + 16 = 31. Each further layer adds 2 pixels in the first case. In the second it
# about doubles the field: 3, 7, 15, 31 (Yu and Koltun, 2016).

# %% tags=["nbval-check-output"]
from course_lib.analysis.cost import layer_costs
from course_lib.analysis.receptive_field import receptive_field


def stack(dilations, side=64):
    """A stack of 3 × 3 convolutions with these dilations, 8 maps each, that keep the size."""
    chain = [layers.Conv2D(8, 3, padding="same", dilation_rate=d, activation="relu") for d in dilations]
    return keras.Sequential([keras.Input((side, side, 8)), *chain])


def macs(network):
    """Return the multiply–accumulates of a network for one input."""
    return sum(cost.macs for cost in layer_costs(network))


for dilations, field in (((1, 1, 1, 1), 9), ((1, 2, 4, 8), 31)):
    network = stack(dilations)
    print(f"{dilations}: {network.count_params():,} parameters, {macs(network):,} multiply–accumulates")
    expect(f"field of {dilations}", receptive_field(network).size[0], exactly=field)

# %% [markdown]
# ## 3. A stride traded for dilation
#
# Now the idea that makes dilation more than another kernel. Take a layer with stride 2 and a layer after it. Change
# the stride to 1. The first map is now twice as fine, and what were neighbours are two apart. So let the second layer
# skip one: dilation 2. It reads the very values it read before.
#
# By hand: the numbers 0, 1, 2, 3, 5, 7, 9, 11, a kernel (1, 1) with stride 2, then a kernel (1, −1).
#
# - Strided: 0 + 1, 2 + 3, 5 + 7, 9 + 11 = 1, 5, 12, 20. Then 1 − 5, 5 − 12, 12 − 20 = −4, −7, −8.
# - Traded: 1, 3, 5, 8, 12, 16, 20. Then, two apart, 1 − 5, 3 − 8, 5 − 12, 8 − 16, 12 − 20 = −4, −5, −7, −8, −8.
#
# The first, third and fifth answers are the strided ones. Between them are new ones.

# %% tags=["nbval-check-output"]
numbers = np.array([0.0, 1, 2, 3, 5, 7, 9, 11])  # uneven, so that the answers differ
pair, difference = np.array([1.0, 1]), np.array([1.0, -1])
fine = dilated_by_hand(numbers, pair, 1)
strided_answers = dilated_by_hand(fine[::2], difference, 1)
traded_answers = dilated_by_hand(fine, difference, 2)
print("strided", strided_answers, "traded", traded_answers)
assert np.array_equal(traded_answers[::2], strided_answers)

# %% [markdown]
# The rule for a whole network: go from front to back and keep a number, `lost`, at first 1. A layer with stride s gets
# stride 1 and is dilated by `lost`. Then `lost` grows by the factor s. The padding
# becomes `lost` times as wide. The library's `trade_stride_for_dilation` does so, for convolutions and for pooling.

# %%
from course_lib.models.dense_prediction import trade_stride_for_dilation

keras.utils.set_random_seed(course.seed)
steps = [layers.Conv2D(8, 3, strides=s, padding="same", activation="relu", name=f"conv{i}")
         for i, s in enumerate((2, 1, 2, 1, 2, 1), 1)]  # fmt: skip
coarse = keras.Sequential([keras.Input((*SHAPE[:2], 3)), *steps])
fine = trade_stride_for_dilation(coarse)
answers = [np.asarray(network(test.images[:2])) for network in (coarse, fine)]
print("strided", answers[0].shape, "traded", answers[1].shape)
rows, columns = answers[0].shape[1:3]
shared = answers[1][:, ::8, ::8][:, :rows, :columns]
apart = np.abs(shared - answers[0]).max() / np.abs(answers[0]).max()
expect("largest relative difference where both answer", apart, full=(0, 1e-5), quick=(0, 1e-5))

# %%
for network in (coarse, fine):
    found = receptive_field(network)
    print(f"{found}; {network.count_params():,} parameters, {macs(network):,} multiply–accumulates")
assert receptive_field(coarse).size == receptive_field(fine).size
claim("dilation-costs-nothing", macs(fine) / macs(coarse))

# %% [markdown]
# Field and weights are the same. The answers of the strided network are still there, among about 60 times as many. But
# each layer now works at every pixel: the first two at 4 times as many places as before, the next two at about 16
# times, the last two at about 60. The first two did most of the work, so together it is about ten times.
#
# So it depends on what you compare with. A dilated layer costs what the same layer costs without dilation, as in
# section 2. In place of a stride it costs as much more as there are more places.
#
#
# ## 4. Holes in the field
#
# Put three layers with dilation 2 on top of each other. The field is 1 + 3 · 4 = 13 pixels. But each layer steps by an
# even number, so a place sees only pixels at even distances, down and across. Its neighbour to the right sees only
# columns in between. The picture falls into 2 · 2 = 4 grids that know nothing of each other. In the result this shows
# as a grid, so the effect is called **gridding** (Wang and others, 2018).
#
# To see the holes, count for each pixel the paths that lead from it to the place. A layer with dilation 1 is the row
# 1, 1, 1; with dilation 2 it is 1, 0, 1, 0, 1. Two layers are the convolution of their rows: here 1, 1, 2, 1, 2, 1, 1,
# nine paths, and no zero means no hole. In two dimensions the count is the product of rows and columns.


# %%
def paths(dilations):
    """Return for each pixel of the field how many paths lead from it to the place in the middle, (field, field)."""
    row = np.ones(1)
    for dilation in dilations:
        one = np.zeros(2 * dilation + 1)
        one[::dilation] = 1
        row = np.convolve(row, one)
    return np.outer(row, row)


def draw_paths(axes, dilations):
    """Draw the paths of one stack, and say how much of its field it sees."""
    count = paths(dilations)
    reach = len(count) // 2
    axes.imshow(np.sqrt(count), cmap="gray_r", extent=(-reach - 0.5, reach + 0.5) * 2, vmin=0)
    axes.set_title(f"{dilations}\nfield {len(count)}, sees {(count > 0).mean():.0%}", fontsize=9)
    axes.set(xlabel="pixels from the place")


# %% [markdown]
# Try your own. Which dilations see far and leave no hole? (The sliders work in JupyterLab; the picture below stands for
# them.)

# %%
from ipywidgets import IntSlider, interact


@interact(**{name: IntSlider(2, min=1, max=9) for name in ("first", "second", "third")})
def explore(first, second, third):
    draw_paths(plt.subplots(figsize=(4, 4.4), layout="constrained")[1], (first, second, third))
    plt.show()


# %%
figure, row_of_axes = plt.subplots(1, 4, figsize=(9.5, 3), layout="constrained")
for axes, dilations in zip(row_of_axes, [(2, 2, 2), (1, 2, 3), (1, 2, 5), (1, 2, 9)], strict=True):
    draw_paths(axes, dilations)
row_of_axes[0].set(ylabel="pixels from the place")
plots.show(
    figure,
    caption="What one place sees through three layers of 3 × 3 with the dilations named above; darker is more paths.",
    alt="Four squares. The dilations 2, 2, 2 give separate dots on a grid, 1, 2, 3 and 1, 2, 5 fill their squares "
    "without a hole, and 1, 2, 9 gives nine separate blocks with white lanes between them.",
)

# %% tags=["nbval-check-output"]
for dilations, exact in (((2, 2, 2), 49 / 169), ((1, 2, 3), 1), ((1, 2, 5), 1), ((1, 2, 9), 441 / 625)):
    expect(f"share of the field seen with {dilations}", (paths(dilations) > 0).mean(), exactly=exact)

# %% [markdown]
# With 1 and 2, a place sees 7 pixels in a row. The third layer puts three such rows side by side. If they are 5 apart
# they overlap, and up to 7 apart they leave no hole. At 9, two pixels between one row and the next are seen by none.
# (The dilations 1, 2, 5 and 1, 2, 9 are examples of Wang and others.)
#
# So sort the dilations from small to large; then, as long as there is no hole yet, the next may be as large as the
# field so far. For this count the order does
# not matter: convolving rows in another order gives the same row. It matters for neighbours, as we shall see.
#
# A stack that trades its strides leaves no hole by itself. Eight layers, with stride 2 in the second, fourth and sixth,
# get the dilations 1, 1, 2, 2, 4, 4, 8, 8: a layer that loses its own stride dilates only what follows.


# %% tags=["nbval-check-output"]
TRADED = (1, 1, 2, 2, 4, 4, 8, 8)
expect("field of the traded stack", len(paths(TRADED)), exactly=61)
expect("share of it that is seen", (paths(TRADED) > 0).mean(), exactly=1)

# %% [markdown]
# One more trouble is left. The last layers have dilation 8, so neighbouring places look at different places of the map
# before them. A known remedy is to let the dilations shrink again: 1, 2, 4, 8, 8, 4, 2, 1 (Hamaguchi and others, 2018).
# Weights and field stay the same. In one trial on the validation images it lost three points of mean IoU and more at
# the borders, perhaps because it dilates the early layers more, where the fine detail is. So we keep the plain order.


# %% [markdown]
# ## 5. AlexNet answers for every pixel
#
# A classifier of AlexNet's kind ends in dense layers. They look bound to one size of image. But a dense layer after
# flattening is a convolution in disguise: its kernel is as large as the map. The layers after it are convolutions of
# 1 × 1. Written so, the network takes images of any size and gives a map of scores (Long, Shelhamer and Darrell, 2015).
#
# This one is small, for crops of 28 pixels. Its last maps have 4 × 4 places and 64 maps, so the first dense layer with
# 256 units has 4 · 4 · 64 · 256 weights, and the convolution has the same.

# %%
from skimage.data import astronaut

from course_lib.models.alexnet import alexnet_cifar
from course_lib.models.dense_prediction import fully_convolutional

classifier = alexnet_cifar(side=28)
portrait = astronaut()[None, 20:140:2, 180:300:2] / np.float32(255)  # 60 × 60 pixels
everywhere = fully_convolutional(classifier, input_shape=(60, 60, 3))
print("kernel of fc6:", classifier.get_layer("fc6").kernel.shape, "→", everywhere.get_layer("fc6").kernel.shape)
crop = portrait[:, 16:44, 16:44]
one, other = np.asarray(classifier(crop)), np.asarray(fully_convolutional(classifier)(crop))
print("one crop:", one.shape, "and", other.shape)
expect("largest difference of their scores", np.abs(one - other[:, 0, 0]).max(), full=(0, 1e-5), quick=(0, 1e-5))

# %% [markdown]
# On the whole portrait the same weights give a map. Its places are 8 pixels apart, since the network pools three times
# by 2. They are not the scores of 28 × 28 crops. One answer has a field of 71 pixels: inside the portrait it sees the
# surroundings, where a crop has zeros. In a map of 4 × 4 places these zeros reach nearly everywhere, so the scores can
# differ a good deal.
#
# Now trade the strides. The poolings get stride 1, and what follows is dilated by 2, 4 and 8. `fc6` skips too: its
# 4 × 4 weights span 3 · 8 + 1 = 25 pixels, so 60 − 24 = 36 places are left a side.

# %%
dense = trade_stride_for_dilation(everywhere)
sparse_answers, dense_answers = (np.asarray(network(portrait)) for network in (everywhere, dense))
print("strided", sparse_answers.shape, "dilated", dense_answers.shape)
print("dilation of conv2, conv3, fc6:", *(dense.get_layer(name).dilation_rate[0] for name in ("conv2", "conv3", "fc6")))
shared = dense_answers[:, ::8, ::8]
apart = np.abs(shared - sparse_answers).max() / np.abs(sparse_answers).max()
expect("answers before", sparse_answers[0, ..., 0].size, exactly=25)
expect("answers after", dense_answers[0, ..., 0].size, exactly=36**2)
claim("dilation-keeps-resolution", apart)

# %%
figure, row_of_axes = plt.subplots(1, 3, figsize=(8, 3), layout="constrained")
shown = {"portrait": portrait[0], "strided": sparse_answers[0, ..., 0], "dilated": dense_answers[0, ..., 0]}
for axes, (name, values) in zip(row_of_axes, shown.items(), strict=True):
    axes.imshow(values, cmap="gray")
    axes.set(title=name, xlabel="place")
row_of_axes[0].set(xlabel="pixel", ylabel="pixel")
plots.show(
    figure,
    caption="One score of an untrained network at all places that it answers. Portrait of Eileen Collins, NASA, "
    "public domain.",
    alt="A portrait, a map of 5 by 5 grey squares, and a smooth map of 36 by 36 places with the same tones.",
)

# %% [markdown]
# ## 6. How good is a labelling?
#
# The obvious score is the share of right pixels, the **pixel accuracy**. It flatters. Road, building and sky fill most
# of a street scene, so a network that never finds a pedestrian may still be right nearly everywhere.
#
# So score each class by itself: of the pixels that have the class in truth *or* in the prediction, in how many do both
# say so? That is the **intersection over union**, IoU. Its mean over the classes weighs a pole as much as the road.
#
# By hand: twelve pixels, 0 road, 1 car, one void. Leave the void pixel out: 11 remain, and 10 are right. Road: 9 in
# both, 10 in either, so 9/10. Car: 1 in both, 2 in either, so 1/2. The mean IoU is 0.7.

# %% tags=["nbval-check-output"]
truth = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 2, 0]])  # 2 is void here
guess = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])


def confusion(truth, guess, classes, void):
    """Return how often each class (row) was taken for each (column), void left out."""
    known = truth != void
    return np.bincount(classes * truth[known] + guess[known], minlength=classes**2).reshape(classes, classes)


counts = confusion(truth, guess, classes=2, void=2)
print(counts)
right = np.diag(counts)
ious = right / (counts.sum(axis=0) + counts.sum(axis=1) - right)
expect("pixel accuracy: 10 of 11", right.sum() / counts.sum(), exactly=10 / 11)
expect("IoU of the road: 9 of 10", ious[0], exactly=9 / 10)
expect("IoU of the car: 1 of 2", ious[1], exactly=1 / 2)

# %% [markdown]
# Half of the car is lost, and pixel accuracy says 91 %. The library's `class_ious` counts with Keras' `MeanIoU` and
# leaves void out in the same way. A class that never occurs would be 0 / 0; it is left out of the mean.
#
# Now on the real labels. Here is a "network" that never looks at the picture. At each pixel it says what the training
# images have there most often.

# %%
from course_lib.analysis.segmentation import boundary, boundary_score, class_ious, mean_iou

frequency = np.stack([(learn.labels == index).sum(axis=0) for index in range(classes)])
blind = np.broadcast_to(frequency.argmax(axis=0), test.labels.shape)
counts = confusion(test.labels, blind, classes, void)
accuracy, blind_iou = 100 * np.trace(counts) / counts.sum(), 100 * mean_iou(test.labels, blind, classes, void)
expect("pixel accuracy without looking, %", accuracy, full=(61, 62), quick=(20, 90))
expect("mean IoU without looking, %", blind_iou, full=(16.5, 17.5), quick=(5, 50))
print("classes it never names:", ", ".join(np.array(scenes.classes)[counts.sum(axis=0) == 0]))

# %% [markdown]
# Without looking it gets well over half of the pixels right, since road, building and sky are nearly always in the same
# place. Mean IoU gives it far less: each class that it never names counts 0.
#
# ### Borders
#
# Most pixels lie inside large areas. The IoU of a large class hardly notices whether its border is placed well. So look
# at the borders alone.
#
# A pixel is on the **boundary** of its class if one of its four neighbours has another class. Precision is the share of
# the predicted boundary that lies within one pixel of the true one, recall is the share of the true one within a pixel
# of the predicted one. Their harmonic mean is the **boundary score** of this class in this picture (Csurka and others,
# 2013). We average over classes and pictures, and leave void out.

# %% tags=["nbval-check-output"]
labels = np.zeros((1, 12, 12), int)
labels[0, 3:8, 3:8] = 1
expect("boundary of a square of 5 × 5", boundary(labels, 1, void=2).sum(), exactly=16)
for shift in (0, 1, 2, 3):
    moved = np.roll(labels, shift, axis=2)
    found = mean_iou(labels, moved, 2, 2), boundary_score(labels, moved, 2, 2)
    print(f"moved by {shift}: mean IoU {found[0]:.2f}, boundary score {found[1]:.2f}")

# %% [markdown]
# A shift of one pixel already costs IoU, since the square is small, but no boundary score: that is its tolerance. A
# shift of two costs both.
#
# ### What coarse labels cost
#
# Before any training we can ask what lost resolution costs even a *perfect* network. Take the true labels, keep one
# pixel in each block of s × s, and fill the block with it. Where the kept pixel is void, the block must still say
# something; here it says sky. That is wrong around it, so the curves lie somewhat lower than the loss of resolution
# alone would put them, most of all for large blocks.

# %%
perfect = {}
for step in (1, 2, 4, 8, 16):
    kept = test.labels[:, step // 2 :: step, step // 2 :: step].repeat(step, axis=1).repeat(step, axis=2)
    kept = np.pad(kept, ((0, 0), (0, 16), (0, 16)), mode="edge")[:, : SHAPE[0], : SHAPE[1]]
    kept = np.where(kept == void, 0, kept)  # a prediction must be a class
    perfect[step] = mean_iou(test.labels, kept, classes, void), boundary_score(test.labels, kept, classes, void)
    print(f"a label for {step:2} × {step:<2} pixels: mean IoU {perfect[step][0]:.2f}, boundary {perfect[step][1]:.2f}")
expect("boundary score of perfect labels, one for 16 × 16", perfect[16][1], full=(0.12, 0.13), quick=(0.02, 0.7))

# %%
drawn = {"mean IoU": [100 * pair[0] for pair in perfect.values()],
         "boundary score": [100 * pair[1] for pair in perfect.values()]}  # fmt: skip
plots.show(
    plots.curves(list(perfect), drawn, xlabel="side of a block with one label (pixels)", ylabel="score (%)"),
    caption="The scores of perfect labels that are known only once a block.",
    alt="Two falling curves over the side of a block from 1 to 16 pixels, for mean IoU and for the boundary score.",
)

# %% [markdown]
# For blocks of 2 the tolerance of one pixel still forgives most borders, and mean IoU falls more, because thin things
# such as poles lose most of theirs. From 4 on the borders suffer more, and at 16 little is left of them. A network that
# interpolates its scores can do better than blocks, since it need not jump from block to block. But of a pole that is
# much thinner than a block little can be kept.
#
#
# ## 7. Three ways to see far and answer finely
#
# - **Strided**, then bilinear interpolation: nine convolutions of 3 × 3, pooling after four of them, and one of 1 × 1
#   for the scores. One place of the last map stands for 16 × 16 pixels, and its scores are interpolated.
# - **Dilated**: the same convolutions, pooled only once. The other three poolings are taken out, as Yu and Koltun
#   (2016) do with the last two of theirs, and the convolutions after them are dilated by 2, 4 and 8. One place stands
#   for 2 × 2 pixels. (Section 3 kept the poolings, dilated. The dilations of the convolutions are the same.)
# - **Encoder and decoder**: an encoder that pools four times like the strided network, with fewer maps in most layers
#   so that the parameters stay equal, then back up in steps of 2. At each size the decoder is handed the encoder's maps
#   of that size by a **skip** (U-Net, Ronneberger and others, 2015).
#
# A stride of 16 is what a classifier would have. Is it fair to take it for every pixel? On the validation images we
# tried 16, 8 and 4, by leaving out poolings. The best was 4. So there are two strided networks, and the claims are
# measured against the better one.
#
# All have the same number of parameters, within one percent. Activations are the outputs of all layers for one picture,
# in float32. Training keeps most of them, for each picture of a batch.

# %%
from course_lib.models.dense_prediction import dilated, encoder_decoder, strided

BUILD = {
    "strided to 16": lambda: strided(classes, SHAPE),
    "strided to 4": lambda: strided(classes, SHAPE, poolings=(0, 2)),
    "dilated": lambda: dilated(classes, SHAPE, dilations=TRADED, poolings=(0,)),
    "encoder-decoder": lambda: encoder_decoder(classes, SHAPE),
    "not dilated": lambda: dilated(classes, SHAPE, dilations=(1,) * 8, poolings=(0,)),
}
print(f"{'network':<17}{'parameters':>11}{'field':>7}{'mult.–acc.':>15}{'activations':>13}")
for name, build in BUILD.items():
    network = build()
    memory = sum(cost.memory for cost in layer_costs(network)) / 1e6
    field = receptive_field(network).size[0]
    print(f"{name:<17}{network.count_params():>11,}{field:>7}{macs(network):>15,}{memory:>10.1f} MB")

# %% [markdown]
# Read across. The dilated network has not the largest field: those that pool four times see further. What it has is a
# large field *and* places of 2 pixels, and it pays for that with the most work and memory. Stride 4 is cheaper, but its
# field is only about half as large.
#
# The last row is for section 9: the dilated network with all dilations 1. It has the same weights, the same resolution
# and the same cost. Only its field is smaller.

# %%
wide, narrow = (BUILD[name]() for name in ("dilated", "not dilated"))
assert wide.count_params() == narrow.count_params() == BUILD["strided to 16"]().count_params()
assert macs(wide) == macs(narrow)
expect("field of the dilated network", receptive_field(wide).size[0], exactly=126)
expect("field without dilation", receptive_field(narrow).size[0], exactly=38)
claim("dilation-widens-the-field", receptive_field(wide).size[0] / receptive_field(narrow).size[0])
more = BUILD["encoder-decoder"]().count_params() / wide.count_params() - 1
expect("parameters that the encoder-decoder has more, %", 100 * more, full=(-1, 1), quick=(-1, 1))
work = {name: macs(wide) / macs(BUILD[name]()) for name in BUILD}
for name, band in (("strided to 16", (3.3, 3.6)), ("strided to 4", (2.3, 2.6)), ("encoder-decoder", (2.1, 2.4))):
    expect(f"work of the dilated network over that of {name}", work[name], full=band, quick=band)

# %% [markdown]
# By hand, for the dilated one: the first convolution sees 3 pixels, pooling 4, with an effective stride of 2. The
# dilations sum to 30, so eight layers add 2 · 30 · 2 = 120. Interpolation looks at two neighbouring places, which
# lie 2 pixels apart: 126.
#
# ## 8. The comparison
#
# The loss is cross-entropy at every pixel that is not void. There is one more trap: classes differ much in size.

# %%
shares = np.bincount(learn.labels.ravel(), minlength=classes + 1)[:classes] / learn.labels.size
print({name: f"{share:.1%}" for name, share in zip(scenes.classes, shares, strict=True)})
expect(
    "pixels of the largest class for each of the smallest", shares.max() / shares.min(), full=(90, 130), quick=(1, 1e9)
)

# %% [markdown]
# A network that never names the small classes loses little, and that is what our networks learned at first. So we weigh
# each pixel by one over the square root of its class's share: for shares of 25 % and 0.25 % the weights are 2 and 20.
# On the validation images this gained about four points of mean IoU for the strided network. Void has weight 0.


# %%
def weighted_loss(labels, classes):
    """Return the loss: cross-entropy averaged over pixels, each weighed by one over the root of its class's share."""
    share = np.bincount(labels.ravel(), minlength=classes + 1)[:classes] / labels.size
    weights = np.append(1 / np.sqrt(np.maximum(share, 1e-4)), 0).astype("float32")

    def loss(labels, scores):
        labels = keras.ops.cast(labels, "int32")
        weight = keras.ops.take(weights, labels)
        known = keras.ops.minimum(labels, classes - 1)  # void must be some class; its weight is 0
        each = keras.ops.sparse_categorical_crossentropy(known, scores, from_logits=True)
        return keras.ops.sum(weight * each) / keras.ops.sum(weight)

    return loss


# %% [markdown]
# If all classes are equally frequent, the weights drop out. Then it must be the loss that Keras has: `ignore_class`
# leaves void out, and the mean is over the pixels that have a label.

# %% tags=["nbval-check-output"]
balanced = np.arange(classes + 1).repeat(2).reshape(1, 2, -1)  # two pixels of each class, and two of void
scores = np.random.default_rng(0).normal(size=(*balanced.shape, classes)).astype("float32")
of_keras = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=void)(balanced, scores)
assert np.isclose(weighted_loss(balanced, classes)(balanced, scores), of_keras)
print("ours with equal weights is Keras' loss without void")

# %% [markdown]
# A mirrored street is a street, so every picture is learned twice in an epoch, once mirrored. On the validation images
# we tried the learning rates 0.001, 0.003 and 0.01 for the dilated network, the one strided to 4 and the encoder with
# decoder, and the last two for the others. 0.003 was best, or as good as any, for each, so all use it. Settings were
# tried with one seed; for the drawn scenes we did not search again.

# %%
from course_lib.training.loop import fit

RATES = dict.fromkeys(BUILD, 3e-3)


def mirrored(data):
    """Return the pictures and their labels, and after them all of them mirrored."""
    both = [np.concatenate([part, part[:, :, ::-1]]) for part in (data.images, data.labels)]
    return Images(*both)


def trained(build, data, *, rate, epochs):
    """Return the network that `build()` returns, trained on pictures and their mirror images, and the history."""
    keras.utils.set_random_seed(course.seed)
    network = build()
    loss = weighted_loss(data.labels, network.output_shape[-1])
    history = fit(network, mirrored(data), loss=loss, metrics=(), batch_size=4, learning_rate=rate, epochs=epochs)
    return network, history


def labelled(network, data):
    """Return the label with the highest score at each pixel, (n, h, w)."""
    return network.predict(data.images, batch_size=8, verbose=0).argmax(axis=-1)


# %%
epochs = course.size(quick=1, full=8)
part = learn.take(0, course.size(quick=48, full=len(learn)))
predictions, seconds = {}, {}
for name in ("strided to 16", "strided to 4", "dilated", "encoder-decoder"):
    network, history = trained(BUILD[name], part, rate=RATES[name], epochs=epochs)
    predictions[name], seconds[name] = labelled(network, test), history.seconds

# %%
found, borders = {}, {}
BANDS = {  # of mean IoU and of the boundary score, in percent
    "strided to 16": ((35, 42), (16, 22)),
    "strided to 4": ((38, 45), (25, 32)),
    "dilated": ((39, 46), (26, 35)),
    "encoder-decoder": ((39, 46), (32, 39)),
    "not dilated": ((33, 45), (23, 38)),
}


def scored(name):
    """Print and check mean IoU and boundary score of the predictions of one network on the test images."""
    found[name] = 100 * mean_iou(test.labels, predictions[name], classes, void)
    borders[name] = 100 * boundary_score(test.labels, predictions[name], classes, void)
    expect(f"{name}: mean IoU, %", found[name], full=BANDS[name][0], quick=(0, 100))
    expect(f"{name}: boundary score, %", borders[name], full=BANDS[name][1], quick=(0, 100))
    print(f"{name}: trained in {seconds[name]:.0f} s\n")


for name in predictions:
    scored(name)

# %%
claim("dense-prediction-needs-resolution", found["dilated"] - found["strided to 4"])
claim("loss-of-resolution-blurs-borders", borders["dilated"] - borders["strided to 4"])
for name, scores, band in (("mean IoU", found, (1.5, 6.5)), ("boundary score", borders, (8, 15))):
    gain = scores["dilated"] - scores["strided to 16"]
    expect(f"points of {name} that the dilated network gains over a stride of 16", gain, full=band, quick=(-50, 50))

# %% [markdown]
# Far ahead of a stride of 16, then, and level with a stride of 4. Which classes gain? Here is the IoU of each.

# %%
figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
places = np.arange(classes)
for offset, (name, prediction) in enumerate(predictions.items()):
    values = 100 * class_ious(test.labels, prediction, classes, void)
    axes.barh(places + 0.2 * (offset - 1.5), values, 0.19, label=name, color=plots.COLOURS[offset])
axes.set(xlabel="IoU on the test images (%)", ylabel="class")
axes.set_yticks(places, scenes.classes)
axes.invert_yaxis()
axes.legend()
plots.show(
    figure,
    caption="IoU of each class for the four networks.",
    alt="Horizontal bars, four for each class: strided to 16, strided to 4, dilated and encoder-decoder.",
)

# %% [markdown]
# Sky, road and building are large, and there a coarse answer costs least. Thin and rare classes such as poles, signs
# and people are weak for all networks, and weakest for the one strided to 16.

# %%
plots.show(
    draw_rows({"picture": test.images, "truth": test.labels, **predictions}),
    caption="Three test pictures, their labels, and what the networks say. They name a class where the truth is void, "
    "too; that does not count. Pictures: CamVid, CC BY-NC 4.0, altered.",
    alt="Three rows of six: a street picture, its true labels in flat colours, and the labels of four networks.",
)

# %% [markdown]
# Compare the outlines: the network strided to 16 gives round blobs, the others follow the edges more closely. Look for
# the poles.
#
# ## 9. Is it the context?
#
# The dilated network differs from the one strided to 4 in two things at once: its places are finer (2 pixels, not 4),
# and its field is larger (126 pixels, not 66). To see what the *field* alone is worth, compare it with the same network
# without dilation: equal weights, equal resolution, equal cost. It sees 38 pixels instead of 126.


# %%
network, history = trained(BUILD["not dilated"], part, rate=RATES["not dilated"], epochs=epochs)
predictions["not dilated"], seconds["not dilated"] = labelled(network, test), history.seconds
scored("not dilated")
claim("dense-prediction-needs-context", found["dilated"] - found["not dilated"])
gain = borders["dilated"] - borders["not dilated"]
expect("points of boundary score that dilation adds", gain, full=(-6, 2), quick=(-50, 50))

# %% [markdown]
# ### Scenes where only far context tells
#
# In photographs one cannot choose how far the telling detail lies. In drawn scenes one can. Own lane and oncoming lane
# are the same grey. One round blue sign tells which is which: it stands on the left in half of the scenes, and on the
# right in the others, always on the side of the own lane. At least 22 pixels lie between lanes and sign, so a field of
# 43 pixels around a pixel of a lane never reaches it. A field of 38 is smaller, one of 126 is not.

# %%
from course_lib.datasets.scenes import DRAWN

FAR = {"height": 64, "width": 88, "distance": 22}
lanes = [DRAWN.index(name) for name in ("Own lane", "Oncoming lane")]
streets = draw_scenes(course.size(quick=32, full=300), seed=100 + course.seed, **FAR)
new_streets = draw_scenes(course.size(quick=16, full=100), seed=200 + course.seed, **FAR)
sides = ["own lane left" if (part[:, :44] == lanes[0]).sum() > (part[:, 44:] == lanes[0]).sum() else "own lane right"
         for part in streets.labels[:4]]  # fmt: skip
plots.show(
    plots.image_grid(streets.images[:4], sides, columns=4),
    caption="Drawn streets. The round sign stands on the side of the own lane.",
    alt="Four drawn streets with houses, trees, cars and a grey road between two posts; one post has a round sign.",
)


# %%
def lane_iou(dilations):
    """Train the dilated network with these dilations on drawn scenes; return the mean IoU of the lanes, in percent."""
    network, _ = trained(
        lambda: dilated(len(DRAWN), streets.images.shape[1:], dilations=dilations),
        streets, rate=3e-3, epochs=course.size(quick=1, full=6),
    )  # fmt: skip
    ious = class_ious(new_streets.labels, labelled(network, new_streets), len(DRAWN), void=len(DRAWN))
    return 100 * ious[lanes].mean()


far, near = lane_iou(TRADED), lane_iou((1,) * 8)
expect("IoU of the lanes, dilated, %", far, full=(80, 99), quick=(0, 100))
expect("IoU of the lanes, not dilated, %", near, full=(25, 38), quick=(0, 100))
claim("dense-prediction-needs-far-context", far - near)

# %% [markdown]
# Without the sign in its field a network can only guess. If it takes half of the lanes' pixels for the wrong lane, then
# of 100 pixels of either lane 50 are right, and truth or guess has it in 150: an IoU of one third. A network that
# always names the same lane gets even less: one half for that lane, 0 for the other, a mean of one quarter. So a result
# around one third or below means that it does not know.

# %% [markdown]
# ## 10. What we measured
#
# Means and standard deviations over three seeds, from the recorded runs in the full profile: CamVid, resized to
# 240 × 180 pixels, compressed as JPEG, then halved; 367 training and 233 test images. Seconds are those of this run.

# %%
from course_lib.records import mean_and_sd

print(f"{'network':<16}{'mult.–acc.':>12}{'activations':>13}{'training':>10}   {'mean IoU (%)':<29}boundary score (%)")
for name, build in BUILD.items():
    network = build()
    costs = f"{macs(network):>12,}{sum(cost.memory for cost in layer_costs(network)) / 1e6:>10.1f} MB"
    scores = [mean_and_sd(f"{name}: {score}, %") for score in ("mean IoU", "boundary score")]
    print(f"{name:<16}{costs}{seconds[name]:>8.0f} s   {scores[0]:<29}{scores[1]}")
for name in ("dilated", "not dilated"):
    print(f"IoU of the lanes on drawn scenes, {name} (%):", mean_and_sd(f"IoU of the lanes, {name}, %"))

# %% [markdown]
# ## 11. What the sources claim, and what we found

# %%
from IPython.display import Markdown

Markdown(course_lib.claims_table(chapter=5))

# %% [markdown]
# **Dilation widens the field and adds no weight.** With the same 108,787 parameters the network sees 126 pixels instead
# of 38. That is arithmetic.
#
# **Dilation in place of stride loses no answer.** Where both networks answer they say the same, up to rounding.
#
# **It is not free.** One source says that dilation needs no more computation. That holds when a layer is compared with
# the same layer without dilation. In place of a stride, with the same weights and field, it cost about ten times as
# much.
#
# **Context counts, a little on CamVid.** The same network without dilation was one to three points of mean IoU worse,
# and its borders were rather *better*. Most of what a street's pixels need to know lies within 38 pixels of our small
# pictures. On the drawn streets, where the telling sign is out of that sight, it did no better than guessing, and the
# dilated network told the lanes apart. So far context decides where only far context tells.
#
# **Resolution counts, up to a point.** At equal parameters the dilated network was far ahead of one that strides to 16
# like a classifier, most of all at the borders. Against a stride of 4, which validation had chosen, mean IoU shows no
# difference that three seeds would settle, and the borders gain two points or so, for two and a half times the work.
# Neither comparison is pure: against a stride of 16 the dilated network has a somewhat smaller field (126 against 154
# pixels), against a stride of 4 a larger one (126 against 66).
#
# **Dilation is not the only way to have both.** The encoder and decoder with skips placed the borders best and was as
# good in mean IoU, for less than half of the dilated network's work. Its skips carry maps of full size to the end,
# while the dilated network has pooled once. The sources name dilation as the answer; here it is one of several.
#
# ## 12. Exercises
#
# The sheet `exercises/05_dilation.ipynb` has five questions. Hints open one at a time; `exercises/solutions/` has the
# answers. Five more to try right here:
#
# 1. By hand: which dilations must three layers of 3 × 3 have to see 27 pixels without a hole, none larger than 9? Check
#    with `paths`.
# 2. Give the dilated network the dilations 1, 2, 4, 8, 8, 4, 2, 1, or 8 for all of them. Look at the borders of its
#    predictions. What happens to the boundary score?
# 3. `trade_stride_for_dilation` takes an `output_stride`. Trade only the last stride of the network in section 3.
#    What does it cost now? How many answers are shared?
# 4. Make the strided network wider, until it costs as much as the dilated one. Does it catch up?
# 5. Draw the scenes with a `distance` of 10 pixels. Train with the dilations (1,) * 8, then (1, 1, 1, 1, 2, 2, 2, 2),
#    then `TRADED`. Work out each field first. Which lane pixels can have the sign in it?
#
# ## Further reading
#
# - J. Long, E. Shelhamer, T. Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015.
# - F. Yu, V. Koltun, "Multi-scale context aggregation by dilated convolutions", ICLR 2016. They take the last two
#   poolings out of a classifier and dilate what follows.
# - L.-C. Chen, G. Papandreou, I. Kokkinos, K. Murphy, A. L. Yuille, "DeepLab: semantic image segmentation with deep
#   convolutional nets, atrous convolution, and fully connected CRFs", *IEEE Transactions on Pattern Analysis and
#   Machine Intelligence* 40(4):834–848, 2018.
# - P. Wang, P. Chen, Y. Yuan, D. Liu, Z. Huang, X. Hou, G. Cottrell, "Understanding convolution for semantic
#   segmentation", WACV 2018. Section 3.2 has gridding and a rule against it.
# - R. Hamaguchi, A. Fujita, K. Nemoto, T. Imaizumi, S. Hikosaka, "Effective use of dilated convolutions for segmenting
#   small object instances in remote sensing imagery", WACV 2018. Dilations that grow and then shrink.
# - O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image segmentation", MICCAI 2015.
# - V. Badrinarayanan, A. Kendall, R. Cipolla, "SegNet: a deep convolutional encoder-decoder architecture for image
#   segmentation", *IEEE Transactions on Pattern Analysis and Machine Intelligence* 39(12):2481–2495, 2017.
# - G. J. Brostow, J. Fauqueur, R. Cipolla, "Semantic object classes in video: a high-definition ground truth database",
#   *Pattern Recognition Letters* 30(2):88–97, 2009.
# - G. Csurka, D. Larlus, F. Perronnin, "What is a good evaluation measure for semantic segmentation?", BMVC 2013.
# - F. Perazzi, J. Pont-Tuset, B. McWilliams, L. Van Gool, M. Gross, A. Sorkine-Hornung, "A benchmark dataset and
#   evaluation methodology for video object segmentation", CVPR 2016.
# - A. Odena, V. Dumoulin, C. Olah, "Deconvolution and checkerboard artifacts", *Distill*, 2016,
#   doi:10.23915/distill.00003. Why this chapter interpolates and does not learn to enlarge.
