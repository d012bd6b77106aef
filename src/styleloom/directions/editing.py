"""Latents moved along directions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def moved(values: Tensor, step: Tensor, strengths: Tensor, layers: Sequence[int] | None = None) -> Tensor:
    """Latents `values + strengths step`.

    Args:
        values: ws [N, L, W], or z [N, Z].
        step: [W] or [Z].
        strengths: [N].
        layers: rows of ws that move; None for all. Without meaning for z.
    """
    step = step.to(values)
    if values.ndim == 2:
        return values + strengths.to(values)[:, None] * step
    moves = torch.zeros(values.shape[1]).to(values)
    moves[list(range(values.shape[1]) if layers is None else layers)] = 1.0
    return values + strengths.to(values)[:, None, None] * moves[:, None] * step
