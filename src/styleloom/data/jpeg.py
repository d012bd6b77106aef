"""JPEG files without their metadata, and damage that Pillow does not notice."""

from __future__ import annotations

import re

from PIL import Image

SIGNATURE = b"\xff\xd8\xff"

_APP0, _APP1, _ADOBE, _APP15, _COMMENT, _SCAN = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE, 0xDA
_START, _END = 0xD8, 0xD9

_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")
"""A marker, rather than a byte of a scan, a restart in it, or fill. [ITU-T T.81, B.1.1]"""


def bare(data: bytes, keep_exif: bool) -> bytes:
    """The file without comments and application segments (previews, profiles); EXIF stays where asked."""
    parts, place = [data[:2]], 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != _SCAN:
        marker = data[place + 1]
        if marker == 0xFF:  # fill
            place += 1
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        content = data[place + 4 : end]
        exif = keep_exif and marker == _APP1 and content.startswith(b"Exif\0\0")
        adobe = marker == _ADOBE and content.startswith(b"Adobe") and len(content) >= 12
        if not (_APP0 <= marker <= _APP15 or marker == _COMMENT) or exif or adobe:
            parts.append(data[place:end])
        place = end
    return b"".join([*parts, data[place:]])


def problem(data: bytes, image: Image.Image) -> str | None:
    """Why the opened `image` of a JPEG file would not be read right; None when it will be."""
    if not _ends(data):  # the decoder takes for pixels whatever stands where the missing part was
        return "truncated: it does not come to an end"
    if image.mode == "CMYK" and "adobe" not in image.info:
        return "a CMYK JPEG that does not say whether its inks are inverted; convert it to RGB"
    return None


def _ends(data: bytes) -> bool:
    """Whether an end-of-image marker follows the scans of the first picture."""
    place = len(SIGNATURE) - 1
    while (found := _MARKER.search(data, place)) is not None:
        marker, place = found[1][0], found.end()
        if marker in (_START, _END):
            return marker == _END
        place += int.from_bytes(data[place : place + 2], "big")
    return False
