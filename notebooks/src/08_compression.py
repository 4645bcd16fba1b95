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
# # 08 Compression
#
# **You will be able to**
#
# - teach a small network with the answers of a large one, and measure what that adds to the labels;
# - remove nine tenths of a network's weights, and compare the ways of doing it;
# - measure the roofline of your machine, and foresee for each layer whether arithmetic or memory limits it;
# - round weights and activations to a few bits, and predict the damage before you try it;
# - export a network in 8-bit integers, check the file, and say when integers are faster and when only smaller.
#
# | | |
# | --- | --- |
# | Before you start | chapter 01 |
# | Data | MNIST; without it, 5,000 of its digits that ship (numbers then differ) |
# | Running time, two cores | quick profile about a minute, full profile about 9 minutes |
# | Sheet | `exercises/08_compression.ipynb`, five questions |
# | Elsewhere | Binder builds from `environment.yml`; on Colab, clone the repository and `pip install -e .` |

# %%
import course_lib
from course_lib import claim, expect

course = course_lib.setup(chapter=8)

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers

from course_lib import plots
from course_lib.datasets import load_digits

digits = load_digits()
train_digits, validation, test = digits.train, digits.validation, digits.test

# %% [markdown]
# ## 1. What does a network cost?
#
# A network costs **memory**, to hold its weights; **work**, multiply–accumulates for each input; and **time**, which is
# what we feel. The three are not the same, and this chapter shows how far apart they can be.
#
# LeNet-5 has 61,706 parameters of 4 bytes: 246,824 bytes. It does 416,520 multiply–accumulates an image. Most of the
# bytes are in the dense layers and most of the work is in the convolutions (chapter 01), so what makes a network
# smaller need not make it faster. Ours has ReLU and max pooling.

# %% tags=["nbval-check-output"]
from course_lib.analysis.cost import cost_table, layer_costs
from course_lib.models.lenet import lenet5

print(cost_table(lenet5()))
expect("parameters of LeNet-5", lenet5().count_params(), exactly=61_706)
expect("multiply–accumulates of LeNet-5", sum(cost.macs for cost in layer_costs(lenet5())), exactly=416_520)

# %% [markdown]
# All networks of this chapter are trained by one function: Adam with a rate that falls to 0 along half a cosine. Rates
# and numbers of epochs were chosen on the validation digits, in one trial with seed 0. The test digits are for the
# numbers in the text.

# %%
from course_lib.training.loop import fit

EPOCHS = course.size(quick=2, full=8)  # of the first training, after its first one


