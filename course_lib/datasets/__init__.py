"""Data sets, one module each; :mod:`course_lib.datasets.sources` says where the bytes come from."""

from course_lib.datasets.digits import load_digits
from course_lib.datasets.fashion import load_fashion
from course_lib.datasets.sources import DataError, DataUnavailable, ImageData, Images

__all__ = ["DataError", "DataUnavailable", "ImageData", "Images", "load_digits", "load_fashion"]
