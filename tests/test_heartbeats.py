"""Heartbeats: records whole or refused, their download, a filter that moves nothing, and a window around each beat."""

from __future__ import annotations

import csv
import functools
import re
import shutil
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wfdb
from numpy.typing import NDArray
from test_sources import server
from wfdb.io import download

from course_lib.datasets import DataError, DataUnavailable, heartbeats
from course_lib.datasets.heartbeats import (
    CLASSES,
    DS1,
    DS2,
    LEAD,
    MITDB,
    SAMPLE,
    SAMPLE_FOLDER,
    SAMPLING_RATE,
    Beats,
    Patients,
    Record,
    cut_beats,
    filtered,
    find_mitdb,
    from_median_beat,
    read_record,
    rhythm,
)
from course_lib.datasets.heartbeats import load_heartbeats as load

# Beats of each class, N, S, V, F and Q, in the halves of de Chazal et al.
PUBLISHED = {"train": [45_866, 944, 3_788, 415, 8], "test": [44_259, 1_837, 3_221, 388, 7]}
HALVES = pytest.mark.parametrize("half", ["train", "test"])
WINDOW = {"before": 0.3, "after": 0.3}
SMALL = {"train": ("p01", "p02", "p07"), "test": ("p09", "p10")}
NAMES = [name for half in SMALL.values() for name in half]
REMEDY = r".*Delete .*mirror/mitdb and fetch it again with `course data download mitdb`\.$"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_settings: None) -> None:
    """No mirror, no earlier download, no network, quick profile, unless a test says otherwise."""
    for name in ("COURSE_DATA_DIR", "COURSE_SEED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("COURSE_PROFILE", "quick")


# MIT-BIH


@functools.cache
def whole(mirror: Path) -> Patients:
    return MITDB.read(mirror / "mitdb", "mirror")


def left_out(printed: str) -> list[int]:
    """Return how many beats of each class the line of ``cut_beats`` names."""
    found = {name: int(count) for count, name in re.findall(r"(\d+) ([NSVFQ])\b", printed)}
    total = re.match(r"left out, too near to an end of their record: (\d+) beats", printed)
    assert total is None or int(total[1]) == sum(found.values())
    return [found.get(name, 0) for name in CLASSES]


@pytest.mark.real_data
def test_mirror_is_read_whole(
    mirror: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COURSE_DATA_DIR", str(mirror))
    monkeypatch.setenv("COURSE_PROFILE", "full")
    data = load()
    assert [tuple(record.name for record in half) for half in (data.train, data.test)] == [DS1, DS2]
    assert {record.lead for record in (*data.train, *data.test)} == {"MLII"}
    assert {(record.signal.shape, record.signal.dtype.name) for record in data.train} == {((650_000,), "float32")}
    assert str(data) == (
        "mitdb from the local mirror (COURSE_DATA_DIR): "
        "22 training records with 51,021 beats, 22 test records with 49,712 beats"
    )
    assert capsys.readouterr().out == f"{data}\n" and MITDB.report() == str(data)


@pytest.mark.real_data
def test_quick_profile_reads_few_patients_of_each_half(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_DATA_DIR", str(mirror))
    data = load()
    names = [[record.name for record in half] for half in (data.train, data.test)]
    assert [len(half) for half in names] == [8, 8] and {*names[0], *names[1]} == {*MITDB.few}
    assert {*names[0]} <= {*DS1} and {*names[1]} <= {*DS2}
    for half in (data.train, data.test):
        assert np.bincount(np.concatenate([record.labels for record in half]), minlength=5)[:4].min() > 100


@pytest.mark.real_data
@HALVES
@pytest.mark.parametrize("rate", [360, 120])
def test_counts_are_the_published_ones(mirror: Path, half: str, rate: int, capsys: pytest.CaptureFixture[str]) -> None:
    records: list[Record] = list(getattr(whole(mirror), half))
    if rate != SAMPLING_RATE:
        records = [replace(record, signal=record.signal[::3], rate=rate) for record in records]
    beats = cut_beats(records, **WINDOW)
    missing = left_out(capsys.readouterr().out)
    assert 0 < sum(missing) < 2 * len(records)
    assert (np.bincount(beats.labels, minlength=5) + missing).tolist() == PUBLISHED[half]
    assert beats.windows.shape == (len(beats), rate * 6 // 10, 1) and beats.windows.dtype == np.float32


@pytest.mark.real_data
def test_symbols_of_each_record_are_those_of_the_table_beside_the_mirror(mirror: Path) -> None:
    with (mirror / "mitdb_counts.csv").open(newline="", encoding="utf-8") as lines:
        rows = {row["record"]: row for row in csv.DictReader(lines)}
    records = (*whole(mirror).train, *whole(mirror).test)
    assert len(records) == 44
    for record in records:
        expected = {symbol: int(rows[record.name][symbol]) for symbol in "".join(CLASSES.values())}
        assert Counter(record.symbols.tolist()) == Counter(expected), record.name


@pytest.mark.real_data
def test_signals_are_those_of_wfdb(mirror: Path) -> None:
    for record in (*whole(mirror).train, *whole(mirror).test):
        theirs = wfdb.rdrecord(str(mirror / "mitdb" / record.name))
        place = theirs.sig_name.index("MLII")
        assert place == (1 if record.name == "114" else 0), record.name
        assert np.array_equal(record.signal, theirs.p_signal[:, place].astype(np.float32)), record.name


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["102", "104"])
def test_lead_that_a_patient_has_not_is_named_with_those_that_are_there(mirror: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"{name}\.hea: it has no lead MLII, but V5, V2\."):
        read_record(mirror / "mitdb" / name)
    assert read_record(mirror / "mitdb" / name, lead="V2").lead == "V2"


@pytest.mark.real_data
def test_checksums_are_those_of_the_release(mirror: Path) -> None:
    ours, theirs = (
        {tuple(line.split()) for line in path.read_text().splitlines()}
        for path in (MITDB.sums, mirror / "mitdb/SHA256SUMS.txt")
    )
    assert ours <= theirs
    assert {name for _, name in ours} >= {
        f"{name}.{ending}" for name in (*DS1, *DS2) for ending in ("hea", "dat", "atr")
    }


@pytest.mark.real_data
def test_all_windows_are_there_within_five_seconds(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load, check, filter and cut 44 records in less than 5 s of processor time, of all threads together.

    On a machine with nothing else to do, with the files in its cache, that bounds the time on the clock. Here the
    clock would count what others do on the same cores; processor time does not, though shared caches slow it a
    little. So the best of three runs counts.
    """
    monkeypatch.setenv("COURSE_DATA_DIR", str(mirror))
    monkeypatch.setenv("COURSE_PROFILE", "full")
    taken = []
    for _ in range(3):
        start = time.process_time()
        data = load()
        beats = cut_beats([filtered(record) for record in (*data.train, *data.test)], **WINDOW)
        taken.append(time.process_time() - start)
        assert len(beats) > 100_000
        if taken[-1] < 5:
            return
    pytest.fail(f"seconds of processor time: {taken}")


def cut_in_a_loop(records: list[Record], before: int, after: int) -> tuple[NDArray, list[str], list[str], list[int]]:
    """Cut windows as one would first write it, in samples; return windows, symbols, patients and positions."""
    windows, symbols, patients, positions = [], [], [], []
    for record in records:
        for position, symbol in zip(record.positions, record.symbols, strict=True):
            middle = round(position * record.rate / 360)
            if middle >= before and middle + after <= len(record.signal):
                windows.append(record.signal[middle - before : middle + after])
                symbols.append(str(symbol))
                patients.append(record.name)
                positions.append(int(position))
    return np.stack(windows)[..., None], symbols, patients, positions


def check_against_a_loop(records: list[Record]) -> None:
    for some in (records, [filtered(record) for record in records]):
        beats = cut_beats(some, before=0.25, after=0.35)
        rate = int(some[0].rate)
        windows, symbols, patients, positions = cut_in_a_loop(some, rate // 4, rate * 35 // 100)
        assert np.array_equal(beats.windows, windows)
        kinds = [list(CLASSES.values())[label] for label in beats.labels]
        assert all(symbol in kind for symbol, kind in zip(symbols, kinds, strict=True))
        assert beats.patients.tolist() == patients and beats.positions.tolist() == positions
        assert beats.labels.dtype == np.int32


@pytest.mark.real_data
def test_windows_of_the_mirror_are_those_of_a_loop(mirror: Path) -> None:
    check_against_a_loop([*whole(mirror).train, *whole(mirror).test])


def test_windows_of_the_sample_are_those_of_a_loop() -> None:
    data = SAMPLE.read(SAMPLE_FOLDER, "sample")
    check_against_a_loop([*data.train, *data.test])


# Faults


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five records of the sample as a MIT-BIH of their own, whole, in a mirror; to be broken."""
    place = tmp_path / "mirror" / "mitdb"
    copy_records(place)
    monkeypatch.setenv("COURSE_DATA_DIR", str(place.parent))
    monkeypatch.setattr(heartbeats, "MITDB", replace(MITDB, **SMALL, sums=SAMPLE.sums, few=()))
    return place


def copy_records(place: Path) -> None:
    place.mkdir(parents=True)
    for name in NAMES:
        for path in SAMPLE_FOLDER.glob(f"{name}.*"):
            shutil.copyfile(path, place / path.name)


def test_small_set_is_read(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load()
    assert [tuple(record.name for record in half) for half in (data.train, data.test)] == list(SMALL.values())
    assert capsys.readouterr().out == f"{data}\n"
    for record in (*data.train, *data.test):
        theirs = wfdb.rdrecord(str(small / record.name))
        place = theirs.sig_name.index("MLII")
        assert place == (1 if record.name == "p07" else 0)
        assert np.array_equal(record.signal, theirs.p_signal[:, place].astype(np.float32))


def shorten(name: str, keep: int) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:keep])

    return cut


def put(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def copy(source: str, target: str) -> Callable[[Path], object]:
    return lambda folder: shutil.copyfile(folder / source, folder / target)


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def edit(old: str, new: str, name: str = "p02.hea") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def flip(name: str, place: int) -> Callable[[Path], None]:
    """Change one bit; a negative place counts from the end."""

    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1
        (folder / name).write_bytes(bytes(content))

    return change


def annotate(positions: list[int], symbols: list[str]) -> Callable[[Path], None]:
    return lambda folder: wfdb.wrann("p02", "atr", np.array(positions), symbols, write_dir=str(folder))


def undefined_symbol(folder: Path) -> None:
    """Make the third annotation one whose code the format leaves undefined. A word has a code in its upper six bits."""
    words = np.frombuffer((folder / "p02.atr").read_bytes(), "<u2").copy()
    beats = np.flatnonzero(words >> 10 == 1)
    words[beats[2]] = 45 << 10 | words[beats[2]] & 1023
    (folder / "p02.atr").write_bytes(words.tobytes())


def resample(change: Callable[[NDArray], None]) -> Callable[[Path], None]:
    """Write a record again, whole, header and checksums included, with other samples: (n, 2), MLII first."""

    def write(folder: Path) -> None:
        record = wfdb.rdrecord(str(folder / "p02"), physical=False)
        change(record.d_signal)
        record.set_d_features(do_adc=False)
        record.checksum = record.calc_checksum()
        record.wrsamp(write_dir=str(folder))

    return write


def gap(samples: NDArray) -> None:
    samples[5_000:5_010, 0] = -2048


def flat(samples: NDArray) -> None:
    samples[5_000 : 5_000 + 10 * SAMPLING_RATE, 0] = 1_000


def all_flat(samples: NDArray) -> None:
    samples[:, 0] = 1_000


BARE = "p02.dat 212 200(1024)/mV 11 1024"  # a lead's line, to which first sample, checksum, size and name belong
ANOTHER = r"p02\.hea: it describes {}; it must be p02\.dat in format 212, mV\."
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated signal": (
        shorten("p02.dat", 1_000),
        r"p02\.dat: it is truncated or its header is another's: 1,000 bytes, and its header promises 324,000\.",
    ),
    "empty signal": (put("p02.dat", b""), r"p02\.dat: it is truncated or.*: 0 bytes, and its header promises 324,000"),
    "one byte short": (shorten("p02.dat", 323_999), r"p02\.dat: it is truncated or.*: 323,999 bytes"),
    "wrong length": (edit("108000", "107000"), r"p02\.dat: .* 324,000 bytes, and its header promises 321,000\."),
    "wrong checksum": (
        lambda folder: edit(f" {wfdb.rdheader(str(folder / 'p02')).checksum[0]} ", " 5 ")(folder),
        r"p02\.dat: it disagrees with its header: wrong checksum of lead MLII\.",
    ),
    "signal of another": (
        copy("p01.dat", "p02.dat"),
        r"p02\.dat: it disagrees with its header: wrong checksum of lead",
    ),
    "one bit of the signal": (
        flip("p02.dat", 150_000),
        r"p02\.dat: it disagrees with its header: wrong checksum of lead MLII\.",
    ),
    "no signal": (remove("p02.dat"), r"p02\.dat: it is missing\."),
    "no header": (remove("p02.hea"), r"p02\.hea: it is missing\."),
    "no annotations": (remove("p02.atr"), r"p02\.atr: it is missing\."),
    "empty header": (put("p02.hea", b""), r"p02\.hea: it cannot be read as a header"),
    "page for a header": (put("p02.hea", b"<html>\n<p>not found</p>\n"), r"p02\.hea: it cannot be read as a header"),
    "header cut in a line": (shorten("p02.hea", 45), r"p02\.hea: it is incomplete, .*: no sig_name\."),
    "header without length": (edit(" 108000", ""), r"p02\.hea: it is incomplete, .*: no sig_len\."),
    "header without leads": (put("p02.hea", b"p02 0 360 108000\n"), r"p02\.hea: it is incomplete, .*: no sig_name\."),
    "header without checksums": (
        put("p02.hea", f"p02 2 360 108000\n{BARE}\n{BARE}\n".encode()),
        r"p02\.hea: it is incomplete, or no header of one record: no ",
    ),
    "header of several records": (
        put("p02.hea", b"p02/2 2 360 216000\np01 108000\np07 108000\n"),
        r"p02\.hea: it is incomplete, or no header of one record: no sig_name\.",
    ),
    "header of another": (copy("p01.hea", "p02.hea"), ANOTHER.format(r"p01\.dat, p01\.dat in format 212, 212, mV, mV")),
    "format 16": (edit(" 212 ", " 16 "), ANOTHER.format(r"p02\.dat, p02\.dat in format 16, 16, mV, mV")),
    "microvolts": (edit("/mV", "/uV"), ANOTHER.format(r"p02\.dat, p02\.dat in format 212, 212, uV, uV")),
    "250 Hz": (edit(" 360 ", " 250 "), r"p02\.hea: 250 samples a second; the course needs 360\."),
    "no MLII": (edit("MLII", "V2"), r"p02\.hea: it has no lead MLII, but V2, V1\."),
    "gap": (resample(gap), r"p02\.dat: lead MLII has gaps \(NaN\), the first at sample 5,000\."),
    "flat for 10 s": (resample(flat), r"p02\.dat: lead MLII is flat for 10 s or more from sample 5,000\."),
    "flat all over": (resample(all_flat), r"p02\.dat: lead MLII is flat for 10 s or more from sample 0\."),
    "unknown symbol": (
        annotate([100, 400, 900], ["N", "B", "N"]),
        r"p02\.atr: unknown symbol 'B' at sample 400; known are .*N.*\.",
    ),
    "undefined symbol": (undefined_symbol, r"p02\.atr: unknown symbol 'nan' at sample [\d,]+; known are"),
    "annotation beyond the signal": (
        annotate([100, 108_000], ["N", "N"]),
        r"p02\.atr: it marks sample 108,000, and the signal has 108,000\.",
    ),
    "no beats": (annotate([100, 400], ["+", "~"]), r"p02\.atr: it marks no beat\."),
    "empty annotations": (put("p02.atr", b""), r"p02\.atr: it marks no beat\."),
    "annotations cut in a word": (shorten("p02.atr", 101), r"p02\.atr: it cannot be read as annotations"),
    "annotations cut between words": (
        shorten("p02.atr", 100),
        r"p02\.atr: wrong checksum: it is not the file of mitdb",
    ),
    "annotations of another": (copy("p01.atr", "p02.atr"), r"p02\.atr: wrong checksum: it is not the file of mitdb\."),
    "one byte of a comment": (
        edit("Not a person", "Not b person"),
        r"p02\.hea: wrong checksum: it is not the file of mitdb\.",
    ),
    "another signal, whole": (
        resample(lambda samples: samples.__iadd__(1)),
        r"p02\.hea: wrong checksum: it is not the file of mitdb\.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named_with_its_file_and_a_remedy(small: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One of five records is bad: the whole load fails, is not taken for data that are absent, and prints nothing."""
    damage, message = FAULTS[fault]
    damage(small)
    with pytest.raises(DataError, match=f"^.*/mirror/mitdb/{message}{REMEDY}") as caught:
        load()
    assert not isinstance(caught.value, DataUnavailable) and capsys.readouterr().out == ""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".hea", ".dat", ".atr"])
def test_one_changed_bit_in_any_file_is_refused(small: Path, name: str, suffix: str) -> None:
    flip(f"{name}{suffix}", -20)(small)
    with pytest.raises(DataError, match=rf"{name}\{suffix}: .*course data download mitdb"):
        load()


def test_bad_record_among_many_fails_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 16, the bad one last, and 16 that are read in several threads."""
    folder = tmp_path / "mirror" / "mitdb"
    shutil.copytree(SAMPLE_FOLDER, folder)
    monkeypatch.setenv("COURSE_DATA_DIR", str(folder.parent))
    monkeypatch.setattr(heartbeats, "MITDB", replace(SAMPLE, name="mitdb"))
    assert len(load().test) == 8
    shorten("p16.dat", 300_000)(folder)
    with pytest.raises(DataError, match=r"p16\.dat: it is truncated"):
        load()


def test_stretch_that_is_flat_for_less_than_ten_seconds_is_let_be(small: Path) -> None:
    def nearly(samples: NDArray) -> None:
        flat(samples)
        samples[5_000, 0] += 1

    resample(nearly)(small)
    assert read_record(small / "p02").signal[5_001] == np.float32((1_000 - 1_024) / 200)


def test_last_sample_may_hold_a_beat_and_what_marks_none_is_left_out(small: Path) -> None:
    annotate([5, 100, 200, 300, 107_999], ["+", "N", "~", "|", "V"])(small)
    record = read_record(small / "p02")
    assert record.positions.tolist() == [100, 107_999] and record.labels.tolist() == [0, 2]


def test_broken_sample_is_refused_with_another_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "heartbeats_sample"
    shutil.copytree(SAMPLE_FOLDER, folder)
    monkeypatch.setattr(heartbeats, "SAMPLE_FOLDER", folder)
    flip("p03.hea", -20)(folder)
    with pytest.raises(
        DataError, match=r"p03\.hea: wrong checksum: it is not .*heartbeats_sample\. Restore it: git ch"
    ):
        load()


# Sources


def test_sample_is_used_and_announced_where_there_is_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    data = load()
    announced, summary = capsys.readouterr().out.splitlines()
    assert announced.startswith("Using the sample that ships, 16 records that this project synthesised instead of MIT-")
    assert "numbers will differ from the text" in announced and "COURSE_OFFLINE=1 forbids a download" in announced
    assert summary == str(data) and data.source == "synthesised records"
    assert [tuple(record.name for record in half) for half in (data.train, data.test)] == [SAMPLE.train, SAMPLE.test]
    assert SAMPLE.report().startswith("records: 8 training records with ")


def test_sample_can_be_asked_for(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(load(source="sample").train) == 8
    assert "(you asked for the sample)" in capsys.readouterr().out
    assert len(load(source="full").train) == 3


def test_full_profile_never_falls_back_on_the_sample(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataUnavailable, match=r"mitdb is not in the download folder.*COURSE_PROFILE=quick"):
        load(source="full")
    monkeypatch.setenv("COURSE_PROFILE", "full")
    with pytest.raises(DataUnavailable, match=r"mitdb is not in the download folder.*COURSE_PROFILE=quick"):
        load()
    assert capsys.readouterr().out == ""


def test_unknown_source_is_refused() -> None:
    with pytest.raises(ValueError, match="'any', 'full' or 'sample'"):
        load(source="mitdb")


def test_mirror_without_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    with pytest.raises(
        DataUnavailable, match=r"not in the local mirror \(COURSE_DATA_DIR\), the download folder.*OFFL"
    ):
        find_mitdb()


def test_no_patient_is_in_both_halves() -> None:
    """But for one subject, of whom the database has records 201 and 202."""
    assert len({*DS1, *DS2}) == 44 and not {*DS1, *DS2} & {"102", "104", "107", "217"}


# Download


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The small set in the layout of PhysioNet, served where wfdb looks for it; the folder of the files."""
    files, pages = tmp_path / "published/files/mitdb/1.0.0", tmp_path / "published/content/mitdb"
    copy_records(files)
    (files / "ANNOTATORS").write_text("atr\treference beat annotations\n")
    (pages / "1.0.0").mkdir(parents=True)
    (pages / "index.html").write_text("<p>\nVersion: 1.0.0</p>\n")
    with server(tmp_path / "published") as address:
        monkeypatch.setattr(heartbeats, "ADDRESS", address)
        monkeypatch.setattr(download.config, "db_index_url", f"{address}files/")
        monkeypatch.setattr(download, "PN_CONTENT_URL", f"{address}content/")
        monkeypatch.setattr(heartbeats, "MITDB", replace(MITDB, **SMALL, sums=SAMPLE.sums, few=()))
        monkeypatch.setenv("COURSE_OFFLINE", "0")
        yield files


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def test_download_comes_whole_and_is_found_again(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache/incomplete-earlier/mitdb").mkdir(parents=True)
    data = load()
    assert data.source == "mitdb, downloaded" and capsys.readouterr().out == f"{data}\n"
    assert left_in(tmp_path / "cache") == ["mitdb"]
    for path in (tmp_path / "cache/mitdb").iterdir():
        assert path.read_bytes() == (published / path.name).read_bytes()
    assert len(left_in(tmp_path / "cache/mitdb")) == 3 * len(NAMES)
    again = load()
    assert again.source == "mitdb from the download folder"
    assert np.array_equal(again.test[1].signal, data.test[1].signal)


def test_quick_profile_downloads_and_checks_what_it_does_not_read(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "MITDB", replace(heartbeats.MITDB, few=("p01", "p09")))
    data = load()
    assert [record.name for record in (*data.train, *data.test)] == ["p01", "p09"]
    assert len(left_in(tmp_path / "cache/mitdb")) == 3 * len(NAMES)
    shutil.rmtree(tmp_path / "cache")
    shorten("p10.dat", 1_000)(published)
    with pytest.raises(DataError, match=r"p10\.dat"):
        load()
    assert left_in(tmp_path / "cache") == []


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (shorten("p07.dat", 1_000), r"p07\.dat: it is truncated"),
    "changed": (flip("p10.hea", -20), r"p10\.hea: wrong checksum"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_download_leaves_nothing(published: Path, tmp_path: Path, fault: str) -> None:
    damage, message = BROKEN[fault]
    damage(published)
    start = r"^mitdb is not in the download folder, and what was downloaded is broken"
    with pytest.raises(DataError, match=rf"{start} \({message}[^.]*\); nothing was kept\. Try again later") as caught:
        load()
    assert not isinstance(caught.value, DataUnavailable) and "incomplete-" not in str(caught.value)
    assert left_in(tmp_path / "cache") == []


@pytest.mark.parametrize("name", ["p09.atr", "p10.dat"])
def test_server_without_a_file_leaves_nothing(published: Path, tmp_path: Path, name: str) -> None:
    remove(name)(published)
    with pytest.raises(
        DataUnavailable, match=r"could not be downloaded \(NetFileNotFoundError: .*\); nothing was kept"
    ):
        load(source="full")
    assert left_in(tmp_path / "cache") == []


def test_no_network_leaves_nothing(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(DataUnavailable, match=r"not in the download folder.*could not be downloaded.*nothing was kept"):
        find_mitdb()
    assert left_in(tmp_path / "cache") == []
    assert load().source == "synthesised records" and "could not be downloaded" in capsys.readouterr().out


def test_unwritable_folder_is_named(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("a file where a folder is wanted")
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(DataUnavailable, match=r"cannot be written.*COURSE_CACHE_DIR"):
        find_mitdb()


# The filter


def record_of(signal: NDArray, positions: list[int] | None = None, symbols: str = "", rate: float = 360) -> Record:
    places = [100, 400, 700] if positions is None else positions
    return Record(
        "some", LEAD, signal.astype(np.float32), np.array(places), np.array(list(symbols or "N" * len(places))), rate
    )


def gain(frequency: float, rate: int) -> float:
    """Return by how many decibels a sine changes, away from the ends; both phases, since 60 Hz at 120 has no other."""
    time_ = np.arange(120 * SAMPLING_RATE) / SAMPLING_RATE
    power = {"before": 0.0, "after": 0.0}
    for phase in (0, np.pi / 2):
        wave = np.sin(2 * np.pi * frequency * time_ + phase)
        smooth = filtered(record_of(wave), rate=rate).signal
        for name, part in (("before", wave), ("after", smooth)):
            power[name] += np.mean(part[len(part) // 4 : -len(part) // 4] ** 2)
    return float(10 * np.log10(power["after"] / power["before"]))


@pytest.mark.parametrize("rate", [120, 360])
def test_filter_removes_wander_and_mains_and_leaves_the_heart(rate: int) -> None:
    for removed in (0.1, 60, 80, 100, 150):  # at 120 samples a second, 80, 100 and 150 Hz would come back as 40, 20, 30
        assert gain(removed, rate) < -20, removed
    for kept in (2, 5, 10, 20):
        assert abs(gain(kept, rate)) < 0.5, kept


def test_filter_removes_an_offset() -> None:
    smooth = filtered(record_of(np.full(60 * SAMPLING_RATE, 0.7))).signal
    assert np.abs(smooth).max() < 0.01


@pytest.mark.parametrize("rate", [120, 360])
def test_filter_moves_nothing_in_time(rate: int) -> None:
    """A pulse as narrow as an R wave keeps its place and its symmetry."""
    step = SAMPLING_RATE // rate
    peaks = [3_000, 5_001, 7_200]
    grid = np.arange(10_800)
    pulses = sum(np.exp(-(((grid - peak) / (0.011 * SAMPLING_RATE)) ** 2) / 2) for peak in peaks)
    record = record_of(pulses, peaks)
    smooth = filtered(record, rate=rate)
    assert smooth.rate == rate and len(smooth.signal) == len(pulses) // step
    assert smooth.positions is record.positions and record.signal[3_000] == 1
    for peak in peaks:
        middle = peak // step
        near = smooth.signal[middle - 50 // step : middle + 50 // step + 1]
        assert near.argmax() == len(near) // 2 and 0.6 < near.max() < 1
        assert np.abs(near - near[::-1]).max() < 0.01


@pytest.mark.parametrize("rate", [100, 240, 60, 720, 0, -120])
def test_rate_that_cannot_be_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match=rf"filtered\(rate={rate}\): it must divide 360 and be at least 80\."):
        filtered(record_of(np.zeros(1_000)), rate=rate)


# The windows


def counted(positions: list[int], symbols: str, rate: float = 360, length: int = 1_000) -> Record:
    """A record whose samples are their own numbers."""
    return record_of(np.arange(length), positions, symbols, rate)


def test_beats_whose_window_leaves_the_record_are_reported_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A window of 36 samples before and 72 from R on: the first whole one has R at 36, the last at 928."""
    beats = cut_beats([counted([35, 36, 500, 928, 929, 999], "VNAFFN")], before=0.1, after=0.2)
    assert beats.positions.tolist() == [36, 500, 928] and beats.labels.tolist() == [0, 1, 3]
    assert beats.windows[:, 0, 0].tolist() == [0, 464, 892] and beats.windows[:, -1, 0].tolist() == [107, 571, 999]
    assert beats.rhythm.shape[0] == 3
    printed = capsys.readouterr().out
    assert printed.startswith("left out, too near to an end of their record: 3 beats (") and printed.count("\n") == 1
    assert left_out(printed) == [1, 0, 1, 1, 0]


def test_nothing_is_printed_where_no_beat_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(cut_beats([counted([300, 500, 700], "NNN")], **WINDOW)) == 3 and capsys.readouterr().out == ""


@pytest.mark.parametrize(("before", "after"), [(0.1, 0.2), (0.3, 0.3), (0.25, 0.0), (0.0, 0.1)])
@pytest.mark.parametrize("rate", [360, 120])
def test_r_lies_at_the_stated_place(before: float, after: float, rate: int) -> None:
    positions = [300, 601, 852]
    beats = cut_beats([counted(positions, "NVN", rate)], before=before, after=after)
    assert beats.windows.shape == (3, round((before + after) * rate), 1)
    r_waves = [round(position * rate / 360) for position in positions]
    assert (beats.windows[:, 0, 0] + round(before * rate)).tolist() == r_waves
    assert (np.diff(beats.windows[..., 0]) == 1).all()


def test_window_around_a_filtered_beat_has_its_peak_in_the_middle() -> None:
    positions = [3_000, 3_301, 3_602, 3_903]
    grid = np.arange(10_800)
    pulses = sum(np.exp(-(((grid - peak) / 4) ** 2) / 2) for peak in positions)
    beats = cut_beats([filtered(record_of(pulses, positions))], before=0.2, after=0.2)
    assert beats.windows.argmax(axis=1).ravel().tolist() == [24] * 4


def three_patients() -> Beats:
    records = [replace(counted([300, 500, 700], "NVF"), name=name) for name in ("a", "b", "c")]
    return cut_beats(records, **WINDOW)


def test_beats_of_patients() -> None:
    beats = three_patients()
    assert beats.patients.tolist() == [*"aaabbbccc"]
    assert beats.of(["c", "a"]).patients.tolist() == [*"aaaccc"] and len(beats.of([])) == 0
    assert beats.of(name for name in "b").positions.tolist() == [300, 500, 700]
    assert len(beats.of(["d"])) == 0


@pytest.mark.parametrize(
    "chosen", [slice(2, 7), np.array([8, 0, 3]), np.arange(9) % 4 == 1], ids=["slice", "indices", "mask"]
)
def test_beats_are_chosen_together(chosen: slice | NDArray) -> None:
    beats = three_patients()
    some, places = beats[chosen], np.arange(9)[chosen]
    assert isinstance(some, Beats) and len(some) == len(places)
    for index, place in enumerate(places):
        for name in ("windows", "rhythm", "labels", "patients", "positions"):
            assert np.array_equal(getattr(some, name)[index], getattr(beats, name)[place]), name


def test_classes_are_those_of_the_aami() -> None:
    symbols = "NLRejAaJSVEF/fQ"
    record = counted(list(range(100, 100 + len(symbols))), symbols)
    assert record.labels.tolist() == [0] * 5 + [1] * 4 + [2] * 2 + [3] + [4] * 3 and record.labels.dtype == np.int32


# Rhythm and median beat


def record_with_beats(positions: list[int]) -> Record:
    return Record("x", "MLII", np.zeros(100_000, np.float32), np.array(positions), np.array(["N"] * len(positions)))


def test_rhythm_of_an_even_pulse_is_nought() -> None:
    np.testing.assert_allclose(rhythm(record_with_beats(list(range(400, 9_000, 300)))), 0, atol=1e-6)


def test_rhythm_of_an_early_beat_by_hand() -> None:
    """Twenty beats 300 apart, then one after 180, a pause of 420, and even again: after de Chazal's intervals."""
    positions = list(np.cumsum([500] + [300] * 20 + [180, 420] + [300] * 5))
    found = np.exp(rhythm(record_with_beats(positions)))
    np.testing.assert_allclose(found[20], [1, 180 / 300, 1, 180 / 300], rtol=1e-6)
    np.testing.assert_allclose(found[21], [180 / 300, 420 / 300] * 2, rtol=1e-6)
    np.testing.assert_allclose(found[22], [420 / 300, 1] * 2, rtol=1e-6)
    np.testing.assert_allclose(found[[0, -1]], 1, rtol=1e-6)  # an interval is missing at each end


def test_local_rhythm_knows_the_ten_intervals_before_and_nothing_later() -> None:
    """A heart that suddenly beats twice as fast: the first fast beat is early, after six the fast pulse is usual."""
    positions = list(np.cumsum([500] + [400] * 30 + [200] * 12))
    local, overall = np.exp(rhythm(record_with_beats(positions)))[:, [0, 2]].T
    np.testing.assert_allclose(local[31], 0.5, rtol=1e-6)
    np.testing.assert_allclose(local[[35, 36, 37]], [0.5, 200 / 300, 1], rtol=1e-6)
    np.testing.assert_allclose(overall[31:], 0.5, rtol=1e-6)
    later = positions[:32] + [position + 77 for position in positions[32:]]
    np.testing.assert_array_equal(np.exp(rhythm(record_with_beats(later)))[:31, 0], local[:31])


def test_rhythm_of_one_beat_says_nothing() -> None:
    np.testing.assert_array_equal(rhythm(record_with_beats([700])), np.zeros((1, 4)))


def test_median_beat_is_each_patients_own() -> None:
    windows = np.array([[1, 2], [1, 2], [5, 9], [10, 0], [10, 0], [10, 4]], np.float32)[..., None]
    beats = Beats(windows, np.zeros((6, 4)), np.zeros(6, int), np.array(list("aaabbb")), np.arange(6))
    rest = from_median_beat(beats)
    np.testing.assert_array_equal(rest.windows[..., 0], [[0, 0], [0, 0], [4, 7], [0, 0], [0, 0], [0, 4]])
    np.testing.assert_array_equal(beats.windows, windows)  # a copy, not the original
    np.testing.assert_array_equal(from_median_beat(beats[:3]).windows, rest.windows[:3])  # others have no say
