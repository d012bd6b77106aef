"""The probability p of augmentation, and the heuristic that steers it (section 3).

r_t is the mean sign of the discriminator's outputs for reals. Towards 1, it knows the training images by
heart; then p rises by a fixed amount, else it falls by it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from styleloom.config.augmentation import Augmentation


class Control:
    """p, and the signs seen since its last adjustment.

    Args:
        settings: how p begins and is steered.
    """

    def __init__(self, settings: Augmentation) -> None:
        self.settings = settings
        self._p = np.float32(settings.p)  # no tensor: the host reads it many times in a step
        self._signs = torch.zeros(3, dtype=torch.float64, device="cpu")

    @property
    def p(self) -> float:
        """The present probability. Steered, it has no upper limit; above 1 every image is transformed."""
        return float(self._p)

    @property
    def steers(self) -> bool:
        """Whether p changes."""
        return self.settings.mode == "ada"

    def report(self, mean_sign: float, count: int) -> None:
        """Take in the mean sign of the outputs for `count` reals; one that is not a number is left out."""
        if self.steers and math.isfinite(mean_sign):
            self._signs += torch.tensor([mean_sign * count, count, 0], dtype=torch.float64)

    def end_step(self, step: int, images: int) -> None:
        """After step number `step` (from 1), of so many images: adjust p when that is due."""
        if not self.steers:
            return
        self._signs[2] += images
        if step % self.settings.every:
            return
        total, count, seen = self._signs.tolist()
        if count:
            mean, target = total / count, self.settings.target
            direction = (mean > target) - (mean < target)
            change = direction * seen / (self.settings.kimg * 1000)
            self._p = max(self._p + np.float32(change), np.float32(0))
        self._signs.zero_()

    # State --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """What the next steps depend on, by the names of a training's state; empty where p is not steered."""
        return (
            {"augment.p": torch.tensor(self._p), "augment.signs": self._signs.clone()} if self.steers else {}
        )

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state()`. States from before this training was augmented have none of it."""
        if self.steers and "augment.p" in tensors:
            self._p = np.float32(tensors["augment.p"].item())
            self._signs = tensors["augment.signs"].clone()

    def expected(self) -> dict[str, Tensor]:
        """Tensors of the shapes and types of `state()`."""
        return {"augment.p": torch.tensor(self._p), "augment.signs": self._signs.clone()}
