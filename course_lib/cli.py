"""The command ``course``: doctor, data, run, claims, train. Introduced in chapter 00."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from course_lib import claims, settings
from course_lib.training import workers

NOTEBOOKS = settings.REPOSITORY / "notebooks"
CELL_SECONDS = 1_800
WORKERS = """\
several workers:
  course train alexnet --workers 2 --checkpoint run --output alexnet
      two processes on this machine, to try it
  course train alexnet --workers first:12345,second:12345 --worker-index 0 --checkpoint /shared/run --output alexnet
      the same on two machines; on the second with --worker-index 1. Each batch is shared by the workers. The folder
      of --checkpoint is one that all see. A worker that is lost is started again, and the run goes on from the last
      epoch. Whoever sets TF_CONFIG leaves out --workers and --worker-index, and starts lost workers himself.
  docs/scale.md says more.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0 well, 1 something failed, 2 wrong words, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="course", description="Look after the course and run its chapters.")
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser("doctor", help="say what this machine has and whether the course can run on it")
    doctor.set_defaults(run=lambda words: _doctor())
    data = commands.add_parser("data", help="say which data are there, verify or download them, look at their links")
    data.add_argument("action", choices=["list", "check", "download", "links"], nargs="?", default="list")
    data.add_argument("names", nargs="*", metavar="NAME", help="a name from `course data list`; default: all")
    data.set_defaults(run=lambda words: _data(words.action, words.names))
    run = commands.add_parser("run", help="execute chapters and print a table of times and checks")
    run.add_argument("chapters", nargs="*", type=int, help="chapter numbers; default: all")
    run.add_argument("--profile", choices=settings.PROFILES, help="default: full where the full data are, else quick")
    run.add_argument("--seeds", nargs="+", type=int, default=[], help="run once with each of these seeds")
    run.add_argument("--record", action="store_true", help="append claims and checks to data/results")
    run.add_argument("--jobs", type=int, default=1, help="how many run at the same time; default: 1")
    run.set_defaults(run=lambda words: _run(words.chapters, words.profile, words.seeds, words.record, words.jobs))
    ledger = commands.add_parser("claims", help="print the ledger of claims, or write it to data/CLAIMS.md")
    ledger.add_argument("--chapter", type=int, help="the claims of this chapter alone, with a summary of them")
    ledger.add_argument("--write", action="store_true", help="write the page as well")
    ledger.set_defaults(run=lambda words: _claims(words.chapter, words.write))
    train = commands.add_parser("train", help="train a network outside the notebooks and save weights with a card")
    networks = train.add_subparsers(dest="network", required=True)
    lenet5 = networks.add_parser("lenet5", help="LeNet-5 on MNIST")
    lenet5.add_argument("--data", choices=["any", "full", "sample"], default="any", help="which MNIST")
    lenet5.add_argument("--activation", default="relu")
    lenet5.add_argument("--pooling", default="max")
    lenet5.add_argument("--epochs", type=int, default=20)
    lenet5.add_argument("--learning-rate", type=float, default=3e-3)
    lenet5.add_argument("--distort", action="store_true", help="small random affine distortions of the digits")
    lenet5.set_defaults(run=_train_lenet5)
    alexnet = networks.add_parser(
        "alexnet",
        help="AlexNet as published, on photographs, on one device or many",
        description="AlexNet as published, on photographs, on one device or many, of one machine or several.",
        epilog=WORKERS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    alexnet.add_argument("--dataset", choices=["imagenette", "imagenet"], default="imagenette")
    alexnet.add_argument("--devices", type=int, default=1, help="how many share each batch; default: 1")
    alexnet.add_argument("--workers", help="HOST:PORT,HOST:PORT of all, or how many on this machine's processor")
    alexnet.add_argument("--worker-index", type=int, metavar="I", help="which of the addresses is this one's, from 0")
    alexnet.add_argument("--wait", type=float, default=300, help="seconds to wait for other workers; default: 300")
    alexnet.add_argument("--split-cpu", action="store_true", help="the processor stands for the devices, to try it")
    alexnet.add_argument("--precision", choices=settings.PRECISIONS, help="default: COURSE_PRECISION, else float32")
    alexnet.add_argument("--groups", type=int, default=2, help="2: as on the paper's two GPUs; 1: undivided")
    alexnet.add_argument("--image-size", type=int, default=227, help="side of the crops in pixels")
    alexnet.add_argument("--epochs", type=int, default=90)
    alexnet.add_argument("--batch-size", type=int, default=128)
    alexnet.add_argument("--learning-rate", type=float, default=0.01, help="divided by 10 when learning stalls")
    alexnet.set_defaults(run=_train_alexnet)
    source = networks.add_parser("source", help="the network of chapter 07, on the source half of the photographs")
    source.add_argument("--data", choices=["any", "full", "sample"], default="any", help="CIFAR-10, or the sample")
    source.add_argument("--epochs", type=int, default=15)
    source.add_argument("--learning-rate", type=float, default=3e-3)
    source.set_defaults(run=_train_source)
    for network in (lenet5, alexnet, source):
        network.add_argument("--seed", type=int, default=0)
        network.add_argument("--checkpoint", type=Path, help="folder from which an interrupted run goes on")
        network.add_argument("--output", type=Path, required=True, help="folder for weights and card")
    words = parser.parse_args(arguments)
    from course_lib.datasets.sources import DataError  # imports no framework

    try:
        return int(words.run(words))
    except KeyboardInterrupt:
        print(f"course {words.command}: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError, ArithmeticError, DataError) as error:
        print(f"course {words.command}: {error}", file=sys.stderr)
        return 1


def _doctor() -> int:
    print(f"machine    {settings.machine()}")
    if sys.platform == "linux":
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        print(f"memory     {memory:.1f} GiB")
    print(f"disk       {shutil.disk_usage(settings.REPOSITORY).free / 2**30:.0f} GiB free")
    settings.setup(chapter=0)
    from course_lib.datasets import KNOWN, SAMPLES

    for name in KNOWN:
        print(f"data       {name}: {'full set found' if settings.has_full_data(name) else 'not found locally'}")
    for sample in SAMPLES:
        print(f"data       {sample.name}: {sample.report()}, whole")
    folder = settings.download_folder()
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    writable = os.access(parent, os.W_OK)
    print(f"grading    {'bwrap found' if shutil.which('bwrap') else 'no bwrap; only who grades needs it'}")
    print(f"downloads  {'can' if writable else 'CANNOT'} be kept in COURSE_CACHE_DIR or the course's .cache")
    return 0 if writable else 1


def _data(action: str, names: list[str]) -> int:
    from course_lib.datasets import KNOWN, LINKED, DataError, sources

    known = LINKED if action == "links" else KNOWN
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"there is no data set {', '.join(unknown)}; there are {', '.join(known)}.")
    if action == "links":
        return _links(names or list(known))
    failed = 0
    for name in names or KNOWN:
        try:
            if action == "list":
                found = (
                    "found" if settings.has_full_data(name) else "not found locally; `course data download` fetches it"
                )
            else:
                if action == "check" and not settings.has_full_data(name):
                    raise sources.DataUnavailable("not found locally; `course data download` fetches it")
                found = f"whole ({KNOWN[name].report()})"
        except DataError as error:
            found, failed = str(error), failed + 1
        print(f"{name}: {found}")
    return min(failed, 1)


def _links(names: list[str]) -> int:
    """Ask every address from which these data sets are downloaded, and print in a line each whether it lives."""
    from course_lib.datasets import LINKED, sources

    if settings.offline():
        raise ValueError("COURSE_OFFLINE=1 forbids to look at links.")
    dead = False
    for name in names:
        for address in LINKED[name].addresses():
            try:
                sources.reach(address)
                print(f"alive: {name}, {address}")
            except sources.DeadLink as error:
                print(f"dead: {name}, {error}")
                dead = True
    if dead:
        print(
            "Find out where the data are now: the addresses stand in course_lib/datasets/, or come with a newer TFDS."
        )
    return int(dead)


@dataclass(frozen=True)
class Outcome:
    """One execution of a chapter."""

    chapter: str
    seed: int | None
    seconds: float
    checks: int
    claims: int
    error: str


def chapters(numbers: list[int] | None = None) -> list[Path]:
    """Return the notebooks of the chapters, all or ``numbers``. Raises ValueError for one, or all, not being there."""
    found = {int(path.name[:2]): path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    if not found:
        raise ValueError(f"there are no chapters in {NOTEBOOKS}: python notebooks/build.py builds them.")
    if missing := [number for number in numbers or () if number not in found]:
        raise ValueError(f"there is no chapter {missing[0]}; there are {', '.join(map(str, found))}.")
    return [found[number] for number in numbers or found]


def notebook_client(notebook: Any, folder: Path, **options: Any) -> Any:
    """Return nbclient's client for ``notebook``, run in ``folder``, without two of its habits (nbclient 0.11).

    It sends the output of ``interact`` back to the kernel; now and then the kernel then sleeps through the next cell
    (ipykernel 7.4). And it takes Ctrl-C for itself, so that of several clients one hears it, and ends in a traceback.
    """
    import nbclient

    class Client(nbclient.NotebookClient):
        @contextlib.asynccontextmanager
        async def async_setup_kernel(self, **kwargs: Any) -> AsyncIterator[None]:
            async with super().async_setup_kernel(**kwargs):
                with contextlib.suppress(NotImplementedError):  # Windows
                    asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
                yield

        def on_comm_open_jupyter_widget(self, msg: dict[str, Any]) -> Any:
            widget = super().on_comm_open_jupyter_widget(msg)
            if widget is not None:
                widget.send = lambda *_, **__: None
            return widget

    return Client(notebook, timeout=CELL_SECONDS, resources={"metadata": {"path": str(folder)}}, **options)


async def execute(path: Path, *, seed: int | None = None, record: bool = False) -> Outcome:
    """Execute a chapter in a kernel of its own, leave the file as it is, and say how it went."""
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    start, error = time.perf_counter(), ""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "run.jsonl"
        environment = {**os.environ, "COURSE_RUN_LOG": str(log), "TQDM_DISABLE": "1"}
        environment |= {"COURSE_RECORD": "1"} if record else {}
        environment |= {"COURSE_SEED": str(seed)} if seed is not None else {}
        label = path.stem if seed is None else f"{path.stem}, seed {seed}"
        with tqdm(total=cells, desc=label, unit=" cells", leave=False) as bar:
            client = notebook_client(notebook, path.parent, on_cell_executed=lambda **_: bar.update())
            try:
                # What goes to stderr are start-up notes of kernel and TensorFlow.
                await client.async_execute(env=environment, stderr=subprocess.DEVNULL)
            except (nbclient.exceptions.CellExecutionError, nbclient.exceptions.CellTimeoutError) as failure:
                error = re.sub(r"\x1b\[[0-9;]*m", "", str(failure)).strip()
            except nbclient.exceptions.DeadKernelError:
                error = "the kernel died; most often that means that memory ran out"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    kinds = [json.loads(line) for line in lines]
    checks = sum(entry["kind"] == "check" and entry["passed"] for entry in kinds)
    return Outcome(
        path.stem, seed, time.perf_counter() - start, checks, sum(entry["kind"] == "claim" for entry in kinds), error
    )


async def _execute_all(runs: list[tuple[Path, int | None]], record: bool, jobs: int) -> list[Outcome]:
    """Execute every chapter with its seed, at most ``jobs`` at the same time; return how they went, in their order."""
    free = asyncio.Semaphore(jobs)

    async def run(path: Path, seed: int | None) -> Outcome:
        async with free:
            outcome = await execute(path, seed=seed, record=record)
        tqdm.write(f"{outcome.chapter}: {'FAILED' if outcome.error else 'done'} in {outcome.seconds:.0f} s")
        return outcome

    return await asyncio.gather(*(run(path, seed) for path, seed in runs))


def _run(numbers: list[int], profile: str | None, seeds: list[int], record: bool, jobs: int) -> int:
    if jobs < 1:
        raise ValueError(f"--jobs {jobs}: it must be at least 1.")
    if record and jobs > 1:
        raise ValueError(f"--record with --jobs {jobs}: times would be recorded on a busy machine; leave --jobs out.")
    if profile:
        os.environ["COURSE_PROFILE"] = profile
    runs = [(path, seed) for path in chapters(numbers) for seed in seeds or (None,)]
    outcomes = asyncio.run(_execute_all(runs, record, jobs))
    for outcome in outcomes:
        if outcome.error:
            print(f"\n{outcome.chapter} failed:\n{outcome.error}", file=sys.stderr)
    print(f"\n{'chapter':<20}{'seed':>5}{'seconds':>9}{'checks passed':>15}{'claims':>8}  result")
    for outcome in outcomes:
        seed_text = "" if outcome.seed is None else str(outcome.seed)
        row = f"{outcome.chapter:<20}{seed_text:>5}{outcome.seconds:>9.1f}{outcome.checks:>15}{outcome.claims:>8}"
        print(f"{row}  {'FAILED' if outcome.error else 'ok'}")
    return int(any(outcome.error for outcome in outcomes))


def _claims(chapter: int | None, write: bool) -> int:
    if write:
        claims.PAGE.write_text(claims.page(), encoding="utf-8")
    print(claims.listing(chapter))
    return 0


def _train_lenet5(words: argparse.Namespace) -> int:
    chosen = settings.setup(chapter=1, seed=words.seed)
    import keras

    from course_lib.datasets import load_digits
    from course_lib.models.layers import RandomAffine
    from course_lib.models.lenet import lenet5
    from course_lib.training.loop import fit

    data = load_digits(source=words.data)
    model = lenet5(activation=words.activation, pooling=words.pooling)
    trained = model
    if words.distort:
        trained = keras.Sequential([keras.Input(model.input_shape[1:]), RandomAffine(seed=chosen.seed), model])
    history = fit(
        trained,
        data.train,
        validation=data.validation,
        epochs=words.epochs,
        learning_rate=words.learning_rate,
        checkpoint=words.checkpoint,
    )
    if history.interrupted:
        return 1
    scores = trained.evaluate(data.test.images, data.test.labels, batch_size=1_000, verbose=0, return_dict=True)
    found = {
        "examples": len(data.train),
        "source": data.source,
        "validation accuracy": history.last("val_accuracy"),
        "test accuracy": scores["accuracy"],
    }
    _save(model, words, "lenet5", found)
    print(f"test accuracy {scores['accuracy']:.4f}; weights and their card are in {words.output}")
    return 0


def _train_source(words: argparse.Namespace) -> int:
    chosen = settings.setup(chapter=7, seed=words.seed)
    from course_lib.datasets import load_photos
    from course_lib.training.loop import fit
    from course_lib.training.transfer import transfer_network, two_tasks, weights_name

    source, _ = two_tasks(load_photos(source=words.data))
    network = transfer_network(len(source.classes))
    history = fit(
        network,
        source.train,
        validation=source.validation,
        epochs=words.epochs,
        batch_size=64,
        learning_rate=words.learning_rate,
        checkpoint=words.checkpoint,
    )
    if history.interrupted:
        return 1
    scores = network.evaluate(source.test.images, source.test.labels, batch_size=1_000, verbose=0, return_dict=True)
    found = {
        "classes": list(source.classes),
        "examples": len(source.train),
        "source": source.source,
        "validation accuracy": history.last("val_accuracy"),
        "test accuracy": scores["accuracy"],
    }
    name = f"{weights_name(source)}_{chosen.seed}"
    _save(network, words, name, found)
    print(f"test accuracy {scores['accuracy']:.4f}; weights and card are {words.output / name}.*")
    return 0


def _train_alexnet(words: argparse.Namespace) -> int:
    worker = workers.this_worker()
    if worker is None and words.workers is not None:
        command, again = [sys.executable, *sys.orig_argv[1:]], words.checkpoint is not None
        return workers.keep_running(command, words.workers, words.worker_index, again=again)
    try:
        return _train_alexnet_as(worker, words)
    except workers.WorkerLost as error:
        print(f"course train: {error}", file=sys.stderr)
        return workers.LOST


def _train_alexnet_as(worker: workers.Worker | None, words: argparse.Namespace) -> int:
    if words.precision:
        os.environ["COURSE_PRECISION"] = words.precision
    if worker is not None:
        _join(worker, words)
    if words.split_cpu:
        from course_lib.training.distributed import split_cpu

        split_cpu(words.devices)
    settings.setup(chapter=2, seed=words.seed)
    import keras

    from course_lib.datasets.imagenet import PHOTO_SETS, naming_damage, stream_photos
    from course_lib.models.alexnet import alexnet
    from course_lib.training.distributed import on_devices
    from course_lib.training.loop import fit
    from course_lib.training.optimizers import AlexNetSGD, Plateau

    photos, side = PHOTO_SETS[words.dataset], words.image_size

    def build() -> keras.Model:
        return alexnet(photos.classes, groups=words.groups, input_shape=(side, side, 3))

    def top5_accuracy(labels: Any, scores: Any) -> Any:
        scores = keras.ops.cast(scores, "float32")  # TensorFlow ranks no half floats
        return keras.metrics.sparse_top_k_categorical_accuracy(labels, scores, k=5)

    with on_devices(words.devices, batch_size=words.batch_size) as names, naming_damage(words.dataset):
        model = build()
        train, validation = (
            stream_photos(
                words.dataset,
                split,
                batch_size=words.batch_size,
                training=split == "train",
                image_size=side,
                devices=words.devices,
                worker=worker.index if worker else 0,
                workers=worker.count if worker else 1,
            )
            for split in ("train", "validation")
        )
        resumed = words.checkpoint is not None and (words.checkpoint / "run.json").exists()
        print(
            f"{'going on with' if resumed else 'training'} AlexNet, {model.count_params():,} parameters, on "
            f"{photos.splits['train']:,} photographs of {words.dataset}, {words.batch_size} a step, "
            f"on {', '.join(names)}",
            flush=True,
        )
        history = fit(
            model,
            train,
            validation=validation,
            epochs=words.epochs,
            optimizer=AlexNetSGD(words.learning_rate),
            metrics=["accuracy", top5_accuracy],
            plateau=Plateau(),
            checkpoint=words.checkpoint,
        )
    if history.interrupted:
        return 1
    if worker and worker.index:
        return 0  # the chief saves
    found = {
        "examples": photos.splits["train"],
        "source": photos.tfds,
        "precision": settings.current().precision,
        "training loss, epoch by epoch": history.epochs["loss"],
        "validation accuracy": history.last("val_accuracy"),
        "validation top-5 accuracy": history.last("val_top5_accuracy"),
    }
    if not resumed:  # else the seconds are those of the last part alone
        found["images a second"] = round(words.epochs * sum(photos.splits.values()) / history.seconds, 1)
        print(f"{found['images a second']:,} images a second, training and validation together")
    _save(model, words, "alexnet", found)
    print(
        f"validation accuracy {found['validation accuracy']:.4f}, top-5 {found['validation top-5 accuracy']:.4f}; "
        f"weights and their card are in {words.output}"
    )
    return 0


def _join(worker: workers.Worker, words: argparse.Namespace) -> None:
    """Meet the other workers, asked for the same as this one, and become one of them."""
    from course_lib.training.distributed import join

    own = ("run", "command", "output", "checkpoint", "workers", "worker_index", "wait")
    asked = {name: value for name, value in vars(words).items() if name not in own}
    asked |= {name: os.environ.get(name, "") for name in ("COURSE_SEED", "COURSE_PRECISION")}
    record = words.checkpoint / "run.json" if words.checkpoint else None
    kept = record and (record.stat().st_size if record.exists() else 0)
    asked |= {"size of run.json in the folder of --checkpoint": kept}  # None without one, 0 at the start of a run
    workers.meet(worker, {**asked, **settings.versions()}, words.wait)
    words.workers, words.worker_index = worker.count, None  # what the card says of them
    join(worker)


def _save(model: Any, words: argparse.Namespace, name: str, found: dict[str, Any]) -> None:
    """Save weights and card: the command with all that it was asked for, the seed that was used, and what was found."""
    from course_lib.models import weights

    left_out = {"command", "run", "output", "checkpoint", "worker_index", "wait"}
    asked = {key: value for key, value in vars(words).items() if key not in left_out}
    asked |= {"seed": settings.current().seed}
    weights.save(model, name, words.output, {"command": _command(asked), **asked, **found})


def _command(asked: dict[str, Any]) -> str:
    """Return the command that asks for the same network, every option spelled out."""
    parts = [f"course train {asked['network']}"]
    for name, value in asked.items():
        if name == "network" or value is None or value is False:
            continue
        parts.append(f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}"))
    return " ".join([*parts, "--output FOLDER"])


if __name__ == "__main__":
    raise SystemExit(main())
