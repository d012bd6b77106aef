"""How often and how strongly each transformation is applied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Strengths:
    """A multiplier of p for each transformation, and how far each goes; 0 leaves a transformation out.

    The defaults are those of the paper's appendix B. "Deviation" is that of a normal number, or of the
    base-2 logarithm of a factor.

    Args:
        xflip, rotate90, xint: multipliers of mirroring, quarter turns, shifts by whole pixels.
        xint_max: largest shift by whole pixels, as a share of the image.
        scale, rotate, aniso, xfrac: multipliers of scaling, rotation, stretching, shifts by any amount.
        scale_std: deviation of the scale.
        rotate_max: largest angle, in half turns.
        aniso_std: deviation of the stretching.
        xfrac_std: deviation of the shift, as a share of the image.
        brightness, contrast, lumaflip, hue, saturation: multipliers.
        brightness_std: deviation of what is added.
        contrast_std: deviation of the contrast.
        hue_max: largest angle of hue, in half turns.
        saturation_std: deviation of the saturation.
        imgfilter: multiplier of the filter.
        imgfilter_bands: multiplier of each of its bands, lowest frequencies first.
        imgfilter_std: deviation of a band's amplification.
        noise: multiplier of noise.
        noise_std: deviation of the noise's own deviation.
        cutout: multiplier of the rectangle that is set to zero.
        cutout_size: its sides, as a share of the image's.
    """

    xflip: float = 0.0
    rotate90: float = 0.0
    xint: float = 0.0
    xint_max: float = 0.125
    scale: float = 0.0
    rotate: float = 0.0
    aniso: float = 0.0
    xfrac: float = 0.0
    scale_std: float = 0.2
    rotate_max: float = 1.0
    aniso_std: float = 0.2
    xfrac_std: float = 0.125
    brightness: float = 0.0
    contrast: float = 0.0
    lumaflip: float = 0.0
    hue: float = 0.0
    saturation: float = 0.0
    brightness_std: float = 0.2
    contrast_std: float = 0.5
    hue_max: float = 1.0
    saturation_std: float = 1.0
    imgfilter: float = 0.0
    imgfilter_bands: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    imgfilter_std: float = 1.0
    noise: float = 0.0
    noise_std: float = 0.1
    cutout: float = 0.0
    cutout_size: float = 0.5

    @classmethod
    def of(cls, transformations: Iterable[str]) -> Strengths:
        """The named transformations, each with multiplier 1."""
        multipliers: dict[str, Any] = dict.fromkeys(transformations, 1.0)
        return cls(**multipliers)
