"""The one table from configurations to networks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from styleloom.config import networks as config
from styleloom.networks import msg, progan, stylegan, stylegan2
from styleloom.networks.assembly import DiscriminatorTrunk, StyleGenerator

GENERATORS: dict[type, Callable[[Any], StyleGenerator]] = {
    config.ProGANGenerator: progan.build_generator,
    config.MSGProGANGenerator: msg.build_progan_generator,
    config.MSGStyleGANGenerator: msg.build_stylegan_generator,
    config.StyleGANGenerator: stylegan.build_generator,
    config.StyleGAN2Generator: stylegan2.build_generator,
}

DISCRIMINATORS: dict[type, Callable[[Any], DiscriminatorTrunk]] = {
    config.ProGANDiscriminator: progan.Discriminator,
    config.MSGProGANDiscriminator: msg.ProGANPyramidDiscriminator,
    config.MSGStyleGANDiscriminator: msg.StyleGANPyramidDiscriminator,
    config.StyleGANDiscriminator: stylegan.Discriminator,
    config.StyleGAN2Discriminator: stylegan2.Discriminator,
}


def build_generator(cfg: config.GeneratorConfig) -> StyleGenerator:
    """A generator with fresh weights, drawn from torch's global random generator."""
    return GENERATORS[type(cfg)](cfg)


def build_discriminator(cfg: config.DiscriminatorConfig) -> DiscriminatorTrunk:
    """A discriminator with fresh weights, drawn from torch's global random generator."""
    return DISCRIMINATORS[type(cfg)](cfg)


class _NothingDrawn(TorchFunctionMode):
    """Random tensors are empty ones: on the meta device, drawing would import half of PyTorch's compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))


@contextlib.contextmanager
def weightless() -> Iterator[None]:
    """Networks that are built here have names, types and shapes alone: nothing is allocated or drawn."""
    with torch.device("meta"), _NothingDrawn():
        yield


def count_parameters(network: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
