"""Steps/s of projection, next to a plain arrangement of the same mathematics.

    python benchmarks/project.py --resolutions 64 256 --batches 1 8

Plain is plain.py's grouped variant in NCHW float32, one target at a time, with the distance network, in NCHW
too, run on the target in every step. Variants take turns in one process, under the same allocator settings.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import tyro
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from plain import make_plain, plain_operations
from publishing import Published, publish, ratio_spread
from styleloom import presets
from styleloom.allocator import keep_large_blocks
from styleloom.config.experiment import Precision
from styleloom.environment import describe_machine
from styleloom.features.registry import load_distance
from styleloom.networks.build import build_generator
from styleloom.precision import resolve_device, set_precision
from styleloom.projection import Projection, Projector, projector
from styleloom.projection.noise_maps import noise_autocorrelation_reference
from styleloom.sampling import Sampler


class Again:
    """A distance that looks at both images each time, with weights in NCHW."""

    def __init__(self, name: str, device: torch.device) -> None:
        self.inner: Any = load_distance(name, device)
        for parameter in self.inner.parameters():
            parameter.data = parameter.data.contiguous()
        self.identity: dict[str, Any] = self.inner.identity

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """As the network's own."""
        return self.inner.distance(a, b)


@contextlib.contextmanager
def plain_projection() -> Iterator[None]:
    """Within the context, networks and the regularization of noise compute the plain way."""
    reference = mock.patch.object(projector, "noise_autocorrelation", noise_autocorrelation_reference)
    with plain_operations(True), reference:
        yield


@dataclass
class ProjectTime(Published):
    """Time steps of projection into a preset's generator."""

    preset: str = "stylegan2-f"
    """Whose generator."""
    resolutions: tuple[int, ...] = (64, 256)
    """Sides, px."""
    batches: tuple[int, ...] = (1, 8)
    """Targets at once."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    """Of the generator."""
    distance: str = "efficientnet-lite0"
    """Perceptual distance."""
    rounds: int = 5
    """Measurements of each variant, after one that does not count."""

    def run(self) -> dict[str, Any]:
        """Measure; the document that is printed."""
        keep_large_blocks()
        device = resolve_device(self.device)
        cases = [self._case(resolution, device) for resolution in self.resolutions]
        return {
            "benchmark": "project",
            "preset": self.preset,
            "distance": self.distance,
            "machine": describe_machine(device),
            "rounds": self.rounds,
            "cases": cases,
        }

    def _case(self, resolution: int, device: torch.device) -> dict[str, Any]:
        kinds: dict[str, tuple[Precision | None, int]] = {"plain": (None, 1)}
        kinds |= {f"{p}, batch {b}": (p, b) for p in self.precisions for b in self.batches}
        variants = {
            name: self._projector(resolution, device, batch, plain=precision is None)
            for name, (precision, batch) in kinds.items()
        }
        times: dict[str, list[float]] = {name: [] for name in variants}
        for index in range(self.rounds + 1):
            for name, (precision, batch) in kinds.items():
                own = variants[name]
                set_precision(precision or "fp32", device, own.sampler.generator)
                gc.collect()
                with plain_projection() if precision is None else contextlib.nullcontext():
                    began = time.perf_counter()
                    own.step()
                    if device.type == "cuda":
                        torch.cuda.synchronize(device)
                    seconds = time.perf_counter() - began
                if index:
                    times[name].append(seconds / batch)
        plain = times.pop("plain")
        return {
            "resolution": resolution,
            "plain_steps_per_sec": 1 / statistics.median(plain),
            "target_steps_per_sec": {name: 1 / statistics.median(t) for name, t in times.items()},
            "ratio": {name: statistics.median(plain) / statistics.median(t) for name, t in times.items()},
            "ratio_spread": {name: ratio_spread(plain, t) for name, t in times.items()},
        }

    def _projector(self, resolution: int, device: torch.device, batch: int, plain: bool) -> Projector:
        """On targets of noise."""
        experiment = presets.get(self.preset).with_data(resolution=resolution)
        torch.manual_seed(0)
        generator = build_generator(experiment.generator).to(device).eval().requires_grad_(False)
        if plain:
            make_plain(generator)
            distance: Any = Again(self.distance, device)
        else:
            distance = load_distance(self.distance, device)
        sampler = Sampler(generator, experiment)
        targets = torch.rand(batch, experiment.generator.channels, *sampler.size) * 2 - 1
        return Projector(sampler, targets, Projection(w_samples=1000), distance)


def show(document: dict[str, Any]) -> None:
    """The document as a table."""
    print(f"{document['preset']}, {document['distance']}; {document['machine']}")
    for case in document["cases"]:
        print(f"{case['resolution']:5d} px: plain {case['plain_steps_per_sec']:.3f} steps/s")
        for name, rate in case["target_steps_per_sec"].items():
            low, high = case["ratio_spread"][name]
            ratio = case["ratio"][name]
            print(f"   {name:<16} {rate:8.3f} steps/s a target  {ratio:.2f}x ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    options = tyro.cli(ProjectTime)
    publish("project", options.run(), options.save, options.json, show)
