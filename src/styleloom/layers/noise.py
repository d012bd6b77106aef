"""Noise inputs (StyleGAN section 2). One strength for each channel, in StyleGAN2 for each layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from styleloom.errors import UserError, quoted
from styleloom.layers.share import Sharing
from styleloom.types import NoiseMode


class NoiseInput(Sharing):
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
        size = self.fixed.shape[1:]
        if not isinstance(noise, str):
            if not isinstance(noise, Tensor) or noise.shape[0] not in (1, batch) or noise.shape[1:] != size:
                found = list(noise.shape) if isinstance(noise, Tensor) else quoted(noise)
                raise UserError(f"noise: {found} is not valid; maps [N or 1, {', '.join(map(str, size))}]")
        elif noise == "none":
            return None
        elif noise == "fixed":
            noise = self.fixed
        else:
            noise = self.share.randn((batch, *size), self.fixed.device)
        strength = self.strength if self.strength.ndim == 0 else self.strength[:, None, None]
        return noise * strength
