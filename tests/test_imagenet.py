"""Photographs streamed from disk: cut as in the paper, every one once an epoch, flat memory, damage named.

The sets are drawn here, few and small, and prepared by TFDS' own builders, from the files that these expect.
"""

from __future__ import annotations

import io
import itertools
import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from course_lib.datasets import imagenet, sources
from course_lib.datasets.imagenet import PHOTO_SETS, check_photos, find_photos, naming_damage, stream_photos
from course_lib.datasets.sources import DataError, DataUnavailable

COUNTS = {"train": 52, "validation": 21}
CLASSES = tfds.builder("imagenette/320px-v2", data_dir="nowhere").info.features["label"].names


def photograph(number: int, height: int = 320, width: int = 400) -> bytes:
    """Return a JPEG: red grows to the right, green downwards, blue is four times the number."""
    pixels = np.empty((height, width, 3))
    pixels[..., 0] = np.linspace(0, 255, width)
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    pixels[..., 2] = 4 * number
    return encoded(pixels)


def encoded(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.round(pixels).astype("uint8")).save(stream, "JPEG", quality=95, subsampling=0)
    return stream.getvalue()


def draw_imagenette(folder: Path, counts: dict[str, int] = COUNTS, draw: Any = photograph) -> None:
    """Write what the archive of Imagenette unpacks to: a folder a split, in it a folder a class."""
    for split, count in counts.items():
        for name in CLASSES:
            (folder / "imagenette2-320" / {"validation": "val"}.get(split, split) / name).mkdir(parents=True)
        for number in range(count):
            place = folder / "imagenette2-320" / {"validation": "val"}.get(split, split) / CLASSES[number % 10]
            (place / f"{number}.JPEG").write_bytes(draw(number))


def prepare_imagenette(
    folder: Path, counts: dict[str, int] = COUNTS, draw: Any = photograph, shards: int | None = None
) -> Path:
    """Let TFDS prepare a drawn Imagenette under ``folder``/tensorflow_datasets, which is returned."""
    draw_imagenette(folder / "unpacked", counts, draw)
    data_dir = folder / "tensorflow_datasets"
    tfds.disable_progress_bar()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.download.DownloadManager, "download_and_extract", lambda *_: str(folder / "unpacked"))
        builder = tfds.builder("imagenette/320px-v2", data_dir=str(data_dir))
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=shards))
    return data_dir


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_imagenette(tmp_path_factory.mktemp("prepared"), shards=4)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten classes, and as many photographs as are drawn here."""
    monkeypatch.setitem(PHOTO_SETS, "imagenette", replace(PHOTO_SETS["imagenette"], splits=COUNTS))


@pytest.fixture
def copy(prepared: Path, tmp_path: Path) -> Path:
    """A copy to damage: its data_dir."""
    return Path(shutil.copytree(prepared, tmp_path / "tensorflow_datasets"))


def shard(data_dir: Path, split: str = "train", number: int = 2) -> Path:
    return data_dir / f"imagenette/320px-v2/1.0.0/imagenette-{split}.tfrecord-{number:05d}-of-00004"


def training(data_dir: Path, **more: Any) -> Any:
    return stream_photos(
        "imagenette", "train", **{"batch_size": 8, "training": True, "seed": 0, "data_dir": data_dir, **more}
    )


def numbers(stream: Any, epoch: int = 0) -> list[int]:
    """Return which photographs come, in order, read from their blue."""
    stream.epoch = epoch
    return [round(float(image[..., 2].mean()) * 255 / 4) for images, _ in stream for image in images.numpy()]


# What comes


def test_published_numbers_of_the_sets() -> None:
    """TFDS' catalogue: 9,469 + 3,925 photographs in 10 classes; 1,281,167 + 50,000 in 1,000."""
    imagenet_ = PHOTO_SETS["imagenet"]
    assert (imagenet_.classes, imagenet_.splits) == (1_000, {"train": 1_281_167, "validation": 50_000})
    undone = PHOTO_SETS["imagenette"]
    assert undone.classes == len(CLASSES)


def test_batches_are_as_promised(prepared: Path) -> None:
    stream = training(prepared)
    assert len(stream) == 7 and stream.batch_size == 8
    batches = [(images.numpy(), labels.numpy()) for images, labels in stream]
    assert [images.shape for images, _ in batches] == [(8, 227, 227, 3)] * 6 + [(4, 227, 227, 3)]
    assert all(images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1 for images, _ in batches)
    assert max(images.max() for images, _ in batches) > 0.8


