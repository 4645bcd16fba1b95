"""The training loop that every chapter calls: :func:`fit`. Introduced in chapter 01, after the same loop by hand.

It is Keras' own ``compile`` and ``fit`` with what an experiment needs set once: device and precision from
the settings, an order of the data fixed by seed and epoch, several steps an execution, progress, exact resume.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from course_lib import settings
from course_lib.datasets.sources import Examples
from course_lib.training import distributed
from course_lib.training.optimizers import Plateau

# Steps that run between two returns to Python. On two cores LeNet-5 gains about a quarter from 1 to 8 and nothing
# beyond; at 32 the bar still moves and an interrupt answers within a second (benchmarks/loop.py --choices).
STEPS_PER_EXECUTION = 32


class TrainingDiverged(FloatingPointError):
    """The loss became NaN or infinite. ``history`` holds the epochs before."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


@dataclass
class History:
    """What a training run left: for each metric a value an epoch, the seconds it took, whether it was interrupted."""

    epochs: dict[str, list[float]] = field(default_factory=dict)
    random_states: list[list[list[int]]] = field(default_factory=list, repr=False)
    seconds: float = 0.0
    interrupted: bool = False

    def __len__(self) -> int:
        return len(self.epochs.get("loss", []))

    def last(self, metric: str) -> float:
        """Return the metric's value after the last epoch. Raises KeyError naming what there is."""
        if not self.epochs.get(metric):
            raise KeyError(f"no {metric!r} in this history; it has {', '.join(self.epochs) or 'no finished epoch'}.")
        return self.epochs[metric][-1]


class Batches(keras.utils.PyDataset):
    """Arrays in batches; with a ``seed`` in a new order each epoch, the same for the same seed and epoch.

    Every example comes exactly once an epoch; the last batch holds what is left over.
    """

    def __init__(self, data: Examples, batch_size: int, seed: int | None) -> None:
        super().__init__()
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self._epoch, self._order = -1, np.arange(len(data))
        self.epoch = 0

    @property
    def epoch(self) -> int:
        """The epoch whose order is served, counted from 0."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        if self.seed is not None and epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(len(self.data))
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self.data) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, NDArray]:
        batch = self.data[self._order[index * self.batch_size : (index + 1) * self.batch_size]]
        return batch.inputs, batch.labels

    def orders(self) -> Iterator[NDArray[np.int64]]:
        """Yield the order of the current epoch, once: what :func:`_as_tf_data` starts each epoch from."""
        yield self._order


def _as_tf_data(batches: Batches) -> Any:
    """Return the same batches in the same order as a tf.data pipeline: examples are gathered off the Python thread.

    tf.data's tuning and graph rewriting are off: for a gather they cost more than they bring, and the tuner
    now and then holds up the start of an epoch by about two seconds.
    """
    import tensorflow as tf

    count, size = len(batches.data), batches.batch_size
    whole = count // size * size
    with tf.device("CPU"):
        arrays = tf.nest.map_structure(tf.constant, (batches.data.inputs, batches.data.labels))

    def cut(order: Any) -> Any:
        pieces = tf.data.Dataset.from_tensor_slices(tf.reshape(order[:whole], (-1, size)))
        return pieces.concatenate(tf.data.Dataset.from_tensors(order[whole:])) if whole < count else pieces

    order = tf.data.Dataset.from_generator(batches.orders, output_signature=tf.TensorSpec((count,), tf.int64))
    data = order.flat_map(cut).map(lambda chosen: tf.nest.map_structure(lambda a: tf.gather(a, chosen), arrays))
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return data.prefetch(2).with_options(options).apply(tf.data.experimental.assert_cardinality(len(batches)))


class _Watch(keras.callbacks.Callback):
    """Sets the order of each epoch, draws the progress bar, keeps the history on disk, stops on NaN."""

    def __init__(
        self,
        batches: Any,
        history: History,
        record: Path | None,
        identity: dict[str, Any],
        plateau: Plateau | None,
        until: Callable[[History], bool] | None,
    ) -> None:
        super().__init__()
        self.batches, self.history, self.record, self.identity = batches, history, record, identity
        self.plateau, self.until = plateau, until

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self.bar: tqdm | None = None
        self.resuming = True
        # Now, since a schedule may be at 0 by the end; by way of NumPy, since a mirrored variable is no number.
        self.rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.bar is None:
            steps = self.params["steps"]
            total = steps and steps * self.params["epochs"]
            initial = epoch * (steps or 0)
            self.bar = tqdm(total=total, initial=initial, unit=" steps", leave=False, dynamic_ncols=True)
        if hasattr(self.batches, "epoch"):
            self.batches.epoch = epoch
        kept: list[list[Any]] = [*self.history.epochs.values(), self.history.random_states]
        for values in kept:
            del values[epoch:]  # what a run that was killed before its backup had already written
        if self.resuming and epoch:
            for variable, state in zip(self._random_variables(), self.history.random_states[-1], strict=True):
                variable.assign(state)
        self.resuming = False
        if self.plateau is not None:
            so_far = self.history.epochs.get(self.plateau.metric, [])
            self.model.optimizer.learning_rate = self.plateau.rate(self.rate, so_far)
        self.bar.set_description(f"epoch {epoch + 1}/{self.params['epochs']}")
        self.epoch, self.step = epoch, -1

    def _random_variables(self) -> list[Any]:
        """Return the states of dropout and the like, which Keras' backup leaves out."""
        return [v for v in self.model.non_trainable_variables if v.path.endswith("seed_generator_state")]

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            rate = self.rate
            raise TrainingDiverged(
                f"the loss became {loss} in epoch {self.epoch + 1}, by step {batch + 1}, at learning rate {rate:g}. "
                "Try a tenth of the learning rate; if that does not help, look for NaN in the inputs.",
                self.history,
            )
        if self.bar is not None:
            self.bar.update(batch - self.step)
            self.bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self.step = batch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name, value in (logs or {}).items():
            self.history.epochs.setdefault(name, []).append(float(value))
        states = [keras.ops.convert_to_numpy(variable.value).tolist() for variable in self._random_variables()]
        self.history.random_states.append(states)
        if self.record:  # before Keras' backup of the same epoch: a kill in between repeats the epoch, loses nothing
            temporary = self.record.with_suffix(".new")
            temporary.write_text(
                json.dumps(
                    {
                        "identity": self.identity,
                        "epochs": self.history.epochs,
                        "random_states": self.history.random_states,
                    }
                )
            )
            temporary.replace(self.record)
        if self.until is not None and self.until(self.history):
            self.model.stop_training = True

    def close(self) -> None:
        """Take the bar away, also after an interrupt, when Keras no longer calls ``on_train_end``."""
        if getattr(self, "bar", None) is not None:
            self.bar.close()  # type: ignore[union-attr]


