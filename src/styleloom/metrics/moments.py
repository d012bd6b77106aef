"""Statistics of features that arrive in batches: mean and covariance, or the rows themselves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from styleloom.errors import UserError

BLOCK_ROWS = 1024
"""Rows that are merged at one time: enough for matrix products to run at full speed."""


class Moments:
    """Mean and covariance of features, in float64 on the CPU; memory does not grow with the number of rows.

    Rows are merged block by block, each block centred by its own mean (Chan, Golub & LeVeque 1979), so that
    nothing cancels where the mean is large against the deviation. Blocks have `BLOCK_ROWS` rows whatever the
    batches were: the same rows in the same order give the same bits.
    """

    def __init__(self) -> None:
        self._merged = 0
        self._waiting = 0  # rows at the start of `_block` that are not merged yet
        self._allocate(0)

    @property
    def count(self) -> int:
        """Rows so far."""
        return self._merged + self._waiting

    @property
    def dim(self) -> int:
        """Features of a row; 0 before the first."""
        return len(self._mean)

    @property
    def mean(self) -> Tensor:
        """float64 [D]. Raises UserError without rows."""
        return self._total()[1]

    def covariance(self, ddof: int = 1) -> Tensor:
        """float64 [D, D], exactly symmetric: sum of squares and products about the mean, over `count - ddof`.

        Raises UserError where there are not more than `ddof` rows.
        """
        count, _, scatter = self._total()
        if count <= ddof:
            raise UserError(
                f"features of {count} images have no covariance; valid: {ddof + 1} images or more"
            )
        return (scatter + scatter.T) / (2 * (count - ddof))

    def add(self, features: Tensor) -> None:
        """Take further rows, floating [N, D], on any device.

        Raises UserError for another shape or type, and for a value that is not finite.
        """
        check_features(features, self.dim, self.count)
        if not self.dim:
            self._allocate(features.shape[1])
        while len(features):
            taken = features[: BLOCK_ROWS - self._waiting]
            self._block[self._waiting : self._waiting + len(taken)] = taken
            self._waiting += len(taken)
            features = features[len(taken) :]
            if self._waiting == BLOCK_ROWS:
                _merge(self._merged, self._mean, self._scatter, self._block)
                self._merged, self._waiting = self._merged + BLOCK_ROWS, 0

    def to_tensors(self) -> dict[str, Tensor]:
        """What a cache stores: "count" int64 [], "mean" float64 [D], "scatter" float64 [D, D].

        The scatter is the sum of squares and products about the mean. Raises UserError without rows.
        """
        count, mean, scatter = self._total()
        return {"count": torch.tensor(count), "mean": mean, "scatter": scatter}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Moments:
        """The inverse of `to_tensors`; more rows can be added."""
        moments = cls()
        moments._allocate(len(tensors["mean"]))
        moments._merged = int(tensors["count"])
        moments._mean.copy_(tensors["mean"])
        moments._scatter.copy_(tensors["scatter"])
        return moments

    def _allocate(self, dim: int) -> None:
        self._mean = torch.zeros(dim, dtype=torch.float64)
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)
        self._block = torch.empty(BLOCK_ROWS, dim, dtype=torch.float64)

    def _total(self) -> tuple[int, Tensor, Tensor]:
        """Count, mean and scatter with the unfinished block, which stays as it is."""
        if not self.count:
            raise UserError("features: there are none; valid: those of 1 image or more")
        mean, scatter = self._mean.clone(), self._scatter.clone()
        if self._waiting:
            _merge(self._merged, mean, scatter, self._block[: self._waiting])
        return self.count, mean, scatter


class Rows:
    """Collects feature vectors in order: float32 [`count`, D] on the CPU, allocated once.

    Args:
        count: how many rows will come.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.filled = 0
        self._rows = torch.empty(count, 0)

    @property
    def tensor(self) -> Tensor:
        """All rows. Not before the last one was added."""
        assert self.filled == self.count, f"{self.filled} of {self.count} rows"
        return self._rows

    def add(self, features: Tensor) -> None:
        """Take the next rows, floating [N, D], on any device. Raises UserError as `Moments.add` does."""
        check_features(features, self._rows.shape[1], self.filled)
        end = self.filled + len(features)
        assert end <= self.count, f"{end} rows for {self.count}"
        if not self._rows.shape[1]:
            self._rows = torch.empty(self.count, features.shape[1])
        self._rows[self.filled : end] = features
        self.filled = end

    def to_tensors(self) -> dict[str, Tensor]:
        """What a cache stores: "rows" float32 [`count`, D]."""
        return {"rows": self.tensor}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Rows:
        """The inverse of `to_tensors`."""
        rows = cls(len(tensors["rows"]))
        rows.add(tensors["rows"])
        return rows


def check_features(features: Tensor, dim: int = 0, first: int = 0) -> None:
    """Refuse what is not a matrix of finite floating numbers.

    Args:
        features: [N, D].
        dim: the D that is valid; 0 for any.
        first: number of the image in row 0, for the message.

    Raises:
        UserError: another shape or type, or NaN or infinity, with the number of the image.
    """
    if features.ndim != 2 or not features.shape[1] or dim not in (0, features.shape[1]):
        raise UserError(f"features are {list(features.shape)}; valid: [N, {dim or 'D'}]")
    if not features.is_floating_point():
        raise UserError(f"features are {features.dtype}; valid: a floating type")
    if len(features) and not torch.stack(features.aminmax()).isfinite().all():  # NaN is both of the two
        row, column = (~features.isfinite()).nonzero()[0].tolist()
        value = features[row, column].item()
        raise UserError(f"features of image {first + row} hold {value}; valid: finite numbers")


def _merge(count: int, mean: Tensor, scatter: Tensor, rows: Tensor) -> None:
    """Update mean and scatter of `count` rows, in place, by those of a block of further ones."""
    total = count + len(rows)
    block_mean = rows.mean(dim=0)
    centred = rows - block_mean
    offset = block_mean - mean
    scatter.addmm_(centred.T, centred)
    scatter.addr_(offset, offset, alpha=count * len(rows) / total)
    mean.add_(offset, alpha=len(rows) / total)
