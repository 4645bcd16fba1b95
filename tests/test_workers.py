"""Training by several workers: one worker's losses, photographs shared out, a lost worker started again, plain errors.

The runs are real processes on this machine, with the small network and the few photographs of test_distributed.py.
What comes before TensorFlow, the meeting and the watch over the processes, is tried with threads and small programs.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from test_distributed import COURSE, card, data, finished, weights  # noqa: F401

from course_lib.cli import main
from course_lib.settings import REPOSITORY
from course_lib.training import distributed
from course_lib.training.loop import fit
from course_lib.training.workers import LOST, RESTARTS, Worker, _free_ports, keep_running, meet, this_worker

# The command that starts workers computes nothing itself, so it is spared the imports that the workers need.
START = f"""
import os, sys
if "TF_CONFIG" in os.environ or "--workers" not in sys.argv:
    exec({COURSE!r})
from course_lib.cli import main
sys.exit(main(["train", "alexnet", *sys.argv[1:]]))
"""


def course(data: Path, output: Path, *words: str) -> subprocess.Popen[str]:  # noqa: F811
    """Start ``course train alexnet``, three epochs of batches of 8."""
    return subprocess.Popen(
        [sys.executable, "-c", START, "--batch-size", "8", "--epochs", "3", "--output", str(output), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COURSE_DATA_DIR": str(data), "KERAS_BACKEND": "tensorflow"},
    )


def stop(process: subprocess.Popen[str]) -> None:
    """End a command and its workers, where they have not ended."""
    for one in [*psutil.Process(process.pid).children(), process] if process.poll() is None else []:
        one.kill()


@pytest.fixture(scope="module")
def one(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """Where the weights of one worker are."""
    output = tmp_path_factory.mktemp("one")
    finished(course(data, output))
    return output


@pytest.fixture(scope="module")
def two(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:  # noqa: F811
    """Where the weights of two workers are, and what their run printed."""
    output = tmp_path_factory.mktemp("two")
    process = course(data, output, "--workers", "2")
    try:
        return output, finished(process)
    finally:
        stop(process)


def test_two_workers_have_the_losses_and_weights_of_one(one: Path, two: tuple[Path, str]) -> None:
    """21 steps, the last of each epoch half as large: losses to 1e-5 of their size, weights to 1e-5."""
    losses, expected = (card(output)["training loss, epoch by epoch"] for output in (two[0], one))
    assert len(losses) == 3 and losses == pytest.approx(expected, rel=1e-5)
    assert losses[2] < losses[0] - 0.05, "it has learned something"
    for ours, theirs in zip(weights(two[0]), weights(one), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for metric in ("validation accuracy", "validation top-5 accuracy"):
        assert card(two[0])[metric] == pytest.approx(card(one)[metric], abs=1e-6)


def test_command_and_card_speak_of_the_workers_once(two: tuple[Path, str]) -> None:
    output, printed = two
    assert printed.count("52 photographs of imagenette, 8 a step, on 127.0.0.1:") == 1
    assert card(output)["workers"] == 2 and "--workers 2" in card(output)["command"]
    assert "127.0.0.1" not in json.dumps(card(output))


def wait_for_a_checkpoint(run: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the folder of a run holds a whole backup, or the run has ended."""
    deadline = time.monotonic() + 300
    saved = run / "backup" / "training_metadata.json"  # the last that is written at the end of an epoch
    while not saved.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize("index", [0, 1])
def test_killed_worker_is_started_again(
    index: int,
    data: Path,  # noqa: F811
    two: tuple[Path, str],
    tmp_path: Path,
) -> None:
    """kill -9 of the chief or the other, after an epoch: the run ends with the weights of one that nobody disturbed."""
    run = tmp_path / "run"
    process = course(data, tmp_path / "out", "--workers", "2", "--checkpoint", str(run))
    try:
        wait_for_a_checkpoint(run, process)
        psutil.Process(process.pid).children()[index].send_signal(signal.SIGKILL)
        printed, error = process.communicate(timeout=300)
    finally:
        stop(process)
    assert process.returncode == 0, error
    assert "a worker was lost (-9); starting again from the last checkpoint" in error
    assert "going on with AlexNet" in printed
    for ours, theirs in zip(weights(tmp_path / "out"), weights(two[0]), strict=True):
        assert np.array_equal(ours, theirs)
    assert not run.exists() or not list(run.iterdir())


