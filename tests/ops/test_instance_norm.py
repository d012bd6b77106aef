"""Instance normalization: closed forms, and the fast backward pass against PyTorch's rules."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from styleloom.ops.instance_norm import instance_norm, instance_norm_reference

BOTH = pytest.mark.parametrize("function", [instance_norm, instance_norm_reference])


@BOTH
def test_statistics(function: Callable[[Tensor], Tensor]) -> None:
    """Mean 0 and biased deviation 1 of each image and channel, whatever scale and offset were."""
    x = torch.randn(2, 3, 5, 7)
    scale, offset = torch.rand(2, 3, 1, 1) * 4 + 0.5, torch.randn(2, 3, 1, 1) * 5
    y = function(x * scale + offset)
    torch.testing.assert_close(y.mean((2, 3)), torch.zeros(2, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var((2, 3), correction=0), torch.ones(2, 3), rtol=1e-5, atol=0)
    torch.testing.assert_close(y, function(x), rtol=1e-4, atol=1e-5)


@BOTH
def test_epsilon_is_within_the_root(function: Callable[[Tensor], Tensor]) -> None:
    """Epsilon is added to the variance: a deviation of 1e-4 is divided by sqrt(2e-8), one of 0 gives 0."""
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])[None, None]
    torch.testing.assert_close(function(signs * 1e-4), signs / 2**0.5, rtol=1e-4, atol=0)
    constant = torch.full((1, 1, 2, 2), 3.0, requires_grad=True)
    y = function(constant)
    assert y.abs().max() == 0
    (gradient,) = torch.autograd.grad(y[0, 0, 0, 0], constant)
    expected = torch.tensor([[0.75, -0.25], [-0.25, -0.25]])[None, None] * 1e4
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=0)


def test_derivatives() -> None:
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(instance_norm, x)
    assert torch.autograd.gradgradcheck(instance_norm, x)


def derivatives(function: Callable[[Tensor], Tensor], x: Tensor, u: Tensor) -> list[Tensor]:
    """Value, gradient, and the gradient of a function of the gradient."""
    x = x.clone().requires_grad_()
    y = function(x)
    (first,) = torch.autograd.grad((y * u).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad((first.square().sum() + (y**3).sum()), x)
    return [y.detach(), first.detach(), second]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_fast_equals_slow(layout: torch.memory_format) -> None:
    x, u = (torch.randn(3, 4, 6, 8).contiguous(memory_format=layout) for _ in range(2))
    for a, b in zip(*(derivatives(f, x, u) for f in (instance_norm, instance_norm_reference)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        assert a.is_contiguous(memory_format=layout)


def test_bfloat16_has_statistics_of_float32() -> None:
    """An offset of many deviations would drown in statistics of eight bits."""
    x = (torch.randn(2, 3, 16, 16) + 20).to(torch.bfloat16)
    y = instance_norm(x)
    assert y.dtype == torch.bfloat16
    exact = instance_norm(x.float())
    assert (y.float() - exact).norm() / exact.norm() < 0.01
    centred = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((instance_norm(centred) ** 3).sum(), centred)
    assert gradient.dtype == torch.bfloat16
