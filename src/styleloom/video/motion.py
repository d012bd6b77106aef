"""What moves from frame to frame: latents through key frames, round a circle, to and fro; noise.

Every motion is a function of a moment t, 0 to 1. Those that close have the same value at 0 and 1, so that
frames at 0, 1/N, ..., (N-1)/N repeat without a jump.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from styleloom.errors import UserError

Easing = Literal["linear", "smooth"]
"""At an even speed throughout; or slowly away from a key frame, and slowly to the next."""

EASINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda u: u,
    "smooth": lambda u: u * u * (3 - 2 * u),
}

CIRCLE_POINTS = 128
"""Points that the length of a circle's image in w is measured at."""


@dataclass(frozen=True)
class KeyFrames:
    """Latents that pass through key frames in straight lines; in z along great circles.

    The speed is the same on all ways, in the length of ws (in z: the angle): a longer way takes more time.

    Args:
        values: [C, K, ...]: K key frames of each of C cells.
        closed: whether the last key frame is followed by the first.
        spherical: whether the values are z.
        easing: of each way.
    """

    values: Tensor
    closed: bool
    spherical: bool = False
    easing: Easing = "linear"

    @cached_property
    def ends(self) -> tuple[Tensor, Tensor]:
        """Where each way begins and ends: [C, S, ...]."""
        if self.closed or self.values.shape[1] == 1:
            return self.values, self.values.roll(-1, 1)
        return self.values[:, :-1], self.values[:, 1:]

    @cached_property
    def times(self) -> Tensor:
        """When each way begins, and 1: [C, S + 1], float64."""
        a, b = (end.double().flatten(2) for end in self.ends)
        lengths = _angle(a, b)[..., 0] if self.spherical else (b - a).norm(dim=2)
        still = lengths.sum(1, keepdim=True) == 0
        lengths = torch.where(still, torch.ones_like(lengths), lengths)
        times = torch.cat([torch.zeros(len(lengths), 1, dtype=lengths.dtype), lengths.cumsum(1)], 1)
        return times / times[:, -1:]

    def __call__(self, t: float) -> Tensor:
        """Values [C, ...] at the moment t, 0 to 1."""
        moment = t % 1.0 if self.closed else min(max(t, 0.0), 1.0)
        times = self.times
        way = (times[:, 1:-1] <= moment).sum(1)
        cells = torch.arange(len(times))
        start, stop = times[cells, way], times[cells, way + 1]
        u = EASINGS[self.easing]((moment - start) / (stop - start).clamp(min=1e-12)).clamp(0, 1)
        a, b = (end[cells, way].double() for end in self.ends)
        u = u.reshape(-1, *[1] * (a.ndim - 1))
        return (_on_sphere(a, b, u) if self.spherical else a + u * (b - a)).to(self.values.dtype)


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """Between vectors [..., D]: [..., 1]."""
    cosine = (a * b).sum(-1, keepdim=True) / (a.norm(dim=-1) * b.norm(dim=-1))[..., None]
    return cosine.clamp(-1, 1).arccos()


def _on_sphere(a: Tensor, b: Tensor, u: Tensor) -> Tensor:
    """Vectors [C, D] at the fraction u of the angle from a to b, and of the way between their lengths."""
    angle = _angle(a, b)
    near = angle.sin().abs() < 1e-6
    sine = torch.where(near, torch.ones_like(angle), angle.sin())
    first, second = a / a.norm(dim=-1, keepdim=True), b / b.norm(dim=-1, keepdim=True)
    mixed = (((1 - u) * angle).sin() * first + (u * angle).sin() * second) / sine
    mixed = torch.where(near, first + u * (second - first), mixed)
    length = a.norm(dim=-1, keepdim=True) * (1 - u) + b.norm(dim=-1, keepdim=True) * u
    return mixed * length


class Circle:
    """z round a great circle of its sphere, seen in w at an even speed.

    Args:
        start, across: z [C, Z]: the circle goes through `start`, in the plane of both.
        mapped: z [C, Z] to values [C, ...].
    """

    def __init__(self, start: Tensor, across: Tensor, mapped: Callable[[Tensor], Tensor]) -> None:
        self.start = start.double()
        unit = self.start / self.start.norm(dim=1, keepdim=True)
        rest = across.double() - (across.double() * unit).sum(1, keepdim=True) * unit
        if bool((rest.norm(dim=1) == 0).any()):
            raise UserError("circle: two latents on one line have no circle; choose other seeds")
        self.across = rest / rest.norm(dim=1, keepdim=True) * self.start.norm(dim=1, keepdim=True)
        self.mapped = mapped

    def at_angle(self, angle: Tensor) -> Tensor:
        """Values [C, ...] at angles [C], radians."""
        turn = angle[:, None]
        return self.mapped((turn.cos() * self.start + turn.sin() * self.across).float())

    @cached_property
    def times(self) -> Tensor:
        """When the points at equal angles are passed: [C, CIRCLE_POINTS + 1], 0 to 1."""
        angles = torch.arange(CIRCLE_POINTS + 1, dtype=torch.float64) * (2 * math.pi / CIRCLE_POINTS)
        count = len(self.start)
        points = [self.at_angle(angle.expand(count)).double().flatten(1) for angle in angles]
        steps = torch.stack([(b - a).norm(dim=1) for a, b in itertools.pairwise(points)], 1)
        times = torch.cat([torch.zeros(count, 1, dtype=torch.float64), steps.cumsum(1)], 1)
        return times / times[:, -1:].clamp(min=torch.finfo(torch.float64).tiny)

    def __call__(self, t: float) -> Tensor:
        """Values [C, ...] at the moment t."""
        moment = torch.full((len(self.start), 1), t % 1.0, dtype=torch.float64)
        way = (torch.searchsorted(self.times, moment, right=True) - 1).clamp(0, CIRCLE_POINTS - 1)
        start, stop = self.times.gather(1, way), self.times.gather(1, way + 1)
        u = (moment - start) / (stop - start).clamp(min=1e-12)
        return self.at_angle(((way + u) * (2 * math.pi / CIRCLE_POINTS))[:, 0])


def swing(t: float, low: float, high: float) -> float:
    """From `low` to `high` at t = 1/2 and back, at rest at both ends."""
    return low + (high - low) * (1 - math.cos(2 * math.pi * t)) / 2


def sweep(t: float, low: float, high: float) -> float:
    """From `low` to `high`, evenly."""
    return low + (high - low) * t


def turning_noise(first: Sequence[Tensor], second: Sequence[Tensor], t: float) -> tuple[Tensor, ...]:
    """Noise maps on the circle through two sets of maps: each moment has the same distribution."""
    turn = 2 * math.pi * (t % 1.0)
    return tuple(math.cos(turn) * a + math.sin(turn) * b for a, b in zip(first, second, strict=True))
