"""Improved precision and recall (Kynkäänniemi et al. 2019).

A set of images is described by balls about their features, each reaching to the k-th nearest of the others.
Precision is the share of fakes inside a ball of the reals, recall that of reals inside a ball of the fakes.

Distances are computed in blocks, as |x|² + |y|² - 2 x·y in float32, so that the work is matrix products: one
for the pairs between the sets, which serves both directions, and half of one within each set. Features are
centred first, because the error of that formula is relative to |x|² + |y|². What cannot be told from 0
within this error counts as 0: copies of an image are at distance 0 exactly, whatever the block that they
meet in, and lie in every ball about each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from styleloom.errors import UserError
from styleloom.metrics.moments import check_features

BUDGET_BYTES = 2**30
"""Of the blocks of distances that exist at one time, by default."""

MATRICES_PER_BLOCK = 4
"""Float32 matrices of a block's shape that exist at one time, at most: distances, sums of squares, work."""

MAX_BLOCK_SIDE = 4096
"""Rows and columns of a block: more make no product faster, and smaller blocks stay nearer to the cores."""


@dataclass(frozen=True)
class PrecisionRecall:
    """Both from 0 to 1; higher is better.

    Args:
        precision: share of fakes that look like reals.
        recall: share of reals that the generator could have made.
    """

    precision: float
    recall: float


@torch.no_grad()
def precision_recall(
    reals: Tensor, fakes: Tensor, *, k: int = 3, budget_bytes: int = BUDGET_BYTES
) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019, section 2, eqs. 1 and 2).

    The papers take 50,000 of each and k = 3. Runs on the device of the features. Memory, on top of the
    features: a float32 copy of them and `budget_bytes`.

    Args:
        reals, fakes: floating [N, D] and [M, D].
        k: a ball reaches to the k-th nearest other image of its set; its surface belongs to it.
        budget_bytes: for blocks of distances. Changes speed alone, beyond rounding.

    Raises:
        UserError: features of another shape or type or not finite, no more than `k` images in a set, or an
            option out of range.
    """
    check_features(reals)
    check_features(fakes, dim=reals.shape[1])
    if k < 1:
        raise UserError(f"k is {k}; valid: 1 or more")
    for name, features in (("reals", reals), ("fakes", fakes)):
        if len(features) <= k:
            raise UserError(
                f"{name} are {len(features)} images; valid: {k + 1} or more, for neighbours of order {k}"
            )
    side = _block_side(budget_bytes)
    real_cloud, fake_cloud = _centred(reals, fakes)
    real_radii, fake_radii = _squared_radii(real_cloud, k, side), _squared_radii(fake_cloud, k, side)
    real_inside, fake_inside = _inside(real_cloud, fake_cloud, real_radii, fake_radii, side)
    return PrecisionRecall(precision=_share(fake_inside), recall=_share(real_inside))


class _Cloud:
    """Centred features [N, D] with their squared lengths [N], float32."""

    def __init__(self, features: Tensor) -> None:
        self.features = features
        chunks = features.split(MAX_BLOCK_SIDE)
        self.squares = torch.cat([chunk.double().square_().sum(dim=1) for chunk in chunks]).float()

    def blocks(self, side: int) -> Iterator[slice]:
        """Successive rows, `side` at a time."""
        for start in range(0, len(self.features), side):
            yield slice(start, min(start + side, len(self.features)))


class _Distances:
    """Squared distances between rows of two clouds, block after block in the same memory."""

    def __init__(self, side: int, like: Tensor) -> None:
        self.distances, self.sums = (like.new_empty(side * side) for _ in range(2))
        # Roundings of a sum of D products add up as a random walk does, to eps √D / 6 in the mean. This is
        # twelve times that, and half a percent of the length of a vector of 4096 features.
        self.tolerance = torch.finfo(torch.float32).eps * (4 + 2 * math.sqrt(like.shape[1]))

    def between(self, x: _Cloud, rows: slice, y: _Cloud, columns: slice) -> Tensor:
        """[rows, columns], valid until the next call."""
        a, b = x.features[rows], y.features[columns]
        shape = (len(a), len(b))
        sums = self.sums[: shape[0] * shape[1]].view(shape)
        distances = self.distances[: shape[0] * shape[1]].view(shape)
        torch.add(x.squares[rows, None], y.squares[columns], out=sums)
        torch.mm(a, b.T, out=distances)
        torch.add(sums, distances, alpha=-2, out=distances)
        return distances.masked_fill_(distances <= sums.mul_(self.tolerance), 0)


def _squared_radii(cloud: _Cloud, k: int, side: int) -> Tensor:
    """[N]: squared distance of each row to the k-th nearest other one.

    The matrix is symmetric: each block above the diagonal serves its rows and its columns.
    """
    distances = _Distances(min(side, len(cloud.features)), cloud.features)
    nearest = cloud.features.new_full((len(cloud.features), k), math.inf)
    for rows in cloud.blocks(side):
        for columns in cloud.blocks(side):
            if columns.start < rows.start:
                continue
            block = distances.between(cloud, rows, cloud, columns)
            if columns == rows:
                block.fill_diagonal_(math.inf)  # a row is not its own neighbour, copies of it are
            else:
                _update(nearest[columns], block.T)
            _update(nearest[rows], block)
    return nearest[:, -1].clone()


def _update(nearest: Tensor, distances: Tensor) -> None:
    """Keep, in place, the k least of [N, k] and [N, M], ascending."""
    k = nearest.shape[1]
    least = distances.topk(min(k, distances.shape[1]), dim=1, largest=False).values
    nearest.copy_(torch.cat((nearest, least), dim=1).topk(k, dim=1, largest=False).values)


def _inside(x: _Cloud, y: _Cloud, x_radii: Tensor, y_radii: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Which rows of x lie in a ball of y, bool [N], and which of y in a ball of x, bool [M]."""
    distances = _Distances(min(side, max(len(x.features), len(y.features))), x.features)
    x_inside, y_inside = (torch.zeros_like(radii, dtype=torch.bool) for radii in (x_radii, y_radii))
    for rows in x.blocks(side):
        for columns in y.blocks(side):
            block = distances.between(x, rows, y, columns)
            x_inside[rows] |= (block <= y_radii[columns]).any(dim=1)
            y_inside[columns] |= (block <= x_radii[rows, None]).any(dim=0)
    return x_inside, y_inside


def _centred(*sets: Tensor) -> list[_Cloud]:
    """Float32 copies about a common point near the middle; which point it is does not matter."""
    number = sum(map(len, sets))
    centre = torch.stack([features.float().mean(dim=0) * (len(features) / number) for features in sets]).sum(
        0
    )
    return [_Cloud(features.float() - centre) for features in sets]


def _share(inside: Tensor) -> float:
    return inside.double().mean().item()


def _block_side(budget_bytes: int) -> int:
    """Rows and columns of a block for which `MATRICES_PER_BLOCK` float32 matrices fit the budget."""
    side = math.isqrt(max(0, budget_bytes) // (4 * MATRICES_PER_BLOCK))
    if side < 1:
        raise UserError(
            f"budget_bytes is {budget_bytes}; valid: {4 * MATRICES_PER_BLOCK} or more (better 2**28)"
        )
    return min(side, MAX_BLOCK_SIDE)
