"""Where the bytes come from, and that they are whole: mirror, then download, then the sample that ships. Chapter 00.

A TFDS data set is verified against the content of the original files, so it makes no difference which version of TFDS
prepared it.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import shutil
import struct
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from course_lib import settings

Data = TypeVar("Data")


class DataError(Exception):
    """Data were found, and they are truncated, corrupt or mislabelled. Names the file and says what to do."""


class DataUnavailable(DataError):
    """Data were found nowhere. Says where it was looked for and what to do."""


class DeadLink(OSError):
    """An address from which data are downloaded does not answer with data. Names it and says why."""


@dataclass(frozen=True)
class Examples:
    """What a network learns from: inputs, an array (n, …) or several by name, and labels, int32, shape (n, …)."""

    inputs: Any
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Any) -> Self:
        """Return the examples of a slice, of indices, or of a mask (n,)."""
        if isinstance(self.inputs, dict):
            return type(self)({name: array[chosen] for name, array in self.inputs.items()}, self.labels[chosen])
        return type(self)(self.inputs[chosen], self.labels[chosen])

    def take(self, start: int, stop: int) -> Self:
        """Return the examples from ``start`` up to but not including ``stop``."""
        return self[start:stop]


class Images(Examples):
    """Images, float32 in [0, 1], shape (n, height, width, channels), with a label each, (n,), or a pixel, (n, h, w)."""

    @property
    def images(self) -> NDArray[np.float32]:
        """The inputs."""
        return self.inputs


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


Raw = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class TfdsImages:
    """An image data set of TFDS, examples a split, and what its content must be, by split and in the original order.

    ``labels`` and ``images`` are the MD5 of the original IDX files. Where the images never were such a file, ``sums``
    holds the sum of all pixels of each channel, and ``jpeg`` the MD5 of the JPEG files of a recompressed copy.
    """

    name: str
    version: str
    splits: dict[str, int]
    classes: tuple[str, ...]
    labels: dict[str, str]
    images: dict[str, str] = field(default_factory=dict)
    sums: dict[str, tuple[int, ...]] = field(default_factory=dict)
    jpeg: dict[str, str] = field(default_factory=dict)
    shape: tuple[int, int, int] = (28, 28, 1)

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses from which TFDS downloads the set."""
        import tensorflow_datasets as tfds

        return _addresses(tfds.builder(self.name))

    def report(self) -> str:
        """Find or download the set, verify it, and say in a line what there is. Raises as :func:`find_tfds`."""
        splits, source = find_tfds(self)
        return f"{source}: " + ", ".join(f"{len(labels):,} {split}" for split, (_, labels) in splits.items())


