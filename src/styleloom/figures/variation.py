"""Sheets in which styles or noise change and the rest stays: mixing, realizations of noise, truncation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from styleloom import mixing
from styleloom.errors import UserError
from styleloom.figures import layout
from styleloom.figures.figure import Job, Numbered, Picture, first_seeds
from styleloom.latents import Latents
from styleloom.sampling import Sampler

ROWS_OF = {"coarse": 3, "middle": 2, "fine": 1}
"""Rows of the papers' figures of style mixing."""

CROP = 4
"""A crop has this part of the height and width."""
CROPS = 4
"""Realizations of noise whose crops are shown."""

FINE_FROM = 4 / 9
"""Share of the levels that are coarse, where noise is applied to some: 4 to 32 px of 4 to 1024 px."""

PSIS = (1.0, 0.7, 0.5, 0.0, -0.5, -1.0)
"""StyleGAN Figure 8."""

FULL_RANGE = 2.0
"""Of images in [-1, 1]."""


# ---- styles


def style_mixing(job: Job) -> Picture:
    """Source A at the left, B at the top, and A with B's coarse, middle or fine styles between them."""
    sampler = job.sampler
    found = []
    for name in mixing.SIDES:
        try:
            found.append(mixing.layers_named(sampler, name))
        except UserError:  # a small generator has no fine layers
            continue
    seeds, rngs = job.seeds(sum(ROWS_OF[layers.name] for layers in found))
    rows = dealt(len(seeds), [ROWS_OF[layers.name] for layers in found])
    columns = job.latents(sampler, _sources(job, len(seeds)), job.psi(sampler), "fixed")
    sources = job.latents(sampler, (seeds, rngs), job.psi(sampler), "fixed")
    blocks = [
        mixing.Block(sources[start:stop], layers)
        for (start, stop), layers in zip(rows, found, strict=True)
        if stop > start
    ]
    zoom, across = job.zoom(sampler.size), 1 + len(columns)
    layout.check_places(across * (1 + len(seeds)), sampler.size, zoom)
    images = job.colours(mixing.figure(sampler, columns, blocks), across * (1 + len(seeds)))
    tiles = list(layout.enlarged(images, zoom))
    cells: list[list[Tensor | None]] = [list(tiles[i : i + across]) for i in range(0, len(tiles), across)]
    cells[0][0] = None
    left = [""] + [
        f"{block.layers.name}\n{_px(sampler, block.layers.indices)}"
        for block in blocks
        for _ in range(len(block.rows))
    ]
    record = {"styles": {block.layers.name: list(block.layers.indices) for block in blocks}}
    return Picture(layout.framed(layout.board(cells, ["source A", "source B"], left)), record)


def _sources(job: Job, taken: int) -> Numbered:
    """The seeds of source B: those that follow A's, unless given."""
    if job.options["sources"] is not None:
        return job.options["sources"]
    return first_seeds(job.options["columns"], taken)


def dealt(count: int, shares: Sequence[int]) -> list[tuple[int, int]]:
    """0..count in parts proportional to `shares`, each with its first and its end."""
    ends = [round(count * sum(shares[: i + 1]) / sum(shares)) for i in range(len(shares))]
    return list(zip([0, *ends], ends, strict=False))


def _px(sampler: Sampler, indices: Sequence[int]) -> str:
    """The levels of style inputs: "4-8 px"."""
    generator = sampler.experiment.generator
    return _span([side for side in generator.sides if set(generator.styles_at(side)) & set(indices)])


def _span(sides: Sequence[int]) -> str:
    return f"{sides[0]} px" if len(sides) == 1 else f"{sides[0]}-{sides[-1]} px"


def truncation(job: Job) -> Picture:
    """Images of seeds with psi from 1 to -1; at 0 all are the average image (StyleGAN Figure 8)."""
    sampler, numbered = job.sampler, job.seeds()
    zoom, count = job.zoom(sampler.size), len(numbered[0])
    layout.check_places(count * len(PSIS), sampler.size, zoom)
    columns = [layout.enlarged(job.images(sampler, numbered, psi, "fixed"), zoom) for psi in PSIS]
    rows = [[column[i] for column in columns] for i in range(count)]
    return Picture(layout.framed(layout.board(rows, [f"psi {psi:g}" for psi in PSIS])), {"psi": PSIS})


# ---- noise


def moments(job: Job, sampler: Sampler, latent: Latents, draws: int) -> Tensor:
    """Standard deviation [H, W] of one latent's images over noise of seeds 0, 1, ...: the root of the mean
    over channels of the variance, in shares of the full range."""
    total = squares = torch.zeros(())
    size = sampler.images_per_pass
    for start in range(0, draws, size):
        seeds = list(range(start, min(start + size, draws)))
        images = sampler.render(sampler.with_noise(latent[[0] * len(seeds)], seeds)).cpu().double()
        total, squares = total + images.sum(0), squares + images.square().sum(0)
        job.progress("realizations of noise", seeds[-1] + 1, draws)
    variance = (squares / draws - (total / draws).square()).clamp(min=0)
    return variance.mean(0).sqrt() / FULL_RANGE


