"""Build the notebooks from their text sources, one way: ``python notebooks/build.py [--execute] [chapter …]``.

Outputs of cells that did not change are kept; with ``--execute`` every cell is run again (full profile) and saved.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from course_lib.cli import notebook_client

FOLDER = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def to_notebook(source: Path) -> NotebookNode:
    """Return the notebook that a text source builds to, without outputs.

    A cell's id is a hash of its text, so that it stays while cells come and go around it.
    """
    notebook = jupytext.read(source)
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        cell.metadata.pop("lines_to_next_cell", None)
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def keep_outputs(notebook: NotebookNode, old: NotebookNode) -> None:
    """Copy the outputs of the cells that are the same in ``old`` into ``notebook``."""
    outputs = {cell.id: cell for cell in old.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.id in outputs:
            cell.outputs, cell.execution_count = outputs[cell.id].outputs, outputs[cell.id].execution_count


def execute(notebook: NotebookNode) -> None:
    """Run every cell in place; what libraries write to stderr and how long each cell took is not kept."""
    client = notebook_client(notebook, FOLDER)
    client.record_timing = False
    client.execute(env={**os.environ, "TQDM_DISABLE": "1"})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata = nbformat.from_dict(METADATA)


def sources(chapters: list[str]) -> list[Path]:
    """Return the text sources of the chapters whose names begin so; all of them for none."""
    found = sorted((FOLDER / "src").glob("[0-9][0-9]_*.py"))
    return [path for path in found if not chapters or path.stem.startswith(tuple(chapters))]


def main() -> None:
    """Build, and execute if asked to, the chapters named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chapters", nargs="*", help="for example 01; default: all")
    parser.add_argument("--execute", action="store_true")
    words = parser.parse_args()
    for source in sources(words.chapters):
        target = FOLDER / f"{source.stem}.ipynb"
        notebook = to_notebook(source)
        if words.execute:
            execute(notebook)
        elif target.exists():
            keep_outputs(notebook, nbformat.read(target, as_version=4))
        nbformat.validate(notebook)
        nbformat.write(notebook, target)
        print(f"{target.name} built{' and executed' if words.execute else ''}")


if __name__ == "__main__":
    main()
