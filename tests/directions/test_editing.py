"""Latents along directions: what moves, by how much, and what is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from styleloom.directions.discovery import pca, sefa
from styleloom.directions.editing import edited, moved
from styleloom.errors import UserError
from styleloom.latents import load_latents, save_latents
from tiny import tiny

from .planted import planted
from .test_discovery import sampler_of


def test_moved() -> None:
    ws, step = torch.zeros(2, 3, 4), torch.tensor([1.0, 0, 0, 2])
    result = moved(ws, step, torch.tensor([1.0, -2]), [0, 2])
    assert torch.equal(result[:, 1], torch.zeros(2, 4))
    assert torch.equal(result[1, 2], -2 * step)
    assert torch.equal(moved(ws, step, torch.ones(2)), step.expand(2, 3, 4))
    assert torch.equal(moved(ws[:, 0], step, torch.tensor([0.0, 3]))[1], 3 * step)


def test_images_follow_the_planted_direction() -> None:
    """Brightness rises by a tenth of the deviation for each unit; a strength of 0 changes nothing."""
    sampler, direction = planted()
    found = pca(sampler, count=1)
    sign = float((found.vectors[0] @ direction).sign())
    latents = sampler.latents([0, 1])
    images = sampler.render(edited(latents, found, "pca-0", [-2, 0, 1])).mean((1, 2, 3)).reshape(2, 3)
    before = sampler.render(latents).mean((1, 2, 3))
    assert torch.equal(images[:, 1], before)
    expected = sign * float(found.deviations[0]) / 10
    torch.testing.assert_close(images[:, 2] - before, torch.full((2,), expected), rtol=0.02, atol=0)
    torch.testing.assert_close(images[:, 0] - before, torch.full((2,), -2 * expected), rtol=0.02, atol=0)
    half = sampler.render(edited(latents, found, "pca-0", [1], layers=[0, 3])).mean((1, 2, 3))
    torch.testing.assert_close(half - before, torch.full((2,), expected / 2), rtol=0.02, atol=0)
    length = edited(latents, found, "pca-0", [1], unit="length")
    torch.testing.assert_close((length.values - latents.values)[:, 0].norm(dim=1), torch.ones(2))


def test_records_say_what_was_done_and_files_keep_it(tmp_path: Path) -> None:
    sampler, _ = planted()
    found = pca(sampler, count=2)
    once = edited(sampler.latents([5]), found, "pca-1", [-1, 2], layers=[1])
    twice = edited(once, found, "pca-0", [3])
    assert [record["seed"] for record in twice.images] == [5, 5]
    assert twice.images[1]["edits"] == [
        {"direction": "pca-1", "unit": "deviation", "layers": [1], "strength": 2.0},
        {"direction": "pca-0", "unit": "deviation", "layers": [0, 1, 2, 3], "strength": 3.0},
    ]
    path = tmp_path / "a.latent.safetensors"
    save_latents(path, twice)
    assert torch.equal(sampler.render(load_latents(path)), sampler.render(twice))


def test_what_does_not_belong_together_is_refused() -> None:
    sampler, _ = planted()
    found, latents = pca(sampler, count=1), sampler.latents([0])
    for arguments, message in (
        ((latents, found, "pca-9", [1]), "'pca-9' does not exist"),
        ((latents, found, "pca-0", [float("nan")]), "strength"),
        ((latents, found, "pca-0", [1], [4]), "layers: 4"),
        ((sampler_of(tiny("generator.w_dim=8")).latents([0]), found, "pca-0", [1]), "numbers of a latent"),
    ):
        with pytest.raises(UserError, match=message):
            edited(*arguments)  # type: ignore[arg-type]


def test_z_is_edited_where_there_is_no_w() -> None:
    from presets.shrink import shrink
    from styleloom import presets

    sampler = sampler_of(shrink(presets.get("progan")))
    found = sefa(sampler, count=1)
    latents = sampler.latents([0, 1])
    result = edited(latents, found, "sefa-0", [0, 2])
    assert result.values.shape == (4, sampler.generator.z_dim)
    images = sampler.render(result)
    assert torch.equal(images[::2], sampler.render(latents))
    assert not torch.equal(images[1::2], images[::2])
    other, _ = planted()
    with pytest.raises(UserError, match="directions: in w, and latents in z"):
        edited(latents, pca(other, count=1), "pca-0", [1])
