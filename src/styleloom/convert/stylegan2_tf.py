"""The authors' TensorFlow code of StyleGAN2: `G_main` with `G_synthesis_stylegan2`, and `D_stylegan2`.

Names are relative to the scope of the network: `G_mapping/Dense0/weight`, `16x16/Conv0/bias`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from styleloom.config.networks import FeatureMaps, MinibatchStd, StyleGAN2Discriminator, StyleGAN2Generator
from styleloom.config.networks import Mapping as MappingConfig
from styleloom.convert.tables import Rule, Table, conv_hwio, dense_io, only, separable_taps, settings

# ---- names


def _styled(theirs: str, ours: str) -> tuple[Rule, ...]:
    """The variables of one modulated convolution."""
    return (
        Rule(f"{theirs}/weight", f"{ours}.weight", conv_hwio),
        Rule(f"{theirs}/mod_weight", f"{ours}.affine.weight", dense_io),
        Rule(f"{theirs}/mod_bias", f"{ours}.affine.bias"),
        Rule(f"{theirs}/noise_strength", f"{ours}.noise.strength"),
        Rule(f"{theirs}/bias", f"{ours}.bias"),
    )


GENERATOR_RULES = (
    Rule("lod", None),  # the level of growing generators, which these are not
    Rule("dlatent_avg", "w_avg"),
    Rule("G_mapping/LabelConcat/weight", "mapping_network.label_weight"),
    Rule("G_mapping/Dense{layer}/weight", "mapping_network.layers.{layer}.weight", dense_io),
    Rule("G_mapping/Dense{layer}/bias", "mapping_network.layers.{layer}.bias"),
    Rule("G_synthesis/noise{noise}", "synthesis_network.blocks.{noise_block}.{noise_layer}.noise.fixed"),
    Rule("G_synthesis/4x4/Const/const", "synthesis_network.const"),
    *_styled("G_synthesis/4x4/Conv", "synthesis_network.blocks.0.conv"),
    *_styled("G_synthesis/{side}x{side}/Conv0_up", "synthesis_network.blocks.{block}.conv_up"),
    *_styled("G_synthesis/{side}x{side}/Conv1", "synthesis_network.blocks.{block}.conv"),
    *_styled("G_synthesis/{side}x{side}/ToRGB", "synthesis_network.blocks.{block}.to_rgb"),
    Rule("G_synthesis/{side}x{side}/Skip/weight", "synthesis_network.blocks.{block}.skip.weight", conv_hwio),
)

DISCRIMINATOR_RULES = (
    Rule("{side}x{side}/FromRGB/weight", "{place}.from_rgb.weight", conv_hwio),
    Rule("{side}x{side}/FromRGB/bias", "{place}.from_rgb.bias"),
    Rule("{side}x{side}/Conv0/weight", "{place}.conv.weight", conv_hwio),
    Rule("{side}x{side}/Conv0/bias", "{place}.conv.bias"),
    Rule("{side}x{side}/Conv1_down/weight", "{place}.conv_down.weight", conv_hwio),
    Rule("{side}x{side}/Conv1_down/bias", "{place}.conv_down.bias"),
    Rule("{side}x{side}/Skip/weight", "{place}.skip.weight", conv_hwio),
    Rule("4x4/Conv/weight", "tail.conv.weight", conv_hwio),
    Rule("4x4/Conv/bias", "tail.conv.bias"),
    Rule("4x4/Dense0/weight", "tail.dense.weight", dense_io),
    Rule("4x4/Dense0/bias", "tail.dense.bias"),
    Rule("Output/weight", "tail.out.weight", dense_io),
    Rule("Output/bias", "tail.out.bias"),
)


def generator_table(cfg: StyleGAN2Generator) -> Table:
    """The name table of the generator of `cfg`."""

    def derive(numbers: Mapping[str, int]) -> dict[str, Any]:
        if "side" in numbers:
            return {"block": numbers["side"].bit_length() - 3}
        noise = numbers.get("noise", 0)  # 0 at 4x4, then two for each side
        return {"noise_block": (noise + 1) // 2, "noise_layer": "conv_up" if noise % 2 else "conv"}

    return Table("StyleGAN2 generator (TensorFlow)", GENERATOR_RULES, derive)


def discriminator_table(cfg: StyleGAN2Discriminator) -> Table:
    """The name table of the discriminator of `cfg`."""

    def derive(numbers: Mapping[str, int]) -> dict[str, Any]:
        side = numbers.get("side", 4)
        index = cfg.resolution.bit_length() - side.bit_length()
        return {"place": "tail" if side == 4 else f"blocks.{index}"}

    return Table("StyleGAN2 discriminator (TensorFlow)", DISCRIMINATOR_RULES, derive)


# ---- keyword arguments

IMAGE_DEFAULTS: dict[str, Any] = {
    "num_channels": 3,
    "resolution": 1024,
    "label_size": 0,
    "fmap_base": 16384,
    "fmap_decay": 1.0,
    "fmap_min": 1,
    "fmap_max": 512,
    "nonlinearity": "lrelu",
    "resample_kernel": (1, 3, 3, 1),
}
"""What `G_synthesis_stylegan2` and `D_stylegan2` have in common."""

GENERATOR_DEFAULTS: dict[str, Any] = {
    **IMAGE_DEFAULTS,
    "architecture": "skip",
    "latent_size": 512,
    "dlatent_size": 512,
    "mapping_layers": 8,
    "mapping_fmaps": 512,
    "mapping_lrmul": 0.01,
    "mapping_nonlinearity": "lrelu",
    "normalize_latents": True,
    "dlatent_avg_beta": 0.995,
    "mapping_func": "G_mapping",
    "synthesis_func": "G_synthesis_stylegan2",
    "dtype": "float32",
}

DISCRIMINATOR_DEFAULTS: dict[str, Any] = {
    **IMAGE_DEFAULTS,
    "architecture": "resnet",
    "mbstd_group_size": 4,
    "mbstd_num_features": 1,
    "dtype": "float32",
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
    "return_dlatents",
    "dlatent_broadcast",
    "fused_modconv",
)
"""Arguments of the generator that do not change its variables."""


def _image_fields(where: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that generator and discriminator configurations share."""
    only(where, "dtype", values["dtype"], ("float32",))
    taps = values["resample_kernel"]
    return {
        "resolution": values["resolution"],
        "channels": values["num_channels"],
        "label_dim": values["label_size"],
        "features": FeatureMaps(
            values["fmap_base"], values["fmap_max"], values["fmap_min"], values["fmap_decay"]
        ),
        "architecture": values["architecture"],
        # Without a kernel the official resampling repeats and averages pixels: a box of the factor 2.
        "resample_filter": (1, 1) if taps is None else separable_taps(where, "resample_kernel", taps),
        "activation": values["nonlinearity"],
    }


