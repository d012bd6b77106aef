"""Pixelwise feature vector normalization (ProGAN section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8


def pixel_norm(x: Tensor) -> Tensor:
    """`x / sqrt(mean_c x^2 + 1e-8)` over axis 1 of [N, C, ...]; projects latents to a hypersphere."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPSILON)
