"""How far numbers that come from random samples can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from styleloom.errors import UserError

CONFIDENCE = 0.95
"""Confidence level of the intervals of `summarize`."""


@dataclass(frozen=True)
class Summary:
    """Repeated measurements of one number.

    Args:
        mean: of the repeats.
        std: sample standard deviation (n - 1); None for one repeat.
        n: number of repeats.
        low, high: 95 % confidence interval of the mean; None for one repeat.
    """

    mean: float
    std: float | None
    n: int
    low: float | None
    high: float | None


def summarize(values: Sequence[float]) -> Summary:
    """Mean of repeated measurements and Student's t interval of it.

    For independent, roughly normal repeats the interval holds the expectation of the measurement in 95 % of
    cases. A bias of the measurement, such as that of a Fréchet distance from few images, is part of that
    expectation: the interval says nothing of it.

    Raises UserError for no values, or one that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if not len(array) or not np.isfinite(array).all():
        raise UserError(f"values are {list(values)}; valid: one or more finite numbers")
    n, mean = len(array), float(array.mean())
    if n == 1:
        return Summary(mean, None, 1, None, None)
    std = float(array.std(ddof=1))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * std / math.sqrt(n)
    return Summary(mean, std, n, mean - half, mean + half)


def winsorized_standard_error(values: ArrayLike, kept_low: float, kept_high: float) -> float:
    """Standard error of the mean of those values that lie in [`kept_low`, `kept_high`].

    Tukey & McLaughlin 1963: values outside are moved to the bounds. The standard deviation of all values then
    (n - 1) is divided by the root of their number and by the share of values that was kept. The standard
    error of the kept values by themselves would be too small, since the bounds depend on the sample as well.

    Args:
        values: [n], all of them, n at least 2.
        kept_low, kept_high: least and greatest value that the mean takes in.

    Raises:
        UserError: fewer than 2 values, or none between the bounds.
    """
    array = np.asarray(values, dtype=np.float64)
    kept = int(((array >= kept_low) & (array <= kept_high)).sum())
    if array.ndim != 1 or len(array) < 2 or not kept:
        raise UserError(
            f"values {list(array.shape)}, {kept} of them in [{kept_low:g}, {kept_high:g}]; "
            "valid: 2 or more, some of them in that range"
        )
    return float(array.clip(kept_low, kept_high).std(ddof=1)) * math.sqrt(len(array)) / kept
