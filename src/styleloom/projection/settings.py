"""What a projection is told: where it looks, for how long, and how its rates change on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from styleloom import arguments
from styleloom.config.checks import above, at_least, check_choices, within
from styleloom.config.seeds import MAX_IMAGE_SEED

Space: TypeAlias = Literal["w", "w+"]
"""One w for all layers (StyleGAN2 appendix D), or one for each layer (Image2StyleGAN)."""

MapsOf: TypeAlias = Literal["optimize", "fixed"]
"""Noise maps that are found with the latent, or those stored with the network."""


@dataclass(frozen=True)
class Projection:
    """A projection as StyleGAN2's appendix D has it, in the numbers of the authors' code.

    Args:
        space: see its type.
        noise: see its type.
        steps: of Adam, beta 0.9 and 0.999.
        learning_rate: its largest.
        ramp_up, ramp_down: share of the steps in which it rises from 0, on a line, and falls to 0, on a
            cosine.
        w_noise: deviation of the noise that is added to w in each step, as a share of the deviation of w,
            at first.
        w_noise_ramp: share of the steps after which it is 0; it falls with the square.
        noise_weight: of the autocorrelation of noise maps.
        level_gain: what the means of 2 x 2 pixels of a noise map are multiplied by, from level to level of
            the pyramid in which its autocorrelation is taken: 1 in both codes, 2 in the paper.
        w_samples: latents of which mean and deviation of w are taken.
        seed: of noise maps and of the noise on w. All targets see the same draws.

    Raises UserError for a value that is not valid.
    """

    space: Space = "w"
    noise: MapsOf = "optimize"
    steps: int = 1000
    learning_rate: float = 0.1
    ramp_up: float = 0.05
    ramp_down: float = 0.25
    w_noise: float = 0.05
    w_noise_ramp: float = 0.75
    noise_weight: float = 1e5
    level_gain: float = 1.0
    w_samples: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        arguments.whole("steps", self.steps, 1)
        arguments.whole("w_samples", self.w_samples, 1)
        arguments.whole("seed", self.seed, 0, MAX_IMAGE_SEED)
        for name in ("learning_rate", "w_noise", "noise_weight", "level_gain"):
            at_least(name, arguments.finite(name, getattr(self, name)), 0)
        for name in ("ramp_up", "ramp_down", "w_noise_ramp"):
            above(name, getattr(self, name), 0)
            within(name, getattr(self, name), 0, 1)

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ...: 0 in the first, which fills Adam's moments alone."""
        t = step / self.steps
        down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / self.ramp_down))
        return self.learning_rate * down * min(1.0, t / self.ramp_up)

    def w_noise_scale(self, step: int) -> float:
        """Deviation of the noise on w in step 0, 1, ..., as a share of the deviation of w."""
        t = step / self.steps
        return self.w_noise * max(0.0, 1 - t / self.w_noise_ramp) ** 2
