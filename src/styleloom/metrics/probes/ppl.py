"""Perceptual path length: how much an image changes along a path through latent space.

StyleGAN section 4.1, equations 2 and 3; StyleGAN2 section 3 for single images (Figs. 4 and 5). A path length
is E[d(g(a), g(b)) / epsilon^2] for latents a and b that are epsilon apart on the way from one latent to
another, with d a perceptual distance that is quadratic in small differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from styleloom.config.checks import above, at_least, check_choices
from styleloom.data.pixels import reduced_to_compare
from styleloom.errors import UserError
from styleloom.features.resize import as_rgb
from styleloom.metrics.intervals import winsorized_standard_error
from styleloom.networks.assembly import finest
from styleloom.sampling import Sampler
from styleloom.types import PerceptualDistance

Space: TypeAlias = Literal["z", "w"]
"""Which latents are interpolated: z on the hypersphere (equation 2), or w on a straight line (equation 3)."""

Sampling: TypeAlias = Literal["full", "end"]
"""Where on the path: anywhere, t ~ U(0, 1), or at its beginning, t = 0."""

EPSILON = 1e-4
"""Step along a path of length 1."""

CUT = (1.0, 99.0)
"""Percentiles beyond which path lengths are left out, in the code of both papers; neither mentions it."""


@dataclass(frozen=True)
class Step:
    """A small step along a path through latent space, and what is looked at of the images at its ends.

    Args:
        space, sampling: see their types.
        crop: keep the window of `central_window`.
        epsilon: length of the step, as a fraction of the path.

    Raises UserError for a value that is not valid.
    """

    space: Space = "w"
    sampling: Sampling = "end"
    crop: bool = False
    epsilon: float = EPSILON

    def __post_init__(self) -> None:
        check_choices(self)
        above("epsilon", self.epsilon, 0)


FROM_START_IN_W = Step()
"""The step of StyleGAN2's Tables 1 to 3."""


@dataclass(frozen=True)
class PPL:
    """A perceptual path length.

    Args:
        mean: of the samples between `low` and `high`.
        standard_error: of `mean`; see `intervals.winsorized_standard_error`.
        kept: number of samples that count.
        low, high: smallest and largest sample that counts.
    """

    mean: float
    standard_error: float
    kept: int
    low: float
    high: float


@torch.no_grad()
def path_length_samples(
    sampler: Sampler,
    distance: PerceptualDistance,
    seeds: Sequence[int],
    step: Step = FROM_START_IN_W,
    labels: Tensor | None = None,
) -> Tensor:
    """d(g(a), g(b)) / epsilon^2 of one pair of images for each seed of a block.

    The seed gives both ends of the path, the position t and one set of noise maps for both images. The
    authors share maps among a whole minibatch; here they belong to the pair, so that batches change nothing.
    No truncation. Latents are interpolated in float64; images are float32 and must be made without TF32 and
    bfloat16, whose rounding is as large as the step. Where a slot of ws holds z
    (`networks.stylegan.LatentInputGenerator`), it is interpolated as w is.

    Args:
        sampler: the generator; of a pyramid the finest images count.
        distance: LPIPS in the papers. It sees images that are not clipped, as the authors' does.
        seeds: one pair each.
        step: where it is taken, and how far.
        labels: [N, K], for generators that take them; both ends of a path share one.

    Returns:
        float64 [N] on the CPU.

    Raises UserError for a space that the generator lacks, and for images that cannot be cropped or compared.
    """
    check_space(sampler, step.space)
    z, maps, streams = sampler.draw_streams(seeds)
    other = sampler.further_latents(streams)
    t = torch.zeros(len(z), dtype=torch.float64)
    if step.sampling == "full":
        t = torch.stack([torch.rand((), generator=rng, dtype=torch.float64) for rng in streams])
    ends = torch.stack([t, t + step.epsilon], 1)[:, :, None]  # [N, 2, 1]
    paired = None if labels is None else labels.repeat_interleave(2, 0)
    if step.space == "z":
        start, goal = (x.cpu().double()[:, None] for x in (z, other))
        latents = slerp(start, goal, ends).flatten(0, 1) * math.sqrt(z.shape[1])
        ws = sampler.generator.mapping(latents.to(z), paired)
    else:
        start, goal = (sampler.generator.mapping(x, labels) for x in (z, other))
        ws = _lerp(start, goal, ends)
    # a pair stands side by side in one batch, so that both images are rounded alike
    images = _synthesis(sampler, ws, [noise.repeat_interleave(2, 0) for noise in maps])
    images = comparable(images, step.crop)
    return _quotients(distance, images[0::2], images[1::2], step.epsilon)


