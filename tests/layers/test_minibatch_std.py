from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from styleloom.layers.minibatch_std import minibatch_std


def naive(x: Tensor, group_size: int, features: int) -> Tensor:
    """One loop for each index of the definition."""
    n, c, height, width = x.shape
    group = min(group_size, n)
    groups = n // group
    out = torch.zeros(n, features, height, width, dtype=x.dtype)
    for m in range(groups):
        members = [m + g * groups for g in range(group)]
        for f in range(features):
            stds = []
            for ch in range(f * c // features, (f + 1) * c // features):
                for i in range(height):
                    for j in range(width):
                        values = [x[k, ch, i, j].item() for k in members]
                        mean = sum(values) / group
                        stds.append(math.sqrt(sum((v - mean) ** 2 for v in values) / group + 1e-8))
            for k in members:
                out[k, f] = sum(stds) / len(stds)
    return out


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    group_size=st.integers(1, 5),
    groups=st.integers(1, 3),
    features=st.integers(1, 2),
    per_feature=st.integers(1, 2),
    side=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    seed=st.integers(0, 1000),
)
def test_equals_loops(
    group_size: int, groups: int, features: int, per_feature: int, side: tuple[int, int], seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(group_size * groups, features * per_feature, *side, generator=rng)
    torch.testing.assert_close(minibatch_std(x, group_size, features), naive(x, group_size, features))


def test_a_small_batch_is_one_group() -> None:
    x = torch.randn(3, 2, 2, 2)
    torch.testing.assert_close(minibatch_std(x, 4), naive(x, 3, 1))


def test_members_of_a_group_are_strided() -> None:
    """Samples i, i + M, ...: equal samples at that stride have no deviation, neighbours do."""
    a, b = torch.randn(2, 1, 3, 2, 2)
    alternating = torch.cat([a, b, a, b])
    assert minibatch_std(alternating, 2).max() < 2e-4
    assert minibatch_std(torch.cat([a, a, b, b]), 2).min() > 0.1


def test_variance_is_biased_and_epsilon_inside_the_root() -> None:
    x = torch.tensor([-1.0, 1.0])[:, None, None, None]
    torch.testing.assert_close(minibatch_std(x, 2), torch.ones(2, 1, 1, 1))
    equal = torch.ones(2, 1, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(minibatch_std(equal, 2), torch.full((2, 1, 1, 1), 1e-4, dtype=torch.float64))


def test_statistics_are_float32_in_a_bfloat16_trunk() -> None:
    x = 200 + torch.arange(4.0)[:, None, None, None].expand(4, 2, 4, 4)
    y = minibatch_std(x.to(torch.bfloat16), 4)
    assert y.dtype == torch.bfloat16
    assert y.float()[0, 0, 0, 0].item() == pytest.approx(math.sqrt(1.25), rel=2**-8)


@pytest.mark.parametrize(("n", "channels", "features"), [(6, 2, 1), (4, 3, 2)])
def test_sizes_that_do_not_divide(n: int, channels: int, features: int) -> None:
    with pytest.raises(ValueError, match=f"batch {n} and {channels} channels"):
        minibatch_std(torch.zeros(n, channels, 2, 2), 4, features)


def test_it_is_laid_out_as_its_input() -> None:
    """Joined to it, it keeps the layout; otherwise the convolution that follows changes it, and back."""
    for layout in (torch.channels_last, torch.contiguous_format):
        x = torch.randn(4, 3, 4, 4).contiguous(memory_format=layout)
        for features in (1, 3):
            joined = torch.cat([x, minibatch_std(x, 4, features)], 1)
            assert joined.is_contiguous(memory_format=layout)
