"""Sheets of random images: in one size, in several sizes, of several snapshots side by side."""

from __future__ import annotations

import numpy as np
import torch

from styleloom import arguments
from styleloom.figures import layout
from styleloom.figures.figure import Job, Picture
from styleloom.images import grid
from styleloom.sampling import Sampler

SIZES = (1, 2, 4, 4, 8, 8)
"""Columns of StyleGAN's Figure 2: each with images of this part of the full size."""
ROWS = 3
"""Its rows of full size."""
SMALLEST_PX = 64
"""Columns of smaller images are left out: they would show less than the generator makes."""
LARGEST_PX = 256
"""Full size of small images in a sheet of several sizes."""

PSI, PSI_UP_TO_PX = 0.7, 32
"""The paper truncates the layers of up to 32 px (StyleGAN Figure 2)."""


def truncated(job: Job, sampler: Sampler) -> tuple[float, int | None]:
    """psi, and how many layers it is for: as asked, else as in StyleGAN's Figure 2 where there are styles."""
    given = job.options.get("truncation")
    if given is not None:
        return given, None
    generator = sampler.experiment.generator
    if not generator.truncates:
        return 1.0, None
    return PSI, sum(len(generator.styles_at(side)) for side in generator.sides if side <= PSI_UP_TO_PX)


def plain(job: Job) -> Picture:
    """Images of seeds in rows, without gaps."""
    sampler, numbered = job.sampler, job.seeds()
    zoom, columns = job.zoom(sampler.size, SMALLEST_PX), job.options["columns"]
    places = -(-len(numbered[0]) // columns) * columns
    layout.check_places(places, sampler.size, zoom)
    images = job.images(sampler, numbered, job.psi(sampler))
    return Picture(layout.enlarged(grid(images, columns), zoom))


def several_sizes(job: Job) -> Picture:
    """Images of seeds, large ones at the left and ever smaller ones at the right (StyleGAN Figure 2)."""
    sampler = job.sampler
    zoom = job.zoom(sampler.size, LARGEST_PX)
    parts = [n for n in SIZES if n == 1 or zoom * max(sampler.size) // n >= SMALLEST_PX]
    parts = [n for n in parts if min(sampler.size) * zoom % n == 0]
    counts = [ROWS * n for n in parts]
    layout.check_places(ROWS * len(parts), sampler.size, zoom)
    psi, layers = truncated(job, sampler)
    numbered = job.seeds(sum(counts))
    images = job.images(sampler, numbered, psi, layers=layers)
    columns, taken = [], 0
    for part, count in zip(parts, counts, strict=True):
        own = layout.reduced(layout.enlarged(images[taken : taken + count], zoom), part)
        columns.append(grid(own, 1, count) if len(own) else None)
        taken += count
    whole = [column for column in columns if column is not None]
    return Picture(torch.cat(whole, 2), {"truncation": psi, "truncation_layers": layers})


def side_by_side(job: Job) -> Picture:
    """The same seeds of several snapshots, a block of rows each under its name."""
    numbered, columns = job.seeds(), job.options["columns"]
    sheets = []
    for sampler in job.samplers:
        layout.check_places(len(job.samplers) * len(numbered[0]), sampler.size, job.zoom(sampler.size))
    for sampler in job.samplers:
        images = job.images(sampler, numbered, job.psi(sampler))
        sheets.append(layout.enlarged(grid(images, columns), job.zoom(sampler.size)))
    return Picture(layout.framed(layout.stacked(sheets, job.names)))


def of_data(job: Job) -> Picture:
    """Images of a data set, in its order; with seeds, those of these positions."""
    assert job.data is not None
    asked = list(job.seeds(min(job.options["count"], len(job.data)))[0])
    at = arguments.wholes("seeds", asked, 0, len(job.data) - 1)
    columns, zoom = job.options["columns"], job.zoom(job.data.size, SMALLEST_PX)
    layout.check_places(-(-len(at) // columns) * columns, job.data.size, zoom)
    images = layout.rgb(torch.from_numpy(job.data.images(np.array(at, np.int64))))
    return Picture(layout.enlarged(grid(images, columns), zoom), {"positions": list(at)})