@dataclass(frozen=True)
class Sample:
    """A sample that ships in data/: 4,000 examples for training and validation, then 1,000 for testing."""

    path: Path
    sha256: str
    source: str
    content: str
    classes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.path.name

    def report(self) -> str:
        """Read it and say in a line what there is. Raises as :meth:`read`."""
        return f"{len(self.read()[1]):,} examples"

    def read(self) -> Raw:
        """Return images uint8 (5000, h, w, c) and labels uint8 (5000,), the classes in turn: 0, 1, … 9, 0, 1, …

        Raises DataError where the file is missing or not the one that the course shipped.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            reason = f"it cannot be read ({error.strerror})"
            raise DataError(f"{self.path}: {reason}. Restore it: git checkout data") from error
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise DataError(
                f"{self.path}: wrong checksum, it is not the file that ships. Restore it: git checkout data"
            )
        with np.load(self.path) as arrays:
            images = arrays["images"]
            return images if images.ndim == 4 else images[..., np.newaxis], arrays["labels"]


def load(wanted: TfdsImages, sample: Sample, source: str) -> ImageData:
    """Return ``wanted``, or ``sample`` where it may stand in, and print in one line where the images came from.

    ``source`` is ``"any"`` (mirror, download, then the sample that ships), ``"full"`` (never the sample) or
    ``"sample"``. In the full profile ``"any"`` means ``"full"``, since the numbers of the text need the full set.
    Raises DataUnavailable where the full set is needed and cannot be had, DataError where what is there is broken,
    ValueError for another source.
    """

    def from_sample() -> ImageData:
        images, labels = sample.read()
        train, test = (images[:4_000], labels[:4_000]), (images[4_000:], labels[4_000:])
        return three_parts(train, test, validation=400, classes=sample.classes, source=sample.source)

    return full_or_sample(source, lambda: load_full(wanted), from_sample, sample.content)


def full_or_sample(source: str, full: Callable[[], Data], sample: Callable[[], Data], content: str) -> Data:
    """Return what ``full()`` or ``sample()`` loads, as ``source`` of :func:`load` asks; announce the sample."""
    if source not in ("any", "full", "sample"):
        raise ValueError(f"source is {source!r}; it must be 'any', 'full' or 'sample'.")
    reason = "you asked for the sample"
    if source != "sample":
        try:
            return full()
        except DataUnavailable as error:
            if source == "full" or settings.current().profile == "full":
                raise DataUnavailable(f"{error} COURSE_PROFILE=quick runs on the sample that ships.") from error
            reason = str(error)
    print(f"Using the sample that ships, {content}: numbers will differ from the text. ({reason})")
    return sample()


def load_full(wanted: TfdsImages) -> ImageData:
    """Return ``wanted``, the last 5,000 training images for validation. Raises as :func:`find_tfds`."""
    splits, source = find_tfds(wanted)
    return three_parts(splits["train"], splits["test"], validation=5_000, classes=wanted.classes, source=source)


def find_tfds(wanted: TfdsImages) -> tuple[dict[str, Raw], str]:
    """Return the splits of ``wanted`` in the order of the original files, and a line on where they came from.

    Looks in the mirror (``COURSE_DATA_DIR``), in what was downloaded before, and then downloads, unless
    ``COURSE_OFFLINE=1``. Raises DataUnavailable where none of them has it, DataError where what is there is broken.
    """
    path = f"tensorflow_datasets/{wanted.name}"
    folder, source = find(wanted.name, path, lambda folder: download_tfds(wanted, folder))
    splits, note = read_tfds(wanted, folder)
    return splits, source + note


def find(name: str, path: str, download: Callable[[Path], None]) -> tuple[Path, str]:
    """Return the folder in which the set ``name`` lies under ``path``, and a line on where it came from.

    Looks in the :func:`settings.data_folders`, and then lets ``download`` bring it into the folder that it is given,
    unless ``COURSE_OFFLINE=1``. Raises DataUnavailable where that is forbidden, else what ``download`` raises, either
    with the places that were looked at.
    """
    for folder in settings.data_folders():
        if (folder / path).is_dir():
            return folder, f"{name} from {where(folder)}"
    looked = ", ".join(map(where, settings.data_folders()))
    if settings.offline():
        raise DataUnavailable(f"{name} is not in {looked}, and COURSE_OFFLINE=1 forbids a download.")
    try:
        download(settings.download_folder())
    except DataError as error:
        raise type(error)(f"{name} is not in {looked}, and {error}") from error
    return settings.download_folder(), f"{name}, downloaded"


def where(folder: Path) -> str:
    """Return how messages call one of the :func:`settings.data_folders`."""
    return "the download folder" if folder == settings.download_folder() else "the local mirror (COURSE_DATA_DIR)"


def read_tfds(wanted: TfdsImages, folder: Path) -> tuple[dict[str, Raw], str]:
    """Read a prepared TFDS data set under ``folder`` whole: split → images uint8 (n, h, w, c), labels uint8 (n,).

    With it comes a note, empty unless the images are a recompressed copy.
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
    note = ""
    try:
        builder = tfds.builder_from_directory(str(place))
    except Exception as error:  # TFDS raises whatever its own parsers do
        raise _broken(place / "dataset_info.json", f"TFDS cannot use it ({error})") from error
    for split, count in wanted.splits.items():
        shards = sorted(place.glob(f"{wanted.name}-{split}.tfrecord-*"))
        if not shards:
            raise _broken(place / f"{wanted.name}-{split}.tfrecord-00000-of-00001", "it is missing")
        try:
            encoded = {"image": tfds.decode.SkipDecoding()}
            data = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1, decoders=encoded))
            if len(data["label"]) != count:
                raise _broken(shards[0], f"it holds {len(data['label']):,} examples, not {count:,}")
            # TFDS stores examples in a fixed shuffled order: sorted by the hash of split and index.
            order = sorted(range(count), key=lambda index: hashlib.md5(f"{split}{index}".encode()).digest())
            files, labels = np.empty(count, object), np.empty(count, np.uint8)
            files[order], labels[order] = data["image"], data["label"]
            images = _decoded(files, wanted.shape[-1])
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].split(" [Op:")[0]
            raise _broken(shards[0], f"it is truncated or corrupt: {reason[:160]}") from error
        found[split] = images, labels
        if wrong := _wrong(wanted, split, files, images, labels):
            raise _broken(shards[0], wrong)
        if _is_jpeg(files):
            note = ", recompressed as JPEG, so numbers differ a little from those on the original"
    return found, note


