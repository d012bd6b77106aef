"""Distances of generated and of real images after projection (StyleGAN2 Figure 9)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from styleloom.attribution import Calibration, distances, generated_images, load_calibration, real_images
from styleloom.attribution.plot import bin_edges
from styleloom.errors import UserError
from styleloom.features.registry import load_distance
from styleloom.figures.figure import Job, Plot
from styleloom.figures.plots import Panel, Series
from styleloom.projection import Projection, Projector, distance_name
from styleloom.sampling import Sampler
from styleloom.snapshot import read_snapshot

SEVERAL = 20
"""Images of each set, at least: the rates that a calibration states need so many."""


def histograms(job: Job) -> Plot:
    """A panel for each calibration; without one, images are projected for each snapshot."""
    given: Sequence[Path] | None = job.options["calibration"]
    if given is not None:
        found = [load_calibration(path) for path in given]
        names = [path.name.removesuffix(".json").removesuffix(".attribution") for path in given]
    else:
        names = job.names
        found = [_measured(job, *pair) for pair in zip(job.samplers, job.paths, names, strict=True)]
    return Plot([panel(one, name) for one, name in zip(found, names, strict=True)])


def panel(calibration: Calibration, name: str) -> Panel:
    """Shares of generated and of real images by distance, with the area under the ROC curve."""
    edges = bin_edges(calibration)
    series = []
    for words, values in (("generated", calibration.generated), ("real", calibration.real)):
        counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
        series.append(Series(f"{words} ({len(values)})", edges, (100 * counts / len(values)).tolist()))
    return Panel(
        f"distance after projection ({calibration.distance_name})",
        "images, %",
        series,
        "histogram",
        f"{name}: ROC area {calibration.roc_area.value:.3f}",
        log_x=True,
    )


def _measured(job: Job, sampler: Sampler, path: Path, name: str) -> Calibration:
    """The distances of a snapshot's images and of real ones."""
    seeds = job.own_seeds()
    if len(seeds) < SEVERAL:
        raise UserError(f"--count: {len(seeds)} is not valid, at least {SEVERAL}")
    assert job.data is not None
    trained_on = read_snapshot(path).info.get("data")
    real = real_images(sampler, job.data, len(seeds), trained_on, job.classes)
    options = Projection(steps=job.options["steps"])
    distance = load_distance(job.options["distance"] or distance_name(), sampler.generator.w_avg.device)
    labels = job.label(sampler, len(seeds))
    sets = []
    for words, images in (
        ("generated", generated_images(sampler, seeds, job.classes)),
        ("real", real.images(range(len(seeds)))),
    ):
        done = 0

        def report(projector: Projector, words: str = words) -> None:
            nonlocal done
            done += 1
            batches = -(-len(seeds) // 8)
            job.progress(f"{name}, {words} images: steps", done, batches * options.steps)

        sets.append(distances(sampler, images, options, distance, labels, watch=report))
    return Calibration(*sets, document={"method": {"distance": distance.identity}})
