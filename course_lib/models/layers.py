"""Layers that Keras does not have: those of the 1998 LeNet-5 (chapter 01), AlexNet's normalisation (chapter 02).

Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, Proceedings of
the IEEE 86(11), 1998 ("the paper" below). All images are (batch, height, width, channels).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("course_lib")
def scaled_tanh(x: Any) -> Any:
    """Return 1.7159 · tanh(2x/3), the paper's squashing function (appendix A): it maps 1 to 1 and -1 to -1."""
    return 1.7159 * ops.tanh(x * (2 / 3))


def fan_in_uniform(fan_in: int) -> keras.initializers.Initializer:
    """Return the paper's initialiser: uniform within ±2.4 / fan_in, fan_in the inputs that a unit has (appendix A)."""
    return keras.initializers.RandomUniform(-2.4 / fan_in, 2.4 / fan_in)


@keras.saving.register_keras_serializable("course_lib")
class Subsampling(keras.layers.Layer):
    """Sum each 2 × 2 block, times one trainable coefficient a map, plus one trainable bias a map (paper, II.B).

    (n, h, w, c) → (n, h/2, w/2, c), 2c parameters. Raises ValueError where height or width is odd or unknown.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if any(size is None or size % 2 for size in input_shape[1:3]):
            raise ValueError(f"Subsampling halves height and width; it needs even ones, not {input_shape[1:3]}.")
        shape = (input_shape[-1],)
        # A mean of the block to begin with: 1/4 of its sum.
        self.coefficient = self.add_weight(
            shape=shape, initializer=keras.initializers.Constant(0.25), name="coefficient"
        )
        self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        return 4 * ops.average_pool(inputs, 2, 2) * self.coefficient + self.bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        return batch, height // 2, width // 2, channels  # type: ignore[operator]


@keras.saving.register_keras_serializable("course_lib")
class EverySecond(keras.layers.Layer):
    """Keep the upper left value of each whole 2 × 2 block, (n, h, w, c) → (n, h//2, w//2, c)."""

    def call(self, inputs: Any) -> Any:
        _, height, width, _ = inputs.shape
        return inputs[:, : height // 2 * 2 : 2, : width // 2 * 2 : 2]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        return batch, height // 2, width // 2, channels  # type: ignore[operator]


@keras.saving.register_keras_serializable("course_lib")
class SparseConv2D(keras.layers.Layer):
    """A 'valid' convolution in which each output map sees only the input maps that ``table`` gives it (paper, Table I).

    ``table[k]`` lists the input maps of output map k. (n, h, w, c) → (n, h - k + 1, w - k + 1, len(table)); it has
    kernel_size² weights for each connection and a bias for each output map. All weights begin within the range that
    the paper gives the map with most inputs. Raises ValueError where the table is
    empty, repeats a map, or names one that the input does not have.
    """

    def __init__(self, table: Sequence[Sequence[int]], kernel_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not table or any(len(maps) == 0 or len(set(maps)) != len(maps) for maps in table):
            raise ValueError(f"each row of the connection table must list different input maps, at least one: {table}")
        self.table, self.kernel_size = [list(maps) for maps in table], kernel_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = int(input_shape[-1] or 0)
        pairs = [(source, target) for target, maps in enumerate(self.table) for source in maps]
        wrong = next((source for source, _ in pairs if not 0 <= source < channels), None)
        if wrong is not None:
            raise ValueError(f"the connection table names input map {wrong}; the input has maps 0 to {channels - 1}.")
        fan_in = self.kernel_size**2 * max(len(maps) for maps in self.table)
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.kernel_size, len(pairs)), initializer=fan_in_uniform(fan_in), name="kernel"
        )
        self.bias = self.add_weight(shape=(len(self.table),), initializer="zeros", name="bias")
        # Row p has its one in the column of connection p: it puts each connection's weights in their place of a
        # dense kernel and leaves zero, for ever, where there is no connection.
        placement = np.zeros((len(pairs), channels * len(self.table)), "float32")
        placement[range(len(pairs)), [source * len(self.table) + target for source, target in pairs]] = 1
        self._placement = placement
        self._dense_shape = (self.kernel_size, self.kernel_size, channels, len(self.table))

    def call(self, inputs: Any) -> Any:
        placement = ops.cast(self._placement, self.kernel.dtype)
        dense = ops.reshape(ops.matmul(self.kernel, placement), self._dense_shape)
        return ops.conv(inputs, ops.cast(dense, self.compute_dtype), padding="valid") + self.bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, _ = input_shape
        shrink = self.kernel_size - 1
        return batch, height and height - shrink, width and width - shrink, len(self.table)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "table": self.table, "kernel_size": self.kernel_size}


