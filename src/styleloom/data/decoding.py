"""Decoding of image files. A file gives the pixels that its format defines, or is refused with the reason.

Broken metadata (EXIF, animation, previews, colour profiles) is no reason to refuse good pixels: the file is
decoded once more without it.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from styleloom.data import jpeg, png, tiff
from styleloom.data.pixels import ImageData, PixelArray, image_of
from styleloom.errors import quoted

MAX_PIXELS = 2**26
"""Largest image accepted unless asked: 67,108,864 px, e.g. 8192x8192. A larger one may be a bomb."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")

_MOST_ZEROS = 1024  # at the end of a WebP file; decoders would make pixels of more

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How each EXIF orientation turns the image; 1 and unknown numbers turn nothing."""

_SWAP_SIDES = {_TURNS[orientation] for orientation in (5, 6, 7, 8)}


class BadImageError(Exception):
    """One image cannot be used; the message is the reason, in words for the person who owns the file."""


class Budget:
    """Bounds what all threads of the process hold at a time; one thread alone may hold more than that.

    Args:
        total: bytes, pixels, or what else callers count.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._held = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Wait until `amount` more fits, or nothing else is held, and hold it in the block."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + amount <= self._total)
            self._held += amount
        try:
            yield
        finally:
            with self._changed:
                self._held -= amount
                self._changed.notify_all()


_PIXELS = Budget(MAX_PIXELS)  # being decoded or converted, which takes up to 20 bytes for each


