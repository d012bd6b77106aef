"""Winograd tiles against PyTorch's own convolution, in double precision where rounding could hide errors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from styleloom.ops import winograd
from styleloom.ops.conv2d import conv2d, conv2d_reference

small = st.integers(1, 3)


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@settings(max_examples=25, deadline=None)
@given(small, st.integers(1, 5), st.integers(1, 5), small, small, st.integers(0, 2**31))
def test_the_three_maps(n: int, num_in: int, num_out: int, rows: int, columns: int, seed: int) -> None:
    torch.manual_seed(seed)
    size = (4 * rows, 4 * columns)
    x, w, g = double(n, num_in, *size), double(num_out, num_in, 3, 3), double(n, num_out, *size)
    x.requires_grad_()
    w.requires_grad_()
    y = F.conv2d(x, w, padding=1)
    gx, gw = torch.autograd.grad(y, (x, w), g)
    with torch.no_grad():
        torch.testing.assert_close(winograd.convolve(x, w), y)
        torch.testing.assert_close(winograd.input_gradient(g, w), gx)
        torch.testing.assert_close(winograd.weight_gradient(g, x), gw)


def test_chunks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, g = double(5, 3, 8, 8), double(2, 3, 3, 3), double(5, 2, 8, 8)
    whole = winograd.convolve(x, w), winograd.input_gradient(g, w), winograd.weight_gradient(g, x)
    monkeypatch.setattr(winograd, "CHUNK", 1)
    parts = winograd.convolve(x, w), winograd.input_gradient(g, w), winograd.weight_gradient(g, x)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b)


def test_where_it_is_used() -> None:
    x = torch.empty(8, 256, 16, 16)
    assert winograd.suits(x, 256, 256, 3, 1, 1)
    assert not winograd.suits(x, 256, 128, 3, 1, 1)  # few channels
    assert not winograd.suits(x[:7], 256, 256, 3, 1, 1)  # few tiles
    assert not winograd.suits(x[..., :14].repeat(9, 1, 1, 1), 256, 256, 3, 1, 1)  # no whole tiles
    assert not winograd.suits(x.bfloat16(), 256, 256, 3, 1, 1)
    assert not winograd.suits(x.double(), 256, 256, 3, 1, 1)
    for kernel, stride, padding in ((1, 1, 0), (3, 2, 1), (3, 1, 0)):
        assert not winograd.suits(x, 256, 256, kernel, stride, padding)


def test_conv2d_takes_it_and_stays_exact_to_the_second_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("convolve", "input_gradient", "weight_gradient"):
        original = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *a, f=original, n=name: (calls.append(n), f(*a))[1])
    torch.manual_seed(0)
    layout = torch.channels_last
    x = torch.randn(8, 256, 16, 16).contiguous(memory_format=layout).requires_grad_()
    w = torch.randn(256, 256, 3, 3).contiguous(memory_format=layout).requires_grad_()
    bias = torch.randn(256, requires_grad=True)

    def derivatives(function, *tensors: Tensor) -> list[Tensor]:  # type: ignore[no-untyped-def]
        y = function(*tensors, padding=1).tanh().sum()
        first = torch.autograd.grad(y, tensors, create_graph=True)
        energy = sum(f.square().sum() for f in first)
        return [y, *first, *torch.autograd.grad(energy, tensors)]

    ours = derivatives(conv2d, x, w, bias)
    assert set(calls) == {"convolve", "input_gradient", "weight_gradient"}
    exact = derivatives(conv2d_reference, x.double(), w.double(), bias.double())
    library = derivatives(conv2d_reference, x, w, bias)
    for a, b, c in zip(ours, exact, library, strict=True):
        scale = b.norm()
        assert (a - b).norm() / scale < 10 * (c - b).norm() / scale + 1e-5
