"""Changes of images between snapshots, against closed forms."""

from __future__ import annotations

import copy

import pytest
import torch

from metrics.probed import DIM, labels, linear, real
from styleloom.errors import UserError
from styleloom.metrics.evaluation.definitions import METRICS
from styleloom.metrics.probes.stability import changes, images_at
from styleloom.types import GrowthState

SEEDS = range(METRICS["stability"].num)


def test_an_offset_and_a_change_of_the_map() -> None:
    matrix = torch.randn(3 * 8 * 8, DIM)
    difference = torch.randn(3 * 8 * 8, DIM) / 10
    before, after = images_at(linear(matrix), SEEDS), images_at(linear(matrix + difference), SEEDS)
    z, _ = linear(matrix).draw(SEEDS)
    expected = (z @ difference.t()).square().mean().item()  # noise maps are the same in both
    assert changes(before, after) == {8: pytest.approx(expected, rel=1e-5)}
    assert changes(before, before) == {8: 0}
    assert changes(before, {8: before[8] + 0.25}) == {8: pytest.approx(1 / 16)}
    assert changes(after, before) == changes(before, after)


def test_images_are_those_of_the_seeds_and_not_clipped() -> None:
    sampler = linear(3 * torch.randn(3 * 8 * 8, DIM))
    images = images_at(sampler, [4, 2])
    assert images[8].abs().max() > 1
    assert torch.equal(images[8], sampler.generate([4, 2]))


@pytest.mark.parametrize("preset", ["msg-progan", "msg-stylegan"])
def test_every_level_of_a_pyramid(preset: str) -> None:
    sampler = real(preset)
    images = images_at(sampler, range(3))
    assert {side: x.shape for side, x in images.items()} == {side: (3, 3, side, side) for side in (4, 8, 16)}
    torch.testing.assert_close(images[16], sampler.generate(range(3)), rtol=1e-4, atol=1e-5)  # other passes
    moved = copy.deepcopy(sampler)
    moved.generator.synthesis_network.get_parameter("to_rgb.8.bias").data += 0.5
    assert changes(images, images_at(moved, range(3))) == {4: 0, 8: pytest.approx(0.25), 16: 0}


def test_pyramids_of_some_levels() -> None:
    assert list(images_at(real("msg-progan-coarse"), [0])) == [4, 8, 16]
    assert list(images_at(real("msg-progan-none"), [0])) == [16]


def test_growing_runs_compare_within_a_level() -> None:
    progan = real("progan", growth=GrowthState(1, 0.25))
    low = images_at(progan, range(4))
    progan.growth = GrowthState(1, 1.0)
    faded = images_at(progan, range(4))
    progan.growth = GrowthState(2, 0.25)
    high = images_at(progan, range(4))
    assert (list(low), list(high)) == ([8], [16])
    (change,) = changes(low, faded).values()
    assert change > 0
    assert changes(faded, high) == {}


def test_labels() -> None:
    sampler = real("stylegan2-f", "label_dim=3")
    images = images_at(sampler, [1, 1], labels(0, 1))[16]
    assert not torch.allclose(images[0], images[1])


def test_refuses_other_seeds() -> None:
    images = torch.zeros(4, 3, 8, 8)
    with pytest.raises(UserError, match=r"images at 8 px: \[4, 3, 8, 8\] before, \[1, 3, 8, 8\] after"):
        changes({8: images}, {8: images[:1]})
