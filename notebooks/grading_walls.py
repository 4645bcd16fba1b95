"""Walls around the kernel that runs a submission: what ``nbgrader_config.py`` puts into nbgrader's ``autograde``.

Nothing that a learner wrote runs in the process that holds the tests, the gradebook and the work of others. nbgrader's
``autograde`` runs out here. Its step that executes notebooks is :class:`WalledExecute`. It starts ``grading_inside.py``
by bubblewrap, in namespaces of its own: no network, no other processes, no files but Python, the course's library and
an empty folder in memory. Cells go in and outputs come out, through a pipe. The marks are worked out on this side.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import nbformat
import psutil
from nbformat.notebooknode import NotebookNode
from nbformat.v4.nbbase import validate
from nbgrader.preprocessors import DeduplicateIds, Execute
from traitlets import Bool, Integer

HERE = Path(__file__).resolve().parent
INSIDE = HERE / "grading_inside.py"
# What the kernel may read of this computer, where it exists: programs and their libraries, Python, the course's library
# and its data. Not the sources of the sheets, nor their solutions, nor the tests.
READABLE = [
    *map(Path, ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/fonts", "/etc/localtime")),
    *sorted({Path(sys.base_prefix), Path(sys.prefix)}),
    INSIDE,
    HERE.parent / "course_lib",
    HERE.parent / "data",
]
# All that the kernel knows of the settings of this computer. Marks must not hang on its data or its network, and
# kernels that run side by side do not fight for its cores.
ENVIRONMENT = {
    "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "USER": "learner",
    "COURSE_OFFLINE": "1",
    "COURSE_PROFILE": "quick",
    "COURSE_DATA_DIR": "",
    "NBGRADER_EXECUTION": "autograde",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TQDM_DISABLE": "1",
    **dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
    ),
}


def bubblewrap(disk_bytes: int) -> list[str]:
    """Return the command that runs the program named after it between walls, with so many bytes in ``/tmp``."""
    tmpfs = ["--perms", "1777", "--size", str(disk_bytes), "--tmpfs"]
    command = ["bwrap", "--die-with-parent", "--new-session"]
    command += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    # The root and /dev are folders in memory without a limit of their own, so they are closed to writing in the end.
    command += ["--proc", "/proc", "--dev", "/dev", *tmpfs, "/dev/shm", "--remount-ro", "/dev", *tmpfs, "/tmp"]
    for path in READABLE:
        # Folders on the way would else be closed to all but the user who grades.
        for folder in list(path.parents)[-2::-1]:
            command += ["--dir", str(folder)]
        command += ["--ro-bind-try", str(path), str(path)]
    command += ["--remount-ro", "/", "--chdir", "/tmp"]
    if os.geteuid() == 0:
        # A limit on the number of processes does not bind root, so the kernel gets a user whom nobody else has.
        user = str(100_000 + os.getpid())
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "setpriv", f"--reuid={user}"]
        command += [f"--regid={user}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    return command


def why_no_walls() -> str | None:
    """Return why submissions cannot be walled off on this computer, or None where they can."""
    if not shutil.which("bwrap"):
        return "there is no program named bwrap."
    command = [*bubblewrap(1 << 20), sys.executable, "-c", f"open({str(INSIDE)!r})"]
    done = subprocess.run(command, capture_output=True, text=True)
    return None if done.returncode == 0 else done.stderr.strip() or f"it ended with status {done.returncode}."


class DropDuplicates(DeduplicateIds):
    """Takes the marks off a doubled cell so that the cell stays readable to the steps that follow.

    nbgrader leaves empty metadata behind, takes them for metadata of an old version, and gives up on the submission.
    """

    def preprocess_cell(self, cell: NotebookNode, resources: Any, cell_index: int) -> tuple[NotebookNode, Any]:
        """Return the cell without nbgrader's metadata where nbgrader has emptied them."""
        cell, resources = super().preprocess_cell(cell, resources, cell_index)
        if cell.metadata.get("nbgrader") == {}:
            del cell.metadata["nbgrader"]
        return cell, resources


