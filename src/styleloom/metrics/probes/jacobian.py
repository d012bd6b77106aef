"""How evenly images change with steps in all directions of latent space: singular values of the Jacobian.

StyleGAN2 appendix C.1, Fig. 17: the magnitudes of the sorted singular values of J = dg(w)/dw at random w, the
largest normalised to 1. Path length regularization would have them all equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from styleloom.errors import UserError
from styleloom.networks.assembly import finest
from styleloom.sampling import PIXELS_PER_BATCH, Sampler

COLUMN_BYTES = 8 * 2**30
"""Main memory for columns of J, which take 6.4e9 bytes at 1024 px and W = 512. Where they do not fit, all
columns are computed several times, each time for another part of the rows."""

GRAM_VALUES = 2**16
"""Rows of J that enter J^T J at once."""


def singular_values(
    sampler: Sampler, seed: int, label: Tensor | None = None, batch: int | None = None
) -> Tensor:
    """Singular values of J = dg(w)/dw [C H W, W] at w = f(z), the same w in all layers, noise maps fixed.

    Each column of J is a Jacobian-vector product, found by two reverse passes: J^T u is linear in u, and J v
    is its derivative along v. The networks need nothing but second derivatives for that. The values are the
    square roots of the eigenvalues of J^T J in float64.

    Args:
        sampler: the generator. One without a w (ProGAN) is differentiated by its input, the normalised latent
            and label. The slot of ws that holds z (`networks.stylegan.LatentInputGenerator`) stays fixed.
        seed: of z and the noise maps.
        label: [1, K], for generators that take one.
        batch: columns at once; by default as many as have the pixels of 8 images of 256 x 256.

    Returns:
        float64 [W] on the CPU, descending. Of pyramids the finest images count.
    """
    device = sampler.generator.w_avg.device
    with torch.no_grad():
        z, maps = sampler.draw([seed])
        ws = sampler.generator.mapping(z, None if label is None else label.to(device))
    dim = ws.shape[2]
    carries_w = (ws == ws[:, :1]).all(2)[0, :, None]  # [L, 1]
    height, width = sampler.size
    num_rows = sampler.experiment.generator.channels * height * width
    if batch is None:
        batch = min(dim, max(1, PIXELS_PER_BATCH // (height * width)))
    with torch.enable_grad():
        step = torch.zeros(batch, dim, device=device, requires_grad=True)
        images = sampler.generator.synthesis(ws + carries_w * step[:, None], sampler.growth, maps)
        outputs = finest(images).flatten(1)
        u = torch.zeros_like(outputs, requires_grad=True)
        (gradient,) = torch.autograd.grad(outputs, step, u, create_graph=True)  # J^T u, [batch, W]
    gram = torch.zeros(dim, dim, dtype=torch.float64)
    for rows in _parts(num_rows, max(1, COLUMN_BYTES // (4 * dim))):
        columns = torch.empty(dim, rows.stop - rows.start)
        for first in range(0, dim, batch):
            directions = torch.eye(dim, device=device)[first : first + batch]
            count = len(directions)
            directions = torch.cat([directions, directions.new_zeros(batch - count, dim)])
            (products,) = torch.autograd.grad(gradient, u, directions, retain_graph=True)
            columns[first : first + count] = products[:count, rows].cpu()
        gram += gram_matrix(columns)
    if not gram.isfinite().all():
        raise UserError(f"jacobian: it is not finite at the latent of seed {seed}; the generator makes NaN")
    return torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().flip(0)


def _parts(count: int, size: int) -> Iterator[slice]:
    """0..count in runs of `size`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def gram_matrix(columns: Tensor) -> Tensor:
    """J^T J, float64 [W, W], of the columns of J, [W, rows], a few rows at a time."""
    gram = torch.zeros(len(columns), len(columns), dtype=torch.float64)
    for rows in columns.split(GRAM_VALUES, 1):
        exact = rows.double()
        gram += exact @ exact.t()
    return gram


@dataclass(frozen=True)
class Spectrum:
    """Singular values as fractions of the largest, over several w.

    Args:
        mean: [W], descending, 1 at first.
        std: [W], standard deviation over w.
        median: mean over w of the median value. 1 is a perfectly conditioned generator; half of all
            directions change the image less than this.
    """

    mean: Sequence[float]
    std: Sequence[float]
    median: float


def spectrum(values: Tensor) -> Spectrum:
    """Sort the singular values of each w, divide them by its largest, and average over w (Fig. 17).

    Args:
        values: [N, W], of `singular_values`, for two w or more.

    Raises UserError for fewer, and where a generator does not depend on w at all.
    """
    if len(values) < 2:
        raise UserError(f"singular values: {len(values)} latents given; valid: 2 or more")
    ordered = values.double().sort(1, descending=True).values
    largest = ordered[:, :1]
    if not (largest > 0).all() or not values.isfinite().all():
        raise UserError(
            "singular values: all are 0 at some w, or not finite; valid: a generator that uses its w"
        )
    fractions = ordered / largest
    return Spectrum(
        fractions.mean(0).tolist(),
        fractions.std(0).tolist(),
        fractions.quantile(0.5, 1).mean().item(),
    )
