"""How an archive stores an image: PNG, lossless WebP, or its bare numbers."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from styleloom.data.decoding import words
from styleloom.data.pixels import PixelArray, image_of

Format: TypeAlias = Literal["png", "webp", "raw"]

Shape: TypeAlias = "tuple[int, int, int]"
"""Channels, height and width."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Encoding:
    """One way, without any loss.

    Args:
        suffix: of the files in the archive.
        encode: uint8 [C, H, W] with C of 1, 3 or 4 to a file.
        decode: a file to uint8 [C, H, W] of a shape. Raises ValueError for a damaged one or another shape.
    """

    suffix: str
    encode: Callable[[PixelArray], bytes]
    decode: Callable[[bytes, Shape], PixelArray]


def encode_png(pixels: PixelArray) -> bytes:
    """uint8 [C, H, W] with C of 1, 3 or 4 to a PNG file."""
    return _saved(pixels, "PNG", compress_level=6)


def decode_png(data: bytes, shape: Shape) -> PixelArray:
    """A PNG file to uint8 [C, H, W]. Raises ValueError when it is damaged or of another size or mode."""
    return _opened(data, shape, "PNG", _MODES[shape[0]])


def _encode_webp(pixels: PixelArray) -> bytes:
    return _saved(pixels, "WEBP", lossless=True, quality=50, method=2, exact=True)


def _decode_webp(data: bytes, shape: Shape) -> PixelArray:
    if shape[0] != 1:
        return _opened(data, shape, "WEBP", _MODES[shape[0]])
    return np.ascontiguousarray(_opened(data, shape, "WEBP", "RGB")[:1])  # WebP has no grey


def _encode_raw(pixels: PixelArray) -> bytes:
    return pixels.tobytes()


def _decode_raw(data: bytes, shape: Shape) -> PixelArray:
    if len(data) != shape[0] * shape[1] * shape[2]:
        raise ValueError(f"{len(data)} bytes, but the index says {' x '.join(map(str, shape))}")
    return np.frombuffer(data, np.uint8).reshape(shape).copy()


ENCODINGS: dict[str, Encoding] = {
    "png": Encoding(".png", encode_png, decode_png),
    "webp": Encoding(".webp", _encode_webp, _decode_webp),
    "raw": Encoding(".raw", _encode_raw, _decode_raw),
}
"""By the name of the format."""


def _saved(pixels: PixelArray, kind: str, **options: int | bool) -> bytes:
    buffer = io.BytesIO()
    image_of(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _opened(data: bytes, shape: Shape, kind: str, mode: str) -> PixelArray:
    _, height, width = shape
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            found, expected = (*image.size, image.mode), (width, height, mode)
            if found == (width, height, "RGB") and mode == "RGBA" and kind == "WEBP":
                image, found = image.convert("RGBA"), expected  # an opaque image loses its alpha
            if found != expected:
                raise ValueError(
                    f"{found[0]}x{found[1]} px {found[2]}, but the index says "
                    f"{expected[0]}x{expected[1]} px {expected[2]}"
                )
            pixels = np.asarray(image)
    except ValueError:
        raise
    except Exception as error:  # what a decoder raises on damaged bytes is not enumerable
        raise ValueError(f"not a readable {kind} ({words(error)})") from error
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