def _decoded(files: NDArray, channels: int) -> NDArray[np.uint8]:
    """Decode image files, JPEG as libjpeg does: TensorFlow's default is faster, darker by one level, and may vary."""
    import tensorflow as tf

    def decode(file: tf.Tensor) -> tf.Tensor:
        return tf.io.decode_jpeg(file, channels=channels, dct_method="INTEGER_ACCURATE")  # it reads PNG as well

    dataset = tf.data.Dataset.from_tensor_slices(files).map(decode, num_parallel_calls=settings.cores())
    return dataset.batch(len(files)).get_single_element().numpy()


def _is_jpeg(files: NDArray) -> bool:
    return files[0].startswith(b"\xff\xd8")


def _wrong(wanted: TfdsImages, split: str, files: NDArray, images: NDArray, labels: NDArray) -> str:
    """Return what differs from the original files, or from the known recompressed copy; empty where nothing does."""
    if images.shape[1:] != wanted.shape:
        return f"it holds images of shape {images.shape[1:]}, not {wanted.shape}"
    if _is_jpeg(files) and wanted.jpeg:
        right = hashlib.md5(b"".join(files)).hexdigest() == wanted.jpeg[split]
    elif wanted.sums:
        right = tuple(images.sum(axis=(0, 1, 2), dtype=np.int64)) == wanted.sums[split]
    else:
        right = _idx_md5(images[..., 0]) == wanted.images[split]
    if not right:
        return "wrong checksum: its images are not those of the original files"
    if _idx_md5(labels) != wanted.labels[split]:
        return "wrong checksum: its labels are not those of the original files"
    return ""


def _idx_md5(array: NDArray[np.uint8]) -> str:
    """Return the MD5 of an array as a file in the IDX format of MNIST: 0, 0, 8, dimensions, sizes, bytes."""
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return hashlib.md5(header + array.tobytes()).hexdigest()


def _broken(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}. Delete {path.parent} and fetch it again with `course data download`.")


