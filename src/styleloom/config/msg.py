"""Configurations of MSG-GAN's networks (Karnewar and Wang 2020)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from styleloom.config.checks import taps
from styleloom.config.parts import Activation, FeatureMaps, ImageShape, MinibatchStd
from styleloom.config.progan import Gain, PixelNorm, Pooling, ProGANGenerator, features_8192
from styleloom.config.stylegan import BlurOrder, StyleGANGenerator
from styleloom.errors import UserError

Connections = Literal["none", "coarse", "middle", "fine", "all"]
Combination = Literal["simple", "lin_cat", "cat_lin"]

CONNECTED: dict[Connections, tuple[int, float]] = {
    "none": (0, 0),
    "coarse": (4, 8),
    "middle": (16, 32),
    "fine": (64, float("inf")),
    "all": (4, float("inf")),
}
"""Lowest and highest side, px, that connects generator and discriminator (section 4, Table 4)."""


def connected_sides(connections: Connections, shape: ImageShape) -> tuple[int, ...]:
    """Nominal sides that `connections` names, and the full resolution, which always connects."""
    low, high = CONNECTED[connections]
    return tuple(side for side in shape.sides if low <= side <= high or side == shape.resolution)


@dataclass(frozen=True)
class MSGProGANGenerator(ProGANGenerator):
    """MSG-ProGAN's generator (Table 6): ProGAN's, with an image from every connected level and no growth.

    Args:
        connections: levels with an image: 4 and 8 px ("coarse"), 16 and 32 ("middle"), 64 and more
            ("fine"), "all", or the full resolution alone ("none").
    """

    family: ClassVar[str] = "msg-progan"

    pixel_norm: PixelNorm = "3x3"
    connections: Connections = "all"

    @property
    def grows(self) -> bool:
        """Never: all levels train together."""
        return False

    @property
    def pyramid_sides(self) -> tuple[int, ...]:
        """The connected levels."""
        return connected_sides(self.connections, self)


@dataclass(frozen=True)
class MSGStyleGANGenerator(StyleGANGenerator):
    """MSG-StyleGAN's generator: StyleGAN's, with an image from every connected level and no growth.

    Args:
        connections: as in `MSGProGANGenerator`.
    """

    family: ClassVar[str] = "msg-stylegan"

    connections: Connections = "all"

    @property
    def grows(self) -> bool:
        """Never: all levels train together."""
        return False

    @property
    def pyramid_sides(self) -> tuple[int, ...]:
        """The connected levels."""
        return connected_sides(self.connections, self)


@dataclass(frozen=True)
class _MSGDiscriminator(ImageShape):
    """What the discriminators of MSG-ProGAN and MSG-StyleGAN share.

    Args:
        resolution, channels, label_dim, grid: as in the generator; with labels there is one output for each
            class, and the logit is the output of the image's class.
        features: channels by resolution.
        connections: as in the generator.
        combine: how RGB joins the features of a level (section 2, equations 10 to 12): "simple" concatenates,
            "lin_cat" maps RGB to half as many channels first, "cat_lin" maps the concatenation to the
            features' channels.
        activation: of the hidden layers.
        minibatch_std: minibatch standard deviation.
        minibatch_std_at: "every" block, or the "lowest" alone (the authors' earlier PyTorch code).
    """

    role: ClassVar[Literal["discriminator"]] = "discriminator"

    features: FeatureMaps = field(default_factory=features_8192)
    connections: Connections = "all"
    combine: Combination = "simple"
    activation: Activation = "lrelu"
    minibatch_std: MinibatchStd = field(default_factory=MinibatchStd)
    minibatch_std_at: Literal["every", "lowest"] = "every"

    def __post_init__(self) -> None:
        super().__post_init__()
        smallest = min(self.features.at_side(side) for side in self.sides)
        if self.combine == "lin_cat" and smallest < 2:
            raise UserError(
                f"discriminator.features: {smallest} channel at one level is not valid with "
                "discriminator.combine lin_cat, which maps RGB to half as many"
            )

    @property
    def pyramid_sides(self) -> tuple[int, ...]:
        """The connected levels."""
        return connected_sides(self.connections, self)


@dataclass(frozen=True)
class MSGProGANDiscriminator(_MSGDiscriminator):
    """MSG-ProGAN's discriminator (Table 7).

    Args:
        from_rgb_activation: of the first 1x1 convolution: none ("linear") in Table 7.
        pooling: "after" bias and activation, as in Table 7, or "before" them, as in ProGAN's code.
        gain: of the weights: "layer" is sqrt(2) for hidden layers and 1 for the last and fromRGB where that
            is linear; "sqrt2" is sqrt(2) in every layer, as in the authors' earlier PyTorch code.
    """

    family: ClassVar[str] = "msg-progan"

    from_rgb_activation: Activation = "linear"
    pooling: Pooling = "after"
    gain: Gain = "layer"


@dataclass(frozen=True)
class MSGStyleGANDiscriminator(_MSGDiscriminator):
    """MSG-StyleGAN's discriminator: StyleGAN's blocks, which read RGB at every connected level.

    Args:
        combine: "cat_lin" is the best and that of all headline results (Table 5).
        blur, blur_order: as in StyleGAN.
    """

    family: ClassVar[str] = "msg-stylegan"

    combine: Combination = "cat_lin"
    blur: tuple[float, ...] = (1, 2, 1)
    blur_order: BlurOrder = "code"

    def __post_init__(self) -> None:
        super().__post_init__()
        taps("discriminator.blur", self.blur)
