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
# # 00 Start here
#
# **You will be able to**
#
# - have a network read a digit, within a minute from now;
# - find your way through the course, its sheets and its hints;
# - say what the two profiles are, and which one you are in;
# - find out what is wrong when something is.
#
# | | |
# | --- | --- |
# | Before you start | a little Python |
# | Data | MNIST; without it, the 5,000 digits that ship |
# | Running time, two cores | under half a minute in either profile |
# | Sheet | none; the first sheet comes with chapter 01 |
# | Elsewhere | Binder builds from `environment.yml`; on Colab, clone the repository and `pip install -e .` |
#
# ## 1. Is everything there?
#
# Every chapter opens with this call. It settles what the numbers below depend on, and prints it: versions, device, the
# profile, the seed of all random choices, and whether the full data are on this machine.

# %%
import course_lib
from course_lib import expect

course = course_lib.setup(chapter=0)

# %% [markdown]
# If it fails, or if a number in the text is not the number on your screen, open a terminal and type `course doctor`.
# It also looks at memory, disk and data. To report a problem, send what it prints.
#
# ## 2. A network reads a digit
#
# A trained network ships with the course: LeNet-5, which chapter 01 builds and trains. It is a file of 270 kB.

# %%
import numpy as np

from course_lib import plots
from course_lib.datasets import load_digits
from course_lib.models.lenet import load_lenet5

digits = load_digits()
network = load_lenet5()

# %% [markdown]
# Take one digit that the network did not learn from. Ask for its ten scores, one a class. The highest score is its
# answer.

# %%
image = digits.test.images[0]
scores = network.predict(image[None], verbose=0)[0]
for digit, score in enumerate(scores):
    print(f"{digit}: {score:7.2f}", "  <- the answer" if digit == scores.argmax() else "")

# %%
plots.show(
    plots.image_grid([image], [f"read as {scores.argmax()}"], columns=1),
    caption="The digit, and what the network reads.",
    alt="A handwritten digit of 28 by 28 pixels with the network's answer above it.",
)
expect("the network's answer minus the label", scores.argmax() - digits.test.labels[0], exactly=0)

# %% [markdown]
# One digit is luck. How often is it right, over all digits that were kept apart for testing?

# %%
answers = network.predict(digits.test.images, batch_size=1_000, verbose=0).argmax(axis=1)
accuracy = float((answers == digits.test.labels).mean())
expect("the network that ships: test accuracy", accuracy, full=(0.978, 0.989), quick=(0.96, 0.99))

# %% [markdown]
# That line is a **check**. Every number that the text relies on is computed in a cell and held against a band. A
# failing check stops the chapter, on your machine and on ours. So if you got here, the text is true for you.
#
# The network learned from 3,600 digits only. In chapter 01 you train one on 55,000, and it makes far fewer mistakes.
# Here are some that this one makes.

# %%
wrong = np.flatnonzero(answers != digits.test.labels)[:8]
titles = [f"{digits.test.labels[i]}, read as {answers[i]}" for i in wrong]
plots.show(
    plots.image_grid(digits.test.images[wrong], titles),
    caption="The first eight test digits that it gets wrong: their label, and what it read.",
    alt="Eight handwritten digits that the network misread, some of them hard to read for a person too.",
)

# %% [markdown]
# ## 3. The map
#
# | chapter | what it is about |
# | --- | --- |
# | 00 | start here |
# | 01 | LeNet-5: convolution, pooling, weight sharing |
# | 02 | AlexNet, number for number |
# | 03 | receptive fields and depth |
# | 04 | heartbeats: LeNet in one dimension |
# | 05 | dilation, and a label for every pixel |
# | 06 | the art of training |
# | 07 | transfer |
# | 08 | compression |
# | 09 | robustness |
# | 10 | capstone: a monitor for heartbeats, and what came after AlexNet |
#
# Read a chapter from top to bottom and run each cell as you go (Shift and Enter). Before you run one, guess what it
# will print. A wrong guess is where you learn.
#
# ## 4. Two profiles
#
# The same cells run in two sizes.
#
# - **quick**: few samples, few steps, under a minute a chapter. It shows that everything works. Its numbers are rough.
# - **full**: the numbers of the text, under ten minutes a chapter on two cores. It needs the full data sets.
#
# The course chooses *full* where it finds the data, else *quick*. To choose yourself, set `COURSE_PROFILE` before you
# start Jupyter. `course data download` fetches the data sets; `COURSE_DATA_DIR` names a folder where you have them.

# %%
print("this is the", course.profile, "profile; it tests on", f"{len(digits.test):,} digits")
expect("test digits", len(digits.test), full=(10_000, 10_000), quick=(1_000, 1_000))

# %% [markdown]
# ## 5. Sheets and hints
#
# Each chapter from 01 on has an exercise sheet in `exercises/`. You write the missing lines; a test under each question
# tells you at once whether they are right, and if not, what went wrong. Hints open one at a time. The solutions lie
# in `exercises/solutions/`. Look there last.
#
# ## 6. Claims
#
# Five documents about LeNet and AlexNet claim many things: that one network trains six times faster, that pooling
# forgives shifts, that 90 % of the weights can go. This course turns each claim into an experiment, over at least
# three seeds. Sometimes the answer is: not reproduced here. `course claims` prints where we stand.

# %%
from IPython.display import Markdown

Markdown(course_lib.claims_table())

# %% [markdown]
# ## 7. What we measured
#
# | network | data | parameters | multiply–accumulates | test accuracy |
# | --- | --- | --- | --- | --- |
# | LeNet-5 that ships (ReLU, max) | 3,600 digits, 60 epochs, distorted | 61,706 | 416,520 | printed above |
#
# It was made by one command, with one seed, which its card `data/weights/lenet5.json` repeats.
#
# ## Further reading
#
# - Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
#   *Proceedings of the IEEE* 86(11):2278–2324, 1998.
# - A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet classification with deep convolutional neural networks",
#   *NeurIPS* 25, 2012.
#
# Next: chapter 01.
