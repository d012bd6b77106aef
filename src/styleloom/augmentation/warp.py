"""Geometric transformations of images, band-limited (appendix B, "Orthogonal lowpass filter").

An image is continued by reflection, doubled in size through the wavelet's low-pass filter, sampled where the
transformation says, with bilinear interpolation, and halved through the same filter. Coordinates are pixels
from the image's middle. Everything is linear in the images: derivatives of any order are the same operation,
or its transpose.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.augmentation.matrices import identity
from styleloom.augmentation.wavelets import low_pass
from styleloom.ops.upfirdn import upfirdn2d, upfirdn2d_reference

REACH = 6
"""Pixels around an image that the two filters of 12 taps read."""

EDGE = REACH // 2
"""Pixels around the result that are sampled, for the second filter alone."""

MATRIX_PX = 128
"""Up to this side, filters are applied as dense matrices, which is several times faster on a processor."""


class Margins(NamedTuple):
    """Pixels by which images are continued at each side."""

    left: int
    top: int
    right: int
    bottom: int


def margins(back: Tensor, height: int, width: int) -> Margins:
    """What the matrices [N, 3, 3] read beyond images of this size: the most that one of them needs.

    At most what reflection can give, one pixel less than the image; zeros are beyond that.
    """
    x, y = (width - 1) / 2, (height - 1) / 2
    corners = torch.tensor([[-x, x, x, -x], [-y, -y, y, y], [1, 1, 1, 1]], dtype=back.dtype)
    found = (back @ corners)[:, :2]  # [N, 2, 4]
    low, high = found.amin((0, 2)), found.amax((0, 2))
    most = (width - 1, height - 1)
    half = (x, y)
    before = [_whole(-low[i].item() - half[i] + REACH, most[i]) for i in (0, 1)]
    after = [_whole(high[i].item() - half[i] + REACH, most[i]) for i in (0, 1)]
    return Margins(*before, *after)


def _whole(pixels: float, most: int) -> int:
    return math.ceil(min(max(pixels, 0.0), most))


def reflected(side: int, before: int, after: int) -> Tensor:
    """Which pixel of a line of `side` stands at each place from -before to side + after - 1.

    Continued by reflection without repeating the border: c b | a b c | b a. Longer continuations go back and
    forth.
    """
    places = torch.arange(-before, side + after, device="cpu")
    period = max(2 * side - 2, 1)
    places = places.remainder(period)
    return torch.minimum(places, period - places)


def doubling(side: int, before: int, after: int) -> Tensor:
    """The matrix that continues a line of `side` pixels and doubles it, float64 [2 (length), side].

    Place o of the doubled line is the sum over taps k of 2 taps[k] z[o + 5 - k], where z is the continued
    line with a zero after each pixel.
    """
    taps = low_pass() * 2
    source = reflected(side, before, after)
    places = torch.arange(2 * len(source), device="cpu")[:, None]
    twice = places + torch.arange(len(taps) // 2 - 1, -len(taps) // 2 - 1, -1, device="cpu")
    there = (twice % 2 == 0) & (twice >= 0) & (twice < 2 * len(source))
    pixels = source[twice.clamp(0, 2 * len(source) - 1) // 2]
    matrix = torch.zeros(len(places), side, dtype=torch.float64, device="cpu")
    return matrix.index_put_((places.expand_as(pixels), pixels), taps * there, accumulate=True)


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)  # autograd refuses to save an inference tensor
def halving(side: int) -> Tensor:
    """The matrix that filters and halves a line of 2 (side + 2 EDGE) to `side` pixels: float64 [side, that].

    Pixel o is the sum over taps k of taps[k] x[2 o + 1 + k].
    """
    taps = low_pass()
    matrix = torch.zeros(side, 2 * (side + 2 * EDGE), dtype=torch.float64, device="cpu")
    pixels = torch.arange(side, device="cpu")
    for k, tap in enumerate(taps):
        matrix[pixels, 2 * pixels + 1 + k] = tap
    return matrix


def sampling_matrices(back: Tensor, edges: Margins, height: int, width: int) -> Tensor:
    """`back` for the doubled images, from -1 to 1 across what is sampled and what is read: [N, 2, 3].

    Doubling moves the middle of a pixel by half a pixel of the doubled image.
    """
    wide = (width + edges.left + edges.right, height + edges.top + edges.bottom)
    half = identity(1)
    half[:, 0, 0], half[:, 1, 1] = width + 2 * EDGE, height + 2 * EDGE  # from -1 to 1, to doubled pixels
    half[:, 0, 2] = half[:, 1, 2] = 0.5
    half[:, :2] /= 2  # to pixels
    found = back @ half
    found[:, 0, 2] += (edges.left - edges.right) / 2
    found[:, 1, 2] += (edges.top - edges.bottom) / 2
    found[:, :2] *= 2
    found[:, :2, 2] -= 0.5
    found[:, 0] /= wide[0]
    found[:, 1] /= wide[1]
    return found[:, :2]


def warp_reference(images: Tensor, back: Tensor) -> Tensor:
    """Slow reference of `warp`: a pass for each step and axis, and four reads of each sample."""
    height, width = images.shape[2:]
    edges = margins(back, height, width)
    doubled = _doubled_by_taps(images, edges, upfirdn2d_reference)
    samples = sampled_reference(doubled, sampling_grid(back, edges, images))
    return _halved_by_taps(samples, upfirdn2d_reference)


def warp(images: Tensor, back: Tensor) -> Tensor:
    """The images [N, C, H, W] under the transformations whose inverses are `back` [N, 3, 3]."""
    height, width = images.shape[2:]
    edges = margins(back, height, width)
    grid = sampling_grid(back, edges, images)
    if max(height, width) > MATRIX_PX:
        return _halved_by_taps(sampled(_doubled_by_taps(images, edges), grid))
    rows, columns = (
        doubling(height, edges.top, edges.bottom).to(images),
        doubling(width, edges.left, edges.right).to(images),
    )
    samples = sampled(rows @ (images @ columns.T), grid)
    return halving(height).to(images) @ (samples @ halving(width).to(images).T)


def sampling_grid(back: Tensor, edges: Margins, images: Tensor) -> Tensor:
    """Where the doubled images are sampled: [N, 2 (H + 2 EDGE), 2 (W + 2 EDGE), 2], on the images' device."""
    n, _, height, width = images.shape
    return F.affine_grid(
        sampling_matrices(back, edges, height, width).to(images),
        [n, 1, 2 * (height + 2 * EDGE), 2 * (width + 2 * EDGE)],
        align_corners=False,
    )


