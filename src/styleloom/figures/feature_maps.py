"""Sheets of feature maps inside a generator: droplets, and frequencies (StyleGAN2 Figures 1, 3, 15, 16)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from styleloom.errors import UserError
from styleloom.figures import layout
from styleloom.figures.figure import Job, Numbered, Picture
from styleloom.latents import Latents
from styleloom.sampling import Sampler

DROPLETS_FROM_PX = 64
"""Where droplets begin (StyleGAN2 section 2)."""
STRONGEST = 3
"""Feature maps that are shown beside the root mean square of all."""
WITHOUT = 4
"""Images that StyleGAN2's Figure 15 shows, of those that are looked through."""
FEATURES_OF_A_LEVEL = 2
"""Rows of the figure of frequencies."""


def features(sampler: Sampler, latents: Latents, wanted: int | None = None) -> dict[int, Tensor]:
    """What levels of a generator put out for some images, before toRGB: nominal side -> [N, C, h, w].

    Float32 on the CPU.

    Args:
        sampler: the generator; a growing run has the levels that it has reached.
        latents: of the images.
        wanted: nominal side of the level, px; None for every level.
    """
    blocks = sampler.generator.synthesis_network.blocks
    assert isinstance(blocks, nn.ModuleList)
    sides = sampler.experiment.generator.sides
    found: dict[int, list[Tensor]] = {}

    def keep(side: int) -> Any:
        def hook(_module: nn.Module, _given: Any, out: Tensor) -> None:
            found.setdefault(side, []).append(out.detach().float().cpu())

        return hook

    hooks = [
        block.register_forward_hook(keep(side))
        for side, block in zip(sides, blocks, strict=True)
        if wanted in (None, side)
    ]
    try:
        sampler.render(latents)
    finally:
        for hook in hooks:
            hook.remove()
    return {side: torch.cat(parts)[: len(latents)] for side, parts in found.items()}


def peaks(maps: Tensor) -> Tensor:
    """How far maps [..., h, w] stick out anywhere: the largest distance from the mean, in deviations."""
    flat = maps.flatten(-2)
    centred = flat - flat.mean(-1, keepdim=True)
    return centred.abs().amax(-1) / centred.square().mean(-1).sqrt().clamp(min=1e-12)


def magnitude(maps: Tensor) -> Tensor:
    """The root mean square over features [N, C, h, w]: [N, h, w]."""
    return maps.square().mean(1).sqrt()


def shown_level(job: Job, sampler: Sampler) -> int:
    """The level whose features are shown: as asked; else that of 64 px, or the highest of a smaller one."""
    sides = [side for side in sampler.experiment.generator.sides if side <= sampler.resolution]
    asked = job.options["side"]
    if asked is None:
        return min(DROPLETS_FROM_PX, sides[-1])
    if asked not in sides:
        raise UserError(f"--side: {asked} is not valid; choose from {', '.join(map(str, sides))}")
    return asked


def droplets(job: Job) -> Picture:
    """Images, and beside each the features of a level: a droplet is a spot in all of them (Figures 1, 3)."""
    sides = [shown_level(job, sampler) for sampler in job.samplers]
    blocks, found = [], []
    for sampler, side in zip(job.samplers, sides, strict=True):
        seeds, rngs = job.seeds()
        latents = job.latents(sampler, (seeds, rngs), job.psi(sampler))
        block, peak = _with_features(job, sampler, latents, side)
        blocks.append(block)
        found.append(peak)
    titles = job.names if len(blocks) > 1 else ()
    record = {"side": sides, "peak": found}
    return Picture(layout.framed(layout.stacked(blocks, titles)), record)


