"""Measured values, appended by running a chapter and read back by the ledger and the tables. Chapter 00."""

from __future__ import annotations

import json
import os
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from course_lib import settings

RESULTS = settings.REPOSITORY / "data" / "results"


def append(kind: str, name: str, value: float, **more: Any) -> None:
    """Append one measured value to the records that ``COURSE_RECORD`` and ``COURSE_RUN_LOG`` ask for.

    ``COURSE_RECORD=1`` writes to ``data/results/<chapter>.jsonl``; ``COURSE_RUN_LOG`` names a file in which
    ``course run`` counts the checks of one run. Each line holds seed, profile, data, versions and machine kind.
    """
    current = settings.current()
    paths = [Path(log)] if (log := os.environ.get("COURSE_RUN_LOG", "")) else []
    if os.environ.get("COURSE_RECORD", "") not in ("", "0"):
        paths.append(RESULTS / f"{current.chapter:02d}.jsonl")
    record = {
        "kind": kind,
        "id": name,
        "value": value,
        "seed": current.seed,
        "profile": current.profile,
        "data": "full"
        if all(map(settings.has_full_data, settings.CHAPTER_DATA.get(current.chapter, ())))
        else "sample",
        "chapter": current.chapter,
        **more,
        "versions": settings.versions(),
        "machine": settings.machine(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read(folder: Path = RESULTS, *, profile: str = "full") -> list[dict[str, Any]]:
    """Return the recorded values of a profile: of each id and seed the last one written, in the order of writing.

    Raises ValueError naming file and line where a line is not a whole record.
    """
    latest: dict[tuple[str, str, int], dict[str, Any]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                record = json.loads(line)
                key = (record["kind"], record["id"], record["seed"])
                record["value"]
                if record["profile"] == profile:
                    latest.pop(key, None)
                    latest[key] = record
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number}, is not a whole record ({error!r}). "
                    "Delete that line and run the chapter again with COURSE_RECORD=1."
                ) from error
    return list(latest.values())


def recorded(name: str, *, kind: str = "check") -> dict[int, float]:
    """Return what was recorded in the full profile under ``name``: seed → value. Empty where nothing was."""
    return {record["seed"]: record["value"] for record in read() if (record["kind"], record["id"]) == (kind, name)}


def mean_and_sd(name: str, *, kind: str = "check", digits: int = 4) -> str:
    """Return "mean ± sd (n seeds)" of what was recorded in the full profile, or "not recorded"."""
    values = list(recorded(name, kind=kind).values())
    if len(values) < 2:
        return "not recorded"
    return f"{statistics.fmean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f} ({len(values)} seeds)"


def mean_interval(name: str, minus: str = "", *, kind: str = "check") -> tuple[float, float] | None:
    """Return mean and half-width of the 95 % interval of what was recorded in the full profile, None below two seeds.

    With ``minus``, of the difference ``name`` − ``minus``, paired by seed. The half-width is t · sd / √n, t the 97.5 %
    quantile of Student's distribution with n − 1 degrees of freedom (Student, The probable error of a mean,
    Biometrika 6, 1908): right for values that are normal over the seeds. Introduced in chapter 06.
    """
    from scipy import stats

    values = recorded(name, kind=kind)
    if minus:
        others = recorded(minus, kind=kind)
        values = {seed: value - others[seed] for seed, value in values.items() if seed in others}
    if len(values) < 2:
        return None
    half_width = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values.values()) / len(values) ** 0.5
    return statistics.fmean(values.values()), float(half_width)
