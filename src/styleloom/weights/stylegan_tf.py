"""The authors' TensorFlow code of StyleGAN: `G_style` with `G_mapping` and `G_synthesis`, and `D_basic`.

Names are relative to the scope of the network: `G_mapping/Dense0/weight`, `16x16/Conv0/bias`. With fused
scaling, by default from 128 px on, the convolution that follows upsampling is a transposed one: its kernel is
stored turned by 180 degrees. Apart from that, fused scaling does not change the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from torch import Tensor

from styleloom.config.networks import FeatureMaps, MinibatchStd, StyleGANDiscriminator, StyleGANGenerator
from styleloom.config.networks import Mapping as MappingConfig
from styleloom.weights.progan_tf import turned_conv_hwio
from styleloom.weights.tables import Rule, Table, conv_hwio, dense_io, only, separable_taps, settings

FusedScale: TypeAlias = bool | Literal["auto"]

FUSED_FROM_PX = 128
"""Side from which "auto" fuses."""

# ---- names


def scalar_if_one(x: Tensor) -> Tensor:
    """Noise strengths [C]; ours is a scalar where C is 1."""
    return x.reshape(()) if x.shape == (1,) else x


def _epilogue(theirs: str, ours: str) -> tuple[Rule, ...]:
    """The variables that follow one convolution, the constant or the dense input."""
    return (
        Rule(f"{theirs}/Noise/weight", f"{ours}.noise.strength", scalar_if_one),
        Rule(f"{theirs}/bias", f"{ours}.bias"),
        Rule(f"{theirs}/StyleMod/weight", f"{ours}.affine.weight", dense_io),
        Rule(f"{theirs}/StyleMod/bias", f"{ours}.affine.bias"),
    )


def _linear(theirs: str, ours: str, layout: Any) -> tuple[Rule, ...]:
    """Weights in `layout`, and bias."""
    return Rule(f"{theirs}/weight", f"{ours}.weight", layout), Rule(f"{theirs}/bias", f"{ours}.bias")


GENERATOR_RULES = (
    Rule("lod", None),  # level of detail of the training; ours is an argument
    Rule("G_synthesis/lod", None),
    Rule("dlatent_avg", "w_avg"),
    Rule("G_mapping/LabelConcat/weight", "mapping_network.label_weight"),
    *_linear("G_mapping/Dense{layer}", "mapping_network.layers.{layer}", dense_io),
    Rule("G_synthesis/noise{noise}", "synthesis_network.blocks.{noise_block}.{noise_layer}.noise.fixed"),
    Rule("G_synthesis/4x4/Const/const", "synthesis_network.input.const"),
    *_epilogue("G_synthesis/4x4/Const", "synthesis_network.blocks.0.layer0"),
    Rule("G_synthesis/4x4/Dense/weight", "synthesis_network.input.dense.weight", dense_io),
    *_epilogue("G_synthesis/4x4/Dense", "synthesis_network.blocks.0.layer0"),
    Rule("G_synthesis/4x4/Conv/weight", "synthesis_network.blocks.0.layer1.conv.weight", conv_hwio),
    *_epilogue("G_synthesis/4x4/Conv", "synthesis_network.blocks.0.layer1"),
    *_epilogue("G_synthesis/{side}x{side}/Conv0_up", "synthesis_network.blocks.{block}.layer0"),
    Rule(
        "G_synthesis/{side}x{side}/Conv1/weight",
        "synthesis_network.blocks.{block}.layer1.conv.weight",
        conv_hwio,
    ),
    *_epilogue("G_synthesis/{side}x{side}/Conv1", "synthesis_network.blocks.{block}.layer1"),
    *_linear("G_synthesis/ToRGB_lod{lod}", "synthesis_network.to_rgb.{rgb_side}", conv_hwio),
)
"""All but the weights after upsampling, whose layout depends on the side."""

DISCRIMINATOR_RULES = (
    Rule("lod", None),
    *_linear("FromRGB_lod{lod}", "from_rgb.{rgb_side}", conv_hwio),
    *_linear("{side}x{side}/Conv0", "blocks.{block}.conv", conv_hwio),
    *_linear("{side}x{side}/Conv1_down", "blocks.{block}.conv_down.conv", conv_hwio),
    *_linear("4x4/Conv", "tail.conv", conv_hwio),
    *_linear("4x4/Dense0", "tail.dense", dense_io),
    *_linear("4x4/Dense1", "tail.out", dense_io),
)


def up_convolution_rules(cfg: StyleGANGenerator, fused_scale: FusedScale) -> tuple[Rule, ...]:
    """The weights after upsampling, which fused scaling stores turned."""
    rules = []
    for block, side in enumerate(cfg.sides[1:], 1):
        fused = side >= FUSED_FROM_PX if fused_scale == "auto" else fused_scale
        target = f"synthesis_network.blocks.{block}.layer0.conv.weight"
        layout = turned_conv_hwio if fused else conv_hwio
        rules.append(Rule(f"G_synthesis/{side}x{side}/Conv0_up/weight", target, layout))
    return tuple(rules)


def generator_table(cfg: StyleGANGenerator, fused_scale: FusedScale = "auto") -> Table:
    """The name table of the generator of `cfg`, whose weights were trained with `fused_scale`."""

    def derive(numbers: Mapping[str, int]) -> dict[str, Any]:
        noise = numbers.get("noise", 0)  # two for each side
        return {
            "block": numbers.get("side", 4).bit_length() - 3,
            "rgb_side": cfg.resolution >> numbers.get("lod", 0),
            "noise_block": noise // 2,
            "noise_layer": f"layer{noise % 2}",
        }

    rules = (*GENERATOR_RULES, *up_convolution_rules(cfg, fused_scale))
    return Table("StyleGAN generator (TensorFlow)", rules, derive)


def discriminator_table(cfg: StyleGANDiscriminator) -> Table:
    """The name table of the discriminator of `cfg`."""

    def derive(numbers: Mapping[str, int]) -> dict[str, Any]:
        block = numbers.get("side", 8).bit_length() - 4  # 0 at 8x8: 4x4 is the tail
        return {"block": block, "rgb_side": cfg.resolution >> numbers.get("lod", 0)}

    return Table("StyleGAN discriminator (TensorFlow)", DISCRIMINATOR_RULES, derive)


# ---- keyword arguments

NETWORK_DEFAULTS: dict[str, Any] = {
    "label_size": 0,
    "fmap_base": 8192,
    "fmap_decay": 1.0,
    "fmap_max": 512,
    "nonlinearity": "lrelu",
    "use_wscale": True,
    "dtype": "float32",
    "fused_scale": "auto",
    "blur_filter": (1, 2, 1),
}
"""What `G_synthesis` and `D_basic` have in common."""

GENERATOR_DEFAULTS: dict[str, Any] = {
    **NETWORK_DEFAULTS,
    "num_channels": 3,
    "resolution": 1024,
    "latent_size": 512,
    "dlatent_size": 512,
    "mapping_layers": 8,
    "mapping_fmaps": 512,
    "mapping_lrmul": 0.01,
    "mapping_nonlinearity": "lrelu",
    "normalize_latents": True,
    "dlatent_avg_beta": 0.995,
    "use_styles": True,
    "const_input_layer": True,
    "use_noise": True,
    "use_pixel_norm": False,
    "use_instance_norm": True,
}

DISCRIMINATOR_DEFAULTS: dict[str, Any] = {
    **NETWORK_DEFAULTS,
    "num_channels": 1,
    "resolution": 32,
    "mbstd_group_size": 4,
    "mbstd_num_features": 1,
}

RUN_ARGUMENTS = (
    "randomize_noise",
    "truncation_psi",
    "truncation_cutoff",
    "truncation_psi_val",
    "truncation_cutoff_val",
    "style_mixing_prob",
    "is_training",
    "is_validation",
    "is_template_graph",
    "dlatent_broadcast",
    "structure",
    "force_clean_graph",
)
"""Arguments that do not change the variables, nor what they mean."""

ACTIVATIONS = ("lrelu", "relu")
"""Activations of the official code, which puts their gain, sqrt(2), into the weights."""

FLAGS = (
    "normalize_latents",
    "use_styles",
    "const_input_layer",
    "use_noise",
    "use_pixel_norm",
    "use_instance_norm",
)


def image_fields(where: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that generator and discriminator configurations share."""
    only(where, "dtype", values["dtype"], ("float32",))
    only(where, "use_wscale", values["use_wscale"], (True,))
    only(where, "fused_scale", values["fused_scale"], (True, False, "auto"))
    only(where, "nonlinearity", values["nonlinearity"], ACTIVATIONS)
    taps = values["blur_filter"]
    return {
        "resolution": values["resolution"],
        "channels": values["num_channels"],
        "label_dim": values["label_size"],
        "features": FeatureMaps(values["fmap_base"], values["fmap_max"], decay=values["fmap_decay"]),
        "blur": separable_taps(where, "blur_filter", taps) if taps else (1,),
        "activation": values["nonlinearity"],
    }


