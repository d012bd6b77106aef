"""Metrics of sets of images by their pixels: sliced Wasserstein distance, similarity of pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from styleloom.errors import UserError
from styleloom.metrics.descriptors import Descriptors
from styleloom.metrics.evaluation.image_sets import ImageSet
from styleloom.metrics.evaluation.keep import DESCRIPTORS, SIMILARITIES, Similarities, grid_of
from styleloom.metrics.evaluation.measure import Measure
from styleloom.metrics.evaluation.metric import IMAGES, Definition
from styleloom.metrics.evaluation.set_metric import SetMetric
from styleloom.metrics.ms_ssim import MIN_SIDE, mean_then_product, product_then_mean
from styleloom.metrics.swd import distance


class SlicedWasserstein(SetMetric):
    """Distance of the patches of two sets, level by level of a Laplacian pyramid."""

    keep = DESCRIPTORS
    needs_reals = True
    equal_numbers = True
    least_side = 8

    def check_size(self, d: Definition, images: ImageSet) -> None:
        """Raise UserError for images that are too small or cannot be halved."""
        super().check_size(d, images)
        _, height, width = images.shape
        side = 4 * height // grid_of(images)[0]
        if side & (side - 1):
            raise UserError(
                f"{d.name}: images of {width}x{height} px cannot be halved level by level; valid: a power of "
                "two, or a small grid times one"
            )

    def number(self, d: Definition, reals: Descriptors, fakes: Descriptors, seed: int) -> Measure:
        """The mean over levels, and each level."""
        found = distance(reals, fakes)
        levels = {f"{d.name} {side} px": value for side, value in found.levels.items()}
        return Measure({d.name: found.average} | levels)


@dataclass(frozen=True, kw_only=True)
class Similarity(SetMetric):
    """Mean similarity of pairs of images of one set; that of pairs of reals stands beside it.

    Args:
        combine: terms of pairs [N, scales, C] to similarities [N].
    """

    combine: Callable[[Tensor], Tensor]

    keep = SIMILARITIES
    pairs = True
    choice = "random"  # neighbours in a data set may be alike
    least_side = MIN_SIDE

    def number(self, d: Definition, reals: Similarities | None, fakes: Similarities, seed: int) -> Measure:
        """Means and their standard errors."""
        sets = {d.name: self.combine(fakes.terms)}
        if reals is not None:
            sets[f"{d.name} of reals"] = self.combine(reals.terms)
        return Measure(
            {name: values.mean().item() for name, values in sets.items()},
            {
                name: (values.std() / len(values) ** 0.5).item()
                for name, values in sets.items()
                if len(values) > 1
            },
        )


PIXEL_METRICS = (
    SlicedWasserstein(
        kind="swd",
        pattern=rf"swd{IMAGES}",
        num=16_384,
        text="sliced Wasserstein distance x 1000 (ProGAN section 5), by level and mean",
        example="swd, swd2k",
    ),
    Similarity(
        kind="ms_ssim",
        pattern=rf"ms_ssim{IMAGES}",
        num=10_000,
        text="multi-scale structural similarity of so many pairs (ProGAN section 5), the mean over channels "
        "at each scale: lower is more varied; to be compared with that of reals",
        better=None,
        example="ms_ssim",
        combine=mean_then_product,
    ),
    Similarity(
        kind="ms_ssim_per_channel",
        pattern=rf"ms_ssim_per_channel{IMAGES}",
        num=10_000,
        text="the same, each channel's product over the scales first, then the mean over channels",
        better=None,
        example="ms_ssim_per_channel",
        combine=product_then_mean,
    ),
)
