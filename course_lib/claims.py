"""The ledger of claims and their verdicts: :func:`claim` records a value, :func:`ledger` judges it. Chapter 00."""

from __future__ import annotations

import functools
import json
import operator
import re
import shutil
import statistics
import textwrap
import tomllib
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from course_lib import records, settings

CLAIMS = settings.REPOSITORY / "data" / "claims.toml"
FINDINGS = settings.REPOSITORY / "data" / "findings.toml"
PAGE = settings.REPOSITORY / "data" / "CLAIMS.md"
CHAPTERS = settings.REPOSITORY / "notebooks"
SEEDS_NEEDED = 3
KINDS = ("reproduced", "partly", "not reproduced", "not run here", "open")
LABELS = ("What the sources say", "What we found")
WIDTH = 120  # of the lines of the page
HEAD = """
# Claims of the sources, and what we measured

**{count}**

A claim is *reproduced* where its rule holds for every seed, *partly* where the rule, or a weaker one, holds for the
mean. Rules were written before anything was measured. The sources are five documents: A, an essay on applications; Z,
its Chinese twin; O, an overview of AlexNet; T, an article on AlexNet; L, a lesson on LeNet and AlexNet. Numbers are
means ± standard deviations, and in brackets how many seeds, each a run in the full profile on the full data.

Written by `course claims --write` from `claims.toml`, `findings.toml` and the records in `results/`. `course claims`
prints the same in a terminal.
"""
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

    @property
    def kind(self) -> str:
        """The verdict without its reason or its count of seeds: one of :data:`KINDS`."""
        return next(kind for kind in KINDS if self.verdict.startswith(kind))

    @property
    def result(self) -> str:
        """Mean ± standard deviation over the seeds, as text; a dash where nothing was recorded."""
        if not self.values:
            return "—"
        return f"{self.mean:.4g} ± {self.sd:.2g}" if len(self.values) > 1 else f"{self.mean:.4g}"

    @property
    def seeds(self) -> int:
        """How many seeds were recorded."""
        return len(self.values)

    @property
    def counted(self) -> str:
        """The result, and in brackets the number of seeds where there are any."""
        return f"{self.result} ({self.seeds})" if self.seeds else self.result


@dataclass(frozen=True)
class Finding:
    """The summary of a chapter in words: what the sources say, what was found, and the verdicts it was written for.

    In both texts ``{id.mean:.1f}`` and ``{id.sd:.1f}`` stand for the numbers of a claim of the chapter. The verdicts
    are kind → ids of claims.
    """

    sources: str
    found: str
    written_for: dict[str, list[str]]


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
        entry = row.entry
        cells = (entry.claim, entry.sources, entry.metric, row.counted, entry.reproduced, f"**{row.verdict}**")
        lines.append(f"| {' | '.join(cells)} | {entry.chapter:02d} |")
    return "\n".join(lines)


def findings(path: Path = FINDINGS) -> dict[int, Finding]:
    """Read the summaries, chapter → summary. Raises ValueError where one lacks a key or has one too many."""
    found = {}
    for chapter, keys in tomllib.loads(path.read_text(encoding="utf-8")).items():
        try:
            found[int(chapter)] = Finding(**keys)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path.name}, chapter {chapter!r}: {error}") from error
    return found


def summary(chapter: int) -> tuple[str, str] | None:
    """Return what the sources of a chapter say and what was found, the measured numbers filled in; None if unwritten.

    Raises ValueError where a text asks for a claim that the chapter does not have.
    """
    if (finding := findings().get(chapter)) is None:
        return None
    rows = {row.entry.id: row for row in ledger(chapter=chapter)}
    try:
        return finding.sources.format_map(rows), finding.found.format_map(rows)
    except KeyError as error:
        raise ValueError(f"{FINDINGS.name}, chapter {chapter:02d}: the chapter has no claim {error}.") from error


def listing(chapter: int | None = None, *, width: int | None = None) -> str:
    """Render the ledger for a terminal, ``width`` columns wide (its own width, at most 100): the claims by chapter.

    With ``chapter`` of this one alone, its summary in words before them. Raises ValueError where it has no claims.
    """
    width = width or min(100, shutil.get_terminal_size().columns)
    rows = ledger(chapter=chapter)
    if not rows:
        known = ", ".join(map(str, _numbers(ledger())))
        raise ValueError(f"chapter {chapter} has no claims; there are claims in {known}.")
    blocks = [_count(rows)] if chapter is None else []
    for number in _numbers(rows):
        own = [row for row in rows if row.entry.chapter == number]
        blocks.append(f"{_title(number)}\n{'=' * len(_title(number))}\n{_count(own)}")
        if chapter is not None and (texts := summary(number)):
            blocks += [_wrapped(f"{label}. {text}", width) for label, text in zip(LABELS, texts, strict=True)]
        blocks += [_entry(row, width) for row in own]
    return "\n\n".join(blocks)


