"""Intervals: against SciPy, and that they hold the truth as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats
from scipy.stats import mstats

from styleloom.errors import UserError
from styleloom.metrics.fid import frechet_distance
from styleloom.metrics.intervals import Summary, summarize, winsorized_standard_error
from styleloom.metrics.kid import kernel_distance
from styleloom.metrics.moments import Moments


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_equal_to_scipy(values: list[float]) -> None:
    result = summarize(values)
    mean, error = np.mean(values), stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, mean, error) if error > 0 else (mean, mean)
    assert (result.n, result.mean) == (len(values), pytest.approx(mean))
    assert result.std == pytest.approx(np.std(values, ddof=1))
    assert (result.low, result.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


def test_one_repeat_has_no_interval() -> None:
    assert summarize([3.5]) == Summary(3.5, None, 1, None, None)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_refuses_values(values: list[float]) -> None:
    with pytest.raises(UserError, match="valid: one or more finite numbers"):
        summarize(values)


def check_coverage(hits: int, experiments: int, share: float = 0.95) -> None:
    """`hits` is no surprise, at one in a thousand on either side, where each has the probability `share`."""
    low, high = stats.binom.ppf((0.001, 0.999), experiments, share)
    assert low <= hits <= high, f"{hits} of {experiments}, expected {low:.0f} to {high:.0f}"


def covers(result: Summary, truth: float) -> bool:
    assert result.low is not None
    assert result.high is not None
    return result.low <= truth <= result.high


def test_covers_the_mean_of_normal_values() -> None:
    rng = np.random.default_rng(0)
    hits = sum(covers(summarize(rng.normal(7, 3, 4).tolist()), 7) for _ in range(2000))
    check_coverage(hits, 2000)


def normal(seed: int, num: int, dim: int = 1, offset: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(offset, 1, (num, dim)))


def test_covers_the_kernel_distance_of_repeated_samples() -> None:
    """Unbiased, so the truth is that of the distributions: N(0, 1) and N(1/2, 1)."""
    truth = 3 * 0.5**2 + 3 * 0.25**2 + 1.625**2
    hits = 0
    for experiment in range(300):
        seeds = range(16 * experiment, 16 * experiment + 16, 2)
        values = [
            kernel_distance(normal(s, 100), normal(s + 1, 100, 1, 0.5), num_subsets=1).value for s in seeds
        ]
        hits += covers(summarize(values), truth)
    check_coverage(hits, 300, 0.94)  # eight values of a skewed estimate fall short a little


def test_the_error_of_one_kernel_distance_covers_too() -> None:
    truth = 3 * 0.5**2 + 3 * 0.25**2 + 1.625**2
    hits = 0
    for seed in range(0, 600, 2):
        result = kernel_distance(
            normal(seed, 1000), normal(seed + 1, 1000, 1, 0.5), num_subsets=20, subset_size=50
        )
        assert result.num_blocks == 20
        assert result.standard_error is not None
        hits += int(abs(result.value - truth) <= stats.t.ppf(0.975, 19) * result.standard_error)
    check_coverage(hits, 300, 0.95)


def test_covers_the_expected_frechet_distance_of_repeated_samples() -> None:
    """One dimension: (difference of means)² + (difference of deviations)². With n values each, the first has
    the expectation (1 + σ²) / n, the second 1 + σ² - 2 c² σ, c that of the deviation of n normal values.
    """
    n, sigma = 12, 2.0
    c = math.sqrt(2 / (n - 1)) * special.gamma(n / 2) / special.gamma((n - 1) / 2)
    expected = (1 + sigma**2) / n + 1 + sigma**2 - 2 * c**2 * sigma
    assert expected > 1.4 * (sigma - 1) ** 2  # the bias of few images is inside the interval
    hits = 0
    for experiment in range(300):
        seeds = range(40 * experiment, 40 * experiment + 40, 2)
        hits += covers(summarize([_frechet(s, n, sigma) for s in seeds]), expected)
    check_coverage(hits, 300, 0.94)


def _frechet(seed: int, num: int, sigma: float) -> float:
    moments = Moments(), Moments()
    moments[0].add(normal(seed, num))
    moments[1].add(sigma * normal(seed + 1, num))
    return frechet_distance(*moments)


def test_winsorized_error_equals_scipy() -> None:
    values = np.random.default_rng(0).lognormal(size=1000)
    kept = np.sort(values)[10:-10]
    expected = float(mstats.trimmed_stde(values, limits=(0.01, 0.01)))
    assert winsorized_standard_error(values, kept[0], kept[-1]) == pytest.approx(expected, rel=1e-9)


def test_winsorized_error_without_a_cut_is_that_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=200)
    assert winsorized_standard_error(values, values.min(), values.max()) == pytest.approx(stats.sem(values))


def test_winsorized_error_is_the_scatter_of_the_trimmed_mean() -> None:
    rng = np.random.default_rng(1)
    means, errors = [], []
    for _ in range(600):
        values = np.sort(rng.lognormal(size=400))
        kept = values[4:-4]
        means.append(kept.mean())
        errors.append(winsorized_standard_error(values, kept[0], kept[-1]))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.1)


@pytest.mark.parametrize("values", [[], [1.0], [5.0, 6.0]])
def test_winsorized_error_refuses(values: list[float]) -> None:
    with pytest.raises(UserError, match=r"values .*\[0, 2\]; valid: 2 or more"):
        winsorized_standard_error(values, 0, 2)
