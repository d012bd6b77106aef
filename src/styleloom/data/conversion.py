"""Any image file to one uint8 array of a set size: decode, mode, crop, resize.

The rules, in order:

1. *Decode* PNG, JPEG, WebP, BMP or TIFF, told by content. Of several frames the first counts. More than
   `max_pixels` pixels is refused before decoding. Colour profiles and gamma are ignored.
2. *Turn* as the EXIF orientation says.
3. *Eight bits*: 1-bit becomes 0 / 255; 16-bit grey v becomes round(v / 257) (0..65535 onto 0..255), 12-bit
   grey round(255 v / 4095); Pillow keeps the high byte of 16-bit colour; CMYK becomes RGB by Pillow's
   formula; a palette is looked up. Signed, 32-bit and floating-point pixels are refused: they have no agreed
   range.
4. *Channels*: 4 is RGBA (opaque where the file has no transparency). For 1 and 3, transparency is composited
   on the background *before* resizing, so no halo appears; 1 is the luma of ITU-R 601 (0.299, 0.587, 0.114).
5. *Crop*, then *resize* with Pillow's filter, which widens with the scale (so it averages, without aliasing).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from styleloom.config.checks import check_choices
from styleloom.config.parts import image_size
from styleloom.data.decoding import MAX_PIXELS, BadImageError, decoded, words
from styleloom.data.pixels import ImageData
from styleloom.errors import UserError, quoted

Crop: TypeAlias = Literal[
    "center", "none", "pad", "border", "stretch", "center-crop-wide", "lsun-car", "celeba"
]
Filter: TypeAlias = Literal["lanczos", "box", "bilinear", "bicubic"]

MIN_RESOLUTION = 4
SQUARE = (4, 4)
"""The papers' grid, 4 x 4 px, of which images are squares."""

LIMIT_PIXELS = 2**31 - 1
"""Largest `max_pixels`."""

GRID_SIDES = (2, 16)
"""Least and greatest height or width of a grid, px."""