def test_two_commands_as_on_two_machines_survive_a_kill(data: Path, two: tuple[Path, str], tmp_path: Path) -> None:  # noqa: F811
    """A command for each worker, with the addresses of both: kill -9 of worker 1, and each starts its own again."""
    run = tmp_path / "run"
    addresses = ",".join(f"127.0.0.1:{port}" for port in _free_ports(2))
    words = ["--workers", addresses, "--checkpoint", str(run), "--worker-index"]
    commands = [course(data, tmp_path / f"out{index}", *words, str(index)) for index in range(2)]
    try:
        wait_for_a_checkpoint(run, commands[0])
        psutil.Process(commands[1].pid).children()[0].send_signal(signal.SIGKILL)
        errors = [command.communicate(timeout=300)[1] for command in commands]
    finally:
        for command in commands:
            stop(command)
    assert [command.returncode for command in commands] == [0, 0], errors
    assert all("a worker was lost" in error for error in errors)
    for ours, theirs in zip(weights(tmp_path / "out0"), weights(two[0]), strict=True):
        assert np.array_equal(ours, theirs)


# The meeting, in threads


def met(settings: list[dict[str, Any]], seconds: float = 20, ports: list[int] | None = None) -> list[str]:
    """Let as many workers meet as there are settings, None for one that does not come; return what each raised."""
    addresses = tuple(f"127.0.0.1:{port}" for port in ports or _free_ports(len(settings)))
    raised = [""] * len(settings)

    def come(index: int) -> None:
        try:
            meet(Worker(addresses, index), settings[index], seconds)
        except RuntimeError as error:
            raised[index] = str(error)

    threads = [threading.Thread(target=come, args=(i,)) for i, own in enumerate(settings) if own is not None]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return raised


def test_workers_that_agree_meet() -> None:
    assert met([{"seed": 0, "data": Path("a")}] * 3) == ["", "", ""]


def test_other_settings_are_told_to_all() -> None:
    first, *others = met([{"batch_size": 8, "seed": 0}, {"batch_size": 16, "seed": 0}, {"batch_size": 8, "seed": 0}])
    assert first == "worker 1 differs from worker 0: it has batch_size 16, not 8"
    assert others == [first, first]


def test_worker_that_does_not_come_is_named() -> None:
    ports = _free_ports(3)
    first, second, _ = met([{}, {}, None], seconds=1, ports=ports)  # type: ignore[list-item]
    assert first.startswith(f"of 3 workers these have not come within 1 s: 2 at 127.0.0.1:{ports[2]}. Are they started")
    assert first == second


def test_chief_that_does_not_come_is_named() -> None:
    ports = _free_ports(2)
    _, second = met([None, {}], seconds=0.5, ports=ports)  # type: ignore[list-item]
    assert second.startswith(f"worker 0 at 127.0.0.1:{ports[0]} cannot be reached within 0.5 s")


def test_taken_port_is_named() -> None:
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"worker 0 cannot listen at 127.0.0.1:{port} .*in use"):
            meet(Worker((f"127.0.0.1:{port}", "127.0.0.1:1"), 0), {}, 1)


def test_stranger_at_the_port_disturbs_nobody() -> None:
    ports = _free_ports(2)

    def knock() -> None:
        for _ in range(100):
            try:
                with socket.create_connection(("127.0.0.1", ports[0]), timeout=1) as connection:
                    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                return
            except OSError:
                time.sleep(0.05)

    chief = threading.Thread(target=lambda: found.extend(met([{}, None], ports=ports)))  # type: ignore[list-item]
    found: list[str] = []
    chief.start()
    knock()
    meet(Worker(tuple(f"127.0.0.1:{port}" for port in ports), 1), {}, 20)
    chief.join(timeout=30)
    assert found == ["", ""]