@torch.no_grad()
def image_path_lengths(
    sampler: Sampler,
    distance: PerceptualDistance,
    seeds: Sequence[int],
    draws: int = 16,
    crop: bool = False,
    epsilon: float = EPSILON,
    labels: Tensor | None = None,
) -> Tensor:
    """Path length of single images: the mean over directions of a small step in W (StyleGAN2 Figs. 4 and 5).

    The image of a seed is that of `Sampler.generate`: its w stays, as do its noise maps, and steps lead
    towards `draws` other w. The paper does not say how many.

    Args:
        sampler, distance, labels: as in `path_length_samples`.
        crop, epsilon: as in `Step`.
        seeds: one image each.
        draws: directions, 1 or more.

    Returns:
        float64 [N] on the CPU.
    """
    above("epsilon", epsilon, 0)
    at_least("draws", draws, 1)
    check_space(sampler, "w")
    z, maps, streams = sampler.draw_streams(seeds)
    ws = sampler.generator.mapping(z, labels)
    images = comparable(_synthesis(sampler, ws, maps), crop)
    total = torch.zeros(len(z), dtype=torch.float64)
    for _ in range(draws):
        other = sampler.generator.mapping(sampler.further_latents(streams), labels)
        near = _lerp(ws, other, torch.full((1, 1, 1), epsilon, dtype=torch.float64))
        total += _quotients(distance, images, comparable(_synthesis(sampler, near, maps), crop), epsilon)
    return total / draws


def path_length(values: Tensor) -> PPL:
    """Mean of path length samples [N] between the 1st and 99th percentile, as in the code of both papers.

    The lower bound is the sample at or below the percentile, the upper one that at or above it; both count.

    Raises UserError for fewer than two samples, or some that are not finite.
    """
    samples = values.double().numpy()
    wrong = int((~np.isfinite(samples)).sum())
    if wrong or len(samples) < 2:
        raise UserError(
            f"path lengths: {len(samples)} given, {wrong} not finite; valid: 2 or more, all finite"
        )
    low = np.percentile(samples, CUT[0], method="lower")
    high = np.percentile(samples, CUT[1], method="higher")
    kept = samples[(samples >= low) & (samples <= high)]
    error = winsorized_standard_error(samples, float(low), float(high))
    return PPL(float(kept.mean()), error, len(kept), float(low), float(high))


def percentile_groups(values: Tensor, seeds: Sequence[int]) -> tuple[list[int], list[int]]:
    """Seeds of images with low and with high path length: at or below the 10th percentile, and at or above
    the 90th (StyleGAN2 Fig. 4), in the order of `seeds`.

    Args:
        values: [N], of `image_path_lengths`.
        seeds: of the images.
    """
    samples = values.double().numpy()
    low, high = np.percentile(samples, (10, 90))
    pairs = list(zip(seeds, samples, strict=True))
    return [seed for seed, x in pairs if x <= low], [seed for seed, x in pairs if x >= high]


# ---- latents


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation: unit vectors [..., D] at the fraction `t` of the angle from a to b.

    Lengths of a and b do not count. `t` broadcasts against [..., 1].
    """
    a, b = _unit(a), _unit(b)
    cosine = (a * b).sum(-1, keepdim=True)
    across = _unit(b - cosine * a)
    angle = t * torch.arccos(cosine.clamp(-1, 1))
    return _unit(a * torch.cos(angle) + across * torch.sin(angle))


def _unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x, dim=-1, eps=torch.finfo(x.dtype).tiny)


def _lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """ws at fractions `t`, float64 [N or 1, T, 1], of the way from a to b [N, L, W]: [N T, L, W]."""
    start, goal = (x.cpu().double()[:, None] for x in (a, b))
    return (start + (goal - start) * t[..., None]).flatten(0, 1).to(a)


# ---- images


def _synthesis(sampler: Sampler, ws: Tensor, maps: Sequence[Tensor]) -> Tensor:
    return finest(sampler.generator.synthesis(ws, sampler.growth, maps))


def comparable(images: Tensor, crop: bool) -> Tensor:
    """Images [N, C, H, W] as a distance compares them: cropped if asked, in colour, below 512 px.

    Grey images get three equal channels. Raises UserError for other channels than 1 or 3.
    """
    return reduced_to_compare(as_rgb(central_window(images) if crop else images))


def central_window(images: Tensor) -> Tensor:
    """The window in which FFHQ and CelebA-HQ have the face: [N, C, H, W] -> [N, C, H/2, W/2].

    Rows 3/8 to 7/8 of the height, columns 2/8 to 6/8 of the width. Raises UserError below 8 px.
    """
    height, width = images.shape[2:]
    if min(height, width) < 8:
        raise UserError(f"crop: images of {height}x{width} px cannot be cropped; valid: 8 px or more a side")
    y, x = height // 8, width // 8
    return images[:, :, 3 * y : 7 * y, 2 * x : 6 * x]


def _quotients(distance: PerceptualDistance, a: Tensor, b: Tensor, epsilon: float) -> Tensor:
    return distance.distance(a, b).cpu().double() / epsilon**2


def check_space(sampler: Sampler, space: str) -> None:
    """Raise UserError for a space that the generator lacks."""
    if space == "w" and not sampler.experiment.generator.has_w:
        raise UserError(
            "space: 'w' is not valid, this generator has no mapping from z to w, its input is the normalised "
            "latent itself; valid: 'z'"
        )
