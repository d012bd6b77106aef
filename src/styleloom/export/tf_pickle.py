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

from styleloom.export.inverse import inverted, weights_of
from styleloom.export.pickle_stream import Instance, PickleWriter
from styleloom.export.targets import Options
from styleloom.networks.assembly import StyleGenerator
from styleloom.networks.build import build_discriminator
from styleloom.snapshot import Snapshot
from styleloom.weights import sayable, stylegan2_tf

logger = logging.getLogger(__name__)

VERSION = 4
"""Of a network's record, in StyleGAN2's code; readers of later ones convert it."""

SOURCE = "# no source text: the network is described by static_kwargs\n"

COMPONENTS = {"synthesis": "G_synthesis", "mapping": "G_mapping"}
"""Networks inside the generator's, and the scope of their variables."""


def export(snapshot: Snapshot, out: Path, options: Options) -> dict[str, Any]:
    """Write the pickle; which of its networks the snapshot had.

    Without a generator in training the average stands in its place. The layout has no place for a missing
    discriminator: an untrained one is written, with a warning.

    Raises UserError for networks that the layout cannot say.
    """
    cfg = sayable.tf_generator(snapshot.experiment.generator)
    d_cfg = sayable.tf_discriminator(snapshot.experiment.discriminator)
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


def _generator(name: str, network: StyleGenerator, cfg: sayable.Generator) -> Instance:
    """The record of a generator, with those of its two components inside."""
    found = inverted(stylegan2_tf.generator_table(cfg), weights_of(network), cfg.sides)
    kwargs = sayable.generator_kwargs(cfg)
    own = {name: t for name, t in found.items() if "/" not in name}
    components = {}
    for component, scope in COMPONENTS.items():
        inside = {n.removeprefix(f"{scope}/"): t for n, t in found.items() if n.startswith(f"{scope}/")}
        given = {"dlatent_broadcast": cfg.num_ws, **kwargs} if component == "mapping" else kwargs
        function = "G_mapping" if component == "mapping" else "G_synthesis_stylegan2"
        components[component] = _record(scope, given, {}, function, inside)
    return _record(name, kwargs, components, "G_main", {"lod": torch.zeros(()), **own})


def _discriminator(network: nn.Module, cfg: sayable.Discriminator) -> Instance:
    found = inverted(stylegan2_tf.discriminator_table(cfg), weights_of(network), cfg.sides)
    return _record("D", sayable.discriminator_kwargs(cfg), {}, "D_stylegan2", found)


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
