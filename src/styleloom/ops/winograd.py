"""3x3 convolution with fewer multiplications: F(4x4, 3x3) of Lavin & Gray, "Fast Algorithms for Convolutional
Neural Networks" (CVPR 2016), after Winograd's minimal filtering.

A tile of 4x4 outputs needs 36 products per pair of channels instead of 144: tiles of 6x6 inputs and the
kernel are transformed, multiplied point by point (36 matrix products over channels), and transformed back. On
the CPU in float32, with hundreds of channels, this is faster than PyTorch's direct convolution. Its
rounding error is larger, by a factor that a test bounds.

The three functions are the bilinear maps of a convolution with stride 1 and padding 1; `ops.conv2d` chooses
between them and PyTorch's.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

OUT, IN = 4, 6
"""Sides of an output and an input tile."""

MIN_CHANNELS = 256
"""With fewer channels, transforming the tiles costs more than the products save."""

MIN_TILES = 128
"""With fewer tiles, transforming the kernel costs more than the products save."""

CHUNK = 2**23
"""Transformed values that exist at one time (32 MiB), rounded to whole images."""


def suits(x: Tensor, num_in: int, num_out: int, kernel: int, stride: int, padding: int) -> bool:
    """Whether these functions compute this convolution, and are the faster way.

    Args:
        x: its input, or a tensor of the input's batch, size, type and device.
        num_in, num_out: channels.
        kernel, stride, padding: must be 3, 1, 1.
    """
    n, _, height, width = x.shape
    return (
        x.dtype == torch.float32
        and (kernel, stride, padding) == (3, 1, 1)
        and x.device.type == "cpu"
        and min(num_in, num_out) >= MIN_CHANNELS
        and height % OUT == width % OUT == 0
        and n * height * width >= MIN_TILES * OUT**2
    )


def convolve(x: Tensor, w: Tensor) -> Tensor:
    """x [N, I, H, W], w [O, I, 3, 3] -> [N, O, H, W]."""
    kernel = _kernel(w).transpose(1, 2)  # [36, I, O]
    return torch.cat([_convolve(part, kernel) for part in _chunks(x)])


def input_gradient(g: Tensor, w: Tensor) -> Tensor:
    """g [N, O, H, W], w [O, I, 3, 3] -> [N, I, H, W]: convolution with the turned kernel."""
    kernel = _kernel(w.flip(2, 3))  # [36, O, I]
    return torch.cat([_convolve(part, kernel) for part in _chunks(g)])


def weight_gradient(g: Tensor, x: Tensor) -> Tensor:
    """g [N, O, H, W], x [N, I, H, W] -> [O, I, 3, 3]."""
    num_out, num_in = g.shape[1], x.shape[1]
    total = x.new_zeros(IN**2, num_out, num_in)
    size = _images_per_chunk(x if num_in >= num_out else g)
    for g_part, x_part in zip(g.split(size), x.split(size), strict=True):
        tiles = _channels_last(g_part)
        n, height, width, _ = tiles.shape
        tiles = tiles.reshape(n, height // OUT, OUT, width // OUT, OUT, num_out)
        points = _matrices(x.dtype)[2].t() @ tiles.permute(2, 4, 0, 1, 3, 5).reshape(OUT**2, -1)
        total.baddbmm_(points.view(IN**2, -1, num_out).transpose(1, 2), _input_points(x_part))
    taps = _matrices(x.dtype)[1].t() @ total.view(IN**2, -1)  # [9, O I]
    return taps.view(3, 3, num_out, num_in).permute(2, 3, 0, 1)


def _convolve(x: Tensor, kernel: Tensor) -> Tensor:
    n, _, height, width = x.shape
    products = torch.bmm(_input_points(x), kernel)  # [36, tiles, O]
    tiles = _matrices(x.dtype)[2] @ products.view(IN**2, -1)
    tiles = tiles.view(OUT, OUT, n, height // OUT, width // OUT, -1).permute(2, 3, 0, 4, 1, 5)
    return tiles.reshape(n, height, width, -1).permute(0, 3, 1, 2)


def _input_points(x: Tensor) -> Tensor:
    """Transformed input tiles: [N, C, H, W] -> [36, tiles, C]."""
    n, c, height, width = x.shape
    padded = F.pad(_channels_last(x), (0, 0, 1, 1, 1, 1))  # [N, H+2, W+2, C]
    sn, sh, sw, sc = padded.stride()
    shape = (IN, IN, n, height // OUT, width // OUT, c)
    tiles = padded.as_strided(shape, (sh, sw, sn, OUT * sh, OUT * sw, sc)).reshape(IN**2, -1)
    return (_matrices(x.dtype)[0] @ tiles).view(IN**2, -1, c)


def _kernel(w: Tensor) -> Tensor:
    """Transformed kernel: [O, I, 3, 3] -> [36, O, I]."""
    taps = w.permute(2, 3, 0, 1).reshape(9, -1)
    return (_matrices(w.dtype)[1] @ taps).view(IN**2, w.shape[0], w.shape[1])


def _channels_last(x: Tensor) -> Tensor:
    """[N, C, H, W] to contiguous [N, H, W, C]."""
    return x.permute(0, 2, 3, 1).contiguous()


def _images_per_chunk(x: Tensor) -> int:
    values = IN**2 * x[0].numel() // OUT**2
    return max(CHUNK // max(values, 1), 1)


def _chunks(x: Tensor) -> Iterator[Tensor]:
    yield from x.split(_images_per_chunk(x))


@functools.cache
def _matrices(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Transforms of input [36, 36], kernel [36, 9] and output [16, 36]; points 0, 1, -1, 2, -2, infinity."""
    inputs = [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
    kernel = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]  # times 1/24
    output = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]

    def outer(rows: list[list[int]], factor: float = 1.0) -> Tensor:
        matrix = torch.tensor(rows, dtype=torch.float64, device="cpu") * factor
        return torch.kron(matrix, matrix).to(dtype)

    return outer(inputs), outer(kernel, 1 / 24), outer(output)
