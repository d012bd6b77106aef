"""BMSG-GAN: PyTorch code by MSG-GAN's first author that came before the paper's TensorFlow code.

Its generator is that of Table 6 with a gain of sqrt(2) in every layer, and takes latents as they are.

Its discriminator is not that of Table 7. Half of the C channels with which a level begins come from the level
above, and half from RGB by a 1x1 convolution r' with bias, [r'(x1); x2]; the minibatch standard deviation is
that of the whole batch, at the lowest level alone. Our phi_cat_lin (equation 12) maps C channels and RGB to
C channels, without bias, and can represent this: half of the C channels are x2, and one of the others is 1
everywhere and has the bias of r' as its weight. The imported network computes the same. Trained further, it
may use weights that are 0 at first, which the original does not have.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from styleloom.config.networks import FeatureMaps, MinibatchStd, MSGProGANDiscriminator, MSGProGANGenerator
from styleloom.errors import UserError, quoted
from styleloom.networks.progan import ROOT2
from styleloom.weights.tables import Layout, Rule, Table, only, same, settings

# ---- layouts


def _input(x: Tensor) -> Tensor:
    """A transposed convolution of a 1x1 map, [in, out, 4, 4], as dense weights [out 4 4, in]."""
    return x.permute(1, 2, 3, 0).flatten(0, 2)


def _whole_grid(x: Tensor) -> Tensor:
    """A convolution of the whole grid [out, in, 4, 4], or of one px, as dense weights."""
    return x.flatten(1)


def _half(x: Tensor) -> Tensor:
    """Weights [C/2, in, 3, 3] of a level's last convolution, with zeros for our other C/2 channels."""
    return torch.cat([x, torch.zeros_like(x)])


def _half_and_one(x: Tensor) -> Tensor:
    """Its bias [C/2], with 1 for the first of our other C/2 channels and 0 for the rest.

    Weights of 0 and a bias of 1 make a channel of ones, since the activations of hidden layers map 1 to 1.
    """
    rest = torch.zeros_like(x)
    rest[0] = 1
    return torch.cat([x, rest])


def _combining(x: Tensor) -> Tensor:
    """Weights and bias of r' [C/2, 3 + 1], ready to use, as stored weights of phi_cat_lin [C, C + 3, 1, 1].

    Rows: r'(x1), then x2. Columns: x2, the channel of ones, those that nothing reads, RGB.
    """
    half, channels = x.shape[0], x.shape[1] - 1
    full = x.new_zeros(2 * half, 2 * half + channels)
    full[:half, half] = x[:, channels]
    full[:half, 2 * half :] = x[:, :channels]
    full[half:, :half] = torch.eye(half)
    return stored(full[:, :, None, None])


def stored(x: Tensor) -> Tensor:
    """Convolution weights [out, in, kh, kw] that are ready to use -> as the equalized layers store them."""
    return x * (math.sqrt(x[0].numel()) / ROOT2)


def _stored_input(x: Tensor) -> Tensor:
    """The same for a transposed convolution of a 1x1 map [in, out, 4, 4]."""
    return x * (math.sqrt(len(x)) / ROOT2)


# ---- names


def _layer(
    theirs: str, ours: str, use_eql: bool, weight: Layout = same, bias: Layout = same
) -> tuple[Rule, ...]:
    """Weight and bias of a convolution. Without equalized learning rate its weights are ready to use."""
    layout = weight if use_eql else lambda x: weight(stored(x))
    return Rule(f"{theirs}.weight", f"{ours}.weight", layout), Rule(f"{theirs}.bias", f"{ours}.bias", bias)


def generator_table(cfg: MSGProGANGenerator, use_eql: bool = True) -> Table:
    """The name table of the generator of `cfg`, trained with or without equalized learning rate."""
    network = "synthesis_network"
    rules = [
        Rule(
            "layers.0.conv_1.weight",
            f"{network}.blocks.0.input.dense.weight",
            _input if use_eql else lambda x: _input(_stored_input(x)),
        ),
        Rule("layers.0.conv_1.bias", f"{network}.blocks.0.input.bias"),
        *_layer("layers.0.conv_2", f"{network}.blocks.0.conv", use_eql),
        *_layer("rgb_converters.{level}", f"{network}.to_rgb.{{side}}", use_eql),
    ]
    for level in range(1, len(cfg.sides)):
        rules += _layer(f"layers.{level}.conv_1", f"{network}.blocks.{level}.conv_up", use_eql)
        rules += _layer(f"layers.{level}.conv_2", f"{network}.blocks.{level}.conv", use_eql)
    return Table("BMSG-GAN generator", tuple(rules), lambda numbers: {"side": 4 << numbers.get("level", 0)})


