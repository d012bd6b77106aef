"""The stored form of a data set: one uncompressed zip of images with a JSON index."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from styleloom.data.encodings import ENCODINGS, Encoding
from styleloom.data.image_names import INDEX_NAME
from styleloom.data.index import Index, is_index
from styleloom.data.pixels import PixelArray
from styleloom.data.sources import EMBEDDED_SETS, ZipSource
from styleloom.data.stored_zip import StoredZip
from styleloom.data.zip_directory import stored_file
from styleloom.errors import UserError
from styleloom.names import embedded_name


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


class ArchiveWriter:
    """Writes an archive entry by entry; equal input gives equal bytes (fixed times and attributes).

    Args:
        file: open for reading and writing, at its beginning; see `unfinished.Unfinished`, with which an
            archive without an index never carries its final name.
        encoding: of its images.
    """

    def __init__(self, file: BinaryIO, encoding: Encoding = ENCODINGS["png"]) -> None:
        self._encoding = encoding
        self._zip = StoredZip(file)
        self._pixels = hashlib.sha256()
        self.files: list[str] = []
        self.sources: list[str] = []

    def add(self, data: bytes, pixels: PixelArray, source: str) -> None:
        """Append one image: its file, the pixels that the file decodes to, its name in the source."""
        self._zip.add(self._next(), data)
        self._note(pixels, source)

    def again(self, size: int, source: str, shape: tuple[int, int, int]) -> bool:
        """Take over an image that an earlier process appended; whether it is there, whole."""
        data = self._zip.again(self._next(), size)
        if data is None:
            return False
        try:
            pixels = self._encoding.decode(data, shape)
        except ValueError:
            return False
        self._note(pixels, source)
        return True

    def cut(self) -> None:
        """Drop what follows the images so far in the file."""
        self._zip.cut()

    def _next(self) -> str:
        return f"{len(self.files):08d}{self._encoding.suffix}"

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
