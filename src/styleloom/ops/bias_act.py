"""Bias, activation, gain and clamp: the end of every layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.config.networks import Activation
from styleloom.ops.tracing import traced


@dataclass(frozen=True)
class ActivationRule:
    """An activation with StyleGAN2's default slope and gain.

    Args:
        function: (x, alpha) -> y.
        alpha: default slope.
        gain: default factor on the result; it keeps the variance of N(0, 1) inputs.
        homogeneous: f(k x) = k f(x) for k > 0, so that a gain may be moved to the inputs.
        in_place: the same function, which overwrites x; None where there is no such form.
    """

    function: Callable[[Tensor, float], Tensor]
    alpha: float
    gain: float
    homogeneous: bool
    in_place: Callable[[Tensor, float], Tensor] | None = None

    def consume(self, x: Tensor) -> Tensor:
        """Apply the activation with its default slope to x, which must not be needed afterwards."""
        return (self.in_place or self.function)(x, self.alpha)


ROOT2 = math.sqrt(2.0)

RULES: dict[Activation, ActivationRule] = {
    "linear": ActivationRule(lambda x, _: x, 0.0, 1.0, True),
    "relu": ActivationRule(lambda x, _: F.relu(x), 0.0, ROOT2, True, lambda x, _: x.relu_()),
    "lrelu": ActivationRule(F.leaky_relu, 0.2, ROOT2, True, F.leaky_relu_),
    "tanh": ActivationRule(lambda x, _: torch.tanh(x), 0.0, 1.0, False),
    "sigmoid": ActivationRule(lambda x, _: torch.sigmoid(x), 0.0, 1.0, False),
    "elu": ActivationRule(lambda x, _: F.elu(x), 0.0, 1.0, False),
    "selu": ActivationRule(lambda x, _: F.selu(x), 0.0, 1.0, False),
    "softplus": ActivationRule(lambda x, _: F.softplus(x), 0.0, 1.0, False),
    "swish": ActivationRule(lambda x, _: x * torch.sigmoid(x), 0.0, ROOT2, False),
}


@dataclass(frozen=True)
class ActivationSettings:
    """The activation of a layer and the factor that follows it: the same in every call.

    Args:
        act: activation, with its default slope.
        gain: factor on its result; None for the activation's own.
    """

    act: Activation = "linear"
    gain: float | None = None

    def gains(self) -> tuple[float, float]:
        """The gain as two factors, before the activation and after it; one of them is 1.

        Where f(k x) = k f(x), the gain stands before the activation: there a layer multiplies it into weights
        and bias, which costs nothing.
        """
        rule = RULES[self.act]
        gain = rule.gain if self.gain is None else self.gain
        return (gain, 1.0) if rule.homogeneous else (1.0, gain)


def add_noise(x: Tensor, noise: Tensor) -> Tensor:
    """x [N, C, H, W] plus a scaled noise map, in the type of x; x is overwritten, unless `traced`."""
    return x + noise.to(x.dtype) if traced() else x.add_(noise.to(x.dtype))


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    act: Activation = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """`clamp(gain * act(x + bias))`, with the bias [C] on axis 1 of x [N, C, ...].

    `alpha` and `gain` default to the activation's own. `clamp` bounds the absolute value.
    """
    rule = RULES[act]
    if bias is not None:
        x = x + bias.to(x.dtype).reshape(-1, *[1] * (x.ndim - 2))
    x = rule.function(x, rule.alpha if alpha is None else alpha)
    gain = rule.gain if gain is None else gain
    x = x * gain if gain != 1 else x
    return x if clamp is None else x.clamp(-clamp, clamp)
