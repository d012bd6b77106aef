"""Convolution whose derivatives are again convolutions, to any order.

PyTorch differentiates a convolution twice by rewriting the weight gradient as a convolution with a kernel
as large as the image, which is slow wherever R1 or path length regularization need it. Here the three
bilinear maps (output, input gradient, weight gradient) are autograd functions whose derivatives are each
other, so that every order runs on PyTorch's fast kernels, or on `ops.winograd` or one product of matrices
where that is faster.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.ops import winograd
from styleloom.ops.tracing import traced

MAX_PRODUCT_PIXELS = 64
"""Pixels of an output of which the weight gradient is one product of matrices."""


def conv2d_reference(
    x: Tensor, w: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> Tensor:
    """Slow reference of `conv2d`: PyTorch's own derivative rules."""
    return F.conv2d(x, w, bias, stride=stride, padding=padding)


def conv2d(x: Tensor, w: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0) -> Tensor:
    """Cross-correlation of x [N, I, H, W] with w [O, I, kh, kw], plus bias [O] -> [N, O, H', W']."""
    if traced():
        return F.conv2d(x, w, bias, stride=stride, padding=padding)
    return _apply(_Conv, x, w, bias, stride, padding)


def conv_transpose2d_reference(x: Tensor, w: Tensor, stride: int = 1) -> Tensor:
    """Slow reference of `conv_transpose2d`."""
    return F.conv_transpose2d(x, w, stride=stride)


def conv_transpose2d(x: Tensor, w: Tensor, stride: int = 1) -> Tensor:
    """Transposed convolution of x [N, I, H, W] with w [I, O, kh, kw] -> [N, O, s(H-1)+kh, s(W-1)+kw].

    Computed as the input gradient of a strided convolution, which on the CPU in bfloat16 is
    faster than PyTorch's transposed convolution.
    """
    if traced():
        return F.conv_transpose2d(x, w, stride=stride)
    n, _, height, width = x.shape
    kh, kw = w.shape[2:]
    shape = (n, w.shape[1], stride * (height - 1) + kh, stride * (width - 1) + kw)
    return _apply(_InputGrad, x, w, torch.Size(shape), stride, 0)


def _output(x: Tensor, w: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    if winograd.suits(x, w.shape[1], w.shape[0], w.shape[2], stride, padding):
        y = winograd.convolve(x, w)
        return y if bias is None else y.add_(bias[:, None, None])
    return F.conv2d(x, w, bias, stride=stride, padding=padding)


def _input_gradient(g: Tensor, w: Tensor, shape: torch.Size, stride: int, padding: int) -> Tensor:
    if winograd.suits(g, w.shape[1], w.shape[0], w.shape[2], stride, padding):
        return winograd.input_gradient(g, w)
    return _library(g, _placeholder(shape, g), w, False, stride, padding, [True, False, False])[0]


def _weight_gradient(
    g: Tensor, x: Tensor, shape: torch.Size, bias: bool, stride: int, padding: int
) -> tuple[Tensor, Tensor | None]:
    if winograd.suits(x, shape[1], shape[0], shape[2], stride, padding):
        return winograd.weight_gradient(g, x), g.sum((0, 2, 3)) if bias else None
    if _product_suits(g):
        return _weight_gradient_product(g, x, shape, stride, padding), g.sum((0, 2, 3)) if bias else None
    _, gw, gb = _library(g, x, _placeholder(shape, x), bias, stride, padding, [False, True, bias])
    return gw, gb if bias else None


def _product_suits(g: Tensor) -> bool:
    """Whether the weight gradient is found faster as one product of matrices, g [N, O, H', W'].

    On the CPU in bfloat16, while images are small: there it takes up to ten times less than the library's
    kernels. With larger images, gathering the patches, which repeat each pixel up to k x k times, costs more
    than the product saves.
    """
    return (
        g.device.type == "cpu" and g.dtype == torch.bfloat16 and g.shape[2] * g.shape[3] <= MAX_PRODUCT_PIXELS
    )


def _weight_gradient_product(g: Tensor, x: Tensor, shape: torch.Size, stride: int, padding: int) -> Tensor:
    """The weight gradient as g [O, pixels] @ patches of x [pixels, kh kw I], channels-last as they are."""
    num_out, num_in, kh, kw = shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding)).contiguous()
    sn, sh, sw, sc = padded.stride()
    sizes = (len(x), g.shape[2], g.shape[3], kh, kw * num_in)  # a row of a patch is contiguous
    patches = padded.as_strided(sizes, (sn, stride * sh, stride * sw, sh, sc)).flatten(0, 2).flatten(1)
    gw = g.permute(0, 2, 3, 1).reshape(-1, num_out).t() @ patches
    return gw.view(num_out, kh, kw, num_in).permute(0, 3, 1, 2)


