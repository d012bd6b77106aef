"""Whole projections and tunings against recorded ones.

`STYLELOOM_GOLDEN_DATA=FOLDER` names another set: FOLDER/projector/*.npz and FOLDER/pti/*.npz. First steps are
compared tightly; later ones loosely, since Adam amplifies rounding.
"""

from __future__ import annotations

import dataclasses
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.latents import Latents
from styleloom.networks.assembly import StyleGenerator
from styleloom.projection.latent_statistics import w_statistics
from styleloom.projection.noise_maps import noise_autocorrelation, noise_autocorrelation_reference
from styleloom.projection.projector import Projector
from styleloom.projection.settings import Projection
from styleloom.projection.tuning import Tuner, Tuning, morphed
from styleloom.weights import stylegan2_ada
from styleloom.weights.tables import fill

from .golden_file import GoldenFile
from .network_cases import ada_generator
from .projector_cases import scheduled

FOLDER = Path(os.environ.get("STYLELOOM_GOLDEN_DATA") or Path(__file__).parent / "golden")
TIGHT, LOOSE = 1e-4, 0.02
TIGHT_STEPS = 4


class Recording(GoldenFile):
    """A file with the network that was recorded."""

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    @cached_property
    def generator(self) -> StyleGenerator:
        """The recorded network, in one of the two files' names."""
        weights = self.tensors("G.") or self.tensors("G_original.")
        return ada_generator(self.meta["network"], weights).eval().requires_grad_(False)

    @property
    def sampler(self) -> Any:
        return Stand(self.generator)


class Stand:
    """What `Renders` asks for, of a bare generator."""

    snapshot_sha256 = None
    growth = None
    space = "w"

    def __init__(self, generator: StyleGenerator) -> None:
        self.generator = generator
        self.experiment = type("Experiment", (), {"generator": generator.synthesis_network.cfg})
        self.size = generator.synthesis_network.cfg.size
        self.noise_sizes = list(generator.synthesis_network.noise_sizes)
        self.latent_shape = (generator.num_ws, len(generator.w_avg))
        self.label_dim = generator.label_dim


def files(folder: str) -> list[Recording]:
    return [Recording(path) for path in sorted((FOLDER / folder).glob("*.npz"))]


def close(ours: Any, theirs: Any, relative: float, what: str) -> None:
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert a.shape == b.shape, what
    assert np.abs(a - b).max() <= relative * max(np.abs(b).max(), 1e-12), f"{what}: {np.abs(a - b).max()}"


def test_there_are_files() -> None:
    assert files("projector"), FOLDER
    assert files("pti"), FOLDER


# ---- projector


class StandIn:
    """The recorded projector's stand-in for LPIPS: squared distance of vectors of features."""

    identity: dict[str, Any] = {"name": "stand-in"}  # noqa: RUF012

    def __init__(self, kernel: Tensor) -> None:
        self.kernel = kernel

    def features(self, x: Tensor) -> Tensor:
        edges = F.leaky_relu(F.conv2d(x, self.kernel, stride=2), 0.2)
        return torch.cat([F.avg_pool2d(x, 4).flatten(1), 0.1 * edges.flatten(1)], 1)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return (self.features(a) - self.features(b)).square().sum(1)


@pytest.mark.parametrize("file", files("projector"), ids=repr)
def test_mean_and_deviation_of_w(file: Recording) -> None:
    mean, deviation = w_statistics(file.generator, file.meta["settings"]["w_avg_samples"])
    close(mean, file.arrays["w_avg"].reshape(-1), TIGHT, "mean")
    close(deviation, file.meta["w_std"], TIGHT, "deviation")


@pytest.mark.parametrize("file", files("projector"), ids=repr)
def test_ramps_and_regularization(file: Recording) -> None:
    for name, rates in file.arrays.items():
        if name.startswith("ramp_default"):
            steps = int(name.removeprefix("ramp_default").removesuffix(".lr"))
            close([Projection(steps=steps).rate(step) for step in range(steps)], rates, 1e-12, name)
    cases = {name.rsplit(".", 1)[0] for name in file.arrays if name.startswith("reg.")}
    for case in cases:
        count = sum(name.startswith(f"{case}.map") for name in file.arrays)
        maps = [file.tensor(f"{case}.map{i}")[None, None] for i in range(count)]
        for function in (noise_autocorrelation, noise_autocorrelation_reference):
            close(function(maps)[0], file.arrays[f"{case}.loss"], TIGHT, case)


