"""Upsample, filter, downsample: the resampling of StyleGAN2 (appendix B).

A filter is given by its taps: `(1, 3, 3, 1)` stands for the separable outer product, a tuple of tuples for
a two-dimensional filter. Resampling normalises the taps to sum 1.
"""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from styleloom.ops.tracing import traced

Taps: TypeAlias = tuple[float, ...] | tuple[tuple[float, ...], ...]

Pads: TypeAlias = tuple[int, int, int, int]
"""left, right, top, bottom; negative values crop."""


def fir_kernel(taps: Taps, gain: float = 1.0) -> Tensor:
    """Taps to a float32 kernel [fh, fw] on the CPU whose sum is `gain`."""
    if traced():  # a tensor made during tracing must not stay in the cache
        return _fir_kernel(taps, gain)
    return _kept_fir_kernel(taps, gain)


def _fir_kernel(taps: Taps, gain: float) -> Tensor:
    kernel = torch.tensor(taps, dtype=torch.float64, device="cpu")  # whatever the default device is
    if kernel.ndim == 1:
        kernel = kernel.outer(kernel)
    return (kernel * (gain / kernel.sum())).to(torch.float32)


@functools.lru_cache(maxsize=512)
def _kept_fir_kernel(taps: Taps, gain: float) -> Tensor:
    with torch.inference_mode(False):  # autograd refuses to save an inference tensor
        return _fir_kernel(taps, gain)


def tap_count(taps: Taps) -> int:
    """Side of the (square) kernel."""
    return len(taps)


def upfirdn2d_reference(
    x: Tensor, kernel: Tensor, up: tuple[int, int], down: tuple[int, int], pad: Pads
) -> Tensor:
    """Slow reference of `upfirdn2d`: one shifted, weighted copy per tap."""
    n, c, height, width = x.shape
    ux, uy = up
    dx, dy = down
    left, right, top, bottom = pad
    full = x.new_zeros(n, c, height, uy, width, ux)
    full[:, :, :, 0, :, 0] = x
    full = F.pad(full.reshape(n, c, height * uy, width * ux), (left, right, top, bottom))
    fh, fw = kernel.shape
    out_h, out_w = full.shape[2] - fh + 1, full.shape[3] - fw + 1
    flipped = kernel.flip(0, 1).to(x.dtype)  # a true convolution
    terms = (flipped[i, j] * full[:, :, i : i + out_h, j : j + out_w] for i in range(fh) for j in range(fw))
    total = functools.reduce(torch.add, terms)
    return total[:, :, ::dy, ::dx]


def upfirdn2d(x: Tensor, kernel: Tensor, up: tuple[int, int], down: tuple[int, int], pad: Pads) -> Tensor:
    """Insert zeros (factors `up` in x and y), pad, convolve with `kernel`, keep every `down`-th pixel.

    Args:
        x: [N, C, H, W].
        kernel: [fh, fw], a constant: no gradient flows to it.
        up, down: factors (x, y).
        pad: left, right, top, bottom, in px of the upsampled image; negative values crop.

    Returns:
        [N, C, (H uy + top + bottom - fh) // dy + 1, (W ux + left + right - fw) // dx + 1].
    """
    if traced() or not torch.is_grad_enabled():
        return _evaluate(x, kernel, up, down, pad)
    return _UpFirDn.apply(x, kernel, up, down, pad)  # type: ignore[no-any-return]


