"""Handwritten digits: MNIST, or the 5,000 of its digits that ship with the course. Introduced in chapter 00.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits (1998). Sample: see data/README.md.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from course_lib import settings
from course_lib.datasets.sources import DataError, DataUnavailable, ImageData, Raw, TfdsImages, find_tfds, three_parts

MNIST = TfdsImages(
    name="mnist",
    version="3.0.1",
    splits={"train": 60_000, "test": 10_000},
    md5={
        "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
        "test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
    },
)
SAMPLE = settings.REPOSITORY / "data" / "digits_sample.npz"
SAMPLE_SHA256 = "ec56671eedea578fe38198d455616f721540adb79079f21462763a80602814a0"
CLASSES = tuple("0123456789")


def load_digits(*, source: str = "any") -> ImageData:
    """Return handwritten digits, images (n, 28, 28, 1), and print in one line where they came from.

    ``source`` is ``"any"`` (mirror, download, then the sample that ships), ``"full"`` (never the sample) or
    ``"sample"``. In the full profile ``"any"`` means ``"full"``, since the numbers of the text need all of MNIST.
    Raises DataUnavailable where the full set is needed and cannot be had, DataError where what is there is broken,
    ValueError for another source.
    """
    if source not in ("any", "full", "sample"):
        raise ValueError(f"load_digits(source={source!r}): it must be 'any', 'full' or 'sample'.")
    reason = "you asked for the sample"
    if source != "sample":
        try:
            splits, where = find_tfds(MNIST)
            return three_parts(splits["train"], splits["test"], validation=5_000, classes=CLASSES, source=where)
        except DataUnavailable as error:
            if source == "full" or settings.current().profile == "full":
                raise DataUnavailable(f"{error} COURSE_PROFILE=quick runs on the sample that ships.") from error
            reason = str(error)
    print(f"Using the sample that ships, 5,000 digits of MNIST: numbers will differ from the text. ({reason})")
    images, labels = read_sample()
    train, test = (images[:4_000], labels[:4_000]), (images[4_000:], labels[4_000:])
    return three_parts(train, test, validation=400, classes=CLASSES, source="sample of MNIST")


def read_sample(path: Path = SAMPLE) -> Raw:
    """Return the 5,000 digits that ship: images uint8 (5000, 28, 28, 1), labels uint8, classes in turn 0, 1, … 9, 0.

    Raises DataError where the file is missing or not the one that the course shipped.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: it cannot be read ({error.strerror}). Restore it: git checkout data") from error
    if hashlib.sha256(content).hexdigest() != SAMPLE_SHA256:
        raise DataError(f"{path}: wrong checksum, it is not the file that ships. Restore it: git checkout data")
    with np.load(path) as sample:
        return sample["images"][..., np.newaxis], sample["labels"]
