"""What part of the input a place of a map sees, for any graph of Keras layers. Introduced in chapter 03.

Source: A. Araujo, W. Norris and J. Sim, Computing receptive fields of convolutional neural networks, Distill, 2019,
doi:10.23915/distill.00021 ("the article" below). It goes from the output back to the input; this module goes forward
and keeps the first and the last index that each place sees, which also covers upsampling.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import keras
from keras import layers

from course_lib.analysis.graph import Call, Graph, is_elementwise, trace
from course_lib.models.dense_prediction import DilatedPooling2D
from course_lib.models.layers import (
    EverySecond,
    LocalResponseNormalization,
    RadialBasis,
    SparseConv2D,
    Subsampling,
)


def _of_all_ranks(*names: str) -> tuple[type[keras.Layer], ...]:
    found = (getattr(layers, f"{name}{rank}D", None) for name in names for rank in (1, 2, 3))
    return tuple(kind for kind in found if kind is not None)


# Layers whose window is described by a kernel, a stride and a padding.
_CONVOLUTIONS = _of_all_ranks("Conv", "DepthwiseConv", "SeparableConv")
_POOLINGS = _of_all_ranks("MaxPooling", "AveragePooling")
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_UPSAMPLINGS = _of_all_ranks("UpSampling")
_PADDINGS = _of_all_ranks("ZeroPadding")
_CROPPINGS = _of_all_ranks("Cropping")

# Layers that treat each place by itself, when the network is used and not trained; several inputs meet place by place.
_POINTWISE = (
    LocalResponseNormalization,
    RadialBasis,
    *(
        getattr(layers, name)
        for name in (
            "Activation", "ActivityRegularization", "Add", "AlphaDropout", "Average", "BatchNormalization",
            "Concatenate", "Dense", "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "Identity",
            "LayerNormalization", "LeakyReLU", "Maximum", "Minimum", "Multiply", "Normalization", "PReLU", "ReLU",
            "RMSNormalization", "Rescaling", "Softmax", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
            "Subtract", "UnitNormalization",
        )
    ),
)  # fmt: skip

# Of these, the ones that are pointwise only along the channels.
_ALONG_CHANNELS = tuple(
    getattr(layers, name)
    for name in ("Concatenate", "LayerNormalization", "RMSNormalization", "Softmax", "UnitNormalization")
)

# Layers in which a place sees the whole map, or after which there are no places.
_WHOLE = (
    *_of_all_ranks("GlobalAveragePooling", "GlobalMaxPooling", "AdaptiveAveragePooling", "AdaptiveMaxPooling"),
    *(
        getattr(layers, name)
        for name in (
            "AdditiveAttention", "Attention", "Bidirectional", "Dot", "Flatten", "GroupNormalization",
            "GroupQueryAttention", "GRU", "LSTM", "MultiHeadAttention", "Permute", "RepeatVector", "Reshape", "RNN",
            "SimpleRNN",
        )
    ),
)  # fmt: skip
_DROPS_PLACES = (layers.Flatten, *_of_all_ranks("GlobalAveragePooling", "GlobalMaxPooling"))


@dataclass(frozen=True)
class _Axis:
    """Which indices a place of a map sees along one axis: ``first[p]`` to ``last[p]`` for p below the period.

    The pattern repeats: one period further on in the map, both lie ``shift`` further on. Without upsampling the
    period is 1 and the shift is the stride. Both never fall as p grows.
    """

    shift: int
    first: tuple[int, ...]
    last: tuple[int, ...]

    def interval(self, place: int) -> tuple[int, int]:
        turns, phase = divmod(place, len(self.first))
        return self.first[phase] + turns * self.shift, self.last[phase] + turns * self.shift

    @property
    def stride(self) -> Fraction:
        return Fraction(self.shift, len(self.first))

    def seen_through(self, window: _Axis) -> _Axis:
        """Return what is seen where ``window`` says which places of this map the next map looks at."""
        turns = len(self.first) // math.gcd(window.shift, len(self.first))
        seen = [window.interval(place) for place in range(turns * len(window.first))]
        return _Axis(
            window.shift * turns // len(self.first) * self.shift,
            tuple(self.interval(low)[0] for low, _ in seen),
            tuple(self.interval(high)[1] for _, high in seen),
        )

    def with_period(self, period: int) -> _Axis:
        first, last = zip(*(self.interval(place) for place in range(period)), strict=True)
        return _Axis(self.shift * period // len(self.first), first, last)


@dataclass(frozen=True)
class _Field:
    """The axes of a map, and whether all branches that led to it had their fields around the same centres."""

    axes: tuple[_Axis, ...]
    aligned: bool = True


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a layer. Each tuple has an entry for each spatial axis: height, then width.

    ``map_size`` is the size of the layer's map, None where unknown. ``size`` is that of the field, in pixels or
    samples of the input; with upsampling it can differ from place to place, and is the largest. ``stride`` is the
    effective stride, the distance between the fields of neighbours: a Fraction where it is not whole. ``padding`` is
    the effective padding: by how much the field of place 0 begins before the input. ``aligned`` says whether all
    branches of the graph have their fields around the same centres; where they have not, the field is the union.
    """

    layer: str
    map_size: tuple[int | None, ...]
    size: tuple[int, ...]
    stride: tuple[int | Fraction, ...]
    padding: tuple[int, ...]
    aligned: bool
    _axes: tuple[_Axis, ...] = field(repr=False)

    def interval(self, position: int | Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Return the first and last input index that ``position`` of the map sees, for each axis.

        An int stands for the same index on all axes. The indices can lie outside the input: they are those that the
        place would see if the input and all maps went on beyond their edges, with the field in full. Inside the
        input they bound what is seen; between them, dilation and strides can leave gaps. Raises ValueError where
        ``position`` has another number of axes, IndexError where it lies outside the map.
        """
        places = (position,) * len(self._axes) if isinstance(position, int) else tuple(position)
        if len(places) != len(self._axes):
            raise ValueError(
                f"position {places} must have {len(self._axes)} indices, as the map of {self.layer!r} has."
            )
        for place, size in zip(places, self.map_size, strict=True):
            if place < 0 or (size is not None and place >= size):
                raise IndexError(f"position {places} lies outside the map of {self.layer!r}, {_times(self.map_size)}.")
        return tuple(axis.interval(place) for axis, place in zip(self._axes, places, strict=True))

    def centre(self, position: int | Sequence[int]) -> tuple[float, ...]:
        """Return the middle of :meth:`interval` for each axis, 0 being the middle of the first pixel."""
        return tuple((first + last) / 2 for first, last in self.interval(position))

    def __str__(self) -> str:
        return (
            f"{self.layer}: field {_times(self.size)}, stride {_times(self.stride)}, padding {_times(self.padding)}"
            f"{'' if self.aligned else ', branches not aligned'}"
        )


def receptive_field(
    model: keras.Model, output: str | keras.Layer | None = None, input: str | None = None
) -> ReceptiveField:
    """Return the receptive field of a layer of ``model``, as the network is when it is used and not trained.

    ``output`` is the layer or its name, by default the model's output; ``input`` names the input layer, and is
    needed where the model has several. Inputs are (batch, length, channels) or (batch, height, width, channels),
    channels last. What does not depend on ``input`` is left out of account.

    Raises ValueError where the layer has no field of finite size (the error names the layer in the way and the one
    before it), where branches of different strides meet, where padding "same" depends on a size that the model
    leaves open, for a name that is not there, and where no path leads from input to output; TypeError for a layer of
    unknown kind. Source: the article, section "Arbitrary computation graphs".
    """
    graph = trace(model)
    call, tensor = _find_output(graph, output)
    found = _fields(graph, input).get(id(tensor))
    if isinstance(found, Exception):
        raise found
    if found is None:
        start = _find_input(graph, input).operation.name
        raise ValueError(
            f"no path leads from the input {start!r} to the output {call.operation.name!r}; "
            "ask for a layer that depends on this input."
        )
    return _result(call.operation.name, tensor, found)


def receptive_field_table(model: keras.Model, input: str | None = None) -> str:
    """Return the fields of all layers of ``model`` that have one as text, a row a layer.

    Columns: name, size of the map, size of the field, effective stride, effective padding. ``input`` and the errors
    are as in :func:`receptive_field`; layers without a field have no row.
    """
    graph = trace(model)
    fields = _fields(graph, input)
    rows: list[tuple[str, ...]] = [("layer", "output", "field", "stride", "padding")]
    for call in graph.calls:
        found = fields.get(id(call.outputs[0]))
        if isinstance(found, _Field):
            row = _result(call.operation.name, call.outputs[0], found)
            rows.append((row.layer, *map(_times, (row.map_size, row.size, row.stride, row.padding))))
    name, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(
        f"{row[0]:<{name}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths, strict=True))
        for row in rows
    )


def _result(name: str, tensor: keras.KerasTensor, found: _Field) -> ReceptiveField:
    axes = found.axes
    return ReceptiveField(
        layer=name,
        map_size=tuple(tensor.shape[1:-1]) or (1,) * len(axes),
        size=tuple(max(last - first + 1 for first, last in zip(axis.first, axis.last, strict=True)) for axis in axes),
        stride=tuple(int(axis.stride) if axis.stride.denominator == 1 else axis.stride for axis in axes),
        padding=tuple(-axis.first[0] for axis in axes),
        aligned=found.aligned,
        _axes=axes,
    )


def _times(sizes: Iterable[Any]) -> str:
    return " × ".join("?" if size is None else str(size) for size in sizes)


def _near(name: str, names: Iterable[str]) -> str:
    known = list(dict.fromkeys(names))
    near = difflib.get_close_matches(name, known, cutoff=0.4) or known[-3:]
    return ", ".join(map(repr, near))


def _find_input(graph: Graph, name: str | None) -> Call:
    names = [call.operation.name for call in graph.inputs]
    if name is None and len(names) > 1:
        raise ValueError(f"the model has the inputs {', '.join(map(repr, names))}; say which one: input={names[0]!r}.")
    if name is not None and name not in names:
        raise ValueError(f"input={name!r} is no input of the model; it has {', '.join(map(repr, names))}.")
    return graph.inputs[names.index(name) if name is not None else 0]


def _find_output(graph: Graph, output: str | keras.Layer | None) -> tuple[Call, keras.KerasTensor]:
    calls = [*graph.inputs, *graph.calls, *graph.nested]
    if output is None:
        if len(graph.outputs) > 1:
            makers = {id(made): call.operation.name for call in calls for made in call.outputs}
            names = ", ".join(repr(makers[id(tensor)]) for tensor in graph.outputs)
            raise ValueError(f"the model has several outputs; say which layer: output= one of {names}.")
        return next((call, tensor) for call in calls for tensor in call.outputs if tensor is graph.outputs[0])
    if isinstance(output, str):
        matches = [call for call in calls if call.operation.name == output]
        if not matches:
            near = _near(output, (call.operation.name for call in calls))
            raise ValueError(f"output={output!r} is no layer of the model; names near it: {near}.")
    else:
        matches = [call for call in calls if call.operation is output]
        if not matches:
            raise ValueError(f"output={getattr(output, 'name', output)!r} is a layer that the model does not use.")
    if len(matches) > 1:
        raise ValueError(
            f"{matches[0].operation.name!r} is used at {len(matches)} places of the model, with a field at each; "
            "ask for a layer that is used once, such as the one that follows."
        )
    if len(matches[0].outputs) > 1:
        raise ValueError(f"{matches[0].operation.name!r} has several outputs; ask for a layer that makes one of them.")
    return matches[0], matches[0].outputs[0]


def _fields(graph: Graph, input: str | None) -> dict[int, _Field | Exception]:
    """Return for each tensor, by its id, its field or why it has none; tensors that do not see the input are absent."""
    source = _find_input(graph, input)
    tensor = source.outputs[0]
    if len(tensor.shape) < 3:
        raise ValueError(
            f"the input {source.operation.name!r} has the shape {tensor.shape}; a receptive field needs "
            "(batch, length, channels) or (batch, height, width, channels)."
        )
    makers = {id(made): call.operation.name for call in (*graph.inputs, *graph.calls) for made in call.outputs}
    fields: dict[int, _Field | Exception] = {id(tensor): _Field((_affine(1, 0, 0),) * (len(tensor.shape) - 2))}
    for call in graph.calls:
        entering = [(tensor, fields[id(tensor)]) for tensor in call.inputs if id(tensor) in fields]
        if entering:
            leaving = _through(call, entering, makers)
            fields |= {id(tensor): leaving for tensor in call.outputs}
    return fields


def _through(
    call: Call, entering: list[tuple[keras.KerasTensor, _Field | Exception]], makers: dict[int, str]
) -> _Field | Exception:
    fields: list[_Field] = []
    for _, found in entering:
        if isinstance(found, Exception):
            return found
        fields.append(found)
    layer, tensor = call.operation, entering[0][0]
    name = f"layer {layer.name!r} ({type(layer).__name__})"
    advice = f"ask for the field of {makers[id(tensor)]!r}, which comes before it."
    if getattr(layer, "data_format", None) == "channels_first":
        return ValueError(f"{name} has data_format='channels_first'; receptive fields are known for 'channels_last'.")
    if isinstance(layer, _POINTWISE) or is_elementwise(layer):
        axis = getattr(layer, "axis", -1) if isinstance(layer, _ALONG_CHANNELS) else -1
        axes = [axis] if isinstance(axis, int) else list(axis)
        if any(axis not in (-1, len(tensor.shape) - 1) for axis in axes):
            return ValueError(f"{name} with axis={axis} mixes places of the map; {advice}")
        return _union(name, advice, [tensor for tensor, _ in entering], fields)
    if isinstance(layer, _WHOLE):
        same = isinstance(layer, layers.Reshape) and call.outputs[0].shape == tensor.shape
        single = isinstance(layer, _DROPS_PLACES) and all(size == 1 for size in tensor.shape[1:-1])
        if same or single:
            return fields[0]
        return ValueError(f"{name} mixes or drops the places of the map, so it has no field of finite size; {advice}")
    try:
        windows = _windows(layer, tensor.shape[1:-1], call.outputs[0].shape[1:-1])
    except ValueError as error:
        return ValueError(f"{name}: {error}")
    if windows is None:
        return TypeError(f"what {name} sees is not known; write it with layers of Keras, or {advice}")
    if len(windows) != len(fields[0].axes):
        return ValueError(f"{name} slides along {len(windows)} axes of a map with {len(fields[0].axes)}; {advice}")
    axes_seen = tuple(axis.seen_through(window) for axis, window in zip(fields[0].axes, windows, strict=True))
    return _Field(axes_seen, fields[0].aligned)


def _union(name: str, advice: str, tensors: list[keras.KerasTensor], fields: list[_Field]) -> _Field | Exception:
    """Return the field of several maps taken together, place by place."""
    sizes = {tuple(tensor.shape[1:-1]) for tensor in tensors if None not in tensor.shape[1:-1]}
    if len(sizes) > 1 or len({len(found.axes) for found in fields}) > 1:
        shapes = ", ".join(str(tensor.shape) for tensor in tensors)
        return ValueError(
            f"{name} spreads one map over another, of shapes {shapes}, so a place sees too much; {advice}"
        )
    aligned, merged = all(found.aligned for found in fields), []
    for axes in zip(*(found.axes for found in fields), strict=True):
        strides = [axis.stride for axis in axes]
        if len(set(strides)) > 1:
            return ValueError(
                f"{name} joins branches of the effective strides {', '.join(map(str, strides))}: their fields drift "
                f"apart, so there is no field of one size; {advice}"
            )
        common = [axis.with_period(math.lcm(*(len(axis.first) for axis in axes))) for axis in axes]
        first = tuple(map(min, zip(*(axis.first for axis in common), strict=True)))
        last = tuple(map(max, zip(*(axis.last for axis in common), strict=True)))
        centres = {tuple(low + high for low, high in zip(axis.first, axis.last, strict=True)) for axis in common}
        aligned = aligned and len(centres) == 1
        merged.append(_Axis(common[0].shift, first, last))
    return _Field(tuple(merged), aligned)


def _affine(stride: int, begin: int, reach: int) -> _Axis:
    return _Axis(stride, (begin,), (begin + reach,))


def _windows(
    layer: Any, sizes: tuple[int | None, ...], sizes_after: tuple[int | None, ...]
) -> tuple[_Axis, ...] | None:
    """Return the window of ``layer`` on each axis, None for an unknown kind; a ValueError has only the reason."""
    rank = len(sizes)
    if isinstance(layer, EverySecond):
        return (_affine(2, 0, 0),) * 2
    if isinstance(layer, Subsampling):
        return (_affine(2, 0, 1),) * 2
    if isinstance(layer, SparseConv2D):
        return (_affine(1, 0, layer.kernel_size - 1),) * 2
    if isinstance(layer, DilatedPooling2D):
        holes = zip(layer.padding, layer.pool_size, layer.dilation_rate, strict=True)
        return tuple(_affine(1, -before, (size - 1) * hole) for (before, _), size, hole in holes)
    if isinstance(layer, _PADDINGS + _CROPPINGS):
        amounts = layer.padding if isinstance(layer, _PADDINGS) else layer.cropping
        sign = -1 if isinstance(layer, _PADDINGS) else 1
        return tuple(_affine(1, sign * before, 0) for before, _ in (amounts if rank > 1 else [amounts]))
    if isinstance(layer, _UPSAMPLINGS):
        factors = (layer.size,) * rank if isinstance(layer.size, int) else layer.size
        return tuple(_upsampling(factor, getattr(layer, "interpolation", "nearest")) for factor in factors)
    if isinstance(layer, _POOLINGS):
        kernels, dilations = layer.pool_size, (1,) * rank
    elif isinstance(layer, _CONVOLUTIONS + _TRANSPOSED):
        kernels, dilations = layer.kernel_size, layer.dilation_rate
    else:
        return None
    for argument, values in (("size", kernels), ("strides", layer.strides), ("dilation_rate", dilations)):
        if min(values) < 1:
            raise ValueError(f"{argument} {tuple(values)} must be 1 or more on each axis.")
    slide = _transposed if isinstance(layer, _TRANSPOSED) else _sliding
    return tuple(
        slide(layer, size, after, (kernel - 1) * dilation, stride)
        for size, after, kernel, dilation, stride in zip(
            sizes, sizes_after, kernels, dilations, layer.strides, strict=True
        )
    )


def _sliding(layer: Any, size: int | None, _: int | None, reach: int, stride: int) -> _Axis:
    if layer.padding == "valid":
        return _affine(stride, 0, reach)
    if layer.padding == "causal":
        return _affine(stride, -reach, reach)
    # "same" makes the map size / stride long, rounded up, and has the odd zero behind. With size unknown, any size is
    # possible, but it matters only by its remainder.
    candidates = range(1, stride + 1) if size is None else [(size - 1) % stride + 1]
    before = {max(reach + 1 - rest, 0) // 2 for rest in candidates}
    if len(before) > 1:
        raise ValueError(
            f"with stride {stride} and padding='same' its zeros depend on the size of the input, which this model "
            "leaves open; build the model for a fixed input size."
        )
    return _affine(stride, -before.pop(), reach)


def _transposed(layer: Any, size: int | None, after: int | None, reach: int, stride: int) -> _Axis:
    if reach + 1 < stride:
        raise ValueError(
            f"with a kernel of {reach + 1} and stride {stride} some places see nothing; use a larger kernel."
        )
    before = 0
    if layer.padding == "same":
        # It is the gradient of a "same" convolution that leads from its output back to its input.
        if layer.output_padding is not None and (size is None or after is None):
            raise ValueError(
                "with output_padding its zeros depend on the size of the input; build it for a fixed size."
            )
        rest = stride if size is None or after is None else after - (size - 1) * stride
        before = max(reach + 1 - rest, 0) // 2
    # Input i reaches the places from i·stride - before on; dilation allows no stride, and then steps over places.
    return _Axis(
        1,
        tuple(-((reach - before - place) // stride) for place in range(stride)),
        tuple((place + before) // stride for place in range(stride)),
    )


def _upsampling(factor: int, interpolation: str) -> _Axis:
    if interpolation == "nearest":
        return _Axis(1, (0,) * factor, (0,) * factor)
    if interpolation != "bilinear":
        raise ValueError(f"interpolation={interpolation!r} is not known here; use 'nearest' or 'bilinear'.")
    # The middle of place p lies at (p + 1/2) / factor - 1/2 of the map below; it mixes the two places around it.
    middles = [Fraction(2 * place + 1 - factor, 2 * factor) for place in range(factor)]
    return _Axis(1, tuple(map(math.floor, middles)), tuple(map(math.ceil, middles)))
