"""Random access to a stored data set."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from styleloom.data.archive import ArchiveReader, PixelArray
from styleloom.data.conversion import MIN_RESOLUTION, validate_resolution
from styleloom.data.index import Recipe
from styleloom.data.sources import EMBEDDED
from styleloom.errors import UserError

PRELOAD_BUDGET_BYTES = 2 * 2**30
"""Default of `ImageDataset.preload`: 2 GiB, e.g. 174,000 RGB images at 64x64 or 10,900 at 256x256."""


def open_dataset(path_or_name: str | Path, resolution: int | None = None) -> ImageDataset:
    """Open an archive, or an embedded set by name (``emoji``; an embedded name wins over a file of that
    name).

    Args:
        path_or_name: path of an archive made by `styleloom dataset build`, or an embedded name.
        resolution: px; must be what is stored, except that an embedded set is also given at any smaller power
            of two >= 4, by averaging blocks of pixels and rounding halves to even (ProGAN's stored pyramid).

    Raises UserError: missing path, not a zip, no or damaged index, images missing, empty, wrong resolution.
    """
    if resolution is not None:
        validate_resolution(resolution)
    name = str(path_or_name)
    embedded = name in EMBEDDED
    reader = ArchiveReader(EMBEDDED[name] if embedded else Path(path_or_name))
    stored = reader.index.recipe.resolution
    wanted = stored if resolution is None else resolution
    if wanted != stored and not (embedded and wanted < stored):
        limit = f"; {name} is given at {MIN_RESOLUTION} to {stored} px" if embedded else ""
        source = "SOURCE" if embedded or wanted > stored else name
        labels = " --labels keep" if source == name and reader.index.labels is not None else ""
        raise UserError(
            f"{name} is stored at {stored} px, not {wanted} px{limit}; make another archive with: "
            f"styleloom dataset build {source} DEST.zip --resolution {wanted}{labels}"
        )
    if embedded:
        return ImageDataset(reader, name, name, stored // wanted)
    return ImageDataset(reader, Path(path_or_name).stem, str(Path(path_or_name).absolute()))


class ImageDataset:
    """Images and labels in stored order. Safe to use from several threads and processes; can be pickled.

    Args:
        reader: of the archive.
        name: for people.
        path: what `open_dataset` takes to open it again: an absolute path, or an embedded name.
        factor: by which the images are reduced on reading.
    """

    def __init__(self, reader: ArchiveReader, name: str, path: str, factor: int = 1) -> None:
        self._reader = reader
        self._range = range(len(reader.index.files))
        self._factor = factor
        self._pixels: PixelArray | None = None  # [all images of the archive's range, C, H, W] once preloaded
        self._part = ""
        self.name = name
        self.path = path

    def __len__(self) -> int:
        return len(self._range)

    @property
    def resolution(self) -> int:
        """Side of the images, px."""
        return self._reader.index.recipe.resolution // self._factor

    @property
    def channels(self) -> int:
        """1 (grey), 3 (RGB) or 4 (RGBA)."""
        return self._reader.index.recipe.channels

    @property
    def label_dim(self) -> int:
        """Length of a label: number of classes or length of the vectors; 0 without labels."""
        return self._reader.index.label_dim

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Name of each class, where classes have names."""
        return self._reader.index.classes

    @property
    def recipe(self) -> Recipe:
        """How the archive was made."""
        return self._reader.index.recipe

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) that identifies these images in this order, for exact resume.

        That of the archive's index, which holds hashes of the source and of all pixels; where images are
        reduced or only a part is seen, that is hashed in.
        """
        reduced = f"box {self._factor}" if self._factor > 1 else ""
        parts = [part for part in (reduced, self._part) if part]
        if not parts:
            return self._reader.index_sha256
        return hashlib.sha256(" ".join([self._reader.index_sha256, *parts]).encode()).hexdigest()

    def image(self, index: int) -> PixelArray:
        """uint8 [C, H, W] of the image at `index` in 0..len-1.

        Raises IndexError, or UserError naming archive and file when the file is damaged or not as the index
        says.
        """
        stored = self._stored(index)
        if self._pixels is not None:
            return self._pixels[index].copy()
        pixels = self._reader.image(stored)
        return pixels if self._factor == 1 else _box_reduce(pixels, self._factor)

    def images(self, indices: NDArray[np.int64]) -> PixelArray:
        """uint8 [N, C, H, W] of several images. Raises as `image` does."""
        if self._pixels is not None:
            if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
                raise IndexError(f"indices outside 0..{len(self) - 1}")
            return self._pixels[indices]
        batch = np.empty((len(indices), self.channels, self.resolution, self.resolution), np.uint8)
        for row, index in enumerate(indices):
            batch[row] = self.image(int(index))
        return batch

    def label(self, index: int) -> NDArray[np.float32]:
        """float32 [label_dim]: one-hot for classes, the vector itself otherwise, empty without labels."""
        stored = self._stored(index)
        labels = self._reader.index.labels
        row = np.zeros(self.label_dim, np.float32)
        if labels is None:
            return row
        value = labels[stored]
        if isinstance(value, tuple):
            row[:] = value
        else:
            row[value] = 1
        return row

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [N, label_dim] of several images."""
        if self.label_dim == 0 or not len(indices):
            return np.zeros((len(indices), self.label_dim), np.float32)
        return np.stack([self.label(int(index)) for index in indices])

    def source_name(self, index: int) -> str:
        """Name that the image had in the source."""
        return self._reader.index.sources[self._stored(index)]

    def split(self, held_out: int) -> tuple[ImageDataset, ImageDataset]:
        """(training view, held-out view): the last `held_out` images of the stored order are held out.

        Raises UserError unless both parts have an image.
        """
        if not 0 < held_out < len(self):
            valid = f"valid: 1 to {len(self) - 1}"
            raise UserError(f"held_out {held_out}: {self.name} has {len(self)} images; {valid}")
        cut = len(self) - held_out
        return self._view(slice(0, cut), f"first {cut}"), self._view(slice(cut, None), f"last {held_out}")

    def _view(self, part: slice, description: str) -> ImageDataset:
        view = copy.copy(self)
        view._range = self._range[part]
        view._pixels = None if self._pixels is None else self._pixels[part]
        view._part = f"{self._part} {description}".strip()
        return view

    def preload(self, budget_bytes: int = PRELOAD_BUDGET_BYTES) -> bool:
        """Decode all images into one uint8 array when that takes at most `budget_bytes`.

        Returns whether they are now in memory; when False, images are decoded on the fly as before. Views
        made by `split` afterwards share the array.
        """
        size = len(self) * self.channels * self.resolution**2
        if self._pixels is None and size <= budget_bytes:
            self._pixels = self.images(np.arange(len(self)))
        return self._pixels is not None

    @property
    def preloaded(self) -> bool:
        """Whether all images are in memory."""
        return self._pixels is not None

    def close(self) -> None:
        """Close the archive's file handles, also those of views; a later read opens them again."""
        self._reader.close()

    def _stored(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} outside 0..{len(self) - 1}")
        return self._range[index]


def _box_reduce(pixels: PixelArray, factor: int) -> PixelArray:
    """Mean of each factor x factor block on float, rounded once, halves to even.

    ProGAN's pyramid repeats the 2x2 mean on float and rounds each level for storage: the same thing.
    """
    channels, height, width = pixels.shape
    blocks = pixels.reshape(channels, height // factor, factor, width // factor, factor)
    return np.rint(blocks.mean((2, 4), dtype=np.float32)).astype(np.uint8)
