"""Boundaries of attributes: the plane that best tells latents with an attribute from those without
(InterFaceGAN, Shen et al. 2020, section 3.1); its normal is the attribute's direction.

The authors fit a linear support vector machine to the images whose scores are most extreme. Logistic
regression on the same images finds the same kind of plane, has one optimum and needs no further library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

from styleloom.config.checks import within
from styleloom.errors import UserError

MIN_PER_SIDE = 10
"""Fewest latents with the attribute, and without, that a boundary is fitted to."""

HELD_OUT = 0.3
"""Share of the chosen latents that accuracy is measured on, as in the authors' code."""

PENALTY = 1.0
"""Weight of half the squared length of the normal beside the sum of losses, as in support vector machines
with C = 1; latents are scaled to unit variance."""


class TooFewError(UserError):
    """An attribute that too few images have, or too many."""


@dataclass(frozen=True)
class Boundary:
    """A plane in the latent space.

    Args:
        normal: [D], of length 1; towards the attribute.
        accuracy: share of held-out latents on the right side, as many with the attribute as without:
            0.5 is chance.
        num_fitted, num_held_out: latents that it was fitted to, and that the accuracy was measured on.
    """

    normal: Tensor
    accuracy: float
    num_fitted: int
    num_held_out: int


def fit_boundary(latents: Tensor, scores: Tensor, keep: float = 0.5, seed: int = 0) -> Boundary:
    """The boundary of one attribute.

    Args:
        latents: [N, D].
        scores: [N], positive where the image has the attribute, negative where it has not; the larger in
            magnitude, the surer. Those of 0 say nothing and are left out.
        keep: the surest of each side are kept, this share of N in all at most, as many of either side.
        seed: of the choice of the latents that are held out.

    Raises TooFewError where one side has fewer than MIN_PER_SIDE.
    """
    within("keep", keep, 0, 1)
    points, score = latents.detach().cpu().double().numpy(), scores.detach().cpu().double().numpy()
    if not (np.isfinite(points).all() and np.isfinite(score).all()):
        raise UserError("latents or scores are not all finite; the generator or a classifier is broken")
    points, score = points[score != 0], score[score != 0]
    order = np.argsort(-score, kind="stable")
    have = int((score > 0).sum())
    side = min(have, len(score) - have, int(len(score) * keep / 2))
    if side < MIN_PER_SIDE:
        raise TooFewError(
            f"{have} of {len(score)} images have it; a boundary needs at least {MIN_PER_SIDE} of the surest "
            "with it and as many without: take more samples"
        )
    rng = np.random.RandomState(seed)
    held = round(side * HELD_OUT)
    sides = [rng.permutation(order[:side]), rng.permutation(order[len(order) - side :])]
    test = np.concatenate([chosen[:held] for chosen in sides])
    train = np.concatenate([chosen[held:] for chosen in sides])
    normal, offset = logistic(points[train], score[train] > 0)
    right = (points[test] @ normal + offset > 0) == (score[test] > 0)
    vector = torch.from_numpy(normal / np.linalg.norm(normal)).float()
    return Boundary(vector, float(right.mean()), len(train), len(test))


def logistic(points: NDArray[np.float64], labels: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Normal [D] and offset of the plane with the least sum of log(1 + exp(-y f)), and PENALTY.

    Args:
        points: [N, D].
        labels: [N]; the normal points towards True.
    """
    mean = points.mean(0)
    scale = max(float(np.sqrt(points.var(0).mean())), np.finfo(float).tiny)
    x, y = (points - mean) / scale, np.where(labels, 1.0, -1.0)

    def loss(plane: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = y * (x @ plane[:-1] + plane[-1])
        slope = -y * expit(-margin)
        value = np.logaddexp(0, -margin).sum() + PENALTY / 2 * plane[:-1] @ plane[:-1]
        return float(value), np.append(slope @ x + PENALTY * plane[:-1], slope.sum())

    plane = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    normal = plane[:-1] / scale
    return normal, float(plane[-1] - normal @ mean)
