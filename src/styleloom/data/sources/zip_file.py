"""A zip of image files."""

from __future__ import annotations

import contextlib
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from styleloom.data.image_names import SIGNATURE_BYTES, images_among, index_among
from styleloom.data.sources.source import (
    LARGE_BYTES,
    Source,
    identity,
    reason,
    refuse_large,
    refuse_large_index,
)
from styleloom.errors import UserError, quoted, shown

_MOST_PACKED = 200  # largest ratio of compression in a zip: images are compressed already


class ZipSource(Source):
    """All images in a zip, in stored order.

    Names are read as the system that wrote them meant: `\\` becomes `/`, and a name that is valid UTF-8 is
    read as UTF-8 even where the zip does not mark it so.
    """

    kind = "a zip of images"

    def __init__(self, path: Path, name: str | None = None) -> None:
        super().__init__(path, name or path.name)
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # damaged directories raise nearly anything
            raise UserError(
                f"{shown(path)}: not a readable zip ({reason(error)}); valid: a folder or a zip of images"
            ) from error
        listed = [(_entry_name(entry), entry) for entry in self._zip.infolist()]
        files = [(name, entry) for name, entry in listed if not name.endswith("/")]
        self._entries = dict(files)
        counts = Counter(name for name, _ in files)
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            self._zip.close()
            raise UserError(
                f"{shown(path)}: holds {quoted(twice[0])} more than once ({len(twice)} such names)"
            )
        self.names, self.ignored = images_among(self._entries, self._head)
        self.index_name = index_among(self._entries, self.names)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_zip": None, "_entries": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], state["name"])

    def size(self, name: str) -> int:
        """Bytes of one file, as the zip claims. Raises OSError."""
        return self._entries[name].file_size

    def stamp(self, name: str) -> str:
        """Size and checksum of one file."""
        return f"{self._entries[name].file_size} {self._entries[name].CRC}"

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises OSError."""
        entry = self._entries[name]
        if entry.file_size > LARGE_BYTES:
            refuse_large(entry.file_size, self._head(name))
            _refuse_packed(entry)
        return self._open(entry, lambda file: file.read())

    def index(self) -> bytes | None:
        """The bytes of `dataset.json`. Raises OSError."""
        if self.index_name is None:
            return None
        entry = self._entries[self.index_name]
        refuse_large_index(entry.file_size, len(self._entries))
        if entry.file_size > LARGE_BYTES:
            _refuse_packed(entry)
        return self._open(entry, lambda file: file.read())

    def holds(self, path: Path) -> bool:
        """Whether `path` is the zip itself, under whatever name."""
        return identity(path) == identity(self.path)

    def close(self) -> None:
        """Close the zip."""
        self._zip.close()

    def _head(self, name: str) -> bytes:
        return self._open(self._entries[name], lambda file: file.read(SIGNATURE_BYTES))

    def _open(self, entry: zipfile.ZipInfo, read: Callable[[IO[bytes]], bytes]) -> bytes:
        if entry.flag_bits & 0x1:
            raise OSError("encrypted in the zip; unpack it and pack it again without a password")
        # Python inflates with a bound; the other methods make gigabytes of a few bytes in one step.
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise OSError(f"compressed in the zip by method {entry.compress_type}; valid: stored or deflate")
        try:
            with self._zip.open(entry) as file:
                return read(file)
        except Exception as error:  # what damaged entries raise is not enumerable
            raise OSError(f"damaged in the zip: {reason(error)}") from error


def _entry_name(entry: zipfile.ZipInfo) -> str:
    name = entry.filename
    if not entry.flag_bits & 0x800 and not name.isascii():
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return name.replace("\\", "/")


def _refuse_packed(entry: zipfile.ZipInfo) -> None:
    if entry.file_size > _MOST_PACKED * entry.compress_size:
        raise OSError(
            f"claims {entry.file_size:,} bytes, packed into {entry.compress_size:,} (decompression bomb?)"
        )
