"""LiteRT files: written, loaded afresh, right, small, and refused where they cannot be."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops
from numpy.typing import NDArray

from course_lib.compression.deploy import LiteNetwork, export, latencies
from course_lib.compression.quantize import quantize_network, signal_to_noise


def images(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Images whose values are in [0, 1], both ends among them."""
    drawn = np.random.default_rng(seed).uniform(0, 1, (count, 12, 12, 1)).astype("float32")
    drawn[:, 0, 0], drawn[:, 0, 1] = 0, 1
    return drawn


@pytest.fixture(scope="module")
def network() -> keras.Sequential:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            layers.Conv2D(8, 3, activation="relu", name="conv"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(200, activation="relu"),
            layers.Dense(10, name="output"),
        ],
        name="little",
    )


@pytest.fixture(scope="module")
def files(network: keras.Sequential, tmp_path_factory: pytest.TempPathFactory) -> dict[str, LiteNetwork]:
    folder = tmp_path_factory.mktemp("lite")
    paths = [
        export(network, folder / "float.tflite"),
        export(network, folder / "int8.tflite", representative=images(100, seed=1)),
    ]
    return {path.stem: LiteNetwork(path) for path in paths}


def test_the_float_file_gives_the_scores_of_keras(network: keras.Sequential, files: dict[str, LiteNetwork]) -> None:
    scores = files["float"].predict(images(20))
    assert (scores.shape, scores.dtype) == ((20, 10), np.float32)
    np.testing.assert_allclose(scores, network(images(20)), atol=1e-5)


def test_the_int8_file_is_as_near_as_eight_bits_allow(network: keras.Sequential, files: dict[str, LiteNetwork]) -> None:
    scores = ops.convert_to_numpy(network(images(50)))
    simulated = quantize_network(network, images(100, seed=1), weight_bits=8, activation_bits=8).scores(images(50))
    output = files["int8"].output_quantizer
    assert output is not None  # unlike the simulation, the file rounds its scores too
    expected = signal_to_noise(scores, output(simulated))
    assert expected > 25
    assert signal_to_noise(scores, files["int8"].predict(images(50))) == pytest.approx(expected, abs=2)


def test_everything_in_the_int8_file_is_an_integer(files: dict[str, LiteNetwork]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(files["int8"].path))
    kinds = {np.dtype(details["dtype"]) for details in interpreter.get_tensor_details()}
    assert kinds == {np.dtype("int8"), np.dtype("int32")}  # int32: biases and shapes
    assert files["int8"].covered == pytest.approx((0, 1), abs=1e-6)
    assert files["float"].covered == (-np.inf, np.inf)
    assert files["int8"].encode(images(1))[0, 0, :2, 0].tolist() == [-128, 127]


def test_the_size_is_that_of_the_weights_four_bytes_each_or_one(
    network: keras.Sequential, files: dict[str, LiteNetwork]
) -> None:
    weights = network.count_params()
    for name, size in (("float", 4), ("int8", 1)):
        assert files[name].size == files[name].path.stat().st_size
        assert 0 < files[name].size - size * weights < 8000  # what describes the layers


def test_a_file_needs_nothing_but_itself(files: dict[str, LiteNetwork], tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.tflite"
    moved.write_bytes(files["int8"].path.read_bytes())
    np.testing.assert_array_equal(LiteNetwork(moved).predict(images(5)), files["int8"].predict(images(5)))


def test_inputs_that_do_not_fit_are_refused(files: dict[str, LiteNetwork]) -> None:
    for file in files.values():
        with pytest.raises(ValueError, match=r"inputs of shape \(12, 12, 1\) must be \(n, 12, 12, 1\)"):
            file.predict(images(1)[0])
        with pytest.raises(ValueError, match=r"n at least 1"):
            file.predict(images(0))
        with pytest.raises(ValueError, match="144 values that are NaN"):
            file.predict(images(1) * np.nan)
    with pytest.raises(ValueError, match=r"inputs from 0 to 255: the representative set of int8.tflite covered 0 to 1"):
        files["int8"].predict(images(3) * 255)
    with pytest.raises(ValueError, match=r"inputs from -0.5"):
        files["int8"].predict(images(3) - 0.5)
    assert np.isfinite(files["float"].predict(images(3) * 255)).all()


def test_a_representative_set_that_does_not_fit_is_refused(network: keras.Sequential, tmp_path: Path) -> None:
    path = tmp_path / "none.tflite"
    for wrong in (images(3)[..., 0], images(0)):
        with pytest.raises(ValueError, match=r"export\(representative\) of shape .* must be \(n, 12, 12, 1\)"):
            export(network, path, wrong)
    with pytest.raises(ValueError, match=r"export\(representative\) has 432 values that are NaN"):
        export(network, path, images(3) * np.nan)
    assert not path.exists()


class Determinant(layers.Layer):
    """An operation that LiteRT does not have."""

    def call(self, inputs: object) -> object:
        return ops.linalg.det(inputs)[:, None]


def test_a_network_that_litert_cannot_express_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.tflite"
    strange = keras.Sequential([keras.Input((3, 3)), Determinant()], name="strange")
    with pytest.raises(ValueError, match=r"(?s)LiteRT cannot express strange.*MatrixDeterminant"):
        export(strange, path)
    with pytest.raises(ValueError, match="must be built and have one input"):
        export(keras.Sequential([layers.Dense(2)]), path)
    first, second = keras.Input((2,)), keras.Input((2,))
    with pytest.raises(ValueError, match="one input and one output"):
        export(keras.Model([first, second], layers.add([first, second])), path)
    with pytest.raises(ValueError, match=r"leaves sizes open, \(None, None, None, 3\)"):
        export(keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 3)]), path)
    assert not path.exists()


def test_a_file_that_is_missing_or_no_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    with pytest.raises(ValueError, match="there is no such file; write it with export"):
        LiteNetwork(path)
    path.write_bytes(b"no network" * 100)
    with pytest.raises(ValueError, match=r"broken.tflite is no file that LiteRT can run"):
        LiteNetwork(path)


def test_latencies_name_every_way_and_keras_predict_is_the_slowest(
    network: keras.Sequential, files: dict[str, LiteNetwork]
) -> None:
    found = latencies(network, files, images(1), seconds=0.05)
    assert list(found) == ["float", "int8", "Keras, compiled", "Keras, called", "Keras, predict"]
    assert 0 < found["float"] < found["Keras, compiled"] < found["Keras, predict"]
    with pytest.raises(ValueError, match=r"latencies\(one\) has 2 inputs"):
        latencies(network, files, images(2))
