"""MNIST, Fashion-MNIST and their kin: idx files, packed or not."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from styleloom.data.labels import Labels
from styleloom.data.pixels import PixelArray
from styleloom.data.sources.place import Place
from styleloom.data.sources.source import Source, SourceOptions
from styleloom.errors import UserError, shown

_UINT8 = 0x08
_IMAGES = re.compile(r"(?P<before>.*)images(?P<mark>[-.]idx3)(?P<after>-ubyte(\.gz)?)")
_GZIP = b"\x1f\x8b"
_MAX_BYTES = 2**31


def fits(place: Place) -> bool:
    """Whether a place is an idx file of images, by its name or first bytes, or a folder with some."""
    if place.names is not None:
        return any(map(_IMAGES.fullmatch, place.names))
    return _IMAGES.fullmatch(place.path.name) is not None or place.head[:4] == bytes((0, 0, _UINT8, 3))


class IDXSource(Source):
    """The images of one file, grey.

    Args:
        path: a file of images, or a folder in which one is named `train`; labels lie beside it.

    Raises UserError: damaged or cut off, several sets in a folder.
    """

    kind = "an idx file of images"

    def __init__(self, place: Place, options: SourceOptions) -> None:
        super().__init__(place.path)
        self.file = _chosen(place.path) if place.is_folder else place.path
        self._images = _array(self.file, 3)
        self.names = tuple(f"{position:08d}" for position in range(len(self._images)))

    def size(self, name: str) -> int:
        """Bytes of the pixels."""
        return self._images[0].size

    def read(self, name: str) -> PixelArray:
        """Pixels uint8 [1, H, W]."""
        return self._images[int(name)][None]

    def own_labels(self) -> Labels | None:
        """Classes, from the file of labels beside that of images."""
        match = _IMAGES.fullmatch(self.file.name)
        if match is None:
            return None
        name = f"{match['before']}labels{match['mark'].replace('3', '1')}{match['after']}"
        names = (name, name.removesuffix(".gz"), f"{name}.gz")
        path = next((file for file in (self.file.with_name(name) for name in names) if file.is_file()), None)
        if path is None:
            return None
        labels = _array(path, 1)
        if len(labels) != len(self.names):
            raise UserError(f"{shown(path)}: {len(labels)} labels for {len(self.names)} images")
        by_name = {name: int(label) for name, label in zip(self.names, labels, strict=True)}
        return Labels(by_name, None, int(labels.max()) + 1)


def _chosen(folder: Path) -> Path:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and _IMAGES.fullmatch(path.name):
            found.setdefault(path.name.removesuffix(".gz"), path)
    training = [path for name, path in found.items() if "train" in name] or list(found.values())
    if len(training) > 1:
        names = ", ".join(shown(path.name) for path in training)
        raise UserError(f"{shown(folder)}: {len(training)} sets of images ({names}); name one of the files")
    return training[0]


def _array(path: Path, axes: int) -> NDArray[np.uint8]:
    """The numbers of a file. Raises UserError."""
    expected = f"expected an idx file of bytes with {axes} axes"
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{shown(path)}: larger than {_MAX_BYTES:,} bytes; {expected}")
        data = path.read_bytes()
        if data.startswith(_GZIP):
            unpacking = zlib.decompressobj(31)
            data = unpacking.decompress(data, _MAX_BYTES)
            if not unpacking.eof:
                raise UserError(f"{shown(path)}: cut off: the gzip file has no end; {expected}")
    except (OSError, zlib.error) as error:
        raise UserError(f"{shown(path)}: cannot be read ({error}); {expected}") from error
    if data[:4] != bytes((0, 0, _UINT8, axes)):
        raise UserError(
            f"{shown(path)}: begins with {data[:4].hex()}, not 0000{_UINT8:02x}{axes:02x}; {expected}"
        )
    if len(data) < 4 + 4 * axes:
        raise UserError(f"{shown(path)}: cut off within its header; {expected}")
    sides = struct.unpack_from(f">{axes}I", data, 4)
    rest = len(data) - 4 - 4 * axes
    if rest != int(np.prod(sides, dtype=object)) or 0 in sides:
        raise UserError(f"{shown(path)}: {rest:,} bytes where its header says {' x '.join(map(str, sides))}")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(sides)