# Who a worker is


def test_worker_is_read_from_tf_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert this_worker() is None
    task = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    assert this_worker() == Worker(("a:1", "b:2"), 1)
    alone = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(alone))
    assert this_worker() is None
    for wrong in (
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
    ):
        monkeypatch.setenv("TF_CONFIG", wrong)
        with pytest.raises(ValueError, match=r"TF_CONFIG is .*it must look like"):
            this_worker()


@pytest.mark.parametrize(
    ("addresses", "index", "message"),
    [
        (("a:1", "b"), 0, "worker address 'b': it must read HOST:PORT"),
        (("a:1", "b:70000"), 0, "worker address 'b:70000'"),
        (("a:1", "a:1"), 0, "each needs an address of its own"),
        (("a:1", "b:1"), 2, "worker index 2: it must lie in 0 to 1, there are 2 workers"),
        (("a:1", "b:1"), -1, "worker index -1"),
    ],
)
def test_impossible_workers_are_refused(addresses: tuple[str, ...], index: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Worker(addresses, index)


@pytest.mark.parametrize(
    ("workers", "index", "message"),
    [
        ("1", None, "--workers 1: it must be at least 2"),
        ("0", None, "--workers 0"),
        ("2", 0, "with a number of workers there is none"),
        ("a:1,b:1", None, "it is missing"),
        ("a:1,b:1", 2, "it must lie in 0 to 1"),
        ("a:1,b", 0, "it must read HOST:PORT"),
    ],
)
def test_impossible_commands_are_refused_before_anything_starts(
    workers: str, index: int | None, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr(subprocess, "Popen", None)
    words = ["--workers", workers, "--output", "nowhere"] + ([] if index is None else ["--worker-index", str(index)])
    assert main(["train", "alexnet", *words]) == 1
    assert message in capsys.readouterr().err


# The watch over the processes, with programs that do not train


def program(folder: Path, body: str) -> list[str]:
    """Return a command that counts its starts: ``index`` and ``start``, both from 0, are there for ``body``."""
    code = f"""
    import json, os, pathlib, signal, sys, time
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    log = pathlib.Path({str(folder)!r}) / str(index)
    start = len(log.read_text()) if log.exists() else 0
    log.write_text("x" * (start + 1))
    """
    return [sys.executable, "-c", textwrap.dedent(code) + body]


def starts(folder: Path) -> list[int]:
    return [len((folder / str(index)).read_text()) for index in (0, 1)]


def test_all_are_started_again_when_one_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kill = "os.kill(os.getpid(), signal.SIGKILL) if (index, start) == (1, 0) else time.sleep(60 if start == 0 else 0)"
    begin = time.monotonic()
    assert keep_running(program(tmp_path, kill), "2", None, again=True) == 0
    assert starts(tmp_path) == [2, 2] and time.monotonic() - begin < 30
    assert "a worker was lost (-9); starting again" in capsys.readouterr().err


def test_own_failure_ends_all(tmp_path: Path) -> None:
    """The other one notices the loss first, and says so; the status is that of the cause."""
    fail = f"sys.exit({LOST}) if index == 0 else (time.sleep(0.3), sys.exit(1))"
    assert keep_running(program(tmp_path, fail), "2", None, again=True) == 1
    assert starts(tmp_path) == [1, 1]


def test_without_checkpoint_nothing_is_started_again(tmp_path: Path) -> None:
    assert keep_running(program(tmp_path, f"sys.exit({LOST})"), "2", None, again=False) == LOST
    assert starts(tmp_path) == [1, 1]


def test_one_of_many_is_watched_and_given_up_in_the_end(tmp_path: Path) -> None:
    assert keep_running(program(tmp_path, f"sys.exit({LOST})"), "a:1,b:1", 1, again=True) == LOST
    assert len((tmp_path / "1").read_text()) == 1 + RESTARTS and not (tmp_path / "0").exists()


def test_worker_ends_with_the_command_that_started_it(tmp_path: Path) -> None:
    """kill -9 of the command: its worker, which waits for another one, must not stay and keep the port."""
    addresses = ",".join(f"127.0.0.1:{port}" for port in _free_ports(2))
    code = f"""
    import sys
    from course_lib.training.workers import keep_running, meet, this_worker
    if this_worker():
        meet(this_worker(), {{}}, 60)
    else:
        keep_running([sys.executable, *sys.orig_argv[1:]], {addresses!r}, 0, again=True)
    """
    command = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    deadline = time.monotonic() + 60
    try:
        while not (workers := psutil.Process(command.pid).children()) and time.monotonic() < deadline:
            time.sleep(0.05)
        while not workers[0].net_connections() and time.monotonic() < deadline:
            time.sleep(0.05)
        command.kill()
        assert psutil.wait_procs(workers, timeout=20)[1] == []
    finally:
        stop(command)


# What training refuses


def test_batch_must_divide_among_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_joined", Worker(("a:1", "b:1", "c:1"), 0))
    with (
        pytest.raises(ValueError, match="batch_size=128 does not divide among 3 workers; 129 would"),
        distributed.on_devices(batch_size=128),
    ):
        pass
    with (
        pytest.raises(ValueError, match=r"on_devices\(2\): each of several workers has one"),
        distributed.on_devices(2),
    ):
        pass


def test_arrays_are_not_trained_on_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from course_lib.datasets.sources import Examples

    monkeypatch.setattr(distributed, "_joined", Worker(("a:1", "b:1"), 0))
    data = Examples(np.zeros((4, 1)), np.zeros(4))  # noqa: F811
    with pytest.raises(ValueError, match=r"each of several workers needs its own share"):
        fit(None, data, epochs=1)  # type: ignore[arg-type]


# What ImageNet needs


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark, as a module."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module("scale")


def test_page_is_what_the_record_says(scale: Any) -> None:
    record, text = json.loads(scale.RESULTS.read_text(encoding="utf-8")), scale.PAGE.read_text(encoding="utf-8")
    assert scale.page(text, record, scale.command_line([])) == text
    assert (record["parameters"], record["macs"]) == (60_965_224, 724_406_816)  # chapter 02
    assert abs(record["bytes"] - 147_897_477_120 / 1_281_167) < 0.1 * record["bytes"], "as large as ImageNet's"
    assert record["read"]["processor"] < record["decode"]["processor"]


def test_needs_are_plain_arithmetic(scale: Any) -> None:
    """A machine of four cores: 0.2 s of the processor to train on a photograph, 0.01 s to decode it. By hand."""
    record = {
        "cores": 4,
        "parameters": 60_965_224,
        "macs": 724_406_816,
        "train": {"processor": 0.2},
        "decode": {"processor": 0.01},
    }
    found = scale.needs(record, peak=19.5e12, utilisation=0.3, cores=16, network=10e9)
    assert found["hours to train here"] == pytest.approx(115_305_030 * 0.05 / 3_600)  # 1,601 hours
    assert found["hours to decode here"] == pytest.approx(119_805_030 * 0.0025 / 3_600)
    assert found["hours to train on the accelerator"] == pytest.approx(24.1, abs=0.05)
    assert found["hours to decode beside it"] == pytest.approx(20.8, abs=0.05)
    assert found["cores that keep up"] == pytest.approx(16 * 20.80 / 24.11, rel=0.01)
    assert found["bytes of a gradient"] == 243_860_896
    assert found["hours to exchange gradients"] == pytest.approx(90 * 10_010 * 243_860_896 * 8 / 10e9 / 3_600)  # 48.8