@contextlib.contextmanager
def decoded(data: ImageData, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The first frame of an encoded image, fully read and turned upright, with its memory accounted for.

    Pixels become an image as they are.
    No more than `MAX_PIXELS` pixels, or one image, are in such blocks at a time in the whole process; a block
    waits until there is room.
    Raises BadImageError; so does the block for errors of its own.
    """
    image = _opened(data, max_pixels) if isinstance(data, bytes) else _image_of(data, max_pixels)
    with _PIXELS.hold(image.width * image.height):
        yield _loaded(image, data, max_pixels) if isinstance(data, bytes) else image


def seen_size(data: ImageData, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Height and width of the image that `decoded` gives, px; its pixels are not read.

    Raises BadImageError.
    """
    if not isinstance(data, bytes):
        return data.shape[1], data.shape[2]
    image = _opened(data, max_pixels)
    turned = _turn(image) in _SWAP_SIDES and image.format != "TIFF"  # TIFF files have the size as seen
    return image.size if turned else (image.height, image.width)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Pillow neither warns of metadata nor refuses large images, in the whole process, while the block runs.

    `decoded` has a bound of its own. To be used around threads, not in them: filters are process-wide.
    """
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def words(error: BaseException) -> str:
    """What an error says, cut and on one line."""
    return quoted(str(error) or type(error).__name__)[1:-1]


def _opened(data: bytes, max_pixels: int) -> Image.Image:
    """The image with its header read. Raises BadImageError."""
    if not data:
        raise BadImageError("empty file (0 bytes)")
    first: Exception | None = None
    for candidate in _candidates(data):
        try:
            image = Image.open(io.BytesIO(candidate), formats=FORMATS)
        except Exception as error:  # what decoders raise on hostile bytes is not enumerable
            first = first or error
            continue
        _check_opened(image, data, max_pixels)
        return image
    assert first is not None
    if isinstance(first, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        raise BadImageError(_bomb(words(first), max_pixels)) from first
    if not isinstance(first, UnidentifiedImageError):
        raise BadImageError(f"truncated or damaged: {words(first)}") from first
    known = {png.SIGNATURE: "PNG", jpeg.SIGNATURE: "JPEG", b"II": "TIFF", b"MM": "TIFF", b"RIFF": "WebP"}
    kind = next((name for head, name in known.items() if data.startswith(head)), None)
    if kind is None:
        raise BadImageError(f"not an image ({', '.join(FORMATS)})") from first
    raise BadImageError(
        f"not an image: a {kind} file that is damaged or of a kind that is not read"
    ) from first


def _image_of(pixels: PixelArray, max_pixels: int) -> Image.Image:
    """Pixels, uint8 [C, H, W], as an image. Raises BadImageError."""
    _, height, width = pixels.shape
    if height * width > max_pixels:
        raise BadImageError(_bomb(f"{width}x{height} px", max_pixels))
    return image_of(pixels)


def _check_opened(image: Image.Image, data: bytes, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise BadImageError(_bomb(f"{image.width}x{image.height} px", max_pixels))
    reason = None
    if isinstance(image, TiffImageFile):
        reason = tiff.problem(image, data, max_pixels)
    elif image.format in ("JPEG", "MPO"):
        reason = jpeg.problem(data, image)
    elif image.format == "WEBP" and data.endswith(bytes(_MOST_ZEROS)):
        reason = f"truncated: it ends in more than {_MOST_ZEROS} zeros, as incomplete copies do"
    if reason is not None:
        raise BadImageError(reason)


def _bomb(size: str, max_pixels: int) -> str:
    return (
        f"too many pixels (decompression bomb?): {size}, at most {max_pixels} px are accepted; "
        "styleloom dataset build --max-megapixels allows more"
    )


def _loaded(image: Image.Image, data: bytes, max_pixels: int) -> Image.Image:
    """The image with its pixels. Raises BadImageError."""
    try:
        image.load()
    except Exception as error:
        for candidate in _candidates(data)[1:]:
            with contextlib.suppress(Exception):
                again = Image.open(io.BytesIO(candidate), formats=FORMATS)
                _check_opened(again, data, max_pixels)
                again.load()
                image = again
                break
        else:
            raise BadImageError(f"truncated or damaged: {words(error)}") from error
    reason = _beyond_palette(image) or (png.problem(data, image) if image.format == "PNG" else None)
    if reason is not None:
        raise BadImageError(reason)
    if image.format == "PNG":
        key = image.info.get("transparency")
        if image.mode == "L" and isinstance(key, int):
            image.info["transparency"] = png.grey_key(data, key)
    eight_bits = _wide_grey_to_eight_bits(image) if image.mode.startswith("I") else image
    turn = _turn(image)
    return eight_bits if turn is None else eight_bits.transpose(turn)


def _beyond_palette(image: Image.Image) -> str | None:
    if image.mode != "P":
        return None
    colours = len(image.getpalette("RGB") or ()) // 3
    highest = image.getextrema()[1]
    if isinstance(highest, int) and highest >= colours:
        return f"damaged: a pixel has colour {highest} of a palette of {colours}"
    return None


def _candidates(data: bytes) -> list[bytes]:
    """What to try to decode: the file, the file without metadata, and that without its orientation too."""
    for module in (png, jpeg):
        if data.startswith(module.SIGNATURE):
            return [data, module.bare(data, keep_exif=True), module.bare(data, keep_exif=False)]
    return [data]


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # whatever broken EXIF raises: it turns nothing
        return None


def _wide_grey_to_eight_bits(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits to L: v of 0..m becomes round(255 v / m); to LA if a value is transparent.

    m is 65535, or less in TIFF files of fewer bits. Where a TIFF stores white as 0, grey is inverted.
    Raises BadImageError for values outside 0..m.
    """
    values = np.asarray(image)
    greatest, inverted = tiff.wide_grey(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > greatest:
        raise BadImageError(f"grey values {low}..{high} are outside 0..{greatest}")
    steps = np.arange(greatest + 1, dtype=np.int64)
    table = ((510 * steps + greatest) // (2 * greatest)).astype(np.uint8)
    grey = Image.fromarray((table[::-1] if inverted else table)[values])
    key = image.info.get("transparency")
    if key is None:
        return grey
    alpha = Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, alpha))
