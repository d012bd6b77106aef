"""Pictures for people: PNG files, and sheets of images side by side."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from styleloom import arguments
from styleloom.atomic import atomic_path
from styleloom.data.reals import to_uint8
from styleloom.errors import UserError, shown


def to_pil(image_u8: Tensor | np.ndarray) -> Image.Image:
    """uint8 [C, H, W] with 1, 3 or 4 channels to a Pillow image. Raises UserError for anything else."""
    array = np.asarray(image_u8.detach().cpu() if isinstance(image_u8, Tensor) else image_u8)
    if array.dtype != np.uint8 or array.ndim != 3:
        raise UserError(f"image: {array.dtype} of shape {list(array.shape)}; valid: uint8 [C, H, W]")
    if array.shape[0] not in (1, 3, 4):
        raise UserError(f"images of {array.shape[0]} channels cannot be saved as PNG; valid: 1, 3, 4")
    return Image.fromarray(array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0).copy())


def save_png(path: Path | str, image_u8: Tensor | np.ndarray, text: Mapping[str, str] | None = None) -> None:
    """Write uint8 [C, H, W] as PNG, atomically, with a text chunk for each keyword of `text`.

    Raises UserError for another ending than .png, and for what `to_pil` does not take.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UserError(f"{shown(path)}: images are written as PNG; valid: a name that ends with .png")
    chunks = PngInfo()
    for keyword, value in (text or {}).items():
        chunks.add_text(keyword, value)
    image = to_pil(image_u8)
    with atomic_path(path) as partial:
        image.save(partial, format="PNG", pnginfo=chunks)


def grid(images: Tensor, columns: int, rows: int | None = None) -> Tensor:
    """Images [N, C, H, W] in [-1, 1] or uint8, side by side: uint8 [C, rows H, columns W]; gaps are white.

    Rows are as many as are needed, unless given.
    """
    rows = -(-len(images) // columns) if rows is None else rows
    sheet = Sheet(columns, rows)
    sheet.add(images)
    return sheet.pixels


class Sheet:
    """A grid of images that is filled row by row; free places are white.

    Args:
        columns, rows: number of images across and down.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = arguments.whole("columns", columns, 1), arguments.whole("rows", rows, 0)
        self.count = 0
        self._tiles: Tensor | None = None

    def add(self, images: Tensor) -> None:
        """Put images [N, C, H, W], in [-1, 1] or uint8, into the next free places."""
        tiles = images if images.dtype == torch.uint8 else to_uint8(images)
        if self._tiles is None:
            size = (self.rows * self.columns, *tiles.shape[1:])
            self._tiles = torch.full(size, 255, dtype=torch.uint8)
        if self.count + len(tiles) > len(self._tiles):
            raise UserError(
                f"grid: {self.columns} x {self.rows} has no room for {self.count + len(tiles)} images"
            )
        self._tiles[self.count : self.count + len(tiles)] = tiles.cpu()
        self.count += len(tiles)

    @property
    def pixels(self) -> Tensor:
        """The sheet: uint8 [C, rows H, columns W]."""
        assert self._tiles is not None, "no images were added"
        tiles = self._tiles.unflatten(0, (self.rows, self.columns))  # [rows, columns, C, H, W]
        return tiles.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)


def regrouped(parts: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    """The images of all `parts`, `size` at a time."""
    held: list[Tensor] = []
    for image in itertools.chain.from_iterable(part.split(1) for part in parts):
        held.append(image)
        if len(held) == size:
            yield torch.cat(held)
            held.clear()
    if held:
        yield torch.cat(held)