def download_tfds(wanted: TfdsImages, folder: Path) -> None:
    """Download ``wanted`` with TFDS into ``folder``, verified before it appears there, so nothing is half-written.

    Raises DataUnavailable where there is no network or the folder cannot be written, DataError on a wrong checksum.
    """
    target = folder / "tensorflow_datasets" / wanted.name
    try:
        with workspace(target, folder) as place:
            import tensorflow_datasets as tfds

            tfds.disable_progress_bar()
            builder = tfds.builder(wanted.name, data_dir=str(place / "tensorflow_datasets"))
            reach(*_addresses(builder))
            builder.download_and_prepare(download_dir=str(place / "downloads"))
            read_tfds(wanted, place)
            (place / "tensorflow_datasets" / wanted.name).replace(target)
    except DataError:
        raise
    except Exception as error:  # TFDS lets its HTTP library's exceptions through
        if type(error).__name__ == "NonMatchingChecksumError":
            raise DataError("what was downloaded has a wrong checksum; nothing was kept. Try again later.") from error
        raise not_downloaded(error) from error


def _addresses(builder: Any) -> tuple[str, ...]:
    """Return what a builder of TFDS downloads: the files that it knows, at its own address where it has one."""
    base = getattr(builder, "URL", "")
    return tuple(urllib.parse.urljoin(base, url.rpartition("/")[2]) if base else url for url in builder.url_infos)


def not_downloaded(error: Exception, copy: str = "a local copy") -> DataUnavailable:
    """Return the error to raise where a download failed with ``error``: why, what was kept, and what to do."""
    why = f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0][:300]}"
    advice = f"Check the network, or set COURSE_DATA_DIR to {copy}."
    return DataUnavailable(f"it could not be downloaded ({why}); nothing was kept. {advice}")


@contextlib.contextmanager
def workspace(target: Path, folder: Path) -> Iterator[Path]:
    """Give a fresh place inside ``folder`` from which to move what is whole to ``target``; it goes in any case.

    What runs that were killed left behind goes too. Raises DataUnavailable where ``folder`` cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob("incomplete-*"):
            shutil.rmtree(left_over)
        place = Path(tempfile.mkdtemp(prefix="incomplete-", dir=folder))
    except OSError as error:
        reason = f"the download folder {folder} cannot be written ({error.strerror})"
        raise DataUnavailable(f"{reason}. Set COURSE_CACHE_DIR to a folder of yours.") from error
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def reach(*addresses: str) -> None:
    """Raise DeadLink for the first of ``addresses`` that does not answer with data: TFDS would try it for minutes.

    It asks as a download does, since some servers refuse a mere HEAD, and hangs up once the answer begins.
    """
    for address in addresses:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                if answer.headers.get_content_type() == "text/html":  # "not found" in words, or a domain for sale
                    raise DeadLink(f"{address}: it answers with a web page, not with data")
        except DeadLink:
            raise
        except (OSError, http.client.HTTPException) as error:
            why = str(error).removeprefix("<urlopen error ").removesuffix(">") or type(error).__name__
            raise DeadLink(f"{address}: {why}") from error


def as_images(raw: Raw) -> Images:
    """Scale uint8 images to float32 in [0, 1]. Raises DataError where a label is outside 0 to 9."""
    images, labels = raw
    if labels.max(initial=0) > 9:
        raise DataError(f"labels run to {labels.max()}; they must lie in 0 to 9.")
    scaled = images.astype(np.float32)
    scaled /= 255  # in place: a second copy of CIFAR-10 would take 600 MB
    return Images(scaled, labels.astype(np.int32))


def three_parts(train: Raw, test: Raw, *, validation: int, classes: tuple[str, ...], source: str) -> ImageData:
    """Split the last ``validation`` training examples off; in the quick profile keep 3,600, 400 and 1,000 of each."""
    size = settings.current().size
    cut = len(train[1]) - validation

    def part(raw: Raw, start: int, length: int) -> Images:
        return as_images((raw[0][start : start + length], raw[1][start : start + length]))

    data = ImageData(
        train=part(train, 0, size(quick=min(cut, 3_600), full=cut)),
        validation=part(train, cut, size(quick=min(validation, 400), full=validation)),
        test=part(test, 0, size(quick=1_000, full=len(test[1]))),
        classes=classes,
        source=source,
    )
    print(data)
    return data
