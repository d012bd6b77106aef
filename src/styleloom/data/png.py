"""PNG files without their metadata, and damage that Pillow does not notice."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by colour type."""

_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7: first column and row, and the steps between columns and rows."""


def bare(data: bytes, keep_exif: bool) -> bytes:
    """The file with the chunks that its pixels need alone, and EXIF, which has the orientation, where asked.

    Of an animation that leaves the still picture, which readers without animations show.
    """
    wanted = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"} | ({b"eXIf"} if keep_exif else set())
    kept = [whole for kind, _, whole in _chunks(data) if kind in wanted]
    return SIGNATURE + b"".join(kept)


def problem(data: bytes, image: Image.Image) -> str | None:
    """Why the loaded `image` of a PNG file is not what the file says; None when it is."""
    depth, colour = data[24], data[25]
    if depth == 16 and colour == 2 and "transparency" in image.info:
        return "16-bit colour with a transparent colour, which cannot be told exactly; store alpha instead"
    # A decoder that has all rows reads no further, and so misses the checksum at the end of the stream.
    if any(
        kind == b"IDAT" and zlib.crc32(whole[4:-4]) != _number(whole[-4:]) for kind, _, whole in _chunks(data)
    ):
        return "truncated or damaged: the checksum of its pixels is wrong"
    # Missing pixels are decoded as 0, so rows are counted only where the last one is all 0.
    last = image.crop((0, image.height - 1, *image.size))
    if last.getbbox() is None and not _is_complete(data):
        return "truncated: it holds fewer rows than it says"
    return None


def grey_key(data: bytes, key: int) -> int:
    """The transparent grey value of an image of up to 8 bits, scaled to 8 bits as its pixels are."""
    return key * 255 // (2 ** min(data[24], 8) - 1)


def _is_complete(data: bytes) -> bool:
    width, height, depth, colour, _, _, interlaced = struct.unpack(">2I5B", data[16:29])
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    missing = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            missing += rows * (1 + -(-columns * depth * _SAMPLES.get(colour, 1) // 8))
    stream = zlib.decompressobj()
    for kind, content, _ in _chunks(data):
        while kind == b"IDAT" and content and missing > 0 and not stream.eof:
            missing -= len(stream.decompress(content, 2**20))
            content = stream.unconsumed_tail
    while missing > 0 and not stream.eof and (more := stream.decompress(stream.unconsumed_tail, 2**20)):
        missing -= len(more)
    return missing <= 0


def _number(four: bytes) -> int:
    return int.from_bytes(four, "big")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(kind, content, the chunk as it stands) of every whole chunk."""
    place = len(SIGNATURE)
    while place + 12 <= len(data):
        end = place + 12 + _number(data[place : place + 4])
        if end > len(data):
            return
        yield data[place + 4 : place + 8], data[place + 8 : end - 4], data[place:end]
        place = end
