"""Figures that more than one chapter draws, and :func:`show`, which stores the alt text. Introduced in chapter 00."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

# Okabe and Ito's colours, told apart by colour-blind readers (Wong, Nature Methods 8, 2011).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")


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


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, classes: Sequence[str]) -> Figure:
    """Draw how often each class (row) was taken for each (column); the diagonal is left pale, mistakes stand out."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (np.asarray(labels), np.asarray(predicted)), 1)
    mistakes = counts * (1 - np.eye(len(classes), dtype=int))
    figure, axes = plt.subplots(figsize=(6, 5.4), layout="constrained")
    picture = axes.imshow(mistakes, cmap="Blues")
    figure.colorbar(picture, label="mistakes (images)")
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
