"""Convolutions that also change the resolution (StyleGAN2 section 4.1 and appendix B).

The padding is applied once, before filter and convolution, never between them: padding twice would shift
features by half a pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from styleloom.ops.conv2d import conv2d, conv2d_reference, conv_transpose2d
from styleloom.ops.derived import derived
from styleloom.ops.tracing import traced
from styleloom.ops.upfirdn import (
    Taps,
    downsample2d,
    fir_kernel,
    tap_count,
    upfirdn2d,
    upfirdn2d_reference,
    upsample2d,
)


def upsample_conv2d(x: Tensor, w: Tensor, taps: Taps, factor: int = 2, gain: float = 1.0) -> Tensor:
    """Upsample by `factor`, then cross-correlate: [N, I, H, W], [O, I, k, k] -> [N, O, fH, fW].

    A transposed convolution followed by the filter. The kernel is flipped because a transposed
    convolution scatters it.
    """
    k = w.shape[2]
    if k == 1:
        return upsample2d(conv2d(x, w), taps, factor, gain)
    p = tap_count(taps) - factor - (k - 1)
    before, after = (p + 1) // 2 + factor - 1, p // 2 + factor - 1
    turned = derived(w, "turned", _turned)
    y = conv_transpose2d(x, turned, stride=factor)
    return upfirdn2d(y, fir_kernel(taps, gain * factor**2), (1, 1), (1, 1), (before, after, before, after))


def _turned(w: Tensor) -> Tensor:
    """Kernels of the transposed convolution; laid out anew, as the CPU's would otherwise be in every call."""
    turned = w.flip(2, 3).transpose(0, 1)
    if torch.is_grad_enabled() or traced() or not w.is_contiguous(memory_format=torch.channels_last):
        return turned
    return turned.contiguous(memory_format=torch.channels_last)


def upsample_conv2d_reference(x: Tensor, w: Tensor, taps: Taps, factor: int = 2, gain: float = 1.0) -> Tensor:
    """Slow reference of `upsample_conv2d`: zero insertion, filter, dense convolution at full size."""
    k = w.shape[2]
    p = tap_count(taps) + k - 1 - factor
    before, after = (p + 1) // 2 + factor - 1, p // 2
    kernel = fir_kernel(taps, gain * factor**2)
    # The convolution shortens the sides by k - 1: the one padding in front covers both.
    y = upfirdn2d_reference(x, kernel, (factor, factor), (1, 1), (before, after, before, after))
    return conv2d_reference(y, w)


def downsample_conv2d(
    x: Tensor, w: Tensor, taps: Taps, factor: int = 2, gain: float = 1.0, bias: Tensor | None = None
) -> Tensor:
    """Filter, then cross-correlate with stride: [N, I, H, W], [O, I, k, k] -> [N, O, H/f, W/f], plus bias."""
    k = w.shape[2]
    if k == 1:
        return conv2d(downsample2d(x, taps, factor, gain), w, bias)
    p = tap_count(taps) - factor + k - 1
    before, after = (p + 1) // 2, p // 2
    y = upfirdn2d(x, fir_kernel(taps, gain), (1, 1), (1, 1), (before, after, before, after))
    return conv2d(y, w, bias, stride=factor)


def downsample_conv2d_reference(
    x: Tensor, w: Tensor, taps: Taps, factor: int = 2, gain: float = 1.0, bias: Tensor | None = None
) -> Tensor:
    """Slow reference of `downsample_conv2d`: full-size convolution, then every `factor`-th pixel."""
    k = w.shape[2]
    p = tap_count(taps) - factor + k - 1
    before, after = (p + 1) // 2, p // 2
    y = upfirdn2d_reference(x, fir_kernel(taps, gain), (1, 1), (1, 1), (before, after, before, after))
    return conv2d_reference(y, w, bias)[:, :, ::factor, ::factor]
