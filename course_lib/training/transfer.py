"""Transfer: a trained network's weights for another task, what is frozen, what is held near the old. Chapter 07.

A **learned layer** is a layer with a kernel, and with it count the layers that follow it up to the next one, such as
its batch normalisation. Depth k means the first k learned layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import ArrayLike, NDArray

from course_lib.analysis.gradients import weight_gradients
from course_lib.datasets.photos import CIFAR10
from course_lib.datasets.sources import ImageData, Images
from course_lib.models import weights
from course_lib.models.augmentation import RandomCropFlip


def two_tasks(photos: ImageData) -> tuple[ImageData, ImageData]:
    """Split the classes: those with an even label are the source task, those with an odd one the target task.

    Labels become 0, 1, 2, … in the old order. Of CIFAR-10 the source has airplane, bird, deer, frog and ship, the
    target automobile, cat, dog, horse and truck.
    """

    def task(remainder: int) -> ImageData:
        def part(images: Images) -> Images:
            chosen = images[images.labels % 2 == remainder]
            return Images(chosen.images, chosen.labels // 2)

        train, validation, test = (part(images) for images in (photos.train, photos.validation, photos.test))
        return ImageData(train, validation, test, photos.classes[remainder::2], photos.source)

    return task(0), task(1)


def transfer_network(classes: int = 5, *, side: int = 32) -> keras.Sequential:
    """A small AlexNet with batch normalisation: images (n, side, side, 3) in [0, 1] → scores (n, classes).

    Five convolutions and three dense layers, all but the last followed by batch normalisation (Ioffe and Szegedy,
    ICML 2015) and ReLU; in training, random crops of 7/8 of the side and mirror images. 101,045 parameters for five
    classes and 32 pixels. Raises ValueError where the side is below 10, too small for three poolings.
    """
    if side < 10:
        raise ValueError(f"transfer_network(side={side}): a crop of 7/8 and three poolings need at least 10 pixels.")
    network = keras.Sequential([keras.Input((side, side, 3))], name="transfer_network")
    network.add(RandomCropFlip(side * 7 // 8, name="crop"))
    network.add(layers.Rescaling(4, offset=-2, name="scale"))  # about mean 0 and deviation 1

    def add(layer: keras.Layer, number: int) -> None:
        network.add(layer)
        network.add(layers.BatchNormalization(momentum=0.9, name=f"norm{number}"))
        network.add(layers.ReLU(name=f"relu{number}"))

    options = {"use_bias": False, "kernel_initializer": "he_normal"}
    for number, (maps, kernel) in enumerate(((16, 5), (32, 3), (48, 3), (48, 3), (32, 3)), start=1):
        add(layers.Conv2D(maps, kernel, padding="same", name=f"conv{number}", **options), number)
        if number in (1, 2, 5):
            network.add(layers.MaxPooling2D(2, name=f"pool{number}"))
    network.add(layers.Flatten(name="flatten"))
    for number, units in ((6, 128), (7, 64)):
        add(layers.Dense(units, name=f"fc{number}", **options), number)
    network.add(layers.Dense(classes, name="fc8"))
    return network


def load_source(source: ImageData, *, seed: int = 0, folder: Path = weights.WEIGHTS) -> keras.Sequential:
    """Return :func:`transfer_network` as ``course train source`` trained it on these classes.

    Three trained networks ship for CIFAR-10 and one for the sample; ``seed`` picks one, ``seed`` modulo their number.
    Raises ValueError where there are none for these classes, or as :func:`weights.load`.
    """
    prefix = weights_name(source)
    names = sorted(path.stem for path in folder.glob(f"{prefix}_*.json"))
    if not names:
        raise ValueError(
            f"{folder} holds no weights {prefix}_…, trained on {', '.join(source.classes)}. Those of CIFAR-10 and of "
            "the sample ship (git checkout data); `course train source` trains others."
        )
    name, classes = names[seed % len(names)], list(source.classes)
    return weights.load(name, lambda card: transfer_network(len(classes)), folder, classes=classes)


def weights_name(source: ImageData) -> str:
    """Return how the weights trained on a source task are called, less the seed."""
    return "source_cifar10" if source.classes == CIFAR10.classes[::2] else "source_sample"


def learned_layers(network: keras.Model) -> list[list[keras.Layer]]:
    """Return the learned layers in order, each as a list: the layer with the kernel, then those that belong to it.

    Raises ValueError for a network that has no weights yet, for a network within the network, whose layers have no
    place in that order, and for weights before the first kernel.
    """
    if not network.built:
        raise ValueError(f"{network.name} has no weights yet: begin it with keras.Input, or call its build.")
    found: list[list[keras.Layer]] = []
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            raise ValueError(f"{network.name} holds the network {layer.name}; give one whose layers stand in one row.")
        if any("kernel" in weight.name for weight in layer.weights):
            found.append([layer])
        elif found:
            found[-1].append(layer)
        elif layer.weights:
            raise ValueError(f"{layer.name} of {network.name} has weights and stands before the first learned layer.")
    return found


def _weights(group: list[keras.Layer]) -> list[keras.Variable]:
    """Return the weights of a learned layer, means and variances of batch normalisation among them."""
    return [weight for layer in group for weight in layer.weights]


def _can_learn(group: list[keras.Layer]) -> list[keras.Variable]:
    """Return the weights of a learned layer less those means and variances, frozen or not."""
    return [weight for weight in _weights(group) if weight.name not in ("moving_mean", "moving_variance")]


def _check_depth(call: str, network: keras.Model, depth: int) -> list[list[keras.Layer]]:
    found = learned_layers(network)
    if not 0 <= depth <= len(found):
        raise ValueError(
            f"{call}(depth={depth}): {network.name} has {len(found)} learned layers, so 0 to {len(found)}."
        )
    return found


def freeze(network: keras.Model, depth: int) -> int:
    """Freeze the first ``depth`` learned layers, thaw all others, and return how many parameters are left to train.

    Frozen batch normalisation runs in inference mode: it neither uses the statistics of the batch nor moves its own
    (Keras does so where ``trainable`` is false). Call it before :func:`fit`, which compiles the network. Raises
    ValueError where there are fewer learned layers.
    """
    for number, group in enumerate(_check_depth("freeze", network, depth)):
        for layer in group:
            layer.trainable = number >= depth
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


def transplant(donor: keras.Model, receiver: keras.Model, depth: int) -> keras.Model:
    """Copy the weights of the donor's first ``depth`` learned layers into the receiver, and return the receiver.

    With all but the last it puts a trained trunk under a fresh head; and a trunk that has learned something new under
    the old head. Statistics of batch normalisation are copied as well. Raises ValueError, with nothing copied, where
    the shapes differ.
    """
    groups = [_check_depth("transplant", network, depth)[:depth] for network in (donor, receiver)]
    for ours, theirs in zip(*groups, strict=True):
        shapes = [[tuple(weight.shape) for weight in _weights(group)] for group in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{ours[0].name} of {donor.name} has weights of shapes {shapes[0]}, {theirs[0].name} of "
                f"{receiver.name} has {shapes[1]}; a smaller depth leaves this layer out."
            )
    for ours, theirs in zip(*groups, strict=True):
        for giver, taker in zip(_weights(ours), _weights(theirs), strict=True):
            taker.assign(giver)
    return receiver


def rate_shares(network: keras.Model, factor: float = 2.6) -> dict[str, float]:
    """Return for each weight, by its path, the share of the learning rate that it gets: 1 in the last learned layer.

    One layer further from the head the share is smaller by ``factor``; 2.6 is the value of Howard and Ruder, Universal
    language model fine-tuning for text classification, ACL 2018, section 3.2. Raises ValueError for a factor below 1.
    """
    if factor < 1:
        raise ValueError(f"rate_shares(factor={factor}): it must be at least 1, so that early layers move less.")
    return {
        variable.path: factor**-distance
        for distance, group in enumerate(reversed(learned_layers(network)))
        for variable in _can_learn(group)
    }


@keras.saving.register_keras_serializable("course_lib")
class DiscriminativeAdam(keras.optimizers.Adam):
    """Adam whose learning rate is a share of the common one for each weight: ``shares`` of :func:`rate_shares`.

    Without ``shares`` it is Adam; with them ValueError names a weight that has none, once training begins. To scale
    gradients instead would do nothing, since Adam divides by their size. Keras' MultiOptimizer does the same with an
    Adam a layer, but has no rate of its own to report.
    """

    def __init__(self, learning_rate: Any = 1e-3, shares: Mapping[str, float] | None = None, **more: Any) -> None:
        super().__init__(learning_rate=learning_rate, **more)
        self.shares = dict(shares or {})

    def build(self, variables: Any) -> None:
        missing = [variable.path for variable in variables if self.shares and variable.path not in self.shares]
        if missing:
            raise ValueError(f"DiscriminativeAdam(shares=…) has none for {', '.join(missing)}: see rate_shares().")
        super().build(variables)
        self._share_of = [self.shares[variable.path] if self.shares else 1.0 for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient, variable, learning_rate * self._share_of[self._get_variable_index(variable)])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shares": self.shares}


class _Pull(keras.regularizers.Regularizer):
    """strength / 2 · Σ importance · (w − old)²."""

    def __init__(self, old: NDArray, strength: float, importance: ArrayLike) -> None:
        self.old, self.factor = old, 0.5 * strength * np.asarray(importance, "float32")

    def __call__(self, weight: Any) -> Any:
        return ops.sum(self.factor * ops.square(weight - self.old))


def pull_to_old(network: keras.Model, strength: float, importance: Sequence[ArrayLike] | None = None) -> None:
    """Add strength / 2 · Σ importance · (w − w₀)² to the loss, w₀ being the weights that the network has now.

    The last learned layer, the fresh head, is left out. Without ``importance`` all weights count alike: L2-SP of Li,
    Grandvalet and Davoine, ICML 2018. With the Fisher information of :func:`fisher_information` it is the elastic
    weight consolidation of Kirkpatrick and others, *PNAS* 114(13), 2017, equation 3. A strength of 0 takes the pull
    away. Raises ValueError for a negative strength, for an importance that does not fit the weights, and for a weight
    with a regularizer of its own, whose place the pull would take.
    """
    if strength < 0:
        raise ValueError(f"pull_to_old(strength={strength}): it must not be negative.")
    variables = trunk_variables(network)
    shares = [np.ones(variable.shape) for variable in variables] if importance is None else importance
    shapes = [tuple(variable.shape) for variable in variables], [np.shape(share) for share in shares]
    if shapes[0] != shapes[1]:
        raise ValueError(f"pull_to_old(importance=…) has shapes {shapes[1]}, the weights of the trunk {shapes[0]}.")
    own = [variable.path for variable in variables if not isinstance(variable.regularizer, _Pull | None)]
    if own:
        raise ValueError(f"pull_to_old() would take the place of a regularizer of {', '.join(own)}.")
    for variable, share in zip(variables, shares, strict=True):
        variable.regularizer = _Pull(ops.convert_to_numpy(variable.value), strength, share) if strength else None


def trunk_variables(network: keras.Model) -> list[keras.Variable]:
    """Return what all learned layers but the last can train, frozen or not: kernels, biases, scales and offsets."""
    return [variable for group in learned_layers(network)[:-1] for variable in _can_learn(group)]


def fisher_information(
    network: keras.Model, images: ArrayLike, *, batch_size: int = 10, seed: int = 0
) -> list[NDArray[np.float32]]:
    """Return how much the network's answers to ``images`` depend on each weight of its trunk, shapes as the weights.

    It is the diagonal of the Fisher information: the mean square, over images (n, h, w, c), of the gradient of the
    log-probability of a label drawn from the network's own answer. (The true label in its place would give something
    else, the "empirical Fisher": Kunstner, Balles and Hennig, NeurIPS 2019.) With drawn labels the gradients of two
    images have mean 0 and do not correlate. So the square of their sum has the sum of squares as its mean, and a batch
    takes one gradient. Batch normalisation runs in inference mode. Raises ValueError where there is no image.
    """
    pictures, variables = np.asarray(images, "float32"), trunk_variables(network)
    if not len(pictures):
        raise ValueError("fisher_information(): there are no images.")
    total: list[NDArray[np.float32]] = [np.zeros(variable.shape, "float32") for variable in variables]
    generator = np.random.default_rng(seed)
    for start in range(0, len(pictures), batch_size):
        batch = ops.convert_to_tensor(pictures[start : start + batch_size])
        answers = ops.convert_to_numpy(ops.softmax(network(batch, training=False))).astype("float64")
        drawn = np.array([generator.choice(len(answer), p=answer / answer.sum()) for answer in answers])

        def log_probability(batch: Any = batch, drawn: NDArray = drawn) -> Any:
            return -ops.sparse_categorical_crossentropy(drawn, network(batch, training=False), from_logits=True)

        for sum_so_far, gradient in zip(total, weight_gradients(log_probability, variables), strict=True):
            sum_so_far += gradient**2
    return [squares / np.float32(len(pictures)) for squares in total]
