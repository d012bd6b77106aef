"""Batches of reals: seeded, endless, resumable at an exact position.

The sample at position p is a pure function of (seed, p): with n images, epoch = p // n, the image is
permutation(seed, epoch)[p % n], and the mirror coin is a hash of (seed, p). Batch size, number of workers,
number of devices and restarts therefore never change the sequence. (The TensorFlow code shuffled within a
window of 4096 MB; a permutation per epoch shows every image exactly once per epoch.)
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from styleloom.data import reals
from styleloom.data.dataset import ImageDataset
from styleloom.data.pixels import PixelArray
from styleloom.errors import UserError

_CHUNK = 16  # images per task of a worker: enough to hide the cost of handing tasks over
MAX_WORKERS = 1024
"""Threads that decode: each holds images ahead."""

_AHEAD = 4  # chunks in flight per worker
_COIN_STREAM = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Batch:
    """Samples as delivered.

    Args:
        images: uint8 [N, C, H, W], mirrored where the coin says so.
        labels: float32 [N, label_dim].
        indices: int64 [N], which image of the data set each one is.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor


@lru_cache(maxsize=8)
def permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    """The order of `size` images in one epoch; read-only.

    From MT19937 seeded by (seed, epoch) and numpy's frozen legacy shuffle: the same in every numpy version.
    """
    order = np.arange(size, dtype=np.int64)
    np.random.RandomState(np.random.MT19937(np.random.SeedSequence((seed, epoch)))).shuffle(order)
    order.setflags(write=False)
    return order


def mirror_coins(seed: int, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """One fair coin per position: the top bit of splitmix64(splitmix64(seed) + position)."""
    key = _splitmix64(np.array([seed % 2**64], np.uint64))
    return (_splitmix64(key + positions.astype(np.uint64)) >> np.uint64(63)).astype(np.bool_)


def _splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Output function of the splitmix64 generator, elementwise modulo 2^64."""
    z = values + np.uint64(_COIN_STREAM)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Loader:
    """Endless batches of a data set.

    Args:
        dataset: the images. Preload it where it fits: then a batch is copied from memory. Loaders of the
            levels of one data set (`ImageDataset.at`) deliver the same samples at the same positions.
        seed: >= 0; fixes order and coins.
        mirror: flip each sample left and right with probability 1/2.
        workers: threads that decode ahead (PNG decoding releases the interpreter lock, so threads help for
            large images; small ones are better preloaded). 0 decodes in `next`. Unused when preloaded, and
            stopped when a level has all its images in memory.
        position: where to begin, as the number of samples that all ranks together have delivered before.
        shard: (rank, world): this loader delivers the positions p with p % world == rank, so that `world`
            loaders in step see together what one would see alone.

    Raises UserError for values outside these.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        seed: int,
        mirror: bool,
        workers: int = 0,
        position: int = 0,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        rank, world = shard
        for name, value in (("seed", seed), ("workers", workers), ("position", position)):
            if value < 0:
                raise UserError(f"{name} {value}: valid: 0 or more")
        if workers > MAX_WORKERS:
            raise UserError(f"workers {workers}: valid: 0 to {MAX_WORKERS}")
        if not 0 <= rank < world:
            raise UserError(f"shard (rank {rank}, world {world}): valid: 0 <= rank < world")
        self.dataset = dataset
        self.seed = seed
        self.mirror = mirror
        self._world = world
        self._position = position
        self._offset = (rank - position) % world  # constant: batches advance `position` by multiples of world
        self._pool = ThreadPoolExecutor(workers) if workers and not dataset.preloaded else None
        self._max_ahead = workers * _AHEAD
        self._ahead: deque[Future[PixelArray]] = deque()
        self._scheduled = position + self._offset  # first position of this rank not yet handed to a worker
        self._ready: PixelArray | None = None  # decoded, not yet delivered
        self._closed = False

    @property
    def position(self) -> int:
        """Samples delivered so far by all ranks together, when they are in step (prefetched ones not
        counted).

        A new loader that begins here, with any batch size, workers or shard, continues the same sequence.
        """
        return self._position

    def next(self, batch_size: int) -> Batch:
        """The next `batch_size` samples of this rank; the size may change from call to call.

        Advances `position` by batch_size * world. Raises UserError naming the file when an image is damaged;
        the position then stays where it was.
        """
        if batch_size < 1:
            raise UserError(f"batch_size {batch_size}: valid: 1 or more")
        if self._closed:
            raise RuntimeError("the loader is closed")
        if self._pool is not None and self.dataset.preloaded:
            self._stop_workers()
        positions = self._position + self._offset + self._world * np.arange(batch_size, dtype=np.int64)
        indices = self._indices(positions)
        pixels = self._take(indices) if self._pool is not None else self.dataset.images(indices)
        images = torch.from_numpy(pixels)
        if self.mirror:
            images = reals.mirror(images, torch.from_numpy(mirror_coins(self.seed, positions)))
        labels = torch.from_numpy(self.dataset.labels(indices))
        self._position += batch_size * self._world
        if self._pool is not None and self._ready is None:
            self._scheduled = self._position + self._offset
        return Batch(images, labels, torch.from_numpy(indices))

    def close(self) -> None:
        """Stop the workers; undelivered samples are dropped and the position stays."""
        self._closed = True
        self._stop_workers()

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _indices(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which image stands at each position."""
        size = len(self.dataset)
        epochs, places = np.divmod(positions, size)
        indices = np.empty_like(positions)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            indices[here] = permutation(self.seed, int(epoch), size)[places[here]]
        return indices

    def _take(self, indices: NDArray[np.int64]) -> PixelArray:
        """The images at `indices`, which are the next ones, from the workers."""
        number = len(indices)
        parts: list[PixelArray] = [] if self._ready is None else [self._ready]
        try:
            while sum(map(len, parts)) < number:
                self._schedule()
                parts.append(self._ahead[0].result())
                self._ahead.popleft()
            self._schedule()
        except UserError:
            # The damaged image may belong to a later batch; decoding this one alone tells.
            self._forget()
            return self.dataset.images(indices)
        except BaseException:
            self._forget()
            raise
        pixels = np.concatenate(parts)
        self._ready = pixels[number:].copy()
        return pixels[:number]

    def _schedule(self) -> None:
        """Keep the workers busy."""
        assert self._pool is not None
        while len(self._ahead) < self._max_ahead:
            positions = self._scheduled + self._world * np.arange(_CHUNK, dtype=np.int64)
            self._ahead.append(self._pool.submit(self.dataset.images, self._indices(positions)))
            self._scheduled += self._world * _CHUNK

    def _stop_workers(self) -> None:
        self._forget()
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None

    def _forget(self) -> None:
        """Drop everything that was decoded ahead; the next call begins again at the position."""
        for future in self._ahead:
            future.cancel()
        self._ahead.clear()
        self._ready = None
        self._scheduled = self._position + self._offset
