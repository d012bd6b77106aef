"""The authors' TensorFlow code of ProGAN: `G_paper` and `D_paper`.

With fused scaling, that code's default, the convolution that follows upsampling is a transposed one: its
weights are stored [kh, kw, out, in], and turned by 180 degrees, since a transposed convolution scatters the
kernel. Fused or not, G computes the same; D pools before bias and activation if fused, else after them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from styleloom.config.networks import FeatureMaps, MinibatchStd, ProGANDiscriminator, ProGANGenerator
from styleloom.weights.tables import Rule, Table, conv_hwio, dense_io, only, settings

# ---- names


def transposed_conv_hwoi(x: Tensor) -> Tensor:
    """Weights of a transposed convolution [kh, kw, out, in] -> [out, in, kh, kw] of a convolution."""
    return x.permute(2, 3, 0, 1).flip(2, 3)


def turned_conv_hwio(x: Tensor) -> Tensor:
    """Weights of a transposed convolution [kh, kw, in, out] -> [out, in, kh, kw] of a convolution."""
    return conv_hwio(x).flip(2, 3)


GENERATOR_RULES = (
    Rule("lod", None),  # level of detail of the training; ours is an argument
    Rule("4x4/Dense/weight", "synthesis_network.blocks.0.input.dense.weight", dense_io),
    Rule("4x4/Dense/bias", "synthesis_network.blocks.0.input.bias"),
    Rule("4x4/Conv/weight", "synthesis_network.blocks.0.conv.weight", conv_hwio),
    Rule("4x4/Conv/bias", "synthesis_network.blocks.0.conv.bias"),
    Rule("{side}x{side}/Conv0_up/weight", "{block}.conv_up.weight", transposed_conv_hwoi),
    Rule("{side}x{side}/Conv0_up/bias", "{block}.conv_up.bias"),
    Rule("{side}x{side}/Conv0/weight", "{block}.conv_up.weight", conv_hwio),  # not fused
    Rule("{side}x{side}/Conv0/bias", "{block}.conv_up.bias"),
    Rule("{side}x{side}/Conv1/weight", "{block}.conv.weight", conv_hwio),
    Rule("{side}x{side}/Conv1/bias", "{block}.conv.bias"),
    Rule("ToRGB_lod{lod}/weight", "synthesis_network.to_rgb.{rgb_side}.weight", conv_hwio),
    Rule("ToRGB_lod{lod}/bias", "synthesis_network.to_rgb.{rgb_side}.bias"),
)

DISCRIMINATOR_RULES = (
    Rule("lod", None),
    Rule("FromRGB_lod{lod}/weight", "from_rgb.{rgb_side}.weight", conv_hwio),
    Rule("FromRGB_lod{lod}/bias", "from_rgb.{rgb_side}.bias"),
    Rule("{side}x{side}/Conv0/weight", "{block}.conv.weight", conv_hwio),
    Rule("{side}x{side}/Conv0/bias", "{block}.conv.bias"),
    Rule("{side}x{side}/Conv1_down/weight", "{block}.conv_down.weight", conv_hwio),
    Rule("{side}x{side}/Conv1_down/bias", "{block}.conv_down.bias"),
    Rule("{side}x{side}/Conv1/weight", "{block}.conv_down.weight", conv_hwio),  # not fused
    Rule("{side}x{side}/Conv1/bias", "{block}.conv_down.bias"),
    Rule("4x4/Conv/weight", "tail.conv.weight", conv_hwio),
    Rule("4x4/Conv/bias", "tail.conv.bias"),
    Rule("4x4/Dense0/weight", "tail.dense.weight", dense_io),
    Rule("4x4/Dense0/bias", "tail.dense.bias"),
    Rule("4x4/Dense1/weight", "tail.out.weight", dense_io),
    Rule("4x4/Dense1/bias", "tail.out.bias"),
)


UP_WEIGHT = "{side}x{side}/Conv0_up/weight"


def transposed_in_hwio(cfg: ProGANGenerator, shapes: Mapping[str, Sequence[int]], default: bool) -> bool:
    """Whether fused up-convolutions are stored [kh, kw, in, out], as StyleGAN's module of the same network
    does, by the shapes of the first that tells; `default` where all have as many inputs as outputs."""
    for side in cfg.sides[1:]:
        shape = list(shapes.get(UP_WEIGHT.format(side=side), ()))[2:]
        ends = [cfg.features.at_side(side // 2), cfg.features.at_side(side)]
        if len(shape) == 2 and ends[0] != ends[1]:
            return shape == ends
    return default


def generator_table(cfg: ProGANGenerator, up_in_hwio: bool = False) -> Table:
    """The name table of the generator of `cfg`; `up_in_hwio` as `transposed_in_hwio` says."""

    def derive(numbers: Mapping[str, int]) -> dict[str, Any]:
        block = numbers.get("side", 4).bit_length() - 3  # 0 at 4x4
        return {
            "block": f"synthesis_network.blocks.{block}",
            "rgb_side": cfg.resolution >> numbers.get("lod", 0),
        }

    rules = GENERATOR_RULES
    if up_in_hwio:
        turned = Rule(UP_WEIGHT, "{block}.conv_up.weight", turned_conv_hwio)
        rules = tuple(turned if rule.source == UP_WEIGHT else rule for rule in rules)
    return Table("ProGAN generator (TensorFlow)", rules, derive)


def discriminator_table(cfg: ProGANDiscriminator) -> Table:
    """The name table of the discriminator of `cfg`."""

    def derive(numbers: Mapping[str, int]) -> dict[str, Any]:
        block = numbers.get("side", 8).bit_length() - 4  # 0 at 8x8: 4x4 is the tail
        return {"block": f"blocks.{block}", "rgb_side": cfg.resolution >> numbers.get("lod", 0)}

    return Table("ProGAN discriminator (TensorFlow)", DISCRIMINATOR_RULES, derive)


# ---- keyword arguments

IMAGE_DEFAULTS: dict[str, Any] = {
    "num_channels": 1,
    "resolution": 32,
    "label_size": 0,
    "fmap_base": 8192,
    "fmap_decay": 1.0,
    "fmap_max": 512,
    "use_wscale": True,
    "dtype": "float32",
    "fused_scale": True,
}
"""What `G_paper` and `D_paper` have in common."""

GENERATOR_DEFAULTS: dict[str, Any] = {
    **IMAGE_DEFAULTS,
    "latent_size": None,
    "normalize_latents": True,
    "use_pixelnorm": True,
    "pixelnorm_epsilon": 1e-8,
    "use_leakyrelu": True,
}

DISCRIMINATOR_DEFAULTS: dict[str, Any] = {**IMAGE_DEFAULTS, "mbstd_group_size": 4}

RUN_ARGUMENTS = ("structure", "is_template_graph")
"""Arguments that do not change the result: `structure` is how the levels are evaluated."""


def _image_fields(where: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that generator and discriminator configurations share."""
    only(where, "use_wscale", values["use_wscale"], (True,))
    only(where, "dtype", values["dtype"], ("float32",))
    only(where, "fused_scale", values["fused_scale"], (True, False))
    return {
        "resolution": values["resolution"],
        "channels": values["num_channels"],
        "label_dim": values["label_size"],
        "features": FeatureMaps(values["fmap_base"], values["fmap_max"], decay=values["fmap_decay"]),
    }


