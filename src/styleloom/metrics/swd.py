"""Sliced Wasserstein distance between sets of images, scale by scale (ProGAN section 5).

Every image is split into a Laplacian pyramid (Burt & Adelson 1983). At each level, small patches at random
positions describe the set; the two clouds of patches are compared along random directions, where the
Wasserstein-1 distance is the mean difference of the sorted projections. The finest level tells how alike
pixel-scale detail is, the lowest how alike large structure is.

What the number does not see, by its definition:

- *Global colour statistics.* Each set is normalised by its own mean and deviation per channel and level: an
  offset, a cast or a contrast change common to all images scores 0 as long as nothing clips. A cast that
  varies from image to image is seen, at the lowest level.
- *Where things are.* Patches carry no position, and none is wider than `patch` px of the lowest level.

- *How much detail there is.* For the same reason, a level that is too weak but otherwise right, such as
  detail at half its amplitude in every image, scores little more than a correct one.

Rectangular images have levels too: each half as high and wide as the one above. A level is called by its
nominal side, which for squares is their side.

Two equal sets in equal order score exactly 0, because image i of both is cut at the same positions. Two
*different* samples of one distribution do not: they leave a floor that falls about as 1/sqrt(N). Compare
values only at equal N, with the value of reals against other reals beside them. The paper uses N = 16384.

`sliced_wasserstein` compares two sets that are in memory. Larger ones go through `Descriptors`, batch by
batch, and `distance`: the same numbers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.errors import UserError

MIN_IMAGES = 2
CHANNELS = (1, 3, 4)
STD_FLOOR = 1e-3  # grey levels; below this a channel is flat, and scaling it would blow up rounding noise
BATCH_ELEMENTS = 2**22  # of the images that are in pyramid form at one time
PROJECTION_ELEMENTS = 2**26  # of the projections of one set that exist at one time: 256 MiB
_POSITIONS, _DIRECTIONS, _SUBSET = range(3)  # independent random streams of one seed


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


def sliced_wasserstein(
    reals: Tensor,
    fakes: Tensor,
    *,
    patches_per_image: int = 128,
    patch: int = 7,
    repeats: int = 4,
    directions: int = 128,
    seed: int = 0,
    lowest: int = 16,
    grid: tuple[int, int] = (4, 4),
) -> SWD:
    """Sliced Wasserstein distance per level of the Laplacian pyramid (ProGAN section 5).

    Deterministic for a seed. Runs on the device of `reals`. Memory, on top of the images and whatever R:
    `2 * N * patches_per_image * C * patch² * 4` bytes (1.2 GB for 8192 RGB images) and 0.5 GB.

    Args:
        reals: uint8 or floating [N, C, H, W] in [0, 255]; C is 1, 3 or 4, (H, W) = `grid` * R / 4 with R a
            power of two, the nominal side.
        fakes: as `reals`. Where the two differ in number, a random subset of the larger set, drawn by `seed`
            and as large as the smaller set, is used.
        patches_per_image: descriptors cut from each image at each level.
        patch: side of a descriptor in px.
        repeats: independent draws of directions; the result is the mean of all `repeats * directions`.
        directions: directions per repeat. Only the product matters statistically.
        seed: non-negative; fixes positions, directions and subset.
        lowest: least side of the last level, which holds the low-pass residual; a power of two. The shorter
            side counts: 384x512 images end at 24x32. Images smaller than that have one level, the image
            itself: for 8x8 images `lowest` becomes 8.
        grid: height and width of the images in quarters of R: 4, 4 for squares, `ImageDataset.grid`.

    Raises:
        UserError: differing shapes, fewer than 2 images, a wrong type or range, or an option out of range.
    """
    _check_counts(patches_per_image=patches_per_image, repeats=repeats, directions=directions)
    for name, images in (("reals", reals), ("fakes", fakes)):
        _check_images(name, images, grid)
        if len(images) < MIN_IMAGES:
            raise UserError(
                f"{name} are {len(images)} images; valid: {MIN_IMAGES} or more (better thousands)"
            )
    if reals.shape[1:] != fakes.shape[1:]:
        raise UserError(
            f"reals are [C, H, W] = {list(reals.shape[1:])}, fakes {list(fakes.shape[1:])}; valid: the same"
        )
    sizes = _level_sizes(reals, lowest, grid)
    _check_patch(patch, min(map(min, sizes.values())))

    num_images = min(len(reals), len(fakes))
    reals = _subset(reals, num_images, seed)
    fakes = _subset(fakes, num_images, seed)
    levels = {}
    for side in sizes:  # one level at a time: descriptors are several times larger than the images
        clouds = []
        for images in (reals, fakes):
            cloud = descriptors(
                images,
                side,
                patches_per_image=patches_per_image,
                patch=patch,
                seed=seed,
                lowest=lowest,
                grid=grid,
            )
            clouds.append(normalize_(cloud.to(reals.device), num_channels=reals.shape[1]))
        levels[side] = 1e3 * sliced_distance(*clouds, repeats=repeats, directions=directions, seed=seed)
    return SWD(levels=levels, num_images=num_images)


# --- Sets that do not fit in memory -------------------------------------------------------------------------


class Descriptors:
    """Descriptors of every level of a set whose images come in batches, in temporary files.

    The files take `num_images * patches_per_image * C * patch² * 4` bytes for each level: 1.2 GB for 16384
    RGB images, 8.6 GB for the seven levels of 1024 px. They go when the `with` block ends, or by `close`.

    Args:
        num_images: how many images will come, 2 or more.
        patches_per_image, patch, seed, lowest, grid: as for `sliced_wasserstein`.
        directory: an existing folder for the files; None for the system's.

    Raises:
        UserError: an option out of range.
    """

    def __init__(
        self,
        num_images: int,
        *,
        patches_per_image: int = 128,
        patch: int = 7,
        seed: int = 0,
        lowest: int = 16,
        grid: tuple[int, int] = (4, 4),
        directory: Path | None = None,
    ) -> None:
        _check_counts(patches_per_image=patches_per_image)
        if num_images < MIN_IMAGES:
            raise UserError(f"num_images is {num_images}; valid: {MIN_IMAGES} or more (better thousands)")
        self.num_images = num_images
        self.patches_per_image = patches_per_image
        self.patch = patch
        self.seed = seed
        self.lowest = lowest
        self.grid = grid
        self.filled = 0
        self.shape: tuple[int, ...] = ()  # C, H, W
        self.device = torch.device("cpu")  # of the images that came last
        self._positions: dict[int, Tensor] = {}
        self._files: dict[int, np.ndarray] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="styleloom-swd-", dir=directory)

    def __enter__(self) -> Descriptors:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the files."""
        self._positions.clear()
        self._files.clear()
        self._folder.cleanup()

    @property
    def sides(self) -> list[int]:
        """Nominal sides of the levels in px, finest first; none before the first images."""
        return list(self._files)

    @property
    def settings(self) -> tuple[object, ...]:
        """What two sets must have in common to be compared."""
        return (
            self.shape,
            self.num_images,
            self.patches_per_image,
            self.patch,
            self.seed,
            self.lowest,
            self.grid,
        )

    @torch.no_grad()
    def add(self, images: Tensor) -> None:
        """Take the next images, uint8 or floating [n, C, H, W] in [0, 255], all of one size.

        Raises UserError for other images, and for more than `num_images` of them.
        """
        _check_images("images", images, self.grid)
        if not self._files:
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
        for batch in _batches(images):
            here = slice(self.filled, self.filled + len(batch))
            for side, band in laplacian_pyramid(batch.float(), self.lowest, self.grid).items():
                # On the images' device first: files are written in one piece.
                cut = band.new_empty(len(batch), *self._files[side].shape[1:])
                _cut(band, self._positions[side][here], self.patch, out=cut)
                self._files[side][here] = cut.cpu().numpy()
            self.filled = here.stop

    def level(self, side: int) -> Tensor:
        """A copy in memory, not normalised: float32 [num_images * patches_per_image, C * patch * patch]."""
        return torch.from_numpy(np.array(self._files[side])).flatten(2).flatten(0, 1)

    def _allocate(self, images: Tensor) -> None:
        """Positions and files, when the size of the images is known."""
        sizes = _level_sizes(images, self.lowest, self.grid)
        _check_patch(self.patch, min(map(min, sizes.values())))
        self.shape = tuple(images.shape[1:])
        cuts = (self.num_images, self.patches_per_image)
        for side, size in sizes.items():
            positions = _positions(cuts, size, patch=self.patch, seed=self.seed, side=side)
            self._positions[side] = positions.to(torch.int16)  # a quarter of the memory
            path = Path(self._folder.name) / f"{side}.f32"
            shape = (*cuts, images.shape[1], self.patch**2)
            self._files[side] = np.memmap(path, np.float32, "w+", shape=shape)


