"""Which TIFF files Pillow reads correctly.

Pillow opens more kinds than it reads correctly, and libtiff reports damage on the process's stderr
alone. Refused is what was seen to come out wrong (signed and wider integers as if they were unsigned and
16-bit, 16-bit planes, palettes of 8-bit colours), and fax pages, in which damage cannot be noticed.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

_BITS, _COMPRESSION, _PHOTOMETRIC = 258, 259, 262
_OFFSETS, _COUNTS, _PLANAR, _PALETTE = 273, 279, 284, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS, _SAMPLE_FORMAT = 322, 323, 324, 325, 339
_JPEG_TABLES, _REFERENCE_BLACK_WHITE = 347, 532

_WHITE_IS_ZERO, _GREY, _RGB, _PALETTED, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOUR_SPACES = (_WHITE_IS_ZERO, _GREY, _RGB, _PALETTED, _CMYK, _YCBCR)

_NONE, _LZW, _JPEG, _DEFLATE, _PACKBITS, _OLD_DEFLATE, _LZMA, _ZSTD = 1, 5, 7, 8, 32773, 32946, 34925, 50000
_COMPRESSIONS = (_NONE, _LZW, _JPEG, _DEFLATE, _PACKBITS, _OLD_DEFLATE, _LZMA, _ZSTD)
_FAX = (2, 3, 4)
_DEPTHS = (1, 2, 4, 8, 12, 16)
_UNSIGNED = 1


def problem(image: TiffImageFile, data: bytes, max_pixels: int) -> str | None:
    """Why an opened TIFF would not be read right; None when it will be."""
    bits, formats = set(_numbers(image, _BITS, 1)), set(_numbers(image, _SAMPLE_FORMAT, _UNSIGNED))
    compression = _numbers(image, _COMPRESSION, _NONE)[0]
    if formats != {_UNSIGNED}:
        kind = {2: "signed integers", 3: "floating point"}.get(max(formats), "of an unknown kind")
        return f"a TIFF whose pixels are {kind} (no agreed range of values); valid: unsigned integers"
    if len(bits) != 1 or not bits <= set(_DEPTHS):
        return f"a TIFF of {sorted(bits)} bits; valid: {', '.join(map(str, _DEPTHS))}"
    if compression in _FAX:
        return "a TIFF compressed as a fax, in which damage cannot be noticed; convert it to PNG"
    if compression not in _COMPRESSIONS:
        return f"a TIFF compressed by method {compression}; valid: none, LZW, deflate, JPEG, PackBits"
    return _wrong_colours(image, bits.pop(), compression) or _wrong_parts(
        image, data, compression, max_pixels
    )


def _wrong_colours(image: TiffImageFile, bits: int, compression: int) -> str | None:
    photometric = _numbers(image, _PHOTOMETRIC, -1)[0]
    if photometric not in _COLOUR_SPACES:
        return f"a TIFF of colour space {photometric}; valid: grey, RGB, palette, CMYK, YCbCr"
    if (
        bits == 16
        and compression == _NONE
        and _numbers(image, _PLANAR, 1)[0] == 2
        and len(image.getbands()) > 1
    ):
        return "an uncompressed TIFF of 16-bit planes; store it with pixels together"
    if len(image.getbands()) == 2 and compression != _NONE and _numbers(image, _PLANAR, 1)[0] == 2:
        return "a compressed TIFF of grey and alpha in planes; store it with pixels together"
    if photometric == _YCBCR and image.mode == "YCbCr" and image.tag_v2.get(_REFERENCE_BLACK_WHITE):
        return "a TIFF of YCbCr with a range of its own; convert it to RGB"
    if photometric == _PALETTED and 0 < max(_numbers(image, _PALETTE, 0)) < 256:
        return "a TIFF with a palette of 8-bit colours, where 16 bits belong"
    return None


def _wrong_parts(image: TiffImageFile, data: bytes, compression: int, max_pixels: int) -> str | None:
    """What is wrong with strips or tiles: missing, cut, damaged or too large. None when they are fine."""
    tiled = _TILE_OFFSETS in image.tag_v2
    offsets = _numbers(image, _TILE_OFFSETS if tiled else _OFFSETS, 0)
    counts = _numbers(image, _TILE_COUNTS if tiled else _COUNTS, 0)
    if tiled and _numbers(image, _TILE_WIDTH, 1)[0] * _numbers(image, _TILE_HEIGHT, 1)[0] > max_pixels:
        return "a TIFF with tiles larger than an image may be"
    if compression == _NONE and not any(counts):
        return None  # old writers left out the lengths; the reader finds missing pixels
    if len(offsets) != len(counts):
        return f"a TIFF with {len(offsets)} places and {len(counts)} lengths of strips"
    whole = _WHOLE.get(compression)
    tables = image.tag_v2.get(_JPEG_TABLES)
    if whole is not None and isinstance(tables, bytes) and not _ends_as_jpeg(tables):
        return "truncated or damaged: the tables of the TIFF do not end as they should"
    for offset, count in zip(offsets, counts, strict=True):
        if offset + count > len(data):
            return "truncated: a strip of the TIFF lies beyond the end of the file"
        if whole is not None and not whole(data[offset : offset + count]):
            return "truncated or damaged: a strip of the TIFF does not end as it should"
    return None


def _numbers(image: TiffImageFile, tag: int, default: int) -> tuple[int, ...]:
    """Values of a tag, however many; Pillow gives single ones bare."""
    value = image.tag_v2.get(tag, default)
    return tuple(value) if isinstance(value, tuple) else (value,)


def _inflates(strip: bytes) -> bool:
    """Whether a zlib stream is whole, its checksum included; in pieces, so that none grows large."""
    stream = zlib.decompressobj()
    try:
        while strip and not stream.eof:
            stream.decompress(strip, 2**20)
            strip = stream.unconsumed_tail
        return stream.eof
    except zlib.error:
        return False


def _expands(strip: bytes) -> bool:
    stream = lzma.LZMADecompressor(memlimit=2**28)
    try:
        stream.decompress(strip, 2**20)
        while not stream.eof and not stream.needs_input:
            stream.decompress(b"", 2**20)
        return stream.eof
    except lzma.LZMAError:
        return False


def _ends_as_jpeg(strip: bytes) -> bool:
    return strip.rstrip(b"\0").endswith(b"\xff\xd9")


_WHOLE: dict[int, Callable[[bytes], bool]] = {
    _DEFLATE: _inflates,
    _OLD_DEFLATE: _inflates,
    _LZMA: _expands,
    _JPEG: _ends_as_jpeg,
}


def wide_grey(image: Image.Image) -> tuple[int, bool]:
    """The greatest possible value of grey pixels of more than 8 bits, and whether it means black."""
    if not isinstance(image, TiffImageFile):
        return 65535, False
    bits = _numbers(image, _BITS, 16)[0]
    return 2**bits - 1, _numbers(image, _PHOTOMETRIC, _GREY)[0] == _WHITE_IS_ZERO
