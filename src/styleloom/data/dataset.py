"""Random access to a stored data set."""

from __future__ import annotations

import copy
import hashlib
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from styleloom.config.parts import image_size
from styleloom.data.archive import ArchiveReader
from styleloom.data.conversion import MIN_RESOLUTION, SQUARE, validate_resolution
from styleloom.data.index import Recipe
from styleloom.data.memory import ImageMemory
from styleloom.data.pixels import PixelArray, box_mean_u8
from styleloom.data.sources import EMBEDDED
from styleloom.errors import UserError, shell_word, shown
from styleloom.names import embedded_name

PRELOAD_BUDGET_BYTES = 2 * 2**30
"""Default of `ImageDataset.preload`: 2 GiB, e.g. 174,000 RGB images at 64x64 or 10,900 at 256x256.

The images of a lower level (`ImageDataset.at`) may take as much again.
"""

_PIECE_BYTES = 2**20  # of stored pixels that are reduced at once: what a processor's cache holds


def open_dataset(path_or_name: str | Path, resolution: int | None = None) -> ImageDataset:
    """Open an archive, or an embedded set by name (``emoji``; see `names.embedded_name`).

    Args:
        path_or_name: path of an archive made by `styleloom dataset build`, or an embedded name.
        resolution: px; must be what is stored, except that an embedded set is also given at any smaller power
            of two >= 4, by averaging blocks of pixels and rounding halves to even (ProGAN's stored pyramid).

    Raises UserError: missing path, not a zip, no or damaged index, images missing, empty, wrong resolution.
    """
    if resolution is not None:
        validate_resolution(resolution)
    embedded = embedded_name(path_or_name, EMBEDDED)
    name = embedded or str(path_or_name)
    reader = ArchiveReader(EMBEDDED[embedded] if embedded else Path(path_or_name))
    stored = reader.index.recipe.resolution
    wanted = stored if resolution is None else resolution
    if wanted != stored and not (embedded and wanted < stored):
        limit = f"; {name} is given at {MIN_RESOLUTION} to {stored} px" if embedded else ""
        source = "SOURCE" if embedded or wanted > stored else name
        grid = reader.index.recipe.grid
        options = "" if grid == SQUARE else f" --grid {grid[0]},{grid[1]}"
        options += " --labels keep" if source == name and reader.index.labels is not None else ""
        raise UserError(
            f"{name} is stored at {stored} px, not {wanted} px{limit}; make another archive with: "
            f"styleloom dataset build {shell_word(source)} DEST.zip --resolution {wanted}{options}"
        )
    if embedded:
        return ImageDataset(reader, name, name, stored // wanted)
    return ImageDataset(reader, Path(path_or_name).stem, str(Path(path_or_name).absolute()))


class ImageDataset:
    """Images and labels in stored order. Safe to use from several threads and processes; can be pickled.

    Args:
        reader: of the archive.
        name: for people.
        path: where it is, as a run records it: an absolute path, or an embedded name (see
            `names.recorded_name`).
        factor: by which the images are reduced on reading.
    """

    def __init__(self, reader: ArchiveReader, name: str, path: str, factor: int = 1) -> None:
        self._reader = reader
        self._range = range(len(reader.index.files))
        self._factor = factor
        self._memory: ImageMemory | None = None
        self._part = ""
        self._full: ImageDataset | None = None  # of a level: the data set that it was made from
        self._level_factor = 1
        self._levels: weakref.WeakValueDictionary[int, ImageDataset] = weakref.WeakValueDictionary()
        self.name = name
        self.path = path

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_levels"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._levels = weakref.WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._range)

    @property
    def resolution(self) -> int:
        """Side of the images, px; on another grid than 4,4 their nominal side, see `size`."""
        return self._reader.index.recipe.resolution // self._factor // self._level_factor

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width, px, of the lowest level (nominal side 4): 4, 4 for square images."""
        return self._reader.index.recipe.grid

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, px."""
        return image_size(self.resolution, self.grid)

    @property
    def channels(self) -> int:
        """1 (grey), 3 (RGB) or 4 (RGBA)."""
        return self._reader.index.recipe.channels

    @property
    def label_dim(self) -> int:
        """Length of a label: number of classes or length of the vectors; 0 without labels."""
        return self._reader.index.label_dim

    @property
    def has_vectors(self) -> bool:
        """Whether labels are vectors, rather than classes."""
        return isinstance((self._reader.index.labels or (0,))[0], tuple)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Name of each class, or of each place of the vectors, where they have names."""
        return self._reader.index.classes

    @property
    def recipe(self) -> Recipe:
        """How the archive was made."""
        return self._reader.index.recipe

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) that identifies these images in this order, for exact resume.

        That of the archive's index, which holds hashes of the source and of all pixels; where images are
        reduced on opening or only a part is seen, that is hashed in. A level (`at`) has the fingerprint of
        the data set that it was made from: it follows from its images, and a growing run, which moves from
        level to level, is one run on one data set.
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
        return self.images(np.array([index], np.int64))[0]

    def images(self, indices: NDArray[np.int64]) -> PixelArray:
        """uint8 [N, C, H, W] of several images. Raises as `image` does."""
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"indices outside 0..{len(self) - 1}")
        if self._memory is not None:
            return self._memory.images(indices, self._make)
        batch = np.empty((len(indices), self.channels, *self.size), np.uint8)
        for row, index in enumerate(indices):
            batch[row] = self._make(int(index))
        return batch

    def _make(self, index: int) -> PixelArray:
        """Decode an image and reduce it."""
        if self._full is not None:
            return box_mean_u8(self._full.image(index), self._level_factor)
        return box_mean_u8(self._reader.image(self._range[index]), self._factor)

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
            raise UserError(f"held_out {held_out}: {shown(self.name)} has {len(self)} images; {valid}")
        cut = len(self) - held_out
        return self._view(slice(0, cut), f"first {cut}"), self._view(slice(cut, None), f"last {held_out}")

    def _view(self, part: slice, description: str) -> ImageDataset:
        view = copy.copy(self)
        view._range = self._range[part]
        view._memory = None if self._memory is None else self._memory.part(part)
        view._full = None if self._full is None else self._full._view(part, description)
        view._part = f"{self._part} {description}".strip()
        return view

    def at(self, resolution: int, budget_bytes: int = PRELOAD_BUDGET_BYTES) -> ImageDataset:
        """The same images and labels in the same order, as a growing run needs them at a lower level.

        Images are reduced by `box_mean_u8`: repeated 2x2 means, rounded once (ProGAN's stored pyramid, from
        this data set's uint8 images). They stay in memory once they are made, as far as
        `budget_bytes` allow, on top of what the full images take: see `keeps_images`. Where the full
        images are in memory, all are made at once, here; otherwise each is decoded when it is first asked
        for, or by `preload`. The same level asked for again, while the former is in use, is the same object.

        Args:
            resolution: nominal side of the level, px: a power of two from 4 to that of the full images;
                the latter gives these themselves.

        Raises UserError for another resolution.
        """
        full = self._full or self
        validate_resolution(resolution)
        if resolution > full.resolution:
            valid = f"valid: powers of two from {MIN_RESOLUTION} to {full.resolution}"
            raise UserError(f"resolution {resolution}: no level of {shown(self.name)}; {valid}")
        if resolution == self.resolution:
            return self
        if resolution == full.resolution:
            return full
        level = full._levels.get(resolution)
        if level is None:
            level = full._levels[resolution] = full._level(resolution, budget_bytes)
        return level

    def _level(self, resolution: int, budget_bytes: int) -> ImageDataset:
        level = copy.copy(self)
        level._full = self
        level._level_factor = self.resolution // resolution
        level._memory = None
        if level._num_bytes <= budget_bytes:
            level._memory = level._new_memory()
            if self.preloaded:
                level._fill(level._memory)
        return level

    def preload(self, budget_bytes: int = PRELOAD_BUDGET_BYTES) -> bool:
        """Decode all images into one uint8 array when that takes at most `budget_bytes`.

        Returns whether they are now in memory; when False, images are decoded on the fly as before. Views
        made by `split` afterwards share the array. Raises as `image` does, and where the pixels are not those
        that the index was made for.
        """
        memory = self._memory
        if memory is None and self._num_bytes <= budget_bytes:
            memory = self._new_memory()
        if memory is None:
            return False
        self._fill(memory)
        if self._is_all and memory.sha256() != self._reader.index.pixels_sha256:
            raise UserError(
                f"{shown(self._reader.path)}: the pixels are not those of the index (pixels_sha256): an "
                "image was changed after the archive was made; make it again with: styleloom dataset build"
            )
        self._memory = memory
        return True

    def check_headers(self) -> None:
        """Compare the headers of images (of 1,000 of them, spread evenly) with the index, without decoding.

        Raises UserError naming archive and file.
        """
        self._reader.check_headers()

    @property
    def _is_all(self) -> bool:
        """Whether these are the images of the archive, all of them and as they are stored."""
        return self._factor == 1 and self._full is None and len(self) == len(self._reader.index.files)

    @property
    def preloaded(self) -> bool:
        """Whether all images are in memory: after `preload`, or when all of a level have been made."""
        return self._memory is not None and self._memory.complete

    @property
    def keeps_images(self) -> bool:
        """Whether images stay in memory once they are made; when False, each is decoded every time."""
        return self._memory is not None

    @property
    def _num_bytes(self) -> int:
        height, width = self.size
        return len(self) * self.channels * height * width

    def _new_memory(self) -> ImageMemory:
        return ImageMemory(len(self), (self.channels, *self.size))

    def _fill(self, memory: ImageMemory) -> None:
        """Make all images that are not in `memory`."""
        full = self._full
        if full is None or not full.preloaded:
            memory.ensure(np.arange(len(self)), self._make)
        elif not memory.complete:
            number = max(1, _PIECE_BYTES * len(full) // full._num_bytes)
            for start in range(0, len(self), number):
                indices = np.arange(start, min(start + number, len(self)))
                pixels = box_mean_u8(full.images(indices), self._level_factor)
                memory.store(slice(start, start + len(indices)), pixels)

    def close(self) -> None:
        """Close the archive's file handles, also those of views; a later read opens them again."""
        self._reader.close()

    def _stored(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} outside 0..{len(self) - 1}")
        return self._range[index]
