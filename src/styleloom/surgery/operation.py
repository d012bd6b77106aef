"""A snapshot's networks rebuilt for other images, one change after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from styleloom.config import Experiment
from styleloom.config.growth import unfinished_growth
from styleloom.errors import UserError
from styleloom.networks.assembly import StyleGenerator
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.snapshot import Snapshot
from styleloom.surgery import channels, grid, labels, resolution
from styleloom.surgery.networks import Networks

SEED = 0
"""Of the fresh weights of what is new."""


@dataclass(frozen=True)
class Change:
    """What the images shall be; None leaves a field as it is.

    Args:
        label_dim: number of classes, for networks without labels.
        channels: 1, 3 or 4.
        grid: height and width of the lowest level, px.
        resolution: px, a power of two.
    """

    label_dim: int | None = None
    channels: int | None = None
    grid: tuple[int, ...] | None = None
    resolution: int | None = None


@dataclass(frozen=True)
class Surgery:
    """How one field is changed.

    Args:
        experiment: the experiment with another value of the field, or a UserError.
        generator, discriminator: what becomes of a tensor of the new network whose name is given; None for
            the old network's tensor of that name and shape, or a fresh one where there is none.
        finish: what is left to do with a generator: the old one, the new one, the new experiment.
    """

    experiment: Callable[[Experiment, Any], Experiment]
    generator: Callable[[Networks, str], Tensor | None]
    discriminator: Callable[[Networks, str], Tensor | None]
    finish: Callable[[StyleGenerator, StyleGenerator, Experiment], None] = lambda old, new, after: None


SURGERIES: dict[str, Surgery] = {
    "label_dim": Surgery(labels.changed, labels.generator, labels.discriminator),
    "channels": Surgery(channels.changed, channels.generator, channels.discriminator),
    "grid": Surgery(grid.changed, grid.generator, grid.discriminator),
    "resolution": Surgery(
        resolution.changed, resolution.generator, resolution.discriminator, resolution.finish
    ),
}
"""By the field of `Change`, in the order in which they are made."""

Found: TypeAlias = tuple[Any, list[str]]
"""A network, and the names of its tensors that are fresh."""


def operate(snapshot: Snapshot, change: Change) -> Snapshot:
    """The snapshot with networks for other images, in memory.

    Its `info` has a list "surgery" of all changes, with the names of tensors that are fresh, as states have
    them ("ema.*", "g.*", "d.*").

    Raises UserError for a change that its networks cannot make.
    """
    for name, surgery in SURGERIES.items():
        value = getattr(change, name)
        if value is not None and value != getattr(snapshot.experiment.generator, name):
            snapshot = _changed(snapshot, name, value, surgery)
    return snapshot


def _changed(snapshot: Snapshot, name: str, value: Any, surgery: Surgery) -> Snapshot:
    """The snapshot with another value of one field."""
    if snapshot.growth is not None:
        raise UserError(f"{name}: not of networks that still grow; take a snapshot of full size")
    before, info = snapshot.experiment, dict(snapshot.info)
    after = surgery.experiment(before, value)
    if unfinished_growth(after, 0) is not None:
        info["images_seen"] = 0  # the growth begins anew, at the old resolution
    g, d = (before.generator, after.generator), (before.discriminator, after.discriminator)
    average, fresh = _rebuilt(snapshot.generator, g, build_generator, surgery.generator)
    surgery.finish(snapshot.generator, average, after)
    fresh = [f"ema.{tensor}" for tensor in fresh]
    raw = discriminator = None
    if snapshot.raw is not None:
        raw, new = _rebuilt(snapshot.raw, g, build_generator, surgery.generator)
        surgery.finish(snapshot.raw, raw, after)
        fresh += [f"g.{tensor}" for tensor in new]
    if snapshot.discriminator is not None:
        discriminator, new = _rebuilt(snapshot.discriminator, d, build_discriminator, surgery.discriminator)
        fresh += [f"d.{tensor}" for tensor in new]
    record = {"field": name, "from": getattr(before.generator, name), "to": value, "fresh": fresh}
    info["surgery"] = [*info.get("surgery", []), record]
    return Snapshot(average, after, info, raw=raw, discriminator=discriminator)


def _rebuilt(
    old: nn.Module,
    configs: tuple[Any, Any],
    build: Callable[[Any], nn.Module],
    rule: Callable[[Networks, str], Tensor | None],
) -> Found:
    """The network of the second of `configs`, with what `rule` makes of the old one's tensors."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        new = build(configs[1])
    both = Networks(old, new, *configs)
    fresh: list[str] = []
    with torch.no_grad():
        for name, tensor in new.state_dict().items():
            made = rule(both, name)
            if made is None:
                was = both.given.get(both.names.get(name, ""))
                made = was if was is not None and was.shape == tensor.shape else None
            if made is None:
                fresh.append(name)
            else:
                tensor.copy_(made)
    return new.eval().requires_grad_(False), fresh