def window(deviation: Tensor) -> tuple[slice, slice]:
    """Where a map [H, W] has the highest mean in a window of 1 / CROP of its height and width."""
    height, width = (max(1, n // CROP) for n in deviation.shape)
    means = torch.nn.functional.avg_pool2d(deviation[None, None].float(), (height, width), 1)[0, 0]
    y, x = divmod(int(means.argmax()), means.shape[1])
    return slice(y, y + height), slice(x, x + width)


def stochastic_variation(job: Job) -> Picture:
    """Images, crops of them with other noise, their deviation over many realizations (StyleGAN Figure 4)."""
    sampler, numbered, draws = job.sampler, job.seeds(), job.options["draws"]
    zoom = job.zoom(sampler.size, 256)
    layout.check_places(3 * len(numbered[0]), sampler.size, zoom)
    base = job.latents(sampler, numbered, job.psi(sampler))
    rows, brightest = [], []
    for i in range(len(base)):
        deviation = moments(job, sampler, base[i], draws)
        y, x = window(deviation)
        noisy = sampler.with_noise(base[[i] * CROPS], list(range(CROPS)))
        crops = layout.enlarged(layout.rgb(sampler.render(noisy))[:, :, y, x], zoom * CROP // 2)
        high = deviation.flatten().quantile(0.998).item()
        brightest.append(high)
        rows.append(
            [
                layout.enlarged(layout.rgb(sampler.render(base[i])), zoom)[0],
                layout.board([list(crops[:2]), list(crops[2:])], gap=2),
                layout.enlarged(layout.grey(deviation[None], 0, high), zoom)[0],
            ]
        )
    heads = [
        "(a) generated image",
        "(b) one place with other noise",
        f"(c) deviation over {draws} realizations",
    ]
    left = [f"white: {255 * high:.1f} of 255" for high in brightest]
    record = {"deviation_white": brightest}
    return Picture(layout.framed(layout.board(rows, heads, left)), record)


def coarse_levels(sampler: Sampler) -> list[int]:
    """Nominal sides, px, of the levels whose noise is coarse: 4 to 32 px at 1024 px, and as large a share of
    others' levels."""
    sides = sampler.experiment.generator.sides
    return list(sides[: max(1, int(len(sides) * FINE_FROM))])


def noise_layers(job: Job) -> Picture:
    """Noise in all layers, in none, in fine ones and in coarse ones alone (StyleGAN Figure 5)."""
    sampler, numbered = job.sampler, job.seeds()
    sides, coarse = sampler.experiment.generator.sides, coarse_levels(sampler)
    zoom = job.zoom(sampler.size, 256)
    layout.check_places(8 * len(numbered[0]), sampler.size, zoom)
    latents = job.latents(sampler, numbered, job.psi(sampler))
    lowest_fine = sampler.experiment.generator.size_at(coarse[-1] * 2)

    def kept(fine: bool) -> Latents:
        maps = [
            n if (tuple(n.shape[2:]) >= lowest_fine) == fine else torch.zeros_like(n)
            for n in latents.noise or ()
        ]
        return replace(latents, noise=tuple(maps))

    variants = [latents, sampler.with_noise(latents, "none"), kept(fine=True), kept(fine=False)]
    shown = [job.rendered(sampler, variant) for variant in variants]
    rows: list[list[Tensor]] = []
    for i in range(len(latents)):
        y, x = window(moments(job, sampler, latents[i], CROPS * CROPS))
        rows.append([layout.enlarged(images[i], zoom) for images in shown])
        rows.append([layout.enlarged(images[i][:, y, x], zoom * CROP) for images in shown])
    heads = [
        "(a) noise in all layers",
        "(b) no noise",
        f"(c) fine layers only ({_span([s for s in sides if s not in coarse])})",
        f"(d) coarse layers only ({_span(coarse)})",
    ]
    return Picture(layout.framed(layout.board(rows, heads)))


def realizations(job: Job) -> Picture:
    """One latent in each row, with other noise in each column (MSG-GAN Figure 8), and the deviation."""
    blocks = []
    for sampler in job.samplers:
        numbered, columns = job.seeds(), job.options["columns"]
        zoom = job.zoom(sampler.size)
        layout.check_places((columns + 1) * len(numbered[0]), sampler.size, zoom)
        base = job.latents(sampler, numbered, job.psi(sampler))
        rows = []
        for i in range(len(base)):
            noisy = sampler.with_noise(base[[i] * columns], list(range(columns)))
            deviation = moments(job, sampler, base[i], job.options["draws"])
            high = deviation.flatten().quantile(0.998).item()
            images = [*job.rendered(sampler, noisy), layout.grey(deviation[None], 0, high)[0]]
            rows.append([layout.enlarged(image, zoom) for image in images])
        heads = [f"noise {i}" for i in range(columns)] + ["deviation"]
        blocks.append(layout.board(rows, heads))
    return Picture(layout.framed(layout.stacked(blocks, job.names if len(blocks) > 1 else ())))
