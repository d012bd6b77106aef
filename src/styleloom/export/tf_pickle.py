"""The pickle of the authors' TensorFlow code of StyleGAN2, which their PyTorch codes convert on reading.

The file is a tuple of three networks: the generator in training, the discriminator, the average. Each is a
record of names, arguments and variables; the place of its source text holds one comment. Nothing in the file
is code.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from styleloom.config.networks import TABLE_2_ARCHITECTURES, StyleGAN2Discriminator, StyleGAN2Generator
from styleloom.errors import UserError, quoted
from styleloom.export.inverse import inverted, refuse, weights_of
from styleloom.export.pickle_stream import Instance, PickleWriter
from styleloom.export.targets import Options
from styleloom.networks.assembly import StyleGenerator
from styleloom.networks.build import build_discriminator
from styleloom.snapshot import Snapshot
from styleloom.weights import stylegan2_tf

logger = logging.getLogger(__name__)

WHERE = "the TensorFlow layout of StyleGAN2"

VERSION = 4
"""Of a network's record, in StyleGAN2's code; readers of later ones convert it."""

SOURCE = "# no source text: the network is described by static_kwargs\n"

COMPONENTS = {"synthesis": "G_synthesis", "mapping": "G_mapping"}
"""Networks inside the generator's, and the scope of their variables."""

FIG_7 = frozenset(TABLE_2_ARCHITECTURES)


def export(snapshot: Snapshot, out: Path, options: Options) -> dict[str, Any]:
    """Write the pickle; which of its networks the snapshot had.

    Without a generator in training the average stands in its place. The layout has no place for a missing
    discriminator: an untrained one is written, with a warning.

    Raises UserError for networks that the layout cannot say.
    """
    cfg, d_cfg = snapshot.experiment.generator, snapshot.experiment.discriminator
    check_generator(cfg)
    check_discriminator(d_cfg)
    assert isinstance(cfg, StyleGAN2Generator)
    assert isinstance(d_cfg, StyleGAN2Discriminator)
    raw, d = snapshot.raw, snapshot.discriminator
    if raw is None:
        logger.warning("the snapshot keeps no generator in training: the average is written in its place")
    if d is None:
        logger.warning("the snapshot keeps no discriminator: an untrained one is written in its place")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            d = build_discriminator(d_cfg)
    networks = (
        _generator("G", raw or snapshot.generator, cfg),
        _discriminator(d, d_cfg),
        _generator("Gs", snapshot.generator, cfg),
    )
    with open(out, "wb") as file:
        PickleWriter(file).dump(networks)
    kept = {"G": raw is not None, "D": snapshot.discriminator is not None, "Gs": True}
    return {"networks": list(kept), "from_snapshot": [name for name, own in kept.items() if own]}


def _generator(name: str, network: StyleGenerator, cfg: StyleGAN2Generator) -> Instance:
    """The record of a generator, with those of its two components inside."""
    found = inverted(stylegan2_tf.generator_table(cfg), weights_of(network), cfg.sides)
    kwargs = generator_kwargs(cfg)
    own = {name: t for name, t in found.items() if "/" not in name}
    components = {}
    for component, scope in COMPONENTS.items():
        inside = {n.removeprefix(f"{scope}/"): t for n, t in found.items() if n.startswith(f"{scope}/")}
        given = {"dlatent_broadcast": cfg.num_ws, **kwargs} if component == "mapping" else kwargs
        function = "G_mapping" if component == "mapping" else "G_synthesis_stylegan2"
        components[component] = _record(scope, given, {}, function, inside)
    return _record(name, kwargs, components, "G_main", {"lod": torch.zeros(()), **own})


def _discriminator(network: nn.Module, cfg: StyleGAN2Discriminator) -> Instance:
    found = inverted(stylegan2_tf.discriminator_table(cfg), weights_of(network), cfg.sides)
    return _record("D", discriminator_kwargs(cfg), {}, "D_stylegan2", found)


def _record(
    name: str,
    kwargs: Mapping[str, Any],
    components: Mapping[str, Instance],
    function: str,
    variables: Mapping[str, Tensor],
) -> Instance:
    """One network, as the authors' class of networks keeps it."""
    state = {
        "version": VERSION,
        "name": name,
        "static_kwargs": dict(kwargs),
        "components": dict(components),
        "build_module_src": SOURCE,
        "build_func_name": function,
        "variables": [(variable, np.asarray(t, dtype=np.float32)) for variable, t in variables.items()],
    }
    return Instance("dnnlib.tflib.network", "Network", state)


# ---- arguments


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


# ---- what the layout can say


def check_generator(cfg: object) -> None:
    """Raise UserError for a generator that the layout cannot say."""
    if not isinstance(cfg, StyleGAN2Generator):
        raise UserError(f"{WHERE} cannot say a generator of the family {quoted(getattr(cfg, 'family', ''))}")
    refuse(
        WHERE,
        {
            "generator.architecture": (cfg.architecture, FIG_7),
            "generator.normalization": (cfg.normalization, "demodulation"),
            "generator.label_dim": (cfg.label_dim, 0),
            "generator.mapping.normalize_z": (cfg.mapping.normalize_z, True),
            **_common("generator", cfg),
        },
    )


def check_discriminator(cfg: object) -> None:
    """Raise UserError for a discriminator that the layout cannot say."""
    if not isinstance(cfg, StyleGAN2Discriminator):
        raise UserError(f"{WHERE} cannot say this discriminator")
    std = cfg.minibatch_std
    if not 0 <= std.group_size < 2**31:
        raise UserError(
            f"{WHERE} cannot say discriminator.minibatch_std.group_size {std.group_size}, the whole batch"
        )
    refuse(
        WHERE,
        {
            "discriminator.architecture": (cfg.architecture, FIG_7),
            "discriminator.label_dim": (cfg.label_dim, 0),
            **_common("discriminator", cfg),
        },
    )


def _common(role: str, cfg: StyleGAN2Generator | StyleGAN2Discriminator) -> dict[str, tuple[object, object]]:
    return {
        f"{role}.grid": (cfg.grid, (4, 4)),
        f"{role}.clamp": (cfg.clamp, None),
        f"{role}.features.min": (cfg.features.min, 1),
        f"{role}.features.decay": (cfg.features.decay, 1.0),
    }
