"""Two generators in one: coarse layers of the first, fine layers of the second.

Pinkney and Adler 2020, "Resolution Dependent GAN Interpolation for Controllable Image Synthesis Between
Domains".
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from styleloom import arguments
from styleloom.config.checks import one_of
from styleloom.config.networks import GeneratorConfig
from styleloom.config.serialize import flatten
from styleloom.errors import UserError, quoted
from styleloom.snapshot import Snapshot, load_weights

BlendMode: TypeAlias = Literal["swap", "fade"]

NOT_SHAPING = ("w_avg_beta",)
"""Fields of a generator's configuration that matter in training alone."""


@dataclass(frozen=True)
class Blend:
    """How much of the second generator each level has.

    Args:
        at: nominal side, px, of the first level that is the second generator's.
        mode: "swap" takes every level from one of the two. "fade" mixes the weights of all levels: a level of
            side s has the part 1 / (1 + exp(-(log2(s / at) + 1/2) / width)) of the second, which is one half
            midway between the levels of at / 2 and of `at`.
        width: of the fade, in levels; the smaller, the more it is a swap.
    """

    at: int
    mode: BlendMode = "swap"
    width: float = 1.0

    def __post_init__(self) -> None:
        one_of("mode", self.mode, get_args(BlendMode))
        arguments.whole("at", self.at, 1)
        if not arguments.finite("width", self.width) > 0:
            raise UserError(f"width: {quoted(self.width)} is not valid; a number of levels above 0")

    def part(self, side: int) -> float:
        """Of the second generator in the level of nominal `side`, px: 0 to 1."""
        if self.mode == "swap":
            return float(side >= self.at)
        return 0.5 + 0.5 * math.tanh((math.log2(side / self.at) + 0.5) / self.width / 2)


def blend(a: Snapshot, b: Snapshot, how: Blend) -> Snapshot:
    """A generator with the mapping network and average style of `a`, and levels of `a` and `b` by `how`.

    It makes sense where one of the two was trained on from the other, or both from a third: layers of
    generators that were trained apart do not understand each other. Stored noise maps are not mixed: a level
    has those of the generator that it has more of.

    Args:
        a: coarse layers, mapping network, average of w, experiment.
        b: fine layers.
        how: where, and how abruptly.

    Returns:
        A snapshot in memory, whose info has the origins under "blend".

    Raises UserError for generators that do not fit each other, that still grow, and for a level that is not
    there.
    """
    config = a.experiment.generator
    check_fits(a, b)
    if how.at not in config.sides[1:]:
        raise UserError(f"at: {how.at} is not valid; a level, one of {', '.join(map(str, config.sides[1:]))}")
    ours, theirs = a.generator.state_dict(), b.generator.state_dict()
    tensors = {}
    for name, tensor in ours.items():
        side = level_of(name, config)
        part = 0.0 if side is None else how.part(side)
        if name.endswith("noise.fixed"):
            part = float(part >= 0.5)
        tensors[name] = _mixed(tensor, theirs[name], part)
    generator = copy.deepcopy(a.generator)
    load_weights(generator, tensors, "blend")
    levels = {str(side): how.part(side) for side in config.sides}
    record = {"at": how.at, "mode": how.mode, "part_of_b": levels, "a": origin(a), "b": origin(b)}
    if how.mode == "fade":
        record["width"] = how.width
    return Snapshot(generator, a.experiment, {"blend": record})


def check_fits(a: Snapshot, b: Snapshot) -> None:
    """Raise UserError unless both are full-grown generators of one architecture."""
    if a.growth is not None or b.growth is not None:
        raise UserError("blend: a snapshot from the middle of growing has layers that were not trained yet")
    ours, theirs = a.experiment.generator, b.experiment.generator
    if type(ours) is not type(theirs):
        raise UserError(f"blend: a {ours.family} and a {theirs.family} generator have no common layers")
    fields, others = flatten(ours), flatten(theirs)
    for name in fields:
        if fields[name] != others[name] and name not in NOT_SHAPING:
            raise UserError(
                f"blend: generator.{name} is {quoted(fields[name])} in the first and {quoted(others[name])} "
                "in the second; valid: the same in both"
            )


def level_of(name: str, config: GeneratorConfig) -> int | None:
    """Nominal side, px, of the level that a tensor of a generator belongs to; None for the mapping network.

    All families name them alike: blocks by level, toRGB by side or within its block; what else the synthesis
    network has is the input of the lowest level.
    """
    network, *path = name.split(".")
    if network != "synthesis_network":
        return None
    if path[0] == "blocks":
        return config.sides[int(path[1])]
    return int(path[1]) if path[0] == "to_rgb" else config.sides[0]


def origin(snapshot: Snapshot) -> dict[str, Any]:
    """What the record of a blend says about one of its sources, as JSON."""
    path, info = snapshot.path, snapshot.info
    kept = {key: info[key] for key in ("images_seen", "data", "blend") if key in info}
    return {
        "file": None if path is None else path.name,
        "sha256": snapshot.sha256,
        "experiment": snapshot.experiment.name,
        **kept,
    }


def _mixed(a: Tensor, b: Tensor, part: float) -> Tensor:
    """a + part (b - a); `a` or `b` itself where `part` is 0 or 1."""
    if part in (0, 1):
        return b if part else a
    return torch.lerp(a, b, part)
