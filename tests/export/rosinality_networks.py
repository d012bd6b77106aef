"""What a checkpoint of rosinality's StyleGAN2 computes, from the description of its layout and its state
dicts alone: nothing here is styleloom's. Tests hold it against recorded outputs of the port itself."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]


def lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def normalized(z: Tensor) -> Tensor:
    return z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)


def linear(x: Tensor, state: State, name: str, multiplier: float = 1.0) -> Tensor:
    weight = state[f"{name}.weight"]
    scale = multiplier / math.sqrt(weight.shape[1])
    return F.linear(x, weight * scale, state[f"{name}.bias"] * multiplier)


def resample(x: Tensor, kernel: Tensor, pad: tuple[int, int], up: int = 1) -> Tensor:
    """Zeros between pixels, padding, a true convolution."""
    n, c, height, width = x.shape
    full = x.new_zeros(n, c, height * up, width * up)
    full[:, :, ::up, ::up] = x
    full = F.pad(full, (*pad, *pad))
    return F.conv2d(full, kernel.flip(0, 1).expand(c, 1, *kernel.shape), groups=c)


def modulated(x: Tensor, w: Tensor, state: State, name: str, demodulate: bool, up: bool = False) -> Tensor:
    weight = state[f"{name}.conv.weight"]
    _, _, num_in, k, _ = weight.shape
    style = F.linear(
        w,
        state[f"{name}.conv.modulation.weight"] / math.sqrt(w.shape[1]),
        state[f"{name}.conv.modulation.bias"],
    )
    own = weight / math.sqrt(num_in * k * k) * style[:, None, :, None, None]
    if demodulate:
        own = own * torch.rsqrt(own.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    if not up:
        return torch.cat([F.conv2d(a[None], b, padding=k // 2) for a, b in zip(x, own, strict=True)])
    larger = [F.conv_transpose2d(a[None], b.transpose(0, 1), stride=2) for a, b in zip(x, own, strict=True)]
    return resample(torch.cat(larger), state[f"{name}.conv.blur.kernel"], (1, 1))


def styled(x: Tensor, w: Tensor, state: State, name: str, noise: Tensor, up: bool = False) -> Tensor:
    y = modulated(x, w, state, name, True, up) + state[f"{name}.noise.weight"] * noise
    return lrelu(y + state[f"{name}.activate.bias"].view(1, -1, 1, 1))


def mapped(z: Tensor, state: State) -> Tensor:
    w = normalized(z)
    for layer in range(1, 1 + sum(name.startswith("style.") for name in state) // 2):
        w = lrelu(linear(w, state, f"style.{layer}", 0.01))
    return w


def images(w: Tensor, state: State) -> Tensor:
    """w [N, W] to images [N, 3, R, R], with the noise of the file."""
    x = state["input.input"].expand(w.shape[0], -1, -1, -1)
    x = styled(x, w, state, "conv1", state["noises.noise_0"])
    rgb = modulated(x, w, state, "to_rgb1", False) + state["to_rgb1.bias"]
    levels = sum(name.endswith("upsample.kernel") for name in state)
    for level in range(levels):
        a, b = 2 * level, 2 * level + 1
        x = styled(x, w, state, f"convs.{a}", state[f"noises.noise_{a + 1}"], up=True)
        x = styled(x, w, state, f"convs.{b}", state[f"noises.noise_{b + 1}"])
        lower = resample(rgb, state[f"to_rgbs.{level}.upsample.kernel"], (2, 1), up=2)
        rgb = modulated(x, w, state, f"to_rgbs.{level}", False) + state[f"to_rgbs.{level}.bias"] + lower
    return rgb


def conv(x: Tensor, weight: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv2d(x, weight / math.sqrt(weight[0].numel()), stride=stride, padding=padding)


def logits(x: Tensor, state: State) -> Tensor:
    """Images to logits [N, 1]."""

    def biased(y: Tensor, name: str) -> Tensor:
        return lrelu(y + state[name].view(1, -1, 1, 1))

    x = biased(conv(x, state["convs.0.0.weight"]), "convs.0.1.bias")
    for block in range(1, 1 + sum(name.endswith("skip.1.weight") for name in state)):
        own = f"convs.{block}"
        y = biased(conv(x, state[f"{own}.conv1.0.weight"], padding=1), f"{own}.conv1.1.bias")
        y = resample(y, state[f"{own}.conv2.0.kernel"], (2, 2))
        y = biased(conv(y, state[f"{own}.conv2.1.weight"], stride=2), f"{own}.conv2.2.bias")
        skip = resample(x, state[f"{own}.skip.0.kernel"], (1, 1))
        x = (y + conv(skip, state[f"{own}.skip.1.weight"], stride=2)) / math.sqrt(2)
    n, c, height, width = x.shape
    group = min(n, 4)
    grouped = x.view(group, -1, c, height, width)
    deviation = (grouped.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3)).view(-1, 1, 1, 1)
    x = torch.cat([x, deviation.repeat(group, 1, height, width)], 1)
    x = biased(conv(x, state["final_conv.0.weight"], padding=1), "final_conv.1.bias")
    x = lrelu(linear(x.flatten(1), state, "final_linear.0"))
    return linear(x, state, "final_linear.1")
