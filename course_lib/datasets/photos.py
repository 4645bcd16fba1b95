"""Photographs: CIFAR-10, or 5,000 patches of ten pictures that ship with the course. Introduced in chapter 02.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009). Sample: see data/README.md.
"""

from __future__ import annotations

from course_lib import settings
from course_lib.datasets.sources import ImageData, Raw, Sample, TfdsImages, load

CIFAR10 = TfdsImages(
    name="cifar10",
    version="3.0.2",
    splits={"train": 50_000, "test": 10_000},
    shape=(32, 32, 3),
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    labels={"train": "2448b73f9f4d9f2ba3f204bdcefa79ea", "test": "5171b1501f6d598f7ca532c4ae9f070c"},
    # The channel means that many have published with 16 digits, such as 0.49139967861519607 for red, times all pixels.
    sums={
        "train": (6_415_714_204, 6_295_060_180, 5_829_907_619),
        "test": (1_290_492_328, 1_266_775_083, 1_176_108_223),
    },
    jpeg={"train": "a275b8dfc4f8a81767c2c19d0fdbe516", "test": "38e6c130a36fb2085c713562021c4880"},
)
SAMPLE = Sample(
    path=settings.REPOSITORY / "data" / "photos_sample.npz",
    sha256="0961d4610581695620188001671e637a010e86416c6e303e82264caeda89b1f1",
    source="sample of photo patches",
    content="5,000 patches of ten photographs instead of CIFAR-10",
    classes=("astronaut", "bricks", "cat", "coffee", "eye", "flower", "grass", "gravel", "stars", "temple"),
)


def load_photos(*, source: str = "any") -> ImageData:
    """Return photographs, images (n, 32, 32, 3): CIFAR-10 or the sample, as :func:`sources.load` explains.

    Where a mirror holds CIFAR-10 recompressed as JPEG, the source says so: numbers then differ a little.
    """
    return load(CIFAR10, SAMPLE, source)


def read_sample() -> Raw:
    """Return the 5,000 patches that ship, images uint8 (5000, 32, 32, 3). Raises DataError where the file is broken."""
    return SAMPLE.read()
