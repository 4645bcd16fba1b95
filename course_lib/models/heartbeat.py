"""LeNet in one dimension: kernels that slide along time. Introduced in chapter 04.

Windows are (batch, samples, channels) in mV; scores (logits) come out, (batch, classes).
"""

from __future__ import annotations

import keras
from keras import layers

KERNEL = 5
PLACES = 5  # of the last convolution's input in LeNet-5, which its kernel of 5 covers


def field_of(pool: int) -> int:
    """Return how many samples LeNet-5 in one dimension sees: two convolutions of 5, each pooled, and five places.

    With pools of 2 that is the 32 of LeNet-5's images (LeCun et al. 1998); the general case is 5 pool² + 4 pool + 4.
    Raises ValueError for a pool below 1.
    """
    if pool < 1:
        raise ValueError(f"field_of(pool={pool}): a pool has at least 1 sample.")
    return (PLACES * pool + KERNEL - 1) * pool + KERNEL - 1


def lenet_1d(classes: int = 5, *, pool: int = 2, samples: int | None = None, channels: int = 1) -> keras.Sequential:
    """LeNet-5 as taught, with kernels of 5 samples: 6 maps, pool, 16 maps, pool, dense 120, 84, classes.

    ``samples`` is the window's length; by default what five places of the last map see, so that the number of
    parameters is the same for every ``pool`` and only the field grows. Raises ValueError where the window is too short.
    """
    samples = field_of(pool) if samples is None else samples
    least = (pool + KERNEL - 1) * pool + KERNEL - 1
    if samples < least:
        raise ValueError(f"lenet_1d(samples={samples}, pool={pool}): the window needs at least {least} samples.")
    return keras.Sequential(
        [
            keras.Input((samples, channels)),
            layers.Conv1D(6, KERNEL, activation="tanh", name="C1"),
            layers.AveragePooling1D(pool, name="S2"),
            layers.Conv1D(16, KERNEL, activation="tanh", name="C3"),
            layers.AveragePooling1D(pool, name="S4"),
            layers.Flatten(name="flatten"),
            layers.Dense(120, activation="tanh", name="C5"),
            layers.Dense(84, activation="tanh", name="F6"),
            layers.Dense(classes, name="output"),
        ],
        name="lenet_1d",
    )


def rhythm_network(classes: int = 5, *, samples: int, rhythm: int = 4, dropout: float = 0.3) -> keras.Model:
    """A convolutional network that also reads the rhythm: inputs ``windows`` (n, samples, 1), ``rhythm`` (n, rhythm).

    Three convolutions of 5 with ReLU (16, 32 and 64 maps), max pooling between them, then the rhythm joins the features
    for a dense layer of 64. Raises ValueError where the window is too short.
    """
    if samples < field_of(2):
        raise ValueError(f"rhythm_network(samples={samples}): the window needs at least {field_of(2)} samples.")
    windows = keras.Input((samples, 1), name="windows")
    intervals = keras.Input((rhythm,), name="rhythm")
    maps = windows
    for number, filters in enumerate((16, 32, 64), start=1):
        maps = layers.Conv1D(filters, KERNEL, activation="relu", name=f"conv{number}")(maps)
        maps = layers.MaxPooling1D(2, name=f"pool{number}")(maps) if number < 3 else maps
    features = layers.Dropout(dropout, name="dropout")(layers.Flatten(name="flatten")(maps))
    scaled = layers.Rescaling(5.0, name="scale")(intervals)  # logarithms of ratios, to a deviation of about 1
    hidden = layers.Dense(64, activation="relu", name="dense")(layers.Concatenate(name="join")([features, scaled]))
    return keras.Model([windows, intervals], layers.Dense(classes, name="output")(hidden), name="rhythm_network")
