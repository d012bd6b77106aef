"""The TensorFlow code of the ADA paper: `G_main` and `D_main`, StyleGAN2's networks with other labels.

Names are those of `stylegan2_tf`. A label goes through a dense layer of its own, as wide as z, and is
normalised apart from z; the discriminator's score is an inner product with a mapped label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from styleloom.config.networks import Mapping as MappingConfig
from styleloom.config.networks import MinibatchStd, StyleGAN2Discriminator, StyleGAN2Generator
from styleloom.weights import stylegan2_tf
from styleloom.weights.stylegan2_ada import mbstd
from styleloom.weights.tables import Rule, Table, dense_io, only, settings

# ---- names

LABEL_RULES = (
    Rule("G_mapping/LabelEmbed/weight", "mapping_network.label_embedding.weight", dense_io),
    Rule("G_mapping/LabelEmbed/bias", "mapping_network.label_embedding.bias"),
)

PROJECTION_RULES = (
    Rule("LabelEmbed/weight", "projection.label_embedding.weight", dense_io),
    Rule("LabelEmbed/bias", "projection.label_embedding.bias"),
    Rule("Mapping{layer}/weight", "projection.layers.{layer}.weight", dense_io),
    Rule("Mapping{layer}/bias", "projection.layers.{layer}.bias"),
)


def generator_table(cfg: StyleGAN2Generator) -> Table:
    """The name table of the generator of `cfg`."""
    table = stylegan2_tf.generator_table(cfg)
    return replace(table, source="StyleGAN2-ADA generator (TensorFlow)", rules=(*table.rules, *LABEL_RULES))


def discriminator_table(cfg: StyleGAN2Discriminator) -> Table:
    """The name table of the discriminator of `cfg`."""
    table = stylegan2_tf.discriminator_table(cfg)
    return replace(
        table, source="StyleGAN2-ADA discriminator (TensorFlow)", rules=(*table.rules, *PROJECTION_RULES)
    )


# ---- keyword arguments

PRECISION_ARGUMENTS = ("num_fp16_res", "nonlinearity_gain")
"""They choose the arithmetic, not the network."""

GENERATOR_DEFAULTS: dict[str, Any] = {
    **{n: v for n, v in stylegan2_tf.GENERATOR_DEFAULTS.items() if not n.endswith("_func")},
    "architecture": "skip",
    "conv_clamp": None,
}

DISCRIMINATOR_DEFAULTS: dict[str, Any] = {
    **stylegan2_tf.DISCRIMINATOR_DEFAULTS,
    "architecture": "resnet",
    "conv_clamp": None,
    "mapping_layers": 0,
    "mapping_fmaps": None,
    "mapping_lrmul": 0.1,
    "mapping_nonlinearity": "lrelu",
}


def generator_config(kwargs: Mapping[str, Any]) -> StyleGAN2Generator:
    """The generator that `G_main` builds from `kwargs`.

    Raises:
        UserError: an argument is unknown, not valid, or asks for a network that we do not have.
    """
    where = "StyleGAN2-ADA G_main"
    ignored = (*stylegan2_tf.RUN_ARGUMENTS, *PRECISION_ARGUMENTS)
    values = settings(where, kwargs, GENERATOR_DEFAULTS, ignored)
    only(where, "architecture", values["architecture"], stylegan2_tf.TABLE_2_ARCHITECTURES)
    plain = {n: v for n, v in values.items() if n != "conv_clamp"}
    config = stylegan2_tf.generator_config(plain)
    return replace(config, mapping=replace(config.mapping, labels="embed-z"), clamp=values["conv_clamp"])


def discriminator_config(kwargs: Mapping[str, Any]) -> StyleGAN2Discriminator:
    """The discriminator that `D_main` builds from `kwargs`; errors as in `generator_config`."""
    where = "StyleGAN2-ADA D_main"
    values = settings(where, kwargs, DISCRIMINATOR_DEFAULTS, PRECISION_ARGUMENTS)
    own = {n: v for n, v in values.items() if n in stylegan2_tf.IMAGE_DEFAULTS or n == "architecture"}
    config = stylegan2_tf.discriminator_config(own)
    width = config.features.at(0) if values["mapping_fmaps"] is None else values["mapping_fmaps"]
    projection = MappingConfig(
        layers=values["mapping_layers"],
        width=width,
        lr_multiplier=values["mapping_lrmul"],
        activation=values["mapping_nonlinearity"],
        labels="embed",
    )
    std: MinibatchStd = mbstd(where, values["mbstd_group_size"], values["mbstd_num_features"])
    return replace(
        config, labels="project", projection=projection, clamp=values["conv_clamp"], minibatch_std=std
    )
