"""Heartbeats: the MIT-BIH arrhythmia records, or records that this project synthesised. Introduced in chapter 04.

Sources: Moody and Mark, The impact of the MIT-BIH arrhythmia database (IEEE Engineering in Medicine and Biology 20,
2001); de Chazal, O'Dwyer and Reilly, Automatic classification of heartbeats using ECG morphology and heartbeat interval
features (IEEE Transactions on Biomedical Engineering 51, 2004), for classes and patients.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from course_lib import settings
from course_lib.datasets import sources
from course_lib.datasets.sources import DataError, DataUnavailable

SAMPLING_RATE = 360  # samples a second, of all records
LEAD = "MLII"
# What the annotations mean, in the five classes of the AAMI (ANSI/AAMI EC57): the symbols of PhysioNet's WFDB.
CLASSES = {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}
NOT_A_BEAT = '+~|x!"[]'  # changes of rhythm and noise, blocked beats, flutter waves, notes
DS1 = tuple(map(str, (
    101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209,
    215, 220, 223, 230,
)))  # fmt: skip
DS2 = tuple(map(str, (
    100, 103, 105, 111, 113, 117, 121, 123, 200, 202, 210, 212, 213, 214, 219, 221, 222, 228,
    231, 232, 233, 234,
)))  # fmt: skip
ADDRESS = "https://physionet.org/"
SUFFIXES = (".hea", ".dat", ".atr")  # of the files of a record: header, signals, annotations
LOCAL = 10  # intervals that say how fast the heart beats now
LONGEST_FLAT = 10 * SAMPLING_RATE  # samples; a lead that has fallen off, and no patient


@dataclass(frozen=True)
class Record:
    """One patient's lead in mV, float32 (n,), and where its beats lie: positions (samples) and symbols, (beats,)."""

    name: str
    lead: str
    signal: NDArray[np.float32]
    positions: NDArray[np.int64]
    symbols: NDArray[np.str_]
    rate: float = SAMPLING_RATE

    @property
    def labels(self) -> NDArray[np.int32]:
        """The index of each beat's class in ``CLASSES``."""
        index = {symbol: number for number, symbols in enumerate(CLASSES.values()) for symbol in symbols}
        return np.array([index[symbol] for symbol in self.symbols], np.int32)


@dataclass(frozen=True)
class Patients:
    """Records in two halves: settings are chosen on ``train``; ``test`` holds other patients and is read at the end."""

    train: tuple[Record, ...]
    test: tuple[Record, ...]
    source: str

    def __str__(self) -> str:
        parts = (
            f"{len(half)} {name} records with {sum(len(record.positions) for record in half):,} beats"
            for name, half in (("training", self.train), ("test", self.test))
        )
        return f"{self.source}: {', '.join(parts)}"


