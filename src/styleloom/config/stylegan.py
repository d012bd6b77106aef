"""Configurations of StyleGAN's networks (Karras et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from styleloom.config.checks import at_least, taps, within
from styleloom.config.parts import Activation, FeatureMaps, ImageShape, Mapping, MinibatchStd
from styleloom.config.progan import features_8192
from styleloom.errors import UserError

Styles = Literal["adain", "none"]
Input = Literal["constant", "w", "z"]
NoiseKind = Literal["per-channel", "none"]
Normalization = Literal["pixel", "instance"]
BlurOrder = Literal["code", "paper"]


@dataclass(frozen=True)
class StyleGANGenerator(ImageShape):
    """The generator of StyleGAN configurations B to F (sections 2 and 2.1, Fig. 1).

    Args:
        resolution, channels, label_dim, grid: see `ImageShape`.
        z_dim, w_dim: of the latent spaces; equal when `mapping.layers` is 0.
        features: channels by resolution.
        mapping: the mapping network.
        styles: "adain" styles every layer (equation 1), "none" is a traditional generator.
        input: of the lowest level: the learned "constant", a dense layer of "w" (the authors' code of
            configurations B and C) or of "z" (configuration C as the paper words it).
        noise: with a learned weight "per-channel", or "none".
        normalization: normalizations after each activation, in this order.
        blur: taps of the separable low-pass filter; 1 for none.
        blur_order: "code" filters after the up-convolution and before the down-convolution, "paper" after
            upsampling and before downsampling. They differ at the border.
        activation: of the synthesis layers.
        w_avg_beta: decay of the running average of w, per training pass.
    """

    family: ClassVar[str] = "stylegan"
    role: ClassVar[Literal["generator"]] = "generator"

    z_dim: int = 512
    w_dim: int = 512
    features: FeatureMaps = field(default_factory=features_8192)
    mapping: Mapping = field(default_factory=Mapping)
    styles: Styles = "adain"
    input: Input = "constant"
    noise: NoiseKind = "per-channel"
    normalization: tuple[Normalization, ...] = ("instance",)
    blur: tuple[float, ...] = (1, 2, 1)
    blur_order: BlurOrder = "code"
    activation: Activation = "lrelu"
    w_avg_beta: float = 0.995

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("generator.z_dim", self.z_dim, 1)
        at_least("generator.w_dim", self.w_dim, 1)
        taps("generator.blur", self.blur)
        within("generator.w_avg_beta", self.w_avg_beta, 0, 1)
        if self.mapping.layers == 0 and self.w_dim != self._z_and_label:
            raise UserError(
                f"generator.w_dim: {self.w_dim} is not valid, without mapping layers it is the size of the "
                f"mapping's input: {self._z_and_label}"
            )
        if self.input == "z" and self.z_dim != self.w_dim:
            raise UserError(
                f"generator.z_dim: {self.z_dim} is not valid, with generator.input z it must be "
                f"generator.w_dim: {self.w_dim}"
            )
        if self.styles == "none" and self.input == "constant":
            raise UserError(
                "generator.input: 'constant' is not valid without styles, nothing would depend on z; "
                "choose from w, z"
            )

    @property
    def _z_and_label(self) -> int:
        if not self.label_dim:
            return self.z_dim
        added = {"concat": self.z_dim, "join": self.label_dim, "embed": self.w_dim, "embed-z": self.z_dim}
        return self.z_dim + added[self.mapping.labels]

    @property
    def grows(self) -> bool:
        """Always."""
        return True

    @property
    def mixes_styles(self) -> bool:
        """True unless there are no styles, or `input` is "z": then the last w is z itself and no style."""
        return self.styles != "none" and self.input != "z"

    @property
    def truncates(self) -> bool:
        """True unless there are no styles: the authors' code truncates traditional generators, whose w is the
        normalised z, on demand alone."""
        return self.styles != "none"

    def styles_at(self, side: int) -> range:
        """Two at each level."""
        level = self.sides.index(side)
        return range(2 * level, 2 * level + 2) if self.styles != "none" else range(0)

    @property
    def num_ws(self) -> int:
        """Style inputs: 2 log2(resolution) - 2, 18 at 1024; with input "z" one more, the last, for z."""
        return 2 * len(self.sides) + (self.input == "z")


@dataclass(frozen=True)
class StyleGANDiscriminator(ImageShape):
    """The discriminator of StyleGAN configurations B to F: ProGAN's with low-pass filters.

    Args:
        resolution, channels, label_dim, grid: as in the generator; with labels there is one output for each
            class, and the logit is the output of the image's class.
        features: channels by resolution.
        activation: of the hidden layers.
        minibatch_std: of the lowest block.
        blur, blur_order: as in the generator.
    """

    family: ClassVar[str] = "stylegan"
    role: ClassVar[Literal["discriminator"]] = "discriminator"

    features: FeatureMaps = field(default_factory=features_8192)
    activation: Activation = "lrelu"
    minibatch_std: MinibatchStd = field(default_factory=MinibatchStd)
    blur: tuple[float, ...] = (1, 2, 1)
    blur_order: BlurOrder = "code"

    def __post_init__(self) -> None:
        super().__post_init__()
        taps("discriminator.blur", self.blur)

    @property
    def grows(self) -> bool:
        """Always."""
        return True
