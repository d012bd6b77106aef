"""Generators in the middle of growing, measured as the authors do and at their level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from metrics.plugged import Projection, plugged
from styleloom.config import Experiment
from styleloom.data import ImageDataset, open_dataset
from styleloom.data.reals import to_signed, to_uint8
from styleloom.metrics.evaluation.collect import FeatureNetworks
from styleloom.metrics.evaluation.definitions import parse_all
from styleloom.metrics.evaluation.subject import RealImages, Subject
from styleloom.metrics.evaluation.suite import Evaluation
from styleloom.metrics.probes.full_size import FullSize, measured_at
from styleloom.metrics.probes.mixing import mixed_images
from styleloom.metrics.probes.ppl import Step, path_length_samples
from styleloom.metrics.probes.stability import changes, images_at
from styleloom.metrics.swd import sliced_wasserstein
from styleloom.networks.assembly import SynthesisTrunk
from styleloom.networks.build import build_generator
from styleloom.presets import get
from styleloom.sampling import Sampler
from styleloom.types import GrowthState, Noise
from tiny import tiny


@pytest.fixture
def projection() -> Iterator[Projection]:
    with plugged(Projection()) as network:
        yield network


def growing(resolution: int) -> Experiment:
    """A narrow StyleGAN2 of configuration D."""
    preset, small = get("stylegan2-d").with_data(resolution=resolution), tiny()
    shape = {"z_dim": 16, "w_dim": 16, "features": small.generator.features}
    return replace(preset, generator=replace(preset.generator, **shape))


def sampler_at(resolution: int, level: int, alpha: float = 1.0) -> Sampler:
    experiment = growing(resolution)
    generator = build_generator(experiment.generator).eval().requires_grad_(False)
    return Sampler(generator, experiment, GrowthState(level, alpha))


def boxes(images: np.ndarray, factor: int) -> np.ndarray:
    """Repeated means of 2 x 2 pixels, rounded once."""
    n, c, h, w = images.shape
    blocks = images.reshape(n, c, h // factor, factor, w // factor, factor).astype(np.float64)
    return np.rint(blocks.mean((3, 5))).astype(np.uint8)


class Perfect(SynthesisTrunk):
    """Puts out given images, in order: a generator at its level could not do better."""

    noise_sizes = ()
    num_noises = 0

    def __init__(self, images: np.ndarray) -> None:
        super().__init__()
        self.images, self.next = to_signed(torch.from_numpy(images)), 0

    def forward(self, ws: Tensor, growth: GrowthState | None, noise: Noise) -> Tensor:
        here = slice(self.next, self.next + len(ws))
        self.next = here.stop % len(self.images)
        return self.images[here]


@pytest.fixture(scope="module")
def dataset() -> ImageDataset:
    return open_dataset("emoji", 64).split(128)[1]


def test_a_perfect_generator_at_16_of_64_px(dataset: ImageDataset) -> None:
    """Full size charges it for the detail that is not there; its own level finds nothing wrong."""
    reals = dataset.images(np.arange(128))
    sampler = sampler_at(64, level=2)
    sampler.generator.synthesis_network = Perfect(boxes(reals, 4))
    found = {}
    for size in ("full", "level"):
        seen = measured_at(sampler, size)
        subject = Subject("perfect", {}, seen, RealImages(dataset.at(seen.resolution)))
        document = Evaluation(parse_all("swd128"), FeatureNetworks(torch.device("cpu"))).run(subject)
        found[size] = document["metrics"]["swd128"]["values"]["swd128"]["mean"]
    repeated = boxes(reals, 4).repeat(4, 2).repeat(4, 3)
    theirs = sliced_wasserstein(torch.from_numpy(reals), torch.from_numpy(repeated)).average
    assert found["full"] == pytest.approx(theirs, rel=1e-6)
    assert found["full"] > 10
    assert found["level"] == 0


@pytest.mark.parametrize("alpha", [1.0, 0.25])
def test_images_are_those_of_the_level_repeated(alpha: float) -> None:
    level = sampler_at(32, 1, alpha)
    full = FullSize(level)
    assert (level.size, full.size, full.resolution) == ((8, 8), (32, 32), 32)
    seeds = [3, 4, 5]
    for images, repeated in (
        (level.generate(seeds), full.generate(seeds)),
        (mixed_images(level, seeds, 2), mixed_images(full, seeds, 2)),
    ):
        expected = images.numpy().repeat(4, 2).repeat(4, 3)
        assert np.array_equal(repeated.numpy(), expected)
        assert np.array_equal(to_uint8(repeated).numpy(), to_uint8(torch.from_numpy(expected)).numpy())
    assert level.generate(seeds).shape[2:] == (8, 8)  # the sampler itself is as it was


def test_a_network_of_full_size_stays_as_it_is() -> None:
    sampler = replace_growth(sampler_at(32, 1), None)
    assert measured_at(sampler, "full") is sampler
    assert measured_at(sampler_at(32, 1), "level").size == (8, 8)


def replace_growth(sampler: Sampler, growth: GrowthState | None) -> Sampler:
    return Sampler(sampler.generator, sampler.experiment, growth)


def test_the_crop_of_path_lengths_is_that_of_full_size(projection: Projection) -> None:
    """The window has half the sides of full-size images, also where a level is too small to be cropped."""
    shapes: list[tuple[int, ...]] = []

    class Watched(Projection):
        def distance(self, a: Tensor, b: Tensor) -> Tensor:
            shapes.append(tuple(a.shape[2:]))
            return super().distance(a, b)

    path_length_samples(FullSize(sampler_at(32, 0)), Watched(), [1, 2], Step(crop=True))
    assert set(shapes) == {(16, 16)}


def test_stability_goes_through_the_resolutions_in_turn() -> None:
    """MSG-GAN section 3.2, Fig. 6: ProGAN is measured at each resolution in turn, unlike in others."""
    low, high = sampler_at(32, 1), sampler_at(32, 2, 0.5)
    before, after = (images_at(measured_at(sampler, "full"), range(2)) for sampler in (low, high))
    assert [(side, tuple(x.shape[2:])) for side, x in (*before.items(), *after.items())] == [
        (8, (8, 8)),
        (16, (16, 16)),
    ]
    assert torch.equal(before[8], images_at(low, range(2))[8])
    assert changes(before, after) == {}


def test_every_metric_of_a_generator_in_growth(projection: Projection, tmp_path: Path) -> None:
    """Metrics of all kinds take it, and see full size."""
    dataset = open_dataset("emoji", 16)
    names = "fd8_proj,kid8_proj,is16_proj,pr8_proj,swd8,ppl_zfull4_proj,ppl2_wend4_proj,ppl_images2_proj"
    subject = Subject("growing", {}, FullSize(sampler_at(16, 0)), RealImages(dataset, mirror=True))
    document = Evaluation(parse_all(f"{names},jacobian2"), FeatureNetworks(torch.device("cpu"))).run(subject)
    assert document["subject"]["images"]["shape"] == [3, 16, 16]
    assert document["metrics"]["swd8"]["reals"]["shape"] == [3, 16, 16]
    assert all(entry["values"] for entry in document["metrics"].values())
