"""Projections by any generator with styles; what is kept is what was shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metrics.probed import Squared, real
from styleloom.errors import UserError
from styleloom.features.registry import load_distance
from styleloom.latents import Latents, load_latents, save_latents
from styleloom.projection import Projection, Projector, Tuner, Tuning, project
from styleloom.projection.comparison import Comparison
from styleloom.projection.latent_statistics import w_statistics
from styleloom.projection.noise_maps import (
    noise_autocorrelation,
    noise_autocorrelation_reference,
    normalize_,
)
from styleloom.projection.tuning import morphed
from styleloom.sampling import Sampler
from styleloom.types import GrowthState

FEW = Projection(steps=6, w_samples=50)


def targets(sampler: Sampler, count: int, seed: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, sampler.experiment.generator.channels, *sampler.size, generator=rng) * 2 - 1


@pytest.fixture(scope="module")
def g() -> Sampler:
    return real("stylegan2-f")


@pytest.mark.parametrize(
    ("preset", "overrides", "growth"),
    [
        ("stylegan2-f", ("label_dim=3",), None),
        ("stylegan2-f", ("channels=1",), None),
        ("stylegan2-f", ("channels=4", "generator.grid=3,4", "discriminator.grid=3,4"), None),
        ("stylegan2-d", (), GrowthState(1, 0.5)),
        ("stylegan-d", (), None),
        ("stylegan-f", (), None),
        ("msg-stylegan", (), None),
    ],
)
@pytest.mark.parametrize("noise", ["optimize", "fixed"])
def test_every_family_with_styles(
    preset: str, overrides: tuple[str, ...], growth: GrowthState | None, noise: str, tmp_path: Path
) -> None:
    sampler = real(preset, *overrides, growth=growth)
    labels = torch.eye(3)[[2, 0]] if sampler.generator.label_dim else None
    options = Projection(steps=3, w_samples=20, noise=noise, space="w+")  # type: ignore[arg-type]
    found = project(sampler, targets(sampler, 2), options, load_distance("efficientnet-lite0"), labels)
    assert found.history.shape == (3, 2)
    assert found.history.isfinite().all()
    assert found.distance.shape == (2,)
    save_latents(tmp_path / "x.latent.safetensors", found.latents)
    again = sampler.render(load_latents(tmp_path / "x.latent.safetensors"))
    assert torch.equal(again, found.images)
    for i in range(2):
        assert torch.equal(sampler.render(found.latents[i])[0], found.images[i])
    assert found.latents.document["projection"]["distance"]["name"] == "efficientnet-lite0"


def test_what_a_generator_makes_comes_back_nearer(g: Sampler) -> None:
    images = g.generate([3, 4])
    options = Projection(steps=150, w_samples=200)
    found = project(g, images, options, Squared())
    start = Projector(g, images, options, Squared())
    first = start.distances_now(g.render(start.latents))
    assert (found.distance < 0.5 * first).all()
    other = project(g, targets(g, 2), options, Squared())
    assert found.distance.max() < other.distance.min()


def test_a_target_does_not_depend_on_those_beside_it(g: Sampler) -> None:
    images = targets(g, 3)
    together = project(g, images, FEW, Squared())
    for i in range(3):
        alone = project(g, images[i : i + 1], FEW, Squared())
        torch.testing.assert_close(alone.history[:, 0], together.history[:, i], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(alone.latents.values[0], together.latents.values[i], rtol=1e-2, atol=1e-3)


def test_weights_of_the_generator_stay(g: Sampler) -> None:
    before = {name: t.clone() for name, t in g.generator.state_dict().items()}
    found = project(g, targets(g, 1), FEW, Squared())
    tuner = Tuner(g, targets(g, 1), found.latents, Squared(), Tuning(steps=2))
    assert tuner.step()
    assert all(torch.equal(t, before[name]) for name, t in g.generator.state_dict().items())
    assert not any(p.requires_grad for p in g.generator.parameters())
    assert not any(p.requires_grad for p in tuner.tuned().parameters())
    assert any(not torch.equal(t, before[name]) for name, t in tuner.tuned().state_dict().items())


def test_spaces_noise_and_starts(g: Sampler) -> None:
    images = targets(g, 2)
    one = project(g, images, FEW, Squared())
    assert torch.equal(one.latents.values, one.latents.values[:, :1].expand_as(one.latents.values))
    assert one.latents.noise is not None
    assert all(n.shape[0] == 2 for n in one.latents.noise)
    assert all(abs(n.mean()) < 1e-5 for n in one.latents.noise)
    each = project(g, images, Projection(steps=6, w_samples=50, space="w+", noise="fixed"), Squared())
    assert not torch.equal(each.latents.values, each.latents.values[:, :1].expand_as(each.latents.values))
    assert each.latents.noise is not None
    stored = g.generator.synthesis_network.fixed_noise
    assert all(torch.equal(a, b) for a, b in zip(each.latents.noise, stored, strict=True))
    onward = Projector(g, images, FEW, Squared(), start=one.latents)
    torch.testing.assert_close(onward.distances_now(g.render(onward.latents)), one.distance)
    with pytest.raises(UserError, match="start: has another w for each layer"):
        Projector(g, images, FEW, Squared(), start=each.latents)
    with pytest.raises(UserError, match="start: of shape"):
        Projector(g, images, FEW, Squared(), start=one.latents[:1])
    assert one.latents.noise is not None
    other = replace(one.latents, noise=one.latents.noise[:-1])
    with pytest.raises(UserError, match="start: noise maps of"):
        Projector(g, images, FEW, Squared(), start=other)
    with pytest.raises(UserError, match="pivot: noise maps of"):
        Tuner(g, images[:1], other[0], Squared())


def test_what_cannot_be_projected(g: Sampler) -> None:
    for preset in ("progan", "stylegan-b", "msg-progan"):
        sampler = real(preset)
        with pytest.raises(UserError, match="snapshot: images are projected to w, but this generator has no"):
            Projector(sampler, targets(sampler, 1), FEW, Squared())
    sampler = real("stylegan-c-paper")
    with pytest.raises(UserError, match="snapshot: an input of this generator takes z itself"):
        Projector(sampler, targets(sampler, 1), FEW, Squared())
    with pytest.raises(UserError, match="targets: of shape"):
        Projector(g, torch.zeros(1, 3, 8, 16), FEW, Squared())
    with pytest.raises(UserError, match=r"targets: torch.uint8 is not valid"):
        Projector(g, torch.zeros(1, 3, 16, 16, dtype=torch.uint8), FEW, Squared())
    for wrong in ({"steps": 0}, {"space": "z"}, {"ramp_up": 0}, {"ramp_down": 2}, {"noise_weight": -1}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            Projection(**wrong)  # type: ignore[arg-type]
    endless, nan = {"learning_rate": float("inf")}, {"stop_at": float("nan")}
    for wrong in ({"steps": 0}, {"learning_rate": 0}, {"l2": -1}, {"locality_every": -1}, endless, nan):
        with pytest.raises(UserError, match=next(iter(wrong))):
            Tuning(**wrong)  # type: ignore[arg-type]


def test_labels_have_their_own_mean_of_w() -> None:
    sampler = real("stylegan2-f", "label_dim=3")
    labels = torch.eye(3)
    projector = Projector(sampler, targets(sampler, 3), FEW, Squared(), labels)
    for i in range(3):
        mean, deviation = w_statistics(sampler.generator, 50, labels[i : i + 1])
        assert torch.equal(projector.w.detach()[i, 0], mean)
        assert projector.deviation[i].item() == pytest.approx(deviation)
    assert not torch.equal(projector.w[0], projector.w[1])
    for wrong in (labels[:1], labels[:, :2]):
        with pytest.raises(UserError, match=r"labels: of shape .*; valid: \[3, 3\], a label for each target"):
            Projector(sampler, targets(sampler, 3), FEW, Squared(), wrong)


# ---- noise maps


def test_noise_maps_and_their_reference() -> None:
    rng = torch.Generator().manual_seed(0)
    sizes = [(4, 4), (8, 8), (8, 8), (16, 16), (32, 32), (6, 8), (12, 16), (24, 32), (18, 18), (9, 32)]
    maps = [torch.randn(3, 1, *size, generator=rng, dtype=torch.float64) for size in sizes]
    for gain in (1.0, 2.0):
        values, gradients = [], []
        for function in (noise_autocorrelation, noise_autocorrelation_reference):
            leaves = [n.clone().requires_grad_() for n in maps]
            found = function(leaves, gain)
            assert found.shape == (3,)
            values.append(found.detach())
            gradients.append(torch.autograd.grad((found * torch.arange(1.0, 4)).sum(), leaves))
        torch.testing.assert_close(*values)
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b)
    torch.testing.assert_close(noise_autocorrelation([maps[3][1:2]]), noise_autocorrelation([maps[3]])[1:2])


def test_normalized_maps() -> None:
    maps = [3 + 2 * torch.randn(2, 1, side, side) for side in (4, 16)]
    normalize_(maps)
    for n in maps:
        torch.testing.assert_close(n.mean((1, 2, 3)), torch.zeros(2), atol=1e-6, rtol=0)
        torch.testing.assert_close(n.var((1, 2, 3), correction=0), torch.ones(2))


# ---- distances


def test_transparency_counts_whatever_the_colour() -> None:
    """Over black and over white; a colour under full transparency does not count."""
    clear = torch.ones(1, 4, 32, 32)
    clear[:, 3] = -1
    for ground in (-1.0, 1.0):
        opaque = torch.full((1, 4, 32, 32), ground)
        opaque[:, 3] = 1
        assert Comparison(Squared(), opaque)(clear).item() > 0
    coloured = clear.clone()
    coloured[:, :3] = 0.3
    assert Comparison(Squared(), clear)(coloured).item() == 0


def test_large_images_are_compared_at_256_px() -> None:
    """Means of 2 x 2 pixels count at 512 px: a pattern within them does not; it does below 512 px."""
    for side, distance in ((512, 0), (256, 3 * 256 * 256)):
        pattern = torch.ones(1, 3, side, side)
        pattern[..., ::2] = -1
        assert Comparison(Squared(), torch.zeros_like(pattern))(pattern).item() == distance


def test_gradients_of_a_comparison_in_double_precision() -> None:
    distance = load_distance("efficientnet-lite0").double()  # type: ignore[attr-defined]
    rng = torch.Generator().manual_seed(0)
    for channels in (1, 3, 4):
        a, b, way = (torch.rand(1, channels, 32, 32, generator=rng).double() * 2 - 1 for _ in range(3))
        compare = Comparison(distance, b)
        a.requires_grad_()
        (gradient,) = torch.autograd.grad(compare(a).sum(), a)
        with torch.no_grad():
            expected = (compare(a + 1e-6 * way) - compare(a - 1e-6 * way)) / 2e-6
        torch.testing.assert_close((gradient * way).sum()[None], expected, rtol=1e-4, atol=1e-8)


# ---- tuning


def test_tuning_comes_nearer_and_locality_holds_the_rest(g: Sampler) -> None:
    image = targets(g, 1)
    pivot = project(g, image, FEW, Squared()).latents
    changes = {}
    for every in (0, 1):
        tuning = Tuning(
            steps=12, learning_rate=3e-3, locality_every=every, locality_l2=100, locality_perceptual=1
        )
        tuner = Tuner(g, image, pivot, Squared(), tuning)
        while len(tuner.history) < tuning.steps:
            assert tuner.step()
        assert tuner.history[-1].distance < 0.9 * tuner.history[0].distance
        tuned = Sampler(tuner.tuned(), g.experiment)
        assert tuner.distance_now(tuned.render(pivot)) < tuner.history[0].distance
        far = g.latents(range(8))
        changes[every] = (tuned.render(far) - g.render(far)).square().mean().item()
    assert changes[1] < changes[0]
    near = Tuner(g, image, pivot, Squared(), Tuning(stop_at=1e9))
    assert not near.step()
    assert near.history == []
    with pytest.raises(UserError, match="pivot: 1 latents and 2 targets"):
        Tuner(g, targets(g, 2), pivot, Squared())


def test_morphed_codes_keep_their_distance() -> None:
    pivot, ws = torch.randn(1, 5, 8), torch.randn(4, 5, 8)
    found = morphed(pivot, ws, 30.0)
    torch.testing.assert_close((found - pivot).flatten(1).norm(dim=1), torch.full((4,), 30.0))


def test_a_sampler_projects(g: Sampler) -> None:
    image = targets(g, 1)
    found = g.project(image, FEW, Squared())
    assert isinstance(found.latents, Latents)
    assert torch.equal(found.latents.values, project(g, image, FEW, Squared()).latents.values)
