"""Progressive growing as a function of images seen (ProGAN section 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from styleloom.config.checks import at_least, check_choices, power_of_two
from styleloom.errors import UserError

if TYPE_CHECKING:
    from styleloom.config.experiment import Experiment


@dataclass(frozen=True)
class Growth:
    """Progressive growing (ProGAN section 2): "none", or "progressive" with these phases.

    Args:
        mode: whether the networks grow.
        initial_resolution: resolution at which training begins, px.
        stabilize_kimg, fade_kimg: length of the phase in which a level trains alone, and of the phase in
            which the next level fades in, thousands of real images.
    """

    mode: Literal["none", "progressive"] = "none"
    initial_resolution: int = 8
    stabilize_kimg: float = 600.0
    fade_kimg: float = 600.0

    def __post_init__(self) -> None:
        check_choices(self, "growth.")
        power_of_two("growth.initial_resolution", self.initial_resolution, 4)
        at_least("growth.stabilize_kimg", self.stabilize_kimg, 0)
        at_least("growth.fade_kimg", self.fade_kimg, 0)
        if self.mode == "progressive" and self.stabilize_kimg + self.fade_kimg == 0:
            raise UserError(
                "growth.stabilize_kimg: 0 is not valid together with growth.fade_kimg 0, one of them must "
                "be more than 0"
            )


@dataclass(frozen=True)
class GrowthState:
    """Which level a growing network is at, and how far it has faded in (ProGAN section 2).

    Args:
        level: index of the highest active resolution, 0 at 4x4. With the papers' level of detail `lod` and
            output resolution 2^L this is `L - 2 - floor(lod)`.
        alpha: weight of the new level in [0, 1]; 1 when it is fully faded in. `1 - (lod - floor(lod))`.
    """

    level: int
    alpha: float


def lod_at(images_seen: float, growth: Growth, resolution: int) -> float:
    """The papers' level of detail: 0 at full resolution, one more for each halving.

    Each level is trained for `stabilize_kimg`, then the next one fades in over `fade_kimg`.
    """
    if growth.mode == "none":
        return 0.0
    kimg = images_seen / 1000
    phase_kimg = growth.stabilize_kimg + growth.fade_kimg
    phase = math.floor(kimg / phase_kimg) if phase_kimg > 0 else 0
    within = kimg - phase * phase_kimg
    lod = math.log2(resolution) - math.log2(growth.initial_resolution) - phase
    if growth.fade_kimg > 0:
        lod -= max(within - growth.stabilize_kimg, 0.0) / growth.fade_kimg
    return max(lod, 0.0)


def resolution_at(lod: float, resolution: int) -> int:
    """Resolution, px, whose batch and learning rate hold: the new level's as soon as its fade begins."""
    return resolution >> math.floor(lod)


def growth_at(images_seen: float, growth: Growth, resolution: int) -> GrowthState | None:
    """The level and alpha that growing networks are given; None when they do not grow."""
    if growth.mode == "none":
        return None
    lod = lod_at(images_seen, growth, resolution)
    return GrowthState(int(math.log2(resolution)) - 2 - math.floor(lod), 1 - (lod - math.floor(lod)))


def active_ws(growth: GrowthState | None, num_ws: int) -> int:
    """Number of style inputs of the active levels, two for each: those that style mixing chooses among."""
    return num_ws if growth is None else min(2 * (growth.level + 1), num_ws)


def phase_at(images_seen: float, growth: Growth, resolution: int) -> tuple[int, int]:
    """(floor, ceiling) of the level of detail. The pair changes where a fade begins or ends; the optimizers'
    moments are dropped there (ProGAN appendix A.1)."""
    lod = lod_at(images_seen, growth, resolution)
    return math.floor(lod), math.ceil(lod)


def unfinished_growth(experiment: Experiment, images_seen: float) -> GrowthState | None:
    """Level and alpha of a growing run, or None when it has reached its full resolution or does not grow."""
    growth = growth_at(images_seen, experiment.growth, experiment.resolution)
    complete = phase_at(images_seen, experiment.growth, experiment.resolution) == (0, 0)
    return None if complete else growth
