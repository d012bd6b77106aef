"""Projected images beside their targets, and the noise that was found for them (StyleGAN2 Figures 10, 18)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from styleloom import arguments
from styleloom.data.reals import to_signed
from styleloom.errors import UserError
from styleloom.features.registry import load_distance
from styleloom.figures import layout
from styleloom.figures.figure import Job, Picture
from styleloom.projection import Projected, Projection, Projector, distance_name
from styleloom.projection.projector import projected
from styleloom.sampling import Sampler

BATCH = 8
"""Targets that are projected together."""

WEIGHTS = (0.0, 1e5)
"""Of the regularization of noise, in the columns of Figure 18: off and as published."""
MAPS = 3
"""Noise maps that are shown: of the highest levels."""
NOISE_RANGE = 3.0
"""Noise of so many deviations is black or white."""


def reals(job: Job, sampler: Sampler, at: Sequence[int]) -> Tensor:
    """Images of the data at positions, float [N, C, H, W]. Raises UserError for positions that are not there,
    and for images that the generator does not make."""
    data = job.data
    assert data is not None
    expected = (sampler.experiment.generator.channels, *sampler.size)
    if (data.channels, *data.size) != expected:
        raise UserError(
            f"--data: images of {data.channels} channels, {data.size[0]} x {data.size[1]} px; the generator "
            f"makes {expected[0]} channels, {expected[1]} x {expected[2]} px"
        )
    arguments.wholes("seeds", list(at), 0, len(data) - 1)
    return to_signed(torch.from_numpy(data.images(np.array(at, np.int64))))


def project(job: Job, sampler: Sampler, targets: Tensor, weight: float, what: str) -> Projected:
    """The projections of targets, with progress."""
    options = Projection(steps=job.options["steps"], noise_weight=weight)
    name = job.options["distance"] or distance_name()
    projector = Projector(
        sampler,
        targets,
        options,
        load_distance(name, sampler.generator.w_avg.device),
        job.label(sampler, len(targets)),
    )
    for step in range(options.steps):
        job.progress(what, step, options.steps)
        projector.step()
    return projected(projector)


def pairs(job: Job) -> Picture:
    """Generated and real images, each above its projection, a block for each snapshot (Figure 10)."""
    blocks, record = [], []
    for sampler, name in zip(job.samplers, job.names, strict=True):
        numbered = job.seeds()
        real = reals(job, sampler, range(len(numbered[0])))
        count = len(numbered[0]) + len(real)
        zoom = job.zoom(sampler.size)
        layout.check_places(2 * count, sampler.size, zoom)
        made = sampler.render(job.latents(sampler, numbered, job.psi(sampler))).cpu()
        targets = torch.cat([made, real])
        found = [
            project(job, sampler, part, WEIGHTS[1], f"steps, targets of {name}")
            for part in targets.split(BATCH)
        ]
        images = torch.cat([part.images.cpu() for part in found])
        distances = torch.cat([part.distance for part in found]).tolist()
        rows = [list(layout.enlarged(layout.rgb(x), zoom)) for x in (targets, images)]
        words = ["generated"] * len(made) + ["real"] * len(real)
        heads = [f"{word}\n{distance:.3f}" for word, distance in zip(words, distances, strict=True)]
        blocks.append(layout.board(rows, heads, ["target", "projected"]))
        record.append({"snapshot": name, "distances": distances})
    picture = layout.stacked(blocks, job.names if len(blocks) > 1 else ())
    distance = job.options["distance"] or distance_name()
    return Picture(layout.framed(picture), {"distance": distance, "projections": record})


def noise_regularization(job: Job) -> Picture:
    """A real image, its projection and the noise found with it, without and with regularization of the noise
    (Figure 18): without it the image leaks into the noise."""
    sampler = job.sampler
    at = job.own_seeds()[:1]
    real = reals(job, sampler, at)
    zoom = job.zoom(sampler.size, 192)
    layout.check_places((2 + MAPS) * len(WEIGHTS), sampler.size, zoom)
    side, columns, record = zoom * sampler.size[0], [], []
    sizes: Sequence[tuple[int, int]] = []
    for weight in WEIGHTS:
        found = project(job, sampler, real, weight, f"steps, weight {weight:g}")
        maps = [n[0] for n in found.latents.noise or () if n.numel()][::-1]
        shown = list({tuple(n.shape): n for n in maps[::-1]}.values())[::-1][:MAPS]  # the last of each size
        sizes = [(n.shape[1], n.shape[2]) for n in shown]
        grey = [layout.grey(n, -NOISE_RANGE, NOISE_RANGE)[0] for n in shown]
        column = [layout.enlarged(layout.rgb(x.cpu())[0], zoom) for x in (real, found.images)]
        columns.append(column + [layout.enlarged(g, side // g.shape[1]) for g in grey])
        record.append({"noise_weight": weight, "distance": found.distance.item()})
    rows = [list(row) for row in zip(*columns, strict=True)]
    heads = [f"weight {w:g}\ndistance {r['distance']:.3f}" for w, r in zip(WEIGHTS, record, strict=True)]
    left = ["target", "projected", *(f"noise {h} x {w} px" for h, w in sizes)]
    return Picture(layout.framed(layout.board(rows, heads, left)), {"projections": record, "position": at[0]})