class _BackupOfAll(keras.callbacks.BackupAndRestore):
    """The chief's backup of what all workers train, in a thread of its own, where no strategy is in scope.

    While it saves, Keras makes variables to compare with; in scope each would have to be made by all workers, and a
    worker that died meanwhile would leave half a backup.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        with ThreadPoolExecutor(1) as outside:
            outside.submit(super().on_epoch_end, epoch, logs).result()


def fit(
    model: keras.Model,
    train: Examples | keras.utils.PyDataset | Any,
    *,
    epochs: int,
    validation: Examples | Any = None,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    optimizer: keras.optimizers.Optimizer | None = None,
    loss: keras.losses.Loss | None = None,
    metrics: Sequence[Any] = ("accuracy",),
    plateau: Plateau | None = None,
    until: Callable[[History], bool] | None = None,
    checkpoint: str | Path | None = None,
    seed: int | None = None,
) -> History:
    """Train ``model`` on ``train`` and return the history; print one line on how it went.

    ``train`` is :class:`Examples`, or a dataset that Keras takes (tf.data, PyDataset) and that shuffles itself.
    ``optimizer`` defaults to Adam whose rate falls from ``learning_rate`` to 0 along half a cosine; ``loss`` to
    cross-entropy on scores (logits); ``seed`` to the setting's. A ``plateau`` lowers the rate of an ``optimizer`` that
    has a plain number for it. Training ends early after the first epoch for whose history ``until`` is true. With
    ``checkpoint``, a folder, every epoch is saved, and the same call after a kill or an interrupt goes on to the result
    of an uninterrupted run. An interrupt returns the history so far, except in an unattended run (``course run``),
    which it ends. Of several workers (:func:`course_lib.training.distributed.join`) each gives its own shares as
    tf.data, and all the same ``checkpoint``, which only the chief writes.

    Raises ValueError for arguments that cannot be or a checkpoint of another run, TrainingDiverged on NaN.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"fit({name}={value}): it must be at least 1.")
    if isinstance(train, Examples) and len(train) == 0:
        raise ValueError("fit(): there are no training examples.")
    worker = distributed.joined()
    if worker and (isinstance(train, Examples) or isinstance(validation, Examples)):
        raise ValueError("fit(): each of several workers needs its own share, as stream_photos(worker=…) gives it.")
    if plateau is not None and not _has_plain_rate(optimizer):
        raise ValueError("fit(plateau=…) sets the learning rate itself: give an optimizer whose rate is a number.")
    if plateau is not None and plateau.metric.startswith("val_") and validation is None:
        raise ValueError(f"fit(plateau=…) watches {plateau.metric!r}, which needs validation=….")
    seed = settings.current().seed if seed is None else seed
    tensorflow = keras.config.backend() == "tensorflow"
    batches = Batches(train, batch_size, seed) if isinstance(train, Examples) else train
    steps = len(batches)
    if optimizer is None:
        optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, epochs * steps))
    short = epochs * steps <= 200  # to trace several steps for one execution takes seconds, in fit and in predict
    model.compile(
        optimizer=optimizer,
        loss=loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=list(metrics),
        steps_per_execution=1 if short or _mirrored(model) else min(STEPS_PER_EXECUTION, steps),
        # Keras' own choice on a GPU; on a CPU, under TensorFlow, XLA halved the speed of LeNet-5 (loop.py --choices).
        jit_compile="auto" if settings.gpus() or not tensorflow else False,
    )
    history, record, callbacks = History(), None, []
    identity = _identity(model, batches, epochs, seed, plateau)
    if checkpoint is not None:
        folder = Path(checkpoint)
        folder.mkdir(parents=True, exist_ok=True)
        record = folder / "run.json"
        history = _resume(record, identity)
        if not (folder / "backup" / "training_metadata.json").exists():  # killed before the first backup was whole
            shutil.rmtree(folder / "backup", ignore_errors=True)
        backup = _BackupOfAll if worker else keras.callbacks.BackupAndRestore
        callbacks = [backup(folder / "backup", double_checkpoint=True)]
        if worker and worker.index:  # reads what the chief wrote, and writes nothing
            record, callbacks = None, [backup(folder / "backup", save_freq=sys.maxsize, delete_checkpoint=False)]
    watch = _Watch(batches, history, record, identity, plateau, until)
    held_out = Batches(validation, 1_000, seed=None) if isinstance(validation, Examples) else validation
    pipelines = [_as_tf_data(b) if tensorflow and isinstance(b, Batches) else b for b in (batches, held_out)]
    if worker:
        pipelines = distributed.share(model, pipelines)
    start = time.perf_counter()
    try:
        model.fit(
            pipelines[0],
            validation_data=pipelines[1],
            epochs=epochs,
            verbose=0,
            shuffle=False,
            callbacks=[watch, *callbacks],
        )
    except KeyboardInterrupt:
        if settings.unattended():  # nobody is there to see it: what follows must not pass for the whole run
            raise
        history.interrupted = True
    finally:
        watch.close()
        history.seconds = time.perf_counter() - start
    if record and not history.interrupted:
        record.unlink(missing_ok=True)
    print(_summary(history, epochs, resumable=checkpoint is not None))
    return history


