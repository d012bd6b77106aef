"""Adversarial losses, per sample, on logits [N]."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from styleloom.config.experiment import Loss


def _logistic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))) (Goodfellow et al. 2014)."""
    return F.softplus(fake_logits) + F.softplus(-real_logits)


GENERATOR_LOSSES: dict[Loss, Callable[[Tensor], Tensor]] = {
    "nonsaturating": lambda fake: F.softplus(-fake),
    "saturating": lambda fake: -F.softplus(fake),
    "wgan": lambda fake: -fake,
}

DISCRIMINATOR_LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "nonsaturating": _logistic,
    "saturating": _logistic,
    "wgan": lambda real, fake: fake - real,
}


def generator_loss(name: Loss, fake_logits: Tensor) -> Tensor:
    """The generator's loss of each fake: [N] -> [N]."""
    return GENERATOR_LOSSES[name](fake_logits)


def discriminator_loss(name: Loss, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The discriminator's loss of each pair: [N], [N] -> [N]."""
    return DISCRIMINATOR_LOSSES[name](real_logits, fake_logits)


def wgan_drift(real_logits: Tensor, epsilon: float = 0.001) -> Tensor:
    """Keeps the critic's output near zero: epsilon D(x)^2 (ProGAN appendix A.1), on reals only."""
    return epsilon * real_logits.square()
