"""Style mixing (StyleGAN section 3.1): one image whose layers take their styles from several latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mix(styles: Sequence[Tensor], cuts: Tensor) -> Tensor:
    """The styles of K latents, which meet at given layers.

    Layers below the first cut take the first latent's style, those from there to the second cut the second
    latent's, and so on; the last cut and all layers above it take the last one's.

    Args:
        styles: K tensors ws [N, L, W], one for each latent.
        cuts: [N, K - 1] of crossover layers, 0 to L, ascending; L leaves the next latents out.

    Returns:
        ws [N, L, W].
    """
    mixed, cuts = styles[0], cuts.to(styles[0].device)
    layer = torch.arange(mixed.shape[1], device=mixed.device)
    for cut, ws in zip(cuts.unbind(1), styles[1:], strict=True):
        mixed = torch.where((layer < cut[:, None])[:, :, None], mixed, ws)
    return mixed
