"""Equalized learning rate (ProGAN section 4.1): weights are drawn from N(0, 1) and scaled at run time.

`without_equalization` turns a network with it into one without.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from styleloom.ops.bias_act import ActivationSettings, bias_act
from styleloom.ops.conv_layer import ConvSettings, conv_layer

LINEAR, LINEAR_CONV = ActivationSettings(), ConvSettings()
"""Layers without activation, gain and clamp, which keep the resolution."""


def without_equalization(network: nn.Module) -> None:
    """Make the run-time factor of every layer of `network` part of its initial weights: He's initialization.

    The network computes the same as before. Training differs: Adam's steps are larger or smaller relative to
    the weights.
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
        settings: activation and the gain that follows it.
        weight_gain: factor on the weights (sqrt(2) in ProGAN and StyleGAN, 1 in StyleGAN2).
        lr_multiplier: factor on weights and bias at run time. Initial weights are divided by it, so that the
            layer computes the same, but learns more slowly by this factor.
        bias: whether the layer has one.
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        settings: ActivationSettings = LINEAR,
        weight_gain: float = 1.0,
        lr_multiplier: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        weight = torch.randn(num_out, num_in)
        # On the meta device a division would import PyTorch's compiler, which takes a second.
        self.weight = nn.Parameter(weight if weight.is_meta else weight / lr_multiplier)
        self.bias = nn.Parameter(torch.zeros(num_out)) if bias else None
        self.scale = weight_gain / math.sqrt(num_in) * lr_multiplier
        self.lr_multiplier = lr_multiplier
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """[N, in] -> [N, out]."""
        inner, outer = self.settings.gains()
        weight, scale = self.weight.to(x.dtype).t(), self.scale * inner
        if self.bias is None:
            y = (x @ weight) * scale
        else:
            y = torch.addmm(self.bias.to(x.dtype), x, weight, beta=self.lr_multiplier * inner, alpha=scale)
        return bias_act(y, None, self.settings.act, gain=outer)


class EqualizedConv(nn.Module):
    """Convolution, bias and activation, perhaps with a change of resolution: [N, I, H, W] -> [N, O, ...].

    Args:
        num_in, num_out: channels.
        kernel: side of the kernel.
        settings: activation, gain, clamp, and the change of resolution.
        weight_gain, bias: as in `EqualizedDense`.
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        kernel: int,
        settings: ConvSettings = LINEAR_CONV,
        weight_gain: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_out, num_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(num_out)) if bias else None
        self.scale = weight_gain / math.sqrt(num_in * kernel**2)
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] -> [N, O, H', W']."""
        return conv_layer(x, self.weight, self.bias, self.scale, self.settings)
