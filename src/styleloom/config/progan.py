"""Configurations of ProGAN's networks (Karras et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from styleloom.config.checks import at_least
from styleloom.config.parts import Activation, FeatureMaps, ImageShape, MinibatchStd

PixelNorm = Literal["every", "3x3", "none"]
Gain = Literal["layer", "sqrt2"]
Pooling = Literal["before", "after"]
Weights = Literal["equalized", "he"]


def features_8192() -> FeatureMaps:
    """Channels of every configuration but StyleGAN2 F."""
    return FeatureMaps(base=8192)


@dataclass(frozen=True)
class ProGANGenerator(ImageShape):
    """The generator of ProGAN (appendix A, Table 2); its only style input is the normalised z with the label.

    Args:
        resolution, channels, label_dim, grid: see `ImageShape`.
        z_dim: of the latent; a label joins it before both are normalised.
        features: channels by resolution.
        normalize_z: project z to the hypersphere.
        pixel_norm: after "every" hidden layer (ProGAN), after the "3x3" convolutions alone, so not after the
            input layer (MSG-GAN's text), or "none".
        activation: of the hidden layers.
        gain: of the weights: "layer" is sqrt(2) for hidden layers, 1 for toRGB, sqrt(2)/4 for the input
            layer; "sqrt2" is sqrt(2) in every layer, as in MSG-GAN's PyTorch code.
        weights: "equalized" are N(0, 1) and scaled at run time (section 4.1); "he" have He's scale at
            initialisation and no factor at run time, as in rows a to e of Table 1.
    """

    family: ClassVar[str] = "progan"
    role: ClassVar[Literal["generator"]] = "generator"

    z_dim: int = 512
    features: FeatureMaps = field(default_factory=features_8192)
    normalize_z: bool = True
    pixel_norm: PixelNorm = "every"
    activation: Activation = "lrelu"
    gain: Gain = "layer"
    weights: Weights = "equalized"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("generator.z_dim", self.z_dim, 1)

    @property
    def grows(self) -> bool:
        """Always."""
        return True

    @property
    def has_w(self) -> bool:
        """There is no mapping network: the normalised latents enter the synthesis network themselves."""
        return False

    @property
    def w_dim(self) -> int:
        """Size of the style input: z and label."""
        return self.z_dim + self.label_dim

    @property
    def num_ws(self) -> int:
        """Style inputs: one, which feeds the input layer."""
        return 1


@dataclass(frozen=True)
class ProGANDiscriminator(ImageShape):
    """The discriminator of ProGAN (appendix A, Table 2).

    Args:
        resolution, channels, label_dim, grid: as in the generator. With labels the output has a logit for
            each class (AC-GAN) besides the score; labels are no input.
        features: channels by resolution.
        activation: of the hidden layers.
        minibatch_std: of the lowest block.
        pooling: "before" bias and activation, as the authors' code does by default, or "after" them, as its
            unfused option and the paper's table do.
        weights: as in the generator.
    """

    family: ClassVar[str] = "progan"
    role: ClassVar[Literal["discriminator"]] = "discriminator"

    features: FeatureMaps = field(default_factory=features_8192)
    activation: Activation = "lrelu"
    minibatch_std: MinibatchStd = field(default_factory=MinibatchStd)
    pooling: Pooling = "before"
    weights: Weights = "equalized"

    @property
    def grows(self) -> bool:
        """Always."""
        return True

    @property
    def classifies(self) -> bool:
        """Whether there are class logits: outputs are [N, 1 + label_dim] (AC-GAN)."""
        return self.label_dim > 0
