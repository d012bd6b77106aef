"""Labels for networks without: each class makes the same pictures, and D judges them as before.

The input of the label, or what follows it, starts at 0; not both, or nothing would move them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from styleloom.config import Experiment
from styleloom.config.annotations import field_types
from styleloom.errors import UserError
from styleloom.surgery.networks import Networks


def changed(before: Experiment, label_dim: int) -> Experiment:
    """The experiment with labels.

    They are concatenated with z unless the mapping network embeds them; the discriminator has one output for
    each class.
    """
    g: Any = before.generator
    d: Any = before.discriminator
    if g.label_dim:
        raise UserError(
            f"label_dim: {label_dim} is not valid, the networks have {g.label_dim} classes already"
        )
    if not g.has_w or g.mapping.layers == 0:
        raise UserError(
            f"label_dim: {label_dim} is not valid, this generator has no mapping network for labels to enter"
        )
    if g.mapping.labels == "join":
        g = replace(g, mapping=replace(g.mapping, labels="concat"))
    if "labels" in field_types(type(d)):
        d = replace(d, labels="select")
    return replace(before, generator=g, discriminator=d).with_data(label_dim=label_dim)


def generator(both: Networks, name: str) -> Tensor | None:
    """The first layer of the mapping network reads z as before."""
    mapping = both.after.mapping
    if name == "mapping_network.label_weight":
        return torch.zeros_like(both.fresh[name])
    if name != "mapping_network.layers.0.weight":
        return None
    was, made = both.given[name], both.fresh[name].clone()
    joint = mapping.labels == "concat" and mapping.normalize_z  # z and as many zeros have one norm
    made[:, : was.shape[1]] = was * (both.rescale(name) / (math.sqrt(2) if joint else 1))
    if mapping.labels == "embed":
        made[:, was.shape[1] :] = 0
    return made


def discriminator(both: Networks, name: str) -> Tensor | None:
    """The output of every class is the one that there was."""
    return both.given[name].expand_as(both.fresh[name]) if name.startswith("tail.out.") else None
