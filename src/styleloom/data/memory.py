"""Images kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from styleloom.data.pixels import PixelArray


class ImageMemory:
    """Memory for `number` uint8 images of one shape, filled as images are made.

    Safe to use from several threads. A pickled copy carries the images that are there.
    """

    def __init__(self, number: int, shape: tuple[int, int, int]) -> None:
        self._pixels: PixelArray = np.empty((number, *shape), np.uint8)  # takes memory as it is written
        self._filled = np.zeros(number, np.bool_)
        self._lock = threading.Lock()

    @property
    def pixels(self) -> PixelArray:
        """uint8 [number, C, H, W]: the memory itself, with anything where an image is not there yet."""
        return self._pixels

    @property
    def complete(self) -> bool:
        """Whether all images are there."""
        with self._lock:
            return bool(self._filled.all())

    def images(self, indices: NDArray[np.int64], make: Callable[[int], PixelArray]) -> PixelArray:
        """Copies of the images at `indices`; what is not there yet comes from `make(index)` and stays."""
        self.ensure(indices, make)
        return self._pixels[indices]

    def ensure(self, indices: NDArray[np.int64], make: Callable[[int], PixelArray]) -> None:
        """Make those of the images at `indices` that are not there yet. Errors of `make` pass through."""
        with self._lock:
            missing = indices[~self._filled[indices]]
        for index in np.unique(missing):
            # Not under the lock: it may decode. That two threads make one image twice harms nothing.
            image = make(int(index))
            self.store(slice(index, index + 1), image[None])

    def store(self, where: slice, images: PixelArray) -> None:
        """Keep `images`, uint8 [N, C, H, W], as those at `where`."""
        with self._lock:
            self._pixels[where] = images
            self._filled[where] = True

    def part(self, where: slice) -> ImageMemory:
        """A range of the images in the same memory: an image that one of the two makes, both have."""
        part = object.__new__(ImageMemory)
        part._pixels, part._filled, part._lock = self._pixels[where], self._filled[where], self._lock
        return part

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {
                "shape": self._pixels.shape,
                "filled": self._filled.copy(),
                "pixels": self._pixels[self._filled],
            }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._pixels = np.empty(state["shape"], np.uint8)
        self._pixels[state["filled"]] = state["pixels"]
        self._filled = state["filled"]
        self._lock = threading.Lock()
