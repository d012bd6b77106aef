"""Films: loops close, frames do not depend on how they are made, every kind moves what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from presets.shrink import shrink
from styleloom import presets
from styleloom.data.reals import to_uint8
from styleloom.directions.discovery import sefa
from styleloom.errors import UserError
from styleloom.images import grid
from styleloom.networks.build import build_generator
from styleloom.sampling import Sampler
from styleloom.video import kinds
from styleloom.video.encoders import Frame
from styleloom.video.film import Film, as_frame, frames, training_frames
from tiny import tiny


def sampler_of(name: str = "", *overrides: str) -> Sampler:
    """An untrained generator, whose noise is seen."""
    experiment = shrink(presets.get(name)) if name else tiny(*overrides)
    torch.manual_seed(0)
    generator = build_generator(experiment.generator).eval().requires_grad_(False)
    for parameter_name, parameter in generator.named_parameters():
        if "noise" in parameter_name:
            parameter.fill_(0.3)
    generator.w_avg.normal_(0, 0.1)
    return Sampler(generator, experiment)


def films(sampler: Sampler) -> dict[str, Film]:
    """One of each kind, with two cells."""
    base = sampler.latents([0, 1])
    found = sefa(sampler, count=1)
    every = {
        "walk": kinds.walk(sampler.latents([0, 1, 2, 3, 4, 5]), 2),
        "smooth": kinds.walk(sampler.latents([0, 1, 2, 3, 4, 5]), 2, easing="smooth"),
        "circle": kinds.circle(sampler, [0, 1], base),
        "edit": kinds.edit(base, found, "sefa-0", -3, 3),
    }
    if sampler.space == "w":
        every["truncation"] = kinds.truncation(sampler, base)
        every["mix"] = kinds.mix(base, sampler.latents([7, 8, 9]), [1, 2])
    if sampler.noise_sizes:
        every["noise"] = kinds.noise(sampler, base)
    return every


@pytest.mark.parametrize("name", ["", "stylegan-f", "msg-progan"])
def test_loops_close(name: str) -> None:
    """The moment 1 is the moment 0 to the bit; no step of the film is larger at the seam than elsewhere."""
    sampler = sampler_of(name)
    for kind, film in films(sampler).items():
        first, last = film.at([0.0]), film.at([1.0])
        assert torch.allclose(first.values, last.values, atol=1e-6), kind
        made = [f.astype(float) for f in frames(sampler, film, 24, 2)]
        assert len(made) == 24
        steps = [np.abs(made[at - 1] - made[at]).mean() for at in range(24)]
        assert max(steps) > 0, kind
        assert steps[0] <= max(steps[1:]) * 1.5 + 0.1, kind  # the step from the last frame to the first


def test_a_frame_is_that_of_its_moment_alone() -> None:
    """Frames made together are those that the sampler renders for each moment."""
    sampler = sampler_of()
    film = films(sampler)["walk"]
    made = list(frames(sampler, film, 20, 2))
    for at in (0, 7, 19):
        alone = as_frame(grid(to_uint8(sampler.render(film.at([at / 20]))), 2))
        assert np.array_equal(made[at], alone)
    assert made[0].shape == (8, 16, 3)
    start = grid(to_uint8(sampler.render(sampler.latents([0, 3]))), 2)
    assert np.array_equal(made[0], as_frame(start))


def test_open_films_end_at_their_end() -> None:
    sampler = sampler_of()
    keys = sampler.latents([0, 1, 2])
    made = list(frames(sampler, kinds.walk(keys, closed=False), 9))
    last = replace(keys[2], noise=keys[0].noise)  # the noise is the first key frame's throughout
    assert np.array_equal(made[-1], as_frame(to_uint8(sampler.render(last))[0]))
    base = sampler.latents([3])
    low = list(frames(sampler, kinds.truncation(sampler, base, 0.0, 1.0, closed=False), 5))
    assert np.array_equal(low[-1], as_frame(to_uint8(sampler.render(base))[0]))
    average = replace(base, values=sampler.generator.w_avg.expand_as(base.values).clone())
    assert np.array_equal(low[0], as_frame(to_uint8(sampler.render(average))[0]))


def test_each_kind_moves_what_it_says() -> None:
    sampler = sampler_of()
    made = films(sampler)
    base = sampler.latents([0, 1])
    mixed = made["mix"].at([0.3]).values
    assert torch.equal(mixed[:, [0, 3]], base.values[:, [0, 3]])
    assert torch.equal(mixed[0, 1:3], mixed[1, 1:3])
    turned = made["noise"].at([0.3])
    assert torch.equal(turned.values, base.values)
    assert turned.noise is not None
    assert base.noise is not None
    assert not torch.equal(turned.noise[0], base.noise[0])
    assert torch.equal(made["truncation"].at([0.0]).values, base.values)
    step = made["edit"].at([0.5]).values - base.values
    torch.testing.assert_close(step[0], step[1], atol=1e-5, rtol=1e-4)


def test_what_a_generator_does_not_have_is_refused() -> None:
    sampler = sampler_of("progan")
    base = sampler.latents([0])
    for make, message in (
        (lambda: kinds.truncation(sampler, base), "no w to truncate"),
        (lambda: kinds.noise(sampler, base), "no noise inputs"),
        (lambda: kinds.mix(base, base, [0]), "no styles to mix"),
        (lambda: kinds.walk(sampler.latents([0, 1, 2]), 2), "3 key frames for 2 cells"),
    ):
        with pytest.raises(UserError, match=message):
            make()


def test_memory_does_not_depend_on_the_length() -> None:
    """An hour can be begun: frames are made as they are taken."""
    sampler = sampler_of()
    endless = frames(sampler, films(sampler)["walk"], 60 * 60 * 30, 2)
    assert next(endless).shape == (8, 16, 3)
    assert next(endless).shape == (8, 16, 3)


def test_directions_of_another_size_are_refused() -> None:
    other = sefa(sampler_of("", "generator.w_dim=8"), count=1)
    with pytest.raises(UserError, match="numbers of a latent"):
        kinds.edit(sampler_of().latents([0]), other, "sefa-0", -1, 1)


def test_training_shows_every_snapshot_in_turn() -> None:
    """Equally long; fewer frames than snapshots show evenly spaced ones, first and last among them."""
    sampler = sampler_of()
    asked: list[str] = []

    def load(path: Path) -> Sampler:
        asked.append(path.name)
        return sampler

    paths = [Path(str(number)) for number in range(4)]
    shown: list[Frame] = list(training_frames(load, paths, lambda s: s.latents([0]), 12))
    assert len(shown) == 12
    assert asked == ["0", "1", "2", "3"]
    asked.clear()
    assert len(list(training_frames(load, paths, lambda s: s.latents([0]), 2))) == 2
    assert asked == ["0", "3"]


def test_frames_have_three_channels() -> None:
    grey = as_frame(torch.full((1, 2, 3), 7, dtype=torch.uint8), zoom=2)
    assert grey.shape == (4, 6, 3)
    assert (grey == 7).all()
    clear = torch.zeros(4, 2, 2, dtype=torch.uint8)
    clear[3, 0] = 255
    assert as_frame(clear)[:, 0].tolist() == [[0, 0, 0], [255, 255, 255]]
