from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from styleloom.training.regularizers import (
    between,
    like,
    path_length_penalty,
    path_lengths,
    scales,
    square_norms,
    wgan_gradient_penalty,
    zero_centred_penalty,
)
from styleloom.types import Images, Pyramid


def images(n: int = 3, side: int = 4) -> Tensor:
    """Random images, float64."""
    return torch.randn(n, 3, side, side, dtype=torch.float64)


def pyramid(n: int = 3) -> Pyramid:
    """Three scales."""
    return tuple(images(n, side) for side in (2, 4, 8))


def total(x: Images, label: Tensor | None = None) -> Tensor:
    """D(x) = sum of x, over all scales."""
    return torch.stack([t.sum((1, 2, 3)) for t in scales(x)]).sum(0)


def energy(x: Images, label: Tensor | None = None) -> Tensor:
    """D(x) = |x|^2 / 2: its gradient is x."""
    return torch.stack([t.square().sum((1, 2, 3)) for t in scales(x)]).sum(0) / 2


def test_scales_and_back() -> None:
    x, p = images(), pyramid()
    assert scales(x) == (x,)
    assert scales(p) is p
    assert like(x, scales(x)) is x
    assert like(p, list(p)) == p


def test_square_norms() -> None:
    p = tuple(t.float() for t in pyramid())
    norms = square_norms(p)
    assert norms.shape == (3, 3)
    torch.testing.assert_close(norms[1, 2], p[1][2].norm() ** 2)


# ---- R1


@pytest.mark.parametrize("gamma", [1.0, 10.0])
def test_r1_of_a_sum_is_the_number_of_values(gamma: float) -> None:
    """H W C gamma/2."""
    penalty = zero_centred_penalty(total, torch.zeros(5, 3, 8, 4), gamma)
    torch.testing.assert_close(penalty, torch.full((5,), 8 * 4 * 3 * gamma / 2))


def test_r1_is_per_sample_and_differentiable() -> None:
    x = images()
    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    penalty = zero_centred_penalty(lambda x, _: energy(x) * weight, x, 10.0)
    torch.testing.assert_close(penalty.double(), 5 * 4 * x.square().sum((1, 2, 3)), rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(penalty.sum(), weight)
    expected = 10 * 2 * x.square().sum()
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=0)


def test_r1_of_a_pyramid_is_the_mean_over_scales() -> None:
    """Each of K scales weighs 1 / K: a sum would make R1 K times as strong."""
    p = pyramid()
    penalty = zero_centred_penalty(energy, p, 10.0)
    alone = torch.stack([zero_centred_penalty(energy, x, 10.0) for x in p])
    torch.testing.assert_close(penalty, alone.mean(0))
    one = zero_centred_penalty(energy, (p[0],), 10.0)
    torch.testing.assert_close(one, alone[0])


def test_r1_leaves_the_images_alone_and_passes_the_label() -> None:
    x, label = images().requires_grad_(), torch.randn(3, 2)
    seen: list[Tensor | None] = []

    def discriminator(x: Images, label: Tensor | None) -> Tensor:
        seen.append(label)
        return energy(x)

    penalty = zero_centred_penalty(discriminator, x, 1.0, label)
    assert seen == [label]
    assert penalty.requires_grad
    assert x.grad is None
    assert torch.autograd.grad(penalty.sum(), x, allow_unused=True) == (None,)


# ---- WGAN-GP


def test_gradient_penalty_closed_form() -> None:
    """weight / target^2 (|x^| - target)^2 at x^ = real + u (fake - real)."""
    reals, fakes, u = images(), images(), torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    for weight, target in ((10.0, 1.0), (3.0, 750.0)):
        penalty = wgan_gradient_penalty(energy, between(reals, fakes, u), weight, target)
        mixed = reals + u[:, None, None, None] * (fakes - reals)
        norms = mixed.square().sum((1, 2, 3)).sqrt()
        expected = weight / target**2 * (norms - target) ** 2
        torch.testing.assert_close(penalty.double(), expected, rtol=1e-4, atol=1e-6)
        assert penalty.min() > 0


def test_gradient_penalty_defaults() -> None:
    """lambda 10, target 1; |grad| = 1 costs nothing."""
    x = images()
    u = torch.zeros(3, dtype=torch.float64)
    steep = wgan_gradient_penalty(lambda x, _: total(x), between(x, x, u))
    torch.testing.assert_close(steep.double(), torch.full((3,), 10 * (math.sqrt(48) - 1) ** 2).double())
    unit = wgan_gradient_penalty(lambda x, _: total(x) / math.sqrt(48), between(x, x, u))
    assert unit.max() < 1e-10


