"""The optimizers, with the correction for lazy regularization (StyleGAN2 section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from styleloom.config.experiment import Adam, Optimizer

STATE_FIELDS: dict[Optimizer, tuple[str, ...]] = {
    "adam": ("step", "exp_avg", "exp_avg_sq"),
    "rmsprop": ("step", "square_avg"),
}
"""What an optimizer remembers of each parameter."""


def lazy_factor(every: int) -> float:
    """c = k / (k + 1): one regularization step more in every k; 1 when regularization is not lazy."""
    return every / (every + 1) if every > 1 else 1.0


def build_optimizer(
    kind: Optimizer,
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    constants: Adam,
    lazy_every: int = 1,
) -> torch.optim.Optimizer:
    """An optimizer with learning rate c lr and betas beta^c; main and regularization steps share its moments.

    RMSprop takes beta2 as its alpha (MSG-GAN section 3.1 names RMSprop, its code runs Adam with beta1 = 0,
    which differs by the correction of the first steps alone).
    """
    c = lazy_factor(lazy_every)
    parameters = list(parameters)
    lr, beta1, beta2, epsilon = learning_rate * c, constants.beta1**c, constants.beta2**c, constants.epsilon
    if kind == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=lr, alpha=beta2, eps=epsilon)
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, lr=lr, betas=(beta1, beta2), eps=epsilon, fused=fused)
