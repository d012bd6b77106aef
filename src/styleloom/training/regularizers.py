"""Penalties on gradients, for one tensor or a pyramid: R1, WGAN-GP, path length."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from styleloom.config import GradientPenalty
from styleloom.types import Images, LogitFunction, Pyramid


def scales(images: Images) -> Pyramid:
    """The scales of `images`: a pyramid as it is, one tensor as a pyramid of one."""
    return (images,) if isinstance(images, Tensor) else images


def like(images: Images, tensors: Sequence[Tensor]) -> Images:
    """`tensors`, in the form that `images` has."""
    return tensors[0] if isinstance(images, Tensor) else tuple(tensors)


def square_norms(gradients: Sequence[Tensor]) -> Tensor:
    """Sum of squares over C, H, W of each scale: K x [N, C, H, W] -> [K, N]."""
    return torch.stack([g.float().square().sum((1, 2, 3)) for g in gradients])


def zero_centred_penalty(
    discriminator: LogitFunction,
    images: Images,
    gamma: float,
    label: Tensor | None = None,
    gradient_scale: float = 1.0,
) -> Tensor:
    """gamma/2 ||grad_x D(x)||^2 per sample, the mean over scales: [N].

    R1 on reals, R2 on fakes (Mescheder et al. 2018). On a pyramid the scales count equally
    (MSG-GAN's code: mean over scales).

    Args:
        gradient_scale: factor on the gradient. The authors' growing networks read images of full resolution,
            in which every pixel of the active level is repeated 2^k x 2^k times; the norm of the gradient by
            those is 1/2^k of that by the active level's pixels.
    """
    inputs = [x.detach().requires_grad_() for x in scales(images)]
    logits = discriminator(like(images, inputs), label)
    gradients = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return square_norms(gradients).mean(0) * (gamma / 2 * gradient_scale**2)


def between(reals: Images, fakes: Images, u: Tensor) -> Images:
    """x^ = real + u (fake - real) of WGAN-GP. u: [N], shared by all scales of a pyramid."""
    factor = u.reshape(-1, 1, 1, 1)
    pairs = zip(scales(reals), scales(fakes), strict=True)
    return like(reals, [torch.lerp(r, f, factor) for r, f in pairs])


def wgan_gradient_penalty(
    discriminator: LogitFunction,
    images: Images,
    weight: float = 10.0,
    target: float = 1.0,
    label: Tensor | None = None,
    gradient_scale: float = 1.0,
    one_sided: bool = False,
) -> Tensor:
    """WGAN-GP: weight/target^2 (||grad D(x^)||_2 - target)^2 per sample, the mean over scales: [N].

    Args:
        images: x^, see `between`.
        label: of the reals [N, K].
        gradient_scale: as in `zero_centred_penalty`.
        one_sided: punish only norms above the target (Gulrajani et al. 2017, section 4; MSG-GAN's text).
    """
    inputs = [x.detach().requires_grad_() for x in scales(images)]
    logits = discriminator(like(images, inputs), label)
    gradients = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    excess = square_norms(gradients).sqrt() * gradient_scale - target
    if one_sided:
        excess = excess.relu()
    return excess.square().mean(0) * (weight / target**2)


def needs_fakes(cfg: GradientPenalty) -> bool:
    """Whether the penalty is evaluated on fakes, or between reals and fakes."""
    return cfg.kind != "zero-centred" or cfg.punishes_fakes


def path_lengths(images: Images, ws: Tensor, y: Images) -> Tensor:
    """||J_w^T y||_2 per sample (StyleGAN2 equation 4): [N].

    Args:
        images: g(ws), with a graph to `ws`.
        ws: [N, L, W].
        y: N(0, 1) images of the same shapes. They are divided by sqrt(H W) here; the channel count does
            not enter.

    Returns:
        Square root of the mean over layers of the squared norm over W.
    """
    pairs = zip(scales(images), scales(y), strict=True)
    total = torch.stack([(x * n).sum() / math.sqrt(x.shape[2] * x.shape[3]) for x, n in pairs]).sum()
    (gradient,) = torch.autograd.grad(total, ws, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def path_length_penalty(
    lengths: Tensor, mean: Tensor, decay: float, weight: float, overall: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """weight (l - a)^2 per sample. a is the running mean after it was updated with this batch.

    The update is a <- a + decay (mean of l - a). Gradients also flow through it, as in the authors' code.

    Args:
        overall: mean of l over the batch, where `lengths` are a process's share of it. The gradients of all
            shares then add up to that of the whole batch: by l_k, for N samples, it is
            2 weight / N ((l_k - a) - decay (mean of l - a)).

    Returns:
        The penalty [N] and the new, detached mean (scalar).
    """
    if overall is None:
        updated = mean + decay * (lengths.mean() - mean)
        return (lengths - updated).square() * weight, updated.detach()
    updated = mean + decay * (overall - mean)
    through_the_mean = (
        2 * decay * (overall - updated) * (lengths - lengths.detach())
    )  # zero, but for gradients
    return ((lengths - updated).square() - through_the_mean) * weight, updated