def _doubled_by_taps(images: Tensor, edges: Margins, resample: Callable[..., Tensor] = upfirdn2d) -> Tensor:
    """As the matrices of `doubling`, in time that grows with the number of pixels alone."""
    height, width = images.shape[2:]
    for axis, side, before, after in (
        (2, height, edges.top, edges.bottom),
        (3, width, edges.left, edges.right),
    ):
        images = images.index_select(axis, reflected(side, before, after).to(images.device))
    n = len(low_pass())
    row, column = _kernels(2.0, False)
    images = resample(images, row, (2, 1), (1, 1), (n // 2, n // 2 - 1, 0, 0))
    return resample(images, column, (1, 2), (1, 1), (0, 0, n // 2, n // 2 - 1))


def _halved_by_taps(samples: Tensor, resample: Callable[..., Tensor] = upfirdn2d) -> Tensor:
    """As the matrices of `halving`."""
    row, column = _kernels(1.0, True)
    samples = resample(samples, row, (1, 1), (2, 1), (-1, -1, 0, 0))
    return resample(samples, column, (1, 1), (1, 2), (0, 0, -1, -1))


@functools.cache
@torch.inference_mode(False)
def _kernels(gain: float, turned: bool) -> tuple[Tensor, Tensor]:
    """The low-pass filter of rows, and of columns, as `upfirdn2d` takes them: it turns the taps round."""
    taps = low_pass() * gain
    taps = taps.flip(0) if turned else taps
    return taps[None], taps[:, None]


def sampled_reference(images: Tensor, grid: Tensor) -> Tensor:
    """Slow reference of `sampled`: each sample is the weighted sum of the four pixels around it."""
    n, channels, height, width = images.shape
    x, y = (grid[..., 0] + 1) * width / 2 - 0.5, (grid[..., 1] + 1) * height / 2 - 0.5
    left, top = x.floor(), y.floor()
    total = images.new_zeros(n, channels, *grid.shape[1:3])
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        column, row = (left + i).long(), (top + j).long()
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        weight = (1 - (x - left - i).abs()) * (1 - (y - top - j).abs()) * inside
        place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).reshape(n, 1, -1)
        read = images.flatten(2).gather(2, place.expand(-1, channels, -1))
        total = total + weight[:, None] * read.reshape(total.shape)
    return total


def sampled(images: Tensor, grid: Tensor) -> Tensor:
    """Bilinear samples of images [N, C, H, W] at `grid` [N, h, w, 2], zeros outside: [N, C, h, w]."""
    return _Sampled.apply(images, grid)  # type: ignore[no-any-return]


class _Sampled(torch.autograd.Function):
    """Linear in the images, so that its derivative is its transpose, and that one's is this again."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size = images.shape[2:]
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        (grid,) = ctx.saved_tensors
        return _Scattered.apply(g, grid, ctx.size), None


class _Scattered(torch.autograd.Function):
    """The transpose of `_Sampled`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(grid)
        images = values.new_empty(1).expand(*values.shape[:2], *size)  # of which the shape alone is read
        return torch.ops.aten.grid_sampler_2d_backward(values, images, grid, 0, 0, False, [True, False])[0]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        (grid,) = ctx.saved_tensors
        return _Sampled.apply(g, grid), None, None
