"""Streaming mean and covariance against NumPy, and rows in order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from every import every
from styleloom.errors import UserError
from styleloom.metrics.moments import BLOCK_ROWS, Moments, Rows


def features(num: int, dim: int = 5, seed: int = 0) -> Tensor:
    """float32 [num, dim], correlated, of different scales and means."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=generator)
    return torch.randn(num, dim, generator=generator) @ mix + torch.linspace(-3, 40, dim)


def moments_of(rows: Tensor, batch: int = 100) -> Moments:
    moments = Moments()
    for part in rows.split(batch):
        moments.add(part)
    return moments


@settings(max_examples=30, deadline=None)
@given(
    num=st.integers(2, 2 * BLOCK_ROWS + 50),
    dim=st.integers(1, 6),
    batch=st.integers(1, 3000),
    seed=st.integers(0, 99),
)
def test_equal_to_numpy(num: int, dim: int, batch: int, seed: int) -> None:
    rows = features(num, dim, seed)
    moments = moments_of(rows, max(batch, num // 50))
    assert (moments.count, moments.dim) == (num, dim)
    exact = rows.double().numpy()
    np.testing.assert_allclose(moments.mean, exact.mean(axis=0), rtol=1e-12, atol=1e-12)
    for ddof in (0, 1):
        expected = np.cov(exact, rowvar=False, ddof=ddof).reshape(dim, dim)
        np.testing.assert_allclose(moments.covariance(ddof), expected, rtol=1e-9, atol=1e-11)


def test_batches_change_no_bit_and_neither_does_a_look_in_between() -> None:
    rows = features(2 * BLOCK_ROWS + 300)
    whole, parts = moments_of(rows, len(rows)), Moments()
    for part in rows.split(77):
        parts.add(part)
        parts.covariance()
    assert torch.equal(whole.mean, parts.mean)
    assert torch.equal(whole.covariance(), parts.covariance())


def test_small_deviations_about_a_large_mean_survive() -> None:
    """E[x²] - E[x]² would be a difference of numbers near 10^15, of which float64 knows 0.1."""
    spread = features(3000).double() / 8
    moments = moments_of(2.0**25 + spread)
    np.testing.assert_allclose(moments.covariance(), np.cov(spread.numpy(), rowvar=False), rtol=1e-6)
    assert (moments.covariance() < 10).all()


def test_rows_sorted_by_size_are_no_harder() -> None:
    rows = features(5000).sort(dim=0).values * 1e4
    expected = np.cov(rows.double().numpy(), rowvar=False)
    np.testing.assert_allclose(moments_of(rows).covariance(), expected, rtol=1e-12)


def test_covariance_is_symmetric() -> None:
    covariance = moments_of(features(300, 40)).covariance()
    assert torch.equal(covariance, covariance.T)
    assert covariance.dtype == torch.float64


def test_tensors_restore_them_and_more_can_be_added() -> None:
    rows = features(BLOCK_ROWS + 500)
    kept = moments_of(rows[:1300]).to_tensors()
    assert {name: (tensor.dtype, tensor.ndim) for name, tensor in kept.items()} == {
        "count": (torch.int64, 0),
        "mean": (torch.float64, 1),
        "scatter": (torch.float64, 2),
    }
    restored = Moments.from_tensors(kept)
    assert restored.count == 1300
    assert torch.equal(restored.covariance(), moments_of(rows[:1300]).covariance())
    restored.add(rows[1300:])
    torch.testing.assert_close(restored.covariance(), moments_of(rows).covariance(), rtol=1e-12, atol=0)
    assert Moments.from_tensors(kept).count == 1300  # the stored tensors were not written to


def test_rows_are_kept_in_order_as_float32() -> None:
    rows, collected = features(50).double(), Rows(50)
    for part in rows.split(7):
        collected.add(part)
    assert torch.equal(collected.tensor, rows.float())


def test_rows_are_not_given_out_before_the_last() -> None:
    collected = Rows(3)
    collected.add(features(2))
    with pytest.raises(AssertionError, match="2 of 3"):
        _ = collected.tensor
    with pytest.raises(AssertionError, match="4 rows for 3"):
        collected.add(features(2))


@every("collector", [Moments(), Rows(20)])
@every("value", [math.nan, math.inf, -math.inf])
def test_refuses_what_is_not_finite_and_says_where(collector: Moments | Rows, value: float) -> None:
    start = collector.count if isinstance(collector, Moments) else collector.filled
    collector.add(features(2))
    bad = features(4)
    bad[3, 2] = value
    with pytest.raises(UserError, match=f"features of image {start + 5} hold {value}; valid: finite"):
        collector.add(bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(4, 6), r"features are \[4, 6\]; valid: \[N, 5\]"),
        (torch.zeros(5), r"features are \[5\]; valid: \[N, 5\]"),
        (torch.zeros(4, 5, dtype=torch.uint8), "features are torch.uint8; valid: a floating type"),
    ],
)
def test_refuses_other_shapes_and_types(bad: Tensor, message: str) -> None:
    moments = moments_of(features(3))
    with pytest.raises(UserError, match=message):
        moments.add(bad)
    assert moments.count == 3


def test_too_few_rows() -> None:
    with pytest.raises(UserError, match="there are none"):
        _ = Moments().mean
    with pytest.raises(UserError, match="of 1 images have no covariance; valid: 2 images or more"):
        moments_of(features(1)).covariance()
    assert torch.equal(moments_of(features(1)).covariance(ddof=0), torch.zeros(5, 5, dtype=torch.float64))
