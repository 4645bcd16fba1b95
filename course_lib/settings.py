"""Profile, seed, paths, device and precision: one object, set once by :func:`setup`. Introduced in chapter 00."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import logging
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")

REPOSITORY = Path(__file__).resolve().parent.parent
PROFILES = ("quick", "full")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
BACKENDS = ("tensorflow", "jax", "torch")
# What each chapter reads: its full profile is the default where all of it is there.
CHAPTER_DATA: dict[int, tuple[str, ...]] = {
    0: ("mnist",),
    1: ("mnist", "fashion_mnist"),
    2: ("cifar10",),
    3: ("cifar10",),
    4: ("mitdb",),
    5: ("camvid",),
    6: ("mnist", "cifar10", "mitdb"),
    7: ("cifar10",),
    8: ("mnist",),
    9: ("cifar10", "mnist", "cue_conflict"),
    10: ("mitdb",),
}


@dataclass(frozen=True)
class Settings:
    """What a run depends on besides the code. Made by :func:`setup`, read through :func:`current`."""

    chapter: int
    profile: str
    seed: int
    precision: str
    backend: str

    def size(self, *, quick: Value, full: Value) -> Value:
        """Return the number of samples, epochs or steps that belongs to the profile, so that a cell has no ``if``."""
        return full if self.profile == "full" else quick


_current: Settings | None = None


def current() -> Settings:
    """Return the settings of this process; before :func:`setup` was called, those that the environment asks for."""
    return _current or _from_environment(chapter=0, seed=0)


def setup(chapter: int, seed: int = 0) -> Settings:
    """Open a chapter: settle profile, seed and precision, seed every generator, print one table, return the settings.

    The environment overrides: ``COURSE_PROFILE`` (quick, full), ``COURSE_SEED``, ``COURSE_PRECISION`` and
    ``KERAS_BACKEND``. Raises ValueError where one of them holds a value that is not allowed.
    """
    global _current
    settings = _from_environment(chapter, seed)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").addFilter(_is_error)  # a filter, since TensorFlow sets the level itself, later
    os.environ["KERAS_BACKEND"] = settings.backend
    with no_native_log():
        import keras

        keras.ops.ones(1)
    if keras.config.backend() != settings.backend:
        raise RuntimeError(
            f"Keras already runs on {keras.config.backend()}, not on {settings.backend}. "
            "Restart the kernel and call course_lib.setup() before keras is imported."
        )
    keras.utils.set_random_seed(settings.seed)
    keras.config.set_dtype_policy(settings.precision)
    _current = settings
    print("\n".join(f"{name:<11}{value}" for name, value in describe(settings).items()))
    return settings


def _is_error(record: logging.LogRecord) -> bool:
    """Return whether a learner should see it; TensorFlow's warnings on retracing mean nothing to one."""
    return record.levelno >= logging.ERROR


@contextlib.contextmanager
def no_native_log() -> Iterator[None]:
    """Drop what C++ code writes to stderr meanwhile, such as TensorFlow's notes on its build, red in a notebook."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _from_environment(chapter: int, seed: int) -> Settings:
    missing = [name for name in CHAPTER_DATA.get(chapter, ()) if not has_full_data(name)]
    return Settings(
        chapter=chapter,
        profile=_choice("COURSE_PROFILE", PROFILES, "quick" if missing else "full"),
        seed=_whole_number("COURSE_SEED", seed),
        precision=_choice("COURSE_PRECISION", PRECISIONS, "float32"),
        backend=_choice("KERAS_BACKEND", BACKENDS, "tensorflow"),
    )


def _choice(variable: str, allowed: tuple[str, ...], default: str) -> str:
    value = os.environ.get(variable, "") or default
    if value not in allowed:
        raise ValueError(f"{variable} is {value!r}; it must be one of {', '.join(allowed)}, or unset.")
    return value


def _whole_number(variable: str, default: int) -> int:
    value = os.environ.get(variable, "")
    text, origin = (value, f"{variable} is {value!r}") if value else (str(default), f"seed is {default!r}")
    if not text.isdecimal() or int(text) >= 2**32:
        raise ValueError(f"{origin}; it must be a whole number from 0 to 2^32 - 1.")
    return int(text)


def data_folders() -> list[Path]:
    """Return the folders that may hold full data sets, first match wins: the mirror, then what was downloaded before.

    Raises FileNotFoundError where ``COURSE_DATA_DIR`` names a folder that does not exist.
    """
    folders = [download_folder()]
    if mirror := os.environ.get("COURSE_DATA_DIR", ""):
        if not Path(mirror).is_dir():
            raise FileNotFoundError(
                f"COURSE_DATA_DIR is {mirror!r}, and there is no such folder. "
                "Point it at the folder that holds tensorflow_datasets/, or unset it."
            )
        folders.insert(0, Path(mirror))
    return folders


def download_folder() -> Path:
    """Return where downloads are kept: ``COURSE_CACHE_DIR``, or ``.cache/data`` in the course's own folder."""
    return Path(os.environ.get("COURSE_CACHE_DIR", "") or REPOSITORY / ".cache" / "data")


def offline() -> bool:
    """Return whether ``COURSE_OFFLINE`` forbids the network."""
    return os.environ.get("COURSE_OFFLINE", "") not in ("", "0")


def unattended() -> bool:
    """Return whether ``course run`` or a recording drives this process, and no person at a notebook."""
    return any(os.environ.get(name, "") not in ("", "0") for name in ("COURSE_RUN_LOG", "COURSE_RECORD"))


def has_full_data(name: str) -> bool:
    """Return whether the data set ``name`` lies in one of the :func:`data_folders`, prepared by TFDS or as it is."""
    places = [place for folder in data_folders() for place in (folder / "tensorflow_datasets" / name, folder / name)]
    return any(place.is_dir() for place in places)


def versions() -> dict[str, str]:
    """Return the versions that a number may depend on."""
    found = {"python": platform.python_version()}
    for package in ("keras", "tensorflow-cpu", "tensorflow", "jax", "torch", "numpy"):
        if importlib.util.find_spec(package.removesuffix("-cpu")):
            try:
                found[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue  # tensorflow and tensorflow-cpu share one import name; only one of them is installed
    return found


def machine() -> str:
    """Return the kind of machine: processor, cores, system. No host name."""
    model = platform.processor() or platform.machine()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {cores()} cores, {platform.system()} {platform.machine()}"


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """Return the accelerators that the Keras backend sees, by name."""
    import keras

    return [device for device in keras.distribution.list_devices() if not device.lower().startswith("cpu")]


def describe(settings: Settings) -> dict[str, str]:
    """Return the table that opens a chapter, a row an entry."""
    found = [folder for folder in CHAPTER_DATA.get(settings.chapter, ()) if has_full_data(folder)]
    wanted = CHAPTER_DATA.get(settings.chapter, ())
    return {
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "backend": settings.backend,
        "device": ", ".join(gpus()) or f"CPU, {cores()} cores",
        "precision": settings.precision,
        "profile": settings.profile,
        "seed": str(settings.seed),
        "data": ", ".join(f"{name} {'found' if name in found else 'not found locally'}" for name in wanted) or "none",
    }
