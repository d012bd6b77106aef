"""What the networks are trained for: the adversarial loss, gradient penalties, path length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from styleloom.config.checks import above, at_least, check_choices, within
from styleloom.config.schedules import Number, values
from styleloom.errors import UserError

Loss: TypeAlias = Literal[
    "nonsaturating",
    "saturating",
    "wgan",
    "hinge",
    "least-squares",
    "relativistic-hinge",
    "relativistic-pairing",
]

Penalty: TypeAlias = Literal["zero-centred", "two-sided", "one-sided"]


@dataclass(frozen=True)
class GradientPenalty:
    """The gradient penalty of the discriminator.

    Args:
        kind: "zero-centred" is gamma/2 ||grad D(x)||^2 on reals, R1 (Mescheder et al. 2018); "two-sided" is
            gamma (||grad D(x)|| - target)^2 / target^2 between reals and fakes, WGAN-GP (Gulrajani et al.
            2017); "one-sided" punishes only norms above the target.
        gamma: weight; 0 leaves the penalty out.
        every: steps between evaluations; 1 adds it to the main loss of every step, more is lazy
            regularization (StyleGAN2 section 3.1).
        r2_gamma: with "zero-centred", weight of the same penalty on fakes, R2.
        target: norm that gradients are compared with; zero-centred penalties have none.
    """

    kind: Penalty = "zero-centred"
    gamma: Number = 10.0
    every: int = 16
    r2_gamma: Number = 0.0
    target: float = 1.0

    def __post_init__(self) -> None:
        check_choices(self, "d_regularizer.")
        for name in ("gamma", "r2_gamma"):
            for value in values(getattr(self, name)):
                at_least(f"d_regularizer.{name}", value, 0)
        at_least("d_regularizer.every", self.every, 1)
        above("d_regularizer.target", self.target, 0)
        if self.target != 1 and self.kind == "zero-centred":
            raise UserError(
                f"d_regularizer.target: {self.target} is not valid with d_regularizer.kind zero-centred, "
                "which has no target; valid: 1, or kind two-sided or one-sided"
            )
        if self.punishes_fakes and self.kind != "zero-centred":
            raise UserError(
                f"d_regularizer.r2_gamma: {self.r2_gamma} is not valid with d_regularizer.kind {self.kind}; "
                "valid: 0, or kind zero-centred"
            )

    @property
    def active(self) -> bool:
        """Whether there is a penalty at any time."""
        return max(values(self.gamma)) > 0 or self.punishes_fakes

    @property
    def punishes_fakes(self) -> bool:
        """Whether R2 is in the penalty at any time."""
        return max(values(self.r2_gamma)) > 0


@dataclass(frozen=True)
class PathLength:
    """Path length regularization (StyleGAN2 section 3.2, equation 4).

    Args:
        weight: of the penalty. 0 leaves it out, but G's optimizer is still corrected for lazy regularization
            with `every`, as in configuration C of the authors' code.
        decay: share, in [0, 1], by which each evaluation moves the running mean of path lengths, a, towards
            its own mean.
        batch_shrink: the penalty is evaluated on 1/batch_shrink of the batch.
        every: steps between evaluations: 4 in the authors' code, 8 in the paper; 1 is not lazy.
    """

    weight: float = 2.0
    decay: float = 0.01
    batch_shrink: int = 2
    every: int = 4

    def __post_init__(self) -> None:
        at_least("g_regularizer.weight", self.weight, 0)
        within("g_regularizer.decay", self.decay, 0, 1)
        at_least("g_regularizer.batch_shrink", self.batch_shrink, 1)
        at_least("g_regularizer.every", self.every, 1)
