"""Photographs for AlexNet at its published size: Imagenette and ImageNet, streamed from disk. Introduced in chapter 02.

TFDS downloads and prepares them; here they are found, checked, cut as in the paper and served in batches, in memory
that does not grow with the data. Source: Krizhevsky, Sutskever and Hinton, ImageNet classification with deep
convolutional neural networks, NIPS 2012 ("the paper" below).
"""

from __future__ import annotations

import contextlib
import json
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib import settings
from course_lib.datasets import sources
from course_lib.datasets.sources import DataError, DataUnavailable

SIDE = 256  # pixels of the square that each photograph becomes (paper, section 2)
CROP = 227  # the paper cuts 224 of the 256; its network's arithmetic needs 227: (227 - 11) / 4 + 1 = 55
# Encoded photographs that wait to be drawn in training: about 450 MB of ImageNet, 130 MB of Imagenette.
SHUFFLED = 4_096
SHARDS_AT_ONCE = 16


@dataclass(frozen=True)
class PhotoSet:
    """A set of photographs: its name and configuration in TFDS, classes, photographs a split, files to get by hand."""

    tfds: str
    classes: int
    splits: dict[str, int]
    by_hand: tuple[str, ...] = ()

    def addresses(self) -> tuple[str, ...]:
        """Return the address of the archive that TFDS downloads; none where files are to be got by hand."""
        if self.by_hand:
            return ()
        import tensorflow_datasets as tfds

        builder = tfds.builder(self.tfds)
        archive = f"{builder.builder_config.dirname}.tgz"  # TFDS lists those of its other configurations as well
        return tuple(address for address in builder.url_infos if address.endswith(f"/{archive}"))


PHOTO_SETS = {
    "imagenette": PhotoSet("imagenette/320px-v2", 10, {"train": 9_469, "validation": 3_925}),
    "imagenet": PhotoSet(
        "imagenet2012",
        1_000,
        {"train": 1_281_167, "validation": 50_000},
        by_hand=("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"),
    ),
}