@pytest.mark.parametrize("split", ["train", "validation"])
def test_every_photograph_comes_once_with_its_label(prepared: Path, split: str) -> None:
    stream = stream_photos("imagenette", split, batch_size=8, training=split == "train", data_dir=prepared)
    labels = [int(label) for _, batch in stream for label in batch]
    assert sorted(numbers(stream)) == list(range(COUNTS[split]))
    assert labels == [number % 10 for number in numbers(stream)]


def test_order_and_pixels_depend_on_seed_and_epoch_and_nothing_else(prepared: Path) -> None:
    def served(stream: Any, epoch: int) -> np.ndarray:
        stream.epoch = epoch
        return np.concatenate([images.numpy() for images, _ in stream])

    tf.random.set_seed(1)
    first = served(training(prepared), 2)
    tf.random.set_seed(2)
    stream = training(prepared)
    before = served(stream, 0)
    assert np.array_equal(served(stream, 2), first)
    other = served(training(prepared, seed=2**32 - 1), 2)
    for different in (before, other):
        blue, theirs = (images[..., 2].mean(axis=(1, 2)).round(1) for images in (first, different))
        assert not np.array_equal(blue, theirs), "the same order"
        assert not np.isin(different[..., 0].sum(axis=(1, 2)), first[..., 0].sum(axis=(1, 2))).all(), "the same windows"


def test_batches_mix_the_shards(prepared: Path) -> None:
    """Shuffled before batching: neighbours in a shard do not stay together."""
    stored = {path: [number for number in numbers_in(path)] for path in (shard(prepared, number=i) for i in range(4))}
    of = {number: path for path, content in stored.items() for number in content}
    order = numbers(training(prepared))
    assert np.mean([len({of[number] for number in order[start : start + 8]}) for start in range(0, 48, 8)]) > 2.5


def numbers_in(path: Path) -> list[int]:
    features = tfds.builder_from_directory(str(path.parent)).info.features
    examples = tf.data.TFRecordDataset(str(path)).map(features.deserialize_example)
    return [round(float(example["image"].numpy()[..., 2].mean()) / 4) for example in examples]


def test_crops_and_mirror_images_are_drawn_anew_and_evenly(prepared: Path) -> None:
    """Of 256 pixels 227 leave 30 places along each side; red and green say which was taken."""
    stream = training(prepared)
    tops, lefts, mirrored = [], [], []
    for epoch in range(6):
        stream.epoch = epoch
        for images, _ in stream:
            red, green = images.numpy()[..., 0].mean(axis=1), images.numpy()[..., 1].mean(axis=2)
            mirrored += list(red[:, 0] > red[:, -1])
            # Red runs from 0 to 1 over 400 columns, of which 320 from the 40th on became 256; green over 320 rows.
            lefts += list((red.mean(axis=1) * 399 + 0.5 - 40) / 1.25 - 0.5 - 113)
            tops += list((green.mean(axis=1) * 319 + 0.5) / 1.25 - 0.5 - 113)
    assert 0.4 < np.mean(mirrored) < 0.6
    for places in (np.round(tops), np.round(lefts)):
        assert set(places) <= set(range(30)) and len(set(places)) > 25
        assert np.mean(places) == pytest.approx(14.5, abs=1.5)
    assert abs(np.corrcoef(tops, lefts)[0, 1]) < 0.2


