"""Make data/photos_sample.npz from ten pictures that ship with scikit-image and scikit-learn.

Run ``python data/make_photos_sample.py``. Which pictures, by whom, under which licence: see data/README.md.
"""

import io
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

SIDE = 32  # of a patch
BLOCK = 64  # of the squares into which a picture is divided
FLAT = 4  # a patch whose pixels have a smaller standard deviation, of 255, is left out
PARTS = {"train": 360, "validation": 40, "test": 100}  # patches of each picture
SHARES = (0.7, 0.1)  # of the squares of each picture, for the first two parts; the rest is for testing


class Picture(NamedTuple):
    """A picture: its class, the package and the file, and what of it is used (left, top, right, bottom; none: all)."""

    name: str
    package: str
    file: str
    box: tuple[int, int, int, int] | None = None


PICTURES = (
    Picture("astronaut", "skimage.data", "astronaut.png"),
    Picture("bricks", "skimage.data", "brick.png"),
    Picture("cat", "skimage.data", "chelsea.png"),
    Picture("coffee", "skimage.data", "coffee.png"),
    Picture("eye", "skimage.data", "retina.jpg", (205, 205, 1205, 1205)),  # a square inside the round picture
    Picture("flower", "sklearn.datasets.images", "flower.jpg"),
    Picture("grass", "skimage.data", "grass.png"),
    Picture("gravel", "skimage.data", "gravel.png"),
    Picture("stars", "skimage.data", "hubble_deep_field.jpg"),
    Picture("temple", "sklearn.datasets.images", "china.jpg"),
)


class Patch(NamedTuple):
    """The class of a patch, its part, and the row and column of its upper left corner in the picture."""

    label: int
    part: str
    row: int
    column: int


def pictures() -> list[np.ndarray]:
    """Return what is used of the ten pictures, each uint8 (height, width, 3); grey ones have three equal channels."""
    opened = [Image.open(files(one.package) / one.file).convert("RGB").crop(one.box) for one in PICTURES]
    return [np.asarray(picture) for picture in opened]


def cut(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    """Return the patch with this upper left corner."""
    return picture[row : row + SIDE, column : column + SIDE]


def patches(whole: list[np.ndarray]) -> list[Patch]:
    """Choose patches of the pictures: part after part, the classes in turn 0, 1, … 9, 0, 1, …

    A picture is divided into squares, each given to one part at random. A patch lies in one square, wholly. So no pixel
    is in two parts; patches of one part may overlap.
    """
    random = np.random.default_rng(0)
    corners = BLOCK - SIDE + 1  # a row of a square
    chosen: dict[str, list[list[Patch]]] = {part: [] for part in PARTS}
    for label, picture in enumerate(whole):
        rows, columns = picture.shape[0] // BLOCK, picture.shape[1] // BLOCK
        squares = random.permutation(rows * columns)
        shares = np.cumsum([round(share * len(squares)) for share in SHARES])
        for (part, count), own in zip(PARTS.items(), np.split(squares, shares), strict=True):
            found: list[Patch] = []
            for place in random.permutation(len(own) * corners**2):
                square, corner = own[place // corners**2], place % corners**2
                row = int(square // columns * BLOCK + corner // corners)
                column = int(square % columns * BLOCK + corner % corners)
                if cut(picture, row, column).std() > FLAT:
                    found.append(Patch(label, part, row, column))
                if len(found) == count:
                    break
            chosen[part].append(found)
    return [patch for part in chosen.values() for turn in zip(*part, strict=True) for patch in turn]


def sample() -> dict[str, np.ndarray]:
    """Return images uint8 (5000, 32, 32, 3), labels uint8 (5000,): 3,600 to train, 400 to validate, 1,000 to test."""
    whole = pictures()
    chosen = patches(whole)
    images = [cut(whole[patch.label], patch.row, patch.column) for patch in chosen]
    return {"images": np.stack(images), "labels": np.array([patch.label for patch in chosen], np.uint8)}


if __name__ == "__main__":
    # LZMA finds what patches share: 3 MB, where savez_compressed takes 10. NumPy reads both.
    with zipfile.ZipFile(Path(__file__).with_name("photos_sample.npz"), "w") as archive:
        for name, array in sample().items():
            content = io.BytesIO()
            np.save(content, array)
            entry = zipfile.ZipInfo(f"{name}.npy")  # without the time of day, so that the file is the same each time
            archive.writestr(entry, content.getvalue(), zipfile.ZIP_LZMA)
