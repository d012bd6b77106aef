"""Whether another program computes what the sampler does, and how long it takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from styleloom.errors import UserError, shown
from styleloom.export.graphs import Graph, NoiseSource
from styleloom.file_hash import sha256_of
from styleloom.image_request import SampleNoise
from styleloom.sampling import Sampler

BATCHES = (1, 5)
"""Numbers of images with which every graph is run."""

PSI = 0.7

REPEATS = 5
"""Runs of which the latency is the median."""

Run: TypeAlias = Callable[[Mapping[str, Tensor]], Tensor]
"""Inputs by name to the output, in another program."""


@dataclass(frozen=True)
class Probe:
    """Inputs of every graph, and what the sampler makes of them.

    Args:
        inputs: by name, each for the largest of `BATCHES`.
        outputs: by name: "image" and "ws".
    """

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


def probe(sampler: Sampler, noise: NoiseSource) -> Probe:
    """Images of a few seeds as the sampler makes them."""
    seeds = range(max(BATCHES))
    psi = PSI if sampler.space == "w" else 1.0
    classes = [seed % sampler.label_dim for seed in seeds] if sampler.label_dim else None
    maps: SampleNoise = "random" if noise == "input" else noise
    latents = sampler.latents(seeds, psi, classes=classes, noise=maps)
    inputs = {"z": sampler.draw(seeds)[0], "psi": torch.tensor([psi])}
    outputs = {"image": sampler.render(latents)}
    if classes is not None:
        inputs["class"] = torch.tensor(classes)
    if sampler.space == "w":
        inputs["ws"] = latents.values
        outputs["ws"] = sampler.latents(seeds, classes=classes, noise="none").values
    if noise == "input":
        active = [t for t in latents.noise or () if t.numel()]
        inputs |= {f"noise_{i}": t for i, t in enumerate(active)}
    return Probe(inputs, outputs)


def compared(graph: Graph, run: Run, probe: Probe, tolerance: float) -> dict[str, Any]:
    """The largest difference from the sampler for each of `BATCHES`, and the latency of one image in ms.

    Raises UserError for a difference above `tolerance` times the largest value, or 1.
    """
    expected = probe.outputs[graph.output]
    bound = tolerance * max(1.0, float(expected.abs().max()))
    found: dict[str, float] = {}
    for number in BATCHES:
        got = run(_inputs(graph, probe, number))
        found[str(number)] = float((got - expected[:number]).abs().max())
        if got.shape != expected[:number].shape or not found[str(number)] <= bound:
            raise UserError(
                f"{shown(graph.name)}: the exported graph differs from the sampler by "
                f"{found[str(number)]:.2g} with {number} images; at most {bound:.2g} "
                "is expected, so nothing was written"
            )
    one = _inputs(graph, probe, 1)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run(one)
        times.append(time.perf_counter() - start)
    return {"max_difference": found, "latency_ms": round(1000 * statistics.median(times), 3)}


def described(graph: Graph, file: Path) -> dict[str, Any]:
    """A graph's file, as JSON."""
    return {
        "file": file.name,
        "bytes": file.stat().st_size,
        "sha256": sha256_of(file),
        "inputs": graph.shapes,
        "output": graph.output,
    }


def _inputs(graph: Graph, probe: Probe, number: int) -> dict[str, Tensor]:
    """Those of the first images."""
    return {n: probe.inputs[n][:number] if graph.batched(n) else probe.inputs[n] for n in graph.inputs}
