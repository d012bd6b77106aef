"""Rates and their intervals: equal to what others compute, and right as often as they say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from every import every
from styleloom.attribution import rates
from styleloom.errors import UserError

REPEATS = 1500


def draws(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_roc_area_is_scikit_learns() -> None:
    rng = draws()
    for m, n in ((1, 1), (5, 9), (40, 30)):
        generated, real = rng.integers(0, 12, m) / 4, rng.integers(4, 16, n) / 4  # with ties
        expected = roc_auc_score([0] * m + [1] * n, [*generated, *real])
        found = rates.roc_area(generated, real)
        assert found.value == pytest.approx(expected)
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_the_interval_of_an_area_holds_it_as_often_as_it_says() -> None:
    rng = draws()
    for shift, size in ((0.0, 16), (1.5, 16), (3.0, 30)):
        area = norm.cdf(shift / math.sqrt(2))
        found = [
            rates.roc_area(np.exp(rng.normal(-shift, 1, size)), np.exp(rng.normal(0, 1, size)))
            for _ in range(REPEATS // 3)
        ]
        held = np.mean([one.low <= area <= one.high for one in found])
        assert held > 0.93, (shift, size, held)


def test_sets_that_do_not_overlap_have_an_interval() -> None:
    apart = rates.roc_area([1.0] * 16, [2.0] * 16)
    assert apart.value == apart.high == 1
    assert 0.8 < apart.low < 0.95
    assert rates.roc_area([2.0] * 16, [1.0] * 16).high == pytest.approx(1 - apart.low)
    assert rates.roc_area([1.0] * 100, [2.0] * 100).low > apart.low


def test_shares_have_the_exact_interval() -> None:
    for count, of in ((0, 1), (0, 16), (3, 16), (16, 16), (7, 100)):
        exact = binomtest(count, of).proportion_ci(0.95, method="exact")
        found = rates.share(count, of)
        assert (found.value, found.count, found.of) == (count / of, count, of)
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert rates.at_most([1, 2, 2, 3], 2).count == 3
    assert rates.at_least([1, 2, 2, 3], 2).count == 3


def test_a_threshold_has_the_rates_that_it_says() -> None:
    """Of uniform numbers the threshold itself is the rate of further ones below it."""
    rng = draws()
    for size, wanted in ((19, 0.05), (40, 0.05), (100, 0.1)):
        found = [rates.threshold(rng.uniform(size=size), wanted) for _ in range(REPEATS)]
        true = np.array([one.distance for one in found])
        assert true.mean() == pytest.approx(found[0].rate.value, rel=0.1)
        assert found[0].rate.value <= wanted
        assert np.quantile(true, 0.025) == pytest.approx(found[0].rate.low, rel=0.25)
        assert np.quantile(true, 0.975) == pytest.approx(found[0].rate.high, rel=0.1)
        held = [
            (one.low is None or one.low <= wanted) and (one.high is None or wanted <= one.high)
            for one in found
        ]
        assert np.mean(held) > 0.95


def test_thresholds_are_values_of_the_set() -> None:
    values = draws().permutation(np.arange(1.0, 41.0))
    low, high = rates.threshold(values, 0.05), rates.upper_threshold(values, 0.05)
    assert (low.distance, low.low, low.high) == (2, None, 6)
    assert (high.distance, high.low, high.high) == (39, 35, None)
    assert low.rate == high.rate
    # a product that rounds to just below the whole number that it is
    assert rates.threshold(np.arange(1.0, 100.0), 0.29).distance == 29


@every(
    ("rate", "least"),
    [(0.05, 19), (0.1, 9), (0.5, 1), (0.001, 999)],
)
def test_small_sets_cannot_show_small_rates(rate: float, least: int) -> None:
    assert rates.least_size(rate) == least
    assert rates.threshold(np.ones(least), rate).distance == 1
    if least > 1:
        with pytest.raises(UserError, match=f"valid: {least} or more"):
            rates.threshold(np.ones(least - 1), rate)


def test_the_rate_that_a_message_offers_is_valid() -> None:
    for count in range(1, 60):
        with pytest.raises(UserError) as refused:
            rates.threshold(np.ones(count), 1e-6)
        offered = float(str(refused.value).rsplit(" ", 1)[1])
        rates.threshold(np.ones(count), offered)


@every(
    ("values", "rate"),
    [
        ([], 0.5),
        ([[1.0]], 0.5),
        ([1.0, math.nan], 0.5),
        ([-1.0], 0.5),
        ([1.0], 0.0),
        ([1.0], 1.0),
        ([1.0], math.nan),
    ],
)
def test_refusals(values: Any, rate: float) -> None:
    with pytest.raises(UserError):
        rates.threshold(values, rate)
