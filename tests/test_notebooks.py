"""The chapters as committed: in step with their sources, executed, described, within their bands.

That every cell runs is nbval's part: ``make test`` passes the notebooks to it.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import nbformat
import pytest

from course_lib import records, settings

NOTEBOOKS = settings.REPOSITORY / "notebooks"
SOURCES = sorted((NOTEBOOKS / "src").glob("[0-9][0-9]_*.py"))


def load_build() -> object:
    specification = importlib.util.spec_from_file_location("build", NOTEBOOKS / "build.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules["build"] = module
    specification.loader.exec_module(module)
    return module


build = load_build()


def committed(source: Path) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{source.stem}.ipynb", as_version=4)


@pytest.fixture(params=SOURCES, ids=lambda path: path.stem)
def source(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_there_is_a_source_for_every_notebook() -> None:
    assert {path.stem for path in SOURCES} == {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
    assert len(SOURCES) >= 2


def test_notebook_is_what_its_source_builds_to(source: Path) -> None:
    def parts(notebook: nbformat.NotebookNode) -> list[tuple[str, ...]]:
        return [(c.id, c.cell_type, c.source, json.dumps(c.metadata, sort_keys=True)) for c in notebook.cells]

    built = build.to_notebook(source)  # type: ignore[attr-defined]
    assert parts(committed(source)) == parts(built), f"{source.name} was edited: make notebooks"
    assert committed(source).metadata == built.metadata


def test_every_cell_was_executed_in_order_and_without_error(source: Path) -> None:
    cells = [cell for cell in committed(source).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]


def test_committed_outputs_are_of_the_full_profile_and_of_any_machine(source: Path) -> None:
    outputs = json.dumps([cell.get("outputs", []) for cell in committed(source).cells])
    assert re.search(r"profile\s+full", outputs)
    assert not re.search(r"/(home|root|work|Users|tmp)/", outputs)


def test_every_figure_has_alt_text(source: Path) -> None:
    figures = 0
    for cell in committed(source).cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                figures += 1
                alt = output.metadata.get("image/png", {}).get("alt", "")
                assert len(alt) > 30, f"a figure of cell {cell.execution_count} says nothing to who cannot see it"
    assert figures


def test_cells_are_short(source: Path) -> None:
    lengths = sorted(len(cell.source.splitlines()) for cell in committed(source).cells if cell.cell_type == "code")
    assert lengths[len(lengths) // 2] <= 10


def test_cells_do_not_ask_for_the_profile(source: Path) -> None:
    assert not re.search(r"\bif\b.*(quick|profile)", source.read_text(encoding="utf-8"))


def test_prose_has_no_exclamation_mark(source: Path) -> None:
    for cell in committed(source).cells:
        if cell.cell_type == "markdown":
            assert "!" not in re.sub(r"!\[|`[^`]*`", "", cell.source)


def test_checked_cells_exist_and_depend_on_nothing_random() -> None:
    tagged = [
        cell
        for source in SOURCES
        for cell in committed(source).cells
        if "nbval-check-output" in cell.metadata.get("tags", [])
    ]
    assert len(tagged) >= 5
    assert not [cell for cell in tagged if re.search(r"\btrain\(|\bfit\(|accuracy\(", cell.source)]


def bands(source: Path) -> dict[str, tuple[float, float]]:
    """Return the full-profile bands that expect() printed when the committed chapter was executed."""
    found = {}
    for cell in committed(source).cells:
        for output in cell.get("outputs", []):
            for line in output.get("text", "").splitlines():
                if match := re.fullmatch(r"✓ (.+): \S+ \(expected (\S+) to (\S+) in the full profile\)", line):
                    found[match[1]] = float(match[2].replace(",", "")), float(match[3].replace(",", ""))
    return found


def test_recorded_values_of_three_seeds_lie_within_the_bands(source: Path) -> None:
    found = bands(source)
    assert found
    for name, (low, high) in found.items():
        values = records.recorded(name)
        assert len(values) >= 3, f"{name!r} was recorded for seeds {sorted(values)}: make record"
        assert all(low <= value <= high for value in values.values()), (name, values, (low, high))


def test_a_changed_cell_loses_its_output_and_keeps_the_others(tmp_path: Path) -> None:
    text = "# %%\n1 + 1\n\n# %%\n2 + 2\n"
    (tmp_path / "a.py").write_text(text)
    old = build.to_notebook(tmp_path / "a.py")  # type: ignore[attr-defined]
    for cell in old.cells:
        cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="out")], 1
    (tmp_path / "a.py").write_text("# %%\n0\n\n" + text.replace("2 + 2", "3 + 3"))
    new = build.to_notebook(tmp_path / "a.py")  # type: ignore[attr-defined]
    build.keep_outputs(new, old)  # type: ignore[attr-defined]
    assert [bool(cell.outputs) for cell in new.cells] == [False, True, False]
    assert new.cells[1].id == old.cells[0].id and len({cell.id for cell in new.cells}) == 3
