"""Training on one device or many, each with a full copy of the network: :func:`on_devices`. Introduced in chapter 02.

Every step's batch is cut into as many shares as there are devices, each device computes the gradient of its share,
and all apply the sum. On TensorFlow ``tf.distribute`` does it, on JAX ``keras.distribution``, which does nothing on
TensorFlow, silently. The devices may belong to several processes, on several machines: :func:`join`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from course_lib import settings
from course_lib.training.workers import Worker, WorkerLost

# A second strategy in the same process fails in its collectives: what was made first stays.
_strategies: dict[tuple[str, ...], Any] = {}
_joined: Worker | None = None


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


def join(worker: Worker) -> None:
    """Make this process one of several workers, for good: :func:`on_devices` then means the devices of all.

    On TensorFlow only, whose ``MultiWorkerMirroredStrategy`` does it. Call it before :func:`course_lib.setup`, and
    after :func:`course_lib.training.workers.meet`: it waits for the others without end. Raises RuntimeError on another
    backend, where TensorFlow has already begun to compute, or where this worker sees more than one GPU.
    """
    global _joined
    if keras.config.backend() != "tensorflow":
        raise RuntimeError(f"several workers need KERAS_BACKEND=tensorflow; it is {keras.config.backend()}.")
    import tensorflow as tf

    if (count := len(tf.config.list_physical_devices("GPU"))) > 1:
        raise RuntimeError(
            f"this worker sees {count} GPUs and would use one: start a worker for each GPU, with CUDA_VISIBLE_DEVICES "
            "and an address of its own."
        )
    cluster = tf.train.ClusterSpec({"worker": worker.addresses})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type="worker", task_id=worker.index, rpc_layer="grpc"
    )
    with settings.no_native_log():
        _strategies[worker.addresses] = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    _joined = worker


def joined() -> Worker | None:
    """Return which of several workers this process is, or None where it is not one of several."""
    return _joined


def share(model: keras.Model, pipelines: Sequence[Any]) -> list[Any]:
    """Prepare a compiled ``model`` for Keras' ``fit`` among several workers, and return what ``fit`` is to read.

    Each of ``pipelines`` is a tf.data pipeline of this worker's shares, or None. Keras 3 stumbles over several workers
    in two places of its own (keras-team/keras issue 20585, open with Keras 3.15): it averages the first batches of all
    workers to see their shape, and each step's results over an axis that scalars lack. So the optimizer's state is made
    here, that first look is left out, and a step is :meth:`keras.Model.train_step` on each worker, whose optimizer
    sums the gradients. The metrics of an epoch are those of all workers, those of a step this worker's own.
    """
    import tensorflow as tf

    strategy = _strategies[_joined.addresses] if _joined else tf.distribute.get_strategy()
    model.optimizer.build(model.trainable_variables)
    model._distribute_strategy = None
    model.train_function = tf.function(lambda batches: strategy.run(model.train_step, args=(next(batches),)))
    model.test_function = tf.function(lambda batches: strategy.run(model.test_step, args=(next(batches),)))
    return [p if p is None else strategy.distribute_datasets_from_function(lambda _, p=p: p) for p in pipelines]


@contextlib.contextmanager
def on_devices(count: int = 1, *, batch_size: int = 128) -> Iterator[list[str]]:
    """Train what is built and fitted inside this context on ``count`` devices; gives their names.

    Model, optimizer and call of :func:`course_lib.training.loop.fit` belong inside. ``batch_size`` stays that of the
    whole step, so that the result is that of one device up to rounding; dropout aside, whose masks are drawn on each
    device. A last batch that does not divide would weigh the devices' examples unequally: ``stream_photos(devices=)``
    prevents it. One device is left to Keras. After :func:`join` the devices are the workers, named by their addresses.

    Raises ValueError where there are not so many devices or they do not divide the batch, RuntimeError on PyTorch, or
    where this process has already trained on other devices, WorkerLost where another worker ends before this one.
    """
    if _joined and count != 1:
        raise ValueError(f"on_devices({count}): each of several workers has one device.")
    names = list(_joined.addresses) if _joined else devices(count)
    if batch_size < 1 or batch_size % len(names):
        near = max(1, round(batch_size / len(names))) * len(names)
        what = "workers" if _joined else "devices"
        raise ValueError(f"batch_size={batch_size} does not divide among {len(names)} {what}; {near} would.")
    with _scope(names), _naming_loss() if _joined else contextlib.nullcontext():
        yield names


@contextlib.contextmanager
def _naming_loss() -> Iterator[None]:
    """Turn what TensorFlow raises where a sum over the workers fails into WorkerLost."""
    import tensorflow as tf

    errors = tf.errors
    try:
        yield
    except (errors.UnavailableError, errors.AbortedError, errors.CancelledError, errors.InternalError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WorkerLost(f"another worker ended or cannot be reached any more ({reason})") from error


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
