"""Adam with the correction for lazy regularization (StyleGAN2 section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from styleloom.config.experiment import Adam


def lazy_factor(every: int) -> float:
    """c = k / (k + 1): one regularization step more in every k; 1 when regularization is not lazy."""
    return every / (every + 1) if every > 1 else 1.0


def adam(
    parameters: Iterable[nn.Parameter], learning_rate: float, adam: Adam, lazy_every: int = 1
) -> torch.optim.Optimizer:
    """An optimizer with learning rate c lr and betas beta^c.

    Main and regularization steps share its moments.
    """
    c = lazy_factor(lazy_every)
    parameters = list(parameters)
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.Adam(
        parameters,
        lr=learning_rate * c,
        betas=(adam.beta1**c, adam.beta2**c),
        eps=adam.epsilon,
        fused=fused,
    )
