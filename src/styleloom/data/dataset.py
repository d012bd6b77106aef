"""Data sets: the images of a reader, with memory for them, parts, and levels of lower resolution.

What another place to read images from has to provide is in `styleloom.data.reader`.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from styleloom.data.ada_reader import ADAReader, ada_source
from styleloom.data.archive_reader import open_archive
from styleloom.data.conversion import MIN_RESOLUTION, SQUARE, validate_resolution
from styleloom.data.memory import ImageMemory
from styleloom.data.pixels import PixelArray
from styleloom.data.reader import ImageReader, Level, Subset, pieces
from styleloom.data.sources import EMBEDDED_SETS
from styleloom.errors import UserError, shell_word, shown
from styleloom.names import embedded_name

PRELOAD_BUDGET_BYTES = 2 * 2**30
"""Default of `ImageDataset.preload`: 2 GiB, e.g. 174,000 RGB images at 64x64 or 10,900 at 256x256.

The images of a lower level (`ImageDataset.at`) may take as much again.
"""


def open_dataset(path_or_name: str | Path, resolution: int | None = None) -> ImageDataset:
    """Open an archive, an embedded set by name (``portraits``; see `names.embedded_name`), or a zip or folder
    of StyleGAN2-ADA's tools (see `ada_reader`).

    Args:
        path_or_name: path of an archive made by `styleloom dataset build` or of such a zip or folder, or an
            embedded name.
        resolution: px; must be what is stored, except that an embedded set is also given at any smaller power
            of two >= 4, by averaging blocks of pixels and rounding halves to even (ProGAN's stored pyramid).

    Raises UserError: missing path, not a zip, no or damaged index, images missing, empty, wrong resolution.
    """
    if resolution is not None:
        validate_resolution(resolution)
    reader = _opened_reader(path_or_name)
    stored = reader.info.resolution
    if resolution is None or resolution == stored:
        return ImageDataset(reader)
    embedded = embedded_name(path_or_name, EMBEDDED_SETS)
    if embedded is None or resolution > stored:
        raise _wrong_resolution(reader, embedded, str(path_or_name), resolution)
    return ImageDataset(Level(reader, resolution, f"box {stored // resolution}"))


def _opened_reader(path_or_name: str | Path) -> ImageReader:
    """What reads the images there: an archive, an embedded set, or a data set of StyleGAN2-ADA's tools."""
    if embedded_name(path_or_name, EMBEDDED_SETS) is None:
        source = ada_source(Path(path_or_name))
        if source is not None:
            return ADAReader(source)
    return open_archive(path_or_name)


def _wrong_resolution(reader: ImageReader, embedded: str | None, path: str, wanted: int) -> UserError:
    """Says which command makes an archive of the resolution that is wanted."""
    name, stored, grid = embedded or path, reader.info.resolution, reader.info.grid
    limit = f"; {name} is given at {MIN_RESOLUTION} to {stored} px" if embedded else ""
    source = "SOURCE" if embedded or wanted > stored else name
    options = "" if grid == SQUARE else f" --grid {grid[0]},{grid[1]}"
    options += " --labels keep" if source == name and reader.info.label_dim else ""
    return UserError(
        f"{name} is stored at {stored} px, not {wanted} px{limit}; make another archive with: "
        f"styleloom dataset build {shell_word(source)} DEST.zip --resolution {wanted}{options}"
    )


class ImageDataset(ImageReader):
    """Images and labels in stored order. Safe to use from several threads and processes; can be pickled.

    Args:
        reader: what reads the images.
    """

    def __init__(self, reader: ImageReader) -> None:
        self.info = reader.info
        self._reader = reader
        self._memory: ImageMemory | None = None
        self._full: ImageDataset | None = None  # of a level: the data set that it was made from
        self._levels: weakref.WeakValueDictionary[int, ImageDataset] = weakref.WeakValueDictionary()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_levels"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._levels = weakref.WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._reader)

    # What holds for all images: see `ImageInfo` -------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name for messages and tables."""
        return self.info.name

    @property
    def path(self) -> str:
        """Where the images are, as a run records it: an absolute path, or an embedded name."""
        return self.info.path

    @property
    def resolution(self) -> int:
        """Side of the images, px; on another grid than 4,4 their nominal side, see `size`."""
        return self.info.resolution

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width, px, of the lowest level (nominal side 4): 4, 4 for square images."""
        return self.info.grid

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, px."""
        return self.info.size

    @property
    def channels(self) -> int:
        """1 (grey), 3 (RGB) or 4 (RGBA)."""
        return self.info.channels

    @property
    def label_dim(self) -> int:
        """Length of a label: number of classes or length of the vectors; 0 without labels."""
        return self.info.label_dim

    @property
    def has_vectors(self) -> bool:
        """Whether labels are vectors, rather than classes."""
        return self.info.has_vectors

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Name of each class, or of each place of the vectors, where they have names."""
        return self.info.classes

    @property
    def recipe(self) -> Mapping[str, Any]:
        """How the images were made, where that is known."""
        return self.info.recipe

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) that identifies these images in this order, for exact resume.

        A part has another than the whole, and so has an embedded set that is reduced on opening. A level
        (`at`) has the fingerprint of the data set that it was made from: it follows from its images, and a
        growing run, which moves from level to level, is one run on one data set.
        """
        return self.info.fingerprint

    # Images and labels --------------------------------------------------------------------------------------

    def image(self, index: int) -> PixelArray:
        """uint8 [C, H, W] of the image at `index`. Raises as `images` does."""
        return self.images(np.array([index], np.int64))[0]

    def images(self, indices: NDArray[np.int64]) -> PixelArray:
        """A new array, uint8 [N, C, H, W], of the images at `indices`.

        Raises IndexError for indices outside 0..len-1, and UserError naming the file when one is damaged or
        not as `info` says.
        """
        self._check(indices)
        if self._memory is None:
            return self._reader.images(indices)
        return self._memory.images(indices, self._read)

    def _read(self, index: int) -> PixelArray:
        return self._reader.images(np.array([index], np.int64))[0]

    def label(self, index: int) -> NDArray[np.float32]:
        """float32 [label_dim] of the image at `index`. Raises as `labels` does."""
        return self.labels(np.array([index], np.int64))[0]

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [N, label_dim]: one-hot for classes, the vector itself otherwise, empty without labels.

        Raises IndexError for indices outside 0..len-1.
        """
        self._check(indices)
        return self._reader.labels(indices)

    def source_name(self, index: int) -> str:
        """Name that the image had where it came from; its number, where it had none. Raises IndexError."""
        self._check(np.array([index], np.int64))
        return self._reader.source_name(index)

    def _check(self, indices: NDArray[np.int64]) -> None:
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"indices outside 0..{len(self) - 1}")

    def check_headers(self) -> None:
        """A quick look, before a run, whether files are as `info` says; nothing is decoded.

        Raises UserError naming the file.
        """
        self._reader.check_headers()

    def close(self) -> None:
        """Close open files, also those of parts and levels; a later read opens them again."""
        self._reader.close()

    # Parts and levels ---------------------------------------------------------------------------------------

    def split(self, held_out: int) -> tuple[ImageDataset, ImageDataset]:
        """(training part, held-out part): the last `held_out` images of the stored order are held out.

        Raises UserError unless both parts have an image.
        """
        if not 0 < held_out < len(self):
            valid = f"valid: 1 to {len(self) - 1}"
            raise UserError(f"held_out {held_out}: {shown(self.name)} has {len(self)} images; {valid}")
        cut = len(self) - held_out
        return self._part(slice(0, cut), f"first {cut}"), self._part(slice(cut, None), f"last {held_out}")

    def _part(self, where: slice, words: str) -> ImageDataset:
        """Some of the images, with what is in memory of them."""
        if self._full is None:
            part = ImageDataset(Subset(self._reader, np.arange(len(self), dtype=np.int64)[where], words))
        else:
            part = self._full._part(where, words)._reduced(self.resolution)
        part._memory = None if self._memory is None else self._memory.part(where)
        return part

    def at(self, resolution: int, budget_bytes: int = PRELOAD_BUDGET_BYTES) -> ImageDataset:
        """The same images and labels in the same order, as a growing run needs them at a lower level.

        Images are reduced by `box_mean_u8`, which makes a level of ProGAN's stored pyramid. If all reduced
        images together take at most `budget_bytes`, besides what the full images take, each stays in memory
        once it is made (`keeps_images`). Where the full images are in memory, all are reduced at once, here;
        otherwise each is decoded when it is first asked for, or by `preload`. A level that is still in use
        is given as the same object.

        Args:
            resolution: nominal side of the level, px: a power of two from 4 to that of the full images, which
                gives the full images themselves.
            budget_bytes: memory for the reduced images.

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
            level = full._levels[resolution] = full._reduced(resolution)
            level._memory = level._room(budget_bytes)
            if level._memory is not None and full.preloaded:
                level._fill(level._memory)
        return level

    def _reduced(self, resolution: int) -> ImageDataset:
        level = ImageDataset(Level(self, resolution))
        level._full = self
        return level

    # Memory -------------------------------------------------------------------------------------------------

    def preload(self, budget_bytes: int = PRELOAD_BUDGET_BYTES) -> bool:
        """Decode all images into one uint8 array when that takes at most `budget_bytes`.

        Returns whether they are now in memory; when False, images are decoded on the fly as before. Parts
        made by `split` afterwards share the array. Raises as `images` does, and where the pixels are not
        those that were recorded when the images were made.
        """
        memory = self._room(budget_bytes) if self._memory is None else self._memory
        if memory is None:
            return False
        self._fill(memory)
        self._reader.check_pixels(memory.pixels)
        self._memory = memory
        return True

    def keep(self, budget_bytes: int = PRELOAD_BUDGET_BYTES) -> bool:
        """Keep each image in memory once it has been decoded, when all together take at most `budget_bytes`.

        Unlike `preload` it decodes nothing now. Returns whether images are kept.
        """
        if self._memory is None:
            self._memory = self._room(budget_bytes)
        return self.keeps_images

    def _room(self, budget_bytes: int) -> ImageMemory | None:
        """Empty memory for all images, if they take at most `budget_bytes`."""
        if len(self) * self.info.image_bytes > budget_bytes:
            return None
        return ImageMemory(len(self), (self.channels, *self.size))

    def _fill(self, memory: ImageMemory) -> None:
        """Read all images that are not in `memory`."""
        if self._full is None or not self._full.preloaded:
            memory.ensure(np.arange(len(self)), self._read)
        elif not memory.complete:  # reduced many at a time: one by one takes several times as long
            for piece in pieces(len(self), self.info.image_bytes):
                memory.store(piece, self._reader.images(np.arange(piece.start, piece.stop)))

    @property
    def preloaded(self) -> bool:
        """Whether all images are in memory: after `preload`, or when all of a level have been made."""
        return self._memory is not None and self._memory.complete

    @property
    def keeps_images(self) -> bool:
        """Whether images stay in memory once they are made; when False, each is decoded every time."""
        return self._memory is not None