@pytest.mark.parametrize("file", files("projector"), ids=repr)
def test_a_recorded_projection(file: Recording) -> None:
    target = file.tensor("target")[None].float() / 127.5 - 1
    settings = file.meta["settings"]
    options = dataclasses.replace(
        scheduled(settings),
        noise_weight=settings["regularize_noise_weight"],
        w_samples=settings["w_avg_samples"],
    )
    start = [file.tensor(f"noise_init.{name}")[None, None] for name in file.meta["noise_buffers"]]
    mean, _ = w_statistics(file.generator, options.w_samples)
    values = mean.expand(1, file.generator.num_ws, -1)
    distance = StandIn(file.tensor("feature_kernel"))
    projector = Projector(file.sampler, target, options, distance, start=Latents("w", values, tuple(start)))
    for step in range(options.steps):
        tolerance = TIGHT if step < TIGHT_STEPS else LOOSE
        rate, scale = options.rate(step), options.w_noise_scale(step) * projector.deviation.item()
        close(rate, file.arrays["steps.lr"][step], 1e-9, f"rate {step}")
        close(scale, file.arrays["steps.w_noise_scale"][step], TIGHT, f"noise on w {step}")
        for name, ours in zip(file.meta["noise_buffers"], projector.maps, strict=True):
            if f"noise_step{step}.{name}" in file.arrays:  # as they were before the step
                theirs = file.arrays[f"noise_step{step}.{name}"]
                close(ours.detach()[0, 0], theirs, tolerance, f"{name} {step}")
        found = projector.step(file.tensor("steps.w_noise_unit")[step].reshape(1, 1, -1))
        regular = projector.regularization[-1][0]
        close(found[0], file.arrays["steps.dist"][step], tolerance, f"distance {step}")
        close(regular, file.arrays["steps.noise_reg"][step], tolerance, f"regularization {step}")
        loss = found[0] + options.noise_weight * regular
        close(loss, file.arrays["steps.loss"][step], tolerance, f"loss {step}")
        close(projector.w.detach()[0, 0], file.arrays["steps.w_opt_after"][step], tolerance, f"w {step}")
    close(projector.latents.values[0, 0], file.arrays["projected_w"][-1].reshape(-1), LOOSE, "result")


# ---- pivotal tuning


class TintedMeans:
    """The recorded tuning's stand-in for LPIPS."""

    identity: dict[str, Any] = {"name": "stand-in"}  # noqa: RUF012

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        weights = torch.tensor([1.0, 2.0, 3.0])[:, None, None]
        return (weights * (F.avg_pool2d(a, 4) - F.avg_pool2d(b, 4)).square()).mean((1, 2, 3))


def tuning_of(file: Recording, **changes: Any) -> Tuning:
    given = file.meta["settings"]
    options = {
        "steps": 15,
        "learning_rate": given["lr"],
        "l2": given["pt_l2_lambda"],
        "perceptual": given["pt_lpips_lambda"],
        "locality_latents": given["num_latents"],
        "locality_radius": given["alpha"],
        "locality_truncation": given["mapping_truncation_psi"],
        "locality_l2": given["l2_lambda"],
        "locality_perceptual": given["lpips_lambda"],
    }
    return Tuning(**(options | changes))


def tuner(file: Recording, pivot: Tensor, **changes: Any) -> Tuner:
    noise = tuple(n.clone() for n in file.generator.synthesis_network.fixed_noise)
    latents = Latents("w", pivot, noise)
    return Tuner(file.sampler, file.tensor("target"), latents, TintedMeans(), tuning_of(file, **changes))


@pytest.mark.parametrize("file", files("pti"), ids=repr)
def test_morphed_codes_and_locality(file: Recording) -> None:
    found = morphed(file.tensor("morph.pivot"), file.tensor("morph.new_w"), file.meta["settings"]["alpha"])
    close(found, file.arrays["morph.result"], TIGHT, "morphed")
    cfg = stylegan2_ada.generator_config(file.meta["network"])
    variables = file.tensors("G_original.") | file.tensors("G_tuned.")
    own = tuner(file, file.tensor("ball.pivot"))
    fill(stylegan2_ada.generator_table(cfg), variables, own.generator)
    for i in range(sum(name.startswith("ball.loss") for name in file.arrays)):
        ours = own.locality(file.tensor(f"ball.z{i}").float())
        close(ours.detach(), file.arrays[f"ball.loss{i}"], TIGHT, f"ball {i}")


@pytest.mark.parametrize("kind", ["default", "with_locality"])
@pytest.mark.parametrize("file", files("pti"), ids=repr)
def test_a_recorded_tuning(file: Recording, kind: str) -> None:
    recorded = file.arrays[f"tune.{kind}.loss_l2_standin"]
    with_locality = f"tune.{kind}.z" in file.arrays
    own = tuner(file, file.tensor("ball.pivot"), locality_every=1 if with_locality else 0)
    for step, (loss, l2, distance) in enumerate(recorded):
        tolerance = TIGHT if step < TIGHT_STEPS else LOOSE
        assert own.step(file.tensor(f"tune.{kind}.z")[step].float() if with_locality else None)
        ours = own.history[-1]
        close(ours.l2, l2, tolerance, f"l2 {step}")
        close(ours.distance, distance, tolerance, f"distance {step}")
        close(ours.loss, loss, tolerance, f"loss {step}")
    image = own.tuned().synthesis(own.pivot, noise="fixed")
    close(image, file.arrays[f"tune.{kind}.final_image"], LOOSE, "image")
