"""Workers that train together, processes on one machine or several: who they are, that they agree, that they live.

A worker is a process with one device, a copy of the network and a share of each batch. It learns who it is from
``TF_CONFIG``, TensorFlow's own variable; :func:`keep_running` sets it for the processes that it starts, and so may a
cluster. :func:`meet` comes before TensorFlow, whose own errors name neither a worker nor a setting; what the workers
then do together is in :mod:`course_lib.training.distributed`. Imports no framework. Introduced in chapter 02.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

LOST = 75  # exit status of a worker that lost another; in sysexits.h a failure that passes, to be tried again
RESTARTS = 10
STARTED_BY = "COURSE_STARTED_BY"  # the process that watches over a worker


class WorkerLost(RuntimeError):
    """Another worker ended, or cannot be reached any more."""


@dataclass(frozen=True)
class Worker:
    """One of the workers: the addresses of all, ``host:port``, in one order everywhere, and its place among them.

    Worker 0 is the chief: it alone writes checkpoints and weights. Raises ValueError for what is no address or place.
    """

    addresses: tuple[str, ...]
    index: int

    def __post_init__(self) -> None:
        for address in self.addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
                raise ValueError(f"worker address {address!r}: it must read HOST:PORT, such as 192.168.0.7:12345.")
        if len(set(self.addresses)) < len(self.addresses):
            raise ValueError(f"workers {','.join(self.addresses)}: each needs an address of its own.")
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"worker index {self.index}: it must lie in 0 to {self.count - 1}, there are {self.count} workers."
            )

    @property
    def count(self) -> int:
        """How many workers there are."""
        return len(self.addresses)

    def place(self, index: int) -> tuple[str, int]:
        """Return host and port of the worker ``index``."""
        host, _, port = self.addresses[index].rpartition(":")
        return host, int(port)


def this_worker() -> Worker | None:
    """Return which worker ``TF_CONFIG`` makes this process, or None where it is not set or names one worker alone.

    Raises ValueError where it does not hold ``{"cluster": {"worker": [addresses]}, "task": {"type": "worker",
    "index": i}}``; chiefs and parameter servers of their own are not for this strategy.
    """
    config = os.environ.get("TF_CONFIG", "")
    if not config:
        return None
    try:
        found = json.loads(config)
        if [*found["cluster"], found["task"]["type"]] != ["worker", "worker"]:
            raise KeyError("worker")
        worker = Worker(tuple(found["cluster"]["worker"]), int(found["task"]["index"]))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        wanted = {"cluster": {"worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}
        raise ValueError(f"TF_CONFIG is {config!r}; it must look like {json.dumps(wanted)}.") from error
    return worker if worker.count > 1 else None


def meet(worker: Worker, settings: Mapping[str, Any], seconds: float = 300) -> None:
    """Wait until all workers have come, see that they and the chief reach each other, and compare their settings.

    ``settings`` is what must be the same everywhere, as JSON can hold it. Raises RuntimeError where the port is taken,
    a worker has not come within ``seconds``, cannot be reached, or has other settings; all that came raise the same.
    """
    if watcher := os.environ.get(STARTED_BY):
        threading.Thread(target=_end_with, args=(int(watcher),), daemon=True).start()
    deadline = time.monotonic() + seconds
    mine = json.loads(json.dumps({"workers": worker.addresses, **settings}, default=str))
    try:
        door = socket.create_server(("", worker.place(worker.index)[1]))
    except OSError as error:
        address = worker.addresses[worker.index]
        raise RuntimeError(
            f"worker {worker.index} cannot listen at {address} ({error.strerror}): end what uses that port, or "
            "choose another one, in the commands of all workers."
        ) from error
    with door:
        verdict = (_report if worker.index else _receive)(worker, door, mine, deadline, seconds)
    if verdict:
        raise RuntimeError(verdict)


def _end_with(watcher: int) -> None:
    """End this process when the one that started it has ended, even by kill -9: an orphan would keep the port."""
    while os.getppid() == watcher:
        time.sleep(0.5)
    os._exit(LOST)


def _receive(worker: Worker, door: socket.socket, mine: dict[str, Any], deadline: float, seconds: float) -> str:
    """Hear all others as the chief, tell them the verdict, and return it: what is wrong, or nothing."""
    came: dict[int, tuple[socket.socket, dict[str, Any]]] = {}
    with ExitStack() as connections:
        while missing := [index for index in range(1, worker.count) if index not in came]:
            door.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                connection = connections.enter_context(door.accept()[0])
            except TimeoutError:
                absent = ", ".join(f"{index} at {worker.addresses[index]}" for index in missing)
                verdict = (
                    f"of {worker.count} workers these have not come within {seconds:g} s: {absent}. Are they started, "
                    f"and do they reach {worker.addresses[0]}?"
                )
                break
            try:
                connection.settimeout(5)
                index, theirs = json.loads(connection.makefile().readline())
            except (OSError, ValueError, TypeError):
                continue  # somebody else who knocked
            if index in range(1, worker.count):
                came[index] = connection, theirs
        else:
            verdict = "; ".join(
                filter(None, (_compare(worker, index, mine, theirs) for index, (_, theirs) in sorted(came.items())))
            )
        for connection, _ in came.values():
            try:
                connection.sendall(json.dumps(verdict).encode() + b"\n")
            except OSError:
                continue  # it has left; the others notice when they compute together
    return verdict


def _compare(worker: Worker, index: int, mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    try:
        socket.create_connection(worker.place(index), timeout=5).close()
    except OSError as error:
        return f"worker 0 cannot reach worker {index} at {worker.addresses[index]} ({error}): see address and firewall"
    differing = [
        f"{name} {theirs.get(name)!r}, not {mine.get(name)!r}"
        for name in {**mine, **theirs}
        if theirs.get(name) != mine.get(name)
    ]
    return f"worker {index} differs from worker 0: it has {'; '.join(differing)}" if differing else ""


def _report(worker: Worker, door: socket.socket, mine: dict[str, Any], deadline: float, seconds: float) -> str:
    """Go to the chief, as often as it takes, and return its verdict; ``door`` is open for the chief's own visit."""
    last: Exception | None = None
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection(worker.place(0), timeout=min(left, 5)) as connection:
                connection.settimeout(left + 10)  # once heard, the chief answers when its own time is over
                connection.sendall(json.dumps([worker.index, mine]).encode() + b"\n")
                return str(json.loads(connection.makefile().readline()))
        except (OSError, ValueError) as error:  # not there yet, or still busy with the run that was broken off
            last = error
            time.sleep(0.2)
    raise RuntimeError(
        f"worker 0 at {worker.addresses[0]} cannot be reached within {seconds:g} s ({last}). Is it started, is the "
        "address right, does a firewall close the port?"
    )


