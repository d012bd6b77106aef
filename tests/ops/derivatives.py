"""A function's value and derivatives of every order, to compare a fast path with its reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal numbers that depend on shape and seed alone."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def derivatives(function: Callable[..., Tensor], inputs: Sequence[Tensor], order: int) -> list[list[Tensor]]:
    """Value, and vector-Jacobian products of order 1..`order` with respect to all inputs.

    Each order is differentiated through the one before, also with respect to the vectors of the orders
    before, so that the k-th entry exercises every k-th derivative rule.
    """
    variables = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in inputs]
    y = function(*variables)
    results = [[y]]
    for level in range(order):
        v = randn(*y.shape, seed=100 + level).to(y).requires_grad_()
        variables.append(v)
        gradients = torch.autograd.grad(
            (y * v).sum(), variables, create_graph=True, allow_unused=True, materialize_grads=True
        )
        results.append(list(gradients))
        y = torch.cat([g.flatten() for g in gradients])
    return [[t.detach() for t in level] for level in results]


def assert_equal_derivatives(
    fast: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    order: int = 2,
    rtol: float = 1e-9,
    atol: float = 1e-10,
) -> None:
    """Both functions agree in value and in derivatives up to `order`."""
    ours, theirs = derivatives(fast, inputs, order), derivatives(reference, inputs, order)
    for level, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            torch.testing.assert_close(
                x, y, rtol=rtol, atol=atol, msg=lambda m, at=(level, i): f"order, input {at}: {m}"
            )
