"""Growing generators as the authors measure them: at full size, with the active level's pixels repeated."""

from __future__ import annotations

from torch import Tensor, nn

from styleloom.layers.growing import repeat_to
from styleloom.networks.assembly import StyleGenerator
from styleloom.sampling import Sampler
from styleloom.types import GrowthState, Images, Noise


class FullSize(Sampler):
    """A generator in the middle of growing whose images have full size.

    The authors' networks put out images of full size at every level: instead of the layers that are not there
    yet they repeat pixels (ProGAN section 2). All their metrics, the crop of path lengths included, therefore
    see full size. Latents, noise and weights are those of `sampler`; images are its images with pixels
    repeated.

    Args:
        sampler: the generator at its active level; it stays as it is.
    """

    def __init__(self, sampler: Sampler) -> None:
        super().__init__(_Repeating(sampler.generator), sampler.experiment, sampler.growth)
        self.level = sampler

    @property
    def resolution(self) -> int:
        """Nominal side of the images, px: the full resolution."""
        return self.generator.resolution


class _Repeating(StyleGenerator):
    """The same generator (its modules, parameters and buffers), whose synthesis repeats pixels."""

    def __init__(self, generator: StyleGenerator) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(generator.__dict__)

    def synthesis(self, ws: Tensor, growth: GrowthState | None = None, noise: Noise = "random") -> Images:
        """ws [N, L, W] -> images [N, C, H, W] of full size."""
        images = super().synthesis(ws, growth, noise)
        if growth is None or not isinstance(images, Tensor):  # a pyramid does not grow
            return images
        factor = self.resolution // (4 << growth.level)
        height, width = images.shape[2:]
        return repeat_to(images, (factor * height, factor * width))


def measured_at(sampler: Sampler, size: str) -> Sampler:
    """The sampler whose images metrics see: `FullSize` for a half-grown generator and `size` "full".

    Otherwise it is `sampler` itself. `size` is a `MeasureAt`: "full" or "level".
    """
    return FullSize(sampler) if sampler.growth is not None and size == "full" else sampler


def at_level(sampler: Sampler) -> Sampler:
    """The sampler that `measured_at` was given, whose images have the size of the active level."""
    return sampler.level if isinstance(sampler, FullSize) else sampler
