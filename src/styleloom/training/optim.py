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
    """An optimizer with learning rate c lr and betas beta^c, c = `lazy_factor`.

    Main and regularization phases share its moments.
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
    """Set the present learning rate and beta2, corrected as in `build_optimizer`.

    torch's Adam corrects the bias of its second moment with the beta2 of the present step, also where beta2
    was another one before.
    """
    (group,) = optimizer.param_groups
    group.update(_options(kind, learning_rate, constants, lazy_every))


def _options(kind: Optimizer, learning_rate: float, constants: Adam, lazy_every: int) -> dict[str, Any]:
    c = lazy_factor(lazy_every)
    beta1, beta2 = constants.beta1**c, constant(constants.beta2) ** c
    rate = {"lr": learning_rate * c}
    return rate | ({"alpha": beta2} if kind == "rmsprop" else {"betas": (beta1, beta2)})


def step_if_finite(optimizer: torch.optim.Optimizer, gradient_norm: Tensor) -> None:
    """Make one update, unless the gradient's norm is not finite: then nothing changes, step counts included.

    Fused Adam reads the decision on the device, from `found_inf`, the flag that PyTorch's gradient scaler
    sets. The host does not wait for the norm. Other optimizers have no such flag: the host reads the norm.
    """
    finite = torch.isfinite(gradient_norm)
    if optimizer.defaults.get("fused"):
        optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        optimizer.step()
    elif bool(finite):
        optimizer.step()


def with_gradient(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that got a gradient in a phase."""
    return [parameter for parameter in network.parameters() if parameter.grad is not None]


def fill_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Set the gradient of each of `parameters` that has none to zero.

    In the authors' code a lazy step updates all parameters. Those that the regularizer does not depend on
    (biases of toRGB in path length, the discriminator's last bias in R1) have a gradient of zero: their
    second moments decay, they move by their first moments, and their steps count. torch skips a parameter
    without gradient, hence the zeros. Parameters of inactive levels of growing networks can be left out:
    their moments are zero, so a gradient of zero would not move them, and all step counts start anew when a
    level begins.
    """
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
