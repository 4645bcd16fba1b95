"""Images changed so little that nobody minds, and so that a network errs; and training on them. Chapter 09.

Images are float32 (n, h, w, c) in [0, 1]. An attack may move an image by a distance of at most ``radius``: in the norm
``"linf"`` the largest change of a value, in ``"l2"`` the root of the sum of squared changes. Both attacks raise the
cross-entropy of the right labels along its gradient with respect to the image, and so know the network's weights.
Sources: Goodfellow, Shlens and Szegedy, Explaining and harnessing adversarial examples, ICLR 2015; Madry, Makelov,
Schmidt, Tsipras and Vladu, Towards deep learning models resistant to adversarial attacks, ICLR 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from course_lib.analysis.gradients import tensor_gradient
from course_lib.robustness.corruptions import checked_images

Norm = Literal["linf", "l2"]
TINY = 1e-12  # the least length that is divided by


def fgsm(
    network: keras.Model,
    images: ArrayLike,
    labels: ArrayLike,
    radius: float,
    *,
    norm: Norm = "linf",
    targeted: bool = False,
    batch_size: int = 500,
) -> NDArray[np.float32]:
    """Return images after one step of length ``radius``: the fast gradient sign method (Goodfellow et al.).

    In the norm ``"l2"`` the step goes along the gradient itself. It is :func:`pgd` with one whole step from the image;
    arguments and errors are as there.
    """
    return pgd(
        network, images, labels, radius,
        norm=norm, steps=1, step_size=radius, random_start=False, targeted=targeted, batch_size=batch_size,
    )  # fmt: skip


def pgd(
    network: keras.Model,
    images: ArrayLike,
    labels: ArrayLike,
    radius: float,
    *,
    norm: Norm = "linf",
    steps: int = 20,
    step_size: float | None = None,
    random_start: bool = True,
    targeted: bool = False,
    seed: int = 0,
    batch_size: int = 500,
) -> NDArray[np.float32]:
    """Return images after projected gradient steps, same shape, in [0, 1], at most ``radius`` from the given ones.

    It starts at a random place within the radius, and after each step goes back to the nearest place that is allowed
    (Madry et al.). ``network`` maps images to scores (logits), ``labels`` are the right classes (n,), or
    with ``targeted`` the classes that the network shall see. Steps are 2.5 ``radius`` / ``steps`` long unless given, so
    that they reach the edge from anywhere within it. Same seed and batch size, same images. Raises ValueError for
    images outside [0, 1], labels that do not fit them, and budgets that cannot be, such as a radius in bytes.
    """
    clean, classes = checked_images(images), np.asarray(labels)
    if classes.shape != clean.shape[:1] or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(
            f"labels ({classes.dtype}, shape {classes.shape}) must be whole numbers, one for each of {len(clean)} "
            "images."
        )
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: it must be at least 1.")
    ascent = _Ascent(float(radius), norm, steps, step_size, random_start, targeted)
    generator, attacked = keras.random.SeedGenerator(seed), np.empty_like(clean)
    for start in range(0, len(clean), batch_size):
        batch = slice(start, start + batch_size)
        found = ascent(network, ops.convert_to_tensor(clean[batch]), classes[batch], generator)
        attacked[batch] = ops.convert_to_numpy(found)
    return attacked


class AdversarialTraining(keras.Model):
    """A network that learns from attacked images: ``fit(AdversarialTraining(network, 0.1), train, epochs=5)``.

    Every batch is attacked by :func:`pgd` with the weights of that very step, and the network learns from what comes
    out in place of the images (Madry et al.). A data set that did so could not: Keras asks for batches
    ahead of time. The attack leaves dropout and the like off. Metrics of training are on attacked images, those of
    validation on clean ones. The weights are ``network``'s own: afterwards use and save that. A step costs about
    ``steps`` + 1 plain ones. Raises ValueError for budgets that cannot be and under JAX, where Keras hands the weights
    to a step in a way of its own.
    """

    def __init__(
        self,
        network: keras.Model,
        radius: float,
        *,
        norm: Norm = "linf",
        steps: int = 5,
        step_size: float | None = None,
        random_start: bool = True,
        seed: int | None = None,
    ) -> None:
        super().__init__(name=f"adversarial_{network.name}")
        if keras.config.backend() == "jax":
            raise ValueError("AdversarialTraining needs KERAS_BACKEND=tensorflow or torch, not jax.")
        self.network = network
        self.ascent = _Ascent(float(radius), norm, steps, step_size, random_start, targeted=False)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool | None = None) -> Any:
        return self.network(images, training=training)

    def train_step(self, data: Any) -> Any:
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        return super().train_step((self.ascent(self.network, images, labels, self.seed_generator), labels, weights))


@dataclass(frozen=True)
class _Ascent:
    """The steps of :func:`pgd` on one batch of tensors. Raises ValueError for budgets that cannot be."""

    radius: float
    norm: Norm
    steps: int
    step_size: float | None
    random_start: bool
    targeted: bool

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise ValueError(f"norm={self.norm!r}: it must be 'linf' or 'l2'.")
        if not 0 <= self.radius < math.inf or (self.norm == "linf" and self.radius > 1):
            raise ValueError(
                f"radius={self.radius:g}: images lie in [0, 1], so it must be 0 or more, in 'linf' at most 1; for 8 of "
                "255 levels give 8 / 255."
            )
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}: it must be at least 1.")
        if self.step_size is not None and not 0 <= self.step_size < math.inf:
            raise ValueError(f"step_size={self.step_size}: it must be 0 or more.")

    def __call__(self, network: keras.Model, clean: Any, labels: Any, generator: keras.random.SeedGenerator) -> Any:
        length = 2.5 * self.radius / self.steps if self.step_size is None else float(self.step_size)
        length *= -1 if self.targeted else 1

        def loss(images: Any) -> Any:
            return ops.sparse_categorical_crossentropy(labels, network(images, training=False), from_logits=True)

        images = ops.clip(clean + self._draw(clean, generator), 0, 1) if self.random_start else clean
        for _ in range(self.steps):
            gradient = tensor_gradient(loss, images)
            step = ops.sign(gradient) if self.norm == "linf" else gradient / ops.maximum(_length(gradient), TINY)
            images = ops.clip(clean + self._shorten(images + length * step - clean), 0, 1)
        return images

    def _draw(self, clean: Any, generator: keras.random.SeedGenerator) -> Any:
        """Return a change for each image, uniform in the cube or in the ball of the radius."""
        if self.norm == "linf":
            return keras.random.uniform(ops.shape(clean), -self.radius, self.radius, seed=generator)
        direction = keras.random.normal(ops.shape(clean), seed=generator)
        share = keras.random.uniform((ops.shape(clean)[0], 1, 1, 1), seed=generator) ** (1 / math.prod(clean.shape[1:]))
        return self.radius * share * direction / _length(direction)

    def _shorten(self, change: Any) -> Any:
        """Return the nearest change that the radius allows."""
        if self.norm == "linf":
            return ops.clip(change, -self.radius, self.radius)
        return change * ops.minimum(1, self.radius / ops.maximum(_length(change), TINY))


def _length(change: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(change), axis=(1, 2, 3), keepdims=True))
