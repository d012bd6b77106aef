"""Equalized learning rate (ProGAN section 4.1): weights are stored N(0, 1) and scaled at run time; and how a
network is made without it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from styleloom.config.networks import Activation
from styleloom.ops.bias_act import RULES, bias_act
from styleloom.ops.conv_layer import Resample, conv_layer
from styleloom.ops.upfirdn import Taps


def without_equalization(network: nn.Module) -> None:
    """Make the run-time factor of every layer of `network` part of its initial weights: He's initialization.

    At first the network computes the same; what differs is the size of Adam's steps relative to the weights.
    """
    for layer in network.modules():
        if isinstance(layer, (EqualizedConv, EqualizedDense)):
            with torch.no_grad():
                layer.weight.mul_(layer.scale)
            layer.scale = 1.0


class EqualizedDense(nn.Module):
    """Dense layer, bias and activation: [N, in] -> [N, out].

    Args:
        num_in, num_out: features.
        act: activation; its own gain follows it.
        weight_gain: factor on the weights (sqrt(2) in ProGAN and StyleGAN, 1 in StyleGAN2).
        lr_multiplier: weights are stored 1/lr_multiplier larger, weights and bias count lr_multiplier.
        act_gain: factor on the activation; its default as in StyleGAN2.
        bias: whether there is one.
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        act: Activation = "linear",
        weight_gain: float = 1.0,
        lr_multiplier: float = 1.0,
        act_gain: float | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_out, num_in) / lr_multiplier)
        self.bias = nn.Parameter(torch.zeros(num_out)) if bias else None
        self.scale = weight_gain / math.sqrt(num_in) * lr_multiplier
        self.lr_multiplier = lr_multiplier
        self.act: Activation = act
        self.act_gain = RULES[act].gain if act_gain is None else act_gain

    def forward(self, x: Tensor) -> Tensor:
        """[N, in] -> [N, out]."""
        rule = RULES[self.act]
        inner, outer = (self.act_gain, 1.0) if rule.homogeneous else (1.0, self.act_gain)
        weight, scale = self.weight.to(x.dtype).t(), self.scale * inner
        if self.bias is None:
            y = (x @ weight) * scale
        else:
            y = torch.addmm(self.bias.to(x.dtype), x, weight, beta=self.lr_multiplier * inner, alpha=scale)
        return bias_act(y, None, self.act, gain=outer)


class EqualizedConv(nn.Module):
    """Convolution, bias and activation, perhaps with a change of resolution: [N, I, H, W] -> [N, O, ...].

    Args:
        num_in, num_out: channels.
        kernel: side of the kernel.
        act: activation.
        resample, taps: change of resolution by 2 and its filter.
        weight_gain, act_gain, bias: as in `EqualizedDense`.
        clamp: bound of the result.
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        kernel: int,
        act: Activation = "linear",
        resample: Resample = "none",
        taps: Taps = (1,),
        weight_gain: float = 1.0,
        act_gain: float | None = None,
        bias: bool = True,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_out, num_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(num_out)) if bias else None
        self.scale = weight_gain / math.sqrt(num_in * kernel**2)
        self.act: Activation = act
        self.act_gain = RULES[act].gain if act_gain is None else act_gain
        self.resample: Resample = resample
        self.taps = taps
        self.clamp = clamp

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """[N, I, H, W] -> [N, O, H', W']; `gain` multiplies the result, before which it is clamped."""
        clamp = None if self.clamp is None else self.clamp * gain
        return conv_layer(
            x,
            self.weight,
            self.bias,
            self.scale,
            self.resample,
            self.taps,
            self.act,
            self.act_gain * gain,
            clamp,
        )
