"""What a pass over a set of images keeps: moments or rows of features, patches, similarities of pairs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from styleloom.metrics.descriptors import Descriptors, Patches
from styleloom.metrics.evaluation.image_sets import ImageSet
from styleloom.metrics.moments import Moments, Rows
from styleloom.metrics.ms_ssim import scale_terms


class Statistic(Protocol):
    """What is computed from features or images that come batch by batch."""

    def add(self, batch: Tensor, /) -> None:
        """Features [N, D], or images uint8 [N, C, H, W]."""
        ...


class Similarities:
    """The terms of MS-SSIM of images 0 and 1, 2 and 3, ...; both forms of the metric are made of them."""

    def __init__(self) -> None:
        self._odd: Tensor | None = None
        self._terms: list[Tensor] = []

    def add(self, batch: Tensor) -> None:
        """uint8 [N, C, H, W]."""
        images = batch if self._odd is None else torch.cat([self._odd, batch])
        pairs = len(images) // 2 * 2
        self._odd = images[pairs:] if pairs < len(images) else None
        if pairs:
            self._terms.append(scale_terms(images[0:pairs:2], images[1:pairs:2]).cpu())

    @property
    def terms(self) -> Tensor:
        """Of each pair, float32 [N, scales, C]."""
        return torch.cat(self._terms)


@dataclass
class Failed:
    """In place of a statistic that could not be collected.

    Args:
        reason: why, a message.
    """

    reason: str

    def add(self, batch: Tensor) -> None:
        """Nothing is collected any more."""


@dataclass(frozen=True)
class Keep:
    """One kind of statistic.

    Args:
        name: in the keys of cached statistics, which must not change.
        new: makes an empty one of (number of images, their set, stack that closes temporary files).
        from_tensors: the statistic again from the tensors of its `to_tensors`; None where it is not cached.
    """

    name: str
    new: Callable[[int, ImageSet, contextlib.ExitStack], Statistic] = field(repr=False)
    from_tensors: Callable[[Mapping[str, Tensor]], Moments | Rows] | None = field(default=None, repr=False)


def _descriptors(count: int, images: ImageSet, open_files: contextlib.ExitStack) -> Descriptors:
    return open_files.enter_context(Descriptors(count, Patches(grid=grid_of(images))))


MOMENTS = Keep("moments", lambda count, images, open_files: Moments(), Moments.from_tensors)
"""Mean and covariance of features."""

ROWS = Keep("rows", lambda count, images, open_files: Rows(count), Rows.from_tensors)
"""Features, image by image."""

DESCRIPTORS = Keep("descriptors", _descriptors)
"""Patches of the images, in temporary files."""

SIMILARITIES = Keep("similarities", lambda count, images, open_files: Similarities())
"""The terms of MS-SSIM of pairs of neighbours."""


@dataclass(frozen=True)
class WantedStatistic:
    """A statistic of the first `count` images of a set.

    Args:
        keep: what is kept.
        count: number of images.
        network, layer: of features; empty where the images themselves are looked at.
    """

    keep: Keep
    count: int
    network: str = ""
    layer: str = ""


def grid_of(images: ImageSet) -> tuple[int, int]:
    """The `grid` of images of this size, as of an `ImageDataset`: height and width of the lowest level, px.

    4, 4 for squares; else both sides are halved until one of them is odd or below 4 px.
    """
    _, height, width = images.shape
    if height == width:
        return 4, 4
    grid = (height, width)
    while all(side % 2 == 0 and side >= 4 for side in grid):
        grid = (grid[0] // 2, grid[1] // 2)
    return grid
