"""Images of several latents: which layers take which, how often, and from what draws."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from metrics.probed import labels, real
from styleloom.errors import UserError
from styleloom.layers.style_mixing import mix
from styleloom.metrics.probes.mixing import crossover_points, mixed_images
from styleloom.sampling import Sampler
from styleloom.types import GrowthState

SEEDS = range(5)


def latents(sampler: Sampler, num: int) -> Tensor:
    """The latents of seed 0 [num, Z], drawn as `mixed_images` says."""
    rng = torch.Generator().manual_seed(0)
    z = [torch.randn(sampler.generator.z_dim, generator=rng)]
    for size in sampler.generator.synthesis_network.noise_sizes:
        torch.randn(1, *size, generator=rng)
    return torch.stack(z + [torch.randn(sampler.generator.z_dim, generator=rng) for _ in range(num - 1)])


@pytest.mark.parametrize(
    ("preset", "growth"),
    [
        ("stylegan2-f", None),
        ("stylegan-f", None),
        ("stylegan-f", GrowthState(1, 0.4)),
        ("msg-stylegan", None),
        ("progan", None),
        ("stylegan-c-paper", None),
    ],
)
def test_one_latent_gives_the_image_of_its_seed(preset: str, growth: GrowthState | None) -> None:
    sampler = real(preset, growth=growth)
    assert torch.equal(mixed_images(sampler, SEEDS), sampler.generate(SEEDS, batch=len(SEEDS)))


@pytest.mark.parametrize("num", [2, 3, 4])
def test_images_are_of_ws_cut_at_different_layers(num: int) -> None:
    """Among all cuts there is exactly one whose image it is."""
    sampler = real("stylegan2-f")
    z, maps = sampler.draw([0])
    own = latents(sampler, num)
    assert torch.equal(own[:1], z)
    ws = sampler.generator.mapping(own)
    image = mixed_images(sampler, [0], num)
    cuts = torch.combinations(torch.arange(1, sampler.generator.num_ws), num - 1)
    every = mix([w.expand(len(cuts), -1, -1) for w in ws], cuts)
    images = sampler.generator.synthesis(every, None, [m.expand(len(cuts), -1, -1, -1) for m in maps])
    assert isinstance(images, Tensor)
    assert sum(torch.allclose(candidate, image[0], atol=1e-5) for candidate in images) == 1


def test_cuts_are_different_and_uniform() -> None:
    rng = torch.Generator().manual_seed(0)
    drawn = Counter(tuple(crossover_points(5, 2, rng).tolist()) for _ in range(3000))
    assert sorted(drawn) == [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]
    assert all(abs(count - 500) < 5 * 500**0.5 for count in drawn.values())
    assert crossover_points(2, 1, rng).tolist() == [1]
    assert crossover_points(2, 0, rng).tolist() == []


def test_company_changes_no_image_and_the_global_generator_stays() -> None:
    sampler = real("stylegan2-f")
    before = torch.get_rng_state()
    images = mixed_images(sampler, [7, 3, 9], 3)
    torch.testing.assert_close(mixed_images(sampler, [3], 3), images[1:2], rtol=1e-5, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), before)
    assert not images.requires_grad


def test_growing_runs_cut_among_active_layers() -> None:
    """At 8 px there are four active layers: the fourth latent of four has just one."""
    sampler = real("stylegan-f", growth=GrowthState(1, 1.0))
    own = latents_of_level(sampler)
    ws = mix(sampler.generator.mapping(own).split(1), torch.tensor([[1, 2, 3]]))
    expected = sampler.generator.synthesis(ws, sampler.growth, sampler.draw([0])[1])
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(mixed_images(sampler, [0], 4), expected)
    with pytest.raises(UserError, match=r"num_latents: 5 is not valid, .* 4 style inputs .*; valid: 1 to 4"):
        mixed_images(sampler, [0], 5)


def latents_of_level(sampler: Sampler) -> Tensor:
    """As `latents`, four of them, with the maps of 4 and 8 px alone."""
    rng = torch.Generator().manual_seed(0)
    z = [torch.randn(sampler.generator.z_dim, generator=rng)]
    for side in (4, 4, 8, 8):
        torch.randn(1, side, side, generator=rng)
    return torch.stack(z + [torch.randn(sampler.generator.z_dim, generator=rng) for _ in range(3)])


def test_labels_belong_to_the_image() -> None:
    sampler = real("stylegan2-f", "label_dim=3")
    a, b = mixed_images(sampler, [0, 0], 2, labels(0, 2))
    assert not torch.allclose(a, b)
    assert torch.equal(mixed_images(sampler, [0], 2, labels(2))[0], b)
    with pytest.raises(UserError, match="label: this generator needs labels of 3 classes"):
        mixed_images(sampler, [0], 2)


@pytest.mark.parametrize("preset", ["progan", "msg-progan", "stylegan-b", "stylegan-c-paper"])
def test_refuses_generators_whose_styles_cannot_mix(preset: str) -> None:
    with pytest.raises(UserError, match=r"num_latents: 2 is not valid, .* cannot mix .*; valid: 1"):
        mixed_images(real(preset), [0], 2)


@pytest.mark.parametrize("num", [0, 7])
def test_refuses_numbers_of_latents(num: int) -> None:
    with pytest.raises(UserError, match=f"num_latents: {num} is not valid, .*; valid: 1 to 6"):
        mixed_images(real("stylegan2-f"), [0], num)
