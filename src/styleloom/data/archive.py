"""The stored form of a data set: one uncompressed zip of PNGs with a JSON index."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import zipfile
from pathlib import Path
from types import TracebackType

import numpy as np
from PIL import Image

from styleloom.config.parts import image_size
from styleloom.data.conversion import SQUARE
from styleloom.data.decoding import words
from styleloom.data.image_names import INDEX_NAME
from styleloom.data.index import Index, is_index
from styleloom.data.pixels import PixelArray
from styleloom.data.sources import EMBEDDED_SETS, ZipSource
from styleloom.errors import UserError
from styleloom.names import embedded_name

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def is_archive(path_or_name: str | Path) -> bool:
    """Whether `path_or_name` is an archive or embedded set, rather than other images or nothing at all."""
    if embedded_name(path_or_name, EMBEDDED_SETS) is not None:
        return True
    if not os.path.isfile(path_or_name):
        return False
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

    Use inside `styleloom.atomic.atomic_path`, so that an archive without an index never carries its final
    name.
    """

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)
        self._pixels = hashlib.sha256()
        self.files: list[str] = []
        self.sources: list[str] = []

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def add(self, png: bytes, pixels: PixelArray, source: str) -> None:
        """Append one image: its file, the pixels that the file decodes to, its name in the source."""
        file = f"{len(self.files):08d}.png"
        self._store(file, png)
        self._pixels.update(pixels.tobytes())
        self.files.append(file)
        self.sources.append(source)

    @property
    def pixels_sha256(self) -> str:
        """Over the pixels of all images added so far, in order (hex)."""
        return self._pixels.hexdigest()

    def finish(self, index: Index) -> None:
        """Store the index, last: a zip without one is no archive."""
        self._store(INDEX_NAME, index.to_json())

    def _store(self, name: str, content: bytes) -> None:
        entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        entry.create_system = 3  # Unix, whatever wrote it: the field would differ between systems
        entry.external_attr = 0o644 << 16
        self._zip.writestr(entry, content)
