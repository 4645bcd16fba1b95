"""Data sets, one module each; :mod:`course_lib.datasets.sources` says where the bytes come from."""

from typing import Protocol

from course_lib.datasets import digits, fashion, heartbeats, imagenet, photos, scenes
from course_lib.datasets.cue_conflict import load_cue_conflict
from course_lib.datasets.digits import load_digits
from course_lib.datasets.fashion import load_fashion
from course_lib.datasets.heartbeats import load_heartbeats
from course_lib.datasets.photos import load_photos
from course_lib.datasets.scenes import load_scenes
from course_lib.datasets.sources import DataError, DataUnavailable, Examples, ImageData, Images


class Known(Protocol):
    """A data set or sample that can be found, verified, and described in a line; raises DataError."""

    @property
    def name(self) -> str: ...

    def report(self) -> str: ...


class Downloaded(Protocol):
    """A data set that the course can download, and the addresses from which it does."""

    def addresses(self) -> tuple[str, ...]: ...


# What `course data` lists and checks, what its links are asked of, and the samples that `course doctor` reads.
SETS = (digits.MNIST, fashion.FASHION_MNIST, photos.CIFAR10, heartbeats.MITDB, scenes.CAMVID)
KNOWN: dict[str, Known] = {known.name: known for known in SETS}
LINKED: dict[str, Downloaded] = {known.name: known for known in SETS} | {
    "imagenette": imagenet.PHOTO_SETS["imagenette"]
}
SAMPLES: tuple[Known, ...] = (digits.SAMPLE, photos.SAMPLE, heartbeats.SAMPLE)

__all__ = [
    "KNOWN", "LINKED", "SAMPLES", "DataError", "DataUnavailable", "Examples", "ImageData", "Images",
    "load_cue_conflict", "load_digits", "load_fashion", "load_heartbeats", "load_photos", "load_scenes",
]  # fmt: skip
