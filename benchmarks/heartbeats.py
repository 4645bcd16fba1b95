"""How fast is cutting heartbeats? ``course_lib`` against loops, on the 44 records of MIT-BIH, in one run.

``python benchmarks/heartbeats.py`` measures, ``--readme`` writes the table in README.md again from what was recorded.
The ways take turns, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import wfdb
from numpy.typing import NDArray

from course_lib import settings
from course_lib.datasets import DataError, heartbeats
from course_lib.datasets.heartbeats import LEAD, MITDB, SAMPLING_RATE, Record, cut_beats, filtered, find_mitdb

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "heartbeats.json"
README = HERE / "README.md"
MARKERS = ("<!-- written by benchmarks/heartbeats.py -->", "<!-- end of what heartbeats.py writes -->")
BEFORE, AFTER = 0.3, 0.3  # seconds of a window
REPEATS = 5  # of what takes a fraction of a second; the median counts
BEATS_A_RECORD = 10  # for the loop that opens a file for every beat
EVERY = 4  # of the records, for the array that grows with every beat
# Other work on the same cores need not slow all ways alike: above this, the ratios are not to be trusted.
BUSY = 0.1
BUSY_NOTE = ", so these numbers should be taken again on an idle machine"

OURS = "ours, from files to windows"
CUT = "ours, windows alone"
# What each way is measured against, and what part of the work it was measured on.
WAYS = {
    OURS: ("", "all"),
    "`wfdb.rdrecord` for every beat": (OURS, f"{BEATS_A_RECORD} beats of each record, scaled"),
    CUT: ("", "all"),
    "a slice of the array for every beat, stacked": (CUT, "all"),
    "the same, `np.append` for every record": (CUT, "all"),
    "`np.append` for every beat, in an array for each record": (CUT, f"every {EVERY}th record, scaled"),
}
Windows = NDArray[np.float32]
Seconds = NDArray[np.float64]  # (2,): on the clock, and of the processor


def spans(record: Record) -> list[tuple[int, int]]:
    """Return first and last sample, the last not included, of all windows that lie in the record."""
    before, after = round(BEFORE * record.rate), round(AFTER * record.rate)
    middles = (round(position * record.rate / SAMPLING_RATE) for position in record.positions.tolist())
    return [(m - before, m + after) for m in middles if m >= before and m + after <= len(record.signal)]


def now() -> Seconds:
    """Return the time on the clock, and the processor time of this process, all threads together."""
    return np.array([time.perf_counter(), time.process_time()])


def from_files(folder: Path) -> tuple[list[Record], list[Record], heartbeats.Beats, list[Seconds]]:
    """Read, check, filter and cut as chapter 04 does: records, filtered ones, beats, and seconds of the three steps."""
    times = [now()]
    data = MITDB.read(folder, "mitdb")
    records = [*data.train, *data.test]
    times.append(now())
    smooth = [filtered(record) for record in records]
    times.append(now())
    beats = cut_quietly(smooth)
    times.append(now())
    return records, smooth, beats, list(np.diff(times, axis=0))


def cut_quietly(records: list[Record]) -> heartbeats.Beats:
    """Cut windows by the library, without its line on beats that are left out."""
    with contextlib.redirect_stdout(io.StringIO()):
        return cut_beats(records, before=BEFORE, after=AFTER)


def open_a_file_for_every_beat(folder: Path, records: list[Record]) -> tuple[int, Windows]:
    """Read beats evenly spread over each record, each from its file: their number, and the windows, not filtered."""
    windows = []
    for record in records:
        all_spans = spans(record)
        for index in np.linspace(0, len(all_spans) - 1, BEATS_A_RECORD).astype(int):
            first, last = all_spans[index]
            found = wfdb.rdrecord(str(folder / record.name), sampfrom=first, sampto=last, channel_names=[LEAD])
            windows.append(found.p_signal.astype(np.float32))
    return len(windows), np.stack(windows)


def slice_for_every_beat(records: list[Record]) -> Windows:
    """Slice the array of each record beat by beat, and stack what came out."""
    return np.stack([record.signal[first:last] for record in records for first, last in spans(record)])[..., None]


def append_for_every_record(records: list[Record]) -> Windows:
    """Slice beat by beat, and append each record's windows to those of the records before it."""
    windows = np.empty((0, round((BEFORE + AFTER) * records[0].rate)), np.float32)
    for record in records:
        windows = np.append(windows, [record.signal[first:last] for first, last in spans(record)], axis=0)
    return windows[..., None]


def append_for_every_beat(records: list[Record]) -> Windows:
    """Append beat by beat to an array for each record, and join the arrays at the end."""
    parts = []
    for record in records:
        windows = np.empty((0, round((BEFORE + AFTER) * record.rate)), np.float32)
        for first, last in spans(record):
            windows = np.append(windows, record.signal[np.newaxis, first:last], axis=0)
        parts.append(windows)
    return np.concatenate(parts)[..., None]


def seconds(repeats: int, way: Callable[..., Any], *arguments: Any) -> tuple[Seconds, Any]:
    """Return how long a call took, the median of ``repeats``, and what came out."""
    spent = []
    for _ in range(repeats):
        start = now()
        found = way(*arguments)
        spent.append(now() - start)
    return np.median(spent, axis=0), found


def check(right: bool, way: str) -> None:
    """Raise RuntimeError where a way gave other windows than ours: then its time says nothing."""
    if not right:
        raise RuntimeError(f"{way}: other windows than ours, so there is nothing to compare.")


