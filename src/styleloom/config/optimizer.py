"""The optimizer of both networks, and its constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from styleloom.config.checks import above, within
from styleloom.config.schedules import Number, values
from styleloom.errors import UserError

Optimizer: TypeAlias = Literal["adam", "rmsprop"]


@dataclass(frozen=True)
class Adam:
    """Adam's constants (ProGAN appendix A.1), before the correction for lazy regularization.

    Args:
        beta1, beta2: decays of the two moments, in [0, 1).
        epsilon: added to the denominator, above 0.
    """

    beta1: float = 0.0
    beta2: Number = 0.99
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2"):
            for value in values(getattr(self, name)):
                within(f"adam.{name}", value, 0, 1)
                if value == 1:
                    raise UserError(f"adam.{name}: 1 is not valid, it must be less than 1")
        above("adam.epsilon", self.epsilon, 0)