@dataclass(frozen=True)
class Beats:
    """Beats of several records: what a network reads of each, its class, and whose it is.

    ``windows`` float32 (n, samples, 1), mV; ``rhythm`` float32 (n, 4), see :func:`rhythm`; ``labels`` int32 (n,);
    ``patients`` (n,), names of records; ``positions`` int64 (n,), samples of the original record.
    """

    windows: NDArray[np.float32]
    rhythm: NDArray[np.float32]
    labels: NDArray[np.int32]
    patients: NDArray[np.str_]
    positions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: slice | NDArray) -> Self:
        """Return the beats of a slice, of indices, or of a mask (n,)."""
        return type(self)(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def of(self, patients: Iterable[str]) -> Self:
        """Return the beats of these patients, a list of names."""
        return self[np.isin(self.patients, list(patients))]


@dataclass(frozen=True)
class WfdbRecords:
    """A set of WFDB records in two halves, the file with their SHA-256, and the few that the quick profile reads."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    sums: Path
    few: tuple[str, ...] = ()

    def read(self, folder: Path, source: str, *, few: bool = False) -> Patients:
        """Read the records in ``folder``, each checked; with ``few`` only those for the quick profile.

        Raises DataError naming the file that is missing, broken, or not the one of the published set.
        """
        wanted = self.few if few and self.few else (*self.train, *self.test)
        train, test = ([name for name in half if name in wanted] for half in (self.train, self.test))
        lines = (line.split() for line in self.sums.read_text(encoding="ascii").splitlines())
        published = {file: digest for digest, file in lines}

        def checked(name: str) -> Record:
            record = read_record(folder / name)
            for suffix in SUFFIXES:
                path = (folder / name).with_suffix(suffix)
                if hashlib.sha256(path.read_bytes()).hexdigest() != published[path.name]:
                    raise _broken(path, f"wrong checksum: it is not the file of {self.name}")
            return record

        with ThreadPoolExecutor(settings.cores()) as pool:
            records = list(pool.map(checked, (*train, *test)))
        return Patients(tuple(records[: len(train)]), tuple(records[len(train) :]), source)

    def addresses(self) -> tuple[str, ...]:
        """Return where PhysioNet has the files of the first record; the others lie beside them."""
        return tuple(f"{ADDRESS}files/{self.name}/1.0.0/{self.train[0]}{suffix}" for suffix in SUFFIXES)

    def report(self) -> str:
        """Find or download the set, verify it, and say in a line what there is. Raises as :func:`find_mitdb`."""
        return str(self.read(*find_mitdb()) if self is MITDB else self.read(SAMPLE_FOLDER, "records"))


DATA = settings.REPOSITORY / "data"
# For the quick profile: some of each class, and both records of the one person who is in both halves (201 and 202).
FEW = tuple(map(str, (106, 112, 118, 119, 201, 208, 209, 223, 100, 117, 200, 202, 213, 222, 228, 232)))
MITDB = WfdbRecords("mitdb", DS1, DS2, DATA / "mitdb.sha256", FEW)
SAMPLE_FOLDER = DATA / "heartbeats_sample"
SAMPLE = WfdbRecords(
    "heartbeats_sample",
    tuple(f"p{number:02}" for number in range(1, 9)),
    tuple(f"p{number:02}" for number in range(9, 17)),
    DATA / "heartbeats_sample.sha256",
)


def load_heartbeats(*, source: str = "any") -> Patients:
    """Return the 44 records without a pacemaker, 22 and 22 as de Chazal et al. divided them, or the sample.

    Sources as in :func:`sources.load`. Prints what was found. Raises DataUnavailable where the full set is needed and
    cannot be had, DataError where what is there is broken, ValueError for another source.
    """
    patients = sources.full_or_sample(
        source,
        lambda: MITDB.read(*find_mitdb(), few=settings.current().profile == "quick"),
        lambda: SAMPLE.read(SAMPLE_FOLDER, "synthesised records"),
        "16 records that this project synthesised instead of MIT-BIH",
    )
    print(patients)
    return patients


def find_mitdb() -> tuple[Path, str]:
    """Return the folder of MIT-BIH and a line on where it came from: the mirror, an earlier download, or ``wfdb``.

    Raises DataUnavailable where none of them has it, DataError where what was downloaded is broken.
    """
    folder, source = sources.find(MITDB.name, MITDB.name, _download_mitdb)
    return folder / MITDB.name, source


def _download_mitdb(folder: Path) -> None:
    """Download MIT-BIH into ``folder``, verified before it appears there. Raises as :func:`find_mitdb`."""
    import wfdb

    target = folder / MITDB.name
    try:
        with sources.workspace(target, folder) as place:
            sources.reach(*MITDB.addresses())
            names = (*MITDB.train, *MITDB.test)
            with contextlib.redirect_stdout(io.StringIO()):
                # Not dl_database (wfdb 4.3): it fetches a .dat once for each lead, at the same time, and may double it.
                wfdb.dl_files(MITDB.name, str(place), [f"{name}{end}" for name in names for end in SUFFIXES])
            MITDB.read(place, "mitdb")
            place.replace(target)
    except DataUnavailable:
        raise
    except DataError as error:
        reason = str(error).removeprefix(f"{place}/").split(". Delete")[0]
        advice = "Try again later, or set COURSE_DATA_DIR to a folder that holds mitdb/."
        raise DataError(f"what was downloaded is broken ({reason}); nothing was kept. {advice}") from error
    except Exception as error:  # wfdb lets its HTTP library's exceptions through
        raise sources.not_downloaded(error, copy="a folder that holds mitdb/") from error


def read_record(path: Path, *, lead: str = LEAD) -> Record:
    """Read and check a WFDB record: ``path`` without extension; header, signal and reference annotations (``.atr``).

    The lead is chosen by its name, since its place differs. Raises DataError naming the file where it is missing,
    truncated or does not fit the header, at another sampling rate, flat, or annotated with an unknown symbol.
    """
    import wfdb

    for suffix in SUFFIXES:
        if not path.with_suffix(suffix).is_file():
            raise _broken(path.with_suffix(suffix), "it is missing")
    try:
        header = wfdb.rdheader(str(path))
    except Exception as error:  # wfdb raises whatever its parsers do
        raise _broken(path.with_suffix(".hea"), f"it cannot be read as a header ({error})") from error
    if header.fs != SAMPLING_RATE:
        raise _broken(path.with_suffix(".hea"), f"{header.fs} samples a second; the course needs {SAMPLING_RATE}")
    if missing := [part for part in ("sig_len", "sig_name", "checksum") if _lacks(header, part)]:
        raise _broken(path.with_suffix(".hea"), f"it is incomplete, or no header of one record: no {missing[0]}")
    if {*header.file_name} != {f"{path.name}.dat"} or {*header.fmt} != {"212"} or {*header.units} != {"mV"}:
        found = f"{', '.join(header.file_name)} in format {', '.join(header.fmt)}, {', '.join(header.units)}"
        raise _broken(path.with_suffix(".hea"), f"it describes {found}; it must be {path.name}.dat in format 212, mV")
    if lead not in header.sig_name:
        raise _broken(path.with_suffix(".hea"), f"it has no lead {lead}, but {', '.join(header.sig_name)}")
    channel = header.sig_name.index(lead)
    digital = _read_signal(path, header, channel)
    if (digital == -(2**11)).any():  # how format 212 writes that there is no value
        raise _broken(path.with_suffix(".dat"), f"lead {lead} has gaps (NaN), the first at sample {digital.argmin():,}")
    signal = (digital - header.baseline[channel]).astype(np.float32) / np.float32(header.adc_gain[channel])
    if (start := _flat_stretch(digital)) is not None:
        seconds = LONGEST_FLAT // SAMPLING_RATE
        raise _broken(path.with_suffix(".dat"), f"lead {lead} is flat for {seconds} s or more from sample {start:,}")
    positions, symbols = _read_annotations(path.with_suffix(".atr"), len(signal))
    return Record(path.name, lead, signal, positions, symbols)


def _lacks(header: Any, part: str) -> bool:
    """Return whether wfdb found no such ``part`` in the header, or not for every lead."""
    found = getattr(header, part, None)
    return found is None or (isinstance(found, list) and None in found)


def _read_signal(path: Path, header: Any, channel: int) -> NDArray[np.int64]:
    """Return one channel's samples as they are in the file, held against length and checksum in the header."""
    import wfdb

    file = path.with_suffix(".dat")
    expected = -(-header.sig_len * header.n_sig * 3 // 2)  # format 212: two samples in three bytes
    if file.stat().st_size != expected:
        size = f"{file.stat().st_size:,} bytes, and its header promises {expected:,}"
        raise _broken(file, f"it is truncated or its header is another's: {size}")
    try:
        digital = wfdb.rdrecord(str(path), physical=False).d_signal
    except Exception as error:
        raise _broken(file, f"it cannot be read ({error})") from error
    for name, sums, promised in zip(header.sig_name, digital.sum(axis=0), header.checksum, strict=True):
        if (int(sums) - promised) % 2**16:
            raise _broken(file, f"it disagrees with its header: wrong checksum of lead {name}")
    return digital[:, channel]


def _flat_stretch(digital: NDArray[np.int64]) -> int | None:
    """Return where the first stretch of ``LONGEST_FLAT`` equal samples begins, or None."""
    changes = np.concatenate([[0], np.flatnonzero(np.diff(digital)) + 1, [len(digital)]])
    long = np.flatnonzero(np.diff(changes) >= min(LONGEST_FLAT, len(digital)))
    return int(changes[long[0]]) if len(long) else None


def _read_annotations(file: Path, samples: int) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Return positions and symbols of the beats in ``file``; what marks no beat is left out."""
    import wfdb

    try:
        annotations = wfdb.rdann(str(file.with_suffix("")), "atr")
    except Exception as error:
        raise _broken(file, f"it cannot be read as annotations ({error})") from error
    symbols, positions = np.array(annotations.symbol, dtype=np.str_), np.asarray(annotations.sample, np.int64)
    known = set("".join(CLASSES.values()) + NOT_A_BEAT)
    if unknown := sorted(set(symbols) - known):
        place = positions[symbols == unknown[0]][0]
        found = f"unknown symbol {str(unknown[0])!r} at sample {place:,}"
        raise _broken(file, f"{found}; known are {' '.join(sorted(known))}")
    if len(positions) and not 0 <= positions.min() <= positions.max() < samples:
        raise _broken(file, f"it marks sample {positions.max():,}, and the signal has {samples:,}")
    beats = ~np.isin(symbols, list(NOT_A_BEAT))
    if not beats.any():
        raise _broken(file, "it marks no beat")
    return positions[beats], symbols[beats]


def filtered(record: Record, *, low: float = 0.5, high: float = 40.0, rate: int = 120) -> Record:
    """Return the record without wander below ``low`` and noise above ``high`` (Hz), at ``rate`` samples a second.

    A Butterworth filter runs over the signal forwards and backwards, so nothing moves in time. Positions stay those of
    the original. Raises ValueError where ``rate`` does not divide the record's, or cannot hold ``high``.
    """
    from scipy import signal

    if rate < 2 * high or record.rate % rate:
        raise ValueError(f"filtered(rate={rate}): it must divide {record.rate:g} and be at least {2 * high:g}.")
    sections = signal.butter(3, (low, high), "bandpass", fs=record.rate, output="sos")
    smooth = signal.sosfiltfilt(sections, record.signal)[:: int(record.rate // rate)]
    return replace(record, signal=smooth.astype(np.float32), rate=rate)


def cut_beats(records: Iterable[Record], *, before: float, after: float) -> Beats:
    """Cut a window around every beat, from ``before`` to ``after`` seconds, all beats of a record in one step.

    A beat whose window would leave its record is left out, and a line says how many and of which class.
    """
    parts, left_out = [], Counter[str]()
    for record in records:
        centres = np.rint(record.positions * record.rate / SAMPLING_RATE).astype(np.int64)
        first, length = centres - round(before * record.rate), round((before + after) * record.rate)
        inside = (first >= 0) & (first + length <= len(record.signal))
        left_out.update(np.array(list(CLASSES))[record.labels[~inside]].tolist())
        windows = sliding_window_view(record.signal, length)[first[inside], :, np.newaxis]
        names = np.full(inside.sum(), record.name)
        parts.append((windows, rhythm(record)[inside], record.labels[inside], names, record.positions[inside]))
    if left_out:
        classes = ", ".join(f"{count} {name}" for name, count in left_out.items())
        print(f"left out, too near to an end of their record: {left_out.total()} beats ({classes})")
    return Beats(*map(np.concatenate, zip(*parts, strict=True)))


def rhythm(record: Record) -> NDArray[np.float32]:
    """Return for each beat how early it came and how long the next one waits, float32 (beats, 4).

    Logarithms of the interval before and of that after, each over the median of the ten intervals before the beat,
    then each over the median of the whole record: 0 for an even pulse, −0.7 for half the interval. No labels are used,
    and nothing of other patients. A missing interval, at an end, counts as the record's median. The intervals are those
    of de Chazal et al. (2004, section III-C); the ratios make hearts of different speed comparable.
    """
    intervals = np.diff(record.positions)
    overall = np.median(intervals) if len(intervals) else float(SAMPLING_RATE)
    before, after = np.concatenate([[overall], intervals]), np.concatenate([intervals, [overall]])
    earlier = sliding_window_view(np.concatenate([np.full(LOCAL, np.nan), before[:-1]]), LOCAL)
    earlier = np.where(np.isnan(earlier), overall, earlier)
    local = np.median(earlier, axis=1)
    return np.log([before / local, after / local, before / overall, after / overall]).T.astype(np.float32)


def from_median_beat(beats: Beats) -> Beats:
    """Return the beats with each patient's median beat taken away: what is unusual for this heart remains.

    The median of all beats of a patient needs no label, only a patient whose beats are mostly normal. In record 232 of
    MIT-BIH they are not: there, what is usual is not what is normal.
    """
    windows = beats.windows.copy()
    for patient in np.unique(beats.patients):
        own = beats.patients == patient
        windows[own] -= np.median(windows[own], axis=0)
    return replace(beats, windows=windows)


def _broken(path: Path, what: str) -> DataError:
    if path.parent == SAMPLE_FOLDER:
        return DataError(f"{path}: {what}. Restore it: git checkout data")
    return DataError(f"{path}: {what}. Delete {path.parent} and fetch it again with `course data download mitdb`.")
