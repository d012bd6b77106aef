"""The directory of a zip with a million entries, read in one piece: arrays instead of an object an entry.

Python's zipfile takes 10 seconds and 0.6 GB for it. Entries of one shape (lengths of name and extra field)
that follow each other are read at once; archives of ours have two or three such runs.
"""

from __future__ import annotations

import itertools
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from styleloom.data.stored_zip import END, END_64, LOCATOR, OFFSET_64

_ENTRY = np.dtype(
    {
        "names": [
            "signature",
            "flags",
            "method",
            "sum",
            "packed",
            "size",
            "name",
            "extra",
            "comment",
            "offset",
        ],
        "formats": ["S4", "<u2", "<u2", "<u4", "<u4", "<u4", "<u2", "<u2", "<u2", "<u4"],
        "offsets": [0, 8, 10, 16, 20, 24, 28, 30, 32, 42],
        "itemsize": 46,
    }
)
_SIGNATURE = b"PK\1\2"
_IN_EXTRA = 0xFFFFFFFF


@dataclass(frozen=True)
class Directory:
    """What a zip says of its entries, in their order.

    Args:
        names: bytes, an array for each run of entries with names of one length.
        flags, methods, sums, packed, sizes, offsets: of each entry.
    """

    names: tuple[NDArray[np.bytes_], ...]
    flags: NDArray[np.int64]
    methods: NDArray[np.int64]
    sums: NDArray[np.int64]
    packed: NDArray[np.int64]
    sizes: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def name_list(self) -> list[str]:
        """All names."""
        return [name.decode("utf-8", "surrogateescape") for part in self.names for name in part.tolist()]

    def number_of(self, name: str) -> int | None:
        """Of the first entry with a name; None where there is none."""
        at = 0
        for part in self.names:
            found = np.flatnonzero(part == name.encode("utf-8", "surrogateescape"))
            if len(found):
                return at + int(found[0])
            at += len(part)
        return None

    def places(self, wanted: Sequence[str]) -> NDArray[np.int64]:
        """The number of each wanted entry; -1 where it is missing."""
        if self.begins_with(wanted):
            return np.arange(len(wanted), dtype=np.int64)
        numbers = {name: i for i, name in enumerate(self.name_list())}
        return np.array([numbers.get(name, -1) for name in wanted], np.int64)

    def begins_with(self, wanted: Sequence[str]) -> bool:
        """Whether the first entries have these names, in this order, as far as that is soon known."""
        left = len(wanted)
        texts: list[bytes] = []
        lengths = set()
        for part in self.names:
            taken = part[:left]
            texts.append(taken.tobytes())
            lengths.add(taken.dtype.itemsize)
            left -= len(taken)
            if not left:
                break
        if left or len(lengths) != 1 or set(map(len, wanted)) != lengths:
            return False
        return "".join(wanted).encode("utf-8", "surrogateescape") == b"".join(texts)

    def repeated(self) -> str | None:
        """A name that stands there more than once; None for none."""
        within = all(len(part) == 1 or (part[1:] > part[:-1]).all() for part in self.names)
        if within and all(one[-1] < other[0] for one, other in itertools.pairwise(self.names)):
            return None  # in rising order: no two are equal
        counts = Counter(self.name_list())
        return next((name for name, count in counts.items() if count > 1), None)


def read_directory(path: Path) -> Directory:
    """The directory of a zip, as fast as it can be. Raises what zipfile raises for one that is damaged."""
    with open(path, "rb") as file:
        found = _read_runs(file)
    return _read_slowly(path) if found is None else found


def _read_slowly(path: Path) -> Directory:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    names = [np.array([entry.filename.encode("utf-8", "surrogateescape")]) for entry in entries]

    def column(field: str) -> NDArray[np.int64]:
        return np.array([getattr(entry, field) for entry in entries], np.int64)

    return Directory(
        tuple(names),
        flags=column("flag_bits"),
        methods=column("compress_type"),
        sums=column("CRC"),
        packed=column("compress_size"),
        sizes=column("file_size"),
        offsets=column("header_offset"),
    )


