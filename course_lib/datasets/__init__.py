"""Data sets, one module each; :mod:`course_lib.datasets.sources` says where the bytes come from."""

from course_lib.datasets import digits, fashion, photos
from course_lib.datasets.digits import load_digits
from course_lib.datasets.fashion import load_fashion
from course_lib.datasets.photos import load_photos
from course_lib.datasets.sources import DataError, DataUnavailable, ImageData, Images

# What `course data` lists and checks, and the samples that `course doctor` reads.
KNOWN = {wanted.name: wanted for wanted in (digits.MNIST, fashion.FASHION_MNIST, photos.CIFAR10)}
SAMPLES = (digits.SAMPLE, photos.SAMPLE)

__all__ = [
    "KNOWN", "SAMPLES", "DataError", "DataUnavailable", "ImageData", "Images", "load_digits", "load_fashion",
    "load_photos",
]  # fmt: skip