@torch.no_grad()
def distance(reals: Descriptors, fakes: Descriptors, *, repeats: int = 4, directions: int = 128) -> SWD:
    """What `sliced_wasserstein` says of the same images in the same order, bit for bit, whatever the batches.

    Runs on the device that the reals came from. Both stay as they are: reals serve for further fakes. Memory:
    that of `sliced_wasserstein`, without the images.

    Args:
        reals, fakes: complete, of equal settings.
        repeats, directions: as for `sliced_wasserstein`.

    Raises:
        UserError: images are missing, settings differ, or an option is out of range.
    """
    _check_counts(repeats=repeats, directions=directions)
    for name, one in (("reals", reals), ("fakes", fakes)):
        if one.filled != one.num_images:
            raise UserError(f"{name}: {one.filled} images came; valid: {one.num_images}, as announced")
    if reals.settings != fakes.settings:
        raise UserError(
            "descriptors differ in (shape, num_images, patches_per_image, patch, seed, lowest, grid): "
            f"reals {reals.settings}, fakes {fakes.settings}; valid: the same"
        )
    levels = {}
    for side in reals.sides:
        clouds = [normalize_(one.level(side).to(reals.device), reals.shape[0]) for one in (reals, fakes)]
        levels[side] = 1e3 * sliced_distance(*clouds, repeats=repeats, directions=directions, seed=reals.seed)
    return SWD(levels=levels, num_images=reals.num_images)


