"""Fréchet distance against SciPy's matrix root, torchmetrics and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from styleloom.errors import UserError
from styleloom.metrics.fid import frechet_distance
from styleloom.metrics.moments import Moments


def features(num: int, dim: int, seed: int = 0) -> Tensor:
    """float32 [num, dim], correlated; another seed, another distribution."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=generator) / dim**0.5
    offset = torch.randn(dim, generator=generator)
    return torch.randn(num, dim, generator=generator) @ mix + offset


def moments_of(rows: Tensor) -> Moments:
    moments = Moments()
    moments.add(rows)
    return moments


def distance(a: Tensor, b: Tensor) -> float:
    return frechet_distance(moments_of(a), moments_of(b))


def frechet_distance_reference(a: Tensor, b: Tensor) -> float:
    """As the formula reads, with the root of a product that is not symmetric."""
    x, y = a.double().numpy(), b.double().numpy()
    cov_x, cov_y = (np.cov(rows, rowvar=False) for rows in (x, y))
    root = np.real(linalg.sqrtm(cov_x @ cov_y))
    return float(((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root))


@settings(max_examples=15, deadline=None)
@given(dim=st.integers(2, 24), extra=st.integers(2, 200), seed=st.integers(0, 99))
def test_equal_to_the_matrix_root(dim: int, extra: int, seed: int) -> None:
    a, b = features(dim + extra, dim, seed), features(dim + extra + 5, dim, seed + 1)
    assert distance(a, b) == pytest.approx(frechet_distance_reference(a, b), rel=1e-7)


def test_singular_covariances_equal_the_root_of_a_larger_set() -> None:
    """20 images of 64 features. The root of a singular product is taken in the space that the images span."""
    a, b = features(20, 64, seed=0), features(20, 64, seed=1)
    basis, _ = np.linalg.qr(torch.cat((a, b)).double().numpy().T)  # 40 directions hold all of the images
    x, y = (torch.from_numpy(rows.double().numpy() @ basis) for rows in (a, b))
    ridge = 1e-10 * np.eye(40)
    cov_x, cov_y = (np.cov(rows.numpy(), rowvar=False) + ridge for rows in (x, y))
    root = np.real(linalg.sqrtm(cov_x @ cov_y))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum().item() + np.trace(cov_x + cov_y - 2 * root)
    assert distance(a, b) == pytest.approx(expected, rel=1e-4)


def test_one_dimension_is_closed_form() -> None:
    a, b = features(50, 1, seed=0), 3 * features(70, 1, seed=1)
    (x, y) = (rows.double().numpy() for rows in (a, b))
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_a_translation_adds_its_square_and_a_rotation_changes_nothing() -> None:
    a, b = features(200, 8, seed=0).double(), features(200, 8, seed=1).double()
    offset = torch.linspace(-1, 2, 8, dtype=torch.float64)
    assert distance(a, a + offset) == pytest.approx(offset.square().sum().item(), rel=1e-9)
    turn = torch.linalg.qr(
        torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    )[0]
    assert distance(a @ turn, b @ turn) == pytest.approx(distance(a, b), rel=1e-9)
    assert distance(a, 3 * a) == pytest.approx(
        4 * (a.var(dim=0).sum() + a.mean(dim=0).square().sum()).item(), rel=1e-9
    )


@pytest.mark.parametrize(("num", "dim"), [(500, 16), (40, 256)])
def test_equal_sets_are_at_zero_also_where_singular(num: int, dim: int) -> None:
    a = features(num, dim)
    assert 0 <= distance(a, a.clone()) < 1e-9
    assert distance(a, a.flip(0)) < 1e-9


def test_symmetric() -> None:
    a, b = features(100, 12, seed=0), features(90, 12, seed=1)
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-10)


def test_flat_features_have_a_distance() -> None:
    """A collapsed generator: no variance at all."""
    a = features(100, 6)
    flat = torch.zeros(50, 6)
    expected = a.double().mean(dim=0).square().sum() + a.double().var(dim=0).sum()
    assert distance(a, flat) == pytest.approx(expected.item(), rel=1e-12)
    assert distance(flat, flat + 2) == pytest.approx(24)


class Given(nn.Module):
    """A network whose features are its input."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def test_equal_to_torchmetrics() -> None:
    a, b = features(150, 32, seed=0), features(130, 32, seed=1)
    metric = FrechetInceptionDistance(feature=Given(), input_img_size=(1, 1, 32), normalize=True)
    for rows, real in ((a, True), (b, False)):
        metric.update(rows[:, None, None], real=real)
    assert distance(a, b) == pytest.approx(metric.compute().item(), rel=1e-4)


def test_refuses_what_cannot_be_compared() -> None:
    with pytest.raises(UserError, match="features have 4 and 5 dimensions"):
        distance(features(10, 4), features(10, 5))
    with pytest.raises(UserError, match="of 1 images have no covariance"):
        distance(features(10, 4), features(1, 4))
