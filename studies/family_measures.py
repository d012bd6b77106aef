"""What the family study measures of images: distance to reals, and diversity among each other."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from styleloom.config import Experiment
from styleloom.data.dataset import ImageDataset
from styleloom.metrics.swd import sliced_wasserstein

DUPLICATES_OF_REALS = 0.05
"""Share of the held-out images that counts as near-duplicates; it sets the distance under which fakes do."""


def held_out(dataset: ImageDataset) -> Tensor:
    """Every image of a data set: uint8 [N, C, H, W]."""
    return torch.from_numpy(dataset.images(np.arange(len(dataset))))


def distance(reals: Tensor, fakes: Tensor) -> float:
    """Sliced Wasserstein distance, the mean over its levels."""
    return sliced_wasserstein(reals, fakes).average


def floor(settings: Experiment, dataset: ImageDataset) -> list[float]:
    """Distances of real images to real ones: what a perfect model would reach.

    Up to four sets of training images, each as large as the held-out set, are compared with that.
    """
    train_set, evaluation_set = dataset.split(settings.data.held_out)
    reals, count = held_out(evaluation_set), len(evaluation_set)
    starts = range(0, min(4 * count, len(train_set) - count + 1), count)
    parts = [torch.from_numpy(train_set.images(np.arange(start, start + count))) for start in starts]
    return [distance(reals, part) for part in parts]


def diversity(fakes: Tensor, reals: Tensor) -> dict[str, float]:
    """How much fakes differ among each other, compared with reals.

    The distance of two images is the root mean square of the difference of their pixels, in grey levels.

    Args:
        fakes, reals: uint8 [N, C, H, W] of equal number.

    Returns:
        spread: mean distance of two fakes over that of two reals; nearest: median distance of a fake to the
        closest other fake over that of reals; limit: the distance under which 5 % of reals have another
        real; duplicates: the share of fakes that have another fake that near.
    """
    (all_fakes, near_fakes), (all_reals, near_reals) = _distances(fakes), _distances(reals)
    limit = near_reals.quantile(DUPLICATES_OF_REALS).item()
    return {
        "spread": (all_fakes / all_reals).item(),
        "nearest": (near_fakes.median() / near_reals.median()).item(),
        "limit": limit,
        "duplicates": (near_fakes < limit).float().mean().item(),
    }


def _distances(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean distance of two images, and distance of each image to its nearest other one [N]."""
    x = images.flatten(1).double()
    table = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") / x.shape[1] ** 0.5
    others = ~torch.eye(len(x), dtype=torch.bool)
    return table[others].mean(), table.masked_fill(~others, float("inf")).amin(1)
