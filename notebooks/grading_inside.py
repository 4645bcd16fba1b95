"""What runs inside the walls: a kernel that executes the cells of one submission. ``grading.py`` starts it.

It speaks in lines of JSON. First come the limits; the answer ``"ready"`` says that the kernel runs. Then each line that
comes is the source of a cell, and each answer is the list of its outputs. A cell is sent when the one before it is
done, so that an answer cannot look up the tests that follow it.
"""

# ruff: noqa: E402

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from typing import Any

# jsonschema builds a grammar of addresses when this package can be imported. No notebook needs it, and it takes longer
# than all other imports of this program together.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

from jupyter_client.utils import ensure_async
from nbclient import NotebookClient
from nbformat import v4
from nbformat.notebooknode import NotebookNode
from traitlets import Integer


def error(name: str, message: str) -> NotebookNode:
    """Return a cell's output that nbgrader takes for a failure, and that says to the learner what happened."""
    return v4.new_output("error", ename=name, evalue=message, traceback=[f"{name}: {message}"])


class LimitedClient(NotebookClient):
    """Executes cells, and ends the kernel of a submission that prints more than it may."""

    output_bytes = Integer(help="How many characters the cells of a submission may print together.")
    printed = 0

    def output(self, outs: list[NotebookNode], msg: dict[str, Any], *where: Any) -> NotebookNode | None:
        """Keep an output, unless it is too much."""
        before, self.printed = self.printed, self.printed + len(str(msg["content"]))
        if self.printed <= self.output_bytes:
            return super().output(outs, msg, *where)
        if before <= self.output_bytes:
            self.ending = asyncio.ensure_future(ensure_async(self.km.shutdown_kernel(now=True)))
        return None

    def why_it_ended(self, reason: Exception) -> str:
        """Return a line for the learner on why a cell could not be executed to its end."""
        if self.printed > self.output_bytes:
            return f"the submission printed more than {self.output_bytes:,} characters"
        return (str(reason).strip() or type(reason).__name__).splitlines()[0]


def keep_error(cell: NotebookNode, execute_reply: dict[str, Any], **_: Any) -> None:
    """Put the kernel's own word that a cell failed among its outputs, where it is not there already."""
    reply = execute_reply["content"]
    name = reply.get("ename", "Error")
    if reply["status"] != "ok" and not any(output.get("ename") == name for output in cell.outputs):
        cell.outputs.append(error(name, reply.get("evalue", "")))


def main() -> None:
    """Take the limits, start the kernel, and execute what comes until nothing more comes."""
    limits = json.loads(sys.stdin.readline())
    # The lines go out by a way that the kernel does not inherit, so that nothing it prints can come between them.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def answer(value: object) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    for name, limit in limits["resource"].items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    client = LimitedClient(
        v4.new_notebook(),
        kernel_name="python3",
        timeout=limits["cell_seconds"],
        interrupt_on_timeout=True,
        error_on_timeout={
            "ename": "CellTimeoutError",
            "evalue": f"a cell may run {limits['cell_seconds']} seconds.",
            "traceback": [f"CellTimeoutError: a cell may run {limits['cell_seconds']} seconds."],
        },
        allow_errors=True,
        raise_on_iopub_timeout=True,
        iopub_timeout=30,
        startup_timeout=120,
        output_bytes=limits["output_bytes"],
        on_cell_executed=keep_error,
        extra_arguments=["--HistoryManager.hist_file=:memory:"],
    )
    with client.setup_kernel():
        answer("ready")
        for line in sys.stdin:
            cell = v4.new_code_cell(json.loads(line))
            client.nb.cells.append(cell)
            try:
                client.execute_cell(cell, len(client.nb.cells) - 1)
                if client.printed > client.output_bytes:
                    raise RuntimeError("too much output")
            except Exception as reason:
                # The kernel died or does not listen any more: what it printed, why it is over, and nothing after that.
                answer([*cell.outputs, error("KernelEnded", client.why_it_ended(reason))])
                return
            answer(cell.outputs)


if __name__ == "__main__":
    main()