# --- Laplacian pyramid --------------------------------------------------------------------------------------


def laplacian_pyramid(images: Tensor, lowest: int = 16, grid: tuple[int, int] = (4, 4)) -> dict[int, Tensor]:
    """Band-pass images by nominal side, finest first; the last is the residual (Burt & Adelson 1983).

    Args:
        images: floating [N, C, H, W].
        lowest, grid: as for `sliced_wasserstein`.

    Returns:
        Nominal side to [N, C, h, w], in the range of `images` or, for band-pass levels, of their
        differences. `collapse` inverts it, up to one rounding of the floating type per level.

    Raises:
        UserError: images that are not floating or not of `grid`, or a side that is not a power of two.
    """
    _check_float(images, grid)
    *bands, residual = _level_sizes(images, lowest, grid)
    pyramid = {}
    for side in bands:
        coarse = reduce(images)
        pyramid[side] = images - expand(coarse)
        images = coarse
    pyramid[residual] = images
    return pyramid


def collapse(pyramid: dict[int, Tensor]) -> Tensor:
    """The images [N, C, H, W] of a `laplacian_pyramid`."""
    sides = sorted(pyramid)
    images = pyramid[sides[0]]
    for side in sides[1:]:
        images = expand(images) + pyramid[side]
    return images


def reduce(images: Tensor) -> Tensor:
    """[N, C, H, W] to [N, C, H/2, W/2]: filter [1, 4, 6, 4, 1] / 16 along each axis, then every other pixel.

    Borders are mirrored without repeating the edge pixel: c b | a b c d | c b. H and W are even and >= 4.
    """
    for dim in (2, 3):
        even, odd = _every_other(images, dim, 0), _every_other(images, dim, 1)
        before, after = _neighbours(even, dim)
        odd_before = torch.cat((odd.narrow(dim, 0, 1), odd.narrow(dim, 0, odd.shape[dim] - 1)), dim)
        images = (before + after + 6 * even + 4 * (odd_before + odd)) / 16
    return images


