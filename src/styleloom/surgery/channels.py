"""Grey, RGB or RGBA: grey is the luma of RGB, RGB of grey is three times the same, alpha is opaque.

Both are linear, so that they become part of the layers to and from RGB. D does not look at a new alpha.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from styleloom.config import Experiment
from styleloom.errors import UserError, quoted
from styleloom.surgery.networks import Networks

LUMA = ((0.299, 0.587, 0.114),)
"""Grey of red, green and blue (ITU-R BT.601), by which images of data sets become grey as well."""

TO_RGB = re.compile(r"(.*\.)?to_rgb(\.\d+)?\.(weight|bias)")
FROM_RGB = re.compile(r"(.*\.)?(from_rgb(\.\d+)?|combine\.of_rgb)\.(weight|bias)")
OF_BOTH = re.compile(r".*\.combine\.of_both\.weight")
CONV = re.compile(r"(blocks\.\d+|tail)\.conv\.weight")

_OPAQUE = torch.eye(4, 3)

TO: dict[int, tuple[Tensor, Tensor]] = {
    1: (torch.tensor(LUMA), torch.zeros(1)),
    3: (torch.eye(3), torch.zeros(3)),
    4: (_OPAQUE, torch.tensor([0.0, 0.0, 0.0, 1.0])),
}
"""RGB [3] to so many channels: matrix and offset."""

FROM: dict[int, Tensor] = {1: torch.ones(3, 1), 3: torch.eye(3), 4: _OPAQUE.t()}
"""So many channels to RGB."""


@dataclass(frozen=True)
class Conversion:
    """Images of some channels to images of others: `matrix` [new, old] and `offset` [new]."""

    matrix: Tensor
    offset: Tensor


def conversion(old: int, new: int) -> Conversion:
    """By way of RGB."""
    return Conversion(TO[new][0] @ FROM[old], TO[new][1])


def changed(before: Experiment, channels: int) -> Experiment:
    """The experiment with images of so many channels."""
    for number in (before.generator.channels, channels):
        if number not in TO:
            raise UserError(f"channels: {quoted(number)} is not valid here; between 1, 3 and 4 only")
    return before.with_data(channels=channels)


def generator(both: Networks, name: str) -> Tensor | None:
    """toRGB of every level. Where levels are summed, the offset is that of the highest."""
    found = TO_RGB.fullmatch(name)
    if found is None:
        return None
    to = conversion(both.before.channels, both.after.channels)
    made = torch.tensordot(to.matrix, both.given[name], 1)
    top = f".blocks.{len(both.after.sides) - 1}."
    if found[3] == "bias" and (not both.after.sums_levels or top in name):
        made = made + to.offset
    return made


def discriminator(both: Networks, name: str) -> Tensor | None:
    """Whatever reads an image reads the one that it would have been before."""
    back = conversion(both.after.channels, both.before.channels)
    was = both.was(name)
    if was is None:
        return None
    found = FROM_RGB.fullmatch(name)
    if found is not None and found[4] == "bias":
        weight = f"{name.rpartition('.')[0]}.weight"
        return was + both.given[weight][:, :, 0, 0] @ back.offset * both.scale(weight, old=True)
    if found is not None:
        return _columns(both, name, was.shape[1], back)
    if OF_BOTH.fullmatch(name):
        return _columns(both, name, was.shape[1], back)
    if CONV.fullmatch(name) and was.shape != both.fresh[name].shape:  # a level that reads features and image
        start: Any = both.old.get_submodule(name.removesuffix("conv.weight") + "start")
        return _columns(both, name, was.shape[1] - (start.std.features if start.std else 0), back)
    return None


def _columns(both: Networks, name: str, end: int, back: Conversion) -> Tensor:
    """Weights [O, I, k, k] whose inputs before `end` are the channels of an image."""
    was, count = both.given[name], both.before.channels
    start = end - count
    image = torch.einsum("oikl,in->onkl", was[:, start:end], back.matrix)
    return torch.cat([was[:, :start], image, was[:, end:]], 1) * both.rescale(name)
