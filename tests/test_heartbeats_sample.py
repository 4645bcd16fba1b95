"""The sample of heartbeats: what the program makes, and whether its rhythms and waves are those of the textbooks."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import wfdb
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from course_lib import settings

FOLDER = settings.REPOSITORY / "data" / "heartbeats_sample"
PROGRAM = settings.REPOSITORY / "data" / "make_heartbeats_sample.py"
NAMES = [f"p{number:02d}" for number in range(1, 17)]
HALVES = {"train": NAMES[:8], "test": NAMES[8:]}
RATE = 360
ENOUGH = 8  # beats of a kind in a record, for its mean shape


@cache
def read(name: str) -> tuple[wfdb.Record, NDArray[np.int64], NDArray[np.str_]]:
    """Return the record, and samples and symbols of its beats."""
    notes = wfdb.rdann(str(FOLDER / name), "atr")
    return wfdb.rdrecord(str(FOLDER / name)), notes.sample[1:], np.array(notes.symbol[1:])


def count(names: list[str]) -> Counter[str]:
    return sum((Counter(read(name)[2].tolist()) for name in names), Counter())


def mean_beat(name: str, kind: str) -> NDArray[np.float64] | None:
    """Return the median shape of a kind of beat, 90 samples before to 119 after, from a level just before the QRS.

    Shape (210, 2); the first column is MLII. None where the record has too few.
    """
    record, samples, symbols = read(name)
    leads = [record.sig_name.index("MLII"), 1 - record.sig_name.index("MLII")]
    places = [at for at in samples[symbols == kind] if 90 <= at < record.sig_len - 120]
    if len(places) < ENOUGH:
        return None
    beats = np.stack([record.p_signal[at - 90 : at + 120, leads] for at in places])
    return np.median(beats - np.median(beats[:, 40:80], axis=1, keepdims=True), axis=0)


def width(beat: NDArray[np.float64], level: float) -> float:
    """Return for how many milliseconds around the R peak the two leads together exceed this part of their maximum."""
    height = np.hypot(*beat.T)
    peak = 70 + int(height[70:111].argmax())
    low = height < level * height[peak]
    before, after = np.flatnonzero(low[:peak]), np.flatnonzero(low[peak:])
    return 1000 / RATE * ((peak + after[0] if len(after) else 210) - before[-1])


def shapes(kinds: str) -> dict[tuple[str, str], NDArray[np.float64]]:
    found = {(name, kind): mean_beat(name, kind) for name in NAMES for kind in kinds}
    return {key: beat for key, beat in found.items() if beat is not None}


def ratios(kind: str, step: int) -> dict[str, NDArray[np.float64]]:
    """Return RR intervals before (step 0) or after (1) beats of a kind between two N (or L, R), over the median."""
    found = {}
    for name in NAMES:
        _, samples, symbols = read(name)
        intervals = np.diff(samples)
        normal = np.isin(symbols, ["N", "L", "R"])
        usual = np.median(intervals[normal[1:] & normal[:-1]])
        alone = np.flatnonzero((symbols[1:-1] == kind) & normal[:-2] & normal[2:]) + 1
        if len(alone) >= ENOUGH:
            found[name] = intervals[alone - 1 + step] / usual
    return found


# The files


def test_program_makes_the_files_that_ship(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), "--output", str(tmp_path / "made")]
    subprocess.run(command, check=True, capture_output=True)
    shipped, made = (
        {path.name: path.read_bytes() for path in folder.iterdir()} for folder in (FOLDER, tmp_path / "made")
    )
    assert shipped.keys() == made.keys() == {f"{name}.{ending}" for name in NAMES for ending in ("hea", "dat", "atr")}
    assert [name for name in shipped if shipped[name] != made[name]] == []
    sums = "".join(f"{hashlib.sha256(shipped[name]).hexdigest()}  {name}\n" for name in sorted(shipped))
    assert FOLDER.with_suffix(".sha256").read_text() == sums == (tmp_path / "made.sha256").read_text()
    assert sum(map(len, shipped.values())) < 6e6


@pytest.mark.parametrize("name", NAMES)
def test_format_is_that_of_mit_bih(name: str) -> None:
    record, samples, _ = read(name)
    assert (record.fs, record.sig_len, record.n_sig) == (RATE, 300 * RATE, 2)
    assert (record.fmt, record.adc_gain, record.baseline) == (["212"] * 2, [200] * 2, [1024] * 2)
    assert (record.adc_res, record.adc_zero, record.units) == ([11] * 2, [1024] * 2, ["mV"] * 2)
    assert record.base_date is None and record.base_time is None
    assert "Not a person" in record.comments[0] and "make_heartbeats_sample.py, seed 0" in record.comments[1]
    digital = wfdb.rdrecord(str(FOLDER / name), physical=False)
    assert digital.checksum == digital.calc_checksum()
    assert digital.d_signal.min() > 0 and digital.d_signal.max() < 2047, "nothing is cut off"
    notes = wfdb.rdann(str(FOLDER / name), "atr")
    assert (notes.symbol[0], notes.aux_note[0], notes.fs) == ("+", "(N", RATE)
    assert set(notes.symbol[1:]) <= set("NLRAVF") and set(notes.aux_note[1:]) == {""}
    assert (np.diff(samples) > 0.25 * RATE).all() and samples[-1] < record.sig_len


def test_leads_are_named_as_in_mit_bih_and_mlii_is_second_once() -> None:
    names = {name: read(name)[0].sig_name for name in NAMES}
    assert [name for name in NAMES if names[name][0] != "MLII"] == ["p07"] and names["p07"] == ["V5", "MLII"]
    assert {names[name][1] for name in NAMES if name != "p07"} == {"V1", "V2", "V5"}


def test_some_beats_are_too_near_to_an_end_for_a_window() -> None:
    edges = [min(read(name)[1][0], read(name)[0].sig_len - read(name)[1][-1]) for name in NAMES]
    assert min(edges) < 0.25 * RATE < max(edges)


# Who has which beats


@pytest.mark.parametrize("half", HALVES)
def test_either_half_has_every_class(half: str) -> None:
    counts = count(HALVES[half])
    assert min(counts["L"], counts["R"], counts["A"], counts["V"]) >= 100 and counts["F"] >= 40


def test_mix_is_roughly_that_of_life_and_patients_differ() -> None:
    counts = count(NAMES)
    total = counts.total()
    assert 5_500 < total < 6_500
    assert 0.83 < (counts["N"] + counts["L"] + counts["R"]) / total < 0.9
    assert (
        0.035 < counts["A"] / total < 0.06 and 0.045 < counts["V"] / total < 0.07 and 0.015 < counts["F"] / total < 0.03
    )
    shares = {kind: np.array([count([name])[kind] / count([name]).total() for name in NAMES]) for kind in "NLRAV"}
    assert (shares["N"] > 0.96).sum() >= 2 and shares["V"].max() > 0.15 and shares["A"].max() > 0.15
    assert shares["L"].max() > 0.9 and shares["R"].max() > 0.9
    assert "VNVNVNVNVN" in "".join(read("p02")[2]), "bigeminy"
    assert "VV" in "".join(read("p14")[2]), "couplets"


# Rhythm


def test_heart_rates_are_those_of_adults_at_rest() -> None:
    rates = [60 * RATE * (len(samples) - 1) / (samples[-1] - samples[0]) for _, samples, _ in map(read, NAMES)]
    assert 50 < min(rates) < 65 and 85 < max(rates) < 100


def test_sinus_rhythm_has_mayer_and_respiratory_waves() -> None:
    """Two peaks in the spectrum of the RR intervals, near 0.1 and 0.25 Hz, in the two records with almost only N."""
    for name in ("p01", "p11"):
        _, samples, symbols = read(name)
        intervals = np.diff(samples) / RATE
        clean = (symbols[1:] != "A") & (symbols[:-1] != "A")
        grid = np.arange(samples[1], samples[-1], RATE / 4)
        even = np.interp(grid, samples[1:][clean], intervals[clean])
        power = np.abs(np.fft.rfft((even - even.mean()) * np.hanning(len(even)))) ** 2
        frequency = np.fft.rfftfreq(len(even), 1 / 4)
        mayer, breath = ((low < frequency) & (frequency < high) for low, high in ((0.07, 0.13), (0.17, 0.36)))
        between = (frequency > 0.135) & (frequency < 0.165)
        assert (power[mayer].sum() + power[breath].sum()) / power.sum() > 0.75, name
        assert min(power[mayer].max(), power[breath].max()) > 5 * power[between].max(), name


def test_a_and_v_come_early_f_does_not() -> None:
    early = {kind: ratios(kind, 0) for kind in "AVF"}
    assert len(early["A"]) >= 6 and len(early["V"]) >= 6 and len(early["F"]) >= 2
    for kind in "AV":
        for name, values in early[kind].items():
            assert np.median(values) < 0.9 and values.max() < 1.1, (kind, name)
    assert all(0.9 < np.median(values) < 1.1 for values in early["F"].values())


def test_pause_is_compensatory_after_v_and_shorter_after_a() -> None:
    for name, after in ratios("V", 1).items():
        assert np.median(ratios("V", 0)[name] + after) == pytest.approx(2, abs=0.08), name
    for name, after in ratios("A", 1).items():
        assert 1 < np.median(after) < 1.25 and np.median(ratios("A", 0)[name] + after) < 1.95, name


# Waves


def test_annotations_lie_at_the_main_deflection_of_mlii() -> None:
    for (name, kind), beat in shapes("NLRA").items():
        assert abs(int(np.abs(beat[65:116, 0]).argmax()) - 25) <= 2, (name, kind)
        assert 0.4 < beat[90, 0] < 2.5, "R waves point upwards"


def test_qrs_is_wide_in_v_and_in_bundle_branch_block_only() -> None:
    """120 ms is the limit in every textbook."""
    widths = {key: width(beat, 0.1) for key, beat in shapes("NLRV").items()}
    assert Counter(kind for _, kind in widths) == {"N": 14, "L": 2, "R": 2, "V": 10}
    for (name, kind), measured in widths.items():
        assert measured < 110 if kind == "N" else measured > 118, (name, kind, measured)
    for name in (name for name, kind in widths if kind == "V" and (name, "N") in widths):
        narrow, wide = (width(mean_beat(name, kind), 0.5) for kind in "NV")
        assert wide > 1.5 * narrow, name


def test_t_is_opposed_to_qrs_in_v() -> None:
    opposed = {name: beat[90, 0] * beat[90 + 80 : 90 + 115, 0].mean() < 0 for (name, _), beat in shapes("V").items()}
    assert all(opposed.values()), opposed


def test_p_comes_before_n() -> None:
    """Between 250 and 100 ms before R the signal rises over the straight line from end to end, and falls again."""
    for (name, kind), beat in shapes("NLR").items():
        before = beat[0:54, 0]
        rise = before - np.linspace(before[:5].mean(), before[-5:].mean(), len(before))
        assert rise.max() > 0.03 and 10 < rise.argmax() < 48, (name, kind)


# Difficulty


def test_another_patient_is_harder_than_another_beat() -> None:
    """Nearest neighbours know the beats of patients whom they have met, and fewer of the others."""
    windows, labels, patients = [], [], []
    for name in NAMES:
        record, samples, symbols = read(name)
        signal = record.p_signal[:, record.sig_name.index("MLII")]
        for before, at, after, symbol in zip(samples, samples[1:], samples[2:], symbols[1:], strict=False):
            if at + 108 <= record.sig_len:
                window = signal[at - 108 : at + 108].reshape(72, 3).mean(axis=1)
                timing = [(at - before) / (after - before)]
                windows.append(np.concatenate([window - np.median(window), timing]))
                labels.append("N" if symbol in "LR" else symbol)
                patients.append(int(name[1:]))
    features, kinds = np.stack(windows), np.array(labels)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    splits = {"beats": np.random.default_rng(0).random(len(kinds)) < 0.5, "patients": np.array(patients) <= 8}
    right = {
        split: KNeighborsClassifier(5).fit(features[own], kinds[own]).score(features[~own], kinds[~own])
        for split, own in splits.items()
    }
    assert right["beats"] > 0.97 and 0.8 < right["patients"] < right["beats"] - 0.02
