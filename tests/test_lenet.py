"""LeNet-5 as taught and as in 1998, against the numbers of the paper."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from course_lib.datasets.digits import read_sample
from course_lib.models.lenet import C3_TABLE, WEIGHTS, digit_bitmaps, lenet5, lenet5_1998, load_lenet5

# Worked out from the paper, section II.B: kernel 5 × 5, 6 and 16 maps, 400 → 120 → 84 → 10, and a bias a unit or map.
TAUGHT = {"C1": 156, "S2": 0, "C3": 2_416, "S4": 0, "flatten": 0, "C5": 48_120, "F6": 10_164, "output": 850}
PAPER = {"C1": 156, "S2": 12, "C3": 1_516, "S4": 32, "C5": 48_120, "F6": 10_164}


def test_taught_network_has_61706_parameters() -> None:
    model = lenet5()
    assert {layer.name: layer.count_params() for layer in model.layers} == TAUGHT
    assert model.count_params() == sum(TAUGHT.values()) == 61_706
    assert not model.non_trainable_weights


@pytest.mark.parametrize("pooling", ["average", "max", "none"])
def test_shapes_of_the_taught_network(pooling: str) -> None:
    shapes = {layer.name: layer.output.shape[1:] for layer in lenet5(pooling=pooling).layers}
    assert shapes == {
        "C1": (28, 28, 6), "S2": (14, 14, 6), "C3": (10, 10, 16), "S4": (5, 5, 16),
        "flatten": (400,), "C5": (120,), "F6": (84,), "output": (10,),
    }  # fmt: skip


def test_network_of_the_paper_has_60000_trainable_parameters() -> None:
    model = lenet5_1998()
    counts = {layer.name: layer.count_params() for layer in model.layers if layer.count_params()}
    assert counts == PAPER
    assert sum(weight.numpy().size for weight in model.trainable_weights) == 60_000


def test_shapes_of_the_network_of_the_paper() -> None:
    model = lenet5_1998()
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers if layer.name in {*PAPER, "pad", "output"}}
    assert shapes == {
        "pad": (32, 32, 1), "C1": (28, 28, 6), "S2": (14, 14, 6), "C3": (10, 10, 16), "S4": (5, 5, 16),
        "C5": (1, 1, 120), "F6": (84,), "output": (10,),
    }  # fmt: skip


def test_grey_values_of_the_paper_reach_the_first_layer() -> None:
    model = lenet5_1998()
    scaled = keras.Model(model.inputs[0], model.get_layer("scale").output)
    picture = np.zeros((1, 28, 28, 1), "float32")
    picture[0, 14, 14] = 1
    output = keras.ops.convert_to_numpy(scaled(picture))
    assert output[0, 16, 16, 0] == pytest.approx(1.175, abs=1e-6)
    assert np.delete(output.ravel(), 16 * 32 + 16) == pytest.approx(np.full(32 * 32 - 1, -0.1), abs=1e-6)


def test_c3_table_follows_the_rule_of_the_paper() -> None:
    triples = [{(start + step) % 6 for step in range(3)} for start in range(6)]
    quadruples = [{(start + step) % 6 for step in range(4)} for start in range(6)]
    expected = [*triples, *quadruples, {0, 1, 3, 4}, {1, 2, 4, 5}, {0, 2, 3, 5}, set(range(6))]
    assert [set(maps) for maps in C3_TABLE] == expected
    assert sum(map(len, C3_TABLE)) == 60


def test_network_of_the_paper_uses_its_table() -> None:
    assert [tuple(maps) for maps in lenet5_1998().get_layer("C3").table] == list(C3_TABLE)


@pytest.mark.parametrize("size", [12, 13, 28, 29, 30, 32])
@pytest.mark.parametrize("pooling", ["max", "none"])
def test_pooling_changes_neither_parameters_nor_shapes(pooling: str, size: int) -> None:
    average, other = lenet5((size, size, 1)), lenet5((size, size, 1), pooling=pooling)
    assert [layer.output.shape for layer in other.layers] == [layer.output.shape for layer in average.layers]
    assert other.count_params() == average.count_params()


def test_without_pooling_one_value_of_each_block_is_kept() -> None:
    values = np.arange(28 * 28 * 6, dtype="float32").reshape(1, 28, 28, 6)
    kept = keras.ops.convert_to_numpy(lenet5(pooling="none").get_layer("S2")(values))
    for row, column in itertools.product(range(14), range(14)):
        block = values[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].reshape(4, 6)
        assert any((kept[0, row, column] == candidate).all() for candidate in block)


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_pooling_is_what_its_name_says(pooling: str) -> None:
    values = np.random.default_rng(0).normal(size=(1, 28, 28, 6)).astype("float32")
    blocks = values.reshape(1, 14, 2, 14, 2, 6)
    expected = blocks.mean(axis=(2, 4)) if pooling == "average" else blocks.max(axis=(2, 4))
    found = keras.ops.convert_to_numpy(lenet5(pooling=pooling).get_layer("S2")(values))
    assert found == pytest.approx(expected, abs=1e-6)


def test_scores_come_out_not_probabilities() -> None:
    images = np.random.default_rng(0).uniform(size=(4, 28, 28, 1)).astype("float32")
    scores = keras.ops.convert_to_numpy(lenet5()(images))
    assert scores.min() < 0, "a softmax would leave none"
    assert not np.allclose(scores.sum(axis=1), 1)


def test_colour_and_more_classes() -> None:
    # C1 has 5·5·3·6 + 6 parameters; 36 × 36 pixels leave 7 × 7 × 16 for C5.
    model = lenet5((36, 36, 3), classes=26, activation="relu")
    assert model.get_layer("C1").count_params() == 456
    assert model.get_layer("C5").count_params() == (7 * 7 * 16 + 1) * 120
    assert model.output_shape == (None, 26)


@pytest.mark.parametrize("pooling", ["mean", "", "Average"])
def test_unknown_pooling_is_refused(pooling: str) -> None:
    with pytest.raises(ValueError, match=f"pooling is {pooling!r}; it must be one of average, max, none"):
        lenet5(pooling=pooling)


@pytest.mark.parametrize("shape", [(11, 28, 1), (28, 11, 1), (4, 4, 3)])
def test_images_too_small_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=f"at least 12 × 12 pixels, not {shape[0]} × {shape[1]}"):
        lenet5(shape)


def test_bitmaps_are_ten_different_signs() -> None:
    bitmaps = digit_bitmaps()
    assert bitmaps.shape == (10, 84) and bitmaps.dtype == np.float32
    assert set(np.unique(bitmaps)) == {-1, 1}
    distances = [np.sum(a != b) for a, b in itertools.combinations(bitmaps, 2)]
    assert len(distances) == 45 and min(distances) >= 5


def test_bitmaps_look_like_their_digits() -> None:
    pictures = digit_bitmaps().reshape(10, 12, 7) > 0
    assert (pictures[0] == pictures[0, ::-1, ::-1]).all(), "a nought is the same upside down"
    assert pictures[1, :, 3].all() and pictures[7, 0].all() and pictures[2, -1].all()
    assert not pictures[0, 3:9, 2:5].any(), "a nought is open in the middle"


def test_penalty_of_a_bitmap_is_zero_for_its_own_class() -> None:
    penalties = keras.ops.convert_to_numpy(lenet5_1998().get_layer("output")(digit_bitmaps()))
    # Two signs that differ in a pixel lie (1 - -1)² = 4 apart.
    differing = [[np.sum(a != b) for b in digit_bitmaps()] for a in digit_bitmaps()]
    assert penalties == pytest.approx(4 * np.array(differing), abs=1e-4)


@pytest.fixture
def copied_weights(tmp_path: Path) -> Path:
    """A copy of the weights that ship, with their card."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("lenet5.json", "lenet5.weights.h5"):
        shutil.copyfile(WEIGHTS / name, folder / name)
    return folder


def test_trained_network_reads_the_test_digits() -> None:
    images, labels = read_sample()
    model = load_lenet5()
    scores = model.predict(images[4_000:].astype("float32") / 255, batch_size=500, verbose=0)
    right = float(np.mean(scores.argmax(axis=1) == labels[4_000:]))
    assert right >= 0.96
    card = json.loads((WEIGHTS / "lenet5.json").read_text(encoding="utf-8"))
    assert right == pytest.approx(card["test accuracy"], abs=0.0021)
    assert card["data"] == "sample", "weights that ship are trained on data that ships"


def test_copied_weights_load(copied_weights: Path) -> None:
    for ours, theirs in zip(load_lenet5(copied_weights).get_weights(), load_lenet5().get_weights(), strict=True):
        assert (ours == theirs).all()


def test_changed_weights_are_refused(copied_weights: Path) -> None:
    path = copied_weights / "lenet5.weights.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not the weights of its card"):
        load_lenet5(copied_weights)


def test_missing_weights_are_named(copied_weights: Path) -> None:
    (copied_weights / "lenet5.weights.h5").unlink()
    with pytest.raises(ValueError, match=r"lenet5\.weights\.h5: .*nothing.*git checkout"):
        load_lenet5(copied_weights)
