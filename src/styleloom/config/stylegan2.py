"""Configurations of StyleGAN2's networks (Karras et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from styleloom.config.checks import at_least, taps, within
from styleloom.config.parts import Activation, FeatureMaps, ImageShape, Mapping, MinibatchStd

Architecture: TypeAlias = Literal["orig", "skip", "resnet", "growing"]
StyleNormalization: TypeAlias = Literal["demodulation", "explicit", "none"]

TABLE_2_ARCHITECTURES: tuple[Architecture, ...] = ("orig", "skip", "resnet")


@dataclass(frozen=True)
class StyleGAN2Generator(ImageShape):
    """The generator of StyleGAN2 configurations B to F (StyleGAN2 section 2, Fig. 2 and 7).

    Args:
        resolution, channels, label_dim, grid: see `ImageShape`.
        z_dim, w_dim: of the latent spaces.
        features: channels by resolution.
        mapping: the mapping network.
        architecture: how features meet RGB (Fig. 7); "growing" is that of configurations B to D.
        normalization: how the scale of the style is removed again after the modulated convolution:
            "demodulation" of the weights (Fig. 2d, equation 3), the "explicit" division of each feature map
            by its standard deviation (Fig. 2c; the mean stays), or "none" (section 2.2). toRGB has none.
        resample_filter: taps of the separable resampling filter, normalised on use.
        activation: of the synthesis layers.
        w_avg_beta: decay of the running average of w, per training pass.
        clamp: bound of activations for mixed precision in the authors' PyTorch port; None as in the paper.
    """

    family: ClassVar[str] = "stylegan2"
    role: ClassVar[Literal["generator"]] = "generator"

    z_dim: int = 512
    w_dim: int = 512
    features: FeatureMaps = field(default_factory=FeatureMaps)
    mapping: Mapping = field(default_factory=Mapping)
    architecture: Architecture = "skip"
    normalization: StyleNormalization = "demodulation"
    resample_filter: tuple[float, ...] = (1, 3, 3, 1)
    activation: Activation = "lrelu"
    w_avg_beta: float = 0.995
    clamp: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("generator.z_dim", self.z_dim, 1)
        at_least("generator.w_dim", self.w_dim, 1)
        taps("generator.resample_filter", self.resample_filter)
        within("generator.w_avg_beta", self.w_avg_beta, 0, 1)

    @property
    def sums_levels(self) -> bool:
        """In the skip architecture (Fig. 7b)."""
        return self.architecture == "skip"

    @property
    def grows(self) -> bool:
        """Configurations B to D only."""
        return self.architecture == "growing"

    @property
    def mixes_styles(self) -> bool:
        """Every layer has a style."""
        return True

    def styles_at(self, side: int) -> range:
        """Those of the convolutions: one at the lowest level, two at others; toRGB shares that of the next
        level's first, and at full resolution has one of its own."""
        level = self.sides.index(side)
        return range(max(2 * level - 1, 0), 2 * level + 1 + (side == self.resolution))

    @property
    def num_ws(self) -> int:
        """Style inputs: 2 log2(resolution) - 2, 18 at 1024."""
        return 2 * len(self.sides)


@dataclass(frozen=True)
class StyleGAN2Discriminator(ImageShape):
    """The discriminator of StyleGAN2 configurations B to F (Fig. 7 and Table 2).

    Args:
        resolution, channels, label_dim, grid: as in the generator.
        features: channels by resolution.
        architecture: how features meet RGB; "growing" is that of configurations B to D.
        resample_filter: taps of the separable resampling filter.
        activation: of the hidden layers.
        minibatch_std: of the 4x4 block.
        labels: "select" has one output per class and picks the label's (StyleGAN, StyleGAN2); "project"
            takes the inner product with a mapped label (the authors' PyTorch port).
        projection: with labels = "project", the label's mapping network; its width is the length of the
            vectors in the inner product.
        clamp: as in the generator.
    """

    family: ClassVar[str] = "stylegan2"
    role: ClassVar[Literal["discriminator"]] = "discriminator"

    features: FeatureMaps = field(default_factory=FeatureMaps)
    architecture: Architecture = "resnet"
    resample_filter: tuple[float, ...] = (1, 3, 3, 1)
    activation: Activation = "lrelu"
    minibatch_std: MinibatchStd = field(default_factory=MinibatchStd)
    labels: Literal["select", "project"] = "select"
    projection: Mapping = field(default_factory=lambda: Mapping(labels="embed"))
    clamp: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        taps("discriminator.resample_filter", self.resample_filter)

    @property
    def projects(self) -> bool:
        """Whether the logit is an inner product with a mapped label."""
        return self.labels == "project" and self.label_dim > 0

    @property
    def grows(self) -> bool:
        """Configurations B to D only."""
        return self.architecture == "growing"
