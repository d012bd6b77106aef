from __future__ import annotations

import pytest
import torch

from every import every
from styleloom.training.cutoffs import draw_cutoffs


def rng() -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(3)


def test_probability_0_never_mixes() -> None:
    assert (draw_cutoffs(64, 10, 0.0, rng(), 10, 4) == 10).all()


def test_probability_1_always_mixes_with_every_cut() -> None:
    """Uniform in 1..num_ws - 1: neither 0 nor num_ws."""
    cuts = draw_cutoffs(4 * 20000, 6, 1.0, rng(), 6, 4)[:20000]
    counts = torch.bincount(cuts, minlength=7)
    assert counts[[0, 6]].tolist() == [0, 0]
    torch.testing.assert_close(counts[1:6] / 20000, torch.full((5,), 0.2), rtol=0, atol=0.012)


@pytest.mark.parametrize("probability", [0.5, 0.9])
def test_share_of_mixed_units(probability: float) -> None:
    cuts = draw_cutoffs(4 * 20000, 6, probability, rng(), 6, 4)[:20000]
    assert (cuts < 6).float().mean().item() == pytest.approx(probability, abs=0.012)
    mixed = torch.bincount(cuts[cuts < 6], minlength=6)[1:]
    torch.testing.assert_close(mixed / mixed.sum(), torch.full((5,), 0.2), rtol=0, atol=0.012)


@every(("batch", "units"), [(1, 1), (3, 1), (4, 1), (8, 2), (32, 8), (10, 2), (7, 1)])
def test_members_of_a_unit_are_strided(batch: int, units: int) -> None:
    """Samples i, i + M, ... share one coin and cut, so that micro-batches keep them together."""
    cuts = draw_cutoffs(batch, 1000, 1.0, rng(), 1000, 4)
    assert cuts.shape == (batch,)
    for i in range(batch):
        assert cuts[i] == cuts[i % units]
    assert len(set(cuts.tolist())) == units  # of 1000 cuts, no two are equal by chance with this seed


def test_the_generator_alone_decides() -> None:
    torch.manual_seed(1)
    first = draw_cutoffs(32, 10, 0.5, rng(), 10, 4)
    torch.manual_seed(2)
    assert torch.equal(first, draw_cutoffs(32, 10, 0.5, rng(), 10, 4))