def _library(
    g: Tensor, x: Tensor, w: Tensor, bias: bool, stride: int, padding: int, mask: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    sizes = [w.shape[0]] if bias else None
    return torch.ops.aten.convolution_backward(
        g, x, w, sizes, [stride, stride], [padding, padding], [1, 1], False, [0, 0], 1, mask
    )


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    """`function` of the arguments; where no graph is recorded, what it computes alone, which costs less."""
    if torch.is_grad_enabled():
        return function.apply(*arguments)
    return function.compute(*arguments)  # type: ignore[attr-defined]


class _Conv(torch.autograd.Function):
    compute = staticmethod(_output)

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.stride, ctx.padding = stride, padding
        return _output(x, w, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        x, w = ctx.saved_tensors
        need_x, need_w, need_b = ctx.needs_input_grad[:3]
        gx = _apply(_InputGrad, g, w, x.shape, ctx.stride, ctx.padding) if need_x else None
        gw = gb = None
        if need_w:
            gw, gb = _apply(_WeightGrad, g, x, w.shape, need_b, ctx.stride, ctx.padding)
        elif need_b:
            gb = g.sum((0, 2, 3))
        return gx, gw, gb, None, None


class _InputGrad(torch.autograd.Function):
    compute = staticmethod(_input_gradient)

    @staticmethod
    def forward(ctx: Any, g: Tensor, w: Tensor, shape: torch.Size, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(g, w)
        ctx.stride, ctx.padding = stride, padding
        return _input_gradient(g, w, shape, stride, padding)

    @staticmethod
    def backward(ctx: Any, ggx: Tensor) -> Any:  # type: ignore[override]
        g, w = ctx.saved_tensors
        need_g, need_w = ctx.needs_input_grad[:2]
        gg = _apply(_Conv, ggx, w, None, ctx.stride, ctx.padding) if need_g else None
        gw = None
        if need_w:
            gw, _ = _apply(_WeightGrad, g, ggx, w.shape, False, ctx.stride, ctx.padding)
        return gg, gw, None, None, None


class _WeightGrad(torch.autograd.Function):
    """Gradients of weights and, where there is one, of the bias."""

    compute = staticmethod(_weight_gradient)

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, shape: torch.Size, bias: bool, stride: int, padding: int
    ) -> tuple[Tensor, Tensor | None]:
        ctx.save_for_backward(g, x)
        ctx.stride, ctx.padding = stride, padding
        return _weight_gradient(g, x, shape, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, ggw: Tensor, ggb: Tensor | None) -> Any:  # type: ignore[override]
        g, x = ctx.saved_tensors
        need_g, need_x = ctx.needs_input_grad[:2]
        gg = _apply(_Conv, x, ggw, ggb, ctx.stride, ctx.padding) if need_g else None
        gx = _apply(_InputGrad, g, ggw, x.shape, ctx.stride, ctx.padding) if need_x else None
        return gg, gx, None, None, None, None


def _placeholder(shape: torch.Size | tuple[int, ...], like: Tensor) -> Tensor:
    """A tensor of any values, laid out as `like`: PyTorch's backward asks for shape and layout alone."""
    channels_last = like.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device, memory_format=layout)


__all__ = ["conv2d", "conv2d_reference", "conv_transpose2d", "conv_transpose2d_reference"]
