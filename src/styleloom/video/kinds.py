"""The films that a sampler can make: each function gives a `Film`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from styleloom import arguments
from styleloom.config.parts import Rng
from styleloom.directions.direction_set import Directions, Unit
from styleloom.directions.editing import moved, step_of
from styleloom.errors import UserError
from styleloom.latents import Latents
from styleloom.sampling import Sampler
from styleloom.video.film import Film
from styleloom.video.motion import Circle, Easing, KeyFrames, sweep, swing, turning_noise


def walk(keys: Latents, cells: int = 1, closed: bool = True, easing: Easing = "linear") -> Film:
    """Through key frames, in w in straight lines at constant speed.

    Args:
        keys: K key frames for each of C cells, one cell after the other. Noise and labels of a cell stay
            those of its first.
        cells: C.
        closed: whether the last key frame is followed by the first.
        easing: see `motion.Easing`.
    """
    arguments.whole("cells", cells, 1)
    if len(keys) % cells:
        raise UserError(f"grid: {len(keys)} key frames for {cells} cells; as many for each")
    values = keys.values.unflatten(0, (cells, -1))
    first = keys[list(range(0, len(keys), len(keys) // cells))]
    return Film(first, KeyFrames(values, closed, keys.space == "z", easing), closed=closed)


def circle(
    sampler: Sampler,
    seeds: Sequence[int],
    base: Latents,
    psi: float = 1.0,
    rng: Rng | Sequence[Rng] = "torch",
) -> Film:
    """From the image of each seed once round a great circle of z, at constant speed in w.

    Args:
        sampler: the generator.
        seeds: one a cell; the circle's plane goes through a second latent of the seed.
        base: the latents of the seeds, whose noise and labels stay.
        psi: of the truncation.
        rng: where z of the seeds comes from.
    """
    z, _, streams = sampler.draw_streams(seeds, rng)
    across = sampler.further_latents(streams).cpu()
    device = sampler.generator.w_avg.device

    @torch.no_grad()
    def mapped(points: Tensor) -> Tensor:
        if base.space == "z":
            return points
        labels = None if base.labels is None else base.labels.to(device)
        ws = sampler.generator.mapping(points.to(device), labels)
        return sampler.generator.truncate(ws, psi).cpu()

    return Film(base, Circle(z.cpu(), across, mapped))


def truncation(
    sampler: Sampler, base: Latents, low: float = -1.0, high: float = 1.0, closed: bool = True
) -> Film:
    """psi from `high` to `low` and back; not closed, from `low` to `high`.

    Args:
        sampler: the generator.
        base: not truncated.
        low, high: psi.
        closed: whether it comes back.
    """
    if base.space == "z":
        raise UserError("kind truncation: this generator has no w to truncate; choose another kind")
    low, high = arguments.finite("range", low), arguments.finite("range", high)

    def values(t: float) -> Tensor:
        psi = swing(t, high, low) if closed else sweep(t, low, high)
        return sampler.generator.truncate(base.values.to(sampler.generator.w_avg), psi).cpu()

    return Film(base, values, closed=closed)


def noise(sampler: Sampler, base: Latents, seed: int = 1_000_000) -> Film:
    """The same latents, while the noise goes round a circle through each image's own and that of `seed`."""
    if not sampler.noise_sizes:
        raise UserError("kind noise: this generator has no noise inputs; choose another kind")
    if base.noise is None:
        raise UserError("kind noise: not valid without noise; random or fixed noise")
    first = base.noise
    second = [maps.cpu() for maps in sampler.draw([seed])[1]]
    return Film(base, noise=lambda t: turning_noise(first, second, t))


def mix(base: Latents, sources: Latents, layers: Sequence[int], easing: Easing = "linear") -> Film:
    """The styles of `layers` walk through those of the sources, the others stay (StyleGAN section 3.1).

    Args:
        base: [C], what keeps its other styles.
        sources: key frames that all cells walk through.
        layers: rows of ws.
        easing: see `motion.Easing`.
    """
    if base.space == "z":
        raise UserError("kind mix: this generator has no styles to mix; choose another kind")
    rows = list(arguments.wholes("styles", layers, 0, base.values.shape[1] - 1))
    path = KeyFrames(sources.values[None, :, rows], True, easing=easing)

    def values(t: float) -> Tensor:
        mixed = base.values.clone()
        mixed[:, rows] = path(t)
        return mixed

    return Film(base, values)


def edit(
    base: Latents,
    directions: Directions,
    name: str,
    low: float,
    high: float,
    layers: Sequence[int] | None = None,
    unit: Unit = "deviation",
    closed: bool = True,
) -> Film:
    """Along a direction from strength `low` to `high` and back; not closed, there alone (see `editing`)."""
    step, rows = step_of(base, directions, name, layers, unit)

    def values(t: float) -> Tensor:
        strength = swing(t, low, high) if closed else sweep(t, low, high)
        return moved(base.values, step, torch.full((len(base),), strength), rows)

    return Film(base, values, closed=closed)
