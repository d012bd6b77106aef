"""Patches that describe a set of images for the sliced Wasserstein distance (ProGAN section 5).

They are cut from each level of a Laplacian pyramid (`pyramid.py`) at random positions, which depend on
nothing but a seed, the level, and the image's place in its set. `descriptors` cuts one level of images that
are in memory; `Descriptors` cuts all levels of images that come in batches, into files: the same patches.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from styleloom.errors import UserError
from styleloom.metrics.pyramid import grid_shape, has_grid, level_sizes, levels

MIN_IMAGES = 2
CHANNELS = (1, 3, 4)
STD_FLOOR = 1e-3  # grey levels; below this a channel is flat, and scaling it would blow up rounding noise
BATCH_ELEMENTS = 2**22  # of the images that are in pyramid form at one time
POSITIONS, DIRECTIONS, SUBSET = range(3)  # independent random streams of one seed


def check_counts(**counts: int) -> None:
    """Raise UserError for a count below 1."""
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"{name} is {value}; valid: 1 or more")


def stream_generator(seed: int, *stream: int) -> torch.Generator:
    """A CPU generator that depends on the seed and the stream alone."""
    if seed < 0:
        raise UserError(f"seed is {seed}; valid: 0 or more")
    state = np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


@dataclass(frozen=True)
class Patches:
    """How patches are cut. Two sets that are compared must be cut in the same way.

    Args:
        patches_per_image: descriptors cut from each image at each level.
        patch: side of a descriptor in px.
        seed: non-negative; fixes the positions, and in `swd` the directions and the random subset.
        lowest: least side of the last level, which holds the low-pass residual; a power of two. The shorter
            side counts: 384x512 images end at 24x32. Images smaller than that have one level, the image
            itself: for 8x8 images `lowest` becomes 8.
        grid: height and width of the images are `grid` * R / 4, with R their nominal side; 4, 4 for square
            images (`ImageDataset.grid`).

    Raises:
        UserError: no patches.
    """

    patches_per_image: int = 128
    patch: int = 7
    seed: int = 0
    lowest: int = 16
    grid: tuple[int, int] = (4, 4)

    def __post_init__(self) -> None:
        check_counts(patches_per_image=self.patches_per_image)


PAPER = Patches()
"""The patches of ProGAN section 5."""


# --- Of images in memory ------------------------------------------------------------------------------------


@torch.no_grad()
def descriptors(images: Tensor, side: int, patches: Patches = PAPER) -> Tensor:
    """Patches of one level of the Laplacian pyramid at uniformly random positions, not yet normalised.

    Images are turned into pyramids a batch at a time. Positions do not depend on the content of the images.

    Args:
        images: uint8 or floating [N, C, H, W].
        side: the level, by its nominal side in px; the last one is the low-pass residual.
        patches: how many, how large and where.

    Returns:
        float32 [N * patches_per_image, C * patch * patch], the patches of an image side by side.

    Raises:
        UserError: a `side` that is no level of the pyramid, or a patch that does not fit it.
    """
    sizes = level_sizes(images, patches.lowest, patches.grid)
    if side not in sizes:
        raise UserError(f"side is {side}; valid: {', '.join(map(str, sizes))}")
    check_patch(patches.patch, {side: sizes[side]})
    positions = _positions(len(images), sizes[side], side, patches)
    rows = torch.empty(_rows_shape(positions, images, patches), device=images.device)
    _cut(images, 0, list(sizes), {side: _Level(positions, rows)}, patches.patch)
    return rows.flatten(2).flatten(0, 1)


# --- Of images in batches -----------------------------------------------------------------------------------


class Descriptors:
    """Descriptors of every level of a set whose images come in batches, in temporary files.

    The files take `num_images * patches_per_image * C * patch² * 4` bytes for each level: 1.2 GB for 16384
    RGB images, 8.6 GB for the seven levels of 1024 px. They go when the `with` block ends, or by `close`.

    Args:
        num_images: how many images will come, 2 or more.
        patches: how they are described.
        directory: an existing folder for the files; None for the system's.

    Raises:
        UserError: too few images.
    """

    def __init__(self, num_images: int, patches: Patches = PAPER, directory: Path | None = None) -> None:
        if num_images < MIN_IMAGES:
            raise UserError(f"num_images is {num_images}; valid: {MIN_IMAGES} or more (better thousands)")
        self.num_images = num_images
        self.patches = patches
        self.filled = 0
        self.shape: tuple[int, ...] = ()  # C, H, W
        self.device = torch.device("cpu")  # of the images that came last
        self._levels: dict[int, _Level] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="styleloom-swd-", dir=directory)

    def __enter__(self) -> Descriptors:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the files."""
        self._levels.clear()
        self._folder.cleanup()

    @property
    def sides(self) -> list[int]:
        """Nominal sides of the levels in px, finest first; none before the first images."""
        return list(self._levels)

    @property
    def settings(self) -> tuple[object, ...]:
        """What two sets must have in common to be compared."""
        p = self.patches
        return (self.shape, self.num_images, p.patches_per_image, p.patch, p.seed, p.lowest, p.grid)

    @torch.no_grad()
    def add(self, images: Tensor) -> None:
        """Take the next images, uint8 or floating [n, C, H, W] in [0, 255], all of one size.

        Raises UserError for other images, and for more than `num_images` of them.
        """
        check_images("images", images, self.patches.grid)
        if not self._levels:
            self._allocate(images)
        if images.shape[1:] != self.shape:
            raise UserError(
                f"images are {list(images.shape[1:])} after {list(self.shape)}; valid: all of one size"
            )
        if self.filled + len(images) > self.num_images:
            raise UserError(
                f"images: {self.filled + len(images)} came; valid: {self.num_images}, as announced"
            )
        self.device = images.device
        _cut(images, self.filled, self.sides, self._levels, self.patches.patch)
        self.filled += len(images)

    def level(self, side: int) -> Tensor:
        """A copy in memory, not normalised: float32 [num_images * patches_per_image, C * patch * patch]."""
        return self._levels[side].rows.clone().flatten(2).flatten(0, 1)

    def _allocate(self, images: Tensor) -> None:
        """Positions and files, when the size of the images is known."""
        sizes = level_sizes(images, self.patches.lowest, self.patches.grid)
        check_patch(self.patches.patch, sizes)
        self.shape = tuple(images.shape[1:])
        for side, size in sizes.items():
            positions = _positions(self.num_images, size, side, self.patches)
            path = Path(self._folder.name) / f"{side}.f32"
            shape = _rows_shape(positions, images, self.patches)
            self._levels[side] = _Level(
                positions, torch.from_numpy(np.memmap(path, np.float32, "w+", shape=shape))
            )


