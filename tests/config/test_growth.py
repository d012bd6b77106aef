"""Level of detail by images seen."""

from __future__ import annotations

import pytest

from every import every
from styleloom.config import Growth
from styleloom.config.growth import growth_at, lod_at, resolution_at
from styleloom.types import GrowthState

FROM_8, FROM_4 = Growth("progressive", 8), Growth("progressive", 4)


@every(
    ("kimg", "lod"),
    [(0, 7.0), (600, 7.0), (900, 6.5), (1200, 6.0), (1800, 6.0), (7800, 1.0), (8400, 0.0), (25000, 0.0)],
)
def test_table(kimg: float, lod: float) -> None:
    """1024 px from 8 px, 600 kimg + 600 kimg: the 8.4M line of StyleGAN Fig. 9."""
    assert lod_at(kimg * 1000, FROM_8, 1024) == pytest.approx(lod)


def test_from_4() -> None:
    assert lod_at(0, FROM_4, 1024) == 8
    assert lod_at(9_599_999, FROM_4, 1024) > 0
    assert lod_at(9_600_000, FROM_4, 1024) == 0


def test_lod_falls_steadily() -> None:
    lods = [lod_at(kimg * 1000, FROM_8, 64) for kimg in range(0, 5000, 20)]
    assert lods == sorted(lods, reverse=True)
    assert lods[0] == 3
    assert min(lods) == 0


def test_phases_of_other_lengths() -> None:
    growth = Growth("progressive", 8, stabilize_kimg=100, fade_kimg=300)
    assert lod_at(250_000, growth, 32) == pytest.approx(1.5)
    without_fade = Growth("progressive", 8, stabilize_kimg=100, fade_kimg=0)
    assert [lod_at(k * 1000, without_fade, 32) for k in (0, 99, 100, 199, 200)] == [2, 2, 1, 1, 0]


@every(("kimg", "side"), [(0, 8), (600, 8), (601, 16), (1200, 16), (1801, 32), (8400, 1024)])
def test_tables_take_the_new_resolution_when_its_fade_begins(kimg: float, side: int) -> None:
    assert resolution_at(lod_at(kimg * 1000, FROM_8, 1024), 1024) == side


@every(
    ("kimg", "level", "alpha"),
    [(0, 1, 1.0), (600, 1, 1.0), (750, 2, 0.25), (900, 2, 0.5), (1200, 2, 1.0), (8400, 8, 1.0)],
)
def test_what_networks_are_told(kimg: float, level: int, alpha: float) -> None:
    """Level 0 is 4x4; alpha is the weight of the new level."""
    state = growth_at(kimg * 1000, FROM_8, 1024)
    assert state is not None
    assert state.level == level
    assert state.alpha == pytest.approx(alpha)
    assert isinstance(state, GrowthState)


def test_networks_that_do_not_grow() -> None:
    for seen in (0, 1_000_000):
        assert lod_at(seen, Growth(), 1024) == 0
        assert growth_at(seen, Growth(), 1024) is None
    assert resolution_at(0, 256) == 256
