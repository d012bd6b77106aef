"""Kernel inception distance against torchmetrics, sums written out, and closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from styleloom.errors import UserError
from styleloom.metrics.kid import KID, kernel_distance, polynomial_mmd


def features(num: int, dim: int = 6, seed: int = 0, offset: float = 0.0) -> Tensor:
    return torch.randn(num, dim, generator=torch.Generator().manual_seed(seed)) + offset


def quick(reals: Tensor, fakes: Tensor, size: int = 20, seed: int = 0, subsets: int = 10) -> KID:
    return kernel_distance(reals, fakes, num_subsets=subsets, subset_size=size, seed=seed)


def test_mmd_equals_the_sums_written_out() -> None:
    x, y = features(5).double().numpy(), features(7, seed=1, offset=0.5).double().numpy()

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 6 + 1) ** 3)

    within_x = np.mean([kernel(a, b) for a, b in itertools.permutations(x, 2)])
    within_y = np.mean([kernel(a, b) for a, b in itertools.permutations(y, 2)])
    between = np.mean([kernel(a, b) for a in x for b in y])
    result = polynomial_mmd(torch.from_numpy(x), torch.from_numpy(y))
    assert result == pytest.approx(within_x + within_y - 2 * between, rel=1e-12)


def test_mmd_is_unbiased() -> None:
    """x from N(0, 1), y from N(1/2, 1), one dimension: E (x y + 1)³ by moments."""
    moments = {1: (0.0, 0.5), 2: (1.0, 1.25), 3: (0.0, 0.125 + 1.5)}
    terms = {1: 3, 2: 3, 3: 1}
    truth = sum(c * (moments[k][0] - moments[k][1]) ** 2 for k, c in terms.items())
    values = [polynomial_mmd(features(20, 1, 2 * s), features(20, 1, 2 * s + 1, 0.5)) for s in range(2000)]
    error = np.std(values) / len(values) ** 0.5
    assert abs(np.mean(values) - truth) < 4 * error
    assert error < 0.1 * truth


class Given(nn.Module):
    """A network whose features are its input."""

    num_features = 6

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save:UserWarning")
def test_equal_to_torchmetrics() -> None:
    """Every subset is the whole set, so that it does not matter which are drawn."""
    reals, fakes = features(60), features(60, seed=1, offset=0.3)
    metric = KernelInceptionDistance(feature=Given(), subsets=2, subset_size=60, normalize=True)
    metric.set_dtype(torch.float64)
    for rows, real in ((reals, True), (fakes, False)):
        metric.update(rows[:, None, None], real=real)
    with torch.random.fork_rng([]):  # torchmetrics shuffles by the global generator
        mean, std = metric.compute()
    result = kernel_distance(reals, fakes)
    assert result.value == pytest.approx(mean.item(), rel=1e-5)
    assert result.std == pytest.approx(std.item(), abs=1e-7)
    assert result.subset_size == 60
    assert result.standard_error is None


def test_a_seed_fixes_the_subsets() -> None:
    reals, fakes = features(100), features(90, seed=1, offset=0.3)
    assert quick(reals, fakes) == quick(reals, fakes)
    assert quick(reals, fakes).value != quick(reals, fakes, seed=1).value
    assert quick(reals, fakes).std > 0


def test_subsets_are_drawn_without_replacement() -> None:
    """Distinct rows: with one drawn twice, the kernel of a pair of copies would stand out by its size."""
    reals = 1e3 * torch.eye(40)
    result = quick(reals, torch.zeros(40, 40), size=20, subsets=50)
    assert result.value == pytest.approx(0, abs=1e-9)


def test_blocks_for_the_error_are_disjoint(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def record(x: Tensor, y: Tensor) -> float:
        seen.append((x, y))
        return polynomial_mmd(x, y)

    monkeypatch.setattr("styleloom.metrics.kid.polynomial_mmd", record)
    result = quick(torch.arange(105.0)[:, None], torch.arange(120.0)[:, None])
    assert (result.num_blocks, result.subset_size, result.num_subsets) == (5, 20, 10)
    assert len(seen) == 15
    for which in (0, 1):
        assert len(torch.cat([pair[which] for pair in seen[10:]]).unique()) == 100
        assert len(torch.cat([pair[which] for pair in seen[:10]]).unique()) < 120
    estimates = [polynomial_mmd(*pair) for pair in seen[10:]]
    expected = np.std(estimates, ddof=1) * np.sqrt(1 / 5 + (1 - 1 / 5) / 10)
    assert result.standard_error == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("subsets", [1, 5, 100])
def test_the_error_is_the_scatter_between_samples(subsets: int) -> None:
    pairs = [(features(100, 2, 2 * s), features(100, 2, 2 * s + 1, 0.5)) for s in range(250)]
    results = [quick(*pair, subsets=subsets) for pair in pairs]
    said = np.mean([one.standard_error**2 for one in results if one.standard_error is not None])
    assert said == pytest.approx(np.var([one.value for one in results]), rel=0.4)


def test_generators_of_the_process_are_left_alone() -> None:
    ours, theirs = torch.random.get_rng_state(), str(np.random.get_state())
    quick(features(50), features(50, seed=1))
    assert torch.equal(ours, torch.random.get_rng_state())
    assert theirs == str(np.random.get_state())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_subsets": 0}, "num_subsets is 0; valid: 1 or more"),
        ({"subset_size": 1}, "subset_size is 1; valid: 2 or more"),
        ({"seed": -1}, "seed is -1; valid: 0 or more"),
    ],
)
def test_refuses_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        kernel_distance(features(5), features(5), **options)


def test_refuses_features() -> None:
    with pytest.raises(UserError, match="KID of 5 reals and 1 fakes; valid: 2 or more"):
        kernel_distance(features(5), features(1))
    with pytest.raises(UserError, match=r"features are \[5, 4\]; valid: \[N, 6\]"):
        kernel_distance(features(5), features(5, 4))
    with pytest.raises(UserError, match="hold nan"):
        kernel_distance(features(5), features(5) * float("nan"))
