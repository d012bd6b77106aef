"""What the family study measures of images: distance to reals, and diversity among each other."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from styleloom.config import Experiment
from styleloom.data.dataset import ImageDataset
from styleloom.metrics.swd import sliced_wasserstein


def held_out(dataset: ImageDataset) -> Tensor:
    """All images of a part of a data set: uint8 [N, C, H, W]."""
    return torch.from_numpy(dataset.images(np.arange(len(dataset))))


def distance(reals: Tensor, fakes: Tensor) -> float:
    """Sliced Wasserstein distance, the mean over its levels."""
    return sliced_wasserstein(reals, fakes).average


def floor(settings: Experiment, dataset: ImageDataset) -> list[float]:
    """Distances of up to four sets of training images to the held-out ones, each of their number."""
    train_set, evaluation_set = dataset.split(settings.data.held_out)
    reals, count = held_out(evaluation_set), len(evaluation_set)
    starts = range(0, min(4 * count, len(train_set) - count + 1), count)
    parts = [torch.from_numpy(train_set.images(np.arange(start, start + count))) for start in starts]
    return [distance(reals, part) for part in parts]


DUPLICATES_OF_REALS = 0.05


def diversity(fakes: Tensor, reals: Tensor) -> dict[str, float]:
    """How much images differ among each other, beside reals, by root mean square of pixels in grey levels.

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
    """Mean distance of two images, and of each to its nearest [N]."""
    x = images.flatten(1).double()
    table = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") / x.shape[1] ** 0.5
    others = ~torch.eye(len(x), dtype=torch.bool)
    return table[others].mean(), table.masked_fill(~others, float("inf")).amin(1)
