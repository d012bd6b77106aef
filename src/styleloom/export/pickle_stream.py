"""A pickle of the few kinds of values that a network of the TensorFlow codes is kept as.

The stream names classes that need not be importable here, and those of NumPy under the names that they had
before NumPy 2, so that any version reads it. It is protocol 3, which Python 3.0 and later read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

MAX_ARRAY_BYTES = 2**32 - 1
"""Longest content of an array: its length has 32 bits."""


@dataclass(frozen=True)
class Instance:
    """An object that is made without arguments and then given its state.

    Args:
        module, name: of its class.
        state: what its `__setstate__` takes.
    """

    module: str
    name: str
    state: Mapping[str, Any]


class PickleWriter:
    """Writes values to a file.

    Args:
        file: binary, at the place where the pickle begins.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def dump(self, value: Any) -> None:
        """The whole pickle of `value`."""
        self._put(b"\x80\x03")  # PROTO
        self._write(value)
        self._put(b".")  # STOP

    def _put(self, *parts: bytes) -> None:
        for part in parts:
            self._file.write(part)

    def _write(self, value: Any) -> None:
        if value is None or isinstance(value, bool):
            self._put({None: b"N", False: b"\x89", True: b"\x88"}[value])
        elif isinstance(value, int):
            self._put(b"J", struct.pack("<i", value))  # BININT
        elif isinstance(value, float):
            self._put(b"G", struct.pack(">d", value))  # BINFLOAT
        elif isinstance(value, str):
            text = value.encode()
            self._put(b"X", struct.pack("<I", len(text)), text)  # BINUNICODE
        elif isinstance(value, bytes):
            self._put(b"B", struct.pack("<I", len(value)), value)  # BINBYTES
        elif isinstance(value, np.ndarray):
            self._array(value)
        elif isinstance(value, Instance):
            self._global(value.module, value.name)
            self._put(b")\x81")  # an empty tuple of arguments, NEWOBJ
            self._write(dict(value.state))
            self._put(b"b")  # BUILD
        elif isinstance(value, Mapping):
            self._put(b"}(")
            self._all([part for pair in value.items() for part in pair])
            self._put(b"u")  # SETITEMS
        elif isinstance(value, tuple):
            self._put(b"(")
            self._all(value)
            self._put(b"t")
        else:
            assert isinstance(value, list), type(value)
            self._put(b"](")
            self._all(value)
            self._put(b"e")  # APPENDS

    def _all(self, values: Sequence[Any]) -> None:
        for value in values:
            self._write(value)

    def _global(self, module: str, name: str) -> None:
        self._put(f"c{module}\n{name}\n".encode())

    def _array(self, array: np.ndarray) -> None:
        """As NumPy pickles its arrays: an empty one, then version, shape, type, order of axes and content."""
        content = np.ascontiguousarray(array, dtype="<f4").tobytes()
        assert len(content) <= MAX_ARRAY_BYTES, "an array of 4 GiB"
        self._global("numpy.core.multiarray", "_reconstruct")
        self._put(b"(")
        self._global("numpy", "ndarray")
        self._write((0,))
        self._write(b"b")
        self._put(b"tR(")  # REDUCE; the state follows
        self._write(1)
        self._write(tuple(array.shape))
        self._global("numpy", "dtype")
        self._write(("f4", False, True))
        self._put(b"R")
        self._write((3, "<", None, None, None, -1, -1, 0))
        self._put(b"b")
        self._write(False)
        self._write(content)
        self._put(b"tb")
