"""TIFF and PNG files byte by byte, so that what is in them is known without the library that reads them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

_TYPES = {3: "H", 4: "I"}


def tiff(
    width: int,
    height: int,
    bits: Sequence[int],
    photometric: int | None,
    strips: Sequence[bytes],
    order: str = "<",
    **tags: Sequence[int],
) -> bytes:
    """A TIFF file. `tags` are t339=[2] and so on; all values are stored as SHORT, but places and lengths."""
    short = {256: [width], 257: [height], 258: bits, 259: [1], 277: [len(bits)], 278: [height], 284: [1]}
    if photometric is not None:
        short[262] = [photometric]
    short.update({int(name[1:]): values for name, values in tags.items()})
    fields = {tag: (3, list(values)) for tag, values in short.items()}
    fields[273] = (4, [0] * len(strips))
    fields[279] = (4, [len(strip) for strip in strips])
    place, outside = 8 + 2 + 12 * len(fields) + 4, {}
    for tag, (kind, values) in sorted(fields.items()):
        size = len(values) * struct.calcsize(_TYPES[kind])
        if size > 4:
            outside[tag] = place
            place += size
    for number, strip in enumerate(strips):
        fields[273][1][number] = place
        place += len(strip)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(fields))
    rest = b""
    for tag, (kind, values) in sorted(fields.items()):
        content = struct.pack(f"{order}{len(values)}{_TYPES[kind]}", *values)
        head += struct.pack(order + "HHI", tag, kind, len(values))
        if tag in outside:
            head += struct.pack(order + "I", outside[tag])
            rest += content
        else:
            head += content.ljust(4, b"\0")
    return head + bytes(4) + rest + b"".join(strips)


def packed(values: np.ndarray, bits: int) -> bytes:
    """Rows of values of so many bits each, highest bit first; each row begins a byte."""
    shifts = np.arange(bits - 1, -1, -1)
    ones = ((values[..., None] >> shifts) & 1).reshape(len(values), -1)
    return np.packbits(ones.astype(np.uint8), axis=1).tobytes()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, rows: Sequence[bytes], extra: bytes = b"") -> bytes:
    """A PNG file with unfiltered rows; `extra` chunks stand before the pixels."""
    head = chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + head + extra + pixels + chunk(b"IEND", b"")


def bmp(width: int, height: int, depth: int, pixels: bytes, palette: bytes = b"") -> bytes:
    """A BMP file; rows begin at the bottom, colours of the palette have four bytes, blue first."""
    head = struct.pack("<IiiHH6I", 40, width, height, 1, depth, 0, 0, 0, 0, len(palette) // 4, 0)
    place = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<3I", place + len(pixels), 0, place) + head + palette + pixels
