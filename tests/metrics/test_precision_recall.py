"""Precision and recall against scikit-learn and SciPy, and the cases in which rounding decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from styleloom.errors import UserError
from styleloom.metrics import precision_recall as module
from styleloom.metrics.precision_recall import PrecisionRecall, precision_recall


def features(num: int, dim: int = 8, seed: int = 0, scale: float = 1.0, offset: float = 0.0) -> Tensor:
    return scale * torch.randn(num, dim, generator=torch.Generator().manual_seed(seed)) + offset


def by_scikit_learn(reals: Tensor, fakes: Tensor, k: int = 3) -> PrecisionRecall:
    """With radii of scikit-learn and the whole matrix of distances, in float64."""
    x, y = reals.double().numpy(), fakes.double().numpy()
    # Without queries of its own, a point is not its own neighbour.
    radii = [NearestNeighbors(n_neighbors=k).fit(s).kneighbors()[0][:, -1] for s in (x, y)]
    distances = pairwise_distances(x, y)
    return PrecisionRecall(
        precision=float((distances <= radii[0][:, None]).any(axis=0).mean()),
        recall=float((distances <= radii[1]).any(axis=1).mean()),
    )


def precision_recall_reference(reals: Tensor, fakes: Tensor, k: int = 3) -> PrecisionRecall:
    """The papers' definition, from SciPy's differences in float64."""
    x, y = reals.double().numpy(), fakes.double().numpy()
    # Squared, as roots of different numbers may be equal. An image is no neighbour of its own, copies are.
    radii = [np.sort(cdist(s, s, "sqeuclidean") + np.diag([np.inf] * len(s)))[:, k - 1] for s in (x, y)]
    distances = cdist(x, y, "sqeuclidean")
    return PrecisionRecall(
        precision=float((distances <= radii[0][:, None]).any(axis=0).mean()),
        recall=float((distances <= radii[1]).any(axis=1).mean()),
    )


@settings(max_examples=30, deadline=None)
@example(reals=24, fakes=24, dim=1, scale=1.312879870822503, k=1, budget=784)
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
    assert precision_recall(x, y, k=k, budget_bytes=budget) == by_scikit_learn(x, y, k)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    sizes=st.tuples(st.integers(6, 90), st.integers(6, 90)),
    dim=st.sampled_from([1, 2, 5, 64]),
    k=st.integers(1, 5),
    budget=st.sampled_from([16 * 7**2, 16 * 40**2, 2**30]),
    kind=st.sampled_from(["copies", "lattice", "offset", "clusters", "scales", "tiny", "huge"]),
)
def test_equal_to_brute_force_where_rounding_decides(
    seed: int, sizes: tuple[int, int], dim: int, k: int, budget: int, kind: str
) -> None:
    """Copies and ties within and between the sets; a mean of 1e4 with a spread of ten steps of float32; two
    tight clusters far apart; features of very different scales; squares beyond the range of float32."""
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randn(max(sizes), dim, generator=generator)
    pool = {
        "copies": pool[: max(sizes) // 4 + 1],
        "lattice": pool.round() * 3,
        "offset": 1e4 + 1e-2 * pool,
        "clusters": 1e4 * pool[:, :1].sign() + 1e-2 * pool,
        "scales": pool * 10.0 ** torch.randint(-8, 8, (dim,), generator=generator),
        "tiny": 1e-25 * pool,
        "huge": 1e25 * pool,
    }[kind]
    x, y = (pool[torch.randint(0, len(pool), (size,), generator=generator)] for size in sizes)
    fresh = torch.rand(len(y), generator=generator) < 0.5
    y[fresh] = pool[:1] + (y[fresh] - pool[:1]) * (1 if kind == "lattice" else 1.25)
    result = precision_recall(x, y, k=k, budget_bytes=budget)
    assert result == precision_recall_reference(x, y, k)


def test_equal_to_scikit_learn_on_many_features_far_from_the_origin() -> None:
    """512 features on a surface of six dimensions; squared lengths are a thousand times squared distances."""
    surface = features(6, 512, seed=2)
    x = 0.2 * (features(400, 6) @ surface).relu() + 20
    y = 0.2 * (features(300, 6, seed=1, scale=0.9, offset=0.7) @ surface).relu() + 20
    expected = by_scikit_learn(x, y)
    assert 0.5 < expected.recall < expected.precision < 0.95
    assert precision_recall(x, y, budget_bytes=2**18) == expected


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


def test_copies_that_differ_by_rounding_are_no_copies() -> None:
    """Balls of copies are points, which hold nothing else; balls of near copies reach from one to another."""
    x = features(60, 500, scale=3).repeat(4, 1)
    y = x * (1 + 1e-6 * features(240, 500, seed=2))
    result = precision_recall(x, y)
    assert result == precision_recall_reference(x, y) == PrecisionRecall(0.0, 1.0)
    assert precision_recall(y, y.flip(0)) == PrecisionRecall(1.0, 1.0)


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


@pytest.mark.parametrize(("dim", "offset"), [(1, 0.0), (7, 50.0), (512, 3.0), (4096, 0.0)])
def test_measured_distances_lie_within_their_bounds(dim: int, offset: float) -> None:
    """In both precisions, of near and of far neighbours, whatever the order of sums on this processor."""
    x = features(200, dim, offset=offset).relu()
    near = x[:100] * (1 + 1e-5 * features(100, dim, seed=1))
    y = torch.cat((near, 40 * features(100, dim, seed=2)))
    exact = torch.from_numpy(cdist(x.double(), y.double(), "sqeuclidean"))
    a, b = module._clouds(x, y)
    whole = slice(0, 200)
    for dtype, measured in (
        (torch.float32, module._Distances(200, a.features).between(a, whole, b, whole)),
        (torch.float64, module._precise_distances(a, torch.arange(200), b)),
    ):
        rounding = module._Rounding.of(dtype, dim)
        for squares in (a.squares[:, None], b.squares):
            low, high = rounding.bounds(measured, squares)
            assert (low <= exact * a.scale**2).all()
            assert (exact * a.scale**2 <= high).all()
            sure, maybe = rounding.reaches(exact * a.scale**2, exact * a.scale**2, squares)
            assert (sure <= measured).all()
            assert (measured <= maybe).all()


def test_a_pairs_distance_depends_on_the_pair_alone() -> None:
    """Radii and distances between sets meet where images are copies."""
    x, y = features(40, 777), features(30, 777, seed=1)
    a, b = module._clouds(x, y)
    rows, columns = torch.arange(40).repeat_interleave(30), torch.arange(30).repeat(40)
    whole = module._differences(a, rows, b, columns, 2**20)
    torch.testing.assert_close(
        whole / a.scale**2, torch.from_numpy(cdist(x.double(), y.double(), "sqeuclidean")).flatten()
    )
    assert torch.equal(module._differences(a, rows, b, columns, 777), whole)
    assert torch.equal(module._differences(b, columns, a, rows, 5 * 777), whole)


def test_a_collapsed_generator_costs_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """All its images are each other's neighbours, by rounding; no real is near."""

    def refuse(*_: object) -> None:
        raise AssertionError

    for name in ("_precise_distances", "_differences"):
        monkeypatch.setattr(module, name, refuse)
    x = features(300, 64)
    fakes = 5 + 1e-6 * features(300, 64, seed=1)
    assert precision_recall(x, fakes) == PrecisionRecall(0.0, 0.0)
