"""What `torch.export.load` reads: a file for each graph, loaded and run before it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleloom.export.checks import compared, described, probe
from styleloom.export.graphs import graphs, quiet, recorded
from styleloom.export.targets import Options
from styleloom.sampling import Sampler
from styleloom.snapshot import Snapshot

TOLERANCE = 1e-4
"""Largest difference from the sampler, of values in about [-1, 1]."""


def export(snapshot: Snapshot, folder: Path, options: Options) -> dict[str, Any]:
    """Write NAME.pt2 for each graph to `folder`, and say what was measured of each.

    Raises UserError where a graph differs from the sampler.
    """
    sampler = Sampler.of(snapshot, "cpu", "fp32")
    samples = probe(sampler, options.noise)
    found = {}
    for graph in graphs(sampler, options.noise):
        file = folder / f"{graph.name}.pt2"
        with quiet():
            torch.export.save(recorded(graph), file)
            module = torch.export.load(file).module()

        @torch.no_grad()
        def run(inputs: Mapping[str, Tensor], module: torch.nn.Module = module) -> Tensor:
            return module(*inputs.values())

        measured = compared(graph, run, samples, TOLERANCE)
        found[graph.name] = {**described(graph, file), **measured}
    return {"noise": options.noise, "graphs": found}
