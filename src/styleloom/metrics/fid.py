"""Fréchet inception distance (Heusel et al. 2017): the number from collected moments of features."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import get_lapack_funcs
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
    """Tr((A B)^½) of two covariances: the sum of the roots of the eigenvalues of Rᵀ B R, where A = R Rᵀ.

    A B and the symmetric product share all eigenvalues that are not 0. Those of a symmetric matrix are cheap
    to compute and accurate, also where A or B is singular.
    """
    root = _factor(a)
    if not root.shape[1]:
        return a.new_zeros(())
    eigenvalues = torch.linalg.eigvalsh(root.T @ b @ root)
    # Eigenvalues that are 0 but for rounding must not count: a thousand of 1e-16 times the largest have roots
    # of 1e-8 each, which would add up.
    threshold = len(a) * torch.finfo(a.dtype).eps * eigenvalues.max()
    return eigenvalues[eigenvalues > threshold].sqrt().sum()


def _factor(a: Tensor) -> Tensor:
    """R [D, rank] of a positive semi-definite A = R Rᵀ, by Cholesky's method with pivots.

    It needs a tenth of the time of an eigendecomposition and stops where what is left is rounding.
    """
    matrix = a.numpy()
    (pivoted_cholesky,) = get_lapack_funcs(("pstrf",), (matrix,))
    lower, pivots, rank, _ = pivoted_cholesky(matrix, lower=1)
    root = np.empty((len(a), rank))
    root[pivots - 1] = np.tril(lower)[:, :rank]
    return torch.from_numpy(root)
