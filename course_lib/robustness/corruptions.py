"""Images made worse in ten ways and five severities, and what that costs a network. Introduced in chapter 09.

Images are float32 (n, height, width, channels) in [0, 1], grey or in colour; sides of 28 to 160 pixels are tried.
Source: Hendrycks and Dietterich, Benchmarking neural network robustness to common corruptions and perturbations, ICLR
2019 ("the paper" below), and their program for CIFAR-10-C, make_cifar_c.py in github.com/hendrycks/robustness.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import ndimage

# How strong each corruption is at severity 1 to 5. The values are those of CIFAR-10-C, made for sides of 32 pixels; the
# paper's own, for ImageNet, are stronger. Lengths in pixels grow with the shorter side of the image.
SIDE = 32
STRENGTHS: dict[str, tuple[float, float, float, float, float]] = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.1),  # standard deviation
    "shot_noise": (500, 250, 100, 75, 50),  # photons that make white
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),  # share of values that become 0 or 1
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),  # standard deviation in pixels
    "motion_blur": (1, 1.5, 2, 2.25, 2.5),  # standard deviation in pixels; CIFAR-10-C has 2 for the fourth as well
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),  # what is left of the distance from the image's mean colour
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),  # what the brightest channel gains
    "jpeg": (80, 65, 58, 50, 40),  # quality
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),  # share of the side, of 32 pixels at most, to which the image shrinks
    "occlusion": (0.2, 0.3, 0.4, 0.5, 0.6),  # side of the square, as a share of the image's; not in the paper
}


def corrupt(images: ArrayLike, name: str, severity: int, *, seed: int) -> NDArray[np.float32]:
    """Return images with the corruption ``name`` of :data:`STRENGTHS` at a severity of 1 to 5, in the same shape.

    A seed draws the same noise, angles and places at each severity, so that severities differ in strength alone; and
    what befalls an image does not depend on the images behind it. JPEG and pixelation go by way of 8 bits a value.
    Raises ValueError for another name or severity, and as :func:`checked_images`.
    """
    if name not in STRENGTHS:
        raise ValueError(f"corrupt(name={name!r}): it must be one of {', '.join(STRENGTHS)}.")
    if severity not in range(1, 6):
        raise ValueError(f"corrupt(severity={severity}): it must be 1, 2, 3, 4 or 5.")
    changed = _CHANGES[name](checked_images(images), STRENGTHS[name][severity - 1], np.random.default_rng(seed))
    return np.clip(changed, 0, 1).astype(np.float32)


def checked_images(images: ArrayLike) -> NDArray[np.float32]:
    """Return images as float32. Raises ValueError unless they are (n, h, w, 1) or (n, h, w, 3) and in [0, 1]."""
    array = np.asarray(images, np.float32)
    if array.ndim != 4 or array.shape[-1] not in (1, 3):
        raise ValueError(
            f"images of shape {array.shape} must be (n, height, width, channels), with 1 channel or 3; a single image "
            "is images[None]."
        )
    low, high = array.min(initial=0), array.max(initial=0)
    if not 0 <= low <= high <= 1:
        raise ValueError(f"images run from {low:g} to {high:g}; they must lie in [0, 1]: divide bytes by 255.")
    return array


def corruption_errors(
    predict: Callable[[NDArray[np.float32]], ArrayLike],
    images: ArrayLike,
    labels: ArrayLike,
    *,
    seed: int,
    names: Sequence[str] = tuple(STRENGTHS),
) -> dict[str, NDArray[np.float64]]:
    """Return for each corruption which share of the images is wrongly classified at severity 1 to 5, shape (5,).

    ``predict`` takes images and returns scores (n, classes). Raises ValueError as :func:`corrupt`, and for labels that
    are not one an image.
    """
    if np.shape(labels) != np.shape(images)[:1]:
        raise ValueError(f"labels of shape {np.shape(labels)} do not fit images of shape {np.shape(images)}.")

    def error(name: str, severity: int) -> float:
        scores = predict(corrupt(images, name, severity, seed=seed))
        return float(np.mean(np.argmax(scores, axis=1) != labels))

    return {name: np.array([error(name, severity) for severity in range(1, 6)]) for name in names}


def mean_corruption_error(
    errors: Mapping[str, ArrayLike], reference: Mapping[str, ArrayLike], *, clean: tuple[float, float] = (0, 0)
) -> float:
    """Return the paper's mCE in percent, 100 for the reference network and less for one that does better.

    It is the mean over corruptions of Σ error / Σ error of the reference, each sum over the severities;
    both arguments are as from :func:`corruption_errors`. Given ``clean``, the errors of network and reference on clean
    images, these are taken off every error first: the paper's relative mCE, which asks what corruption adds. Raises
    ValueError where errors and reference do not fit each other, or where there is nothing to divide by.
    """
    if not errors or errors.keys() != reference.keys():
        raise ValueError(f"errors are of {', '.join(errors)}, reference of {', '.join(reference)}; give the same ones.")
    ratios = []
    for name, values in errors.items():
        ours, theirs = np.asarray(values), np.asarray(reference[name])
        if ours.shape != theirs.shape:
            raise ValueError(f"{name}: errors of shape {ours.shape} do not fit a reference of shape {theirs.shape}.")
        if not (lost := np.sum(theirs - clean[1])) > 0:
            raise ValueError(f"reference: {name} adds {lost:g} to its error; there is nothing to divide by.")
        ratios.append(np.sum(ours - clean[0]) / lost)
    return float(100 * np.mean(ratios))


def _scale(images: NDArray) -> float:
    return min(images.shape[1:3]) / SIDE


def _gaussian_noise(images: NDArray, deviation: float, generator: np.random.Generator) -> NDArray:
    return images + deviation * generator.standard_normal(images.shape, np.float32)


def _shot_noise(images: NDArray, photons: float, generator: np.random.Generator) -> NDArray:
    return generator.poisson(images * photons) / photons


def _impulse_noise(images: NDArray, share: float, generator: np.random.Generator) -> NDArray:
    draw = generator.random(images.shape, np.float32)
    return np.where(draw < share, draw < share / 2, images)


def _gaussian_blur(images: NDArray, deviation: float, generator: np.random.Generator) -> NDArray:
    deviation *= _scale(images)
    return ndimage.gaussian_filter(images, (0, deviation, deviation, 0), mode="nearest")


def _motion_blur(images: NDArray, deviation: float, generator: np.random.Generator) -> NDArray:
    """Drag each image along a line of its own, at most 45 degrees from level: weights are one half of a bell curve."""
    deviation *= _scale(images)
    count, height, width, _ = images.shape
    angles = generator.uniform(-np.pi / 4, np.pi / 4, (count, 1))
    weights = np.exp(-(np.arange(int(4 * deviation) + 1) ** 2) / (2 * deviation**2))
    blurred, which = np.zeros_like(images), np.arange(count)[:, None, None]
    for step, weight in enumerate((weights / weights.sum()).tolist()):
        rows = np.clip(np.arange(height) + np.rint(step * np.sin(angles)).astype(int), 0, height - 1)
        columns = np.clip(np.arange(width) + np.rint(step * np.cos(angles)).astype(int), 0, width - 1)
        blurred += weight * images[which, rows[:, :, None], columns[:, None, :]]
    return blurred


def _contrast(images: NDArray, share: float, generator: np.random.Generator) -> NDArray:
    means = images.mean(axis=(1, 2), keepdims=True)
    return means + share * (images - means)


def _brightness(images: NDArray, gain: float, generator: np.random.Generator) -> NDArray:
    """Raise the value of HSV, which is the largest channel; hue and saturation stay, and black turns grey."""
    value = images.max(axis=-1, keepdims=True)
    return np.divide(images, value, out=np.ones_like(images), where=value > 0) * np.minimum(value + gain, 1)


def _jpeg(images: NDArray, quality: float, generator: np.random.Generator) -> NDArray:
    def compress(picture: Image.Image) -> Image.Image:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(quality))
        return Image.open(file)

    return _by_pillow(images, compress)


def _pixelate(images: NDArray, share: float, generator: np.random.Generator) -> NDArray:
    share *= min(1, 1 / _scale(images))

    def shrink(picture: Image.Image) -> Image.Image:
        small = picture.resize((int(share * picture.width), int(share * picture.height)), Image.Resampling.BOX)
        return small.resize(picture.size, Image.Resampling.BOX)

    return _by_pillow(images, shrink)


def _by_pillow(images: NDArray, change: Callable[[Image.Image], Image.Image]) -> NDArray:
    pixels = np.rint(255 * images).astype(np.uint8)
    pictures = (Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image) for image in pixels)
    return np.array([change(picture) for picture in pictures], np.float32).reshape(images.shape) / 255


def _occlusion(images: NDArray, share: float, generator: np.random.Generator) -> NDArray:
    """Cover a square at a random place with the image's mean colour."""
    count, height, width, _ = images.shape
    side, place = round(share * min(height, width)), generator.random((count, 2))
    rows = np.arange(height) - np.floor(place[:, :1] * (height - side + 1))  # from the square's first
    columns = np.arange(width) - np.floor(place[:, 1:] * (width - side + 1))
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
    return np.where(inside[..., None], images.mean(axis=(1, 2), keepdims=True), images)


_CHANGES: dict[str, Callable[[NDArray, float, np.random.Generator], NDArray]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "gaussian_blur": _gaussian_blur,
    "motion_blur": _motion_blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "jpeg": _jpeg,
    "pixelate": _pixelate,
    "occlusion": _occlusion,
}
