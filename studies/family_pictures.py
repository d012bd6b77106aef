"""Pictures of the family study: a sheet of each model's images, and all sheets side by side."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from styleloom.images import grid

TILES, COLUMNS, ENLARGED = 64, 8, 2
"""Of a sheet: images, images in a row, and the factor by which each is enlarged."""


def enlarge(images: Tensor, factor: int) -> Tensor:
    """Each pixel repeated: [..., H, W] -> [..., factor H, factor W]."""
    return images.repeat_interleave(factor, -2).repeat_interleave(factor, -1)


def sheet(images: Tensor) -> Tensor:
    """The first images of uint8 [N, C, H, W], side by side and enlarged: uint8 [C, H', W']."""
    return enlarge(grid(images[:TILES], COLUMNS), ENLARGED)


def tiles(path: Path, side: int) -> list[Image.Image]:
    """Cut a sheet into its enlarged images; `side` is that of an image before enlarging, px."""
    picture, side = Image.open(path).convert("RGB"), side * ENLARGED
    corners = [(x, y) for y in range(0, picture.height, side) for x in range(0, picture.width, side)]
    return [picture.crop((x, y, x + side, y + side)) for x, y in corners]


def side_by_side(sheets: dict[str, Path], side: int, columns: int = 4) -> Image.Image:
    """Sheets as labelled columns of one picture, each with the same number of images to a row."""
    found = {label: tiles(path, side) for label, path in sheets.items()}
    px, gap, head = side * ENLARGED, 16, 32
    rows = -(-max(map(len, found.values())) // columns)
    width = len(found) * (columns * px + gap) + gap
    picture = Image.new("RGB", (width, head + rows * px + gap), "white")
    draw = ImageDraw.Draw(picture)
    for index, (label, images) in enumerate(found.items()):
        left = gap + index * (columns * px + gap)
        draw.text((left, head // 2), label, "black", ImageFont.load_default(18), anchor="lm")
        for i, image in enumerate(images):
            picture.paste(image, (left + i % columns * px, head + i // columns * px))
    return picture
