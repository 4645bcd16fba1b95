"""Draw the picture of the README, overview.png: ``python notebooks/figures/overview.py``.

One digit of the sample goes through the LeNet-5 that ships: its maps of C1, its maps of C3, ten probabilities.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from course_lib import plots
from course_lib.datasets.digits import read_sample
from course_lib.models.lenet import load_lenet5

DIGIT = 4_794  # a test digit (they begin at 4,000) that the network reads with some doubt


def look_inside() -> dict[str, NDArray]:
    """Return the digit (28, 28), its maps of C1 (6, 28, 28) and C3 (16, 10, 10), and its probabilities (10,)."""
    image = read_sample()[0][DIGIT].astype("float32") / 255
    network = load_lenet5()
    stages = keras.Model(network.inputs, [network.get_layer(name).output for name in ("C1", "C3", "output")])
    first, second, scores = stages.predict(image[None], verbose=0)
    return {
        "digit": image[:, :, 0],
        "C1": first[0].transpose(2, 0, 1),
        "C3": second[0].transpose(2, 0, 1),
        "probabilities": np.asarray(keras.ops.softmax(scores[0])),
    }


def draw_maps(part: SubFigure, maps: NDArray, columns: int, title: str) -> None:
    """Draw maps (n, h, w) in rows; one grey scale for all of them, 0 white."""
    for axes, picture in zip(part.subplots(len(maps) // columns, columns, squeeze=False).flat, maps, strict=True):
        axes.imshow(picture, cmap="gray_r", vmin=0, vmax=maps.max())
        axes.set(xticks=[], yticks=[])
        for edge in axes.spines.values():
            edge.set_color("lightgrey")
    part.suptitle(title, fontsize=10)


def draw(seen: dict[str, NDArray]) -> Figure:
    """Draw the four stages from left to right."""
    figure = plt.figure(figsize=(11, 3.1), layout="constrained")
    parts = figure.subfigures(1, 4, width_ratios=[2.4, 2.1, 2.8, 3.2], wspace=0.04)
    draw_maps(parts[0], seen["digit"][None], 1, "a digit, 28 × 28 pixels")
    draw_maps(parts[1], seen["C1"], 2, "C1: 6 maps, 28 × 28")
    draw_maps(parts[2], seen["C3"], 4, "C3: 16 maps, 10 × 10")
    axes = parts[3].subplots()
    best = int(seen["probabilities"].argmax())
    colours = [plots.COLOURS[1] if digit == best else plots.COLOURS[0] for digit in range(10)]
    axes.bar(range(10), seen["probabilities"], color=colours)
    axes.set(xlabel="class", ylabel="probability", ylim=(0, 1.02), xticks=range(10))
    axes.spines[["top", "right"]].set_visible(False)
    parts[3].suptitle(f"read as {best}", fontsize=10)
    return figure


if __name__ == "__main__":
    target = Path(__file__).with_name("overview.png")
    # No date and no version of matplotlib inside: the same picture gives the same file.
    draw(look_inside()).savefig(target, dpi=110, facecolor="white", metadata={"Software": None})
    print(f"{target.name} written")
