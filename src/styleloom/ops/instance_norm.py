"""Instance normalization (Ulyanov et al. 2016) with a backward pass of few sweeps over the features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from styleloom.ops.tracing import traced

EPSILON = 1e-8


def instance_norm_reference(x: Tensor) -> Tensor:
    """Slow reference of `instance_norm`: PyTorch's own derivative rules."""
    return _normalized(x)[0]


def instance_norm(x: Tensor) -> Tensor:
    """`(x - mean) / sqrt(var + 1e-8)` over the pixels of each image and channel: [N, C, H, W].

    The variance is the biased one; statistics are float32. Differentiable to any order.
    """
    if traced():
        return _normalized(x)[0]
    return _InstanceNorm.apply(x)[0]  # type: ignore[no-any-return]


def _normalized(x: Tensor) -> tuple[Tensor, Tensor]:
    """The result, and 1 / sqrt(var + 1e-8) [N, C, 1, 1]."""
    centred = x.to(torch.promote_types(x.dtype, torch.float32))
    centred = centred - centred.mean((2, 3), keepdim=True)
    inverse = torch.rsqrt(centred.square().mean((2, 3), keepdim=True) + EPSILON)
    return (centred * inverse).to(x.dtype), inverse


class _InstanceNorm(torch.autograd.Function):
    """y and 1 / sigma are both outputs: backward uses only them, so that it can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        y, inverse = _normalized(x)
        ctx.save_for_backward(y, inverse)
        ctx.set_materialize_grads(False)
        return y, inverse

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, g_inverse: Tensor | None) -> Any:  # type: ignore[override]
        y, inverse = ctx.saved_tensors
        exact = inverse.dtype
        g = torch.zeros_like(y) if g is None else g
        # dy/dx removes from g its mean and its component along y; d inverse/dx has a component along y alone.
        along = (g * y).mean((2, 3), keepdim=True, dtype=exact)
        if g_inverse is not None:
            along = along + g_inverse * inverse / (y.shape[2] * y.shape[3])
        mean = g.mean((2, 3), keepdim=True, dtype=exact)
        rest = g - torch.addcmul(mean.to(y.dtype), y, along.to(y.dtype))
        return rest * inverse.to(y.dtype)
