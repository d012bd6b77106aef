"""What there is to know of many images before they are trained on: copies, blanks, odd shapes, and advice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from styleloom.data.pixels import PixelArray, image_of

TILES = 64
"""Images of a contact sheet."""

TILE_PX = 96
"""Side of each of them."""

_BLANK = 2.0  # standard deviation of all values, 0 to 255, below which an image shows nothing
_ODD = 2.0  # times wider or higher than most images
_BANDS, _BAND_BITS = 4, 16
_MOST_BITS = 4  # of 64 in which hashes of near-duplicates differ
_ALIKE = 3.0  # mean difference of their reduced grey images, 0 to 255
_SIDE = 8
_MOST_COMPARED = 256  # of images with one band in common that are all compared with each other
_FEW_IMAGES = 30_000
_GAMMA = 0.0002  # times pixels over batch: the rule of StyleGAN2-ADA's automatic settings
_BATCH = 32


@dataclass(frozen=True)
class Findings:
    """What was found.

    Args:
        number: of images looked at.
        duplicates: groups of images with equal pixels, by name.
        near_duplicates: groups of images that look the same, and are not all equal.
        blank: images of one colour.
        odd: images more than twice as wide, or as high, as most are.
        sizes: how many images have each width and height.
        tiles: some images, evenly spread, uint8 [N, 3, TILE_PX, TILE_PX].
    """

    number: int
    duplicates: tuple[tuple[str, ...], ...]
    near_duplicates: tuple[tuple[str, ...], ...]
    blank: tuple[str, ...]
    odd: tuple[str, ...]
    sizes: Counter[tuple[int, int]]
    tiles: PixelArray

    def advice(self) -> list[str]:
        """Sentences on how to train on these images."""
        said = []
        if self.number < _FEW_IMAGES:
            said.append(
                f"{self.number:,} images are few (below about {_FEW_IMAGES:,}): a discriminator learns them "
                "by heart; train with --augment ada"
            )
        copies = sum(len(group) - 1 for group in (*self.duplicates, *self.near_duplicates))
        if copies > self.number // 100:
            said.append(f"{copies:,} images are copies of others: leave them out, or they are learnt first")
        if self.sizes:
            shorter = sorted(min(size) for size in self.sizes.elements())
            side = 1 << max(2, shorter[len(shorter) // 10].bit_length() - 1)
            gamma = _GAMMA * side**2 / _BATCH
            said.append(
                f"at {side} px and batches of {_BATCH}, a weight of R1 about {gamma:.2g} is a start "
                f"({_GAMMA} x pixels / batch); 5 times more and less are worth a try"
            )
        return said


class Look:
    """Looks at one image after the other, and keeps some 150 bytes of each.

    Args:
        expected: how many there will be.
    """

    def __init__(self, expected: int) -> None:
        self._every = max(1, -(-expected // TILES))
        self._names: list[str] = []
        self._digests: list[bytes] = []
        self._small: list[bytes] = []
        self._hashes: list[int] = []
        self._blank: list[str] = []
        self._shapes: list[tuple[int, int]] = []
        self._tiles: list[PixelArray] = []

    def add(self, name: str, pixels: PixelArray) -> None:
        """One image, uint8 [C, H, W]."""
        if len(self._names) % self._every == 0:
            self._tiles.append(_tile(pixels))
        grey = _grey(pixels)
        small = grey.resize((_SIDE, _SIDE), Image.Resampling.BOX)
        steps = np.asarray(grey.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), np.int16)
        bits = np.packbits(steps[:, 1:] > steps[:, :-1])
        self._names.append(name)
        self._digests.append(hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()[:16])
        self._small.append(small.tobytes())
        self._hashes.append(int.from_bytes(bits.tobytes(), "big"))
        self._shapes.append((pixels.shape[2], pixels.shape[1]))
        if float(pixels.std()) < _BLANK:
            self._blank.append(name)

    def findings(self) -> Findings:
        """Of all images so far."""
        blank = set(self._blank)
        tiles = np.stack(self._tiles) if self._tiles else np.empty((0, 3, TILE_PX, TILE_PX), np.uint8)
        equal = self._equal()
        return Findings(
            len(self._names),
            tuple(tuple(self._names[i] for i in group) for group in equal),
            tuple(
                group
                for group in (tuple(self._names[i] for i in group) for group in self._alike(equal))
                if not blank.issuperset(group)
            ),
            tuple(self._blank),
            self._odd(),
            Counter(self._shapes),
            tiles,
        )

    def _equal(self) -> list[list[int]]:
        groups: dict[bytes, list[int]] = {}
        for position, digest in enumerate(self._digests):
            groups.setdefault(digest, []).append(position)
        return [group for group in groups.values() if len(group) > 1]

    def _odd(self) -> tuple[str, ...]:
        if not self._shapes:
            return ()
        ratios = np.array([width / height for width, height in self._shapes])
        usual = np.median(ratios)
        return tuple(
            self._names[i] for i in np.flatnonzero((ratios > usual * _ODD) | (ratios < usual / _ODD))
        )

    def _alike(self, equal: list[list[int]]) -> list[list[int]]:
        """Groups of images whose hashes differ in few bits, by one image of each group of equal ones."""
        copies = {i for group in equal for i in group[1:]}
        at = np.array([i for i in range(len(self._names)) if i not in copies], np.int64)
        if len(at) < 2:
            return []
        hashes = np.array(self._hashes, np.uint64)[at]
        small = np.frombuffer(b"".join(self._small), np.uint8).reshape(-1, _SIDE**2)[at].astype(np.int16)
        parents = np.arange(len(at))
        for i, j in _pairs(hashes):
            if _close(small[i], small[j]):
                parents[_root(parents, i)] = _root(parents, j)
        groups: dict[int, list[int]] = {}
        for i in range(len(at)):
            groups.setdefault(_root(parents, i), []).append(int(at[i]))
        return [group for group in groups.values() if len(group) > 1]


def _pairs(hashes: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Pairs that have one of four bands of the hash in common: all that differ in three bits or fewer."""
    for band in range(_BANDS):
        keys = (hashes >> np.uint64(band * _BAND_BITS)) & np.uint64((1 << _BAND_BITS) - 1)
        order = np.lexsort((hashes, keys))
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        for run in np.split(order, edges):
            if len(run) < 2:
                continue
            reach = len(run) if len(run) <= _MOST_COMPARED else 2
            for first in range(len(run)):
                others = run[first + 1 : first + reach]
                differing = _bits(hashes[others] ^ hashes[run[first]])
                for other in others[differing <= _MOST_BITS]:
                    yield int(run[first]), int(other)


def _bits(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How many bits of each value are ones."""
    return np.unpackbits(values.view(np.uint8).reshape(-1, 8), axis=1).sum(1, dtype=np.int64)


def _close(one: NDArray[np.int16], other: NDArray[np.int16]) -> bool:
    return float(np.abs(one - other).mean()) < _ALIKE


def _root(parents: NDArray[np.int64], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = int(parents[i])
    return i


def _grey(pixels: PixelArray) -> Image.Image:
    return image_of(pixels).convert("L")


def _tile(pixels: PixelArray) -> PixelArray:
    """The image as a tile of a sheet, uint8 [3, TILE_PX, TILE_PX], black around."""
    image = image_of(pixels).convert("RGB")
    image.thumbnail((TILE_PX, TILE_PX), Image.Resampling.BOX)
    tile = Image.new("RGB", (TILE_PX, TILE_PX))
    tile.paste(image, ((TILE_PX - image.width) // 2, (TILE_PX - image.height) // 2))
    return np.ascontiguousarray(np.asarray(tile).transpose(2, 0, 1))
