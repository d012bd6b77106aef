"""SeFa: directions from the weights of a generator alone (Shen and Zhou 2021, "Closed-Form Factorization of
Latent Semantics in GANs").

A step d in w changes what the style layers give by A d. The unit vectors that change it most are the
eigenvectors of A^T A with the largest eigenvalues (equations 5 to 8 there).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from styleloom.errors import UserError


def factorize(weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Eigenvectors of A^T A.

    Args:
        weights: [O, W] of each layer. A holds the rows of all, each scaled to length 1 as in the authors'
            code, so that every output counts alike, and gains and equalized learning rates do not matter.

    Returns vectors [W, W] of length 1, and singular values of A [W], falling. The sign of each vector is
    arbitrary; here its largest number is positive. Raises UserError where no layer has outputs.
    """
    rows = torch.cat([weight.detach().double().cpu().flatten(1) for weight in weights])
    rows = rows[rows.norm(dim=1) > 0]
    if not len(rows):
        raise UserError("directions: none of these layers takes a style; choose others")
    rows = rows / rows.norm(dim=1, keepdim=True)
    values, columns = torch.linalg.eigh(rows.T @ rows)
    return positive(columns.T.flip(0)).float(), values.flip(0).clamp(min=0).sqrt().float()


def positive(vectors: Tensor) -> Tensor:
    """Vectors [K, W], each turned so that its number of largest magnitude is positive."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)