# --- Shared by both -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Level:
    """Descriptors of one level of a set.

    Args:
        positions: row and column of the first pixel of each patch, int16 [N, P, 2].
        rows: the patches, float32 [N, P, C, patch²], in memory or mapped from a file.
    """

    positions: Tensor
    rows: Tensor


def _positions(num_images: int, size: tuple[int, int], side: int, patches: Patches) -> Tensor:
    """Positions of the patches of a level of `size` px, uniformly at random: int16 [N, P, 2]."""
    height, width = size
    shape = (num_images, patches.patches_per_image)
    generator = stream_generator(patches.seed, POSITIONS, side)
    positions = torch.randint(height - patches.patch + 1, (*shape, 2), generator=generator)
    if width != height:
        positions[..., 1] = torch.randint(width - patches.patch + 1, shape, generator=generator)
    return positions.to(torch.int16)  # a quarter of the memory


def _rows_shape(positions: Tensor, images: Tensor, patches: Patches) -> tuple[int, ...]:
    """[N, P, C, patch²] of images [n, C, H, W]."""
    return (*positions.shape[:2], images.shape[1], patches.patch**2)


def _cut(images: Tensor, first: int, sides: list[int], wanted: Mapping[int, _Level], patch: int) -> None:
    """Write the patches of images [n, C, H, W], of which the first is number `first`, to the `wanted` levels
    among the `sides` of their pyramid."""
    for batch in images.split(max(1, BATCH_ELEMENTS // images[:1].numel())):
        here = slice(first, first + len(batch))
        for side, band in levels(batch.float(), sides, wanted):
            level = wanted[side]
            # On the images' device first: files are written in one piece.
            level.rows[here] = _windows(band, level.positions[here], patch)
        first = here.stop


def _windows(band: Tensor, positions: Tensor, patch: int) -> Tensor:
    """Patches [n, P, C, patch²] of a level [n, C, h, w] at `positions` [n, P, 2]."""
    C, width = band.shape[1], band.shape[3]
    line = torch.arange(patch, device=band.device)
    window = (line[:, None] * width + line).flatten()  # [patch²], offsets from a patch's first pixel
    y, x = positions.to(band.device, torch.int64).unbind(-1)  # [n, P]
    index = ((y * width + x)[..., None] + window).flatten(1)  # [n, P * patch²]
    picked = band.flatten(2).gather(2, index[:, None].expand(-1, C, -1))  # [n, C, P * patch²]
    return picked.unflatten(2, (-1, patch * patch)).transpose(1, 2).contiguous()


def normalize_(cloud: Tensor, num_channels: int) -> Tensor:
    """Bring each colour channel of a set of descriptors to mean 0 and standard deviation 1, in place.

    The statistics are those of the whole set [M, C * K]: over all descriptors and all pixels in them. A
    channel whose deviation is under `STD_FLOOR` is only centred.
    """
    per_channel = cloud.view(len(cloud), num_channels, -1)
    # One pass of Welford's method; vector_norm in float32 is 13 % off over 10^8 elements.
    variance, mean = torch.var_mean(per_channel, dim=(0, 2), correction=0, keepdim=True)
    std = variance.sqrt()
    per_channel.sub_(mean).div_(torch.where(std < STD_FLOOR, torch.ones_like(std), std))
    return cloud


def check_patch(patch: int, sizes: Mapping[int, tuple[int, int]]) -> None:
    """Raise UserError for a patch that does not fit one of the levels."""
    least = min(map(min, sizes.values()))
    if not 1 <= patch <= least:
        raise UserError(f"patch is {patch} px at a level of {least} px; valid: 1 to {least}")


def check_images(name: str, images: Tensor, grid: tuple[int, int]) -> None:
    """Raise UserError unless images are uint8 or floating [N, C, H, W] of `grid` in [0, 255]."""
    if not has_grid(images, grid) or images.shape[1] not in CHANNELS:
        raise UserError(f"{name} are {list(images.shape)}; valid: {grid_shape(grid)} with C = 1, 3 or 4")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise UserError(f"{name} are {images.dtype}; valid: torch.uint8 or a floating type, in [0, 255]")
    if images.is_floating_point() and len(images):
        low, high = (bound.item() for bound in images.detach().aminmax())
        if not (low >= 0 and high <= 255):  # also catches NaN
            raise UserError(f"{name} lie in [{low:g}, {high:g}]; valid: [0, 255]")
