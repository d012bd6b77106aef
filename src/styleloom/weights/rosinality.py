"""StyleGAN2 in the most used port to PyTorch, rosinality's: checkpoints of training and converted files.

Names are those of the state dicts `g_ema` (or `g`) and `d`. A converted file has the average of w beside
them, under the name `latent_avg`, which the table of the generator knows too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import Tensor

from styleloom.config.networks import FeatureMaps, StyleGAN2Discriminator, StyleGAN2Generator
from styleloom.config.networks import Mapping as MappingConfig
from styleloom.errors import UserError
from styleloom.ops.upfirdn import fir_kernel
from styleloom.weights.shapes import Shapes, count_of, shape_of
from styleloom.weights.tables import Layout, Rule, Table, without_one

STYLE_BIASES = "style_biases"
"""Key in files that we write: by network and name, biases of styles before the layout's 1 was added to them,
which rounds them. Other codes pass it over."""

# ---- layouts


def batched_conv(x: Tensor) -> Tensor:
    """Convolution weights [1, out, in, kh, kw] -> [out, in, kh, kw]."""
    return x.squeeze(0)


def batched_flipped(x: Tensor) -> Tensor:
    """Those of an up-convolution, turned by 180 degrees as well."""
    return x.squeeze(0).flip(2, 3)


def one_strength(x: Tensor) -> Tensor:
    """A noise strength [1] -> []."""
    return x.squeeze(0)


def rgb_bias(x: Tensor) -> Tensor:
    """The bias of an image [1, C, 1, 1] -> [C]."""
    return x.flatten()


# ---- names

STYLE_BIAS = ".conv.modulation.bias"
"""End of the names of biases of styles."""


def _modulated(theirs: str, ours: str, up: bool = False) -> Iterator[Rule]:
    """Weights of a modulated convolution, and the layer that makes its style."""
    yield Rule(f"{theirs}.conv.weight", f"{ours}.weight", batched_flipped if up else batched_conv)
    yield Rule(f"{theirs}.conv.modulation.weight", f"{ours}.affine.weight")
    yield Rule(f"{theirs}{STYLE_BIAS}", f"{ours}.affine.bias", without_one)


def _styled(theirs: str, ours: str, up: bool = False) -> Iterator[Rule]:
    """The variables of a layer: modulated convolution, noise, bias."""
    yield from _modulated(theirs, ours, up)
    yield Rule(f"{theirs}.noise.weight", f"{ours}.noise.strength", one_strength)
    yield Rule(f"{theirs}.activate.bias", f"{ours}.bias")


def _to_rgb(theirs: str, ours: str) -> Iterator[Rule]:
    yield from _modulated(theirs, ours)
    yield Rule(f"{theirs}.bias", f"{ours}.bias", rgb_bias)


def _generator_rules(cfg: StyleGAN2Generator) -> Iterator[Rule]:
    yield Rule("latent_avg", "w_avg")
    for layer in range(cfg.mapping.layers):  # number 0 is the normalization of z, which has no variables
        for kind in ("weight", "bias"):
            yield Rule(f"style.{layer + 1}.{kind}", f"mapping_network.layers.{layer}.{kind}")
    synthesis = "synthesis_network"
    yield Rule("input.input", f"{synthesis}.const")
    yield from _styled("conv1", f"{synthesis}.blocks.0.conv")
    yield from _to_rgb("to_rgb1", f"{synthesis}.blocks.0.to_rgb")
    yield Rule("noises.noise_0", f"{synthesis}.blocks.0.conv.noise.fixed")
    for block in range(1, len(cfg.sides)):
        own = f"{synthesis}.blocks.{block}"
        for number, layer in ((2 * block - 2, "conv_up"), (2 * block - 1, "conv")):
            yield from _styled(f"convs.{number}", f"{own}.{layer}", up=layer == "conv_up")
            yield Rule(f"noises.noise_{number + 1}", f"{own}.{layer}.noise.fixed")
        yield from _to_rgb(f"to_rgbs.{block - 1}", f"{own}.to_rgb")


def _discriminator_rules(cfg: StyleGAN2Discriminator) -> Iterator[Rule]:
    layers = [("convs.0", "blocks.0.from_rgb", 0), ("final_conv", "tail.conv", 0)]
    for block in range(len(cfg.sides) - 1):
        own = f"convs.{block + 1}"
        layers += [
            (f"{own}.conv1", f"blocks.{block}.conv", 0),
            (f"{own}.conv2", f"blocks.{block}.conv_down", 1),
        ]
        yield Rule(f"{own}.skip.1.weight", f"blocks.{block}.skip.weight")
    for theirs, ours, at in layers:
        yield Rule(f"{theirs}.{at}.weight", f"{ours}.weight")
        yield Rule(f"{theirs}.{at + 1}.bias", f"{ours}.bias")
    for number, layer in enumerate(("dense", "out")):
        for kind in ("weight", "bias"):
            yield Rule(f"final_linear.{number}.{kind}", f"tail.{layer}.{kind}")


UP_KERNELS: tuple[str, ...] = ("convs.{n}.conv.blur.kernel", "to_rgbs.{n}.upsample.kernel")
"""Filters of the generator; their sum is 4."""

DOWN_KERNELS: tuple[str, ...] = ("convs.{n}.conv2.0.kernel", "convs.{n}.skip.0.kernel")
"""Filters of the discriminator; their sum is 1."""


def generator_table(cfg: StyleGAN2Generator, style_bias: Layout = without_one) -> Table:
    """The name table of the generator of `cfg`.

    Args:
        cfg: the generator.
        style_bias: layout of biases of styles; `same` where they are as in `STYLE_BIASES`.
    """
    rules = (
        replace(rule, layout=style_bias) if rule.source.endswith(STYLE_BIAS) else rule
        for rule in _generator_rules(cfg)
    )
    kernels = dict.fromkeys(UP_KERNELS, fir_kernel(cfg.resample_filter, 4))
    return Table("StyleGAN2 generator (rosinality)", tuple(rules), constants=kernels)


def discriminator_table(cfg: StyleGAN2Discriminator) -> Table:
    """The name table of the discriminator of `cfg`."""
    kernels = dict.fromkeys(DOWN_KERNELS, fir_kernel(cfg.resample_filter))
    return Table("StyleGAN2 discriminator (rosinality)", tuple(_discriminator_rules(cfg)), constants=kernels)


# ---- what the port can build

WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}
"""Channels by side that its code has, those from 64 px on times the channel multiplier."""


def channel_multiplier(cfg: StyleGAN2Generator | StyleGAN2Discriminator) -> int | None:
    """The multiplier with which its code builds networks of these channels; None where there is none."""
    for multiplier in (1, 2, 4):
        widths = {side: n * (multiplier if side >= 64 else 1) for side, n in WIDTHS.items()}
        if all(widths.get(side) == cfg.features.at_side(side) for side in cfg.sides):
            return multiplier
    return None


# ---- sizes, which follow from shapes


def _features(channels: Mapping[int, int]) -> FeatureMaps:
    """The rule of channels by side that gives these. Raises UserError where there is none."""
    most = channels[4]
    bases = [n << (side.bit_length() - 2) for side, n in channels.items() if n < most]
    features = FeatureMaps(bases[-1] if bases else most << len(channels), most)
    if any(features.at_side(side) != n for side, n in channels.items()):
        raise UserError(
            f"channels by side {dict(channels)} do not follow the papers' rule, min(base / 2^stage, max)"
        )
    return features


def _levels(count: int) -> int:
    """Levels of a network. Raises UserError for more than any has."""
    if not 2 <= count <= 16:
        raise UserError(f"a network of {count} levels; valid: 2 to 16")
    return count


def generator_config(shapes: Shapes) -> StyleGAN2Generator:
    """The generator with variables of these shapes.

    Raises:
        UserError: one is missing, or they are not those of a network that we have.
    """
    levels = _levels(count_of(shapes, r"to_rgbs\.\d+\.bias") + 1)
    w_dim, z_dim = shape_of(shapes, "style.1.weight", 2)
    constant = shape_of(shapes, "input.input", 4)
    channels = {4: constant[1]}
    for level in range(1, levels):
        channels[4 << level] = shape_of(shapes, f"convs.{2 * level - 1}.conv.weight", 5)[1]
    return StyleGAN2Generator(
        resolution=4 << (levels - 1),
        channels=shape_of(shapes, "to_rgb1.bias", 4)[1],
        z_dim=z_dim,
        w_dim=w_dim,
        features=_features(channels),
        mapping=MappingConfig(layers=count_of(shapes, r"style\.\d+\.weight"), width=w_dim),
        grid=constant[2:],
    )


def discriminator_config(shapes: Shapes) -> StyleGAN2Discriminator:
    """The discriminator with variables of these shapes; errors as in `generator_config`."""
    levels = _levels(count_of(shapes, r"convs\.\d+\.conv1\.0\.weight") + 1)
    channels = {4: shape_of(shapes, "final_conv.0.weight", 4)[0]}
    for level in range(1, levels):
        channels[4 << level] = shape_of(shapes, f"convs.{levels - level}.conv1.0.weight", 4)[0]
    return StyleGAN2Discriminator(
        resolution=4 << (levels - 1),
        channels=shape_of(shapes, "convs.0.0.weight", 4)[1],
        features=_features(channels),
    )