_RESAMPLING = {
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_CAR_WIDTH, _CAR_HEIGHT = 512, 384

_CELEBA_SIZE = (178, 218)
"""Width and height of CelebA's aligned images, px."""

_CELEBA_CENTRE = (89, 121)
"""Centre of the papers' crop of these images, x and y, px."""

NO_BACKGROUND = "none"
"""Background of which transparency is dropped."""

_ONLY_RESOLUTION = {"lsun-car": _CAR_WIDTH, "celeba": 128}
"""Crops that are one data set's recipe, with the resolution that they make."""


def validate_resolution(resolution: int) -> None:
    """Raise UserError, naming the nearest valid values, unless `resolution` is a power of two >= 4."""
    if resolution >= MIN_RESOLUTION and resolution & (resolution - 1) == 0:
        return
    below = max(MIN_RESOLUTION, 2 ** (max(resolution, 1).bit_length() - 1))
    near = str(below) if resolution < MIN_RESOLUTION else f"{below} and {below * 2}"
    raise UserError(f"resolution {resolution} is not a power of two >= {MIN_RESOLUTION}; nearest: {near}")


def validate_grid(grid: Sequence[int]) -> None:
    """Raise UserError unless `grid` is a height and a width within `GRID_SIDES`."""
    low, high = GRID_SIDES
    if len(grid) != 2 or not all(low <= side <= high for side in grid):
        raise UserError(
            f"grid {','.join(map(str, grid))}: valid: height,width of {low} to {high} px each, "
            "e.g. 4,4 (square) or 3,4"
        )


@dataclass(frozen=True)
class ConversionOptions:
    """How every image of a data set is made.

    Args:
        resolution: side of the result, px: a power of two >= 4. On another grid than 4,4 it is the
            nominal side: the result is `resolution / 4` times as large as the grid.
        crop: `center`, the largest central part of the result's proportions (the other side is rounded to a
            whole pixel); `none`, only images of exactly these proportions are accepted; `pad`, the whole
            image with black bars; `stretch`, the whole image squeezed to the result's proportions, as
            MSG-GAN's codes do; `border`, the whole image as it is, with a black border, as ProGAN prepared
            MNIST; `center-crop-wide`, the full width and as many rows as make `wide_height` of it, on a black
            square, as StyleGAN's and StyleGAN2-ADA's tools have it; `lsun-car`, that with 512x384 on
            512x512; `celeba`, the 128x128 px around (89, 121) of CelebA's aligned images of 178x218, not
            resized.
        filter: resampling filter for the resize.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        background: colour under transparent pixels for 1 and 3 channels; any name or #rrggbb Pillow knows.
            `none` drops the transparency: pixels keep the colour that is stored under it, as in the
            authors' tools.
        upscale: accept images smaller than the result and enlarge them.
        grid: height and width of the lowest level, px, 2 to 16 each: 4,4 in all papers; 3,4 makes 512x384
            px (width x height) at resolution 512.
        wide_height: height of the images of `center-crop-wide`, px; 0 for three quarters of the width.
        max_pixels: larger images are refused before they are decoded. Decoding takes up to 20 bytes a pixel.

    Raises UserError for values outside these and for contradictions.
    """

    resolution: int
    crop: Crop = "center"
    filter: Filter = "lanczos"
    channels: int = 3
    background: str = "white"
    upscale: bool = False
    grid: tuple[int, int] = SQUARE
    max_pixels: int = MAX_PIXELS
    wide_height: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        validate_resolution(self.resolution)
        validate_grid(self.grid)
        height, width = self.size
        if height * width > MAX_PIXELS:
            raise UserError(
                f"resolution {self.resolution}: makes images of {width:,}x{height:,} px; valid: at most "
                f"{MAX_PIXELS:,} px"
            )
        if not 1 <= self.max_pixels <= LIMIT_PIXELS:
            raise UserError(f"max_pixels {self.max_pixels}: valid: 1 to {LIMIT_PIXELS}")
        if self.channels not in (1, 3, 4):
            raise UserError(f"channels {self.channels}: valid: 1 (grey), 3 (RGB), 4 (RGBA)")
        try:
            if self.background != NO_BACKGROUND:
                ImageColor.getrgb(self.background)
        except ValueError as error:
            raise UserError(
                f"background {quoted(self.background)}: not a colour; e.g. white or #ffffff, or none"
            ) from error
        if self.wide_height and self.crop != "center-crop-wide":
            raise UserError(f"wide_height {self.wide_height}: is for crop center-crop-wide alone")
        if not 0 <= self.wide_height <= self.resolution:
            raise UserError(f"wide_height {self.wide_height}: valid: 0 (three quarters) to {self.resolution}")
        if self.crop == "center-crop-wide":
            self._check_recipe(self.resolution)
        if self.crop in _ONLY_RESOLUTION:
            self._check_recipe(_ONLY_RESOLUTION[self.crop])

    def _check_recipe(self, only: int) -> None:
        """Raise UserError where other options contradict a crop that makes squares of `only` px."""
        if self.resolution != only:
            raise UserError(
                f"crop {self.crop} makes {only}x{only} px; resolution {self.resolution} contradicts it"
            )
        if self.upscale:
            raise UserError(f"crop {self.crop} drops small images by definition; upscale contradicts it")
        if self.grid != SQUARE:
            raise UserError(
                f"grid {self.grid[0]},{self.grid[1]}: crop {self.crop} makes squares; "
                "valid: 4,4, or crop center for images of other proportions"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the result, px."""
        return image_size(self.resolution, self.grid)


def convert_image(data: ImageData, options: ConversionOptions) -> NDArray[np.uint8]:
    """One encoded image to uint8 [C, H, W] with (H, W) = `options.size`.

    Raises BadImageError with the reason when the file cannot be used.
    """
    return _pixels(
        data,
        lambda image: _crop_and_resize(_to_channels(_to_eight_bits(image), options), options),
        options.max_pixels,
    )


def _pixels(
    data: ImageData, steps: Callable[[Image.Image], Image.Image], max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """uint8 [C, H, W] of a file: decoded, and taken through `steps`. Raises BadImageError."""
    # What decoders and resizers raise on hostile bytes is not enumerable; all of it means "this file is bad".
    try:
        with decoded(data, max_pixels) as image:
            pixels = np.asarray(steps(image))
    except BadImageError:
        raise
    except Exception as error:
        raise BadImageError(f"cannot be converted: {words(error)}") from error
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def pixels_as_they_are(data: ImageData, channels: int, background: str = "white") -> NDArray[np.uint8]:
    """One encoded image to uint8 [C, H, W] at its own size: steps 1 to 4 alone.

    Raises BadImageError with the reason when the file cannot be used.
    """
    options = ConversionOptions(MIN_RESOLUTION, channels=channels, background=background)
    return _pixels(data, lambda image: _to_channels(_to_eight_bits(image), options))


def all_pixels(data: ImageData) -> NDArray[np.uint8]:
    """One encoded image to uint8 [C, H, W] after steps 1 to 3; with 2 and 4 channels it has transparency.

    Raises BadImageError with the reason when the file cannot be used.
    """
    return _pixels(data, _to_eight_bits)


def shape_as_it_is(data: ImageData) -> tuple[int, ...]:
    """Channels, height and width of `all_pixels`. Raises as it does."""
    return all_pixels(data).shape


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Any mode to L, LA, RGB or RGBA; transparency by colour key or palette becomes an alpha channel."""
    mode = image.mode
    if mode in ("L", "LA", "RGB", "RGBA", "1", "P", "PA"):
        alpha = image.has_transparency_data
        if mode in ("P", "PA"):
            return image.convert("RGBA" if alpha else "RGB")
        if mode in ("1", "L", "LA"):
            return image.convert("LA" if alpha else "L")
        return image.convert("RGBA" if alpha else "RGB")
    targets = {"CMYK": "RGB", "YCbCr": "RGB", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA"}
    if mode not in targets:
        raise BadImageError(f"pixel mode {mode} is not supported (no fixed range of values)")
    return image.convert(targets[mode])


def _to_channels(image: Image.Image, options: ConversionOptions) -> Image.Image:
    if options.channels == 4:
        return image.convert("RGBA")
    if image.mode in ("LA", "RGBA") and options.background != NO_BACKGROUND:
        background = (*ImageColor.getrgb(options.background)[:3], 255)
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), rgba).convert("RGB")
    return image.convert("L" if options.channels == 1 else "RGB")


def _crop_and_resize(image: Image.Image, options: ConversionOptions) -> Image.Image:
    if options.crop == "lsun-car":
        return _wide(image, _CAR_HEIGHT, options)
    if options.crop == "center-crop-wide":
        return _wide(image, options.wide_height or round(options.resolution * 3 / 4), options)
    if options.crop == "border":
        return _bordered(image, options)
    if options.crop == "celeba":
        return _celeba(image, options.resolution)
    width, height = image.size
    rows, columns = options.size
    if options.crop == "none" and width * rows != height * columns:
        raise BadImageError(f"not {_proportions(options)}: {width}x{height} px; choose crop center or pad")
    enough = any if options.crop == "pad" else all
    if not enough((width >= columns, height >= rows)) and not options.upscale:
        raise BadImageError(f"too small: {width}x{height} px, need at least {_needed(options)}")
    resampling = _RESAMPLING[options.filter]
    if options.crop == "stretch":
        return image.resize((columns, rows), resampling)
    wide = width * rows >= height * columns  # at least as wide as the result, for its height
    # Python rounds halves to even; at least one row or column survives however flat or narrow the image is.
    if options.crop == "pad":
        scaled_height = rows if not wide else max(1, round(height * columns / width))
        scaled_width = columns if wide else max(1, round(width * rows / height))
        return _on_black(image.resize((scaled_width, scaled_height), resampling), options.size)
    kept_height = height if wide else max(1, round(width * rows / columns))
    kept_width = width if not wide else max(1, round(height * columns / rows))
    left, top = (width - kept_width) // 2, (height - kept_height) // 2
    return image.crop((left, top, left + kept_width, top + kept_height)).resize((columns, rows), resampling)


def _proportions(options: ConversionOptions) -> str:
    rows, columns = options.size
    if rows == columns:
        return "square"
    divisor = math.gcd(rows, columns)
    return f"{columns // divisor}:{rows // divisor} (width:height)"


def _needed(options: ConversionOptions) -> str:
    rows, columns = options.size
    if options.crop != "pad":
        return f"{columns}x{rows}"
    if rows == columns:
        return f"{rows} px on the longer side"
    return f"a width of {columns} or a height of {rows} px"


def _wide(image: Image.Image, kept: int, options: ConversionOptions) -> Image.Image:
    """StyleGAN's recipe for LSUN Car, literally: `kept` rows on a black square.

    It computes the number of rows for a width of the resolution, but crops the original to that number:
    wider originals are squeezed horizontally.
    """
    width, height = image.size
    columns = options.resolution
    rows = round(columns * height / width)
    if width < columns or rows < kept:
        raise BadImageError(
            f"too small: {width}x{height} px, {options.crop} needs at least {columns} px of width and "
            f"round({columns} * height / width) >= {kept} (here {rows})"
        )
    cropped = image.crop((0, (height - rows) // 2, width, (height + rows) // 2))
    return _on_black(cropped.resize((columns, kept), _RESAMPLING[options.filter]), options.size)


def _bordered(image: Image.Image, options: ConversionOptions) -> Image.Image:
    rows, columns = options.size
    if image.width > columns or image.height > rows:
        raise BadImageError(f"too large: {image.width}x{image.height} px, at most {columns}x{rows} fit")
    return _on_black(image, options.size)


def _celeba(image: Image.Image, side: int) -> Image.Image:
    """The papers' 128 x 128 px of CelebA's aligned images, pixels as they are."""
    if image.size != _CELEBA_SIZE:
        raise BadImageError(
            f"{image.width}x{image.height} px; crop celeba takes CelebA's aligned images of "
            f"{_CELEBA_SIZE[0]}x{_CELEBA_SIZE[1]} px"
        )
    left, top = (centre - side // 2 for centre in _CELEBA_CENTRE)
    return image.crop((left, top, left + side, top + side))


def _on_black(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Paste in the middle of an opaque black image of `size`, height and width."""
    rows, columns = size
    canvas = Image.new(image.mode, (columns, rows), (0, 0, 0, 255) if image.mode == "RGBA" else 0)
    canvas.paste(image, ((columns - image.width) // 2, (rows - image.height) // 2))
    return canvas
