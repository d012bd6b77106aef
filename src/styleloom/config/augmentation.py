"""Augmentation of everything that the discriminator reads (Karras et al. 2020, arXiv 2006.06676)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from styleloom.config.checks import above, at_least, check_choices, within
from styleloom.errors import UserError

Transformation: TypeAlias = Literal[
    "xflip",
    "rotate90",
    "xint",
    "scale",
    "rotate",
    "aniso",
    "xfrac",
    "brightness",
    "contrast",
    "lumaflip",
    "hue",
    "saturation",
    "imgfilter",
    "noise",
    "cutout",
]
"""The transformations by name, in their order. Rotation comes before and after the stretching, and the filter
has four bands."""

SetName: TypeAlias = Literal[
    "blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc"
]

_BLIT = ("xflip", "rotate90", "xint")
_GEOM = ("scale", "rotate", "aniso", "xfrac")
_COLOR = ("brightness", "contrast", "lumaflip", "hue", "saturation")

SETS: dict[str, tuple[str, ...]] = {
    "blit": _BLIT,
    "geom": _GEOM,
    "color": _COLOR,
    "filter": ("imgfilter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
    "bg": (*_BLIT, *_GEOM),
    "bgc": (*_BLIT, *_GEOM, *_COLOR),
    "bgcf": (*_BLIT, *_GEOM, *_COLOR, "imgfilter"),
    "bgcfn": (*_BLIT, *_GEOM, *_COLOR, "imgfilter", "noise"),
    "bgcfnc": (*_BLIT, *_GEOM, *_COLOR, "imgfilter", "noise", "cutout"),
}
"""The paper's groups of transformations, alone and added up in its order (Fig. 4)."""


@dataclass(frozen=True)
class Augmentation:
    """Random transformations of all images, real and generated, before the discriminator reads them.

    Each transformation is applied with probability p. As long as p stays below about 0.8 the generator
    learns the images as they are, not as they are transformed (section 2.2).

    Args:
        mode: "none"; "fixed" keeps p as it is; "ada" steers p by the discriminator's signs (section 3).
        p: the probability, with "ada" that of the beginning.
        set: names of sets, or of transformations: "bgc", the paper's choice, or several.
        target: with "ada", mean sign of the discriminator's outputs for reals that p is steered to.
        every: steps between two adjustments of p.
        kimg: thousands of images in which p can rise from 0 to 1.
    """

    mode: Literal["none", "fixed", "ada"] = "none"
    p: float = 0.0
    set: tuple[Literal[SetName, Transformation], ...] = ("bgc",)
    target: float = 0.6
    every: int = 4
    kimg: float = 500.0

    def __post_init__(self) -> None:
        check_choices(self, "augment.")
        within("augment.p", self.p, 0, 1)
        within("augment.target", self.target, -1, 1)
        at_least("augment.every", self.every, 1)
        above("augment.kimg", self.kimg, 0)
        if not self.set:
            raise UserError("augment.set: () is not valid, name a set such as bgc, or augment.mode none")
        if self.p and self.mode == "none":
            raise UserError(
                f"augment.p: {self.p} is not valid with augment.mode none; valid: 0, or mode fixed or ada"
            )

    @property
    def transformations(self) -> tuple[str, ...]:
        """The transformations that the names in `set` stand for."""
        names = [name for chosen in self.set for name in SETS.get(chosen, (chosen,))]
        return tuple(dict.fromkeys(names))
