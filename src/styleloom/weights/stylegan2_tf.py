"""The authors' TensorFlow code of StyleGAN2: `G_main` with two synthesis networks, and two discriminators.

`G_synthesis_stylegan2` and `D_stylegan2` are those of configurations E and F, `G_synthesis_stylegan_revised`
and `D_stylegan` the growing ones of B to D. Names are relative to the scope of the network:
`G_mapping/Dense0/weight`, `16x16/Conv0/bias`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from styleloom.config.networks import (
    TABLE_2_ARCHITECTURES,
    FeatureMaps,
    MinibatchStd,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)
from styleloom.config.networks import Mapping as MappingConfig
from styleloom.weights.tables import Rule, Table, conv_hwio, dense_io, only, scalar, separable_taps, settings

# ---- names


def _styled(theirs: str, ours: str) -> tuple[Rule, ...]:
    """The variables of one modulated convolution."""
    return (
        Rule(f"{theirs}/weight", f"{ours}.weight", conv_hwio),
        Rule(f"{theirs}/mod_weight", f"{ours}.affine.weight", dense_io),
        Rule(f"{theirs}/mod_bias", f"{ours}.affine.bias"),
        Rule(f"{theirs}/noise_strength", f"{ours}.noise.strength", scalar),
        Rule(f"{theirs}/bias", f"{ours}.bias"),
    )


GENERATOR_RULES = (
    Rule("lod", None),  # level of detail of the training; ours is an argument
    Rule("dlatent_avg", "w_avg"),
    Rule("G_mapping/LabelConcat/weight", "mapping_network.label_weight"),
    Rule("G_mapping/Dense{layer}/weight", "mapping_network.layers.{layer}.weight", dense_io),
    Rule("G_mapping/Dense{layer}/bias", "mapping_network.layers.{layer}.bias"),
    Rule("G_synthesis/noise{noise}", "synthesis_network.blocks.{noise_block}.{noise_layer}.noise.fixed"),
    Rule("G_synthesis/4x4/Const/const", "synthesis_network.const"),
    *_styled("G_synthesis/4x4/Conv", "synthesis_network.blocks.0.conv"),
    *_styled("G_synthesis/{side}x{side}/Conv0_up", "synthesis_network.blocks.{block}.conv_up"),
    *_styled("G_synthesis/{side}x{side}/Conv1", "synthesis_network.blocks.{block}.conv"),
)
"""What the two generators have in common."""

FIG_7_GENERATOR_RULES = (
    *_styled("G_synthesis/{side}x{side}/ToRGB", "synthesis_network.blocks.{block}.to_rgb"),
    Rule("G_synthesis/{side}x{side}/Skip/weight", "synthesis_network.blocks.{block}.skip.weight", conv_hwio),
)

GROWING_GENERATOR_RULES = (
    Rule("G_synthesis/lod", None),
    *_styled("G_synthesis/ToRGB_lod{lod}", "synthesis_network.blocks.{block}.to_rgb"),
)

DISCRIMINATOR_RULES = (
    Rule("{side}x{side}/Conv0/weight", "{place}.conv.weight", conv_hwio),
    Rule("{side}x{side}/Conv0/bias", "{place}.conv.bias"),
    Rule("{side}x{side}/Conv1_down/weight", "{place}.conv_down.weight", conv_hwio),
    Rule("{side}x{side}/Conv1_down/bias", "{place}.conv_down.bias"),
    Rule("4x4/Conv/weight", "tail.conv.weight", conv_hwio),
    Rule("4x4/Conv/bias", "tail.conv.bias"),
    Rule("4x4/Dense0/weight", "tail.dense.weight", dense_io),
    Rule("4x4/Dense0/bias", "tail.dense.bias"),
    Rule("Output/weight", "tail.out.weight", dense_io),
    Rule("Output/bias", "tail.out.bias"),
)
"""What the two discriminators have in common."""

FIG_7_DISCRIMINATOR_RULES = (
    Rule("{side}x{side}/FromRGB/weight", "{place}.from_rgb.weight", conv_hwio),
    Rule("{side}x{side}/FromRGB/bias", "{place}.from_rgb.bias"),
    Rule("{side}x{side}/Skip/weight", "{place}.skip.weight", conv_hwio),
)

GROWING_DISCRIMINATOR_RULES = (
    Rule("lod", None),
    Rule("FromRGB_lod{lod}/weight", "{place}.from_rgb.weight", conv_hwio),
    Rule("FromRGB_lod{lod}/bias", "{place}.from_rgb.bias"),
)


def _level(cfg: StyleGAN2Generator | StyleGAN2Discriminator, numbers: Mapping[str, int]) -> int:
    """0 at 4x4, from a side or from a level of detail, which counts from full resolution."""
    if "lod" in numbers:
        return len(cfg.sides) - 1 - numbers["lod"]
    return numbers.get("side", 4).bit_length() - 3


def generator_table(cfg: StyleGAN2Generator) -> Table:
    """The name table of the generator of `cfg`."""

    def derive(numbers: Mapping[str, int]) -> dict[str, Any]:
        noise = numbers.get("noise", 0)  # 0 at 4x4, then two for each side
        return {
            "block": _level(cfg, numbers),
            "noise_block": (noise + 1) // 2,
            "noise_layer": "conv_up" if noise % 2 else "conv",
        }

    special = GROWING_GENERATOR_RULES if cfg.grows else FIG_7_GENERATOR_RULES
    return Table("StyleGAN2 generator (TensorFlow)", (*GENERATOR_RULES, *special), derive)


def discriminator_table(cfg: StyleGAN2Discriminator) -> Table:
    """The name table of the discriminator of `cfg`."""

    def derive(numbers: Mapping[str, int]) -> dict[str, Any]:
        level = _level(cfg, numbers)
        return {"place": "tail" if level == 0 else f"blocks.{len(cfg.sides) - 1 - level}"}

    special = GROWING_DISCRIMINATOR_RULES if cfg.grows else FIG_7_DISCRIMINATOR_RULES
    return Table("StyleGAN2 discriminator (TensorFlow)", (*DISCRIMINATOR_RULES, *special), derive)


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
"""What all these networks have in common; those of Fig. 7 also have an `architecture`."""

GENERATOR_DEFAULTS: dict[str, Any] = {
    **IMAGE_DEFAULTS,
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

GROWING_RUN_ARGUMENTS = ("structure", "is_template_graph")
"""Arguments of the growing networks that do not change their variables."""

SYNTHESIS_FUNCTIONS = {"G_synthesis_stylegan2": "skip", "G_synthesis_stylegan_revised": "growing"}
"""By official function: the default among the architectures of Fig. 7, or "growing", which is no choice."""

DISCRIMINATOR_FUNCTIONS = {"D_stylegan2": "resnet", "D_stylegan": "growing"}
"""As `SYNTHESIS_FUNCTIONS`."""


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


def _arguments(
    where: str,
    kwargs: Mapping[str, Any],
    defaults: Mapping[str, Any],
    architecture: str,
    ignored: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Every argument, and the `architecture`, which for a growing network is not among them."""
    if architecture == "growing":
        values = settings(where, kwargs, defaults, (*ignored, *GROWING_RUN_ARGUMENTS))
        return {**values, "architecture": architecture}
    values = settings(where, kwargs, {**defaults, "architecture": architecture}, ignored)
    only(where, "architecture", values["architecture"], TABLE_2_ARCHITECTURES)
    return values


