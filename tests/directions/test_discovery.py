"""Finding directions: each method finds the one that was planted; what generators cannot have is refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from every import every
from presets.shrink import shrink
from styleloom import presets
from styleloom.config import Experiment
from styleloom.directions.boundary import fit_boundary
from styleloom.directions.direction_set import Directions
from styleloom.directions.discovery import (
    boundaries,
    by_classifiers,
    latents_of,
    pca,
    sampled_w,
    scored_latents,
    sefa,
)
from styleloom.errors import UserError
from styleloom.networks.build import build_generator
from styleloom.sampling import Sampler
from tiny import tiny

from .planted import bright, planted


def angle(found: Directions, direction: Tensor, at: int = 0) -> float:
    return abs(float(found.vectors[at] @ direction))


def test_sefa_finds_the_planted_direction() -> None:
    sampler, direction = planted()
    found = sefa(sampler, count=3)
    assert found.names == ("sefa-0", "sefa-1", "sefa-2")
    assert found.layers == (0, 1, 2, 3)
    assert angle(found, direction) > 0.99
    assert found.values[0] > 4 * found.values[1]
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(3), atol=1e-5, rtol=0)


def test_pca_finds_the_planted_direction() -> None:
    sampler, direction = planted()
    found = pca(sampler, count=16)
    assert angle(found, direction) > 0.99
    assert float(found.values.sum()) == pytest.approx(1, abs=1e-5)
    assert found.values[0] > 0.5
    w = sampled_w(sampler)
    torch.testing.assert_close(found.deviations, (w @ found.vectors.T).std(0), rtol=1e-3, atol=1e-4)


def test_classifiers_find_the_planted_direction() -> None:
    sampler, direction = planted()
    latents, scores = scored_latents(sampler, by_classifiers([bright()]), ["bright"], range(400))
    assert list(scores) == ["bright"]
    torch.testing.assert_close(latents, latents_of(sampler, range(400)))
    found = boundaries(sampler, latents, scores)
    assert float(found.vectors[0] @ direction) > 0.98  # towards bright images, not away from them
    assert found.values[0] > 0.95


def test_latents_of_many_seeds_are_drawn_pass_by_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise maps of all seeds together would not fit in memory."""
    sampler, drawn = sampler_of(tiny("label_dim=3")), []
    draw = sampler.draw

    def noted(seeds: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        drawn.append(len(seeds))
        return draw(seeds)

    monkeypatch.setattr(sampler, "draw", noted)
    seeds = range(7, 27)
    found = latents_of(sampler, seeds)
    assert drawn == [16, 4]
    classes = [seed % 3 for seed in seeds]
    torch.testing.assert_close(found, sampler.latents(seeds, classes=classes).values[:, 0])


def test_accuracy_is_that_of_latents_that_were_not_fitted() -> None:
    """Labels by chance can be fitted in many dimensions; held-out latents show that they mean nothing."""
    rng = torch.Generator().manual_seed(0)
    boundary = fit_boundary(torch.randn(200, 150, generator=rng), torch.randn(200, generator=rng), keep=1)
    assert boundary.num_fitted + boundary.num_held_out == pytest.approx(200, abs=30)
    assert abs(boundary.accuracy - 0.5) < 0.2
    with pytest.raises(UserError, match="3 of 40 images have it"):
        fit_boundary(torch.randn(40, 4), torch.tensor([1.0] * 3 + [-1.0] * 37))


def sampler_of(experiment: Experiment) -> Sampler:
    """An untrained generator."""
    torch.manual_seed(0)
    return Sampler(build_generator(experiment.generator).eval().requires_grad_(False), experiment)


@every(
    ("name", "space", "has_sefa"),
    [
        ("progan", "z", True),
        ("msg-progan", "z", True),
        ("msg-stylegan", "w", True),
        ("stylegan-b", "z", True),
        ("stylegan-traditional-8", "z", False),
        ("stylegan-c", "w", True),
        ("stylegan-c-paper", "w", True),
        ("stylegan-f", "w", True),
        ("stylegan2-d", "w", True),
        ("stylegan2-e-g-orig-d-orig", "w", True),
        ("stylegan2-e-g-resnet-d-orig", "w", True),
        ("stylegan2-f", "w", True),
    ],
)
def test_families(name: str, space: str, has_sefa: bool) -> None:
    """Directions move what the family has, or one sentence says why there are none."""
    sampler = sampler_of(shrink(presets.get(name)))
    generator = sampler.generator
    weights = generator.synthesis_network.style_weights()
    assert len(weights) == generator.num_ws
    assert all(weight.shape[1] == generator.w_avg.shape[0] for weight in weights)
    if has_sefa:
        found = sefa(sampler, count=2)
        assert found.space == space
        change = torch.cat([weights[at] for at in found.layers]).T[: found.vectors.shape[1]]
        change = change / change.norm(dim=0)
        first, second = (float((vector @ change).norm()) for vector in found.vectors)
        assert first == pytest.approx(float(found.values[0]), rel=1e-4)
        assert second <= first
    else:
        with pytest.raises(UserError, match="no styles"):
            sefa(sampler)
    if space == "w":
        assert pca(sampler, count=1).values[0] > 1 / generator.w_avg.shape[0]
    else:
        with pytest.raises(UserError, match="no w"):
            pca(sampler)


def test_labels_choose_what_w_is_measured_of() -> None:
    """Without a class all classes are drawn; with one, w is that of the class."""
    sampler = sampler_of(tiny("label_dim=3"))
    every, one = sampled_w(sampler, 300), sampled_w(sampler, 300, classes=1)
    assert not torch.equal(every, one)
    torch.testing.assert_close(one, sampled_w(sampler, 300, classes=1))


def test_layers_choose_weights() -> None:
    sampler = sampler_of(tiny())
    weights = sampler.generator.synthesis_network.style_weights()
    assert len(weights) == sampler.generator.num_ws
    fine = sefa(sampler, count=1, layers=[2, 3])
    assert fine.layers == (2, 3)
    assert not torch.allclose(fine.vectors, sefa(sampler, count=1, layers=[0]).vectors)
    for layers, count in (([4], 1), ([], 1), (None, 17), (None, 0)):
        with pytest.raises(UserError):
            sefa(sampler, count=count, layers=layers)
