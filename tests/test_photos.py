"""Photographs: CIFAR-10 as published and as recompressed, what is refused, and the sample cut from ten pictures."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from course_lib import settings
from course_lib.datasets import DataError, load_photos
from course_lib.datasets.photos import CIFAR10, SAMPLE, read_sample
from course_lib.datasets.sources import TfdsImages, find_tfds

# The means of the original images, pixels in [0, 1], as many public programs give them.
MEANS = {"train": (0.49139968, 0.48215841, 0.44653091), "test": (0.49421428, 0.48513139, 0.45040909)}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_settings: None) -> None:
    """No mirror, no earlier download, no network, quick profile, unless a test says otherwise."""
    for name in ("COURSE_DATA_DIR", "COURSE_SEED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("COURSE_PROFILE", "quick")


# CIFAR-10


def test_sums_are_the_published_means() -> None:
    for split, count in CIFAR10.splits.items():
        assert np.array(CIFAR10.sums[split]) / (count * 32 * 32 * 255) == pytest.approx(MEANS[split], abs=1e-8)


@pytest.mark.real_data
def test_mirror_has_the_labels_of_the_original_and_says_that_images_are_altered(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_DATA_DIR", str(mirror))
    monkeypatch.setenv("COURSE_PROFILE", "full")
    data = load_photos()
    assert (len(data.train), len(data.validation), len(data.test)) == (45_000, 5_000, 10_000)
    assert data.train.labels[:5].tolist() == [6, 9, 9, 4, 1] and data.test.labels[:5].tolist() == [3, 8, 8, 0, 6]
    labels = np.concatenate([data.train.labels, data.validation.labels])
    assert np.bincount(labels).tolist() == [5_000] * 10 and np.bincount(data.test.labels).tolist() == [1_000] * 10
    assert data.train.images.dtype == np.float32 and data.train.images.shape[1:] == (32, 32, 3)
    assert data.train.images.min() == 0 and data.train.images.max() == 1
    assert data.test.images.mean(axis=(0, 1, 2), dtype=float) == pytest.approx(MEANS["test"], abs=0.002)
    assert "recompressed as JPEG" in data.source and "differ a little from those on the original" in data.source


SMALL = {"train": 20, "test": 10}


def encoded(images: NDArray[np.uint8], kind: str, **how: int) -> list[bytes]:
    """Return images as the files that Pillow writes."""
    files = []
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, kind, **how)
        files.append(stream.getvalue())
    return files


def prepare(folder: Path, splits: dict[str, tuple[list[bytes], NDArray[np.uint8]]]) -> None:
    """Write image files and labels as TFDS would: shuffled by the hash of split and index, in TFRecord files."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    place = folder / "tensorflow_datasets" / "cifar10" / "3.0.2"
    place.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=(32, 32, 3)), "label": tfds.features.ClassLabel(num_classes=10)}
    )
    features.save_config(place)
    information = []
    for split, (files, labels) in splits.items():
        order = sorted(range(len(files)), key=lambda index: hashlib.md5(f"{split}{index}".encode()).digest())
        with tf.io.TFRecordWriter(str(place / f"cifar10-{split}.tfrecord-00000-of-00001")) as writer:
            for index in order:
                example = tf.train.Example()
                example.features.feature["image"].bytes_list.value.append(files[index])
                example.features.feature["label"].int64_list.value.append(int(labels[index]))
                writer.write(example.SerializeToString())
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        information.append({"name": split, "shardLengths": [str(len(files))], "filepathTemplate": template})
    head = {"name": "cifar10", "version": "3.0.2", "fileFormat": "tfrecord", "splits": information}
    (place / "dataset_info.json").write_text(json.dumps(head), encoding="utf-8")


def idx_md5(labels: NDArray[np.uint8]) -> str:
    """Return the MD5 of labels in the format of MNIST's label files."""
    return hashlib.md5(bytes([0, 0, 8, 1]) + len(labels).to_bytes(4, "big") + labels.tobytes()).hexdigest()


class Small:
    """Thirty patches of the sample in place of CIFAR-10, as PNG or JPEG, and what makes them right."""

    def __init__(self) -> None:
        images, labels = read_sample()
        parts = {"train": slice(0, 20), "test": slice(20, 30)}
        self.images = {split: images[part].copy() for split, part in parts.items()}
        self.labels = {split: labels[part].copy() for split, part in parts.items()}
        self.wanted: TfdsImages = replace(
            CIFAR10,
            splits=SMALL,
            labels={split: idx_md5(labels) for split, labels in self.labels.items()},
            sums={split: tuple(images.reshape(-1, 3).astype(int).sum(axis=0)) for split, images in self.images.items()},
            jpeg={split: hashlib.md5(b"".join(self.files(split, "JPEG"))).hexdigest() for split in SMALL},
        )

    def files(self, split: str, kind: str) -> list[bytes]:
        return encoded(self.images[split], kind, **({"quality": 75} if kind == "JPEG" else {}))

    def write(self, folder: Path, kind: str) -> None:
        prepare(folder, {split: (self.files(split, kind), self.labels[split]) for split in SMALL})


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """A small data set, not yet written, and a mirror to write it to."""
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "mirror"))
    return Small()


def test_original_comes_in_its_order_pixel_for_pixel(small: Small, tmp_path: Path) -> None:
    small.write(tmp_path / "mirror", "PNG")
    splits, where = find_tfds(small.wanted)
    assert where == "cifar10 from the local mirror (COURSE_DATA_DIR)"
    for split in SMALL:
        assert np.array_equal(splits[split][0], small.images[split])
        assert np.array_equal(splits[split][1], small.labels[split])


