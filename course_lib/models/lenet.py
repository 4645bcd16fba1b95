"""LeNet-5 twice: as it is taught, and as in the 1998 paper. Introduced in chapter 01."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from course_lib.models.layers import EverySecond, RadialBasis, SparseConv2D, Subsampling, fan_in_uniform, scaled_tanh
from course_lib.models.weights import WEIGHTS, load

# Table I of the paper: which of the six maps of S2 each of the sixteen maps of C3 sees.
C3_TABLE: tuple[tuple[int, ...], ...] = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# The paper draws each class as a bitmap of 7 × 12 pixels (Fig. 3). These ten are our own drawing in that format, a
# stand-in: the paper's bitmaps exist only as a picture of the whole ASCII set.
_BITMAPS = """
.#####. ...#... .#####. ####### ....#.. ####### ..####. ####### .#####. .#####.
##...## ..##... ##...## .....## ...##.. ##..... .##.... ##...## ##...## ##...##
#.....# .###... #.....# .....#. ..###.. #...... ##..... .....## #.....# #.....#
#.....# ...#... ......# ....##. ..#.#.. #...... #...... .....#. #.....# #.....#
#.....# ...#... .....## ...##.. .##.#.. #.####. #.####. ....##. ##...## #.....#
#.....# ...#... ....##. ..###.. .#..#.. ###..## ##...## ....#.. .#####. ##....#
#.....# ...#... ...##.. ....##. ##..#.. ......# #.....# ...##.. ##...## .######
#.....# ...#... ..##... .....## ####### ......# #.....# ...#... #.....# ......#
#.....# ...#... .##.... ......# ....#.. ......# #.....# ..##... #.....# ......#
#.....# ...#... ##..... #.....# ....#.. #.....# #.....# ..#.... #.....# .....##
##...## ...#... #...... ##...## ....#.. ##...## ##...## .##.... ##...## ....##.
.#####. .#####. ####### .#####. ....#.. .#####. .#####. .#..... .#####. .####..
"""


def digit_bitmaps() -> NDArray[np.float32]:
    """Return the target of each digit, +1 for ink and -1 for paper, shape (10, 84): 12 rows of 7 pixels, row by row."""
    rows = [line.split() for line in _BITMAPS.strip().splitlines()]
    ink = np.array([[list(pixels) for pixels in row] for row in rows]) == "#"  # (12, 10, 7)
    return np.where(ink.transpose(1, 0, 2).reshape(10, 84), 1, -1).astype("float32")


def lenet5(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    classes: int = 10,
    *,
    activation: str = "tanh",
    pooling: str = "average",
) -> keras.Sequential:
    """LeNet-5 as it is taught: two convolutions with pooling, then three dense layers; scores (logits) come out.

    61,706 parameters for (28, 28, 1) and 10 classes. ``pooling`` is ``"average"``, ``"max"``, or ``"none"``, which
    keeps one value of each 2 × 2 block, so that shapes and parameters stay. The first convolution pads 28 × 28 digits
    to the paper's 32 × 32. Raises ValueError for another pooling or for images too small for two poolings.
    """
    pools: dict[str, Any] = {
        "average": lambda name: layers.AveragePooling2D(2, name=name),
        "max": lambda name: layers.MaxPooling2D(2, name=name),
        "none": lambda name: EverySecond(name=name),
    }
    if pooling not in pools:
        raise ValueError(f"pooling is {pooling!r}; it must be one of {', '.join(pools)}.")
    if min(input_shape[:2]) < 12:
        raise ValueError(f"LeNet-5 needs images of at least 12 × 12 pixels, not {input_shape[0]} × {input_shape[1]}.")
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(6, 5, padding="same", activation=activation, name="C1"),
            pools[pooling]("S2"),
            layers.Conv2D(16, 5, activation=activation, name="C3"),
            pools[pooling]("S4"),
            layers.Flatten(name="flatten"),
            layers.Dense(120, activation=activation, name="C5"),
            layers.Dense(84, activation=activation, name="F6"),
            layers.Dense(classes, name="output"),
        ],
        name="lenet5",
    )


def lenet5_1998() -> keras.Sequential:
    """LeNet-5 as in the paper: digits (n, 28, 28, 1) in [0, 1] → penalties (n, 10), the smallest being the answer.

    Sparse C3, trainable sub-sampling, scaled tanh, and a radial-basis output with fixed centres. 60,000 trainable
    parameters: C1 156, S2 12, C3 1,516, S4 32, C5 48,120, F6 10,164.
    """
    squash = layers.Activation
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.ZeroPadding2D(2, name="pad"),
            # Paper and ink at -0.1 and 1.175, which makes mean 0 and variance 1, about (paper, II.B).
            layers.Rescaling(1.275, offset=-0.1, name="scale"),
            layers.Conv2D(6, 5, kernel_initializer=fan_in_uniform(25), name="C1"),
            squash(scaled_tanh, name="C1_squash"),
            Subsampling(name="S2"),
            squash(scaled_tanh, name="S2_squash"),
            SparseConv2D(C3_TABLE, 5, name="C3"),
            squash(scaled_tanh, name="C3_squash"),
            Subsampling(name="S4"),
            squash(scaled_tanh, name="S4_squash"),
            layers.Conv2D(120, 5, kernel_initializer=fan_in_uniform(400), name="C5"),
            squash(scaled_tanh, name="C5_squash"),
            layers.Flatten(name="flatten"),
            layers.Dense(84, kernel_initializer=fan_in_uniform(120), name="F6"),
            squash(scaled_tanh, name="F6_squash"),
            RadialBasis(digit_bitmaps(), name="output"),
        ],
        name="lenet5_1998",
    )


def load_lenet5(folder: Path = WEIGHTS) -> keras.Sequential:
    """Return the trained LeNet-5 (ReLU, max pooling) that ships; its card ``lenet5.json`` has the command that made it.

    Raises ValueError where card or weights are missing, or the weights are not those of the card.
    """
    return load("lenet5", lambda card: lenet5(activation=card["activation"], pooling=card["pooling"]), folder)
