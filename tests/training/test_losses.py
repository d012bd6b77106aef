from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from every import every
from styleloom.config.objective import Loss
from styleloom.training.losses import (
    DISCRIMINATOR_LOSSES,
    GENERATOR_LOSSES,
    RELATIVISTIC_GENERATOR_LOSSES,
    compares_with_reals,
    discriminator_loss,
    generator_loss,
    label_loss,
    wgan_drift,
)

LOSSES: tuple[Loss, ...] = get_args(Loss)

REAL = torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)
FAKE = torch.tensor([-0.5, 3.0, 0.0], dtype=torch.float64)


def log_sigmoid(x: float) -> float:
    """log D for a logit x."""
    return math.log(1 / (1 + math.exp(-x)))


def test_every_name_has_both_losses() -> None:
    assert {*GENERATOR_LOSSES, *RELATIVISTIC_GENERATOR_LOSSES} == set(DISCRIMINATOR_LOSSES) == set(LOSSES)
    assert not set(GENERATOR_LOSSES) & set(RELATIVISTIC_GENERATOR_LOSSES)
    assert [name for name in LOSSES if compares_with_reals(name)] == list(RELATIVISTIC_GENERATOR_LOSSES)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("nonsaturating", lambda fake: -log_sigmoid(fake)),  # -log D(G(z))
        ("saturating", lambda fake: log_sigmoid(-fake)),  # log(1 - D(G(z)))
        ("wgan", lambda fake: -fake),
        ("hinge", lambda fake: -fake),
        ("least-squares", lambda fake: (fake - 1) ** 2 / 2),
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
        ("hinge", lambda real, fake: max(0, 1 - real) + max(0, 1 + fake)),
        ("least-squares", lambda real, fake: ((real - 1) ** 2 + fake**2) / 2),
    ],
)
def test_discriminator(name: Loss, formula: object) -> None:
    expected = [formula(r, f) for r, f in zip(REAL.tolist(), FAKE.tolist(), strict=True)]  # type: ignore[operator]
    torch.testing.assert_close(discriminator_loss(name, REAL, FAKE).tolist(), expected)


@every("name", LOSSES)
def test_directions(name: Loss) -> None:
    """G wants higher logits of fakes; D wants higher ones of reals and lower ones of fakes."""
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    (of_g,) = torch.autograd.grad(generator_loss(name, fake, real.detach()).sum(), fake)
    of_real, of_fake = torch.autograd.grad(discriminator_loss(name, real, fake).sum(), (real, fake))
    if name == "least-squares":  # towards 1 for G and reals, towards 0 for fakes, from either side
        assert torch.equal(of_g.sign(), (FAKE - 1).sign())
        assert torch.equal(of_real.sign(), (REAL - 1).sign())
        assert torch.equal(of_fake.sign(), FAKE.sign())
        return
    for gradient, sign in ((of_g, -1), (of_real, -1), (of_fake, 1)):
        assert (gradient * sign >= 0).all()  # hinges are flat beyond their margins
        assert (gradient * sign).sum() > 0


def test_relativistic_hinge() -> None:
    """Each logit against the mean of the other kind, margins of 1 (Jolicoeur-Martineau 2019, equation 13)."""
    real, fake = REAL.tolist(), FAKE.tolist()
    mean_real, mean_fake = sum(real) / 3, sum(fake) / 3
    d = [
        max(0.0, 1 - (r - mean_fake)) + max(0.0, 1 + (f - mean_real)) for r, f in zip(real, fake, strict=True)
    ]
    g = [
        max(0.0, 1 + (r - mean_fake)) + max(0.0, 1 - (f - mean_real)) for r, f in zip(real, fake, strict=True)
    ]
    torch.testing.assert_close(discriminator_loss("relativistic-hinge", REAL, FAKE).tolist(), d)
    torch.testing.assert_close(generator_loss("relativistic-hinge", FAKE, REAL).tolist(), g)


def test_relativistic_pairing() -> None:
    """-log sigmoid of the distance within a pair; G's with the roles exchanged (R3GAN, equation 2)."""
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    apart = [r - f for r, f in zip(REAL.tolist(), FAKE.tolist(), strict=True)]
    of_d = discriminator_loss("relativistic-pairing", real, fake)
    of_g = generator_loss("relativistic-pairing", fake, real)
    torch.testing.assert_close(of_d.tolist(), [-log_sigmoid(x) for x in apart])
    torch.testing.assert_close(of_g.tolist(), [-log_sigmoid(-x) for x in apart])

    slopes = torch.tensor([1 / (1 + math.exp(x)) for x in apart], dtype=torch.float64)  # sigmoid(-x)
    by_real, by_fake = torch.autograd.grad(of_d.sum(), (real, fake))
    torch.testing.assert_close(by_real, -slopes)
    torch.testing.assert_close(by_fake, slopes)
    torch.testing.assert_close(torch.autograd.grad(of_g.sum(), fake)[0], slopes - 1)  # does not saturate


def test_label_loss() -> None:
    """-log softmax of the label's class, for one-hot and soft labels."""
    logits = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]], dtype=torch.float64)
    label = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]], dtype=torch.float64)
    expected = []
    for row, weights in zip(logits.tolist(), label.tolist(), strict=True):
        norm = math.log(sum(map(math.exp, row)))
        expected.append(sum(w * (norm - x) for x, w in zip(row, weights, strict=True)))
    torch.testing.assert_close(label_loss(logits, label).tolist(), expected)


def test_only_the_saturating_loss_saturates() -> None:
    fake = torch.tensor([-20.0], requires_grad=True)
    slopes = {
        name: torch.autograd.grad(generator_loss(name, fake).sum(), fake)[0].item()
        for name in GENERATOR_LOSSES
    }
    assert slopes["nonsaturating"] == pytest.approx(-1)
    assert abs(slopes["saturating"]) < 1e-8


def test_no_overflow() -> None:
    huge = torch.tensor([-1e4, 1e4])
    for name in LOSSES:
        assert generator_loss(name, huge, huge.flip(0)).isfinite().all()
        assert discriminator_loss(name, huge, huge.flip(0)).isfinite().all()


def test_drift() -> None:
    """0.001 D(x)^2 (ProGAN appendix A.1)."""
    torch.testing.assert_close(wgan_drift(REAL), 0.001 * REAL**2)
    torch.testing.assert_close(wgan_drift(REAL, 0.5), 0.5 * REAL**2)