def generator_config(kwargs: Mapping[str, Any]) -> StyleGAN2Generator:
    """The generator that `G_main` builds from `kwargs`, among them `synthesis_func`.

    Raises:
        UserError: an argument is unknown, not valid, or asks for a network that we do not have.
    """
    where = "StyleGAN2 G_main"
    function = kwargs.get("synthesis_func", GENERATOR_DEFAULTS["synthesis_func"])
    only(where, "synthesis_func", function, tuple(SYNTHESIS_FUNCTIONS))
    values = _arguments(where, kwargs, GENERATOR_DEFAULTS, SYNTHESIS_FUNCTIONS[function], RUN_ARGUMENTS)
    only(where, "mapping_func", values["mapping_func"], ("G_mapping",))
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


def discriminator_config(
    kwargs: Mapping[str, Any], function: Literal["D_stylegan2", "D_stylegan"] = "D_stylegan2"
) -> StyleGAN2Discriminator:
    """The discriminator that `function` builds from `kwargs`; errors as in `generator_config`."""
    where = f"StyleGAN2 {function}"
    only("StyleGAN2 discriminator", "function", function, tuple(DISCRIMINATOR_FUNCTIONS))
    values = _arguments(where, kwargs, DISCRIMINATOR_DEFAULTS, DISCRIMINATOR_FUNCTIONS[function])
    return StyleGAN2Discriminator(
        **_image_fields(where, values),
        minibatch_std=MinibatchStd(values["mbstd_group_size"], values["mbstd_num_features"]),
        labels="select",
    )
