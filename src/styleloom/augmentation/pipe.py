"""All transformations in the paper's order, on images or pyramids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from styleloom.augmentation import cutout, noise
from styleloom.augmentation.blit import blit
from styleloom.augmentation.color import color_matrices, recolored
from styleloom.augmentation.draws import Draws, RandomDraws
from styleloom.augmentation.filter import band_gains, filtered, reduced_gains
from styleloom.augmentation.geometry import geometry, moved
from styleloom.augmentation.matrices import identity
from styleloom.augmentation.strengths import Strengths
from styleloom.augmentation.warp import warp
from styleloom.types import Images


@dataclass(frozen=True)
class Pipe:
    """Transforms images at random: shifts and turns first, then colours, filter, noise, the cut-out.

    An image has one draw for all scales of its pyramid. What is drawn is the same for a batch on any device;
    images that no transformation chooses pass untouched.
    """

    strengths: Strengths

    def __call__(self, images: Images, p: float, draws: Draws | None = None) -> Images:
        """The images, [N, C, H, W] or a pyramid, with each transformation at probability `p`."""
        if p <= 0:
            return images
        draws = RandomDraws() if draws is None else draws
        scales = [images] if isinstance(images, Tensor) else list(images)
        scales = self._moved(scales, p, draws)
        scales = self._recolored(scales, p, draws)
        scales = self._filtered(scales, p, draws)
        scales = self._corrupted(scales, p, draws)
        return scales[0] if isinstance(images, Tensor) else tuple(scales)

    def _moved(self, scales: list[Tensor], p: float, draws: Draws) -> list[Tensor]:
        n, _, height, width = scales[-1].shape
        back = blit(identity(n), self.strengths, p, (height, width), draws)
        back = geometry(back, self.strengths, p, (height, width), draws)
        chosen = moved(back).nonzero().flatten()
        if not len(chosen):
            return scales
        return [_at(images, chosen, warp, _scaled(back, images.shape[2] / height)) for images in scales]

    def _recolored(self, scales: list[Tensor], p: float, draws: Draws) -> list[Tensor]:
        n, channels = scales[-1].shape[:2]
        matrices = color_matrices(self.strengths, p, n, channels, draws)
        if bool((matrices == identity(n, 4)).all()):
            return scales
        return [recolored(images, matrices) for images in scales]

    def _filtered(self, scales: list[Tensor], p: float, draws: Draws) -> list[Tensor]:
        if self.strengths.imgfilter <= 0:
            return scales
        gains, full = band_gains(self.strengths, p, len(scales[-1]), draws), scales[-1].shape[2]
        chosen = (gains != 1).any(1).nonzero().flatten()
        if not len(chosen):
            return scales
        return [_at(x, chosen, filtered, reduced_gains(gains, full // x.shape[2])) for x in scales]

    def _corrupted(self, scales: list[Tensor], p: float, draws: Draws) -> list[Tensor]:
        n, strengths = len(scales[-1]), self.strengths
        if strengths.noise > 0:
            sigma = noise.deviations(strengths.noise * p, strengths.noise_std, n, draws)
            scales = noise.noisy(scales, sigma, draws)
        if strengths.cutout > 0:
            cuts = cutout.rectangles(strengths.cutout * p, strengths.cutout_size, n, draws)
            scales = [cutout.cut(images, cuts) for images in scales]
        return scales


def _at(
    images: Tensor, chosen: Tensor, function: Callable[[Tensor, Tensor], Tensor], parameters: Tensor
) -> Tensor:
    """The images, of which those that are `chosen` went through the function with their parameters."""
    if len(chosen) == len(images):
        return function(images, parameters)
    index = chosen.to(images.device)
    return images.index_copy(0, index, function(images.index_select(0, index), parameters[chosen]))


def _scaled(back: Tensor, factor: float) -> Tensor:
    """Matrices of plane transformations for images of `factor` times the size: shifts alone change."""
    return back if factor == 1 else back * back.new_tensor([[1, 1, factor], [1, 1, factor], [1, 1, 1]])