def _entry(row: Verdict, width: int) -> str:
    """Return a claim in a few lines, the verdict in the margin."""
    entry, margin = row.entry, max(map(len, KINDS)) + 2
    about = entry.not_run or f"{row.result} over {row.seeds} seeds, reproduced where {entry.reproduced}"
    texts = f"{entry.claim} ({entry.sources})", f"{about}: {entry.metric}"
    lines = [line for text in texts for line in textwrap.wrap(text, width - margin)]
    return "\n".join(f"{label:<{margin}}{line}" for label, line in zip_longest([row.kind], lines, fillvalue=""))


def page() -> str:
    """Return the whole of data/CLAIMS.md; ``course claims --write`` writes it, and a test compares."""
    rows = ledger()
    chapters = {number: [row for row in rows if row.entry.chapter == number] for number in _numbers(rows)}
    kinds = [kind for kind in KINDS if any(row.kind == kind for row in rows)]
    overview = [f"| chapter | {' | '.join(kinds)} |", "| --- " * (len(kinds) + 1) + "|"]
    for number, own in chapters.items():
        counts = Counter(row.kind for row in own)
        overview.append(f"| {_title(number)} | {' | '.join(str(counts[kind]) for kind in kinds)} |")
    sections = [block for number, own in chapters.items() for block in _section(number, own)]
    return "\n\n".join([_wrapped(HEAD.format(count=_count(rows)), WIDTH), "\n".join(overview), *sections]) + "\n"


def _section(chapter: int, rows: list[Verdict]) -> list[str]:
    """Return the blocks of a chapter's part of the page: heading, summary, table, how each claim was measured."""
    notebook = _notebook(chapter)
    link = f" [Read the chapter.](../notebooks/{notebook.name})" if notebook else ""
    blocks = [f"## {_title(chapter)}", f"{_count(rows)}{link}"]
    if texts := summary(chapter):
        blocks += [_wrapped(f"**{label}.** {text}", WIDTH) for label, text in zip(LABELS, texts, strict=True)]
    table = ["| | claim | source | mean ± sd (seeds) | verdict |", "| --- | --- | --- | --- | --- |"]
    measured = []
    for number, row in enumerate(rows, start=1):
        cells = (row.entry.claim, row.entry.sources, row.counted, f"**{row.verdict}**")
        table.append(f"| {number} | {' | '.join(cells)} |")
        measured.append(f"{number}. {row.entry.metric}; reproduced where {row.entry.reproduced}")
    listed = "\n".join(_wrapped(text, WIDTH, "   ") for text in measured)
    return [*blocks, "\n".join(table), "How each was measured:", listed]


def _numbers(rows: list[Verdict]) -> list[int]:
    """Return the chapters that have claims, in order."""
    return sorted({row.entry.chapter for row in rows})


def _count(rows: list[Verdict]) -> str:
    """Return how many claims there are and how many had each verdict, in a line."""
    kinds = Counter(row.kind for row in rows)
    counts = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS if kinds[kind])
    return f"{len(rows)} claim{'s' if len(rows) != 1 else ''}: {counts}."


def _notebook(chapter: int) -> Path | None:
    return next(CHAPTERS.glob(f"{chapter:02d}_*.ipynb"), None)


def _title(chapter: int) -> str:
    """Return the heading of the chapter's notebook, such as "01 LeNet-5"; its number alone where there is none yet."""
    if (notebook := _notebook(chapter)) is None:
        return f"{chapter:02d}"
    lines = "".join(json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]["source"]).splitlines()
    return lines[0].removeprefix("# ")


def _wrapped(text: str, width: int, indent: str = "") -> str:
    """Return ``text`` with lines of at most ``width`` characters, paragraphs kept apart."""
    wrap = functools.partial(textwrap.fill, width=width, subsequent_indent=indent, break_on_hyphens=False)
    return "\n\n".join(wrap(" ".join(part.split())) for part in text.strip().split("\n\n"))
