"""Writing a zip of plainly stored entries, of any size, which another process can go on with.

The bytes are those that Python's zipfile writes for the same entries. That keeps some 600 bytes of each entry
in memory, and cannot go on with a file that has no directory yet; this one keeps about 100.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from typing import BinaryIO

_LOCAL = struct.Struct("<4s2B4HL2L2H")
_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
END = struct.Struct("<4s4H2LH")
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
OFFSET_64 = struct.Struct("<2HQ")

_PLAIN, _ZIP64 = 20, 45  # versions needed to read
_UNIX = 3  # whatever system wrote it: the field would differ
_DATE = 0x21  # 1 January 1980
_ATTRIBUTES = 0o644 << 16
_LIMIT, _MOST_ENTRIES = (1 << 31) - 1, (1 << 16) - 1


class StoredZip:
    """A zip on its way into `file`, from its beginning, or where `entries` written before end.

    Args:
        file: open for writing and reading, at its beginning.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._names: list[str] = []
        self._offsets = array("Q")
        self._sizes = array("Q")
        self._sums = array("L")
        self.end = 0

    def add(self, name: str, content: bytes) -> None:
        """Append one entry. `name` is ASCII."""
        checksum = zlib.crc32(content)
        self._file.write(self._header(name, checksum, len(content)))
        self._file.write(content)
        self._note(name, checksum, len(content))

    def again(self, name: str, size: int) -> bytes | None:
        """Read an entry that an earlier process appended, which must be the next one: its content.

        None where it is not there as it should be; the place to write is then where it begins.
        """
        self._file.seek(self.end)
        header = self._file.read(_LOCAL.size + len(name))
        content = self._file.read(size)
        checksum = zlib.crc32(content)
        if len(content) != size or header != self._header(name, checksum, size):
            self._file.seek(self.end)
            return None
        self._note(name, checksum, size)
        return content

    def cut(self) -> None:
        """Drop everything after the last entry, and go on there."""
        self._file.truncate(self.end)
        self._file.seek(self.end)

    def finish(self) -> None:
        """Write the directory."""
        start = self.end
        fields = zip(self._names, self._offsets, self._sizes, self._sums, strict=True)
        for name, offset, size, checksum in fields:
            extra, version = b"", _PLAIN
            if offset > _LIMIT:
                extra, version, offset = OFFSET_64.pack(1, 8, offset), _ZIP64, 0xFFFFFFFF
            about = (version, _UNIX, version, 0, 0, 0, 0, _DATE, checksum, size, size)
            lengths = (len(name), len(extra), 0, 0, 0)
            entry = _CENTRAL.pack(b"PK\1\2", *about, *lengths, _ATTRIBUTES, offset)
            self._file.write(entry + name.encode() + extra)
            self.end += len(entry) + len(name) + len(extra)
        count, length = len(self._names), self.end - start
        if count > _MOST_ENTRIES or start > _LIMIT or length > _LIMIT:
            end_64 = (44, _ZIP64, _ZIP64, 0, 0, count, count, length, start)
            self._file.write(END_64.pack(b"PK\6\6", *end_64))
            self._file.write(LOCATOR.pack(b"PK\6\7", 0, self.end, 1))
        count, length, start = min(count, 0xFFFF), min(length, 0xFFFFFFFF), min(start, 0xFFFFFFFF)
        self._file.write(END.pack(b"PK\5\6", 0, 0, count, count, length, start, 0))

    def _header(self, name: str, checksum: int, size: int) -> bytes:
        about = (_PLAIN, 0, 0, 0, 0, _DATE, checksum, size, size, len(name), 0)
        return _LOCAL.pack(b"PK\3\4", *about) + name.encode("ascii")

    def _note(self, name: str, checksum: int, size: int) -> None:
        self._names.append(name)
        self._offsets.append(self.end)
        self._sizes.append(size)
        self._sums.append(checksum)
        self.end += _LOCAL.size + len(name) + size
