"""Training on one device or many, each with a full copy of the network: :func:`on_devices`. Introduced in chapter 02.

Every step's batch is cut into as many shares as there are devices, each device computes the gradient of its share,
and all apply the sum. On TensorFlow ``tf.distribute`` does it, on JAX ``keras.distribution``, which does nothing on
TensorFlow, silently.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from course_lib import settings

# A second strategy in the same process fails in its collectives: what was made first stays.
_strategies: dict[tuple[str, ...], Any] = {}


def devices(count: int | None = None) -> list[str]:
    """Return the names of the first ``count`` devices, default all: accelerators, or without any the processor.

    Raises ValueError naming what there is where ``count`` is less than one or more than that.
    """
    there = settings.gpus() or keras.distribution.list_devices("cpu")
    if count is None:
        return there
    if not 1 <= count <= len(there):
        hint = "" if settings.gpus() else " split_cpu(count) lets the processor stand for several, to try it."
        raise ValueError(f"devices({count}): there are {len(there)} here: {', '.join(there)}.{hint}")
    return there[:count]


def split_cpu(count: int) -> None:
    """Let the processor stand for ``count`` devices, to try distributed training without accelerators; no faster.

    On TensorFlow only. Raises ValueError for a count below 1, RuntimeError where TensorFlow has already begun to
    compute: call it before :func:`course_lib.setup`.
    """
    if count < 1:
        raise ValueError(f"split_cpu({count}): it must be at least 1.")
    if keras.config.backend() != "tensorflow":
        raise RuntimeError(
            "split_cpu() works on TensorFlow; for JAX set XLA_FLAGS=--xla_force_host_platform_device_count."
        )
    import tensorflow as tf

    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    try:
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    except RuntimeError as error:
        raise RuntimeError(f"split_cpu({count}) comes too late; call it before anything is computed.") from error


@contextlib.contextmanager
def on_devices(count: int = 1, *, batch_size: int = 128) -> Iterator[list[str]]:
    """Train what is built and fitted inside this context on ``count`` devices; gives their names.

    Model, optimizer and call of :func:`course_lib.training.loop.fit` belong inside. ``batch_size`` stays that of the
    whole step, so that the result is that of one device up to rounding; dropout aside, whose masks are drawn on each
    device. A last batch that does not divide would weigh the devices' examples unequally: ``stream_photos(devices=)``
    prevents it. One device is left to Keras.

    Raises ValueError where there are not so many devices or they do not divide the batch, RuntimeError on PyTorch, or
    where this process has already trained on other devices.
    """
    names = devices(count)
    if batch_size < 1 or batch_size % count:
        near = max(1, round(batch_size / count)) * count
        raise ValueError(f"batch_size={batch_size} does not divide among {count} devices; {near} would.")
    with _scope(names):
        yield names


def _scope(names: list[str]) -> contextlib.AbstractContextManager[Any]:
    if len(names) == 1:
        return contextlib.nullcontext()
    backend, chosen = keras.config.backend(), tuple(names)
    if backend == "torch":
        raise RuntimeError("several devices need KERAS_BACKEND=tensorflow or jax; with torch Keras trains on one.")
    if chosen not in _strategies:
        if _strategies:
            there = ", ".join(next(iter(_strategies)))
            raise RuntimeError(f"this process has trained on {there}; start a new one for {', '.join(names)}.")
        if backend == "jax":
            _strategies[chosen] = keras.distribution.DataParallel(devices=names)
        else:
            import tensorflow as tf

            _strategies[chosen] = tf.distribute.MirroredStrategy(names)
    return _strategies[chosen].scope()
