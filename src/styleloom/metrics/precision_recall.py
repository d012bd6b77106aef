"""Improved precision and recall (Kynkäänniemi et al. 2019).

A set of images is described by balls about their features, each reaching to the k-th nearest of the others.
Precision is the share of fakes inside a ball of the reals, recall that of reals inside a ball of the fakes.

The result is exactly that of distances computed in float64 from differences of features. Copies are at
distance 0, and the surface of a ball belongs to it. Most images are decided by cheaper arithmetic:

1. Distances are computed in float32, in blocks, as |x|² + |y|² - 2 x·y about the common mean. That makes them
   matrix products: one for the pairs between the sets, which serves both directions, and half of one within
   each set. A bound on the rounding error is known, whatever the processor and the order of its sums (Higham
   2002, section 3.1), so each radius lies between two bounds, and an image is surely inside a ball, surely
   outside, or undecided.
2. Images that are surely inside no ball and undecided for some ball are computed again by the same formula in
   float64, with the bounds of float64.
3. What is still undecided is computed from differences.
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
"""Float32 matrices of a block's shape that exist at one time, at most: distances, and what sorting takes; or
two in float64."""

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

    The papers take 50,000 of each and k = 3. Runs on the device of the features. Memory,
    on top of the features: a float32 copy of them, `budget_bytes`, and float64 copies of some thousand rows.

    Args:
        reals, fakes: floating [N, D] and [M, D].
        k: a ball reaches to the k-th nearest other image of its set; its surface belongs to it.
        budget_bytes: for blocks of distances. Changes speed alone.

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
    x, y = _clouds(reals, fakes)
    x_balls, y_balls = (_Balls(cloud, k, _kth_nearest(cloud, k, side), side**2) for cloud in (x, y))
    x_inside, y_inside = _inside(x, y, x_balls, y_balls, side)
    return PrecisionRecall(precision=_share(y_inside), recall=_share(x_inside))


class _Cloud:
    """Features [N, D] minus a centre, times a scale. Neither changes a comparison of distances.

    Args:
        given: floating.
        centre: float64 [D].
        scale: a power of two.
    """

    def __init__(self, given: Tensor, centre: Tensor, scale: float) -> None:
        self.given, self.centre, self.scale = given, centre, scale
        self.features = torch.empty_like(given, dtype=torch.float32)
        self.squares = torch.empty_like(given[:, 0], dtype=torch.float64)
        for rows in self.blocks(MAX_BLOCK_SIDE):
            exact = self.precise(rows)
            self.features[rows] = exact
            self.squares[rows] = exact.square_().sum(dim=1)

    def __len__(self) -> int:
        return len(self.given)

    def blocks(self, side: int) -> Iterator[slice]:
        """Successive rows, `side` at a time."""
        for start in range(0, len(self), side):
            yield slice(start, min(start + side, len(self)))

    def precise(self, rows: slice | Tensor) -> Tensor:
        """float64 [rows, D]."""
        return (self.given[rows].double() - self.centre).mul_(self.scale)


def _clouds(*sets: Tensor) -> list[_Cloud]:
    """The sets about one common point near their mean, scaled so that no value exceeds 1 in magnitude. The
    result does not depend on which point it is."""
    number = sum(map(len, sets))
    parts = [part for features in sets for part in features.split(MAX_BLOCK_SIDE)]
    centre = torch.stack([part.double().sum(dim=0) / number for part in parts]).sum(dim=0)
    ends = torch.stack([end.double() for part in (*parts, centre) for end in part.aminmax()])
    _, exponent = math.frexp((ends.max() - ends.min()).item())
    return [_Cloud(features, centre, math.ldexp(1, -max(exponent, -1000))) for features in sets]


@dataclass(frozen=True)
class _Rounding:
    """How far |x|² + |y|² - 2 x·y can be from the squared distance d².

    The error is at most `relative` (|x|² + |y|²), whatever the order of the sums. As |y|² is at most
    2 |x|² + 2 d², it is also at most `relative` (3 |x|² + 2 d²), for which one of the two norms is enough.

    Args:
        relative: relative error, from the floating type and the number of features.
        least: absolute error that underflow adds.
    """

    relative: float
    least: float

    @classmethod
    def of(cls, dtype: torch.dtype, dim: int) -> _Rounding:
        """The bound counts D roundings of the sum of products, and 32 for the rest: features, their squares,
        sums, thresholds, and in float64 the differences that decide in the end. No two of these quantities
        together exceed the sum of the two squares."""
        unit = torch.finfo(dtype).eps / 2 * (dim + 32)
        return cls(unit / (1 - unit), dim * torch.finfo(dtype).tiny)

    def bounds(self, measured: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper bound of d², float64, where one of the two points has squared norm `squares`."""
        slack = 3 * self.relative * squares + self.least
        measured = measured.double()
        low = ((measured - slack) / (1 + 2 * self.relative)).clamp_min(0)
        return low, (measured + slack) / (1 - 2 * self.relative)

    def reaches(self, low: Tensor, high: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
        """Two thresholds of the measured value, float64: up to the first, d² is surely at most `low`; above
        the second, it is surely more than `high`."""
        slack = 3 * self.relative * squares + self.least
        return low * (1 - 2 * self.relative) - slack, high * (1 + 2 * self.relative) + slack


class _Distances:
    """Squared distances between rows of two clouds in float32, block after block in the same memory."""

    def __init__(self, side: int, like: Tensor) -> None:
        self.distances = like.new_empty(side * side)

    def between(self, x: _Cloud, rows: slice, y: _Cloud, columns: slice) -> Tensor:
        """[rows, columns], valid until the next call; `_Rounding` says how far they are off."""
        a, b = x.features[rows], y.features[columns]
        distances = self.distances[: len(a) * len(b)].view(len(a), len(b))
        torch.mm(a, b.T, out=distances)
        torch.add(x.squares[rows, None].float(), distances, alpha=-2, out=distances)
        return distances.add_(y.squares[columns].float())


def _kth_nearest(cloud: _Cloud, k: int, side: int) -> Tensor:
    """float32 [N]: measured squared distance of each row to the k-th nearest other one.

    The matrix is symmetric: each block above the diagonal serves its rows and its columns.
    """
    distances = _Distances(min(side, len(cloud)), cloud.features)
    nearest = cloud.features.new_full((len(cloud), k), math.inf)
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


class _Balls:
    """Squared radii of the balls about a cloud's rows, each between two bounds, float64 [N].

    Args:
        cloud: the centres.
        k: which neighbour they reach to.
        measured: squared distance to it, [N], as `_kth_nearest` measures.
        elements: of a float64 matrix, at one time.
    """

    def __init__(self, cloud: _Cloud, k: int, measured: Tensor, elements: int) -> None:
        self.cloud, self.k, self.elements = cloud, k, elements
        self.low, self.high = _Rounding.of(torch.float32, cloud.given.shape[1]).bounds(
            measured, cloud.squares
        )

    def radii(self, rows: Tensor) -> Tensor:
        """Exact squared radii, float64 [rows], from differences of features; each is computed once."""
        open_rows = rows.unique()
        open_rows = open_rows[self.low[open_rows] < self.high[open_rows]]
        for part in self.parts(open_rows):
            self._find(part)
        return self.high[rows]

    def parts(self, rows: Tensor) -> Iterator[Tensor]:
        """As many rows at a time as have room for their distances to all centres."""
        size = max(1, self.elements // len(self.cloud))
        return (part for part in rows.split(size) if len(part))

    def _find(self, rows: Tensor) -> None:
        cloud, rounding = self.cloud, _Rounding.of(torch.float64, self.cloud.given.shape[1])
        measured = _precise_distances(cloud, rows, cloud)
        measured.scatter_(1, rows[:, None], math.inf)
        _, most = rounding.bounds(measured.kthvalue(self.k, dim=1).values, cloud.squares[rows])
        _, reach = rounding.reaches(most, most, cloud.squares[rows])
        pairs = (measured <= reach[:, None]).nonzero()
        measured.fill_(math.inf)
        measured[pairs[:, 0], pairs[:, 1]] = _differences(
            cloud, rows[pairs[:, 0]], cloud, pairs[:, 1], self.elements
        )
        self.low[rows] = self.high[rows] = measured.kthvalue(self.k, dim=1).values


def _inside(x: _Cloud, y: _Cloud, x_balls: _Balls, y_balls: _Balls, side: int) -> tuple[Tensor, Tensor]:
    """Which rows of x lie in a ball of y, bool [N], and which of y in a ball of x, bool [M]."""
    distances = _Distances(min(side, max(len(x), len(y))), x.features)
    rounding = _Rounding.of(torch.float32, x.given.shape[1])
    (x_sure, x_maybe), (y_sure, y_maybe) = (
        [reach.float() for reach in rounding.reaches(balls.low, balls.high, balls.cloud.squares)]
        for balls in (x_balls, y_balls)
    )
    sure, maybe = ([torch.zeros_like(c.squares, dtype=torch.bool) for c in (x, y)] for _ in range(2))
    for rows in x.blocks(side):
        for columns in y.blocks(side):
            block = distances.between(x, rows, y, columns)
            sure[0][rows] |= (block <= y_sure[columns]).any(dim=1)
            maybe[0][rows] |= (block <= y_maybe[columns]).any(dim=1)
            sure[1][columns] |= (block <= x_sure[rows, None]).any(dim=0)
            maybe[1][columns] |= (block <= x_maybe[rows, None]).any(dim=0)
    for cloud, inside, possible, balls in ((x, sure[0], maybe[0], y_balls), (y, sure[1], maybe[1], x_balls)):
        open_rows = (possible & ~inside).nonzero()[:, 0]
        for part in balls.parts(open_rows):
            inside[part] = _inside_precisely(cloud, part, balls)
    return sure[0], sure[1]


def _inside_precisely(x: _Cloud, rows: Tensor, balls: _Balls) -> Tensor:
    """Which of these rows lie in a ball, bool [rows]."""
    measured = _precise_distances(x, rows, balls.cloud)
    sure, maybe = _Rounding.of(torch.float64, x.given.shape[1]).reaches(
        balls.low, balls.high, balls.cloud.squares
    )
    inside = (measured <= sure).any(dim=1)
    row, column = ((measured <= maybe) & ~inside[:, None]).nonzero().unbind(1)
    held = _differences(x, rows[row], balls.cloud, column, balls.elements) <= balls.radii(column)
    inside[row[held]] = True
    return inside


def _precise_distances(x: _Cloud, rows: Tensor, y: _Cloud) -> Tensor:
    """float64 [rows, M]: squared distances by the formula of `_Distances`."""
    some = x.precise(rows)
    distances = some.new_empty(len(rows), len(y))
    for columns in y.blocks(MAX_BLOCK_SIDE):
        distances[:, columns] = torch.mm(some, y.precise(columns).T)
    return distances.mul_(-2).add_(x.squares[rows, None]).add_(y.squares)


def _differences(x: _Cloud, rows: Tensor, y: _Cloud, columns: Tensor, elements: int) -> Tensor:
    """float64 [P]: squared distances of P pairs of rows, from the differences of features as they are given.

    Halves are added to each other, so that the sum of a pair depends on nothing but the pair: equal distances
    are equal, and so are those of copies.
    """
    found: list[Tensor] = []
    for i, j in zip(
        *(index.split(max(1, elements // x.given.shape[1])) for index in (rows, columns)), strict=True
    ):
        values = ((x.given[i].double() - y.given[j].double()) * x.scale).square_()
        while values.shape[1] > 1:
            half = values.shape[1] // 2
            values[:, :half] += values[:, -half:]
            values = values[:, : values.shape[1] - half]
        found.append(values[:, 0])
    return torch.cat(found)


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
