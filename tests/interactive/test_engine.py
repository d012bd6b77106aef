"""The engine makes the sampler's images, computes no more than it must, and bends what it is told to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from export.tiny_snapshots import snapshot
from styleloom.directions.direction_set import Directions
from styleloom.directions.editing import edited
from styleloom.errors import UserError
from styleloom.interactive.bending import BOUNDS, Bend, bent, chosen_maps
from styleloom.interactive.engine import Engine
from styleloom.interactive.making import Maker, named
from styleloom.interactive.recipe import Recipe
from styleloom.mixing import layers_named, mixed
from styleloom.networks.stages import run_all, stages_of
from styleloom.sampling import Sampler

FAMILIES = (
    "progan",
    "stylegan-f",
    "msg-stylegan",
    "stylegan2-d",
    "stylegan2-f",
    "stylegan2-f/generator.architecture=resnet",
    "stylegan2-f/generator.architecture=orig",
)


def sampler_of(folder: Path, preset: str, *overrides: str) -> Sampler:
    name, *others = preset.split("/")
    return Sampler.of(snapshot(folder, name, "resolution=32", *others, *overrides), "cpu", "fp32")


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("preset", FAMILIES)
def test_pictures_are_those_of_the_sampler(tmp_path: Path, preset: str) -> None:
    sampler = sampler_of(tmp_path, preset)
    engine, maker = Engine(sampler), Maker(sampler)
    psi = 0.7 if sampler.space == "w" else 1.0
    for recipe in (Recipe(seed=3, psi=(psi,)), Recipe(seed=4, noise="fixed"), Recipe(seed=4, noise="none")):
        latents = maker.latents(recipe)
        expected = sampler.generate([recipe.seed], recipe.truncation, noise=recipe.noise)[0]
        assert torch.equal(engine.exact(latents), expected)
        close(engine.picture(latents), expected)
    latents = sampler.latents([5], noise=6)
    ws = latents.values
    if latents.space == "z":
        ws = sampler.generator.mapping(ws)
    stages = stages_of(sampler.generator, sampler.growth)
    alone = run_all(stages, ws, list(latents.noise or []))[0]
    assert torch.equal(engine.picture(latents), alone)  # nothing kept, all kept, part kept: the same bits
    engine.picture(maker.latents(Recipe(seed=5)))
    assert torch.equal(engine.picture(latents), alone)


def test_only_what_is_above_the_change_is_computed(tmp_path: Path) -> None:
    sampler = sampler_of(tmp_path, "stylegan2-f")
    engine, maker = Engine(sampler), Maker(sampler)
    run: list[tuple[int, str]] = []
    for at, stage in enumerate(engine.stages):

        def counted(*given: object, own: object = stage) -> object:
            run.append((own.side, own.kind))  # type: ignore[attr-defined]
            return own.run(*given)  # type: ignore[attr-defined]

        engine.stages[at] = replace(stage, run=counted)  # type: ignore[arg-type]
    recipe = Recipe(seed=1, psi=(0.7,) * 8)
    engine.picture(maker.latents(recipe))
    assert len(run) == len(engine.stages) == 11
    for other, first in (
        (replace(recipe, b=2, b_mix=(0.0, 0.5, 0.0)), (8, "rgb")),  # whose style 16 px share
        (replace(recipe, bends=(Bend(16, "rotate", 20.0),)), (16, "conv")),
        (replace(recipe, psi=(0.7,) * 7 + (0.5,)), (32, "rgb")),
        (replace(recipe, strength=0.5), (4, "conv")),
    ):
        engine.picture(maker.latents(recipe))
        run.clear()
        made = engine.picture(maker.latents(other), other.bends)
        assert run[0] == first
        run.clear()
        assert torch.equal(engine.picture(maker.latents(other), other.bends), made)
        assert run == []
        fresh = Engine(sampler).picture(maker.latents(other), other.bends)
        assert torch.equal(fresh, made)


def test_previews_are_the_lower_levels_of_the_image(tmp_path: Path) -> None:
    sampler = sampler_of(tmp_path, "stylegan2-f")
    engine, latents = Engine(sampler), sampler.latents([1])
    assert engine.sides == engine.bendable == [4, 8, 16, 32]
    small = engine.picture(latents, side=16)
    assert small.shape == (3, 16, 16)
    network = sampler.generator.synthesis_network
    images: list[Tensor] = []
    hook = network.blocks[2].to_rgb.register_forward_hook(lambda *a: images.append(a[2]))  # type: ignore
    whole = engine.picture(latents)
    assert images == []  # kept from the preview
    hook.remove()
    close(whole, sampler.render(latents)[0])
    engine.seconds = [0.01] * 11
    assert [engine.preview_side(sec) for sec in (0.0, 0.055, 0.085, 1.0)] == [4, 8, 16, 32]


def test_owners_do_not_see_each_others_features(tmp_path: Path) -> None:
    sampler = sampler_of(tmp_path, "stylegan2-f")
    engine = Engine(sampler)
    for turn in range(2):
        for owner in range(6):  # more than are kept
            latents = sampler.latents([owner])
            close(engine.picture(latents, owner=str(owner)), sampler.render(latents)[0])
            assert turn < 2


def test_mixtures_and_edits(tmp_path: Path) -> None:
    sampler = sampler_of(tmp_path, "stylegan2-f")
    found = Directions(
        "w", "sefa", ("a", "b"), torch.eye(16)[:2], torch.ones(2), torch.eye(16), tuple(range(4))
    )
    maker = Maker(sampler, named([found]))
    a, b = sampler.latents([1], 0.5), sampler.latents([2], 0.5)
    middle = layers_named(sampler, "middle")
    recipe = Recipe(seed=1, psi=(0.5,), b=2, b_mix=(0.0, 1.0, 0.0))
    assert torch.equal(maker.latents(recipe).values, mixed(a, b, middle).values)
    half = maker.latents(replace(recipe, b_mix=(0.0, 0.5, 0.0))).values
    rows = list(middle.indices)
    assert torch.equal(half[:, rows], torch.lerp(a.values, b.values, 0.5)[:, rows])
    moved = maker.latents(Recipe(seed=1, psi=(0.5,), edits=(("a", 2.0),)))
    assert torch.equal(moved.values, edited(a, found, "a", [2.0]).values)
    assert torch.equal(maker.latents(Recipe(seed=1, strength=0.5)).noise[3], a.noise[3] * 0.5)  # type: ignore
    for wrong in (Recipe(edits=(("c", 1.0),)), Recipe(latent="x"), Recipe(label=1), Recipe(psi=(1.0, 2.0))):
        with pytest.raises(UserError):
            maker.latents(wrong)


def test_bends() -> None:
    x = torch.zeros(1, 4, 8, 8)
    x[:, :, 2, 5] = 1.0
    assert torch.equal(bent(x, Bend(8, "mute", 1.0)), torch.zeros_like(x))
    assert bent(x, Bend(8, "shift", 0.25))[0, 0, 2, 7] == pytest.approx(1, abs=1e-4)
    assert bent(x, Bend(8, "rise", 0.125))[0, 0, 1, 5] == pytest.approx(1, abs=1e-4)
    assert bent(x, Bend(8, "rotate", 90.0))[0, 0, 2, 2] == pytest.approx(1, abs=1e-4)
    assert bent(x, Bend(8, "erode", -1.0)).sum() == 4 * 9
    assert bent(x, Bend(8, "erode", -0.5)).sum() == 4 * 5
    assert bent(x, Bend(8, "erode", 1.0)).sum() == 0
    assert bent(x, Bend(8, "scale", 2.0))[0, 0].sum() > 3  # four times as large
    for kind, (_, most, idle) in BOUNDS.items():
        assert bent(x, Bend(8, kind, idle)) is x
        changed = bent(x, Bend(8, kind, most, 0.5))[0]
        assert [i for i in range(4) if not torch.equal(changed[i], x[0, i])] == chosen_maps(4, 0.5)
    assert set(chosen_maps(64, 0.25)) < set(chosen_maps(64, 0.5))
    assert len(chosen_maps(64, 0.5)) == 32


def test_bends_change_the_picture_and_have_their_levels(tmp_path: Path) -> None:
    sampler = sampler_of(tmp_path, "stylegan2-f")
    engine, latents = Engine(sampler), sampler.latents([1])
    plain = engine.picture(latents)
    bends = [Bend(8, "rotate", 40.0), Bend(16, "mute", 1.0, 0.5)]
    changed = engine.picture(latents, bends)
    assert not torch.equal(changed, plain)
    close(engine.exact(latents, bends), changed)
    assert torch.equal(engine.picture(latents), plain)
    with pytest.raises(UserError, match="the level of 64 px is not valid; one of 4, 8, 16, 32"):
        engine.picture(latents, [Bend(64, "mute", 1.0)])
    other = sampler_of(tmp_path, "progan")
    with pytest.raises(UserError, match="none for this generator"):
        Engine(other).picture(other.latents([1]), [Bend(8, "mute", 1.0)])
