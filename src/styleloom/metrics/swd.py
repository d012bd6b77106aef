"""Sliced Wasserstein distance between sets of images, scale by scale (ProGAN section 5).

Every image is split into a Laplacian pyramid (`pyramid.py`). At each level, small patches at random positions
describe the set; the two clouds of patches are compared along random directions, where the Wasserstein-1
distance is the mean difference of the sorted projections. The finest level tells how alike pixel-scale detail
is, the lowest how alike large structure is.

What the number does not see, by its definition:

- *Global colour statistics.* Each set is normalised by its own mean and deviation per channel and level: an
  offset, a cast or a contrast change common to all images scores 0 as long as nothing clips. A cast that
  varies from image to image is seen, at the lowest level.
- *Where things are.* Patches carry no position, and none is wider than `Patches.patch` px of the lowest
  level.
- *How much detail there is.* As with colour, a level that is too weak but otherwise right, such as detail at
  half its amplitude in every image, scores little more than a correct one.

Two equal sets in equal order score exactly 0, because image i of both is cut at the same positions. Two
*different* samples of one distribution do not: they leave a floor that falls about as 1/sqrt(N). Compare
values only at equal N, with the value of reals against other reals beside them. The paper uses N = 16384.

`sliced_wasserstein` compares two sets that are in memory. Larger ones go batch by batch through
`descriptors.Descriptors`, and `distance` compares them: the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.errors import UserError
from styleloom.metrics.descriptors import (
    DIRECTIONS,
    MIN_IMAGES,
    PAPER,
    SUBSET,
    Descriptors,
    Patches,
    check_counts,
    check_images,
    check_patch,
    descriptors,
    normalize_,
    stream_generator,
)
from styleloom.metrics.pyramid import level_sizes

PROJECTION_ELEMENTS = 2**26  # of the projections of one set that exist at one time: 256 MiB


@dataclass(frozen=True)
class SWD:
    """Sliced Wasserstein distances, times 1000 as in ProGAN Table 1; lower is better.

    Args:
        levels: nominal side of the pyramid level in px, finest first, to its distance.
        num_images: images used of each set, after the larger one was subsampled.
    """

    levels: dict[int, float]
    num_images: int

    @property
    def average(self) -> float:
        """Mean over the levels."""
        return sum(self.levels.values()) / len(self.levels)


@torch.no_grad()
def sliced_wasserstein(
    reals: Tensor, fakes: Tensor, patches: Patches = PAPER, *, repeats: int = 4, directions: int = 128
) -> SWD:
    """Sliced Wasserstein distance per level of the Laplacian pyramid (ProGAN section 5).

    Deterministic for a seed. Runs on the device of `reals`. Memory, on top of the images and whatever R:
    `2 * N * patches_per_image * C * patch² * 4` bytes (1.2 GB for 8192 RGB images) and 0.5 GB.

    Args:
        reals: uint8 or floating [N, C, H, W] in [0, 255]; C is 1, 3 or 4, (H, W) = `grid` * R / 4 with R a
            power of two, the nominal side.
        fakes: as `reals`. Where the two differ in number, a random subset of the larger set, drawn by the
            seed and as large as the smaller set, is used.
        patches: how the images are described.
        repeats: independent draws of directions; the result is the mean of all `repeats * directions`.
        directions: directions per repeat. Only the product matters statistically.

    Raises:
        UserError: differing shapes, fewer than 2 images, a wrong type or range, or an option out of range.
    """
    check_counts(repeats=repeats, directions=directions)
    _check_sets(reals, fakes, patches.grid)
    sizes = level_sizes(reals, patches.lowest, patches.grid)
    check_patch(patches.patch, sizes)
    num_images = min(len(reals), len(fakes))
    sets = [_subset(images, num_images, patches.seed) for images in (reals, fakes)]
    found = {}
    for side in sizes:  # one level at a time: descriptors are several times larger than the images
        clouds = [descriptors(images, side, patches).to(reals.device) for images in sets]
        found[side] = _level_distance(clouds, reals.shape[1], repeats, directions, patches.seed)
    return SWD(levels=found, num_images=num_images)


@torch.no_grad()
def distance(reals: Descriptors, fakes: Descriptors, *, repeats: int = 4, directions: int = 128) -> SWD:
    """The result of `sliced_wasserstein` for the same images in the same order, bit for bit, whatever the
    batches.

    Runs on the device that the reals came from. Both stay as they are: reals serve for further fakes. Memory:
    that of `sliced_wasserstein`, without the images.

    Args:
        reals, fakes: complete, of equal settings.
        repeats, directions: as for `sliced_wasserstein`.

    Raises:
        UserError: images are missing, settings differ, or an option is out of range.
    """
    check_counts(repeats=repeats, directions=directions)
    for name, one in (("reals", reals), ("fakes", fakes)):
        if one.filled != one.num_images:
            raise UserError(f"{name}: {one.filled} images came; valid: {one.num_images}, as announced")
    if reals.settings != fakes.settings:
        raise UserError(
            "descriptors differ in (shape, num_images, patches_per_image, patch, seed, lowest, grid): "
            f"reals {reals.settings}, fakes {fakes.settings}; valid: the same"
        )
    found = {}
    for side in reals.sides:
        clouds = [one.level(side).to(reals.device) for one in (reals, fakes)]
        found[side] = _level_distance(clouds, reals.shape[0], repeats, directions, reals.patches.seed)
    return SWD(levels=found, num_images=reals.num_images)


def _level_distance(
    clouds: Sequence[Tensor], num_channels: int, repeats: int, directions: int, seed: int
) -> float:
    """1000 times the distance of two clouds of descriptors, which are normalised in place."""
    x, y = (normalize_(cloud, num_channels) for cloud in clouds)
    return 1e3 * sliced_distance(x, y, repeats=repeats, directions=directions, seed=seed)


@torch.no_grad()
def sliced_distance(x: Tensor, y: Tensor, *, repeats: int = 4, directions: int = 128, seed: int = 0) -> float:
    """Mean over random directions of the Wasserstein-1 distance of two projected clouds of equal size.

    In one dimension, the cheapest way to move M points onto M others is in order (Rabin et al. 2011).

    Args:
        x, y: float32 [M, D] on one device.
        repeats, directions, seed: as for `sliced_wasserstein`.
    """
    M = len(x)
    group = max(1, min(directions, PROJECTION_ELEMENTS // M))
    buffers = [torch.empty(group, M, dtype=cloud.dtype, device=cloud.device) for cloud in (x, y)]
    total = 0.0
    for repeat in range(repeats):
        for chosen in unit_directions(directions, x.shape[1], seed=seed, repeat=repeat).to(x).split(group):
            x_sorted, y_sorted = (
                _sort_rows(torch.mm(chosen, cloud.T, out=buffer[: len(chosen)]))
                for cloud, buffer in zip((x, y), buffers, strict=True)
            )
            total += x_sorted.sub_(y_sorted).abs_().mean(dim=1).double().sum().item()
    return total / (repeats * directions)


def unit_directions(num: int, dim: int, *, seed: int = 0, repeat: int = 0) -> Tensor:
    """[num, dim] points, uniform on the unit sphere."""
    return F.normalize(torch.randn(num, dim, generator=stream_generator(seed, DIRECTIONS, repeat)), dim=1)


def _sort_rows(rows: Tensor) -> Tensor:
    """Sort each row, in place on the CPU, where NumPy's vectorised sort is many times faster than torch's."""
    if rows.device.type != "cpu":
        return rows.sort(dim=1).values
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(np.ndarray.sort, rows.numpy()))
    return rows


def _subset(images: Tensor, num: int, seed: int) -> Tensor:
    """`num` of the images, in their order; all of them where there are no more."""
    if len(images) == num:
        return images
    chosen = torch.randperm(len(images), generator=stream_generator(seed, SUBSET))[:num].sort().values
    return images[chosen.to(images.device)]


def _check_sets(reals: Tensor, fakes: Tensor, grid: tuple[int, int]) -> None:
    for name, images in (("reals", reals), ("fakes", fakes)):
        check_images(name, images, grid)
        if len(images) < MIN_IMAGES:
            raise UserError(
                f"{name} are {len(images)} images; valid: {MIN_IMAGES} or more (better thousands)"
            )
    if reals.shape[1:] != fakes.shape[1:]:
        raise UserError(
            f"reals are [C, H, W] = {list(reals.shape[1:])}, fakes {list(fakes.shape[1:])}; valid: the same"
        )
