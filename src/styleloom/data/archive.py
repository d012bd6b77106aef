"""The stored form of a data set: one uncompressed zip of PNGs with a JSON index."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from styleloom.config.parts import image_size
from styleloom.data.conversion import SQUARE
from styleloom.data.decoding import words
from styleloom.data.image_names import INDEX_NAME
from styleloom.data.index import Index, is_index
from styleloom.data.pixels import PixelArray
from styleloom.data.sources import EMBEDDED_SETS, ZipSource
from styleloom.data.stored_zip import StoredZip
from styleloom.data.zip_directory import stored_file
from styleloom.errors import UserError
from styleloom.names import embedded_name

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def is_archive(path_or_name: str | Path) -> bool:
    """Whether `path_or_name` is an archive or embedded set, rather than other images or nothing at all."""
    if embedded_name(path_or_name, EMBEDDED_SETS) is not None:
        return True
    if not os.path.isfile(path_or_name):
        return False
    known = stored_file(Path(path_or_name), INDEX_NAME)
    if known is not None and is_index(known):
        return True
    try:
        with contextlib.closing(ZipSource(Path(path_or_name))) as source:
            content = source.index() if source.index_name == INDEX_NAME else None
    except UserError:
        return False
    except OSError:
        return True  # opening it says what is wrong with its index
    return content is not None and is_index(content)


def encode_png(pixels: PixelArray) -> bytes:
    """uint8 [C, H, W] with C of 1, 3 or 4 to a PNG file."""
    rows = pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    image = Image.fromarray(rows)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def decode_png(data: bytes, resolution: int, channels: int, grid: tuple[int, int] = SQUARE) -> PixelArray:
    """A PNG file to uint8 [C, H, W]. Raises ValueError when it is damaged or of another size or mode."""
    height, width = image_size(resolution, grid)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            found, expected = (*image.size, image.mode), (width, height, _MODES[channels])
            if found != expected:
                raise ValueError(
                    f"{found[0]}x{found[1]} px {found[2]}, but the index says "
                    f"{expected[0]}x{expected[1]} px {expected[2]}"
                )
            pixels = np.asarray(image)
    except ValueError:
        raise
    except Exception as error:  # what a PNG decoder raises on damaged bytes is not enumerable
        raise ValueError(f"not a readable PNG ({words(error)})") from error
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


class ArchiveWriter:
    """Writes an archive entry by entry; equal input gives equal bytes (fixed times and attributes).

    Args:
        file: open for reading and writing, at its beginning; see `unfinished.Unfinished`, with which an
            archive without an index never carries its final name.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._zip = StoredZip(file)
        self._pixels = hashlib.sha256()
        self.files: list[str] = []
        self.sources: list[str] = []

    def add(self, png: bytes, pixels: PixelArray, source: str) -> None:
        """Append one image: its file, the pixels that the file decodes to, its name in the source."""
        self._zip.add(self._next(), png)
        self._note(pixels, source)

    def again(self, size: int, source: str, shape: tuple[int, int, int]) -> bool:
        """Take over an image that an earlier process appended; whether it is there, whole."""
        png = self._zip.again(self._next(), size)
        if png is None:
            return False
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            pixels = np.asarray(image)
        pixels = pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
        if pixels.shape != shape:
            return False
        self._note(pixels, source)
        return True

    def cut(self) -> None:
        """Drop what follows the images so far in the file."""
        self._zip.cut()

    def _next(self) -> str:
        return f"{len(self.files):08d}.png"

    def _note(self, pixels: PixelArray, source: str) -> None:
        self._pixels.update(pixels.tobytes())
        self.files.append(self._next())
        self.sources.append(source)

    @property
    def pixels_sha256(self) -> str:
        """Over the pixels of all images added so far, in order (hex)."""
        return self._pixels.hexdigest()

    def finish(self, index: Index) -> None:
        """Store the index, last: a zip without one is no archive."""
        self._zip.add(INDEX_NAME, index.to_json())
        self._zip.finish()
