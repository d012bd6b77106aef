"""What two sets of distances say about a further one: rates, and how far they can be trusted.

Images with a small distance count as generated. A false alarm is a real image that is called generated, a
miss is a generated one that is called not generated. All intervals are of 95 % confidence; they are exact, or
made for few values: a projection takes minutes, and sets are small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import betaincinv, ndtri
from scipy.stats import binom, rankdata

from styleloom.errors import UserError, quoted

CONFIDENCE = 0.95
"""Of all intervals."""

WANTED = 0.05
"""Wanted rate of errors of either kind, unless told otherwise."""

METHODS = {
    "roc_area": "Newcombe 2006, method 5",
    "share": "Clopper and Pearson 1934",
    "rate_of_threshold": "beta distribution of an order statistic (Wilks 1941)",
    "threshold": "order statistics on both sides of the quantile",
}
"""Where the interval of each number comes from."""

_TAIL = (1 - CONFIDENCE) / 2
_SLACK = 1e-9  # a product such as 0.29 x 100 may fall just below the whole number that it is


@dataclass(frozen=True)
class Estimate:
    """A number in 0..1 with its interval.

    Args:
        value: the estimate.
        low, high: its 95 % interval.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Share(Estimate):
    """A share of a set, as an estimate of that of all such images.

    Args:
        count: how many.
        of: in a set of so many.
    """

    count: int
    of: int


@dataclass(frozen=True)
class Threshold:
    """Where images with a distance on one side are called something, with a rate of errors that was wanted.

    Args:
        distance: the threshold, one of the set's own distances.
        low, high: 95 % interval of the distance that has exactly the wanted rate; None where it may lie
            beyond all of the set.
        wanted: the rate.
        rate: what this threshold has: on average over calibrations at most the wanted one, and for this one
            within the interval.
    """

    distance: float
    low: float | None
    high: float | None
    wanted: float
    rate: Estimate


def finite_values(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """`values` [N], N at least 1, as float64. Raises UserError unless they are finite and not negative."""
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all() or array.min() < 0:
        raise UserError(f"{name}: {quoted(values)} is not valid; one or more finite distances, at least 0")
    return array


def share(count: int, of: int) -> Share:
    """`count` of `of`, with the exact interval of Clopper and Pearson (1934)."""
    low = float(betaincinv(count, of - count + 1, _TAIL)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 1 - _TAIL)) if count < of else 1.0
    return Share(count / of, low, high, count, of)


def roc_area(generated: ArrayLike, real: ArrayLike) -> Estimate:
    """The probability that a generated image has a smaller distance than a real one; ties count half.

    This is the area under the ROC curve. The interval inverts the test whose variance is that of Hanley and
    McNeil (1982) with the mean of both sizes in place of each: method 5 of Newcombe (2006), "Confidence
    intervals for an effect size measure based on the Mann-Whitney statistic. Part 2". Where the sets do not
    overlap, it still has a width; that of DeLong, and the bootstrap, have none.

    Args:
        generated: distances [M].
        real: distances [N].

    Raises UserError for values that are not distances.
    """
    ours, theirs = finite_values("generated", generated), finite_values("real", real)
    m, n = len(ours), len(theirs)
    ranks = rankdata(np.concatenate([theirs, ours]))
    area = float((ranks[:n].sum() - n * (n + 1) / 2) / (m * n))
    z = float(ndtri(1 - _TAIL))

    def beyond(t: float) -> float:
        spread = 1 + ((m + n) / 2 - 1) * ((1 - t) / (2 - t) + t / (1 + t))
        return (area - t) ** 2 - z**2 * t * (1 - t) * spread / (m * n)

    return Estimate(area, _root(beyond, 0.0, area), _root(beyond, 1.0, area))


def _root(function: Callable[[float], float], end: float, inside: float) -> float:
    """Where `function`, which is not positive at `inside`, becomes so on the way to `end`; else `end`."""
    if inside == end:
        return end
    near, inside = abs(end - 1e-12), min(max(inside, 1e-9), 1 - 1e-9)  # at 0 and 1 the variance is 0
    if function(near) <= 0:
        return end
    return cast(float, brentq(function, min(near, inside), max(near, inside)))


def least_size(rate: float) -> int:
    """How many images a set needs for a threshold with that rate of errors."""
    return math.ceil(1 / rate - 1 - _SLACK)


def threshold(values: ArrayLike, rate: float, name: str = "false_alarm") -> Threshold:
    """The distance below which at most `rate` of such images lie.

    It is the k-th smallest of the N values, k = floor(rate (N + 1)): a further image of the same kind lies
    below it with probability k / (N + 1), whatever the distribution. For one set the probability is a draw of
    Beta(k, N + 1 - k), whose 2.5 % and 97.5 % quantiles are the interval of the rate.

    Args:
        values: distances [N].
        rate: above 0, below 1.
        name: of the rate, for messages.

    Raises UserError for fewer values than the rate needs, see `least_size`, and for other rates.
    """
    return _threshold(np.sort(finite_values("distances", values)), rate, name)


def upper_threshold(values: ArrayLike, rate: float, name: str = "miss") -> Threshold:
    """The distance above which at most `rate` of such images lie; otherwise as `threshold`."""
    found = _threshold(np.sort(finite_values("distances", values))[::-1], rate, name)
    return replace(found, low=found.high, high=found.low)


def _threshold(ordered: NDArray[np.float64], rate: float, name: str) -> Threshold:
    """That of values in the order in which errors begin; `low` is on the side of the first."""
    n = len(ordered)
    check_rate(name, rate, n)
    k = math.floor(rate * (n + 1) + _SLACK)
    bounds = (float(betaincinv(k, n + 1 - k, q)) for q in (_TAIL, 1 - _TAIL))
    before, after = int(binom.ppf(_TAIL, n, rate)), int(binom.ppf(1 - _TAIL, n, rate))
    low = float(ordered[before - 1]) if before else None
    high = float(ordered[after]) if after < n else None
    return Threshold(float(ordered[k - 1]), low, high, rate, Estimate(k / (n + 1), *bounds))


def check_rate(name: str, rate: float, count: int) -> None:
    """Raise UserError unless `count` images can have a threshold with that rate of errors."""
    if not 0 < rate < 1:
        raise UserError(f"{name}: {quoted(rate)} is not valid; above 0 and below 1")
    least = least_size(rate)
    if count < least:
        raise UserError(
            f"{name}: {count} images cannot show a rate of {rate:g}; valid: {least} or more images, or a "
            f"rate of at least {math.ceil(1000 / (count + 1)) / 1000:g}"
        )


def at_most(values: Sequence[float], distance: float) -> Share:
    """The share of `values` that are at most `distance`."""
    return share(int((np.asarray(values) <= distance).sum()), len(values))


def at_least(values: Sequence[float], distance: float) -> Share:
    """The share of `values` that are at least `distance`."""
    return share(int((np.asarray(values) >= distance).sum()), len(values))
