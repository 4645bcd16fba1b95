"""The ledger of claims and their verdicts: :func:`claim` records a value, :func:`ledger` judges it. Chapter 00."""

from __future__ import annotations

import operator
import re
import statistics
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib import records, settings

CLAIMS = settings.REPOSITORY / "data" / "claims.toml"
PAGE = settings.REPOSITORY / "data" / "CLAIMS.md"
SEEDS_NEEDED = 3
_RULE = re.compile(r"value (<=|>=|<|>|==) (-?[0-9]+(?:\.[0-9]+)?)")
_COMPARE = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq}


@dataclass(frozen=True)
class Entry:
    """One claim of the ledger: what was said, where, and what would count as reproduced."""

    id: str
    claim: str
    sources: str
    chapter: int
    metric: str
    reproduced: str
    partly: str = ""
    not_run: str = ""


@dataclass(frozen=True)
class Verdict:
    """A claim with its recorded values (one a seed, full profile) and what follows from them."""

    entry: Entry
    values: dict[int, float]

    @property
    def mean(self) -> float:
        """Mean over the seeds; NaN where nothing was recorded."""
        return statistics.fmean(self.values.values()) if self.values else float("nan")

    @property
    def sd(self) -> float:
        """Standard deviation over the seeds (n - 1); NaN below two seeds."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else float("nan")

    @property
    def verdict(self) -> str:
        """*reproduced* if its rule holds for every seed, *partly* if it or its weaker rule holds for the mean.

        A claim that is beyond the course's means says so, and why.
        """
        if self.entry.not_run:
            return f"not run here: {self.entry.not_run}"
        if len(self.values) < SEEDS_NEEDED:
            return f"open ({len(self.values)} of {SEEDS_NEEDED} seeds)"
        if all(_holds(self.entry.reproduced, value) for value in self.values.values()):
            return "reproduced"
        rules = [self.entry.reproduced, *([self.entry.partly] if self.entry.partly else [])]
        return "partly" if any(_holds(rule, self.mean) for rule in rules) else "not reproduced"


def entries(path: Path = CLAIMS) -> dict[str, Entry]:
    """Read the claims. Raises ValueError where an entry lacks a key, has one too many, or a rule cannot be read."""
    table: dict[str, dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))
    found: dict[str, Entry] = {}
    for name, keys in table.items():
        try:
            found[name] = Entry(id=name, **keys)
        except TypeError as error:
            raise ValueError(f"{path.name}, claim {name!r}: {error}") from error
        for rule in (found[name].reproduced, found[name].partly or found[name].reproduced):
            if not _RULE.fullmatch(str(rule)):
                raise ValueError(
                    f"{path.name}, claim {name!r}: {rule!r} is no rule; write for example 'value >= 0.989'."
                )
    return found


def _holds(rule: str, value: float) -> bool:
    match = _RULE.fullmatch(rule)
    assert match, rule  # entries() has read it
    return bool(_COMPARE[match[1]](value, float(match[2])))


def claim(name: str, value: float) -> None:
    """Record ``value`` as this run's measurement of claim ``name`` and print claim and rule.

    Raises KeyError where the ledger has no such claim, ValueError where it belongs to another chapter or is not run.
    """
    known, chapter = entries(), settings.current().chapter
    if name not in known:
        raise KeyError(f"there is no claim {name!r} in {CLAIMS.name}; it has {', '.join(known)}.")
    entry = known[name]
    if entry.chapter != chapter:
        raise ValueError(f"claim {name!r} belongs to chapter {entry.chapter}, this is chapter {chapter}.")
    if entry.not_run:
        raise ValueError(f"claim {name!r} is marked as not run ({entry.not_run}); take that mark away to measure it.")
    records.append("claim", name, float(value))
    print(f"“{entry.claim}” ({entry.sources})\n{entry.metric}: {value:.4g} here; reproduced where {entry.reproduced}")


def ledger(path: Path = CLAIMS, results: Path = records.RESULTS, *, chapter: int | None = None) -> list[Verdict]:
    """Judge every claim (of one chapter, if given) from the records in ``results``; nothing is typed by hand."""
    found = [record for record in records.read(results) if record["kind"] == "claim"]
    return [
        Verdict(entry, {record["seed"]: record["value"] for record in found if record["id"] == name})
        for name, entry in entries(path).items()
        if chapter in (None, entry.chapter)
    ]


def claims_table(chapter: int | None = None) -> str:
    """Render the ledger as a Markdown table: claim, source, metric, mean ± sd over the seeds, verdict, chapter."""
    lines = [
        "| claim | source | measured | value (mean ± sd over seeds) | reproduced where | verdict | chapter |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in ledger(chapter=chapter):
        entry, number = row.entry, _number(row)
        cells = (entry.claim, entry.sources, entry.metric, number, entry.reproduced, f"**{row.verdict}**")
        lines.append(f"| {' | '.join(cells)} | {entry.chapter:02d} |")
    return "\n".join(lines)


def _number(row: Verdict) -> str:
    if not row.values:
        return "—"
    spread = f" ± {row.sd:.2g}" if len(row.values) > 1 else ""
    return f"{row.mean:.4g}{spread} ({len(row.values)})"


def page() -> str:
    """Return the whole of data/CLAIMS.md; ``course claims --write`` writes it, and a test compares."""
    return (
        "# Claims of the sources, and what we measured\n\n"
        "Written by `course claims --write` from `data/claims.toml` and the records in `data/results/`.\n\n"
        f"{claims_table()}\n"
    )