def generator_fields(where: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a generator's configuration."""
    for name in FLAGS:
        only(where, name, values[name], (True, False))
    only(where, "mapping_nonlinearity", values["mapping_nonlinearity"], ACTIVATIONS)
    layers = {"pixel": values["use_pixel_norm"], "instance": values["use_instance_norm"]}
    beta = values["dlatent_avg_beta"]
    return {
        **image_fields(where, values),
        "z_dim": values["latent_size"],
        "w_dim": values["dlatent_size"],
        "mapping": MappingConfig(
            layers=values["mapping_layers"],
            width=values["mapping_fmaps"],
            lr_multiplier=values["mapping_lrmul"],
            activation=values["mapping_nonlinearity"],
            normalize_z=values["normalize_latents"],
            labels="concat",
        ),
        "styles": "adain" if values["use_styles"] else "none",
        "input": "constant" if values["const_input_layer"] else "w",
        "noise": "per-channel" if values["use_noise"] else "none",
        "normalization": tuple(name for name, there in layers.items() if there),
        "w_avg_beta": 1.0 if beta is None else beta,  # without a decay the average stays where it is
    }


def generator_config(kwargs: Mapping[str, Any]) -> StyleGANGenerator:
    """The generator that `G_style` builds from `kwargs`.

    Raises:
        UserError: an argument is unknown, not valid, or asks for a network that we do not have.
    """
    where = "StyleGAN G_style"
    return StyleGANGenerator(
        **generator_fields(where, settings(where, kwargs, GENERATOR_DEFAULTS, RUN_ARGUMENTS))
    )


def discriminator_config(kwargs: Mapping[str, Any]) -> StyleGANDiscriminator:
    """The discriminator that `D_basic` builds from `kwargs`; errors as in `generator_config`."""
    where = "StyleGAN D_basic"
    values = settings(where, kwargs, DISCRIMINATOR_DEFAULTS, RUN_ARGUMENTS)
    return StyleGANDiscriminator(
        **image_fields(where, values),
        minibatch_std=MinibatchStd(values["mbstd_group_size"], values["mbstd_num_features"]),
    )
