"""The authors' PyTorch port of StyleGAN2, the code of the ADA paper: its `Generator` and `Discriminator`.

Two differences from ours besides names: convolutions that upsample are stored turned by 180 degrees, since
that code convolves where ours correlates, and style biases include the mean of 1.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from styleloom.config.networks import FeatureMaps, MinibatchStd, StyleGAN2Discriminator, StyleGAN2Generator
from styleloom.config.networks import Mapping as MappingConfig
from styleloom.errors import UserError
from styleloom.ops.upfirdn import fir_kernel
from styleloom.weights.tables import (
    REQUIRED,
    Layout,
    Rule,
    Table,
    flipped,
    noise_map,
    only,
    same,
    separable_taps,
    settings,
    unbatched,
    without_one,
)

# ---- names


def _styled(theirs: str, ours: str, layout: Layout = same) -> tuple[Rule, ...]:
    """The variables of one synthesis layer."""
    return (
        Rule(f"{theirs}.weight", f"{ours}.weight", layout),
        Rule(f"{theirs}.bias", f"{ours}.bias"),
        Rule(f"{theirs}.affine.weight", f"{ours}.affine.weight"),
        Rule(f"{theirs}.affine.bias", f"{ours}.affine.bias", without_one),
        Rule(f"{theirs}.noise_strength", f"{ours}.noise.strength"),
        Rule(f"{theirs}.noise_const", f"{ours}.noise.fixed", noise_map),
    )


def _mapping(ours: str) -> tuple[Rule, ...]:
    """The variables of a mapping network."""
    return (
        Rule("mapping.embed.weight", f"{ours}.label_embedding.weight"),
        Rule("mapping.embed.bias", f"{ours}.label_embedding.bias"),
        Rule("mapping.fc{layer}.weight", f"{ours}.layers.{{layer}}.weight"),
        Rule("mapping.fc{layer}.bias", f"{ours}.layers.{{layer}}.bias"),
    )


def _convolution(theirs: str, ours: str) -> tuple[Rule, ...]:
    """The variables of one convolution of the discriminator."""
    return (Rule(f"{theirs}.weight", f"{ours}.weight"), Rule(f"{theirs}.bias", f"{ours}.bias"))


GENERATOR_RULES = (
    *_mapping("mapping_network"),
    Rule("mapping.w_avg", "w_avg"),
    Rule("synthesis.b4.const", "synthesis_network.const", unbatched),
    *_styled("synthesis.b{side}.conv0", "synthesis_network.blocks.{block}.conv_up", flipped),
    *_styled("synthesis.b{side}.conv1", "synthesis_network.blocks.{block}.conv"),
    *_styled("synthesis.b{side}.torgb", "synthesis_network.blocks.{block}.to_rgb"),
    Rule("synthesis.b{side}.skip.weight", "synthesis_network.blocks.{block}.skip.weight", flipped),
    Rule("synthesis.b{side}.conv1.resample_filter", None),  # this layer does not resample
)

DISCRIMINATOR_RULES = (
    *_mapping("projection"),
    *_convolution("b{side}.fromrgb", "{place}.from_rgb"),
    *_convolution("b{side}.conv0", "{place}.conv"),
    *_convolution("b{side}.conv1", "{place}.conv_down"),
    Rule("b{side}.skip.weight", "{place}.skip.weight"),
    *_convolution("b4.conv", "tail.conv"),
    *_convolution("b4.fc", "tail.dense"),
    *_convolution("b4.out", "tail.out"),
    # Neither of these layers resamples.
    Rule("b{side}.fromrgb.resample_filter", None),
    Rule("b{side}.conv0.resample_filter", None),
    Rule("b4.conv.resample_filter", None),
)

GENERATOR_FILTERS = (
    "synthesis.b{side}.resample_filter",
    "synthesis.b{side}.conv0.resample_filter",
    "synthesis.b{side}.skip.resample_filter",
)
DISCRIMINATOR_FILTERS = (
    "b{side}.resample_filter",
    "b{side}.conv1.resample_filter",
    "b{side}.skip.resample_filter",
)
"""Filters of the layers that resample, stored as buffers."""

SEPARABLE_FROM = 8
"""Filters of so many taps are stored as a line, shorter ones as their outer product."""


def _filters(patterns: tuple[str, ...], taps: tuple[float, ...]) -> dict[str, Any]:
    kernel = fir_kernel(taps)
    return dict.fromkeys(patterns, kernel if len(taps) < SEPARABLE_FROM else kernel.sum(0))


def generator_table(cfg: StyleGAN2Generator) -> Table:
    """The name table of the generator of `cfg`."""
    return Table(
        "StyleGAN2-ADA generator (PyTorch)",
        GENERATOR_RULES,
        lambda numbers: {"block": numbers.get("side", 4).bit_length() - 3},
        _filters(GENERATOR_FILTERS, cfg.resample_filter),
    )


def discriminator_table(cfg: StyleGAN2Discriminator) -> Table:
    """The name table of the discriminator of `cfg`."""

    def derive(numbers: Mapping[str, int]) -> dict[str, Any]:
        side = numbers.get("side", 4)
        index = cfg.resolution.bit_length() - side.bit_length()
        return {"place": "tail" if side == 4 else f"blocks.{index}"}

    return Table(
        "StyleGAN2-ADA discriminator (PyTorch)",
        DISCRIMINATOR_RULES,
        derive,
        _filters(DISCRIMINATOR_FILTERS, cfg.resample_filter),
    )


# ---- keyword arguments

PRECISION_ARGUMENTS = (
    "num_fp16_res",
    "use_fp16",
    "fp16_channels_last",
    "channels_last",
    "fused_modconv_default",
)
"""They choose the arithmetic, not the network."""

GENERATOR_DEFAULTS: dict[str, Any] = {
    "z_dim": REQUIRED,
    "c_dim": REQUIRED,
    "w_dim": REQUIRED,
    "img_resolution": REQUIRED,
    "img_channels": REQUIRED,
    "mapping_kwargs": {},
    "synthesis_kwargs": {},
}

MAPPING_DEFAULTS: dict[str, Any] = {
    "num_layers": 8,
    "embed_features": None,
    "layer_features": None,
    "activation": "lrelu",
    "lr_multiplier": 0.01,
    "w_avg_beta": 0.995,
}

SYNTHESIS_DEFAULTS: dict[str, Any] = {
    "channel_base": 32768,
    "channel_max": 512,
    "architecture": "skip",
    "resample_filter": (1, 3, 3, 1),
    "conv_clamp": None,
    "activation": "lrelu",
    "use_noise": True,
    "kernel_size": 3,
}

DISCRIMINATOR_DEFAULTS: dict[str, Any] = {
    "c_dim": REQUIRED,
    "img_resolution": REQUIRED,
    "img_channels": REQUIRED,
    "architecture": "resnet",
    "channel_base": 32768,
    "channel_max": 512,
    "conv_clamp": None,
    "cmap_dim": None,
    "block_kwargs": {},
    "mapping_kwargs": {},
    "epilogue_kwargs": {},
}

BLOCK_DEFAULTS: dict[str, Any] = {"activation": "lrelu", "resample_filter": (1, 3, 3, 1)}

EPILOGUE_DEFAULTS: dict[str, Any] = {
    "mbstd_group_size": 4,
    "mbstd_num_channels": 1,
    "activation": "lrelu",
}


def _mapping_config(where: str, kwargs: Mapping[str, Any], w_dim: int) -> tuple[MappingConfig, float]:
    """A mapping network and the decay of its running average."""
    values = settings(where, kwargs, MAPPING_DEFAULTS)
    only(where, "embed_features", values["embed_features"], (None, w_dim))
    mapping = MappingConfig(
        layers=values["num_layers"],
        width=w_dim if values["layer_features"] is None else values["layer_features"],
        lr_multiplier=values["lr_multiplier"],
        activation=values["activation"],
        labels="embed",
    )
    beta = values["w_avg_beta"]
    return mapping, 1.0 if beta is None else beta


def _taps(where: str, taps: Any) -> tuple[float, ...]:
    return (1,) if taps is None else separable_taps(where, "resample_filter", taps)


def generator_config(kwargs: Mapping[str, Any]) -> StyleGAN2Generator:
    """The generator that `Generator` builds from `kwargs`.

    Raises:
        UserError: an argument is unknown, missing, not valid, or asks for a network that we do not have.
    """
    where = "StyleGAN2-ADA Generator"
    values = settings(where, kwargs, GENERATOR_DEFAULTS)
    mapping, beta = _mapping_config(f"{where} mapping_kwargs", values["mapping_kwargs"], values["w_dim"])
    where = f"{where} synthesis_kwargs"
    synthesis = settings(where, values["synthesis_kwargs"], SYNTHESIS_DEFAULTS, PRECISION_ARGUMENTS)
    only(where, "use_noise", synthesis["use_noise"], (True,))
    only(where, "kernel_size", synthesis["kernel_size"], (3,))
    return StyleGAN2Generator(
        resolution=values["img_resolution"],
        channels=values["img_channels"],
        z_dim=values["z_dim"],
        w_dim=values["w_dim"],
        label_dim=values["c_dim"],
        features=FeatureMaps(synthesis["channel_base"] // 2, synthesis["channel_max"]),
        mapping=mapping,
        architecture=synthesis["architecture"],
        resample_filter=_taps(where, synthesis["resample_filter"]),
        activation=synthesis["activation"],
        w_avg_beta=beta,
        clamp=synthesis["conv_clamp"],
    )


def discriminator_config(kwargs: Mapping[str, Any]) -> StyleGAN2Discriminator:
    """The discriminator that `Discriminator` builds from `kwargs`; errors as in `generator_config`."""
    where = "StyleGAN2-ADA Discriminator"
    values = settings(where, kwargs, DISCRIMINATOR_DEFAULTS, ("num_fp16_res",))
    run_arguments = (*PRECISION_ARGUMENTS, "freeze_layers")
    block = settings(f"{where} block_kwargs", values["block_kwargs"], BLOCK_DEFAULTS, run_arguments)
    epilogue = settings(f"{where} epilogue_kwargs", values["epilogue_kwargs"], EPILOGUE_DEFAULTS)
    only(f"{where} epilogue_kwargs", "activation", epilogue["activation"], (block["activation"],))
    # The dense layer of the 4x4 block is as wide as the block, not wider as in the TensorFlow code.
    widest = min(values["channel_max"], values["channel_base"] // 4)
    product = widest if values["cmap_dim"] is None or not values["c_dim"] else values["cmap_dim"]
    mapping, _ = _mapping_config(f"{where} mapping_kwargs", values["mapping_kwargs"], product)
    only(f"{where} mapping_kwargs", "layer_features", mapping.width, (product,))
    return StyleGAN2Discriminator(
        resolution=values["img_resolution"],
        channels=values["img_channels"],
        label_dim=values["c_dim"],
        features=FeatureMaps(values["channel_base"] // 2, widest),
        architecture=values["architecture"],
        resample_filter=_taps(f"{where} block_kwargs", block["resample_filter"]),
        activation=block["activation"],
        minibatch_std=mbstd(
            f"{where} epilogue_kwargs", epilogue["mbstd_group_size"], epilogue["mbstd_num_channels"]
        ),
        labels="project",
        projection=mapping,
        clamp=values["conv_clamp"],
    )


def mbstd(where: str, group: int | None, features: int) -> MinibatchStd:
    """The minibatch standard deviation of these arguments. Raises UserError for a group of one."""
    if not features:
        return MinibatchStd(group_size=0)
    if group is None:  # the whole batch, whatever its size
        return MinibatchStd(sys.maxsize, features)
    if group < 2:  # that code keeps the layer, whose result is then the root of epsilon
        raise UserError(f"{where}: mbstd_group_size {group} is not supported, it must be at least 2 or None")
    return MinibatchStd(group, features)
