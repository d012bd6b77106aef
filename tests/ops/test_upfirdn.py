from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from every import every
from styleloom.ops.upfirdn import (
    Pads,
    Taps,
    downsample2d,
    filter2d,
    fir_kernel,
    upfirdn2d,
    upfirdn2d_reference,
    upsample2d,
)

from .derivatives import assert_equal_derivatives, derivatives, randn

factors = st.tuples(st.integers(1, 3), st.integers(1, 3))
pad = st.integers(-3, 5)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    up=factors,
    down=factors,
    pads=st.tuples(pad, pad, pad, pad),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    side=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    channels_last=st.booleans(),
)
def test_equals_reference(
    up: tuple[int, int],
    down: tuple[int, int],
    pads: Pads,
    kernel: tuple[int, int],
    side: tuple[int, int],
    channels_last: bool,
) -> None:
    for n, before, after, taps in (
        (side[1] * up[0], pads[0], pads[1], kernel[1]),
        (side[0] * up[1], pads[2], pads[3], kernel[0]),
    ):
        assume(n + min(before, 0) + min(after, 0) >= 1)
        assume(n + before + after >= taps)
    x = randn(2, 3, *side)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    k = randn(*kernel, seed=1)
    assert_equal_derivatives(
        lambda x: upfirdn2d(x, k, up, down, pads), lambda x: upfirdn2d_reference(x, k, up, down, pads), [x]
    )


def test_finite_differences_agree() -> None:
    x, k = randn(1, 2, 4, 3).requires_grad_(), randn(3, 2, seed=1)
    for up, down, pads in (((2, 1), (1, 2), (1, 2, 0, -1)), ((1, 1), (1, 1), (1, 1, 2, 2))):
        args = (k, up, down, pads)
        assert gradcheck(lambda x, a=args: upfirdn2d(x, *a), x)
        # Linear: the second derivative with respect to x is zero, that with respect to g is not.
        assert gradgradcheck(lambda x, a=args: upfirdn2d(x, *a) ** 2, x)


def test_size_formula() -> None:
    y = upfirdn2d(randn(1, 1, 5, 4), randn(3, 2), (2, 3), (3, 2), (1, 2, 3, -1))
    assert y.shape[2] == (5 * 3 + 3 - 1 - 3) // 2 + 1
    assert y.shape[3] == (4 * 2 + 1 + 2 - 2) // 3 + 1


def test_is_a_true_convolution() -> None:
    """A unit impulse reproduces the kernel, not turned."""
    x = torch.zeros(1, 1, 1, 1)
    x[...] = 1
    k = torch.arange(6.0).reshape(2, 3)
    torch.testing.assert_close(upfirdn2d(x, k, (1, 1), (1, 1), (2, 2, 1, 1))[0, 0], k)


TAPS: list[Taps] = [(1,), (1, 1), (1, 2, 1), (1, 3, 3, 1), (1, 4, 6, 4, 1), ((1, 2), (3, 4)), (1, 2, 5)]


@every(("taps", "factor", "side"), product(TAPS, (1, 2, 3), ((4, 4), (3, 5))))
def test_resampling_of_images(
    taps: Taps, factor: int, side: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes, and equality with the reference."""
    x = randn(2, 3, *side)
    results = []
    for slow in (False, True):
        if slow:
            monkeypatch.setattr("styleloom.ops.upfirdn.upfirdn2d", upfirdn2d_reference)
        results.append(
            [
                derivatives(lambda x: upsample2d(x, taps, factor, 0.7), [x], 2),
                derivatives(lambda x: downsample2d(x, taps, factor, 0.7), [x], 2),
                derivatives(lambda x: filter2d(x, taps, 0.7), [x], 2),
            ]
        )
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-11)
    up, down, same = (result[0][0] for result in results[0])
    assert up.shape[2:] == (side[0] * factor, side[1] * factor)
    assert down.shape[2:] == (side[0] // factor, side[1] // factor)
    assert same.shape == x.shape


def test_box_and_nearest_are_special_cases() -> None:
    x = randn(2, 3, 4, 6)
    torch.testing.assert_close(upsample2d(x, (1, 1)), F.interpolate(x, scale_factor=2, mode="nearest"))
    torch.testing.assert_close(downsample2d(x, (1, 1)), F.avg_pool2d(x, 2))
    k = torch.tensor([1.0, 2, 1], dtype=torch.float64).outer(torch.tensor([1.0, 2, 1], dtype=torch.float64))
    blurred = F.conv2d(x.flatten(0, 1)[:, None], k[None, None] / 16, padding=1).reshape(x.shape)
    torch.testing.assert_close(filter2d(x, (1, 2, 1)), blurred)


def test_up_is_the_adjoint_of_down() -> None:
    """With padding (2, 1) and (1, 1), StyleGAN2's filter has no shift: <up x, y> = 4 <x, down y>."""
    x, y, taps = randn(1, 2, 4, 5), randn(1, 2, 8, 10, seed=1), (1, 3, 3, 1)
    torch.testing.assert_close((upsample2d(x, taps) * y).sum(), 4 * (x * downsample2d(y, taps)).sum())


@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_kernels_are_normalised(gain: float) -> None:
    one, two = fir_kernel((1, 3, 3, 1), gain), fir_kernel(((1.0, 2.0), (3.0, 10.0)), gain)
    assert one.dtype == two.dtype == torch.float32
    torch.testing.assert_close(one, torch.outer(*[torch.tensor([1.0, 3, 3, 1])] * 2) * gain / 64)
    torch.testing.assert_close(two, torch.tensor([[1.0, 2], [3, 10]]) * gain / 16)


def test_kernels_are_on_the_cpu_whatever_the_default_device() -> None:
    """They are kept for the process: a device that is the default for a moment must not stay in them."""
    taps = (1, 7, 7, 1)  # nowhere else
    with torch.device("meta"):
        kernel = fir_kernel(taps)
    assert kernel.device.type == "cpu"
    assert upsample2d(torch.ones(1, 1, 4, 4), taps).isfinite().all()


def test_kernels_from_inference_mode_can_be_differentiated_through() -> None:
    """They are kept for the process: sampling before training must not spoil them."""
    taps, x = (2, 7, 7, 2), randn(1, 2, 4, 4)
    with torch.inference_mode():
        upsample2d(x, taps)
        downsample2d(x, taps)
        filter2d(x, (1, 2, 9))
    for function in (upsample2d, downsample2d):
        assert len(derivatives(lambda x, f=function: f(x, taps) ** 2, [x], 2)) == 3
    derivatives(lambda x: filter2d(x, (1, 2, 9)) ** 2, [x], 2)  # a kernel that is not symmetric


def test_no_gradient_reaches_the_kernel() -> None:
    k = randn(3, 3).requires_grad_()
    x = randn(1, 1, 5, 5).requires_grad_()
    gx, gk = torch.autograd.grad(
        upfirdn2d(x, k, (1, 1), (1, 1), (1, 1, 1, 1)).sum(), (x, k), allow_unused=True
    )
    assert gx is not None
    assert gk is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_type_of_the_result_is_that_of_the_image(dtype: torch.dtype) -> None:
    x = randn(2, 3, 8, 8)
    for function in (upsample2d, downsample2d, filter2d):
        y = function(x.to(dtype), (1, 3, 3, 1))
        assert y.dtype == dtype
        exact = function(x.to(dtype).double(), (1, 3, 3, 1))
        tolerance = 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(y.double(), exact, rtol=tolerance, atol=tolerance)
