"""How evenly images follow their latents: path lengths of images, singular values, phase (StyleGAN2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from styleloom.features.registry import load_distance
from styleloom.figures import layout
from styleloom.figures.figure import Job, Picture, Plot, plain
from styleloom.figures.plots import Panel, Series
from styleloom.images import grid
from styleloom.metrics.probes import jacobian
from styleloom.metrics.probes.ppl import image_path_lengths, percentile_groups
from styleloom.projection import distance_name
from styleloom.sampling import Sampler
from styleloom.video.kinds import walk

FEWEST_BINS, MOST_BINS, PER_BIN = 20, 40, 8
"""A bin for about so many images."""
LONGEST = 95
"""Percentile at which the histogram's last bin begins: it holds the tail."""
LINE = (40, 90, 255)
"""Colour of the line that marks a place."""


def _lengths(job: Job, sampler: Sampler, seeds: list[int]) -> tuple[Tensor, str]:
    """Path lengths of the images of seeds [N], and the name of the distance."""
    name = job.options["distance"] or distance_name()
    distance = load_distance(name, sampler.generator.w_avg.device)
    size, parts = sampler.images_per_pass, []
    for start in range(0, len(seeds), size):
        job.progress("path lengths", start, len(seeds))
        own = seeds[start : start + size]
        labels = job.label(sampler, len(own))
        parts.append(image_path_lengths(sampler, distance, own, job.options["draws"], labels=labels))
    return torch.cat(parts), name


