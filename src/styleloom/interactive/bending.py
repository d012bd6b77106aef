"""Network bending (Broad, Leymarie and Grierson 2021): feature maps between layers moved or taken away."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.config.checks import one_of
from styleloom.errors import UserError, quoted

BendKind: TypeAlias = Literal["scale", "shift", "rise", "rotate", "erode", "mute"]

BOUNDS: dict[BendKind, tuple[float, float, float]] = {
    "scale": (0.25, 4.0, 1.0),
    "shift": (-1.0, 1.0, 0.0),
    "rise": (-1.0, 1.0, 0.0),
    "rotate": (-180.0, 180.0, 0.0),
    "erode": (-8.0, 8.0, 0.0),
    "mute": (0.0, 1.0, 0.0),
}
"""Least and most of an amount, and the one that changes nothing."""

TURN = (math.sqrt(5) - 1) / 2
"""Multiples of it, without their whole part, are spread evenly: a larger share of maps holds the smaller."""


@dataclass(frozen=True)
class Bend:
    """One operation on feature maps.

    Args:
        side: nominal side, px, of the level after whose convolutions it takes place.
        kind: "scale" enlarges, "shift" moves to the right, "rise" up, "rotate" turns against the clock,
            "erode" takes for each pixel the least around it (negative: the most), "mute" takes away.
        amount: factor; part of the width or height; degrees; radius, px; part that is taken away.
        share: of the maps, 0 to 1; which ones depends on nothing else.

    Raises UserError for an unknown kind and amounts beyond `BOUNDS`.
    """

    side: int
    kind: BendKind
    amount: float
    share: float = 1.0

    def __post_init__(self) -> None:
        one_of("bend", self.kind, get_args(BendKind))
        low, high, _ = BOUNDS[self.kind]
        if not low <= self.amount <= high:
            raise UserError(f"bend: {self.kind} by {self.amount:g} is not valid; {low:g} to {high:g}")
        if not 0 <= self.share <= 1:
            raise UserError(f"bend: a share of {self.share:g} of the maps is not valid; 0 to 1")

    @classmethod
    def parsed(cls, text: str) -> Bend:
        """ "16:rotate:30" or, for half of the maps, "16:rotate:30:0.5"."""
        words = text.split(":")
        valid = "SIDE:KIND:AMOUNT or SIDE:KIND:AMOUNT:SHARE"
        try:
            side, kind, amount, share = (*words, "1")[:4] if len(words) < 4 else words
            return cls(int(side), cast(BendKind, kind), float(amount), float(share))
        except ValueError as error:
            raise UserError(f"bend: {quoted(text)} is not valid; {valid}") from error

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return self.amount == BOUNDS[self.kind][2] or self.share == 0

    def text(self) -> str:
        """What `parsed` reads."""
        share = "" if self.share == 1 else f":{self.share!r}"
        return f"{self.side}:{self.kind}:{self.amount!r}{share}"


def chosen_maps(count: int, share: float) -> list[int]:
    """Which of `count` feature maps a share means."""
    return [i for i in range(count) if (i * TURN) % 1.0 < share]


def bent(x: Tensor, bend: Bend) -> Tensor:
    """Feature maps [N, C, H, W] after an operation, in their type and layout."""
    chosen = chosen_maps(x.shape[1], bend.share)
    if bend.idle or not chosen:
        return x
    out = x.clone()
    out[:, chosen] = OPERATIONS[bend.kind](x[:, chosen].float(), bend.amount).to(x.dtype)
    return out


def _placed(x: Tensor, a: float, b: float, right: float, up: float) -> Tensor:
    """Maps sampled at [a, -b; b, a] times their places, moved; beyond the edge they are mirrored."""
    height, width = x.shape[2:]
    aspect = width / height
    theta = torch.tensor(
        [[a, -b / aspect, -2 * right], [b * aspect, a, 2 * up]], dtype=x.dtype, device=x.device
    )
    grid = F.affine_grid(theta.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _rotated(x: Tensor, degrees: float) -> Tensor:
    turn = math.radians(degrees)
    return _placed(x, math.cos(turn), math.sin(turn), 0, 0)


def _eroded(x: Tensor, radius: float) -> Tensor:
    """Between whole radii, a mixture of both."""
    sign, size = (-1.0, radius) if radius > 0 else (1.0, -radius)
    low = int(size)
    smaller, larger = (
        sign * F.max_pool2d(sign * x, 2 * r + 1, stride=1, padding=r) if r else x for r in (low, low + 1)
    )
    return torch.lerp(smaller, larger, size - low)


OPERATIONS: dict[BendKind, Callable[[Tensor, float], Tensor]] = {
    "scale": lambda x, factor: _placed(x, 1 / factor, 0, 0, 0),
    "shift": lambda x, part: _placed(x, 1, 0, part, 0),
    "rise": lambda x, part: _placed(x, 1, 0, 0, part),
    "rotate": _rotated,
    "erode": _eroded,
    "mute": lambda x, part: x * (1 - part),
}
