"""Pictures from images of any size: in rows and columns, with gaps and words."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import avg_pool2d

from styleloom.data.reals import to_uint8
from styleloom.errors import UserError, printable

GAP = 6
"""Pixels between images."""
BLOCK_GAP = 24
"""Pixels between parts of a figure."""
TEXT_PX = 15
"""Height of letters."""
LEFT_PX = 150
"""Widest words at the left of a row."""
WHITE = 255
MAX_PIXELS = 2**28
"""Most pixels of a figure: 16 x 16 images of 1024 x 1024 px."""


def check_places(places: int, size: tuple[int, int], zoom: int = 1) -> None:
    """Raise UserError where so many images of `size` (height, width), enlarged, are too large a picture."""
    height, width = size
    most = MAX_PIXELS // (height * width * zoom * zoom)
    if places > most:
        raise UserError(
            f"figure: {places} images of {zoom * height} x {zoom * width} px are too many for one picture; "
            f"valid: at most {most}, with fewer seeds or a smaller --zoom"
        )


def rgb(images: Tensor) -> Tensor:
    """Images [N, C, H, W] of 1, 3 or 4 channels, in [-1, 1] or uint8, in colour: uint8 [N, 3, H, W], CPU.

    Transparent ones stand before white.
    """
    pixels = (images if images.dtype == torch.uint8 else to_uint8(images)).cpu()
    if pixels.shape[1] == 4:
        alpha = pixels[:, 3:].float() / 255
        return (pixels[:, :3] * alpha + WHITE * (1 - alpha)).round().to(torch.uint8)
    return pixels.expand(-1, 3, -1, -1)


def enlarged(images: Tensor, zoom: int) -> Tensor:
    """[..., H, W] with every pixel `zoom` times as high and wide."""
    return images.repeat_interleave(zoom, -1).repeat_interleave(zoom, -2)


def reduced(images: Tensor, factor: int) -> Tensor:
    """uint8 [N, C, H, W] with means of factor x factor pixels."""
    return avg_pool2d(images.float(), factor).round().to(torch.uint8)


def grey(maps: Tensor, low: float, high: float) -> Tensor:
    """Maps [N, H, W] of any numbers as grey images: `low` is black, `high` is white. uint8 [N, 3, H, W]."""
    scaled = (maps.float() - low) / max(high - low, 1e-12) * 255
    return scaled.clamp(0, 255).round().to(torch.uint8)[:, None].expand(-1, 3, -1, -1).cpu()


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(TEXT_PX)


def width_of(text: str) -> int:
    """Pixels that a line takes."""
    return int(np.ceil(_font().getlength(text)))


def _lines(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` px; a longer word has a line of its own."""
    lines: list[str] = []
    for part in printable(text).split("\n"):
        line = ""
        for word in part.split():
            longer = f"{line} {word}".strip()
            if line and width_of(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def words(text: str, width: int, anchor: str = "m") -> Tensor:
    """`text` in black on white, in lines of `width` px: uint8 [3, h, width]; anchor l, m or r."""
    lines = _lines(text, width)
    step = round(TEXT_PX * 1.25)
    picture = Image.new("RGB", (width, step * len(lines)), "white")
    draw = ImageDraw.Draw(picture)
    x = {"l": 0, "m": width // 2, "r": width}[anchor]
    for i, line in enumerate(lines):
        draw.text((x, i * step + step // 2), line, "black", _font(), anchor=f"{anchor}m")
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def _placed(canvas: Tensor, part: Tensor, top: int, left: int) -> None:
    canvas[:, top : top + part.shape[1], left : left + part.shape[2]] = part


def _starts(sizes: Sequence[int], first: int, gap: int) -> list[int]:
    return [first + sum(sizes[:i]) + gap * i for i in range(len(sizes))]


def board(
    rows: Sequence[Sequence[Tensor | None]],
    top: Sequence[str] = (),
    left: Sequence[str] = (),
    gap: int = GAP,
) -> Tensor:
    """Images in rows and columns, as wide and high as their largest, in whose middle each stands.

    Args:
        rows: uint8 [3, h, w] each; None is a free place. Rows may be of different lengths.
        top: words above the columns; left: beside the rows.
        gap: pixels between images.

    Returns:
        uint8 [3, H, W].
    """
    across = max(len(top), *(len(row) for row in rows))
    widths, heights = [1] * across, [1] * len(rows)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            if cell is not None:
                heights[i], widths[j] = max(heights[i], cell.shape[1]), max(widths[j], cell.shape[2])
    for j, text in enumerate(top):  # a word that is wider than its images
        widths[j] = max(widths[j], *(width_of(word) for word in [*text.split(), ""]))
    heads = [words(text, widths[j]) for j, text in enumerate(top)]
    head = max((h.shape[1] for h in heads), default=0)
    side = max((width_of(line) for text in left for line in _lines(text, LEFT_PX)), default=0)
    ys, xs = _starts(heights, head + gap * bool(head), gap), _starts(widths, side + gap * bool(side), gap)
    canvas = torch.full((3, ys[-1] + heights[-1], xs[-1] + widths[-1]), WHITE, dtype=torch.uint8)
    for j, part in enumerate(heads):
        _placed(canvas, part, head - part.shape[1], xs[j])
    for i, text in enumerate(left):
        part = words(text, side, "r")[:, : heights[i]]
        _placed(canvas, part, ys[i] + (heights[i] - part.shape[1]) // 2, 0)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            if cell is not None:
                down, right = heights[i] - cell.shape[1], widths[j] - cell.shape[2]
                _placed(canvas, cell, ys[i] + down // 2, xs[j] + right // 2)
    return canvas


def stacked(parts: Sequence[Tensor], titles: Sequence[str] = (), gap: int = BLOCK_GAP) -> Tensor:
    """Pictures uint8 [3, h, w] one below the other, from the left, each below its title."""
    cells = list(parts)
    if titles:
        width = max(part.shape[2] for part in parts)
        pairs = [(words(text, max(width, 1), "l"), part) for text, part in zip(titles, parts, strict=True)]
        cells = [torch.cat([_widened(a, width), _widened(b, width)], 1) for a, b in pairs]
    width = max(cell.shape[2] for cell in cells)
    return torch.cat(
        [
            piece
            for i, cell in enumerate(cells)
            for piece in ([_space(gap, width)] * bool(i) + [_widened(cell, width)])
        ],
        1,
    )


def _space(height: int, width: int) -> Tensor:
    return torch.full((3, height, width), WHITE, dtype=torch.uint8)


def _widened(part: Tensor, width: int) -> Tensor:
    return torch.cat([part, _space(part.shape[1], width - part.shape[2])], 2)


def framed(picture: Tensor, margin: int = GAP) -> Tensor:
    """A picture uint8 [3, H, W] with a white margin."""
    canvas = _space(picture.shape[1] + 2 * margin, picture.shape[2] + 2 * margin)
    _placed(canvas, picture, margin, margin)
    return canvas
