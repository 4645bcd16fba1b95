"""Figures that more than one chapter draws, and :func:`show`, which stores the alt text. Introduced in chapter 00."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, Markdown, display
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from course_lib.analysis.diagnosis import confusion_counts

# Okabe and Ito's colours, told apart by colour-blind readers (Wong, Nature Methods 8, 2011).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=COLOURS)  # also where a chapter names no colour


def show(figure: Figure, *, caption: str, alt: str) -> None:
    """Display ``figure`` with its caption, store ``alt`` (what it shows, in words) in the notebook, and close it.

    Raises ValueError where caption or alt text is missing.
    """
    if not caption.strip() or not alt.strip():
        raise ValueError("every figure needs a caption and an alt text that says what it shows.")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", facecolor="white")
    plt.close(figure)
    display(Image(buffer.getvalue(), format="png", alt=alt), metadata={"image/png": {"alt": alt}})
    display(Markdown(f"*{caption}*"))


def image_grid(images: ArrayLike, titles: Sequence[str], *, columns: int = 8, signed: bool = False) -> Figure:
    """Draw images (n, h, w), (n, h, w, 1) or, in colour from 0 to 1, (n, h, w, 3) in rows with a title each.

    One channel is drawn grey, 0 white; ``signed`` centres a blue–white–red scale at 0, for filters and maps. Raises
    ValueError where images and titles differ in number.
    """
    pictures = np.asarray(images)
    if pictures.ndim == 4:
        pictures = pictures[..., 0] if pictures.shape[-1] == 1 else pictures.clip(0, 1)
    if len(pictures) != len(titles):
        raise ValueError(f"{len(pictures)} images need as many titles, not {len(titles)}.")
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.25 * columns, 1.5 * rows), squeeze=False, layout="constrained"
    )
    limit = float(np.abs(pictures).max(initial=1e-9)) if signed else float(pictures.max(initial=1e-9))
    for place in axes.flat:
        place.axis("off")
    for place, picture, title in zip(axes.flat, pictures, titles, strict=False):
        place.imshow(picture, cmap="RdBu_r" if signed else "gray_r", vmin=-limit if signed else 0, vmax=limit)
        place.set_title(title, fontsize=9)
    return figure


def kernel_grid(kernels: ArrayLike) -> Figure:
    """Draw the kernels (height, width, 3, maps) of a first layer in colour, each at its own scale, 0 as grey."""
    pictures = np.moveaxis(np.asarray(kernels), -1, 0)
    limits = np.abs(pictures).max(axis=(1, 2, 3), keepdims=True)
    return image_grid(0.5 + pictures / (2 * limits), [str(number) for number in range(len(pictures))])


def confusion_matrix(
    labels: ArrayLike, predicted: ArrayLike, classes: Sequence[str], *, unit: str = "images"
) -> Figure:
    """Draw how often each class (row) was taken for each (column); the diagonal is left pale, mistakes stand out."""
    counts = confusion_counts(labels, predicted, len(classes))
    mistakes = counts * (1 - np.eye(len(classes), dtype=int))
    figure, axes = plt.subplots(figsize=(6, 5.4), layout="constrained")
    picture = axes.imshow(mistakes, cmap="Blues")
    figure.colorbar(picture, label=f"mistakes ({unit})")
    for (row, column), count in np.ndenumerate(counts):
        dark = mistakes[row, column] > mistakes.max() / 2
        axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_xticks(range(len(classes)), classes, rotation=0 if max(map(len, classes)) < 3 else 60)
    axes.set_yticks(range(len(classes)), classes)
    return figure


def curves(x: ArrayLike, series: dict[str, ArrayLike], *, xlabel: str, ylabel: str, markers: bool = True) -> Figure:
    """Draw named curves over a common x, told apart by colour and by line style."""
    figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    for index, (name, y) in enumerate(series.items()):
        style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[index % len(STYLES)]}
        axes.plot(np.asarray(x), np.asarray(y), label=name, marker="o" if markers else None, **style)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def ecg_paper(
    strips: Sequence[ArrayLike],
    titles: Sequence[str],
    *,
    rate: float,
    marks: Sequence[Sequence[tuple[float, str]]] = (),
    weights: Sequence[ArrayLike] = (),
) -> Figure:
    """Draw strips of ECG (each (n,), mV, ``rate`` samples a second) as on paper: 25 mm a second, 10 mm a millivolt.

    A small square is 0.04 s by 0.1 mV. ``marks`` has for each strip what to write above which second; ``weights``, (n,)
    from 0 to 1 a strip, colours the trace by how much each sample counts. Raises ValueError where lengths differ.
    """
    signals = [np.asarray(strip, float) for strip in strips]
    for name, rows in (("titles", titles), ("marks", marks or signals), ("weights", weights or signals)):
        if len(rows) != len(signals):
            raise ValueError(f"{len(signals)} strips need as many {name}, not {len(rows)}.")
    low = min(-1.0, *(np.floor(signal.min() * 2) / 2 for signal in signals))
    high = max(1.5, *(np.ceil(signal.max() * 2) / 2 for signal in signals)) + 0.5
    seconds = max(map(len, signals)) / rate
    inches = (seconds * 25 / 25.4, (high - low) * 10 / 25.4)  # the size on paper
    figure, axes = plt.subplots(
        len(signals),
        figsize=(max(inches[0], 3.5) + 1.2, (inches[1] + 0.5) * len(signals) + 0.3),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    for row, (place, signal) in enumerate(zip(axes.flat, signals, strict=True)):
        place.set(xlim=(0, seconds), ylim=(low, high), ylabel="mV", aspect=0.4)  # 25 mm/s over 10 mm/mV
        place.set_xticks(np.arange(0, seconds, 0.04), minor=True)
        place.set_yticks(np.arange(low, high, 0.1), minor=True)
        ticks = np.arange(round(seconds * 5) + 1)
        place.set_xticks(ticks / 5, [f"{tick // 5}" if tick % 5 == 0 else "" for tick in ticks])
        place.set_yticks(np.arange(low, high + 1e-9, 0.5))
        place.grid(which="minor", color="#f3d3cf", linewidth=0.4)
        place.grid(which="major", color="#e3a79f", linewidth=0.7)
        place.tick_params(which="both", length=0)
        place.set_title(titles[row], fontsize=10, loc="left")
        time = np.arange(len(signal)) / rate
        if len(weights):
            points = np.stack([time, signal], axis=1)
            segments = list(np.stack([points[:-1], points[1:]], axis=1))
            lines = LineCollection(segments, cmap="viridis_r", linewidths=2)
            lines.set_array(np.asarray(weights[row])[1:])
            lines.set_clim(0, 1)
            place.add_collection(lines)
        else:
            place.plot(time, signal, color="black", linewidth=1)
        for second, text in marks[row] if len(marks) else ():
            place.text(second, high - 0.1, text, ha="center", va="top", fontsize=10)
    if len(weights):
        figure.colorbar(lines, ax=axes, label="size of the gradient (largest = 1)", shrink=0.7)
    axes.flat[-1].set_xlabel("time (s)")
    return figure