def _read_runs(file: BinaryIO) -> Directory | None:
    """None for zips that have more to them than ours: comments, something before them, names beyond ASCII."""
    end = _directory_end(file)
    if end is None:
        return None
    count, length, start = end
    file.seek(start)
    data = file.read(length)
    if len(data) != length:
        return None
    raw = np.frombuffer(data, np.uint8)
    at, parts, names = 0, [], []
    while at < length:
        run = _run(raw, at)
        if run is None:
            return None
        fields, texts, offsets, at = run
        parts.append((fields, offsets))
        names.append(texts)
    if sum(map(len, names)) != count or not count:
        return None

    def column(field: str) -> NDArray[np.int64]:
        return np.concatenate([fields[field].astype(np.int64) for fields, _ in parts])

    return Directory(
        tuple(names),
        flags=column("flags"),
        methods=column("method"),
        sums=column("sum"),
        packed=column("packed"),
        sizes=column("size"),
        offsets=np.concatenate([offsets for _, offsets in parts]),
    )


def _directory_end(file: BinaryIO) -> tuple[int, int, int] | None:
    """Count of entries, bytes and offset of the directory."""
    size = file.seek(0, 2)
    if size < END.size:
        return None
    file.seek(size - END.size)
    mark, _, _, _, count, length, start, comment = END.unpack(file.read(END.size))
    if mark != b"PK\5\6" or comment:
        return None
    end = size - END.size
    file.seek(max(0, end - LOCATOR.size))
    locator = file.read(LOCATOR.size)
    if locator.startswith(b"PK\6\7"):
        _, _, where, _ = LOCATOR.unpack(locator)
        if where > size - END_64.size:
            return None
        file.seek(where)
        mark, *_, count, length, start = END_64.unpack(file.read(END_64.size))
        if mark != b"PK\6\6":
            return None
        end = where
    return (count, length, start) if start + length == end else None


def _run(
    raw: NDArray[np.uint8], at: int
) -> tuple[NDArray[np.void], NDArray[np.bytes_], NDArray[np.int64], int] | None:
    """Fields, names and offsets of the entries from `at` on that have one shape, and where they end."""
    if at + _ENTRY.itemsize > len(raw):
        return None
    first = raw[at : at + _ENTRY.itemsize].view(_ENTRY)[0]
    name, extra = int(first["name"]), int(first["extra"])
    stride = _ENTRY.itemsize + name + extra
    if not name or int(first["comment"]) or at + stride > len(raw):
        return None
    rows = raw[at : at + (len(raw) - at) // stride * stride].reshape(-1, stride)
    fields = np.ascontiguousarray(rows[:, : _ENTRY.itemsize]).view(_ENTRY)[:, 0]
    same = (fields["signature"] == _SIGNATURE) & (fields["name"] == name) & (fields["extra"] == extra)
    same &= fields["comment"] == 0
    count = len(rows) if same.all() else int(same.argmin())
    if not count:
        return None
    fields, rows = fields[:count], rows[:count]
    texts = np.ascontiguousarray(rows[:, _ENTRY.itemsize : _ENTRY.itemsize + name])
    if (texts >= 0x80).any() or (texts == 0).any() or (texts == ord("\\")).any():
        return None
    offsets = fields["offset"].astype(np.int64)
    if extra:
        mark = np.ascontiguousarray(rows[:, _ENTRY.itemsize + name :])
        if extra != OFFSET_64.size or not (mark[:, :4] == (1, 0, 8, 0)).all() or (offsets != _IN_EXTRA).any():
            return None
        offsets = np.ascontiguousarray(mark[:, 4:]).view("<i8")[:, 0].astype(np.int64)
    elif (offsets == _IN_EXTRA).any() or (fields["size"] == _IN_EXTRA).any():
        return None
    return fields, texts.view(f"S{name}")[:, 0], offsets, at + count * stride


def stored_entry(path: Path, directory: Directory, number: int) -> bytes:
    """The content of a plainly stored entry. Raises BadZipFile where it is damaged."""
    with open(path, "rb") as file:
        file.seek(int(directory.offsets[number]))
        header = file.read(30)
        if len(header) != 30 or not header.startswith(b"PK\3\4"):
            raise zipfile.BadZipFile("Bad magic number for file header")
        name, extra = struct.unpack_from("<2H", header, 26)
        file.seek(name + extra, 1)
        content = file.read(int(directory.sizes[number]))
    if len(content) != directory.sizes[number] or zlib.crc32(content) != directory.sums[number]:
        raise zipfile.BadZipFile("Bad CRC-32 for file")
    return content


def stored_file(path: Path, name: str) -> bytes | None:
    """The content of a plainly stored file of a zip; None where that is not quickly known."""
    try:
        with open(path, "rb") as file:
            directory = _read_runs(file)
        if directory is None:
            return None
        number = directory.number_of(name)
        if number is None or directory.methods[number] or directory.flags[number] & 1:
            return None
        return stored_entry(path, directory, number)
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
