"""Does a network go by shape or by texture? Shape bias, and images to measure it. Introduced in chapter 09.

An image with conflicting cues has the shape of one class and the texture of another, so that the answer tells which of
them decided. Source: Geirhos, Rubisch, Michaelis, Bethge, Wichmann and Brendel, ImageNet-trained CNNs are biased
towards texture; increasing shape bias improves accuracy and robustness, ICLR 2019 ("the paper" below).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from course_lib.datasets.cue_conflict import CueImages
from course_lib.datasets.sources import Images

# Classes of CIFAR-10 and what the sixteen of the paper call them; deer, frog and horse have no counterpart.
SHARED = {
    "airplane": "airplane", "automobile": "car", "bird": "bird", "cat": "cat", "dog": "dog", "ship": "boat",
    "truck": "truck",
}  # fmt: skip


@dataclass(frozen=True)
class ShapeBias:
    """How many images with conflicting cues went to the class of the shape, of the texture, or to another one."""

    shape: int
    texture: int
    other: int

    @property
    def bias(self) -> float:
        """The share of shape among the decisions for shape or texture, 0 to 1; NaN where there is none (the paper)."""
        return self.shape / (self.shape + self.texture) if self.shape + self.texture else float("nan")

    @property
    def decided(self) -> float:
        """The share of images that went to shape or texture, 0 to 1. Guessing among k classes gives 2 / k.

        Guessing also gives a bias of a half: near 2 / k the bias says nothing.
        """
        return (self.shape + self.texture) / (self.shape + self.texture + self.other)

    @property
    def standard_error(self) -> float:
        """The binomial standard error of :attr:`bias`."""
        return float(np.sqrt(self.bias * (1 - self.bias) / max(self.shape + self.texture, 1)))


def shape_bias(decisions: ArrayLike, shapes: ArrayLike, textures: ArrayLike) -> ShapeBias:
    """Count decisions, all three arguments being classes (n,), by name or by number; agreeing cues are left out.

    Raises ValueError where the three do not fit each other, or where no image has conflicting cues.
    """
    decided, shape, texture = np.asarray(decisions), np.asarray(shapes), np.asarray(textures)
    if not decided.shape == shape.shape == texture.shape == (decided.size,):
        raise ValueError(
            f"decisions, shapes and textures have shapes {decided.shape}, {shape.shape} and {texture.shape}; all must "
            "be (n,)."
        )
    if len({array.dtype.kind in "US" for array in (decided, shape, texture)}) > 1:
        raise ValueError("decisions, shapes and textures must all be names or all be numbers.")
    conflict = shape != texture
    if not conflict.any():
        raise ValueError(f"shapes and textures agree in all {decided.size} images: no cue conflict.")
    by_shape, by_texture = int((decided == shape)[conflict].sum()), int((decided == texture)[conflict].sum())
    return ShapeBias(by_shape, by_texture, int(conflict.sum()) - by_shape - by_texture)


def shared_decisions(scores: ArrayLike, classes: Sequence[str]) -> NDArray[np.str_]:
    """Return the paper's name for the class with the largest score among the :data:`SHARED` ones, (n, classes) → (n,).

    ``classes`` names the columns of the scores, as CIFAR-10 does. Use it with images among the same classes,
    ``load_cue_conflict().among(SHARED.values())``: 210 of the paper's. Where only the shape, or only the texture, is a
    class that the network knows, the other could never win. Raises ValueError where columns and classes do not fit, or
    fewer than two are shared.
    """
    columns = [index for index, name in enumerate(classes) if name in SHARED]
    if np.ndim(scores) != 2 or np.shape(scores)[1] != len(classes):
        raise ValueError(f"scores of shape {np.shape(scores)} do not fit {len(classes)} classes.")
    if len(columns) < 2:
        raise ValueError(f"classes {', '.join(classes)}: fewer than two are among {', '.join(SHARED)}.")
    names = np.array([SHARED[classes[column]] for column in columns])
    return names[np.asarray(scores)[:, columns].argmax(axis=1)]


def draw_cues(digits: Images, photos: Images, *, agree: bool, seed: int) -> CueImages:
    """Draw images with two cues: the silhouettes of handwritten digits, filled with photographed textures, on white.

    Digits are (n, h, w, 1), photographs (m, side, side, 3), both of the classes 0 to 9; class k is the shape of digit k
    and the texture of photograph class k. Where cues ``agree`` the network can learn either or both; where they do not,
    the texture is drawn from the other nine classes. Every digit is used once, in order, thickened, so that texture has
    room, and scaled to the photographs' side; patches are grey and have mean 0.5 and deviation 0.2 before they are
    cut out, so that neither colour nor brightness gives the texture away. Train on agreeing cues, measure on
    conflicting ones (Hermann and Lampinen, What shapes feature representations?, NeurIPS 2020).

    Ordinary pictures would not do. CIFAR-10 has no outlines to fill, and its textures are not of a class; Fashion-MNIST
    has outlines, but stripes are as good on a shirt as on a dress, so that no network learns to go by texture there.
    Raises ValueError where a class of digit has no photograph.
    """
    generator, side = np.random.default_rng(seed), photos.images.shape[1]
    shapes = digits.labels
    textures = shapes if agree else (shapes + generator.integers(1, 10, len(shapes))) % 10
    patches = np.empty((len(shapes), side, side), np.float32)
    for label in np.unique(textures):
        places, choice = np.flatnonzero(textures == label), np.flatnonzero(photos.labels == label)
        if not len(choice):
            raise ValueError(f"photos: there is none of class {label}, the texture that class {label} needs.")
        patches[places] = photos.images[generator.choice(choice, len(places))].mean(axis=-1)
    centred = patches - patches.mean(axis=(1, 2), keepdims=True)
    patches = 0.5 + 0.2 * centred / np.maximum(centred.std(axis=(1, 2), keepdims=True), 1e-6)
    inside = _silhouettes(digits.images[..., 0], side)
    images = np.where(inside, np.clip(patches, 0, 1), 1).astype(np.float32)
    coloured = np.repeat(images[..., None], 3, axis=-1)
    return CueImages(coloured, shapes, textures, "drawn cues")


def _silhouettes(ink: NDArray[np.float32], side: int) -> NDArray[np.bool_]:
    """Return where the thickened digits (n, h, w) are, in images of another side."""
    large = ndimage.zoom(ink, (1, side / ink.shape[1], side / ink.shape[2]), order=1)
    return ndimage.gaussian_filter(large, (0, side / 32, side / 32)) > 0.15
