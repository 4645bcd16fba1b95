"""Images with the shape of one class and the texture of another, as published in 2019. Introduced in chapter 09.

Source: the cue-conflict stimuli of Geirhos, Rubisch, Michaelis, Bethge, Wichmann and Brendel, ImageNet-trained CNNs are
biased towards texture; increasing shape bias improves accuracy and robustness, ICLR 2019 (github.com/rgeirhos/
texture-vs-shape). Licence: CC BY 4.0.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from course_lib.datasets.sources import DataError, DataUnavailable, find

FOLDER = "cue_conflict"
CLASSES = (
    "airplane", "bear", "bicycle", "bird", "boat", "bottle", "car", "cat", "chair", "clock", "dog", "elephant",
    "keyboard", "knife", "oven", "truck",
)  # fmt: skip
COUNT = 80  # stimuli of each shape
# Of what `sha256sum cue_conflict/*/*.jpg` prints for the copy in JPEG, sorted by name.
SHA256 = "20a6435bfc4a28dd821b65b0933ce5aab3a9df5a828dab68b6ac217e7b77c60a"

REMEDY = (
    "Copy stimuli/style-transfer-preprocessed-512 of github.com/rgeirhos/texture-vs-shape to a folder cue_conflict/, "
    "and set COURSE_DATA_DIR to the folder around it."
)


@dataclass(frozen=True)
class CueImages:
    """Images float32 (n, h, w, 3) in [0, 1], and the classes of their shapes and textures, (n,), names or numbers."""

    images: NDArray[np.float32]
    shapes: NDArray
    textures: NDArray
    source: str

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, chosen: NDArray) -> Self:
        """Return the images of a mask (n,) or of indices."""
        return type(self)(self.images[chosen], self.shapes[chosen], self.textures[chosen], self.source)

    def among(self, classes: Collection[Any]) -> Self:
        """Return the images whose shape and texture are both among ``classes`` and differ: those with a conflict."""
        both = np.isin(self.shapes, list(classes)) & np.isin(self.textures, list(classes))
        return self[both & (self.shapes != self.textures)]


def load_cue_conflict(side: int = 32) -> CueImages | None:
    """Return the 1,280 published stimuli, resized to ``side`` × ``side``; or say that the section steps aside: None.

    They must lie in ``cue_conflict/`` of a local mirror (``COURSE_DATA_DIR``), a folder for each shape, as published or
    in JPEG. In 80 of them shape and texture agree. Raises ValueError for a side below 1, DataError naming the file
    where the set is there and broken.
    """
    if side < 1:
        raise ValueError(f"load_cue_conflict(side={side}): it must be at least 1 pixel.")
    try:
        folder, source = find(FOLDER, FOLDER, _download)
    except DataUnavailable as error:
        print(f"This section steps aside: {error} {REMEDY}")
        return None
    found = read(folder / FOLDER, side, source)
    print(f"{source}: {len(found):,} images")
    return found


def read(place: Path, side: int, source: str) -> CueImages:
    """Read the stimuli in the folder ``place``. Raises DataError naming what is missing, unreadable or not the set's.

    A folder in JPEG is compared with a checksum; as PNG, the published form, only names and numbers are checked.
    """
    pattern = re.compile(rf"({'|'.join(CLASSES)})\d+-({'|'.join(CLASSES)})\d+\.(jpg|png)")
    images, cues, files = [], [], []
    for name in CLASSES:
        paths = sorted(path for path in (place / name).glob("*-*") if path.suffix in (".jpg", ".png"))
        if len(paths) != COUNT:
            raise DataError(f"{place / name}: it holds {len(paths)} images, not {COUNT}. {REMEDY}")
        for path in paths:
            cue = pattern.fullmatch(path.name)
            if cue is None or cue[1] != name:
                raise DataError(f"{path}: it should be called {name}NUMBER-TEXTURENUMBER, of known classes. {REMEDY}")
            images.append(_resized(path, side))
            cues.append(cue.groups()[:2])
        files += paths
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    lines = [f"{sum}  {FOLDER}/{path.parent.name}/{path.name}\n" for sum, path in zip(sums, files, strict=True)]
    if files[0].suffix == ".jpg" and hashlib.sha256("".join(lines).encode()).hexdigest() != SHA256:
        raise DataError(f"{place}: wrong checksum: some file is not the one that was published. {REMEDY}")
    shapes, textures = np.array(cues).T
    return CueImages(np.stack(images), shapes, textures, source)


def _resized(path: Path, side: int) -> NDArray[np.float32]:
    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path}: it is truncated or no image ({type(error).__name__}). {REMEDY}") from error
    return np.asarray(small, np.float32) / np.float32(255)


def _download(folder: Path) -> None:
    raise DataUnavailable("the course does not download it.")
