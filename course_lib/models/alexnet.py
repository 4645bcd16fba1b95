"""AlexNet three times: as published, as the two towers it was, and at the scale of CIFAR-10. Introduced in chapter 02.

Source: Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks, NIPS 2012
("the paper" below). All images are (batch, height, width, 3) in [0, 1], and scores (logits) come out.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from course_lib.models.layers import LocalResponseNormalization

SIDE = 227  # the paper writes 224 and rounds up; without padding 55 places need (227 - 11) / 4 + 1


def alexnet(
    classes: int = 1000, *, groups: int = 2, input_shape: tuple[int, int, int] = (SIDE, SIDE, 3)
) -> keras.Model:
    """AlexNet as published: five convolutions, three dense layers; (n, 227, 227, 3) → (n, classes).

    With two ``groups`` convolutions 2, 4 and 5 see only the maps of their own half, as on the paper's two GPUs:
    60,965,224 parameters for 1000 classes. With one, every map sees all maps below: 62,378,344. Weights begin
    normal with deviation 0.01; biases of convolutions 2, 4, 5 and of the hidden dense layers at 1, others at 0
    (paper, section 5). Raises ValueError for other groups and for images that the first convolution does not fit.
    """
    if groups not in (1, 2):
        raise ValueError(f"alexnet(groups={groups}): it must be 2, as on the paper's two GPUs, or 1, undivided.")
    _check_side(input_shape)
    return keras.Sequential(
        [
            keras.Input(input_shape),
            _pixels(),
            _convolution("conv1", 96, 11, strides=4, padding="valid", bias=0),
            LocalResponseNormalization(groups=groups, name="norm1"),
            layers.MaxPooling2D(3, 2, name="pool1"),
            _convolution("conv2", 256, 5, groups=groups, bias=1),
            LocalResponseNormalization(groups=groups, name="norm2"),
            layers.MaxPooling2D(3, 2, name="pool2"),
            _convolution("conv3", 384, 3, bias=0),
            _convolution("conv4", 384, 3, groups=groups, bias=1),
            _convolution("conv5", 256, 3, groups=groups, bias=1),
            layers.MaxPooling2D(3, 2, name="pool5"),
            layers.Flatten(name="flatten"),
            _dense("fc6", 4096),
            layers.Dropout(0.5, name="drop6"),
            _dense("fc7", 4096),
            layers.Dropout(0.5, name="drop7"),
            layers.Dense(classes, kernel_initializer=_normal(), name="fc8"),
        ],
        name="alexnet",
    )


def two_towers(classes: int = 1000, *, input_shape: tuple[int, int, int] = (SIDE, SIDE, 3)) -> keras.Model:
    """The convolutions of AlexNet as the two GPUs computed them: separate towers ``a`` and ``b``, half the maps each.

    The towers exchange where the paper's do: convolution 3 and the dense layers read both, all others only their own.
    Same function as ``alexnet(groups=2)``; :func:`split_weights` takes its weights over.
    """
    _check_side(input_shape)
    images = keras.Input(input_shape, name="images")

    def both(maps: list[Any], name: str) -> list[Any]:
        return [layers.Concatenate(name=name)(maps)] * 2

    def each(maps: list[Any], make: Any, name: str) -> list[Any]:
        return [make(f"{name}{tower}")(part) for tower, part in zip("ab", maps, strict=True)]

    maps: list[Any] = [_pixels()(images)] * 2
    maps = each(maps, lambda name: _convolution(name, 48, 11, strides=4, padding="valid", bias=0), "conv1")
    maps = each(maps, lambda name: LocalResponseNormalization(name=name), "norm1")
    maps = each(maps, lambda name: layers.MaxPooling2D(3, 2, name=name), "pool1")
    maps = each(maps, lambda name: _convolution(name, 128, 5, bias=1), "conv2")
    maps = each(maps, lambda name: LocalResponseNormalization(name=name), "norm2")
    maps = both(each(maps, lambda name: layers.MaxPooling2D(3, 2, name=name), "pool2"), "exchange2")
    maps = each(maps, lambda name: _convolution(name, 192, 3, bias=0), "conv3")
    maps = each(maps, lambda name: _convolution(name, 192, 3, bias=1), "conv4")
    maps = each(maps, lambda name: _convolution(name, 128, 3, bias=1), "conv5")
    maps = both(each(maps, lambda name: layers.MaxPooling2D(3, 2, name=name), "pool5"), "exchange5")
    features = layers.Flatten(name="flatten")(maps[0])
    for name in ("6", "7"):
        halves = [_dense(f"fc{name}{tower}", 2048)(features) for tower in "ab"]
        features = layers.Dropout(0.5, name=f"drop{name}")(layers.Concatenate(name=f"exchange{name}")(halves))
    scores = layers.Dense(classes, kernel_initializer=_normal(), name="fc8")(features)
    return keras.Model(images, scores, name="alexnet_two_towers")


def split_weights(whole: keras.Model, towers: keras.Model) -> None:
    """Copy the weights of ``alexnet(groups=2)`` into :func:`two_towers`: the first half of the maps to tower ``a``.

    Raises ValueError where ``whole`` is undivided, since its weights between the towers have no place.
    """
    for layer in whole.layers:
        if not layer.weights:
            continue
        if getattr(layer, "groups", 2) == 1 and layer.name in ("conv2", "conv4", "conv5"):
            raise ValueError(f"{layer.name} of {whole.name} is undivided (groups=1); two towers need groups=2.")
        kernel, bias = layer.get_weights()
        if layer.name == "fc8":
            towers.get_layer("fc8").set_weights([kernel, bias])
            continue
        half = len(bias) // 2
        for tower, part in (("a", slice(half)), ("b", slice(half, None))):
            towers.get_layer(layer.name + tower).set_weights([kernel[..., part], bias[part]])


def _check_side(input_shape: tuple[int, int, int]) -> None:
    """Raise ValueError unless 11 × 11 windows with stride 4 cover the side exactly, and the last pool has a place."""
    for side in input_shape[:2]:
        if (side - 11) % 4 or side < 67:
            near = max(67, round((side - 11) / 4) * 4 + 11)
            raise ValueError(
                f"AlexNet does not fit images of {side} pixels: windows of 11 in steps of 4 fit "
                f"({side} - 11) / 4 + 1 = {(side - 11) / 4 + 1:g} times, and there must be room for three poolings. "
                f"Take {near}; the published network needs {SIDE}, though the paper says 224."
            )


def _pixels() -> layers.Rescaling:
    """Return the layer that makes the paper's pixels: 0 to 255, less their mean over ImageNet, here one a colour.

    The paper's first weights and rate belong to this scale. Means: ``keras.applications.imagenet_utils``.
    """
    return layers.Rescaling(255.0, offset=[-123.68, -116.779, -103.939], name="pixels")


def _normal() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.01)


def _convolution(name: str, maps: int, kernel: int, *, bias: int, padding: str = "same", **more: Any) -> layers.Conv2D:
    return layers.Conv2D(
        maps,
        kernel,
        padding=padding,
        activation="relu",
        kernel_initializer=_normal(),
        bias_initializer="ones" if bias else "zeros",
        name=name,
        **more,
    )


def _dense(name: str, units: int) -> layers.Dense:
    return layers.Dense(units, activation="relu", kernel_initializer=_normal(), bias_initializer="ones", name=name)


def alexnet_cifar(
    classes: int = 10,
    *,
    side: int = 28,
    activation: str = "relu",
    normalisation: bool = False,
    overlapping: bool = True,
    dropout: float = 0.15,
) -> keras.Sequential:
    """AlexNet at the scale of CIFAR-10: its eight learned layers in its order, for crops (n, side, side, 3) in [0, 1].

    Kernels and strides are smaller, since the images are; the dense layers have 256 and 128 units; weights begin as He
    et al. (2015) propose for ReLU, else as Glorot and Bengio (2010) do. ``normalisation`` adds local response
    normalisation, which gained nothing at this scale (chapter 02); ``overlapping`` pools 3 × 3 windows in steps of 2,
    else 2 × 2: same shapes and parameters.
    Raises ValueError where the side is below 8, too small for three poolings.
    """
    if side < 8:
        raise ValueError(f"alexnet_cifar(side={side}): three poolings need at least 8 pixels.")
    weights = "he_normal" if activation == "relu" else "glorot_normal"

    def convolution(name: str, maps: int, kernel: int) -> layers.Layer:
        return layers.Conv2D(maps, kernel, padding="same", activation=activation, kernel_initializer=weights, name=name)

    def normalise(number: int) -> list[layers.Layer]:
        return [LocalResponseNormalization(k=1, alpha=0.01, name=f"norm{number}")] if normalisation else []

    def pool(number: int) -> layers.Layer:
        return layers.MaxPooling2D(3 if overlapping else 2, 2, padding="same", name=f"pool{number}")

    def dense(number: int, units: int) -> list[layers.Layer]:
        layer = layers.Dense(units, activation=activation, kernel_initializer=weights, name=f"fc{number}")
        return [layer, layers.Dropout(dropout, name=f"drop{number}")]

    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            layers.Rescaling(4, offset=-2, name="scale"),  # about mean 0 and deviation 1
            convolution("conv1", 32, 5),
            *normalise(1),
            pool(1),
            convolution("conv2", 64, 3),
            *normalise(2),
            pool(2),
            convolution("conv3", 96, 3),
            convolution("conv4", 96, 3),
            convolution("conv5", 64, 3),
            pool(5),
            layers.Flatten(name="flatten"),
            *dense(6, 256),
            *dense(7, 128),
            layers.Dense(classes, name="fc8"),
        ],
        name="alexnet_cifar",
    )