def test_evaluation_takes_the_centre_of_what_pillow_scales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter side to 256, the central 256 × 256, of that the central 227 × 227: wide, tall and grey photographs."""
    rough = np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype("uint8")
    sizes = {0: (500, 375), 1: (300, 451), 2: (200, 200)}

    def draw(number: int) -> bytes:
        picture = Image.fromarray(rough).resize(sizes[number], Image.Resampling.BICUBIC)
        stream = io.BytesIO()
        (picture.convert("L") if number == 2 else picture).save(stream, "JPEG", quality=95, subsampling=0)
        return stream.getvalue()

    counts = {"train": 1, "validation": 3}
    monkeypatch.setitem(PHOTO_SETS, "imagenette", replace(PHOTO_SETS["imagenette"], splits=counts))
    data_dir = prepare_imagenette(tmp_path, counts, draw)
    stream = stream_photos("imagenette", "validation", batch_size=3, training=False, data_dir=data_dir)
    ((images, labels),) = [(images.numpy(), labels.numpy()) for images, labels in stream]
    for image, label in zip(images, labels, strict=True):
        picture = Image.open(io.BytesIO(draw(int(label)))).convert("RGB")
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        box = (left, top, left + side, top + side)
        theirs = np.asarray(picture.resize((256, 256), Image.Resampling.BILINEAR, box=box))[14:241, 14:241]
        assert np.abs(image * 255 - theirs).mean() < 0.6


def test_last_batch_is_shared_evenly_by_the_devices(prepared: Path) -> None:
    """52 photographs, batches of 9 for 3 devices: 5 × 9 and 6 are served, one photograph sits each epoch out."""
    stream = training(prepared, batch_size=9, devices=3)
    assert len(stream) == 6 and [len(labels) for _, labels in stream] == [9] * 5 + [6]
    absent = [set(range(52)) - set(numbers(stream, epoch)) for epoch in range(4)]
    assert [len(out) for out in absent] == [1] * 4 and len(set.union(*absent)) > 1
    whole = stream_photos("imagenette", "validation", batch_size=9, training=False, devices=3, data_dir=prepared)
    assert len(numbers(whole)) == 21


# Several workers


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_the_batches_of_one(prepared: Path, workers: int) -> None:
    """Every photograph once over all workers, in the batches of one worker, cut to the same windows."""
    whole = [images.numpy() for images, _ in training(prepared)]
    shares = [[i.numpy() for i, _ in training(prepared, worker=w, workers=workers)] for w in range(workers)]
    assert [len(share) for share in shares] == [7] * workers
    for batch, *parts in zip(whole, *shares, strict=True):
        assert len(parts[0]) * workers == len(batch)
        np.testing.assert_array_equal(np.stack(parts, axis=1).reshape(batch.shape), batch)
    found = [numbers(training(prepared, worker=w, workers=workers)) for w in range(workers)]
    assert sorted(itertools.chain(*found)) == list(range(52))


def test_workers_decode_their_own_photographs_only(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decode = tf.io.decode_jpeg

    def counted(content: Any, **options: Any) -> Any:
        image = decode(content, **options)
        with tf.control_dependencies([tf.py_function(lambda: decoded.append(1) or 0, [], tf.int64)]):
            return tf.identity(image)

    monkeypatch.setattr(tf.io, "decode_jpeg", counted)
    found = [len(numbers(training(prepared, worker=w, workers=2))) for w in range(2)]
    assert found == [26, 26] and len(decoded) == 52


@pytest.mark.parametrize(("batch_size", "steps"), [(8, 3), (10, 2), (4, 4)])
def test_workers_validate_on_every_photograph_in_as_many_steps(prepared: Path, batch_size: int, steps: int) -> None:
    """21 for two: 11 and 10. In batches of 5 that would be 3 and 2 steps, so they hold 6: nobody waits in vain."""
    streams = [
        stream_photos(
            "imagenette", "validation", batch_size=batch_size, training=False, worker=w, workers=2, data_dir=prepared
        )
        for w in range(2)
    ]
    assert [len(stream) for stream in streams] == [len(list(stream)) for stream in streams] == [steps, steps]
    assert sorted(itertools.chain(*map(numbers, streams))) == list(range(21))


# Memory


def test_memory_does_not_grow_with_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the photographs, 700 MB as float32, take no more memory while they stream."""
    monkeypatch.setattr(imagenet, "SHUFFLED", 64)
    noise = encoded(np.random.default_rng(0).integers(0, 255, (260, 280, 3)))

    def peak(count: int) -> float:
        counts = {"train": count, "validation": 4}
        monkeypatch.setitem(PHOTO_SETS, "imagenette", replace(PHOTO_SETS["imagenette"], splits=counts))
        data_dir = tmp_path / str(count) / "tensorflow_datasets"
        if not data_dir.exists():
            prepare_imagenette(tmp_path / str(count), counts, lambda number: noise, shards=4)
        stream, process = training(data_dir, batch_size=32), psutil.Process()
        seen, highest = 0, 0.0
        for images, _ in stream:
            seen, highest = seen + len(images), max(highest, process.memory_info().rss / 2**20)
        assert seen == count
        return highest

    peak(120)
    small, large = peak(120), peak(1_200)
    assert large - small < 120, f"{small:.0f} MiB for 120, {large:.0f} MiB for 1,200"