def train(network, epochs, examples=train_digits, rate=2e-3, **options):
    """Train the network and return it."""
    steps = epochs * -(-len(examples) // 128)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    histories.append(fit(network, examples, epochs=epochs, optimizer=optimizer, **options))
    return network


def scores_of(network, images):
    """Return the scores of images, 1,000 at a time, as an array (n, 10)."""
    pieces = [network(images[start : start + 1_000], training=False) for start in range(0, len(images), 1_000)]
    return np.concatenate([np.asarray(piece) for piece in pieces])


def accuracy(network, data=test):
    """Return the percentage of digits whose highest score is at the right class."""
    return 100 * float((scores_of(network, data.images).argmax(axis=1) == data.labels).mean())


histories = []

# %% [markdown]
# The weights after the first epoch are kept: a method below goes back to them.

# %%
keras.utils.set_random_seed(course.seed)
lenet = lenet5(activation="relu", pooling="max")
histories.append(fit(lenet, train_digits, epochs=1))
early = lenet.get_weights()
train(lenet, EPOCHS)
trained = lenet.get_weights()
lenet_accuracy = accuracy(lenet)
expect("LeNet-5: test, %", lenet_accuracy, full=(98.5, 99.5), quick=(60, 100))

# %% [markdown]
# ## 2. Distillation: what a wrong answer knows
#
# A label says that a digit is a 7 and nothing else. A trained network says more. It may say: a 7, perhaps a 1, hardly
# a 9, and certainly no 6. Which wrong answers it finds likely is knowledge about digits. Hinton called it **dark
# knowledge** in a talk of 2014. Hinton, Vinyals and Dean (2015) had a small network learn it from a large one; today
# these are called **student** and **teacher**.
#
# A trained teacher is so sure that this knowledge hides in tiny numbers. So divide all scores by a **temperature** T
# before the softmax. By hand, with three scores 6, 2 and 0: the exponentials are 403, 7.4 and 1, so the probabilities
# are 0.980, 0.018 and 0.002. At T = 4 the scores are 1.5, 0.5 and 0, the exponentials 4.48, 1.65 and 1, the
# probabilities 0.628, 0.231 and 0.140. The order is the same, and the second is now seen.


# %% tags=["nbval-check-output"]
def softened(scores, temperature):
    """Return the softmax of scores (…, classes) at a temperature."""
    powers = np.exp((scores - np.max(scores, axis=-1, keepdims=True)) / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


for temperature in (1, 4):
    print(f"T = {temperature}:", softened(np.array([6.0, 2.0, 0.0]), temperature).round(3))

# %% [markdown]
# Now the teacher, our LeNet-5, on digits that it has not learned from. For each digit, take away the right answer and
# look how the teacher shares out the rest.

# %%
teacher_scores = scores_of(lenet, validation.images)
soft = softened(teacher_scores, 4)
soft[np.arange(len(soft)), validation.labels] = 0
soft /= soft.sum(axis=1, keepdims=True)
dark = np.stack([soft[validation.labels == label].mean(axis=0) for label in range(10)])
expect("of the rest for a 4, share that goes to 9", dark[4, 9], full=(0.1, 0.6), quick=(0.05, 1))
expect("of the rest for a 4, share that goes to 0", dark[4, 0], full=(0, 0.15), quick=(0, 1))

# %%
figure, axes = plt.subplots(figsize=(5.4, 4.6), layout="constrained")
image = axes.imshow(100 * dark, cmap="viridis")
axes.set(xlabel="wrong answer", ylabel="right answer", xticks=range(10), yticks=range(10))
figure.colorbar(image, label="share of the wrong answers (%)")
plots.show(
    figure,
    caption="How the teacher shares out what it does not give to the right answer, at temperature 4: the mean over the "
    "validation digits of each class. Each row sums to 100 %.",
    alt="A grid of ten rows, the right digits, by ten columns, the wrong ones, coloured by the share that the teacher "
    "gives to each wrong digit.",
)

# %% [markdown]
# Digits that look alike stand out. No label told the teacher that a 4 is like a 9.
#
# ### The loss
#
# The student minimizes
#
# h · cross-entropy with the label + (1 − h) · T² · cross-entropy with the teacher's answer.
#
# In the second term the scores of teacher and student are divided by T; in the first T is 1. The weight h of the label
# is 0.1 here. Why T²? The gradient of the soft part by a score is
# (student's probability − teacher's) / T, and at high T both probabilities are nearly equal for all classes, with
# differences that shrink as 1 / T as well. So the gradient shrinks as 1 / T², and T² keeps the two parts in proportion
# when T changes.
#
# For one digit, written out, and then by the library. The library's targets are the label, followed by the teacher's
# scores, since the teacher need answer only once.

# %%
from course_lib.compression.distill import SoftTargetLoss, label_accuracy, with_scores

T, HARD = 4.0, 0.1
teachers, students, label = np.array([6.0, 2.0, 0.0]), np.array([1.0, 2.0, -1.0]), 0
hard_part = -np.log(softened(students, 1)[label])
soft_part = -(softened(teachers, T) * np.log(softened(students, T))).sum()
by_hand = HARD * hard_part + (1 - HARD) * T**2 * soft_part
by_library = float(SoftTargetLoss(T, HARD)(np.array([[label, *teachers]], "float32"), students[None].astype("float32")))
expect("loss by hand, less the library's", by_hand - by_library, full=(-1e-4, 1e-4), quick=(-1e-4, 1e-4))

# %% [markdown]
# Keras has a `Distiller`, a model around teacher and student. Two things to know before you use it. It computes the
# teacher anew for each batch of each epoch. And its default loss, `"kl_divergence"`, works on scores as if they were
# probabilities, without a word: give it `keras.losses.KLDivergence()`. The divergence differs from our cross-entropy by
# the teacher's entropy, which no student can change, so both have the same gradient. Let us hold them together on one
# digit.

# %%
given = np.stack([teachers, students]).astype("float32")[:, None]
part = keras.distillation.LogitsDistillation(temperature=T, loss=keras.losses.KLDivergence())
divergence = float(part.compute_loss(given[0], given[1])) / T**2
entropy = -(softened(teachers, T) * np.log(softened(teachers, T))).sum()
expect(
    "Keras' divergence + entropy, less our part",
    divergence + entropy - soft_part,
    full=(-1e-4, 1e-4),
    quick=(-1e-4, 1e-4),
)

# %% [markdown]
# ### The student
#
# The student is a small LeNet-5: 3 and 6 maps where the teacher has 6 and 16, 16 units in one hidden layer, and the
# tanh and average pooling of 1998, where the teacher has ReLU and max pooling. By hand, 3 · (25 + 1) = 78, 6 · (75 + 1)
# = 456, (6 · 25 + 1) · 16 = 2,416 and (16 + 1) · 10 = 170, together 3,120: a twentieth of the teacher.


# %%
def student_network():
    """Return a LeNet-5 with few maps, scores out."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(3, 5, padding="same", activation="tanh", name="C1"),
            layers.AveragePooling2D(2, name="S2"),
            layers.Conv2D(6, 5, activation="tanh", name="C3"),
            layers.AveragePooling2D(2, name="S4"),
            layers.Flatten(name="flatten"),
            layers.Dense(16, activation="tanh", name="F6"),
            layers.Dense(10, name="output"),
        ],
        name="student",
    )


expect("parameters of the student", student_network().count_params(), exactly=78 + 456 + 2_416 + 170)

# %% [markdown]
# A fair comparison changes one thing. Each pair of students begins with the same weights, sees the same digits for the
# same number of steps, and differs only in what it is told: the label, or the teacher's answer as well. Five pairs,
# once with few digits and once with all. The teacher has learned from all of them in both cases. The rate was chosen
# for each kind on the validation digits, among 0.002, 0.005, 0.01 and 0.02: with the teacher 0.02; with labels alone
# 0.02 for few digits and 0.01 for all.

# %%
PAIRS, FEW = course.size(quick=(1, 500), full=(5, 2_000))
SCHOOLS = {  # digits, epochs, and the rate for labels alone
    f"{FEW:,} digits": (train_digits.take(0, FEW), course.size(quick=2, full=20), 2e-2),
    "all digits": (train_digits, course.size(quick=1, full=2), 1e-2),
}  # fmt: skip


answers = scores_of(lenet, train_digits.images)


def teach(network, epochs, examples=train_digits, rate=2e-3, temperature=T):
    """Train the network on labels and the answers of `lenet` to the first training digits, and return it."""
    targets, loss = with_scores(examples, answers[: len(examples)]), SoftTargetLoss(temperature, HARD)
    return train(network, epochs, targets, rate, loss=loss, metrics=[label_accuracy])


def first_student(seed):
    """Return a student with first weights by `seed`."""
    keras.utils.set_random_seed(seed)
    return student_network()


# %% [markdown]
# Which temperature? The validation digits chose 16 in a trial with seed 0, with one student for each temperature, and
# we keep it. Here is such a trial with this seed, at one rate for all. One student each cannot tell close temperatures
# apart, and another seed may prefer another one.

# %%
STUDENT_T, TAUGHT_RATE, SEED = 16, 2e-2, 1_000 * (course.seed + 1)
few_digits, few_epochs, _ = SCHOOLS[f"{FEW:,} digits"]
swept = {}
for temperature in course.size(quick=(16,), full=(1, 4, 16)):
    student = teach(first_student(SEED), few_epochs, few_digits, TAUGHT_RATE, temperature)
    swept[temperature] = accuracy(student, validation)
    expect(f"student taught at T = {temperature}, validation, %", swept[temperature], full=(92, 97.5), quick=(5, 100))

# %%
apart = {}  # (digits, seed): accuracy by labels, accuracy by the teacher
for name, (examples, epochs, rate) in SCHOOLS.items():
    for pair in range(PAIRS):
        by_labels = train(first_student(SEED + pair), epochs, examples, rate)
        by_teacher = teach(first_student(SEED + pair), epochs, examples, TAUGHT_RATE, STUDENT_T)
        apart[name, pair] = accuracy(by_labels), accuracy(by_teacher)

# %% [markdown]
# The pairs share first weights and digits, so compare within pairs: the gain of each, then their mean. Half of a 95 %
# interval is 2.78 standard errors for five pairs (chapter 06, section 6). If the interval holds 0, these pairs do not
# show that the teacher helps.


# %%
def standard_error(values):
    """Return the standard error of the mean, 0 for a single value."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0


for name in SCHOOLS:
    labels_only, taught = np.transpose([apart[name, pair] for pair in range(PAIRS)])
    gains = taught - labels_only
    print(f"{name}: gains of the pairs {gains.round(2)}")
    expect(f"{name}: student by labels, %", labels_only.mean(), full=(90, 98.8), quick=(5, 100))
    expect(f"{name}: student by the teacher, %", taught.mean(), full=(92, 98.8), quick=(5, 100))
    expect(f"{name}: gain, points", gains.mean(), full=(-0.5, 4), quick=(-100, 100))
    expect(f"{name}: standard error of the gain", standard_error(gains), full=(0, 1), quick=(0, 100))

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
left.plot(list(swept), list(swept.values()), "o-", color=plots.COLOURS[0])
left.set(xscale="log", xlabel="temperature", ylabel=f"validation accuracy (%), {FEW:,} digits")
left.set_xticks(list(swept), list(swept))
for place, name in enumerate(SCHOOLS):
    for pair in range(PAIRS):
        right.plot([2 * place, 2 * place + 1], apart[name, pair], "o-", color=plots.COLOURS[place])
right.axhline(lenet_accuracy, color="black", linestyle="--", label="teacher")
right.set_xticks(range(4), [f"{told}\n{name}" for name in SCHOOLS for told in ("labels", "teacher")])
right.set(ylabel="test accuracy (%)")
right.legend()
plots.show(
    figure,
    caption="Left: students taught at different temperatures. Right: pairs of students, each joined by a line, taught "
    "by labels alone and by the teacher's answers; the dashed line is the teacher.",
    alt="Left, validation accuracy over temperature. Right, test accuracy of five pairs of students for few digits and "
    "five for all, joined by lines, below a dashed line for the teacher.",
)

# %% [markdown]
# Both claims are about the students of all digits. These had two epochs and the teacher nine, so part of the distance
# is training and not size. The best rate, 0.02, is the largest that was tried; a larger one may be better still.

# %%
claim("soft-targets-teach-more", gains.mean())
claim("student-comes-near-teacher", lenet_accuracy - taught.mean())

# %% [markdown]
# ## 3. Pruning: which weights do nothing?
#
# Look at the weights of C5, which has four fifths of them. Most are near 0, and a weight near 0 adds little to any sum.
# **Magnitude pruning** removes those: all weights whose size is below a threshold become 0.

# %%
figure, axes = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
weights_of_c5 = lenet.get_layer("C5").get_weights()[0].ravel()
axes.hist(weights_of_c5, bins=120, color=plots.COLOURS[0])
for threshold in np.quantile(np.abs(weights_of_c5), 0.9) * np.array([-1, 1]):
    axes.axvline(threshold, color="black", linestyle="--")
axes.set(xlabel="weight of C5", ylabel="weights")
plots.show(
    figure,
    caption="The 48,000 weights of C5 after training. Nine tenths of them lie between the dashed lines.",
    alt="A histogram of the weights of C5 around 0, with two dashed lines that hold nine tenths of the weights between "
    "them.",
)

# %% [markdown]
# By hand for one layer: find the size below which half of the weights of C3 lie, set those to 0, count. The library
# ranks the kernels of all layers together, since a weight is small or large whatever its layer. A **mask** says which
# stay, True, and which go.

# %%
from course_lib.compression.prune import magnitude_masks, prune, sparsity

kernel = lenet.get_layer("C3").get_weights()[0]
mask = np.abs(kernel) > np.median(np.abs(kernel))
print(f"C3: kernel {kernel.shape}, {mask.sum():,} of {mask.size:,} weights stay")
assert np.array_equal(mask, magnitude_masks(lenet, {"C3": 0.5})["C3"])

# %% [markdown]
# `prune` sets the others to 0 and holds them there: the mask becomes a constraint of the kernel, and every optimizer of
# Keras applies constraints after its step. So a pruned network can be trained on. What is left is counted from the
# weights: `factor` is all parameters over those that are not 0. Biases are never removed. With 92.5 % of the kernels'
# weights gone, 4,610 of these and 236 biases are left, and 61,706 / 4,846 = 12.7.


# %%
def copy_of(network_weights):
    """Return a LeNet-5 with these weights."""
    network = lenet5(activation="relu", pooling="max")
    network.set_weights(network_weights)
    return network


SHARE, ROUNDS = 0.925, course.size(quick=1, full=4)
pruned = copy_of(trained)
prune(pruned, magnitude_masks(pruned, SHARE))
expect("compression factor at 92.5 %", sparsity(pruned).factor, full=(12.7, 12.8), quick=(12.7, 12.8))
expect("92.5 % removed, no training after, test, %", accuracy(pruned), full=(15, 85), quick=(5, 100))

# %% [markdown]
# A mask of the wrong shape, or for a layer that has no kernel, is refused before anything changes.

# %%
try:
    prune(pruned, {"C3": np.ones((5, 5))})
except ValueError as error:
    print(error)

# %% [markdown]
# ### Ways to remove the same weights
#
# The accuracy fell, and training the weights that are left brings much of it back. Three ways to do that:
#
# - **one-shot**: remove everything at once, then train;
# - **iterative** (Han and others, 2015): remove some, train, remove more, train. Here each round removes the same part
#   of what is left, with four rounds to 92.5 % 48 %, since 0.52⁴ ≈ 0.075, and one threshold serves all layers; Han and
#   others had one for each layer;
# - **iterative with rewinding**: after each removal the weights that stay go back and learn again, to their random
#   start in Frankle and Carbin (2019), to an early point in Frankle and others (2020), here to the end of the first
#   epoch. What pruning finds is then not the weights but which of them are worth training.
#
# **Gradual** pruning (Zhu and Gupta, 2017) is iterative with another schedule: much at first, little at the end. Here
# are the two schedules.

# %% tags=["nbval-check-output"]
from course_lib.compression.prune import cubic_shares, iterative_shares

for name, shares in (("iterative", iterative_shares(0.925, 4)), ("gradual", cubic_shares(0.925, 4))):
    print(f"{name:<10}", "  ".join(f"{100 * share:.1f} %" for share in shares))

# %% [markdown]
# A last way joins what we have: iterative, and the weights that are left are **taught** by the whole network, with its
# answers at temperature 4.
#
# All get 8 epochs in sum. So does a **dense** network that keeps all its weights, since more training alone may help,
# too. The iterative ways spend one epoch in each of the first three rounds and five in the last. Rewinding spends two
# in each and then throws the weights away, so its last network has learned for three epochs in all: the comparison is
# hard on it. The rate, 0.004, was chosen for the iterative way, taught, and is the same for all.

# %%
BUDGET = course.size(quick=1, full=8)  # epochs of each way, over all of its rounds
SHARES = iterative_shares(SHARE, ROUNDS)
late = [(share, 1) for share in SHARES[:-1]] + [(SHARE, BUDGET - ROUNDS + 1)]
even = [(share, BUDGET // ROUNDS) for share in SHARES]
WAYS = {"dense": [(0.0, BUDGET)], "one-shot": [(SHARE, BUDGET)], "iterative": late, "rewinding": even, "taught": late}
on_the_way, pruned_by = {}, {}  # the accuracy at each share, and the network at the end
for way in course.size(quick=("one-shot", "iterative", "taught"), full=tuple(WAYS)):
    network, on_the_way[way] = copy_of(trained), {}
    for share, epochs in WAYS[way]:
        masks = magnitude_masks(network, share)
        network.set_weights(early if way == "rewinding" else network.get_weights())
        prune(network, masks)
        (teach if way == "taught" else train)(network, epochs, rate=4e-3)
        on_the_way[way][share] = accuracy(network)
    pruned_by[way] = network

# %%
lost_by = {way: lenet_accuracy - accuracy(network) for way, network in pruned_by.items()}
for way, points in lost_by.items():
    print(f"{way:<10}{sparsity(pruned_by[way]).factor:5.1f} times fewer parameters")
    expect(f"{way}: points lost", points, full=(-0.4, 1), quick=(-90, 90))
factors = [sparsity(network).factor for way, network in pruned_by.items() if way != "dense"]
expect("smallest factor", min(factors), full=(12.7, 14), quick=(12.7, 14))
claim("nine-tenths-can-go", lost_by["iterative"])

# %% [markdown]
# Points are counted from the network before pruning. At equal training the dense network is the fair reference: take
# its number off. There is one network of each kind, and a tenth of a point is ten digits, so small differences between
# the ways mean nothing.

# %% [markdown]
# ### Whose LeNet-5?
#
# Han and others (2015) removed eleven twelfths of the weights of "LeNet-5" and lost nothing. Theirs is not ours: it is
# the LeNet-5 that came with the program Caffe, with 20 and 50 maps and a dense layer of 500 units. By hand: 20 · 26 =
# 520, 50 · (500 + 1) = 25,050, 500 · (800 + 1) = 400,500 and 10 · 501 = 5,010, together 431,080, seven times as many.
# What is left of it after pruning would be more than half of our whole network. So prune theirs as well, in three
# rounds.


# %%
def wide_lenet():
    """Return the LeNet-5 that Han and others pruned, scores out."""
    pool = layers.MaxPooling2D
    parts = [layers.Conv2D(20, 5, activation="relu", name="conv1"), pool(2)]
    parts += [layers.Conv2D(50, 5, activation="relu", name="conv2"), pool(2)]
    parts += [layers.Flatten(), layers.Dense(500, activation="relu", name="hidden"), layers.Dense(10, name="output")]
    return keras.Sequential([keras.Input((28, 28, 1)), *parts], name="wide_lenet")


keras.utils.set_random_seed(course.seed)
wide = wide_lenet()
expect("parameters of the wide LeNet-5", wide.count_params(), exactly=520 + 25_050 + 400_500 + 5_010)
PRACTICE = train_digits.take(0, course.size(quick=500, full=len(train_digits)))
train(wide, course.size(quick=1, full=3), PRACTICE, rate=1e-3)
wide_trained, wide_accuracy = wide.get_weights(), accuracy(wide)
for share in iterative_shares(SHARE, course.size(quick=1, full=3)):
    prune(wide, magnitude_masks(wide, share))
    train(wide, 1, PRACTICE, rate=1e-3)

# %%
expect("wide LeNet-5: test, %", wide_accuracy, full=(98.8, 99.5), quick=(5, 100))
expect("wide LeNet-5 pruned: factor", sparsity(wide).factor, full=(12.7, 14), quick=(12.7, 14))
expect("wide LeNet-5 pruned: points lost", wide_accuracy - accuracy(wide), full=(-0.4, 0.3), quick=(-90, 90))

# %% [markdown]
# A factor of compression means little without the size that one began with. (The two runs differ in rate and rounds as
# well, and there is no dense control for the wide one.)
#
# ### Further
#
# How far can one go with ours? Take the taught network, and remove more in rounds.

# %%
further = copy_of(pruned_by["taught"].get_weights())
for share in (0.98,):
    prune(further, magnitude_masks(further, share))
    teach(further, course.size(quick=1, full=2), rate=4e-3)
    on_the_way["taught"][share] = accuracy(further)
expect("98 % removed: test, %", on_the_way["taught"][share], full=(91, 98.5), quick=(5, 100))
expect("98 % removed: factor", sparsity(further).factor, full=(40, 45), quick=(40, 45))

# %%
figure, axes = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
for way, points in on_the_way.items():
    left_over = [100 * (1 - share) for share in points]
    axes.plot(left_over, list(points.values()), "o-" if len(points) > 1 else "s", label=way)
axes.set(xscale="log", xlabel="weights left (%)", ylabel="test accuracy (%)")
axes.set_xticks([100, 50, 20, 10, 5, 2], ["100", "50", "20", "10", "5", "2"])
axes.invert_xaxis()
axes.legend()
plots.show(
    figure,
    caption="Accuracy against what is left of the kernels' weights, each point after training. The dense network had "
    "as many epochs as the others.",
    alt="Test accuracy over the share of weights left, on a logarithmic axis that falls to the right: curves for the "
    "ways with rounds, single points for the dense network and for one-shot.",
)

# %% [markdown]
# ### Which layers were emptied?
#
# One threshold for all layers removes little where weights are large. Print what is left of each.

# %%
for layer in pruned_by["iterative"].layers:
    if layer.weights:
        found = sparsity(layer)
        print(f"{layer.name:<8} {found.kept:>6,} of {found.parameters:>6,} parameters, {100 * (1 - found.share):.0f} %")
share_of = {name: 1 - sparsity(pruned_by["iterative"].get_layer(name)).share for name in ("C1", "C5")}
expect("of C1 left, %", 100 * share_of["C1"], full=(30, 60), quick=(20, 100))
expect("of C5 left, %", 100 * share_of["C5"], full=(4, 8), quick=(1, 12))

# %% [markdown]
# ### Masks, and files
#
# Zeros are saved with the weights; the constraint is not. A network that is loaded and trained on without masks fills
# up again. `masks_of` finds the masks in the zeros.

# %%
import tempfile
from pathlib import Path

from course_lib.compression.prune import masks_of

temporary = tempfile.TemporaryDirectory()  # deleted when the kernel stops
folder = Path(temporary.name)
pruned_by["iterative"].save(folder / "pruned.keras")
loaded = keras.models.load_model(folder / "pruned.keras", compile=False)
prune(loaded, masks_of(loaded))
train(loaded, 1, train_digits.take(0, 500))
assert sparsity(loaded).factor >= sparsity(pruned_by["iterative"]).factor

# %% [markdown]
# ### What does a zero save?
#
# In an array, nothing: a zero takes four bytes like any number. To save memory, store only what is left and where it
# stands. **Compressed sparse rows** (CSR) keep for each weight its value and the number of its column, 8 bytes
# together, and for each row where it begins. By hand for C5, 120 rows of 400 with one weight in twenty left:
# 2,400 · 8 + 121 · 4 = 19,684 bytes, where the array has 192,000: a factor of 9.8 and not of 20. And it pays only where
# less than half is left, since an entry costs twice as much.

# %%
from course_lib.compression.prune import csr_bytes

sparse_bytes, dense_bytes = np.sum(
    [
        csr_bytes(kernel)
        for kernel in (layer.get_weights()[0] for layer in pruned_by["iterative"].layers if layer.weights)
    ],
    axis=0,
)
print(f"kernels as arrays {dense_bytes:,} bytes, as CSR {sparse_bytes:,}")
expect("kernels, array over CSR", dense_bytes / sparse_bytes, full=(5, 8), quick=(5, 8))

# %% [markdown]
# ## 4. The roofline: what can this machine do?
#
# Nine tenths of the work of a layer are gone. Is it ten times faster? First ask what makes a layer slow at all.
#
# A processor does two things at once: it computes, and it moves numbers between memory and itself. Each has a limit.
# Let the limits be R multiply–accumulates and B bytes a second. A layer that needs M multiply–accumulates and moves N
# bytes takes at least M / R seconds and at least N / B seconds, so at least the larger of the two. M / N is its
# **intensity**. Draw the rate that can be reached over the intensity: it rises with slope B until it meets R, and stays
# there. This is the **roofline** (Williams, Waterman and Patterson, 2009).
#
# R and B are measured: R with a product of two matrices of 2,048 × 2,048, which uses each number 2,048 times, and B
# with a copy of 256 MB, more than the caches of most machines.

# %%
from course_lib.analysis.roofline import Roofline, measure_bandwidth, measure_rate

machine = Roofline(measure_rate(), measure_bandwidth())
print(f"rate {machine.rate / 1e9:.0f} · 10⁹ multiply–accumulates a second")
print(f"bandwidth {machine.bandwidth / 1e9:.1f} · 10⁹ bytes a second")
print(f"the roof begins at {machine.ridge:.1f} multiply–accumulates a byte")
expect("ridge, multiply–accumulates a byte", machine.ridge, full=(0.5, 100), quick=(0.5, 100))

# %% [markdown]
# By hand, for two layers of AlexNet and one image. The third convolution: 13 · 13 places, 384 kernels of 3 · 3 · 256
# weights, 149.5 million multiply–accumulates. It moves its weights, 885,120 with biases, and its inputs, 13 · 13 · 256,
# and outputs, 13 · 13 · 384, 4 bytes each: 3.97 MB. Intensity: 37.6.
#
# The first dense layer: 9,216 · 4,096 = 37.7 million multiply–accumulates, and as many weights, each used once: 151
# MB. Intensity: 0.25. However fast the processor computes, this layer waits for its weights.

# %%
from course_lib.analysis.roofline import layer_loads
from course_lib.models.alexnet import alexnet

large = alexnet(groups=1)
loads = {load.name: load for load in layer_loads(large, batch_size=1)}
expect("intensity of conv3", loads["conv3"].intensity, full=(37.6, 37.7), quick=(37.6, 37.7))
expect("intensity of fc6", loads["fc6"].intensity, full=(0.249, 0.25), quick=(0.249, 0.25))

# %% [markdown]
# Now predict and measure. For each layer of AlexNet and one image, the roofline's least time stands beside the time of
# that layer alone, compiled. A call that computes nothing takes some time as well, measured too; it is taken off.
# Layers faster than a twentieth of a millisecond are left out, since that call would drown them.

# %%
from course_lib.analysis.roofline import call_overhead, layer_seconds

overhead = call_overhead()
photograph = np.random.default_rng(course.seed).random((1, *large.input_shape[1:]), "float32")
measured = layer_seconds(large, photograph, repeats=course.size(quick=5, full=20))
ratios = {}
print(f"a call of nothing: {1e6 * overhead:.0f} µs\n")
print(f"{'layer':<8}{'macs/byte':>10}{'limited by':>12}{'roof, ms':>10}{'measured, ms':>14}{'factor':>8}")
for name, load in loads.items():
    if measured[name] - overhead > 5e-5:
        ratios[name] = (measured[name] - overhead) / machine.seconds(load)
        limit = "arithmetic" if load.intensity > machine.ridge else "memory"
        print(
            f"{name:<8}{load.intensity:>10.2f}{limit:>12}{1e3 * machine.seconds(load):>10.3f}"
            f"{1e3 * (measured[name] - overhead):>14.3f}{ratios[name]:>8.2f}"
        )

# %%
learned = [name for name in ratios if loads[name].macs]
for kind, names in (("all layers", loads), ("layers with weights", learned)):
    foreseen = sum(machine.seconds(loads[name]) for name in names)
    taken = sum(measured[name] - overhead for name in names)
    print(f"{kind}: {1e3 * foreseen:.0f} ms by the roofline, {1e3 * taken:.0f} ms measured")
expect("largest factor, layers with weights", max(ratios[name] for name in learned), full=(0.5, 6), quick=(0.5, 20))
expect("smallest factor, layers with weights", min(ratios[name] for name in learned), full=(0.2, 3), quick=(0.1, 20))
claim("roofline-limits", max(*ratios.values(), 1 / min(ratios.values())))

# %% [markdown]
# The layers with weights stay near the roofline; some others do not. Those have no multiply–accumulates in our count,
# so they are charged for memory alone, although normalisation takes a power of every value and pooling compares. The
# claim is judged on all layers, so its verdict says as much about this count as about the roofline.
#
# A factor a little above 1 means that a layer does not reach the peak, or moves more than the least. A factor below 1
# means that a limit was measured too low for this layer, or that numbers were still in a cache. The bandwidth is that
# of a copy, and reading alone can be faster; the rate is NumPy's, and TensorFlow has its own routines.
#
# ### The picture
#
# Where would a layer have to go to be faster? Left of the ridge, fewer bytes help and fewer operations do not. Right of
# it, the other way round. Choose a number of images for each call. (The slider works in JupyterLab; the picture below
# stands for it.)

# %%
from ipywidgets import SelectionSlider, interact


def draw_roofline(batch_size):
    """Draw the roof of this machine and where the layers of AlexNet stand for so many images a call."""
    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    intensities = np.geomspace(0.05, 1_000)
    axes.plot(intensities, machine.attainable(intensities) / 1e9, color="black", label="roof")
    for place, load in enumerate(load for load in layer_loads(large, batch_size) if load.macs):
        colour = plots.COLOURS[place % len(plots.COLOURS)]
        marker = "s" if load.name.startswith("fc") else "o"
        axes.plot(load.intensity, machine.attainable(load.intensity) / 1e9, marker, color=colour, label=load.name)
        if batch_size == 1:
            axes.plot(load.intensity, load.macs / (measured[load.name] - overhead) / 1e9, "x", color=colour)
    axes.set(xscale="log", yscale="log", xlabel="intensity (multiply–accumulates a byte)")
    axes.set(ylabel="10⁹ multiply–accumulates a second", title=f"images a call: {batch_size}")
    axes.legend(ncols=2, fontsize=8)
    return figure


@interact(batch_size=SelectionSlider(options=[1, 2, 4, 8, 16, 32, 64, 128], description="images"))
def explore_roofline(batch_size):
    draw_roofline(batch_size)
    plt.show()


# %%
plots.show(
    draw_roofline(1),
    caption="The roof of this machine. Dots and squares: where each convolution and each dense layer of AlexNet could "
    "be at most, one image a call. Crosses: what was measured.",
    alt="A roof that rises with intensity and turns level, on two logarithmic axes; five dots and three squares on it "
    "for AlexNet's layers, the squares at low intensity, with crosses for what was measured.",
)

# %% [markdown]
# With 64 images a call each weight of `fc6` is used 64 times, and the dots of the dense layers climb the slope. This is
# one reason why training is done in batches, and why a single input is the hard case for a large dense layer.
#
# ### Sparse against dense
#
# Now the question from above. A dense layer of AlexNet's kind, 4,096 inputs and 4,096 units, with weights removed at
# random places. The array does all products, zeros and all. CSR does only those that are left, but it must read where
# each stands, fetch an input from that place, and cannot take weights in blocks. Both run on one thread.

# %%
from course_lib.analysis.sparse import sparse_times

SIDE = course.size(quick=1_024, full=4_096)
ZEROS = course.size(quick=(0.5, 0.9), full=(0.5, 0.7, 0.8, 0.9, 0.95, 0.98))
raced = {images: sparse_times(SIDE, SIDE, images, ZEROS, repeats=7) for images in course.size(quick=(1,), full=(1, 16))}
for images, times in raced.items():
    speed_up = dict(zip(ZEROS, times.dense / times.sparse, strict=True))
    print(
        f"{images} images a call: dense {1e3 * times.dense:.2f} ms; sparse pays from {100 * times.crossing:.0f} % zeros"
    )
    expect(f"{images} images: speed-up at 90 % zeros", speed_up[0.9], full=(1, 6), quick=(0.1, 20))

# %%
figure, axes = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
zeros = np.array(ZEROS)
axes.plot(100 * zeros, 1 / (1 - zeros), "k--", label="if only operations counted")
for images, times in raced.items():
    axes.plot(100 * zeros, times.dense / times.sparse, "o-", label=f"measured, images a call: {images}")
axes.axhline(1, color="grey", linewidth=1)
axes.set(yscale="log", xlabel="weights that are zero (%)", ylabel="speed-up over the dense layer")
axes.legend()
plots.show(
    figure,
    caption="Speed-up of a dense layer stored as CSR. The dashed line is what the number of operations promises; below "
    "the grey line the sparse layer is slower.",
    alt="Speed-up over the share of zeros: a dashed curve for the number of operations, and measured curves for 1 and "
    "16 images a call.",
)

# %%
claim("tenth-of-work-tenth-of-time", raced[1].dense / raced[1].sparse[ZEROS.index(0.9)])

# %% [markdown]
# The roofline suggests a reason. With one image the dense layer moves 4 bytes a weight, CSR 8 bytes for each that is
# left: with a tenth left a fifth of the bytes, so 5 times and not 10, if both come from memory. With 16 images the
# dense layer stands nearer to the ridge, and bytes saved count for less. The rest, blocks against single weights, we
# have not measured.
#
# ## 5. Filters that are really gone
#
# To be faster without a special format, remove what a dense machine sees: whole filters. A convolution with 3 instead
# of 6 filters is an ordinary convolution, and the next layer has half the inputs, too. **Structured** pruning does
# that. Li and others (2017) remove the filters whose weights have the smallest sum of sizes.
#
# The wide LeNet-5 has filters to spare. Remove half of those of both convolutions, and three quarters of the units.
# By hand, for its second convolution, 8 · 8 places: before, 50 maps of 5 · 5 · 20 weights, 64 · 50 · 500 = 1,600,000
# multiply–accumulates; after, 25 maps of 5 · 5 · 10 weights, 64 · 25 · 250 = 400,000. Half the outputs and half the
# inputs make a quarter.

# %%
from course_lib.compression.prune import filter_masks, remove_filters

prune(wide, {})
wide.set_weights(wide_trained)
slim = remove_filters(wide, filter_masks(wide, {"conv1": 0.5, "conv2": 0.5, "hidden": 0.75}))
slim_raw = accuracy(slim)
train(slim, course.size(quick=1, full=3), PRACTICE, rate=1e-3)
macs, slim_macs = ({cost.name: cost.macs for cost in layer_costs(network)} for network in (wide, slim))
print(f"parameters {wide.count_params():,} → {slim.count_params():,}")
print(f"multiply–accumulates {sum(macs.values()):,} → {sum(slim_macs.values()):,}")
expect("work of conv2, before over after", macs["conv2"] / slim_macs["conv2"], exactly=1_600_000 / 400_000)
expect("filters removed, before training, test, %", slim_raw, full=(20, 95), quick=(5, 100))
expect(
    "filters removed, after training: points lost", wide_accuracy - accuracy(slim), full=(-0.4, 0.5), quick=(-90, 90)
)

# %% [markdown]
# The filters that went were chosen by size. The widths that are left are those of a smaller network, and one may ask
# whether its weights are worth anything: would a network of that shape do as well from random weights? Liu and others
# (2019) found that it often does. Exercise 4 asks you to try.
#
# Is it faster? Time both: compiled, for 1,000 images and for one, on all cores.

# %%
import tensorflow as tf

from course_lib.analysis.roofline import median_seconds


def seconds_a_call(network, images):
    """Return the median time of a compiled call."""
    batch = tf.constant(images)
    compiled = tf.function(lambda x: network(x, training=False), autograph=False).get_concrete_function(batch)
    return median_seconds(lambda: compiled(batch), repeats=course.size(quick=10, full=50))


many = test.images[np.arange(1_000) % len(test)]
fewer_macs = sum(macs.values()) / sum(slim_macs.values())
print(f"{fewer_macs:.1f} times fewer multiply–accumulates")
SPEEDS = {1_000: (1.5, 5), 1: (0.9, 3)}  # bands of the speed-up
for count in SPEEDS:
    speed_up = seconds_a_call(wide, many[:count]) / seconds_a_call(slim, many[:count])
    expect(f"speed-up by removed filters, {count:,} images", speed_up, full=SPEEDS[count], quick=(0.3, 10))

# %% [markdown]
# No sparse format is needed. Where the speed-up is smaller than the work saved, likely reasons are activation and
# pooling, which count for more now, and narrow layers, which use the machine less well; with one image, the fixed cost
# of a call. We have not timed these apart.

# %% [markdown]
# ## 6. Quantization by hand
#
# A weight of 32 bits can tell four thousand million values apart. How few are enough? **Quantization** maps numbers to
# few, evenly spaced ones. With b bits and symmetric codes they are −(2ᵇ⁻¹ − 1) to 2ᵇ⁻¹ − 1, and the **step** is the
# largest magnitude over 2ᵇ⁻¹ − 1.
#
# By hand, with 4 bits and the weights 0.7, −0.33 and 0.04. Codes run from −7 to 7, the step is 0.7 / 7 = 0.1. The codes
# are 7, −3 and 0, and they stand for 0.7, −0.3 and 0. The errors are 0, 0.03 and −0.04: never more than half a step.

# %% tags=["nbval-check-output"]
from course_lib.compression.quantize import fit_quantizer

example = np.array([0.7, -0.33, 0.04])
step = np.abs(example).max() / (2**3 - 1)
codes = np.rint(example / step)
print("codes", codes.astype(int), " values", (codes * step).round(2), " errors", (codes * step - example).round(2))
quantizer = fit_quantizer(example, bits=4)
assert np.array_equal(quantizer.encode(example), codes)

# %% [markdown]
# Activations after a ReLU are never negative, and half of the symmetric codes would be idle. So they get an **affine**
# quantizer: codes 0 to 2ᵇ − 1 from the smallest value to the largest, with a **zero point**, the code that stands for
# 0. Zero must be hit exactly, since padding is made of zeros. The example has a negative value, so that the zero point
# is not 0.

# %% tags=["nbval-check-output"]
affine = fit_quantizer(np.array([-0.5, 1.0]), bits=2, symmetric=False)
print(f"step {affine.step}, zero point {affine.zero_point}, codes {affine.encode([-0.5, 0, 0.4, 1])}")
print("values", affine(np.array([-0.5, 0, 0.4, 1])))

# %%
try:
    fit_quantizer(example, bits=1)
except ValueError as error:
    print(error)

# %% [markdown]
# ### The error as noise
#
# Where a value lies within its step looks random. If it is spread evenly, the error e is anywhere between −step / 2 and
# step / 2, and its mean square is the mean of e² over that range, **step² / 12** (Bennett, 1948). Each bit less about
# doubles the step and quadruples the noise: 6 decibels. It is a little more at few bits, since the step goes with
# 1 / (2ᵇ⁻¹ − 1): from 8 bits to 4, 20 · log₁₀(127 / 7) / 4 = 6.3 decibels a bit.
#
# Check it on the weights of C5.

# %%
kernel = lenet.get_layer("C5").get_weights()[0]
for bits, band in ((8, (0.9, 1.1)), (6, (0.9, 1.1)), (4, (0.9, 1.1)), (2, (0.2, 0.7))):
    quantizer = fit_quantizer(kernel, bits)
    ratio = float(((quantizer(kernel) - kernel) ** 2).mean() / (quantizer.step**2 / 12))
    expect(f"C5 at {bits} bits: mean square error over step² / 12", ratio, full=band, quick=(0.1, 1.5))

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.2), layout="constrained", sharey=True)
for axes, bits in ((left, 8), (right, 2)):
    quantizer = fit_quantizer(kernel, bits)
    axes.hist(((quantizer(kernel) - kernel) / quantizer.step).ravel(), bins=40, color=plots.COLOURS[0])
    axes.set(xlabel="rounding error (steps)", title=f"{bits} bits")
left.set(ylabel="weights of C5")
plots.show(
    figure,
    caption="The rounding errors of the weights of C5, in steps, at 8 bits and at 2 bits.",
    alt="Two histograms of rounding errors from minus a half to a half step, for 8 bits and for 2 bits.",
)

# %% [markdown]
# At 2 bits most weights are rounded to 0, and the error of such a weight is minus itself. It is no longer spread evenly
# over the step, and step² / 12 says too much. So the model has a limit that can be seen before it is used.
#
# ## 7. Noise through the layers
#
# What do these errors do to the scores? To first order, each error e of a quantity q moves a score by e · ∂score/∂q. If
# errors are independent with mean 0, the variances add up:
#
# variance of a score = Σ (∂score/∂q)² · step² / 12.
#
# By hand for the last layer. A score is Σ w · x + b, so ∂score/∂w is x, and the noise by the weights of one unit is
# step² / 12 · Σ x². All ten units have the same x; with one step for the whole layer the noise is the same for all of
# them.

# %%
from course_lib.compression.quantize import quantize_network, score_noise

some = test.images[: course.size(quick=50, full=100)]
scores = scores_of(lenet, some)
only_weights = quantize_network(lenet, some, weight_bits=6, activation_bits=None, per_channel=False)
entering = scores_of(keras.Model(lenet.inputs, lenet.layers[-2].output), some)
last = lenet.layers[-1]
of_weights = fit_quantizer(last.get_weights()[0], 6).step ** 2 / 12 * (entering**2).sum(axis=1)
by_library = score_noise(only_weights, some)[f"{last.name} weights"][:, 0]
expect(
    "noise by hand over the library's",
    float(of_weights.mean() / by_library.mean()),
    full=(0.99, 1.15),
    quick=(0.98, 1.3),
)

# %% [markdown]
# (The library leaves out weights that happen to be a code, such as the largest one, so it can be a little lower.)
#
# For weights we can do better. The error of an activation is another one for each image, so it is drawn, in a way. The
# error of a weight is the same for all images, and it is known as soon as the weight is rounded. So take the errors
# themselves: they shift a score by Σ e · ∂score/∂w, and the square of this shift stands in for the variance that the
# weights would give.
#
# Here are both, for all layers, weights and activations, from 8 bits to 2. Signal is the mean square of the scores,
# noise the mean square of their error. The range of each activation comes from these images themselves, since the model
# does not know values that are cut off.

# %%
from course_lib.compression.quantize import decibels, score_shift, signal_to_noise


def predictions(network):
    """Return the signal to noise that the model gives, with errors of weights drawn, and with the known ones."""
    variances = score_noise(network, some)
    of_activations = sum(variance for name, variance in variances.items() if name.endswith("inputs"))
    noises = sum(variances.values()), of_activations + score_shift(network, some) ** 2
    return [decibels(float((scores**2).mean()), float(noise.mean())) for noise in noises]


# %%
BITS = course.size(quick=(8, 4, 2), full=(8, 6, 5, 4, 3, 2))
SCHEMES = course.size(quick=("per channel",), full=("per channel", "per tensor"))  # a step for each, or one for all
decibels_of = {}  # (scheme, bits): predicted with drawn errors, with known ones, and measured
for scheme in SCHEMES:
    for bits in BITS:
        per_channel = scheme == "per channel"
        network = quantize_network(lenet, some, weight_bits=bits, activation_bits=bits, per_channel=per_channel)
        decibels_of[scheme, bits] = *predictions(network), signal_to_noise(scores, network.scores(some))

# %%
for bits in BITS:
    drawn, known, found = decibels_of["per channel", bits]
    print(f"{bits} bits: with drawn errors {drawn:5.1f} dB, with known ones {known:5.1f} dB, measured {found:5.1f} dB")
curves = np.array([decibels_of["per channel", bits] for bits in BITS if bits >= 4])
worst_drawn, worst_difference = np.abs(curves[:, :2] - curves[:, 2:]).max(axis=0)
slope = (decibels_of["per channel", 8][2] - decibels_of["per channel", 4][2]) / 4
expect("8 to 4 bits, largest difference with drawn errors, dB", worst_drawn, full=(0, 3), quick=(0, 8))
expect("8 to 4 bits, largest difference, dB", worst_difference, full=(0, 1.5), quick=(0, 8))
expect("decibels a bit, 8 to 4 bits, measured", slope, full=(5.2, 7), quick=(4, 9))
claim("quantization-is-noise", worst_difference)

# %% [markdown]
# We began with drawn errors alone, and saw that one network's ratio may stray from that by two decibels. The known
# errors came after, as a second model and not as another reading of the first. Nothing in it was fitted.
#
# At 2 bits the errors are no longer small, and a slope tells little of what lies far away.
#
# Which layer makes the noise? For this, drawn errors are enough. Variances add up, so each source has its share.

# %%
six_bits = quantize_network(lenet, some, weight_bits=6, activation_bits=6)
shares_of_noise = {name: float(variance.mean()) for name, variance in score_noise(six_bits, some).items()}
total = sum(shares_of_noise.values())
for name, variance in shares_of_noise.items():
    print(f"{name:<15}{100 * variance / total:5.1f} % of the noise")

# %% [markdown]
# ## 8. How few bits are enough?
#
# Noise is harmless as long as it does not change which score is highest. Now the accuracy, on all test digits. The
# range of each activation comes from training digits, as it must in use: a test digit may go beyond, and is cut off.

# %%
quantized_accuracy = {}
ranges = train_digits.images[:1_000]
for scheme in SCHEMES:
    for bits in BITS:
        per_channel = scheme == "per channel"
        network = quantize_network(lenet, ranges, weight_bits=bits, activation_bits=bits, per_channel=per_channel)
        right = network.scores(test.images).argmax(axis=1) == test.labels
        quantized_accuracy[scheme, bits] = 100 * float(right.mean())
lost = {bits: lenet_accuracy - quantized_accuracy["per channel", bits] for bits in BITS}
LIMITS = {8: (-0.2, 0.3), 6: (-0.2, 0.3), 5: (-0.2, 0.5), 4: (-0.3, 1.5), 3: (0, 8), 2: (10, 95)}  # bands, in points
for bits in BITS:
    expect(f"{bits} bits: points lost", lost[bits], full=LIMITS[bits], quick=(-50, 100))

# %%
claim("eight-bits-are-nearly-free", lost[8])
claim("four-bits-cost-little", lost[4])


# %%
def draw_bits(bits):
    """Draw the accuracy over the bits, signal to noise over the bits, and a kernel of C1 at these bits."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for scheme, colour in zip(SCHEMES, plots.COLOURS, strict=False):
        left.plot(BITS, [quantized_accuracy[scheme, each] for each in BITS], "o-", color=colour, label=scheme)
        _, predicted, found = np.transpose([decibels_of[scheme, each] for each in BITS])
        middle.plot(BITS, predicted, "--", color=colour, label=f"{scheme}, predicted")
        middle.plot(BITS, found, "o", color=colour, label=f"{scheme}, measured")
    for axes in (left, middle):
        axes.axvline(bits, color="grey", linewidth=1)
        axes.set(xlabel="bits of weights and activations")
        axes.legend(fontsize=8)
    left.set(ylabel="test accuracy (%)")
    middle.set(ylabel="signal to noise of the scores (dB)")
    kernel = lenet.get_layer("C1").get_weights()[0]
    right.imshow(fit_quantizer(kernel, bits, per_channel=True)(kernel)[:, :, 0, 0], cmap="gray")
    right.set(title=f"first kernel of C1, {bits} bits", xticks=[], yticks=[])
    return figure


# %% [markdown]
# Choose the bits. (The slider works in JupyterLab; the picture below stands for it.)

# %%
from ipywidgets import IntSlider


@interact(bits=IntSlider(value=4, min=2, max=8))
def explore_bits(bits):
    draw_bits(bits)
    plt.show()


# %%
plots.show(
    draw_bits(3),
    caption="Left: test accuracy over the bits, with one step for each channel and with one for each kernel. Middle: "
    "signal to noise of the scores, predicted and measured. Right: a kernel of C1 at 3 bits.",
    alt="Three panels: accuracy over bits, signal to noise over bits with predicted lines and measured dots, and a "
    "kernel of five by five in a few shades of grey.",
)

# %% [markdown]
# ## 9. Eight bits in earnest: LiteRT
#
# So far floats were only rounded to what integers can hold. LiteRT (once TensorFlow Lite) runs networks on phones, and
# has routines that multiply 8-bit integers and add them in 32 bits. A file for it is made by a converter, which needs a
# **representative set**: inputs from which it takes the range of each activation. With our settings everything is then
# an integer, input and output too.
#
# After the export the file is loaded afresh and judged by its own answers. A conversion that went wrong gives a file
# all the same.

# %%
from course_lib.compression.deploy import LiteNetwork, export

files = {
    "LiteRT, float32": LiteNetwork(export(lenet, folder / "float.tflite")),
    "LiteRT, int8": LiteNetwork(export(lenet, folder / "int8.tflite", train_digits.images[:300])),
}
exported = {}
for name, file in files.items():
    exported[name] = 100 * float((file.predict(test.images).argmax(axis=1) == test.labels).mean())
    print(f"{name}: {file.size:,} bytes, test accuracy {exported[name]:.2f} %")
size_factor = files["LiteRT, float32"].size / files["LiteRT, int8"].size
expect("float file over int8 file, bytes", size_factor, full=(3.5, 4), quick=(3.5, 4))
expect("float file: points lost", lenet_accuracy - exported["LiteRT, float32"], full=(-0.05, 0.05), quick=(-0.2, 0.2))
expect("int8 file: points lost", lenet_accuracy - exported["LiteRT, int8"], full=(-0.2, 0.2), quick=(-3, 3))

# %% [markdown]
# The file is not 4 times smaller, since it also holds the list of layers, the steps, and biases of 32 bits. In a small
# network that counts. A step for each channel costs 12 bytes or more; so the library asks for them in convolutions
# only, where they are few.
#
# What cannot be converted is refused, and the message says by which layer. So are inputs that the file does not know
# how to represent.

# %%
try:
    files["LiteRT, int8"].predict(255 * test.images[:1])
except ValueError as error:
    print(error)

# %% [markdown]
# ### How fast is one input?
#
# On a wearable one input comes at a time. Five ways to ask for it: the two files, on one thread; the Keras network
# compiled to one graph; called layer by layer; and `predict`.

# %%
from course_lib.compression.deploy import latencies

seconds_each = course.size(quick=0.1, full=0.5)
micro = latencies(lenet, files, test.images[:1], seconds=seconds_each)
for name, time in micro.items():
    print(f"{name:<18}{time:>10,.1f} µs")
expect(
    "Keras compiled over LiteRT float32, time",
    micro["Keras, compiled"] / micro["LiteRT, float32"],
    full=(2, 200),
    quick=(1, 500),
)
expect(
    "predict over LiteRT float32, time",
    micro["Keras, predict"] / micro["LiteRT, float32"],
    full=(100, 20_000),
    quick=(50, 50_000),
)
expect(
    "LeNet-5: LiteRT float32 over int8, time",
    micro["LiteRT, float32"] / micro["LiteRT, int8"],
    full=(0.3, 2),
    quick=(0.2, 5),
)

# %% [markdown]
# Keras may use all cores, LiteRT has one thread and gets its input encoded. What lies between them is mostly not
# arithmetic: `predict` sets up a data pipeline around one image, a call runs Python for each layer, the compiled graph
# still goes through TensorFlow's runtime, and LiteRT walks a flat list with memory laid out beforehand. We have timed
# the whole calls, not these parts.
#
# And int8 is hardly faster than float32 here: 416,520 multiply–accumulates are soon done either way; one likely reason
# is that each layer must scale its sums back to 8 bits. Does it pay for larger networks? Four convolutions with 3 · 3
# kernels on 32 × 32 maps, as wide as you like.


# %%
def convolutions(width):
    """Return four convolutions of so many maps, one after another, and ten scores."""
    stack = [layers.Conv2D(width, 3, padding="same", activation="relu") for _ in range(4)]
    return keras.Sequential(
        [keras.Input((32, 32, 3)), *stack, layers.GlobalAveragePooling2D(), layers.Dense(10)], name=f"width_{width}"
    )


WIDTHS = course.size(quick=(8, 32), full=(4, 8, 16, 32, 64, 128))
noisy = np.random.default_rng(course.seed).random((20, 32, 32, 3), "float32")
gain_of = {}
for width in WIDTHS:
    network = convolutions(width)
    pair = [LiteNetwork(export(network, folder / f"{width}.tflite", given)) for given in (None, noisy)]
    times = [median_seconds(lambda one=one, file=file: file.answer(one), repeats=course.size(quick=5, full=30))
             for file, one in ((file, file.encode(noisy[:1])) for file in pair)]  # fmt: skip
    work = sum(cost.macs for cost in layer_costs(network))
    gain_of[work] = times[0] / times[1]
    print(f"width {width:>3}: {work:>11,} macs, float32 {1e6 * times[0]:>8,.0f} µs, int8 {1e6 * times[1]:>8,.0f} µs")

# %%
figure = plots.curves(
    list(gain_of),
    {"float32 over int8": list(gain_of.values())},
    xlabel="multiply–accumulates an image",
    ylabel="speed-up by int8",
)
figure.axes[0].axhline(1, color="grey", linewidth=1)
figure.axes[0].set(xscale="log")
plots.show(
    figure,
    caption="Speed-up by 8-bit integers in LiteRT, one thread, for networks of four convolutions of growing width. "
    "Above the grey line integers are faster.",
    alt="Speed-up by int8 over the multiply–accumulates of a network on a logarithmic axis, with a line at 1.",
)
expect("widest network, speed-up by int8", list(gain_of.values())[-1], full=(0.5, 8), quick=(0.2, 10))
claim("integers-are-faster", list(gain_of.values())[-1])

# %% [markdown]
# The weights of these networks are random; only times are compared. By how much integers win depends on the processor:
# some have instructions that multiply four 8-bit integers in the place of one float.
#
# ## 10. All three on one network
#
# Distill, prune, quantize: can one do all of it, and in which order? What counts is what a device must hold and what it
# gets right. Size is that of the int8 file, and of the same file packed with zlib, which finds the zeros. Every line is
# judged by its file, loaded afresh.

# %%
import zlib

table = {}  # what was done: test accuracy %, bytes, packed bytes, µs an input


def ship(name, network):
    """Export the network in 8-bit integers, load the file, and put down what it is worth."""
    path = export(network, folder / "ship.tflite", train_digits.images[:300])
    file = LiteNetwork(path)
    right = 100 * float((file.predict(test.images).argmax(axis=1) == test.labels).mean())
    one = file.encode(test.images[:1])
    time = 1e6 * median_seconds(lambda: file.answer(one), repeats=1_000)
    table[name] = right, file.size, len(zlib.compress(path.read_bytes(), 9)), time


ship("LeNet-5, quantized", lenet)
ship("LeNet-5, pruned, quantized", pruned_by["iterative"])

# %% [markdown]
# **Quantize first, then prune**: round the kernels to 8 bits, then remove the smallest codes. There is no training
# after that, since training would leave the codes. So this line is no test of the order alone: the pruned network above
# was trained for eight epochs more. And the converter rounds once more, with other steps in the dense layers.

# %%
rounded = copy_of(trained)
for layer in rounded.layers:
    if layer.weights:
        layer.kernel.assign(fit_quantizer(layer.kernel, 8, per_channel=True)(layer.kernel))
prune(rounded, magnitude_masks(rounded, SHARE))
ship("LeNet-5, quantized, pruned", rounded)

# %% [markdown]
# **Distill first or prune first?** Both students have two phases of equal length. One is taught by the teacher, then
# loses half of its weights and trains on labels. The other is taught by labels, loses half, and the teacher comes then.
# Temperature and rate are those of section 2. It is one student each, the last pair of section 2.

# %%
half = course.size(quick=1, full=2)  # epochs of the second phase
ship("student, distilled, quantized", by_teacher)
for student in (by_teacher, by_labels):
    prune(student, magnitude_masks(student, 0.5))
ship("student, distilled, pruned, quantized", train(by_teacher, half, rate=1e-2))
ship("student, pruned, distilled, quantized", teach(by_labels, half, rate=TAUGHT_RATE, temperature=STUDENT_T))

# %%
print(f"{'':<40}{'test (%)':>9}{'bytes':>9}{'packed':>9}{'µs':>7}")
print(f"{'LeNet-5, float32':<40}{exported['LiteRT, float32']:>9.2f}{files['LiteRT, float32'].size:>9,}")
for name, (right, size, packed, time) in table.items():
    print(f"{name:<40}{right:>9.2f}{size:>9,}{packed:>9,}{time:>7.1f}")
    band = (15, 90) if name == "LeNet-5, quantized, pruned" else (95, 99.5)
    expect(f"{name}: file, test, %", right, full=band, quick=(5, 100))
same_time = table["LeNet-5, quantized"][3] / table["LeNet-5, pruned, quantized"][3]
expect("LiteRT: time of the whole network over that of the pruned", same_time, full=(0.6, 1.6), quick=(0.3, 3))
whole = len(zlib.compress(files["LiteRT, float32"].path.read_bytes(), 9))
smallest = min(packed for _, _, packed, _ in table.values())
expect("packed float file over the smallest packed file", whole / smallest, full=(30, 80), quick=(20, 100))

# %% [markdown]
# ## 11. What we measured
#
# Means and standard deviations over the recorded seeds, full profile, on the 10,000 test digits of MNIST.

# %%
from course_lib.records import mean_and_sd

for title, names in {
    "LeNet-5, test accuracy (%)": ["LeNet-5: test, %"],
    "pruned, and dense for as many epochs more, points lost": [f"{way}: points lost" for way in pruned_by],
    "students, test accuracy (%), and gain of the teacher (points)": [
        f"{name}: {what}"
        for name in SCHOOLS
        for what in ("student by labels, %", "student by the teacher, %", "gain, points")
    ],
    "points lost by quantization": [f"{bits} bits: points lost" for bits in BITS] + ["int8 file: points lost"],
    "files, test accuracy (%)": [f"{name}: file, test, %" for name in table],
}.items():
    print(f"\n{title}")
    for name in names:
        print(f"  {name:<58}{mean_and_sd(name)}")

# %%
print(
    f"{sum(history.seconds for history in histories):.0f} seconds of training in this run, {len(histories)} trainings"
)

# %% [markdown]
# ## 12. What the sources claim, and what we found

# %%
from IPython.display import Markdown

Markdown(course_lib.claims_table(chapter=8))

# %% [markdown]
# **A teacher helps most where digits are few.** With 2,000 digits its answers add about two points to the student's
# accuracy, with all digits about half a point. The student stays about a point and a half behind a teacher that is
# twenty times as large and was trained for longer.
#
# **Nine tenths of the weights can go, and what that costs depends on the size one began with.** Our LeNet-5 loses one
# to three tenths of a point with 92.5 % of its weights gone, the one that Han and others pruned loses nothing. The
# differences between the ways are too small for one network each. Two things are plain: without training afterwards
# the network is lost, and a dense network gains from the same training, so the true price is a little higher.
#
# **A tenth of the operations is not a tenth of the time.** Stored as CSR, a layer with 90 % zeros is a little more
# than twice as fast as the full one. LiteRT takes about as long for a pruned network as for a whole one. To remove
# whole filters pays: 3.9 times fewer operations are two to three times faster for 1,000 images.
#
# **The roofline foresees the layers that compute, and not the others.** Layers with weights are within a factor of
# three. Normalisation, pooling, and layers that do next to nothing are off by much more, since our count
# gives them no work; by the rule that was written before, the claim is not reproduced.
#
# **Eight bits are nearly free, and so are four; at two the network is lost.** How large the error of the scores is can
# be foreseen. From 8 bits to 4 the prediction of their signal to noise is right within one and a half decibels, if it
# takes the errors of the weights as they are. With errors drawn at random it is up to two decibels off: that is a mean
# over many networks, and each network strays from it.
#
# **Integers make every network smaller and large ones faster.** The file of LeNet-5 shrinks 3.7 times and takes as long
# as before. Networks with a hundred times the work run several times faster, on this processor.
#
# **All three together.** From the float file of LeNet-5 to the smallest packed file there is a factor of about fifty.
# Prune before you quantize, since pruning wants training afterwards. Between distilling first and pruning first one
# student each decides nothing.
#
# What holds for all of these numbers: one machine, whose times vary by a third from day to day, and digits, which are
# an easy task.
#
# ## 13. Exercises
#
# The sheet `exercises/08_compression.ipynb` has five questions. Hints open one at a time; `exercises/solutions/` has
# the answers. Six more to try right here:
#
# 1. By hand: how many bytes has a kernel of 1,000 × 1,000 weights as CSR with a tenth of its weights left? Check with
#    `csr_bytes`.
# 2. Prune each layer to the same share, with a mapping from names to 0.925, in place of one threshold for all. What is
#    lost, and in which layer is it lost?
# 3. Prune with the gradual schedule, `cubic_shares`, at the same budget. Where does it stand beside the other three?
# 4. Train a network of the shape of `slim` from random weights for as many epochs as `slim` had in all. Were the
#    filters that stayed worth keeping?
# 5. In section 7, take the ranges of activations from the first 1,000 training digits. At how many bits do prediction
#    and measurement part, and why?
# 6. Teach a student at T = 4 with h = 1, 0.5 and 0. What does the label add to the teacher?
#
# ## Further reading
#
# - G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", NIPS deep learning workshop, 2014,
#   arXiv:1503.02531.
# - S. Han, J. Pool, J. Tran, W. Dally, "Learning both weights and connections for efficient neural networks", *Advances
#   in Neural Information Processing Systems* 28, 2015. Iterative pruning; their LeNet-5 has 431,000 weights.
# - S. Han, H. Mao, W. Dally, "Deep compression: compressing deep neural networks with pruning, trained quantization and
#   Huffman coding", ICLR 2016.
# - J. Frankle, M. Carbin, "The lottery ticket hypothesis: finding sparse, trainable neural networks", ICLR 2019.
# - J. Frankle, G. K. Dziugaite, D. Roy, M. Carbin, "Linear mode connectivity and the lottery ticket hypothesis", ICML
#   2020. Rewinding to early weights.
# - M. Zhu, S. Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017,
#   arXiv:1710.01878. The gradual schedule.
# - H. Li, A. Kadav, I. Durdanovic, H. Samet, H. P. Graf, "Pruning filters for efficient ConvNets", ICLR 2017.
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell, "Rethinking the value of network pruning", ICLR 2019.
# - S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
#   architectures", *Communications of the ACM* 52(4):65–76, 2009.
# - W. R. Bennett, "Spectra of quantized signals", *Bell System Technical Journal* 27:446–472, 1948. step² / 12.
# - B. Widrow, I. Kollár, *Quantization noise*, Cambridge University Press, 2008. When rounding errors behave as noise.
# - B. Jacob, S. Kligys, B. Chen and others, "Quantization and training of neural networks for efficient
#   integer-arithmetic-only inference", CVPR 2018. The scheme from which LiteRT's grew.
# - Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", *Proceedings
#   of the IEEE* 86(11):2278–2324, 1998. LeNet-5 and MNIST.
