"""As much of protocol buffers as a record of images takes."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message. Raises ValueError where the message is damaged."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if length > len(data) - at:
            raise ValueError("a field that is longer than its message")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number that does not end")


def integers(data: memoryview) -> list[int]:
    """The numbers of an Int64List, packed or one by one. Raises ValueError."""
    found: list[int] = []
    for number, value in fields(data):
        if number != 1:
            continue
        if isinstance(value, int):
            found.append(value)
            continue
        at = 0
        while at < len(value):
            one, at = _varint(value, at)
            found.append(one)
    return found


def example(data: memoryview) -> dict[str, memoryview]:
    """The features of a tf.train.Example by name, each as its message. Raises ValueError."""
    found: dict[str, memoryview] = {}
    for features in messages(data, 1):
        for entry in messages(features, 1):
            name, value = "", memoryview(b"")
            for number, part in fields(entry):
                if isinstance(part, memoryview):
                    name, value = (bytes(part).decode(), value) if number == 1 else (name, part)
            found[name] = value
    return found


def messages(data: memoryview, wanted: int) -> Iterator[memoryview]:
    """The values of all fields of one number that are bytes or messages. Raises ValueError."""
    for number, value in fields(data):
        if number == wanted and isinstance(value, memoryview):
            yield value
