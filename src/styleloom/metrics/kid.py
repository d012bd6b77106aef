"""Kernel inception distance (Bińkowski et al. 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from styleloom.errors import UserError
from styleloom.metrics.moments import check_features

_SUBSETS, _BLOCKS = range(2)  # independent random streams of one seed


@dataclass(frozen=True)
class KID:
    """Squared maximum mean discrepancy, in the units of the formula: papers often print it times 1000.

    Args:
        value: mean over random subsets. Unbiased: for two samples of one distribution it scatters about 0
            and is negative half of the time.
        std: population standard deviation over those subsets, as papers print it. It is not the error of
            `value`: it is the spread of a single subset, and the subsets of one sample overlap.
        standard_error: of `value`, from estimates of disjoint blocks of `subset_size` images of each set.
            None with fewer than 2 blocks.
        num_blocks: how many disjoint blocks the smaller set holds.
        num_subsets, subset_size: what was drawn.
    """

    value: float
    std: float
    standard_error: float | None
    num_blocks: int
    num_subsets: int
    subset_size: int


@torch.no_grad()
def kernel_distance(
    reals: Tensor, fakes: Tensor, *, num_subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KID:
    """Kernel inception distance of two sets of features (Bińkowski et al. 2018, section 4).

    The mean over `num_subsets` pairs of random subsets, each drawn without replacement, of `polynomial_mmd`.
    Deterministic for a seed; runs on the device of the features, in float64.

    Args:
        reals, fakes: floating [N, D] and [M, D], 2 rows or more each.
        num_subsets: pairs of subsets.
        subset_size: images of each set in a subset; all of the smaller set where it has fewer.
        seed: non-negative; fixes subsets and blocks.

    Raises:
        UserError: features of another shape or type or not finite, too few images, an option out of range.
    """
    for name, value, least in (
        ("num_subsets", num_subsets, 1),
        ("subset_size", subset_size, 2),
        ("seed", seed, 0),
    ):
        if value < least:
            raise UserError(f"{name} is {value}; valid: {least} or more")
    check_features(reals)
    check_features(fakes, dim=reals.shape[1])
    smaller = min(len(reals), len(fakes))
    if smaller < 2:
        raise UserError(f"KID of {len(reals)} reals and {len(fakes)} fakes; valid: 2 or more of each")
    size = min(subset_size, smaller)
    rng = np.random.default_rng([seed, _SUBSETS])
    estimates = [
        polynomial_mmd(_pick(reals, _draw(rng, reals, size)), _pick(fakes, _draw(rng, fakes, size)))
        for _ in range(num_subsets)
    ]
    num_blocks = smaller // size
    return KID(
        value=float(np.mean(estimates)),
        std=float(np.std(estimates)),
        standard_error=_standard_error(reals, fakes, size, num_subsets, seed) if num_blocks > 1 else None,
        num_blocks=num_blocks,
        num_subsets=num_subsets,
        subset_size=size,
    )


def polynomial_mmd(x: Tensor, y: Tensor) -> float:
    """Unbiased estimate of MMD² under the kernel (x·y / D + 1)³ (Bińkowski et al. 2018, eqs. 2 and 4).

    Args:
        x, y: floating [M, D] and [N, D], M and N at least 2; computed in float64.
    """
    x, y = x.double(), y.double()
    M, N = len(x), len(y)
    within = [(k.sum() - k.trace()) / (n * (n - 1)) for k, n in ((_kernel(x, x), M), (_kernel(y, y), N))]
    return (within[0] + within[1] - 2 * _kernel(x, y).mean()).item()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)


def _standard_error(reals: Tensor, fakes: Tensor, size: int, num_subsets: int, seed: int) -> float:
    """Standard error of the mean over S random subsets: s √(1/B + (1 - 1/B) / S).

    s is the standard deviation of the estimates of B disjoint blocks, which are independent; those of random
    subsets are not. The variance of a mean over subsets has two parts. From sample to sample, the mean over
    all possible subsets varies no more than the mean over blocks, by s² / B. A single subset varies by s²,
    which leaves (1 - 1/B) s² for the choice of the subset; the mean over S random subsets has 1/S of that.
    """
    num_blocks = min(len(reals), len(fakes)) // size
    rng = np.random.default_rng([seed, _BLOCKS])
    orders = [_draw(rng, features, num_blocks * size) for features in (reals, fakes)]
    estimates = [
        polynomial_mmd(_pick(reals, block), _pick(fakes, other))
        for block, other in zip(*(np.split(order, num_blocks) for order in orders), strict=True)
    ]
    return float(np.std(estimates, ddof=1)) * math.sqrt(1 / num_blocks + (1 - 1 / num_blocks) / num_subsets)


def _draw(rng: np.random.Generator, features: Tensor, size: int) -> np.ndarray:
    return rng.choice(len(features), size, replace=False)


def _pick(features: Tensor, indices: np.ndarray) -> Tensor:
    return features[torch.from_numpy(indices).to(features.device)]
