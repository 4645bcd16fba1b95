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

# %% tags=["nbval-check-output"]
from course_lib.analysis.gradients import input_gradient

example, wanted = np.array([1.0, 2.0], "float32"), 3.0


def half_squared_error(parameters):
    """The loss of one unit as a function of its two weights and its bias."""
    u = keras.ops.sum(parameters[:2] * example) + parameters[2]
    return (keras.ops.relu(u) - wanted) ** 2 / 2


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
# Now take the examples from a distribution. Let the d inputs be independent and normal with mean 0 and deviation 1.
# Then w · x + b is a sum of normal variables. It is normal with mean b and deviation ‖w‖, the length of w.
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
# a χ² variable with d degrees of freedom. With d = 100 and s = 0.1, ‖w‖ is 1 ± 0.07. That looks harmless, but the
# power n makes much of it. So we need the mean over ‖w‖. First by drawing it a hundred thousand times, then by the
# library, which integrates.

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
axes.set(xlabel="bias (in lengths of a mean weight vector)", ylabel="dead units (%)")
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
from course_lib.datasets import load_digits

digits = load_digits()
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
    alt="Two falling S-shaped curves over the bias, one for each number of digits, with dots that follow them roughly.",
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

# %%
from course_lib.models.lenet import lenet5
from course_lib.training.loop import fit

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
RATES = (0.1, 0.3, 1, 3, 10, 30, 100)
first = part.take(0, 128)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
lenet.compile(optimizer=keras.optimizers.SGD(), loss=loss)
alive = {name: ~mask for name, mask in dead_over(lenet, digits.validation.images).items()}


def step_at(rate):
    """Set `lenet` to where one step at this rate leads."""
    lenet.set_weights(sound)
    lenet.optimizer.learning_rate = rate
    lenet.train_on_batch(first.images, first.labels)


fallen = []
for rate in RATES:
    step_at(rate)
    now = dead_over(lenet, digits.validation.images)
    fallen.append(100 * count({name: now[name] & alive[name] for name in now}) / count(alive))
    score = np.abs(lenet(first.images)).max()
    print(f"rate {rate:>5}: {fallen[-1]:4.1f} % of the units fall silent, largest score {score:,.0f}")

# %%
figure = plots.curves(RATES, {"silenced": fallen}, xlabel="rate of the one step", ylabel="units that fall silent (%)")
figure.axes[0].set(xscale="log", ylim=(0, 60))
figure.axes[0].set_xticks(RATES, RATES)
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
# What does go on growing are the scores. Each of the five layers multiplies by weights of the size of the step, so in
# the end they grow with the fifth power of the rate.
#
# We go on with the smallest of these rates that silences at least a quarter of the units on the validation digits.

# %%
chosen_rate = next(rate for rate, share in zip(RATES, fallen, strict=True) if share >= 25 or rate == RATES[-1])
step_at(chosen_rate)
damaged = lenet.get_weights()
dead["after the step"] = dead_over(lenet, part.images)
silenced = {name: mask & ~dead["before the step"][name] for name, mask in dead["after the step"].items()}
for name, mask in silenced.items():
    print(f"{name}: {mask.sum():>2} of {mask.size:>3} units silenced")
expect("rate of the step", chosen_rate, full=(3, 30), quick=(0.1, 100))
expect("units silenced by the step", count(silenced), full=(30, 120), quick=(1, 200))

# %% [markdown]
# ### Do they wake?
#
# Ordinary training follows: two epochs with Adam, on the same digits. To compare, the sound weights from before the
# step get the same training.
#
# And twice the damaged network goes on with **leaky ReLU** in place of ReLU, which lets a part of what is negative
# through: u if u > 0, else slope · u (Maas, Hannun and Ng, 2013). The gate is never quite shut, and a silent unit still
# has a small gradient. The authors' slope is 0.01. Keras takes 0.3 if one does not say. Here, too, a unit is awake if
# its input is positive for at least one digit.
#
# Of the rates 0.001, 0.003 and 0.01 for this training the last was best on the validation digits, tried with seed 0.

# %%
SLOPES = course.size(quick=(0.3,), full=(0.01, 0.3))
LEAKY = {f"leaky, slope {slope}": keras.layers.LeakyReLU(slope) for slope in SLOPES}
RUNS = {"no step": ("relu", sound), "ReLU": ("relu", damaged)}
RUNS |= {name: (activation, damaged) for name, activation in LEAKY.items()}
accuracy = {}


def right(network, data):
    """Return the share of the images whose class has the highest score, in percent."""
    return 100 * (network.predict(data.images, batch_size=1_000, verbose=0).argmax(axis=1) == data.labels).mean()


for name, (activation, start) in RUNS.items():
    repaired = lenet5(activation=activation, pooling="max")
    repaired.set_weights(start)
    history = fit(repaired, part, epochs=course.size(quick=1, full=2), learning_rate=0.01)
    dead[name] = dead_over(repaired, part.images)
    accuracy[name] = right(repaired, digits.validation), right(repaired, digits.test)

# %%
woken = {}
bands = {"ReLU": (5, 60), "leaky, slope 0.01": (0, 60), "leaky, slope 0.3": (50, 100)}
for name in ("ReLU", *LEAKY):
    awake = {layer: mask & ~dead[name][layer] for layer, mask in silenced.items()}
    woken[name] = 100 * count(awake) / count(silenced)
    print(f"{name}: {count(dead[name])} units dead in the end, test accuracy {accuracy[name][1]:.1f} %")
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
# For the ledger we take the slope with the better accuracy on the validation digits.

# %%
slope = max(LEAKY, key=lambda name: accuracy[name][0])
print("chosen:", slope)
claim("large-step-kills-units", 100 - woken["ReLU"])
claim("leaky-relu-revives", woken[slope])
claim("dead-units-cost-accuracy", accuracy[slope][1] - accuracy["ReLU"][1])
for name, band in {"no step": (97, 99.5), "ReLU": (85, 99), slope: (85, 99)}.items():
    name_of_check = "chosen slope" if name == slope else name
    expect(f"{name_of_check}: test accuracy in the end, %", accuracy[name][1], full=band, quick=(5, 100))
