"""Principal components of w: directions along which latents differ most (Harkonen et al. 2020, "GANSpace:
Discovering Interpretable GAN Controls", section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from styleloom.directions.sefa import positive
from styleloom.errors import UserError


def covariance(w: Tensor) -> Tensor:
    """The covariance [D, D] of latents [N, D], float64, divided by N - 1. Raises UserError for N below 2."""
    if len(w) < 2:
        raise UserError(f"samples: {len(w)} is not valid; at least 2 latents")
    centered = w.detach().double().cpu()
    centered = centered - centered.mean(0)
    return centered.T @ centered / (len(w) - 1)


def principal_components(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Components and variances of latents with this covariance [D, D].

    Returns vectors [D, D] of length 1, and the variance along each [D], falling. The sign of each vector is
    arbitrary; here its largest number is positive. The authors' incremental estimate, from parts of the
    latents, agrees but for the last digits.
    """
    values, columns = torch.linalg.eigh(covariance.double())
    return positive(columns.T.flip(0)).float(), values.flip(0).clamp(min=0).float()
