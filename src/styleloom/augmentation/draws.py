"""Where the random numbers of transformations come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from styleloom.layers.share import WHOLE, Share

CPU = torch.device("cpu")


class Draws(Protocol):
    """Random numbers by the name of the transformation that needs them, float64 on the CPU.

    The host decides by them which images are transformed, so that it never waits for a device.
    """

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Numbers in [0, 1)."""
        ...

    def normal(self, name: str, *shape: int) -> Tensor:
        """Normal numbers."""
        ...

    def half_normal(self, name: str, *shape: int) -> Tensor:
        """Absolute values of normal numbers."""
        ...

    def chosen(self, name: str, chance: float, count: int) -> Tensor:
        """Which of `count` images are transformed, each with probability `chance`: bool [count]."""
        ...

    def field(self, name: str, images: Tensor) -> Tensor:
        """A normal number for each value of `images`, on their device."""
        ...


@dataclass(frozen=True)
class RandomDraws:
    """From torch's global generators, whose states a training records.

    Args:
        share: the samples that are transformed here, of those of all processes.
    """

    share: Share = WHOLE

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Numbers in [0, 1)."""
        return self.share.rand(shape, CPU).double()

    def normal(self, name: str, *shape: int) -> Tensor:
        """Normal numbers."""
        return self.share.randn(shape, CPU).double()

    def half_normal(self, name: str, *shape: int) -> Tensor:
        """Absolute values of normal numbers."""
        return self.normal(name, *shape).abs()

    def chosen(self, name: str, chance: float, count: int) -> Tensor:
        """Which of `count` images are transformed, each with probability `chance`: bool [count]."""
        return self.share.rand((count,), CPU) < chance

    def field(self, name: str, images: Tensor) -> Tensor:
        """A normal number for each value of `images`, on their device."""
        return self.share.randn_like(images)
