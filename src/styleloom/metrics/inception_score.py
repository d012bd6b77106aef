"""Inception score (Salimans et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from styleloom.errors import UserError
from styleloom.metrics.moments import check_features

SPLITS = 10
"""Into how many parts papers divide the images."""


@dataclass(frozen=True)
class InceptionScore:
    """From 1 (every image the same prediction) to the number of classes; higher is better.

    Args:
        mean: over the splits.
        std: population standard deviation over the splits, as papers print it.
    """

    mean: float
    std: float


@torch.no_grad()
def inception_score(logits: Tensor, splits: int = SPLITS) -> InceptionScore:
    """exp of the mean over images of KL(p(y|x) ‖ p(y)), in each of `splits` parts of the images in order.

    Salimans et al. 2016, section 4. p(y) is the mean of p(y|x) over the images of the part, so the value
    depends on how many images a part holds: the papers take 50,000 images in 10 parts. Parts differ by at
    most one image. In float64.

    Args:
        logits: floating [N, K], before the softmax.
        splits: number of parts, 1 to N.

    Raises:
        UserError: logits of another shape or type or not finite, or a number of parts that is not valid.
    """
    check_features(logits)
    if not 1 <= splits <= len(logits):
        raise UserError(f"splits is {splits} for {len(logits)} images; valid: 1 to the number of images")
    scores = torch.stack([_score(part) for part in logits.tensor_split(splits)])
    return InceptionScore(scores.mean().item(), scores.std(correction=0).item())


def _score(logits: Tensor) -> Tensor:
    """exp(H(y) - H(y|x)): the formula of `inception_score`, but finite where a probability is 0."""
    log_probabilities = logits.double().log_softmax(dim=1)
    probabilities = log_probabilities.exp()
    marginal = probabilities.mean(dim=0)
    conditional_entropy = -(probabilities * log_probabilities).sum(dim=1).mean()
    return (-torch.xlogy(marginal, marginal).sum() - conditional_entropy).exp()