class WalledExecute(Execute):
    """nbgrader's step that executes a notebook, with the kernel between walls.

    A cell that takes too long is interrupted, and the cells after it still run. A kernel that dies, or is ended for its
    memory, its processes, its output or its time, leaves the marks that were earned before and none after.
    The settings belong in ``nbgrader_config.py``, say ``c.WalledExecute.memory_bytes = 2 << 30``.
    """

    walls = Bool(True, help="Whether walls stand around the kernel. Without, only the limits hold.").tag(config=True)
    total_seconds = Integer(600, help="Seconds that all cells of a submission may take together.").tag(config=True)
    memory_bytes = Integer(4 << 30, help="Memory of all processes of a submission together.").tag(config=True)
    disk_bytes = Integer(256 << 20, help="What may be written to /tmp, to /dev/shm, and to a file.").tag(config=True)
    output_bytes = Integer(4 << 20, help="Characters that all cells may print together.").tag(config=True)
    processes = Integer(16, help="Processes at a time, three or four of the grader's own among them.").tag(config=True)
    threads = Integer(512, help="Threads at a time, of all processes together.").tag(config=True)
    remarks: ClassVar[list[str]] = []

    def preprocess(self, nb: NotebookNode, resources: Any, km: object = None) -> tuple[NotebookNode, Any]:
        """Execute the cells of a notebook and keep their outputs; raise RuntimeError where no kernel can be had."""
        cells = [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
        with self._kernel() as (process, ended):
            left = 8 * self.output_bytes  # JSON can write one character as six
            for number, cell in enumerate(cells, start=1):
                cell.execution_count = number
                try:
                    line = _ask(process, cell.source, left)
                    left -= len(line)
                    cell.outputs = [nbformat.from_dict(output) for output in json.loads(line)]
                    for output in cell.outputs:
                        validate(output, ref="output")
                except Exception:
                    # Dead, ended, or talking nonsense of whatever kind. The cells that are left fail in the same way.
                    process.kill()
                    ended.append("the kernel ended before this cell was done")
                    error = {"ename": "KernelEnded", "evalue": ended[0], "traceback": [f"KernelEnded: {ended[0]}."]}
                    cell.outputs = [nbformat.v4.new_output("error", **error)]
        self.remarks.extend(ended[:1])
        return nb, resources

    @contextlib.contextmanager
    def _kernel(self) -> Iterator[tuple[subprocess.Popen[bytes], list[str]]]:
        """Yield a process that executes cells, and the list that will say why it was ended."""
        limits = {
            "RLIMIT_CORE": 0,
            "RLIMIT_CPU": self.total_seconds,
            "RLIMIT_DATA": self.memory_bytes,
            "RLIMIT_FSIZE": self.disk_bytes,
            "RLIMIT_NOFILE": 256,
        }
        orders = {"resource": limits, "cell_seconds": self.timeout, "output_bytes": self.output_bytes}
        command = [sys.executable, str(INSIDE)]
        if self.walls:
            # Without walls all programs of the teacher would count, so there only the watch counts processes.
            limits["RLIMIT_NPROC"] = self.threads
            command = bubblewrap(self.disk_bytes) + command
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as messages:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": messages}
            environment = {**ENVIRONMENT, "HOME": "/tmp" if self.walls else folder}
            process = subprocess.Popen(command, cwd=folder, env=environment, **pipes)
            ended: list[str] = []
            try:
                if (said := _ask(process, orders, 10_000)) != b'"ready"\n':
                    raise EOFError(said.decode())
                # The clock starts now: what the kernel needs to get going is not the learner's time.
                threading.Thread(target=self._watch, args=(process, ended)).start()
            except (OSError, EOFError) as reason:
                messages.seek(0)
                self.remarks.append(f"no kernel could be started: {reason} {messages.read().decode()}")
                raise RuntimeError(self.remarks[-1]) from reason
            else:
                yield process, ended
            finally:
                _end(process)
                process.stdout.close()
                with contextlib.suppress(OSError):
                    process.stdin.close()

    def _watch(self, process: subprocess.Popen[bytes], ended: list[str]) -> None:
        """End a process whose time is over, or that has with its descendants too much memory or too many members."""
        end = time.monotonic() + self.total_seconds
        while process.poll() is None:
            memory, family = 0, _family(process)
            for member in family:
                with contextlib.suppress(psutil.Error):
                    memory += member.memory_info().rss
            if time.monotonic() > end:
                ended.append(f"the submission took more than {self.total_seconds} seconds")
            elif len(family) > self.processes:
                ended.append(f"the submission had more than {self.processes} processes")
            elif memory > self.memory_bytes:
                ended.append(f"the submission took more than {self.memory_bytes / 2**30:g} GiB of memory")
            if ended:
                _end(process)
                return
            time.sleep(0.1)


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return a process with all its descendants; none where it is gone."""
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and, where no walls end them with it, its descendants."""
    for member in _family(process):
        with contextlib.suppress(psutil.Error):
            member.kill()
    process.wait()


def _ask(process: subprocess.Popen[bytes], question: object, most: int) -> bytes:
    """Send a line to a process and return the line that it answers; raise EOFError where none comes, or too much."""
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(question).encode() + b"\n")
    process.stdin.flush()
    line = process.stdout.readline(most)
    if not line.endswith(b"\n"):
        raise EOFError("it answered nothing." if len(line) < most else f"it answered more than {most} bytes.")
    return line
