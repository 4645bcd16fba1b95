"""The published cue-conflict stimuli: read whole, resized, or refused with the file and a remedy."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course_lib.datasets import DataError, cue_conflict
from course_lib.datasets.cue_conflict import SHA256, load_cue_conflict
from course_lib.robustness.bias import SHARED


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_settings: None) -> None:
    """No mirror, no earlier download, no network, unless a test says otherwise."""
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COURSE_OFFLINE", "1")


@pytest.mark.real_data
def test_mirror_is_read_whole(
    mirror: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COURSE_DATA_DIR", str(mirror))
    stimuli = load_cue_conflict(160)
    assert stimuli is not None and stimuli.images.shape == (1280, 160, 160, 3) and stimuli.images.dtype == np.float32
    names, per_shape = np.unique(stimuli.shapes, return_counts=True)
    assert len(names) == 16 and (per_shape == 80).all()
    assert (np.unique(stimuli.textures, return_counts=True)[1] == 80).all()
    assert (stimuli.shapes == stimuli.textures).sum() == 80  # the 1,200 of the paper are left
    assert capsys.readouterr().out == "cue_conflict from the local mirror (COURSE_DATA_DIR): 1,280 images\n"
    files = sorted(path for path in (mirror / "cue_conflict").rglob("*.jpg"))
    cat = [path.name for path in files].index("cat7-elephant1.jpg")
    assert (stimuli.shapes[cat], stimuli.textures[cat]) == ("cat", "elephant")
    np.testing.assert_array_equal(255 * stimuli.images[cat], np.asarray(Image.open(files[cat]), np.float32))
    shared = stimuli.among(SHARED.values())
    assert len(shared) == 210 and set(shared.shapes) == set(shared.textures) == set(SHARED.values())
    assert not (shared.shapes == shared.textures).any()


@pytest.mark.real_data
def test_checksum_is_that_of_the_list_beside_the_mirror(mirror: Path) -> None:
    lines = (mirror / "SHA256SUMS.txt").read_bytes().splitlines(keepends=True)
    assert hashlib.sha256(b"".join(line for line in lines if b" cue_conflict/" in line)).hexdigest() == SHA256


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up set of four images of two classes, in the published form; to be broken."""
    place = tmp_path / "mirror" / "cue_conflict"
    generator = np.random.default_rng(0)
    for name in ("bear1-bear1", "bear1-cat2", "cat1-cat3", "cat2-bear10"):
        folder = place / name.partition("1")[0].partition("2")[0]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.kron(generator.integers(0, 256, (2, 2, 3), np.uint8), np.ones((112, 112, 1), np.uint8))
        Image.fromarray(pixels).save(folder / f"{name}.png")
    monkeypatch.setattr(cue_conflict, "CLASSES", ("bear", "cat"))
    monkeypatch.setattr(cue_conflict, "COUNT", 2)
    monkeypatch.setenv("COURSE_DATA_DIR", str(place.parent))
    return place


def test_names_give_the_classes_and_images_are_resized(small: Path) -> None:
    stimuli = load_cue_conflict(32)
    assert stimuli is not None and stimuli.images.shape == (4, 32, 32, 3) and len(stimuli) == 4
    assert stimuli.shapes.tolist() == ["bear", "bear", "cat", "cat"]
    assert stimuli.textures.tolist() == ["bear", "cat", "cat", "bear"]
    pixels = np.asarray(Image.open(small / "bear/bear1-cat2.png"))
    np.testing.assert_allclose(255 * stimuli.images[1, 4, 4], pixels[40, 40], atol=1)  # far from the middle's edges
    np.testing.assert_allclose(255 * stimuli.images[1, 4, 28], pixels[40, 200], atol=1)
    conflict = stimuli.among(["bear", "cat"])
    assert conflict.shapes.tolist() == ["bear", "cat"] and conflict.textures.tolist() == ["cat", "bear"]
    np.testing.assert_array_equal(conflict.images, stimuli.images[[1, 3]])
    assert len(stimuli.among(["bear"])) == 0


def test_jpeg_that_is_not_the_copy_is_a_wrong_checksum(small: Path) -> None:
    for path in small.glob("*/*.png"):
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    with pytest.raises(DataError, match=r"cue_conflict: wrong checksum.*style-transfer-preprocessed-512"):
        load_cue_conflict(32)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing folder": (lambda place: shutil.rmtree(place / "cat"), "cat: it holds 0 images, not 2"),
    "fewer": (lambda place: (place / "bear/bear1-cat2.png").unlink(), "bear: it holds 1 images, not 2"),
    "truncated": (lambda place: cut(place / "cat/cat2-bear10.png"), r"cat2-bear10\.png: it is truncated or no image"),
    "no image": (
        lambda place: (place / "cat/cat1-cat3.png").write_text("no"),
        r"cat1-cat3\.png: it is truncated or no",
    ),
    "unknown texture": (
        lambda place: (place / "cat/cat1-cat3.png").rename(place / "cat/cat1-dog3.png"),
        r"cat1-dog3\.png: it should be called catNUMBER-TEXTURENUMBER",
    ),
    "wrong folder": (
        lambda place: (place / "cat/cat1-cat3.png").rename(place / "cat/bear1-cat3.png"),
        r"bear1-cat3\.png: it should be called catNUMBER-TEXTURENUMBER",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named_with_its_file_and_a_remedy(small: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    damage, message = FAULTS[fault]
    damage(small)
    with pytest.raises(DataError, match=f"{message}.*Copy stimuli.*COURSE_DATA_DIR"):
        load_cue_conflict(32)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("offline", ["0", "1"])
def test_without_it_the_section_steps_aside(
    offline: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COURSE_OFFLINE", offline)
    assert load_cue_conflict(32) is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("This section steps aside: cue_conflict is not in the download folder") and "Copy" in line


def test_no_side_is_refused() -> None:
    with pytest.raises(ValueError, match=r"side=0\): it must be at least 1"):
        load_cue_conflict(0)
