"""What a file is on the outside: a pickle, gzip around it, or one of the two formats of PyTorch."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from styleloom.errors import UserError
from styleloom.file_kinds import kind_of, readable_file
from styleloom.foreign.pickles.names import Seen
from styleloom.foreign.pickles.records import Buffer
from styleloom.foreign.pickles.torch_files import read_legacy, read_zip
from styleloom.foreign.pickles.unpickler import Unpickler
from styleloom.snapshot_names import PICKLE_ENDINGS

LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"

MOST_INFLATED, INFLATED_FREE = 20, 1 << 24
"""A gzip file may unpack to so many times its size, and this many bytes more: weights hardly shrink."""

EXPECTED = "a styleloom-snapshot (*.safetensors), or weights that docs/weights.md lists"


@dataclass(frozen=True)
class Contained:
    """What a file holds.

    Args:
        container: in words.
        value: the object of its pickle.
        seen: the names in it.
        file: its bytes.
    """

    container: str
    value: Any
    seen: Seen
    file: Buffer

    @property
    def size(self) -> int:
        """Of the file, bytes."""
        return len(self.file)

    @cached_property
    def sha256(self) -> str:
        """Of the file as it was read, hex."""
        return hashlib.sha256(self.file).hexdigest()


def looks_foreign(path: Path) -> bool:
    """Whether a file begins as a pickle, gzip or a file of PyTorch does, or is called like one.

    Raises UserError where there is no such file.
    """
    head = readable_file(path, EXPECTED)
    if head[5:9] == b"\0\0\0{":  # safetensors: the length of the header in eight bytes, then the header
        return False
    return head[:1] == b"\x80" or head[:2] in (b"PK", b"\x1f\x8b") or path.suffix in PICKLE_ENDINGS


def read_container(path: Path) -> Contained:
    """Read a file. Raises UserError for one that is no pickle, damaged or names what weights do not need."""
    readable_file(path, EXPECTED)
    held: Any = np.empty(path.stat().st_size, np.uint8)  # memory that is not cleared first
    with open(path, "rb") as file:
        data = whole = memoryview(held)[: file.readinto(memoryview(held))]
    prefix = ""
    if bytes(data[:2]) == b"\x1f\x8b":
        data, prefix = memoryview(_inflated(data)), "gzip of "
    head = bytes(data[:4096])
    seen = Seen()
    if head.startswith(LEGACY):
        return Contained(f"{prefix}PyTorch, legacy", read_legacy(data, seen), seen, whole)
    if head[:4] == b"PK\x03\x04":
        return Contained(f"{prefix}PyTorch, zip", read_zip(data, seen), seen, whole)
    kind = kind_of(head)
    if not whole or (kind is not None and head[:1] != b"\x80") or not _may_be_pickle(head):
        raise UserError(
            f"not weights: this is {kind or ('an empty file' if not whole else 'of no known kind')}"
        )
    pickle = Unpickler(data, 0, seen)
    value = pickle.load()
    if pickle.at != pickle.size:
        raise UserError(f"refused, {pickle.size - pickle.at} bytes follow the end of the pickle")
    protocol = head[1] if head[:1] == b"\x80" else "0 or 1"
    return Contained(f"{prefix}pickle, protocol {protocol}", value, seen, whole)


def _may_be_pickle(head: bytes) -> bool:
    """Whether a file may be a pickle: later protocols say so, older ones begin with a mark or a name."""
    return head[:1] in (b"\x80", b"(", b"c", b"]", b"}", b"N", b"I", b"L", b"F", b"S", b"V")


def _inflated(data: Buffer) -> bytes:
    """What a gzip file holds. Raises UserError for more than weights could."""
    limit = MOST_INFLATED * len(data) + INFLATED_FREE
    inflate = zlib.decompressobj(31)
    try:
        content = inflate.decompress(data, limit)
    except zlib.error as error:
        raise UserError("damaged, this gzip file cannot be unpacked") from error
    if inflate.unconsumed_tail:
        raise UserError("refused, this gzip file unpacks to far more than weights would")
    if not inflate.eof:
        raise UserError("damaged or cut off, this gzip file has no end")
    return content
