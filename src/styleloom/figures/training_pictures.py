"""Sheets of levels and of snapshots: what a pyramid shows at once, and a training one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from styleloom.figures import layout
from styleloom.figures.figure import Job, Picture
from styleloom.metrics.probes.stability import images_at
from styleloom.runs.records import images_seen_of


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of `paths`, evenly from the first to the last."""
    if count >= len(paths):
        return list(paths)
    if count == 1:
        return [paths[-1]]
    return [paths[round(i * (len(paths) - 1) / (count - 1))] for i in range(count)]


def seen(path: Path) -> str:
    """How far a training was: "190.6 kimg"."""
    return f"{(images_seen_of(path) or 0) / 1000:,.4g} kimg"


def _to_size(images: Tensor, size: tuple[int, int], zoom: int) -> Tensor:
    """Images [N, C, h, w] in colour with pixels as large as are needed for `size`, enlarged."""
    return layout.enlarged(layout.rgb(images), zoom * size[0] // images.shape[2])


def all_levels(job: Job) -> Picture:
    """Images of each seed at every level of a pyramid, all enlarged to one size (MSG-GAN Figure 1)."""
    sampler, seeds = job.sampler, job.own_seeds()
    size, sides = sampler.size, sampler.experiment.generator.pyramid_sides or ()
    zoom = job.zoom(size)
    layout.check_places(len(seeds) * len(sides), size, zoom)
    labels = job.label(sampler, len(seeds))
    columns = [_to_size(level, size, zoom) for level in images_at(sampler, seeds, labels).values()]
    rows = [[column[i] for column in columns] for i in range(len(seeds))]
    return Picture(layout.framed(layout.board(rows, [f"{side} px" for side in sides])))


def levels_in_training(job: Job) -> Picture:
    """One latent at every level (rows), in the snapshots of a run (columns) (MSG-GAN Figure 5)."""
    blocks = []
    seeds = job.own_seeds()
    paths = spread(job.runs[0].snapshots(), job.options["columns"])
    found = _in_snapshots(job, paths, seeds)
    size = found[-1][max(found[-1])].shape[2:]
    zoom = job.zoom((size[0], size[1]))
    sides = sorted({side for levels in found for side in levels})
    layout.check_places(len(seeds) * len(sides) * len(paths), (size[0], size[1]), zoom)
    for at in range(len(seeds)):
        rows = [
            [
                _to_size(levels[side][at : at + 1], (size[0], size[1]), zoom)[0] if side in levels else None
                for levels in found
            ]
            for side in sides
        ]
        blocks.append(layout.board(rows, [seen(path) for path in paths], [f"{side} px" for side in sides]))
    titles = [f"seed {seed}" for seed in seeds] if len(seeds) > 1 else ()
    return Picture(layout.framed(layout.stacked(blocks, titles)), {"shown": [path.name for path in paths]})


def growth(job: Job) -> Picture:
    """Images of a few latents (rows) in the snapshots of a run (columns), as large as at its end (ProGAN
    Figure 1)."""
    seeds = job.own_seeds()
    paths = spread(job.runs[0].snapshots(), job.options["columns"])
    found = _in_snapshots(job, paths, seeds)
    size = job.open(paths[-1]).experiment.generator.size
    zoom = job.zoom(size)
    layout.check_places(len(seeds) * len(paths), size, zoom)
    columns = [_to_size(levels[max(levels)], size, zoom) for levels in found]
    rows = [[column[i] for column in columns] for i in range(len(seeds))]
    heads = [f"{max(levels)} px\n{seen(path)}" for levels, path in zip(found, paths, strict=True)]
    return Picture(layout.framed(layout.board(rows, heads)), {"shown": [path.name for path in paths]})


def _in_snapshots(job: Job, paths: Sequence[Path], seeds: Sequence[int]) -> list[dict[int, Tensor]]:
    """Images of the seeds in each snapshot, by nominal side."""
    found = []
    for i, path in enumerate(paths):
        job.progress("snapshots", i, len(paths))
        sampler = job.open(path)
        found.append(images_at(sampler, seeds, job.label(sampler, len(seeds))))
    return found
