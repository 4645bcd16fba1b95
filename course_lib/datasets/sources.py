"""Where the bytes come from, and that they are whole: mirror, then download, then the sample that ships. Chapter 00.

A TFDS data set is verified against the content of the original files (MD5 of the IDX files), so it makes no
difference which version of TFDS prepared it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import struct
import tempfile
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from course_lib import settings


class DataError(Exception):
    """Data were found, and they are truncated, corrupt or mislabelled. Names the file and says what to do."""


class DataUnavailable(DataError):
    """Data were found nowhere. Says where it was looked for and what to do."""


@dataclass(frozen=True)
class Images:
    """Images, float32 in [0, 1], shape (n, height, width, channels), and their labels, int32, shape (n,)."""

    images: NDArray[np.float32]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, start: int, stop: int) -> Images:
        """Return the examples from ``start`` up to but not including ``stop``."""
        return Images(self.images[start:stop], self.labels[start:stop])


@dataclass(frozen=True)
class ImageData:
    """A data set in three parts. Settings are chosen on ``validation``; ``test`` is read once, at the end."""

    train: Images
    validation: Images
    test: Images
    classes: tuple[str, ...]
    source: str

    def __str__(self) -> str:
        parts = f"{len(self.train):,} training, {len(self.validation):,} validation, {len(self.test):,} test images"
        return f"{self.source}: {parts}"


@dataclass(frozen=True)
class TfdsImages:
    """An image data set of TFDS: name, version, examples a split, MD5 of the original IDX files (images, labels)."""

    name: str
    version: str
    splits: dict[str, int]
    md5: dict[str, tuple[str, str]]
    shape: tuple[int, int, int] = (28, 28, 1)


Raw = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def find_tfds(wanted: TfdsImages) -> tuple[dict[str, Raw], str]:
    """Return the splits of ``wanted`` in the order of the original files, and a line on where they came from.

    Looks in the mirror (``COURSE_DATA_DIR``), in what was downloaded before, and then downloads, unless
    ``COURSE_OFFLINE=1``. Raises DataUnavailable where none of them has it, DataError where what is there is broken.
    """
    for folder in settings.data_folders():
        if (folder / "tensorflow_datasets" / wanted.name).is_dir():
            return read_tfds(wanted, folder), f"{wanted.name} from {_where(folder)}"
    looked = ", ".join(map(_where, settings.data_folders()))
    if settings.offline():
        raise DataUnavailable(f"{wanted.name} is not in {looked}, and COURSE_OFFLINE=1 forbids a download.")
    try:
        download_tfds(wanted, settings.download_folder())
    except DataError as error:
        raise type(error)(f"{wanted.name} is not in {looked}, and {error}") from error
    return read_tfds(wanted, settings.download_folder()), f"{wanted.name}, downloaded"


def _where(folder: Path) -> str:
    return "the download folder" if folder == settings.download_folder() else "the local mirror (COURSE_DATA_DIR)"


def read_tfds(wanted: TfdsImages, folder: Path) -> dict[str, Raw]:
    """Read a prepared TFDS data set under ``folder`` whole: split → images uint8 (n, h, w, c), labels uint8 (n,).

    Raises DataError naming the file where it is missing, truncated, corrupt, or not the original's content.
    """
    place = folder / "tensorflow_datasets" / wanted.name / wanted.version
    for name in ("dataset_info.json", "features.json"):
        try:
            json.loads((place / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _broken(place / name, f"it cannot be read ({type(error).__name__})") from error
    import tensorflow as tf
    import tensorflow_datasets as tfds

    found: dict[str, Raw] = {}
    try:
        builder = tfds.builder_from_directory(str(place))
    except Exception as error:  # TFDS raises whatever its own parsers do
        raise _broken(place / "dataset_info.json", f"TFDS cannot use it ({error})") from error
    for split, count in wanted.splits.items():
        shards = sorted(place.glob(f"{wanted.name}-{split}.tfrecord-*"))
        if not shards:
            raise _broken(place / f"{wanted.name}-{split}.tfrecord-00000-of-00001", "it is missing")
        try:
            data = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].split(" [Op:")[0]
            raise _broken(shards[0], f"it is truncated or corrupt: {reason[:160]}") from error
        found[split] = _verified(wanted, split, count, shards[0], data["image"], data["label"])
    return found


def _verified(wanted: TfdsImages, split: str, count: int, path: Path, images: NDArray, labels: NDArray) -> Raw:
    if len(labels) != count or images.shape != (count, *wanted.shape):
        raise _broken(path, f"it holds images of shape {images.shape}, not {(count, *wanted.shape)}")
    # TFDS stores examples in a fixed shuffled order: sorted by the hash of split and index.
    order = sorted(range(count), key=lambda index: hashlib.md5(f"{split}{index}".encode()).digest())
    original_images, original_labels = np.empty_like(images), np.empty(count, np.uint8)
    original_images[order], original_labels[order] = images, labels
    found = (
        hashlib.md5(struct.pack(">IIII", 2051, *original_images.shape[:3]) + original_images.tobytes()).hexdigest(),
        hashlib.md5(struct.pack(">II", 2049, count) + original_labels.tobytes()).hexdigest(),
    )
    if found != wanted.md5[split]:
        what = "images" if found[0] != wanted.md5[split][0] else "labels"
        raise _broken(path, f"wrong checksum: its {what} are not those of the original files")
    return original_images, original_labels


def _broken(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}. Delete {path.parent} and fetch it again with `course data download`.")


def download_tfds(wanted: TfdsImages, folder: Path) -> None:
    """Download ``wanted`` with TFDS into ``folder``, verified before it appears there, so nothing is half-written.

    Raises DataUnavailable where there is no network or the folder cannot be written, DataError on a wrong checksum.
    """
    target = folder / "tensorflow_datasets" / wanted.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob("incomplete-*"):
            shutil.rmtree(left_over)
        workspace = Path(tempfile.mkdtemp(prefix="incomplete-", dir=folder))
    except OSError as error:
        reason = f"the download folder {folder} cannot be written ({error.strerror})"
        raise DataUnavailable(f"{reason}. Set COURSE_CACHE_DIR to a folder of yours.") from error
    try:
        import tensorflow_datasets as tfds

        tfds.disable_progress_bar()
        builder = tfds.builder(wanted.name, data_dir=str(workspace / "tensorflow_datasets"))
        _reach(getattr(builder, "URL", ""))
        builder.download_and_prepare(download_dir=str(workspace / "downloads"))
        read_tfds(wanted, workspace)
        (workspace / "tensorflow_datasets" / wanted.name).replace(target)
    except DataError:
        raise
    except Exception as error:  # TFDS lets its HTTP library's exceptions through
        if type(error).__name__ == "NonMatchingChecksumError":
            raise DataError("what was downloaded has a wrong checksum; nothing was kept. Try again later.") from error
        reason = f"it could not be downloaded ({type(error).__name__}); nothing was kept"
        raise DataUnavailable(f"{reason}. Check the network, or set COURSE_DATA_DIR to a local copy.") from error
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _reach(address: str) -> None:
    """Raise OSError where the host of ``address`` cannot be reached: TFDS itself would try for minutes."""
    parts = urllib.parse.urlsplit(address)
    if parts.hostname and not urllib.request.getproxies():
        socket.create_connection(
            (parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)), timeout=10
        ).close()


def as_images(raw: Raw) -> Images:
    """Scale uint8 images to float32 in [0, 1]. Raises DataError where a label is outside 0 to 9."""
    images, labels = raw
    if labels.max(initial=0) > 9:
        raise DataError(f"labels run to {labels.max()}; they must lie in 0 to 9.")
    return Images(images.astype(np.float32) / np.float32(255), labels.astype(np.int32))


def three_parts(train: Raw, test: Raw, *, validation: int, classes: tuple[str, ...], source: str) -> ImageData:
    """Split the last ``validation`` training examples off; in the quick profile keep 3,600, 400 and 1,000 of each."""
    size = settings.current().size
    everything = as_images(train)
    cut = len(everything) - validation
    data = ImageData(
        train=everything.take(0, size(quick=min(cut, 3_600), full=cut)),
        validation=everything.take(cut, cut + size(quick=min(validation, 400), full=validation)),
        test=as_images(test).take(0, size(quick=1_000, full=len(test[1]))),
        classes=classes,
        source=source,
    )
    print(data)
    return data