def discriminator_table(cfg: MSGProGANDiscriminator, use_eql: bool = True) -> Table:
    """The name table of the discriminator of `cfg`, for the variables that `joined` returns."""
    rules = (
        *_layer(f"rgb_to_features.{_top(cfg)}", "from_rgb", use_eql),
        Rule("final_converter", "tail.start.combine.of_both.weight", _combining),
        *_layer("final_block.conv_1", "tail.conv", use_eql),
        *_layer("final_block.conv_2", "tail.dense", use_eql, _whole_grid),
        *_layer("final_block.conv_3", "tail.out", use_eql, _whole_grid),
        *_layer("layers.{level}.conv_1", "blocks.{level}.conv", use_eql),
        *_layer("layers.{level}.conv_2", "blocks.{level}.conv_down", use_eql, _half, _half_and_one),
        Rule("rgb_to_features.{level}", "blocks.{level}.start.combine.of_both.weight", _combining),
    )
    return Table("BMSG-GAN discriminator", rules)


def _top(cfg: MSGProGANDiscriminator) -> int:
    """Index of r' at full resolution, where it is an ordinary fromRGB. That of 4x4 is `final_converter`."""
    return len(cfg.sides) - 2


def joined(
    cfg: MSGProGANDiscriminator, variables: Mapping[str, Tensor], use_eql: bool = True
) -> dict[str, Tensor]:
    """A discriminator's variables, with weight and bias of each r' as one [C/2, 3 + 1] of its name.

    Raises:
        UserError: one of the two is not there, or they do not fit each other.
    """
    result = dict(variables)
    for name in variables:
        match = re.fullmatch(r"(rgb_to_features\.\d+|final_converter)\.(weight|bias)", name)
        if match is None or match[1] == f"rgb_to_features.{_top(cfg)}" or match[1] in result:
            continue
        weight, bias = (result.pop(f"{match[1]}.{part}", None) for part in ("weight", "bias"))
        if weight is None or bias is None:
            raise UserError(f"BMSG-GAN discriminator: {name} has no counterpart, weight or bias is missing")
        if weight.ndim != 4 or bias.shape != weight.shape[:1]:
            raise UserError(
                f"BMSG-GAN discriminator: {match[1]} has a weight of the shape {list(weight.shape)}; "
                f"a bias of {list(bias.shape)} does not fit it"
            )
        weight = weight * (ROOT2 / math.sqrt(weight.shape[1])) if use_eql else weight
        result[match[1]] = torch.cat([weight.flatten(1), bias[:, None]], 1)
    return result


# ---- keyword arguments

GENERATOR_DEFAULTS: dict[str, Any] = {"depth": 7, "latent_size": 512, "use_eql": True}
DISCRIMINATOR_DEFAULTS: dict[str, Any] = {"depth": 7, "feature_size": 512, "use_eql": True}

CONSTANT_UP_TO = 32
"""Side, px, up to which levels have `latent_size` or `feature_size` channels; each higher one has half as
many as the one below."""


def _shape(where: str, values: Mapping[str, Any], size: str) -> tuple[int, FeatureMaps]:
    """Resolution, and channels by resolution."""
    only(where, "use_eql", values["use_eql"], (True, False))
    depth, channels = values["depth"], values[size]
    if not isinstance(depth, int) or depth < 2:
        raise UserError(f"{where}: depth {quoted(depth)} is not supported, it must be a number of at least 2")
    least = max(2, 2 ** (depth - 4))
    if not isinstance(channels, int) or channels < least or channels & (channels - 1):
        raise UserError(
            f"{where}: {size} {quoted(channels)} is not valid, at depth {depth} it must be a power "
            f"of two of at least {least}"
        )
    return 4 << (depth - 1), FeatureMaps(base=channels * CONSTANT_UP_TO // 2, max=channels)


def generator_config(kwargs: Mapping[str, Any]) -> MSGProGANGenerator:
    """The generator that `Generator` builds from `kwargs`.

    Raises:
        UserError: an argument is unknown, not valid, or asks for a network that we do not have.
    """
    where = "BMSG-GAN Generator"
    values = settings(where, kwargs, GENERATOR_DEFAULTS)
    resolution, features = _shape(where, values, "latent_size")
    return MSGProGANGenerator(
        resolution=resolution,
        z_dim=values["latent_size"],
        features=features,
        normalize_z=False,
        pixel_norm="3x3",
        gain="sqrt2",
    )


def discriminator_config(kwargs: Mapping[str, Any]) -> MSGProGANDiscriminator:
    """The discriminator that `Discriminator` builds from `kwargs`; errors as in `generator_config`."""
    where = "BMSG-GAN Discriminator"
    values = settings(where, kwargs, DISCRIMINATOR_DEFAULTS)
    resolution, features = _shape(where, values, "feature_size")
    return MSGProGANDiscriminator(
        resolution=resolution,
        features=features,
        combine="cat_lin",
        minibatch_std=MinibatchStd(sys.maxsize),  # the whole batch, whatever its size
        minibatch_std_at="lowest",
        pooling="after",
        gain="sqrt2",
    )
