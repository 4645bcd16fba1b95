"""Fashion-MNIST: clothes in the format of MNIST, harder than digits. It has no sample. Introduced in chapter 01.

Source: Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv:1708.07747 (2017).
"""

from __future__ import annotations

from course_lib.datasets.sources import DataUnavailable, ImageData, TfdsImages, load_full

FASHION_MNIST = TfdsImages(
    name="fashion_mnist",
    version="3.0.1",
    splits={"train": 60_000, "test": 10_000},
    classes=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    images={"train": "f4a8712d7a061bf5bd6d2ca38dc4d50a", "test": "8181f5470baa50b63fa0f6fddb340f0a"},
    labels={"train": "9018921c3c673c538a1fc5bad174d6f9", "test": "15d484375f8d13e6eb1aabb0c3f46965"},
)  # fmt: skip


def load_fashion() -> ImageData | None:
    """Return Fashion-MNIST, images (n, 28, 28, 1); or say in one line that its section steps aside, and return None.

    Raises DataError where the data set is there and broken.
    """
    try:
        return load_full(FASHION_MNIST)
    except DataUnavailable as error:
        print(f"This section steps aside: {error}")
        return None
