"""Adversarial losses, per sample, on logits [N]; the label loss of discriminators that classify."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from styleloom.config.objective import Loss


def _logistic(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))) (Goodfellow et al. 2014)."""
    return F.softplus(fake) + F.softplus(-real)


def _hinge(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))) (Lim and Ye 2017)."""
    return F.relu(1 - real) + F.relu(1 + fake)


def _least_squares(real: Tensor, fake: Tensor) -> Tensor:
    """((D(x) - 1)^2 + D(G(z))^2) / 2 (Mao et al. 2017)."""
    return ((real - 1).square() + fake.square()) / 2


def _relativistic_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge on the distance to the mean of the other kind (Jolicoeur-Martineau 2019)."""
    return _hinge(real - fake.mean(), fake - real.mean())


def _relativistic_pairing(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(x) - D(G(z))): each real against one fake (Huang et al. 2024, R3GAN, equation 2).

    Not of the four papers. Its authors add R1 and R2, zero-centred penalties on reals and on fakes.
    """
    return F.softplus(fake - real)


GENERATOR_LOSSES: dict[Loss, Callable[[Tensor], Tensor]] = {
    "nonsaturating": lambda fake: F.softplus(-fake),
    "saturating": lambda fake: -F.softplus(fake),
    "wgan": lambda fake: -fake,
    "hinge": lambda fake: -fake,
    "least-squares": lambda fake: (fake - 1).square() / 2,
}

RELATIVISTIC_GENERATOR_LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    # the discriminator's loss with the roles of real and fake exchanged
    "relativistic-hinge": lambda real, fake: _relativistic_hinge(fake, real),
    "relativistic-pairing": lambda real, fake: _relativistic_pairing(fake, real),
}

DISCRIMINATOR_LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "nonsaturating": _logistic,
    "saturating": _logistic,
    "wgan": lambda real, fake: fake - real,
    "hinge": _hinge,
    "least-squares": _least_squares,
    "relativistic-hinge": _relativistic_hinge,
    "relativistic-pairing": _relativistic_pairing,
}

PAIRED: frozenset[Loss] = frozenset({"relativistic-pairing"})
"""Losses that compare the i-th fake with the i-th real. Both of a pair have the label of the real."""


def compares_with_reals(name: Loss) -> bool:
    """Whether the generator's loss needs the logits of reals."""
    return name in RELATIVISTIC_GENERATOR_LOSSES


def generator_loss(name: Loss, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """The generator's loss of each fake: [N] -> [N]. Relativistic losses need `real_logits` [N]."""
    if not compares_with_reals(name):
        return GENERATOR_LOSSES[name](fake_logits)
    assert real_logits is not None, f"{name} compares with reals"
    return RELATIVISTIC_GENERATOR_LOSSES[name](real_logits, fake_logits)


def discriminator_loss(name: Loss, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The discriminator's loss of each pair: [N], [N] -> [N]."""
    return DISCRIMINATOR_LOSSES[name](real_logits, fake_logits)


def wgan_drift(real_logits: Tensor, epsilon: float = 0.001) -> Tensor:
    """Keeps the critic's output near zero: epsilon D(x)^2 (ProGAN appendix A.1), on reals only."""
    return epsilon * real_logits.square()


def label_loss(class_logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of class logits [N, K] and label [N, K], one-hot or soft: [N] (AC-GAN, Odena 2017).

    ProGAN's conditional mode adds it to the losses of both networks, for reals and fakes.
    """
    return F.cross_entropy(class_logits, label, reduction="none")
