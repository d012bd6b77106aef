"""The layers in the trunk's other type and layout: near to float32, and of the type that goes in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from styleloom.config.networks import Activation
from styleloom.ops.conv_layer import ConvSettings, Resample, conv_layer
from styleloom.ops.modulated_conv import ModulatedSettings, modulated_layer

from .derivatives import derivatives, randn

RESAMPLE: tuple[Resample, ...] = get_args(Resample)
SIZE = {"none": 8, "up": 16, "down": 4}
BF16 = 2.0**-8
"""Half a unit in the last place, relative."""


def call(which: str, resample: Resample, given: Sequence[Tensor], act: Activation = "lrelu") -> Tensor:
    """One of the two layers, as the networks call it."""
    x, w, b, style, noise = given
    options: Any = {"act": act, "gain": 2**0.5, "resample": resample, "taps": (1, 3, 3, 1)}
    scale = (w.shape[1] * w.shape[2] ** 2) ** -0.5
    if which == "conv":
        return conv_layer(x, w, b, scale, ConvSettings(**options))
    return modulated_layer(x, w, style, b, scale, ModulatedSettings(**options), noise)


def tensors(resample: Resample, k: int) -> list[Tensor]:
    """x, w, b, style, noise."""
    side = SIZE[resample]
    shapes = ((4, 16, 8, 8), (12, 16, k, k), (12,), (4, 16), (4, 1, side, side))
    return [randn(*shape, seed=i, dtype=torch.float32) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize(("which", "resample", "k"), list(product(("conv", "modulated"), RESAMPLE, (1, 3))))
@pytest.mark.parametrize(("act", "limit"), [("swish", 4 * BF16), ("lrelu", 0.1)])
def test_bfloat16(which: str, resample: Resample, k: int, act: Activation, limit: float) -> None:
    """Values and gradients are near to those of float32; master weights get gradients of their own type.

    Where rounding changes the side of a leaky ReLU, its gradient changes by 80%.
    """
    exact, narrow = tensors(resample, k), tensors(resample, k)
    exact = [t.requires_grad_() for t in exact]
    narrow = [t.to(torch.bfloat16) if i == 0 else t for i, t in enumerate(narrow)]
    narrow = [t.requires_grad_() for t in narrow]
    y, z = (call(which, resample, t, act) for t in (exact, narrow))
    assert y.dtype == torch.float32
    assert z.dtype == torch.bfloat16
    used = slice(0, 3 if which == "conv" else 5)
    v = randn(*y.shape, seed=9, dtype=torch.float32)
    exact_gradients = torch.autograd.grad((y * v).sum(), exact[used], create_graph=True)
    narrow_gradients = torch.autograd.grad((z.float() * v).sum(), narrow[used], create_graph=True)
    for a, b, variable in zip((y, *exact_gradients), (z, *narrow_gradients), (z, *narrow[used]), strict=True):
        assert b.dtype == variable.dtype
        assert 0 < (a - b.float()).norm() / a.norm() < limit
    assert (y - z.float()).norm() / y.norm() < 4 * BF16
    second = [g[0].float().square().sum() for g in (exact_gradients, narrow_gradients)]
    (a,), (b,) = (torch.autograd.grad(s, t[1]) for s, t in zip(second, (exact, narrow), strict=True))
    assert b.dtype == torch.float32
    assert (a - b).norm() / a.norm() < 2 * limit


@pytest.mark.parametrize(("which", "resample", "k"), list(product(("conv", "modulated"), RESAMPLE, (1, 3))))
def test_channels_last(which: str, resample: Resample, k: int) -> None:
    """The layout changes no result and survives the layer."""
    plain = [t.double() for t in tensors(resample, k)]
    packed = [t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for t in plain]

    def function(*t: Tensor) -> Tensor:
        return call(which, resample, t)

    ours, theirs = derivatives(function, packed, 2), derivatives(function, plain, 2)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert function(*packed).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_type_is_narrowed(dtype: torch.dtype) -> None:
    """Arithmetic of float64 goes through without a step in float32."""
    for which, resample in product(("conv", "modulated"), RESAMPLE):
        wide = [t.double() for t in tensors(resample, 3)]
        y, z = (call(which, resample, [t.to(kind) for t in wide]) for kind in (torch.float64, dtype))
        assert z.dtype == dtype
        assert (y - z).norm() / y.norm() < 4 * torch.finfo(dtype).eps
