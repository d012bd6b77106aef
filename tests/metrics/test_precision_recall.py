"""Precision and recall against scikit-learn, and the cases in which rounding decides."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from styleloom.errors import UserError
from styleloom.metrics import precision_recall as module
from styleloom.metrics.precision_recall import PrecisionRecall, precision_recall


def features(num: int, dim: int = 8, seed: int = 0, scale: float = 1.0, offset: float = 0.0) -> Tensor:
    return scale * torch.randn(num, dim, generator=torch.Generator().manual_seed(seed)) + offset


def precision_recall_reference(reals: Tensor, fakes: Tensor, k: int = 3) -> PrecisionRecall:
    """With radii of scikit-learn and the whole matrix of distances, in float64."""
    x, y = reals.double().numpy(), fakes.double().numpy()
    # Without queries of its own, a point is not its own neighbour.
    radii = [NearestNeighbors(n_neighbors=k).fit(s).kneighbors()[0][:, -1] for s in (x, y)]
    distances = pairwise_distances(x, y)
    return PrecisionRecall(
        precision=float((distances <= radii[0][:, None]).any(axis=0).mean()),
        recall=float((distances <= radii[1]).any(axis=1).mean()),
    )


@settings(max_examples=30, deadline=None)
@given(
    reals=st.integers(6, 150),
    fakes=st.integers(6, 150),
    dim=st.integers(1, 40),
    scale=st.floats(0.2, 1.5),
    k=st.integers(1, 5),
    budget=st.sampled_from([16, 16 * 7**2, 16 * 40**2, 2**30]),
)
def test_equal_to_scikit_learn(reals: int, fakes: int, dim: int, scale: float, k: int, budget: int) -> None:
    """In blocks of 1, 7 and 40 images, and in one."""
    if budget == 16:
        reals, fakes = min(reals, 20), min(fakes, 20)
    x, y = features(reals, dim), features(fakes, dim, seed=1, scale=scale)
    assert precision_recall(x, y, k=k, budget_bytes=budget) == precision_recall_reference(x, y, k)


def test_equal_to_scikit_learn_on_many_features_far_from_the_origin() -> None:
    """512 features on a surface of six dimensions; squared lengths are a thousand times squared distances."""
    surface = features(6, 512, seed=2)
    x = 0.2 * (features(400, 6) @ surface).relu() + 20
    y = 0.2 * (features(300, 6, seed=1, scale=0.9, offset=0.7) @ surface).relu() + 20
    expected = precision_recall_reference(x, y)
    result = precision_recall(x, y, budget_bytes=2**18)
    assert 0.5 < expected.recall < expected.precision < 0.95
    assert result.precision == pytest.approx(expected.precision, abs=1 / 300)
    assert result.recall == pytest.approx(expected.recall, abs=1 / 400)


@pytest.mark.parametrize("budget", [16 * 33**2, 2**30])
@pytest.mark.parametrize(("dim", "offset"), [(3, 0.0), (300, 0.0), (300, 100.0)])
def test_equal_sets_score_one_exactly(dim: int, offset: float, budget: int) -> None:
    x = features(150, dim, offset=offset)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    assert precision_recall(x, x[order], budget_bytes=budget) == PrecisionRecall(1.0, 1.0)


@pytest.mark.parametrize("budget", [16 * 33**2, 2**30])
@pytest.mark.parametrize("dim", [2, 100, 3000])
def test_copies_are_inside_balls_of_radius_zero(dim: int, budget: int) -> None:
    """Every image five times in both sets: with k = 3 all balls are points. Rounding must not empty them."""
    base = features(20, dim, scale=30, offset=7)
    x, y = base.repeat(5, 1), base.flip(0).repeat_interleave(5, dim=0)
    assert precision_recall(x, y, budget_bytes=budget) == PrecisionRecall(1.0, 1.0)
    strangers = torch.cat((y[:50], features(50, dim, seed=1, scale=30, offset=7)))
    result = precision_recall(x, strangers, budget_bytes=budget)
    assert result.precision == 0.5  # points hold their copies and nothing else


def test_copies_that_differ_by_rounding_are_copies() -> None:
    x = features(60, 500, scale=3).repeat(4, 1)
    wobble = 1 + 1e-6 * features(240, 500, seed=2)
    assert precision_recall(x, x * wobble) == PrecisionRecall(1.0, 1.0)


def test_a_collapsed_generator_has_no_recall() -> None:
    x = features(100, 16)
    assert precision_recall(x, x[:1].repeat(50, 1)) == PrecisionRecall(1.0, 0.01)
    assert precision_recall(x, torch.full((50, 16), 50.0)) == PrecisionRecall(0.0, 0.0)


def test_the_surface_belongs_to_the_ball() -> None:
    """On a line, k = 1: balls of reals reach 1 to both sides, those of fakes as written beside them."""
    reals = torch.tensor([[-1.5], [-0.5], [9.5], [10.5]])
    fakes = torch.tensor([[-2.5], [0.5], [0.75], [11.5], [-22.25]])  # 3, 1/4, 1/4, 10.75, 19.75
    assert precision_recall(reals, fakes, k=1) == PrecisionRecall(3 / 5, 4 / 4)
    farther = torch.tensor([[-2.75], [0.75], [1.0], [11.5], [-22.25]])
    assert precision_recall(reals, farther, k=1).precision == 1 / 5


def test_sets_exchanged_exchange_the_numbers() -> None:
    x, y = features(80), features(90, seed=1, scale=0.7)
    there, back = precision_recall(x, y), precision_recall(y, x)
    assert (there.precision, there.recall) == (back.recall, back.precision)
    assert there.precision > there.recall


def test_inputs_are_left_alone() -> None:
    x, y = features(30), features(30, seed=1)
    before = x.clone(), y.clone()
    precision_recall(x, y)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


def test_blocks_keep_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Counted(module._Distances):
        def __init__(self, side: int, like: Tensor) -> None:
            super().__init__(side, like)
            sizes.append(module.MATRICES_PER_BLOCK * self.distances.numel() * self.distances.element_size())

    monkeypatch.setattr(module, "_Distances", Counted)
    precision_recall(features(300), features(200, seed=1), budget_bytes=10_000)
    assert len(sizes) == 3
    assert 8_000 < max(sizes) <= 10_000


@pytest.mark.parametrize("k", [1, 3])
def test_refuses_sets_without_enough_neighbours(k: int) -> None:
    message = f"are {k} images; valid: {k + 1} or more, for neighbours of order {k}"
    with pytest.raises(UserError, match=f"reals {message}"):
        precision_recall(features(k), features(9), k=k)
    with pytest.raises(UserError, match=f"fakes {message}"):
        precision_recall(features(9), features(k), k=k)


def test_refuses_options_and_features() -> None:
    x = features(9)
    with pytest.raises(UserError, match="k is 0; valid: 1 or more"):
        precision_recall(x, x, k=0)
    with pytest.raises(UserError, match="budget_bytes is 15; valid: 16 or more"):
        precision_recall(x, x, budget_bytes=15)
    with pytest.raises(UserError, match=r"features are \[9, 7\]; valid: \[N, 8\]"):
        precision_recall(x, features(9, 7))
    with pytest.raises(UserError, match="features of image 0 hold nan"):
        precision_recall(x * float("nan"), x)


def test_self_distances_of_large_features_round_less_than_the_tolerance() -> None:
    """What the tolerance rests on: copies would otherwise be at such distances."""
    cloud = module._Cloud(features(512, 4096).relu() - 0.4)
    raw = 2 * cloud.squares - 2 * (cloud.features @ cloud.features.T).diagonal()
    relative = (raw.abs() / (2 * cloud.squares)).max().item()
    assert 0 < relative < 0.25 * module._Distances(1, cloud.features).tolerance
