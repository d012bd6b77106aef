"""Noise inputs (StyleGAN section 2; one scalar strength per layer in StyleGAN2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from styleloom.types import NoiseMode


class NoiseInput(nn.Module):
    """One noise map of `size` px, scaled by a learned strength that starts at 0.

    Args:
        size: height and width, px.
        strengths: 1 for a scalar (StyleGAN2), the number of channels for a weight each (StyleGAN).
    """

    fixed: Tensor

    def __init__(self, size: tuple[int, int], strengths: int = 1) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(strengths) if strengths > 1 else torch.zeros(()))
        self.register_buffer("fixed", torch.randn(1, 1, *size))

    def forward(self, batch: int, noise: NoiseMode | Tensor) -> Tensor | None:
        """The scaled map [N or 1, 1 or C, H, W], float32; None for "none"."""
        if isinstance(noise, str):
            if noise == "none":
                return None
            if noise == "fixed":
                noise = self.fixed
            else:
                shape = (batch, 1, *self.fixed.shape[2:])
                noise = torch.randn(shape, device=self.fixed.device)
        strength = self.strength if self.strength.ndim == 0 else self.strength[:, None, None]
        return noise * strength