def test_gradient_penalty_of_a_pyramid_is_the_mean_over_scales() -> None:
    """One u per sample for all scales."""
    reals, fakes, u = pyramid(), pyramid(), torch.rand(3, dtype=torch.float64)
    penalty = wgan_gradient_penalty(energy, between(reals, fakes, u))
    alone = [wgan_gradient_penalty(energy, between(r, f, u)) for r, f in zip(reals, fakes, strict=True)]
    torch.testing.assert_close(penalty, torch.stack(alone).mean(0))


def test_gradient_penalty_is_differentiable_and_passes_the_label() -> None:
    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    seen: list[Tensor | None] = []
    label = torch.randn(3, 2)

    def discriminator(x: Images, label: Tensor | None) -> Tensor:
        seen.append(label)
        return total(x) * weight

    penalty = wgan_gradient_penalty(
        discriminator, between(images(), images(), torch.rand(3).double()), label=label
    )
    (gradient,) = torch.autograd.grad(penalty.sum(), weight)
    norm = math.sqrt(48)
    assert gradient.item() == pytest.approx(3 * 20 * (2 * norm - 1) * norm, rel=1e-5)
    assert seen == [label]


# ---- path length


def test_path_lengths_of_a_linear_generator() -> None:
    """g(w) = A w: sqrt of the mean over layers of |A_l^T y|^2, y divided by sqrt(H W) alone."""
    n, layers, width, (c, h, w) = 2, 3, 5, (3, 4, 2)
    A = torch.randn(layers, c * h * w, width, dtype=torch.float64)
    ws = torch.randn(n, layers, width, dtype=torch.float64).requires_grad_()
    x = torch.einsum("loi,nli->no", A, ws).reshape(n, c, h, w)
    y = torch.randn(n, c, h, w, dtype=torch.float64)
    back = torch.einsum("loi,no->nli", A, y.reshape(n, -1)) / math.sqrt(h * w)
    expected = back.square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(path_lengths(x, ws, y), expected)


def test_path_lengths_of_a_pyramid_add_up_the_scales() -> None:
    A = [torch.randn(3 * side * side, 5, dtype=torch.float64) for side in (2, 4)]
    ws = torch.randn(2, 1, 5, dtype=torch.float64).requires_grad_()
    xs = tuple((ws[:, 0] @ a.t()).reshape(2, 3, side, side) for a, side in zip(A, (2, 4), strict=True))
    ys = tuple(torch.randn_like(x) for x in xs)
    parts = [y.flatten(1) @ a / side for y, a, side in zip(ys, A, (2, 4), strict=True)]
    torch.testing.assert_close(path_lengths(xs, ws, ys), torch.stack(parts).sum(0).norm(dim=1))


def test_path_lengths_are_differentiable() -> None:
    a = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    ws = torch.randn(2, 1, 12, dtype=torch.float64).requires_grad_()
    y = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    lengths = path_lengths((a * ws[:, 0]).reshape(2, 3, 2, 2), ws, y)
    (gradient,) = torch.autograd.grad(lengths.sum(), a)
    torch.testing.assert_close(gradient, y.flatten(1).norm(dim=1).sum() / 2)


def test_penalty_and_running_mean() -> None:
    """weight (l - a)^2 with a <- a + decay (mean l - a)."""
    lengths = torch.tensor([1.0, 3.0, 8.0], dtype=torch.float64)
    penalty, mean = path_length_penalty(lengths, torch.tensor(2.0, dtype=torch.float64), 0.01, 2.0)
    assert mean.item() == pytest.approx(2.0 + 0.01 * (4.0 - 2.0))
    torch.testing.assert_close(penalty, 2 * (lengths - 2.02) ** 2)
    assert penalty.shape == (3,)


def test_gradient_flows_through_the_share_of_the_batch() -> None:
    """The batch's 0.01 of the running mean is not detached."""
    lengths = torch.tensor([1.0, 3.0, 8.0], dtype=torch.float64, requires_grad=True)
    penalty, mean = path_length_penalty(lengths, torch.tensor(2.0, dtype=torch.float64), 0.01, 2.0)
    assert not mean.requires_grad
    (gradient,) = torch.autograd.grad(penalty.sum(), lengths)
    difference = lengths.detach() - 2.02
    expected = 4 * (difference - difference.sum() * 0.01 / 3)
    torch.testing.assert_close(gradient, expected)
    assert not torch.allclose(gradient, 4 * difference)
