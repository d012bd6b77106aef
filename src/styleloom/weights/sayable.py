"""Which of our networks other layouts can say, and with which arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from styleloom.config.networks import TABLE_2_ARCHITECTURES, StyleGAN2Discriminator, StyleGAN2Generator
from styleloom.errors import UserError, quoted

ROSINALITY = "rosinality's layout"
TENSORFLOW = "the TensorFlow layout of StyleGAN2"

Generator: TypeAlias = StyleGAN2Generator
Discriminator: TypeAlias = StyleGAN2Discriminator
"""The configurations that the layouts here can say at all."""

FIG_7 = frozenset(TABLE_2_ARCHITECTURES)


def refuse(where: str, settings: Mapping[str, tuple[object, object]]) -> None:
    """Raise UserError that names every setting whose value is not what the format can say.

    Args:
        where: the format, for the message.
        settings: name of the field to its value and to the only valid one, or a tuple or range of valid ones.
    """
    wrong = [
        f"{name} is {quoted(value)}, the format has {_choice(valid)} alone"
        for name, (value, valid) in settings.items()
        if value != valid and not (isinstance(valid, frozenset) and value in valid)
    ]
    if wrong:
        raise UserError(f"{where} cannot say this network: {'; '.join(wrong)}")


def _choice(valid: object) -> str:
    return " or ".join(sorted(map(quoted, valid))) if isinstance(valid, frozenset) else quoted(valid)


# ---- rosinality


def rosinality_generator(cfg: object) -> StyleGAN2Generator:
    """`cfg`, when rosinality's layout can say it. Raises UserError for one that it cannot."""
    if not isinstance(cfg, StyleGAN2Generator):
        raise UserError(
            f"{ROSINALITY} is of StyleGAN2 alone; this generator is of {quoted(getattr(cfg, 'family', ''))}"
        )
    mapping = cfg.mapping
    refuse(
        ROSINALITY,
        {
            "generator.architecture": (cfg.architecture, "skip"),
            "generator.normalization": (cfg.normalization, "demodulation"),
            "generator.channels": (cfg.channels, 3),
            "generator.label_dim": (cfg.label_dim, 0),
            "generator.grid": (cfg.grid, (4, 4)),
            "generator.activation": (cfg.activation, "lrelu"),
            "generator.clamp": (cfg.clamp, None),
            "generator.z_dim": (cfg.z_dim, cfg.w_dim),
            "generator.mapping.width": (mapping.width, cfg.w_dim),
            "generator.mapping.activation": (mapping.activation, "lrelu"),
            "generator.mapping.lr_multiplier": (mapping.lr_multiplier, 0.01),
            "generator.mapping.normalize_z": (mapping.normalize_z, True),
            **_filter("generator", cfg.resample_filter),
        },
    )
    return cfg


def rosinality_discriminator(cfg: object) -> StyleGAN2Discriminator:
    """`cfg`, when rosinality's layout can say it. Raises UserError for one that it cannot."""
    if not isinstance(cfg, StyleGAN2Discriminator):
        raise UserError(f"{ROSINALITY} is of StyleGAN2 alone")
    refuse(
        ROSINALITY,
        {
            "discriminator.architecture": (cfg.architecture, "resnet"),
            "discriminator.channels": (cfg.channels, 3),
            "discriminator.label_dim": (cfg.label_dim, 0),
            "discriminator.grid": (cfg.grid, (4, 4)),
            "discriminator.activation": (cfg.activation, "lrelu"),
            "discriminator.clamp": (cfg.clamp, None),
            "discriminator.minibatch_std.group_size": (cfg.minibatch_std.group_size, 4),
            "discriminator.minibatch_std.features": (cfg.minibatch_std.features, 1),
            **_filter("discriminator", cfg.resample_filter),
        },
    )
    return cfg


def _filter(role: str, taps: tuple[float, ...]) -> dict[str, tuple[object, object]]:
    """Filters are in the file, but their padding is in the code, for four taps; nor is it known which way
    round it takes them."""
    return {
        f"taps of {role}.resample_filter": (len(taps), 4),
        f"{role}.resample_filter": (taps, tuple(reversed(taps))),
    }


# ---- TensorFlow


def _image_kwargs(cfg: StyleGAN2Generator | StyleGAN2Discriminator) -> dict[str, Any]:
    """What both networks are told; an argument with the default of the authors' code is left out where
    readers of this layout may not know it."""
    return {
        "num_channels": cfg.channels,
        "resolution": cfg.resolution,
        "label_size": 0,
        "fmap_base": cfg.features.base,
        "fmap_max": cfg.features.max,
        "architecture": cfg.architecture,
        "resample_kernel": [float(tap) for tap in cfg.resample_filter],
        **({} if cfg.activation == "lrelu" else {"nonlinearity": cfg.activation}),
    }


def generator_kwargs(cfg: StyleGAN2Generator) -> dict[str, Any]:
    """The arguments that make this generator."""
    mapping = cfg.mapping
    return {
        **_image_kwargs(cfg),
        "latent_size": cfg.z_dim,
        "dlatent_size": cfg.w_dim,
        "mapping_layers": mapping.layers,
        "mapping_fmaps": mapping.width,
        "mapping_lrmul": mapping.lr_multiplier,
        **({} if mapping.activation == "lrelu" else {"mapping_nonlinearity": mapping.activation}),
    }


def discriminator_kwargs(cfg: StyleGAN2Discriminator) -> dict[str, Any]:
    """The arguments that make this discriminator."""
    std = cfg.minibatch_std
    return {
        **_image_kwargs(cfg),
        "mbstd_group_size": std.group_size,
        "mbstd_num_features": std.features,
    }


def tf_generator(cfg: object) -> StyleGAN2Generator:
    """`cfg`, when the TensorFlow layout can say it. Raises UserError for one that it cannot."""
    if not isinstance(cfg, StyleGAN2Generator):
        raise UserError(
            f"{TENSORFLOW} cannot say a generator of the family {quoted(getattr(cfg, 'family', ''))}"
        )
    refuse(
        TENSORFLOW,
        {
            "generator.architecture": (cfg.architecture, FIG_7),
            "generator.normalization": (cfg.normalization, "demodulation"),
            "generator.label_dim": (cfg.label_dim, 0),
            "generator.mapping.normalize_z": (cfg.mapping.normalize_z, True),
            **_common("generator", cfg),
        },
    )
    return cfg


def tf_discriminator(cfg: object) -> StyleGAN2Discriminator:
    """`cfg`, when the TensorFlow layout can say it. Raises UserError for one that it cannot."""
    if not isinstance(cfg, StyleGAN2Discriminator):
        raise UserError(f"{TENSORFLOW} cannot say this discriminator")
    std = cfg.minibatch_std
    if not 0 <= std.group_size < 2**31:
        raise UserError(
            f"{TENSORFLOW} cannot say discriminator.minibatch_std.group_size {std.group_size}, which is the "
            "whole batch"
        )
    refuse(
        TENSORFLOW,
        {
            "discriminator.architecture": (cfg.architecture, FIG_7),
            "discriminator.label_dim": (cfg.label_dim, 0),
            **_common("discriminator", cfg),
        },
    )
    return cfg


def _common(role: str, cfg: StyleGAN2Generator | StyleGAN2Discriminator) -> dict[str, tuple[object, object]]:
    return {
        f"{role}.grid": (cfg.grid, (4, 4)),
        f"{role}.clamp": (cfg.clamp, None),
        f"{role}.features.min": (cfg.features.min, 1),
        f"{role}.features.decay": (cfg.features.decay, 1.0),
    }