def measure_round(folder: Path) -> dict[str, list[float]]:
    """Return the seconds of each way for all beats, on the clock and of the processor.

    Raises RuntimeError where the ways do not give the same windows.
    """
    records, smooth, beats, steps = from_files(folder)
    found = {OURS: sum(steps), "load": steps[0], "filter": steps[1]}
    found[CUT], _ = seconds(REPEATS, cut_quietly, smooth)
    names = [name for name, (against, _) in WAYS.items() if against]

    spent, (count, windows) = seconds(1, open_a_file_for_every_beat, folder, records)
    found[names[0]] = spent * len(beats) / count
    ours = cut_quietly(records)
    for record, some in zip(records, np.split(windows, len(records)), strict=True):
        own = ours.of([record.name]).windows
        check(np.array_equal(some, own[np.linspace(0, len(own) - 1, BEATS_A_RECORD).astype(int)]), names[0])

    for name, way in zip(names[1:3], (slice_for_every_beat, append_for_every_record), strict=True):
        found[name], windows = seconds(REPEATS, way, smooth)
        check(np.array_equal(windows, beats.windows), name)
    spent, windows = seconds(1, append_for_every_beat, smooth[::EVERY])
    check(np.array_equal(windows, beats.of(record.name for record in smooth[::EVERY]).windows), names[3])
    found[names[3]] = spent * len(beats) / len(windows)
    return {name: spent.tolist() for name, spent in found.items()}


def busy() -> float:
    """Return which part of the processor others use, from 0 to 1, over one second in which this process sleeps."""
    return psutil.cpu_percent(interval=1) / 100


def measure(rounds: int) -> dict[str, Any]:
    """Measure ``rounds`` times; return what is recorded: machine, versions, rounds, ratios.

    Raises DataError or OSError where MIT-BIH cannot be had, RuntimeError where the ways differ in their windows.
    """
    folder, source = find_mitdb()
    print(source)
    _, _, beats, _ = from_files(folder)  # so that files and libraries are in memory before the clock starts
    taken: list[dict[str, Any]] = []
    for number in range(rounds):
        others = busy()
        taken.append({"busy_before": others, "seconds": measure_round(folder)})
        warning = f"; {others:.0%} of the processor was in use before it" if others > BUSY else ""
        print(f"round {number + 1}: {taken[-1]['seconds'][OURS][0]:.1f} s from files to windows{warning}", flush=True)
    return {
        "machine": settings.machine(),
        "versions": settings.versions() | {"wfdb": wfdb.__version__},
        "date": datetime.now(UTC).date().isoformat(),
        "beats": len(beats),
        "window": beats.windows.shape[1],
        "rounds": taken,
        "ratios": {name: ratios(taken, name, against) for name, (against, _) in WAYS.items() if against},
    }


def ratios(rounds: list[dict[str, Any]], name: str, against: str) -> dict[str, Any]:
    """Return how many times as long ``name`` took as ours, by clock and processor: each round, median, range."""
    found = {}
    for place, kind in enumerate(("clock", "processor")):
        each = [taken["seconds"][name][place] / taken["seconds"][against][place] for taken in rounds]
        found[kind] = {"per_round": each, "median": statistics.median(each), "min": min(each), "max": max(each)}
    return found


def table(results: dict[str, Any]) -> str:
    """Return recorded results as a Markdown table, with a line on how they were made."""
    rounds = results["rounds"]

    def median(name: str) -> float:
        return statistics.median(taken["seconds"][name][0] for taken in rounds)

    lines = [
        "| | measured on | seconds, median | this one ÷ ours, clock (range) | processor time (range) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, (_, part) in WAYS.items():
        found = results["ratios"].get(name, {}).values()
        text = [f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})" for ratio in found] or ["—", "—"]
        lines.append(f"| {name} | {part} | {median(name):.2f} | {' | '.join(text)} |")
    load, smooth, cut = (median(step) for step in ("load", "filter", CUT))
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    others = max(taken["busy_before"] for taken in rounds)
    lines += [
        "",
        f"Ours, step by step: {load:.2f} s to load and check, {smooth:.2f} s to filter, {cut:.2f} s for the windows. "
        f"Beats: {results['beats']:,}; samples a window: {results['window']}.",
        "",
        f"{results['date']}, {results['machine']}; {versions}. Rounds: {len(rounds)}. Processor in use by others "
        f"before a round: at most {others:.0%}{BUSY_NOTE if others > BUSY else ''}.",
    ]
    return "\n".join(lines)


def readme(text: str, path: Path = RESULTS) -> str:
    """Return README.md's ``text`` with the part between the markers made again from the record at ``path``.

    Raises ValueError where a marker is missing.
    """
    if not all(marker in text for marker in MARKERS):
        raise ValueError(f"{README.name} lacks a marker; it needs a line {MARKERS[0]!r} and a line {MARKERS[1]!r}.")
    before, rest = text.split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    found = table(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else "Not measured yet."
    return f"{before}{MARKERS[0]}\n\n### Heartbeats\n\n{found}\n\n{MARKERS[1]}{after}"


def at_least_one(text: str) -> int:
    """Read a number from the command line. Raises ArgumentTypeError below 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: it must be a whole number of 1 or more")
    return int(text)


def main() -> None:
    """Read the command line, measure, record, and print the table."""
    parser = argparse.ArgumentParser(description="Time the windows of heartbeats against loops.")
    parser.add_argument("--rounds", type=at_least_one, default=3)
    parser.add_argument("--readme", action="store_true", help="only write the table in README.md again")
    words = parser.parse_args()
    if not words.readme:
        os.environ["COURSE_PROFILE"] = "full"
        try:
            results = measure(words.rounds)
        except (DataError, RuntimeError, OSError) as error:
            sys.exit(f"benchmarks/heartbeats.py: {error}")
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"\n{table(results)}")
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