def stream_photos(
    name: str,
    split: str,
    *,
    batch_size: int,
    training: bool,
    image_size: int = CROP,
    seed: int | None = None,
    devices: int = 1,
    worker: int = 0,
    workers: int = 1,
    data_dir: str | Path | None = None,
) -> Any:
    """Return a ``tf.data.Dataset`` of batches: images float32 (n, image_size, image_size, 3) in [0, 1], labels (n,).

    The shorter side of each photograph is scaled to 256 and the central 256 × 256 kept. For ``training`` a random
    window of these, mirrored half the time, in an order that ``seed`` (default: the setting's) and the dataset's own
    attribute ``epoch`` decide; else the central window, in the order of the files. Every photograph comes once an
    epoch, except that in training the last batch is cut to a multiple of ``devices``, so that the devices' shares
    weigh the same; whom it meets changes with the epoch. ``data_dir`` is a folder of TFDS; default: where the course
    keeps data, and for Imagenette a download.

    Of several ``workers``, ``worker`` (from 0) gets every workers-th photograph of that order, so that the batches of
    all, of ``batch_size`` together, hold what one worker's batch would. It reads the files as they are, in which
    photographs lie in one order, and decodes its own ones only, which is where the time goes. In validation the
    batches may be a little larger, so that all workers have as many.

    Raises ValueError for arguments that cannot be, DataUnavailable where the set is nowhere, DataError where it is
    incomplete. Damage inside a file shows only when it is read: train inside :func:`naming_damage`.
    """
    wanted = _known(name, split)
    if not 1 <= image_size <= SIDE:
        raise ValueError(f"stream_photos(image_size={image_size}): it must lie in 1 to {SIDE}; AlexNet takes {CROP}.")
    if batch_size < 1 or devices < 1 or batch_size % devices:
        raise ValueError(f"stream_photos(batch_size={batch_size}): it must be a multiple of the devices, {devices}.")
    if workers < 1 or batch_size % workers:
        raise ValueError(f"stream_photos(batch_size={batch_size}): it must be a multiple of the workers, {workers}.")
    if workers > wanted.splits[split]:
        raise ValueError(f"stream_photos(workers={workers}): {split} has {wanted.splits[split]} photographs.")
    if not 0 <= worker < workers:
        raise ValueError(f"stream_photos(worker={worker}): it must lie in 0 to {workers - 1}, of {workers} workers.")
    seed = settings.current().seed if seed is None else seed
    shards, photo = _open(wanted, split, find_photos(name, data_dir))
    import tensorflow as tf

    def order(epoch: Any) -> Any:
        """Serve the encoded examples of one epoch; in training shards, then examples, are shuffled, before batching."""
        files = tf.constant([str(path) for path in shards])
        if not training:
            return tf.data.TFRecordDataset(files)
        tf.random.set_seed(1 + seed % (2**31 - 2))  # of this graph only: nothing else that is seeded changes the order
        files = tf.random.experimental.stateless_shuffle(files, seed=(seed, epoch))
        records = tf.data.Dataset.from_tensor_slices(files).interleave(
            tf.data.TFRecordDataset, cycle_length=SHARDS_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE
        )
        return records.shuffle(SHUFFLED, seed=epoch, reshuffle_each_iteration=False).take(used)

    def numbered(epoch: Any) -> Any:
        """Give each example its place in the order of all workers, and leave those of the others undecoded."""
        return order(epoch).enumerate().shard(workers, worker).map(lambda index, record: (epoch, index, record))

    def cut(epoch: Any, index: Any, record: Any) -> Any:
        image, label = photo(record)
        room = SIDE - image_size
        if not training:
            return tf.image.crop_to_bounding_box(image, room // 2, room // 2, image_size, image_size), label
        key = tf.random.fold_in((seed, epoch), index)
        top, left = tf.unstack(tf.random.stateless_uniform((2,), key, maxval=room + 1, dtype=tf.int32))
        image = tf.image.crop_to_bounding_box(image, top, left, image_size, image_size)
        return tf.image.stateless_random_flip_left_right(image, tf.random.fold_in(key, 1)), label

    count = wanted.splits[split]
    used = count - count % (devices * workers) if training else count
    share, mine = batch_size // workers, len(range(worker, used, workers))
    while used % workers and used // workers % share == 0:
        share += 1  # else some workers would have a batch more than the others, who wait for each other
    epochs = tf.data.Dataset.from_generator(lambda: iter([stream.epoch]), output_signature=tf.TensorSpec((), tf.int64))
    stream: Any = (
        epochs.flat_map(numbered)
        .map(cut, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(share)
        # Hides the batch size from tf.distribute, which then halves a last batch of 100 to 50 and 50, not 64 and 36.
        .flat_map(lambda *batch: tf.data.Dataset.from_tensors(batch))
        .map(lambda images, labels: (tf.cast(images, tf.float32) / 255, labels))
        .prefetch(2)
        .apply(tf.data.experimental.assert_cardinality(math.ceil(mine / share)))
    )
    stream.epoch, stream.batch_size = 0, batch_size
    return stream


def find_photos(name: str, data_dir: str | Path | None = None) -> Path:
    """Return the folder with the shards of a set in :data:`PHOTO_SETS`, which it downloads or prepares if it must.

    Raises ValueError for a set that it does not know, DataUnavailable, saying what to do, where it cannot be had.
    """
    wanted = _known(name)
    folders = [Path(data_dir)] if data_dir else [path / "tensorflow_datasets" for path in settings.data_folders()]
    for folder in folders:
        versions = [path for path in (folder / wanted.tfds).glob("*.*.*") if path.name.replace(".", "").isdecimal()]
        if versions:
            return max(versions, key=lambda path: [int(part) for part in path.name.split(".")])
    if data_dir:
        raise DataUnavailable(f"{name} is not in data_dir {data_dir}: there is no {wanted.tfds} in it.")
    return _prepare(name, wanted)


def check_photos(name: str, split: str, data_dir: str | Path | None = None) -> int:
    """Read every photograph of a split once, and return how many there are.

    Raises DataError naming the file in which one cannot be read or decoded, or has a label that is no class.
    """
    wanted = _known(name, split)
    shards, photo = _open(wanted, split, find_photos(name, data_dir))
    import tensorflow as tf

    found = 0
    for path in shards:
        records = tf.data.TFRecordDataset(str(path)).map(photo, num_parallel_calls=tf.data.AUTOTUNE)
        try:
            found += int(records.reduce(tf.constant(0, tf.int64), lambda count, _: count + 1))
        except tf.errors.DataLossError as error:
            raise _broken(path, "it is corrupt: an example does not match its checksum") from error
        except tf.errors.InvalidArgumentError as error:
            raise _broken(path, "a photograph in it cannot be decoded, or has a label that is no class") from error
    return found


@contextlib.contextmanager
def naming_damage(name: str, data_dir: str | Path | None = None) -> Iterator[None]:
    """Where reading fails inside this context, look for the damaged file and raise DataError naming it."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError):
        for split in PHOTO_SETS[name].splits:
            check_photos(name, split, data_dir)
        raise


def _known(name: str, split: str | None = None) -> PhotoSet:
    if name not in PHOTO_SETS:
        raise ValueError(f"there are no photographs {name!r}; there are {', '.join(PHOTO_SETS)}.")
    if split is not None and split not in PHOTO_SETS[name].splits:
        raise ValueError(f"{name} has no split {split!r}; it has {', '.join(PHOTO_SETS[name].splits)}.")
    return PHOTO_SETS[name]


def _open(wanted: PhotoSet, split: str, place: Path) -> tuple[list[Path], Callable[[Any], Any]]:
    """Return the shards of a split, all there and of the right size, and what turns a record into photograph and label.

    The photograph is uint8 (256, 256, 3), the label int64. Raises DataError naming the file that is not as it should
    be.
    """
    for name in ("dataset_info.json", "features.json"):
        try:
            json.loads((place / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _broken(place / name, f"it cannot be read ({type(error).__name__})") from error
    import tensorflow as tf
    import tensorflow_datasets as tfds

    try:
        info = tfds.builder_from_directory(str(place)).info
        there = info.splits[split]
    except Exception as error:  # TFDS raises whatever its own parsers do
        raise _broken(place / "dataset_info.json", f"TFDS finds no split {split!r} by it ({error})") from error
    if there.num_examples != wanted.splits[split]:
        what = f"it tells of {there.num_examples:,} photographs in {split}, not {wanted.splits[split]:,}"
        raise _broken(place / "dataset_info.json", what)
    shards = [Path(path) for path in there.filepaths]
    _check_shards(shards, there.shard_lengths, int(there.num_bytes))

    def photo(record: Any) -> Any:
        example = info.features.deserialize_example(record, decoders={"image": tfds.decode.SkipDecoding()})
        label = example["label"]
        within = tf.debugging.Assert((label >= 0) & (label < wanted.classes), ["the label is no class:", label])
        with tf.control_dependencies([within]):
            image = tf.io.decode_jpeg(example["image"], channels=3, dct_method="INTEGER_ACCURATE")
        height, width = tf.unstack(tf.shape(image)[:2])
        side = tf.minimum(height, width)  # first the central square, then the scale: the same, with fewer pixels
        square = tf.image.crop_to_bounding_box(image, (height - side) // 2, (width - side) // 2, side, side)
        scaled = tf.round(tf.image.resize(square, (SIDE, SIDE), antialias=True))
        return tf.cast(scaled, tf.uint8), label

    return shards, photo


def _check_shards(shards: list[Path], lengths: list[int], size: int) -> None:
    """Raise DataError naming the first shard that is missing or does not hold as many whole records as it should.

    The sizes of the files answer for most; only where their sum differs are the records counted.
    """
    for path in shards:
        if not path.is_file():
            raise _broken(path, "it is missing")
    frame = 16  # bytes around each record: its length, and two checksums
    if sum(path.stat().st_size for path in shards) == size + frame * sum(lengths):
        return
    for path, length in zip(shards, lengths, strict=True):
        found = _whole_records(path)
        if found != length:
            raise _broken(path, f"it is truncated or corrupt: {found:,} whole examples, not {length:,}")


def _whole_records(path: Path) -> int:
    """Count the records of a TFRecord file that end inside it, from their lengths alone."""
    with path.open("rb") as file:
        end, place, count = file.seek(0, 2), 0, 0
        while place + 8 <= end:
            file.seek(place)
            place += struct.unpack("<Q", file.read(8))[0] + 16
            count += place <= end
    return count


def _broken(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}. Delete {path.parent} and run this again: it is downloaded or prepared anew.")


def _prepare(name: str, wanted: PhotoSet) -> Path:
    """Let TFDS download or prepare a set, and move it in place when it is whole: nothing half-written is ever there.

    Raises DataUnavailable, saying what to do, where that cannot be.
    """
    folder = settings.download_folder()
    target, manual = folder / "tensorflow_datasets" / wanted.tfds, folder / "tensorflow_datasets/downloads/manual"
    looked = ", ".join(map(sources.where, settings.data_folders()))
    if any(not (manual / file).is_file() for file in wanted.by_hand):
        raise DataUnavailable(
            f"{name} is not in {looked}, and its owners ask for registration. Get {' and '.join(wanted.by_hand)} "
            f"(145 GB) at https://image-net.org/download-images, put them into {manual}, and run this again: they are "
            "prepared once, which takes hours and 150 GB more. Or set COURSE_DATA_DIR to a folder whose "
            f"tensorflow_datasets/ holds {wanted.tfds}. Imagenette, ten of its classes, needs none of this."
        )
    if settings.offline() and not wanted.by_hand:
        raise DataUnavailable(f"{name} is not in {looked}, and COURSE_OFFLINE=1 forbids a download (350 MB).")
    print(f"{name} is not in {looked}: {'preparing' if wanted.by_hand else 'downloading'} it into the download folder.")
    try:
        with sources.workspace(target, folder) as place:
            import tensorflow_datasets as tfds

            builder = tfds.builder(wanted.tfds, data_dir=str(place / "tensorflow_datasets"))
            sources.reach(*wanted.addresses())
            by_hand = tfds.download.DownloadConfig(manual_dir=str(manual)) if wanted.by_hand else None
            builder.download_and_prepare(download_dir=str(place / "downloads"), download_config=by_hand)
            for split in wanted.splits:
                _open(wanted, split, Path(builder.data_dir))
            (place / "tensorflow_datasets" / wanted.tfds).replace(target)
    except DataError:
        raise
    except Exception as error:  # TFDS lets its HTTP library's exceptions through
        reason = (
            f"{name} could not be {'prepared' if wanted.by_hand else 'downloaded'} ({type(error).__name__}: {error})"
        )
        raise DataUnavailable(f"{reason}; nothing was kept. Check network and disk and run this again.") from error
    return target / Path(builder.data_dir).name
