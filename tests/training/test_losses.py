from __future__ import annotations

import math

import pytest
import torch

from styleloom.config.experiment import LOSSES, Loss
from styleloom.training.losses import (
    DISCRIMINATOR_LOSSES,
    GENERATOR_LOSSES,
    discriminator_loss,
    generator_loss,
    wgan_drift,
)

REAL = torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)
FAKE = torch.tensor([-0.5, 3.0, 0.0], dtype=torch.float64)


def log_sigmoid(x: float) -> float:
    """log D for a logit x."""
    return math.log(1 / (1 + math.exp(-x)))


def test_every_name_has_both_losses() -> None:
    assert set(GENERATOR_LOSSES) == set(DISCRIMINATOR_LOSSES) == set(LOSSES)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("nonsaturating", lambda fake: -log_sigmoid(fake)),  # -log D(G(z))
        ("saturating", lambda fake: log_sigmoid(-fake)),  # log(1 - D(G(z)))
        ("wgan", lambda fake: -fake),
    ],
)
def test_generator(name: Loss, formula: object) -> None:
    expected = [formula(x) for x in FAKE.tolist()]  # type: ignore[operator]
    torch.testing.assert_close(generator_loss(name, FAKE).tolist(), expected)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("nonsaturating", lambda real, fake: -log_sigmoid(real) - log_sigmoid(-fake)),
        ("saturating", lambda real, fake: -log_sigmoid(real) - log_sigmoid(-fake)),
        ("wgan", lambda real, fake: fake - real),
    ],
)
def test_discriminator(name: Loss, formula: object) -> None:
    expected = [formula(r, f) for r, f in zip(REAL.tolist(), FAKE.tolist(), strict=True)]  # type: ignore[operator]
    torch.testing.assert_close(discriminator_loss(name, REAL, FAKE).tolist(), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_directions(name: Loss) -> None:
    """G wants higher logits of fakes; D wants higher ones of reals and lower ones of fakes."""
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    (of_g,) = torch.autograd.grad(generator_loss(name, fake).sum(), fake)
    of_real, of_fake = torch.autograd.grad(discriminator_loss(name, real, fake).sum(), (real, fake))
    assert (of_g < 0).all()
    assert (of_real < 0).all()
    assert (of_fake > 0).all()


def test_only_the_saturating_loss_saturates() -> None:
    fake = torch.tensor([-20.0], requires_grad=True)
    slopes = {name: torch.autograd.grad(generator_loss(name, fake).sum(), fake)[0].item() for name in LOSSES}
    assert slopes["nonsaturating"] == pytest.approx(-1)
    assert abs(slopes["saturating"]) < 1e-8


def test_no_overflow() -> None:
    huge = torch.tensor([-1e4, 1e4])
    for name in LOSSES:
        assert generator_loss(name, huge).isfinite().all()
        assert discriminator_loss(name, huge, huge.flip(0)).isfinite().all()


def test_drift() -> None:
    """0.001 D(x)^2 (ProGAN appendix A.1)."""
    torch.testing.assert_close(wgan_drift(REAL), 0.001 * REAL**2)
    torch.testing.assert_close(wgan_drift(REAL, 0.5), 0.5 * REAL**2)
