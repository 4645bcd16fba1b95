"""Do our attacks do what another library's do? FGSM and PGD against Foolbox, on the LeNet-5 that ships.

``python benchmarks/attacks.py --foolbox-python .venv-foolbox/bin/python`` attacks 1,000 digits by both, Foolbox on the
same weights in PyTorch, and compares images and success. ``make attacks`` makes that environment first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "attacks.json"
STEPS = 20
# Name: norm, radius, steps, random start. Without a random start the images themselves must be the same.
CASES: dict[str, tuple[str, float, int, bool]] = {
    "FGSM, L-infinity, 0.1": ("linf", 0.1, 1, False),
    "FGSM, L2, 1.5": ("l2", 1.5, 1, False),
    f"PGD, L-infinity, 0.1, {STEPS} steps": ("linf", 0.1, STEPS, False),
    f"PGD, L2, 1.5, {STEPS} steps": ("l2", 1.5, STEPS, False),
    f"PGD, L-infinity, 0.1, {STEPS} steps, random start": ("linf", 0.1, STEPS, True),
    f"PGD, L2, 1.5, {STEPS} steps, random start": ("l2", 1.5, STEPS, True),
}
SAME = 1e-3  # a pixel whose two values differ by less counts as the same


def by_foolbox(python: Path, arrays: dict[str, NDArray]) -> tuple[dict[str, NDArray], dict[str, str]]:
    """Let Foolbox attack in its own environment: attacked images a case, and ``scores`` on clean ones; versions.

    Raises RuntimeError where it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, returned = Path(folder) / "given.npz", Path(folder) / "returned.npz"
        np.savez(given, **arrays)  # type: ignore[arg-type]
        command = [python, HERE / "foolbox_attacks.py", given, returned, json.dumps(CASES)]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{HERE.name}/foolbox_attacks.py failed under {python}:\n{done.stderr.strip()}")
        with np.load(returned) as found:
            return dict(found), json.loads(done.stdout.splitlines()[-1])


def measure(python: Path) -> dict[str, Any]:
    """Attack by both libraries and return what is recorded."""
    from course_lib import settings
    from course_lib.datasets import load_digits
    from course_lib.models.lenet import load_lenet5
    from course_lib.robustness.attacks import pgd

    network, digits = load_lenet5(), load_digits(source="sample").test
    layers = [layer for layer in network.layers if layer.weights]
    weights = {f"{layer.name}/{each.name}": np.asarray(each) for layer in layers for each in layer.weights}
    theirs, versions = by_foolbox(python, {**weights, "images": digits.images, "labels": digits.labels})

    def scores(images: NDArray) -> NDArray:
        return network.predict(images, batch_size=500, verbose=0)

    right = scores(digits.images).argmax(axis=1) == digits.labels
    cases = {}
    for name, (norm, radius, steps, random_start) in CASES.items():
        length = radius if steps == 1 else None
        options: dict[str, Any] = {"norm": norm, "steps": steps, "step_size": length, "random_start": random_start}
        ours = pgd(network, digits.images, digits.labels, radius, **options)
        difference = np.abs(ours - theirs[name])
        fooled = [scores(images).argmax(axis=1) != digits.labels for images in (ours, theirs[name])]
        cases[name] = {
            "random start": random_start,
            "same pixels": float((difference < SAME).mean()),
            "same answer": float((fooled[0] == fooled[1])[right].mean()),
            "success, ours": float(fooled[0][right].mean()),
            "success, Foolbox": float(fooled[1][right].mean()),
        }
    return {
        "versions": settings.versions() | versions,
        "date": datetime.now(UTC).date().isoformat(),
        "digits": len(digits),
        "accuracy": float(right.mean()),
        "largest difference of scores": float(np.abs(scores(digits.images) - theirs["scores"]).max()),
        "cases": cases,
    }


def table(results: dict[str, Any]) -> str:
    """Return recorded results as a Markdown table, with a line on how they were made."""
    lines = ["| | same pixels | same answer | success, ours | success, Foolbox |", "| --- | --- | --- | --- | --- |"]
    for name, case in results["cases"].items():
        pixels = "—" if case["random start"] else f"{case['same pixels']:.2%}"
        shares = " | ".join(f"{case[key]:.1%}" for key in ("same answer", "success, ours", "success, Foolbox"))
        lines.append(f"| {name} | {pixels} | {shares} |")
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return "\n".join([*lines, "", f"{results['date']}, {results['digits']:,} digits; {versions}."])


def main() -> None:
    """Read the command line, measure, record, print the table."""
    parser = argparse.ArgumentParser(description="Compare our attacks with Foolbox.")
    parser.add_argument("--foolbox-python", type=Path, required=True, help="Python of an environment with Foolbox")
    words = parser.parse_args()
    if not words.foolbox_python.exists():
        parser.error(f"--foolbox-python {words.foolbox_python}: there is no such file; `make attacks` makes one")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        results = measure(words.foolbox_python)
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(f"benchmarks/attacks.py: {error}")
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
