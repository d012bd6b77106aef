"""The optimizers, with the correction for lazy regularization (StyleGAN2 section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from styleloom.config import Adam
from styleloom.config.optimizer import Optimizer
from styleloom.config.schedules import constant

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
    parameters = list(parameters)
    options = _options(kind, learning_rate, constants, lazy_every)
    if kind == "rmsprop":
        return torch.optim.RMSprop(parameters, eps=constants.epsilon, **options)
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, eps=constants.epsilon, fused=fused, **options)


def set_rates(
    optimizer: torch.optim.Optimizer,
    kind: Optimizer,
    learning_rate: float,
    constants: Adam,
    lazy_every: int = 1,
) -> None:
    """What may change during training: learning rate and beta2, corrected as in `build_optimizer`.

    Adam corrects its second moment by the current beta2 to the power of its steps, as torch does.
    """
    (group,) = optimizer.param_groups
    group.update(_options(kind, learning_rate, constants, lazy_every))


def _options(kind: Optimizer, learning_rate: float, constants: Adam, lazy_every: int) -> dict[str, Any]:
    c = lazy_factor(lazy_every)
    beta1, beta2 = constants.beta1**c, constant(constants.beta2) ** c
    rate = {"lr": learning_rate * c}
    return rate | ({"alpha": beta2} if kind == "rmsprop" else {"betas": (beta1, beta2)})


def step_if_finite(optimizer: torch.optim.Optimizer, gradient_norm: Tensor) -> None:
    """One update, or none, moments and step counts included, where the gradient's norm is not finite.

    Fused Adam is told on the device (`found_inf`, the flag of PyTorch's gradient scaler), so that the host
    does not wait for the norm. Other optimizers have no such flag: there the host asks.
    """
    finite = torch.isfinite(gradient_norm)
    if optimizer.defaults.get("fused"):
        optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        optimizer.step()
    elif bool(finite):
        optimizer.step()


def with_gradient(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that a phase has reached."""
    return [parameter for parameter in network.parameters() if parameter.grad is not None]


def fill_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Zeros where a phase did not reach one of `parameters`.

    A lazy step is a step of the whole optimizer in the authors' code. What the regularizer does not depend
    on, as biases of toRGB in path length and the discriminator's last bias in R1, has a gradient of zero
    there: its second moment decays, it moves by its first, and its step counts. torch would leave such a
    parameter out. Levels of growing networks that are not active may be left out all the same: their moments
    are zero, so that zeros would not move them, and step counts begin anew for all when a level begins.
    """
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