def generator_config(kwargs: Mapping[str, Any]) -> StyleGAN2Generator:
    """The generator that `G_main` builds from `kwargs`.

    Raises:
        UserError: an argument is unknown, not valid, or asks for a network that we do not have.
    """
    where = "StyleGAN2 G_main"
    values = settings(where, kwargs, GENERATOR_DEFAULTS, RUN_ARGUMENTS)
    only(where, "mapping_func", values["mapping_func"], ("G_mapping",))
    only(where, "synthesis_func", values["synthesis_func"], ("G_synthesis_stylegan2",))
    beta = values["dlatent_avg_beta"]
    return StyleGAN2Generator(
        **_image_fields(where, values),
        z_dim=values["latent_size"],
        w_dim=values["dlatent_size"],
        mapping=MappingConfig(
            layers=values["mapping_layers"],
            width=values["mapping_fmaps"],
            lr_multiplier=values["mapping_lrmul"],
            activation=values["mapping_nonlinearity"],
            normalize_z=values["normalize_latents"],
            labels="concat",
        ),
        w_avg_beta=1.0 if beta is None else beta,  # without a decay the average stays where it is
    )


def discriminator_config(kwargs: Mapping[str, Any]) -> StyleGAN2Discriminator:
    """The discriminator that `D_stylegan2` builds from `kwargs`; errors as in `generator_config`."""
    where = "StyleGAN2 D_stylegan2"
    values = settings(where, kwargs, DISCRIMINATOR_DEFAULTS)
    return StyleGAN2Discriminator(
        **_image_fields(where, values),
        minibatch_std=MinibatchStd(values["mbstd_group_size"], values["mbstd_num_features"]),
        labels="select",
    )