def test_recompressed_copy_is_called_so_and_decoded_as_libjpeg_does(small: Small, tmp_path: Path) -> None:
    small.write(tmp_path / "mirror", "JPEG")
    splits, where = find_tfds(small.wanted)
    assert "COURSE_DATA_DIR), recompressed as JPEG, so numbers differ a little" in where
    pillow = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in small.files("train", "JPEG")])
    assert np.abs(splits["train"][0].astype(int) - pillow).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_changed_image_is_refused(small: Small, tmp_path: Path, kind: str) -> None:
    small.images["test"][3, :8, :8] ^= 64
    small.write(tmp_path / "mirror", kind)
    with pytest.raises(DataError, match=r"cifar10-test\.tfrecord.*wrong checksum: its images"):
        find_tfds(small.wanted)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exchanged_labels_are_refused(small: Small, tmp_path: Path, kind: str) -> None:
    small.labels["train"][[4, 5]] = small.labels["train"][[5, 4]]
    small.write(tmp_path / "mirror", kind)
    with pytest.raises(DataError, match=r"cifar10-train\.tfrecord.*wrong checksum: its labels"):
        find_tfds(small.wanted)


def test_another_recompression_is_refused(small: Small, tmp_path: Path) -> None:
    splits = {split: (encoded(small.images[split], "JPEG", quality=50), small.labels[split]) for split in SMALL}
    prepare(tmp_path / "mirror", splits)
    with pytest.raises(DataError, match="wrong checksum: its images"):
        find_tfds(small.wanted)


@pytest.mark.parametrize("damage", ["no image", "half an image", "another size"])
def test_file_that_is_no_such_image_is_named(small: Small, tmp_path: Path, damage: str) -> None:
    files = small.files("train", "PNG")
    larger = encoded(np.zeros((1, 40, 40, 3), np.uint8), "PNG")[0]
    files[7] = {"no image": b"not an image", "half an image": files[7][:900], "another size": larger}[damage]
    prepare(tmp_path / "mirror", {"train": (files, small.labels["train"])})
    with pytest.raises(DataError, match=r"cifar10-train\.tfrecord.*truncated or corrupt"):
        find_tfds(small.wanted)


def test_grey_or_smaller_images_are_refused(small: Small, tmp_path: Path) -> None:
    prepare(tmp_path / "mirror", {"train": (encoded(small.images["train"][:, :16], "PNG"), small.labels["train"])})
    with pytest.raises(DataError, match=r"images of shape \(16, 32, 3\), not \(32, 32, 3\)"):
        find_tfds(small.wanted)


def test_fewer_examples_are_refused(small: Small, tmp_path: Path) -> None:
    prepare(tmp_path / "mirror", {"train": (small.files("train", "PNG")[:18], small.labels["train"][:18])})
    with pytest.raises(DataError, match="it holds 18 examples, not 20"):
        find_tfds(small.wanted)


# The sample


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The program that makes the sample."""
    path = settings.REPOSITORY / "data" / "make_photos_sample.py"
    found = importlib.util.spec_from_file_location("make_photos_sample", path)
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_sample_is_what_the_program_makes(generator: ModuleType) -> None:
    made = generator.sample()
    images, labels = read_sample()
    assert np.array_equal(made["images"], images) and np.array_equal(made["labels"], labels)
    assert tuple(picture.name for picture in generator.PICTURES) == SAMPLE.classes
    with zipfile.ZipFile(SAMPLE.path) as archive:
        assert archive.testzip() is None and SAMPLE.path.stat().st_size < 8e6


def test_no_pixel_of_the_pictures_is_in_two_parts(generator: ModuleType) -> None:
    pictures = generator.pictures()
    patches = generator.patches(pictures)
    assert [patch.part for patch in patches] == ["train"] * 3_600 + ["validation"] * 400 + ["test"] * 1_000
    for label, picture in enumerate(pictures):
        used = {part: np.zeros(picture.shape[:2], bool) for part in generator.PARTS}
        for patch in patches:
            if patch.label == label:
                square = used[patch.part][patch.row : patch.row + 32, patch.column : patch.column + 32]
                assert square.shape == (32, 32), "the patch lies inside the picture"
                square[:] = True
        assert not (sum(mask.astype(int) for mask in used.values()) > 1).any(), SAMPLE.classes[label]


def test_sample_is_balanced_in_turn_and_has_no_patch_twice() -> None:
    images, labels = read_sample()
    assert images.shape == (5_000, 32, 32, 3) and images.dtype == labels.dtype == np.uint8
    assert np.array_equal(labels, np.tile(np.arange(10), 500))
    assert len({image.tobytes() for image in images}) == 5_000


def test_sample_is_neither_trivial_nor_hopeless() -> None:
    """Its mean colour alone, by the nearest class mean, gets some of it right and far from all."""
    images, labels = read_sample()
    colours = images.mean(axis=(1, 2))
    means = np.stack([colours[:3_600][labels[:3_600] == label].mean(axis=0) for label in range(10)])
    nearest = np.linalg.norm(colours[4_000:, None] - means, axis=-1).argmin(axis=1)
    assert 0.2 < (nearest == labels[4_000:]).mean() < 0.75


def test_readme_names_every_picture(generator: ModuleType) -> None:
    text = (settings.REPOSITORY / "data" / "README.md").read_text(encoding="utf-8")
    for picture in generator.PICTURES:
        assert f"| {picture.name} | `{picture.file}` |" in text
