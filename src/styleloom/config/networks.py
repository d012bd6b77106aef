"""Network configurations. A class for each family; what can be derived is derived here, once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from styleloom.config.checks import at_least, one_of, power_of_two, within

Activation: TypeAlias = Literal[
    "linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"
]
ACTIVATIONS: tuple[Activation, ...] = Activation.__args__  # type: ignore[attr-defined]

Architecture: TypeAlias = Literal["orig", "skip", "resnet"]
ARCHITECTURES: tuple[Architecture, ...] = ("orig", "skip", "resnet")


@dataclass(frozen=True)
class FeatureMaps:
    """Channels by depth (ProGAN appendix A): `min(base / 2^(stage * decay), max)`, never below `min`.

    Args:
        base: 8192 in ProGAN, StyleGAN, MSG-GAN and StyleGAN2 A-E; 16384 in StyleGAN2 F.
        max: upper bound.
        min: lower bound.
        decay: log2 of the reduction per doubling of the resolution.
    """

    base: int = 16384
    max: int = 512
    min: int = 1
    decay: float = 1.0

    def __post_init__(self) -> None:
        at_least("features.base", self.base, 1)
        at_least("features.min", self.min, 1)
        at_least("features.max", self.max, self.min)
        at_least("features.decay", self.decay, 0)

    def at(self, stage: int) -> int:
        """Channels at `stage`; the block at side 2^r works with `at(r - 1)`."""
        return min(max(int(self.base / 2.0 ** (stage * self.decay)), self.min), self.max)

    def at_side(self, side: int) -> int:
        """Channels of the block whose side is `side` px."""
        return self.at(side.bit_length() - 2)


@dataclass(frozen=True)
class Mapping:
    """The mapping network f: z -> w (StyleGAN section 2; StyleGAN2 keeps it).

    Args:
        layers: number of dense layers, each followed by `activation`, the last one included.
        width: outputs of the hidden layers.
        lr_multiplier: equalized learning-rate multiplier; weights are stored 1/lr_multiplier larger.
        activation: of every layer.
        normalize_z: project the input to the hypersphere first.
        labels: "concat" multiplies the label by a matrix and normalises it together with z (StyleGAN,
            StyleGAN2); "embed" embeds and normalises it apart from z (the authors' PyTorch port).
    """

    layers: int = 8
    width: int = 512
    lr_multiplier: float = 0.01
    activation: Activation = "lrelu"
    normalize_z: bool = True
    labels: Literal["concat", "embed"] = "concat"

    def __post_init__(self) -> None:
        at_least("mapping.layers", self.layers, 0)
        at_least("mapping.width", self.width, 1)
        one_of("mapping.activation", self.activation, ACTIVATIONS)
        one_of("mapping.labels", self.labels, ("concat", "embed"))
        if not self.lr_multiplier > 0:
            at_least("mapping.lr_multiplier", self.lr_multiplier, 1e-9)


@dataclass(frozen=True)
class MinibatchStd:
    """Minibatch standard deviation (ProGAN section 3). `group_size` 0 leaves the layer out."""

    group_size: int = 4
    features: int = 1

    def __post_init__(self) -> None:
        at_least("minibatch_std.group_size", self.group_size, 0)
        at_least("minibatch_std.features", self.features, 1)


@dataclass(frozen=True)
class StyleGAN2Generator:
    """The generator of StyleGAN2 configurations E and F (StyleGAN2 section 2, Fig. 2 and 7).

    Args:
        resolution: side of the output, px; a power of two >= 8.
        channels: of the image.
        z_dim, w_dim: of the latent spaces.
        label_dim: number of classes; 0 without labels.
        features: channels by resolution.
        mapping: the mapping network.
        architecture: how features meet RGB (Fig. 7).
        resample_filter: taps of the separable resampling filter, normalised on use.
        activation: of the synthesis layers.
        w_avg_beta: decay of the running average of w, per training pass.
        clamp: bound of activations for mixed precision in the authors' PyTorch port; None as in the paper.
    """

    family: ClassVar[str] = "stylegan2"

    resolution: int = 1024
    channels: int = 3
    z_dim: int = 512
    w_dim: int = 512
    label_dim: int = 0
    features: FeatureMaps = field(default_factory=FeatureMaps)
    mapping: Mapping = field(default_factory=Mapping)
    architecture: Architecture = "skip"
    resample_filter: tuple[float, ...] = (1, 3, 3, 1)
    activation: Activation = "lrelu"
    w_avg_beta: float = 0.995
    clamp: float | None = None

    def __post_init__(self) -> None:
        power_of_two("generator.resolution", self.resolution, 8)
        at_least("generator.channels", self.channels, 1)
        at_least("generator.z_dim", self.z_dim, 1)
        at_least("generator.w_dim", self.w_dim, 1)
        at_least("generator.label_dim", self.label_dim, 0)
        one_of("generator.architecture", self.architecture, ARCHITECTURES)
        one_of("generator.activation", self.activation, ACTIVATIONS)
        at_least("generator.resample_filter (number of taps)", len(self.resample_filter), 1)
        within("generator.w_avg_beta", self.w_avg_beta, 0, 1)

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the synthesis blocks, px: 4, 8, ... resolution."""
        return tuple(2**r for r in range(2, self.resolution.bit_length()))

    @property
    def num_ws(self) -> int:
        """Style inputs: 2 log2(resolution) - 2, 18 at 1024."""
        return 2 * len(self.sides)


@dataclass(frozen=True)
class StyleGAN2Discriminator:
    """The discriminator of StyleGAN2 configurations E and F (Fig. 7 and Table 2).

    Args:
        resolution, channels, label_dim: as in the generator.
        features: channels by resolution.
        architecture: how features meet RGB.
        resample_filter: taps of the separable resampling filter.
        activation: of the hidden layers.
        minibatch_std: of the 4x4 block.
        labels: "select" has one output per class and picks the label's (StyleGAN, StyleGAN2); "project"
            takes the inner product with a mapped label (the authors' PyTorch port).
        projection: with labels = "project", the label's mapping network; its width is that of the product.
        clamp: as in the generator.
    """

    family: ClassVar[str] = "stylegan2"

    resolution: int = 1024
    channels: int = 3
    label_dim: int = 0
    features: FeatureMaps = field(default_factory=FeatureMaps)
    architecture: Architecture = "resnet"
    resample_filter: tuple[float, ...] = (1, 3, 3, 1)
    activation: Activation = "lrelu"
    minibatch_std: MinibatchStd = field(default_factory=MinibatchStd)
    labels: Literal["select", "project"] = "select"
    projection: Mapping = field(default_factory=lambda: Mapping(labels="embed"))
    clamp: float | None = None

    def __post_init__(self) -> None:
        power_of_two("discriminator.resolution", self.resolution, 8)
        at_least("discriminator.channels", self.channels, 1)
        at_least("discriminator.label_dim", self.label_dim, 0)
        one_of("discriminator.architecture", self.architecture, ARCHITECTURES)
        one_of("discriminator.activation", self.activation, ACTIVATIONS)
        one_of("discriminator.labels", self.labels, ("select", "project"))
        at_least("discriminator.resample_filter (number of taps)", len(self.resample_filter), 1)

    @property
    def projects(self) -> bool:
        """Whether the logit is an inner product with a mapped label."""
        return self.labels == "project" and self.label_dim > 0

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the blocks, px, in the order images pass them: resolution, ... 8, 4."""
        return tuple(2**r for r in range(self.resolution.bit_length() - 1, 1, -1))


GeneratorConfig: TypeAlias = StyleGAN2Generator
DiscriminatorConfig: TypeAlias = StyleGAN2Discriminator