@keras.saving.register_keras_serializable("course_lib")
class RadialBasis(keras.layers.Layer):
    """Squared Euclidean distance of the input to each of the fixed ``centres`` (paper, eq. 7): small means alike.

    (n, features) → (n, classes); ``centres`` is (classes, features) and not trained.
    """

    def __init__(self, centres: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.centres = np.asarray(centres, "float32")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if self.centres.ndim != 2 or input_shape[-1] != self.centres.shape[1]:
            raise ValueError(f"centres of shape {self.centres.shape} do not fit inputs of {input_shape[-1]} features.")

    def call(self, inputs: Any) -> Any:
        return ops.sum(ops.square(ops.expand_dims(inputs, 1) - ops.cast(self.centres, self.compute_dtype)), axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], len(self.centres)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "centres": self.centres.tolist()}


@keras.saving.register_keras_serializable("course_lib")
class RandomAffine(keras.layers.Layer):
    """Distort each image of a batch by its own small planar affine map, in training only (paper, III.A).

    Translation, scaling, squeezing and shearing in one bilinear resampling: one layer of Keras for each would
    resample four times and double the time of a LeNet-5 step. (n, h, w, c) → the same; outside is 0.
    ``shift`` is the largest translation in pixels, ``scale`` and ``shear`` the largest relative change; the vertical
    shear is a quarter of the horizontal one, which slants digits as handwriting does.
    Raises ValueError where one of them is negative or ``scale`` is 1 or more.
    """

    def __init__(
        self, shift: float = 2.0, scale: float = 0.1, shear: float = 0.2, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        if shift < 0 or shear < 0 or not 0 <= scale < 1:
            raise ValueError(f"RandomAffine(shift={shift}, scale={scale}, shear={shear}): need ≥ 0, and scale below 1.")
        self.shift, self.scale, self.shear, self.seed = shift, scale, shear, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        batch, height, width, _ = ops.shape(inputs)
        draw = keras.random.uniform((batch, 6), -1, 1, seed=self.seed_generator)
        across, down = 1 + self.scale * draw[:, 0], 1 + self.scale * draw[:, 1]
        shear_x, shear_y = self.shear * draw[:, 2], self.shear / 4 * draw[:, 3]
        # The map takes a place in the result to a place in the image: x' = across·x + shear_x·y + offset_x.
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        offset_x = centre_x - across * centre_x - shear_x * centre_y + self.shift * draw[:, 4]
        offset_y = centre_y - shear_y * centre_x - down * centre_y + self.shift * draw[:, 5]
        nothing = ops.zeros_like(across)
        maps = ops.stack([across, shear_x, offset_x, shear_y, down, offset_y, nothing, nothing], axis=-1)
        return ops.image.affine_transform(inputs, maps, interpolation="bilinear", fill_mode="constant")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"shift": self.shift, "scale": self.scale, "shear": self.shear, "seed": self.seed}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("course_lib")
class LocalResponseNormalization(keras.layers.Layer):
    """Divide each value by a power of the energy of its neighbour maps at the same place, (n, h, w, c) → the same.

    b_i = a_i / (k + alpha · Σ a_j²)^beta, the sum over the ``depth`` maps around i, fewer at the ends (Krizhevsky,
    Sutskever and Hinton 2012, section 3.3, whose constants are the defaults). With ``groups`` each group of maps is
    normalised by itself, as on the two GPUs. Raises ValueError for an even depth or groups that do not divide the maps.
    """

    def __init__(
        self, depth: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, groups: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if depth < 1 or depth % 2 == 0:
            raise ValueError(f"LocalResponseNormalization(depth={depth}): it must be odd, so that map i is its middle.")
        self.depth, self.k, self.alpha, self.beta, self.groups = depth, k, alpha, beta, groups

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        maps = int(input_shape[-1] or 0)
        if self.groups < 1 or maps % self.groups:
            raise ValueError(f"LocalResponseNormalization(groups={self.groups}) does not divide {maps} maps.")
        index = np.arange(maps)
        near = np.abs(index[:, None] - index) <= self.depth // 2
        together = index[:, None] * self.groups // maps == index * self.groups // maps
        self._window = (near & together).astype("float32")  # as a product with a matrix: three times as fast as a loop

    def call(self, inputs: Any) -> Any:
        energy = ops.matmul(ops.square(inputs), ops.cast(self._window, inputs.dtype))
        return inputs * ops.exp(-self.beta * ops.log(self.k + self.alpha * energy))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"depth": self.depth, "k": self.k, "alpha": self.alpha, "beta": self.beta, "groups": self.groups}
        return {**super().get_config(), **own}
