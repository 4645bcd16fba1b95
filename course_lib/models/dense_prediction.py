"""A label for every pixel: classifiers made fully convolutional, strides traded for dilation. Introduced in chapter 05.

Images are (batch, height, width, channels), and scores (logits) come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from course_lib.models.layers import LocalResponseNormalization

_POOLINGS = {layers.MaxPooling2D: "max", layers.AveragePooling2D: "average"}
_SLIDING: tuple[Any, ...] = (layers.Conv2D, *_POOLINGS)
# What treats each place by itself, in use: it stays as it is.
_POINTWISE = (
    layers.Activation, layers.BatchNormalization, layers.Dropout, layers.LeakyReLU, layers.ReLU, layers.Rescaling,
    layers.SpatialDropout2D, LocalResponseNormalization,
)  # fmt: skip


def fully_convolutional(
    classifier: keras.Sequential, input_shape: tuple[int | None, int | None, int] | None = None
) -> keras.Sequential:
    """Return ``classifier`` with its dense layers as convolutions and the same weights: scores become maps of scores.

    The layer after Flatten becomes a convolution as large as the map before it, each later Dense one of 1 × 1 (Long,
    Shelhamer and Darrell, CVPR 2015, section 3.1). At the classifier's own size the map has one place. On a larger
    image each place has the scores of one window, which sees its surroundings where a single one has padding.
    ``input_shape`` is of open size by default. Raises ValueError for a model that is no such chain.
    """
    chain, window = [], None  # the window of the next dense layer; None before Flatten
    for layer in _layers(classifier):
        if isinstance(layer, layers.Flatten):
            window = layer.input.shape[1:3]
        elif isinstance(layer, layers.Dense):
            if window is None:
                raise ValueError(f"layer {layer.name!r} is a Dense layer, and no Flatten comes before it.")
            own = {"activation": layer.activation, "use_bias": layer.use_bias, "name": layer.name}
            chain.append(layers.Conv2D(layer.units, window, **own))
            window = (1, 1)
        else:
            chain.append(_copy(layer))
    if window is None:
        raise ValueError(f"{classifier.name!r} has no Flatten layer; what comes out are maps already.")
    dense = keras.Sequential([keras.Input(input_shape or (None, None, classifier.input_shape[-1])), *chain])
    for layer in dense.layers:
        pairs = zip(classifier.get_layer(layer.name).get_weights(), layer.weights, strict=True)
        layer.set_weights([value.reshape(own.shape) for value, own in pairs])
    return dense


def trade_stride_for_dilation(model: keras.Sequential, output_stride: int = 1) -> keras.Sequential:
    """Return ``model`` with strides of 1 and the same weights; what follows a lost stride of s is dilated by s.

    Place p of the strided network's map is place p · s of the new one, s being all strides lost, and there the two
    agree; the places between are new. Strides are kept as long as the effective stride is at most ``output_stride``.
    ``model`` is a chain of convolutions, poolings, zero padding and layers that treat each place by itself. Raises
    ValueError for any other layer, and where padding depends on a size that is left open. Source: Chen et al., 2018.
    """
    if output_stride < 1:
        raise ValueError(f"trade_stride_for_dilation(output_stride={output_stride}): it must be 1 or more.")
    chain, kept, lost = [], 1, [1, 1]
    for layer in _layers(model):
        if isinstance(layer, layers.ZeroPadding2D):
            padding = [[side * hole for side in sides] for sides, hole in zip(layer.padding, lost, strict=True)]
            chain.append(layers.ZeroPadding2D(padding, name=layer.name))
        elif isinstance(layer, _SLIDING) and (lost != [1, 1] or kept * max(layer.strides) > output_stride):
            chain += _dilated(layer, lost)
            lost = [hole * stride for hole, stride in zip(lost, layer.strides, strict=True)]
        elif isinstance(layer, _SLIDING):
            kept *= max(layer.strides)
            chain.append(_copy(layer))
        elif isinstance(layer, _POINTWISE):
            chain.append(_copy(layer))
        else:
            what = f"layer {layer.name!r} ({type(layer).__name__}) has no dilated form here"
            raise ValueError(f"{what}; dense layers need fully_convolutional() first.")
    dense = keras.Sequential([keras.Input(model.input_shape[1:]), *chain])
    for layer in model.layers:
        dense.get_layer(layer.name).set_weights(layer.get_weights())
    return dense


def _dilated(layer: Any, lost: list[int]) -> list[keras.Layer]:
    """Return a convolution or pooling with stride 1, for a map on which the places lie ``lost`` times as far apart."""
    pooling = type(layer) in _POOLINGS
    kernel, own = (layer.pool_size, (1, 1)) if pooling else (layer.kernel_size, layer.dilation_rate)
    dilation = [rate * hole for rate, hole in zip(own, lost, strict=True)]
    padding = [(0, 0), (0, 0)]
    if layer.padding == "same":
        for axis in (0, 1):
            size, after, stride = layer.input.shape[axis + 1], layer.output.shape[axis + 1], layer.strides[axis]
            reach = (kernel[axis] - 1) * own[axis]
            if stride > 1 and size is None:
                reason = f"with stride {stride} and padding='same' its zeros depend on the size of the input"
                raise ValueError(f"layer {layer.name!r}: {reason}, which this model leaves open; build it for a size.")
            zeros = reach if stride == 1 else max((after - 1) * stride + reach + 1 - size, 0)
            before = zeros // 2 * lost[axis]  # the strided layer's, as far apart as its places now are
            padding[axis] = before, reach * lost[axis] - before
    if pooling:
        return [DilatedPooling2D(_POOLINGS[type(layer)], kernel, dilation, padding, name=layer.name)]
    changed = {**layer.get_config(), "strides": 1, "padding": "valid", "dilation_rate": dilation}
    return [layers.ZeroPadding2D(padding, name=f"{layer.name}_zeros"), type(layer).from_config(changed)]


def _copy(layer: keras.Layer) -> keras.Layer:
    return type(layer).from_config(layer.get_config())


def _layers(model: keras.Sequential) -> list[Any]:
    if not isinstance(model, keras.Sequential) or not model.built:
        raise ValueError(f"{getattr(model, 'name', model)!r} must be a keras.Sequential that is built.")
    return model.layers


def dilated(
    classes: int,
    input_shape: tuple[int, int, int],
    *,
    width: int = 40,
    dilations: Sequence[int] = (1, 1, 2, 2, 4, 4, 8, 8),
    poolings: Sequence[int] = (0,),
) -> keras.Model:
    """Dilated convolutions, nearly at full size: (n, h, w, 3) in [0, 1], any h and w → scores (n, h, w, classes).

    A convolution of 16 maps, then one of ``width`` maps for each of ``dilations``, all 3 × 3, then the scores. Pooling
    halves the maps before those numbered in ``poolings``; interpolation makes up for it. By default three poolings of
    :func:`strided` are taken out, as by Yu and Koltun, ICLR 2016. Raises ValueError for an open size.
    """
    image, maps = _begin(input_shape, 16)
    for index, dilation in enumerate(dilations):
        below = layers.MaxPooling2D(2, padding="same")(maps) if index in poolings else maps
        maps = _convolution(below, width, dilation)
    maps = layers.Conv2D(classes, 1, name="scores")(maps)
    return keras.Model(image, _enlarged(maps, 2 ** len(poolings), like=image))


def strided(
    classes: int, input_shape: tuple[int, int, int], *, width: int = 40, poolings: Sequence[int] = (0, 2, 4, 6)
) -> keras.Model:
    """The convolutions of :func:`dilated` with poolings in place of dilation; four make a place of 16 × 16 pixels."""
    return dilated(classes, input_shape, width=width, dilations=[1] * 8, poolings=poolings)


def encoder_decoder(
    classes: int, input_shape: tuple[int, int, int], *, widths: Sequence[int] = (16, 20, 28, 32, 36)
) -> keras.Model:
    """An encoder as in :func:`strided` and a decoder with a skip at each size: (n, h, w, 3) → (n, h, w, classes).

    ``widths`` are the maps at each size, from full size down. After Ronneberger, Fischer and Brox, MICCAI 2015, with
    fewer convolutions and with padding. Raises ValueError for an open size.
    """
    (image, maps), skips = _begin(input_shape, widths[0]), []
    for width in widths[1:]:
        skips.append(maps)
        maps = layers.MaxPooling2D(2, padding="same")(maps)
        maps = _convolution(_convolution(maps, width), width)
    for width, skip in zip(widths[-2::-1], skips[::-1], strict=True):
        maps = _convolution(layers.Concatenate()([_enlarged(maps, 2, like=skip), skip]), width)
    return keras.Model(image, layers.Conv2D(classes, 1, name="scores")(maps))


def _begin(input_shape: tuple[int, int, int], width: int) -> tuple[Any, Any]:
    if len(input_shape) != 3 or None in input_shape:
        raise ValueError(f"input_shape is {tuple(input_shape)}; it must be (height, width, channels), all known.")
    image = keras.Input(input_shape)
    return image, _convolution(layers.Rescaling(4, offset=-2)(image), width)  # about mean 0 and deviation 1


def _convolution(maps: Any, width: int, dilation: int = 1) -> Any:
    settings = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal", "dilation_rate": dilation}
    maps = layers.Conv2D(width, 3, **settings)(maps)
    # Keras' momentum of 0.99 averages over a hundred steps, a whole epoch of a small data set.
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(maps))


def _enlarged(maps: Any, factor: int, like: Any) -> Any:
    """Interpolate to ``factor`` times the size, and cut off what pooling an odd size has added below and right."""
    maps = layers.UpSampling2D(factor, interpolation="bilinear")(maps)
    return layers.Cropping2D([(0, maps.shape[axis] - like.shape[axis]) for axis in (1, 2)])(maps)


@keras.saving.register_keras_serializable("course_lib")
class DilatedPooling2D(keras.layers.Layer):
    """Maximum or average of the ``pool_size`` values that lie ``dilation_rate`` apart, at every place (stride 1).

    Keras' poolings have no dilation. As in those, what ``padding``, ((top, bottom), (left, right)), adds counts neither
    for a maximum nor for an average. Raises ValueError for a kind that is neither "max" nor "average".
    """

    def __init__(self, kind: str, pool_size: Any, dilation_rate: Any, padding: Any = ((0, 0), (0, 0)), **kwargs: Any):
        super().__init__(**kwargs)
        if kind not in _POOLINGS.values():
            raise ValueError(f"DilatedPooling2D(kind={kind!r}): it must be 'max' or 'average'.")
        self.kind, self.pool_size, self.dilation_rate = kind, tuple(pool_size), tuple(dilation_rate)
        self.padding = tuple(map(tuple, padding))

    def call(self, inputs: Any) -> Any:
        if self.kind == "max":
            return self._slide(inputs, ops.maximum, -float("inf"))
        return self._slide(inputs, ops.add, 0.0) / self._slide(ops.ones_like(inputs[:1, ..., :1]), ops.add, 0.0)

    def _slide(self, x: Any, join: Any, outside: float) -> Any:
        x = ops.pad(x, [(0, 0), *self.padding, (0, 0)], constant_values=outside)
        for axis, (size, hole) in enumerate(zip(self.pool_size, self.dilation_rate, strict=True), start=1):
            joined, reach = None, (size - 1) * hole
            for start in range(0, reach + 1, hole):  # one value of each window at a time
                places = [slice(None)] * 4
                places[axis] = slice(start, start - reach or None)
                joined = x[tuple(places)] if joined is None else join(joined, x[tuple(places)])
            x = joined
        return x

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("kind", "pool_size", "dilation_rate", "padding")}
        return {**super().get_config(), **own}