def expand(images: Tensor) -> Tensor:
    """[N, C, H, W] to [N, C, 2H, 2W]: zeros between pixels, then filter [1, 4, 6, 4, 1] / 8 along each axis.

    Mirrored borders as in `reduce`; a constant image stays constant. H and W are >= 2.
    """
    for dim in (3, 2):
        before, after = _neighbours(images, dim)
        even = (before + 6 * images + after) / 8
        odd = (images + after) / 2
        images = torch.stack((even, odd), dim + 1).flatten(dim, dim + 1)
    return images


def _every_other(images: Tensor, dim: int, start: int) -> Tensor:
    return images[:, :, start::2] if dim == 2 else images[..., start::2]


def _neighbours(even: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Previous and next of each pixel that sits at an even place of a mirrored line of twice the length.

    Mirroring that line about its first pixel (even) skips the pixel itself; about its last (odd) it does not.
    """
    size = even.shape[dim]
    before = torch.cat((even.narrow(dim, 1, 1), even.narrow(dim, 0, size - 1)), dim)
    after = torch.cat((even.narrow(dim, 1, size - 1), even.narrow(dim, size - 1, 1)), dim)
    return before, after


# --- Descriptors --------------------------------------------------------------------------------------------


@torch.no_grad()
def descriptors(
    images: Tensor,
    side: int,
    *,
    patches_per_image: int = 128,
    patch: int = 7,
    seed: int = 0,
    lowest: int = 16,
    grid: tuple[int, int] = (4, 4),
) -> Tensor:
    """Patches of one level of the Laplacian pyramid at uniformly random positions, not yet normalised.

    Images are turned into pyramids a batch at a time. Positions do not depend on the content of the images.

    Args:
        images: uint8 or floating [N, C, H, W].
        side: the level, by its nominal side in px; the last one is the low-pass residual.
        patches_per_image, patch, seed, lowest, grid: as for `sliced_wasserstein`.

    Returns:
        float32 [N * patches_per_image, C * patch * patch], the patches of an image side by side.

    Raises:
        UserError: a `side` that is no level of the pyramid, or a `patch` that does not fit it.
    """
    _check_counts(patches_per_image=patches_per_image)
    sizes = _level_sizes(images, lowest, grid)
    if side not in sizes:
        raise UserError(f"side is {side}; valid: {', '.join(map(str, sizes))}")
    _check_patch(patch, min(sizes[side]))
    N, C = images.shape[:2]
    positions = _positions((N, patches_per_image), sizes[side], patch=patch, seed=seed, side=side)
    out = torch.empty(N, patches_per_image, C, patch * patch, device=images.device)
    start = 0
    halvings = list(sizes).index(side)
    for band in _bands(images, halvings, is_residual=halvings == len(sizes) - 1):
        here = slice(start, start + len(band))
        _cut(band, positions[here], patch, out=out[here])
        start = here.stop
    return out.flatten(2).flatten(0, 1)


def _positions(shape: tuple[int, int], size: tuple[int, int], *, patch: int, seed: int, side: int) -> Tensor:
    """Row and column of the first pixel of each patch, uniformly at random: int64 [*shape, 2]."""
    height, width = size
    generator = _generator(seed, _POSITIONS, side)
    positions = torch.randint(height - patch + 1, (*shape, 2), generator=generator)
    if width != height:
        positions[..., 1] = torch.randint(width - patch + 1, shape, generator=generator)
    return positions


def _cut(band: Tensor, positions: Tensor, patch: int, out: Tensor) -> None:
    """Patches of a level [n, C, h, w] at `positions` [n, P, 2], into `out` [n, P, C, patch²]."""
    C, width = band.shape[1], band.shape[3]
    line = torch.arange(patch, device=band.device)
    window = (line[:, None] * width + line).flatten()  # [patch²], offsets from a patch's first pixel
    y, x = positions.to(band.device, torch.int64).unbind(-1)  # [n, P]
    index = ((y * width + x)[..., None] + window).flatten(1)  # [n, P * patch²]
    picked = band.flatten(2).gather(2, index[:, None].expand(-1, C, -1))  # [n, C, P * patch²]
    out.copy_(picked.unflatten(2, (-1, patch * patch)).transpose(1, 2))


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


def _bands(images: Tensor, halvings: int, is_residual: bool) -> Iterator[Tensor]:
    """One pyramid level of successive batches, float32 [n, C, h, w]."""
    for batch in _batches(images):
        level = batch.float()
        for _ in range(halvings):
            level = reduce(level)
        yield level if is_residual else level - expand(reduce(level))


def _batches(images: Tensor) -> tuple[Tensor, ...]:
    """As many images at a time as have `BATCH_ELEMENTS`."""
    return images.split(max(1, BATCH_ELEMENTS // images[:1].numel()))


# --- Distance -----------------------------------------------------------------------------------------------


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
    return F.normalize(torch.randn(num, dim, generator=_generator(seed, _DIRECTIONS, repeat)), dim=1)


def _sort_rows(rows: Tensor) -> Tensor:
    """Sort each row, in place on the CPU, where NumPy's vectorised sort is many times faster than torch's."""
    if rows.device.type != "cpu":
        return rows.sort(dim=1).values
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(np.ndarray.sort, rows.numpy()))
    return rows


# --- Checks and random streams ------------------------------------------------------------------------------


def _generator(seed: int, *stream: int) -> torch.Generator:
    """A CPU generator that depends on the seed and the stream alone."""
    if seed < 0:
        raise UserError(f"seed is {seed}; valid: 0 or more")
    state = np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


def _subset(images: Tensor, num: int, seed: int) -> Tensor:
    """`num` of the images, in their order; all of them where there are no more."""
    if len(images) == num:
        return images
    chosen = torch.randperm(len(images), generator=_generator(seed, _SUBSET))[:num].sort().values
    return images[chosen.to(images.device)]


def _level_sizes(images: Tensor, lowest: int, grid: tuple[int, int]) -> dict[int, tuple[int, int]]:
    """Height and width of the pyramid's levels by nominal side, finest first."""
    height, width = images.shape[2:]
    side = 4 * height // grid[0]
    for name, value in (("resolution", side), ("lowest", lowest)):
        if value < 2 or value & (value - 1):
            raise UserError(f"{name} is {value} px; valid: a power of two")
    sizes = {side: (height, width)}
    while side > 1 and height % 2 == width % 2 == 0 and min(height, width) // 2 >= lowest:
        side, height, width = side // 2, height // 2, width // 2
        sizes[side] = (height, width)
    return sizes


def _has_grid(images: Tensor, grid: tuple[int, int]) -> bool:
    """Whether images [N, C, H, W] have the sides `grid` * R / 4 for some R > 0."""
    if images.ndim != 4:
        return False
    height, width = images.shape[2:]
    return height > 0 and height * grid[1] == width * grid[0] and 4 * height % grid[0] == 0


def _shape(grid: tuple[int, int]) -> str:
    height, width = ("R" if side == 4 else f"{side} R / 4" for side in grid)
    return f"[N, C, {height}, {width}]"


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"{name} is {value}; valid: 1 or more")


def _check_patch(patch: int, side: int) -> None:
    if not 1 <= patch <= side:
        raise UserError(f"patch is {patch} px at a level of {side} px; valid: 1 to {side}")


def _check_float(images: Tensor, grid: tuple[int, int]) -> None:
    if not images.is_floating_point() or not _has_grid(images, grid):
        raise UserError(f"images are {images.dtype} {list(images.shape)}; valid: floating {_shape(grid)}")


def _check_images(name: str, images: Tensor, grid: tuple[int, int]) -> None:
    if not _has_grid(images, grid) or images.shape[1] not in CHANNELS:
        raise UserError(f"{name} are {list(images.shape)}; valid: {_shape(grid)} with C = 1, 3 or 4")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise UserError(f"{name} are {images.dtype}; valid: torch.uint8 or a floating type, in [0, 255]")
    if images.is_floating_point() and len(images):
        low, high = (bound.item() for bound in images.detach().aminmax())
        if not (low >= 0 and high <= 255):  # also catches NaN
            raise UserError(f"{name} lie in [{low:g}, {high:g}]; valid: [0, 255]")
