"""Images by index: what a reader of images provides, and two views of any reader.

Another place to read training images from takes one subclass of `ImageReader`, with `info`, `__len__`,
`images` and, if there are labels, `labels`. An array in memory takes no more than this:

    class ArrayReader(ImageReader):
        def __init__(self, pixels):  # uint8 [N, C, H, W]
            sha256 = hashlib.sha256(pixels).hexdigest()
            self.pixels = pixels
            self.info = ImageInfo("array", "array in memory", (sha256,), pixels.shape[-1], pixels.shape[1])

        def __len__(self):
            return len(self.pixels)

        def images(self, indices):
            return self.pixels[indices]

`ImageDataset(ArrayReader(pixels))` is then a data set like any other: it adds memory, parts and levels, of
which no reader has to know. Readers are used from several threads at once and are pickled to other processes.
One that meets encoded files decodes them with `styleloom.data.conversion.convert_image`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from styleloom.config.parts import image_size
from styleloom.data.conversion import SQUARE
from styleloom.data.pixels import PixelArray, box_mean_u8

_PIECE_BYTES = 2**20  # of pixels that are worked on at once: what a processor's cache holds


def pieces(count: int, num_bytes: int) -> Iterator[slice]:
    """Cut `count` images of `num_bytes` each into runs of one or more that a processor's cache holds."""
    step = max(1, _PIECE_BYTES // num_bytes)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


@dataclass(frozen=True)
class ImageInfo:
    """What holds for all images of a reader.

    Args:
        name: for messages and tables.
        path: where the images are, as a run records it: an absolute path, or an embedded name (see
            `names.recorded_name`).
        identity: a sha256 (hex) of what is stored, images and labels in their order; then, in words, what
            has been done to it ("box 2", "first 90"). `fingerprint` follows from it.
        resolution: side of the images, px, a power of two; on another grid than 4,4 their nominal side.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        grid: height and width, px, of the lowest level (nominal side 4): 4, 4 for square images.
        label_dim: length of a label: number of classes or length of the vectors; 0 without labels.
        has_vectors: whether labels are vectors, rather than classes.
        classes: name of each class, or of each place of the vectors, where they have names.
        recipe: how the images were made, where that is known; for documents.
    """

    name: str
    path: str
    identity: tuple[str, ...]
    resolution: int
    channels: int = 3
    grid: tuple[int, int] = SQUARE
    label_dim: int = 0
    has_vectors: bool = False
    classes: tuple[str, ...] | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, px."""
        return image_size(self.resolution, self.grid)

    @property
    def image_bytes(self) -> int:
        """Bytes of one image, uint8 [C, H, W]."""
        height, width = self.size
        return self.channels * height * width

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) that identifies these images and labels in this order, for exact resume."""
        if len(self.identity) == 1:
            return self.identity[0]
        return hashlib.sha256(" ".join(self.identity).encode()).hexdigest()


class ImageReader(ABC):
    """Images and labels by index, in a fixed order."""

    info: ImageInfo

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def images(self, indices: NDArray[np.int64]) -> PixelArray:
        """A new array, uint8 [N, C, H, W], of the images at `indices`, each of them in 0..len-1.

        Raises UserError naming the file when one is damaged or not as `info` says.
        """

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [N, label_dim]: one-hot for classes, the vector itself otherwise, empty without labels."""
        assert self.info.label_dim == 0, f"{type(self).__name__} has labels, and no method that gives them"
        return np.zeros((len(indices), 0), np.float32)

    def source_name(self, index: int) -> str:
        """Name that the image had where it came from; its number, where it had none."""
        return str(index)

    def check_headers(self) -> None:  # noqa: B027 - most readers have nothing to look at
        """A quick look, before a run, whether files are as `info` says. Raises UserError naming the file."""

    def check_pixels(self, pixels: PixelArray) -> None:  # noqa: B027 - most readers know nothing to compare
        """Compare all images, uint8 [N, C, H, W] as read, with what was recorded when they were made.

        Raises UserError where they differ.
        """

    def close(self) -> None:  # noqa: B027 - most readers keep no file open
        """Close open files; a later read opens them again."""


class _View(ImageReader):
    """Base of readers that pass on the images, labels and names of another reader, changed or chosen."""

    def __init__(self, reader: ImageReader, info: ImageInfo) -> None:
        self.info = info
        self._reader = reader

    def check_headers(self) -> None:
        self._reader.check_headers()

    def close(self) -> None:
        self._reader.close()


class Subset(_View):
    """Some of the images of another reader, such as those that are held out.

    Args:
        reader: where they are from.
        indices: int64 [N] of them in `reader`, in their new order.
        words: what is chosen, e.g. "last 100": part of the fingerprint.
    """

    def __init__(self, reader: ImageReader, indices: NDArray[np.int64], words: str) -> None:
        super().__init__(reader, replace(reader.info, identity=(*reader.info.identity, words)))
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def images(self, indices: NDArray[np.int64]) -> PixelArray:
        """uint8 [N, C, H, W], counted within the subset."""
        return self._reader.images(self._indices[indices])

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [N, label_dim], counted within the subset."""
        return self._reader.labels(self._indices[indices])

    def source_name(self, index: int) -> str:
        """Name that the reader gives the image."""
        return self._reader.source_name(int(self._indices[index]))


class Level(_View):
    """The images of another reader at a lower resolution, reduced by `box_mean_u8`.

    Args:
        reader: the images at their own resolution.
        resolution: nominal side of the reduced images, px: a power of two.
        words: enters the fingerprint. Empty leaves that of `reader`: a growing run moves from level to level,
            and is one run on one data set.
    """

    def __init__(self, reader: ImageReader, resolution: int, words: str = "") -> None:
        identity = (*reader.info.identity, words) if words else reader.info.identity
        super().__init__(reader, replace(reader.info, resolution=resolution, identity=identity))
        self._factor = reader.info.resolution // resolution

    def __len__(self) -> int:
        return len(self._reader)

    def images(self, indices: NDArray[np.int64]) -> PixelArray:
        """uint8 [N, C, H, W], of which full images are read a few at a time."""
        reduced = np.empty((len(indices), self.info.channels, *self.info.size), np.uint8)
        for piece in pieces(len(indices), self._reader.info.image_bytes):
            reduced[piece] = box_mean_u8(self._reader.images(indices[piece]), self._factor)
        return reduced

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [N, label_dim]: those of the full images."""
        return self._reader.labels(indices)

    def source_name(self, index: int) -> str:
        """Name that the reader gives the image."""
        return self._reader.source_name(index)