def _mirrored(model: keras.Model) -> bool:
    """Return whether ``tf.distribute`` keeps copies of the model; it fails with several steps an execution."""
    strategy = getattr(model, "distribute_strategy", None)
    return getattr(strategy, "num_replicas_in_sync", 1) > 1


def _has_plain_rate(optimizer: keras.optimizers.Optimizer | None) -> bool:
    return optimizer is not None and not isinstance(optimizer.get_config()["learning_rate"], dict)


def _identity(model: keras.Model, batches: Any, epochs: int, seed: int, plateau: Plateau | None) -> dict[str, Any]:
    """Return what makes two runs the same run, so that a checkpoint is not continued by another one."""
    plain = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # under mixed_float16 Keras wraps it
    rate = plain.get_config()["learning_rate"]
    return {
        "weights": [list(weight.shape) for weight in model.weights],  # names are numbered anew in each session
        "optimizer": type(model.optimizer).__name__,
        "learning rate": json.dumps(rate, default=str),
        "plateau": str(plateau),
        "epochs": epochs,
        "seed": seed,
        "batch size": getattr(batches, "batch_size", None),
        "data": zlib.crc32(batches.data.labels.tobytes()) if isinstance(batches, Batches) else None,
        "precision": keras.config.dtype_policy().name,
    }


def _resume(record: Path, identity: dict[str, Any]) -> History:
    if not record.exists():
        return History()
    try:
        saved = json.loads(record.read_text())
        theirs, history = saved["identity"], History(saved["epochs"], saved["random_states"])
    except (ValueError, KeyError) as error:
        raise ValueError(f"{record}: it cannot be read ({error!r}). Delete {record.parent} to start afresh.") from error
    differing = [
        f"{key} {theirs.get(key)!r}, now {value!r}" for key, value in identity.items() if theirs.get(key) != value
    ]
    if differing:
        raise ValueError(
            f"the checkpoint in {record.parent} belongs to another run: {'; '.join(differing)}. "
            "Delete that folder to start afresh, or choose another one."
        )
    return history


def _summary(history: History, epochs: int, *, resumable: bool) -> str:
    found = ", ".join(f"{name} {values[-1]:.4f}" for name, values in history.epochs.items() if values)
    if not history.interrupted:
        return f"{len(history)} epochs in {history.seconds:.0f} s: {found}"
    then = "Run the same cell again to go on from there." if resumable else "Weights and history so far are kept."
    return f"Interrupted after {len(history)} of {epochs} epochs. {then} {found}"
