"""Handwritten digits: MNIST, or the 5,000 of its digits that ship with the course. Introduced in chapter 00.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits (1998). Sample: see data/README.md.
"""

from __future__ import annotations

from course_lib import settings
from course_lib.datasets.sources import ImageData, Raw, Sample, TfdsImages, load

CLASSES = tuple("0123456789")
MNIST = TfdsImages(
    name="mnist",
    version="3.0.1",
    splits={"train": 60_000, "test": 10_000},
    classes=CLASSES,
    images={"train": "6bbc9ace898e44ae57da46a324031adb", "test": "2646ac647ad5339dbf082846283269ea"},
    labels={"train": "a25bea736e30d166cdddb491f175f624", "test": "27ae3e4e09519cfbb04c329615203637"},
)
SAMPLE = Sample(
    path=settings.REPOSITORY / "data" / "digits_sample.npz",
    sha256="ec56671eedea578fe38198d455616f721540adb79079f21462763a80602814a0",
    source="sample of MNIST",
    content="5,000 digits of MNIST",
    classes=CLASSES,
)


def load_digits(*, source: str = "any") -> ImageData:
    """Return handwritten digits, images (n, 28, 28, 1): MNIST or the sample, as :func:`sources.load` explains."""
    return load(MNIST, SAMPLE, source)


def read_sample() -> Raw:
    """Return the 5,000 digits that ship, images uint8 (5000, 28, 28, 1). Raises DataError where the file is broken."""
    return SAMPLE.read()
