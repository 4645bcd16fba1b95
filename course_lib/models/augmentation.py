"""AlexNet's augmentation: crops, mirror images, colour along its principal axes, ten crops. Introduced in chapter 02.

Source: Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks, NIPS 2012,
section 4.1 ("the paper" below). All images are float, (batch, height, width, channels).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray


@keras.saving.register_keras_serializable("course_lib")
class RandomCropFlip(keras.layers.Layer):
    """Cut a window of ``size`` × ``size`` from each image, in training at a random place and mirrored half the time.

    (n, h, w, c) → (n, size, size, c); outside training the central window. Keras' own RandomCrop draws one place for
    a whole batch, the paper one for each image. Raises ValueError where the images are smaller than ``size``.
    """

    def __init__(self, size: int, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.seed = size, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if any(side is None or side < self.size for side in input_shape[1:3]):
            raise ValueError(f"RandomCropFlip(size={self.size}) does not fit images of {input_shape[1:3]} pixels.")

    def call(self, inputs: Any, training: bool = False) -> Any:
        height, width = inputs.shape[1:3]
        if not training:
            top, left = (height - self.size) // 2, (width - self.size) // 2
            return inputs[:, top : top + self.size, left : left + self.size]
        count, steps = ops.shape(inputs)[0], ops.arange(self.size)
        draw = keras.random.uniform((3, count, 1), seed=self.seed_generator)
        rows = ops.cast(draw[0] * (height - self.size + 1), "int32") + steps
        columns = ops.cast(draw[1] * (width - self.size + 1), "int32") + steps
        columns = ops.where(draw[2] < 0.5, columns, ops.flip(columns, axis=1))
        place = ops.expand_dims(rows, 2) * width + ops.expand_dims(columns, 1)  # (n, size, size), in the flat image
        place = place + ops.reshape(ops.arange(count) * (height * width), (-1, 1, 1))
        return ops.take(ops.reshape(inputs, (-1, inputs.shape[-1])), place, axis=0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], self.size, self.size, input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "seed": self.seed}


def colour_axes(images: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the principal axes of the colours of images (n, h, w, 3): variances (3,), largest first; axes (3, 3).

    Column i of the second is the unit vector that belongs to variance i, its largest entry positive.
    Raises ValueError for images that are not in colour.
    """
    if images.shape[-1] != 3:
        raise ValueError(f"colour_axes() needs images with 3 channels, not {images.shape[-1]}.")
    variances, axes = np.linalg.eigh(np.cov(images.reshape(-1, 3), rowvar=False))
    variances, axes = variances[::-1], axes[:, ::-1]
    return variances, axes * np.sign(axes[np.abs(axes).argmax(axis=0), range(3)])


@keras.saving.register_keras_serializable("course_lib")
class ColourShift(keras.layers.Layer):
    """Add to each image one colour, drawn along the principal axes of the data's colours, in training only.

    The colour is Σ α_i · variance_i · axis_i with α_i normal, of deviation ``strength`` (the paper's 0.1), anew for
    each image. ``variances`` and ``axes`` come from :func:`colour_axes`. (n, h, w, 3) → the same; values may leave
    [0, 1]. The paper does not give the scale of its pixels; the formula makes sense for pixels from 0 to 1.
    """

    def __init__(self, variances: Any, axes: Any, strength: float = 0.1, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.variances, self.axes = np.asarray(variances, "float32"), np.asarray(axes, "float32")
        if self.variances.shape != (3,) or self.axes.shape != (3, 3):
            raise ValueError(f"ColourShift needs 3 variances and 3 × 3 axes, not {variances!r} and {axes!r}.")
        self.strength, self.seed = strength, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        draw = keras.random.normal((ops.shape(inputs)[0], 3), stddev=self.strength, seed=self.seed_generator)
        colour = ops.matmul(draw * self.variances, self.axes.T)
        return inputs + ops.cast(ops.reshape(colour, (-1, 1, 1, 3)), inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"variances": self.variances.tolist(), "axes": self.axes.tolist()}
        return {**super().get_config(), **own, "strength": self.strength, "seed": self.seed}


def ten_crops(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Cut the four corners and the centre, and mirror them: (n, h, w, c) → (10, n, size, size, c).

    Raises ValueError where the images are smaller than ``size``.
    """
    down, right = images.shape[1] - size, images.shape[2] - size
    if down < 0 or right < 0:
        raise ValueError(f"ten_crops(size={size}) does not fit images of {images.shape[1]} × {images.shape[2]} pixels.")
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    crops = [images[:, top : top + size, left : left + size] for top, left in corners]
    return np.stack([*crops, *(crop[:, :, ::-1] for crop in crops)])


def ten_crop_probabilities(model: keras.Model, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the probabilities that ``model``, which gives scores, has for ten crops of each image.

    The crops are as large as the model's input; (n, h, w, c) → (n, classes).
    """
    crops = ten_crops(images, model.input_shape[1])
    scores = [model.predict(crop, batch_size=1_000, verbose=0) for crop in crops]
    return np.mean([ops.convert_to_numpy(ops.softmax(score)) for score in scores], axis=0)