def by_path_length(job: Job) -> Picture:
    """Images with a low path length, at or below the 10th percentile, and with a high one, at or above the
    90th (Figure 4)."""
    sampler, seeds, columns = job.sampler, job.own_seeds(), job.options["columns"]
    zoom = job.zoom(sampler.size)
    layout.check_places(2 * max(len(seeds) // 10, columns), sampler.size, zoom)
    lengths, name = _lengths(job, sampler, seeds)
    groups = percentile_groups(lengths, seeds)
    value = dict(zip(seeds, lengths.tolist(), strict=True))
    sheets, titles = [], []
    for group, words in zip(groups, ("(a) low", "(b) high"), strict=True):
        shown = group[: len(group) // columns * columns or len(group)]
        images = layout.enlarged(job.images(sampler, plain(shown)), zoom)
        sheets.append(grid(images, min(columns, len(shown))))
        mean = sum(value[seed] for seed in group) / len(group)
        titles.append(f"{words} path length, mean {mean:.4g}")
    record = {"distance": name, "low": groups[0], "high": groups[1]}
    return Picture(layout.framed(layout.stacked(sheets, titles)), record)


def histogram(job: Job) -> Plot:
    """Path lengths of single images; the percentiles of Figure 4 stand out (Figure 5)."""
    seeds = job.own_seeds()
    found = [_lengths(job, sampler, seeds) for sampler in job.samplers]
    most = max(np.percentile(lengths.numpy(), LONGEST) for lengths, _ in found)
    bins = min(max(len(seeds) // PER_BIN, FEWEST_BINS), MOST_BINS)
    edges = np.linspace(0, most, bins + 1)
    panels = []
    for (lengths, name), title in zip(found, job.names, strict=True):
        values = lengths.numpy()
        counts = np.histogram(values.clip(0, most), edges)[0]
        low, high = np.percentile(values, (10, 90))
        middles = (edges[1:] + edges[:-1]) / 2
        marked = np.flatnonzero((middles <= low) | (middles >= high)).tolist()
        series = Series("", edges.tolist(), counts.tolist(), marked=marked)
        text = f"{title}: mean {values.mean():.4g}"
        panels.append(
            Panel(
                f"path length ({name}; last bar: all above)",
                "images",
                [series],
                "histogram",
                text,
                marks=[low, high],
            )
        )
    record = {"distance": found[0][1], "lengths": [lengths.tolist() for lengths, _ in found]}
    return Plot(panels, record)


def with_path_lengths(job: Job) -> Picture:
    """Uncurated images of several snapshots, each with the mean of their path lengths (Figures 13, 14)."""
    seeds, columns = job.own_seeds(), job.options["columns"]
    sheets, titles, record = [], [], []
    for sampler in job.samplers:
        layout.check_places(len(job.samplers) * len(seeds), sampler.size, job.zoom(sampler.size))
    for sampler, name in zip(job.samplers, job.names, strict=True):
        lengths, distance = _lengths(job, sampler, seeds)
        images = job.images(sampler, plain(seeds))
        sheets.append(layout.enlarged(grid(images, columns), job.zoom(sampler.size)))
        titles.append(f"{name}: path length {lengths.mean():.4g} ({distance})")
        record.append(lengths.tolist())
    return Picture(layout.framed(layout.stacked(sheets, titles)), {"lengths": record})


# ---- singular values


def singular_values(job: Job) -> Plot:
    """Sorted singular values of the Jacobian dg(w)/dw, the largest 1, of each snapshot (Figure 17)."""
    seeds, series, medians = job.own_seeds(), [], {}
    for sampler, name in zip(job.samplers, job.names, strict=True):
        values = []
        for i, seed in enumerate(seeds):
            job.progress(f"singular values of {name}", i, len(seeds))
            values.append(jacobian.singular_values(sampler, seed, job.label(sampler, 1)))
        found = jacobian.spectrum(torch.stack(values))
        low = [max(m - s, 0) for m, s in zip(found.mean, found.std, strict=True)]
        high = [m + s for m, s in zip(found.mean, found.std, strict=True)]
        xs = list(range(1, len(found.mean) + 1))
        series.append(Series(f"{name} (median {found.median:.3f})", xs, list(found.mean), low, high))
        medians[name] = found.median
    panel = Panel("singular value", "magnitude, the largest is 1", series)
    return Plot([panel], {"median": medians})


# ---- phase


def phase(job: Job) -> Picture:
    """A walk between two images, with a line at a place where details stay, and beside it what stands in one
    row of pixels during the walk, from above to below (Figure 6): what stays in place makes upright lines."""
    columns, blocks, places = job.options["columns"], [], []
    for sampler in job.samplers:
        zoom = job.zoom(sampler.size)
        layout.check_places(columns + 1, sampler.size, zoom)
        keys = job.latents(sampler, job.seeds(), job.psi(sampler))
        film = walk(keys, closed=False)
        frames = job.rendered(sampler, film.at(film.moments(sampler.size[0])))
        y, x = steadiest(frames)
        slices = frames[:, :, y].permute(1, 0, 2)
        at = [round(i * (len(frames) - 1) / max(columns - 1, 1)) for i in range(columns)]
        row = [_lined(layout.enlarged(frames[i], zoom), x * zoom, zoom) for i in at]
        row.append(_lined(layout.enlarged(slices, zoom), x * zoom, zoom))
        heads = [f"{100 * i / (len(frames) - 1):.0f}%" for i in at] + [f"row {y} during the walk"]
        blocks.append(layout.board([row], heads))
        places.append({"row": y, "column": x})
    record = {"marked": places}
    return Picture(layout.framed(layout.stacked(blocks, job.names if len(blocks) > 1 else ())), record)


def steadiest(frames: Tensor) -> tuple[int, int]:
    """Row and column, inside the middle half of images [N, 3, H, W], where the mean over all images has its
    strongest upright edge: details that move are blurred there."""
    mean = frames.float().mean((0, 1))
    edges = (mean[:, 1:] - mean[:, :-1]).abs()
    height, width = edges.shape
    inside = torch.zeros_like(edges)
    inside[height // 4 : height - height // 4, width // 4 : width - width // 4] = 1
    y, x = divmod(int((edges * inside).argmax()), width)
    return y, x


def _lined(image: Tensor, x: int, zoom: int) -> Tensor:
    """An image uint8 [3, H, W] with an upright line right of the pixel at `x`."""
    marked = image.clone()
    marked[:, :, x + zoom - 1 : x + zoom] = torch.tensor(LINE, dtype=torch.uint8)[:, None, None]
    return marked