class _UpFirDn(torch.autograd.Function):
    """Linear in x, so that its derivative is another upfirdn with up and down exchanged."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, up: tuple[int, int], down: tuple[int, int], pad: Pads
    ) -> Tensor:
        out = _evaluate(x, kernel, up, down, pad)
        fh, fw = kernel.shape
        _, _, height, width = x.shape
        left, _, top, _ = pad
        ctx.kernel, ctx.up, ctx.down = kernel, up, down
        ctx.pad = (
            fw - 1 - left,
            width * up[0] - out.shape[3] * down[0] + left - up[0] + 1,
            fh - 1 - top,
            height * up[1] - out.shape[2] * down[1] + top - up[1] + 1,
        )
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        return upfirdn2d(g, _flipped(ctx.kernel), ctx.down, ctx.up, ctx.pad), None, None, None, None


_FLIPPED: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def _flipped(kernel: Tensor) -> Tensor:
    """The kernel turned by 180 degrees, kept as long as `kernel` lives."""
    if kernel not in _FLIPPED:
        flipped = kernel.flip(0, 1)
        _FLIPPED[kernel] = None if torch.equal(flipped, kernel) else flipped
    flipped = _FLIPPED[kernel]
    return kernel if flipped is None else flipped


def _evaluate(x: Tensor, kernel: Tensor, up: tuple[int, int], down: tuple[int, int], pad: Pads) -> Tensor:
    _, c, height, width = x.shape
    fh, fw = kernel.shape
    left, right, top, bottom = pad
    ux, uy = up
    dx, dy = down
    w = _depthwise(kernel, c, x.dtype, x.device)
    plain = up == (1, 1)
    if plain and left == right >= 0 and top == bottom >= 0:
        return F.conv2d(x, w, stride=(dy, dx), padding=(top, left), groups=c)
    if up != (1, 1):
        if down == (1, 1) and 0 <= left < fw and 0 <= top < fh:
            out = _scatter(x, w, up, pad)
            if out is not None:
                return out
        x = _zeros_between(x, ux, uy)
    x = F.pad(x, (max(left, 0), max(right, 0), max(top, 0), max(bottom, 0)))
    if min(pad) < 0:  # afterwards: what is cropped may be more than the image, and reach into the padding
        height, width = x.shape[2:]
        x = x[:, :, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)]
    return F.conv2d(x, w, stride=(dy, dx), groups=c)


def _zeros_between(x: Tensor, ux: int, uy: int) -> Tensor:
    """Each pixel followed by ux - 1 and uy - 1 zeros: [N, C, H, W] -> [N, C, uy H, ux W]."""
    n, c, height, width = x.shape
    if traced():  # without overwriting
        rows = F.pad(x[:, :, :, None, :, None], (0, ux - 1, 0, 0, 0, uy - 1))
        return rows.reshape(n, c, height * uy, width * ux)
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else None
    full = x.new_zeros(n, c, height * uy, width * ux)
    full = full if layout is None else full.to(memory_format=layout)
    full[:, :, ::uy, ::ux] = x
    return full


def _scatter(x: Tensor, w: Tensor, up: tuple[int, int], pad: Pads) -> Tensor | None:
    """Upsampling as a depth-wise transposed convolution, where its output covers what is asked for."""
    fh, fw = w.shape[2:]
    left, right, top, bottom = pad
    ux, uy = up
    _, c, height, width = x.shape
    out_h = height * uy + top + bottom - fh + 1
    out_w = width * ux + left + right - fw + 1
    extra_h = out_h - ((height - 1) * uy + fh - 2 * (fh - 1 - top))
    extra_w = out_w - ((width - 1) * ux + fw - 2 * (fw - 1 - left))
    if not (0 <= extra_h < uy and 0 <= extra_w < ux):
        return None
    # The CPU has no fast depth-wise transposed convolution in bfloat16; by way of float32 it is faster.
    slow = x.device.type == "cpu" and x.dtype == torch.bfloat16
    through = torch.float32 if slow else x.dtype
    y = F.conv_transpose2d(
        x.to(through),
        w.flip(2, 3).to(through),
        stride=(uy, ux),
        padding=(fh - 1 - top, fw - 1 - left),
        output_padding=(extra_h, extra_w),
        groups=c,
    )
    return y.to(x.dtype)


_DEPTHWISE: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def _depthwise(kernel: Tensor, channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Kernel [fh, fw] to weights [C, 1, fh, fw] of a cross-correlation, kept as long as `kernel` lives."""
    if traced():
        return _expanded(kernel, channels, dtype, device)
    if kernel not in _DEPTHWISE:
        _DEPTHWISE[kernel] = {}
    variants: dict[Any, Tensor] = _DEPTHWISE[kernel]
    key = (channels, dtype, device)
    if key not in variants:
        with torch.inference_mode(False):
            variants[key] = _expanded(kernel, channels, dtype, device)
    return variants[key]


def _expanded(kernel: Tensor, channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    flipped = kernel.flip(0, 1).to(device=device, dtype=dtype)
    return flipped.expand(channels, 1, *kernel.shape).contiguous()


def upsample2d(x: Tensor, taps: Taps, factor: int = 2, gain: float = 1.0) -> Tensor:
    """Image upsampling by `factor` with gain factor^2: [N, C, H, W] -> [N, C, factor H, factor W]."""
    p = tap_count(taps) - factor
    before, after = (p + 1) // 2 + factor - 1, p // 2
    kernel = fir_kernel(taps, gain * factor**2)
    return upfirdn2d(x, kernel, (factor, factor), (1, 1), (before, after, before, after))


def downsample2d(x: Tensor, taps: Taps, factor: int = 2, gain: float = 1.0) -> Tensor:
    """Image downsampling by `factor`: [N, C, H, W] -> [N, C, H // factor, W // factor]."""
    p = tap_count(taps) - factor
    before, after = (p + 1) // 2, p // 2
    return upfirdn2d(x, fir_kernel(taps, gain), (1, 1), (factor, factor), (before, after, before, after))


def filter2d(x: Tensor, taps: Taps, gain: float = 1.0) -> Tensor:
    """Filtering without a change of size."""
    p = tap_count(taps) - 1
    before, after = (p + 1) // 2, p // 2
    return upfirdn2d(x, fir_kernel(taps, gain), (1, 1), (1, 1), (before, after, before, after))
