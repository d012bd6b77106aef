"""Laplacian pyramids of images (Burt & Adelson 1983), as the sliced Wasserstein distance takes them apart.

Images are square, or rectangles of a small grid times a power of two. Each level is half as high and wide as
the one above. A level is called by its nominal side, which for squares is their side.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from styleloom.errors import UserError


def laplacian_pyramid(images: Tensor, lowest: int = 16, grid: tuple[int, int] = (4, 4)) -> dict[int, Tensor]:
    """Band-pass images by nominal side, finest first; the last is the low-pass residual.

    Args:
        images: floating [N, C, H, W]; (H, W) = `grid` * R / 4 with R a power of two, the nominal side.
        lowest: least side of the last level, px, a power of two. The shorter side counts: 384x512 images end
            at 24x32. Images smaller than that have one level, the image itself.
        grid: height and width of the images are `grid` * R / 4; 4, 4 for square images (`ImageDataset.grid`).

    Returns:
        Nominal side to [N, C, h, w], in the range of `images` or, for band-pass levels, of their
        differences. `collapse` inverts it, up to one rounding of the floating type per level.

    Raises:
        UserError: images that are not floating or not of `grid`, or a side that is not a power of two.
    """
    if not images.is_floating_point() or not has_grid(images, grid):
        raise UserError(f"images are {images.dtype} {list(images.shape)}; valid: floating {grid_shape(grid)}")
    sides = list(level_sizes(images, lowest, grid))
    return dict(levels(images, sides, sides))


def levels(images: Tensor, sides: list[int], wanted: Collection[int]) -> Iterator[tuple[int, Tensor]]:
    """The `wanted` levels among the `sides` of a pyramid, finest first; nothing below them is computed."""
    last = min(wanted)
    for side in sides:
        if side == sides[-1]:
            yield side, images
            return
        coarse = reduce(images)
        if side in wanted:
            yield side, images - expand(coarse)
        if side == last:
            return
        images = coarse


def collapse(pyramid: dict[int, Tensor]) -> Tensor:
    """The images [N, C, H, W] of a `laplacian_pyramid`."""
    sides = sorted(pyramid)
    images = pyramid[sides[0]]
    for side in sides[1:]:
        images = expand(images) + pyramid[side]
    return images


def reduce(images: Tensor) -> Tensor:
    """[N, C, H, W] to [N, C, H/2, W/2]: filter [1, 4, 6, 4, 1] / 16 along each axis, then every other pixel.

    Borders are mirrored without repeating the edge pixel: c b | a b c d | c b. H and W are even and >= 4.
    """
    for dim in (2, 3):
        even, odd = _every_other(images, dim, 0), _every_other(images, dim, 1)
        before, after = _neighbours(even, dim)
        odd_before = torch.cat((odd.narrow(dim, 0, 1), odd.narrow(dim, 0, odd.shape[dim] - 1)), dim)
        images = (before + after + 6 * even + 4 * (odd_before + odd)) / 16
    return images


def expand(images: Tensor) -> Tensor:
    """[N, C, H, W] to [N, C, 2H, 2W]: zeros between pixels, then filter [1, 4, 6, 4, 1] / 8 along each axis.

    Mirrored borders as in `reduce`; a constant image stays constant. H and W are >= 2.
    """
    for dim in (3, 2):
        before, after = _neighbours(images, dim)
        even = (before + 6 * images + after) / 8
        odd = (images + after) / 2
        images = torch.stack((even, odd), dim + 1).flatten(dim, dim + 1)
    return images


def _every_other(images: Tensor, dim: int, start: int) -> Tensor:
    return images[:, :, start::2] if dim == 2 else images[..., start::2]


def _neighbours(even: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Previous and next of each pixel that sits at an even place of a mirrored line of twice the length.

    Mirroring that line about its first pixel (even) skips the pixel itself; about its last (odd) it does not.
    """
    size = even.shape[dim]
    before = torch.cat((even.narrow(dim, 1, 1), even.narrow(dim, 0, size - 1)), dim)
    after = torch.cat((even.narrow(dim, 1, size - 1), even.narrow(dim, size - 1, 1)), dim)
    return before, after


def level_sizes(images: Tensor, lowest: int, grid: tuple[int, int]) -> dict[int, tuple[int, int]]:
    """Height and width of the pyramid's levels by nominal side, finest first.

    Raises UserError for a nominal side or a `lowest` that is not a power of two.
    """
    height, width = images.shape[2:]
    side = 4 * height // grid[0]
    for name, value in (("resolution", side), ("lowest", lowest)):
        if value < 2 or value & (value - 1):
            raise UserError(f"{name} is {value} px; valid: a power of two")
    sizes = {side: (height, width)}
    while side > 1 and height % 2 == width % 2 == 0 and min(height, width) // 2 >= lowest:
        side, height, width = side // 2, height // 2, width // 2
        sizes[side] = (height, width)
    return sizes


def has_grid(images: Tensor, grid: tuple[int, int]) -> bool:
    """Whether images [N, C, H, W] have the sides `grid` * R / 4 for some R > 0."""
    if images.ndim != 4:
        return False
    height, width = images.shape[2:]
    return height > 0 and height * grid[1] == width * grid[0] and 4 * height % grid[0] == 0


def grid_shape(grid: tuple[int, int]) -> str:
    """The shape of images of `grid`, for messages."""
    height, width = ("R" if side == 4 else f"{side} R / 4" for side in grid)
    return f"[N, C, {height}, {width}]"