def _with_features(job: Job, sampler: Sampler, latents: Latents, side: int) -> tuple[Tensor, list[float]]:
    """Rows of an image and its feature maps, and the peak of each row's magnitude."""
    zoom = job.zoom(sampler.size)
    layout.check_places(len(latents) * (2 + STRONGEST), sampler.size, zoom)
    images = layout.enlarged(job.rendered(sampler, latents), zoom)
    maps = features(sampler, latents, side)[side]
    strongest = peaks(maps).mean(0).argsort(descending=True)[:STRONGEST].tolist()
    whole = magnitude(maps)
    peak = peaks(whole).tolist()
    times = images.shape[2] // maps.shape[2]
    rows = []
    for i in range(len(latents)):
        grey = [layout.grey(whole[i : i + 1], 0, whole[i].max().item())[0]]
        grey += [spanned(maps[i, c]) for c in strongest]
        rows.append([images[i], *(layout.enlarged(image, times) for image in grey)])
    heads = ["image", f"all features, {side} px", *(f"feature {c}" for c in strongest)]
    return layout.board(rows, heads, [f"peak {value:.1f} deviations" for value in peak]), peak


def spanned(one: Tensor) -> Tensor:
    """A map [h, w] from black, its least value, to white."""
    return layout.grey(one[None], one.min().item(), one.max().item())[0]


def without_droplets(job: Job) -> Picture:
    """Of many images those whose features stick out least (Figure 15: where no droplet can be made, the image
    is broken)."""
    sampler, (seeds, rngs) = job.sampler, job.seeds()
    side, size = shown_level(job, sampler), sampler.images_per_pass
    found: list[float] = []
    for start in range(0, len(seeds), size):
        own = (seeds[start : start + size], rngs[start : start + size])
        maps = features(sampler, job.latents(sampler, own, job.psi(sampler)), side)[side]
        found += peaks(magnitude(maps)).tolist()
        job.progress("feature maps", len(found), len(seeds))
    least = sorted(range(len(seeds)), key=lambda i: found[i])[:WITHOUT]
    chosen: Numbered = ([seeds[i] for i in least], [rngs[i] for i in least])
    block, peak = _with_features(job, sampler, job.latents(sampler, chosen, job.psi(sampler)), side)
    record = {
        "side": side,
        "shown": list(chosen[0]),
        "peak": peak,
        "median_peak": sorted(found)[len(found) // 2],
    }
    return Picture(layout.framed(block), record)


# ---- frequencies


def high_share(maps: Tensor) -> float:
    """Share of the variance of maps [N, C, h, w] that is above half of the highest frequency they can hold.

    0 where they do not vary.
    """
    spectrum = torch.fft.fft2(maps - maps.mean((2, 3), keepdim=True)).abs().square()
    height, width = maps.shape[2:]
    fy, fx = torch.fft.fftfreq(height).abs()[:, None], torch.fft.fftfreq(width).abs()[None]
    high = torch.maximum(fy, fx) > 0.25
    total = spectrum.sum().item()
    return spectrum[..., high].sum().item() / total if total else 0.0


def frequencies(job: Job) -> Picture:
    """Features of every level, a block for each snapshot, and the share of high frequencies in all of them
    (Figure 16)."""
    blocks, shares = [], []
    for sampler in job.samplers:
        latents = job.latents(sampler, job.seeds(), job.psi(sampler))
        levels = features(sampler, latents)
        zoom = job.zoom(sampler.size)
        layout.check_places(len(latents) * FEATURES_OF_A_LEVEL * len(levels), sampler.size, zoom)
        own = {side: high_share(maps) for side, maps in levels.items() if side > min(levels)}
        rows: list[list[Tensor]] = []
        for i in range(len(latents)):
            for rank in range(FEATURES_OF_A_LEVEL):
                rows.append([_of_level(levels[side], i, rank, zoom * sampler.size[0]) for side in own])
        heads = [f"{side} px\nhigh: {100 * share:.0f}%" for side, share in own.items()]
        blocks.append(layout.board(rows, heads))
        shares.append({str(side): share for side, share in own.items()})
    record = {"high": shares}
    return Picture(layout.framed(layout.stacked(blocks, job.names if len(blocks) > 1 else ())), record)


def _of_level(maps: Tensor, image: int, rank: int, height: int) -> Tensor:
    """The feature that varies most (rank 0) or next (1) over all images, of one image, `height` px high."""
    order: Sequence[int] = maps.var((0, 2, 3)).argsort(descending=True).tolist()
    one = maps[image, order[min(rank, len(order) - 1)]]
    return layout.enlarged(spanned(one), height // one.shape[0])
