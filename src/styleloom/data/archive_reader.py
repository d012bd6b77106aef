"""Reading the images of an archive."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import struct
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from styleloom.data.decoding import words
from styleloom.data.encodings import ENCODINGS
from styleloom.data.image_names import INDEX_NAME
from styleloom.data.index import parse_index
from styleloom.data.labels import label_rows
from styleloom.data.paths import path_kind
from styleloom.data.pixels import PixelArray
from styleloom.data.reader import ImageInfo, ImageReader
from styleloom.data.sources import EMBEDDED_SETS, MAX_INDEX_BYTES
from styleloom.data.zip_directory import read_directory, stored_entry
from styleloom.errors import UserError, shell_word, shown
from styleloom.names import embedded_name

# Local header of a zip entry; its last two fields are the lengths of name and extra field.
_LOCAL_HEADER = struct.Struct("<26x2H")
_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_COLOURS = {1: 0, 3: 2, 4: 6}
_LARGEST_REST = 2**20  # bytes; a PNG file may have so many more than twice its pixels


def open_archive(path_or_name: str | Path) -> ArchiveReader:
    """The archive at a path, or an embedded set by name. Raises UserError as `ArchiveReader` does."""
    embedded = embedded_name(path_or_name, EMBEDDED_SETS)
    if embedded is not None:
        return ArchiveReader(EMBEDDED_SETS[embedded], embedded, embedded)
    path = Path(path_or_name)
    return ArchiveReader(path, path.stem, str(path.absolute()))


class ArchiveReader(ImageReader):
    """Random access to the images of an archive, from any number of threads and processes.

    The zip's directory is read once; each thread of each process then has its own file handle, so no lock is
    held while reading and a forked process does not move its parent's file position. Can be pickled.

    Args:
        path: of the archive.
        name: for messages and tables.
        recorded: where the archive is, as a run records it (`ImageInfo.path`).

    Raises UserError, naming the archive: missing path, not a zip, no index, index damaged, an image that the
    index lists missing from the zip, or compressed entries.
    """

    def __init__(self, path: Path, name: str, recorded: str) -> None:
        self.path = path
        self._num_bytes = 0
        self._offsets: NDArray[np.int64]  # [N, 3]: header offset, size and CRC of each image
        content = self._read_directory()
        self.index = parse_index(shown(path), content)
        self.info = ImageInfo(
            name=name,
            path=recorded,
            # The index holds hashes of the source and of all pixels, so that its own hash covers them.
            identity=(hashlib.sha256(content).hexdigest(),),
            resolution=self.index.recipe.resolution,
            channels=self.index.recipe.channels,
            grid=self.index.recipe.grid,
            label_dim=self.index.label_dim,
            has_vectors=isinstance((self.index.labels or (0,))[0], tuple),
            classes=self.index.classes,
            recipe=dataclasses.asdict(self.index.recipe),
        )
        self._list_images()
        self._local = threading.local()

    def __len__(self) -> int:
        return len(self.index.files)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._local = threading.local()

    def _read_directory(self) -> bytes:
        """Open the zip once: the bytes of the index, and where every entry is."""
        command = f"styleloom dataset build {shell_word(self.path)} DEST.zip --resolution RESOLUTION"
        if path_kind(self.path, "no such data set", "an archive made by styleloom dataset build") == "folder":
            raise UserError(f"{shown(self.path)} is a folder; make an archive first: {command}")
        try:
            self._num_bytes = self.path.stat().st_size
            self._directory = read_directory(self.path)
            number = self._directory.number_of(INDEX_NAME)
            if number is None:
                raise UserError(
                    f"{shown(self.path)}: no {INDEX_NAME} in it, so not a styleloom archive; make one "
                    f"with: {command}"
                )
            twice = self._directory.repeated()
            if twice is not None:
                self._refuse(twice, "is in it more than once; build the archive again")
            self._check_entries([INDEX_NAME], np.array([number]), MAX_INDEX_BYTES)
            return stored_entry(self.path, self._directory, number)
        except UserError:
            raise
        except Exception as error:  # damaged directories raise nearly anything
            raise UserError(f"{shown(self.path)}: not a readable zip ({words(error)})") from error

    def _check_entries(self, names: Sequence[str], at: NDArray[np.int64], limit: int) -> None:
        """Raise UserError unless entries are not compressed, within the file and of at most `limit` bytes."""
        entries = self._directory
        packed = (entries.methods[at] != 0) | (entries.flags[at] & 1 != 0)
        if packed.any():
            self._refuse(names[int(packed.argmax())], "is compressed or encrypted; archives store it plainly")
        sizes = entries.sizes[at]
        wrong = (
            (sizes != entries.packed[at]) | (entries.offsets[at] + sizes > self._num_bytes) | (sizes > limit)
        )
        if wrong.any():
            first = int(wrong.argmax())
            self._refuse(names[first], f"is damaged: the zip says that it has {sizes[first]:,} bytes")

    def _refuse(self, file: str, reason: str) -> NoReturn:
        raise UserError(f"{shown(self.path)}: {shown(file)} {reason}")

    def _list_images(self) -> None:
        at = self._directory.places(self.index.files)
        missing = np.flatnonzero(at < 0)
        if len(missing):
            raise UserError(
                f"{shown(self.path)}: {len(missing)} images of the index are not in the zip, first "
                f"{shown(self.index.files[missing[0]])}"
            )
        height, width = self.index.recipe.size
        limit = 2 * self.index.recipe.channels * height * width + _LARGEST_REST
        self._check_entries(self.index.files, at, limit)
        entries = self._directory
        self._offsets = np.stack([entries.offsets[at], entries.sizes[at], entries.sums[at]], axis=1)
        del self._directory

    def check_headers(self, most: int = 1000) -> None:
        """Compare the header of every image, or of `most` of them, with the index; nothing is decoded.

        Raises UserError naming archive and file.
        """
        recipe, number = self.index.recipe, len(self._offsets)
        height, width = recipe.size
        if recipe.format != "png":
            for position in range(0, number, -(-number // min(most, 10))):
                self.image(position)
            return
        expected = _PNG_START + struct.pack(">2I2B", width, height, 8, _PNG_COLOURS[recipe.channels])
        for position in range(0, number, -(-number // most)):
            if self._start(position, len(expected)) != expected:
                self.image(position)  # says what is wrong
                self._refuse(self.index.files[position], "is a PNG of another kind than archives hold")

    def read(self, position: int) -> bytes:
        """The file of the image at `position`. Raises UserError naming archive and file."""
        _, size, crc = map(int, self._offsets[position])
        data = self._start(position, size)
        if len(data) != size or zlib.crc32(data) != crc:
            self._refuse(self.index.files[position], "is damaged (checksum)")
        return data

    def _start(self, position: int, length: int) -> bytes:
        """The first bytes of the PNG file of the image at `position`."""
        offset, size, _ = map(int, self._offsets[position])
        try:
            opened = self._handle().file
            opened.seek(offset)
            name_length, extra_length = _LOCAL_HEADER.unpack(opened.read(_LOCAL_HEADER.size))
            opened.seek(name_length + extra_length, os.SEEK_CUR)
            return opened.read(min(length, size))
        except (OSError, struct.error) as error:
            self._refuse(self.index.files[position], f"cannot be read: {error}")

    def images(self, indices: NDArray[np.int64]) -> PixelArray:
        """uint8 [N, C, H, W]. Raises UserError naming archive and file."""
        pixels = np.empty((len(indices), self.info.channels, *self.info.size), np.uint8)
        for row, index in enumerate(indices):
            pixels[row] = self.image(int(index))
        return pixels

    def image(self, position: int) -> PixelArray:
        """uint8 [C, H, W]. Raises UserError naming archive and file."""
        recipe = self.index.recipe
        data = self.read(position)
        try:
            return ENCODINGS[recipe.format].decode(data, (recipe.channels, *recipe.size))
        except ValueError as error:
            file = f"{shown(self.path)}: {shown(self.index.files[position])}"
            raise UserError(f"{file}: {error}") from error

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [N, label_dim]: one-hot for classes, the vector itself otherwise, empty without labels."""
        return label_rows(self.index.labels, indices, self.info.label_dim)

    def source_name(self, index: int) -> str:
        """Name that the image had in the source of the archive."""
        return self.index.sources[index]

    def check_pixels(self, pixels: PixelArray) -> None:
        """Compare all images, uint8 [N, C, H, W], with the hash in the index. Raises UserError."""
        total = hashlib.sha256()
        for image in pixels:
            total.update(image)
        if total.hexdigest() != self.index.pixels_sha256:
            raise UserError(
                f"{shown(self.path)}: the pixels are not those of the index (pixels_sha256): an "
                "image was changed after the archive was made; make it again with: styleloom dataset build"
            )

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