def generator_config(kwargs: Mapping[str, Any]) -> ProGANGenerator:
    """The generator that `G_paper` builds from `kwargs`.

    Raises:
        UserError: an argument is unknown, not valid, or asks for a network that we do not have.
    """
    where = "ProGAN G_paper"
    values = settings(where, kwargs, GENERATOR_DEFAULTS, RUN_ARGUMENTS)
    for name in ("normalize_latents", "use_pixelnorm", "use_leakyrelu"):
        only(where, name, values[name], (True, False))
    only(where, "pixelnorm_epsilon", values["pixelnorm_epsilon"], (1e-8,))
    fields = _image_fields(where, values)
    latent_size = values["latent_size"]
    return ProGANGenerator(
        **fields,
        z_dim=fields["features"].at(0) if latent_size is None else latent_size,
        normalize_z=values["normalize_latents"],
        pixel_norm="every" if values["use_pixelnorm"] else "none",
        activation="lrelu" if values["use_leakyrelu"] else "relu",
    )


def discriminator_config(kwargs: Mapping[str, Any]) -> ProGANDiscriminator:
    """The discriminator that `D_paper` builds from `kwargs`; errors as in `generator_config`."""
    where = "ProGAN D_paper"
    values = settings(where, kwargs, DISCRIMINATOR_DEFAULTS, RUN_ARGUMENTS)
    return ProGANDiscriminator(
        **_image_fields(where, values),
        minibatch_std=MinibatchStd(values["mbstd_group_size"]),
        pooling="before" if values["fused_scale"] else "after",
    )