# What cannot be


@pytest.mark.parametrize(
    ("name", "split", "wrong", "message"),
    [
        ("imagenette", "train", {"image_size": 300}, r"image_size=300\): it must lie in 1 to 256; AlexNet takes 227"),
        ("imagenette", "train", {"image_size": 0}, "image_size=0"),
        ("imagenette", "train", {"batch_size": 0}, "batch_size=0"),
        ("imagenette", "train", {"batch_size": 8, "devices": 3}, "must be a multiple of the devices, 3"),
        ("imagenette", "train", {"batch_size": 8, "workers": 3}, "must be a multiple of the workers, 3"),
        ("imagenette", "train", {"workers": 2, "worker": 2}, r"worker=2\): it must lie in 0 to 1, of 2 workers"),
        ("imagenette", "train", {"batch_size": 64, "workers": 64}, r"workers=64\): train has 52 photographs"),
        ("imagenette", "test", {}, "no split 'test'; it has train, validation"),
        ("imagenett", "train", {}, "no photographs 'imagenett'; there are imagenette, imagenet"),
    ],
)
def test_impossible_arguments_are_refused(
    prepared: Path, name: str, split: str, wrong: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        stream_photos(name, split, **{"batch_size": 8, "training": True, "data_dir": prepared, **wrong})


def test_missing_shard_is_named(copy: Path) -> None:
    shard(copy).unlink()
    with pytest.raises(DataError, match=r"train\.tfrecord-00002-of-00004: it is missing\. Delete"):
        training(copy)


def test_truncated_shard_is_named_before_training(copy: Path) -> None:
    content = shard(copy).read_bytes()
    shard(copy).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"train\.tfrecord-00002-of-00004: it is truncated.*whole examples, not 1"):
        training(copy)


def test_fewer_photographs_than_published_are_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PHOTO_SETS, "imagenette", replace(PHOTO_SETS["imagenette"], splits={"train": 9_469}))
    with pytest.raises(DataError, match=r"dataset_info\.json: it tells of 52 photographs in train, not 9,469"):
        training(copy)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_broken_description_is_named(copy: Path, name: str) -> None:
    (shard(copy).parent / name).write_text('{"name": ')
    with pytest.raises(DataError, match=rf"{name}: it cannot be read"):
        training(copy)


def test_missing_split_is_named(copy: Path) -> None:
    path = shard(copy).parent / "dataset_info.json"
    described = json.loads(path.read_text())
    described["splits"] = [split for split in described["splits"] if split["name"] != "validation"]
    path.write_text(json.dumps(described))
    with pytest.raises(DataError, match=r"dataset_info\.json: TFDS finds no split 'validation'"):
        stream_photos("imagenette", "validation", batch_size=8, training=False, data_dir=copy)


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_damage_inside_a_shard_is_named(copy: Path) -> None:
    flip_a_byte(shard(copy, "validation", 1))
    stream = stream_photos("imagenette", "validation", batch_size=8, training=False, data_dir=copy)
    found = r"validation\.tfrecord-00001-of-00004: it is corrupt: .*its checksum\. Delete .*1\.0\.0 and run this again"
    with pytest.raises(DataError, match=found), naming_damage("imagenette", copy):
        for _ in stream:
            pass
    assert check_photos("imagenette", "train", copy) == 52
    with pytest.raises(DataError, match=found):
        check_photos("imagenette", "validation", copy)


def test_label_that_is_no_class_is_named(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PHOTO_SETS, "imagenette", replace(PHOTO_SETS["imagenette"], classes=9, splits=COUNTS))
    with (
        pytest.raises(DataError, match=r"tfrecord-0000\d-of-00004: a photograph .* label that is no class"),
        naming_damage("imagenette", prepared),
    ):
        for _ in training(prepared):
            pass


def test_photograph_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    """Whole as a record, cut off as a JPEG."""
    data_dir = prepare_imagenette(tmp_path, draw=lambda number: photograph(number)[: 300 if number == 7 else None])
    with (
        pytest.raises(DataError, match=r"train\.tfrecord-00000-of-00001: a photograph in it cannot be decoded"),
        naming_damage("imagenette", data_dir),
    ):
        for _ in training(data_dir):
            pass