def keep_running(command: Sequence[str], workers: str, index: int | None, *, again: bool) -> int:
    """Run ``command`` as one of several workers, start it again when a worker was lost, and return its exit status.

    ``workers`` holds the addresses of all, joined by commas, of which this process answers for ``index``; or a number:
    so many workers, all here, on the processor. ``again`` says whether a lost run is started anew, at most
    :data:`RESTARTS` times, which is of use where it goes on from a checkpoint. Raises ValueError for what cannot be.
    """
    here = int(workers) if workers.isdecimal() else 0
    if here == 1 or (workers.isdecimal() and here < 1):
        raise ValueError(f"--workers {workers}: it must be at least 2, or the addresses HOST:PORT,HOST:PORT of all.")
    if (index is None) != bool(here):
        raise ValueError(
            "--worker-index says which of the addresses in --workers this process is, counted from 0: "
            + ("with a number of workers there is none." if here else "it is missing.")
        )
    for start in range(RESTARTS + 1):
        addresses = tuple(f"127.0.0.1:{port}" for port in _free_ports(here)) if here else tuple(workers.split(","))
        team = [Worker(addresses, i) for i in (range(here) if index is None else [index])]
        try:
            status = _run(command, team, alone=bool(here))
        except KeyboardInterrupt:
            return 130
        if not again or not (status == LOST or status < 0):
            break
        if start < RESTARTS:
            print(f"a worker was lost ({status}); starting again from the last checkpoint", file=sys.stderr, flush=True)
    return status if status >= 0 else 128 - status


def _run(command: Sequence[str], team: Sequence[Worker], *, alone: bool) -> int:
    """Run a process for each of ``team`` to its end; when one fails, end the others. Return 0 or the failure's status.

    Where all run ``alone`` on this machine, only the chief prints, and they leave accelerators to ``--devices``.
    """
    processes = []
    try:
        for worker in team:
            task = {"cluster": {"worker": worker.addresses}, "task": {"type": "worker", "index": worker.index}}
            environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "TF_CONFIG": json.dumps(task)}
            environment |= {STARTED_BY: str(os.getpid())}
            environment |= {"CUDA_VISIBLE_DEVICES": "-1"} if alone else {}
            silent = alone and worker.index > 0
            environment |= {"TQDM_DISABLE": "1"} if silent else {}
            output = subprocess.DEVNULL if silent else None
            processes.append(subprocess.Popen(command, env=environment, stdout=output))
        while (statuses := [process.poll() for process in processes]).count(None) and not any(statuses):
            time.sleep(0.1)
        if LOST in statuses:
            time.sleep(1)  # the cause of a loss may end a little later than the worker that noticed it
        failed = [status for process in processes if (status := process.poll())]
        return next((status for status in failed if status != LOST), LOST) if failed else 0
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        doors = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [door.getsockname()[1] for door in doors]
