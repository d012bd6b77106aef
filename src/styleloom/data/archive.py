"""The stored form of a data set: one uncompressed zip of PNGs with a JSON index."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NoReturn

import numpy as np
from PIL import Image

from styleloom.config.parts import image_size
from styleloom.data.conversion import SQUARE
from styleloom.data.decoding import words
from styleloom.data.image_names import INDEX_NAME
from styleloom.data.index import Index, is_index, parse_index
from styleloom.data.paths import kind_of
from styleloom.data.pixels import PixelArray
from styleloom.data.sources import EMBEDDED, MAX_INDEX_BYTES, ZipSource
from styleloom.errors import UserError, shell_word, shown
from styleloom.names import embedded_name

# Local header of a zip entry; its last two fields are the lengths of name and extra field.
_LOCAL_HEADER = struct.Struct("<26x2H")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_COLOURS = {1: 0, 3: 2, 4: 6}
_LARGEST_REST = 2**20  # bytes of a PNG file besides twice its pixels


def is_archive(path_or_name: str | Path) -> bool:
    """Whether `path_or_name` is an archive or embedded set, rather than other images or nothing at all."""
    if embedded_name(path_or_name, EMBEDDED) is not None:
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

    def finish(self, make_index: Callable[[str, tuple[str, ...], tuple[str, ...]], Index]) -> Index:
        """Store the index made from pixels_sha256, files and sources; return it."""
        index = make_index(self._pixels.hexdigest(), tuple(self.files), tuple(self.sources))
        self._store(INDEX_NAME, index.to_json())
        return index

    def _store(self, name: str, content: bytes) -> None:
        entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        entry.create_system = 3  # Unix, whatever wrote it: the field would differ between systems
        entry.external_attr = 0o644 << 16
        self._zip.writestr(entry, content)


class ArchiveReader:
    """Random access to the images of an archive, from any number of threads and processes.

    The zip's directory is read once; each thread of each process then has its own file handle, so no lock is
    held while reading and a forked process does not move its parent's file position. Can be pickled.

    Raises UserError, naming the archive: missing path, not a zip, no index, index damaged, an image that the
    index lists missing from the zip, or compressed entries.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._num_bytes = 0
        self._offsets: list[tuple[int, int, int]] = []  # per image: header offset, size, CRC
        content = self._read_directory()
        self.index = parse_index(shown(path), content)
        self.index_sha256 = hashlib.sha256(content).hexdigest()
        self._list_images()
        self._local = threading.local()

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()

    def _read_directory(self) -> bytes:
        """Open the zip once: the bytes of the index, and where every entry is."""
        command = f"styleloom dataset build {shell_word(self.path)} DEST.zip --resolution RESOLUTION"
        if kind_of(self.path, "no such data set", "an archive made by styleloom dataset build") == "folder":
            raise UserError(f"{shown(self.path)} is a folder; make an archive first: {command}")
        try:
            self._num_bytes = self.path.stat().st_size
            with zipfile.ZipFile(self.path) as archive:
                listed = archive.infolist()
                self._entries = {entry.filename: entry for entry in listed}
                if INDEX_NAME not in self._entries:
                    raise UserError(
                        f"{shown(self.path)}: no {INDEX_NAME} in it, so not a styleloom archive; make one "
                        f"with: {command}"
                    )
                twice = next((name for name, n in Counter(e.filename for e in listed).items() if n > 1), None)
                if twice is not None:
                    self._refuse(twice, "is in it more than once; build the archive again")
                self._check_entry(self._entries[INDEX_NAME], MAX_INDEX_BYTES)
                return archive.read(INDEX_NAME)
        except UserError:
            raise
        except Exception as error:  # damaged directories raise nearly anything
            raise UserError(f"{shown(self.path)}: not a readable zip ({words(error)})") from error

    def _check_entry(self, entry: zipfile.ZipInfo, limit: int) -> None:
        """It is stored plainly, and where the file has bytes: then no size is a lie."""
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 0x1:
            self._refuse(entry.filename, "is compressed or encrypted; archives store it plainly")
        end = entry.header_offset + entry.file_size
        if entry.file_size != entry.compress_size or end > self._num_bytes or entry.file_size > limit:
            self._refuse(entry.filename, f"is damaged: the zip says that it has {entry.file_size:,} bytes")

    def _refuse(self, file: str, reason: str) -> NoReturn:
        raise UserError(f"{shown(self.path)}: {shown(file)} {reason}")

    def _list_images(self) -> None:
        missing = [file for file in self.index.files if file not in self._entries]
        if missing:
            raise UserError(
                f"{shown(self.path)}: {len(missing)} images of the index are not in the zip, first "
                f"{shown(missing[0])}"
            )
        height, width = self.index.recipe.size
        limit = 2 * self.index.recipe.channels * height * width + _LARGEST_REST
        for file in self.index.files:
            entry = self._entries[file]
            self._check_entry(entry, limit)
            self._offsets.append((entry.header_offset, entry.file_size, entry.CRC))
        del self._entries

    def check_headers(self, most: int = 1000) -> None:
        """Compare the header of every image, or of `most` of them, with the index; nothing is decoded.

        Raises UserError naming archive and file.
        """
        recipe, number = self.index.recipe, len(self._offsets)
        height, width = recipe.size
        expected = _PNG_START + struct.pack(">2I2B", width, height, 8, _PNG_COLOURS[recipe.channels])
        for position in range(0, number, -(-number // most)):
            if self._start(position, len(expected)) != expected:
                self.image(position)  # says what is wrong
                self._refuse(self.index.files[position], "is a PNG of another kind than archives hold")

    def read(self, position: int) -> bytes:
        """The PNG file of the image at `position`. Raises UserError naming archive and file."""
        _, size, crc = self._offsets[position]
        data = self._start(position, size)
        if len(data) != size or zlib.crc32(data) != crc:
            self._refuse(self.index.files[position], "is damaged (checksum)")
        return data

    def _start(self, position: int, length: int) -> bytes:
        """The first bytes of the PNG file of the image at `position`."""
        offset, size, _ = self._offsets[position]
        try:
            opened = self._handle().file
            opened.seek(offset)
            name_length, extra_length = _LOCAL_HEADER.unpack(opened.read(_LOCAL_HEADER.size))
            opened.seek(name_length + extra_length, os.SEEK_CUR)
            return opened.read(min(length, size))
        except (OSError, struct.error) as error:
            self._refuse(self.index.files[position], f"cannot be read: {error}")

    def image(self, position: int) -> PixelArray:
        """uint8 [C, H, W]. Raises UserError naming archive and file."""
        recipe = self.index.recipe
        data = self.read(position)
        try:
            return decode_png(data, recipe.resolution, recipe.channels, recipe.grid)
        except ValueError as error:
            file = f"{shown(self.path)}: {shown(self.index.files[position])}"
            raise UserError(f"{shown(file)}: {error}") from error

    def _handle(self) -> _Handle:
        """This thread's own handle; opened anew in a forked process."""
        handle: _Handle | None = getattr(self._local, "handle", None)
        if handle is None or handle.pid != os.getpid():
            handle = self._local.handle = _Handle(self.path)
        return handle

    def close(self) -> None:
        """Close the handles of all threads; a later read opens new ones."""
        self._local = threading.local()


class _Handle:
    """A file that closes when its owner, one thread, ends or lets go of it."""

    def __init__(self, path: Path) -> None:
        self.pid = os.getpid()
        self.file: BinaryIO = open(path, "rb")  # noqa: SIM115 - closed by __del__

    def __del__(self) -> None:
        if hasattr(self, "file"):  # not there when opening failed
            self.file.close()
