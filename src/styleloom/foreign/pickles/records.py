"""What a pickle says, as inert records: names, objects, arrays and storages. None of them can do anything."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from styleloom.errors import UserError, quoted

Buffer: TypeAlias = memoryview
"""Bytes of the file where they lie, not copied."""

MAX_AXES = 8

ITEM_TYPES: dict[str, str] = {
    **dict.fromkeys(("f4", "float32", "FloatStorage"), "<f4"),
    **dict.fromkeys(("f8", "float64", "DoubleStorage"), "<f8"),
    **dict.fromkeys(("f2", "float16", "HalfStorage"), "<f2"),
    **dict.fromkeys(("bfloat16", "BFloat16Storage"), "bf16"),
    **dict.fromkeys(("i8", "int64", "LongStorage"), "<i8"),
    **dict.fromkeys(("i4", "int32", "IntStorage"), "<i4"),
    **dict.fromkeys(("i2", "int16", "ShortStorage"), "<i2"),
    **dict.fromkeys(("i1", "int8", "CharStorage"), "<i1"),
    **dict.fromkeys(("u1", "uint8", "ByteStorage", "UntypedStorage"), "<u1"),
    **dict.fromkeys(("u2", "uint16"), "<u2"),
    **dict.fromkeys(("u4", "uint32"), "<u4"),
    **dict.fromkeys(("b1", "bool", "BoolStorage"), "|b1"),
}
"""Types of numbers that are read, by the names that NumPy and PyTorch have for them."""


def item_type(name: object) -> str:
    """The type that a file calls `name`. Raises UserError for one that is not read."""
    if not isinstance(name, str) or name not in ITEM_TYPES:
        raise UserError(f"numbers of the type {quoted(name)} are not read; valid: floats and integers")
    return ITEM_TYPES[name]


def item_size(kind: str) -> int:
    """Bytes of one number."""
    return 2 if kind == "bf16" else np.dtype(kind).itemsize


@dataclass(frozen=True)
class Name:
    """A function or class that a pickle names. It is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, repr=False)
class Record:
    """An object that unpickling would make by calling `of`: the call is kept, not made.

    Args:
        of: what would be called.
        args: with what.
        state: what would then be set on the object.
    """

    of: Name
    args: tuple[Any, ...] = ()
    state: Any = None


@dataclass(eq=False, repr=False)
class NumberType:
    """A NumPy dtype."""

    kind: str


@dataclass(eq=False, repr=False)
class Storage:
    """Numbers of a PyTorch storage.

    Args:
        kind: type of the numbers.
        count: how many the pickle says there are.
        data: where they lie; None until that has been read.
    """

    kind: str
    count: int
    data: Buffer | None = None

    def fill(self, data: Buffer) -> None:
        """Say where the numbers lie. Raises UserError unless there are as many as the pickle says."""
        if len(data) != self.count * item_size(self.kind):
            raise UserError(
                f"damaged, a storage of {self.count} numbers has {len(data)} bytes, not "
                f"{self.count * item_size(self.kind)}"
            )
        self.data = data


def shape_of(value: object) -> tuple[int, ...]:
    """A shape or strides as a file has them. Raises UserError for anything but a few small integers."""
    if isinstance(value, Record) and value.args and isinstance(value.args[0], tuple):
        value = value.args[0]  # torch.Size
    if not isinstance(value, (tuple, list)) or len(value) > MAX_AXES:
        raise UserError(f"damaged, a shape is not a list of at most {MAX_AXES} numbers")
    if not all(type(n) is int and 0 <= n < 2**48 for n in value):
        raise UserError("damaged, a shape or stride is negative, too large or no integer")
    return tuple(value)


@dataclass(eq=False, repr=False)
class Array:
    """Numbers with a shape, which stay where they lie in the file until `tensor` copies them.

    Args:
        kind: type of the numbers.
        shape: of the array.
        storage: where they lie.
        offset: of the first, in numbers.
        strides: in numbers; None for those of C order.
        trained: whether the file calls it a parameter.
    """

    kind: str = "<f4"
    shape: tuple[int, ...] = ()
    storage: Storage = field(default_factory=lambda: Storage("<f4", 0))
    offset: int = 0
    strides: tuple[int, ...] | None = None
    trained: bool = False

    def __post_init__(self) -> None:
        self.check()

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    def check(self) -> None:
        """Raise UserError unless every number lies within the storage, and none is used twice over."""
        strides = c_strides(self.shape) if self.strides is None else self.strides
        if len(strides) != len(self.shape):
            raise UserError("damaged, an array has another number of strides than of axes")
        if self.size == 0 and self.strides is None:
            return
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, strides, strict=True) if n)
        if self.size > self.storage.count or last >= self.storage.count:
            raise UserError(
                f"damaged, an array of the shape {list(self.shape)} goes beyond its {self.storage.count} "
                "stored numbers"
            )

    def numpy(self) -> np.ndarray[Any, Any]:
        """The numbers as they lie; bfloat16 as its bits."""
        data = self.storage.data
        if data is None and self.size:
            raise UserError("damaged, the numbers of an array are missing")
        kind = np.dtype("<u2" if self.kind == "bf16" else self.kind)
        flat = np.frombuffer(b"" if data is None else data, kind)
        steps = c_strides(self.shape) if self.strides is None else self.strides
        step_bytes = [step * kind.itemsize for step in steps]
        return np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, step_bytes, writeable=False)

    def tensor(self) -> Tensor:
        """A copy as float32, in C order."""
        values = self.numpy()
        if self.kind == "bf16":
            return torch.from_numpy(values.astype("=u2").view("=i2")).view(torch.bfloat16).float()
        return torch.from_numpy(np.array(values, "=f4", order="C"))

    def item(self) -> Any:
        """The only number of an array of one."""
        return self.numpy().reshape(-1)[0].item()


def number(value: float) -> Array:
    """A number as an array without axes."""
    return Array("<f8", (), Storage("<f8", 1, memoryview(struct.pack("<d", value))))


def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of C order, in numbers."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def fortran_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of Fortran order, in numbers."""
    return tuple(math.prod(shape[:axis]) for axis in range(len(shape)))


# ---- plain values

MAX_NODES = 10_000
MAX_DEPTH = 16


def plain(value: Any) -> Any:
    """A value of settings as JSON has it: records become their name, arrays of one number that number.

    Raises UserError for what is too large, nested too deeply or holds itself.
    """
    left = [MAX_NODES]

    def walk(value: Any, depth: int) -> Any:
        left[0] -= 1
        if left[0] < 0 or depth > MAX_DEPTH:
            raise UserError("settings of a network are too large or nested too deeply to be any")
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, Mapping):
            return {str(key): walk(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [walk(item, depth + 1) for item in value]
        if isinstance(value, Array):
            return walk(value.item(), depth + 1) if value.size == 1 else f"array {list(value.shape)}"
        if isinstance(value, Record):
            return f"<{value.of}>"
        return f"<{value}>" if isinstance(value, Name) else f"<{type(value).__name__}>"

    return walk(value, 0)
