"""The authors' TensorFlow code of MSG-StyleGAN: `G_style` and `D_basic`, made from StyleGAN's.

The generator has StyleGAN's names and arguments. The discriminator has one FromRGB, at full resolution, and a
1x1 convolution `combine` on every lower level: phi_cat_lin (equation 12).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from styleloom.config.networks import MinibatchStd, MSGStyleGANDiscriminator, MSGStyleGANGenerator
from styleloom.weights import stylegan_tf
from styleloom.weights.stylegan_tf import FusedScale
from styleloom.weights.tables import Rule, Table, conv_hwio, settings

# ---- names

DISCRIMINATOR_RULES = (
    Rule("FromRGB_lod0/weight", "from_rgb.weight", conv_hwio),
    Rule("FromRGB_lod0/bias", "from_rgb.bias"),
    Rule("{side}x{side}/combine/weight", "{place}.start.combine.of_both.weight", conv_hwio),
    *(rule for rule in stylegan_tf.DISCRIMINATOR_RULES if not rule.source.startswith("FromRGB")),
)


def generator_table(cfg: MSGStyleGANGenerator, fused_scale: FusedScale = "auto") -> Table:
    """The name table of the generator of `cfg`, whose weights were trained with `fused_scale`."""
    return replace(
        stylegan_tf.generator_table(cfg, fused_scale), source="MSG-StyleGAN generator (TensorFlow)"
    )


def discriminator_table(cfg: MSGStyleGANDiscriminator) -> Table:
    """The name table of the discriminator of `cfg`."""

    def derive(numbers: Mapping[str, int]) -> dict[str, Any]:
        block = numbers.get("side", 4).bit_length() - 4  # 0 at 8x8
        return {"block": block, "place": "tail" if block < 0 else f"blocks.{block}"}

    return Table("MSG-StyleGAN discriminator (TensorFlow)", DISCRIMINATOR_RULES, derive)


# ---- keyword arguments


def generator_config(kwargs: Mapping[str, Any]) -> MSGStyleGANGenerator:
    """The generator that `G_style` builds from `kwargs`.

    Raises:
        UserError: an argument is unknown, not valid, or asks for a network that we do not have.
    """
    where = "MSG-StyleGAN G_style"
    values = settings(where, kwargs, stylegan_tf.GENERATOR_DEFAULTS, stylegan_tf.RUN_ARGUMENTS)
    return MSGStyleGANGenerator(**stylegan_tf.generator_fields(where, values))


def discriminator_config(kwargs: Mapping[str, Any]) -> MSGStyleGANDiscriminator:
    """The discriminator that `D_basic` builds from `kwargs`; errors as in `generator_config`."""
    where = "MSG-StyleGAN D_basic"
    values = settings(where, kwargs, stylegan_tf.DISCRIMINATOR_DEFAULTS, stylegan_tf.RUN_ARGUMENTS)
    return MSGStyleGANDiscriminator(
        **stylegan_tf.image_fields(where, values),
        combine="cat_lin",
        minibatch_std=MinibatchStd(values["mbstd_group_size"], values["mbstd_num_features"]),
    )
