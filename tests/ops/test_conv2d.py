from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from every import every
from styleloom.ops import conv2d as module
from styleloom.ops.conv2d import conv2d, conv2d_reference, conv_transpose2d, conv_transpose2d_reference

from .derivatives import assert_equal_derivatives, derivatives, randn

# kernel (kh, kw), stride, padding, side (H, W)
GEOMETRIES = [
    ((1, 1), 1, 0, (4, 4)),
    ((3, 3), 1, 1, (5, 4)),
    ((3, 3), 1, 0, (4, 5)),
    ((3, 3), 2, 0, (5, 5)),
    ((3, 3), 2, 0, (6, 7)),  # the stride leaves a last row and column out
    ((3, 3), 2, 1, (6, 5)),
    ((1, 1), 2, 0, (4, 5)),
    ((2, 3), 1, 1, (4, 3)),
    ((4, 4), 3, 2, (7, 8)),
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "side"), GEOMETRIES)
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_conv2d_is_torchs_own_to_third_order(
    kernel: tuple[int, int], stride: int, padding: int, side: tuple[int, int], bias: bool
) -> None:
    inputs = [randn(2, 3, *side), randn(4, 3, *kernel, seed=1)] + ([randn(4, seed=2)] if bias else [])

    def call(function: object) -> object:
        def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
            return function(x, w, b, stride, padding)  # type: ignore[operator]

        return run

    assert_equal_derivatives(call(conv2d), call(conv2d_reference), inputs, order=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kernel", "stride", "padding", "side"), GEOMETRIES)
def test_weight_gradients_as_a_product_are_torchs_own_to_third_order(
    monkeypatch: pytest.MonkeyPatch, kernel: tuple[int, int], stride: int, padding: int, side: tuple[int, int]
) -> None:
    """In bfloat16 small images take this way; here all do, in numbers that show every error."""
    monkeypatch.setattr(module, "_product_suits", lambda g: True)
    inputs = [randn(2, 3, *side), randn(4, 3, *kernel, seed=1), randn(4, seed=2)]

    def call(function: object) -> object:
        return lambda x, w, b: function(x, w, b, stride, padding)  # type: ignore[operator]

    assert_equal_derivatives(call(conv2d), call(conv2d_reference), inputs, order=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "side"), [((1, 1), (3, 4)), ((3, 3), (2, 3)), ((4, 2), (3, 2))])
def test_conv_transpose2d_is_torchs_own_to_third_order(
    kernel: tuple[int, int], side: tuple[int, int], stride: int
) -> None:
    inputs = [randn(2, 3, *side), randn(3, 4, *kernel, seed=1)]
    fast, reference = (partial(f, stride=stride) for f in (conv_transpose2d, conv_transpose2d_reference))
    assert_equal_derivatives(fast, reference, inputs, order=3)


def test_finite_differences_agree() -> None:
    x, w = randn(1, 2, 4, 3).requires_grad_(), randn(2, 2, 3, 3, seed=1).requires_grad_()
    b = randn(2, seed=2).requires_grad_()
    for stride, padding in ((1, 1), (2, 1)):
        function = partial(conv2d, stride=stride, padding=padding)
        assert gradcheck(function, (x, w, b))
        assert gradgradcheck(function, (x, w, b))
    assert gradcheck(partial(conv_transpose2d, stride=2), (x[:, :, :2], w))
    assert gradgradcheck(partial(conv_transpose2d, stride=2), (x[:, :, :2], w))


@every("needed", range(1, 8))
def test_only_what_is_needed_is_differentiated(needed: int) -> None:
    """Any subset of inputs may be constant, in first and second order."""
    tensors = [randn(2, 3, 5, 5), randn(4, 3, 3, 3, seed=1), randn(4, seed=2)]
    chosen = [i for i in range(3) if needed >> i & 1]

    def call(function: object) -> object:
        def run(*variables: Tensor) -> Tensor:
            args = list(tensors)
            for i, x in zip(chosen, variables, strict=True):
                args[i] = x
            return function(*args, 2, 1)  # type: ignore[operator]

        return run

    assert_equal_derivatives(
        call(conv2d),  # type: ignore[arg-type]
        call(conv2d_reference),  # type: ignore[arg-type]
        [tensors[i] for i in chosen],
    )


def test_second_derivatives_run_on_the_librarys_forward_and_backward_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The claim of the module: torch's own double backward of a convolution is never called."""
    x, w = randn(1, 2, 5, 5).requires_grad_(), randn(3, 2, 3, 3, seed=1).requires_grad_()

    def graph(y: Tensor) -> set[str]:
        seen, todo = set(), [y.grad_fn]
        while todo:
            node = todo.pop()
            if node is not None and node not in seen:
                seen.add(node)
                todo += [parent for parent, _ in node.next_functions]
        return {node.name() for node in seen}

    (gx,) = torch.autograd.grad(conv2d(x, w, None, 1, 1).square().sum(), x, create_graph=True)
    assert not any("Convolution" in name for name in graph(gx.square().sum()))
    (gx,) = torch.autograd.grad(conv2d_reference(x, w, None, 1, 1).square().sum(), x, create_graph=True)
    assert any("Convolution" in name for name in graph(gx.square().sum()))


@pytest.mark.parametrize("stride", [1, 2])
def test_channels_last_stays_and_changes_nothing(stride: int) -> None:
    last = torch.channels_last
    x, w = randn(2, 3, 6, 6), randn(4, 3, 3, 3, seed=1)
    packed = (x.contiguous(memory_format=last), w.contiguous(memory_format=last))
    function = partial(conv2d, stride=stride, padding=1)
    for a, b in zip(derivatives(function, packed, 2), derivatives(function, (x, w), 2), strict=True):
        for ours, theirs in zip(a, b, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    y = function(packed[0].requires_grad_(), packed[1])
    (gx,) = torch.autograd.grad(y.sum(), packed[0])
    assert y.is_contiguous(memory_format=last)
    assert gx.is_contiguous(memory_format=last)


def test_transposed_convolution_is_the_input_gradient() -> None:
    x, w, y = randn(2, 3, 4, 5), randn(3, 2, 3, 3, seed=1), randn(2, 2, 9, 11, seed=2)
    forward = (F.conv2d(y, w, stride=2) * x).sum()
    torch.testing.assert_close((conv_transpose2d(x, w, 2) * y).sum(), forward)


def test_public_names() -> None:
    assert set(module.__all__) == {
        name for name in vars(module) if name.startswith("conv") and callable(getattr(module, name))
    }
