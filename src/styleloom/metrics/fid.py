"""Fréchet inception distance (Heusel et al. 2017): the number from collected moments of features."""

from __future__ import annotations

import torch
from torch import Tensor

from styleloom.errors import UserError
from styleloom.metrics.moments import Moments


@torch.no_grad()
def frechet_distance(a: Moments, b: Moments) -> float:
    """Squared Fréchet distance of the two Gaussians that have these moments (Dowson & Landau 1982).

    |μa - μb|² + Tr(Σa + Σb - 2 (Σa Σb)^½), Heusel et al. 2017, eq. 6, with covariances over N - 1 as the
    StyleGAN papers' code has them, in float64. In squared units of the features; 0 for equal moments.

    The estimate is biased upwards, the more so the fewer the images: compare values of equal numbers of
    images only. With no more images than features the covariances are singular and the bias is large.

    Args:
        a, b: of 2 rows or more each, and the same features.

    Raises:
        UserError: fewer rows, or different numbers of features.
    """
    if a.dim != b.dim:
        raise UserError(f"features have {a.dim} and {b.dim} dimensions; valid: the same")
    covariance_a, covariance_b = a.covariance(), b.covariance()
    offset = a.mean - b.mean
    traces = covariance_a.trace() + covariance_b.trace()
    distance = offset.dot(offset) + traces - 2 * _trace_of_root(covariance_a, covariance_b)
    return max(0.0, distance.item())  # equal moments may come out below zero by rounding


def _trace_of_root(a: Tensor, b: Tensor) -> Tensor:
    """Tr((A B)^½) of two covariances: the sum of the roots of the eigenvalues of A^½ B A^½.

    A B and the symmetric product have the same eigenvalues, and those of a symmetric matrix are cheap and
    safe to find, also where A or B is singular. A^½ is taken up to a rotation, which changes none of them.
    """
    values, vectors = torch.linalg.eigh(a)
    root = vectors * _rounded(values).sqrt()
    return _rounded(torch.linalg.eigvalsh(root.T @ b @ root)).sqrt().sum()


def _rounded(eigenvalues: Tensor) -> Tensor:
    """Set to 0 what is rounding of a positive semi-definite matrix: negative, or too small to be told from 0.

    A thousand eigenvalues that are 0 come out near 1e-16 of the largest; their roots, 1e-8, would add up.
    """
    threshold = len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps * eigenvalues.abs().max()
    return torch.where(eigenvalues > threshold, eigenvalues, torch.zeros_like(eigenvalues))
