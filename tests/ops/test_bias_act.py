from __future__ import annotations

import math
from typing import get_args

import torch
import torch.nn.functional as F

from every import every
from styleloom.config.networks import Activation
from styleloom.ops.bias_act import RULES, bias_act

from .derivatives import randn

FORMULAS = {
    "linear": lambda x: x,
    "relu": lambda x: x * (x > 0),
    "lrelu": lambda x: torch.where(x > 0, x, 0.2 * x),
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "elu": lambda x: torch.where(x > 0, x, x.exp() - 1),
    "selu": lambda x: 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (x.exp() - 1)),
    "softplus": lambda x: (1 + x.exp()).log(),
    "swish": lambda x: x / (1 + (-x).exp()),
}
ROOT2 = {"relu", "lrelu", "swish"}


def test_every_activation_has_a_rule() -> None:
    assert set(RULES) == set(get_args(Activation)) == set(FORMULAS)


@every("act", get_args(Activation))
def test_formulas_and_gains(act: Activation) -> None:
    x, b = randn(2, 3, 4, 5), randn(3, seed=1)
    gain = math.sqrt(2) if act in ROOT2 else 1.0
    expected = gain * FORMULAS[act](x + b[None, :, None, None])
    torch.testing.assert_close(bias_act(x, b, act), expected)
    torch.testing.assert_close(bias_act(x, b, act, gain=0.3), expected / gain * 0.3)
    torch.testing.assert_close(bias_act(x, b, act, clamp=0.4), expected.clamp(-0.4, 0.4))
    assert bias_act(x, b, act, clamp=0.4).abs().max() <= 0.4


@every("act", get_args(Activation))
def test_homogeneous_means_that_a_gain_may_be_moved(act: Activation) -> None:
    rule, x = RULES[act], randn(50)
    moved = torch.allclose(rule.function(3 * x, rule.alpha), 3 * rule.function(x, rule.alpha))
    assert rule.homogeneous == moved


def test_slope_can_be_given() -> None:
    x = randn(2, 3)
    torch.testing.assert_close(bias_act(x, None, "lrelu", alpha=0.5, gain=1), F.leaky_relu(x, 0.5))
    torch.testing.assert_close(bias_act(x, None, "lrelu", alpha=0.0), bias_act(x, None, "relu"))


def test_bias_is_that_of_axis_1_and_takes_the_type_of_the_image() -> None:
    x = torch.zeros(2, 3, 4, dtype=torch.bfloat16)
    y = bias_act(x, torch.tensor([1.0, 2, 3]))
    assert y.dtype == torch.bfloat16
    assert y[:, :, 0].tolist() == [[1, 2, 3], [1, 2, 3]]
