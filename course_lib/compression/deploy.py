"""Deployment: a trained network as a LiteRT file, in float32 or in 8-bit integers, and how fast it answers. Chapter 08.

LiteRT, once TensorFlow Lite, runs networks on phones and microcontrollers. Its file holds the layers as a flat list
of operations for one input at a time; with 8 bits it follows Jacob and others, Quantization and training of neural
networks for efficient integer-arithmetic-only inference, CVPR 2018: kernels are symmetric, with a step for each output
channel of a convolution and one for a dense layer; activations are affine.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from course_lib import settings
from course_lib.analysis.roofline import median_seconds
from course_lib.compression.quantize import Quantizer, checked_examples


def export(network: keras.Model, path: Path, representative: ArrayLike | None = None) -> Path:
    """Write a network with one input and one output as a LiteRT file, and return its path.

    Without ``representative`` the file computes in float32. With it everything is an 8-bit integer, what goes in and
    what comes out too. These inputs (n, …) fix the range of every activation: take a few hundred from the training
    data, which cover what will come. Raises ValueError for such inputs of another shape, with NaN or none; for a
    network that is not built or LiteRT cannot express; and on other backends than TensorFlow.
    """
    if keras.config.backend() != "tensorflow":
        raise ValueError(f"export() needs KERAS_BACKEND=tensorflow, not {keras.config.backend()}.")
    if [len(getattr(network, end, None) or ()) for end in ("inputs", "outputs")] != [1, 1]:
        raise ValueError(f"export(network): {network.name} must be built and have one input and one output.")
    import tensorflow as tf

    shape = (1, *network.input_shape[1:])
    if None in shape:
        raise ValueError(
            f"export(network): {network.name} leaves sizes open, {network.input_shape}; give keras.Input all."
        )
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if representative is not None:
        examples = checked_examples("export(representative)", representative, shape[1:])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([example[None]] for example in examples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        # A step for each unit of a dense layer would be 7 % of LeNet-5's file; one for its kernel does as well.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    try:
        # The converter tells much that helps nobody.
        with settings.no_native_log(), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.filterwarnings("ignore", "Statistics for quantized inputs", UserWarning)
            content = converter.convert()
    except Exception as error:  # the converter has no narrower one in common
        raise ValueError(
            f"export(network): LiteRT cannot express {network.name}; put layers that it has in place of what it names "
            f"here: {error}"
        ) from error
    path.write_bytes(content)
    return path


class LiteNetwork:
    """A LiteRT file, loaded, which answers one input after another on one thread.

    ``input_quantizer`` and ``output_quantizer`` are those of a file in 8 bits, None in float32; ``covered`` is the
    range that inputs may have, without limits in float32; ``size`` is that of the file in bytes. Raises ValueError
    where there is no such file or it is not for LiteRT.
    """

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        if not path.is_file():
            raise ValueError(f"{path}: there is no such file; write it with export().")
        try:
            with settings.no_native_log():
                self._interpreter = Interpreter(model_path=str(path), num_threads=1)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path} is no file that LiteRT can run ({error}); write it with export().") from error
        self.path, self.size = path, path.stat().st_size
        self._input, self._output = self._interpreter.get_input_details()[0], self._interpreter.get_output_details()[0]
        self.input_quantizer, self.output_quantizer = _quantizer(self._input), _quantizer(self._output)
        self.covered = (-np.inf, np.inf)
        if self.input_quantizer:
            low, high = self.input_quantizer.decode([self.input_quantizer.lowest, self.input_quantizer.highest])
            self.covered = float(low), float(high)

    def encode(self, inputs: ArrayLike) -> NDArray[Any]:
        """Return inputs (n, …) as the file takes them: int8 codes or float32, same shape.

        Raises ValueError for another shape, NaN, no inputs, and values more than half a step outside ``covered``.
        """
        examples = checked_examples("inputs", inputs, tuple(self._input["shape"][1:]))
        if self.input_quantizer is None:
            return examples
        low, high = float(examples.min()), float(examples.max())
        margin = float(self.input_quantizer.step) / 2
        if low < self.covered[0] - margin or high > self.covered[1] + margin:
            raise ValueError(
                f"inputs from {low:.4g} to {high:.4g}: the representative set of {self.path.name} covered "
                f"{self.covered[0]:.4g} to {self.covered[1]:.4g}. Scale inputs as in training, or export with a set "
                "that covers them."
            )
        return self.input_quantizer.encode(examples).astype(np.int8)

    def answer(self, one: NDArray[Any]) -> NDArray[Any]:
        """Return what the file gives for one encoded input (1, …): scores (1, scores), as int8 codes or float32."""
        self._interpreter.set_tensor(self._input["index"], one)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output["index"])

    def predict(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """Return the scores (n, scores) of inputs (n, …). Raises as :meth:`encode`."""
        encoded = self.encode(inputs)
        scores = np.concatenate([self.answer(encoded[place : place + 1]) for place in range(len(encoded))])
        return (self.output_quantizer.decode(scores) if self.output_quantizer else scores).astype("float32")


def latencies(
    network: keras.Model, files: Mapping[str, LiteNetwork], one: ArrayLike, *, seconds: float = 0.5
) -> dict[str, float]:
    """Return the median time of one input (1, …) in microseconds: of each file by its name, and of Keras by three ways.

    A file is given its input encoded, as a sensor would give it. Keras' ways are the network compiled to one graph
    (``tf.function``), called layer by layer, and ``predict``, which sets up a data pipeline for each call; they may use
    all cores. Each way is warmed up and then asked for so many ``seconds``, five times at the least. Raises ValueError
    for another shape or more than one input.
    """
    import tensorflow as tf

    example = checked_examples("latencies(one)", one, network.input_shape[1:])
    if len(example) != 1:
        raise ValueError(f"latencies(one) has {len(example)} inputs; give one, of shape (1, …).")
    tensor, compiled = tf.constant(example), tf.function(lambda x: network(x, training=False))

    def of_file(file: LiteNetwork) -> Callable[[], Any]:
        encoded = file.encode(example)
        return lambda: file.answer(encoded)

    ways: dict[str, Callable[[], Any]] = {name: of_file(file) for name, file in files.items()}
    ways["Keras, compiled"] = lambda: compiled(tensor).numpy()
    ways["Keras, called"] = lambda: network(tensor, training=False).numpy()
    ways["Keras, predict"] = lambda: network.predict(example, verbose=0)
    return {name: 1e6 * median_seconds(way, repeats=5, seconds=seconds, warm_up=3) for name, way in ways.items()}


def _quantizer(details: Mapping[str, Any]) -> Quantizer | None:
    """Return how an input or output of a file is quantized, None where it is float32."""
    if details["dtype"] != np.int8:
        return None
    scale, zero_point = details["quantization"]
    return Quantizer(np.asarray(scale, np.float64), np.asarray(zero_point, np.int64), -128, 127)