def test_other_failures_are_left_alone(prepared: Path) -> None:
    with (
        pytest.raises(tf.errors.InvalidArgumentError, match="Incompatible shapes"),
        naming_damage("imagenette", prepared),
    ):
        tf.ones(2) + tf.ones(3)


# Where they come from


@pytest.fixture
def nothing_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No mirror, and an empty download folder, which is returned."""
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    return tmp_path / "cache"


def test_mirror_is_found_and_the_newest_version_taken(
    copy: Path, nothing_there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_DATA_DIR", str(copy.parent))
    assert find_photos("imagenette") == copy / "imagenette/320px-v2/1.0.0"
    for version in ("10.0.0", "9.0.0", "11.0.0.incomplete"):
        (copy / "imagenette/320px-v2" / version).mkdir()
    assert find_photos("imagenette").name == "10.0.0"


def test_offline_says_so(nothing_there: Path) -> None:
    with pytest.raises(DataUnavailable, match=r"imagenette is not in .*COURSE_OFFLINE=1 forbids a download"):
        find_photos("imagenette")
    assert not nothing_there.exists()


def test_wrong_data_dir_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match=r"there is no imagenette/320px-v2 in it"):
        find_photos("imagenette", tmp_path)


def test_imagenette_is_downloaded_whole_or_not_at_all(
    nothing_there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COURSE_OFFLINE")
    reached: list[str] = []
    monkeypatch.setattr(sources, "reach", reached.append)
    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", lambda *_: str(tmp_path / "unpacked"))
    draw_imagenette(tmp_path / "unpacked", {"train": 12, "validation": 10})
    with pytest.raises(DataError, match="12 photographs in train, not 52"):
        find_photos("imagenette")
    assert not [path for path in nothing_there.rglob("*") if path.is_file()]
    monkeypatch.setitem(
        PHOTO_SETS, "imagenette", replace(PHOTO_SETS["imagenette"], splits={"train": 12, "validation": 10})
    )
    place = find_photos("imagenette")
    assert place == nothing_there / "tensorflow_datasets/imagenette/320px-v2/1.0.0" == find_photos("imagenette")
    assert "downloading it into the download folder" in capsys.readouterr().out
    assert check_photos("imagenette", "validation") == 10
    assert sorted(path.name for path in nothing_there.iterdir()) == ["tensorflow_datasets"]


def test_failed_download_leaves_nothing(nothing_there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COURSE_OFFLINE")

    def unreachable(address: str) -> None:
        raise OSError("no route")

    monkeypatch.setattr(sources, "reach", unreachable)
    with pytest.raises(DataUnavailable, match=r"imagenette could not be downloaded \(OSError: no route\); nothing was"):
        find_photos("imagenette")
    assert not [path for path in nothing_there.rglob("*") if path.is_file()]


def test_imagenet_says_what_to_do_by_hand(nothing_there: Path) -> None:
    with pytest.raises(DataUnavailable, match=r"ILSVRC2012_img_train\.tar and ILSVRC2012_img_val\.tar.*image-net\.org"):
        find_photos("imagenet")


def test_imagenet_is_prepared_from_its_archives(nothing_there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are: in one an archive a class, in the other the photographs. The labels of validation are TFDS' own."""
    monkeypatch.setitem(PHOTO_SETS, "imagenet", replace(PHOTO_SETS["imagenet"], splits={"train": 6, "validation": 4}))
    manual = nothing_there / "tensorflow_datasets/downloads/manual"
    manual.mkdir(parents=True)
    classes = ("n01440764", "n15075141")  # the first and the last of the thousand
    per_class = [archive({f"{name}_{number}.JPEG": photograph(number) for number in range(3)}) for name in classes]
    train = archive({f"{name}.tar": content for name, content in zip(classes, per_class, strict=True)})
    (manual / "ILSVRC2012_img_train.tar").write_bytes(train)
    validation = {f"ILSVRC2012_val_{number + 1:08d}.JPEG": photograph(number) for number in range(4)}
    (manual / "ILSVRC2012_img_val.tar").write_bytes(archive(validation))
    place = find_photos("imagenet")
    assert place.parent == nothing_there / "tensorflow_datasets/imagenet2012"
    stream = stream_photos("imagenet", "train", batch_size=6, training=False)
    ((images, labels),) = list(stream)
    assert images.shape == (6, 227, 227, 3) and sorted(labels.numpy()) == [0, 0, 0, 999, 999, 999]
    assert check_photos("imagenet", "validation") == 4


def archive(content: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()
